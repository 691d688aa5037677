package text_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"coffer"
	"coffer/format"
	"coffer/format/formattest"
	"coffer/format/text"
)

const marker = "4000-0000-0000-0002"

func documents() []formattest.Document {
	docs := []formattest.Document{
		{Name: "empty"},
		{Name: "one line", Bytes: []byte("card " + marker), Values: []string{marker}},
		{Name: "lf", Bytes: []byte("first\nsecond " + marker + "\n\nfourth\n"), Values: []string{marker}},
		{Name: "crlf", Bytes: []byte("first\r\nsecond " + marker + "\r\n\r\nfourth\r\n"), Values: []string{marker}},
		{Name: "cr", Bytes: []byte("first\rsecond " + marker + "\r\rfourth\r"), Values: []string{marker}},
		{Name: "mixed", Bytes: []byte("\r\n\n\r\r\r\na\r\n\rb\n\r" + marker + "\r"), Values: []string{marker}},
		{Name: "byte order mark", Bytes: []byte("\xef\xbb\xbffirst\n" + marker), Values: []string{marker}},
		{Name: "only a byte order mark", Bytes: []byte("\xef\xbb\xbf")},
		{Name: "not utf-8", Bytes: []byte("caf\xe9 \xff\xfe " + marker + "\n\x80\x00\xe2\x82\n"), Values: []string{marker}},
		{Name: "wide", Bytes: []byte("\u20ac\U0001d11e\u00e9 " + marker + "\n\U0001f600\n"), Values: []string{marker}},
	}
	long := strings.Repeat("\u20acabcdef ", 130_000)
	docs = append(docs, formattest.Document{
		Name:  "a line of megabytes",
		Bytes: []byte("x\n" + long[:format.MaxWindow-format.Overlap-2] + marker + long + marker + "\r\nlast " + marker), Values: []string{marker},
	})
	var b strings.Builder
	for i := 0; b.Len() < 1200<<10; i++ {
		fmt.Fprintf(&b, "%d some log line of moderate length\r\n", i)
		if i%1000 == 0 {
			b.WriteString(marker + "\n\r")
		}
	}
	return append(docs, formattest.Document{Name: "many lines", Bytes: []byte(b.String()), Values: []string{marker}})
}

func TestConformance(t *testing.T) {
	formattest.Test(t, formattest.Harness{
		Format:    text.Format{},
		Documents: documents(),
		Endless:   func() io.Reader { return formattest.Repeat("head\n", "a line without an end ") },
	})
}

func FuzzLaws(f *testing.F) {
	for i, d := range documents() {
		if len(d.Bytes) < 1<<10 {
			f.Add(d.Bytes, uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		formattest.Laws(t, formattest.Harness{Format: text.Format{}}, doc, seed)
		checkLines(t, doc, seed)
	})
}

// split cuts a text into lines the slow way.
func split(doc []byte) (lines [][2]int) {
	doc, from := bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf")), len(doc)-len(bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf")))
	start := 0
	for i := 0; i < len(doc); i++ {
		end := i
		switch {
		case doc[i] == '\r' && i+1 < len(doc) && doc[i+1] == '\n':
			i++
		case doc[i] == '\r' || doc[i] == '\n':
		default:
			continue
		}
		lines = append(lines, [2]int{from + start, from + end})
		start = i + 1
	}
	if start < len(doc) {
		lines = append(lines, [2]int{from + start, from + len(doc)})
	}
	return lines
}

// checkLines asks for some ranges of lines and compares every place with the oracle.
func checkLines(t *testing.T, doc []byte, seed uint64) {
	t.Helper()
	lines := split(doc)
	var want []coffer.Location
	for i := range 6 {
		n := int64(len(lines)) + 2
		a := int64(seed>>(8*i))%n + 1
		if a < 1 {
			a = -a + 1
		}
		want = append(want, coffer.Location{Kind: coffer.Lines, Start: a, End: a + int64(seed>>(4*i)&3), StartColumn: int64(i)})
	}
	type span struct{ from, to int64 }
	got := make([]*span, len(want))
	for _, dst := range []io.Writer{nil, io.Discard} {
		clear(got)
		regions := -1
		var end int64 = -1
		err := text.Format{}.Walk(context.Background(), dst, format.Source{Reader: bytes.NewReader(doc), Size: -1}, want,
			func(r *format.Region) ([]format.Edit, error) {
				if r.Off == 0 {
					regions++
				}
				for _, p := range r.Places {
					s, err := r.Splice([]format.Edit{{Start: min(p.Start, r.Lead+max(0, p.Start-r.Lead)), End: p.End}})
					if err != nil {
						t.Fatalf("Splice: %v", err)
					}
					if len(s) == 0 {
						continue
					}
					if s[0].Start < end {
						t.Fatalf("region goes back to byte %d", s[0].Start)
					}
					if got[p.Want] == nil {
						got[p.Want] = &span{s[0].Start, s[0].End}
					} else {
						got[p.Want].to = s[0].End
					}
				}
				return nil, nil
			})
		if err != nil {
			t.Fatalf("walk: %v", err)
		}
		for i, w := range want {
			if w.Start > int64(len(lines)) {
				if got[i] != nil {
					t.Fatalf("line %d of %d is visited", w.Start, len(lines))
				}
				continue
			}
			e := span{int64(lines[w.Start-1][0]), int64(lines[min(w.End, int64(len(lines)))-1][1])}
			if w.End > int64(len(lines)) {
				e.to = int64(len(doc))
			}
			if got[i] == nil {
				t.Fatalf("lines %d-%d of %d are not visited", w.Start, w.End, len(lines))
			}
			// A range that the end of the text cuts may or may not include the last terminator.
			if got[i].from != e.from || got[i].to != e.to && (w.End < int64(len(lines)) || got[i].to != int64(lines[len(lines)-1][1])) {
				t.Fatalf("lines %d-%d of %d: bytes [%d,%d), want [%d,%d)", w.Start, w.End, len(lines), got[i].from, got[i].to, e.from, e.to)
			}
		}
	}
}

