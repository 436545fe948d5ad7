package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// These tests cover deployments that serve several mini-programs.

func severalApps(c *stage.Config) { c.Several = true }

// refererOf returns the Referer of the mini-program's pages.
func refererOf(appID string) string {
	return "https://servicewechat.com/" + appID + "/12/page-frame.html"
}

// userOf makes up a user of a mini-program.
func userOf(appID string) wechattest.User {
	user := rig.NewUser()
	user.AppID = appID
	return user
}

// postFrom posts tap with a Referer and an appid field. It leaves out either if it
// is empty.
func postFrom(t *testing.T, r *rig.Rig, tap wechattest.Tap, referer, appID string) rig.Answer {
	t.Helper()
	tap.AppID = appID
	e := httpAPI("POST /phone", "/phone", "$default", nil)
	if referer != "" {
		e["headers"].(object)["referer"] = referer
	}
	return invoke(t, r, e, hostile.JSON(tap))
}

func TestAppIDFieldTakesPrecedenceOverTheReferer(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, severalApps)
	const first, second = stage.AppID, stage.SecondAppID
	for _, tt := range []struct {
		name, user, referer, field string
		want                       string // the error, or "" for a success
	}{
		{"the field", second, "", second, ""},
		{"the Referer", second, refererOf(second), "", ""},
		{"both", second, refererOf(second), second, ""},
		{"the field over the Referer", second, refererOf(first), second, ""},
		{"the first by its Referer", first, refererOf(first), "", ""},
		{"an unknown Referer beside the field", first, refererOf("wx4444444444444444"), first, ""},
		{"another mini-program's code", first, refererOf(second), "", "code_rejected"},

		{"neither", first, "", "", "invalid_request"},
		{"an unknown field", first, refererOf(first), "wx4444444444444444", "invalid_request"},
		{"an unknown Referer", first, refererOf("wx4444444444444444"), "", "invalid_request"},
		{"two Referers", first, refererOf(first) + "," + refererOf(first), "", "invalid_request"},
		{"another host", first, "https://servicewechat.com.example/" + first + "/1/page-frame.html", "",
			"invalid_request"},
		{"no TLS", first, strings.Replace(refererOf(first), "https", "http", 1), "", "invalid_request"},
		{"nothing after the appid", first, "https://servicewechat.com/" + first, "", "invalid_request"},
		{"a malformed appid", first, refererOf("wx000000000000000A"), "", "invalid_request"},
		{"a longer appid", first, refererOf(first + "0"), "", "invalid_request"},
	} {
		tap := r.Tap(userOf(tt.user))
		got := postFrom(t, r, tap, tt.referer, tt.field)
		if got.Error != tt.want || tt.want == "" && got.Phone == "" {
			t.Errorf("%s: got %d %s, want %q", tt.name, got.Status, got.Body, tt.want)
		}
		if tt.want == "invalid_request" {
			wantSeen(t, r, tt.name, tap.Code, 0)
		}
	}
}

func TestMalformedAppIDIsRefusedWithoutAnyCall(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, severalApps)
	before := r.Secrets.Calls()
	with := func(tap wechattest.Tap, fields string) string {
		return strings.Replace(hostile.JSON(tap), "{", "{"+fields+",", 1)
	}
	for _, value := range []string{
		`""`, `null`, `1`, `"wx1"`, `"wx000000000000000A"`, `" wx0000000000000000"`, `["wx0000000000000000"]`,
	} {
		tap := r.NewTap()
		got := r.Send("POST", "/phone", "application/json", with(tap, `"appid":`+value))
		r.WantFailure(value, got, "invalid_request", 400, "fix")
		if !strings.HasPrefix(got.Message, "appid ") {
			t.Errorf("appid %s: got the message %q, want one about appid", value, got.Message)
		}
		wantSeen(t, r, value, tap.Code, 0)
	}
	twice := with(r.NewTap(), `"appid":"wx0000000000000000","appid":"wx0000000000000000"`)
	r.WantFailure("twice", r.Send("POST", "/phone", "", twice), "invalid_request", 400, "fix")
	wantReads(t, r, "malformed appids", before)
}

