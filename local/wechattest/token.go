package wechattest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// This file has the APIs that have a body.

// TokenPath is that of stable_token.
const TokenPath = "/cgi-bin/stable_token" // #nosec G101 -- no credential

// TokenMark begins every access token.
const TokenMark = "99_token-made-up-" // #nosec G101 -- made up

// sealedKept is how long WeChat knows what it sealed.
const sealedKept = 3 * 24 * time.Hour

// tokens are the mini-program's.
type tokens struct {
	life    time.Duration
	renewed time.Duration // before its end, another is given out
	newest  string
	ends    map[string]time.Time // of all that were given out
}

// SetTokenLife makes tokens from now on live for that long, and gives out
// another in the last part of it.
func (s *Server) SetTokenLife(life, renewed time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens.life, s.tokens.renewed, s.tokens.newest = life, renewed, ""
}

// Tokens returns how many there have been.
func (s *Server) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tokens.ends)
}

// EndToken makes the newest token worthless before its time, as somebody does
// who forces WeChat to give another.
func (s *Server) EndToken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens.newest != "" {
		s.tokens.ends[s.tokens.newest] = time.Time{}
		s.tokens.newest = ""
	}
}

// sent is the body of a call.
type sent struct {
	GrantType string `json:"grant_type"`
	AppID     string `json:"appid"`
	Secret    string `json:"secret"`
	Code      string `json:"code"`
	OpenID    string `json:"openid"`
	Hash      string `json:"encrypted_msg_hash"`
}

// serveBody is serve for calls with a body. Like WeChat it wants the length
// beforehand.
func (s *Server) serveBody(w http.ResponseWriter, r *http.Request, about func(sent) string, answer func(*http.Request, sent) http.HandlerFunc) {
	if r.ContentLength < 0 {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	var in sent
	if json.UnmarshalRead(http.MaxBytesReader(w, r.Body, 1<<20), &in) != nil {
		Refuse(47001, "data format error")(w, r)
		return
	}
	s.serve(w, r, about(in), func(r *http.Request) http.HandlerFunc { return answer(r, in) })
}

// stableToken gives all who ask the same token, until that nears its end.
func (s *Server) stableToken(_ *http.Request, in sent) http.HandlerFunc {
	if in.GrantType != "client_credential" {
		return Refuse(40002, "invalid grant_type")
	}
	if refusal := s.refusal(in.AppID, in.Secret); refusal != nil {
		return refusal
	}
	t, now := &s.tokens, s.now()
	if t.newest == "" || t.ends[t.newest].Sub(now) <= t.renewed {
		t.newest = TokenMark + hex.EncodeToString(random(60))
		t.ends[t.newest] = now.Add(t.life)
	}
	return Answer(fmt.Sprintf(`{"access_token":%q,"expires_in":%d}`, t.newest, t.ends[t.newest].Sub(now)/time.Second))
}

// tokenRefusal is the answer to a call with a wrong token, nil with a right one.
func (s *Server) tokenRefusal(r *http.Request) http.HandlerFunc {
	token := r.URL.Query().Get("access_token")
	end, known := s.tokens.ends[token]
	switch {
	case token == "":
		return Refuse(41001, "access_token missing")
	case !known, end.IsZero():
		return Refuse(40001, "invalid credential, access_token is invalid or not latest")
	case !s.now().Before(end):
		return Refuse(42001, "access_token expired")
	}
	return nil
}

// phoneNumber exchanges a phone code. Where a user is named, the code must be
// that user's; which errcode WeChat has for another's is not documented.
func (s *Server) phoneNumber(r *http.Request, in sent) http.HandlerFunc {
	if refusal := s.tokenRefusal(r); refusal != nil {
		return refusal
	}
	if g := s.phones[in.Code]; g != nil && in.OpenID != "" && in.OpenID != g.user.OpenID {
		return Refuse(40029, "invalid code")
	}
	user, refusal := s.use(s.phones, in.Code)
	if refusal != nil {
		return refusal
	}
	return AcceptPhone(user, s.appID, s.now())
}

// AcceptPhone answers with user's phone number, whose country code is a number
// here.
func AcceptPhone(user User, appID string, now time.Time) http.HandlerFunc {
	return Answer(fmt.Sprintf(`{"errcode":0,"errmsg":"ok","phone_info":{"phoneNumber":%q,"purePhoneNumber":%q,"countryCode":%s,"watermark":{"timestamp":%d,"appid":%q}}}`,
		user.Phone, user.PurePhone, user.CountryCode, now.Unix(), appID))
}

// Hash is what WeChat knows sealed data by.
func Hash(encryptedData string) string {
	sum := sha256.Sum256([]byte(encryptedData))
	return hex.EncodeToString(sum[:])
}

func (s *Server) checkEncryptedMsg(r *http.Request, in sent) http.HandlerFunc {
	if refusal := s.tokenRefusal(r); refusal != nil {
		return refusal
	}
	if len(in.Hash) != 2*sha256.Size || strings.Trim(in.Hash, "0123456789abcdef") != "" {
		return Refuse(40097, "invalid args")
	}
	at, known := s.sealed[in.Hash]
	if !known || s.now().Sub(at) > sealedKept {
		return Refuse(1, "data not exist")
	}
	return Answer(fmt.Sprintf(`{"errcode":0,"errmsg":"ok","vaild":true,"create_time":%d}`, at.Unix()))
}
