package format

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"coffer"
)

// MaxDepth is how deep objects and arrays may be nested, which is Macie's limit (status reason JSON_NESTING_LEVEL_OVER_LIMIT).
const MaxDepth = 256

// What a [Matcher] adds to [Place.Alt].
const (
	altLoose  = 1000 // a less likely reading of the path
	altRecord = 2000 // the text of the record instead of the field
	altIndex  = 3000 // for each reading of the record index
)

// Matcher tells a walk over records which wanted locations it is at. The walk says where it goes ([Matcher.Begin],
// [Matcher.Name], [Matcher.Element], [Matcher.Up]); this allocates nothing and renders no path. Locations of other kinds than
// Record, those in an archive member, and paths that cannot be parsed match nothing. A Matcher is not safe for concurrent use.
//
// A path that names an object or array matches every scalar below it. "$" matches the whole record and, since it is what is left
// when Macie omits a path because a member name is sensitive, the member names too.
//
// The Alt of a place is 3000 for each step away from the likeliest reading of the record index (as the format counts records; in
// the other way of counting that was given to Begin; one too high; one too high in the other way of counting). To that the
// reading of the path adds: the fields that a cut path, or a path with a cut name, may mean have 0, 1, 2 and so on in
// document order; from 1000 on so do those whose own path has at most [MaxPath] characters, which Macie would not have cut, and a
// name in which a backslash is taken literally; 2000 is the text of a record that cannot be parsed, where the field is not
// known. A walk goes forward only, so the first candidate of an ambiguous path has Alt 0 even when others follow.
type Matcher struct {
	root, cut *step // tries of the whole and of the cut paths; cut is nil when there is none
	records   wants // all of them

	readings [4]reading // of the index of this record
	anywhere bool       // this record has a cut path
	active   []*step    // steps reached, level by level
	ended    []*step    // steps at which wants of this record ended, at this level or above
	hits     []Place    // those wants
	levels   []level
	fields   map[field]int
	text     []byte
}

// field counts the fields that were found for the wants of a step in a reading.
type field struct {
	step *step
	alt  int
}

type step struct {
	few      []named          // members, in the beginning
	names    map[string]*step // all members, when they are more than few
	elements map[int64]*step
	tails    []tail
	wants    wants // that end here
	ended    int   // how often it is in Matcher.ended
}

// fewNames is how many names are compared one by one, which is faster than a map.
const fewNames = 8

type named struct {
	name string
	next *step
}

// tail is a name that Macie has cut.
type tail struct {
	end  string
	next *step
}

type want struct {
	index     int64
	n         int // which of the wanted locations
	alt       int
	ambiguous bool
	cut       bool
	root      bool
}

// wants are ordered by record index. Records come in ascending order, so for each reading of the index the position of the next
// want only goes forward.
type wants struct {
	all []want
	at  [4]int
}

type reading struct {
	index int64
	same  bool // as an earlier reading, so that it adds nothing
}

// level is what held before the step down.
type level struct{ active, ended, hits, chars int }

// NewMatcher returns a matcher for the record locations in want.
func NewMatcher(want []coffer.Location) *Matcher {
	m := &Matcher{root: &step{}, fields: map[field]int{}}
	paths := map[string][]ending{}
	for n, l := range want {
		if l.Kind != coffer.Record || l.Member != "" {
			continue
		}
		// Most paths are wanted in many records.
		ends, known := paths[l.Path]
		if !known {
			ends = m.paths(l.Path)
			paths[l.Path] = ends
		}
		for _, e := range ends {
			w := e.want
			w.index, w.n = l.Index, n
			e.step.wants.all = append(e.step.wants.all, w)
			m.records.all = append(m.records.all, w)
		}
	}
	m.records.order()
	m.root.order()
	if m.cut != nil {
		m.cut.order()
	}
	return m
}

// ending is where a path ends, with what the wants for it have in common.
type ending struct {
	step *step
	want want
}

// paths returns the endings of the readings of a path.
func (m *Matcher) paths(path string) []ending {
	if path == "" {
		path = "$"
	}
	p, escaped, err := parsePath(path, false)
	if err != nil || len(p.Steps) > MaxDepth {
		return nil
	}
	ends := []ending{m.add(p, 0)}
	if escaped {
		if p, _, err := parsePath(path, true); err == nil && len(p.Steps) <= MaxDepth {
			ends = append(ends, m.add(p, altLoose))
		}
	}
	return ends
}

