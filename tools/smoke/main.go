// Command smoke tests a deployment without a user. It checks that the address is
// safe and has only its routes, that the function answers as documented, that its
// secret is right and that it reaches WeChat: only then does WeChat itself refuse a
// made-up login code. If identity tokens are on, it checks that verifiers can use the
// discovery document and the key set.
//
// If the deployment serves several mini-programs, -appid chooses the one to test.
//
// With -connect it connects to another host than the URL's, but still requests the
// URL's host. This tests a custom domain before its DNS moves.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"wechat-phone/shared/appsecret"
)

func main() {
	connect := flag.String("connect", "", "the `host` to connect to: the stack's output DomainTarget")
	appID := flag.String("appid", "", "the `appid` of the mini-program to test; needed if the deployment serves several")
	flag.Parse()
	switch {
	case flag.NArg() != 1, !strings.HasSuffix(flag.Arg(0), phonePath):
		exit("needs one URL, the stack's output PhoneUrl: make smoke URL=https://…/phone")
	case *appID != "" && !appsecret.IsAppID(*appID):
		exit("APPID must be wx and 16 lower-case hexadecimal digits")
	}
	d := newDeployment(flag.Arg(0), *appID, *connect)
	if !d.smoke(context.Background(), os.Stdout) {
		os.Exit(1)
	}
}

// exit reports incorrect usage and ends the process.
func exit(usage string) {
	fmt.Fprintln(os.Stderr, "smoke:", usage)
	os.Exit(2)
}

// newClient returns a client. If connect is not empty, the client connects to that
// host, whatever host a URL has.
func newClient(connect string) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if connect != "" {
		transport.Proxy = nil // a proxy would look up the URL's host
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(connect, port))
		}
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       35 * time.Second, // the gateway answers within 30
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// smoke prints a line for each check, and reports whether all passed.
func (d *deployment) smoke(ctx context.Context, out io.Writer) bool {
	passed := true
	for i, check := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"the address is https, with a valid certificate and TLS 1.2 or later", d.secure},
		{"every other route is the gateway's 404", d.otherRoute},
		{"a malformed request is refused as promised", d.malformed},
		{"WeChat refuses a made-up login code, so the secret is right", d.madeUpCode},
		{"WeChat refuses a made-up phone code, so there is an access token", d.madeUpPhoneCode},
		{"/login refuses a phone code, which would be wasted there", d.loginWithPhoneCode},
		{"WeChat refuses a made-up login code at /login", d.madeUpLogin},
		{"verifiers of identity tokens accept the discovery document", d.discovery},
		{"verifiers of identity tokens accept the key set", d.keySet},
	} {
		verdict, err := "ok  ", check.run(ctx)
		if note, ok := errors.AsType[*note](err); ok {
			verdict = note.verdict
		} else if err != nil {
			verdict, passed = "FAIL", false
		}
		_, _ = fmt.Fprintln(out, verdict, check.name)
		if err != nil {
			_, _ = fmt.Fprintln(out, "     ", err)
		}
		if i == 0 && !passed { // send nothing more to an unsafe address
			return false
		}
	}
	return passed
}

const (
	phonePath = "/phone"
	loginPath = "/login"
)

type deployment struct {
	base   string        // URL of the deployment, without a route
	appID  string        // of the mini-program to test; may be empty
	slow   time.Duration // the longest time that a verifier waits for a document
	client *http.Client
}

// newDeployment returns the deployment that phoneURL belongs to.
func newDeployment(phoneURL, appID, connect string) *deployment {
	return &deployment{strings.TrimSuffix(phoneURL, phonePath), appID, maxWait, newClient(connect)}
}

// answer is an answer of the function, or of the gateway if Error is empty.
type answer struct {
	status    int
	header    http.Header
	Error     string `json:"error"`
	Message   string `json:"message"`
	Action    string `json:"action"`
	RequestID string `json:"requestId"`
}

func (a answer) String() string {
	if a.Error == "" {
		return fmt.Sprintf("status %d, %q, without an error: not the function's answer", a.status, a.Message)
	}
	return fmt.Sprintf("status %d, %s, %q, request %s", a.status, a.Error, a.Message, a.RequestID)
}

// post posts body as JSON to a path. An answer that is not JSON has no Message.
func (d *deployment) post(ctx context.Context, path string, body any) (a answer, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return a, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.base+path, bytes.NewReader(text))
	if err != nil {
		return a, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := d.client.Do(request)
	if err != nil {
		return a, err
	}
	defer func() { _ = response.Body.Close() }()
	_ = json.UnmarshalRead(io.LimitReader(response.Body, 64<<10), &a)
	a.status, a.header = response.StatusCode, response.Header
	return a, nil
}

// note is why a check did not run, what it warns of or what it found. It is not a
// failure.
type note struct{ verdict, text string }

func (n *note) Error() string { return n.text }

// These notes say why a check does not apply.
var (
	errLoopback      = &note{"n/a ", "http, on this machine: there is no TLS to check"}
	errLoginRequired = &note{"n/a ", "RequireLoginCode is on: no phone code reaches WeChat without a real login"}
)

func (d *deployment) secure(ctx context.Context) error {
	target, err := url.Parse(d.base)
	if err != nil {
		return err
	}
	if target.Scheme == "http" && net.ParseIP(target.Hostname()).IsLoopback() {
		return errLoopback
	}
	if target.Scheme != "https" {
		return errors.New("it is not https")
	}
	_, err = d.post(ctx, phonePath, struct{}{}) // Go's client refuses a wrong certificate and older TLS
	return err
}

