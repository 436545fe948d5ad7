package opendata

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
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

// seal encrypts text as it stands: the caller pads.
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

func TestParseTakesBase64AndRepairsTwoAccidentsOfTransport(t *testing.T) {
	// 0xfb gives plus signs; 32, 48 and 64 bytes give two, none and one of the padding.
	for _, size := range []int{32, 48, 64, 160, 4096} {
		text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, size))
		for name, sent := range map[string]string{
			"standard":            text,
			"spaces for pluses":   strings.ReplaceAll(text, "+", " "),
			"without padding":     strings.TrimRight(text, "="),
			"half of the padding": strings.TrimSuffix(text, "="),
		} {
			s, err := Parse(sent, base64.StdEncoding.EncodeToString(iv))
			if err != nil || len(s.data) != size || s.data[0] != 0xfb || !bytes.Equal(s.iv[:], iv) {
				t.Errorf("%d bytes, %s: %d bytes, %v", size, name, len(s.data), err)
			}
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
		{"a line end", good[:76] + "\n" + good[76:], goodIV, "encryptedData"},
		{"a carriage return at the end", good + "\r", goodIV, "encryptedData"},
		{"too much padding", encode(48) + "=", goodIV, "encryptedData"},
		{"three equals signs", strings.TrimRight(good, "=") + "===", goodIV, "encryptedData"},
		{"padding in the middle", encode(32) + encode(32), goodIV, "encryptedData"},
		{"a lone last character", encode(48) + "A", goodIV, "encryptedData"},
		{"bits left over", strings.TrimRight(encode(32), "=")[:42] + "t", goodIV, "encryptedData"},
		{"a NUL", good[:10] + "\x00" + good[11:], goodIV, "encryptedData"},
		{"no UTF-8", good[:10] + "\xff" + good[11:], goodIV, "encryptedData"},
		{"equals signs only", "====", goodIV, "encryptedData"},
		{"no iv", good, "", "iv"},
		{"iv of 15 bytes", good, encode(15), "iv"},
		{"iv of 17 bytes", good, encode(17), "iv"},
		{"iv of the URL alphabet", good, strings.ReplaceAll(goodIV, "+", "-"), "iv"},
	}
}

func TestParseRefusesAnythingElseAndNamesTheField(t *testing.T) {
	for _, test := range refusedFields() {
		_, err := Parse(test.data, test.iv)
		e, ok := errors.AsType[*FieldError](err)
		if !ok || e.Field != test.field || !strings.HasPrefix(e.Error(), test.field+" ") {
			t.Errorf("%s: error %v, want one for %s", test.name, err, test.field)
			continue
		}
		if len(test.data) > 4 && strings.Contains(e.Error(), test.data) || len(test.iv) > 4 && strings.Contains(e.Error(), test.iv) {
			t.Errorf("%s: the error repeats what the client sent", test.name)
		}
	}
}

func TestSessionKeyIsExactly16Bytes(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	for _, text := range []string{
		"", encode(make([]byte, 15)), encode(make([]byte, 17)), encode(make([]byte, 24)), encode(make([]byte, 32)),
		"tiihtNczf5v6AKRyjwEUhQ", "tiihtNczf5v6AKRyjwEUhR==", "tiihtNczf5v6\nAKRyjwEUhQ==", "!iihtNczf5v6AKRyjwEUhQ==", "tiihtNczf5v6AKRyjwEUhQ==\n",
	} {
		if _, err := ParseSessionKey(text); err == nil {
			t.Errorf("%q is taken for a session key", text)
		} else if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error repeats %q", text)
		}
	}
	if k, err := ParseSessionKey("tiihtNczf5v6AKRyjwEUhQ=="); err != nil || len(k.Reveal()) != 16 || fmt.Sprintf("%+v", k) != "[redacted]" {
		t.Errorf("a good session key: %v, printed as %+v", err, k)
	}
}

