package sendonce

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// identity returns a certificate for 127.0.0.1 and example.com, and a pool that
// trusts it.
func identity(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	trust := x509.NewCertPool()
	trust.AddCert(s.Certificate())
	return s.TLS.Certificates[0], trust
}

// tap is the TCP connection beneath a server's TLS. It can hold back what TLS
// writes.
type tap struct {
	net.Conn
	hold bool
	held []byte
}

func (t *tap) Write(p []byte) (int, error) {
	if t.hold {
		t.held = append(t.held, p...)
		return len(p), nil
	}
	return t.Conn.Write(p)
}

// flush writes the first n bytes of what is held, in one piece.
func (t *tap) flush(n int) {
	_ = t.SetWriteDeadline(time.Time{}) // which TLS leaves in the past after a close_notify
	_, _ = t.Conn.Write(t.held[:n])
	t.held = t.held[n:]
}

// newTLSServer is like [newServer], with one version of TLS. It also returns a client
// that trusts the server.
func newTLSServer(
	t *testing.T, version uint16, serve func(c *tls.Conn, beneath *tap, n int, next func() string),
) (*server, *Client) {
	t.Helper()
	certificate, trust := identity(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: version, MaxVersion: version,
		DynamicRecordSizingDisabled: true} // so that one Write makes one record
	var s *server
	ready := make(chan bool)
	s = newServer(t, func(raw net.Conn, n int, _ func() string) {
		<-ready
		beneath := &tap{Conn: raw}
		c := tls.Server(beneath, config)
		if c.Handshake() == nil {
			serve(c, beneath, n, s.reader(c))
		}
	})
	close(ready)
	c := newClient(t, strings.Replace(s.url, "http", "https", 1))
	c.secure.RootCAs = trust
	return s, c
}

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func TestConnectionOpenedAheadServesTheFirstRequest(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		var mu sync.Mutex
		conns := map[net.Conn]bool{}
		requests := 0
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			requests++
			if r.ProtoMajor != 1 {
				t.Errorf("got %s, want HTTP/1", r.Proto)
			}
			if r.TLS != nil && r.TLS.NegotiatedProtocol != "http/1.1" {
				t.Errorf("negotiated %q, want http/1.1", r.TLS.NegotiatedProtocol)
			}
			_, _ = io.WriteString(w, r.URL.Path[1:])
		}))
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
		s.Config.ConnState = func(c net.Conn, _ http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			conns[c] = true
		}
		if scheme == "https" {
			s.StartTLS()
		} else {
			s.Start()
		}
		c := newClient(t, s.URL)
		if scheme == "https" {
			c.secure.RootCAs = x509.NewCertPool()
			c.secure.RootCAs.AddCert(s.Certificate())
		}
		connect(t, c)
		for _, name := range []string{"first", "second", "third"} {
			wantOwn(t, c, name)
		}
		mu.Lock()
		if len(conns) != 1 || requests != 3 {
			t.Errorf("%s: got %d requests over %d connections, want 3 over 1", scheme, requests, len(conns))
		}
		mu.Unlock()
		s.Close()
	}
}

