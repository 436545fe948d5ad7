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
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/hostile"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/panics"
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
	r := raise(t, nil)
	for _, answer := range hostile.Refusals() {
		got := r.post(r.scripted(newUser(), answer.Serve))
		r.want(answer.Name, got, answer.Want)
		r.wantRefused(answer, got, "jscode2session")
		r.wantPhone("after "+answer.Name, r.newTap())
	}
}

func testAnswers(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	r := raise(t, func(c *stage.Config) {
		c.Env, c.Concurrency = []string{"WECHAT_TIMEOUT=" + shortTime.String()}, 4
	})
	r.sideBySide(4, len(hostile.Answers(newUser(), other.URL)), func(i int) {
		user := newUser()
		answer := hostile.Answers(user, other.URL)[i]
		tap := r.scripted(user, answer.Serve)
		r.wantInTime(answer, func() answered { return r.post(tap) })
		if seen := r.WeChat.Seen(tap.Code); seen != 1 {
			t.Errorf("%s: WeChat saw the code %d times", answer.Name, seen)
		}
		r.wantPhone("after "+answer.Name, r.newTap())
	})
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
	if peak, ok := memory(r.Function.PID(), "VmHWM"); !ok {
		t.Log("without /proc, the function's memory is not measured")
	} else if peak > 100<<20 { // 20 MB, and thrice that under the race detector; without bounds, all that loopback carries
		t.Errorf("the function took %d MB of memory", peak>>20)
	}
}

// memory returns a figure of /proc/PID/status, in bytes.
func memory(pid int, name string) (int, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	return kB << 10, err == nil
}

func testSurplus(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			w := newWeChat(t, scheme)
			r := w.raise(t)
			for i := range hostile.Surplus(newUser(), newUser()) {
				user := newUser()
				answer := hostile.Surplus(user, newUser())[i]
				r.wantPhone(answer.Name, r.scripted(user, answer.Serve))
				// Surplus that comes while a request is under way cannot be told
				// from its answer. What comes before must not become one.
				time.Sleep(40 * time.Millisecond)
				for range 2 {
					r.wantPhone("after "+answer.Name, r.newTap())
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
	r := raise(t, func(c *stage.Config) { c.WeChatURL = "http://" + listener.Addr().String() })
	handler.Store(r.WeChat)
	<-resetting.done
	time.Sleep(10 * time.Millisecond) // for the packet
	tap := r.newTap()
	r.wantPhone("a connection opened ahead that was reset", tap)
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
	r = raise(t, func(c *stage.Config) { c.WeChatURL = "https://" + broken.Addr().String() })
	r.wantFailure("a handshake that is reset", r.post(r.newTap()), "unavailable", 503, "retry")
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
	for _, test := range []struct {
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
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			signer, signerKey := authority, authorityKey
			if test.self {
				signer, signerKey = nil, nil
			}
			leaf, key := certificate(t, test.edit, signer, signerKey)
			var handler atomic.Pointer[wechattest.Server]
			var proto atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				proto.Store(int32(q.ProtoMajor))
				handler.Load().ServeHTTP(w, q)
			}))
			server.Config.ErrorLog = discarded
			server.EnableHTTP2 = true
			server.TLS = &tls.Config{NextProtos: test.protos, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}}
			server.StartTLS()
			defer server.Close()
			r := raise(t, func(c *stage.Config) {
				c.WeChatURL, c.Env = server.URL, []string{"SSL_CERT_FILE=" + roots, "SSL_CERT_DIR=/nonexistent"}
			})
			handler.Store(r.WeChat)
			tap := r.newTap()
			if test.trust {
				r.wantPhone(test.name, tap)
				if proto.Load() != 1 {
					t.Errorf("spoke HTTP/%d", proto.Load())
				}
				return
			}
			r.wantFailure(test.name, r.post(tap), "unavailable", 503, "retry")
			if r.WeChat.Seen(tap.Code) != 0 {
				t.Error("the code was sent to a server of nobody's")
			}
		})
	}
}

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

