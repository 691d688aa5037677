// Package envelope seals sensitive values: envelope encryption with a data key per message (a finding, a kept original, a
// token set), wrapped by a key that never leaves its keeper. The bytes are specified in docs/format-seal.md.
//
// Trust: whoever holds the wrapping key and both the header and the boxes can read. The header lives apart from the boxes, so
// that destroying it makes every copy of the boxes, backups included, unreadable.
package envelope

import "context"

// Context is the encryption context of a data key: authenticated, not secret. It is readable in CloudTrail, so it holds opaque
// ids only, never a name, key or value.
type Context map[string]string

// The recipients for which a data key can be wrapped.
const (
	ForReveal = "reveal"
	ForVerify = "verify" // may be configured, so that verification is a separate privilege
)

// Wrapped is a data key as its keeper wrapped it.
type Wrapped struct {
	Recipient string // ForReveal or ForVerify
	Provider  string // "keyfile", "mem", "aws-kms"
	KeyID     string // names the wrapping key for its provider; at most 256 bytes
	Blob      []byte // at most 4096 bytes
}

// DataKey is a fresh or unwrapped data key: 32 bytes, and its wrapped forms.
type DataKey struct {
	Key     []byte
	Wrapped []Wrapped
}

// Wipe overwrites the key.
func (k DataKey) Wipe() { clear(k.Key) }

// Keys keeps wrapping keys. The suite in envelopetest is its specification.
//
// Generate is durable in the sense that a Wrapped it returned can be unwrapped by every process with the same configuration
// until the wrapping key is destroyed. Unwrap demands the same context, exactly; a wrong context, an altered blob, an
// unknown provider or key gives an error wrapping coffer.ErrCorrupt or coffer.ErrNotFound and never a key. Throttling and
// outages give coffer.ErrUnavailable. Both methods may be called concurrently.
type Keys interface {
	Generate(ctx context.Context, c Context) (DataKey, error)
	Unwrap(ctx context.Context, w Wrapped, c Context) (DataKey, error)
}
