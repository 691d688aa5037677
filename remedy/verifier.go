package remedy

import (
	"context"
	"fmt"
	"slices"

	"coffer"
	"coffer/vault"
)

// Verifier says which sealed values are the ones that a fix has before it, with the promises of [vault.Vault.Verify], which is one. On
// Lambda it is a function of its own: who rewrites objects then holds no key that opens a value, and who opens one reaches no object.
type Verifier interface {
	Verify(ctx context.Context, s vault.Set, r vault.Range, probes []vault.Probe) ([]bool, error)
}

// same asks the verifier about all sealed values of a set, in ascending order of N.
func (m *Remedy) same(ctx context.Context, set vault.Set, values []vault.Value) ([]bool, error) {
	var out []bool
	from := 0
	for rest := values; ; {
		n := min(len(rest), vault.MaxProbes)
		part := rest[:n]
		rest = rest[n:]
		r := vault.Range{From: from}
		if len(rest) > 0 {
			from = rest[0].N
			r.To = from
		}
		probes := make([]vault.Probe, n)
		for i, v := range part {
			probes[i] = m.Vault.Probe(set, v)
		}
		same, err := m.Verifier.Verify(ctx, set, r, probes)
		if err == nil && len(same) != n {
			err = fmt.Errorf("verify sealed values: %d answers to %d questions: %w", len(same), n, coffer.ErrCorrupt)
		}
		if err != nil {
			return nil, err
		}
		if out = append(out, same...); len(rest) == 0 {
			return out, nil
		}
	}
}

// checkSet demands that the set holds exactly the values.
func (m *Remedy) checkSet(ctx context.Context, set vault.Set, values []vault.Value) error {
	same, err := m.same(ctx, set, values)
	if err != nil {
		return err
	}
	if i := slices.Index(same, false); i >= 0 {
		return fmt.Errorf("sealed occurrence %d differs from the value: %w", values[i].N, coffer.ErrCorrupt)
	}
	return nil
}
