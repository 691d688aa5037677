package format

import (
	"cmp"
	"slices"
	"sort"
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
	root, cut *step  // tries of the whole and of the cut paths; cut is nil when there is none
	records   []want // all wants by record index

	readings []reading // of the index of this record
	anywhere bool      // this record has a cut path
	active   []*step   // steps reached, level by level
	ended    []*step   // steps at which wants of this record ended, at this level or above
	hits     []Place   // those wants
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
	names    map[string]*step
	elements map[int64]*step
	tails    []tail
	wants    []want // that end here, by record index
	ended    int    // how often it is in Matcher.ended
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

type reading struct {
	index int64
	alt   int
}

// level is what held before the step down.
type level struct{ active, ended, hits, chars int }

// NewMatcher returns a matcher for the record locations in want.
func NewMatcher(want []coffer.Location) *Matcher {
	m := &Matcher{root: &step{}, fields: map[field]int{}}
	for n, l := range want {
		if l.Kind != coffer.Record || l.Member != "" {
			continue
		}
		if l.Path == "" {
			l.Path = "$"
		}
		p, escaped, err := parsePath(l.Path, false)
		if err != nil {
			continue
		}
		m.add(l.Index, n, 0, p)
		if escaped {
			if p, _, err := parsePath(l.Path, true); err == nil {
				m.add(l.Index, n, altLoose, p)
			}
		}
	}
	order(m.records)
	m.root.order()
	if m.cut != nil {
		m.cut.order()
	}
	return m
}

func (m *Matcher) add(index int64, n, alt int, p Path) {
	if len(p.Steps) > MaxDepth {
		return
	}
	w := want{index: index, n: n, alt: alt, cut: p.Cut, ambiguous: p.Cut, root: len(p.Steps) == 0}
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
			s = child(&s.elements, e.Index)
		case cut && end != "":
			w.ambiguous = true
			i := slices.IndexFunc(s.tails, func(t tail) bool { return t.end == end })
			if i < 0 {
				i = len(s.tails)
				s.tails = append(s.tails, tail{end, &step{}})
			}
			s = s.tails[i].next
		default:
			s = child(&s.names, e.Name)
		}
	}
	s.wants = append(s.wants, w)
	m.records = append(m.records, w)
}

func child[K comparable](of *map[K]*step, k K) *step {
	if *of == nil {
		*of = map[K]*step{}
	}
	s := (*of)[k]
	if s == nil {
		s = &step{}
		(*of)[k] = s
	}
	return s
}

func order(w []want) {
	slices.SortStableFunc(w, func(a, b want) int { return cmp.Compare(a.index, b.index) })
}

func (s *step) order() {
	order(s.wants)
	for _, c := range s.names {
		c.order()
	}
	for _, c := range s.elements {
		c.order()
	}
	for _, t := range s.tails {
		t.next.order()
	}
}

func (s *step) leaf() bool { return len(s.names) == 0 && len(s.elements) == 0 && len(s.tails) == 0 }

// Skip returns how many records, from the one that is index and other in the two ways of counting on, hold no wanted location
// for certain; the second way of counting does not grow faster than the first. It returns -1 when no record holds one any more.
func (m *Matcher) Skip(index, other int64) int64 {
	n := int64(-1)
	for _, i := range [...]int64{index, other} {
		// A location of the record after this one may mean this one.
		k := sort.Search(len(m.records), func(k int) bool { return m.records[k].index >= i })
		if k == len(m.records) {
			continue
		}
		d := max(0, m.records[k].index-1-i)
		if n < 0 || d < n {
			n = d
		}
	}
	return n
}

