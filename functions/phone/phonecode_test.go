package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// These tests cover what callers may rely on if WeChat needs an access token: phone
// codes, and data that WeChat verifies.

const verifyOn = "VERIFY_ENCRYPTED_DATA=on"

const phoneCodeRefused = "WeChat refused the phone code: it is expired, used, from another mini-program or user, " +
	"or not from the button (the code of wx.login() belongs in code)"

// Messages that several tests expect.
const (
	misconfiguredMessage = "the function is not set up correctly: its log says what is wrong"
	busyLoggedIn         = "WeChat or AWS is busy or cannot be reached; the login code has been used"
	noTokenMessage       = "WeChat gives no access token, for an unknown reason"
	tokenLimitMessage    = "WeChat's per-minute limit for access tokens is reached"
	phoneAnswerLost      = "WeChat's answer was lost or is not understood; the phone code may be used up"
)

func wantMessage(t *testing.T, name string, got rig.Answer, want string) {
	t.Helper()
	if got.Message != want {
		t.Errorf("%s: got the message %q, want %q", name, got.Message, want)
	}
}

func TestPhoneCodeGivesThePhoneNumber(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	user := rig.NewUser()
	user.UnionID = "u-" + user.OpenID
	alone := phoneFields(user) + "}"
	loggedIn := phoneFields(user) + fmt.Sprintf(`,"openid":%q,"unionid":%q}`, user.OpenID, user.UnionID)
	for _, tt := range []struct {
		name, contentType string
		body              func() string
		want              string
	}{
		{"alone", "application/json", func() string { return hostile.JSON(r.TapPhone(user)) }, alone},
		{"alone, in a form", formType, func() string { return hostile.Form(r.TapPhone(user)) }, alone},
		{"with unknown fields", "", func() string {
			return strings.Replace(hostile.JSON(r.TapPhone(user)), "{", `{"errMsg":"ok","PhoneCode":null,"cloudID":1,`, 1)
		}, alone},
		{"with code", "", func() string { return hostile.JSON(r.TapBoth(user)) }, loggedIn},
		{"with code, in a form", formType, func() string { return hostile.Form(r.TapBoth(user)) }, loggedIn},
		{"of 256 characters", "", func() string {
			code := strings.Repeat("_", 200) + strings.Repeat("-", 56)
			r.WeChat.GrantPhone(code, user)
			return `{"phoneCode":"` + code + `"}`
		}, alone},
	} {
		got := r.Send("POST", "/phone", tt.contentType, tt.body())
		wantBody(t, tt.name, got, tt.want)
		r.WantHeaders(tt.name, got)
	}
	wantFetches(t, r, "all requests", 1)
}

