package wechat

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wechat-phone/shared/opendata"
	"wechat-phone/shared/redacted"
)

// These tests cover the calls that have a body. wechat_test.go tests everything that
// all calls share, with Code2Session.

const (
	tokenText = "canary-token&="
	phoneText = `{"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":86,` +
		`"watermark":{"timestamp":1700000000,"appid":"wx0123456789abcdef"}}`
	goodPhone = `{"errcode":0,"errmsg":"ok","phone_info":` + phoneText + `}`
	goodToken = `{"access_token":"` + tokenText + `","expires_in":7200}`
)

var accessToken = AccessToken{redacted.New(tokenText), app.AppID}

// sealed is the example from WeChat's page on checkencryptedmsg. sealedHash is its
// hash.
var sealed = func() opendata.Sealed {
	const example = "hsSuSUsePBqSQw2rYMtf9Nvha603xX8f2BMQBcYRoJiMNwOqt/UEhrqekebG5ar0LFNAm5MD4Uz6zorRwiXJwbyS" +
		"J/FEJHav4NsobBIU1PwdjbJWVQLFy7+YFkHB32OnQXWMh6ugW7Dyk2KS5BXp1f5lniKPp1KNLyNLlFlNZ2mgJCJmWvHj5AI7BLpW" +
		"woRvqRyZvVXo+9FsWqvBdxmAPA=="
	s, err := opendata.Parse(example, base64.StdEncoding.EncodeToString(make([]byte, 16)))
	if err != nil {
		panic(err)
	}
	return s
}()

const sealedHash = "657edd868c9715a9bebe42b833269a557a48498785397a796f1568c29a200b2c"

// calls has a function for each API whose requests have a body. The function calls
// the API and returns the result as text.
var calls = map[API]func(context.Context, *Client) (string, error){
	TokenAPI: func(ctx context.Context, c *Client) (string, error) {
		token, life, err := c.StableToken(ctx, app)
		return fmt.Sprint(token.Reveal(), " ", token.AppID, " ", life), err
	},
	PhoneAPI: func(ctx context.Context, c *Client) (string, error) {
		phone, _, err := c.PhoneNumber(ctx, accessToken, "canary-phone-code", "")
		return fmt.Sprint(phone), err
	},
	SealedDataAPI: func(ctx context.Context, c *Client) (string, error) {
		return "", c.CheckEncryptedMsg(ctx, accessToken, sealed)
	},
}

// callAPI calls an API. It checks that an error names the API and holds nothing of
// the request.
func callAPI(t *testing.T, api API, c *Client, timeout time.Duration) (string, *Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	got, err := calls[api](ctx, c)
	if err == nil {
		return got, nil
	}
	failure, ok := errors.AsType[*Error](err)
	if !ok || failure.API != api || !strings.Contains(err.Error(), string(api)) {
		t.Fatalf("%s: got %v, want an *Error that names the API", api, err)
	}
	for _, leak := range []string{"canary", "wx0123", "http", "127.0.0.1", "cgi-bin", "1358000", sealedHash} {
		if strings.Contains(fmt.Sprintf("%+v %#v %v", *failure, *failure, err), leak) {
			t.Errorf("got %v, want an error without %q", err, leak)
		}
	}
	return got, failure
}

