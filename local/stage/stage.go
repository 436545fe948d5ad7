// Package stage runs the phone function's real bootstrap on one machine, with
// mock servers in place of WeChat, Secrets Manager, Lambda and the HTTP API. Call
// [Raise] to start it.
package stage

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"wechat-phone/local/lambdatest"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/wechattest"
)

// The mini-programs and the secret that the mock servers know. They are made up.
const (
	AppID       = "wx0000000000000000"
	SecondAppID = "wx2222222222222222" // if [Config.Several]
	BrokenAppID = "wx3333333333333333" // its app secret is wrong
	AppSecret   = "0123456789abcdef0123456789abcdef"
	SecretName  = "wechat-phone"

	SigningSecretName = "wechat-phone-signing"
)

// Routes are the deployed gateway's routes.
var Routes = []string{
	"POST /phone", "POST /login", "GET /.well-known/openid-configuration", "GET /.well-known/jwks.json",
}

// Config configures a [Stage]. Bootstrap is required. Without a host and a port,
// the stage listens on free ports of 127.0.0.1.
type Config struct {
	Bootstrap   string        // path of the function's executable
	Host        string        // address to listen on; 127.0.0.1 if empty
	Port        int           // the gateway's port; WeChat gets the next one, Secrets Manager the one after
	Routes      []string      // see [lambdatest.Gateway]
	Env         []string      // additional variables for the function, as NAME=value
	Timeout     time.Duration // see [lambdatest.Config]
	Concurrency int           // see [lambdatest.Config]
	Logs        io.Writer     // receives the function's output
	Several     bool          // serve three mini-programs; the third is broken
	Tokens      bool          // make signing keys and issue identity tokens; the issuer is the gateway's URL

	// Wrap, if not nil, replaces the handler of a mock server: "gateway", "secrets",
	// "wechat" (which the function calls) or "phone" (which the page calls).
	Wrap func(server string, handler http.Handler) http.Handler

	WeChatURL string // URL of another WeChat; the mock if empty
	Secret    string // text of the secret; made up if empty
}

// Stage is a running stage. Get one from [Raise].
type Stage struct {
	WeChat   *wechattest.Server
	Secrets  *secretstest.Server
	Function *lambdatest.Function

	URL        string // of the gateway
	WeChatURL  string // of the mock WeChat, for the page
	SecretsURL string // of the mock Secrets Manager
	PageURL    string // of local/browser's page; empty if there is none

	servers  []*http.Server
	upstream connections // from the function to the mock WeChat
	faults   faults
}

// Bootstrap returns the path of the function's executable for this machine. If
// the variable BOOTSTRAP names one, as in make test, it returns that. Otherwise it
// compiles the function into dir.
func Bootstrap(dir string) (string, error) {
	if ready := os.Getenv("BOOTSTRAP"); ready != "" {
		return ready, nil
	}
	bootstrap := filepath.Join(dir, "bootstrap")
	return bootstrap, Build("wechat-phone/functions/phone", bootstrap)
}

// Build compiles a command of this module for this machine. Like the Makefile, it
// ignores the shell's Go settings and any go.work in a parent folder.
func Build(command, executable string) error {
	build := exec.Command("go", "build", "-o", executable, command)
	build.Env = append(os.Environ(),
		"GOFLAGS=-buildvcs=false", "GOWORK=off", "GO111MODULE=on", "GOEXPERIMENT=", "CGO_ENABLED=0",
		"GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH, "GOAMD64=v1", "GOARM64=v8.0", "GOFIPS140=off",
	)
	build.Stderr = os.Stderr
	return build.Run()
}