// The mini-program's owner has paid for the number. So the function returns it even
// if its fields are inconsistent, but e164 only if it is certain.
func TestPaidNumberIsAlwaysReturned(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, tt := range []struct{ name, sent, want string }{
		{"a bare mainland number with another country",
			`"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":852`,
			`"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":"852"`},
		{"two zeros before the country code",
			`"phoneNumber":"0085290000001","purePhoneNumber":"90000001","countryCode":"852"`,
			`"phoneNumber":"0085290000001","purePhoneNumber":"90000001","countryCode":"852"`},
		{"the country code in the pure number",
			`"phoneNumber":"+85290000001","purePhoneNumber":"85290000001","countryCode":852`,
			`"phoneNumber":"+85290000001","purePhoneNumber":"85290000001","countryCode":"852"`},
		{"a plus sign in the country code",
			`"phoneNumber":"+85290000001","purePhoneNumber":"90000001","countryCode":"+852"`,
			`"phoneNumber":"+85290000001","purePhoneNumber":"90000001","countryCode":"+852"`},
		{"two numbers",
			`"phoneNumber":"13599991111","purePhoneNumber":"13599992222","countryCode":86`,
			`"phoneNumber":"13599991111","purePhoneNumber":"13599992222","countryCode":"86"`},
		{"no full number", `"purePhoneNumber":"13599991111","countryCode":86`,
			`"phoneNumber":"","purePhoneNumber":"13599991111","countryCode":"86"`},
		{"an empty full number", `"phoneNumber":"","purePhoneNumber":"13599991111","countryCode":86`,
			`"phoneNumber":"","purePhoneNumber":"13599991111","countryCode":"86"`},
		{"no pure number", `"phoneNumber":"13599991111","purePhoneNumber":null,"countryCode":86`,
			`"phoneNumber":"13599991111","purePhoneNumber":"","countryCode":"86"`},
		{"no country code", `"phoneNumber":"13599991111","purePhoneNumber":"13599991111"`,
			`"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":""`},
		{"a country code with a fraction", `"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":86.5`,
			`"phoneNumber":"13599991111","purePhoneNumber":"13599991111","countryCode":"86.5"`},
		{"a certain one", `"phoneNumber":"+85290000001","purePhoneNumber":"90000001","countryCode":852`,
			`"phoneNumber":"+85290000001","purePhoneNumber":"90000001","countryCode":"852","e164":"+85290000001"`},
	} {
		tap := r.TapPhone(rig.NewUser())
		r.WeChat.Script(tap.PhoneCode, wechattest.Answer(fmt.Sprintf(
			`{"errcode":0,"errmsg":"ok","phone_info":{%s,"watermark":{"timestamp":1700000000,"appid":%q}}}`,
			tt.sent, stage.AppID)))
		got := r.Send("POST", "/phone", "application/json", hostile.JSON(tap))
		wantBody(t, tt.name, got, "{"+tt.want+"}")
	}
}

// Without REQUIRE_LOGIN_CODE, invented phone codes use up the mini-program's quota of
// getuserphonenumber.
func TestRequiredLoginCode(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env("REQUIRE_LOGIN_CODE=on"))
	alone := r.TapPhone(rig.NewUser())
	got := r.PostPhone(alone)
	r.WantFailure("a phone code alone", got, "invalid_request", 400, "fix")
	if !strings.HasPrefix(got.Message, "code is missing") {
		t.Errorf("a phone code alone: got the message %q, want one that names code", got.Message)
	}
	wantSeen(t, r, "a phone code alone", alone.PhoneCode, 0)
	invented := r.TapPhone(rig.NewUser())
	invented.Code = "never-given"
	r.WantFailure("an invented login code", r.PostPhone(invented), "code_rejected", 400, "login")
	wantSeen(t, r, "an invented login code", invented.PhoneCode, 0)
	r.WantPhoneByCode("both codes", r.TapBoth(rig.NewUser()))
	r.WantPhone("sealed data", r.NewTap())
}

// A stranger can send another mini-program's phone code as often as they like. That
// must not use up the re-read of the secret that a rotation needs.
func TestForeignPhoneCodeCausesNoReread(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for range 3 {
		tap := r.TapPhone(rig.NewUser())
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(40013, "invalid appid"))
		r.WantFailure("another mini-program's", r.PostPhone(tap), "code_rejected", 400, "tap")
	}
	wantReads(t, r, "only at start", 1)
}

func TestPhoneCodeWorksOnceAndForItsUser(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	reject := func(name string, tap wechattest.PhoneTap) {
		t.Helper()
		got := r.PostPhone(tap)
		r.WantFailure(name, got, "code_rejected", 400, "tap")
		wantMessage(t, name, got, phoneCodeRefused)
	}
	tap := r.TapPhone(rig.NewUser())
	r.WantPhoneByCode("the first time", tap)
	reject("the second time", tap)
	reject("an invented code", wechattest.PhoneTap{PhoneCode: "never-given"})
	reject("a login code", wechattest.PhoneTap{PhoneCode: r.Login(rig.NewUser())})
	foreign := r.TapPhone(rig.NewUser())
	foreign.Code = r.Login(rig.NewUser())
	reject("another user's", foreign)

	// A rejected login code leaves the phone code unused.
	tap = r.TapPhone(rig.NewUser())
	tap.Code = "never-given"
	got := r.PostPhone(tap)
	r.WantFailure("an invented login code", got, "code_rejected", 400, "login")
	if !strings.Contains(got.Message, "login code") {
		t.Errorf("an invented login code: got the message %q, want one about the login code", got.Message)
	}
	wantSeen(t, r, "an invented login code", tap.PhoneCode, 0)
	tap.Code = ""
	r.WantPhoneByCode("the phone code alone", tap)
}

