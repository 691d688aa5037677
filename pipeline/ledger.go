package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/macie"
	"coffer/store"
)

// Place is where discovery results are: a bucket, a prefix in it, and the Region of the Macie whose results are compared, if it is known. Those
// of other Regions, which may go to the same bucket, have their findings there.
type Place struct{ Bucket, Prefix, Region string }

// has reports whether a key is that of a file of results: PREFIX AWSLogs/ACCOUNT/Macie/REGION/JOB/ACCOUNT/NAME.jsonl.gz ("Storing and retaining
// sensitive data discovery results"; macie.ResultLocation).
func (at Place) has(key string) bool {
	parts := strings.Split(strings.TrimPrefix(key, at.Prefix), "/")
	return strings.HasSuffix(key, ".jsonl.gz") && (at.Region == "" || len(parts) > 3 && parts[3] == at.Region)
}

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

// Gap is something that does not add up: a finding, an object, or a time of which nothing is known.
type Gap struct {
	Kind    GapKind        `json:"kind"`
	Finding string         `json:"finding,omitempty"`
	Object  *coffer.Object `json:"object,omitempty"`
	Time    *Span          `json:"time,omitempty"`
}

// GapKind says what does not add up.
type GapKind string

// The kinds of gaps.
const (
	GapNotCompared GapKind = "not-compared" // the list of this time could not be read to its end; the next run tries again
	GapNotExamined GapKind = "not-examined" // the discovery results of this time could not be read; the next run tries again

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
	{GapNotCompared, "Macie's list of the findings that changed in this time could not be read to its end; the next run tries again"},
	{GapNotExamined, "the discovery results that were written in this time could not all be read; the next run tries again"},
	{GapNotTaken, "Macie lists the finding, and it could not be taken in; the next run tries again"},
	{GapNoRecord, "the finding came in, and there is no record of it"},
	{GapNotListed, "the finding came as an event, and Macie does not list it"},
	{GapGone, "Macie lists the finding's id and does not have the finding"},
	{GapUnreadable, "what Macie answers for the finding cannot be read"},
	{GapChanged, "Macie changed the finding after it was taken in"},
	{GapNoResult, "the finding's discovery result is not there"},
	{GapNoFinding, "a discovery result says that something was detected, and there is no finding"},
}

// maxGaps bounds the gaps that a day names. Times come first.
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
//	MR               state        which times were compared
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

// sum makes the sum of a day. Whether Macie lists a finding is known of those that it made since the list was compared without a gap.
func (p *Pipeline) sum(ctx context.Context, day string, s reconciled) (Day, error) {
	out := Day{Day: day, AsOf: p.Now().UTC(), Named: []Gap{}}
	entries := map[string]*entry{}
	add := func(g Gap) {
		if out.Gaps++; len(out.Named) < maxGaps {
			out.Named = append(out.Named, g)
		}
	}
	gap := func(k GapKind, id string, o *coffer.Object) { add(Gap{Kind: k, Finding: id, Object: o}) }
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return out, fmt.Errorf("ledger: %w", coffer.ErrCorrupt)
	}
	for _, x := range s.List.holes(Span{at, at.Add(24 * time.Hour)}) {
		add(Gap{Kind: GapNotCompared, Time: &x})
	}
	for _, x := range s.Results.holes(Span{at, at.Add(24 * time.Hour)}) {
		add(Gap{Kind: GapNotExamined, Time: &x})
	}
	listed := s.List.Done.last()
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
			found := false
			if l.Kind == macie.KindFinding { // it may have come since
				if found, err = p.known(ctx, id, *l.Object); err != nil {
					return out, err
				}
			}
			if !found {
				l.Object.ETag = "" // of a small object it is an unkeyed hash of what it holds
				gap(GapNoFinding, "", l.Object)
			}
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
	for _, id := range slices.Sorted(maps.Keys(entries)) {
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
		if x.came && !x.listed && !x.created.Before(listed.From) && x.created.Before(listed.Until) {
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

// Ledger is how what came in compares with what Macie says.
type Ledger struct {
	Configured bool      // there is a Macie to compare with
	From       time.Time // since then everything was compared
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
	out := &Ledger{Configured: p.Macie != nil, From: s.List.Done.last().From, Until: s.List.Done.last().Until, Finished: s.Finished, Days: []Day{}}
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

// reconciled says which times were compared.
type reconciled struct {
	List     progress  `json:"list"`    // of Macie's list, by when findings were changed
	Results  progress  `json:"results"` // of the discovery results, by when they were written
	Finished time.Time `json:"finished"`
}

// progress is how far the steps of one kind came. What a step began and did not finish, whatever stopped it, is known by that.
type progress struct {
	Begun   spans `json:"begun,omitempty"`   // a step was at it
	Done    spans `json:"done,omitempty"`    // a step came to its end
	Settled spans `json:"settled,omitempty"` // late enough that it needs not be done again
}

// holes returns what of s was begun and never done.
func (g progress) holes(s Span) spans {
	var out spans
	for _, x := range g.Begun.within(s) {
		out = append(out, g.Done.missing(x)...)
	}
	return out
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

// advance changes what is known of the times that were compared, in one Apply that apply makes. Runs may advance it at the same time.
func (p *Pipeline) advance(ctx context.Context, change func(*reconciled), apply func(store.Op) error) error {
	for range 16 {
		s, version, err := p.reconciled(ctx)
		if err != nil {
			return err
		}
		change(&s)
		op := putOp(stateKey, s)
		op.Expect = version
		if err = apply(op); err == nil {
			return nil
		}
		if !errors.Is(err, coffer.ErrConflict) {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	return fmt.Errorf("ledger: other runs keep changing it: %w", coffer.ErrUnavailable)
}

// touch has the sums of the days of a span made anew.
func (p *Pipeline) touch(ctx context.Context, s Span) error {
	var ops []store.Op
	for at := s.From.UTC().Truncate(24 * time.Hour); at.Before(s.Until); at = at.Add(24 * time.Hour) {
		ops = append(ops, touchOp(dayOf(at)))
	}
	for batch := range slices.Chunk(ops, store.MaxOps) {
		if err := p.DB.Apply(ctx, batch...); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	return nil
}

// settle makes the sums of the days of which a step had something to say.
func (p *Pipeline) settle(ctx context.Context) (Day, error) {
	s, _, err := p.reconciled(ctx)
	if err != nil {
		return Day{}, err
	}
	days := map[string]string{} // with the version of the mark
	for it, err := range p.DB.Query(ctx, ledgerPart, store.Range{From: "u#", To: "u$"}) {
		if err != nil {
			return Day{}, fmt.Errorf("ledger: %w", err)
		}
		days[strings.TrimPrefix(it.Key.Sort, "u#")] = it.Version
	}
	var l Ledger
	for _, day := range slices.Sorted(maps.Keys(days)) {
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
	return l.Sum(), nil
}
