package checks

import (
	"encoding/json/v2"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/wechattest"
)

func readOpenAPI(t *testing.T) template { return parseYAML(t, readFile(t, "docs/openapi.yaml")) }

// The test provokes each example. Every kind of failure must have an example.
func TestOpenAPIExamplesAreWhatTheFunctionAnswers(t *testing.T) {
	t.Parallel()
	api := readOpenAPI(t)
	r := rig.Raise(t, nil)
	provoke := provocations(t, r)
	seen := map[string]bool{}
	for _, e := range examples(t, api) {
		if e.contentType == "application/json" { // the gateway's own answer
			if _, ok := e.value["error"]; ok || e.value["message"] == nil {
				t.Errorf("%s %s: got %v, want an answer of the gateway's", e.status, e.name, e.value)
			}
			continue
		}
		if provoke[e.name] == nil {
			t.Errorf("got no provocation of the example %s, want one", e.name)
			continue
		}
		seen[e.name] = true
		got := provoke[e.name]()
		r.WantHeaders(e.name, got)
		checkExample(t, api, e, got)
	}
	for name := range provoke {
		if !seen[name] {
			t.Errorf("got no example %s, want one", name)
		}
	}
	failures := api.section(t, "components", "schemas", "Failure", "properties", "error")["enum"].([]any)
	for _, kind := range failure.Kinds() {
		if !seen[string(kind)] || !slices.Contains(failures, any(string(kind))) {
			t.Errorf("%s (%d): want an example, and the error in the schema", kind, kind.Status())
		}
	}
	if len(failures) != len(failure.Kinds()) {
		t.Errorf("got %d errors in the schema, want %d", len(failures), len(failure.Kinds()))
	}
}

// example is an example in docs/openapi.yaml.
type example struct {
	name, status, contentType string
	value                     map[string]any
	headers                   map[string]any // the headers that the response may have
}

func examples(t *testing.T, api template) (all []example) {
	t.Helper()
	for status, r := range api.section(t, "paths", "/phone", "post", "responses") {
		response := r.(map[string]any)
		headers, _ := response["headers"].(map[string]any)
		for contentType, media := range response["content"].(map[string]any) {
			for name, e := range media.(map[string]any)["examples"].(map[string]any) {
				value := e.(map[string]any)["value"].(map[string]any)
				all = append(all, example{name, status, contentType, value, headers})
			}
		}
	}
	return all
}

// provocations returns, for each example, a function that provokes it.
func provocations(t *testing.T, r *rig.Rig) map[string]func() rig.Answer {
	t.Helper()
	provoke := successes(r)
	timeout := rig.Raise(t, rig.Env("WECHAT_TIMEOUT=300ms"))
	refuse := func(errcode int) func() rig.Answer {
		return func() rig.Answer {
			return r.Post(r.TapScripted(rig.NewUser(), wechattest.Refuse(errcode, "text")))
		}
	}
	refusePhone := func(errcode int) func() rig.Answer {
		return func() rig.Answer {
			tap := r.TapBoth(rig.NewUser())
			r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(errcode, "text"))
			return r.PostPhone(tap)
		}
	}
	send := func(method, path, contentType, body string) func() rig.Answer {
		return func() rig.Answer { return r.Send(method, path, contentType, body) }
	}
	good := hostile.JSON(r.NewTap())
	maps.Copy(provoke, map[string]func() rig.Answer{
		"invalid_request":           send("POST", "/phone", "", `{"code":"!","iv":""}`),
		"code_rejected":             refuse(40029),
		"code_rejected_phone_code":  refusePhone(40029),
		"user_blocked":              refuse(40226),
		"not_found":                 send("POST", "/", "", good),
		"method_not_allowed":        send("PUT", "/phone", "", good),
		"payload_too_large":         send("POST", "/phone", "", strings.Repeat(" ", 16<<10+1)),
		"unsupported_media_type":    send("POST", "/phone", "text/plain", good),
		"undecryptable":             func() rig.Answer { return r.Post(r.Grant(rig.NewUser(), r.NewTap())) },
		"rate_limited":              refuse(45011),
		"quota_exhausted":           refuse(45009),
		"misconfigured":             refuse(40164),
		"internal":                  func() rig.Answer { return internalAnswer(refuse(99999)()) },
		"upstream_error":            refuse(99999),
		"upstream_error_phone_code": refusePhone(99999),
		"unavailable":               refuse(-1),
		"unavailable_logged_in":     refusePhone(-1),
		"upstream_timeout": func() rig.Answer {
			return timeout.Post(timeout.TapScripted(rig.NewUser(), hostile.Silence))
		},
	})
	return provoke
}

