package failure

import (
	"errors"

	"wechat-phone/shared/wechat"
)

// messages replace a kind's own message if an API other than jscode2session failed.
// A kind's own message is about the login code.
var messages = map[wechat.API]map[Kind]string{
	wechat.TokenAPI: {
		RateLimited:   "WeChat's per-minute limit for access tokens is reached",
		UpstreamError: "WeChat gives no access token, for an unknown reason",
	},
	wechat.PhoneAPI: {
		CodeRejected: "WeChat refused the phone code: it is expired, used, from another mini-program or user, " +
			"or not from the button (the code of wx.login() belongs in code)",
		RateLimited:     "WeChat's per-minute limit for phone numbers is reached",
		UpstreamError:   "WeChat's answer was lost or is not understood; the phone code may be used up",
		UpstreamTimeout: "WeChat did not answer in time; the phone code may be used up",
	},
}

// Refusal says what an errcode means.
type Refusal struct {
	API     wechat.API // empty: any API that has no row of its own
	ErrCode int
	Kind    Kind

	// ByCaller is true if a stranger's request can provoke the errcode although the
	// mini-program is set up correctly. Such a row must be neither Misconfigured nor
	// Internal: alarms count those, and a deployment that causes them is rolled back.
	ByCaller bool

	// Lasting is true if the errcode is the same for every user until somebody
	// fixes the cause or the day ends. It keeps its kind even inside a [NoVerdict].
	Lasting bool
}

// Refusals returns a row for every errcode that the function knows. A row with an
// API takes precedence over one without. Any other errcode is [UpstreamError].
//
// The errcodes are from the pages of the four APIs (see shared/wechat) and from
// the list of global errcodes:
// https://developers.weixin.qq.com/doc/oplatform/developers/errCode/errCode.html
func Refusals() []Refusal {
	return []Refusal{
		{"", wechat.Busy, Unavailable, true, false},
		{"", wechat.TooManyCalls, RateLimited, true, false},
		{"", wechat.QuotaExhausted, QuotaExhausted, true, true},

		{wechat.LoginAPI, wechat.InvalidCode, CodeRejected, true, false},
		{wechat.LoginAPI, wechat.CodeUsed, CodeRejected, true, false},
		{wechat.LoginAPI, wechat.UserBlocked, UserBlocked, true, false},
		{wechat.PhoneAPI, wechat.InvalidCode, CodeRejected, true, false},
		{wechat.PhoneAPI, wechat.CodeUsed, CodeRejected, true, false},
		{wechat.PhoneAPI, wechat.UserBlocked, UserBlocked, true, false},
		{wechat.PhoneAPI, wechat.InvalidAppID, CodeRejected, true, false},  // another mini-program's code
		{wechat.PhoneAPI, wechat.InvalidOpenID, CodeRejected, true, false}, // another user's code

		{wechat.TokenAPI, wechat.InvalidToken, Misconfigured, false, false}, // the app secret is wrong
		{"", wechat.InvalidAppID, Misconfigured, false, false},
		{"", wechat.InvalidAppSecret, Misconfigured, false, false},
		{"", wechat.AppIDMissing, Misconfigured, false, false},
		{"", wechat.AppSecretMissing, Misconfigured, false, false},
		{"", wechat.AddressRefused, Misconfigured, false, false},
		{"", wechat.AppSecretFrozen, Misconfigured, false, false},

		// The mini-program is not allowed to call the API.
		{"", wechat.APIUnauthorized, Misconfigured, false, true},
		{"", wechat.TokenUnfit, Misconfigured, false, true},
		{"", wechat.AddressPending, Misconfigured, false, true},
		{"", wechat.CallPending, Misconfigured, false, true},
		{"", wechat.AddressDeniedForDay, Misconfigured, false, true},
		{"", wechat.AddressDeniedForHour, Misconfigured, false, true},
	}
}

// refusal returns the row for an API's errcode.
func refusal(api wechat.API, errcode int) Refusal {
	found := Refusal{API: api, ErrCode: errcode, Kind: UpstreamError}
	for _, r := range Refusals() {
		if r.ErrCode == errcode && r.API == api {
			return r
		}
		if r.ErrCode == errcode && r.API == "" {
			found = r
		}
	}
	return found
}

// kindOfCall returns the kind of a failed call.
func kindOfCall(e *wechat.Error) Kind {
	switch {
	case e.Kind == wechat.Refused:
		return refusal(e.API, e.ErrCode).Kind
	case e.Kind == wechat.Unreachable, e.API == wechat.TokenAPI: // this call sent no code
		return Unavailable
	case e.Kind == wechat.TimedOut:
		return UpstreamTimeout
	}
	return UpstreamError
}

// ofNoVerdict returns the failure for the error inside a [NoVerdict].
func ofNoVerdict(err error) Failure {
	f := Of(err)
	if e, ok := errors.AsType[*wechat.Error](err); ok && e.Kind == wechat.Refused && refusal(e.API, e.ErrCode).Lasting {
		return f
	}
	return Failure{Kind: Unavailable, Reason: f.Reason}
}
