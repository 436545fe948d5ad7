package sendonce

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is one at the level of bytes. It counts requests, by path, and
// connections.
type server struct {
	url   string
	mu    sync.Mutex
	seen  map[string]int
	conns int
}

// newServer serves each connection with serve, which gets the connection's
// number and a function that reads one request and returns the name in its
// path, or "" at the connection's end.
func newServer(t *testing.T, serve func(c net.Conn, n int, next func() string)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &server{url: "http://" + l.Addr().String(), seen: map[string]int{}}
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
			go func() {
				defer func() { _ = c.Close() }()
				serve(c, n, s.reader(c))
			}()
		}
	}()
	return s
}

// reader returns a function that reads requests and counts them.
func (s *server) reader(c io.Reader) func() string {
	in := bufio.NewReader(c)
	return func() string {
		r, err := http.ReadRequest(in)
		if err != nil {
			return ""
		}
		name := strings.TrimPrefix(r.URL.Path, "/")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen[name]++
		return name
	}
}

func (s *server) count(name string) (times, conns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[name], s.conns
}

func reply(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// answerAll answers each request with its own name.
func answerAll(c net.Conn, _ int, next func() string) {
	for name := next(); name != ""; name = next() {
		_, _ = io.WriteString(c, reply(name))
	}
}

func newClient(t *testing.T, address string) *Client {
	t.Helper()
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(base)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func connect(t *testing.T, c *Client) {
	t.Helper()
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// get sends a GET, takes any answer and returns its body. Every error must be an
// *Error that holds nothing of the request.
func get(t *testing.T, c *Client, name string) (body string, _ *Error) {
	t.Helper()
	return getWithin(t, c, name, 5*time.Second)
}

func getWithin(t *testing.T, c *Client, name string, limit time.Duration) (body string, _ *Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := request(t, ctx, name)
	err := c.Do(r, func(_ int, got []byte) bool {
		body = string(got)
		return true
	})
	if err == nil {
		return body, nil
	}
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("the error is a %T, want an *Error", err)
	}
	for _, leak := range []string{name, "http", "127.0.0.1", "host"} {
		if strings.Contains(fmt.Sprintf("%+v %v", *failure, err), leak) {
			t.Errorf("the error %q holds %q", err, leak)
		}
	}
	return body, failure
}

func request(t *testing.T, ctx context.Context, name string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://host/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantOwn checks that a request gets the answer that has its name.
func wantOwn(t *testing.T, c *Client, name string) {
	t.Helper()
	if body, failure := get(t, c, name); failure != nil || body != name {
		t.Errorf("the request %q got the answer %.40q, %v", name, body, failure)
	}
}

// waitFor waits for what another goroutine, or the kernel, is about to do.
func waitFor(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still waiting: %s", what)
		}
	}
}

// waitUntil waits until the kernel knows the only idle connection to be so.
func waitUntil(t *testing.T, c *Client, want state) {
	t.Helper()
	waitFor(t, "for the kernel", func() bool { return look(c.idle[0].tcp) == want })
}

func TestRequestIsSentOnceWhenTheServerReadsItAndHangsUp(t *testing.T) {
	for _, first := range []string{"on a new connection", "on a kept connection"} {
		s := newServer(t, func(c net.Conn, _ int, next func() string) {
			for name := next(); name != "" && name != "hangup"; name = next() {
				_, _ = io.WriteString(c, reply(name))
			}
		})
		c := newClient(t, s.url)
		if first == "on a kept connection" {
			wantOwn(t, c, "before")
		}
		_, failure := get(t, c, "hangup")
		if failure == nil || failure.Kind != Lost {
			t.Errorf("%s: %v, want lost", first, failure)
		}
		if times, conns := s.count("hangup"); times != 1 || conns != 1 {
			t.Errorf("%s: sent %d times over %d connections, want once over one", first, times, conns)
		}
		wantOwn(t, c, "after")
	}
}

// countingConn counts writes and takes only some bytes of each.
type countingConn struct {
	net.Conn
	takes  int
	writes *int
}

func (c countingConn) Write(p []byte) (int, error) {
	*c.writes++
	if c.takes >= len(p) {
		return c.Conn.Write(p)
	}
	return c.takes, syscall.ECONNRESET
}

func TestMessageIsWrittenAtOnceAndCounted(t *testing.T) {
	for takes, want := range map[int]Kind{0: Unreachable, 1: Lost, 20: Lost, 4096: ""} {
		s := newServer(t, answerAll)
		c := newClient(t, s.url)
		connect(t, c)
		writes := 0
		c.idle[0].Conn = countingConn{c.idle[0].Conn, takes, &writes}
		r := request(t, t.Context(), "only")
		r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader("body")), 4
		err := c.Do(r, func(int, []byte) bool { return true })
		failure, _ := errors.AsType[*Error](err)
		if want == "" && err != nil || want != "" && (failure == nil || *failure != Error{want, "connection reset"}) {
			t.Errorf("%d bytes written: %v, want %q", takes, err, want)
		}
		if writes != 1 {
			t.Errorf("%d bytes written: %d writes, want 1", takes, writes)
		}
	}
}

