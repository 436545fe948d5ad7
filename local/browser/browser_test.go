package browser

import (
	"bufio"
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

func raise(t *testing.T, edit func(*stage.Config)) *stage.Stage {
	t.Helper()
	logs := &rig.Logs{}
	config := stage.Config{Bootstrap: rig.Bootstrap(t), Host: "127.0.0.1", Routes: stage.Routes, Logs: logs}
	if edit != nil {
		edit(&config)
	}
	s, err := Raise(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		logs.Check(t)
	})
	return s
}

// ask sends a request to the page's server. Each header is "Name: value".
func ask(t *testing.T, s *stage.Stage, method, path, body string, headers ...string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.WeChatURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// answer has the fields of the function's answers that the tests read.
type answer struct {
	Error, Action, Message, PhoneNumber, OpenID, Token string
}

// tap plays a tap and posts its data.
func tap(t *testing.T, s *stage.Stage, referer string) (got hostile.Want, a answer) {
	t.Helper()
	_, data := ask(t, s, "GET", "/tap?user=ada&shape=phone-code", "")
	status, text := ask(t, s, "POST", "/stage/phone?appid="+referer, data)
	if err := json.Unmarshal([]byte(text), &a, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatalf("got %d %s, want JSON", status, text)
	}
	if status == http.StatusOK && a.PhoneNumber != "" {
		return hostile.Want{}, a
	}
	return hostile.Want{Error: a.Error, Status: status, Action: a.Action}, a
}

// outcomes are what a tap with a phone code leads to under each fault.
var outcomes = map[string]hostile.Want{
	"none": {}, "slow": {}, "rotated": {}, "token": {}, "frozen": {},
	"busy":      {Error: "unavailable", Status: 503, Action: "retry"},
	"down":      {Error: "unavailable", Status: 503, Action: "retry"},
	"hangup":    {Error: "upstream_error", Status: 502, Action: "login"},
	"used":      {Error: "code_rejected", Status: 400, Action: "login"},
	"expired":   {Error: "code_rejected", Status: 400, Action: "login"},
	"foreign":   {Error: "code_rejected", Status: 400, Action: "login"},
	"quota":     {Error: "quota_exhausted", Status: 503, Action: "none"},
	"wrong":     {Error: "misconfigured", Status: 500, Action: "none"},
	"missing":   {Error: "misconfigured", Status: 500, Action: "none"},
	"whitelist": {Error: "misconfigured", Status: 500, Action: "none"},
	"key":       {Error: "misconfigured", Status: 500, Action: "none"},
}

// traces are events that show a fault although the tap succeeds.
var traces = map[string]string{
	"slow":    `"name":"GET /sns/jscode2session".*"ms":2\d{3}`,
	"rotated": `"name":"POST /cgi-bin/stable_token".*40125`,
	"token":   `"name":"POST /wxa/business/getuserphonenumber".*40001`,
}

func TestEachFaultCanBeInjectedAndEnded(t *testing.T) {
	rig.Long(t)
	t.Parallel()
	s := raise(t, nil)
	for _, fault := range append(stage.Faults(), "unknown") {
		want, known := outcomes[fault]
		wantStatus := map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[known]
		if status, text := ask(t, s, "POST", "/stage/faults/"+fault, ""); status != wantStatus {
			t.Errorf("injecting %s: got %d %s, want %d", fault, status, text, wantStatus)
		}
		if !known {
			continue
		}
		if fault == "frozen" {
			rig.WaitFor(t, "the process is stopped", func() bool { return state(t, s) == "T" })
		}
		read(t, s, traces[fault], func() {
			if got, _ := tap(t, s, stage.AppID); got != want {
				t.Errorf("%s: got %v, want %v", fault, got, want)
			}
		})
		if fault == "foreign" {
			if _, a := tap(t, s, stage.SecondAppID); !strings.Contains(a.Message, "the Referer names a different mini-program") {
				t.Errorf("a page of another mini-program: got the message %q, want it to say so", a.Message)
			}
		}
		ask(t, s, "POST", "/stage/faults/none", "")
		if got, _ := tap(t, s, stage.AppID); got != (hostile.Want{}) {
			t.Errorf("after %s: got %v, want a success", fault, got)
		}
	}
}

// state returns the state of the function's process, as in ps.
func state(t *testing.T, s *stage.Stage) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Function.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(text), ") ")
	return fields[:1]
}

// read calls do and returns the events that it causes, up to one that matches last.
func read(t *testing.T, s *stage.Stage, last string, do func()) (events []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.WeChatURL+"/stage/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	lines.Scan() // connected
	do()
	for event := ""; lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			events = append(events, event+" "+data)
			if regexp.MustCompile(last).MatchString(events[len(events)-1]) {
				return events
			}
		}
	}
	t.Fatalf("got %q, want one that matches %s", events, last)
	return nil
}

