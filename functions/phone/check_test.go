package main

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/wechat"
)

const signingSecret = "wechat-phone-signing"

var tokensOn = []string{"TOKEN_ISSUER=https://login.example.com", "SIGNING_SECRET_ID=" + signingSecret}

// The fakes of other tests implement what only the check calls.

func (k stub) Reread(ctx context.Context) (appsecret.Apps, error) { return k.Get(ctx) }

func (stub) StableToken(context.Context, wechat.Credentials) (wechat.AccessToken, time.Duration, error) {
	panic("only the check calls this")
}

func (panicking) Reread(context.Context) (appsecret.Apps, error) { panic(panicText) }

func (panicking) StableToken(context.Context, wechat.Credentials) (wechat.AccessToken, time.Duration, error) {
	panic(panicText)
}

func (w *world) Reread(ctx context.Context) (appsecret.Apps, error) { return w.Get(ctx) }

func (*world) StableToken(context.Context, wechat.Credentials) (wechat.AccessToken, time.Duration, error) {
	panic("only the check calls this")
}

func (signing) Reread(context.Context) error { return nil }

func (stubKeys) Reread(context.Context) error { return nil }

func (panickingKeys) Reread(context.Context) error { panic(panicText) }

// checkLine is a line of the check.
type checkLine struct {
	RequestID string   `json:"requestId"`
	Message   string   `json:"message"`
	Level     string   `json:"level"`
	Check     string   `json:"check"`
	CheckMs   *float64 `json:"checkMs"`
	AppID     string   `json:"appid"`
	Reason    string   `json:"reason"`
	ErrCode   int      `json:"errcode"`

	Outcome *string  `json:"outcome"`
	TotalMs *float64 `json:"totalMs"`
	First   *bool    `json:"first"`
}

// theKeys is the key of the line about the signing secret.
const theKeys = "the keys"

// check runs the check and returns its lines, by appid. A line about the secret has
// the key "".
func check(t *testing.T, r *rig.Rig) map[string]checkLine {
	t.Helper()
	answer, err := r.Function.Invoke(t.Context(), []byte(`{"check":true}`))
	if err != nil || string(answer) != "null" {
		t.Errorf("got %s, error %v, want null", answer, err)
	}
	r.Logs.Request(t, r.Send("POST", "/phone", "", "{}")) // its line comes after the check's
	var lines []checkLine
	for text := range strings.Lines(r.Logs.Text()) {
		var line checkLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if line.Check != "" {
			lines = append(lines, line)
		}
	}
	byApp := map[string]checkLine{}
	for _, line := range lines {
		if line.RequestID != lines[len(lines)-1].RequestID { // an earlier check's
			continue
		}
		key := line.AppID
		if strings.HasPrefix(line.Reason, "signing secret: ") {
			key = theKeys
		}
		if _, twice := byApp[key]; twice {
			t.Errorf("got two lines for the appid %q, want one", line.AppID)
		}
		byApp[key] = line
		if line.Message != "check" || line.Level != "INFO" || line.CheckMs == nil {
			t.Errorf("got %+v, want the message check, the level INFO and checkMs", line)
		}
		if line.Outcome != nil || line.TotalMs != nil || line.First != nil {
			t.Errorf("got %+v, want no field of a request", line)
		}
	}
	return byApp
}

// wantVerdicts runs the check and compares its verdicts.
func wantVerdicts(t *testing.T, name string, r *rig.Rig, want map[string]string) map[string]checkLine {
	t.Helper()
	lines, got := check(t, r), map[string]string{}
	for appID, line := range lines {
		got[appID] = line.Check
		if (line.Reason == "") != (line.Check == "ok") {
			t.Errorf("%s: got the reason %q of the verdict %s, want one if it is not ok", name, line.Reason, line.Check)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s: got %v, want %v: %+v", name, got, want, lines)
	}
	return lines
}

// only is the verdict on the stage's mini-program.
func only(verdict string) map[string]string { return map[string]string{stage.AppID: verdict} }

// breakage is something that goes wrong after a deployment.
type breakage struct {
	name    string
	config  func(*stage.Config)
	do      func(*rig.Rig)
	answers map[string]http.HandlerFunc // WeChat's, by path
	want    map[string]string           // verdicts by appid
	errcode int
	reason  string // part of it
}

func refuse(path string, errcode int) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{path: wechattest.Refuse(errcode, "text")}
}

