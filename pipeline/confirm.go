package pipeline

import (
	"context"
	"fmt"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/internal/lazyregexp"
	"coffer/store"
	"coffer/triage"
)

const unconfirmed = "submitted; nothing is read until Macie or a second person confirms it"

// waitsFor is why nothing is read for a submitted finding. The Region is named, if it has the form of one, where Macie cannot confirm the finding
// because it is asked in another.
func (p *Pipeline) waitsFor(f *coffer.Finding) string {
	here := p.Results.Region
	if p.Macie == nil || here == "" || f.Region == "" || f.Region == here {
		return unconfirmed
	}
	region := f.Region
	if !regionName().MatchString(region) {
		region = "another Region"
	}
	return fmt.Sprintf("a finding of %s, and this installation asks Macie in %s: one in that Region takes it in; here it is %s", region, here, unconfirmed)
}

// regionName is the form of a Region's name.
var regionName = lazyregexp.New(`^[a-z]{2}(-[a-z]+){1,3}-[0-9]{1,2}$`)

// Confirm records that the caller, who must not be the submitter, stands for a submitted finding, and takes it in: from now on its
// object is read like that of any other. The submitter still cannot reveal its values. seen is the Tag of the record that the
// caller has looked at; empty: any. A finding that is not submitted, or is confirmed already, and a record that is another by now,
// give coffer.ErrConflict. What is wrong with the finding or its object is in the Result, as with Take.
func (p *Pipeline) Confirm(ctx context.Context, ask access.Ask, id, seen string) (Result, error) {
	rec, err := p.Records.Get(ctx, id)
	if err != nil {
		return Result{}, err
	}
	permit, err := p.Guard.Check(ctx, ask.Caller, access.EventConfirm, rec.Resource(), ask.Context)
	if err != nil {
		return Result{}, err
	}
	if rec.Finding.Origin != coffer.OriginSubmitted {
		return Result{}, fmt.Errorf("the finding does not stand on a submitter's word; there is nothing to confirm: %w", coffer.ErrConflict)
	}
	if !rec.Unconfirmed() {
		if rec.Confirmed.By == ask.Caller.ID && !rec.State.Final() {
			return p.take(ctx, permit, *rec) // what was interrupted goes on
		}
		return Result{}, fmt.Errorf("the finding is confirmed already: %w", coffer.ErrConflict)
	}
	if seen != "" && seen != rec.Tag() {
		return Result{}, fmt.Errorf("the finding was changed since it was read: %w", coffer.ErrConflict)
	}
	rec.Confirmed = &triage.Confirmation{By: ask.Caller.ID, At: p.Now().UTC()}
	rec.Reason = ""
	if err := p.record(ctx, permit, rec, "confirmed", audit.Done, nil); err != nil {
		return Result{}, err
	}
	return p.take(ctx, permit, *rec)
}

// supersede puts what a trusted source says of a finding in the place of what somebody submitted under its id. Nothing was read for
// that yet, and nothing of it stays but what people wrote about the finding.
func (p *Pipeline) supersede(ctx context.Context, permit *audit.Permit, rec, fresh *triage.Record) error {
	lines := make([]triage.Line, len(fresh.Finding.Occurrences))
	for i, o := range fresh.Finding.Occurrences {
		lines[i] = triage.Line{Occurrence: o}
	}
	was := rec.ObjectID
	rec.Finding, rec.ObjectID, rec.Count, rec.Submitter = fresh.Finding, fresh.ObjectID, fresh.Count, ""
	rec.Finding.Occurrences = nil
	rec.State, rec.Reason, rec.Tallies = triage.StateReceived, "", nil
	ops := triage.SaveLines(rec.Finding.ID, lines)
	stale, err := p.Records.StaleLines(ctx, rec.Finding.ID, lines)
	if err != nil {
		return err
	}
	if ops, err = p.saveLines(ctx, rec, append(ops, stale...)); err != nil {
		return err
	}
	if was != rec.ObjectID {
		ops = append(ops, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: store.Key{Part: "O#" + was, Sort: "f#" + rec.Finding.ID}}})
	}
	return p.record(ctx, permit, rec, "superseded", audit.Done, nil, append(ops, linkOp(rec))...)
}
