// Package wechat is a client of WeChat's server API, api.weixin.qq.com.
//
// Make one [Client] per process. Call [Client.Code2Session] with a login code, or
// [Client.PhoneNumber] with a phone code. A code works only once, so the client
// does not repeat a request after any of it was written, unless WeChat answered
// that it was busy.
//
// The other calls need an access token. Make one [Tokens] per process: it fetches
// tokens with [Client.StableToken] and caches them.
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

// Credentials identify a mini-program to WeChat.
type Credentials struct {
	AppID  string
	Secret AppSecret
}

// Key returns the appid, which does not change when the secret is rotated.
func (c Credentials) Key() string { return c.AppID }

// Equal reports whether both are the same.
func (c Credentials) Equal(other Credentials) bool {
	return c.AppID == other.AppID && c.Secret.Equal(other.Secret.Value)
}

// Session is a user's login.
type Session struct {
	Key     opendata.SessionKey
	OpenID  string // identifies the user within the mini-program
	UnionID string // identifies the user within its owner's Open Platform account; may be empty
}

// The errcodes that this package or its callers handle. Each API's page, linked from
// its method, lists all of its errcodes.
const (
	Busy             = -1
	InvalidToken     = 40001 // from stable_token: the app secret is invalid
	InvalidOpenID    = 40003
	InvalidAppID     = 40013 // from getuserphonenumber: the code is another mini-program's
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

	// The mini-program is not allowed to call the API.
	APIUnauthorized      = 48001
	TokenUnfit           = 61024 // its access token is not valid for this API
	AddressPending       = 89501 // an administrator must confirm the caller's address
	CallPending          = 89503 // an administrator must confirm the call
	AddressDeniedForDay  = 89506 // an administrator has refused the address
	AddressDeniedForHour = 89507

	unknownData = 1 // from checkencryptedmsg: WeChat did not seal the data
)

// API is the name of one of WeChat's APIs.
type API string

// The APIs that a [Client] calls.
const (
	Connecting    API = "connect" // not an API: a connection opened ahead of any call
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
	Lost        = Kind(sendonce.Lost)        // the connection broke after something was written
	TimedOut    = Kind(sendonce.TimedOut)    // something was written, and no answer came in time
	Malformed   = Kind(sendonce.Malformed)   // the answer does not fit the request
)

// Error says how a call failed. It holds no URL, no address and none of WeChat's
// text, so it may be logged.
type Error struct {
	API     API
	Kind    Kind
	ErrCode int    // if WeChat sent one
	RID     string // with an errcode: WeChat's request id, which its support asks for
	Reason  string // for the other kinds: a class such as "dns" or "status 502"
}

func (e *Error) Error() string {
	if e.Kind == Refused {
		return fmt.Sprintf("wechat: %s refused with errcode %d, rid %q", e.API, e.ErrCode, e.RID)
	}
	return fmt.Sprintf("wechat: %s %s: %s", e.API, e.Kind, e.Reason)
}

// RejectsCredentials reports whether WeChat rejected the appid or the app secret,
// so that other credentials may help. [InvalidAppID] from getuserphonenumber does
// not count: the phone code is another mini-program's, and any stranger can send
// one.
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

// RejectsToken reports whether WeChat rejected the access token, so that another
// one may help.
func RejectsToken(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.API == TokenAPI {
		return false
	}
	return e.ErrCode == InvalidToken || e.ErrCode == MalformedToken || e.ErrCode == TokenExpired
}

// Disowns reports whether err is WeChat's verdict that it did not seal the data.
func Disowns(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == Disowned
}

// Client calls WeChat. It is safe for concurrent use.
type Client struct {
	base   *url.URL // with a slash at the end
	server *sendonce.Client
}

// hostLetters are allowed in a Host header without encoding.
const hostLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:[]"

// New returns a client of the API at baseURL, an http or https URL that may
// have a path. It does no I/O.
func New(baseURL string) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Hostname() == "" || strings.Trim(base.Host, hostLetters) != "" ||
		base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		// The error repeats neither the URL nor err, which may hold a password.
		return nil, errors.New("must be a URL with only a scheme, a host and a path")
	}
	server, err := sendonce.New(base)
	if err != nil {
		return nil, err
	}
	return &Client{base.JoinPath("/"), server}, nil
}

// Connect opens a connection, including TLS, for the first call to use. It sends
// no request. Every error is an [*Error].
func (c *Client) Connect(ctx context.Context) error {
	if err := c.server.Connect(ctx); err != nil {
		failure := convert(err)
		failure.API = Connecting
		return failure
	}
	return nil
}

// convert returns an error of package sendonce as an [*Error].
func convert(err error) *Error {
	failure, _ := errors.AsType[*sendonce.Error](err) // sendonce returns no other type
	return &Error{Kind: Kind(failure.Kind), Reason: failure.Reason}
}

// Code2Session exchanges a login code for the user's session. Every error is an
// [*Error].
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

// pauses are the pauses before each retry. They are short because a user is
// waiting, and because WeChat ends a mini-program's requests five seconds after the
// user leaves it.
var pauses = [...]time.Duration{100 * time.Millisecond, 300 * time.Millisecond}

// request is a call to one of WeChat's APIs: a GET, or a POST if it has a body.
type request struct {
	api    API
	target string // path and query
	body   any    // sent as JSON; encoding it must not fail
	appID  string // the appid that the answer must have, if this API's answers have one
}

// answer is an API's decoded answer.
type answer interface {
	// fits reports whether the answer has everything that the request asked for. If
	// not, it may be another request's, so its connection must not carry the next.
	fits(request) bool
}

// call sends a request and returns the answer. If WeChat is busy, or nothing of
// the request was written, it retries twice. Every error is an [*Error].
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

// message returns the request in HTTP. It sets the body's length, because WeChat
// answers a chunked body with status 412.
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

// callOnce sends a request without retries. It keeps the connection only after a
// success. A refusal looks the same from every API, so it could belong to an
// earlier request. Then this request's answer, perhaps a session, is still to come
// on this connection, and the next user would get it.
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
		return got, convert(err)
	}
	return got, failure
}

// decode reads WeChat's JSON, which has an answer or an errcode. WeChat sends
// both with status 200 and as text/plain.
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

// rid returns the request id in WeChat's text, such as "invalid code, rid:
// 635d0e49-1d10d2a8-0c6c7c7d". It accepts this form only, because the text may
// also hold the caller's address or parts of the request.
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
