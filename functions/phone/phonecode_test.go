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

// These tests hold the function to what its callers may rely on where WeChat
// wants an access token: phone codes, and data that WeChat verifies.

const verifying = "VERIFY_ENCRYPTED_DATA=on"

const phoneCodeRefused = "WeChat refused the phone code: it is expired, used, of another mini-program or user, " +
	"or not from the button (the code of wx.login() belongs into code)"

func TestPhoneCodeGivesThePhoneNumber(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	user := rig.NewUser()
	user.UnionID = "u-" + user.OpenID
	const form = "application/x-www-form-urlencoded"
	phone := fmt.Sprintf(`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":"86","e164":"+86%s"`, user.Phone, user.PurePhone, user.PurePhone)
	for _, tt := range []struct {
		name, contentType string
		body              func() string
		want              string
	}{
		{"alone", "application/json", func() string { return hostile.JSON(r.TapPhone(user)) }, phone + "}"},
		{"alone, in a form", form, func() string { return hostile.Form(r.TapPhone(user)) }, phone + "}"},
		{"with unknown fields", "", func() string {
			return strings.Replace(hostile.JSON(r.TapPhone(user)), "{", `{"errMsg":"ok","PhoneCode":null,"cloudID":1,`, 1)
		}, phone + "}"},
		{"with code", "", func() string { return hostile.JSON(r.TapBoth(user)) }, phone + fmt.Sprintf(`,"openid":%q,"unionid":%q}`, user.OpenID, user.UnionID)},
		{"with code, in a form", form, func() string { return hostile.Form(r.TapBoth(user)) }, phone + fmt.Sprintf(`,"openid":%q,"unionid":%q}`, user.OpenID, user.UnionID)},
		{"of 256 characters", "", func() string {
			code := strings.Repeat("_", 200) + strings.Repeat("-", 56)
			r.WeChat.GrantPhone(code, user)
			return `{"phoneCode":"` + code + `"}`
		}, phone + "}"},
	} {
		got := r.Send("POST", "/phone", tt.contentType, tt.body())
		if got.Status != 200 || got.Body != tt.want {
			t.Errorf("%s: %d %s", tt.name, got.Status, got.Body)
		}
		r.WantHeaders(tt.name, got)
	}
	if calls := r.WeChat.Seen(wechattest.TokenPath); calls != 1 {
		t.Errorf("%d fetches of the token", calls)
	}
}

// The owner has paid for a number, so it is answered even if its fields do not
// fit together, and e164 only if it is certain.
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
			`{"errcode":0,"errmsg":"ok","phone_info":{%s,"watermark":{"timestamp":1700000000,"appid":%q}}}`, tt.sent, stage.AppID)))
		got := r.Send("POST", "/phone", "application/json", hostile.JSON(tap))
		if want := "{" + tt.want + "}"; got.Status != 200 || got.Body != want {
			t.Errorf("%s: got %d %s, want %s", tt.name, got.Status, got.Body, want)
		}
	}
}

// Made-up phone codes would use up the quota of getuserphonenumber.
func TestRequiredLoginCode(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env("REQUIRE_LOGIN_CODE=on"))
	alone := r.TapPhone(rig.NewUser())
	got := r.PostPhone(alone)
	r.WantFailure("a phone code alone", got, "invalid_request", 400, "fix")
	if !strings.HasPrefix(got.Message, "code is missing") || r.WeChat.Seen(alone.PhoneCode) != 0 {
		t.Errorf("got the message %q, and WeChat saw the phone code %d times; want code named and none",
			got.Message, r.WeChat.Seen(alone.PhoneCode))
	}
	invented := r.TapPhone(rig.NewUser())
	invented.Code = "never-given"
	r.WantFailure("a false login code", r.PostPhone(invented), "code_rejected", 400, "login")
	if seen := r.WeChat.Seen(invented.PhoneCode); seen != 0 {
		t.Errorf("with a false login code, WeChat saw the phone code %d times, want 0", seen)
	}
	r.WantPhoneByCode("both codes", r.TapBoth(rig.NewUser()))
	r.WantPhone("sealed data", r.NewTap())
}

