package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/rig"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/tools/operator/operatortest"
)

func TestMain(m *testing.M) { operatortest.Main(m, main) }

// command returns the command, for a stack with this secret.
func command(t *testing.T, secretsURL, arn string, flags ...string) *exec.Cmd {
	t.Helper()
	outputs := map[string]string{"PhoneUrl": "https://host/phone", "SecretArn": arn}
	return operatortest.Command(t, secretsURL, outputs, flags...)
}

// A secret that the stack created has no value at first. Setting one is enough.
func TestNewStackWorksOnceItsSecretHasAValue(t *testing.T) {
	t.Parallel()
	rig.Long(t)
	bootstrap, err := stage.Bootstrap(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := stage.Raise(stage.Config{
		Bootstrap: bootstrap, Logs: io.Discard, Env: []string{"WECHAT_SECRET_ID=of-the-stack"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	arn := s.Secrets.Create("of-the-stack")

	if status, body := post(t, s, ""); status != 500 || !strings.Contains(body, `"misconfigured"`) {
		t.Errorf("without a value: got %d %s, want 500 misconfigured", status, body)
	}
	put := command(t, s.SecretsURL, arn)
	put.Stdin = strings.NewReader(stage.Secret(stage.AppID, stage.AppSecret))
	out, err := put.CombinedOutput()
	for _, want := range []string{stage.AppID + "  added", "up to 30 seconds", "make smoke URL=https://host/phone\n"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("got error %v, want %q in\n%s", err, want, out)
		}
	}
	time.Sleep(time.Second) // the function remembers the failure for a second
	if status, body := post(t, s, ""); status != 200 {
		t.Errorf("with a value: got %d %s, want 200", status, body)
	}
}

// post logs a user in on the stage, taps and posts. The query names the mini-program,
// if it is not the first.
func post(t *testing.T, s *stage.Stage, query string) (status int, body string) {
	t.Helper()
	tap, err := http.Get(s.WeChatURL + "/tap" + query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tap.Body.Close() }()
	answer, err := http.Post(s.URL+"/phone", "application/json", tap.Body)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

const (
	canary     = "ca9a41" // occurs in everything that must not be printed
	goodID     = "wx0000000000000001"
	goodSecret = "00000000000000000000000000" + canary
	goodJSON   = `{"appid":"` + goodID + `","secret":"` + goodSecret + `"}`

	otherID     = "wx0000000000000002"
	otherSecret = "11111111111111111111111111" + canary
	otherJSON   = `{"appid":"` + otherID + `","secret":"` + otherSecret + `"}`
	bothJSON    = `{"` + goodID + `":"` + goodSecret + `","` + otherID + `":"` + otherSecret + `"}`
)

// manager returns a Secrets Manager with a secret that holds one mini-program, whose
// app secret is out of date.
func manager(t *testing.T) (s *secretstest.Server, url, arn string) {
	t.Helper()
	s = &secretstest.Server{}
	arn = s.Put("of-the-stack", oldJSON)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL, arn
}

const oldJSON = `{"appid":"` + goodID + `","secret":"22222222222222222222222222` + canary + `"}`

func TestStandardInputIsCheckedAndNeverRepeated(t *testing.T) {
	t.Parallel()
	s, url, arn := manager(t)
	for _, test := range []struct {
		name, stdin string
		says        string // the error; empty if there is none
	}{
		{"good", goodJSON, ""},
		{"good, with white space",
			"\ufeff\n{ \"secret\":\" " + goodSecret + "\\n\",\n\"appid\":\"" + goodID + " \"}\n", ""},
		{"nothing", "", "standard input must be"},
		{"no JSON", canary, "standard input must be"},
		{"another field",
			`{"appid":"` + goodID + `","secret":"` + goodSecret + `","` + canary + `":"a"}`, "standard input must be"},
		{"a field twice",
			`{"appid":"` + goodID + `","secret":"` + goodSecret + `","secret":"` + canary + `"}`, "standard input must be"},
		{"swapped", `{"appid":"` + goodSecret + `","secret":"` + goodID + `"}`, "appid must be"},
		{"no secret", `{"appid":"` + goodID + `"}`, "secret must be"},
		{"half a secret", `{"appid":"` + goodID + `","secret":"` + canary + `"}`, "secret must be"},
		{"the dots that WeChat's console shows",
			`{"appid":"` + goodID + `","secret":"********************************"}`, "secret must be"},
		{"far too much",
			`{"appid":"` + goodID + `","secret":"` + strings.Repeat(canary, 20000) + `"}`, "standard input must be"},
		{"several mini-programs", bothJSON, "standard input must be"},
	} {
		s.Put("of-the-stack", oldJSON)
		put := command(t, url, arn)
		put.Stdin = strings.NewReader(test.stdin)
		out, err := put.CombinedOutput()
		want := oldJSON
		if test.says == "" {
			want = goodJSON
		}
		failed, said := err != nil, strings.Contains(string(out), test.says)
		if failed != (test.says != "") || !said || strings.Contains(string(out), canary) {
			t.Errorf("%s: got error %v, want %q in\n%s", test.name, err, test.says, out)
		}
		if got := s.Value("of-the-stack"); got != want {
			t.Errorf("%s: got the secret %q, want %q", test.name, got, want)
		}
	}
}

func TestTerminalShowsNothingOfWhatIsTyped(t *testing.T) {
	t.Parallel()
	s, url, arn := manager(t)
	put := command(t, url, arn)
	controller, _ := operatortest.StartAtTerminal(t, put)
	screen := operatortest.ReadUntil(t, controller, "appid (not shown): ")
	_, _ = io.WriteString(controller, goodID+"\r")
	screen += operatortest.ReadUntil(t, controller, "app secret (not shown): ")
	_, _ = io.WriteString(controller, goodSecret+" \r")
	if strings.Contains(screen, goodID) {
		t.Errorf("got the screen %s, want it without the appid", screen)
	}
	screen += operatortest.ReadUntil(t, controller, "Make this change? (y/N) ")
	_, _ = io.WriteString(controller, "y\r")
	screen += operatortest.ReadUntil(t, controller, "make smoke")
	if err := put.Wait(); err != nil {
		t.Error(err)
	}
	if strings.Contains(screen, canary) || !strings.Contains(screen, goodID+"  replaced") {
		t.Errorf("got the screen %s, want the change on it, but no part of a secret", screen)
	}
	if got := s.Value("of-the-stack"); got != goodJSON {
		t.Errorf("got the secret %q, want %q", got, goodJSON)
	}
}

// At a terminal, only yes changes anything.
func TestTerminalAsksBeforeEachChange(t *testing.T) {
	t.Parallel()
	const malformed = "malformed: " + canary
	for _, test := range []struct {
		name, value string
		flags       []string
		typed       string // at the question
		want        string
	}{
		{"no", oldJSON, nil, "n\r", oldJSON},
		{"only Return", oldJSON, nil, "\r", oldJSON},
		{"Ctrl-C", oldJSON, nil, "\x03", oldJSON},
		{"yes", oldJSON, nil, "Yes\r", goodJSON},
		{"a removal, no", bothJSON, []string{"-remove=" + otherID}, "\r", bothJSON},
		{"a removal, yes", bothJSON, []string{"-remove=" + otherID}, "y\r", goodJSON},
		{"a malformed value, no", malformed, nil, "n\r", malformed},
		{"a malformed value, yes", malformed, nil, "y\r", goodJSON},
	} {
		s, url, arn := manager(t)
		s.Put("of-the-stack", test.value)
		put := command(t, url, arn, test.flags...)
		controller, _ := operatortest.StartAtTerminal(t, put)
		screen := ""
		if test.flags == nil {
			screen += operatortest.ReadUntil(t, controller, "appid (not shown): ")
			_, _ = io.WriteString(controller, goodID+"\r"+goodSecret+"\r")
		}
		screen += operatortest.ReadUntil(t, controller, "Make this change? (y/N) ")
		_, _ = io.WriteString(controller, test.typed)
		err := put.Wait()
		if failed := err != nil; failed != (test.want == test.value) || strings.Contains(screen, canary) {
			t.Errorf("%s: got error %v, want one only if nothing changes\n%s", test.name, err, screen)
		}
		if got := s.Value("of-the-stack"); got != test.want {
			t.Errorf("%s: got the secret %q, want %q", test.name, got, test.want)
		}
	}
}

func TestTerminalEchoesAgainAfterAnInterrupt(t *testing.T) {
	t.Parallel()
	_, url, arn := manager(t)
	put := command(t, url, arn)
	controller, terminal := operatortest.StartAtTerminal(t, put)
	operatortest.ReadUntil(t, controller, "appid (not shown): ")
	if operatortest.Echoes(t, terminal) {
		t.Error("got an echo while the command asks, want none")
	}
	_, _ = io.WriteString(controller, canary+"\x03") // Ctrl-C
	if put.Wait() == nil || !operatortest.Echoes(t, terminal) {
		t.Error("got no error, or no echo after the interrupt, want both")
	}
}

func TestFailuresAreNamedAndChangeNothing(t *testing.T) {
	t.Parallel()
	s, url, arn := manager(t)
	denied := secretstest.Fault(400, "AccessDeniedException", canary)
	for _, test := range []struct {
		name string
		edit func(*exec.Cmd)
		says string
	}{
		{"denied", func(*exec.Cmd) { s.Fail(denied) }, "answered GetSecretValue with AccessDeniedException\n"},
		{"denied to put", func(*exec.Cmd) {
			s.Fail(operatortest.At(s, "PutSecretValue", denied))
		}, "answered PutSecretValue with AccessDeniedException: the secret has not changed\n"},
		{"denied to move", func(*exec.Cmd) {
			s.Fail(operatortest.At(s, "UpdateSecretVersionStage", denied))
		}, "answered UpdateSecretVersionStage with AccessDeniedException: the secret has not changed\n"},
		{"out of reach", func(c *exec.Cmd) {
			c.Env = append(c.Env, "AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:1")
		}, "not reached"},
		{"no SAM CLI", func(c *exec.Cmd) { c.Env = append(c.Env, "PATH=/nowhere") }, "sam is missing: install the SAM CLI\n"},
		{"no such stack", func(c *exec.Cmd) { c.Args[2] = "dev" }, "sam list stack-outputs"},
		{"an argument", func(c *exec.Cmd) { c.Args = append(c.Args, canary) }, "takes no arguments"},
		{"a removal of something else", func(c *exec.Cmd) {
			c.Args = append(c.Args, "-remove="+canary)
		}, "-remove needs an appid"},
		{"a removal and a list", func(c *exec.Cmd) {
			c.Args = append(c.Args, "-list", "-remove="+goodID)
		}, "cannot be combined with -list"},
	} {
		put := command(t, url, arn)
		put.Stdin = strings.NewReader(stage.Secret(goodID, goodSecret))
		test.edit(put)
		out, err := put.CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.says) || strings.Contains(string(out), canary) {
			t.Errorf("%s: got error %v, want %q in\n%s", test.name, err, test.says, out)
		}
		s.Fail(nil)
	}
	if got := s.Value("of-the-stack"); got != oldJSON {
		t.Errorf("got the secret %q, want %q", got, oldJSON)
	}
}
