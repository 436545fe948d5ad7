package main

import (
	"context"
	"encoding/json/v2"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"wechat-phone/local/hostile"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/wechat"
)

// bootstrap is the compiled function that the tests run.
var bootstrap string

func TestMain(m *testing.M) {
	if where := os.Getenv("TEST_PANIC"); where != "" {
		runPanicking(where)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wechat-phone-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if bootstrap, err = stage.Bootstrap(dir); err != nil {
		panic(err)
	}
	return m.Run()
}

// rig is a stage with the compiled function on it. It sees to what holds for
// every test: the function writes JSON lines only, reports no failure to
// Lambda, and nothing that is marked stands in a line or an answer but in the
// success of the user whose it is.
type rig struct {
	*stage.Stage
	t    testing.TB
	logs *logs

	mu     sync.Mutex
	owners map[string]wechattest.User // by code of either kind
}

func raise(t testing.TB, edit func(*stage.Config)) *rig {
	t.Helper()
	r := &rig{t: t, logs: &logs{}, owners: map[string]wechattest.User{}}
	config := stage.Config{Bootstrap: bootstrap, Logs: r.logs}
	if edit != nil {
		edit(&config)
	}
	s, err := stage.Raise(config)
	if err != nil {
		t.Fatal(err)
	}
	r.Stage = s
	t.Cleanup(func() {
		s.Close()
		r.logs.check(t)
	})
	return r
}

// env is for stages that only need other variables.
func env(variables ...string) func(*stage.Config) {
	return func(c *stage.Config) { c.Env = variables }
}

var users atomic.Int64

// newUser makes up a user whose every secret is marked.
func newUser() wechattest.User { return hostile.User(int(users.Add(1))) }

// grant lets user log in, with tap for what the button hands over.
func (r *rig) grant(user wechattest.User, tap wechattest.Tap) wechattest.Tap {
	tap.Code = r.login(user)
	return tap
}

// login logs user in.
func (r *rig) login(user wechattest.User) (code string) {
	code = hostile.Code(int(users.Add(1)))
	r.WeChat.Grant(code, user)
	r.own(code, user)
	return code
}

func (r *rig) own(code string, user wechattest.User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owners[code] = user
}

// tapPhone is what the button hands over to a page that has no login code.
func (r *rig) tapPhone(user wechattest.User) wechattest.PhoneTap {
	tap := wechattest.PhoneTap{PhoneCode: hostile.PhoneCode(int(users.Add(1)))}
	r.WeChat.GrantPhone(tap.PhoneCode, user)
	r.own(tap.PhoneCode, user)
	return tap
}

// tapBoth is tapPhone, with a login code.
func (r *rig) tapBoth(user wechattest.User) wechattest.PhoneTap {
	tap := r.tapPhone(user)
	tap.Code = r.login(user)
	return tap
}

// tap logs user in and taps.
func (r *rig) tap(user wechattest.User) wechattest.Tap {
	return r.grant(user, r.WeChat.SealPhone(user))
}

// newTap is tap for a user made up for it.
func (r *rig) newTap() wechattest.Tap { return r.tap(newUser()) }

// scripted is tap, with an answer of WeChat's to the code.
func (r *rig) scripted(user wechattest.User, answer http.HandlerFunc) wechattest.Tap {
	tap := r.tap(user)
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
	E164      string `json:"e164"`
	OpenID    string `json:"openid"`
}

// owned are the fields of a success, whose values the user may have.
var owned = regexp.MustCompile(`"(phoneNumber|purePhoneNumber|countryCode|e164|openid|unionid)":"[^"]*"`)

func (r *rig) read(status int, header http.Header, body string) answered {
	a := answered{status: status, header: header, body: body}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		r.t.Errorf("the answer is no JSON: %v", err)
	}
	text := fmt.Sprint(header) + body
	if status == http.StatusOK { // the one place for these
		text = owned.ReplaceAllString(text, "")
	}
	if leak := hostile.Leak(text); leak != "" {
		r.t.Errorf("an answer of status %d holds %q", status, leak)
	}
	return a
}

