package main

import (
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"strings"
	"testing"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

// These tests cover every gateway that may invoke the function: an HTTP API with
// either payload format, a REST API and a function URL.

// object is a JSON object.
type object = map[string]any

// httpAPI returns an event of an HTTP API or a function URL, payload format 2.0.
func httpAPI(routeKey, rawPath, stageName string, parameters object) object {
	return object{
		"version": "2.0", "routeKey": routeKey, "rawPath": rawPath, "pathParameters": parameters,
		"headers":        object{"content-type": "application/json", "host": "example.com"},
		"requestContext": object{"stage": stageName, "http": object{"method": "POST", "path": rawPath}},
	}
}

// payload1 returns an event of an HTTP API with payload format 1.0.
func payload1(resource, path, stageName string, parameters object) object {
	e := restAPI(resource, path, stageName, parameters)
	e["version"] = "1.0"
	return e
}

// restAPI returns an event of a REST API.
func restAPI(resource, path, stageName string, parameters object) object {
	return object{
		"resource": resource, "path": path, "httpMethod": "POST", "pathParameters": parameters,
		"headers":               object{"Content-Type": "application/json", "Host": "example.com"},
		"multiValueHeaders":     object{"Content-Type": []string{"application/json"}, "Host": []string{"example.com"}},
		"queryStringParameters": nil, "multiValueQueryStringParameters": nil, "stageVariables": nil,
		"requestContext": object{
			"stage": stageName, "resourcePath": resource, "path": "/" + stageName + path, "httpMethod": "POST",
		},
	}
}

// invoke invokes the function with e and body.
func invoke(t *testing.T, r *rig.Rig, e object, body string) rig.Answer {
	t.Helper()
	e["body"], e["isBase64Encoded"] = body, false
	return invokeEvent(t, r, e)
}

// invokeEvent invokes the function with e.
func invokeEvent(t *testing.T, r *rig.Rig, e object) rig.Answer {
	t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return r.Invoke(string(text))
}

func TestPathComesFromTheRoute(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for _, tt := range routeTests() {
		got := invoke(t, r, tt.event, hostile.JSON(r.NewTap()))
		if got.Error != tt.want || tt.want == "" && got.Phone == "" {
			t.Errorf("%s: got %d %s, want %q", tt.name, got.Status, got.Body, tt.want)
		}
		r.WantHeaders(tt.name, got)
	}
}

// routeTest is an event and the error that it wants, or "" for a success.
type routeTest struct {
	name  string
	event object
	want  string
}

func routeTests() []routeTest {
	proxy := func(value string) object { return object{"proxy": value} }
	const ok, missing = "", "not_found"
	return []routeTest{
		{"an HTTP API", httpAPI("POST /phone", "/phone", "$default", nil), ok},
		{"under a base path", httpAPI("POST /phone", "/shop/phone", "$default", nil), ok},
		{"under a base path, with a stage", httpAPI("POST /phone", "/shop/phone", "prod", nil), ok},
		{"an empty path", httpAPI("POST /phone", "", "$default", nil), ok},
		{"any method", httpAPI("ANY /phone", "/phone", "$default", nil), ok},
		{"another route", httpAPI("POST /other", "/phone", "$default", nil), missing},
		{"a stage of the route's name", httpAPI("POST /phone", "/phone/phone", "phone", nil), ok},
		{"the stage in the route", httpAPI("POST /prod/phone", "/prod/phone", "prod", nil), ok},
		{"a greedy route", httpAPI("POST /{proxy+}", "/phone", "$default", proxy("phone")), ok},
		{"a greedy route under a base path", httpAPI("ANY /shop/{proxy+}", "/x/shop/phone", "$default", proxy("phone")), ok},
		{"a greedy route to another path", httpAPI("ANY /{proxy+}", "/phone", "$default", proxy("shop/phone")), missing},
		{"a greedy route with another name", httpAPI("ANY /{rest+}", "/phone", "$default", object{"rest": "phone"}), ok},
		{"a greedy route without its value", httpAPI("ANY /{proxy+}", "/phone", "$default", nil), missing},
		{"another variable", httpAPI("POST /{version}/phone", "/v1/phone", "$default", object{"version": "v1"}), missing},
		{"a variable for the whole path", httpAPI("POST /{name}", "/phone", "$default", object{"name": "phone"}), ok},
		{"a variable, with a stage", httpAPI("POST /{name}", "/prod/phone", "prod", object{"name": "phone"}), ok},
		{"the default route", httpAPI("$default", "/phone", "$default", nil), ok},
		{"the default route, with a stage", httpAPI("$default", "/prod/phone", "prod", nil), ok},
		{"the default route, another path", httpAPI("$default", "/shop/phone", "$default", nil), missing},
		{"no route", httpAPI("", "/phone", "$default", nil), ok},

		{"payload 1.0", payload1("/phone", "/phone", "$default", nil), ok},
		{"payload 1.0 under a base path", payload1("/phone", "/shop/phone", "$default", nil), ok},
		{"payload 1.0 with a stage", payload1("/phone", "/prod/phone", "prod", nil), ok},
		{"payload 1.0, greedy", payload1("/{proxy+}", "/prod/phone", "prod", proxy("phone")), ok},
		{"payload 1.0, default", payload1("$default", "/phone", "$default", nil), ok},
		{"payload 1.0, default, with a stage", payload1("$default", "/prod/phone", "prod", nil), ok},
		{"a REST API", restAPI("/phone", "/phone", "prod", nil), ok},
		{"a REST API under a base path", restAPI("/phone", "/shop/phone", "prod", nil), ok},
		{"a REST API, greedy", restAPI("/{proxy+}", "/shop/phone", "prod", proxy("phone")), ok},
		{"a REST API, another path", restAPI("/other", "/phone", "prod", nil), missing},
		{"a REST API with a variable", restAPI("/{name}", "/phone", "prod", object{"name": "phone"}), ok},
	}
}

// A REST API sends null for absent headers and for an absent body. It encodes the
// body in base64 if its content type is one of the API's binary types.
func TestRESTAPISendsNullAndBase64(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	bare := restAPI("/phone", "/phone", "prod", nil)
	bare["headers"], bare["multiValueHeaders"] = nil, nil
	wantStatus(t, "headers null", invoke(t, r, bare, hostile.JSON(r.NewTap())), 200)
	form := restAPI("/phone", "/phone", "prod", nil)
	form["headers"] = object{"Content-Type": "application/x-www-form-urlencoded"}
	form["body"] = base64.StdEncoding.EncodeToString([]byte(hostile.Form(r.NewTap())))
	form["isBase64Encoded"] = true
	wantStatus(t, "a form in base64", invokeEvent(t, r, form), 200)
	bare["body"] = nil
	r.WantFailure("body null", invokeEvent(t, r, bare), "invalid_request", 400, "fix")
	bare["httpMethod"] = "GET"
	r.WantFailure("another method", invokeEvent(t, r, bare), "method_not_allowed", 405, "fix")
}

// Requests of other routes never reach the function, not even a browser's OPTIONS. An
// API that forwards everything, and a function URL, get the function's own answers.
func TestGatewayForwardsOnlyTheDeployedRoutes(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Routes, c.Tokens = stage.Routes, true })
	for _, route := range stage.Routes {
		method, path, _ := strings.Cut(route, " ")
		if got := r.Send(method, path, "", "{}"); !rig.IsRequestID(got.Header.Get("x-request-id")) ||
			got.Error == string(failure.NotFound) || got.Error == string(failure.MethodNotAllowed) {
			t.Errorf("%s: got %d %s, want an answer of the function's route", route, got.Status, got.Body)
		}
		for _, other := range []string{"HEAD " + path, "OPTIONS " + path, method + " " + path + "/", "PUT " + path} {
			method, path, _ := strings.Cut(other, " ")
			got := r.Send(method, path, "", "{}")
			if got.Status != 404 || method != "HEAD" && got.Body != `{"message":"Not Found"}` {
				t.Errorf("%s: got %d %s, want the gateway's own 404", other, got.Status, got.Body)
			}
		}
	}
	served := func() int { return len(r.Logs.Requests()) }
	rig.WaitFor(t, "the last request is in the log", func() bool { return served() >= len(stage.Routes) })
	if served() != len(stage.Routes) {
		t.Errorf("got %d requests at the function, want %d", served(), len(stage.Routes))
	}
}

