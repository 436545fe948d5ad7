package hostile

import (
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"wechat-phone/local/wechattest"
)

// Request is an HTTP request from a caller.
type Request struct {
	Name        string
	Method      string
	Path        string
	ContentType string // if empty, the request has none
	Body        string
	Want        Want
	Names       string // text that the error message must contain
}

// JSON returns the JSON body that a page posts for a [wechattest.Tap] or a
// [wechattest.PhoneTap].
func JSON(tap any) string {
	text, err := json.Marshal(tap)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Form is like [JSON], but returns a form.
func Form(tap any) string {
	var fields map[string]string
	if err := json.Unmarshal([]byte(JSON(tap)), &fields); err != nil {
		panic(err)
	}
	form := url.Values{}
	for name, value := range fields {
		form.Set(name, value)
	}
	return form.Encode()
}

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// Requests returns requests that the function must refuse. Most are a good tap with
// one thing wrong.
func Requests(tap wechattest.Tap) []Request {
	good, form := JSON(tap), Form(tap)
	phone := wechattest.PhoneTap{PhoneCode: PhoneCode(0), Code: tap.Code}
	return slices.Concat(
		badRoutes(good), badTypes(good), badSizes(good, form), badJSON(good, form), badNames(good, form), badText(tap),
		badCodes(tap), badSealedData(tap), badShapes(tap, phone), badPhoneCodes(phone), badLoginCodes(phone),
		injections(tap, phone),
	)
}

// post returns a request to the right route.
func post(name, contentType, body string, want Want, names string) Request {
	return Request{name, "POST", "/phone", contentType, body, want, names}
}

// invalid returns a JSON request that must be refused as invalid.
func invalid(name, body, names string) Request {
	return post(name, jsonType, body, invalidRequest, names)
}

// invalidForm is like [invalid], for a form.
func invalidForm(name, body, names string) Request {
	return post(name, formType, body, invalidRequest, names)
}

// edit replaces a part of a body.
func edit(body, from, to string) string {
	if !strings.Contains(body, from) {
		panic("hostile: no " + from + " in the body")
	}
	return strings.Replace(body, from, to, 1)
}

// add adds fields at the beginning of a JSON body.
func add(body, fields string) string { return edit(body, "{", "{"+fields+",") }

func quote(text string) string { return `"` + text + `"` }

func badRoutes(good string) (all []Request) {
	at := func(want Want, method string, paths ...string) {
		for _, path := range paths {
			all = append(all, Request{method + " " + path, method, path, jsonType, good, want, ""})
		}
	}
	at(notFound, "POST", "/", "/phone/", "/Phone", "/phone//", "/../phone", "/%70hone", "/phone%00",
		"/phone%0d%0aX:%20y", "/"+strings.Repeat("p", 4000), "/电话")
	at(notFound, "GET", "/favicon.ico")
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
		at(wrongMethod, method, "/phone")
	}
	return all
}

func badTypes(good string) []Request {
	return []Request{
		post("text", "text/plain", good, wrongType, "application/json"),
		post("multipart", "multipart/form-data; boundary=x", good, wrongType, ""),
		post("two types", "application/json, text/plain", good, wrongType, ""),
		post("two types with a charset", "application/json;charset=utf-8,text/plain", good, wrongType, ""),
		post("only a charset", ";charset=utf-8", good, wrongType, ""),
		post("a type that begins with JSON's", "application/jsonx", good, wrongType, ""),
		post("bytes", "application/octet-stream", good, wrongType, ""),
	}
}

func badSizes(good, form string) []Request {
	spaces := func(n int) string { return strings.Repeat(" ", n) }
	return []Request{
		post("over 16 KiB", jsonType, good+spaces(16<<10-len(good)+1), tooLarge, "16 KiB"),
		post("over 16 KiB in base64", formType, form+"&x="+strings.Repeat("x", 16<<10-len(form)-2), tooLarge, ""),
		post("4 MB", formType, strings.Repeat("x", 4<<20), tooLarge, ""), // in base64 just below Lambda's 6 MB
		post("6 MB", jsonType, "{"+spaces(6<<20-4096), tooLarge, ""),
		post("10,000 fields", jsonType, "{"+manyFields(10000)+good[1:], tooLarge, ""),
		post("10,000 fields in a form", formType, strings.Repeat("a&", 10000)+form, tooLarge, ""),
	}
}

