package main

import (
	"context"
	"time"

	"wechat-phone/shared/identity"
	"wechat-phone/shared/redacted"
	"wechat-phone/shared/secretvalue"
	"wechat-phone/shared/signingkeys"
	"wechat-phone/shared/wechat"
)

// issuer issues identity tokens.
type issuer struct {
	url      string // exactly TOKEN_ISSUER
	keys     keyStore
	lifetime time.Duration // of a token
	renewal  time.Duration // how long /login may pass a phone number on; 0 for never
}

// keyStore returns the signing keys. See [signingkeys.Store].
type keyStore interface {
	Load() error
	Get(context.Context) (*identity.Keys, error)
	Reread(context.Context) error
}

// newIssuer returns an issuer, or nil if tokens are off. It does no I/O.
func newIssuer(c settings, api secretvalue.SecretsManager) *issuer {
	if c.issuer == "" {
		return nil
	}
	return &issuer{
		url: c.issuer, keys: signingkeys.New(api, c.signingSecretID, time.Now),
		lifetime: c.tokenLifetime, renewal: c.tokenRenewal,
	}
}

// signingKeys returns the keys, or nil if tokens are off. Call it before sending a
// code: a code is wasted if no token can be signed for it.
func (h *handler) signingKeys(ctx context.Context) (*identity.Keys, error) {
	if h.issuer == nil {
		return nil, nil
	}
	return h.issuer.keys.Get(ctx)
}

// identify returns the claims about a user whose login code WeChat accepted at
// authTime.
func (h *handler) identify(appID string, session wechat.Session, authTime time.Time) identity.Claims {
	return identity.Claims{
		Issuer: h.issuer.url, AppID: appID,
		OpenID: redacted.New(session.OpenID), UnionID: redacted.New(session.UnionID),
		IssuedAt: h.now(), AuthTime: authTime, Lifetime: h.issuer.lifetime,
	}
}

// expect returns what an earlier token must say to renew its phone number for user.
func (i *issuer) expect(user identity.Claims) identity.Expect {
	return identity.Expect{
		Issuer: i.url, AppID: user.AppID, OpenID: user.OpenID, Now: user.IssuedAt, Renewal: i.renewal,
	}
}

// issuedToken is the part of an answer that has the token.
type issuedToken struct {
	Token     string `json:"token,omitempty"`
	ExpiresIn int64  `json:"expiresIn,omitzero"` // seconds
}

// issue signs a token. It cannot fail, and is a request's last step.
func (i *issuer) issue(keys *identity.Keys, user identity.Claims) issuedToken {
	return issuedToken{keys.Sign(user).Reveal(), int64(i.lifetime / time.Second)}
}
