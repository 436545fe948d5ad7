//go:build !linux

package sendonce

import "net"

// look says that every connection is silent. Lambda runs Linux. On other systems
// the function runs only against stand-ins, which keep their connections open.
func look(*net.TCPConn) state { return silent }
