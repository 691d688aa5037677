package macie

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"coffer"
)

// reader reads one JSON value that scanner has found valid, in a single pass. It takes what Macie and Security Hub really
// write: names in any casing, null for "not said", numbers as numbers or as text. What it does not take is a member given
// twice, in whatever casing: two programs would read two different findings from it.
type reader struct {
	b     []byte
	i     int
	known map[string]string // repeated texts, such as column names, are kept once
}

// fields are the names of the members that are read from an object, at most 64, in Macie's spelling.
type fields []string

func (r *reader) problem(what string) *problem {
	return &problem{at: r.i, what: what, is: coffer.ErrInvalid}
}

// peek returns the first byte of the next token.
func (r *reader) peek() byte {
	for {
		switch c := r.b[r.i]; c {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return c
		}
	}
}

// raw reads a string and returns what stands between its quotes.
func (r *reader) raw() []byte {
	r.i++
	start := r.i
	for {
		n := bytes.IndexByte(r.b[r.i:], '"')
		r.i += n + 1
		k := r.i - 2
		for k >= start && r.b[k] == '\\' {
			k--
		}
		if (r.i-2-k)%2 == 0 {
			return r.b[start : r.i-1]
		}
	}
}

// plain returns the text that raw stands for.
func plain(raw []byte) []byte {
	k := bytes.IndexByte(raw, '\\')
	if k < 0 {
		return raw
	}
	out := append(make([]byte, 0, len(raw)), raw[:k]...)
	for k < len(raw) {
		if raw[k] != '\\' {
			out = append(out, raw[k])
			k++
			continue
		}
		c, n := unescape(raw[k:])
		out = utf8.AppendRune(out, c)
		k += n
	}
	return out
}

// skip passes over a value and returns its bytes.
func (r *reader) skip() []byte {
	c := r.peek()
	start := r.i
	switch c {
	case '"':
		r.raw()
	case '{', '[':
		for depth := 0; ; {
			switch r.b[r.i] {
			case '"':
				r.raw()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			r.i++
			if depth == 0 {
				break
			}
		}
	default:
		for r.i < len(r.b) && strings.IndexByte(" \t\n\r,]}", r.b[r.i]) < 0 {
			r.i++
		}
	}
	return r.b[start:r.i]
}

// object calls f for every member of the next value that is named in fs and is not null, with the name as fs spells it. F
// reads the value.
func (r *reader) object(fs fields, f func(name string) *problem) *problem {
	if r.peek() != '{' {
		return r.problem("is not an object")
	}
	r.i++
	var seen uint64
	for {
		switch r.peek() {
		case '}':
			r.i++
			return nil
		case ',':
			r.i++
			continue
		}
		at := r.i
		name := plain(r.raw())
		r.peek()
		r.i++ // the colon
		k := fs.index(name)
		if k < 0 {
			r.skip()
			continue
		}
		if seen&(1<<k) != 0 {
			return (&problem{at: at, what: "is given twice", is: coffer.ErrInvalid}).under(fs[k])
		}
		seen |= 1 << k
		if r.peek() == 'n' {
			r.skip()
			continue
		}
		if p := f(fs[k]); p != nil {
			return p.under(fs[k])
		}
	}
}

// index returns the place of name in fs, -1 if it is not there. Names differ in nothing but casing between Macie and ASFF.
func (fs fields) index(name []byte) int {
	for k, f := range fs {
		if len(f) == len(name) && bytes.EqualFold([]byte(f), name) {
			return k
		}
	}
	return -1
}

// array calls f for every element of the next value. F reads the element.
func (r *reader) array(f func() *problem) *problem {
	if r.peek() != '[' {
		return r.problem("is not an array")
	}
	r.i++
	for k := 0; ; {
		switch r.peek() {
		case ']':
			r.i++
			return nil
		case ',':
			r.i++
			continue
		}
		if p := f(); p != nil {
			return p.under("[" + strconv.Itoa(k) + "]")
		}
		k++
	}
}

// text reads a string of at most limit bytes.
func (r *reader) text(to *string, limit int) *problem {
	if r.peek() != '"' {
		return r.problem("is not a string")
	}
	at := r.i
	b := plain(r.raw())
	if len(b) > limit {
		return &problem{at: at, what: "is too long", is: coffer.ErrLimit}
	}
	if s, ok := r.known[string(b)]; ok {
		*to = s
		return nil
	}
	*to = string(b)
	if len(r.known) < 256 {
		if r.known == nil {
			r.known = make(map[string]string)
		}
		r.known[*to] = *to
	}
	return nil
}

// token reads an id, a code or a name: text of at most limit bytes without anything that does not print.
func (r *reader) token(to *string, limit int) *problem {
	r.peek()
	at := r.i
	if p := r.text(to, limit); p != nil {
		return p
	}
	for _, c := range *to {
		if !unicode.IsPrint(c) {
			return &problem{at: at, what: "holds a character that does not print", is: coffer.ErrInvalid}
		}
	}
	return nil
}

// prose reads a text for people, cut to limit bytes.
func (r *reader) prose(to *string, limit int) *problem {
	if r.peek() != '"' {
		return r.problem("is not a string")
	}
	*to = cut(string(plain(r.raw())), limit)
	return nil
}

// cut shortens s to at most limit bytes without breaking a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// maxNumber is the largest whole number that every JSON implementation represents exactly.
const maxNumber = 1<<53 - 1

// integer reads a whole number, not negative, written as a number or as text: a discovery result has "30" where a finding
// has 30.
func (r *reader) integer(to *int64) *problem {
	c := r.peek()
	at := r.i
	var b []byte
	if c == '"' {
		b = r.raw()
	} else {
		b = r.skip()
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return &problem{at: at, what: "is not a whole number", is: coffer.ErrInvalid}
		}
		n = n*10 + int64(c-'0')
		if n > maxNumber {
			return &problem{at: at, what: "is too large a number", is: coffer.ErrLimit}
		}
	}
	if len(b) == 0 {
		return &problem{at: at, what: "is not a whole number", is: coffer.ErrInvalid}
	}
	*to = n
	return nil
}

// boolean reads true or false, written as a literal or as text.
func (r *reader) boolean(to *bool) *problem {
	r.peek()
	at := r.i
	b := bytes.Trim(r.skip(), `"`)
	switch {
	case bytes.EqualFold(b, []byte("true")):
		*to = true
	case bytes.EqualFold(b, []byte("false")):
		*to = false
	default:
		return &problem{at: at, what: "is neither true nor false", is: coffer.ErrInvalid}
	}
	return nil
}

// time reads a time in RFC 3339 and gives it in UTC.
func (r *reader) time(to *time.Time) *problem {
	r.peek()
	at := r.i
	var s string
	if p := r.text(&s, 64); p != nil {
		return p
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	t = t.UTC()
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return &problem{at: at, what: "is not a time in RFC 3339", is: coffer.ErrInvalid}
	}
	*to = t
	return nil
}
