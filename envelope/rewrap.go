package envelope

import (
	"bytes"
	"context"
	"crypto/hmac"
	"fmt"

	"coffer"
)

// Rewrap returns the header of the same message with its data key wrapped anew, as keys wraps now, for all recipients that keys
// wraps for. Boxes, streams and keyed hashes of the message stay as they are and open with the old header and the new. The new
// header is returned only after every wrapped form in it was unwrapped again and opened the message: replacing the old one by it
// loses nothing. The old header opens the message until its wrapping key is destroyed.
//
// The encryption context is the header's own. The errors are those of [Open] and of keys.
func Rewrap(ctx context.Context, keys Keys, header []byte) ([]byte, error) {
	h, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	c := h.encryptionContext()
	dk, err := h.unwrap(ctx, keys, c, ForReveal)
	if err != nil {
		return nil, err
	}
	defer dk.Wipe()
	o, err := h.open(header, dk.Key)
	if err != nil {
		return nil, err
	}
	defer o.Wipe()
	wrapped, err := keys.Wrap(ctx, dk.Key, c)
	if err != nil {
		return nil, fmt.Errorf("wrap the data key: %w", err)
	}
	recipients, ok := inOrder(wrapped)
	if !ok {
		return nil, fmt.Errorf("wrap the data key: the keeper's answer is out of limits: %w", coffer.ErrInvalid)
	}
	raw, err := assemble(h.core, recipients, h.commitment, o.m.prk)
	if err != nil {
		return nil, err
	}
	for _, w := range recipients {
		w.Blob = bytes.Clone(w.Blob)
		again, err := keys.Unwrap(ctx, w, c)
		if err != nil {
			return nil, fmt.Errorf("unwrap what was wrapped anew: %w", err)
		}
		same := hmac.Equal(again.Key, dk.Key)
		again.Wipe()
		if !same {
			return nil, fmt.Errorf("unwrap what was wrapped anew: another key: %w", coffer.ErrCorrupt)
		}
	}
	return raw, nil
}

// Recipients returns what a header says in the clear about its wrapped keys, without their blobs. Nothing of it is
// authenticated before the message is opened. The errors are those of [Open] about the form of a header.
func Recipients(header []byte) ([]Wrapped, error) {
	h, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	for i := range h.recipients {
		h.recipients[i].Blob = nil
	}
	return h.recipients, nil
}

// encryptionContext returns the context of a parsed header.
func (h header) encryptionContext() Context {
	cur := &cursor{b: h.context}
	n := cur.number(2)
	c := make(Context, n)
	for range n {
		key := string(cur.field(2))
		c[key] = string(cur.field(2))
	}
	return c
}
