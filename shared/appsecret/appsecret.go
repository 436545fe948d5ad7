// Package appsecret keeps the mini-program's credentials: read from Secrets
// Manager once, served from memory, and read again when WeChat rejects them.
//
// The secret is a JSON object in WeChat's own words, as the form for key/value
// pairs in the Secrets Manager console also makes it:
//
//	{"appid":"wx…","secret":"…"}
package appsecret

import (
	"context"
	"encoding/json/v2"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"wechat-phone/shared/redacted"
	"wechat-phone/shared/weixin"
)

const (
	// fetchTimeout bounds every fetch, and so every wait for one.
	fetchTimeout = 2 * time.Second

	// A missing secret must not be asked for by every request.
	failureKept = time.Second

	// A secret that is wrong in WeChat's eyes must not be read by every request.
	rereadEvery = 30 * time.Second
)

// SecretsManager is the one call that a Store makes.
type SecretsManager interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// Error says why there are no credentials. It holds nothing of the secret, and
// may be logged.
type Error struct {
	// Temporary failures pass by themselves: Secrets Manager throttled, failed
	// or was not reached. The others need somebody to act.
	Temporary bool
	// Reason is a class: an error code of AWS's, "malformed", "network" or "timeout".
	Reason string
}

func (e *Error) Error() string { return "appsecret: " + e.Reason }

// Store holds the credentials of one secret. It is safe for concurrent use.
type Store struct {
	api SecretsManager
	id  string
	now func() time.Time

	mu       sync.Mutex
	current  *weixin.Credentials // nil until the first fetch that succeeded
	running  *fetch              // nil while none runs
	failure  *Error              // of the last fetch
	failedAt time.Time
	reread   *fetch // the last one for Refresh
	rereadAt time.Time
}

// fetch is one call of Secrets Manager, shared by all who wait for it.
type fetch struct {
	began       time.Time
	done        chan struct{} // closed when the two below stand
	credentials weixin.Credentials
	failure     *Error
}

// New returns a Store of the secret with that name or ARN. It does no I/O.
func New(api SecretsManager, id string, now func() time.Time) *Store {
	return &Store{api: api, id: id, now: now}
}

// Load fetches the secret at start, ahead of the first request, and takes two
// seconds at most. Its failure is not remembered: the first request tries again.
// Every error is an *Error.
func (s *Store) Load() error {
	s.mu.Lock()
	f := s.fetch()
	s.mu.Unlock()
	_, err := f.wait(context.Background()) // to its end, which else would be remembered

	s.mu.Lock()
	s.failure = nil
	s.mu.Unlock()
	return err
}

// Get returns the credentials. Where there are none yet they are fetched, once
// for however many callers wait, and not within a second of a failure. Every
// error is an *Error.
func (s *Store) Get(ctx context.Context) (weixin.Credentials, error) {
	s.mu.Lock()
	if s.current != nil {
		defer s.mu.Unlock()
		return *s.current, nil
	}
	if s.failure != nil && s.within(s.failedAt, failureKept) {
		defer s.mu.Unlock()
		return weixin.Credentials{}, s.failure
	}
	f := s.fetch()
	s.mu.Unlock()
	return f.wait(ctx)
}

// Refresh returns the credentials to use instead of those that WeChat has
// rejected. Where the Store has others by now, it gives them. Else it reads the
// secret again, at most once in 30 seconds for the whole process, and until
// then answers with what that reading gave: the same credentials, where the
// secret has not changed, or its failure. Every error is an *Error.
func (s *Store) Refresh(ctx context.Context, rejected weixin.Credentials) (weixin.Credentials, error) {
	s.mu.Lock()
	if s.current != nil && !s.current.Equal(rejected) {
		defer s.mu.Unlock()
		return *s.current, nil
	}
	if s.reread == nil || !s.within(s.rereadAt, rereadEvery) {
		s.reread, s.rereadAt = s.fetch(), s.wallClock()
	}
	f := s.reread
	s.mu.Unlock()
	return f.wait(ctx)
}