func (d *deployment) otherRoute(ctx context.Context) error {
	a, err := d.post(ctx, phonePath+"/other", struct{}{})
	switch {
	case err != nil:
		return err
	case a.Error != "":
		return fmt.Errorf("%v: the function answers it, and you pay for that", a)
	case a.status != http.StatusNotFound || a.Message == "":
		return fmt.Errorf("%v", a)
	}
	return nil
}

func (d *deployment) malformed(ctx context.Context) error {
	a, err := d.post(ctx, phonePath, struct{}{})
	if err != nil {
		return err
	}
	if a.Error != "invalid_request" || a.status != http.StatusBadRequest || a.Action != "fix" {
		return explain(a)
	}
	if a.Message == "" || a.RequestID == "" {
		return fmt.Errorf("%v: it needs a message and a request id", a)
	}
	for name, want := range map[string]string{
		"content-type": "application/json; charset=utf-8", "cache-control": "no-store", "x-content-type-options": "nosniff",
	} {
		if got := a.header.Get(name); got != want {
			return fmt.Errorf("the header %s is %q", name, got)
		}
	}
	version := a.header.Get("x-version")
	if version == "" {
		return errors.New("the header x-version is missing: the deployment is older than 1.0.0")
	}
	return &note{"ok  ", "the version is " + version}
}

func (d *deployment) madeUpCode(ctx context.Context) error {
	var sealed [160]byte // the length of a sealed phone number
	_, _ = rand.Read(sealed[:])
	return refusal(d.postCodes(ctx, phonePath, map[string]string{
		"code":          madeUp(),
		"encryptedData": base64.StdEncoding.EncodeToString(sealed[:]),
		"iv":            base64.StdEncoding.EncodeToString(sealed[:16]),
	}))
}

// madeUp returns a code that WeChat never gave anybody.
func madeUp() string { return "smoke-" + rand.Text() }

// postCodes posts body for the mini-program under test.
func (d *deployment) postCodes(ctx context.Context, path string, body map[string]string) (answer, error) {
	if d.appID != "" {
		body["appid"] = d.appID
	}
	return d.post(ctx, path, body)
}

func (d *deployment) madeUpPhoneCode(ctx context.Context) error {
	a, err := d.postCodes(ctx, phonePath, map[string]string{"phoneCode": madeUp()})
	if err == nil && a.Error == "invalid_request" && strings.HasPrefix(a.Message, "code is missing") {
		return errLoginRequired
	}
	return refusal(a, err)
}

// loginWithPhoneCode sends a login code too: if /login ignored the phone code, WeChat
// would refuse the login code.
func (d *deployment) loginWithPhoneCode(ctx context.Context) error {
	a, err := d.postCodes(ctx, loginPath, map[string]string{"code": madeUp(), "phoneCode": madeUp()})
	if err != nil {
		return err
	}
	if a.Error != "invalid_request" || a.status != http.StatusBadRequest || !strings.Contains(a.Message, "phoneCode") {
		return explain(a)
	}
	return nil
}

func (d *deployment) madeUpLogin(ctx context.Context) error {
	return refusal(d.postCodes(ctx, loginPath, map[string]string{"code": madeUp()}))
}

// refusal returns an error unless WeChat refused a code.
func refusal(a answer, err error) error {
	if err != nil {
		return err
	}
	if a.Error != "code_rejected" || a.status != http.StatusBadRequest {
		return explain(a)
	}
	return nil
}

// explain says what an answer means for the operator.
func explain(a answer) error {
	const see = "; this request's log line says which (make logs)"
	meaning := map[string]string{
		"misconfigured": "the secret is missing, unreadable or wrong (make secret), " +
			"the signing secret is, or has no usable key (make key), " +
			"or WeChat refuses the mini-program or the function's address (its IP whitelist)" + see,
		"quota_exhausted":  "the mini-program's daily WeChat quota is used up",
		"unavailable":      "Secrets Manager or WeChat is busy, or the function cannot reach it" + see,
		"upstream_timeout": "WeChat did not answer in time",
		"upstream_error": "the host at WECHAT_API_BASE_URL is not WeChat, " +
			"or it answered with an unknown errcode; see this request's log line (make logs)",
		"rate_limited": "WeChat's per-minute limit is reached; try again in a minute",
		"internal":     "the function has a bug; see this request's log line (make logs)",
	}[a.Error]
	switch {
	case meaning != "":
	case a.Error == "invalid_request" && strings.HasPrefix(a.Message, "appid "):
		meaning = "set APPID to a mini-program that the secret holds (make secret ENV=… FLAGS=-list)"
	case a.Error != "":
		meaning = "the function must not answer this"
	case a.status == http.StatusNotFound:
		meaning = "the URL is not the stack's output PhoneUrl, or the stack is older than this route"
	case a.status == http.StatusTooManyRequests:
		meaning = "the gateway throttles"
	case a.status >= 500:
		meaning = "the function crashed, timed out, was throttled or stopped, " +
			"or was built for another architecture; see its log (make logs)"
	default:
		meaning = "something in front of the function answers"
	}
	return fmt.Errorf("%v: %s", a, meaning)
}
