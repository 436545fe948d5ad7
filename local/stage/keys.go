package stage

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// signingKey is a key as the signing secret holds it.
type signingKey struct {
	ID         string    `json:"kid"`
	Created    time.Time `json:"created"`
	SignsFrom  time.Time `json:"signsFrom,omitzero"`
	PrivateKey []byte    `json:"privateKey"` // PKCS #8
}

// signingKeys returns the text of a signing secret, as the first make key makes it: a
// key that signs and a next key. All stages of a process share them, because making one
// takes half a second.
var signingKeys = sync.OnceValue(func() string {
	var keys [2]signingKey
	var making sync.WaitGroup
	for i := range keys {
		making.Go(func() { keys[i] = newSigningKey() })
	}
	making.Wait()
	keys[0].SignsFrom = keys[0].Created
	text, _ := json.Marshal(keys)
	return string(text)
})

func newSigningKey() signingKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return signingKey{ID: thumbprint(key.PublicKey), Created: time.Now().UTC().Truncate(time.Second), PrivateKey: der}
}

// thumbprint returns the key's RFC 7638 thumbprint.
func thumbprint(key rsa.PublicKey) string {
	encode := base64.RawURLEncoding.EncodeToString
	sum := sha256.Sum256(fmt.Appendf(nil, `{"e":"%s","kty":"RSA","n":"%s"}`,
		encode(big.NewInt(int64(key.E)).Bytes()), encode(key.N.Bytes())))
	return encode(sum[:])
}
