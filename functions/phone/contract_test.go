package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
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

// These tests cover what callers may rely on. They run the compiled function.

// wantBody checks that got is a success with exactly this body.
func wantBody(t *testing.T, name string, got rig.Answer, want string) {
	t.Helper()
	if got.Status != 200 || got.Body != want {
		t.Errorf("%s: got %d %s, want 200 %s", name, got.Status, got.Body, want)
	}
}

// phoneFields returns the beginning of an answer with user's number, without the
// closing brace.
func phoneFields(user wechattest.User) string {
	return fmt.Sprintf(`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":"86","e164":"+86%s"`,
		user.Phone, user.PurePhone, user.PurePhone)
}

const formType = "application/x-www-form-urlencoded"

func asJSON(tap wechattest.Tap) string { return hostile.JSON(tap) }

func asForm(tap wechattest.Tap) string { return hostile.Form(tap) }

// editBase64 returns a function that edits a tap's base64 and returns it as JSON.
func editBase64(edit func(string) string) func(wechattest.Tap) string {
	return func(tap wechattest.Tap) string {
		tap.EncryptedData, tap.IV = edit(tap.EncryptedData), edit(tap.IV)
		return hostile.JSON(tap)
	}
}

var encodingTests = []struct {
	name, contentType string
	body              func(wechattest.Tap) string
}{
	{"JSON", "application/json", asJSON},
	{"JSON with a charset", "application/json; charset=utf-8", asJSON},
	{"JSON in another spelling", "Application/JSON ;charset=UTF-8", asJSON},
	{"JSON without a content type", "", asJSON},
	{"JSON with white space", "application/json", func(tap wechattest.Tap) string {
		return "\r\n\t " + hostile.JSON(tap) + " \n"
	}},
	{"JSON with unknown fields", "application/json", func(tap wechattest.Tap) string {
		return strings.Replace(hostile.JSON(tap), "{", `{"cloudID":null,"Code":7,"errMsg":{"a":[1]},`, 1)
	}},
	{"JSON with spaces for pluses", "application/json", editBase64(func(text string) string {
		return strings.ReplaceAll(text, "+", " ")
	})},
	{"JSON without padding", "application/json", editBase64(func(text string) string {
		return strings.TrimRight(text, "=")
	})},
	{"a form", formType, asForm},
	{"a form with a charset", formType + "; charset=utf-8", asForm},
	{"a form with unknown fields", formType, func(tap wechattest.Tap) string {
		return "a=1&" + hostile.Form(tap) + "&b="
	}},
	{"a form with raw pluses", formType, func(tap wechattest.Tap) string {
		return "code=" + tap.Code + "&encryptedData=" + tap.EncryptedData + "&iv=" + tap.IV
	}},
}

func TestEveryEncodingOfARequestIsAccepted(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	user := rig.NewUser()
	want := phoneFields(user) + fmt.Sprintf(`,"openid":%q}`, user.OpenID)
	for _, tt := range encodingTests {
		got := r.Send("POST", "/phone", tt.contentType, tt.body(r.Tap(user)))
		wantBody(t, tt.name, got, want)
		r.WantHeaders(tt.name, got)
	}
	for _, e := range []object{
		httpAPI("", "/phone", "$default", nil), httpAPI("", "/prod/phone", "prod", nil),
	} {
		delete(e, "headers") // including the content type
		e["body"] = base64.StdEncoding.EncodeToString([]byte(hostile.JSON(r.Tap(user))))
		e["isBase64Encoded"] = true
		wantBody(t, fmt.Sprint("base64 to ", e["rawPath"]), invokeEvent(t, r, e), want)
	}
}

