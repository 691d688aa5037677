package delimited_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"coffer"
	"coffer/format"
	"coffer/format/delimited"
	"coffer/format/formattest"
)

const marker = "4000-0000-0000-0002"

func documents() []formattest.Document {
	docs := []formattest.Document{
		{Name: "empty"},
		{Name: "one cell", Bytes: []byte(marker), Values: []string{marker}},
		{Name: "plain", Bytes: []byte("name,card,city\nAda," + marker + ",York\n\nBob,,\n"), Values: []string{marker}},
		{Name: "crlf and quotes", Bytes: []byte("name,card,city\r\n\"A, \"\"d\"\"a\",\"" + marker + "\",\"Y\r\nork\"\r\nx," + marker + ",\"\"\r\n"), Values: []string{marker}},
		{Name: "cr", Bytes: []byte("name;card\rA;" + marker + "\r\"B\rC\";" + marker), Values: []string{marker}},
		{Name: "stray quotes", Bytes: []byte("part\tnote\n6\" pipe\tin; \"" + marker + "\"\n\"ab\"c\"d" + marker + "\t\"x\"\"\"y\n"), Values: []string{marker}},
		{Name: "ragged", Bytes: []byte("a,b,c\n1\n1,2,3,4," + marker + "\n,,,,\n,\n"), Values: []string{marker}},
		{Name: "byte order mark", Bytes: []byte("\xef\xbb\xbf\"na\"\"me\",b\n" + marker + ",2\n"), Values: []string{marker}},
		{Name: "unterminated", Bytes: []byte("a,b\n\"open,1\n2," + marker + "\n\"\"\"\",\"\"\nx,y\n"), Values: []string{marker}},
		{Name: "nul", Bytes: []byte("a\x00,b\n\x00,\"" + marker + "\x00\"\n"), Values: []string{marker}},
		{Name: "not utf-8", Bytes: []byte("caf\xe9,\xff\n\"\x80\"\"\"," + marker + "\n"), Values: []string{marker}},
		{Name: "header holds a value", Bytes: []byte("name," + marker + "\nA,1\n"), Values: []string{marker}},
		{Name: "one column", Bytes: []byte("note\n" + marker + "\n\"q\"\n"), Values: []string{marker}},
	}
	long := strings.Repeat("ab\u20ac de ", 130_000)
	quoted := strings.ReplaceAll(long, "e", `e""`)
	docs = append(docs, formattest.Document{
		Name: "long cells",
		Bytes: []byte("a,b,c\nx," + long + marker + long[:1000] + ",\"" + quoted + marker + quoted[:400_000] + "\"tail" + marker + "," + marker + "\n" +
			"\"" + quoted[:30] + "\"" + long + marker + "\n1," + marker + ",3"),
		Values: []string{marker},
	})
	var b strings.Builder
	for i := 0; b.Len() < 160<<10; i++ {
		fmt.Fprintf(&b, "%d,\"cell, %d\",%s,\"with \"\"quotes\"\"\nand a break\",%s\r\n", i, i, long[:300], marker)
	}
	return append(docs, formattest.Document{Name: "many rows", Bytes: []byte("no,a,b,c,d\r\n" + b.String()), Values: []string{marker}})
}

func TestConformance(t *testing.T) {
	// The delimiter is given: an edit may well change which one would be found.
	for _, d := range documents() {
		f := delimited.Format{Comma: ','}
		if i := bytes.IndexAny(d.Bytes, ";\t"); i >= 0 {
			f.Comma = d.Bytes[i]
		}
		formattest.Test(t, formattest.Harness{Format: f, Documents: []formattest.Document{d}})
	}
	for name, e := range map[string][2]string{
		"a quote without an end": {"a,b\n1,\"", "a cell \"\" without an end "},
		"no quotes":              {"a,b\n1,", "a cell without an end "},
		"one record":             {"a,b\n", "1,2,3,\"4\"\"\n\","},
		"rows":                   {"a,b\n", "1,\"x\ny\"\"\",3\n\"4\",some more text\n"},
	} {
		t.Run(name, func(t *testing.T) {
			formattest.Test(t, formattest.Harness{Format: delimited.Format{}, EndlessSize: 20 << 20,
				Endless: func() io.Reader { return formattest.Repeat(e[0], e[1]) }})
		})
	}
}

