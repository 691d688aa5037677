// Package pipeline takes one finding from event to tag: receive, pin the object that Macie saw, locate, seal, record, tag. A
// crash between any two of its steps, a duplicate, and a second worker at the same time all end in one sealed record and one
// tag set, because each step is a conditional change of the finding's record:
//
//	received -> sealing(generation) -> sealed | partial | unsealed -> tagged
//
// A generation is a set of sealed values of its own. Whoever claims the record with a new generation wins; the values of a
// generation that the record does not name are never read, and are removed by whoever finds them.
package pipeline

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/format"
	"coffer/format/all"
	"coffer/format/detect"
	"coffer/internal/planted"
	"coffer/macie"
	"coffer/object"
	"coffer/store"
	"coffer/triage"
	"coffer/vault"
)

// Objects is what intake may do to object storage.
type Objects interface {
	object.Reader
	object.Tagger
}

// Pipeline is safe for concurrent use.
type Pipeline struct {
	Objects Objects
	DB      store.DB
	Records triage.Records
	Vault   *vault.Vault
	Guard   *audit.Guard
	// Identifiers says what the types of findings mean.
	Identifiers *Identifiers
	// Allow says whether objects and discovery results may be read from a bucket.
	Allow func(bucket string) bool
	// Macie, where not nil, is asked about every finding by its id before anything is read for it; see [Pipeline.TakeDocument].
	Macie macie.API
	// Results is where Macie puts discovery results; no Bucket: only where the findings say.
	Results Place
	// Limits, where not zero, says which objects are left to a worker that has more time and memory; see [Result.Left].
	Limits Limits
	// MAC is the installation's keyed hash for a purpose.
	MAC func(label string, data []byte) []byte
	Now func() time.Time
}

// Limits are the greatest sizes, in bytes, of the objects that are read at once; 0: any. What an archive holds is many times its size.
type Limits struct{ Object, Archive int64 }

// errLeft is the error of reading what is beyond the limits.
var errLeft = errors.New(leftToWorker)

// Status is what became of a finding or document.
type Status string

// The statuses of an intake.
const (
	Sealed   Status = "sealed"
	Partial  Status = "partial"
	Unsealed Status = "unsealed"
	Skipped  Status = "skipped"
	Failed   Status = "failed"
)

// Result is what became of a finding or document.
type Result struct {
	// IsFinding says that the document was a sensitive data finding to work on; Finding and Object name it. For anything else
	// they are what the document says of itself.
	IsFinding   bool
	Finding     string
	Object      *coffer.Object
	Status      Status
	Occurrences int
	Sealed      int
	Reason      string
	// Left says that the object is beyond the limits: the finding is received, and [Pipeline.Resume] takes it in where there are none.
	Left    bool
	Fetched int64 // bytes of the object that were fetched for it; zero where the storage is at hand
}

// ObjectID returns the opaque id under which an object appears in keys and log.
func (p *Pipeline) ObjectID(o coffer.Object) string { return ObjectID(p.MAC, o) }

// ObjectID returns the opaque id of an object: a keyed hash of bucket and key.
func ObjectID(mac func(string, []byte) []byte, o coffer.Object) string {
	return fmt.Sprintf("%x", mac("object", []byte(o.Bucket+"\x00"+o.Key))[:16])
}

// Take takes in one finding. Errors wrapping coffer.ErrDenied and coffer.ErrUnavailable, and a cancelled context, say that
// nothing can be taken in now; everything that is wrong with the finding or its object is in the Result and in the record.
func (p *Pipeline) Take(ctx context.Context, ask access.Ask, f coffer.Finding) (Result, error) {
	return p.takeAs(ctx, ask, access.EventIngest, f)
}

// takeAs is Take under an action that covers it.
func (p *Pipeline) takeAs(ctx context.Context, ask access.Ask, action access.Action, f coffer.Finding) (Result, error) {
	if f.Origin == "" {
		f.Origin = coffer.OriginOperator
	}
	rec := &triage.Record{
		Finding: f, State: triage.StateReceived, Status: triage.Open, Received: p.Now().UTC(), Count: len(f.Occurrences),
		ObjectID: p.ObjectID(f.Object), Submitter: ask.Caller.ID,
	}
	if f.Origin != coffer.OriginSubmitted {
		rec.Submitter = "" // only a submitted finding stands on its submitter's word
	}
	permit, err := p.Guard.Check(ctx, ask.Caller, action, rec.Resource(), ask.Context)
	if err != nil {
		return Result{}, err
	}
	return p.untilWon(ctx, permit, rec)
}

