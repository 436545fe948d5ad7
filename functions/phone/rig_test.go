package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/v2"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"wechat-phone/local/stage"
	"wechat-phone/local/wechat"
	"wechat-phone/shared/weixin"
)

// bootstrap is the compiled function that the tests run. BOOTSTRAP names one
// that is there already, as make test does.
var bootstrap = os.Getenv("BOOTSTRAP")

func TestMain(m *testing.M) {
	if where := os.Getenv("TEST_PANIC"); where != "" {
		runPanicking(where)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if bootstrap == "" {
		dir, err := os.MkdirTemp("", "wechat-phone-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if bootstrap, err = stage.Build(dir); err != nil {
			panic(err)
		}
	}
	return m.Run()
}

// rig is a stage with the compiled function on it. At its end it checks what
// holds for every test: that the function wrote JSON lines only, and none of
// what may not be written.
type rig struct {
	*stage.Stage
	t    *testing.T
	logs *logs

	mu     sync.Mutex
	hidden []string
}

func raise(t *testing.T, edit func(*stage.Config)) *rig {
	t.Helper()
	r := &rig{t: t, logs: &logs{}}
	config := stage.Config{Bootstrap: bootstrap, Logs: r.logs}
	if edit != nil {
		edit(&config)
	}
	s, err := stage.Raise(config)
	if err != nil {
		t.Fatal(err)
	}
	r.Stage = s
	r.hide(stage.AppSecret)
	t.Cleanup(func() {
		s.Close()
		r.logs.check(t)
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, text := range r.hidden {
			if strings.Contains(r.logs.String(), text) {
				t.Errorf("the function wrote %q", text)
			}
		}
	})
	return r
}

// hide notes what may stand in no line that the function writes.
func (r *rig) hide(texts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range texts {
		if text != "" {
			r.hidden = append(r.hidden, text)
		}
	}
}

// tap logs user in and taps, and notes what is that user's alone.
func (r *rig) tap(user wechat.User) wechat.Tap {
	tap := r.WeChat.Tap(user)
	r.hide(tap.Code, tap.EncryptedData, tap.IV, user.OpenID, user.UnionID, user.PurePhone,
		base64.StdEncoding.EncodeToString(user.SessionKey), hex.EncodeToString(user.SessionKey), string(user.SessionKey))
	return tap
}

// newTap is tap for a user made up for it.
func (r *rig) newTap() wechat.Tap { return r.tap(r.WeChat.NewUser()) }

// scripted is newTap with an answer of WeChat's to its code.
func (r *rig) scripted(answer http.HandlerFunc) wechat.Tap {
	tap := r.newTap()
	r.WeChat.Script(tap.Code, answer)
	return tap
}

// answered is an HTTP answer, or the function's to an event.
type answered struct {
	status int
	header http.Header
	body   string

	Error     string `json:"error"`
	Message   string `json:"message"`
	Action    string `json:"action"`
	RequestID string `json:"requestId"`
	Phone     string `json:"phoneNumber"`
}

func (r *rig) read(status int, header http.Header, body string) answered {
	a := answered{status: status, header: header, body: body}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		r.t.Errorf("the answer is no JSON: %v", err)
	}
	return a
}

// send posts a body of a content type, none where that is empty.
func (r *rig) send(method, path, contentType, body string) answered {
	r.t.Helper()
	request, err := http.NewRequest(method, r.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Error(err)
		return answered{}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Error(err)
	}
	return r.read(response.StatusCode, response.Header, string(text))
}

// post posts what the page has.
func (r *rig) post(tap wechat.Tap) answered {
	r.t.Helper()
	body, err := json.Marshal(tap)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.send("POST", "/phone", "application/json", string(body))
}

