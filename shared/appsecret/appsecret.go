// Package appsecret caches the mini-programs' credentials. It reads them from
// Secrets Manager once, and again when WeChat rejects them or a request names a
// mini-program that it does not know.
//
// The secret holds one mini-program, in WeChat's own words, as the form for
// key/value pairs in the Secrets Manager console also makes it:
//
//	{"appid":"wx…","secret":"…"}
//
// or several:
//
//	{"wx…":"secret","wx…":"secret"}
package appsecret

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"wechat-phone/shared/flight"
	"wechat-phone/shared/neterror"
	"wechat-phone/shared/wechat"
)

// rereadEvery limits re-reads. A secret that is wrong, or an appid that does not
// exist, must not be looked up by every request.
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

// Store caches what a secret holds. It is safe for concurrent use. Every error
// that it returns is an [*Error] unless it is a panic's.
type Store struct {
	api    SecretsManager
	id     secretID
	clock  flight.Clock
	source *flight.Source[secretID, Apps]

	mu       sync.Mutex
	rejected map[string]*reread // by appid
	unknown  *reread
}

// reread is the last re-read for one purpose.
type reread struct {
	flight *flight.Flight[secretID, Apps]
	at     time.Time
}

// secretID is the secret's name or ARN.
type secretID string

// Key implements [flight.Arg].
func (id secretID) Key() string { return string(id) }

// Equal implements [flight.Arg].
func (id secretID) Equal(other secretID) bool { return id == other }

// New returns a Store of the secret with that name or ARN. It does no I/O.
func New(api SecretsManager, id string, now func() time.Time) *Store {
	s := &Store{api: api, id: secretID(id), clock: now, rejected: map[string]*reread{}}
	s.source = flight.New(s.read, s.clock)
	return s
}

// Load fetches the secret at start, ahead of the first request, and takes two
// seconds at most. Its failure is not remembered: the first request tries again.
func (s *Store) Load() (Apps, error) { return s.source.Load(s.id) }

// Get returns what the secret holds. If the Store has nothing yet it fetches the
// secret, but not within a second of a failure. Concurrent callers share one
// fetch.
func (s *Store) Get(ctx context.Context) (Apps, error) {
	got, err := s.source.Get(ctx, s.id, func(Apps) bool { return true })
	return got, timeout(ctx, err)
}

// Refresh returns the credentials to use instead of those that WeChat has
// rejected, for the same mini-program. If the Store has others by now, it returns
// them. Otherwise it rereads the secret, at most once in 30 seconds for each
// mini-program. Until then it returns what that reading gave: the same
// credentials, if the secret has not changed or no longer holds the mini-program,
// or its failure.
func (s *Store) Refresh(ctx context.Context, rejected wechat.Credentials) (wechat.Credentials, error) {
	current, _ := s.source.Current(s.id.Key())
	if app, ok := current.Find(rejected.AppID); ok && !app.Equal(rejected) {
		return app, nil
	}
	s.mu.Lock()
	f := s.again(s.rejected[rejected.AppID])
	s.rejected[rejected.AppID] = f
	s.mu.Unlock()
	apps, err := f.flight.Wait(ctx)
	if err != nil {
		return wechat.Credentials{}, timeout(ctx, err)
	}
	if app, ok := apps.Find(rejected.AppID); ok {
		return app, nil
	}
	return rejected, nil
}

// Usable returns app. If its secret is empty, it rereads the secret as [Store.Refresh]
// does, and an app that stays without one is an error of that mini-program alone.
func (s *Store) Usable(ctx context.Context, app wechat.Credentials) (wechat.Credentials, error) {
	if app.Secret.Reveal() != "" {
		return app, nil
	}
	app, err := s.Refresh(ctx, app)
	if err == nil && app.Secret.Reveal() == "" {
		err = &Error{Reason: "malformed: the mini-program's secret is empty"}
	}
	return app, err
}

// Discover rereads the secret for an appid that it did not hold, at most once in
// 30 seconds for the whole process, since anybody can name an appid. Until then it
// returns what that reading gave. Every failure is temporary.
func (s *Store) Discover(ctx context.Context) (Apps, error) {
	s.mu.Lock()
	s.unknown = s.again(s.unknown)
	f := s.unknown
	s.mu.Unlock()
	apps, err := f.flight.Wait(ctx)
	if e, ok := errors.AsType[*Error](timeout(ctx, err)); ok {
		return apps, &Error{Temporary: true, Reason: e.Reason}
	}
	return apps, err
}

// again returns last, or a new re-read if last is too old. The caller holds mu.
func (s *Store) again(last *reread) *reread {
	if last != nil && s.clock.Within(last.at, rereadEvery) {
		return last
	}
	return &reread{s.source.Fetch(s.id), s.clock.Now()}
}

// timeout returns err as an [*Error] if it is ctx's.
func timeout(ctx context.Context, err error) error {
	if err != nil && errors.Is(err, ctx.Err()) {
		return &Error{Temporary: true, Reason: "timeout"}
	}
	return err
}

// read fetches the secret. Every error is an [*Error].
func (s *Store) read(ctx context.Context, secret secretID) (Apps, error) {
	id := string(secret)
	var sent sentWith
	out, err := s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id}, sent.option)
	if err != nil {
		return Apps{}, classify(ctx, err, sent.err)
	}
	if out.SecretString == nil {
		return Apps{}, &Error{Reason: "malformed: binary"}
	}
	return Parse(*out.SecretString)
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