// Begin goes to the root of the record that is index as the format counts records (0-based), and other in the other way of
// counting, which is index where there is none. It returns whether anything in the record is wanted.
func (m *Matcher) Begin(index, other int64) bool {
	m.readings = append(m.readings[:0], reading{index, 0})
	for i, r := range [...]int64{other, index + 1, other + 1} {
		if !slices.ContainsFunc(m.readings, func(o reading) bool { return o.index == r }) {
			m.readings = append(m.readings, reading{r, (i + 1) * altIndex})
		}
	}
	for len(m.levels) > 0 { // a record that was left on an error
		m.Up()
	}
	m.release(0)
	clear(m.fields)
	m.active, m.hits = append(m.active[:0], m.root), m.hits[:0]
	wanted := false
	m.anywhere = false
	for _, w := range matching(m.records, m.readings) {
		wanted = true
		m.anywhere = m.anywhere || w.cut
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

// matching yields the wants whose index is one of the readings, with the reading's number.
func matching(wants []want, readings []reading) func(func(int, want) bool) {
	return func(yield func(int, want) bool) {
		for r, rd := range readings {
			k := sort.Search(len(wants), func(k int) bool { return wants[k].index >= rd.index })
			for ; k < len(wants) && wants[k].index == rd.index; k++ {
				if !yield(r, wants[k]) {
					return
				}
			}
		}
	}
}

// match notes the wants of this record that end at s.
func (m *Matcher) match(s *step, chars int) {
	if len(s.wants) == 0 {
		return
	}
	s.ended++
	m.ended = append(m.ended, s)
	last, n := -1, 0
	for r, w := range matching(s.wants, m.readings) {
		alt := m.readings[r].alt + w.alt
		if w.ambiguous {
			if s.ended > 1 {
				continue // it already holds for all that is below an enclosing object
			}
			if w.cut && w.alt == 0 && chars <= MaxPath {
				alt += altLoose
			}
			if alt != last {
				last, n = alt, m.fields[field{s, alt}]
				m.fields[field{s, alt}] = n + 1
			}
			alt += min(n, altLoose-1)
		}
		m.hits = append(m.hits, Place{Want: w.n, Alt: alt})
	}
}

func (m *Matcher) down(chars int) []*step {
	last := level{}
	if n := len(m.levels); n > 0 {
		last = m.levels[n-1]
	}
	from := last.active
	if len(m.levels) == 0 {
		from = 0
	}
	to := len(m.active)
	m.levels = append(m.levels, level{to, len(m.ended), len(m.hits), last.chars + chars})
	return m.active[from:to]
}

func (m *Matcher) reach(s *step) {
	if s == nil {
		return
	}
	if !s.leaf() {
		m.active = append(m.active, s)
	}
	m.match(s, 1+m.levels[len(m.levels)-1].chars)
}

func (m *Matcher) named(s *step, name []byte) {
	if s.names != nil {
		m.reach(s.names[string(name)])
	}
	for _, t := range s.tails {
		if len(name) > len(t.end) && string(name[len(name)-len(t.end):]) == t.end {
			m.reach(t.next)
		}
	}
}

// Name goes down to the member name. It returns whether anything there or below it is wanted. Of a very long name the end is
// enough, as long as it is longer than any wanted name.
func (m *Matcher) Name(name []byte) bool {
	chars := 0
	if m.anywhere {
		m.text = AppendName(m.text[:0], name)
		chars = utf8.RuneCount(m.text)
	}
	deep := len(m.levels) > 0
	for _, s := range m.down(chars) {
		m.named(s, name)
	}
	if m.anywhere && deep { // at least one element was cut off
		m.named(m.cut, name)
	}
	return m.Below()
}

// Element goes down to element i of an array. It returns whether anything there or below it is wanted.
func (m *Matcher) Element(i int64) bool {
	chars := 0
	if m.anywhere {
		var b [24]byte
		chars = len(AppendElement(b[:0], i))
	}
	deep := len(m.levels) > 0
	for _, s := range m.down(chars) {
		m.reach(s.elements[i])
	}
	if m.anywhere && deep {
		m.reach(m.cut.elements[i])
	}
	return m.Below()
}

// Up goes back to where the last Name or Element came from.
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

// Below reports whether anything at this place or below it may be wanted.
func (m *Matcher) Below() bool {
	if len(m.hits) > 0 || m.anywhere {
		return true
	}
	from := 0
	if n := len(m.levels); n > 0 {
		from = m.levels[n-1].active
	}
	return len(m.active) > from
}

// Record appends to places the wanted locations of the record whose text cannot be parsed.
func (m *Matcher) Record(places []Place) []Place {
	for r, w := range matching(m.records, m.readings) {
		switch {
		case w.root:
			places = append(places, Place{Want: w.n, Alt: m.readings[r].alt})
		case w.alt == 0:
			places = append(places, Place{Want: w.n, Alt: m.readings[r].alt + altRecord})
		}
	}
	return places
}
