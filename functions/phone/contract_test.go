package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"log"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// These tests hold the function to what its callers may rely on. All of them
// run the compiled function.

func TestEveryEncodingOfARequestIsAccepted(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	user := rig.NewUser()
	want := fmt.Sprintf(`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":"86","e164":"+86%s","openid":%q}`, user.Phone, user.PurePhone, user.PurePhone, user.OpenID)
	spaced := func(tap wechattest.Tap) wechattest.Tap {
		tap.EncryptedData = strings.ReplaceAll(tap.EncryptedData, "+", " ")
		tap.IV = strings.ReplaceAll(tap.IV, "+", " ")
		return tap
	}
	bare := func(tap wechattest.Tap) wechattest.Tap {
		tap.EncryptedData = strings.TrimRight(tap.EncryptedData, "=")
		tap.IV = strings.TrimRight(tap.IV, "=")
		return tap
	}
	asJSON := func(tap wechattest.Tap) string { return hostile.JSON(tap) }
	asForm := func(tap wechattest.Tap) string { return hostile.Form(tap) }
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		name, contentType string
		body              func(wechattest.Tap) string
	}{
		{"JSON", "application/json", asJSON},
		{"JSON with a charset", "application/json; charset=utf-8", asJSON},
		{"JSON by another spelling", "Application/JSON ;charset=UTF-8", asJSON},
		{"JSON without a content type", "", asJSON},
		{"JSON with white space", "application/json", func(tap wechattest.Tap) string { return "\r\n\t " + hostile.JSON(tap) + " \n" }},
		{"JSON with unknown fields", "application/json", func(tap wechattest.Tap) string {
			return strings.Replace(hostile.JSON(tap), "{", `{"cloudID":null,"Code":7,"errMsg":{"a":[1]},`, 1)
		}},
		{"JSON with spaces for pluses", "application/json", func(tap wechattest.Tap) string { return hostile.JSON(spaced(tap)) }},
		{"JSON without padding", "application/json", func(tap wechattest.Tap) string { return hostile.JSON(bare(tap)) }},
		{"a form", form, asForm},
		{"a form with a charset", form + "; charset=utf-8", asForm},
		{"a form with unknown fields", form, func(tap wechattest.Tap) string { return "a=1&" + hostile.Form(tap) + "&b=" }},
		{"a form with raw pluses", form, func(tap wechattest.Tap) string {
			return "code=" + tap.Code + "&encryptedData=" + tap.EncryptedData + "&iv=" + tap.IV
		}},
	}
	for _, tt := range tests {
		got := r.Send("POST", "/phone", tt.contentType, tt.body(r.Tap(user)))
		if got.Status != 200 || got.Body != want {
			t.Errorf("%s: %d %s", tt.name, got.Status, got.Body)
		}
		r.WantHeaders(tt.name, got)
	}

	// JSON that the gateway encoded, and a stage whose name is part of the path.
	for _, path := range []string{"", "prod"} {
		event := map[string]any{
			"version": "2.0", "rawPath": "/phone", "body": base64.StdEncoding.EncodeToString([]byte(hostile.JSON(r.Tap(user)))), "isBase64Encoded": true,
			"requestContext": map[string]any{"stage": "$default", "http": map[string]string{"method": "POST"}},
		}
		if path != "" {
			event["rawPath"] = "/" + path + "/phone"
			event["requestContext"].(map[string]any)["stage"] = path
		}
		text, _ := json.Marshal(event)
		if got := r.Invoke(string(text)); got.Status != 200 || got.Body != want {
			t.Errorf("stage %q: %d %s", path, got.Status, got.Body)
		}
	}
}