func badJSON(good, form string) []Request {
	return []Request{
		invalid("no body", "", "body"),
		invalidForm("an empty form", "", "code"),
		invalid("not JSON", form, "body"),
		post("a form without a content type", "", form, invalidRequest, "body"),
		invalid("an array", "["+good+"]", "body"),
		invalid("null", "null", "body"),
		invalid("a string", `"x"`, "body"),
		invalid("a number", "1e999", "body"),
		invalid("truncated", good[:len(good)-1], "body"),
		invalid("text after the object", good+"x", "body"),
		invalid("a second object", good+good, "body"),
		invalid("a byte order mark", "\ufeff"+good, "body"),
		invalid("UTF-16", "{\x00\"\x00", "body"),
		invalid("deep arrays", `{"a":`+strings.Repeat("[", 12000), "body"),
		invalid("deep objects", strings.Repeat(`{"a":`, 3000), "body"),
	}
}

func badNames(good, form string) []Request {
	before := func(fields string) string { return edit(good, `"code"`, fields+`,"code"`) }
	return []Request{
		invalid("a NUL in a name", edit(good, `"iv"`, "\"i\x00v\""), ""),
		invalid("a duplicate name", before(`"code":"a"`), "code occurs twice"),
		invalid("a duplicate name by an escape", before(`"\u0063ode":"a"`), "code occurs twice"),
		invalid("a duplicate name in a nested object", before(`"x":{"code":1,"code":2}`), "a name"),
		invalid("a duplicate unknown name", before(`"x":1,"x":2`), "twice"),
		invalidForm("a duplicate name in a form", form+"&code=a", "code occurs twice"),
		invalidForm("a duplicate unknown name in a form", form+"&x=1&x=2", "twice"),
		invalidForm("1,000 fields with one name", strings.Repeat("a&", 1000)+form, "twice"),
		invalidForm("a broken escape in a form", form+"&x=%zz", "form"),
	}
}

func badText(tap wechattest.Tap) []Request {
	good, code := JSON(tap), quote(tap.Code)
	return []Request{
		post("invalid UTF-8", "", edit(good, code, "\"a\xff\""), invalidRequest, "UTF-8"),
		invalid("half a surrogate pair", edit(good, code, `"\ud800"`), ""),
		invalidForm("invalid UTF-8 in a form", "code=%ff&iv=a&encryptedData=b", "code"),
		invalidForm("a NUL in a form", "code=a%00&iv=a&encryptedData=b", "code"),
	}
}

func badCodes(tap wechattest.Tap) []Request {
	good := JSON(tap)
	code := func(value string) string { return edit(good, quote(tap.Code), value) }
	return []Request{
		invalid("code missing", edit(good, `"code"`, `"kode"`), "code"),
		invalid("code in another case", edit(good, `"code"`, `"Code"`), "code"),
		invalid("code null", code("null"), "code"),
		invalid("code a number", code("1"), "code must be a string"),
		invalid("code an object", code(`{"a":[]}`), "code must be a string"),
		invalid("code empty", code(`""`), "code"),
		invalid("code too long", code(quote(strings.Repeat("c", 257))), "code"),
	}
}

func badSealedData(tap wechattest.Tap) []Request {
	good := JSON(tap)
	data := func(value string) string { return edit(good, quote(tap.EncryptedData), value) }
	iv := func(value string) string { return edit(good, quote(tap.IV), value) }
	zeros := func(n int) string { return quote(base64.StdEncoding.EncodeToString(make([]byte, n))) }
	return []Request{
		invalid("encryptedData missing", edit(good, `"encryptedData"`, `"data"`), "encryptedData is missing"),
		invalid("encryptedData a bool", data("true"), "encryptedData must be a string"),
		invalid("encryptedData in another alphabet", data(`"-`+tap.EncryptedData[1:]+`"`), "encryptedData"),
		invalid("encryptedData of one block", data(zeros(16)), "encryptedData"),
		invalid("encryptedData of 4112 bytes", data(zeros(4112)), "encryptedData"),
		invalid("encryptedData of two and a half blocks", data(zeros(40)), "encryptedData"),
		invalid("iv missing", edit(good, `"iv"`, `"vi"`), "iv is missing"),
		invalid("iv an array", iv("[]"), "iv must be a string"),
		invalid("iv of 15 bytes", iv(zeros(15)), "iv"),
		invalid("iv of 17 bytes", iv(zeros(17)), "iv"),
		invalid("iv with too much padding", iv(quote(tap.IV+"=")), "iv"),
	}
}

