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

// These tests hold the function to what its callers may rely on if several
// mini-programs share it.

func several(c *stage.Config) { c.Several = true }

// page is a page's Referer.
func page(appID string) string { return "https://servicewechat.com/" + appID + "/12/page-frame.html" }

// userOf makes up a user of a mini-program.
func userOf(appID string) wechattest.User {
	user := rig.NewUser()
	user.AppID = appID
	return user
}

// postFrom posts tap as a page does whose Referer is referer, and names the
// mini-program in the appid field if appID is not empty.
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
	r := rig.Raise(t, several)
	const first, second = stage.AppID, stage.SecondAppID
	for _, tt := range []struct {
		name, user, referer, field string
		want                       string // an error
	}{
		{"the field", second, "", second, ""},
		{"the Referer", second, page(second), "", ""},
		{"both", second, page(second), second, ""},
		{"the field over the Referer", second, page(first), second, ""},
		{"the first by its Referer", first, page(first), "", ""},
		{"an unknown Referer beside the field", first, page("wx4444444444444444"), first, ""},
		{"another mini-program's code", first, page(second), "", "code_rejected"},

		{"neither", first, "", "", "invalid_request"},
		{"an unknown field", first, page(first), "wx4444444444444444", "invalid_request"},
		{"an unknown Referer", first, page("wx4444444444444444"), "", "invalid_request"},
		{"two Referers", first, page(first) + "," + page(first), "", "invalid_request"},
		{"another host", first, "https://servicewechat.com.example/" + first + "/1/page-frame.html", "", "invalid_request"},
		{"no TLS", first, strings.Replace(page(first), "https", "http", 1), "", "invalid_request"},
		{"nothing after the appid", first, "https://servicewechat.com/" + first, "", "invalid_request"},
		{"an appid of another form", first, page("wx000000000000000A"), "", "invalid_request"},
		{"a longer appid", first, page(first + "0"), "", "invalid_request"},
	} {
		tap := r.Tap(userOf(tt.user))
		got := postFrom(t, r, tap, tt.referer, tt.field)
		if got.Error != tt.want || tt.want == "" && got.Phone == "" {
			t.Errorf("%s: got %d %s, want %q", tt.name, got.Status, got.Body, tt.want)
		}
		if seen := r.WeChat.Seen(tap.Code); tt.want == "invalid_request" && seen != 0 {
			t.Errorf("%s: WeChat saw the code %d times, want 0", tt.name, seen)
		}
	}
}

func TestMalformedAppIDIsRefusedWithoutAnyCall(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, several)
	before := r.Secrets.Calls()
	for _, value := range []string{`""`, `null`, `1`, `"wx1"`, `"wx000000000000000A"`, `" wx0000000000000000"`, `["wx0000000000000000"]`} {
		tap := r.NewTap()
		body := strings.Replace(hostile.JSON(tap), "{", `{"appid":`+value+",", 1)
		got := r.Send("POST", "/phone", "application/json", body)
		r.WantFailure(value, got, "invalid_request", 400, "fix")
		if !strings.HasPrefix(got.Message, "appid ") || r.WeChat.Seen(tap.Code) != 0 {
			t.Errorf("appid %s: got %q, want a message about appid and no call", value, got.Message)
		}
	}
	twice := strings.Replace(hostile.JSON(r.NewTap()), "{", `{"appid":"wx0000000000000000","appid":"wx0000000000000000",`, 1)
	r.WantFailure("twice", r.Send("POST", "/phone", "", twice), "invalid_request", 400, "fix")
	if calls := r.Secrets.Calls(); calls != before {
		t.Errorf("%d more readings of the secret, want none", calls-before)
	}
}

