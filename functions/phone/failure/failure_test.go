package failure

import (
	"slices"
	"testing"

	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/wechat"
)

// documented has the errcodes on the pages of the four APIs, and the global
// errcodes that their calls can get.
//
// https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/
var documented = map[wechat.API][]int{
	wechat.LoginAPI: {-1, 40001, 40002, 40013, 40029, 40125, 40163, 40164, 40226, 40243, 41002, 41004, 41008,
		45009, 45011, 50001},
	wechat.TokenAPI: {-1, 40001, 40002, 40013, 40125, 40164, 40243, 41002, 41004, 43002, 44002, 45009, 45011,
		47001, 50004, 50007, 89501, 89503, 89506, 89507, 61024},
	wechat.PhoneAPI: {-1, 40001, 40003, 40013, 40014, 40029, 40163, 41001, 42001, 45009, 45011, 47001, 48001,
		50001, 61024},
	wechat.SealedDataAPI: {-1, 1, 40001, 40014, 40097, 42001, 44002, 45009, 45011, 47001, 48001},
}

// byStranger has the errcodes that a stranger's request can provoke although the
// mini-program is set up correctly: with the codes and data that it sends, or by
// using up a limit.
var byStranger = map[wechat.API][]int{
	wechat.LoginAPI:      {-1, 40029, 40163, 40226, 45009, 45011, 50001},
	wechat.TokenAPI:      {-1, 45009, 45011},
	wechat.PhoneAPI:      {-1, 40003, 40013, 40029, 40163, 45009, 45011, 50001},
	wechat.SealedDataAPI: {-1, 1, 45009, 45011},
}

// Alarms count misconfigured and internal, and deployments stop on them.
func TestStrangerCausesNeitherMisconfiguredNorInternal(t *testing.T) {
	for api, errcodes := range documented {
		for _, errcode := range errcodes {
			row := refusal(api, errcode)
			stranger := slices.Contains(byStranger[api], errcode)
			bad := row.Kind == Misconfigured || row.Kind == Internal
			if stranger && bad {
				t.Errorf("%s errcode %d: got %s, want a kind that no alarm counts", api, errcode, row.Kind)
			}
			if known := row.Kind != UpstreamError; known && row.ByCaller != stranger {
				t.Errorf("%s errcode %d: got ByCaller %v, want %v", api, errcode, row.ByCaller, stranger)
			}
		}
	}
	for _, row := range Refusals() {
		if row.ByCaller && (row.Kind == Misconfigured || row.Kind == Internal) {
			t.Errorf("row %+v: got %s for an errcode that callers can provoke, want another kind", row, row.Kind)
		}
	}
}

func TestOneRowForEachErrcode(t *testing.T) {
	type key struct {
		api     wechat.API
		errcode int
	}
	seen := map[key]bool{}
	for _, row := range Refusals() {
		if k := (key{row.API, row.ErrCode}); seen[k] {
			t.Errorf("got two rows for %+v, want one", k)
		} else {
			seen[k] = true
		}
	}
}

// After WeChat has accepted the login code, no failure may tell the caller to send
// the same request again.
func TestActionFollowsProgress(t *testing.T) {
	unreachable := &wechat.Error{API: wechat.PhoneAPI, Kind: wechat.Unreachable}
	busy := &appsecret.Error{Temporary: true, Reason: "timeout"}
	login := &wechat.Error{API: wechat.LoginAPI, Kind: wechat.Refused, ErrCode: wechat.InvalidCode}
	limited := &wechat.Error{API: wechat.PhoneAPI, Kind: wechat.Refused, ErrCode: wechat.TooManyCalls}
	for _, tt := range []struct {
		name  string
		err   error
		at    Progress
		want  Action
		after string
	}{
		{"nothing sent", busy, Progress{LoginCode: Unsent}, Retry, "1"},
		{"a login code accepted", busy, Progress{LoginCode: Accepted}, Login, ""},
		{"a login code accepted, a phone code to come", busy, Progress{Accepted, Unsent}, Tap, ""},
		{"a phone code that did not go out", unreachable, Progress{PhoneCode: Sent}, Retry, "1"},
		{"the same after a login", unreachable, Progress{Accepted, Sent}, Tap, ""},
		{"a login code refused", login, Progress{LoginCode: Sent}, Login, ""},
		{"a login code refused, a phone code to come", login, Progress{Sent, Unsent}, Login, ""},
		{"a limit", limited, Progress{PhoneCode: Sent}, Wait, "60"},
		{"a limit after a login", limited, Progress{Accepted, Sent}, Tap, ""},
		{"sealed data", &opendata.OpenError{}, Progress{LoginCode: Accepted}, Login, ""},
		{"a bad request", Invalid("code"), Progress{}, Fix, ""},
	} {
		f := Of(tt.err)
		if got, after := f.Action(tt.at), f.RetryAfter(tt.at); got != tt.want || after != tt.after {
			t.Errorf("%s: got %s and retry-after %q, want %s and %q", tt.name, got, after, tt.want, tt.after)
		}
	}
	for _, kind := range Kinds() {
		if got := (Failure{Kind: kind}).Action(Progress{LoginCode: Accepted}); got == Retry || got == Wait {
			t.Errorf("%s after an accepted login: got the action %s, want neither retry nor wait", kind, got)
		}
	}
}
