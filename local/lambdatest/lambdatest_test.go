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

// With this variable the test's own executable is a bootstrap, with the real
// runtime library in it.
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
		case "tell":
			deadline, _ := ctx.Deadline()
			lc, _ := lambdacontext.FromContext(ctx)
			return map[string]any{"pid": os.Getpid(), "left": time.Until(deadline).Milliseconds(), "id": lc.AwsRequestID}, nil
		}
		return event["answer"], nil
	})
}

func deploy(t *testing.T, timeout time.Duration, concurrency int) *Function {
	t.Helper()
	f, err := Start(Config{Bootstrap: os.Args[0], Env: []string{asBootstrap + "=1"}, Timeout: timeout, Concurrency: concurrency, Logs: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestCrashIsReportedAndTheProcessRestarted(t *testing.T) {
	t.Parallel()
	f := deploy(t, 0, 1)
	for range 2 {
		_, err := f.Invoke(t.Context(), []byte(`{"do":"exit"}`))
		if e, ok := errors.AsType[*Error](err); !ok || e.Type != "Runtime.ExitError" {
			t.Errorf("a crash: %v", err)
		}
		if answer, err := f.Invoke(t.Context(), []byte(`{"answer":1}`)); err != nil || string(answer) != "1" {
			t.Errorf("after a crash: %s, %v", answer, err)
		}
	}
	_, err := f.Invoke(t.Context(), []byte(`{"do":"fail"}`))
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(string(e.Payload), `"failed"`) {
		t.Errorf("an error: %v", err)
	}
	if _, err := Start(Config{Bootstrap: os.Args[0], Env: []string{asBootstrap + "=exit"}, Logs: io.Discard}); err == nil {
		t.Error("a process that ends at once was started")
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
		t.Errorf("before: %v", err)
	}
	f.Close()
	if err := process.Signal(syscall.Signal(0)); err == nil {
		t.Error("the process is left")
	}
	if _, err := f.Invoke(t.Context(), []byte(`{}`)); err == nil {
		t.Error("a closed function was invoked")
	}
}

func TestDeadlineIsToldAndKept(t *testing.T) {
	t.Parallel()
	f := deploy(t, 700*time.Millisecond, 1)
	var told struct {
		PID, Left int
		ID        string
	}
	tell := func() {
		answer, err := f.Invoke(t.Context(), []byte(`{"do":"tell"}`))
		if err == nil {
			err = json.Unmarshal(answer, &told, json.MatchCaseInsensitiveNames(true))
		}
		if err != nil || told.Left < 500 || told.Left > 700 || len(told.ID) != 36 || told.PID != f.PID() {
			t.Errorf("%+v, %v", told, err)
		}
	}
	tell()
	before := told.PID
	_, err := f.Invoke(t.Context(), []byte(`{"do":"hang"}`))
	if e, ok := errors.AsType[*Error](err); !ok || e.Type != "Sandbox.Timedout" {
		t.Errorf("past its time: %v", err)
	}
	tell()
	if told.PID == before {
		t.Error("the process outlived its time-out")
	}
}

func TestInvocationsRunAtOnceWhereConcurrencyAsksForIt(t *testing.T) {
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
			t.Errorf("concurrency %d: 4 times 300 ms took %v", concurrency, time.Since(began))
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
		{"nothing", "application/json", "", "", false},
		{"nothing without a content type", "", "", "", false},
	} {
		r := httptest.NewRequest("POST", "https://host/a%2Fb?x=1&x=2&y=", strings.NewReader(test.body))
		r.Header = http.Header{"X-Two": {"1", "2"}, "Cookie": {"c=1; d=2"}, "User-Agent": {"test"}}
		if test.contentType != "" {
			r.Header.Set("Content-Type", test.contentType)
		}
		e := NewEvent(r, []byte(test.body))
		if e.Body != test.want || e.IsBase64Encoded != test.encoded {
			t.Errorf("%s: body %q, encoded %v", test.name, e.Body, e.IsBase64Encoded)
		}
		if e.Version != "2.0" || e.RawPath != "/a%2Fb" || e.RawQueryString != "x=1&x=2&y=" || e.QueryStringParameters["x"] != "1,2" ||
			e.Headers["x-two"] != "1,2" || e.Headers["host"] != "host" || fmt.Sprint(e.Cookies) != "[c=1 d=2]" || e.Headers["cookie"] != "" ||
			e.RequestContext.HTTP.Method != "POST" || e.RequestContext.Stage != "$default" || e.RequestContext.HTTP.UserAgent != "test" {
			t.Errorf("%s: %+v", test.name, e)
		}
	}
}

func TestAnswersBecomeHTTP(t *testing.T) {
	t.Parallel()
	encoded := base64.StdEncoding.EncodeToString([]byte("bytes"))
	for _, test := range []struct {
		name, answer string
		err          error
		status       int
		body         string
	}{
		{"an answer", `{"statusCode":418,"headers":{"x-a":"b"},"cookies":["c=d"],"body":"text"}`, nil, 418, "text"},
		{"base64", `{"statusCode":200,"body":"` + encoded + `","isBase64Encoded":true}`, nil, 200, "bytes"},
		{"no statusCode", `{"a":1}`, nil, 200, `{"a":1}`},
		{"no object", `"text"`, nil, 200, `"text"`},
		{"a bad statusCode", `{"statusCode":"x"}`, nil, 500, `{"message":"Internal Server Error"}`},
		{"bad base64", `{"statusCode":200,"body":"!","isBase64Encoded":true}`, nil, 500, `{"message":"Internal Server Error"}`},
		{"a failure", "", &Error{}, 500, `{"message":"Internal Server Error"}`},
	} {
		g := &Gateway{Invoke: func(context.Context, []byte) ([]byte, error) { return []byte(test.answer), test.err }}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest("POST", "/phone", nil))
		if w.Code != test.status || w.Body.String() != test.body {
			t.Errorf("%s: %d %s", test.name, w.Code, w.Body)
		}
		if test.name == "an answer" && (w.Header().Get("X-A") != "b" || w.Header().Get("Set-Cookie") != "c=d") {
			t.Errorf("%s: %v", test.name, w.Header())
		}
	}
}

func TestGatewayAnswersForItself(t *testing.T) {
	t.Parallel()
	called := 0
	g := &Gateway{Invoke: func(context.Context, []byte) ([]byte, error) {
		called++
		return []byte(`{"statusCode":200}`), nil
	}}
	answer := func(method, path string, size int) (int, string) {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(strings.Repeat("x", size))))
		return w.Code, w.Body.String()
	}
	if status, body := answer("POST", "/phone", 10<<20+1); status != 413 || body != `{"message":"Request Entity Too Large"}` {
		t.Errorf("over 10 MB: %d %s", status, body)
	}
	if status, _ := answer("DELETE", "/elsewhere", 0); status != 200 || called != 1 {
		t.Errorf("without a route, a request did not come through: %d", status)
	}
	g.Route = "POST /phone"
	for _, request := range []string{"GET /phone", "POST /", "POST /phone/"} {
		method, path, _ := strings.Cut(request, " ")
		if status, body := answer(method, path, 0); status != 404 || body != `{"message":"Not Found"}` || called != 1 {
			t.Errorf("%s: %d %s", request, status, body)
		}
	}
	if status, _ := answer("POST", "/phone", 0); status != 200 || called != 2 {
		t.Errorf("the deployed route: %d", status)
	}
}