func TestCallsAreExactlyWhatWeChatDocuments(t *testing.T) {
	getPhone := func(openID string) func(*Client) error {
		return func(c *Client) error {
			_, _, err := c.PhoneNumber(t.Context(), accessToken, "code_1", openID)
			return err
		}
	}
	for _, tt := range []struct {
		name   string
		call   func(*Client) error
		answer string
		target string
		body   string
	}{
		{"stable_token", func(c *Client) error { _, _, err := c.StableToken(t.Context(), app); return err },
			goodToken, "/cgi-bin/stable_token",
			`{"grant_type":"client_credential","appid":"wx0123456789abcdef","secret":"canary-secret&=","force_refresh":false}`},
		{"getuserphonenumber", getPhone(""),
			goodPhone, "/wxa/business/getuserphonenumber?access_token=canary-token%26%3D",
			`{"code":"code_1"}`},
		{"getuserphonenumber with openid", getPhone("o<1>"),
			goodPhone, "/wxa/business/getuserphonenumber?access_token=canary-token%26%3D",
			`{"code":"code_1","openid":"o<1>"}`},
		{"checkencryptedmsg", func(c *Client) error { return c.CheckEncryptedMsg(t.Context(), accessToken, sealed) },
			`{"vaild":true}`, "/wxa/business/checkencryptedmsg?access_token=canary-token%26%3D",
			`{"encrypted_msg_hash":"` + sealedHash + `"}`},
	} {
		text, host := sentBy(t, tt.answer, func(c *Client) {
			if err := tt.call(c); err != nil {
				t.Errorf("%s: got %v, want no error", tt.name, err)
			}
		})
		want := "POST /proxy" + tt.target + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: wechat-phone\r\n" +
			fmt.Sprintf("Content-Length: %d\r\n", len(tt.body)) +
			"Accept: application/json\r\nContent-Type: application/json\r\n\r\n" + tt.body
		if text != want {
			t.Errorf("%s: got the request\n%q\nwant\n%q", tt.name, text, want)
		}
	}
}

// with returns goodPhone with one change.
func with(from, to string) string {
	if !strings.Contains(goodPhone, from) {
		panic("no " + from + " in the answer")
	}
	return strings.Replace(goodPhone, from, to, 1)
}

var (
	noToken       = Error{Kind: Malformed, Reason: "no token"}
	noVerdict     = Error{Kind: Malformed, Reason: "no verdict"}
	malformedJSON = Error{Kind: Malformed, Reason: "not JSON"}
)

