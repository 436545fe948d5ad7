package rig

import (
	"net/http"
	"sync/atomic"

	"wechat-phone/local/hostile"
	"wechat-phone/local/wechattest"
)

// counter numbers the users and codes that this process makes up, so that rigs
// that share a WeChat never make up the same ones.
var counter atomic.Int64

func next() int { return int(counter.Add(1)) }

// NewUser makes up a user whose data [hostile.Leak] finds.
func NewUser() wechattest.User { return hostile.User(next()) }

// Login logs user in and returns the login code.
func (r *Rig) Login(user wechattest.User) (code string) {
	code = hostile.Code(next())
	r.WeChat.Grant(code, user)
	r.Own(code, user)
	return code
}

// Own records that the function may answer code with user's data.
func (r *Rig) Own(code string, user wechattest.User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owners[code] = user
}

// Grant logs user in and returns tap with the login code.
func (r *Rig) Grant(user wechattest.User, tap wechattest.Tap) wechattest.Tap {
	tap.Code = r.Login(user)
	return tap
}

// Tap logs user in and taps the button. It returns sealed data.
func (r *Rig) Tap(user wechattest.User) wechattest.Tap {
	return r.Grant(user, r.WeChat.SealPhone(user))
}

// NewTap is [Rig.Tap] for a new user.
func (r *Rig) NewTap() wechattest.Tap { return r.Tap(NewUser()) }

// TapScripted is like [Rig.Tap], and sets WeChat's answer to the login code.
func (r *Rig) TapScripted(user wechattest.User, answer http.HandlerFunc) wechattest.Tap {
	tap := r.Tap(user)
	r.WeChat.Script(tap.Code, answer)
	return tap
}

// TapPhone taps the button without a login. It returns a phone code.
func (r *Rig) TapPhone(user wechattest.User) wechattest.PhoneTap {
	tap := wechattest.PhoneTap{PhoneCode: hostile.PhoneCode(next()), AppID: user.AppID}
	r.WeChat.GrantPhone(tap.PhoneCode, user)
	r.Own(tap.PhoneCode, user)
	return tap
}

// TapBoth is [Rig.TapPhone] after a login.
func (r *Rig) TapBoth(user wechattest.User) wechattest.PhoneTap {
	tap := r.TapPhone(user)
	tap.Code = r.Login(user)
	return tap
}
