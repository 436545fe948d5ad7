// Command key makes, rotates, revokes and shows the signing keys of a deployed stack.
//
// The first run makes a signing key and a next key. Each later run promotes the next key,
// if it was created at least 24 hours ago, and makes a new one. It prints what everybody
// may know about the keys, and never a private key.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"

	"wechat-phone/shared/identity"
	"wechat-phone/tools/operator"
)

// options are the command's flags.
type options struct {
	stack   operator.Stack
	revoke  string // a kid, or all
	revokes bool   // whether there is a flag -revoke, which may be empty
	show    bool
	yes     bool
}

// all revokes every key.
const all = "all"

// kid matches a SHA-256 thumbprint in base64url.
var kid = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

func main() {
	var o options
	o.stack.Flags()
	flag.StringVar(&o.revoke, "revoke", "", "drop the key with this `kid`, and every key that has ever signed; or all")
	flag.BoolVar(&o.show, "show", false, "show the keys, and change nothing")
	flag.BoolVar(&o.yes, "yes", false, "do not ask before the change")
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { o.revokes = o.revokes || f.Name == "revoke" })
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "key:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	switch {
	case flag.NArg() > 0:
		return errors.New("takes no arguments, only flags")
	case o.revokes && (o.show || o.revoke != all && !kid.MatchString(o.revoke)):
		return errors.New("-revoke needs a kid, which has 43 characters, or all, and cannot be combined with -show")
	}
	outputs, err := o.stack.Outputs(ctx)
	if err != nil {
		return err
	}
	secret, err := operator.Open(ctx, outputs, "SigningSecretArn", "make-key", "-show")
	if err != nil {
		return err
	}
	now, err := secret.Read(ctx)
	if err != nil {
		return err
	}
	keys, unusable := parse(now)
	switch {
	case unusable != nil && o.revoke != all:
		return fmt.Errorf("the signing secret is not usable: %w; "+
			"%s FLAGS=-revoke=all replaces all of it", unusable, o.stack.Make("key"))
	case o.show:
		show(now, keys)
		return nil
	}
	c := change{options: o, secret: secret, before: now, keys: keys, unusable: unusable}
	if o.revokes {
		return c.revoke(ctx)
	}
	return c.rotate(ctx)
}

// parse returns the keys of a version. A secret without a value has none. The error says
// why the list is not usable, and repeats nothing of it.
func parse(v operator.Version) ([]identity.Key, error) {
	switch {
	case v.ID == "":
		return nil, nil
	case v.Text == nil:
		return nil, errors.New("it is binary")
	}
	keys, err := identity.ParseKeys(*v.Text)
	if err != nil {
		return nil, problem(err)
	}
	return keys.All(), nil
}

// problem returns what is wrong with the keys.
func problem(err error) error {
	if e, ok := errors.AsType[*identity.Error](err); ok {
		return errors.New(e.Problem)
	}
	return err
}

// show prints the keys: the signing key, the next key, and the retired keys.
func show(v operator.Version, keys []identity.Key) {
	if v.ID == "" {
		fmt.Println("The signing secret has no keys yet.")
		return
	}
	fmt.Println("The signing secret's keys:")
	for _, k := range keys {
		dates := "created " + date(k.Created)
		if !k.SignsFrom.IsZero() {
			dates += ", signs from " + date(k.SignsFrom)
		}
		if !k.Retired.IsZero() {
			dates += ", retired " + date(k.Retired)
		}
		fmt.Printf("  %s  %-7s  %s\n", k.ID, k.Role(), dates)
	}
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }
