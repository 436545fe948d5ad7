package main

import (
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"strings"

	"wechat-phone/functions/phone/failure"
)

// maxBody bounds a request's body. Real ones have about 500 bytes.
const maxBody = 16 << 10

// event is what the function reads of an API Gateway HTTP API event, payload
// format 2.0.
type event struct {
	Version        string            `json:"version"`
	RawPath        string            `json:"rawPath"`
	Headers        map[string]string `json:"headers"`
	RequestContext struct {
		Stage string `json:"stage"`
		HTTP  struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
	Body            string `json:"body"`
	IsBase64Encoded bool   `json:"isBase64Encoded"`
}

// readEvent decodes a gateway's event. Every error is a [*failure.Error].
func readEvent(raw []byte) (event, error) {
	var e event
	if json.Unmarshal(raw, &e) != nil || e.Version != "2.0" || e.RawPath == "" || e.RequestContext.HTTP.Method == "" {
		return e, failure.Invalid("the event is not one of an API Gateway HTTP API with payload format 2.0")
	}
	return e, nil
}

func (e event) method() string { return e.RequestContext.HTTP.Method }

// path returns the path without the stage, which the gateway puts before it
// unless the stage is the default one.
func (e event) path() string {
	if stage := e.RequestContext.Stage; stage != "" && stage != "$default" {
		if rest, ok := strings.CutPrefix(e.RawPath, "/"+stage); ok && strings.HasPrefix(rest, "/") {
			return rest
		}
	}
	return e.RawPath
}

// contentType finds the header in any spelling: the gateway lower-cases its
// name, sam local start-api does not.
func (e event) contentType() string {
	for name, value := range e.Headers {
		if strings.EqualFold(name, "content-type") {
			return value
		}
	}
	return ""
}

// body returns the decoded body. Every error is a [*failure.Error].
func (e event) body() ([]byte, error) {
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		if base64.StdEncoding.DecodedLen(len(body)) > maxBody+2 { // up to two bytes of it are padding
			return nil, &failure.Error{Kind: failure.PayloadTooLarge}
		}
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, failure.Invalid("the event's body is not base64")
		}
	}
	if len(body) > maxBody {
		return nil, &failure.Error{Kind: failure.PayloadTooLarge}
	}
	return body, nil
}

// response is the function's answer to the gateway, payload format 2.0.
type response struct {
	StatusCode int     `json:"statusCode"`
	Headers    headers `json:"headers"`
	Body       string  `json:"body"`
}

// headers are an answer's headers. A struct saves allocating a map for each.
type headers struct {
	ContentType  string `json:"content-type"`
	CacheControl string `json:"cache-control"`
	TypeOptions  string `json:"x-content-type-options"`
	RetryAfter   string `json:"retry-after,omitempty"`
	Allow        string `json:"allow,omitempty"`
}

// respond returns an answer with body as its JSON.
func respond(status int, cacheControl string, body any) response {
	return response{status, headers{
		ContentType: "application/json; charset=utf-8", CacheControl: cacheControl, TypeOptions: "nosniff",
	}, string(encode(body))}
}

// encode makes JSON of structs of strings. It cannot fail, because it accepts
// bytes that are not UTF-8.
func encode(body any) []byte {
	text, _ := json.Marshal(body, jsontext.AllowInvalidUTF8(true))
	return text
}
