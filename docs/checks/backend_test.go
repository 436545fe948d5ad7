package checks

import (
	"encoding/json/v2"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/local/stage"
)

// These tests hold examples/backend and docs/backend.md to the project's template and
// events. make test-verifiers runs both.

const exampleBackend = "examples/backend/template.yaml"

var backendPages = []string{"docs/backend.md", "docs/backend.zh-CN.md"}

func TestExampleBackendTranslatesInCommercialAndChinaRegions(t *testing.T) {
	t.Parallel()
	const issuer = "https://login.example.com/shop"
	values := map[string]string{"TokenIssuer": issuer, "AppIDs": stage.AppID + "," + stage.SecondAppID}
	for _, s := range parseYAML(t, readFile(t, exampleBackend)).translated(t, values) {
		region, resources := s.values["AWS::Region"], s.resources()
		api := template(resources["Api"]["Properties"].(map[string]any))
		if api["FailOnWarnings"] != true {
			t.Errorf("%s: got FailOnWarnings %v, want true: the routes may vanish", region, api["FailOnWarnings"])
		}
		const name = "IdentityToken"
		scheme := api.section(t, "Body", "components", "securitySchemes", name, "x-amazon-apigateway-authorizer")
		want := map[string]any{
			"type": "jwt", "identitySource": "$request.header.Authorization",
			"jwtConfiguration": map[string]any{"issuer": issuer, "audience": []any{stage.AppID, stage.SecondAppID}},
		}
		if !reflect.DeepEqual(scheme, want) {
			t.Errorf("%s: got the authorizer %v, want %v", region, scheme, want)
		}
		for path, scope := range map[string]string{"/me": "openid", "/orders": "phone"} {
			route := template(api.section(t, "Body", "paths", path, "get"))
			want := []any{map[string]any{name: []any{scope}}}
			if !reflect.DeepEqual(route["security"], want) {
				t.Errorf("%s: got %v for %s, want %v", region, route["security"], path, want)
			}
			version := route.section(t, "x-amazon-apigateway-integration")["payloadFormatVersion"]
			if version != "2.0" { // other events have the claims elsewhere
				t.Errorf("%s: got the payload format %v for %s, want 2.0", region, version, path)
			}
		}
		if got := fmt.Sprint(s.outputs()["ApiUrl"]); !strings.HasSuffix(got, "."+region+"."+s.values["AWS::URLSuffix"]) {
			t.Errorf("%s: got the URL %s, want one of the region", region, got)
		}
	}
}

func TestExampleBackendAcceptsWhatTheProjectAccepts(t *testing.T) {
	parameters := template(parseYAML(t, readFile(t, exampleBackend)).section(t, "Parameters"))
	pattern := func(parameters template, name string) string {
		return parameters.section(t, name)["AllowedPattern"].(string)
	}
	project := pattern(readTemplate(t).section(t, "Parameters"), "TokenIssuer")
	want := strings.NewReplacer("^(", "^", ")?$", "$").Replace(project)
	if got := pattern(parameters, "TokenIssuer"); got != want {
		t.Errorf("TokenIssuer: got the pattern %s, want the project's %s, but not empty", got, want)
	}
	appIDs := regexp.MustCompile(pattern(parameters, "AppIDs"))
	for _, text := range []string{stage.AppID, stage.AppID + "," + stage.SecondAppID} {
		if !appIDs.MatchString(text) {
			t.Errorf("AppIDs: got %s refused, want it accepted", text)
		}
	}
	for _, text := range []string{"", ",", stage.AppID + ",", stage.AppID + ", " + stage.SecondAppID, "wx1"} {
		if appIDs.MatchString(text) {
			t.Errorf("AppIDs: got %q accepted, want it refused", text)
		}
	}
}

// blocks returns a page's code blocks in a language, without comments.
func blocks(text, language string) (all []string) {
	comment := regexp.MustCompile(`(?m)(^|\s+)(//|#) .*$`)
	for _, block := range regexp.MustCompile("(?s)\n```("+language+")\n(.*?)```").FindAllStringSubmatch(text, -1) {
		all = append(all, block[1]+"\n"+comment.ReplaceAllString(block[2], ""))
	}
	return all
}