// ownWeChat is a WeChat on a server of its own, whose connections can be ended.
type ownWeChat struct {
	*httptest.Server
	handler atomic.Pointer[http.Handler]
	env     []string
	opened  atomic.Int32 // connections, so far

	mu   sync.Mutex
	idle map[net.Conn]bool
}

func newWeChat(t testing.TB, scheme string) *ownWeChat {
	t.Helper()
	w := &ownWeChat{idle: map[net.Conn]bool{}}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
		(*w.handler.Load()).ServeHTTP(out, q)
	}))
	w.Config.ConnState = func(c net.Conn, state http.ConnState) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch state {
		case http.StateNew:
			w.opened.Add(1)
		case http.StateIdle:
			w.idle[c] = true
		case http.StateActive, http.StateClosed, http.StateHijacked:
			delete(w.idle, c)
		}
	}
	w.EnableHTTP2 = true // offered, and not to be taken
	if scheme == "https" {
		w.StartTLS()
		w.env = append(w.env, trust(t, w.Server))
	} else {
		w.Start()
	}
	t.Cleanup(func() {
		w.CloseClientConnections()
		w.Close()
	})
	return w
}

// raise raises the function with w for its WeChat.
func (w *ownWeChat) raise(t testing.TB, more ...string) *rig {
	t.Helper()
	r := raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = w.URL, append(w.env, more...) })
	w.serve(r.WeChat)
	return r
}

func (w *ownWeChat) serve(handler http.Handler) { w.handler.Store(&handler) }

// endIdle ends the idle connections, and returns how many there were.
func (w *ownWeChat) endIdle(reset bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.idle {
		if reset {
			raw := c
			if secured, ok := c.(*tls.Conn); ok {
				raw = secured.NetConn()
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
					w := newWeChat(t, scheme)
					r := w.raise(t, "GOMAXPROCS="+procs)
					r.wantPhoneByCode("before", r.tapPhone(newUser()))
					for i := range 100 {
						r.freeze(func() {
							waitFor(t, "WeChat has ended a connection", func() bool { return w.endIdle(end == "RST") > 0 })
							time.Sleep(5 * time.Millisecond)
						}, i%2 == 0)
					}
				})
			}
		}
	}
}

// freeze stops the process, does what happens meanwhile, hands the next event to
// it and lets it go on. The request, with a phone code or with sealed data, must
// succeed, and its code be sent once.
func (r *rig) freeze(meanwhile func(), byPhoneCode bool) {
	r.t.Helper()
	if err := r.Function.Signal(syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	meanwhile()
	sealed, phone := r.newTap(), r.tapPhone(newUser())
	code, post := sealed.Code, func() answered { return r.post(sealed) }
	if byPhoneCode {
		code, post = phone.PhoneCode, func() answered { return r.postPhone(phone) }
	}
	answer := make(chan answered)
	go func() { answer <- post() }()
	time.Sleep(5 * time.Millisecond) // until the event waits for the process
	began := time.Now()
	if err := r.Function.Signal(syscall.SIGCONT); err != nil {
		r.t.Fatal(err)
	}
	got := <-answer
	r.want("after a freeze", got, hostile.Want{})
	if seen, took := r.WeChat.Seen(code), time.Since(began); seen != 1 || took > 2*time.Second {
		r.t.Errorf("after a freeze: WeChat saw the code %d times, and the answer took %v", seen, took)
	}
}

// set makes Secrets Manager give a reading.
func (r *rig) set(reading hostile.Reading) {
	if reading.Text != "" {
		r.Secrets.Put(stage.SecretName, reading.Text)
	}
	if reading.Bytes != nil {
		r.Secrets.PutBinary(stage.SecretName, reading.Bytes)
	}
	r.Secrets.Fail(reading.Serve)
}

// mend makes Secrets Manager well again.
func (r *rig) mend() {
	r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, stage.AppSecret))
	r.Secrets.Fail(nil)
}

