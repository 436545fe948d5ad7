// Package wechat is a client of WeChat's server API, api.weixin.qq.com.
//
// Make one Client per process and call Code2Session with a login code, or
// PhoneNumber with the code of a tap. Codes work once, so the client's promise
// is that WeChat gets one once at most, except where nothing of the request was
// written or where WeChat answered that it was busy.
//
// All but Code2Session want an access token: make one Tokens per process, which
// gets them with StableToken and keeps them.
package wechat

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wechat-phone/shared/opendata"
	"wechat-phone/shared/redacted"
	"wechat-phone/shared/sendonce"
)

// AppSecret is the mini-program's secret. It prints as "[redacted]".
type AppSecret struct{ redacted.Value }

// Credentials are what WeChat knows a mini-program by.
type Credentials struct {
	AppID  string
	Secret AppSecret
}

// Key returns the appid, which stays when the secret is rotated.
func (c Credentials) Key() string { return c.AppID }

// Equal reports whether both are the same.
func (c Credentials) Equal(other Credentials) bool {
	return c.AppID == other.AppID && c.Secret.Equal(other.Secret.Value)
}

// Session is a user's login. OpenID is the user's within the mini-program;
// UnionID is the user's across its owner's Open Platform account, empty where
// WeChat sent none.
type Session struct {
	Key     opendata.SessionKey
	OpenID  string
	UnionID string
}

// WeChat's errcodes that have a meaning here. Each API's page lists its own (see
// the functions).
const (
	Busy             = -1
	InvalidToken     = 40001 // or, if a token is asked for, an invalid app secret
	InvalidOpenID    = 40003
	InvalidAppID     = 40013 // or, from getuserphonenumber, another mini-program's code
	MalformedToken   = 40014
	InvalidCode      = 40029 // expired, or never given to this mini-program
	InvalidAppSecret = 40125
	CodeUsed         = 40163
	AddressRefused   = 40164 // the caller is not on the IP whitelist
	UserBlocked      = 40226 // as high-risk
	AppSecretFrozen  = 40243
	AppIDMissing     = 41002
	AppSecretMissing = 41004
	TokenExpired     = 42001
	QuotaExhausted   = 45009 // for today
	TooManyCalls     = 45011 // in this minute

	// The mini-program may not call the API.
	APIUnauthorized      = 48001
	TokenUnfit           = 61024 // its access token may not be used for this API
	AddressPending       = 89501 // an administrator must confirm the caller's address
	CallPending          = 89503 // an administrator must confirm the call
	AddressDeniedForDay  = 89506 // an administrator has refused the address
	AddressDeniedForHour = 89507

	unknownData = 1 // of CheckEncryptedMsg
)

// API is one of WeChat's, by its name.
type API string

// The APIs that a Client calls.
const (
	Connecting    API = "connect" // to any of them
	LoginAPI      API = "jscode2session"
	TokenAPI      API = "stable_token"
	PhoneAPI      API = "getuserphonenumber"
	SealedDataAPI API = "checkencryptedmsg"
)

// Kind says how a call failed.
type Kind string

// The kinds.
const (
	Refused  Kind = "refused"  // WeChat answered with an errcode
	Disowned Kind = "disowned" // WeChat answered that it did not seal the data

	Unreachable = Kind(sendonce.Unreachable) // nothing of the request was written
	Lost        = Kind(sendonce.Lost)        // the connection broke after the request was written
	TimedOut    = Kind(sendonce.TimedOut)    // no answer in time to a request that was written
	Malformed   = Kind(sendonce.Malformed)   // an answer that is not WeChat's to this request
)

// Error is the one error of calls. It holds no URL, no address and none of
// WeChat's text, so it may be logged.
type Error struct {
	API     API // that was called
	Kind    Kind
	ErrCode int    // where there is one
	RID     string // beside it: what WeChat's support asks for
	Reason  string // of the other kinds: a class such as "dns" or "status 502"
}

