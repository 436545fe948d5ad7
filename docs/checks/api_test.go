package checks

import (
	"fmt"
	"go/ast"
	"go/parser"
	positions "go/token"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/functions/phone/failure"
)

// These tests hold docs/api.md and docs/openapi.yaml to the function's structs. If a
// field is added to one of them, they name each place that lacks it.

// apiPage is docs/api.md in one language: the headings above its tables.
type apiPage struct{ file, request, answer, headers, errors, both string }

var apiPages = []apiPage{
	{"docs/api.md", "The request", "The answer", "Headers", "Errors", "both"},
	{"docs/api.zh-CN.md", "请求", "返回结果", "响应头", "错误", "两个接口"},
}

// table returns the rows of a file's first table below a heading of the second level.
func table(t *testing.T, file, heading string) map[string][]string {
	t.Helper()
	_, section, _ := strings.Cut("\n"+readFile(t, file), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	all := firstTable(section)
	if len(all) == 0 {
		t.Fatalf("%s: got no table below %s, want one", file, heading)
	}
	return all
}

// firstTable returns the rows of a text's first table by the names in their first
// cells, which are in backquotes. The values are the other cells.
func firstTable(text string) map[string][]string {
	all := map[string][]string{}
	begun := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if begun {
				break
			}
			continue
		}
		if !begun { // the head
			begun = true
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
			all[name[1]] = cells[1:]
		}
	}
	return all
}

// wantNames checks that a place has these names.
func wantNames(t *testing.T, place string, got, want []string) {
	t.Helper()
	want = slices.Compact(slices.Sorted(slices.Values(want)))
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s: got no %s, want it there, because the code has it", place, name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s: got %s, want only what the code has", place, name)
		}
	}
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// parsed returns the Go files of a folder, without its tests.
func parsed(t *testing.T, folder string) map[string]*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(positions.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = file
	}
	return files
}

// jsonFields returns the names that a struct of a folder has in JSON, with those of
// the structs that it embeds.
func jsonFields(t *testing.T, folder, name string) (names []string) {
	t.Helper()
	for _, file := range parsed(t, folder) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != name {
				return true
			}
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				names = append(names, jsonNames(t, folder, field)...)
			}
			return false
		})
	}
	if len(names) == 0 {
		t.Fatalf("got no fields of %s in %s, want some", name, folder)
	}
	return names
}

func jsonNames(t *testing.T, folder string, field *ast.Field) []string {
	t.Helper()
	if field.Tag == nil {
		t.Fatalf("got the field %v in %s without a tag, want its name in JSON", field.Names, folder)
	}
	tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json")
	name, option, _ := strings.Cut(tag, ",")
	switch embedded := field.Type.(type) {
	case *ast.SelectorExpr:
		if option == "embed" {
			return jsonFields(t, "shared/"+embedded.X.(*ast.Ident).Name, embedded.Sel.Name)
		}
	case *ast.Ident:
		if option == "embed" {
			return jsonFields(t, folder, embedded.Name)
		}
	}
	return []string{name}
}

const handler = "functions/phone"

// requestFields returns the fields that the function reads.
func requestFields(t *testing.T) []string { return jsonFields(t, handler, "fields") }

// requestShape is a shape that a request to a route may have, by docs/openapi.yaml.
type requestShape struct {
	route, title string
	properties   map[string]any // by field; those that the shape refuses are false
}

func requestShapes(t *testing.T, api template) (shapes []requestShape) {
	t.Helper()
	add := func(route string, schema any) {
		s := schema.(map[string]any)
		shapes = append(shapes, requestShape{route, s["title"].(string), s["properties"].(map[string]any)})
	}
	for _, schema := range api.section(t, "components", "schemas", "Request")["oneOf"].([]any) {
		add("/phone", schema)
	}
	add("/login", api.section(t, "components", "schemas", "LoginRequest"))
	return shapes
}

// acceptedFields returns the fields that each route accepts by docs/openapi.yaml, and
// every field that it names.
func acceptedFields(t *testing.T) (accepted map[string]map[string]bool, named map[string]bool) {
	t.Helper()
	accepted, named = map[string]map[string]bool{"/phone": {}, "/login": {}}, map[string]bool{}
	for _, shape := range requestShapes(t, readOpenAPI(t)) {
		for field, property := range shape.properties {
			named[field] = true
			if property != false {
				accepted[shape.route][field] = true
			}
		}
	}
	return accepted, named
}

// Each shape of a route's request accepts or refuses what the others accept or refuse.
func TestOpenAPIShapesNameTheSameFields(t *testing.T) {
	shapes := requestShapes(t, readOpenAPI(t))
	for _, shape := range shapes {
		for _, other := range shapes {
			for field := range other.properties {
				if other.route == shape.route && shape.properties[field] == nil {
					t.Errorf("docs/openapi.yaml, %s: got no %s, want it, or false if this shape refuses it", shape.title, field)
				}
			}
		}
	}
}

