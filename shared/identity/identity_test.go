package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParseIssuer(t *testing.T) {
	for _, text := range []string{
		"https://api.example.com", "https://api.example.com/prod", "https://api.example.com/a/b-c_d~e",
		"https://abc123.execute-api.cn-north-1.amazonaws.com.cn", "https://localhost", "https://localhost:3000",
		"http://localhost:3000", "http://127.0.0.1:3000/prod", "http://127.9.9.9", "http://[::1]:3000", "http://[::1]",
	} {
		if got, err := ParseIssuer(text); err != nil || got != text {
			t.Errorf("%s: got %q, error %v, want it unchanged", text, got, err)
		}
	}
	const canary = "canary7d1f"
	for _, text := range []string{
		"", "canary7d1f", "https://", "https:canary7d1f", "//canary7d1f", "https:///canary7d1f",
		"http://canary7d1f", "ftp://localhost/canary7d1f", "http://localhost.canary7d1f", "http://128.0.0.1/canary7d1f",
		"HTTPS://canary7d1f", "https://canary7d1f/", "https://canary7d1f//", "https://localhost:3000/",
		"https://canary7d1f:443", "https://canary7d1f:", "http://localhost:", "https://[2001:db8::1]:1/canary7d1f",
		"https://canary7d1f?", "https://canary7d1f?a=b", "https://canary7d1f#", "https://canary7d1f#a",
		"https://canary7d1f/#", "https://user@canary7d1f", "https://user:canary7d1f@example.com", "https://@canary7d1f",
		"https://canary7d1f/a//b", "https://canary7d1f/./a", "https://canary7d1f/a/..", "https://canary7d1f/%2e%2e/a",
		" https://canary7d1f", "https://canary7d1f ", "https://canary7d1f\n", "https://canary7d1f/a b",
		"https://canary7d1f/\"", "https://canary7d1f/手机", "https://手机.example/canary7d1f", "https://canary7d1f/%zz",
	} {
		got, err := ParseIssuer(text)
		if _, ok := errors.AsType[*Error](err); !ok || got != "" {
			t.Errorf("%q: got %q, error %v, want an *Error", text, got, err)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%q: the error repeats it: %v", text, err)
		}
	}
}

func TestDiscovery(t *testing.T) {
	const want = `{"issuer":"https://api.example.com/shop",` +
		`"jwks_uri":"https://api.example.com/shop/.well-known/jwks.json",` +
		`"response_types_supported":["id_token"],"subject_types_supported":["pairwise"],` +
		`"id_token_signing_alg_values_supported":["RS256"],"scopes_supported":["openid","phone"],` +
		`"claims_supported":["iss","sub","aud","client_id","iat","exp","auth_time","scope","unionid",` +
		`"phone_number","phone_number_verified","phone_number_verified_at"]}`
	if got := string(Discovery(issuer)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDiscoveryNamesEachClaimOfAToken(t *testing.T) {
	var document struct {
		Claims []string `json:"claims_supported"`
	}
	if err := json.Unmarshal(Discovery(issuer), &document); err != nil {
		t.Fatal(err)
	}
	_, text := parts(t, fixedKeys(t).Sign(claims))
	var token map[string]any
	if err := json.Unmarshal([]byte(text), &token); err != nil {
		t.Fatal(err)
	}
	if len(token) != len(document.Claims) {
		t.Errorf("got %d claims in a token, want the %d of the document", len(token), len(document.Claims))
	}
	for _, name := range document.Claims {
		if _, ok := token[name]; !ok {
			t.Errorf("the document has %s and a token does not", name)
		}
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	private := rfc7515Key(t)
	signing, next := signingEntry(t, private), nextEntry(t, pool()[0])
	text := listText(t, signing, next)
	keys := mustParse(t, text)
	token := keys.Sign(claims)
	phone, reason := keys.Check(token.Reveal(), expect)
	r := newRotation([]entry{signing, next}, now)
	r.generate = generator(t)
	change, err := r.rotate()
	if err != nil || reason != "" {
		t.Fatal(err, reason)
	}
	public, sign, _ := signing.parse()
	_, broken := ParseKeys(text[1:])
	type holder struct{ a, b, c, d any }
	values := map[string]any{
		"Keys": *keys, "*Keys": keys, "Token": token, "Claims": claims, "Phone": phone, "Expect": expect,
		"Change": change, "Key": keys.All(), "entry": signing, "*entry": &signing, "privateDER": signing.PrivateKey,
		"rotation": r, "publicKey": public, "signer": sign, "Error": broken,
		"holder": holder{keys, token, claims, signing}, "*holder": &holder{change, phone, expect, *r},
		"unexported": struct {
			k Keys
			e entry
			t Token
			c Claims
		}{*keys, signing, token, claims},
	}
	secrets := []string{
		token.Reveal(), token.Reveal()[200:260], openID.Reveal(), unionID.Reveal(), e164.Reveal(),
		private.D.String(), private.Primes[0].String(), private.D.Text(16), private.Primes[0].Text(16),
		base64.StdEncoding.EncodeToString([]byte(signing.PrivateKey.Reveal()))[400:440],
		signing.PrivateKey.Reveal()[400:440], fmt.Sprint([]byte(signing.PrivateKey.Reveal())[400:410])[1:30],
	}
	for name, v := range values {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("line", "value", v)
		for _, secret := range secrets {
			for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
				if strings.Contains(out.String(), form) {
					t.Errorf("%s: the output has a secret", name)
				}
			}
		}
	}
}

func TestTokensAndPrivateKeysPrintAsRedacted(t *testing.T) {
	token, private := fixedKeys(t).Sign(claims), signingEntry(t, rfc7515Key(t)).PrivateKey
	for name, v := range map[string]any{"a token": token, "a private key": private} {
		if got := fmt.Sprintf("%v %+v %#v", v, v, v); got != "[redacted] [redacted] [redacted]" {
			t.Errorf("%s: got %.40q, want [redacted] three times", name, got)
		}
	}
}