func FuzzLaws(f *testing.F) {
	for i, d := range documents() {
		if len(d.Bytes) < 1<<10 {
			f.Add(d.Bytes, uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		h := formattest.Harness{Format: delimited.Format{Comma: ",\t;|"[seed%4]}}
		formattest.Laws(t, h, doc, seed)
		checkPlaces(t, h.Format, doc, seed)
	})
}

// table reads a document with the format.
func table(t testing.TB, f format.Format, doc []byte) [][]string {
	t.Helper()
	all, err := formattest.Collect(f, doc, nil, nil)
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	var rows [][]string
	for _, s := range all {
		if s.Off == 0 {
			if s.At.Column == 1 {
				rows = append(rows, nil)
			}
			if s.At.Row != int64(len(rows)) || s.At.Column != int64(len(rows[len(rows)-1]))+1 {
				t.Fatalf("cell R%dC%d out of order", s.At.Row, s.At.Column)
			}
			rows[len(rows)-1] = append(rows[len(rows)-1], "")
		}
		row := rows[len(rows)-1]
		row[len(row)-1] += string(s.Text[s.Lead:s.Commit])
	}
	return rows
}

// checkPlaces asks for cells and lines at random and compares with the full walk.
func checkPlaces(t testing.TB, f format.Format, doc []byte, seed uint64) {
	t.Helper()
	rows := table(t, f, doc)
	rnd := rand.New(rand.NewPCG(seed, 3))
	want := make([]coffer.Location, 1+rnd.IntN(6))
	for i := range want {
		want[i] = coffer.Location{Kind: coffer.Cell, Row: 1 + rnd.Int64N(int64(len(rows))+2), Column: rnd.Int64N(6)}
		if rnd.IntN(5) == 0 {
			want[i] = coffer.Location{Kind: coffer.Lines, Start: 1 + rnd.Int64N(8), End: 9}
		}
	}
	for _, dst := range []io.Writer{nil, io.Discard} {
		met := map[string]int{}
		err := f.Walk(context.Background(), dst, format.Source{Reader: bytes.NewReader(doc)}, want, func(r *format.Region) ([]format.Edit, error) {
			for _, p := range r.Places {
				l := want[p.Want]
				if l.Kind == coffer.Lines {
					if r.Whole {
						t.Fatal("a line's place in a cell")
					}
					continue
				}
				if string(r.Text) != rows[r.At.Row-1][r.At.Column-1] {
					t.Fatalf("cell R%dC%d has another text than in the full walk", r.At.Row, r.At.Column)
				}
				if l.Column != 0 && l.Column != r.At.Column || p.Alt == 0 && l.Row != r.At.Row || p.Alt == 1 && l.Row <= r.At.Row {
					t.Fatalf("cell R%dC%d offered for R%dC%d, alternative %d", r.At.Row, r.At.Column, l.Row, l.Column, p.Alt)
				}
				met[fmt.Sprint(p.Want, p.Alt, r.At.Column)]++
			}
			return nil, nil
		})
		if err != nil {
			t.Fatalf("walk: %v", err)
		}
		for i, l := range want {
			if l.Kind != coffer.Cell || l.Row > int64(len(rows)) {
				continue
			}
			for c := range rows[l.Row-1] {
				n := 0
				if l.Column == 0 || l.Column == int64(c)+1 {
					n = 1
				}
				if met[fmt.Sprint(i, 0, c+1)] != n {
					t.Fatalf("R%dC%d: cell %d met %d times, want %d", l.Row, l.Column, c+1, met[fmt.Sprint(i, 0, c+1)], n)
				}
			}
		}
	}
}

func TestPlaces(t *testing.T) {
	for _, d := range documents() {
		if len(d.Bytes) < 1<<10 {
			for seed := range uint64(300) {
				checkPlaces(t, delimited.Format{}, d.Bytes, seed)
			}
		}
	}
}

func TestGrammar(t *testing.T) {
	for _, c := range []struct {
		doc  string
		rows [][]string
	}{
		{"", nil},
		{"a", [][]string{{"a"}}},
		{"a\n", [][]string{{"a"}}},
		{"a\n\nb", [][]string{{"a"}, {""}, {"b"}}},
		{"a,", [][]string{{"a", ""}}},
		{",\n,", [][]string{{"", ""}, {"", ""}}},
		{"a,b\rc,d\r\ne,f\n\rg", [][]string{{"a", "b"}, {"c", "d"}, {"e", "f"}, {""}, {"g"}}},
		{`"a,b","c""d"`, [][]string{{"a,b", `c"d`}}},
		{"\"a\r\nb\",c", [][]string{{"a\r\nb", "c"}}},
		{`6" pipe,x"y"z`, [][]string{{`6" pipe`, `x"y"z`}}},
		{`"ab"c,"d" "e"`, [][]string{{"abc", `d "e"`}}},
		{`"a"" ,b`, [][]string{{`"a"" `, "b"}}},
		{"\"a,b\nc,\"d\",\"e", [][]string{{"a,b\nc,d\"", `"e`}}},
		{"\"a,b\nc,d\n", [][]string{{`"a`, "b"}, {"c", "d"}}},
		{"\"\"\"\",\"\"\"\"\"\"", [][]string{{`"`, `""`}}},
		{"\xef\xbb\xbf\"a\",b", [][]string{{"a", "b"}}},
		{` "a",b`, [][]string{{` "a"`, "b"}}},
	} {
		got := table(t, delimited.Format{Comma: ','}, []byte(c.doc))
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.rows) {
			t.Errorf("%q: %q, want %q", c.doc, got, c.rows)
		}
	}
}

