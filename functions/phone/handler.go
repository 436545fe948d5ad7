package main

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/opendata"
	"wechat-phone/shared/wechat"
)

// handler answers events. It is safe for concurrent use.
type handler struct {
	secrets secretStore
	tokens  tokenCache
	wechat  wechatAPI
	timeout time.Duration // for all calls to WeChat together
	maxAge  time.Duration // of a watermark; 0 for any
	verify  bool          // ask WeChat whether it sealed the data

	requireLogin bool // refuse a phone code without a login code

	issuer *issuer // of identity tokens; nil if tokens are off

	now func() time.Time
	log *slog.Logger

	warm atomic.Bool // the process has served a request; a check does not count
}

// secretStore returns the mini-programs' credentials. See [appsecret.Store].
type secretStore interface {
	Get(context.Context) (appsecret.Apps, error)
	Reread(context.Context) (appsecret.Apps, error)
	Discover(context.Context) (appsecret.Apps, error)
	Usable(context.Context, wechat.Credentials) (wechat.Credentials, error)
	Refresh(ctx context.Context, rejected wechat.Credentials) (wechat.Credentials, error)
}

// tokenCache returns each mini-program's access token. See [wechat.Tokens].
type tokenCache interface {
	Get(context.Context, wechat.Credentials) (wechat.AccessToken, error)
	Drop(rejected wechat.AccessToken)
}

// wechatAPI makes the function's calls to WeChat. See [wechat.Client].
type wechatAPI interface {
	StableToken(context.Context, wechat.Credentials) (wechat.AccessToken, time.Duration, error)
	Code2Session(ctx context.Context, app wechat.Credentials, code string) (wechat.Session, error)
	PhoneNumber(ctx context.Context, token wechat.AccessToken, code, openID string) (opendata.Phone, time.Time, error)
	CheckEncryptedMsg(context.Context, wechat.AccessToken, opendata.Sealed) error
}

// record collects what the answer and the log line say about a request.
type record struct {
	route    route            // set by dispatch
	progress failure.Progress // set by the route, then by exchange

	// Set by chooseApp.
	appID       string // empty until the secret is known to hold it
	foreignPage bool   // the Referer names another mini-program

	// Set by exchange.
	wechatTime time.Duration
	errcode    int    // of the refusal that decided the answer, if there was one
	rid        string // the same refusal's
}

// Invoke implements [lambda.Handler]. It takes and returns bytes, so the runtime
// needs no reflection and knows the answer's length. (The runtime then sends
// application/octet-stream, which Lambda ignores.) It never returns an error: the
// runtime would log the error's text and answer with it.
func (h *handler) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	if isCheck(event) {
		h.check(ctx)
		return []byte("null"), nil
	}
	return encode(h.respondTo(ctx, event)), nil
}

// respondTo answers an event and writes its log line.
func (h *handler) respondTo(ctx context.Context, event []byte) response {
	began := time.Now()
	first := !h.warm.Swap(true)
	requestID := ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		requestID = lc.AwsRequestID
	}

	rec := record{route: noRoute}
	var answer response
	outcome := "ok"
	attrs := make([]slog.Attr, 0, 11)
	body, err := h.dispatch(ctx, event, &rec)
	if err == nil {
		answer = respond(http.StatusOK, rec.route.contentType, rec.route.cacheControl, requestID, body)
	} else {
		f := failure.Of(err)
		answer = respondFailure(f, requestID, rec)
		outcome = string(f.Kind)
		if f.Reason != "" {
			attrs = append(attrs, slog.String("reason", f.Reason))
		}
	}
	total := time.Since(began)
	attrs = append(attrs,
		slog.String("outcome", outcome),
		slog.String("route", rec.route.name),
		slog.Int("status", answer.StatusCode),
		slog.Float64("wechatMs", milliseconds(rec.wechatTime)),
		slog.Float64("ownMs", milliseconds(total-rec.wechatTime)),
		slog.Float64("totalMs", milliseconds(total)),
		slog.Bool("first", first),
	)
	if rec.appID != "" {
		attrs = append(attrs, slog.String("appid", rec.appID))
	}
	if rec.errcode != 0 {
		attrs = append(attrs, slog.Int("errcode", rec.errcode), slog.String("rid", rec.rid))
	}
	h.log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
	return answer
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// respondFailure answers a request that failed.
func respondFailure(f failure.Failure, requestID string, rec record) response {
	message := f.Message(rec.progress)
	if rec.foreignPage && rec.errcode == wechat.InvalidCode {
		message += "; the Referer names a different mini-program"
	}
	r := respond(f.Kind.Status(), jsonType, noStore, requestID, encode(struct {
		Error     failure.Kind   `json:"error"`
		Message   string         `json:"message"`
		Action    failure.Action `json:"action"`
		RequestID string         `json:"requestId"`
	}{f.Kind, message, f.Action(rec.progress), requestID}))
	r.Headers.RetryAfter = f.RetryAfter(rec.progress)
	if f.Kind == failure.MethodNotAllowed {
		r.Headers.Allow = rec.route.method
	}
	return r
}
