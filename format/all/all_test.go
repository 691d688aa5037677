package all_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"coffer"
	"coffer/format"
	"coffer/format/all"
	"coffer/format/formattest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func gz(name string, body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = name
	must(w.Write(body))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

type file struct {
	name string
	body []byte
}

func zipOf(files ...file) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		must(must(w.Create(f.name)).Write(f.body))
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func tarOf(files ...file) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.body)), Mode: 0o600}); err != nil {
			panic(err)
		}
		must(w.Write(f.body))
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func wide(s string) []byte {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

var noise = func() []byte {
	b := make([]byte, 4000)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}()

func TestChoose(t *testing.T) {
	csv := []byte("a,b\n1,2\n")
	for _, tt := range []struct {
		name, contentType string
		head              []byte
		want              all.Kind
		unsupported       bool
	}{
		{"a.csv", "", csv, all.CSV, false},
		{"A.CSV", "application/octet-stream", csv, all.CSV, false},
		{"a", "text/csv; charset=utf-8", csv, all.CSV, false},
		{"a.json", "text/csv", []byte(`{"a":1}`), all.JSON, false}, // the extension before the content type
		{"a.tsv", "text/plain", []byte("a\tb\n"), all.TSV, false},
		{"a", "text/tab-separated-values", []byte("a\tb\n"), all.TSV, false},
		{"a", "application/vnd.api+json", []byte(`[1]`), all.JSON, false},
		{"a.jsonl", "", []byte("\xef\xbb\xbf{\"a\":1}\n"), all.JSON, false},
		{"a.json", "", []byte("this is no JSON"), all.Text, false},
		{"a.json", "", []byte("<html>"), all.Text, false},
		{"a.json", "", nil, all.JSON, false},
		{"a", "", []byte(`{"a":`), all.JSON, false},
		{"a", "", []byte(`[{"a":1},`), all.JSON, false},
		{"a", "", []byte("[2024-01-01 12:00] started"), all.Text, false},
		{"a", "", []byte("{braces} in a text"), all.Text, false},
		{"a", "", csv, all.Text, false},
		{"a.log", "", []byte("BM,GIF89a,PAR1"), all.Text, false},
		{"bm.csv", "", []byte("BM,GIF89a,PAR1\n"), all.CSV, false},
		{"par.csv", "", []byte("PAR1,x\n"), all.CSV, false},
		{"", "", nil, all.Text, false},
		{"latin1.txt", "", []byte("stra\xdfe \xe4\xf6\xfc\n"), all.Text, false},
		{"padded.csv", "", append(csv[:8:8], make([]byte, 4000)...), all.CSV, false},
		{"wide.csv", "", wide("a,b\r\n1,2\r\n"), all.CSV, false},
		{"wide", "", wide(`{"a": 1}`), all.JSON, false},
		{"wide without a mark", "", wide(`{"a": 1, "b": 2}`)[2:], all.JSON, false},
		{"a.csv", "text/csv", gz("", csv), all.GZip, false}, // the bytes before the name
		{"a.txt", "text/plain", zipOf(file{"a", csv}), all.Zip, false},
		{"a.zip", "application/zip", csv, all.Text, false},
		{"a.gz", "application/gzip", csv, all.Text, false},
		{"a.zip", "", zipOf(), all.Zip, false},
		{"sfx.zip", "", append([]byte("MZ\x00\x01\x02\x03"), zipOf(file{"a", csv})...), all.Zip, false},
		{"a.tar", "", tarOf(file{"a.csv", csv}), all.Tar, false},
		{"a.bak", "", tarOf(file{"a.csv", csv}), all.Tar, false},
		{"a.tar", "", make([]byte, 10240), all.Tar, false},
		{"a.dat", "", make([]byte, 10240), "binary", true},
		{"a.xlsx", "", zipOf(file{"[Content_Types].xml", csv}, file{"xl/workbook.xml", csv}), "xlsx", true},
		{"a.zip", "", zipOf(file{"[Content_Types].xml", csv}, file{"xl/workbook.xml", csv}), "xlsx", true},
		{"a", "", zipOf(file{"_rels/.rels", csv}, file{"word/document.xml", csv}), "docx", true},
		{"a.docx", "", zipOf(file{"x", csv}), "docx", true},
		{"a.xls", "", append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), noise...), "xls", true},
		{"a.doc", "", append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), noise...), "doc", true},
		{"a.pdf", "", []byte("%PDF-1.7\n"), "pdf", true},
		{"a.csv", "text/csv", append([]byte("PAR1"), noise...), "parquet", true},
		{"a", "", append([]byte("Obj\x01"), noise...), "avro", true},
		{"a", "", append([]byte("\x89PNG\r\n\x1a\n"), noise...), "image", true},
		{"a", "", append([]byte("\x28\xb5\x2f\xfd"), noise...), "zstd", true},
		{"a", "", append([]byte("BZh91AY&SY"), noise...), "bzip2", true},
		{"a", "", append([]byte("\xfd7zXZ\x00"), noise...), "xz", true},
		{"a", "", append([]byte("7z\xbc\xaf\x27\x1c"), noise...), "7z", true},
		{"a", "", append([]byte("Rar!\x1a\x07\x01\x00"), noise...), "rar", true},
		{"a.txt", "", []byte("-----BEGIN PGP MESSAGE-----\n"), "encrypted", true},
		{"a", "", []byte("age-encryption.org/v1\n"), "encrypted", true},
		{"a.csv", "text/csv", noise, "binary", true},
	} {
		f, kind, err := all.Choose(tt.name, tt.contentType, tt.head)
		if kind != tt.want || errors.Is(err, coffer.ErrUnsupported) != tt.unsupported || (f == nil) != tt.unsupported || (err == nil) == tt.unsupported {
			t.Errorf("%s (%s): %s, %v; want %s", tt.name, tt.contentType, kind, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), string(tt.want)) {
			t.Errorf("%s: error does not name the kind: %v", tt.name, err)
		}
	}
}

