package vault_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"coffer"
	"coffer/envelope"
	"coffer/vault"
)

// TestVerify: what is sealed is told from what is not, in any range and over any number of chunks; values that are missing on either side
// or lie elsewhere are no answer of "other value", and the key for verification is the one that is asked for.
func TestVerify(t *testing.T) {
	w := newWorld(t)
	values := make([]string, 700)
	for i := range values {
		values[i] = strings.Repeat("x", 1+i%90) + common
	}
	set := w.seal("f-3", nil, values...)
	probe := func(n int, value string) vault.Probe {
		return w.Probe(set, vault.Value{
			N: n, Type: coffer.BankAccountNumber, At: coffer.Location{Kind: coffer.Cell, Row: int64(n + 1), Column: 1}, Plain: coffer.NewPlaintext([]byte(value)),
		})
	}
	all := make([]vault.Probe, len(values))
	for i, v := range values {
		all[i] = probe(i+1, v)
	}
	other := slices.Clone(all)
	other[333] = probe(334, own)
	moved := slices.Clone(all)
	moved[10].At.Row++
	for name, c := range map[string]struct {
		r      vault.Range
		probes []vault.Probe
		want   int // how many are the same; -1: an error
	}{
		"all":              {vault.Range{}, all, 700},
		"all by a range":   {vault.Range{From: 1, To: 701}, all, 700},
		"the beginning":    {vault.Range{To: 2}, all[:1], 1},
		"the middle":       {vault.Range{From: 300, To: 311}, all[299:310], 11},
		"one":              {vault.Range{From: 512, To: 513}, all[511:512], 1},
		"the end":          {vault.Range{From: 699}, all[698:], 2},
		"nothing there":    {vault.Range{From: 701}, nil, 0},
		"another value":    {vault.Range{}, other, 699},
		"one missing":      {vault.Range{}, append(slices.Clone(all[:5]), all[6:]...), -1},
		"one more":         {vault.Range{}, append(slices.Clone(all), probe(701, own)), -1},
		"one more before":  {vault.Range{From: 2}, all, -1},
		"another place":    {vault.Range{}, moved, -1},
		"the end left out": {vault.Range{}, all[:699], -1},
	} {
		same, err := w.Verify(w.ctx, set, c.r, c.probes)
		if c.want < 0 {
			if !errors.Is(err, coffer.ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		n := 0
		for _, s := range same {
			if s {
				n++
			}
		}
		if err != nil || n != c.want || len(same) != len(c.probes) {
			t.Errorf("%s: %d of %d are the same, want %d: %v", name, n, len(same), c.want, err)
		}
	}
	if same, err := w.Verify(w.ctx, set, vault.Range{}, other); err != nil || same[333] || !same[332] {
		t.Errorf("which is another is not said: %v", err)
	}
	if _, err := w.Verify(w.ctx, set, vault.Range{}, make([]vault.Probe, vault.MaxProbes+1)); !errors.Is(err, coffer.ErrLimit) {
		t.Errorf("too many probes: %v", err)
	}
	// A probe of one set says nothing about another, nor of one occurrence about another.
	same, err := w.Verify(w.ctx, vault.Set{ID: "f-1", Generation: "g-f-1"}, vault.Range{To: 2}, []vault.Probe{probe(1, common)})
	if err != nil || same[0] {
		t.Errorf("a probe made for another set fits: %v", err)
	}
	w.keys.Disable(envelope.ForVerify)
	if _, err := w.Verify(w.ctx, set, vault.Range{}, all); err == nil {
		t.Error("values are verified without the key for verification")
	}
}
