package jsondoc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"coffer"
	"coffer/format"
	"coffer/format/formattest"
	"coffer/format/jsondoc"
)

func customers(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/customers-2026-07.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const pretty = `{
  "bank": "MoonTrust",
  "customers": [
    {"id": 1, "name": "Ada Example", "address": {"city": "Springfield", "zip": 12345}, "tags": ["a", "b"]},
    {"id": 2, "name": "Bo\tExample", "ssn": "900-12-3456", "ok": true, "none": null}
  ],
  "rows": [["x1", "y1"], ["x2", "y2"]],
  "total": -1.50E+2
}
`

func TestConformance(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 200<<10) // 3.2 MB
	escapes := strings.Repeat(`\u00e9\n`, 400<<10)
	formattest.Test(t, formattest.Harness{
		Format: jsondoc.Format{},
		Documents: []formattest.Document{
			{Name: "document", Bytes: []byte(pretty), Values: []string{"900-12-3456", "Ada Example", "12345", "MoonTrust", "-1.50E+2"}},
			{Name: "lines", Bytes: customers(t), Values: []string{"92144523025", "945-97-3479", "4000001155858871"}},
			{Name: "crlf", Bytes: []byte("{\"a\":\"900-12-3456\"}\r\n\r\n{\"a\":2}\r\n"), Values: []string{"900-12-3456"}},
			{Name: "mark", Bytes: []byte("\xef\xbb\xbf{\"a\":\"900-12-3456\"}\x00\x00\x00"), Values: []string{"900-12-3456"}},
			{Name: "values", Bytes: []byte(`{"a":"900-12-3456"}{"a":2}` + "\n" + `[3,"x"] "y" null`), Values: []string{"900-12-3456"}},
			{Name: "escapes", Bytes: []byte(`{"a\u0062\"":"x\ud834\udd1ey\/z\ud834 \udd1e\\","b":"\u0000\u001f\uD83D\uDE00"}`)},
			{Name: "duplicates", Bytes: []byte(`{"a":"900-12-3456","a":"900-12-3457","b":{"c":1,"c":{"c":2}}}`), Values: []string{"900-12-3456", "900-12-3457"}},
			{Name: "bytes", Bytes: []byte("{\"a\xff\":\"\xc3(\xed\xa0\x80 900-12-3456\"}"), Values: []string{"900-12-3456"}},
			{Name: "scalar", Bytes: []byte(" \"900-12-3456\" "), Values: []string{"900-12-3456"}},
			{Name: "empty"},
			{Name: "long string", Bytes: []byte(`{"before":1,"long":"` + long + `900-12-3456","after":"x"}`), Values: []string{"900-12-3456"}},
			{Name: "long escapes", Bytes: []byte(`["` + escapes + `900-12-3456"]`), Values: []string{"900-12-3456"}},
			{Name: "long name", Bytes: []byte(`{"` + long + `":{"a":"900-12-3456"}}` + "\n{}\n"), Values: []string{"900-12-3456"}},
			{Name: "long line", Bytes: []byte(`{"a":1}` + "\n" + `{"long":"` + long + `"}` + "\n" + `{"a":"900-12-3456"}`), Values: []string{"900-12-3456"}},
		},
		Endless: func() io.Reader {
			return formattest.Repeat("", `{"id":1234,"name":"Ada Example","cards":[{"number":"4000001155858871"}],"text":"a \"quoted\" word"}`+"\n")
		},
	})
}

func TestMemory(t *testing.T) {
	for name, r := range map[string]func() io.Reader{
		"document": func() io.Reader {
			return formattest.Repeat(`{"rows":[{}`, ",\n"+`{"id":1234,"name":"Ada Example","x":[1,2]}`)
		},
		"values":  func() io.Reader { return formattest.Repeat("", `{"id":1234,"name":"Ada Example"}`) },
		"string":  func() io.Reader { return formattest.Repeat(`{"a":"`, `word \u00e9 word \n`) },
		"name":    func() io.Reader { return formattest.Repeat(`{"`, `word `) },
		"line":    func() io.Reader { return formattest.Repeat("{}\n{}\n{},", `word `) },
		"space":   func() io.Reader { return formattest.Repeat(`[`, " \n") },
		"padding": func() io.Reader { return formattest.Repeat(`[]`, "\x00") },
		"blank":   func() io.Reader { return formattest.Repeat("{}\n{}", "\n") },
	} {
		t.Run(name, func(t *testing.T) {
			formattest.Test(t, formattest.Harness{Format: jsondoc.Format{}, Endless: r, EndlessSize: 24 << 20})
		})
	}
}

// at parses the text form of places.
func at(t testing.TB, places ...string) []coffer.Location {
	t.Helper()
	ls := make([]coffer.Location, len(places))
	for i, p := range places {
		l, err := coffer.ParseLocation(p)
		if err != nil {
			t.Fatal(err)
		}
		ls[i] = l
	}
	return ls
}