// A deployment with one mini-program serves every request for it.
func TestSingleMiniProgramNeedsNoAppID(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for name, tt := range map[string]struct{ referer, field, want string }{
		"no name":           {"", "", ""},
		"its name":          {page(stage.AppID), stage.AppID, ""},
		"another Referer":   {page("wx4444444444444444"), "", ""},
		"another appid":     {"", "wx4444444444444444", "invalid_request"},
		"a strange Referer": {"https://example.com/", "", ""},
	} {
		got := postFrom(t, r, r.NewTap(), tt.referer, tt.field)
		if got.Error != tt.want || tt.want == "" && got.Phone == "" {
			t.Errorf("%s: got %d %s, want %q", name, got.Status, got.Body, tt.want)
		}
	}
	// Once for the other appid and the other Referer together.
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings of the secret, want one at start and one for an unknown appid", calls)
	}
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	if got := postFrom(t, r, r.NewTap(), page("wx4444444444444444"), ""); got.Status != 200 {
		t.Errorf("another Referer without Secrets Manager: got %d %s, want 200", got.Status, got.Body)
	}
}

func TestCodeRejectedMentionsAForeignReferer(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	const note = "the Referer names another mini-program"
	for referer, want := range map[string]bool{page("wx4444444444444444"): true, page(stage.AppID): false, "": false} {
		tap := r.NewTap()
		tap.Code = "never-given"
		got := postFrom(t, r, tap, referer, "")
		r.WantFailure(referer, got, "code_rejected", 400, "login")
		if strings.Contains(got.Message, note) != want || strings.Contains(got.Message, "wx4444") {
			t.Errorf("from %q: got the message %q, want the note %v, and no appid", referer, got.Message, want)
		}
	}
}

// The secret is reread at most once in 30 s, however many unknown appids come.
func TestAddedMiniProgramWorksInARunningProcess(t *testing.T) {
	t.Parallel()
	const added = "wx5555555555555555"
	r := rig.Raise(t, nil)
	r.WeChat.AddApp(added, stage.AppSecret)
	r.Secrets.Put(stage.SecretName, stage.Secrets(map[string]string{stage.AppID: stage.AppSecret, added: stage.AppSecret}))
	if got := postFrom(t, r, r.Tap(userOf(added)), page(added), ""); got.Status != 200 {
		t.Errorf("the added mini-program's page: got %d %s, want 200", got.Status, got.Body)
	}
	for range 5 {
		got := postFrom(t, r, r.NewTap(), "", "wx4444444444444444")
		r.WantFailure("an unknown appid", got, "invalid_request", 400, "fix")
	}
	if got := postFrom(t, r, r.Tap(userOf(added)), "", added); got.Status != 200 {
		t.Errorf("the added mini-program's appid: got %d %s, want 200", got.Status, got.Body)
	}
	if got := postFrom(t, r, r.NewTap(), "", stage.AppID); got.Status != 200 {
		t.Errorf("the first mini-program: got %d %s, want 200", got.Status, got.Body)
	}
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings of the secret, want one at start and one more", calls)
	}
}

func TestUnknownAppIDIsUnavailableIfTheSecretCannotBeReread(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, several)
	r.Secrets.Fail(secretstest.Fault(400, "AccessDeniedException", ""))
	for name, tt := range map[string]struct{ referer, field string }{
		"the field": {"", "wx4444444444444444"}, "the Referer": {page("wx4444444444444444"), ""},
	} {
		tap := r.NewTap()
		r.WantFailure(name, postFrom(t, r, tap, tt.referer, tt.field), "unavailable", 503, "retry")
		if seen := r.WeChat.Seen(tap.Code); seen != 0 {
			t.Errorf("%s: WeChat saw the code %d times, want 0", name, seen)
		}
	}
	if got := postFrom(t, r, r.NewTap(), page(stage.AppID), ""); got.Status != 200 {
		t.Errorf("a known mini-program: got %d %s, want 200", got.Status, got.Body)
	}
	r.WantFailure("none named", postFrom(t, r, r.NewTap(), "", ""), "invalid_request", 400, "fix")
}