func (m *Matcher) add(p Path, alt int) ending {
	w := want{alt: alt, cut: p.Cut, ambiguous: p.Cut, root: len(p.Steps) == 0}
	s := m.root
	if p.Cut {
		if m.cut == nil {
			m.cut = &step{}
		}
		s = m.cut
	}
	for _, e := range p.Steps {
		end, cut := strings.CutPrefix(e.Name, "...")
		switch {
		case e.Element:
			s = s.element(e.Index)
		case cut && end != "":
			w.ambiguous = true
			i := slices.IndexFunc(s.tails, func(t tail) bool { return t.end == end })
			if i < 0 {
				i = len(s.tails)
				s.tails = append(s.tails, tail{end, &step{}})
			}
			s = s.tails[i].next
		default:
			s = s.member(e.Name)
		}
	}
	return ending{s, w}
}

func (s *step) member(name string) *step {
	if next := s.named([]byte(name)); next != nil {
		return next
	}
	next := &step{}
	if len(s.few) < fewNames {
		s.few = append(s.few, named{name, next})
		return next
	}
	if s.names == nil {
		s.names = map[string]*step{}
		for _, f := range s.few {
			s.names[f.name] = f.next
		}
	}
	s.names[name] = next
	return next
}

func (s *step) named(name []byte) *step {
	if s.names != nil {
		return s.names[string(name)]
	}
	for i := range s.few {
		if f := &s.few[i]; f.name == string(name) {
			return f.next
		}
	}
	return nil
}

func (s *step) element(i int64) *step {
	if s.elements == nil {
		s.elements = map[int64]*step{}
	}
	next := s.elements[i]
	if next == nil {
		next = &step{}
		s.elements[i] = next
	}
	return next
}

func (w *wants) order() {
	slices.SortStableFunc(w.all, func(a, b want) int { return cmp.Compare(a.index, b.index) })
}

// from returns the wants from the first one on whose record is index or later, in reading r.
func (w *wants) from(r int, index int64) []want {
	i := w.at[r]
	for i < len(w.all) && w.all[i].index < index {
		i++
	}
	w.at[r] = i
	return w.all[i:]
}

func (s *step) order() {
	s.wants.order()
	for _, c := range s.few {
		c.next.order()
	}
	if s.names != nil {
		for _, c := range s.names {
			c.order()
		}
	}
	for _, c := range s.elements {
		c.order()
	}
	for _, t := range s.tails {
		t.next.order()
	}
}

func (s *step) leaf() bool { return len(s.few) == 0 && len(s.elements) == 0 && len(s.tails) == 0 }

// Skip returns how many records, from the one that is index and other in the two ways of counting on, hold no wanted location
// for certain; the second way of counting does not grow faster than the first. It returns -1 when no record holds one any more.
func (m *Matcher) Skip(index, other int64) int64 {
	n := int64(-1)
	for r, i := range [...]int64{index, other} {
		// A location of the record after this one may mean this one.
		if next := m.records.from(r, i); len(next) > 0 {
			if d := max(0, next[0].index-1-i); n < 0 || d < n {
				n = d
			}
		}
	}
	return n
}

// Begin goes to the root of the record that is index as the format counts records (0-based), and other in the other way of
// counting, which is index where there is none; neither goes back from one record to the next. It returns whether anything in the record is wanted.
func (m *Matcher) Begin(index, other int64) bool {
	for r, i := range [...]int64{index, other, index + 1, other + 1} {
		m.readings[r] = reading{index: i}
		for _, o := range m.readings[:r] {
			m.readings[r].same = m.readings[r].same || o.index == i
		}
	}
	for len(m.levels) > 0 { // a record that was left on an error
		m.Up()
	}
	m.release(0)
	if len(m.fields) > 0 {
		clear(m.fields)
	}
	m.active, m.hits = append(m.active[:0], m.root), m.hits[:0]
	wanted := false
	m.anywhere = false
	for r := range m.readings {
		for _, w := range m.matching(&m.records, r) {
			wanted = true
			m.anywhere = m.anywhere || w.cut
		}
	}
	if !wanted {
		m.active = m.active[:0]
		return false
	}
	m.match(m.root, 0)
	return true
}

// release takes back what ended below a level.
func (m *Matcher) release(n int) {
	for _, s := range m.ended[n:] {
		s.ended--
	}
	m.ended = m.ended[:n]
}

// matching returns the wants of the record in reading r.
func (m *Matcher) matching(of *wants, r int) []want {
	rd := &m.readings[r]
	if rd.same {
		return nil
	}
	w := of.from(r, rd.index)
	n := 0
	for n < len(w) && w[n].index == rd.index {
		n++
	}
	return w[:n]
}

