package coffer

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Plaintext is the only carrier of a sensitive value between packages. However it is printed, logged or marshalled it
// shows "[redacted]"; the bytes come out of [Plaintext.Expose] alone, so that a review can search for that name.
// A Plaintext shares its bytes when copied. It is not safe for concurrent use with Wipe.
type Plaintext struct {
	// The bytes are inside a function because package fmt does not ask the methods below in two cases: for the verb %p, and
	// for a Plaintext in an unexported field. It then prints what it finds by reflection, here an address.
	b func() []byte
}

// NewPlaintext takes ownership of b.
func NewPlaintext(b []byte) Plaintext { return Plaintext{func() []byte { return b }} }

// Expose returns the value's bytes. They belong to p: do not keep them beyond the operation, do not convert them to a string.
func (p Plaintext) Expose() []byte {
	if p.b == nil {
		return nil
	}
	return p.b()
}

// Len returns the number of bytes in the value.
func (p Plaintext) Len() int { return len(p.Expose()) }

// Wipe overwrites the bytes. It is best effort: the runtime may have copied them before.
func (p Plaintext) Wipe() { clear(p.Expose()) }

// String implements [fmt.Stringer] without showing the value.
func (Plaintext) String() string { return redacted }

// GoString implements [fmt.GoStringer] without showing the value.
func (Plaintext) GoString() string { return redacted }

// Format implements [fmt.Formatter] for every verb without showing the value.
func (Plaintext) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer] without showing the value.
func (Plaintext) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler] without showing the value; encoding/json uses it too.
func (Plaintext) MarshalText() ([]byte, error) { return []byte(redacted), nil }
