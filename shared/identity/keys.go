package identity

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"wechat-phone/shared/redacted"
)

const (
	minBits = 2048 // RFC 7518, section 3.3

	// publishFor is how long the key set has a retired key. Verifiers cache the key
	// set for two hours, and processes read the keys once an hour.
	publishFor = 48 * time.Hour
	// keepFor is how long a retired key's tokens renew a phone number: the longest
	// TOKEN_RENEWAL, and a day.
	keepFor = 31 * 24 * time.Hour
)

var (
	allowInvalidUTF8 = jsontext.AllowInvalidUTF8(true)
	base64url        = base64.RawURLEncoding
	oidRSA           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1} // RFC 8017, appendix C
)

// Role is what a key is for.
type Role int

const (
	Signing Role = iota // signs every token
	Next                // is published, and signs after the next rotation
	Retired             // only verifies
)

func (r Role) String() string { return [...]string{"signing", "next", "retired"}[r] }

// Key is what everybody may know about a key.
type Key struct {
	ID        string    `json:"kid"` // the RFC 7638 thumbprint
	Created   time.Time `json:"created"`
	SignsFrom time.Time `json:"signsFrom,omitzero"`
	Retired   time.Time `json:"retired,omitzero"`
}

// Role returns what the key is for. Its fields decide, never a clock.
func (k Key) Role() Role {
	switch {
	case !k.Retired.IsZero():
		return Retired
	case !k.SignsFrom.IsZero():
		return Signing
	}
	return Next
}

// compare orders keys as they are listed and published: the signing key, the next key,
// then the retired keys, latest first.
func (k Key) compare(other Key) int {
	if k.Role() != other.Role() {
		return int(k.Role()) - int(other.Role())
	}
	return other.Retired.Compare(k.Retired)
}

func (k Key) publishedAt(now time.Time) bool {
	return k.Role() != Retired || now.Sub(k.Retired) < publishFor
}

func (k Key) keptAt(now time.Time) bool {
	return k.Role() != Retired || now.Sub(k.Retired) < keepFor
}

// entry is a key as the signing secret holds it.
type entry struct {
	Key
	PrivateKey privateDER `json:"privateKey,omitzero"` // unless it is retired
	PublicKey  []byte     `json:"publicKey,omitempty"` // PKIX, if it is retired
}

// privateDER is a private key as PKCS #8. Only encoding/json writes it, in base64.
type privateDER struct{ redacted.Value }

// MarshalText implements [encoding.TextMarshaler].
func (p privateDER) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, []byte(p.Reveal())), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *privateDER) UnmarshalText(text []byte) error {
	der, err := base64.StdEncoding.AppendDecode(nil, text)
	p.Value = redacted.New(string(der))
	return err
}

// publicKey is a key that verifies.
type publicKey struct {
	Key
	rsa.PublicKey
	jwk    string // its entry in the key set
	prefix string // the header of the key's tokens in base64url, and the dot
}

// signer returns the RSA signature of text. It is a closure because fmt prints only
// its address.
type signer func(text []byte) []byte

// Keys are the keys of a usable list.
type Keys struct {
	sign  signer
	works func() bool
	all   []publicKey // the signing key is first
}

// Works reports whether the signing key can sign. The first call signs and verifies a
// text, which takes as long as a token. A key that make key did not make may fail although
// it looks right, for example if one of its primes is not prime.
func (k *Keys) Works() bool { return k.works() }

// tryToSign is Works without the cache.
func (k *Keys) tryToSign() (ok bool) {
	defer func() { _ = recover() }()
	const text = "a text"
	return k.all[0].verify(text, k.sign([]byte(text)))
}

// All returns the signing key, the next key, and the retired keys, latest first.
func (k *Keys) All() []Key {
	var all []Key
	for _, key := range k.all {
		all = append(all, key.Key)
	}
	return all
}

// ParseKeys reads the signing secret's text, a JSON list of keys. The list is usable if
// exactly one key signs, at most one is next, and each is an RSA key with at least
// 2048 bits whose kid is its thumbprint. Every error is an [*Error].
//
// It parses and checks the signing key's private part; [Keys.Works] tries it. It reads only
// the public part of the next key, which takes a fortieth of the time: each start waits for
// this.
func ParseKeys(text string) (*Keys, error) {
	list, err := parseList(text)
	if err != nil {
		return nil, err
	}
	keys := new(Keys)
	count := map[Role]int{}
	known := map[string]bool{}
	for _, e := range list {
		public, sign, problem := e.parse()
		switch {
		case problem != "":
			return nil, refuse(problem)
		case known[e.ID]:
			return nil, refuse("two keys have the same kid")
		case sign != nil:
			keys.sign = sign
		}
		known[e.ID] = true
		count[e.Role()]++
		keys.all = append(keys.all, public)
	}
	switch {
	case count[Signing] == 0:
		return nil, refuse("no key signs")
	case count[Signing] > 1:
		return nil, refuse("several keys sign")
	case count[Next] > 1:
		return nil, refuse("several keys are next")
	}
	slices.SortStableFunc(keys.all, func(a, b publicKey) int { return a.compare(b.Key) })
	keys.works = sync.OnceValue(keys.tryToSign)
	return keys, nil
}

