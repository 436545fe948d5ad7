// Package appsecret caches the mini-programs' credentials. Make one [Store] per
// process and call [Store.Get]. The Store reads the secret from Secrets Manager
// once, and again when WeChat rejects credentials ([Store.Refresh]) or a request
// names an unknown mini-program ([Store.Discover]).
//
// The secret holds one mini-program, under WeChat's own names. The key/value form
// in the Secrets Manager console also makes this JSON:
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
	"fmt"
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

// rereadEvery limits re-reads. Without it, a wrong secret or an unknown appid
// would cause one for every request.
const rereadEvery = 30 * time.Second

// SecretsManager is the part of Secrets Manager that a [Store] uses.
type SecretsManager interface {
	GetSecretValue(
		context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options),
	) (*secretsmanager.GetSecretValueOutput, error)
}

// Error says why there are no credentials. It holds nothing of the secret, so it
// may be logged.
type Error struct {
	// Temporary is true if Secrets Manager throttled, failed or was not reached.
	// Any other failure lasts until somebody fixes it.
	Temporary bool
	// Reason is a class: AWS's error code, "malformed: " and what is wrong, or a
	// network failure such as "timeout", "dns" or "connection refused".
	Reason string
}

func (e *Error) Error() string { return "appsecret: " + e.Reason }

// Store caches a secret's mini-programs. It is safe for concurrent use. Every
// error that it returns is an [*Error] or a panics.Error.
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

// Load fetches the secret before the first request. It takes at most two seconds.
// It does not remember a failure, so the first request tries again.
func (s *Store) Load() (Apps, error) { return s.source.Load(s.id) }

// Get returns the secret's mini-programs. If none are cached it fetches the
// secret, but not within a second of a failure. Concurrent callers share one
// fetch.
func (s *Store) Get(ctx context.Context) (Apps, error) {
	got, err := s.source.Get(ctx, s.id, func(Apps) bool { return true })
	return got, timeout(ctx, err)
}

// Refresh returns the mini-program's credentials after WeChat has rejected some.
// If the Store has different ones by now, it returns those. Otherwise it rereads
// the secret, at most once in 30 seconds for each mini-program. Within that time
// it returns the last re-read's result. That may be an error, or the rejected
// credentials if the secret still holds them or no longer holds the mini-program.
func (s *Store) Refresh(ctx context.Context, rejected wechat.Credentials) (wechat.Credentials, error) {
	current, _ := s.source.Current(s.id.Key())
	if app, ok := current.Find(rejected.AppID); ok && !app.Equal(rejected) {
		return app, nil
	}
	s.mu.Lock()
	f := s.rereadIfDue(s.rejected[rejected.AppID])
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

// Usable returns app if its Secret is not empty. Otherwise it rereads the secret
// as [Store.Refresh] does. If the Secret is still empty, it returns an error, which
// affects that mini-program alone.
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

// Discover rereads the secret after a request has named an unknown appid. Anybody
// can name one, so it does this at most once in 30 seconds for the whole process.
// Within that time it returns the last re-read's result. Every [*Error] is
// temporary.
func (s *Store) Discover(ctx context.Context) (Apps, error) {
	s.mu.Lock()
	s.unknown = s.rereadIfDue(s.unknown)
	f := s.unknown
	s.mu.Unlock()
	apps, err := f.flight.Wait(ctx)
	if e, ok := errors.AsType[*Error](timeout(ctx, err)); ok {
		return apps, &Error{Temporary: true, Reason: e.Reason}
	}
	return apps, err
}

// rereadIfDue returns last, or a new re-read if last is too old. The caller holds
// mu.
func (s *Store) rereadIfDue(last *reread) *reread {
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
	var recorder errorRecorder
	out, err := s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id}, recorder.option)
	if err != nil {
		return Apps{}, classify(ctx, err, recorder)
	}
	if out.SecretString == nil {
		return Apps{}, &Error{Reason: "malformed: binary"}
	}
	return Parse(*out.SecretString)
}

// errorRecorder is an HTTP client that records how its last request ended. The SDK
// retries until the deadline, and then says only that the deadline has passed.
type errorRecorder struct {
	secretsmanager.HTTPClient
	err    error
	status int // of the answer, if there was one
}

// option makes the SDK send its requests through r.
func (r *errorRecorder) option(o *secretsmanager.Options) {
	r.HTTPClient, o.HTTPClient = o.HTTPClient, r
}

// Do implements [secretsmanager.HTTPClient].
func (r *errorRecorder) Do(request *http.Request) (*http.Response, error) {
	answer, err := r.HTTPClient.Do(request)
	r.err, r.status = err, 0
	if err == nil {
		r.status = answer.StatusCode
	}
	return answer, err
}

// classify returns err as an [*Error]. No answer, a 5xx and throttling are
// temporary. All other answers (the secret is missing, denied or to be deleted, or
// its key is disabled) stay the same until somebody acts. last is how the last
// request ended.
func classify(ctx context.Context, err error, last errorRecorder) *Error {
	// Interfaces instead of the SDK's types avoid two modules for two methods.
	answer, answered := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err)
	_, broken := errors.AsType[net.Error](err)
	broken = broken || errors.Is(err, io.ErrUnexpectedEOF) // half an answer
	switch {
	case last.err != nil:
		return &Error{Temporary: true, Reason: networkClass(last.err)}
	case ctx.Err() != nil && last.status >= http.StatusBadRequest: // retried: Secrets Manager fails or throttles
		return &Error{Temporary: true, Reason: fmt.Sprint("status ", last.status)}
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

// networkClass returns the [neterror.Class] of err, with "tls: " before a failure
// of TLS.
func networkClass(err error) string {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	class := neterror.Class(err)
	if class == "certificate" || record || alert || errors.Is(err, http.ErrSchemeMismatch) {
		return "tls: " + class
	}
	return class
}

// errorCode returns AWS's error code, or "unknown" if it does not look like one.
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

// throttling reports whether AWS throttled the request. It does so with these
// codes and status 400.
func throttling(code string) bool {
	return strings.Contains(code, "Throttl") || strings.Contains(code, "TooManyRequests") ||
		strings.Contains(code, "LimitExceeded") || code == "SlowDown"
}
