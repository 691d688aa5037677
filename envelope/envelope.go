// Package envelope seals sensitive values: envelope encryption with a data key per message (a finding, a kept original, a
// token set), wrapped by a key that never leaves its keeper. The bytes are specified in docs/format-seal.md.
//
// Trust: whoever holds the wrapping key and both the header and the boxes can read. The header lives apart from the boxes, so
// that destroying it makes every copy of the boxes, backups included, unreadable.
package envelope

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"coffer"
)

// Context is the encryption context of a data key: authenticated, not secret. It is readable in CloudTrail, so it holds opaque
// ids only, never a name, key or value.
type Context map[string]string

// Limits of a Context.
const (
	MaxContextEntries = 16
	MaxContextKey     = 128 // bytes; at least one
	MaxContextValue   = 256 // bytes
)

// Encode returns the canonical bytes of the context, as they stand in a header and as adapters authenticate them: the number
// of entries, then each key and value with its length, in order of the keys' bytes; numbers are 16 bits, big-endian. Two
// contexts are equal exactly when these are; nil is the empty context. Beyond the limits it returns an error wrapping
// coffer.ErrInvalid.
func (c Context) Encode() ([]byte, error) {
	if len(c) > MaxContextEntries {
		return nil, fmt.Errorf("encryption context of %d entries, at most %d: %w", len(c), MaxContextEntries, coffer.ErrInvalid)
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(len(c)))
	for _, k := range slices.Sorted(maps.Keys(c)) {
		if k == "" || len(k) > MaxContextKey || len(c[k]) > MaxContextValue {
			return nil, fmt.Errorf("encryption context: entry out of limits: %w", coffer.ErrInvalid)
		}
		b = appendField16(b, k)
		b = appendField16(b, c[k])
	}
	return b, nil
}

// The recipients for which a data key can be wrapped.
const (
	ForReveal = "reveal"
	ForVerify = "verify" // may be configured, so that verification is a separate privilege
)

// Limits of what a Keys returns.
const (
	KeySize       = 32 // bytes of a data key
	MaxRecipients = 4  // wrapped forms of one data key
	MaxProvider   = 16 // bytes
	MaxKeyID      = 256
	MaxBlob       = 4096
	MaxRequest    = 64
)

// Wrapped is a data key as its keeper wrapped it.
type Wrapped struct {
	Recipient string // ForReveal or ForVerify
	Provider  string // "keyfile", "mem", "aws-kms"; 1 to MaxProvider bytes
	KeyID     string // names the wrapping key for its provider; at most MaxKeyID bytes
	Blob      []byte // 1 to MaxBlob bytes
}

// DataKey is a fresh or unwrapped data key: KeySize bytes, and its wrapped forms. An unwrapped one need not have these.
type DataKey struct {
	Key     []byte
	Wrapped []Wrapped
	// Request is the keeper's own id of the call that gave the key, by which its log and Coffer's can be compared; at most MaxRequest
	// bytes, "" for a keeper without one.
	Request string
}

// Wipe overwrites the key.
func (k DataKey) Wipe() { clear(k.Key) }

// Keys keeps wrapping keys. The suite in envelopetest is its specification.
//
// Generate returns a fresh data key with 1 to MaxRecipients wrapped forms, one at least ForReveal, and no two of the same
// recipient, provider and key. It is durable in the sense that a Wrapped it returned can be unwrapped by every process with
// the same configuration until the wrapping key is destroyed. Unwrap demands the same context, exactly, and the recipient,
// provider and key id that Generate gave; a wrong context, an altered blob, an unknown provider or key gives an error
// wrapping coffer.ErrCorrupt or coffer.ErrNotFound (the latter when it is known that the key is not there) and never a key.
// Wrap wraps a data key that Generate made earlier for the same context, as Generate would wrap it now: with the same promises,
// under the current wrapping keys. A key of another size than KeySize gives coffer.ErrInvalid.
//
// Throttling, outages and disabled keys give coffer.ErrUnavailable, a context out of limits coffer.ErrInvalid. The caller owns
// the returned key, and keeps the one it gave. All methods may be called concurrently.
//
// Trust: a Keys sees every data key, so it is trusted with all that is sealed; what it returns from Unwrap is nevertheless
// compared with the header's commitment.
type Keys interface {
	Generate(ctx context.Context, c Context) (DataKey, error)
	Unwrap(ctx context.Context, w Wrapped, c Context) (DataKey, error)
	Wrap(ctx context.Context, key []byte, c Context) ([]Wrapped, error)
}