var callTests = []struct {
	api    API
	name   string
	answer string
	want   string // the result, after a success
	error  Error  // without its API
}{
	{TokenAPI, "a token", goodToken, tokenText + " wx0123456789abcdef 2h0m0s", Error{}},
	{TokenAPI, "errcode 0", `{"errcode":0,"access_token":"t","expires_in":300,"more":[]}`,
		"t wx0123456789abcdef 5m0s", Error{}},
	{TokenAPI, "an endless life", `{"access_token":"t","expires_in":9223372036854775807}`,
		"t wx0123456789abcdef 2h0m0s", Error{}},
	{TokenAPI, "no life", `{"access_token":"canary","expires_in":0}`, "", noToken},
	{TokenAPI, "a negative life", `{"access_token":"canary","expires_in":-7200}`, "", noToken},
	{TokenAPI, "a life as text", `{"access_token":"canary","expires_in":"7200"}`, "", malformedJSON},
	{TokenAPI, "no token", `{"expires_in":7200}`, "", noToken},
	{TokenAPI, "null", `null`, "", noToken},
	{TokenAPI, "HTML", `<html>canary`, "", malformedJSON},
	{TokenAPI, "a refusal", `{"errcode":40164,"errmsg":"invalid ip 192.0.2.1, rid: 635d0e49-1d10d2a8-0c6c7c7d"}`, "",
		Error{Kind: Refused, ErrCode: 40164, RID: "635d0e49-1d10d2a8-0c6c7c7d"}},
	{TokenAPI, "a refusal with a token", `{"errcode":1,"access_token":"canary","expires_in":7200}`, "",
		Error{Kind: Refused, ErrCode: 1}},

	{PhoneAPI, "a phone number", goodPhone, "{13580006666 13580006666 86}", Error{}},
	{PhoneAPI, "the country code as a string", with(`86`, `"86"`), "{13580006666 13580006666 86}", Error{}},
	{PhoneAPI, "abroad", `{"phone_info":{"phoneNumber":"+85291234567","purePhoneNumber":"91234567",` +
		`"countryCode":"852","watermark":{"appid":"wx0123456789abcdef"}}}`,
		"{+85291234567 91234567 852}", Error{}},
	{PhoneAPI, "another mini-program's", with(`"wx0123456789abcdef"`, `"canary"`), "",
		Error{Kind: Malformed, Reason: "watermark_foreign"}},
	{PhoneAPI, "no watermark", with(`"watermark"`, `"mark"`), "",
		Error{Kind: Malformed, Reason: "watermark_missing"}},
	{PhoneAPI, "inconsistent, but paid for", with(`"13580006666"`, `"13580006667"`),
		"{13580006667 13580006666 86}", Error{}},
	{PhoneAPI, "no country code", with(`"countryCode":86,`, ``), "{13580006666 13580006666 }", Error{}},
	{PhoneAPI, "no phone number",
		`{"errcode":0,"errmsg":"ok","phone_info":{"watermark":{"appid":"wx0123456789abcdef"}}}`, "",
		Error{Kind: Malformed, Reason: "phone_missing"}},
	{PhoneAPI, "errcode 0 alone", `{"errcode":0,"errmsg":"ok"}`, "",
		Error{Kind: Malformed, Reason: "watermark_missing"}},
	{PhoneAPI, "wrong types", with(`"13580006666"`, `13580006666`), "", malformedJSON},
	{PhoneAPI, "a refusal",
		`{"errcode":40029,"errmsg":"invalid code hint: [canary] rid: 635d0e49-1d10d2a8-0c6c7c7d"}`, "",
		Error{Kind: Refused, ErrCode: 40029, RID: "635d0e49-1d10d2a8-0c6c7c7d"}},
	{PhoneAPI, "a refusal with a phone number", `{"errcode":40029,"phone_info":` + phoneText + `}`, "",
		Error{Kind: Refused, ErrCode: 40029}},

	{SealedDataAPI, "known", `{"errcode":0,"errmsg":"ok","vaild":true,"create_time":1629121902}`, "", Error{}},
	{SealedDataAPI, "unknown", `{"errcode":0,"errmsg":"ok","vaild":false}`, "", Error{Kind: Disowned, Reason: "the data"}},
	{SealedDataAPI, "unknown, as an errcode",
		`{"errcode":1,"errmsg":"data not exist, rid: 635d0e49-1d10d2a8-0c6c7c7d","vaild":true}`, "",
		Error{Kind: Disowned, Reason: "the data", ErrCode: 1, RID: "635d0e49-1d10d2a8-0c6c7c7d"}},
	{SealedDataAPI, "no verdict", `{"errcode":0,"errmsg":"ok"}`, "", noVerdict},
	{SealedDataAPI, "a null verdict", `{"vaild":null}`, "", noVerdict},
	{SealedDataAPI, "a verdict with the right spelling", `{"valid":true}`, "", noVerdict},
	{SealedDataAPI, "a verdict as text", `{"vaild":"true"}`, "", malformedJSON},
	{SealedDataAPI, "a refusal", `{"errcode":40097,"vaild":true}`, "", Error{Kind: Refused, ErrCode: 40097}},
}

func TestOtherAnswersAreClassified(t *testing.T) {
	var answer string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, answer)
	}))
	defer s.Close()
	c := newClient(t, s.URL)
	for _, tt := range callTests {
		answer = tt.answer
		got, failure := callAPI(t, tt.api, c, 5*time.Second)
		if tt.error == (Error{}) {
			if failure != nil || got != tt.want {
				t.Errorf("%s, %s: got %q, %v, want %q", tt.api, tt.name, got, failure, tt.want)
			}
			continue
		}
		tt.error.API = tt.api
		if failure == nil || *failure != tt.error {
			t.Errorf("%s, %s: got %v, want %v", tt.api, tt.name, failure, &tt.error)
			continue
		}
		if want := strings.HasPrefix(tt.name, "unknown"); Disowns(failure) != want {
			t.Errorf("%s, %s: Disowns = %v, want %v", tt.api, tt.name, !want, want)
		}
		if strings.Contains(got, "canary") || strings.Contains(got, "1358") {
			t.Errorf("%s, %s: got %s with a failure, want no result", tt.api, tt.name, got)
		}
	}
}

