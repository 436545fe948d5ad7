package rig

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"wechat-phone/local/stage"
)

// WeChat is a separate HTTP server for the mock WeChat. A test can end its
// connections.
type WeChat struct {
	*httptest.Server
	Env    []string     // variables that make the function trust the server
	Opened atomic.Int32 // connections so far

	handler atomic.Pointer[http.Handler]
	mu      sync.Mutex
	idle    map[net.Conn]bool
}

// NewWeChat starts a server. scheme is http or https. Call [WeChat.Serve] before
// the first request.
func NewWeChat(t testing.TB, scheme string) *WeChat {
	t.Helper()
	w := &WeChat{idle: map[net.Conn]bool{}}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
		(*w.handler.Load()).ServeHTTP(out, q)
	}))
	w.Config.ConnState = w.track
	w.EnableHTTP2 = true // the function must not use it
	if scheme == "https" {
		w.StartTLS()
		w.Env = append(w.Env, Trust(t, w.Server))
	} else {
		w.Start()
	}
	t.Cleanup(func() {
		w.CloseClientConnections()
		w.Close()
	})
	return w
}

func (w *WeChat) track(c net.Conn, state http.ConnState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch state {
	case http.StateNew:
		w.Opened.Add(1)
	case http.StateIdle:
		w.idle[c] = true
	case http.StateActive, http.StateClosed, http.StateHijacked:
		delete(w.idle, c)
	}
}

// Raise starts a [Rig] whose function calls w. It sets the function's variables,
// each as NAME=value.
func (w *WeChat) Raise(t testing.TB, variables ...string) *Rig {
	t.Helper()
	return w.RaiseWith(t, func(c *stage.Config) { c.Env = variables })
}

// RaiseWith is like [WeChat.Raise], with an edit of the stage's configuration.
func (w *WeChat) RaiseWith(t testing.TB, edit func(*stage.Config)) *Rig {
	t.Helper()
	r := Raise(t, func(c *stage.Config) {
		edit(c)
		c.WeChatURL, c.Env = w.URL, append(w.Env, c.Env...)
	})
	w.Serve(r.WeChat)
	return r
}

// Serve sets the handler for all later requests.
func (w *WeChat) Serve(handler http.Handler) { w.handler.Store(&handler) }

// EndIdle ends the idle connections, with a reset or an orderly close. It returns
// how many there were.
func (w *WeChat) EndIdle(reset bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.idle {
		if reset {
			raw := c
			if encrypted, ok := c.(*tls.Conn); ok {
				raw = encrypted.NetConn()
			}
			_ = raw.(*net.TCPConn).SetLinger(0)
			_ = raw.Close()
		}
		_ = c.Close()
	}
	n := len(w.idle)
	clear(w.idle)
	return n
}

// Trust returns the variable that makes the function trust s and no other server,
// as NAME=value.
func Trust(t testing.TB, s *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return "SSL_CERT_FILE=" + file
}