// badShapes mixes sealed data and a phone code.
func badShapes(tap wechattest.Tap, phone wechattest.PhoneTap) []Request {
	sealed, form, newer := JSON(tap), Form(tap), JSON(phone)
	code, phoneCode := quote(tap.Code), quote(phone.PhoneCode)
	return []Request{
		invalid("an empty object", "{}", "phoneCode"),
		invalid("only a code", `{"code":`+code+`}`, "phoneCode"),
		invalid("both shapes", add(sealed, `"phoneCode":`+phoneCode), "either"),
		invalidForm("both shapes in a form", form+"&phoneCode="+phone.PhoneCode, "either"),
		invalid("both shapes, phoneCode empty", add(sealed, `"phoneCode":""`), "either"),
		invalidForm("both shapes, phoneCode empty in a form", form+"&phoneCode=", "either"),
		invalid("both shapes, phoneCode null", add(sealed, `"phoneCode":null`), "either"),
		invalid("both shapes, phoneCode a number", add(sealed, `"phoneCode":1`), "phoneCode must be a string"),
		invalid("phoneCode and iv", add(newer, `"iv":`+quote(tap.IV)), "either"),
		invalid("phoneCode and encryptedData", add(newer, `"encryptedData":`+quote(tap.EncryptedData)), "either"),
		invalid("phoneCode and an empty iv", add(newer, `"iv":""`), "either"),
		invalid("phoneCode and encryptedData null", add(newer, `"encryptedData":null`), "either"),
		invalid("phoneCode and iv a bool", add(newer, `"iv":false`), "iv must be a string"),
	}
}

func badPhoneCodes(phone wechattest.PhoneTap) []Request {
	good := JSON(phone)
	phoneCode := func(value string) string { return edit(good, quote(phone.PhoneCode), value) }
	return []Request{
		invalid("duplicate phoneCode", add(good, `"phoneCode":"a"`), "phoneCode occurs twice"),
		invalidForm("duplicate phoneCode in a form", Form(phone)+"&phoneCode=a", "phoneCode occurs twice"),
		invalid("phoneCode in another case", edit(good, `"phoneCode"`, `"phonecode"`), "phoneCode"),
		invalid("phoneCode empty", phoneCode(`""`), "phoneCode is missing or empty"),
		invalidForm("phoneCode empty in a form", "phoneCode=", "phoneCode is missing or empty"),
		invalid("phoneCode null", phoneCode(`null`), "phoneCode is missing or empty"),
		invalid("phoneCode a number", phoneCode(`1`), "phoneCode must be a string"),
		invalid("phoneCode an object", phoneCode(`{"code":"a"}`), "phoneCode must be a string"),
		invalid("phoneCode too long", phoneCode(quote(strings.Repeat("c", 257))), "phoneCode must have"),
	}
}

// badLoginCodes has a good phone code and a bad login code.
func badLoginCodes(phone wechattest.PhoneTap) []Request {
	good := JSON(phone)
	code := func(value string) string { return edit(good, quote(phone.Code), value) }
	return []Request{
		invalid("phoneCode, and code empty", code(`""`), "code is missing or empty"),
		invalid("phoneCode, and code null", code(`null`), "code is missing or empty"),
		invalid("phoneCode, and code a number", code(`1`), "code must be a string"),
		invalidForm("phoneCode, and code empty in a form", "code=&phoneCode="+phone.PhoneCode,
			"code is missing or empty"),
		invalid("phoneCode, and code too long", code(quote(strings.Repeat("c", 257))), "code must have"),
	}
}