// A server may do these things to a connection before its first request. The request
// must then go out once, over another connection, and get its own answer.
func TestBrokenConnectionOpenedAheadIsDropped(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(c *tls.Conn, beneath *tap)
		state  state // of the connection afterwards
	}{
		"FIN": {func(_ *tls.Conn, beneath *tap) { _ = beneath.Close() }, ended},
		"RST": {func(_ *tls.Conn, beneath *tap) {
			_ = beneath.Conn.(*net.TCPConn).SetLinger(0)
			_ = beneath.Close()
		}, ended},
		"close_notify and FIN":     {func(c *tls.Conn, _ *tap) { _ = c.Close() }, spoken},
		"close_notify without FIN": {func(c *tls.Conn, _ *tap) { _ = c.CloseWrite() }, spoken},
		"an answer":                {func(c *tls.Conn, _ *tap) { _, _ = io.WriteString(c, reply("nobody's")) }, spoken},
		"the beginning of an answer": {func(c *tls.Conn, beneath *tap) {
			beneath.hold = true
			_, _ = io.WriteString(c, reply("nobody's"))
			beneath.flush(20)
		}, spoken},
		"three bytes of a header": {func(c *tls.Conn, beneath *tap) {
			beneath.hold = true
			_, _ = io.WriteString(c, reply("nobody's"))
			beneath.flush(3)
		}, spoken},
	} {
		for version := range versions {
			t.Run(name+", "+version, func(t *testing.T) {
				s, c := newTLSServer(t, versions[version], func(c *tls.Conn, beneath *tap, n int, next func() string) {
					if n > 0 {
						answerAll(c, n, next)
						return
					}
					tt.before(c, beneath)
					next() // so that the request is counted, if it comes
					beneath.flush(len(beneath.held))
				})
				connect(t, c)
				waitUntil(t, c, tt.state)
				wantOwn(t, c, "first")
				if times, conns := s.count("first"); times != 1 || conns != 2 {
					t.Errorf("sent %d times over %d connections in all, want once over 2", times, conns)
				}
			})
		}
	}
}

// expiredConn is a connection whose reads exceed their deadline.
type expiredConn struct{ net.Conn }

func (expiredConn) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func TestConnectionOpenedAheadIsDroppedIfTicketsTakeTooLong(t *testing.T) {
	s, c := newTLSServer(t, tls.VersionTLS13, func(c *tls.Conn, _ *tap, n int, next func() string) {
		if n == 0 {
			_, _ = io.WriteString(c, reply("nobody's"))
		}
		answerAll(c, n, next)
	})
	connect(t, c)
	waitUntil(t, c, spoken)
	c.idle[0].Conn = expiredConn{c.idle[0].Conn} // so that the answer stays unread
	wantOwn(t, c, "first")
	s.wantConns(t, "after the first request", 2)
}

// TLS asks for more than a record has, and a record arrives in pieces.
func TestRecordsAreReadOneAtATime(t *testing.T) {
	sent := slices.Concat([]byte{22, 3, 3, 1, 2}, make([]byte, 258), []byte{23, 3, 3, 0, 9}, make([]byte, 9))
	ends := []int{5 + 258, len(sent)}
	for _, size := range []int{1, 2, 3, 4, 5, 7, len(sent)} {
		more := make(chan bool, 1)
		s := newServer(t, func(c net.Conn, _ int, _ func() string) {
			for piece := range slices.Chunk(sent, size) {
				_, _ = c.Write(piece)
				<-more
			}
		})
		raw, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url, "http://"), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
		r := &records{TCPConn: raw.(*net.TCPConn)}
		whole := 0
		for read := 0; read < len(sent); {
			n, err := r.Read(make([]byte, 4096))
			read += n
			atEnd := slices.Contains(ends, read)
			if err != nil || r.between() != atEnd {
				t.Fatalf("pieces of %d: after %d bytes, between is %v (%v), want %v", size, read, r.between(), err, atEnd)
			}
			if atEnd {
				whole++
			}
			if read%size == 0 {
				more <- true
			}
		}
		if whole != len(ends) {
			t.Errorf("pieces of %d: %d reads ended with a record, want %d", size, whole, len(ends))
		}
		_ = raw.Close()
	}
}

// patientConn is a connection that ignores read deadlines. Its reads wait forever
// unless records.noWait is set.
type patientConn struct{ net.Conn }

func (patientConn) SetReadDeadline(time.Time) error { return nil }

// drainedConn is a connection whose Read consumes all bytes and returns none, as TLS
// does with session tickets.
type drainedConn struct {
	net.Conn
	tcp *net.TCPConn
}

func (c drainedConn) Read([]byte) (int, error) {
	_, err := io.Copy(io.Discard, c.tcp)
	return 0, err
}

