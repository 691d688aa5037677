package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coffer"
	"coffer/format"
	"coffer/format/archive"
	"coffer/format/formattest"
	"coffer/format/text"
)

// choose knows archives by their names and takes everything else for text, except names that end in ".bin".
func choose(name string, _ []byte) format.Format {
	switch {
	case strings.HasSuffix(name, ".gz"):
		return archive.Gzip{Name: name, Choose: choose}
	case strings.HasSuffix(name, ".zip"):
		return archive.Zip{Choose: choose}
	case strings.HasSuffix(name, ".tar"):
		return archive.Tar{Choose: choose}
	case strings.HasSuffix(name, ".bin"):
		return nil
	}
	return text.Format{}
}

// file is a member to write.
type file struct {
	name string
	body []byte
}

const value = "synthetic-value-4711"

func sample(n int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 7))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "line %d of nothing, %016x\n", rnd.IntN(1000), rnd.Uint64())
		if rnd.IntN(20) == 0 {
			fmt.Fprintf(&b, "here stands %s indeed\r\n", value)
		}
	}
	fmt.Fprintf(&b, "at the end %s", value)
	return b.Bytes()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func gz(bodies ...[]byte) []byte {
	var b bytes.Buffer
	for i, body := range bodies {
		w := must(gzip.NewWriterLevel(&b, 1+i%9))
		w.Name, w.Comment, w.Extra, w.OS = "inner.txt", "a comment", []byte("xy\x02\x00ab"), 3
		w.ModTime = time.Unix(1_700_000_000, 0)
		must(w.Write(body))
		if err := w.Close(); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// bareGz is without a name.
func bareGz(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	must(w.Write(body))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func zipOf(files ...file) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: time.Unix(1_700_000_000, 0), Comment: "about " + f.name}
		if i%3 == 2 {
			h.Method = zip.Store
		}
		if i%2 == 0 {
			must(must(w.CreateHeader(h)).Write(f.body))
			continue
		}
		// Without a data descriptor.
		raw := rawZip(h.Method, f.body)
		h.CRC32, h.CompressedSize64, h.UncompressedSize64 = raw.CRC32, raw.CompressedSize64, raw.UncompressedSize64
		must(must(w.CreateRaw(h)).Write(must(io.ReadAll(must(raw.OpenRaw())))))
	}
	if err := errors.Join(w.SetComment("the archive's comment"), w.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func rawZip(method uint16, body []byte) *zip.File {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	must(must(w.CreateHeader(&zip.FileHeader{Name: "x", Method: method})).Write(body))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return must(zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))).File[0]
}

func tarOf(f tar.Format, files ...file) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f2 := range files {
		h := &tar.Header{Name: f2.name, Size: int64(len(f2.body)), Mode: 0o640, ModTime: time.Unix(1_700_000_000, 0), Format: f, Uname: "nobody"}
		if f == tar.FormatPAX {
			h.PAXRecords = map[string]string{"COFFER.test": "kept"}
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		must(w.Write(f2.body))
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return append(b.Bytes(), make([]byte, 10240-b.Len()%10240)...)
}

// members reads an archive with the standard library.
func members(kind string, doc []byte) ([]formattest.Member, error) {
	type one struct {
		name string
		body []byte
	}
	var all []one
	switch {
	case strings.HasSuffix(kind, ".gz"):
		br := bufio.NewReader(bytes.NewReader(doc))
		r, err := gzip.NewReader(br)
		if err != nil {
			return nil, err
		}
		name := r.Name
		var body []byte
		for {
			r.Multistream(false)
			b, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			body = append(body, b...)
			if c, err := br.Peek(1); err != nil || c[0] == 0 { // the standard library refuses padding
				break
			}
			if err := r.Reset(br); err != nil {
				return nil, err
			}
		}
		if name == "" {
			name = strings.TrimSuffix(kind, ".gz")
		}
		switch choose(name, nil).(type) {
		case archive.Gzip, archive.Zip, archive.Tar:
			return members(name, body)
		}
		all = append(all, one{name, body})
	case strings.HasSuffix(kind, ".zip"):
		r, err := zip.NewReader(bytes.NewReader(doc), int64(len(doc)))
		if err != nil {
			return nil, err
		}
		for _, f := range r.File {
			rc, err := f.Open()
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(rc)
			if err != nil {
				return nil, err
			}
			all = append(all, one{f.Name, b})
		}
	case strings.HasSuffix(kind, ".tar"):
		r := tar.NewReader(bytes.NewReader(doc))
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			all = append(all, one{h.Name, b})
		}
	}
	var out []formattest.Member
	for _, m := range all {
		path := coffer.MemberPath(m.name)
		switch choose(m.name, nil).(type) {
		case archive.Gzip, archive.Zip, archive.Tar:
			inner, err := members(m.name, m.body)
			if err != nil {
				return nil, err
			}
			for _, i := range inner {
				out = append(out, formattest.Member{Path: path + "!" + i.Path, Bytes: i.Bytes})
			}
			continue
		}
		out = append(out, formattest.Member{Path: path, Bytes: m.body})
	}
	return out, nil
}

