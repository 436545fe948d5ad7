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
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/panics"
	"wechat-phone/shared/wechat"
)

// panicVariable makes this test binary the function with a dependency that
// panics. Its value says where.
const panicVariable = "TEST_PANIC"

func TestMain(m *testing.M) {
	if where := os.Getenv(panicVariable); where != "" {
		runPanicking(where)
	}
	rig.Main(m)
}

// runPanicking runs in the real runtime, since no input is known that makes the
// function itself panic.
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

func testPanics(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		where, at              string
		sealed, phone, noLogin string // the action for each kind of tap, or "" for a success
	}{
		{"before WeChat is asked", ".panicking", "retry", "retry", "retry"},
		{"for the token", ".panicking", "", "retry", "retry"},
		{"where many wait for the token", "/wechat.", "", "retry", "retry"},
		{"once WeChat is asked", ".panicking", "login", "tap", "tap"},
	} {
		r := rig.Raise(t, func(c *stage.Config) {
			c.Bootstrap, c.Env = os.Args[0], []string{panicVariable + "=" + tt.where}
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
		if r.Function.PID() != pid {
			t.Errorf("%s: the process ended", tt.where)
		}
	}
}

// wantPanic checks the message after a panic, and the log line. docs/checks
// cannot provoke a panic, and so relies on both.
func wantPanic(t *testing.T, r *rig.Rig, name string, got rig.Answer, at string) {
	t.Helper()
	message := failure.Failure{Kind: failure.Internal}.Message(failure.Progress{})
	if got.Message != message {
		t.Errorf("%s: got the message %q, want %q", name, got.Message, message)
	}
	line := r.Logs.Request(t, got)
	if !strings.HasPrefix(line.Reason, "panic at wechat-phone/") || !strings.Contains(line.Reason, at) {
		t.Errorf("%s: got the reason %q, want one that says where", name, line.Reason)
	}
	if line.Message != "request" || line.Outcome != "internal" || line.Status != 500 ||
		line.WeChatMs == nil || line.OwnMs == nil || line.TotalMs == nil || line.First == nil {
		t.Errorf("%s: got the line %+v, want the fields of any other request", name, line)
	}
}

// Otherwise a failure while the function verifies data is unavailable.
func TestPanicDuringVerificationIsInternal(t *testing.T) {
	panicked := func() (err error) {
		defer panics.Recover(&err)
		panic(panicText)
	}()
	f := failure.Of(&failure.NoVerdict{Err: panicked})
	action := f.Action(failure.Progress{LoginCode: failure.Accepted})
	if f.Kind != failure.Internal || action != failure.Login || !strings.Contains(f.Reason, "TestPanicIsInternal") {
		t.Errorf("got %+v, %s, want internal with the panic's place and login", f, action)
	}
}