func (e *Error) Error() string {
	if e.Kind == Refused {
		return fmt.Sprintf("wechat: %s refused with errcode %d, rid %q", e.API, e.ErrCode, e.RID)
	}
	return fmt.Sprintf("wechat: %s %s: %s", e.API, e.Kind, e.Reason)
}

// RejectsCredentials reports whether err is WeChat's refusal of the appid or of
// the app secret, which other credentials may cure. A refusal of a phone code by
// [InvalidAppID] is not: the code is another mini-program's, and a stranger could
// send it.
func RejectsCredentials(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.ErrCode {
	case InvalidAppID:
		return e.API != PhoneAPI
	case InvalidToken:
		return e.API == TokenAPI
	}
	return e.ErrCode == InvalidAppSecret
}

// RejectsToken reports whether err is WeChat's refusal of an access token, which
// another may cure.
func RejectsToken(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.ErrCode == InvalidToken || e.ErrCode == MalformedToken || e.ErrCode == TokenExpired) && e.API != TokenAPI
}

// Disowns reports whether err is WeChat's verdict that sealed data is not its own.
func Disowns(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == Disowned
}

// Client calls WeChat. It is safe for concurrent use.
type Client struct {
	base   *url.URL
	server *sendonce.Client
}

// hostLetters are those that go into a Host header as they are.
const hostLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:[]"

// New returns a client of the API at baseURL, an http or https URL that may
// have a path. It does no I/O.
func New(baseURL string) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Hostname() == "" || strings.Trim(base.Host, hostLetters) != "" ||
		base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		// Neither URL nor err is repeated: they may hold a password.
		return nil, errors.New("must be a URL of scheme, host and path alone")
	}
	server, err := sendonce.New(base)
	if err != nil {
		return nil, err
	}
	if base.Path == "" {
		base.Path = "/" // or JoinPath would take it as relative
	}
	return &Client{base, server}, nil
}

// Connect opens a connection ahead, TLS included, so that the first call finds
// it ready. It sends no request. Every error is an [*Error].
func (c *Client) Connect(ctx context.Context) error {
	if err := c.server.Connect(ctx); err != nil {
		failure := unanswered(err)
		failure.API = Connecting
		return failure
	}
	return nil
}

// unanswered is the error of a request that sendonce got no answer to.
func unanswered(err error) *Error {
	failure, _ := errors.AsType[*sendonce.Error](err) // sendonce has no other
	return &Error{Kind: Kind(failure.Kind), Reason: failure.Reason}
}

// Code2Session exchanges a login code for the user's session, until ctx ends.
// What is Busy, and what failed before anything was written, is tried again
// twice, here as by all calls. Every error is an *Error.
//
// https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html
func (c *Client) Code2Session(ctx context.Context, app Credentials, code string) (Session, error) {
	answer, err := call[sessionAnswer](ctx, c, request{api: LoginAPI, target: "/sns/jscode2session" +
		"?appid=" + url.QueryEscape(app.AppID) + "&grant_type=authorization_code" +
		"&js_code=" + url.QueryEscape(code) + "&secret=" + url.QueryEscape(app.Secret.Reveal())})
	if err != nil {
		return Session{}, err
	}
	return answer.session()
}

type sessionAnswer struct {
	SessionKey string `json:"session_key"`
	OpenID     string `json:"openid"`
	UnionID    string `json:"unionid"`
}

func (a sessionAnswer) fits(request) bool {
	_, err := a.session()
	return err == nil
}

func (a sessionAnswer) session() (Session, error) {
	key, err := opendata.ParseSessionKey(a.SessionKey)
	if err != nil || a.OpenID == "" {
		return Session{}, &Error{API: LoginAPI, Kind: Malformed, Reason: "no session"}
	}
	return Session{key, a.OpenID, a.UnionID}, nil
}

// pauses stand between one try and the next. They are short: a user waits, and
// mini-programs drop their requests five seconds after they are left.
var pauses = [...]time.Duration{100 * time.Millisecond, 300 * time.Millisecond}

