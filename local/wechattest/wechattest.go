// Package wechattest is a mock of WeChat's server API. Under /login and /tap it also
// plays the phone of a user who logs in, and who taps the getPhoneNumber button.
//
// It shares no code with the function, so its sealed data also tests the function's
// code that opens it.
package wechattest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"
)

// codeLife is how long a login code or phone code is valid.
const codeLife = 5 * time.Minute

// User is a user of a mini-program.
type User struct {
	AppID       string // the mini-program; if empty, the server's first
	SessionKey  []byte // 16 bytes
	OpenID      string
	UnionID     string // empty if the mini-program is bound to no Open Platform account
	Phone       string // phoneNumber
	PurePhone   string // purePhoneNumber
	CountryCode string
}

// Server is an [http.Handler] and safe for concurrent use. Make one with [New].
type Server struct {
	now func() time.Time

	mu      sync.Mutex
	first   string                      // the first mini-program's appid
	apps    map[string]*app             // by appid
	logins  map[string]*grant           // by login code
	phones  map[string]*grant           // by phone code
	sealed  map[string]seal             // by Hash
	scripts map[string]http.HandlerFunc // by key; see Script
	seen    map[string]int              // by key; see Script
	users   map[[2]string]User          // by appid and name; see user
	taps    int
	pruned  time.Time
}

// app is a mini-program.
type app struct {
	secret string
	tokens tokens
}

// seal is what the server remembers of data that it sealed.
type seal struct {
	appID string
	at    time.Time
}

// grant is the user who got a code, and the code's state.
type grant struct {
	user     User
	at       time.Time
	used     bool
	reusable bool
}

// New returns a server that knows one mini-program. [Server.AddApp] adds others.
func New(appID, secret string, now func() time.Time) *Server {
	s := &Server{
		now: now, first: appID, apps: map[string]*app{},
		logins: map[string]*grant{}, phones: map[string]*grant{}, sealed: map[string]seal{},
		scripts: map[string]http.HandlerFunc{}, seen: map[string]int{}, users: map[[2]string]User{},
	}
	s.AddApp(appID, secret)
	return s
}

// AddApp adds a mini-program.
func (s *Server) AddApp(appID, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[appID] = &app{secret, tokens{life: 2 * time.Hour, overlap: 5 * time.Minute, expiry: map[string]time.Time{}}}
}

// SetSecret resets the first mini-program's app secret.
func (s *Server) SetSecret(secret string) { s.SetAppSecret(s.first, secret) }

// SetAppSecret resets a mini-program's app secret.
func (s *Server) SetAppSecret(appID, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[appID].secret = secret
}

// appOf returns the appid of user's mini-program.
func (s *Server) appOf(user User) string {
	if user.AppID == "" {
		return s.first
	}
	return user.AppID
}

