// Package check proves that what an installation claims is so: every invariant of store, log and objects, one by one. It is
// the checker behind `coffer check`, and the one that the fault tests ask after every failure they cause.
//
// The invariants, by the names that violations carry:
//
//	record    records parse, agree with their list entries, and have the lines and values that they count
//	sealed    every sealed line opens through the stored header, and nothing but sealed lines is in a set
//	lost      a value is in the original or sealed: while the object is what Macie saw, both are the same
//	fixed     the values of a fixed finding are nowhere in the current bytes, decompressed members included
//	original  a fix that can be undone has its original, which opens to the recorded digest
//	plan      the object is in the state that the plan claims, and the copies that it names are those that exist
//	tag       the object of an open sealed finding carries the tags that say so
//	index     index and token entries lead to sealed values
//	log       the log is whole, and every result of a reveal follows its intent
//
// Litter is what crashes leave behind: sets of values, headers, originals and stages that nothing refers to. It holds nothing
// that is not elsewhere, is reported apart, and is removed by a repair.
package check

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/format"
	"coffer/format/detect"
	"coffer/object"
	"coffer/pipeline"
	"coffer/remedy"
	"coffer/store"
	"coffer/triage"
	"coffer/vault"
)

// Parts is what is checked.
type Parts struct {
	DB          store.DB
	Headers     store.DB
	Objects     object.Store
	Originals   object.Store
	Records     triage.Records
	Vault       *vault.Vault
	Pipeline    *pipeline.Pipeline
	Remedy      *remedy.Remedy
	Guard       *audit.Guard
	Identifiers *pipeline.Identifiers
	LogDir      fs.FS
	Now         func() time.Time
}

// Options of a check.
type Options struct {
	Quick  bool // do not read objects and kept originals
	Repair bool // remove litter
	// Age is how old a stage must be to be litter; work under way has younger ones.
	Age time.Duration
	// Progress, if not nil, is told what is being checked.
	Progress func(what string, n int)
}

// Violation is an invariant that does not hold, and where.
type Violation struct {
	Invariant string `json:"invariant"`
	On        string `json:"on"` // id of a finding, plan, set or entry
	What      string `json:"what"`
}

func (v Violation) String() string { return v.Invariant + ": " + v.On + ": " + v.What }

// Report is what a check found.
type Report struct {
	Findings   int         `json:"findings"`
	Values     int         `json:"values"` // opened
	Plans      int         `json:"plans"`
	Originals  int         `json:"originals"` // opened
	Objects    int         `json:"objects"`   // read
	Entries    int64       `json:"entries"`   // of the log
	Violations []Violation `json:"violations"`
	Litter     []string    `json:"litter"`
	Repaired   int         `json:"repaired"`
}

// Err returns nil when every invariant holds, else an error wrapping coffer.ErrCorrupt that names the first violation.
func (r *Report) Err() error {
	if len(r.Violations) == 0 {
		return nil
	}
	return fmt.Errorf("%d violations, the first: %s: %w", len(r.Violations), r.Violations[0], coffer.ErrCorrupt)
}

// checker is one run.
type checker struct {
	Parts
	opt    Options
	ask    access.Ask
	permit *audit.Permit
	report *Report

	sets      map[vault.Set]bool // sets that records and plans refer to
	originals map[string]bool    // keys of kept originals that plans refer to
}

// Run checks everything. It opens sealed values, so the caller needs the right to reveal them, and the log says what was
// opened. An error means that the check could not be carried out; what it found is in the report.
func Run(ctx context.Context, p Parts, ask access.Ask, opt Options) (*Report, error) {
	c := &checker{Parts: p, opt: opt, ask: ask, report: &Report{Violations: []Violation{}, Litter: []string{}},
		sets: map[vault.Set]bool{}, originals: map[string]bool{}}
	var err error
	if c.permit, err = p.Guard.Check(ctx, ask.Caller, access.AdminCheck, access.Resource{Kind: access.System}, ask.Context); err != nil {
		return nil, err
	}
	ref, err := p.Guard.Log.Append(ctx, c.permit.Entry(audit.Intent))
	if err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{c.findings, c.plans, c.index, c.litter, c.log} {
		if err := step(ctx); err != nil {
			return c.report, err
		}
	}
	e := c.permit.Entry(audit.Done)
	e.Intent = ref
	e.Detail = map[string]string{
		"findings": fmt.Sprint(c.report.Findings), "values": fmt.Sprint(c.report.Values), "violations": fmt.Sprint(len(c.report.Violations)),
	}
	_, err = p.Guard.Log.Append(ctx, e)
	return c.report, err
}

