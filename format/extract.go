package format

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"coffer"
	"coffer/format/detect"
)

// Limits of Extract.
const (
	// MaxRegion is the longest text that is taken whole when no pattern is known for its type.
	MaxRegion = 128 << 10
	// maxHeld bounds all text that one Extract holds at a time.
	maxHeld = 16 << 20
	// maxRow bounds the text of one row or record that is searched for a value spread over its cells.
	maxRow = 1 << 20
)

// Found is what stands at the place of an occurrence.
type Found struct {
	Occurrence coffer.Occurrence
	Outcome    coffer.Outcome
	// Pieces are the parts of the value, in document order; several for a value spread over the cells of a row. There are
	// none unless Outcome.Holds.
	Pieces []Piece
}

// Piece is a stretch of a region that is, or belongs to, a value.
type Piece struct {
	At     coffer.Location // the finest place the format can name
	Region coffer.Location // Region.At of the region it stands in
	Off    int64           // offset in the region's text
	Whole  bool            // it is all of a cell or scalar
	InUnit bool            // the region is a cell or scalar
	Text   coffer.Plaintext
	// Span is the source bytes of the piece, New empty; nil when the format cannot say. Within a cell or scalar Region and
	// Off say as much.
	Span *Span
}

// Value joins the pieces of f to one value: the parts of a name by a space, of anything else by a comma and a space.
func (f Found) Value() coffer.Plaintext {
	if len(f.Pieces) == 1 {
		return f.Pieces[0].Text
	}
	sep := ", "
	if f.Occurrence.Type == coffer.PersonName {
		sep = " "
	}
	var b []byte
	for i, p := range f.Pieces {
		if i > 0 {
			b = append(b, sep...)
		}
		b = append(b, p.Text.Expose()...)
	}
	return coffer.NewPlaintext(b)
}

// Extract finds the values at the places of occs by one walk of the document, and returns one Found for each, in the order of
// occs. Occurrences with equal place and type pair with the matches there in document order. A place that the document does
// not hold gives OutcomeMissing. Errors are Walk's; what was found before one is returned with it.
func Extract(ctx context.Context, f Format, src Source, occs []coffer.Occurrence, set *detect.Set) ([]Found, error) {
	x := newExtraction(occs, set)
	err := f.Walk(ctx, nil, src, x.want, x.visit)
	x.endRow()
	return x.found(occs), err
}

// query is a distinct question put to the document: values of this type at this place.
type query struct {
	typ    coffer.DataType
	custom string
	at     coffer.Location
	det    detect.Detector
	known  bool
	row    detect.RowDetector // set when the whole row is searched
	cands  []candidate
}

// candidate is an answer to a query.
type candidate struct {
	alt    int
	order  int // document order
	near   int // how well it agrees with the start column; 0 is exact
	valid  bool
	region bool // not a match: the whole place
	inRow  bool // found by searching the row: preferred to the cell alone
	pieces []Piece
}

type extraction struct {
	want    []coffer.Location
	queries []*query
	byWant  map[int][]*query // queries whose place is want[i]
	byRow   map[int][]*query // queries that search the row or record want[i]
	held    int
	order   int

	// The row being collected for the RowDetectors.
	group   coffer.Location
	inGroup bool
	rowAlt  map[int]int // want index of the group -> alt
	row     []detect.Text
	pieces  []func(i, j int) Piece
	rowSize int
}

func newExtraction(occs []coffer.Occurrence, set *detect.Set) *extraction {
	x := &extraction{byWant: map[int][]*query{}, byRow: map[int][]*query{}, rowAlt: map[int]int{}}
	index := map[coffer.Location]int{}
	place := func(l coffer.Location) int {
		i, ok := index[l]
		if !ok {
			i = len(x.want)
			index[l] = i
			x.want = append(x.want, l)
		}
		return i
	}
	type key struct {
		t      coffer.DataType
		custom string
		at     coffer.Location
	}
	seen := map[key]bool{}
	for _, o := range occs {
		k := key{o.Type, o.Custom, o.At}
		if seen[k] || o.At.Kind == coffer.NoPlace {
			continue
		}
		seen[k] = true
		q := &query{typ: o.Type, custom: o.Custom, at: o.At}
		q.det, q.known = set.For(o.Type, o.Custom)
		x.queries = append(x.queries, q)
		i := place(o.At)
		x.byWant[i] = append(x.byWant[i], q)
		if rd, ok := q.det.(detect.RowDetector); ok && o.Type.Spread() {
			if g, ok := groupOf(o.At); ok {
				q.row = rd
				i := place(g)
				x.byRow[i] = append(x.byRow[i], q)
			}
		}
	}
	return x
}

