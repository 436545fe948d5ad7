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

// A process is frozen for 90 s. Meanwhile WeChat ends its connections, or the path
// drops them and neither end hears of it. The process must answer the next
// request at once.
func TestSoakFreeze(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		for _, loss := range []string{"FIN", "silence"} {
			for _, procs := range []string{"1", "2"} {
				t.Run(scheme+" "+loss+" GOMAXPROCS="+procs, func(t *testing.T) {
					t.Parallel()
					w := rig.NewWeChat(t, scheme)
					way := newPath(t, w.Listener.Addr().String())
					r := rig.Raise(t, func(c *stage.Config) {
						c.WeChatURL = scheme + "://" + way.Addr().String()
						c.Env = append(w.Env, "GOMAXPROCS="+procs)
					})
					w.Serve(r.WeChat)
					r.WantPhone("before", r.NewTap())
					r.Freeze(func() {
						if loss == "FIN" {
							rig.WaitFor(t, "WeChat has ended a connection", func() bool { return w.EndIdle(false) > 0 })
						} else {
							way.lose()
						}
						time.Sleep(90 * time.Second)
					}, loss == "FIN")
				})
			}
		}
	}
}

// lossyPath is a path to a server that can drop its connections: nothing comes
// through any more, and neither end hears of it.
type lossyPath struct {
	net.Listener
	to   string
	lost atomic.Int64 // connections up to this one are
	made atomic.Int64
}

func newPath(t testing.TB, to string) *lossyPath {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lossyPath{Listener: l, to: to}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			n := p.made.Add(1)
			go p.carry(near, far, n)
			go p.carry(far, near, n)
		}
	}()
	return p
}

func (p *lossyPath) carry(from, to net.Conn, n int64) {
	buffer := make([]byte, 4096)
	for {
		size, err := from.Read(buffer)
		if p.lost.Load() >= n {
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

func (p *lossyPath) lose() { p.lost.Store(p.made.Load()) }
