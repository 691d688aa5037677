// Package formattest is the conformance suite of package format: the laws that every text-like format keeps, as a test
// ([Test]) and as a function that a fuzz target calls for one document ([Laws]). Its failures name documents, offsets and
// lengths, never content.
package formattest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"coffer"
	"coffer/format"
)

// Harness says what to test.
type Harness struct {
	Format    format.Format
	Documents []Document
	// Members returns the documents inside an archive, as the spans of the format name them; nil for a plain document. It
	// reads the archive with other code than the format's.
	Members func(doc []byte) ([]Member, error)
	// Endless returns a document without end that has regions, for the test of bounded memory; nil where there is none.
	Endless func() io.Reader
	// EndlessSize is how many bytes of it are read, fewer under the race detector; 0: 128 MiB.
	EndlessSize int64
}

// Document is a synthetic document. Values stand in it, each as it appears in the text of a region, and nowhere in a form that
// the format does not show.
type Document struct {
	Name   string
	Bytes  []byte
	Values []string
}

// Member is a file in an archive. Path is encoded as in coffer.Location.Member.
type Member struct {
	Path  string
	Bytes []byte
}

// Seen is one region window of a walk, copied.
type Seen struct {
	At, Group    coffer.Location
	Name, Text   []byte
	IsName       bool
	Whole, Last  bool
	Off          int64
	Lead, Commit int
	Places       []format.Place
	Fine         coffer.Location // Locate of the whole text
	Spans        []format.Span   // of the edits, when a function for them was given
	CanSplice    bool
}

// Collect walks doc without writing and returns what was visited. edits, when not nil, gives the edits whose spans are kept.
func Collect(f format.Format, doc []byte, want []coffer.Location, edits func(*format.Region) []format.Edit) ([]Seen, error) {
	return collect(f, nil, bytes.NewReader(doc), int64(len(doc)), want, edits)
}

func collect(f format.Format, dst io.Writer, src io.Reader, size int64, want []coffer.Location, edits func(*format.Region) []format.Edit) ([]Seen, error) {
	var all []Seen
	err := f.Walk(context.Background(), dst, format.Source{Reader: src, Size: size}, want, func(r *format.Region) ([]format.Edit, error) {
		s := Seen{
			At: r.At, Group: r.Group, IsName: r.IsName, Whole: r.Whole, Last: r.Last, Off: r.Off, Lead: r.Lead, Commit: r.Commit,
			Name: bytes.Clone(r.Name), Text: bytes.Clone(r.Text), Places: append([]format.Place(nil), r.Places...),
			CanSplice: r.Splice != nil,
		}
		if r.Locate == nil {
			return nil, errors.New("region without Locate")
		}
		s.Fine = r.Locate(0, len(r.Text))
		var es []format.Edit
		if edits != nil {
			es = edits(r)
			if r.Splice != nil {
				spans, err := r.Splice(es)
				if err != nil {
					return nil, err
				}
				for _, sp := range spans {
					sp.New = bytes.Clone(sp.New)
					s.Spans = append(s.Spans, sp)
				}
			}
		}
		all = append(all, s)
		return es, nil
	})
	return all, err
}

// Test runs every law on every document of the harness.
func Test(t *testing.T, h Harness) {
	for _, d := range h.Documents {
		t.Run(d.Name, func(t *testing.T) {
			seeds := uint64(8)
			if len(d.Bytes) > 256<<10 {
				seeds = 2
			}
			for seed := range seeds {
				Laws(t, h, d.Bytes, seed)
			}
			t.Run("readers", func(t *testing.T) { readers(t, h, d.Bytes) })
			t.Run("values", func(t *testing.T) { values(t, h, d) })
			t.Run("borders", func(t *testing.T) { borders(t, h, d.Bytes) })
			t.Run("errors", func(t *testing.T) { failures(t, h, d.Bytes) })
		})
	}
	if h.Endless != nil {
		t.Run("memory", func(t *testing.T) { memory(t, h) })
	}
}