// Every length of message, every last byte, and each pad byte wrong in turn.
func TestEveryPadByteIsChecked(t *testing.T) {
	for length := range 3 * blockSize {
		message := strings.Repeat("m", length)
		got, ok := unpad(pad(message))
		if !ok || string(got) != message {
			t.Fatalf("message of %d bytes: %q, %v", length, got, ok)
		}
	}
	for last := range 256 {
		// Two blocks full of the last byte: good padding exactly from 1 to 16.
		text := bytes.Repeat([]byte{byte(last)}, 2*blockSize)
		got, ok := unpad(text)
		want := last >= 1 && last <= blockSize
		if ok != want || want && len(got) != len(text)-last || !want && len(got) != len(text) {
			t.Errorf("last byte %d: %d bytes, %v", last, len(got), ok)
		}
		for position := range 2*blockSize - 1 {
			for bit := range 8 {
				text := bytes.Clone(text)
				text[position] ^= 1 << bit
				inPadding := position >= len(text)-last
				if _, ok := unpad(text); ok != (last >= 1 && last <= blockSize && !inPadding) {
					t.Fatalf("last byte %d, byte %d wrong: %v", last, position, ok)
				}
			}
		}
	}
}

const mark = `"watermark":{"timestamp":1700000000,"appid":"wx0123456789abcdef"}`

var goodPhones = []struct {
	name, text string
	want       Phone
}{
	{"mainland", goodText, Phone{"13580006666", "13580006666", "86"}},
	{"number-typed country", `{"phoneNumber":"13580006666","purePhoneNumber":"13580006666","countryCode":86,` + mark + `}`, Phone{"13580006666", "13580006666", "86"}},
	{"another order, unknown keys", `{` + mark + `,"x":[{}],"countryCode":"86","purePhoneNumber":"13580006666","y":null,"phoneNumber":"13580006666"}`, Phone{"13580006666", "13580006666", "86"}},
	{"abroad with a plus", `{"phoneNumber":"+85291234567","purePhoneNumber":"91234567","countryCode":"852",` + mark + `}`, Phone{"+85291234567", "91234567", "852"}},
	{"abroad without", `{"phoneNumber":"85291234567","purePhoneNumber":"91234567","countryCode":"852",` + mark + `}`, Phone{"85291234567", "91234567", "852"}},
	{"abroad with separators", `{"phoneNumber":"+852 9123-4567","purePhoneNumber":"91234567","countryCode":"852",` + mark + `}`, Phone{"+852 9123-4567", "91234567", "852"}},
	{"escapes", `{"phoneNumber":"1358000666\u0036","purePhoneNumber":"13580006666","countryCode":"86",` + mark + `}`, Phone{"13580006666", "13580006666", "86"}},
}

func TestOpenPhoneGivesWhatWeChatSealed(t *testing.T) {
	for _, test := range goodPhones {
		got, err := OpenPhone(seal(t, pad(test.text)), key, rule)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v %s", test.name, got, err, reason(err))
		}
	}
}

func TestE164IsInDigitsAlone(t *testing.T) {
	for _, test := range []struct {
		phone Phone
		want  string
	}{
		{Phone{"13580006666", "13580006666", "86"}, "+8613580006666"},
		{Phone{"+85291234567", "91234567", "852"}, "+85291234567"},
		{Phone{"+852 9123-4567", "9123-4567", "852"}, "+85291234567"},
		{Phone{"+1 202 555 0100", "202 555 0100", "1"}, "+12025550100"},
	} {
		if got := test.phone.E164(); got != test.want || test.phone.Check() != nil {
			t.Errorf("%+v: %s, want %s", test.phone, got, test.want)
		}
	}
}

