package vault

import (
	"context"
	"crypto/hmac"
	"encoding/binary"
	"fmt"

	"coffer"
	"coffer/envelope"
	"coffer/store"
)

// Probe asks whether a sealed value is the one that its holder has before him. It carries a keyed digest and no value, so that one process
// can hold the object and another the keys.
type Probe struct {
	N      int             `json:"n"`
	Type   coffer.DataType `json:"type"`
	At     coffer.Location `json:"at"`
	Digest []byte          `json:"digest"`
}

// Range is a range of occurrence numbers: from From on, below To; a To of 0 has no end.
type Range struct {
	From int `json:"from,omitempty"`
	To   int `json:"to,omitempty"`
}

// MaxProbes is how many probes one call of [Vault.Verify] takes: what fits into a message of 6 MB, the limit of a synchronous call of a
// function on Lambda, with places of up to two kilobytes.
const MaxProbes = 2000

// Probe returns the probe of a value as an occurrence of the set.
func (v *Vault) Probe(s Set, val Value) Probe {
	return Probe{N: val.N, Type: val.Type, At: val.At, Digest: v.digest(s, val.N, val.Plain.Expose())}
}

func (v *Vault) digest(s Set, n int, plain []byte) []byte {
	var b []byte
	for _, f := range []string{s.ID, s.Generation} {
		b = binary.AppendUvarint(b, uint64(len(f)))
		b = append(b, f...)
	}
	b = append(binary.AppendUvarint(b, uint64(n)), plain...)
	defer clear(b)
	return v.MAC("probe", b)
}

// Verify opens the sealed values of the set that lie in the range, with its stored header, the way a reveal does but with the key for
// verification where there is one, and reports for each probe whether the sealed value is its. The probes come in ascending order of N
// and must be those of all sealed values in the range: one that is missing, on either side, or that cannot be opened, gives an error
// wrapping coffer.ErrCorrupt. More than [MaxProbes] give coffer.ErrLimit. It is asked before anything destructive is done to the original,
// and tells nobody a value.
func (v *Vault) Verify(ctx context.Context, s Set, r Range, probes []Probe) ([]bool, error) {
	if len(probes) > MaxProbes {
		return nil, fmt.Errorf("%d values to verify at once, at most %d: %w", len(probes), MaxProbes, coffer.ErrLimit)
	}
	opener, err := v.open(ctx, s, forValues, envelope.ForVerify)
	if err != nil {
		return nil, err
	}
	defer opener.Wipe()
	chunks, err := v.chunks(ctx, s, r)
	if err != nil {
		return nil, fmt.Errorf("verify sealed values: %w", err)
	}
	var same []bool
	err = v.boxes(ctx, s, chunks, func(n int, box []byte) error {
		if n < r.From || r.To > 0 && n >= r.To {
			return nil
		}
		if len(same) >= len(probes) || probes[len(same)].N != n {
			return fmt.Errorf("occurrence %d is sealed and not asked for: %w", n, coffer.ErrCorrupt)
		}
		p := probes[len(same)]
		plain, err := opener.Open(s.identity(n, p.Type, p.At), box)
		if err != nil {
			return fmt.Errorf("open occurrence %d: %w", n, err)
		}
		defer plain.Wipe()
		same = append(same, hmac.Equal(v.digest(s, n, plain.Expose()), p.Digest))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("verify sealed values: %w", err)
	}
	if len(same) != len(probes) {
		return nil, fmt.Errorf("verify sealed values: %d of %d are sealed: %w", len(same), len(probes), coffer.ErrCorrupt)
	}
	return same, nil
}

// chunks returns the range of chunks in which the occurrences of a range lie. A chunk has the number of its first occurrence.
func (v *Vault) chunks(ctx context.Context, s Set, r Range) (store.Range, error) {
	var out store.Range
	if r.To > 0 {
		out.To = number(r.To)
	}
	if r.From > 0 {
		for it, err := range v.DB.Query(ctx, s.part(), store.Range{To: number(r.From + 1), Reverse: true}) {
			if err != nil {
				return out, err
			}
			out.From = it.Key.Sort
			break
		}
	}
	return out, nil
}
