package remedy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"slices"
	"unicode/utf8"

	"coffer"
	"coffer/format"
	"coffer/format/all"
	"coffer/format/detect"
	"coffer/triage"
)

// Limits of a sweep.
const (
	// maxStored is how many changes a plan stores, with the source bytes they replace, so that applying them parses nothing.
	// A plan with more is applied by sweeping the object again, and the digest of all its changes shows that they are the same.
	maxStored   = 100_000
	maxPossible = 1_000 // look-alikes listed by place; all are counted
)

// Include widens a fix beyond its default.
type Include struct {
	Rejected bool `json:"rejected,omitempty"` // values that fail their checksum
	Region   bool `json:"region,omitempty"`   // whole lines or pages for which no pattern is known
	Possible bool `json:"possible,omitempty"` // what merely looks alike
}

// Change is one replacement in the object.
type Change struct {
	Finding string          `json:"finding,omitempty"`
	N       int             `json:"n,omitempty"` // 0: found by the sweep
	Type    coffer.DataType `json:"type"`
	Custom  string          `json:"custom,omitempty"`
	At      coffer.Location `json:"at"`
	Before  string          `json:"before"` // masked
	After   string          `json:"after"`
	Why     string          `json:"why"` // reported, value, pattern, column, possible
	// Joined says that the replaced bytes are those of the change before, which stands in the same scalar.
	Joined bool        `json:"joined,omitempty"`
	Span   format.Span `json:"span"`
}

// Possible is a place that looks like one of the reported types and is not touched.
type Possible struct {
	Type coffer.DataType `json:"type"`
	At   coffer.Location `json:"at"`
}

// subject is a reported occurrence that a fix covers.
type subject struct {
	finding string
	found   format.Found
	by      *definitions
}

// definitions are what the values of a finding were found by.
type definitions struct {
	set      *detect.Set
	versions map[string]string // of custom identifiers, as in a triage.Record
}

// by returns what the values of a finding were found by, and are looked for by again.
func (m *Remedy) by(ctx context.Context, rec *triage.Record) (*definitions, error) {
	set, err := m.Identifiers.Detectors(ctx, rec.Identifiers)
	return &definitions{set, rec.Identifiers}, err
}

// sweep looks through a whole object for what a fix has to replace.
type sweep struct {
	include  Include
	only     bool // reported places alone
	replace  func(t coffer.DataType, value []byte) []byte
	subjects []subject

	values  *detect.Values
	origin  []typed // the types of the values, as they were reported
	types   []typed
	columns map[column]bool
	units   map[coffer.Location][]reported // reported pieces inside cells and scalars, by their region
	rows    map[int64]bool                 // rows and record indices of units; asked first, since a Location is long to hash
	spans   map[string][]reported          // others, by member, in order of their source bytes

	emit     func(Change) error         // is given every change, in document order
	chosen   func(coffer.DataType) bool // types whose hits are replaced; nil: all
	keep     int                        // how many of the values that only the sweep finds are kept in sealable
	sealable []sealable
	possible []Possible
	digest   hash.Hash // of all changes
	counts   struct {
		byType                                                     map[coffer.DataType]int
		changes, swept, possible, unplaced, left, authentic, named int
	}
	member  string // of the last region
	scratch []byte
}

// typed is a type with its detector.
type typed struct {
	t      coffer.DataType
	custom string
	det    detect.Detector
	known  bool
}

// sealable is a value that only the sweep found.
type sealable struct {
	t     coffer.DataType
	at    coffer.Location
	plain coffer.Plaintext
}

// reported is a piece of a reported value.
type reported struct {
	s     *subject
	piece format.Piece
	typ   typed
}

// column is where values of a type without checksum are believed to stand: a column of a table, a path in a record.
type column struct {
	member string
	sheet  string
	col    int64
	path   string
	t      coffer.DataType
}

// hit is something to replace in a region.
type hit struct {
	i, j    int
	typ     typed
	s       *subject // nil: found by the sweep
	why     string
	ordinal int // lower wins where hits overlap
}

