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

// In each part of this test, the network, WeChat, Secrets Manager or a caller
// misbehaves. Each part runs the compiled function. Every rig searches each answer and
// each log line for the marked values of package hostile: secrets, session keys,
// codes, openids, phone numbers and payloads.
func TestNothingBreaksItAndNothingLeaksFromIt(t *testing.T) {
	t.Run("1000 first requests", testManyFirstRequests) // alone, because reading the secret may take only two seconds
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
		t.Run("connections reset", testConnectionReset)
		t.Run("handshakes reset", testHandshakeReset)
		t.Run("faulty connections", testFaultyConnections)
		t.Run("certificates", testCertificates)
	})
	t.Run("frozen", testFreeze)
	t.Run("frozen during a fetch", testFreezeDuringAFetch)
	t.Run("the token expires", testTokenExpiry)
	t.Run("64 rejected at once", testManyRejectedAtOnce)
	t.Run("Secrets Manager misbehaving", func(t *testing.T) {
		t.Parallel()
		t.Run("at start", testReadingsAtStart)
		t.Run("slow at start", testSlowReadingAtStart)
		t.Run("at refresh", testReadingsAtRefresh)
		t.Run("rotation under load", testRotationUnderLoad)
	})
	t.Run("callers misbehaving", func(t *testing.T) {
		t.Parallel()
		t.Run("requests", testRequests)
		t.Run("events", testEvents)
		t.Run("undecryptable data", testUndecryptableAnswersAreIdentical)
	})
	t.Run("64 at once", testManyAtOnce)
	t.Run("panics", testPanics)
}

// exchanges are the requests that exchange a login code. The rig checks that an answer
// has the data, and the token, of nobody but the user who logged in.
var exchanges = []struct {
	route string
	post  func(*rig.Rig, wechattest.Tap) rig.Answer
}{
	{"/phone", func(r *rig.Rig, tap wechattest.Tap) rig.Answer { return r.Post(tap) }},
	{"/login", func(r *rig.Rig, tap wechattest.Tap) rig.Answer { return r.PostLogin(tap.Code, "") }},
}

func testRefusals(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, withTokens())
	for _, exchange := range exchanges {
		for _, answer := range hostile.Refusals() {
			name := exchange.route + ", " + answer.Name
			got := exchange.post(r, r.TapScripted(rig.NewUser(), answer.Serve))
			r.Want(name, got, answer.Want)
			wantRefused(t, r, answer, got, "jscode2session")
			wantStatus(t, "after "+name, exchange.post(r, r.NewTap()), 200)
		}
	}
}

func testAnswers(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	r := rig.Raise(t, func(c *stage.Config) {
		c.Env, c.Concurrency, c.Tokens = []string{"WECHAT_TIMEOUT=" + shortTime.String()}, 4, true
	})
	inParallel(4, len(exchanges)*len(hostile.Answers(rig.NewUser(), other.URL)), func(i int) {
		user, exchange := rig.NewUser(), exchanges[i%len(exchanges)]
		answer := hostile.Answers(user, other.URL)[i/len(exchanges)]
		answer.Name = exchange.route + ", " + answer.Name
		tap := r.TapScripted(user, answer.Serve)
		wantInTime(t, r, answer, func() rig.Answer { return exchange.post(r, tap) })
		wantSeen(t, r, answer.Name, tap.Code, 1)
		wantStatus(t, "after "+answer.Name, exchange.post(r, r.NewTap()), 200)
	})
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("got %d redirected requests, want none", n)
	}
	// The function needs 20 MB, or 60 MB with the race detector. Without limits it
	// would take everything that endless answers send over loopback.
	if peak, ok := r.Memory("VmHWM"); !ok {
		t.Log("without /proc, the function's memory is not measured")
	} else if peak > 100<<20 {
		t.Errorf("got a peak of %d MB of memory, want at most 100", peak>>20)
	}
}

func testSurplus(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			w := rig.NewWeChat(t, scheme)
			r := w.RaiseWith(t, func(c *stage.Config) { c.Tokens = true })
			for i := range len(exchanges) * len(hostile.Surplus(rig.NewUser(), rig.NewUser())) {
				user, exchange := rig.NewUser(), exchanges[i%len(exchanges)]
				answer := hostile.Surplus(user, rig.NewUser())[i/len(exchanges)]
				name := exchange.route + ", " + answer.Name
				wantStatus(t, name, exchange.post(r, r.TapScripted(user, answer.Serve)), 200)
				// Surplus that arrives during the next request looks like its answer.
				// Surplus that arrives before must not become the answer.
				<-answer.Sent
				for range 2 {
					wantStatus(t, "after "+name, exchange.post(r, r.NewTap()), 200)
				}
			}
		})
	}
}

