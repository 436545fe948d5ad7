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

// tokenServer is a WeChat that returns a new token for each call.
type tokenServer struct {
	calls atomic.Int32
	life  int                                      // in seconds
	admit func(n int32, appID, secret string) bool // called before call n is answered; false refuses it
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		AppID  string `json:"appid"`
		Secret string `json:"secret"`
	}
	_ = json.UnmarshalRead(r.Body, &sent)
	n := s.calls.Add(1)
	if s.admit != nil && !s.admit(n, sent.AppID, sent.Secret) {
		fmt.Fprint(w, `{"errcode":40125,"errmsg":"invalid appsecret"}`)
		return
	}
	fmt.Fprintf(w, `{"access_token":"canary-%d-of-%s","expires_in":%d}`, n, sent.AppID, s.life)
}

// newTokens returns a Tokens that uses s, and how far its clock is ahead of its
// start. The test sets that.
func newTokens(t *testing.T, s *tokenServer) (tokens *Tokens, passed *atomic.Int64) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	begin := time.Now()
	passed = &atomic.Int64{}
	now := func() time.Time { return begin.Add(time.Duration(passed.Load())) }
	return NewTokens(newClient(t, server.URL), now), passed
}

func TestTokenIsCachedUntilTwoMinutesBeforeItExpires(t *testing.T) {
	s := &tokenServer{life: 7200}
	tokens, passed := newTokens(t, s)
	for _, step := range []struct {
		after time.Duration
		calls int32
	}{
		{0, 1},
		{0, 1},
		{time.Hour, 1},
		{2*time.Hour - 2*time.Minute - 1, 1},
		{2*time.Hour - 2*time.Minute, 2},
		{3 * time.Hour, 2},
		{4*time.Hour - 2*time.Minute, 3},
	} {
		passed.Store(int64(step.after))
		wantToken(t, tokens, app, fmt.Sprintf("canary-%d-of-%s", step.calls, app.AppID))
		if calls := s.calls.Load(); calls != step.calls {
			t.Errorf("after %v: got %d fetches, want %d", step.after, calls, step.calls)
		}
	}
}

// wantToken checks that Get returns this token, for app's mini-program.
func wantToken(t *testing.T, tokens *Tokens, app Credentials, want string) {
	t.Helper()
	got, err := tokens.Get(t.Context(), app)
	if err != nil || got.Reveal() != want || got.AppID != app.AppID {
		t.Errorf("Get = %s of %s, %v, want %s of %s", got.Reveal(), got.AppID, err, want, app.AppID)
	}
}

// A token's life counts from before the request, not from when the answer was read.
// Lambda may freeze the process between the two.
func TestTokenLifeBeginsBeforeTheRequest(t *testing.T) {
	s := &tokenServer{life: 7200}
	tokens, passed := newTokens(t, s)
	s.admit = func(n int32, _, _ string) bool {
		if n == 1 {
			passed.Store(int64(3 * time.Hour))
		}
		return true
	}
	wantToken(t, tokens, app, "canary-1-of-"+app.AppID)
	wantToken(t, tokens, app, "canary-2-of-"+app.AppID)
}

// wantTimeout checks that err is the error of a fetch that took too long.
func wantTimeout(t *testing.T, err error) {
	t.Helper()
	want := Error{API: TokenAPI, Kind: TimedOut, Reason: "timeout"}
	if failure, ok := errors.AsType[*Error](err); !ok || *failure != want {
		t.Errorf("got %v, want %v", err, &want)
	}
}

func TestConcurrentCallersShareOneTokenFetch(t *testing.T) {
	arrived, release := make(chan bool, 100), make(chan bool)
	s := &tokenServer{life: 7200, admit: func(int32, string, string) bool { arrived <- true; <-release; return true }}
	tokens, _ := newTokens(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { // the caller that starts the fetch gives up
		_, err := tokens.Get(ctx, app)
		wantTimeout(t, err)
	})
	<-arrived
	cancel()
	all.Wait()
	for range 64 {
		all.Go(func() {
			if _, err := tokens.Get(t.Context(), app); err != nil {
				t.Errorf("Get = %v, want a token", err)
			}
		})
	}
	close(release)
	all.Wait()
	if calls := s.calls.Load(); calls != 1 {
		t.Errorf("got %d fetches, want 1", calls)
	}
}

// WeChat invalidates a token while many calls use it. All of them drop it, but none
// may drop the new token that the first of them fetches.
func TestOnlyTheRejectedTokenIsDropped(t *testing.T) {
	s := &tokenServer{life: 7200}
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
				t.Errorf("Get = %s, %v, want a new token", got.Reveal(), err)
			}
		})
	}
	all.Wait()
	tokens.Drop(old) // by a late call
	if got, err := tokens.Get(t.Context(), app); err != nil || got.Equal(old.Value) || s.calls.Load() != 2 {
		t.Errorf("Get = %s, %v after %d fetches, want the new token after 2", got.Reveal(), err, s.calls.Load())
	}
}

func TestTokenIsCachedPerMiniProgram(t *testing.T) {
	s := &tokenServer{life: 7200}
	tokens, _ := newTokens(t, s)
	rotated := Credentials{app.AppID, AppSecret{redacted.New("another")}}
	moved := Credentials{"wx-moved", app.Secret}
	wantToken(t, tokens, app, "canary-1-of-"+app.AppID)
	wantToken(t, tokens, rotated, "canary-1-of-"+app.AppID)
	wantToken(t, tokens, moved, "canary-2-of-wx-moved")
	wantToken(t, tokens, moved, "canary-2-of-wx-moved")
}

func TestFailureIsRememberedForOneSecondAndForItsCredentials(t *testing.T) {
	s := &tokenServer{life: 7200, admit: func(_ int32, _, secret string) bool { return secret != secretText }}
	tokens, passed := newTokens(t, s)
	reread := Credentials{app.AppID, AppSecret{redacted.New(secretText)}}
	rotated := Credentials{app.AppID, AppSecret{redacted.New("another")}}
	reject := func(app Credentials, after time.Duration, calls int32) {
		t.Helper()
		passed.Store(int64(after))
		if _, err := tokens.Get(t.Context(), app); !RejectsCredentials(err) || s.calls.Load() != calls {
			t.Errorf("after %v: got %v after %d fetches, want a rejection after %d", after, err, s.calls.Load(), calls)
		}
	}
	reject(app, 0, 1)
	reject(app, 999*time.Millisecond, 1)
	reject(reread, 999*time.Millisecond, 1) // the same secret, read again
	reject(app, time.Second, 2)
	if err := tokens.Load(app); !RejectsCredentials(err) || s.calls.Load() != 3 {
		t.Errorf("Load = %v after %d fetches, want a rejection after 3", err, s.calls.Load())
	}
	reject(app, time.Second, 4) // so Load's failure was not remembered
	if got, err := tokens.Get(t.Context(), rotated); err != nil || s.calls.Load() != 5 || got.AppID != app.AppID {
		t.Errorf("the rotated secret: got %v after %d fetches, want a token after 5", err, s.calls.Load())
	}
}

func TestNobodyWaitsForATokenLongerThanTwoSeconds(t *testing.T) {
	silent := make(chan bool)
	s := &tokenServer{life: 7200, admit: func(int32, string, string) bool { <-silent; return true }}
	tokens, _ := newTokens(t, s)
	defer close(silent)
	began := time.Now()
	_, err := tokens.Get(t.Context(), app)
	wantTimeout(t, err)
	if took := time.Since(began); took < 1900*time.Millisecond || took > 3*time.Second {
		t.Errorf("Get took %v, want about 2 s", took)
	}
}