// untilWon is take until no other worker has come between. A worker that loses a race looks again at what the winner made of the finding. It
// gives the winner time first: workers that claim the finding from each other at once would none of them come to an end.
func (p *Pipeline) untilWon(ctx context.Context, permit *audit.Permit, rec *triage.Record) (Result, error) {
	for try := range 10 {
		res, err := p.take(ctx, permit, *rec)
		if !errors.Is(err, coffer.ErrConflict) {
			return res, err
		}
		select {
		case <-ctx.Done():
			return Result{}, ctx.Err()
		case <-time.After(jitter(10 * time.Millisecond << try)):
		}
	}
	return Result{}, fmt.Errorf("finding %s: other workers keep changing its record: %w", rec.Finding.ID, coffer.ErrConflict)
}

// jitter returns a random part of d, so that two workers that keep losing to each other fall out of step.
func jitter(d time.Duration) time.Duration {
	var b [1]byte
	_, _ = rand.Read(b[:]) // never fails
	return d * time.Duration(b[0]) / 256
}

func (p *Pipeline) take(ctx context.Context, permit *audit.Permit, fresh triage.Record) (Result, error) {
	rec, err := p.Records.Get(ctx, fresh.Finding.ID)
	switch {
	case errors.Is(err, coffer.ErrNotFound):
		occs := fresh.Finding.Occurrences
		rec = &fresh
		rec.Finding.Occurrences = nil
		if err := p.receive(ctx, permit, rec, occs); err != nil {
			return Result{}, err
		}
	case err != nil:
		return Result{}, err
	case rec.Unconfirmed() && fresh.Finding.Origin != coffer.OriginSubmitted:
		if err := p.supersede(ctx, permit, rec, &fresh); err != nil {
			return Result{}, err
		}
	}
	if !rec.State.Final() {
		if err := p.seal(ctx, permit, rec); err != nil {
			return Result{}, err
		}
	} else if err := p.again(ctx, permit, rec); err != nil {
		return Result{}, err
	}
	if !rec.Tagged && rec.State.Final() && (rec.TagReason == "" || strings.HasPrefix(rec.TagReason, tagRefused)) {
		if err := p.tag(ctx, permit, rec); err != nil {
			return Result{}, err
		}
	}
	return result(rec), nil
}

func result(rec *triage.Record) Result {
	o := rec.Finding.Object
	o.ETag = "" // of a small object it is an unkeyed hash of what it holds
	r := Result{IsFinding: true, Finding: rec.Finding.ID, Object: &o, Occurrences: rec.Count, Sealed: rec.Sealed, Reason: rec.Reason,
		Fetched: rec.Fetched}
	switch rec.State {
	case triage.StateSealed:
		r.Status = Sealed
	case triage.StatePartial:
		r.Status = Partial
	case triage.StateUnsealed, triage.StateParked:
		r.Status = Unsealed
	case triage.StateFailed:
		r.Status = Failed
	default:
		r.Status, r.Left = Skipped, rec.Reason == leftToWorker
	}
	return r
}

// leftToWorker is the reason why a received finding waits whose object is beyond the limits.
const leftToWorker = "waits for a worker: the object is too large for a function"

// receive makes the finding known, before anything of the object is read.
func (p *Pipeline) receive(ctx context.Context, permit *audit.Permit, rec *triage.Record, occs []coffer.Occurrence) error {
	lines := make([]triage.Line, len(occs))
	for i, o := range occs {
		lines[i] = triage.Line{Occurrence: o}
	}
	ops, err := p.saveLines(ctx, rec, triage.SaveLines(rec.Finding.ID, lines))
	if err != nil {
		return err
	}
	return p.record(ctx, permit, rec, "received", audit.Done, nil, append(ops, linkOp(rec))...)
}

// What may go in one Apply with a finding's record and its entry in the log, whose writer merges the entries of other workers into it.
const (
	alongOps   = 50
	alongBytes = 1 << 20
)

