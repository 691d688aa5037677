package vault

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/grant"
	"coffer/store"
	"coffer/triage"
)

// The equality index of a type maps a keyed fingerprint of a value to the occurrences that hold it. It is off until it is
// turned on for the type. The fingerprint is cut to 16 bits, so that in a table of any size several values share one and a
// reader of the table learns little from it; candidates are confirmed by opening them.
const fingerprintBytes = 2

// Normalise returns the form in which values of a type are compared: without the separators that people put into numbers, in
// one case.
func Normalise(value []byte) []byte {
	out := make([]byte, 0, len(value))
	for _, c := range bytes.ToUpper(bytes.TrimSpace(value)) {
		switch c {
		case ' ', '-', '.', '/', '(', ')', '\t', '\n', '\r':
		default:
			out = append(out, c)
		}
	}
	return out
}

func (v *Vault) fingerprint(t coffer.DataType, plain coffer.Plaintext) string {
	norm := Normalise(plain.Expose())
	defer clear(norm)
	return hex.EncodeToString(v.MAC("fingerprint:"+string(t), norm)[:fingerprintBytes])
}

var indexConfig = store.Key{Part: "X#config", Sort: "types"}

// Indexed returns the types whose equality index is on, sorted.
func (v *Vault) Indexed(ctx context.Context) ([]coffer.DataType, error) {
	types, _, err := v.indexed(ctx)
	return types, err
}

func (v *Vault) indexed(ctx context.Context) (types []coffer.DataType, version string, err error) {
	it, err := v.DB.Get(ctx, indexConfig)
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, store.Absent, nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("index configuration: %w", err)
	}
	if err := json.Unmarshal(it.Value, &types); err != nil {
		return nil, "", fmt.Errorf("index configuration: %w", coffer.ErrCorrupt)
	}
	return types, it.Version, nil
}

// IndexOps returns the operations that enter values of a finding into the indexes that are on.
func (v *Vault) IndexOps(ctx context.Context, finding string, values []Value) ([]store.Op, error) {
	on, err := v.Indexed(ctx)
	if err != nil || len(on) == 0 {
		return nil, err
	}
	var ops []store.Op
	for _, val := range values {
		if slices.Contains(on, val.Type) {
			ops = append(ops, v.indexOp(finding, val))
		}
	}
	return ops, nil
}

func (v *Vault) indexOp(finding string, val Value) store.Op {
	return store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
		Key:     store.Key{Part: "X#" + string(val.Type) + "#" + v.fingerprint(val.Type, val.Plain), Sort: finding + "#" + strconv.Itoa(val.N)},
		Value:   []byte("1"),
		Version: store.NewVersion(),
	}}
}

// Index turns the equality index of types on and enters every sealed value of theirs, or turns it off and removes it. It can be
// repeated after a failure. [Vault.TurnIndex] and [Vault.IndexFinding] are its two halves, for work that is done piece by piece.
func (v *Vault) Index(ctx context.Context, ask access.Ask, types []coffer.DataType, on bool) error {
	if err := v.TurnIndex(ctx, ask, types, on); err != nil || !on {
		return err
	}
	for s, err := range v.Records.All(ctx) {
		if err != nil {
			return err
		}
		if _, err := v.IndexFinding(ctx, ask, s.ID, types); err != nil {
			return err
		}
	}
	return nil
}

// TurnIndex turns the equality index of types on, so that findings which come in from now on enter their values, or turns it
// off and removes it. What is older enters by [Vault.IndexFinding].
func (v *Vault) TurnIndex(ctx context.Context, ask access.Ask, types []coffer.DataType, on bool) error {
	permit, err := v.check(ctx, ask, access.AdminIndex, access.Resource{Kind: access.System})
	if err != nil {
		return err
	}
	have, version, err := v.indexed(ctx)
	if err != nil {
		return err
	}
	next := slices.Clone(have)
	for _, t := range types {
		i := slices.Index(next, t)
		switch {
		case on && i < 0:
			next = append(next, t)
		case !on && i >= 0:
			next = slices.Delete(next, i, i+1)
		}
	}
	slices.Sort(next)
	value, err := json.Marshal(next)
	if err != nil {
		return err
	}
	state := "on"
	if !on {
		state = "off"
	}
	entry := permit.Entry(audit.Done)
	entry.Detail = map[string]string{"index": state, "types": join(types)}
	_, err = v.Guard.Log.Apply(ctx, entry, store.Op{Verb: store.Put, Expect: version,
		Item: store.Item{Key: indexConfig, Value: value, Version: store.NewVersion()}})
	if err != nil {
		return fmt.Errorf("index configuration: %w", err)
	}
	if !on {
		return v.unindex(ctx, types)
	}
	return nil
}