func TestNoCodeIsSentWithoutAToken(t *testing.T) {
	t.Parallel()
	unavailable := hostile.Want{Error: "unavailable", Status: 503, Action: "retry"}
	for _, tt := range []struct {
		name    string
		serve   http.HandlerFunc
		want    hostile.Want
		message string // the end of the message
	}{
		{"a broken answer", wechattest.Answer("canary"), unavailable, "; no code has been used"},
		{"an unknown refusal", wechattest.Refuse(50001, "canary"),
			hostile.Want{Error: "upstream_error", Status: 502, Action: "login"}, noTokenMessage},
		{"a limit", wechattest.Refuse(45011, "canary"),
			hostile.Want{Error: "rate_limited", Status: 429, Action: "wait"}, tokenLimitMessage},
		{"silence", hostile.Silence, unavailable, "; no code has been used"},
	} {
		// Without a secret, the function fetches no token at start.
		r := rig.Raise(t, func(c *stage.Config) {
			c.Env, c.Secret = []string{verifyOn, "WECHAT_TIMEOUT=1s"}, "canary"
		})
		restoreSecret(r)
		r.WeChat.Script(wechattest.TokenPath, tt.serve)
		phone, sealed := r.TapBoth(rig.NewUser()), r.NewTap()
		byPhone, bySealed := r.PostPhone(phone), r.Post(sealed)
		r.Want(tt.name+", phone code", byPhone, tt.want)
		r.Want(tt.name+", sealed data", bySealed, tt.want)
		if !strings.HasSuffix(byPhone.Message, tt.message) {
			t.Errorf("%s, phone code: got the message %q, want one that ends in %q", tt.name, byPhone.Message, tt.message)
		}
		if tt.want == unavailable {
			const message = "WeChat or AWS is busy or cannot be reached; the login code has not been used"
			wantMessage(t, tt.name+", sealed data", bySealed, message)
		}
		for _, code := range []string{phone.PhoneCode, phone.Code, sealed.Code} {
			wantSeen(t, r, tt.name, code, 0)
		}
		if line := r.Logs.Request(t, byPhone); !strings.Contains(line.Reason, "stable_token") {
			t.Errorf("%s: got the reason %q, want one that names stable_token", tt.name, line.Reason)
		}
	}
}

