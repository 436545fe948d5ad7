//go:build release

package checks

import (
	"archive/zip"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

// release is the version that the tests make. CHANGELOG.md has a section about it.
const release = "1.0.0"

// All tests are subtests of this one, because making a release takes a while.
func TestRelease(t *testing.T) {
	tree, plain := copyTree(t), filepath.Join(t.TempDir(), "project") // the first one's path has a space
	if err := os.Rename(copyTree(t), plain); err != nil {
		t.Fatal(err)
	}
	dist := makeRelease(t, tree, append(hostileSettings(t), "TZ=America/New_York"))
	t.Run("elsewhere", func(t *testing.T) {
		variables := []string{"TZ=Asia/Shanghai", "USER=another", "LANG=zh_CN.UTF-8", "TMPDIR=" + t.TempDir()}
		other := makeRelease(t, plain, variables)
		first, second := filesIn(t, dist), filesIn(t, other)
		for _, name := range slices.Sorted(maps.Keys(first)) {
			if first[name] != second[name] {
				t.Errorf("%s: got other bytes in another folder and shell, want the same", name)
			}
		}
		if len(first) != len(second) {
			t.Errorf("got %d files, and %d elsewhere, want the same", len(first), len(second))
		}
	})
	t.Run("checksums", func(t *testing.T) { checkSums(t, dist) })
	for _, arch := range []string{"x86_64", "arm64"} {
		t.Run("template "+arch, func(t *testing.T) { checkReleasedTemplate(t, dist, arch) })
	}
	t.Run("archives", func(t *testing.T) { checkArchives(t, dist) })
	t.Run("events", func(t *testing.T) { checkReleasedEvents(t, dist) })
	t.Run("an operator without Go", func(t *testing.T) { operateRelease(t, dist) })
}

// makeRelease makes the release in tree and returns its folder.
func makeRelease(t *testing.T, tree string, variables []string) string {
	t.Helper()
	if out, err := runMake(tree, variables, "release", "VERSION="+release); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(tree, "dist")
}

// filesIn returns the texts of a folder's files, by name.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[entry.Name()] = string(text)
	}
	return all
}

func checkSums(t *testing.T, dist string) {
	files := filesIn(t, dist)
	sums := files["SHA256SUMS"]
	delete(files, "SHA256SUMS")
	want := ""
	for _, name := range slices.Sorted(maps.Keys(files)) {
		want += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(files[name])), name)
	}
	if sums != want {
		t.Errorf("got SHA256SUMS\n%swant\n%s", sums, want)
	}
}

// checkReleasedTemplate checks that a template deploys its zip as it is.
func checkReleasedTemplate(t *testing.T, dist, arch string) {
	file := filepath.Join(dist, "template-"+arch+".yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	function := parseYAML(t, string(text)).section(t, "Resources", "PhoneFunction")
	properties := function["Properties"].(map[string]any)
	zipped, _ := properties["CodeUri"].(string)
	if _, err := os.Stat(filepath.Join(dist, zipped)); err != nil || !strings.Contains(zipped, arch) {
		t.Errorf("got CodeUri %q, %v, want the zip for %s", zipped, err, arch)
	}
	if got := fmt.Sprint(properties["Architectures"]); got != "["+arch+"]" {
		t.Errorf("got Architectures %s, want %s alone", got, arch)
	}
	if metadata, _ := function["Metadata"].(map[string]any); metadata["BuildMethod"] != nil {
		t.Errorf("got BuildMethod %v, want none", metadata["BuildMethod"])
	}
	if _, err := exec.LookPath("cfn-lint"); err != nil {
		t.Log("skipped cfn-lint, which is not on this machine")
	} else {
		out, err := exec.Command("cfn-lint", file, "--regions", "us-east-1", "cn-northwest-1").CombinedOutput()
		if err != nil {
			t.Errorf("cfn-lint: %v\n%s", err, out)
		}
	}
	checkTranslations(t, string(text))
}

// checkArchives checks what each zip holds, and that a program is executable.
func checkArchives(t *testing.T, dist string) {
	count := 0
	for name := range filesIn(t, dist) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(name, ".zip"), "-")
		want, mode := []string{"bootstrap"}, os.FileMode(0o755)
		switch {
		case filepath.Ext(name) != ".zip":
			continue
		case kind == "events":
			want, mode = nil, 0o644
			for _, file := range filesLike(t, "*.json") {
				if strings.HasPrefix(file, "events/") {
					want = append(want, filepath.Base(file))
				}
			}
		case strings.HasPrefix(rest, "windows"):
			want = []string{"key.exe", "secret.exe", "smoke.exe"}
		case kind == "tools":
			want = []string{"key", "secret", "smoke"}
		}
		count++
		if got := unpack(t, filepath.Join(dist, name), t.TempDir(), mode); !slices.Equal(got, want) {
			t.Errorf("%s: got the files %v, want %v", name, got, want)
		}
	}
	if count != 9 {
		t.Errorf("got %d zips, want two for Lambda, six of tools, and the events", count)
	}
}

