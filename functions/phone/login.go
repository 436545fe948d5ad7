package main

import (
	"context"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/identity"
)

// serveLogin answers POST /login: it exchanges a login code for the user's openid.
// With tokens on, it also issues an identity token. The token has the phone number of an
// earlier one if that one renews it.
func (h *handler) serveLogin(ctx context.Context, e event, rec *record) ([]byte, error) {
	r, err := readLoginRequest(e)
	if err != nil {
		return nil, err
	}
	rec.progress.LoginCode = failure.Unsent
	app, err := h.chooseApp(ctx, r.app, rec)
	if err != nil {
		return nil, err
	}
	keys, err := h.signingKeys(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	x := &exchange{secrets: h.secrets, tokens: h.tokens, wechat: h.wechat, app: app, rec: rec}
	session, err := x.login(ctx, r.code)
	if err != nil {
		return nil, err
	}
	answer := loginAnswer{OpenID: session.OpenID, UnionID: session.UnionID}
	if keys == nil {
		return encode(answer), nil
	}
	user := h.identify(x.app.AppID, session, h.now())
	if r.token.present {
		var reason identity.Reason
		user.Phone, reason = keys.Check(r.token.text, h.issuer.expect(user))
		answer.E164 = user.Phone.Number.Reveal()
		answer.Renewed, answer.Reason = new(reason == ""), reason
	}
	answer.Token = h.issuer.issue(keys, user)
	return encode(answer), nil
}

// loginRequest is a well-formed request to POST /login.
type loginRequest struct {
	app   appRequest
	code  string
	token field // an earlier identity token; it never makes a request malformed
}

// readLoginRequest checks everything that it can check without asking WeChat or AWS.
// Every error is a [*failure.Error].
func readLoginRequest(e event) (loginRequest, error) {
	f, err := readFields(e)
	if err != nil {
		return loginRequest{}, err
	}
	for name, field := range map[string]field{
		"phoneCode": f.PhoneCode, "encryptedData": f.EncryptedData, "iv": f.IV,
	} {
		if field.present { // ignoring it would waste a tap that has been paid for
			return loginRequest{}, failure.Invalid("/login takes no " + name + ": send it to /phone")
		}
	}
	app, err := readApp(e, f)
	if err != nil {
		return loginRequest{}, err
	}
	return loginRequest{app, f.Code.text, field(f.Token)}, checkCode("code", f.Code.text)
}

// loginAnswer is the body of a success.
type loginAnswer struct {
	OpenID  string          `json:"openid"`
	UnionID string          `json:"unionid,omitempty"`
	E164    string          `json:"e164,omitempty"` // if it was renewed
	Token   issuedToken     `json:",embed"`
	Renewed *bool           `json:"renewed,omitzero"` // if an earlier token was sent
	Reason  identity.Reason `json:"reason,omitempty"`
}
