package macie

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"coffer"
)

// problem says what is wrong with a document and where. Its words are this package's own: nothing of the input is repeated,
// because a finding's keys, names and paths can hold sensitive values.
type problem struct {
	at   int    // offset in the bytes at hand
	path string // JSON path of the member, made of known names and indices alone
	what string
	is   error // the sentinel
	// open are the offsets of the objects and arrays that were begun and not ended before a syntax error.
	open []int
}

func (p *problem) String() string {
	if p.path == "" {
		return p.what
	}
	return p.path + " " + p.what
}

// under returns the problem as seen from the object or array that holds the place where it arose.
func (p *problem) under(step string) *problem {
	switch {
	case p.path == "":
		p.path = step
	case p.path[0] == '[':
		p.path = step + p.path
	default:
		p.path = step + "." + p.path
	}
	return p
}

// frame is one JSON object of the stream, or what is wrong where one should be.
type frame struct {
	raw     []byte // up to the problem, if there is one
	off     int64
	line    int64
	problem *problem
}

// at turns a problem in the frame into an error that says where in the stream it is.
func (f *frame) at(p *problem) error {
	at := min(p.at, len(f.raw))
	line := f.line + int64(bytes.Count(f.raw[:at], newline))
	return fmt.Errorf("line %d, byte %d: %s: %w", line, f.off+int64(at), p, p.is)
}

// frames calls visit for every object that stands in the stream at the top or in an array at the top, until it returns
// false. The error is the reader's or the context's.
func frames(ctx context.Context, r io.Reader, visit func(frame) bool) error {
	src := &source{r: r}
	r, packed := inflate(src)
	s := newScanner(ctx, r)
	for len(s.buf) < 3 && s.fill() {
	}
	switch {
	case bytes.HasPrefix(s.buf, []byte("\xef\xbb\xbf")):
		s.i = 3
	case bytes.HasPrefix(s.buf, []byte("\xff\xfe")), bytes.HasPrefix(s.buf, []byte("\xfe\xff")):
		visit(frame{line: 1, problem: &problem{what: "the text is in UTF-16, not UTF-8", is: coffer.ErrInvalid}})
		return nil
	}
	stopped := s.frames(visit)
	switch {
	case stopped, s.err == io.EOF:
		return nil
	case src.err != nil && src.err != io.EOF:
		return fmt.Errorf("reading findings: %w", src.err)
	case ctx.Err() != nil:
		return ctx.Err()
	case packed:
		p := &problem{what: "the compressed stream is damaged or cut off", is: coffer.ErrInvalid}
		if errors.Is(s.err, coffer.ErrLimit) {
			p = &problem{what: "the compressed stream is too large", is: coffer.ErrLimit}
		}
		visit(frame{off: s.off + int64(s.pos), line: s.line, problem: p})
		return nil
	}
	return fmt.Errorf("reading findings: %w", s.err)
}

// source remembers the error of the reader that was handed in, which a decompressor may wrap or replace.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// inflate returns r, decompressed if it begins as gzip does.
func inflate(r io.Reader) (io.Reader, bool) {
	b := bufio.NewReaderSize(r, chunk)
	magic, _ := b.Peek(2)
	if string(magic) != "\x1f\x8b" {
		return b, false
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return failed{err}, true
	}
	return &limited{z, MaxInflated}, true
}

// failed is a reader that never had anything to give.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// limited is an io.LimitedReader that says when it ends early.
type limited struct {
	r io.Reader
	n int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.n <= 0 {
		return 0, coffer.ErrLimit
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.n)])
	l.n -= int64(n)
	return n, err
}