func TestEventsShowEachCallAndNoSecret(t *testing.T) {
	t.Parallel()
	s := raise(t, nil)
	var a answer
	events := read(t, s, "^log .*/login", func() {
		ask(t, s, "POST", "/stage/faults/rotated", "")
		_, a = tap(t, s, stage.AppID)
		_, login := ask(t, s, "GET", "/login?user=ada&appid="+stage.AppID, "")
		login = strings.Replace(login, "{", `{"token" : "`+a.Token+`",`, 1)
		if _, text := ask(t, s, "POST", "/stage/login", login); !strings.Contains(text, `"renewed":true`) {
			t.Errorf("got %s, want a renewal", text)
		}
	})
	events = append(events, read(t, s, `"to":"wechat","name":"POST /cgi-bin/stable_token".*"ms":\d*\.`, func() {
		ask(t, s, "POST", "/cgi-bin/stable_token", `{"grant_type":"client_credential","appid":"`+stage.AppID+
			`","secret":"`+stage.AppSecret+`"}`, "Content-Type: application/json")
	})...)
	errcode := regexp.MustCompile(`"errcode":\d{5}`)
	var ended []string
	for _, event := range events {
		if leak := hostile.Leak(event); leak != "" || strings.Contains(event, a.Token) {
			t.Errorf("got an event that holds %q: %s", leak, event)
		}
		name, data, _ := strings.Cut(event, " ")
		var c call
		if name == "call" {
			if err := json.Unmarshal([]byte(data), &c); err != nil {
				t.Errorf("got %s, error %v, want a call", data, err)
			}
		}
		if c.From == "function" && (strings.Contains(data, a.OpenID) || strings.Contains(data, a.PhoneNumber)) {
			t.Errorf("got %s, want it without the user's data", data)
		}
		if c.Ms > 0 {
			ended = append(ended, strings.TrimSpace(c.From+" "+c.To+" "+c.Name+" "+errcode.FindString(c.Answer)))
		}
	}
	want := []string{
		"function secrets secretsmanager.GetSecretValue", "function secrets secretsmanager.GetSecretValue",
		"page wechat GET /tap", `function wechat POST /cgi-bin/stable_token "errcode":40125`,
		"function secrets secretsmanager.GetSecretValue", "function wechat POST /cgi-bin/stable_token",
		"function wechat GET /sns/jscode2session", "function wechat POST /wxa/business/getuserphonenumber",
		"gateway function invoke", "page gateway POST /phone", "page wechat GET /login",
	}
	if len(ended) < len(want) || !slices.Equal(ended[:len(want)], want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(ended, "\n"), strings.Join(want, "\n"))
	}
}

func TestEventsAreShortWhateverIsPosted(t *testing.T) {
	t.Parallel()
	s := raise(t, nil)
	for _, event := range read(t, s, `"name":"POST /phone".*"status":413`, func() {
		if got, _ := ask(t, s, "POST", "/stage/phone", strings.Repeat("{", 1<<20)); got != http.StatusRequestEntityTooLarge {
			t.Errorf("got %d, want 413", got)
		}
	}) {
		if len(event) > 20<<10 {
			t.Errorf("got an event of %d bytes, want at most 20 KiB", len(event))
		}
	}
}

func TestOnlyThePageCanUseTheAPI(t *testing.T) {
	t.Parallel()
	s := raise(t, nil)
	own := strings.TrimPrefix(s.WeChatURL, "http://")
	local := strings.Replace(own, "127.0.0.1", "localhost", 1)
	for _, tt := range []struct {
		name    string
		headers []string
		want    int
	}{
		{"a program", nil, http.StatusOK},
		{"the page", []string{"Origin: http://" + own, "Sec-Fetch-Site: same-origin"}, http.StatusOK},
		{"the page at localhost", []string{"Host: " + local, "Origin: http://" + local}, http.StatusOK},
		{"another origin", []string{"Origin: https://example.com"}, http.StatusForbidden},
		{"another port", []string{"Origin: http://127.0.0.1:1"}, http.StatusForbidden},
		{"no origin, another site", []string{"Sec-Fetch-Site: cross-site"}, http.StatusForbidden},
		{"another name for this machine", []string{"Host: example.com"}, http.StatusForbidden},
		{"another name and its origin", []string{"Host: example.com", "Origin: http://example.com"}, http.StatusForbidden},
	} {
		if got, _ := ask(t, s, "POST", "/stage/faults/none", "", tt.headers...); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
	if got, _ := ask(t, s, "GET", "/stage/events", "", "Host: example.com"); got != http.StatusForbidden {
		t.Errorf("the events for another name: got %d, want 403", got)
	}
}

func TestServesNoPageToOthersAndNoneOfTheRealWeChat(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*stage.Config){
		"another address": func(c *stage.Config) { c.Host = "127.0.0.2" },
		"another WeChat": func(c *stage.Config) {
			c.WeChatURL, c.Secret = "http://127.0.0.1:1", stage.Secret(stage.AppID, stage.AppSecret)
		},
	} {
		s := raise(t, edit)
		for _, route := range []string{
			"GET /", "GET /stage/", "GET /stage/events", "POST /stage/faults/none", "POST /stage/phone",
		} {
			method, path, _ := strings.Cut(route, " ")
			if got, _ := ask(t, s, method, path, ""); got != http.StatusNotFound {
				t.Errorf("%s, %s: got %d, want 404", name, route, got)
			}
		}
	}
}

func TestTheBackendGetsItsEventFromTheAuthorizer(t *testing.T) {
	t.Parallel()
	s := raise(t, nil)
	_, a := tap(t, s, stage.AppID)
	_, login := ask(t, s, "GET", "/login", "")
	_, silent := ask(t, s, "POST", "/stage/login", login)
	var b answer
	if err := json.Unmarshal([]byte(silent), &b, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, token string
		want        int
	}{
		{"/me", a.Token, http.StatusOK}, {"/orders", a.Token, http.StatusOK},
		{"/me", b.Token, http.StatusOK}, {"/orders", b.Token, http.StatusForbidden},
		{"/me", "", http.StatusUnauthorized},
	} {
		got, event := ask(t, s, "GET", "/stage"+tt.path, "", "Authorization: Bearer "+tt.token)
		route := strings.Contains(event, `"routeKey":"GET `+tt.path+`"`) && strings.Contains(event, `"sub":"o`)
		if got != tt.want || route != (tt.want == http.StatusOK) {
			t.Errorf("GET %s: got %d %s, want %d", tt.path, got, event, tt.want)
		}
	}
}
