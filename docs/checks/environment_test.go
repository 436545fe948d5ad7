package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/tools/samconfig/overrides"
)

// Another environment needs only a section in samconfig.toml. The test adds it with the
// commands of docs/deploy.md.
func TestAnotherEnvironmentIsASectionOfSamconfig(t *testing.T) {
	t.Parallel()
	_, text, _ := strings.Cut(readFile(t, "docs/deploy.md"), "\n### Another environment\n")
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(text)
	if block == nil {
		t.Fatal("docs/deploy.md does not say how to add an environment")
	}
	tree := copyTree(t)
	add := exec.Command("sh", "-e", "-c", block[1])
	add.Dir = tree
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := filepath.Join(tree, "samconfig.toml")
	section, err := overrides.Read(file, "staging")
	if err != nil || section.Stack != "wechat-phone-staging" || section.Parameters["Environment"] != "staging" {
		t.Fatalf("got %+v, error %v, want staging's stack and Environment", section, err)
	}
	before := readFile(t, "samconfig.toml")
	after, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(after), before) {
		t.Errorf("got %s, error %v, want the other environments unchanged", after, err)
	}
	tm := readTemplate(t)
	if pattern := tm.section(t, "Parameters", "Environment")["AllowedPattern"].(string); !regexp.MustCompile(
		pattern).MatchString("staging") {
		t.Errorf("the template refuses Environment=staging: %s", pattern)
	}
	if !tm.deploy(t, section.Parameters).condition("UsesCanary") {
		t.Error("staging uses no canary, want one as in prod")
	}

	dir, calls := recorders(t, `Environment\tTraffic\n`)
	path := "PATH=" + dir + ":" + os.Getenv("PATH")
	for command, want := range map[string]string{
		"deploy":  "--config-env\nstaging\n--parameter-overrides\nEnvironment=\"staging\" Traffic=\"canary\"",
		"restart": "--stack-name\nwechat-phone-staging",
		"logs":    "--config-env\nstaging",
		"delete":  "--config-env\nstaging",
	} {
		out, err := runMake(tree, []string{path}, command, "ENV=staging")
		made := calls()
		if err != nil || !slices.ContainsFunc(made, func(call string) bool { return strings.Contains(call, want) }) {
			t.Errorf("make %s: got the calls %q, error %v, want %q\n%s", command, made, err, want, out)
		}
	}
}
