package delimited

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"coffer"
	"coffer/format"
)

// cell says which bytes of the window are behind the text of the region window that is being offered.
type cell struct {
	from    int  // where the cell begins
	close   int  // its closing quote; -1: it has none, or the text offered is behind it
	end     int  // where the cell ends, when whole
	whole   bool // the text is all of the cell
	first   bool // the text begins with the cell
	alone   bool // it is the only cell of its record
	literal bool // it begins with a quote that nothing closes
	danger  bool // a quote written here would close an unterminated one before

	body    int  // where the text begins
	quoted  int  // how much of the text is inside quotes
	reached bool // the text goes on to the closing quote
	doubled bool // there are doubled quotes in that part

	// raw's last answer for the part with doubled quotes.
	knownText, knownRaw int
}

// short offers a cell that fits into one window and ends at end.
func (w *walker) short(end int) error {
	c := &w.cell
	b := w.tape.Window()
	c.end, c.whole, c.first, c.body = end, true, true, c.from
	c.alone = w.column == 1 && (end == len(b) || b[end] != w.comma)
	text := b[c.from:end]
	if c.close >= 0 {
		c.body, c.reached = c.from+1, true
		inner, tail := b[c.body:c.close], b[c.close+1:end]
		text, c.quoted = inner, len(inner)
		c.doubled = bytes.IndexByte(inner, '"') >= 0
		if c.doubled || len(tail) > 0 {
			text, _ = undouble(w.scratch[:0], inner, len(inner))
			c.quoted = len(text)
			text = append(text, tail...)
			w.scratch = text
		}
	}
	r := &w.region
	r.Text, r.Off, r.Last, r.Lead, r.Commit = text, 0, true, 0, len(text)
	w.reach = 0
	return w.offer()
}

// long offers, in windows, the cell at the position, which is longer than one, and goes to its end.
func (w *walker) long() error {
	c := &w.cell
	r := &w.region
	if err := w.flush(); err != nil {
		return err
	}
	if c.close -= c.from; c.close >= 0 && w.tape.Window()[0] == '"' && !c.literal {
		// The opening quote.
		if err := w.tape.Advance(1); err != nil {
			return err
		}
		c.close--
	} else {
		c.close = -1
	}
	c.from, c.first = 0, true
	r.Off, r.Lead = 0, 0
	w.reach = 0
	for {
		text, n, last, err := w.window()
		if err != nil {
			return err
		}
		r.Text, r.Last, r.Commit = text, last, len(text)
		next := 0
		if !last {
			r.Commit, next = format.Cut(text)
		}
		if err := w.offer(); err != nil {
			return err
		}
		if !last {
			n = c.raw(w.tape.Window(), next)
		}
		if err := w.tape.Advance(n); err != nil {
			return err
		}
		if last {
			return nil
		}
		if c.close -= n; c.close < 0 {
			c.close = -1
		}
		c.first = false
		r.Off += int64(next)
		r.Lead = r.Commit - next
	}
}

// window reads the text at the beginning of the tape's window: a window of a long cell. It returns how many source bytes it
// stands for, and whether the cell ends with it.
func (w *walker) window() (text []byte, n int, last bool, err error) {
	c := &w.cell
	c.body, c.quoted, c.reached, c.doubled = 0, 0, false, false
	c.knownText, c.knownRaw = 0, 0
	if c.close >= 0 {
		inner := w.tape.Window()[:c.close]
		text, n = undouble(slices.Grow(w.scratch[:0], format.MaxWindow), inner, format.MaxWindow)
		w.scratch = text
		c.quoted, c.doubled = len(text), n != len(text)
		if n < c.close {
			text = text[:format.RuneCut(text, len(text))]
			c.quoted = len(text)
			return text, n, false, nil
		}
		c.reached = true
		n++
	}
	room := format.MaxWindow - c.quoted
	if err := w.tape.Fill(n + room + 2); err != nil && err != io.EOF {
		return nil, 0, false, err
	}
	end, found, err := w.end(n, n+room)
	if err != nil {
		return nil, 0, false, err
	}
	if !found || end > n+room {
		end, found = n+room, false
	}
	tail := w.tape.Window()[n:end]
	if c.close < 0 {
		text = tail
	} else {
		text = append(text, tail...)
		w.scratch = text
	}
	if !found {
		text = text[:format.RuneCut(text, len(text))]
		c.quoted = min(c.quoted, len(text))
	}
	return text, end, found, nil
}

