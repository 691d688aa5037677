package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/format/detect"
	"coffer/object"
	"coffer/store"
	"coffer/triage"
	"coffer/vault"
)

// A finding that was taken in while a custom identifier had no definition is taken in again when it has one: by then its values can be told
// from what stands around them. Nobody's work and no value is lost by that. It is done only as long as nobody has judged the finding or begun
// to fix its object, only from the version that Macie saw, and only if each value that is sealed is found again; and what is sealed stays
// readable until what takes its place has been read back.
//
// The new values become the finding's in one Apply, with their places and with the demand that nobody has touched the record, or begun a
// fix of the object, since they were located. A fix that is begun after that sees them; one that was begun before keeps those on which it
// relies: its tokens name the generation in which a value is sealed. A finding with too many places for one Apply stays as it is.

// waitKey is where it stands that a finding waits for the definition of a custom identifier.
//
//	CW#<keyed hash of the id>  <finding>  the type under which it names the identifier
func (x *Identifiers) waitKey(custom, finding string) store.Key {
	return store.Key{Part: fmt.Sprintf("CW#%x", x.MAC("identifier", []byte(custom))[:16]), Sort: finding}
}

// waits returns the operations that have a finding wait for the definitions that its record lacks.
func (x *Identifiers) waits(rec *triage.Record, lines []triage.Line) []store.Op {
	var ops []store.Op
	named := map[string]bool{}
	wait := func(t coffer.DataType, custom string) {
		version, ok := rec.Identifiers[detect.Key(t, custom)]
		if ok && version == "" && custom != "" && !named[custom] {
			named[custom] = true
			ops = append(ops, putOp(x.waitKey(custom, rec.Finding.ID), t))
		}
	}
	for _, d := range rec.Finding.Detections {
		wait(d.Type, d.Custom)
	}
	for _, l := range lines {
		wait(l.Type, l.Custom)
	}
	return ops
}

// undefined reports whether a finding was read while an identifier that it names had no definition.
func undefined(rec *triage.Record) bool {
	for _, version := range rec.Identifiers {
		if version == "" {
			return true
		}
	}
	return false
}

// untouched reports whether nobody's work hangs on how the values of a finding were found.
func untouched(rec *triage.Record, lines []triage.Line) bool {
	return rec.Status == triage.Open && rec.Verdict == "" && rec.Plan == "" && rec.Closing == nil && rec.Judged.IsZero() && len(rec.Tallies) == 0 &&
		!slices.ContainsFunc(lines, func(l triage.Line) bool { return l.Verdict != "" || l.Note != "" || l.Source == coffer.FromSweep })
}

// again takes a finding in once more whose identifiers have a definition by now, where that is possible; else it leaves it as it is.
func (p *Pipeline) again(ctx context.Context, permit *audit.Permit, rec *triage.Record) error {
	if err := p.clean(ctx, permit, rec); err != nil {
		return err
	}
	if !undefined(rec) || !p.Allow(rec.Finding.Object.Bucket) {
		return nil
	}
	lines, err := p.Records.Lines(ctx, rec.Finding.ID)
	if err != nil {
		return err
	}
	if ok, err := p.free(ctx, rec, lines); !ok || err != nil {
		return err
	}
	occs, fresh := make([]coffer.Occurrence, len(lines)), make([]triage.Line, len(lines))
	for i, l := range lines {
		occs[i], fresh[i].Occurrence = l.Occurrence, l.Occurrence
	}
	versions, _, err := p.Identifiers.Define(ctx, rec.Finding.Detections, occs)
	if err != nil {
		return err
	}
	known := false
	for k, version := range rec.Identifiers {
		known = known || version == "" && versions[k] != ""
	}
	if !known {
		return nil
	}
	next := *rec
	located, err := p.locate(ctx, &next, fresh)
	if errors.Is(err, object.ErrRefused) || err != nil && ctx.Err() == nil && coffer.Permanent(err) {
		return nil // it cannot be read any more, or not by us: what is sealed stays
	}
	if err != nil {
		return err
	}
	defer located.wipe()
	if located.left || located.parked != "" || !holds(located.lines, lines) {
		return nil
	}

	ops, err := p.places(ctx, &next, located)
	if err != nil || !fitsRecord(ops) {
		return err
	}

	// The record, with all else as it was, remembers the new generation before anything of it is written, and the old one until it is gone.
	gen := store.NewVersion()[:16]
	rec.Stale = append(slices.Clone(rec.Stale), gen)
	if err := p.DB.Apply(ctx, rec.Save()...); err != nil {
		return err
	}
	defined, read := next.Identifiers, next.Read
	next = *rec
	next.Identifiers, next.Read = defined, read
	set := vault.Set{ID: rec.Finding.ID, Generation: gen}
	if len(located.values) > 0 {
		if err := p.Vault.Deposit(ctx, permit, set, located.values); err != nil {
			return p.forgotten(ctx, permit, set, err)
		}
	}
	if next.Stale = nil; rec.Generation != "" {
		next.Stale = []string{rec.Generation}
	}
	next.Generation = gen
	if err := p.finish(ctx, permit, &next, located, append(ops, unfixed(rec))...); err != nil {
		return p.forgotten(ctx, permit, set, err)
	}
	*rec = next
	return p.clean(ctx, permit, rec)
}

