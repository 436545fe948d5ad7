// Package opendata opens WeChat open data: the encryptedData and iv that a page
// receives. WeChat seals the data with the user's session key. The package does no
// I/O.
//
// Call [Parse] first. It checks the client's fields and needs no session key. Then
// call [OpenPhone] with the session key that WeChat returns for the user's login
// code. It decrypts the data and verifies it.
//
// WeChat seals with AES-128-CBC and PKCS#7 padding, without a MAC, and the client
// chooses the iv. An attacker who can tell one failure from another can therefore
// forge plaintext block by block (Vaudenay, EUROCRYPT 2002). So all failures to
// open data have the same error text. The [Reason] is only for the operator's log.
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

	// A sealed phone number has 160 bytes. A watermark needs at least two blocks.
	// No user profile comes near 4096 bytes.
	minSealed = 2 * blockSize
	maxSealed = 4096
)

// SessionKey is the secret key that WeChat shares with the mini-program for one
// user. It never leaves the function, and prints as "[redacted]".
type SessionKey struct{ redacted.Value }

// ParseSessionKey parses the session_key that jscode2session returns: 16 bytes in
// padded standard base64.
func ParseSessionKey(text string) (SessionKey, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	// The decoder skips line ends, so the length of the text is checked too.
	if err != nil || len(key) != keySize || len(text) != base64.StdEncoding.EncodedLen(keySize) {
		return SessionKey{}, errors.New("opendata: the session key is not base64 of 16 bytes")
	}
	return SessionKey{redacted.New(string(key))}, nil
}

// Sealed is well-formed open data that is not opened yet. Get it from [Parse].
type Sealed struct {
	data []byte
	iv   [blockSize]byte
}

// FieldError says which of the client's fields is wrong and why. It never holds the
// field's value.
type FieldError struct {
	Field   string
	Problem string
}

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// Parse parses encryptedData (base64 of 32 to 4096 bytes, a multiple of 16) and iv
// (base64 of exactly 16 bytes). It repairs damage from transport if only one
// original is possible. Every error is a [*FieldError].
func Parse(encryptedData, iv string) (Sealed, error) {
	var s Sealed
	data, err := decodeBase64(nil, encryptedData, dataSize)
	if err != nil {
		return s, &FieldError{"encryptedData", err.Error()}
	}
	if !dataSize(len(data)) {
		return s, &FieldError{"encryptedData", "must be base64 of 32 to 4096 bytes, a multiple of 16"}
	}
	var buffer [blockSize]byte
	vector, err := decodeBase64(buffer[:0], iv, ivSize)
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

// Hash returns the hash by which checkencryptedmsg identifies the data: the SHA-256
// of its base64 text, in hex. WeChat's page says only "SHA-256 of the encrypted
// data". The example in an older edition shows that the text is hashed, not the
// bytes.
//
// https://developers.weixin.qq.com/minigame/dev/api-backend/open-api/user-info/auth.checkEncryptedData.html
func (s Sealed) Hash() string {
	sum := sha256.Sum256([]byte(base64.StdEncoding.EncodeToString(s.data)))
	return hex.EncodeToString(sum[:])
}

var (
	errBase64    = errors.New("is not base64 of the standard alphabet")
	strictBase64 = base64.RawStdEncoding.Strict()

	// repairs undoes encodeURIComponent, and line breaks in base64.
	repairs = strings.NewReplacer("%2B", "+", "%2b", "+", "%2F", "/", "%2f", "/", "%3D", "=", "%3d", "=",
		"\r", "", "\n", "", "\t", "")
)

// decodeBase64 appends the decoded text. It reads a space as a plus sign, which form
// and query decoders turn into a space. If only the text without its outer spaces
// has a permitted size, it drops them instead.
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

// decodeStrictly appends the decoded text. It accepts missing padding, but not too
// much of it, and the unused bits must be zero.
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

// Rule says which watermarks are accepted.
type Rule struct {
	AppID  string        // the mini-program that the data must be for; not empty
	MaxAge time.Duration // maximum age of the timestamp; 0 accepts any, even in the future
	Now    time.Time
}

// maxAhead is how far WeChat's clock may be ahead of ours.
const maxAhead = 2 * time.Minute

// watermark says for which mini-program WeChat sealed the data, and when. All open
// data has one.
type watermark struct {
	AppID     string    `json:"appid"`
	Timestamp timestamp `json:"timestamp"`
}

// timestamp is an optional Unix time. It is not a pointer, to save an allocation.
type timestamp struct {
	unix    int64 // in seconds
	present bool
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
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

// Reason is the class of a failure to open data. It is only for the operator's log.
type Reason string

// The reasons. They must never reach a client; see the package comment.
const (
	BadPadding        Reason = "padding"
	BadJSON           Reason = "json" // not UTF-8, not JSON, or a value of the wrong type
	PhoneMissing      Reason = "phone_missing"
	PhoneInconsistent Reason = "phone_inconsistent"
	WatermarkMissing  Reason = "watermark_missing"
	WatermarkForeign  Reason = "watermark_foreign"
	WatermarkStale    Reason = "watermark_stale"
	WatermarkAhead    Reason = "watermark_ahead"
	Unverified        Reason = "unverified" // the data opens, but WeChat does not know it
)

// OpenError is the only type of error that opening data returns.
type OpenError struct{ Reason Reason }

// Error returns the same text for every reason.
func (*OpenError) Error() string { return "opendata: the data cannot be opened" }

// open decrypts s, decodes the plaintext into a T and checks the watermark. It also
// returns the watermark's time. Every error is an [*OpenError].
func open[T any](s Sealed, key SessionKey, rule Rule) (T, time.Time, error) {
	var plain struct {
		Data      T         `json:",embed"`
		Watermark watermark `json:"watermark"`
	}
	text, padded := unpad(decrypt(s, key))
	// Text with bad padding is decoded too, so that it takes as long as bad JSON.
	// encoding/json/v2 refuses invalid UTF-8 and duplicate names.
	err := json.Unmarshal(text, &plain)
	switch {
	case !padded:
		return plain.Data, time.Time{}, &OpenError{BadPadding}
	case err != nil:
		return plain.Data, time.Time{}, &OpenError{BadJSON}
	}
	return plain.Data, time.Unix(plain.Watermark.Timestamp.unix, 0), plain.Watermark.check(rule)
}

func decrypt(s Sealed, key SessionKey) []byte {
	block, err := aes.NewCipher([]byte(key.Reveal()))
	if err != nil {
		panic("opendata: the SessionKey does not come from ParseSessionKey")
	}
	chain := slices.Concat(s.iv[:], s.data) // one allocation instead of two
	text := chain[blockSize:]
	cipher.NewCBCDecrypter(block, chain[:blockSize]).CryptBlocks(text, text)
	return text
}

// unpad removes PKCS#7 padding (RFC 5652, section 6.3). If the padding is bad, it
// returns all of text. It always checks every byte of the last block, so its time
// does not depend on the padding. WeChat's own samples check only the last byte, and
// accept data that WeChat never sealed. text must have at least one block.
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
