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

	// maxAnswer bounds everything that one answer may make us read: header,
	// interim answers, body and the framing of its chunks.
	maxAnswer = 4 * maxBody

	// maxTickets bounds the time in which session tickets are read. It only
	// matters if a server sends them without end.
	maxTickets = 10 * time.Millisecond
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
	in        *bufio.Reader // over limit, over Conn
	tickets   bool          // TLS, before the first answer: session tickets may arrive unasked
	idleSince time.Time     // by the wall clock: the monotonic clock stops in a frozen machine
}

// exchange writes the message, which is r's, and reads the answer and its body.
func (c *conn) exchange(r *http.Request, message []byte) (answer *http.Response, body []byte, _ error) {
	if written, err := c.Write(message); err != nil {
		if written == 0 { // over TLS: no whole record, without which the server has nothing
			return nil, nil, &Error{Unreachable, neterror.Class(err)}
		}
		return nil, nil, broken(r.Context(), err)
	}
	c.limit.N = maxAnswer
	answer, err := http.ReadResponse(c.in, r)
	for err == nil && interim(answer.StatusCode) {
		answer, err = http.ReadResponse(c.in, r)
	}
	if err != nil {
		return nil, nil, broken(r.Context(), err)
	}
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	if err != nil {
		return nil, nil, broken(r.Context(), err)
	}
	if len(body) > maxBody {
		return nil, nil, &Error{Malformed, "too large"}
	}
	c.tickets = false // TLS sends them before it reads a request
	return answer, body, nil
}

// interim reports whether another answer follows (RFC 9110, section 15.2).
func interim(status int) bool {
	return status >= 100 && status < 200 && status != http.StatusSwitchingProtocols
}

// broken is the error of a connection that failed after something was written.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &Error{TimedOut, "timeout"}
	}
	return &Error{Lost, neterror.Class(err)}
}

// settled reports whether the server sent nothing after the answer, as far as
// this process has read, and clears the deadline. Such bytes would become the
// answer to the next request, which may be another user's. A read that may not
// wait finds what TLS has decrypted but not yet passed on. What is still in the
// kernel, or on its way, is for ready to find.
func (c *conn) settled() bool {
	if c.SetReadDeadline(past) != nil {
		return false
	}
	_, err := c.in.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded) && c.SetDeadline(time.Time{}) == nil
}

// ready reports whether the connection is open and the server has sent nothing
// unasked, session tickets aside.
func (c *conn) ready() bool {
	switch look(c.tcp) {
	case silent:
		return true
	case spoken:
		return c.tickets && c.readTickets()
	}
	return false
}

// readTickets reads what has arrived, without waiting for more, and reports
// whether it was session tickets and nothing else. TLS handles the tickets; an
// answer or a close_notify would end the read.
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

// records is a TCP connection that TLS reads one record at a time. On a plain
// one, TLS would read the beginning of the next record with the end of an
// answer, and nothing outside TLS could see it. Here it stays in the kernel,
// and look sees it.
type records struct {
	*net.TCPConn
	header [5]byte // RFC 8446, section 5.1: type, version, and two bytes of length
	have   int     // bytes of the header that have been read
	left   int     // bytes of the record's body that have not
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

// between reports whether the reader stands between two records.
func (r *records) between() bool { return r.have == 0 && r.left == 0 }
