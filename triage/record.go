// Package triage keeps what is known and judged about each finding: its record, its occurrences with their outcomes, verdict,
// status and the list that every overview and count is made from. It holds masked forms only; values are in package vault.
//
// Layout in the store, all of it sealed there:
//
//	F#<finding>   meta           the [Record]
//	F#<finding>   o#<number>     chunks of [Line], named by the number of their first occurrence
//	F#<finding>   n#<number>     a [Note]
//	L#<shard>     <finding>      the [Summary] of the finding, spread over 32 shards, rewritten by every change of the record
//	C#<shard>     <time>#<finding>  the change feed, spread over 16 shards: which finding was changed when. See [Index]
//	I#head, I#<slot>             the snapshot of the [Index], in chunks
//	W#shared, W#<caller>         saved views
package triage

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
	"coffer/store"
)

// State says how far the intake of a finding has come.
type State string

// The states of a finding's intake.
const (
	StateReceived State = "received" // known, nothing sealed yet
	StateSealing  State = "sealing"  // a worker is sealing a generation of values
	StateSealed   State = "sealed"   // every value that stands at a reported place is sealed and was read back
	StatePartial  State = "partial"  // as sealed, but not all that Macie detected is located
	StateUnsealed State = "unsealed" // nothing could be sealed; see Reason
	StateParked   State = "parked"   // the bytes cannot be read now, such as those of an archived object; taking it in again tries again
	StateFailed   State = "failed"   // the finding could not be processed; see Reason. Taking it in again tries again
)

// Final reports that intake has nothing more to do for the finding.
func (s State) Final() bool { return s == StateSealed || s == StatePartial || s == StateUnsealed }

// Status is where a finding stands for the people who work on it.
type Status string

// The statuses of a finding.
const (
	Open       Status = "open"
	InProgress Status = "in-progress" // somebody works on it
	Fixed      Status = "fixed"       // a fix was applied and verified; undo is still possible
	Closed     Status = "closed"      // judged, or fixed for good
)

// Active reports whether there is still something to do about the finding: it is open, whether or not somebody works on it.
func (s Status) Active() bool { return s == Open || s == InProgress }

// Verdict is a person's judgement of an occurrence or finding.
type Verdict string

// The verdicts.
const (
	True          Verdict = "true"
	FalsePositive Verdict = "false-positive"
	Intended      Verdict = "intended" // meant to be there, and protected
)

// Ref names an occurrence of another finding.
type Ref struct {
	Finding string `json:"finding"`
	N       int    `json:"n"`
}

// Closing is what PCI DSS 4.0.1 requirement 12.10.7 asks to be recorded when stored card data was found where it was not
// expected.
type Closing struct {
	Disposition        string    `json:"disposition"`
	AuthenticationData bool      `json:"authenticationData"` // was sensitive authentication data stored with it
	Origin             string    `json:"origin"`             // where it came from
	CorrectiveAction   string    `json:"correctiveAction"`
	At                 time.Time `json:"at"`
	By                 string    `json:"by"` // pseudonymous id
}

// Confirmation is a second person's word for a submitted finding.
type Confirmation struct {
	By string    `json:"by"` // pseudonymous id
	At time.Time `json:"at"`
}

