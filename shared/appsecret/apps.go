package appsecret

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"iter"
	"maps"
	"strings"
	"unicode"

	"wechat-phone/shared/redacted"
	"wechat-phone/shared/wechat"
)

// maxApps is how many mini-programs a secret may hold. At 60 bytes each they stay
// far below Secrets Manager's limit of 64 KiB.
const maxApps = 50

// Apps are the mini-programs that a secret holds. The zero Apps holds none.
type Apps struct {
	byID map[string]wechat.Credentials
}

// Find returns the credentials of the mini-program with that appid. Their Secret
// may be empty: see [Store.Usable].
func (a Apps) Find(appID string) (wechat.Credentials, bool) {
	app, ok := a.byID[appID]
	return app, ok
}

// Only returns the mini-program if there is exactly one.
func (a Apps) Only() (app wechat.Credentials, ok bool) {
	for _, app = range a.byID {
	}
	return app, len(a.byID) == 1
}

// All returns every mini-program's credentials, in random order.
func (a Apps) All() iter.Seq[wechat.Credentials] { return maps.Values(a.byID) }

// Complete returns an error if app's Secret is empty. The error affects that
// mini-program alone.
func Complete(app wechat.Credentials) error {
	if app.Secret.Reveal() == "" {
		return &Error{Reason: "malformed: the mini-program's secret is empty"}
	}
	return nil
}

// IsAppID reports whether text has an appid's form: wx and 16 lower-case
// hexadecimal digits.
func IsAppID(text string) bool {
	digits, ok := strings.CutPrefix(text, "wx")
	return ok && len(digits) == 16 && strings.Trim(digits, "0123456789abcdef") == ""
}

// Parse reads a secret's text. It applies [Trim] to the text, its names and its
// values. The error is an [*Error] and repeats nothing of the secret.
func Parse(text string) (Apps, error) {
	apps, problem := parse(text)
	if problem != "" {
		return Apps{}, &Error{Reason: "malformed: " + problem}
	}
	return apps, nil
}

func parse(text string) (_ Apps, problem string) {
	var raw map[string]jsontext.Value
	if json.Unmarshal([]byte(Trim(text)), &raw) != nil || raw == nil {
		return Apps{}, "not a JSON object"
	}
	fields, apps := map[string]jsontext.Value{}, 0
	for name, value := range raw {
		name = Trim(name)
		if _, duplicate := fields[name]; duplicate {
			return Apps{}, "a name occurs twice"
		}
		fields[name] = value
		if IsAppID(name) {
			apps++
		}
	}
	_, hasAppID := fields["appid"]
	_, hasSecret := fields["secret"]
	switch {
	case apps == 0:
		return parseOne(fields)
	case hasAppID || hasSecret:
		return Apps{}, "both forms at once"
	case apps < len(fields):
		return Apps{}, "a name that is not an appid, among several mini-programs"
	case apps > maxApps:
		return Apps{}, "more than 50 mini-programs"
	}
	return parseSeveral(fields)
}

// parseOne reads {"appid":"wx…","secret":"…"}. It ignores other names.
func parseOne(fields map[string]jsontext.Value) (_ Apps, problem string) {
	appID, problem := value(fields, "appid")
	if problem != "" {
		return Apps{}, problem
	}
	secret, problem := value(fields, "secret", "appsecret")
	switch {
	case problem != "":
		return Apps{}, problem
	case appID == "":
		return Apps{}, "appid is empty"
	case secret == "":
		return Apps{}, "secret is empty"
	case !IsAppID(appID):
		return Apps{}, "appid must be wx and 16 lower-case hexadecimal digits"
	}
	return Apps{map[string]wechat.Credentials{appID: credentials(appID, secret)}}, ""
}

// parseSeveral reads {"wx…":"secret","wx…":"secret"}. It accepts an empty value,
// so that only that mini-program is misconfigured.
func parseSeveral(fields map[string]jsontext.Value) (_ Apps, problem string) {
	apps := Apps{map[string]wechat.Credentials{}}
	for appID, raw := range fields {
		secret, ok := text(raw)
		if !ok {
			return Apps{}, "a secret is not a string"
		}
		apps.byID[appID] = credentials(appID, secret)
	}
	return apps, ""
}

func credentials(appID, secret string) wechat.Credentials {
	return wechat.Credentials{AppID: appID, Secret: wechat.AppSecret{Value: redacted.New(secret)}}
}

// value returns a field's value. If the field is missing, but one of its other names
// or a spelling in another case is present, the problem says so.
func value(fields map[string]jsontext.Value, name string, others ...string) (_, problem string) {
	raw, ok := fields[name]
	if !ok {
		for written := range fields {
			for _, other := range append(others, name) {
				if strings.EqualFold(written, other) {
					return "", "the name " + name + " is spelled differently"
				}
			}
		}
		return "", name + " is missing"
	}
	value, ok := text(raw)
	if !ok {
		return "", name + " is not a string"
	}
	return value, ""
}

// text returns a JSON string's value.
func text(raw jsontext.Value) (value string, ok bool) {
	ok = raw.Kind() == jsontext.KindString && json.Unmarshal(raw, &value) == nil
	return Trim(value), ok
}

// Trim removes what copying and pasting leaves around a value: white space and byte
// order marks.
func Trim(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
}
