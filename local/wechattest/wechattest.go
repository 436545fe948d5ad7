// Package wechattest stands in for WeChat: its server API, and, under /tap, the
// phone of a user who logs in and taps the getPhoneNumber button.
//
// It seals with code of its own, so that it also checks the code that opens.
package wechattest

import (
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

// codeLife is how long a code of either kind may wait for its use.
const codeLife = 5 * time.Minute

// User is somebody who uses the mini-program.
type User struct {
	SessionKey  []byte // 16 bytes
	OpenID      string
	UnionID     string // empty where the mini-program is bound to no Open Platform account
	Phone       string // as phoneNumber
	PurePhone   string
	CountryCode string
}

// Server is an http.Handler. Make one with New.
type Server struct {
	now func() time.Time

	mu      sync.Mutex
	appID   string
	secret  string
	logins  map[string]*grant // by login code
	phones  map[string]*grant // by phone code
	sealed  map[string]time.Time
	scripts map[string]http.HandlerFunc
	seen    map[string]int
	taps    int
	pruned  time.Time
	tokens  tokens
}

// grant is what a code is worth.
type grant struct {
	user     User
	at       time.Time
	used     bool
	reusable bool
}

// New returns a WeChat that knows one mini-program.
func New(appID, secret string, now func() time.Time) *Server {
	return &Server{
		now: now, appID: appID, secret: secret,
		logins: map[string]*grant{}, phones: map[string]*grant{}, sealed: map[string]time.Time{},
		scripts: map[string]http.HandlerFunc{}, seen: map[string]int{},
		tokens: tokens{life: 2 * time.Hour, renewed: 5 * time.Minute, ends: map[string]time.Time{}},
	}
}

// SetSecret resets the app secret.
func (s *Server) SetSecret(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = secret
}

// NewUser makes a user up.
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

// Login is wx.login(): it returns a code that lives five minutes and works once.
func (s *Server) Login(user User) (code string) {
	code = "0" + hex.EncodeToString(random(15)) + "w"
	s.Grant(code, user)
	return code
}

// Grant is Login with a code of the caller's choice.
func (s *Server) Grant(code string, user User) { s.grant(s.logins, code, user) }

// GrantPhone makes code the phone code of a tap of user's.
func (s *Server) GrantPhone(code string, user User) { s.grant(s.phones, code, user) }

func (s *Server) grant(codes map[string]*grant, code string, user User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.pruned) > codeLife {
		s.pruned = now
		old := func(_ string, g *grant) bool { return !g.reusable && now.Sub(g.at) > 2*codeLife }
		maps.DeleteFunc(s.logins, old)
		maps.DeleteFunc(s.phones, old)
		maps.DeleteFunc(s.sealed, func(_ string, at time.Time) bool { return now.Sub(at) > sealedKept })
	}
	codes[code] = &grant{user: user, at: s.now()}
}

// Know makes code work for user, however often and late.
func (s *Server) Know(code string, user User) { s.know(s.logins, code, user) }

// KnowPhone is Know for a phone code.
func (s *Server) KnowPhone(code string, user User) { s.know(s.phones, code, user) }

func (s *Server) know(codes map[string]*grant, code string, user User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	codes[code] = &grant{user: user, reusable: true}
}

// Script makes answer serve the calls about a code of either kind, about sealed
// data by its Hash, or to stable_token by its TokenPath. Nil ends that.
func (s *Server) Script(about string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[about] = answer
}

// Seen returns how many calls have come in, about what Script says.
func (s *Server) Seen(about string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[about]
}

// Tap is what the button hands over to the page, with the login code that the
// page got before.
type Tap struct {
	Code          string `json:"code"`
	EncryptedData string `json:"encryptedData"`
	IV            string `json:"iv"`
}

// Tap logs user in and seals the user's phone number.
func (s *Server) Tap(user User) Tap {
	tap := s.SealPhone(user)
	tap.Code = s.Login(user)
	return tap
}

