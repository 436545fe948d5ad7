package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/shared/redacted"
)

func TestThumbprintOfRFC7638(t *testing.T) {
	if got := thumbprint(&rsa.PublicKey{N: number(t, rfc7638N), E: 65537}); got != rfc7638Thumbprint {
		t.Errorf("got %s, want %s", got, rfc7638Thumbprint)
	}
}

func TestSignatureOfRFC7515(t *testing.T) {
	keys := fixedKeys(t)
	if got := base64url.EncodeToString(keys.sign([]byte(rfc7515Signed))); got != rfc7515Signature {
		t.Errorf("got the signature %s, want %s", got, rfc7515Signature)
	}
	signature, _ := decode(rfc7515Signature)
	if !keys.all[0].verify(rfc7515Signed, signature) {
		t.Error("the signature is refused, want it accepted")
	}
	if keys.all[0].verify(rfc7515Signed+"A", signature) {
		t.Error("the signature of another text is accepted, want it refused")
	}
}

// change returns e after edit.
func change(e entry, edit func(*entry)) entry { edit(&e); return e }

func withID(e entry, kid string) entry          { e.ID = kid; return e }
func withPrivate(e entry, key privateDER) entry { e.PrivateKey = key; return e }
func withPublic(e entry, der []byte) entry      { e.PublicKey = der; return e }

func TestParseKeysAcceptsUsableLists(t *testing.T) {
	keys := pool()
	signing, next := signingEntry(t, keys[0]), nextEntry(t, keys[1])
	fresh := retiredEntry(t, &keys[2].PublicKey, now.Add(-time.Hour))
	old := retiredEntry(t, &rsa.PublicKey{N: number(t, rfc7638N), E: 65537}, now.Add(-400*day))
	large := signingEntry(t, largeKey(t, 3072))
	for _, tt := range []struct {
		name string
		list []entry
		want []string // in the order of [Keys.All]
	}{
		{"a signing key alone", []entry{signing}, []string{signing.ID}},
		{"all roles, in another order", []entry{old, next, fresh, signing},
			[]string{signing.ID, next.ID, fresh.ID, old.ID}},
		{"3072 bits", []entry{large}, []string{large.ID}},
		{"a key that signs from next year", []entry{change(signing, func(e *entry) { e.SignsFrom = now.Add(365 * day) })},
			[]string{signing.ID}},
		{"a key that retires next year", []entry{signing, change(fresh, func(e *entry) { e.Retired = now.Add(365 * day) })},
			[]string{signing.ID, fresh.ID}},
	} {
		parsed, err := ParseKeys(listText(t, tt.list...))
		if err != nil {
			t.Errorf("%s: got error %v, want none", tt.name, err)
			continue
		}
		var got []string
		for _, key := range parsed.All() {
			got = append(got, key.ID)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	spaced := "\n" + strings.Replace(listText(t, signing), "{", `{ "note": {"a": 1}, `, 1) + "\n"
	if _, err := ParseKeys(spaced); err != nil {
		t.Errorf("white space and an unknown name: got error %v, want none", err)
	}
}

func largeKey(tb testing.TB, bits int) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func ellipticDER(tb testing.TB) (private, public []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	private, err = x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	public, err = x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		tb.Fatal(err)
	}
	return private, public
}

func hold(der []byte) privateDER { return privateDER{redacted.New(string(der))} }

// flip changes one byte of a private key's d. Its public part stays as it is.
func flip(tb testing.TB, e entry, key *rsa.PrivateKey) privateDER {
	tb.Helper()
	der, d := e.PrivateKey.Reveal(), string(key.D.Bytes())
	at := strings.Index(der, d)
	if at < 0 {
		tb.Fatal("the key has no d")
	}
	raw := []byte(der)
	raw[at+100] ^= 1
	return hold(raw)
}

// pkcs8 encodes what [ParseKeys] reads of a next key, with text after the inner key.
func pkcs8(tb testing.TB, algorithm asn1.ObjectIdentifier, n *big.Int, after []byte) privateDER {
	tb.Helper()
	inner, err := asn1.Marshal(struct {
		Version int
		N       *big.Int
		E       int
	}{0, n, 65537})
	if err != nil {
		tb.Fatal(err)
	}
	outer, err := asn1.Marshal(struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: algorithm}, append(inner, after...)})
	if err != nil {
		tb.Fatal(err)
	}
	return hold(outer)
}

var oidPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10} // RFC 8017, appendix C

func withExponent(key *rsa.PrivateKey, e int) *rsa.PublicKey {
	return &rsa.PublicKey{N: key.N, E: e}
}

const (
	notRSA    = "a key is not a valid RSA key"
	noPrivate = "a key that is not retired must have privateKey and no publicKey"
	noPublic  = "a retired key must have publicKey and no privateKey"
	fewBits   = "a key has fewer than 2048 bits"
	misnamed  = "a kid is not its key's thumbprint"
)

