package main

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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

// raise starts a stage that runs the compiled function. Unless edit changes it, the
// gateway has the same route as the deployed one.
func raise(t *testing.T, edit func(*stage.Config)) *stage.Stage {
	t.Helper()
	config := stage.Config{Bootstrap: rig.Bootstrap(t), Routes: stage.Routes, Logs: io.Discard}
	edit(&config)
	s, err := stage.Raise(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// runChecks runs the checks and returns what they print: a verdict for each, and a reason
// for each that failed.
func runChecks(t *testing.T, url string, want bool) string {
	t.Helper()
	return runChecksFor(t, url, "", want)
}

// runChecksFor is runChecks for one of several mini-programs.
func runChecksFor(t *testing.T, url, appID string, want bool) string {
	t.Helper()
	var out strings.Builder
	d := newDeployment(url, appID, "")
	d.slow = time.Minute // this machine may be busy
	if got := d.smoke(t.Context(), &out); got != want {
		t.Errorf("got passed %v, want %v\n%s", got, want, out.String())
	}
	return out.String()
}

// The verdicts on a deployment without identity tokens.
const (
	passes        = "n/a ok ok ok ok ok ok n/a n/a"
	noCodeRefused = "n/a ok ok FAIL FAIL ok FAIL n/a n/a"
)

func verdicts(out string) (all string) {
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ") {
			all += strings.Fields(line)[0] + " "
		}
	}
	return strings.TrimSpace(all)
}

func TestWorkingDeploymentPasses(t *testing.T) {
	t.Parallel()
	s := raise(t, func(*stage.Config) {})
	out := runChecks(t, s.URL+"/phone", true)
	if verdicts(out) != passes || !strings.Contains(out, "\n      the version is dev\n") {
		t.Errorf("got\n%s, want %s, and the version dev", out, passes)
	}
}

// make start serves these mini-programs too.
func TestOneOfSeveralMiniProgramsIsTested(t *testing.T) {
	t.Parallel()
	s := raise(t, func(c *stage.Config) { c.Several = true })
	for _, test := range []struct{ appID, verdicts, says string }{
		{stage.AppID, passes, ""},
		{stage.SecondAppID, passes, ""},
		{stage.BrokenAppID, noCodeRefused, "make secret"},
		{"", noCodeRefused, "set APPID to a mini-program"},
		{"wx00000000000000ff", noCodeRefused, "set APPID to a mini-program"},
	} {
		out := runChecksFor(t, s.URL+"/phone", test.appID, test.says == "")
		if verdicts(out) != test.verdicts || !strings.Contains(out, test.says) {
			t.Errorf("%q: got\n%s, want %s and %q", test.appID, out, test.verdicts, test.says)
		}
	}
}

func TestOnlyMiniProgramMayBeNamed(t *testing.T) {
	t.Parallel()
	s := raise(t, func(*stage.Config) {})
	if out := runChecksFor(t, s.URL+"/phone", stage.AppID, true); verdicts(out) != passes {
		t.Errorf("got\n%s, want %s", out, passes)
	}
}

func TestWrongArgumentsAreNamedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	const url = "https://127.0.0.1:1/phone"
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{nil, "smoke: needs one URL"},
		{[]string{url, url}, "smoke: needs one URL"},
		{[]string{"https://127.0.0.1:1/login"}, "smoke: needs one URL"},
		{[]string{"-appid", "wx1", url}, "smoke: APPID must be wx and 16 lower-case hexadecimal digits\n"},
	} {
		command := exec.Command(os.Args[0], test.arguments...)
		command.Env = append(os.Environ(), asCommand+"=1")
		out, _ := command.CombinedOutput()
		if command.ProcessState.ExitCode() != 2 || !strings.HasPrefix(string(out), test.want) {
			t.Errorf("%q: got status %d and %q, want 2 and %q",
				test.arguments, command.ProcessState.ExitCode(), out, test.want)
		}
	}
}

func TestRequiredLoginCodeIsNotAFailure(t *testing.T) {
	t.Parallel()
	s := raise(t, func(c *stage.Config) { c.Env = []string{"REQUIRE_LOGIN_CODE=on"} })
	if out := runChecks(t, s.URL+"/phone", true); verdicts(out) != "n/a ok ok ok n/a ok ok n/a n/a" {
		t.Errorf("got\n%s, want n/a ok ok ok n/a ok ok n/a n/a", out)
	}
}