func newSweep(subjects []subject, include Include, only bool, replace func(coffer.DataType, []byte) []byte) *sweep {
	w := &sweep{
		include: include, only: only, replace: replace, subjects: subjects,
		columns: map[column]bool{}, units: map[coffer.Location][]reported{},
		rows: map[int64]bool{}, spans: map[string][]reported{},
	}
	w.counts.byType = map[coffer.DataType]int{}
	var values [][]byte
	seen := map[[3]string]bool{}
	for i := range subjects {
		s := &subjects[i]
		o := s.found.Occurrence
		det, known := s.by.set.For(o.Type, o.Custom)
		typ := typed{o.Type, o.Custom, det, known}
		if !w.takes(s.found) {
			continue
		}
		if k := [3]string{string(o.Type), o.Custom, s.by.versions[detect.Key(o.Type, o.Custom)]}; !seen[k] {
			seen[k] = true
			w.types = append(w.types, typ)
		}
		for _, p := range s.found.Pieces {
			r := reported{s, p, typ}
			if p.InUnit {
				w.units[p.Region] = append(w.units[p.Region], r)
				w.rows[p.Region.Row+p.Region.Index] = true // of which a place has one
				w.columns[columnOf(p.Region, o.Type)] = true
			} else if p.Span != nil {
				w.spans[p.Span.Member] = append(w.spans[p.Span.Member], r)
			} else {
				w.counts.unplaced++
			}
		}
		// A value in one piece is searched for everywhere. Parts of a spread value are not: a city is no secret in itself.
		if len(s.found.Pieces) == 1 {
			b := s.found.Pieces[0].Text.Expose()
			values = append(values, b)
			w.origin = append(w.origin, typ)
		}
	}
	for _, list := range w.spans {
		slices.SortFunc(list, func(a, b reported) int { return cmp.Compare(a.piece.Span.Start, b.piece.Span.Start) })
	}
	w.values = detect.NewValues(values)
	return w
}

// takes reports whether the fix replaces what stands at the occurrence.
func (w *sweep) takes(f format.Found) bool {
	switch f.Outcome {
	case coffer.OutcomeExact:
		return true
	case coffer.OutcomeRejected:
		return w.include.Rejected
	case coffer.OutcomeRegion:
		return w.include.Region || len(f.Pieces) == 1 && f.Pieces[0].InUnit
	}
	return false
}

func columnOf(l coffer.Location, t coffer.DataType) column {
	c := column{member: l.Member, sheet: l.Sheet, col: l.Column, t: t}
	if l.Kind == coffer.Record {
		c.path = format.AnyIndex(l.Path)
	}
	return c
}

// run walks the document and counts and emits what is to be replaced; with dst it writes the document with the replacements.
func (w *sweep) run(ctx context.Context, dst io.Writer, f format.Format, src format.Source) error {
	w.digest = sha256.New()
	var places []coffer.Location
	for i := range w.subjects {
		for _, p := range w.subjects[i].found.Pieces {
			places = append(places, p.Region)
		}
	}
	return all.Reading(f, places).Walk(ctx, dst, src, nil, w.visit)
}

