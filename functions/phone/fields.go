package main

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"net/url"
	"strings"

	"wechat-phone/functions/phone/failure"
)

const (
	maxCode      = 256
	codeAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
)

// fields are a request's fields. WeChat uses the same names, except for phoneCode.
type fields struct {
	Code          field `json:"code"`
	EncryptedData field `json:"encryptedData"`
	IV            field `json:"iv"`
	PhoneCode     field `json:"phoneCode"`
	AppID         field `json:"appid"`

	Token anyField `json:"token"` // used by /login only
}

// field distinguishes an empty field from an absent one. The request's shape
// depends on which fields are present.
type field struct {
	text    string
	present bool
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (f *field) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	f.present = true
	return json.UnmarshalDecode(d, &f.text)
}

// anyField is a [field] that may have a value of any type. Any value that is not a
// string counts as an empty one.
type anyField field

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (f *anyField) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	f.present = true
	value, err := d.ReadValue()
	if value.Kind() == jsontext.KindString {
		return json.Unmarshal(value, &f.text)
	}
	return err
}

// readFields decodes a request's body, which is JSON or a form. Every error is a
// [*failure.Error].
func readFields(e event) (fields, error) {
	body, err := e.body()
	if err != nil {
		return fields{}, err
	}
	contentType := e.header("content-type")
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	switch {
	case strings.Contains(contentType, ","): // two headers, joined by the gateway
	case contentType == "", mediaType == "application/json":
		return readJSON(body)
	case mediaType == "application/x-www-form-urlencoded":
		return readForm(body)
	}
	return fields{}, &failure.Error{Kind: failure.UnsupportedMediaType}
}

func readJSON(body []byte) (f fields, _ error) {
	// encoding/json/v2 refuses names that occur twice and text after the object.
	// It treats names in another case as unknown, and null as an empty struct.
	err := json.Unmarshal(body, &f)
	if mismatch, ok := errors.AsType[*json.SemanticError](err); ok && mismatch.JSONPointer != "" {
		return f, failure.Invalid(strings.TrimPrefix(string(mismatch.JSONPointer), "/") + " must be a string")
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return f, duplicate(strings.TrimPrefix(string(syntax.JSONPointer), "/"))
	}
	if err != nil || bytes.TrimLeft(body, " \t\r\n")[0] != '{' {
		return f, failure.Invalid("the body must be one JSON object, in UTF-8")
	}
	return f, nil
}

func readForm(body []byte) (fields, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return fields{}, failure.Invalid("the body is not a well-formed form")
	}
	for name, values := range form {
		if len(values) > 1 {
			return fields{}, duplicate(name)
		}
	}
	get := func(name string) field { return field{form.Get(name), form.Has(name)} }
	return fields{
		get("code"), get("encryptedData"), get("iv"), get("phoneCode"), get("appid"), anyField(get("token")),
	}, nil
}

// duplicate returns the error for a name that occurs twice. It repeats the name
// only if the function knows it.
func duplicate(name string) error {
	switch name {
	case "code", "encryptedData", "iv", "phoneCode", "appid", "token":
		return failure.Invalid(name + " occurs twice")
	}
	return failure.Invalid("a name in the body occurs twice")
}

func checkCode(name, code string) error {
	if code == "" {
		return failure.Invalid(name + " is missing or empty")
	}
	if len(code) > maxCode || strings.Trim(code, codeAlphabet) != "" {
		return failure.Invalid(name + " must have 1 to 256 characters of A-Z a-z 0-9 _ -")
	}
	return nil
}
