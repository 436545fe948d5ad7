package sendonce

import (
	"net"
	"syscall"
	"testing"
)

// closed reports whether the kernel has closed the connection. Unlike look, it
// leaves the error of a reset, which the kernel tells only once.
func closed(c *net.TCPConn) bool {
	const tcpClose = 7 // TCP_CLOSE in Linux's net/tcp_states.h
	info := 0
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		info, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	})
	return err == nil && info&0xff == tcpClose // the state is tcp_info's first byte
}

func TestResetIsSeenAtTheFirstLook(t *testing.T) {
	opened := make(chan bool)
	s := newServer(t, func(c net.Conn, n int, next func() string) {
		if n > 0 {
			answerAll(c, n, next)
			return
		}
		<-opened
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	c := newClient(t, s.url)
	connect(t, c)
	close(opened)
	waitFor(t, "the connection has been reset", func() bool { return closed(c.idle[0].tcp) })
	wantOwn(t, c, "first")
	if times, conns := s.count("first"); times != 1 || conns != 2 {
		t.Errorf("got the request %d times over %d connections in all, want once over 2", times, conns)
	}
}
