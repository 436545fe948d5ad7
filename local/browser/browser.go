// Package browser shows a stage in a browser: a phone to tap, and each call that a tap
// causes. Call [Raise]. Pages and tests use the same API, at the mock WeChat's URL:
//
//	GET  /stage/events         server-sent events: call, log, fault
//	POST /stage/faults/{name}  [stage.Stage.Inject]
//	POST /stage/phone, /login  the gateway's routes; the query's appid is the mini-program that posts
//	GET  /stage/me, /orders    what the example backend gets from its authorizer
package browser

import (
	"bytes"
	"context"
	"embed"
	"encoding/json/v2"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"time"

	"wechat-phone/docs"
	"wechat-phone/examples/backend"
	"wechat-phone/examples/miniprogram"
	"wechat-phone/local/authorizer"
	"wechat-phone/local/lambdatest"
	"wechat-phone/local/stage"
)

//go:embed stage
var files embed.FS

// page serves the page of a stage.
type page struct {
	*stage.Stage
	mux    *http.ServeMux
	stream stream
}

// Raise is like [stage.Raise]. If the stage listens on 127.0.0.1 and has the mock WeChat,
// it has several mini-programs and tokens, and its mock WeChat serves the page.
func Raise(config stage.Config) (_ *stage.Stage, err error) {
	if config.Host != "127.0.0.1" || config.WeChatURL != "" {
		return stage.Raise(config)
	}
	p := &page{mux: http.NewServeMux()}
	config.Wrap, config.Tokens, config.Several = p.wrap, true, true
	config.Logs = io.MultiWriter(config.Logs, &p.stream)
	if p.Stage, err = stage.Raise(config); err != nil {
		return nil, err
	}
	p.route()
	p.PageURL = p.WeChatURL
	return p.Stage, nil
}

// wrap records a server's calls.
func (p *page) wrap(server string, handler http.Handler) http.Handler {
	switch server {
	case "phone":
		p.mux.Handle("/", p.stream.record("page", "wechat", cut, handler))
		return p.mux
	case "gateway":
		gateway := handler.(*lambdatest.Gateway)
		invoke := gateway.Invoke
		gateway.Invoke = func(ctx context.Context, event []byte) (_ []byte, err error) {
			end := p.stream.begin(call{From: "gateway", To: "function", Name: "invoke"})
			defer func() { end(map[bool]int{true: http.StatusOK}[err == nil], "") }()
			_ = p.Function.Signal(syscall.SIGCONT) // Lambda thaws a process for an event
			return invoke(ctx, event)
		}
		return p.stream.record("page", server, cut, gateway)
	}
	return p.stream.record("function", server, redact, handler)
}

// route serves the page and its API.
func (p *page) route() {
	p.handle("GET /{$}", http.RedirectHandler("/stage/", http.StatusFound))
	p.handle("GET /stage/", http.FileServerFS(files))
	p.handle("GET /stage/events", &p.stream)
	p.handle("POST /stage/faults/{name}", http.HandlerFunc(p.inject))
	for name, text := range map[string][]byte{
		"component.mjs": miniprogram.Component(), "backend.mjs": backend.Function, "operations.md": docs.Operations,
	} {
		p.handle("GET /stage/"+name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
		}))
	}
	gateway, _ := url.Parse(p.URL)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(gateway)
		r.Out.URL.RawQuery = ""
		r.Out.Header.Set("Referer", "https://servicewechat.com/"+r.In.URL.Query().Get("appid")+"/0/page-frame.html")
	}}
	p.handle("POST /stage/{route}", http.StripPrefix("/stage", proxy))
	for route, scope := range map[string]string{"/me": "openid", "/orders": "phone"} {
		api, _ := authorizer.Create(authorizer.Config{ // without the keys, it fetches them for the first token
			Issuer: p.URL, Audience: []string{stage.AppID, stage.SecondAppID}, Scopes: []string{scope},
			Consumer: http.HandlerFunc(passOn), Now: time.Now, Transport: http.DefaultTransport,
		})
		p.handle("GET /stage"+route, http.StripPrefix("/stage", p.stream.record("page", "gateway", cut, api)))
	}
}

// handle adds a route that pages of other sites cannot use, not even by DNS rebinding.
func (p *page) handle(route string, handler http.Handler) {
	guarded := http.NewCrossOriginProtection().Handler(handler)
	p.mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
		if "http://"+strings.Replace(r.Host, "localhost:", "127.0.0.1:", 1) != p.WeChatURL {
			http.Error(w, "the Host header does not name this server", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; img-src 'self';"+
			" script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		guarded.ServeHTTP(w, r)
	})
}

func (p *page) inject(w http.ResponseWriter, r *http.Request) {
	if err := p.Inject(r.PathValue("name")); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.stream.publish("fault", r.PathValue("name"))
}

// passOn answers with the event for the example backend's function, which the page runs. So the stage needs no Node.
func passOn(w http.ResponseWriter, r *http.Request) {
	type object = map[string]any
	context := object{"authorizer": object{"jwt": object{"claims": authorizer.Claims(r)}}}
	_ = json.MarshalWrite(w, object{"routeKey": "GET " + r.URL.Path, "requestContext": context})
}
