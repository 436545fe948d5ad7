package checks

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/tools/samconfig/overrides"
)

// addEnvironment adds an environment to a copy's samconfig.toml with the command of
// docs/deploy.md, under another name than the page's: an owner may have that already.
func addEnvironment(t *testing.T, tree, name string) {
	t.Helper()
	_, text, _ := strings.Cut(readFile(t, "docs/deploy.md"), "\n### Another environment\n")
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(text)
	if block == nil {
		t.Fatal("docs/deploy.md does not say how to add an environment")
	}
	add := exec.Command("sh", "-e", "-c", strings.ReplaceAll(block[1], "staging", name))
	add.Dir = tree
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// Another environment needs only a section in samconfig.toml. The test adds it with the
// commands of docs/deploy.md.
func TestAnotherEnvironmentIsASectionOfSamconfig(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	addEnvironment(t, tree, "another")
	file := filepath.Join(tree, "samconfig.toml")
	prod, err := overrides.Read(file, "prod")
	if err != nil {
		t.Fatal(err)
	}
	prod.Parameters["Environment"] = "another"
	section, err := overrides.Read(file, "another")
	if err != nil || section.Stack != "wechat-phone-another" || !maps.Equal(section.Parameters, prod.Parameters) {
		t.Fatalf("got %+v, error %v, want a stack of its own, with %v", section, err, prod.Parameters)
	}
	before := readFile(t, "samconfig.toml")
	after, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(after), before) {
		t.Errorf("got %s, error %v, want the other environments unchanged", after, err)
	}
	tm := readTemplate(t)
	if pattern := tm.section(t, "Parameters", "Environment")["AllowedPattern"].(string); !regexp.MustCompile(
		pattern).MatchString("another") {
		t.Errorf("the template refuses Environment=another: %s", pattern)
	}
	section.Parameters["Traffic"] = "canary"
	if !tm.deploy(t, section.Parameters).condition("UsesCanary") {
		t.Error("the environment uses no canary, want one as in prod")
	}

	dir, calls := recorders(t, `Environment\tTraffic\n`)
	path := "PATH=" + dir + ":" + os.Getenv("PATH")
	for command, want := range map[string]string{
		"deploy":  "--config-env\nanother\n--parameter-overrides\n" + overrides.Format(prod.Parameters),
		"restart": "--stack-name\nwechat-phone-another",
		"logs":    "--config-env\nanother",
		"delete":  "--config-env\nanother",
	} {
		out, err := runMake(tree, []string{path}, command, "ENV=another")
		made := calls()
		if err != nil || !slices.ContainsFunc(made, func(call string) bool { return strings.Contains(call, want) }) {
			t.Errorf("make %s: got the calls %q, error %v, want %q\n%s", command, made, err, want, out)
		}
	}
}
