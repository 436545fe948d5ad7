package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/hostile"
	"wechat-phone/local/lambdatest"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/identity"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/redacted"
	"wechat-phone/shared/wechat"
)

// stub always returns the stage's credentials. For every code it returns the same
// user.
type stub struct {
	session wechat.Session
	phone   opendata.Phone
}

func (stub) Get(context.Context) (appsecret.Apps, error) {
	return appsecret.Parse(stage.Secret(stage.AppID, stage.AppSecret))
}

func (k stub) Discover(ctx context.Context) (appsecret.Apps, error) { return k.Get(ctx) }

func (stub) Usable(_ context.Context, app wechat.Credentials) (wechat.Credentials, error) {
	return app, nil
}

func (stub) Refresh(_ context.Context, app wechat.Credentials) (wechat.Credentials, error) {
	return app, nil
}

func (k stub) Code2Session(context.Context, wechat.Credentials, string) (wechat.Session, error) {
	return k.session, nil
}

func (k stub) PhoneNumber(
	context.Context, wechat.AccessToken, string, string,
) (opendata.Phone, time.Time, error) {
	return k.phone, time.Time{}, nil
}

func (stub) CheckEncryptedMsg(context.Context, wechat.AccessToken, opendata.Sealed) error {
	return nil
}

// stubTokens always returns a token.
type stubTokens struct{}

func (stubTokens) Get(_ context.Context, app wechat.Credentials) (wechat.AccessToken, error) {
	return wechat.AccessToken{Value: redacted.New(wechattest.TokenMark), AppID: app.AppID}, nil
}

func (stubTokens) Drop(wechat.AccessToken) {}

// stubKeys always returns the same keys.
type stubKeys struct{ *identity.Keys }

func (stubKeys) Load() error { return nil }

func (k stubKeys) Get(context.Context) (*identity.Keys, error) { return k.Keys, nil }

var stubIssuer = sync.OnceValue(func() *issuer {
	change, err := identity.New(time.Now())
	if err != nil {
		panic(err)
	}
	keys, err := identity.ParseKeys(change.List.Reveal())
	if err != nil {
		panic(err)
	}
	return &issuer{url: "https://api.example.com", keys: stubKeys{keys}, lifetime: time.Minute}
})

// tapOf returns a tap by user.
func tapOf(user wechattest.User) wechattest.Tap {
	tap := wechattest.New(stage.AppID, stage.AppSecret, time.Now).SealPhone(user)
	tap.Code = hostile.Code(1)
	return tap
}

func newStub(user wechattest.User) stub {
	key, err := opendata.ParseSessionKey(base64.StdEncoding.EncodeToString(user.SessionKey))
	if err != nil {
		panic(err)
	}
	return stub{wechat.Session{Key: key, OpenID: user.OpenID}, opendata.Phone{
		PhoneNumber: user.Phone, PurePhoneNumber: user.PurePhone,
		CountryCode: opendata.CountryCode(user.CountryCode),
	}}
}

// Whatever the event, the function returns a complete answer. A failure holds no part
// of the request.
func FuzzEvent(f *testing.F) {
	user := hostile.User(1)
	for _, event := range eventSeeds(f, tapOf(user)) {
		f.Add(event)
	}
	ctx := lambdacontext.NewContext(context.Background(), &lambdacontext.LambdaContext{
		AwsRequestID: "8f50b6a1-0000-4000-8000-000000000000",
	})
	f.Fuzz(func(t *testing.T, event []byte) {
		if isCheck(event) { // not a request
			return
		}
		var line bytes.Buffer
		h := &handler{
			secrets: newStub(user), tokens: stubTokens{}, wechat: newStub(user),
			timeout: time.Second, maxAge: 0, verify: true, now: time.Now, issuer: stubIssuer(),
			log: slog.New(slog.NewJSONHandler(&line, nil)),
		}
		text, err := h.Invoke(ctx, event)
		if err != nil {
			t.Fatalf("Invoke returned %v, want no error, which the runtime would log", err)
		}
		if checkAnswer(t, text, user) == failure.Internal {
			t.Errorf("got a panic, want none: %s", line.String())
		}
		if leak := hostile.Leak(line.String()); leak != "" || bytes.Count(line.Bytes(), []byte("\n")) != 1 {
			t.Errorf("got the log %s, want one line without the marked value %q", line.String(), leak)
		}
	})
}

