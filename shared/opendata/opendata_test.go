package opendata

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	appID    = "wx0123456789abcdef"
	goodText = `{"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":"86",` +
		`"watermark":{"timestamp":1700000000,"appid":"wx0123456789abcdef"}}`
)

var (
	now  = time.Unix(1700000060, 0)
	rule = Rule{AppID: appID, MaxAge: 10 * time.Minute, Now: now}
	key  = mustKey(bytes.Repeat([]byte{7}, keySize))
	iv   = bytes.Repeat([]byte{9}, blockSize)
)

func mustKey(raw []byte) SessionKey {
	k, err := ParseSessionKey(base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		panic(err)
	}
	return k
}

func pad(text string) []byte {
	n := blockSize - len(text)%blockSize
	return append([]byte(text), bytes.Repeat([]byte{byte(n)}, n)...)
}

// seal encrypts text, which the caller must pad.
func seal(tb testing.TB, text []byte) Sealed {
	tb.Helper()
	block, err := aes.NewCipher([]byte(key.Reveal()))
	if err != nil {
		tb.Fatal(err)
	}
	data := make([]byte, len(text))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, text)
	s, err := Parse(base64.StdEncoding.EncodeToString(data), base64.StdEncoding.EncodeToString(iv))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func reason(err error) Reason {
	if e, ok := errors.AsType[*OpenError](err); ok {
		return e.Reason
	}
	return ""
}

func TestParseRepairsDamageFromTransport(t *testing.T) {
	// In base64, 0xfb and 0xff give plus signs and slashes. 32, 48 and 64 bytes give
	// one, no and two equals signs.
	for _, size := range []int{32, 48, 64, 160, 4096} {
		text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff}, size/2))
		bare := strings.TrimRight(text, "=")
		for name, sent := range map[string]string{
			"standard":                    text,
			"spaces for plus signs":       strings.ReplaceAll(text, "+", " "),
			"no padding":                  bare,
			"one equals sign missing":     strings.TrimSuffix(text, "="),
			"percent-encoded":             url.QueryEscape(text),
			"percent-encoded, lower case": strings.NewReplacer("+", "%2b", "/", "%2f", "=", "%3d").Replace(text),
			"only plus signs encoded":     strings.ReplaceAll(text, "+", "%2B"),
			"line breaks":                 text[:40] + "\r\n" + text[40:] + "\n",
			"tabs":                        "\t" + text[:40] + "\t" + text[40:],
			"a leading space":             " " + text,
			"a trailing space":            text + " ",
			"outer spaces":                "  " + bare + " ",
		} {
			s, err := Parse(sent, base64.StdEncoding.EncodeToString(iv))
			if err != nil || len(s.data) != size || s.data[0] != 0xfb || !bytes.Equal(s.iv[:], iv) {
				t.Errorf("%d bytes, %s: got %d bytes, error %v, want the original", size, name, len(s.data), err)
			}
		}
	}
}

// A form turns a plus sign into a space. So an outer space stands for a plus sign if
// the value has a permitted length with it.
func TestOuterSpaceIsAPlusSignIfTheLengthIsPermitted(t *testing.T) {
	for _, raw := range [][]byte{
		append([]byte{0xf8}, bytes.Repeat([]byte{7}, 15)...), // its base64 begins with a plus sign
		append(bytes.Repeat([]byte{7}, 47), 0xfe)[32:],
	} {
		text := base64.StdEncoding.EncodeToString(raw)
		data := base64.StdEncoding.EncodeToString(append(make([]byte, 45), 0, 0, 0x3e)) // ends in a plus sign
		s, err := Parse(strings.ReplaceAll(data, "+", " "), strings.ReplaceAll(text, "+", " "))
		if err != nil || s.data[47] != 0x3e || !bytes.Equal(s.iv[:], raw) {
			t.Errorf("iv %q, data %q: got %x, %x, error %v, want plus signs", text, data, s.iv, s.data, err)
		}
	}
}

type refusedField struct{ name, data, iv, field string }

