package main

import (
	"context"
	"strings"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/wechat"
)

// appRequest has the appids that a request names.
type appRequest struct {
	field   string // from the body; may be empty
	referer string // from the Referer; may be empty
}

// readApp checks the appid field and reads the Referer. Every error is a
// [*failure.Error].
func readApp(e event, f fields) (appRequest, error) {
	if f.AppID.present && !appsecret.IsAppID(f.AppID.text) {
		return appRequest{}, failure.Invalid("appid must be wx and 16 lower-case hexadecimal digits")
	}
	return appRequest{f.AppID.text, refererApp(e.header("referer"))}, nil
}

// refererApp returns the appid in a page's Referer, or "". wx.request always sends
// https://servicewechat.com/{appid}/{version}/page-frame.html, and pages cannot
// change it. Two headers that the gateway has joined do not count.
//
// https://developers.weixin.qq.com/miniprogram/dev/framework/ability/network.html
func refererApp(referer string) string {
	rest, ok := strings.CutPrefix(referer, "https://servicewechat.com/")
	appID, _, slash := strings.Cut(rest, "/")
	if !ok || !slash || strings.Contains(referer, ",") || !appsecret.IsAppID(appID) {
		return ""
	}
	return appID
}

// chooseApp returns the credentials of the mini-program that a request is for. If
// the secret holds one mini-program, every request without another appid field is
// for that one. If it holds several, the appid field decides, or else the Referer.
// For an unknown appid it first rereads the secret, because somebody may have added
// a mini-program, and so it does if the mini-program's secret is empty.
func (h *handler) chooseApp(ctx context.Context, r appRequest, rec *record) (wechat.Credentials, error) {
	apps, err := h.secrets.Get(ctx)
	if err != nil {
		return wechat.Credentials{}, err
	}
	named := r.field
	if named == "" {
		named = r.referer
	}
	app, known := apps.Find(named)
	if !known && named != "" {
		fresh, err := h.secrets.Discover(ctx)
		_, single := apps.Only()
		switch {
		case err == nil:
			apps = fresh
			app, known = apps.Find(named)
		case r.field != "" || !single:
			return wechat.Credentials{}, err
		}
	}
	only, single := apps.Only()
	switch {
	case known:
	case r.field != "":
		return wechat.Credentials{}, failure.Invalid("appid is not a mini-program of this deployment")
	case single:
		app = only
	default:
		return wechat.Credentials{}, failure.Invalid(
			"appid is missing: this deployment serves several mini-programs, and the Referer names none of them")
	}
	rec.appID, rec.foreignPage = app.AppID, r.referer != "" && r.referer != app.AppID
	return h.secrets.Usable(ctx, app)
}
