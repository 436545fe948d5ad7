package main

import (
	"context"
	"time"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/identity"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/redacted"
	"wechat-phone/shared/wechat"
)

// servePhone answers POST /phone: it exchanges the request's codes and data for a
// verified phone number.
func (h *handler) servePhone(ctx context.Context, e event, rec *record) ([]byte, error) {
	r, err := readPhoneRequest(e, h.requireLogin)
	if err != nil {
		return nil, err
	}
	rec.progress = r.progress()
	app, err := h.chooseApp(ctx, r.app, rec)
	if err != nil {
		return nil, err
	}
	var keys *identity.Keys // nil if the answer has no token
	if r.code != "" {
		if keys, err = h.signingKeys(ctx); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	x := &exchange{secrets: h.secrets, tokens: h.tokens, wechat: h.wechat, app: app, rec: rec}
	if r.phoneCode != "" || h.verify {
		if err := x.fetchToken(ctx); err != nil {
			return nil, err
		}
	}
	var session wechat.Session
	if r.code != "" {
		if session, err = x.login(ctx, r.code); err != nil {
			return nil, err
		}
	}
	authTime := h.now()
	phone, watermark, err := h.fetchPhone(ctx, x, r, session)
	if err != nil {
		return nil, err
	}
	answer := phoneAnswer{Phone: phone, E164: phone.E164(), OpenID: session.OpenID, UnionID: session.UnionID}
	if keys != nil {
		user := h.identify(x.app.AppID, session, authTime)
		if r.phoneCode != "" || h.verify { // otherwise WeChat has not vouched for the number
			user.Phone = identity.Phone{Number: redacted.New(answer.E164), VerifiedAt: verifiedAt(watermark, user.IssuedAt)}
		}
		answer.Token = h.issuer.issue(keys, user)
	}
	return encode(answer), nil
}

// verifiedAt returns the time in WeChat's watermark, but never a time after now. If
// the watermark has no usable time, it returns now.
func verifiedAt(watermark, now time.Time) time.Time {
	if seconds := watermark.Unix(); seconds > 0 && seconds < now.Unix() {
		return watermark
	}
	return now
}

// fetchPhone returns the phone number that the request's phone code or sealed data
// gives, and the time in its watermark.
func (h *handler) fetchPhone(
	ctx context.Context, x *exchange, r phoneRequest, session wechat.Session,
) (opendata.Phone, time.Time, error) {
	if r.phoneCode != "" {
		return x.exchangePhoneCode(ctx, r.phoneCode, session.OpenID)
	}
	return h.open(ctx, x, r.sealed, session.Key)
}

// phoneRequest is a well-formed request to POST /phone. It has one of two shapes:
// a login code and sealed data, or a phone code with or without a login code.
type phoneRequest struct {
	app       appRequest
	code      string          // may be empty if there is a phoneCode
	sealed    opendata.Sealed // set if there is no phoneCode
	phoneCode string
}

// readPhoneRequest checks everything that it can check without asking WeChat or
// AWS. If requireLogin is true, it refuses a phone code alone. Every error is a
// [*failure.Error].
func readPhoneRequest(e event, requireLogin bool) (phoneRequest, error) {
	f, err := readFields(e)
	if err != nil {
		return phoneRequest{}, err
	}
	sealed := f.EncryptedData.present || f.IV.present
	if f.PhoneCode.present == sealed {
		return phoneRequest{}, failure.Invalid(
			"the body must have either code, encryptedData and iv, or phoneCode with or without code")
	}
	app, err := readApp(e, f)
	if err != nil {
		return phoneRequest{}, err
	}
	r := phoneRequest{app: app, code: f.Code.text, phoneCode: f.PhoneCode.text}
	if requireLogin && !f.Code.present {
		return phoneRequest{}, failure.Invalid("code is missing: this function accepts a phoneCode only with a login code")
	}
	if sealed || f.Code.present {
		if err := checkCode("code", r.code); err != nil {
			return phoneRequest{}, err
		}
	}
	if sealed {
		r.sealed, err = opendata.Parse(f.EncryptedData.text, f.IV.text)
		if err != nil {
			return phoneRequest{}, failure.Invalid(err.Error())
		}
		return r, nil
	}
	return r, checkCode("phoneCode", r.phoneCode)
}

// progress returns the states of the request's codes before any is sent.
func (r phoneRequest) progress() (p failure.Progress) {
	if r.code != "" {
		p.LoginCode = failure.Unsent
	}
	if r.phoneCode != "" {
		p.PhoneCode = failure.Unsent
	}
	return p
}

// phoneAnswer is the body of a success.
type phoneAnswer struct {
	Phone   opendata.Phone `json:",embed"`
	E164    string         `json:"e164,omitempty"`   // if it is certain
	OpenID  string         `json:"openid,omitempty"` // if there was a login code
	UnionID string         `json:"unionid,omitempty"`
	Token   issuedToken    `json:",embed"`
}

// open opens sealed data. With VERIFY_ENCRYPTED_DATA, WeChat must also confirm that
// it sealed the data. If WeChat denies it, the data is undecryptable. Any other
// failure of that call is a [*failure.NoVerdict].
func (h *handler) open(
	ctx context.Context, x *exchange, sealed opendata.Sealed, key opendata.SessionKey,
) (phone opendata.Phone, sealedAt time.Time, err error) {
	rule := opendata.Rule{AppID: x.app.AppID, MaxAge: h.maxAge, Now: h.now()}
	phone, sealedAt, err = opendata.OpenPhone(sealed, key, rule)
	if err != nil || !h.verify {
		return phone, sealedAt, err
	}
	err = x.verify(ctx, sealed)
	switch {
	case wechat.Disowns(err):
		return phone, sealedAt, &opendata.OpenError{Reason: opendata.Unverified}
	case err != nil:
		return phone, sealedAt, &failure.NoVerdict{Err: err}
	}
	return phone, sealedAt, nil
}