func refusedFields() []refusedField {
	encode := func(size int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, size)) }
	good, goodIV := encode(160), encode(16)
	return []refusedField{
		{"no data", "", goodIV, "encryptedData"},
		{"16 bytes", encode(16), goodIV, "encryptedData"},
		{"33 bytes", encode(33), goodIV, "encryptedData"},
		{"4112 bytes", encode(4112), goodIV, "encryptedData"},
		{"URL alphabet", strings.ReplaceAll(good, "+", "-"), goodIV, "encryptedData"},
		{"percent-encoded twice", strings.ReplaceAll(good, "+", "%252B"), goodIV, "encryptedData"},
		{"another character percent-encoded", strings.Replace(good, "v", "%76", 1), goodIV, "encryptedData"},
		{"only a percent sign", good[:10] + "%" + good[10:], goodIV, "encryptedData"},
		{"a form feed", good[:10] + "\f" + good[10:], goodIV, "encryptedData"},
		{"a no-break space", good + "\u00a0", goodIV, "encryptedData"},
		{"two outer spaces, one for a plus sign", " " + good[1:] + " ", goodIV, "encryptedData"},
		{"only line breaks", "\r\n", goodIV, "encryptedData"},
		{"only spaces", "   ", goodIV, "encryptedData"},
		{"too much padding", encode(48) + "=", goodIV, "encryptedData"},
		{"three equals signs", strings.TrimRight(good, "=") + "===", goodIV, "encryptedData"},
		{"padding in the middle", encode(32) + encode(32), goodIV, "encryptedData"},
		{"a lone last character", encode(48) + "A", goodIV, "encryptedData"},
		{"unused bits set", strings.TrimRight(encode(32), "=")[:42] + "t", goodIV, "encryptedData"},
		{"a NUL", good[:10] + "\x00" + good[11:], goodIV, "encryptedData"},
		{"invalid UTF-8", good[:10] + "\xff" + good[11:], goodIV, "encryptedData"},
		{"only equals signs", "====", goodIV, "encryptedData"},
		{"no iv", good, "", "iv"},
		{"iv of 15 bytes", good, encode(15), "iv"},
		{"iv of 17 bytes", good, encode(17), "iv"},
		{"iv in the URL alphabet", good, strings.ReplaceAll(goodIV, "+", "-"), "iv"},
	}
}

func TestParseRefusesAnythingElseAndNamesTheField(t *testing.T) {
	for _, test := range refusedFields() {
		_, err := Parse(test.data, test.iv)
		e, ok := errors.AsType[*FieldError](err)
		if !ok || e.Field != test.field || !strings.HasPrefix(e.Error(), test.field+" ") {
			t.Errorf("%s: got error %v, want one for %s", test.name, err, test.field)
			continue
		}
		for _, value := range []string{test.data, test.iv} {
			if len(value) > 4 && strings.Contains(e.Error(), value) {
				t.Errorf("%s: got error %v, want it without the client's value", test.name, err)
			}
		}
	}
}

func TestSessionKeyIsExactly16Bytes(t *testing.T) {
	encode := func(size int) string { return base64.StdEncoding.EncodeToString(make([]byte, size)) }
	for _, text := range []string{
		"", encode(15), encode(17), encode(24), encode(32),
		"tiihtNczf5v6AKRyjwEUhQ", "tiihtNczf5v6AKRyjwEUhR==", "tiihtNczf5v6\nAKRyjwEUhQ==",
		"!iihtNczf5v6AKRyjwEUhQ==", "tiihtNczf5v6AKRyjwEUhQ==\n",
	} {
		if _, err := ParseSessionKey(text); err == nil {
			t.Errorf("%q: got no error, want one", text)
		} else if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: got error %v, want it without the value", text, err)
		}
	}
	k, err := ParseSessionKey("tiihtNczf5v6AKRyjwEUhQ==")
	if printed := fmt.Sprintf("%+v", k); err != nil || len(k.Reveal()) != 16 || printed != "[redacted]" {
		t.Errorf("a good session key: got %d bytes printed as %s, error %v, want 16 printed as [redacted]",
			len(k.Reveal()), printed, err)
	}
}

// The test tries every length of message, every last byte, and each pad byte wrong.
func TestEveryPadByteIsChecked(t *testing.T) {
	for length := range 3 * blockSize {
		message := strings.Repeat("m", length)
		got, ok := unpad(pad(message))
		if !ok || string(got) != message {
			t.Fatalf("message of %d bytes: got %q, %v, want it back", length, got, ok)
		}
	}
	for last := range 256 {
		// The same byte in two blocks is good padding if it is 1 to 16.
		text := bytes.Repeat([]byte{byte(last)}, 2*blockSize)
		got, ok := unpad(text)
		want := last >= 1 && last <= blockSize
		if ok != want || want && len(got) != len(text)-last || !want && len(got) != len(text) {
			t.Errorf("last byte %d: got %d bytes, %v, want %v", last, len(got), ok, want)
		}
		for position := range 2*blockSize - 1 {
			for bit := range 8 {
				text := bytes.Clone(text)
				text[position] ^= 1 << bit
				inPadding := position >= len(text)-last
				if _, ok := unpad(text); ok != (want && !inPadding) {
					t.Fatalf("last byte %d, byte %d wrong: got %v, want %v", last, position, ok, want && !inPadding)
				}
			}
		}
	}
}

