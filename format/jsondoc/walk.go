package jsondoc

import (
	"bytes"
	"io"
	"strings"

	"coffer"
	"coffer/format"
)

// walker is one walk. It looks at the tape's window through a view, which in JSON Lines ends where the line ends, so that no value
// can run into the next line.
type walker struct {
	tape  *format.Tape
	visit format.Visitor
	match *format.Matcher // nil: everything is wanted

	w     []byte // the view; begins where the window does
	p     int    // next byte of it
	hold  int    // first byte that must stay in the window; -1: p
	lined bool   // the view ends before the next line break
	ended bool   // and has reached it

	line    int64 // number of the line in which counted stands, 0-based
	counted int   // offset in the window; -1: lines are counted by the caller

	layout layout
	whole  bool  // the line is in the window from its beginning to its end
	marked bool  // a byte order mark was passed
	wanted bool  // the record is
	index  int64 // of the record
	depth  int
	path   []byte
	name   []byte
	groups []group
	texts  strings.Builder // of the paths given away; one allocation holds many

	region format.Region
	places []format.Place
	buf    []byte // decoded text
	kind   kind
	raw    []byte // the source of the region's text
	rawAt  int64  // its offset in the source
	reach  int64  // source offset up to which earlier windows were edited
	edited int64  // the same with this window

	bad syntaxError
}

// group is an object or array whose scalars belong together.
type group struct {
	end  int    // of its path in walker.path
	text string // the path; made when it is needed
}

// kind is what a region is made of.
type kind uint8

const (
	str  kind = iota // the inside of a string
	word             // a number, true, false or null
	junk             // what cannot be parsed
)

func (k *walker) walk() error {
	l, err := k.sniff()
	if err != nil {
		return err
	}
	if k.layout = l; l == lines {
		return k.lineByLine()
	}
	return k.oneByOne()
}

// look sets the view to the window; the first seen bytes of it hold no line break.
func (k *walker) look(seen int) {
	k.w, k.ended = k.tape.Window(), false
	if k.lined {
		if i := bytes.IndexByte(k.w[seen:], '\n'); i >= 0 {
			k.w, k.ended = k.w[:seen+i], true
		}
	}
}

// more makes at least one more byte visible, and drops what is behind. At the end of the view's line, and of the source, it returns
// io.EOF.
func (k *walker) more() error {
	if k.ended {
		return io.EOF
	}
	n := k.p
	if k.hold >= 0 {
		n = k.hold
		k.hold = 0
	}
	k.count(n)
	if k.counted >= 0 {
		k.counted -= n
	}
	if err := k.tape.Advance(n); err != nil {
		return err
	}
	have := len(k.w) - n
	k.p -= n
	err := k.tape.Fill(have + 1)
	k.look(have)
	if err == nil && len(k.w) == have {
		err = io.EOF
	}
	return err
}

// fill makes n bytes visible from p on, and returns whether there are fewer before the end of the source.
func (k *walker) fill(n int) (eof bool, err error) {
	for !k.ended && len(k.w)-k.p < n {
		k.hold = k.p
		if err := k.more(); err == io.EOF {
			eof = !k.ended
			break
		} else if err != nil {
			return false, err
		}
	}
	k.hold = -1
	return eof, nil
}

// count counts line breaks up to offset n of the window.
func (k *walker) count(n int) {
	if k.counted >= 0 && n > k.counted {
		k.line += int64(bytes.Count(k.tape.Window()[k.counted:n], []byte{'\n'}))
		k.counted = n
	}
}

// lineByLine walks over JSON Lines.
func (k *walker) lineByLine() error {
	k.lined, k.counted = true, -1
	filled := int64(0) // lines that are not blank
	for {
		if k.match != nil {
			n := k.match.Skip(k.line, filled)
			if n < 0 {
				return nil
			}
			if err := k.skipLines(n, &filled); err != nil {
				return end(err)
			}
		}
		k.look(k.p)
		// A line that fits into a window is held as a whole, so that what follows a mistake in it can be offered.
		if k.whole = k.ended; !k.whole {
			eof, err := k.fill(format.MaxWindow + 1)
			if err != nil {
				return err
			}
			k.whole = k.ended || eof
		}
		k.marked = false
		_, err := k.between()
		switch {
		case err == io.EOF: // a blank line
			if k.marked {
				filled++
			}
		case err != nil:
			return err
		default:
			if err := k.records(k.line, filled); err != nil {
				return err
			}
			filled++
		}
		if !k.ended {
			return nil
		}
		k.p++
		k.line++
	}
}

