//go:build soak

package soak

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

// TestSoakFreeze freezes the process for 90 s. Meanwhile WeChat closes its
// connections, or the network drops them without telling either end. The process
// must answer the next request at once.
func TestSoakFreeze(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		for _, loss := range []string{"FIN", "silence"} {
			for _, procs := range []string{"1", "2"} {
				t.Run(scheme+" "+loss+" GOMAXPROCS="+procs, func(t *testing.T) {
					t.Parallel()
					w := rig.NewWeChat(t, scheme)
					network := newNetwork(t, w.Listener.Addr().String())
					r := rig.Raise(t, func(c *stage.Config) {
						c.WeChatURL = scheme + "://" + network.Addr().String()
						c.Env = append(w.Env, "GOMAXPROCS="+procs)
					})
					w.Serve(r.WeChat)
					r.WantPhone("before", r.NewTap())
					r.Freeze(func() {
						if loss == "FIN" {
							rig.WaitFor(t, "WeChat has ended a connection", func() bool { return w.EndIdle(false) > 0 })
						} else {
							network.drop()
						}
						time.Sleep(90 * time.Second)
					}, loss == "FIN")
				})
			}
		}
	}
}

// lossyNetwork forwards connections to a server until it drops them. Both ends of
// a dropped connection stay open, and nothing gets through.
type lossyNetwork struct {
	net.Listener
	opened  atomic.Int64 // connections so far
	dropped atomic.Int64 // the first connections, up to this number
}

func newNetwork(t testing.TB, server string) *lossyNetwork {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	network := &lossyNetwork{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				_ = near.Close()
				continue
			}
			n := network.opened.Add(1)
			go network.forward(near, far, n)
			go network.forward(far, near, n)
		}
	}()
	return network
}

// forward copies one direction of the n-th connection.
func (network *lossyNetwork) forward(from, to net.Conn, n int64) {
	buffer := make([]byte, 4096)
	for {
		size, err := from.Read(buffer)
		if network.dropped.Load() >= n {
			if err != nil {
				return
			}
			continue
		}
		if size > 0 {
			_, _ = to.Write(buffer[:size])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// drop drops all connections that are open now.
func (network *lossyNetwork) drop() { network.dropped.Store(network.opened.Load()) }
