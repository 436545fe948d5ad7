package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// These tests hold the function to what its callers may rely on where WeChat
// wants an access token: phone codes, and data that WeChat verifies.

const verifying = "VERIFY_ENCRYPTED_DATA=on"

func TestPhoneCodeGivesThePhoneNumber(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	user := newUser()
	user.UnionID = "u-" + user.OpenID
	const form = "application/x-www-form-urlencoded"
	phone := fmt.Sprintf(`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":"86","e164":"+86%s"`, user.Phone, user.PurePhone, user.PurePhone)
	for _, test := range []struct {
		name, contentType string
		body              func() string
		want              string
	}{
		{"alone", "application/json", func() string { return hostile.JSON(r.tapPhone(user)) }, phone + "}"},
		{"alone, in a form", form, func() string { return hostile.Form(r.tapPhone(user)) }, phone + "}"},
		{"with unknown fields", "", func() string {
			return strings.Replace(hostile.JSON(r.tapPhone(user)), "{", `{"errMsg":"ok","PhoneCode":null,"cloudID":1,`, 1)
		}, phone + "}"},
		{"with code", "", func() string { return hostile.JSON(r.tapBoth(user)) }, phone + fmt.Sprintf(`,"openid":%q,"unionid":%q}`, user.OpenID, user.UnionID)},
		{"with code, in a form", form, func() string { return hostile.Form(r.tapBoth(user)) }, phone + fmt.Sprintf(`,"openid":%q,"unionid":%q}`, user.OpenID, user.UnionID)},
		{"of 256 characters", "", func() string {
			code := strings.Repeat("_", 200) + strings.Repeat("-", 56)
			r.WeChat.GrantPhone(code, user)
			return `{"phoneCode":"` + code + `"}`
		}, phone + "}"},
	} {
		got := r.send("POST", "/phone", test.contentType, test.body())
		if got.status != 200 || got.body != test.want {
			t.Errorf("%s: %d %s", test.name, got.status, got.body)
		}
		r.wantHeaders(test.name, got)
	}
	if calls := r.WeChat.Seen(wechattest.TokenPath); calls != 1 {
		t.Errorf("%d fetches of the token", calls)
	}
}

func TestPhoneCodeWorksOnceAndForItsUser(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	refused := func(name string, tap wechattest.PhoneTap) {
		t.Helper()
		got := r.postPhone(tap)
		r.wantFailure(name, got, "code_rejected", 400, "tap")
		if got.Message != "WeChat refused the phone code: it is expired, used, or not of this mini-program or user" {
			t.Errorf("%s: %s", name, got.Message)
		}
	}
	tap := r.tapPhone(newUser())
	r.wantPhoneByCode("the first time", tap)
	refused("the second time", tap)
	refused("a code of nobody's", wechattest.PhoneTap{PhoneCode: "never-given"})
	refused("a login code", wechattest.PhoneTap{PhoneCode: r.login(newUser())})
	refused("another user's", wechattest.PhoneTap{PhoneCode: r.tapPhone(newUser()).PhoneCode, Code: r.login(newUser())})

	// A login code that is refused leaves the phone code as it was.
	tap = r.tapPhone(newUser())
	tap.Code = "never-given"
	got := r.postPhone(tap)
	r.wantFailure("a login code of nobody's", got, "code_rejected", 400, "login")
	if !strings.Contains(got.Message, "login code") {
		t.Errorf("a login code of nobody's: %s", got.Message)
	}
	if seen := r.WeChat.Seen(tap.PhoneCode); seen != 0 {
		t.Errorf("WeChat saw the phone code %d times", seen)
	}
	tap.Code = ""
	r.wantPhoneByCode("the phone code alone", tap)
}

