//go:build !linux

package sendonce

import "net"

// look takes every connection for silent. Lambda is Linux. Elsewhere the
// function runs against stand-ins only, which do not end their connections.
func look(*net.TCPConn) state { return silent }
