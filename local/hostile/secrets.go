package hostile

import (
	"encoding/base64"
	"net"
	"net/http"
	"time"

	"wechat-phone/local/secretstest"
	"wechat-phone/local/wechattest"
)

func sessionKey(u wechattest.User) string { return base64.StdEncoding.EncodeToString(u.SessionKey) }

// Reading is how Secrets Manager treats a request for the secret.
type Reading struct {
	Name  string
	Serve http.HandlerFunc // instead of the answer; nil where Text or Bytes is the secret
	Text  string
	Bytes []byte
	Want  Want
}

// Readings are those that give no credentials.
func Readings() []Reading {
	aws := func(status int, code string) http.HandlerFunc { return secretstest.Fault(status, code, mark) }
	return []Reading{
		{Name: "missing", Serve: aws(400, "ResourceNotFoundException"), Want: misconfigured},
		{Name: "denied", Serve: aws(400, "AccessDeniedException"), Want: misconfigured},
		{Name: "to be deleted", Serve: aws(400, "InvalidRequestException"), Want: misconfigured},
		{Name: "key disabled", Serve: aws(400, "DecryptionFailure"), Want: misconfigured},
		{Name: "token expired", Serve: aws(400, "ExpiredTokenException"), Want: misconfigured},
		{Name: "no JSON", Text: mark, Want: misconfigured},
		{Name: "cut short", Text: `{"appid":"wx1","secret":"` + mark, Want: misconfigured},
		{Name: "wrong fields", Text: `{"AppID":"wx1","AppSecret":"` + mark + `"}`, Want: misconfigured},
		{Name: "wrong types", Text: `{"appid":1,"secret":["` + mark + `"]}`, Want: misconfigured},
		{Name: "empty fields", Text: `{"appid":" ","secret":"` + mark + `"}`, Want: misconfigured},
		{Name: "an array", Text: `["` + mark + `"]`, Want: misconfigured},
		{Name: "binary", Bytes: []byte(`{"appid":"wx1","secret":"` + mark + `"}`), Want: misconfigured},
		{Name: "throttled", Serve: aws(400, "ThrottlingException"), Want: unavailable},
		{Name: "failing", Serve: aws(500, "InternalServiceError"), Want: unavailable},
		{Name: "overloaded", Serve: aws(503, "ServiceUnavailable"), Want: unavailable},
		{Name: "hanging up", Serve: Bytes(func(net.Conn) {}), Want: unavailable},
		{Name: "half an answer", Serve: Bytes(func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"SecretString\":\"" + mark))
		}), Want: unavailable},
		{Name: "silence", Serve: Silence, Want: unavailable},
	}
}

// Slowly serves a request after a while.
func Slowly(pause time.Duration, serve http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(pause)
		serve.ServeHTTP(w, r)
	}
}
