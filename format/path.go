package format

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"coffer"
)

// MaxName is the number of characters of a member name that a path shows: of a longer name Macie writes "..." and the last
// 240 characters ("Schema for reporting the location of sensitive data", Macie User Guide), and so does [AppendName].
const MaxName = 240

// MaxPath is the number of characters beyond which Macie drops leading elements of a path, whole, and writes "$.." in their
// place.
const MaxPath = 250

// Path is a jsonPath as Macie writes it, parsed. It is no JSONPath query: each step names one member or one element, and "$.."
// means that leading elements were cut off, not recursive descent.
type Path struct {
	Cut   bool // leading elements were dropped; Steps is the end of the path
	Steps []Step
}

// Step is one element of a [Path].
type Step struct {
	Element bool  // the step is an element of an array, not a member of an object
	Index   int64 // of the element, 0-based
	// Name is the name of the member. One that begins with "..." may stand for any longer name that ends with what
	// follows the dots.
	Name string
}

// ParsePath parses a jsonPath. It takes what Macie documents, what was seen in its output, and what it may be expected to
// write for names that need quoting:
//
//	$                          the record
//	.name                      up to the next "." or "["
//	['name'] or ["name"]       with \' or '' for a quote, and the escapes of RFC 9535 (\\ \b \t \n \f \r \u00XX)
//	[7]                        an element
//	$['123']name               a name without a dot after a bracket (in Macie's guide)
//	$..name, $..['name']       leading elements cut off
//
// A quote that is not followed by "]" is part of the name even where it is not escaped. ParsePath reads back what
// [Path.String] and [AppendName] write. Its errors wrap coffer.ErrInvalid, and name the byte but not the path, which may hold a
// value.
func ParsePath(s string) (Path, error) {
	p, _, err := parsePath(s, false)
	return p, err
}

// parsePath parses s. With literal set, a backslash in a quoted name is taken as it is: how Macie writes one is not documented.
// The second result says that the two readings differ.
func parsePath(s string, literal bool) (p Path, escaped bool, err error) {
	if s == "" || s[0] != '$' {
		return p, false, fmt.Errorf("path does not begin with $: %w", coffer.ErrInvalid)
	}
	i := 1
	if strings.HasPrefix(s, "$..") {
		p.Cut = true
		i = 3
		if i < len(s) && s[i] == '.' { // "$.." and then the element with its own dot
			i++
		}
		if i == len(s) {
			return p, false, fmt.Errorf("path ends at byte %d, after its cut: %w", i, coffer.ErrInvalid)
		}
	}
	for i < len(s) {
		if s[i] != '[' {
			if s[i] == '.' {
				i++
			}
			end := i
			for end < len(s) && s[end] != '.' && s[end] != '[' {
				end++
			}
			if end == i {
				return p, false, fmt.Errorf("path has an empty element at byte %d: %w", i, coffer.ErrInvalid)
			}
			p.Steps = append(p.Steps, Step{Name: s[i:end]})
			i = end
			continue
		}
		i++
		if i < len(s) && (s[i] == '\'' || s[i] == '"') {
			name, n, esc := quoted(s[i:], literal, true)
			if n < 0 {
				name, n, esc = quoted(s[i:], literal, false)
			}
			if n < 0 {
				return p, false, fmt.Errorf("path has an unterminated bracket at byte %d: %w", i, coffer.ErrInvalid)
			}
			p.Steps = append(p.Steps, Step{Name: name})
			escaped = escaped || esc
			i += n
			continue
		}
		end := strings.IndexByte(s[i:], ']')
		if end < 0 {
			return p, false, fmt.Errorf("path has an unterminated bracket at byte %d: %w", i, coffer.ErrInvalid)
		}
		n, err := strconv.ParseUint(s[i:i+end], 10, 63)
		if err != nil {
			return p, false, fmt.Errorf("path has no element number at byte %d: %w", i, coffer.ErrInvalid)
		}
		p.Steps = append(p.Steps, Step{Element: true, Index: int64(n)})
		i += end + 1
	}
	return p, escaped, nil
}