// If the secret holds one mini-program, every request is for that one.
func TestSingleMiniProgramNeedsNoAppID(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for name, tt := range map[string]struct{ referer, field, want string }{
		"no name":           {"", "", ""},
		"its name":          {refererOf(stage.AppID), stage.AppID, ""},
		"another Referer":   {refererOf("wx4444444444444444"), "", ""},
		"another appid":     {"", "wx4444444444444444", "invalid_request"},
		"a strange Referer": {"https://example.com/", "", ""},
	} {
		got := postFrom(t, r, r.NewTap(), tt.referer, tt.field)
		if got.Error != tt.want || tt.want == "" && got.Phone == "" {
			t.Errorf("%s: got %d %s, want %q", name, got.Status, got.Body, tt.want)
		}
	}
	wantReads(t, r, "start, and one for the unknown appid and Referer together", 2)
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	got := postFrom(t, r, r.NewTap(), refererOf("wx4444444444444444"), "")
	wantStatus(t, "another Referer while Secrets Manager fails", got, 200)
}

func TestCodeRejectedMentionsAForeignReferer(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	const note = "the Referer names a different mini-program"
	for referer, want := range map[string]bool{
		refererOf("wx4444444444444444"): true, refererOf(stage.AppID): false, "": false,
	} {
		tap := r.NewTap()
		tap.Code = "never-given"
		got := postFrom(t, r, tap, referer, "")
		r.WantFailure(referer, got, "code_rejected", 400, "login")
		if found := strings.Contains(got.Message, note); found != want || strings.Contains(got.Message, "wx4444") {
			t.Errorf("Referer %q: got the message %q, want one without an appid, and with the note: %v",
				referer, got.Message, want)
		}
	}
}

// The function rereads the secret at most once in 30 s, however many unknown appids
// it receives.
func TestAddedMiniProgramWorksInARunningProcess(t *testing.T) {
	t.Parallel()
	const added = "wx5555555555555555"
	r := rig.Raise(t, nil)
	r.WeChat.AddApp(added, stage.AppSecret)
	r.Secrets.Put(stage.SecretName, stage.Secrets(map[string]string{
		stage.AppID: stage.AppSecret, added: stage.AppSecret,
	}))
	wantStatus(t, "the added mini-program's Referer", postFrom(t, r, r.Tap(userOf(added)), refererOf(added), ""), 200)
	for range 5 {
		got := postFrom(t, r, r.NewTap(), "", "wx4444444444444444")
		r.WantFailure("an unknown appid", got, "invalid_request", 400, "fix")
	}
	wantStatus(t, "the added mini-program's appid", postFrom(t, r, r.Tap(userOf(added)), "", added), 200)
	wantStatus(t, "the first mini-program", postFrom(t, r, r.NewTap(), "", stage.AppID), 200)
	wantReads(t, r, "start, and one for all unknown appids", 2)
}

func TestUnknownAppIDIsUnavailableIfTheSecretCannotBeReread(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, severalApps)
	r.Secrets.Fail(secretstest.Fault(400, "AccessDeniedException", ""))
	for name, tt := range map[string]struct{ referer, field string }{
		"the field": {"", "wx4444444444444444"}, "the Referer": {refererOf("wx4444444444444444"), ""},
	} {
		tap := r.NewTap()
		r.WantFailure(name, postFrom(t, r, tap, tt.referer, tt.field), "unavailable", 503, "retry")
		wantSeen(t, r, name, tap.Code, 0)
	}
	wantStatus(t, "a known mini-program", postFrom(t, r, r.NewTap(), refererOf(stage.AppID), ""), 200)
	r.WantFailure("none named", postFrom(t, r, r.NewTap(), "", ""), "invalid_request", 400, "fix")
}

const rotatedSecret = "canary-of-a-rotated-secret"

