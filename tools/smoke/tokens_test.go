package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/stage"
)

// issuer is a deployment's two documents. A test changes one thing.
type issuer struct {
	url       string
	status    map[string]int // by path; 404 if it is not there
	header    http.Header
	discovery map[string]any
	keys      []map[string]string
	more      string // added to the key set
}

var testKey = newKey(2048)

// newKey returns a public key as a key set has it.
func newKey(bits int) map[string]string {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return publish(key.N.Bytes(), key.E)
}

func publish(modulus []byte, exponent int) map[string]string {
	encode := base64.RawURLEncoding.EncodeToString
	n, e := encode(modulus), encode(big.NewInt(int64(exponent)).Bytes())
	sum := sha256.Sum256([]byte(`{"e":"` + e + `","kty":"RSA","n":"` + n + `"}`))
	return map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": encode(sum[:]), "n": n, "e": e}
}

// change returns testKey with another value.
func change(name, value string) map[string]string {
	key := maps.Clone(testKey)
	key[name] = value
	return key
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{
		status: map[string]int{discoveryPath: 200, keySetPath: 200},
		header: http.Header{
			"Content-Type": {"application/json"}, "Cache-Control": {"public, max-age=300"},
			"X-Content-Type-Options": {"nosniff"},
		},
		keys: []map[string]string{testKey},
	}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	i.url = server.URL
	i.discovery = map[string]any{
		"issuer": i.url, "jwks_uri": i.url + keySetPath,
		"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	}
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, ok := i.status[r.URL.Path]
	if !ok {
		status = 404
	}
	if status != 200 {
		w.WriteHeader(status)
		_ = json.MarshalWrite(w, map[string]string{"error": map[int]string{404: "not_found", 500: "misconfigured"}[status]})
		return
	}
	for name, values := range i.header {
		w.Header()[name] = values
	}
	if r.URL.Path == discoveryPath {
		_ = json.MarshalWrite(w, i.discovery)
		return
	}
	_ = json.MarshalWrite(w, map[string]any{"keys": i.keys, "more": i.more})
}

// checkDocuments changes an issuer and checks its documents. discovery and keySet are
// parts of the errors, or empty if a document passes.
func checkDocuments(t *testing.T, name string, edit func(*issuer), discovery, keySet string) {
	t.Helper()
	i := newIssuer(t)
	edit(i)
	d := newDeployment(i.url+"/phone", "", "")
	d.slow = time.Minute
	check := func(document string, err error, want string) {
		t.Helper()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s: got error %v, want %q", name, document, err, want)
		}
	}
	check("discovery", d.discovery(t.Context()), discovery)
	check("key set", d.keySet(t.Context()), keySet)
}

func TestDocumentsAreThereAndCachedAsPromised(t *testing.T) {
	t.Parallel()
	status := func(path string, status int) func(*issuer) { return func(i *issuer) { i.status[path] = status } }
	header := func(name, value string) func(*issuer) { return func(i *issuer) { i.header.Set(name, value) } }
	for name, test := range map[string]struct {
		edit              func(*issuer)
		discovery, keySet string
	}{
		"good":                 {func(*issuer) {}, "", ""},
		"tokens are off":       {func(i *issuer) { clear(i.status) }, "tokens are off", "tokens are off"},
		"no discovery":         {status(discoveryPath, 404), "but not /.well-known/openid-configuration", ""},
		"no key set":           {status(keySetPath, 404), "", "but not /.well-known/jwks.json"},
		"no usable key":        {status(keySetPath, 500), "", "no usable key (make key)"},
		"throttled":            {status(keySetPath, 429), "", "the gateway throttles"},
		"another content type": {header("Content-Type", "text/plain"), "content-type is", "content-type is"},
		"not cached":           {header("Cache-Control", "no-store"), "cache-control is", "cache-control is"},
		"sniffed":              {header("X-Content-Type-Options", ""), "content-type-options is", "content-type-options is"},
	} {
		checkDocuments(t, name, test.edit, test.discovery, test.keySet)
	}
}