// A stranger can send another mini-program's phone code as often as they like:
// that must not use up the re-read of the secret that a rotation needs.
func TestForeignPhoneCodeCausesNoReread(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for range 3 {
		tap := r.TapPhone(rig.NewUser())
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(40013, "invalid appid"))
		r.WantFailure("another mini-program's", r.PostPhone(tap), "code_rejected", 400, "tap")
	}
	if calls := r.Secrets.Calls(); calls != 1 {
		t.Errorf("%d readings of the secret, want only the one at start", calls)
	}
}

func TestPhoneCodeWorksOnceAndForItsUser(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	refused := func(name string, tap wechattest.PhoneTap) {
		t.Helper()
		got := r.PostPhone(tap)
		r.WantFailure(name, got, "code_rejected", 400, "tap")
		if got.Message != phoneCodeRefused {
			t.Errorf("%s: %s", name, got.Message)
		}
	}
	tap := r.TapPhone(rig.NewUser())
	r.WantPhoneByCode("the first time", tap)
	refused("the second time", tap)
	refused("a code of nobody's", wechattest.PhoneTap{PhoneCode: "never-given"})
	refused("a login code", wechattest.PhoneTap{PhoneCode: r.Login(rig.NewUser())})
	refused("another user's", wechattest.PhoneTap{PhoneCode: r.TapPhone(rig.NewUser()).PhoneCode, Code: r.Login(rig.NewUser())})

	// A login code that is refused leaves the phone code as it was.
	tap = r.TapPhone(rig.NewUser())
	tap.Code = "never-given"
	got := r.PostPhone(tap)
	r.WantFailure("a login code of nobody's", got, "code_rejected", 400, "login")
	if !strings.Contains(got.Message, "login code") {
		t.Errorf("a login code of nobody's: %s", got.Message)
	}
	if seen := r.WeChat.Seen(tap.PhoneCode); seen != 0 {
		t.Errorf("WeChat saw the phone code %d times", seen)
	}
	tap.Code = ""
	r.WantPhoneByCode("the phone code alone", tap)
}

// Whatever keeps the token away keeps the codes unspent.
func TestNoCodeIsSentWithoutAToken(t *testing.T) {
	t.Parallel()
	for _, fault := range []struct {
		name    string
		serve   http.HandlerFunc
		message string
	}{
		{"a broken answer", wechattest.Answer("canary"), "; no code has been used"},
		{"a refusal of a kind of its own", wechattest.Refuse(50001, "canary"), "WeChat gives no access token, for an unknown reason"},
		{"no more of them", wechattest.Refuse(45011, "canary"), "WeChat's per-minute limit for access tokens is reached"},
		{"silence", hostile.Silence, "; no code has been used"},
	} {
		// Without a secret at start there is no token from it.
		r := rig.Raise(t, func(c *stage.Config) { c.Env, c.Secret = []string{verifying, "WECHAT_TIMEOUT=1s"}, "canary" })
		restoreSecret(r)
		r.WeChat.Script(wechattest.TokenPath, fault.serve)
		phone, sealed := r.TapBoth(rig.NewUser()), r.NewTap()
		got, old := r.PostPhone(phone), r.Post(sealed)
		want := map[string]hostile.Want{
			"a refusal of a kind of its own": {Error: "upstream_error", Status: 502, Action: "login"},
			"no more of them":                {Error: "rate_limited", Status: 429, Action: "wait"},
		}[fault.name]
		if want == (hostile.Want{}) {
			want = hostile.Want{Error: "unavailable", Status: 503, Action: "retry"}
		}
		r.Want(fault.name, got, want)
		r.Want(fault.name, old, want)
		if !strings.HasSuffix(got.Message, fault.message) {
			t.Errorf("%s: %s", fault.name, got.Message)
		}
		if want.Error == "unavailable" && old.Message != "WeChat or AWS is busy or cannot be reached; the login code has not been used" {
			t.Errorf("%s: %s", fault.name, old.Message)
		}
		for _, code := range []string{phone.PhoneCode, phone.Code, sealed.Code} {
			if seen := r.WeChat.Seen(code); seen != 0 {
				t.Errorf("%s: WeChat saw a code %d times", fault.name, seen)
			}
		}
		if line := r.Logs.Request(t, got); !strings.Contains(line.Reason, "stable_token") {
			t.Errorf("%s: the log does not say which API it was: %s", fault.name, line.Reason)
		}
	}
}

