// Package appsecret caches the mini-program's credentials. It reads them from
// Secrets Manager once, and again when WeChat rejects them.
//
// The secret is a JSON object in WeChat's own words, as the form for key/value
// pairs in the Secrets Manager console also makes it:
//
//	{"appid":"wx…","secret":"…"}
package appsecret

import (
	"context"
	"crypto/tls"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"wechat-phone/shared/flight"
	"wechat-phone/shared/neterror"
	"wechat-phone/shared/redacted"
	"wechat-phone/shared/wechat"
)

// A secret that is wrong in WeChat's eyes must not be read by every request.
const rereadEvery = 30 * time.Second

// SecretsManager is the one call that a Store makes.
type SecretsManager interface {
	GetSecretValue(
		context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options),
	) (*secretsmanager.GetSecretValueOutput, error)
}

// Error says why there are no credentials. It holds nothing of the secret, and
// may be logged.
type Error struct {
	// Temporary failures pass by themselves: Secrets Manager throttled, failed
	// or was not reached. The others need somebody to act.
	Temporary bool
	// Reason is a class: AWS's error code, "malformed: " and how, or what went
	// wrong on the network, such as "timeout", "dns" or "connection refused".
	Reason string
}

func (e *Error) Error() string { return "appsecret: " + e.Reason }

// Store caches the credentials that a secret holds. It is safe for concurrent
// use. Every error that it returns is an [*Error] unless it is a panic's.
type Store struct {
	api    SecretsManager
	id     secretID
	clock  flight.Clock
	source *flight.Source[secretID, wechat.Credentials]

	mu       sync.Mutex
	reread   *flight.Flight[secretID, wechat.Credentials] // the last one for Refresh
	rereadAt time.Time
}

// secretID is the secret's name or ARN.
type secretID string

// Key implements [flight.Arg].
func (id secretID) Key() string { return string(id) }

// Equal implements [flight.Arg].
func (id secretID) Equal(other secretID) bool { return id == other }

// New returns a Store of the secret with that name or ARN. It does no I/O.
func New(api SecretsManager, id string, now func() time.Time) *Store {
	s := &Store{api: api, id: secretID(id), clock: now}
	s.source = flight.New(s.read, s.clock)
	return s
}

// Load fetches the secret at start, ahead of the first request, and takes two
// seconds at most. Its failure is not remembered: the first request tries again.
func (s *Store) Load() (wechat.Credentials, error) { return s.source.Load(s.id) }

// Get returns the credentials. If there are none yet it fetches them, but not
// within a second of a failure. Concurrent callers share one fetch.
func (s *Store) Get(ctx context.Context) (wechat.Credentials, error) {
	got, err := s.source.Get(ctx, s.id, func(wechat.Credentials) bool { return true })
	return got, timeout(ctx, err)
}

// Refresh returns the credentials to use instead of those that WeChat has
// rejected. If the Store has others by now, it returns them. Otherwise it rereads
// the secret, at most once in 30 seconds for the whole process. Until then it
// returns what that reading gave: the same credentials, if the secret has not
// changed, or its failure.
func (s *Store) Refresh(ctx context.Context, rejected wechat.Credentials) (wechat.Credentials, error) {
	if current, ok := s.source.Current(s.id.Key()); ok && !current.Equal(rejected) {
		return current, nil
	}
	s.mu.Lock()
	if s.reread == nil || !s.clock.Within(s.rereadAt, rereadEvery) {
		s.reread, s.rereadAt = s.source.Fetch(s.id), s.clock.Now()
	}
	f := s.reread
	s.mu.Unlock()
	got, err := f.Wait(ctx)
	return got, timeout(ctx, err)
}

// timeout returns err as an [*Error] if it is ctx's.
func timeout(ctx context.Context, err error) error {
	if err != nil && errors.Is(err, ctx.Err()) {
		return &Error{Temporary: true, Reason: "timeout"}
	}
	return err
}

// read fetches the secret. Every error is an [*Error].
func (s *Store) read(ctx context.Context, secret secretID) (wechat.Credentials, error) {
	id := string(secret)
	var sent sentWith
	out, err := s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id}, sent.option)
	if err != nil {
		return wechat.Credentials{}, classify(ctx, err, sent.err)
	}
	if out.SecretString == nil {
		return wechat.Credentials{}, &Error{Reason: "malformed: binary"}
	}
	credentials, problem := parse(*out.SecretString)
	if problem != "" {
		return wechat.Credentials{}, &Error{Reason: "malformed: " + problem}
	}
	return credentials, nil
}