// Record is a finding with what became of it. Finding.Occurrences is empty: they are stored as [Line]s.
type Record struct {
	Finding    coffer.Finding         `json:"finding"`
	State      State                  `json:"state"`
	Reason     string                 `json:"reason,omitempty"`
	Generation string                 `json:"generation,omitempty"` // the set of sealed values in the vault
	Stale      []string               `json:"stale,omitempty"`      // generations of interrupted workers, to be destroyed
	Count      int                    `json:"count"`                // occurrences located by Macie
	Sealed     int                    `json:"sealed"`
	Outcomes   map[coffer.Outcome]int `json:"outcomes,omitempty"`
	Unverified string                 `json:"unverified,omitempty"` // why the object could not be compared with what Macie saw
	Rescan     string                 `json:"rescan,omitempty"`     // the earlier finding on the same object version
	Submitter  string                 `json:"submitter,omitempty"`  // pseudonymous id of who gave the finding
	// Confirmed says who, beside the submitter, stands for a submitted finding. Nil: nobody, and nothing is read for it.
	Confirmed *Confirmation `json:"confirmed,omitempty"`
	ObjectID  string        `json:"objectId"` // keyed hash of bucket and key
	Received  time.Time     `json:"received"`
	SealedAt  time.Time     `json:"sealedAt,omitzero"`
	// Read is the version that intake read: the one that Macie saw, as far as could be told. Fixes are pinned to it.
	Read *coffer.Object `json:"read,omitempty"`
	// Fetched is how many bytes of the object intake fetched to find the values; zero where the storage is at hand.
	Fetched int64 `json:"fetched,omitempty"`
	// Identifiers are the versions of the definitions of custom identifiers by which the values were found, by the id under which the finding
	// names each; the version is empty where none is known. Whatever looks for the values again uses these. Nil: the configured ones.
	Identifiers map[string]string `json:"identifiers,omitempty"`
	// Was is the version that Macie saw, when the finding was relocated into another one.
	Was       *coffer.Object `json:"was,omitempty"`
	Tagged    bool           `json:"tagged,omitempty"`
	TagReason string         `json:"tagReason,omitempty"` // why the object is not tagged

	Status  Status   `json:"status"`
	Verdict Verdict  `json:"verdict,omitempty"`
	Note    string   `json:"note,omitempty"`
	Plan    string   `json:"plan,omitempty"` // the fix that was applied last
	Closing *Closing `json:"closing,omitempty"`
	Owner   string   `json:"owner,omitempty"`   // pseudonymous id of who sees to it
	Tickets []string `json:"tickets,omitempty"` // numbers or addresses of tickets elsewhere
	Muted   bool     `json:"muted,omitempty"`   // left out of lists and counts of what is to be done, and nothing else
	Notes   int      `json:"notes,omitempty"`   // how many notes there are
	// Tallies counts, by type, the occurrences that were judged one by one.
	Tallies map[coffer.DataType]Tally `json:"tallies,omitempty"`
	// Attempts are the names of the last changes that had one, at most 8, the newest last. A change whose name is here was made.
	Attempts []string  `json:"attempts,omitempty"`
	Judged   time.Time `json:"judged,omitzero"`   // of the last verdict
	Updated  time.Time `json:"updated,omitzero"`  // of the last change
	Opened   time.Time `json:"reopened,omitzero"` // when it was opened again, the last time
	// Revision counts the changes. It is what a caller names to say which state of the record it has seen.
	Revision uint64 `json:"revision"`

	version string // of the stored item; empty: not stored yet
}

// Tally counts the occurrences of a type that were judged one by one.
type Tally struct {
	False int `json:"false,omitempty"` // false positives
	True  int `json:"true,omitempty"`  // true or intended: the identifier was right
}

// Line is an occurrence with what was found at its place.
type Line struct {
	coffer.Occurrence
	Outcome coffer.Outcome `json:"outcome"`
	Masked  string         `json:"masked,omitempty"`
	Sealed  bool           `json:"sealed,omitempty"`
	// Same names the occurrence of an earlier finding under which the value is sealed.
	Same    *Ref    `json:"same,omitempty"`
	Verdict Verdict `json:"verdict,omitempty"`
	Note    string  `json:"note,omitempty"`
}