// Once WeChat has accepted the login code, nothing is to be sent again.
func TestActionIsNotRetryOnceTheLoginCodeIsSpent(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env(verifying))
	for _, tt := range []struct {
		errcode         int
		failure         string
		status          int
		alone, loggedIn string // actions
		message         string // once logged in
	}{
		{-1, "unavailable", 503, "retry", "tap", "WeChat or AWS is busy or cannot be reached; the login code has been used"},
		{45011, "rate_limited", 429, "wait", "tap", "WeChat's per-minute limit for phone numbers is reached"},
		{40226, "user_blocked", 403, "none", "none", "WeChat blocks this user as high-risk"},
		{40013, "code_rejected", 400, "tap", "tap", phoneCodeRefused},
		{40125, "misconfigured", 500, "none", "none", "the function is not set up correctly: its log says what is wrong"},
		{45009, "quota_exhausted", 503, "none", "none", "the mini-program's daily WeChat quota is used up"},
		{48001, "misconfigured", 500, "none", "none", "the function is not set up correctly: its log says what is wrong"},
		{50001, "upstream_error", 502, "tap", "tap", "WeChat's answer was lost or is not understood; the phone code may be used up"},
	} {
		name := fmt.Sprint("errcode ", tt.errcode)
		alone, both := r.TapPhone(rig.NewUser()), r.TapBoth(rig.NewUser())
		for _, tap := range []wechattest.PhoneTap{alone, both} {
			r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(tt.errcode, "canary"))
		}
		r.WantFailure(name, r.PostPhone(alone), tt.failure, tt.status, tt.alone)
		got := r.PostPhone(both)
		r.WantFailure(name, got, tt.failure, tt.status, tt.loggedIn)
		if got.Message != tt.message {
			t.Errorf("%s: %s", name, got.Message)
		}
		if seen := r.WeChat.Seen(both.PhoneCode); seen != 1 && tt.errcode != -1 || seen > 3 {
			t.Errorf("%s: WeChat saw the phone code %d times", name, seen)
		}

		// The same of the question whether the data is WeChat's.
		sealed := r.NewTap()
		r.WeChat.Script(wechattest.Hash(sealed.EncryptedData), wechattest.Refuse(tt.errcode, "canary"))
		got = r.Post(sealed)
		if tt.errcode == 45009 || tt.errcode == 48001 { // the same for every user
			r.WantFailure(name, got, tt.failure, tt.status, tt.loggedIn)
			continue
		}
		r.WantFailure(name, got, "unavailable", 503, "login")
		if got.Message != "WeChat or AWS is busy or cannot be reached; the login code has been used" {
			t.Errorf("%s: %s", name, got.Message)
		}
	}
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings of the secret, want one at start and one for the sealed data's 40013 and 40125", calls)
	}

	// A lost connection and silence, before the token and after the login.
	r = rig.Raise(t, rig.Env("WECHAT_TIMEOUT=1s"))
	for _, tt := range []struct {
		serve   http.HandlerFunc
		failure string
		status  int
		message string
	}{
		{hostile.Silence, "upstream_timeout", 504, "WeChat did not answer in time; the phone code may be used up"},
		{hostile.Bytes(func(net.Conn) {}), "upstream_error", 502, "WeChat's answer was lost or is not understood; the phone code may be used up"},
	} {
		for _, tap := range []wechattest.PhoneTap{r.TapPhone(rig.NewUser()), r.TapBoth(rig.NewUser())} {
			r.WeChat.Script(tap.PhoneCode, tt.serve)
			got := r.PostPhone(tap)
			r.WantFailure(tt.failure, got, tt.failure, tt.status, "tap")
			if seen := r.WeChat.Seen(tap.PhoneCode); seen != 1 || got.Message != tt.message {
				t.Errorf("%s: WeChat saw the phone code %d times: %s", tt.failure, seen, got.Message)
			}
		}
		tap := r.TapBoth(rig.NewUser())
		r.WeChat.Script(tap.Code, tt.serve)
		r.WantFailure("the login's "+tt.failure, r.PostPhone(tap), tt.failure, tt.status, "login")
		if seen := r.WeChat.Seen(tap.PhoneCode); seen != 0 {
			t.Errorf("the login's %s: WeChat saw the phone code %d times", tt.failure, seen)
		}
	}
}