// send posts a body of a content type, none where that is empty.
func (r *rig) send(method, path, contentType, body string) answered {
	r.t.Helper()
	request, err := http.NewRequest(method, r.URL+"/", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.URL.Path, request.URL.Opaque = "", r.URL[len("http:"):]+path // as it is, whatever it is
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		r.t.Error(err)
		return answered{}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Error(err)
	}
	if method == http.MethodHead { // whose answer has no body to look at
		return answered{status: response.StatusCode, header: response.Header}
	}
	return r.read(response.StatusCode, response.Header, string(text))
}

// post posts what the page has. Where a phone number comes back it must be that
// of the user who logged in.
func (r *rig) post(tap wechattest.Tap) answered {
	r.t.Helper()
	return r.postOf(tap.Code, tap, true)
}

// postPhone is post for the other shape.
func (r *rig) postPhone(tap wechattest.PhoneTap) answered {
	r.t.Helper()
	return r.postOf(tap.PhoneCode, tap, tap.Code != "")
}

// postOf posts for the owner of code.
func (r *rig) postOf(code string, tap any, loggedIn bool) answered {
	r.t.Helper()
	got := r.send("POST", "/phone", "application/json", hostile.JSON(tap))
	r.mu.Lock()
	owner := r.owners[code]
	r.mu.Unlock()
	openID := ""
	if loggedIn {
		openID = owner.OpenID
	}
	if got.status == http.StatusOK && (got.Phone != owner.Phone || got.E164 != "+"+owner.CountryCode+owner.PurePhone || got.OpenID != openID) {
		r.t.Errorf("%s came back for %s", got.body, owner.OpenID)
	}
	return got
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

// want checks an answer against a row of the error table, or for a success.
func (r *rig) want(name string, got answered, want hostile.Want) {
	r.t.Helper()
	r.wantHeaders(name, got)
	if want == (hostile.Want{}) {
		if got.status != http.StatusOK || got.Phone == "" || strings.Contains(got.body, `"error"`) {
			r.t.Errorf("%s: %d %s, want a phone number", name, got.status, got.body)
		}
		return
	}
	if got := (hostile.Want{Error: got.Error, Status: got.status, Action: got.Action}); got != want {
		r.t.Errorf("%s: %v, want %v", name, got, want)
	}
	body := fmt.Sprintf(`{"error":%q,"message":%q,"action":%q,"requestId":%q}`, got.Error, got.Message, got.Action, got.RequestID)
	if got.body != body || got.Message == "" || !requestID.MatchString(got.RequestID) {
		r.t.Errorf("%s: the body is %s", name, got.body)
	}
	// Who is not to send the same again is not told when.
	retryAfter := map[string]string{"wait rate_limited": "60", "retry unavailable": "1"}[want.Action+" "+want.Error]
	allow := map[string]string{"method_not_allowed": "POST"}[want.Error]
	if got.header.Get("retry-after") != retryAfter || got.header.Get("allow") != allow {
		r.t.Errorf("%s: retry-after %q, allow %q", name, got.header.Get("retry-after"), got.header.Get("allow"))
	}
}

// wantFailure is want for a row that is written out.
func (r *rig) wantFailure(name string, got answered, failure string, status int, action string) {
	r.t.Helper()
	r.want(name, got, hostile.Want{Error: failure, Status: status, Action: action})
}

// wantPhone posts, and wants a phone number back.
func (r *rig) wantPhone(name string, tap wechattest.Tap) {
	r.t.Helper()
	r.want(name, r.post(tap), hostile.Want{})
}

// wantPhoneByCode is wantPhone for the other shape.
func (r *rig) wantPhoneByCode(name string, tap wechattest.PhoneTap) {
	r.t.Helper()
	r.want(name, r.postPhone(tap), hostile.Want{})
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

// logs collects what the function writes, and looks at each line as it comes.
type logs struct {
	mu      sync.Mutex
	partial string
	lines   []string // the first ones
	count   int
	wrong   []string
	instead io.Writer // gets what is written, where not nil
}

const keptLines = 5000

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.instead != nil {
		return l.instead.Write(p)
	}
	text := l.partial + string(p)
	for {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			l.partial = text
			return len(p), nil
		}
		text = rest
		l.count++
		if len(l.lines) < keptLines {
			l.lines = append(l.lines, line)
		}
		var read logLine
		if err := json.Unmarshal([]byte(line), &read); err != nil || read.Level == "" || read.Message == "" || read.Timestamp == "" {
			l.wrong = append(l.wrong, "no JSON with level, message and timestamp: "+line)
		}
		if leak := hostile.Leak(line); leak != "" {
			l.wrong = append(l.wrong, fmt.Sprintf("holds %q: %s", leak, line))
		}
	}
}

