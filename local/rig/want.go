package rig

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/wechattest"
)

var requestID = regexp.MustCompile(`^[0-9a-f-]{36}$`)

// IsRequestID reports whether text has the form of Lambda's request ids.
func IsRequestID(text string) bool { return requestID.MatchString(text) }

// Want checks an answer against a row of the error table. The zero
// [hostile.Want] is for a success.
func (r *Rig) Want(name string, got Answer, want hostile.Want) {
	r.t.Helper()
	r.WantHeaders(name, got)
	if want == (hostile.Want{}) {
		if got.Status != http.StatusOK || got.Phone == "" || strings.Contains(got.Body, `"error"`) {
			r.t.Errorf("%s: got %d %s, want a phone number", name, got.Status, got.Body)
		}
		return
	}
	if got := (hostile.Want{Error: got.Error, Status: got.Status, Action: got.Action}); got != want {
		r.t.Errorf("%s: got %v, want %v", name, got, want)
	}
	body := fmt.Sprintf(`{"error":%q,"message":%q,"action":%q,"requestId":%q}`,
		got.Error, got.Message, got.Action, got.RequestID)
	if got.Body != body || got.Message == "" || !IsRequestID(got.RequestID) {
		r.t.Errorf("%s: got the body %s, want the four fields of a failure", name, got.Body)
	}
	// A caller that may not send the same again must not be told when to.
	retryAfter := map[string]string{"wait rate_limited": "60", "retry unavailable": "1"}[want.Action+" "+want.Error]
	if value := got.Header.Get("retry-after"); value != retryAfter {
		r.t.Errorf("%s: got retry-after %q, want %q", name, value, retryAfter)
	}
	allow := map[string]string{"method_not_allowed": "POST"}[want.Error]
	if value := got.Header.Get("allow"); value != allow {
		r.t.Errorf("%s: got allow %q, want %q", name, value, allow)
	}
}

// WantFailure is [Rig.Want] for a row that is written out.
func (r *Rig) WantFailure(name string, got Answer, failure string, status int, action string) {
	r.t.Helper()
	r.Want(name, got, hostile.Want{Error: failure, Status: status, Action: action})
}

// WantPhone posts, and wants a phone number back.
func (r *Rig) WantPhone(name string, tap wechattest.Tap) {
	r.t.Helper()
	r.Want(name, r.Post(tap), hostile.Want{})
}

// WantPhoneByCode is [Rig.WantPhone] for a phone code.
func (r *Rig) WantPhoneByCode(name string, tap wechattest.PhoneTap) {
	r.t.Helper()
	r.Want(name, r.PostPhone(tap), hostile.Want{})
}

// WantHeaders checks the headers that every answer has.
func (r *Rig) WantHeaders(name string, got Answer) {
	r.t.Helper()
	for header, want := range map[string]string{
		"content-type":           "application/json; charset=utf-8",
		"cache-control":          "no-store",
		"x-content-type-options": "nosniff",
	} {
		if value := got.Header.Get(header); value != want {
			r.t.Errorf("%s: got %s %q, want %q", name, header, value, want)
		}
	}
	id := got.Header.Get("x-request-id")
	if !requestID.MatchString(id) || got.Error != "" && id != got.RequestID {
		r.t.Errorf("%s: got x-request-id %q, want the request id %q", name, id, got.RequestID)
	}
}

// WaitFor waits until a condition holds. It fails the test after 10 seconds.
func WaitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
