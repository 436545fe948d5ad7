package flight

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wechat-phone/shared/panics"
)

var errBroken = errors.New("broken")

// app is an Arg like a mini-program's credentials: its secret may change, but its
// key does not.
type app struct{ id, secret string }

func (a app) Key() string { return a.id }

func (a app) Equal(other app) bool { return strings.EqualFold(a.id+a.secret, other.id+other.secret) }

// server returns a value for each secret that it knows, after a while.
type server struct {
	values map[string]string
	after  time.Duration
	slow   string // a secret that takes twice as long
	calls  atomic.Int32
}

func (s *server) fetch(ctx context.Context, arg app) (string, error) {
	s.calls.Add(1)
	value, ok := s.values[arg.secret]
	after := s.after
	if arg.secret == s.slow {
		after *= 2
	}
	select {
	case <-time.After(after):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if !ok {
		return "", errBroken
	}
	return value, nil
}

func is(want string) func(string) bool { return func(value string) bool { return value == want } }

// checkGet calls Get and compares its value and the number of fetches so far.
func checkGet(t *testing.T, s *Source[app, string], api *server, arg app, good, want string, calls int32) {
	t.Helper()
	got, err := s.Get(t.Context(), arg, is(good))
	if err != nil || got != want || api.calls.Load() != calls {
		t.Errorf("Get(%v) = %q, %v after %d fetches, want %q after %d", arg, got, err, api.calls.Load(), want, calls)
	}
}

// checkFailure calls Get, wants errBroken, and compares the number of fetches.
func checkFailure(t *testing.T, s *Source[app, string], api *server, arg app, calls int32) {
	t.Helper()
	_, err := s.Get(t.Context(), arg, is(""))
	if !errors.Is(err, errBroken) || api.calls.Load() != calls {
		t.Errorf("Get(%v) = %v after %d fetches, want %v after %d", arg, err, api.calls.Load(), errBroken, calls)
	}
}

func TestClockHasNoMonotonicReading(t *testing.T) {
	if now := Clock(time.Now).Now().String(); strings.Contains(now, "m=") {
		t.Errorf("Now() = %s has a monotonic reading, which a freeze may stop", now)
	}
	now := time.Unix(1700000000, 0)
	clock := Clock(func() time.Time { return now })
	for passed, want := range map[time.Duration]bool{0: true, time.Second - 1: true, time.Second: false, -1: false} {
		if got := clock.Within(now.Add(-passed), time.Second); got != want {
			t.Errorf("Within(1s) after %v = %v, want %v", passed, got, want)
		}
	}
}

func TestStaleValueIsFetchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{"s": "1"}}
		source, a := New(api.fetch, time.Now), app{"a", "s"}
		checkGet(t, source, api, a, "1", "1", 1)
		checkGet(t, source, api, a, "1", "1", 1)
		checkGet(t, source, api, a, "2", "1", 2) // there is no better value
		api.values["s"] = "2"
		checkGet(t, source, api, a, "2", "2", 3)
		checkGet(t, source, api, a, "2", "2", 3)
		source.Drop("a", is("1")) // not the value that is kept
		source.Drop("b", is("2")) // not its key
		checkGet(t, source, api, a, "2", "2", 3)
		source.Drop("a", is("2"))
		if kept, ok := source.Current("a"); ok {
			t.Errorf("Current = %q after it was dropped, want none", kept)
		}
		checkGet(t, source, api, a, "2", "2", 4)
	})
}

// Requests for several mini-programs alternate. None may remove another's value or
// hide another's failure.
func TestInterleavedKeysKeepTheirValuesAndFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{"s": "1", "t": "2"}}
		source := New(api.fetch, time.Now)
		good, other, bad := app{"a", "s"}, app{"b", "t"}, app{"c", "unknown"}
		checkGet(t, source, api, good, "1", "1", 1)
		checkGet(t, source, api, other, "2", "2", 2)
		checkFailure(t, source, api, bad, 3)
		for range 3 {
			checkGet(t, source, api, good, "1", "1", 3)
			checkGet(t, source, api, other, "2", "2", 3)
			checkFailure(t, source, api, bad, 3)
		}
		for key, want := range map[string]string{"a": "1", "b": "2"} {
			if kept, ok := source.Current(key); !ok || kept != want {
				t.Errorf("Current(%s) = %q, %v, want %q", key, kept, ok, want)
			}
		}
		if kept, ok := source.Current("c"); ok {
			t.Errorf("Current of the failing key = %q, want none", kept)
		}
	})
}

