package identity

import (
	"encoding/json/v2"
	"strings"
	"time"

	"wechat-phone/shared/redacted"
)

const (
	// maxToken bounds what [Keys.Check] reads, in characters. A token has about 800.
	maxToken = 4096
	// maxAhead is how far another process's clock may be ahead.
	maxAhead = 2 * time.Minute

	scopeOpenID = "openid"
	scopePhone  = "openid phone"
)

// Token is a signed JWT.
type Token struct{ redacted.Value }

// Claims are what a token says. [Keys.Sign] rounds its times down to whole seconds.
type Claims struct {
	Issuer   string
	AppID    string
	OpenID   redacted.Value
	UnionID  redacted.Value // optional
	IssuedAt time.Time
	Lifetime time.Duration
	AuthTime time.Time // when WeChat accepted the login code
	Phone    Phone     // optional
}

// Phone is a number that WeChat vouched for, in the form of E.164. VerifiedAt must not
// be later than the answer that vouched for it. A renewal passes on what [Keys.Check]
// returned.
type Phone struct {
	Number     redacted.Value
	VerifiedAt time.Time
}

// payload is a token's JSON. Its names and their order are part of each token.
type payload struct {
	Issuer          string `json:"iss"`
	Subject         string `json:"sub"`
	Audience        string `json:"aud"`
	ClientID        string `json:"client_id"`
	IssuedAt        int64  `json:"iat"`
	Expires         int64  `json:"exp"`
	AuthTime        int64  `json:"auth_time"`
	Scope           string `json:"scope"`
	UnionID         string `json:"unionid,omitzero"`
	PhoneNumber     string `json:"phone_number,omitzero"`
	PhoneVerified   bool   `json:"phone_number_verified,omitzero"`
	PhoneVerifiedAt int64  `json:"phone_number_verified_at,omitzero"`
}

// Sign returns a token with these claims. It takes about as long as one RSA signature,
// and cannot fail.
func (k *Keys) Sign(c Claims) Token {
	issuedAt := c.IssuedAt.Unix()
	p := payload{
		Issuer:   c.Issuer,
		Subject:  c.OpenID.Reveal(),
		Audience: c.AppID,
		ClientID: c.AppID, // HTTP APIs read it if there is no aud. Consumers of several mini-programs key on it.
		IssuedAt: issuedAt,
		Expires:  issuedAt + int64(c.Lifetime/time.Second),
		AuthTime: c.AuthTime.Unix(),
		Scope:    scopeOpenID,
		UnionID:  c.UnionID.Reveal(),
	}
	if number := c.Phone.Number.Reveal(); number != "" {
		p.Scope = scopePhone
		p.PhoneNumber, p.PhoneVerified, p.PhoneVerifiedAt = number, true, c.Phone.VerifiedAt.Unix()
	}
	token := base64url.AppendEncode([]byte(k.all[0].prefix), marshal(p))
	signature := k.sign(token)
	return Token{redacted.New(string(base64url.AppendEncode(append(token, '.'), signature)))}
}

// Expect is what a token must say to renew its phone number.
type Expect struct {
	Issuer  string
	AppID   string
	OpenID  redacted.Value // the user who has just logged in
	Now     time.Time
	Renewal time.Duration // how long a verification lasts; 0 turns renewal off
}

// Reason says why a token does not renew its phone number. It is empty if it does.
type Reason string

// If several reasons apply, [Keys.Check] returns the first in this order.
const (
	// Invalid: not ours, not spelled as [Keys.Sign] spelled it, or of a key that is
	// unknown, of another issuer, or more than two minutes ahead.
	Invalid Reason = "invalid"
	Foreign Reason = "foreign"  // another mini-program's or user's
	NoPhone Reason = "no_phone" // without scope phone
	Expired Reason = "expired"  // verified too long ago, or renewal is off
)

// Check returns the phone number that an earlier token renews, or the reason why it renews
// none. The token may have expired: a renewal is limited by when WeChat verified the
// number, which a renewal never changes.
func (k *Keys) Check(token string, expect Expect) (Phone, Reason) {
	p, ok := k.open(token, expect.Now)
	latest := expect.Now.Add(maxAhead).Unix()
	switch {
	case !ok, p.Issuer != expect.Issuer, max(p.IssuedAt, p.AuthTime, p.PhoneVerifiedAt) > latest:
		return Phone{}, Invalid
	case p.Audience != expect.AppID, p.Subject != expect.OpenID.Reveal():
		return Phone{}, Foreign
	case p.Scope != scopePhone:
		return Phone{}, NoPhone
	}
	// A verification that is ahead would pass a Renewal of 0.
	verifiedAt := time.Unix(p.PhoneVerifiedAt, 0).UTC()
	if expect.Renewal <= 0 || expect.Now.Sub(verifiedAt) >= expect.Renewal {
		return Phone{}, Expired
	}
	return Phone{redacted.New(p.PhoneNumber), verifiedAt}, ""
}

// open returns the payload of a token that one of our keys signed.
func (k *Keys) open(token string, now time.Time) (p payload, ok bool) {
	if len(token) > maxToken {
		return p, false
	}
	for _, key := range k.all {
		if rest, ours := strings.CutPrefix(token, key.prefix); ours && key.keptAt(now) {
			text, signature, _ := strings.Cut(rest, ".")
			raw, canonical := decode(signature)
			if !canonical || !key.verify(key.prefix+text, raw) {
				return p, false
			}
			return parsePayload(text)
		}
	}
	return p, false
}

// parsePayload refuses what [Keys.Sign] does not write, except unknown claims: while
// a deployment shifts traffic, a newer version may add one.
func parsePayload(text string) (p payload, ok bool) {
	raw, ok := decode(text)
	if !ok || json.Unmarshal(raw, &p) != nil {
		return p, false
	}
	var withPhone bool
	switch p.Scope {
	case scopePhone:
		withPhone = true
	case scopeOpenID:
	default:
		return p, false
	}
	return p, p.Audience == p.ClientID && p.Subject != "" && p.IssuedAt > 0 && p.AuthTime > 0 &&
		p.PhoneVerified == withPhone && (p.PhoneNumber != "") == withPhone && (p.PhoneVerifiedAt > 0) == withPhone
}

// decode decodes base64url in its only canonical spelling. The standard decoder, even
// if it is strict, ignores line breaks.
func decode(text string) (raw []byte, ok bool) {
	raw, err := base64url.DecodeString(text)
	return raw, err == nil && base64url.EncodeToString(raw) == text
}