// Nothing is read between two requests, as in a frozen process, so a connection
// that the server ends meanwhile is dead and the process does not know it.
func TestDeadConnectionIsNotWrittenTo(t *testing.T) {
	for name, linger := range map[string]int{"FIN": -1, "RST": 0} {
		s := newServer(t, func(c net.Conn, n int, next func() string) {
			if n > 0 {
				answerAll(c, n, next)
				return
			}
			_, _ = io.WriteString(c, reply(next()))
			_ = c.(*net.TCPConn).SetLinger(linger)
		})
		c := newClient(t, s.url)
		wantOwn(t, c, "first")
		if len(c.idle) == 1 {
			waitUntil(t, c, ended)
		}
		wantOwn(t, c, "second")
		if times, conns := s.count("second"); times != 1 || conns != 2 {
			t.Errorf("%s: sent %d times, over %d connections in all, want once over 2", name, times, conns)
		}
	}
}

func TestBytesBeforeTheFirstRequestAreNotItsAnswer(t *testing.T) {
	s := newServer(t, func(c net.Conn, n int, next func() string) {
		if n == 0 {
			_, _ = io.WriteString(c, reply("nobody's"))
		}
		answerAll(c, n, next)
	})
	c := newClient(t, s.url)
	connect(t, c)
	waitUntil(t, c, spoken)
	wantOwn(t, c, "first")
}

// What follows an answer must not become the next answer, which is another
// user's.
func TestSurplusAfterAnAnswerIsNotTheNextAnswer(t *testing.T) {
	for name, later := range map[string]bool{"at once": false, "later": true} {
		s := newServer(t, func(c net.Conn, _ int, next func() string) {
			name := next()
			if later {
				_, _ = io.WriteString(c, reply(name))
				time.Sleep(20 * time.Millisecond)
				_, _ = io.WriteString(c, reply("nobody's"))
			} else {
				_, _ = io.WriteString(c, reply(name)+reply("nobody's"))
			}
			_, _ = io.Copy(io.Discard, c)
		})
		c := newClient(t, s.url)
		wantOwn(t, c, name+" 1")
		if later {
			waitUntil(t, c, spoken)
		} else if len(c.idle) > 0 {
			t.Error("at once: the connection was kept")
		}
		wantOwn(t, c, name+" 2")
	}
}

// A broken server sends a stray answer, and from then on each request gets its
// predecessor's: the shift lasts as long as the connection.
func TestConnectionIsClosedIfItsAnswerIsNotAccepted(t *testing.T) {
	s := newServer(t, func(c net.Conn, n int, next func() string) {
		if n > 0 {
			answerAll(c, n, next)
			return
		}
		for answer := "stray"; ; {
			name := next()
			if name == "" {
				return
			}
			_, _ = io.WriteString(c, reply(answer))
			answer = name
		}
	})
	c := newClient(t, s.url)
	for i, want := range []string{"stray", "second", "third"} {
		name := []string{"first", "second", "third"}[i]
		got := ""
		err := c.Do(request(t, t.Context(), name), func(_ int, body []byte) bool {
			got = string(body)
			return got == name
		})
		if err != nil || got != want {
			t.Errorf("the request %q got the answer %q, %v, want %q", name, got, err, want)
		}
	}
	if times, conns := s.count("first"); times != 1 || conns != 2 {
		t.Errorf("the first request was sent %d times, over %d connections in all, want once over 2", times, conns)
	}
}

func TestConnectionIsClosedIfAcceptPanics(t *testing.T) {
	closed := make(chan bool)
	s := newServer(t, func(c net.Conn, n int, next func() string) {
		answerAll(c, n, next)
		close(closed)
	})
	func() {
		defer func() { _ = recover() }()
		_ = newClient(t, s.url).Do(request(t, t.Context(), "first"), func(int, []byte) bool { panic("in accept") })
	}()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the connection is still open")
	}
}

func TestConnectionThatTheServerWillCloseIsNotKept(t *testing.T) {
	s := newServer(t, func(c net.Conn, _ int, next func() string) {
		for name := next(); name != ""; name = next() {
			_, _ = io.WriteString(c, strings.Replace(reply(name), "\r\n", "\r\nConnection: close\r\n", 1))
		}
	})
	c := newClient(t, s.url)
	wantOwn(t, c, "first")
	wantOwn(t, c, "second")
	if _, conns := s.count(""); conns != 2 {
		t.Errorf("%d connections, want 2", conns)
	}
}

