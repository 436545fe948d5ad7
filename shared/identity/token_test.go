package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"wechat-phone/shared/redacted"
)

// parts returns a token's header and payload.
func parts(tb testing.TB, token Token) (header, payload string) {
	tb.Helper()
	fields := strings.Split(token.Reveal(), ".")
	if len(fields) != 3 {
		tb.Fatalf("got %d parts, want 3", len(fields))
	}
	first, ok1 := decode(fields[0])
	second, ok2 := decode(fields[1])
	if !ok1 || !ok2 {
		tb.Fatal("a part is not base64url")
	}
	return string(first), string(second)
}

// golden is what the key of RFC 7515 makes of claims. Python computed it from the RFC's
// n and d, without a library.
//
//go:embed testdata/golden.jwt
var golden string

func TestSignMakesTheSameBytes(t *testing.T) {
	got := fixedKeys(t).Sign(claims).Reveal() + "\n"
	for i := range min(len(got), len(golden)) {
		if got[i] != golden[i] {
			t.Fatalf("got %q at character %d, want %q as in testdata/golden.jwt", got[i], i, golden[i])
		}
	}
	if len(got) != len(golden) {
		t.Errorf("got %d characters, want the %d of testdata/golden.jwt", len(got), len(golden))
	}
}

func TestSign(t *testing.T) {
	keys := fixedKeys(t)
	const start = `{"iss":"https://api.example.com/shop","sub":"oGZUI0egBJY1zhBYw2KhdUfwVJJE",` +
		`"aud":"wx0123456789abcdef","client_id":"wx0123456789abcdef",`
	const times = `"iat":1772366400,"exp":1772367300,"auth_time":1772366399,`
	const phone = `,"phone_number":"+8613580006666","phone_number_verified":true,"phone_number_verified_at":1772366398}`
	for _, tt := range []struct {
		name   string
		claims Claims
		want   string
	}{
		{"everything", claims, start + times + `"scope":"openid phone","unionid":"oCanary-union-id"` + phone},
		{"no phone", without(claims), start + times + `"scope":"openid","unionid":"oCanary-union-id"}`},
		{"no unionid", edited(claims, func(c *Claims) { c.UnionID = redacted.Value{} }),
			start + times + `"scope":"openid phone"` + phone},
		{"a time of verification without a number", edited(claims, func(c *Claims) { c.Phone.Number = redacted.New("") }),
			start + times + `"scope":"openid","unionid":"oCanary-union-id"}`},
		{"fractions of seconds", edited(claims, func(c *Claims) {
			c.IssuedAt, c.AuthTime = c.IssuedAt.Add(999999999), c.AuthTime.Add(999999999)
			c.Phone.VerifiedAt, c.Lifetime = c.Phone.VerifiedAt.Add(999999999), c.Lifetime+999999999
		}), start + times + `"scope":"openid phone","unionid":"oCanary-union-id"` + phone},
		{"another time zone", edited(claims, func(c *Claims) { c.IssuedAt = c.IssuedAt.In(time.FixedZone("CST", 8*3600)) }),
			start + times + `"scope":"openid phone","unionid":"oCanary-union-id"` + phone},
	} {
		header, payload := parts(t, keys.Sign(tt.claims))
		if want := `{"alg":"RS256","kid":"` + keys.All()[0].ID + `","typ":"JWT"}`; header != want {
			t.Errorf("%s: got the header %s, want %s", tt.name, header, want)
		}
		if payload != tt.want {
			t.Errorf("%s: got  %s\nwant %s", tt.name, payload, tt.want)
		}
	}
}

func TestSignCannotFail(t *testing.T) {
	keys := fixedKeys(t)
	odd := claims
	odd.OpenID, odd.UnionID = redacted.New("o\xff\"\\\x00<&>手机"), redacted.New("\xc3\x28")
	odd.IssuedAt, odd.AuthTime, odd.Lifetime = time.Time{}, time.Unix(1<<62, 0), -1<<63
	for _, c := range []Claims{{}, odd} {
		parts(t, keys.Sign(c))
	}
}

func TestTokensAreShort(t *testing.T) {
	long := claims
	long.Issuer = "https://" + strings.Repeat("a", 56) // what the template permits
	long.UnionID = openID
	for _, c := range []Claims{without(claims), long} {
		if n := len(fixedKeys(t).Sign(c).Reveal()); n < 600 || n > 1000 {
			t.Errorf("got %d characters, want 600 to 1000", n)
		}
	}
}

