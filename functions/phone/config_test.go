package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	got, err := readConfig(func(name string) string { return map[string]string{"WECHAT_SECRET_ID": "id"}[name] })
	want := settings{
		secretID: "id", apiBaseURL: "https://api.weixin.qq.com",
		timeout: 4 * time.Second, watermarkMaxAge: 10 * time.Minute,
		tokenLifetime: 15 * time.Minute, tokenRenewal: 720 * time.Hour,
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for value, verify := range map[string]bool{"": false, "off": false, "on": true} {
		got, err := readConfig(func(name string) string {
			return map[string]string{"WECHAT_SECRET_ID": "id", "VERIFY_ENCRYPTED_DATA": value}[name]
		})
		if err != nil || got.verify != verify {
			t.Errorf("VERIFY_ENCRYPTED_DATA=%s: got verify %v, %v, want %v", value, got.verify, err, verify)
		}
	}
}

// The tests of docs/checks compare template.yaml with the page.
func TestDeployPageHasTheVariablesAndDefaultsOfTheCode(t *testing.T) {
	const name = "docs/deploy.md"
	text, err := os.ReadFile("../../" + name)
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| .* \\| (?:`(.*)`|[^`|]*) \\|$")
	defaults := map[string]string{}
	for _, match := range row.FindAllStringSubmatch(string(text), -1) {
		defaults[match[1]] = match[2]
	}
	documented := slices.Sorted(maps.Keys(defaults))
	defaults["WECHAT_SECRET_ID"] = "id" // it has no default

	read := map[string]bool{}
	got, err := readConfig(func(name string) string { read[name] = true; return defaults[name] })
	if err != nil {
		t.Errorf("%s: got %v for the documented defaults, want no error", name, err)
	}
	want, err := readConfig(func(name string) string { return map[string]string{"WECHAT_SECRET_ID": "id"}[name] })
	if err != nil || got != want {
		t.Errorf("%s: got the defaults %+v, want the code's %+v (%v)", name, got, want, err)
	}
	if wanted := slices.Sorted(maps.Keys(read)); !slices.Equal(documented, wanted) {
		t.Errorf("%s: got the variables %v, want %v", name, documented, wanted)
	}
}
