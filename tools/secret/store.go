package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// Staging labels of a secret's versions.
const (
	current = "AWSCURRENT"  // what the function reads
	staged  = "make-secret" // what this command wrote last
)

// store is one secret in Secrets Manager.
type store struct {
	api *secretsmanager.Client
	arn string
}

// version is a version of the secret.
type version struct {
	id   string  // empty if the secret has no value yet
	text *string // nil if the value is binary
}

func newStore(ctx context.Context, arn string) (*store, error) {
	parts := strings.Split(arn, ":")
	if len(parts) != 7 {
		return nil, errors.New("the stack has no output SecretArn")
	}
	sdk, err := config.LoadDefaultConfig(ctx, config.WithRegion(parts[3]))
	if err != nil {
		return nil, err
	}
	return &store{secretsmanager.NewFromConfig(sdk), arn}, nil
}

// read returns the current version. A secret that the stack has created has none
// at first.
func (s *store) read(ctx context.Context) (version, error) {
	got, err := s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.arn})
	switch {
	case err == nil:
		return version{*got.VersionId, got.SecretString}, nil
	case errorCode(err) == "ResourceNotFoundException":
		return version{}, nil
	}
	return version{}, refusal("GetSecretValue", err)
}

// replace makes text the current value, unless somebody has replaced the version
// before it in the meantime. PutSecretValue alone would overwrite their value.
// Therefore replace only stages the new version, unless it is the secret's first.
// Then AWS moves AWSCURRENT only if it is still on the version that replace names.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html
func (s *store) replace(ctx context.Context, before version, text string) error {
	put, err := s.api.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &s.arn, SecretString: &text, VersionStages: []string{staged},
	})
	if err != nil {
		return refusal("PutSecretValue", err)
	}
	if slices.Contains(put.VersionStages, current) {
		return nil
	}
	move := &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &s.arn, VersionStage: new(current), MoveToVersionId: put.VersionId,
	}
	if before.id != "" {
		move.RemoveFromVersionId = &before.id
	}
	if _, err := s.api.UpdateSecretVersionStage(ctx, move); err != nil {
		return s.explain(ctx, before.id, *put.VersionId, refusal("UpdateSecretVersionStage", err))
	}
	return nil
}

// explain returns the error to report after a failed move, or nil. It rereads the
// secret, because the move may have succeeded and only its answer may be lost.
func (s *store) explain(ctx context.Context, before, after string, failure error) error {
	switch now, err := s.read(ctx); {
	case err != nil:
		return fmt.Errorf("%w; the secret may have changed: see FLAGS=-list", failure)
	case now.id == after:
		return nil
	case now.id != before:
		return errors.New("somebody else has just changed the secret: " +
			"their change was kept, and yours was not made; run it again")
	}
	return fmt.Errorf("%w: the secret has not changed", failure)
}

// refusal returns an error with AWS's code. AWS's text might repeat the request.
func refusal(call string, err error) error {
	code := errorCode(err)
	if code == "" {
		return errors.New("AWS Secrets Manager was not reached, or there are no AWS credentials here")
	}
	return fmt.Errorf("AWS Secrets Manager answered %s with %s", call, code)
}

// errorCode returns the code of AWS's answer, or "" if there was no answer.
func errorCode(err error) string {
	coded, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err)
	if !ok {
		return ""
	}
	return coded.ErrorCode()
}