func documents() map[string][]formattest.Document {
	a, b, c := sample(1000, 1), sample(5000, 2), sample(9000, 3)
	large := sample(300_000, 4) // more than one chunk is read ahead
	files := []file{{"a.txt", a}, {"dir/b with space.txt", b}, {"empty.txt", nil}, {"c:!%.txt", c}, {"picture.bin", []byte{0, 1, 2}}}
	long := append([]file{{strings.Repeat("long/", 40) + "name.txt", a}}, files...)
	nested := []file{
		{"in.zip", zipOf(files...)}, {"in.tar", tarOf(tar.FormatPAX, long...)}, {"b.txt.gz", bareGz(b)},
		{"t.tar.gz", bareGz(tarOf(tar.FormatGNU, files...))}, {"deep.zip", zipOf(file{"x.zip", zipOf(file{"y.tar", tarOf(tar.FormatUSTAR, files...)})})},
	}
	padded := append(gz(a, b), make([]byte, 777)...)
	v := []string{value}
	return map[string][]formattest.Document{
		"x.gz": {
			{Name: "small", Bytes: gz(a), Values: v}, {Name: "large", Bytes: gz(large), Values: v}, {Name: "streams", Bytes: gz(a, nil, b, nil, nil, a, a), Values: v},
			{Name: "empty first", Bytes: gz(nil, nil, a), Values: v}, {Name: "padded", Bytes: padded, Values: v}, {Name: "empty", Bytes: gz(nil)},
		},
		"x.zip": {{Name: "files", Bytes: zipOf(files...), Values: v}, {Name: "none", Bytes: zipOf()}, {Name: "large", Bytes: zipOf(file{"l.txt", large}, file{"a.txt", a}), Values: v}, {Name: "nested", Bytes: zipOf(nested...), Values: v}},
		"x.tar": {{Name: "pax", Bytes: tarOf(tar.FormatPAX, long...), Values: v}, {Name: "gnu", Bytes: tarOf(tar.FormatGNU, long...), Values: v}, {Name: "ustar", Bytes: tarOf(tar.FormatUSTAR, files...), Values: v}, {Name: "large", Bytes: tarOf(tar.FormatPAX, file{"l.txt", large}, file{"a.txt", a}), Values: v},
			{Name: "nested", Bytes: tarOf(tar.FormatPAX, nested...), Values: v}},
		"x.tar.gz": {{Name: "plain", Bytes: bareGz(tarOf(tar.FormatPAX, long...)), Values: v}, {Name: "nested", Bytes: bareGz(tarOf(tar.FormatPAX, nested...)), Values: v}},
	}
}

func TestConformance(t *testing.T) {
	for kind, docs := range documents() {
		t.Run(kind, func(t *testing.T) {
			h := formattest.Harness{
				Format: choose(kind, nil), Documents: docs,
				Members: func(doc []byte) ([]formattest.Member, error) { return members(kind, doc) },
			}
			formattest.Test(t, h)
		})
	}
}

// TestEndless holds the walks to their memory where a member does not end, the rewrite's spool included.
func TestEndless(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a lot")
	}
	block := sample(1<<20, 9)
	lines := func() io.Reader { return &forever{block: block} }
	tarHead := func() []byte {
		var b bytes.Buffer
		_ = tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "a.txt", Size: 1 << 40, Format: tar.FormatGNU})
		return b.Bytes()
	}()
	streams := gz(block)
	for kind, endless := range map[string]func() io.Reader{
		"x.gz":  func() io.Reader { return &forever{block: streams} },
		"x.tar": func() io.Reader { return io.MultiReader(bytes.NewReader(tarHead), lines()) },
	} {
		t.Run(kind, func(t *testing.T) {
			formattest.Test(t, formattest.Harness{Format: choose(kind, nil), Endless: endless, EndlessSize: 24 << 20})
		})
	}
}

