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

// wire is a server at the level of bytes. It notes each code that it reads.
type wire struct {
	url   string
	mu    sync.Mutex
	seen  map[string]int
	conns int
}

// newWire serves each connection with serve, which gets the number of the
// connection and a function that reads one request and returns its code, or ""
// at the connection's end.
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
			in := bufio.NewReader(c)
			go func() {
				defer func() { _ = c.Close() }()
				serve(c, n, func() string {
					r, err := http.ReadRequest(in)
					if err != nil {
						return ""
					}
					var sent struct{ Code string }
					if r.Method == http.MethodPost && json.UnmarshalRead(r.Body, &sent, json.MatchCaseInsensitiveNames(true)) != nil {
						return ""
					}
					w.mu.Lock()
					defer w.mu.Unlock()
					code := r.FormValue("js_code") + sent.Code
					w.seen[code]++
					return code
				})
			}()
		}
	}()
	return w
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

// exchange calls with a time-out of its own, and checks what no error may hold.
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
		t.Fatalf("the error is a %T", err)
	}
	if session != (Session{}) {
		t.Error("a failure came with a session")
	}
	for _, leak := range []string{"canary", "wx0123", code, "http", "127.0.0.1", "sns"} {
		if strings.Contains(fmt.Sprintf("%+v %#v %v", *failure, *failure, err), leak) {
			t.Errorf("the error holds %q: %v", leak, err)
		}
	}
	return session, failure
}

// sentBy returns what call sends, byte by byte, to a server that answers so.
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
	want := "GET /proxy/sns/jscode2session?appid=wx0123456789abcdef&grant_type=authorization_code&js_code=a%2Bb%26c%3Dd+e&secret=canary-secret%26%3D HTTP/1.1\r\n" +
		"Host: " + host + "\r\nUser-Agent: wechat-phone\r\nAccept: application/json\r\n\r\n"
	if text != want {
		t.Errorf("sent\n%q\nwant\n%q", text, want)
	}
}

var answerTests = []struct {
	name, answer string
	want         Error
}{
	{"a session", goodAnswer, Error{}},
	{"an older answer", `{"session_key":"tiihtNczf5v6AKRyjwEUhQ==","expires_in":7200,"openid":"o1","errcode":0,"errmsg":"ok"}`, Error{}},
	{"white space around it", " \n" + goodAnswer + "\n", Error{}},
	{"a refusal", `{"errcode":40029,"errmsg":"invalid code, rid: 635d0e49-1d10d2a8-0c6c7c7d"}`, Error{API: LoginAPI, Kind: Refused, ErrCode: 40029, RID: "635d0e49-1d10d2a8-0c6c7c7d"}},
	{"a rid before other text", `{"errcode":40164,"errmsg":"invalid ip 192.0.2.1, rid: 635d0e49-1d10d2a8-0c6c7c7d, see"}`, Error{API: LoginAPI, Kind: Refused, ErrCode: 40164, RID: "635d0e49-1d10d2a8-0c6c7c7d"}},
	{"no rid", `{"errcode":40163,"errmsg":"code been used"}`, Error{API: LoginAPI, Kind: Refused, ErrCode: 40163}},
	{"a rid of another form", `{"errcode":1,"errmsg":"rid: 0123456789abcdef0123456789abcdef"}`, Error{API: LoginAPI, Kind: Refused, ErrCode: 1}},
	{"a rid cut short", `{"errcode":1,"errmsg":"rid: 635d0e49-1d10d2a8"}`, Error{API: LoginAPI, Kind: Refused, ErrCode: 1}},
	{"a refusal with a session", `{"errcode":40029,"session_key":"tiihtNczf5v6AKRyjwEUhQ==","openid":"o1"}`, Error{API: LoginAPI, Kind: Refused, ErrCode: 40029}},
	{"nothing in it", `{}`, Error{API: LoginAPI, Kind: Malformed, Reason: "no session"}},
	{"errcode 0 alone", `{"errcode":0,"errmsg":"ok"}`, Error{API: LoginAPI, Kind: Malformed, Reason: "no session"}},
	{"null", `null`, Error{API: LoginAPI, Kind: Malformed, Reason: "no session"}},
	{"no openid", `{"session_key":"tiihtNczf5v6AKRyjwEUhQ=="}`, Error{API: LoginAPI, Kind: Malformed, Reason: "no session"}},
	{"no session key", `{"openid":"o1"}`, Error{API: LoginAPI, Kind: Malformed, Reason: "no session"}},
	{"a key of 15 bytes", `{"openid":"o1","session_key":"AAAAAAAAAAAAAAAAAAAA"}`, Error{API: LoginAPI, Kind: Malformed, Reason: "no session"}},
	{"a key that is no base64", `{"openid":"o1","session_key":"!iihtNczf5v6AKRyjwEUhQ=="}`, Error{API: LoginAPI, Kind: Malformed, Reason: "no session"}},
	{"an array", `[` + goodAnswer + `]`, Error{API: LoginAPI, Kind: Malformed, Reason: "not JSON"}},
	{"HTML", `<html>`, Error{API: LoginAPI, Kind: Malformed, Reason: "not JSON"}},
	{"an empty body", ``, Error{API: LoginAPI, Kind: Malformed, Reason: "not JSON"}},
	{"wrong types", `{"openid":1,"session_key":[]}`, Error{API: LoginAPI, Kind: Malformed, Reason: "not JSON"}},
	{"names twice", `{"openid":"o1","openid":"o2","session_key":"tiihtNczf5v6AKRyjwEUhQ=="}`, Error{API: LoginAPI, Kind: Malformed, Reason: "not JSON"}},
	{"text after it", goodAnswer + "x", Error{API: LoginAPI, Kind: Malformed, Reason: "not JSON"}},
	{"64 KiB", goodAnswer + strings.Repeat(" ", 64<<10-len(goodAnswer)), Error{}},
	{"over 64 KiB", goodAnswer + strings.Repeat(" ", 64<<10-len(goodAnswer)+1), Error{API: LoginAPI, Kind: Malformed, Reason: "too large"}},
}

