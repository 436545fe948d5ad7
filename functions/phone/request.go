package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"wechat-phone/shared/opendata"
)

const (
	phonePath    = "/phone"
	maxBody      = 16 << 10 // a request has about 500 bytes
	maxCode      = 256
	codeAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
)

// event is what is read of an API Gateway HTTP API event, payload format 2.0.
type event struct {
	Version        string            `json:"version"`
	RawPath        string            `json:"rawPath"`
	Headers        map[string]string `json:"headers"`
	RequestContext struct {
		Stage string `json:"stage"`
		HTTP  struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
	Body            string `json:"body"`
	IsBase64Encoded bool   `json:"isBase64Encoded"`
}

// requestError is a request that is wrong in itself. The message is for the
// caller, and repeats nothing of the request.
type requestError struct {
	kind    kind
	message string
}

func (e *requestError) Error() string { return e.message }

func invalid(message string) error { return &requestError{invalidRequest, message} }

func readEvent(raw []byte) (event, error) {
	var e event
	if json.Unmarshal(raw, &e) != nil || e.Version != "2.0" || e.RawPath == "" || e.RequestContext.HTTP.Method == "" {
		return e, invalid("the event is not one of an API Gateway HTTP API with payload format 2.0")
	}
	return e, nil
}

// request is what the client sent, well formed, in one of two shapes: a login
// code and sealed data, or a phone code, with a login code or without.
type request struct {
	code      string          // empty where there is none
	sealed    opendata.Sealed // where phoneCode is empty
	phoneCode string
}

// readRequest reads and checks all that can be checked before anybody is asked.
// Every error is a *requestError.
func readRequest(e event) (request, error) {
	if e.path() != phonePath {
		return request{}, &requestError{kind: notFound}
	}
	if e.RequestContext.HTTP.Method != http.MethodPost {
		return request{}, &requestError{kind: methodNotAllowed}
	}
	body, err := e.body()
	if err != nil {
		return request{}, err
	}
	f, err := readFields(e.contentType(), body)
	if err != nil {
		return request{}, err
	}
	sealed := f.EncryptedData.present || f.IV.present
	if f.PhoneCode.present == sealed {
		return request{}, invalid("there must be either code, encryptedData and iv, or phoneCode, with or without code")
	}
	r := request{code: f.Code.text, phoneCode: f.PhoneCode.text}
	if sealed || f.Code.present {
		if err := checkCode("code", r.code); err != nil {
			return request{}, err
		}
	}
	if sealed {
		r.sealed, err = opendata.Parse(f.EncryptedData.text, f.IV.text)
		if err != nil {
			return request{}, invalid(err.Error())
		}
		return r, nil
	}
	return r, checkCode("phoneCode", r.phoneCode)
}

func checkCode(name, code string) error {
	if code == "" {
		return invalid(name + " is missing or empty")
	}
	if len(code) > maxCode || strings.Trim(code, codeAlphabet) != "" {
		return invalid(name + " must have 1 to 256 characters of A-Z a-z 0-9 _ -")
	}
	return nil
}

// path is without the stage, which the gateway puts before it where it is not
// the default one.
func (e event) path() string {
	if stage := e.RequestContext.Stage; stage != "" && stage != "$default" {
		if rest, ok := strings.CutPrefix(e.RawPath, "/"+stage); ok && strings.HasPrefix(rest, "/") {
			return rest
		}
	}
	return e.RawPath
}

// contentType finds the header in any spelling: the gateway lower-cases its
// name, sam local start-api does not.
func (e event) contentType() string {
	for name, value := range e.Headers {
		if strings.EqualFold(name, "content-type") {
			return value
		}
	}
	return ""
}

func (e event) body() ([]byte, error) {
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		if base64.StdEncoding.DecodedLen(len(body)) > maxBody+2 { // up to two bytes of it are padding
			return nil, &requestError{kind: payloadTooLarge}
		}
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, invalid("the event's body is not base64")
		}
	}
	if len(body) > maxBody {
		return nil, &requestError{kind: payloadTooLarge}
	}
	return body, nil
}

// fields are the request's. All but phoneCode are WeChat's words.
type fields struct {
	Code          field `json:"code"`
	EncryptedData field `json:"encryptedData"`
	IV            field `json:"iv"`
	PhoneCode     field `json:"phoneCode"`
}

// field is one that may be there and empty: which ones are there tells the
// shape.
type field struct {
	text    string
	present bool
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (f *field) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	f.present = true
	return json.UnmarshalDecode(d, &f.text)
}

func readFields(contentType string, body []byte) (fields, error) {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	switch {
	case strings.Contains(contentType, ","): // two headers, which the gateway has joined
	case contentType == "", mediaType == "application/json":
		return readJSON(body)
	case mediaType == "application/x-www-form-urlencoded":
		return readForm(body)
	}
	return fields{}, &requestError{kind: unsupportedMediaType}
}

func readJSON(body []byte) (f fields, _ error) {
	// encoding/json/v2 refuses names that occur twice and text after the object.
	// It takes names in another case for unknown, and null for an empty struct.
	err := json.Unmarshal(body, &f)
	if mismatch, ok := errors.AsType[*json.SemanticError](err); ok && mismatch.JSONPointer != "" {
		return f, invalid(strings.TrimPrefix(string(mismatch.JSONPointer), "/") + " must be a string")
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return f, twice(strings.TrimPrefix(string(syntax.JSONPointer), "/"))
	}
	if err != nil || bytes.TrimLeft(body, " \t\r\n")[0] != '{' {
		return f, invalid("the body must be one JSON object, in UTF-8")
	}
	return f, nil
}

// twice refuses a name that occurs twice. It repeats the name only where that
// is one of ours.
func twice(name string) error {
	switch name {
	case "code", "encryptedData", "iv", "phoneCode":
		return invalid(name + " occurs twice")
	}
	return invalid("a name in the body occurs twice")
}

func readForm(body []byte) (fields, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return fields{}, invalid("the body is not a well-formed form")
	}
	for name, values := range form {
		if len(values) > 1 {
			return fields{}, twice(name)
		}
	}
	get := func(name string) field { return field{form.Get(name), form.Has(name)} }
	return fields{get("code"), get("encryptedData"), get("iv"), get("phoneCode")}, nil
}