func (w *sweep) visit(r *format.Region) ([]format.Edit, error) {
	if r.At.Member != w.member {
		w.member = r.At.Member
		if names := r.At.Names(); len(names) > 0 && w.names(names[len(names)-1]) {
			w.counts.named++
		}
	}
	hits := w.reported(r)
	if !w.only {
		hits = w.search(r, hits)
	}
	hits = slices.DeleteFunc(hits, func(h hit) bool {
		return h.i < r.Lead || h.i >= r.Commit || w.chosen != nil && !w.chosen(h.typ.t)
	})
	if len(hits) == 0 {
		return nil, nil
	}
	hits = merge(hits)
	if r.Splice == nil {
		return nil, fmt.Errorf("this format cannot be rewritten: %w", coffer.ErrUnsupported)
	}
	edits := make([]format.Edit, len(hits))
	for k, h := range hits {
		edits[k] = format.Edit{Start: h.i, End: h.j, New: w.replace(h.typ.t, r.Text[h.i:h.j])}
	}
	spans, err := r.Splice(edits)
	if err != nil {
		return nil, err
	}
	for k, h := range hits {
		c := Change{
			Type: h.typ.t, Custom: h.typ.custom, At: r.Locate(h.i, h.j), Why: h.why,
			Before: detect.Mask(h.typ.t, r.Text[h.i:h.j]), After: string(edits[k].New),
		}
		switch {
		case len(spans) == len(hits):
			c.Span = spans[k]
		case k == 0:
			c.Span = spans[0]
		default:
			c.Joined = true
		}
		if h.s != nil {
			c.Finding, c.N = h.s.finding, h.s.found.Occurrence.N
		} else if w.counts.swept++; len(w.sealable) < w.keep {
			w.sealable = append(w.sealable, sealable{h.typ.t, c.At, coffer.NewPlaintext(bytes.Clone(r.Text[h.i:h.j]))})
		}
		w.count(&c)
		if w.emit != nil {
			if err := w.emit(c); err != nil {
				return nil, err
			}
		}
	}
	return edits, nil
}

// names reports whether a name, of the object or of a file in an archive, holds one of the values or another beyond doubt. A fix
// changes what documents hold, not what they are called.
func (w *sweep) names(name string) bool {
	text := detect.Text{Text: []byte(name)}
	holds := false
	w.values.Find(text.Text, func(int, int, int) bool { holds = true; return false })
	for _, typ := range w.types {
		holds = holds || typ.det.Distinct() && len(typ.det.Scan(text)) > 0
	}
	return holds
}

// count counts a change and takes it into the digest.
func (w *sweep) count(c *Change) {
	w.counts.changes++
	w.counts.byType[c.Type]++
	if c.Type.Authentication() {
		w.counts.authentic++
	}
	if c.Why == "reported" || c.Why == "value" || c.Why == "pattern" {
		w.counts.left++
	}
	if c.Joined {
		return // what replaces it is in the span of the change before
	}
	// Lengths in front make the bytes unambiguous.
	b := binary.AppendUvarint(w.scratch[:0], uint64(len(c.Span.Member)))
	b = append(b, c.Span.Member...)
	b = binary.AppendUvarint(b, uint64(c.Span.Start))
	b = binary.AppendUvarint(b, uint64(c.Span.End))
	b = binary.AppendUvarint(b, uint64(len(c.Span.New)))
	b = append(b, c.Span.New...)
	w.digest.Write(b) // never fails
	w.scratch = b
}

// reported returns the reported pieces that stand in r.
func (w *sweep) reported(r *format.Region) (hits []hit) {
	if r.Whole {
		if !w.rows[r.At.Row+r.At.Index] {
			return nil
		}
		for _, p := range w.units[r.At] {
			i := int(p.piece.Off - r.Off)
			j := i + p.piece.Text.Len()
			if i < 0 || j > len(r.Text) || !bytes.Equal(r.Text[i:j], p.piece.Text.Expose()) {
				continue // another field of the same name, or another window
			}
			hits = append(hits, hit{i, j, p.typ, p.s, "reported", 0})
		}
		return hits
	}
	list := w.spans[r.At.Member]
	if len(list) == 0 || r.Splice == nil || r.Lead >= r.Commit {
		return nil
	}
	from, _ := sourceOf(r, r.Lead)
	to, _ := sourceOf(r, r.Commit-1)
	k, _ := slices.BinarySearchFunc(list, from, func(p reported, at int64) int { return cmp.Compare(p.piece.Span.Start, at) })
	for ; k < len(list) && list[k].piece.Span.Start <= to; k++ {
		p := list[k]
		i := textOffset(r, p.piece.Span.Start)
		j := i + p.piece.Text.Len()
		if at, ok := sourceOf(r, i); ok && at == p.piece.Span.Start && j <= len(r.Text) && bytes.Equal(r.Text[i:j], p.piece.Text.Expose()) {
			hits = append(hits, hit{i, j, p.typ, p.s, "reported", 0})
		}
	}
	return hits
}