func TestBrokenMiniProgramAffectsNoOther(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, severalApps)
	for range 3 {
		tap := r.TapBoth(userOf(stage.BrokenAppID))
		r.WantFailure("the broken mini-program, phone code", r.PostPhone(tap), "misconfigured", 500, "none")
		sealed := r.Tap(userOf(stage.BrokenAppID))
		r.WantFailure("the broken mini-program, sealed data", r.Post(sealed), "misconfigured", 500, "none")
		r.WantPhoneByCode("the second mini-program", r.TapBoth(userOf(stage.SecondAppID)))
		r.WantPhone("the first mini-program", r.Tap(userOf(stage.AppID)))
	}
	wantReads(t, r, "start, and one for the broken mini-program", 2)

	// The re-read for the broken mini-program does not delay another's rotation.
	r.WeChat.SetAppSecret(stage.SecondAppID, rotatedSecret)
	r.Secrets.Put(stage.SecretName, stage.Secrets(map[string]string{
		stage.AppID: stage.AppSecret, stage.SecondAppID: rotatedSecret, stage.BrokenAppID: stage.AppSecret,
	}))
	r.WantPhone("the second mini-program after a rotation", r.Tap(userOf(stage.SecondAppID)))
	wantReads(t, r, "after the rotation", 3)
}

func TestEmptySecretAffectsNoOtherMiniProgram(t *testing.T) {
	t.Parallel()
	const empty = "wx5555555555555555"
	r := rig.Raise(t, severalApps)
	r.Secrets.Put(stage.SecretName, stage.Secrets(map[string]string{stage.AppID: stage.AppSecret, empty: ""}))
	r.WeChat.AddApp(empty, stage.AppSecret)
	tap := r.Tap(userOf(empty))
	got := r.Post(tap)
	r.WantFailure("the empty secret", got, "misconfigured", 500, "none")
	if line := r.Logs.Request(t, got); line.AppID != empty || line.ErrCode != 0 {
		t.Errorf("the empty secret: got the log line %+v, want its appid and no errcode", line)
	}
	wantSeen(t, r, "the empty secret", tap.Code, 0)
	r.WantPhone("the first mini-program", r.Tap(userOf(stage.AppID)))
}

func TestLogLineHasTheAppIDOnceItIsKnown(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, severalApps)
	for _, tt := range []struct{ name, referer, field, want string }{
		{"the field", "", stage.SecondAppID, stage.SecondAppID},
		{"the Referer", refererOf(stage.SecondAppID), "", stage.SecondAppID},
		{"an unknown appid", "", "wx4444444444444444", ""},
		{"none", "", "", ""},
	} {
		got := postFrom(t, r, r.Tap(userOf(stage.SecondAppID)), tt.referer, tt.field)
		id := got.Header.Get("x-request-id")
		if line := r.Logs.Request(t, rig.Answer{RequestID: id}); line.AppID != tt.want {
			t.Errorf("%s: got appid %q in the log line, want %q", tt.name, line.AppID, tt.want)
		}
	}
}

// If the secret's only mini-program is replaced, the function serves the new one.
// A request that is already running keeps the old credentials and fails.
func TestSecretReplacesItsOnlyMiniProgram(t *testing.T) {
	t.Parallel()
	const moved = "wx5555555555555555"
	r := rig.Raise(t, nil)
	r.WeChat.AddApp(moved, stage.AppSecret)
	r.Secrets.Put(stage.SecretName, stage.Secret(moved, stage.AppSecret))
	got := postFrom(t, r, r.Tap(userOf(moved)), refererOf(moved), "")
	wantStatus(t, "the new mini-program by its Referer", got, 200)
	wantStatus(t, "the new mini-program, not named", postFrom(t, r, r.Tap(userOf(moved)), "", ""), 200)

	r = rig.Raise(t, nil)
	r.Secrets.Put(stage.SecretName, stage.Secret(moved, stage.AppSecret))
	r.WeChat.SetSecret("reset") // so that WeChat rejects the old credentials
	tap := r.NewTap()
	r.WantFailure("the replaced mini-program", r.Post(tap), "misconfigured", 500, "none")
	wantSeen(t, r, "the replaced mini-program", tap.Code, 1)
}

