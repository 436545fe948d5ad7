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

// IsRequestID reports whether text has the form of a Lambda request id.
func IsRequestID(text string) bool { return requestID.MatchString(text) }

// Want checks that got is the failure that want describes. For the zero
// [hostile.Want] it checks that got is a success.
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
		r.t.Errorf("%s: got body %s, want the four fields of a failure", name, got.Body)
	}
	// An answer has retry-after only if its action allows sending the request again.
	retryAfter := map[string]string{"wait rate_limited": "60", "retry unavailable": "1"}[want.Action+" "+want.Error]
	if value := got.Header.Get("retry-after"); value != retryAfter {
		r.t.Errorf("%s: got retry-after %q, want %q", name, value, retryAfter)
	}
	allow := map[string]string{"method_not_allowed": "POST"}[want.Error]
	if value := got.Header.Get("allow"); value != allow {
		r.t.Errorf("%s: got allow %q, want %q", name, value, allow)
	}
}

// WantFailure is like [Rig.Want], with the fields of a [hostile.Want] as arguments.
func (r *Rig) WantFailure(name string, got Answer, failure string, status int, action string) {
	r.t.Helper()
	r.Want(name, got, hostile.Want{Error: failure, Status: status, Action: action})
}

// WantPhone posts tap and wants a phone number back.
func (r *Rig) WantPhone(name string, tap wechattest.Tap) {
	r.t.Helper()
	r.Want(name, r.Post(tap), hostile.Want{})
}

// WantPhoneByCode is like [Rig.WantPhone], with a phone code.
func (r *Rig) WantPhoneByCode(name string, tap wechattest.PhoneTap) {
	r.t.Helper()
	r.Want(name, r.PostPhone(tap), hostile.Want{})
}

// WantHeaders checks the headers that every answer of the function has.
func (r *Rig) WantHeaders(name string, got Answer) {
	r.t.Helper()
	for header, want := range map[string]string{
		"content-type":           "application/json; charset=utf-8",
		"cache-control":          "no-store",
		"x-content-type-options": "nosniff",
		"x-version":              "dev",
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

// WaitFor waits until holds returns true. It fails the test after 10 seconds. what
// names the condition, as in "the process has ended".
func WaitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