// The example is WeChat's own, from the page that Hash names.
func TestHashIsTheOneOfWeChatsExample(t *testing.T) {
	const data = "hsSuSUsePBqSQw2rYMtf9Nvha603xX8f2BMQBcYRoJiMNwOqt/UEhrqekebG5ar0LFNAm5MD4Uz6zorRwiXJwbySJ/FEJHav4NsobBIU1PwdjbJW" +
		"VQLFy7+YFkHB32OnQXWMh6ugW7Dyk2KS5BXp1f5lniKPp1KNLyNLlFlNZ2mgJCJmWvHj5AI7BLpWwoRvqRyZvVXo+9FsWqvBdxmAPA=="
	for name, sent := range map[string]string{
		"as it is": data, "spaces for pluses": strings.ReplaceAll(data, "+", " "), "without padding": strings.TrimRight(data, "="),
	} {
		s, err := Parse(sent, base64.StdEncoding.EncodeToString(iv))
		if err != nil || s.Hash() != "657edd868c9715a9bebe42b833269a557a48498785397a796f1568c29a200b2c" {
			t.Errorf("%s: %s, %v", name, s.Hash(), err)
		}
	}
}

type badPhone struct {
	name string
	text []byte // padded, well or badly
	want Reason
}

func badPhones() []badPhone {
	edit := func(from, to string) []byte {
		if !strings.Contains(goodText, from) {
			panic("no " + from + " in the text")
		}
		return pad(strings.Replace(goodText, from, to, 1))
	}
	badPadding := pad(goodText)
	badPadding[len(badPadding)-2] ^= 1
	stamp := func(at time.Time) []byte { return edit("1700000000", fmt.Sprint(at.Unix())) }
	return []badPhone{
		{"padding", badPadding, BadPadding},
		{"UTF-8", edit("13580006666", "1358000666\xff"), BadJSON},
		{"half a surrogate pair", edit("13580006666", `1358000666\ud800`), BadJSON},
		{"no JSON", pad(strings.Repeat("x", 40)), BadJSON},
		{"nothing but padding", pad(strings.Repeat(" ", 31)), BadJSON},
		{"text after it", pad(goodText + "{}"), BadJSON},
		{"a name twice", edit(`"countryCode":"86"`, `"countryCode":"86","countryCode":"86"`), BadJSON},
		{"an array", pad("[" + goodText + "]"), BadJSON},
		{"null", pad("null" + strings.Repeat(" ", 28)), WatermarkForeign},
		{"phone of the wrong type", edit(`"phoneNumber":"13580006666"`, `"phoneNumber":13580006666`), BadJSON},
		{"country of the wrong type", edit(`"86"`, `true`), BadJSON},
		{"country an object", edit(`"86"`, `{"a":1}`), BadJSON},
		{"watermark of the wrong type", edit(`"timestamp":1700000000`, `"timestamp":"1700000000"`), BadJSON},
		{"timestamp beyond 64 bits", edit(`1700000000`, `99999999999999999999`), BadJSON},
		{"name in another case", edit(`"phoneNumber"`, `"PhoneNumber"`), PhoneMissing},
		{"no phone", edit(`"phoneNumber":"13580006666",`, ``), PhoneMissing},
		{"null phone", edit(`"phoneNumber":"13580006666"`, `"phoneNumber":null`), PhoneMissing},
		{"empty phone", edit(`"13580006666"`, `""`), PhoneMissing},
		{"no pure phone", edit(`"purePhoneNumber":"13580006666",`, ``), PhoneMissing},
		{"no country", edit(`"countryCode":"86",`, ``), PhoneMissing},
		{"null country", edit(`"86"`, `null`), PhoneMissing},
		{"another number in phoneNumber", edit(`13580006666`, `13580006667`), PhoneInconsistent},
		{"a foreign country before it", edit(`13580006666`, `8713580006666`), PhoneInconsistent},
		{"letters", edit(`13580006666`, `x13580006666`), PhoneInconsistent},
		{"letters in all", pad(strings.ReplaceAll(goodText, `"13580006666"`, `"a"`)), PhoneInconsistent},
		{"a negative country", edit(`"86"`, `-86`), PhoneInconsistent},
		{"a country with a plus", edit(`"86"`, `"+86"`), PhoneInconsistent},
		{"a country with separators", edit(`"86"`, `"8 6"`), PhoneInconsistent},
		{"a plus in the middle", pad(strings.ReplaceAll(goodText, "13580006666", "1358+0006666")), PhoneInconsistent},
		{"brackets", pad(strings.ReplaceAll(goodText, "13580006666", "(1358)0006666")), PhoneInconsistent},
		{"a fraction for a country", edit(`"86"`, `86.5`), PhoneInconsistent},
		{"foreign app", edit(appID, "wx0000000000000000"), WatermarkForeign},
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
		phone, err := OpenPhone(seal(t, test.text), key, rule)
		if reason(err) != test.want || phone != (Phone{}) {
			t.Errorf("%s: reason %q, want %q", test.name, reason(err), test.want)
		}
		if err != nil && err.Error() != (&OpenError{}).Error() {
			t.Errorf("%s: the text of the error tells it from others: %v", test.name, err)
		}
	}

	other := mustKey(bytes.Repeat([]byte{8}, keySize))
	if _, err := OpenPhone(seal(t, pad(goodText)), other, rule); reason(err) == "" {
		t.Errorf("another key: %v", err)
	}
}

