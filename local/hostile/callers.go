package hostile

import (
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"net/url"
	"strings"

	"wechat-phone/local/wechattest"
)

// Request is an HTTP request of a caller's.
type Request struct {
	Name        string
	Method      string
	Path        string
	ContentType string // none where empty
	Body        string
	Want        Want
	Names       string // what the message must name
}

// JSON is the body that a page posts: a wechattest.Tap, or a wechattest.PhoneTap.
func JSON(tap any) string {
	text, err := json.Marshal(tap)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Form is the same as a form.
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

// Requests are what is wrong in itself, made from a good tap. Most have one
// thing wrong.
func Requests(tap wechattest.Tap) []Request {
	good, form := JSON(tap), Form(tap)
	edit := func(from, to string) string {
		if !strings.Contains(good, from) {
			panic("hostile: no " + from + " in the body")
		}
		return strings.Replace(good, from, to, 1)
	}
	code, data, iv := `"`+tap.Code+`"`, `"`+tap.EncryptedData+`"`, `"`+tap.IV+`"`
	post := func(name, contentType, body string, want Want, names string) Request {
		return Request{name, "POST", "/phone", contentType, body, want, names}
	}
	at := func(method, path string, want Want) Request {
		return Request{method + " " + path, method, path, jsonType, good, want, ""}
	}
	all := []Request{
		at("POST", "/", notFound), at("POST", "/phone/", notFound), at("POST", "/Phone", notFound), at("POST", "/phone//", notFound),
		at("POST", "/../phone", notFound), at("POST", "/%70hone", notFound), at("POST", "/phone%00", notFound), at("POST", "/phone%0d%0aX:%20y", notFound),
		at("GET", "/favicon.ico", notFound), at("POST", "/"+strings.Repeat("p", 4000), notFound), at("POST", "/电话", notFound),
		at("GET", "/phone", wrongMethod), at("HEAD", "/phone", wrongMethod), at("PUT", "/phone", wrongMethod), at("PATCH", "/phone", wrongMethod),
		at("DELETE", "/phone", wrongMethod), at("OPTIONS", "/phone", wrongMethod), at("TRACE", "/phone", wrongMethod), at("PROPFIND", "/phone", wrongMethod),

		post("text", "text/plain", good, wrongType, "application/json"),
		post("multipart", "multipart/form-data; boundary=x", good, wrongType, ""),
		post("two types", "application/json, text/plain", good, wrongType, ""),
		post("two types with a charset", "application/json;charset=utf-8,text/plain", good, wrongType, ""),
		post("a charset alone", ";charset=utf-8", good, wrongType, ""),
		post("no type of JSON", "application/jsonx", good, wrongType, ""),
		post("bytes", "application/octet-stream", good, wrongType, ""),

		post("over 16 KiB", jsonType, good+strings.Repeat(" ", 16<<10-len(good)+1), tooLarge, "16 KiB"),
		post("over 16 KiB in base64", formType, form+"&x="+strings.Repeat("x", 16<<10-len(form)-2), tooLarge, ""),
		post("4 MB", formType, strings.Repeat("x", 4<<20), tooLarge, ""), // the event has a third more; Lambda takes 6 MB
		post("6 MB", jsonType, "{"+strings.Repeat(" ", 6<<20-4096), tooLarge, ""),
		post("10,000 fields", jsonType, "{"+manyFields(10000)+good[1:], tooLarge, ""),
		post("10,000 fields in a form", formType, strings.Repeat("a&", 10000)+form, tooLarge, ""),

		post("no body", jsonType, "", invalidRequest, "body"),
		post("an empty form", formType, "", invalidRequest, "code"),
		post("no JSON", jsonType, form, invalidRequest, "body"),
		post("a form without its type", "", form, invalidRequest, "body"),
		post("an array", jsonType, "["+good+"]", invalidRequest, "body"),
		post("null", jsonType, "null", invalidRequest, "body"),
		post("a string", jsonType, `"x"`, invalidRequest, "body"),
		post("a number", jsonType, "1e999", invalidRequest, "body"),
		post("cut short", jsonType, good[:len(good)-1], invalidRequest, "body"),
		post("text after it", jsonType, good+"x", invalidRequest, "body"),
		post("a second object", jsonType, good+good, invalidRequest, "body"),
		post("a byte order mark", jsonType, "\ufeff"+good, invalidRequest, "body"),
		post("UTF-16", jsonType, "{\x00\"\x00", invalidRequest, "body"),
		post("deep arrays", jsonType, `{"a":`+strings.Repeat("[", 12000), invalidRequest, "body"),
		post("deep objects", jsonType, strings.Repeat(`{"a":`, 3000), invalidRequest, "body"),
		post("a NUL in a name", jsonType, edit(`"iv"`, "\"i\x00v\""), invalidRequest, ""),
		post("a name twice", jsonType, edit(`"code"`, `"code":"a","code"`), invalidRequest, "code occurs twice"),
		post("a name twice by an escape", jsonType, edit(`"code"`, `"\u0063ode":"a","code"`), invalidRequest, "code occurs twice"),
		post("a name twice in another object", jsonType, edit(`"code"`, `"x":{"code":1,"code":2},"code"`), invalidRequest, "a name"),
		post("an unknown name twice", jsonType, edit(`"code"`, `"x":1,"x":2,"code"`), invalidRequest, "twice"),
		post("a name twice in a form", formType, form+"&code=a", invalidRequest, "code occurs twice"),
		post("an unknown name twice in a form", formType, form+"&x=1&x=2", invalidRequest, "twice"),
		post("1,000 fields of one name", formType, strings.Repeat("a&", 1000)+form, invalidRequest, "twice"),
		post("a broken escape in a form", formType, form+"&x=%zz", invalidRequest, "form"),
		post("no UTF-8", "", edit(code, "\"a\xff\""), invalidRequest, "UTF-8"),
		post("half a surrogate pair", jsonType, edit(code, `"\ud800"`), invalidRequest, ""),
		post("no UTF-8 in a form", formType, "code=%ff&iv=a&encryptedData=b", invalidRequest, "code"),
		post("a NUL in a form", formType, "code=a%00&iv=a&encryptedData=b", invalidRequest, "code"),

		post("code missing", jsonType, edit(`"code"`, `"kode"`), invalidRequest, "code"),
		post("code in another case", jsonType, edit(`"code"`, `"Code"`), invalidRequest, "code"),
		post("code null", jsonType, edit(code, "null"), invalidRequest, "code"),
		post("code a number", jsonType, edit(code, "1"), invalidRequest, "code must be a string"),
		post("code an object", jsonType, edit(code, `{"a":[]}`), invalidRequest, "code must be a string"),
		post("code empty", jsonType, edit(code, `""`), invalidRequest, "code"),
		post("code too long", jsonType, edit(code, `"`+strings.Repeat("c", 257)+`"`), invalidRequest, "code"),
		post("encryptedData missing", jsonType, edit(`"encryptedData"`, `"data"`), invalidRequest, "encryptedData is missing"),
		post("encryptedData a bool", jsonType, edit(data, "true"), invalidRequest, "encryptedData must be a string"),
		post("encryptedData of another alphabet", jsonType, edit(data, `"-`+tap.EncryptedData[1:]+`"`), invalidRequest, "encryptedData"),
		post("encryptedData of a block", jsonType, edit(data, `"AAAAAAAAAAAAAAAAAAAAAA=="`), invalidRequest, "encryptedData"),
		post("encryptedData of 4112 bytes", jsonType, edit(data, `"`+base64.StdEncoding.EncodeToString(make([]byte, 4112))+`"`), invalidRequest, "encryptedData"),
		post("encryptedData of half a block more", jsonType, edit(data, `"`+base64.StdEncoding.EncodeToString(make([]byte, 40))+`"`), invalidRequest, "encryptedData"),
		post("iv missing", jsonType, edit(`"iv"`, `"vi"`), invalidRequest, "iv is missing"),
		post("iv an array", jsonType, edit(iv, "[]"), invalidRequest, "iv must be a string"),
		post("iv of 15 bytes", jsonType, edit(iv, `"AAAAAAAAAAAAAAAAAAAA"`), invalidRequest, "iv"),
		post("iv of 17 bytes", jsonType, edit(iv, `"AAAAAAAAAAAAAAAAAAAAAAA="`), invalidRequest, "iv"),
		post("iv with padding to spare", jsonType, edit(iv, `"`+tap.IV+`="`), invalidRequest, "iv"),
	}
	// The other shape, and mixtures of the two.
	phone := wechattest.PhoneTap{PhoneCode: PhoneCode(0), Code: tap.Code}
	newer := JSON(phone)
	phoneCode := `"` + phone.PhoneCode + `"`
	change := func(from, to string) string { return strings.Replace(newer, from, to, 1) }
	plus := func(body, fields string) string { return strings.Replace(body, "{", "{"+fields+",", 1) }
	all = append(all,
		post("an empty object", jsonType, "{}", invalidRequest, "phoneCode"),
		post("a code alone", jsonType, `{"code":`+code+`}`, invalidRequest, "phoneCode"),
		post("both shapes", jsonType, plus(good, `"phoneCode":`+phoneCode), invalidRequest, "either"),
		post("both shapes in a form", formType, form+"&phoneCode="+phone.PhoneCode, invalidRequest, "either"),
		post("both shapes, phoneCode empty", jsonType, plus(good, `"phoneCode":""`), invalidRequest, "either"),
		post("both shapes, phoneCode empty in a form", formType, form+"&phoneCode=", invalidRequest, "either"),
		post("both shapes, phoneCode null", jsonType, plus(good, `"phoneCode":null`), invalidRequest, "either"),
		post("both shapes, phoneCode a number", jsonType, plus(good, `"phoneCode":1`), invalidRequest, "phoneCode must be a string"),
		post("phoneCode and iv", jsonType, plus(newer, `"iv":`+iv), invalidRequest, "either"),
		post("phoneCode and encryptedData", jsonType, plus(newer, `"encryptedData":`+data), invalidRequest, "either"),
		post("phoneCode and an empty iv", jsonType, plus(newer, `"iv":""`), invalidRequest, "either"),
		post("phoneCode and encryptedData null", jsonType, plus(newer, `"encryptedData":null`), invalidRequest, "either"),
		post("phoneCode and iv a bool", jsonType, plus(newer, `"iv":false`), invalidRequest, "iv must be a string"),
		post("phoneCode twice", jsonType, plus(newer, `"phoneCode":"a"`), invalidRequest, "phoneCode occurs twice"),
		post("phoneCode twice in a form", formType, Form(phone)+"&phoneCode=a", invalidRequest, "phoneCode occurs twice"),
		post("phoneCode in another case", jsonType, change(`"phoneCode"`, `"phonecode"`), invalidRequest, "phoneCode"),
		post("phoneCode empty", jsonType, change(phoneCode, `""`), invalidRequest, "phoneCode is missing or empty"),
		post("phoneCode empty in a form", formType, "phoneCode=", invalidRequest, "phoneCode is missing or empty"),
		post("phoneCode null", jsonType, change(phoneCode, `null`), invalidRequest, "phoneCode is missing or empty"),
		post("phoneCode a number", jsonType, change(phoneCode, `1`), invalidRequest, "phoneCode must be a string"),
		post("phoneCode an object", jsonType, change(phoneCode, `{"code":"a"}`), invalidRequest, "phoneCode must be a string"),
		post("phoneCode too long", jsonType, change(phoneCode, `"`+strings.Repeat("c", 257)+`"`), invalidRequest, "phoneCode must have"),
		post("phoneCode, and code empty", jsonType, change(code, `""`), invalidRequest, "code is missing or empty"),
		post("phoneCode, and code null", jsonType, change(code, `null`), invalidRequest, "code is missing or empty"),
		post("phoneCode, and code a number", jsonType, change(code, `1`), invalidRequest, "code must be a string"),
		post("phoneCode, and code empty in a form", formType, "code=&phoneCode="+phone.PhoneCode, invalidRequest, "code is missing or empty"),
		post("phoneCode, and code too long", jsonType, change(code, `"`+strings.Repeat("c", 257)+`"`), invalidRequest, "code must have"))
	// What would break out of a query, a header or a log line, in each field.
	for name, breakout := range map[string]string{
		"a line end": `a\r\nX-Injected: y\r\n\r\n`, "a NUL": `a\u0000b`, "an ampersand": `a&secret=b`, "a space and a version": `a HTTP/1.1`,
		"a quote": `a\",\"level\":\"ERROR`, "a line separator": `a\u2028b`, "Chinese": "登录码", "a percent": "%00%0a", "a tag": "<script>",
	} {
		all = append(all,
			post("code with "+name, jsonType, edit(code, `"`+breakout+`"`), invalidRequest, "code"),
			post("encryptedData with "+name, jsonType, edit(data, `"`+tap.EncryptedData[:24]+breakout+`"`), invalidRequest, "encryptedData"),
			post("iv with "+name, jsonType, edit(iv, `"`+breakout+`"`), invalidRequest, "iv"),
			post("phoneCode with "+name, jsonType, change(phoneCode, `"`+breakout+`"`), invalidRequest, "phoneCode"))
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

// Event is an event that is not a gateway's, or not a whole one. All are invalid
// requests.
type Event struct{ Name, JSON string }

// Events returns them.
func Events() []Event {
	const begin = `{"version":"2.0","rawPath":"/phone","requestContext":{"http":{"method":"POST"}}`
	return []Event{
		{"null", "null"}, {"an array", "[]"}, {"a number", "1"}, {"a string", `"POST /phone"`}, {"true", "true"}, {"an empty object", "{}"},
		{"payload 1.0 without method", `{"version":"1.0","resource":"/phone","path":"/phone","requestContext":{}}`},
		{"payload 1.0 without path", `{"version":"1.0","httpMethod":"POST","requestContext":{}}`},
		{"a load balancer that names a resource", `{"resource":"/phone","path":"/phone","httpMethod":"POST",` +
			`"requestContext":{"elb":{"targetGroupArn":"arn"}},"headers":{},"body":"{}"}`},
		{"another version", `{"version":"3.0","routeKey":"POST /phone","rawPath":"/phone","path":"/phone","httpMethod":"POST",` +
			`"requestContext":{"http":{"method":"POST"}},"body":"{}"}`},
		{"the check of a later version", `{"check":true}`},
		{"ALB", `{"requestContext":{"elb":{"targetGroupArn":"arn"}},"httpMethod":"POST","path":"/phone","queryStringParameters":{},"headers":{},"body":"","isBase64Encoded":false}`},
		{"WebSocket", `{"requestContext":{"routeKey":"$connect","eventType":"CONNECT","connectionId":"a"},"isBase64Encoded":false}`},
		{"SQS", `{"Records":[{"messageId":"a","body":"{}","eventSource":"aws:sqs"}]}`},
		{"a schedule", `{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{}}`},
		{"version a number", `{"version":2.0,"rawPath":"/phone","requestContext":{"http":{"method":"POST"}}}`},
		{"version null", `{"version":null,"rawPath":"/phone","requestContext":{"http":{"method":"POST"}}}`},
		{"no method", `{"version":"2.0","rawPath":"/phone","requestContext":{}}`},
		{"no path", `{"version":"2.0","requestContext":{"http":{"method":"POST"}}}`},
		{"context null", `{"version":"2.0","rawPath":"/phone","requestContext":null}`},
		{"context an array", `{"version":"2.0","rawPath":"/phone","requestContext":[]}`},
		{"method of wrong type", `{"version":"2.0","rawPath":"/phone","requestContext":{"http":{"method":["POST"]}}}`},
		{"body an object", begin + `,"body":{"code":"a"}}`},
		{"body null", begin + `,"body":null}`},
		{"body a number", begin + `,"body":1}`},
		{"headers an array", begin + `,"headers":[],"body":"{}"}`},
		{"content type an array", begin + `,"headers":{"content-type":["application/json"]},"body":"{}"}`},
		{"encoding a string", begin + `,"body":"e30=","isBase64Encoded":"true"}`},
		{"no base64", begin + `,"body":"!","isBase64Encoded":true}`},
		{"base64 cut short", begin + `,"body":"e30","isBase64Encoded":true}`},
		{"a name twice", begin + `,"body":"{}","body":"{}"}`},
		{"10,000 headers", begin + `,"headers":{` + manyFields(10000) + `"host":"h"},"body":"{}"}`},
		{"deep", begin + `,"authorizer":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `,"body":"{}"}`},
	}
}
