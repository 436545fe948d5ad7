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
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/hostile"
	"wechat-phone/local/lambdatest"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/redacted"
	"wechat-phone/shared/wechat"
)

// known always has credentials, and knows one user by whatever code.
type known struct {
	session wechat.Session
	phone   opendata.Phone
}

func (known) Get(context.Context) (appsecret.Apps, error) {
	return appsecret.Parse(stage.Secret(stage.AppID, stage.AppSecret))
}

func (k known) Discover(ctx context.Context) (appsecret.Apps, error) { return k.Get(ctx) }

func (known) Usable(_ context.Context, app wechat.Credentials) (wechat.Credentials, error) {
	return app, nil
}

func (known) Refresh(_ context.Context, app wechat.Credentials) (wechat.Credentials, error) {
	return app, nil
}

func (k known) Code2Session(context.Context, wechat.Credentials, string) (wechat.Session, error) {
	return k.session, nil
}

func (k known) PhoneNumber(context.Context, wechat.AccessToken, string, string) (opendata.Phone, error) {
	return k.phone, nil
}

func (known) CheckEncryptedMsg(context.Context, wechat.AccessToken, opendata.Sealed) error {
	return nil
}

// knownTokens always has a token.
type knownTokens struct{}

func (knownTokens) Get(_ context.Context, app wechat.Credentials) (wechat.AccessToken, error) {
	return wechat.AccessToken{Value: redacted.New(wechattest.TokenMark), AppID: app.AppID}, nil
}

func (knownTokens) Drop(wechat.AccessToken) {}

// tapOf is a tap of the user that known knows.
func tapOf(user wechattest.User) wechattest.Tap {
	tap := wechattest.New(stage.AppID, stage.AppSecret, time.Now).SealPhone(user)
	tap.Code = hostile.Code(1)
	return tap
}

func newKnown(user wechattest.User) known {
	key, err := opendata.ParseSessionKey(base64.StdEncoding.EncodeToString(user.SessionKey))
	if err != nil {
		panic(err)
	}
	return known{
		wechat.Session{Key: key, OpenID: user.OpenID},
		opendata.Phone{PhoneNumber: user.Phone, PurePhoneNumber: user.PurePhone, CountryCode: opendata.CountryCode(user.CountryCode)},
	}
}

// Whatever the event is, the answer is a whole one of the contract, and holds
// nothing that was sent.
func FuzzEvent(f *testing.F) {
	user := hostile.User(1)
	tap := tapOf(user)
	for _, event := range hostile.Events() {
		f.Add([]byte(event.JSON))
	}
	requests := hostile.Requests(tap)
	for _, good := range []any{tap, wechattest.PhoneTap{PhoneCode: hostile.PhoneCode(1)}, wechattest.PhoneTap{PhoneCode: hostile.PhoneCode(1), Code: tap.Code}} {
		requests = append(requests, hostile.Request{Method: "POST", Path: "/phone", ContentType: "application/json", Body: hostile.JSON(good)})
	}
	for _, request := range requests {
		if len(request.Body) > 32<<10 || strings.ContainsAny(request.Path, "电\x00\r\n") {
			continue
		}
		r := httptest.NewRequest("POST", "/phone", nil)
		r.Method, r.URL.Path = request.Method, request.Path
		r.Header.Set("Content-Type", request.ContentType)
		event, err := json.Marshal(lambdatest.NewEvent(r, []byte(request.Body)))
		if err == nil {
			f.Add(event)
		}
	}
	files, err := filepath.Glob("../../events/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no events: %v", err)
	}
	for _, file := range files {
		event, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(event)
	}

	ctx := lambdacontext.NewContext(context.Background(), &lambdacontext.LambdaContext{AwsRequestID: "8f50b6a1-0000-4000-8000-000000000000"})
	f.Fuzz(func(t *testing.T, event []byte) {
		var line bytes.Buffer
		h := &handler{
			secrets: newKnown(user), tokens: knownTokens{}, wechat: newKnown(user), timeout: time.Second, maxAge: 0, verify: true, now: time.Now,
			log: slog.New(slog.NewJSONHandler(&line, nil)),
		}
		text, err := h.Invoke(ctx, event)
		if err != nil {
			t.Fatalf("an error for the runtime to print: %v", err)
		}
		var got response
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if got.Headers.ContentType != "application/json; charset=utf-8" || got.Headers.CacheControl != "no-store" || got.Headers.TypeOptions != "nosniff" {
			t.Errorf("headers %v", got.Headers)
		}
		var body struct {
			Error       failure.Kind   `json:"error"`
			Message     string         `json:"message"`
			Action      failure.Action `json:"action"`
			RequestID   string         `json:"requestId"`
			PhoneNumber string         `json:"phoneNumber"`
			E164        string         `json:"e164"`
			OpenID      string         `json:"openid"`
		}
		if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
			t.Fatalf("the body is no JSON: %v", err)
		}
		if got.StatusCode == 200 {
			if body.Error != "" || body.PhoneNumber == "" || body.E164 != "+86"+user.Phone || body.OpenID != user.OpenID && body.OpenID != "" {
				t.Errorf("a success of %s", got.Body)
			}
		} else if body.Error.Status() != got.StatusCode || body.Message == "" || body.RequestID == "" ||
			!slices.Contains(failure.Actions(), body.Action) {
			t.Errorf("a failure of %d %s", got.StatusCode, got.Body)
		} else if leak := hostile.Leak(got.Body); leak != "" {
			t.Errorf("%q leaked into %s", leak, got.Body)
		}
		if body.Error == failure.Internal {
			t.Errorf("a panic: %s", line.String())
		}
		if leak := hostile.Leak(line.String()); leak != "" || bytes.Count(line.Bytes(), []byte("\n")) != 1 {
			t.Errorf("%q leaked into %s", leak, line.String())
		}
	})
}

// A request is taken whole or refused with a reason that repeats nothing of it.
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
				t.Errorf("an undocumented error: %T", err)
			} else if leak := hostile.Leak(wrong.Message); leak != "" {
				t.Errorf("%q leaked into %s", leak, wrong.Message)
			}
			return
		}
		for _, code := range []string{r.code, r.phoneCode} {
			if len(body) > maxBody || len(code) > maxCode || strings.Trim(code, codeAlphabet) != "" {
				t.Errorf("took the code %q", code)
			}
		}
		if opened := r.sealed.Hash() != (opendata.Sealed{}).Hash(); opened == (r.phoneCode != "") || opened && r.code == "" {
			t.Errorf("took %q, %q and sealed data %v, which is no shape", r.code, r.phoneCode, opened)
		}
	})
}
