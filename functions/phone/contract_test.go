package main

import (
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wechat-phone/local/secretsmanager"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechat"
)

// These tests hold the function to what its callers may rely on. All of them
// run the compiled function.

func jsonOf(tap wechat.Tap) string {
	text, err := json.Marshal(tap)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func formOf(tap wechat.Tap) string {
	return url.Values{"code": {tap.Code}, "encryptedData": {tap.EncryptedData}, "iv": {tap.IV}}.Encode()
}

func TestPhoneNumberComesBack(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	user := r.WeChat.NewUser()
	want := fmt.Sprintf(`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":"86","openid":%q}`, user.Phone, user.PurePhone, user.OpenID)
	spaced := func(tap wechat.Tap) wechat.Tap {
		tap.EncryptedData = strings.ReplaceAll(tap.EncryptedData, "+", " ")
		tap.IV = strings.ReplaceAll(tap.IV, "+", " ")
		return tap
	}
	bare := func(tap wechat.Tap) wechat.Tap {
		tap.EncryptedData = strings.TrimRight(tap.EncryptedData, "=")
		tap.IV = strings.TrimRight(tap.IV, "=")
		return tap
	}
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		name, contentType string
		body              func(wechat.Tap) string
	}{
		{"JSON", "application/json", jsonOf},
		{"JSON with a charset", "application/json; charset=utf-8", jsonOf},
		{"JSON by another spelling", "Application/JSON ;charset=UTF-8", jsonOf},
		{"JSON without a content type", "", jsonOf},
		{"JSON with white space", "application/json", func(tap wechat.Tap) string { return "\r\n\t " + jsonOf(tap) + " \n" }},
		{"JSON with unknown fields", "application/json", func(tap wechat.Tap) string {
			return strings.Replace(jsonOf(tap), "{", `{"cloudID":null,"Code":7,"errMsg":{"a":[1]},`, 1)
		}},
		{"JSON with spaces for pluses", "application/json", func(tap wechat.Tap) string { return jsonOf(spaced(tap)) }},
		{"JSON without padding", "application/json", func(tap wechat.Tap) string { return jsonOf(bare(tap)) }},
		{"a form", form, formOf},
		{"a form with a charset", form + "; charset=utf-8", formOf},
		{"a form with unknown fields", form, func(tap wechat.Tap) string { return "a=1&" + formOf(tap) + "&b=" }},
		{"a form with raw pluses", form, func(tap wechat.Tap) string {
			return "code=" + tap.Code + "&encryptedData=" + tap.EncryptedData + "&iv=" + tap.IV
		}},
	}
	for _, test := range tests {
		got := r.send("POST", "/phone", test.contentType, test.body(r.tap(user)))
		if got.status != 200 || got.body != want {
			t.Errorf("%s: %d %s", test.name, got.status, got.body)
		}
		r.wantHeaders(test.name, got)
	}

	// JSON that the gateway encoded, and a stage whose name is part of the path.
	for _, path := range []string{"", "prod"} {
		event := map[string]any{
			"version": "2.0", "rawPath": "/phone", "body": base64.StdEncoding.EncodeToString([]byte(jsonOf(r.tap(user)))), "isBase64Encoded": true,
			"requestContext": map[string]any{"stage": "$default", "http": map[string]string{"method": "POST"}},
		}
		if path != "" {
			event["rawPath"] = "/" + path + "/phone"
			event["requestContext"].(map[string]any)["stage"] = path
		}
		text, _ := json.Marshal(event)
		if got := r.invoke(string(text)); got.status != 200 || got.body != want {
			t.Errorf("stage %q: %d %s", path, got.status, got.body)
		}
	}
}

func TestPhoneNumberIsWhatWeChatSealed(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	user := r.WeChat.NewUser()
	user.UnionID = "u-" + user.OpenID
	for _, phone := range []string{
		`"phoneNumber":"+85290000001","purePhoneNumber":"90000001","countryCode":"852"`,
		`"phoneNumber":"85290000001","purePhoneNumber":"90000001","countryCode":852`,
		`"phoneNumber":"13500009999","purePhoneNumber":"13500009999","countryCode":86,"more":[{}]`,
	} {
		tap := wechat.Seal(user.SessionKey, fmt.Appendf(nil, `{%s,"watermark":{"timestamp":%d,"appid":%q}}`, phone, time.Now().Unix(), stage.AppID))
		tap.Code = r.WeChat.Login(user)
		got := r.post(tap)
		fields := strings.Split(phone, `,"more"`)[0]
		for number, text := range map[string]string{`:852`: `:"852"`, `:86`: `:"86"`} {
			fields = strings.Replace(fields, number, text, 1)
		}
		want := fmt.Sprintf(`{%s,"openid":%q,"unionid":%q}`, fields, user.OpenID, user.UnionID)
		if got.status != 200 || got.body != want {
			t.Errorf("%s: %d %s, want %s", phone, got.status, got.body, want)
		}
	}
}

