package wechat

import (
	"bufio"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/redacted"
)

const (
	secretText = "canary-secret&="
	goodAnswer = `{"session_key":"tiihtNczf5v6AKRyjwEUhQ==","openid":"o1"}`
)

var app = Credentials{"wx0123456789abcdef", AppSecret{redacted.New(secretText)}}

func newClient(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wire is a server that reads requests and writes bytes. It counts the codes that
// it reads.
type wire struct {
	url   string
	mu    sync.Mutex
	seen  map[string]int
	conns int
}

// newWire serves each connection with serve. n is the connection's number. next
// reads a request and returns its code, or "" when the connection ends.
func newWire(t *testing.T, serve func(c net.Conn, n int, next func() string)) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	w := &wire{url: "http://" + l.Addr().String(), seen: map[string]int{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			n := w.conns
			w.conns++
			w.mu.Unlock()
			go func() {
				defer func() { _ = c.Close() }()
				serve(c, n, w.reader(c))
			}()
		}
	}()
	return w
}

// reader returns a function that reads a request, counts its code and returns it.
func (w *wire) reader(c io.Reader) func() string {
	in := bufio.NewReader(c)
	return func() string {
		r, err := http.ReadRequest(in)
		if err != nil {
			return ""
		}
		var sent struct {
			Code string `json:"code"`
		}
		if r.Method == http.MethodPost && json.UnmarshalRead(r.Body, &sent) != nil {
			return ""
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		code := r.FormValue("js_code") + sent.Code
		w.seen[code]++
		return code
	}
}

func (w *wire) count(code string) (times, conns int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[code], w.conns
}

func reply(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func sessionOf(code string) string { return strings.Replace(goodAnswer, "o1", "openid-of-"+code, 1) }

// exchange calls Code2Session. It checks that an error holds nothing of the request.
func exchange(t *testing.T, c *Client, code string, timeout time.Duration) (Session, *Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	session, err := c.Code2Session(ctx, app, code)
	if err == nil {
		return session, nil
	}
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got a %T, want an *Error", err)
	}
	if session != (Session{}) {
		t.Error("got a session with a failure, want none")
	}
	for _, leak := range []string{"canary", "wx0123", code, "http", "127.0.0.1", "sns"} {
		if strings.Contains(fmt.Sprintf("%+v %#v %v", *failure, *failure, err), leak) {
			t.Errorf("got %v, want an error without %q", err, leak)
		}
	}
	return session, failure
}

// sentBy returns the bytes that call sends to a server with this answer, and the
// server's address.
func sentBy(t *testing.T, answer string, call func(*Client)) (text, host string) {
	t.Helper()
	got := make(chan string, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		text := make([]byte, 4096)
		n, _ := c.Read(text)
		got <- string(text[:n])
		_, _ = io.WriteString(c, reply(answer))
	}()
	call(newClient(t, "http://"+l.Addr().String()+"/proxy"))
	return <-got, l.Addr().String()
}

func TestRequestIsExactlyWhatWeChatDocuments(t *testing.T) {
	text, host := sentBy(t, goodAnswer, func(c *Client) {
		if _, failure := exchange(t, c, "a+b&c=d e", time.Second); failure != nil {
			t.Fatal(failure)
		}
	})
	want := "GET /proxy/sns/jscode2session?appid=wx0123456789abcdef&grant_type=authorization_code" +
		"&js_code=a%2Bb%26c%3Dd+e&secret=canary-secret%26%3D HTTP/1.1\r\n" +
		"Host: " + host + "\r\nUser-Agent: wechat-phone\r\nAccept: application/json\r\n\r\n"
	if text != want {
		t.Errorf("got the request\n%q\nwant\n%q", text, want)
	}
}

var (
	noSession = Error{API: LoginAPI, Kind: Malformed, Reason: "no session"}
	notJSON   = Error{API: LoginAPI, Kind: Malformed, Reason: "not JSON"}
)

var answerTests = []struct {
	name, answer string
	want         Error
}{
	{"a session", goodAnswer, Error{}},
	{"an older form",
		`{"session_key":"tiihtNczf5v6AKRyjwEUhQ==","expires_in":7200,"openid":"o1","errcode":0,"errmsg":"ok"}`,
		Error{}},
	{"white space around it", " \n" + goodAnswer + "\n", Error{}},
	{"a refusal",
		`{"errcode":40029,"errmsg":"invalid code, rid: 635d0e49-1d10d2a8-0c6c7c7d"}`,
		Error{API: LoginAPI, Kind: Refused, ErrCode: 40029, RID: "635d0e49-1d10d2a8-0c6c7c7d"}},
	{"a rid before other text",
		`{"errcode":40164,"errmsg":"invalid ip 192.0.2.1, rid: 635d0e49-1d10d2a8-0c6c7c7d, see"}`,
		Error{API: LoginAPI, Kind: Refused, ErrCode: 40164, RID: "635d0e49-1d10d2a8-0c6c7c7d"}},
	{"no rid", `{"errcode":40163,"errmsg":"code been used"}`, Error{API: LoginAPI, Kind: Refused, ErrCode: 40163}},
	{"a malformed rid", `{"errcode":1,"errmsg":"rid: 0123456789abcdef0123456789abcdef"}`,
		Error{API: LoginAPI, Kind: Refused, ErrCode: 1}},
	{"a truncated rid", `{"errcode":1,"errmsg":"rid: 635d0e49-1d10d2a8"}`,
		Error{API: LoginAPI, Kind: Refused, ErrCode: 1}},
	{"a refusal with a session", `{"errcode":40029,"session_key":"tiihtNczf5v6AKRyjwEUhQ==","openid":"o1"}`,
		Error{API: LoginAPI, Kind: Refused, ErrCode: 40029}},
	{"an empty object", `{}`, noSession},
	{"errcode 0 alone", `{"errcode":0,"errmsg":"ok"}`, noSession},
	{"null", `null`, noSession},
	{"no openid", `{"session_key":"tiihtNczf5v6AKRyjwEUhQ=="}`, noSession},
	{"no session key", `{"openid":"o1"}`, noSession},
	{"a key of 15 bytes", `{"openid":"o1","session_key":"AAAAAAAAAAAAAAAAAAAA"}`, noSession},
	{"a key that is not base64", `{"openid":"o1","session_key":"!iihtNczf5v6AKRyjwEUhQ=="}`, noSession},
	{"an array", `[` + goodAnswer + `]`, notJSON},
	{"HTML", `<html>`, notJSON},
	{"an empty body", ``, notJSON},
	{"wrong types", `{"openid":1,"session_key":[]}`, notJSON},
	{"names twice", `{"openid":"o1","openid":"o2","session_key":"tiihtNczf5v6AKRyjwEUhQ=="}`, notJSON},
	{"text after it", goodAnswer + "x", notJSON},
	{"64 KiB", goodAnswer + strings.Repeat(" ", 64<<10-len(goodAnswer)), Error{}},
	{"over 64 KiB", goodAnswer + strings.Repeat(" ", 64<<10-len(goodAnswer)+1),
		Error{API: LoginAPI, Kind: Malformed, Reason: "too large"}},
}

func TestLoginAnswersAreClassified(t *testing.T) {
	var answer string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, answer)
	}))
	defer s.Close()
	c := newClient(t, s.URL)
	for _, tt := range answerTests {
		answer = tt.answer
		session, failure := exchange(t, c, "canary-code", 5*time.Second)
		if tt.want == (Error{}) {
			if failure != nil || session.OpenID != "o1" || len(session.Key.Reveal()) != 16 {
				t.Errorf("%s: got %v, want a session", tt.name, failure)
			}
		} else if failure == nil || *failure != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, failure, &tt.want)
		}
	}
	answer = `{"session_key":"tiihtNczf5v6AKRyjwEUhQ==","openid":"o1","unionid":"u1"}`
	if session, failure := exchange(t, c, "canary-code", time.Second); failure != nil || session.UnionID != "u1" {
		t.Errorf("got unionid %q, %v, want u1", session.UnionID, failure)
	}
}