// Raise starts a stage. Call [Stage.Close] to stop it.
func Raise(config Config) (*Stage, error) {
	if config.Host == "" {
		config.Host = "127.0.0.1"
	}
	s := &Stage{
		WeChat:  wechattest.New(AppID, AppSecret, time.Now),
		Secrets: &secretstest.Server{},
	}
	s.WeChat.Know(EventCode, eventUser)
	s.WeChat.KnowPhone(PhoneEventCode, eventUser)
	s.WeChat.Script(UsedEventCode, wechattest.Refuse(40163, "code been used"))
	if config.Several {
		s.WeChat.AddApp(SecondAppID, AppSecret)
		s.WeChat.AddApp(BrokenAppID, AppSecret+"-reset")
	}

	listeners, err := listen(config.Host, config.Port)
	if err != nil {
		return nil, err
	}
	s.URL = urlOf(listeners[0])
	if config.Wrap == nil {
		config.Wrap = func(_ string, handler http.Handler) http.Handler { return handler }
	}
	s.WeChatURL = s.serve(listeners[1], config.Wrap("phone", s.WeChat), nil)
	s.SecretsURL = s.serve(listeners[2], config.Wrap("secrets", s.Secrets), nil)
	if config.WeChatURL == "" {
		own, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		config.WeChatURL = s.serve(own, config.Wrap("wechat", s.WeChat), s.upstream.track)
	}
	s.Function, err = lambdatest.Start(lambdatest.Config{
		Bootstrap: config.Bootstrap, Timeout: config.Timeout, Concurrency: config.Concurrency, Logs: config.Logs,
		Env: append(s.variables(config), config.Env...),
	})
	if err != nil {
		_ = listeners[0].Close()
		s.Close()
		return nil, fmt.Errorf("the function did not start: %w", err)
	}
	gateway := &lambdatest.Gateway{Invoke: s.Function.Invoke, Routes: config.Routes}
	s.serve(listeners[0], config.Wrap("gateway", gateway), nil)
	return s, nil
}

// variables puts the secrets into the mock Secrets Manager and returns the
// function's variables, each as NAME=value.
func (s *Stage) variables(config Config) []string {
	switch {
	case config.Several:
		config.Secret = Secrets(map[string]string{AppID: AppSecret, SecondAppID: AppSecret, BrokenAppID: AppSecret})
	case config.Secret == "":
		config.Secret = Secret(AppID, AppSecret)
	}
	variables := []string{
		"WECHAT_SECRET_ID=" + s.Secrets.Put(SecretName, config.Secret),
		"WECHAT_API_BASE_URL=" + config.WeChatURL,
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + s.SecretsURL,
	}
	if config.Tokens {
		variables = append(variables,
			"TOKEN_ISSUER="+s.URL, "SIGNING_SECRET_ID="+s.Secrets.Put(SigningSecretName, signingKeys()))
	}
	return variables
}

// Secrets returns the text of a secret that holds several mini-programs.
func Secrets(apps map[string]string) string {
	text, _ := json.Marshal(apps, json.Deterministic(true))
	return string(text)
}

// Secret returns the text of a secret in the form that the function reads.
func Secret(appID, appSecret string) string {
	text, _ := json.Marshal(map[string]string{"appid": appID, "secret": appSecret}, json.Deterministic(true))
	return string(text)
}

// listen listens on port and the two after it, or on three free ports if port is 0.
func listen(host string, port int) (listeners [3]net.Listener, err error) {
	for i := range listeners {
		next := port
		if port != 0 {
			next += i
		}
		listeners[i], err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(next)))
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("port %d is taken; another make start may be running", next)
		}
		if err != nil {
			for _, listener := range listeners[:i] {
				_ = listener.Close()
			}
			return listeners, err
		}
	}
	return listeners, nil
}

// serve starts a server on listener and returns its URL on this machine. track may be nil.
func (s *Stage) serve(listener net.Listener, handler http.Handler, track func(net.Conn, http.ConnState)) string {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ConnState: track}
	s.servers = append(s.servers, server)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	return urlOf(listener)
}

// urlOf returns a listener's URL on this machine.
func urlOf(listener net.Listener) string {
	address := *listener.Addr().(*net.TCPAddr)
	if address.IP.IsUnspecified() {
		address.IP = net.IPv4(127, 0, 0, 1)
	}
	return "http://" + address.String()
}

// Close stops everything that [Raise] started.
func (s *Stage) Close() {
	for _, server := range s.servers {
		_ = server.Close()
	}
	if s.Function != nil {
		s.Function.Close()
	}
}
