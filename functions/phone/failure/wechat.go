package failure

import "wechat-phone/shared/wechat"

// messages replace a kind's own, which speaks of the login code, if an API other
// than jscode2session failed.
var messages = map[wechat.API]map[Kind]string{
	wechat.TokenAPI: {
		RateLimited:   "WeChat gives this mini-program no more access tokens for now",
		UpstreamError: "WeChat gives no access token, for a reason that is not known here",
	},
	wechat.PhoneAPI: {
		CodeRejected:    "WeChat refused the phone code: it is expired, used, or not of this mini-program or user",
		RateLimited:     "WeChat gives no more phone numbers to this mini-program for now",
		UpstreamError:   "WeChat's answer was lost or is not understood; the phone code may be used",
		UpstreamTimeout: "WeChat did not answer in time; the phone code may be used",
	},
}

// kindOfCall returns the kind of a failed call.
func kindOfCall(e *wechat.Error) Kind {
	switch {
	case e.Kind == wechat.Refused:
		return kindOfRefusal(e)
	case e.Kind == wechat.Unreachable, e.API == wechat.TokenAPI: // no code was sent
		return Unavailable
	case e.Kind == wechat.TimedOut:
		return UpstreamTimeout
	}
	return UpstreamError
}

// kindOfRefusal returns the kind of an errcode.
func kindOfRefusal(e *wechat.Error) Kind {
	if wechat.RejectsCredentials(e) {
		return Misconfigured
	}
	switch e.ErrCode {
	case wechat.Busy:
		return Unavailable
	case wechat.TooManyCalls:
		return RateLimited
	case wechat.AppIDMissing, wechat.AppSecretMissing, wechat.AddressRefused, wechat.AppSecretFrozen:
		return Misconfigured
	}
	if e.API == wechat.TokenAPI { // it gets no code and knows no user
		return UpstreamError
	}
	switch e.ErrCode {
	case wechat.InvalidCode, wechat.CodeUsed:
		return CodeRejected
	case wechat.UserBlocked:
		return UserBlocked
	}
	return UpstreamError
}