// The grammar agrees with Python's csv module wherever every opening quote is closed.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var docs []string
	for len(docs) < 1500 {
		var b []byte
		for range rnd.IntN(24) {
			b = append(b, "aa\"\"\",,b\n\r"[rnd.IntN(9)])
		}
		docs = append(docs, string(b))
	}
	in, err := json.Marshal(docs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", `
import csv, io, json, sys
out = []
for d in json.load(sys.stdin):
    try:
        out.append([r or [""] for r in csv.reader(io.StringIO(d, newline=""))])
    except csv.Error:
        out.append(None)
json.dump(out, sys.stdout)
`)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want [][][]string
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for i, d := range docs {
		got := table(t, delimited.Format{Comma: ','}, []byte(d))
		// Python takes a quote without an end, here perhaps the first byte of a cell, to the end of the file.
		if want[i] == nil || slices.ContainsFunc(got, func(r []string) bool {
			return slices.ContainsFunc(r, func(c string) bool { return strings.HasPrefix(c, `"`) })
		}) {
			continue
		}
		checked++
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want[i]) {
			t.Errorf("%q: %q, Python reads %q", d, got, want[i])
		}
	}
	if checked < 500 {
		t.Errorf("only %d documents compared", checked)
	}
}

// Well-formed tables are read, and after edits read back, as encoding/csv does it.
func TestEncodingCSV(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringOf(rapid.RuneFrom([]rune("ab1 \",;\n\u20ac\U0001d11e-")))
		columns := rapid.IntRange(2, 5).Draw(t, "columns")
		rows := rapid.SliceOfN(rapid.SliceOfN(cell, columns, columns), 1, 8).Draw(t, "rows")
		comma := rapid.SampledFrom([]byte{',', ';', '\t', '|'}).Draw(t, "comma")
		var doc bytes.Buffer
		w := csv.NewWriter(&doc)
		w.Comma = rune(comma)
		w.UseCRLF = rapid.Bool().Draw(t, "crlf")
		if err := w.WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		news := rapid.SliceOfN(cell, len(rows)*columns, len(rows)*columns).Draw(t, "new")
		cuts := rapid.SliceOfN(rapid.IntRange(0, 9), 2*len(news), 2*len(news)).Draw(t, "cuts")
		n := 0
		var out bytes.Buffer
		expect := make([][]string, len(rows))
		err := delimited.Format{Comma: comma}.Walk(context.Background(), &out, format.Source{Reader: bytes.NewReader(doc.Bytes())}, nil,
			func(r *format.Region) ([]format.Edit, error) {
				i := n
				n++
				row := r.At.Row - 1
				if got, want := strings.ReplaceAll(string(r.Text), "\r\n", "\n"), rows[row][r.At.Column-1]; got != want {
					t.Fatalf("cell R%dC%d reads %d bytes, want %d", r.At.Row, r.At.Column, len(got), len(want))
				}
				if cuts[2*i] > 6 {
					expect[row] = append(expect[row], rows[row][r.At.Column-1])
					return nil, nil
				}
				from := min(cuts[2*i], len(r.Text))
				to := min(len(r.Text), from+cuts[2*i+1])
				expect[row] = append(expect[row], strings.ReplaceAll(string(r.Text[:from])+news[i]+string(r.Text[to:]), "\r\n", "\n"))
				return []format.Edit{{Start: from, End: to, New: []byte(news[i])}}, nil
			})
		if err != nil {
			t.Fatal(err)
		}
		if n != len(rows)*columns {
			t.Fatalf("%d cells, want %d", n, len(rows)*columns)
		}
		r := csv.NewReader(&out)
		r.Comma = rune(comma)
		got, err := r.ReadAll()
		if err != nil {
			t.Fatalf("encoding/csv refuses the rewritten table: %v", err)
		}
		if !slices.EqualFunc(got, expect, slices.Equal) {
			t.Fatalf("the rewritten table reads otherwise")
		}
	})
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		doc, at    string
		start, end int
		new        string
		want       string
	}{
		{"a,b\n1,\"x \"\"4111\"\" y\"\n", "cell:R2C2", 3, 7, "[r]", "a,b\n1,\"x \"\"[r]\"\" y\"\n"},
		{"a,b\n1,\"x 4111 y\"\n", "cell:R2C2", 2, 6, `"`, "a,b\n1,\"x \"\" y\"\n"},
		{"a,b\n6\" pipe; 4111,2\n", "cell:R2C1", 9, 13, "[r]", "a,b\n6\" pipe; [r],2\n"},
		{"a,b\n6\" pipe; 4111,2\n", "cell:R2C1", 9, 13, "p,q", "a,b\n\"6\"\" pipe; p,q\",2\n"},
		{"a,b\n6\" pipe,2\n", "cell:R2C1", 0, 1, "", "a,b\n\"\"\" pipe\",2\n"},
		{"a,b\n\"ab\"c4111,2\n", "cell:R2C1", 3, 7, "x", "a,b\n\"ab\"cx,2\n"},
		{"a,b\n\"ab\"c4111,2\n", "cell:R2C1", 3, 7, "x\ny", "a,b\n\"abcx\ny\",2\n"},
		{"a,b\n\"ab\"c\"4,2\n", "cell:R2C1", 1, 3, "", "a,b\n\"a\"\"4\",2\n"},
		{"a,b\n\"ab\"cd,2\n", "cell:R2C1", 1, 3, "X", "a,b\n\"aX\"d,2\n"},
		{"a\n4111\n", "cell:R2C1", 0, 4, "", "a\n\"\"\n"},
		{"a,b\n4111,2\n", "cell:R2C1", 0, 4, "", "a,b\n,2\n"},
		{"a,b\n,\n", "cell:R2C2", 0, 0, "x", "a,b\n,x\n"},
		{"a,b\n1,\"\"\n", "cell:R2C2", 0, 0, "x,", "a,b\n1,\"x,\"\n"},
		{"a,b\n1,\"open\n2,3\n", "cell:R2C2", 5, 5, "x", "a,b\n1,\"openx\n2,3\n"},
		{"a,b\n1,\"open\n2,3\n", "cell:R2C2", 5, 5, "x,", "a,b\n1,\"\"\"openx,\"\n2,3\n"},
	} {
		at, err := coffer.ParseLocation(c.at)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = delimited.Format{Comma: ','}.Walk(context.Background(), &out, format.Source{Reader: strings.NewReader(c.doc)}, []coffer.Location{at},
			func(r *format.Region) ([]format.Edit, error) {
				return []format.Edit{{Start: c.start, End: c.end, New: []byte(c.new)}}, nil
			})
		if err != nil || out.String() != c.want {
			t.Errorf("%q %s [%d,%d) %q: %q, %v; want %q", c.doc, c.at, c.start, c.end, c.new, out.String(), err, c.want)
		}
	}
	// A quote behind an unterminated one must not become its end.
	for _, c := range []struct {
		doc         string
		row, column int64
		edit        format.Edit
	}{
		{"a,b\n\"open,1\n2,3\n", 3, 1, format.Edit{End: 1, New: []byte("x,y")}},
		{"\"000,00\"\"000", 1, 2, format.Edit{Start: 3, End: 3, New: []byte("x")}},
		{"\"000,\"\"", 1, 2, format.Edit{New: []byte("x")}},
	} {
		err := delimited.Format{Comma: ','}.Walk(context.Background(), io.Discard, format.Source{Reader: strings.NewReader(c.doc)},
			[]coffer.Location{{Kind: coffer.Cell, Row: c.row, Column: c.column}},
			func(r *format.Region) ([]format.Edit, error) { return []format.Edit{c.edit}, nil })
		if !errors.Is(err, coffer.ErrUnsupported) {
			t.Errorf("%q: %v", c.doc, err)
		}
	}
}