// Here the secret cannot be read: whatever is told all the same was told
// before anybody was asked.
func TestWrongRequestsAreToldBeforeAnybodyIsAsked(t *testing.T) {
	t.Parallel()
	r := raise(t, func(c *stage.Config) { c.Secret = "malformed" })
	tap := r.newTap()
	good := jsonOf(tap)
	edit := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("no %q in the body", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	const jsonType, formType = "application/json", "application/x-www-form-urlencoded"
	tests := []struct {
		name, method, path, contentType, body string
		error                                 string
		status                                int
		names                                 string // what the message names
	}{
		{"another path", "POST", "/", jsonType, good, "not_found", 404, "/phone"},
		{"a longer path", "POST", "/phone/", jsonType, good, "not_found", 404, ""},
		{"another case", "POST", "/Phone", jsonType, good, "not_found", 404, ""},
		{"another path and method", "GET", "/favicon.ico", "", "", "not_found", 404, ""},
		{"GET", "GET", "/phone", "", "", "method_not_allowed", 405, "POST"},
		{"PUT", "PUT", "/phone", jsonType, good, "method_not_allowed", 405, ""},
		{"OPTIONS", "OPTIONS", "/phone", "", "", "method_not_allowed", 405, ""},
		{"text", "POST", "/phone", "text/plain", good, "unsupported_media_type", 415, "application/json"},
		{"multipart", "POST", "/phone", "multipart/form-data; boundary=x", good, "unsupported_media_type", 415, ""},
		{"two types", "POST", "/phone", "application/json, text/plain", good, "unsupported_media_type", 415, ""},
		{"no type of JSON", "POST", "/phone", "application/jsonx", good, "unsupported_media_type", 415, ""},
		{"over 16 KiB", "POST", "/phone", jsonType, good + strings.Repeat(" ", 16<<10-len(good)+1), "payload_too_large", 413, "16 KiB"},
		{"over 16 KiB in base64", "POST", "/phone", formType, formOf(tap) + "&x=" + strings.Repeat("x", 16<<10-len(formOf(tap))-2), "payload_too_large", 413, ""},
		{"6 MB", "POST", "/phone", formType, strings.Repeat("x", 4<<20), "payload_too_large", 413, ""},
		{"no body", "POST", "/phone", jsonType, "", "invalid_request", 400, "body"},
		{"an empty form", "POST", "/phone", formType, "", "invalid_request", 400, "code"},
		{"no JSON", "POST", "/phone", jsonType, formOf(tap), "invalid_request", 400, "body"},
		{"a form said to be JSON", "POST", "/phone", "", formOf(tap), "invalid_request", 400, "body"},
		{"an array", "POST", "/phone", jsonType, "[" + good + "]", "invalid_request", 400, "body"},
		{"null", "POST", "/phone", jsonType, "null", "invalid_request", 400, "body"},
		{"a string", "POST", "/phone", jsonType, `"x"`, "invalid_request", 400, "body"},
		{"text after it", "POST", "/phone", jsonType, good + "x", "invalid_request", 400, "body"},
		{"a second object", "POST", "/phone", jsonType, good + good, "invalid_request", 400, "body"},
		{"deep JSON", "POST", "/phone", jsonType, strings.Repeat(`{"a":`, 3000), "invalid_request", 400, "body"},
		{"a NUL in a name", "POST", "/phone", jsonType, edit(`"iv"`, "\"i\x00v\""), "invalid_request", 400, ""},
		{"a name twice", "POST", "/phone", jsonType, edit(`"code"`, `"code":"a","code"`), "invalid_request", 400, "twice"},
		{"an unknown name twice", "POST", "/phone", jsonType, edit(`"code"`, `"x":1,"x":2,"code"`), "invalid_request", 400, "twice"},
		{"a name twice in a form", "POST", "/phone", formType, formOf(tap) + "&code=a", "invalid_request", 400, "twice"},
		{"an unknown name twice in a form", "POST", "/phone", formType, formOf(tap) + "&x=1&x=2", "invalid_request", 400, "twice"},
		{"a broken escape in a form", "POST", "/phone", formType, formOf(tap) + "&x=%zz", "invalid_request", 400, "form"},
		{"no UTF-8", "POST", "/phone", "", edit(tap.Code, "a\xff"), "invalid_request", 400, "UTF-8"},
		{"no UTF-8 in a form", "POST", "/phone", formType, "code=%ff&iv=a&encryptedData=b", "invalid_request", 400, "code"},
		{"code missing", "POST", "/phone", jsonType, edit(`"code"`, `"kode"`), "invalid_request", 400, "code"},
		{"code null", "POST", "/phone", jsonType, edit(`"`+tap.Code+`"`, "null"), "invalid_request", 400, "code"},
		{"code a number", "POST", "/phone", jsonType, edit(`"`+tap.Code+`"`, "1"), "invalid_request", 400, "code must be a string"},
		{"code an object", "POST", "/phone", jsonType, edit(`"`+tap.Code+`"`, "{}"), "invalid_request", 400, "code must be a string"},
		{"iv an array", "POST", "/phone", jsonType, edit(`"`+tap.IV+`"`, "[]"), "invalid_request", 400, "iv must be a string"},
		{"encryptedData a bool", "POST", "/phone", jsonType, edit(`"`+tap.EncryptedData+`"`, "true"), "invalid_request", 400, "encryptedData must be a string"},
		{"code empty", "POST", "/phone", jsonType, edit(tap.Code, ""), "invalid_request", 400, "code"},
		{"code too long", "POST", "/phone", jsonType, edit(tap.Code, strings.Repeat("c", 257)), "invalid_request", 400, "code"},
		{"code with a space", "POST", "/phone", jsonType, edit(tap.Code, "a b"), "invalid_request", 400, "code"},
		{"code with an ampersand", "POST", "/phone", jsonType, edit(tap.Code, "a&b=c"), "invalid_request", 400, "code"},
		{"code with a line end", "POST", "/phone", jsonType, edit(tap.Code, `a\r\nX: y`), "invalid_request", 400, "code"},
		{"code with a NUL", "POST", "/phone", jsonType, edit(tap.Code, `a\u0000`), "invalid_request", 400, "code"},
		{"code in Chinese", "POST", "/phone", jsonType, edit(tap.Code, "码"), "invalid_request", 400, "code"},
		{"encryptedData missing", "POST", "/phone", jsonType, edit(`"encryptedData"`, `"data"`), "invalid_request", 400, "encryptedData is missing"},
		{"encryptedData of another alphabet", "POST", "/phone", jsonType, edit(tap.EncryptedData, "-"+tap.EncryptedData[1:]), "invalid_request", 400, "encryptedData"},
		{"encryptedData with a line end", "POST", "/phone", jsonType, edit(tap.EncryptedData[:4], tap.EncryptedData[:4]+`\n`), "invalid_request", 400, "encryptedData"},
		{"encryptedData of a block", "POST", "/phone", jsonType, edit(tap.EncryptedData, "AAAAAAAAAAAAAAAAAAAAAA=="), "invalid_request", 400, "encryptedData"},
		{"encryptedData of 4112 bytes", "POST", "/phone", jsonType, edit(tap.EncryptedData, base64.StdEncoding.EncodeToString(make([]byte, 4112))), "invalid_request", 400, "encryptedData"},
		{"iv missing", "POST", "/phone", jsonType, edit(`"iv"`, `"vi"`), "invalid_request", 400, "iv is missing"},
		{"iv of 15 bytes", "POST", "/phone", jsonType, edit(tap.IV, "AAAAAAAAAAAAAAAAAAAA"), "invalid_request", 400, "iv"},
		{"iv with padding to spare", "POST", "/phone", jsonType, edit(tap.IV, tap.IV+"="), "invalid_request", 400, "iv"},
	}
	for _, test := range tests {
		got := r.send(test.method, test.path, test.contentType, test.body)
		r.wantFailure(test.name, got, test.error, test.status, "fix")
		if !strings.Contains(got.Message, test.names) {
			t.Errorf("%s: the message does not name %q: %s", test.name, test.names, got.Message)
		}
		for _, sent := range []string{tap.Code, tap.IV, tap.EncryptedData} {
			if strings.Contains(got.body, sent) {
				t.Errorf("%s: the answer repeats what was sent", test.name)
			}
		}
	}
	if calls := r.Secrets.Calls(); calls != 1 {
		t.Errorf("Secrets Manager was asked %d times, want once at start", calls)
	}
	if r.WeChat.Seen(tap.Code) != 0 {
		t.Error("WeChat was asked")
	}
	r.wantFailure("a good request", r.post(tap), "misconfigured", 500, "none")

	sixteen := good + strings.Repeat(" ", 16<<10-len(good))
	r.wantFailure("exactly 16 KiB", r.send("POST", "/phone", jsonType, sixteen), "misconfigured", 500, "none")
}

func TestEventsOfOtherKindsAreInvalidRequests(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	for name, event := range map[string]string{
		"null": "null", "an array": "[]", "a number": "1", "a string": `"POST /phone"`, "an empty object": "{}",
		"payload 1.0":           `{"version":"1.0","path":"/phone","httpMethod":"POST","headers":{},"body":"{}","requestContext":{"stage":"$default","httpMethod":"POST"}}`,
		"REST API":              `{"resource":"/phone","path":"/phone","httpMethod":"POST","headers":null,"body":null,"requestContext":{"stage":"prod"},"isBase64Encoded":false}`,
		"ALB":                   `{"requestContext":{"elb":{"targetGroupArn":"arn"}},"httpMethod":"POST","path":"/phone","headers":{},"body":"","isBase64Encoded":false}`,
		"SQS":                   `{"Records":[{"body":"{}"}]}`,
		"version a number":      `{"version":2.0,"rawPath":"/phone","requestContext":{"http":{"method":"POST"}}}`,
		"no method":             `{"version":"2.0","rawPath":"/phone","requestContext":{}}`,
		"no path":               `{"version":"2.0","requestContext":{"http":{"method":"POST"}}}`,
		"method of wrong type":  `{"version":"2.0","rawPath":"/phone","requestContext":{"http":{"method":["POST"]}}}`,
		"body of wrong type":    `{"version":"2.0","rawPath":"/phone","requestContext":{"http":{"method":"POST"}},"body":{"code":"a"}}`,
		"headers of wrong type": `{"version":"2.0","rawPath":"/phone","requestContext":{"http":{"method":"POST"}},"headers":[],"body":"{}"}`,
		"null body":             `{"version":"2.0","rawPath":"/phone","requestContext":{"http":{"method":"POST"}},"body":null}`,
		"no base64":             `{"version":"2.0","rawPath":"/phone","requestContext":{"http":{"method":"POST"}},"body":"!","isBase64Encoded":true}`,
	} {
		r.wantFailure(name, r.invoke(event), "invalid_request", 400, "fix")
	}
}

func TestPathIsLessTheStage(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	for _, test := range []struct {
		stage, path, error string
	}{
		{"$default", "/phone", "method_not_allowed"},
		{"$default", "/$default/phone", "not_found"},
		{"prod", "/prod/phone", "method_not_allowed"},
		{"prod", "/phone", "method_not_allowed"}, // behind a custom domain
		{"prod", "/production/phone", "not_found"},
		{"phone", "/phone/phone", "method_not_allowed"},
		{"pro", "/prod/phone", "not_found"},
	} {
		got := r.invoke(fmt.Sprintf(`{"version":"2.0","rawPath":%q,"requestContext":{"stage":%q,"http":{"method":"GET"}}}`, test.path, test.stage))
		if got.Error != test.error {
			t.Errorf("stage %s, path %s: %s, want %s", test.stage, test.path, got.Error, test.error)
		}
	}
}

func TestErrcodesOfWeChat(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	for _, test := range []struct {
		errcode int
		error   string
		status  int
		action  string
	}{
		{40029, "code_rejected", 400, "login"},
		{40163, "code_rejected", 400, "login"},
		{40226, "user_blocked", 403, "none"},
		{45011, "rate_limited", 429, "wait"},
		{40013, "misconfigured", 500, "none"},
		{40125, "misconfigured", 500, "none"},
		{41002, "misconfigured", 500, "none"},
		{41004, "misconfigured", 500, "none"},
		{40164, "misconfigured", 500, "none"},
		{40243, "misconfigured", 500, "none"},
		{-1, "unavailable", 503, "retry"},
		{41008, "upstream_error", 502, "login"},
		{40002, "upstream_error", 502, "login"},
		{99999, "upstream_error", 502, "login"},
		{-2, "upstream_error", 502, "login"},
	} {
		tap := r.scripted(wechat.Refuse(test.errcode, "canary of WeChat's text, 192.0.2.1"))
		r.hide("canary of WeChat", "192.0.2.1")
		name := fmt.Sprint("errcode ", test.errcode)
		got := r.post(tap)
		r.wantFailure(name, got, test.error, test.status, test.action)
		if strings.Contains(got.body, "canary") || strings.Contains(got.body, "rid") {
			t.Errorf("%s: the answer repeats WeChat's text", name)
		}
		lines := r.logs.requests()
		last := lines[len(lines)-1]
		if last.ErrCode != test.errcode || len(last.RID) != 26 || last.Outcome != test.error || last.RequestID != got.RequestID {
			t.Errorf("%s: logged as %+v", name, last)
		}
	}
}

func TestUndecryptableDataIsOneAnswerByteForByte(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	user, other := r.WeChat.NewUser(), r.WeChat.NewUser()
	plain := func(phone string, at time.Time, appID string) []byte {
		return fmt.Appendf(nil, `{%s,"watermark":{"timestamp":%d,"appid":%q}}`, phone, at.Unix(), appID)
	}
	const phone = `"phoneNumber":"13500001111","purePhoneNumber":"13500001111","countryCode":"86"`
	now := time.Now()
	tests := map[string]wechat.Tap{
		"another user's key": wechat.Seal(other.SessionKey, plain(phone, now, stage.AppID)),
		"bad padding":        wechat.SealPadded(user.SessionKey, append([]byte(strings.Repeat("p", 47)), 17)),
		"zero padding":       wechat.SealPadded(user.SessionKey, make([]byte, 48)),
		"a pad byte wrong":   wechat.SealPadded(user.SessionKey, append([]byte(strings.Repeat("p", 44)), 3, 2, 3, 3)),
		"no UTF-8":           wechat.Seal(user.SessionKey, plain(strings.Replace(phone, "1111", "111\xff", 1), now, stage.AppID)),
		"no JSON":            wechat.Seal(user.SessionKey, []byte(strings.Repeat("x", 40))),
		"no phone":           wechat.Seal(user.SessionKey, plain(`"nickName":"Band"`, now, stage.AppID)),
		"inconsistent":       wechat.Seal(user.SessionKey, plain(strings.Replace(phone, "1111", "1112", 1), now, stage.AppID)),
		"no country":         wechat.Seal(user.SessionKey, plain(strings.Replace(phone, "countryCode", "country", 1), now, stage.AppID)),
		"another app":        wechat.Seal(user.SessionKey, plain(phone, now, "wx1111111111111111")),
		"stale":              wechat.Seal(user.SessionKey, plain(phone, now.Add(-10*time.Minute-2*time.Second), stage.AppID)),
		"ahead":              wechat.Seal(user.SessionKey, plain(phone, now.Add(2*time.Minute+10*time.Second), stage.AppID)),
		"no watermark":       wechat.Seal(user.SessionKey, []byte("{"+phone+"}")),
	}
	var want string
	for name, tap := range tests {
		tap.Code = r.WeChat.Login(user)
		got := r.post(tap)
		r.wantFailure(name, got, "undecryptable", 422, "login")
		header := got.header.Clone()
		header.Del("Date")
		header.Del("Apigw-Requestid")
		text := strings.Replace(got.body, got.RequestID, "", 1) + fmt.Sprint(header)
		if want == "" {
			want = text
		}
		if text != want {
			t.Errorf("%s: answered %s, others %s", name, text, want)
		}
	}
	for _, line := range r.logs.requests() {
		if line.Reason == "" {
			t.Error("the log does not say why data cannot be opened")
		}
	}
}

func TestWatermarkMaxAge(t *testing.T) {
	t.Parallel()
	for setting, accepted := range map[string]bool{"0": true, "0s": true, "720h": true, "5s": false} {
		r := raise(t, func(c *stage.Config) { c.Env = []string{"WATERMARK_MAX_AGE=" + setting} })
		user := r.WeChat.NewUser()
		tap := wechat.Seal(user.SessionKey, fmt.Appendf(nil,
			`{"phoneNumber":"13500001111","purePhoneNumber":"13500001111","countryCode":"86","watermark":{"timestamp":%d,"appid":%q}}`,
			time.Now().Add(-24*time.Hour).Unix(), stage.AppID))
		tap.Code = r.WeChat.Login(user)
		if got := r.post(tap); (got.status == 200) != accepted {
			t.Errorf("data of yesterday at WATERMARK_MAX_AGE=%s: %d", setting, got.status)
		}
	}
}

// hijack answers at the level of bytes.
func hijack(serve func(c net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		serve(c)
	}
}

func TestWeChatFailing(t *testing.T) {
	t.Parallel()
	r := raise(t, func(c *stage.Config) { c.Env = []string{"WECHAT_TIMEOUT=400ms"} })
	session := `"session_key":"tiihtNczf5v6AKRyjwEUhQ==","openid":"o1"`
	tests := []struct {
		name   string
		answer http.HandlerFunc
		error  string
		status int
	}{
		{"status 500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "upstream_error", 502},
		{"status 204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "upstream_error", 502},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/sns/jscode2session?"+r.URL.RawQuery, http.StatusFound)
		}, "upstream_error", 502},
		{"HTML", wechat.Answer("<html>"), "upstream_error", 502},
		{"no openid", wechat.Answer(`{"session_key":"tiihtNczf5v6AKRyjwEUhQ=="}`), "upstream_error", 502},
		{"no session key", wechat.Answer(`{"openid":"o1"}`), "upstream_error", 502},
		{"a short session key", wechat.Answer(`{"session_key":"tiihtNczf5v6AKRyjwEU","openid":"o1"}`), "upstream_error", 502},
		{"over 64 KiB", wechat.Answer(`{` + session + `}` + strings.Repeat(" ", 64<<10)), "upstream_error", 502},
		{"hanging up", hijack(func(net.Conn) {}), "upstream_error", 502},
		{"hanging up in the middle", hijack(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"+session)
		}), "upstream_error", 502},
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "upstream_timeout", 504},
		{"half an answer and silence", hijack(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
			_, _ = c.Read(make([]byte, 1))
		}), "upstream_timeout", 504},
	}
	for _, test := range tests {
		tap := r.scripted(test.answer)
		r.wantFailure(test.name, r.post(tap), test.error, test.status, "login")
		if seen := r.WeChat.Seen(tap.Code); seen != 1 {
			t.Errorf("%s: WeChat saw the code %d times", test.name, seen)
		}
		if got := r.post(r.newTap()); got.status != 200 {
			t.Errorf("the request after %s: %d %s", test.name, got.status, got.body)
		}
	}
}

