// Package flight caches values that are expensive to fetch, by key. Make a
// [Source] and call [Source.Get]. Concurrent callers share one fetch, and a failure
// is remembered for a second. Lambda may freeze the process at any moment.
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

	// failureKept is how long a failure is remembered. Without it, every request
	// would repeat a fetch that fails.
	failureKept = time.Second
)

// Clock tells the time. Only its wall time is used: the monotonic clock may stand
// still while Lambda has the process frozen.
type Clock func() time.Time

// Now returns the wall time.
func (c Clock) Now() time.Time { return c().Round(0) }

// Within reports whether less than d has passed since start.
func (c Clock) Within(start time.Time, d time.Duration) bool {
	elapsed := c.Now().Sub(start)
	return elapsed >= 0 && elapsed < d
}

// Arg is a fetch's argument. A [Source] keeps one value for each Key, so a key
// should be small and should not change when credentials do. Args that are Equal
// share a running fetch and a remembered failure.
type Arg[A any] interface {
	Key() string
	Equal(A) bool
}

// Source fetches values and keeps the last one of each key. It is safe for
// concurrent use.
type Source[A Arg[A], V any] struct {
	fetch func(context.Context, A) (V, error)
	clock Clock

	mu    sync.Mutex
	slots map[string]*slot[A, V]
}

// slot is what a Source holds for one key.
type slot[A, V any] struct {
	value    *V            // nil until a fetch has succeeded
	running  *Flight[A, V] // nil if none runs
	failed   *Flight[A, V] // the last fetch, if it failed
	failedAt time.Time
}

// Flight is one fetch, shared by everyone who waits for it.
type Flight[A, V any] struct {
	arg   A
	began time.Time
	done  chan struct{} // closed when value and err are set
	value V
	err   error
}

// New returns a Source that calls fetch with a deadline of [Timeout].
func New[A Arg[A], V any](fetch func(context.Context, A) (V, error), clock Clock) *Source[A, V] {
	return &Source[A, V]{fetch: fetch, clock: clock, slots: map[string]*slot[A, V]{}}
}

// slot returns the slot of a key. The caller holds mu.
func (s *Source[A, V]) slot(key string) *slot[A, V] {
	if s.slots[key] == nil {
		s.slots[key] = &slot[A, V]{}
	}
	return s.slots[key]
}

// Current returns the value that is kept for key.
func (s *Source[A, V]) Current(key string) (value V, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.slot(key).value; kept != nil {
		return *kept, true
	}
	return value, false
}

// Drop removes the value that is kept for key, if match reports true.
func (s *Source[A, V]) Drop(key string, match func(V) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry := s.slot(key); entry.value != nil && match(*entry.value) {
		entry.value = nil
	}
}

// Get returns the value that is kept for arg's key, if it is good. Otherwise it
// fetches one, but not within a second of a failure with an equal arg. If ctx
// ends first, it returns ctx.Err() and the fetch goes on.
func (s *Source[A, V]) Get(ctx context.Context, arg A, good func(V) bool) (V, error) {
	s.mu.Lock()
	entry := s.slot(arg.Key())
	if entry.value != nil && good(*entry.value) {
		defer s.mu.Unlock()
		return *entry.value, nil
	}
	if f := entry.failed; f != nil && f.arg.Equal(arg) && s.clock.Within(entry.failedAt, failureKept) {
		defer s.mu.Unlock()
		return f.value, f.err
	}
	f := s.join(entry, arg)
	s.mu.Unlock()
	return f.Wait(ctx)
}

// Load fetches ahead of the first request. Its failure is not remembered, so the
// first request tries again.
func (s *Source[A, V]) Load(arg A) (V, error) {
	// Wait without a deadline: a failure that came later would be remembered.
	value, err := s.Fetch(arg).Wait(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slot(arg.Key()).failed = nil
	return value, err
}

// Fetch joins the running fetch, or starts one.
func (s *Source[A, V]) Fetch(arg A) *Flight[A, V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.join(s.slot(arg.Key()), arg)
}

// join is Fetch for callers that hold mu.
//
// A fetch has its own deadline, not that of the request that started it, because
// other requests may wait for it too. It may therefore outlive its requests, and
// Lambda may freeze the process while it runs. Nobody joins a fetch that is past
// its deadline, and its failure counts from that deadline.
func (s *Source[A, V]) join(entry *slot[A, V], arg A) *Flight[A, V] {
	if f := entry.running; f != nil && f.arg.Equal(arg) && s.clock.Within(f.began, Timeout) {
		return f
	}
	f := &Flight[A, V]{arg: arg, began: s.clock.Now(), done: make(chan struct{})}
	entry.running = f
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), Timeout)
		defer cancel()
		f.value, f.err = s.call(ctx, arg)
		s.land(entry, f)
	}()
	return f
}

// call calls fetch and turns a panic into a [*panics.Error]. Nothing else in this
// goroutine would recover the panic, so it would end the process.
func (s *Source[A, V]) call(ctx context.Context, arg A) (_ V, err error) {
	defer panics.Recover(&err)
	return s.fetch(ctx, arg)
}

// land records a fetch's result and wakes everyone who waits for it.
func (s *Source[A, V]) land(entry *slot[A, V], f *Flight[A, V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(f.done)
	latest := entry.running == f
	if f.err == nil && (latest || entry.value == nil) {
		entry.value = &f.value
	}
	if !latest {
		return
	}
	entry.running, entry.failed = nil, nil
	if f.err != nil {
		entry.failed, entry.failedAt = f, s.clock.Now()
		if deadline := f.began.Add(Timeout); entry.failedAt.After(deadline) {
			entry.failedAt = deadline
		}
	}
}

// Wait returns the fetch's result. If ctx ends first, it returns ctx.Err().
func (f *Flight[A, V]) Wait(ctx context.Context) (value V, err error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}
