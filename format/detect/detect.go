// Package detect knows what sensitive data looks like: where in a text a value of a type begins and ends, and whether its
// checksum holds. Extraction and fixes use the same code, or one would seal one thing and redact another. It imports no
// format.
//
// A [Set] hands out a [Detector] for a type. [Detector.Find] serves where Macie has reported the type: it finds the value even
// if it is written oddly. [Detector.Scan] serves where nobody has reported anything: it returns what is of the type beyond
// doubt. [Set.ScanAll] is Scan for many types in one pass.
//
// The identifiers, their keywords and rules are those of Macie's managed data identifiers; checksums are those of the issuing
// authorities. Everything here works on hostile text: in time linear in its length, in constant memory beside the result, and
// without ever putting a piece of the text into an error.
package detect

import (
	"slices"
	"sync"

	"coffer"
)

// Match is a value found in a text.
type Match struct {
	Start, End int // byte offsets in the text
	// Valid says that the value passes every check its type has: checksum, ranges, length, prefix. A Match that is not
	// Valid has the form of the type and fails a check: a likely false positive.
	Valid bool
}

// Text is what is searched: some text, with the name the document gives it (column header, dotted member names), which counts
// as a place for keywords. Cell says that the text is a whole cell or scalar, so that a value may be expected to fill it.
type Text struct {
	Text []byte
	Name []byte
	Cell bool
}

// Piece is a part of a value that is spread over several texts of a row: texts[Index].Text[Start:End].
type Piece struct{ Index, Start, End int }

// Detector finds values of one type. Detectors are immutable and safe for concurrent use; they keep nothing of what they see.
type Detector interface {
	// Find returns the values of the type in t in ascending order, without overlap. It is used where the type is already
	// known to stand (Macie reported it), so it needs no keyword and prefers finding to doubting.
	Find(t Text) []Match
	// Scan returns the values that are the type beyond doubt: with a valid checksum or an unmistakable form, and with the
	// keyword that Macie asks for, in t.Name or near the value. Types without a checksum and without an unmistakable
	// form return nil. What Scan returns is a part of what Find returns, and Valid.
	Scan(t Text) []Match
	// Distinct says that Scan can return anything: the type has a checksum or an unmistakable form.
	Distinct() bool
}

// RowDetector is implemented by detectors of types whose value may be spread over the cells of a row.
type RowDetector interface {
	Detector
	// FindRow returns the values in the row, each as the pieces it consists of, in the order of the row. No two pieces
	// overlap.
	FindRow(row []Text) [][]Piece
}

// Set is all the detectors of an installation: one for each managed data identifier that Coffer knows, and the custom ones. It
// is immutable and safe for concurrent use.
type Set struct {
	custom  []*customDetector
	defined map[string]*customDetector // see Defined
}

// NewSet returns the managed detectors together with the given custom identifiers. Its errors wrap coffer.ErrInvalid and name
// the identifier by its position, not by its content.
func NewSet(custom []Custom) (*Set, error) {
	s := new(Set)
	for i := range custom {
		d, err := newCustom(custom, i)
		if err != nil {
			return nil, err
		}
		s.custom = append(s.custom, d)
	}
	return s, nil
}

// For returns the detector of a type. customID is the id of a custom identifier as Macie reports it, empty for managed ones; a
// custom identifier is looked for by its id, then by its name t. For a type that is not known it returns false and a detector
// whose Find tries what usually stands alone in a place: e-mail addresses, URLs, IP addresses, then tokens of at least six
// letters and digits with a digit among them.
func (s *Set) For(t coffer.DataType, customID string) (Detector, bool) {
	if c, ok := s.defined[Key(t, customID)]; ok {
		return c, true
	}
	if customID != "" {
		for _, c := range s.custom {
			if c.c.ID == customID {
				return c, true
			}
		}
	} else if i, ok := managed().byID[t]; ok {
		return managed().all[i].d, true
	}
	for _, c := range s.custom {
		if c.c.Name == string(t) {
			return c, true
		}
	}
	return unknown{}, false
}

// Types returns every type that the set has a detector for: the managed identifiers in ascending order, then the names of the
// custom ones.
func (s *Set) Types() []coffer.DataType {
	m := managed()
	out := make([]coffer.DataType, 0, len(m.all)+len(s.custom))
	for _, e := range m.all {
		out = append(out, e.id)
	}
	for _, c := range s.custom {
		out = append(out, coffer.DataType(c.c.Name))
	}
	return out
}