// unfixed is the operation that demands that no fix of the finding's object was ever begun.
func unfixed(rec *triage.Record) store.Op {
	return store.Op{Verb: store.Check, Expect: store.Absent, Item: store.Item{Key: FixKey(rec.ObjectID)}}
}

// forgotten returns err, with which a worker came no further that takes a finding in again. Where another one has changed the record
// meanwhile, and does not remember this worker's generation any more, what was deposited of it after that is destroyed here.
func (p *Pipeline) forgotten(ctx context.Context, permit *audit.Permit, set vault.Set, err error) error {
	now, rerr := p.Records.Get(ctx, set.ID)
	if rerr != nil || now.Generation == set.Generation || slices.Contains(now.Stale, set.Generation) {
		return err
	}
	return p.lost(ctx, permit, set, fmt.Errorf("another worker took up finding %s: %w", set.ID, coffer.ErrConflict))
}

// clean destroys the generations that the record of a finding that is taken in remembers. They are destroyed when the record was changed:
// from then on nobody who began earlier can make one of them the record's.
func (p *Pipeline) clean(ctx context.Context, permit *audit.Permit, rec *triage.Record) error {
	if len(rec.Stale) == 0 {
		return nil
	}
	if err := p.DB.Apply(ctx, rec.Save()...); err != nil {
		return err
	}
	for _, gen := range rec.Stale {
		if gen == rec.Generation {
			return fmt.Errorf("finding %s: its sealed values are to be destroyed: %w", rec.Finding.ID, coffer.ErrCorrupt)
		}
		if _, err := p.Vault.Destroy(ctx, permit, vault.Set{ID: rec.Finding.ID, Generation: gen}); err != nil {
			return fmt.Errorf("remove a generation that was replaced: %w", err)
		}
	}
	rec.Stale = nil
	return p.DB.Apply(ctx, rec.Save()...)
}

// free reports whether the values of a finding can be found anew without taking anything from anybody: from who judged it, from a fix of the
// object, however it went, or from another finding on the object, whose occurrences are sealed under this one, and whom nobody judged either.
func (p *Pipeline) free(ctx context.Context, rec *triage.Record, lines []triage.Line) (bool, error) {
	if !untouched(rec, lines) {
		return false, nil
	}
	switch _, err := p.DB.Get(ctx, FixKey(rec.ObjectID)); {
	case err == nil:
		return false, nil
	case !errors.Is(err, coffer.ErrNotFound):
		return false, fmt.Errorf("fixes of the object: %w", err)
	}
	others, err := FindingsOn(ctx, p.Records, rec.ObjectID)
	if err != nil {
		return false, err
	}
	for _, other := range others {
		if other.Finding.ID == rec.Finding.ID || other.Rescan == "" {
			continue
		}
		theirs, err := p.Records.Lines(ctx, other.Finding.ID)
		if err != nil {
			return false, err
		}
		shares := slices.ContainsFunc(theirs, func(l triage.Line) bool { return l.Same != nil && l.Same.Finding == rec.Finding.ID })
		if shares && !untouched(other, theirs) {
			return false, nil
		}
	}
	return true, nil
}

// holds reports whether each occurrence that is sealed is among those found, at its place and with a value to seal.
func holds(found, sealed []triage.Line) bool {
	for _, l := range sealed {
		i := slices.IndexFunc(found, func(f triage.Line) bool { return f.N == l.N })
		if i < 0 {
			return false
		}
		f := found[i]
		if f.Type != l.Type || f.Custom != l.Custom || f.At.String() != l.At.String() || l.Sealed && !f.Sealed {
			return false
		}
	}
	return true
}

// takeAgain takes in again the findings that wait for definitions which are known by now. It returns how many there were, and how many it
// left as they are because somebody judged them or their objects are not what they were. None of them waits any more.
func (p *Pipeline) takeAgain(ctx context.Context, ask access.Ask) (taken, left int, err error) {
	all, err := p.Identifiers.Known(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, k := range all {
		part := p.Identifiers.waitKey(k.ID, "").Part
		for it, err := range p.DB.Query(ctx, part, store.Range{}) {
			var t coffer.DataType
			if err == nil && json.Unmarshal(it.Value, &t) != nil {
				err = coffer.ErrCorrupt
			}
			if err != nil {
				return taken, left, fmt.Errorf("findings that wait for a definition: %w", err)
			}
			if now, err := p.Identifiers.define(ctx, t, k.ID); err != nil {
				return taken, left, err
			} else if now.Version == "" {
				break // for all of them
			}
			rec, err := p.Records.Get(ctx, it.Key.Sort)
			if errors.Is(err, coffer.ErrNotFound) {
				continue
			}
			if err != nil {
				return taken, left, err
			}
			if _, err := p.takeAs(ctx, ask, access.EventReconcile, rec.Finding); err != nil {
				return taken, left, err
			}
			if rec, err = p.Records.Get(ctx, it.Key.Sort); err != nil {
				return taken, left, err
			}
			if rec.Identifiers[detect.Key(t, k.ID)] == "" {
				left++
			} else {
				taken++
			}
			if err := p.DB.Apply(ctx, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: it.Key}}); err != nil {
				return taken, left, fmt.Errorf("findings that wait for a definition: %w", err)
			}
		}
	}
	return taken, left, nil
}
