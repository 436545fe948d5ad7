// Package operator has what the operators' commands share: a stack's outputs, questions
// at the terminal, and changes of a secret that lose nobody else's.
package operator

import (
	"context"
	"encoding/json/v2"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
)

// Stack is the deployed stack that a command is about.
type Stack struct{ env, name string }

// Flags declares the flags that name the stack.
func (s *Stack) Flags() {
	flag.StringVar(&s.env, "env", "dev", "the `environment` of samconfig.toml whose stack it is")
	flag.StringVar(&s.name, "stack", "", "the stack's `name`, if there is no samconfig.toml")
}

// Outputs returns the stack's outputs. It asks SAM, which reads the stack's name from
// samconfig.toml, unless a flag has given it.
func (s Stack) Outputs(ctx context.Context) (map[string]string, error) {
	option, value := "--config-env", s.env
	if s.name != "" {
		option, value = "--stack-name", s.name
	}
	sam := exec.CommandContext(ctx, "sam", "list", "stack-outputs", option, value, "--output", "json")
	sam.Stderr = os.Stderr
	text, err := sam.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("sam is missing: install the SAM CLI")
	case err != nil:
		return nil, fmt.Errorf("sam list stack-outputs: %w", err)
	}
	var list []struct{ OutputKey, OutputValue string }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, errors.New("sam list stack-outputs printed no list")
	}
	all := map[string]string{}
	for _, output := range list {
		all[output.OutputKey] = output.OutputValue
	}
	return all, nil
}

// Make returns the make command for the stack. An operator who has no samconfig.toml has
// no Makefile either, and finds the same step in docs/releases.md.
func (s Stack) Make(target string) string {
	if s.name != "" {
		return target + " " + s.name + " (docs/releases.md says how)"
	}
	return "make " + target + " ENV=" + s.env
}