const mark = `"watermark":{"timestamp":1700000000,"appid":"wx0123456789abcdef"}`

var (
	mainland = Phone{"13580006666", "13580006666", "86"}

	goodPhones = []struct {
		name, text string
		want       Phone
	}{
		{"mainland", goodText, mainland},
		{
			"country a number",
			`{"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":86,` + mark + `}`,
			mainland,
		},
		{
			"another order, unknown names",
			`{` + mark + `,"x":[{}],"countryCode":"86","purePhoneNumber":"13580006666","y":null,` +
				`"phoneNumber":"13580006666"}`,
			mainland,
		},
		{
			"abroad with a plus sign",
			`{"phoneNumber":"+85291234567","purePhoneNumber":"91234567","countryCode":"852",` + mark + `}`,
			Phone{"+85291234567", "91234567", "852"},
		},
		{
			"abroad without a plus sign",
			`{"phoneNumber":"85291234567","purePhoneNumber":"91234567","countryCode":"852",` + mark + `}`,
			Phone{"85291234567", "91234567", "852"},
		},
		{
			"abroad with separators",
			`{"phoneNumber":"+852 9123-4567","purePhoneNumber":"91234567","countryCode":"852",` + mark + `}`,
			Phone{"+852 9123-4567", "91234567", "852"},
		},
		{
			"escapes",
			`{"phoneNumber":"1358000666\u0036","purePhoneNumber":"13580006666","countryCode":"86",` + mark + `}`,
			mainland,
		},
	}
)

func TestOpenPhoneReturnsTheSealedNumber(t *testing.T) {
	for _, test := range goodPhones {
		got, sealedAt, err := OpenPhone(seal(t, pad(test.text)), key, rule)
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v, error %v %s, want %+v", test.name, got, err, reason(err), test.want)
		}
		if sealedAt.Unix() != 1700000000 {
			t.Errorf("%s: got the time %v, want the watermark's", test.name, sealedAt)
		}
	}
}

func TestE164IsEmptyIfTheFieldsLeaveDoubt(t *testing.T) {
	for _, tt := range []struct {
		name  string
		phone Phone
		want  string
	}{
		{"mainland", mainland, "+8613580006666"},
		{"mainland with its country code", Phone{"+8613580006666", "13580006666", "86"}, "+8613580006666"},
		{"abroad", Phone{"+85291234567", "91234567", "852"}, "+85291234567"},
		{"abroad without the plus sign", Phone{"85291234567", "91234567", "852"}, "+85291234567"},
		{"hyphens", Phone{"+852 9123-4567", "9123-4567", "852"}, "+85291234567"},
		{"spaces", Phone{"+1 202 555 0100", "202 555 0100", "1"}, "+12025550100"},
		{"fifteen digits", Phone{"+852123456789012", "123456789012", "852"}, "+852123456789012"},

		{"sixteen digits", Phone{"+8521234567890123", "1234567890123", "852"}, ""},
		{"a bare mainland number with another country", Phone{"13580006666", "13580006666", "852"}, ""},
		{"a bare number abroad", Phone{"91234567", "91234567", "852"}, ""},
		{"two zeros before the country code", Phone{"0085291234567", "91234567", "852"}, ""},
		{"the country code in the pure number", Phone{"+85291234567", "85291234567", "852"}, ""},
		{"a plus sign in the country code", Phone{"+85291234567", "91234567", "+852"}, ""},
		{"a country code that begins with 0", Phone{"01291234567", "91234567", "012"}, ""},
		{"a country code of four digits", Phone{"123491234567", "91234567", "1234"}, ""},
		{"a country code with a fraction", Phone{"86.513580006666", "13580006666", "86.5"}, ""},
		{"no country code", Phone{"13580006666", "13580006666", ""}, ""},
		{"no number", Phone{"", "", "86"}, ""},
		{"no pure number", Phone{"13580006666", "", "86"}, ""},
		{"only a country code", Phone{"86", "", "86"}, ""},
		{"no full number", Phone{"", "13580006666", "86"}, ""},
		{"two numbers", Phone{"13580006666", "13580006667", "86"}, ""},
		{"a mainland landline", Phone{"01012345678", "01012345678", "86"}, ""},
		{"twelve digits for the mainland", Phone{"135800066661", "135800066661", "86"}, ""},
		{"ten digits for the mainland", Phone{"1358000666", "1358000666", "86"}, ""},
		{"two plus signs", Phone{"++85291234567", "91234567", "852"}, ""},
		{"letters", Phone{"1358000666x", "1358000666x", "86"}, ""},
	} {
		if got := tt.phone.E164(); got != tt.want {
			t.Errorf("%s: %+v: got %q, want %q", tt.name, tt.phone, got, tt.want)
		}
	}
}

