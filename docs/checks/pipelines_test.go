package checks

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/tools/samconfig/overrides"
)

// Every action is pinned. Only a deployment and the job that publishes a release may
// request an OIDC token.
func TestWorkflowsArePinnedAndHaveTheLeastPermissions(t *testing.T) {
	files, err := filepath.Glob(root + "/.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		text := readFile(t, ".github/workflows/"+name)
		for _, uses := range regexp.MustCompile(`(?m)uses: (.*)$`).FindAllStringSubmatch(text, -1) {
			pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`).MatchString(uses[1])
			if !pinned && !strings.HasPrefix(uses[1], "./.github/workflows/") {
				t.Errorf("%s uses %s", name, uses[1])
			}
		}
		workflow := parseYAML(t, text)
		if top, ok := workflow["permissions"].(map[string]any); !ok || len(top) != 0 {
			t.Errorf("%s: the workflow has the permissions %v, want none", name, workflow["permissions"])
		}
		for job, j := range workflow.section(t, "jobs") {
			permissions, _ := j.(map[string]any)["permissions"].(map[string]any)
			deploys := name == "deploy-to.yml" || j.(map[string]any)["uses"] == "./.github/workflows/deploy-to.yml"
			publishes := name == "release.yml" && job == "publish"
			if (permissions["id-token"] == "write") != (deploys || publishes) {
				t.Errorf("%s: the job %s may %v", name, job, permissions)
			}
			for scope, access := range permissions {
				if access == "write" && scope != "id-token" && scope != "security-events" && !publishes {
					t.Errorf("%s: the job %s may write %s", name, job, scope)
				}
			}
		}
	}
}

// The job that may publish runs only the code of pinned actions, and can reach only the
// hosts that it needs.
func TestReleaseIsPublishedByAJobThatBuildsNothing(t *testing.T) {
	for name, j := range parseYAML(t, readFile(t, ".github/workflows/release.yml")).section(t, "jobs") {
		job := j.(map[string]any)
		if job["uses"] != nil {
			continue
		}
		steps := job["steps"].([]any)
		first := steps[0].(map[string]any)
		settings, _ := first["with"].(map[string]any)
		hardens := strings.HasPrefix(first["uses"].(string), "step-security/harden-runner@")
		if !hardens || settings["egress-policy"] != "block" {
			t.Errorf("%s: got the first step %v, want one that blocks egress", name, first)
		}
		for _, step := range steps {
			text := fmt.Sprint(step)
			if name == "publish" && regexp.MustCompile(`checkout|setup-go|make |go run`).MatchString(text) {
				t.Errorf("publish: got the step %s, want nothing that builds", text)
			}
		}
	}
}

func TestDependabotCoversEveryModule(t *testing.T) {
	covered := map[string][]string{}
	for _, u := range parseYAML(t, readFile(t, ".github/dependabot.yml"))["updates"].([]any) {
		update := u.(map[string]any)
		kind := update["package-ecosystem"].(string)
		covered[kind] = append(covered[kind], update["directory"].(string))
	}
	for kind, file := range map[string]string{"gomod": "go.mod", "npm": "package.json"} {
		var want []string
		for _, name := range filesLike(t, file) {
			want = append(want, path.Join("/", path.Dir(name)))
		}
		slices.Sort(covered[kind])
		slices.Sort(want)
		if !slices.Equal(covered[kind], want) {
			t.Errorf("%s: got the folders %v, want %v", kind, covered[kind], want)
		}
	}
	if !slices.Equal(covered["github-actions"], []string{"/"}) {
		t.Errorf("got the folders %v of actions, want /", covered["github-actions"])
	}
}

// One build goes to both environments.
func TestDevAndProdTakeTheSameBuild(t *testing.T) {
	architecture := map[string]string{}
	for _, env := range []string{"dev", "prod"} {
		section, err := overrides.Read(filepath.Join(root, "samconfig.toml"), env)
		if err != nil {
			t.Fatal(err)
		}
		architecture[env] = section.Parameters["Architecture"]
	}
	if dev, prod := architecture["dev"], architecture["prod"]; dev != prod {
		t.Errorf("dev takes Architecture %q, prod %q; want the same", dev, prod)
	}
}

func TestDocumentNamesEveryWorkflow(t *testing.T) {
	files, err := filepath.Glob(root + "/.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !strings.Contains(readFile(t, "docs/pipelines.md"), "\n| "+name+" | ") {
			t.Errorf("docs/pipelines.md has no row for %s", name)
		}
	}
}

// deployment runs .ci/deploy for prod. It replaces the script's commands with stand-ins
// that print what the variables say, and returns their arguments, line by line.
func deployment(t *testing.T, variables ...string) (commands []string, err error) {
	t.Helper()
	record := filepath.Join(t.TempDir(), "record")
	write := fmt.Sprintf(`echo "${0##*/} $*" >>'%s'`, record)
	dir := scripts(t, map[string]string{
		"sam":  write + "\n[ -z \"$SAM_FAILS\" ]",
		"make": write,
		"aws": write + `
case "$*" in
*StackStatus*) echo "$STATE" ;;
*"OutputKey=='PhoneUrl'"*) echo "$PHONE" ;;
*"OutputKey=='TokenIssuer'"*) echo "$ISSUER" ;;
*"OutputKey=='DomainTarget'"*) echo "$TARGET" ;;
esac`,
	})
	command := exec.Command(filepath.Join(root, ".ci/deploy"), "prod")
	command.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CLOUDFORMATION_ROLE=the-role", "APPID=")
	command.Env = append(command.Env, "GITHUB_STEP_SUMMARY="+os.DevNull)
	command.Env = append(command.Env, variables...)
	out, err := command.CombinedOutput()
	text, readErr := os.ReadFile(record)
	if readErr != nil {
		t.Fatalf("%v\n%s", readErr, out)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), err
}

// commandsOf returns the commands that begin with a prefix.
func commandsOf(all []string, prefix string) (some []string) {
	for _, command := range all {
		if strings.HasPrefix(command, prefix) {
			some = append(some, command)
		}
	}
	return some
}

// Verifiers use the issuer's address. Testing another address proves nothing, and make
// smoke refuses it.
func TestDeploymentIsTestedAtTheIssuersAddress(t *testing.T) {
	const api = "https://x.execute-api.us-east-1.amazonaws.com"
	for name, tt := range map[string]struct{ phone, issuer, target, appID, want string }{
		"tokens off": {api + "/phone", "", "", "", "URL=" + api + "/phone CONNECT= APPID="},
		"no domain":  {api + "/phone", api, "", "", "URL=" + api + "/phone CONNECT= APPID="},
		"a domain whose DNS may not point to it": {"https://example.com/shop/phone", "", "d.example.com", "wx1",
			"URL=https://example.com/shop/phone CONNECT=d.example.com APPID=wx1"},
		"the domain issues": {"https://example.com/shop/phone", "https://example.com/shop", "d.example.com", "",
			"URL=https://example.com/shop/phone CONNECT=d.example.com APPID="},
		"CloudFront before the domain": {"https://origin.example.com/phone", "https://example.com/id", "d.example.com", "",
			"URL=https://example.com/id/phone CONNECT= APPID="},
	} {
		commands, err := deployment(t, "STATE=UPDATE_COMPLETE", "PHONE="+tt.phone, "ISSUER="+tt.issuer,
			"TARGET="+tt.target, "APPID="+tt.appID)
		last := commands[len(commands)-1]
		if want := "make smoke " + tt.want; err != nil || last != want {
			t.Errorf("%s: got %q, %v, want %q", name, last, err, want)
		}
	}
}

func TestDeploymentUsesCloudFormationsRoleAndIsNotTestedIfItFails(t *testing.T) {
	const want = "sam deploy --config-env prod --role-arn the-role --no-confirm-changeset --no-fail-on-empty-changeset"
	for _, fails := range []string{"", "1"} {
		commands, err := deployment(t, "STATE=UPDATE_COMPLETE", "PHONE=https://example.com/phone", "SAM_FAILS="+fails)
		if got := commandsOf(commands, "sam"); len(got) != 1 || got[0] != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if tested := len(commandsOf(commands, "make smoke")) == 1; tested != (fails == "") || (err == nil) != tested {
			t.Errorf("sam fails: %q, got %q, %v, want a test only of what works", fails, commands, err)
		}
	}
}

func TestOnlyAFailedFirstDeploymentIsDeleted(t *testing.T) {
	want := []string{
		"aws cloudformation delete-stack --stack-name wechat-phone-prod",
		"aws cloudformation wait stack-delete-complete --stack-name wechat-phone-prod",
	}
	for _, command := range want {
		if !strings.Contains(readFile(t, "docs/operations.md"), command) {
			t.Errorf("docs/operations.md does not show %s", command)
		}
	}
	for _, state := range []string{"ROLLBACK_COMPLETE", "CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"} {
		commands, err := deployment(t, "STATE="+state, "PHONE=https://example.com/phone")
		got, wanted := append(commandsOf(commands, want[0]), commandsOf(commands, want[1])...), want
		if state != "ROLLBACK_COMPLETE" {
			wanted = nil
		}
		if err != nil || !slices.Equal(got, wanted) {
			t.Errorf("%s: got %q, %v, want %q", state, got, err, wanted)
		}
	}
}
