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

var (
	errLate   = errors.New("late")
	errBroken = errors.New("broken")
)

// server gives the values of its keys, or fails where it has none, after a while.
type server struct {
	values map[string]string
	after  time.Duration
	calls  atomic.Int32
}

func (s *server) fetch(ctx context.Context, key string) (string, error) {
	s.calls.Add(1)
	value, ok := s.values[key]
	select {
	case <-time.After(s.after):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if !ok {
		return "", errBroken
	}
	return value, nil
}

func is(want string) func(string) bool { return func(value string) bool { return value == want } }

func TestClockIsOfTheWall(t *testing.T) {
	if now := Clock(time.Now).Now().String(); strings.Contains(now, "m=") {
		t.Errorf("%s has a monotonic part, which a freeze may stop", now)
	}
	now := time.Unix(1700000000, 0)
	clock := Clock(func() time.Time { return now })
	for passed, want := range map[time.Duration]bool{0: true, time.Second - 1: true, time.Second: false, -1: false} {
		if got := clock.Within(now.Add(-passed), time.Second); got != want {
			t.Errorf("%v of a second have passed: within is %v", passed, got)
		}
	}
}

func TestValueThatIsNotGoodIsFetchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{"a": "1"}}
		source := New(api.fetch, strings.EqualFold, errLate, time.Now)
		get := func(good, want string, calls int32) {
			t.Helper()
			if got, err := source.Get(t.Context(), "a", is(good)); err != nil || got != want || api.calls.Load() != calls {
				t.Errorf("%q, %v, %d fetches, want %q, %d", got, err, api.calls.Load(), want, calls)
			}
		}
		get("1", "1", 1)
		get("1", "1", 1)
		get("2", "1", 2) // the best there is
		api.values["a"] = "2"
		get("2", "2", 3)
		get("2", "2", 3)
		source.Drop(is("1")) // which is not the one that is kept
		get("2", "2", 3)
		source.Drop(is("2"))
		if _, ok := source.Current(); ok {
			t.Error("a value that was dropped is kept")
		}
		get("2", "2", 4)
	})
}

// One who asks by another key must not get what came of the first: a fetch
// under way, or its failure.
func TestKeysShareNoFetchAndNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{"good": "1"}, after: time.Second}
		source := New(api.fetch, strings.EqualFold, errLate, time.Now)
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if _, err := source.Get(t.Context(), []string{"bad", "BAD"}[i%2], is("1")); !errors.Is(err, errBroken) {
					t.Errorf("by the bad key: %v", err)
				}
			})
		}
		synctest.Wait()
		for range 10 {
			all.Go(func() {
				if got, err := source.Get(t.Context(), "good", is("1")); err != nil || got != "1" {
					t.Errorf("by the good key: %q, %v", got, err)
				}
			})
		}
		all.Wait()
		if calls := api.calls.Load(); calls != 2 {
			t.Errorf("%d fetches", calls)
		}
		source.Drop(is("1"))
		if _, err := source.Get(t.Context(), "bad", is("1")); err == nil || api.calls.Load() != 3 {
			t.Errorf("by the bad key: %d fetches, %v", api.calls.Load(), err)
		}
		if got, err := source.Get(t.Context(), "good", is("1")); err != nil || got != "1" || api.calls.Load() != 4 {
			t.Errorf("right after the failure of the bad key: %q, %v, %d fetches", got, err, api.calls.Load())
		}
	})
}

func TestOneWhoGivesUpIsLateAndTheFetchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{"a": "1"}, after: time.Second}
		source := New(api.fetch, strings.EqualFold, errLate, time.Now)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := source.Get(ctx, "a", is("1")); !errors.Is(err, errLate) {
			t.Errorf("after 300 ms: %v", err)
		}
		if got, err := source.Get(t.Context(), "a", is("1")); err != nil || got != "1" || api.calls.Load() != 1 {
			t.Errorf("the next: %q, %v, %d fetches", got, err, api.calls.Load())
		}
	})
}

func TestFailureOfALoadIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{}}
		source := New(api.fetch, strings.EqualFold, errLate, time.Now)
		if _, err := source.Load("a"); !errors.Is(err, errBroken) {
			t.Error(err)
		}
		api.values["a"] = "1"
		if got, err := source.Get(t.Context(), "a", is("1")); err != nil || got != "1" {
			t.Errorf("right after: %q, %v", got, err)
		}
	})
}

func TestFetchThatAnotherHasOvertakenIsKeptWhereNothingElseIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &server{values: map[string]string{"a": "1"}, after: time.Second}
		source := New(api.fetch, strings.EqualFold, errLate, time.Now)
		first := source.Fetch("a")
		time.Sleep(500 * time.Millisecond)
		second := source.Fetch("bad")
		if got, err := first.Wait(t.Context()); err != nil || got != "1" {
			t.Errorf("the first: %q, %v", got, err)
		}
		if _, err := second.Wait(t.Context()); !errors.Is(err, errBroken) {
			t.Errorf("the second: %v", err)
		}
		if kept, ok := source.Current(); !ok || kept != "1" {
			t.Errorf("kept is %q, %v", kept, ok)
		}
	})
}

// A panic in a fetch is nobody's to recover: it would end the process, and with
// it what the others do.
func TestPanicInAFetchIsTheErrorOfAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panicking := true
		source := New(func(context.Context, string) (string, error) {
			time.Sleep(time.Second)
			if panicking {
				panic("canary")
			}
			return "1", nil
		}, strings.EqualFold, errLate, time.Now)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				_, err := source.Get(t.Context(), "a", is("1"))
				if _, ok := errors.AsType[*panics.Error](err); !ok || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "flight.TestPanicInAFetch") {
					t.Errorf("a panic gave %v", err)
				}
			})
		}
		all.Wait()
		panicking = false
		time.Sleep(failureKept)
		if got, err := source.Get(t.Context(), "a", is("1")); got != "1" || err != nil {
			t.Errorf("after a panic: %q, %v", got, err)
		}
	})
}
