// Package jsondoc reads and rewrites JSON and JSON Lines.
//
// What is a document and what is a record is decided by the bytes and not by a name or by the indexes in a finding. An object that
// is one JSON value is a document: one record with index 0. Where lines are values of their own, each line is a record and the
// index is the number of the line, 0-based, blank lines counted. Values that follow each other in any other way (without a line
// break between them, as Amazon Data Firehose writes them, or spread over lines) are records numbered one by one. Macie documents
// only the first two and leaves open whether blank lines count, so the other way of counting, and an index that is one too high,
// are offered as other readings (see [format.Matcher]). The decision looks at no more than the first [format.MaxWindow] bytes: a
// first value that does not end in them is taken for a document, and values that follow it for further records.
//
// JSON is what encoding/json accepts, and in addition a byte order mark, NUL bytes around the values (padding), and bytes in strings
// that are not UTF-8, which are kept. Objects and arrays are nested at most [format.MaxDepth] deep.
//
// A document that is not JSON gives an error. In JSON Lines, and after the first of several values, what cannot be parsed is
// offered as text up to the end of its line, so that no value hides from a search: a region that is not Whole, with the record
// as its place, which holds all places wanted in that record.
package jsondoc

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"coffer"
	"coffer/format"
	"coffer/format/text"
)

// Format is the format of JSON and JSON Lines. It knows the locations Record, and as package text does Lines and Offset, which
// Macie reports for a JSON file that it could not parse; in one walk either the one or the others (a walk that wants both
// visits the records only).
//
// Each scalar is a region: a string with its escapes undone, a number or true, false and null as they are spelled. Its At is the
// record and the path to it, its Name the member names of the path joined by dots. A string is edited where it stands; an edit of
// anything else makes it a string. Member names are regions too (IsName) in a walk over everything and where "$" is wanted. Since
// such a name may be what is sensitive, its At is the record, not a path that shows it. Members with equal names are all visited.
//
// Group is the record, but in a document, where that would be everything, the object the scalar is a member of, or the array, if
// it is itself an element of an array (a row). Groups lie in each other as the objects do: a group goes on after one that is
// inside it.
//
// What is not wanted is stepped over by brackets and quotes alone, and not validated.
type Format struct{}

var _ format.Format = Format{}

// Walk implements [format.Format].
func (Format) Walk(ctx context.Context, dst io.Writer, src format.Source, want []coffer.Location, visit format.Visitor) error {
	var match *format.Matcher
	if want != nil {
		records, lines := false, false
		for _, l := range want {
			if l.Member == "" {
				records = records || l.Kind == coffer.Record
				lines = lines || l.Kind == coffer.Lines || l.Kind == coffer.Offset
			}
		}
		if lines && !records {
			return text.Format{}.Walk(ctx, dst, src, want, visit)
		}
		match = format.NewMatcher(want)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	k := &walker{tape: format.NewTape(ctx, dst, src), visit: visit, match: match, hold: -1}
	k.region.Locate = func(int, int) coffer.Location { return k.region.At }
	k.region.Splice = k.splice
	if err := k.walk(); err != nil {
		if err == error(&k.bad) {
			bad := k.bad
			return &bad
		}
		return err
	}
	if dst == nil {
		return nil
	}
	return k.tape.Rest()
}

// syntaxError says where a document stops being JSON.
type syntaxError struct {
	what   string
	offset int64
	line   int64
	kind   error
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("json: %s at byte %d, line %d: %v", e.what, e.offset, e.line, e.kind)
}

func (e *syntaxError) Unwrap() error { return e.kind }

// layout is how an object is made of values.
type layout uint8

const (
	document layout = iota // one value
	lines                  // a value a line
	values                 // values that follow each other otherwise
)

// sniff decides by the beginning of the object.
func (k *walker) sniff() (layout, error) {
	// Most of the time much less than a window is enough.
	for _, n := range [...]int{16 << 10, format.MaxWindow} {
		err := k.tape.Fill(n + 1)
		if err != nil && err != io.EOF {
			return document, err
		}
		head := k.tape.Window()
		if err == nil {
			head = head[:n]
		}
		if l, sure := decide(head, err == io.EOF); sure {
			return l, nil
		}
	}
	return document, nil
}

// decide looks at the head of an object, all of it if all is set. It is not sure when more of the object could change its mind.
func decide(head []byte, all bool) (l layout, sure bool) {
	start := gap(head)
	if start == len(head) {
		return document, all
	}
	first := head[start:]
	line := bytes.IndexByte(first, '\n')
	if line < 0 {
		line = len(first)
	}
	end, state := value(first)
	if state == complete {
		next := end + gap(first[end:])
		switch {
		case next == len(first):
			return document, all
		case end > line: // over several lines
			return values, true
		case next < line && begins(first[next]):
			return values, true
		}
		return lines, true
	}
	// The first value does not parse. That is one bad line if most lines are values by themselves; inside a document no two
	// lines that follow each other are, because a comma must stand between them.
	if mostlyValues(head, all) {
		return lines, all || state == broken
	}
	return document, all
}

func mostlyValues(head []byte, all bool) bool {
	total, good := 0, 0
	for len(head) > 0 {
		n := bytes.IndexByte(head, '\n')
		if n < 0 {
			if !all {
				break
			}
			n = len(head)
		}
		b := head[:n]
		head = head[min(n+1, len(head)):]
		i := gap(b)
		if i == len(b) {
			continue
		}
		total++
		if b = b[i:]; class[b[0]] == classOpen {
			if end, state := value(b); state == complete && end+gap(b[end:]) == len(b) {
				good++
			}
		}
	}
	return 2*good > total
}

// value returns where the value at the beginning of b ends.
func value(b []byte) (int, progress) {
	switch class[b[0]] {
	case classQuote, classOpen:
		s := structure{limit: format.MaxDepth}
		return s.scan(b)
	case classToken:
		n := token(b)
		if scalar(b[:n]) {
			return n, complete
		}
	}
	return 0, broken
}

// token returns how many bytes at the beginning of b may belong to a number, true, false or null.
func token(b []byte) int {
	i := 0
	for i < len(b) && class[b[i]] == classToken {
		i++
	}
	return i
}

// begins reports whether a value can begin with c.
func begins(c byte) bool {
	t := class[c]
	return t == classOpen || t == classQuote || t == classToken
}

const byteOrderMark = "\xef\xbb\xbf"

// gap returns the length of what may stand between values at the top level: white space, NUL bytes, byte order marks (files
// that were put one behind the other have one in the middle).
func gap(b []byte) int {
	i := 0
	for i < len(b) {
		switch {
		case class[b[i]] == classSpace || b[i] == 0:
			i++
		case bytes.HasPrefix(b[i:], []byte(byteOrderMark)):
			i += len(byteOrderMark)
		default:
			return i
		}
	}
	return i
}
