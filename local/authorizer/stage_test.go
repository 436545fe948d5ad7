package authorizer

import (
	"encoding/json/v2"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/forgery"
	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// deployment is the function on a stage, behind TLS.
type deployment struct{ *rig.Issuer }

func deploy(t *testing.T) deployment {
	t.Helper()
	return deployment{rig.RaiseIssuer(t, func(c *stage.Config) { c.Several = true })}
}

// authorizer is in front of a route that asks for the scopes.
func (d deployment) authorizer(t *testing.T, scopes ...string) *Authorizer {
	t.Helper()
	return create(t, Config{
		Issuer: d.TLS.URL, Audience: []string{stage.AppID}, Scopes: scopes, Consumer: phonebook, Now: time.Now,
		Transport: d.TLS.Client().Transport,
	})
}

// user returns one of the mini-program's users.
func user(appID string) wechattest.User {
	u := rig.NewUser()
	u.AppID = appID
	return u
}

// login logs a user of the first mini-program in and returns the token.
func (d deployment) login(u wechattest.User, earlier string) (token string) {
	login := wechattest.PageLogin{Code: d.Login(u), Token: earlier, AppID: stage.AppID}
	return d.Send("POST", "/login", "application/json", hostile.JSON(login)).Token
}

func TestAnHTTPAPIAcceptsTheFunctionsTokens(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	tapped := user(stage.AppID)
	afterTap := d.PostPhone(d.TapBoth(tapped)).Token
	renewed := d.login(tapped, afterTap)
	silent := d.login(user(stage.AppID), "")
	foreign := d.PostPhone(d.TapBoth(user(stage.SecondAppID))).Token
	forPhone, forAll := d.authorizer(t, "phone"), d.authorizer(t)
	for _, tt := range []struct {
		name      string
		a         *Authorizer
		token     string
		want      int
		withPhone bool
	}{
		{"after a tap", forPhone, afterTap, http.StatusOK, true},
		{"renewed", forPhone, renewed, http.StatusOK, true},
		{"a silent login, for the phone", forPhone, silent, http.StatusForbidden, false},
		{"a silent login, for a route without scopes", forAll, silent, http.StatusOK, false},
		{"another mini-program's", forPhone, foreign, http.StatusUnauthorized, false},
	} {
		got := ask(tt.a, tt.token, "/")
		withPhone := strings.Contains(got.Body.String(), " has +"+tapped.CountryCode+tapped.PurePhone+",")
		if got.Code != tt.want || withPhone != tt.withPhone {
			t.Errorf("%s: got %d, the number %v, want %d, %v", tt.name, got.Code, withPhone, tt.want, tt.withPhone)
		}
	}
}

// consumers lists the claims that each consumer needs, according to its documentation. No
// consumer was run.
var consumers = []struct {
	name, source string
	needs        []string
}{
	{"an HTTP API", workflow, []string{"iss", "aud", "exp", "iat", "scope"}},
	{"a REST API", "https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-jwt-authorizer.html",
		[]string{"iss", "aud", "exp", "scope"}},
	{"an ALB", "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-verify-jwt.html",
		[]string{"iss", "exp", "aud"}}, // aud as an additional claim: without it any app's token would pass
	{"AppSync, with both TTLs", "https://docs.aws.amazon.com/appsync/latest/APIReference/API_OpenIDConnectConfig.html",
		[]string{"iss", "aud", "exp", "iat", "auth_time"}},
	{"IAM", "https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html",
		[]string{"iss", "sub", "aud", "exp", "iat"}},
	{"a relying party", "https://openid.net/specs/openid-connect-core-1_0.html",
		[]string{"iss", "sub", "aud", "exp", "iat", "phone_number", "phone_number_verified"}},
	{"a backend of several mini-programs", "docs/identity.md", []string{"client_id", "sub", "unionid"}},
	{"a backend that wants recent numbers", "docs/identity.md", []string{"phone_number_verified_at"}},
}

// IAM takes azp as the audience. The others would only be more reasons to refuse a token.
var unwanted = []string{"azp", "nbf", "jti", "nonce"}

func TestTokensHaveWhatEachConsumerNeeds(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	u := user(stage.AppID)
	u.UnionID = "oUnion"
	claims := forgery.Payload(d.PostPhone(d.TapBoth(u)).Token)
	needed := map[string]bool{}
	for _, consumer := range consumers {
		for _, name := range consumer.needs {
			needed[name] = true
			if claims[name] == nil {
				t.Errorf("got no %s, but %s needs it: %s", name, consumer.name, consumer.source)
			}
		}
	}
	for name := range claims {
		if !needed[name] || slices.Contains(unwanted, name) {
			t.Errorf("got %s, which no consumer needs", name)
		}
	}
	var discovery struct {
		Issuer string   `json:"issuer"`
		Claims []string `json:"claims_supported"`
	}
	if text := d.fetch(t, "/.well-known/openid-configuration"); json.Unmarshal(text, &discovery) != nil {
		t.Fatal("got a discovery document that is not JSON")
	}
	if slices.Sort(discovery.Claims); !slices.Equal(discovery.Claims, slices.Sorted(maps.Keys(claims))) {
		t.Errorf("got the claims %v in the discovery document, want those of a token", discovery.Claims)
	}
	if discovery.Issuer != claims["iss"] { // AppSync, and OpenID Connect Discovery
		t.Errorf("got the issuer %s in the discovery document, want the token's", discovery.Issuer)
	}
}

func TestTheKeySetIsWithinEachConsumersLimits(t *testing.T) {
	t.Parallel()
	text := deploy(t).fetch(t, "/.well-known/jwks.json")
	var set struct {
		Keys []struct {
			Type      string `json:"kty"`
			Algorithm string `json:"alg"`
			Use       string `json:"use"`
			KeyID     string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	// An ALB accepts ten keys. With a rotation every day there are four.
	if len(set.Keys) != 2 || len(text)*2 > published.keySet/10 {
		t.Errorf("got %d keys in %d bytes, want 2 in a small part of %d bytes", len(set.Keys), len(text), published.keySet)
	}
	for i, key := range set.Keys {
		if got := fmt.Sprintf("%s %s %s", key.Type, key.Algorithm, key.Use); got != "RSA RS256 sig" || len(key.KeyID) != 43 {
			t.Errorf("key %d: got %s, a kid of %d characters, want RSA RS256 sig, 43", i, got, len(key.KeyID))
		}
	}
}

func (d deployment) fetch(t *testing.T, path string) []byte {
	t.Helper()
	response, err := d.TLS.Client().Get(d.TLS.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %s, %v, want 200", path, response.Status, err)
	}
	return text
}