// The example is WeChat's own, from the page that [Sealed.Hash] links to.
func TestHashMatchesWeChatsExample(t *testing.T) {
	const data = "hsSuSUsePBqSQw2rYMtf9Nvha603xX8f2BMQBcYRoJiMNwOqt/UEhrqekebG5ar0LFNAm5MD4Uz6zorRwiXJwbySJ/FEJHav4N" +
		"sobBIU1PwdjbJWVQLFy7+YFkHB32OnQXWMh6ugW7Dyk2KS5BXp1f5lniKPp1KNLyNLlFlNZ2mgJCJmWvHj5AI7BLpWwoRvqRyZvVXo" +
		"+9FsWqvBdxmAPA=="
	const want = "657edd868c9715a9bebe42b833269a557a48498785397a796f1568c29a200b2c"
	for name, sent := range map[string]string{
		"unchanged":             data,
		"spaces for plus signs": strings.ReplaceAll(data, "+", " "),
		"no padding":            strings.TrimRight(data, "="),
	} {
		s, err := Parse(sent, base64.StdEncoding.EncodeToString(iv))
		if got := s.Hash(); err != nil || got != want {
			t.Errorf("%s: got %s, error %v, want %s", name, got, err, want)
		}
	}
}

type badPhone struct {
	name string
	text []byte // with good or bad padding
	want Reason
}

func badPhones() []badPhone {
	return slices.Concat(badTexts(), badNumbers(), badWatermarks())
}

// edit returns goodText, padded, with one part replaced.
func edit(from, to string) []byte {
	if !strings.Contains(goodText, from) {
		panic("no " + from + " in the text")
	}
	return pad(strings.Replace(goodText, from, to, 1))
}

func badTexts() []badPhone {
	badPadding := pad(goodText)
	badPadding[len(badPadding)-2] ^= 1
	return []badPhone{
		{"bad padding", badPadding, BadPadding},
		{"invalid UTF-8", edit("13580006666", "1358000666\xff"), BadJSON},
		{"half a surrogate pair", edit("13580006666", `1358000666\ud800`), BadJSON},
		{"not JSON", pad(strings.Repeat("x", 40)), BadJSON},
		{"only spaces", pad(strings.Repeat(" ", 31)), BadJSON},
		{"text after the object", pad(goodText + "{}"), BadJSON},
		{"a duplicate name", edit(`"countryCode":"86"`, `"countryCode":"86","countryCode":"86"`), BadJSON},
		{"an array", pad("[" + goodText + "]"), BadJSON},
		{"null", pad("null" + strings.Repeat(" ", 28)), WatermarkForeign},
		{"phone of the wrong type", edit(`"phoneNumber":"13580006666"`, `"phoneNumber":13580006666`), BadJSON},
		{"country of the wrong type", edit(`"86"`, `true`), BadJSON},
		{"country an object", edit(`"86"`, `{"a":1}`), BadJSON},
		{"watermark of the wrong type", edit(`"timestamp":1700000000`, `"timestamp":"1700000000"`), BadJSON},
		{"timestamp beyond 64 bits", edit(`1700000000`, `99999999999999999999`), BadJSON},
	}
}

