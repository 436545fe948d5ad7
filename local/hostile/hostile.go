// Package hostile is a catalogue of bad input that the function must survive:
// requests and events from callers, and answers from WeChat and Secrets Manager. The
// tests, the fuzz seeds and the soak tests share it.
//
// All secret and personal data in it is marked, so that [Leak] finds it in any text.
package hostile

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"

	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// mark is in all secret and personal data except phone numbers.
const mark = "canary"

// User returns the n-th user. [Leak] finds all the user's data.
func User(n int) wechattest.User {
	number := fmt.Sprintf("1359999%04d", n%10000)
	return wechattest.User{
		SessionKey: fmt.Appendf(nil, "%s%010d", mark, n), OpenID: fmt.Sprintf("%s-openid-%d", mark, n),
		Phone: number, PurePhone: number, CountryCode: "86",
	}
}

// Code returns the n-th login code. [Leak] finds it.
func Code(n int) string { return fmt.Sprintf("%s-code-%d", mark, n) }

// PhoneCode returns the n-th phone code. [Leak] finds it.
func PhoneCode(n int) string { return fmt.Sprintf("%s-phone-code-%d", mark, n) }

// leaks matches secret and personal data: the mark, in plain text, hex and base64;
// phone numbers; the stage's app secret and access tokens; identity tokens; and any
// text long enough to be sealed data.
var leaks = regexp.MustCompile(`(?i)` + mark + `|` + hex.EncodeToString([]byte(mark)) + `|1359999\d{4}` +
	`|` + stage.AppSecret + `|` + wechattest.TokenMark +
	`|(?-i)eyJ[\w-]{12}|` + base64.RawStdEncoding.EncodeToString([]byte(mark)) + `|[A-Za-z0-9+/]{60}`)

// Leak returns the first piece of secret or personal data in text, or "".
func Leak(text string) string { return leaks.FindString(text) }

// Want is the expected answer: a row of the error table, or the zero value for a
// success.
type Want struct {
	Error  string
	Status int
	Action string
}

var (
	invalidRequest = Want{"invalid_request", 400, "fix"}
	notFound       = Want{"not_found", 404, "fix"}
	wrongMethod    = Want{"method_not_allowed", 405, "fix"}
	tooLarge       = Want{"payload_too_large", 413, "fix"}
	wrongType      = Want{"unsupported_media_type", 415, "fix"}
	codeRejected   = Want{"code_rejected", 400, "login"}
	undecryptable  = Want{"undecryptable", 422, "login"}
	userBlocked    = Want{"user_blocked", 403, "none"}
	rateLimited    = Want{"rate_limited", 429, "wait"}
	quotaExhausted = Want{"quota_exhausted", 503, "none"}
	misconfigured  = Want{"misconfigured", 500, "none"}
	upstreamError  = Want{"upstream_error", 502, "login"}
	unavailable    = Want{"unavailable", 503, "retry"}
	timeout        = Want{"upstream_timeout", 504, "login"}
)

// withAction returns w with another action.
func (w Want) withAction(action string) Want {
	w.Action = action
	return w
}
