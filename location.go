package coffer

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// LocationKind is the kind of place a [Location] names.
type LocationKind uint8

// The kinds of places.
const (
	NoPlace LocationKind = iota // the zero Location: no place was given
	Cell                        // a cell of a table
	Lines                       // a range of lines of a text
	Page                        // a page of a document
	Record                      // a field of a record
	Offset                      // a span of bytes
)

// Location is a place inside an object: what Macie calls an occurrence's cell, line range, page, record or offset range,
// together with the path of the file inside the archive, if it is in one. It is comparable. Its text form ([Location.String],
// [ParseLocation]) is stable and is the one used by commands, API, store and log:
//
//	cell:R5C3            row 5, column 3; C0 is every cell of the row
//	cell:Sheet2!R5C3     the same on a named sheet
//	line:12-13:5         lines 12 to 13, from character 5 of line 12; without ":5" from the line's beginning
//	page:4
//	record:7:$.a[0].b    the field $.a[0].b of record 7; a path that names an object or array means every scalar below it
//	offset:120-131       bytes 120 up to and without 131
//
// In front of it stands the member path of a file in an archive, each name percent-encoded and followed by "!":
//
//	a.tar.gz!b.csv!cell:R2C3
type Location struct {
	Member string // encoded member path without the final "!"; empty outside an archive. See MemberPath and Names
	Kind   LocationKind

	Sheet       string // Cell
	Row, Column int64  // Cell: 1-based; Column 0: every cell of the row

	Start, End  int64 // Lines: 1-based, End inclusive. Offset: Start inclusive, End exclusive
	StartColumn int64 // Lines: 1-based character of the first line; 0: not given

	Page int64 // 1-based

	Index int64  // Record: 0-based
	Path  string // Record: as Macie wrote it; "$" is the record itself
}

// MemberPath encodes the names of nested archive members, outermost first, as the Member of a Location.
func MemberPath(names ...string) string {
	enc := make([]string, len(names))
	for i, n := range names {
		enc[i] = escape(n)
	}
	return strings.Join(enc, "!")
}

// Names returns the names encoded in l.Member, outermost first; nil outside an archive.
func (l Location) Names() []string {
	if l.Member == "" {
		return nil
	}
	names := strings.Split(l.Member, "!")
	for i, n := range names {
		if d, err := url.PathUnescape(n); err == nil {
			names[i] = d
		}
	}
	return names
}

// In returns l as seen from outside the archive member name: the member path grows by one at the front.
func (l Location) In(name string) Location {
	if l.Member == "" {
		l.Member = escape(name)
	} else {
		l.Member = escape(name) + "!" + l.Member
	}
	return l
}

// escape percent-encodes what would be read as syntax (the colon ends a kind), and everything outside printable ASCII.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || c == '!' || c == '%' || c == ':' || c == '"' {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// String returns the text form of l; the zero Location gives "".
func (l Location) String() string {
	var s string
	switch l.Kind {
	case Cell:
		s = fmt.Sprintf("R%dC%d", l.Row, l.Column)
		if l.Sheet != "" {
			s = escape(l.Sheet) + "!" + s
		}
		s = "cell:" + s
	case Lines:
		s = fmt.Sprintf("line:%d-%d", l.Start, l.End)
		if l.StartColumn > 0 {
			s += ":" + strconv.FormatInt(l.StartColumn, 10)
		}
	case Page:
		s = "page:" + strconv.FormatInt(l.Page, 10)
	case Record:
		p := l.Path
		if p == "" {
			p = "$"
		}
		s = fmt.Sprintf("record:%d:%s", l.Index, p)
	case Offset:
		s = fmt.Sprintf("offset:%d-%d", l.Start, l.End)
	}
	if l.Member != "" {
		s = l.Member + "!" + s
	}
	return s
}

// MarshalText implements [encoding.TextMarshaler] with the text form.
func (l Location) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] with the text form.
func (l *Location) UnmarshalText(b []byte) error {
	p, err := ParseLocation(string(b))
	if err == nil {
		*l = p
	}
	return err
}

// ParseLocation reads the text form of a location. Its errors wrap [ErrInvalid] and do not repeat the text, which may hold a
// value.
func ParseLocation(s string) (Location, error) {
	var l Location
	if s == "" {
		return l, nil
	}
	// The path of a record is free text, so the kind must be found before it. No encoded name holds a colon, so the first
	// segment that starts with a kind is the place.
	rest, kind := s, ""
	for {
		for _, k := range []string{"cell:", "line:", "page:", "record:", "offset:"} {
			if strings.HasPrefix(rest, k) {
				kind = k
			}
		}
		if kind != "" {
			break
		}
		i := strings.IndexByte(rest, '!')
		if i < 0 {
			return Location{}, fmt.Errorf("location without a kind: %w", ErrInvalid)
		}
		name, err := url.PathUnescape(rest[:i])
		if err != nil || name == "" {
			return Location{}, fmt.Errorf("location's member path is not percent-encoded names: %w", ErrInvalid)
		}
		if l.Member != "" {
			l.Member += "!"
		}
		l.Member += escape(name) // one spelling, so that equal places are equal
		rest = rest[i+1:]
	}
	body := rest[len(kind):]
	ok := false
	switch kind {
	case "cell:":
		l.Kind = Cell
		if i := strings.LastIndexByte(body, '!'); i >= 0 {
			sheet, err := url.PathUnescape(body[:i])
			if err != nil || sheet == "" {
				return Location{}, fmt.Errorf("location's sheet is not a percent-encoded name: %w", ErrInvalid)
			}
			l.Sheet, body = sheet, body[i+1:]
		}
		r, c, found := strings.Cut(strings.TrimPrefix(body, "R"), "C")
		ok = found && strings.HasPrefix(body, "R") && number(r, 1, &l.Row) && number(c, 0, &l.Column)
	case "line:":
		l.Kind = Lines
		span, col, given := strings.Cut(body, ":")
		a, b, found := strings.Cut(span, "-")
		ok = found && number(a, 1, &l.Start) && number(b, l.Start, &l.End) && (!given || number(col, 1, &l.StartColumn))
	case "page:":
		l.Kind = Page
		ok = number(body, 1, &l.Page)
	case "record:":
		l.Kind = Record
		idx, path, found := strings.Cut(body, ":")
		ok = found && strings.HasPrefix(path, "$") && number(idx, 0, &l.Index)
		l.Path = path
	case "offset:":
		l.Kind = Offset
		a, b, found := strings.Cut(body, "-")
		ok = found && number(a, 0, &l.Start) && number(b, l.Start, &l.End)
	}
	if !ok {
		return Location{}, fmt.Errorf("malformed %s location: %w", strings.TrimSuffix(kind, ":"), ErrInvalid)
	}
	return l, nil
}

func number(s string, least int64, to *int64) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || s[0] == '+' || s[0] == '-' {
		return false
	}
	*to = n
	return true
}