func end(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// records walks over the values of a line, which are one record.
func (k *walker) records(index, other int64) error {
	for {
		err := k.record(index, other)
		if err == error(&k.bad) {
			err = k.junk()
		}
		if err != nil {
			return err
		}
		if _, err := k.between(); err != nil {
			return end(err)
		}
	}
}

// skipLines passes n lines from the beginning of a line on. It returns io.EOF when the source ends before that.
func (k *walker) skipLines(n int64, filled *int64) error {
	w := k.tape.Window()
	blank := true // the line so far
	for n > 0 {
		rest := w[k.p:]
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			i = len(rest)
		}
		blank = blank && (i == 0 || rest[0] <= ' ' && isBlank(rest[:i]))
		k.p += i
		if i == len(rest) { // the line may be longer than any window
			if err := k.tape.Advance(k.p); err != nil {
				return err
			}
			k.p = 0
			err := k.tape.Fill(1)
			if w = k.tape.Window(); err != nil {
				return err
			}
			continue
		}
		if !blank {
			*filled++
		}
		blank = true
		k.p++
		k.line++
		n--
	}
	return nil
}

func isBlank(b []byte) bool {
	for _, c := range b {
		if class[c] != classSpace && c != 0 {
			return false
		}
	}
	return true
}

// oneByOne walks over a document, or over values that follow each other.
func (k *walker) oneByOne() error {
	k.look(0)
	for n := int64(0); ; n++ {
		if _, err := k.between(); err != nil {
			return end(err)
		}
		if n > 0 {
			k.layout = values
		}
		k.count(k.p)
		index, other := n, k.line
		if k.layout == document {
			other = 0
		}
		if k.match != nil && k.match.Skip(index, other) < 0 {
			return nil
		}
		err := k.record(index, other)
		if err == error(&k.bad) && k.layout == values {
			k.lined = true
			k.look(k.p)
			err = k.junk()
			k.lined = false
			k.look(0)
		}
		if err != nil {
			return err
		}
	}
}

// between passes what may stand between values at the top level.
func (k *walker) between() (byte, error) {
	for {
		c, err := k.space()
		switch {
		case err != nil:
			return 0, err
		case c == 0:
			k.p++
		case c == byteOrderMark[0]:
			if _, err := k.fill(len(byteOrderMark)); err != nil {
				return 0, err
			}
			if !bytes.HasPrefix(k.w[k.p:], []byte(byteOrderMark)) {
				return c, nil
			}
			k.p += len(byteOrderMark)
			k.marked = true
		default:
			return c, nil
		}
	}
}

// space passes white space and returns the byte after it, or io.EOF.
func (k *walker) space() (byte, error) {
	for {
		for k.p < len(k.w) {
			if c := k.w[k.p]; class[c] != classSpace {
				return c, nil
			}
			k.p++
		}
		if err := k.more(); err != nil {
			return 0, err
		}
	}
}

// next is space inside a value, where the end is a mistake. It is small enough to be inlined.
func (k *walker) next() (byte, error) {
	if k.p < len(k.w) && k.w[k.p] > ' ' {
		return k.w[k.p], nil
	}
	return k.farNext()
}

func (k *walker) farNext() (byte, error) {
	c, err := k.space()
	if err == io.EOF {
		err = k.mistake("unexpected end")
	}
	return c, err
}

// mistake makes a syntax error of what stands at p.
func (k *walker) mistake(what string) error { return k.fail(k.p, what, coffer.ErrInvalid) }

func (k *walker) fail(at int, what string, kind error) error {
	line := k.line
	if k.counted >= 0 && at > k.counted {
		line += int64(bytes.Count(k.tape.Window()[k.counted:at], []byte{'\n'}))
	}
	k.bad = syntaxError{what: what, offset: k.tape.Base() + int64(at), line: line + 1, kind: kind}
	return &k.bad
}

// record walks over the value at p, which is, or is part of, the record with this index.
func (k *walker) record(index, other int64) error {
	k.index, k.depth, k.hold = index, 0, -1
	k.path, k.name = append(k.path[:0], '$'), k.name[:0]
	k.groups = append(k.groups[:0], group{1, "$"})
	k.wanted = k.match == nil || k.match.Begin(index, other)
	return k.value(k.wanted, true)
}