func TestAnswersAreToldApart(t *testing.T) {
	var answer string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, answer)
	}))
	defer s.Close()
	c := newClient(t, s.URL)
	for _, test := range answerTests {
		answer = test.answer
		session, failure := exchange(t, c, "canary-code", 5*time.Second)
		if test.want == (Error{}) {
			if failure != nil || session.OpenID != "o1" || len(session.Key.Reveal()) != 16 {
				t.Errorf("%s: %v", test.name, failure)
			}
		} else if failure == nil || *failure != test.want {
			t.Errorf("%s: %v, want %v", test.name, failure, &test.want)
		}
	}
	answer = `{"session_key":"tiihtNczf5v6AKRyjwEUhQ==","openid":"o1","unionid":"u1"}`
	if session, failure := exchange(t, c, "canary-code", time.Second); failure != nil || session.UnionID != "u1" {
		t.Errorf("unionid %q, %v", session.UnionID, failure)
	}
}

func TestStatusesOtherThan200AreMalformedAndRedirectsNotFollowed(t *testing.T) {
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
		if want := (Error{API: LoginAPI, Kind: Malformed, Reason: fmt.Sprint("status ", status)}); failure == nil || *failure != want {
			t.Errorf("status %d: %v", status, failure)
		}
	}
	if _, conns := elsewhere.count("canary-code"); conns != 0 {
		t.Error("a redirect was followed")
	}
}

func TestBusyIsTriedAgainTwice(t *testing.T) {
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
			t.Errorf("busy %d times: %d tries, %v", busy, tries, failure)
		}
		if took := time.Since(began); took > 2*time.Second { // of a user's five
			t.Errorf("busy %d times: %v", busy, took)
		}
		s.Close()
	}
}

// A "busy" may be another request's answer, and this request's still to come.
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
		t.Errorf("the session is %q, %v, want openid-of-own", session.OpenID, failure)
	}
}

// WeChat refuses a code that it has seen. So when the connection breaks after
// the request was written, nothing may send it again.
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
			t.Errorf("%s: %v, want lost", first, failure)
		}
		if times, conns := w.count("hangup"); times != 1 || conns != 1 {
			t.Errorf("%s: the code was sent %d times over %d connections", first, times, conns)
		}
		if _, failure := exchange(t, c, "after", time.Second); failure != nil {
			t.Errorf("%s, the next request: %v", first, failure)
		}
	}

}

func TestNothingWrittenIsUnreachableAndTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	c := newClient(t, "http://"+address)
	_, failure := exchange(t, c, "canary-code", 5*time.Second)
	if failure == nil || *failure != (Error{API: LoginAPI, Kind: Unreachable, Reason: "connection refused"}) {
		t.Errorf("refused: %v", failure)
	}

	// The server comes up between the first try and the second.
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
		t.Errorf("a server that comes up: %v", failure)
	}

}

func TestErrorOfConnectNamesNoCall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // so that it refuses
	want := Error{API: Connecting, Kind: Unreachable, Reason: "connection refused"}
	err = newClient(t, "http://"+l.Addr().String()).Connect(t.Context())
	if failure, ok := errors.AsType[*Error](err); !ok || *failure != want {
		t.Errorf("%v, want %v", err, &want)
	}
}

func TestNothingIsWrittenWithoutHandshakeOrTime(t *testing.T) {
	// A server that accepts and never finishes the handshake.
	w := newWire(t, func(c net.Conn, _ int, _ func() string) { _, _ = io.Copy(io.Discard, c) })
	_, failure := exchange(t, newClient(t, strings.Replace(w.url, "http", "https", 1)), "canary-code", 100*time.Millisecond)
	if failure == nil || *failure != (Error{API: LoginAPI, Kind: Unreachable, Reason: "tls: timeout"}) {
		t.Errorf("no handshake: %v", failure)
	}

	// No time left: nothing may be written, not even on an open connection.
	w = newWire(t, func(c net.Conn, _ int, next func() string) { next() })
	c := newClient(t, w.url)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, failure = exchange(t, c, "canary-code", 0)
	if failure == nil || *failure != (Error{API: LoginAPI, Kind: Unreachable, Reason: "timeout"}) {
		t.Errorf("no time left: %v", failure)
	}
	if times, _ := w.count("canary-code"); times != 0 {
		t.Error("no time left, and the code was sent")
	}
}

// brokenAnswer is what a server does instead of answering.
type brokenAnswer struct {
	name  string
	serve func(net.Conn)
	want  Kind
}

func brokenAnswers() []brokenAnswer {
	drip := func(c net.Conn, each string) {
		for {
			if _, err := io.WriteString(c, each); err != nil {
				return
			}
		}
	}
	return []brokenAnswer{
		{"silence", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, TimedOut},
		{"one byte at a time", func(c net.Conn) {
			for _, b := range []byte(reply(goodAnswer)) {
				time.Sleep(20 * time.Millisecond)
				_, _ = c.Write([]byte{b})
			}
		}, TimedOut},
		{"half an answer, then silence", func(c net.Conn) {
			_, _ = io.WriteString(c, reply(goodAnswer)[:60])
			_, _ = io.Copy(io.Discard, c)
		}, TimedOut},
		{"half an answer", func(c net.Conn) { _, _ = io.WriteString(c, reply(goodAnswer)[:90]) }, Lost},
		{"half a header", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nCont") }, Lost},
		{"a reset", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, Lost},
		{"no HTTP", func(c net.Conn) { _, _ = io.WriteString(c, goodAnswer+"\r\n\r\n") }, Lost},
		{"a body without end", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			drip(c, strings.Repeat(" ", 4096))
		}, Malformed},
		{"a chunked body without end", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			drip(c, "1000\r\n"+strings.Repeat(" ", 4096)+"\r\n")
		}, Malformed},
		{"a header without end", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nA: ")
			drip(c, strings.Repeat("a", 999))
		}, Lost},
		{"interim answers without end", func(c net.Conn) { drip(c, "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n") }, Lost},
		{"another protocol", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n") }, Malformed},
	}
}

func TestBrokenAndEndlessAnswersEndInTimeAndInBounds(t *testing.T) {
	for _, test := range brokenAnswers() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, func(c net.Conn, n int, next func() string) {
				if code := next(); code == "bad" {
					test.serve(c)
				} else if code == "good" {
					_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"+reply(goodAnswer))
				}
			})
			c := newClient(t, w.url)
			_, failure := exchange(t, c, "bad", 300*time.Millisecond)
			if failure == nil || failure.Kind != test.want {
				t.Errorf("%v, want %s", failure, test.want)
			}
			if times, _ := w.count("bad"); times != 1 {
				t.Errorf("the code was sent %d times", times)
			}
			if _, failure := exchange(t, c, "good", 5*time.Second); failure != nil {
				t.Errorf("the next request: %v", failure)
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
	if failure == nil || *failure != (Error{API: LoginAPI, Kind: Unreachable, Reason: "tls: certificate"}) {
		t.Errorf("an unknown issuer: %v", failure)
	}
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
					t.Errorf("%s: %q, %v", code, session.OpenID, err)
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
			t.Errorf("base path %q: got %q, %v, want %q", path, got, failure, want)
		}
		s.Close()
	}
}

