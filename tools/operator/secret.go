package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"uuid"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"wechat-phone/shared/secretvalue"
)

// current is the staging label of the version that the function reads.
const current = "AWSCURRENT"

// Secret is a secret in Secrets Manager that a command changes.
type Secret struct {
	api    *secretsmanager.Client
	arn    string
	staged string // the staging label of what this command wrote last
	look   string // the flag that shows what the secret holds
}

// Version is a version of the secret.
type Version struct {
	ID   string  // empty if the secret has no value yet
	Text *string // nil if the value is binary
}

// Open returns the secret whose ARN is that output of the stack. The command stages what it
// writes with the label, and shows what the secret holds with the flag look.
func Open(ctx context.Context, stack map[string]string, output, label, look string) (*Secret, error) {
	arn := stack[output]
	parts := strings.Split(arn, ":")
	if len(parts) != 7 {
		return nil, errors.New("the stack has no output " + output)
	}
	sdk, err := config.LoadDefaultConfig(ctx, config.WithRegion(parts[3]))
	if err != nil {
		return nil, err
	}
	return &Secret{secretsmanager.NewFromConfig(sdk, secretvalue.OwnBodies), arn, label, look}, nil
}

// Read returns the current version. A secret that the stack has created has none
// at first.
func (s *Secret) Read(ctx context.Context) (Version, error) {
	v, err := s.get(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.arn})
	if errorCode(err) == notFound {
		return Version{}, nil
	}
	return v, refusal("GetSecretValue", err)
}

func (s *Secret) get(ctx context.Context, in *secretsmanager.GetSecretValueInput) (Version, error) {
	got, err := s.api.GetSecretValue(ctx, in)
	if err != nil {
		return Version{}, err
	}
	return Version{*got.VersionId, got.SecretString}, nil
}

// Replace makes text the current value, unless somebody has replaced the version before it
// in the meantime. It returns the id of its version.
func (s *Secret) Replace(ctx context.Context, before Version, text string) (id string, err error) {
	id = uuid.New().String()
	if err := s.stage(ctx, before.ID, id, text); err != nil {
		return id, s.explain(ctx, before.ID, id, err)
	}
	return id, nil
}

// stage writes a version and makes it the current one. PutSecretValue alone would
// overwrite what somebody else has written in the meantime. Therefore stage only labels
// the new version, unless it is the secret's first, which AWS makes the current one.
// Then AWS moves AWSCURRENT only if it is still on the version that stage names.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html
func (s *Secret) stage(ctx context.Context, before, id, text string) error {
	put, err := s.api.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &s.arn, SecretString: &text, VersionStages: []string{s.staged}, ClientRequestToken: &id,
	})
	if err != nil {
		return refusal("PutSecretValue", err)
	}
	if slices.Contains(put.VersionStages, current) {
		return nil
	}
	move := &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &s.arn, VersionStage: new(current), MoveToVersionId: &id,
	}
	if before != "" {
		move.RemoveFromVersionId = &before
	}
	_, err = s.api.UpdateSecretVersionStage(ctx, move)
	return refusal("UpdateSecretVersionStage", err)
}

// explain returns the error to report after a failed change, or nil. It rereads the
// secret, because the change may have succeeded and only its answer may be lost.
func (s *Secret) explain(ctx context.Context, before, after string, failure error) error {
	now, err := s.Read(ctx)
	switch {
	case err == nil && now.ID == after:
		return nil
	case err == nil && now.ID == before:
		return fmt.Errorf("%w: the secret has not changed", failure)
	}
	// If somebody else has revoked keys, this command's version still holds them.
	left := ""
	if err := s.unlabel(ctx, after, s.staged); err != nil {
		left = fmt.Sprintf(" (your version keeps the label %s: %v)", s.staged, err)
	}
	if err != nil {
		return fmt.Errorf("%w; the secret may have changed: see FLAGS=%s%s", failure, s.look, left)
	}
	return fmt.Errorf("somebody else has just changed the secret: "+
		"their change was kept, and yours was not made; run it again%s", left)
}

// unlabel removes a staging label from a version. It returns no error if the version does
// not have the label.
func (s *Secret) unlabel(ctx context.Context, id, label string) error {
	_, err := s.api.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &s.arn, VersionStage: &label, RemoveFromVersionId: &id,
	})
	if code := errorCode(err); code == notFound || code == "InvalidParameterException" {
		return nil
	}
	return refusal("UpdateSecretVersionStage", err)
}

const notFound = "ResourceNotFoundException"

// refusal returns an error with AWS's code, or nil if err is nil. AWS's text might repeat
// the request.
func refusal(call string, err error) error {
	switch code := errorCode(err); {
	case err == nil:
		return nil
	case code != "":
		return fmt.Errorf("AWS Secrets Manager answered %s with %s", call, code)
	}
	return errors.New("AWS Secrets Manager was not reached, or there are no AWS credentials here")
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
