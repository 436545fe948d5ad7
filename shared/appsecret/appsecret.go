// Package appsecret caches the mini-programs' credentials. Make one [Store] per
// process and call [Store.Get]. The Store reads the secret from Secrets Manager
// once, and again when WeChat rejects credentials ([Store.Refresh]), when a request
// names an unknown mini-program ([Store.Discover]), or on demand ([Store.Reread]).
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
	"errors"
	"sync"
	"time"

	"wechat-phone/shared/flight"
	"wechat-phone/shared/secretvalue"
	"wechat-phone/shared/wechat"
)

// rereadEvery limits re-reads. Without it, a wrong secret or an unknown appid
// would cause one for every request.
const rereadEvery = 30 * time.Second

// Error says why there are no credentials. It holds nothing of the secret, so it
// may be logged.
type Error secretvalue.Failure

func (e *Error) Error() string { return "appsecret: " + e.Reason }

// Store caches a secret's mini-programs. It is safe for concurrent use. Every
// error that it returns is an [*Error] or a panics.Error.
type Store struct {
	api    secretvalue.SecretsManager
	id     secretvalue.ID
	clock  flight.Clock
	source *flight.Source[secretvalue.ID, Apps]

	mu       sync.Mutex
	rejected map[string]*reread // by appid
	unknown  *reread
}

// reread is the last re-read for one purpose.
type reread struct {
	flight *flight.Flight[secretvalue.ID, Apps]
	at     time.Time
}

// New returns a Store of the secret with that name or ARN. It does no I/O.
func New(api secretvalue.SecretsManager, id string, now func() time.Time) *Store {
	s := &Store{api: api, id: secretvalue.ID(id), clock: now, rejected: map[string]*reread{}}
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

// Reread fetches the secret, whatever is cached. If that fails, it returns the
// mini-programs that are cached, and the error.
func (s *Store) Reread(ctx context.Context) (Apps, error) {
	apps, err := s.source.Fetch(s.id).Wait(ctx)
	if err != nil {
		apps, _ = s.source.Current(s.id.Key())
	}
	return apps, timeout(ctx, err)
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
	if Complete(app) == nil {
		return app, nil
	}
	app, err := s.Refresh(ctx, app)
	if err == nil {
		err = Complete(app)
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
	if failure := secretvalue.TimedOut(ctx, err); failure != nil {
		return (*Error)(failure)
	}
	return err
}

// read fetches the secret. Every error is an [*Error].
func (s *Store) read(ctx context.Context, id secretvalue.ID) (Apps, error) {
	text, failure := secretvalue.Read(ctx, s.api, id)
	if failure != nil {
		return Apps{}, (*Error)(failure)
	}
	return Parse(text)
}
