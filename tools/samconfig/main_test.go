package main

import (
	"os"
	"strings"
	"testing"
)

func TestShow(t *testing.T) {
	t.Chdir(t.TempDir())
	const text = "[prod.global.parameters]\nparameter_overrides = ['B=\"c d\"', 'Architecture=arm64']\n"
	if err := os.WriteFile("samconfig.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		env       string
		names     []string
		want, err string
	}{
		{env: "prod", names: []string{"Architecture"}, want: "arm64\n"},
		{env: "prod", names: []string{"MemorySize"}, want: "\n"},
		{env: "prod", want: "Architecture=arm64\nB=c d\n"},
		{env: "dev", err: `no environment "dev", only prod`},
		{env: "prod", names: []string{"A", "B"}, err: `unexpected argument "B"`},
	} {
		var out strings.Builder
		err := show(&out, test.env, test.names)
		failed := err != nil && test.err != "" && strings.Contains(err.Error(), test.err)
		if out.String() != test.want || !failed && (err != nil || test.err != "") {
			t.Errorf("%s %v: got %q, error %v, want %q, error %q",
				test.env, test.names, out.String(), err, test.want, test.err)
		}
	}
}
