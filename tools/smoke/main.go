// Command smoke proves of a deployment what can be proven without a user: that
// its address is safe and its one route open, that it answers as it promises,
// and that its secret is right and WeChat within reach, since only then is a
// made-up login code refused by WeChat.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "smoke: needs one URL, the stack's output PhoneUrl: make smoke URL=https://…/phone")
		os.Exit(2)
	}
	if !smoke(context.Background(), os.Args[1], os.Stdout) {
		os.Exit(1)
	}
}

// smoke prints a line for each check, and reports whether all passed.
func smoke(ctx context.Context, phone string, out io.Writer) bool {
	d := &deployment{phone: phone, client: &http.Client{
		Timeout:       35 * time.Second, // the gateway answers in 30
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	passed := true
	for i, check := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"the address is https, with a valid certificate and TLS 1.2 or later", d.secure}, // else nothing is sent to it
		{"every other route is the gateway's 404", d.otherRoute},
		{"a malformed request is refused as promised", d.malformed},
		{"WeChat refuses a made-up login code, so the secret is right", d.madeUpCode},
		{"WeChat refuses a made-up phone code, so there is an access token", d.madeUpPhoneCode},
	} {
		verdict, why := "ok  ", check.run(ctx)
		switch {
		case errors.Is(why, errLoopback):
			verdict = "n/a "
		case why != nil:
			verdict, passed = "FAIL", false
		}
		_, _ = fmt.Fprintln(out, verdict, check.name)
		if why != nil {
			_, _ = fmt.Fprintln(out, "     ", why)
		}
		if i == 0 && !passed {
			return false
		}
	}
	return passed
}

type deployment struct {
	phone  string // URL
	client *http.Client
}

// answer is an answer of the function's, or the gateway's where Error is empty.
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
		return fmt.Sprintf("status %d, %q, without error: it is not the function's", a.status, a.Message)
	}
	return fmt.Sprintf("status %d, %s, %q, request %s", a.status, a.Error, a.Message, a.RequestID)
}

// post posts body as JSON. An answer that is no JSON comes back without Message.
func (d *deployment) post(ctx context.Context, target string, body any) (a answer, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return a, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(text))
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

var errLoopback = errors.New("http, on this machine: there is no TLS to look at")

func (d *deployment) secure(ctx context.Context) error {
	target, err := url.Parse(d.phone)
	if err != nil {
		return err
	}
	if target.Scheme == "http" && net.ParseIP(target.Hostname()).IsLoopback() {
		return errLoopback
	}
	if target.Scheme != "https" {
		return errors.New("it is not https")
	}
	_, err = d.post(ctx, d.phone, struct{}{}) // Go's client takes no wrong certificate and no older TLS
	return err
}

func (d *deployment) otherRoute(ctx context.Context) error {
	target, err := url.JoinPath(d.phone, "other")
	if err != nil {
		return err
	}
	a, err := d.post(ctx, target, struct{}{})
	switch {
	case err != nil:
		return err
	case a.Error != "":
		return fmt.Errorf("%v: the function itself answers, and is paid for", a)
	case a.status != http.StatusNotFound || a.Message == "":
		return fmt.Errorf("%v", a)
	}
	return nil
}

func (d *deployment) malformed(ctx context.Context) error {
	a, err := d.post(ctx, d.phone, struct{}{})
	if err != nil {
		return err
	}
	if a.Error != "invalid_request" || a.status != http.StatusBadRequest || a.Action != "fix" || a.Message == "" || a.RequestID == "" {
		return explain(a)
	}
	for name, want := range map[string]string{
		"content-type": "application/json; charset=utf-8", "cache-control": "no-store", "x-content-type-options": "nosniff",
	} {
		if got := a.header.Get(name); got != want {
			return fmt.Errorf("the header %s is %q", name, got)
		}
	}
	return nil
}

func (d *deployment) madeUpCode(ctx context.Context) error {
	var sealed [160]byte // as many as a phone number has
	_, _ = rand.Read(sealed[:])
	return d.refused(ctx, map[string]string{
		"code":          "smoke-" + rand.Text(),
		"encryptedData": base64.StdEncoding.EncodeToString(sealed[:]),
		"iv":            base64.StdEncoding.EncodeToString(sealed[:16]),
	})
}

func (d *deployment) madeUpPhoneCode(ctx context.Context) error {
	return d.refused(ctx, map[string]string{"phoneCode": "smoke-" + rand.Text()})
}

func (d *deployment) refused(ctx context.Context, body map[string]string) error {
	a, err := d.post(ctx, d.phone, body)
	if err != nil {
		return err
	}
	if a.Error != "code_rejected" || a.status != http.StatusBadRequest {
		return explain(a)
	}
	return nil
}

// explain says what an answer means for whoever has deployed.
func explain(a answer) error {
	meaning := map[string]string{
		"misconfigured": "the secret is missing, unreadable or wrong (make secret), or WeChat refuses the app or this function's address " +
			"(its IP whitelist); the log line of this request says which (make logs)",
		"unavailable":      "the function cannot reach Secrets Manager or WeChat, or they are busy; the log line of this request says which (make logs)",
		"upstream_timeout": "WeChat did not answer in time",
		"upstream_error":   "what answers at WECHAT_API_BASE_URL is not WeChat, or it answered with an errcode that is not known; see the log line (make logs)",
		"rate_limited":     "WeChat takes no more calls in this minute; try again after it",
		"internal":         "the function has a fault; see the log line (make logs)",
	}[a.Error]
	switch {
	case meaning != "":
	case a.Error != "":
		meaning = "this is not what was asked for"
	case a.status == http.StatusNotFound:
		meaning = "the URL is not the stack's output PhoneUrl"
	case a.status == http.StatusTooManyRequests:
		meaning = "the gateway throttles"
	case a.status >= 500:
		meaning = "the function crashed or ran out of time, or was built for another architecture; see its log (make logs)"
	default:
		meaning = "something before the function answers"
	}
	return fmt.Errorf("%v: %s", a, meaning)
}