// After WeChat has accepted the login code, the same request must not be sent
// again.
func TestActionIsNotRetryOnceTheLoginCodeIsSpent(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env(verifyOn))
	for _, tt := range []struct {
		errcode         int
		failure         string
		status          int
		alone, loggedIn string // the actions without and after a login
		message         string // after a login
	}{
		{-1, "unavailable", 503, "retry", "tap", busyLoggedIn},
		{45011, "rate_limited", 429, "wait", "tap", "WeChat's per-minute limit for phone numbers is reached"},
		{40226, "user_blocked", 403, "none", "none", "WeChat blocks this user as high-risk"},
		{40013, "code_rejected", 400, "tap", "tap", phoneCodeRefused},
		{40125, "misconfigured", 500, "none", "none", misconfiguredMessage},
		{45009, "quota_exhausted", 503, "none", "none", "the mini-program's daily WeChat quota is used up"},
		{48001, "misconfigured", 500, "none", "none", misconfiguredMessage},
		{50001, "upstream_error", 502, "tap", "tap", phoneAnswerLost},
	} {
		name := fmt.Sprint("errcode ", tt.errcode)
		alone, both := r.TapPhone(rig.NewUser()), r.TapBoth(rig.NewUser())
		for _, tap := range []wechattest.PhoneTap{alone, both} {
			r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(tt.errcode, "canary"))
		}
		r.WantFailure(name, r.PostPhone(alone), tt.failure, tt.status, tt.alone)
		got := r.PostPhone(both)
		r.WantFailure(name, got, tt.failure, tt.status, tt.loggedIn)
		wantMessage(t, name, got, tt.message)
		if seen := r.WeChat.Seen(both.PhoneCode); seen != 1 && tt.errcode != -1 || seen > 3 {
			t.Errorf("%s: got %d requests with the phone code at WeChat, want 1, or at most 3 if busy", name, seen)
		}

		// checkencryptedmsg comes after a login, too.
		sealed := r.NewTap()
		r.WeChat.Script(wechattest.Hash(sealed.EncryptedData), wechattest.Refuse(tt.errcode, "canary"))
		got = r.Post(sealed)
		if tt.errcode == 45009 || tt.errcode == 48001 { // the same for every user
			r.WantFailure(name, got, tt.failure, tt.status, tt.loggedIn)
			continue
		}
		r.WantFailure(name, got, "unavailable", 503, "login")
		wantMessage(t, name, got, busyLoggedIn)
	}
	wantReads(t, r, "start, and one for the sealed data's 40013 and 40125", 2)
}

func TestLostAnswerMeansThatTheCodeMayBeSpent(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env("WECHAT_TIMEOUT=1s"))
	for _, tt := range []struct {
		serve   http.HandlerFunc
		failure string
		status  int
		message string
	}{
		{hostile.Silence, "upstream_timeout", 504, "WeChat did not answer in time; the phone code may be used up"},
		{hostile.Bytes(func(net.Conn) {}), "upstream_error", 502, phoneAnswerLost},
	} {
		for _, tap := range []wechattest.PhoneTap{r.TapPhone(rig.NewUser()), r.TapBoth(rig.NewUser())} {
			r.WeChat.Script(tap.PhoneCode, tt.serve)
			got := r.PostPhone(tap)
			r.WantFailure(tt.failure, got, tt.failure, tt.status, "tap")
			wantMessage(t, tt.failure, got, tt.message)
			wantSeen(t, r, tt.failure, tap.PhoneCode, 1)
		}
		tap := r.TapBoth(rig.NewUser())
		r.WeChat.Script(tap.Code, tt.serve)
		r.WantFailure("the login's "+tt.failure, r.PostPhone(tap), tt.failure, tt.status, "login")
		wantSeen(t, r, "the login's "+tt.failure, tap.PhoneCode, 0)
	}
}

func TestRejectedTokenIsReplacedAndTheCallRetriedOnce(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env(verifyOn))
	wantFetches(t, r, "at start", 1)
	r.WeChat.EndToken()
	tap := r.TapBoth(rig.NewUser())
	got := r.PostPhone(tap)
	r.Want("a phone code", got, hostile.Want{})
	wantSeen(t, r, "the phone code", tap.PhoneCode, 2)
	wantSeen(t, r, "the login code", tap.Code, 1)
	wantFetches(t, r, "a phone code", 2)
	rig.WaitFor(t, "there is a log line", func() bool { return len(r.Logs.Requests()) == 1 })
	if line := r.Logs.Requests()[0]; line.Outcome != "ok" || line.ErrCode != 0 {
		t.Errorf("got the log line %+v, want ok and no errcode", line)
	}
	r.WeChat.EndToken()
	sealed := r.NewTap()
	r.WantPhone("sealed data", sealed)
	wantSeen(t, r, "the sealed data", wechattest.Hash(sealed.EncryptedData), 2)
	wantFetches(t, r, "sealed data", 3)
}