// frames reports whether visit ended it.
func (s *scanner) frames(visit func(frame) bool) (stopped bool) {
	var array, separator, lenient bool
	broken := func(what string) bool {
		if lenient {
			return true
		}
		lenient = true // one report for each stretch of broken separators
		return visit(frame{off: s.off + int64(s.pos), line: s.line, problem: &problem{what: what, is: coffer.ErrInvalid}})
	}
	for s.space() {
		c := s.buf[s.i]
		switch {
		case array && c == ']':
			s.i++
			array = false
			continue
		case array && c == ',':
			s.i++
			if !separator && !broken("an element of the array is missing") {
				return true
			}
			separator = false
			continue
		case !array && c == '[':
			s.i++
			array, separator, lenient = true, false, false
			continue
		case !array && lenient && (c == ']' || c == ','):
			s.i++ // what is left of an array that broke
			continue
		case array && separator && !broken("a comma between the elements of the array is missing"):
			return true
		}
		f := frame{off: s.off + int64(s.pos), line: s.line}
		indent := s.indent()
		var p *problem
		s.flaw = nil
		switch {
		case c == '{' || array:
			p = s.value(0)
		default:
			p = &problem{what: "this is not JSON", is: coffer.ErrInvalid}
		}
		if p != nil && s.i == len(s.buf) && s.err != nil && s.err != io.EOF {
			return false // not the document's fault
		}
		f.raw, f.problem = s.buf[s.pos:s.i], p
		if p == nil {
			f.problem = s.flaw
		}
		if f.problem == nil && c != '{' {
			f.problem = &problem{what: "an element of the array is not an object", is: coffer.ErrInvalid}
		}
		if !visit(f) {
			return true
		}
		if p == nil {
			s.advance()
			separator = array
			continue
		}
		from := s.pos
		switch {
		case s.i-s.pos > MaxDocument:
			from = s.i // what is too large is not read again for documents inside it
		case p.is == coffer.ErrLimit:
			from += max(bytes.LastIndexByte(f.raw, '\n'), 0) // what is too deep may be so because of what is left open before it
		}
		s.resume(from, indent, p.open)
		separator, lenient = false, true
	}
	if array && !lenient && s.err == io.EOF {
		return !visit(frame{off: s.off + int64(s.pos), line: s.line,
			problem: &problem{what: "the array ends too early", is: coffer.ErrInvalid}})
	}
	return false
}

// scanner cuts a stream into JSON values and checks them strictly while they come in: syntax, UTF-8, depth and size.
//
// It is written by hand because no decoder at hand can go on after an error. A broken document among good ones must cost
// that document alone, so the scanner keeps the bytes of the value under way and continues at the next line that can begin
// a document, even where the broken one swallowed it.
type scanner struct {
	ctx  context.Context
	r    io.Reader
	buf  []byte
	pos  int   // where the value under way begins
	i    int   // the next byte to look at; at least pos
	off  int64 // offset of buf[0] in the stream
	line int64 // 1-based line of buf[pos]
	err  error // why the reader gives no more; io.EOF at its end
	// flaw is the first thing wrong with the text of the value under way that leaves its syntax whole: it costs the
	// document and not its neighbours on the same line.
	flaw *problem
}

const chunk = 64 << 10

func newScanner(ctx context.Context, r io.Reader) *scanner {
	return &scanner{ctx: ctx, r: r, line: 1}
}