// value walks over the value at p. element says that it is an element of an array, or stands alone.
func (k *walker) value(wanted, element bool) error {
	c := k.w[k.p]
	switch {
	case !wanted:
		return k.skip()
	case c == '{':
		return k.object()
	case c == '[':
		return k.array(element)
	case k.match != nil && len(k.match.Here()) == 0:
		return k.skip()
	case c == '"':
		k.p++
		return k.scalar(str)
	}
	return k.scalar(word)
}

// enter goes into an object or array; grouped says that its scalars belong together.
func (k *walker) enter(grouped bool) error {
	if k.depth == format.MaxDepth {
		return k.fail(k.p, "nesting too deep", coffer.ErrLimit)
	}
	k.depth++
	k.p++
	if grouped && k.layout == document && len(k.path) > 1 {
		k.groups = append(k.groups, group{end: len(k.path)})
	}
	return nil
}

func (k *walker) object() error {
	groups := len(k.groups)
	if err := k.enter(true); err != nil {
		return err
	}
	c, err := k.next()
	if err != nil {
		return err
	}
	for c != '}' {
		if c != '"' {
			return k.mistake("no member name")
		}
		path, name := len(k.path), len(k.name)
		wanted, err := k.member()
		if err != nil {
			return err
		}
		if c, err = k.next(); err != nil {
			return err
		}
		if c != ':' {
			return k.mistake("no colon after a member name")
		}
		k.p++
		if _, err = k.next(); err != nil {
			return err
		}
		if err = k.value(wanted, false); err != nil {
			return err
		}
		k.path, k.name = k.path[:path], k.name[:name]
		if wanted && k.match != nil {
			k.match.Up()
		}
		if c, err = k.next(); err != nil {
			return err
		}
		if c == '}' {
			break
		}
		if c != ',' {
			return k.mistake("no comma or brace after a member")
		}
		k.p++
		if c, err = k.next(); err != nil {
			return err
		}
		if c == '}' {
			return k.mistake("no member after a comma")
		}
	}
	k.p++
	k.depth--
	k.groups = k.groups[:groups]
	return nil
}

func (k *walker) array(element bool) error {
	groups := len(k.groups)
	if err := k.enter(element); err != nil {
		return err
	}
	c, err := k.next()
	if err != nil {
		return err
	}
	for i := int64(0); c != ']'; i++ {
		path := len(k.path)
		wanted := k.match == nil || k.match.Element(i)
		if wanted {
			k.path = format.AppendElement(k.path, i)
		}
		if err = k.value(wanted, true); err != nil {
			return err
		}
		k.path = k.path[:path]
		if wanted && k.match != nil {
			k.match.Up()
		}
		if c, err = k.next(); err != nil {
			return err
		}
		if c == ']' {
			break
		}
		if c != ',' {
			return k.mistake("no comma or bracket after an element")
		}
		k.p++
		if c, err = k.next(); err != nil {
			return err
		}
		if c == ']' {
			return k.mistake("no element after a comma")
		}
	}
	k.p++
	k.depth--
	k.groups = k.groups[:groups]
	return nil
}

// member reads the member name at p, offers it if it is wanted, and goes down to the member.
func (k *walker) member() (wanted bool, err error) {
	k.p++
	r := &k.region
	if k.match != nil && len(k.match.Names()) == 0 {
		// Most names are short and not wanted.
		if n := plain(k.w[k.p:]); k.p+n < len(k.w) && k.w[k.p+n] == '"' && n <= format.MaxWindow {
			name := k.w[k.p : k.p+n]
			k.p += n + 1
			if wanted = k.match.Name(name); wanted {
				k.down(name)
			}
			return wanted, nil
		}
	}
	k.kind, r.IsName, r.Whole = str, true, true
	if err := k.stretch(k.match == nil || len(k.match.Names()) > 0); err != nil {
		return false, err
	}
	// The text of the last window is still there: what matters of a name that is longer is its end.
	if wanted = k.match == nil || k.match.Name(r.Text); wanted {
		k.down(r.Text)
	}
	return wanted, nil
}

func (k *walker) down(name []byte) {
	k.path = format.AppendName(k.path, name)
	if len(k.name) > 0 {
		k.name = append(k.name, '.')
	}
	tail, _ := format.CutName(name)
	k.name = append(k.name, tail...)
}