func TestUnreachableWeChatIsUnavailableAndHeals(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	r := raise(t, func(c *stage.Config) { c.WeChatURL = "http://" + address })
	tap := r.newTap()
	r.wantFailure("nobody there", r.post(tap), "unavailable", 503, "retry")

	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: r.WeChat}
	defer func() { _ = server.Close() }()
	go func() { _ = server.Serve(l) }()
	if got := r.post(tap); got.status != 200 {
		t.Errorf("the same request sent again: %d %s", got.status, got.body)
	}

	// A name that does not resolve, a handshake without end, a certificate of nobody's.
	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	secured.Config.ErrorLog = discarded
	secured.StartTLS()
	defer secured.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, url := range []string{"https://wechat.invalid", "https://" + silent.Addr().String(), secured.URL} {
		r := raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = url, []string{"WECHAT_TIMEOUT=300ms"} })
		r.wantFailure(url, r.post(r.newTap()), "unavailable", 503, "retry")
	}
}

func TestBusyWeChatIsAskedAgain(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	user := r.WeChat.NewUser()
	tap := r.tap(user)
	var times atomic.Int32
	r.WeChat.Script(tap.Code, func(w http.ResponseWriter, q *http.Request) {
		if times.Add(1) < 3 {
			wechat.Refuse(-1, "system error")(w, q)
			return
		}
		wechat.Accept(user)(w, q)
	})
	if got := r.post(tap); got.status != 200 || times.Load() != 3 {
		t.Errorf("busy twice: %d after %d requests", got.status, times.Load())
	}
}