// fitsRecord reports whether operations can go in one Apply with a finding's record and its entry in the log.
func fitsRecord(ops []store.Op) bool {
	size := 0
	for _, op := range ops {
		size += len(op.Item.Value)
	}
	return len(ops) <= alongOps && size <= alongBytes
}

// saveLines carries out operations on the occurrences of rec, and on what goes with them, as long as the record is the caller's.
// Those that fit it returns instead, to be carried out with the record: that is one call and one check of the record less.
func (p *Pipeline) saveLines(ctx context.Context, rec *triage.Record, ops []store.Op) (along []store.Op, err error) {
	if fitsRecord(ops) {
		return ops, nil
	}
	for batch := range slices.Chunk(ops, store.MaxOps-1) {
		if err := p.DB.Apply(ctx, append(batch[:len(batch):len(batch)], rec.Unchanged())...); err != nil {
			return nil, fmt.Errorf("record occurrences: %w", err)
		}
	}
	return nil, nil
}

// FixKey is the key of the lease under which the fixes of an object are carried out. The first one makes the item, and it stays.
func FixKey(objectID string) store.Key { return store.Key{Part: "O#" + objectID, Sort: "lease"} }

// linkOp lets the object's findings be listed.
func linkOp(rec *triage.Record) store.Op {
	return store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
		Key: store.Key{Part: "O#" + rec.ObjectID, Sort: "f#" + rec.Finding.ID}, Value: []byte("1"), Version: store.NewVersion(),
	}}
}

