package wechat

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// This file speaks HTTP/1.1 with net/http's own reader, but without its
// Transport, which is made for requests that may be sent twice: when a kept
// connection breaks under a GET it sends the GET again, and WeChat finds the
// login code used. A Transport also writes into connections that died while
// Lambda had the process frozen, logs bytes that nobody asked for (session keys
// among them), and puts the URL, with the app secret, into its errors. Here a
// connection serves one request at a time, nothing is sent that was not asked
// for, and what was written is known. Proxies (HTTPS_PROXY) are not used: Lambda
// has none.

const (
	maxBody = 64 << 10

	// maxAnswer bounds everything that one answer may make us read: header,
	// interim answers, body and the framing of its chunks.
	maxAnswer = 4 * maxBody

	// maxIdle is how long a connection is kept unused. Most servers and
	// gateways on the way keep 60 s or more; past that a path may swallow
	// packets without a word, and a code would be lost in it.
	maxIdle = 50 * time.Second
)

// past is a deadline that makes reads and writes return at once.
var past = time.Unix(1, 0)

// pool keeps idle connections to one server: as many as there ever were
// requests at once, which Lambda bounds.
type pool struct {
	address string
	secure  *tls.Config // nil for http

	mu   sync.Mutex
	idle []*conn // by idleSince, the newest last
}

// conn is a connection to WeChat. Its owner alone may use it.
type conn struct {
	net.Conn               // TCP, or TLS over it
	tcp       *net.TCPConn // what lies beneath
	limit     *io.LimitedReader
	in        *bufio.Reader // over limit, over Conn
	quiet     bool          // nothing may arrive unasked: over TLS, tickets may until the first answer
	idleSince time.Time     // by the wall clock alone: the other one stands still in a frozen machine
}

func newPool(base *url.URL) (*pool, error) {
	port := map[string]string{"http": "80", "https": "443"}[base.Scheme]
	if port == "" {
		return nil, errors.New("must be an http or https URL")
	}
	if base.Port() != "" {
		port = base.Port()
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("must have a port from 1 to 65535, or none")
		}
	}
	p := &pool{address: net.JoinHostPort(base.Hostname(), port)}
	if base.Scheme == "https" {
		p.secure = &tls.Config{ServerName: base.Hostname(), NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	}
	return p, nil
}

// roundTrip sends a request, a GET or a POST with all its bytes, and returns the
// answer's status and body. Its errors are Unreachable (nothing was written),
// Lost, TimedOut and Malformed.
func (p *pool) roundTrip(ctx context.Context, request []byte) (status int, body []byte, failure *Error) {
	c := p.take()
	if c == nil {
		if c, failure = p.dial(ctx); failure != nil {
			return 0, nil, failure
		}
	}
	keep := false
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
	defer func() {
		if stop() && keep && c.settled() {
			p.put(c)
		} else {
			_ = c.Close()
		}
	}()

	if ctx.Err() != nil {
		return 0, nil, &Error{Kind: Unreachable, Reason: "timeout"}
	}
	if written, err := c.Write(request); err != nil {
		if written == 0 { // over TLS: no whole record, without which the server has nothing
			return 0, nil, &Error{Kind: Unreachable, Reason: class(err)}
		}
		return 0, nil, broken(ctx, err)
	}
	c.limit.N = maxAnswer
	answer, err := http.ReadResponse(c.in, nil)
	for err == nil && interim(answer.StatusCode) {
		answer, err = http.ReadResponse(c.in, nil)
	}
	if err != nil {
		return 0, nil, broken(ctx, err)
	}
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	if err != nil {
		return 0, nil, broken(ctx, err)
	}
	if len(body) > maxBody {
		return 0, nil, &Error{Kind: Malformed, Reason: "too large"}
	}
	c.quiet = true
	keep = answer.StatusCode == http.StatusOK && !answer.Close
	return answer.StatusCode, body, nil
}

// interim tells the answers that announce another (RFC 9110, section 15.2).
func interim(status int) bool {
	return status >= 100 && status < 200 && status != http.StatusSwitchingProtocols
}

// dial opens a connection, with TLS where the server has it. Its errors are of
// Kind Unreachable.
func (p *pool) dial(ctx context.Context) (*conn, *Error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, &Error{Kind: Unreachable, Reason: class(err)}
	}
	c := &conn{Conn: raw, tcp: raw.(*net.TCPConn), quiet: p.secure == nil}
	if p.secure != nil {
		secured := tls.Client(raw, p.secure)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, &Error{Kind: Unreachable, Reason: "tls: " + class(err)}
		}
		c.Conn = secured
	}
	c.limit = &io.LimitedReader{R: c.Conn}
	c.in = bufio.NewReader(c.limit)
	return c, nil
}

// take returns an idle connection that the server has not ended, or nil.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropOld()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if alive(c.tcp, c.quiet) {
			return c
		}
		_ = c.Close()
	}
	return nil
}

// put keeps a connection for the next request.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropOld()
	c.idleSince = time.Now().Round(0)
	p.idle = append(p.idle, c)
}

// dropOld closes what has been idle for too long. The caller holds mu.
func (p *pool) dropOld() {
	old := 0
	for old < len(p.idle) && time.Since(p.idle[old].idleSince) > maxIdle {
		_ = p.idle[old].Close()
		old++
	}
	p.idle = slices.Delete(p.idle, 0, old)
}

// settled reports whether the answer was all that the server sent, and clears
// the deadline. What follows an answer would be taken for the answer to the
// next request, which is another user's. A read that may not wait finds what
// TLS has read ahead; what is still on its way is found by alive.
func (c *conn) settled() bool {
	if c.SetReadDeadline(past) != nil {
		return false
	}
	_, err := c.in.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded) && c.SetDeadline(time.Time{}) == nil
}

// broken is the error of a connection that failed after something was written.
func broken(ctx context.Context, err error) *Error {
	if ctx.Err() != nil {
		return &Error{Kind: TimedOut, Reason: "timeout"}
	}
	return &Error{Kind: Lost, Reason: class(err)}
}

// class names what went wrong on the network, without the data that the
// standard library's errors hold.
func class(err error) string {
	_, dns := errors.AsType[*net.DNSError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case certificate:
		return "certificate"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		return "timeout"
	case dns:
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	return "protocol"
}
