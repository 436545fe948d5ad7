package lambdatest

import (
	"context"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// asBootstrap is the variable that turns the test's own executable into a
// bootstrap. It uses the real runtime library.
const asBootstrap = "TEST_BOOTSTRAP"

func TestMain(m *testing.M) {
	switch os.Getenv(asBootstrap) {
	case "":
		os.Exit(m.Run())
	case "exit":
		os.Exit(3)
	}
	runtime.StartHandlerFunc(func(ctx context.Context, event map[string]any) (any, error) {
		switch event["do"] {
		case "exit":
			os.Exit(3)
		case "fail":
			return nil, errors.New("failed")
		case "hang":
			time.Sleep(time.Minute)
		case "sleep":
			time.Sleep(300 * time.Millisecond)
		case "describe":
			deadline, _ := ctx.Deadline()
			lc, _ := lambdacontext.FromContext(ctx)
			left := time.Until(deadline).Milliseconds()
			return map[string]any{"pid": os.Getpid(), "left": left, "id": lc.AwsRequestID}, nil
		}
		return event["answer"], nil
	})
}

func deploy(t *testing.T, timeout time.Duration, concurrency int) *Function {
	t.Helper()
	f, err := Start(Config{
		Bootstrap: os.Args[0], Env: []string{asBootstrap + "=1"},
		Timeout: timeout, Concurrency: concurrency, Logs: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestInvokeReportsACrashAndRestartsTheProcess(t *testing.T) {
	t.Parallel()
	f := deploy(t, 0, 1)
	for range 2 {
		_, err := f.Invoke(t.Context(), []byte(`{"do":"exit"}`))
		if e, ok := errors.AsType[*Error](err); !ok || e.Type != "Runtime.ExitError" {
			t.Errorf("a crash: got error %v, want Runtime.ExitError", err)
		}
		if answer, err := f.Invoke(t.Context(), []byte(`{"answer":1}`)); err != nil || string(answer) != "1" {
			t.Errorf("after a crash: got %s, error %v, want 1", answer, err)
		}
	}
	_, err := f.Invoke(t.Context(), []byte(`{"do":"fail"}`))
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(string(e.Payload), `"failed"`) {
		t.Errorf("an error: got error %v, want one with \"failed\"", err)
	}
	config := Config{Bootstrap: os.Args[0], Env: []string{asBootstrap + "=exit"}, Logs: io.Discard}
	if _, err := Start(config); err == nil {
		t.Error("a process that exits at once: got no error from Start, want one")
	}
}

func TestCloseEndsTheProcess(t *testing.T) {
	t.Parallel()
	f := deploy(t, 0, 1)
	process, err := os.FindProcess(f.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("before Close: got error %v from a signal, want a running process", err)
	}
	f.Close()
	if err := process.Signal(syscall.Signal(0)); err == nil {
		t.Error("after Close: the process is still running")
	}
	if _, err := f.Invoke(t.Context(), []byte(`{}`)); err == nil {
		t.Error("after Close: got no error from Invoke, want one")
	}
}

func TestFunctionSeesItsDeadlineAndIsKilledAfterIt(t *testing.T) {
	t.Parallel()
	f := deploy(t, 700*time.Millisecond, 1)
	var got struct {
		PID, Left int
		ID        string
	}
	describe := func() {
		answer, err := f.Invoke(t.Context(), []byte(`{"do":"describe"}`))
		if err == nil {
			err = json.Unmarshal(answer, &got, json.MatchCaseInsensitiveNames(true))
		}
		if err != nil || got.Left < 500 || got.Left > 700 || len(got.ID) != 36 || got.PID != f.PID() {
			t.Errorf("got %+v, error %v, want PID %d, 500 to 700 ms left and a request id", got, err, f.PID())
		}
	}
	describe()
	before := got.PID
	_, err := f.Invoke(t.Context(), []byte(`{"do":"hang"}`))
	if e, ok := errors.AsType[*Error](err); !ok || e.Type != "Sandbox.Timedout" {
		t.Errorf("past the deadline: got error %v, want Sandbox.Timedout", err)
	}
	describe()
	if got.PID == before {
		t.Errorf("after a timeout: got the same process %d, want a new one", before)
	}
}

func TestConcurrencyLetsInvocationsRunAtOnce(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 4} {
		f := deploy(t, 0, concurrency)
		began := time.Now()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := f.Invoke(t.Context(), []byte(`{"do":"sleep"}`)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if atOnce := time.Since(began) < 1200*time.Millisecond; atOnce != (concurrency == 4) {
			t.Errorf("concurrency %d: got 4 invocations of 300 ms at once %v, want %v",
				concurrency, atOnce, concurrency == 4)
		}
	}
}

func TestRequestsBecomeEvents(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, contentType, body, want string
		encoded                       bool
	}{
		{"JSON", "application/json; charset=utf-8", `{"a":1}`, `{"a":1}`, false},
		{"text", "Text/Plain", "a", "a", false},
		{"XML", "application/xml", "<a/>", "<a/>", false},
		{"a form", "application/x-www-form-urlencoded", "a=b", "YT1i", true},
		{"no content type", "", "a=b", "YT1i", true},
		{"no body", "application/json", "", "", false},
		{"no body and no content type", "", "", "", false},
	} {
		r := httptest.NewRequest("POST", "https://host/a%2Fb?x=1&x=2&y=", strings.NewReader(test.body))
		r.Header = http.Header{"X-Two": {"1", "2"}, "Cookie": {"c=1; d=2"}, "User-Agent": {"test"}}
		if test.contentType != "" {
			r.Header.Set("Content-Type", test.contentType)
		}
		e := NewEvent(r, []byte(test.body))
		if e.Body != test.want || e.IsBase64Encoded != test.encoded {
			t.Errorf("%s: got body %q, encoded %v, want %q, %v",
				test.name, e.Body, e.IsBase64Encoded, test.want, test.encoded)
		}
		for field, values := range map[string][2]string{
			"version":      {e.Version, "2.0"},
			"path":         {e.RawPath, "/a%2Fb"},
			"query string": {e.RawQueryString, "x=1&x=2&y="},
			"query x":      {e.QueryStringParameters["x"], "1,2"},
			"x-two":        {e.Headers["x-two"], "1,2"},
			"host":         {e.Headers["host"], "host"},
			"cookie":       {e.Headers["cookie"], ""},
			"cookies":      {fmt.Sprint(e.Cookies), "[c=1 d=2]"},
			"method":       {e.RequestContext.HTTP.Method, "POST"},
			"stage":        {e.RequestContext.Stage, "$default"},
			"user agent":   {e.RequestContext.HTTP.UserAgent, "test"},
		} {
			if got, want := values[0], values[1]; got != want {
				t.Errorf("%s: %s: got %q, want %q", test.name, field, got, want)
			}
		}
	}
}

func TestAnswersBecomeHTTPResponses(t *testing.T) {
	t.Parallel()
	encoded := base64.StdEncoding.EncodeToString([]byte("bytes"))
	const failed = `{"message":"Internal Server Error"}`
	for _, test := range []struct {
		name, answer string
		err          error
		status       int
		body         string
	}{
		{"an answer", `{"statusCode":418,"headers":{"x-a":"b"},"cookies":["c=d"],"body":"text"}`, nil, 418, "text"},
		{"base64", `{"statusCode":200,"body":"` + encoded + `","isBase64Encoded":true}`, nil, 200, "bytes"},
		{"no statusCode", `{"a":1}`, nil, 200, `{"a":1}`},
		{"not an object", `"text"`, nil, 200, `"text"`},
		{"a bad statusCode", `{"statusCode":"x"}`, nil, 500, failed},
		{"bad base64", `{"statusCode":200,"body":"!","isBase64Encoded":true}`, nil, 500, failed},
		{"a failure", "", &Error{}, 500, failed},
	} {
		g := &Gateway{Invoke: func(context.Context, []byte) ([]byte, error) { return []byte(test.answer), test.err }}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest("POST", "/phone", nil))
		if w.Code != test.status || w.Body.String() != test.body {
			t.Errorf("%s: got %d %s, want %d %s", test.name, w.Code, w.Body, test.status, test.body)
		}
		if test.name == "an answer" && (w.Header().Get("X-A") != "b" || w.Header().Get("Set-Cookie") != "c=d") {
			t.Errorf("%s: got headers %v, want x-a and a cookie", test.name, w.Header())
		}
	}
}

func TestGatewayAnswersSomeRequestsItself(t *testing.T) {
	t.Parallel()
	called := 0
	var e Event
	g := &Gateway{Invoke: func(_ context.Context, event []byte) ([]byte, error) {
		called++
		e = Event{}
		return []byte(`{"statusCode":200}`), json.Unmarshal(event, &e)
	}}
	answer := func(method, path string, size int) (int, string) {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(strings.Repeat("x", size))))
		return w.Code, w.Body.String()
	}
	const tooLarge, notFound = `{"message":"Request Entity Too Large"}`, `{"message":"Not Found"}`
	if status, body := answer("POST", "/phone", 10<<20+1); status != 413 || body != tooLarge {
		t.Errorf("over 10 MB: got %d %s, want 413 %s", status, body, tooLarge)
	}
	if status, _ := answer("DELETE", "/elsewhere", 0); status != 200 || called != 1 {
		t.Errorf("without a route: got status %d after %d calls, want 200 after 1", status, called)
	}
	g.Routes = []string{"POST /phone", "GET /.well-known/jwks.json"}
	for _, request := range []string{
		"GET /phone", "POST /", "POST /phone/", "POST /login", "OPTIONS /phone",
		"POST /.well-known/jwks.json", "HEAD /.well-known/jwks.json", "OPTIONS /.well-known/jwks.json",
	} {
		method, path, _ := strings.Cut(request, " ")
		if status, body := answer(method, path, 0); status != 404 || body != notFound || called != 1 {
			t.Errorf("%s: got %d %s after %d calls, want 404 %s after 1", request, status, body, called, notFound)
		}
	}
	for i, route := range g.Routes {
		method, path, _ := strings.Cut(route, " ")
		if status, _ := answer(method, path, 0); status != 200 || called != 2+i {
			t.Errorf("%s: got status %d after %d calls, want 200 after %d", route, status, called, 2+i)
		}
		if e.RouteKey != route || e.RequestContext.RouteKey != route {
			t.Errorf("%s: got the event's routes %q and %q", route, e.RouteKey, e.RequestContext.RouteKey)
		}
	}
}