func TestPagesOfBothLanguagesHaveTheSameCode(t *testing.T) {
	for _, pages := range [][]string{readmes, backendPages, {apiPages[0].file, apiPages[1].file}} {
		const language = `(?:sh|js|json|go|java|yaml)` // a page in HTML has words
		english := blocks(readFile(t, pages[0]), language)
		chinese := blocks(readFile(t, pages[1]), language)
		if len(english) != len(chinese) || len(english) < 3 {
			t.Fatalf("%s: got %d and %d code blocks, want as many in both", pages, len(english), len(chinese))
		}
		for i := range english {
			if english[i] != chinese[i] {
				t.Errorf("%s: got the code\n%s\nand in Chinese\n%s\nwant the same", pages, english[i], chinese[i])
			}
		}
	}
}

func TestBackendPageQuotesTheExample(t *testing.T) {
	source := "\n" + readFile(t, exampleBackend)
	quoted := 0
	excerpt := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, block := range excerpt.FindAllStringSubmatch(readFile(t, backendPages[0]), -1) {
		if strings.HasPrefix(block[1], " ") { // not Spring's
			if quoted++; !strings.Contains(source, "\n"+block[1]) {
				t.Errorf("got the excerpt\n%swant it in %s", block[1], exampleBackend)
			}
		}
	}
	if quoted != 2 {
		t.Errorf("got %d excerpts, want the authorizer and a route", quoted)
	}
}

func TestBackendPageInvokesTheAlias(t *testing.T) {
	function := readTemplate(t).section(t, "Resources", "PhoneFunction", "Properties")
	found := blocks(readFile(t, backendPages[0]), "json")
	if len(found) != 2 {
		t.Fatalf("got %d blocks of JSON, want a policy and an event", len(found))
	}
	p := parseYAML(t, strings.TrimPrefix(found[0], "json\n"))
	statement := p["Statement"].([]any)[0].(map[string]any)
	alias := fmt.Sprint(":", function["AutoPublishAlias"])
	if statement["Action"] != "lambda:InvokeFunction" || !strings.HasSuffix(statement["Resource"].(string), alias) {
		t.Errorf("got the statement %v, want lambda:InvokeFunction on %s", statement, alias)
	}
	if event := readFile(t, "events/direct-phone.json"); strings.TrimPrefix(found[1], "json\n") != event {
		t.Errorf("got the event\n%s\nwant events/direct-phone.json", found[1])
	}
	for name, path := range map[string]string{"phone": "/phone", "login": "/login"} {
		var event map[string]any
		if err := json.Unmarshal([]byte(readFile(t, "events/direct-"+name+".json")), &event); err != nil {
			t.Fatal(err)
		}
		fields := slices.Sorted(maps.Keys(event))
		if event["rawPath"] != path || !slices.Equal(fields, []string{"body", "rawPath", "requestContext", "version"}) {
			t.Errorf("events/direct-%s.json: got %v for %v, want the least for %s", name, fields, event["rawPath"], path)
		}
	}
}

// A backend that gives up before the function answers wastes a tap, and so does a page
// that gives up before its backend.
func TestBackendPagesTimeoutsAreTheTemplates(t *testing.T) {
	tm := readTemplate(t)
	limit := tm.section(t, "Resources", "PhoneFunction", "Properties")["Timeout"].(int)
	exchange := strings.TrimSuffix(tm.section(t, "Parameters", "WeChatTimeout")["Default"].(string), "s")
	component := regexp.MustCompile(`POST_TIMEOUT = (\d+) \* 1000`).FindStringSubmatch(
		readFile(t, "examples/miniprogram/components/phone-login/wechat.js"))
	if component == nil {
		t.Fatal("got no POST_TIMEOUT in wechat.js, want it")
	}
	for _, page := range backendPages {
		text := readFile(t, page)
		var waits []int // of the table's rows, in order
		for _, row := range regexp.MustCompile(`(?m)^\| .* \| (?:\*\*)?(\d+) (?:s|秒)`).FindAllStringSubmatch(text, -1) {
			var seconds int
			_, _ = fmt.Sscan(row[1], &seconds)
			waits = append(waits, seconds)
		}
		backend := regexp.MustCompile(`AbortSignal\.timeout\((\d+)_000\)`).FindStringSubmatch(text)
		if backend == nil {
			t.Fatalf("%s: got no timeout in the code, want one", page)
		}
		if want := fmt.Sprintf("[%s %d 30 %s %s]", exchange, limit, backend[1], component[1]); fmt.Sprint(waits) != want {
			t.Errorf("%s: got the timeouts %v, want %s", page, waits, want)
		} else if waits[3] <= limit || waits[4] <= waits[3] {
			t.Errorf("%s: got %d s for the backend and %d s for the page, want more than Lambda's %d s, and more for the page",
				page, waits[3], waits[4], limit)
		}
	}
}
