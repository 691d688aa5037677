package mem_test

import (
	"errors"
	"testing"

	"coffer"
	"coffer/envelope"
	"coffer/envelope/envelopetest"
	"coffer/envelope/mem"
	"coffer/internal/fault"
)

func TestKeys(t *testing.T) {
	keys := map[string]*mem.Keys{}
	envelopetest.Test(t, func(t *testing.T) envelope.Keys {
		if keys[t.Name()] == nil {
			keys[t.Name()] = new(mem.Keys)
		}
		return keys[t.Name()]
	})
}

func TestDisable(t *testing.T) {
	keys := new(mem.Keys)
	dk, err := keys.Generate(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	keys.Disable(envelope.ForReveal)
	for _, w := range dk.Wrapped {
		_, err := keys.Unwrap(t.Context(), w, nil)
		if disabled := w.Recipient == envelope.ForReveal; disabled != errors.Is(err, coffer.ErrUnavailable) {
			t.Errorf("recipient %s: %v", w.Recipient, err)
		}
	}
	if _, err := keys.Generate(t.Context(), nil); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("generate: %v", err)
	}
	keys.Enable(envelope.ForReveal)
	if _, err := keys.Unwrap(t.Context(), dk.Wrapped[0], nil); err != nil {
		t.Error(err)
	}
}

func TestFault(t *testing.T) {
	keys := &mem.Keys{Fault: fault.New(fault.Fault{Call: 1, When: fault.After}, fault.Fault{Call: 3})}
	if dk, err := keys.Generate(t.Context(), nil); !errors.Is(err, fault.ErrInjected) || dk.Key != nil {
		t.Errorf("first generate: %v", err)
	}
	dk, err := keys.Generate(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Unwrap(t.Context(), dk.Wrapped[0], nil); !errors.Is(err, fault.ErrInjected) || got.Key != nil {
		t.Errorf("first unwrap: %v", err)
	}
	if _, err := keys.Unwrap(t.Context(), dk.Wrapped[0], nil); err != nil {
		t.Error(err)
	}
}
