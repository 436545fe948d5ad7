package main

import (
	"context"
	"errors"
	"time"

	"wechat-phone/shared/opendata"
	"wechat-phone/shared/wechat"
)

// exchange is what one request has to do with WeChat.
type exchange struct {
	*handler
	app   wechat.Credentials // the last that WeChat was asked with
	token wechat.AccessToken // that mini-program's, once there is one
	trail *trail
}

// getToken gets the access token. What needs one does so before it sends any
// code, which else would be spent in vain, and keeps it for as long as WeChat
// takes it.
func (x *exchange) getToken(ctx context.Context) error {
	return x.withCredentials(ctx, func() error { return x.fetchToken(ctx) })
}

func (x *exchange) fetchToken(ctx context.Context) (err error) {
	x.token, err = x.tokens.Get(ctx, x.app)
	return err
}

// session gives the login code to WeChat for the user's session.
func (x *exchange) session(ctx context.Context, code string) (session wechat.Session, err error) {
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
	err = x.withToken(ctx, func() (err error) {
		x.trail.phoneSent = true
		phone, err = x.wechat.PhoneNumber(ctx, x.token, code, openID)
		return err
	})
	return phone, err
}

// unverifiedError is that WeChat gave no verdict on sealed data, whatever kept it
// from that.
type unverifiedError struct{ error }

func (e unverifiedError) Unwrap() error { return e.error }

// open opens the sealed data. Where the function is to verify it, WeChat must
// know it too, and nothing but WeChat's verdict tells whether it is good.
func (x *exchange) open(ctx context.Context, sealed opendata.Sealed, key opendata.SessionKey) (opendata.Phone, error) {
	phone, err := opendata.OpenPhone(sealed, key, opendata.Rule{AppID: x.app.AppID, MaxAge: x.maxAge, Now: x.now()})
	if err != nil || !x.verify {
		return phone, err
	}
	err = x.withToken(ctx, func() error { return x.wechat.CheckEncryptedMsg(ctx, x.token, sealed) })
	switch {
	case wechat.Disowns(err):
		return phone, &opendata.OpenError{Reason: opendata.Unverified}
	case err != nil:
		return phone, unverifiedError{err}
	}
	return phone, nil
}

// withCredentials makes a call with the app secret. Where WeChat rejects the
// credentials it makes it once more, with those that the secret holds now, and
// where these are another mini-program's not without its token.
func (x *exchange) withCredentials(ctx context.Context, call func() error) error {
	err := x.noted(call)
	if !wechat.RejectsCredentials(err) {
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
	if old := x.token.AppID; old != "" && old != fresh.AppID { // it needs one
		if err := x.noted(func() error { return x.fetchToken(ctx) }); err != nil {
			return err
		}
	}
	return x.noted(call)
}

// withToken makes a call with the access token. Where WeChat rejects the token
// it makes it once more, with another. Where WeChat rejects the mini-program,
// the secret is read again, for the next request alone: whether this one's phone
// code is spent nobody knows.
func (x *exchange) withToken(ctx context.Context, call func() error) error {
	err := x.noted(call)
	if wechat.RejectsToken(err) {
		x.tokens.Drop(x.token)
		if err := x.getToken(ctx); err != nil {
			return err
		}
		err = x.noted(call)
	}
	if wechat.RejectsCredentials(err) {
		_, _ = x.secrets.Refresh(ctx, x.app)
	}
	return err
}

// noted makes a call, and notes what the request's log line tells of it.
func (x *exchange) noted(call func() error) error {
	began := time.Now()
	err := call()
	x.trail.wechatTime += time.Since(began)
	x.trail.errcode, x.trail.rid = 0, ""
	if refusal, ok := errors.AsType[*wechat.Error](err); ok {
		x.trail.errcode, x.trail.rid = refusal.ErrCode, refusal.RID
	}
	return err
}