// The gateway lower-cases header names. sam local start-api does not.
func TestContentTypeIsFoundInAnySpelling(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, name := range []string{"content-type", "Content-Type", "CONTENT-TYPE"} {
		e := httpAPI("", "/phone", "$default", nil)
		e["headers"] = object{"accept": "*/*", name: formType}
		r.Want(name, invoke(t, r, e, hostile.Form(r.NewTap())), hostile.Want{})
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
		tap := wechattest.Seal(user.SessionKey, fmt.Appendf(nil, `{%s,"watermark":{"timestamp":%d,"appid":%q}}`,
			phone, time.Now().Unix(), stage.AppID))
		tap.Code = r.WeChat.Login(user)
		got := r.Send("POST", "/phone", "application/json", hostile.JSON(tap))
		fields := strings.Split(phone, `,"more"`)[0]
		for number, text := range map[string]string{`:852`: `:"852"`, `:86`: `:"86"`} {
			fields = strings.Replace(fields, number, text, 1)
		}
		wantBody(t, phone, got, fmt.Sprintf(`{%s,"e164":%q,"openid":%q,"unionid":%q}`,
			fields, e164, user.OpenID, user.UnionID))
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
		const event = `{"version":"2.0","rawPath":%q,"requestContext":{"stage":%q,"http":{"method":"GET"}}}`
		got := r.Invoke(fmt.Sprintf(event, tt.path, tt.stage))
		if got.Error != tt.failure {
			t.Errorf("stage %s, path %s: got %s, want %s", tt.stage, tt.path, got.Error, tt.failure)
		}
	}
}

func TestWatermarkMaxAge(t *testing.T) {
	t.Parallel()
	for setting, accepted := range map[string]bool{"0": true, "0s": true, "720h": true, "5s": false} {
		r := rig.Raise(t, rig.Env("WATERMARK_MAX_AGE="+setting))
		user := rig.NewUser()
		user.Phone, user.PurePhone = "13500001111", "13500001111"
		tap := sealAt(user, time.Now().Add(-24*time.Hour))
		if got := r.Send("POST", "/phone", "", hostile.JSON(r.Grant(user, tap))); (got.Status == 200) != accepted {
			t.Errorf("WATERMARK_MAX_AGE=%s: got %d for data of yesterday, want success: %v", setting, got.Status, accepted)
		}
	}
}

// sealAt seals user's number with a watermark of the given time. The mock WeChat does
// not know the data.
func sealAt(user wechattest.User, sealed time.Time) wechattest.Tap {
	return wechattest.Seal(user.SessionKey, fmt.Appendf(nil,
		`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":"86","watermark":{"timestamp":%d,"appid":%q}}`,
		user.Phone, user.Phone, sealed.Unix(), stage.AppID))
}

func TestFunctionRecoversOnceWeChatIsReachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL = "http://" + address })
	tap := r.NewTap()
	r.WantFailure("nothing listens", r.Post(tap), "unavailable", 503, "retry")

	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: r.WeChat}
	defer func() { _ = server.Close() }()
	go func() { _ = server.Serve(l) }()
	wantStatus(t, "the same request sent again", r.Post(tap), 200)
}

func TestUnreachableWeChatIsUnavailable(t *testing.T) {
	t.Parallel()
	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	secured.Config.ErrorLog = discardLog
	secured.StartTLS()
	defer secured.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for name, url := range map[string]string{
		"a name that does not resolve":  "https://wechat.invalid",
		"a handshake that never ends":   "https://" + silent.Addr().String(),
		"a certificate of no authority": secured.URL,
	} {
		r := rig.Raise(t, func(c *stage.Config) { c.WeChatURL, c.Env = url, []string{"WECHAT_TIMEOUT=300ms"} })
		r.WantFailure(name, r.Post(r.NewTap()), "unavailable", 503, "retry")
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
		t.Errorf("busy twice: got %d after %d requests, want 200 after 3", got.Status, times.Load())
	}
}

func TestCodeWorksOnce(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	tap := r.NewTap()
	wantStatus(t, "the first time", r.Post(tap), 200)
	r.WantFailure("the second time", r.Post(tap), "code_rejected", 400, "login")
	tap.Code = "never-given"
	r.WantFailure("an invented code", r.Post(tap), "code_rejected", 400, "login")
}

