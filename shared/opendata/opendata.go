// Package opendata opens WeChat open data: the encryptedData and iv that a
// mini-program's page receives, sealed by WeChat with the user's session key.
// It does no I/O.
//
// Parse checks what a client sent, and needs no session. OpenPhone then
// decrypts and verifies it with the session key that WeChat gave for the
// user's login code.
//
// The sealing is AES-128-CBC with PKCS#7 padding and without a MAC, and the
// client chooses the iv. Whoever can tell one failure of opening from another
// can therefore forge plaintext block by block (Vaudenay, EUROCRYPT 2002). So
// every failure of opening is one and the same error to the outside; its
// Reason is for the operator's log alone.
//
// https://developers.weixin.qq.com/miniprogram/dev/framework/open-ability/signature.html
package opendata

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"wechat-phone/shared/redacted"
)

const (
	keySize   = 16 // AES-128
	blockSize = aes.BlockSize

	// A sealed phone has 160 bytes. Two blocks are the least that could hold a
	// watermark, and 4096 bytes are far above any user profile.
	minSealed = 2 * blockSize
	maxSealed = 4096
)

// SessionKey is the key that WeChat shares with a user's mini-program and with
// nobody else. It never leaves the function, and prints as "[redacted]".
type SessionKey struct{ redacted.Value }

// ParseSessionKey reads session_key as jscode2session gives it: 16 bytes in
// padded standard base64.
func ParseSessionKey(text string) (SessionKey, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	// The length of the text is checked too, since the decoder skips line ends.
	if err != nil || len(key) != keySize || len(text) != base64.StdEncoding.EncodedLen(keySize) {
		return SessionKey{}, errors.New("opendata: the session key is not base64 of 16 bytes")
	}
	return SessionKey{redacted.New(string(key))}, nil
}

// Sealed is open data as a client sent it: well formed, and not yet opened.
type Sealed struct {
	data []byte
	iv   [blockSize]byte
}

// FieldError says which of the client's fields is wrong, and how. It never
// holds the field's value.
type FieldError struct {
	Field   string
	Problem string
}

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// Parse reads encryptedData (base64 of 32 to 4096 bytes, a multiple of 16) and
// iv (base64 of exactly 16 bytes). It undoes accidents of transport that leave
// one reading only. Every error is a [*FieldError].
func Parse(encryptedData, iv string) (Sealed, error) {
	var s Sealed
	data, err := decodeBase64(nil, encryptedData, dataSize)
	if err != nil {
		return s, &FieldError{"encryptedData", err.Error()}
	}
	if !dataSize(len(data)) {
		return s, &FieldError{"encryptedData", "must be base64 of 32 to 4096 bytes, a multiple of 16"}
	}
	var room [blockSize]byte
	vector, err := decodeBase64(room[:0], iv, ivSize)
	if err != nil {
		return s, &FieldError{"iv", err.Error()}
	}
	if !ivSize(len(vector)) {
		return s, &FieldError{"iv", "must be base64 of exactly 16 bytes"}
	}
	s.data = data
	copy(s.iv[:], vector)
	return s, nil
}

func dataSize(n int) bool { return n >= minSealed && n <= maxSealed && n%blockSize == 0 }

func ivSize(n int) bool { return n == blockSize }

// Hash is what WeChat knows the data by: the SHA-256 in hex of its base64 text,
// and not of its bytes. WeChat's page says "SHA-256 of the encrypted data" only;
// the example that an older edition of it had settles which.
//
// https://developers.weixin.qq.com/minigame/dev/api-backend/open-api/user-info/auth.checkEncryptedData.html
func (s Sealed) Hash() string {
	sum := sha256.Sum256([]byte(base64.StdEncoding.EncodeToString(s.data)))
	return hex.EncodeToString(sum[:])
}

var (
	errBase64    = errors.New("is not base64 of the standard alphabet")
	strictBase64 = base64.RawStdEncoding.Strict()

	// What encodeURIComponent and line breaks do to base64.
	repairs = strings.NewReplacer("%2B", "+", "%2b", "+", "%2F", "/", "%2f", "/", "%3D", "=", "%3d", "=",
		"\r", "", "\n", "", "\t", "")
)

// decodeBase64 appends what text stands for. A space is a plus sign that a form
// or query decoder replaced, unless only the text without its outer spaces has a
// permitted size.
func decodeBase64(to []byte, text string, permitted func(int) bool) ([]byte, error) {
	if text == "" {
		return nil, errors.New("is missing or empty")
	}
	if strings.ContainsAny(text, "%\r\n\t") {
		text = repairs.Replace(text)
	}
	data, err := decodeStrictly(to, strings.ReplaceAll(text, " ", "+"))
	if err == nil && permitted(len(data)) {
		return data, nil
	}
	if inner := strings.Trim(text, " "); inner != text {
		bare, err := decodeStrictly(to, strings.ReplaceAll(inner, " ", "+"))
		if err == nil && permitted(len(bare)) {
			return bare, nil
		}
	}
	return data, err
}