func testReadingsAtStart(t *testing.T) {
	t.Parallel()
	for _, reading := range hostile.Readings() {
		t.Run(reading.Name, func(t *testing.T) {
			t.Parallel()
			r := raise(t, func(c *stage.Config) { c.Secret = "canary" })
			r.set(reading)
			tap := r.newTap()
			began := time.Now()
			r.want("the first request", r.post(tap), reading.Want)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("the first request took %v", took)
			}
			before, failed := r.Secrets.Calls(), time.Now()
			for range 20 {
				r.want("another", r.post(tap), reading.Want)
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
			r.mend()
			time.Sleep(time.Until(failed.Add(1100 * time.Millisecond)))
			r.wantPhone("a second after it was mended", tap)
		})
	}
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		r := raise(t, func(c *stage.Config) { c.Secret = "canary" })
		r.mend()
		r.Secrets.Fail(hostile.Slowly(time.Second, unfaulted{r}))
		r.wantPhone("the first request", r.newTap())
	})
}

// unfaulted serves a call of Secrets Manager as if there were no fault.
type unfaulted struct{ *rig }

func (u unfaulted) ServeHTTP(w http.ResponseWriter, r *http.Request) { u.Secrets.Answer(w, r) }

func testReadingsAtRefresh(t *testing.T) {
	t.Parallel()
	for _, reading := range hostile.Readings() {
		t.Run(reading.Name, func(t *testing.T) {
			t.Parallel()
			r := raise(t, nil)
			r.WeChat.SetSecret("canary of a rotated secret")
			r.set(reading)
			tap := r.newTap()
			r.want("the first rejection", r.post(tap), reading.Want)
			calls := r.Secrets.Calls()
			for range 5 {
				r.want("another within 30 s", r.post(tap), reading.Want)
			}
			if more := r.Secrets.Calls() - calls; more != 0 {
				t.Errorf("%d more readings within 30 s", more)
			}
			// The old credentials are kept, and work again when WeChat takes them.
			r.WeChat.SetSecret(stage.AppSecret)
			r.wantPhone("the old secret again", tap)
		})
	}
}

func testManyFirstRequests(t *testing.T) {
	const many = 1000
	r := raise(t, func(c *stage.Config) {
		c.Secret, c.Concurrency, c.Env = "canary", many, []string{"WECHAT_TIMEOUT=9s"}
	})
	r.mend()
	r.Secrets.Fail(hostile.Slowly(500*time.Millisecond, unfaulted{r}))
	before := r.Secrets.Calls()
	var all sync.WaitGroup
	for range many {
		tap := r.newTap()
		all.Go(func() { r.wantPhone("a first request", tap) })
	}
	all.Wait()
	if calls := r.Secrets.Calls() - before; calls != 1 {
		t.Errorf("%d readings of the secret", calls)
	}
}

func testRotationUnderLoad(t *testing.T) {
	t.Parallel()
	const rotated = "canary of a rotated secret"
	r := raise(t, func(c *stage.Config) { c.Concurrency = 16 })
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
					r.wantPhone("a request during a rotation", r.newTap())
					done.Add(1)
				}
			}
		})
	}
	waitFor(t, "there is load", func() bool { return done.Load() > 200 })
	r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, rotated))
	r.WeChat.SetSecret(rotated)
	before := done.Load()
	waitFor(t, "there was load", func() bool { return done.Load() > before+500 })
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
	r := raise(t, func(c *stage.Config) { c.Secret = "canary" })
	tap := r.newTap()
	for _, request := range hostile.Requests(tap) {
		got := r.send(request.Method, request.Path, request.ContentType, request.Body)
		if request.Method == http.MethodHead {
			if got.status != request.Want.Status {
				t.Errorf("%s: %d", request.Name, got.status)
			}
			continue
		}
		r.want(request.Name, got, request.Want)
		if !strings.Contains(got.Message, request.Names) {
			t.Errorf("%s: the message does not name %q: %s", request.Name, request.Names, got.Message)
		}
		for header := range got.header {
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
	r.wantFailure("exactly 16 KiB, without a secret", r.send("POST", "/phone", "", sixteen), "misconfigured", 500, "none")
}

func testEvents(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	for _, event := range hostile.Events() {
		r.wantFailure(event.Name, r.invoke(event.JSON), "invalid_request", 400, "fix")
	}
	r.wantPhone("after all", r.newTap())
}

func testOneAnswerToAllThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	user := newUser()
	var first string
	for name, tap := range hostile.Undecryptable(user, newUser(), time.Now()) {
		got := r.post(r.grant(user, tap))
		r.wantFailure(name, got, "undecryptable", 422, "login")
		header := got.header.Clone()
		header.Del("Date")
		header.Del("Apigw-Requestid") // the gateway's own
		text := strings.Replace(got.body, got.RequestID, "", 1) + fmt.Sprint(header)
		if first == "" {
			first = text
		}
		if text != first {
			t.Errorf("%s: answered %s, others %s", name, text, first)
		}
		if r.logs.request(t, got).Reason == "" {
			t.Errorf("%s: the log does not say why", name)
		}
	}
}

