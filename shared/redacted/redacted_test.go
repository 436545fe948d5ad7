package redacted_test

import (
	"bytes"
	"encoding/json"
	jsonv2 "encoding/json/v2"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"wechat-phone/shared/redacted"
)

const canary = "canary-7d1f"

type exported struct {
	Value redacted.Value
	List  []redacted.Value
	Map   map[string]redacted.Value
}

type unexported struct{ value redacted.Value }

type named struct{ redacted.Value }

var verbs = []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%10v", "% x", "%w"}

func TestValueIsNeverPrinted(t *testing.T) {
	s := redacted.New(canary)
	values := map[string]any{
		"itself":     s,
		"pointer":    &s,
		"embedded":   named{s},
		"exported":   exported{s, []redacted.Value{s}, map[string]redacted.Value{"k": s}},
		"unexported": unexported{s},
		"in pointer": &unexported{s},
	}
	for name, v := range values {
		var out bytes.Buffer
		for _, verb := range verbs {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, fmt.Errorf("wrapped: %v", v), errors.New(fmt.Sprint(v)))
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("line", "value", v, slog.Group("group", "value", v))
		}
		marshalV2 := func(v any) ([]byte, error) { return jsonv2.Marshal(v) }
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, marshalV2} {
			text, err := marshal(v)
			// encoding/json/v2 refuses a struct without exported fields. That leaks nothing.
			if err != nil && !strings.Contains(name, "unexported") && !strings.Contains(name, "in pointer") {
				t.Errorf("%s: marshaling: got error %v, want none", name, err)
			}
			out.Write(text)
		}
		func() {
			defer func() { fmt.Fprint(&out, recover()) }()
			panic(v)
		}()
		for _, leak := range []string{
			canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary),
			fmt.Sprintf("%d", []byte(canary)),
		} {
			if strings.Contains(out.String(), leak) {
				t.Errorf("%s: got %q in the output, want [redacted]", name, leak)
			}
		}
	}
	for _, got := range []string{fmt.Sprint(s), s.String(), fmt.Sprintf("%#v", s)} {
		if got != "[redacted]" {
			t.Errorf("got %q, want [redacted]", got)
		}
	}
	if text, err := jsonv2.Marshal(s); err != nil || string(text) != `"[redacted]"` {
		t.Errorf("as JSON: got %s, error %v, want \"[redacted]\"", text, err)
	}
}

func TestEqualComparesValues(t *testing.T) {
	for _, tt := range []struct {
		name  string
		other redacted.Value
		want  bool
	}{
		{"the same string", redacted.New(strings.Clone(canary)), true},
		{"another string", redacted.New("other"), false},
		{"the zero Value", redacted.Value{}, false},
	} {
		if got := redacted.New(canary).Equal(tt.other); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestZeroValueIsEmpty(t *testing.T) {
	if got := (redacted.Value{}).Reveal(); got != "" {
		t.Errorf("got %q, want an empty string", got)
	}
}
