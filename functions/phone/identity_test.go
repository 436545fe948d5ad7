package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json/v2"
	"io"
	"math/big"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/identity"
)

// withTokens turns tokens on and sets variables, each as NAME=value.
func withTokens(variables ...string) func(*stage.Config) {
	return func(c *stage.Config) { c.Tokens, c.Env = true, variables }
}

// loginOnly is what a token of a login without a phone number says.
func loginOnly(r *rig.Rig, user wechattest.User, iat, lifetime float64) map[string]any {
	return map[string]any{
		"iss": r.URL, "sub": user.OpenID, "aud": stage.AppID, "client_id": stage.AppID,
		"iat": iat, "exp": iat + lifetime, "auth_time": iat, "scope": "openid",
	}
}

// wantClaims checks a token's claims, and that its times are those of now.
func wantClaims(t *testing.T, name, token string, want map[string]any) {
	t.Helper()
	got := rig.Claims(t, token)
	now := float64(time.Now().Unix())
	for _, claim := range []string{"iat", "auth_time"} {
		if at, _ := got[claim].(float64); at > now || at < now-5 {
			t.Errorf("%s: got %s %v, want now, %v", name, claim, got[claim], now)
		}
		got[claim] = want[claim]
	}
	got["exp"] = want["exp"]
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got the claims %v, want %v", name, got, want)
	}
}

func TestTokenSaysWhatWeChatVouchedFor(t *testing.T) {
	t.Parallel()
	verifying := rig.Raise(t, withTokens("VERIFY_ENCRYPTED_DATA=on", "TOKEN_LIFETIME=1h"))
	trusting := rig.Raise(t, withTokens())
	for _, tt := range []struct {
		name  string
		r     *rig.Rig
		post  func(*rig.Rig, wechattest.User) rig.Answer
		phone bool
	}{
		{"a phone code", trusting, func(r *rig.Rig, u wechattest.User) rig.Answer { return r.PostPhone(r.TapBoth(u)) }, true},
		{"verified data", verifying, func(r *rig.Rig, u wechattest.User) rig.Answer { return r.Post(r.Tap(u)) }, true},
		{"data that is not verified", trusting, func(r *rig.Rig, u wechattest.User) rig.Answer { return r.Post(r.Tap(u)) },
			false},
		{"a login", trusting, func(r *rig.Rig, u wechattest.User) rig.Answer { return r.PostLogin(r.Login(u), "") }, false},
	} {
		user := rig.NewUser()
		lifetime := 900
		if tt.r == verifying {
			lifetime = 3600
		}
		got := tt.post(tt.r, user)
		if got.Status != 200 || got.Token == "" || got.ExpiresIn != lifetime {
			t.Fatalf("%s: got %d, expiresIn %d, want a token for %d s", tt.name, got.Status, got.ExpiresIn, lifetime)
		}
		claims := rig.Claims(t, got.Token)
		iat := claims["iat"].(float64)
		want := loginOnly(tt.r, user, iat, float64(lifetime))
		if tt.phone {
			want["scope"], want["phone_number"], want["phone_number_verified"] = "openid phone", "+86"+user.Phone, true
			want["phone_number_verified_at"] = claims["phone_number_verified_at"]
			if at, _ := claims["phone_number_verified_at"].(float64); at > iat || at < iat-5 {
				t.Errorf("%s: got phone_number_verified_at %v, want the time of the tap, %v", tt.name, at, iat)
			}
		}
		if claims["exp"] != want["exp"] {
			t.Errorf("%s: got exp %v, want %v", tt.name, claims["exp"], want["exp"])
		}
		wantClaims(t, tt.name, got.Token, want)
	}
}