func TestParseKeysRefusesUnusableLists(t *testing.T) {
	keys := pool()
	signing, next := signingEntry(t, keys[0]), nextEntry(t, keys[1])
	retired := retiredEntry(t, &keys[2].PublicKey, now)
	for _, tt := range []struct {
		name string
		list []entry
		want string
	}{
		{"no keys", []entry{}, "no key signs"},
		{"next and retired keys only", []entry{next, retired}, "no key signs"},
		{"two signing keys", []entry{signing, signingEntry(t, keys[3])}, "several keys sign"},
		{"two next keys", []entry{signing, next, nextEntry(t, keys[3])}, "several keys are next"},
		{"one key twice", []entry{signing, nextEntry(t, keys[0])}, "two keys have the same kid"},
		{"no created", []entry{change(signing, func(e *entry) { e.Created = time.Time{} })}, "a key has no created"},
		{"retired without signsFrom", []entry{signing, change(retired, func(e *entry) { e.SignsFrom = time.Time{} })},
			"a key has retired and no signsFrom"},
		{"retired with privateKey", []entry{signing, withPrivate(retired, next.PrivateKey)},
			noPublic},
		{"retired without publicKey", []entry{signing, withPublic(retired, nil)}, noPublic},
		{"signing without privateKey", []entry{withPrivate(signing, privateDER{})}, noPrivate},
		{"signing with publicKey", []entry{withPublic(signing, retired.PublicKey)}, noPrivate},
		{"next without privateKey", []entry{signing, withPrivate(next, privateDER{})}, noPrivate},
	} {
		wantProblem(t, tt.name, listText(t, tt.list...), tt.want)
	}
}

func TestParseKeysRefusesUnusableKeys(t *testing.T) {
	keys := pool()
	signing, next := signingEntry(t, keys[0]), nextEntry(t, keys[1])
	retired := retiredEntry(t, &keys[2].PublicKey, now)
	small := largeKey(t, 2047)
	private, public := ellipticDER(t)
	even := &rsa.PublicKey{N: new(big.Int).Add(keys[2].N, big.NewInt(1)), E: 65537}
	negative := new(big.Int).Neg(keys[1].N)
	longer := hold([]byte(next.PrivateKey.Reveal() + "x"))
	for _, tt := range []struct {
		name string
		list []entry
		want string
	}{
		{"signing key of 2047 bits", []entry{signingEntry(t, small)}, fewBits},
		{"next key of 2047 bits", []entry{signing, nextEntry(t, small)}, fewBits},
		{"retired key of 2047 bits", []entry{signing, retiredEntry(t, &small.PublicKey, now)}, fewBits},
		{"signing key with another kid", []entry{withID(signing, next.ID)}, misnamed},
		{"next key with another kid", []entry{signing, withID(next, retired.ID)}, misnamed},
		{"retired key with another kid", []entry{signing, withID(retired, next.ID)}, misnamed},
		{"empty kid", []entry{withID(signing, "")}, misnamed},
		{"elliptic signing key", []entry{withPrivate(signing, hold(private))}, notRSA},
		{"elliptic next key", []entry{signing, withPrivate(next, hold(private))}, notRSA},
		{"elliptic retired key", []entry{signing, withPublic(retired, public)}, notRSA},
		{"signing key that is not DER", []entry{withPrivate(signing, hold([]byte("x")))}, notRSA},
		{"next key that is not DER", []entry{signing, withPrivate(next, hold([]byte("x")))}, notRSA},
		{"retired key that is not DER", []entry{signing, withPublic(retired, []byte("x"))}, notRSA},
		{"next key for RSA-PSS alone", []entry{signing, withPrivate(next, pkcs8(t, oidPSS, keys[1].N, nil))}, notRSA},
		{"next key with a negative modulus", []entry{signing, withPrivate(next, pkcs8(t, oidRSA, negative, nil))}, notRSA},
		{"next key with text inside", []entry{signing, withPrivate(next, pkcs8(t, oidRSA, keys[1].N, []byte("x")))}, notRSA},
		{"next key with text after it", []entry{signing, withPrivate(next, longer)}, notRSA},
		{"damaged signing key", []entry{withPrivate(signing, flip(t, signing, keys[0]))}, notRSA},
		{"signing key with three primes", []entry{signingEntry(t, threePrimes(t))}, notRSA},
		{"retired key with an even modulus", []entry{signing, retiredEntry(t, even, now)}, notRSA},
		{"retired key with exponent 1", []entry{signing, retiredEntry(t, withExponent(keys[2], 1), now)}, notRSA},
		{"retired key with exponent 4", []entry{signing, retiredEntry(t, withExponent(keys[2], 4), now)}, notRSA},
		{"retired key with a long exponent", []entry{signing, retiredEntry(t, withExponent(keys[2], 1<<31+1), now)}, notRSA},
	} {
		wantProblem(t, tt.name, listText(t, tt.list...), tt.want)
	}
}