// Whatever keeps the token away keeps the codes unspent.
func TestNoCodeIsSentWithoutAToken(t *testing.T) {
	t.Parallel()
	for _, fault := range []struct {
		name    string
		serve   http.HandlerFunc
		message string
	}{
		{"a broken answer", wechattest.Answer("canary"), "; no code is used"},
		{"a refusal of a kind of its own", wechattest.Refuse(50001, "canary"), "WeChat gives no access token, for a reason that is not known here"},
		{"no more of them", wechattest.Refuse(45011, "canary"), "WeChat gives this mini-program no more access tokens for now"},
		{"silence", hostile.Silence, "; no code is used"},
	} {
		// Without a secret at start there is no token from it.
		r := raise(t, func(c *stage.Config) { c.Env, c.Secret = []string{verifying, "WECHAT_TIMEOUT=1s"}, "canary" })
		r.mend()
		r.WeChat.Script(wechattest.TokenPath, fault.serve)
		phone, sealed := r.tapBoth(newUser()), r.newTap()
		got, old := r.postPhone(phone), r.post(sealed)
		want := map[string]hostile.Want{
			"a refusal of a kind of its own": {Error: "upstream_error", Status: 502, Action: "login"},
			"no more of them":                {Error: "rate_limited", Status: 429, Action: "wait"},
		}[fault.name]
		if want == (hostile.Want{}) {
			want = hostile.Want{Error: "unavailable", Status: 503, Action: "retry"}
		}
		r.want(fault.name, got, want)
		r.want(fault.name, old, want)
		if !strings.HasSuffix(got.Message, fault.message) {
			t.Errorf("%s: %s", fault.name, got.Message)
		}
		if want.Error == "unavailable" && old.Message != "WeChat or AWS cannot be reached or is busy; the login code is not used" {
			t.Errorf("%s: %s", fault.name, old.Message)
		}
		for _, code := range []string{phone.PhoneCode, phone.Code, sealed.Code} {
			if seen := r.WeChat.Seen(code); seen != 0 {
				t.Errorf("%s: WeChat saw a code %d times", fault.name, seen)
			}
		}
		if line := r.logs.request(t, got); !strings.Contains(line.Reason, "stable_token") {
			t.Errorf("%s: the log does not say which API it was: %s", fault.name, line.Reason)
		}
	}
}

// Once WeChat has accepted the login code, nothing is to be sent again.
func TestNobodyIsToldToRetryOnceTheLoginCodeIsSpent(t *testing.T) {
	t.Parallel()
	r := raise(t, env(verifying))
	for _, test := range []struct {
		errcode         int
		failure         string
		status          int
		alone, loggedIn string // actions
		message         string // once logged in
	}{
		{-1, "unavailable", 503, "retry", "tap", "WeChat or AWS cannot be reached or is busy; the login code is used"},
		{45011, "rate_limited", 429, "wait", "tap", "WeChat gives no more phone numbers to this mini-program for now"},
		{40226, "user_blocked", 403, "none", "none", "WeChat blocks this user as a high risk"},
		{40013, "misconfigured", 500, "none", "none", "the function is not set up right: its log says what is wrong"},
		{50001, "upstream_error", 502, "tap", "tap", "WeChat's answer was lost or is not understood; the phone code may be used"},
	} {
		name := fmt.Sprint("errcode ", test.errcode)
		alone, both := r.tapPhone(newUser()), r.tapBoth(newUser())
		for _, tap := range []wechattest.PhoneTap{alone, both} {
			r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(test.errcode, "canary"))
		}
		r.wantFailure(name, r.postPhone(alone), test.failure, test.status, test.alone)
		got := r.postPhone(both)
		r.wantFailure(name, got, test.failure, test.status, test.loggedIn)
		if got.Message != test.message {
			t.Errorf("%s: %s", name, got.Message)
		}
		if seen := r.WeChat.Seen(both.PhoneCode); seen != 1 && test.errcode != -1 || seen > 3 {
			t.Errorf("%s: WeChat saw the phone code %d times", name, seen)
		}

		// The same of the question whether the data is WeChat's.
		sealed := r.newTap()
		r.WeChat.Script(wechattest.Hash(sealed.EncryptedData), wechattest.Refuse(test.errcode, "canary"))
		got = r.post(sealed)
		r.wantFailure(name, got, "unavailable", 503, "login")
		if got.Message != "WeChat or AWS cannot be reached or is busy; the login code is used" {
			t.Errorf("%s: %s", name, got.Message)
		}
	}
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings of the secret, want one at start and one after the first 40013", calls)
	}

	// A lost connection and silence, before the token and after the login.
	r = raise(t, env("WECHAT_TIMEOUT=1s"))
	for _, test := range []struct {
		serve   http.HandlerFunc
		failure string
		status  int
		message string
	}{
		{hostile.Silence, "upstream_timeout", 504, "WeChat did not answer in time; the phone code may be used"},
		{hostile.Bytes(func(net.Conn) {}), "upstream_error", 502, "WeChat's answer was lost or is not understood; the phone code may be used"},
	} {
		for _, tap := range []wechattest.PhoneTap{r.tapPhone(newUser()), r.tapBoth(newUser())} {
			r.WeChat.Script(tap.PhoneCode, test.serve)
			got := r.postPhone(tap)
			r.wantFailure(test.failure, got, test.failure, test.status, "tap")
			if seen := r.WeChat.Seen(tap.PhoneCode); seen != 1 || got.Message != test.message {
				t.Errorf("%s: WeChat saw the phone code %d times: %s", test.failure, seen, got.Message)
			}
		}
		tap := r.tapBoth(newUser())
		r.WeChat.Script(tap.Code, test.serve)
		r.wantFailure("the login's "+test.failure, r.postPhone(tap), test.failure, test.status, "login")
		if seen := r.WeChat.Seen(tap.PhoneCode); seen != 0 {
			t.Errorf("the login's %s: WeChat saw the phone code %d times", test.failure, seen)
		}
	}
}