// offer shows the region window to the visitor and takes its edits.
func (w *walker) offer() error {
	r := &w.region
	r.At.Row, r.At.Column, r.Group.Row = w.row, w.column, w.row
	r.Name, r.IsName = nil, w.header && w.row == 1
	if w.header && !r.IsName && w.column <= int64(len(w.names)) {
		r.Name = w.names[w.column-1]
	}
	for i := range w.places {
		w.places[i].Start, w.places[i].End = 0, len(r.Text)
	}
	r.Places = w.places
	edits, err := w.visit(r)
	if err != nil || len(edits) == 0 {
		return err
	}
	spans, err := w.splice(edits)
	if err != nil {
		return err
	}
	for _, s := range spans {
		if len(w.want) > 0 && !w.tape.Free(s) {
			continue // an edit of wanted lines is there already
		}
		if err := w.tape.Edit(s); err != nil {
			return err
		}
		w.reach = s.End
	}
	return nil
}

// undouble appends src to dst, up to limit bytes of text, with one quote for two. It returns how much of src that was.
func undouble(dst, src []byte, limit int) ([]byte, int) {
	n := 0
	for len(dst) < limit && n < len(src) {
		j := bytes.IndexByte(src[n:], '"')
		if j < 0 {
			j = len(src) - n
		}
		j = min(j, limit-len(dst))
		dst = append(dst, src[n:n+j]...)
		n += j
		if n < len(src) && src[n] == '"' && len(dst) < limit {
			dst = append(dst, '"')
			n += 2
		}
	}
	return dst, n
}

// raw returns the offset in the window b of the source behind the text from i on. At the end of what is quoted that is the
// closing quote.
func (c *cell) raw(b []byte, i int) int {
	switch {
	case c.close < 0:
		return c.body + i
	case i == c.quoted && c.reached:
		return c.close
	case i > c.quoted:
		return c.close + 1 + i - c.quoted
	case !c.doubled:
		return c.body + i
	}
	if i < c.knownText || c.knownRaw < c.body {
		c.knownText, c.knownRaw = 0, c.body
	}
	text, n := c.knownText, c.knownRaw
	for text < i {
		j := bytes.IndexByte(b[n:c.close], '"')
		if j < 0 {
			j = c.close - n
		}
		j = min(j, i-text)
		text += j
		n += j
		if text < i {
			text++
			n += 2
		}
	}
	c.knownText, c.knownRaw = text, n
	return n
}

// splice turns edits of the region's text into spans.
func (w *walker) splice(edits []format.Edit) ([]format.Span, error) {
	r, c := &w.region, &w.cell
	edits, err := r.Take(edits)
	if err != nil || len(edits) == 0 {
		return nil, err
	}
	b, base := w.tape.Window(), w.tape.Base()
	for len(edits) > 0 && base+int64(c.raw(b, edits[0].Start)) < w.reach {
		edits = edits[1:] // an edit of an earlier window runs over it
	}
	if len(edits) == 0 {
		return nil, nil
	}
	requote := w.requote(edits)
	switch {
	case c.danger && (requote || c.close >= 0 || slices.ContainsFunc(edits, func(e format.Edit) bool { return touchesQuote(r.Text, e, 0) })):
		return nil, fmt.Errorf("edit in cell R%dC%d would close an unterminated quote before it: %w", w.row, w.column, coffer.ErrUnsupported)
	case requote && !c.whole:
		return nil, fmt.Errorf("cell R%dC%d is too long to be put in quotes: %w", w.row, w.column, coffer.ErrUnsupported)
	case requote:
		return w.quote(edits), nil
	}
	spans := make([]format.Span, 0, len(edits))
	for _, e := range edits {
		s := format.Span{Start: base + int64(c.raw(b, e.Start)), End: base + int64(c.raw(b, e.End)), New: e.New}
		switch {
		case c.close < 0:
		case e.End <= c.quoted:
			s.New = double(e.New)
		case e.Start < c.quoted:
			s.New = append(slices.Clone(double(e.New)), '"')
		case e.Start == c.quoted:
			s.Start++ // behind the closing quote
		}
		spans = append(spans, s)
	}
	return spans, nil
}

