package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// Everything that the network and its users may do to the function. Each part
// raises the compiled function, and every rig checks each line and each answer
// for what is marked in the catalogue: secrets, session keys, codes, openids,
// phone numbers and payloads.
func TestNothingBreaksItAndNothingLeaksFromIt(t *testing.T) {
	t.Run("1000 first requests", testManyFirstRequests) // alone: the two seconds for the secret are no test's to share
	t.Run("WeChat misbehaving", func(t *testing.T) {
		t.Parallel()
		t.Run("errcodes", testRefusals)
		t.Run("errcodes to the token", testTokenRefusals)
		t.Run("errcodes to a phone code", testPhoneRefusals)
		t.Run("errcodes to sealed data", testCheckRefusals)
		t.Run("answers", testAnswers)
		t.Run("answers to the token", testTokenAnswers)
		t.Run("answers to a phone code", testPhoneAnswers)
		t.Run("answers to sealed data", testCheckAnswers)
		t.Run("surplus", testSurplus)
		t.Run("resets before the request", testResetBeforeTheRequest)
		t.Run("certificates", testCertificates)
	})
	t.Run("frozen", testFreeze)
	t.Run("frozen within a fetch", testFreezeWithinAFetch)
	t.Run("the token's end", testTokenExpiry)
	t.Run("64 rejected at once", testManyRejectedAtOnce)
	t.Run("Secrets Manager misbehaving", func(t *testing.T) {
		t.Parallel()
		t.Run("at start", testReadingsAtStart)
		t.Run("at refresh", testReadingsAtRefresh)
		t.Run("rotation under load", testRotationUnderLoad)
	})
	t.Run("callers misbehaving", func(t *testing.T) {
		t.Parallel()
		t.Run("requests", testRequests)
		t.Run("events", testEvents)
		t.Run("undecryptable data", testOneAnswerToAllThatDoesNotOpen)
	})
	t.Run("64 at once", testManyAtOnce)
	t.Run("panics", testPanics)
}

func testRefusals(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, answer := range hostile.Refusals() {
		got := r.Post(r.TapScripted(rig.NewUser(), answer.Serve))
		r.Want(answer.Name, got, answer.Want)
		wantRefused(t, r, answer, got, "jscode2session")
		r.WantPhone("after "+answer.Name, r.NewTap())
	}
}

func testAnswers(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	r := rig.Raise(t, func(c *stage.Config) {
		c.Env, c.Concurrency = []string{"WECHAT_TIMEOUT=" + shortTime.String()}, 4
	})
	sideBySide(4, len(hostile.Answers(rig.NewUser(), other.URL)), func(i int) {
		user := rig.NewUser()
		answer := hostile.Answers(user, other.URL)[i]
		tap := r.TapScripted(user, answer.Serve)
		wantInTime(t, r, answer, func() rig.Answer { return r.Post(tap) })
		if seen := r.WeChat.Seen(tap.Code); seen != 1 {
			t.Errorf("%s: WeChat saw the code %d times", answer.Name, seen)
		}
		r.WantPhone("after "+answer.Name, r.NewTap())
	})
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
	if peak, ok := r.Memory("VmHWM"); !ok {
		t.Log("without /proc, the function's memory is not measured")
	} else if peak > 100<<20 { // 20 MB, and thrice that under the race detector; without bounds, all that loopback carries
		t.Errorf("the function took %d MB of memory", peak>>20)
	}
}

func testSurplus(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			w := rig.NewWeChat(t, scheme)
			r := w.Raise(t)
			for i := range hostile.Surplus(rig.NewUser(), rig.NewUser()) {
				user := rig.NewUser()
				answer := hostile.Surplus(user, rig.NewUser())[i]
				r.WantPhone(answer.Name, r.TapScripted(user, answer.Serve))
				// Surplus that comes while a request is under way cannot be told
				// from its answer. What comes before must not become one.
				time.Sleep(40 * time.Millisecond)
				for range 2 {
					r.WantPhone("after "+answer.Name, r.NewTap())
				}
			}
		})
	}
}

