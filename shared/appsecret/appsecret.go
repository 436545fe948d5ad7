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

	"wechat-phone/shared/flight"
	"wechat-phone/shared/redacted"
	"wechat-phone/shared/wechat"
)

// A secret that is wrong in WeChat's eyes must not be read by every request.
const rereadEvery = 30 * time.Second

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

// read fetches the secret. Every error is an *Error.
func (s *Store) read(ctx context.Context, secret secretID) (wechat.Credentials, error) {
	id := string(secret)
	out, err := s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id})
	if err != nil {
		return wechat.Credentials{}, classify(ctx, err)
	}
	if out.SecretString == nil { // a binary secret
		return wechat.Credentials{}, &Error{Reason: "malformed"}
	}
	credentials, ok := parse(*out.SecretString)
	if !ok {
		return wechat.Credentials{}, &Error{Reason: "malformed"}
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
func parse(text string) (_ wechat.Credentials, ok bool) {
	var secret struct {
		AppID  string `json:"appid"`
		Secret string `json:"secret"`
	}
	if json.Unmarshal([]byte(trim(text)), &secret) != nil {
		return wechat.Credentials{}, false
	}
	appID, appSecret := trim(secret.AppID), trim(secret.Secret)
	return wechat.Credentials{AppID: appID, Secret: wechat.AppSecret{Value: redacted.New(appSecret)}}, appID != "" && appSecret != ""
}

func trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
}
