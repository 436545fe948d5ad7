package main

import (
	"context"
	"errors"
	"time"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/wechat"
)

// exchange makes one request's calls of WeChat. It replaces credentials and
// access tokens that WeChat rejects, and records how far each code has got.
type exchange struct {
	secrets secretStore
	tokens  tokenCache
	wechat  wechatAPI

	app   wechat.Credentials // the last that WeChat was asked with
	token wechat.AccessToken // once it is fetched
	rec   *record
}

// fetchToken fetches the access token. Call it before sending a code: a code
// sent without a token is wasted. The request keeps the token for as long as
// WeChat accepts it.
func (x *exchange) fetchToken(ctx context.Context) error {
	return x.withCredentials(ctx, func() (err error) {
		x.token, err = x.tokens.Get(ctx, x.app)
		return err
	})
}

// login exchanges the login code for the user's session.
func (x *exchange) login(ctx context.Context, code string) (session wechat.Session, err error) {
	err = x.withCredentials(ctx, func() (err error) {
		x.rec.progress.LoginCode = failure.Sent
		session, err = x.wechat.Code2Session(ctx, x.app, code)
		return err
	})
	if err == nil {
		x.rec.progress.LoginCode = failure.Accepted
	}
	return session, err
}

// exchangePhoneCode exchanges the phone code for the phone number. If openID is
// not empty, the code must be that user's.
func (x *exchange) exchangePhoneCode(ctx context.Context, code, openID string) (phone opendata.Phone, err error) {
	err = x.withToken(ctx, func() (err error) {
		x.rec.progress.PhoneCode = failure.Sent
		phone, err = x.wechat.PhoneNumber(ctx, x.token, code, openID)
		return err
	})
	if err == nil {
		x.rec.progress.PhoneCode = failure.Accepted
	}
	return phone, err
}

// verify asks WeChat whether it sealed the data.
func (x *exchange) verify(ctx context.Context, sealed opendata.Sealed) error {
	return x.withToken(ctx, func() error { return x.wechat.CheckEncryptedMsg(ctx, x.token, sealed) })
}

// withCredentials makes a call with the app secret. If WeChat rejects the
// credentials, it makes the call once more with those that the secret holds now. A
// mini-program that is no longer in the secret keeps the ones that it had.
func (x *exchange) withCredentials(ctx context.Context, call func() error) error {
	err := x.measure(call)
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
	return x.measure(call)
}

// withToken makes a call with the access token. If WeChat rejects the token, it
// makes the call once more with another. If WeChat rejects the mini-program, it
// rereads the secret, for the next request only: this one's phone code may be
// spent.
func (x *exchange) withToken(ctx context.Context, call func() error) error {
	err := x.measure(call)
	if wechat.RejectsToken(err) {
		x.tokens.Drop(x.token)
		if err := x.fetchToken(ctx); err != nil {
			return err
		}
		err = x.measure(call)
	}
	if wechat.RejectsCredentials(err) {
		_, _ = x.secrets.Refresh(ctx, x.app)
	}
	return err
}

// measure makes a call, and records its time and WeChat's errcode.
func (x *exchange) measure(call func() error) error {
	began := time.Now()
	err := call()
	x.rec.wechatTime += time.Since(began)
	x.rec.errcode, x.rec.rid = 0, ""
	if refusal, ok := errors.AsType[*wechat.Error](err); ok {
		x.rec.errcode, x.rec.rid = refusal.ErrCode, refusal.RID
	}
	return err
}
