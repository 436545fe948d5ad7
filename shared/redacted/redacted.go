// Package redacted holds values that a program uses and must never print, such as
// the app secret and session keys.
package redacted

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const placeholder = "[redacted]"

// Value is a string that fmt, log/slog and encoding/json print as "[redacted]", at
// every depth and with every verb. (%T prints the type, and %p an address.) Only
// [Value.Reveal] returns the string.
//
// The string is behind a pointer because fmt calls no methods on unexported struct
// fields. It prints their memory instead, which here holds only an address.
type Value struct {
	value *string
}

// New returns a [Value] that holds value.
func New(value string) Value { return Value{&value} }

// Reveal returns the string. Call it only where the string is sent or used.
func (v Value) Reveal() string {
	if v.value == nil {
		return ""
	}
	return *v.value
}

// Equal reports whether both hold the same string. Its time depends only on their
// lengths.
func (v Value) Equal(other Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(other.Reveal())) == 1
}

// Format implements [fmt.Formatter]. It ignores the verb and its flags.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, placeholder) }

// String implements [fmt.Stringer], which a panic uses.
func (Value) String() string { return placeholder }

// LogValue implements [slog.LogValuer].
func (Value) LogValue() slog.Value { return slog.StringValue(placeholder) }

// MarshalText implements [encoding.TextMarshaler], which encoding/json also uses.
func (Value) MarshalText() ([]byte, error) { return []byte(placeholder), nil }
