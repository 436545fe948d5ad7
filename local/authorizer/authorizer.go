// Package authorizer is a stand-in for the JWT authorizer of API Gateway's HTTP APIs.
// Call [Create] to put one in front of a consumer.
//
// It enforces what AWS publishes, and each rule names its source. If AWS leaves the
// authorizer a choice, the stand-in makes the worse one: it fetches the keys only when its
// two hours are over, even for an unknown kid. AWS does not publish what the authorizer
// does with base64url that is not canonical. The stand-in refuses it.
package authorizer

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// workflow is the page with the rules.
const workflow = "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html"

// limits bound a request and what the issuer answers.
type limits struct {
	headers   int           // bytes of the request line and the header values
	keySet    int           // bytes of the key set
	discovery time.Duration // for the discovery document
	keys      time.Duration // for the key set
	cache     time.Duration // how long the keys are kept; workflow has it
}

// published are AWS's limits.
//
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
var published = limits{10240, 150000, 1500 * time.Millisecond, 1500 * time.Millisecond, 2 * time.Hour}

// rule is one check of a token.
type rule struct {
	name   string
	source string
	passes func(*Authorizer, *token) bool
}

// rules are checked in this order. The first that fails is the answer's
// error_description.
var rules = []rule{
	{"the algorithm must be RSA's", workflow, func(_ *Authorizer, t *token) bool { return t.Algorithm == "RS256" }},
	{"the kid must match a key", workflow, func(a *Authorizer, t *token) bool { return a.keys[t.KeyID] != nil }},
	{"a key must verify the signature", workflow, (*Authorizer).verify},
	{"the issuer must match", workflow, func(a *Authorizer, t *token) bool { return t.Issuer == a.Issuer }},
	{"the audience must match", workflow, func(a *Authorizer, t *token) bool { return anyIn(t.audience(), a.Audience) }},
	{"exp must be after now", workflow, func(a *Authorizer, t *token) bool { return unix(t.Expires).After(a.Now()) }},
	{"nbf must be before now", workflow, func(a *Authorizer, t *token) bool { return unix(t.NotBefore).Before(a.Now()) }},
	{"iat must be before now", workflow, func(a *Authorizer, t *token) bool { return unix(t.IssuedAt).Before(a.Now()) }},
	{scopeRule, workflow, func(a *Authorizer, t *token) bool {
		return len(a.Scopes) == 0 || anyIn(t.scopes(), a.Scopes)
	}},
}

func anyIn(texts, list []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return slices.Contains(list, text) })
}

// scopeRule alone is answered with 403, as RFC 6750, section 3.1 says.
const scopeRule = "the token must have one of the route's scopes"

// Config says whom an [Authorizer] trusts, and what is behind it.
type Config struct {
	Issuer    string
	Audience  []string
	Scopes    []string // of the route; any token passes if there are none
	Consumer  http.Handler
	Now       func() time.Time
	Transport http.RoundTripper // reaches the issuer
}

// Authorizer is an [http.Handler]. It is safe for concurrent use.
type Authorizer struct {
	Config
	limits limits
	rules  []rule

	mu      sync.Mutex
	fetched time.Time
	keys    map[string]*rsa.PublicKey // by kid
}

// Create fetches the issuer's documents. If it cannot, it returns an error: API Gateway
// refuses to create such an authorizer.
func Create(c Config) (*Authorizer, error) {
	a := &Authorizer{Config: c, limits: published, rules: rules}
	return a, a.fetch()
}

// claimsKey is the key of the claims in a request's context.
type claimsKey struct{}

// Claims returns the claims of the token in a consumer's request, as text. An event has
// them as text too, under requestContext.authorizer.jwt.claims.
func Claims(r *http.Request) map[string]string {
	claims, _ := r.Context().Value(claimsKey{}).(map[string]string)
	return claims
}

func (a *Authorizer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if size(r) > a.limits.headers {
		refuse(w, http.StatusRequestHeaderFieldsTooLarge, "")
		return
	}
	t, err := parse(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		refuse(w, http.StatusUnauthorized, err.Error())
		return
	}
	switch broken := a.check(t); broken {
	case "":
		a.Consumer.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, t.claims)))
	case scopeRule:
		refuse(w, http.StatusForbidden, broken)
	default:
		refuse(w, http.StatusUnauthorized, broken)
	}
}

// size returns the size of the request line and the header values.
func size(r *http.Request) int {
	n := len(r.Method + " " + r.RequestURI + " " + r.Proto)
	for _, values := range r.Header {
		n += len(strings.Join(values, ","))
	}
	return n
}