// Summary is a finding as a list shows it.
type Summary struct {
	ID       string            `json:"finding"`
	Type     string            `json:"type"`
	Types    []coffer.DataType `json:"types"`
	Severity coffer.Severity   `json:"severity"`
	Object   coffer.Object     `json:"object"`
	Account  string            `json:"account,omitempty"`
	Region   string            `json:"region,omitempty"`
	Origin   coffer.Origin     `json:"origin,omitempty"`
	Created  time.Time         `json:"created"`
	Received time.Time         `json:"received"`
	State    State             `json:"state"`
	Reason   string            `json:"reason,omitempty"`
	Status   Status            `json:"status"`
	Verdict  Verdict           `json:"verdict,omitempty"`
	Rescan   string            `json:"rescan,omitempty"`
	Plan     string            `json:"plan,omitempty"`
	Count    int               `json:"occurrences"`
	Sealed   int               `json:"sealed"`
	Owner    string            `json:"owner,omitempty"`
	Tickets  []string          `json:"tickets,omitempty"`
	Reach    string            `json:"reach,omitempty"` // who can read the object, as Macie reported: public or private; empty: it did not say
	Muted    bool              `json:"muted,omitempty"`
	Updated  time.Time         `json:"updated,omitzero"`
	Judged   time.Time         `json:"judged,omitzero"`
	Revision uint64            `json:"revision"`
	// FalsePositives and Confirmed are the types whose identifiers were judged wrong or right in this finding.
	FalsePositives []coffer.DataType `json:"falsePositives,omitempty"`
	Confirmed      []coffer.DataType `json:"confirmed,omitempty"`
}

// reach says who can read a finding's object, as Macie reported it: public or private; empty: it did not say. What Macie says of the object
// takes all settings together, those of the bucket among them, so that it goes first.
func reach(f *coffer.Finding) string {
	for _, p := range []coffer.Protection{f.OnObject, f.OnBucket} {
		switch p.PublicAccess {
		case "PUBLIC":
			return "public"
		case "NOT_PUBLIC":
			return "private"
		}
	}
	return ""
}

// Summary returns what lists show of r.
func (r *Record) Summary() Summary {
	s := Summary{
		ID: r.Finding.ID, Type: r.Finding.Type, Severity: r.Finding.Severity, Object: r.Finding.Object,
		Account: r.Finding.AccountID, Region: r.Finding.Region, Origin: r.Finding.Origin, Created: micro(r.Finding.CreatedAt),
		Received: micro(r.Received), State: r.State, Reason: r.Reason, Status: r.Status, Verdict: r.Verdict, Rescan: r.Rescan,
		Plan: r.Plan, Count: r.Count, Sealed: r.Sealed, Owner: r.Owner, Tickets: r.Tickets, Reach: reach(&r.Finding), Muted: r.Muted, Updated: micro(r.Updated),
		Judged: micro(r.Judged), Revision: r.Revision,
	}
	// The ETag of a small object is an unkeyed hash of what it holds; it stays in the record.
	s.Object.ETag = ""
	for _, d := range r.Finding.Detections {
		s.Types = append(s.Types, d.Type)
		switch r.judgement(d.Type) {
		case FalsePositive:
			s.FalsePositives = append(s.FalsePositives, d.Type)
		case True:
			s.Confirmed = append(s.Confirmed, d.Type)
		}
	}
	return s
}

// judgement says whether the identifier of a type was right in this finding: one answer for all occurrences, because they are of
// one making. Where occurrences were judged one by one it was wrong if all of those were false positives; otherwise the verdict on
// the finding decides. Empty: nobody has said.
func (r *Record) judgement(t coffer.DataType) Verdict {
	n := r.Tallies[t]
	switch {
	case n.True > 0 || n.False == 0 && (r.Verdict == True || r.Verdict == Intended):
		return True
	case n.False > 0 || r.Verdict == FalsePositive:
		return FalsePositive
	}
	return ""
}