// sentWith is an HTTP client that remembers how its last request failed. The SDK
// retries until the deadline and then says only that the deadline has passed.
type sentWith struct {
	secretsmanager.HTTPClient
	err error
}

// option makes the SDK send through w.
func (w *sentWith) option(o *secretsmanager.Options) { w.HTTPClient, o.HTTPClient = o.HTTPClient, w }

// Do implements [secretsmanager.HTTPClient].
func (w *sentWith) Do(r *http.Request) (*http.Response, error) {
	answer, err := w.HTTPClient.Do(r)
	w.err = err
	return answer, err
}

// classify takes for temporary what is no answer, a 5xx, or throttling. All other
// answers (missing, denied, to be deleted, key disabled) stay as they are until
// somebody acts. sending is the last failure to send a request, if there was one.
func classify(ctx context.Context, err, sending error) *Error {
	// Interfaces, rather than the SDK's types, save two modules for two methods.
	answer, answered := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err)
	_, broken := errors.AsType[net.Error](err)
	broken = broken || errors.Is(err, io.ErrUnexpectedEOF) // half an answer
	switch {
	case sending != nil:
		return &Error{Temporary: true, Reason: networkClass(sending)}
	case ctx.Err() != nil:
		return &Error{Temporary: true, Reason: "timeout"}
	case broken:
		return &Error{Temporary: true, Reason: networkClass(err)}
	case !answered, answer.HTTPStatusCode() == 0:
		return &Error{Temporary: true, Reason: "network"}
	}
	status, code := answer.HTTPStatusCode(), errorCode(err)
	return &Error{Temporary: status >= 500 || status == http.StatusTooManyRequests || throttling(code), Reason: code}
}

// networkClass is [neterror.Class], which says "tls: " before failures of TLS.
func networkClass(err error) string {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	class := neterror.Class(err)
	if class == "certificate" || record || alert || errors.Is(err, http.ErrSchemeMismatch) {
		return "tls: " + class
	}
	return class
}

// errorCode returns AWS's code, if it looks like one.
func errorCode(err error) string {
	coded, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err)
	if !ok || len(coded.ErrorCode()) > 64 || strings.Trim(coded.ErrorCode(), codeLetters) != "" {
		return "unknown"
	}
	return coded.ErrorCode()
}

const codeLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:#"

// throttling knows the codes by which AWS asks for patience, under status 400.
func throttling(code string) bool {
	return strings.Contains(code, "Throttl") || strings.Contains(code, "TooManyRequests") ||
		strings.Contains(code, "LimitExceeded") || code == "SlowDown"
}

// parse reads the secret's text. It removes what copying and pasting leaves around
// the text and its values: white space, byte order marks. The problem, if there is
// one, repeats nothing of the secret.
func parse(text string) (_ wechat.Credentials, problem string) {
	var fields map[string]jsontext.Value
	if json.Unmarshal([]byte(trim(text)), &fields) != nil || fields == nil {
		return wechat.Credentials{}, "not a JSON object"
	}
	appID, problem := value(fields, "appid")
	if problem != "" {
		return wechat.Credentials{}, problem
	}
	appSecret, problem := value(fields, "secret", "appsecret")
	if problem != "" {
		return wechat.Credentials{}, problem
	}
	return wechat.Credentials{AppID: appID, Secret: wechat.AppSecret{Value: redacted.New(appSecret)}}, ""
}

// value returns a field's value. If there is no such field, but one whose name
// differs in case or is another in use, the problem says so.
func value(fields map[string]jsontext.Value, name string, others ...string) (text, problem string) {
	raw, ok := fields[name]
	if !ok {
		for written := range fields {
			if slices.ContainsFunc(append(others, name), func(n string) bool { return strings.EqualFold(n, written) }) {
				return "", "the name " + name + " is spelled in another way"
			}
		}
		return "", name + " is missing"
	}
	if raw.Kind() != jsontext.KindString || json.Unmarshal(raw, &text) != nil {
		return "", name + " is not a string"
	}
	if text = trim(text); text == "" {
		return "", name + " is empty"
	}
	return text, ""
}

func trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
}