// A context that ends sets the connection's deadline in the past, from a
// goroutine of its own, so at a time that nobody knows.
func TestConnectionIsNotKeptIfItsContextEnds(t *testing.T) {
	s := newServer(t, answerAll)
	c := newClient(t, s.url)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Do(request(t, ctx, "first"), func(int, []byte) bool {
		cancel()
		return true
	})
	if err != nil || len(c.idle) != 0 {
		t.Errorf("%v, and %d connections are kept, want none", err, len(c.idle))
	}
	wantOwn(t, c, "second")
}

func TestRequestWhoseContextHasEndedIsNotSent(t *testing.T) {
	s := newServer(t, answerAll)
	c := newClient(t, s.url)
	connect(t, c)
	if _, failure := getWithin(t, c, "late", -time.Second); failure == nil || *failure != (Error{Unreachable, "timeout"}) {
		t.Errorf("%v, want unreachable: timeout", failure)
	}
	wantOwn(t, c, "next")
	if times, _ := s.count("late"); times != 0 {
		t.Errorf("sent %d times, want 0", times)
	}
}

func TestContextEndsAWriteThatTheServerDoesNotRead(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, func(c net.Conn, _ int, _ func() string) {
		_, _ = c.Read(make([]byte, 1))
		cancel()
		<-t.Context().Done()
	})
	c := newClient(t, s.url)
	r := request(t, ctx, "long")
	long := strings.Repeat("x", 16<<20) // more than the kernel buffers
	r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader(long)), int64(len(long))
	done := make(chan error, 1)
	go func() { done <- c.Do(r, func(int, []byte) bool { return true }) }()
	select {
	case err := <-done:
		if failure, ok := errors.AsType[*Error](err); !ok || *failure != (Error{TimedOut, "timeout"}) {
			t.Errorf("%v, want timed_out: timeout", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the request outlives its context")
	}
}

func TestConnectionIsNotOpenedIfItsContextHasEnded(t *testing.T) {
	c := newClient(t, newServer(t, answerAll).url)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failure, _ := errors.AsType[*Error](c.Connect(ctx))
	if failure == nil || *failure != (Error{Unreachable, "timeout"}) || len(c.idle) != 0 {
		t.Errorf("%v, and %d connections are kept, want unreachable: timeout, and none", failure, len(c.idle))
	}
}

func TestInterimAnswersAreSkipped(t *testing.T) {
	s := newServer(t, func(c net.Conn, _ int, next func() string) {
		for name := next(); name != ""; name = next() {
			for _, status := range []string{"100 Continue", "102 Processing", "103 Early Hints", "199 Unknown"} {
				_, _ = io.WriteString(c, "HTTP/1.1 "+status+"\r\nA: b\r\n\r\n")
			}
			_, _ = io.WriteString(c, reply(name))
		}
	})
	c := newClient(t, s.url)
	wantOwn(t, c, "first")
	wantOwn(t, c, "second")
	if _, conns := s.count(""); conns != 1 {
		t.Errorf("%d connections, want 1", conns)
	}
}

// The bound is on one answer, not on all that a connection carries.
func TestBoundIsOnOneAnswer(t *testing.T) {
	long := strings.Repeat("x", maxBody)
	s := newServer(t, func(c net.Conn, _ int, next func() string) {
		for name := next(); name != ""; name = next() {
			if name == "over" {
				_, _ = io.WriteString(c, reply(long+"x"))
			} else {
				_, _ = io.WriteString(c, reply(long))
			}
		}
	})
	c := newClient(t, s.url)
	const many = 3 * maxAnswer / maxBody
	for i := range many {
		if body, failure := get(t, c, fmt.Sprint("no", i)); failure != nil || body != long {
			t.Fatalf("answer %d: %d bytes, %v, want %d", i, len(body), failure, len(long))
		}
	}
	if _, conns := s.count(""); conns != 1 {
		t.Errorf("%d answers came over %d connections, want 1", many, conns)
	}
	if _, failure := get(t, c, "over"); failure == nil || *failure != (Error{Malformed, "too large"}) {
		t.Errorf("one byte more: %v, want malformed: too large", failure)
	}
}

func TestNewestConnectionIsUsedFirst(t *testing.T) {
	s := newServer(t, answerAll)
	c := newClient(t, s.url)
	connect(t, c)
	oldest := c.idle[0]
	connect(t, c)
	newest := c.idle[1]
	if strings.Contains(newest.idleSince.String(), "m=") {
		t.Error("the time has a monotonic part, which a freeze may stop")
	}
	if taken := c.take(); taken != newest || taken == oldest { // so that the others can grow old
		t.Error("an older one is used first")
	}
}

func TestOldConnectionIsNotUsed(t *testing.T) {
	s := newServer(t, answerAll)
	c := newClient(t, s.url)
	for i, age := range []time.Duration{0, maxIdle - time.Second, maxIdle + time.Second} {
		for _, idle := range c.idle {
			idle.idleSince = idle.idleSince.Add(-age)
		}
		wantOwn(t, c, "name")
		if _, conns := s.count(""); conns != []int{1, 1, 2}[i] {
			t.Errorf("idle for %v: %d connections in all", age, conns)
		}
	}
}

func TestAllOldConnectionsAreDropped(t *testing.T) {
	s := newServer(t, answerAll)
	c := newClient(t, s.url)
	for range 3 {
		connect(t, c)
	}
	for _, idle := range c.idle {
		idle.idleSince = idle.idleSince.Add(-maxIdle - time.Second)
	}
	wantOwn(t, c, "first")
	if _, conns := s.count(""); conns != 4 || len(c.idle) != 1 {
		t.Errorf("%d connections in all, and %d are kept, want 4, and 1", conns, len(c.idle))
	}
}

func TestConnectionBehindADeadOneIsUsed(t *testing.T) {
	s := newServer(t, func(c net.Conn, n int, next func() string) {
		if n == 0 {
			answerAll(c, n, next)
		}
	})
	c := newClient(t, s.url)
	connect(t, c)
	connect(t, c)
	waitFor(t, "for the newest to end", func() bool { return look(c.idle[1].tcp) == ended })
	wantOwn(t, c, "first")
	if _, conns := s.count(""); conns != 2 {
		t.Errorf("%d connections in all, want 2", conns)
	}
}

// A process that lives for days would otherwise run out of descriptors.
func TestConnectionThatCannotBeUsedIsClosed(t *testing.T) {
	for name, age := range map[string]time.Duration{"unread bytes": 0, "too old": maxIdle + time.Second} {
		s := newServer(t, func(c net.Conn, n int, next func() string) {
			if n == 0 {
				_, _ = io.WriteString(c, reply("nobody's"))
			}
			answerAll(c, n, next)
		})
		c := newClient(t, s.url)
		connect(t, c)
		waitUntil(t, c, spoken)
		unused := c.idle[0]
		unused.idleSince = unused.idleSince.Add(-age)
		wantOwn(t, c, "first")
		if look(unused.tcp) != ended {
			t.Errorf("%s: the connection is still open", name)
		}
	}
}

func TestConcurrentRequestsGetTheirOwnAnswers(t *testing.T) {
	c := newClient(t, newServer(t, answerAll).url)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for j := range 20 {
				wantOwn(t, c, fmt.Sprintf("no-%d-%d", i, j))
			}
		})
	}
	all.Wait()
	if kept := len(c.idle); kept < 1 || kept > 64 {
		t.Errorf("%d connections are kept, want 1 to 64", kept)
	}
}