// One that is broken changes nothing for the others.
func TestBrokenMiniProgramAffectsNoOther(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, several)
	for range 3 {
		tap := r.TapBoth(userOf(stage.BrokenAppID))
		r.WantFailure("the broken one", r.PostPhone(tap), "misconfigured", 500, "none")
		sealed := r.Tap(userOf(stage.BrokenAppID))
		r.WantFailure("the broken one", r.Post(sealed), "misconfigured", 500, "none")
		r.WantPhoneByCode("the second", r.TapBoth(userOf(stage.SecondAppID)))
		r.WantPhone("the first", r.Tap(userOf(stage.AppID)))
	}
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings of the secret, want one at start and one for the broken one", calls)
	}
	// The re-read for the broken one does not delay another's rotation.
	const rotated = "canary-of-a-rotated-secret"
	r.WeChat.SetAppSecret(stage.SecondAppID, rotated)
	r.Secrets.Put(stage.SecretName, stage.Secrets(map[string]string{
		stage.AppID: stage.AppSecret, stage.SecondAppID: rotated, stage.BrokenAppID: stage.AppSecret,
	}))
	r.WantPhone("the second after a rotation", r.Tap(userOf(stage.SecondAppID)))
	if calls := r.Secrets.Calls(); calls != 3 {
		t.Errorf("%d readings of the secret, want 3", calls)
	}

	// An empty secret among several.
	r.Secrets.Put(stage.SecretName, stage.Secrets(map[string]string{
		stage.AppID: stage.AppSecret, stage.SecondAppID: rotated, "wx5555555555555555": "",
	}))
	r.WeChat.AddApp("wx5555555555555555", stage.AppSecret)
	empty := r.Tap(userOf("wx5555555555555555"))
	got := r.Post(empty)
	r.WantFailure("an empty secret", got, "misconfigured", 500, "none")
	if line := r.Logs.Request(t, got); line.AppID != "wx5555555555555555" || line.ErrCode != 0 || r.WeChat.Seen(empty.Code) != 0 {
		t.Errorf("an empty secret: logged as %+v, want its appid and no call", line)
	}
	r.WantPhone("the first beside it", r.Tap(userOf(stage.AppID)))
}

func TestLogLineHasTheAppIDOnceItIsKnown(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, several)
	for _, tt := range []struct{ name, referer, field, want string }{
		{"the field", "", stage.SecondAppID, stage.SecondAppID},
		{"the Referer", page(stage.SecondAppID), "", stage.SecondAppID},
		{"an unknown one", "", "wx4444444444444444", ""},
		{"none", "", "", ""},
	} {
		got := postFrom(t, r, r.Tap(userOf(stage.SecondAppID)), tt.referer, tt.field)
		id := got.Header.Get("x-request-id")
		if line := r.Logs.Request(t, rig.Answer{RequestID: id}); line.AppID != tt.want {
			t.Errorf("%s: the line has appid %q, want %q", tt.name, line.AppID, tt.want)
		}
	}
}

// A secret that comes to hold another mini-program serves that one. Requests that
// began before fail with the credentials that they had.
func TestSecretThatNamesAnotherMiniProgram(t *testing.T) {
	t.Parallel()
	const moved = "wx5555555555555555"
	r := rig.Raise(t, nil)
	r.WeChat.AddApp(moved, stage.AppSecret)
	r.Secrets.Put(stage.SecretName, stage.Secret(moved, stage.AppSecret))
	if got := postFrom(t, r, r.Tap(userOf(moved)), page(moved), ""); got.Status != 200 {
		t.Errorf("the new one by its Referer: got %d %s, want 200", got.Status, got.Body)
	}
	if got := postFrom(t, r, r.Tap(userOf(moved)), "", ""); got.Status != 200 {
		t.Errorf("the new one without a name: got %d %s, want 200", got.Status, got.Body)
	}

	r = rig.Raise(t, nil)
	r.Secrets.Put(stage.SecretName, stage.Secret(moved, stage.AppSecret))
	r.WeChat.SetSecret("reset") // so that the old credentials are refused
	tap := r.NewTap()
	r.WantFailure("the old one, which is gone", r.Post(tap), "misconfigured", 500, "none")
	if seen := r.WeChat.Seen(tap.Code); seen != 1 {
		t.Errorf("WeChat saw the code %d times, want once with the credentials that the request began with", seen)
	}
}