// groupOf returns the place of the row or record around l.
func groupOf(l coffer.Location) (coffer.Location, bool) {
	switch l.Kind {
	case coffer.Cell:
		l.Column = 0
		return l, true
	case coffer.Record:
		l.Path = ParentPath(l.Path)
		return l, true
	}
	return coffer.Location{}, false
}

func (x *extraction) visit(r *Region) ([]Edit, error) {
	x.order++
	x.collect(r)
	for _, p := range r.Places {
		for _, q := range x.byWant[p.Want] {
			x.look(q, r, p)
		}
	}
	return nil, nil
}

// look answers q from the place p of r.
func (x *extraction) look(q *query, r *Region, p Place) {
	text := r.Text[p.Start:p.End]
	t := detect.Text{Text: text, Name: r.Name, Cell: r.Whole}
	var starts []int
	if q.at.Kind == coffer.Lines && q.at.StartColumn > 0 && (r.Off == 0 || p.Start > r.Lead) {
		line := text
		if i := bytes.IndexAny(line, "\r\n"); i >= 0 {
			line = line[:i]
		}
		starts = Columns(line, q.at.StartColumn)
	}
	if q.at.Kind == coffer.Record && q.at.Path == "$" && r.IsName && !q.known {
		return // of an unknown type, a member name is no candidate: every name would be one
	}
	found := false
	matches := q.det.Find(t)
	if q.at.Kind == coffer.Lines && q.at.End > q.at.Start {
		matches = overLines(q.det, text, matches)
	}
	for _, m := range matches {
		i, j := p.Start+m.Start, p.Start+m.End
		if i < r.Lead || i >= r.Commit {
			continue
		}
		if !q.known && len(starts) > 0 && m.Start != starts[0] && !slices.Contains(starts, m.Start) {
			continue // a token of unknown type counts only where Macie says that it begins
		}
		found = true
		x.add(q, candidate{alt: p.Alt, near: nearness(starts, m), valid: m.Valid}, r, i, j)
	}
	if found || q.known || q.row != nil {
		return
	}
	// Nothing is known about the type: the whole place is the value, from the start column on.
	i, j := p.Start, p.End
	if len(starts) > 0 && starts[0] < j-i {
		i += starts[0]
	}
	trimmed := bytes.TrimSpace(r.Text[i:j])
	if len(trimmed) == 0 || j-i > MaxRegion || r.Off > 0 || !r.Last {
		return
	}
	if !r.Whole {
		i += bytes.Index(r.Text[i:j], trimmed)
		j = i + len(trimmed)
	}
	x.add(q, candidate{alt: p.Alt, valid: true, region: true}, r, i, j)
}

