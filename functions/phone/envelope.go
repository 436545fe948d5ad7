package main

import (
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"strings"

	"wechat-phone/functions/phone/failure"
)

// maxBody limits a request's body. Real bodies have about 500 bytes.
const maxBody = 16 << 10

// event has the fields of a proxy event that the function uses. An HTTP API sends
// payload format 2.0 or 1.0, and a function URL sends 2.0. A REST API sends 1.0
// without a version.
//
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
// https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
type event struct {
	Version        string            `json:"version"`
	RouteKey       string            `json:"routeKey"` // 2.0
	RawPath        string            `json:"rawPath"`  // 2.0
	Resource       string            `json:"resource"`
	Path           string            `json:"path"`
	HTTPMethod     string            `json:"httpMethod"`
	PathParameters map[string]string `json:"pathParameters"`
	Headers        map[string]string `json:"headers"`
	RequestContext struct {
		Stage string `json:"stage"`
		HTTP  struct {
			Method string `json:"method"` // 2.0
		} `json:"http"`
		ELB any `json:"elb"` // only in a load balancer's event, which otherwise looks like a REST API's
	} `json:"requestContext"`
	Body            string `json:"body"`
	IsBase64Encoded bool   `json:"isBase64Encoded"`
}

// readEvent decodes a gateway's event. Every error is a [*failure.Error].
func readEvent(raw []byte) (event, error) {
	var e event
	err := json.Unmarshal(raw, &e)
	known := e.Version == "" || e.Version == "1.0" || e.Version == "2.0"
	if err != nil || !known || e.RequestContext.ELB != nil || e.method() == "" || e.path() == "" {
		return e, failure.Invalid("the event is not a proxy event of API Gateway or a function URL")
	}
	return e, nil
}

func (e event) method() string {
	if e.Version == "2.0" {
		return e.RequestContext.HTTP.Method
	}
	return e.HTTPMethod
}

// path returns the path of the route that the gateway chose, because the request's
// own path may begin with a base path. If the route does not determine the path, it
// returns the request's own.
func (e event) path() string {
	route, own := e.Resource, e.Path
	if e.Version == "2.0" {
		_, route, _ = strings.Cut(e.RouteKey, " ") // "$default" has no path
		own = e.RawPath
	}
	if name, ok := greedyVariable(route); ok {
		return "/" + e.PathParameters[name]
	}
	if route == "" || route == "$default" || strings.Contains(route, "{") {
		return e.withoutStage(own)
	}
	return e.withoutStage(route)
}

// greedyVariable returns the name of the variable that route ends in, as in
// "/shop/{proxy+}".
func greedyVariable(route string) (name string, ok bool) {
	rest, ok := strings.CutSuffix(route, "+}")
	return rest[strings.LastIndexByte(rest, '{')+1:], ok
}

// withoutStage removes the stage, which the gateway puts before the path unless
// the stage is the default one.
func (e event) withoutStage(path string) string {
	if stage := e.RequestContext.Stage; stage != "" && stage != "$default" {
		if rest, ok := strings.CutPrefix(path, "/"+stage); ok && strings.HasPrefix(rest, "/") {
			return rest
		}
	}
	return path
}

// header returns a header's value. It ignores the name's case: HTTP APIs lower-case
// names with payload format 2.0 only, and sam local start-api never does. It joins
// the values of several headers with commas, as HTTP APIs do.
func (e event) header(name string) string {
	var values []string
	for written, value := range e.Headers {
		if strings.EqualFold(written, name) {
			values = append(values, value)
		}
	}
	return strings.Join(values, ",")
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

// response is the function's answer, in the form that all gateways accept.
type response struct {
	StatusCode int     `json:"statusCode"`
	Headers    headers `json:"headers"`
	Body       string  `json:"body"`
}

// headers are an answer's headers. A struct avoids a map for each answer.
type headers struct {
	ContentType  string `json:"content-type"`
	CacheControl string `json:"cache-control"`
	TypeOptions  string `json:"x-content-type-options"`
	RequestID    string `json:"x-request-id"`
	Version      string `json:"x-version"`
	RetryAfter   string `json:"retry-after,omitempty"`
	Allow        string `json:"allow,omitempty"`
}

// respond returns an answer with that body.
func respond(status int, contentType, cacheControl, requestID string, body []byte) response {
	return response{status, headers{
		ContentType: contentType, CacheControl: cacheControl, TypeOptions: "nosniff",
		RequestID: requestID, Version: version,
	}, string(body)}
}

// encode returns body, a struct of strings, integers and booleans, as JSON. It cannot
// fail, because it accepts bytes that are not UTF-8.
func encode(body any) []byte {
	text, _ := json.Marshal(body, jsontext.AllowInvalidUTF8(true))
	return text
}