// take calls c.take. It fails the test if that takes longer than five seconds.
func take(t *testing.T, c *Client) *conn {
	t.Helper()
	taken := make(chan *conn, 1)
	go func() { taken <- c.take() }()
	select {
	case got := <-taken:
		return got
	case <-time.After(5 * time.Second):
		t.Fatal("got no return from take within 5 s, want one")
		return nil
	}
}

func TestTicketsAreReadWithoutWaiting(t *testing.T) {
	_, c := newTLSServer(t, tls.VersionTLS13, func(c *tls.Conn, _ *tap, n int, next func() string) {
		answerAll(c, n, next)
	})
	c.secure.ClientSessionCache = tls.NewLRUClientSessionCache(1) // so that the server sends a ticket
	connect(t, c)
	waitUntil(t, c, spoken)
	opened := c.idle[0]
	opened.Conn = patientConn{opened.Conn}
	if got := take(t, c); got != opened {
		t.Error("got another connection or none, want the one opened ahead")
	}
}

func TestTicketsAreNotReadWithoutEnd(t *testing.T) {
	_, c := newTLSServer(t, tls.VersionTLS13, func(_ *tls.Conn, beneath *tap, _ int, _ func() string) {
		for _, err := beneath.Conn.Write([]byte{0}); err == nil; _, err = beneath.Conn.Write(make([]byte, 4096)) {
		}
	})
	connect(t, c)
	waitUntil(t, c, spoken)
	c.idle[0].Conn = drainedConn{c.idle[0].Conn, c.idle[0].tcp}
	if taken := take(t, c); taken != nil {
		_ = taken.Close()
	}
}

// surplusTest is what a server writes after an answer.
type surplusTest struct {
	first string // the request's name, and so the answer's body
	after func(c *tls.Conn, beneath *tap, answer string)
}

func surplusTests() map[string]surplusTest {
	// After an answer as long as a bufio.Reader's buffer, the surplus stays with TLS.
	full := strings.Repeat("x", 4096-len(reply(strings.Repeat("x", 1000)))+1000)
	sameRecord := func(c *tls.Conn, _ *tap, answer string) {
		_, _ = io.WriteString(c, answer+reply("nobody's"))
	}
	sameSegment := func(n int) func(*tls.Conn, *tap, string) {
		return func(c *tls.Conn, beneath *tap, answer string) {
			beneath.hold = true
			_, _ = io.WriteString(c, answer)
			end := len(beneath.held)
			_, _ = io.WriteString(c, reply("nobody's"))
			beneath.flush(min(end+n, len(beneath.held)))
		}
	}
	beyondTheLimit := func(c *tls.Conn, _ *tap, answer string) {
		padding := strings.Repeat("a", maxAnswer-len(answer)-len("A: \r\n"))
		answer = strings.Replace(answer, "\r\n", "\r\nA: "+padding+"\r\n", 1)
		_, _ = io.WriteString(c, answer[:1000]) // so that no record ends with the answer
		_, _ = io.WriteString(c, answer[1000:]+reply("nobody's"))
	}
	return map[string]surplusTest{
		"in the same record, after the longest answer": {"first", beyondTheLimit},
		"in the same record":                           {"first", sameRecord},
		"in the same record, beyond a full buffer":     {full, sameRecord},
		"in the next record, in the same segment":      {"first", sameSegment(4096)},
		"the beginning of a record":                    {"first", sameSegment(20)},
		"three bytes of a record's header":             {"first", sameSegment(3)},
		"one byte of a record's header":                {"first", sameSegment(1)},
		"close_notify": {"first", func(c *tls.Conn, beneath *tap, answer string) {
			beneath.hold = true
			_, _ = io.WriteString(c, answer)
			_ = c.CloseWrite()
			beneath.flush(len(beneath.held))
		}},
	}
}