// Laws checks on one document, which may be hostile, what holds for every format:
//
//   - a walk without edits copies byte for byte,
//   - walks with and without a destination visit the same regions,
//   - the windows of a region join to its text, and Off, Lead and Commit cover each byte once,
//   - the spans of [format.Region.Splice] are what a walk writes, and bytes outside them stay,
//   - a second walk over the rewritten document reads the new text,
//   - a walk for wanted places visits them, and only them.
//
// A document that the format refuses must be refused with a sentinel of package coffer, by all walks alike.
func Laws(t testing.TB, h Harness, doc []byte, seed uint64) {
	t.Helper()
	plain, err := Collect(h.Format, doc, nil, nil)
	var out bytes.Buffer
	again, err2 := collect(h.Format, &out, bytes.NewReader(doc), int64(len(doc)), nil, nil)
	if (err == nil) != (err2 == nil) {
		t.Fatalf("walk without destination: %v; with: %v", err, err2)
	}
	if err != nil {
		refused(t, err)
		return
	}
	if i := differ(out.Bytes(), doc); i >= 0 {
		t.Fatalf("walk without edits: output (%d bytes) differs from the document (%d bytes) at byte %d", out.Len(), len(doc), i)
	}
	same(t, "walk with a destination", plain, again)
	windows(t, plain)
	rewrite(t, h, doc, plain, seed)
	wanted(t, h, doc, plain, seed)
}

func refused(t testing.TB, err error) {
	t.Helper()
	for _, s := range []error{coffer.ErrInvalid, coffer.ErrLimit, coffer.ErrUnsupported} {
		if errors.Is(err, s) {
			return
		}
	}
	t.Fatalf("document refused without a sentinel: %v", err)
}

func differ(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func same(t testing.TB, what string, a, b []Seen) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%s: %d windows, before %d", what, len(b), len(a))
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.At != y.At || x.Group != y.Group || !bytes.Equal(x.Name, y.Name) || !bytes.Equal(x.Text, y.Text) ||
			x.IsName != y.IsName || x.Whole != y.Whole || x.Last != y.Last || x.Off != y.Off || x.Lead != y.Lead ||
			x.Commit != y.Commit || len(x.Places) != len(y.Places) || x.Fine != y.Fine || x.CanSplice != y.CanSplice {
			t.Fatalf("%s: window %d is different (text of %d and %d bytes)", what, i, len(x.Text), len(y.Text))
		}
	}
}

// windows checks the arithmetic of the windows and that Group members follow each other, but for groups inside the group.
func windows(t testing.TB, all []Seen) {
	t.Helper()
	fresh := true
	var end int64 // up to which the region's text was committed
	var text []byte
	var prev Seen
	var open []coffer.Location // groups, each inside the one before
	closed := map[coffer.Location]bool{}
	for i, s := range all {
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("window %d of %d: %s", i, len(all), fmt.Sprintf(format, args...))
		}
		if len(s.Text) > format.MaxWindow {
			fail("text of %d bytes is over MaxWindow", len(s.Text))
		}
		if s.Lead < 0 || s.Lead > s.Commit || s.Commit > len(s.Text) {
			fail("Lead %d, Commit %d, text of %d bytes", s.Lead, s.Commit, len(s.Text))
		}
		if fresh {
			if s.Off != 0 || s.Lead != 0 {
				fail("a region begins with Off %d, Lead %d", s.Off, s.Lead)
			}
			end, text = 0, text[:0]
		} else {
			if s.Off <= prev.Off && len(s.Text) > 0 {
				fail("Off %d does not grow", s.Off)
			}
			over := int(prev.Off + int64(len(prev.Text)) - s.Off)
			if over < 0 || over > len(prev.Text) {
				fail("gap of %d bytes between windows", -over)
			}
			if !bytes.HasPrefix(s.Text, prev.Text[len(prev.Text)-over:]) && over <= len(s.Text) {
				fail("the text offered again is different")
			}
			if len(prev.Text)-prev.Commit > over {
				fail("bytes from Commit on are not offered again")
			}
			if s.Group != prev.Group || s.IsName != prev.IsName || s.Whole != prev.Whole || !bytes.Equal(s.Name, prev.Name) {
				fail("another region follows before Last")
			}
		}
		if s.Off+int64(s.Lead) != end {
			fail("commits from %d on, the window before up to %d", s.Off+int64(s.Lead), end)
		}
		text = append(text, s.Text[s.Lead:s.Commit]...)
		end = s.Off + int64(s.Commit)
		if s.Last && s.Commit != len(s.Text) {
			fail("the last window commits %d of %d bytes", s.Commit, len(s.Text))
		}
		if !s.Last && len(s.Text)-s.Commit < format.Overlap {
			fail("only %d bytes after Commit", len(s.Text)-s.Commit)
		}
		if utf8.Valid(text) && !utf8.Valid(s.Text) && s.Last {
			fail("text cut inside a character")
		}
		if s.Whole && (s.Fine.Kind != s.At.Kind || s.At.Kind == coffer.NoPlace) {
			fail("a cell or scalar whose At and Locate are of different kinds")
		}
		if parsed, err := coffer.ParseLocation(s.Fine.String()); err != nil || parsed != s.Fine {
			fail("Locate gives a place that does not parse back")
		}
		for _, p := range s.Places {
			if p.Start < 0 || p.End < p.Start || p.End > len(s.Text) {
				fail("place [%d,%d) leaves the text", p.Start, p.End)
			}
		}
		for len(open) > 0 && open[len(open)-1] != s.Group && !inside(s.Group, open[len(open)-1]) {
			closed[open[len(open)-1]] = true
			open = open[:len(open)-1]
		}
		if s.Group != (coffer.Location{}) && (len(open) == 0 || open[len(open)-1] != s.Group) {
			if closed[s.Group] {
				fail("group %v comes a second time", s.Group.Kind)
			}
			open = append(open, s.Group)
		}
		fresh, prev = s.Last, s
	}
	if !fresh {
		t.Fatalf("the last region has no window with Last")
	}
}

