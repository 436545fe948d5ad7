package wechat

import (
	"encoding/binary"
	"net"
	"syscall"
)

const tcpEstablished = 1 // TCP_ESTABLISHED of linux/tcp_states.h

// alive asks the kernel whether a connection is still open at both ends, and,
// where it must be quiet, that nothing unread has arrived on it. After a freeze
// the kernel knows of a FIN or RST that nobody has read yet.
//
// A connection that was never used need not be quiet: TLS 1.3 servers send
// session tickets after the handshake. What is not found on such a one is a
// server that says it will close (close_notify) and then does not.
func alive(c *net.TCPConn, quiet bool) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Control(func(fd uintptr) {
		var first [1]byte
		if quiet { // an ended connection reads as empty or as an error, never as not yet
			_, _, err := syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			ok = err == syscall.EAGAIN
			return
		}
		// struct tcp_info begins with the state, in one byte.
		var info [4]byte
		value, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		binary.NativeEndian.PutUint32(info[:], uint32(value)) // #nosec G115 -- four bytes, of which one counts
		ok = err == nil && info[0] == tcpEstablished
	})
	return err == nil && ok
}