// scalar offers the scalar of this kind at p.
func (k *walker) scalar(of kind) error {
	k.kind, k.region.IsName, k.region.Whole = of, false, true
	return k.stretch(true)
}

// junk offers the rest of the line.
func (k *walker) junk() error {
	k.kind, k.region.IsName, k.region.Whole = junk, false, false
	k.path, k.name = append(k.path[:0], '$'), k.name[:0]
	k.groups = append(k.groups[:0], group{1, "$"})
	k.hold = -1
	if k.p == len(k.w) {
		return nil
	}
	return k.stretch(k.wanted)
}

// stretch goes over the text at p and offers it, in windows, if it is shown.
func (k *walker) stretch(shown bool) error {
	r := &k.region
	r.Off, r.Lead = 0, 0
	if shown {
		k.describe()
	}
	for {
		n, last, escaped, err := k.extent()
		if err != nil {
			// What was not offered begins here.
			switch {
			case r.Off > 0:
				c := cursor{raw: k.w[k.p:]}
				c.seek(r.Lead)
				k.p += c.i
			case k.kind == str:
				k.p--
			}
			return err
		}
		k.raw, k.rawAt = k.w[k.p:k.p+n], k.tape.Base()+int64(k.p)
		r.Text = k.raw
		if escaped {
			k.buf = decode(k.buf[:0], k.raw)
			r.Text = k.buf
		}
		r.Last, r.Commit = last, len(r.Text)
		next, skipped := n, 0
		if !last {
			r.Commit, skipped = format.Cut(r.Text)
			if next = skipped; escaped {
				c := cursor{raw: k.raw}
				c.seek(skipped)
				next = c.i
			}
		}
		if shown {
			if err := k.show(); err != nil {
				return err
			}
		}
		k.p += next
		k.hold = -1
		if last {
			if k.kind == str {
				k.p++
			}
			return nil
		}
		r.Off += int64(skipped)
		r.Lead = r.Commit - skipped
	}
}

// describe says what the region at this place is.
func (k *walker) describe() {
	r := &k.region
	l := coffer.Location{Kind: coffer.Record, Index: k.index, Path: "$"}
	g := &k.groups[len(k.groups)-1]
	if g.text == "" {
		g.text = k.text(k.path[:g.end])
	}
	r.Group = l
	r.Group.Path = g.text
	if !r.IsName && len(k.path) > 1 {
		l.Path = k.text(k.path)
	}
	r.At, r.Name = l, k.name
	k.places = k.places[:0]
	if k.match != nil {
		switch {
		case k.kind == junk:
			k.places = k.match.Record(k.places)
		case r.IsName:
			k.places = append(k.places, k.match.Names()...)
		default:
			k.places = append(k.places, k.match.Here()...)
		}
	}
	r.Places = k.places
}

// text returns path as a string, many of which share one allocation.
func (k *walker) text(path []byte) string {
	n := k.texts.Len()
	if k.texts.Cap()-n < len(path) {
		k.texts = strings.Builder{}
		k.texts.Grow(max(1<<10, len(path)))
		n = 0
	}
	k.texts.Write(path)
	return k.texts.String()[n:]
}

// show offers the region and notes the edits.
func (k *walker) show() error {
	r := &k.region
	for i := range r.Places {
		r.Places[i].End = len(r.Text)
	}
	k.reach = k.edited
	edits, err := k.visit(r)
	if err != nil || len(edits) == 0 {
		return err
	}
	spans, err := k.splice(edits)
	if err != nil {
		return err
	}
	return k.tape.Edit(spans...)
}

// splice turns edits of the region's text into spans.
func (k *walker) splice(edits []format.Edit) ([]format.Span, error) {
	r := &k.region
	edits, err := r.Take(edits)
	if err != nil || len(edits) == 0 {
		return nil, err
	}
	var spans []format.Span
	switch k.kind {
	case word:
		s := []byte{'"'}
		from := 0
		for _, e := range edits {
			s = encode(s, r.Text[from:e.Start])
			s = encode(s, e.New)
			from = e.End
		}
		s = append(encode(s, r.Text[from:]), '"')
		spans = []format.Span{{Start: k.rawAt, End: k.rawAt + int64(len(k.raw)), New: s}}
	case str:
		spans = splice(k.rawAt, k.raw, r.Text, edits)
	case junk:
		for _, e := range edits {
			spans = append(spans, format.Span{Start: k.rawAt + int64(e.Start), End: k.rawAt + int64(e.End), New: bytes.Clone(e.New)})
		}
	}
	kept := spans[:0]
	for _, s := range spans {
		if s.Start >= k.reach { // else an edit of an earlier window runs over it
			kept = append(kept, s)
			k.edited = max(k.edited, s.End)
		}
	}
	return kept, nil
}