// The gateway lower-cases the names of headers. sam local start-api does not.
func TestContentTypeIsFoundInAnySpelling(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, name := range []string{"content-type", "Content-Type", "CONTENT-TYPE"} {
		event, err := json.Marshal(map[string]any{
			"version": "2.0", "rawPath": "/phone", "body": hostile.Form(r.NewTap()),
			"headers":        map[string]string{"accept": "*/*", name: "application/x-www-form-urlencoded"},
			"requestContext": map[string]any{"stage": "$default", "http": map[string]string{"method": "POST"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.Want(name, r.Invoke(string(event)), hostile.Want{})
	}
}

func TestPhoneNumberIsWhatWeChatSealed(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	user := rig.NewUser()
	user.UnionID = "u-" + user.OpenID
	for phone, e164 := range map[string]string{
		`"phoneNumber":"+85290000001","purePhoneNumber":"90000001","countryCode":"852"`:            "+85290000001",
		`"phoneNumber":"85290000001","purePhoneNumber":"90000001","countryCode":852`:               "+85290000001",
		`"phoneNumber":"13500009999","purePhoneNumber":"13500009999","countryCode":86,"more":[{}]`: "+8613500009999",
		`"phoneNumber":"+852 9000-0001","purePhoneNumber":"9000-0001","countryCode":"852"`:         "+85290000001",
	} {
		tap := wechattest.Seal(user.SessionKey, fmt.Appendf(nil, `{%s,"watermark":{"timestamp":%d,"appid":%q}}`, phone, time.Now().Unix(), stage.AppID))
		tap.Code = r.WeChat.Login(user)
		got := r.Send("POST", "/phone", "application/json", hostile.JSON(tap))
		fields := strings.Split(phone, `,"more"`)[0]
		for number, text := range map[string]string{`:852`: `:"852"`, `:86`: `:"86"`} {
			fields = strings.Replace(fields, number, text, 1)
		}
		want := fmt.Sprintf(`{%s,"e164":%q,"openid":%q,"unionid":%q}`, fields, e164, user.OpenID, user.UnionID)
		if got.Status != 200 || got.Body != want {
			t.Errorf("%s: %d %s, want %s", phone, got.Status, got.Body, want)
		}
	}
}

func TestStageIsRemovedFromThePath(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, tt := range []struct {
		stage, path, failure string
	}{
		{"$default", "/phone", "method_not_allowed"},
		{"$default", "/$default/phone", "not_found"},
		{"prod", "/prod/phone", "method_not_allowed"},
		{"prod", "/phone", "method_not_allowed"}, // behind a custom domain
		{"prod", "/production/phone", "not_found"},
		{"phone", "/phone/phone", "method_not_allowed"},
		{"phone", "/phone", "method_not_allowed"}, // behind a custom domain
		{"pro", "/prod/phone", "not_found"},
	} {
		got := r.Invoke(fmt.Sprintf(`{"version":"2.0","rawPath":%q,"requestContext":{"stage":%q,"http":{"method":"GET"}}}`, tt.path, tt.stage))
		if got.Error != tt.failure {
			t.Errorf("stage %s, path %s: %s, want %s", tt.stage, tt.path, got.Error, tt.failure)
		}
	}
}

func TestWatermarkMaxAge(t *testing.T) {
	t.Parallel()
	for setting, accepted := range map[string]bool{"0": true, "0s": true, "720h": true, "5s": false} {
		r := rig.Raise(t, rig.Env("WATERMARK_MAX_AGE="+setting))
		user := rig.NewUser()
		tap := wechattest.Seal(user.SessionKey, fmt.Appendf(nil,
			`{"phoneNumber":"13500001111","purePhoneNumber":"13500001111","countryCode":"86","watermark":{"timestamp":%d,"appid":%q}}`,
			time.Now().Add(-24*time.Hour).Unix(), stage.AppID))
		if got := r.Send("POST", "/phone", "", hostile.JSON(r.Grant(user, tap))); (got.Status == 200) != accepted {
			t.Errorf("data of yesterday at WATERMARK_MAX_AGE=%s: %d", setting, got.Status)
		}
	}
}

func TestUnreachableWeChatIsUnavailable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL = "http://" + address })
	tap := r.NewTap()
	r.WantFailure("nobody there", r.Post(tap), "unavailable", 503, "retry")

	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: r.WeChat}
	defer func() { _ = server.Close() }()
	go func() { _ = server.Serve(l) }()
	if got := r.Post(tap); got.Status != 200 {
		t.Errorf("the same request sent again: %d %s", got.Status, got.Body)
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
		r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = url, []string{"WECHAT_TIMEOUT=300ms"} })
		r.WantFailure(url, r.Post(r.NewTap()), "unavailable", 503, "retry")
	}
}

