package panics

import (
	"errors"
	"strings"
	"testing"
)

// try calls do as whoever recovers does.
func try(do func() error) (err error) {
	defer Recover(&err)
	return do()
}

func deep(n int) error {
	if n > 0 {
		return deep(n - 1)
	}
	var none []string
	return errors.New(none[n])
}

func TestPanicIsAnErrorOfItsPlaceAlone(t *testing.T) {
	for name, do := range map[string]func() error{
		"a text":          func() error { panic("canary") },
		"an error":        func() error { panic(errors.New("canary")) },
		"nil":             func() error { panic(nil) },
		"of the runtime":  func() error { return deep(0) },
		"deep in a stack": func() error { return deep(100) },
	} {
		err := try(do)
		if e, ok := errors.AsType[*Error](err); !ok || strings.Contains(err.Error(), "canary") ||
			!strings.HasPrefix(e.Error(), "panic at wechat-phone/shared/panics.") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatDoesNotPanicStaysAsItIs(t *testing.T) {
	failure := errors.New("its own")
	if err := try(func() error { return failure }); err != failure {
		t.Errorf("%v", err)
	}
	if err := try(func() error { return nil }); err != nil {
		t.Errorf("%v", err)
	}
}
