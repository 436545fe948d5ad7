package main

import (
	"context"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/wechat"
)

// servePhone answers POST /phone: it exchanges the request's codes and data for a
// verified phone number.
func (h *handler) servePhone(ctx context.Context, e event, rec *record) (any, error) {
	r, err := readPhoneRequest(e, h.requireLogin)
	if err != nil {
		return nil, err
	}
	rec.progress = r.progress()
	app, err := h.chooseApp(ctx, r.app, rec)
	if err != nil {
		return nil, err
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
	var phone opendata.Phone
	if r.phoneCode != "" {
		phone, err = x.exchangePhoneCode(ctx, r.phoneCode, session.OpenID)
	} else {
		phone, err = h.open(ctx, x, r.sealed, session.Key)
	}
	if err != nil {
		return nil, err
	}
	return phoneAnswer{phone, phone.E164(), session.OpenID, session.UnionID}, nil
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
}

// open opens sealed data. With VERIFY_ENCRYPTED_DATA, WeChat must also confirm that
// it sealed the data. If WeChat denies it, the data is undecryptable. Any other
// failure of that call is a [*failure.NoVerdict].
func (h *handler) open(
	ctx context.Context, x *exchange, sealed opendata.Sealed, key opendata.SessionKey,
) (opendata.Phone, error) {
	rule := opendata.Rule{AppID: x.app.AppID, MaxAge: h.maxAge, Now: h.now()}
	phone, err := opendata.OpenPhone(sealed, key, rule)
	if err != nil || !h.verify {
		return phone, err
	}
	err = x.verify(ctx, sealed)
	switch {
	case wechat.Disowns(err):
		return phone, &opendata.OpenError{Reason: opendata.Unverified}
	case err != nil:
		return phone, &failure.NoVerdict{Err: err}
	}
	return phone, nil
}
