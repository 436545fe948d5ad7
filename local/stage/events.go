package stage

import "wechat-phone/local/wechattest"

// The codes in the files of events/. They never expire and can be used any number
// of times, so that the files stay valid. All other codes work once.
const (
	EventCode      = "code-of-events"
	UsedEventCode  = "used-code-of-events" // always refused as already used
	PhoneEventCode = "phone-code-of-events"
)

// eventUser is the user whose session key sealed the data in events/.
var eventUser = wechattest.User{
	SessionKey: []byte("key-of-events-16"), OpenID: "o-openid-of-events",
	Phone: "13500001234", PurePhone: "13500001234", CountryCode: "86",
}
