package main

import (
	"os"
	"path/filepath"
	"testing"

	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
)

func TestEventFiles(t *testing.T) {
	t.Parallel()
	r := rig.Raise(t, func(c *stage.Config) { c.Env = []string{"WATERMARK_MAX_AGE=0"} })
	want := map[string]struct {
		status int
		error  string
	}{
		"phone.json":         {200, ""},
		"form.json":          {200, ""},
		"base64.json":        {200, ""},
		"phone-code.json":    {200, ""},
		"base-path.json":     {200, ""},
		"function-url.json":  {200, ""},
		"payload-1.0.json":   {200, ""},
		"rest-api.json":      {200, ""},
		"used-code.json":     {400, "code_rejected"},
		"undecryptable.json": {422, "undecryptable"},
		"missing-field.json": {400, "invalid_request"},
	}
	files, err := filepath.Glob("../../events/*.json")
	if err != nil || len(files) != len(want)+1 {
		t.Errorf("got %d files in events/, want %d events and env.json: %v", len(files), len(want), err)
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
		for range 2 { // their codes do not expire
			got := r.Invoke(string(event))
			expected, ok := want[name]
			if !ok || got.Status != expected.status || got.Error != expected.error {
				t.Errorf("%s: got %d %s, want %+v", name, got.Status, got.Error, expected)
			}
			if got.Status == 200 && got.Phone != "13500001234" {
				t.Errorf("%s: got %s, want the number 13500001234", name, got.Body)
			}
		}
	}
}