func TestAnswerComesBeforeTheInvocationsDeadline(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Timeout = 1200 * time.Millisecond })
	tap := r.TapScripted(rig.NewUser(), hostile.Silence)
	began := time.Now()
	r.WantFailure("silence", r.Post(tap), "upstream_timeout", 504, "login")
	if took := time.Since(began); took < 650*time.Millisecond || took > 1100*time.Millisecond {
		t.Errorf("got an answer after %v of 1.2 s, want about 0.7 s", took)
	}

	// Less time is left than the margin, so nothing may be sent.
	r = rig.Raise(t, func(c *stage.Config) { c.Timeout = 450 * time.Millisecond })
	tap = r.NewTap()
	r.WantFailure("no time", r.Post(tap), "unavailable", 503, "retry")
	wantSeen(t, r, "no time left", tap.Code, 0)
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
		{"TOKEN_ISSUER", "http://canary.example"},
		{"TOKEN_ISSUER", "https://canary.example/"},
		{"TOKEN_ISSUER", "https://canary.example:443"},
		{"TOKEN_ISSUER", "canary"},
		{"SIGNING_SECRET_ID", "\x00TOKEN_ISSUER=https://api.example.com"},
		{"TOKEN_LIFETIME", "59s"},
		{"TOKEN_LIFETIME", "24h1s"},
		{"TOKEN_LIFETIME", "canary"},
		{"TOKEN_RENEWAL", "-1s"},
		{"TOKEN_RENEWAL", "721h"},
		{"TOKEN_RENEWAL", "30d"},
		{"AWS_MAX_ATTEMPTS", "canary"},
		{"AWS_RETRY_MODE", "canary"},
		{"AWS_USE_FIPS_ENDPOINT", "canary"},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "canary"},
		{"AWS_CA_BUNDLE", "/canary"},
		{"AWS_CA_BUNDLE", "/etc/hostname"},
		{"AWS_PROFILE", "canary"},
	} {
		code, text := rig.RunToExit(t, strings.Split(tt.name+"="+tt.value, "\x00")...)
		if code != 1 {
			t.Errorf("%s=%s: got exit code %d, want 1", tt.name, tt.value, code)
		}
		if strings.Contains(text, "\n") || !strings.Contains(text, tt.name) || strings.Contains(text, "canary") {
			t.Errorf("%s=%s: got %q, want one line with the name but not the value", tt.name, tt.value, text)
		}
	}
}

func TestSecretsAreReadAndConnectionOpenedBeforeTheFirstRequest(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		w := rig.NewWeChat(t, scheme)
		r := w.RaiseWith(t, func(c *stage.Config) { c.Tokens = true })
		check := func(name string) {
			t.Helper()
			wantReads(t, r, scheme+", "+name, 2) // the app secret and the keys
			if opened := w.Opened.Load(); opened != 1 {
				t.Errorf("%s, %s: got %d connections, want 1", scheme, name, opened)
			}
		}
		check("after the start")
		for range 3 {
			r.WantPhone(scheme, r.NewTap())
		}
		check("after 3 requests")
	}
}

func TestStartReadsTheSecretsWhileItConnects(t *testing.T) {
	t.Parallel()
	const pause = 800 * time.Millisecond
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		time.Sleep(pause)
		return nil, nil
	}}
	server.StartTLS()
	defer server.Close()
	secrets := &secretstest.Server{}
	secrets.Put("name", stage.Secret(stage.AppID, stage.AppSecret))
	secrets.Put("keys", signingList(t))
	manager := httptest.NewServer(hostile.Slowly(pause, secrets))
	defer manager.Close()
	began := time.Now()
	rig.Raise(t, func(c *stage.Config) {
		c.WeChatURL = server.URL
		c.Env = []string{
			rig.Trust(t, server), "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + manager.URL, "WECHAT_SECRET_ID=name",
			"TOKEN_ISSUER=https://api.example.com", "SIGNING_SECRET_ID=keys",
		}
	})
	if took := time.Since(began); took < pause || took > 2*pause-50*time.Millisecond {
		t.Errorf("the start took %v, want more than %v and clearly less than %v", took, pause, 2*pause)
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
	r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, stage.AppSecret))
	wantStatus(t, "the first request after the secret was fixed", r.Post(r.NewTap()), 200)
}

