package opendata

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// payload is sealed phone data as a page sends it.
type payload struct{ data, iv string }

// payloads are many users', so that nothing is gained by having seen the same
// number before.
func payloads(tb testing.TB) []payload {
	tb.Helper()
	all := make([]payload, 1021)
	for i := range all {
		text := strings.ReplaceAll(goodText, "13580006666", fmt.Sprintf("1358%07d", i*7919))
		s := seal(tb, pad(text))
		all[i] = payload{base64.StdEncoding.EncodeToString(s.data), base64.StdEncoding.EncodeToString(iv)}
	}
	return all
}

// BenchmarkOpenPhone opens a payload: here, and as the well-known packages do
// it with the same checks. make bench compares the two.
func BenchmarkOpenPhone(b *testing.B) {
	all := payloads(b)
	rawKey := []byte(key.Reveal())
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p := all[i%len(all)]
			s, err := Parse(p.data, p.iv)
			if err != nil {
				b.Fatal(err)
			}
			if phone, err := OpenPhone(s, key, rule); err != nil || phone.PhoneNumber == "" {
				b.Fatal(phone, err)
			}
		}
	})
	b.Run("reference", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if n, err := reference(all[i%len(all)], rawKey); err != nil || n.PhoneNumber == "" {
				b.Fatal(n, err)
			}
		}
	})
}

// numbers is what the reference reads.
type numbers struct {
	PhoneNumber     string      `json:"phoneNumber"`
	PurePhoneNumber string      `json:"purePhoneNumber"`
	CountryCode     json.Number `json:"countryCode"` // takes strings too
	Watermark       struct {
		AppID     string `json:"appid"`
		Timestamp *int64 `json:"timestamp"`
	} `json:"watermark"`
}

var errReference = errors.New("refused")

// reference opens a payload as one would write it with encoding/json. It checks
// what Parse and OpenPhone check, and what is no matter of JSON or of the cipher
// with the same code; but names that occur twice version 1 of encoding/json has no
// way to refuse.
func reference(p payload, key []byte) (n numbers, _ error) {
	data, err := decodeBase64(nil, p.data, dataSize)
	if err != nil || len(data) < minSealed || len(data) > maxSealed || len(data)%blockSize != 0 {
		return n, errReference
	}
	vector, err := decodeBase64(nil, p.iv, ivSize)
	if err != nil || len(vector) != blockSize {
		return n, errReference
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return n, err
	}
	text := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, vector).CryptBlocks(text, data)
	size := int(text[len(text)-1])
	if size < 1 || size > blockSize {
		return n, errReference
	}
	for _, b := range text[len(text)-size:] {
		if int(b) != size {
			return n, errReference
		}
	}
	text = text[:len(text)-size]
	if !utf8.Valid(text) {
		return n, errReference
	}
	if err := json.Unmarshal(text, &n); err != nil {
		return n, err
	}
	phone := Phone{n.PhoneNumber, n.PurePhoneNumber, CountryCode(n.CountryCode)}
	if err := phone.Check(); err != nil {
		return n, err
	}
	mark := watermark{AppID: n.Watermark.AppID}
	if at := n.Watermark.Timestamp; at != nil {
		mark.Timestamp = timestamp{*at, true}
	}
	return n, mark.check(rule)
}

// The ratio says something only where both sides check the same. Version 1 takes
// names in any case, and the last of two.
func TestReferenceRefusesWhatIsRefusedHere(t *testing.T) {
	open := func(text []byte) error {
		sealed := seal(t, text)
		_, err := reference(payload{base64.StdEncoding.EncodeToString(sealed.data), base64.StdEncoding.EncodeToString(iv)}, []byte(key.Reveal()))
		return err
	}
	for _, test := range goodPhones {
		if err := open(pad(test.text)); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	lenient := []string{"a name twice", "name in another case"}
	for _, test := range badPhones() {
		if err := open(test.text); (err == nil) != slices.Contains(lenient, test.name) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
