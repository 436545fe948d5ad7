package main

import (
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"testing"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

// These tests hold the function to the gateways that can stand before it: an
// HTTP API with either payload format, a REST API, a function URL.

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
		"requestContext": object{"stage": stageName, "resourcePath": resource, "path": "/" + stageName + path, "httpMethod": "POST"},
	}
}

// invoke hands e to the function with body.
func invoke(t *testing.T, r *rig.Rig, e object, body string) rig.Answer {
	t.Helper()
	e["body"], e["isBase64Encoded"] = body, false
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return r.Invoke(string(text))
}

func TestPathComesFromTheRoute(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	proxy := func(value string) object { return object{"proxy": value} }
	const ok, missing = "", "not_found"
	for _, tt := range []struct {
		name  string
		event object
		want  string
	}{
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
		{"a variable for it all", httpAPI("POST /{name}", "/phone", "$default", object{"name": "phone"}), ok},
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
	} {
		got := invoke(t, r, tt.event, hostile.JSON(r.NewTap()))
		if got.Error != tt.want || tt.want == ok && got.Phone == "" {
			t.Errorf("%s: got %d %s, want %q", tt.name, got.Status, got.Body, tt.want)
		}
		r.WantHeaders(tt.name, got)
	}
}

// A REST API sends null for headers and for a body that are absent, and encodes
// what its binary types say.
func TestRESTAPISendsNullAndBase64(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, nil)
	bare := restAPI("/phone", "/phone", "prod", nil)
	bare["headers"], bare["multiValueHeaders"] = nil, nil
	got := invoke(t, r, bare, hostile.JSON(r.NewTap()))
	if got.Status != 200 {
		t.Errorf("headers null: got %d %s, want 200", got.Status, got.Body)
	}
	form := restAPI("/phone", "/phone", "prod", nil)
	form["headers"] = object{"Content-Type": "application/x-www-form-urlencoded"}
	form["body"] = base64.StdEncoding.EncodeToString([]byte(hostile.Form(r.NewTap())))
	form["isBase64Encoded"] = true
	text, err := json.Marshal(form)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Invoke(string(text)); got.Status != 200 {
		t.Errorf("a form in base64: got %d %s, want 200", got.Status, got.Body)
	}
	bare["body"] = nil
	if text, err = json.Marshal(bare); err != nil {
		t.Fatal(err)
	}
	r.WantFailure("body null", r.Invoke(string(text)), "invalid_request", 400, "fix")
	bare["httpMethod"] = "GET"
	if text, err = json.Marshal(bare); err != nil {
		t.Fatal(err)
	}
	r.WantFailure("another method", r.Invoke(string(text)), "method_not_allowed", 405, "fix")
}

// The deployed gateway has one route, so others never reach the function. An API
// that passes everything on, and a function URL, get the function's own answers.
func TestGatewayForwardsOnlyItsRoute(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Route = "POST /phone" })
	if got := r.Send("POST", "/phone", "", hostile.JSON(r.NewTap())); got.Status != 200 {
		t.Errorf("POST /phone: got %d %s, want 200", got.Status, got.Body)
	}
	for _, request := range []struct{ method, path string }{{"GET", "/phone"}, {"POST", "/other"}} {
		got := r.Send(request.method, request.path, "", "{}")
		if got.Status != 404 || got.Body != `{"message":"Not Found"}` {
			t.Errorf("%+v: got %d %s, want the gateway's own 404", request, got.Status, got.Body)
		}
	}
	if lines := len(r.Logs.Requests()); lines != 1 {
		t.Errorf("%d requests reached the function, want 1", lines)
	}
}

// The header finds the log line, for successes too.
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
			t.Fatalf("%s: got x-request-id %q, want one", name, id)
		}
		line := r.Logs.Request(t, rig.Answer{RequestID: id})
		if line.Status != got.Status || line.Route != tt.route {
			t.Errorf("%s: the line of %s has status %d and route %q, want %d and %q",
				name, id, line.Status, line.Route, got.Status, tt.route)
		}
	}
}

// What pages do to base64 on its way is undone.
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
	r.WantFailure("an iv cut short", r.Post(tap), "invalid_request", 400, "fix")
}

// encodeURIComponent does what JavaScript's function does to base64.
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