func TestRejectedTokenIsReplacedAndTheCallRepeatedOnce(t *testing.T) {
	t.Parallel()
	r := raise(t, env(verifying))
	if calls := r.WeChat.Seen(wechattest.TokenPath); calls != 1 {
		t.Errorf("%d fetches of the token at start", calls)
	}
	r.WeChat.EndToken()
	tap := r.tapBoth(newUser())
	got := r.postPhone(tap)
	r.want("a phone code after the token's end", got, hostile.Want{})
	if seen, calls := r.WeChat.Seen(tap.PhoneCode), r.WeChat.Seen(wechattest.TokenPath); seen != 2 || calls != 2 || r.WeChat.Seen(tap.Code) != 1 {
		t.Errorf("WeChat saw the phone code %d times, and %d fetches of the token", seen, calls)
	}
	waitFor(t, "there is a line", func() bool { return len(r.logs.requests()) == 1 })
	if line := r.logs.requests()[0]; line.Outcome != "ok" || line.ErrCode != 0 {
		t.Errorf("the line of the success tells of the rejection: %+v", line)
	}
	r.WeChat.EndToken()
	sealed := r.newTap()
	r.wantPhone("sealed data after the token's end", sealed)
	if seen, calls := r.WeChat.Seen(wechattest.Hash(sealed.EncryptedData)), r.WeChat.Seen(wechattest.TokenPath); seen != 2 || calls != 3 {
		t.Errorf("WeChat was asked %d times, and %d fetches of the token", seen, calls)
	}

	// One that is rejected whatever it is.
	for i, errcode := range []int{40001, 40014, 42001} {
		tap := r.tapPhone(newUser())
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(errcode, "canary"))
		r.wantFailure("rejected twice", r.postPhone(tap), "upstream_error", 502, "tap")
		if seen, calls := r.WeChat.Seen(tap.PhoneCode), r.WeChat.Seen(wechattest.TokenPath); seen != 2 || calls != 4+i {
			t.Errorf("errcode %d: WeChat saw the phone code %d times, and %d fetches of the token", errcode, seen, calls)
		}
	}

	// One whose replacement is not to be had: the phone code is as it was.
	r.WeChat.EndToken()
	r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(-1, "canary"))
	tap = r.tapPhone(newUser())
	r.wantFailure("no other token", r.postPhone(tap), "unavailable", 503, "retry")
	r.WeChat.Script(wechattest.TokenPath, nil)
	time.Sleep(1050 * time.Millisecond)
	r.wantPhoneByCode("the same again", tap)
}