func TestBaseURLMustBeOfSchemeHostAndPathAlone(t *testing.T) {
	for _, url := range []string{
		"", "api.weixin.qq.com", "ftp://api.weixin.qq.com", "https://", "https://:443", "//host", "https://user:canary@host",
		"https://host?canary=1", "https://host#canary", "https://host:port", "https://host:0", "https://host:65536", "http://[::1", "https://ho st", "https://ho%0d%0ast", "https://höst", "http://[fe80::1%25en0]", `https://ho"st`,
	} {
		if _, err := New(url); err == nil {
			t.Errorf("%q was taken", url)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error repeats %q", url)
		}
	}
	for base, want := range map[string]string{
		"https://api.weixin.qq.com": "/sns/x?y=z", "http://[::1]:8080/": "/sns/x?y=z",
		"https://host/a/b/": "/a/b/sns/x?y=z", "https://host/a/b": "/a/b/sns/x?y=z", "https://host/a%2Fb": "/a%2Fb/sns/x?y=z",
	} {
		c, err := New(base)
		if err != nil {
			t.Errorf("%q: %v", base, err)
		} else if got := c.message(t.Context(), request{target: "/sns/x?y=z"}).URL.RequestURI(); got != want {
			t.Errorf("%q: the target is %q, want %q", base, got, want)
		}
	}
}

// Whatever WeChat answers is a whole session or a documented error, which holds
// nothing of the answer.
func FuzzAnswer(f *testing.F) {
	for _, test := range answerTests {
		f.Add([]byte(test.answer))
	}
	for _, answer := range hostile.Answers(hostile.User(1), "http://127.0.0.1:1") {
		w := httptest.NewRecorder()
		answer.Serve(w, httptest.NewRequest("GET", "/", nil)) // those at the level of bytes write nothing here
		f.Add(w.Body.Bytes())
	}
	for _, test := range callTests {
		f.Add([]byte(test.answer))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if session, failure := decoded(body, sessionAnswer.session); failure != nil {
			checkFailure(t, failure)
		} else if len(session.Key.Reveal()) != 16 || session.OpenID == "" {
			t.Errorf("took half a session")
		}
		if phone, failure := decoded(body, func(a phoneAnswer) (opendata.Phone, error) { return a.phone(app.AppID) }); failure != nil {
			checkFailure(t, failure)
		} else if phone.PhoneNumber+phone.PurePhoneNumber == "" || strings.Trim(phone.E164(), "+0123456789") != "" {
			t.Errorf("took an answer without a phone number, or made %q of it", phone.E164())
		}
		if got, failure := decoded(body, func(a tokenAnswer) (token, error) {
			got, life, err := a.token(app.AppID)
			return token{got, time.Unix(0, 0).Add(life)}, err
		}); failure != nil {
			checkFailure(t, failure)
		} else if life := got.until.Unix(); got.Reveal() == "" || life <= 0 || life > 7200 {
			t.Errorf("took a token that lives %d s", life)
		}
		if _, failure := decoded(body, func(a checkAnswer) (bool, error) { return true, a.verdict() }); failure != nil {
			checkFailure(t, failure)
		}
	})
}

// decoded is what a call makes of an answer.
func decoded[A, T any](body []byte, take func(A) (T, error)) (taken T, _ *Error) {
	answer, failure := decode[A](body)
	if failure != nil {
		return taken, failure
	}
	taken, err := take(answer)
	failure, _ = errors.AsType[*Error](err)
	return taken, failure
}

func checkFailure(t *testing.T, failure *Error) {
	t.Helper()
	if failure.Kind != Malformed && failure.Kind != Disowned && (failure.Kind != Refused || failure.ErrCode == 0) {
		t.Errorf("an undocumented error: %v", failure)
	}
	if leak := hostile.Leak(failure.Error()); leak != "" {
		t.Errorf("%q leaked into %v", leak, failure)
	}
}