func TestRequestWaitsAtMostTwoSecondsForSecretsManager(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Secret = "malformed" })
	r.Secrets.Fail(hostile.Silence)
	began := time.Now()
	r.WantFailure("silence", r.Post(r.NewTap()), "unavailable", 503, "retry")
	if took := time.Since(began); took < 1900*time.Millisecond || took > 3*time.Second {
		t.Errorf("got an answer after %v, want it after about 2 s", took)
	}
}

func TestRotatedSecretNeedsNoDeployment(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	r.WeChat.SetSecret(rotatedSecret)
	r.Secrets.Put(stage.SecretName, stage.Secret(stage.AppID, rotatedSecret))
	for i, name := range []string{"the first request after the rotation", "the second request after the rotation"} {
		tap := r.NewTap()
		wantStatus(t, name, r.Post(tap), 200)
		wantSeen(t, r, name, tap.Code, 2-i)
		wantReads(t, r, name, 2)
	}

	// WeChat rejects the secret again within 30 s.
	r.WeChat.SetSecret("00000000000000000000000000000000")
	for range 5 {
		tap := r.NewTap()
		r.WantFailure("a wrong secret", r.Post(tap), "misconfigured", 500, "none")
		wantSeen(t, r, "a wrong secret", tap.Code, 1)
	}
	wantReads(t, r, "within 30 s", 2)
}

func TestHangingRereadDoesNotExceedTheTimeout(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, rig.Env("WECHAT_TIMEOUT=400ms"))
	r.WeChat.SetSecret("canary of a rotated secret")
	r.Secrets.Fail(hostile.Silence)
	began := time.Now()
	r.WantFailure("a re-read that hangs", r.Post(r.NewTap()), "unavailable", 503, "retry")
	if took := time.Since(began); took > 1500*time.Millisecond {
		t.Errorf("got an answer after %v, want at most 1.5 s", took)
	}
}

func TestUnchangedSecretIsNotTriedTwice(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	for range 3 {
		tap := r.NewTap()
		r.WantFailure("a wrong secret", r.Post(tap), "misconfigured", 500, "none")
		wantSeen(t, r, "a wrong secret", tap.Code, 1)
	}
	wantReads(t, r, "a wrong secret", 2)

	r = rig.Raise(t, nil)
	r.WeChat.SetSecret("00000000000000000000000000000000")
	r.Secrets.Fail(secretstest.Fault(500, "InternalServiceError", ""))
	r.WantFailure("a re-read that fails", r.Post(r.NewTap()), "unavailable", 503, "retry")
}

