// Command samconfig prints what samconfig.toml says about an environment.
//
// With an argument, it prints the value of the template parameter that the argument
// names, or an empty line if it is not set. With -stack, it prints the stack's name.
// Otherwise it prints every parameter, as a value for sam deploy
// --parameter-overrides. Traffic is always among them: SAM keeps the stack's value
// of a parameter that it is not given.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"wechat-phone/tools/samconfig/overrides"
)

func main() {
	env := flag.String("env", "dev", "the `environment` in samconfig.toml")
	stack := flag.Bool("stack", false, "print the stack's name")
	traffic := flag.String("traffic", "", "print the parameters with this `Traffic` instead of the file's")
	flag.Parse()
	if err := show(os.Stdout, *env, *stack, *traffic, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "samconfig:", err)
		os.Exit(1)
	}
}

func show(out io.Writer, env string, stack bool, traffic string, names []string) error {
	e, err := overrides.Read("samconfig.toml", env)
	if err != nil {
		return err
	}
	text := ""
	switch {
	case len(names) > 1:
		return fmt.Errorf("unexpected argument %q", names[1])
	case len(names) == 1:
		text = e.Parameters[names[0]]
	case stack:
		if text = e.Stack; text == "" {
			return fmt.Errorf("samconfig.toml has no stack_name for %s", env)
		}
	default:
		if err := setTraffic(e.Parameters, traffic); err != nil {
			return err
		}
		text = overrides.Format(e.Parameters)
	}
	_, err = fmt.Fprintln(out, text)
	return err
}

// setTraffic sets the parameter Traffic, unless traffic is empty and the parameter
// is set.
func setTraffic(parameters map[string]string, traffic string) error {
	switch {
	case traffic == "canary", traffic == "at-once":
		parameters["Traffic"] = traffic
	case traffic != "":
		return errors.New("TRAFFIC must be canary or at-once, not " + traffic)
	case parameters["Traffic"] == "":
		parameters["Traffic"] = "canary"
	}
	return nil
}
