package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/format"
	"coffer/format/detect"
	"coffer/triage"
)

// maxRelocated bounds the occurrences that a relocation makes.
const maxRelocated = 100_000

// Relocate looks for the types of a finding anew, in the bytes that its object has today, because the object is not what Macie
// saw. Types with a checksum or an unmistakable form are looked for everywhere; others in the columns and fields where
// Macie reported them. What it finds replaces the finding's occurrences and is sealed and tagged as at intake. A finding
// whose object did not change gives coffer.ErrConflict.
func (p *Pipeline) Relocate(ctx context.Context, ask access.Ask, id string) (Result, error) {
	rec, err := p.Records.Get(ctx, id)
	if err != nil {
		return Result{}, err
	}
	permit, err := p.Guard.Check(ctx, ask.Caller, access.EventIngest, rec.Resource(), ask.Context)
	if err != nil {
		return Result{}, err
	}
	if rec.Unconfirmed() {
		return Result{}, fmt.Errorf("%s: %w", unconfirmed, coffer.ErrConflict)
	}
	if !p.Allow(rec.Finding.Object.Bucket) {
		return Result{}, fmt.Errorf("bucket is not among those that may be read; add it to the configuration: %w", coffer.ErrDenied)
	}
	if _, _, err := p.pin(ctx, &rec.Finding); err == nil {
		return Result{}, fmt.Errorf("the object is what Macie saw; there is nothing to relocate: %w", coffer.ErrConflict)
	} else if !errors.Is(err, coffer.ErrChanged) && !errors.Is(err, coffer.ErrNotFound) {
		return Result{}, err
	}
	if rec.Sealed > 0 {
		return Result{}, fmt.Errorf("the values of the version that Macie saw are sealed; wait for Macie's finding on the new one: %w", coffer.ErrConflict)
	}
	lines, err := p.Records.Lines(ctx, id)
	if err != nil {
		return Result{}, err
	}
	body, err := p.Objects.Open(ctx, coffer.Object{Bucket: rec.Finding.Object.Bucket, Key: rec.Finding.Object.Key})
	if err != nil {
		return Result{}, err
	}
	defer body.Close()
	f, src, err := Document(body)
	if err != nil {
		return Result{}, err
	}
	versions, _, err := p.Identifiers.Define(ctx, rec.Finding.Detections, nil)
	if err != nil {
		return Result{}, err
	}
	set, err := p.Identifiers.Detectors(ctx, versions)
	if err != nil {
		return Result{}, err
	}
	s := newSeeker(set, rec, lines)
	if err := f.Walk(ctx, nil, src, nil, s.visit); err != nil {
		return Result{}, fmt.Errorf("search the object: %w", err)
	}
	if rec.Was == nil {
		was := rec.Finding.Object
		rec.Was = &was
	}
	rec.Finding.Object, rec.Finding.Size = body.Info.Object, body.Info.Size
	rec.Finding.More = false
	rec.State, rec.Reason, rec.Tagged, rec.TagReason = triage.StateReceived, "", false, ""
	found := make([]triage.Line, len(s.occs))
	for i, o := range s.occs {
		found[i] = triage.Line{Occurrence: o}
	}
	rec.Count = len(found)
	stale, err := p.Records.StaleLines(ctx, id, found)
	if err != nil {
		return Result{}, err
	}
	ops, err := p.saveLines(ctx, rec, append(triage.SaveLines(id, found), stale...))
	if err != nil {
		return Result{}, err
	}
	if err := p.record(ctx, permit, rec, "relocate", audit.Done, nil, ops...); err != nil {
		return Result{}, err
	}
	return p.take(ctx, permit, *rec)
}

// seeker collects the places of a finding's types in a document.
type seeker struct {
	types   []sought
	columns map[string]bool // type, member and column or path
	occs    []coffer.Occurrence
}

type sought struct {
	t      coffer.DataType
	custom string
	det    detect.Detector
}

func newSeeker(set *detect.Set, rec *triage.Record, lines []triage.Line) *seeker {
	s := &seeker{columns: map[string]bool{}}
	for _, d := range rec.Finding.Detections {
		if det, ok := set.For(d.Type, d.Custom); ok {
			s.types = append(s.types, sought{d.Type, d.Custom, det})
		}
	}
	for _, l := range lines {
		s.columns[columnKey(l.Type, l.At, l.Column)] = true
		s.columns[columnKey(l.Type, l.At, "")] = true
	}
	return s
}

// columnKey names a column by its header where there is one: columns move.
func columnKey(t coffer.DataType, at coffer.Location, header string) string {
	where := fmt.Sprint(at.Column)
	if at.Kind == coffer.Record {
		where = format.AnyIndex(at.Path)
	}
	if header != "" {
		where = "=" + strings.ToLower(header)
	}
	return string(t) + "\x00" + at.Member + "\x00" + at.Sheet + "\x00" + where
}

func (s *seeker) visit(r *format.Region) ([]format.Edit, error) {
	text := detect.Text{Text: r.Text, Name: r.Name, Cell: r.Whole}
	for _, w := range s.types {
		var matches []detect.Match
		switch {
		case w.det.Distinct():
			matches = w.det.Scan(text)
		case r.Whole && !r.IsName && (len(r.Name) > 0 && s.columns[columnKey(w.t, r.At, string(r.Name))] || s.columns[columnKey(w.t, r.At, "")]):
			matches = slices.DeleteFunc(w.det.Find(text), func(m detect.Match) bool { return !m.Valid })
		}
		for _, m := range matches {
			if m.Start < r.Lead || m.Start >= r.Commit {
				continue
			}
			if len(s.occs) == maxRelocated {
				return nil, fmt.Errorf("more than %d values: %w", maxRelocated, coffer.ErrLimit)
			}
			s.occs = append(s.occs, coffer.Occurrence{
				N: len(s.occs) + 1, Type: w.t, Custom: w.custom, At: r.Locate(m.Start, m.End), Source: coffer.FromSweep,
			})
		}
	}
	return nil, nil
}
