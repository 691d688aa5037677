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
	"coffer/triage"
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

	// Came says how a finding that Macie stands for came in; empty for everything else.
	Came Came `json:"came,omitempty"`
	// Updated is when Macie changed the finding last, as of Last.
	Updated time.Time `json:"updated,omitzero"`
}

// Came is how a finding that Macie stands for came in first.
type Came string

const (
	byItself Came = "" // not read again from Macie
	event    Came = "event"
	retaken  Came = "retaken"
)

// arrivals is the list of arrivals, by key. Every finding writes to it, so that it is spread wide enough for a burst.
var arrivals = store.Spread{Name: "I", Shards: 16}

// TakeDocument takes in whatever a stream of findings held: a finding is processed, anything else is recorded with the reason
// why it is not. Errors are as for [Pipeline.Take].
//
// With Macie at hand, a finding that stands on the word of the operator or of a service is read again from Macie by its id, and what
// Macie says is taken in its place, on Macie's word. One that Macie does not have is not believed: from a service it is
// submitted, so that nothing is read for it; the operator's stays the operator's. While Macie cannot be asked nothing is taken in.
func (p *Pipeline) TakeDocument(ctx context.Context, ask access.Ask, d macie.Document, origin coffer.Origin, from string) (Result, error) {
	came := byItself
	if d.Kind == macie.KindFinding && p.Macie != nil && origin == coffer.OriginOperator && d.Form != macie.FormResult {
		f := triage.Record{Finding: *d.Finding}
		f.Finding.Origin = origin
		if _, err := p.Guard.Check(ctx, ask.Caller, access.EventIngest, f.Resource(), ask.Context); err != nil {
			return Result{}, err
		}
		fresh, err := p.Macie.Findings(ctx, []string{d.ID})
		if err != nil {
			return Result{}, fmt.Errorf("read the finding again: %w", err)
		}
		if own, ok := fresh[d.ID]; ok {
			own.N = d.N
			d, origin, came = own, coffer.OriginMacie, event
		} else if ask.Caller.Kind == access.ServiceCaller {
			origin = coffer.OriginSubmitted
		}
	}
	return p.takeDocument(ctx, ask, access.EventIngest, d, origin, from, came)
}

func (p *Pipeline) takeDocument(ctx context.Context, ask access.Ask, action access.Action, d macie.Document, origin coffer.Origin, from string, came Came) (Result, error) {
	res := Result{Finding: d.ID, Status: Skipped, Reason: d.Reason}
	if d.Object.Key != "" {
		res.Object = &coffer.Object{Bucket: d.Object.Bucket, Key: d.Object.Key, VersionID: d.Object.VersionID}
	}
	switch d.Kind {
	case macie.KindFinding:
		f := *d.Finding
		f.Origin = origin
		var err error
		if res, err = p.takeAs(ctx, ask, action, f); err != nil {
			return res, err
		}
	case macie.KindUnreadable:
		res.Status, res.Reason = Failed, d.Err.Error()
	}
	if d.Kind != macie.KindFinding {
		// What is no finding is recorded under the same permission as one.
		permit, err := p.Guard.Check(ctx, ask.Caller, action, access.Resource{Kind: access.System}, ask.Context)
		if err != nil {
			return res, err
		}
		e := permit.Entry(audit.Done)
		if res.Status == Failed {
			e.Outcome = audit.Failed
		}
		e.Detail = map[string]string{"kind": string(d.Kind), "status": string(res.Status)}
		return res, p.arrive(ctx, &e, d, from, res, byItself)
	}
	return res, p.arrive(ctx, nil, d, from, res, came)
}

// arrive records the arrival of a document, and in the ledger how a finding came that Macie stands for.
func (p *Pipeline) arrive(ctx context.Context, e *audit.Entry, d macie.Document, from string, res Result, came Came) error {
	key := d.ID
	if key == "" || d.Kind != macie.KindFinding {
		// The id of what is no finding is not validated, and unreadable documents have none.
		key = fmt.Sprintf("x-%x", p.MAC("document", append([]byte(strconv.Itoa(d.N)+"\x00"+from+"\x00"+d.ID+"\x00"), d.Raw...))[:16])
	}
	for range 8 {
		a := Arrival{
			Key: key, Finding: res.Finding, Object: res.Object, Kind: d.Kind, From: from, Status: res.Status, Reason: res.Reason,
			First: p.Now().UTC(), Last: p.Now().UTC(), Seen: 1, Occurrences: res.Occurrences, Sealed: res.Sealed, Came: came, Updated: d.Updated,
		}
		expect := store.Absent
		old, version, err := p.arrival(ctx, key)
		if err == nil {
			a.First, a.Seen, expect = old.First, old.Seen+1, version
			if old.Came != byItself {
				a.Came = old.Came // it is in the ledger
			}
		} else if !errors.Is(err, coffer.ErrNotFound) {
			return err
		}
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		ops := []store.Op{{Verb: store.Put, Expect: expect, Item: store.Item{Key: arrivals.Key(key), Value: b, Version: store.NewVersion()}}}
		if a.Came != byItself && old.Came == byItself {
			ops = append(ops, cameOp(key, d.Created, a.Came))
		}
		if e != nil {
			_, err = p.Guard.Log.Apply(ctx, *e, ops...)
		} else {
			err = p.DB.Apply(ctx, ops...)
		}
		if !errors.Is(err, coffer.ErrConflict) {
			return err
		}
	}
	if came != byItself {
		return fmt.Errorf("arrival: others keep changing it: %w", coffer.ErrConflict)
	}
	return nil // others keep counting the same document; it is recorded
}

// arrival returns the arrival with this key and its version; an error wrapping coffer.ErrNotFound when there is none.
func (p *Pipeline) arrival(ctx context.Context, key string) (Arrival, string, error) {
	var a Arrival
	it, err := p.DB.Get(ctx, arrivals.Key(key))
	if err == nil && json.Unmarshal(it.Value, &a) != nil {
		err = coffer.ErrCorrupt
	}
	if err != nil {
		return Arrival{}, "", fmt.Errorf("arrival: %w", err)
	}
	return a, it.Version, nil
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