// The watermark of a phone code's answer may have any time: the tap has been paid for.
func TestVerificationTimeIsTheWatermarksButNeverLaterThanNow(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens())
	now := time.Now()
	for timestamp, want := range map[any]time.Time{
		now.Add(-time.Hour).Unix():  now.Add(-time.Hour),
		now.Add(time.Minute).Unix(): now,
		now.UnixMilli():             now,
		0:                           now,
		-1:                          now,
		1.5:                         now,
		"1700000000":                now,
		nil:                         now,
		true:                        now,
	} {
		user := rig.NewUser()
		tap := r.TapBoth(user)
		body, _ := json.Marshal(map[string]any{"errcode": 0, "phone_info": map[string]any{
			"phoneNumber": user.Phone, "purePhoneNumber": user.Phone, "countryCode": "86",
			"watermark": map[string]any{"appid": stage.AppID, "timestamp": timestamp},
		}})
		r.WeChat.Script(tap.PhoneCode, wechattest.Answer(string(body)))
		got := r.PostPhone(tap)
		if got.Token == "" {
			t.Errorf("timestamp %v: got %d %s, want a token", timestamp, got.Status, got.Error)
			continue
		}
		at, _ := rig.Claims(t, got.Token)["phone_number_verified_at"].(float64)
		if off := int64(at) - want.Unix(); off < 0 || off > 5 {
			t.Errorf("timestamp %v: got a verification %d s after %v, want at it", timestamp, off, want)
		}
	}
}

func TestNumberThatIsNotCertainIsInNoToken(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens())
	user := rig.NewUser()
	tap := r.TapBoth(user)
	r.WeChat.Script(tap.PhoneCode, wechattest.Answer(`{"phone_info":{"phoneNumber":"13599991111",`+
		`"purePhoneNumber":"13599992222","countryCode":"86","watermark":{"appid":"`+stage.AppID+`"}}}`))
	got := r.Send("POST", "/phone", "", hostile.JSON(tap))
	if got.Status != 200 || got.E164 != "" {
		t.Fatalf("got %d %s, want a number that is not certain", got.Status, got.Error)
	}
	wantClaims(t, "fields that disagree", got.Token, loginOnly(r, user, 0, 0))
}

// A phone code alone gives no openid, so there is no token, and no key is needed.
func TestRequestWithoutATokenNeedsNoKey(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens("SIGNING_SECRET_ID=missing"))
	got := r.PostPhone(r.TapPhone(rig.NewUser()))
	if got.Status != 200 || got.Token != "" || strings.Contains(got.Body, "expiresIn") {
		t.Errorf("got %d %s, want a number and no token", got.Status, got.Body)
	}
}

func TestTokenHasUnionIDIfWeChatSendsOne(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens())
	user := rig.NewUser()
	user.UnionID = "u-" + user.OpenID
	got := r.PostLogin(r.Login(user), "")
	want := loginOnly(r, user, 0, 0)
	want["unionid"] = user.UnionID
	wantClaims(t, "with unionid", got.Token, want)
}