// eventSeeds returns the events of hostile and of events/, and hostile's requests
// as events.
func eventSeeds(f *testing.F, tap wechattest.Tap) (events [][]byte) {
	f.Helper()
	for _, event := range hostile.Events() {
		events = append(events, []byte(event.JSON))
	}
	requests := hostile.Requests(tap)
	phone := wechattest.PhoneTap{PhoneCode: hostile.PhoneCode(1)}
	both := wechattest.PhoneTap{PhoneCode: hostile.PhoneCode(1), Code: tap.Code}
	for _, good := range []any{tap, phone, both} {
		requests = append(requests, hostile.Request{
			Method: "POST", Path: "/phone", ContentType: "application/json", Body: hostile.JSON(good),
		})
	}
	for _, request := range requests {
		if len(request.Body) > 32<<10 || strings.ContainsAny(request.Path, "电\x00\r\n") {
			continue
		}
		r := httptest.NewRequest("POST", "/phone", nil)
		r.Method, r.URL.Path = request.Method, request.Path
		r.Header.Set("Content-Type", request.ContentType)
		if event, err := json.Marshal(lambdatest.NewEvent(r, []byte(request.Body))); err == nil {
			events = append(events, event)
		}
	}
	files, err := filepath.Glob("../../events/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("got %d files in events/, want some: %v", len(files), err)
	}
	for _, file := range files {
		event, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

// checkAnswer checks that text is a complete answer, and that a failure holds no part
// of the request. It returns the answer's error.
func checkAnswer(t *testing.T, text []byte, user wechattest.User) failure.Kind {
	t.Helper()
	var got response
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("got %v for the answer, want JSON", err)
	}
	h := got.Headers
	h.RequestID, h.RetryAfter, h.Allow = "", "", ""
	want := headers{ContentType: jsonType, CacheControl: noStore, TypeOptions: "nosniff", Version: version}
	document := strings.HasPrefix(got.Body, `{"keys":[`) || strings.HasPrefix(got.Body, `{"issuer":`)
	if document {
		want.ContentType, want.CacheControl = "application/json", documentAge
	}
	if h != want {
		t.Errorf("got the headers %+v, want %+v", h, want)
	}
	var body struct {
		Error       failure.Kind   `json:"error"`
		Message     string         `json:"message"`
		Action      failure.Action `json:"action"`
		RequestID   string         `json:"requestId"`
		PhoneNumber string         `json:"phoneNumber"`
		E164        string         `json:"e164"`
		OpenID      string         `json:"openid"`
		Token       string         `json:"token"`
	}
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
		t.Fatalf("got %v for the body, want JSON", err)
	}
	if got.StatusCode == 200 {
		login := body.OpenID == user.OpenID && body.PhoneNumber == "" && body.E164 == ""
		phone := body.Error == "" && body.PhoneNumber == user.Phone && body.E164 == "+86"+user.Phone &&
			(body.OpenID == user.OpenID || body.OpenID == "")
		if !login && !phone && !document {
			t.Errorf("got 200 %s, want the user's number or openid", got.Body)
		}
		if (body.Token != "") != (body.OpenID != "") || body.Token != "" && rig.Claims(t, body.Token)["sub"] != user.OpenID {
			t.Errorf("got 200 %s, want a token of the user if it has an openid", got.Body)
		}
		return body.Error
	}
	if body.Error.Status() != got.StatusCode || body.Message == "" || body.RequestID == "" ||
		!slices.Contains(failure.Actions(), body.Action) {
		t.Errorf("got %d %s, want the four fields of a failure", got.StatusCode, got.Body)
	} else if leak := hostile.Leak(got.Body); leak != "" {
		t.Errorf("got %s, want a body without the marked value %q", got.Body, leak)
	}
	return body.Error
}

// A request is either accepted in full or refused with a message that repeats no
// part of it.
func FuzzRequest(f *testing.F) {
	tap := tapOf(hostile.User(1))
	phone := wechattest.PhoneTap{PhoneCode: hostile.PhoneCode(1), Code: tap.Code}
	for _, body := range []string{hostile.JSON(tap), hostile.Form(tap), hostile.JSON(phone), hostile.Form(phone)} {
		f.Add("application/json; charset=utf-8", body, false)
		f.Add("application/x-www-form-urlencoded", body, true)
		f.Add("", body, true)
	}
	for _, request := range hostile.Requests(tap) {
		if len(request.Body) <= 32<<10 {
			f.Add(request.ContentType, request.Body, request.ContentType != "application/json")
		}
	}
	f.Fuzz(func(t *testing.T, contentType, body string, encoded bool) {
		var e event
		e.RawPath, e.RequestContext.HTTP.Method = "/phone", "POST"
		e.Headers = map[string]string{"content-type": contentType}
		e.Body, e.IsBase64Encoded = body, encoded
		if encoded {
			e.Body = base64.StdEncoding.EncodeToString([]byte(body))
		}
		r, err := readPhoneRequest(e, false)
		if err != nil {
			wrong, ok := errors.AsType[*failure.Error](err)
			if !ok || wrong.Kind.Action() != failure.Fix {
				t.Errorf("got the error %T, want a *failure.Error whose action is fix", err)
			} else if leak := hostile.Leak(wrong.Message); leak != "" {
				t.Errorf("got the message %q, want one without the marked value %q", wrong.Message, leak)
			}
			return
		}
		for _, code := range []string{r.code, r.phoneCode} {
			if len(body) > maxBody || len(code) > maxCode || strings.Trim(code, codeAlphabet) != "" {
				t.Errorf("got the code %q accepted, want it refused", code)
			}
		}
		sealed := r.sealed.Hash() != (opendata.Sealed{}).Hash()
		if sealed == (r.phoneCode != "") || sealed && r.code == "" {
			t.Errorf("got code %q, phoneCode %q and sealed data: %v, want one of the two shapes",
				r.code, r.phoneCode, sealed)
		}
	})
}
