package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"wechat-phone/local/stage"
)

// raise raises a stage with the compiled function on it, behind the route of the
// deployed gateway where edit does not say otherwise.
func raise(t *testing.T, edit func(*stage.Config)) *stage.Stage {
	t.Helper()
	bootstrap, err := stage.Bootstrap(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config := stage.Config{Bootstrap: bootstrap, Route: "POST /phone", Logs: io.Discard}
	edit(&config)
	s, err := stage.Raise(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// try runs the checks and returns what they print: a verdict for each, and of
// those that failed, why.
func try(t *testing.T, url string, want bool) string {
	t.Helper()
	var out strings.Builder
	if got := smoke(t.Context(), url, &out); got != want {
		t.Errorf("passed: %v, want %v\n%s", got, want, out.String())
	}
	return out.String()
}

func verdicts(out string) (all string) {
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ") {
			all += strings.Fields(line)[0] + " "
		}
	}
	return strings.TrimSpace(all)
}

func TestADeploymentThatWorksPasses(t *testing.T) {
	t.Parallel()
	s := raise(t, func(*stage.Config) {})
	if out := try(t, s.URL+"/phone", true); verdicts(out) != "n/a ok ok ok ok" {
		t.Error(out)
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		edit     func(*stage.Config)
		verdicts string
		names    string
	}{
		{"a wrong app secret", func(c *stage.Config) { c.Secret = stage.Secret(stage.AppID, "wrong") }, "n/a ok ok FAIL FAIL", "make secret"},
		{"no WeChat", func(c *stage.Config) { c.WeChatURL, c.Secret = "http://127.0.0.1:1", stage.Secret("a", "b") }, "n/a ok ok FAIL FAIL", "cannot reach"},
		{"no time", func(c *stage.Config) { c.Env = []string{"WECHAT_TIMEOUT=1ns"} }, "n/a ok ok FAIL FAIL", "cannot reach"},
		{"a catch-all route", func(c *stage.Config) { c.Route = "" }, "n/a FAIL ok ok ok", "is paid for"},
		{"another route", func(c *stage.Config) { c.Route = "POST /other" }, "n/a ok FAIL FAIL FAIL", "not the stack's output PhoneUrl"},
		{"what answers is no WeChat", func(c *stage.Config) {
			c.WeChatURL, c.Secret = noWeChat(t), stage.Secret("a", "b")
		}, "n/a ok ok FAIL FAIL", "is not WeChat"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := raise(t, test.edit)
			if out := try(t, s.URL+"/phone", false); verdicts(out) != test.verdicts || !strings.Contains(out, test.names) {
				t.Error(out)
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
		{"a page", says(200, "<html>"), "something before the function"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		}, "status 302"},
		{"no safe headers", says(400, `{"error":"invalid_request","message":"a","action":"fix","requestId":"b"}`), "the header"},
	} {
		server := httptest.NewServer(test.serve)
		if out := try(t, server.URL+"/phone", false); verdicts(out) != "n/a FAIL FAIL FAIL FAIL" || !strings.Contains(out, test.names) {
			t.Errorf("%s: %s", test.name, out)
		}
		server.Close()
	}
}

func TestNothingIsSentToAnAddressThatIsNotSafe(t *testing.T) {
	t.Parallel()
	unknown := httptest.NewUnstartedServer(http.NotFoundHandler())
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	unknown.StartTLS() // with a certificate that nobody knows
	defer unknown.Close()
	for url, names := range map[string]string{
		unknown.URL + "/phone":         "certificate",
		"http://example.invalid/phone": "not https",
		"ftp://127.0.0.1/phone":        "not https",
		"://":                          "missing protocol scheme",
	} {
		if out := try(t, url, false); verdicts(out) != "FAIL" || !strings.Contains(out, names) {
			t.Errorf("%s: %s", url, out)
		}
	}
}
