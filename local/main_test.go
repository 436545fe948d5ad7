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
	"syscall"
	"testing"
	"time"

	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

// asCommand is the variable that turns the test's own executable into the command.
const asCommand = "TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	rig.MainUnlessShort(m)
}

// command returns the command that runs the compiled function with args.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], append([]string{"-bootstrap", rig.Bootstrap(t)}, args...)...)
	c.Env = append(os.Environ(), asCommand+"=1")
	return c
}

func TestLoginPrintsThePhoneNumberAndChecksTheToken(t *testing.T) {
	t.Parallel()
	out, err := command(t, "-login").Output()
	want := regexp.MustCompile(`(?ms)^3\. The user's phone number is (1350000\d{4})$` +
		`.+"phoneCode": .+^6\. The user's phone number is (1350000\d{4})$` +
		`.+^7\. .+"client_id": "wx\w+",.+"phone_number": "\+86(1350000\d{4})",` +
		`\s+"phone_number_verified": "true",\s+"phone_number_verified_at": "1\d{9}",\s+"scope": "openid phone",` +
		`.+^9\. .+"renewed": true.+^10\. .+"phone_number": "\+86(1350000\d{4})"`)
	numbers := want.FindSubmatch(out)
	if err != nil || numbers == nil {
		t.Fatalf("got error %v and output %s, want a match of %s", err, out, want)
	}
	for _, number := range numbers[2:] {
		if !bytes.Equal(number, numbers[1]) {
			t.Errorf("got the phone numbers %s, want the same user's each time", numbers[1:])
		}
	}
	if token := regexp.MustCompile(`eyJ[\w-]+\.[\w-]+`).Find(out); token != nil {
		t.Errorf("got a whole token in the output, want it cut off: %s", token)
	}
}