func TestBusyWeChatIsRetried(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	user := rig.NewUser()
	tap := r.Tap(user)
	var times atomic.Int32
	r.WeChat.Script(tap.Code, func(w http.ResponseWriter, q *http.Request) {
		if times.Add(1) < 3 {
			wechattest.Refuse(-1, "system error")(w, q)
			return
		}
		wechattest.Accept(user)(w, q)
	})
	if got := r.Post(tap); got.Status != 200 || times.Load() != 3 {
		t.Errorf("busy twice: %d after %d requests", got.Status, times.Load())
	}
}

func TestCodeWorksOnce(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	tap := r.NewTap()
	if got := r.Post(tap); got.Status != 200 {
		t.Errorf("the first time: %d", got.Status)
	}
	r.WantFailure("the second time", r.Post(tap), "code_rejected", 400, "login")
	tap.Code = "never-given"
	r.WantFailure("a code of nobody's", r.Post(tap), "code_rejected", 400, "login")
}

func TestAnswerComesBeforeTheDeadlineOfTheInvocation(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Timeout = 1200 * time.Millisecond })
	tap := r.TapScripted(rig.NewUser(), hostile.Silence)
	began := time.Now()
	r.WantFailure("silence", r.Post(tap), "upstream_timeout", 504, "login")
	if took := time.Since(began); took < 650*time.Millisecond || took > 1100*time.Millisecond {
		t.Errorf("answered after %v of 1.2 s, want 0.7 s", took)
	}

	// Less than the margin is left: no request may go out.
	r = rig.Raise(t, func(c *stage.Config) { c.Timeout = 450 * time.Millisecond })
	tap = r.NewTap()
	r.WantFailure("no time", r.Post(tap), "unavailable", 503, "retry")
	if r.WeChat.Seen(tap.Code) != 0 {
		t.Error("with no time left, the code was sent")
	}
}

func TestInvalidVariableEndsTheProcessAndIsNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, value string }{
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
		{"VERIFY_ENCRYPTED_DATA", "canary"},
		{"VERIFY_ENCRYPTED_DATA", "true"},
		{"VERIFY_ENCRYPTED_DATA", "On"},
		{"REQUIRE_LOGIN_CODE", "true"},
		{"AWS_MAX_ATTEMPTS", "canary"},
		{"AWS_RETRY_MODE", "canary"},
		{"AWS_USE_FIPS_ENDPOINT", "canary"},
		{"AWS_CA_BUNDLE", "/canary"},
		{"AWS_CA_BUNDLE", "/etc/hostname"},
		{"AWS_PROFILE", "canary"},
	} {
		code, text := rig.RunToExit(t, tt.name+"="+tt.value)
		if code != 1 {
			t.Errorf("%s=%s: exited with %d, want 1", tt.name, tt.value, code)
		}
		if strings.Contains(text, "\n") || !strings.Contains(text, tt.name) || strings.Contains(text, "canary") {
			t.Errorf("%s=%s: wrote %q", tt.name, tt.value, text)
		}
	}
}

func TestSecretIsReadAndConnectionOpenedBeforeTheFirstRequest(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		w := rig.NewWeChat(t, scheme)
		r := w.Raise(t)
		if calls, opened := r.Secrets.Calls(), w.Opened.Load(); calls != 1 || opened != 1 {
			t.Errorf("%s, at the first next: %d readings of the secret, %d connections", scheme, calls, opened)
		}
		for range 3 {
			r.WantPhone(scheme, r.NewTap())
		}
		if calls, opened := r.Secrets.Calls(), w.Opened.Load(); calls != 1 || opened != 1 {
			t.Errorf("%s, after 3 requests: %d readings of the secret, %d connections", scheme, calls, opened)
		}
	}
}