// After surplus, the next request must go over another connection and get its own
// answer.
func TestSurplusAfterAnAnswerOverTLSIsNotTheNextAnswer(t *testing.T) {
	for name, tt := range surplusTests() {
		for version := range versions {
			t.Run(name+", "+version, func(t *testing.T) {
				s, c := newTLSServer(t, versions[version], func(c *tls.Conn, beneath *tap, n int, next func() string) {
					if n > 0 {
						answerAll(c, n, next)
						return
					}
					tt.after(c, beneath, reply(next()))
					next() // so that the request is counted, if it comes
					beneath.flush(len(beneath.held))
				})
				wantOwn(t, c, tt.first)
				wantOwn(t, c, "second")
				if times, conns := s.count("second"); times != 1 || conns != 2 {
					t.Errorf("sent %d times over %d connections in all, want once over 2", times, conns)
				}
			})
		}
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	c := newClient(t, s.URL)
	_, failure := get(t, c, "name")
	wantFailure(t, "an unknown issuer", failure, Error{Unreachable, "tls: certificate"})
	c.secure.RootCAs = x509.NewCertPool()
	c.secure.RootCAs.AddCert(s.Certificate())
	c.secure.ServerName = "api.weixin.qq.com"
	_, failure = get(t, c, "name")
	wantFailure(t, "another name", failure, Error{Unreachable, "tls: certificate"})
}

func TestVersionsBeforeTLS12AreRefused(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		s, c := newTLSServer(t, version, func(c *tls.Conn, _ *tap, n int, next func() string) { answerAll(c, n, next) })
		_, failure := get(t, c, "name")
		wantFailure(t, tls.VersionName(version), failure, Error{Unreachable, "tls: protocol"})
		if times, _ := s.count("name"); times != 0 {
			t.Errorf("%s: sent %d times, want 0", tls.VersionName(version), times)
		}
	}
}

func TestConnectionIsClosedIfItsHandshakeFails(t *testing.T) {
	left := make(chan error, 1)
	s := newServer(t, func(c net.Conn, _ int, _ func() string) {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
		_, err := io.Copy(io.Discard, c)
		left <- err
	})
	c := newClient(t, strings.Replace(s.url, "http", "https", 1))
	if err := c.Connect(t.Context()); err == nil {
		t.Fatal("Connect = nil, want an error")
	}
	if err := <-left; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("got an open connection after 2 s, want it closed")
	}
}

// lastFlight holds back the last flight of a TLS 1.2 server's handshake, and sends
// it together with what the server writes next.
type lastFlight struct {
	net.Conn
	writes int
	held   []byte
}

func (f *lastFlight) Write(p []byte) (int, error) {
	f.writes++
	if f.writes == 2 {
		f.held = slices.Clone(p)
		return len(p), nil
	}
	_, err := f.Conn.Write(append(f.held, p...))
	f.held = nil
	return len(p), err
}

// An answer that comes with the end of the handshake is nobody's: the request has
// not been written yet.
func TestAnswerBeforeTheFirstRequestOfANewConnectionIsDropped(t *testing.T) {
	certificate, trust := identity(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12}
	var s *server
	ready := make(chan bool)
	s = newServer(t, func(raw net.Conn, n int, _ func() string) {
		<-ready
		if n == 0 {
			raw = &lastFlight{Conn: raw}
		}
		c := tls.Server(raw, config)
		if c.Handshake() != nil {
			return
		}
		if n == 0 {
			_, _ = io.WriteString(c, reply("nobody's"))
		}
		answerAll(c, n, s.reader(c))
	})
	close(ready)
	c := newClient(t, strings.Replace(s.url, "http", "https", 1))
	c.secure.RootCAs = trust
	err := c.Do(request(t, t.Context(), "first"), func(int, []byte) bool {
		t.Error("got an answer, want none")
		return false
	})
	if failure, ok := errors.AsType[*Error](err); !ok || *failure != (Error{Unreachable, "protocol"}) {
		t.Errorf("got %v, want unreachable: protocol", err)
	}
	wantOwn(t, c, "first")
}
