package rig

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"wechat-phone/local/stage"
)

// Issuer is a [Rig] that issues identity tokens. Verifiers demand https, so a server
// with TLS stands in front of it.
type Issuer struct {
	*Rig
	TLS *httptest.Server // its URL is the issuer
}

// RaiseIssuer is like [Raise] for an [Issuer].
func RaiseIssuer(t testing.TB, edit func(*stage.Config)) *Issuer {
	t.Helper()
	var gateway atomic.Pointer[httputil.ReverseProxy]
	i := &Issuer{TLS: httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gateway.Load().ServeHTTP(w, r)
	}))}
	t.Cleanup(i.TLS.Close)
	i.Rig = Raise(t, func(c *stage.Config) {
		c.Routes, c.Tokens, c.Env = stage.Routes, true, []string{"TOKEN_ISSUER=" + i.TLS.URL}
		if edit != nil {
			edit(c)
		}
	})
	to, err := url.Parse(i.URL)
	if err != nil {
		t.Fatal(err)
	}
	gateway.Store(httputil.NewSingleHostReverseProxy(to))
	return i
}
