package failure

import (
	"maps"
	"slices"
)

// Kind is the kind of a failure: the answer's "error", which programs may rely on.
type Kind string

// The kinds.
const (
	InvalidRequest       Kind = "invalid_request"
	NotFound             Kind = "not_found"
	MethodNotAllowed     Kind = "method_not_allowed"
	PayloadTooLarge      Kind = "payload_too_large"
	UnsupportedMediaType Kind = "unsupported_media_type"
	CodeRejected         Kind = "code_rejected"
	Undecryptable        Kind = "undecryptable"
	UserBlocked          Kind = "user_blocked"
	RateLimited          Kind = "rate_limited"
	QuotaExhausted       Kind = "quota_exhausted"
	Misconfigured        Kind = "misconfigured"
	Internal             Kind = "internal"
	UpstreamError        Kind = "upstream_error"
	Unavailable          Kind = "unavailable"
	UpstreamTimeout      Kind = "upstream_timeout"
)

// Action is what the mini-program should do.
type Action string

// The actions.
const (
	Login Action = "login" // call wx.login(), then let the user tap again
	Tap   Action = "tap"   // call wx.login() again if the request had a login code, then let the user tap again
	Retry Action = "retry" // send the same request again
	Wait  Action = "wait"  // send the same request again after retry-after
	Fix   Action = "fix"   // fix the program
	None  Action = "none"  // the mini-program can do nothing
)

// Actions returns every action.
func Actions() []Action { return []Action{Login, Tap, Retry, Wait, Fix, None} }

// row says how the function answers a kind of failure.
type row struct {
	status     int
	action     Action
	spent      func(Progress) bool // if true, the codes are useless and the action is Login or Tap
	retryAfter string              // seconds
	message    string
}

// table has a row for each kind. No status is 401, which some WeChat clients
// report as a network failure.
var table = map[Kind]row{
	InvalidRequest: {400, Fix, never, "",
		"the request is malformed"},
	NotFound: {404, Fix, never, "",
		"there is nothing at this path: POST to /phone or /login"},
	MethodNotAllowed: {405, Fix, never, "",
		"another method is needed"},
	PayloadTooLarge: {413, Fix, never, "",
		"the body is over 16 KiB"},
	UnsupportedMediaType: {415, Fix, never, "",
		"the content type must be application/json or application/x-www-form-urlencoded"},
	CodeRejected: {400, Login, phoneCodeSent, "",
		"WeChat refused the login code: it is expired, used, from another mini-program, or not from wx.login() " +
			"(the button's code is a phoneCode, for /phone)"},
	Undecryptable: {422, Login, phoneCodeSent, "",
		"encryptedData cannot be opened with this login: call wx.login() before the user taps, never after"},
	UserBlocked: {403, None, never, "",
		"WeChat blocks this user as high-risk"},
	RateLimited: {429, Wait, loginAccepted, "60",
		"WeChat's per-minute limit for this mini-program or user is reached"},
	QuotaExhausted: {503, None, never, "",
		"the mini-program's daily WeChat quota is used up"},
	Misconfigured: {500, None, never, "",
		"the function is not set up correctly: its log says what is wrong"},
	Internal: {500, Retry, anyCodeSent, "",
		"the function failed"},
	UpstreamError: {502, Login, phoneCodeSent, "",
		"WeChat's answer was lost or is not understood; the login code may be used up"},
	Unavailable: {503, Retry, loginAccepted, "1",
		"WeChat or AWS is busy or cannot be reached"},
	UpstreamTimeout: {504, Login, phoneCodeSent, "",
		"WeChat did not answer in time; the login code may be used up"},
}

// Kinds returns every kind, sorted.
func Kinds() []Kind { return slices.Sorted(maps.Keys(table)) }

// Status returns the kind's HTTP status.
func (k Kind) Status() int { return table[k].status }

// Action returns the kind's action before any code was sent.
func (k Kind) Action() Action { return table[k].action }
