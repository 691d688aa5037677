package triage

import (
	"cmp"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"coffer"
	"coffer/internal/filter"
)

// table is what the index holds in memory: a row for each finding, its fields in columns, and for each value of a field the bitmap of
// the rows that have it. Rows have the numbers from 0 in the order in which they came, and are never removed, as findings are not.
//
// A finding takes about 0.5 KB; see BenchmarkIndex. Reading is safe for concurrent use, changing is not.
type table struct {
	ids      []string
	rows     map[string]uint32 // by id
	columns  map[string]*column
	keys     []string // of objects
	folded   []string // the same, folded for q; shares the bytes where there is nothing to fold
	versions []string // of objects
	rescans  []string
	types    *column // the finding's whole type
	reasons  *column
	objects  map[objectKey]uint32
	object   []uint32 // row to number of its object, so that distinct ones can be counted
	created  []int64  // microseconds since 1970, as all times
	received []int64
	updated  []int64
	judged   []int64
	count    []int32
	sealed   []int32
	severity []int8
	revision []uint64

	mu     sync.Mutex // guards the map, not what is in it
	sorted map[Order]*sorting
}

type objectKey struct {
	bucket uint32
	key    string
}

// column is a field of all rows. Values have numbers in the order in which they came.
type column struct {
	values []string
	codes  map[string]uint32
	bits   []*roaring.Bitmap // by value; nil where nobody asks for rows by value
	of     []uint32          // row to value, or to set of values
	// A field with several values has sets of them, because findings have few different ones.
	sets     [][]uint32
	setCodes map[string]uint32
}

func newColumn() *column { return &column{codes: map[string]uint32{}} }

func newTable() *table {
	t := &table{
		rows: map[string]uint32{}, columns: map[string]*column{}, types: newColumn(), reasons: newColumn(),
		objects: map[objectKey]uint32{}, sorted: map[Order]*sorting{},
	}
	for name, f := range fields {
		if f.words != nil && name != "key" && name != "finding" {
			t.columns[name] = newColumn()
			t.columns[name].bits = []*roaring.Bitmap{}
			if name == "type" || name == "ticket" || name == "false-positive" || name == "confirmed" {
				t.columns[name].setCodes = map[string]uint32{}
			}
		}
	}
	return t
}

func (c *column) code(v string) uint32 {
	n, ok := c.codes[v]
	if !ok {
		n = uint32(len(c.values))
		v = strings.Clone(v)
		c.values, c.codes[v] = append(c.values, v), n
		if c.bits != nil {
			c.bits = append(c.bits, roaring.New())
		}
	}
	return n
}

// members returns the numbers of the values that row has.
func (c *column) members(row uint32) []uint32 {
	if c.setCodes != nil {
		return c.sets[c.of[row]]
	}
	return c.of[row : row+1]
}

// value returns the value of row in a column of single ones.
func (c *column) value(row uint32) string { return c.values[c.of[row]] }

// list returns the values of row in a column of several.
func (c *column) list(row uint32) []string {
	var out []string
	for _, m := range c.members(row) {
		out = append(out, c.values[m])
	}
	return out
}

// set gives row, at most one behind the last, its values.
func (c *column) set(row uint32, values []string) {
	var code uint32
	if c.setCodes != nil {
		set := make([]uint32, len(values))
		var name strings.Builder
		for i, v := range values {
			set[i] = c.code(v)
			for shift := 0; shift < 32; shift += 8 {
				name.WriteByte(byte(set[i] >> shift))
			}
		}
		var ok bool
		if code, ok = c.setCodes[name.String()]; !ok {
			code = uint32(len(c.sets))
			c.sets, c.setCodes[name.String()] = append(c.sets, set), code
		}
	} else {
		code = c.code(values[0])
	}
	if int(row) == len(c.of) {
		c.of = append(c.of, code)
	} else {
		if c.of[row] == code {
			return
		}
		if c.bits != nil {
			for _, m := range c.members(row) {
				c.bits[m].Remove(row)
			}
		}
		c.of[row] = code
	}
	if c.bits != nil {
		for _, m := range c.members(row) {
			c.bits[m].Add(row)
		}
	}
}

