package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"wechat-phone/shared/identity"
	"wechat-phone/tools/operator"
)

// revoke drops one key and every key that has ever signed, or all keys. Then it removes
// the labels of all older versions, which hold what was dropped.
func (c *change) revoke(ctx context.Context) error {
	if c.before.ID == "" {
		return errors.New("the signing secret has no keys yet, so there is none to revoke")
	}
	// Look before the change: an operator who may not look could not finish it.
	others, err := c.secret.Others(ctx, c.before.ID)
	if err != nil {
		return err
	}
	if c.unusable != nil {
		fmt.Printf("The signing secret is not usable: %v. The new list replaces all of it.\n", c.unusable)
	} else {
		show(c.before, c.keys)
	}
	if _, found := find(c.keys, c.options.revoke); !found && c.options.revoke != all {
		return c.finish(ctx, others)
	}
	if len(others) > 0 {
		fmt.Printf("\nOlder versions lose their labels: %s\n", strings.Join(others.Names(), ", "))
	}
	id, keys, err := c.make(ctx, func() (identity.Change, error) {
		if c.options.revoke == all {
			return identity.New(time.Now())
		}
		return identity.Revoke(*c.before.Text, c.options.revoke, time.Now())
	})
	if err != nil {
		return err
	}
	return c.unlabel(ctx, id, keys)
}

// finish finishes a revocation whose new list is in place, but whose older versions may
// still have labels: the command was interrupted, or an answer was lost.
func (c *change) finish(ctx context.Context, others operator.Labels) error {
	switch found, err := c.isIn(ctx, others); {
	case err != nil:
		return err
	case !found:
		return errors.New("no key has this kid: the secret has not changed")
	}
	fmt.Printf("\nThe list no longer has this key, but an older version with a label does.\n"+
		"The change: older versions lose their labels: %s\n"+
		"(If the key was never revoked, and was dropped because of its age, revoke the signing key instead.)\n",
		strings.Join(others.Names(), ", "))
	if err := c.confirm(); err != nil {
		return err
	}
	return c.unlabel(ctx, c.before.ID, c.keys)
}

// isIn reports whether one of the versions has the revoked key. The version may be
// malformed.
func (c *change) isIn(ctx context.Context, versions operator.Labels) (bool, error) {
	for id := range versions {
		v, err := c.secret.ReadVersion(ctx, id)
		if err != nil || v.Text != nil && strings.Contains(*v.Text, c.options.revoke) {
			return err == nil, err
		}
	}
	return false, nil
}

// unlabel removes the labels of the other versions, and says what remains to be done.
func (c *change) unlabel(ctx context.Context, id string, keys []identity.Key) error {
	err := c.secret.UnlabelOthers(ctx, id)
	c.advise(keys[0])
	if err != nil {
		return fmt.Errorf("older versions may still have labels, and hold dropped keys: "+
			"run the same command again (%w)", err)
	}
	return nil
}

// advise prints what follows from a revocation.
func (c *change) advise(signing identity.Key) {
	fmt.Printf("\nThe function signs with the dropped keys until it has restarted. Run this now:\n\n"+
		"  %s\n\nThen:\n", c.stack.Make("restart"))
	if signing.SignsFrom.Sub(signing.Created) >= published {
		fmt.Printf("- Verifiers accept new tokens at once: their key has been published since %s.\n", date(signing.Created))
	} else {
		fmt.Print("- Verifiers that cache the key set may refuse new tokens for up to two hours after the restart:\n" +
			"  their key was not published long enough before.\n")
	}
	fmt.Print("- Verifiers may accept tokens of the dropped keys for some time after the restart: HTTP APIs of\n" +
		"  API Gateway for two hours, its REST APIs and ALB for one. Only a new issuer stops them at once.\n" +
		"- Every user taps once more.\n" +
		"- Never restore an older version of this secret. Without a label it can still be read by its id, and\n" +
		"  AWS deletes it only once the secret has more than 100 versions.\n")
}