func TestStatusOtherThan200IsMalformedAndRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := newWire(t, func(c net.Conn, _ int, next func() string) { next() })
	status := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", elsewhere.url)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, goodAnswer)
	}))
	defer s.Close()
	c := newClient(t, s.URL)
	for _, status = range []int{201, 204, 301, 302, 304, 307, 308, 400, 500, 502} {
		_, failure := exchange(t, c, "canary-code", time.Second)
		want := Error{API: LoginAPI, Kind: Malformed, Reason: fmt.Sprint("status ", status)}
		if failure == nil || *failure != want {
			t.Errorf("status %d: got %v, want %v", status, failure, &want)
		}
	}
	if _, conns := elsewhere.count("canary-code"); conns != 0 {
		t.Errorf("got %d redirected requests, want none", conns)
	}
}

func TestBusyIsRetriedTwice(t *testing.T) {
	for busy, wantTries := range map[int]int{0: 1, 1: 2, 2: 3, 9: 3} {
		tries := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if tries++; tries <= busy {
				_, _ = io.WriteString(w, `{"errcode":-1,"errmsg":"system error"}`)
				return
			}
			_, _ = io.WriteString(w, goodAnswer)
		}))
		began := time.Now()
		_, failure := exchange(t, newClient(t, s.URL), "canary-code", 5*time.Second)
		if tries != wantTries || (failure == nil) != (busy < 3) {
			t.Errorf("busy %d times: got %v after %d tries, want %d tries", busy, failure, tries, wantTries)
		}
		if took := time.Since(began); took > 2*time.Second { // a user has five seconds
			t.Errorf("busy %d times: took %v, want at most 2 s", busy, took)
		}
		s.Close()
	}
}