// Before a custom domain's DNS moves, the gateway already answers for it at another
// name.
func TestConnectTestsADomainBeforeItsDNSMoves(t *testing.T) {
	t.Parallel()
	const domain = "phone.example.com" // httptest's certificate is for example.com and the names below it
	s := raise(t, func(*stage.Config) {})
	gateway, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	var hosts, names sync.Map
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts.Store(r.Host, true)
		names.Store(r.TLS.ServerName, true)
		httputil.NewSingleHostReverseProxy(gateway).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	certificate := filepath.Join(t.TempDir(), "certificate")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(certificate, block, 0o600); err != nil {
		t.Fatal(err)
	}

	command := exec.Command(os.Args[0], "-connect", "127.0.0.1", "https://"+domain+":"+port+"/phone")
	command.Env = append(os.Environ(),
		asCommand+"=1", "SSL_CERT_FILE="+certificate, "HTTPS_PROXY=http://127.0.0.1:1", "https_proxy=http://127.0.0.1:1")
	out, err := command.CombinedOutput()
	if err != nil || verdicts(string(out)) != "ok"+strings.TrimPrefix(passes, "n/a") {
		t.Errorf("got error %v, want the checks to pass\n%s", err, out)
	}
	for what, got := range map[string]*sync.Map{"Host": &hosts, "TLS server name": &names} {
		got.Range(func(name, _ any) bool {
			if host, _, _ := strings.Cut(name.(string), ":"); host != domain {
				t.Errorf("got the %s %v, want %s", what, name, domain)
			}
			return true
		})
	}
}

func TestProblemIsNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		edit     func(*stage.Config)
		verdicts string
		names    string
	}{
		{"a wrong app secret", func(c *stage.Config) {
			c.Secret = stage.Secret(stage.AppID, "wrong")
		}, noCodeRefused, "make secret"},
		{"no WeChat", func(c *stage.Config) {
			c.WeChatURL, c.Secret = "http://127.0.0.1:1", stage.Secret(stage.AppID, "b")
		}, noCodeRefused, "cannot reach"},
		{"no time", func(c *stage.Config) { c.Env = []string{"WECHAT_TIMEOUT=1ns"} }, noCodeRefused, "cannot reach"},
		{"a catch-all route", func(c *stage.Config) { c.Routes = nil },
			"n/a FAIL ok ok ok ok ok n/a n/a", "you pay for that"},
		{"another route", func(c *stage.Config) {
			c.Routes = []string{"POST /other"}
		}, "n/a ok FAIL FAIL FAIL FAIL FAIL n/a n/a", "not the stack's output PhoneUrl"},
		{"a stack from before /login", func(c *stage.Config) {
			c.Routes = []string{"POST /phone"}
		}, "n/a ok ok ok ok FAIL FAIL n/a n/a", "the stack is older than this route"},
		{"not WeChat", func(c *stage.Config) {
			c.WeChatURL, c.Secret = noWeChat(t), stage.Secret(stage.AppID, "b")
		}, noCodeRefused, "is not WeChat"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := raise(t, test.edit)
			if out := runChecks(t, s.URL+"/phone", false); verdicts(out) != test.verdicts || !strings.Contains(out, test.names) {
				t.Errorf("got\n%s, want %s and %q", out, test.verdicts, test.names)
			}
		})
	}
}

func noWeChat(t *testing.T) string {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return server.URL
}

func TestAnswersThatAreNotTheFunctionsFail(t *testing.T) {
	t.Parallel()
	says := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	for _, test := range []struct {
		name  string
		serve http.HandlerFunc
		names string
	}{
		{"a crash", says(500, `{"message":"Internal Server Error"}`), "crashed"},
		{"a gateway that throttles", says(429, `{"message":"Too Many Requests"}`), "throttles"},
		{"a used-up quota", says(503, `{"error":"quota_exhausted","action":"none"}`), "daily WeChat quota is used up"},
		{"a page", says(200, "<html>"), "something in front of the function"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		}, "status 302"},
		{"no request id", says(400, `{"error":"invalid_request","message":"a","action":"fix"}`), "a request id"},
		{"no safe headers",
			says(400, `{"error":"invalid_request","message":"a","action":"fix","requestId":"b"}`), "the header"},
		{"no version", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("content-type", "application/json; charset=utf-8")
			w.Header().Set("cache-control", "no-store")
			w.Header().Set("x-content-type-options", "nosniff")
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error":"invalid_request","message":"a","action":"fix","requestId":"b"}`)
		}, "the header x-version is missing"},
	} {
		server := httptest.NewServer(test.serve)
		out := runChecks(t, server.URL+"/phone", false)
		if verdicts(out) != "n/a"+strings.Repeat(" FAIL", 8) || !strings.Contains(out, test.names) {
			t.Errorf("%s: got\n%s, want n/a, eight failures and %q", test.name, out, test.names)
		}
		server.Close()
	}
}

func TestNothingIsSentToAnUnsafeAddress(t *testing.T) {
	t.Parallel()
	unknown := httptest.NewUnstartedServer(http.NotFoundHandler())
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	unknown.StartTLS() // with a certificate that no root has signed
	defer unknown.Close()
	for url, names := range map[string]string{
		unknown.URL + "/phone":         "certificate",
		"http://example.invalid/phone": "not https",
		"ftp://127.0.0.1/phone":        "not https",
		"://":                          "missing protocol scheme",
	} {
		if out := runChecks(t, url, false); verdicts(out) != "FAIL" || !strings.Contains(out, names) {
			t.Errorf("%s: got\n%s, want one failure and %q", url, out, names)
		}
	}
}