// invoke hands an event to the function itself.
func (r *rig) invoke(event string) answered {
	r.t.Helper()
	text, err := r.Function.Invoke(context.Background(), []byte(event))
	if err != nil {
		r.t.Errorf("the function failed: %v", err)
		return answered{}
	}
	var answer struct {
		StatusCode      int               `json:"statusCode"`
		Headers         map[string]string `json:"headers"`
		Body            string            `json:"body"`
		IsBase64Encoded bool              `json:"isBase64Encoded"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.IsBase64Encoded {
		r.t.Errorf("the function answered %s, %v", text, err)
	}
	header := http.Header{}
	for name, value := range answer.Headers {
		header.Set(name, value)
	}
	return r.read(answer.StatusCode, header, answer.Body)
}

// wantFailure checks an answer against a row of the error table.
func (r *rig) wantFailure(name string, got answered, error string, status int, action string) {
	r.t.Helper()
	if got.Error != error || got.status != status || got.Action != action {
		r.t.Errorf("%s: %s %d %s, want %s %d %s (%s)", name, got.Error, got.status, got.Action, error, status, action, got.Message)
	}
	want := fmt.Sprintf(`{"error":%q,"message":%q,"action":%q,"requestId":%q}`, got.Error, got.Message, got.Action, got.RequestID)
	if got.body != want || got.Message == "" || !requestID.MatchString(got.RequestID) {
		r.t.Errorf("%s: the body is %s", name, got.body)
	}
	r.wantHeaders(name, got)
	retryAfter := map[string]string{"rate_limited": "60", "unavailable": "1"}[error]
	allow := map[string]string{"method_not_allowed": "POST"}[error]
	if got.header.Get("retry-after") != retryAfter || got.header.Get("allow") != allow {
		r.t.Errorf("%s: retry-after %q, allow %q", name, got.header.Get("retry-after"), got.header.Get("allow"))
	}
}

var requestID = regexp.MustCompile(`^[0-9a-f-]{36}$`)

func (r *rig) wantHeaders(name string, got answered) {
	r.t.Helper()
	for header, want := range map[string]string{
		"content-type": "application/json; charset=utf-8", "cache-control": "no-store", "x-content-type-options": "nosniff",
	} {
		if value := got.header.Get(header); value != want {
			r.t.Errorf("%s: %s is %q", name, header, value)
		}
	}
}

// logs collects what the function writes.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// line is one of the function's.
type line struct {
	Level     string   `json:"level"`
	Message   string   `json:"message"`
	Timestamp string   `json:"timestamp"`
	RequestID string   `json:"requestId"`
	Outcome   string   `json:"outcome"`
	Status    int      `json:"status"`
	ErrCode   int      `json:"errcode"`
	RID       string   `json:"rid"`
	Reason    string   `json:"reason"`
	WeChatMs  *float64 `json:"wechatMs"`
	TotalMs   *float64 `json:"totalMs"`
	First     *bool    `json:"first"`
}

// requests returns the lines of requests.
func (l *logs) requests() (lines []line) {
	for text := range strings.Lines(l.String()) {
		var one line
		if json.Unmarshal([]byte(text), &one) == nil && one.Outcome != "" {
			lines = append(lines, one)
		}
	}
	return lines
}

func (l *logs) check(t *testing.T) {
	t.Helper()
	for text := range strings.Lines(l.String()) {
		var one line
		if err := json.Unmarshal([]byte(text), &one); err != nil || one.Level == "" || one.Message == "" || one.Timestamp == "" {
			t.Errorf("a line that is no JSON with level, message and timestamp: %q", text)
		}
	}
}

// wait waits until a condition holds.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// runPanicking is the function with a dependency that panics, in the real
// runtime: no input is known that makes the function itself do so.
func runPanicking(where string) {
	h, err := start(context.Background(), os.Getenv, newLogger())
	if err != nil {
		panic(err)
	}
	switch where {
	case "before WeChat is asked":
		h.secrets = panicking{}
	case "once WeChat is asked":
		h.wechat = panicking{}
	}
	lambda.StartHandlerFunc(h.serve)
}

type panicking struct{}

const panicText = "canary-of-a-panic"

func (panicking) Get(context.Context) (weixin.Credentials, error) { panic(panicText) }

func (panicking) Refresh(context.Context, weixin.Credentials) (weixin.Credentials, error) {
	panic(panicText)
}

func (panicking) Code2Session(context.Context, weixin.Credentials, string) (weixin.Session, error) {
	var sessions []weixin.Session
	return sessions[len(panicText)], nil
}

// discarded is for servers whose clients are meant to fail.
var discarded = log.New(io.Discard, "", 0)

func certificatePEM(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