func TestStartReadsTheSecretWhileItConnects(t *testing.T) {
	t.Parallel()
	const pause = 800 * time.Millisecond
	slowly := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		time.Sleep(pause)
		return nil, nil
	}}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = slowly
	server.StartTLS()
	defer server.Close()
	secrets := &secretstest.Server{}
	secrets.Put("name", stage.Secret(stage.AppID, stage.AppSecret))
	manager := httptest.NewServer(hostile.Slowly(pause, secrets))
	defer manager.Close()
	began := time.Now()
	rig.Raise(t, func(c *stage.Config) {
		c.WeChatURL = server.URL
		c.Env = []string{rig.Trust(t, server), "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + manager.URL, "WECHAT_SECRET_ID=name"}
	})
	if took := time.Since(began); took < pause || took > 2*pause-50*time.Millisecond {
		t.Errorf("two things of %v each took %v", pause, took)
	}
}

func TestFirstRequestRetriesAStartThatTimedOut(t *testing.T) {
	t.Parallel()
	secrets := &secretstest.Server{}
	secrets.Put("name", stage.Secret(stage.AppID, stage.AppSecret))
	secrets.Fail(hostile.Silence)
	manager := httptest.NewServer(secrets)
	defer manager.Close()
	r := rig.Raise(t, rig.Env("AWS_ENDPOINT_URL_SECRETS_MANAGER="+manager.URL, "WECHAT_SECRET_ID=name"))
	secrets.Fail(nil)
	r.WantPhone("the first request", r.NewTap())
}

func TestFunctionStartsWithoutItsSecretAndRecovers(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Secret = "malformed" })
	good := stage.Secret(stage.AppID, stage.AppSecret)
	r.Secrets.Put(stage.SecretName, good)
	if got := r.Post(r.NewTap()); got.Status != 200 {
		t.Errorf("the first request after the secret was mended: %d %s", got.Status, got.Body)
	}
}

func TestRequestWaitsAtMostTwoSecondsForSecretsManager(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Secret = "malformed" })
	r.Secrets.Fail(hostile.Silence)
	began := time.Now()
	r.WantFailure("silence", r.Post(r.NewTap()), "unavailable", 503, "retry")
	if took := time.Since(began); took < 1900*time.Millisecond || took > 3*time.Second {
		t.Errorf("answered after %v", took)
	}
}

func TestRotatedSecretNeedsNoDeployment(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	const second = "canary-of-a-rotated-secret"
	r.WeChat.SetSecret(second)
	r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, second))
	tap := r.NewTap()
	if got := r.Post(tap); got.Status != 200 || r.WeChat.Seen(tap.Code) != 2 || r.Secrets.Calls() != 2 {
		t.Errorf("the first request after the rotation: %d, WeChat saw the code %d times, %d readings", got.Status, r.WeChat.Seen(tap.Code), r.Secrets.Calls())
	}
	tap = r.NewTap()
	if got := r.Post(tap); got.Status != 200 || r.WeChat.Seen(tap.Code) != 1 || r.Secrets.Calls() != 2 {
		t.Errorf("the second: %d, WeChat saw the code %d times, %d readings", got.Status, r.WeChat.Seen(tap.Code), r.Secrets.Calls())
	}

	// Rotated again within 30 s: no third reading.
	r.WeChat.SetSecret("00000000000000000000000000000000")
	for range 5 {
		tap = r.NewTap()
		r.WantFailure("a wrong secret", r.Post(tap), "misconfigured", 500, "none")
		if seen := r.WeChat.Seen(tap.Code); seen != 1 {
			t.Errorf("WeChat saw the code %d times", seen)
		}
	}
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings", calls)
	}
}

func TestHangingRereadDoesNotExceedTheTimeout(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env("WECHAT_TIMEOUT=400ms"))
	r.WeChat.SetSecret("canary of a rotated secret")
	r.Secrets.Fail(hostile.Silence)
	began := time.Now()
	r.WantFailure("a re-read that hangs", r.Post(r.NewTap()), "unavailable", 503, "retry")
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
}

