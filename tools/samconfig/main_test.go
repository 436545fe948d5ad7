package main

import (
	"os"
	"strings"
	"testing"
)

func TestShow(t *testing.T) {
	t.Chdir(t.TempDir())
	const text = "[prod.global.parameters]\nstack_name = 'the-stack'\n" +
		"parameter_overrides = ['B=\"c d\"', 'Architecture=arm64']\n" +
		"[dev.global.parameters]\nparameter_overrides = 'Traffic=at-once'\n"
	if err := os.WriteFile("samconfig.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		env, traffic string
		stack        bool
		names        []string
		want, err    string
	}{
		{env: "prod", names: []string{"Architecture"}, want: "arm64\n"},
		{env: "prod", names: []string{"MemorySize"}, want: "\n"},
		{env: "prod", stack: true, want: "the-stack\n"},
		{env: "dev", stack: true, err: "no stack_name for dev"},
		{env: "prod", want: `Architecture="arm64" B="c d" Traffic="canary"` + "\n"},
		{env: "prod", traffic: "at-once", want: `Architecture="arm64" B="c d" Traffic="at-once"` + "\n"},
		{env: "dev", want: `Traffic="at-once"` + "\n"},
		{env: "dev", traffic: "canary", want: `Traffic="canary"` + "\n"},
		{env: "prod", traffic: "now", err: "TRAFFIC must be canary or at-once, not now"},
		{env: "stage", err: `no environment "stage", only dev, prod`},
		{env: "prod", names: []string{"A", "B"}, err: `unexpected argument "B"`},
	} {
		var out strings.Builder
		err := show(&out, test.env, test.stack, test.traffic, test.names)
		failed := err != nil && test.err != "" && strings.Contains(err.Error(), test.err)
		if out.String() != test.want || !failed && (err != nil || test.err != "") {
			t.Errorf("%+v: got %q, error %v", test, out.String(), err)
		}
	}
}
