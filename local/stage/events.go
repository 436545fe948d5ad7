package stage

import "wechat-phone/local/wechattest"

// The files in events/ were sealed once, for this user. Their codes can be used
// again and again; all others work once.
const (
	EventCode      = "code-of-events"
	UsedEventCode  = "used-code-of-events" // always refused as used
	PhoneEventCode = "phone-code-of-events"
)

var eventUser = wechattest.User{
	SessionKey: []byte("key-of-events-16"), OpenID: "o-openid-of-events",
	Phone: "13500001234", PurePhone: "13500001234", CountryCode: "86",
}