// publishedKeys fetches the key set and returns its keys by kid.
func publishedKeys(t *testing.T, r *rig.Rig) map[string]*rsa.PublicKey {
	t.Helper()
	got := r.Send("GET", "/.well-known/jwks.json", "", "")
	var set struct {
		Keys []struct{ Kty, Use, Alg, Kid, N, E string }
	}
	err := json.Unmarshal([]byte(got.Body), &set, json.MatchCaseInsensitiveNames(true))
	if got.Status != 200 || err != nil {
		t.Fatalf("got %d, error %v, want a key set", got.Status, err)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, key := range set.Keys {
		n, _ := base64.RawURLEncoding.DecodeString(key.N)
		if key.Kty != "RSA" || key.Use != "sig" || key.Alg != "RS256" || key.E != "AQAB" {
			t.Errorf("got the key %+v, want one for RS256", key)
		}
		keys[key.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	}
	return keys
}

func TestPublishedKeyVerifiesTheToken(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens())
	keys := publishedKeys(t, r)
	if len(keys) != 2 {
		t.Errorf("got %d keys, want the signing key and the next", len(keys))
	}
	token := r.PostLogin(r.Login(rig.NewUser()), "").Token
	parts := strings.Split(token, ".")
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	var h struct{ Alg, Kid, Typ string }
	if err := json.Unmarshal(header, &h, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	if string(header) != `{"alg":"RS256","kid":"`+h.Kid+`","typ":"JWT"}` {
		t.Errorf("got the header %s, want alg, kid and typ", header)
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if keys[h.Kid] == nil || rsa.VerifyPKCS1v15(keys[h.Kid], crypto.SHA256, digest[:], signature) != nil {
		t.Error("the key with the token's kid does not verify the signature")
	}
}

func TestDocumentsMayBeCached(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens())
	reads := r.Secrets.Calls()
	for path, part := range map[string]string{
		"/.well-known/openid-configuration": `"jwks_uri":"` + r.URL + `/.well-known/jwks.json"`,
		"/.well-known/jwks.json":            `{"keys":[{"kty":"RSA"`,
	} {
		got := r.Send("GET", path, "", "")
		if got.Status != 200 || !strings.Contains(got.Body, part) {
			t.Errorf("%s: got %d %s, want %s", path, got.Status, got.Body, part)
		}
		for name, want := range map[string]string{
			"content-type": "application/json", "cache-control": "public, max-age=300", "x-content-type-options": "nosniff",
		} {
			if value := got.Header.Get(name); value != want {
				t.Errorf("%s: got %s %q, want %q", path, name, value, want)
			}
		}
		if !rig.IsRequestID(got.Header.Get("x-request-id")) {
			t.Errorf("%s: got x-request-id %q, want one", path, got.Header.Get("x-request-id"))
		}
		for _, method := range []string{"POST", "DELETE", "PUT"} {
			got := r.Send(method, path, "", "")
			if got.Status != 405 || got.Header.Get("allow") != "GET" || got.Header.Get("cache-control") != "no-store" {
				t.Errorf("%s %s: got %d, allow %q, cache-control %q, want 405, GET, no-store", method, path,
					got.Status, got.Header.Get("allow"), got.Header.Get("cache-control"))
			}
		}
	}
	wantReads(t, r, "the documents", reads)
	var routes []string
	rig.WaitFor(t, "every request has a log line", func() bool { return len(r.Logs.Requests()) == 8 })
	for _, line := range r.Logs.Requests() {
		routes = append(routes, line.Route)
	}
	slices.Sort(routes)
	if routes = slices.Compact(routes); !slices.Equal(routes, []string{"discovery", "jwks"}) {
		t.Errorf("got the routes %v in the log, want discovery and jwks", routes)
	}
}

func TestWithoutAnIssuerThereAreNoTokens(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env("TOKEN_LIFETIME=1h", "TOKEN_RENEWAL=1h", "SIGNING_SECRET_ID=missing"))
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/jwks.json"} {
		r.WantFailure(path, r.Send("GET", path, "", ""), "not_found", 404, "fix")
		r.WantFailure(path, r.Send("POST", path, "", ""), "not_found", 404, "fix")
	}
	user := rig.NewUser()
	for _, token := range []string{"", "canary"} {
		got := r.PostLogin(r.Login(user), token)
		if want := `{"openid":"` + user.OpenID + `"}`; got.Status != 200 || got.Body != want {
			t.Errorf("got %d %s, want %s", got.Status, got.Body, want)
		}
	}
	if got := r.PostPhone(r.TapBoth(user)); got.Status != 200 || got.Token != "" {
		t.Errorf("got %d, a token %v, want a number and no token", got.Status, got.Token != "")
	}
}

