// Package text reads and rewrites documents as lines of text: logs, HTML, XML, YAML, e-mails as they lie, and everything else
// that has no better format.
//
// A line ends with LF, CRLF or CR, in any mixture (Macie does not document what ends a line; AWS's own tool accepts these
// three). A UTF-8 byte order mark at the beginning belongs to no line. Bytes that are not valid UTF-8 pass as they are.
package text

import (
	"bytes"
	"context"
	"io"
	"slices"
	"unicode/utf8"

	"coffer"
	"coffer/format"
)

// Format is the text format. It knows the locations Lines and Offset.
//
// In a walk over everything the whole text is one region. In a walk for wanted places overlapping and adjacent line ranges are
// one region, without the terminator of its last line. A byte range is a region of its own where it is in no wanted line;
// where lines and byte ranges meet, a region ends, and a place may continue in the next one. At names the lines (or bytes) of
// the window, not of the whole region, whose end is not yet known. There is no Group, no Name and no Whole.
type Format struct{}

var _ format.Format = Format{}

// Walk implements [format.Format]. Lines that nobody wants are counted and not looked at.
func (Format) Walk(ctx context.Context, dst io.Writer, src format.Source, want []coffer.Location, visit format.Visitor) error {
	w := &walker{tape: format.NewTape(ctx, dst, src), visit: visit, line: 1}
	w.region.Locate, w.region.Splice = w.locate, w.splice
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.mark(); err != nil {
		return err
	}
	var err error
	if want == nil {
		err = w.all()
	} else {
		w.plan(want)
		err = w.wanted()
	}
	if err != nil {
		return err
	}
	if dst == nil {
		return nil
	}
	return w.tape.Rest()
}

// byteOrderMark is U+FEFF in UTF-8.
const byteOrderMark = "\xef\xbb\xbf"

// lineRange is a wanted range of lines.
type lineRange struct {
	want       int
	start, end int64
}

// byteRange is a wanted range of bytes.
type byteRange struct {
	want       int
	start, end int64
}

type walker struct {
	tape  *format.Tape
	visit format.Visitor

	line   int64 // number of the line that Base is in
	column int64 // code points of that line before Base

	lines   []lineRange // wanted and not passed, by start
	offsets []byteRange

	region format.Region
	places []format.Place
	starts []int    // offsets in the window at which lines begin; the first may begin before the window
	reach  int64    // source offset up to which earlier windows of the region were edited
	known  struct { // the place that locate named last; matches come in ascending order
		offset       int
		line, column int64
	}
}

func (w *walker) plan(want []coffer.Location) {
	for i, l := range want {
		if l.Member != "" {
			continue
		}
		switch l.Kind {
		case coffer.Lines:
			w.lines = append(w.lines, lineRange{i, l.Start, l.End})
		case coffer.Offset:
			w.offsets = append(w.offsets, byteRange{i, l.Start, l.End})
		}
	}
	slices.SortStableFunc(w.lines, func(a, b lineRange) int { return order(a.start, b.start) })
	slices.SortStableFunc(w.offsets, func(a, b byteRange) int { return order(a.start, b.start) })
}

