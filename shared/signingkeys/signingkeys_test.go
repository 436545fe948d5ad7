package signingkeys

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"wechat-phone/local/hostile"
	"wechat-phone/shared/flight"
	"wechat-phone/shared/identity"
)

// fake is a Secrets Manager that returns text, or err if it is set, after a while.
type fake struct {
	text  string
	err   error
	after time.Duration
	calls atomic.Int32
}

func (f *fake) GetSecretValue(
	ctx context.Context, in *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options),
) (*secretsmanager.GetSecretValueOutput, error) {
	f.calls.Add(1)
	if *in.SecretId != "id" || in.VersionId != nil || in.VersionStage != nil {
		return nil, errors.New("the request is not for the secret's current version")
	}
	text, err := f.text, f.err
	select {
	case <-time.After(f.after):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &secretsmanager.GetSecretValueOutput{SecretString: &text}, nil
}

// lists are two usable lists that share no key.
var lists = sync.OnceValue(func() (texts [2]string) {
	for i := range texts {
		first, err := identity.New(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		if err != nil {
			panic(err)
		}
		texts[i] = first.List.Reveal()
	}
	return texts
})

// kid returns the key that a list signs with.
func kid(t *testing.T, text string) string {
	t.Helper()
	keys, err := identity.ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys.All()[0].ID
}

var errDown = errors.New("no answer")

// bubble calls do in a synctest bubble, with a Store of the first list.
func bubble(t *testing.T, do func(t *testing.T, api *fake, store *Store)) {
	t.Helper()
	texts := lists() // made outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		api := &fake{text: texts[0]}
		do(t, api, New(api, "id", time.Now))
		time.Sleep(flight.Timeout) // until the last read has ended
	})
}

// wantKeys checks which list Get returns, that it does not wait, and how often the
// secret has been read.
func wantKeys(t *testing.T, name string, store *Store, api *fake, text string, calls int32) {
	t.Helper()
	synctest.Wait()
	began := time.Now()
	keys, err := store.Get(t.Context())
	if took := time.Since(began); took != 0 {
		t.Errorf("%s: Get took %v, want no wait", name, took)
	}
	synctest.Wait()
	switch {
	case err != nil:
		t.Errorf("%s: got error %v, want keys", name, err)
	case keys.All()[0].ID != kid(t, text):
		t.Errorf("%s: got another list's keys", name)
	}
	if got := api.calls.Load(); got != calls {
		t.Errorf("%s: got %d reads, want %d", name, got, calls)
	}
}

func wantError(t *testing.T, name string, store *Store, want Error) {
	t.Helper()
	keys, err := store.Get(t.Context())
	if got, ok := errors.AsType[*Error](err); !ok || *got != want || keys != nil {
		t.Errorf("%s: got error %v, want %v alone", name, err, &want)
	}
}

func TestKeysAreRereadInTheBackgroundAfterAnHour(t *testing.T) {
	bubble(t, func(t *testing.T, api *fake, store *Store) {
		if err := store.Load(); err != nil {
			t.Fatal(err)
		}
		api.text, api.after = lists()[1], time.Second
		time.Sleep(time.Hour - time.Nanosecond)
		wantKeys(t, "within the hour", store, api, lists()[0], 1)
		time.Sleep(time.Nanosecond)
		wantKeys(t, "after an hour", store, api, lists()[0], 2)
		wantKeys(t, "during the re-read", store, api, lists()[0], 2)
		time.Sleep(time.Second)
		wantKeys(t, "after the re-read", store, api, lists()[1], 2)
		time.Sleep(time.Hour - time.Second - time.Nanosecond)
		wantKeys(t, "an hour less a moment after it began", store, api, lists()[1], 2)
		time.Sleep(time.Nanosecond)
		wantKeys(t, "an hour after it began", store, api, lists()[1], 3)
	})
}

func TestFailedRereadIsTriedAgainAfterAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, api *fake, store *Store) {
		for _, failure := range []struct {
			text string
			err  error
		}{{err: errDown}, {text: "[]"}} {
			good := New(api, "id", time.Now)
			api.err, api.text = nil, lists()[0]
			if err := good.Load(); err != nil {
				t.Fatal(err)
			}
			api.calls.Store(1)
			api.err, api.text = failure.err, failure.text
			time.Sleep(time.Hour)
			wantKeys(t, "the first try", good, api, lists()[0], 2)
			time.Sleep(time.Minute - time.Nanosecond)
			wantKeys(t, "within a minute", good, api, lists()[0], 2)
			time.Sleep(time.Nanosecond)
			wantKeys(t, "after a minute", good, api, lists()[0], 3)
			api.err, api.text = nil, lists()[1]
			time.Sleep(time.Minute)
			wantKeys(t, "the try that succeeds", good, api, lists()[0], 4)
			wantKeys(t, "after it", good, api, lists()[1], 4)
		}
	})
}