func TestRejectedTokenIsReplacedAndTheCallRetriedOnce(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env(verifying))
	if calls := r.WeChat.Seen(wechattest.TokenPath); calls != 1 {
		t.Errorf("%d fetches of the token at start", calls)
	}
	r.WeChat.EndToken()
	tap := r.TapBoth(rig.NewUser())
	got := r.PostPhone(tap)
	r.Want("a phone code after the token's end", got, hostile.Want{})
	if seen, calls := r.WeChat.Seen(tap.PhoneCode), r.WeChat.Seen(wechattest.TokenPath); seen != 2 || calls != 2 || r.WeChat.Seen(tap.Code) != 1 {
		t.Errorf("WeChat saw the phone code %d times, and %d fetches of the token", seen, calls)
	}
	rig.WaitFor(t, "there is a line", func() bool { return len(r.Logs.Requests()) == 1 })
	if line := r.Logs.Requests()[0]; line.Outcome != "ok" || line.ErrCode != 0 {
		t.Errorf("the line of the success tells of the rejection: %+v", line)
	}
	r.WeChat.EndToken()
	sealed := r.NewTap()
	r.WantPhone("sealed data after the token's end", sealed)
	if seen, calls := r.WeChat.Seen(wechattest.Hash(sealed.EncryptedData)), r.WeChat.Seen(wechattest.TokenPath); seen != 2 || calls != 3 {
		t.Errorf("WeChat was asked %d times, and %d fetches of the token", seen, calls)
	}

	// One that is rejected whatever it is.
	for i, errcode := range []int{40001, 40014, 42001} {
		tap := r.TapPhone(rig.NewUser())
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(errcode, "canary"))
		r.WantFailure("rejected twice", r.PostPhone(tap), "upstream_error", 502, "tap")
		if seen, calls := r.WeChat.Seen(tap.PhoneCode), r.WeChat.Seen(wechattest.TokenPath); seen != 2 || calls != 4+i {
			t.Errorf("errcode %d: WeChat saw the phone code %d times, and %d fetches of the token", errcode, seen, calls)
		}
	}

	// One whose replacement is not to be had: the phone code is as it was.
	r.WeChat.EndToken()
	r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(-1, "canary"))
	tap = r.TapPhone(rig.NewUser())
	r.WantFailure("no other token", r.PostPhone(tap), "unavailable", 503, "retry")
	r.WeChat.Script(wechattest.TokenPath, nil)
	time.Sleep(1050 * time.Millisecond)
	r.WantPhoneByCode("the same again", tap)
}

// Once the login code is spent, it matters no more why there is no other token.
func TestRejectedTokenThatCannotBeReplacedLeavesTheLoginCodeSpent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		errcode int
		byCode  hostile.Want // where there was a phone code
		message string
	}{
		{-1, hostile.Want{Error: "unavailable", Status: 503, Action: "tap"}, "WeChat or AWS is busy or cannot be reached; the login code has been used"},
		{45011, hostile.Want{Error: "rate_limited", Status: 429, Action: "tap"}, "WeChat's per-minute limit for access tokens is reached"},
		{40164, hostile.Want{Error: "misconfigured", Status: 500, Action: "none"}, "the function is not set up correctly: its log says what is wrong"},
		{40125, hostile.Want{Error: "misconfigured", Status: 500, Action: "none"}, "the function is not set up correctly: its log says what is wrong"},
		{40226, hostile.Want{Error: "upstream_error", Status: 502, Action: "tap"}, "WeChat gives no access token, for an unknown reason"},
		{50001, hostile.Want{Error: "upstream_error", Status: 502, Action: "tap"}, "WeChat gives no access token, for an unknown reason"},
	} {
		name := fmt.Sprint("errcode ", tt.errcode)
		for _, shape := range []string{"phone code", "sealed data"} {
			r := rig.Raise(t, rig.Env(verifying))
			phone, sealed := r.TapBoth(rig.NewUser()), r.NewTap()
			r.WeChat.EndToken()
			r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(tt.errcode, "canary"))
			if shape == "phone code" {
				got := r.PostPhone(phone)
				r.Want(name, got, tt.byCode)
				if got.Message != tt.message {
					t.Errorf("%s: %s", name, got.Message)
				}
				continue
			}
			got := r.Post(sealed)
			r.Want(name, got, hostile.Want{Error: "unavailable", Status: 503, Action: "login"})
			if got.Message != "WeChat or AWS is busy or cannot be reached; the login code has been used" {
				t.Errorf("%s: %s", name, got.Message)
			}
			if line := r.Logs.Request(t, got); line.ErrCode != tt.errcode || !strings.Contains(line.Reason, "stable_token") {
				t.Errorf("%s: logged as %+v", name, line)
			}
		}
	}

	// Nor does it where it is the secret that cannot be read again.
	r := rig.Raise(t, rig.Env(verifying))
	tap := r.NewTap()
	r.WeChat.EndToken()
	r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(40125, "canary"))
	r.Secrets.Fail(secretstest.Fault(400, "AccessDeniedException", ""))
	r.Want("no access to the secret", r.Post(tap), hostile.Want{Error: "unavailable", Status: 503, Action: "login"})
}