// A "busy" may be another request's answer. This request's own answer may still be to
// come.
func TestBusyIsTriedAgainOverAnotherConnection(t *testing.T) {
	w := newWire(t, func(c net.Conn, n int, next func() string) {
		answers := []string{`{"errcode":-1,"errmsg":"system error"}`, sessionOf("another")}
		if n > 0 {
			answers = []string{sessionOf("own")}
		}
		for _, answer := range answers {
			next()
			_, _ = io.WriteString(c, reply(answer))
		}
	})
	session, failure := exchange(t, newClient(t, w.url), "canary-code", 5*time.Second)
	if failure != nil || session.OpenID != "openid-of-own" {
		t.Errorf("got the session of %q, %v, want openid-of-own", session.OpenID, failure)
	}
}

// WeChat refuses a code that it has seen. So nothing may send the request again if
// the connection breaks after it was written.
func TestCodeIsSentOnceWhenTheServerReadsItAndHangsUp(t *testing.T) {
	hangUp := func(c net.Conn, _ int, next func() string) {
		for code := next(); code != "" && code != "hangup"; code = next() {
			_, _ = io.WriteString(c, reply(goodAnswer))
		}
	}
	for _, first := range []string{"on a new connection", "on a kept connection"} {
		w := newWire(t, hangUp)
		c := newClient(t, w.url)
		if first == "on a kept connection" {
			if _, failure := exchange(t, c, "before", time.Second); failure != nil {
				t.Fatal(failure)
			}
		}
		_, failure := exchange(t, c, "hangup", time.Second)
		if failure == nil || failure.Kind != Lost {
			t.Errorf("%s: got %v, want lost", first, failure)
		}
		if times, conns := w.count("hangup"); times != 1 || conns != 1 {
			t.Errorf("%s: the code was sent %d times over %d connections, want once over one", first, times, conns)
		}
		if _, failure := exchange(t, c, "after", time.Second); failure != nil {
			t.Errorf("%s, the next request: got %v, want a session", first, failure)
		}
	}
}

// wantUnreachable checks that failure is Unreachable for this reason.
func wantUnreachable(t *testing.T, name string, failure *Error, reason string) {
	t.Helper()
	if want := (Error{API: LoginAPI, Kind: Unreachable, Reason: reason}); failure == nil || *failure != want {
		t.Errorf("%s: got %v, want %v", name, failure, &want)
	}
}

func TestFailureBeforeWritingIsUnreachableAndRetried(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	c := newClient(t, "http://"+address)
	_, failure := exchange(t, c, "canary-code", 5*time.Second)
	wantUnreachable(t, "nothing listens", failure, "connection refused")

	// The server starts between the first try and the second.
	time.AfterFunc(50*time.Millisecond, func() {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = l.Close() })
		c, err := l.Accept()
		if err != nil {
			return
		}
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, reply(goodAnswer))
		}
	})
	if _, failure := exchange(t, c, "canary-code", 5*time.Second); failure != nil {
		t.Errorf("a server that starts late: got %v, want a session", failure)
	}
}

func TestConnectErrorNamesNoCall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // so that it refuses
	want := Error{API: Connecting, Kind: Unreachable, Reason: "connection refused"}
	err = newClient(t, "http://"+l.Addr().String()).Connect(t.Context())
	if failure, ok := errors.AsType[*Error](err); !ok || *failure != want {
		t.Errorf("got %v, want %v", err, &want)
	}
}

