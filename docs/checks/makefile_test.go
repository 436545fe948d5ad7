package checks

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/local/rig"
)

// writeSettings gives a copy of the project a samconfig.toml with these parameters of
// prod. The project's own may have any: its owner changes it.
func writeSettings(t *testing.T, tree, prod string) {
	t.Helper()
	const environment = `
[%[1]s.global.parameters]
stack_name = "wechat-phone-%[1]s"
parameter_overrides = %[2]s

[%[1]s.deploy.parameters]
capabilities = "CAPABILITY_IAM"
`
	const dev = `["Environment=dev", "Traffic=at-once"]`
	text := "version = 0.1\n" + fmt.Sprintf(environment, "default", dev) + fmt.Sprintf(environment, "dev", dev) +
		fmt.Sprintf(environment, "prod", prod)
	if err := os.WriteFile(filepath.Join(tree, "samconfig.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runMake runs make in dir as from a shell that has more variables, whether or
// not the tests run under make.
func runMake(dir string, variables []string, arguments ...string) (string, error) {
	command := exec.Command("make", arguments...)
	command.Dir = dir
	inherited := []string{"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARCH", "ENV"}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); !slices.Contains(inherited, name) {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, variables...)
	out, err := command.CombinedOutput()
	return string(out), err
}

// message returns what make printed, less its own last line about the failure.
func message(out string) string {
	return regexp.MustCompile(`(?m)^make(\[\d+\])?: .*\n`).ReplaceAllString(out, "")
}

// copyTree copies the project, without .git and without what it builds, into a
// folder whose path has a space and a quote, below a go.work of another project.
func copyTree(t *testing.T) string {
	t.Helper()
	rig.Long(t) // make builds in the copy
	above := filepath.Join(t.TempDir(), "it's a copy")
	tree := filepath.Join(above, "the project")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		to := filepath.Join(tree, strings.TrimPrefix(path, root))
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", ".aws-sam", "build", "dist", "node_modules"}, entry.Name()):
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(to, 0o700)
		case entry.Name() == ".git": // a file in a worktree
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(above, "go.work"), []byte("go 1.27\nuse ./elsewhere\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// hostileSettings returns Go settings that change a build or break it, as a shell and go
// env -w may have them.
func hostileSettings(t *testing.T) []string {
	t.Helper()
	// go env -w may also have set the proxy, which must stay.
	where, err := exec.Command("go", "env", "GOENV").Output()
	if err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile(strings.TrimSpace(string(where)))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	settings = append(settings, "\nGOFLAGS=-tags=other\nGOAMD64=v3\nGOARM64=v9.0\nGOFIPS140=latest\nCGO_ENABLED=1\n"...)
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"GOENV=" + file, "GOFLAGS=-mod=mod -gcflags=-N", "GOOS=darwin", "GOARCH=arm", "GOAMD64=v3", "GOARM64=v9.0",
		"GOFIPS140=latest", "GOEXPERIMENT=nojsonv2", "CGO_ENABLED=1", "GO111MODULE=off", "VERSION=9.9.9",
		"GOWORK=" + filepath.Join(t.TempDir(), "go.work"),
	}
}

func TestCommandsWorkInAnyFolderAndShell(t *testing.T) {
	t.Parallel()
	tree, variables, artifacts := copyTree(t), hostileSettings(t), filepath.Join(t.TempDir(), "for SAM")
	read := func(path string) []byte {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if out, err := runMake(root, nil, "build-PhoneFunction", "ARTIFACTS_DIR="+artifacts); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := read(filepath.Join(artifacts, "bootstrap"))
	if out, err := runMake(tree, variables, "build"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Equal(read(filepath.Join(tree, "build/lambda/bootstrap")), want) {
		t.Error("make build wrote other bytes in another folder and shell")
	}
	// SAM names the Makefile, and gives the folder by the environment.
	other := append([]string{"ARTIFACTS_DIR=" + filepath.Join(tree, "for SAM")}, variables...)
	if out, err := runMake(tree, other, "--makefile", filepath.Join(tree, "Makefile"), "build-PhoneFunction"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Equal(read(filepath.Join(tree, "for SAM/bootstrap")), want) {
		t.Error("make build-PhoneFunction wrote other bytes in another folder and shell")
	}

	out, err := runMake(tree, variables, "run")
	if want := "6. The user's phone number is "; err != nil || !strings.Contains(out, want) {
		t.Errorf("make run: got %s, error %v, want %q in it", out, err, want)
	}
	if err := os.Rename(filepath.Join(tree, "events/phone.json"), filepath.Join(tree, "my event.json")); err != nil {
		t.Fatal(err)
	}
	out, err = runMake(tree, variables, "invoke", "EVENT=my event.json")
	if want := `{"statusCode":200,`; err != nil || !strings.Contains(out, want) {
		t.Errorf("make invoke: got %s, error %v, want %q in it", out, err, want)
	}
	out, err = runMake(tree, variables, "invoke")
	if want := "local: open events/phone.json: no such file or directory\n"; err == nil || message(out) != want {
		t.Errorf("make invoke without its event: got %s, error %v, want %q", out, err, want)
	}
}

// fakeGo writes a go that builds for Lambda only in words, and a sam that, as
// the SAM CLI does, builds by make in a copy. It returns their folder.
func fakeGo(t *testing.T) string {
	t.Helper()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	return scripts(t, map[string]string{
		"go": `[ "$GOOS" != linux ] || exec echo builds: $GOARCH $GOARM64, CGO_ENABLED=$CGO_ENABLED` +
			fmt.Sprintf("\nexec '%s' \"$@\"", real),
		"sam": `[ "$1" != build ] || ARTIFACTS_DIR=artifacts exec make --makefile "$PWD/Makefile" build-PhoneFunction`,
	})
}

// scripts writes shell scripts and returns their folder.
func scripts(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		text = "#!/bin/sh\n" + text + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A template whose Architecture is not what make has built for does not run.
func TestBuildTakesTheArchitecture(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	writeSettings(t, tree, "[\n  'Environment=prod',\n  'Architecture=arm64',\n  'Traffic=canary',\n]")
	path := "PATH=" + fakeGo(t) + ":" + os.Getenv("PATH")
	const noStage = "samconfig: samconfig.toml has no environment \"stage\", only default, dev, prod\n"
	const amd64, arm64 = "builds: amd64 v8.0, CGO_ENABLED=0\n", "builds: arm64 v8.0, CGO_ENABLED=0\n"
	for _, test := range []struct {
		name, shell, arguments, want string
		fails                        bool
	}{
		{name: "the template's default", arguments: "build", want: amd64},
		{name: "ENV", arguments: "build ENV=prod", want: arm64},
		{name: "ENV in the shell, as in a pipeline", shell: "ENV=prod", arguments: "build", want: arm64},
		{name: "ARCH", arguments: "build ARCH=arm64", want: arm64},
		{name: "ARCH in the shell, as for a bare sam build", shell: "ARCH=arm64", arguments: "build", want: arm64},
		{name: "ARCH over ENV", arguments: "build ENV=prod ARCH=x86_64", want: amd64},
		{name: "through SAM", arguments: "-s deploy ENV=prod", want: arm64},
		{name: "through SAM, default", arguments: "-s deploy ENV=default", want: amd64},
		{name: "another ARCH", arguments: "build ARCH=x86", want: "ARCH must be x86_64 or arm64, not x86\n", fails: true},
		{name: "another ENV", arguments: "build ENV=stage", want: noStage, fails: true},
		{name: "another ENV, to deploy", arguments: "deploy ENV=stage", want: noStage, fails: true},
	} {
		out, err := runMake(tree, []string{path, test.shell}, strings.Fields(test.arguments)...)
		if (err != nil) != test.fails || message(out) != test.want {
			t.Errorf("%s: got %q, error %v, want %q", test.name, out, err, test.want)
		}
	}
}

// Commands that build nothing for Lambda do not read samconfig.toml.
func TestOnlyTheBuildReadsSamconfig(t *testing.T) {
	t.Parallel()
	path := "PATH=" + scripts(t, map[string]string{"go": "echo go ran; exit 1"}) + ":" + os.Getenv("PATH")
	if out, err := runMake(root, []string{path}, "help", "ENV=stage"); err != nil || strings.Contains(out, "go ran") {
		t.Errorf("got %q, error %v, want help without go", out, err)
	}
}

func TestMissingProgramsAreNamedInOneLine(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	tools := func(names ...string) string {
		t.Helper()
		dir := t.TempDir()
		for _, name := range names {
			where, err := exec.LookPath(name)
			if err == nil {
				err = os.Symlink(where, filepath.Join(dir, name))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	const why = "go.mod:5: unknown directive: toolchain" // as Go 1.20 says
	old := scripts(t, map[string]string{"go": "printf 'go: errors parsing go.mod:\\n" + why + "\\n' >&2; exit 1"})
	const noGo = "go is missing. Install Go 1.21 or later: https://go.dev/dl/\n"
	const oldGo = "go cannot get the Go version that go.mod needs (" + why + "). Install it: https://go.dev/dl/\n"
	const noSAM = "sam is missing. Install the SAM CLI: " +
		"https://docs.aws.amazon.com/serverless-application-model/ (Install)\n"
	const noAWS = "aws is missing. Install the AWS CLI, version 2: https://aws.amazon.com/cli/\n"
	const noNPM = "npm is missing. Install Node.js 18 or later, with npm: https://nodejs.org/\n"
	const noChromium = "chromium is missing. Install the Debian package chromium\n"
	const noFont = "A font with Chinese characters is missing. " +
		"Install the Debian packages fontconfig and fonts-wqy-microhei\n"
	chromium := scripts(t, map[string]string{"chromium": ""})
	font := scripts(t, map[string]string{"fc-list": "echo a font"})
	for _, test := range []struct{ path, want, targets string }{
		{tools(), noGo, "run start invoke check test test-miniprogram test-stage test-verifiers test-release"},
		{tools(), noGo, "lint lint-security vulncheck fuzz soak bench"},
		{tools(), noGo, "build release deploy restart secret key smoke"},
		{old + ":" + tools("tail"), oldGo, "run build smoke"},
		{tools("go"), noSAM, "sam-invoke sam-start deploy secret key logs delete"},
		{tools("go"), noAWS, "restart"},
		{tools("go"), noNPM, "test-miniprogram test-verifiers"},
		{tools("go"), noChromium, "test-stage"},
		{chromium + ":" + tools("go"), noFont, "test-stage"},
		{chromium + ":" + font + ":" + tools("go"), noNPM, "test-stage"},
	} {
		for target := range strings.FieldsSeq(test.targets) {
			out, err := runMake(tree, []string{"PATH=" + test.path}, target)
			if err == nil || message(out) != test.want {
				t.Errorf("make %s: got %q, error %v, want %q", target, out, err, test.want)
			}
		}
	}
}

// recorders returns a folder with stand-ins for sam and aws, and a function that
// returns what they were called with since its last call, an argument a line.
// The stack of the stand-in for aws has the parameters that names lists.
func recorders(t *testing.T, names string) (dir string, calls func() []string) {
	t.Helper()
	record := filepath.Join(t.TempDir(), "record")
	write := fmt.Sprintf(`for a; do printf '%%s\n' "$a"; done >>'%s'; echo >>'%s'`, record, record)
	dir = scripts(t, map[string]string{
		"sam": write,
		"aws": write + "\n[ \"$2\" != describe-stacks ] || printf '" + names + "'\n[ \"$2\" != \"$FAIL\" ]",
	})
	return dir, func() []string {
		text, err := os.ReadFile(record)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.RemoveAll(record); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(text), "\n\n"), "\n\n")
	}
}

func TestDeployPassesEveryParameter(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	writeSettings(t, tree, `["MemorySize=512", "Environment=prod", "Traffic=canary"]`)
	dir, calls := recorders(t, "")
	path := "PATH=" + dir + ":" + os.Getenv("PATH")
	const dev = `Environment="dev" Traffic="at-once"`
	const canary = `Environment="prod" MemorySize="512" Traffic="canary"`
	const atOnce = `Environment="prod" MemorySize="512" Traffic="at-once"`
	for _, test := range []struct{ arguments, env, parameters, more string }{
		{"deploy", "dev", dev, ""},
		{"deploy ENV=prod", "prod", canary, ""},
		{"deploy ENV=prod TRAFFIC=at-once", "prod", atOnce, ""},
		{"deploy ENV=prod", "prod", canary, ""}, // after a fix, too
		{"deploy ENV=prod FLAGS=--no-confirm-changeset", "prod", canary, "\n--no-confirm-changeset"},
	} {
		out, err := runMake(tree, []string{path}, strings.Fields(test.arguments)...)
		want := []string{
			"validate\n--config-env\n" + test.env,
			"build\n--config-env\n" + test.env,
			"deploy\n--config-env\n" + test.env + "\n--parameter-overrides\n" + test.parameters + test.more,
		}
		if got := calls(); err != nil || !slices.Equal(got, want) {
			t.Errorf("make %s: sam was called with %q, error %v, want %q\n%s", test.arguments, got, err, want, out)
		}
	}
	out, err := runMake(tree, []string{path}, "deploy", "ENV=prod", "TRAFFIC=now")
	if want := "samconfig: TRAFFIC must be canary or at-once, not now\n"; err == nil || message(out) != want {
		t.Errorf("TRAFFIC=now: got %q, error %v, want %q", out, err, want)
	}
}

func TestRestartRedeploysWhatIsDeployed(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	dir, calls := recorders(t, `Environment\tRestart\tMemorySize\nTraffic\tDomainName\n`)
	path := "PATH=" + dir + ":" + os.Getenv("PATH")
	out, err := runMake(tree, []string{path}, "restart", "ENV=prod")
	got := calls()
	for i := range got {
		got[i] = regexp.MustCompile(`\b\d{10}\b`).ReplaceAllString(got[i], "NOW")
	}
	const stack = "\n--stack-name\nwechat-phone-prod"
	want := []string{
		"cloudformation\ndescribe-stacks" + stack +
			"\n--query\nStacks[0].Parameters[].ParameterKey\n--output\ntext",
		"cloudformation\nupdate-stack" + stack + "\n--use-previous-template" +
			"\n--capabilities\nCAPABILITY_IAM\nCAPABILITY_AUTO_EXPAND\n--parameters" +
			"\nParameterKey=Restart,ParameterValue=NOW\nParameterKey=Traffic,ParameterValue=at-once" +
			"\nParameterKey=Environment,UsePreviousValue=true\nParameterKey=MemorySize,UsePreviousValue=true" +
			"\nParameterKey=DomainName,UsePreviousValue=true",
		"cloudformation\nwait\nstack-update-complete" + stack,
	}
	if err != nil || !slices.Equal(got, want) || !strings.Contains(out, "wechat-phone-prod") {
		t.Errorf("aws was called with %q, error %v, want %q\n%s", got, err, want, out)
	}
	for i, command := range []string{"describe-stacks", "update-stack", "wait"} {
		out, err := runMake(tree, []string{path, "FAIL=" + command}, "restart", "ENV=prod")
		if got := calls(); err == nil || len(got) != i+1 || strings.Contains(out, "new processes") {
			t.Errorf("%s fails: got %d calls of aws, error %v, want %d\n%s", command, len(got), err, i+1, out)
		}
	}
}

// Two machines make the same release only with the same Go. The version comes from the
// command line alone, so that no other build depends on the environment.
func TestReleaseTakesTheToolchainOfGoMod(t *testing.T) {
	t.Parallel()
	toolchain := regexp.MustCompile(`(?m)^toolchain (.*)$`).FindStringSubmatch(readFile(t, "go.mod"))
	if toolchain == nil {
		t.Fatal("got no toolchain in go.mod, want one")
	}
	path := "PATH=" + scripts(t, map[string]string{
		"go": `[ "$1" = list ] || echo "$GOTOOLCHAIN $GOFLAGS: $*"`,
	}) + ":" + os.Getenv("PATH")
	for argument, version := range map[string]string{"VERSION=1.2.3": "1.2.3", "ENV=dev": "dev"} {
		out, err := runMake(root, []string{path, "VERSION=9.9.9"}, "-s", "release", argument)
		want := toolchain[1] + " -buildvcs=false: run ./tools/release -version " + version +
			" env CGO_ENABLED=0 go build -trimpath -tags lambda.norpc -ldflags -s -w -X main.version=" + version + "\n"
		if err != nil || out != want {
			t.Errorf("%s: got %q, error %v, want %q", argument, out, err, want)
		}
	}
}

func TestSmokePassesItsArguments(t *testing.T) {
	t.Parallel()
	path := "PATH=" + scripts(t, map[string]string{"go": `[ "$1" = list ] || echo "$*"`}) + ":" + os.Getenv("PATH")
	const url = "URL=https://host/phone"
	for arguments, want := range map[string]string{
		"smoke":        "run ./tools/smoke\n",
		"smoke " + url: "run ./tools/smoke https://host/phone\n",
		"smoke " + url + " CONNECT=d.example.com": "run ./tools/smoke -connect d.example.com https://host/phone\n",
		"smoke " + url + " CONNECT=":              "run ./tools/smoke https://host/phone\n",
		"smoke " + url + " APPID=wx1":             "run ./tools/smoke -appid wx1 https://host/phone\n",
	} {
		out, err := runMake(root, []string{path}, strings.Fields(arguments)...)
		if err != nil || message(out) != want {
			t.Errorf("make %s: got %q, error %v, want %q", arguments, out, err, want)
		}
	}
}

func TestSecretAndKeyPassTheirFlags(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	realGo, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + scripts(t, map[string]string{
		"go":  `case "$*" in "run ./tools/"*) echo "$*" ;; *) exec '` + realGo + `' "$@" ;; esac`,
		"sam": "exit 9",
	}) + ":" + os.Getenv("PATH")
	for _, command := range []string{"secret", "key"} {
		for flags, want := range map[string]string{
			"":                 "-env prod\n",
			"-list":            "-env prod -list\n",
			"-remove=wx1 -yes": "-env prod -remove=wx1 -yes\n",
		} {
			want = "run ./tools/" + command + " " + want
			out, err := runMake(tree, []string{path}, command, "ENV=prod", "FLAGS="+flags)
			if err != nil || message(out) != want {
				t.Errorf("%s, FLAGS=%q: got %q, error %v, want %q", command, flags, out, err, want)
			}
		}
	}
}

// A restart needs the capabilities that sam deploy passes, and one more: sam deploy
// makes a changeset, in which SAM's transform is already expanded.
func TestRestartHasTheCapabilitiesOfDeploy(t *testing.T) {
	makefile := readFile(t, "Makefile")
	settings := regexp.MustCompile(`(?m)^capabilities = "(.*?)"`).FindAllStringSubmatch(readFile(t, "samconfig.toml"), -1)
	if len(settings) == 0 {
		t.Error("samconfig.toml has no capabilities")
	}
	for _, setting := range settings {
		if want := "--capabilities " + setting[1] + " CAPABILITY_AUTO_EXPAND "; !strings.Contains(makefile, want) {
			t.Errorf("make restart does not pass %q", want)
		}
	}
}

func TestHelpListsEveryCommandInGroups(t *testing.T) {
	t.Parallel()
	out, err := runMake(root, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(out) {
		if len([]rune(line)) > 101 {
			t.Errorf("more than 100 columns: %s", line)
		}
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile(`(?m)^([a-z][a-z-]*):.*## (.*)$`)
	for _, rule := range documented.FindAllStringSubmatch(string(makefile), -1) {
		if !regexp.MustCompile(`(?m)^make ` + rule[1] + ` +` + regexp.QuoteMeta(rule[2]) + `$`).MatchString(out) {
			t.Errorf("make %s is not listed", rule[1])
		}
	}
	groups := regexp.MustCompile(`(?s)\nTry it.*\nmake run .*\n\nTest it.*\nmake test .*\n\nDeploy it.*\nmake deploy `)
	if !groups.MatchString(out) {
		t.Errorf("got %s, want the groups Try, Test and Deploy", out)
	}
}

// A checkout has LF on every machine. A copy without .git cannot tell what git
// would do.
func TestTextFilesHaveLF(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skip("this copy has no .git")
	}
	out, err := exec.Command("git", "-C", root, "-c", "safe.directory=*", "ls-files", "--eol").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(files) < 100 {
		t.Errorf("git lists %d files", len(files))
	}
	for _, file := range files { // i/… in the index, w/… in the folder, attr/… as .gitattributes says, name
		fields := strings.Fields(file)
		if fields[0] == "i/-text" || fields[1] == "w/" { // a binary file, or one that is deleted but not committed
			continue
		}
		if want := []string{"i/lf", "w/lf", "attr/text=auto", "eol=lf"}; !slices.Equal(fields[:4], want) {
			t.Fatalf("got %s, want %v", file, want)
		}
	}
}
