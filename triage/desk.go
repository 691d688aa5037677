package triage

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/object"
	"coffer/store"
)

// Desk is where people look at findings, judge them and see to it that something is done. Its methods ask the policy and record the
// answer. Its fields do not change once it is in use; concurrent use is safe.
//
// Every change of a finding is a compare-and-swap of its record, whose Revision counts the changes. A [Target] can name the revision that the
// caller has seen; any later one gives coffer.ErrConflict, as does somebody else's change in the middle of one's own. Nothing is
// tried again.
type Desk struct {
	Records Records
	Guard   *audit.Guard
	Now     func() time.Time
	// MAC is the installation's keyed hash for a purpose; cursors are authenticated with it.
	MAC func(label string, data []byte) []byte
	// Scrub returns a text that somebody wrote with everything that the detectors find in it replaced.
	Scrub func(text string) string
	// Objects and Allow are where the protections of objects are looked up, and in which buckets.
	Objects object.Reader
	Allow   func(bucket string) bool

	once  sync.Once
	index *Index
}

// Index returns the index that the desk's lists come from, made on first use. A process that stays follows it; see [Index.Follow].
func (d *Desk) Index() *Index {
	d.once.Do(func() { d.index = NewIndex(d.Records) })
	return d.index
}

// List returns all findings that the filter selects, newest first.
func (d *Desk) List(ctx context.Context, ask access.Ask, f Filter) ([]Summary, error) {
	l, err := d.Page(ctx, ask, PageQuery{Filter: f})
	if err != nil {
		return nil, err
	}
	return l.Findings, l.Lag
}

