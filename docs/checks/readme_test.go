package checks

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/functions/phone/failure"
)

var readmes = []string{"README.md", "README.zh-CN.md"}

// rows finds the table rows whose first cell is a `name` that matches form. It
// returns their other cells, by name.
func rows(text, form string) map[string][]string {
	all := map[string][]string{}
	for _, line := range regexp.MustCompile("(?m)^\\| `("+form+")` \\|.*$").FindAllStringSubmatch(text, -1) {
		cells := strings.Split(strings.Trim(line[0], "| "), " | ")
		all[line[1]] = cells[1:]
	}
	return all
}

func TestReadmesListEveryError(t *testing.T) {
	for _, name := range readmes {
		text := readFile(t, name)
		errors := rows(text, "[a-z_]+")
		maps.DeleteFunc(errors, func(name string, _ []string) bool {
			return name == "error" || name == "code" || name == "iv" || name == "appid" // they are in other tables
		})
		for _, kind := range failure.Kinds() {
			cells, action := errors[string(kind)], "`"+string(kind.Action())+"`"
			if len(cells) != 3 || cells[0] != fmt.Sprint(kind.Status()) || !strings.HasPrefix(cells[2], action) {
				t.Errorf("%s: got the row %v for %s, want %d and %s", name, cells, kind, kind.Status(), action)
			}
		}
		if len(errors) != len(failure.Kinds()) {
			t.Errorf("%s: got the errors %v, want %v", name, slices.Sorted(maps.Keys(errors)), failure.Kinds())
		}
		for _, action := range failure.Actions() {
			if !regexp.MustCompile("`" + string(action) + "`(（| \\()").MatchString(text) {
				t.Errorf("%s: got no explanation of the action %s, want one", name, action)
			}
		}
		for _, errcode := range []int{40029, 40163, 40226, 45011, 40013, 40125, 40164, 40243, 41002, 41004} {
			if !strings.Contains(text, fmt.Sprint(errcode)) {
				t.Errorf("%s: got no errcode %d, want it mentioned", name, errcode)
			}
		}
	}
}

func TestReadmesNameParametersOfTheTemplate(t *testing.T) {
	parameters := readTemplate(t).section(t, "Parameters")
	row := regexp.MustCompile("(?m)^\\| (`[A-Z][A-Za-z]+`[^|]*) \\|")
	parameter := regexp.MustCompile("`([A-Z][a-z][A-Za-z]+)`")
	for _, readme := range readmes {
		named := map[string]bool{}
		for _, cell := range row.FindAllStringSubmatch(readFile(t, readme), -1) {
			for _, name := range parameter.FindAllStringSubmatch(cell[1], -1) {
				named[name[1]] = true
				if parameters[name[1]] == nil {
					t.Errorf("%s: got the parameter %s, want one of template.yaml's", readme, name[1])
				}
			}
		}
		if len(named) == 0 {
			t.Errorf("%s: got no parameter, want some", readme)
		}
	}
}

// runners says what runs each command of the READMEs, so that the commands keep
// working. A few need more than this machine.
var runners = map[string]string{
	"run": ".ci/run", "invoke": ".ci/run", "test": ".ci/run", "build": ".ci/run", "lint": ".ci/run",
	"lint-security": ".ci/run", "fuzz": ".ci/run", "bench": ".ci/run", "test-miniprogram": ".ci/run",
	"test-release": ".ci/run",
	"start":        "TestStageStaysUpUntilItIsInterruptedAndEndsAllItStarted, TestMakeStartHasTheDeployedRoutes",
	"smoke":        "TestWorkingDeploymentPasses",
	"release":      "TestRelease, which make test-release runs",
	"restart":      "TestRestartRedeploysWhatIsDeployed",
	"secret":       "TestStackThatMadeItsSecretHealsWithoutADeployment",
	"key":          "TestFirstRunMakesASigningKeyAndANextKey",
	"deploy":       "needs an account", "logs": "needs an account", "delete": "needs an account",
	"sam-invoke": "needs SAM CLI and Docker", "sam-start": "needs SAM CLI and Docker",
}

func TestCommandsInTheReadmesExistAndAreRun(t *testing.T) {
	ci := readFile(t, ".ci/run")
	used := map[string][]string{}
	for _, name := range append([]string{
		"CONTRIBUTING.md", "SECURITY.md", "docs/backend.md", "docs/backend.zh-CN.md",
		"docs/operations.md", "docs/architecture.md", "docs/identity.md", "docs/pipelines.md", "docs/performance.md",
		"docs/releases.md",
		".github/workflows/ci.yml", ".ci/deploy",
	}, readmes...) {
		for _, target := range makeTargets(t, name) {
			if slices.Contains(readmes, name) {
				used[target] = append(used[target], name)
			}
		}
	}
	for target, in := range used {
		if slices.Sort(in); !slices.Equal(slices.Compact(in), readmes) {
			t.Errorf("make %s: got it in %v, want it in %v", target, in, readmes)
		}
		runner, ok := runners[target]
		switch {
		case !ok:
			t.Errorf("make %s: got no runner, want one", target)
		case runner == ".ci/run" && !regexp.MustCompile(`(?m)^make .*\b`+target+`\b`).MatchString(ci):
			t.Errorf("make %s: .ci/run does not run it, want it there", target)
		}
	}
}

// makeTargets returns the make targets that a file names. It checks that they exist.
func makeTargets(t *testing.T, name string) (targets []string) {
	t.Helper()
	exists := map[string]bool{}
	rules := regexp.MustCompile(`(?m)^([a-z][a-z-]*):.*## `)
	for _, rule := range rules.FindAllStringSubmatch(readFile(t, "Makefile"), -1) {
		exists[rule[1]] = true
	}
	command := regexp.MustCompile("(?:`|^| +)make (?:--silent )?([a-z][a-z-]*)(?: [A-Z]|`|$| +#)")
	for line := range strings.Lines(readFile(t, name)) {
		for _, found := range command.FindAllStringSubmatch(line, -1) {
			target := found[1]
			if !exists[target] {
				t.Errorf("%s: got make %s, want a target of the Makefile", name, target)
				continue
			}
			targets = append(targets, target)
		}
	}
	return targets
}

func TestDocumentsLinkToWhatExists(t *testing.T) {
	for _, name := range append(backendPages, readmes...) {
		for _, link := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(readFile(t, name), -1) {
			path, anchor, _ := strings.Cut(link[1], "#")
			file := name
			if path != "" {
				file = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: got a link to %s, want one to a file: %v", name, link[1], err)
			} else if anchor != "" && !slices.Contains(anchors(readFile(t, file)), anchor) {
				t.Errorf("%s: got a link to %s, want one to a heading", name, link[1])
			}
		}
	}
}

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(text string) (names []string) {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}