// allPaths makes answer serve every call.
func allPaths(answer http.HandlerFunc) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		wechattest.TokenPath: answer, wechattest.LoginPath: answer, wechattest.PhonePath: answer,
	}
}

var breakages = []breakage{
	{name: "nothing is broken", want: only("ok")},
	{name: "the secret was reset", want: only("act"), errcode: 40125, reason: "stable_token",
		do: func(r *rig.Rig) { r.WeChat.SetSecret("another") }},
	{name: "the whitelist is on", want: only("act"), errcode: 40164, answers: refuse(wechattest.TokenPath, 40164)},
	{name: "the secret is frozen", want: only("act"), errcode: 40243, answers: refuse(wechattest.TokenPath, 40243)},
	{name: "a wrong appid", want: map[string]string{stage.BrokenAppID: "act"}, errcode: 40013,
		config: func(c *stage.Config) { c.Secret = stage.Secret(stage.BrokenAppID, stage.AppSecret) }},
	{name: "the mini-program may not call the API", want: only("act"), errcode: 48001, reason: "getuserphonenumber",
		answers: refuse(wechattest.PhonePath, 48001)},
	{name: "the signing key is missing", want: map[string]string{stage.AppID: "ok", theKeys: "act"},
		config: rig.Env(tokensOn...)},
	{name: "the list of signing keys is not usable", want: map[string]string{stage.AppID: "ok", theKeys: "act"},
		config: rig.Env(tokensOn...), do: func(r *rig.Rig) { r.Secrets.Put(signingSecret, "[]") }},
	{name: "WeChat is slow", want: only("wait"), reason: "timeout",
		config: rig.Env("WECHAT_TIMEOUT=300ms"), answers: allPaths(hostile.Silence)},
	{name: "WeChat is slow with a login code", want: only("wait"), reason: "jscode2session",
		config:  rig.Env("WECHAT_TIMEOUT=300ms"),
		answers: map[string]http.HandlerFunc{wechattest.LoginPath: hostile.Silence}},
	{name: "WeChat is down", want: only("wait"), reason: "status 502",
		answers: allPaths(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })},
	{name: "WeChat is down after the token", want: only("wait"), reason: "jscode2session malformed",
		answers: map[string]http.HandlerFunc{wechattest.LoginPath: wechattest.Answer("<html>")}},
	{name: "WeChat is unreachable", want: only("wait"), reason: "connection refused",
		config: func(c *stage.Config) { c.WeChatURL = noServer }},
	{name: "WeChat is busy", want: only("wait"), errcode: -1, answers: refuse(wechattest.LoginPath, -1)},
	{name: "the minute's limit", want: only("wait"), errcode: 45011, answers: refuse(wechattest.TokenPath, 45011)},
	{name: "the day's quota", want: only("act"), errcode: 45009, answers: refuse(wechattest.PhonePath, 45009)},
	{name: "an errcode that nobody knows", want: only("act"), errcode: 99999,
		answers: refuse(wechattest.LoginPath, 99999)},
	{name: "a server that calls every code used", want: only("act"), errcode: 40163,
		answers: refuse(wechattest.LoginPath, 40163)},
	{name: "a server that accepts any login code", want: only("act"), reason: "jscode2session accepted",
		answers: map[string]http.HandlerFunc{wechattest.LoginPath: wechattest.Accept(rig.NewUser())}},
	{name: "a server that accepts any phone code", want: only("act"), reason: "getuserphonenumber accepted",
		answers: map[string]http.HandlerFunc{
			wechattest.PhonePath: wechattest.AcceptPhone(rig.NewUser(), stage.AppID, time.Now()),
		}},
	{name: "another mini-program's phone code", want: only("ok"), answers: refuse(wechattest.PhonePath, 40013)},
	{name: "one of three mini-programs is broken", errcode: 40125,
		want:   map[string]string{stage.AppID: "ok", stage.SecondAppID: "ok", stage.BrokenAppID: "act"},
		config: severalApps},
	{name: "one of two app secrets is empty", reason: "the mini-program's secret is empty",
		want: map[string]string{stage.AppID: "ok", stage.BrokenAppID: "act"},
		config: func(c *stage.Config) {
			c.Secret = stage.Secrets(map[string]string{stage.AppID: stage.AppSecret, stage.BrokenAppID: ""})
		}},
	{name: "the secret was deleted", want: map[string]string{stage.AppID: "ok", "": "act"},
		reason: "ResourceNotFoundException", do: func(r *rig.Rig) { r.Secrets.Delete(stage.SecretName) }},
	{name: "Secrets Manager throttles", want: map[string]string{stage.AppID: "ok", "": "wait"},
		do: func(r *rig.Rig) { r.Secrets.Fail(secretstest.Fault(400, "ThrottlingException", "")) }},
}

