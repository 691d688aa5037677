package vault

import (
	"bytes"
	"context"
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

// Limits of [Vault.Elsewhere]: every candidate of the index is opened to be compared.
const (
	maxSought     = 1000   // values of the finding
	maxCandidates = 20_000 // values of others
)

// Elsewhere is another finding that holds values of a finding.
type Elsewhere struct {
	Finding string
	Object  coffer.Object
	Values  int // different values that both hold
	Types   []coffer.DataType
}

// Shared is where else the values of a finding stand.
type Shared struct {
	Findings []Elsewhere // the ones that share most first
	Values   int         // different values of the finding that stand elsewhere, too
	Sought   int         // different values that were looked for
	// NotIndexed are types of the finding that have no index, so that their values were not looked for.
	NotIndexed []coffer.DataType
	// Limited says that the finding has more values, or that they have more candidates, than are compared at once.
	Limited bool
}

// Elsewhere says in which other findings values of a finding stand, and never which. Values are compared with those that share their
// fingerprint in the indexes that are on; see [Vault.Index]. The caller must be permitted to read the finding and to search by value,
// which is recorded before anything is opened and charged as one search.
func (v *Vault) Elsewhere(ctx context.Context, ask access.Ask, finding string) (*Shared, error) {
	rec, err := v.Records.Get(ctx, finding)
	if err != nil {
		return nil, v.hide(ctx, ask, access.FindingRead, finding, err)
	}
	if _, err := v.check(ctx, ask, access.FindingRead, rec.Resource()); err != nil {
		return nil, err
	}
	// It tells whether values are equal, so it is charged as a search; a request for one was approved for a value that was named.
	ask.Context.Grant = ""
	out := &Shared{}
	var lines []triage.Line
	act := grant.Act{Action: access.ValueSearch, Resource: access.Resource{Kind: access.System}, Values: 1}
	permit, ref, err := v.intend(ctx, ask, act, func(e *audit.Entry) (err error) {
		*out = Shared{}
		if lines, err = v.comparable(ctx, finding, out); err != nil {
			return err
		}
		e.Finding, e.Object = finding, rec.ObjectID
		e.Detail = map[string]string{"for": "elsewhere", "values": strconv.Itoa(len(lines))}
		return nil
	})
	if err != nil {
		return nil, err
	}
	opened, err := v.elsewhere(ctx, rec, lines, out)
	detail := map[string]string{"for": "elsewhere", "hits": strconv.Itoa(len(out.Findings)), "opened": strconv.Itoa(opened)}
	if err2 := v.report(ctx, permit, ref, rec.ObjectID, err, detail); err2 != nil {
		return nil, errors.Join(err, err2)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// comparable returns the lines of the finding whose values can be looked for, and notes in out what cannot.
func (v *Vault) comparable(ctx context.Context, finding string, out *Shared) ([]triage.Line, error) {
	on, err := v.Indexed(ctx)
	if err != nil {
		return nil, err
	}
	lines, err := v.Records.Lines(ctx, finding)
	if err != nil {
		return nil, err
	}
	lines = slices.DeleteFunc(lines, func(l triage.Line) bool {
		if l.Sealed && !slices.Contains(on, l.Type) && !slices.Contains(out.NotIndexed, l.Type) {
			out.NotIndexed = append(out.NotIndexed, l.Type)
		}
		return !l.Sealed || !slices.Contains(on, l.Type)
	})
	if len(lines) > maxSought {
		lines, out.Limited = lines[:maxSought], true
	}
	return lines, nil
}

// sought is a value that is looked for.
type sought struct {
	t    coffer.DataType
	norm []byte
	hit  bool
}

// elsewhere fills in out and returns how many values were opened.
func (v *Vault) elsewhere(ctx context.Context, rec *triage.Record, lines []triage.Line, out *Shared) (opened int, err error) {
	own, _, err := v.openLines(ctx, rec, lines)
	byPrint := map[string][]*sought{} // by part of the index
	defer func() {
		for _, r := range own {
			r.Plain.Wipe()
		}
		for _, all := range byPrint {
			for _, s := range all {
				clear(s.norm)
			}
		}
	}()
	if err != nil {
		return len(own), err
	}
	for _, r := range own {
		part := "X#" + string(r.Type) + "#" + v.fingerprint(r.Type, r.Plain)
		norm := Normalise(r.Plain.Expose())
		if slices.ContainsFunc(byPrint[part], func(s *sought) bool { return bytes.Equal(s.norm, norm) }) {
			clear(norm)
			continue
		}
		byPrint[part] = append(byPrint[part], &sought{t: r.Type, norm: norm})
		out.Sought++
	}
	// Which numbers of which other findings have one of the fingerprints, each with the values it may be.
	candidates := map[string]map[int][]*sought{}
	n := 0
	for part, values := range byPrint {
		for it, err := range v.DB.Query(ctx, part, store.Range{}) {
			if err != nil {
				return len(own), err
			}
			i := strings.LastIndexByte(it.Key.Sort, '#')
			number, err := strconv.Atoi(it.Key.Sort[i+1:])
			if i < 0 || err != nil {
				return len(own), fmt.Errorf("index entry: %w", coffer.ErrCorrupt)
			}
			id := it.Key.Sort[:i]
			if id == rec.Finding.ID {
				continue
			}
			if n == maxCandidates {
				out.Limited = true
				break
			}
			n++
			if candidates[id] == nil {
				candidates[id] = map[int][]*sought{}
			}
			candidates[id][number] = values
		}
	}
	for id, numbers := range candidates {
		more, err := v.compareWith(ctx, id, numbers, out)
		opened += more
		if err != nil {
			return len(own) + opened, err
		}
	}
	for _, all := range byPrint {
		for _, s := range all {
			if s.hit {
				out.Values++
			}
		}
	}
	slices.SortFunc(out.Findings, func(a, b Elsewhere) int {
		if a.Values != b.Values {
			return b.Values - a.Values
		}
		return strings.Compare(a.Finding, b.Finding)
	})
	return len(own) + opened, nil
}

// compareWith opens the candidates in one other finding, and adds the finding to out if it holds one of the values.
func (v *Vault) compareWith(ctx context.Context, id string, numbers map[int][]*sought, out *Shared) (opened int, err error) {
	rec, err := v.Records.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	lines, err := v.Records.Lines(ctx, id)
	if err != nil {
		return 0, err
	}
	lines = slices.DeleteFunc(lines, func(l triage.Line) bool { return !l.Sealed || numbers[l.N] == nil })
	theirs, _, err := v.openLines(ctx, rec, lines)
	defer func() {
		for _, r := range theirs {
			r.Plain.Wipe()
		}
	}()
	if errors.Is(err, coffer.ErrNotFound) {
		return len(theirs), nil // destroyed since
	}
	if err != nil {
		return len(theirs), err
	}
	e := Elsewhere{Finding: id, Object: rec.Finding.Object}
	seen := map[*sought]bool{}
	for _, r := range theirs {
		norm := Normalise(r.Plain.Expose())
		for _, s := range numbers[r.N] {
			if s.t == r.Type && bytes.Equal(s.norm, norm) && !seen[s] {
				seen[s], s.hit = true, true
				e.Values++
				if !slices.Contains(e.Types, r.Type) {
					e.Types = append(e.Types, r.Type)
				}
			}
		}
		clear(norm)
	}
	if e.Values > 0 {
		out.Findings = append(out.Findings, e)
	}
	return len(theirs), nil
}