func testManyAtOnce(t *testing.T) {
	t.Parallel()
	const many = 64
	r := raise(t, func(c *stage.Config) { c.Concurrency, c.Env = many, []string{"WECHAT_TIMEOUT=9s"} })
	var all sync.WaitGroup
	arrived, release := make(chan bool, many), make(chan bool)
	for range many {
		user := newUser()
		tap := r.scripted(user, func(w http.ResponseWriter, q *http.Request) {
			arrived <- true
			<-release
			wechattest.Accept(user)(w, q)
		})
		all.Go(func() { r.wantPhone("one of 64", tap) })
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
	bad := hostile.Requests(r.newTap())
	for i := range many {
		all.Go(func() {
			for j := range 20 {
				switch (i + j) % 6 {
				case 1, 4:
					r.wantPhone("one of many", r.newTap())
					continue
				case 2, 5:
					r.wantPhoneByCode("one of many", r.tapBoth(newUser()))
					continue
				}
				request := bad[(20*i+j)%len(bad)]
				if request.Method != http.MethodHead && len(request.Body) < 1<<20 {
					r.want(request.Name, r.send(request.Method, request.Path, request.ContentType, request.Body), request.Want)
				}
			}
		})
	}
	all.Wait()
}

func testPanics(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		where, at              string
		sealed, phone, noLogin string // the action for each kind of tap, none where it goes well
	}{
		{"before WeChat is asked", ".panicking", "retry", "retry", "retry"},
		{"for the token", ".panicking", "", "retry", "retry"},
		{"where many wait for the token", "/wechat.", "", "retry", "retry"},
		{"once WeChat is asked", ".panicking", "login", "tap", "tap"},
	} {
		r := raise(t, func(c *stage.Config) { c.Bootstrap, c.Env = os.Args[0], []string{"TEST_PANIC=" + test.where} })
		pid := r.Function.PID()
		for range 2 {
			user := newUser()
			for action, got := range map[*string]answered{
				&test.sealed: r.post(r.tap(user)), &test.phone: r.postPhone(r.tapBoth(user)), &test.noLogin: r.postPhone(r.tapPhone(user)),
			} {
				if *action == "" {
					r.want(test.where, got, hostile.Want{})
					continue
				}
				r.wantFailure(test.where, got, "internal", 500, *action)
				if line := r.logs.request(t, got); !strings.HasPrefix(line.Reason, "panic at wechat-phone/") || !strings.Contains(line.Reason, test.at) {
					t.Errorf("%s: the log does not say where: %q", test.where, line.Reason)
				}
			}
		}
		if r.Function.PID() != pid {
			t.Errorf("%s: the process ended", test.where)
		}
	}
}

// A panic behind the login, in the fetch of another token to verify with, is
// internal too, though all else there is unavailable.
func TestPanicIsInternalWhereverItHappens(t *testing.T) {
	panicked := func() (err error) {
		defer panics.Recover(&err)
		panic(panicText)
	}()
	f := failure.Of(&failure.NoVerdict{Err: panicked})
	if action := f.Action(failure.Progress{LoginCode: failure.Accepted}); f.Kind != failure.Internal || action != failure.Login || !strings.Contains(f.Reason, "TestPanicIsInternal") {
		t.Errorf("%+v, %s", f, action)
	}
}