func TestLoginTakesNoTap(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens())
	reads := r.Secrets.Calls()
	user := rig.NewUser()
	for name, body := range map[string]string{
		"phoneCode":     hostile.JSON(r.TapBoth(user)),
		"encryptedData": `{"code":"canary-code-0","encryptedData":"AAAA"}`,
		"iv":            `{"code":"canary-code-0","iv":""}`,
		"code":          `{"token":"a.b.c"}`,
	} {
		got := r.Send("POST", "/login", "application/json", body)
		r.WantFailure(name, got, "invalid_request", 400, "fix")
		if wantSend := name != "code"; !strings.Contains(got.Message, name) ||
			wantSend != strings.Contains(got.Message, "send it to /phone") {
			t.Errorf("%s: got the message %q, want one that names the field, and where it belongs", name, got.Message)
		}
	}
	wantReads(t, r, "refused logins", reads)
	r.WantFailure("GET", r.Send("GET", "/login", "", ""), "method_not_allowed", 405, "fix")
	form := r.Send("POST", "/login", "application/x-www-form-urlencoded", "code="+r.Login(user)+"&token=x")
	if form.Status != 200 || form.Reason != "invalid" || form.Token == "" {
		t.Errorf("a form: got %d %s, reason %q, want a token and invalid", form.Status, form.Error, form.Reason)
	}
}

// Only the login code decides whether a login succeeds.
func TestTokenNeverFailsTheLogin(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens())
	for _, value := range []string{
		`""`, `"a.b.c"`, `null`, `5`, `true`, `{}`, `["a"]`, `{"a":{"b":[1,"c"]}}`, `"\u0000"`, `"手机"`,
		`"` + strings.Repeat("a", 4097) + `"`, `"` + strings.Repeat("eyJh.", 900) + `"`,
	} {
		code := r.Login(rig.NewUser())
		got := r.Send("POST", "/login", "", `{"code":"`+code+`","token":`+value+`}`)
		wantRenewed(t, "token "+value[:min(len(value), 20)], got, "invalid")
	}
	got := r.Send("POST", "/login", "", `{"code":"`+r.Login(rig.NewUser())+`","token":"a","token":"b"}`)
	r.WantFailure("two tokens", got, "invalid_request", 400, "fix")
	// /phone does not know the field.
	tap := strings.Replace(hostile.JSON(r.TapBoth(rig.NewUser())), "{", `{"token":5,`, 1)
	if got := r.Send("POST", "/phone", "", tap); got.Status != 200 || got.Renewed != nil {
		t.Errorf("a token to /phone: got %d %s, want it ignored", got.Status, got.Error)
	}
}

func TestRenewalPassesTheNumberOn(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens())
	user := rig.NewUser()
	first := r.PostPhone(r.TapBoth(user))
	verified := rig.Claims(t, first.Token)["phone_number_verified_at"]
	time.Sleep(1100 * time.Millisecond) // until iat is another second
	token := first.Token
	for range 20 {
		got := r.PostLogin(r.Login(user), token)
		if got.Renewed == nil || !*got.Renewed || got.E164 != first.E164 || got.Reason != "" {
			t.Fatalf("got %d, reason %q, want the number again", got.Status, got.Reason)
		}
		claims := rig.Claims(t, got.Token)
		want := loginOnly(r, user, claims["iat"].(float64), 900)
		want["scope"], want["phone_number"], want["phone_number_verified"] = "openid phone", first.E164, true
		want["phone_number_verified_at"] = verified
		wantClaims(t, "a renewed token", got.Token, want)
		if claims["iat"] == verified {
			t.Error("got the verification's time as iat, want a later one")
		}
		token = got.Token
	}
}