func badNumbers() []badPhone {
	return []badPhone{
		{"name in another case", edit(`"phoneNumber"`, `"PhoneNumber"`), PhoneMissing},
		{"no phone", edit(`"phoneNumber":"13580006666",`, ``), PhoneMissing},
		{"null phone", edit(`"phoneNumber":"13580006666"`, `"phoneNumber":null`), PhoneMissing},
		{"empty phone", edit(`"13580006666"`, `""`), PhoneMissing},
		{"no pure phone", edit(`"purePhoneNumber":"13580006666",`, ``), PhoneMissing},
		{"no country", edit(`"countryCode":"86",`, ``), PhoneMissing},
		{"null country", edit(`"86"`, `null`), PhoneMissing},
		{"another number in phoneNumber", edit(`13580006666`, `13580006667`), PhoneInconsistent},
		{"another country code before the number", edit(`13580006666`, `8713580006666`), PhoneInconsistent},
		{"a letter in phoneNumber", edit(`13580006666`, `x13580006666`), PhoneInconsistent},
		{"letters in both numbers", pad(strings.ReplaceAll(goodText, `"13580006666"`, `"a"`)), PhoneInconsistent},
		{"a negative country", edit(`"86"`, `-86`), PhoneInconsistent},
		{"a country with a plus", edit(`"86"`, `"+86"`), PhoneInconsistent},
		{"a country with separators", edit(`"86"`, `"8 6"`), PhoneInconsistent},
		{"a plus in the middle", pad(strings.ReplaceAll(goodText, "13580006666", "1358+0006666")), PhoneInconsistent},
		{"brackets", pad(strings.ReplaceAll(goodText, "13580006666", "(1358)0006666")), PhoneInconsistent},
		{"country a fraction", edit(`"86"`, `86.5`), PhoneInconsistent},
	}
}

func badWatermarks() []badPhone {
	stamp := func(at time.Time) []byte { return edit("1700000000", fmt.Sprint(at.Unix())) }
	return []badPhone{
		{"another mini-program", edit(appID, "wx0000000000000000"), WatermarkForeign},
		{"no watermark", edit(`,"watermark"`, `,"another"`), WatermarkForeign},
		{"no timestamp", edit(`"timestamp":1700000000,`, ``), WatermarkMissing},
		{"stale", stamp(now.Add(-rule.MaxAge - time.Second)), WatermarkStale},
		{"ahead", stamp(now.Add(2*time.Minute + time.Second)), WatermarkAhead},
		{"the beginning of time", edit("1700000000", "-9223372036854775808"), WatermarkStale},
		{"the end of time", edit("1700000000", "9223372036854775807"), WatermarkAhead},
	}
}

func TestOpenPhoneFailsAlikeWhateverIsWrong(t *testing.T) {
	for _, test := range badPhones() {
		phone, _, err := OpenPhone(seal(t, test.text), key, rule)
		if reason(err) != test.want || phone != (Phone{}) {
			t.Errorf("%s: got reason %q, want %q", test.name, reason(err), test.want)
		}
		if want := (&OpenError{}).Error(); err != nil && err.Error() != want {
			t.Errorf("%s: got error %q, want %q", test.name, err, want)
		}
	}

	other := mustKey(bytes.Repeat([]byte{8}, keySize))
	if _, _, err := OpenPhone(seal(t, pad(goodText)), other, rule); reason(err) == "" {
		t.Errorf("another key: got error %v, want an OpenError", err)
	}
}

func TestWatermarkAgeIsBoundedAtBothEnds(t *testing.T) {
	at := func(maxAge, age time.Duration) Reason {
		text := strings.Replace(goodText, "1700000000", fmt.Sprint(now.Add(-age).Unix()), 1)
		_, _, err := OpenPhone(seal(t, pad(text)), key, Rule{appID, maxAge, now})
		return reason(err)
	}
	tests := []struct {
		maxAge, age time.Duration
		want        Reason
	}{
		{10 * time.Minute, 10 * time.Minute, ""},
		{10 * time.Minute, 10*time.Minute + time.Second, WatermarkStale},
		{10 * time.Minute, -2 * time.Minute, ""},
		{10 * time.Minute, -2*time.Minute - time.Second, WatermarkAhead},
		{time.Minute, time.Minute + time.Second, WatermarkStale},
		{0, 30 * 365 * 24 * time.Hour, ""},
		{0, -30 * 365 * 24 * time.Hour, ""},
	}
	for _, test := range tests {
		if got := at(test.maxAge, test.age); got != test.want {
			t.Errorf("%v old, at most %v: got %q, want %q", test.age, test.maxAge, got, test.want)
		}
	}
}