func TestCodeWorksOnce(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	tap := r.newTap()
	if got := r.post(tap); got.status != 200 {
		t.Errorf("the first time: %d", got.status)
	}
	r.wantFailure("the second time", r.post(tap), "code_rejected", 400, "login")
	tap.Code = "never-given"
	r.wantFailure("a code of nobody's", r.post(tap), "code_rejected", 400, "login")
}

func TestAnswerComesBeforeTheInvocationsDeadline(t *testing.T) {
	t.Parallel()
	r := raise(t, func(c *stage.Config) { c.Timeout = 1200 * time.Millisecond })
	tap := r.scripted(func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
	began := time.Now()
	r.wantFailure("silence", r.post(tap), "upstream_timeout", 504, "login")
	if took := time.Since(began); took < 650*time.Millisecond || took > 1100*time.Millisecond {
		t.Errorf("answered after %v of 1.2 s, want 0.7 s", took)
	}

	// Less than the margin is left: no request may go out.
	r = raise(t, func(c *stage.Config) { c.Timeout = 450 * time.Millisecond })
	tap = r.newTap()
	r.wantFailure("no time", r.post(tap), "unavailable", 503, "retry")
	if r.WeChat.Seen(tap.Code) != 0 {
		t.Error("with no time left, the code was sent")
	}
}

func TestPanicIsInternalAndTheProcessLives(t *testing.T) {
	t.Parallel()
	for where, action := range map[string]string{"before WeChat is asked": "retry", "once WeChat is asked": "login"} {
		r := raise(t, func(c *stage.Config) {
			c.Bootstrap, c.Env = os.Args[0], []string{"TEST_PANIC=" + where}
		})
		r.hide(panicText, "index out of range")
		pid := r.Function.PID()
		for range 2 {
			r.wantFailure(where, r.post(r.newTap()), "internal", 500, action)
		}
		if r.Function.PID() != pid {
			t.Errorf("%s: the process ended", where)
		}
		if lines := r.logs.requests(); !strings.HasPrefix(lines[0].Reason, "panic at wechat-phone/functions/phone.panicking.") {
			t.Errorf("%s: the log does not say where: %q", where, lines[0].Reason)
		}
	}
}

func TestWrongConfigurationEndsTheProcessWithALineThatNamesIt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, value string }{
		{"WECHAT_SECRET_ID", ""},
		{"WECHAT_API_BASE_URL", "api.weixin.qq.com"},
		{"WECHAT_API_BASE_URL", "ftp://api.weixin.qq.com"},
		{"WECHAT_API_BASE_URL", "https://user:canary@host"},
		{"WECHAT_API_BASE_URL", "https://host:canary"},
		{"WECHAT_TIMEOUT", "4"},
		{"WECHAT_TIMEOUT", "canary"},
		{"WECHAT_TIMEOUT", "0"},
		{"WECHAT_TIMEOUT", "-1s"},
		{"WATERMARK_MAX_AGE", "-1ns"},
		{"WATERMARK_MAX_AGE", "ten minutes"},
	} {
		process := exec.Command(bootstrap)
		process.Env = []string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_REGION=us-east-1", "WECHAT_SECRET_ID=a", test.name + "=" + test.value}
		var out logs
		process.Stdout, process.Stderr = &out, &out
		if err := process.Run(); process.ProcessState == nil || process.ProcessState.ExitCode() != 1 {
			t.Errorf("%s=%s: ended with %v", test.name, test.value, err)
		}
		out.check(t)
		text := out.String()
		if strings.Count(text, "\n") != 1 || !strings.Contains(text, test.name) || strings.Contains(text, "canary") {
			t.Errorf("%s=%s: wrote %q", test.name, test.value, text)
		}
	}
}

