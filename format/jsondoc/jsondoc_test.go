package jsondoc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

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
	long := strings.Repeat("0123456789abcdef", 70<<10) // more than a window
	longer := strings.Repeat("0123456789abcdef", 140<<10)
	escapes := strings.Repeat(`\u00e9\n`, 140<<10)
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
			{Name: "long string", Bytes: []byte(`{"before":1,"long":"` + longer + `900-12-3456","after":"x"}`), Values: []string{"900-12-3456"}},
			{Name: "long escapes", Bytes: []byte(`["` + escapes + `900-12-3456"]`), Values: []string{"900-12-3456"}},
			{Name: "long name", Bytes: []byte(`{"` + long + `":{"a":"900-12-3456"}}` + "\n{}\n"), Values: []string{"900-12-3456"}},
			{Name: "long line", Bytes: []byte(`{"a":1}` + "\n" + `{"long":"` + long + `"}` + "\n" + `{"a":"900-12-3456"}`), Values: []string{"900-12-3456"}},
		},
		Endless: func() io.Reader {
			return formattest.Repeat("", `{"id":1234,"name":"Ada Example","cards":[{"number":"4000001155858871"}],"text":"a \"quoted\" word"}`+"\n")
		},
		EndlessSize: 4 << 20, // TestMemory measures more
	})
}