func order(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// mark passes the byte order mark.
func (w *walker) mark() error {
	if err := w.tape.Fill(len(byteOrderMark)); err != nil && err != io.EOF {
		return err
	}
	if bytes.HasPrefix(w.tape.Window(), []byte(byteOrderMark)) {
		return w.tape.Advance(len(byteOrderMark))
	}
	return nil
}

// advance passes n bytes, counting lines and columns.
func (w *walker) advance(n int) error {
	b := w.tape.Window()
	w.count(b, n, format.LineEnds(b, n))
	return w.tape.Advance(n)
}

func (w *walker) count(b []byte, n int, ends int64) {
	if ends == 0 {
		w.column += int64(utf8.RuneCount(b[:n]))
		return
	}
	w.line += ends
	w.column = int64(utf8.RuneCount(b[lastLine(b, n):n]))
}

// all offers the whole text as one region.
func (w *walker) all() error {
	if more, err := w.more(); !more {
		return err // an empty text has no region
	}
	return w.stretch(stop{line: -1, offset: -1})
}

// stop says where a region ends.
type stop struct {
	line   int64 // the last line of the region; -1: no limit
	before int64 // the line before whose beginning the region ends; 0: none
	offset int64 // the source offset at which the region ends; -1: no limit
}

func (w *walker) wanted() error {
	for len(w.lines) > 0 || len(w.offsets) > 0 {
		if more, err := w.skip(); !more {
			return err
		}
		base := w.tape.Base()
		w.offsets = slices.DeleteFunc(w.offsets, func(r byteRange) bool { return r.end <= base && r.start < base })
		w.lines = slices.DeleteFunc(w.lines, func(r lineRange) bool { return r.end < w.line || r.end == w.line && w.column > 0 })
		s := stop{line: -1, offset: -1}
		switch {
		case len(w.lines) > 0 && w.lines[0].start <= w.line && w.column == 0:
			s.line = w.lines[0].end
			for _, r := range w.lines {
				if r.start > s.line && r.start-1 > s.line {
					break
				}
				s.line = max(s.line, r.end)
			}
		case len(w.offsets) > 0 && w.offsets[0].start <= base:
			s.offset = w.offsets[0].end
			for _, r := range w.offsets {
				if r.start > s.offset {
					break
				}
				s.offset = max(s.offset, r.end)
			}
			if len(w.lines) > 0 {
				s.before = w.lines[0].start
			}
		default:
			continue
		}
		if err := w.stretch(s); err != nil {
			return err
		}
		if s.line >= 0 {
			w.lines = slices.DeleteFunc(w.lines, func(r lineRange) bool { return r.end <= s.line })
		} else {
			base := w.tape.Base()
			w.offsets = slices.DeleteFunc(w.offsets, func(r byteRange) bool { return r.end <= base })
		}
	}
	return nil
}

// more reports whether a byte follows.
func (w *walker) more() (bool, error) {
	err := w.tape.Fill(1)
	if err == io.EOF {
		return false, nil
	}
	return err == nil, err
}

// skip passes everything up to the first wanted line or byte. It reports whether the text goes on there.
func (w *walker) skip() (bool, error) {
	for {
		base := w.tape.Base()
		line, offset := int64(-1), int64(-1)
		if len(w.lines) > 0 {
			line = w.lines[0].start
		}
		if len(w.offsets) > 0 {
			offset = max(w.offsets[0].start, 0)
		}
		if line >= 0 && w.line >= line && w.column == 0 || offset >= 0 && base >= offset {
			return w.more()
		}
		if more, err := w.more(); !more {
			return false, err
		}
		b := w.tape.Window()
		n := len(b)
		if !w.tape.EOF() {
			// The next byte decides whether a CR ends a line, the next three may complete a character.
			if n = format.RuneCut(b, n-1); n == 0 {
				if err := w.tape.Fill(len(b) + 1); err != nil && err != io.EOF {
					return false, err
				}
				continue
			}
		}
		if offset >= 0 && int64(n) > offset-base {
			n = int(offset - base)
		}
		ends := format.LineEnds(b, n)
		if line >= 0 {
			// At least one: in the middle of a wanted line that an earlier region cut, its next line is the first whole one.
			if k := max(1, line-w.line); ends >= k {
				ends = k
				n = format.AfterLine(b, n, k)
			}
		}
		w.count(b, n, ends)
		if err := w.tape.Advance(n); err != nil {
			return false, err
		}
	}
}

// stretch offers the region that begins at Base and passes it.
func (w *walker) stretch(s stop) error {
	r := &w.region
	r.Off, r.Lead = 0, 0
	w.reach = w.tape.Base()
	for {
		// One more than a window shows whether it is the last, two more whether a CR at its end stands alone.
		if err := w.tape.Fill(format.MaxWindow + 2); err != nil && err != io.EOF {
			return err
		}
		b := w.tape.Window()
		n, last, whole := w.end(b, s)
		if n > format.MaxWindow {
			n, last = format.RuneCut(b, format.MaxWindow), false
			whole = false
		}
		r.Text, r.Last, r.Commit = b[:n], last, n
		next := n
		if !last {
			r.Commit, next = format.Cut(r.Text)
		}
		w.describe(b, n, whole)
		edits, err := w.visit(r)
		if err != nil {
			return err
		}
		spans, err := w.splice(edits)
		if err != nil {
			return err
		}
		if err := w.tape.Edit(spans...); err != nil {
			return err
		}
		if len(spans) > 0 {
			w.reach = spans[len(spans)-1].End
		}
		if err := w.advance(next); err != nil {
			return err
		}
		if last {
			return nil
		}
		r.Off += int64(next)
		r.Lead = r.Commit - next
	}
}

// end returns the length of the region's text in b, whether the region ends there, and whether it ends with a whole line, whose
// terminator is left out.
func (w *walker) end(b []byte, s stop) (n int, last, whole bool) {
	n, last = len(b), w.tape.EOF()
	if s.offset >= 0 && int64(n) >= s.offset-w.tape.Base() {
		n, last = int(s.offset-w.tape.Base()), true
	}
	if s.before > 0 {
		if i := format.AfterLine(b, n, s.before-w.line); i >= 0 && i < n {
			n, last = i, true
		}
	}
	if s.line >= 0 {
		limit := min(n, format.MaxWindow+1)
		if i := format.AfterLine(b, limit, s.line-w.line+1); i >= 0 {
			return i - terminator(b, i), true, true
		}
	}
	return n, last, false
}

// describe sets At and Places of the window b[:n]; whole is what end said.
func (w *walker) describe(b []byte, n int, whole bool) {
	r := &w.region
	base := w.tape.Base()
	w.places = w.places[:0]
	w.known.offset, w.known.line, w.known.column = 0, w.line, w.column
	if len(w.lines) > 0 {
		ended := w.index(b, n, whole)
		final := w.line + int64(len(w.starts)) - 1
		for _, l := range w.lines {
			if l.start > final {
				break
			}
			if l.end < w.line {
				continue
			}
			p := format.Place{Want: l.want, Start: 0, End: n}
			if l.start >= w.line {
				p.Start = w.starts[l.start-w.line]
			}
			if l.end < final {
				i := w.starts[l.end-w.line+1]
				p.End = i - terminator(b, i)
			} else if l.end == final && ended {
				p.End = n - terminator(b, n)
			}
			w.places = append(w.places, p)
		}
		r.At = coffer.Location{Kind: coffer.Lines, Start: w.line, End: final}
	} else {
		r.At = coffer.Location{Kind: coffer.Lines, Start: w.line, End: w.line + format.LineEnds(b, max(0, n-1))}
	}
	for _, o := range w.offsets {
		from, to := max(o.start, base)-base, min(o.end, base+int64(n))-base
		if from < to || from == to && o.start == o.end {
			w.places = append(w.places, format.Place{Want: o.want, Start: int(from), End: int(to)})
		}
	}
	r.Places = w.places
}

// index fills starts for the window b[:n] and reports whether the last line ends at n. A line that begins at n is in the next
// window, unless the region ends with it, an empty line.
func (w *walker) index(b []byte, n int, whole bool) bool {
	w.starts = append(w.starts[:0], 0)
	for s := format.NewLineScanner(b, n); ; {
		i := s.Next()
		if i < 0 || i == n && !whole {
			return i == n
		}
		w.starts = append(w.starts, i)
	}
}

func (w *walker) locate(i, j int) coffer.Location {
	b := w.tape.Window()
	k := &w.known
	if i < k.offset {
		k.offset, k.line, k.column = 0, w.line, w.column
	}
	if ends := format.LineEnds(b[k.offset:], i-k.offset); ends > 0 {
		k.line += ends
		k.column = int64(utf8.RuneCount(b[lastLine(b, i):i]))
	} else {
		k.column += int64(utf8.RuneCount(b[k.offset:i]))
	}
	k.offset = i
	l := coffer.Location{Kind: coffer.Lines, Start: k.line, End: k.line, StartColumn: k.column + 1}
	if j-1 > i {
		l.End += format.LineEnds(b[i:], j-1-i)
	}
	return l
}

// splice turns edits into spans: text and source are the same bytes.
func (w *walker) splice(edits []format.Edit) ([]format.Span, error) {
	edits, err := w.region.Take(edits)
	if err != nil || len(edits) == 0 {
		return nil, err
	}
	base := w.tape.Base()
	spans := make([]format.Span, 0, len(edits))
	for _, e := range edits {
		// An edit of an earlier window may have run over the beginning of this one.
		if start := base + int64(e.Start); start >= w.reach {
			spans = append(spans, format.Span{Start: start, End: base + int64(e.End), New: e.New})
		}
	}
	return spans, nil
}
