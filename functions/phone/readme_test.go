package main

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

// readFile reads a file of the project's.
func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rows returns the cells of the tables' rows whose first cell is `code`, of that
// form.
func rows(text, form string) map[string][]string {
	all := map[string][]string{}
	for _, line := range regexp.MustCompile("(?m)^\\| `("+form+")` \\|.*$").FindAllStringSubmatch(text, -1) {
		cells := strings.Split(strings.Trim(line[0], "| "), " | ")
		all[line[1]] = cells[1:]
	}
	return all
}

// Both say of errors, variables and defaults what the code does.
func TestReadmesTablesAreTheCodes(t *testing.T) {
	parameters := readTemplate(t).section(t, "Parameters")
	for _, name := range readmes {
		text := readFile(t, name)
		errors := rows(text, "[a-z_]+")
		maps.DeleteFunc(errors, func(name string, _ []string) bool { return name == "error" || name == "code" || name == "iv" }) // of other tables
		for _, kind := range failure.Kinds() {
			cells := errors[string(kind)]
			if len(cells) != 3 || cells[0] != fmt.Sprint(kind.Status()) || !strings.HasPrefix(cells[2], "`"+string(kind.Action())+"`") {
				t.Errorf("%s says of %s %v, and it is %d %s", name, kind, cells, kind.Status(), kind.Action())
			}
		}
		if len(errors) != len(failure.Kinds()) {
			t.Errorf("%s has the errors %v", name, slices.Sorted(maps.Keys(errors)))
		}
		for _, action := range failure.Actions() {
			if !regexp.MustCompile("`" + string(action) + "`(（| \\()").MatchString(text) {
				t.Errorf("%s does not say what %s means", name, action)
			}
		}
		for _, errcode := range []int{40029, 40163, 40226, 45011, 40013, 40125, 40164, 40243, 41002, 41004} {
			if !strings.Contains(text, fmt.Sprint(errcode)) {
				t.Errorf("%s does not speak of errcode %d", name, errcode)
			}
		}

		variables := rows(text, "[A-Z_]+")
		values := map[string]string{"WECHAT_SECRET_ID": "id"}
		for variable, cells := range variables {
			if fallback := strings.Trim(cells[1], "`"); variable != "WECHAT_SECRET_ID" {
				values[variable] = fallback
			}
		}
		read := map[string]bool{}
		documented, err := readConfig(func(variable string) string { read[variable] = true; return values[variable] })
		if err != nil {
			t.Errorf("%s: its defaults are refused: %v", name, err)
		}
		fallback, err := readConfig(func(variable string) string { return map[string]string{"WECHAT_SECRET_ID": "id"}[variable] })
		if err != nil || documented != fallback {
			t.Errorf("%s: its defaults are %+v, the code's %+v", name, documented, fallback)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(variables)), slices.Sorted(maps.Keys(read))) {
			t.Errorf("%s has the variables %v", name, slices.Sorted(maps.Keys(variables)))
		}
		for parameter := range rowsOfParameters(text) {
			if parameters[parameter] == nil {
				t.Errorf("%s speaks of the parameter %s, which template.yaml has not", name, parameter)
			}
		}
	}
}

func rowsOfParameters(text string) map[string]bool {
	all := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[A-Z][A-Za-z]+`[^|]*) \\|").FindAllStringSubmatch(text, -1) {
		for _, name := range regexp.MustCompile("`([A-Z][a-z][A-Za-z]+)`").FindAllStringSubmatch(row[1], -1) {
			all[name[1]] = true
		}
	}
	return all
}

// run says where each command of the READMEs is run, so that it cannot rot.
// What needs more than this machine is marked as such in the READMEs.
var run = map[string]string{
	"run": ".ci/run", "invoke": ".ci/run", "test": ".ci/run", "build": ".ci/run", "lint": ".ci/run", "lint-security": ".ci/run", "fuzz": ".ci/run", "bench": ".ci/run", "test-miniprogram": ".ci/run",
	"start":  "TestStageStaysUpUntilItIsInterruptedAndEndsAllItStarted, TestMakeStartHasTheDeployedRoute",
	"smoke":  "TestADeploymentThatWorksPasses",
	"secret": "TestStackThatMadeItsSecretHealsWithoutADeployment",
	"deploy": "needs an account", "logs": "needs an account", "delete": "needs an account",
	"sam-invoke": "needs SAM CLI and Docker", "sam-start": "needs SAM CLI and Docker",
}

func TestReadmesCommandsExistAndAreRun(t *testing.T) {
	makefile, ci := readFile(t, "Makefile"), readFile(t, ".ci/run")
	targets := map[string]bool{}
	for _, rule := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):.*## `).FindAllStringSubmatch(makefile, -1) {
		targets[rule[1]] = true
	}
	command := regexp.MustCompile("(?:`|^| +)make (?:--silent )?([a-z][a-z-]*)(?: [A-Z]|`|$| +#)")
	used := map[string][]string{}
	for _, name := range append([]string{"CONTRIBUTING.md", "SECURITY.md", "docs/operations.md", "docs/architecture.md", "docs/pipelines.md", "docs/performance.md", ".github/workflows/ci.yml", ".github/workflows/deploy-to.yml"}, readmes...) {
		for line := range strings.Lines(readFile(t, name)) {
			for _, found := range command.FindAllStringSubmatch(line, -1) {
				if target := found[1]; !targets[target] {
					t.Errorf("%s names make %s, which does not exist", name, target)
				} else if slices.Contains(readmes, name) {
					used[target] = append(used[target], name)
				}
			}
		}
	}
	for target, in := range used {
		if slices.Sort(in); !slices.Equal(slices.Compact(in), readmes) {
			t.Errorf("make %s stands in %v alone", target, in)
		}
		where, ok := run[target]
		switch {
		case !ok:
			t.Errorf("nothing is said to run make %s", target)
		case where == ".ci/run" && !regexp.MustCompile(`(?m)^make .*\b`+target+`\b`).MatchString(ci):
			t.Errorf(".ci/run does not run make %s", target)
		}
	}
	for _, name := range readmes {
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(readFile(t, name), -1) {
			if _, err := os.Stat(filepath.Join("../..", link[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, link[1], err)
			}
		}
	}
}