// TestPlacesDecide: the wanted places choose among the formats of a text.
func TestPlacesDecide(t *testing.T) {
	for _, tt := range []struct {
		name, doc string
		want      coffer.Location
		text      string
	}{
		{"a.txt", "a,b\nc,d\n", coffer.Location{Kind: coffer.Cell, Row: 2, Column: 2}, "d"},
		{"a.txt", "a\n{\"x\":\"y\"}", coffer.Location{Kind: coffer.Lines, Start: 1, End: 1}, "a"},
		{"a.log", "{\"x\":\"y\"}\n{\"x\":\"z\"}\n", coffer.Location{Kind: coffer.Record, Index: 1, Path: "$.x"}, "z"},
		{"a.csv", "a,b\nc,d\n", coffer.Location{Kind: coffer.Lines, Start: 2, End: 2}, "c,d"},
		{"a.json", `{"x":"y"}`, coffer.Location{Kind: coffer.Lines, Start: 1, End: 1}, `{"x":"y"}`},
		{"a.tsv", "a,b\tc\n", coffer.Location{Kind: coffer.Cell, Row: 1, Column: 1}, "a,b"},
	} {
		for _, in := range []string{"", "m.zip", "m.tar"} {
			doc, name, want := []byte(tt.doc), tt.name, tt.want
			switch in {
			case "m.zip":
				doc, name, want = zipOf(file{tt.name, doc}), in, tt.want.In(tt.name)
			case "m.tar":
				doc, name, want = tarOf(file{tt.name, doc}), in, tt.want.In(tt.name)
			}
			f, _, err := all.Choose(name, "", doc)
			if err != nil {
				t.Fatal(err)
			}
			seen, err := formattest.Collect(f, doc, []coffer.Location{want}, nil)
			if err != nil || len(seen) == 0 {
				t.Errorf("%s in %q: %d regions, %v", tt.name, in, len(seen), err)
				continue
			}
			var got []string
			for _, s := range seen {
				for _, p := range s.Places {
					if p.Alt == 0 {
						got = append(got, string(s.Text[p.Start:p.End]))
					}
				}
			}
			if len(got) != 1 || got[0] != tt.text {
				t.Errorf("%s in %q: %q", tt.name, in, got)
			}
		}
	}
}