// decodeStrictly appends what base64 stands for. Its padding may be missing, but
// not be too much, and the unused bits must be zero.
func decodeStrictly(to []byte, text string) ([]byte, error) {
	bare := strings.TrimRight(text, "=")
	if len(text)-len(bare) > (4-len(bare)%4)%4 {
		return nil, errBase64
	}
	data, err := strictBase64.AppendDecode(to, []byte(bare))
	if err != nil {
		return nil, errBase64
	}
	return data, nil
}

// Rule says which watermark is accepted.
type Rule struct {
	AppID  string        // the mini-program that the data must be for; not empty
	MaxAge time.Duration // the oldest accepted timestamp; 0 accepts any, future ones too
	Now    time.Time
}

// maxAhead is how far WeChat's clock may be ahead of ours.
const maxAhead = 2 * time.Minute

// watermark is WeChat's mark in all open data: whose it is, and since when.
type watermark struct {
	AppID     string    `json:"appid"`
	Timestamp timestamp `json:"timestamp"`
}

// timestamp is one that may be missing. It is no pointer, which would be
// allocated.
type timestamp struct {
	unix    int64 // in seconds
	present bool
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *timestamp) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil || value.Kind() == jsontext.KindNull {
		return err
	}
	t.unix, err = strconv.ParseInt(string(value), 10, 64)
	t.present = true
	return err
}

func (w watermark) check(rule Rule) error {
	switch {
	case w.AppID != rule.AppID:
		return &OpenError{WatermarkForeign}
	case !w.Timestamp.present:
		return &OpenError{WatermarkMissing}
	case rule.MaxAge == 0:
		return nil
	case w.Timestamp.unix < rule.Now.Add(-rule.MaxAge).Unix():
		return &OpenError{WatermarkStale}
	case w.Timestamp.unix > rule.Now.Add(maxAhead).Unix():
		return &OpenError{WatermarkAhead}
	}
	return nil
}

// Reason is the class of a failure to open, for the operator's log only.
type Reason string

// The reasons. None of them may reach a client: see the package comment.
const (
	BadPadding        Reason = "padding"
	BadJSON           Reason = "json" // not UTF-8, not JSON, or a value of the wrong type
	PhoneMissing      Reason = "phone_missing"
	PhoneInconsistent Reason = "phone_inconsistent"
	WatermarkMissing  Reason = "watermark_missing"
	WatermarkForeign  Reason = "watermark_foreign"
	WatermarkStale    Reason = "watermark_stale"
	WatermarkAhead    Reason = "watermark_ahead"
	Unverified        Reason = "unverified" // it opens, but WeChat does not know it
)

// OpenError is the one error of opening.
type OpenError struct{ Reason Reason }

// Error gives the same text for every reason.
func (*OpenError) Error() string { return "opendata: the data cannot be opened" }

// open decrypts s, decodes the plaintext into a T and checks its watermark.
// Every error is an *OpenError.
func open[T any](s Sealed, key SessionKey, rule Rule) (T, error) {
	var plain struct {
		Data      T         `json:",embed"`
		Watermark watermark `json:"watermark"`
	}
	text, padded := unpad(decrypt(s, key))
	// Bad padding is decoded too, so that it takes as long as bad JSON.
	// encoding/json/v2 refuses what is not UTF-8, and names that occur twice.
	err := json.Unmarshal(text, &plain)
	switch {
	case !padded:
		return plain.Data, &OpenError{BadPadding}
	case err != nil:
		return plain.Data, &OpenError{BadJSON}
	}
	return plain.Data, plain.Watermark.check(rule)
}

func decrypt(s Sealed, key SessionKey) []byte {
	block, err := aes.NewCipher([]byte(key.Reveal()))
	if err != nil {
		panic("opendata: a SessionKey that ParseSessionKey did not make")
	}
	chain := slices.Concat(s.iv[:], s.data) // together, since each alone would be allocated
	text := chain[blockSize:]
	cipher.NewCBCDecrypter(block, chain[:blockSize]).CryptBlocks(text, text)
	return text
}

// unpad removes PKCS#7 padding (RFC 5652, section 6.3). Where it is bad, text
// comes back whole. It looks at all of the last block whatever that holds, so
// its time does not depend on the padding; WeChat's own samples look at the last
// byte alone, and accept what WeChat never made. text must have a block at
// least.
func unpad(text []byte) (_ []byte, ok bool) {
	last := text[len(text)-blockSize:]
	size := int(last[blockSize-1])
	good := subtle.ConstantTimeLessOrEq(1, size) & subtle.ConstantTimeLessOrEq(size, blockSize)
	for i, b := range last {
		padding := subtle.ConstantTimeLessOrEq(blockSize-i, size)
		good &= subtle.ConstantTimeSelect(padding, subtle.ConstantTimeByteEq(b, last[blockSize-1]), 1)
	}
	return text[:len(text)-subtle.ConstantTimeSelect(good, size, 0)], good == 1
}