// unpack unpacks a zip into dir and returns its files' names. All must have that mode.
func unpack(t *testing.T, file, dir string, mode os.FileMode) (names []string) {
	t.Helper()
	archive, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }()
	for _, packed := range archive.File {
		if packed.Mode() != mode || packed.Modified.Year() != 1980 {
			t.Errorf("%s in %s: got mode %v and time %v, want %v and 1980",
				packed.Name, file, packed.Mode(), packed.Modified, mode)
		}
		from, err := packed.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, packed.Name), text, packed.Mode()); err != nil {
			t.Fatal(err)
		}
		names = append(names, packed.Name)
	}
	return names
}

// releasedBootstrap unpacks the function for this machine.
func releasedBootstrap(t *testing.T, dist string) string {
	t.Helper()
	dir := t.TempDir()
	arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[runtime.GOARCH]
	unpack(t, filepath.Join(dist, "function-"+arch+".zip"), dir, 0o755)
	return filepath.Join(dir, "bootstrap")
}

// checkReleasedEvents sends every event to the released function, and to that of this
// checkout. Both must answer alike.
func checkReleasedEvents(t *testing.T, dist string) {
	events := t.TempDir()
	names := unpack(t, filepath.Join(dist, "events.zip"), events, 0o644)
	raise := func(bootstrap string) *rig.Rig {
		return rig.Raise(t, func(c *stage.Config) {
			c.Bootstrap, c.Tokens, c.Env = bootstrap, true, []string{"WATERMARK_MAX_AGE=0"}
		})
	}
	own, released := raise(rig.Bootstrap(t)), raise(releasedBootstrap(t, dist))
	for _, name := range names {
		if name == "env.json" { // sam local's variables
			continue
		}
		event, err := os.ReadFile(filepath.Join(events, name))
		if err != nil {
			t.Fatal(err)
		}
		want, got := own.Invoke(string(event)), released.Invoke(string(event))
		if got.Status != want.Status || got.Error != want.Error || got.Phone != want.Phone || got.Status >= 500 {
			t.Errorf("%s: got %d %s, want %d %s", name, got.Status, got.Body, want.Status, want.Body)
		}
		if got.Header.Get("x-version") != release {
			t.Errorf("%s: got x-version %q, want %s", name, got.Header.Get("x-version"), release)
		}
	}
	want := `"message":"the function has started","version":"` + release + `"`
	if log := released.Logs.Text(); !strings.Contains(log, want) {
		t.Errorf("got the log %s, want %s in it", log, want)
	}
}

// operateRelease does what an operator with only the release and the SAM CLI does: it
// deploys, sets the app secret, makes keys and tests the deployment. A stand-in for the
// SAM CLI knows one stack, whose function runs on the stage.
func operateRelease(t *testing.T, dist string) {
	s, err := stage.Raise(stage.Config{
		Bootstrap: releasedBootstrap(t, dist), Logs: io.Discard, Routes: stage.Routes, Tokens: true,
		Env: []string{"WECHAT_SECRET_ID=of-the-stack", "SIGNING_SECRET_ID=of-the-tokens"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	outputs := fmt.Sprintf(`[{"OutputKey":"PhoneUrl","OutputValue":"%s/phone"},`+
		`{"OutputKey":"SecretArn","OutputValue":"%s"},{"OutputKey":"SigningSecretArn","OutputValue":"%s"}]`,
		s.URL, s.Secrets.Create("of-the-stack"), s.Secrets.Create("of-the-tokens"))
	sam := scripts(t, map[string]string{"sam": `case "$*" in
		"deploy --template-file template-x86_64.yaml --stack-name wechat-phone-prod "*) ;;
		"list stack-outputs --stack-name wechat-phone-prod --output json") echo '` + outputs + `' ;;
		*) echo "sam $*: want deploy or list stack-outputs" >&2; exit 9 ;; esac`})
	tools := t.TempDir()
	unpack(t, filepath.Join(dist, "tools-linux-"+runtime.GOARCH+".zip"), tools, 0o755)
	run := func(input, dir, command string, arguments ...string) string {
		t.Helper()
		c := exec.Command(command, arguments...)
		c.Dir, c.Stdin = dir, strings.NewReader(input)
		c.Env = []string{
			"PATH=" + sam, "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + s.SecretsURL,
			"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b",
		}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", command, arguments, err, out)
		}
		return string(out)
	}
	run("", dist, "/bin/sh", "-c", documentedDeploy(t))
	run(stage.Secret(stage.AppID, stage.AppSecret), tools, "./secret", "-stack", "wechat-phone-prod")
	run("", tools, "./key", "-stack", "wechat-phone-prod", "-yes")
	time.Sleep(time.Second) // the function remembers for a second that it could not read its secrets
	out := run("", tools, "./smoke", s.URL+"/phone")
	if got := len(regexp.MustCompile(`(?m)^ok  `).FindAllString(out, -1)); got != 8 || // all but TLS
		!strings.Contains(out, "the version is "+release) {
		t.Errorf("got %d checks that passed, want 8, and the version %s:\n%s", got, release, out)
	}
}

// documentedDeploy returns the command that deploys a release.
func documentedDeploy(t *testing.T) string {
	t.Helper()
	command := regexp.MustCompile(`(?m)^sam deploy (?:.*\\\n)*.*$`).FindString(readFile(t, "docs/releases.md"))
	if command == "" {
		t.Fatal("docs/releases.md has no sam deploy")
	}
	return command
}