// WeChat resets the connection that the function opened at start. The next
// connection works.
func testConnectionReset(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	resetting := &resetFirst{Listener: listener, done: make(chan bool)}
	var handler atomic.Pointer[wechattest.Server]
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		handler.Load().ServeHTTP(w, q)
	})}
	defer func() { _ = server.Close() }()
	go func() { _ = server.Serve(resetting) }()
	r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL = "http://" + listener.Addr().String() })
	handler.Store(r.WeChat)
	<-resetting.done
	time.Sleep(10 * time.Millisecond) // until the RST has arrived
	tap := r.NewTap()
	r.WantPhone("after a reset", tap)
	wantSeen(t, r, "after a reset", tap.Code, 1)
}

// WeChat resets every handshake, so the function never writes a request.
func testHandshakeReset(t *testing.T) {
	t.Parallel()
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
	r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL = "https://" + broken.Addr().String() })
	r.WantFailure("a handshake that is reset", r.Post(r.NewTap()), "unavailable", 503, "retry")
}

// resetFirst resets the first connection that it accepts.
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

// certificateTest is a server's certificate and protocols, and whether the function
// must trust it.
type certificateTest struct {
	name   string
	edit   func(*x509.Certificate)
	self   bool // self-signed
	protos []string
	trust  bool
}

func testCertificates(t *testing.T) {
	t.Parallel()
	authority, authorityKey := certificate(t, nil, nil, nil)
	roots := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	if err := os.WriteFile(roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []certificateTest{
		{"a good certificate", nil, false, []string{"http/1.1"}, true},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, false, nil, false},
		{"not yet valid", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, false, nil, false},
		{"another name", func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"api.weixin.qq.com"}
		}, false, nil, false},
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
			testCertificate(t, tt, roots, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key})
		})
	}
}

// testCertificate runs the function, which trusts roots, against a WeChat that has
// this certificate.
func testCertificate(t *testing.T, tt certificateTest, roots string, certificate tls.Certificate) {
	t.Helper()
	var handler atomic.Pointer[wechattest.Server]
	var proto atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		proto.Store(int32(q.ProtoMajor))
		handler.Load().ServeHTTP(w, q)
	}))
	server.Config.ErrorLog = discardLog
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{NextProtos: tt.protos, Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	defer server.Close()
	r := rig.Raise(t, func(c *stage.Config) {
		c.WeChatURL, c.Env = server.URL, []string{"SSL_CERT_FILE=" + roots, "SSL_CERT_DIR=/nonexistent"}
	})
	handler.Store(r.WeChat)
	tap := r.NewTap()
	if tt.trust {
		r.WantPhone(tt.name, tap)
		if got := proto.Load(); got != 1 {
			t.Errorf("got HTTP/%d, want HTTP/1", got)
		}
		return
	}
	r.WantFailure(tt.name, r.Post(tap), "unavailable", 503, "retry")
	wantSeen(t, r, tt.name, tap.Code, 0)
}

// discardLog is for servers whose clients are expected to fail.
var discardLog = log.New(io.Discard, "", 0)

// certificate returns a certificate for 127.0.0.1 and its key. If signer is nil, the
// certificate is self-signed.
func certificate(
	t *testing.T, edit func(*x509.Certificate), signer *x509.Certificate, signerKey *ecdsa.PrivateKey,
) (*x509.Certificate, *ecdsa.PrivateKey) {
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

// Lambda freezes the process between two requests, and WeChat closes its idle
// connections meanwhile. The next event arrives before the process can notice. The
// function must not write its request to a closed connection.
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
					closed := func() bool { return w.EndIdle(end == "RST") > 0 }
					for i := range 100 {
						r.Freeze(func() {
							rig.WaitFor(t, "WeChat has closed a connection", closed)
							time.Sleep(15 * time.Millisecond) // until the kernel has delivered it, on a busy machine too
						}, i%2 == 0)
					}
				})
			}
		}
	}
}

// restoreSecret puts the stage's secret back.
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
				t.Errorf("the first request took %v, want at most 3 s", took)
			}
			before, failed := r.Secrets.Calls(), time.Now()
			for range 20 {
				r.Want("the next requests", r.Post(tap), reading.Want)
			}
			if reads := r.Secrets.Calls() - before; reads != 0 {
				if time.Since(failed) < time.Second {
					t.Errorf("got %d more reads of the secret within a second of the failure, want none", reads)
				}
				failed = time.Now() // on a busy machine the 20 requests take longer than the second
			}
			wantSeen(t, r, "without credentials", tap.Code, 0)
			restoreSecret(r)
			time.Sleep(time.Until(failed.Add(1100 * time.Millisecond)))
			r.WantPhone("a second after the secret was fixed", tap)
		})
	}
}