// micro is t as lists keep it: UTC, microseconds.
func micro(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

const linesInChunk = 40

// list is the list of findings. A finding that comes in writes its entry several times, in transactions, which count twice.
var list = store.Spread{Name: "L", Shards: 32}

// feed is the change feed: an entry for each change of a record, in the Apply that makes it.
var feed = store.Spread{Name: "C", Shards: 16}

const (
	// feedKept is how long an entry of the feed stays. What has not followed the feed for so long reads the list anew.
	feedKept   = 7 * 24 * time.Hour
	feedLayout = "20060102T150405.000000"
)

// feedSort returns the beginning of the sorts of the feed's entries that were made at t.
func feedSort(t time.Time) string { return t.UTC().Format(feedLayout) }

// Records reads and writes the records of findings. It performs no access check: packages vault, pipeline and remedy, and the
// guarded methods of [Desk], do. The zero value with a DB decodes what it reads each time; see [NewRecords].
type Records struct {
	DB      store.DB
	decoded *decoded
	details *details
}

// NewRecords returns Records that keep some megabytes of what they decoded, for a process that reads the same findings again and again. Every read
// asks the store, so what it returns is as consistent as the store.
func NewRecords(db store.DB) Records {
	return Records{DB: db, decoded: new(decoded), details: new(details)}
}

func part(id string) string { return "F#" + id }

// Get returns the record of a finding; an error wrapping coffer.ErrNotFound when there is none.
func (rs Records) Get(ctx context.Context, id string) (*Record, error) {
	if id == "" || len(id) > 256 {
		return nil, fmt.Errorf("finding: %w", coffer.ErrNotFound)
	}
	it, err := rs.DB.Get(ctx, store.Key{Part: part(id), Sort: "meta"})
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, fmt.Errorf("finding %s: %w", id, coffer.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", id, err)
	}
	if r, ok := rs.decoded.get(&it).(*Record); ok {
		return r.clone(), nil
	}
	var r Record
	if err := json.Unmarshal(it.Value, &r); err != nil {
		return nil, fmt.Errorf("record of finding %s: %w", id, coffer.ErrCorrupt)
	}
	r.version = it.Version
	if rs.decoded != nil {
		rs.decoded.keep(&it, r.clone())
	}
	return &r, nil
}

// Lines returns the occurrences of a finding in order of their numbers.
func (rs Records) Lines(ctx context.Context, id string) ([]Line, error) {
	return rs.lines(ctx, id, store.Range{From: "o#", To: "o$"})
}

// LinesNear returns the occurrences of a finding with the numbers from first to last, and those that are stored with them, so that a
// few of many need not be paid for with the reading of all.
func (rs Records) LinesNear(ctx context.Context, id string, first, last int) ([]Line, error) {
	return rs.lines(ctx, id, store.Range{From: lineSort(max(0, first-linesInChunk+1)), To: lineSort(last) + "\x00"})
}

// lineSort is the sort of the chunk whose first occurrence has the number n.
func lineSort(n int) string { return fmt.Sprintf("o#%08d", n) }

func (rs Records) lines(ctx context.Context, id string, r store.Range) ([]Line, error) {
	var out []Line
	for it, err := range rs.DB.Query(ctx, part(id), r) {
		if err != nil {
			return nil, fmt.Errorf("occurrences of finding %s: %w", id, err)
		}
		chunk, ok := rs.decoded.get(&it).([]Line)
		if !ok {
			if err := json.Unmarshal(it.Value, &chunk); err != nil {
				return nil, fmt.Errorf("occurrences of finding %s: %w", id, coffer.ErrCorrupt)
			}
			rs.decoded.keep(&it, chunk)
		}
		out = append(out, cloneLines(chunk)...)
	}
	return out, nil
}

// Save returns the operations that store r, its list entry and an entry of the change feed under the condition that nobody changed it since it was read
// (or that it does not exist, for a new one). After they were applied r counts as read again.
func (r *Record) Save() []store.Op {
	v := store.NewVersion()
	r.Revision++
	// The feed is between machines, whose clocks are what they are; the installation's clock may be a test's.
	now := time.Now()
	r.Updated = micro(now)
	meta := store.Op{Verb: store.Put, Expect: r.version, Item: store.Item{
		Key: store.Key{Part: part(r.Finding.ID), Sort: "meta"}, Value: encode(r), Version: v,
	}}
	entry := store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
		Key: list.Key(r.Finding.ID), Value: encode(r.Summary()), Version: v,
	}}
	change := store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
		Key: feed.Key(feedSort(now) + "#" + r.Finding.ID), Value: strconv.AppendUint(nil, r.Revision, 10), Version: v,
		Expires: now.Add(feedKept),
	}}
	r.version = v
	return []store.Op{meta, entry, change}
}