func TestHandshakeThatNeverEndsIsUnreachable(t *testing.T) {
	w := newWire(t, func(c net.Conn, _ int, _ func() string) { _, _ = io.Copy(io.Discard, c) })
	c := newClient(t, strings.Replace(w.url, "http", "https", 1))
	_, failure := exchange(t, c, "canary-code", 100*time.Millisecond)
	wantUnreachable(t, "no handshake", failure, "tls: timeout")
}

// If no time is left, nothing may be written, not even on an open connection.
func TestNothingIsSentIfNoTimeIsLeft(t *testing.T) {
	w := newWire(t, func(c net.Conn, _ int, next func() string) { next() })
	c := newClient(t, w.url)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, failure := exchange(t, c, "canary-code", 0)
	wantUnreachable(t, "no time left", failure, "timeout")
	if times, _ := w.count("canary-code"); times != 0 {
		t.Errorf("the code was sent %d times, want 0", times)
	}
}

// write returns a function that writes text.
func write(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// stall waits until the client gives up.
func stall(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// endless returns a function that writes start, and then each until the client
// gives up.
func endless(start, each string) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, start)
		for err == nil {
			_, err = io.WriteString(c, each)
		}
	}
}

// limit returns how long a call may take that must end with want. It is short for a
// timeout only: on a slow machine, it would turn any other result into a timeout.
func limit(want Kind) time.Duration {
	if want == TimedOut {
		return 300 * time.Millisecond
	}
	return time.Minute
}

var brokenAnswers = []struct {
	name  string
	serve func(net.Conn)
	want  Kind
}{
	{"silence", stall, TimedOut},
	{"one byte at a time", func(c net.Conn) {
		for _, b := range []byte(reply(goodAnswer)) {
			time.Sleep(20 * time.Millisecond)
			_, _ = c.Write([]byte{b})
		}
	}, TimedOut},
	{"half an answer, then silence", func(c net.Conn) {
		write(reply(goodAnswer)[:60])(c)
		stall(c)
	}, TimedOut},
	{"half an answer", write(reply(goodAnswer)[:90]), Lost},
	{"half a header", write("HTTP/1.1 200 OK\r\nCont"), Lost},
	{"a reset", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, Lost},
	{"not HTTP", write(goodAnswer + "\r\n\r\n"), Lost},
	{"an endless body", endless("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat(" ", 4096)), Malformed},
	{"an endless chunked body", endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"1000\r\n"+strings.Repeat(" ", 4096)+"\r\n"), Malformed},
	{"an endless header", endless("HTTP/1.1 200 OK\r\nA: ", strings.Repeat("a", 999)), Lost},
	{"endless interim answers", endless("", "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"), Lost},
	{"another protocol", write("HTTP/1.1 101 Switching Protocols\r\n\r\n"), Malformed},
}

func TestBrokenAndEndlessAnswersAreBounded(t *testing.T) {
	for _, tt := range brokenAnswers {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, func(c net.Conn, n int, next func() string) {
				if code := next(); code == "bad" {
					tt.serve(c)
				} else if code == "good" {
					_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"+reply(goodAnswer))
				}
			})
			c := newClient(t, w.url)
			_, failure := exchange(t, c, "bad", limit(tt.want))
			if failure == nil || failure.Kind != tt.want {
				t.Errorf("got %v, want %s", failure, tt.want)
			}
			if times, _ := w.count("bad"); times != 1 {
				t.Errorf("the code was sent %d times, want once", times)
			}
			if _, failure := exchange(t, c, "good", time.Minute); failure != nil {
				t.Errorf("the next request: got %v, want a session", failure)
			}
		})
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	_, failure := exchange(t, newClient(t, s.URL), "canary-code", 5*time.Second)
	wantUnreachable(t, "an unknown issuer", failure, "tls: certificate")
}

func TestConcurrentCallsGetTheirOwnAnswers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, sessionOf(r.FormValue("js_code")))
	}))
	defer s.Close()
	c := newClient(t, s.URL)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for j := range 20 {
				code := fmt.Sprintf("code-%d-%d", i, j)
				session, err := c.Code2Session(t.Context(), app, code)
				if err != nil || session.OpenID != "openid-of-"+code {
					t.Errorf("%s: got %q, %v, want its own openid", code, session.OpenID, err)
				}
			}
		})
	}
	all.Wait()
}