// connections counts the connections that a server gets.
func connections(s *httptest.Server) *atomic.Int32 {
	var count atomic.Int32
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			count.Add(1)
		}
	}
	return &count
}

func TestSecretIsReadAndConnectionOpenedBeforeTheFirstRequest(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		var handler atomic.Pointer[wechat.Server]
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { handler.Load().ServeHTTP(w, q) }))
		server.EnableHTTP2 = true
		opened := connections(server)
		env := []string{}
		if scheme == "https" {
			server.StartTLS()
			file := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(file, certificatePEM(server), 0o600); err != nil {
				t.Fatal(err)
			}
			env = append(env, "SSL_CERT_FILE="+file)
		} else {
			server.Start()
		}
		r := raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = server.URL, env })
		handler.Store(r.WeChat)
		if calls := r.Secrets.Calls(); calls != 1 || opened.Load() != 1 {
			t.Errorf("%s, at the first next: %d readings of the secret, %d connections", scheme, calls, opened.Load())
		}
		for range 3 {
			if got := r.post(r.newTap()); got.status != 200 {
				t.Errorf("%s: %d %s", scheme, got.status, got.body)
			}
		}
		if calls := r.Secrets.Calls(); calls != 1 || opened.Load() != 1 {
			t.Errorf("%s, after 3 requests: %d readings of the secret, %d connections", scheme, calls, opened.Load())
		}
		server.Close()
	}
}

