package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"coffer"
	"coffer/access"
	"coffer/store"
)

// TakeJob is the kind of the jobs whose items are findings that were received and left, for [Pipeline.Resume] to take in.
const TakeJob = "event.take"

// Resume takes in a finding that was received already and that lacks its sealed values, such as one that was [Result.Left], from what is
// stored of it, and records in its arrival what became of it. A finding that is taken in is left as it is. Errors are as for
// [Pipeline.Take]; coffer.ErrNotFound for a finding that was never received.
func (p *Pipeline) Resume(ctx context.Context, ask access.Ask, id string) (Result, error) {
	rec, err := p.Records.Get(ctx, id)
	if err != nil {
		return Result{}, err
	}
	permit, err := p.Guard.Check(ctx, ask.Caller, access.EventIngest, rec.Resource(), ask.Context)
	if err != nil {
		return Result{}, err
	}
	res, err := p.untilWon(ctx, permit, rec)
	if err != nil {
		return res, err
	}
	if res.Left {
		return res, fmt.Errorf("the object of finding %s is beyond the limits of this process, too: %w", id, coffer.ErrLimit)
	}
	return res, p.settled(ctx, res)
}

// settled records in the arrival of a finding what became of it.
func (p *Pipeline) settled(ctx context.Context, res Result) error {
	for range 8 {
		a, version, err := p.arrival(ctx, res.Finding)
		if errors.Is(err, coffer.ErrNotFound) {
			return nil // its worker ended before it was recorded; the event comes again
		}
		if err != nil {
			return err
		}
		a.Status, a.Reason, a.Occurrences, a.Sealed = res.Status, res.Reason, res.Occurrences, res.Sealed
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		op := store.Op{Verb: store.Put, Expect: version, Item: store.Item{Key: arrivals.Key(a.Key), Value: b, Version: store.NewVersion()}}
		if err := p.DB.Apply(ctx, op); !errors.Is(err, coffer.ErrConflict) {
			return err
		}
	}
	return nil // others keep counting the same document; what became of the finding is in its record
}
