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

// payload is a sealed phone number as a page sends it.
type payload struct{ data, iv string }

// payloads returns the payloads of many users, so that no cache helps.
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

// BenchmarkOpenPhone opens a payload with this package and with [reference], which
// makes the same checks. make bench compares the two.
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
			if phone, _, err := OpenPhone(s, key, rule); err != nil || phone.PhoneNumber == "" {
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

// numbers is the plaintext that [reference] decodes.
type numbers struct {
	PhoneNumber     string      `json:"phoneNumber"`
	PurePhoneNumber string      `json:"purePhoneNumber"`
	CountryCode     json.Number `json:"countryCode"` // accepts strings too
	Watermark       struct {
		AppID     string `json:"appid"`
		Timestamp *int64 `json:"timestamp"`
	} `json:"watermark"`
}

var errReference = errors.New("refused")

// reference opens a payload with encoding/json, in the obvious way. It checks what
// [Parse] and [OpenPhone] check, and shares their code except for JSON and the
// cipher. It accepts duplicate names, which version 1 of encoding/json cannot refuse.
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

// The benchmark is fair only if both sides make the same checks. Version 1 of
// encoding/json ignores the case of names, and uses the last of two duplicates.
func TestReferenceMakesTheSameChecks(t *testing.T) {
	open := func(text []byte) error {
		sealed := seal(t, text)
		encode := base64.StdEncoding.EncodeToString
		_, err := reference(payload{encode(sealed.data), encode(iv)}, []byte(key.Reveal()))
		return err
	}
	for _, test := range goodPhones {
		if err := open(pad(test.text)); err != nil {
			t.Errorf("%s: got error %v, want none", test.name, err)
		}
	}
	lenient := []string{"a duplicate name", "name in another case"}
	for _, test := range badPhones() {
		want := slices.Contains(lenient, test.name)
		if err := open(test.text); (err == nil) != want {
			t.Errorf("%s: got error %v, want it accepted %v", test.name, err, want)
		}
	}
}