func (t *table) len() int { return len(t.ids) }

// put takes in s, unless the table has it as it is or newer, and reports whether anything changed.
func (t *table) put(s *Summary) bool {
	row, have := t.rows[s.ID]
	if have && t.revision[row] >= s.Revision {
		return false
	}
	if have {
		t.unsort(row)
	} else {
		row = uint32(len(t.ids))
		id := strings.Clone(s.ID)
		t.ids, t.rows[id] = append(t.ids, id), row
		grow(&t.keys, &t.folded, &t.versions, &t.rescans)
		grow(&t.created, &t.received, &t.updated, &t.judged)
		grow(&t.count, &t.sealed)
		grow(&t.object)
		grow(&t.severity)
		grow(&t.revision)
	}
	for name, c := range t.columns {
		c.set(row, fields[name].words(s))
	}
	t.types.set(row, []string{s.Type})
	t.reasons.set(row, []string{s.Reason})
	t.keys[row] = strings.Clone(s.Object.Key)
	if t.folded[row] = fold(t.keys[row]); t.folded[row] == t.keys[row] {
		t.folded[row] = t.keys[row]
	}
	t.versions[row], t.rescans[row] = strings.Clone(s.Object.VersionID), strings.Clone(s.Rescan)
	t.created[row], t.received[row] = s.Created.UnixMicro(), s.Received.UnixMicro()
	t.updated[row], t.judged[row] = s.Updated.UnixMicro(), s.Judged.UnixMicro()
	t.count[row], t.sealed[row], t.severity[row], t.revision[row] = int32(s.Count), int32(s.Sealed), int8(s.Severity), s.Revision
	t.number(row)
	t.sort(row)
	return true
}

// grow makes room for one more row.
func grow[T any](columns ...*[]T) {
	for _, c := range columns {
		var zero T
		*c = append(*c, zero)
	}
}

// number gives the row the number of its object.
func (t *table) number(row uint32) {
	k := objectKey{t.columns["bucket"].of[row], t.keys[row]}
	n, ok := t.objects[k]
	if !ok {
		n = uint32(len(t.objects))
		t.objects[k] = n
	}
	t.object[row] = n
}

// summary returns what lists show of a row.
func (t *table) summary(row uint32) Summary {
	word := func(name string) string { return t.columns[name].value(row) }
	types := func(name string) (out []coffer.DataType) {
		for _, v := range t.columns[name].list(row) {
			out = append(out, coffer.DataType(v))
		}
		return out
	}
	at := func(us int64) time.Time { return time.UnixMicro(us).UTC() }
	return Summary{
		ID: t.ids[row], Type: t.types.value(row), Types: types("type"), Severity: coffer.Severity(t.severity[row]),
		Object:  coffer.Object{Bucket: word("bucket"), Key: t.keys[row], VersionID: t.versions[row]},
		Account: word("account"), Region: word("region"), Origin: coffer.Origin(word("origin")),
		Created: at(t.created[row]), Received: at(t.received[row]), State: State(word("state")), Reason: t.reasons.value(row),
		Status: Status(word("status")), Verdict: Verdict(word("verdict")), Rescan: t.rescans[row], Plan: word("plan"),
		Count: int(t.count[row]), Sealed: int(t.sealed[row]), Owner: word("owner"), Tickets: t.columns["ticket"].list(row), Reach: word("reach"), Muted: word("muted") == "yes",
		Updated: at(t.updated[row]), Judged: at(t.judged[row]), Revision: t.revision[row],
		FalsePositives: types("false-positive"), Confirmed: types("confirmed"),
	}
}

// times and numbers return the column of a field.
func (t *table) times(name string) []int64 {
	switch name {
	case "created":
		return t.created
	case "received":
		return t.received
	case "judged":
		return t.judged
	}
	return t.updated
}

func (t *table) numbers(name string) func(uint32) int64 {
	switch name {
	case "severity":
		return func(row uint32) int64 { return int64(t.severity[row]) }
	case "occurrences":
		return func(row uint32) int64 { return int64(t.count[row]) }
	}
	return func(row uint32) int64 { return int64(t.sealed[row]) }
}

