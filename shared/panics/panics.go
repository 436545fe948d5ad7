// Package panics turns a panic into an error that may be logged. What a panic
// says may hold data, and where nobody recovers it, Go prints it and ends the
// process.
package panics

import (
	"fmt"
	"runtime"
	"strings"
)

// Error says where a panic happened, and not what it said.
type Error struct{ at string }

func (e *Error) Error() string { return "panic at " + e.at }

// Recover, deferred, makes err the *Error of a panic, where there is one.
func Recover(err *error) {
	if recover() != nil {
		*err = &Error{origin()}
	}
}

// origin is the place in the code that panicked.
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