// FindingsOn returns the records of all findings on the object with this id, in order of finding id.
func FindingsOn(ctx context.Context, rs triage.Records, objectID string) ([]*triage.Record, error) {
	var out []*triage.Record
	for it, err := range rs.DB.Query(ctx, "O#"+objectID, store.Range{From: "f#", To: "f$"}) {
		if err != nil {
			return nil, fmt.Errorf("findings on the object: %w", err)
		}
		rec, err := rs.Get(ctx, strings.TrimPrefix(it.Key.Sort, "f#"))
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

// record stores the finding's record together with the entry that reports its change.
func (p *Pipeline) record(ctx context.Context, permit *audit.Permit, rec *triage.Record, step string, outcome audit.Outcome, ns []int, ops ...store.Op) error {
	e := permit.Entry(outcome)
	e.Object, e.Occurrences = rec.ObjectID, ns
	e.Detail = map[string]string{
		"step": step, "state": string(rec.State), "sealed": strconv.Itoa(rec.Sealed), "occurrences": strconv.Itoa(rec.Count),
	}
	_, err := p.Guard.Log.Apply(ctx, e, append(rec.Save(), ops...)...)
	return err
}

// seal locates the values and seals them, from whatever state the record is in.
func (p *Pipeline) seal(ctx context.Context, permit *audit.Permit, rec *triage.Record) error {
	if rec.Unconfirmed() {
		rec.Reason = p.waitsFor(&rec.Finding)
		return nil
	}
	lines, err := p.Records.Lines(ctx, rec.Finding.ID)
	if err != nil {
		return err
	}
	located, err := p.locate(ctx, rec, lines)
	if errors.Is(err, object.ErrRefused) && ctx.Err() == nil {
		// One bucket that is closed to us must not keep the findings of all others from being taken in.
		rec.State, rec.Reason = triage.StateParked, "parked: "+err.Error()+"; permit it and take the finding in again"
		return p.record(ctx, permit, rec, "park", audit.Done, nil)
	}
	if err != nil {
		if ctx.Err() != nil || !coffer.Permanent(err) {
			return err
		}
		rec.State, rec.Reason = triage.StateFailed, err.Error()
		return p.record(ctx, permit, rec, "locate", audit.Failed, nil)
	}
	defer located.wipe()
	if located.left {
		if rec.Reason == leftToWorker {
			return nil // it is known
		}
		rec.Reason = leftToWorker
		return p.record(ctx, permit, rec, "leave", audit.Done, nil)
	}
	if located.parked != "" {
		rec.State, rec.Reason = triage.StateParked, located.parked
		return p.record(ctx, permit, rec, "park", audit.Done, nil)
	}

	// Claim the record with a generation of our own. An earlier one that never became the record's is destroyed after that, when
	// nobody can finish it any more, and the record remembers it until it is gone.
	if rec.Generation != "" && !planted.On(planted.LeaveGeneration) {
		rec.Stale = append(rec.Stale, rec.Generation)
	}
	rec.Generation = store.NewVersion()[:16]
	rec.State = triage.StateSealing
	if err := p.DB.Apply(ctx, rec.Save()...); err != nil {
		return err
	}
	for _, gen := range rec.Stale {
		if _, err := p.Vault.Destroy(ctx, permit, vault.Set{ID: rec.Finding.ID, Generation: gen}); err != nil {
			return fmt.Errorf("remove an unfinished generation: %w", err)
		}
	}
	rec.Stale = nil
	set := vault.Set{ID: rec.Finding.ID, Generation: rec.Generation}
	if len(located.values) > 0 {
		if err := p.Vault.Deposit(ctx, permit, set, located.values); err != nil {
			// Whoever claims the record removes what the worker before has deposited of its generation.
			if now, rerr := p.Records.Get(ctx, set.ID); rerr == nil && now.Generation != set.Generation {
				return p.lost(ctx, permit, set, fmt.Errorf("another worker claimed finding %s: %w", set.ID, coffer.ErrConflict))
			}
			return err
		}
	}
	ops, err := p.places(ctx, rec, located)
	if err == nil {
		ops, err = p.saveLines(ctx, rec, ops)
	}
	if err == nil {
		err = p.finish(ctx, permit, rec, located, ops...)
	}
	if errors.Is(err, coffer.ErrConflict) {
		return p.lost(ctx, permit, set, err)
	}
	return err
}

// lost removes the generation of a worker that lost the record to another one, and returns err, which says so.
func (p *Pipeline) lost(ctx context.Context, permit *audit.Permit, set vault.Set, err error) error {
	if _, derr := p.Vault.Destroy(ctx, permit, set); derr != nil {
		return errors.Join(err, derr)
	}
	return err
}

// places returns the operations that store what was found at the places of a finding, and what goes with them.
func (p *Pipeline) places(ctx context.Context, rec *triage.Record, located *located) ([]store.Op, error) {
	stale, err := p.Records.StaleLines(ctx, rec.Finding.ID, located.lines)
	if err != nil {
		return nil, err
	}
	index, err := p.Vault.IndexOps(ctx, rec.Finding.ID, located.values)
	if err != nil {
		return nil, err
	}
	return slices.Concat(triage.SaveLines(rec.Finding.ID, located.lines), stale, index, p.Identifiers.waits(rec, located.lines)), nil
}

// finish makes the sealed generation the record's, with these operations.
func (p *Pipeline) finish(ctx context.Context, permit *audit.Permit, rec *triage.Record, located *located, ops ...store.Op) error {
	located.into(rec, p.Now().UTC())
	var ns []int
	for _, l := range located.lines {
		if l.Sealed && l.Same == nil {
			ns = append(ns, l.N)
		}
	}
	return p.record(ctx, permit, rec, "seal", audit.Done, ns, ops...)
}

// located is what was found in the object.
type located struct {
	lines     []triage.Line
	values    []vault.Value
	counts    map[coffer.Outcome]int
	withheld  int // card authentication data: counted, never sealed
	sealed    int
	fetched   int64
	undefined []string // which custom identifiers are not known, and why
	parked    string   // why the bytes cannot be read now
	left      bool     // the bytes are too many for this process
	partial   string   // why not all that Macie detected is here
	unverified,
	rescan string
	reason string
}

func (l *located) wipe() {
	for _, v := range l.values {
		v.Plain.Wipe()
	}
}

// maxNamed bounds the identifiers that a reason names.
const maxNamed = 5

// into writes the result into the record.
func (l *located) into(rec *triage.Record, now time.Time) {
	rec.Count, rec.Sealed, rec.Outcomes = len(l.lines), l.sealed, l.counts
	rec.SealedAt, rec.Unverified, rec.Rescan, rec.Fetched = now, l.unverified, l.rescan, l.fetched
	var why []string
	for _, s := range []string{l.reason, l.partial} {
		if s != "" {
			why = append(why, s)
		}
	}
	if lost := l.counts[coffer.OutcomeMissing] + l.counts[coffer.OutcomeUnsupported]; lost > 0 && l.reason == "" {
		why = append(why, fmt.Sprintf("%d of %d occurrences hold no value that can be read", lost, len(l.lines)))
	}
	if n := len(l.undefined); n > maxNamed {
		why = append(append(why, l.undefined[:maxNamed]...), fmt.Sprintf("and %d more", n-maxNamed))
	} else {
		why = append(why, l.undefined...)
	}
	if l.withheld > 0 {
		why = append(why, fmt.Sprintf("card authentication data is counted and never sealed: %d of %d", l.withheld, len(l.lines)))
	}
	if l.unverified != "" {
		why = append(why, "unverified: "+l.unverified)
	}
	if l.rescan != "" {
		why = append(why, "rescan of "+l.rescan)
	}
	rec.Reason = strings.Join(why, "; ")
	switch {
	case l.sealed == 0:
		rec.State = triage.StateUnsealed
	case l.partial != "" || l.sealed+l.withheld < len(l.lines):
		rec.State = triage.StatePartial
	default:
		rec.State = triage.StateSealed
	}
}

// nothing gives every occurrence the outcome o, for the reason.
func (l *located) nothing(o coffer.Outcome, reason string) *located {
	for i := range l.lines {
		l.lines[i].Outcome = o
	}
	l.counts = map[coffer.Outcome]int{o: len(l.lines)}
	l.reason = reason
	return l
}

// locate reads the object that Macie saw and finds the values at the reported places.
func (p *Pipeline) locate(ctx context.Context, rec *triage.Record, lines []triage.Line) (*located, error) {
	f := &rec.Finding
	out := &located{lines: lines}
	if !p.Allow(f.Object.Bucket) {
		return nil, fmt.Errorf("bucket is not among those that may be read; add it to the configuration: %w", coffer.ErrDenied)
	}
	info, unverified, err := p.pin(ctx, f)
	switch {
	case errors.Is(err, coffer.ErrNotFound):
		return out.nothing(coffer.OutcomeChanged, "the object or version that Macie saw does not exist any more"), nil
	case errors.Is(err, coffer.ErrChanged):
		return out.nothing(coffer.OutcomeChanged, "the object was changed since Macie saw it; `coffer finding relocate` looks at it as it is now"), nil
	case errors.Is(err, errLeft):
		out.left = true
		return out, nil
	case err != nil:
		return nil, err
	}
	if info.Archived != "" {
		out.parked = "parked: the object is archived (" + info.Archived + "); restore it and take the finding in again"
		return out, nil
	}
	out.unverified = unverified
	rec.Read = &info.Object

	occs := make([]coffer.Occurrence, len(lines))
	for i, l := range lines {
		occs[i] = l.Occurrence
	}
	full := *f
	full.Occurrences = occs
	if f.More {
		if out.partial, err = p.fromResult(ctx, &full); err != nil {
			return nil, err
		}
	}
	if rec.Identifiers, out.undefined, err = p.Identifiers.Define(ctx, f.Detections, full.Occurrences); err != nil {
		return nil, err
	}
	set, err := p.Identifiers.Detectors(ctx, rec.Identifiers)
	if err != nil {
		return nil, err
	}
	if err := p.read(ctx, out, info, full.Occurrences, set); errors.Is(err, errLeft) {
		out.left = true
		return out, nil
	} else if err != nil {
		return nil, err
	}
	return out, p.link(ctx, rec, out)
}

// pin finds the version that Macie saw. unverified says why it could not be compared with certainty.
func (p *Pipeline) pin(ctx context.Context, f *coffer.Finding) (info object.Info, unverified string, err error) {
	o := coffer.Object{Bucket: f.Object.Bucket, Key: f.Object.Key}
	versioning, err := p.Objects.Versioning(ctx, o.Bucket)
	if err != nil {
		return info, "", fmt.Errorf("versioning of the bucket: %w", err)
	}
	if versioning != object.VersioningOff && f.Object.VersionID != "" {
		o.VersionID = f.Object.VersionID
	}
	info, err = p.Objects.Stat(ctx, o)
	if err != nil {
		return info, "", err
	}
	if p.Limits.Object > 0 && info.Size > p.Limits.Object {
		return info, "", errLeft // before its bytes are compared
	}
	want := strings.Trim(f.Object.ETag, `"`)
	switch {
	case want == "" && f.Size < 0:
		return info, "the finding names neither ETag nor size", nil
	case f.Size >= 0 && info.Size != f.Size:
		return info, "", fmt.Errorf("object of another size: %w", coffer.ErrChanged)
	case want == "":
		return info, "the finding names no ETag; the size agrees", nil
	case want == strings.Trim(info.ETag, `"`):
		return info, "", nil
	case o.VersionID != "":
		return info, "", fmt.Errorf("version with another ETag: %w", coffer.ErrChanged)
	}
	encrypted := strings.HasPrefix(f.OnObject.Encryption, "aws:kms") && !strings.Contains(want, "-")
	match, known := false, false
	if !encrypted || info.ETagIsMD5 {
		match, known, err = object.MatchETag(want, info.Size, func() (io.Reader, error) {
			return p.Objects.Open(ctx, coffer.Object{Bucket: info.Bucket, Key: info.Key, VersionID: info.VersionID, ETag: info.ETag})
		})
		if err != nil {
			return info, "", err
		}
	}
	switch {
	case match:
		return info, "", nil
	case known && !encrypted:
		return info, "", fmt.Errorf("object with other bytes: %w", coffer.ErrChanged)
	case encrypted && f.Size >= 0:
		return info, "the ETag of an object encrypted with KMS says nothing about its bytes; the size agrees", nil
	case f.Size >= 0:
		return info, "the ETag is of an upload in unusual parts; the size agrees", nil
	}
	return info, "", fmt.Errorf("object with another ETag: %w", coffer.ErrChanged)
}

// fromResult replaces the finding's locations by those of its discovery result. It returns why that was not possible, or not
// completely; an error only when trying again later makes sense.
func (p *Pipeline) fromResult(ctx context.Context, f *coffer.Finding) (partial string, err error) {
	loc, err := macie.ParseResultLocation(f.ResultLocation)
	switch {
	case errors.Is(err, coffer.ErrNotFound):
		return "the finding names no discovery result", nil
	case err != nil:
		return err.Error(), nil
	case loc.Unset && p.Results.Bucket == "":
		return "no discovery result: Macie had no results bucket configured", nil
	}
	loc = p.Results.fill(loc)
	if !p.mayRead(loc.Bucket) {
		return "the discovery result's bucket is not among those that may be read", nil
	}
	var keys []string
	if loc.Folder {
		for info, err := range p.Objects.List(ctx, loc.Bucket, loc.Key, "") {
			if err != nil {
				return p.unreadable(err)
			}
			if strings.HasSuffix(info.Key, ".jsonl.gz") || strings.HasSuffix(info.Key, ".jsonl") {
				keys = append(keys, info.Key)
			}
		}
	} else {
		keys = []string{loc.Key}
	}
	if len(keys) == 0 {
		return "the discovery result's folder is empty or missing", nil
	}
	results := macie.NewResults(f.Object)
	for _, k := range keys {
		body, err := p.Objects.Open(ctx, coffer.Object{Bucket: loc.Bucket, Key: k})
		if err != nil {
			return p.unreadable(err)
		}
		err = results.Read(ctx, body)
		_ = body.Close() // only read from
		if err != nil {
			return p.unreadable(err)
		}
	}
	return results.Merge(f), nil
}

func (p *Pipeline) unreadable(err error) (string, error) {
	switch {
	case errors.Is(err, coffer.ErrNotFound):
		return "the discovery result is not there", nil
	case !coffer.Permanent(err):
		return "", fmt.Errorf("discovery result: %w", err)
	}
	return "the discovery result cannot be read: " + err.Error(), nil
}

// read extracts the values at occs from the pinned object.
func (p *Pipeline) read(ctx context.Context, out *located, info object.Info, occs []coffer.Occurrence, set *detect.Set) error {
	body, err := p.Objects.Open(ctx, coffer.Object{Bucket: info.Bucket, Key: info.Key, VersionID: info.VersionID, ETag: info.ETag})
	if err != nil {
		return err
	}
	defer body.Close()
	f, kind, src, err := document(body)
	if kind.Archive() && p.Limits.Archive > 0 && info.Size > p.Limits.Archive {
		return errLeft
	}
	found, err := extract(ctx, f, src, err, occs, set)
	if body.Fetched != nil {
		out.fetched = body.Fetched()
	}
	if err != nil && (ctx.Err() != nil || !coffer.Permanent(err)) {
		return err
	}
	if err != nil && errors.Is(err, coffer.ErrChanged) {
		out.nothing(coffer.OutcomeChanged, "the object was changed while it was read")
		return nil
	}
	out.take(found, err)
	return nil
}

// Extract finds the values at occs in an opened object, whatever its format.
func Extract(ctx context.Context, body object.Body, occs []coffer.Occurrence, set *detect.Set) ([]format.Found, error) {
	f, src, err := Document(body)
	return extract(ctx, f, src, err, occs, set)
}

// extract is Extract of a document, or of what is none.
func extract(ctx context.Context, f format.Format, src format.Source, err error, occs []coffer.Occurrence, set *detect.Set) ([]format.Found, error) {
	if err != nil {
		found := make([]format.Found, len(occs))
		for i, o := range occs {
			found[i] = format.Found{Occurrence: o, Outcome: coffer.OutcomeUnsupported}
		}
		return found, err
	}
	return format.Extract(ctx, f, src, occs, set)
}

// Document chooses the format of an opened object and prepares its bytes for a walk.
func Document(body object.Body) (format.Format, format.Source, error) {
	f, _, src, err := document(body)
	return f, src, err
}

func document(body object.Body) (format.Format, all.Kind, format.Source, error) {
	r := bufio.NewReaderSize(body, all.HeadSize)
	head, err := r.Peek(all.HeadSize)
	if err != nil && err != io.EOF {
		return nil, "", format.Source{}, err
	}
	f, kind, err := all.Choose(path.Base(body.Info.Key), body.Info.Attrs.ContentType, head)
	return f, kind, format.Source{Reader: r, Size: body.Info.Size, At: body.ReaderAt}, err
}

// take turns what was found into lines and values.
func (l *located) take(found []format.Found, err error) {
	l.lines = make([]triage.Line, len(found))
	l.counts = map[coffer.Outcome]int{}
	for i, f := range found {
		line := triage.Line{Occurrence: f.Occurrence, Outcome: f.Outcome}
		if err != nil && f.Outcome == coffer.OutcomeMissing {
			line.Outcome = coffer.OutcomeUnsupported // it may stand behind the place where reading failed
		}
		if line.Outcome.Holds() {
			value := f.Value()
			switch {
			case line.Type.Authentication() && !planted.On(planted.SealCVV):
				l.withheld++
				line.Masked = detect.Mask(line.Type, nil)
			case value.Len() > vault.MaxPlaintext:
				line.Outcome = coffer.OutcomeUnsupported
			default:
				line.Masked = detect.Mask(line.Type, value.Expose())
				line.Sealed = true
				l.sealed++
				l.values = append(l.values, vault.Value{N: line.N, Type: line.Type, At: line.At, Plain: value})
			}
		}
		l.counts[line.Outcome]++
		l.lines[i] = line
	}
	if err != nil {
		l.reason = "reading the object: " + err.Error()
	}
}

// link looks for the same occurrences in earlier findings on the same version of the object: Macie scans an object again
// under a new finding id. What is sealed there already is linked, not sealed twice.
func (p *Pipeline) link(ctx context.Context, rec *triage.Record, out *located) error {
	if planted.On(planted.DoubleRescan) {
		return nil
	}
	others, err := FindingsOn(ctx, p.Records, rec.ObjectID)
	if err != nil {
		return err
	}
	type place struct {
		t      coffer.DataType
		custom string
		by     string // version of the definition
		at     coffer.Location
	}
	placeOf := func(r *triage.Record, l triage.Line) place {
		return place{l.Type, l.Custom, r.Identifiers[detect.Key(l.Type, l.Custom)], l.At}
	}
	for _, other := range others {
		if other.Finding.ID == rec.Finding.ID || other.Sealed == 0 || !other.State.Final() || !sameVersion(&other.Finding, &rec.Finding) ||
			other.Received.After(rec.Received) {
			continue
		}
		lines, err := p.Records.Lines(ctx, other.Finding.ID)
		if err != nil {
			return err
		}
		earlier := map[place][]int{}
		for _, l := range lines {
			if l.Sealed && l.Same == nil {
				k := placeOf(other, l)
				earlier[k] = append(earlier[k], l.N)
			}
		}
		linked := map[int]bool{}
		for i := range out.lines {
			l := &out.lines[i]
			k := placeOf(rec, *l)
			if !l.Sealed || l.Same != nil || len(earlier[k]) == 0 {
				continue
			}
			l.Same = &triage.Ref{Finding: other.Finding.ID, N: earlier[k][0]}
			earlier[k] = earlier[k][1:]
			linked[l.N] = true
		}
		if len(linked) > 0 && out.rescan == "" {
			out.rescan = other.Finding.ID
		}
		out.values = slices.DeleteFunc(out.values, func(v vault.Value) bool { return linked[v.N] })
	}
	return nil
}

func sameVersion(a, b *coffer.Finding) bool {
	return macie.SameVersion(a.Object, b.Object)
}

// The keys of the tags that Coffer sets. The values are enumerations and counts.
const (
	TagState    = "coffer:state"    // sensitive, redacted, masked, tokenised
	TagKinds    = "coffer:kinds"    // categories, joined by "+"
	TagSeverity = "coffer:severity" // the highest: low, medium, high
	TagFindings = "coffer:findings" // how many
)

// Tags returns the tags for an object with these open findings, in the given state.
func Tags(state string, findings []*triage.Record) map[string]string {
	kinds := map[string]bool{}
	severity := coffer.SeverityUnknown
	for _, r := range findings {
		severity = max(severity, r.Finding.Severity)
		for _, d := range r.Finding.Detections {
			kinds[kind(d)] = true
		}
	}
	return map[string]string{
		TagState: state, TagSeverity: severity.String(), TagFindings: strconv.Itoa(len(findings)),
		TagKinds: strings.Join(slices.Sorted(maps.Keys(kinds)), "+"),
	}
}

// kind shortens Macie's category. A custom identifier's name is its author's text and stays out of tags.
func kind(d coffer.Detection) string {
	switch d.Category {
	case "CREDENTIALS":
		return "credentials"
	case "FINANCIAL_INFORMATION":
		return "financial"
	case "PERSONAL_INFORMATION":
		return "personal"
	}
	return "custom"
}

// tagRefused begins the reason of a finding whose object could not be tagged for want of a permission. It is tried again when the finding
// comes in again.
const tagRefused = "not permitted now: "

// tag tags the object with what all its open findings say together.
func (p *Pipeline) tag(ctx context.Context, permit *audit.Permit, rec *triage.Record) error {
	rec.TagReason = ""
	if rec.Outcomes[coffer.OutcomeChanged] > 0 || rec.Sealed == 0 && rec.Outcomes[coffer.OutcomeExact] == 0 {
		return nil // there is no such version, or nothing of the kind in it
	}
	others, err := FindingsOn(ctx, p.Records, rec.ObjectID)
	if err != nil {
		return err
	}
	others = slices.DeleteFunc(others, func(r *triage.Record) bool {
		return !r.Status.Active() || !sameVersion(&r.Finding, &rec.Finding) || r.Rescan != ""
	})
	var o coffer.Object
	if rec.Read != nil {
		o = *rec.Read
	} else {
		var info object.Info
		info, _, err = p.pin(ctx, &rec.Finding)
		o = info.Object
	}
	if err == nil {
		ours := Tags("sensitive", others)
		if planted.On(planted.TagReplaces) {
			err = p.Objects.Tag(ctx, o, []coffer.Tag{{Key: TagState, Value: "sensitive"}})
		} else {
			err = object.Retag(ctx, p.Objects, o, ours)
		}
		if errors.Is(err, coffer.ErrLimit) {
			// There is no room for four tags; the state alone is what access rules ask for.
			rec.TagReason = "tag set nearly full: only " + TagState + " was set"
			if err = object.Retag(ctx, p.Objects, o, map[string]string{TagState: ours[TagState]}); err != nil {
				rec.TagReason = "tag set full: the object carries no tag of Coffer"
			}
			err = nil
		}
	}
	switch {
	case err == nil:
		rec.Tagged = rec.TagReason == "" || !strings.HasPrefix(rec.TagReason, "tag set full")
	case ctx.Err() != nil, !coffer.Permanent(err) && !errors.Is(err, object.ErrRefused):
		return fmt.Errorf("tag the object: %w", err)
	case errors.Is(err, object.ErrRefused):
		rec.TagReason = tagRefused + err.Error()
	default:
		rec.TagReason = err.Error()
	}
	outcome := audit.Done
	if !rec.Tagged {
		outcome = audit.Failed
	}
	return p.record(ctx, permit, rec, "tag", outcome, nil)
}
