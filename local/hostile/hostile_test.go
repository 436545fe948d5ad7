package hostile

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"

	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// If Leak found nothing, every test that relies on it would pass.
func TestLeakFindsSecretAndPersonalData(t *testing.T) {
	user := User(7)
	sealed := wechattest.Seal(user.SessionKey, []byte("some text that is long enough for 60 characters of base64"))
	for name, text := range map[string]string{
		"session key":             string(user.SessionKey),
		"session key in base64":   base64.StdEncoding.EncodeToString(user.SessionKey),
		"session key in hex":      hex.EncodeToString(user.SessionKey),
		"session key in HEX":      fmt.Sprintf("%X", user.SessionKey),
		"openid":                  user.OpenID,
		"phone":                   "+86 " + user.Phone,
		"code":                    Code(7),
		"code in a URL":           "https://host/sns/jscode2session?js_code=" + Code(7),
		"phone number as E.164":   `"e164":"+86` + user.Phone + `"`,
		"phone code":              `{"code":"` + PhoneCode(7) + `"}`,
		"access token":            "https://host/getuserphonenumber?access_token=" + wechattest.TokenMark + "0123",
		"hash of encryptedData":   wechattest.Hash(sealed.EncryptedData),
		"encryptedData":           sealed.EncryptedData,
		"app secret":              stage.AppSecret,
		"identity token":          "eyJhbGciOiJSUzI1NiJ9.e30.AA",
		"secret of Readings":      Readings()[6].Text,
		"text of WeChat's errors": "invalid code, text of " + mark,
	} {
		if Leak("before "+text+" after") == "" {
			t.Errorf("%s: got no leak in %q, want one", name, text)
		}
	}
	const harmless = `{"timestamp":"2026-11-22T14:21:45.623463094Z","level":"INFO","message":"request",` +
		`"outcome":"ok","status":200,"wechatMs":0.2,"rid":"635d0e49-1d10d2a8-0c6c7c7d",` +
		`"reason":"panic at wechat-phone/functions/phone.(*handler).phone:12",` +
		`"requestId":"eabdb76b-5836-48bb-8f1a-0657a4b3ec0a"}`
	if leak := Leak(harmless); leak != "" {
		t.Errorf("a harmless line: got the leak %q, want none", leak)
	}
}
