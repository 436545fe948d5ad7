package main

import (
	"context"
	"crypto/rand"
	"encoding/json/v2"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/panics"
	"wechat-phone/shared/wechat"
)

// checksAtOnce is how many mini-programs are checked at once.
const checksAtOnce = 8

// verdict is what a line of the check says.
type verdict string

const (
	checkOK    verdict = "ok"
	checkAct   verdict = "act"         // somebody must act
	checkWait  verdict = "wait"        // WeChat or AWS is slow, busy or down
	notChecked verdict = "not_checked" // no time was left
)

// isCheck reports whether raw is the event {"check":true}. No gateway sends it: a
// request's body is a string inside the gateway's event.
func isCheck(raw []byte) bool {
	var e struct {
		Check bool `json:"check"`
	}
	return json.Unmarshal(raw, &e, json.RejectUnknownMembers(true)) == nil && e.Check
}

// check tests whether the function can serve each mini-program's users, and writes a
// log line for each. It reads the secrets afresh and does not use cached access
// tokens. It ends early enough to answer the event.
func (h *handler) check(ctx context.Context) {
	ctx, cancel := withMargin(ctx)
	defer cancel()
	var all sync.WaitGroup
	if h.issuer != nil {
		all.Go(func() { h.report(ctx, "", func() error { return h.issuer.keys.Reread(ctx) }) })
	}
	var apps appsecret.Apps
	h.report(ctx, "", func() (err error) {
		apps, err = h.secrets.Reread(ctx)
		return err
	})
	queue := make(chan wechat.Credentials)
	for range checksAtOnce {
		all.Go(func() {
			for app := range queue {
				h.report(ctx, app.AppID, func() error { return h.checkApp(ctx, app) })
			}
		})
	}
	for app := range apps.All() {
		queue <- app
	}
	close(queue)
	all.Wait()
}

// report runs a step of the check and writes its log line. If appID is empty, the
// step is about a secret, and has a line only if it fails.
func (h *handler) report(ctx context.Context, appID string, step func() error) {
	began := time.Now()
	result, attrs := checkOK, make([]slog.Attr, 0, 5)
	if ctx.Err() != nil {
		result = notChecked
	} else if err := attempt(step); err != nil {
		result = judge(err)
		attrs = append(attrs, slog.String("reason", failure.Of(err).Reason))
		if refusal, ok := errors.AsType[*wechat.Error](err); ok && refusal.ErrCode != 0 {
			attrs = append(attrs, slog.Int("errcode", refusal.ErrCode))
		}
	}
	if appID != "" {
		attrs = append(attrs, slog.String("appid", appID))
	} else if result == checkOK {
		return
	}
	attrs = append(attrs,
		slog.String("check", string(result)), slog.Float64("checkMs", milliseconds(time.Since(began))))
	h.log.LogAttrs(ctx, slog.LevelInfo, "check", attrs...)
}

// attempt runs step and turns a panic into an error.
func attempt(step func() error) (err error) {
	defer panics.Recover(&err)
	return step()
}

// judge returns the verdict on a step that failed. Waiting does not help if WeChat
// refuses a call for any other reason than being busy.
func judge(err error) verdict {
	switch failure.Of(err).Kind {
	case failure.Unavailable, failure.RateLimited, failure.UpstreamTimeout:
		return checkWait
	case failure.UpstreamError:
		if call, ok := errors.AsType[*wechat.Error](err); ok && call.Kind != wechat.Refused {
			return checkWait
		}
	}
	return checkAct
}

// checkApp makes a mini-program's calls to WeChat. stable_token proves that its
// credentials are right and that WeChat accepts the function's address. WeChat must
// then refuse made-up codes: a server that accepts any code is not WeChat.
func (h *handler) checkApp(ctx context.Context, app wechat.Credentials) error {
	if err := appsecret.Complete(app); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	token, _, err := h.wechat.StableToken(ctx, app)
	if err != nil {
		return err
	}
	_, err = h.wechat.Code2Session(ctx, app, "check-"+rand.Text())
	if err := wantRefusal(err, wechat.LoginAPI, wechat.InvalidCode); err != nil {
		return err
	}
	_, _, err = h.wechat.PhoneNumber(ctx, token, "check-"+rand.Text(), "")
	return wantRefusal(err, wechat.PhoneAPI, wechat.InvalidCode, wechat.InvalidAppID)
}

// wantRefusal returns nil if err is api's refusal of a code, with one of the errcodes.
func wantRefusal(err error, api wechat.API, errcodes ...int) error {
	if err == nil {
		return &failure.Error{Kind: failure.Misconfigured, Message: "wechat: " + string(api) + " accepted a made-up code"}
	}
	if refusal, ok := errors.AsType[*wechat.Error](err); ok && slices.Contains(errcodes, refusal.ErrCode) {
		return nil
	}
	return err
}