// PhoneTap is what the button hands over since base library 2.21.2, with the
// login code that the page may have got before.
type PhoneTap struct {
	PhoneCode string `json:"phoneCode"`
	Code      string `json:"code,omitempty"`
}

// TapPhone logs user in and taps.
func (s *Server) TapPhone(user User) PhoneTap {
	code := hex.EncodeToString(random(32))
	s.GrantPhone(code, user)
	return PhoneTap{code, s.Login(user)}
}

// SealPhone seals user's phone number, for a login to come, and remembers that
// it did.
func (s *Server) SealPhone(user User) Tap {
	s.mu.Lock()
	defer s.mu.Unlock()
	tap := Seal(user.SessionKey, fmt.Appendf(nil,
		`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":%q,"watermark":{"timestamp":%d,"appid":%q}}`,
		user.Phone, user.PurePhone, user.CountryCode, s.now().Unix(), s.appID))
	s.sealed[Hash(tap.EncryptedData)] = s.now()
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

// SealPadded is Seal for text that has its padding, good or bad.
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
	case "GET /sns/jscode2session":
		s.serve(w, r, r.URL.Query().Get("js_code"), s.code2Session)
	case "POST " + TokenPath:
		s.serveBody(w, r, func(sent) string { return TokenPath }, s.stableToken)
	case "POST /wxa/business/getuserphonenumber":
		s.serveBody(w, r, func(in sent) string { return in.Code }, s.phoneNumber)
	case "POST /wxa/business/checkencryptedmsg":
		s.serveBody(w, r, func(in sent) string { return in.Hash }, s.checkEncryptedMsg)
	case "GET /tap":
		var tap any
		switch user := s.NewUser(); r.URL.Query().Get("shape") {
		case "phone-code":
			tap = s.TapPhone(user)
		default:
			tap = s.Tap(user)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.MarshalWrite(w, tap)
	default:
		http.NotFound(w, r)
	}
}

// serve counts a call, and has it answered by its script or else by answer,
// which is called with mu held.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, about string, answer func(*http.Request) http.HandlerFunc) {
	s.mu.Lock()
	s.seen[about]++
	serve := s.scripts[about]
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
	user, refusal := s.use(s.logins, query.Get("js_code"))
	if refusal != nil {
		return refusal
	}
	return Accept(user)
}

// refusal is the answer to wrong credentials, nil to the right ones.
func (s *Server) refusal(appID, secret string) http.HandlerFunc {
	switch {
	case appID == "":
		return Refuse(41002, "appid missing")
	case secret == "":
		return Refuse(41004, "appsecret missing")
	case appID != s.appID:
		return Refuse(40013, "invalid appid")
	case subtle.ConstantTimeCompare([]byte(secret), []byte(s.secret)) == 0:
		return Refuse(40125, "invalid appsecret")
	}
	return nil
}

// use uses a code up, or says why it cannot be.
func (s *Server) use(codes map[string]*grant, code string) (User, http.HandlerFunc) {
	g := codes[code]
	switch {
	case g == nil, !g.reusable && s.now().Sub(g.at) > codeLife:
		return User{}, Refuse(40029, "invalid code")
	case g.used && !g.reusable:
		return User{}, Refuse(40163, "code been used")
	}
	g.used = true
	return g.user, nil
}

// Refuse answers with an errcode, under status 200 as WeChat does.
func Refuse(errcode int, errmsg string) http.HandlerFunc {
	return Answer(fmt.Sprintf(`{"errcode":%d,"errmsg":"%s, rid: %x-%x-%x"}`, errcode, errmsg, random(4), random(4), random(4)))
}

// Accept answers with user's session.
func Accept(user User) http.HandlerFunc {
	session := map[string]string{"session_key": base64.StdEncoding.EncodeToString(user.SessionKey), "openid": user.OpenID}
	if user.UnionID != "" {
		session["unionid"] = user.UnionID
	}
	text, _ := json.Marshal(session, json.Deterministic(true))
	return Answer(string(text))
}

// Answer answers with text, under status 200 and as text/plain, which is how
// WeChat sends its JSON.
func Answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text)
	}
}