// inside reports whether the group a is an object or array inside that of the group b.
func inside(a, b coffer.Location) bool {
	return a.Kind == coffer.Record && b.Kind == coffer.Record && a.Member == b.Member && a.Index == b.Index &&
		strings.HasPrefix(a.Path, b.Path)
}

// joined is a region with all its windows.
type joined struct {
	at    coffer.Location
	whole bool
	text  []byte
}

func join(all []Seen) []joined {
	var regions []joined
	fresh := true
	for _, s := range all {
		if fresh {
			regions = append(regions, joined{at: s.At, whole: s.Whole})
		}
		r := &regions[len(regions)-1]
		r.text = append(r.text, s.Text[s.Lead:s.Commit]...)
		fresh = s.Last
	}
	return regions
}

var replacements = [][]byte{
	[]byte(""), []byte("x"), []byte("[redacted]"), []byte(`"`), []byte(`a"b`), []byte("p,q;r\ts|t"), []byte("u\nv"), []byte("w\r\ny"),
	[]byte("\u20ac \U0001d11e \u00e9"), []byte(`back\slash\n`), []byte("</a>&amp;"), []byte("0"), []byte("****-1234"),
}

// edit returns a function that chooses edits by the seed and what it was asked before, the same each time it is made.
func edit(seed uint64) func(*format.Region) []format.Edit {
	rnd := rand.New(rand.NewPCG(seed, 1))
	return func(r *format.Region) []format.Edit {
		var es []format.Edit
		if rnd.IntN(3) == 0 {
			return nil
		}
		limit := r.Commit
		pos := r.Lead
		for range 1 + rnd.IntN(4) {
			if pos > limit || pos == limit && !r.Last {
				break
			}
			start := format.RuneCut(r.Text, pos+rnd.IntN(limit-pos+1))
			if start < pos {
				start = pos
			}
			if start == limit && !r.Last {
				break
			}
			end := format.RuneCut(r.Text, min(len(r.Text), start+rnd.IntN(1+min(24, limit-start))))
			if rnd.IntN(8) == 0 {
				start, end = pos, limit
			}
			if end < start {
				end = start
			}
			es = append(es, format.Edit{Start: start, End: end, New: replacements[rnd.IntN(len(replacements))]})
			pos = end
			if end == start {
				pos = after(r.Text, end)
			}
		}
		return es
	}
}

// after returns the offset behind the character at i.
func after(text []byte, i int) int {
	for i++; i < len(text) && !utf8.RuneStart(text[i]); i++ {
	}
	return i
}

func apply(doc []byte, spans []format.Span, path string) ([]byte, error) {
	var out []byte
	pos := int64(0)
	for _, s := range spans {
		if s.Member != path {
			continue
		}
		if s.Start < pos || s.End < s.Start || s.End > int64(len(doc)) {
			return nil, fmt.Errorf("span [%d,%d) after byte %d of %d", s.Start, s.End, pos, len(doc))
		}
		out = append(append(out, doc[pos:s.Start]...), s.New...)
		pos = s.End
	}
	return append(out, doc[pos:]...), nil
}

