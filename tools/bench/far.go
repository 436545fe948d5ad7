package main

import (
	"bytes"
	"net"
	"time"
)

// roundTrip is how far WeChat is away from a function in another country.
const roundTrip = 50 * time.Millisecond

// far is a listener whose clients are a round trip away: each thing that the
// server sends arrives so much later, whatever follows it. So an answer takes one
// round trip, and so does TLS 1.3; that of TCP itself, which the kernel
// completes, does not show.
type far struct{ net.Listener }

func (l far) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f := &farConn{Conn: c, sent: make(chan parcel, 64), closed: make(chan struct{})}
	go f.deliver()
	return f, nil
}

type farConn struct {
	net.Conn
	sent   chan parcel
	closed chan struct{}
}

type parcel struct {
	data []byte
	due  time.Time
}

func (c *farConn) Write(p []byte) (int, error) {
	select {
	case c.sent <- parcel{bytes.Clone(p), time.Now().Add(roundTrip)}:
		return len(p), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *farConn) deliver() {
	for {
		select {
		case p := <-c.sent:
			time.Sleep(time.Until(p.due))
			if _, err := c.Conn.Write(p.data); err != nil {
				return
			}
		case <-c.closed:
			return
		}
	}
}

// Close is called once, by net/http.
func (c *farConn) Close() error {
	close(c.closed)
	return c.Conn.Close()
}