func TestTokenIsReplacedOnlyOnce(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env(verifyOn))
	for i, errcode := range []int{40001, 40014, 42001} {
		name := fmt.Sprint("errcode ", errcode)
		r.WeChat.EndToken() // so that there is another
		tap := r.TapPhone(rig.NewUser())
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(errcode, "canary"))
		r.WantFailure(name, r.PostPhone(tap), "upstream_error", 502, "tap")
		wantSeen(t, r, name, tap.PhoneCode, 2)
		wantFetches(t, r, name, 2+i)
	}
}

// The function sends a phone code again only with another token. Without
// force_refresh, stable_token may return the same one.
func TestPhoneCodeIsNotSentAgainWithTheSameToken(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, errcode := range []int{40001, 40014, 42001} {
		name := fmt.Sprint("errcode ", errcode)
		tap := r.TapPhone(rig.NewUser())
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(errcode, "canary"))
		r.WantFailure(name, r.PostPhone(tap), "upstream_error", 502, "tap")
		wantSeen(t, r, name, tap.PhoneCode, 1)
	}
}

// WeChat rejects a token before it looks at the phone code, so that code is unused.
func TestPhoneCodeIsUnusedIfTheTokenCannotBeReplaced(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env(verifyOn))
	r.WeChat.EndToken()
	r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(-1, "canary"))
	tap := r.TapPhone(rig.NewUser())
	r.WantFailure("no new token", r.PostPhone(tap), "unavailable", 503, "retry")
	r.WeChat.Script(wechattest.TokenPath, nil)
	time.Sleep(1050 * time.Millisecond) // while the failure is remembered
	r.WantPhoneByCode("the same request again", tap)
}

// Once the login code is spent, the action is never retry or wait, whatever the
// reason that there is no new token.
func TestRejectedTokenThatCannotBeReplacedLeavesTheLoginCodeSpent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		errcode int
		byCode  hostile.Want // with a phone code
		message string
	}{
		{-1, hostile.Want{Error: "unavailable", Status: 503, Action: "tap"}, busyLoggedIn},
		{45011, hostile.Want{Error: "rate_limited", Status: 429, Action: "tap"}, tokenLimitMessage},
		{40164, hostile.Want{Error: "misconfigured", Status: 500, Action: "none"}, misconfiguredMessage},
		{40125, hostile.Want{Error: "misconfigured", Status: 500, Action: "none"}, misconfiguredMessage},
		{40226, hostile.Want{Error: "upstream_error", Status: 502, Action: "tap"}, noTokenMessage},
		{50001, hostile.Want{Error: "upstream_error", Status: 502, Action: "tap"}, noTokenMessage},
	} {
		raise := func() *rig.Rig {
			r := rig.Raise(t, rig.Env(verifyOn))
			r.WeChat.EndToken()
			r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(tt.errcode, "canary"))
			return r
		}
		name := fmt.Sprint("errcode ", tt.errcode, ", phone code")
		r := raise()
		got := r.PostPhone(r.TapBoth(rig.NewUser()))
		r.Want(name, got, tt.byCode)
		wantMessage(t, name, got, tt.message)

		name = fmt.Sprint("errcode ", tt.errcode, ", sealed data")
		r = raise()
		got = r.Post(r.NewTap())
		r.Want(name, got, hostile.Want{Error: "unavailable", Status: 503, Action: "login"})
		wantMessage(t, name, got, busyLoggedIn)
		line := r.Logs.Request(t, got)
		if line.ErrCode != tt.errcode || !strings.Contains(line.Reason, "stable_token") {
			t.Errorf("%s: got the log line %+v, want %d of stable_token", name, line, tt.errcode)
		}
	}
}

func TestFailedRereadLeavesTheLoginCodeSpent(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env(verifyOn))
	tap := r.NewTap()
	r.WeChat.EndToken()
	r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(40125, "canary"))
	r.Secrets.Fail(secretstest.Fault(400, "AccessDeniedException", ""))
	r.Want("no access to the secret", r.Post(tap), hostile.Want{Error: "unavailable", Status: 503, Action: "login"})
}

