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

// server is a server that reads requests and writes bytes. It counts connections,
// and requests by the name in their path.
type server struct {
	url   string
	mu    sync.Mutex
	seen  map[string]int
	conns int
}

// newServer serves each connection with serve. n is the connection's number. next
// reads a request and returns its name, or "" when the connection ends.
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

// get sends a GET, accepts any answer and returns its body. It checks that an error
// holds nothing of the request.
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
		t.Fatalf("got a %T, want an *Error", err)
	}
	for _, leak := range []string{name, "http", "127.0.0.1", "host"} {
		if strings.Contains(fmt.Sprintf("%+v %v", *failure, err), leak) {
			t.Errorf("got %v, want an error without %q", err, leak)
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

// wantOwn checks that a request gets its own answer, which repeats its name.
func wantOwn(t *testing.T, c *Client, name string) {
	t.Helper()
	if body, failure := get(t, c, name); failure != nil || body != name {
		t.Errorf("request %q: got the answer %.40q, %v, want its own", name, body, failure)
	}
}

// wantConns checks how many connections the server has accepted. name says what
// happened, for the failure text. It waits, because the client may be connected before the
// server has accepted the connection.
func (s *server) wantConns(t *testing.T, name string, want int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s: the server has accepted %d connections", name, want), func() bool {
		_, got := s.count("")
		return got >= want
	})
	if _, got := s.count(""); got != want {
		t.Errorf("%s: got %d connections in all, want %d", name, got, want)
	}
}

// wantFailure checks that got is want.
func wantFailure(t *testing.T, name string, got *Error, want Error) {
	t.Helper()
	if got == nil || *got != want {
		t.Errorf("%s: got %v, want %v", name, got, &want)
	}
}

// waitFor waits until happened returns true. what names the condition, as in "the
// process has ended".
func waitFor(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}

// waitUntil waits until the only idle connection is in this state.
func waitUntil(t *testing.T, c *Client, want state) {
	t.Helper()
	waitFor(t, "the connection's state has changed", func() bool { return look(c.idle[0].tcp) == want })
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
			t.Errorf("%s: got %v, want lost", first, failure)
		}
		if times, conns := s.count("hangup"); times != 1 || conns != 1 {
			t.Errorf("%s: sent %d times over %d connections, want once over one", first, times, conns)
		}
		wantOwn(t, c, "after")
	}
}

// countingConn counts writes and accepts only the first bytes of each.
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

func TestMessageIsOneWriteWhoseBytesAreCounted(t *testing.T) {
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
		if want != "" {
			wantFailure(t, fmt.Sprintf("%d bytes written", takes), failure, Error{want, "connection reset"})
		} else if err != nil {
			t.Errorf("%d bytes written: got %v, want no error", takes, err)
		}
		if writes != 1 {
			t.Errorf("%d bytes written: got %d writes, want 1", takes, writes)
		}
	}
}

// Between two requests nobody reads from the connection, as in a frozen process. So
// the process does not notice if the server closes it.
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

func TestUnsolicitedBytesAreNotTheFirstAnswer(t *testing.T) {
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

// Bytes that follow an answer must not become the next answer, which may be another
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
			t.Errorf("at once: got %d idle connections, want none", len(c.idle))
		}
		wantOwn(t, c, name+" 2")
	}
}

// A broken server sends a stray answer. From then on, each request on that
// connection gets its predecessor's answer.
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
			t.Errorf("request %q: got the answer %q, %v, want %q", name, got, err, want)
		}
		waitIdle(t, c)
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
		t.Error("got an open connection after 5 s, want it closed")
	}
}

func TestConnectionCloseHeaderIsHonored(t *testing.T) {
	s := newServer(t, func(c net.Conn, _ int, next func() string) {
		for name := next(); name != ""; name = next() {
			_, _ = io.WriteString(c, strings.Replace(reply(name), "\r\n", "\r\nConnection: close\r\n", 1))
		}
	})
	c := newClient(t, s.url)
	for i, name := range []string{"first", "second"} {
		wantOwn(t, c, name)
		waitIdle(t, c)
		s.wantConns(t, "with the one that replaces it, "+name, 2+i)
	}
}

// waitIdle waits until a connection is ready for the next request.
func waitIdle(t *testing.T, c *Client) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		idle := len(c.idle)
		c.mu.Unlock()
		if idle == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d idle connections after 5 s, want 1", idle)
		}
	}
}

