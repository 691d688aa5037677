package format_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"pgregory.net/rapid"

	"coffer"
	"coffer/format"
)

// rangeCopier has the source itself.
type rangeCopier struct {
	bytes.Buffer
	source string
	ranges int
}

func (c *rangeCopier) CopyRange(start, end int64) error {
	if start >= end {
		return errors.New("empty range")
	}
	c.ranges++
	c.WriteString(c.source[start:end])
	return nil
}

func TestSplice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := rapid.StringN(0, 200, 400).Draw(t, "source")
		cuts := rapid.SliceOf(rapid.IntRange(0, len(source))).Draw(t, "cuts")
		var spans []format.Span
		var want strings.Builder
		pos := 0
		for i := 0; i+1 < len(cuts); i += 2 {
			from, to := min(cuts[i], cuts[i+1]), max(cuts[i], cuts[i+1])
			if from < pos {
				continue
			}
			n := rapid.StringN(0, 5, 20).Draw(t, "new")
			spans = append(spans, format.Span{Start: int64(from), End: int64(to), New: []byte(n)})
			want.WriteString(source[pos:from] + n)
			pos = to
		}
		want.WriteString(source[pos:])
		for name, r := range map[string]io.Reader{
			"plain": strings.NewReader(source), "one byte": iotest.OneByteReader(strings.NewReader(source)), "data with error": iotest.DataErrReader(strings.NewReader(source)),
		} {
			var out bytes.Buffer
			if err := format.Splice(context.Background(), &out, format.Source{Reader: r, Size: -1}, spans); err != nil || out.String() != want.String() {
				t.Fatalf("%s: %d bytes, %v; want %d", name, out.Len(), err, want.Len())
			}
		}
		c := &rangeCopier{source: source}
		if err := format.Splice(context.Background(), c, format.Source{Reader: iotest.ErrReader(errors.New("read")), Size: int64(len(source))}, spans); err != nil || c.String() != want.String() {
			t.Fatalf("ranges: %d bytes, %v; want %d", c.Len(), err, want.Len())
		}
	})
}

func TestSpliceRefuses(t *testing.T) {
	for name, spans := range map[string][]format.Span{
		"order":      {{Start: 4, End: 5}, {Start: 1, End: 2}},
		"overlap":    {{Start: 1, End: 3}, {Start: 2, End: 4}},
		"backwards":  {{Start: 3, End: 2}},
		"negative":   {{Start: -1, End: 2}},
		"beyond":     {{Start: 3, End: 8}},
		"far beyond": {{Start: 30, End: 31}},
		"member":     {{Member: "a", Start: 0, End: 1}},
	} {
		for _, size := range []int64{-1, 6} {
			err := format.Splice(context.Background(), io.Discard, format.Source{Reader: strings.NewReader("source"), Size: size}, spans)
			if !errors.Is(err, coffer.ErrInvalid) {
				t.Errorf("%s, size %d: %v", name, size, err)
			}
		}
	}
}