// The header identifies the log line, even after a success.
func TestRequestIDIsInEveryAnswerAndItsLogLine(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for name, tt := range map[string]struct {
		method, path, body, route string
	}{
		"a success":        {"POST", "/phone", hostile.JSON(r.NewTap()), "/phone"},
		"a failure":        {"POST", "/phone", "{}", "/phone"},
		"a wrong method":   {"GET", "/phone", "", "/phone"},
		"an unknown route": {"POST", "/other", "{}", "none"},
	} {
		got := r.Send(tt.method, tt.path, "", tt.body)
		id := got.Header.Get("x-request-id")
		if !rig.IsRequestID(id) {
			t.Fatalf("%s: got x-request-id %q, want a request id", name, id)
		}
		line := r.Logs.Request(t, rig.Answer{RequestID: id})
		if line.Status != got.Status || line.Route != tt.route {
			t.Errorf("%s: got status %d and route %q in the log line, want %d and %q",
				name, line.Status, line.Route, got.Status, tt.route)
		}
	}
}

// Two headers whose names differ only in case count as two, whichever comes first.
func TestHeadersThatDifferInCaseAreTwo(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for range 10 { // a map has no order
		e := httpAPI("POST /phone", "/phone", "$default", nil)
		e["headers"] = object{"Content-Type": "application/json", "content-type": "application/json"}
		r.WantFailure("two content types", invoke(t, r, e, hostile.JSON(r.NewTap())), "unsupported_media_type", 415, "fix")
	}
}

// Pages change base64 in these ways before sending it.
func TestBase64IsRepaired(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	for name, edit := range map[string]func(string) string{
		"encodeURIComponent": encodeURIComponent,
		"line breaks":        func(text string) string { return text[:20] + "\r\n" + text[20:] },
		"a space before it":  func(text string) string { return " " + text },
		"a space after it":   func(text string) string { return text + " " },
	} {
		tap := r.NewTap()
		tap.EncryptedData, tap.IV = edit(tap.EncryptedData), edit(tap.IV)
		r.WantPhone(name, tap)
	}
	tap := r.NewTap()
	tap.IV = fmt.Sprintf("%-30s", tap.IV[:20])
	r.WantFailure("a truncated iv", r.Post(tap), "invalid_request", 400, "fix")
}

// encodeURIComponent encodes base64 as JavaScript's function does.
func encodeURIComponent(text string) string {
	encoded := ""
	for _, c := range text {
		switch c {
		case '+', '/', '=':
			encoded += fmt.Sprintf("%%%02X", c)
		default:
			encoded += string(c)
		}
	}
	return encoded
}