// The token is fetched at start only if there is one mini-program.
func TestTokenIsFetchedAtStartOnlyForASingleMiniProgram(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		several bool
		want    int
	}{"one": {false, 1}, "several": {true, 0}} {
		r := rig.Raise(t, func(c *stage.Config) { c.Several, c.Env = tt.several, []string{verifying} })
		if calls := r.WeChat.Seen(wechattest.TokenPath); calls != tt.want {
			t.Errorf("%s: %d fetches of a token at start, want %d", name, calls, tt.want)
		}
	}
}

// Fifty mini-programs, 64 requests at once. Every answer of WeChat is marked with
// its mini-program, so that a mix-up shows.
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
			t.Errorf("%s: %d fetches of its token, want at most 1", appID, calls)
		}
	}
	if calls := r.Secrets.Calls(); calls != 1 {
		t.Errorf("%d readings of the secret, want 1", calls)
	}
}

// Rotating one mini-program's secret under load fails no request of any.
func TestRotatingOneMiniProgramFailsNoRequest(t *testing.T) {
	t.Parallel()
	const rotated = "canary-of-a-rotated-secret"
	r := rig.Raise(t, func(c *stage.Config) { c.Several, c.Concurrency = true, 16 })
	var all sync.WaitGroup
	var done atomic.Int32
	stop := make(chan bool)
	for i := range 16 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.WantPhone("a request during a rotation", r.Tap(userOf([]string{stage.AppID, stage.SecondAppID}[i%2])))
					done.Add(1)
				}
			}
		})
	}
	rig.WaitFor(t, "there is load", func() bool { return done.Load() > 200 })
	r.Secrets.Put(stage.SecretName, stage.Secrets(map[string]string{stage.AppID: stage.AppSecret, stage.SecondAppID: rotated}))
	r.WeChat.SetAppSecret(stage.SecondAppID, rotated)
	before := done.Load()
	rig.WaitFor(t, "there was more load", func() bool { return done.Load() > before+500 })
	close(stop)
	all.Wait()
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings of the secret, want 2", calls)
	}
}

// One that hangs, one that is out of quota and one whose secret is wrong leave the
// answers of the others as they are.
func TestHangingMiniProgramDelaysNoOther(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Several, c.Concurrency, c.Env = true, 8, []string{"WECHAT_TIMEOUT=1s"} })
	r.WeChat.Script(wechattest.TokenKey(stage.SecondAppID), hostile.Silence)
	var all sync.WaitGroup
	var slow atomic.Int32
	for i := range 8 {
		all.Go(func() {
			for range 3 {
				switch i % 4 {
				case 0:
					r.WantFailure("the hanging one", r.PostPhone(r.TapPhone(userOf(stage.SecondAppID))), "unavailable", 503, "retry")
				case 1:
					tap := r.Tap(userOf(stage.BrokenAppID))
					r.WantFailure("the broken one", r.Post(tap), "misconfigured", 500, "none")
				default:
					began := time.Now()
					r.WantPhoneByCode("a good one", r.TapBoth(userOf(stage.AppID)))
					if time.Since(began) > 900*time.Millisecond {
						slow.Add(1)
					}
				}
			}
		})
	}
	all.Wait()
	if n := slow.Load(); n != 0 {
		t.Errorf("%d requests of a good mini-program waited for another's", n)
	}
	tap := r.TapPhone(userOf(stage.AppID))
	r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(45009, "reach max api daily quota limit"))
	r.WantFailure("no quota", r.PostPhone(tap), "quota_exhausted", http.StatusServiceUnavailable, "none")
}