func TestUnchangedSecretIsNotTriedTwice(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	for range 3 {
		tap := r.NewTap()
		r.WantFailure("a wrong secret", r.Post(tap), "misconfigured", 500, "none")
		if seen := r.WeChat.Seen(tap.Code); seen != 1 {
			t.Errorf("WeChat saw the code %d times", seen)
		}
	}
	if calls := r.Secrets.Calls(); calls != 2 {
		t.Errorf("%d readings, want the load and one more", calls)
	}

	r = rig.Raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	r.WantFailure("a re-read that fails", r.Post(r.NewTap()), "unavailable", 503, "retry")
}

func TestOneLinePerRequest(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	ok := r.Post(r.NewTap())
	refused := r.Post(r.TapScripted(rig.NewUser(), wechattest.Answer(`{"errcode":40029,"errmsg":"invalid code, rid: 635d0e49-1d10d2a8-0c6c7c7d"}`)))
	if ok.Status != 200 || refused.Status != 400 {
		t.Fatal(ok.Body, refused.Body)
	}
	var lines []rig.Line
	rig.WaitFor(t, "there are two lines", func() bool {
		lines = r.Logs.Requests()
		return len(lines) == 2
	})
	if written := strings.Count(r.Logs.Text(), "\n") + 1; written != 2 {
		t.Errorf("wrote %d lines: %s", written, r.Logs.Text())
	}
	for i, line := range lines {
		if line.Level != "INFO" || line.WeChatMs == nil || line.OwnMs == nil || line.TotalMs == nil || *line.WeChatMs <= 0 || *line.OwnMs <= 0 {
			t.Fatalf("line %d: %+v", i, line)
		}
		if rest := *line.TotalMs - *line.WeChatMs - *line.OwnMs; math.Abs(rest) > 0.0015 { // each is cut to microseconds
			t.Errorf("line %d: %v ms in WeChat and %v of our own, %v in all", i, *line.WeChatMs, *line.OwnMs, *line.TotalMs)
		}
		if line.First == nil || *line.First != (i == 0) || !rig.IsRequestID(line.RequestID) {
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

// The runtime library logs when the Runtime API goes away, as an emulator does,
// with its address and not as JSON.
func TestEndOfTheRuntimeAPILogsOneLine(t *testing.T) {
	t.Parallel()
	code, text := rig.RunToExit(t, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b",
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:1", "WECHAT_API_BASE_URL=http://127.0.0.1:1")
	if code == 0 {
		t.Error("the function runs without a Runtime API")
	}
	if !strings.Contains(text, "the Lambda runtime API is gone") || strings.Contains(text, "withheld") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("got %s, want a line that says that the runtime API is gone, without its address", text)
	}
}

func TestStandardLogIsOneFixedLine(t *testing.T) {
	var out bytes.Buffer
	w := libraryLog{slog.New(slog.NewJSONHandler(&out, nil))}
	log.New(w, "", 0).Printf("Unsolicited response on idle channel starting with %q", "canary")
	if text := out.String(); strings.Contains(text, "canary") || strings.Contains(text, "Unsolicited") ||
		!strings.Contains(text, `"level":"ERROR"`) || !strings.Contains(text, "withheld") || strings.Count(text, "\n") != 1 {
		t.Errorf("wrote %s, want one ERROR line that says a line was withheld", text)
	}
}

// Calls to WeChat do not go through a proxy, and nobody would guess that.
func TestProxyVariableCausesAWarningAtStart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		_, text := rig.RunToExit(t, name+"=http://127.0.0.1:1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b",
			"AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:1", "WECHAT_API_BASE_URL=http://127.0.0.1:1")
		if !strings.Contains(text, "calls to WeChat do not use the proxy") || !strings.Contains(text, `"variable":"`+name+`"`) {
			t.Errorf("with %s: wrote %s, want a line about it", name, text)
		}
	}
}