// sourceOf returns the offset of the source byte behind Text[i], or behind the beginning of the character that it is in. There
// is none outside of what the window may edit.
func sourceOf(r *format.Region, i int) (at int64, ok bool) {
	for k := 0; k < utf8.UTFMax-1 && i > r.Lead && !utf8.RuneStart(r.Text[i]); k++ {
		i--
	}
	spans, err := r.Splice([]format.Edit{{Start: i, End: i}})
	if err != nil || len(spans) != 1 {
		return 0, false
	}
	return spans[0].Start, true
}

// textOffset is the inverse of sourceOf, in what the window may edit; source offsets grow with text offsets.
func textOffset(r *format.Region, at int64) int {
	lo, hi := r.Lead, r.Commit-1
	for lo < hi {
		mid := (lo + hi) / 2
		if from, ok := sourceOf(r, mid); !ok || from < at {
			lo = mid + 1 // what cannot be edited is what an edit of the window before runs over
		} else {
			hi = mid
		}
	}
	return lo
}

// search adds what the sweep finds in r to hits: known values, unmistakable patterns, columns of reported types.
func (w *sweep) search(r *format.Region, hits []hit) []hit {
	w.values.Find(r.Text, func(i, j, n int) bool {
		hits = append(hits, hit{i, j, w.origin[n], nil, "value", 1})
		return true
	})
	text := detect.Text{Text: r.Text, Name: r.Name, Cell: r.Whole}
	for _, typ := range w.types {
		if typ.det.Distinct() {
			for _, m := range typ.det.Scan(text) {
				hits = append(hits, hit{m.Start, m.End, typ, nil, "pattern", 2})
			}
		} else if r.Whole && !r.IsName && len(bytes.TrimSpace(r.Text)) > 0 && w.columns[columnOf(r.At, typ.t)] {
			if typ.t.Spread() {
				hits = append(hits, hit{0, len(r.Text), typ, nil, "column", 3})
			} else {
				for _, m := range typ.det.Find(text) {
					if m.Valid {
						hits = append(hits, hit{m.Start, m.End, typ, nil, "column", 3})
					}
				}
			}
		}
		if typ.t.Spread() || !typ.known {
			continue // nearly everything looks like a name
		}
		for _, m := range typ.det.Find(text) {
			if !m.Valid || m.Start < r.Lead || m.Start >= r.Commit || covered(hits, m) {
				continue
			}
			if w.include.Possible {
				hits = append(hits, hit{m.Start, m.End, typ, nil, "possible", 4})
				continue
			}
			if w.counts.possible++; len(w.possible) < maxPossible {
				w.possible = append(w.possible, Possible{typ.t, r.Locate(m.Start, m.End)})
			}
		}
	}
	return hits
}

func covered(hits []hit, m detect.Match) bool {
	return slices.ContainsFunc(hits, func(h hit) bool { return m.Start < h.j && h.i < m.End })
}

// merge sorts hits and joins those that overlap; the joined hit is what the most trusted of them was, over all their bytes.
func merge(hits []hit) []hit {
	slices.SortStableFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(a.i, b.i), cmp.Compare(a.ordinal, b.ordinal), cmp.Compare(b.j, a.j))
	})
	out := hits[:0]
	for _, h := range hits {
		if n := len(out); n > 0 && h.i < out[n-1].j {
			last := out[n-1]
			if h.ordinal < last.ordinal {
				h.i, h.j = last.i, max(last.j, h.j)
				out[n-1] = h
			} else {
				out[n-1].j = max(last.j, h.j)
			}
			continue
		}
		out = append(out, h)
	}
	return out
}