func TestRenewalIsRefusedWithAReason(t *testing.T) {
	t.Parallel()
	several := func(variables ...string) *rig.Rig {
		return rig.Raise(t, func(c *stage.Config) { c.Several, c.Tokens, c.Env = true, true, variables })
	}
	r, off, other := several(), several("TOKEN_RENEWAL=0"), several()
	user := rig.NewUser()
	user.AppID = stage.AppID
	post := func(to *rig.Rig, user wechattest.User, token string) rig.Answer {
		body := `{"code":"` + to.Login(user) + `","appid":"` + user.AppID + `","token":"` + token + `"}`
		return to.Send("POST", "/login", "", body)
	}
	tap := func(to *rig.Rig) string {
		to.WeChat.AddApp(stage.AppID, stage.AppSecret)
		return to.PostPhone(to.TapBoth(user)).Token
	}
	good := tap(r)
	parts := strings.Split(good, ".")
	elsewhere := user
	elsewhere.AppID = stage.SecondAppID
	someone := rig.NewUser()
	someone.AppID = stage.AppID
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
	for _, tt := range []struct {
		name  string
		to    *rig.Rig
		user  wechattest.User
		token string
		want  string
	}{
		{"its own", r, user, good, ""},
		{"another user's", r, someone, good, "foreign"},
		{"the same openid in another mini-program", r, elsewhere, good, "foreign"},
		{"unsigned", r, user, unsigned, "invalid"},
		{"unsigned, with its header", r, user, parts[0] + "." + parts[1] + ".", "invalid"},
		{"cut", r, user, good[:len(good)-1], "invalid"},
		{"longer", r, user, good + "A", "invalid"},
		{"padded", r, user, good + "==", "invalid"},
		{"with a space", r, user, good + " ", "invalid"},
		{"another stack's", other, user, good, "invalid"},
		{"without a number", r, user, post(r, user, "").Token, "no_phone"},
		{"renewal off", off, user, tap(off), "expired"},
	} {
		wantRenewed(t, tt.name, post(tt.to, tt.user, tt.token), tt.want)
	}
}

// wantRenewed checks an answer of /login to a request with a token. If reason is not
// empty, it wants a token without a number.
func wantRenewed(t *testing.T, name string, got rig.Answer, reason string) {
	t.Helper()
	renewed := reason == ""
	if got.Status != 200 || got.Token == "" || got.Renewed == nil || *got.Renewed != renewed || got.Reason != reason {
		t.Errorf("%s: got %d %s, reason %q, want a token and %q", name, got.Status, got.Error, got.Reason, reason)
		return
	}
	_, inToken := rig.Claims(t, got.Token)["phone_number"]
	if inToken != renewed || (got.E164 != "") != renewed {
		t.Errorf("%s: got a number in the token: %v, in the answer: %v, want %v", name, inToken, got.E164 != "", renewed)
	}
}