// The mini-program may be refused with the second token only, and the secret may
// not be readable then: what the caller is told is still WeChat's answer, since
// nobody knows whether the phone code is spent.
func TestFailedRereadDoesNotMakeASpentPhoneCodeRetryable(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	tap := r.TapPhone(rig.NewUser())
	r.WeChat.Script(tap.PhoneCode, func(w http.ResponseWriter, q *http.Request) {
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(40125, "canary"))
		wechattest.Refuse(42001, "canary")(w, q)
	})
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	r.WantFailure("refused with the second token", r.PostPhone(tap), "misconfigured", 500, "none")
	if readings, seen := r.Secrets.Calls(), r.WeChat.Seen(tap.PhoneCode); readings < 2 || seen != 2 {
		t.Errorf("%d readings of the secret, and WeChat saw the phone code %d times", readings, seen)
	}
}

// The token that was had before the codes is the one that is used, though its
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
		time.Sleep(2100 * time.Millisecond) // longer than the token has left
		wechattest.Accept(user)(w, q)
	})
	r.WantPhoneByCode("one that has it before the login", tap)
}

func TestRotatedSecretGetsATokenWithoutADeployment(t *testing.T) {
	t.Parallel()
	for _, errcode := range []int{0, 40001} { // WeChat has two ways of saying it
		const rotated = "canary-of-a-rotated-secret"
		r := rig.Raise(t, nil)
		r.WeChat.SetSecret(rotated)
		r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, rotated))
		if errcode != 0 {
			r.WeChat.Script(wechattest.TokenPath, func(w http.ResponseWriter, q *http.Request) {
				r.WeChat.Script(wechattest.TokenPath, nil)
				wechattest.Refuse(errcode, "invalid credential")(w, q)
			})
		}
		r.WantPhoneByCode("the first request after the rotation", r.TapPhone(rig.NewUser()))
		if calls, readings := r.WeChat.Seen(wechattest.TokenPath), r.Secrets.Calls(); calls != 2 || readings != 2 {
			t.Errorf("%d fetches of the token, %d readings of the secret", calls, readings)
		}
	}

	// Wrong for good: Secrets Manager is read once more, and no code is sent.
	r := rig.Raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	for range 3 {
		tap := r.TapBoth(rig.NewUser())
		r.WantFailure("a wrong secret", r.PostPhone(tap), "misconfigured", 500, "none")
		if seen := r.WeChat.Seen(tap.PhoneCode) + r.WeChat.Seen(tap.Code); seen != 0 {
			t.Errorf("WeChat saw codes %d times", seen)
		}
	}
	if calls, readings := r.WeChat.Seen(wechattest.TokenPath), r.Secrets.Calls(); calls != 1 || readings != 2 {
		t.Errorf("%d fetches of the token within a second of a failure, %d readings of the secret", calls, readings)
	}
	r = rig.Raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	r.WantFailure("a re-read that fails", r.PostPhone(r.TapBoth(rig.NewUser())), "unavailable", 503, "retry")
}