// NewUser makes up a user.
func (s *Server) NewUser() User {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taps++
	number := fmt.Sprintf("1350000%04d", s.taps%10000)
	return User{
		SessionKey: random(16), OpenID: "o" + hex.EncodeToString(random(13)) + "x",
		Phone: number, PurePhone: number, CountryCode: "86",
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// Login returns a login code, as wx.login() does. It is valid for five minutes and
// works once.
func (s *Server) Login(user User) (code string) {
	code = "0" + hex.EncodeToString(random(15)) + "w"
	s.Grant(code, user)
	return code
}

// Grant is like [Server.Login], with a code that the caller chooses.
func (s *Server) Grant(code string, user User) { s.grant(s.logins, code, user) }

// GrantPhone makes code a phone code from a tap by user.
func (s *Server) GrantPhone(code string, user User) { s.grant(s.phones, code, user) }

func (s *Server) grant(codes map[string]*grant, code string, user User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.pruned) > codeLife {
		s.pruned = now
		expired := func(_ string, g *grant) bool { return !g.reusable && now.Sub(g.at) > 2*codeLife }
		maps.DeleteFunc(s.logins, expired)
		maps.DeleteFunc(s.phones, expired)
		maps.DeleteFunc(s.sealed, func(_ string, known seal) bool { return now.Sub(known.at) > sealedLife })
	}
	codes[code] = &grant{user: user, at: s.now()}
}

// Know makes code a login code of user that never expires and works any number of
// times.
func (s *Server) Know(code string, user User) { s.know(s.logins, code, user) }

// KnowPhone is like [Server.Know], for a phone code.
func (s *Server) KnowPhone(code string, user User) { s.know(s.phones, code, user) }

func (s *Server) know(codes map[string]*grant, code string, user User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	codes[code] = &grant{user: user, reusable: true}
}

// The paths of the APIs.
const (
	LoginPath = "/sns/jscode2session"
	TokenPath = "/cgi-bin/stable_token"
	PhonePath = "/wxa/business/getuserphonenumber"
	CheckPath = "/wxa/business/checkencryptedmsg"
)

// Script makes answer serve the calls with a key. The key is an API's path, a login
// code, a phone code, the [Hash] of sealed data, or the [TokenKey] of one mini-program.
// A more specific script than the path's wins. A nil answer removes the script.
func (s *Server) Script(key string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[key] = answer
}

// Seen returns the number of calls so far with a key. [Server.Script] lists the keys.
func (s *Server) Seen(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[key]
}

// Tap is the sealed data that the button gives the page, with the login code that
// the page got before.
type Tap struct {
	Code          string `json:"code"`
	EncryptedData string `json:"encryptedData"`
	IV            string `json:"iv"`
	AppID         string `json:"appid,omitempty"`
}

// Tap logs user in and seals the user's phone number.
func (s *Server) Tap(user User) Tap {
	tap := s.SealPhone(user)
	tap.Code = s.Login(user)
	return tap
}

// PhoneTap is the phone code that the button gives the page since base library
// 2.21.2, with the login code that the page may have got before.
type PhoneTap struct {
	PhoneCode string `json:"phoneCode"`
	Code      string `json:"code,omitempty"`
	AppID     string `json:"appid,omitempty"`
}

// TapPhone logs user in and returns a phone code for the user.
func (s *Server) TapPhone(user User) PhoneTap {
	code := hex.EncodeToString(random(32))
	s.GrantPhone(code, user)
	return PhoneTap{code, s.Login(user), user.AppID}
}

// SealPhone seals user's phone number. It returns a tap without a login code, and
// remembers the data for checkencryptedmsg.
func (s *Server) SealPhone(user User) Tap {
	s.mu.Lock()
	defer s.mu.Unlock()
	tap := Seal(user.SessionKey, fmt.Appendf(nil,
		`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":%q,"watermark":{"timestamp":%d,"appid":%q}}`,
		user.Phone, user.PurePhone, user.CountryCode, s.now().Unix(), s.appOf(user)))
	tap.AppID = user.AppID
	s.sealed[Hash(tap.EncryptedData)] = seal{s.appOf(user), s.now()}
	return tap
}

// Seal pads text (PKCS#7) and encrypts it (AES-128-CBC) under a new iv.
func Seal(sessionKey, text []byte) Tap {
	size := aes.BlockSize - len(text)%aes.BlockSize
	for range size {
		text = append(text, byte(size))
	}
	return SealPadded(sessionKey, text)
}

// SealPadded is like [Seal], for text that already has padding, good or bad.
func SealPadded(sessionKey, text []byte) Tap {
	block, err := aes.NewCipher(sessionKey)
	if err != nil {
		panic(err)
	}
	iv := random(aes.BlockSize)
	data := make([]byte, len(text))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, text)
	return Tap{
		EncryptedData: base64.StdEncoding.EncodeToString(data),
		IV:            base64.StdEncoding.EncodeToString(iv),
	}
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET " + LoginPath:
		s.serve(w, r, s.code2Session, r.URL.Query().Get("js_code"))
	case "POST " + TokenPath:
		s.serveBody(w, r, s.stableToken, func(in input) []string { return []string{TokenKey(in.AppID)} })
	case "POST " + PhonePath:
		s.serveBody(w, r, s.phoneNumber, func(in input) []string { return []string{in.Code} })
	case "POST " + CheckPath:
		s.serveBody(w, r, s.checkEncryptedMsg, func(in input) []string { return []string{in.Hash} })
	case "GET /tap":
		s.servePage(w, r, s.tap)
	case "GET /login":
		s.servePage(w, r, s.logIn)
	default:
		http.NotFound(w, r)
	}
}

