package panics

import (
	"errors"
	"strings"
	"testing"
)

// try calls do and recovers.
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

func TestErrorHasThePlaceOfThePanicAndNotItsValue(t *testing.T) {
	for name, do := range map[string]func() error{
		"a string":        func() error { panic("canary") },
		"an error":        func() error { panic(errors.New("canary")) },
		"nil":             func() error { panic(nil) },
		"a runtime error": func() error { return deep(0) },
		"a deep stack":    func() error { return deep(100) },
	} {
		err := try(do)
		const want = "panic at wechat-phone/shared/panics."
		if e, ok := errors.AsType[*Error](err); !ok || strings.Contains(err.Error(), "canary") ||
			!strings.HasPrefix(e.Error(), want) {
			t.Errorf("%s: got error %v, want it to begin with %q and not to hold the value", name, err, want)
		}
	}
}

func TestRecoverKeepsAnOrdinaryError(t *testing.T) {
	for _, want := range []error{errors.New("ordinary"), nil} {
		if got := try(func() error { return want }); got != want {
			t.Errorf("got error %v, want %v", got, want)
		}
	}
}