// fill reads more bytes behind buf and reports whether any came.
func (s *scanner) fill() bool {
	if s.err != nil {
		return false
	}
	if s.err = s.ctx.Err(); s.err != nil {
		return false
	}
	if s.pos > 0 && cap(s.buf)-len(s.buf) < chunk {
		n := copy(s.buf, s.buf[s.pos:])
		s.buf, s.off, s.i, s.pos = s.buf[:n], s.off+int64(s.pos), s.i-s.pos, 0
	}
	if cap(s.buf)-len(s.buf) < chunk {
		grown := make([]byte, len(s.buf), 2*cap(s.buf)+chunk)
		copy(grown, s.buf)
		s.buf = grown
	}
	for range 100 {
		n, err := s.r.Read(s.buf[len(s.buf) : len(s.buf)+chunk])
		s.buf = s.buf[:len(s.buf)+n]
		s.err = err
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	s.err = io.ErrNoProgress
	return false
}

// more reports whether there is a byte at i.
func (s *scanner) more() bool { return s.i < len(s.buf) || s.fill() }

// advance gives up everything before i.
func (s *scanner) advance() {
	s.line += int64(bytes.Count(s.buf[s.pos:s.i], newline))
	s.pos = s.i
}

var newline = []byte{'\n'}

// space passes over white space between values and reports whether anything follows.
func (s *scanner) space() bool {
	for s.more() {
		switch s.buf[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
			continue
		}
		s.advance()
		return true
	}
	s.advance()
	return false
}

// indent returns the white space at the beginning of pos's line; none if that is no longer at hand.
func (s *scanner) indent() []byte {
	line := s.buf[:s.pos]
	i := bytes.LastIndexByte(line, '\n')
	if i < 0 && s.off > 0 {
		return nil
	}
	line = line[i+1:]
	line = line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	if len(line) > 256 {
		return nil
	}
	return bytes.Clone(line)
}

// resume gives up the value at pos and goes to the next line that looks like the beginning of a document: one that begins with
// a brace, indented no deeper than the line of the broken document is. From is where to begin to look. What was still open at
// the problem would meet the same problem again, so it is passed over: what is read again was read to its end before, and
// a hostile stream cannot make the scanner go over the same bytes many times.
func (s *scanner) resume(from int, indent []byte, open []int) {
	base := s.off + int64(s.pos)
	s.i = from
	for {
		for {
			if s.i == len(s.buf) {
				s.advance() // nothing of this is needed again, so memory stays bounded
			}
			if !s.more() {
				s.advance()
				return
			}
			n := bytes.IndexByte(s.buf[s.i:], '\n')
			if n >= 0 {
				s.i += n + 1
				break
			}
			s.i = len(s.buf)
		}
		s.advance()
		for len(s.buf)-s.pos <= len(indent) && s.fill() {
		}
		rest := s.buf[s.pos:]
		n := 0
		for n < len(rest) && n < len(indent) && rest[n] == indent[n] {
			n++
		}
		again := slices.Contains(open, int(s.off+int64(s.pos+n)-base))
		if n < len(rest) && !again && (rest[n] == '{' || rest[n] == '[' && n == 0) {
			return
		}
	}
}

// problem returns what is wrong at i, unless the reason is that the value was cut off there, by its end or by its size.
func (s *scanner) problem(what string) *problem {
	is := coffer.ErrInvalid
	switch {
	case s.i-s.pos > MaxDocument:
		what, is = "the document is too large", coffer.ErrLimit
	case !s.more():
		what = "the document ends too early"
	}
	return &problem{at: s.i - s.pos, what: what, is: is}
}

// value checks the JSON value that begins at i and leaves i behind it. On a problem i is where it was met.
func (s *scanner) value(depth int) *problem {
	if !s.inside() {
		return s.problem("a value is missing")
	}
	switch c := s.buf[s.i]; c {
	case '{', '[':
		if depth == MaxDepth {
			return &problem{at: s.i - s.pos, what: "the document is nested too deeply", is: coffer.ErrLimit}
		}
		return s.composite(c, depth+1)
	case '"':
		return s.text()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// inside passes over white space within a value and reports whether anything follows within the limit.
func (s *scanner) inside() bool {
	for s.i-s.pos <= MaxDocument && s.more() {
		switch s.buf[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
			continue
		}
		return true
	}
	return false
}

func (s *scanner) composite(open byte, depth int) *problem {
	start := s.i - s.pos
	p := s.elements(open, depth)
	if p != nil && p.is == coffer.ErrInvalid {
		p.open = append(p.open, start)
	}
	return p
}

func (s *scanner) elements(open byte, depth int) *problem {
	s.i++
	end, what := byte('}'), "a member of an object is malformed"
	if open == '[' {
		end, what = ']', "an element of an array is malformed"
	}
	if s.inside() && s.buf[s.i] == end {
		s.i++
		return nil
	}
	for {
		if open == '{' {
			if !s.inside() || s.buf[s.i] != '"' {
				return s.problem(what)
			}
			if p := s.text(); p != nil {
				return p
			}
			if !s.inside() || s.buf[s.i] != ':' {
				return s.problem(what)
			}
			s.i++
		}
		if p := s.value(depth); p != nil {
			return p
		}
		if !s.inside() {
			return s.problem(what)
		}
		c := s.buf[s.i]
		if c != end && c != ',' {
			return s.problem(what)
		}
		s.i++
		if c == end {
			return nil
		}
	}
}

func (s *scanner) literal(word string) *problem {
	for k := range len(word) {
		if !s.more() || s.buf[s.i] != word[k] {
			return s.problem("a value is malformed")
		}
		s.i++
	}
	return nil
}

func (s *scanner) digits() bool {
	n := 0
	for s.i-s.pos <= MaxDocument && s.more() && '0' <= s.buf[s.i] && s.buf[s.i] <= '9' {
		s.i++
		n++
	}
	return n > 0
}

func (s *scanner) number() *problem {
	const what = "a value is malformed"
	if s.buf[s.i] == '-' {
		s.i++
	}
	if s.more() && s.buf[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return s.problem(what)
	}
	if s.more() && s.buf[s.i] == '.' {
		s.i++
		if !s.digits() {
			return s.problem(what)
		}
	}
	if s.more() && (s.buf[s.i] == 'e' || s.buf[s.i] == 'E') {
		s.i++
		if s.more() && (s.buf[s.i] == '+' || s.buf[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return s.problem(what)
		}
	}
	return nil
}

// text checks a string. A line break inside ends it as an error at once, which is what makes a cut line of JSON Lines cost
// no more than that line. Bytes and escapes that are not Unicode are refused: replaced by U+FFFD, as is usual, a key would
// name another object.
func (s *scanner) text() *problem {
	s.i++
	for {
		for b := s.buf; s.i < len(b) && simple[b[s.i]]; {
			s.i++
		}
		if s.i-s.pos > MaxDocument || !s.more() {
			return s.problem("a string is malformed")
		}
		switch c := s.buf[s.i]; {
		case c == '"':
			s.i++
			return nil
		case c == '\\':
			if p := s.escape(); p != nil {
				return p
			}
		case c < ' ':
			return s.problem("a string holds a control character")
		case c < utf8.RuneSelf:
			s.i++
		default:
			for len(s.buf)-s.i < utf8.UTFMax && !utf8.FullRune(s.buf[s.i:]) && s.fill() {
			}
			r, n := utf8.DecodeRune(s.buf[s.i:])
			if r == utf8.RuneError && n == 1 {
				s.flawed("a string is not valid UTF-8")
			}
			s.i += n
		}
	}
}

// simple are the bytes that stand for themselves in a string.
var simple = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func (s *scanner) escape() *problem {
	for len(s.buf)-s.i < len(`\ud800\udc00`) && s.fill() {
	}
	if _, n := unescape(s.buf[s.i:]); n > 0 {
		s.i += n
		return nil
	}
	if b := s.buf[s.i:]; len(b) > 2 && b[1] == 'u' {
		if _, ok := hex4(b[2:]); ok {
			s.flawed("a string holds a malformed escape: half of a surrogate pair")
			s.i += len(`\ud800`)
			return nil
		}
	}
	return s.problem("a string holds a malformed escape")
}

func (s *scanner) flawed(what string) {
	if s.flaw == nil {
		s.flaw = &problem{at: s.i - s.pos, what: what, is: coffer.ErrInvalid}
	}
}

// unescape decodes the escape at the beginning of b and returns how many bytes it takes; 0 if it is malformed or not Unicode.
func unescape(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default:
		return 0, 0
	}
	hi, ok := hex4(b[2:])
	switch {
	case !ok || 0xdc00 <= hi && hi < 0xe000:
		return 0, 0
	case hi < 0xd800 || hi >= 0xe000:
		return hi, 6
	}
	if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
		return 0, 0
	}
	lo, ok := hex4(b[8:])
	if !ok || lo < 0xdc00 || lo >= 0xe000 {
		return 0, 0
	}
	return 0x10000 + (hi-0xd800)<<10 + (lo - 0xdc00), 12
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
