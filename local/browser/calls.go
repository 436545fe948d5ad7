package browser

import (
	"bytes"
	"cmp"
	"encoding/json/v2"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// call is a call from one server to another. Pages get it when it begins and when it ends.
type call struct {
	ID      int64   `json:"id"`
	From    string  `json:"from"`
	To      string  `json:"to"`
	Name    string  `json:"name"`
	Request string  `json:"request"`
	Ms      float64 `json:"ms"`     // 0 until it ends
	Status  int     `json:"status"` // 0 if there is no answer
	Answer  string  `json:"answer"`
}

// stream sends events to pages. It is an [io.Writer] of the function's log.
type stream struct {
	pages sync.Map // of chan string
	calls atomic.Int64
}

// publish sends an event to all pages. A page that is far behind misses it.
func (s *stream) publish(name string, data any) {
	text, _ := json.Marshal(data)
	for page := range s.pages.Range {
		select {
		case page.(chan string) <- fmt.Sprintf("event: %s\ndata: %s\n\n", name, text):
		default:
		}
	}
}

// begin publishes the beginning of a call. The function that it returns publishes the end.
func (s *stream) begin(c call) func(status int, answer string) {
	c.ID = s.calls.Add(1)
	s.publish("call", c)
	began := time.Now()
	return func(status int, answer string) {
		c.Ms, c.Status, c.Answer = float64(time.Since(began).Microseconds())/1000, status, answer
		s.publish("call", c)
	}
}

// Write publishes log lines. The function writes each at once.
func (s *stream) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		s.publish("log", line)
	}
	return len(p), nil
}

func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := make(chan string, 256)
	s.pages.Store(page, true)
	defer s.pages.Delete(page)
	w.Header().Set("Content-Type", "text/event-stream")
	for text := ": connected\n\n"; r.Context().Err() == nil; {
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case text = <-page:
		}
	}
}

// record publishes the calls to a handler. hide removes what pages must not show.
func (s *stream) record(from, to string, hide func(string) string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 16<<10)) // the function accepts no more
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
		end := s.begin(call{
			From: from, To: to, Name: cmp.Or(r.Header.Get("X-Amz-Target"), r.Method+" "+r.URL.Path),
			Request: hide(strings.TrimSpace(r.URL.RawQuery + "\n" + string(body))),
		})
		answer, status := httptest.NewRecorder(), 0
		defer func() { end(status, hide(answer.Body.String())) }()
		next.ServeHTTP(answer, r) // panics to hang up
		status = answer.Code
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(status)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// These match values by their names, in JSON and in queries.
var codes = regexp.MustCompile(`((?:^|[&"])(?:code|js_code|phoneCode|encryptedData|iv|token|encrypted_msg_hash)` +
	`(?:=|"\s*:\s*"))([^&"]{6})[^&"\n]*`)
var keys = regexp.MustCompile(`(\b(?:secret|session_key|access_token|SecretString)(?:=|"\s*:\s*"))(?:[^&"\\\n]|\\.)*`)
var users = regexp.MustCompile(`(\b(?:openid|unionid|phoneNumber|purePhoneNumber)(?:=|"\s*:\s*"))(?:[^&"\\\n]|\\.)*`)

// cut cuts codes and tokens off, and hides secrets.
func cut(text string) string {
	return keys.ReplaceAllString(codes.ReplaceAllString(text, "$1$2…"), "$1[redacted]")
}

// redact also hides the user's data, as the function's types do.
func redact(text string) string { return users.ReplaceAllString(cut(text), "$1[redacted]") }