type forever struct{ block, rest []byte }

func (f *forever) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		f.rest = f.block
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// mask edits the value wherever it stands.
func mask(r *format.Region) ([]format.Edit, error) {
	var es []format.Edit
	for pos := 0; ; {
		i := bytes.Index(r.Text[pos:], []byte(value))
		if i < 0 {
			return es, nil
		}
		es = append(es, format.Edit{Start: pos + i, End: pos + i + len(value), New: []byte("***")})
		pos += i + len(value)
	}
}

func none(*format.Region) ([]format.Edit, error) { return nil, nil }

func source(doc []byte, at bool) format.Source {
	s := format.Source{Reader: bytes.NewReader(doc), Size: int64(len(doc))}
	if at {
		s.At = bytes.NewReader(doc)
	}
	return s
}

func walk(f format.Format, doc []byte, at bool, visit format.Visitor) ([]byte, error) {
	var out bytes.Buffer
	err := f.Walk(context.Background(), &out, source(doc, at), nil, visit)
	return out.Bytes(), err
}

// TestAccess compares sources with and without random access: the same output.
func TestAccess(t *testing.T) {
	for kind, docs := range documents() {
		for _, d := range docs {
			f := choose(kind, nil)
			for _, visit := range []format.Visitor{none, mask} {
				a, err := walk(f, d.Bytes, true, visit)
				b, err2 := walk(f, d.Bytes, false, visit)
				if err != nil || err2 != nil || !bytes.Equal(a, b) {
					t.Errorf("%s %s: with random access %v (%d bytes), without %v (%d bytes)", kind, d.Name, err, len(a), err2, len(b))
				}
				if bytes.Equal(a, d.Bytes) != (len(d.Values) == 0 || fmt.Sprintf("%p", visit) == fmt.Sprintf("%p", none)) {
					t.Errorf("%s %s: changed without an edit, or not with one", kind, d.Name)
				}
			}
		}
	}
}

