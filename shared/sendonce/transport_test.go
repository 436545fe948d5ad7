package sendonce

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// These tests show why this package exists. If one fails, net/http has changed and
// can perhaps replace the package.

func newClientConn(t *testing.T, address string) http.RoundTripper {
	t.Helper()
	c, err := new(http.Transport).NewClientConn(t.Context(), "http", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newTransport(t *testing.T, _ string) http.RoundTripper {
	t.Helper()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// trip makes one round trip and returns its error.
func trip(t *testing.T, through http.RoundTripper, target string, body io.Reader) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := through.RoundTrip(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return errors.Join(err, answer.Body.Close())
}

func TestTransportResendsAGETWithoutABody(t *testing.T) {
	for name, tt := range map[string]struct {
		through func(*testing.T, string) http.RoundTripper
		body    io.Reader
		want    int
	}{
		"Transport":             {newTransport, nil, 2},
		"Transport with a body": {newTransport, struct{ io.Reader }{strings.NewReader("")}, 1}, // and so no GetBody
		"ClientConn":            {newClientConn, nil, 1},
	} {
		s := newServer(t, func(c net.Conn, _ int, next func() string) {
			for name := next(); name != "" && name != "hangup"; name = next() {
				_, _ = io.WriteString(c, reply(name))
			}
		})
		through := tt.through(t, s.url)
		if err := trip(t, through, s.url+"/before", nil); err != nil {
			t.Fatal(err)
		}
		_ = trip(t, through, s.url+"/hangup", tt.body)
		if times, _ := s.count("hangup"); times != tt.want {
			t.Errorf("%s: sent %d times, want %d", name, times, tt.want)
		}
	}
}

// lockedBuffer is a buffer that is safe for concurrent use.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) contains(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), text)
}

func TestTransportLogsUnsolicitedBytes(t *testing.T) {
	defer log.SetOutput(log.Writer())
	for name, through := range map[string]func(*testing.T, string) http.RoundTripper{
		"Transport": newTransport, "ClientConn": newClientConn,
	} {
		var logged lockedBuffer
		log.SetOutput(&logged)
		surplus := make(chan bool)
		s := newServer(t, func(c net.Conn, _ int, next func() string) {
			_, _ = io.WriteString(c, reply(next()))
			<-surplus
			_, _ = io.WriteString(c, "canary")
			_, _ = io.Copy(io.Discard, c)
		})
		if err := trip(t, through(t, s.url), s.url+"/name", nil); err != nil {
			t.Fatal(err)
		}
		close(surplus)
		waitFor(t, name+" has logged the surplus", func() bool { return logged.contains("canary") })
	}
}

func TestHTTPClientErrorsHoldTheURLButTransportErrorsDoNot(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // so that nothing listens at its address
	target := (&url.URL{Scheme: "http", Host: l.Addr().String(), RawQuery: "canary"}).String()
	if _, err := http.Get(target); err == nil || !strings.Contains(err.Error(), "canary") {
		t.Errorf("http.Client: got %v, want an error with the URL", err)
	}
	if err := trip(t, newTransport(t, ""), target, nil); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("Transport: got %v, want an error without the URL", err)
	}
}