func parseList(text string) (list []entry, _ error) {
	if json.Unmarshal([]byte(text), &list) != nil || list == nil {
		return nil, refuse("the signing secret is not a JSON list of keys")
	}
	return list, nil
}

// parse checks a key alone. Only a key that signs has a signer.
func (e entry) parse() (public publicKey, sign signer, problem string) {
	retired := e.Role() == Retired
	private := e.PrivateKey.Reveal()
	switch {
	case e.Created.IsZero():
		return public, nil, "a key has no created"
	case retired && e.SignsFrom.IsZero():
		return public, nil, "a key has retired and no signsFrom"
	case retired && (private != "" || len(e.PublicKey) == 0):
		return public, nil, "a retired key must have publicKey and no privateKey"
	case !retired && (private == "" || len(e.PublicKey) != 0):
		return public, nil, "a key that is not retired must have privateKey and no publicKey"
	}
	var key *rsa.PublicKey
	switch e.Role() {
	case Signing:
		key, sign = parsePrivate(private)
	case Next:
		key = publicPart(private)
	case Retired:
		parsed, _ := x509.ParsePKIXPublicKey(e.PublicKey)
		key, _ = parsed.(*rsa.PublicKey)
	}
	if key == nil {
		return public, nil, "a key is not a valid RSA key"
	}
	public = describe(*key)
	switch {
	case key.N.BitLen() < minBits:
		return public, nil, "a key has fewer than 2048 bits"
	case key.N.Bit(0) == 0, key.E < 3, key.E%2 == 0, key.E > 1<<31-1: // as crypto/rsa demands
		return public, nil, "a key is not a valid RSA key"
	case public.ID != e.ID:
		return public, nil, "a kid is not its key's thumbprint"
	}
	public.Key = e.Key
	return public, sign, ""
}

// parsePrivate returns no key if it is invalid.
func parsePrivate(der string) (*rsa.PublicKey, signer) {
	parsed, _ := x509.ParsePKCS8PrivateKey([]byte(der))
	key, ok := parsed.(*rsa.PrivateKey)
	// crypto/rsa checks only keys with two primes, so others could fail to sign.
	if !ok || len(key.Primes) != 2 {
		return nil, nil
	}
	return &key.PublicKey, func(text []byte) []byte {
		digest := sha256.Sum256(text)
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		if err != nil {
			panic("identity: a key that was checked cannot sign")
		}
		return signature
	}
}

// publicPart reads the modulus and exponent of a private key, and nothing else.
func publicPart(der string) *rsa.PublicKey {
	var outer struct { // RFC 5958
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
	}
	var inner struct { // RFC 8017, appendix A.1.2
		Version int
		N       *big.Int
		E       int
	}
	rest, err := asn1.Unmarshal([]byte(der), &outer)
	if err != nil || len(rest) > 0 || !outer.Algorithm.Algorithm.Equal(oidRSA) {
		return nil
	}
	if rest, err = asn1.Unmarshal(outer.PrivateKey, &inner); err != nil || len(rest) > 0 || inner.N.Sign() <= 0 {
		return nil
	}
	return &rsa.PublicKey{N: inner.N, E: inner.E}
}

// describe computes what others call the key.
func describe(key rsa.PublicKey) publicKey {
	n := base64url.EncodeToString(key.N.Bytes())
	e := base64url.EncodeToString(big.NewInt(int64(key.E)).Bytes())
	digest := sha256.Sum256([]byte(`{"e":"` + e + `","kty":"RSA","n":"` + n + `"}`)) // RFC 7638
	kid := base64url.EncodeToString(digest[:])
	header := base64url.EncodeToString([]byte(`{"alg":"RS256","kid":"` + kid + `","typ":"JWT"}`))
	jwk := `{"kty":"RSA","use":"sig","alg":"RS256","kid":"` + kid + `","n":"` + n + `","e":"` + e + `"}`
	return publicKey{Key: Key{ID: kid}, PublicKey: key, jwk: jwk, prefix: header + "."}
}

// verify reports whether signature is the key's own of text.
func (k publicKey) verify(text string, signature []byte) bool {
	digest := sha256.Sum256([]byte(text))
	return rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, digest[:], signature) == nil
}

// JWKS returns the key set that verifiers fetch: the signing key, the next key, and those
// retired in the 48 hours before now.
func (k *Keys) JWKS(now time.Time) []byte {
	var set []string
	for _, key := range k.all {
		if key.publishedAt(now) {
			set = append(set, key.jwk)
		}
	}
	return []byte(`{"keys":[` + strings.Join(set, ",") + `]}`)
}
