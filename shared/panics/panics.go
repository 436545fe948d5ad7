// Package panics turns a panic into an error that is safe to log. The value of a
// panic may hold personal data, and Go prints it if nothing recovers the panic.
package panics

import (
	"fmt"
	"runtime"
	"strings"
)

// Error says where a panic happened. It does not hold the panic's value.
type Error struct{ at string }

func (e *Error) Error() string { return "panic at " + e.at }

// Recover sets err to an [*Error] if the function that defers it panics.
func Recover(err *error) {
	if recover() != nil {
		*err = &Error{origin()}
	}
}

// origin returns the function and line that panicked.
func origin() string {
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
		if !more {
			return "unknown"
		}
	}
}