func TestBaseURLMayHaveNoPath(t *testing.T) {
	for _, path := range []string{"", "/", "/a", "/a/"} {
		var got string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.URL.Path
			_, _ = io.WriteString(w, goodAnswer)
		}))
		_, failure := exchange(t, newClient(t, s.URL+path), "canary-code", time.Second)
		if want := strings.TrimSuffix(path, "/") + "/sns/jscode2session"; failure != nil || got != want {
			t.Errorf("base path %q: got the path %q, %v, want %q", path, got, failure, want)
		}
		s.Close()
	}
}

func TestBaseURLHasOnlySchemeHostAndPath(t *testing.T) {
	for _, url := range []string{
		"", "api.weixin.qq.com", "ftp://api.weixin.qq.com", "https://", "https://:443", "//host",
		"https://user:canary@host", "https://host?canary=1", "https://host#canary", "https://host:port",
		"https://host:0", "https://host:65536", "http://[::1", "https://ho st", "https://ho%0d%0ast",
		"https://höst", "http://[fe80::1%25en0]", `https://ho"st`,
	} {
		if _, err := New(url); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("New(%q) = %v, want an error that does not repeat the URL", url, err)
		}
	}
	for base, want := range map[string]string{
		"https://api.weixin.qq.com": "/sns/x?y=z", "http://[::1]:8080/": "/sns/x?y=z",
		"https://host/a/b/": "/a/b/sns/x?y=z", "https://host/a/b": "/a/b/sns/x?y=z",
		"https://host/a%2Fb": "/a%2Fb/sns/x?y=z",
	} {
		c, err := New(base)
		if err != nil {
			t.Errorf("New(%q) = %v, want no error", base, err)
		} else if got := c.message(t.Context(), request{target: "/sns/x?y=z"}).URL.RequestURI(); got != want {
			t.Errorf("%q: got the target %q, want %q", base, got, want)
		}
	}
}

// Every body decodes to a complete answer or to a documented error that repeats no
// part of the body.
func FuzzAnswer(f *testing.F) {
	for _, tt := range answerTests {
		f.Add([]byte(tt.answer))
	}
	for _, answer := range hostile.Answers(hostile.User(1), "http://127.0.0.1:1") {
		w := httptest.NewRecorder()
		answer.Serve(w, httptest.NewRequest("GET", "/", nil)) // those that write raw bytes write nothing here
		f.Add(w.Body.Bytes())
	}
	for _, tt := range callTests {
		f.Add([]byte(tt.answer))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		session, failure := decodeAs(body, sessionAnswer.session)
		if failure != nil {
			checkFailure(t, failure)
		} else if len(session.Key.Reveal()) != 16 || session.OpenID == "" {
			t.Error("got an incomplete session, want an error")
		}
		phone, failure := decodeAs(body, func(a phoneAnswer) (opendata.Phone, error) { return a.phone(app.AppID) })
		if failure != nil {
			checkFailure(t, failure)
		} else if phone.PhoneNumber+phone.PurePhoneNumber == "" || strings.Trim(phone.E164(), "+0123456789") != "" {
			t.Errorf("got e164 %q, want a number, or no success without one", phone.E164())
		}
		got, failure := decodeAs(body, func(a tokenAnswer) (token, error) {
			got, life, err := a.token(app.AppID)
			return token{got, time.Unix(0, 0).Add(life)}, err
		})
		if failure != nil {
			checkFailure(t, failure)
		} else if life := got.until.Unix(); got.Reveal() == "" || life <= 0 || life > 7200 {
			t.Errorf("got a token that lives %d s, want 1 to 7200", life)
		}
		_, failure = decodeAs(body, func(a checkAnswer) (bool, error) { return true, a.verdict() })
		if failure != nil {
			checkFailure(t, failure)
		}
	})
}

// decodeAs decodes an answer and reads it with read, as a call does.
func decodeAs[A, T any](body []byte, read func(A) (T, error)) (got T, _ *Error) {
	answer, failure := decode[A](body)
	if failure != nil {
		return got, failure
	}
	got, err := read(answer)
	failure, _ = errors.AsType[*Error](err)
	return got, failure
}

func checkFailure(t *testing.T, failure *Error) {
	t.Helper()
	if failure.Kind != Malformed && failure.Kind != Disowned && (failure.Kind != Refused || failure.ErrCode == 0) {
		t.Errorf("got %v, want malformed, disowned, or refused with an errcode", failure)
	}
	if leak := hostile.Leak(failure.Error()); leak != "" {
		t.Errorf("got %v, want an error without the marked value %q", failure, leak)
	}
}
