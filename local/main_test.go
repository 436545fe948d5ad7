package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/stage"
)

// program is this package, compiled, with the function's bootstrap beside it.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	bootstrap, err := stage.Bootstrap(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "local")
	if err := stage.Build("wechat-phone/local", path); err != nil {
		t.Fatal(err)
	}
	return exec.Command(path, append([]string{"-bootstrap", bootstrap}, args...)...)
}

func TestLoginPrintsAPhoneNumber(t *testing.T) {
	t.Parallel()
	out, err := program(t, "-login").Output()
	if err != nil || !regexp.MustCompile(`(?ms)^3\. The user's phone number is 1350000\d{4}$.+"phoneCode": .+^6\. The user's phone number is 1350000\d{4}$`).Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestLoginFailsWithoutAPhoneNumber(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret.json")
	if err := os.WriteFile(secret, []byte(stage.Secret(stage.AppID, "made-up")), 0o600); err != nil {
		t.Fatal(err)
	}
	refusing := program(t, "-login", "-wechat", "http://127.0.0.1:1", "-secret", secret)
	out, err := refusing.Output()
	if err == nil || !strings.Contains(string(out), `"unavailable"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEventIsAnsweredOnStandardOutput(t *testing.T) {
	t.Parallel()
	invoke := program(t, "-event", "../events/phone.json")
	invoke.Env = append(os.Environ(), "WATERMARK_MAX_AGE=0")
	var logs bytes.Buffer
	invoke.Stderr = &logs
	out, err := invoke.Output()
	if err != nil || !strings.HasPrefix(string(out), `{"statusCode":200,`) || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(logs.String(), `"outcome":"ok"`) {
		t.Errorf("no line of the function's on standard error: %s", logs.String())
	}
}

func TestEventThatIsNoJSONIsRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	dir, compiled := t.TempDir(), program(t)
	for name, text := range map[string]string{
		"cut.json": `{"version":`, "empty.json": "", "two.json": "{} {}", "missing.json": "",
	} {
		file := filepath.Join(dir, name)
		want := "local: " + file + " is not JSON\n"
		if name == "missing.json" {
			want = "local: open " + file + ": no such file or directory\n"
		} else if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(compiled.Path, "-bootstrap", "none", "-event", file).CombinedOutput()
		if err == nil || string(out) != want {
			t.Errorf("%s: got %q, error %v, want %q", name, out, err, want)
		}
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	port := other.Addr().(*net.TCPAddr).Port
	out, err := program(t, "-port", strconv.Itoa(port)).CombinedOutput()
	want := fmt.Sprintf("local: port %d is taken; another make start may be running\n", port)
	if err == nil || string(out) != want {
		t.Errorf("got %q, error %v, want %q", out, err, want)
	}
}

func TestStageStaysUpUntilItIsInterruptedAndEndsAllItStarted(t *testing.T) {
	t.Parallel()
	start := program(t, "-route", "POST /phone")
	stdout, err := start.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = start.Process.Kill() }()

	var tapURL, phoneURL string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if _, err := fmt.Sscanf(strings.TrimSpace(lines.Text()), "curl -s %s | curl -s --json @- %s", &tapURL, &phoneURL); err == nil {
			break
		}
	}
	tap, err := http.Get(tapURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tap.Body.Close() }()
	answer, err := http.Post(phoneURL, "application/json", tap.Body)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != 200 {
		t.Errorf("a login: %d %s", answer.StatusCode, body)
	}
	if other, err := http.Get(strings.TrimSuffix(phoneURL, "/phone")); err != nil || other.StatusCode != 404 {
		t.Errorf("another route: %v", err)
	}

	if err := start.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- start.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("still up after an interrupt")
	}
	if _, err := http.Get(phoneURL); err == nil {
		t.Error("the gateway is left")
	}
}
