// Package redacted holds values that a program must use and must never print:
// the app secret, session keys.
package redacted

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const shown = "[redacted]"

// String is a string that shows itself as "[redacted]" to fmt, log/slog and
// encoding/json, under every verb and at every depth. Only Reveal gives the
// value.
//
// The value stands behind a pointer because fmt calls no methods on unexported
// struct fields: there it walks the memory, and finds an address.
type String struct {
	value *string
}

// New returns a String that holds value.
func New(value string) String { return String{&value} }

// Reveal returns the value, for the one place that has to send or use it.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Equal reports whether both hold the same value, in a time that depends on
// their lengths alone.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// Format implements fmt.Formatter: every verb and flag shows the same.
func (String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, shown) }

// String implements fmt.Stringer, for panics and for callers that ask directly.
func (String) String() string { return shown }

// LogValue implements slog.LogValuer.
func (String) LogValue() slog.Value { return slog.StringValue(shown) }

// MarshalText implements encoding.TextMarshaler, which encoding/json takes too.
func (String) MarshalText() ([]byte, error) { return []byte(shown), nil }
