package sendonce

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Go's server sends Go's client no session tickets. OpenSSL's sends two after
// the handshake of TLS 1.3, and WeChat's may. A connection opened ahead must
// survive them.
func TestConnectionOpenedAheadToOpenSSLServesTheFirstRequest(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	for flag, opened := range map[string]state{"-tls1_2": silent, "-tls1_3": spoken} {
		t.Run(flag, func(t *testing.T) {
			s, c := newOpenSSL(t, flag)
			connect(t, c)
			waitUntil(t, c, opened) // with the tickets
			for _, name := range []string{"first", "second"} {
				wantOwn(t, c, name)
			}
			if _, conns := s.count(""); conns != 1 {
				t.Errorf("%d connections, want 1", conns)
			}
		})
	}
}

// newOpenSSL starts OpenSSL's server behind one that counts connections. It
// answers each request with the name in its path.
func newOpenSSL(t *testing.T, flag string) (*server, *Client) {
	t.Helper()
	certificate, trust := identity(t)
	folder, err := os.MkdirTemp("", "tls") // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket, pair := filepath.Join(folder, "socket"), filepath.Join(folder, "pair.pem")
	if err := os.WriteFile(pair, encode(t, certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl := exec.CommandContext(t.Context(), "openssl", "s_server", flag, "-quiet",
		"-unix", socket, "-cert", pair, "-key", pair)
	in, err := openssl.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := openssl.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := openssl.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = openssl.Wait() })
	go func() { // what the client sent comes out, and what goes in is sent to it
		requests := bufio.NewReader(out)
		for r, err := http.ReadRequest(requests); err == nil; r, err = http.ReadRequest(requests) {
			time.Sleep(3 * maxTickets / 2) // the bound on reading tickets is none on the answer
			_, _ = io.WriteString(in, reply(r.URL.Path[1:]))
		}
	}()
	s := newServer(t, func(c net.Conn, _ int, _ func() string) {
		to, err := net.Dial("unix", socket)
		for ; err != nil && t.Context().Err() == nil; to, err = net.Dial("unix", socket) {
			time.Sleep(time.Millisecond) // until openssl listens
		}
		if err != nil {
			return
		}
		defer func() { _ = to.Close() }()
		go func() { _, _ = io.Copy(c, to) }()
		_, _ = io.Copy(to, c)
	})
	c := newClient(t, strings.Replace(s.url, "http", "https", 1))
	c.secure.RootCAs = trust
	return s, c
}

// encode returns a certificate and its private key as PEM.
func encode(t *testing.T, certificate tls.Certificate) []byte {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
}
