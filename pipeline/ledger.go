package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/macie"
	"coffer/store"
)

// Place is a bucket and a prefix in it.
type Place struct{ Bucket, Prefix string }

// fill puts the configured bucket into a location that was written before there was one: Macie writes the results of the 90 days
// before under the same key.
func (at Place) fill(l macie.ResultLocation) macie.ResultLocation {
	if l.Unset {
		l.Bucket, l.Key = at.Bucket, at.Prefix+l.Key
	}
	return l
}

// mayRead says whether discovery results may be read from a bucket.
func (p *Pipeline) mayRead(bucket string) bool {
	return p.Allow(bucket) || bucket != "" && bucket == p.Results.Bucket
}

// Day is the ledger of one day: what Macie found on it, and what of that came here. Counts are of findings by the day (UTC) on which
// Macie made them. Events + Retaken = Stored, and whatever else does not add up is a gap with a name.
type Day struct {
	Day        string    `json:"day"`        // 2006-01-02
	AsOf       time.Time `json:"asOf"`       // events that came later are not in it
	Events     int       `json:"events"`     // came by themselves, and Macie confirmed them
	Retaken    int       `json:"retaken"`    // did not come, and were taken in from Macie's list
	Stored     int       `json:"stored"`     // of those, how many have a record
	Listed     int       `json:"listed"`     // in Macie's list, with those that are suppressed, samples or about nothing
	Suppressed int       `json:"suppressed"` // archived, and so never sent; not taken in
	Samples    int       `json:"samples"`    // example data
	Empty      int       `json:"empty"`      // nothing was detected, or nothing analysed
	Results    int       `json:"results"`    // of those listed, how many have their discovery result in place
	Classified int       `json:"classified"` // objects of which discovery results of that day speak
	Gaps       int       `json:"gaps"`       // all of them
	Named      []Gap     `json:"named"`      // the first thousand
}

// Gap is something that does not add up.
type Gap struct {
	Kind    GapKind        `json:"kind"`
	Finding string         `json:"finding,omitempty"`
	Object  *coffer.Object `json:"object,omitempty"`
}

// GapKind says what does not add up.
type GapKind string

// The kinds of gaps.
const (
	GapNotTaken   GapKind = "not-taken"  // Macie lists it, and it could not be taken in; the next run tries again
	GapNoRecord   GapKind = "no-record"  // it came in, and there is no record of it
	GapNotListed  GapKind = "not-listed" // it came as an event, and Macie does not list it
	GapGone       GapKind = "gone"       // Macie lists its id and does not have it
	GapUnreadable GapKind = "unreadable" // Macie's answer for it is no finding
	GapChanged    GapKind = "changed"    // Macie changed it after it was taken in
	GapNoResult   GapKind = "no-result"  // its discovery result is not there
	GapNoFinding  GapKind = "no-finding" // a discovery result says that something was detected, and there is no finding
)

// Gaps says in words what each kind of gap means, in the order in which it is shown.
var Gaps = []struct {
	Kind GapKind
	Doc  string
}{
	{GapNotTaken, "Macie lists the finding, and it could not be taken in; the next run tries again"},
	{GapNoRecord, "the finding came in, and there is no record of it"},
	{GapNotListed, "the finding came as an event, and Macie does not list it"},
	{GapGone, "Macie lists the finding's id and does not have the finding"},
	{GapUnreadable, "what Macie answers for the finding cannot be read"},
	{GapChanged, "Macie changed the finding after it was taken in"},
	{GapNoResult, "the finding's discovery result is not there"},
	{GapNoFinding, "a discovery result says that something was detected, and there is no finding"},
}

// maxGaps bounds the gaps that a day names.
const maxGaps = 1000

// The ledger in the store. Each source writes lines of its own, so that none has to read before it writes, and writing one again
// changes nothing:
//
//	M#<day>#<shard>  e#<finding>  came as an event, t#<finding> was re-taken: one of the two, with the arrival
//	M#<day>#<shard>  m#<finding>  what Macie's list said
//	M#<day>#<shard>  r#<hash>     how many objects a file of results speaks of
//	M#<day>#<shard>  o#<object>   an object with a result and no finding
//	MR               d#<day>      the sum of a day
//	MR               u#<day>      a day whose sum is to be made anew
//	MR               state        how far Macie was compared
//	O#<object>       s#<finding>  a suppressed finding
func linesOf(day string) store.Spread { return store.Spread{Name: "M#" + day, Shards: 8} }

const ledgerPart = "MR"