func testSlowReadingAtStart(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Secret = "canary" })
	restoreSecret(r)
	r.Secrets.Fail(hostile.Slowly(time.Second, healthySecrets{r}))
	r.WantPhone("the first request", r.NewTap())
}

// healthySecrets answers a call to Secrets Manager even while a fault is set.
type healthySecrets struct{ *rig.Rig }

func (u healthySecrets) ServeHTTP(w http.ResponseWriter, r *http.Request) { u.Secrets.Answer(w, r) }

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
			reads := r.Secrets.Calls()
			for range 5 {
				r.Want("another rejection within 30 s", r.Post(tap), reading.Want)
			}
			wantReads(t, r, "within 30 s", reads)
			// The function keeps the old credentials. They work again once WeChat
			// accepts them.
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
	r.Secrets.Fail(hostile.Slowly(500*time.Millisecond, healthySecrets{r}))
	before := r.Secrets.Calls()
	var all sync.WaitGroup
	for range many {
		tap := r.NewTap()
		all.Go(func() { r.WantPhone("a first request", tap) })
	}
	all.Wait()
	wantReads(t, r, "1000 first requests", before+1)
}

func testRotationUnderLoad(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Concurrency = 16 })
	rotateUnderLoad(t, r, func(int) wechattest.Tap { return r.NewTap() }, func() {
		r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, rotatedSecret))
		r.WeChat.SetSecret(rotatedSecret)
	})
}

// rotateUnderLoad calls rotate while 16 goroutines post the taps that newTap makes.
// No request may fail, and the function may reread the secret only once.
func rotateUnderLoad(t *testing.T, r *rig.Rig, newTap func(i int) wechattest.Tap, rotate func()) {
	t.Helper()
	var all sync.WaitGroup
	var done atomic.Int32
	stop := make(chan bool)
	for i := range 16 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					r.WantPhone("a request during a rotation", newTap(i))
					done.Add(1)
				}
			}
		})
	}
	rig.WaitFor(t, "there is load", func() bool { return done.Load() > 200 })
	rotate()
	before := done.Load()
	rig.WaitFor(t, "there is more load", func() bool { return done.Load() > before+500 })
	close(stop)
	all.Wait()
	wantReads(t, r, "start, and one for the rotation", 2)
}

// The secret cannot be read here, so every other failure comes from a check that
// asks neither AWS nor WeChat.
func testRequests(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Secret = "canary" })
	tap := r.NewTap()
	for _, request := range hostile.Requests(tap) {
		got := r.Send(request.Method, request.Path, request.ContentType, request.Body)
		if request.Method == http.MethodHead {
			if got.Status != request.Want.Status {
				t.Errorf("%s: got %d, want %d", request.Name, got.Status, request.Want.Status)
			}
			continue
		}
		r.Want(request.Name, got, request.Want)
		if !strings.Contains(got.Message, request.Names) {
			t.Errorf("%s: got the message %q, want one that names %q", request.Name, got.Message, request.Names)
		}
		for header := range got.Header {
			if strings.Contains(header, "Injected") {
				t.Errorf("%s: got the injected header %s", request.Name, header)
			}
		}
	}
	wantReads(t, r, "bad requests", 1)
	wantSeen(t, r, "bad requests", tap.Code, 0)
	good := hostile.JSON(tap)
	good += strings.Repeat(" ", 16<<10-len(good))
	got := r.Send("POST", "/phone", "", good)
	r.WantFailure("exactly 16 KiB, without a secret", got, "misconfigured", 500, "none")
}

func testEvents(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, event := range hostile.Events() {
		r.WantFailure(event.Name, r.Invoke(event.JSON), "invalid_request", 400, "fix")
	}
	r.WantPhone("after all events", r.NewTap())
}

func testUndecryptableAnswersAreIdentical(t *testing.T) {
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
			t.Errorf("%s: got %s, want the same as for other data, %s", name, text, first)
		}
		if r.Logs.Request(t, got).Reason == "" {
			t.Errorf("%s: got no reason in the log line, want one", name)
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
			t.Fatal("got fewer concurrent requests at WeChat within 8 s, want 64")
		}
	}
	close(release)
	all.Wait()

	// Many more requests follow. Every third is hostile.
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
				q := bad[(20*i+j)%len(bad)]
				if q.Method != http.MethodHead && len(q.Body) < 1<<20 {
					r.Want(q.Name, r.Send(q.Method, q.Path, q.ContentType, q.Body), q.Want)
				}
			}
		})
	}
	all.Wait()
}
