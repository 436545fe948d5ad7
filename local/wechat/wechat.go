// Package wechat stands in for WeChat: its server API, and, under /tap, the
// phone of a user who logs in and taps the getPhoneNumber button.
//
// It seals with code of its own, so that it also checks the code that opens.
package wechat

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

// codeLife is how long a login code may wait for its use.
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
	logins  map[string]*login // by code
	scripts map[string]http.HandlerFunc
	seen    map[string]int
	taps    int
	pruned  time.Time
}

type login struct {
	user     User
	at       time.Time
	used     bool
	reusable bool
}

// New returns a WeChat that knows one mini-program.
func New(appID, secret string, now func() time.Time) *Server {
	return &Server{
		now: now, appID: appID, secret: secret,
		logins: map[string]*login{}, scripts: map[string]http.HandlerFunc{}, seen: map[string]int{},
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
func (s *Server) Grant(code string, user User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.pruned) > codeLife {
		s.pruned = now
		maps.DeleteFunc(s.logins, func(_ string, l *login) bool { return !l.reusable && now.Sub(l.at) > 2*codeLife })
	}
	s.logins[code] = &login{user: user, at: s.now()}
}

// Know makes code work for user, however often and late.
func (s *Server) Know(code string, user User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins[code] = &login{user: user, reusable: true}
}

// Script makes answer serve the exchange of code.
func (s *Server) Script(code string, answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[code] = answer
}

// Seen returns how often code has come in.
func (s *Server) Seen(code string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[code]
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

// SealPhone seals user's phone number, for a login to come.
func (s *Server) SealPhone(user User) Tap {
	s.mu.Lock()
	appID := s.appID
	s.mu.Unlock()
	return Seal(user.SessionKey, fmt.Appendf(nil,
		`{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":%q,"watermark":{"timestamp":%d,"appid":%q}}`,
		user.Phone, user.PurePhone, user.CountryCode, s.now().Unix(), appID))
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
		s.code2Session(w, r)
	case "GET /tap":
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.MarshalWrite(w, s.Tap(s.NewUser()))
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) code2Session(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	code := query.Get("js_code")

	s.mu.Lock()
	s.seen[code]++
	script := s.scripts[code]
	s.mu.Unlock()
	if script != nil {
		script(w, r)
		return
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logins[code]
	switch {
	case query.Get("grant_type") != "authorization_code":
		Refuse(40002, "invalid grant_type")(w, r)
	case query.Get("appid") == "":
		Refuse(41002, "appid missing")(w, r)
	case query.Get("secret") == "":
		Refuse(41004, "appsecret missing")(w, r)
	case query.Get("appid") != s.appID:
		Refuse(40013, "invalid appid")(w, r)
	case subtle.ConstantTimeCompare([]byte(query.Get("secret")), []byte(s.secret)) == 0:
		Refuse(40125, "invalid appsecret")(w, r)
	case code == "":
		Refuse(41008, "missing code")(w, r)
	case l == nil, !l.reusable && s.now().Sub(l.at) > codeLife:
		Refuse(40029, "invalid code")(w, r)
	case l.used && !l.reusable:
		Refuse(40163, "code been used")(w, r)
	default:
		l.used = true
		Accept(l.user)(w, r)
	}
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
