package overrides

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write writes a samconfig.toml and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "samconfig.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadAcceptsWhatSAMAccepts(t *testing.T) {
	t.Parallel()
	const global, deploy = "[prod.global.parameters]\n", "[prod.deploy.parameters]\n"
	for _, test := range []struct {
		name, text string
		want       map[string]string
	}{
		{"a list", global + `parameter_overrides = ["A=b", "C=d=e"]`, map[string]string{"A": "b", "C": "d=e"}},
		{"a list over lines, with comments", global + "parameter_overrides = [\n'A=b', # why\n\t\"C=d\",\n]",
			map[string]string{"A": "b", "C": "d"}},
		{"the string that sam deploy --guided writes", global + `parameter_overrides = "A=\"b\" C=\"d e\" F=\"\""`,
			map[string]string{"A": "b", "C": "d e", "F": ""}},
		{"the longer form", global + `parameter_overrides = ["ParameterKey=A,ParameterValue=b"]`,
			map[string]string{"A": "b"}},
		{"single and escaped quotes", global + `parameter_overrides = ["A='b c'", "D=e\\ f", 'G="h\"i"']`,
			map[string]string{"A": "b c", "D": "e f", "G": `h"i`}},
		{"inline tables", `prod = {global = {parameters = {parameter_overrides = ["A=b"]}}}`,
			map[string]string{"A": "b"}},
		{"quoted and spaced headers", `[ "prod" . global . parameters ]` + "\nparameter_overrides = ['A=b']",
			map[string]string{"A": "b"}},
		{"deploy's replaces global's",
			deploy + `parameter_overrides = ["C=d"]` + "\n" + global + `parameter_overrides = ["A=b"]`,
			map[string]string{"C": "d"}},
		{"global's, if deploy has none", deploy + "confirm_changeset = true\n" + global + `parameter_overrides = ["A=b"]`,
			map[string]string{"A": "b"}},
		{"nothing from default", "[default.global.parameters]\nparameter_overrides = ['A=b']\n" + global,
			map[string]string{}},
		{"nothing from a longer name", "[prod-eu.global.parameters]\nparameter_overrides = ['A=b']\n" + global,
			map[string]string{}},
	} {
		got, err := Read(write(t, "version = 0.1\n"+test.text), "prod")
		if err != nil || !maps.Equal(got.Parameters, test.want) {
			t.Errorf("%s: got %v, error %v, want %v", test.name, got.Parameters, err, test.want)
		}
	}
}

func TestReadReturnsTheStackName(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[prod.global.parameters]\nstack_name = 'a'\n":                                             "a",
		"[prod.global.parameters]\nstack_name = 'a'\n[prod.deploy.parameters]\nstack_name = 'b'\n": "b",
		"[prod.deploy.parameters]\n":                                                               "",
	} {
		if got, err := Read(write(t, text), "prod"); err != nil || got.Stack != want {
			t.Errorf("%s: got %q, error %v, want %q", text, got.Stack, err, want)
		}
	}
}

func TestFormatIsWhatSAMAccepts(t *testing.T) {
	t.Parallel()
	parameters := map[string]string{"B": "c d", "A": "", "C": `say "so"`, "D": "https://host/a=b,c", "E": "it's"}
	text := Format(parameters)
	if want := `A="" B="c d" C="say \"so\"" D="https://host/a=b,c" E="it's"`; text != want {
		t.Errorf("got %s, want %s", text, want)
	}
	if got, err := parse(text); err != nil || !maps.Equal(got, parameters) {
		t.Errorf("%s: got %v, error %v, want %v", text, got, err, parameters)
	}
}

func TestReadFailsInOneLine(t *testing.T) {
	t.Parallel()
	const global = "[prod.global.parameters]\n"
	for _, test := range []struct{ name, text, want string }{
		{"an unknown environment", "version = 0.1\n[stage.global.parameters]\n[default.global.parameters]\n",
			`has no environment "prod", only default, stage`},
		{"no TOML", global + "parameter_overrides = [", "line 2"},
		{"no name", global + `parameter_overrides = ["A=b", "c"]`, "of prod: c is not Name=value"},
		{"no value", global + `parameter_overrides = ["A="]`, "A= is not Name=value"},
		{"a value cut off at a space", global + `parameter_overrides = ["A=b c"]`, "A=b c is not Name=value"},
		{"a number", global + "parameter_overrides = [1]", "1 is not Name=value"},
	} {
		_, err := Read(write(t, test.text), "prod")
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got error %v, want one line with %q", test.name, err, test.want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "samconfig.toml"), "prod"); err == nil {
		t.Error("no file: got no error, want one")
	}
}