func testResetBeforeTheRequest(t *testing.T) {
	t.Parallel()
	// The connection that was opened ahead is reset; the next one works.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	resetting := &resetFirst{Listener: listener, done: make(chan bool)}
	var handler atomic.Pointer[wechattest.Server]
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { handler.Load().ServeHTTP(w, q) })}
	defer func() { _ = server.Close() }()
	go func() { _ = server.Serve(resetting) }()
	r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL = "http://" + listener.Addr().String() })
	handler.Store(r.WeChat)
	<-resetting.done
	time.Sleep(10 * time.Millisecond) // for the packet
	tap := r.NewTap()
	r.WantPhone("a connection opened ahead that was reset", tap)
	if seen := r.WeChat.Seen(tap.Code); seen != 1 {
		t.Errorf("WeChat saw the code %d times", seen)
	}

	// A handshake that is reset: nothing of the request was written.
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = broken.Close() }()
	go func() {
		for {
			c, err := broken.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1))
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	}()
	r = rig.Raise(t, func(c *stage.Config) { c.WeChatURL = "https://" + broken.Addr().String() })
	r.WantFailure("a handshake that is reset", r.Post(r.NewTap()), "unavailable", 503, "retry")
}

// resetFirst resets the first connection once it is there.
type resetFirst struct {
	net.Listener
	once sync.Once
	done chan bool
}

func (l *resetFirst) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.once.Do(func() {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		close(l.done)
		c, err = l.Listener.Accept()
	})
	return c, err
}

func testCertificates(t *testing.T) {
	t.Parallel()
	authority, authorityKey := certificate(t, nil, nil, nil)
	roots := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	if err := os.WriteFile(roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		edit   func(*x509.Certificate)
		self   bool
		protos []string
		trust  bool
	}{
		{"a good one", nil, false, []string{"http/1.1"}, true},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, false, nil, false},
		{"not yet valid", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, false, nil, false},
		{"another name", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"api.weixin.qq.com"} }, false, nil, false},
		{"self-signed", nil, true, nil, false},
		{"a server that offers HTTP/2", nil, false, []string{"h2", "http/1.1"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			signer, signerKey := authority, authorityKey
			if tt.self {
				signer, signerKey = nil, nil
			}
			leaf, key := certificate(t, tt.edit, signer, signerKey)
			var handler atomic.Pointer[wechattest.Server]
			var proto atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				proto.Store(int32(q.ProtoMajor))
				handler.Load().ServeHTTP(w, q)
			}))
			server.Config.ErrorLog = discarded
			server.EnableHTTP2 = true
			server.TLS = &tls.Config{NextProtos: tt.protos, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}}
			server.StartTLS()
			defer server.Close()
			r := rig.Raise(t, func(c *stage.Config) {
				c.WeChatURL, c.Env = server.URL, []string{"SSL_CERT_FILE=" + roots, "SSL_CERT_DIR=/nonexistent"}
			})
			handler.Store(r.WeChat)
			tap := r.NewTap()
			if tt.trust {
				r.WantPhone(tt.name, tap)
				if proto.Load() != 1 {
					t.Errorf("spoke HTTP/%d", proto.Load())
				}
				return
			}
			r.WantFailure(tt.name, r.Post(tap), "unavailable", 503, "retry")
			if r.WeChat.Seen(tap.Code) != 0 {
				t.Error("the code was sent to a server of nobody's")
			}
		})
	}
}

// discarded is for servers whose clients are meant to fail.
var discarded = log.New(io.Discard, "", 0)

// certificate makes one for 127.0.0.1, signed by a signer or by itself.
func certificate(t *testing.T, edit func(*x509.Certificate), signer *x509.Certificate, signerKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "made up"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: signer == nil,
	}
	if edit != nil {
		edit(c)
	}
	if signer == nil {
		signer, signerKey = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, signer, key.Public(), signerKey)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return c, key
}

// Lambda freezes the process between two requests; WeChat ends its idle
// connections meanwhile. The next request must not be written into one, and the
// event is there before the process has noticed anything.
func testFreeze(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		for _, end := range []string{"FIN", "RST"} {
			for _, procs := range []string{"1", "2"} {
				t.Run(scheme+" "+end+" GOMAXPROCS="+procs, func(t *testing.T) {
					t.Parallel()
					w := rig.NewWeChat(t, scheme)
					r := w.Raise(t, "GOMAXPROCS="+procs)
					r.WantPhoneByCode("before", r.TapPhone(rig.NewUser()))
					for i := range 100 {
						r.Freeze(func() {
							rig.WaitFor(t, "WeChat has ended a connection", func() bool { return w.EndIdle(end == "RST") > 0 })
							time.Sleep(5 * time.Millisecond)
						}, i%2 == 0)
					}
				})
			}
		}
	}
}