// divert sends what comes from now on to another writer.
func (l *logs) divert(to io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.instead = to
}

func (l *logs) check(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.partial != "" {
		t.Errorf("a line without an end: %q", l.partial)
	}
	for _, wrong := range l.wrong[:min(len(l.wrong), 5)] {
		t.Errorf("one of %d wrong lines: %s", len(l.wrong), wrong)
	}
}

// text returns the lines.
func (l *logs) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// logLine is one of the function's.
type logLine struct {
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
	OwnMs     *float64 `json:"ownMs"`
	TotalMs   *float64 `json:"totalMs"`
	First     *bool    `json:"first"`
}

// request returns the line of the request that failed so. It may come a little
// after the answer.
func (l *logs) request(t testing.TB, got answered) (found logLine) {
	t.Helper()
	waitFor(t, "there is a line for the request", func() bool {
		for _, line := range l.requests() {
			if line.RequestID == got.RequestID {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

// requests returns the lines of requests.
func (l *logs) requests() (lines []logLine) {
	for text := range strings.Lines(l.text()) {
		var one logLine
		if json.Unmarshal([]byte(text), &one) == nil && one.Outcome != "" {
			lines = append(lines, one)
		}
	}
	return lines
}

// runPanicking is the function with a dependency that panics, in the real
// runtime: no input is known that makes the function itself do so.
func runPanicking(where string) {
	h, err := start(os.Getenv, newLogger())
	if err != nil {
		panic(err)
	}
	switch where {
	case "before WeChat is asked":
		h.secrets = panicking{}
	case "for the token":
		h.tokens = panickingTokens{}
	case "where many wait for the token":
		h.tokens = wechat.NewTokens(nil, time.Now)
	case "once WeChat is asked":
		h.wechat = panicking{}
	}
	lambda.Start(h)
}

type panicking struct{}

const panicText = "text of a panic with a canary"

func (panicking) Get(context.Context) (wechat.Credentials, error) { panic(panicText) }

func (panicking) Refresh(context.Context, wechat.Credentials) (wechat.Credentials, error) {
	panic(panicText)
}

func (panicking) Code2Session(context.Context, wechat.Credentials, string) (wechat.Session, error) {
	var sessions []wechat.Session
	return sessions[len(panicText)], nil
}

func (panicking) PhoneNumber(context.Context, wechat.AccessToken, string, string) (opendata.Phone, error) {
	panic(panicText)
}

func (panicking) CheckEncryptedMsg(context.Context, wechat.AccessToken, opendata.Sealed) error {
	panic(panicText)
}

type panickingTokens struct{}

func (panickingTokens) Get(context.Context, wechat.Credentials) (wechat.AccessToken, error) {
	panic(panicText)
}

func (panickingTokens) Drop(wechat.AccessToken) { panic(panicText) }

// discarded is for servers whose clients are meant to fail.
var discarded = log.New(io.Discard, "", 0)

// trust makes a variable by which the function trusts s, and nobody else.
func trust(t testing.TB, s *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return "SSL_CERT_FILE=" + file
}

// waitFor waits until a condition holds.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
