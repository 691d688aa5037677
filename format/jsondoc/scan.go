package jsondoc

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"

	"coffer/format"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zeros marks the high bit of the bytes of x that are zero. Only the lowest mark is certain: a borrow may set higher ones.
func zeros(x uint64) uint64 { return (x - ones) & ^x & highs }

// plain returns how many bytes at the beginning of b stand in a string for themselves: up to a quote, a backslash or a control
// character.
func plain(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		m := zeros(x^(ones*'"')) | zeros(x^(ones*'\\')) | (x-ones*0x20)&^x&highs
		if m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < 0x20 {
			break
		}
	}
	return i
}

// structure follows brackets and strings through a value without looking at anything else. The zero value is in front of a
// bracket or quote.
type structure struct {
	depth   int
	limit   int // of depth
	quoted  bool
	escaped bool // the byte before was a backslash, in a string
}

// The results of structure.scan.
type progress uint8

const (
	open     progress = iota // the value goes on
	complete                 // the value ended
	broken                   // a control character in a string
	deep                     // nested too deeply
)

// scan goes on through b and returns how many of its bytes it took.
func (s *structure) scan(b []byte) (int, progress) {
	i := 0
	for i < len(b) {
		if s.quoted {
			if s.escaped {
				s.escaped = false
				i++
				continue
			}
			i += plain(b[i:])
			if i == len(b) {
				break
			}
			switch b[i] {
			case '"':
				s.quoted = false
				i++
				if s.depth == 0 {
					return i, complete
				}
			case '\\':
				s.escaped = true
				i++
			default:
				return i, broken
			}
			continue
		}
		switch c := b[i]; class[c] {
		case classQuote:
			s.quoted = true
		case classOpen:
			if s.depth++; s.depth > s.limit {
				return i, deep
			}
		case classClose:
			if s.depth--; s.depth <= 0 {
				return i + 1, complete
			}
		}
		i++
	}
	return i, open
}

const (
	classOther = iota
	classQuote
	classOpen
	classClose
	classToken // of a number, true, false or null
	classSpace
)

var class = func() (t [256]uint8) {
	t['"'] = classQuote
	t['{'], t['['] = classOpen, classOpen
	t['}'], t[']'] = classClose, classClose
	for c := '0'; c <= '9'; c++ {
		t[c] = classToken
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-0x20] = classToken, classToken
	}
	t['+'], t['-'], t['.'] = classToken, classToken, classToken
	t[' '], t['\t'], t['\r'], t['\n'] = classSpace, classSpace, classSpace, classSpace
	return t
}()