// Once the login code is spent, it matters no more why there is no other token.
func TestRejectedTokenThatCannotBeReplacedLeavesTheLoginCodeSpent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		errcode int
		byCode  hostile.Want // where there was a phone code
		message string
	}{
		{-1, hostile.Want{Error: "unavailable", Status: 503, Action: "tap"}, "WeChat or AWS cannot be reached or is busy; the login code is used"},
		{45011, hostile.Want{Error: "rate_limited", Status: 429, Action: "tap"}, "WeChat gives this mini-program no more access tokens for now"},
		{40164, hostile.Want{Error: "misconfigured", Status: 500, Action: "none"}, "the function is not set up right: its log says what is wrong"},
		{40125, hostile.Want{Error: "misconfigured", Status: 500, Action: "none"}, "the function is not set up right: its log says what is wrong"},
		{40226, hostile.Want{Error: "upstream_error", Status: 502, Action: "tap"}, "WeChat gives no access token, for a reason that is not known here"},
		{50001, hostile.Want{Error: "upstream_error", Status: 502, Action: "tap"}, "WeChat gives no access token, for a reason that is not known here"},
	} {
		name := fmt.Sprint("errcode ", test.errcode)
		for _, shape := range []string{"phone code", "sealed data"} {
			r := raise(t, env(verifying))
			phone, sealed := r.tapBoth(newUser()), r.newTap()
			r.WeChat.EndToken()
			r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(test.errcode, "canary"))
			if shape == "phone code" {
				got := r.postPhone(phone)
				r.want(name, got, test.byCode)
				if got.Message != test.message {
					t.Errorf("%s: %s", name, got.Message)
				}
				continue
			}
			got := r.post(sealed)
			r.want(name, got, hostile.Want{Error: "unavailable", Status: 503, Action: "login"})
			if got.Message != "WeChat or AWS cannot be reached or is busy; the login code is used" {
				t.Errorf("%s: %s", name, got.Message)
			}
			if line := r.logs.request(t, got); line.ErrCode != test.errcode || !strings.Contains(line.Reason, "stable_token") {
				t.Errorf("%s: logged as %+v", name, line)
			}
		}
	}

	// Nor does it where it is the secret that cannot be read again.
	r := raise(t, env(verifying))
	tap := r.newTap()
	r.WeChat.EndToken()
	r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(40125, "canary"))
	r.Secrets.Fail(secretstest.Fault(400, "AccessDeniedException", ""))
	r.want("no access to the secret", r.post(tap), hostile.Want{Error: "unavailable", Status: 503, Action: "login"})
}

// The mini-program may be refused with the second token only, and the secret may
// not be readable then: what the caller is told is still WeChat's answer, since
// nobody knows whether the phone code is spent.
func TestRefusedMiniProgramIsNotToldToRetry(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	tap := r.tapPhone(newUser())
	r.WeChat.Script(tap.PhoneCode, func(w http.ResponseWriter, q *http.Request) {
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(40013, "canary"))
		wechattest.Refuse(42001, "canary")(w, q)
	})
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	r.wantFailure("refused with the second token", r.postPhone(tap), "misconfigured", 500, "none")
	if readings, seen := r.Secrets.Calls(), r.WeChat.Seen(tap.PhoneCode); readings < 2 || seen != 2 {
		t.Errorf("%d readings of the secret, and WeChat saw the phone code %d times", readings, seen)
	}
}

// The token that was had before the codes is the one that is used, though its
// last two minutes begin in between.
func TestTokenIsNotFetchedAgainBehindTheLogin(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	r.WeChat.SetTokenLife(122*time.Second, time.Second)
	r.wantPhoneByCode("a request that fetches a token", r.tapPhone(newUser()))
	r.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(-1, "canary"))
	user := newUser()
	tap := r.tapBoth(user)
	r.WeChat.Script(tap.Code, func(w http.ResponseWriter, q *http.Request) {
		time.Sleep(2100 * time.Millisecond) // longer than the token has left
		wechattest.Accept(user)(w, q)
	})
	r.wantPhoneByCode("one that has it before the login", tap)
}

