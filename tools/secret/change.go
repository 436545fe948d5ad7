package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"wechat-phone/tools/operator"
)

// change is a change of one mini-program.
type change struct {
	appID         string
	before, after contents
	malformed     error // how the whole value was malformed, if it was
}

// removes reports whether the change takes its mini-program away.
func (c change) removes() bool {
	_, stays := c.after.secrets[c.appID]
	return !stays
}

// show prints what will change: appids and names, never a value.
func (c change) show() {
	if c.malformed != nil {
		fmt.Printf("The secret's value is %v. The new value replaces all of it.\n", c.malformed)
	}
	fmt.Println("The secret's mini-programs:")
	all := maps.Clone(c.after.secrets)
	maps.Copy(all, c.before.secrets)
	for _, appID := range slices.Sorted(maps.Keys(all)) {
		_, was := c.before.secrets[appID]
		what := "kept"
		switch {
		case appID != c.appID:
		case c.removes():
			what = "removed"
		case was:
			what = "replaced"
		default:
			what = "added"
		}
		fmt.Printf("  %s  %s\n", appID, what)
	}
	c.warn()
}

// warn prints what a change between one mini-program and several entails.
func (c change) warn() {
	switch before, after := len(c.before.secrets), len(c.after.secrets); {
	case before == 1 && after == 2:
		fmt.Print("This is the second mini-program, and changes the secret's form:\n" +
			"- Releases that serve only one mini-program cannot read the new form. If yours is one, deploy first.\n" +
			"- Requests that do not come straight from a page (through CloudFront or your own backend) now need\n" +
			"  the field appid.\n")
		if len(c.before.others) > 0 {
			fmt.Printf("- These names are dropped, because no other name is allowed beside several mini-programs: %q\n",
				slices.Sorted(maps.Keys(c.before.others)))
		}
	case before == 2 && after == 1:
		fmt.Println("One mini-program is left, so the secret goes back to the form that every release can read.")
	}
}

// confirm asks before the change. Without a terminal, -yes is needed for a change
// that loses something.
func (o options) confirm(in *os.File, c change) error {
	switch {
	case o.yes:
		return nil
	case operator.IsTerminal(in):
		return operator.Confirm(in)
	case c.removes():
		return errors.New("without a terminal, removing a mini-program needs -yes: the secret has not changed")
	case c.malformed != nil:
		return errors.New("without a terminal, replacing a malformed value needs -yes: the secret has not changed")
	}
	return nil
}

// showNext prints what to do after the change.
func (c change) showNext(stack operator.Stack, phoneURL string) {
	restart := stack.Make("restart")
	if c.removes() {
		fmt.Printf("Secrets Manager has the new value. Running processes still serve %s. To end that, run\n\n  %s\n",
			c.appID, restart)
		return
	}
	app := ""
	if len(c.after.secrets) > 1 {
		app = " APPID=" + c.appID
	}
	fmt.Printf("Secrets Manager has the new value. The function may take up to 30 seconds to use it. Then try\n\n"+
		"  make smoke URL=%s%s\n", phoneURL, app)
	if c.malformed != nil {
		fmt.Printf("\nRunning processes may still hold an older mini-program. To end that, run %s.\n", restart)
	}
}