func TestWatermarkAgeIsBoundedAtBothEnds(t *testing.T) {
	at := func(maxAge, age time.Duration) Reason {
		text := strings.Replace(goodText, "1700000000", fmt.Sprint(now.Add(-age).Unix()), 1)
		_, err := OpenPhone(seal(t, pad(text)), key, Rule{appID, maxAge, now})
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
			t.Errorf("at most %v, %v old: %q, want %q", test.maxAge, test.age, got, test.want)
		}
	}
}

func TestNumberHasOnePlusAtMost(t *testing.T) {
	for _, before := range []string{"++86", "++", "+ +"} {
		text := strings.Replace(goodText, `"phoneNumber":"`, `"phoneNumber":"`+before, 1)
		if _, err := OpenPhone(seal(t, pad(text)), key, rule); reason(err) != PhoneInconsistent {
			t.Errorf("%q before it: reason %q, want %q", before, reason(err), PhoneInconsistent)
		}
	}
}

func TestTimestampMustBeThereWhateverItsAge(t *testing.T) {
	text := strings.Replace(goodText, `"timestamp":1700000000,`, ``, 1)
	for _, maxAge := range []time.Duration{0, time.Minute} {
		if _, err := OpenPhone(seal(t, pad(text)), key, Rule{appID, maxAge, now}); reason(err) != WatermarkMissing {
			t.Errorf("at most %v: reason %q, want %q", maxAge, reason(err), WatermarkMissing)
		}
	}
}

func TestOfficialDemoDecryptsAndIsNoPhone(t *testing.T) {
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
	profile, err := open[struct {
		OpenID string `json:"openId"`
	}](sealed, key, rule)
	if err != nil || profile.OpenID != demo.Plaintext.OpenID {
		t.Errorf("the profile's openId is %q, %v", profile.OpenID, err)
	}
	if _, err := OpenPhone(sealed, key, rule); reason(err) != PhoneMissing {
		t.Errorf("as a phone: %v %s, want %s", err, reason(err), PhoneMissing)
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
				t.Errorf("undocumented error %T", err)
			}
			return
		}
		// What is taken has one reading: it is what the standard encoder writes, but for the two repairs.
		want := strings.TrimRight(base64.StdEncoding.EncodeToString(s.data), "=")
		if strings.TrimRight(strings.ReplaceAll(data, " ", "+"), "=") != want {
			t.Errorf("%q was read as %q", data, want)
		}
	})
}

// The plaintext is fuzzed, sealed and opened: whatever opens is consistent,
// and opens to the same again when it is sealed anew.
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
		phone, err := OpenPhone(seal(t, pad(string(text))), key, rule)
		if err != nil {
			if reason(err) == "" {
				t.Errorf("undocumented error %T", err)
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
		reopened, err := OpenPhone(seal(t, pad(string(again))), key, rule)
		if err != nil || reopened != phone {
			t.Errorf("%+v was sealed again and opened to %+v, %v", phone, reopened, err)
		}
	})
}