// check returns the first rule that the token breaks, or "" if it breaks none.
func (a *Authorizer) check(t *token) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Now().Sub(a.fetched) >= a.limits.cache {
		if err := a.fetch(); err != nil {
			return err.Error()
		}
	}
	for _, rule := range a.rules {
		if !rule.passes(a, t) {
			return rule.name
		}
	}
	return ""
}

// refuse answers like API Gateway.
//
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-jwt.html
func refuse(w http.ResponseWriter, status int, description string) {
	if description != "" {
		w.Header().Set("Www-Authenticate", fmt.Sprintf("Bearer error=%q error_description=%q", "invalid_token", description))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, map[string]string{"message": http.StatusText(status)})
}

// header is a token's header.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
}

// payload has the claims that the rules are about. A missing time counts as long ago.
type payload struct {
	Issuer    string `json:"iss"`
	Expires   int64  `json:"exp"`
	NotBefore int64  `json:"nbf"`
	IssuedAt  int64  `json:"iat"`
}

// token is a decoded JWT.
type token struct {
	header
	payload
	claims    map[string]string
	signed    string
	signature []byte
}

var errToken = errors.New("the token is malformed")

func parse(text string) (*token, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errToken
	}
	t := &token{signed: parts[0] + "." + parts[1]}
	var all map[string]jsontext.Value
	signature, err := decode(parts[2])
	err = errors.Join(err, unmarshal(parts[0], &t.header), unmarshal(parts[1], &t.payload), unmarshal(parts[1], &all))
	if err != nil {
		return nil, errToken
	}
	t.claims, t.signature = texts(all), signature
	return t, nil
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0) }

func decode(text string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil && base64.RawURLEncoding.EncodeToString(raw) != text {
		err = errToken
	}
	return raw, err
}

func unmarshal(text string, v any) error {
	raw, err := decode(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}

// texts returns strings as they are, and all other values as JSON.
func texts(all map[string]jsontext.Value) map[string]string {
	claims := map[string]string{}
	for name, value := range all {
		text := string(value)
		if value.Kind() == '"' {
			_ = json.Unmarshal(value, &text)
		}
		claims[name] = text
	}
	return claims
}

// audience returns aud, or client_id if there is no aud: see workflow.
func (t *token) audience() []string {
	aud, ok := t.claims["aud"]
	if !ok {
		return []string{t.claims["client_id"]}
	}
	var list []string
	if json.Unmarshal([]byte(aud), &list) == nil {
		return list
	}
	return []string{aud}
}

func (t *token) scopes() []string { return strings.Fields(t.claims["scope"] + " " + t.claims["scp"]) }

// verify tries every key if the kid is unknown: another rule is about the kid.
func (a *Authorizer) verify(t *token) bool {
	candidates := []*rsa.PublicKey{a.keys[t.KeyID]}
	if candidates[0] == nil {
		candidates = slices.Collect(maps.Values(a.keys))
	}
	digest := sha256.Sum256([]byte(t.signed))
	return slices.ContainsFunc(candidates, func(key *rsa.PublicKey) bool {
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.signature) == nil
	})
}

// fetch replaces the keys with those that the issuer publishes. The caller holds mu.
func (a *Authorizer) fetch() error {
	var discovery struct {
		KeySet string `json:"jwks_uri"`
	}
	text, err := a.get(a.Issuer+"/.well-known/openid-configuration", a.limits.discovery)
	if err == nil {
		err = json.Unmarshal(text, &discovery)
	}
	if err != nil {
		return fmt.Errorf("the discovery document cannot be used: %w", err)
	}
	var set struct {
		Keys []struct {
			Type     string `json:"kty"`
			KeyID    string `json:"kid"`
			Modulus  string `json:"n"`
			Exponent string `json:"e"`
		} `json:"keys"`
	}
	text, err = a.get(discovery.KeySet, a.limits.keys)
	switch {
	case err != nil:
		return fmt.Errorf("the key set cannot be used: %w", err)
	case len(text) > a.limits.keySet:
		return fmt.Errorf("the key set has more than %d bytes", a.limits.keySet)
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return fmt.Errorf("the key set cannot be used: %w", err)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, key := range set.Keys {
		n, err1 := decode(key.Modulus)
		e, err2 := decode(key.Exponent)
		if key.Type != "RSA" || err1 != nil || err2 != nil {
			continue
		}
		keys[key.KeyID] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	a.keys, a.fetched = keys, a.Now()
	return nil
}

// get fetches one of the issuer's documents. It must be public, over https: see workflow.
// Only an issuer on this machine needs no TLS.
func (a *Authorizer) get(url string, within time.Duration) ([]byte, error) {
	if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://127.0.0.1:") {
		return nil, errors.New("its URL does not begin with https://")
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := a.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(response.Body)
}
