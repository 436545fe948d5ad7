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

// Reading is the result of reading the secret from Secrets Manager. One of Serve,
// Text and Bytes is set.
type Reading struct {
	Name  string
	Serve http.HandlerFunc // answers the request
	Text  string           // the secret
	Bytes []byte           // a binary secret
	Want  Want
}

// Readings returns readings without usable credentials.
func Readings() []Reading {
	aws := func(status int, code string) http.HandlerFunc { return secretstest.Fault(status, code, mark) }
	return []Reading{
		{Name: "missing", Serve: aws(400, "ResourceNotFoundException"), Want: misconfigured},
		{Name: "denied", Serve: aws(400, "AccessDeniedException"), Want: misconfigured},
		{Name: "to be deleted", Serve: aws(400, "InvalidRequestException"), Want: misconfigured},
		{Name: "key disabled", Serve: aws(400, "DecryptionFailure"), Want: misconfigured},
		{Name: "token expired", Serve: aws(400, "ExpiredTokenException"), Want: misconfigured},
		{Name: "not JSON", Text: mark, Want: misconfigured},
		{Name: "truncated", Text: `{"appid":"wx1","secret":"` + mark, Want: misconfigured},
		{Name: "wrong fields", Text: `{"AppID":"wx1","AppSecret":"` + mark + `"}`, Want: misconfigured},
		{Name: "wrong types", Text: `{"appid":1,"secret":["` + mark + `"]}`, Want: misconfigured},
		{Name: "empty fields", Text: `{"appid":" ","secret":"` + mark + `"}`, Want: misconfigured},
		{Name: "an array", Text: `["` + mark + `"]`, Want: misconfigured},
		{Name: "binary", Bytes: []byte(`{"appid":"wx1","secret":"` + mark + `"}`), Want: misconfigured},
		{Name: "throttled", Serve: aws(400, "ThrottlingException"), Want: unavailable},
		{Name: "internal error", Serve: aws(500, "InternalServiceError"), Want: unavailable},
		{Name: "overloaded", Serve: aws(503, "ServiceUnavailable"), Want: unavailable},
		{Name: "hanging up", Serve: Bytes(func(net.Conn) {}), Want: unavailable},
		{Name: "half an answer", Serve: Bytes(func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"SecretString\":\"" + mark))
		}), Want: unavailable},
		{Name: "silence", Serve: Silence, Want: unavailable},
	}
}

// Slowly returns a handler that waits before it calls serve.
func Slowly(pause time.Duration, serve http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(pause)
		serve.ServeHTTP(w, r)
	}
}