// goodAnswers are successes.
var goodAnswers = map[API]string{
	LoginAPI: goodAnswer, TokenAPI: goodToken, PhoneAPI: goodPhone, SealedDataAPI: `{"vaild":true}`,
}

// Each try has the whole body and its length.
func TestBusyCallIsRetriedWithItsWholeBody(t *testing.T) {
	for api := range calls {
		var bodies []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			bodies = append(bodies, string(body))
			if r.ContentLength != int64(len(body)) || len(body) == 0 {
				t.Errorf("%s: got Content-Length %d for %d bytes, want the body's length", api, r.ContentLength, len(body))
			}
			if len(bodies) < 3 {
				_, _ = io.WriteString(w, `{"errcode":-1,"errmsg":"system error"}`)
				return
			}
			_, _ = io.WriteString(w, goodAnswers[api])
		}))
		_, failure := callAPI(t, api, newClient(t, s.URL), 5*time.Second)
		if failure != nil || len(bodies) != 3 || bodies[0] != bodies[2] {
			t.Errorf("%s: got %v after the bodies %q, want a success after 3 equal ones", api, failure, bodies)
		}
		s.Close()
	}
}

func TestPhoneCodeIsSentOnceWhenTheServerReadsItAndHangsUp(t *testing.T) {
	const code = "canary-phone-code"
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		want  Kind
	}{
		"hanging up":     {func(net.Conn) {}, Lost},
		"half an answer": {write(reply(goodPhone)[:90]), Lost},
		"silence":        {stall, TimedOut},
		"412":            {write("HTTP/1.1 412 Precondition Failed\r\n\r\n"), Malformed},
	} {
		for _, first := range []string{"on a new connection", "on a kept connection"} {
			w := newWire(t, func(c net.Conn, _ int, next func() string) {
				for sent := next(); sent != ""; sent = next() {
					if sent == code {
						tt.serve(c)
						return
					}
					_, _ = io.WriteString(c, reply(goodAnswer))
				}
			})
			c := newClient(t, w.url)
			if first == "on a kept connection" {
				if _, failure := exchange(t, c, "before", time.Minute); failure != nil {
					t.Fatal(failure)
				}
			}
			_, failure := callAPI(t, PhoneAPI, c, limit(tt.want))
			if failure == nil || failure.Kind != tt.want {
				t.Errorf("%s, %s: got %v, want %s", name, first, failure, tt.want)
			}
			if times, _ := w.count(code); times != 1 {
				t.Errorf("%s, %s: the code was sent %d times, want once", name, first, times)
			}
		}
	}
}

// strays are answers that may belong to another request. Each is another API's, not
// WeChat's, or a refusal, which looks the same from every API.
var strays = map[API][]string{
	LoginAPI: {
		reply(goodPhone), reply(goodToken), reply(`{"vaild":true}`), reply(`{"openid":"o1"}`), reply(`{}`),
		reply(`<html>`), reply(`{"errcode":40029,"errmsg":"invalid code"}`),
		"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
	},
	TokenAPI: {
		reply(goodPhone), reply(goodAnswer), reply(`{"vaild":true}`), reply(`{}`), reply(`{"errcode":40164}`),
	},
	PhoneAPI: {
		reply(goodAnswer), reply(goodToken), reply(`{"vaild":true}`), reply(`{}`), reply(`{"errcode":40001}`),
		reply(with(app.AppID, "wxfedcba9876543210")),
	},
	SealedDataAPI: {
		reply(goodPhone), reply(goodAnswer), reply(goodToken), reply(`{}`), reply(`{"errcode":1}`),
		reply(`{"vaild":false}`),
	},
}

