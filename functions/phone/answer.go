package main

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"net/http"

	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/panics"
	"wechat-phone/shared/wechat"
)

// response is the function's answer to the gateway, payload format 2.0.
type response struct {
	StatusCode int     `json:"statusCode"`
	Headers    headers `json:"headers"`
	Body       string  `json:"body"`
}

// headers are an answer's. A map of them would have to be made for each.
type headers struct {
	ContentType  string `json:"content-type"`
	CacheControl string `json:"cache-control"`
	TypeOptions  string `json:"x-content-type-options"`
	RetryAfter   string `json:"retry-after,omitempty"`
	Allow        string `json:"allow,omitempty"`
}

func respond(status int, body any) response {
	return response{status, headers{
		ContentType: "application/json; charset=utf-8", CacheControl: "no-store", TypeOptions: "nosniff",
	}, string(encode(body))}
}

// encode makes JSON of structs of strings, which cannot fail, once whatever
// bytes are taken.
func encode(body any) []byte {
	text, _ := json.Marshal(body, jsontext.AllowInvalidUTF8(true))
	return text
}

// kind is a failure's stable name, for programs.
type kind string

const (
	invalidRequest       kind = "invalid_request"
	notFound             kind = "not_found"
	methodNotAllowed     kind = "method_not_allowed"
	payloadTooLarge      kind = "payload_too_large"
	unsupportedMediaType kind = "unsupported_media_type"
	codeRejected         kind = "code_rejected"
	undecryptable        kind = "undecryptable"
	userBlocked          kind = "user_blocked"
	rateLimited          kind = "rate_limited"
	misconfigured        kind = "misconfigured"
	internal             kind = "internal"
	upstreamError        kind = "upstream_error"
	unavailable          kind = "unavailable"
	upstreamTimeout      kind = "upstream_timeout"
)

// What the mini-program is to do.
const (
	actionLogin = "login" // call wx.login(), then let the user tap again
	actionTap   = "tap"   // call wx.login() again if a code was sent, then let the user tap again
	actionRetry = "retry" // send the same request again
	actionWait  = "wait"  // the same, after retry-after
	actionFix   = "fix"   // the program is wrong
	actionNone  = "none"  // nothing the client can do
)

// answers says how each kind of failure is answered. No status is 401, which
// some of WeChat's clients take for a failure of the network.
var answers = map[kind]struct {
	status     int
	action     string
	retryAfter string // seconds
	message    string
}{
	invalidRequest:       {400, actionFix, "", "the request is malformed"},
	notFound:             {404, actionFix, "", "there is nothing at this path: POST to /phone"},
	methodNotAllowed:     {405, actionFix, "", "the method must be POST"},
	payloadTooLarge:      {413, actionFix, "", "the body is over 16 KiB"},
	unsupportedMediaType: {415, actionFix, "", "the content type must be application/json or application/x-www-form-urlencoded"},
	codeRejected:         {400, actionLogin, "", "WeChat refused the login code: it is expired, used, or not of this mini-program"},
	undecryptable:        {422, actionLogin, "", "encryptedData cannot be opened with this login: call wx.login() before the user taps, never after"},
	userBlocked:          {403, actionNone, "", "WeChat blocks this user as a high risk"},
	rateLimited:          {429, actionWait, "60", "WeChat takes no more logins of this mini-program or user in this minute"},
	misconfigured:        {500, actionNone, "", "the function is not set up right: its log says what is wrong"},
	internal:             {500, actionRetry, "", "the function failed"},
	upstreamError:        {502, actionLogin, "", "WeChat's answer was lost or is not understood; the login code may be used"},
	unavailable:          {503, actionRetry, "1", "WeChat or AWS cannot be reached or is busy; the login code is not used"},
	upstreamTimeout:      {504, actionLogin, "", "WeChat did not answer in time; the login code may be used"},
}

// messages are instead of the kinds' own, where another API than jscode2session
// failed: those speak of the login code.
var messages = map[wechat.API]map[kind]string{
	wechat.TokenAPI: {
		rateLimited:   "WeChat gives this mini-program no more access tokens for now",
		upstreamError: "WeChat gives no access token, for a reason that is not known here",
	},
	wechat.PhoneAPI: {
		codeRejected:    "WeChat refused the phone code: it is expired, used, or not of this mini-program or user",
		rateLimited:     "WeChat gives no more phone numbers to this mini-program for now",
		upstreamError:   "WeChat's answer was lost or is not understood; the phone code may be used",
		upstreamTimeout: "WeChat did not answer in time; the phone code may be used",
	},
}

