package opendata

import (
	"encoding/json/jsontext"
	"errors"
	"strings"
)

// Phone is the phone number that a user bound to WeChat and agreed to share,
// in WeChat's words and as WeChat sealed it.
type Phone struct {
	PhoneNumber     string      `json:"phoneNumber"`     // abroad with the country code before it
	PurePhoneNumber string      `json:"purePhoneNumber"` // without the country code
	CountryCode     CountryCode `json:"countryCode"`
}

// CountryCode is a string of digits. WeChat sends it as a string here and as a
// number elsewhere; both are read, and a string is written.
type CountryCode string

var errCountryCode = errors.New("opendata: the country code is no string and no number")

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (c *CountryCode) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	switch value.Kind() {
	case jsontext.KindNumber:
		*c = CountryCode(value)
	case jsontext.KindString:
		if string(value) == `"86"` { // nearly everybody's, for which nothing is allocated
			*c = "86"
			return nil
		}
		value, err = jsontext.AppendUnquote(nil, value)
		*c = CountryCode(value)
		return err
	case jsontext.KindNull:
		*c = ""
	default:
		return errCountryCode
	}
	return nil
}

// OpenPhone decrypts a sealed phone number and verifies it. key must come from
// ParseSessionKey. Every error is an *OpenError.
func OpenPhone(s Sealed, key SessionKey, rule Rule) (Phone, error) {
	phone, err := open[Phone](s, key, rule)
	if err == nil {
		err = phone.Check()
	}
	if err != nil {
		return Phone{}, err
	}
	return phone, nil
}

// Check uses the redundancy of the three fields, which is the only integrity
// check beside the watermark: the digits of phoneNumber are those of
// purePhoneNumber, after the country code or nothing. Every error is an
// [*OpenError].
func (p Phone) Check() error {
	if p.PhoneNumber == "" || p.PurePhoneNumber == "" || p.CountryCode == "" {
		return &OpenError{PhoneMissing}
	}
	country, pure := string(p.CountryCode), digits(p.PurePhoneNumber)
	before, ok := strings.CutSuffix(digits(p.PhoneNumber), pure)
	if !onlyDigits(country) || pure == "" || !ok || before != "" && before != country {
		return &OpenError{PhoneInconsistent}
	}
	return nil
}

// maxDigits is how many digits a number has at most (ITU-T E.164, section 6).
const maxDigits = 15

// E164 returns the number as ITU-T E.164 writes it, a plus sign and digits, or ""
// if the three fields leave a doubt. Mainland China's numbers are the only ones
// that WeChat gives without their country code.
func (p Phone) E164() string {
	country, pure, full := string(p.CountryCode), digits(p.PurePhoneNumber), digits(p.PhoneNumber)
	if country == "" || len(country) > 3 || country[0] == '0' || !onlyDigits(country) {
		return ""
	}
	mainland := country == "86" && full == pure && len(pure) == 11 && pure[0] == '1'
	if pure == "" || len(country)+len(pure) > maxDigits || full != country+pure && !mainland {
		return ""
	}
	return "+" + country + pure
}

func onlyDigits(text string) bool {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

var separators = strings.NewReplacer(" ", "", "-", "")

// digits returns the digits of a phone number, or "" if it holds anything
// but digits, spaces and hyphens after at most one plus sign.
func digits(number string) string {
	number = strings.TrimPrefix(number, "+")
	if onlyDigits(number) { // as nearly all are
		return number
	}
	if number = separators.Replace(number); onlyDigits(number) {
		return number
	}
	return ""
}
