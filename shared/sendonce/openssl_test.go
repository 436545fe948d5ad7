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

// Go's server sends Go's client no session tickets. OpenSSL's sends two after the
// handshake of TLS 1.3, and WeChat's may do the same. They must not break a
// connection opened ahead.
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
			s.wantConns(t, "two requests", 1)
		})
	}
}

// newOpenSSL starts OpenSSL's server behind a server that counts connections, and
// returns a client that trusts it.
func newOpenSSL(t *testing.T, flag string) (*server, *Client) {
	t.Helper()
	folder, err := os.MkdirTemp("", "tls") // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	certificate, trust := identity(t)
	socket := filepath.Join(folder, "socket")
	runOpenSSL(t, flag, socket, certificate)
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

// runOpenSSL starts OpenSSL's server at socket. It answers each request with the
// request's name.
func runOpenSSL(t *testing.T, flag, socket string, certificate tls.Certificate) {
	t.Helper()
	pair := socket + ".pem"
	if err := os.WriteFile(pair, encode(t, certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	openssl := exec.CommandContext(t.Context(), "openssl", "s_server", flag, "-quiet", "-unix", socket,
		"-cert", pair, "-key", pair)
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
	go func() { // OpenSSL prints what the client sends, and sends it what it reads
		requests := bufio.NewReader(out)
		for r, err := http.ReadRequest(requests); err == nil; r, err = http.ReadRequest(requests) {
			time.Sleep(3 * maxTickets / 2) // an answer may take longer than maxTickets
			_, _ = io.WriteString(in, reply(r.URL.Path[1:]))
		}
	}()
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