func TestOneTimeoutBoundsAllCallsOfWeChat(t *testing.T) {
	t.Parallel()
	w := rig.NewWeChat(t, "http")
	r := w.Raise(t, "WECHAT_TIMEOUT=900ms")
	w.Serve(hostile.Slowly(400*time.Millisecond, r.WeChat))
	began := time.Now()
	got := r.PostPhone(r.TapBoth(rig.NewUser()))
	r.WantFailure("three calls of 400 ms each", got, "upstream_timeout", 504, "tap")
	if took := time.Since(began); took < 850*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
	if line := r.Logs.Request(t, got); *line.WeChatMs < 850 || !strings.Contains(line.Reason, "getuserphonenumber") {
		t.Errorf("logged as %v ms, %s", *line.WeChatMs, line.Reason)
	}
}

func TestVerifiedDataIsWhatWeChatSealed(t *testing.T) {
	t.Parallel()
	r, trusting := rig.Raise(t, rig.Env(verifying)), rig.Raise(t, nil)
	user := rig.NewUser()
	forge := func(r *rig.Rig) wechattest.Tap {
		return r.Grant(user, wechattest.Seal(user.SessionKey, fmt.Appendf(nil,
			`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":"86","watermark":{"timestamp":%d,"appid":%q}}`,
			user.Phone, user.Phone, time.Now().Unix(), stage.AppID)))
	}
	r.WantPhone("sealed by WeChat", r.Tap(user))
	spaced := r.Tap(user)
	spaced.EncryptedData = strings.TrimRight(strings.ReplaceAll(spaced.EncryptedData, "+", " "), "=")
	r.WantPhone("sealed by WeChat, and repaired", spaced)
	trusting.WantPhone("forged, unverified", forge(trusting))
	if calls := trusting.WeChat.Seen(wechattest.TokenPath); calls != 0 {
		t.Errorf("%d fetches of a token that nobody needs", calls)
	}

	alike := func(got rig.Answer) string {
		return strings.Replace(got.Body, got.RequestID, "", 1)
	}
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
		if alike(got) != alike(undecryptable) || len(got.Header) != len(undecryptable.Header) {
			t.Errorf("%s: answered %s, others %s", name, got.Body, undecryptable.Body)
		}
		if line := r.Logs.Request(t, got); line.Reason != "unverified" || (line.ErrCode == 1) != (name == "forged") || (line.RID != "") != (name == "forged") {
			t.Errorf("%s: logged as %+v", name, line)
		}
	}
	if calls := r.WeChat.Seen(wechattest.TokenPath); calls != 1 {
		t.Errorf("%d fetches of the token", calls)
	}
}

func TestTokenIsFetchedAtStartIfEveryRequestNeedsIt(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		w := rig.NewWeChat(t, scheme)
		server := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
		w.Serve(server)
		r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = w.URL, append(w.Env, verifying) })
		if calls, opened := server.Seen(wechattest.TokenPath), w.Opened.Load(); calls != 1 || opened != 1 {
			t.Errorf("%s, at the first next: %d fetches of the token over %d connections", scheme, calls, opened)
		}
		r.WeChat = server
		r.WantPhone(scheme, r.NewTap())
		if calls, opened := server.Seen(wechattest.TokenPath), w.Opened.Load(); calls != 1 || opened != 1 {
			t.Errorf("%s, after a request: %d fetches of the token over %d connections", scheme, calls, opened)
		}
	}
}

// Neither a refusal at start nor silence is held against the first request, and
// the function starts in time.
func TestFailedTokenFetchAtStartIsAWarning(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]http.HandlerFunc{"a refusal": wechattest.Refuse(50001, "canary"), "silence": hostile.Silence} {
		server := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
		server.Script(wechattest.TokenPath, fault)
		s := httptest.NewServer(server)
		began := time.Now()
		r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = s.URL, []string{verifying} })
		if took := time.Since(began); took > 3500*time.Millisecond {
			t.Errorf("%s: the start took %v", name, took)
		}
		r.WeChat = server
		server.Script(wechattest.TokenPath, nil)
		r.WantPhone("the first request after "+name, r.NewTap())
		rig.WaitFor(t, "there is a warning", func() bool { return strings.Contains(r.Logs.Text(), "the access token was not fetched at start") })
		if !strings.Contains(r.Logs.Text(), `"WARN"`) {
			t.Errorf("%s: no warning: %s", name, r.Logs.Text())
		}
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	}
}
