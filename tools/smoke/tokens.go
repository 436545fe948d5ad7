package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"time"
)

// This file checks what verifiers of identity tokens fetch.

const (
	discoveryPath = "/.well-known/openid-configuration"
	keySetPath    = "/.well-known/jwks.json"
)

// What consumers accept. API Gateway's and ALB's limits are from their documentation.
//
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-verify-jwt.html
const (
	maxWait     = 1500 * time.Millisecond // API Gateway, for each document
	maxDocument = 150_000                 // bytes; API Gateway and ALB
	maxKeys     = 10                      // ALB
	minBits     = 2048                    // RFC 7518, section 3.3
)

var errTokensOff = &note{"n/a ", "there is no discovery document and no key set: identity tokens are off (TokenIssuer)"}

// document is what a verifier fetches.
type document struct {
	answer
	body []byte
	took time.Duration
}

func (d *deployment) fetch(ctx context.Context, path string) (doc document, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base+path, nil)
	if err != nil {
		return doc, err
	}
	began := time.Now()
	response, err := d.client.Do(request)
	if err != nil {
		return doc, err
	}
	defer func() { _ = response.Body.Close() }()
	doc.body, err = io.ReadAll(io.LimitReader(response.Body, maxDocument))
	doc.took = time.Since(began)
	doc.status, doc.header = response.StatusCode, response.Header
	return doc, err
}

// fetchDocument fetches a document, decodes it and checks what both have in common. If
// the deployment has neither it nor the other document, the error is errTokensOff.
func (d *deployment) fetchDocument(ctx context.Context, path, other string, into any) (document, error) {
	doc, err := d.fetch(ctx, path)
	if err != nil {
		return doc, err
	}
	if doc.status == http.StatusNotFound {
		second, err := d.fetch(ctx, other)
		switch {
		case err != nil:
			return doc, err
		case second.status == http.StatusNotFound:
			return doc, errTokensOff
		}
		return doc, fmt.Errorf("there is %s, but not %s", other, path)
	}
	return doc, doc.decode(into)
}

func (doc document) decode(into any) error {
	if doc.status != http.StatusOK {
		_ = json.Unmarshal(doc.body, &doc.answer)
		if doc.Error == "misconfigured" {
			return fmt.Errorf("%v: the signing secret is missing, unreadable or has no usable key (make key)", doc.answer)
		}
		return explain(doc.answer)
	}
	if len(doc.body) == maxDocument {
		return errors.New("it has 150,000 bytes or more: API Gateway and ALB refuse it")
	}
	for name, want := range map[string]string{
		"content-type": "application/json", "cache-control": "public, max-age=300", "x-content-type-options": "nosniff",
	} {
		if got := doc.header.Get(name); got != want {
			return fmt.Errorf("the header %s is %q, not %q", name, got, want)
		}
	}
	if err := json.Unmarshal(doc.body, into); err != nil {
		return fmt.Errorf("no verifier can read it: %w", err)
	}
	return nil
}

// warnIfSlow returns a note if the document took too long.
func (d *deployment) warnIfSlow(doc document) error {
	if doc.took < d.slow {
		return nil
	}
	return &note{"warn", fmt.Sprintf("it took %v: API Gateway's JWT authorizers wait %v at most. "+
		"If the function had just started, run this again", doc.took.Round(time.Millisecond), d.slow)}
}

func (d *deployment) discovery(ctx context.Context) error {
	var found struct {
		Issuer        string   `json:"issuer"`
		KeySet        string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	}
	doc, err := d.fetchDocument(ctx, discoveryPath, keySetPath, &found)
	switch {
	case err != nil:
		return err
	case found.Issuer != d.base:
		return fmt.Errorf("the issuer is %q, but the document is at %s: every verifier refuses it. "+
			"Change TokenIssuer, or test the issuer's own address with URL=", found.Issuer, d.base+discoveryPath)
	case found.KeySet != found.Issuer+keySetPath:
		return fmt.Errorf("jwks_uri is %q, not the issuer's %s", found.KeySet, keySetPath)
	case !slices.Contains(found.Algorithms, "RS256"):
		return errors.New("it does not offer RS256, the only algorithm that API Gateway, ALB and IAM all accept")
	case len(found.ResponseTypes) == 0, len(found.SubjectTypes) == 0:
		return errors.New("IAM needs response_types_supported and subject_types_supported")
	}
	return d.warnIfSlow(doc)
}

func (d *deployment) keySet(ctx context.Context) error {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	doc, err := d.fetchDocument(ctx, keySetPath, discoveryPath, &set)
	switch {
	case err != nil:
		return err
	case len(set.Keys) == 0:
		return errors.New("it has no keys")
	case len(set.Keys) > maxKeys:
		return fmt.Errorf("it has %d keys: ALB refuses more than %d", len(set.Keys), maxKeys)
	}
	known := map[string]bool{}
	for _, key := range set.Keys {
		if err := key.check(); err != nil {
			return fmt.Errorf("the key %q %w", key.ID, err)
		}
		if known[key.ID] {
			return fmt.Errorf("the key %q occurs twice", key.ID)
		}
		known[key.ID] = true
	}
	return d.warnIfSlow(doc)
}

// jwk is a key of the key set. RFC 7517, and RFC 7518, section 6.3.
type jwk struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	Modulus   string `json:"n"`
	Exponent  string `json:"e"`
	Private   string `json:"d"`
}

// check returns an error that continues "the key …".
func (k jwk) check() error {
	if k.Private != "" {
		return errors.New("is published with its private part: replace all keys now (make key FLAGS=-revoke=all)")
	}
	if k.Type != "RSA" || k.Algorithm != "RS256" || k.Use != "sig" {
		return fmt.Errorf("is %s for %s (%s): API Gateway and ALB need RSA for RS256 (sig)", k.Type, k.Algorithm, k.Use)
	}
	n, errN := base64.RawURLEncoding.Strict().DecodeString(k.Modulus)
	e, errE := base64.RawURLEncoding.Strict().DecodeString(k.Exponent)
	if errN != nil || errE != nil || len(e) == 0 || len(e) > 4 || e[len(e)-1]%2 == 0 {
		return errors.New("has a modulus or an exponent that no verifier can read")
	}
	if bits := new(big.Int).SetBytes(n).BitLen(); bits < minBits {
		return fmt.Errorf("has %d bits: verifiers refuse fewer than %d", bits, minBits)
	}
	sum := sha256.Sum256([]byte(`{"e":"` + k.Exponent + `","kty":"RSA","n":"` + k.Modulus + `"}`))
	if base64.RawURLEncoding.EncodeToString(sum[:]) != k.ID {
		return errors.New("has a kid that is not its RFC 7638 thumbprint: a verifier may know another key by this kid")
	}
	return nil
}
