package triage

import (
	"context"
	"time"

	"coffer/access"
	"coffer/audit"
)

// Sum is what a filter selects, in numbers.
type Sum struct {
	Findings int
	Values   int64 // sealed
	Objects  int
}

// Counts returns the sums of several filters at one moment, in their order: what an overview is made of. It is one act of [access.FindingList],
// and as cheap as one list. Errors are those of [Desk.Page].
func (d *Desk) Counts(ctx context.Context, ask access.Ask, filters ...Filter) ([]Sum, error) {
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	out, err := d.Index().Counts(ctx, d.Now(), filters...)
	if err != nil {
		return nil, err
	}
	return out, d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// Count returns how many findings a filter selects, which is cheaper than a sum. Like [Index.Counts] it asks no policy and records nothing.
func (x *Index) Count(ctx context.Context, f Filter, now time.Time) (int, error) {
	lag := x.Refresh(ctx)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.table == nil {
		return 0, lag
	}
	return x.table.size(x.table.match(f, now)), nil
}

// Counts returns the sums of several filters, brought up to date once. Errors are those of [Index.Query].
func (x *Index) Counts(ctx context.Context, now time.Time, filters ...Filter) ([]Sum, error) {
	lag := x.Refresh(ctx)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.table == nil {
		return nil, lag
	}
	out := make([]Sum, len(filters))
	for i, f := range filters {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		among := x.table.match(f, now)
		out[i].Findings = x.table.size(among)
		out[i].Values, out[i].Objects = x.table.sums(among)
	}
	return out, nil
}