// successes returns the provocations of the examples that are successes.
func successes(r *rig.Rig) map[string]func() rig.Answer {
	unionID, abroad, doubtful := rig.NewUser(), rig.NewUser(), rig.NewUser()
	unionID.UnionID = hostile.User(0).OpenID
	abroad.CountryCode, abroad.Phone = "852", "+852"+abroad.PurePhone
	doubtful.CountryCode = "852" // with a bare mainland number
	return map[string]func() rig.Answer{
		"with_login":    func() rig.Answer { return r.Post(r.NewTap()) },
		"with_unionid":  func() rig.Answer { return r.Post(r.Tap(unionID)) },
		"without_login": func() rig.Answer { return r.PostPhone(r.TapPhone(rig.NewUser())) },
		"abroad":        func() rig.Answer { return r.PostPhone(r.TapPhone(abroad)) },
		"without_e164": func() rig.Answer {
			return r.Send("POST", "/phone", "", hostile.JSON(r.TapPhone(doubtful)))
		},
	}
}

// internalAnswer returns a failure as internal. Nothing but a panic provokes that,
// and only functions/phone's tests can cause one.
func internalAnswer(other rig.Answer) rig.Answer {
	f, progress := failure.Failure{Kind: failure.Internal}, failure.Progress{LoginCode: failure.Sent}
	other.Status = f.Kind.Status()
	other.Body = hostile.JSON(map[string]string{
		"error": string(f.Kind), "message": f.Message(progress), "action": string(f.Action(progress)),
		"requestId": other.RequestID,
	})
	return other
}

// checkExample checks that got is like the example e, and that it fits the schema.
func checkExample(t *testing.T, api template, e example, got rig.Answer) {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(got.Body), &fields); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.Status) != e.status || got.Header.Get("content-type") != e.contentType {
		t.Errorf("%s: got %d %s, want %s %s",
			e.name, got.Status, got.Header.Get("content-type"), e.status, e.contentType)
	}
	name, same := "Phone", []string{}
	if e.status != fmt.Sprint(http.StatusOK) {
		name, same = "Failure", []string{"error", "message", "action"}
	}
	for _, field := range same {
		if fields[field] != e.value[field] {
			t.Errorf("%s: got %s %q, want the example's %q", e.name, field, fields[field], e.value[field])
		}
	}
	gotNames, wantNames := slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(e.value))
	if !slices.Equal(gotNames, wantNames) {
		t.Errorf("%s: got the fields %v, want the example's %v", e.name, gotNames, wantNames)
	}
	schema := api.section(t, "components", "schemas", name)
	for field, value := range fields {
		property, ok := schema["properties"].(map[string]any)[field].(map[string]any)
		if allowed, limited := property["enum"].([]any); !ok || limited && !slices.Contains(allowed, value) {
			t.Errorf("%s: got %s %v, want one that the schema allows", e.name, field, value)
		}
	}
	for _, field := range schema["required"].([]any) {
		if fields[field.(string)] == nil {
			t.Errorf("%s: got no %v, want it, because the schema requires it", e.name, field)
		}
	}
	for _, header := range []string{"retry-after", "allow"} {
		if got.Header.Get(header) != "" && e.headers[header] == nil {
			t.Errorf("%s: got %s %q, want no header that docs/openapi.yaml lacks",
				e.name, header, got.Header.Get(header))
		}
	}
}

func TestOpenAPISaysWhichCodesAreAccepted(t *testing.T) {
	t.Parallel()
	code := readOpenAPI(t).section(t, "components", "schemas", "Code")
	pattern := regexp.MustCompile(code["pattern"].(string))
	r := rig.Raise(t, nil)
	tap := r.NewTap()
	for _, value := range []string{
		"", "a", "-_", "a b", "a/b", "a.b", "é", "a\n", strings.Repeat("a", 256), strings.Repeat("a", 257),
	} {
		length := len(value)
		valid := pattern.MatchString(value) && length >= code["minLength"].(int) && length <= code["maxLength"].(int)
		want := "invalid_request"
		if valid {
			want = "code_rejected" // by WeChat, which never gave it
		}
		tap.Code = value
		got := r.Post(tap)
		if got.Error != want || !valid && !strings.HasPrefix(got.Message, "code ") {
			t.Errorf("%q: got %s (%s), want %s, and a message about code if it is invalid",
				value, got.Error, got.Message, want)
		}
	}
}