// render writes what a walk visits, one region a line. The documents of these tests are synthetic and small.
func render(t testing.TB, doc string, want []coffer.Location) string {
	t.Helper()
	seen, err := formattest.Collect(jsondoc.Format{}, []byte(doc), want, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range seen {
		kind := "="
		switch {
		case s.IsName:
			kind = "#"
		case !s.Whole:
			kind = "~"
		}
		fmt.Fprintf(&b, "%s %s %q", s.At, kind, s.Text)
		for _, p := range s.Places {
			fmt.Fprintf(&b, " %d/%d", p.Want, p.Alt)
			if p.Start != 0 || p.End != len(s.Text) {
				t.Errorf("place covers [%d,%d) of %d bytes", p.Start, p.End, len(s.Text))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestPlaces(t *testing.T) {
	for _, tt := range []struct {
		name, doc string
		want      []string
		visits    string
	}{
		{"document, other index", `{"a":1}`, []string{"record:1:$.a", "record:2:$.a"}, `
record:0:$.a = "1" 0/6000
`},
		{"object and array", `{"a":{"b":[1,{"c":2}],"d":3},"e":4}`, []string{"record:0:$.a.b", "record:0:$.a"}, `
record:0:$.a.b[0] = "1" 1/0 0/0
record:0:$.a.b[1].c = "2" 1/0 0/0
record:0:$.a.d = "3" 1/0
`},
		{"record", `{"a":{"b":1}}`, []string{"record:0:$"}, `
record:0:$ # "a" 0/0
record:0:$ # "b" 0/0
record:0:$.a.b = "1" 0/0
`},
		{"duplicate keys", `{"a":1,"b":2,"a":3}`, []string{"record:0:$.a"}, `
record:0:$.a = "1" 0/0
record:0:$.a = "3" 0/0
`},
		{"lines and blank lines", "{\"a\":1}\n\n{\"a\":2}\n \r\n{\"a\":3}\n", []string{"record:2:$.a"}, `
record:2:$.a = "2" 0/0
record:4:$.a = "3" 0/3000
`},
		{"lines, one too high", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", []string{"record:1:$.a", "record:3:$.a"}, `
record:0:$.a = "1" 0/6000
record:1:$.a = "2" 0/0
record:2:$.a = "3" 1/6000
`},
		{"blank lines, one too high", "\n\n{\"a\":1}\n{\"a\":2}\n", []string{"record:1:$.a"}, `
record:2:$.a = "1" 0/9000
record:3:$.a = "2" 0/3000
`},
		{"values without line breaks", `{"a":1}{"a":2}{"a":3}`, []string{"record:2:$.a"}, `
record:1:$.a = "2" 0/6000
record:2:$.a = "3" 0/0
`},
		{"values over several lines", "{\n\"a\":1\n}\n{\n\"a\":2\n}\n{\n\"a\":3\n}\n", []string{"record:1:$.a", "record:6:$.a"}, `
record:0:$.a = "1" 0/6000
record:1:$.a = "2" 0/0
record:2:$.a = "3" 1/3000
`},
		{"cut path", `{"x":{"a":{"b":1}},"a":{"b":2},"b":3,"y":[{"a":{"b":[4,5]}}]}`, []string{"record:0:$..a.b", "record:0:$..y[0].a.b", "record:0:$..['a'].b[1]"}, `
record:0:$.x.a.b = "1" 0/1000
record:0:$.y[0].a.b[0] = "4" 0/1001
record:0:$.y[0].a.b[1] = "5" 0/1001 2/1000
`},
		{"cut path inside what it matches", `{"x":{"a":{"a":{"a":1}}}}`, []string{"record:0:$..a"}, `
record:0:$.x.a.a.a = "1" 0/1000
`},
		{"odd names", `{"a.b":1,"it's":2,"a\\b":3,"":4,"[0]":5,"\u0001\n":6,"é":7,"say \"x\"":8,"7":{"b":9}}`,
			[]string{`record:0:$['a.b']`, `record:0:$['it''s']`, `record:0:$['it\'s']`, `record:0:$['it's']`, `record:0:$['a\b']`, `record:0:$['a\\b']`,
				`record:0:$['']`, `record:0:$['[0]']`, `record:0:$['\u0001\n']`, `record:0:$.é`, `record:0:$["say "x""]`, `record:0:$['7']b`}, `
record:0:$['a.b'] = "1" 0/0
record:0:$['it\'s'] = "2" 1/0 2/0 3/0
record:0:$['a\\b'] = "3" 4/1000 5/0
record:0:$[''] = "4" 6/0
record:0:$['[0]'] = "5" 7/0
record:0:$['\u0001\n'] = "6" 8/0
record:0:$['é'] = "7" 9/0
record:0:$['say "x"'] = "8" 10/0
record:0:$['7'].b = "9" 11/0
`},
		{"malformed line", "{\"a\":1}\n{\"a\":2,\"b\":tru,\"c\":3}\nhello 4\n{\"a\":5}}6\n{\"a\":7}", []string{"record:1:$.a", "record:1:$.c", "record:2:$.a", "record:3:$", "record:4:$.a"}, `
record:0:$.a = "1" 0/6000
record:1:$.a = "2" 0/0 2/6000
record:1:$ ~ "hello 4" 0/0
`},
		{"paths that are none", `{"a":1}`, []string{"record:0:$.", "record:0:$[", "record:0:$['a", "record:0:$[a]", "record:0:$..", "cell:R1C1"}, "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := "\n" + render(t, tt.doc, at(t, tt.want...)); got != tt.visits {
				t.Errorf("visited:%swant:%s", got, tt.visits)
			}
		})
	}
}

var _ = bytes.Equal
var _ = context.Background
var _ = json.Valid
var _ = errors.Is
var _ = slices.Sort[[]int]
var _ = iotest.ErrReader
var _ = format.MaxWindow
