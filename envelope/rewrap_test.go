package envelope_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"coffer"
	"coffer/envelope"
	"coffer/envelope/mem"
)

// rotating is a keeper whose wrapping key has another name after a rotation. bad says what is wrong with its new forms.
type rotating struct {
	*mem.Keys
	bad string
}

func (k *rotating) Wrap(ctx context.Context, key []byte, c envelope.Context) ([]envelope.Wrapped, error) {
	switch k.bad {
	case "another key":
		key = bytes.Repeat([]byte{7}, envelope.KeySize)
	case "none":
		return nil, nil
	case "refused":
		return nil, coffer.ErrUnavailable
	}
	w, err := k.Keys.Wrap(ctx, key, c)
	if err == nil && k.bad == "damaged" {
		w[1].Blob[3] ^= 1
	}
	return w, err
}

// TestRewrap: what was sealed before opens with the header of before and with the new one, and nothing else about the message
// changes.
func TestRewrap(t *testing.T) {
	keys := &rotating{Keys: new(mem.Keys)}
	s := newSealer(t, keys)
	box := seal(t, s, "1", []byte("synthetic value"))
	var stream bytes.Buffer
	w := s.Writer(&stream, []byte("original"))
	if _, err := io.WriteString(w, "synthetic original"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	mac, err := s.MAC("token")
	if err != nil {
		t.Fatal(err)
	}
	sum := mac.Sum([]byte("x"))

	next, err := envelope.Rewrap(t.Context(), keys, s.Header())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(next, s.Header()) {
		t.Fatal("nothing was wrapped anew")
	}
	third, err := envelope.Rewrap(t.Context(), keys, next)
	if err != nil {
		t.Fatal(err)
	}
	verify, err := envelope.Open(t.Context(), keys, third, testContext, envelope.ForVerify)
	if err != nil {
		t.Fatal(err)
	}
	readBack, err := s.Opener(next)
	if err != nil {
		t.Fatalf("the sealer does not know its message: %v", err)
	}
	for name, o := range map[string]*envelope.Opener{
		"old header": openMessage(t, keys, s.Header()), "new header": openMessage(t, keys, next),
		"newest header": openMessage(t, keys, third), "verify": verify, "sealer": readBack,
	} {
		if p, err := o.Open([]byte("1"), box); err != nil || string(p.Expose()) != "synthetic value" {
			t.Errorf("%s: box: %v", name, err)
		}
		if b, err := io.ReadAll(o.Reader(bytes.NewReader(stream.Bytes()), []byte("original"))); err != nil || string(b) != "synthetic original" {
			t.Errorf("%s: stream: %v", name, err)
		}
		m, err := o.MAC("token")
		if err != nil {
			t.Fatal(err)
		}
		if m.Sum([]byte("x")) != sum {
			t.Errorf("%s: another keyed hash", name)
		}
	}

	recipients, err := envelope.Recipients(next)
	if err != nil || len(recipients) != 2 || recipients[0].Recipient != envelope.ForReveal || recipients[0].Blob != nil {
		t.Errorf("recipients: %+v, %v", recipients, err)
	}
	// The recipients of two headers of one message cannot be mixed: whoever wrote a list had the data key.
	mixed := bytes.Clone(next)
	copy(mixed[:len(mixed)-64], s.Header()[:len(mixed)-64])
	if _, err := envelope.Open(t.Context(), keys, mixed, testContext, envelope.ForReveal); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("the list of one header with the tag of another: %v", err)
	}
	if _, err := newSealer(t, keys).Opener(next); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("another sealer takes it for its own: %v", err)
	}
}

// TestRewrapRefuses: no header comes out unless all that is in it opens the message.
func TestRewrapRefuses(t *testing.T) {
	for bad, want := range map[string]error{
		"another key": coffer.ErrCorrupt, "none": coffer.ErrInvalid, "refused": coffer.ErrUnavailable, "damaged": coffer.ErrCorrupt,
	} {
		keys := &rotating{Keys: new(mem.Keys)}
		s := newSealer(t, keys)
		keys.bad = bad
		if h, err := envelope.Rewrap(t.Context(), keys, s.Header()); !errors.Is(err, want) || h != nil {
			t.Errorf("%s: %v", bad, err)
		}
	}
	keys := new(mem.Keys)
	h := newSealer(t, keys).Header()
	for i := range h {
		b := bytes.Clone(h)
		b[i] ^= 1
		if out, err := envelope.Rewrap(t.Context(), keys, b); err == nil || out != nil {
			t.Fatalf("byte %d altered, and wrapped anew", i)
		}
	}
}