// IndexFinding enters the sealed values of these types of a finding into the index and returns how many. It can be repeated.
func (v *Vault) IndexFinding(ctx context.Context, ask access.Ask, id string, types []coffer.DataType) (int, error) {
	permit, err := v.check(ctx, ask, access.AdminIndex, access.Resource{Kind: access.System})
	if err != nil {
		return 0, err
	}
	rec, err := v.Records.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	n, err := v.indexFinding(ctx, permit, rec, types)
	if err != nil {
		return 0, fmt.Errorf("index finding %s: %w", id, err)
	}
	return n, nil
}

func (v *Vault) indexFinding(ctx context.Context, permit *audit.Permit, rec *triage.Record, types []coffer.DataType) (int, error) {
	s := rec.Summary()
	if s.Sealed == 0 || !slices.ContainsFunc(s.Types, func(t coffer.DataType) bool { return slices.Contains(types, t) }) {
		return 0, nil
	}
	lines, err := v.Records.Lines(ctx, s.ID)
	if err != nil {
		return 0, err
	}
	lines = slices.DeleteFunc(lines, func(l triage.Line) bool {
		return !l.Sealed || l.Same != nil || !slices.Contains(types, l.Type)
	})
	if len(lines) == 0 {
		return 0, nil
	}
	entry := permit.Entry(audit.Intent)
	entry.Finding, entry.Object = s.ID, rec.ObjectID
	entry.Detail = map[string]string{"for": "index", "values": strconv.Itoa(len(lines))}
	ref, err := v.Guard.Log.Append(ctx, entry)
	if err != nil {
		return 0, err
	}
	n, err := v.enter(ctx, rec, lines)
	if err2 := v.report(ctx, permit, ref, rec.ObjectID, err, map[string]string{"for": "index", "values": strconv.Itoa(n)}); err2 != nil {
		return 0, errors.Join(err, err2)
	}
	return n, err
}

// enter opens the values of lines, enters their fingerprints into the index and returns how many.
func (v *Vault) enter(ctx context.Context, rec *triage.Record, lines []triage.Line) (int, error) {
	opened, _, err := v.openLines(ctx, rec, lines)
	if err != nil {
		return 0, err
	}
	var ops []store.Op
	for _, r := range opened {
		ops = append(ops, v.indexOp(rec.Finding.ID, Value{N: r.N, Type: r.Type, Plain: r.Plain}))
		r.Plain.Wipe()
	}
	for batch := range slices.Chunk(ops, store.MaxOps) {
		if err := v.DB.Apply(ctx, batch...); err != nil {
			return 0, err
		}
	}
	return len(opened), nil
}

// unindex removes the entries of types from the index.
func (v *Vault) unindex(ctx context.Context, types []coffer.DataType) error {
	for it, err := range v.DB.Scan(ctx, 0, 1) {
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(types, func(t coffer.DataType) bool { return strings.HasPrefix(it.Key.Part, "X#"+string(t)+"#") }) {
			continue
		}
		if err := v.DB.Apply(ctx, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: it.Key}}); err != nil {
			return err
		}
	}
	return store.Scrub(ctx, v.DB)
}

func join(types []coffer.DataType) string {
	var s []string
	for _, t := range types {
		s = append(s, string(t))
	}
	return audit.List(s)
}

