package authorizer

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"wechat-phone/local/forgery"
	"wechat-phone/shared/identity"
	"wechat-phone/shared/redacted"
)

const (
	issuer = "https://login.example.com/shop"
	appID  = "wx0123456789abcdef"
	openID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
)

// direct answers requests with a handler, without a network, so that it works in a
// testing/synctest bubble.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// documents serves an issuer's documents. It waits before it answers, and appends white
// space to the key set.
type documents struct {
	keys  func() *identity.Keys
	wait  map[string]time.Duration // by the last part of the path
	space int
}

func (d *documents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.String() {
	case issuer + "/.well-known/openid-configuration":
		time.Sleep(d.wait["openid-configuration"])
		_, _ = w.Write(identity.Discovery(issuer))
	case issuer + "/.well-known/jwks.json":
		time.Sleep(d.wait["jwks.json"])
		keys := d.keys()
		if keys == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintf(w, "%s%*s", keys.JWKS(time.Now()), d.space, "")
	default:
		http.NotFound(w, r)
	}
}

// stack is an issuer with its signing secret.
type stack struct {
	secret string
	keys   *identity.Keys
	signer forgery.Signer
}

func newStack(t *testing.T, at time.Time) stack {
	t.Helper()
	change, err := identity.New(at)
	if err != nil {
		t.Fatal(err)
	}
	s := stack{secret: change.List.Reveal()}
	if s.keys, err = identity.ParseKeys(s.secret); err == nil {
		s.signer, err = forgery.Read(s.secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// claims returns the claims of a user who tapped just now.
func claims(now time.Time) identity.Claims {
	return identity.Claims{
		Issuer: issuer, AppID: appID, OpenID: redacted.New(openID), UnionID: redacted.New("oUnion"),
		IssuedAt: now, Lifetime: 15 * time.Minute, AuthTime: now,
		Phone: identity.Phone{Number: redacted.New("+8613580006666"), VerifiedAt: now},
	}
}

// phonebook is a small consumer. It trusts what is in front of it, as a Lambda function
// behind an authorizer does.
var phonebook = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	claims := Claims(r)
	_, _ = fmt.Fprintf(w, "%s %s has %s, verified %s at %s", claims["client_id"], claims["sub"],
		claims["phone_number"], claims["phone_number_verified"], claims["phone_number_verified_at"])
})

// config trusts the stack's tokens with scope phone.
func (s stack) config(now func() time.Time) Config {
	return Config{
		Issuer: issuer, Audience: []string{appID}, Scopes: []string{"phone"}, Consumer: phonebook, Now: now,
		Transport: direct{&documents{keys: func() *identity.Keys { return s.keys }}},
	}
}

func create(t *testing.T, c Config) *Authorizer {
	t.Helper()
	a, err := Create(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ask sends a request with a token. The target is the request's.
func ask(a *Authorizer, token, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}