func TestRotatedSecretGetsATokenWithoutADeployment(t *testing.T) {
	t.Parallel()
	for _, errcode := range []int{0, 40001} { // WeChat has two ways of saying it
		const rotated = "canary-of-a-rotated-secret"
		r := raise(t, nil)
		r.WeChat.SetSecret(rotated)
		r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, rotated))
		if errcode != 0 {
			r.WeChat.Script(wechattest.TokenPath, func(w http.ResponseWriter, q *http.Request) {
				r.WeChat.Script(wechattest.TokenPath, nil)
				wechattest.Refuse(errcode, "invalid credential")(w, q)
			})
		}
		r.wantPhoneByCode("the first request after the rotation", r.tapPhone(newUser()))
		if calls, readings := r.WeChat.Seen(wechattest.TokenPath), r.Secrets.Calls(); calls != 2 || readings != 2 {
			t.Errorf("%d fetches of the token, %d readings of the secret", calls, readings)
		}
	}

	// Wrong for good: Secrets Manager is read once more, and no code is sent.
	r := raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	for range 3 {
		tap := r.tapBoth(newUser())
		r.wantFailure("a wrong secret", r.postPhone(tap), "misconfigured", 500, "none")
		if seen := r.WeChat.Seen(tap.PhoneCode) + r.WeChat.Seen(tap.Code); seen != 0 {
			t.Errorf("WeChat saw codes %d times", seen)
		}
	}
	if calls, readings := r.WeChat.Seen(wechattest.TokenPath), r.Secrets.Calls(); calls != 1 || readings != 2 {
		t.Errorf("%d fetches of the token within a second of a failure, %d readings of the secret", calls, readings)
	}
	r = raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	r.wantFailure("a re-read that fails", r.postPhone(r.tapBoth(newUser())), "unavailable", 503, "retry")
}

// The secret may come to hold another mini-program, whose token is another.
func TestTokenFollowsTheAppID(t *testing.T) {
	t.Parallel()
	const login, phone = "/sns/jscode2session", "/wxa/business/getuserphonenumber"
	for name, want := range map[string][]string{ // where WeChat is asked, once the secret has changed
		"found by the login":             {login, wechattest.TokenPath, login, phone},
		"found by the login, no token":   {login, wechattest.TokenPath, wechattest.TokenPath, wechattest.TokenPath}, // a busy WeChat is asked three times
		"found by the phone code, alone": {phone, wechattest.TokenPath, phone},
	} {
		w := newWeChat(t, "http")
		r := w.raise(t)
		r.wantPhoneByCode("the first mini-program", r.tapBoth(newUser()))
		moved := wechattest.New("wx1111111111111111", stage.AppSecret, time.Now)
		r.Secrets.Put(stage.SecretName, stage.Secret("wx1111111111111111", stage.AppSecret))
		var mu sync.Mutex
		var paths []string
		w.serve(http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
			mu.Lock()
			paths = append(paths, q.URL.Path)
			mu.Unlock()
			moved.ServeHTTP(out, q)
		}))
		user := newUser()
		tap := wechattest.PhoneTap{PhoneCode: hostile.PhoneCode(0), Code: hostile.Code(0)}
		moved.Grant(tap.Code, user)
		moved.GrantPhone(tap.PhoneCode, user)
		r.own(tap.PhoneCode, user)
		switch name {
		case "found by the login":
			r.wantPhoneByCode(name, tap)
		case "found by the login, no token":
			moved.Script(wechattest.TokenPath, wechattest.Refuse(-1, "canary"))
			got := r.postPhone(tap)
			r.wantFailure(name, got, "unavailable", 503, "retry") // neither code is spent
			if line := r.logs.request(t, got); line.ErrCode != -1 {
				t.Errorf("%s: logged as %+v", name, line)
			}
		case "found by the phone code, alone":
			old := wechattest.PhoneTap{PhoneCode: hostile.PhoneCode(1)}
			moved.Script(old.PhoneCode, wechattest.Refuse(40013, "invalid appid"))
			r.wantFailure(name, r.postPhone(old), "misconfigured", 500, "none")
			tap.Code = ""
			r.wantPhoneByCode(name+", by the next request", tap)
			if readings := r.Secrets.Calls(); readings != 2 {
				t.Errorf("%d readings of the secret", readings)
			}
		}
		mu.Lock()
		if !slices.Equal(paths, want) {
			t.Errorf("%s: WeChat was asked at %v", name, paths)
		}
		mu.Unlock()
	}
}

func TestOneTimeoutBoundsAllThatWeChatIsAsked(t *testing.T) {
	t.Parallel()
	w := newWeChat(t, "http")
	r := w.raise(t, "WECHAT_TIMEOUT=900ms")
	w.serve(hostile.Slowly(400*time.Millisecond, r.WeChat))
	began := time.Now()
	got := r.postPhone(r.tapBoth(newUser()))
	r.wantFailure("three calls of 400 ms each", got, "upstream_timeout", 504, "tap")
	if took := time.Since(began); took < 850*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
	if line := r.logs.request(t, got); *line.WeChatMs < 850 || !strings.Contains(line.Reason, "getuserphonenumber") {
		t.Errorf("logged as %v ms, %s", *line.WeChatMs, line.Reason)
	}
}

