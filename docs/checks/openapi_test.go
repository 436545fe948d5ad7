package checks

import (
	"encoding/json/v2"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
	"wechat-phone/shared/identity"
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
		if e.schema == "OfGateway" {
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
		if e.contentType != "application/json" { // the two documents have headers of their own
			r.WantHeaders(e.name, got)
		}
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
	schema                    string // of the answer
	value                     map[string]any
	headers                   map[string]any // the headers that the response may have
}

// examples returns the examples of all answers. An answer that several routes share
// is there once.
func examples(t *testing.T, api template) (all []example) {
	t.Helper()
	shared := map[any]bool{}
	for path, methods := range api.section(t, "paths") {
		for method := range methods.(map[string]any) {
			for status, r := range api.section(t, "paths", path, method, "responses") {
				response := r.(map[string]any)
				if ref := response["$ref"]; ref != nil {
					if shared[ref] {
						continue
					}
					shared[ref] = true
				}
				all = append(all, examplesOf(t, status, api.target(t, response))...)
			}
		}
	}
	return all
}

func examplesOf(t *testing.T, status string, response map[string]any) (all []example) {
	t.Helper()
	headers, _ := response["headers"].(map[string]any)
	for contentType, m := range response["content"].(map[string]any) {
		media := m.(map[string]any)
		schema := path.Base(media["schema"].(map[string]any)["$ref"].(string))
		for name, e := range media["examples"].(map[string]any) {
			value := e.(map[string]any)["value"].(map[string]any)
			all = append(all, example{name, status, contentType, schema, value, headers})
		}
	}
	return all
}

// target returns what a reference refers to, as in #/components/schemas/Code, or value
// itself if it is not a reference.
func (tm template) target(t *testing.T, value any) map[string]any {
	t.Helper()
	object := value.(map[string]any)
	ref, ok := object["$ref"].(string)
	if !ok {
		return object
	}
	return tm.section(t, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
}

// provocations returns, for each example, a function that provokes it.
func provocations(t *testing.T, r *rig.Rig) map[string]func() rig.Answer {
	t.Helper()
	provoke := successes(r)
	maps.Copy(provoke, withTokens(t, r))
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
		"invalid_request_with_tap":  send("POST", "/login", "", `{"code":"a","phoneCode":"b"}`),
		"code_rejected":             refuse(40029),
		"code_rejected_without_tap": send("POST", "/login", "", `{"code":"made-up"}`),
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

// withTokens returns the provocations of the examples that have to do with identity
// tokens. Tokens are off in r.
func withTokens(t *testing.T, r *rig.Rig) map[string]func() rig.Answer {
	t.Helper()
	on, renewalOff := raiseWithTokens(t), raiseWithTokens(t, "TOKEN_RENEWAL=0")
	user, unionID := rig.NewUser(), rig.NewUser()
	unionID.UnionID = hostile.User(0).OpenID
	tap := func(r *rig.Rig) rig.Answer { return r.PostPhone(r.TapBoth(user)) }
	login := func(r *rig.Rig, user wechattest.User, token string) rig.Answer {
		return r.Send("POST", "/login", "application/json", loginBody(r.Login(user), token))
	}
	return map[string]func() rig.Answer{
		"with_token":               func() rig.Answer { return tap(on) },
		"tokens_off":               func() rig.Answer { return login(r, user, "ignored") },
		"first_login":              func() rig.Answer { return login(on, user, "") },
		"first_login_with_unionid": func() rig.Answer { return login(on, unionID, "") },
		"renewed":                  func() rig.Answer { return login(on, user, tokenOf(tap(on))) },
		"not_renewed_invalid":      func() rig.Answer { return login(on, user, "made-up") },
		"not_renewed_foreign":      func() rig.Answer { return login(on, rig.NewUser(), tokenOf(tap(on))) },
		"not_renewed_no_phone":     func() rig.Answer { return login(on, user, tokenOf(login(on, user, ""))) },
		"not_renewed_expired":      func() rig.Answer { return login(renewalOff, user, tokenOf(tap(renewalOff))) },
		"discovery":                func() rig.Answer { return on.Send("GET", "/.well-known/openid-configuration", "", "") },
		"key_set":                  func() rig.Answer { return on.Send("GET", "/.well-known/jwks.json", "", "") },
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

// ownFields are the fields whose values are each answer's own, by schema.
var ownFields = map[string][]string{
	"Phone":   {"phoneNumber", "purePhoneNumber", "countryCode", "e164", "openid", "unionid", "token"},
	"Login":   {"openid", "unionid", "e164", "token"},
	"KeySet":  {"keys"},
	"Failure": {"requestId"},
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
	for field := range fields {
		own := slices.Contains(ownFields[e.schema], field) // differs from the example's
		if got, want := fmt.Sprint(fields[field]), fmt.Sprint(e.value[field]); !own && got != want {
			t.Errorf("docs/openapi.yaml, example %s: got %s %s, want the example's %s", e.name, field, got, want)
		}
	}
	gotNames, wantNames := slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(e.value))
	if !slices.Equal(gotNames, wantNames) {
		t.Errorf("docs/openapi.yaml, example %s: got the fields %v, want the example's %v", e.name, gotNames, wantNames)
	}
	schema := api.section(t, "components", "schemas", e.schema)
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
	for header, h := range e.headers {
		schema, _ := api.target(t, h)["schema"].(map[string]any)
		if want := schema["const"]; want != nil && got.Header.Get(header) != want {
			t.Errorf("%s: got %s %q, want %q", e.name, header, got.Header.Get(header), want)
		}
	}
	for _, header := range []string{"retry-after", "allow"} {
		if got.Header.Get(header) != "" && e.headers[header] == nil {
			t.Errorf("%s: got %s %q, want no header that docs/openapi.yaml lacks",
				e.name, header, got.Header.Get(header))
		}
	}
}

// A field that no example has may be one that the function never answers with.
func TestOpenAPIExamplesHaveEveryField(t *testing.T) {
	api := readOpenAPI(t)
	shown := map[string]map[string]any{}
	for _, e := range examples(t, api) {
		if shown[e.schema] == nil {
			shown[e.schema] = map[string]any{}
		}
		maps.Copy(shown[e.schema], e.value)
	}
	for schema, fields := range shown {
		for field, property := range api.section(t, "components", "schemas", schema, "properties") {
			if _, ok := fields[field]; !ok && property != false {
				t.Errorf("%s: got no example with %s, want one", schema, field)
			}
		}
	}
	want := []any{string(identity.Invalid), string(identity.Foreign), string(identity.NoPhone), string(identity.Expired)}
	got := api.section(t, "components", "schemas", "Login", "properties", "reason")["enum"].([]any)
	if !slices.Equal(got, want) {
		t.Errorf("got the reasons %v, want %v", got, want)
	}
}

// The gateway has the routes that docs/openapi.yaml describes.
func TestOpenAPIHasTheGatewaysRoutes(t *testing.T) {
	var got []string
	for path, methods := range readOpenAPI(t).section(t, "paths") {
		for method := range methods.(map[string]any) {
			got = append(got, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(got)
	if want := readTemplate(t).deploy(t, nil).routes(); !slices.Equal(got, want) {
		t.Errorf("got the routes %q, want %q", got, want)
	}
}

// goodValues has a well-formed value for each field of a request.
var goodValues = map[string]any{
	"phoneCode": "made-up", "code": "made-up", "appid": stage.AppID, "token": "",
	"encryptedData": strings.Repeat("A", 43) + "=", "iv": strings.Repeat("A", 22) + "==",
}

// wellFormed returns a request with every field that a shape accepts.
func (s requestShape) wellFormed() map[string]any {
	body := map[string]any{}
	for field, property := range s.properties {
		if property != false {
			body[field] = goodValues[field]
		}
	}
	return body
}

// A route refuses the fields that its schema has as false, and no other.
func TestOpenAPISaysWhichFieldsAreAccepted(t *testing.T) {
	t.Parallel()
	for _, field := range requestFields(t) {
		if goodValues[field] == nil {
			t.Fatalf("add a well-formed value for %s to goodValues; WeChat refuses the made-up codes beside it", field)
		}
	}
	r := rig.Raise(t, nil)
	for _, shape := range requestShapes(t, readOpenAPI(t)) {
		for _, field := range requestFields(t) {
			body, want := shape.wellFormed(), "code_rejected" // by WeChat, which never gave it
			if body[field] = goodValues[field]; shape.properties[field] == false {
				want = "invalid_request"
			}
			if got := r.Send("POST", shape.route, "application/json", hostile.JSON(body)); got.Error != want {
				t.Errorf("%s with %s: got %s (%s), want %s", shape.title, field, got.Error, got.Message, want)
			}
		}
	}
}

// A value is accepted if it has the length and the pattern of its field's schema.
func TestOpenAPISaysWhichValuesAreAccepted(t *testing.T) {
	t.Parallel()
	api := readOpenAPI(t)
	r := rig.Raise(t, nil)
	for _, shape := range requestShapes(t, api) {
		for field, property := range shape.properties {
			for _, value := range valuesAround(t, api, property) {
				body, want := shape.wellFormed(), "invalid_request"
				if accepts(api.target(t, property), value) {
					want = "code_rejected" // by WeChat, which never gave it
				}
				body[field] = value
				got := r.Send("POST", shape.route, "application/json", hostile.JSON(body))
				if got.Error != want || want == "invalid_request" && !strings.HasPrefix(got.Message, field+" ") {
					t.Errorf("%s, %s %q: got %s (%s), want %s, and a message about %[2]s if it is invalid",
						shape.title, field, value, got.Error, got.Message, want)
				}
			}
		}
	}
}

// valuesAround returns values on both sides of a property's limits. A property that a
// shape refuses has none, and the tests of opendata have those in base64.
func valuesAround(t *testing.T, api template, property any) []string {
	t.Helper()
	if property == false {
		return nil
	}
	schema := api.target(t, property)
	if schema["contentEncoding"] != nil {
		return nil
	}
	values := []string{"", "a", "-_", "a b", "a/b", "a.b", "é", "a\n"}
	if longest, ok := schema["maxLength"].(int); ok {
		values = append(values, strings.Repeat("a", longest), strings.Repeat("a", longest+1))
	}
	return append(values, stage.AppID, strings.ToUpper(stage.AppID), stage.AppID+"0")
}

func accepts(schema map[string]any, value string) bool {
	pattern, _ := schema["pattern"].(string)
	shortest, _ := schema["minLength"].(int)
	longest, limited := schema["maxLength"].(int)
	return regexp.MustCompile(pattern).MatchString(value) && len(value) >= shortest && (!limited || len(value) <= longest)
}