// restoreSecret makes Secrets Manager give the stage's secret again.
func restoreSecret(r *rig.Rig) {
	r.SetReading(hostile.Reading{Text: stage.Secret(stage.AppID, stage.AppSecret)})
}

func testReadingsAtStart(t *testing.T) {
	t.Parallel()
	for _, reading := range hostile.Readings() {
		t.Run(reading.Name, func(t *testing.T) {
			t.Parallel()
			r := rig.Raise(t, func(c *stage.Config) { c.Secret = "canary" })
			r.SetReading(reading)
			tap := r.NewTap()
			began := time.Now()
			r.Want("the first request", r.Post(tap), reading.Want)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("the first request took %v", took)
			}
			before, failed := r.Secrets.Calls(), time.Now()
			for range 20 {
				r.Want("another", r.Post(tap), reading.Want)
			}
			if calls := r.Secrets.Calls() - before; calls != 0 {
				if time.Since(failed) < time.Second {
					t.Errorf("%d more readings within a second of the failure", calls)
				}
				failed = time.Now() // on a busy machine the 20 take longer, and it has failed again
			}
			if r.WeChat.Seen(tap.Code) != 0 {
				t.Error("WeChat was asked without credentials")
			}
			restoreSecret(r)
			time.Sleep(time.Until(failed.Add(1100 * time.Millisecond)))
			r.WantPhone("a second after it was mended", tap)
		})
	}
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		r := rig.Raise(t, func(c *stage.Config) { c.Secret = "canary" })
		restoreSecret(r)
		r.Secrets.Fail(hostile.Slowly(time.Second, unfaulted{r}))
		r.WantPhone("the first request", r.NewTap())
	})
}

// unfaulted serves a call of Secrets Manager as if there were no fault.
type unfaulted struct{ *rig.Rig }

func (u unfaulted) ServeHTTP(w http.ResponseWriter, r *http.Request) { u.Secrets.Answer(w, r) }

func testReadingsAtRefresh(t *testing.T) {
	t.Parallel()
	for _, reading := range hostile.Readings() {
		t.Run(reading.Name, func(t *testing.T) {
			t.Parallel()
			r := rig.Raise(t, nil)
			r.WeChat.SetSecret("canary of a rotated secret")
			r.SetReading(reading)
			tap := r.NewTap()
			r.Want("the first rejection", r.Post(tap), reading.Want)
			calls := r.Secrets.Calls()
			for range 5 {
				r.Want("another within 30 s", r.Post(tap), reading.Want)
			}
			if more := r.Secrets.Calls() - calls; more != 0 {
				t.Errorf("%d more readings within 30 s", more)
			}
			// The old credentials are kept, and work again when WeChat takes them.
			r.WeChat.SetSecret(stage.AppSecret)
			r.WantPhone("the old secret again", tap)
		})
	}
}

func testManyFirstRequests(t *testing.T) {
	const many = 1000
	r := rig.Raise(t, func(c *stage.Config) {
		c.Secret, c.Concurrency, c.Env = "canary", many, []string{"WECHAT_TIMEOUT=9s"}
	})
	restoreSecret(r)
	r.Secrets.Fail(hostile.Slowly(500*time.Millisecond, unfaulted{r}))
	before := r.Secrets.Calls()
	var all sync.WaitGroup
	for range many {
		tap := r.NewTap()
		all.Go(func() { r.WantPhone("a first request", tap) })
	}
	all.Wait()
	if calls := r.Secrets.Calls() - before; calls != 1 {
		t.Errorf("%d readings of the secret", calls)
	}
}

func testRotationUnderLoad(t *testing.T) {
	t.Parallel()
	const rotated = "canary of a rotated secret"
	r := rig.Raise(t, func(c *stage.Config) { c.Concurrency = 16 })
	var all sync.WaitGroup
	var done atomic.Int32
	stop := make(chan bool)
	for range 16 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.WantPhone("a request during a rotation", r.NewTap())
					done.Add(1)
				}
			}
		})
	}
	rig.WaitFor(t, "there is load", func() bool { return done.Load() > 200 })
	r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, rotated))
	r.WeChat.SetSecret(rotated)
	before := done.Load()
	rig.WaitFor(t, "there was load", func() bool { return done.Load() > before+500 })
	close(stop)
	all.Wait()
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings of the secret", calls)
	}
}