// match returns the rows that the filter selects now; nil: all of them. The bitmap must not be changed.
func (t *table) match(f Filter, now time.Time) *roaring.Bitmap {
	var out *roaring.Bitmap
	var tests []func(uint32) bool
	for _, term := range f.terms {
		fd := fields[term.field]
		c := t.columns[term.field]
		switch {
		case c != nil && (term.op == "=" || term.op == "!="):
			hit := roaring.FastOr(c.wanted(fd, term.values)...)
			switch {
			case term.op == "=" && out == nil:
				out = hit
			case term.op == "=":
				out.And(hit)
			default:
				if out == nil {
					out = roaring.New()
					out.AddRange(0, uint64(t.len()))
				}
				out.AndNot(hit)
			}
		default:
			if hit := t.within(term, fd, now); hit == nil {
				tests = append(tests, t.test(term, fd, now))
			} else if out == nil {
				out = hit
			} else {
				out.And(hit)
			}
		}
	}
	if len(tests) == 0 {
		return out
	}
	return t.scan(out, func(row uint32) bool {
		for _, test := range tests {
			if !test(row) {
				return false
			}
		}
		return true
	})
}

// timeOrders are the orders that go by a time, the latest first.
var timeOrders = map[string]Order{"created": NewestFirst, "received": LastReceived, "updated": LastChanged}

// within returns the rows whose time a term selects, where an order has them side by side and they are few; nil: they are told row by row.
// An overview counts by day, and a day is a small part of a table.
func (t *table) within(term term, fd field, now time.Time) *roaring.Bitmap {
	order, ok := timeOrders[term.field]
	if fd.time == nil || !ok {
		return nil
	}
	from, to := term.at.At(now)
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64) // the times from lo on and before hi
	switch term.op {
	case filter.Is:
		lo, hi = from.UnixMicro(), to.UnixMicro()
	case filter.GTE:
		lo = from.UnixMicro()
	case filter.GT:
		lo = to.UnixMicro()
	case filter.LTE:
		hi = to.UnixMicro()
	default:
		hi = from.UnixMicro()
	}
	s, at := t.sorting(order), t.times(term.field)
	first := sort.Search(len(s.rows), func(i int) bool { return at[s.rows[i]] < hi })
	behind := sort.Search(len(s.rows), func(i int) bool { return at[s.rows[i]] < lo })
	if first > behind || behind-first > max(8, t.len()/16) {
		return nil
	}
	return roaring.BitmapOf(s.rows[first:behind]...)
}

// wanted returns the bitmaps of the values that a filter names.
func (c *column) wanted(fd field, values []string) []*roaring.Bitmap {
	var out []*roaring.Bitmap
	for code, have := range c.values {
		if !fd.exact {
			have = fold(have)
		}
		if slices.ContainsFunc(values, func(want string) bool { return fd.equal(have, want) }) {
			out = append(out, c.bits[code])
		}
	}
	return out
}

