package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json/v2"
	"math/big"
	"sync"
	"testing"
	"time"

	"wechat-phone/shared/redacted"
)

// The key and signature of RFC 7515, appendix A.2.
const (
	rfc7515N = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4Ql" +
		"L-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB" +
		"dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8" +
		"q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
	rfc7515D = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe" +
		"46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4" +
		"qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS9" +
		"8l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ"
	rfc7515P = "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJ" +
		"NPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc"
	rfc7515Signed = "eyJhbGciOiJSUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	rfc7515Signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W" +
		"2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K" +
		"0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs" +
		"98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)

// The key and thumbprint of RFC 7638, section 3.1.
const (
	rfc7638N = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK" +
		"RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8" +
		"KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBni" +
		"Iqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	rfc7638Thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
)

func number(tb testing.TB, text string) *big.Int {
	tb.Helper()
	raw, ok := decode(text)
	if !ok {
		tb.Fatalf("%.8s… is not base64url", text)
	}
	return new(big.Int).SetBytes(raw)
}

// rfc7515Key is the fixed private key of the tests.
func rfc7515Key(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	n, p := number(tb, rfc7515N), number(tb, rfc7515P)
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: n, E: 65537},
		D:         number(tb, rfc7515D),
		Primes:    []*big.Int{p, new(big.Int).Div(n, p)},
	}
	key.Precompute()
	if err := key.Validate(); err != nil {
		tb.Fatal(err)
	}
	return key
}

// pool holds 45 keys for tests that need many. They share ten primes, since to find
// primes takes long. Daily rotations keep 33 keys, so a key is gone from the list
// before its turn comes again.
var pool = sync.OnceValue(func() (keys []*rsa.PrivateKey) {
	primes := make([]*big.Int, 10)
	var wait sync.WaitGroup
	for i := range primes {
		wait.Go(func() { primes[i] = newPrime() })
	}
	wait.Wait()
	for i, p := range primes {
		for _, q := range primes[:i] {
			keys = append(keys, newKey(p, q))
		}
	}
	return keys
})

var one = big.NewInt(1)

// newPrime returns a prime p of which p-1 is coprime to 65537.
func newPrime() *big.Int {
	for {
		p, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			panic(err)
		}
		if new(big.Int).Mod(p, big.NewInt(65537)).Cmp(one) != 0 {
			return p
		}
	}
}

func newKey(p, q *big.Int) *rsa.PrivateKey {
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
		D:         new(big.Int).ModInverse(big.NewInt(65537), phi),
		Primes:    []*big.Int{p, q},
	}
	key.Precompute()
	if err := key.Validate(); err != nil {
		panic(err)
	}
	return key
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	issuer = "https://api.example.com/shop"
	appID  = "wx0123456789abcdef"
	day    = 24 * time.Hour
)

var (
	openID  = redacted.New("oGZUI0egBJY1zhBYw2KhdUfwVJJE")
	unionID = redacted.New("oCanary-union-id")
	e164    = redacted.New("+8613580006666")
)

var claims = Claims{
	Issuer: issuer, AppID: appID, OpenID: openID, UnionID: unionID,
	IssuedAt: now, Lifetime: 15 * time.Minute, AuthTime: now.Add(-time.Second),
	Phone: Phone{e164, now.Add(-2 * time.Second)},
}

var expect = Expect{issuer, appID, openID, now, 30 * day}

func without(c Claims) Claims { c.Phone = Phone{}; return c }

func thumbprint(key *rsa.PublicKey) string { return describe(*key).ID }

func nextEntry(tb testing.TB, key *rsa.PrivateKey) entry {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	info := Key{ID: thumbprint(&key.PublicKey), Created: now.Add(-48 * time.Hour)}
	return entry{info, privateDER{redacted.New(string(der))}, nil}
}

func signingEntry(tb testing.TB, key *rsa.PrivateKey) entry {
	tb.Helper()
	e := nextEntry(tb, key)
	e.SignsFrom = now.Add(-24 * time.Hour)
	return e
}

func retiredEntry(tb testing.TB, key *rsa.PublicKey, retired time.Time) entry {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	created := retired.Add(-48 * time.Hour)
	return entry{Key{thumbprint(key), created, created.Add(day), retired}, privateDER{}, der}
}

func listText(tb testing.TB, entries ...entry) string {
	tb.Helper()
	text, err := json.Marshal(entries)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

func mustParse(tb testing.TB, text string) *Keys {
	tb.Helper()
	keys, err := ParseKeys(text)
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

// fixedKeys signs with the key of RFC 7515.
func fixedKeys(tb testing.TB) *Keys {
	tb.Helper()
	return mustParse(tb, listText(tb, signingEntry(tb, rfc7515Key(tb))))
}
