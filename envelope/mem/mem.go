// Package mem keeps wrapping keys in memory, for tests. It is strict: a wrapped key is a random handle, and unwrapping
// compares everything it was made with. It can be told to fail any call, and to disable its keys.
package mem

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"coffer"
	"coffer/envelope"
	"coffer/internal/fault"
)

// Keys keeps two wrapping keys, one for each recipient. The zero Keys is ready.
type Keys struct {
	// Fault, if set, counts and fails calls: envelope.Generate, envelope.Wrap and envelope.Unwrap. Set it before the first call.
	Fault *fault.Injector

	mu       sync.Mutex
	disabled map[string]bool // by recipient
	wrapped  map[string]entry
}

// entry is what a handle stands for.
type entry struct {
	recipient string
	context   []byte
	key       []byte
}

var _ envelope.Keys = (*Keys)(nil)

const provider = "mem"

// Disable makes the wrapping key of a recipient unusable, as an administrator can, until Enable.
func (k *Keys) Disable(recipient string) { k.set(recipient, true) }

// Enable makes the wrapping key of a recipient usable again.
func (k *Keys) Enable(recipient string) { k.set(recipient, false) }

func (k *Keys) set(recipient string, disabled bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.disabled == nil {
		k.disabled = map[string]bool{}
	}
	k.disabled[recipient] = disabled
}

// Generate implements [envelope.Keys].
func (k *Keys) Generate(ctx context.Context, c envelope.Context) (envelope.DataKey, error) {
	key := random(envelope.KeySize)
	wrapped, err := k.wrap(ctx, "envelope.Generate", key, c)
	if err != nil {
		return envelope.DataKey{}, err
	}
	return envelope.DataKey{Key: key, Wrapped: wrapped}, nil
}

// Wrap implements [envelope.Keys].
func (k *Keys) Wrap(ctx context.Context, key []byte, c envelope.Context) ([]envelope.Wrapped, error) {
	if len(key) != envelope.KeySize {
		return nil, fmt.Errorf("data key of %d bytes: %w", len(key), coffer.ErrInvalid)
	}
	return k.wrap(ctx, "envelope.Wrap", key, c)
}

func (k *Keys) wrap(ctx context.Context, op string, key []byte, c envelope.Context) ([]envelope.Wrapped, error) {
	encoded, err := c.Encode()
	if err != nil {
		return nil, err
	}
	var wrapped []envelope.Wrapped
	err = k.call(ctx, op, func() error {
		for _, recipient := range []string{envelope.ForReveal, envelope.ForVerify} {
			if k.disabled[recipient] {
				return fmt.Errorf("wrapping key is disabled: %w", coffer.ErrUnavailable)
			}
			wrapped = append(wrapped, envelope.Wrapped{Recipient: recipient, Provider: provider, KeyID: keyID(recipient), Blob: random(40)})
		}
		if k.wrapped == nil {
			k.wrapped = map[string]entry{}
		}
		for _, w := range wrapped {
			k.wrapped[string(w.Blob)] = entry{recipient: w.Recipient, context: encoded, key: bytes.Clone(key)}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return wrapped, nil
}

// Unwrap implements [envelope.Keys].
func (k *Keys) Unwrap(ctx context.Context, w envelope.Wrapped, c envelope.Context) (envelope.DataKey, error) {
	encoded, err := c.Encode()
	if err != nil {
		return envelope.DataKey{}, err
	}
	var dk envelope.DataKey
	err = k.call(ctx, "envelope.Unwrap", func() error {
		if w.Provider != provider || w.KeyID != keyID(w.Recipient) {
			return fmt.Errorf("wrapping key: %w", coffer.ErrNotFound)
		}
		if k.disabled[w.Recipient] {
			return fmt.Errorf("wrapping key is disabled: %w", coffer.ErrUnavailable)
		}
		e, ok := k.wrapped[string(w.Blob)]
		if !ok || e.recipient != w.Recipient || !bytes.Equal(e.context, encoded) {
			return fmt.Errorf("wrapped key does not open: %w", coffer.ErrCorrupt)
		}
		dk = envelope.DataKey{Key: bytes.Clone(e.key)}
		return nil
	})
	if err != nil {
		return envelope.DataKey{}, err
	}
	return dk, nil
}

// call runs effect under the lock, through the injector.
func (k *Keys) call(ctx context.Context, op string, effect func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return k.Fault.Call(op, func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		return effect()
	})
}

func keyID(recipient string) string { return "mem-" + recipient }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