// checkCase is a token of claims, and what a user who presents it is told.
type checkCase struct {
	name   string
	claims Claims
	expect func(*Expect)
	want   Reason
}

func edited(c Claims, edit func(*Claims)) Claims { edit(&c); return c }

func ahead(d time.Duration) time.Time { return now.Add(maxAhead + d) }

var other = redacted.New("oAnother")

func TestCheck(t *testing.T) {
	runCheck(t, []checkCase{
		{"good", claims, nil, ""},
		{"long expired", edited(claims, func(c *Claims) { c.Lifetime = -300 * day }), nil, ""},
		{"verified just less than 30 days ago", claims,
			func(e *Expect) { e.Now = claims.Phone.VerifiedAt.Add(30*day - 1) }, ""},
		{"verified 30 days ago", claims,
			func(e *Expect) { e.Now = claims.Phone.VerifiedAt.Add(30 * day) }, Expired},
		{"issued late, but verified 30 days ago", edited(claims, func(c *Claims) {
			c.Phone.VerifiedAt = now.Add(-30 * day)
		}), nil, Expired},
		{"renewal is off", claims, func(e *Expect) { e.Renewal = 0 }, Expired},
		{"renewal is off, verified ahead", edited(claims, func(c *Claims) { c.Phone.VerifiedAt = ahead(0) }),
			func(e *Expect) { e.Renewal = 0 }, Expired},
		{"verified never", edited(claims, func(c *Claims) { c.Phone.VerifiedAt = time.Time{} }), nil, Invalid},
		{"no phone", without(claims), nil, NoPhone},
		{"another user", claims, func(e *Expect) { e.OpenID = other }, Foreign},
		{"no user", edited(claims, func(c *Claims) { c.OpenID = redacted.Value{} }), nil, Invalid},
		{"another mini-program", claims, func(e *Expect) { e.AppID = "wxfedcba9876543210" }, Foreign},
		{"another issuer", claims, func(e *Expect) { e.Issuer += "/" }, Invalid},
		{"iat two minutes ahead", edited(claims, func(c *Claims) { c.IssuedAt = ahead(0) }), nil, ""},
		{"iat further ahead", edited(claims, func(c *Claims) { c.IssuedAt = ahead(time.Second) }), nil, Invalid},
		{"auth_time two minutes ahead", edited(claims, func(c *Claims) { c.AuthTime = ahead(0) }), nil, ""},
		{"auth_time further ahead", edited(claims, func(c *Claims) { c.AuthTime = ahead(time.Second) }), nil, Invalid},
		{"verified two minutes ahead", edited(claims, func(c *Claims) { c.Phone.VerifiedAt = ahead(0) }), nil, ""},
		{"verified further ahead", edited(claims, func(c *Claims) { c.Phone.VerifiedAt = ahead(time.Second) }), nil, Invalid},
		{"a clock that is a moment less than two minutes behind", edited(claims, func(c *Claims) { c.IssuedAt = ahead(0) }),
			func(e *Expect) { e.Now = e.Now.Add(time.Second - 1) }, ""},
		{"a clock that jumped back", claims, func(e *Expect) { e.Now = now.Add(-maxAhead - 1) }, Invalid},
	})
}

// Each token has its own fault and all later ones.
func TestCheckGivesTheFirstReason(t *testing.T) {
	runCheck(t, []checkCase{
		{"invalid first", edited(without(claims), func(c *Claims) { c.IssuedAt = ahead(time.Minute) }),
			func(e *Expect) { e.OpenID, e.Renewal = other, 0 }, Invalid},
		{"then foreign", without(claims), func(e *Expect) { e.OpenID, e.Renewal = other, 0 }, Foreign},
		{"then no_phone", without(claims), func(e *Expect) { e.Renewal = 0 }, NoPhone},
	})
}

func runCheck(t *testing.T, cases []checkCase) {
	t.Helper()
	keys := fixedKeys(t)
	for _, tt := range cases {
		e := expect
		if tt.expect != nil {
			tt.expect(&e)
		}
		phone, reason := keys.Check(keys.Sign(tt.claims).Reveal(), e)
		if reason != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, reason, tt.want)
		}
		if (phone != Phone{}) != (tt.want == "") {
			t.Errorf("%s: got a phone %v, want one %v", tt.name, phone != Phone{}, tt.want == "")
		}
	}
}

