package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

const discoveryPath = "/.well-known/openid-configuration"

// backend checks tokens with the standard library alone. A real backend leaves that to
// its gateway or to an OpenID Connect library. Like theirs, its configuration is the
// issuer and the appid.
type backend struct {
	issuer string
	appID  string
	now    func() time.Time
}

// claims are the claims that the backend uses.
type claims struct {
	Issuer      string `json:"iss"`
	Subject     string `json:"sub"`       // the openid
	Audience    string `json:"aud"`       // the appid
	AppID       string `json:"client_id"` // the same: users are keyed on it and the openid
	IssuedAt    int64  `json:"iat"`
	Expires     int64  `json:"exp"`
	Scope       string `json:"scope"`
	PhoneNumber string `json:"phone_number"`
	VerifiedAt  int64  `json:"phone_number_verified_at"`
}

// verify returns the claims of a token that vouches for a phone number. Every error
// says which check failed.
func (b backend) verify(ctx context.Context, token string) (c claims, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("it does not have three parts")
	}
	var header struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	if err := decode(parts[0], &header); err != nil {
		return c, fmt.Errorf("its header: %w", err)
	}
	if header.Algorithm != "RS256" {
		return c, errors.New("its algorithm is not RS256")
	}
	key, err := b.fetchKey(ctx, header.KeyID)
	if err != nil {
		return c, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return c, fmt.Errorf("its signature: %w", err)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) != nil {
		return c, errors.New("its signature is not the key's")
	}
	if err := decode(parts[1], &c); err != nil {
		return c, fmt.Errorf("its claims: %w", err)
	}
	return c, b.checkClaims(c)
}

func (b backend) checkClaims(c claims) error {
	now := b.now().Unix()
	switch {
	case c.Issuer != b.issuer:
		return errors.New("its issuer is another")
	case c.Audience != b.appID:
		return errors.New("its audience is another mini-program")
	case now >= c.Expires:
		return errors.New("it has expired")
	case c.IssuedAt > now:
		return errors.New("it was issued in the future")
	case !slices.Contains(strings.Fields(c.Scope), "phone"):
		return errors.New("its scope has no phone")
	}
	return nil
}

// fetchKey fetches the issuer's key with an id. A real backend caches the key set.
func (b backend) fetchKey(ctx context.Context, id string) (*rsa.PublicKey, error) {
	var discovery struct {
		Issuer string `json:"issuer"`
		KeySet string `json:"jwks_uri"`
	}
	if err := fetch(ctx, b.issuer+discoveryPath, &discovery); err != nil {
		return nil, err
	}
	if discovery.Issuer != b.issuer {
		return nil, errors.New("the discovery document has another issuer")
	}
	var set struct {
		Keys []struct {
			ID       string `json:"kid"`
			Modulus  string `json:"n"`
			Exponent string `json:"e"`
		} `json:"keys"`
	}
	if err := fetch(ctx, discovery.KeySet, &set); err != nil {
		return nil, err
	}
	for _, key := range set.Keys {
		n, errN := base64.RawURLEncoding.DecodeString(key.Modulus)
		e, errE := base64.RawURLEncoding.DecodeString(key.Exponent)
		if key.ID == id && errN == nil && errE == nil {
			return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
		}
	}
	return nil, errors.New("the key set does not have its key")
}

func fetch(ctx context.Context, url string, document any) error {
	text, status, err := call(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("got status %d from %s", status, url)
	}
	return json.Unmarshal(text, document)
}

// decode decodes a part of a token.
func decode(text string, part any) error {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, part)
}