// WeChat may reject the mini-program only with the second token. If the re-read of
// the secret then fails, the failure is still WeChat's, because the phone code may
// be spent.
func TestFailedRereadDoesNotMakeASpentPhoneCodeRetryable(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	tap := r.TapPhone(rig.NewUser())
	r.WeChat.Script(tap.PhoneCode, func(w http.ResponseWriter, q *http.Request) {
		r.WeChat.EndToken() // so that there is another
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(40125, "canary"))
		wechattest.Refuse(42001, "canary")(w, q)
	})
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	r.WantFailure("rejected with the second token", r.PostPhone(tap), "misconfigured", 500, "none")
	wantSeen(t, r, "rejected with the second token", tap.PhoneCode, 2)
	if reads := r.Secrets.Calls(); reads < 2 {
		t.Errorf("got %d reads of the secret, want at least 2", reads)
	}
}

// A request uses the token that it got before it sent its codes, even if the token's
// last two minutes begin in between.
func TestTokenIsNotFetchedAgainAfterTheLogin(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	r.WeChat.SetTokenLife(122*time.Second, time.Second)
	r.WantPhoneByCode("a request that fetches a token", r.TapPhone(rig.NewUser()))
	r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(-1, "canary"))
	user := rig.NewUser()
	tap := r.TapBoth(user)
	r.WeChat.Script(tap.Code, func(w http.ResponseWriter, q *http.Request) {
		time.Sleep(2100 * time.Millisecond) // longer than the token may still be used
		wechattest.Accept(user)(w, q)
	})
	r.WantPhoneByCode("a request that has a token before the login", tap)
}

func TestRotatedSecretGetsATokenWithoutADeployment(t *testing.T) {
	t.Parallel()
	for _, errcode := range []int{0, 40001} { // 0: the stand-in's own errcode, 40125
		r := rig.Raise(t, nil)
		r.WeChat.SetSecret(rotatedSecret)
		r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, rotatedSecret))
		if errcode != 0 {
			r.WeChat.Script(wechattest.TokenPath, func(w http.ResponseWriter, q *http.Request) {
				r.WeChat.Script(wechattest.TokenPath, nil)
				wechattest.Refuse(errcode, "invalid credential")(w, q)
			})
		}
		const name = "the first request after the rotation"
		r.WantPhoneByCode(name, r.TapPhone(rig.NewUser()))
		wantFetches(t, r, name, 2)
		wantReads(t, r, name, 2)
	}
}

func TestWrongSecretGetsNoToken(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	for range 3 {
		tap := r.TapBoth(rig.NewUser())
		r.WantFailure("a wrong secret", r.PostPhone(tap), "misconfigured", 500, "none")
		wantSeen(t, r, "the phone code", tap.PhoneCode, 0)
		wantSeen(t, r, "the login code", tap.Code, 0)
	}
	wantFetches(t, r, "within a second of a failure", 1)
	wantReads(t, r, "a wrong secret", 2)
	r = rig.Raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	r.WantFailure("a re-read that fails", r.PostPhone(r.TapBoth(rig.NewUser())), "unavailable", 503, "retry")
}

func TestOneTimeoutBoundsAllCallsToWeChat(t *testing.T) {
	t.Parallel()
	w := rig.NewWeChat(t, "http")
	r := w.Raise(t, "WECHAT_TIMEOUT=2500ms")
	w.Serve(hostile.Slowly(time.Second, r.WeChat))
	got := r.PostPhone(r.TapBoth(rig.NewUser()))
	r.WantFailure("three calls of 1 s each", got, "upstream_timeout", 504, "tap")
	if line := r.Logs.Request(t, got); *line.WeChatMs < 2450 || !strings.Contains(line.Reason, "getuserphonenumber") {
		t.Errorf("got wechatMs %v and reason %q, want at least 2450 and one that names getuserphonenumber",
			*line.WeChatMs, line.Reason)
	}
}

