package opendata

import (
	"encoding/json/jsontext"
	"errors"
	"strings"
	"time"
)

// Phone is a user's phone number as WeChat writes it. Its fields have WeChat's names.
type Phone struct {
	PhoneNumber     string      `json:"phoneNumber"`     // outside mainland China, it includes the country code
	PurePhoneNumber string      `json:"purePhoneNumber"` // without the country code
	CountryCode     CountryCode `json:"countryCode"`
}

// CountryCode is a string of digits. WeChat writes it as a string in sealed data and
// as a number elsewhere. CountryCode accepts both, and marshals as a string.
type CountryCode string

var errCountryCode = errors.New("opendata: the country code is neither a string nor a number")

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (c *CountryCode) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	switch value.Kind() {
	case jsontext.KindNumber:
		*c = CountryCode(value)
	case jsontext.KindString:
		if string(value) == `"86"` { // the usual case, without an allocation
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

// OpenPhone decrypts a sealed phone number and verifies it. It also returns when
// WeChat sealed the number, by its watermark. key must come from [ParseSessionKey].
// Every error is an [*OpenError].
func OpenPhone(s Sealed, key SessionKey, rule Rule) (phone Phone, sealedAt time.Time, err error) {
	phone, sealedAt, err = open[Phone](s, key, rule)
	if err == nil {
		err = phone.Check()
	}
	if err != nil {
		return Phone{}, time.Time{}, err
	}
	return phone, sealedAt, nil
}

// Check checks that the three fields agree. The digits of phoneNumber must be those of
// purePhoneNumber, with or without the country code before them. Sealed data has no
// MAC, so this and the watermark are the only integrity checks. Every error is an
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

// maxDigits is the maximum number of digits (ITU-T E.164, section 6).
const maxDigits = 15

// E164 returns the number in the form of ITU-T E.164: a plus sign and digits. It
// returns "" if the three fields leave any doubt. WeChat omits the country code only
// from the numbers of mainland China.
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

// digits returns the digits of a phone number. A number may begin with one plus sign.
// If anything else in it is not a digit, space or hyphen, digits returns "".
func digits(number string) string {
	number = strings.TrimPrefix(number, "+")
	if onlyDigits(number) { // the usual case, without a copy
		return number
	}
	if number = separators.Replace(number); onlyDigits(number) {
		return number
	}
	return ""
}