func TestBaseGivesTheAddress(t *testing.T) {
	for base, want := range map[string]string{
		"https://host.example/a": "host.example:443", "http://localhost": "localhost:80", "http://[::1]:8080/": "[::1]:8080",
	} {
		if c := newClient(t, base); c.address != want || (c.secure != nil) != strings.HasPrefix(base, "https") {
			t.Errorf("%s: address %s, TLS %v, want %s", base, c.address, c.secure != nil, want)
		}
	}
	for _, base := range []url.URL{
		{Scheme: "ftp", Host: "host"}, {Host: "host"}, {Scheme: "http", Host: "host:0"}, {Scheme: "http", Host: "host:65536"},
	} {
		if _, err := New(&base); err == nil {
			t.Errorf("%s was taken", &base)
		}
	}
}

func TestReasonNamesTheCause(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // so that it refuses
	silentServer := newServer(t, func(c net.Conn, _ int, _ func() string) { _, _ = io.Copy(io.Discard, c) })
	for base, want := range map[string]Error{
		"http://" + l.Addr().String():                         {Unreachable, "connection refused"},
		"http://no..name":                                     {Unreachable, "dns"},
		strings.Replace(silentServer.url, "http", "https", 1): {Unreachable, "tls: timeout"},
		silentServer.url:                                      {TimedOut, "timeout"},
		newServer(t, func(_ net.Conn, _ int, next func() string) { next() }).url: {Lost, "connection closed"},
		newServer(t, func(c net.Conn, _ int, next func() string) {
			next()
			_ = c.(*net.TCPConn).SetLinger(0)
		}).url: {Lost, "connection reset"},
		newServer(t, func(c net.Conn, _ int, next func() string) {
			next()
			_, _ = io.WriteString(c, "not HTTP\r\n\r\n")
		}).url: {Lost, "protocol"},
	} {
		if _, failure := getWithin(t, newClient(t, base), "name", 300*time.Millisecond); failure == nil || *failure != want {
			t.Errorf("%v, want %v", failure, &want)
		}
	}
}