// test returns how a row is tested for a term that no bitmap answers.
func (t *table) test(term term, fd field, now time.Time) func(uint32) bool {
	switch {
	case term.field == "q":
		buckets := t.columns["bucket"]
		// Which words a bucket has, is the same for all its rows.
		inBucket := make([]uint64, len(buckets.values))
		words := term.values[:min(64, len(term.values))]
		rest := term.values[len(words):]
		for code, b := range buckets.values {
			for i, w := range words {
				if strings.Contains(fold(b), w) {
					inBucket[code] |= 1 << i
				}
			}
		}
		return func(row uint32) bool {
			key, in := t.folded[row], inBucket[buckets.of[row]]
			for i, w := range words {
				if in>>i&1 == 0 && !strings.Contains(key, w) {
					return false
				}
			}
			for _, w := range rest {
				if !strings.Contains(key, w) && !strings.Contains(fold(buckets.value(row)), w) {
					return false
				}
			}
			return true
		}
	case fd.time != nil:
		at := t.times(term.field)
		from, to := term.at.At(now)
		f, u := from.UnixMicro(), to.UnixMicro()
		return func(row uint32) bool { return filter.Within(term.op, at[row], f, u) }
	case term.op != "=" && term.op != "!=":
		number := t.numbers(term.field)
		return func(row uint32) bool { return filter.Within(term.op, number(row), term.number, term.number+1) }
	case fd.words == nil:
		number := t.numbers(term.field)
		want := map[int64]bool{}
		for _, v := range term.values {
			want[parseNumber(v)] = true
		}
		return func(row uint32) bool { return want[number(row)] == (term.op == "=") }
	}
	texts := t.keys
	if term.field == "finding" {
		texts = t.ids
		if exact := t.rowsOf(term.values); exact != nil {
			return func(row uint32) bool { return exact[row] == (term.op == "=") }
		}
	}
	if len(term.values) > 8 && !slices.ContainsFunc(term.values, func(v string) bool { return strings.HasSuffix(v, "*") }) {
		return func(row uint32) bool {
			_, hit := slices.BinarySearch(term.values, texts[row])
			return hit == (term.op == "=")
		}
	}
	return func(row uint32) bool {
		have := texts[row]
		hit := slices.ContainsFunc(term.values, func(want string) bool { return fd.equal(have, want) })
		return hit == (term.op == "=")
	}
}

// rowsOf returns the rows with these ids; nil when one of them is a prefix.
func (t *table) rowsOf(ids []string) map[uint32]bool {
	out := map[uint32]bool{}
	for _, id := range ids {
		if strings.HasSuffix(id, "*") {
			return nil
		}
		if row, ok := t.rows[id]; ok {
			out[row] = true
		}
	}
	return out
}

func parseNumber(s string) (n int64) {
	for _, c := range []byte(s) {
		n = n*10 + int64(c-'0')
	}
	return n
}

// scan returns the rows among those given (nil: all) that pass the test. Long scans run on all cores.
func (t *table) scan(among *roaring.Bitmap, test func(uint32) bool) *roaring.Bitmap {
	words := make([]uint64, (t.len()+63)/64)
	if among != nil && among.GetCardinality() < uint64(t.len()/8) {
		for it := among.Iterator(); it.HasNext(); {
			if row := it.Next(); test(row) {
				words[row/64] |= 1 << (row % 64)
			}
		}
		return roaring.FromDense(words, false)
	}
	var dense []uint64
	if among != nil {
		dense = make([]uint64, len(words))
		among.WriteDenseTo(dense)
	}
	piece := func(from, to int) {
		for w := from; w < to; w++ {
			cand := ^uint64(0)
			if dense != nil {
				cand = dense[w]
			}
			if left := t.len() - w*64; left < 64 {
				cand &= 1<<left - 1
			}
			for ; cand != 0; cand &= cand - 1 {
				b := bits.TrailingZeros64(cand)
				if test(uint32(w*64 + b)) {
					words[w] |= 1 << b
				}
			}
		}
	}
	cores := min(runtime.GOMAXPROCS(0), 1+len(words)/512)
	var wg sync.WaitGroup
	for i := range cores {
		wg.Go(func() { piece(len(words)*i/cores, len(words)*(i+1)/cores) })
	}
	wg.Wait()
	return roaring.FromDense(words, false)
}

// all calls f for each of the rows (nil: all) in ascending order.
func (t *table) all(among *roaring.Bitmap, f func(rows []uint32)) {
	buf := make([]uint32, 4096)
	if among == nil {
		for next := 0; next < t.len(); {
			n := min(len(buf), t.len()-next)
			for i := range n {
				buf[i] = uint32(next + i)
			}
			f(buf[:n])
			next += n
		}
		return
	}
	for it := among.ManyIterator(); ; {
		n := it.NextMany(buf)
		if n == 0 {
			return
		}
		f(buf[:n])
	}
}

// size returns how many rows there are among those given.
func (t *table) size(among *roaring.Bitmap) int {
	if among == nil {
		return t.len()
	}
	return int(among.GetCardinality())
}