func (c *checker) violation(invariant, on, format string, args ...any) {
	c.report.Violations = append(c.report.Violations, Violation{invariant, on, fmt.Sprintf(format, args...)})
}

func (c *checker) progress(what string, n int) {
	if c.opt.Progress != nil {
		c.opt.Progress(what, n)
	}
}

// findings checks records, sealed values and objects.
func (c *checker) findings(ctx context.Context) error {
	for s, err := range c.Records.All(ctx) {
		if err != nil {
			return err
		}
		c.report.Findings++
		c.progress("findings", c.report.Findings)
		if err := c.finding(ctx, s); err != nil {
			return fmt.Errorf("finding %s: %w", s.ID, err)
		}
	}
	return nil
}

func (c *checker) finding(ctx context.Context, s triage.Summary) error {
	rec, err := c.Records.Get(ctx, s.ID)
	if errors.Is(err, coffer.ErrNotFound) || errors.Is(err, coffer.ErrCorrupt) {
		c.violation("record", s.ID, "listed, and its record cannot be read: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	if got := rec.Summary(); got.State != s.State || got.Status != s.Status || got.Sealed != s.Sealed || got.Plan != s.Plan || got.Verdict != s.Verdict {
		c.violation("record", s.ID, "list entry and record differ")
	}
	lines, err := c.Records.Lines(ctx, s.ID)
	if err != nil {
		return err
	}
	if rec.Generation != "" {
		c.sets[vault.Set{ID: s.ID, Generation: rec.Generation}] = true
	}
	if !rec.State.Final() {
		return nil // intake is under way, or was interrupted and will be taken up again
	}
	sealed := 0
	for i, l := range lines {
		if l.N != i+1 {
			c.violation("record", s.ID, "occurrence %d stands in place %d", l.N, i+1)
		}
		if l.Sealed {
			sealed++
		}
		if l.Sealed && l.Type.Authentication() {
			c.violation("sealed", s.ID, "occurrence %d is card authentication data and sealed", l.N)
		}
	}
	if len(lines) != rec.Count || sealed != rec.Sealed {
		c.violation("record", s.ID, "%d lines with %d sealed, the record says %d and %d", len(lines), sealed, rec.Count, rec.Sealed)
	}
	destroyed, err := c.valuesDestroyed(ctx, rec)
	if err != nil || destroyed {
		return err
	}
	values, err := c.values(ctx, rec, lines)
	if err != nil {
		return err
	}
	defer func() {
		for _, v := range values {
			v.Plain.Wipe()
		}
	}()
	if c.opt.Quick || len(values) == 0 {
		return nil
	}
	return c.object(ctx, rec, lines, values)
}

// valuesDestroyed reports whether the sealed values of the finding were destroyed on purpose.
func (c *checker) valuesDestroyed(ctx context.Context, rec *triage.Record) (bool, error) {
	if rec.Plan == "" {
		return false, nil
	}
	p, err := c.Remedy.Get(ctx, rec.Plan)
	if errors.Is(err, coffer.ErrNotFound) {
		c.violation("record", rec.Finding.ID, "names plan %s, which does not exist", rec.Plan)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return p.ValuesGone, nil
}

// values opens all sealed values of the finding.
func (c *checker) values(ctx context.Context, rec *triage.Record, lines []triage.Line) ([]vault.Value, error) {
	opened, err := c.Vault.OpenAll(ctx, c.permit, rec, lines)
	switch {
	case err != nil && (ctx.Err() != nil || !coffer.Permanent(err)):
		return nil, err
	case err != nil:
		c.violation("sealed", rec.Finding.ID, "sealed values cannot be opened: %v", err)
		return nil, nil
	}
	c.report.Values += len(opened)
	own := 0
	for _, l := range lines {
		if l.Sealed && l.Same == nil {
			own++
		}
	}
	n, err := c.Vault.Boxes(ctx, vault.Set{ID: rec.Finding.ID, Generation: rec.Generation})
	if err != nil {
		c.violation("sealed", rec.Finding.ID, "sealed values cannot be read: %v", err)
	} else if n != own {
		c.violation("sealed", rec.Finding.ID, "%d sealed values, the lines name %d", n, own)
	}
	values := make([]vault.Value, len(opened))
	for i, r := range opened {
		values[i] = vault.Value{N: r.N, Type: r.Type, At: r.At, Plain: r.Plain}
	}
	return values, nil
}

// object compares the sealed values with the object as it is now.
func (c *checker) object(ctx context.Context, rec *triage.Record, lines []triage.Line, values []vault.Value) error {
	f := &rec.Finding
	info, err := c.Objects.Stat(ctx, coffer.Object{Bucket: f.Object.Bucket, Key: f.Object.Key})
	if errors.Is(err, coffer.ErrNotFound) {
		return nil // nothing is claimed about an object that is gone
	}
	if err != nil {
		return err
	}
	c.report.Objects++
	unchanged := rec.Read != nil && rec.Read.ETag == info.ETag
	if unchanged {
		if err := c.same(ctx, rec, info, lines, values); err != nil {
			return err
		}
		if rec.Status.Active() && rec.Tagged {
			c.tags(rec, info)
		}
	}
	if rec.Status == triage.Fixed || rec.Status == triage.Closed && rec.Plan != "" {
		p, err := c.Remedy.Get(ctx, rec.Plan)
		if err != nil {
			return err
		}
		if p.Result != nil && p.Result.Object.ETag == info.ETag && p.Action.Rewrites() && !p.Only {
			return c.absent(ctx, rec, info, lines, values)
		}
	}
	return nil
}

// same demands that the object holds what was sealed, at the same places.
func (c *checker) same(ctx context.Context, rec *triage.Record, info object.Info, lines []triage.Line, values []vault.Value) error {
	body, err := c.Objects.Open(ctx, info.Object)
	if err != nil {
		return err
	}
	defer body.Close()
	occs := make([]coffer.Occurrence, len(lines))
	for i, l := range lines {
		occs[i] = l.Occurrence
	}
	set, err := c.Identifiers.Detectors(ctx, rec.Identifiers)
	if errors.Is(err, coffer.ErrCorrupt) {
		c.violation("identifier", rec.Finding.ID, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	found, err := pipeline.Extract(ctx, body, occs, set)
	if err != nil && (ctx.Err() != nil || !coffer.Permanent(err)) {
		return err
	}
	i := 0
	for _, fd := range found {
		if i == len(values) || values[i].N != fd.Occurrence.N {
			continue
		}
		if !fd.Outcome.Holds() || !bytes.Equal(fd.Value().Expose(), values[i].Plain.Expose()) {
			c.violation("lost", rec.Finding.ID, "occurrence %d: the sealed value is not what stands in the object", fd.Occurrence.N)
		}
		i++
	}
	if i != len(values) {
		c.violation("lost", rec.Finding.ID, "%d of %d sealed values were not found in the object", len(values)-i, len(values))
	}
	return nil
}

// tags demands that the object carries the tags that intake set.
func (c *checker) tags(rec *triage.Record, info object.Info) {
	i := slices.IndexFunc(info.Attrs.Tags, func(t coffer.Tag) bool { return t.Key == pipeline.TagState })
	if i < 0 || info.Attrs.Tags[i].Value != "sensitive" {
		c.violation("tag", rec.Finding.ID, "open and tagged, and the object's tags do not say so")
	}
}

// absent demands that no value that the fix took is left in the object.
func (c *checker) absent(ctx context.Context, rec *triage.Record, info object.Info, lines []triage.Line, values []vault.Value) error {
	outcome := map[int]coffer.Outcome{}
	judged := map[int]bool{}
	for _, l := range lines {
		outcome[l.N] = l.Outcome
		judged[l.N] = l.Verdict == triage.FalsePositive
	}
	var want [][]byte
	for _, v := range values {
		// Rejected values and regions are taken only on request, and parts of addresses are no secret by themselves.
		if outcome[v.N] == coffer.OutcomeExact && !judged[v.N] && !v.Type.Spread() {
			want = append(want, v.Plain.Expose())
		}
	}
	search := detect.NewValues(want)
	if search.Len() == 0 {
		return nil
	}
	body, err := c.Objects.Open(ctx, info.Object)
	if err != nil {
		return err
	}
	defer body.Close()
	f, src, err := pipeline.Document(body)
	if err != nil {
		c.violation("fixed", rec.Finding.ID, "the fixed object cannot be read: %v", err)
		return nil
	}
	left := 0
	err = f.Walk(ctx, nil, src, nil, func(r *format.Region) ([]format.Edit, error) {
		search.Find(r.Text, func(i, _, _ int) bool {
			if i >= r.Lead {
				left++
			}
			return true
		})
		return nil, nil
	})
	if err != nil {
		if ctx.Err() != nil || !coffer.Permanent(err) {
			return err
		}
		c.violation("fixed", rec.Finding.ID, "the fixed object does not parse: %v", err)
	}
	if left > 0 {
		c.violation("fixed", rec.Finding.ID, "%d of its values still stand in the object", left)
	}
	return nil
}

// plans checks what plans claim.
func (c *checker) plans(ctx context.Context) error {
	for p, err := range c.Remedy.All(ctx) {
		if errors.Is(err, coffer.ErrCorrupt) || errors.Is(err, coffer.ErrNotFound) {
			c.violation("plan", "?", "a plan cannot be read: %v", err)
			continue
		}
		if err != nil {
			return err
		}
		c.report.Plans++
		c.progress("plans", c.report.Plans)
		if p.Original != nil {
			c.originals[p.Original.Object.Key] = true
			c.sets[vault.Set{ID: p.ID, Generation: p.Original.Generation}] = true
		}
		if p.SweepValues != "" {
			c.sets[vault.Set{ID: p.ID, Generation: p.SweepValues}] = true
		}
		if err := c.plan(ctx, p); err != nil {
			return fmt.Errorf("plan %s: %w", p.ID, err)
		}
	}
	return nil
}

func (c *checker) plan(ctx context.Context, p *remedy.Plan) error {
	switch p.State {
	case remedy.Applied:
		if p.Original == nil {
			c.violation("original", p.ID, "applied, and no original is kept")
			return nil
		}
		if !p.Verified {
			c.violation("plan", p.ID, "applied and not verified")
		}
		if c.opt.Quick {
			return nil
		}
		if err := c.original(ctx, p); err != nil {
			return err
		}
	case remedy.Purged:
		if p.Original != nil {
			c.violation("original", p.ID, "purged, and the original is still kept")
		}
	case remedy.Undone, remedy.Planned, remedy.Approved, remedy.Applying, remedy.Conflict, remedy.Refused, remedy.Denied, remedy.Withdrawn:
		return nil
	}
	return c.claim(ctx, p)
}

// original opens a kept original and compares its digest.
func (c *checker) original(ctx context.Context, p *remedy.Plan) error {
	h := sha256.New()
	err := c.Remedy.Original(ctx, c.permit, p, h)
	if err != nil {
		if ctx.Err() != nil || !coffer.Permanent(err) {
			return err
		}
		c.violation("original", p.ID, "the kept original cannot be opened: %v", err)
		return nil
	}
	c.report.Originals++
	if hex.EncodeToString(h.Sum(nil)) != p.Original.SHA256 {
		c.violation("original", p.ID, "the kept original has another digest than was recorded")
	}
	return nil
}

// claim compares the claimed clean level with the copies that exist.
func (c *checker) claim(ctx context.Context, p *remedy.Plan) error {
	if p.Clean != "all" || p.Result == nil {
		return nil
	}
	for info, err := range c.Objects.Versions(ctx, coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key}) {
		if errors.Is(err, coffer.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if p.Object.VersionID != "" && info.VersionID == p.Object.VersionID && !info.Marker && p.Result.Object.VersionID != info.VersionID {
			c.violation("plan", p.ID, "claims that all known copies are clean, and the planned version still exists")
		}
	}
	return nil
}

// index checks that entries of indexes and tokens lead somewhere.
func (c *checker) index(ctx context.Context) error {
	for it, err := range c.DB.Scan(ctx, 0, 1) {
		if errors.Is(err, coffer.ErrCorrupt) {
			c.violation("record", it.Key.Part, "a stored value was altered")
			continue
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(it.Key.Part, "X#") && it.Key.Part != "X#config" {
			id := it.Key.Sort[:max(0, strings.LastIndexByte(it.Key.Sort, '#'))]
			if _, err := c.Records.Get(ctx, id); errors.Is(err, coffer.ErrNotFound) {
				c.violation("index", id, "an index entry names a finding that does not exist")
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// litter finds what nothing refers to.
func (c *checker) litter(ctx context.Context) error {
	seen := map[vault.Set]bool{}
	collect := func(db store.DB, prefix string) error {
		for it, err := range db.Scan(ctx, 0, 1) {
			if errors.Is(err, coffer.ErrCorrupt) {
				continue // reported above
			}
			if err != nil {
				return err
			}
			rest, ok := strings.CutPrefix(it.Key.Part, prefix)
			i := strings.LastIndexByte(rest, '#')
			if !ok || i < 0 {
				continue
			}
			set := vault.Set{ID: rest[:i], Generation: rest[i+1:]}
			if !c.sets[set] && !seen[set] {
				seen[set] = true
				c.report.Litter = append(c.report.Litter, "values or key of "+set.ID+", generation "+set.Generation)
			}
		}
		return nil
	}
	if err := collect(c.DB, "V#"); err != nil {
		return err
	}
	if err := collect(c.Headers, "H#"); err != nil {
		return err
	}
	var stray []coffer.Object
	for info, err := range c.Originals.List(ctx, c.Remedy.KeptIn(), "", "") {
		if errors.Is(err, coffer.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		if !c.originals[info.Key] {
			stray = append(stray, coffer.Object{Bucket: info.Bucket, Key: info.Key})
			c.report.Litter = append(c.report.Litter, "kept original of "+info.Key)
		}
	}
	if !c.opt.Repair {
		return nil
	}
	for set := range seen {
		if _, err := c.Vault.Destroy(ctx, c.permit, set); err != nil {
			return err
		}
		c.report.Repaired++
	}
	for _, o := range stray {
		if _, err := c.Originals.Delete(ctx, o); err != nil && !errors.Is(err, coffer.ErrNotFound) {
			return err
		}
		c.report.Repaired++
	}
	for _, s := range []object.Store{c.Objects, c.Originals} {
		n, err := s.Sweep(ctx, c.opt.Age)
		if err != nil {
			return err
		}
		c.report.Repaired += n
	}
	return nil
}

// log verifies the log and the order of reveals in it.
func (c *checker) log(ctx context.Context) error {
	// A damaged log is not extended any more; what is wrong with it is found below.
	if err := c.Guard.Log.Sequence(ctx); err != nil && !errors.Is(err, coffer.ErrCorrupt) {
		return err
	}
	r, err := audit.Verify(ctx, c.LogDir, audit.VerifyOptions{Key: c.Guard.Log.VerifierKey(), DB: c.DB})
	if err != nil {
		return err
	}
	c.report.Entries = r.Checkpoint.Size
	for _, p := range r.Problems {
		c.violation("log", fmt.Sprintf("entry %d", p.Index), "%s", p)
	}
	if r.Count > 0 {
		return nil // what such a log says of reveals proves nothing
	}
	intents := map[audit.Ref]bool{}
	for e, err := range c.Guard.Log.Entries(ctx, audit.Filter{Action: string(access.ValueReveal)}) {
		if err != nil {
			return err
		}
		switch e.Outcome {
		case audit.Intent:
			intents[e.Ref()] = true
		case audit.Done, audit.Failed:
			if !intents[e.Intent] {
				c.violation("log", fmt.Sprintf("entry %d", e.Index), "the result of a reveal without an intent before it")
			}
		}
	}
	return nil
}
