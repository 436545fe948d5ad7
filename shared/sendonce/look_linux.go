package sendonce

import (
	"net"
	"syscall"
)

// look asks the kernel for a connection's state without reading from it. After a
// freeze, the kernel knows of a FIN or RST that the process has not noticed.
func look(c *net.TCPConn) state {
	raw, err := c.SyscallConn()
	if err != nil {
		return ended
	}
	found := ended
	err = raw.Control(func(fd uintptr) {
		var first [1]byte
		n, _, err := syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EAGAIN:
			found = silent
		case err == nil && n > 0:
			found = spoken
		}
	})
	if err != nil {
		return ended
	}
	return found
}