// extent returns the length of the source, at most a window's, of the text that begins at p, and whether the text ends there. The
// source holds whole characters and escapes.
func (k *walker) extent() (n int, last, escaped bool, err error) {
	switch k.kind {
	case word:
		n, err = k.wordExtent()
		return n, true, false, err
	case junk:
		eof, err := k.fill(format.MaxWindow + 2)
		if err != nil {
			return 0, false, false, err
		}
		n = len(k.w) - k.p
		if (eof || k.ended) && n > 0 && k.w[len(k.w)-1] == '\r' {
			n--
		}
		if n > format.MaxWindow {
			return format.RuneCut(k.w[k.p:], format.MaxWindow), false, false, nil
		}
		return n, true, false, nil
	}
	if k.hold = k.p; k.region.Off == 0 {
		k.hold-- // the quote, where the text begins if the string has no end
	}
	i := k.p
	for {
		i += plain(k.w[i:])
		if i-k.p > format.MaxWindow {
			return format.RuneCut(k.w[k.p:], format.MaxWindow), false, escaped, nil
		}
		need := i == len(k.w)
		if !need {
			switch c := k.w[i]; c {
			case '"':
				return i - k.p, true, escaped, nil
			case '\\':
				_, n := unit(k.w[i:])
				if n < 0 {
					return 0, false, false, k.fail(i, "unknown escape", coffer.ErrInvalid)
				}
				if need = n == 0; need {
					break
				}
				if i+n-k.p > format.MaxWindow {
					return i - k.p, false, escaped, nil
				}
				escaped = true
				i += n
			default:
				return 0, false, false, k.fail(i, "control character in a string", coffer.ErrInvalid)
			}
		}
		if need {
			i -= k.p
			err := k.more()
			i += k.p
			if err == io.EOF {
				err = k.fail(len(k.w), "string without an end", coffer.ErrInvalid)
			}
			if err != nil {
				return 0, false, false, err
			}
		}
	}
}

func (k *walker) wordExtent() (int, error) {
	k.hold = k.p
	n := 0
	for {
		n += token(k.w[k.p+n:])
		if n > format.MaxWindow {
			return 0, k.fail(k.p, "number too long", coffer.ErrLimit)
		}
		if k.p+n < len(k.w) {
			break
		}
		if err := k.more(); err == io.EOF {
			break
		} else if err != nil {
			return 0, err
		}
	}
	if !scalar(k.w[k.p : k.p+n]) {
		return 0, k.mistake("no value")
	}
	return n, nil
}

// skip steps over the value at p.
func (k *walker) skip() error {
	// Most values are short scalars and in the window.
	switch b := k.w[k.p:]; class[b[0]] {
	case classQuote:
		if n := 1 + plain(b[1:]); n < len(b) && b[n] == '"' {
			k.p += n + 1
			return nil
		}
	case classToken:
		if n := token(b); n < len(b) {
			k.p += n
			return nil
		}
	}
	if k.whole {
		k.hold = k.p
	}
	err := k.stepOver()
	if err == error(&k.bad) && k.whole {
		k.p = k.hold
	}
	k.hold = -1
	return err
}

func (k *walker) stepOver() error {
	s := structure{limit: format.MaxDepth - k.depth}
	word := class[k.w[k.p]] == classToken
	if !word && !begins(k.w[k.p]) {
		return k.mistake("no value")
	}
	for {
		if word {
			k.p += token(k.w[k.p:])
			if k.p < len(k.w) {
				return nil
			}
		} else {
			n, state := s.scan(k.w[k.p:])
			k.p += n
			switch state {
			case complete:
				return nil
			case broken:
				return k.mistake("control character in a string")
			case deep:
				return k.fail(k.p, "nesting too deep", coffer.ErrLimit)
			}
		}
		switch err := k.more(); {
		case err == io.EOF && word:
			return nil
		case err == io.EOF:
			return k.mistake("unexpected end")
		case err != nil:
			return err
		}
	}
}