// raiseBroken starts the stage and breaks it.
func (b breakage) raise(t *testing.T) *rig.Rig {
	t.Helper()
	w := rig.NewWeChat(t, "http")
	w.Serve(http.NotFoundHandler())
	r := rig.Raise(t, func(c *stage.Config) {
		c.WeChatURL = w.URL
		if b.config != nil {
			b.config(c)
		}
	})
	w.Serve(http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
		if answer := b.answers[q.URL.Path]; answer != nil {
			answer(out, q)
			return
		}
		r.WeChat.ServeHTTP(out, q)
	}))
	if b.do != nil {
		b.do(r)
	}
	return r
}

// The check says act if somebody must act, and for no other reason.
func TestCheckReportsEachBreakage(t *testing.T) {
	t.Parallel()
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			r := b.raise(t)
			for round := range 2 {
				lines := wantVerdicts(t, fmt.Sprint("round ", round+1), r, b.want)
				said := ""
				for appID, line := range lines {
					if line.Check == "ok" {
						if line.ErrCode != 0 {
							t.Errorf("got the errcode %d of an expected refusal, want none", line.ErrCode)
						}
						continue
					}
					said += line.Reason
					if line.ErrCode != b.errcode {
						t.Errorf("%q: got the errcode %d, want %d", appID, line.ErrCode, b.errcode)
					}
				}
				if !strings.Contains(said, b.reason) {
					t.Errorf("got the reason %q, want %q in it", said, b.reason)
				}
			}
		})
	}
}

func TestCheckAcceptsUsableSigningKeys(t *testing.T) {
	t.Parallel()
	b := breakage{config: func(c *stage.Config) { c.Tokens = true }}
	wantVerdicts(t, "usable keys", b.raise(t), only("ok"))
}

// hanging returns a secret with n mini-programs, and a WeChat that never gives the
// first hang of them a token. high is the most requests that it had at once.
func hanging(n, hang int) (secret string, serve http.HandlerFunc, high *atomic.Int32) {
	server := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
	apps := map[string]string{}
	for i := range n {
		appID := fmt.Sprintf("wx%016x", 0xa000+i)
		apps[appID] = stage.AppSecret
		server.AddApp(appID, stage.AppSecret)
		if i < hang {
			server.Script(wechattest.TokenKey(appID), hostile.Silence)
		}
	}
	var open atomic.Int32
	high = &atomic.Int32{}
	serve = func(w http.ResponseWriter, q *http.Request) {
		now := open.Add(1)
		defer open.Add(-1)
		for before := high.Load(); now > before && !high.CompareAndSwap(before, now); before = high.Load() {
		}
		server.ServeHTTP(w, q)
	}
	return stage.Secrets(apps), serve, high
}