func TestFunctionStartsWithoutItsSecretAndHeals(t *testing.T) {
	t.Parallel()
	r := raise(t, func(c *stage.Config) { c.Secret = "malformed" })
	good := stage.Secret(stage.AppID, stage.AppSecret)
	r.Secrets.Put(stage.SecretName, good)
	if got := r.post(r.newTap()); got.status != 200 {
		t.Errorf("the first request after the secret was mended: %d %s", got.status, got.body)
	}
}

func TestSecretsManagerFailing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		text   string
		fault  http.HandlerFunc
		error  string
		status int
		action string
	}{
		{"denied", "", secretsmanager.Fault(400, "AccessDeniedException", "canary"), "misconfigured", 500, "none"},
		{"to be deleted", "", secretsmanager.Fault(400, "InvalidRequestException", "canary"), "misconfigured", 500, "none"},
		{"key disabled", "", secretsmanager.Fault(400, "DecryptionFailure", "canary"), "misconfigured", 500, "none"},
		{"missing", "", secretsmanager.Fault(400, "ResourceNotFoundException", "canary"), "misconfigured", 500, "none"},
		{"malformed", `{"appid":"canary"}`, nil, "misconfigured", 500, "none"},
		{"throttled", "", secretsmanager.Fault(400, "ThrottlingException", "canary"), "unavailable", 503, "retry"},
		{"failing", "", secretsmanager.Fault(500, "InternalServiceError", "canary"), "unavailable", 503, "retry"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := raise(t, func(c *stage.Config) { c.Secret = "canary" })
			r.hide("canary")
			if test.text != "" {
				r.Secrets.Put(stage.SecretName, test.text)
			}
			r.Secrets.Fail(test.fault)
			tap := r.newTap()
			r.wantFailure(test.name, r.post(tap), test.error, test.status, test.action)

			before := r.Secrets.Calls()
			began := time.Now()
			for range 20 {
				r.wantFailure(test.name, r.post(tap), test.error, test.status, test.action)
			}
			if again := r.Secrets.Calls() - before; again != 0 && time.Since(began) < time.Second {
				t.Errorf("within a second of the failure: %d more calls", again)
			}
			if r.WeChat.Seen(tap.Code) != 0 {
				t.Error("WeChat was asked without credentials")
			}
			r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, stage.AppSecret))
			r.Secrets.Fail(nil)
			time.Sleep(time.Second)
			if got := r.post(tap); got.status != 200 {
				t.Errorf("a second after it was mended: %d %s", got.status, got.body)
			}
		})
	}
}