func TestRegions(t *testing.T) {
	const doc = "name,note\nAda,\"two\nlines\"\nBob,x\nCy,\"a\nb\nc\"\nDee,y\n"
	// Records begin at lines 1, 2, 4, 5, 8.
	for _, c := range []struct {
		want []string
		get  []string
	}{
		{[]string{"cell:R3C1"}, []string{"cell:R3C1 Bob [0/0]"}},
		{[]string{"cell:R4C1"}, []string{"cell:R3C1 Bob [0/1]", "cell:R4C1 Cy [0/0]"}},
		{[]string{"cell:R5C0"}, []string{"cell:R4C1 Cy [0/1]", "cell:R4C2 a\nb\nc [0/1]", "cell:R5C1 Dee [0/0]", "cell:R5C2 y [0/0]"}},
		{[]string{"cell:R8C2"}, []string{"cell:R5C2 y [0/1]"}},
		{[]string{"cell:R9C2", "cell:R1C3", "cell:Sheet!R1C1"}, nil},
		{[]string{"line:3-3:1"}, []string{"line:3-3 lines\" [0/0]"}},
		{[]string{"line:3-3:1", "cell:R2C1"}, []string{"line:3-3 lines\" [0/0]", "cell:R2C1 Ada [1/0]"}},
		{[]string{"cell:R2C1", "line:1-1:6", "line:8-8"}, []string{"line:1-1 name,note [1/0]", "cell:R2C1 Ada [0/0]", "line:8-8 Dee,y [2/0]"}},
		{[]string{"cell:R1C2", "cell:R1C0"}, []string{"cell:R1C1 name [1/0]", "cell:R1C2 note [1/0] [0/0]"}},
	} {
		var want []coffer.Location
		for _, s := range c.want {
			l, err := coffer.ParseLocation(s)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, l)
		}
		for _, dst := range []io.Writer{nil, io.Discard} {
			var got []string
			err := delimited.Format{}.Walk(context.Background(), dst, format.Source{Reader: strings.NewReader(doc)}, want,
				func(r *format.Region) ([]format.Edit, error) {
					s := r.At.String() + " " + string(r.Text)
					for _, p := range r.Places {
						s += fmt.Sprintf(" [%d/%d]", p.Want, p.Alt)
					}
					if r.Whole && r.At.Row > 1 && string(r.Name) != []string{"name", "note"}[r.At.Column-1] || r.IsName != (r.Whole && r.At.Row == 1) {
						s += " with a wrong name"
					}
					got = append(got, s)
					return nil, nil
				})
			if err != nil || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.get) {
				t.Errorf("%q: %q, %v; want %q", c.want, got, err, c.get)
			}
		}
	}
}