// TestTruncated cuts archives at every byte: an error, or the same regions as the whole.
func TestTruncated(t *testing.T) {
	small := sample(300, 5)
	files := []file{{"a.txt", small}, {"b.txt", small[:50]}}
	for kind, doc := range map[string][]byte{
		"x.gz": gz(small, small), "x.zip": zipOf(files...), "x.tar": tarOf(tar.FormatUSTAR, files...)[:3100],
		"y.tar.gz": bareGz(tarOf(tar.FormatUSTAR, files...)[:4096]),
	} {
		whole, err := formattest.Collect(choose(kind, nil), doc, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		cutStream := len(gz(small)) // between two streams is an end like any other
		for n := range doc {
			for _, at := range []bool{true, false} {
				for _, dst := range []io.Writer{nil, io.Discard} {
					var seen int
					err := choose(kind, nil).Walk(context.Background(), dst, source(doc[:n], at), nil, func(r *format.Region) ([]format.Edit, error) {
						seen += r.Commit - r.Lead
						return nil, nil
					})
					total := 0
					for _, s := range whole {
						total += s.Commit - s.Lead
					}
					switch {
					case err == nil && seen != total && !(kind == "x.gz" && n == cutStream):
						t.Fatalf("%s cut at byte %d: %d bytes of text instead of %d, and no error", kind, n, seen, total)
					case err != nil && !errors.Is(err, coffer.ErrInvalid):
						t.Fatalf("%s cut at byte %d: %v", kind, n, err)
					}
				}
			}
		}
	}
}

// TestFlipped flips bits: checksums of gzip and zip see every change of the contents.
func TestFlipped(t *testing.T) {
	small := sample(300, 5)
	for kind, doc := range map[string][]byte{"x.gz": bareGz(small), "x.zip": zipOf(file{"a.txt", small})} {
		for i := range doc {
			bad := bytes.Clone(doc)
			bad[i] ^= 0x10
			var text []byte
			err := choose(kind, nil).Walk(context.Background(), nil, source(bad, true), nil, func(r *format.Region) ([]format.Edit, error) {
				text = append(text, r.Text[r.Lead:r.Commit]...)
				return nil, nil
			})
			if err == nil && len(text) > 0 && !bytes.Equal(text, small) {
				t.Fatalf("%s: flipped bit in byte %d of %d goes unseen", kind, i, len(doc))
			}
			if err != nil && !errors.Is(err, coffer.ErrInvalid) && !errors.Is(err, coffer.ErrUnsupported) {
				t.Fatalf("%s: byte %d: %v", kind, i, err)
			}
		}
	}
}

// TestPython lets another implementation read what we write.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	script := `
import sys, io, zipfile, tarfile, gzip, hashlib
def show(kind, data):
    if kind.endswith(".gz"):
        body = gzip.decompress(data)
        if kind.endswith(".tar.gz"): return show("x.tar", body)
        print(hashlib.sha256(body).hexdigest())
    elif kind.endswith(".zip"):
        z = zipfile.ZipFile(io.BytesIO(data))
        assert z.testzip() is None
        for i in z.infolist(): print(i.filename, i.date_time, i.comment, i.external_attr, hashlib.sha256(z.read(i)).hexdigest())
        print(z.comment)
    else:
        for m in tarfile.open(fileobj=io.BytesIO(data)):
            print(m.name, m.mode, m.mtime, m.uname, sorted(m.pax_headers.items()), m.size, hashlib.sha256(tarfile.open(fileobj=io.BytesIO(data)).extractfile(m).read()).hexdigest())
show(sys.argv[1], sys.stdin.buffer.read())
`
	show := func(kind string, doc []byte) string {
		cmd := exec.Command(python, "-c", script, kind)
		cmd.Stdin = bytes.NewReader(doc)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", kind, err, out)
		}
		return string(out)
	}
	masked := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(value), []byte("***")) }
	files := []file{{"a.txt", sample(3000, 1)}, {"b.txt", sample(20_000, 2)}, {"c.txt", sample(500, 3)}, {"d.bin", sample(500, 4)}, {"plain.txt", []byte("nothing")}}
	after := append([]file(nil), files...)
	for i := range after {
		if !strings.HasSuffix(after[i].name, ".bin") {
			after[i].body = masked(after[i].body)
		}
	}
	for kind, make := range map[string]func([]file) []byte{
		"x.zip":    func(f []file) []byte { return zipOf(f...) },
		"x.tar":    func(f []file) []byte { return tarOf(tar.FormatPAX, f...) },
		"x.tar.gz": func(f []file) []byte { return bareGz(tarOf(tar.FormatGNU, f...)) },
		"x.gz":     func(f []file) []byte { return gz(f[0].body, f[1].body) },
	} {
		out, err := walk(choose(kind, nil), make(files), true, mask)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if got, want := show(kind, out), show(kind, make(after)); got != want {
			t.Errorf("%s: rewritten archive reads as\n%swant\n%s", kind, got, want)
		}
	}
}

// TestUntouched checks that what has no edit keeps its very bytes.
func TestUntouched(t *testing.T) {
	quiet := bytes.ReplaceAll(sample(5000, 1), []byte(value), nil)
	loud := sample(5000, 2)
	t.Run("zip", func(t *testing.T) {
		doc := zipOf(file{"q1.txt", quiet}, file{"loud.txt", loud}, file{"q2.txt", quiet}, file{"q3.bin", loud})
		out, err := walk(archive.Zip{Choose: choose}, doc, true, mask)
		if err != nil {
			t.Fatal(err)
		}
		before, after := must(zip.NewReader(bytes.NewReader(doc), int64(len(doc)))), must(zip.NewReader(bytes.NewReader(out), int64(len(out))))
		for i, f := range before.File {
			a, b := must(io.ReadAll(must(f.OpenRaw()))), must(io.ReadAll(must(after.File[i].OpenRaw())))
			if bytes.Equal(a, b) == (f.Name == "loud.txt") {
				t.Errorf("member %d: equal compressed bytes: %v", i, f.Name != "loud.txt")
			}
			g := after.File[i]
			if f.Name != g.Name || f.Comment != g.Comment || !bytes.Equal(f.Extra, g.Extra) || !f.Modified.Equal(g.Modified) || f.Flags != g.Flags || f.Method != g.Method {
				t.Errorf("member %d: header changed", i)
			}
		}
	})
	t.Run("gzip streams", func(t *testing.T) {
		q1, q2, l := gz(quiet), gz(quiet[:100]), gz(loud)
		doc := bytes.Join([][]byte{q1, l, q2, l, q1}, nil)
		out, err := walk(archive.Gzip{Choose: choose}, doc, true, mask)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(out, q1) || !bytes.HasSuffix(out, q1) || !bytes.Contains(out, q2) {
			t.Error("a stream without an edit was compressed anew")
		}
		if n := bytes.Count(out, []byte("inner.txt\x00a comment\x00")); n != 5 {
			t.Errorf("%d of 5 headers kept", n)
		}
	})
	t.Run("front and back", func(t *testing.T) {
		doc := append([]byte("#!/bin/sh\nexit\n"), zipOf(file{"a.txt", loud}, file{"b.txt", loud})...)
		out, err := walk(archive.Zip{Choose: choose}, doc, false, mask)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(out, []byte("#!/bin/sh\nexit\n")) {
			t.Error("what stands in front of the archive is gone")
		}
		for _, f := range must(zip.NewReader(bytes.NewReader(out), int64(len(out)))).File {
			if b := must(io.ReadAll(must(f.Open()))); bytes.Contains(b, []byte(value)) {
				t.Error("value still there")
			}
		}
	})
}

// TestStreams edits at random in a gzip file of many small streams: the contents are as asked, edits may cross streams, and
// every stream that no edit touches is there as it was.
func TestStreams(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var doc, body []byte
		var streams [][]byte
		var ends []int
		for range rapid.IntRange(1, 12).Draw(t, "streams") {
			part := []byte(rapid.StringMatching(`[a-d]{0,30}`).Draw(t, "part"))
			s := gz(part)
			streams, doc, body = append(streams, s), append(doc, s...), append(body, part...)
			ends = append(ends, len(body))
		}
		var edits []format.Edit
		var want []byte
		pos := 0
		for range rapid.IntRange(0, 4).Draw(t, "edits") {
			start := rapid.IntRange(pos, len(body)).Draw(t, "start")
			end := rapid.IntRange(start, min(len(body), start+70)).Draw(t, "end")
			if start == end && start == pos && len(edits) > 0 {
				continue
			}
			text := []byte(rapid.StringMatching(`[x-z]{0,9}`).Draw(t, "new"))
			edits = append(edits, format.Edit{Start: start, End: end, New: text})
			want = append(append(want, body[pos:start]...), text...)
			pos = end
		}
		want = append(want, body[pos:]...)
		out, err := walk(archive.Gzip{Choose: choose}, doc, rapid.Bool().Draw(t, "at"), func(*format.Region) ([]format.Edit, error) { return edits, nil })
		if err != nil {
			t.Fatal(err)
		}
		if len(body) == 0 {
			edits, want = nil, nil // a text without bytes has no region
		}
		r, err := gzip.NewReader(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes instead of %d: %v", len(got), len(want), err)
		}
		rest := out
		begin := 0
		for i, s := range streams {
			touched := false
			for _, e := range edits {
				touched = touched || e.Start <= ends[i] && e.End >= begin
			}
			begin = ends[i]
			if touched {
				continue
			}
			at := bytes.Index(rest, s)
			if at < 0 {
				t.Fatalf("stream %d of %d is not there as it was", i, len(streams))
			}
			rest = rest[at+len(s):]
		}
	})
}

// TestSourceIsLeftAlone: what reads ahead has stopped when a walk returns, early or not.
func TestSourceIsLeftAlone(t *testing.T) {
	doc := bareGz(sample(3<<20, 1))
	enough := errors.New("enough")
	for range 20 {
		r := &owned{r: bytes.NewReader(doc)}
		err := archive.Gzip{Choose: choose}.Walk(context.Background(), nil, format.Source{Reader: r, Size: -1}, nil, func(*format.Region) ([]format.Edit, error) { return nil, enough })
		if err != enough {
			t.Fatal(err)
		}
		r.mu.Lock()
		r.over = true
		r.mu.Unlock()
		for range 100 {
			runtime.Gosched()
		}
		r.mu.Lock()
		if r.late {
			t.Fatal("source is read after the walk")
		}
		r.mu.Unlock()
	}
}

// owned notices reads after its owner took it back.
type owned struct {
	mu         sync.Mutex
	r          io.Reader
	over, late bool
}

func (o *owned) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.late = o.late || o.over
	return o.r.Read(p[:min(len(p), 512)])
}
