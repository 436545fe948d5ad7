package rig

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"wechat-phone/local/hostile"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// Answer is the gateway's answer to a request or the function's answer to an event.
type Answer struct {
	Status int         `json:"-"`
	Header http.Header `json:"-"`
	Body   string      `json:"-"`

	Error     string `json:"error"`
	Message   string `json:"message"`
	Action    string `json:"action"`
	RequestID string `json:"requestId"`
	Phone     string `json:"phoneNumber"`
	E164      string `json:"e164"`
	OpenID    string `json:"openid"`
	Token     string `json:"token"`
	ExpiresIn int    `json:"expiresIn"`
	Renewed   *bool  `json:"renewed"`
	Reason    string `json:"reason"`
}

// allowed matches the fields of a successful answer that hold the user's data, and a
// public key's modulus, which looks like sealed data.
var allowed = regexp.MustCompile(`"(phoneNumber|purePhoneNumber|countryCode|e164|openid|unionid|token|n)":"[^"]*"`)

// read parses an answer and checks it for leaks.
func (r *Rig) read(status int, header http.Header, body string) Answer {
	a := Answer{Status: status, Header: header, Body: body}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		r.t.Errorf("got an answer of status %d that is not JSON: %v", status, err)
	}
	text := fmt.Sprint(header) + body
	if status == http.StatusOK {
		text = allowed.ReplaceAllString(text, "")
	}
	if leak := hostile.Leak(text); leak != "" {
		r.t.Errorf("got an answer of status %d that holds %q, want it without", status, leak)
	}
	return a
}

// Send sends a request to the gateway and returns the answer. If contentType is
// empty, the request has none. Send does not escape path.
func (r *Rig) Send(method, path, contentType, body string) Answer {
	r.t.Helper()
	request, err := http.NewRequest(method, r.URL+"/", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.URL.Path, request.URL.Opaque = "", r.URL[len("http:"):]+path
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		r.t.Error(err)
		return Answer{}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Error(err)
	}
	if method == http.MethodHead { // the answer has no body
		return Answer{Status: response.StatusCode, Header: response.Header}
	}
	return r.read(response.StatusCode, response.Header, string(text))
}

// Post posts sealed data and a login code. A successful answer must hold the data
// of the user who logged in.
func (r *Rig) Post(tap wechattest.Tap) Answer {
	r.t.Helper()
	return r.postFor(tap.Code, tap, true)
}

// PostPhone is like [Rig.Post], with a phone code in place of sealed data.
func (r *Rig) PostPhone(tap wechattest.PhoneTap) Answer {
	r.t.Helper()
	return r.postFor(tap.PhoneCode, tap, tap.Code != "")
}

// postFor posts tap. A successful answer must hold the data of code's owner, and an
// openid only if loggedIn.
func (r *Rig) postFor(code string, tap any, loggedIn bool) Answer {
	r.t.Helper()
	got := r.Send("POST", "/phone", "application/json", hostile.JSON(tap))
	r.mu.Lock()
	owner := r.owners[code]
	r.mu.Unlock()
	openID := ""
	if loggedIn {
		openID = owner.OpenID
	}
	e164 := "+" + owner.CountryCode + owner.PurePhone
	if got.Status == http.StatusOK && (got.Phone != owner.Phone || got.E164 != e164 || got.OpenID != openID) {
		r.t.Errorf("got %s, want the data of %s", got.Body, owner.OpenID)
	}
	r.wantOwnToken(got, owner)
	return got
}

// PostLogin posts a login code to /login, and an earlier token if it is not empty. A
// successful answer must hold the data of the user who logged in.
func (r *Rig) PostLogin(code, token string) Answer {
	r.t.Helper()
	got := r.Send("POST", "/login", "application/json", hostile.JSON(wechattest.PageLogin{Code: code, Token: token}))
	r.mu.Lock()
	owner := r.owners[code]
	r.mu.Unlock()
	if got.Status == http.StatusOK && (got.OpenID != owner.OpenID || got.Phone != "") {
		r.t.Errorf("got %s, want the openid of %s and no number", got.Body, owner.OpenID)
	}
	r.wantOwnToken(got, owner)
	return got
}

// Claims returns a token's claims.
func Claims(t testing.TB, token string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("got a token of %d parts, want 3", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal("got a token whose claims are not JSON")
	}
	return claims
}

// wantOwnToken checks that the answer has no token of anybody but owner.
func (r *Rig) wantOwnToken(got Answer, owner wechattest.User) {
	r.t.Helper()
	if got.Token == "" {
		return
	}
	claims := Claims(r.t, got.Token)
	appID := cmp.Or(owner.AppID, stage.AppID)
	number, hasPhone := claims["phone_number"]
	if claims["sub"] != owner.OpenID || claims["aud"] != appID || claims["client_id"] != appID ||
		hasPhone && number != "+"+owner.CountryCode+owner.PurePhone {
		r.t.Errorf("got a token of another user, want one of %s", owner.OpenID)
	}
}

// Invoke sends an event to the function, bypassing the gateway.
func (r *Rig) Invoke(event string) Answer {
	r.t.Helper()
	text, err := r.Function.Invoke(context.Background(), []byte(event))
	if err != nil {
		r.t.Errorf("invoking the function: got error %v, want an answer", err)
		return Answer{}
	}
	var answer struct {
		StatusCode      int               `json:"statusCode"`
		Headers         map[string]string `json:"headers"`
		Body            string            `json:"body"`
		IsBase64Encoded bool              `json:"isBase64Encoded"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.IsBase64Encoded {
		r.t.Errorf("got %s, error %v, want an HTTP answer with a plain body", text, err)
	}
	header := http.Header{}
	for name, value := range answer.Headers {
		header.Set(name, value)
	}
	return r.read(answer.StatusCode, header, answer.Body)
}