func (h Harness) members(t testing.TB, doc []byte) []Member {
	t.Helper()
	if h.Members == nil {
		return []Member{{Bytes: doc}}
	}
	ms, err := h.Members(doc)
	if err != nil {
		t.Fatalf("cannot list the members: %v", err)
	}
	return ms
}

func rewrite(t testing.TB, h Harness, doc []byte, plain []Seen, seed uint64) {
	t.Helper()
	found, err := Collect(h.Format, doc, nil, edit(seed))
	var out bytes.Buffer
	_, err2 := collect(h.Format, &out, bytes.NewReader(doc), int64(len(doc)), nil, edit(seed))
	if (err == nil) != (err2 == nil) {
		t.Fatalf("seed %d: spans: %v; rewrite: %v", seed, err, err2)
	}
	if err != nil {
		if !errors.Is(err, coffer.ErrUnsupported) {
			t.Fatalf("seed %d: edits refused: %v", seed, err)
		}
		return
	}
	var spans []format.Span
	for _, s := range found {
		if !s.CanSplice {
			return
		}
		spans = append(spans, s.Spans...)
	}
	before, after := h.members(t, doc), h.members(t, out.Bytes())
	if len(before) != len(after) {
		t.Fatalf("seed %d: %d members became %d", seed, len(before), len(after))
	}
	for i, m := range before {
		if after[i].Path != m.Path {
			t.Fatalf("seed %d: member %d has another name", seed, i)
		}
		expect, err := apply(m.Bytes, spans, m.Path)
		if err != nil {
			t.Fatalf("seed %d: member %d: %v", seed, i, err)
		}
		if at := differ(after[i].Bytes, expect); at >= 0 {
			t.Fatalf("seed %d: member %d: rewritten (%d bytes) and spliced (%d bytes) differ at byte %d", seed, i, len(after[i].Bytes), len(expect), at)
		}
	}
	if h.Members == nil {
		var spliced bytes.Buffer
		err := format.Splice(context.Background(), &spliced, format.Source{Reader: bytes.NewReader(doc), Size: int64(len(doc))}, spans)
		if err != nil {
			t.Fatalf("seed %d: Splice: %v", seed, err)
		}
		if at := differ(spliced.Bytes(), out.Bytes()); at >= 0 {
			t.Fatalf("seed %d: Splice and Walk differ at byte %d", seed, at)
		}
	}

	// Reading back: what the edits ask for, region by region.
	next := edit(seed)
	var expect []joined
	fresh := true
	for _, s := range plain {
		es := next(&format.Region{Text: s.Text, Lead: s.Lead, Commit: s.Commit, Last: s.Last})
		if fresh {
			expect = append(expect, joined{at: s.At, whole: s.Whole})
		}
		r := &expect[len(expect)-1]
		pos := s.Lead
		for _, e := range es {
			r.text = append(append(r.text, s.Text[pos:e.Start]...), e.New...)
			pos = e.End
		}
		if pos < s.Commit {
			r.text = append(r.text, s.Text[pos:s.Commit]...)
		}
		fresh = s.Last
	}
	read, err := Collect(h.Format, out.Bytes(), nil, nil)
	if err != nil {
		t.Fatalf("seed %d: the rewritten document is refused: %v", seed, err)
	}
	got := join(read)
	var a, b []byte
	for i, r := range expect {
		if !r.whole {
			a = append(a, r.text...)
			continue
		}
		if i >= len(got) || got[i].at.Kind != r.at.Kind {
			t.Fatalf("seed %d: region %d of %d is gone", seed, i, len(expect))
		}
		if at := differ(got[i].text, r.text); at >= 0 {
			t.Fatalf("seed %d: region %d reads back %d bytes, %d were asked for; first difference at %d", seed, i, len(got[i].text), len(r.text), at)
		}
	}
	for _, r := range got {
		if !r.whole {
			b = append(b, r.text...)
		}
	}
	if at := differ(a, b); at >= 0 {
		t.Fatalf("seed %d: text reads back %d bytes, %d were asked for; first difference at %d", seed, len(b), len(a), at)
	}
}