// Unchanged returns the operation that demands that nobody changed r since it was read (or made it, for a new one). It goes with
// every change of the occurrences: else a worker that lost the record to another would still write over what that one stored.
func (r *Record) Unchanged() store.Op {
	return store.Op{Verb: store.Check, Expect: r.version, Item: store.Item{Key: store.Key{Part: part(r.Finding.ID), Sort: "meta"}}}
}

// SaveLines returns the operations that store the occurrences of a finding: all of them, or whole chunks as Lines returned them.
func SaveLines(id string, lines []Line) []store.Op {
	var ops []store.Op
	for len(lines) > 0 {
		n := min(linesInChunk, len(lines))
		ops = append(ops, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
			Key:     store.Key{Part: part(id), Sort: lineSort(lines[0].N)},
			Value:   encode(lines[:n]),
			Version: store.NewVersion(),
		}})
		lines = lines[n:]
	}
	return ops
}

// All yields the summaries of all findings, in order of their ids.
func (rs Records) All(ctx context.Context) iter.Seq2[Summary, error] {
	return decodedSummaries(list.Query(ctx, rs.DB, store.Range{}))
}

// summaries yields the summaries in one part of the list.
func (rs Records) summaries(ctx context.Context, part string) iter.Seq2[Summary, error] {
	return decodedSummaries(rs.DB.Query(ctx, part, store.Range{}))
}

func decodedSummaries(items iter.Seq2[store.Item, error]) iter.Seq2[Summary, error] {
	return func(yield func(Summary, error) bool) {
		for it, err := range items {
			var s Summary
			if err == nil && json.Unmarshal(it.Value, &s) != nil {
				err = fmt.Errorf("list entry: %w", coffer.ErrCorrupt)
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// encode marshals what always can be.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return b
}

// Unconfirmed reports whether the finding stands on its submitter's word alone, so that nothing may be read for it.
func (r *Record) Unconfirmed() bool {
	return r.Finding.Origin == coffer.OriginSubmitted && r.Confirmed == nil
}

// Resource describes the finding to the policies.
func (r *Record) Resource() access.Resource {
	f := &r.Finding
	res := access.Resource{
		Kind: access.Finding, ID: f.ID, Severity: f.Severity, Bucket: f.Object.Bucket, Account: f.AccountID,
		Origins: []coffer.Origin{f.Origin}, BucketTags: f.OnBucket.Tags,
	}
	if r.Submitter != "" {
		res.Submitters = []string{r.Submitter}
	}
	for _, d := range f.Detections {
		res.Types = append(res.Types, d.Type)
		if !slices.Contains(res.Categories, d.Category) {
			res.Categories = append(res.Categories, d.Category)
		}
	}
	return res
}

// StaleLines returns the operations that remove stored occurrences which the chunks of lines, as SaveLines makes them, do not
// overwrite.
func (rs Records) StaleLines(ctx context.Context, id string, lines []Line) ([]store.Op, error) {
	keep := map[string]bool{}
	for _, op := range SaveLines(id, lines) {
		keep[op.Item.Key.Sort] = true
	}
	var ops []store.Op
	for it, err := range rs.DB.Query(ctx, part(id), store.Range{From: "o#", To: "o$"}) {
		if err != nil {
			return nil, fmt.Errorf("occurrences of finding %s: %w", id, err)
		}
		if !keep[it.Key.Sort] {
			ops = append(ops, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: it.Key}})
		}
	}
	return ops, nil
}