// ScanAll yields for each of the types what [Detector.Scan] returns, in ascending order of the matches' beginning; values of
// different types may overlap. types nil means every type of the set. It reads the text once for all types that are numbers,
// and once for each other type that is distinct.
func (s *Set) ScanAll(t Text, types []coffer.DataType, yield func(coffer.DataType, Match) bool) {
	type hit struct {
		t coffer.DataType
		m Match
	}
	var hits []hit
	m := managed()
	collect := func(id coffer.DataType, d Detector) {
		for _, x := range d.Scan(t) {
			hits = append(hits, hit{id, x})
		}
	}
	var only *selection
	rest := m.others
	if types != nil {
		only, rest = new(selection), nil
		for _, id := range types {
			if i, ok := m.byID[id]; ok {
				only.add(i)
				if _, number := m.all[i].d.(*number); !number {
					rest = append(rest, i)
				}
			}
		}
	}
	m.scan(t, only, func(i int32, x Match) { hits = append(hits, hit{m.all[i].id, x}) })
	for _, i := range rest {
		collect(m.all[i].id, m.all[i].d)
	}
	for _, c := range s.custom {
		if id := coffer.DataType(c.c.Name); types == nil || slices.Contains(types, id) {
			collect(id, c)
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return a.m.Start - b.m.Start })
	for _, h := range hits {
		if !yield(h.t, h.m) {
			return
		}
	}
}

// found is a match before it is published.
type found struct {
	start, end int
	v          verdict
}

func publish(fs []found) []Match {
	if len(fs) == 0 {
		return nil
	}
	out := make([]Match, len(fs))
	for i, f := range fs {
		out[i] = Match{f.start, f.end, f.v > bad}
	}
	return out
}

// resolve adds f to matches that are in ascending order, unless it overlaps one that is as good. At the same beginning the longer
// of two equals wins, or the shorter if short.
func resolve(fs []found, f found, short bool) []found {
	i := len(fs)
	for i > 0 && fs[i-1].end > f.start {
		i--
		if p := &fs[i]; p.v > f.v || p.v == f.v && p.start != f.start {
			return fs
		} else if p.v == f.v {
			if !short && f.end > p.end {
				p.end = f.end
			}
			return fs
		}
	}
	return append(fs[:i], f)
}

// rule is what a type demands of a match before Scan may return it.
type rule struct {
	words  *keywords         // one must be near; nil: no keyword is asked for
	except func([]byte) bool // values of documentation and tests
}

// named reports whether the name of a text has the keyword that all its matches need.
func (r *rule) named(name []byte) bool { return r.words == nil || r.words.in(name) }

// holds reports whether a match is beyond doubt. named is what rule.named says of the name of t.
func (r *rule) holds(t Text, named bool, f found) bool {
	if f.v < sure || r.except != nil && r.except(t.Text[f.start:f.end]) {
		return false
	}
	return f.v == certain || named || r.words.near(t.Text, f.start, f.end)
}

// number is the detector of a type whose values are tokens with a digit in them: numbers, codes, identifiers.
type number struct {
	rule
	forms  index // all forms
	strong index // those with a check, which alone can be sure
	short  bool  // of two equal readings the shorter is right
	weak   bool  // so short a form that in running text only values with a keyword near count, if there are any
}

func (d *number) Distinct() bool { return d.strong.lens != 0 }

func (d *number) Find(t Text) []Match {
	if !d.forms.enough(t.Text) {
		return nil
	}
	var buf [16]found
	best := d.read(t.Text, buf[:0], false)
	// A cell may be the value as a whole, written with separators that running text could not be trusted to have.
	if v := top(best); t.Cell && v < sure {
		if w, ok := d.whole(&d.forms, t.Text); ok && w.v >= max(v, bad) && (w.v > v || v == bad) {
			best = append(buf[:0], w)
		}
	}
	if top(best) < plausible {
		best = d.loosely(t.Text, best)
	}
	if d.weak && !t.Cell {
		best = nearest(t, best, d.words)
	}
	return publish(best)
}

// loosely adds what stands at loose boundaries and is no part of what has been found.
func (d *number) loosely(b []byte, fs []found) []found {
	loose := d.read(b, nil, true)
	if len(fs) == 0 || len(loose) == 0 {
		return append(fs, loose...)
	}
	out := make([]found, 0, len(fs)+len(loose))
	for _, l := range loose {
		for len(fs) > 0 && fs[0].end <= l.start {
			out, fs = append(out, fs[0]), fs[1:]
		}
		if len(fs) == 0 || l.end <= fs[0].start {
			out = append(out, l)
		}
	}
	return append(out, fs...)
}

func top(fs []found) (v verdict) {
	for _, f := range fs {
		v = max(v, f.v)
	}
	return v
}

func (d *number) read(b []byte, fs []found, loose bool) []found {
	d.forms.walk(b, loose, nil, func(_ int32, start, end int, v verdict) {
		fs = resolve(fs, found{start, end, v}, d.short)
	})
	return fs
}

// whole reads b as one value.
func (d *number) whole(x *index, b []byte) (best found, ok bool) {
	var c chain
	if c.fill(b) {
		x.judge(&c, 0, c.n, true, nil, func(_ int32, start, end int, v verdict) {
			if v > best.v {
				best, ok = found{start, end, v}, true
			}
		})
	}
	return best, ok
}