// scalar reports whether b is true, false, null or a number as RFC 8259 has it.
func scalar(b []byte) bool {
	switch string(b) {
	case "true", "false", "null":
		return true
	}
	i := 0
	digits := func() bool {
		from := i
		for i < len(b) && '0' <= b[i] && b[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return false
	}
	if i < len(b) && b[i] == '.' {
		if i++; !digits() {
			return false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(b)
}

// unit reads the escape at the beginning of b: the character it stands for and its length, 12 for a surrogate pair. A lone
// surrogate stands for U+FFFD, as in encoding/json. The length is 0 when b is too short to tell and -1 when it is no escape.
func unit(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch c := b[1]; c {
	case '"', '\\', '/':
		return rune(c), 2
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
		return 0, -1
	}
	r, ok := hex4(b[2:min(6, len(b))])
	switch {
	case !ok:
		return 0, -1
	case len(b) < 6:
		return 0, 0
	case r < 0xd800 || r > 0xdfff:
		return r, 6
	case r >= 0xdc00 || len(b) > 6 && b[6] != '\\' || len(b) > 7 && b[7] != 'u':
		return utf8.RuneError, 6
	case len(b) < 12:
		return 0, 0
	}
	if low, ok := hex4(b[8:12]); ok && low >= 0xdc00 && low <= 0xdfff {
		return utf16.DecodeRune(r, low), 12
	}
	return utf8.RuneError, 6
}

// hex4 reads hexadecimal digits; ok says that there is nothing else in b.
func hex4(b []byte) (r rune, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// decode appends to dst what the inside of a string stands for. raw holds whole escapes only.
func decode(dst, raw []byte) []byte {
	for len(raw) > 0 {
		n := plain(raw)
		dst = append(dst, raw[:n]...)
		if raw = raw[n:]; len(raw) == 0 {
			break
		}
		r, n := unit(raw)
		if n <= 0 { // the end of raw is a lone high surrogate
			r, n = utf8.RuneError, min(6, len(raw))
		}
		dst = utf8.AppendRune(dst, r)
		raw = raw[n:]
	}
	return dst
}

// encode appends text as the inside of a string, escaping only what must be.
func encode(dst, text []byte) []byte {
	const digits = "0123456789abcdef"
	for len(text) > 0 {
		n := plain(text)
		dst = append(dst, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			break
		}
		switch c := text[0]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		text = text[1:]
	}
	return dst
}

// cursor goes forward through a string's inside and its text at once.
type cursor struct {
	raw  []byte
	i    int // in raw
	t    int // in the text
	n    int // length in raw of the escape at i; valid when it stands inside it
	size int // length in the text of that escape
	high bool
}

// seek goes to offset to of the text, or to the beginning of the escape that stands for the character around it; the result
// says which. high is set when a lone high surrogate ends there.
func (c *cursor) seek(to int) (inside bool) {
	for c.t < to {
		if c.raw[c.i] != '\\' {
			n := min(plain(c.raw[c.i:]), to-c.t)
			c.i += n
			c.t += n
			c.high = false
			continue
		}
		r, n := unit(c.raw[c.i:])
		if n <= 0 {
			r, n = utf8.RuneError, min(6, len(c.raw)-c.i)
		}
		c.n, c.size = n, utf8.RuneLen(r)
		if c.t+c.size > to {
			return true
		}
		c.high = n == 6 && r == utf8.RuneError && surrogate(c.raw[c.i:], 'b')
		c.i += n
		c.t += c.size
	}
	return false
}

// surrogate reports whether b begins with the escape of a high ('b') or low ('f') surrogate.
func surrogate(b []byte, most byte) bool {
	return len(b) >= 6 && b[0] == '\\' && b[1] == 'u' && b[2]|0x20 == 'd' &&
		(most == 'b' && (b[3] == '8' || b[3] == '9' || b[3]|0x20 == 'a' || b[3]|0x20 == 'b') ||
			most == 'f' && 'c' <= b[3]|0x20 && b[3]|0x20 <= 'f')
}

// splice turns edits of text, which raw stands for, into spans of the source, in which raw begins at base.
func splice(base int64, raw, text []byte, edits []format.Edit) []format.Span {
	var spans []format.Span
	c := cursor{raw: raw}
	covered, end := 0, -1 // text up to covered is in the last span's New, which replaces the source of the text up to end
	high := false         // a lone high surrogate stands before the last span
	finish := func() {
		if len(spans) == 0 {
			return
		}
		s := &spans[len(spans)-1]
		s.New = append(s.New, text[covered:end]...)
		if len(s.New) == 0 && high && surrogate(raw[s.End-base:], 'f') {
			// Two lone surrogates would become one character.
			s.Start -= 6
			s.New = utf8.AppendRune(s.New, utf8.RuneError)
		}
	}
	for _, e := range edits {
		if e.Start > end {
			finish()
			inside := c.seek(e.Start)
			high = c.high && !inside
			spans = append(spans, format.Span{Start: base + int64(c.i), New: append([]byte(nil), text[c.t:e.Start]...)})
		} else {
			// It touches the edit before, or begins in a character of which that one replaced a part.
			s := &spans[len(spans)-1]
			s.New = append(s.New, text[covered:e.Start]...)
		}
		s := &spans[len(spans)-1]
		s.New = encode(s.New, e.New)
		covered, end = e.End, e.End
		inside := c.seek(e.End)
		s.End = base + int64(c.i)
		if inside {
			s.End, end = s.End+int64(c.n), c.t+c.size
		}
	}
	finish()
	return spans
}