// line is a line of the ledger.
type line struct {
	Created time.Time      `json:"created,omitzero"`
	Kind    macie.Kind     `json:"kind,omitempty"`
	Gap     GapKind        `json:"gap,omitempty"`
	Result  string         `json:"result,omitempty"` // there, missing or unset
	Object  *coffer.Object `json:"object,omitempty"`
	N       int            `json:"n,omitempty"`
}

const (
	resultThere   = "there"
	resultMissing = "missing"
	resultUnset   = "unset" // Macie had no bucket for it
)

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func lineOp(created time.Time, sort string, l line) store.Op {
	l.Created = created.UTC()
	return putOp(linesOf(dayOf(created)).Key(sort), l)
}

func putOp(k store.Key, v any) store.Op {
	b, err := json.Marshal(v)
	if err != nil {
		panic("internal error: " + err.Error()) // strings, numbers and times
	}
	return store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{Key: k, Value: b, Version: store.NewVersion()}}
}

// cameOp is the line that says how a finding came.
func cameOp(id string, created time.Time, came Came) store.Op {
	prefix := "e#"
	if came == retaken {
		prefix = "t#"
	}
	return lineOp(created, prefix+id, line{})
}

// touchOp says that the sum of a day is to be made anew.
func touchOp(day string) store.Op { return putOp(store.Key{Part: ledgerPart, Sort: "u#" + day}, 1) }

// entry is what the lines of a day say of one finding.
type entry struct {
	came, listed bool
	retaken      bool
	created      time.Time
	line
}

// sum makes the sum of a day. Whether Macie lists a finding is known of those that it made in s.
func (p *Pipeline) sum(ctx context.Context, day string, s reconciled) (Day, error) {
	out := Day{Day: day, AsOf: p.Now().UTC(), Named: []Gap{}}
	entries := map[string]*entry{}
	gap := func(k GapKind, id string, o *coffer.Object) {
		if out.Gaps++; len(out.Named) < maxGaps {
			out.Named = append(out.Named, Gap{k, id, o})
		}
	}
	for it, err := range linesOf(day).Query(ctx, p.DB, store.Range{}) {
		var l line
		if err == nil && json.Unmarshal(it.Value, &l) != nil {
			err = coffer.ErrCorrupt
		}
		if err != nil {
			return out, fmt.Errorf("ledger: %w", err)
		}
		prefix, id := it.Key.Sort[:2], it.Key.Sort[2:]
		switch prefix {
		case "r#":
			out.Classified += l.N
			continue
		case "o#":
			gap(GapNoFinding, "", l.Object)
			continue
		}
		x := entries[id]
		if x == nil {
			x = &entry{}
			entries[id] = x
		}
		x.created = l.Created
		switch prefix {
		case "e#":
			x.came = true
		case "t#":
			x.came, x.retaken = true, true
		case "m#":
			x.listed, x.line = true, l
		}
	}
	for _, id := range sorted(entries) {
		x := entries[id]
		if x.listed {
			out.Listed++
		}
		switch {
		case x.retaken:
			out.Retaken++
		case x.came:
			out.Events++
		case x.Kind == macie.KindArchived:
			out.Suppressed++
		case x.Kind == macie.KindSample:
			out.Samples++
		case x.Kind != macie.KindFinding && x.Gap == "":
			out.Empty++
		case x.Kind == macie.KindFinding && x.Gap == "":
			x.Gap = GapNotTaken
		}
		if x.came {
			_, err := p.Records.Get(ctx, id)
			switch {
			case err == nil:
				out.Stored++
			case errors.Is(err, coffer.ErrNotFound):
				gap(GapNoRecord, id, nil)
			default:
				return out, err
			}
		}
		if x.came && !x.listed && !x.created.Before(s.First) && x.created.Before(s.Until) {
			gap(GapNotListed, id, nil)
		}
		if x.Gap != "" {
			gap(x.Gap, id, nil)
		}
		switch x.Result {
		case resultThere:
			out.Results++
		case resultMissing, resultUnset:
			gap(GapNoResult, id, nil)
		}
	}
	return out, nil
}