func TestLoginFailsWithoutAPhoneNumber(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret.json")
	if err := os.WriteFile(secret, []byte(stage.Secret(stage.AppID, "made-up")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "-login", "-wechat", "http://127.0.0.1:1", "-secret", secret).Output()
	if err == nil || !strings.Contains(string(out), `"unavailable"`) {
		t.Errorf("got error %v and output %s, want a failure and \"unavailable\"", err, out)
	}
}

func TestLoginHasTheTokenSettingsAndFailsWithoutARenewal(t *testing.T) {
	t.Parallel()
	login := command(t, "-login")
	login.Env = append(login.Env, "TOKEN_LIFETIME=2m", "TOKEN_RENEWAL=0")
	var problem bytes.Buffer
	login.Stderr = &problem
	out, err := login.Output()
	for _, want := range []string{`"expiresIn": 120`, `"renewed": false`, `"reason": "expired"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got the output %s, want %s in it", out, want)
		}
	}
	if want := "local: the token was not renewed\n"; err == nil || !strings.HasSuffix(problem.String(), want) {
		t.Errorf("got error %v and %q on standard error, want %q at its end", err, problem.String(), want)
	}
}

func TestEventPrintsTheAnswerToStandardOutput(t *testing.T) {
	t.Parallel()
	invoke := command(t, "-event", "../events/phone.json")
	invoke.Env = append(invoke.Env, "WATERMARK_MAX_AGE=0")
	var logs bytes.Buffer
	invoke.Stderr = &logs
	out, err := invoke.Output()
	if err != nil || !strings.HasPrefix(string(out), `{"statusCode":200,`) || strings.Count(string(out), "\n") != 1 {
		t.Errorf("got error %v and output %s, want one line that begins with {\"statusCode\":200,", err, out)
	}
	if want := `"outcome":"ok"`; !strings.Contains(logs.String(), want) {
		t.Errorf("got %q on standard error, want %s in the function's log line", logs.String(), want)
	}
}

func TestEventThatIsNotJSONIsRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
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
		out, err := command(t, "-bootstrap", "none", "-event", file).CombinedOutput()
		if err == nil || string(out) != want {
			t.Errorf("%s: got %q, error %v, want %q", name, out, err, want)
		}
	}
}

func TestErrorNamesThePortThatIsTaken(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	port := other.Addr().(*net.TCPAddr).Port
	out, err := command(t, "-port", strconv.Itoa(port)).CombinedOutput()
	want := fmt.Sprintf("local: port %d is taken; another make start may be running\n", port)
	if err == nil || string(out) != want {
		t.Errorf("got %q, error %v, want %q", out, err, want)
	}
}

func TestStageRunsUntilInterruptedAndStopsWhatItStarted(t *testing.T) {
	t.Parallel()
	var routes []string
	for _, route := range stage.Routes {
		routes = append(routes, "-route", route)
	}
	start := command(t, routes...)
	stdout, err := start.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = start.Process.Kill() }()

	tapURL, phoneURL, others := scanURLs(stdout)
	checkLogin(t, tapURL, phoneURL)
	if len(others) != 6 {
		t.Errorf("got more commands with %q, want six: three more taps, a renewal and two documents", others)
	}
	for _, url := range others {
		if other, err := http.Get(url); err != nil || other.StatusCode != 200 {
			t.Errorf("%s: got %+v, error %v, want status 200", url, other, err)
		}
	}
	if other, err := http.Get(strings.TrimSuffix(phoneURL, "/phone")); err != nil || other.StatusCode != 404 {
		t.Errorf("another route: got %+v, error %v, want status 404", other, err)
	}

	if err := start.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- start.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after an interrupt: got error %v, want exit code 0", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("still running 5 s after an interrupt")
	}
	if _, err := http.Get(phoneURL); err == nil {
		t.Error("the gateway still answers after an interrupt")
	}
}

func TestKilledProcessIsReplaced(t *testing.T) {
	t.Parallel()
	start := command(t)
	var logs bytes.Buffer
	start.Stderr = &logs
	stdout, err := start.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = start.Process.Kill() }()
	var output bytes.Buffer
	tapURL, phoneURL, _ := scanURLs(io.TeeReader(stdout, &output))
	checkLogin(t, tapURL, phoneURL)
	tokens := "(issuer " + strings.TrimSuffix(phoneURL, "/phone") +
		", audience " + stage.AppID + " or " + stage.SecondAppID + ")"
	if !strings.Contains(output.String(), tokens) {
		t.Errorf("got the output\n%s\nwant %s in it", output.Bytes(), tokens)
	}
	printed := regexp.MustCompile(`(?m)^process +(\d+);`).FindSubmatch(output.Bytes())
	if printed == nil {
		t.Fatalf("got no process id in the output:\n%s", output.Bytes())
	}
	pid, _ := strconv.Atoi(string(printed[1]))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for syscall.Kill(pid, 0) == nil { // until the stage has seen its end
		time.Sleep(time.Millisecond)
	}
	checkLogin(t, tapURL, phoneURL)
	_ = start.Process.Signal(os.Interrupt)
	_ = start.Wait()
	if got := strings.Count(logs.String(), `"first":true`); got != 2 {
		t.Errorf("got %d first requests in the log, want one of each process:\n%s", got, logs.String())
	}
}

// scanURLs returns the URLs in the first command that the stage prints, and what the
// other commands get.
func scanURLs(stdout io.Reader) (tapURL, phoneURL string, others []string) {
	get := regexp.MustCompile(`curl -s ['"]?(http:[^ '"]+)`)
	for lines := bufio.NewScanner(stdout); lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C"); {
		line := strings.TrimSpace(lines.Text())
		if url := get.FindStringSubmatch(line); tapURL != "" && url != nil {
			others = append(others, url[1])
		}
		if tapURL == "" {
			_, _ = fmt.Sscanf(line, "curl -s %s | curl -s --json @- %s", &tapURL, &phoneURL)
		}
	}
	return tapURL, phoneURL, others
}

// checkLogin taps, posts the result and wants status 200.
func checkLogin(t *testing.T, tapURL, phoneURL string) {
	t.Helper()
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
		t.Errorf("got status %d, body %s, want status 200", answer.StatusCode, body)
	}
}