const value = "synthetic-4711"

func documents() map[string][]byte {
	csv := []byte("name,number\n\"x, y\"," + value + "\nz,\"a \"\"" + value + "\"\" b\"\n")
	js := []byte("{\"a\":\"" + value + "\",\"b\":[1,\"" + value + "\"]}\n{\"a\":\"\"}\n")
	txt := []byte(strings.Repeat("some text\n", 1000) + "here " + value + " and\r\n")
	files := []file{{"a.csv", csv}, {"b.jsonl", js}, {"c.txt", txt}, {"d.bin", noise}, {"wide.csv", wide(string(csv))}, {"empty", nil}}
	return map[string][]byte{
		"a.csv": csv, "b.jsonl": js, "c.txt": txt, "wide.csv": wide(string(csv)),
		"a.csv.gz": gz("", csv), "named.gz": gz("inner.csv", csv), "x.zip": zipOf(files...), "x.tar": tarOf(files...),
		"x.tar.gz":  gz("", tarOf(files...)),
		"deep.zip":  zipOf(append(files, file{"x.tar.gz", gz("", tarOf(files...))}, file{"y.zip", zipOf(file{"z.csv.gz", gz("", csv)})})...),
		"twice.tar": tarOf(file{"a.csv", csv}, file{"a.csv", csv}, file{"a.csv#2", csv}),
	}
}

func mask(r *format.Region) ([]format.Edit, error) {
	var es []format.Edit
	for pos := 0; ; {
		i := bytes.Index(r.Text[pos:], []byte(value))
		if i < 0 {
			return es, nil
		}
		if start := pos + i; start >= r.Lead && start < r.Commit {
			es = append(es, format.Edit{Start: start, End: start + len(value), New: []byte(`**"*`)})
		}
		pos += i + len(value)
	}
}

func source(doc []byte, at bool) format.Source {
	s := format.Source{Reader: bytes.NewReader(doc), Size: int64(len(doc))}
	if at {
		s.At = bytes.NewReader(doc)
	}
	return s
}

// TestSplice: the second walk of a fix, which parses nothing, writes what one walk with the edits writes.
func TestSplice(t *testing.T) {
	for name, doc := range documents() {
		f, _, err := all.Choose(name, "", doc)
		if err != nil {
			t.Fatal(err)
		}
		var spans []format.Span
		err = f.Walk(context.Background(), nil, source(doc, true), nil, func(r *format.Region) ([]format.Edit, error) {
			es, _ := mask(r)
			if len(es) == 0 {
				return nil, nil
			}
			s, err := r.Splice(es)
			for _, s := range s {
				s.New = bytes.Clone(s.New)
				spans = append(spans, s)
			}
			return nil, err
		})
		if err != nil || len(spans) == 0 {
			t.Errorf("%s: %d spans, %v", name, len(spans), err)
			continue
		}
		for _, at := range []bool{true, false} {
			var walked, spliced bytes.Buffer
			if err := f.Walk(context.Background(), &walked, source(doc, at), nil, mask); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := all.Splice(context.Background(), name, &spliced, source(doc, at), spans); err != nil {
				t.Errorf("%s: splice: %v", name, err)
			}
			if !bytes.Equal(walked.Bytes(), spliced.Bytes()) {
				t.Errorf("%s: walk writes %d bytes, splice %d others", name, walked.Len(), spliced.Len())
			}
			left, err := formattest.Collect(f, spliced.Bytes(), nil, nil)
			if err != nil {
				t.Errorf("%s: result is refused: %v", name, err)
			}
			for _, s := range left {
				if bytes.Contains(s.Text, []byte(value)) {
					t.Errorf("%s: value is still there", name)
				}
			}
		}
		// Spans that are not of this document.
		for what, bad := range map[string][]format.Span{
			"elsewhere":  {{Member: "nowhere.txt", Start: 0, End: 1}},
			"mixed":      {{Start: 0, End: 1}, {Member: "a.csv", Start: 0, End: 1}},
			"overlap":    {{Member: spans[0].Member, Start: 0, End: 5}, {Member: spans[0].Member, Start: 3, End: 6}},
			"far beyond": {{Member: spans[0].Member, Start: 1 << 40, End: 1<<40 + 1}},
		} {
			err := all.Splice(context.Background(), name, io.Discard, source(doc, true), bad)
			if !errors.Is(err, coffer.ErrInvalid) && !errors.Is(err, coffer.ErrChanged) {
				t.Errorf("%s, spans %s: %v", name, what, err)
			}
		}
	}
}

