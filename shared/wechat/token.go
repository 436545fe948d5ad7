package wechat

import (
	"context"
	"errors"
	"time"

	"wechat-phone/shared/flight"
	"wechat-phone/shared/redacted"
)

// AccessToken is what a mini-program calls most of WeChat's APIs with. It prints
// as "[redacted]".
type AccessToken struct {
	redacted.Value
	AppID string // the mini-program's
}

// maxLife is how long a token lives at most.
const maxLife = 2 * time.Hour

// StableToken asks for the mini-program's access token, and says for how long
// it works. WeChat gives all who ask the same one, and another in its last five
// minutes, while the old one works on. It is never forced to give another, as
// that would end the one that others use; /cgi-bin/token would too.
//
// https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-access-token/getStableAccessToken.html
func (c *Client) StableToken(ctx context.Context, app Credentials) (AccessToken, time.Duration, error) {
	answer, err := call[tokenAnswer](ctx, c, request{api: TokenAPI, target: "/cgi-bin/stable_token", body: struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}{"client_credential", app.AppID, app.Secret.Reveal(), false}})
	if err != nil {
		return AccessToken{}, 0, err
	}
	return answer.token(app.AppID)
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // in seconds
}

func (a tokenAnswer) token(appID string) (AccessToken, time.Duration, error) {
	if a.AccessToken == "" || a.ExpiresIn <= 0 {
		return AccessToken{}, 0, &Error{API: TokenAPI, Kind: Malformed, Reason: "no token"}
	}
	life := time.Duration(min(a.ExpiresIn, int64(maxLife/time.Second))) * time.Second
	return AccessToken{redacted.New(a.AccessToken), appID}, life, nil
}

// spare is the last part of a token's life, in which it is no longer used. It
// allows for clocks that differ and for calls that are under way.
const spare = 2 * time.Minute

// Tokens caches the access token of each mini-program. Concurrent callers share
// one fetch. It is safe for concurrent use.
type Tokens struct {
	client *Client
	clock  flight.Clock
	source *flight.Source[Credentials, token]
}

type token struct {
	AccessToken
	until time.Time // it is used
}

// NewTokens returns a Tokens. It does no I/O.
func NewTokens(c *Client, now func() time.Time) *Tokens {
	t := &Tokens{client: c, clock: now}
	t.source = flight.New(t.fetch, t.clock)
	return t
}

func (t *Tokens) fetch(ctx context.Context, app Credentials) (token, error) {
	began := t.clock.Now()
	got, life, err := t.client.StableToken(ctx, app)
	return token{got, began.Add(life - spare)}, err
}

// Load fetches the token at start, ahead of the first request, and takes two
// seconds at most. Its failure is not remembered. Every error is an [*Error]
// unless it is a panic's.
func (t *Tokens) Load(app Credentials) error {
	_, err := t.source.Load(app)
	return err
}

// Get returns the token of app's mini-program. If none is cached it fetches one,
// but not within a second of a failure with the same credentials. Every error is
// an [*Error] unless it is a panic's.
func (t *Tokens) Get(ctx context.Context, app Credentials) (AccessToken, error) {
	got, err := t.source.Get(ctx, app, func(kept token) bool { return t.clock.Now().Before(kept.until) })
	if err != nil && errors.Is(err, ctx.Err()) {
		err = &Error{API: TokenAPI, Kind: TimedOut, Reason: "timeout"}
	}
	return got.AccessToken, err
}

// Drop forgets a token that WeChat has rejected. A newer one is kept.
func (t *Tokens) Drop(rejected AccessToken) {
	t.source.Drop(rejected.AppID, func(kept token) bool { return kept.Equal(rejected.Value) })
}
