package main

import (
	"context"
	"errors"
	"time"

	"wechat-phone/shared/opendata"
	"wechat-phone/shared/weixin"
)

// exchange is what one request has to do with WeChat.
type exchange struct {
	*handler
	app   weixin.Credentials // the last that WeChat was asked with
	trail *trail
}

// token returns the access token.
func (x *exchange) token(ctx context.Context) (token weixin.AccessToken, err error) {
	err = x.withCredentials(ctx, func() (err error) {
		token, err = x.tokens.Get(ctx, x.app)
		return err
	})
	return token, err
}

// session gives the login code to WeChat for the user's session.
func (x *exchange) session(ctx context.Context, code string) (session weixin.Session, err error) {
	err = x.withCredentials(ctx, func() (err error) {
		x.trail.codeSent = true
		session, err = x.wechat.Code2Session(ctx, x.app, code)
		return err
	})
	x.trail.loggedIn = err == nil
	return session, err
}

// phoneNumber gives the phone code to WeChat for the phone number. Where openID
// is not empty, it must be that user's.
func (x *exchange) phoneNumber(ctx context.Context, code, openID string) (phone opendata.Phone, err error) {
	err = x.withToken(ctx, func(token weixin.AccessToken) (err error) {
		x.trail.phoneSent = true
		phone, err = x.wechat.PhoneNumber(ctx, token, code, openID)
		return err
	})
	return phone, err
}

// open opens the sealed data. Where the function is to verify it, WeChat must
// know it too.
func (x *exchange) open(ctx context.Context, sealed opendata.Sealed, key opendata.SessionKey) (opendata.Phone, error) {
	phone, err := opendata.OpenPhone(sealed, key, opendata.Rule{AppID: x.app.AppID, MaxAge: x.maxAge, Now: x.now()})
	if err != nil || !x.verify {
		return phone, err
	}
	known := false
	err = x.withToken(ctx, func(token weixin.AccessToken) (err error) {
		known, err = x.wechat.CheckEncryptedMsg(ctx, token, sealed)
		return err
	})
	if err == nil && !known {
		err = &opendata.OpenError{Reason: opendata.Unverified}
	}
	return phone, err
}

// withCredentials makes a call with the app secret. Where WeChat rejects the
// credentials it makes it once more, with those that the secret holds now.
func (x *exchange) withCredentials(ctx context.Context, call func() error) error {
	err := x.noted(call)
	if !weixin.RejectsCredentials(err) {
		return err
	}
	fresh, refreshErr := x.secrets.Refresh(ctx, x.app)
	if refreshErr != nil {
		return refreshErr
	}
	if fresh.Equal(x.app) {
		return err
	}
	x.app = fresh
	return x.noted(call)
}

// withToken makes a call with the access token. Where WeChat rejects the token
// it makes it once more, with another.
func (x *exchange) withToken(ctx context.Context, call func(weixin.AccessToken) error) error {
	token, err := x.token(ctx)
	if err != nil {
		return err
	}
	ask := func() error { return call(token) }
	if err = x.noted(ask); !weixin.RejectsToken(err) {
		return err
	}
	x.tokens.Drop(token)
	if token, err = x.token(ctx); err != nil {
		return err
	}
	return x.noted(ask)
}

// noted makes a call, and notes what the request's log line tells of it.
func (x *exchange) noted(call func() error) error {
	began := time.Now()
	err := call()
	x.trail.wechatTime += time.Since(began)
	x.trail.errcode, x.trail.rid = 0, ""
	if refusal, ok := errors.AsType[*weixin.Error](err); ok {
		x.trail.errcode, x.trail.rid = refusal.ErrCode, refusal.RID
	}
	return err
}