func TestVerifiedDataIsWhatWeChatSealed(t *testing.T) {
	t.Parallel()
	r, trusting := rig.Raise(t, rig.Env(verifyOn)), rig.Raise(t, nil)
	user := rig.NewUser()
	forge := func(r *rig.Rig) wechattest.Tap { return r.Grant(user, sealAt(user, time.Now())) }
	r.WantPhone("sealed by WeChat", r.Tap(user))
	spaced := r.Tap(user)
	spaced.EncryptedData = strings.TrimRight(strings.ReplaceAll(spaced.EncryptedData, "+", " "), "=")
	r.WantPhone("sealed by WeChat, and repaired", spaced)
	trusting.WantPhone("forged, not verified", forge(trusting))
	wantFetches(t, trusting, "not verified", 0)

	withoutID := func(got rig.Answer) string { return strings.Replace(got.Body, got.RequestID, "", 1) }
	broken := r.Tap(user)
	broken.IV = spaced.IV
	undecryptable := r.Post(broken)
	r.WantFailure("another iv", undecryptable, "undecryptable", 422, "login")
	for name, answer := range map[string]http.HandlerFunc{
		"forged": nil, "vaild false": wechattest.Answer(`{"errcode":0,"errmsg":"ok","vaild":false}`),
	} {
		tap := forge(r)
		r.WeChat.Script(wechattest.Hash(tap.EncryptedData), answer)
		got := r.Post(tap)
		r.WantFailure(name, got, "undecryptable", 422, "login")
		if withoutID(got) != withoutID(undecryptable) || len(got.Header) != len(undecryptable.Header) {
			t.Errorf("%s: got %s, want the same as for another iv, %s", name, got.Body, undecryptable.Body)
		}
		line, refused := r.Logs.Request(t, got), name == "forged"
		if line.Reason != "unverified" || (line.ErrCode == 1) != refused || (line.RID != "") != refused {
			t.Errorf("%s: got the log line %+v, want unverified, with errcode 1 and rid: %v", name, line, refused)
		}
	}
	wantFetches(t, r, "all requests", 1)
}

func TestTokenIsFetchedAtStartIfEveryRequestNeedsIt(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		w := rig.NewWeChat(t, scheme)
		server := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
		w.Serve(server)
		r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = w.URL, append(w.Env, verifyOn) })
		r.WeChat = server
		check := func(name string) {
			t.Helper()
			wantFetches(t, r, scheme+", "+name, 1)
			if opened := w.Opened.Load(); opened != 1 {
				t.Errorf("%s, %s: got %d connections, want 1", scheme, name, opened)
			}
		}
		check("after the start")
		r.WantPhone(scheme, r.NewTap())
		check("after a request")
	}
}

// The function still starts in time, and the first request tries again.
func TestFailedTokenFetchAtStartIsAWarning(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]http.HandlerFunc{
		"a refusal": wechattest.Refuse(50001, "canary"), "silence": hostile.Silence,
	} {
		server := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
		server.Script(wechattest.TokenPath, fault)
		s := httptest.NewServer(server)
		began := time.Now()
		r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = s.URL, []string{verifyOn} })
		if took := time.Since(began); took > 3500*time.Millisecond {
			t.Errorf("%s: the start took %v, want at most 3.5 s", name, took)
		}
		r.WeChat = server
		server.Script(wechattest.TokenPath, nil)
		r.WantPhone("the first request after "+name, r.NewTap())
		rig.WaitFor(t, "there is a warning", func() bool {
			return strings.Contains(r.Logs.Text(), "the access token was not fetched at start")
		})
		if !strings.Contains(r.Logs.Text(), `"WARN"`) {
			t.Errorf("%s: got the log %s, want a warning", name, r.Logs.Text())
		}
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	}
}