// Hit is an occurrence that holds a value that was searched for.
type Hit struct {
	Finding string
	N       int
	Type    coffer.DataType
	At      coffer.Location
	Object  coffer.Object
	Masked  string
}

// Search finds the occurrences that hold the value: of type t, or with t empty of every type whose index is on. Candidates of
// the index are opened and compared here, so that only true hits are returned, and nothing but masked forms leaves. A type
// whose index is off gives coffer.ErrInvalid.
func (v *Vault) Search(ctx context.Context, ask access.Ask, t coffer.DataType, value coffer.Plaintext) ([]Hit, error) {
	var types []coffer.DataType
	norm := Normalise(value.Expose())
	defer clear(norm)
	act := grant.Act{Action: access.ValueSearch, Resource: access.Resource{Kind: access.System}, Values: 1}
	permit, ref, err := v.intend(ctx, ask, act, func(e *audit.Entry) (err error) {
		if types, err = v.searchable(ctx, t); err == nil && len(norm) == 0 {
			err = fmt.Errorf("empty value: %w", coffer.ErrInvalid)
		}
		e.Detail = map[string]string{"types": join(types)}
		return err
	})
	if err != nil {
		return nil, err
	}
	hits, candidates, err := v.search(ctx, types, value, norm)
	detail := map[string]string{"hits": strconv.Itoa(len(hits)), "opened": strconv.Itoa(candidates)}
	if err2 := v.report(ctx, permit, ref, "", err, detail); err2 != nil {
		return nil, errors.Join(err, err2)
	}
	if err != nil {
		return nil, err
	}
	return hits, nil
}

// searchable returns the types to search in: t, or with t empty all whose index is on.
func (v *Vault) searchable(ctx context.Context, t coffer.DataType) ([]coffer.DataType, error) {
	on, err := v.Indexed(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(on) == 0 && t == "":
		return nil, fmt.Errorf("no type has an index; turn one on with `coffer value index TYPE`: %w", coffer.ErrInvalid)
	case t == "":
		return on, nil
	case !slices.Contains(on, t):
		return nil, fmt.Errorf("this type has no index; turn it on with `coffer value index TYPE`: %w", coffer.ErrInvalid)
	}
	return []coffer.DataType{t}, nil
}

func (v *Vault) search(ctx context.Context, types []coffer.DataType, value coffer.Plaintext, norm []byte) (hits []Hit, candidates int, err error) {
	for _, t := range types {
		byFinding := map[string][]int{}
		var order []string
		for it, err := range v.DB.Query(ctx, "X#"+string(t)+"#"+v.fingerprint(t, value), store.Range{}) {
			if err != nil {
				return nil, candidates, err
			}
			i := strings.LastIndexByte(it.Key.Sort, '#')
			n, err := strconv.Atoi(it.Key.Sort[i+1:])
			if i < 0 || err != nil {
				return nil, candidates, fmt.Errorf("index entry: %w", coffer.ErrCorrupt)
			}
			id := it.Key.Sort[:i]
			if byFinding[id] == nil {
				order = append(order, id)
			}
			byFinding[id] = append(byFinding[id], n)
		}
		for _, id := range order {
			rec, err := v.Records.Get(ctx, id)
			if err != nil {
				return nil, candidates, err
			}
			lines, err := v.Records.Lines(ctx, id)
			if err != nil {
				return nil, candidates, err
			}
			ns := byFinding[id]
			slices.Sort(ns)
			picked, err := pick(lines, ns)
			if errors.Is(err, coffer.ErrNotFound) {
				continue // destroyed since
			}
			opened, _, err := v.openLines(ctx, rec, picked)
			if errors.Is(err, coffer.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, candidates, err
			}
			candidates += len(opened)
			for i, r := range opened {
				got := Normalise(r.Plain.Expose())
				if bytes.Equal(got, norm) {
					hits = append(hits, Hit{Finding: id, N: r.N, Type: r.Type, At: r.At, Object: rec.Finding.Object, Masked: picked[i].Masked})
				}
				clear(got)
				r.Plain.Wipe()
			}
		}
	}
	return hits, candidates, nil
}
