package wechattest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// This file has the APIs whose requests have a body.

// TokenMark is the prefix of every access token.
const TokenMark = "99_token-made-up-"

// sealedLife is how long WeChat remembers data that it sealed.
const sealedLife = 3 * 24 * time.Hour

// tokens are the mini-program's access tokens.
type tokens struct {
	life    time.Duration
	overlap time.Duration // the last part of a token's life, when stable_token issues the next one
	newest  string
	expiry  map[string]time.Time // of every token issued; zero if revoked
}

// TokenKey is the key of a mini-program's calls to stable_token. See [Server.Script].
func TokenKey(appID string) string { return TokenPath + "?appid=" + appID }

// SetTokenLife sets how long new access tokens of the first mini-program live. In
// the last part of a token's life, overlap, stable_token issues the next one.
func (s *Server) SetTokenLife(life, overlap time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.apps[s.first].tokens
	t.life, t.overlap, t.newest = life, overlap, ""
}

// Tokens returns how many access tokens of the first mini-program have been issued.
func (s *Server) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.apps[s.first].tokens.expiry)
}

// EndToken revokes each mini-program's newest access token, as force_refresh does.
func (s *Server) EndToken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, app := range s.apps {
		if t := &app.tokens; t.newest != "" {
			t.expiry[t.newest] = time.Time{}
			t.newest = ""
		}
	}
}

// input is the body of a request. Each API reads some of the fields.
type input struct {
	GrantType string `json:"grant_type"`
	AppID     string `json:"appid"`
	Secret    string `json:"secret"`
	Code      string `json:"code"`
	OpenID    string `json:"openid"`
	Hash      string `json:"encrypted_msg_hash"`
}

// serveBody is like serve, for requests with a body. answer and keys get the decoded
// body. Like WeChat, serveBody refuses a request without a Content-Length.
func (s *Server) serveBody(w http.ResponseWriter, r *http.Request,
	answer func(*http.Request, input) http.HandlerFunc, keys func(input) []string,
) {
	if r.ContentLength < 0 {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	var in input
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	r.Body = io.NopCloser(bytes.NewReader(body)) // for Unscripted
	if err != nil || json.Unmarshal(body, &in) != nil {
		Refuse(47001, "data format error")(w, r)
		return
	}
	s.serve(w, r, func(r *http.Request) http.HandlerFunc { return answer(r, in) }, keys(in)...)
}

// stableToken answers every call with the same token until it is about to expire.
func (s *Server) stableToken(_ *http.Request, in input) http.HandlerFunc {
	if in.GrantType != "client_credential" {
		return Refuse(40002, "invalid grant_type")
	}
	if refusal := s.refusal(in.AppID, in.Secret); refusal != nil {
		return refusal
	}
	t, now := &s.apps[in.AppID].tokens, s.now()
	if t.newest == "" || t.expiry[t.newest].Sub(now) <= t.overlap {
		t.newest = TokenMark + hex.EncodeToString(random(60))
		t.expiry[t.newest] = now.Add(t.life)
	}
	return Answer(fmt.Sprintf(`{"access_token":%q,"expires_in":%d}`, t.newest, t.expiry[t.newest].Sub(now)/time.Second))
}

// tokenApp returns the mini-program that a call's access token belongs to. If the
// token is missing or not valid, it returns WeChat's refusal instead.
func (s *Server) tokenApp(r *http.Request) (appID string, refusal http.HandlerFunc) {
	token := r.URL.Query().Get("access_token")
	if token == "" {
		return "", Refuse(41001, "access_token missing")
	}
	for appID, app := range s.apps {
		switch expiry, known := app.tokens.expiry[token]; {
		case !known, expiry.IsZero():
		case !s.now().Before(expiry):
			return "", Refuse(42001, "access_token expired")
		default:
			return appID, nil
		}
	}
	return "", Refuse(40001, "invalid credential, access_token is invalid or not latest")
}

// phoneNumber exchanges a phone code. If the request names a user, the code must
// belong to that user. WeChat does not document the errcode for another user's
// code.
func (s *Server) phoneNumber(r *http.Request, in input) http.HandlerFunc {
	appID, refusal := s.tokenApp(r)
	if refusal != nil {
		return refusal
	}
	switch g := s.phones[in.Code]; {
	case g == nil: // use refuses it
	case s.appOf(g.user) != appID:
		return Refuse(40013, "invalid appid")
	case in.OpenID != "" && in.OpenID != g.user.OpenID:
		return Refuse(40029, "invalid code")
	}
	user, refusal := s.use(s.phones, appID, in.Code)
	if refusal != nil {
		return refusal
	}
	return AcceptPhone(user, appID, s.now())
}

// AcceptPhone answers with user's phone number. Unlike in sealed data, the country
// code is a JSON number.
func AcceptPhone(user User, appID string, now time.Time) http.HandlerFunc {
	return Answer(fmt.Sprintf(`{"errcode":0,"errmsg":"ok","phone_info":{"phoneNumber":%q,"purePhoneNumber":%q,`+
		`"countryCode":%s,"watermark":{"timestamp":%d,"appid":%q}}}`,
		user.Phone, user.PurePhone, user.CountryCode, now.Unix(), appID))
}

// Hash returns the hash by which WeChat identifies sealed data.
func Hash(encryptedData string) string {
	sum := sha256.Sum256([]byte(encryptedData))
	return hex.EncodeToString(sum[:])
}

// checkEncryptedMsg says whether this server sealed some data. Its answer has
// WeChat's own misspelling, "vaild".
func (s *Server) checkEncryptedMsg(r *http.Request, in input) http.HandlerFunc {
	appID, refusal := s.tokenApp(r)
	if refusal != nil {
		return refusal
	}
	if len(in.Hash) != 2*sha256.Size || strings.Trim(in.Hash, "0123456789abcdef") != "" {
		return Refuse(40097, "invalid args")
	}
	known, ok := s.sealed[in.Hash]
	if !ok || known.appID != appID || s.now().Sub(known.at) > sealedLife {
		return Refuse(1, "data not exist")
	}
	return Answer(fmt.Sprintf(`{"errcode":0,"errmsg":"ok","vaild":true,"create_time":%d}`, known.at.Unix()))
}
