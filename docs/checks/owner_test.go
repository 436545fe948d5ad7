package checks

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A pipeline deploys an owner's copy only if every check passes there. The test makes
// the changes that docs/deploy.md and docs/pipelines.md ask for, and runs this package's
// tests on the result. An owner may have made some of them already.
func TestOwnersCopyPassesTheChecks(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	page := readFile(t, "docs/deploy.md")

	writeSettings(t, tree, `[
  "Environment=prod", "Traffic=at-once", "AlarmEmail=alarms@example.com", 'DomainName=""',
  "TokenIssuer=https://login.example.com",
]`)
	addEnvironment(t, tree, "pilot")

	change(t, tree, ".github/workflows/deploy.yml", func(text string) string {
		text = strings.NewReplacer("\n  dev:", "\n  trial:", ": dev\n", ": trial\n").Replace(text)
		_, prod, _ := strings.Cut(text, "\n  prod:\n")
		return text + "\n  pilot:\n" + strings.ReplaceAll(prod, "prod", "pilot")
	})

	vpc := regexp.MustCompile("(?s)   ```yaml\n(   VpcConfig:.*?\n)   ```").FindStringSubmatch(page)
	if vpc == nil {
		t.Fatal("got no VpcConfig in docs/deploy.md, want it")
	}
	change(t, tree, "template.yaml", func(text string) string {
		if strings.Contains(text, "VpcConfig:") {
			return text
		}
		ids := strings.NewReplacer("-…", "-0123456789abcdef0", "   VpcConfig", "      VpcConfig", "     S", "        S")
		const properties, statements = "      LoggingConfig:\n", "              - Effect: Allow\n                Action:\n"
		statement := strings.ReplaceAll(statements, "\n                Action:\n", "\n                Resource: \"*\"\n"+
			"                Action: ["+strings.Join(vpcActions, ", ")+"]\n")
		text = strings.Replace(text, properties, ids.Replace(vpc[1])+properties, 1)
		return strings.Replace(text, statements, statement+statements, 1)
	})

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The two others take long, and nothing that an owner changes concerns them.
	skip := "^(" + t.Name() + "|TestCommandsWorkInAnyFolderAndShell|TestMissingProgramsAreNamedInOneLine)$"
	checks := exec.CommandContext(t.Context(), self, "-test.skip", skip)
	checks.Dir = filepath.Join(tree, "docs/checks")
	checks.Env = append(os.Environ(), "GOWORK=off") // as the Makefile sets it
	if out, err := checks.CombinedOutput(); err != nil {
		t.Errorf("the checks of an owner's copy: %v\n%s", err, out)
	}
}

// change changes a file of a copy of the project.
func change(t *testing.T, tree, name string, edit func(string) string) {
	t.Helper()
	file := filepath.Join(tree, name)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(edit(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// docs/deploy.md lists what Lambda needs in a VPC. A role may have these actions, and no
// others, if the function has a VpcConfig.
func TestDeployPageHasTheActionsForAVPC(t *testing.T) {
	for _, action := range vpcActions {
		if !strings.Contains(readFile(t, "docs/deploy.md"), "`"+action+"`") {
			t.Errorf("got no %s in docs/deploy.md, want it", action)
		}
	}
}
