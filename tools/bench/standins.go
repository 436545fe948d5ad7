package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/lambdatest"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/identity"
)

// bench has the executables and the places that they run in.
type bench struct {
	sides []string // paths: the function, the reference, and the other build if there is one
	short bool

	near       place // over plain HTTP
	fifty      place // the same with fifty mini-programs
	fiftyAway  place // the same, for a WeChat that is a round trip away
	tls        place // over TLS, with Amazon Linux 2023's certificates
	tlsDefault place // the same without the template's SSL_CERT_DIR
	issuing    place // the same as tls, with identity tokens
	away       place // WeChat is a round trip away, over TLS

	event     []byte // sealed data and a login code
	secretARN string
	dir       string // for the certificates
}

// place has the servers that a function runs against, and its environment.
type place struct {
	wechat, secrets *httptest.Server
	env             []string
	logs            io.Writer // discarded if nil
}

func newBench(sides []string, short bool) (*bench, error) {
	user := hostile.User(0)
	wechat, store := wechattest.Accept(user), &secretstest.Server{}
	far := serveFar(wechat)
	b := &bench{
		sides: sides, short: short,
		secretARN: store.Put(stage.SecretName, stage.Secret(stage.AppID, stage.AppSecret)),
		near:      place{wechat: httptest.NewServer(wechat), secrets: httptest.NewServer(store)},
		tls:       place{wechat: httptest.NewTLSServer(wechat), secrets: httptest.NewTLSServer(store)},
	}
	b.away = place{wechat: far, secrets: b.near.secrets}
	b.tlsDefault, b.fifty = b.tls, b.near

	tap := wechattest.New(stage.AppID, stage.AppSecret, time.Now).SealPhone(user)
	tap.Code = hostile.Code(0)
	var err error
	if b.event, err = newPost(tap); err != nil {
		return nil, err
	}
	if b.near.env, err = templateEnvironment("template.yaml"); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "wechat-phone-bench-"); err != nil {
		return nil, err
	}
	bundle, directories, err := writeCertificates(b.dir, far.Certificate())
	b.tls.env = append(slices.Clone(b.near.env), "SSL_CERT_FILE="+bundle)
	// If a variable occurs twice, the last value counts.
	b.tlsDefault.env = append(slices.Clone(b.tls.env), "SSL_CERT_DIR="+directories)
	b.away.env = b.tls.env
	keys, errKeys := identity.New(time.Now())
	b.issuing = b.tls
	b.issuing.env = append(slices.Clone(b.tls.env),
		"TOKEN_ISSUER=https://api.example.com", "SIGNING_SECRET_ID="+store.Put("signing", keys.List.Reveal()))
	secret := "WECHAT_SECRET_ID=" + store.Put("fifty", appSecrets())
	b.fifty.env = append(slices.Clone(b.near.env), secret)
	b.fiftyAway = place{secrets: b.near.secrets, env: append(slices.Clone(b.tls.env), secret, "WECHAT_TIMEOUT=1s")}
	return b, errors.Join(err, errKeys)
}

// newPost returns the gateway's event for what a page posts.
func newPost(tap any) ([]byte, error) {
	body, err := json.Marshal(tap)
	if err != nil {
		return nil, err
	}
	r := httptest.NewRequest(http.MethodPost, "/phone", nil)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "MicroMessenger")
	return newEvent(r, body)
}

func newEvent(r *http.Request, body []byte) ([]byte, error) {
	return json.Marshal(lambdatest.NewEvent(r, body))
}

// templateEnvironment returns the variables to which template.yaml gives constant
// values.
func templateEnvironment(file string) (env []string, _ error) {
	text, err := os.ReadFile(file)
	constant := regexp.MustCompile(`(?m)^ {10}([A-Z_]+): "?([^"!{\s]+)"?$`)
	for _, found := range constant.FindAllSubmatch(text, -1) {
		env = append(env, string(found[1])+"="+string(found[2]))
	}
	return env, err
}

func (b *bench) close() {
	for _, p := range []place{b.near, b.tls, b.away} {
		p.wechat.Close()
		p.secrets.Close()
	}
	_ = os.RemoveAll(b.dir)
}

// deploy starts a function and waits until it requests its first event.
func (b *bench) deploy(bootstrap string, p place, concurrency int) (*lambdatest.Function, error) {
	return lambdatest.Start(lambdatest.Config{
		Bootstrap: bootstrap, Concurrency: concurrency, Logs: cmp.Or(p.logs, io.Discard),
		Env: append([]string{
			"WECHAT_SECRET_ID=" + b.secretARN,
			"WECHAT_API_BASE_URL=" + p.wechat.URL,
			"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + p.secrets.URL,
		}, p.env...),
	})
}

// send sends the bench's event and returns how many ms the answer took.
func (b *bench) send(f *lambdatest.Function) (float64, error) {
	return send(f, b.event, succeeded)
}

// send sends an event and returns how many ms the answer took. The answer must
// contain want.
func send(f *lambdatest.Function, event []byte, want string) (float64, error) {
	began := time.Now()
	answer, err := f.Invoke(context.Background(), event)
	took := time.Since(began)
	if err == nil && !bytes.Contains(answer, []byte(want)) {
		err = fmt.Errorf("the function answered %s, want %s in it", answer, want)
	}
	return ms(took), err
}

// sendMany sends the bench's event n times, one after the other.
func (b *bench) sendMany(f *lambdatest.Function, n int) (sample, error) {
	return sendMany(f, b.event, n)
}

// sendMany sends an event n times, one after the other. Each must succeed.
func sendMany(f *lambdatest.Function, event []byte, n int) (sample, error) {
	times := make(sample, n)
	for i := range times {
		var err error
		if times[i], err = send(f, event, succeeded); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// roundTrip is the time to WeChat and back from another country.
const roundTrip = 50 * time.Millisecond

// serveFar starts a server that is a round trip away, over TLS.
func serveFar(handler http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(handler)
	s.Listener = farListener{s.Listener}
	s.StartTLS()
	return s
}

// farListener has clients a round trip away: whatever the server sends arrives one
// round trip later. So a TLS 1.3 handshake takes a round trip, and an answer takes
// another. The TCP handshake takes none, because the kernel completes it.
type farListener struct{ net.Listener }

func (l farListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return farConn{c}, err
}

type farConn struct{ net.Conn }

func (c farConn) Write(p []byte) (int, error) {
	time.Sleep(roundTrip)
	return c.Conn.Write(p)
}