// sums returns how many sealed values the rows have, and in how many objects they are.
func (t *table) sums(among *roaring.Bitmap) (values int64, objects int) {
	seen := make([]uint64, (len(t.objects)+63)/64)
	t.all(among, func(rows []uint32) {
		for _, row := range rows {
			values += int64(t.sealed[row])
			o := t.object[row]
			seen[o/64] |= 1 << (o % 64)
		}
	})
	for _, w := range seen {
		objects += bits.OnesCount64(w)
	}
	return values, objects
}

// Count is how many findings have a value of a field.
type Count struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// Facet is the counts of a field: of its most frequent values, the most frequent first and equal ones by value; Distinct says how many
// values there are in all.
type Facet struct {
	Values   []Count `json:"values"`
	Distinct int     `json:"distinct"`
}

// maxFacet is how many values a facet lists.
const maxFacet = 100

func (t *table) facet(name string, among *roaring.Bitmap) Facet {
	c := t.columns[name]
	counts := make([]int, len(c.values))
	// Intersecting two bitmaps takes about 4 µs for 65,536 rows of the table, looking at a row about 3 ns.
	intersect := len(c.values) * (1 + t.len()>>16) * 4000
	switch {
	case among == nil:
		for code, b := range c.bits {
			counts[code] = int(b.GetCardinality())
		}
	case intersect < 3*t.size(among):
		for code, b := range c.bits {
			counts[code] = int(among.AndCardinality(b))
		}
	case c.setCodes != nil:
		sets := make([]int, len(c.sets))
		t.all(among, func(rows []uint32) {
			for _, row := range rows {
				sets[c.of[row]]++
			}
		})
		for set, n := range sets {
			for i, m := range c.sets[set] {
				if slices.Index(c.sets[set], m) == i { // a finding counts once
					counts[m] += n
				}
			}
		}
	default:
		t.all(among, func(rows []uint32) {
			for _, row := range rows {
				counts[c.of[row]]++
			}
		})
	}
	var f Facet
	for code, n := range counts {
		if n > 0 {
			f.Values = append(f.Values, Count{c.values[code], n})
		}
	}
	slices.SortFunc(f.Values, func(a, b Count) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Value, b.Value)) })
	f.Distinct = len(f.Values)
	f.Values = f.Values[:min(maxFacet, len(f.Values))]
	return f
}

// sorting is all rows in an order. It is made when the order is first asked for, and kept up from then on.
type sorting struct {
	once sync.Once
	key  func(row uint32) int64
	rows []uint32
}

// place is where a row stands in an order.
type place struct {
	key int64
	id  string
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.key, q.key), strings.Compare(p.id, q.id))
}

func (t *table) place(s *sorting, row uint32) place { return place{s.key(row), t.ids[row]} }

// sorting returns the order, sorted.
func (t *table) sorting(o Order) *sorting {
	t.mu.Lock()
	s := t.sorted[o]
	if s == nil {
		s = &sorting{key: t.key(o)}
		t.sorted[o] = s
	}
	t.mu.Unlock()
	s.once.Do(func() {
		type keyed struct {
			key int64
			row uint32
		}
		all := make([]keyed, t.len())
		for i := range all {
			all[i] = keyed{s.key(uint32(i)), uint32(i)}
		}
		slices.SortFunc(all, func(a, b keyed) int {
			if c := cmp.Compare(a.key, b.key); c != 0 {
				return c
			}
			return strings.Compare(t.ids[a.row], t.ids[b.row])
		})
		s.rows = make([]uint32, len(all), len(all)+len(all)/16)
		for i, k := range all {
			s.rows[i] = k.row
		}
	})
	return s
}

// key returns by what an order sorts, ascending.
func (t *table) key(o Order) func(uint32) int64 {
	switch o {
	case OldestFirst:
		return func(row uint32) int64 { return t.created[row] }
	case LastReceived:
		return func(row uint32) int64 { return ^t.received[row] }
	case LastChanged:
		return func(row uint32) int64 { return ^t.updated[row] }
	case MostSevere:
		const limit = 1 << 58
		return func(row uint32) int64 {
			return ^(int64(t.severity[row])<<60 + min(max(t.created[row], -limit), limit))
		}
	case MostValues:
		return func(row uint32) int64 { return ^int64(t.sealed[row]) }
	}
	return func(row uint32) int64 { return ^t.created[row] }
}