// wanted asks for places that the full walk names and compares what the walk for them visits.
func wanted(t testing.TB, h Harness, doc []byte, plain []Seen, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 2))
	type hit struct {
		at   coffer.Location
		span format.Span
		seen Seen
	}
	var hits []hit
	i := 0
	_, err := Collect(h.Format, doc, nil, func(r *format.Region) []format.Edit {
		s := plain[i]
		i++
		if !s.Last || s.Off != 0 || len(r.Text) == 0 || s.IsName || len(plain) > 40 && rnd.IntN(len(plain)) > 40 {
			return nil
		}
		n := 1
		if !s.Whole {
			n = 8
		}
		for range n {
			a := format.RuneCut(r.Text, rnd.IntN(len(r.Text)))
			b := after(r.Text, a)
			if s.Whole {
				a, b = 0, len(r.Text)
			}
			if c := r.Text[a]; !s.Whole && (c == '\n' || c == '\r') {
				continue
			}
			at := r.Locate(a, b)
			if r.Splice == nil {
				continue
			}
			spans, err := r.Splice([]format.Edit{{Start: a, End: b}})
			if err != nil || len(spans) == 0 {
				continue
			}
			hits = append(hits, hit{at, format.Span{Member: spans[0].Member, Start: spans[0].Start, End: spans[len(spans)-1].End}, s})
		}
		return nil
	})
	if err != nil {
		t.Fatalf("full walk: %v", err)
	}
	if len(hits) == 0 {
		return
	}
	rnd.Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
	want := make([]coffer.Location, len(hits))
	for i, x := range hits {
		want[i] = x.at
	}
	met := make([]bool, len(hits))
	visit := func(r *format.Region) ([]format.Edit, error) {
		if len(r.Places) == 0 {
			return nil, errors.New("a region without a wanted place is visited")
		}
		for _, p := range r.Places {
			if p.Want < 0 || p.Want >= len(hits) {
				return nil, errors.New("Place.Want names no wanted location")
			}
			if p.Alt != 0 {
				continue
			}
			x := hits[p.Want]
			if x.seen.Whole {
				met[p.Want] = met[p.Want] || r.At == x.seen.At && bytes.Equal(r.Text, x.seen.Text) && bytes.Equal(r.Name, x.seen.Name)
				continue
			}
			spans, err := r.Splice([]format.Edit{{Start: p.Start, End: p.End}})
			if err != nil {
				return nil, err
			}
			if len(spans) == 0 || p.End == p.Start {
				continue
			}
			if s := spans[0]; s.Member == x.span.Member && s.Start <= x.span.Start && x.span.End <= spans[len(spans)-1].End {
				met[p.Want] = true
			}
		}
		return nil, nil
	}
	var out bytes.Buffer
	for _, dst := range []io.Writer{nil, &out} {
		clear(met)
		if err := h.Format.Walk(context.Background(), dst, format.Source{Reader: bytes.NewReader(doc), Size: int64(len(doc))}, want, visit); err != nil {
			t.Fatalf("walk for wanted places: %v", err)
		}
		for i, m := range met {
			if !m {
				t.Fatalf("seed %d: wanted place %d of %d (kind %d) is not visited", seed, i, len(met), want[i].Kind)
			}
		}
	}
	if at := differ(out.Bytes(), doc); at >= 0 {
		t.Fatalf("walk for wanted places without edits: output differs at byte %d", at)
	}
	// Nothing wanted that exists: nothing visited.
	err = h.Format.Walk(context.Background(), nil, format.Source{Reader: bytes.NewReader(doc), Size: int64(len(doc))}, []coffer.Location{},
		func(*format.Region) ([]format.Edit, error) { return nil, errors.New("visited") })
	if err != nil {
		t.Fatalf("walk that wants nothing: %v", err)
	}
}

