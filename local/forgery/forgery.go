// Package forgery makes tokens that every consumer must refuse. Call [Read] with the
// signing secret of a stack and another stack's, and [Tokens] with a good token.
//
// Some consumers accept another spelling of the same bytes. [Respelled] makes such tokens.
package forgery

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json/v2"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"time"
)

// Token is a token that is wrong in one way.
type Token struct{ Name, Text string }

// Fields are the members of a token's header or payload.
type Fields = map[string]any

// Signer signs whatever it is given.
type Signer struct {
	kid string
	key *rsa.PrivateKey
}

const otherIssuer = "https://other.example.com"

var base64url = base64.RawURLEncoding

// Read returns the key that signs in a signing secret.
func Read(secret string) (Signer, error) {
	var list []struct {
		KID        string    `json:"kid"`
		SignsFrom  time.Time `json:"signsFrom"`
		Retired    time.Time `json:"retired"`
		PrivateKey []byte    `json:"privateKey"`
	}
	if err := json.Unmarshal([]byte(secret), &list); err != nil {
		return Signer{}, fmt.Errorf("the signing secret is not a list: %w", err)
	}
	for _, entry := range list {
		if entry.SignsFrom.IsZero() || !entry.Retired.IsZero() {
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(entry.PrivateKey)
		if err != nil {
			return Signer{}, fmt.Errorf("the signing key is not PKCS #8: %w", err)
		}
		return Signer{entry.KID, key.(*rsa.PrivateKey)}, nil
	}
	return Signer{}, fmt.Errorf("no key of the %d in the signing secret signs", len(list))
}

// Sign returns a token with this header and payload.
func (s Signer) Sign(header, payload Fields) string {
	text := encode(header) + "." + encode(payload)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64url.EncodeToString(signature)
}

// With signs the token again after changing it. A nil value removes a member.
func (s Signer) With(token string, header, payload Fields) string {
	return s.Sign(merge(part(token, 0), header), merge(part(token, 1), payload))
}

func merge(fields, changes Fields) Fields {
	maps.Copy(fields, changes)
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	return fields
}

// Payload returns a token's claims.
func Payload(token string) Fields { return part(token, 1) }

// part decodes a part of a good token.
func part(token string, which int) (fields Fields) {
	raw, err := base64url.DecodeString(strings.Split(token, ".")[which])
	if err == nil {
		err = json.Unmarshal(raw, &fields)
	}
	if err != nil {
		panic(err)
	}
	return fields
}

func encode(fields Fields) string {
	text, err := json.Marshal(fields, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return base64url.EncodeToString(text)
}

// The names of tokens that a few consumers accept, although the issuer would not make
// them.
const (
	FutureIssue = "issued in the future"
	NoExpiry    = "no exp"
)

// Tokens returns forgeries of a good token. own signed it. stranger is another
// stack's.
func Tokens(good string, own, stranger Signer, now time.Time) (all []Token) {
	add := func(name, text string) { all = append(all, Token{name, text}) }
	payload := strings.Split(good, ".")[1]
	for _, none := range []string{"none", "None", "NONE"} {
		header := encode(Fields{"alg": none, "typ": "JWT", "kid": own.kid})
		add("alg "+none+", no signature", header+"."+payload+".")
		add("alg "+none+", the signature", header+"."+payload+"."+strings.Split(good, ".")[2])
	}
	for name, secret := range own.publicSpellings() {
		for _, kid := range []any{own.kid, nil} {
			header := merge(Fields{"alg": "HS256", "typ": "JWT"}, Fields{"kid": kid})
			add(fmt.Sprintf("HS256 with %s as secret, kid %v", name, kid != nil), mac(encode(header)+"."+payload, secret))
		}
	}
	add("another kid", own.With(good, Fields{"kid": "another"}, nil))
	add("another stack's kid", own.With(good, Fields{"kid": stranger.kid}, nil))
	add("another stack's key and kid", stranger.With(good, Fields{"kid": stranger.kid}, nil))
	add("another stack's key under our kid", stranger.With(good, nil, nil))
	add("another stack's key in the header", stranger.With(good, Fields{"kid": nil, "jwk": stranger.jwk()}, nil))
	add("another stack's token", stranger.With(good, Fields{"kid": stranger.kid}, Fields{"iss": otherIssuer}))
	add("another issuer", own.With(good, nil, Fields{"iss": otherIssuer}))
	add("the issuer and a slash", own.With(good, nil, Fields{"iss": fmt.Sprint(part(good, 1)["iss"], "/")}))
	add("another app's audience", own.With(good, nil, Fields{"aud": "wxffffffffffffffff"}))
	add("expired", own.With(good, nil, Fields{"exp": now.Add(-10 * time.Minute).Unix()}))
	add(FutureIssue, own.With(good, nil, Fields{
		"iat": now.Add(10 * time.Minute).Unix(), "exp": now.Add(20 * time.Minute).Unix(),
	}))
	add(NoExpiry, own.With(good, nil, Fields{"exp": nil}))
	return append(all, bits(good)...)
}

// publicSpellings returns what a verifier may confuse with a secret.
func (s Signer) publicSpellings() map[string][]byte {
	pkix, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		panic(err)
	}
	return map[string][]byte{
		"PKIX":       pkix,
		"PKIX PEM":   pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
		"PKCS #1":    x509.MarshalPKCS1PublicKey(&s.key.PublicKey),
		"a modulus":  s.key.N.Bytes(),
		"a string n": []byte(base64url.EncodeToString(s.key.N.Bytes())),
	}
}

func (s Signer) jwk() Fields {
	return Fields{"kty": "RSA", "n": base64url.EncodeToString(s.key.N.Bytes()), "e": "AQAB"}
}

func mac(text string, secret []byte) string {
	hash := hmac.New(sha256.New, secret)
	hash.Write([]byte(text))
	return text + "." + base64url.EncodeToString(hash.Sum(nil))
}

// bits changes each bit of the decoded header, payload and signature.
func bits(good string) (all []Token) {
	for which, name := range []string{"header", "payload", "signature"} {
		parts := strings.Split(good, ".")
		raw, err := base64url.DecodeString(parts[which])
		if err != nil {
			panic(err)
		}
		for i := range len(raw) * 8 {
			raw[i/8] ^= 1 << (i % 8)
			parts[which] = base64url.EncodeToString(raw)
			all = append(all, Token{fmt.Sprintf("%s, bit %d", name, i), strings.Join(parts, ".")})
			raw[i/8] ^= 1 << (i % 8)
		}
	}
	return all
}

// The names of what [Respelled] returns.
const (
	UnusedBits = "unused bits of the signature's last character"
	Padded     = "a padded signature"
	Standard   = "the standard alphabet in the signature"
	LineBreak  = "a line break in the signature"
	Space      = "a space after the signature"
	FourthPart = "a dot after the signature"
)

// Respelled returns other spellings of a good token's signature that decode to the same bytes.
// Header and payload have none, because the signature covers their text.
func Respelled(good string) []Token {
	cut := strings.LastIndexByte(good, '.') + 1
	text, signature := good[:cut], good[cut:]
	middle, last := len(signature)/2, len(signature)-1
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var all []Token
	// 256 bytes leave four bits of the last character unused.
	for i := 1; i < 16; i++ {
		other := alphabet[strings.IndexByte(alphabet, signature[last])+i]
		all = append(all, Token{UnusedBits, text + signature[:last] + string(other)})
	}
	return append(all,
		Token{Padded, good + "=="},
		Token{Standard, text + strings.NewReplacer("-", "+", "_", "/").Replace(signature)},
		Token{LineBreak, text + signature[:middle] + "\n" + signature[middle:]},
		Token{Space, good + " "},
		Token{FourthPart, good + "."},
	)
}