func TestCheckReturnsThePhone(t *testing.T) {
	keys, c := fixedKeys(t), claims
	c.Phone.VerifiedAt = c.Phone.VerifiedAt.Add(999 * time.Millisecond)
	got, reason := keys.Check(keys.Sign(c).Reveal(), expect)
	if reason != "" || !got.Number.Equal(e164) || got.VerifiedAt != claims.Phone.VerifiedAt {
		t.Errorf("got the number %v, %v, %q, want it true and %v", got.Number.Equal(e164), got.VerifiedAt, reason,
			claims.Phone.VerifiedAt)
	}
}

func TestRenewalsNeverMoveTheVerification(t *testing.T) {
	keys, c, e := fixedKeys(t), claims, expect
	for i := range 1000 {
		phone, reason := keys.Check(keys.Sign(c).Reveal(), e)
		if i == 999 {
			if reason != Expired {
				t.Errorf("after 30 days: got %q, want expired", reason)
			}
			break
		}
		if reason != "" || phone.VerifiedAt != claims.Phone.VerifiedAt {
			t.Fatalf("renewal %d: got %v, %q, want %v", i, phone.VerifiedAt, reason, claims.Phone.VerifiedAt)
		}
		e.Now = now.Add(time.Duration(i+1) * 30 * day / 999)
		c.Phone, c.IssuedAt, c.AuthTime = phone, e.Now, e.Now
	}
}

// Each bit of the token's text, and each bit of what the text stands for.
func TestCheckRefusesEachChangedBit(t *testing.T) {
	keys := fixedKeys(t)
	token := keys.Sign(claims).Reveal()
	refuse := func(what string, at int, changed string) {
		if _, reason := keys.Check(changed, expect); reason != Invalid {
			t.Errorf("%s, bit %d: got %q, want invalid", what, at, reason)
		}
	}
	for i := range len(token) * 8 {
		raw := []byte(token)
		raw[i/8] ^= 1 << (i % 8)
		refuse("text", i, string(raw))
	}
	for part, name := range []string{"header", "payload", "signature"} {
		fields := strings.Split(token, ".")
		raw, _ := decode(fields[part])
		for i := range len(raw) * 8 {
			raw[i/8] ^= 1 << (i % 8)
			fields[part] = base64url.EncodeToString(raw)
			refuse(name, i, strings.Join(fields, "."))
			raw[i/8] ^= 1 << (i % 8)
		}
	}
}

func TestCheckRefusesOtherSpellings(t *testing.T) {
	keys := fixedKeys(t)
	token := keys.Sign(claims).Reveal()
	fields := strings.Split(token, ".")
	join := func(header, payload, signature string) string { return header + "." + payload + "." + signature }
	spaced := base64url.EncodeToString([]byte(`{"alg": "RS256","kid":"` + keys.All()[0].ID + `","typ":"JWT"}`))
	spellings := map[string]string{
		"empty":                      "",
		"a dot":                      ".",
		"two dots":                   "..",
		"the header":                 fields[0],
		"the header and a dot":       fields[0] + ".",
		"no signature":               fields[0] + "." + fields[1],
		"an empty signature":         join(fields[0], fields[1], ""),
		"an empty payload":           join(fields[0], "", fields[2]),
		"an empty header":            join("", fields[1], fields[2]),
		"a fourth part":              token + ".",
		"a cut signature":            token[:len(token)-1],
		"a long signature":           token + "A",
		"two signatures":             token + fields[2],
		"a line break at the end":    token + "\n",
		"a line break in it":         token[:len(token)-9] + "\r\n" + token[len(token)-9:],
		"a line break in a payload":  join(fields[0], fields[1][:9]+"\n"+fields[1][9:], fields[2]),
		"a space before it":          " " + token,
		"Bearer before it":           "Bearer " + token,
		"padding":                    token + "==",
		"the standard alphabet":      join(fields[0], fields[1], strings.NewReplacer("-", "+", "_", "/").Replace(fields[2])),
		"another header, same words": join(spaced, fields[1], fields[2]),
		"over 4096 characters":       token + strings.Repeat("A", 4097-len(token)),
	}
	for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		if changed := token[:len(token)-1] + string(last); changed != token {
			spellings["the last character "+string(last)] = changed
		}
	}
	for name, spelling := range spellings {
		if spelling == token {
			t.Fatalf("%s: the token is unchanged", name)
		}
		if _, reason := keys.Check(spelling, expect); reason != Invalid {
			t.Errorf("%s: got %q, want invalid", name, reason)
		}
	}
}

