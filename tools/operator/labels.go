package operator

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// Labels are staging labels by the id of their version.
type Labels map[string][]string

// Names returns the labels, sorted.
func (l Labels) Names() (names []string) {
	for _, labels := range l {
		names = append(names, labels...)
	}
	slices.Sort(names)
	return names
}

// Others returns the labels of every version but the current one, which must be id.
// DescribeSecret leaves out versions without a label, which AWS calls deprecated.
//
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html
func (s *Secret) Others(ctx context.Context, id string) (Labels, error) {
	got, err := s.api.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &s.arn})
	if err != nil {
		return nil, refusal("DescribeSecret", err)
	}
	others := Labels(got.VersionIdsToStages)
	if !slices.Contains(others[id], current) {
		return nil, errors.New("somebody else has just changed the secret: see FLAGS=" + s.look)
	}
	delete(others, id)
	return others, nil
}

// ReadVersion returns a version that need not be the current one.
func (s *Secret) ReadVersion(ctx context.Context, id string) (Version, error) {
	v, err := s.get(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.arn, VersionId: &id})
	return v, refusal("GetSecretValue", err)
}

// UnlabelOthers removes the labels of every version but the current one, which must be
// id. AWS moves AWSPREVIOUS by itself, but removes it if told to. Only AWSCURRENT cannot
// be removed. Another command may label a version meanwhile, so UnlabelOthers looks
// again.
func (s *Secret) UnlabelOthers(ctx context.Context, id string) error {
	const rounds = 3
	for range rounds {
		others, err := s.Others(ctx, id)
		if err != nil || len(others) == 0 {
			return err
		}
		for other, labels := range others {
			for _, label := range labels {
				if err := s.unlabel(ctx, other, label); err != nil {
					return err
				}
			}
		}
	}
	return errors.New("other versions were labelled again and again")
}