func TestDiscoveryThatVerifiersRefuseIsNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		value any
		want  string
	}{
		{"issuer", "https://other.example.com", "every verifier refuses it"},
		{"issuer", "", "every verifier refuses it"},
		{"issuer", 1, "no verifier can read it"},
		{"jwks_uri", "https://other.example.com/keys", "jwks_uri is"},
		{"id_token_signing_alg_values_supported", []string{"ES256"}, "RS256"},
		{"response_types_supported", nil, "IAM needs"},
		{"subject_types_supported", nil, "IAM needs"},
	} {
		edit := func(i *issuer) { i.discovery[test.name] = test.value }
		checkDocuments(t, fmt.Sprintf("%s %v", test.name, test.value), edit, test.want, "")
	}
	slash := func(i *issuer) { i.discovery["issuer"] = i.url + "/" }
	checkDocuments(t, "issuer with a slash", slash, "every verifier refuses it", "")
}

func TestKeySetThatVerifiersRefuseIsNamed(t *testing.T) {
	t.Parallel()
	keys := func(keys ...map[string]string) func(*issuer) { return func(i *issuer) { i.keys = keys } }
	more := func(n int) func(*issuer) { return func(i *issuer) { i.more = strings.Repeat("a", n) } }
	for name, test := range map[string]struct {
		edit func(*issuer)
		want string
	}{
		"ten keys":        {keys(newKeys(10)...), ""},
		"no keys":         {keys(), "it has no keys"},
		"eleven keys":     {keys(newKeys(11)...), "ALB refuses more than 10"},
		"a small key":     {keys(testKey, newKey(1024)), "has 1024 bits"},
		"a private key":   {keys(change("d", "AQAB")), "-revoke=all"},
		"an EC key":       {keys(change("kty", "EC")), "need RSA"},
		"for encryption":  {keys(change("use", "enc")), "need RSA"},
		"for PS256":       {keys(change("alg", "PS256")), "need RSA"},
		"another kid":     {keys(change("kid", "1")), "RFC 7638"},
		"one key twice":   {keys(testKey, testKey), "occurs twice"},
		"padded":          {keys(change("n", testKey["n"]+"=")), "no verifier can read"},
		"no exponent":     {keys(change("e", "")), "no verifier can read"},
		"an even one":     {keys(change("e", "AQAA")), "no verifier can read"},
		"150,000 bytes":   {more(maxDocument), "150,000 bytes"},
		"almost as large": {more(maxDocument - 1000), ""},
	} {
		checkDocuments(t, name, test.edit, "", test.want)
	}
}

// newKeys returns n keys that look different. Their moduli are not products of primes.
func newKeys(n int) (keys []map[string]string) {
	for i := range n {
		modulus := make([]byte, minBits/8)
		modulus[0], modulus[len(modulus)-1] = 0x80, byte(2*i+1)
		keys = append(keys, publish(modulus, 65537))
	}
	return keys
}

func TestSlowDocumentIsAWarning(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	d := newDeployment(i.url+"/phone", "", "")
	if d.slow != 1500*time.Millisecond {
		t.Errorf("got a limit of %v, want API Gateway's 1.5s", d.slow)
	}
	d.slow = 0
	var out strings.Builder
	d.smoke(t.Context(), &out)
	if got := verdicts(out.String()); !strings.HasSuffix(got, " warn warn") ||
		!strings.Contains(out.String(), "API Gateway's JWT authorizers wait") {
		t.Errorf("got\n%s, want two warnings at the end", out.String())
	}
}

func TestDeploymentWithTokensPasses(t *testing.T) {
	t.Parallel()
	s := raise(t, func(c *stage.Config) { c.Tokens = true })
	const want = "n/a ok ok ok ok ok ok ok ok"
	if out := runChecks(t, s.URL+"/phone", true); verdicts(out) != want {
		t.Errorf("got\n%s, want %s", out, want)
	}
}

func TestUnusableSigningSecretIsNamed(t *testing.T) {
	t.Parallel()
	s := raise(t, func(c *stage.Config) {
		c.Tokens, c.Env = true, []string{"SIGNING_SECRET_ID=" + stage.SecretName}
	})
	out := runChecks(t, s.URL+"/phone", false)
	if verdicts(out) != "n/a ok ok FAIL ok ok FAIL ok FAIL" || strings.Count(out, "make key") != 3 {
		t.Errorf("got\n%s, want three failures, each with make key", out)
	}
}