// injections puts text that would break out of a query, a header or a log line into
// each field.
func injections(tap wechattest.Tap, phone wechattest.PhoneTap) (all []Request) {
	sealed, newer := JSON(tap), JSON(phone)
	data, iv := quote(tap.EncryptedData), quote(tap.IV)
	for name, text := range map[string]string{
		"a line end":            `a\r\nX-Injected: y\r\n\r\n`,
		"a NUL":                 `a\u0000b`,
		"an ampersand":          `a&secret=b`,
		"a space and a version": `a HTTP/1.1`,
		"a quote":               `a\",\"level\":\"ERROR`,
		"a line separator":      `a\u2028b`,
		"Chinese":               "登录码",
		"a percent sign":        "%00%0a",
		"a tag":                 "<script>",
	} {
		all = append(all,
			invalid("code with "+name, edit(sealed, quote(tap.Code), quote(text)), "code"),
			invalid("encryptedData with "+name,
				edit(sealed, data, quote(tap.EncryptedData[:24]+text)), "encryptedData"),
			invalid("iv with "+name, edit(sealed, iv, quote(text)), "iv"),
			invalid("phoneCode with "+name, edit(newer, quote(phone.PhoneCode), quote(text)), "phoneCode"))
	}
	return all
}

func manyFields(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `"f%d":%d,`, i, i)
	}
	return text.String()
}

// Event is an event that is malformed or not a gateway's. The function must refuse it
// as an invalid request.
type Event struct{ Name, JSON string }

// Events returns all such events.
func Events() []Event {
	const begin = `{"version":"2.0","rawPath":"/phone","requestContext":{"http":{"method":"POST"}}`
	return []Event{
		{"null", "null"}, {"an array", "[]"}, {"a number", "1"},
		{"a string", `"POST /phone"`}, {"true", "true"}, {"an empty object", "{}"},
		{"payload 1.0 without method", `{"version":"1.0","resource":"/phone","path":"/phone","requestContext":{}}`},
		{"payload 1.0 without path", `{"version":"1.0","httpMethod":"POST","requestContext":{}}`},
		{"a load balancer that names a resource", `{"resource":"/phone","path":"/phone","httpMethod":"POST",` +
			`"requestContext":{"elb":{"targetGroupArn":"arn"}},"headers":{},"body":"{}"}`},
		{"another version", `{"version":"3.0","routeKey":"POST /phone","rawPath":"/phone","path":"/phone",` +
			`"httpMethod":"POST","requestContext":{"http":{"method":"POST"}},"body":"{}"}`},
		{"a check with another member", `{"check":true,"detail":{}}`},
		{"ALB", `{"requestContext":{"elb":{"targetGroupArn":"arn"}},"httpMethod":"POST","path":"/phone",` +
			`"queryStringParameters":{},"headers":{},"body":"","isBase64Encoded":false}`},
		{"WebSocket", `{"requestContext":{"routeKey":"$connect","eventType":"CONNECT","connectionId":"a"},` +
			`"isBase64Encoded":false}`},
		{"SQS", `{"Records":[{"messageId":"a","body":"{}","eventSource":"aws:sqs"}]}`},
		{"a schedule", `{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{}}`},
		{"version a number", `{"version":2.0,"rawPath":"/phone","requestContext":{"http":{"method":"POST"}}}`},
		{"version null", `{"version":null,"rawPath":"/phone","requestContext":{"http":{"method":"POST"}}}`},
		{"no method", `{"version":"2.0","rawPath":"/phone","requestContext":{}}`},
		{"no path", `{"version":"2.0","requestContext":{"http":{"method":"POST"}}}`},
		{"context null", `{"version":"2.0","rawPath":"/phone","requestContext":null}`},
		{"context an array", `{"version":"2.0","rawPath":"/phone","requestContext":[]}`},
		{"method an array", `{"version":"2.0","rawPath":"/phone","requestContext":{"http":{"method":["POST"]}}}`},
		{"body an object", begin + `,"body":{"code":"a"}}`},
		{"body null", begin + `,"body":null}`},
		{"body a number", begin + `,"body":1}`},
		{"headers an array", begin + `,"headers":[],"body":"{}"}`},
		{"content type an array", begin + `,"headers":{"content-type":["application/json"]},"body":"{}"}`},
		{"isBase64Encoded a string", begin + `,"body":"e30=","isBase64Encoded":"true"}`},
		{"not base64", begin + `,"body":"!","isBase64Encoded":true}`},
		{"truncated base64", begin + `,"body":"e30","isBase64Encoded":true}`},
		{"a duplicate name", begin + `,"body":"{}","body":"{}"}`},
		{"10,000 headers", begin + `,"headers":{` + manyFields(10000) + `"host":"h"},"body":"{}"}`},
		{"deep", begin + `,"authorizer":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `,"body":"{}"}`},
	}
}
