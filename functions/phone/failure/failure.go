// Package failure decides how the function answers a failed request. Call [Of] with
// any error. The [Failure] that it returns has the answer's status, action and
// message. They depend on the request's [Progress]: how far it got with WeChat. The
// package does no I/O.
package failure

import (
	"errors"

	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/panics"
	"wechat-phone/shared/signingkeys"
	"wechat-phone/shared/wechat"
)

// Error says what is wrong with a request. Its message is for the caller and
// repeats no part of the request.
type Error struct {
	Kind    Kind
	Message string // if empty, the kind's own
}

func (e *Error) Error() string { return e.Message }

// Invalid returns an [*Error] of kind [InvalidRequest].
func Invalid(message string) error { return &Error{InvalidRequest, message} }

// NoVerdict wraps the error that prevented WeChat's verdict on sealed data. The
// failure is [Unavailable], unless the error is the same for every user.
type NoVerdict struct{ Err error }

func (e *NoVerdict) Error() string { return "no verdict: " + e.Err.Error() }

// Unwrap returns the error that it wraps.
func (e *NoVerdict) Unwrap() error { return e.Err }

// Failure is a failed request.
type Failure struct {
	Kind    Kind
	Reason  string // for the log only
	message string // if empty, the kind's own
}

// Of returns the failure for err. It knows the errors of every package that serves
// a request. Any other error is [Internal].
func Of(err error) Failure {
	if e, ok := errors.AsType[*Error](err); ok {
		return Failure{e.Kind, e.Message, e.Message}
	}
	if e, ok := errors.AsType[*panics.Error](err); ok {
		return Failure{Kind: Internal, Reason: e.Error()}
	}
	if e, ok := errors.AsType[*NoVerdict](err); ok {
		return ofNoVerdict(e.Err)
	}
	if e, ok := errors.AsType[*appsecret.Error](err); ok {
		if e.Temporary {
			return Failure{Kind: Unavailable, Reason: e.Error()}
		}
		return Failure{Kind: Misconfigured, Reason: e.Error()}
	}
	if e, ok := errors.AsType[*signingkeys.Error](err); ok {
		if e.Temporary {
			return Failure{Kind: Unavailable, Reason: e.Error()}
		}
		return Failure{Kind: Misconfigured, Reason: e.Error()}
	}
	if e, ok := errors.AsType[*wechat.Error](err); ok {
		kind := kindOfCall(e)
		return Failure{kind, e.Error(), messages[e.API][kind]}
	}
	if e, ok := errors.AsType[*opendata.OpenError](err); ok {
		return Failure{Kind: Undecryptable, Reason: string(e.Reason)}
	}
	return Failure{Kind: Internal, Reason: "an error of no known type"}
}

// Action returns what the mini-program should do. It is never [Retry] or [Wait] if
// a code is spent: such a request must not be sent again.
func (f Failure) Action(p Progress) Action {
	if row := table[f.Kind]; !row.spent(p) {
		return row.action
	}
	return p.startAgain()
}

// RetryAfter returns the seconds after which the same request may be sent again,
// or "" if it may not.
func (f Failure) RetryAfter(p Progress) string {
	row := table[f.Kind]
	if row.spent(p) {
		return ""
	}
	return row.retryAfter
}

// Message returns the message for the mini-program's developer.
func (f Failure) Message(p Progress) string {
	switch {
	case f.message != "":
		return f.message
	case f.Kind == Unavailable:
		return table[f.Kind].message + "; " + p.used()
	}
	return table[f.Kind].message
}
