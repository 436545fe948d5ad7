// Package sendonce sends an HTTP request once, on a connection that is alive, and
// tells its caller whether anything was written.
//
// Make one [Client] for each server. [Client.Connect] opens a connection before
// the first request. [Client.Do] sends a request and passes the answer to its
// caller, who decides whether it belongs to that request. If not, the connection is
// closed. Otherwise one stray answer would shift all later ones: each request would
// get its predecessor's.
//
// It speaks HTTP/1.1 with net/http's own writer and reader, but does without
// net/http's Transport, for three reasons:
//
//   - If a kept connection breaks, Transport resends a GET that has no body, or
//     whose body has GetBody.
//   - After a freeze, Transport writes to connections that died in the meantime.
//   - Transport logs unsolicited bytes, with their text.
//
// Transport does not resend a GET that has a body without GetBody, and
// [http.ClientConn] never resends. Both still have the other two faults. Errors that
// hold the URL are not a reason: only [http.Client] returns them. transport_test.go
// tests all of this except the second reason, for which docs/architecture.md has
// measurements.
//
// It ignores HTTPS_PROXY. Lambda has no proxy.
package sendonce

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"wechat-phone/shared/neterror"
)

// maxIdle is how long an idle connection is kept. Most servers and gateways keep
// one for 60 s or more. After that, a gateway may drop packets silently, and a
// request would be lost.
const maxIdle = 50 * time.Second

// replaceTimeout bounds opening a connection that no request waits for.
const replaceTimeout = 2 * time.Second

// Kind says how a request failed.
type Kind string

// The kinds.
const (
	Unreachable Kind = "unreachable" // nothing of the request was written
	Lost        Kind = "lost"        // the connection broke after something was written
	TimedOut    Kind = "timed_out"   // something was written, and no answer came in time
	Malformed   Kind = "malformed"   // the answer is too large
)

// Error is the error of [Client.Connect] and [Client.Do]. It holds no URL, no
// address and nothing of the answer.
type Error struct {
	Kind Kind

	// Reason is the cause's [neterror.Class], or "too large". A failed handshake
	// puts "tls: " before it.
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("sendonce: %s: %s", e.Kind, e.Reason) }

// Client sends requests to one server. It does not limit its idle connections:
// there are never more than concurrent requests, which Lambda limits. It is safe
// for concurrent use.
type Client struct {
	address string
	secure  *tls.Config // nil for http

	mu   sync.Mutex
	idle []*conn // sorted by idleSince, the newest last
}

// New returns a client of the server at base. It uses base's scheme, host and
// port. It does no I/O.
func New(base *url.URL) (*Client, error) {
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
	c := &Client{address: net.JoinHostPort(base.Hostname(), port)}
	if base.Scheme == "https" {
		c.secure = &tls.Config{ServerName: base.Hostname(), NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	}
	return c, nil
}

// Connect opens a connection, including TLS, for the first request to use. It
// sends no request. Every error is an [*Error].
func (c *Client) Connect(ctx context.Context) error {
	opened, err := c.dial(ctx)
	if err != nil {
		return err
	}
	c.put(opened)
	return nil
}

// Do sends r and calls accept with the answer. accept must report whether it is
// the answer to r: if not, Do closes the connection. Do gives up when r's context
// ends. If r has a body, it must have a ContentLength. Every error is an [*Error];
// after an error, accept has not been called.
func (c *Client) Do(r *http.Request, accept func(status int, body []byte) bool) error {
	// One Write sends the whole message, so its count says whether anything went out.
	var message bytes.Buffer
	if err := r.Write(&message); err != nil {
		return &Error{Unreachable, neterror.Class(err)}
	}
	used := c.take()
	if used == nil {
		var err error
		if used, err = c.dial(r.Context()); err != nil {
			return err
		}
		if !used.ready() { // the server has spoken first
			_ = used.Close()
			return &Error{Unreachable, "protocol"}
		}
	}
	keep := false
	stop := context.AfterFunc(r.Context(), func() { _ = used.SetDeadline(past) })
	defer func() {
		if stop() && keep && used.settled() {
			c.put(used)
		} else {
			_ = used.Close()
		}
	}()
	if r.Context().Err() != nil {
		return &Error{Unreachable, "timeout"}
	}
	answer, body, err := used.exchange(r, message.Bytes())
	if err != nil {
		return err
	}
	keep = accept(answer.StatusCode, body) && !answer.Close
	if !keep {
		go c.replace()
	}
	return nil
}

// replace opens a connection instead of one that an answer has ended, so that the
// next request need not wait for a handshake. Lambda may freeze it at any moment:
// a connection that dies meanwhile fails here, or is found dead before its use.
func (c *Client) replace() {
	ctx, cancel := context.WithTimeout(context.Background(), replaceTimeout)
	defer cancel()
	_ = c.Connect(ctx)
}

// dial opens a connection, with TLS for https. Every error has the Kind
// [Unreachable].
func (c *Client) dial(ctx context.Context) (*conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, &Error{Unreachable, neterror.Class(err)}
	}
	opened := &conn{Conn: raw, tcp: raw.(*net.TCPConn)}
	if c.secure != nil {
		opened.records = &records{TCPConn: opened.tcp}
		secured := tls.Client(opened.records, c.secure)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, &Error{Unreachable, "tls: " + neterror.Class(err)}
		}
		opened.Conn = secured
	}
	opened.limit = &io.LimitedReader{R: opened.Conn}
	opened.in = bufio.NewReader(opened.limit)
	return opened, nil
}

// take returns an idle connection that is ready for a request, or nil.
func (c *Client) take() *conn {
	for {
		newest := c.pop()
		if newest == nil || newest.ready() {
			return newest
		}
		_ = newest.Close()
	}
}

// pop removes the newest idle connection, so that the others can grow old. It
// returns nil if there is none.
func (c *Client) pop() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropOld()
	if len(c.idle) == 0 {
		return nil
	}
	newest := c.idle[len(c.idle)-1]
	c.idle = c.idle[:len(c.idle)-1]
	return newest
}

// put keeps a connection for the next request.
func (c *Client) put(unused *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropOld()
	unused.idleSince = time.Now().Round(0)
	c.idle = append(c.idle, unused)
}

// dropOld closes the connections that have been idle for too long. The caller
// holds mu.
func (c *Client) dropOld() {
	old := 0
	for old < len(c.idle) && time.Since(c.idle[old].idleSince) > maxIdle {
		_ = c.idle[old].Close()
		old++
	}
	c.idle = slices.Delete(c.idle, 0, old)
}