// match notes the wants of this record that end at s.
func (m *Matcher) match(s *step, chars int) {
	if len(s.wants.all) == 0 {
		return
	}
	s.ended++
	m.ended = append(m.ended, s)
	for r := range m.readings {
		number := [2]int{-1, -1} // of this field, by likelihood
		for _, w := range m.matching(&s.wants, r) {
			alt := r*altIndex + w.alt
			if w.ambiguous {
				if s.ended > 1 {
					continue // it already holds for all that is below an enclosing object
				}
				if w.cut && w.alt == 0 && chars <= MaxPath {
					alt += altLoose
				}
				n := &number[alt%altIndex/altLoose]
				if *n < 0 {
					*n = m.fields[field{s, alt}]
					m.fields[field{s, alt}]++
				}
				alt += min(*n, altLoose-1)
			}
			m.hits = append(m.hits, Place{Want: w.n, Alt: alt})
		}
	}
}

// top returns the beginning of this level in active, and the characters of its path.
func (m *Matcher) top() (from, chars int) {
	if n := len(m.levels); n > 0 {
		return m.levels[n-1].active, m.levels[n-1].chars
	}
	return 0, 0
}

// Name goes down to the member name, if anything there or below it may be wanted, and says whether it did. Of a very long name
// the end is enough, as long as it is longer than any wanted name.
func (m *Matcher) Name(name []byte) bool {
	from, chars := m.top()
	to := len(m.active)
	l := level{to, len(m.ended), len(m.hits), chars}
	if m.anywhere {
		m.text = AppendName(m.text[:0], name)
		l.chars += utf8.RuneCount(m.text)
	}
	for _, s := range m.active[from:to] {
		m.member(s, name, l.chars)
	}
	if m.anywhere && len(m.levels) > 0 { // at least one element was cut off
		m.member(m.cut, name, l.chars)
	}
	return m.down(l)
}

func (m *Matcher) member(s *step, name []byte, chars int) {
	if next := s.named(name); next != nil {
		m.reach(next, chars)
	}
	for _, t := range s.tails {
		if len(name) > len(t.end) && string(name[len(name)-len(t.end):]) == t.end {
			m.reach(t.next, chars)
		}
	}
}

// Element goes down to element i of an array, if anything there or below it may be wanted, and says whether it did.
func (m *Matcher) Element(i int64) bool {
	from, chars := m.top()
	to := len(m.active)
	l := level{to, len(m.ended), len(m.hits), chars}
	if m.anywhere {
		var b [24]byte
		l.chars += len(AppendElement(b[:0], i))
	}
	for _, s := range m.active[from:to] {
		if next := s.elements[i]; next != nil {
			m.reach(next, l.chars)
		}
	}
	if m.anywhere && len(m.levels) > 0 {
		if next := m.cut.elements[i]; next != nil {
			m.reach(next, l.chars)
		}
	}
	return m.down(l)
}

func (m *Matcher) reach(s *step, chars int) {
	if !s.leaf() {
		m.active = append(m.active, s)
	}
	m.match(s, 1+chars)
}

func (m *Matcher) down(from level) bool {
	if len(m.active) == from.active && len(m.hits) == 0 && !m.anywhere {
		m.release(from.ended)
		return false
	}
	m.levels = append(m.levels, from)
	return true
}

// Up goes back from where the last Name or Element went down to.
func (m *Matcher) Up() {
	n := len(m.levels) - 1
	l := m.levels[n]
	m.release(l.ended)
	m.active, m.hits, m.levels = m.active[:l.active], m.hits[:l.hits], m.levels[:n]
}

// Here returns the wanted locations that cover a scalar at this place; Start and End are zero. The slice is valid until the
// next call.
func (m *Matcher) Here() []Place { return m.hits }

// Names returns the wanted locations that cover the member names of the record.
func (m *Matcher) Names() []Place {
	if len(m.levels) > 0 {
		return m.hits[:m.levels[0].hits]
	}
	return m.hits
}

// Record appends to places the wanted locations of the record whose text cannot be parsed.
func (m *Matcher) Record(places []Place) []Place {
	for r := range m.readings {
		for _, w := range m.matching(&m.records, r) {
			switch {
			case w.root:
				places = append(places, Place{Want: w.n, Alt: r * altIndex})
			case w.alt == 0:
				places = append(places, Place{Want: w.n, Alt: r*altIndex + altRecord})
			}
		}
	}
	return places
}