// TestUnsupportedInside: a file that cannot be read hides nothing of the others, and wanting something in it is an error.
func TestUnsupportedInside(t *testing.T) {
	doc := documents()["x.zip"]
	f, _, _ := all.Choose("x.zip", "", doc)
	var members []string
	seen, err := formattest.Collect(f, doc, nil, nil)
	for _, s := range seen {
		if !slices.Contains(members, s.At.Member) {
			members = append(members, s.At.Member)
		}
	}
	if fmt.Sprint(members) != "[a.csv b.jsonl c.txt wide.csv]" || err != nil {
		t.Errorf("walked %v, %v", members, err)
	}
	want := []coffer.Location{{Member: "d.bin", Kind: coffer.Lines, Start: 1, End: 1}, {Member: "c.txt", Kind: coffer.Lines, Start: 1, End: 1}}
	seen, err = formattest.Collect(f, doc, want, nil)
	if !errors.Is(err, coffer.ErrUnsupported) || len(seen) != 1 {
		t.Errorf("%d regions, %v", len(seen), err)
	}
}

// FuzzChoose: whatever comes is refused by name or walked by the laws of formats.
func FuzzChoose(f *testing.F) {
	for name, doc := range documents() {
		if len(doc) < 3000 {
			f.Add(name, "", doc)
		}
	}
	f.Add("a", "text/csv", []byte("a,b"))
	f.Add("a.json", "application/json", []byte("nope"))
	f.Fuzz(func(t *testing.T, name, contentType string, doc []byte) {
		g, kind, err := all.Choose(name, contentType, doc[:min(len(doc), all.HeadSize)])
		if (g == nil) != (err != nil) || err != nil && (!errors.Is(err, coffer.ErrUnsupported) || kind == "") {
			t.Fatalf("kind %q: %v", kind, err)
		}
		if again, kind2, _ := all.Choose(name, contentType, doc[:min(len(doc), all.HeadSize)]); kind2 != kind || (again == nil) != (g == nil) {
			t.Fatal("chosen differently the second time")
		}
		if g == nil || len(doc) > 32<<10 {
			return
		}
		var spans []format.Span
		var walked bytes.Buffer
		err = g.Walk(context.Background(), &walked, source(doc, true), nil, func(r *format.Region) ([]format.Edit, error) {
			if r.Splice == nil || r.Commit == r.Lead || len(spans) > 100 {
				return nil, nil
			}
			edit := []format.Edit{{Start: r.Lead, End: r.Lead, New: []byte("1")}}
			s, err := r.Splice(edit)
			if err != nil {
				return nil, nil
			}
			for _, s := range s {
				s.New = bytes.Clone(s.New)
				spans = append(spans, s)
			}
			return edit, nil
		})
		if err != nil {
			return
		}
		var spliced bytes.Buffer
		if err := all.Splice(context.Background(), name, &spliced, source(doc, false), spans); err != nil {
			t.Fatalf("splice of %d spans: %v", len(spans), err)
		}
		if kind.Archive() {
			return // the walk may know less than the splice about where streams begin
		}
		if !bytes.Equal(walked.Bytes(), spliced.Bytes()) {
			t.Fatalf("walk writes %d bytes, splice %d others", walked.Len(), spliced.Len())
		}
	})
}
