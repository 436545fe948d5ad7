package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// These tests hold the function to what its callers may rely on. All of them
// run the compiled function.

func TestPhoneNumberComesBack(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	user := newUser()
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
			"version": "2.0", "rawPath": "/phone", "body": base64.StdEncoding.EncodeToString([]byte(hostile.JSON(r.tap(user)))), "isBase64Encoded": true,
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
	user := newUser()
	user.UnionID = "u-" + user.OpenID
	for phone, e164 := range map[string]string{
		`"phoneNumber":"+85290000001","purePhoneNumber":"90000001","countryCode":"852"`:            "+85290000001",
		`"phoneNumber":"85290000001","purePhoneNumber":"90000001","countryCode":852`:               "+85290000001",
		`"phoneNumber":"13500009999","purePhoneNumber":"13500009999","countryCode":86,"more":[{}]`: "+8613500009999",
		`"phoneNumber":"+852 9000-0001","purePhoneNumber":"9000-0001","countryCode":"852"`:         "+85290000001",
	} {
		tap := wechattest.Seal(user.SessionKey, fmt.Appendf(nil, `{%s,"watermark":{"timestamp":%d,"appid":%q}}`, phone, time.Now().Unix(), stage.AppID))
		tap.Code = r.WeChat.Login(user)
		got := r.send("POST", "/phone", "application/json", hostile.JSON(tap))
		fields := strings.Split(phone, `,"more"`)[0]
		for number, text := range map[string]string{`:852`: `:"852"`, `:86`: `:"86"`} {
			fields = strings.Replace(fields, number, text, 1)
		}
		want := fmt.Sprintf(`{%s,"e164":%q,"openid":%q,"unionid":%q}`, fields, e164, user.OpenID, user.UnionID)
		if got.status != 200 || got.body != want {
			t.Errorf("%s: %d %s, want %s", phone, got.status, got.body, want)
		}
	}
}

func TestPathIsLessTheStage(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	for _, test := range []struct {
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
		got := r.invoke(fmt.Sprintf(`{"version":"2.0","rawPath":%q,"requestContext":{"stage":%q,"http":{"method":"GET"}}}`, test.path, test.stage))
		if got.Error != test.failure {
			t.Errorf("stage %s, path %s: %s, want %s", test.stage, test.path, got.Error, test.failure)
		}
	}
}

