package main

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"maps"
	"slices"

	"wechat-phone/shared/appsecret"
	"wechat-phone/tools/operator"
)

// contents is what the secret holds. It must never be printed.
type contents struct {
	secrets map[string]string         // app secrets by appid
	others  map[string]jsontext.Value // beside a single mini-program's appid and secret
}

// parse reads a version's value. A secret without a value holds nothing. The error
// says how a value is malformed, and repeats nothing of it.
func parse(v operator.Version) (contents, error) {
	if v.ID == "" {
		return contents{}, nil
	}
	if v.Text == nil {
		return contents{}, errors.New("malformed: binary")
	}
	apps, err := appsecret.Parse(*v.Text)
	if e, ok := errors.AsType[*appsecret.Error](err); ok {
		return contents{}, errors.New(e.Reason)
	}
	var fields map[string]jsontext.Value
	if json.Unmarshal([]byte(appsecret.Trim(*v.Text)), &fields) != nil { // the error may hold the text
		return contents{}, errors.New("malformed: not a JSON object")
	}
	h := contents{secrets: map[string]string{}, others: map[string]jsontext.Value{}}
	if only, ok := apps.Only(); ok {
		h.secrets[only.AppID] = only.Secret.Reveal()
	}
	for name, value := range fields {
		name = appsecret.Trim(name)
		if app, ok := apps.Find(name); ok {
			h.secrets[name] = app.Secret.Reveal()
		} else if name != "appid" && name != "secret" {
			h.others[name] = value
		}
	}
	return h, nil
}

// appIDs returns the appids, sorted.
func (h contents) appIDs() []string { return slices.Sorted(maps.Keys(h.secrets)) }

// with returns h with a mini-program added or replaced. If there are several, it drops
// all other names.
func (h contents) with(app credentials) contents {
	after := contents{secrets: map[string]string{app.AppID: app.Secret}, others: h.others}
	for appID, secret := range h.secrets {
		if appID != app.AppID {
			after.secrets[appID] = secret
			after.others = nil
		}
	}
	return after
}

// without returns h without a mini-program.
func (h contents) without(appID string) (contents, error) {
	switch _, found := h.secrets[appID]; {
	case !found:
		return contents{}, fmt.Errorf("the secret does not hold %s", appID)
	case len(h.secrets) == 1:
		return contents{}, fmt.Errorf("%s is the only mini-program: without it, the function could serve nobody", appID)
	}
	after := contents{secrets: maps.Clone(h.secrets)}
	delete(after.secrets, appID)
	return after, nil
}

// encode returns the secret's text in one of the two forms that the function reads.
// It checks that the function's own parser reads it. A single mini-program gets the
// form that older releases can read too.
func (h contents) encode() (string, error) {
	fields := map[string]any{}
	for appID, secret := range h.secrets {
		if len(h.secrets) > 1 {
			fields[appID] = secret
			continue
		}
		fields["appid"], fields["secret"] = appID, secret
		for name, value := range h.others {
			fields[name] = value
		}
	}
	text, err := json.Marshal(fields, json.Deterministic(true))
	if err != nil { // the error may hold a value
		return "", errors.New("the secret's other values cannot be kept")
	}
	_, err = appsecret.Parse(string(text))
	if e, ok := errors.AsType[*appsecret.Error](err); ok {
		return "", fmt.Errorf("the function could not read the new value (%s): the secret has not changed", e.Reason)
	}
	return string(text), nil
}
