package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/macie"
	"coffer/store"
)

// Arrival is what came in and what became of it: one for each finding, and for each thing that is none. A document that comes
// again is the same arrival, seen once more.
type Arrival struct {
	Key     string         `json:"key"` // the finding's id, or a keyed hash of the document
	Finding string         `json:"finding,omitempty"`
	Object  *coffer.Object `json:"object,omitempty"`
	Kind    macie.Kind     `json:"kind"`
	From    string         `json:"from,omitempty"` // the name of the file or stream it came in last
	Status  Status         `json:"status"`
	Reason  string         `json:"reason,omitempty"`
	First   time.Time      `json:"first"`
	Last    time.Time      `json:"last"`
	Seen    int            `json:"seen"`

	Occurrences int `json:"occurrences"`
	Sealed      int `json:"sealed"`
}

// arrivals is the list of arrivals, by key. Every finding writes to it, so that it is spread wide enough for a burst.
var arrivals = store.Spread{Name: "I", Shards: 16}

// TakeDocument takes in whatever a stream of findings held: a finding is processed, anything else is recorded with the reason
// why it is not. Errors are as for [Pipeline.Take].
func (p *Pipeline) TakeDocument(ctx context.Context, ask access.Ask, d macie.Document, origin coffer.Origin, from string) (Result, error) {
	res := Result{Finding: d.ID, Status: Skipped, Reason: d.Reason}
	if d.Object.Key != "" {
		res.Object = &coffer.Object{Bucket: d.Object.Bucket, Key: d.Object.Key, VersionID: d.Object.VersionID}
	}
	switch d.Kind {
	case macie.KindFinding:
		f := *d.Finding
		f.Origin = origin
		var err error
		if res, err = p.Take(ctx, ask, f); err != nil {
			return res, err
		}
	case macie.KindUnreadable:
		res.Status, res.Reason = Failed, d.Err.Error()
	}
	if d.Kind != macie.KindFinding {
		// What is no finding is recorded under the same permission as one.
		permit, err := p.Guard.Check(ctx, ask.Caller, access.EventIngest, access.Resource{Kind: access.System}, ask.Context)
		if err != nil {
			return res, err
		}
		e := permit.Entry(audit.Done)
		if res.Status == Failed {
			e.Outcome = audit.Failed
		}
		e.Detail = map[string]string{"kind": string(d.Kind), "status": string(res.Status)}
		return res, p.arrive(ctx, &e, d, from, res)
	}
	return res, p.arrive(ctx, nil, d, from, res)
}

// arrive records the arrival of a document.
func (p *Pipeline) arrive(ctx context.Context, e *audit.Entry, d macie.Document, from string, res Result) error {
	key := d.ID
	if key == "" || d.Kind != macie.KindFinding {
		// The id of what is no finding is not validated, and unreadable documents have none.
		key = fmt.Sprintf("x-%x", p.MAC("document", append([]byte(strconv.Itoa(d.N)+"\x00"+from+"\x00"+d.ID+"\x00"), d.Raw...))[:16])
	}
	for range 8 {
		a := Arrival{
			Key: key, Finding: res.Finding, Object: res.Object, Kind: d.Kind, From: from, Status: res.Status, Reason: res.Reason,
			First: p.Now().UTC(), Last: p.Now().UTC(), Seen: 1, Occurrences: res.Occurrences, Sealed: res.Sealed,
		}
		expect := store.Absent
		it, err := p.DB.Get(ctx, arrivals.Key(key))
		if err == nil {
			var old Arrival
			if err := json.Unmarshal(it.Value, &old); err != nil {
				return fmt.Errorf("arrival: %w", coffer.ErrCorrupt)
			}
			a.First, a.Seen, expect = old.First, old.Seen+1, it.Version
		} else if !errors.Is(err, coffer.ErrNotFound) {
			return fmt.Errorf("arrival: %w", err)
		}
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		op := store.Op{Verb: store.Put, Expect: expect, Item: store.Item{
			Key: arrivals.Key(key), Value: b, Version: store.NewVersion()}}
		if e != nil {
			_, err = p.Guard.Log.Apply(ctx, *e, op)
		} else {
			err = p.DB.Apply(ctx, op)
		}
		if !errors.Is(err, coffer.ErrConflict) {
			return err
		}
	}
	return nil // others keep counting the same document; it is recorded
}

// Arrivals yields everything that came in, by key.
func (p *Pipeline) Arrivals(ctx context.Context) iter.Seq2[Arrival, error] {
	return func(yield func(Arrival, error) bool) {
		for it, err := range arrivals.Query(ctx, p.DB, store.Range{}) {
			var a Arrival
			if err == nil && json.Unmarshal(it.Value, &a) != nil {
				err = fmt.Errorf("arrival: %w", coffer.ErrCorrupt)
			}
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}

// ListArrivals returns what came in, latest first.
func (p *Pipeline) ListArrivals(ctx context.Context, ask access.Ask) ([]Arrival, error) {
	permit, err := p.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	var out []Arrival
	for a, err := range p.Arrivals(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b Arrival) int { return b.Last.Compare(a.Last) })
	return out, p.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}
