package triage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// Desk is where people look at findings and judge them. Its methods ask the policy and record the answer.
type Desk struct {
	Records Records
	Guard   *audit.Guard
	Now     func() time.Time
}

// List returns the findings that the filter selects, newest first.
func (d *Desk) List(ctx context.Context, ask access.Ask, f Filter) ([]Summary, error) {
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	var out []Summary
	for s, err := range d.Records.All(ctx) {
		if err != nil {
			return nil, err
		}
		if f.Match(&s) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Summary) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// Read returns a finding with its occurrences, masked.
func (d *Desk) Read(ctx context.Context, ask access.Ask, id string) (*Record, []Line, error) {
	rec, err := d.Records.Get(ctx, id)
	if err != nil {
		if errors.Is(err, coffer.ErrNotFound) {
			// A finding that is not there answers like one that the caller may not know of.
			if _, derr := d.Guard.Check(ctx, ask.Caller, access.FindingRead, access.Resource{Kind: access.Finding, ID: "unknown", Origins: []coffer.Origin{coffer.OriginOperator}}, ask.Context); derr != nil && errors.Is(derr, coffer.ErrUnavailable) {
				return nil, nil, derr
			}
		}
		return nil, nil, err
	}
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingRead, rec.Resource(), ask.Context)
	if err != nil {
		return nil, nil, err
	}
	lines, err := d.Records.Lines(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	return rec, lines, d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// Judge records a verdict on a finding, or with n not 0 on one of its occurrences. A finding judged a false positive or
// intended is closed; judged true it is open again. The note is for people and is kept with the verdict.
func (d *Desk) Judge(ctx context.Context, ask access.Ask, id string, n int, v Verdict, note string) (*Record, error) {
	rec, err := d.Records.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	permit, err := d.Guard.Check(ctx, ask.Caller, access.VerdictSet, rec.Resource(), ask.Context)
	if err != nil {
		return nil, err
	}
	if v != True && v != FalsePositive && v != Intended {
		return nil, fmt.Errorf("verdict is one of true, false-positive, intended: %w", coffer.ErrInvalid)
	}
	var ops []store.Op
	entry := permit.Entry(audit.Done)
	entry.Object = rec.ObjectID
	entry.Detail = map[string]string{"verdict": string(v)}
	if n != 0 {
		lines, err := d.Records.Lines(ctx, id)
		if err != nil {
			return nil, err
		}
		i, ok := slices.BinarySearchFunc(lines, n, func(l Line, n int) int { return l.N - n })
		if !ok {
			return nil, fmt.Errorf("occurrence %d of finding %s: %w", n, id, coffer.ErrNotFound)
		}
		lines[i].Verdict, lines[i].Note = v, note
		ops = SaveLines(id, lines)[i/linesInChunk:][:1]
		entry.Occurrences = []int{n}
	} else {
		rec.Verdict, rec.Note = v, note
		switch {
		case v == True && rec.Status == Closed:
			rec.Status, rec.Closing = Open, nil
		case v != True:
			rec.Status = Closed
			rec.Closing = &Closing{Disposition: string(v), At: d.Now().UTC(), By: ask.Caller.ID}
		}
	}
	_, err = d.Guard.Log.Apply(ctx, entry, append(rec.Save(), ops...)...)
	return rec, err
}