// quoted reads a quoted name with its closing quote and bracket from the beginning of s and returns how long they are, -1 if
// they do not end. With doubled set, two quotes stand for one.
func quoted(s string, literal, doubled bool) (name string, n int, escaped bool) {
	q := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == q && i+1 < len(s) && s[i+1] == ']':
			return b.String(), i + 2, escaped
		case c == q && doubled && i+1 < len(s) && s[i+1] == q:
			b.WriteByte(q)
			i++
		case c == '\\' && i+1 < len(s) && s[i+1] == q:
			b.WriteByte(q)
			i++
		case c == '\\' && i+1 < len(s) && !literal:
			r, w := unescape(s[i:])
			if w == 0 {
				b.WriteByte(c)
				break
			}
			escaped = true
			b.WriteRune(r)
			i += w - 1
		default:
			if c == '\\' {
				escaped = true
			}
			b.WriteByte(c)
		}
	}
	return "", -1, false
}

// unescape reads the escape at the beginning of s and returns how long it is, 0 if it is none.
func unescape(s string) (rune, int) {
	if i := strings.IndexByte(`\/btnfr"'`, s[1]); i >= 0 {
		return rune("\\/\b\t\n\f\r\"'"[i]), 2
	}
	if s[1] == 'u' && len(s) >= 6 {
		if n, err := strconv.ParseUint(s[2:6], 16, 32); err == nil {
			return rune(n), 6
		}
	}
	return 0, 0
}

// String returns the path in the one spelling that Coffer uses, which is Macie's where that is known.
func (p Path) String() string {
	b := []byte{'$'}
	if p.Cut {
		b = append(b, '.')
		if len(p.Steps) > 0 && (p.Steps[0].Element || !plainName([]byte(p.Steps[0].Name))) {
			b = append(b, '.')
		}
	}
	for _, s := range p.Steps {
		if s.Element {
			b = AppendElement(b, s.Index)
		} else {
			b = AppendName(b, []byte(s.Name))
		}
	}
	return string(b)
}

// AppendElement appends the step to element i of an array to the text of a path.
func AppendElement(path []byte, i int64) []byte {
	path = append(path, '[')
	path = strconv.AppendInt(path, i, 10)
	return append(path, ']')
}

// AppendName appends the step to the member name of an object to the text of a path: ".name" for a name of ASCII letters, digits
// and "_" that does not begin with a digit, else "['name']" with the escapes of RFC 9535, so that no control character stands in
// a path. A name of more than [MaxName] characters is cut as Macie cuts it; the text of a path is thereby bounded by its depth.
func AppendName(path, name []byte) []byte {
	tail, cut := CutName(name)
	if !cut && plainName(name) {
		path = append(path, '.')
		return append(path, name...)
	}
	path = append(path, "['"...)
	if cut {
		path = append(path, "..."...)
	}
	for _, c := range tail {
		switch {
		case c == '\'' || c == '\\':
			path = append(path, '\\', c)
		case c >= 0x20 && c != 0x7f:
			path = append(path, c)
		default:
			if i := bytes.IndexByte([]byte("\b\t\n\f\r"), c); i >= 0 {
				path = append(path, '\\', "btnfr"[i])
			} else {
				path = fmt.Appendf(path, `\u%04x`, c)
			}
		}
	}
	return append(path, "']"...)
}

// CutName returns the part of a member name that a path shows, at most its last [MaxName] characters, and whether that is less
// than the name.
func CutName(name []byte) (tail []byte, cut bool) {
	if len(name) <= MaxName {
		return name, false
	}
	i := len(name)
	for range MaxName {
		if i == 0 {
			return name, false
		}
		_, n := utf8.DecodeLastRune(name[:i])
		i -= n
	}
	return name[i:], i > 0
}

func plainName(name []byte) bool {
	for i, c := range name {
		if !(c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' || i > 0 && '0' <= c && c <= '9') {
			return false
		}
	}
	return len(name) > 0
}

// ParentPath returns path without its last step: the object or array that the field stands in. It returns "$" when no step, or
// only cut ones, would be left, and for what is no path.
func ParentPath(path string) string {
	p, err := ParsePath(path)
	if err != nil || len(p.Steps) < 2 {
		return "$"
	}
	p.Steps = p.Steps[:len(p.Steps)-1]
	return p.String()
}

// AnyIndex replaces the array indexes in a rendered path by "*", so that the same field of all elements compares equal.
func AnyIndex(path string) string {
	if !strings.Contains(path, "[") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		b.WriteByte(path[i])
		if path[i] == '[' && i+1 < len(path) && '0' <= path[i+1] && path[i+1] <= '9' {
			for i+1 < len(path) && '0' <= path[i+1] && path[i+1] <= '9' {
				i++
			}
			b.WriteByte('*')
		}
	}
	return b.String()
}
