package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// faultyProxy terminates TLS in front of a mock WeChat. It does something wrong on the
// first connection right after the handshake: the function opens that connection ahead of
// its first request.
type faultyProxy struct {
	net.Listener
	fault   func(*tls.Conn)
	faulted chan bool // closed afterwards
	backend chan string
	once    sync.Once
}

func newFaultyProxy(t *testing.T, fault func(*tls.Conn)) (p *faultyProxy, trust string) {
	t.Helper()
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(certified.Close)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p = &faultyProxy{Listener: listener, fault: fault, faulted: make(chan bool), backend: make(chan string, 1)}
	go p.accept()
	return p, rig.Trust(t, certified)
}

func (p *faultyProxy) accept() {
	for {
		c, err := p.Accept()
		if err != nil {
			return
		}
		go p.serve(c.(*tls.Conn))
	}
}

func (p *faultyProxy) serve(c *tls.Conn) {
	defer func() { _ = c.Close() }()
	if c.Handshake() != nil {
		return
	}
	p.once.Do(func() {
		p.fault(c)
		close(p.faulted)
	})
	address := <-p.backend
	p.backend <- address
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	go func() { _, _ = io.Copy(to, c) }()
	_, _ = io.Copy(c, to)
}

// Whatever arrives on the connection that was opened ahead, each of the first logins gets
// a token of its own: the rig checks whose it is.
func testFaultyConnections(t *testing.T) {
	t.Parallel()
	other := hostile.User(9999)
	session := httptest.NewRecorder()
	wechattest.Accept(other)(session, httptest.NewRequest(http.MethodGet, "/", nil))
	stray := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", session.Body.Len(), session.Body)
	for name, fault := range map[string]func(*tls.Conn){
		"another user's session":      func(c *tls.Conn) { _, _ = io.WriteString(c, stray) },
		"a part of it":                func(c *tls.Conn) { _, _ = io.WriteString(c, stray[:len(stray)/2]) },
		"the first bytes of a record": func(c *tls.Conn) { _, _ = c.NetConn().Write([]byte{23, 3, 3}) },
		"close_notify without FIN":    func(c *tls.Conn) { _ = c.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy, trust := newFaultyProxy(t, fault)
			r := rig.Raise(t, func(c *stage.Config) {
				c.Tokens, c.WeChatURL, c.Env = true, "https://"+proxy.Addr().String(), []string{trust}
			})
			proxy.backend <- strings.TrimPrefix(r.WeChatURL, "http://")
			<-proxy.faulted
			time.Sleep(20 * time.Millisecond) // until the bytes have arrived
			for range 3 {
				if got := r.PostLogin(r.Login(rig.NewUser()), ""); got.Status != 200 || got.Token == "" {
					t.Errorf("got %d %s, want a token", got.Status, got.Error)
				}
			}
		})
	}
}
