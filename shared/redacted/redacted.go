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

// Value is a string that shows itself as "[redacted]" to fmt, log/slog and
// encoding/json, under every verb (but %T and %p, which show type and address)
// and at every depth. Only Reveal gives the value.
//
// The value stands behind a pointer because fmt calls no methods on unexported
// struct fields: there it walks the memory, and finds an address.
type Value struct {
	value *string
}

// New returns a Value that holds value.
func New(value string) Value { return Value{&value} }

// Reveal returns the value, for the one place that has to send or use it.
func (v Value) Reveal() string {
	if v.value == nil {
		return ""
	}
	return *v.value
}

// Equal reports whether both hold the same value, in a time that depends on
// their lengths alone.
func (v Value) Equal(other Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(other.Reveal())) == 1
}

// Format implements fmt.Formatter: every verb and flag shows the same.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, shown) }

// String implements fmt.Stringer, for panics and for callers that ask directly.
func (Value) String() string { return shown }

// LogValue implements slog.LogValuer.
func (Value) LogValue() slog.Value { return slog.StringValue(shown) }

// MarshalText implements encoding.TextMarshaler, which encoding/json takes too.
func (Value) MarshalText() ([]byte, error) { return []byte(shown), nil }