func TestTokenIsFetchedAtStartOnlyForASingleMiniProgram(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		several bool
		want    int
	}{"one": {false, 1}, "several": {true, 0}} {
		r := rig.Raise(t, func(c *stage.Config) { c.Several, c.Env = tt.several, []string{verifyOn} })
		wantFetches(t, r, name+", at start", tt.want)
	}
}

// Fifty mini-programs share the function, and 64 requests run at once. Each of
// WeChat's answers is marked with its mini-program, so a mix-up shows.
func TestFiftyMiniProgramsAreNeverMixedUp(t *testing.T) {
	t.Parallel()
	const apps, atOnce, each = 50, 64, 20
	secrets := map[string]string{}
	for i := range apps {
		secrets[fmt.Sprintf("wx%016x", 0xa000+i)] = fmt.Sprintf("canary-%d", i)
	}
	r := rig.Raise(t, func(c *stage.Config) {
		c.Secret, c.Concurrency, c.Env = stage.Secrets(secrets), atOnce, []string{"WECHAT_TIMEOUT=9s"}
	})
	for appID, secret := range secrets {
		r.WeChat.AddApp(appID, secret)
	}
	var all sync.WaitGroup
	var next atomic.Int64
	for range atOnce {
		all.Go(func() {
			for range each {
				n := int(next.Add(1))
				user := userOf(fmt.Sprintf("wx%016x", 0xa000+n%apps))
				user.OpenID = fmt.Sprintf("canary-%d-of-%s", n, user.AppID)
				if n%2 == 0 {
					r.WantPhoneByCode("a phone code", r.TapBoth(user))
				} else {
					r.WantPhone("sealed data", r.Tap(user))
				}
			}
		})
	}
	all.Wait()
	for appID := range secrets {
		if calls := r.WeChat.Seen(wechattest.TokenKey(appID)); calls > 1 {
			t.Errorf("%s: got %d fetches of its token, want at most 1", appID, calls)
		}
	}
	wantReads(t, r, "50 mini-programs", 1)
}

func TestRotatingOneMiniProgramFailsNoRequest(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Several, c.Concurrency = true, 16 })
	rotateUnderLoad(t, r, func(i int) wechattest.Tap {
		return r.Tap(userOf([]string{stage.AppID, stage.SecondAppID}[i%2]))
	}, func() {
		r.Secrets.Put(stage.SecretName, stage.Secrets(map[string]string{
			stage.AppID: stage.AppSecret, stage.SecondAppID: rotatedSecret,
		}))
		r.WeChat.SetAppSecret(stage.SecondAppID, rotatedSecret)
	})
}

// A mini-program that hangs, or one whose secret is wrong, neither fails nor delays
// a good one's requests.
func TestHangingMiniProgramDelaysNoOther(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) {
		c.Several, c.Concurrency, c.Env = true, 8, []string{"WECHAT_TIMEOUT=1s"}
	})
	r.WeChat.Script(wechattest.TokenKey(stage.SecondAppID), hostile.Silence)
	var all sync.WaitGroup
	var slow atomic.Int32
	for i := range 8 {
		all.Go(func() {
			for range 3 {
				switch i % 4 {
				case 0:
					tap := r.TapPhone(userOf(stage.SecondAppID))
					r.WantFailure("the hanging mini-program", r.PostPhone(tap), "unavailable", 503, "retry")
				case 1:
					tap := r.Tap(userOf(stage.BrokenAppID))
					r.WantFailure("the broken mini-program", r.Post(tap), "misconfigured", 500, "none")
				default:
					began := time.Now()
					r.WantPhoneByCode("the good mini-program", r.TapBoth(userOf(stage.AppID)))
					if time.Since(began) > 900*time.Millisecond {
						slow.Add(1)
					}
				}
			}
		})
	}
	all.Wait()
	if n := slow.Load(); n != 0 {
		t.Errorf("got %d slow requests of the good mini-program, want none", n)
	}
	tap := r.TapPhone(userOf(stage.AppID))
	r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(45009, "reach max api daily quota limit"))
	r.WantFailure("no quota", r.PostPhone(tap), "quota_exhausted", http.StatusServiceUnavailable, "none")
}