func TestWatermarkMaxAge(t *testing.T) {
	t.Parallel()
	for setting, accepted := range map[string]bool{"0": true, "0s": true, "720h": true, "5s": false} {
		r := raise(t, env("WATERMARK_MAX_AGE="+setting))
		user := newUser()
		tap := wechattest.Seal(user.SessionKey, fmt.Appendf(nil,
			`{"phoneNumber":"13500001111","purePhoneNumber":"13500001111","countryCode":"86","watermark":{"timestamp":%d,"appid":%q}}`,
			time.Now().Add(-24*time.Hour).Unix(), stage.AppID))
		if got := r.send("POST", "/phone", "", hostile.JSON(r.grant(user, tap))); (got.status == 200) != accepted {
			t.Errorf("data of yesterday at WATERMARK_MAX_AGE=%s: %d", setting, got.status)
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
	user := newUser()
	tap := r.tap(user)
	var times atomic.Int32
	r.WeChat.Script(tap.Code, func(w http.ResponseWriter, q *http.Request) {
		if times.Add(1) < 3 {
			wechattest.Refuse(-1, "system error")(w, q)
			return
		}
		wechattest.Accept(user)(w, q)
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
	tap := r.scripted(newUser(), hostile.Silence)
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
		{"VERIFY_ENCRYPTED_DATA", "canary"},
		{"VERIFY_ENCRYPTED_DATA", "true"},
		{"VERIFY_ENCRYPTED_DATA", "On"},
		{"AWS_MAX_ATTEMPTS", "many"},
	} {
		process := exec.Command(bootstrap)
		process.Env = []string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_REGION=us-east-1", "WECHAT_SECRET_ID=a", test.name + "=" + test.value}
		var out logs
		process.Stdout, process.Stderr = &out, &out
		if err := process.Run(); process.ProcessState == nil || process.ProcessState.ExitCode() != 1 {
			t.Errorf("%s=%s: ended with %v", test.name, test.value, err)
		}
		out.check(t)
		text := out.text()
		if strings.Contains(text, "\n") || !strings.Contains(text, test.name) || strings.Contains(text, "canary") {
			t.Errorf("%s=%s: wrote %q", test.name, test.value, text)
		}
	}
}

func TestSecretIsReadAndConnectionOpenedBeforeTheFirstRequest(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		w := newWeChat(t, scheme)
		r := w.raise(t)
		if calls, opened := r.Secrets.Calls(), w.opened.Load(); calls != 1 || opened != 1 {
			t.Errorf("%s, at the first next: %d readings of the secret, %d connections", scheme, calls, opened)
		}
		for range 3 {
			r.wantPhone(scheme, r.newTap())
		}
		if calls, opened := r.Secrets.Calls(), w.opened.Load(); calls != 1 || opened != 1 {
			t.Errorf("%s, after 3 requests: %d readings of the secret, %d connections", scheme, calls, opened)
		}
	}
}

func TestSecretAndConnectionAreHadSideBySide(t *testing.T) {
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
	raise(t, func(c *stage.Config) {
		c.WeChatURL = server.URL
		c.Env = []string{trust(t, server), "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + manager.URL, "WECHAT_SECRET_ID=name"}
	})
	if took := time.Since(began); took < pause || took > 2*pause-50*time.Millisecond {
		t.Errorf("two things of %v each took %v", pause, took)
	}
}

func TestStartThatTimesOutIsNotRemembered(t *testing.T) {
	t.Parallel()
	secrets := &secretstest.Server{}
	secrets.Put("name", stage.Secret(stage.AppID, stage.AppSecret))
	secrets.Fail(hostile.Silence)
	manager := httptest.NewServer(secrets)
	defer manager.Close()
	r := raise(t, env("AWS_ENDPOINT_URL_SECRETS_MANAGER="+manager.URL, "WECHAT_SECRET_ID=name"))
	secrets.Fail(nil)
	r.wantPhone("the first request", r.newTap())
}

func TestDefaults(t *testing.T) {
	got, err := readConfig(func(name string) string { return map[string]string{"WECHAT_SECRET_ID": "id"}[name] })
	want := settings{secretID: "id", apiBaseURL: "https://api.weixin.qq.com", timeout: 4 * time.Second, watermarkMaxAge: 10 * time.Minute}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for value, verify := range map[string]bool{"": false, "off": false, "on": true} {
		got, err := readConfig(func(name string) string {
			return map[string]string{"WECHAT_SECRET_ID": "id", "VERIFY_ENCRYPTED_DATA": value}[name]
		})
		if err != nil || got.verify != verify {
			t.Errorf("VERIFY_ENCRYPTED_DATA=%s: %v, %v", value, got.verify, err)
		}
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

func TestRequestWaitsTwoSecondsForSecretsManagerAtMost(t *testing.T) {
	t.Parallel()
	r := raise(t, func(c *stage.Config) { c.Secret = "malformed" })
	r.Secrets.Fail(hostile.Silence)
	began := time.Now()
	r.wantFailure("silence", r.post(r.newTap()), "unavailable", 503, "retry")
	if took := time.Since(began); took < 1900*time.Millisecond || took > 3*time.Second {
		t.Errorf("answered after %v", took)
	}
}

func TestRotatedSecretNeedsNoDeployment(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	const second = "canary-of-a-rotated-secret"
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

// The secret may come to hold another mini-program altogether.
func TestChangedAppIDNeedsNoDeployment(t *testing.T) {
	t.Parallel()
	const pause = 50 * time.Millisecond
	for _, secret := range []string{stage.AppSecret, "canary of another secret"} {
		w := newWeChat(t, "http")
		r := w.raise(t)
		moved := wechattest.New("wx1111111111111111", secret, time.Now)
		w.serve(hostile.Slowly(pause, moved))
		r.Secrets.Put(stage.SecretName, stage.Secret("wx1111111111111111", secret))
		user := newUser()
		tap := moved.SealPhone(user)
		tap.Code = "code-of-a-moved-user"
		moved.Grant(tap.Code, user)
		got := r.send("POST", "/phone", "", hostile.JSON(tap))
		r.want("data of the new mini-program", got, hostile.Want{})
		if seen, calls := moved.Seen(tap.Code), moved.Seen(wechattest.TokenPath); seen != 2 || calls != 0 {
			t.Errorf("WeChat saw the code %d times, and %d fetches of a token that nobody needs", seen, calls)
		}
		var line logLine
		waitFor(t, "there is a line", func() bool {
			lines := r.logs.requests()
			if len(lines) == 1 {
				line = lines[0]
			}
			return len(lines) == 1
		})
		if line.Outcome != "ok" || line.ErrCode != 0 || line.RID != "" {
			t.Errorf("the line of the success tells of the rejection: %+v", line)
		}
		if *line.WeChatMs < 2*float64(pause.Milliseconds()) {
			t.Errorf("two exchanges of %v took %v ms", pause, *line.WeChatMs)
		}
	}
}

func TestExchangeEndsInTimeThoughTheReReadHangs(t *testing.T) {
	t.Parallel()
	r := raise(t, env("WECHAT_TIMEOUT=400ms"))
	r.WeChat.SetSecret("canary of a rotated secret")
	r.Secrets.Fail(hostile.Silence)
	began := time.Now()
	r.wantFailure("a re-read that hangs", r.post(r.newTap()), "unavailable", 503, "retry")
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("answered after %v", took)
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
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	r.wantFailure("a re-read that fails", r.post(r.newTap()), "unavailable", 503, "retry")
}

func TestOneLinePerRequest(t *testing.T) {
	t.Parallel()
	r := raise(t, nil)
	ok := r.post(r.newTap())
	refused := r.post(r.scripted(newUser(), wechattest.Answer(`{"errcode":40029,"errmsg":"invalid code, rid: 635d0e49-1d10d2a8-0c6c7c7d"}`)))
	if ok.status != 200 || refused.status != 400 {
		t.Fatal(ok.body, refused.body)
	}
	var lines []logLine
	waitFor(t, "there are two lines", func() bool {
		lines = r.logs.requests()
		return len(lines) == 2
	})
	if written := strings.Count(r.logs.text(), "\n") + 1; written != 2 {
		t.Errorf("wrote %d lines: %s", written, r.logs.text())
	}
	for i, line := range lines {
		if line.Level != "INFO" || line.WeChatMs == nil || line.OwnMs == nil || line.TotalMs == nil || *line.WeChatMs <= 0 || *line.OwnMs <= 0 {
			t.Fatalf("line %d: %+v", i, line)
		}
		if rest := *line.TotalMs - *line.WeChatMs - *line.OwnMs; math.Abs(rest) > 0.0015 { // each is cut to microseconds
			t.Errorf("line %d: %v ms in WeChat and %v of our own, %v in all", i, *line.WeChatMs, *line.OwnMs, *line.TotalMs)
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
	if text := out.text(); !strings.Contains(text, "withheld") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("wrote %s", text)
	}
}
