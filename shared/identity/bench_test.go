package identity

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
	"time"
)

// BenchmarkSign compares a token with the RSA signature in it.
func BenchmarkSign(b *testing.B) {
	key := rfc7515Key(b)
	keys := fixedKeys(b)
	b.Run("token", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			keys.Sign(claims)
		}
	})
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		digest := sha256.Sum256([]byte(rfc7515Signed))
		for b.Loop() {
			if _, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	keys := fixedKeys(b)
	token := keys.Sign(claims).Reveal()
	b.ReportAllocs()
	for b.Loop() {
		if _, reason := keys.Check(token, expect); reason != "" {
			b.Fatal(reason)
		}
	}
}

// BenchmarkParseKeys is what a start waits for.
func BenchmarkParseKeys(b *testing.B) {
	all := pool()
	list := []entry{signingEntry(b, all[0])}
	run := func(name string) {
		text := listText(b, list...)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustParse(b, text)
			}
		})
	}
	run("signing")
	list = append(list, nextEntry(b, all[1]))
	run("and-next")
	for i := range 31 {
		list = append(list, retiredEntry(b, &all[2+i].PublicKey, now.Add(-time.Duration(i)*day)))
	}
	run("and-31-retired")
}

func BenchmarkJWKS(b *testing.B) {
	all := pool()
	retired := retiredEntry(b, &all[2].PublicKey, now)
	keys := mustParse(b, listText(b, signingEntry(b, all[0]), nextEntry(b, all[1]), retired))
	b.ReportAllocs()
	for b.Loop() {
		keys.JWKS(now)
	}
}