// heap counts the bytes read and measures what lives on the heap on the way.
type heap struct {
	r          io.Reader
	left, next int64
	peak       uint64
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (h *heap) Read(b []byte) (int, error) {
	if h.left <= 0 {
		return 0, io.EOF
	}
	n, err := h.r.Read(b[:min(int64(len(b)), h.left)])
	h.left -= int64(n)
	if h.next -= int64(n); h.next <= 0 {
		h.next = 2 << 20
		h.peak = max(h.peak, live())
	}
	return n, err
}

// TestMemory: whatever is endless in a document, a walk holds a few windows of it.
func TestMemory(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"lines":    formattest.Repeat("", `{"id":1234,"name":"Ada Example","cards":[{"number":"4000001155858871"}]}`+"\n"),
		"document": formattest.Repeat(`{"rows":[{}`, ",\n"+`{"id":1234,"name":"Ada Example","x":[1,2]}`),
		"values":   formattest.Repeat("", `{"id":1234,"name":"Ada Example"}`),
		"string":   formattest.Repeat(`{"a":"`, `word \u00e9 word \n`),
		"name":     formattest.Repeat(`{"`, `word `),
		"line":     formattest.Repeat("{}\n{}\n{},", `word `),
		"number":   formattest.Repeat(`[`, `1`),
		"space":    formattest.Repeat(`[`, " \n"),
		"padding":  formattest.Repeat(`[]`, "\x00"),
		"blank":    formattest.Repeat("{}\n{}", "\n"),
		"depth":    formattest.Repeat("", "["),
	} {
		t.Run(name, func(t *testing.T) {
			for _, want := range [][]coffer.Location{nil, at(t, "record:1000000000:$.rows[1000000000].a")} {
				base := live()
				h := &heap{r: r, left: 6 << 20, next: 2 << 20}
				err := jsondoc.Format{}.Walk(t.Context(), io.Discard, format.Source{Reader: h, Size: -1}, want, nothing)
				if err != nil && !errors.Is(err, coffer.ErrInvalid) && !errors.Is(err, coffer.ErrLimit) {
					t.Error(err)
				}
				if h.left > 0 && !errors.Is(err, coffer.ErrLimit) {
					t.Errorf("%d bytes unread: %v", h.left, err)
				}
				if h.peak > base+5*format.MaxWindow {
					t.Errorf("%d bytes live", h.peak-base)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		doc  string
		kind error
		says string
	}{
		"broken off": {"{\n\"a\": [1,\n", coffer.ErrInvalid, "unexpected end at byte 11, line 3"},
		"word":       {"{\"a\":\n tru}", coffer.ErrInvalid, "no value at byte 7, line 2"},
		"comma":      {"[1,]", coffer.ErrInvalid, "no element after a comma at byte 3, line 1"},
		"escape":     {`["ab\x"]`, coffer.ErrInvalid, "unknown escape at byte 4, line 1"},
		"line break": {"{\"a\":\"x\ny\"}", coffer.ErrInvalid, "control character in a string at byte 7, line 1"},
		"no json":    {"hello", coffer.ErrInvalid, "no value at byte 0, line 1"},
		"depth":      {strings.Repeat("[", format.MaxDepth+1) + strings.Repeat("]", format.MaxDepth+1), coffer.ErrLimit, "nesting too deep at byte 256, line 1"},
		"number":     {"[" + strings.Repeat("1", format.MaxWindow+1) + "]", coffer.ErrLimit, "number too long at byte 1, line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := formattest.Collect(jsondoc.Format{}, []byte(tt.doc), nil, nil)
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %s", err, tt.says)
			}
		})
	}
	deepest := strings.Repeat("[", format.MaxDepth) + "1" + strings.Repeat("]", format.MaxDepth)
	for _, want := range [][]coffer.Location{nil, at(t, "record:0:$"), at(t, "record:0:$.a")} {
		if _, err := formattest.Collect(jsondoc.Format{}, []byte(deepest), want, nil); err != nil {
			t.Errorf("as deep as allowed: %v", err)
		}
	}
	// One line too deep spoils no other line, wanted or not.
	doc := "{\"a\":1}\n" + strings.Repeat("[", 300) + "\n{\"a\":2}\n"
	if got := render(t, doc, at(t, "record:1:$.a", "record:2:$.a")); !strings.HasSuffix(got, "record:2:$.a = \"2\" 1/0\n") || !strings.Contains(got, "0/2000") {
		t.Error("a line that is too deep spoils the next")
	}
}

// TestLines: for a file that it could not parse, Macie reports lines.
func TestLines(t *testing.T) {
	if got := render(t, pretty, at(t, "line:2-2:3")); !strings.Contains(got, "MoonTrust") || strings.Count(got, "\n") != 1 {
		t.Errorf("visited %s", got)
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
		{"malformed line", "{\"a\":1}\n{\"a\":2,\"b\":tru,\"c\":3}\nhello 4\r\n{\"a\":5}}6\n{\"a\":\"7\n{\"a\":8}",
			[]string{"record:1:$.a", "record:1:$.c", "record:2:$.a", "record:3:$", "record:4:$.a", "record:5:$.a"}, `
record:0:$.a = "1" 0/6000
record:1:$.a = "2" 0/0 2/6000
record:1:$.c = "3" 1/0
record:2:$ ~ "hello 4" 2/2000 3/6000
record:3:$ # "a" 3/0
record:3:$.a = "5" 3/0 4/6000
record:3:$ ~ "}6" 3/0 4/8000
record:4:$ ~ "\"7" 4/2000 5/8000
record:5:$.a = "8" 5/0
`},
		{"malformed last line", "{\"a\":1}\n{\"a\":2}\n{\"x\":0,\"b\":{\"a\":[1,2", []string{"record:2:$.c"}, `
record:2:$ ~ "{\"a\":[1,2" 0/2000
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

// TestExamples resolves the locations of a finding and of its discovery result.
func TestExamples(t *testing.T) {
	doc := customers(t)
	var records []map[string]any
	for _, line := range bytes.Split(bytes.TrimSpace(doc), []byte("\n")) {
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	type occurrence struct {
		JSONPath    string `json:"jsonPath"`
		RecordIndex any    `json:"recordIndex"`
	}
	type details struct {
		ClassificationDetails struct {
			Result struct {
				SensitiveData []struct {
					Detections []struct {
						Type        string
						Occurrences struct{ Records []occurrence }
					}
				}
			}
		}
	}
	for file, number := range map[string]int{"finding.json": 15, "result.jsonl": 112} {
		t.Run(file, func(t *testing.T) {
			b, err := os.ReadFile("testdata/" + file)
			if err != nil {
				t.Fatal(err)
			}
			var event struct {
				Detail details
				details
			}
			if err := json.Unmarshal(b, &event); err != nil {
				t.Fatal(err)
			}
			if event.Detail.ClassificationDetails.Result.SensitiveData != nil {
				event.details = event.Detail
			}
			var want []coffer.Location
			var values []string
			for _, s := range event.ClassificationDetails.Result.SensitiveData {
				for _, d := range s.Detections {
					for _, o := range d.Occurrences.Records {
						l := coffer.Location{Kind: coffer.Record, Path: o.JSONPath}
						fmt.Sscan(fmt.Sprint(o.RecordIndex), &l.Index)
						want = append(want, l)
						r := records[l.Index]
						switch d.Type {
						case "BANK_ACCOUNT_NUMBER":
							values = append(values, r["payout"].(map[string]any)["Bank Account"].(string))
						case "USA_SOCIAL_SECURITY_NUMBER":
							values = append(values, r["kyc"].(map[string]any)["ssn"].(string))
						case "CREDIT_CARD_NUMBER":
							var i int
							fmt.Sscanf(o.JSONPath, "$.cards[%d]", &i)
							values = append(values, r["cards"].([]any)[i].(map[string]any)["card number"].(string))
						}
					}
				}
			}
			if len(want) != number || len(values) != number {
				t.Fatalf("%d places, %d values", len(want), len(values))
			}
			met := make([]int, number)
			err = jsondoc.Format{}.Walk(context.Background(), nil, format.Source{Reader: bytes.NewReader(doc), Size: -1}, want, func(r *format.Region) ([]format.Edit, error) {
				for _, p := range r.Places {
					if p.Alt != 0 {
						continue
					}
					met[p.Want]++
					if string(r.Text) != values[p.Want] || r.At != want[p.Want] || r.Group.String() != fmt.Sprintf("record:%d:$", r.At.Index) {
						t.Errorf("place %d: another value, place or group", p.Want)
					}
				}
				return nil, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, n := range met {
				if n != 1 {
					t.Errorf("place %d visited %d times", i, n)
				}
			}
		})
	}
}

// TestGroups: what belongs together in a document, in lines, and what names it has.
func TestGroups(t *testing.T) {
	const doc = `{"bank":"M","customers":[{"name":"A","address":{"city":"S"},"tags":["a"]}],"rows":[["x"],[["y"]]]}`
	for _, tt := range []struct{ doc, groups string }{
		{doc, `
$.bank $ bank
$.customers[0].name $.customers[0] customers.name
$.customers[0].address.city $.customers[0].address customers.address.city
$.customers[0].tags[0] $.customers[0] customers.tags
$.rows[0][0] $.rows[0] rows
$.rows[1][0][0] $.rows[1][0] rows
`},
		{doc + "\n{}", `
$.bank $ bank
$.customers[0].name $ customers.name
$.customers[0].address.city $ customers.address.city
$.customers[0].tags[0] $ customers.tags
$.rows[0][0] $ rows
$.rows[1][0][0] $ rows
`},
	} {
		seen, err := formattest.Collect(jsondoc.Format{}, []byte(tt.doc), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := "\n"
		for _, s := range seen {
			if !s.IsName {
				got += fmt.Sprintln(s.At.Path, s.Group.Path, string(s.Name))
			}
		}
		if got != tt.groups {
			t.Errorf("got%swant%s", got, tt.groups)
		}
	}
}

// TestSplice: an edit changes nothing but what it says.
func TestSplice(t *testing.T) {
	for _, tt := range []struct{ doc, old, new, after string }{
		{`{"a":"x\/y \u00e9 900-12-3456 \u0022z"}`, "900-12-3456", `"*"`, `{"a":"x\/y \u00e9 \"*\" \u0022z"}`},
		{`{"a" : 9001 , "b":1.0e5}`, "9001", "*", `{"a" : "*" , "b":1.0e5}`},
		{`{"a":-1.50}`, "1.5", "", `{"a":"-0"}`},
		{`[true,null]`, "true", "a\nb\x00", `["a\nb\u0000",null]`},
		{`{"a\tname":1}`, "name", "n\\", `{"a\tn\\":1}`},
		{`["\ud834X\udd1e"]`, "X", "", "[\"\ufffd\\udd1e\"]"},
		{`["\\ud834X\udd1e"]`, "X", "", `["\\ud834\udd1e"]`},
		{`["a\u00e9b"]`, "\xa9b", "", "[\"a\xc3\"]"},
		{`["\ud834\udd1e"]`, "\x9d", "", "[\"\xf0\x84\x9e\"]"},
	} {
		var out bytes.Buffer
		err := jsondoc.Format{}.Walk(context.Background(), &out, format.Source{Reader: strings.NewReader(tt.doc), Size: -1}, nil, func(r *format.Region) ([]format.Edit, error) {
			if i := bytes.Index(r.Text, []byte(tt.old)); i >= 0 {
				return []format.Edit{{Start: i, End: i + len(tt.old), New: []byte(tt.new)}}, nil
			}
			return nil, nil
		})
		if err != nil || out.String() != tt.after {
			t.Errorf("%s: got %s, %v; want %s", tt.doc, &out, err, tt.after)
		}
	}
}