// Spans may be given out of order to a Tape, and end beyond what is advanced.
func TestTape(t *testing.T) {
	var out bytes.Buffer
	tape := format.NewTape(context.Background(), &out, iotest.OneByteReader(strings.NewReader("0123456789")))
	if err := tape.Fill(3); err != nil {
		t.Fatal(err)
	}
	if err := tape.Edit(format.Span{Start: 6, End: 8, New: []byte("B")}, format.Span{Start: 1, End: 5, New: []byte("A")}, format.Span{Start: 1, End: 1}); err == nil {
		t.Error("an insertion behind the beginning of a span is taken")
	}
	if tape.Free(format.Span{Start: 4, End: 6}) || tape.Free(format.Span{Start: 7, End: 9}) || !tape.Free(format.Span{Start: 5, End: 6}) {
		t.Error("Free is wrong")
	}
	if err := tape.Advance(2); err != nil {
		t.Fatal(err)
	}
	if tape.Free(format.Span{Start: 3, End: 3}) {
		t.Error("bytes that a passed span covers are free")
	}
	if err := tape.Advance(2); err == nil {
		t.Error("advance beyond the window")
	}
	if err := tape.Rest(); err != nil || out.String() != "0A5B89" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

func TestTapeEndsWithSilentReader(t *testing.T) {
	if err := format.NewTape(context.Background(), nil, silent{}).Fill(1); err != io.ErrNoProgress {
		t.Errorf("%v, want %v", err, io.ErrNoProgress)
	}
}

func TestColumns(t *testing.T) {
	for _, c := range []struct {
		line   string
		column int64
		want   []int
	}{
		{"abc", 0, []int{0}},
		{"abc", 1, []int{0}},
		{"abc", 3, []int{2}},
		{"abc", 4, []int{3}},
		{"abc", 5, nil},
		{"\u00e9bc", 3, []int{3, 2}},
		{"\U0001f600\u20acxyz", 3, []int{7, 4, 2}},
		{"\U0001f600abc", 2, []int{4, 1}},
		{"\xff\xfeab", 3, []int{2}},
	} {
		if got := format.Columns([]byte(c.line), c.column); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%q, column %d: %v, want %v", c.line, c.column, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.String().Draw(t, "line")
		column := rapid.IntRange(1, len(line)+2).Draw(t, "column")
		var want []int
		add := func(off int) {
			for _, w := range want {
				if w == off {
					return
				}
			}
			want = append(want, off)
		}
		if r := []rune(line); column-1 <= len(r) {
			add(len(string(r[:column-1])))
		}
		units := 0
		for i, r := range line + "x" {
			if units == column-1 {
				add(i)
			}
			units += utf16.RuneLen(r)
		}
		if column-1 <= len(line) {
			add(column - 1)
		}
		if got := format.Columns([]byte(line), int64(column)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("column %d of %d bytes: %v, want %v", column, len(line), got, want)
		}
	})
}

func TestTake(t *testing.T) {
	r := &format.Region{Text: []byte("0123456789"), Lead: 2, Commit: 6}
	edits := []format.Edit{{Start: 0, End: 2}, {Start: 2, End: 3}, {Start: 5, End: 8}, {Start: 8, End: 10}}
	if got, err := r.Take(edits); err != nil || len(got) != 2 || got[0].Start != 2 || got[1].Start != 5 {
		t.Errorf("%v, %v", got, err)
	}
	last := &format.Region{Text: []byte("01"), Commit: 2, Last: true}
	if got, err := last.Take([]format.Edit{{Start: 2, End: 2}}); err != nil || len(got) != 1 {
		t.Errorf("insertion at the end: %v, %v", got, err)
	}
	for _, bad := range [][]format.Edit{{{Start: 3, End: 2}}, {{Start: 0, End: 11}}, {{Start: 4, End: 6}, {Start: 5, End: 7}}, {{Start: -1, End: 0}}} {
		if _, err := r.Take(bad); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestRuneCut(t *testing.T) {
	const text = "a\u20ac\U0001f600\xed\xa0\x80\x80\x80\x80\x80\xe2\x82"
	for n, want := range []int{0, 1, 1, 1, 4, 4, 4, 4, 8, 8, 8, 11, 12, 13, 14, 15, 15, 15} {
		if got := format.RuneCut([]byte(text), n); got != want {
			t.Errorf("cut at %d: %d, want %d", n, got, want)
		}
	}
}

// TestTapeForgetsPassedEdits: a walk that only looks makes as many edits as one that writes, and holds none of them.
func TestTapeForgetsPassedEdits(t *testing.T) {
	const n = 200_000
	tape := format.NewTape(t.Context(), nil, strings.NewReader(strings.Repeat("x", n)))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range int64(n) {
		if err := tape.Fill(1); err != nil {
			t.Fatal(err)
		}
		if err := tape.Edit(format.Span{Start: i, End: i + 1, New: []byte("y")}); err != nil {
			t.Fatal(err)
		}
		if err := tape.Advance(1); err != nil {
			t.Fatal(err)
		}
	}
	if grown := int64(heap()) - int64(before); grown > 2<<20 {
		t.Errorf("holds %d bytes after %d edits", grown, n)
	}
	runtime.KeepAlive(tape)
	if tape.Free(format.Span{Start: n - 1, End: n}) {
		t.Error("a place that is passed is free")
	}
}