func TestCheckReadsUpTo4096Characters(t *testing.T) {
	keys, c, e := fixedKeys(t), claims, expect
	sizes := map[int]bool{}
	for n := range 12 {
		c.OpenID = redacted.New(strings.Repeat("o", 2416+n))
		e.OpenID = c.OpenID
		token := keys.Sign(c).Reveal()
		want := Reason("")
		if len(token) > 4096 {
			want = Invalid
		}
		if _, reason := keys.Check(token, e); reason != want {
			t.Errorf("%d characters: got %q, want %q", len(token), reason, want)
		}
		sizes[len(token)] = true
	}
	if !sizes[4096] || !sizes[4097] && !sizes[4098] { // base64 skips one size in four
		t.Errorf("got the sizes %v, want 4096 and the next above among them", sizes)
	}
}

// forge puts a header before a payload and signs both.
func forge(header, payload string, sign signer) string {
	text := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString([]byte(payload))
	return text + "." + base64url.EncodeToString(sign([]byte(text)))
}

func TestCheckRefusesForgeries(t *testing.T) {
	private := rfc7515Key(t)
	keys, stranger := fixedKeys(t), mustParse(t, listText(t, signingEntry(t, pool()[0])))
	header, payload := parts(t, keys.Sign(claims))
	kid, other := keys.All()[0].ID, stranger.All()[0].ID
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(secret []byte) signer {
		return func(text []byte) []byte {
			mac := hmac.New(sha256.New, secret)
			mac.Write(text)
			return mac.Sum(nil)
		}
	}
	none := func([]byte) []byte { return nil }
	swap := func(from, to string) string { return strings.Replace(header, from, to, 1) }
	for name, token := range map[string]string{
		"alg none":                          forge(swap("RS256", "none"), payload, none),
		"alg None, with our signature":      forge(swap("RS256", "None"), payload, keys.sign),
		"our header without a signature":    forge(header, payload, none),
		"HS256 with the public key as PEM":  forge(swap("RS256", "HS256"), payload, hs256(pemOf(der))),
		"HS256 with the public key as DER":  forge(swap("RS256", "HS256"), payload, hs256(der)),
		"our header, HS256":                 forge(header, payload, hs256(pemOf(der))),
		"RS512 in the header":               forge(swap("RS256", "RS512"), payload, keys.sign),
		"another key, its own kid":          forge(swap(kid, other), payload, stranger.sign),
		"another key, our kid":              forge(header, payload, stranger.sign),
		"our key, another kid":              forge(swap(kid, other), payload, keys.sign),
		"our key, no kid":                   forge(`{"alg":"RS256","typ":"JWT"}`, payload, keys.sign),
		"our key, another name besides":     forge(swap("{", `{"x":1,`), payload, keys.sign),
		"a JWK in the header":               forge(swap("{", `{"jwk":{"kty":"RSA"},`), payload, stranger.sign),
		"another stack's token":             stranger.Sign(claims).Reveal(),
		"another payload, an old signature": graft(keys.Sign(without(claims)).Reveal(), keys.Sign(claims).Reveal()),
	} {
		if _, reason := keys.Check(token, expect); reason != Invalid {
			t.Errorf("%s: got %q, want invalid", name, reason)
		}
	}
}

func pemOf(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}) }

// graft puts a's signature after b's header and payload.
func graft(a, b string) string {
	return b[:strings.LastIndexByte(b, '.')] + a[strings.LastIndexByte(a, '.'):]
}