func TestVerifiedDataIsWhatWeChatSealed(t *testing.T) {
	t.Parallel()
	r, trusting := raise(t, env(verifying)), raise(t, nil)
	user := newUser()
	forge := func(r *rig) wechattest.Tap {
		return r.grant(user, wechattest.Seal(user.SessionKey, fmt.Appendf(nil,
			`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":"86","watermark":{"timestamp":%d,"appid":%q}}`,
			user.Phone, user.Phone, time.Now().Unix(), stage.AppID)))
	}
	r.wantPhone("sealed by WeChat", r.tap(user))
	spaced := r.tap(user)
	spaced.EncryptedData = strings.TrimRight(strings.ReplaceAll(spaced.EncryptedData, "+", " "), "=")
	r.wantPhone("sealed by WeChat, and repaired", spaced)
	trusting.wantPhone("forged, unverified", forge(trusting))
	if calls := trusting.WeChat.Seen(wechattest.TokenPath); calls != 0 {
		t.Errorf("%d fetches of a token that nobody needs", calls)
	}

	alike := func(got answered) string {
		return strings.Replace(got.body, got.RequestID, "", 1)
	}
	broken := r.tap(user)
	broken.IV = spaced.IV
	undecryptable := r.post(broken)
	r.wantFailure("another iv", undecryptable, "undecryptable", 422, "login")
	for name, answer := range map[string]http.HandlerFunc{
		"forged": nil, "vaild false": wechattest.Answer(`{"errcode":0,"errmsg":"ok","vaild":false}`),
	} {
		tap := forge(r)
		r.WeChat.Script(wechattest.Hash(tap.EncryptedData), answer)
		got := r.post(tap)
		r.wantFailure(name, got, "undecryptable", 422, "login")
		if alike(got) != alike(undecryptable) || len(got.header) != len(undecryptable.header) {
			t.Errorf("%s: answered %s, others %s", name, got.body, undecryptable.body)
		}
		if line := r.logs.request(t, got); line.Reason != "unverified" || (line.ErrCode == 1) != (name == "forged") || (line.RID != "") != (name == "forged") {
			t.Errorf("%s: logged as %+v", name, line)
		}
	}
	if calls := r.WeChat.Seen(wechattest.TokenPath); calls != 1 {
		t.Errorf("%d fetches of the token", calls)
	}
}

func TestTokenIsFetchedAtStartWhereEveryRequestNeedsIt(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		w := newWeChat(t, scheme)
		server := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
		w.serve(server)
		r := raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = w.URL, append(w.env, verifying) })
		if calls, opened := server.Seen(wechattest.TokenPath), w.opened.Load(); calls != 1 || opened != 1 {
			t.Errorf("%s, at the first next: %d fetches of the token over %d connections", scheme, calls, opened)
		}
		r.WeChat = server
		r.wantPhone(scheme, r.newTap())
		if calls, opened := server.Seen(wechattest.TokenPath), w.opened.Load(); calls != 1 || opened != 1 {
			t.Errorf("%s, after a request: %d fetches of the token over %d connections", scheme, calls, opened)
		}
	}
}

// Neither a refusal at start nor silence is held against the first request, and
// the function starts in time.
func TestTokenThatIsNotHadAtStartIsAWarning(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]http.HandlerFunc{"a refusal": wechattest.Refuse(50001, "canary"), "silence": hostile.Silence} {
		server := wechattest.New(stage.AppID, stage.AppSecret, time.Now)
		server.Script(wechattest.TokenPath, fault)
		s := httptest.NewServer(server)
		began := time.Now()
		r := raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = s.URL, []string{verifying} })
		if took := time.Since(began); took > 3500*time.Millisecond {
			t.Errorf("%s: the start took %v", name, took)
		}
		r.WeChat = server
		server.Script(wechattest.TokenPath, nil)
		r.wantPhone("the first request after "+name, r.newTap())
		waitFor(t, "there is a warning", func() bool { return strings.Contains(r.logs.text(), "the access token was not fetched at start") })
		if !strings.Contains(r.logs.text(), `"WARN"`) {
			t.Errorf("%s: no warning: %s", name, r.logs.text())
		}
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	}
}
