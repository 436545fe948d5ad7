package main

import (
	"context"

	"wechat-phone/shared/identity"
)

// documentAge is how long others may cache the two public documents.
const documentAge = "public, max-age=300"

// serveDiscovery answers GET /.well-known/openid-configuration. The document needs
// no key.
func (h *handler) serveDiscovery(context.Context, event, *record) ([]byte, error) {
	return identity.Discovery(h.issuer.url), nil
}

// serveKeySet answers GET /.well-known/jwks.json.
func (h *handler) serveKeySet(ctx context.Context, _ event, _ *record) ([]byte, error) {
	keys, err := h.signingKeys(ctx)
	if err != nil {
		return nil, err
	}
	return keys.JWKS(h.now()), nil
}