// Here the secret cannot be read: whatever is told all the same was told
// before anybody was asked.
func testRequests(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Secret = "canary" })
	tap := r.NewTap()
	for _, request := range hostile.Requests(tap) {
		got := r.Send(request.Method, request.Path, request.ContentType, request.Body)
		if request.Method == http.MethodHead {
			if got.Status != request.Want.Status {
				t.Errorf("%s: %d", request.Name, got.Status)
			}
			continue
		}
		r.Want(request.Name, got, request.Want)
		if !strings.Contains(got.Message, request.Names) {
			t.Errorf("%s: the message does not name %q: %s", request.Name, request.Names, got.Message)
		}
		for header := range got.Header {
			if strings.Contains(header, "Injected") {
				t.Errorf("%s: a header was injected", request.Name)
			}
		}
	}
	if calls := r.Secrets.Calls(); calls != 1 {
		t.Errorf("Secrets Manager was asked %d times, want once at start", calls)
	}
	if r.WeChat.Seen(tap.Code) != 0 {
		t.Error("WeChat was asked")
	}
	good := hostile.JSON(tap)
	sixteen := good + strings.Repeat(" ", 16<<10-len(good))
	r.WantFailure("exactly 16 KiB, without a secret", r.Send("POST", "/phone", "", sixteen), "misconfigured", 500, "none")
}

func testEvents(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, event := range hostile.Events() {
		r.WantFailure(event.Name, r.Invoke(event.JSON), "invalid_request", 400, "fix")
	}
	r.WantPhone("after all", r.NewTap())
}

func testOneAnswerToAllThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	user := rig.NewUser()
	var first string
	for name, tap := range hostile.Undecryptable(user, rig.NewUser(), time.Now()) {
		got := r.Post(r.Grant(user, tap))
		r.WantFailure(name, got, "undecryptable", 422, "login")
		header := got.Header.Clone()
		header.Del("Date")
		header.Del("X-Request-Id")
		header.Del("Apigw-Requestid") // the gateway's own
		text := strings.Replace(got.Body, got.RequestID, "", 1) + fmt.Sprint(header)
		if first == "" {
			first = text
		}
		if text != first {
			t.Errorf("%s: answered %s, others %s", name, text, first)
		}
		if r.Logs.Request(t, got).Reason == "" {
			t.Errorf("%s: the log does not say why", name)
		}
	}
}

func testManyAtOnce(t *testing.T) {
	t.Parallel()
	const many = 64
	r := rig.Raise(t, func(c *stage.Config) { c.Concurrency, c.Env = many, []string{"WECHAT_TIMEOUT=9s"} })
	var all sync.WaitGroup
	arrived, release := make(chan bool, many), make(chan bool)
	for range many {
		user := rig.NewUser()
		tap := r.TapScripted(user, func(w http.ResponseWriter, q *http.Request) {
			arrived <- true
			<-release
			wechattest.Accept(user)(w, q)
		})
		all.Go(func() { r.WantPhone("one of 64", tap) })
	}
	for range many {
		select {
		case <-arrived:
		case <-time.After(8 * time.Second):
			t.Fatal("the requests do not run side by side")
		}
	}
	close(release)
	all.Wait()

	// Then many more, every third of them hostile.
	bad := hostile.Requests(r.NewTap())
	for i := range many {
		all.Go(func() {
			for j := range 20 {
				switch (i + j) % 6 {
				case 1, 4:
					r.WantPhone("one of many", r.NewTap())
					continue
				case 2, 5:
					r.WantPhoneByCode("one of many", r.TapBoth(rig.NewUser()))
					continue
				}
				request := bad[(20*i+j)%len(bad)]
				if request.Method != http.MethodHead && len(request.Body) < 1<<20 {
					r.Want(request.Name, r.Send(request.Method, request.Path, request.ContentType, request.Body), request.Want)
				}
			}
		})
	}
	all.Wait()
}