func TestOneLinePerRequest(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	wantStatus(t, "a success", r.Post(r.NewTap()), 200)
	refused := r.Post(r.TapScripted(rig.NewUser(), wechattest.Answer(
		`{"errcode":40029,"errmsg":"invalid code, rid: 635d0e49-1d10d2a8-0c6c7c7d"}`)))
	wantStatus(t, "a refusal", refused, 400)
	var lines []rig.Line
	rig.WaitFor(t, "there are two lines", func() bool {
		lines = r.Logs.Requests()
		return len(lines) == 2
	})
	if count := strings.Count(r.Logs.Text(), "\n") + 1; count != 3 {
		t.Errorf("got %d lines, want one at start and 2 for the requests: %s", count, r.Logs.Text())
	}
	const start = `"message":"the function has started","version":"dev"`
	if first, _, _ := strings.Cut(r.Logs.Text(), "\n"); !strings.Contains(first, start) {
		t.Errorf("got the first line %s, want %s in it", first, start)
	}
	for i, line := range lines {
		wantTimes(t, line)
		if line.Level != "INFO" || line.First == nil || *line.First != (i == 0) || !rig.IsRequestID(line.RequestID) {
			t.Errorf("got line %d %+v, want level INFO, first %v and a request id", i, line, i == 0)
		}
	}
	if lines[0].Outcome != "ok" || lines[0].Status != 200 || lines[0].ErrCode != 0 {
		t.Errorf("a success: got %+v, want ok, 200 and no errcode", lines[0])
	}
	if lines[1].Outcome != "code_rejected" || lines[1].Status != 400 || lines[1].ErrCode != 40029 ||
		lines[1].RID != "635d0e49-1d10d2a8-0c6c7c7d" || lines[1].RequestID != refused.RequestID {
		t.Errorf("a refusal: got %+v, want code_rejected, 400, 40029, WeChat's rid and the answer's request id", lines[1])
	}
}

// wantTimes checks that a log line has its times and that they add up.
func wantTimes(t *testing.T, line rig.Line) {
	t.Helper()
	if line.WeChatMs == nil || line.OwnMs == nil || line.TotalMs == nil || *line.WeChatMs <= 0 || *line.OwnMs <= 0 {
		t.Fatalf("got %+v, want times above 0", line)
	}
	sum := *line.WeChatMs + *line.OwnMs
	if math.Abs(*line.TotalMs-sum) > 0.0015 { // each is rounded down to a microsecond
		t.Errorf("got totalMs %v, want the sum of wechatMs and ownMs, %v", *line.TotalMs, sum)
	}
}

// If the Runtime API disappears, for example because an emulator exits, the runtime
// library logs the API's address, and not as JSON.
func TestLostRuntimeAPILogsOneLine(t *testing.T) {
	t.Parallel()
	code, text := rig.RunToExit(t, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b",
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:1", "WECHAT_API_BASE_URL=http://127.0.0.1:1")
	if code == 0 {
		t.Error("got exit code 0 without a Runtime API, want another")
	}
	if !strings.Contains(text, "the Lambda runtime API is gone") ||
		strings.Contains(text, "withheld") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("got %s, want a line that says that the runtime API is gone, without its address", text)
	}
}

func TestStandardLogIsOneFixedLine(t *testing.T) {
	var out bytes.Buffer
	w := libraryLog{slog.New(slog.NewJSONHandler(&out, nil))}
	log.New(w, "", 0).Printf("Unsolicited response on idle channel starting with %q", "canary")
	if text := out.String(); strings.Contains(text, "canary") || strings.Contains(text, "Unsolicited") ||
		!strings.Contains(text, `"level":"ERROR"`) || !strings.Contains(text, "withheld") || strings.Count(text, "\n") != 1 {
		t.Errorf("got %s, want one ERROR line that says a line was withheld", text)
	}
}

func TestMissingRuntimeAPIIsNamed(t *testing.T) {
	var out bytes.Buffer
	w := libraryLog{slog.New(slog.NewJSONHandler(&out, nil))}
	log.New(w, "", 0).Print("expected AWS Lambda environment variables [AWS_LAMBDA_RUNTIME_API] are not defined")
	if text := out.String(); !strings.Contains(text, "AWS_LAMBDA_RUNTIME_API is not set") {
		t.Errorf("got %s, want a line that names the variable", text)
	}
}

// An operator would expect calls to WeChat to use the proxy. They do not.
func TestProxyVariableCausesAWarningAtStart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		_, text := rig.RunToExit(t, name+"=http://127.0.0.1:1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b",
			"AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:1", "WECHAT_API_BASE_URL=http://127.0.0.1:1")
		if !strings.Contains(text, "but calls to WeChat do not") ||
			!strings.Contains(text, `"variable":"`+name+`"`) {
			t.Errorf("%s: got %s, want a line that names the variable", name, text)
		}
	}
}