// The stage reports an invocation that does not end in time, as Lambda does.
func TestCheckEndsInTimeAndNamesWhatItDidNotCheck(t *testing.T) {
	t.Parallel()
	const apps, hang = 50, 9
	secret, serve, high := hanging(apps, hang)
	w := rig.NewWeChat(t, "http")
	w.Serve(serve)
	r := rig.Raise(t, func(c *stage.Config) {
		c.WeChatURL, c.Secret, c.Timeout, c.Env = w.URL, secret, 3*time.Second, []string{"WECHAT_TIMEOUT=9s"}
	})
	lines := check(t, r)
	count := map[string]int{}
	for appID, line := range lines {
		count[line.Check]++
		hangs := appID < fmt.Sprintf("wx%016x", 0xa000+hang)
		if hangs && line.Check == "ok" || !hangs && line.Check == "wait" {
			t.Errorf("%s hangs: %v, got %s, want the opposite", appID, hangs, line.Check)
		}
	}
	if len(lines) != apps || count["wait"] != checksAtOnce || count["not_checked"] == 0 || count["act"] != 0 {
		t.Errorf("got %v in %d lines, want %d lines, %d of them wait, and some not_checked",
			count, len(lines), apps, checksAtOnce)
	}
	if got := high.Load(); got != checksAtOnce {
		t.Errorf("got up to %d mini-programs checked at once, want %d", got, checksAtOnce)
	}
}

// The check waits for a read of a secret only until its own deadline.
func TestCheckEndsInTimeWhileSecretsManagerHangs(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Timeout, c.Tokens = 1500*time.Millisecond, true })
	r.Secrets.Fail(hostile.Silence)
	lines := check(t, r)
	for key, want := range map[string]string{"": "wait", theKeys: "wait", stage.AppID: "not_checked"} {
		if got := lines[key]; got.Check != want || want == "wait" && !strings.HasSuffix(got.Reason, ": timeout") {
			t.Errorf("%q: got %s %q, want %s, for a timeout", key, got.Check, got.Reason, want)
		}
	}
}

// The check gives up on a hanging mini-program after WECHAT_TIMEOUT, so that the others
// get their turn.
func TestCheckGivesUpOnAHangingMiniProgram(t *testing.T) {
	t.Parallel()
	secret, serve, _ := hanging(20, 9)
	w := rig.NewWeChat(t, "http")
	w.Serve(serve)
	r := rig.Raise(t, func(c *stage.Config) {
		c.WeChatURL, c.Secret, c.Env = w.URL, secret, []string{"WECHAT_TIMEOUT=500ms"}
	})
	count := map[string]int{}
	for _, line := range check(t, r) {
		count[line.Check]++
	}
	if want := map[string]int{"wait": 9, "ok": 11}; !maps.Equal(count, want) {
		t.Errorf("got %v, want %v", count, want)
	}
}

func TestCheckDoesNotDisturbUsers(t *testing.T) {
	t.Parallel()
	r := breakage{}.raise(t)
	wantVerdicts(t, "before the first request", r, only("ok"))
	r.WantPhoneByCode("after a check", r.TapPhone(rig.NewUser()))
	fetches := r.WeChat.Seen(wechattest.TokenPath)
	for range 2 {
		wantVerdicts(t, "between requests", r, only("ok"))
	}
	wantFetches(t, r, "each check fetches the token past the cache", fetches+2)
	r.WantPhoneByCode("between checks", r.TapPhone(rig.NewUser()))
	wantFetches(t, r, "a request keeps its token", fetches+2)
	if got := r.WeChat.Tokens(); got != 1 {
		t.Errorf("got %d tokens, want the same one for everybody", got)
	}

	r.Secrets.Put(stage.SecretName, "{}")
	wantVerdicts(t, "a malformed secret", r, map[string]string{stage.AppID: "ok", "": "act"})
	r.WantPhone("after a failed read", r.NewTap())
	r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, "new"))
	r.WeChat.SetSecret("new")
	wantVerdicts(t, "a new secret", r, only("ok"))
	reads := r.Secrets.Calls()
	r.WantPhone("with the new secret", r.NewTap())
	wantReads(t, r, "the check has read it for everybody", reads)
}

