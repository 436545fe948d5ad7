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
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%10v", "% x", "%w"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, fmt.Errorf("wrapped: %v", v), errors.New(fmt.Sprint(v)))
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("line", "value", v, slog.Group("group", "value", v))
		}
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, func(v any) ([]byte, error) { return jsonv2.Marshal(v) }} {
			text, err := marshal(v)
			// json refuses a struct without exported fields, which is no leak.
			if err != nil && !strings.Contains(name, "unexported") && !strings.Contains(name, "in pointer") {
				t.Errorf("%s: %v", name, err)
			}
			out.Write(text)
		}
		func() {
			defer func() { fmt.Fprint(&out, recover()) }()
			panic(v)
		}()
		leaks := []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary), fmt.Sprintf("%d", []byte(canary))}
		for _, leak := range leaks {
			if strings.Contains(out.String(), leak) {
				t.Errorf("%s: the value was printed", name)
			}
		}
	}
	for _, got := range []string{fmt.Sprint(s), s.String(), fmt.Sprintf("%#v", s)} {
		if got != "[redacted]" {
			t.Errorf("printed %q, want [redacted]", got)
		}
	}
	if text, err := jsonv2.Marshal(s); err != nil || string(text) != `"[redacted]"` {
		t.Errorf("JSON %s, %v", text, err)
	}
}

func TestEqualComparesValues(t *testing.T) {
	if !redacted.New(canary).Equal(redacted.New(strings.Clone(canary))) {
		t.Error("equal values differ")
	}
	if redacted.New(canary).Equal(redacted.New("other")) || redacted.New(canary).Equal(redacted.Value{}) {
		t.Error("different values are equal")
	}
	if (redacted.Value{}).Reveal() != "" {
		t.Error("the zero Value holds a value")
	}
}
