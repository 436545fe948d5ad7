package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/v2"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// issuer publishes a key and signs with it.
type issuer struct {
	key       *rsa.PrivateKey
	url       string
	published string // the issuer in the discovery document
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	i.url, i.published = server.URL, server.URL
	return i
}

var base64url = base64.RawURLEncoding.EncodeToString

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == discoveryPath {
		_ = json.MarshalWrite(w, map[string]string{"issuer": i.published, "jwks_uri": i.url + "/keys"})
		return
	}
	_ = json.MarshalWrite(w, map[string]any{"keys": []map[string]string{
		{"kid": "other", "n": "AQ", "e": "AQ"},
		{"kid": "good", "n": base64url(i.key.N.Bytes()), "e": base64url(big.NewInt(int64(i.key.E)).Bytes())},
	}})
}

// sign returns a token with the claims, after changes.
func (i *issuer) sign(t *testing.T, header string, claims, changes map[string]any) string {
	t.Helper()
	claims = maps.Clone(claims)
	maps.Copy(claims, changes)
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64url([]byte(header)) + "." + base64url(payload)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64url(signature)
}

func TestBackendRefusesTokensThatDoNotVouchForAPhoneNumber(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	now := time.Unix(1790000000, 0)
	b := backend{issuer: i.url, appID: "wx1", now: func() time.Time { return now }}
	good := map[string]any{
		"iss": i.url, "sub": "openid", "aud": "wx1", "iat": now.Unix(), "exp": now.Unix() + 1,
		"scope": "openid phone", "phone_number": "+8613500001234",
	}
	const header = `{"alg":"RS256","kid":"good","typ":"JWT"}`
	type changes = map[string]any
	token := i.sign(t, header, good, nil)
	c, err := b.verify(t.Context(), token)
	if err != nil || c.PhoneNumber != "+8613500001234" || c.Subject != "openid" {
		t.Errorf("a good token: got %+v, error %v, want its claims", c, err)
	}
	parts := strings.Split(token, ".")
	forged := base64url([]byte(strings.Replace(`{"phone_number":"+8613500009999"}`, "{", `{"iss":"`+i.url+`",`, 1)))
	for name, test := range map[string]struct{ token, want string }{
		"empty":               {"", "three parts"},
		"cut":                 {parts[0] + "." + parts[1], "three parts"},
		"another signature":   {parts[0] + "." + parts[1] + "." + base64url(make([]byte, 256)), "not the key's"},
		"other claims":        {parts[0] + "." + forged + "." + parts[2], "not the key's"},
		"not signed":          {base64url([]byte(`{"alg":"none","kid":"good"}`)) + "." + parts[1] + ".", "not RS256"},
		"another algorithm":   {i.sign(t, `{"alg":"HS256","kid":"good"}`, good, nil), "not RS256"},
		"an unknown key":      {i.sign(t, `{"alg":"RS256","kid":"bad"}`, good, nil), "does not have its key"},
		"not JSON":            {"a." + parts[1] + "." + parts[2], "header"},
		"another issuer":      {i.sign(t, header, good, changes{"iss": i.url + "/"}), "issuer"},
		"another audience":    {i.sign(t, header, good, changes{"aud": "wx2"}), "audience"},
		"expired":             {i.sign(t, header, good, changes{"exp": now.Unix()}), "expired"},
		"issued in a second":  {i.sign(t, header, good, changes{"iat": now.Unix() + 1}), "future"},
		"without scope phone": {i.sign(t, header, good, changes{"scope": "openid telephone"}), "scope"},
	} {
		if _, err := b.verify(t.Context(), test.token); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want %q", name, err, test.want)
		}
	}
	i.published = "https://other.example.com"
	if _, err := b.verify(t.Context(), token); err == nil || !strings.Contains(err.Error(), "another issuer") {
		t.Errorf("another issuer in the discovery document: got error %v, want a refusal", err)
	}
}