// request is a call of one of WeChat's APIs: a GET, or a POST if it has a body.
type request struct {
	api    API
	target string // path and query
	body   any    // what JSON is made of, which cannot fail
	appID  string // that the answer must name, if its API names one
}

// answer is what an API answers.
type answer interface {
	// fits reports whether the answer holds all that the request asked for.
	fits(request) bool
}

func (a tokenAnswer) fits(request) bool {
	_, _, err := a.token("")
	return err == nil
}

// call sends a request and returns the answer. Its errors are *Errors.
func call[T answer](ctx context.Context, c *Client, r request) (T, error) {
	for try := 0; ; try++ {
		answer, failure := callOnce[T](ctx, c, r)
		if failure == nil {
			return answer, nil
		}
		failure.API = r.api
		again := failure.Kind == Unreachable || failure.Kind == Refused && failure.ErrCode == Busy
		if !again || try == len(pauses) {
			return answer, failure
		}
		select {
		case <-ctx.Done():
			return answer, failure
		case <-time.After(pauses[try]):
		}
	}
}

// message is the request as HTTP. WeChat answers a chunked body with 412, so a
// body has its length.
func (c *Client) message(ctx context.Context, r request) *http.Request {
	path, query, _ := strings.Cut(r.target, "?")
	target := c.base.JoinPath(path)
	target.RawQuery = query
	header := http.Header{"User-Agent": {"wechat-phone"}, "Accept": {"application/json"}}
	message := &http.Request{Method: http.MethodGet, URL: target, Header: header}
	if r.body != nil {
		body, _ := json.Marshal(r.body)
		message.Method = http.MethodPost
		message.Body = io.NopCloser(bytes.NewReader(body))
		message.ContentLength = int64(len(body))
		header.Set("Content-Type", "application/json")
	}
	return message.WithContext(ctx)
}

// callOnce keeps the connection only after a success. A refusal looks the same
// from every API, so it does not prove that this answer is the request's own: if
// it was another's, this request's answer, a session perhaps, is still to come,
// and the next user would get it.
func callOnce[T answer](ctx context.Context, c *Client, r request) (got T, failure *Error) {
	err := c.server.Do(c.message(ctx, r), func(status int, body []byte) bool {
		if status != http.StatusOK {
			failure = &Error{Kind: Malformed, Reason: fmt.Sprint("status ", status)}
			return false
		}
		got, failure = decode[T](body)
		return failure == nil && got.fits(r)
	})
	if err != nil {
		return got, unanswered(err)
	}
	return got, failure
}

// decode reads WeChat's JSON, which holds an answer or an errcode. Its errors,
// too, come under status 200, and all of it as text/plain.
func decode[T any](body []byte) (answer T, _ *Error) {
	var decoded struct {
		Answer  T      `json:",embed"`
		ErrCode int    `json:"errcode"`
		ErrMsg  string `json:"errmsg"`
	}
	if json.Unmarshal(body, &decoded) != nil {
		return answer, &Error{Kind: Malformed, Reason: "not JSON"}
	}
	if decoded.ErrCode != 0 {
		return answer, &Error{Kind: Refused, ErrCode: decoded.ErrCode, RID: rid(decoded.ErrMsg)}
	}
	return decoded.Answer, nil
}

// rid finds the request id in WeChat's text, as in "invalid code, rid:
// 635d0e49-1d10d2a8-0c6c7c7d". Nothing of another form is taken: the text may
// hold the caller's address, or what was sent.
func rid(text string) string {
	const form = "635d0e49-1d10d2a8-0c6c7c7d"
	_, id, _ := strings.Cut(text, "rid: ")
	if len(id) < len(form) {
		return ""
	}
	for i, want := range form {
		if (want == '-') != (id[i] == '-') || !strings.Contains("0123456789abcdef-", id[i:i+1]) {
			return ""
		}
	}
	return id[:len(form)]
}