// find returns the position of the first row of an order that does not come before p.
func (t *table) find(s *sorting, p place) int {
	i, _ := slices.BinarySearchFunc(s.rows, p, func(row uint32, p place) int { return t.place(s, row).compare(p) })
	return i
}

// unsort and sort take a row out of the orders, before it changes, and put it in again.
func (t *table) unsort(row uint32) {
	for _, s := range t.sorted {
		i := t.find(s, t.place(s, row))
		s.rows = slices.Delete(s.rows, i, i+1)
	}
}

func (t *table) sort(row uint32) {
	for _, s := range t.sorted {
		s.rows = slices.Insert(s.rows, t.find(s, t.place(s, row)), row)
	}
}

// page returns up to limit of the rows (nil: all), in the order, behind the place after, or with back the last ones before it; and
// whether there are more in that direction. A limit of 0 means all.
func (t *table) page(among *roaring.Bitmap, o Order, after *place, back bool, limit int) (rows []uint32, more bool) {
	s := t.sorting(o)
	if limit == 0 {
		limit = t.len()
	}
	if among != nil && among.GetCardinality() < uint64(t.len()/16) {
		return t.pick(among, s, after, back, limit)
	}
	take := func(row uint32) bool {
		if among != nil && !among.Contains(row) {
			return true
		}
		if len(rows) == limit {
			more = true
			return false
		}
		rows = append(rows, row)
		return true
	}
	if back {
		i := len(s.rows)
		if after != nil {
			i = t.find(s, *after)
		}
		for i--; i >= 0 && take(s.rows[i]); i-- {
		}
		slices.Reverse(rows)
		return rows, more
	}
	i := 0
	if after != nil {
		if i = t.find(s, *after); i < len(s.rows) && t.place(s, s.rows[i]) == *after {
			i++
		}
	}
	for ; i < len(s.rows) && take(s.rows[i]); i++ {
	}
	return rows, more
}

// beside returns where a row stands among those given (nil: all) in an order, from 1, and the ones before and behind it; 0 when it is
// not among them, with those between which it would stand.
func (t *table) beside(among *roaring.Bitmap, o Order, row uint32) (at int, before, behind *uint32) {
	s := t.sorting(o)
	in := func(r uint32) bool { return among == nil || among.Contains(r) }
	pos := t.find(s, t.place(s, row))
	for _, r := range s.rows[:pos] {
		if in(r) {
			at, before = at+1, &r
		}
	}
	for _, r := range s.rows[pos+1:] {
		if in(r) {
			behind = &r
			break
		}
	}
	if !in(row) {
		return 0, before, behind
	}
	return at + 1, before, behind
}

// pick is page for few rows: it looks at them all and keeps the best, instead of walking the order.
func (t *table) pick(among *roaring.Bitmap, s *sorting, after *place, back bool, limit int) (rows []uint32, more bool) {
	type placed struct {
		place
		row uint32
	}
	first := func(a, b placed) int {
		if back {
			a, b = b, a
		}
		return a.compare(b.place)
	}
	var best []placed // unsorted; cut when there are many
	var bound *place  // of the last one that can be among them
	cut := func() {
		slices.SortFunc(best, first)
		if more = more || len(best) > limit; len(best) > limit {
			best = best[:limit]
			bound = &place{best[limit-1].key, best[limit-1].id}
		}
	}
	t.all(among, func(part []uint32) {
		for _, row := range part {
			if bound != nil {
				// Most rows are out at the first look.
				if key := s.key(row); !back && key > bound.key || back && key < bound.key {
					continue
				}
			}
			p := placed{t.place(s, row), row}
			if after != nil && (!back && p.compare(*after) <= 0 || back && p.compare(*after) >= 0) {
				continue
			}
			if best = append(best, p); len(best) >= 4*limit+64 {
				cut()
			}
		}
	})
	cut()
	if back {
		slices.Reverse(best)
	}
	for _, p := range best {
		rows = append(rows, p.row)
	}
	return rows, more
}