// A context that ends sets the connection's deadline from another goroutine, so
// possibly after Do has returned.
func TestConnectionIsNotKeptIfItsContextEnds(t *testing.T) {
	s := newServer(t, answerAll)
	c := newClient(t, s.url)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Do(request(t, ctx, "first"), func(int, []byte) bool {
		cancel()
		return true
	})
	if err != nil || len(c.idle) != 0 {
		t.Errorf("got %v and %d idle connections, want no error and none", err, len(c.idle))
	}
	wantOwn(t, c, "second")
}

func TestRequestWhoseContextHasEndedIsNotSent(t *testing.T) {
	s := newServer(t, answerAll)
	c := newClient(t, s.url)
	connect(t, c)
	_, failure := getWithin(t, c, "late", -time.Second)
	wantFailure(t, "late", failure, Error{Unreachable, "timeout"})
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
			t.Errorf("got %v, want timed_out: timeout", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("got no answer 5 s after the context ended, want an error at once")
	}
}

func TestConnectionIsNotOpenedIfItsContextHasEnded(t *testing.T) {
	c := newClient(t, newServer(t, answerAll).url)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failure, _ := errors.AsType[*Error](c.Connect(ctx))
	if failure == nil || *failure != (Error{Unreachable, "timeout"}) || len(c.idle) != 0 {
		t.Errorf("got %v and %d idle connections, want unreachable: timeout and none", failure, len(c.idle))
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
		t.Errorf("got %d connections, want 1", conns)
	}
}

// The limit applies to each answer, not to a connection's answers together.
func TestLimitAppliesToEachAnswer(t *testing.T) {
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
			t.Fatalf("answer %d: got %d bytes, %v, want %d", i, len(body), failure, len(long))
		}
	}
	s.wantConns(t, "many long answers", 1)
	_, failure := get(t, c, "over")
	wantFailure(t, "one byte more", failure, Error{Malformed, "too large"})
}

func TestNewestConnectionIsUsedFirst(t *testing.T) {
	s := newServer(t, answerAll)
	c := newClient(t, s.url)
	connect(t, c)
	oldest := c.idle[0]
	connect(t, c)
	newest := c.idle[1]
	if since := newest.idleSince.String(); strings.Contains(since, "m=") {
		t.Errorf("got idleSince %s, want no monotonic reading, which a freeze may stop", since)
	}
	if taken := c.take(); taken != newest || taken == oldest { // so that the others can grow old
		t.Error("got an older connection from take, want the newest")
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
		s.wantConns(t, fmt.Sprint("idle for ", age), []int{1, 1, 2}[i])
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
		t.Errorf("got %d connections in all and %d idle ones, want 4 and 1", conns, len(c.idle))
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
	waitFor(t, "the newest connection has ended", func() bool { return look(c.idle[1].tcp) == ended })
	wantOwn(t, c, "first")
	if _, conns := s.count(""); conns != 2 {
		t.Errorf("got %d connections in all, want 2", conns)
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
			t.Errorf("%s: got an open connection, want it closed", name)
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
		t.Errorf("got %d idle connections, want 1 to 64", kept)
	}
}

func TestAddressComesFromTheBaseURL(t *testing.T) {
	for base, want := range map[string]string{
		"https://host.example/a": "host.example:443", "http://localhost": "localhost:80",
		"http://[::1]:8080/": "[::1]:8080",
	} {
		c, secure := newClient(t, base), strings.HasPrefix(base, "https")
		if c.address != want || (c.secure != nil) != secure {
			t.Errorf("%s: got address %s, TLS %v, want %s, %v", base, c.address, c.secure != nil, want, secure)
		}
	}
	for _, base := range []url.URL{
		{Scheme: "ftp", Host: "host"}, {Host: "host"},
		{Scheme: "http", Host: "host:0"}, {Scheme: "http", Host: "host:65536"},
	} {
		if _, err := New(&base); err == nil {
			t.Errorf("New(%s) = nil, want an error", &base)
		}
	}
}

func TestReasonNamesTheCause(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // so that nothing listens at its address
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
		limit := time.Minute // on a slow machine, another failure must not become a timeout
		if strings.HasSuffix(want.Reason, "timeout") {
			limit = 300 * time.Millisecond
		}
		_, failure := getWithin(t, newClient(t, base), "name", limit)
		wantFailure(t, base, failure, want)
	}
}