func readers(t *testing.T, h Harness, doc []byte) {
	base, err := Collect(h.Format, doc, nil, nil)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	wrap := map[string]func(io.Reader) io.Reader{
		"half": iotest.HalfReader, "data with error": iotest.DataErrReader,
	}
	if len(doc) < 64<<10 {
		wrap["one byte"] = iotest.OneByteReader
	}
	for name, w := range wrap {
		for _, size := range []int64{-1, int64(len(doc))} {
			var out bytes.Buffer
			got, err := collect(h.Format, &out, w(bytes.NewReader(doc)), size, nil, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			same(t, name, base, got)
			if at := differ(out.Bytes(), doc); at >= 0 {
				t.Fatalf("%s: output differs at byte %d", name, at)
			}
		}
	}
}

// values replaces each value wherever it stands and looks for it afterwards.
func values(t *testing.T, h Harness, d Document) {
	for n, v := range d.Values {
		value := []byte(v)
		replaced := 0
		var out bytes.Buffer
		err := h.Format.Walk(context.Background(), &out, format.Source{Reader: bytes.NewReader(d.Bytes), Size: int64(len(d.Bytes))}, nil,
			func(r *format.Region) ([]format.Edit, error) {
				var es []format.Edit
				for pos := 0; ; {
					i := bytes.Index(r.Text[pos:], value)
					if i < 0 {
						return es, nil
					}
					start := pos + i
					pos = start + len(value)
					if start >= r.Lead && start < r.Commit {
						replaced++
						es = append(es, format.Edit{Start: start, End: pos, New: []byte("***")})
					}
				}
			})
		if err != nil {
			t.Fatalf("value %d: %v", n, err)
		}
		if replaced == 0 {
			t.Fatalf("value %d is nowhere in the regions", n)
		}
		for i, m := range h.members(t, out.Bytes()) {
			if at := bytes.Index(m.Bytes, value); at >= 0 {
				t.Fatalf("value %d still stands in member %d at byte %d", n, i, at)
			}
		}
		all, err := Collect(h.Format, out.Bytes(), nil, nil)
		if err != nil {
			t.Fatalf("value %d: the rewritten document is refused: %v", n, err)
		}
		for i, s := range all {
			if bytes.Contains(s.Text, value) {
				t.Fatalf("value %d still stands in region %d", n, i)
			}
		}
	}
}

// borders replaces, in every window that is not its region's last, a stretch that runs over Commit, and in every other a stretch
// that begins inside the one before: the first wins, for spans and rewrite alike.
func borders(t *testing.T, h Harness, doc []byte) {
	edits := func(r *format.Region) []format.Edit {
		var es []format.Edit
		pos := 0
		at := func(i, j int) {
			i, j = format.RuneCut(r.Text, i), format.RuneCut(r.Text, j)
			if pos <= i && i < j {
				es = append(es, format.Edit{Start: i, End: j, New: []byte("~")})
				pos = j
			}
		}
		if r.Off > 0 && len(r.Text) > r.Lead+300 {
			at(r.Lead+50, r.Lead+60)
			at(r.Lead+200, r.Lead+210)
		}
		if !r.Last {
			at(r.Commit-10, r.Commit+100)
		}
		return es
	}
	all, err := Collect(h.Format, doc, nil, edits)
	if err != nil {
		t.Fatalf("spans: %v", err)
	}
	var spans []format.Span
	several := false
	for _, s := range all {
		if !s.CanSplice {
			return
		}
		spans = append(spans, s.Spans...)
		several = several || !s.Last
	}
	if !several {
		return
	}
	var out bytes.Buffer
	if _, err := collect(h.Format, &out, bytes.NewReader(doc), int64(len(doc)), nil, edits); err != nil {
		t.Fatalf("rewrite: %v", err)
	}
	before, after := h.members(t, doc), h.members(t, out.Bytes())
	for i, m := range before {
		expect, err := apply(m.Bytes, spans, m.Path)
		if err != nil {
			t.Fatalf("member %d: %v", i, err)
		}
		if at := differ(after[i].Bytes, expect); at >= 0 {
			t.Fatalf("member %d: rewritten (%d bytes) and spliced (%d bytes) differ at byte %d", i, len(after[i].Bytes), len(expect), at)
		}
	}
}

var errTest = errors.New("an error of the test")

// failing passes n bytes on and then fails.
type failing struct {
	n   int
	err error
}

func (f *failing) Write(b []byte) (int, error) {
	if len(b) > f.n {
		n := f.n
		f.n = 0
		return n, f.err
	}
	f.n -= len(b)
	return len(b), nil
}

func failures(t *testing.T, h Harness, doc []byte) {
	nothing := func(*format.Region) ([]format.Edit, error) { return nil, nil }
	source := func(r io.Reader) format.Source { return format.Source{Reader: r, Size: -1} }
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Format.Walk(ctx, nil, source(bytes.NewReader(doc)), nil, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	for _, cut := range []int{0, len(doc) / 2, len(doc)} {
		broken := io.MultiReader(bytes.NewReader(doc[:cut]), iotest.ErrReader(errTest))
		for _, dst := range []io.Writer{nil, io.Discard} {
			if err := h.Format.Walk(context.Background(), dst, source(broken), nil, nothing); !errors.Is(err, errTest) && !errors.Is(err, coffer.ErrInvalid) {
				t.Errorf("reader fails after %d bytes: %v", cut, err)
			}
			broken = io.MultiReader(bytes.NewReader(doc[:cut]), iotest.ErrReader(errTest))
		}
		if cut < len(doc) {
			if err := h.Format.Walk(context.Background(), &failing{cut, errTest}, source(bytes.NewReader(doc)), nil, nothing); !errors.Is(err, errTest) {
				t.Errorf("writer fails after %d bytes: %v", cut, err)
			}
		}
	}
	visits := 0
	if err := h.Format.Walk(context.Background(), nil, source(bytes.NewReader(doc)), nil, func(*format.Region) ([]format.Edit, error) {
		visits++
		return nil, errTest
	}); visits > 1 || visits == 1 && !errors.Is(err, errTest) {
		t.Errorf("visitor fails: %v after %d visits", err, visits)
	}
	if visits == 0 {
		return
	}
	for _, bad := range [][]format.Edit{{{Start: 1, End: 0}}, {{Start: -1, End: 0}}, {{Start: 0, End: 1 << 30}}, {{Start: 0, End: 0}, {Start: -1, End: 0}}} {
		err := h.Format.Walk(context.Background(), io.Discard, source(bytes.NewReader(doc)), nil, func(*format.Region) ([]format.Edit, error) { return bad, nil })
		if !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("malformed edits: %v", err)
		}
	}
}

// metered measures, every so many bytes, what lives on the heap.
type metered struct {
	r          io.Reader
	left, next int64
	base, peak uint64
	err        error
}

func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (m *metered) Read(b []byte) (int, error) {
	if m.left <= 0 {
		return 0, m.err
	}
	n, err := m.r.Read(b[:min(int64(len(b)), m.left)])
	m.left -= int64(n)
	m.next -= int64(n)
	if m.next <= 0 {
		m.next = 8 << 20
		m.peak = max(m.peak, live())
	}
	return n, err
}

// maxLive is the most that a walk may hold: a quarter of the 64 MiB that the whole program may take.
const maxLive = 24 << 20

func memory(t *testing.T, h Harness) {
	size := h.EndlessSize
	if size == 0 {
		size = 128 << 20
	}
	size /= scale
	for _, dst := range []io.Writer{nil, io.Discard} {
		m := &metered{r: h.Endless(), left: size, next: 8 << 20, err: io.EOF, base: live()}
		err := h.Format.Walk(context.Background(), dst, format.Source{Reader: m, Size: -1}, nil,
			func(*format.Region) ([]format.Edit, error) { return nil, nil })
		if err != nil {
			refused(t, err) // it was cut off
		}
		if m.left > 0 && !errors.Is(err, coffer.ErrLimit) {
			t.Errorf("stopped with %d bytes unread: %v", m.left, err)
		}
		if m.peak > m.base+maxLive {
			t.Errorf("%d bytes live, at most %d wanted", m.peak-m.base, maxLive)
		}
	}
	// Cancellation in the middle.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m := &metered{r: h.Endless(), left: size, next: size + 1, err: io.EOF}
	stop := &onRead{m, func() {
		if m.left < size/2 {
			cancel()
		}
	}}
	err := h.Format.Walk(ctx, io.Discard, format.Source{Reader: stop, Size: -1}, nil, func(*format.Region) ([]format.Edit, error) { return nil, nil })
	if !errors.Is(err, context.Canceled) || m.left < size/2-16<<20 {
		t.Errorf("cancelled in the middle: %v, %d of %d bytes unread", err, m.left, size)
	}
}

type onRead struct {
	r io.Reader
	f func()
}

func (o *onRead) Read(b []byte) (int, error) {
	o.f()
	return o.r.Read(b)
}

// Repeat returns a reader without end: head, then unit again and again.
func Repeat(head, unit string) io.Reader {
	return io.MultiReader(bytes.NewReader([]byte(head)), &repeat{unit: []byte(unit)})
}

type repeat struct {
	unit []byte
	pos  int
}

func (r *repeat) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m := copy(b[n:], r.unit[r.pos:])
		n += m
		r.pos = (r.pos + m) % len(r.unit)
	}
	return n, nil
}