// overLines adds to matches, which were found in text, the values that are broken over lines: a line break, with the blanks
// around it, counts as one space. They replace what overlaps them, because the place says that its value ends on a later line.
func overLines(det detect.Detector, text []byte, matches []detect.Match) []detect.Match {
	folded := make([]byte, 0, len(text))
	var breaks []int // offsets in folded of the spaces that stand for line breaks
	var behind []int // and the offsets in text behind those breaks
	for i := 0; i < len(text); i++ {
		if c := text[i]; c != '\n' && c != '\r' {
			folded = append(folded, c)
			continue
		}
		folded = bytes.TrimRight(folded, " \t")
		for i+1 < len(text) && (text[i+1] == '\n' || text[i+1] == '\r' || text[i+1] == ' ' || text[i+1] == '\t') {
			i++
		}
		breaks, behind = append(breaks, len(folded)), append(behind, i+1)
		folded = append(folded, ' ')
	}
	// unfold returns the offset in text of the byte that is folded[i], which is no line break.
	unfold := func(i int) int {
		k, _ := slices.BinarySearch(breaks, i)
		if k == 0 {
			return i
		}
		return behind[k-1] + i - breaks[k-1] - 1
	}
	var out []detect.Match
	for _, m := range det.Find(detect.Text{Text: folded}) {
		k, _ := slices.BinarySearch(breaks, m.Start)
		if m.Valid && k < len(breaks) && breaks[k] < m.End-1 && breaks[k] > m.Start {
			out = append(out, detect.Match{Start: unfold(m.Start), End: unfold(m.End-1) + 1, Valid: true})
		}
	}
	if out == nil {
		return matches
	}
	for _, m := range matches {
		if !slices.ContainsFunc(out, func(o detect.Match) bool { return m.Start < o.End && o.Start < m.End }) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b detect.Match) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

// nearness ranks a match against the candidate starts: 0 begins at the first reading of the column, then the other readings,
// then a match that holds the column, then one that follows it, then any.
func nearness(starts []int, m detect.Match) int {
	if len(starts) == 0 {
		return 0
	}
	if i := slices.Index(starts, m.Start); i >= 0 {
		return i
	}
	switch s := starts[0]; {
	case m.Start < s && s < m.End:
		return len(starts)
	case m.Start > s:
		return len(starts) + 1
	}
	return len(starts) + 2
}

func (x *extraction) add(q *query, c candidate, r *Region, i, j int) {
	if x.held += j - i; x.held > maxHeld {
		return
	}
	c.order = x.order
	c.pieces = []Piece{r.Piece(i, j)}
	q.cands = append(q.cands, c)
}

// Piece returns Text[i:j] as a piece that outlives the visit.
func (r *Region) Piece(i, j int) Piece {
	p := Piece{
		At: r.Locate(i, j), Region: r.At, Off: r.Off + int64(i), InUnit: r.Whole,
		Whole: r.Whole && r.Off == 0 && r.Last && i == 0 && j == len(r.Text),
		Text:  coffer.NewPlaintext(bytes.Clone(r.Text[i:j])),
	}
	if r.Splice != nil {
		if spans, err := r.Splice([]Edit{{Start: i, End: j}}); err == nil && len(spans) == 1 {
			s := spans[0]
			s.New = nil
			p.Span = &s
		}
	}
	return p
}

// collect gathers the texts of a row for the RowDetectors and searches it when it ends.
func (x *extraction) collect(r *Region) {
	wanted := false
	for _, p := range r.Places {
		if len(x.byRow[p.Want]) > 0 {
			wanted = true
		}
	}
	if x.inGroup && (!wanted || r.Group != x.group) {
		x.endRow()
	}
	if !wanted || r.IsName || !r.Last || r.Off > 0 {
		return // a member name belongs to no value, and no part of a name or address is a megabyte long
	}
	x.inGroup, x.group = true, r.Group
	for _, p := range r.Places {
		if len(x.byRow[p.Want]) > 0 {
			if alt, ok := x.rowAlt[p.Want]; !ok || p.Alt < alt {
				x.rowAlt[p.Want] = p.Alt
			}
		}
	}
	if x.rowSize += len(r.Text) + len(r.Name); x.rowSize > maxRow {
		return
	}
	whole := r.Piece(0, len(r.Text))
	text := whole.Text.Expose()
	x.row = append(x.row, detect.Text{Text: text, Name: bytes.Clone(r.Name), Cell: r.Whole})
	x.pieces = append(x.pieces, func(i, j int) Piece {
		if i == 0 && j == len(text) {
			return whole
		}
		p := whole
		p.Off, p.Whole, p.Span, p.Text = int64(i), false, nil, coffer.NewPlaintext(text[i:j])
		return p
	})
}

func (x *extraction) endRow() {
	if !x.inGroup {
		return
	}
	for want, alt := range x.rowAlt {
		for _, q := range x.byRow[want] {
			for _, value := range q.row.FindRow(x.row) {
				c := candidate{alt: alt, order: x.order, valid: true, inRow: true}
				for _, p := range value {
					c.pieces = append(c.pieces, x.pieces[p.Index](p.Start, p.End))
				}
				if len(c.pieces) > 0 {
					q.cands = append(q.cands, c)
				}
			}
		}
	}
	x.inGroup, x.rowSize = false, 0
	clear(x.rowAlt)
	x.row, x.pieces = nil, nil
}

// found pairs occurrences with candidates.
func (x *extraction) found(occs []coffer.Occurrence) []Found {
	type key struct {
		t      coffer.DataType
		custom string
		at     coffer.Location
	}
	ask := map[key]int{}
	for _, o := range occs {
		ask[key{o.Type, o.Custom, o.At}]++
	}
	answers := map[key][]candidate{}
	var votes votes
	for _, q := range x.queries {
		votes.count(q, ask[key{q.typ, q.custom, q.at}])
	}
	for _, q := range x.queries {
		k := key{q.typ, q.custom, q.at}
		answers[k] = q.choose(ask[k], votes.winner(q.at.Kind))
	}
	out := make([]Found, len(occs))
	for i, o := range occs {
		out[i] = Found{Occurrence: o, Outcome: coffer.OutcomeMissing}
		if o.At.Kind == coffer.NoPlace {
			out[i].Outcome = coffer.OutcomeUnsupported
			continue
		}
		k := key{o.Type, o.Custom, o.At}
		if len(answers[k]) == 0 {
			continue
		}
		c := answers[k][0]
		answers[k] = answers[k][1:]
		out[i].Pieces = c.pieces
		switch {
		case c.region:
			out[i].Outcome = coffer.OutcomeRegion
		case c.valid:
			out[i].Outcome = coffer.OutcomeExact
		default:
			out[i].Outcome = coffer.OutcomeRejected
		}
	}
	return out
}

// votes says how many occurrences hold a valid value under each way of counting rows and of counting records. One document
// is counted in one way: a wrong count finds values too, of the neighbours, but at the edges of the document and in gaps it
// fails, and all places together tell.
type votes [2][4]int

func ballot(k coffer.LocationKind) int {
	if k == coffer.Record {
		return 1
	}
	return 0
}

// counting returns the way of counting that a candidate's Alt implies: for cells 0 or 1, what archives add to that being even.
func counting(k coffer.LocationKind, alt int) int {
	switch k {
	case coffer.Cell:
		return alt % 2
	case coffer.Record:
		return min(alt%(4*altIndex)/altIndex, 3)
	}
	return 0
}

func (v *votes) count(q *query, asked int) {
	var valid [4]int
	for _, c := range q.cands {
		if c.valid && !c.region {
			valid[counting(q.at.Kind, c.alt)]++
		}
	}
	for i, n := range valid {
		v[ballot(q.at.Kind)][i] += min(n, asked)
	}
}

// winner is the way of counting with the most votes, of equals the likelier one.
func (v *votes) winner(k coffer.LocationKind) int {
	best := 0
	for i, n := range v[ballot(k)] {
		if n > v[ballot(k)][best] {
			best = i
		}
	}
	return best
}

// choose returns the n best candidates in document order: valid before invalid, the way of counting that the document bears out,
// the documented reading of the place before the others, the nearest to the start column, what the row search found before
// what the cell alone gives.
func (q *query) choose(n, way int) []candidate {
	rank := func(a, b candidate) int {
		return cmp.Or(
			-cmpBool(a.valid, b.valid),
			-cmpBool(counting(q.at.Kind, a.alt) == way, counting(q.at.Kind, b.alt) == way),
			-cmpBool(a.inRow, b.inRow),
			cmp.Compare(a.alt, b.alt),
			cmp.Compare(a.near, b.near),
			cmp.Compare(a.order, b.order),
		)
	}
	slices.SortStableFunc(q.cands, rank)
	best := q.cands
	if len(best) > n {
		best = best[:n]
	}
	slices.SortStableFunc(best, func(a, b candidate) int { return cmp.Compare(a.order, b.order) })
	return best
}

func cmpBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