func TestKeyThatCannotSignDoesNotWork(t *testing.T) {
	good, text := signingEntry(t, pool()[0]), hostile.KeyThatCannotSign(now)
	if keys := mustParse(t, listText(t, good)); !keys.Works() {
		t.Error("a good key: got Works false, want true")
	}
	if keys := mustParse(t, text); keys.Works() {
		t.Error("a key with a composite prime: got Works true, want false")
	}
	list, err := parseList(text)
	if err != nil {
		t.Fatal(err)
	}
	next := change(list[0], func(e *entry) { e.SignsFrom = time.Time{} })
	_, err = Rotate(listText(t, good, next), now.Add(day))
	if e, ok := errors.AsType[*Error](err); !ok || e.Problem != "the signing key cannot sign" {
		t.Errorf("a rotation to such a key: got error %v, want it refused", err)
	}
}

func threePrimes(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	//lint:ignore SA1019 a key of this kind must be refused
	key, err := rsa.GenerateMultiPrimeKey(rand.Reader, 3, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func TestParseKeysRefusesOtherText(t *testing.T) {
	signing := signingEntry(t, pool()[0])
	good := listText(t, signing)
	encoded := base64.StdEncoding.EncodeToString([]byte(signing.PrivateKey.Reveal()))
	for name, text := range map[string]string{
		"empty":                    "",
		"null":                     "null",
		"an object":                good[1 : len(good)-1],
		"a string":                 `"` + encoded + `"`,
		"a list of strings":        `["` + encoded + `"]`,
		"cut":                      good[:len(good)-1],
		"text after the list":      good + "x",
		"a name twice":             strings.Replace(good, "{", `{"kid":"`+signing.ID+`",`, 1),
		"a kid that is a number":   strings.Replace(good, `"`+signing.ID+`"`, "1", 1),
		"base64 that is damaged":   strings.Replace(good, encoded[:100], "*"+encoded[1:100], 1),
		"a time that is a number":  strings.Replace(good, `"2026-02-27T12:00:00Z"`, "1772193600", 1),
		"a time in another format": strings.Replace(good, "2026-02-27T12:00:00Z", "2026-02-27 12:00:00", 1),
		"not UTF-8":                strings.Replace(good, "{", "{\"\xff\":1,", 1),
	} {
		if text == good {
			t.Fatalf("%s: the text is unchanged", name)
		}
		wantProblem(t, name, text, "the signing secret is not a JSON list of keys")
	}
}

func wantProblem(t *testing.T, name, text, want string) {
	t.Helper()
	keys, err := ParseKeys(text)
	typed, ok := errors.AsType[*Error](err)
	if !ok || keys != nil || *typed != (Error{Problem: want}) {
		t.Errorf("%s: got %v, error %v, want the problem %q", name, keys != nil, err, want)
	}
}

func TestJWKS(t *testing.T) {
	keys := pool()
	signing, next := signingEntry(t, rfc7515Key(t)), nextEntry(t, keys[1])
	retiredAt := func(i int, ago time.Duration) entry { return retiredEntry(t, &keys[i].PublicKey, now.Add(-ago)) }
	future, fresh := retiredAt(2, -time.Minute), retiredAt(3, 48*time.Hour-1)
	edge, old := retiredAt(4, 48*time.Hour), retiredAt(5, 31*day)
	set := mustParse(t, listText(t, old, edge, fresh, future, next, signing))
	var got struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(set.JWKS(now), &got); err != nil {
		t.Fatal(err)
	}
	want := []string{signing.ID, next.ID, future.ID, fresh.ID}
	var kids []string
	for _, key := range got.Keys {
		kids = append(kids, key["kid"])
	}
	if !slices.Equal(kids, want) {
		t.Errorf("got %v, want %v", kids, want)
	}
	const first = `{"keys":[{"kty":"RSA","use":"sig","alg":"RS256",` +
		`"kid":"IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8","n":"` + rfc7515N + `","e":"AQAB"},{"kty"`
	if text := string(set.JWKS(now)); !strings.HasPrefix(text, first) {
		t.Errorf("got  %.700s\nwant %s", text, first)
	}
}

// The seeds are the same in each of the fuzzer's processes.
func FuzzParseKeys(f *testing.F) {
	retired := retiredEntry(f, &rsa.PublicKey{N: number(f, rfc7638N), E: 65537}, now)
	good := listText(f, signingEntry(f, rfc7515Key(f)), retired)
	for _, seed := range []string{"", "[]", "[{}]", "null", good, strings.ReplaceAll(good, "signsFrom", "s")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok || keys != nil {
				t.Fatalf("got error %v, keys %v, want an *Error alone", err, keys != nil)
			}
			return
		}
		for i, key := range keys.All() {
			if (key.Role() == Signing) != (i == 0) || key.Role() == Next && i != 1 || len(key.ID) != 43 {
				t.Errorf("key %d: got the role %v and the kid %s", i, key.Role(), key.ID)
			}
		}
		if _, reason := keys.Check(keys.Sign(claims).Reveal(), expect); reason != "" {
			t.Errorf("its own token: got %q, want it renewed", reason)
		}
	})
}
