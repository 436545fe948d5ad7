// Package flight fetches what many wait for: once, however many they are, and
// in a process that Lambda may freeze at any moment.
package flight

import (
	"context"
	"sync"
	"time"

	"wechat-phone/shared/panics"
)

const (
	// Timeout bounds every fetch, and so every wait for one.
	Timeout = 2 * time.Second

	// What fails must not be asked for by every request.
	failureKept = time.Second
)

// Clock tells the time. A monotonic reading may stand still while Lambda has
// the process frozen, so only its wall time counts.
type Clock func() time.Time

// Now is the wall time.
func (c Clock) Now() time.Time { return c().Round(0) }

// Within reports whether less than d has passed since start.
func (c Clock) Within(start time.Time, d time.Duration) bool {
	elapsed := c.Now().Sub(start)
	return elapsed >= 0 && elapsed < d
}

// Source gives values that a fetch by key gave. It keeps the last one, whatever
// its key: callers that use several keys must know whose a value is. It is safe
// for concurrent use.
type Source[K, V any] struct {
	fetch func(context.Context, K) (V, error)
	same  func(K, K) bool
	late  error
	clock Clock

	mu       sync.Mutex
	current  *V            // nil until the first fetch that succeeded
	running  *Flight[K, V] // nil while none runs
	failed   *Flight[K, V] // the last one, where it failed
	failedAt time.Time
}

// Flight is one fetch, shared by all who wait for it.
type Flight[K, V any] struct {
	key   K
	late  error
	began time.Time
	done  chan struct{} // closed when the two below stand
	value V
	err   error
}

// New returns a Source over fetch, which is given two seconds. same says which
// keys are one; late is the error of those who gave up waiting.
func New[K, V any](fetch func(context.Context, K) (V, error), same func(K, K) bool, late error, clock Clock) *Source[K, V] {
	return &Source[K, V]{fetch: fetch, same: same, late: late, clock: clock}
}

// Current returns the value that is kept.
func (s *Source[K, V]) Current() (value V, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return value, false
	}
	return *s.current, true
}

// Drop forgets the value that is kept, where it is one of those meant.
func (s *Source[K, V]) Drop(meant func(V) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && meant(*s.current) {
		s.current = nil
	}
}

// Get returns the value that is kept, where it is good. Else it fetches one,
// once for however many callers wait, and not within a second of a failure.
func (s *Source[K, V]) Get(ctx context.Context, key K, good func(V) bool) (V, error) {
	s.mu.Lock()
	if s.current != nil && good(*s.current) {
		defer s.mu.Unlock()
		return *s.current, nil
	}
	if f := s.failed; f != nil && s.same(f.key, key) && s.clock.Within(s.failedAt, failureKept) {
		defer s.mu.Unlock()
		return f.value, f.err
	}
	f := s.join(key)
	s.mu.Unlock()
	return f.Wait(ctx)
}

// Load fetches ahead of the first request. Its failure is not remembered: the
// first request tries again.
func (s *Source[K, V]) Load(key K) (V, error) {
	value, err := s.Fetch(key).Wait(context.Background()) // to its end, which else would be remembered
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = nil
	return value, err
}

// Fetch joins the fetch that runs, or starts one.
func (s *Source[K, V]) Fetch(key K) *Flight[K, V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.join(key)
}

// join is Fetch for callers that hold mu.
//
// A fetch runs on its own time, not on that of the request that began it, since
// others may wait for it too. So Lambda may freeze the process while one runs:
// what is past its time then is left to itself, and its end says nothing of now.
func (s *Source[K, V]) join(key K) *Flight[K, V] {
	if f := s.running; f != nil && s.same(f.key, key) && s.clock.Within(f.began, Timeout) {
		return f
	}
	f := &Flight[K, V]{key: key, late: s.late, began: s.clock.Now(), done: make(chan struct{})}
	s.running = f
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), Timeout)
		defer cancel()
		f.value, f.err = s.recovered(ctx, key)

		s.mu.Lock()
		defer s.mu.Unlock()
		if f.err == nil && (s.running == f || s.current == nil) {
			s.current = &f.value
		}
		if s.running == f {
			s.running, s.failed = nil, nil
			if f.err != nil {
				s.failed, s.failedAt = f, s.clock.Now()
				if latest := f.began.Add(Timeout); s.failedAt.After(latest) {
					s.failedAt = latest
				}
			}
		}
		close(f.done)
	}()
	return f
}

// recovered is fetch with a panic turned into a *panics.Error: it would end the
// process, since nobody else can recover it here.
func (s *Source[K, V]) recovered(ctx context.Context, key K) (_ V, err error) {
	defer panics.Recover(&err)
	return s.fetch(ctx, key)
}

// Wait returns what the fetch gave, as soon as it has ended.
func (f *Flight[K, V]) Wait(ctx context.Context) (value V, err error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return value, f.late
	}
}
