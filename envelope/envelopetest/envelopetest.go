// Package envelopetest is the specification of [envelope.Keys] as tests. Every adapter runs it.
package envelopetest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"coffer"
	"coffer/envelope"
)

// Exception is a known difference of a look-alike from what it plays, which the suite then lets pass. No keeper that anybody seals
// with has one.
type Exception string

// The exceptions.
const (
	// JoinsContext: the entries of a context are authenticated without the boundaries between them.
	JoinsContext Exception = "joins the context's entries"
	// RefusesForeignBlobs: a blob that is not of the key named is refused as if permission were missing: coffer.ErrUnavailable.
	RefusesForeignBlobs Exception = "refuses foreign blobs"
	// Slow: each call takes milliseconds, so bits and goroutines are sampled.
	Slow Exception = "slow"
)

// Test runs the suite. open returns a Keys; all that it returns within one test must have the same configuration, because
// what one wrapped another must unwrap.
func Test(t *testing.T, open func(t *testing.T) envelope.Keys, except ...Exception) {
	bits, stride, goroutines, rounds := 8, 1, 8, 20
	if slices.Contains(except, Slow) {
		bits, stride, goroutines, rounds = 1, 8, 4, 5
	}
	refused := func(t *testing.T, keys envelope.Keys, w envelope.Wrapped, c envelope.Context, what string) {
		t.Helper()
		dk, err := keys.Unwrap(t.Context(), w, c)
		ok := errors.Is(err, coffer.ErrCorrupt) || errors.Is(err, coffer.ErrNotFound) ||
			errors.Is(err, coffer.ErrUnavailable) && slices.Contains(except, RefusesForeignBlobs)
		if !ok || dk.Key != nil {
			t.Fatalf("%s (recipient %s): got error %v, and a key: %v", what, w.Recipient, err, dk.Key != nil)
		}
	}
	c := envelope.Context{"app": "coffer", "finding": "0a1b2c", "purpose": "value"}

	t.Run("Generate", func(t *testing.T) {
		keys := open(t)
		seen := map[string]bool{}
		for range 20 {
			dk, err := keys.Generate(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if len(dk.Key) != envelope.KeySize || seen[string(dk.Key)] || bytes.Equal(dk.Key, make([]byte, envelope.KeySize)) {
				t.Fatal("the data key is not fresh")
			}
			seen[string(dk.Key)] = true
			if len(dk.Wrapped) < 1 || len(dk.Wrapped) > envelope.MaxRecipients {
				t.Fatalf("%d wrapped forms", len(dk.Wrapped))
			}
			reveal := false
			for i, w := range dk.Wrapped {
				reveal = reveal || w.Recipient == envelope.ForReveal
				if w.Recipient != envelope.ForReveal && w.Recipient != envelope.ForVerify {
					t.Errorf("recipient %q", w.Recipient)
				}
				if w.Provider == "" || len(w.Provider) > envelope.MaxProvider || len(w.KeyID) > envelope.MaxKeyID ||
					len(w.Blob) == 0 || len(w.Blob) > envelope.MaxBlob {
					t.Errorf("wrapped form %d is out of limits", i)
				}
				if bytes.Contains(w.Blob, dk.Key) {
					t.Error("the blob holds the data key in the clear")
				}
				if seen[string(w.Blob)] {
					t.Error("a blob came twice")
				}
				seen[string(w.Blob)] = true
				if slices.ContainsFunc(dk.Wrapped[:i], func(o envelope.Wrapped) bool {
					return o.Recipient == w.Recipient && o.Provider == w.Provider && o.KeyID == w.KeyID
				}) {
					t.Error("two wrapped forms of one recipient, provider and key")
				}
			}
			if !reveal {
				t.Error("no form for reveal")
			}
		}
	})

	t.Run("Unwrap", func(t *testing.T) {
		dk := generate(t, open(t), c)
		other := open(t)
		for _, w := range dk.Wrapped {
			for range 2 {
				got, err := other.Unwrap(t.Context(), w, maps.Clone(c))
				if err != nil {
					t.Fatalf("recipient %s: %v", w.Recipient, err)
				}
				if !bytes.Equal(got.Key, dk.Key) {
					t.Fatalf("recipient %s: another key", w.Recipient)
				}
				got.Wipe() // the caller's own copy
			}
		}
	})

	t.Run("Wrap", func(t *testing.T) {
		keys, other := open(t), open(t)
		dk := generate(t, keys, c)
		key := bytes.Clone(dk.Key)
		wrapped, err := other.Wrap(t.Context(), key, c)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(key, dk.Key) {
			t.Error("the caller's key was changed")
		}
		clear(key)
		name := func(w envelope.Wrapped) string { return w.Recipient + " " + w.Provider + " " + w.KeyID }
		var want, got []string
		for i := range dk.Wrapped {
			want = append(want, name(dk.Wrapped[i]))
		}
		for _, w := range wrapped {
			got = append(got, name(w))
			again, err := keys.Unwrap(t.Context(), w, c)
			if err != nil || !bytes.Equal(again.Key, dk.Key) {
				t.Errorf("recipient %s: what was wrapped anew does not unwrap: %v", w.Recipient, err)
			}
			refused(t, keys, w, nil, "another context")
		}
		if slices.Sort(want); !slices.Equal(want, slices.Sorted(slices.Values(got))) {
			t.Errorf("wrapped anew for %q, generated for %q", got, want)
		}
		// The old forms stay good.
		if again, err := keys.Unwrap(t.Context(), dk.Wrapped[0], c); err != nil || !bytes.Equal(again.Key, dk.Key) {
			t.Errorf("the form of before: %v", err)
		}
		for _, n := range []int{0, 16, 31, 33} {
			if _, err := keys.Wrap(t.Context(), make([]byte, n), c); !errors.Is(err, coffer.ErrInvalid) {
				t.Errorf("a key of %d bytes: %v", n, err)
			}
		}
		if _, err := keys.Wrap(t.Context(), dk.Key, envelope.Context{"": ""}); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("a context out of limits: %v", err)
		}
	})

	t.Run("EmptyContext", func(t *testing.T) {
		keys := open(t)
		dk := generate(t, keys, nil)
		for _, same := range []envelope.Context{nil, {}} {
			if got, err := keys.Unwrap(t.Context(), dk.Wrapped[0], same); err != nil || !bytes.Equal(got.Key, dk.Key) {
				t.Errorf("nil and empty context differ: %v", err)
			}
		}
		refused(t, keys, dk.Wrapped[0], c, "a context where there was none")
	})

	t.Run("WrongContext", func(t *testing.T) {
		keys := open(t)
		dk := generate(t, keys, c)
		change := func(f func(envelope.Context)) envelope.Context {
			d := maps.Clone(c)
			f(d)
			return d
		}
		for name, d := range map[string]envelope.Context{
			"none":           nil,
			"one less":       change(func(d envelope.Context) { delete(d, "app") }),
			"one more":       change(func(d envelope.Context) { d["x"] = "" }),
			"another value":  change(func(d envelope.Context) { d["finding"] = "0a1b2d" }),
			"another case":   change(func(d envelope.Context) { d["app"] = "Coffer" }),
			"key's case":     change(func(d envelope.Context) { delete(d, "app"); d["App"] = "coffer" }),
			"swapped values": change(func(d envelope.Context) { d["app"], d["purpose"] = d["purpose"], d["app"] }),
			"moved boundary": change(func(d envelope.Context) { delete(d, "app"); d["appc"] = "offer" }),
			"trailing space": change(func(d envelope.Context) { d["app"] = "coffer " }),
			"joined entries": {"app": "coffer", "finding": "0a1b2cpurposevalue"},
			"value emptied":  change(func(d envelope.Context) { d["purpose"] = "" }),
			"key and value swapped": change(func(d envelope.Context) {
				delete(d, "app")
				d["coffer"] = "app"
			}),
		} {
			if slices.Contains(except, JoinsContext) && (name == "joined entries" || name == "moved boundary") {
				continue
			}
			for _, w := range dk.Wrapped {
				refused(t, keys, w, d, name)
			}
		}
	})

	t.Run("ContextLimits", func(t *testing.T) {
		keys := open(t)
		long := func(n int) string { return strings.Repeat("k", n) }
		most := envelope.Context{}
		for i := range envelope.MaxContextEntries {
			most[string(rune('a'+i))+long(envelope.MaxContextKey-1)] = long(envelope.MaxContextValue)
		}
		dk := generate(t, keys, most)
		if got, err := keys.Unwrap(t.Context(), dk.Wrapped[0], most); err != nil || !bytes.Equal(got.Key, dk.Key) {
			t.Errorf("the greatest context: %v", err)
		}
		tooMany := maps.Clone(most)
		tooMany["z"] = ""
		for name, d := range map[string]envelope.Context{
			"entries": tooMany, "empty key": {"": "v"}, "key": {long(envelope.MaxContextKey + 1): ""}, "value": {"k": long(envelope.MaxContextValue + 1)},
		} {
			if dk, err := keys.Generate(t.Context(), d); !errors.Is(err, coffer.ErrInvalid) || dk.Key != nil {
				t.Errorf("generate, %s: %v", name, err)
			}
			if dk, err := keys.Unwrap(t.Context(), dk.Wrapped[0], d); !errors.Is(err, coffer.ErrInvalid) || dk.Key != nil {
				t.Errorf("unwrap, %s: %v", name, err)
			}
		}
	})

	t.Run("CallersMap", func(t *testing.T) {
		keys := open(t)
		d := maps.Clone(c)
		dk := generate(t, keys, d)
		d["app"] = "changed afterwards"
		if _, err := keys.Unwrap(t.Context(), dk.Wrapped[0], c); err != nil {
			t.Errorf("the caller's map was kept: %v", err)
		}
	})

	t.Run("AlteredBlob", func(t *testing.T) {
		keys := open(t)
		dk := generate(t, keys, c)
		for _, w := range dk.Wrapped {
			blob := w.Blob
			alter := func(b []byte, what string) {
				t.Helper()
				w := w
				w.Blob = b
				refused(t, keys, w, c, what)
			}
			for i := 0; i < len(blob); i += stride {
				for bit := range bits {
					b := bytes.Clone(blob)
					b[i] ^= 1 << bit
					alter(b, "a flipped bit")
				}
				alter(blob[:i], "cut")
			}
			alter(append(bytes.Clone(blob), 0), "longer")
			alter(nil, "nil")
			alter(make([]byte, envelope.MaxBlob), "zeros")
		}
		// Another data key's blob opens to that key, never to this one; under another context it does not open.
		second := generate(t, keys, envelope.Context{"app": "coffer", "finding": "ffff", "purpose": "value"})
		refused(t, keys, second.Wrapped[0], c, "another message's blob")
	})

	t.Run("WrongName", func(t *testing.T) {
		keys := open(t)
		dk := generate(t, keys, c)
		for i, w := range dk.Wrapped {
			bad := w
			bad.Provider += "x"
			refused(t, keys, bad, c, "another provider")
			bad = w
			bad.KeyID += "x"
			refused(t, keys, bad, c, "another key")
			bad.KeyID = ""
			refused(t, keys, bad, c, "no key")
			bad = w
			bad.Recipient = "nobody"
			refused(t, keys, bad, c, "an unknown recipient")
			for j, o := range dk.Wrapped {
				if i != j && o.Recipient != w.Recipient {
					bad = w
					bad.Blob = o.Blob
					refused(t, keys, bad, c, "another recipient's blob")
					bad = w
					bad.Recipient = o.Recipient
					refused(t, keys, bad, c, "presented as another recipient's")
				}
			}
		}
	})

	t.Run("Concurrent", func(t *testing.T) {
		keys := open(t)
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				for range rounds {
					dk, err := keys.Generate(context.Background(), c)
					if err != nil {
						t.Error(err)
						return
					}
					for _, w := range dk.Wrapped {
						if got, err := keys.Unwrap(context.Background(), w, c); err != nil || !bytes.Equal(got.Key, dk.Key) {
							t.Errorf("unwrap: %v", err)
							return
						}
					}
				}
			})
		}
		wg.Wait()
	})

	t.Run("Cancelled", func(t *testing.T) {
		keys := open(t)
		dk := generate(t, keys, c)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := keys.Generate(ctx, c); !errors.Is(err, context.Canceled) || got.Key != nil {
			t.Errorf("generate: %v", err)
		}
		if got, err := keys.Unwrap(ctx, dk.Wrapped[0], c); !errors.Is(err, context.Canceled) || got.Key != nil {
			t.Errorf("unwrap: %v", err)
		}
		if got, err := keys.Wrap(ctx, dk.Key, c); !errors.Is(err, context.Canceled) || got != nil {
			t.Errorf("wrap: %v", err)
		}
	})

	t.Run("Message", func(t *testing.T) {
		s, err := envelope.New(t.Context(), open(t), c)
		if err != nil {
			t.Fatal(err)
		}
		value := []byte("synthetic value")
		box, err := s.Seal([]byte("1"), coffer.NewPlaintext(bytes.Clone(value)))
		if err != nil {
			t.Fatal(err)
		}
		o, err := envelope.Open(t.Context(), open(t), s.Header(), c, envelope.ForReveal)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := o.Open([]byte("1"), box); err != nil || !bytes.Equal(p.Expose(), value) {
			t.Errorf("the value did not come back: %v", err)
		}
	})
}

func generate(t *testing.T, keys envelope.Keys, c envelope.Context) envelope.DataKey {
	t.Helper()
	dk, err := keys.Generate(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return dk
}