func TestRequestWaitsTwoSecondsForSecretsManagerAtMost(t *testing.T) {
	t.Parallel()
	r := raise(t, func(c *stage.Config) { c.Secret = "malformed" })
	r.Secrets.Fail(func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
	began := time.Now()
	r.wantFailure("silence", r.post(r.newTap()), "unavailable", 503, "retry")
	if took := time.Since(began); took < 1900*time.Millisecond || took > 3*time.Second {
		t.Errorf("answered after %v", took)
	}
}

func TestRotatedSecretNeedsNoDeployment(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	const second = "fedcba9876543210fedcba9876543210"
	r.hide(second)
	r.WeChat.SetSecret(second)
	r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, second))
	tap := r.newTap()
	if got := r.post(tap); got.status != 200 || r.WeChat.Seen(tap.Code) != 2 || r.Secrets.Calls() != 2 {
		t.Errorf("the first request after the rotation: %d, WeChat saw the code %d times, %d readings", got.status, r.WeChat.Seen(tap.Code), r.Secrets.Calls())
	}
	tap = r.newTap()
	if got := r.post(tap); got.status != 200 || r.WeChat.Seen(tap.Code) != 1 || r.Secrets.Calls() != 2 {
		t.Errorf("the second: %d, WeChat saw the code %d times, %d readings", got.status, r.WeChat.Seen(tap.Code), r.Secrets.Calls())
	}

	// Rotated again within 30 s: no third reading.
	r.WeChat.SetSecret("00000000000000000000000000000000")
	for range 5 {
		tap = r.newTap()
		r.wantFailure("a wrong secret", r.post(tap), "misconfigured", 500, "none")
		if seen := r.WeChat.Seen(tap.Code); seen != 1 {
			t.Errorf("WeChat saw the code %d times", seen)
		}
	}
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings", calls)
	}
}

func TestUnchangedSecretIsNotTriedTwice(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	for range 3 {
		tap := r.newTap()
		r.wantFailure("a wrong secret", r.post(tap), "misconfigured", 500, "none")
		if seen := r.WeChat.Seen(tap.Code); seen != 1 {
			t.Errorf("WeChat saw the code %d times", seen)
		}
	}
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings, want the load and one more", calls)
	}

	r = raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	r.Secrets.Fail(secretsmanager.Fault(500, "InternalServiceError", ""))
	r.wantFailure("a re-read that fails", r.post(r.newTap()), "unavailable", 503, "retry")
}