// nearest is for types that many a number looks like. It drops the matches that have no keyword near if there are others; a keyword
// counts for the matches next to it alone.
func nearest(t Text, fs []found, words *keywords) []found {
	if len(fs) < 2 || words.in(t.Name) {
		return fs
	}
	var kept []found
	for i, f := range fs {
		from, to := 0, len(t.Text)
		if i > 0 {
			from = fs[i-1].end
		}
		if i+1 < len(fs) {
			to = fs[i+1].start
		}
		if f.v >= sure || words.near(t.Text[from:to], f.start-from, f.end-from) {
			kept = append(kept, f)
		}
	}
	if kept == nil {
		return fs
	}
	return kept
}

func (d *number) Scan(t Text) []Match {
	if !d.Distinct() || !d.strong.enough(t.Text) {
		return nil
	}
	var buf [16]found
	fs, some := buf[:0], false
	var named, asked bool
	// settle drops the last match if it is not beyond doubt. It is called when nothing that follows can replace it any more.
	settle := func() {
		if n := len(fs); n > 0 {
			if !asked {
				named, asked = d.named(t.Name), true
			}
			if !d.holds(t, named, fs[n-1]) {
				fs = fs[:n-1]
			}
		}
	}
	settled := 0
	d.strong.walk(t.Text, false, nil, func(_ int32, start, end int, v verdict) {
		if v < sure {
			return
		}
		some = true
		if n := len(fs); n > settled && fs[n-1].end <= start {
			settle()
			settled = len(fs)
		}
		fs = resolve(fs, found{start, end, v}, d.short)
	})
	if !some && t.Cell {
		if w, ok := d.whole(&d.strong, t.Text); ok {
			fs = append(fs, w)
		}
	}
	if len(fs) > settled {
		settle()
	}
	return publish(fs)
}

// pattern is the detector of a type that is found in its own way.
type pattern struct {
	rule
	distinct bool
	find     func(t Text) []found // ascending, without overlap
}

func (d *pattern) Distinct() bool      { return d.distinct }
func (d *pattern) Find(t Text) []Match { return publish(d.find(t)) }

func (d *pattern) Scan(t Text) []Match {
	if !d.distinct {
		return nil
	}
	fs := d.find(t)
	if len(fs) == 0 {
		return nil
	}
	named, n := d.named(t.Name), 0
	for _, f := range fs {
		if d.holds(t, named, f) {
			fs[n] = f
			n++
		}
	}
	return publish(fs[:n])
}

// entry is one managed identifier.
type entry struct {
	id coffer.DataType
	d  Detector
}

// registry is all managed identifiers.
type registry struct {
	all    []entry // ascending by id
	byID   map[coffer.DataType]int32
	strong index   // of all detectors that are numbers
	others []int32 // distinct detectors that are not
}

var managed = sync.OnceValue(newRegistry)

// scan is Scan of the selected numbers in one pass. Matches come in ascending order for each detector.
func (m *registry) scan(t Text, only *selection, emit func(int32, Match)) {
	type hit struct {
		found
		d int32
	}
	var buf [16]hit
	pending := buf[:0] // the hits that a later one may still replace
	var all, named, asked selection
	settle := func(h hit) {
		d := m.all[h.d].d.(*number)
		if !asked.has(h.d) {
			asked.add(h.d)
			if d.named(t.Name) {
				named.add(h.d)
			}
		}
		if d.holds(t, named.has(h.d), h.found) {
			emit(h.d, Match{h.start, h.end, true})
		}
	}
	add := func(d int32, start, end int, v verdict) {
		if v < sure {
			return
		}
		all.add(d)
		n := 0
		for _, p := range pending {
			if p.end <= start {
				settle(p)
				continue
			}
			pending[n] = p
			n++
		}
		pending = pending[:n]
		// As resolve does it, among the hits of one detector.
		for i := range pending {
			p := &pending[i]
			switch {
			case p.d != d:
			case p.v > v, p.v == v && p.start != start:
				return
			case p.v == v:
				if end > p.end && !m.all[d].d.(*number).short {
					p.end = end
				}
				return
			}
		}
		pending = slices.DeleteFunc(pending, func(p hit) bool { return p.d == d })
		pending = append(pending, hit{found{start, end, v}, d})
	}
	if !m.strong.enough(t.Text) {
		return
	}
	m.strong.walk(t.Text, false, only, add)
	if t.Cell {
		var c chain
		if c.fill(t.Text) {
			strict := all
			m.strong.judge(&c, 0, c.n, true, only, func(d int32, start, end int, v verdict) {
				if !strict.has(d) {
					add(d, start, end, v)
				}
			})
		}
	}
	for _, h := range pending {
		settle(h)
	}
}