// failure is a failed request.
type failure struct {
	kind    kind
	message string // instead of the kind's own, where it can be told better
	reason  string // for the log
}

// failureOf finds the kind of an error of any package.
func failureOf(err error) failure {
	if e, ok := errors.AsType[*requestError](err); ok {
		return failure{e.kind, e.message, e.message}
	}
	if e, ok := errors.AsType[*panics.Error](err); ok {
		return failure{kind: internal, reason: e.Error()}
	}
	if e, ok := errors.AsType[unverifiedError](err); ok {
		return failure{kind: unavailable, reason: failureOf(e.error).reason}
	}
	if e, ok := errors.AsType[*appsecret.Error](err); ok {
		if e.Temporary {
			return failure{kind: unavailable, reason: e.Error()}
		}
		return failure{kind: misconfigured, reason: e.Error()}
	}
	if e, ok := errors.AsType[*wechat.Error](err); ok {
		kind := kindOfWeChat(e)
		return failure{kind, messages[e.API][kind], e.Error()}
	}
	if e, ok := errors.AsType[*opendata.OpenError](err); ok {
		return failure{kind: undecryptable, reason: string(e.Reason)}
	}
	return failure{kind: internal, reason: "an error of no known type"}
}

func kindOfWeChat(e *wechat.Error) kind {
	switch {
	case e.Kind == wechat.Refused:
		return kindOfRefusal(e)
	case e.Kind == wechat.Unreachable, e.API == wechat.TokenAPI: // nothing of the user's was sent
		return unavailable
	case e.Kind == wechat.TimedOut:
		return upstreamTimeout
	}
	return upstreamError
}

func kindOfRefusal(e *wechat.Error) kind {
	if wechat.RejectsCredentials(e) {
		return misconfigured
	}
	switch e.ErrCode {
	case wechat.Busy:
		return unavailable
	case wechat.TooManyCalls:
		return rateLimited
	case wechat.AppIDMissing, wechat.AppSecretMissing, wechat.AddressRefused, wechat.AppSecretFrozen:
		return misconfigured
	}
	if e.API == wechat.TokenAPI { // which gets no code and knows of no user
		return upstreamError
	}
	switch e.ErrCode {
	case wechat.InvalidCode, wechat.CodeUsed:
		return codeRejected
	case wechat.UserBlocked:
		return userBlocked
	}
	return upstreamError
}

// action is what the mini-program is to do. A code that was sent may be spent,
// and one that WeChat has accepted is: no request with it may be sent again.
func (f failure) action(t trail) string {
	action, again := answers[f.kind].action, actionLogin
	if t.phoneShape {
		again = actionTap
	}
	switch action {
	case actionRetry, actionWait:
		if t.loggedIn || f.kind == internal && (t.codeSent || t.phoneSent) {
			return again
		}
	case actionLogin:
		if t.phoneSent {
			return actionTap
		}
	}
	return action
}

// told is the message.
func (f failure) told(t trail) string {
	switch {
	case f.message != "":
		return f.message
	case f.kind == unavailable && t.loggedIn:
		return "WeChat or AWS cannot be reached or is busy; the login code is used"
	case f.kind == unavailable && t.phoneShape:
		return "WeChat or AWS cannot be reached or is busy; no code is used"
	}
	return answers[f.kind].message
}

// answer tells the caller of a request that left the trail.
func (f failure) answer(requestID string, t trail) response {
	a, action := answers[f.kind], f.action(t)
	r := respond(a.status, struct {
		Error     kind   `json:"error"`
		Message   string `json:"message"`
		Action    string `json:"action"`
		RequestID string `json:"requestId"`
	}{f.kind, f.told(t), action, requestID})
	if a.retryAfter != "" && action == a.action {
		r.Headers.RetryAfter = a.retryAfter
	}
	if f.kind == methodNotAllowed {
		r.Headers.Allow = http.MethodPost
	}
	return r
}