func TestOldKeysAreUsedForTwentyHoursAtMost(t *testing.T) {
	bubble(t, func(t *testing.T, api *fake, store *Store) {
		if err := store.Load(); err != nil {
			t.Fatal(err)
		}
		api.err = errDown
		for range 19 {
			time.Sleep(time.Hour)
			if _, err := store.Get(t.Context()); err != nil {
				t.Fatalf("got error %v, want the keys in memory", err)
			}
		}
		time.Sleep(time.Hour - time.Nanosecond)
		wantKeys(t, "20 hours less a moment", store, api, lists()[0], 21)
		time.Sleep(time.Second)
		wantError(t, "20 hours", store, Error{Temporary: true, Reason: "network"})
		api.text = "[]"
		api.err = nil
		time.Sleep(time.Second)
		wantError(t, "an unusable list after 20 hours", store, Error{Reason: "malformed: no key signs"})
		api.text, api.after = lists()[1], time.Second
		time.Sleep(time.Second)
		began := time.Now()
		if keys, err := store.Get(t.Context()); err != nil || keys.All()[0].ID != kid(t, lists()[1]) {
			t.Errorf("once the secret can be read: got error %v, want its keys", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("got them after %v, want a wait for the read", took)
		}
	})
}

func TestKeyThatCannotSignIsMalformed(t *testing.T) {
	broken := hostile.KeyThatCannotSign(time.Now())
	want := Error{Reason: "malformed: the signing key cannot sign"}
	bubble(t, func(t *testing.T, api *fake, store *Store) {
		good := api.text
		api.text = broken
		if err := store.Load(); err != nil {
			t.Fatal(err)
		}
		wantError(t, "after a start", store, want)
		wantError(t, "without a start", New(api, "id", time.Now), want)
		if err := New(api, "id", time.Now).Reread(t.Context()); err == nil || err.Error() != want.Error() {
			t.Errorf("the check of a new process: got error %v, want %v", err, &want)
		}
		api.text = good
		time.Sleep(time.Second)
		wantKeys(t, "once the key is replaced", store, api, good, 5)
		api.text = broken
		time.Sleep(time.Hour)
		wantKeys(t, "a re-read", store, api, good, 6)
		wantKeys(t, "after it", store, api, good, 6)
	})
}

// A clock that jumps back says nothing about the keys' age.
func TestClockThatJumpsBackStartsAReread(t *testing.T) {
	texts := lists()
	synctest.Test(t, func(t *testing.T) {
		var offset time.Duration
		api := &fake{text: texts[0]}
		store := New(api, "id", func() time.Time { return time.Now().Add(offset) })
		if err := store.Load(); err != nil {
			t.Fatal(err)
		}
		api.err = errDown
		offset = -48 * time.Hour
		wantKeys(t, "back by two days", store, api, texts[0], 2)
		api.err = nil
		time.Sleep(time.Minute)
		wantKeys(t, "a minute later", store, api, texts[0], 3)
		wantKeys(t, "after the re-read", store, api, texts[0], 3)
	})
}

func TestFirstRead(t *testing.T) {
	for _, tt := range []struct {
		name string
		api  *fake
		want Error
	}{
		{"no answer", &fake{err: errDown}, Error{Temporary: true, Reason: "network"}},
		{"a hanging one", &fake{after: time.Hour}, Error{Temporary: true, Reason: "timeout"}},
		{"denied", &fake{err: refusal{400, "AccessDeniedException"}}, Error{Reason: "AccessDeniedException"}},
		{"throttled", &fake{err: refusal{400, "ThrottlingException"}},
			Error{Temporary: true, Reason: "ThrottlingException"}},
		{"no list", &fake{text: "canary"}, Error{Reason: "malformed: the signing secret is not a JSON list of keys"}},
		{"no keys", &fake{text: "[]"}, Error{Reason: "malformed: no key signs"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := New(tt.api, "id", time.Now)
			if err := store.Load(); err == nil {
				t.Errorf("%s: got no error from Load, want one", tt.name)
			}
			wantError(t, tt.name, store, tt.want)
			wantError(t, tt.name+", again", store, tt.want)
			if calls := tt.api.calls.Load(); calls != 2 {
				t.Errorf("%s: got %d reads, want one for Load and one for a second's requests", tt.name, calls)
			}
		})
	}
}

// refusal is an answer of Secrets Manager.
type refusal struct {
	status int
	code   string
}

func (r refusal) Error() string       { return r.code + " with a canary" }
func (r refusal) ErrorCode() string   { return r.code }
func (r refusal) HTTPStatusCode() int { return r.status }

func TestConcurrentCallersShareARead(t *testing.T) {
	bubble(t, func(t *testing.T, api *fake, store *Store) {
		api.after = time.Second
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if _, err := store.Get(t.Context()); err != nil {
					t.Errorf("got error %v, want keys", err)
				}
			})
		}
		callers.Wait()
		if calls := api.calls.Load(); calls != 1 {
			t.Errorf("got %d reads, want one", calls)
		}
	})
}

func TestCallerGivesUpAtItsOwnDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, api *fake, store *Store) {
		api.after = flight.Timeout / 2
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := store.Get(ctx)
		if got, ok := errors.AsType[*Error](err); !ok || *got != (Error{Temporary: true, Reason: "timeout"}) {
			t.Errorf("got error %v, want a temporary timeout", err)
		}
		time.Sleep(time.Second)
		wantKeys(t, "afterwards", store, api, lists()[0], 1)
	})
}
