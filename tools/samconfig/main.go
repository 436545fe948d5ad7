// Command samconfig prints the template parameters that samconfig.toml sets for
// an environment: the value of the one that its argument names, or an empty line
// if it is not set. Without an argument it prints all, as Name=value.
package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"wechat-phone/tools/samconfig/overrides"
)

func main() {
	env := flag.String("env", "dev", "the `environment` in samconfig.toml")
	flag.Parse()
	if err := show(os.Stdout, *env, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "samconfig:", err)
		os.Exit(1)
	}
}

func show(out io.Writer, env string, names []string) error {
	if len(names) > 1 {
		return fmt.Errorf("unexpected argument %q", names[1])
	}
	all, err := overrides.Read("samconfig.toml", env)
	if err != nil {
		return err
	}
	if len(names) == 1 {
		_, err = fmt.Fprintln(out, all[names[0]])
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if _, err := fmt.Fprintf(out, "%s=%s\n", name, all[name]); err != nil {
			return err
		}
	}
	return nil
}
