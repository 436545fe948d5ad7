package wechat

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wechat-phone/shared/redacted"
)

// teller is a WeChat that gives tokens, each of its calls another one.
type teller struct {
	calls atomic.Int32
	life  int                                      // in seconds
	meet  func(n int32, appID, secret string) bool // before the answer to the n-th call; false has it refused
}

func (s *teller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		AppID  string `json:"appid"`
		Secret string `json:"secret"`
	}
	_ = json.UnmarshalRead(r.Body, &sent)
	n := s.calls.Add(1)
	if s.meet != nil && !s.meet(n, sent.AppID, sent.Secret) {
		fmt.Fprint(w, `{"errcode":40125,"errmsg":"invalid appsecret"}`)
		return
	}
	fmt.Fprintf(w, `{"access_token":"canary-%d-of-%s","expires_in":%d}`, n, sent.AppID, s.life)
}

// newTokens is a Tokens of s, and a clock that the test sets.
func newTokens(t *testing.T, s *teller) (tokens *Tokens, passed *atomic.Int64) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	begin := time.Now()
	passed = &atomic.Int64{}
	return NewTokens(newClient(t, server.URL), func() time.Time { return begin.Add(time.Duration(passed.Load())) }), passed
}

func TestTokenIsCachedUntilTwoMinutesBeforeItExpires(t *testing.T) {
	s := &teller{life: 7200}
	tokens, passed := newTokens(t, s)
	for _, step := range []struct {
		after time.Duration
		calls int32
	}{{0, 1}, {0, 1}, {time.Hour, 1}, {2*time.Hour - 2*time.Minute - 1, 1}, {2*time.Hour - 2*time.Minute, 2}, {3 * time.Hour, 2}, {4*time.Hour - 2*time.Minute, 3}} {
		passed.Store(int64(step.after))
		got, err := tokens.Get(t.Context(), app)
		if want := fmt.Sprintf("canary-%d-of-%s", step.calls, app.AppID); err != nil || got.Reveal() != want || got.AppID != app.AppID || s.calls.Load() != step.calls {
			t.Errorf("after %v: %s, %v, %d fetches, want %s", step.after, got.Reveal(), err, s.calls.Load(), want)
		}
	}
}

// The life begins before the question, and not when the answer is read: the
// process may be frozen between the two.
func TestTokenLifeBeginsBeforeTheRequest(t *testing.T) {
	s := &teller{life: 7200}
	tokens, passed := newTokens(t, s)
	s.meet = func(n int32, _, _ string) bool {
		if n == 1 {
			passed.Store(int64(3 * time.Hour))
		}
		return true
	}
	for want := range int32(2) {
		if got, err := tokens.Get(t.Context(), app); err != nil || got.Reveal() != fmt.Sprintf("canary-%d-of-%s", want+1, app.AppID) {
			t.Errorf("%s, %v", got.Reveal(), err)
		}
	}
}

func TestConcurrentCallersShareOneTokenFetch(t *testing.T) {
	arrived, release := make(chan bool, 100), make(chan bool)
	s := &teller{life: 7200, meet: func(int32, string, string) bool { arrived <- true; <-release; return true }}
	tokens, _ := newTokens(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { // the one that begins it gives up
		_, err := tokens.Get(ctx, app)
		if failure, ok := errors.AsType[*Error](err); !ok || *failure != (Error{API: TokenAPI, Kind: TimedOut, Reason: "timeout"}) {
			t.Errorf("gave up with %v", err)
		}
	})
	<-arrived
	cancel()
	all.Wait()
	for range 64 {
		all.Go(func() {
			if _, err := tokens.Get(t.Context(), app); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	all.Wait()
	if calls := s.calls.Load(); calls != 1 {
		t.Errorf("%d fetches", calls)
	}
}

// Many calls are under way with a token when WeChat ends it. All of them drop
// it, and none the one that the first of them fetches.
func TestOnlyTheRejectedTokenIsDropped(t *testing.T) {
	s := &teller{life: 7200}
	tokens, _ := newTokens(t, s)
	old, err := tokens.Get(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			tokens.Drop(old)
			if got, err := tokens.Get(t.Context(), app); err != nil || got.Equal(old.Value) {
				t.Errorf("%s, %v", got.Reveal(), err)
			}
		})
	}
	all.Wait()
	tokens.Drop(old) // by one that comes late
	if got, err := tokens.Get(t.Context(), app); err != nil || got.Equal(old.Value) || s.calls.Load() != 2 {
		t.Errorf("%s, %v, %d fetches", got.Reveal(), err, s.calls.Load())
	}
}

func TestTokenIsCachedPerMiniProgram(t *testing.T) {
	s := &teller{life: 7200}
	tokens, _ := newTokens(t, s)
	rotated := Credentials{app.AppID, AppSecret{redacted.New("another")}}
	moved := Credentials{"wx-moved", app.Secret}
	for _, step := range []struct {
		app   Credentials
		token string
	}{{app, "canary-1-of-" + app.AppID}, {rotated, "canary-1-of-" + app.AppID}, {moved, "canary-2-of-wx-moved"}, {moved, "canary-2-of-wx-moved"}} {
		if got, err := tokens.Get(t.Context(), step.app); err != nil || got.Reveal() != step.token || got.AppID != step.app.AppID {
			t.Errorf("%s, %v, want %s", got.Reveal(), err, step.token)
		}
	}
}

func TestFailureIsRememberedForOneSecondAndForItsCredentials(t *testing.T) {
	s := &teller{life: 7200, meet: func(_ int32, _, secret string) bool { return secret != secretText }}
	tokens, passed := newTokens(t, s)
	rotated := Credentials{app.AppID, AppSecret{redacted.New("another")}}
	wrong := func(after time.Duration, calls int32) {
		t.Helper()
		passed.Store(int64(after))
		if _, err := tokens.Get(t.Context(), app); !RejectsCredentials(err) || s.calls.Load() != calls {
			t.Errorf("after %v: %v, %d fetches, want %d", after, err, s.calls.Load(), calls)
		}
	}
	wrong(0, 1)
	wrong(999*time.Millisecond, 1)
	if _, err := tokens.Get(t.Context(), Credentials{app.AppID, AppSecret{redacted.New(secretText)}}); err == nil || s.calls.Load() != 1 {
		t.Errorf("with the same secret, read again: %d fetches, %v", s.calls.Load(), err)
	}
	wrong(time.Second, 2)
	if err := tokens.Load(app); !RejectsCredentials(err) || s.calls.Load() != 3 {
		t.Errorf("a load: %v, %d fetches", err, s.calls.Load())
	}
	wrong(time.Second, 4) // so the load's failure was not remembered
	if got, err := tokens.Get(t.Context(), rotated); err != nil || s.calls.Load() != 5 || got.AppID != app.AppID {
		t.Errorf("with the rotated secret: %v, %d fetches", err, s.calls.Load())
	}
}

func TestNobodyWaitsForATokenLongerThanTwoSeconds(t *testing.T) {
	silent := make(chan bool)
	s := &teller{life: 7200, meet: func(int32, string, string) bool { <-silent; return true }}
	tokens, _ := newTokens(t, s)
	defer close(silent)
	began := time.Now()
	_, err := tokens.Get(t.Context(), app)
	failure, ok := errors.AsType[*Error](err)
	if took := time.Since(began); !ok || *failure != (Error{API: TokenAPI, Kind: TimedOut, Reason: "timeout"}) || took < 1900*time.Millisecond || took > 3*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}