func TestSniff(t *testing.T) {
	for _, c := range []struct {
		doc     string
		columns int
		header  bool
	}{
		{"a,b,c\n1,2,3\n", 3, true},
		{"a\tb\n\"1,5,6\"\t2,3\n", 2, true},
		{"name;amount;when\nA;1,5;2024-01-01\nB;2,5;2024-01-02\n", 3, true},
		{"a|b\n1, 2|3\n4|5\n", 2, true},
		{"just one column\nmore, or less\nthird\n", 1, true},
		{"1,2\n3,4\n", 2, false},
		{"x@example.com,5\ny@example.com,6\n", 2, false},
		{"\xef\xbb\xbfa,b\n1,2\n", 2, true},
		{"name,\"a;b;c\"\nx,\"1;2;3\"\n", 2, true},
	} {
		all, err := formattest.Collect(delimited.Format{}, []byte(c.doc), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for _, s := range all {
			if s.At.Row == 2 || s.At.Row == 1 {
				n = max(n, s.At.Column)
			}
		}
		if n != int64(c.columns) && c.columns != 1 || all[0].IsName != c.header {
			t.Errorf("%q: %d columns, header %v", c.doc, n, all[0].IsName)
		}
	}
}

// Long tables, where rows are skipped by words, hold the same cells as a full walk finds.
func TestSkip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 9))
	cells := []string{"a", "", `""`, `"x"`, `"a,""b"""`, "\"two\nlines\"", "\"\r\n\r\"", `""""`, `6" pipe`, `"ab"c`, "longer text than the others", `"longer ""text"", than the others, by far"`, "\u20ac"}
	for round := range uint64(40) {
		// The later kinds of cells, which are not by the rules, come in some of the rounds only.
		kinds := cells
		if round%2 == 0 {
			kinds = append(slices.Clone(cells[:8]), cells[10:]...)
		}
		ends := [][]string{{"\n"}, {"\r\n"}, {"\n", "\r\n", "\r"}}[round%3]
		var doc bytes.Buffer
		for range 400 {
			for c := range 1 + rnd.IntN(6) {
				if c > 0 {
					doc.WriteByte(',')
				}
				doc.WriteString(kinds[rnd.IntN(len(kinds))])
			}
			doc.WriteString(ends[rnd.IntN(len(ends))])
		}
		f := delimited.Format{Comma: ','}
		rows := table(t, f, doc.Bytes())
		var lines []int64 // in which the records begin
		at := int64(1)
		for _, r := range rows {
			lines = append(lines, at)
			at++
			for _, c := range r {
				at += format.LineEnds([]byte(c), len(c))
			}
		}
		for range 60 {
			row := 1 + rnd.IntN(len(rows))
			column := 1 + rnd.IntN(len(rows[row-1]))
			found, alternative := false, slices.Index(lines, int64(row))
			if alternative == row-1 || alternative >= 0 && len(rows[alternative]) < column {
				alternative = -1
			}
			err := f.Walk(context.Background(), nil, format.Source{Reader: iotest.HalfReader(bytes.NewReader(doc.Bytes()))},
				[]coffer.Location{{Kind: coffer.Cell, Row: int64(row), Column: int64(column)}},
				func(r *format.Region) ([]format.Edit, error) {
					if string(r.Text) != rows[r.At.Row-1][r.At.Column-1] || r.At.Column != int64(column) {
						t.Fatalf("round %d: R%dC%d has another text", round, r.At.Row, r.At.Column)
					}
					switch r.Places[0].Alt {
					case 0:
						found = r.At.Row == int64(row)
					case 1:
						if r.At.Row != int64(alternative)+1 {
							t.Fatalf("round %d: record %d is offered as line %d, record %d is expected", round, r.At.Row, row, alternative+1)
						}
						alternative = -1
					}
					return nil, nil
				})
			if err != nil || !found || alternative >= 0 {
				t.Fatalf("round %d: R%dC%d: found %v, missing record %d, %v", round, row, column, found, alternative+1, err)
			}
		}
	}
}
