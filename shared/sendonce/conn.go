package sendonce

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"wechat-phone/shared/neterror"
)

const (
	maxBody = 64 << 10

	// maxAnswer limits how much is read for one answer: interim answers, header,
	// body and chunk framing.
	maxAnswer = 4 * maxBody

	// maxTickets limits how long session tickets are read. It matters only if a
	// server never stops sending them.
	maxTickets = 100 * time.Millisecond
)

// past is a deadline that makes reads and writes return at once.
var past = time.Unix(1, 0)

// state is what the kernel knows of an idle connection.
type state int

const (
	ended  state = iota // the server has closed or reset it
	silent              // it is open, and nothing is unread
	spoken              // it has unread bytes
)

// conn is a connection to the server. Only its owner may use it.
type conn struct {
	net.Conn  // TCP, or TLS over records
	tcp       *net.TCPConn
	records   *records // nil without TLS
	limit     *io.LimitedReader
	in        *bufio.Reader // reads limit, which reads Conn
	idleSince time.Time     // by the wall clock: the monotonic clock stops while the machine is frozen
}

// exchange writes message, which is r encoded, and reads the answer and its body.
func (c *conn) exchange(r *http.Request, message []byte) (answer *http.Response, body []byte, _ error) {
	if written, err := c.Write(message); err != nil {
		if written == 0 { // over TLS: no whole record, so the server cannot have read anything
			return nil, nil, &Error{Unreachable, neterror.Class(err)}
		}
		return nil, nil, failAfterWrite(r.Context(), err)
	}
	c.limit.N = maxAnswer
	answer, err := http.ReadResponse(c.in, r)
	for err == nil && interim(answer.StatusCode) {
		answer, err = http.ReadResponse(c.in, r)
	}
	if err != nil {
		return nil, nil, failAfterWrite(r.Context(), err)
	}
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	if err != nil {
		return nil, nil, failAfterWrite(r.Context(), err)
	}
	if len(body) > maxBody {
		return nil, nil, &Error{Malformed, "too large"}
	}
	return answer, body, nil
}

// interim reports whether another answer follows (RFC 9110, section 15.2).
func interim(status int) bool {
	return status >= 100 && status < 200 && status != http.StatusSwitchingProtocols
}

// failAfterWrite returns the error of a request that failed after something was
// written.
func failAfterWrite(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &Error{TimedOut, "timeout"}
	}
	return &Error{Lost, neterror.Class(err)}
}

// settled clears the deadline and reports whether this process has read nothing
// after the answer. Such bytes would become the answer to the next request, which
// may be another user's. To find what TLS has decrypted but not yet passed on, it
// reads without waiting. [conn.ready] finds the bytes that are still in the kernel
// or on their way.
func (c *conn) settled() bool {
	if c.SetReadDeadline(past) != nil {
		return false
	}
	_, err := c.in.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded) && c.SetDeadline(time.Time{}) == nil
}

// ready reports whether the connection is open and the server has sent nothing
// unsolicited but session tickets, which follow the handshake of TLS 1.3.
func (c *conn) ready() bool {
	switch look(c.tcp) {
	case silent:
		return true
	case spoken:
		return c.records != nil && c.readTickets()
	}
	return false
}

// readTickets reads what has arrived, without waiting for more, and reports
// whether it was only session tickets. TLS handles tickets within Read, which then
// fails with os.ErrDeadlineExceeded. After an answer or a close_notify, Read does not
// fail with it.
func (c *conn) readTickets() bool {
	if c.SetReadDeadline(time.Now().Add(maxTickets)) != nil {
		return false
	}
	c.records.noWait = true
	_, err := c.Read(make([]byte, 1))
	c.records.noWait = false
	return errors.Is(err, os.ErrDeadlineExceeded) && c.records.between() &&
		look(c.tcp) == silent && c.SetReadDeadline(time.Time{}) == nil
}

// records is a TCP connection that TLS reads one record at a time. On a plain TCP
// connection, TLS could read the beginning of the next record with the end of an
// answer, and nothing outside TLS could see it. Here it stays in the kernel, where
// [look] finds it.
type records struct {
	*net.TCPConn
	header [5]byte // RFC 8446, section 5.1: type, version, and two bytes of length
	have   int     // bytes of the header that have been read
	left   int     // bytes of the record's body that have not been read
	noWait bool    // a read that would wait fails with os.ErrDeadlineExceeded
}

func (r *records) Read(p []byte) (n int, err error) {
	if r.noWait && look(r.TCPConn) == silent {
		return 0, os.ErrDeadlineExceeded
	}
	if r.left > 0 {
		n, err = r.TCPConn.Read(p[:min(len(p), r.left)])
		r.left -= n
		return n, err
	}
	n, err = r.TCPConn.Read(p[:min(len(p), len(r.header)-r.have)])
	r.have += copy(r.header[r.have:], p[:n])
	if r.have == len(r.header) {
		r.have, r.left = 0, int(binary.BigEndian.Uint16(r.header[3:]))
	}
	return n, err
}

// between reports whether the next byte to read is the first of a record.
func (r *records) between() bool { return r.have == 0 && r.left == 0 }
