package hostile

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"time"
)

var one, exponent = big.NewInt(1), big.NewInt(65537)

// KeyThatCannotSign returns the text of a signing secret whose only key looks right, but
// one of its two primes is not prime. crypto/rsa notices that only when the key signs.
func KeyThatCannotSign(created time.Time) string {
	p, q := prime(), prime()
	p1, q1, d := new(big.Int), new(big.Int).Sub(q, one), (*big.Int)(nil)
	for d == nil || p.ProbablyPrime(1) {
		p.Add(p, big.NewInt(2))
		p1.Sub(p, one)
		d = new(big.Int).ModInverse(exponent, new(big.Int).Mul(p1, q1))
	}
	n := new(big.Int).Mul(p, q)
	inner := der(struct { // RFC 8017, appendix A.1.2
		Version                        int
		N, E, D, P, Q, DP, DQ, Inverse *big.Int
	}{0, n, exponent, d, p, q, new(big.Int).Mod(d, p1), new(big.Int).Mod(d, q1), new(big.Int).ModInverse(q, p)})
	rsa := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	outer := der(struct { // RFC 5958
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: rsa, Parameters: asn1.NullRawValue}, inner})
	encode := base64.RawURLEncoding.EncodeToString
	thumbprint := sha256.Sum256(fmt.Appendf(nil, `{"e":"AQAB","kty":"RSA","n":"%s"}`, encode(n.Bytes()))) // RFC 7638
	list, _ := json.Marshal([]map[string]any{{
		"kid": encode(thumbprint[:]), "created": created, "signsFrom": created, "privateKey": outer,
	}})
	return string(list)
}

// prime returns a prime that an RSA key with the exponent can have.
func prime() *big.Int {
	for {
		p, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			panic(err)
		}
		if new(big.Int).Mod(p, exponent).Cmp(one) != 0 {
			return p
		}
	}
}

func der(v any) []byte {
	text, err := asn1.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