// A page quotes the beginning of a message. docs/openapi.yaml's examples are what the
// function answers.
func TestAPIPagesQuoteAMessageOfTheFunction(t *testing.T) {
	all := examples(t, readOpenAPI(t))
	for _, page := range apiPages {
		quote := regexp.MustCompile(`"message":"(.+)…","action"`).FindStringSubmatch(readFile(t, page.file))
		if quote == nil {
			t.Fatalf("%s: got no example of a failure, want one", page.file)
		}
		if !slices.ContainsFunc(all, func(e example) bool {
			message, _ := e.value["message"].(string)
			return strings.HasPrefix(message, quote[1])
		}) {
			t.Errorf("%s: got the message %q, want the beginning of one in docs/openapi.yaml", page.file, quote[1])
		}
	}
}

func TestAPIPagesHaveEveryFieldOfRequests(t *testing.T) {
	accepted, named := acceptedFields(t)
	wantNames(t, "docs/openapi.yaml, Request and LoginRequest", keys(named), requestFields(t))
	for _, page := range apiPages {
		rows := table(t, page.file, page.request)
		wantNames(t, page.file+", "+page.request, keys(rows), requestFields(t))
		for field, cells := range rows {
			want := "`/login`"
			if accepted["/phone"][field] {
				want = "`/phone`"
			}
			if accepted["/phone"][field] && accepted["/login"][field] {
				want = page.both
			}
			if len(cells) != 3 || cells[0] != want {
				t.Errorf("%s: got the row %q for %s, want three cells, the first %s", page.file, cells, field, want)
			}
		}
	}
}

func TestAPIPagesHaveEveryFieldOfAnswers(t *testing.T) {
	phone, login := jsonFields(t, handler, "phoneAnswer"), jsonFields(t, handler, "loginAnswer")
	schemas := readOpenAPI(t)
	for schema, want := range map[string][]string{"Phone": phone, "Login": login} {
		properties := schemas.section(t, "components", "schemas", schema, "properties")
		wantNames(t, "docs/openapi.yaml, "+schema, keys(properties), want)
	}
	for _, page := range apiPages {
		rows := table(t, page.file, page.answer)
		wantNames(t, page.file+", "+page.answer, keys(rows), slices.Concat(phone, login))
		for field, cells := range rows {
			want := "`/login`"
			if slices.Contains(phone, field) {
				want = "`/phone`"
			}
			if slices.Contains(phone, field) && slices.Contains(login, field) {
				want = page.both
			}
			if len(cells) != 3 || cells[0] != want {
				t.Errorf("%s: got the row %q for %s, want three cells, the first %s", page.file, cells, field, want)
			}
		}
		failure := readOpenAPI(t).section(t, "components", "schemas", "Failure", "properties")
		wantNames(t, page.file+", "+page.errors, keys(table(t, page.file, page.errors)), keys(failure))
		wantNames(t, page.file+", "+page.headers, keys(table(t, page.file, page.headers)), jsonFields(t, handler, "headers"))
	}
}

func TestTypesHaveEveryFieldOfAnswers(t *testing.T) {
	const types = "examples/miniprogram/components/phone-login/index.d.ts"
	_, declared, _ := strings.Cut(readFile(t, types), "interface PhoneAnswer {")
	declared, _, _ = strings.Cut(declared, "\n}")
	var names []string
	for _, member := range regexp.MustCompile(`(?m)^  (\w+)\??:`).FindAllStringSubmatch(declared, -1) {
		names = append(names, member[1])
	}
	wantNames(t, types+", PhoneAnswer", names, jsonFields(t, handler, "phoneAnswer"))
}

func TestAPIPagesListEveryError(t *testing.T) {
	for _, page := range apiPages {
		text := readFile(t, page.file)
		errors := firstTable(text[strings.LastIndex(text, "\n| `error` | ")+1:])
		for _, kind := range failure.Kinds() {
			cells, action := errors[string(kind)], "`"+string(kind.Action())+"`"
			if len(cells) != 3 || cells[0] != fmt.Sprint(kind.Status()) || !strings.HasPrefix(cells[2], action) {
				t.Errorf("%s: got the row %v for %s, want %d and %s", page.file, cells, kind, kind.Status(), action)
			}
		}
		if len(errors) != len(failure.Kinds()) {
			t.Errorf("%s: got the errors %v, want %v", page.file, keys(errors), failure.Kinds())
		}
		for _, action := range failure.Actions() {
			if !regexp.MustCompile("(?m)^- `" + string(action) + "`(（| \\()").MatchString(text) {
				t.Errorf("%s: got no explanation of the action %s, want one", page.file, action)
			}
		}
		for _, r := range failure.Refusals() {
			if row := errors[string(r.Kind)]; !strings.Contains(strings.Join(row, " "), fmt.Sprint(r.ErrCode)) {
				t.Errorf("%s: got no errcode %d in the row of %s, want it there", page.file, r.ErrCode, r.Kind)
			}
		}
	}
}
