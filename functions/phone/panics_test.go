package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/identity"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/panics"
	"wechat-phone/shared/wechat"
)

// panicVariable turns this test binary into the function, with a dependency that
// panics. Its value says which one.
const panicVariable = "TEST_PANIC"

func TestMain(m *testing.M) {
	if where := os.Getenv(panicVariable); where != "" {
		runPanicking(where)
	}
	rig.MainUnlessShort(m)
}

// runPanicking runs the function in the real runtime, with a dependency that
// panics: no known input makes the function itself panic.
func runPanicking(where string) {
	h, err := start(os.Getenv, newLogger())
	if err != nil {
		panic(err)
	}
	switch where {
	case "reading the secret":
		h.secrets = panicking{}
	case "getting the token":
		h.tokens = panickingTokens{}
	case "in a shared fetch":
		h.tokens = wechat.NewTokens(nil, time.Now)
	case "calling WeChat":
		h.wechat = panicking{}
	case "getting the keys":
		h.issuer.keys = panickingKeys{}
	}
	lambda.Start(h)
}

type panicking struct{}

const panicText = "text of a panic with a canary"

func (panicking) Get(context.Context) (appsecret.Apps, error) { panic(panicText) }

func (panicking) Discover(context.Context) (appsecret.Apps, error) { panic(panicText) }

func (panicking) Usable(context.Context, wechat.Credentials) (wechat.Credentials, error) {
	panic(panicText)
}

func (panicking) Refresh(context.Context, wechat.Credentials) (wechat.Credentials, error) {
	panic(panicText)
}

func (panicking) Code2Session(context.Context, wechat.Credentials, string) (wechat.Session, error) {
	var sessions []wechat.Session
	return sessions[len(panicText)], nil
}

func (panicking) PhoneNumber(
	context.Context, wechat.AccessToken, string, string,
) (opendata.Phone, time.Time, error) {
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

type panickingKeys struct{}

func (panickingKeys) Load() error { panic(panicText) }

func (panickingKeys) Get(context.Context) (*identity.Keys, error) { panic(panicText) }

func testPanics(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		where, at              string
		sealed, phone, noLogin string // the action for each kind of tap, or "" for a success
	}{
		{"reading the secret", ".panicking", "retry", "retry", "retry"},
		{"getting the token", ".panicking", "", "retry", "retry"},
		{"in a shared fetch", "/wechat.", "", "retry", "retry"},
		{"calling WeChat", ".panicking", "login", "tap", "tap"},
		{"getting the keys", ".panicking", "retry", "retry", ""},
	} {
		r := rig.Raise(t, func(c *stage.Config) {
			c.Bootstrap, c.Tokens, c.Env = os.Args[0], true, []string{panicVariable + "=" + tt.where}
		})
		pid := r.Function.PID()
		for range 2 {
			user := rig.NewUser()
			for action, got := range map[*string]rig.Answer{
				&tt.sealed:  r.Post(r.Tap(user)),
				&tt.phone:   r.PostPhone(r.TapBoth(user)),
				&tt.noLogin: r.PostPhone(r.TapPhone(user)),
			} {
				if *action == "" {
					r.Want(tt.where, got, hostile.Want{})
					continue
				}
				r.WantFailure(tt.where, got, "internal", 500, *action)
				wantPanic(t, r, tt.where, got, tt.at)
			}
		}
		if got := r.Function.PID(); got != pid {
			t.Errorf("%s: got process %d, want still %d", tt.where, got, pid)
		}
	}
}

// wantPanic checks the message and the log line after a panic. docs/checks cannot
// provoke a panic, so it relies on this check.
func wantPanic(t *testing.T, r *rig.Rig, name string, got rig.Answer, at string) {
	t.Helper()
	message := failure.Failure{Kind: failure.Internal}.Message(failure.Progress{})
	if got.Message != message {
		t.Errorf("%s: got the message %q, want %q", name, got.Message, message)
	}
	line := r.Logs.Request(t, got)
	if !strings.HasPrefix(line.Reason, "panic at wechat-phone/") || !strings.Contains(line.Reason, at) {
		t.Errorf("%s: got the reason %q, want one that names the place", name, line.Reason)
	}
	if line.Message != "request" || line.Outcome != "internal" || line.Status != 500 ||
		line.WeChatMs == nil || line.OwnMs == nil || line.TotalMs == nil || line.First == nil {
		t.Errorf("%s: got the line %+v, want the fields of any other request", name, line)
	}
}

// Any other failure of the call that verifies data is unavailable.
func TestPanicDuringVerificationIsInternal(t *testing.T) {
	panicked := func() (err error) {
		defer panics.Recover(&err)
		panic(panicText)
	}()
	f := failure.Of(&failure.NoVerdict{Err: panicked})
	action := f.Action(failure.Progress{LoginCode: failure.Accepted})
	named := strings.Contains(f.Reason, "TestPanicDuringVerificationIsInternal")
	if f.Kind != failure.Internal || action != failure.Login || !named {
		t.Errorf("got %+v and the action %s, want internal with the panic's place and login", f, action)
	}
}
