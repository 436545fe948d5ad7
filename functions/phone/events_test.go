package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

func TestEventFiles(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Tokens, c.Env = true, []string{"WATERMARK_MAX_AGE=0"} })
	const number, token = `"phoneNumber":"13500001234"`, `"openid":"o-openid-of-events","token":"ey`
	want := map[string]struct {
		status int
		part   string // of the answer
	}{
		"phone.json":                {200, number},
		"form.json":                 {200, number},
		"base64.json":               {200, number},
		"phone-code.json":           {200, number},
		"base-path.json":            {200, number},
		"function-url.json":         {200, number},
		"payload-1.0.json":          {200, number},
		"rest-api.json":             {200, number},
		"direct-phone.json":         {200, number},
		"direct-login.json":         {200, token},
		"login.json":                {200, token},
		"login-renewal.json":        {200, `"renewed":false,"reason":"invalid"`}, // a file cannot have a token that is valid
		"openid-configuration.json": {200, `"issuer":"` + r.URL + `"`},
		"jwks.json":                 {200, `{"keys":[{"kty":"RSA",`},
		"used-code.json":            {400, `"error":"code_rejected"`},
		"undecryptable.json":        {422, `"error":"undecryptable"`},
		"missing-field.json":        {400, `"error":"invalid_request"`},
	}
	files, err := filepath.Glob("../../events/*.json")
	if err != nil || len(files) != len(want)+1 { // and env.json
		t.Errorf("got %d files in events/, error %v, want %d", len(files), err, len(want)+1)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if name == "env.json" {
			continue
		}
		event, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		expected, ok := want[name]
		for range 2 { // their codes do not expire
			got := r.Invoke(string(event))
			if !ok || got.Status != expected.status || !strings.Contains(got.Body, expected.part) {
				t.Errorf("%s: got %d %s, want %+v", name, got.Status, got.Body, expected)
			}
		}
	}
}
