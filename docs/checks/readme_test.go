package checks

import (
	"cmp"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var readmes = []string{"README.md", "README.zh-CN.md"}

// The READMEs show what the mock WeChat and the function answer to the commands beside
// the answers.
func TestReadmesShowALogin(t *testing.T) {
	t.Parallel()
	r := raiseWithTokens(t)
	const tap, post = `curl -s 'http://127\.0\.0\.1:3001(/\S+)'`, `curl -s --json @- http://127\.0\.0\.1:3000(/\S+)`
	login := regexp.MustCompile(`(?m)^` + tap + ` \| ` + post + `$`)
	for _, name := range readmes {
		command := login.FindStringSubmatch(readFile(t, name))
		shown := regexp.MustCompile("```json\n(.*)\n```").FindStringSubmatch(readFile(t, name))
		if command == nil || shown == nil {
			t.Fatalf("%s: got no command or no answer, want both", name)
		}
		page, err := http.Get(r.WeChatURL + command[1])
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(page.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = page.Body.Close()
		var got, want map[string]any
		answer := r.Send("POST", command[2], "application/json", string(body))
		for text, fields := range map[string]*map[string]any{answer.Body: &got, shown[1]: &want} {
			if err := json.Unmarshal([]byte(text), fields); err != nil {
				t.Fatalf("%s: %v: %s", name, err, text)
			}
		}
		if fmt.Sprint(keys(got)) != fmt.Sprint(keys(want)) || got["expiresIn"] != want["expiresIn"] {
			t.Errorf("%s: got the answer %v, want %v's fields", name, got, want)
		}
	}
}

// Each row of the READMEs' table links to the tests that it names.
func TestReadmesLinkToTheTestsOfTheirTable(t *testing.T) {
	var first []string
	for _, name := range readmes {
		links := regexp.MustCompile("\\[`(\\w+)`\\]\\(([^)]+_test\\.go)\\)").FindAllStringSubmatch(readFile(t, name), -1)
		var named []string
		for _, link := range links {
			named = append(named, link[1])
			if !strings.Contains(readFile(t, link[2]), "\nfunc "+link[1]+"(") {
				t.Errorf("%s: got a link to %s for %s, want the file that declares it", name, link[2], link[1])
			}
		}
		if first == nil {
			first = named
		}
		if len(named) < 9 || !slices.Equal(named, first) {
			t.Errorf("%s: got the tests %v, want those of %s: %v", name, named, readmes[0], first)
		}
	}
}

// settings is a table of docs/deploy.md: names, and their defaults in the last cells.
func settings(t *testing.T, heading string) map[string]string {
	t.Helper()
	defaults := map[string]string{}
	for name, cells := range table(t, deployPage, heading) {
		fallback := cells[len(cells)-1]
		if strings.HasPrefix(fallback, "`") {
			defaults[name] = strings.Trim(fallback, "`")
		} else {
			defaults[name] = "" // in words
		}
	}
	return defaults
}

const deployPage = "docs/deploy.md"

func TestDeployPageHasEveryParameterAndItsDefault(t *testing.T) {
	parameters := readTemplate(t).section(t, "Parameters")
	documented := settings(t, "Parameters")
	wantNames(t, deployPage+", Parameters", keys(documented), keys(parameters))
	for name, got := range documented {
		p, _ := parameters[name].(map[string]any)
		if want := fmt.Sprint(p["Default"]); p != nil && got != want {
			t.Errorf("%s: got the default %q for %s, want template.yaml's %q", deployPage, got, name, want)
		}
	}
}

// runners says what runs each command of the documents, so that the commands keep
// working. A few need more than this machine.
var runners = map[string]string{
	"run": ".ci/run", "invoke": ".ci/run", "test": ".ci/run", "build": ".ci/run", "lint": ".ci/run",
	"lint-security": ".ci/run", "fuzz": ".ci/run", "bench": ".ci/run", "test-miniprogram": ".ci/run",
	"test-stage": ".ci/run", "test-verifiers": ".ci/run", "test-release": ".ci/run", "check": ".ci/run",
	"start":   "TestStageStaysUpUntilItIsInterruptedAndEndsAllItStarted, TestMakeStartHasTheDeployedRoutes",
	"smoke":   "TestWorkingDeploymentPasses",
	"restart": "TestRestartRedeploysWhatIsDeployed",
	"secret":  "TestStackThatMadeItsSecretHealsWithoutADeployment",
	"key":     "TestFirstRunMakesASigningKeyAndANextKey",
	"release": "TestRelease, which make test-release runs",
	"soak":    "takes minutes", "vulncheck": "needs a network; ci.yml runs it every week",
	"deploy": "needs an account", "logs": "needs an account", "delete": "needs an account",
	"sam-invoke": "needs SAM CLI and Docker", "sam-start": "needs SAM CLI and Docker",
}

func TestCommandsInTheDocumentsExistAndAreRun(t *testing.T) {
	ci := readFile(t, ".ci/run")
	used, inReadmes := map[string]bool{}, map[string][]string{}
	workflows := []string{".github/workflows/ci.yml", ".ci/deploy"}
	for _, name := range append(filesLike(t, "*.md"), workflows...) {
		for _, target := range makeTargets(t, name) {
			used[target] = true
			if slices.Contains(readmes, name) {
				inReadmes[target] = append(inReadmes[target], name)
			}
		}
	}
	for target, in := range inReadmes {
		if slices.Sort(in); !slices.Equal(slices.Compact(in), readmes) {
			t.Errorf("make %s: got it in %v, want it in %v", target, in, readmes)
		}
	}
	for target := range used {
		runner, ok := runners[target]
		switch {
		case !ok:
			t.Errorf("make %s: got no runner, want one", target)
		case runner == ".ci/run" && !regexp.MustCompile(`(?m)^make .*\b`+target+`\b`).MatchString(ci):
			t.Errorf("make %s: .ci/run does not run it, want it there", target)
		}
	}
}

// A Mac's interactive zsh passes a comment to the command as arguments.
func TestCommandsToCopyHaveNoComments(t *testing.T) {
	commands := 0
	for _, name := range filesLike(t, "*.md") {
		if name == "CONTRIBUTING.md" { // it is for Linux
			continue
		}
		for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(readFile(t, name), -1) {
			for line := range strings.Lines(block[1]) {
				if commands++; regexp.MustCompile(`(^|\s)# `).MatchString(line) {
					t.Errorf("%s: got a comment in %s, want it in the text", name, strings.TrimSpace(line))
				}
			}
		}
	}
	if commands < 40 {
		t.Errorf("got %d lines of commands, want those of all documents", commands)
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
	command := regexp.MustCompile("^make ([a-z-]+)\n$|(?:`|^| +)make (?:--silent )?([a-z][a-z-]*)(?: [A-Z]|`|$| +#)")
	for line := range strings.Lines(readFile(t, name)) {
		for _, found := range command.FindAllStringSubmatch(line, -1) {
			target := cmp.Or(found[1], found[2])
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
	for _, name := range filesLike(t, "*.md") {
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
	seen := map[string]int{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		name = strings.ReplaceAll(name, " ", "-")
		if n := seen[name]; n > 0 {
			names = append(names, fmt.Sprintf("%s-%d", name, n))
		} else {
			names = append(names, name)
		}
		seen[name]++
	}
	return names
}