// signingList returns a list of keys that make key wrote some time ago.
func signingList(t *testing.T) string {
	t.Helper()
	change, err := identity.New(time.Now().Add(-48 * time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return change.List.Reveal()
}

func TestRotationCostsNoUserATap(t *testing.T) {
	t.Parallel()
	user := rig.NewUser()
	list := signingList(t)
	raise := func(list string) *rig.Rig {
		next := rig.Raise(t, withTokens("TOKEN_ISSUER=https://api.example.com", "SIGNING_SECRET_ID=keys"))
		next.Secrets.Put("keys", list) // before the first request
		return next
	}
	before := raise(list)
	token := before.PostPhone(before.TapBoth(user)).Token
	rotated, err := identity.Rotate(list, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := identity.ParseKeys(list)
	revoked, err := identity.Revoke(list, keys.All()[0].ID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ list, reason string }{
		"after a rotation":   {rotated.List.Reveal(), ""},
		"after a revocation": {revoked.List.Reveal(), "invalid"},
	} {
		after := raise(tt.list)
		if got := after.PostLogin(after.Login(user), token); got.Status != 200 || got.Reason != tt.reason {
			t.Errorf("%s: got %d, reason %q, want %q", name, got.Status, got.Reason, tt.reason)
		}
	}
}

// unusable are signing secrets that cannot be used until somebody acts.
func unusable(t *testing.T) map[string]string {
	t.Helper()
	good := signingList(t)
	var list []map[string]any
	if err := json.Unmarshal([]byte(good), &list); err != nil {
		t.Fatal(err)
	}
	edit := func(change func(signing map[string]any)) string {
		signing := map[string]any{}
		for name, value := range list[0] {
			signing[name] = value
		}
		change(signing)
		text, _ := json.Marshal([]any{signing})
		return string(text)
	}
	return map[string]string{
		"empty":             "[]",
		"malformed":         "canary",
		"no key that signs": edit(func(key map[string]any) { delete(key, "signsFrom") }),
		"misnamed":          edit(func(key map[string]any) { key["kid"] = list[1]["kid"] }),
		"damaged":           edit(func(key map[string]any) { key["privateKey"] = "AAAA" }),
		"small":             smallKeyList(t),
		"unable to sign":    hostile.KeyThatCannotSign(time.Now()),
	}
}

// smallKeyList returns a list with a key of too few bits.
func smallKeyList(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1536)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC()
	text, _ := json.Marshal([]map[string]any{{"kid": "a", "created": at, "signsFrom": at, "privateKey": der}})
	return string(text)
}

func TestUnusableKeysAreMisconfiguredAndSpendNoCode(t *testing.T) {
	t.Parallel()
	for name, text := range unusable(t) {
		r := rig.Raise(t, withTokens("SIGNING_SECRET_ID=keys"))
		r.Secrets.Put("keys", text)
		wantKeyFailure(t, r, name, hostile.Want{Error: "misconfigured", Status: 500, Action: "none"})
		r.Secrets.Put("keys", signingList(t))
		time.Sleep(time.Second) // a failure is remembered for a second
		if got := r.PostPhone(r.TapBoth(rig.NewUser())); got.Status != 200 || got.Token == "" {
			t.Errorf("%s: got %d %s once the keys are usable, want a token", name, got.Status, got.Error)
		}
	}
	r := rig.Raise(t, withTokens("SIGNING_SECRET_ID=missing"))
	wantKeyFailure(t, r, "missing", hostile.Want{Error: "misconfigured", Status: 500, Action: "none"})
}

func TestUnreadableKeysAreUnavailableAndSpendNoCode(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens("SIGNING_SECRET_ID=keys"))
	failing := func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		if bytes.Contains(body, []byte(`"keys"`)) {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
		healthySecrets{r}.ServeHTTP(w, q)
	}
	r.Secrets.Fail(failing)
	wantKeyFailure(t, r, "Secrets Manager fails", hostile.Want{Error: "unavailable", Status: 503, Action: "retry"})
	r.Secrets.Put("keys", signingList(t))
	r.Secrets.Fail(nil)
	time.Sleep(time.Second)
	if got := r.PostLogin(r.Login(rig.NewUser()), ""); got.Status != 200 || got.Token == "" {
		t.Errorf("got %d %s once it answers, want a token", got.Status, got.Error)
	}
}

// wantKeyFailure checks that every request that needs a key fails as want says, without
// spending a code, and that no other request fails.
func wantKeyFailure(t *testing.T, r *rig.Rig, name string, want hostile.Want) {
	t.Helper()
	sealed, both := r.NewTap(), r.TapBoth(rig.NewUser())
	code := r.Login(rig.NewUser())
	for shape, got := range map[string]rig.Answer{
		"sealed data": r.Post(sealed), "both codes": r.PostPhone(both), "a login": r.PostLogin(code, ""),
		"the key set": r.Send("GET", "/.well-known/jwks.json", "", ""),
	} {
		r.Want(name+", "+shape, got, want)
		if line := r.Logs.Request(t, got); !strings.HasPrefix(line.Reason, "signing secret: ") {
			t.Errorf("%s, %s: got the reason %q, want one about the signing secret", name, shape, line.Reason)
		}
	}
	for _, code := range []string{sealed.Code, both.Code, both.PhoneCode, code} {
		wantSeen(t, r, name, code, 0)
	}
	if got := r.PostPhone(r.TapPhone(rig.NewUser())); got.Status != 200 {
		t.Errorf("%s, a phone code alone: got %d %s, want 200", name, got.Status, got.Error)
	}
	if got := r.Send("GET", "/.well-known/openid-configuration", "", ""); got.Status != 200 {
		t.Errorf("%s, discovery: got %d, want 200, because it needs no key", name, got.Status)
	}
}
