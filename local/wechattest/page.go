package wechattest

import (
	"encoding/json/v2"
	"net/http"
	"net/url"
)

// This file plays the page, for developers and for tests in other languages. The query
// may name the mini-program, by appid, and the user, by any name. The default is the first
// mini-program and a new user. The same name is the same user, who has another openid in
// each mini-program. For /tap, code may name the login code that the page has: then the
// data is from a tap of that code's user, and it opens with that login.

// PageLogin is what a page posts without a tap.
type PageLogin struct {
	Code  string `json:"code"`
	Token string `json:"token,omitempty"`
	AppID string `json:"appid,omitempty"`
}

// logIn answers with a login code. If the query has a token, the answer repeats it, as
// a page would send the token that it has kept.
func (s *Server) logIn(user User, query url.Values) any {
	return PageLogin{s.Login(user), query.Get("token"), user.AppID}
}

// tap answers with sealed data or, if the query asks for it, with a phone code.
func (s *Server) tap(user User, query url.Values) any {
	if query.Get("shape") == "phone-code" {
		return s.TapPhone(user)
	}
	return s.Tap(user)
}

// servePage answers with what answer gives a page. If there are several
// mini-programs, the user's AppID is set, so that the answer has it, as a page would.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, answer func(User, url.Values) any) {
	query := r.URL.Query()
	user, known := s.loggedIn(query.Get("code"))
	if !query.Has("code") {
		user, known = s.user(query.Get("appid"), query.Get("user"))
	}
	if !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.MarshalWrite(w, answer(user, query))
}

// loggedIn returns the user who got a login code, with the session key of that login.
func (s *Server) loggedIn(code string) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.logins[code]; g != nil {
		return g.user, true
	}
	return User{}, false
}

// user returns the user with a name, and makes one up the first time. Without a name it
// always makes one up. It returns false if the server does not know the mini-program.
func (s *Server) user(appID, name string) (User, bool) {
	user := s.NewUser()
	user.AppID = appID
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.apps) > 1 {
		user.AppID = s.appOf(user)
	}
	key := [2]string{s.appOf(user), name}
	if earlier, ok := s.users[key]; ok {
		return s.changeKey(key, earlier), true
	}
	if s.apps[key[0]] == nil {
		return User{}, false
	}
	if name != "" {
		s.users[key] = user
	}
	return user, true
}

// changeKey changes the session key of a user who comes back, and returns the user.
// WeChat may change it at each wx.login(). The mock always does, and then opens nothing
// with the user's earlier login codes, so that a page with an old one fails here and not
// only in production. The caller must hold mu.
func (s *Server) changeKey(key [2]string, user User) User {
	user.SessionKey = random(len(user.SessionKey))
	s.users[key] = user
	for _, g := range s.logins {
		if g.user.AppID == user.AppID && g.user.OpenID == user.OpenID {
			g.user.SessionKey = random(len(user.SessionKey))
		}
	}
	return user
}