// Export returns all findings that the filter selects, in order, to be taken away. That it was taken is in the log before it returns. A list
// that could not be brought up to date is refused: nobody looks again at what they took.
func (d *Desk) Export(ctx context.Context, ask access.Ask, f Filter, o Order) ([]Summary, error) {
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	order, err := ParseOrder(string(o))
	if err != nil {
		return nil, err
	}
	p, err := d.Index().Query(ctx, Query{Filter: f, Order: order, Now: d.Now()})
	if err != nil {
		return nil, err
	}
	if p.Lag != nil {
		return nil, p.Lag
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": "export", "findings": strconv.Itoa(len(p.Findings))}
	if _, err := d.Guard.Log.Append(ctx, e); err != nil {
		return nil, err
	}
	return p.Findings, nil
}

// PageQuery asks for a page of a list.
type PageQuery struct {
	Filter Filter
	Order  Order    // empty: NewestFirst
	Limit  int      // findings in the page; 0: all
	Cursor string   // Next or Prev of another page, for the same caller, filter and order; empty: the first page
	Facets []string // see [Query]
}

// Listing is a page of a list.
type Listing struct {
	Page
	// Next and Prev are the cursors of the pages behind and before this one; empty: there is none. They are opaque, belong to the
	// caller, the filter and the order, and do not expire.
	Next, Prev string
}

// Page returns a page of a list with counts of the whole. A cursor that was altered, or made for another caller, filter or order, gives
// coffer.ErrInvalid.
func (d *Desk) Page(ctx context.Context, ask access.Ask, q PageQuery) (*Listing, error) {
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	order, err := ParseOrder(string(q.Order))
	if err != nil {
		return nil, err
	}
	bound := cursorBinding(ask.Caller.ID, q.Filter, order)
	after, err := d.place(bound, q.Cursor)
	if err != nil {
		return nil, err
	}
	p, err := d.Index().Query(ctx, Query{Filter: q.Filter, Order: order, Limit: q.Limit, After: after, Facets: q.Facets, Now: d.Now()})
	if err != nil {
		return nil, err
	}
	l := &Listing{Page: p, Next: d.cursor(bound, p.Next), Prev: d.cursor(bound, p.Prev)}
	return l, d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// Beside returns where a finding that the caller reads stands in the list of a filter. It is an act of [access.FindingList]. Errors are
// those of [Desk.Page], and coffer.ErrNotFound for a finding that there is none of.
func (d *Desk) Beside(ctx context.Context, ask access.Ask, f Filter, o Order, id string) (Beside, error) {
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return Beside{}, err
	}
	b, err := d.Index().Beside(ctx, f, o, id, d.Now())
	if err != nil {
		return Beside{}, err
	}
	return b, d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// cursorBinding is what a cursor belongs to. The parts have lengths so that no two bindings are the same bytes.
func cursorBinding(caller string, f Filter, o Order) []byte {
	return encode([]string{caller, f.String(), string(o)})
}

const cursorTag = 16 // bytes

func (d *Desk) cursor(bound []byte, p *Place) string {
	if p == nil {
		return ""
	}
	b := encode(p)
	return base64.RawURLEncoding.EncodeToString(append(d.cursorMAC(bound, b), b...))
}

func (d *Desk) cursorMAC(bound, place []byte) []byte {
	return slices.Clip(d.MAC("cursor", encode([][]byte{bound, place}))[:cursorTag])
}

func (d *Desk) place(bound []byte, cursor string) (*Place, error) {
	if cursor == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) < cursorTag || !hmac.Equal(b[:cursorTag], d.cursorMAC(bound, b[cursorTag:])) {
		return nil, fmt.Errorf("cursor: it belongs to another list; begin without one: %w", coffer.ErrInvalid)
	}
	var p Place
	if err := json.Unmarshal(b[cursorTag:], &p); err != nil {
		return nil, fmt.Errorf("cursor: %w", coffer.ErrInvalid)
	}
	return &p, nil
}

// Read returns a finding with its occurrences, masked.
func (d *Desk) Read(ctx context.Context, ask access.Ask, id string) (*Record, []Line, error) {
	v, err := d.Look(ctx, ask, id)
	if err != nil {
		return nil, nil, err
	}
	return v.Record.clone(), cloneLines(v.Lines), nil
}

// Look is Read for who changes nothing of what they get: it may be shared, and then costs next to nothing.
func (d *Desk) Look(ctx context.Context, ask access.Ask, id string) (*Detail, error) {
	v, keep := d.Records.kept(id)
	var permit *audit.Permit
	var err error
	if v != nil {
		permit, err = d.Guard.Check(ctx, ask.Caller, access.FindingRead, v.Resource, ask.Context)
	} else {
		v = new(Detail)
		if v.Record, permit, err = d.get(ctx, ask, access.FindingRead, id); err == nil {
			v.Resource = v.Record.Resource()
			v.Lines, err = d.Records.Lines(ctx, id)
		}
	}
	if err != nil {
		return nil, err
	}
	keep(v)
	return v, d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// get returns the record of a finding with the permit to do this with it. A finding that is not there answers like one that the
// caller may not know of.
func (d *Desk) get(ctx context.Context, ask access.Ask, action access.Action, id string) (*Record, *audit.Permit, error) {
	rec, err := d.Records.Get(ctx, id)
	if errors.Is(err, coffer.ErrNotFound) {
		unknown := access.Resource{Kind: access.Finding, ID: "unknown", Origins: []coffer.Origin{coffer.OriginOperator}}
		if _, derr := d.Guard.Check(ctx, ask.Caller, action, unknown, ask.Context); errors.Is(derr, coffer.ErrUnavailable) {
			return nil, nil, derr
		}
	}
	if err != nil {
		return nil, nil, err
	}
	permit, err := d.Guard.Check(ctx, ask.Caller, action, rec.Resource(), ask.Context)
	return rec, permit, err
}

// Target names what is changed.
type Target struct {
	Finding string
	N       int    // the occurrence; 0: the finding
	Match   string // the Tag of the record that the caller has seen; empty: any
	// Attempt, at most 64 bytes, names the change, so that repeating it, because its answer was lost or the process died before it
	// could give one, does not make it twice; see [Record.Attempts]. Empty: every call is a change of its own.
	Attempt string
}

// Tag names the state of the record, opaquely, for a [Target] and as an ETag.
func (r *Record) Tag() string { return "r" + strconv.FormatUint(r.Revision, 10) }

const (
	keptAttempts = 8
	maxAttempt   = 64 // bytes
)

// change changes a finding: f changes the record and says in detail what it did, with further operations. The entry is in the same Apply.
func (d *Desk) change(ctx context.Context, ask access.Ask, t Target, what string,
	f func(rec *Record, detail map[string]string) ([]store.Op, error)) (*Record, error) {
	rec, permit, err := d.get(ctx, ask, access.VerdictSet, t.Finding)
	if err != nil {
		return nil, err
	}
	entry := permit.Entry(audit.Done)
	entry.Object = rec.ObjectID
	entry.Detail = map[string]string{"change": what}
	if t.N != 0 {
		entry.Occurrences = []int{t.N}
	}
	switch {
	case len(t.Attempt) > maxAttempt:
		return nil, fmt.Errorf("the name of an attempt has at most %d bytes: %w", maxAttempt, coffer.ErrInvalid)
	case t.Attempt != "" && slices.Contains(rec.Attempts, t.Attempt):
		entry.Detail["repeated"] = "true"
		_, err := d.Guard.Log.Append(ctx, entry)
		return rec, err
	case t.Match != "" && t.Match != rec.Tag():
		return nil, fmt.Errorf("finding %s was changed since it was read: %w", t.Finding, coffer.ErrConflict)
	}
	ops, err := f(rec, entry.Detail)
	if err != nil {
		return nil, err
	}
	if t.Attempt != "" {
		rec.Attempts = append(rec.Attempts, t.Attempt)
		rec.Attempts = rec.Attempts[max(0, len(rec.Attempts)-keptAttempts):]
	}
	if _, err = d.Guard.Log.Apply(ctx, entry, append(rec.Save(), ops...)...); err != nil {
		return nil, fmt.Errorf("finding %s: %w", t.Finding, err)
	}
	return rec, nil
}

// Judge records a verdict on a finding, or on one of its occurrences. A finding judged a false positive or intended is closed; but one
// with card data that is meant to be there stays open until [Desk.Close] has what PCI DSS asks. A closed finding judged true is open
// again. The note is scrubbed and kept with the verdict.
func (d *Desk) Judge(ctx context.Context, ask access.Ask, t Target, v Verdict, note string) (*Record, error) {
	return d.change(ctx, ask, t, "verdict", func(rec *Record, detail map[string]string) ([]store.Op, error) {
		if v != True && v != FalsePositive && v != Intended {
			return nil, fmt.Errorf("verdict is one of true, false-positive, intended: %w", coffer.ErrInvalid)
		}
		detail["verdict"] = string(v)
		note := d.Scrub(note)
		now := d.Now().UTC()
		rec.Judged = now
		if t.N != 0 {
			return d.judgeLine(ctx, rec, t.N, v, note)
		}
		rec.Verdict, rec.Note = v, note
		switch {
		case v == True && rec.Status == Closed:
			rec.reopen(now)
		case v != True && rec.Status.Active() && (v == FalsePositive || !rec.cardData()):
			rec.Status = Closed
			rec.Closing = &Closing{Disposition: string(v), At: now, By: ask.Caller.ID}
		}
		return nil, nil
	})
}

// Withdraw takes the verdict on a finding back, as if nobody had judged it; a finding that the verdict closed is open again.
func (d *Desk) Withdraw(ctx context.Context, ask access.Ask, t Target) (*Record, error) {
	return d.change(ctx, ask, t, "verdict", func(rec *Record, detail map[string]string) ([]store.Op, error) {
		if rec.Verdict == "" {
			return nil, fmt.Errorf("finding %s has no verdict: %w", t.Finding, coffer.ErrConflict)
		}
		detail["verdict"] = "withdrawn"
		if c := rec.Closing; rec.Status == Closed && c != nil && c.Disposition == string(rec.Verdict) {
			rec.reopen(d.Now().UTC())
		}
		rec.Verdict, rec.Note, rec.Judged = "", "", time.Time{}
		return nil, nil
	})
}

// judgeLine returns the operation that stores a verdict on one occurrence.
func (d *Desk) judgeLine(ctx context.Context, rec *Record, n int, v Verdict, note string) ([]store.Op, error) {
	lines, err := d.Records.Lines(ctx, rec.Finding.ID)
	if err != nil {
		return nil, err
	}
	i, ok := slices.BinarySearchFunc(lines, n, func(l Line, n int) int { return l.N - n })
	if !ok {
		return nil, fmt.Errorf("occurrence %d of finding %s: %w", n, rec.Finding.ID, coffer.ErrNotFound)
	}
	if rec.Tallies == nil {
		rec.Tallies = map[coffer.DataType]Tally{}
	}
	tally := rec.Tallies[lines[i].Type]
	tally.add(lines[i].Verdict, -1)
	tally.add(v, 1)
	rec.Tallies[lines[i].Type] = tally
	lines[i].Verdict, lines[i].Note = v, note
	return SaveLines(rec.Finding.ID, lines)[i/linesInChunk:][:1], nil
}

func (t *Tally) add(v Verdict, n int) {
	switch v {
	case FalsePositive:
		t.False += n
	case True, Intended:
		t.True += n
	}
}

func (r *Record) reopen(now time.Time) {
	r.Status, r.Closing, r.Opened = Open, nil, now
}

// cardData reports whether the finding is about payment cards, so that PCI DSS 12.10.7 applies.
func (r *Record) cardData() bool {
	return slices.ContainsFunc(r.Finding.Detections, func(d coffer.Detection) bool {
		switch d.Type {
		case coffer.CardNumber, coffer.CardNumberNoKeyword, coffer.CardExpiration:
			return true
		}
		return d.Type.Authentication()
	})
}
