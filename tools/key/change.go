package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"wechat-phone/shared/identity"
	"wechat-phone/tools/operator"
)

// published is how long a key must have been published for every verifier to know it,
// as [identity.Rotate] demands.
const published = 24 * time.Hour

// change is a change of the signing secret.
type change struct {
	options
	secret   *operator.Secret
	before   operator.Version
	keys     []identity.Key // those of before
	unusable error          // why before has no keys, if it has a value
}

// rotate makes the first keys, or promotes the next key.
func (c *change) rotate(ctx context.Context) error {
	show(c.before, c.keys)
	_, keys, err := c.make(ctx, func() (identity.Change, error) {
		if c.before.ID == "" {
			return identity.New(time.Now())
		}
		return identity.Rotate(*c.before.Text, time.Now())
	})
	if err != nil {
		return err
	}
	if c.before.ID == "" {
		fmt.Printf("\nTokens are on as soon as TokenIssuer is set. If it is not, set it in samconfig.toml and run\n\n"+
			"  %s\n", c.stack.Make("deploy"))
		return nil
	}
	fmt.Printf("\nNo restart is needed: the function rereads its keys once an hour, and verifiers know the signing key\n"+
		"already. The next rotation is possible from %s.\n", date(nextOf(keys).Created.Add(published)))
	return nil
}

// make shows what edit changes, asks, and makes the change. It returns the new version's
// id and keys.
//
// It calls edit twice: the question may wait for hours, and a new key's age counts from
// the answer. The first call's new keys are discarded.
func (c *change) make(ctx context.Context, edit func() (identity.Change, error)) (string, []identity.Key, error) {
	_, after, err := c.apply(edit)
	if err != nil {
		return "", nil, err
	}
	preview(c.keys, after)
	if err := c.confirm(); err != nil {
		return "", nil, err
	}
	text, after, err := c.apply(edit)
	if err != nil {
		return "", nil, err
	}
	id, err := c.secret.Replace(ctx, c.before, text)
	if err != nil {
		return "", nil, err
	}
	fmt.Println("\nSecrets Manager has the new list.")
	show(operator.Version{ID: id}, after)
	return id, after, nil
}

// apply returns the new list that edit makes, and its keys.
func (c *change) apply(edit func() (identity.Change, error)) (string, []identity.Key, error) {
	edited, err := edit()
	if e, ok := errors.AsType[*identity.Error](err); ok && !e.Until.IsZero() {
		return "", nil, fmt.Errorf("too early: %s; the secret has not changed, come back at %s", e.Problem, date(e.Until))
	}
	if err != nil {
		return "", nil, fmt.Errorf("the secret has not changed: %w; FLAGS=-revoke=all replaces all keys", problem(err))
	}
	text := edited.List.Reveal()
	keys, err := parse(operator.Version{ID: "new", Text: &text})
	return text, keys, err
}

// confirm asks before the change. Without a terminal it needs -yes.
func (c *change) confirm() error {
	switch {
	case c.yes:
		return nil
	case operator.IsTerminal(os.Stdin):
		return operator.Confirm(os.Stdin)
	}
	return errors.New("without a terminal, a change needs -yes: the secret has not changed")
}

// preview prints what happens to each key. The kid of a key that is still to be made is
// not known.
func preview(before, after []identity.Key) {
	fmt.Println("\nThe change:")
	for _, k := range after {
		old, found := find(before, k.ID)
		switch {
		case !found:
			fmt.Printf("  %-43s  %-7s  is made\n", "(a new key)", k.Role())
		case old.Role() != k.Role():
			fmt.Printf("  %s  %-7s  was %s\n", k.ID, k.Role(), old.Role())
		default:
			fmt.Printf("  %s  %-7s  stays\n", k.ID, k.Role())
		}
	}
	for _, k := range before {
		if _, stays := find(after, k.ID); !stays {
			fmt.Printf("  %s  %-7s  is dropped\n", k.ID, k.Role())
		}
	}
}

func find(keys []identity.Key, id string) (identity.Key, bool) {
	if i := slices.IndexFunc(keys, func(k identity.Key) bool { return k.ID == id }); i >= 0 {
		return keys[i], true
	}
	return identity.Key{}, false
}

// nextOf returns the next key, which every list that this command writes has.
func nextOf(keys []identity.Key) identity.Key {
	return keys[slices.IndexFunc(keys, func(k identity.Key) bool { return k.Role() == identity.Next })]
}
