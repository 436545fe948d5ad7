// Package signingkeys caches the keys that sign identity tokens. Make one [Store]
// per process and call [Store.Get]. The Store reads them from Secrets Manager once,
// and again every hour in the background, so it learns of a rotation before the next
// key signs.
package signingkeys

import (
	"context"
	"errors"
	"sync"
	"time"

	"wechat-phone/shared/flight"
	"wechat-phone/shared/identity"
	"wechat-phone/shared/secretvalue"
)

const (
	// rereadAfter is the age at which a request starts a re-read. A key is published
	// for 24 hours before it signs, so an hour is early enough.
	rereadAfter = time.Hour
	// rereadPause is the shortest time between two such re-reads.
	rereadPause = time.Minute
	// maxAge is the age at which the keys are no longer used. A next key signs after 24
	// hours. By then, all key sets that lack it must be gone from verifiers' caches,
	// which keep them for two hours.
	maxAge = 20 * time.Hour
)

// Error says why there are no keys. It holds nothing of the secret, so it may be
// logged.
type Error secretvalue.Failure

func (e *Error) Error() string { return "signing secret: " + e.Reason }

// Store caches the signing secret's keys. It is safe for concurrent use. Every error
// that it returns is an [*Error] or a panics.Error.
type Store struct {
	api    secretvalue.SecretsManager
	id     secretvalue.ID
	clock  flight.Clock
	source *flight.Source[secretvalue.ID, reading]

	mu       sync.Mutex
	rereadAt time.Time // when the last re-read in the background began
}

// reading is the result of a read of the secret, and when the read began.
type reading struct {
	keys *identity.Keys
	at   time.Time
}

// New returns a Store of the secret with that name or ARN. It does no I/O.
func New(api secretvalue.SecretsManager, id string, now func() time.Time) *Store {
	s := &Store{api: api, id: secretvalue.ID(id), clock: now}
	s.source = flight.New(s.read, s.clock)
	return s
}

// Load fetches the keys before the first request. It takes at most two seconds. It
// does not remember a failure, so the first request tries again.
func (s *Store) Load() error {
	_, err := s.source.Load(s.id)
	return err
}

// Get returns the keys. If they are over an hour old, it starts a re-read, and does not
// wait for it. If there are none, or they are over 20 hours old, it fetches the
// secret, but not within a second of a failure. Concurrent callers share one fetch.
// A list that is not usable never replaces keys that are.
func (s *Store) Get(ctx context.Context) (*identity.Keys, error) {
	held, err := s.source.Get(ctx, s.id, s.usable)
	if err != nil {
		return nil, timeout(ctx, err)
	}
	if !held.keys.Works() { // they are the first that this process has read
		return nil, errCannotSign()
	}
	if !s.clock.Within(held.at, rereadAfter) {
		s.reread()
	}
	return held.keys, nil
}

// Reread fetches the keys, whatever is cached. A list that is not usable is an
// error, and the cached keys stay.
func (s *Store) Reread(ctx context.Context) error {
	got, err := s.source.Fetch(s.id).Wait(ctx)
	if err == nil && !got.keys.Works() {
		return errCannotSign()
	}
	return timeout(ctx, err)
}

// timeout returns err as an [*Error] if it is ctx's.
func timeout(ctx context.Context, err error) error {
	if failure := secretvalue.TimedOut(ctx, err); failure != nil {
		return (*Error)(failure)
	}
	return err
}

// usable reports whether the keys can sign and are young enough to use. If the clock has
// jumped back, their age is unknown. They count as young then, and Get starts a re-read.
func (s *Store) usable(held reading) bool {
	return held.keys.Works() && (s.clock.Within(held.at, maxAge) || held.at.After(s.clock.Now()))
}

// reread fetches the secret in the background, unless it did so a moment ago.
func (s *Store) reread() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.clock.Within(s.rereadAt, rereadPause) {
		s.rereadAt = s.clock.Now()
		s.source.Fetch(s.id)
	}
}

// read fetches the secret. Every error is an [*Error].
func (s *Store) read(ctx context.Context, id secretvalue.ID) (reading, error) {
	began := s.clock.Now()
	text, failure := secretvalue.Read(ctx, s.api, id)
	if failure != nil {
		return reading{}, (*Error)(failure)
	}
	keys, err := identity.ParseKeys(text)
	if unusable, ok := errors.AsType[*identity.Error](err); ok {
		return reading{}, (*Error)(secretvalue.Malformed(unusable.Problem))
	}
	// At start, this is left to the first request: it takes as long as a signature.
	if _, reread := s.source.Current(id.Key()); reread && !keys.Works() {
		return reading{}, errCannotSign()
	}
	return reading{keys, began}, nil
}

func errCannotSign() error { return (*Error)(secretvalue.Malformed("the signing key cannot sign")) }