func TestNumberHasAtMostOnePlusSign(t *testing.T) {
	for _, before := range []string{"++86", "++", "+ +"} {
		text := strings.Replace(goodText, `"phoneNumber":"`, `"phoneNumber":"`+before, 1)
		if _, _, err := OpenPhone(seal(t, pad(text)), key, rule); reason(err) != PhoneInconsistent {
			t.Errorf("%q before the number: got reason %q, want %q", before, reason(err), PhoneInconsistent)
		}
	}
}

func TestTimestampIsRequiredWhateverTheMaxAge(t *testing.T) {
	text := strings.Replace(goodText, `"timestamp":1700000000,`, ``, 1)
	for _, maxAge := range []time.Duration{0, time.Minute} {
		if _, _, err := OpenPhone(seal(t, pad(text)), key, Rule{appID, maxAge, now}); reason(err) != WatermarkMissing {
			t.Errorf("at most %v old: got reason %q, want %q", maxAge, reason(err), WatermarkMissing)
		}
	}
}

func TestOfficialDemoDecryptsAndIsNotAPhone(t *testing.T) {
	var demo struct {
		AppID         string `json:"appid"`
		SessionKey    string `json:"session_key"`
		IV            string `json:"iv"`
		EncryptedData string `json:"encryptedData"`
		Plaintext     struct {
			OpenID string `json:"openId"`
		} `json:"plaintext"`
	}
	text, err := os.ReadFile("testdata/official-demo.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &demo); err != nil {
		t.Fatal(err)
	}
	key, err := ParseSessionKey(demo.SessionKey)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := Parse(demo.EncryptedData, demo.IV)
	if err != nil {
		t.Fatal(err)
	}
	rule := Rule{AppID: demo.AppID, Now: now}
	profile, _, err := open[struct {
		OpenID string `json:"openId"`
	}](sealed, key, rule)
	if err != nil || profile.OpenID != demo.Plaintext.OpenID {
		t.Errorf("got openId %q, error %v, want %q", profile.OpenID, err, demo.Plaintext.OpenID)
	}
	if _, _, err := OpenPhone(sealed, key, rule); reason(err) != PhoneMissing {
		t.Errorf("as a phone: got error %v, reason %q, want %q", err, reason(err), PhoneMissing)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString(make([]byte, 32)), base64.StdEncoding.EncodeToString(iv))
	for _, test := range refusedFields() {
		f.Add(test.data, test.iv)
	}
	f.Fuzz(func(t *testing.T, data, iv string) {
		s, err := Parse(data, iv)
		if err != nil {
			if _, ok := errors.AsType[*FieldError](err); !ok {
				t.Errorf("got error %T, want a *FieldError", err)
			}
			return
		}
		// Apart from the repairs, an accepted value is what the standard encoder
		// writes. So it has only one reading.
		want := strings.TrimRight(base64.StdEncoding.EncodeToString(s.data), "=")
		repaired := repairs.Replace(data)
		inner := strings.Trim(repaired, " ")
		got := strings.TrimRight(strings.ReplaceAll(repaired, " ", "+"), "=")
		if got != want && strings.TrimRight(strings.ReplaceAll(inner, " ", "+"), "=") != want {
			t.Errorf("got %q from %q, want the same but for the repairs", want, data)
		}
	})
}

// FuzzOpenPhone seals and opens any plaintext. A number that opens must open to the
// same number when it is sealed again.
func FuzzOpenPhone(f *testing.F) {
	for _, test := range goodPhones {
		f.Add([]byte(test.text))
	}
	for _, test := range badPhones() {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) < blockSize || len(text) > 4000 {
			return
		}
		phone, _, err := OpenPhone(seal(t, pad(string(text))), key, rule)
		if err != nil {
			if reason(err) == "" {
				t.Errorf("got error %T, want an *OpenError with a reason", err)
			}
			return
		}
		again, err := json.Marshal(struct {
			Phone     `json:",embed"`
			Watermark map[string]any `json:"watermark"`
		}{phone, map[string]any{"appid": appID, "timestamp": now.Unix()}})
		if err != nil {
			t.Fatal(err)
		}
		reopened, _, err := OpenPhone(seal(t, pad(string(again))), key, rule)
		if err != nil || reopened != phone {
			t.Errorf("sealed again: got %+v, error %v, want %+v", reopened, err, phone)
		}
	})
}