func sorted(m map[string]*entry) []string {
	out := make([]string, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// Ledger is how what came in compares with what Macie says.
type Ledger struct {
	Configured bool      // there is a Macie to compare with
	From       time.Time // of what was compared
	Until      time.Time // zero: nothing yet
	Finished   time.Time // when the last run ended
	Days       []Day     // the latest first; days on which nothing was found are left out
}

// Sum adds the days up. Its Day is empty and its Named are those of the latest days.
func (l *Ledger) Sum() Day {
	out := Day{Named: []Gap{}}
	for _, d := range l.Days {
		out.Events, out.Retaken, out.Stored = out.Events+d.Events, out.Retaken+d.Retaken, out.Stored+d.Stored
		out.Listed, out.Suppressed, out.Samples = out.Listed+d.Listed, out.Suppressed+d.Suppressed, out.Samples+d.Samples
		out.Empty, out.Results, out.Classified = out.Empty+d.Empty, out.Results+d.Results, out.Classified+d.Classified
		out.Gaps += d.Gaps
		out.Named = append(out.Named, d.Named[:min(len(d.Named), maxGaps-len(out.Named))]...)
		if d.AsOf.After(out.AsOf) {
			out.AsOf = d.AsOf
		}
	}
	return out
}

// Ledger returns the ledger of the days from since on; the zero time: all of it.
func (p *Pipeline) Ledger(ctx context.Context, ask access.Ask, since time.Time) (*Ledger, error) {
	permit, err := p.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	s, _, err := p.reconciled(ctx)
	if err != nil {
		return nil, err
	}
	out := &Ledger{Configured: p.Macie != nil, From: s.First, Until: s.Until, Finished: s.Finished, Days: []Day{}}
	from := "d#"
	if !since.IsZero() {
		from += dayOf(since)
	}
	for it, err := range p.DB.Query(ctx, ledgerPart, store.Range{From: from, To: "d$", Reverse: true}) {
		var d Day
		if err == nil && json.Unmarshal(it.Value, &d) != nil {
			err = coffer.ErrCorrupt
		}
		if err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		if d.Events+d.Retaken+d.Listed+d.Classified+d.Gaps > 0 {
			out.Days = append(out.Days, d)
		}
	}
	return out, p.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// reconciled says how far Macie was compared.
type reconciled struct {
	First    time.Time `json:"first"`
	Until    time.Time `json:"until"`
	Finished time.Time `json:"finished"`
}

// Reconciled returns when the last run ended; the zero time: none has.
func (p *Pipeline) Reconciled(ctx context.Context) (time.Time, error) {
	s, _, err := p.reconciled(ctx)
	return s.Finished, err
}

var stateKey = store.Key{Part: ledgerPart, Sort: "state"}

func (p *Pipeline) reconciled(ctx context.Context) (s reconciled, version string, err error) {
	it, err := p.DB.Get(ctx, stateKey)
	if errors.Is(err, coffer.ErrNotFound) {
		return s, store.Absent, nil
	}
	if err == nil && json.Unmarshal(it.Value, &s) != nil {
		err = coffer.ErrCorrupt
	}
	if err != nil {
		return s, "", fmt.Errorf("ledger: %w", err)
	}
	return s, it.Version, nil
}

// settle makes the sums of the days between since and until, and of those that changed otherwise, and then says that they were compared.
func (p *Pipeline) settle(ctx context.Context, since, until time.Time) (Day, error) {
	s, version, err := p.reconciled(ctx)
	if err != nil {
		return Day{}, err
	}
	if s.Until.IsZero() || since.After(s.Until) || since.Before(s.First) {
		s.First = since
	}
	if until.After(s.Until) {
		s.Until = until
	}
	s.Finished = p.Now().UTC()
	days := map[string]string{} // with the version of the mark
	for d := since; d.Before(until.Add(24 * time.Hour)); d = d.Add(24 * time.Hour) {
		if day := dayOf(d); day <= dayOf(until) {
			days[day] = store.Any
		}
	}
	for it, err := range p.DB.Query(ctx, ledgerPart, store.Range{From: "u#", To: "u$"}) {
		if err != nil {
			return Day{}, fmt.Errorf("ledger: %w", err)
		}
		days[strings.TrimPrefix(it.Key.Sort, "u#")] = it.Version
	}
	var l Ledger
	names := make([]string, 0, len(days))
	for day := range days {
		names = append(names, day)
	}
	slices.Sort(names)
	for _, day := range names {
		sum, err := p.sum(ctx, day, s)
		if err != nil {
			return Day{}, err
		}
		l.Days = append(l.Days, sum)
		mark := store.Op{Verb: store.Delete, Expect: days[day], Item: store.Item{Key: store.Key{Part: ledgerPart, Sort: "u#" + day}}}
		err = p.DB.Apply(ctx, putOp(store.Key{Part: ledgerPart, Sort: "d#" + day}, sum), mark)
		if errors.Is(err, coffer.ErrConflict) {
			continue // it changed meanwhile, and the next run makes it anew
		}
		if err != nil {
			return Day{}, fmt.Errorf("ledger: %w", err)
		}
	}
	op := putOp(stateKey, s)
	op.Expect = version
	if err := p.DB.Apply(ctx, op); err != nil {
		return Day{}, fmt.Errorf("ledger: %w", err)
	}
	return l.Sum(), nil
}