// first says that a process serves its first user.
func TestFirstMarksTheFirstRequestEvenAfterACheck(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	check(t, r) // sends the first request
	r.Post(r.NewTap())
	rig.WaitFor(t, "both requests have a line", func() bool { return len(r.Logs.Requests()) == 2 })
	if lines := r.Logs.Requests(); !*lines[0].First || *lines[1].First {
		t.Errorf("got first %v and %v, want true and false", *lines[0].First, *lines[1].First)
	}
}

func TestOnlyTheExactEventIsACheck(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, event := range []string{
		`{}`, `null`, `true`, `[]`, `{"check":false}`, `{"check":null}`, `{"check":"true"}`, `{"check":1}`,
		`{"Check":true}`, `{"check":true,"check":true}`, `{"check":true,"version":"2.0"}`, `{"check":true}{}`,
		`{"version":"2.0","check":true}`, `{"detail":{"check":true}}`,
	} {
		r.Want(event, r.Invoke(event), hostile.Want{Error: "invalid_request", Status: 400, Action: "fix"})
	}
	const body = `{"check":true}`
	r.WantFailure("a request's body", r.Send("POST", "/phone", "application/json", body), "invalid_request", 400, "fix")
	if strings.Contains(r.Logs.Text(), `"check"`) {
		t.Errorf("got %s, want no line of a check", r.Logs.Text())
	}
	for _, event := range []string{" {\n\"check\" : true }\n", `{"check":true}`} {
		if answer, err := r.Function.Invoke(t.Context(), []byte(event)); err != nil || string(answer) != "null" {
			t.Errorf("%q: got %s, error %v, want null", event, answer, err)
		}
	}
}

// A panic must neither end the process nor keep other lines from being written.
func TestCheckSurvivesPanics(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]map[string]string{
		"reading the secret": {"": "act"},
		"calling WeChat":     only("act"),
		"getting the keys":   {"": "act", stage.AppID: "ok"},
	} {
		r := rig.Raise(t, func(c *stage.Config) {
			c.Bootstrap, c.Env = os.Args[0], []string{panicVariable + "=" + where}
			c.Tokens = where == "getting the keys"
		})
		for _, line := range wantVerdicts(t, where, r, want) {
			if line.Check != "ok" && !strings.HasPrefix(line.Reason, "panic at wechat-phone/") {
				t.Errorf("%s: got the reason %q, want the panic's place", where, line.Reason)
			}
		}
	}
}

// Verdicts follow the table of failures.
func TestCheckJudgesEveryRefusal(t *testing.T) {
	t.Parallel()
	waits := []int{wechat.Busy, wechat.TooManyCalls}
	for _, answers := range [][]hostile.Answer{
		hostile.Refusals(), hostile.TokenRefusals(), hostile.PhoneRefusals(),
	} {
		for _, answer := range answers {
			for _, api := range []wechat.API{wechat.LoginAPI, wechat.TokenAPI, wechat.PhoneAPI} {
				want := checkAct
				if slices.Contains(waits, answer.ErrCode) {
					want = checkWait
				}
				err := &wechat.Error{API: api, Kind: wechat.Refused, ErrCode: answer.ErrCode}
				if got := judge(err); got != want {
					t.Errorf("%s %s: got %s, want %s", api, answer.Name, got, want)
				}
			}
		}
	}
}
