// Command secret adds a mini-program to the secret of a deployed stack, or replaces,
// removes or lists one. It changes one mini-program at a time and keeps the others.
//
// At a terminal it asks for the appid and the app secret and shows neither. Otherwise
// it reads them from standard input, as JSON. It takes no secret as an argument: other
// processes and the shell's history would see it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"wechat-phone/shared/appsecret"
	"wechat-phone/tools/operator"
)

// options are the command's flags.
type options struct {
	stack  operator.Stack
	remove string
	list   bool
	yes    bool
}

func main() {
	var o options
	o.stack.Flags()
	flag.StringVar(&o.remove, "remove", "", "remove the mini-program with this `appid`")
	flag.BoolVar(&o.list, "list", false, "list the appids that the secret holds, and change nothing")
	flag.BoolVar(&o.yes, "yes", false, "do not ask before the change")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "secret:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	switch {
	case flag.NArg() > 0:
		return errors.New("takes no arguments, only flags") // an argument may be a secret
	case o.remove != "" && (o.list || !appsecret.IsAppID(o.remove)):
		return errors.New("-remove needs an appid, such as -remove=wx0123456789abcdef, and cannot be combined with -list")
	}
	outputs, err := o.stack.Outputs(ctx)
	if err != nil {
		return err
	}
	secret, err := operator.Open(ctx, outputs, "SecretArn", "make-secret", "-list")
	if err != nil {
		return err
	}
	now, err := secret.Read(ctx)
	if err != nil {
		return err
	}
	before, malformed := parse(now)
	if o.list && malformed == nil {
		list(before)
		return nil
	}
	c, err := o.plan(before, malformed)
	if err != nil {
		return err
	}
	text, err := c.after.encode()
	if err != nil {
		return err
	}
	c.show()
	if err := o.confirm(os.Stdin, c); err != nil {
		return err
	}
	if _, err := secret.Replace(ctx, now, text); err != nil {
		return err
	}
	c.showNext(o.stack, outputs["PhoneUrl"])
	return nil
}

// plan returns the change that the flags ask for. If it is a new app secret, plan
// reads it from standard input.
func (o options) plan(before contents, malformed error) (change, error) {
	switch {
	case malformed != nil && (o.list || o.remove != ""):
		return change{}, fmt.Errorf("the secret's value is %w; %s replaces all of it", malformed, o.stack.Make("secret"))
	case o.remove != "":
		after, err := before.without(o.remove)
		return change{appID: o.remove, before: before, after: after}, err
	}
	app, err := read(os.Stdin)
	if err != nil {
		return change{}, err
	}
	return change{appID: app.AppID, before: before, after: before.with(app), malformed: malformed}, nil
}

// list prints the appids that the secret holds.
func list(h contents) {
	for _, appID := range h.appIDs() {
		if h.secrets[appID] == "" {
			appID += "  (its secret is empty)"
		}
		fmt.Println(appID)
	}
	if len(h.secrets) == 0 {
		fmt.Println("The secret has no value yet.")
	}
}