// fetch joins the fetch that runs, or starts one. The caller holds mu.
//
// A fetch runs on its own time, not on that of the request that began it, since
// others may wait for it too. So Lambda may freeze the process while one runs:
// what is past its time then is left to itself, and its end says nothing of now.
func (s *Store) fetch() *fetch {
	if s.running != nil && s.within(s.running.began, fetchTimeout) {
		return s.running
	}
	f := &fetch{began: s.wallClock(), done: make(chan struct{})}
	s.running = f
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		f.credentials, f.failure = s.read(ctx)

		s.mu.Lock()
		defer s.mu.Unlock()
		if f.failure == nil && (s.running == f || s.current == nil) {
			s.current = &f.credentials
		}
		if s.running == f {
			s.running, s.failure, s.failedAt = nil, f.failure, s.wallClock()
			if latest := f.began.Add(fetchTimeout); s.failedAt.After(latest) {
				s.failedAt = latest
			}
		}
		close(f.done)
	}()
	return f
}

func (f *fetch) wait(ctx context.Context) (weixin.Credentials, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return weixin.Credentials{}, &Error{Temporary: true, Reason: "timeout"}
	}
	if f.failure != nil {
		return weixin.Credentials{}, f.failure
	}
	return f.credentials, nil
}

// wallClock drops the monotonic reading, which may stand still while Lambda has
// the process frozen.
func (s *Store) wallClock() time.Time { return s.now().Round(0) }

func (s *Store) within(start time.Time, d time.Duration) bool {
	elapsed := s.wallClock().Sub(start)
	return elapsed >= 0 && elapsed < d
}

func (s *Store) read(ctx context.Context) (weixin.Credentials, *Error) {
	out, err := s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.id})
	if err != nil {
		return weixin.Credentials{}, classify(ctx, err)
	}
	if out.SecretString == nil { // a binary secret
		return weixin.Credentials{}, &Error{Reason: "malformed"}
	}
	credentials, ok := parse(*out.SecretString)
	if !ok {
		return weixin.Credentials{}, &Error{Reason: "malformed"}
	}
	return credentials, nil
}

// classify takes for temporary what is no answer, a 5xx, or throttling. All
// other answers (missing, denied, to be deleted, key disabled) stay as they are
// until somebody acts.
func classify(ctx context.Context, err error) *Error {
	// Interfaces, rather than the SDK's types, save two modules for two methods.
	answer, answered := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err)
	coded, hasCode := errors.AsType[interface {
		error
		ErrorCode() string
	}](err)
	_, broken := errors.AsType[net.Error](err)
	switch {
	case ctx.Err() != nil:
		return &Error{Temporary: true, Reason: "timeout"}
	case !answered, answer.HTTPStatusCode() == 0, broken, errors.Is(err, io.ErrUnexpectedEOF): // nothing came back, or half of it
		return &Error{Temporary: true, Reason: "network"}
	}
	status, code := answer.HTTPStatusCode(), "unknown"
	if hasCode && len(coded.ErrorCode()) <= 64 && strings.Trim(coded.ErrorCode(), codeLetters) == "" {
		code = coded.ErrorCode()
	}
	return &Error{Temporary: status >= 500 || status == http.StatusTooManyRequests || throttling(code), Reason: code}
}

const codeLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:#"

// throttling knows the codes by which AWS asks for patience, under status 400.
func throttling(code string) bool {
	return strings.Contains(code, "Throttl") || strings.Contains(code, "TooManyRequests") ||
		strings.Contains(code, "LimitExceeded") || code == "SlowDown"
}

// parse reads the secret's text. What copying and pasting leaves around it and
// around its values is removed: white space, byte order marks.
func parse(text string) (_ weixin.Credentials, ok bool) {
	var secret struct {
		AppID  string `json:"appid"`
		Secret string `json:"secret"`
	}
	if json.Unmarshal([]byte(trim(text)), &secret) != nil {
		return weixin.Credentials{}, false
	}
	appID, appSecret := trim(secret.AppID), trim(secret.Secret)
	return weixin.Credentials{AppID: appID, Secret: weixin.AppSecret{Value: redacted.New(appSecret)}}, appID != "" && appSecret != ""
}

func trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
}