func TestLines(t *testing.T) {
	for _, d := range documents() {
		if len(d.Bytes) > 1<<16 {
			continue
		}
		for seed := range uint64(200) {
			checkLines(t, d.Bytes, seed*0x9e3779b97f4a7c15)
		}
	}
}

func TestRegions(t *testing.T) {
	const doc = "one\ntwo\r\nthree\rfour\n\nsix"
	loc := func(s ...string) (ls []coffer.Location) {
		for _, s := range s {
			l, err := coffer.ParseLocation(s)
			if err != nil {
				t.Fatal(err)
			}
			ls = append(ls, l)
		}
		return ls
	}
	for _, c := range []struct {
		want []string
		get  []string // region: its text, and each place as want=text
	}{
		{[]string{"line:2-2"}, []string{"two|0=two"}},
		{[]string{"line:2-3:2", "line:2-2"}, []string{"two\r\nthree|0=two\r\nthree|1=two"}},
		{[]string{"line:4-4", "line:2-2"}, []string{"two|1=two", "four|0=four"}},
		{[]string{"line:3-3", "line:2-2"}, []string{"two\r\nthree|1=two|0=three"}},
		{[]string{"line:5-5"}, []string{"|0="}},
		{[]string{"line:6-9", "line:7-7"}, []string{"six|0=six"}},
		{[]string{"offset:4-7"}, []string{"two|0=two"}},
		{[]string{"offset:5-10", "line:3-3"}, []string{"wo\r\n|0=wo\r\n", "three|1=three|0=t"}},
		{[]string{"line:1-1", "offset:1-5", "offset:20-99"}, []string{"one|0=one|1=ne", "\nt|1=\nt", "\nsix|2=\nsix"}},
		{[]string{"cell:R1C1", "a!line:1-1"}, nil},
	} {
		var got []string
		err := text.Format{}.Walk(context.Background(), nil, format.Source{Reader: strings.NewReader(doc)}, loc(c.want...),
			func(r *format.Region) ([]format.Edit, error) {
				s := string(r.Text)
				for _, p := range r.Places {
					s += fmt.Sprintf("|%d=%s", p.Want, r.Text[p.Start:p.End])
				}
				got = append(got, s)
				return nil, nil
			})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.get) {
			t.Errorf("%q: %q, want %q", c.want, got, c.get)
		}
	}
}

func TestLocate(t *testing.T) {
	const doc = "\xef\xbb\xbfab\u20accd\r\n\U0001f600x\ry"
	var got []string
	err := text.Format{}.Walk(context.Background(), nil, format.Source{Reader: strings.NewReader(doc)}, nil,
		func(r *format.Region) ([]format.Edit, error) {
			for _, v := range []string{"c", "ab", "x\ry", "d", "y"} {
				i := bytes.Index(r.Text, []byte(v))
				got = append(got, r.Locate(i, i+len(v)).String())
			}
			return nil, nil
		})
	if want := "[line:1-1:4 line:1-1:1 line:2-3:2 line:1-1:5 line:3-3:1]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v; want %s", got, err, want)
	}
}

// In a line of several windows the column counts from the beginning of the line, not of the window.
func TestLocateInLongLine(t *testing.T) {
	doc := "first\n" + strings.Repeat("\u20ac", 3<<20) + marker + "\n"
	var got []string
	for _, want := range [][]coffer.Location{nil, {{Kind: coffer.Lines, Start: 2, End: 2}}} {
		err := text.Format{}.Walk(context.Background(), nil, format.Source{Reader: strings.NewReader(doc)}, want,
			func(r *format.Region) ([]format.Edit, error) {
				if i := bytes.Index(r.Text, []byte(marker)); i >= r.Lead && i < r.Commit {
					got = append(got, r.Locate(i, i+len(marker)).String())
				}
				return nil, nil
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := "[line:2-2:3145729 line:2-2:3145729]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// countingReader says how much was read.
type countingReader struct {
	io.Reader
	n int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

func TestStopsEarly(t *testing.T) {
	r := &countingReader{Reader: io.LimitReader(formattest.Repeat("", "some line\n"), 64<<20)}
	visits := 0
	err := text.Format{}.Walk(context.Background(), nil, format.Source{Reader: r, Size: -1}, []coffer.Location{{Kind: coffer.Lines, Start: 100, End: 100}},
		func(*format.Region) ([]format.Edit, error) { visits++; return nil, nil })
	if err != nil || visits != 1 || r.n > 4<<20 {
		t.Errorf("%v: %d visits, %d bytes read for line 100", err, visits, r.n)
	}
}