// A broken proxy sends one answer too many. From then on, each request on that
// connection gets its predecessor's answer. Here, the next user would get the
// session of "first".
func TestConnectionIsKeptOnlyAfterASuccess(t *testing.T) {
	for api, good := range goodAnswers {
		for _, stray := range strays[api] {
			if openID, conns := loginAfter(t, api, stray); openID != "openid-of-second" || conns < 2 {
				t.Errorf("%s, after %q: got %s over %d connections in all, want openid-of-second over another",
					api, stray, openID, conns)
			}
		}
		if _, conns := loginAfter(t, api, reply(good)); conns != 1 {
			t.Errorf("%s, after a success: got %d connections, want 1", api, conns)
		}
	}
}

// loginAfter calls api, whose answer is first, and then logs in. It returns the
// login's openid and how many connections were opened.
func loginAfter(t *testing.T, api API, first string) (openID string, conns int) {
	t.Helper()
	w := newWire(t, func(c net.Conn, n int, next func() string) {
		if n == 0 {
			next()
			_, _ = io.WriteString(c, first)
			next()
			_, _ = io.WriteString(c, reply(sessionOf("first")))
			return
		}
		_, _ = io.WriteString(c, reply(sessionOf(next())))
	})
	c := newClient(t, w.url)
	if api == LoginAPI {
		_, _ = exchange(t, c, "canary-code", 5*time.Second)
	} else {
		_, _ = callAPI(t, api, c, 5*time.Second)
	}
	session, failure := exchange(t, c, "second", 5*time.Second)
	if failure != nil {
		t.Errorf("%s, after %q: got %v, want a session", api, first, failure)
	}
	_, conns = w.count("")
	return session.OpenID, conns
}

func TestRejectionsOfCredentialsAndTokensAreDistinguished(t *testing.T) {
	for _, tt := range []struct {
		api                API
		errcode            int
		credentials, token bool
	}{
		{LoginAPI, 40013, true, false}, {LoginAPI, 40125, true, false}, {LoginAPI, 40029, false, false},
		{TokenAPI, 40013, true, false}, {TokenAPI, 40125, true, false}, {TokenAPI, 40001, true, false},
		{TokenAPI, 42001, false, false},
		{PhoneAPI, 40001, false, true}, {PhoneAPI, 40014, false, true}, {PhoneAPI, 42001, false, true},
		{PhoneAPI, 40029, false, false}, {PhoneAPI, 40013, false, false},
		{SealedDataAPI, 42001, false, true}, {SealedDataAPI, 1, false, false},
	} {
		err := fmt.Errorf("wrapped: %w", &Error{API: tt.api, Kind: Refused, ErrCode: tt.errcode})
		if RejectsCredentials(err) != tt.credentials || RejectsToken(err) != tt.token {
			t.Errorf("%v: got RejectsCredentials %v, RejectsToken %v, want %v, %v",
				err, RejectsCredentials(err), RejectsToken(err), tt.credentials, tt.token)
		}
	}
	for _, err := range []error{nil, io.EOF} {
		if RejectsCredentials(err) || RejectsToken(err) || Disowns(err) {
			t.Errorf("%v: got a rejection, want none", err)
		}
	}
}

func TestTokenIsNeverPrinted(t *testing.T) {
	type holder struct{ token AccessToken }
	kept := token{AccessToken: accessToken}
	var out bytes.Buffer
	for _, v := range []any{
		accessToken, &accessToken, kept, &kept,
		holder{accessToken}, []AccessToken{accessToken}, map[string]token{"k": kept},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("line", "token", v)
		text, _ := json.Marshal(v)
		out.Write(text)
	}
	for _, leak := range []string{"canary", fmt.Sprintf("%x", "canary"), fmt.Sprintf("%d", []byte("canary"))[1:20]} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("got %s, want no token in it", out.String())
		}
	}
	if got := fmt.Sprintf("%+v", accessToken); got != "[redacted]" {
		t.Errorf("got %s, want [redacted]", got)
	}
}
