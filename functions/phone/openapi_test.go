package main

import (
	"encoding/json/v2"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/hostile"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// docs/openapi.yaml is held to what the bootstrap really answers: each of its
// examples is provoked, and each failure that the function knows has one.
func TestOpenAPIExamplesAreWhatTheFunctionAnswers(t *testing.T) {
	t.Parallel()
	api := parseYAML(t, readFile(t, "docs/openapi.yaml"))
	schema := func(name string) map[string]any { return api.section(t, "components", "schemas", name) }

	r := raise(t, nil)
	timeout := raise(t, env("WECHAT_TIMEOUT=300ms"))
	panicking := raise(t, func(c *stage.Config) { c.Bootstrap, c.Env = os.Args[0], []string{"TEST_PANIC=once WeChat is asked"} })
	refused := func(errcode int) func() answered {
		return func() answered { return r.post(r.scripted(newUser(), wechattest.Refuse(errcode, "text"))) }
	}
	phoneScripted := func(answer http.HandlerFunc) answered {
		tap := r.tapBoth(newUser())
		r.WeChat.Script(tap.PhoneCode, answer)
		return r.postPhone(tap)
	}
	good := hostile.JSON(r.newTap())
	provoke := map[string]func() answered{
		"with_login": func() answered { return r.post(r.newTap()) },
		"with_unionid": func() answered {
			user := newUser()
			user.UnionID = hostile.User(0).OpenID
			return r.post(r.tap(user))
		},
		"without_login": func() answered { return r.postPhone(r.tapPhone(newUser())) },
		"abroad": func() answered {
			user := newUser()
			user.CountryCode, user.Phone = "852", "+852"+user.PurePhone
			return r.postPhone(r.tapPhone(user))
		},
		"invalid_request":           func() answered { return r.send("POST", "/phone", "", `{"code":"!","iv":""}`) },
		"code_rejected":             refused(40029),
		"code_rejected_phone_code":  func() answered { return phoneScripted(wechattest.Refuse(40029, "text")) },
		"user_blocked":              refused(40226),
		"not_found":                 func() answered { return r.send("POST", "/", "", good) },
		"method_not_allowed":        func() answered { return r.send("PUT", "/phone", "", good) },
		"payload_too_large":         func() answered { return r.send("POST", "/phone", "", strings.Repeat(" ", maxBody+1)) },
		"unsupported_media_type":    func() answered { return r.send("POST", "/phone", "text/plain", good) },
		"undecryptable":             func() answered { tap := r.newTap(); tap.Code = r.newTap().Code; return r.post(tap) },
		"rate_limited":              refused(45011),
		"misconfigured":             refused(40164),
		"internal":                  func() answered { return panicking.post(panicking.newTap()) },
		"upstream_error":            refused(99999),
		"upstream_error_phone_code": func() answered { return phoneScripted(wechattest.Refuse(99999, "text")) },
		"unavailable":               refused(-1),
		"unavailable_logged_in":     func() answered { return phoneScripted(wechattest.Refuse(-1, "text")) },
		"upstream_timeout":          func() answered { return timeout.post(timeout.scripted(newUser(), hostile.Silence)) },
	}

	seen := map[string]bool{}
	for status, response := range api.section(t, "paths", "/phone", "post", "responses") {
		for contentType, media := range response.(map[string]any)["content"].(map[string]any) {
			for name, example := range media.(map[string]any)["examples"].(map[string]any) {
				value := example.(map[string]any)["value"].(map[string]any)
				if contentType == "application/json" { // the gateway's own
					if _, ok := value["error"]; ok || value["message"] == nil {
						t.Errorf("%s %s: %v is no answer of the gateway's", status, name, value)
					}
					continue
				}
				if provoke[name] == nil {
					t.Errorf("nothing provokes %s", name)
					continue
				}
				got := provoke[name]()
				seen[name] = true
				var fields map[string]any
				if err := json.Unmarshal([]byte(got.body), &fields); err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(got.status) != status || got.header.Get("content-type") != contentType {
					t.Errorf("%s: %d %s", name, got.status, got.header.Get("content-type"))
				}
				kindOf, same := "Phone", []string{}
				if status != "200" {
					kindOf, same = "Failure", []string{"error", "message", "action"}
				}
				for _, field := range same {
					if fields[field] != value[field] {
						t.Errorf("%s: %s is %q, the example says %q", name, field, fields[field], value[field])
					}
				}
				if !slices.Equal(slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(value))) {
					t.Errorf("%s: the fields are %v, the example's %v", name, slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(value)))
				}
				for field, v := range fields {
					property, ok := schema(kindOf)["properties"].(map[string]any)[field].(map[string]any)
					if allowed, limited := property["enum"].([]any); !ok || limited && !slices.Contains(allowed, v) {
						t.Errorf("%s: %s=%v is not in the schema", name, field, v)
					}
				}
				for _, field := range schema(kindOf)["required"].([]any) {
					if fields[field.(string)] == nil {
						t.Errorf("%s: %v is missing", name, field)
					}
				}
				r.wantHeaders(name, got)
				promised, _ := response.(map[string]any)["headers"].(map[string]any)
				for _, header := range []string{"retry-after", "allow"} {
					if got.header.Get(header) != "" && promised[header] == nil {
						t.Errorf("%s: %s is %q", name, header, got.header.Get(header))
					}
				}
			}
		}
	}
	for name := range provoke {
		if !seen[name] {
			t.Errorf("%s is no example any more", name)
		}
	}
	errors := schema("Failure")["properties"].(map[string]any)["error"].(map[string]any)["enum"].([]any)
	for _, kind := range failure.Kinds() {
		if !seen[string(kind)] || !slices.Contains(errors, any(string(kind))) {
			t.Errorf("%s (%d) has no example", kind, kind.Status())
		}
	}
	if len(errors) != len(failure.Kinds()) {
		t.Errorf("%d errors, the function knows %d", len(errors), len(failure.Kinds()))
	}
}

// What the schema says of codes is what the function takes.
func TestOpenAPISaysWhichCodesAreTaken(t *testing.T) {
	code := parseYAML(t, readFile(t, "docs/openapi.yaml")).section(t, "components", "schemas", "Code")
	pattern := regexp.MustCompile(code["pattern"].(string))
	for _, value := range []string{"", "a", "-_", "a b", "a/b", "a.b", "é", "a\n", strings.Repeat("a", 256), strings.Repeat("a", 257)} {
		said := pattern.MatchString(value) && len(value) >= code["minLength"].(int) && len(value) <= code["maxLength"].(int)
		if taken := checkCode("code", value) == nil; taken != said {
			t.Errorf("%q: taken %v, the schema says %v", value, taken, said)
		}
	}
}