// unscripted is the context key of a request that [Server.Unscripted] answers.
type unscripted struct{}

// Unscripted answers a call as if it had no script. A script can call it to succeed in
// the end.
func (s *Server) Unscripted(w http.ResponseWriter, r *http.Request) {
	s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), unscripted{}, true)))
}

// serve counts a call under its path and keys and answers it. If none has a script,
// serve calls answer for the handler, with mu held.
func (s *Server) serve(
	w http.ResponseWriter, r *http.Request, answer func(*http.Request) http.HandlerFunc, keys ...string,
) {
	s.mu.Lock()
	var serve http.HandlerFunc
	if r.Context().Value(unscripted{}) == nil {
		for _, key := range append([]string{r.URL.Path}, keys...) {
			s.seen[key]++
			if s.scripts[key] != nil {
				serve = s.scripts[key]
			}
		}
	}
	if serve == nil {
		serve = answer(r)
	}
	s.mu.Unlock()
	serve(w, r)
}

func (s *Server) code2Session(r *http.Request) http.HandlerFunc {
	query := r.URL.Query()
	if query.Get("grant_type") != "authorization_code" {
		return Refuse(40002, "invalid grant_type")
	}
	if refusal := s.refusal(query.Get("appid"), query.Get("secret")); refusal != nil {
		return refusal
	}
	if query.Get("js_code") == "" {
		return Refuse(41008, "missing code")
	}
	user, refusal := s.use(s.logins, query.Get("appid"), query.Get("js_code"))
	if refusal != nil {
		return refusal
	}
	return Accept(user)
}

// refusal returns the answer to wrong credentials, or nil if they are right.
func (s *Server) refusal(appID, secret string) http.HandlerFunc {
	switch {
	case appID == "":
		return Refuse(41002, "appid missing")
	case secret == "":
		return Refuse(41004, "appsecret missing")
	case s.apps[appID] == nil:
		return Refuse(40013, "invalid appid")
	case subtle.ConstantTimeCompare([]byte(secret), []byte(s.apps[appID].secret)) == 0:
		return Refuse(40125, "invalid appsecret")
	}
	return nil
}

// use marks a code of a mini-program as used and returns its user. If the code is
// not valid, it returns WeChat's answer instead.
func (s *Server) use(codes map[string]*grant, appID, code string) (User, http.HandlerFunc) {
	g := codes[code]
	switch {
	case g == nil, s.appOf(g.user) != appID, !g.reusable && s.now().Sub(g.at) > codeLife:
		return User{}, Refuse(40029, "invalid code")
	case g.used && !g.reusable:
		return User{}, Refuse(40163, "code been used")
	}
	g.used = true
	return g.user, nil
}

// Refuse answers with an errcode. Like WeChat, it does so with status 200.
func Refuse(errcode int, errmsg string) http.HandlerFunc {
	return Answer(fmt.Sprintf(`{"errcode":%d,"errmsg":"%s, rid: %x-%x-%x"}`,
		errcode, errmsg, random(4), random(4), random(4)))
}

// Accept answers a login code with user's session.
func Accept(user User) http.HandlerFunc {
	session := map[string]string{
		"session_key": base64.StdEncoding.EncodeToString(user.SessionKey), "openid": user.OpenID,
	}
	if user.UnionID != "" {
		session["unionid"] = user.UnionID
	}
	text, _ := json.Marshal(session, json.Deterministic(true))
	return Answer(string(text))
}

// Answer answers with text, with status 200 and as text/plain. WeChat sends its
// JSON like this.
func Answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text)
	}
}
