package operator

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStackIsNamedByEnvironmentOrByItsName(t *testing.T) {
	dir := t.TempDir()
	const sam = "#!/bin/sh\necho '[{\"OutputKey\":\"arguments\",\"OutputValue\":\"'\"$*\"'\"}]'\n"
	if err := os.WriteFile(filepath.Join(dir, "sam"), []byte(sam), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for _, tt := range []struct {
		stack           Stack
		arguments, next string
	}{
		{Stack{env: "prod"}, "list stack-outputs --config-env prod --output json", "make restart ENV=prod"},
		{Stack{env: "dev", name: "shop"}, "list stack-outputs --stack-name shop --output json",
			"restart shop (docs/releases.md says how)"},
	} {
		outputs, err := tt.stack.Outputs(t.Context())
		if got := outputs["arguments"]; err != nil || got != tt.arguments {
			t.Errorf("%+v: sam got %q, %v, want %q", tt.stack, got, err, tt.arguments)
		}
		if got := tt.stack.Make("restart"); got != tt.next {
			t.Errorf("%+v: got %q, want %q", tt.stack, got, tt.next)
		}
	}
}