// requote reports whether the cell must be quoted as a whole for the edits to read as they should.
func (w *walker) requote(edits []format.Edit) bool {
	c, text := &w.cell, w.region.Text
	if c.close >= 0 && !c.reached {
		return false
	}
	start := c.quoted // where the part without quotes begins
	if c.close >= 0 && start == len(text) {
		return false
	}
	left := len(text)
	// The byte with which that part begins afterwards, and whether it is another than before.
	head, fixed := start, false
	opens := c.literal && c.first && edits[0].Start > 0
	for _, e := range edits {
		if c.close >= 0 && e.End <= start {
			continue
		}
		if c.close < 0 || e.Start >= start {
			if w.special(e.New) {
				return true
			}
			left += len(e.New)
			if e.Start == head && len(e.New) > 0 {
				fixed = true
			}
		}
		left -= e.End - e.Start
		if e.Start <= head && e.End > head && !fixed {
			head = e.End
		}
		if opens && touchesQuote(text, e, 1) {
			return true
		}
	}
	if c.first || c.close >= 0 {
		if !fixed && head > start && head < len(text) && text[head] == '"' {
			return true
		}
	}
	// A record of nothing is skipped by many parsers.
	return c.whole && c.close < 0 && c.alone && left == 0 && len(text) > 0
}

// special reports whether b cannot stand outside quotes.
func (w *walker) special(b []byte) bool {
	for _, x := range b {
		if w.ends[x] || x == '"' {
			return true
		}
	}
	return false
}

// touchesQuote reports whether e writes or removes a quote of text[from:] or changes what stands beside one: two in a row and
// one alone mean different things.
func touchesQuote(text []byte, e format.Edit, from int) bool {
	from, to := max(from, e.Start-1), min(len(text), e.End+1)
	return bytes.IndexByte(e.New, '"') >= 0 || from < to && bytes.IndexByte(text[from:to], '"') >= 0
}

func double(b []byte) []byte {
	if bytes.IndexByte(b, '"') < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte(`"`), []byte(`""`))
}

// quote returns the spans that apply edits and put all of the cell in quotes: of a cell without quotes all, of one with a tail
// behind its closing quote the tail.
func (w *walker) quote(edits []format.Edit) []format.Span {
	c, text := &w.cell, w.region.Text
	b, base := w.tape.Window(), w.tape.Base()
	var spans []format.Span
	put := func(from, to int, b []byte) {
		spans = append(spans, format.Span{Start: base + int64(from), End: base + int64(to), New: b})
	}
	start := c.quoted
	moved := c.close < 0 // the closing quote is away
	if moved {
		put(c.from, c.from, []byte(`"`))
	}
	raw := func(i int) int {
		if c.close >= 0 && i >= start && moved {
			return c.close + 1 + i - start
		}
		return c.raw(b, i)
	}
	keep := func(from, to int) { // text that stays
		if to > start && !moved {
			put(c.close, c.close+1, nil)
			moved = true
		}
		for i := max(from, start); i < to; i++ {
			if text[i] == '"' {
				put(raw(i), raw(i)+1, []byte(`""`))
			}
		}
	}
	pos := 0
	for _, e := range edits {
		keep(pos, e.Start)
		if e.Start >= start && !moved && e.End > start {
			put(c.close, c.close+1, nil)
			moved = true
		}
		from := raw(e.Start)
		if e.End > start {
			moved = true // the edit runs over the closing quote
		}
		put(from, raw(e.End), double(e.New))
		pos = e.End
	}
	keep(pos, len(text))
	put(c.end, c.end, []byte(`"`))
	return spans
}
