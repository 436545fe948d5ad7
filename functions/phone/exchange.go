package main

import (
	"context"
	"errors"
	"time"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/wechat"
)

// exchange makes one request's calls to WeChat. It replaces credentials and access
// tokens that WeChat rejects, and records each code's state.
type exchange struct {
	secrets secretStore
	tokens  tokenCache
	wechat  wechatAPI

	app   wechat.Credentials // used by the last call
	token wechat.AccessToken // set by fetchToken
	rec   *record
}

// fetchToken fetches the access token. Call it before sending a code: a login code
// that is sent without a token may be wasted. The request keeps its token
// until WeChat rejects it.
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

// exchangePhoneCode exchanges the phone code for the phone number, and returns the
// time in its watermark. If openID is not empty, the code must be that user's.
func (x *exchange) exchangePhoneCode(
	ctx context.Context, code, openID string,
) (phone opendata.Phone, at time.Time, err error) {
	err = x.withToken(ctx, func() (err error) {
		x.rec.progress.PhoneCode = failure.Sent
		phone, at, err = x.wechat.PhoneNumber(ctx, x.token, code, openID)
		return err
	})
	if err == nil {
		x.rec.progress.PhoneCode = failure.Accepted
	}
	return phone, at, err
}

// verify asks WeChat whether it sealed the data.
func (x *exchange) verify(ctx context.Context, sealed opendata.Sealed) error {
	return x.withToken(ctx, func() error { return x.wechat.CheckEncryptedMsg(ctx, x.token, sealed) })
}

// withCredentials makes a call that uses the app secret. If WeChat rejects the
// credentials, it rereads the secret and, if they have changed, makes the call once
// more. A mini-program that is no longer in the secret keeps its credentials.
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

// withToken makes a call that uses the access token. If WeChat rejects the token,
// and stable_token returns another one, it makes the call once more. If WeChat
// rejects the mini-program, it rereads the secret for the next request only,
// because this request's phone code may be spent.
func (x *exchange) withToken(ctx context.Context, call func() error) error {
	err := x.measure(call)
	if wechat.RejectsToken(err) {
		rejected := x.token
		x.tokens.Drop(rejected)
		if err := x.fetchToken(ctx); err != nil {
			return err
		}
		if x.token.Equal(rejected.Value) {
			x.note(err) // fetchToken has cleared it
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
	x.note(err)
	return err
}

// note records WeChat's errcode, if err is a refusal.
func (x *exchange) note(err error) {
	x.rec.errcode, x.rec.rid = 0, ""
	if refusal, ok := errors.AsType[*wechat.Error](err); ok {
		x.rec.errcode, x.rec.rid = refusal.ErrCode, refusal.RID
	}
}