// Rotated credentials have the same key as the old ones. They must share neither the
// old ones' running fetch nor its failure.
func TestUnequalArgsShareNeitherFetchNorFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{"good": "1"}, after: time.Second}
		source := New(api.fetch, time.Now)
		old, rotated := app{"a", "bad"}, app{"a", "good"}
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				arg := []app{old, {"a", "BAD"}}[i%2]
				if _, err := source.Get(t.Context(), arg, is("1")); !errors.Is(err, errBroken) {
					t.Errorf("Get with the old secret = %v, want %v", err, errBroken)
				}
			})
		}
		synctest.Wait()
		for range 10 {
			all.Go(func() {
				if got, err := source.Get(t.Context(), rotated, is("1")); err != nil || got != "1" {
					t.Errorf("Get with the rotated secret = %q, %v, want 1", got, err)
				}
			})
		}
		all.Wait()
		if calls := api.calls.Load(); calls != 2 {
			t.Errorf("got %d fetches, want 2", calls)
		}
		source.Drop("a", is("1"))
		checkFailure(t, source, api, old, 3)
		checkGet(t, source, api, rotated, "1", "1", 4)
	})
}

func TestFailureIsRememberedForOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{}}
		source, a := New(api.fetch, time.Now), app{"a", "s"}
		checkFailure(t, source, api, a, 1)
		time.Sleep(failureKept - 1)
		checkFailure(t, source, api, a, 1)
		time.Sleep(time.Nanosecond)
		checkFailure(t, source, api, a, 2)
	})
}

func TestCallerThatGivesUpLeavesTheFetchRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{"s": "1"}, after: time.Second}
		source, a := New(api.fetch, time.Now), app{"a", "s"}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := source.Get(ctx, a, is("1")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get with 300 ms = %v, want %v", err, context.DeadlineExceeded)
		}
		checkGet(t, source, api, a, "1", "1", 1)
	})
}

func TestLoadFailureIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{}}
		source, a := New(api.fetch, time.Now), app{"a", "s"}
		if _, err := source.Load(a); !errors.Is(err, errBroken) {
			t.Errorf("Load = %v, want %v", err, errBroken)
		}
		api.values["s"] = "1"
		checkGet(t, source, api, a, "1", "1", 2)
	})
}

func TestOvertakenFetchIsKeptOnlyIfNothingNewerSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for secondSecret, want := range map[string]string{"bad": "1", "new": "2"} {
			api := &server{values: map[string]string{"old": "1", "new": "2"}, after: 500 * time.Millisecond, slow: "old"}
			source := New(api.fetch, time.Now)
			first := source.Fetch(app{"a", "old"})
			time.Sleep(100 * time.Millisecond)
			second := source.Fetch(app{"a", secondSecret})
			if _, err := second.Wait(t.Context()); (err == nil) != (secondSecret == "new") {
				t.Errorf("second fetch, with %s: got %v, want an error only with bad", secondSecret, err)
			}
			if got, err := first.Wait(t.Context()); err != nil || got != "1" {
				t.Errorf("first fetch: got %q, %v, want 1", got, err)
			}
			if kept, ok := source.Current("a"); !ok || kept != want {
				t.Errorf("Current = %q, %v after a second fetch with %s, want %q", kept, ok, secondSecret, want)
			}
		}
	})
}

// A panic in a fetch's goroutine would otherwise end the process.
func TestPanicInAFetchIsReturnedToEveryCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panicking := true
		source := New(func(context.Context, app) (string, error) {
			time.Sleep(time.Second)
			if panicking {
				panic("canary")
			}
			return "1", nil
		}, time.Now)
		a := app{"a", "s"}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				_, err := source.Get(t.Context(), a, is("1"))
				_, ok := errors.AsType[*panics.Error](err)
				if !ok || strings.Contains(err.Error(), "canary") ||
					!strings.Contains(err.Error(), "flight.TestPanicInAFetch") {
					t.Errorf("Get = %v, want a panics.Error with this test's name but not the panic's text", err)
				}
			})
		}
		all.Wait()
		panicking = false
		time.Sleep(failureKept)
		if got, err := source.Get(t.Context(), a, is("1")); got != "1" || err != nil {
			t.Errorf("Get after the panic = %q, %v, want 1", got, err)
		}
	})
}