func TestManyRequestsInOneProcess(t *testing.T) {
	t.Parallel()
	r := raise(t, func(c *stage.Config) {
		c.Concurrency = 64
		c.Secret = "malformed"
		c.Env = []string{"WECHAT_TIMEOUT=9s"}
	})
	r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, stage.AppSecret))
	r.Secrets.Fail(nil)
	const each = 64
	var together sync.WaitGroup
	arrived := make(chan bool, each)
	release := make(chan bool)
	for range each {
		user := r.WeChat.NewUser()
		tap := r.tap(user)
		r.WeChat.Script(tap.Code, func(w http.ResponseWriter, q *http.Request) {
			arrived <- true
			<-release
			wechat.Accept(user)(w, q)
		})
		together.Go(func() {
			if got := r.post(tap); got.status != 200 || got.Phone != user.Phone {
				t.Errorf("%d, and the phone of another: %v", got.status, got.Phone != user.Phone)
			}
		})
	}
	for range each {
		select {
		case <-arrived:
		case <-time.After(8 * time.Second):
			t.Fatal("the requests do not run side by side")
		}
	}
	close(release)
	together.Wait()
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings of the secret, want one at start and one for all requests", calls)
	}
}

// Lambda freezes the process between two requests; WeChat ends its idle
// connections meanwhile. The next request must not be written into one.
func TestFrozenProcessDoesNotWriteIntoADeadConnection(t *testing.T) {
	t.Parallel()
	for _, reset := range []bool{false, true} {
		var handler atomic.Pointer[wechat.Server]
		var mu sync.Mutex
		idle := map[net.Conn]bool{}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { handler.Load().ServeHTTP(w, q) }))
		server.Config.ConnState = func(c net.Conn, state http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			idle[c] = state == http.StateIdle
		}
		server.Start()
		r := raise(t, func(c *stage.Config) { c.WeChatURL = server.URL })
		handler.Store(r.WeChat)
		if got := r.post(r.newTap()); got.status != 200 {
			t.Fatal(got.body)
		}
		for range 20 {
			if err := r.Function.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			wait(t, "WeChat has an idle connection", func() bool {
				mu.Lock()
				defer mu.Unlock()
				for c, isIdle := range idle {
					if isIdle {
						if reset {
							_ = c.(*net.TCPConn).SetLinger(0)
						}
						_ = c.Close()
						delete(idle, c)
						return true
					}
				}
				return false
			})
			time.Sleep(10 * time.Millisecond)
			tap := r.newTap()
			answer := make(chan answered)
			go func() { answer <- r.post(tap) }()
			time.Sleep(10 * time.Millisecond) // until the event waits for the frozen process
			if err := r.Function.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if got := <-answer; got.status != 200 || r.WeChat.Seen(tap.Code) != 1 {
				t.Errorf("reset %v: %d %s, WeChat saw the code %d times", reset, got.status, got.Error, r.WeChat.Seen(tap.Code))
			}
		}
		server.Close()
	}
}

func TestOneLinePerRequest(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	ok := r.post(r.newTap())
	refused := r.post(r.scripted(wechat.Answer(`{"errcode":40029,"errmsg":"invalid code, rid: 635d0e49-1d10d2a8-0c6c7c7d"}`)))
	if ok.status != 200 || refused.status != 400 {
		t.Fatal(ok.body, refused.body)
	}
	if text := r.logs.String(); strings.Count(text, "\n") != 2 {
		t.Fatalf("wrote %s", text)
	}
	lines := r.logs.requests()
	for i, line := range lines {
		if line.Level != "INFO" || line.WeChatMs == nil || line.TotalMs == nil || *line.WeChatMs <= 0 || *line.WeChatMs > *line.TotalMs {
			t.Errorf("line %d: %+v", i, line)
		}
		if line.First == nil || *line.First != (i == 0) || !requestID.MatchString(line.RequestID) {
			t.Errorf("line %d: %+v", i, line)
		}
	}
	if lines[0].Outcome != "ok" || lines[0].Status != 200 || lines[0].ErrCode != 0 {
		t.Errorf("a success: %+v", lines[0])
	}
	if lines[1].Outcome != "code_rejected" || lines[1].Status != 400 || lines[1].ErrCode != 40029 ||
		lines[1].RID != "635d0e49-1d10d2a8-0c6c7c7d" || lines[1].RequestID != refused.RequestID {
		t.Errorf("a refusal: %+v", lines[1])
	}
}

// The runtime library logs, and not as JSON, when the Runtime API goes away.
func TestStandardLogIsOneFixedLine(t *testing.T) {
	t.Parallel()
	process := exec.Command(bootstrap)
	process.Env = []string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_REGION=us-east-1", "WECHAT_SECRET_ID=a",
		"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:1", "WECHAT_API_BASE_URL=http://127.0.0.1:1"}
	var out logs
	process.Stdout, process.Stderr = &out, &out
	if err := process.Run(); err == nil {
		t.Error("the function runs without a Runtime API")
	}
	out.check(t)
	if text := out.String(); !strings.Contains(text, "withheld") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("wrote %s", text)
	}
}
