package triage

import (
	"context"
	"time"

	"coffer/access"
	"coffer/audit"
)

// Counts returns how many findings each of several filters selects at one moment, in their order: what an overview is made of. It is one act of
// [access.FindingList], and looks at bitmaps alone, not at rows, unless a filter asks for what has none. Errors are those of [Desk.Page].
func (d *Desk) Counts(ctx context.Context, ask access.Ask, filters ...Filter) ([]int, error) {
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

// Count returns how many findings a filter selects. Like [Index.Counts] it asks no policy and records nothing.
func (x *Index) Count(ctx context.Context, f Filter, now time.Time) (int, error) {
	lag := x.Refresh(ctx)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.table == nil {
		return 0, lag
	}
	return x.table.size(x.table.match(f, now)), nil
}

// Counts returns how many findings each of several filters selects, brought up to date once. Errors are those of [Index.Query].
func (x *Index) Counts(ctx context.Context, now time.Time, filters ...Filter) ([]int, error) {
	lag := x.Refresh(ctx)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.table == nil {
		return nil, lag
	}
	out := make([]int, len(filters))
	for i, f := range filters {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out[i] = x.table.size(x.table.match(f, now))
	}
	return out, nil
}
