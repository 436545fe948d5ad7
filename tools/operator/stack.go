// Package operator has what the operators' commands share: a stack's outputs, questions
// at the terminal, and changes of a secret that lose nobody else's.
package operator

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Outputs returns the outputs of an environment's stack. It asks SAM, which reads the
// stack's name from samconfig.toml.
func Outputs(ctx context.Context, env string) (map[string]string, error) {
	// #nosec G204 -- the deployer chooses env
	sam := exec.CommandContext(ctx, "sam", "list", "stack-outputs", "--config-env", env, "--output", "json")
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