// Only somebody with our key can sign these.
func TestCheckReadsClaimsStrictly(t *testing.T) {
	keys := fixedKeys(t)
	header, payload := parts(t, keys.Sign(claims))
	swap := func(from, to string) string { return strings.Replace(payload, from, to, 1) }
	for _, tt := range []struct {
		name, payload string
		want          Reason
	}{
		{"an unknown claim", swap("{", `{"new":[1],`), ""},
		{"an empty payload", "", Invalid},
		{"null", "null", Invalid},
		{"no claims", "{}", Invalid},
		{"text after it", payload + "x", Invalid},
		{"a claim twice", swap("{", `{"iss":"`+issuer+`",`), Invalid},
		{"a claim in another case", swap(`"sub"`, `"Sub"`), Invalid},
		{"a number as a string", swap(`1772366400`, `"1772366400"`), Invalid},
		{"a number with a fraction", swap(`1772366400`, `1772366400.0`), Invalid},
		{"a number with an exponent", swap(`1772366400`, `1e9`), Invalid},
		{"a number over 64 bits", swap(`1772366400`, `18446744073709551617`), Invalid},
		{"an audience list", swap(`"aud":"wx0123456789abcdef"`, `"aud":["wx0123456789abcdef"]`), Invalid},
		{"another aud than client_id", swap(`"aud":"wx01`, `"aud":"wx02`), Invalid},
		{"no iat", swap(`"iat":1772366400,`, ""), Invalid},
		{"no auth_time", swap(`"auth_time":1772366399,`, ""), Invalid},
		{"no sub", swap(`"sub":"oGZUI0egBJY1zhBYw2KhdUfwVJJE",`, ""), Invalid},
		{"a number without its scope", swap(`openid phone`, "openid"), Invalid},
		{"another scope", swap(`openid phone`, "phone openid"), Invalid},
		{"no scope", swap(`"scope":"openid phone",`, ""), Invalid},
		{"a number that is not verified", swap(`_verified":true`, `_verified":false`), Invalid},
		{"no number", swap(`"phone_number":"+8613580006666",`, ""), Invalid},
		{"no time of verification", swap(`,"phone_number_verified_at":1772366398`, ""), Invalid},
		{"invalid UTF-8", swap(`oCanary`, "o\xff"), Invalid},
	} {
		if tt.payload == payload {
			t.Fatalf("%s: the payload is unchanged", tt.name)
		}
		if _, reason := keys.Check(forge(header, tt.payload, keys.sign), expect); reason != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, reason, tt.want)
		}
	}
	other := base64.StdEncoding.EncodeToString([]byte(payload)) + " "
	text := keys.all[0].prefix + other
	if _, reason := keys.Check(text+"."+base64url.EncodeToString(keys.sign([]byte(text))), expect); reason != Invalid {
		t.Errorf("a payload in the standard alphabet: got %q, want invalid", reason)
	}
}

func TestCheckAcceptsEachKeyThatIsKept(t *testing.T) {
	all := pool()
	signing, next := signingEntry(t, all[0]), nextEntry(t, all[1])
	retired := retiredEntry(t, &all[2].PublicKey, now)
	keys := mustParse(t, listText(t, signing, next, retired))
	tokenOf := func(i int) string { return mustParse(t, listText(t, signingEntry(t, all[i]))).Sign(claims).Reveal() }
	e := expect
	e.Renewal = 365 * day
	for _, tt := range []struct {
		name string
		key  int
		at   time.Time
		want Reason
	}{
		{"the signing key", 0, now, ""},
		{"the next key, since another process may have newer keys", 1, now, ""},
		{"a retired key", 2, now, ""},
		{"just before 31 days", 2, now.Add(31*day - 1), ""},
		{"after 31 days", 2, now.Add(31 * day), Invalid},
		{"another key after 31 days", 0, now.Add(31 * day), ""},
		{"an unknown key", 3, now, Invalid},
	} {
		e.Now = tt.at
		if _, reason := keys.Check(tokenOf(tt.key), e); reason != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, reason, tt.want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	keys := fixedKeys(f)
	good, silent := keys.Sign(claims).Reveal(), keys.Sign(without(claims)).Reveal()
	for _, seed := range []string{"", ".", "..", good, silent, good + "\n", good[:len(good)-1], graft(silent, good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		want := Invalid
		switch token {
		case good:
			want = ""
		case silent:
			want = NoPhone
		}
		if phone, reason := keys.Check(token, expect); reason != want || (phone != Phone{}) != (want == "") {
			t.Errorf("got %q, want %q", reason, want)
		}
	})
}
