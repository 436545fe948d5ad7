package wechat

import (
	"context"
	"errors"
	"time"

	"wechat-phone/shared/flight"
	"wechat-phone/shared/redacted"
)

// AccessToken authorizes calls to most of WeChat's APIs. It prints as
// "[redacted]".
type AccessToken struct {
	redacted.Value
	AppID string // the mini-program that it belongs to
}

// maxLife is the longest life of a token.
const maxLife = 2 * time.Hour

// StableToken fetches the mini-program's access token and returns how long it
// works. Every caller gets the same token until five minutes before it expires.
// Then WeChat gives a new one, and the old one still works for those minutes.
// StableToken never sets force_refresh and does not use /cgi-bin/token: both would
// invalidate the token that other processes use.
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

func (a tokenAnswer) fits(request) bool {
	_, _, err := a.token("")
	return err == nil
}

// spare is how long before its expiry a token is no longer used. It allows for calls
// in progress and for clocks that differ.
const spare = 2 * time.Minute

// Tokens caches the access token of each mini-program. Concurrent callers share
// one fetch. It is safe for concurrent use.
type Tokens struct {
	client *Client
	clock  flight.Clock
	source *flight.Source[Credentials, token]
}

// token is an access token in the cache.
type token struct {
	AccessToken
	until time.Time // when to stop using it
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

// Load fetches the token before the first request. It takes at most two seconds.
// It does not remember a failure, so the first request tries again. Every error
// is an [*Error] or a panics.Error.
func (t *Tokens) Load(app Credentials) error {
	_, err := t.source.Load(app)
	return err
}

// Get returns the mini-program's token. If the cache has no usable token, it fetches
// one, but not within a second of a failure with the same credentials. Every error
// is an [*Error] or a panics.Error.
func (t *Tokens) Get(ctx context.Context, app Credentials) (AccessToken, error) {
	got, err := t.source.Get(ctx, app, func(kept token) bool { return t.clock.Now().Before(kept.until) })
	if err != nil && errors.Is(err, ctx.Err()) {
		err = &Error{API: TokenAPI, Kind: TimedOut, Reason: "timeout"}
	}
	return got.AccessToken, err
}

// Drop removes a token that WeChat has rejected. It keeps a newer one.
func (t *Tokens) Drop(rejected AccessToken) {
	t.source.Drop(rejected.AppID, func(kept token) bool { return kept.Equal(rejected.Value) })
}
