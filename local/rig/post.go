package rig

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"wechat-phone/local/hostile"
	"wechat-phone/local/wechattest"
)

// Answer is an HTTP answer, or the function's answer to an event.
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
}

// owned matches the fields of a success that hold the user's own data.
var owned = regexp.MustCompile(`"(phoneNumber|purePhoneNumber|countryCode|e164|openid|unionid)":"[^"]*"`)

// read parses an answer, and checks it for leaks.
func (r *Rig) read(status int, header http.Header, body string) Answer {
	a := Answer{Status: status, Header: header, Body: body}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		r.t.Errorf("the answer is not JSON: %v", err)
	}
	text := fmt.Sprint(header) + body
	if status == http.StatusOK {
		text = owned.ReplaceAllString(text, "")
	}
	if leak := hostile.Leak(text); leak != "" {
		r.t.Errorf("an answer of status %d holds %q", status, leak)
	}
	return a
}

// Send sends a request to the gateway, without a content type if that is empty.
// It does not escape path.
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
	if method == http.MethodHead { // its answer has no body
		return Answer{Status: response.StatusCode, Header: response.Header}
	}
	return r.read(response.StatusCode, response.Header, string(text))
}

// Post posts what the page has after a tap. If a phone number comes back, it must
// be that of the user who logged in.
func (r *Rig) Post(tap wechattest.Tap) Answer {
	r.t.Helper()
	return r.postFor(tap.Code, tap, true)
}

// PostPhone is [Rig.Post] for a phone code.
func (r *Rig) PostPhone(tap wechattest.PhoneTap) Answer {
	r.t.Helper()
	return r.postFor(tap.PhoneCode, tap, tap.Code != "")
}

// postFor posts for the owner of code.
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
		r.t.Errorf("%s came back for %s", got.Body, owner.OpenID)
	}
	return got
}

// Invoke hands an event to the function, without the gateway.
func (r *Rig) Invoke(event string) Answer {
	r.t.Helper()
	text, err := r.Function.Invoke(context.Background(), []byte(event))
	if err != nil {
		r.t.Errorf("the function failed: %v", err)
		return Answer{}
	}
	var answer struct {
		StatusCode      int               `json:"statusCode"`
		Headers         map[string]string `json:"headers"`
		Body            string            `json:"body"`
		IsBase64Encoded bool              `json:"isBase64Encoded"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.IsBase64Encoded {
		r.t.Errorf("the function answered %s, %v", text, err)
	}
	header := http.Header{}
	for name, value := range answer.Headers {
		header.Set(name, value)
	}
	return r.read(answer.StatusCode, header, answer.Body)
}
