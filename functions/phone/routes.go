package main

import (
	"context"
	"net/http"
	"time"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/panics"
)

// margin is the time at the end of an invocation that is reserved for the answer.
const margin = 500 * time.Millisecond

const (
	jsonType = "application/json; charset=utf-8"
	noStore  = "no-store" // the answer is for one caller only
)

// route says how the function serves a path.
type route struct {
	name         string // for the log
	method       string
	contentType  string // of a success
	cacheControl string // of a success; failures are noStore
	needsIssuer  bool   // the path is unknown while tokens are off
	serve        func(*handler, context.Context, event, *record) ([]byte, error)
}

// routes maps each path to its route.
var routes = map[string]route{
	"/phone": {"/phone", http.MethodPost, jsonType, noStore, false, (*handler).servePhone},
	"/login": {"/login", http.MethodPost, jsonType, noStore, false, (*handler).serveLogin},

	"/.well-known/openid-configuration": {
		"discovery", http.MethodGet, "application/json", documentAge, true, (*handler).serveDiscovery},
	"/.well-known/jwks.json": {
		"jwks", http.MethodGet, "application/json", documentAge, true, (*handler).serveKeySet},
}

// noRoute is the route of an event that matches no other.
var noRoute = route{name: "none"}

// dispatch serves a gateway's event and returns the answer's body. It turns a
// panic into an error: otherwise the runtime would log the panic value and exit.
func (h *handler) dispatch(ctx context.Context, raw []byte, rec *record) (body []byte, err error) {
	defer panics.Recover(&err)
	e, err := readEvent(raw)
	if err != nil {
		return nil, err
	}
	rec.route, err = h.findRoute(e)
	if err != nil {
		return nil, err
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	return rec.route.serve(h, ctx, e, rec)
}

// withMargin returns a copy of ctx that ends early enough to answer.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-margin))
	}
	return context.WithCancel(ctx)
}

// findRoute returns the route that e asks for. If only the method is wrong, the
// route comes with the error. Every error is a [*failure.Error].
func (h *handler) findRoute(e event) (route, error) {
	r, ok := routes[e.path()]
	if !ok || r.needsIssuer && h.issuer == nil {
		return noRoute, &failure.Error{Kind: failure.NotFound}
	}
	if e.method() != r.method {
		return r, &failure.Error{Kind: failure.MethodNotAllowed, Message: "the method must be " + r.method}
	}
	return r, nil
}
