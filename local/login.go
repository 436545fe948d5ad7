package main

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"time"

	"wechat-phone/local/authorizer"
	"wechat-phone/local/stage"
)

// demo plays a mini-program, its user and its backend, and prints each step.
type demo struct {
	stage   *stage.Stage
	gateway http.Handler      // in front of the backend: a stand-in for API Gateway's JWT authorizer
	claims  map[string]string // that the backend got last
	steps   int
}

// answer has the fields of the function's answers that the demo uses.
type answer struct {
	PhoneNumber string `json:"phoneNumber"`
	E164        string `json:"e164"`
	Token       string `json:"token"`
	Renewed     bool   `json:"renewed"`
}

// logIn logs a user in, once with sealed data and once with a phone code, checks the
// token, and logs the user in again without a tap.
func logIn(ctx context.Context, s *stage.Stage) error {
	d := &demo{stage: s}
	var err error
	d.gateway, err = authorizer.Create(authorizer.Config{
		Issuer: s.URL, Audience: []string{stage.AppID}, Scopes: []string{"phone"}, Now: time.Now,
		Transport: http.DefaultTransport,
		Consumer:  http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { d.claims = authorizer.Claims(r) }),
	})
	if err != nil {
		return err
	}
	if _, err := d.tap(ctx, "", "a login code and the sealed phone number"); err != nil {
		return err
	}
	first, err := d.tap(ctx, "&shape=phone-code", "a login code and, as in newer versions of WeChat, a phone code")
	if err != nil {
		return err
	}
	d.say("The page sends the token to its backend. A gateway in front of it fetches the keys that",
		s.URL+"/.well-known/openid-configuration names, and checks",
		"the signature, issuer, audience, times and scope. The backend gets the claims:")
	if err := d.check(ctx, first.Token, first.E164); err != nil {
		return err
	}
	again, err := d.comeBack(ctx, first.Token)
	if err != nil {
		return err
	}
	d.say("The gateway checks the new token in the same way. The backend gets:")
	return d.check(ctx, again.Token, first.E164)
}

// say prints the beginning of a step.
func (d *demo) say(parts ...any) {
	d.steps++
	fmt.Printf("%d. %s", d.steps, fmt.Sprintln(parts...))
}

// tap plays the user's tap. query and gives say in what shape the page gets the number.
func (d *demo) tap(ctx context.Context, query, gives string) (answer, error) {
	d.say("The page calls wx.login(); the user taps the getPhoneNumber button. The page now has", gives+":")
	data, err := d.page(ctx, "/tap?user=demo"+query)
	if err != nil {
		return answer{}, err
	}
	d.say("The page posts them to", d.stage.URL+"/phone and gets:")
	a, err := d.post(ctx, "/phone", data)
	if err == nil && a.PhoneNumber == "" {
		err = errors.New("got an answer without a phone number")
	}
	if err != nil {
		return answer{}, err
	}
	d.say("The user's phone number is", a.PhoneNumber)
	fmt.Println()
	return a, nil
}

// check plays the backend that gets a token from the page.
func (d *demo) check(ctx context.Context, token, phone string) error {
	d.claims = nil
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	d.gateway.ServeHTTP(w, r)
	if d.claims == nil {
		return fmt.Errorf("the gateway refuses the token: %s", w.Header().Get("WWW-Authenticate"))
	}
	if got := d.claims["phone_number"]; got != phone {
		return fmt.Errorf("the token has the phone number %q, want %q", got, phone)
	}
	text, err := json.Marshal(d.claims, json.Deterministic(true))
	show(text)
	return err
}

// comeBack plays the same user's next visit.
func (d *demo) comeBack(ctx context.Context, token string) (answer, error) {
	d.say("On the next visit the page calls wx.login() and needs no tap. It has a new login code and the token:")
	data, err := d.page(ctx, "/login?user=demo&token="+url.QueryEscape(token))
	if err != nil {
		return answer{}, err
	}
	d.say("The page posts them to", d.stage.URL+"/login and gets a new token with the same phone number:")
	a, err := d.post(ctx, "/login", data)
	if err == nil && !a.Renewed {
		err = errors.New("the token was not renewed")
	}
	return a, err
}

// page returns what the mock WeChat gives the page, and prints it.
func (d *demo) page(ctx context.Context, target string) ([]byte, error) {
	data, status, err := call(ctx, http.MethodGet, d.stage.WeChatURL+target, nil)
	if err != nil {
		return nil, err
	}
	show(data)
	if status != http.StatusOK {
		return nil, fmt.Errorf("got status %d from the mock WeChat", status)
	}
	return data, nil
}

// post posts what the page has, and prints the answer.
func (d *demo) post(ctx context.Context, path string, data []byte) (a answer, err error) {
	text, status, err := call(ctx, http.MethodPost, d.stage.URL+path, data)
	if err != nil {
		return a, err
	}
	show(text)
	if status != http.StatusOK {
		return a, fmt.Errorf("got status %d", status)
	}
	return a, json.Unmarshal(text, &a)
}

func call(ctx context.Context, method, url string, body []byte) (answer []byte, status int, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(response.Body)
	return answer, response.StatusCode, err
}

// tokens matches a token in JSON: its first 20 characters, and the rest.
var tokens = regexp.MustCompile(`"(eyJ[\w-]{17})[\w-]*\.[\w.-]*"`)

// show prints JSON, indented and followed by an empty line. It cuts tokens off: they are
// long, and this output may end up in a log.
func show(text []byte) {
	value := jsontext.Value(bytes.Clone(text))
	if value.Indent(jsontext.WithIndentPrefix("   ")) == nil {
		text = value
	}
	fmt.Printf("   %s\n\n", strings.TrimSpace(string(tokens.ReplaceAll(text, []byte(`"$1…"`)))))
}
