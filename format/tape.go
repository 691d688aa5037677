package format

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sort"

	"coffer"
)

// Tape moves a document forward from a reader to a writer through a window, replacing the spans it is told to. It is what a
// text-like format is built on: the format looks at the window, edits, and advances; all bytes outside the edits pass
// unchanged. A walk that writes ends with [Tape.Rest]. A Tape is not safe for concurrent use.
type Tape struct {
	ctx   context.Context
	dst   io.Writer // nil: nothing is written
	out   *bufio.Writer
	src   io.Reader
	buf   []byte
	r, w  int   // buf[r:w] is the window
	base  int64 // source offset of buf[r]
	spans []Span
	skip  int64 // source bytes before this offset were replaced
	err   error // of src; io.EOF at the end
}

// The buffer starts small, because an archive has many small members, and doubles as long as the reader fills it.
const (
	leastBuffer = 16 << 10
	readAhead   = 256 << 10
	emptyReads  = 100 // in a row; then io.ErrNoProgress, as in package bufio
)

// NewTape returns a tape from src to dst; dst may be nil.
func NewTape(ctx context.Context, dst io.Writer, src io.Reader) *Tape {
	return &Tape{ctx: ctx, dst: dst, src: src}
}

// Window returns the bytes read and not yet passed. They are valid until the next Fill or Advance.
func (t *Tape) Window() []byte { return t.buf[t.r:t.w] }

// Base returns the source offset of the window's first byte.
func (t *Tape) Base() int64 { return t.base }

// EOF reports whether the window holds all that is left of the source.
func (t *Tape) EOF() bool { return t.err == io.EOF }

// Fill reads until the window holds at least n bytes, and usually more. Offsets in the window stay what they are. It returns
// io.EOF when the source ends before that, with what there is in the window; every other error is the source's or the
// context's. A source that ends in the middle of what it promised (io.ErrUnexpectedEOF) is an error, not an end.
func (t *Tape) Fill(n int) error {
	empty := 0
	for t.w-t.r < n {
		if t.err != nil {
			return t.err
		}
		if err := t.ctx.Err(); err != nil {
			return err
		}
		t.room(n)
		m, err := t.src.Read(t.buf[t.w:])
		if m < 0 || m > len(t.buf)-t.w {
			return fmt.Errorf("reader counts wrongly: %w", coffer.ErrInvalid)
		}
		t.w += m
		t.err = err
		if m > 0 {
			empty = 0
		} else if empty++; err == nil && empty >= emptyReads {
			return io.ErrNoProgress
		}
	}
	return nil
}

// room makes place for more bytes where there is little, on the way to a window of n.
func (t *Tape) room(n int) {
	size, used := len(t.buf), t.w-t.r
	if free := size - t.w; free > size/8 || free > 0 && used+free >= n {
		return
	}
	grown := size
	if used > size/2 || used == 0 && size < readAhead {
		grown = max(size, leastBuffer, min(2*size, max(n+n/4, readAhead)))
	}
	buf := t.buf
	if grown > size {
		buf = make([]byte, grown)
	}
	copy(buf, t.buf[t.r:t.w])
	t.buf, t.r, t.w = buf, 0, used
}

// Edit adds spans to apply: in any order, without overlap, beginning at or after Base. Of several spans that begin at one
// byte the one added first comes first.
func (t *Tape) Edit(spans ...Span) error {
	for _, s := range spans {
		i, free := t.place(s)
		if !free {
			return fmt.Errorf("edit at byte %d overlaps another or is out of order: %w", s.Start, coffer.ErrInvalid)
		}
		t.spans = append(t.spans, Span{})
		copy(t.spans[i+1:], t.spans[i:])
		t.spans[i] = s
	}
	return nil
}

// Free reports whether Edit would take s: it lies ahead and meets no other span.
func (t *Tape) Free(s Span) bool {
	_, free := t.place(s)
	return free
}

func (t *Tape) place(s Span) (int, bool) {
	if s.Start < max(t.base, t.skip) || s.End < s.Start {
		return 0, false
	}
	i := len(t.spans)
	if i > 0 && s.Start < t.spans[i-1].End {
		i = sort.Search(i, func(k int) bool { return t.spans[k].Start > s.Start })
	}
	return i, (i == 0 || t.spans[i-1].End <= s.Start) && (i == len(t.spans) || s.End <= t.spans[i].Start)
}

// Advance passes n bytes of the window on to dst with the edits applied. A span that begins in them may end beyond them: its
// remaining bytes are dropped when they pass.
func (t *Tape) Advance(n int) error {
	if n < 0 || n > t.w-t.r {
		return fmt.Errorf("advance beyond the window: %w", coffer.ErrInvalid)
	}
	end := t.base + int64(n)
	defer func() { t.r += n; t.base = end }()
	if t.dst == nil {
		// Passed edits would otherwise pile up, as many as the document has values.
		for len(t.spans) > 0 && t.spans[0].Start < end {
			t.skip = max(t.skip, t.spans[0].End)
			t.spans = t.spans[1:]
		}
		return nil
	}
	pos := t.base
	put := func(to int64) error { // copies the source bytes [pos,to)
		if from := max(pos, t.skip); from < to {
			if err := t.write(t.buf[t.r+int(from-t.base) : t.r+int(to-t.base)]); err != nil {
				return err
			}
		}
		pos = max(pos, to)
		return nil
	}
	for len(t.spans) > 0 && t.spans[0].Start < end {
		s := t.spans[0]
		t.spans = t.spans[1:]
		if err := put(s.Start); err != nil {
			return err
		}
		if t.out == nil {
			// Many small pieces may follow now.
			t.out = bufio.NewWriterSize(t.dst, 32<<10)
		}
		if err := t.write(s.New); err != nil {
			return err
		}
		t.skip = max(t.skip, s.End)
		pos = min(max(pos, s.End), end)
	}
	return put(end)
}

func (t *Tape) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	w := t.dst
	if t.out != nil {
		w = t.out
	}
	n, err := w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// Rest passes everything that is left. A span beyond the end of the source is an error that wraps coffer.ErrInvalid: the
// source is not the one that the span was made for.
func (t *Tape) Rest() error {
	for {
		if err := t.Advance(t.w - t.r); err != nil {
			return err
		}
		err := t.Fill(1)
		if err == nil {
			continue
		}
		if err != io.EOF {
			return err
		}
		break
	}
	if t.dst == nil {
		return nil
	}
	for _, s := range t.spans {
		if s.Start > t.base || s.End > t.base {
			return fmt.Errorf("edit at byte %d lies beyond the end: %w", s.Start, coffer.ErrInvalid)
		}
		if err := t.write(s.New); err != nil {
			return err
		}
	}
	t.spans = nil
	if t.skip > t.base {
		return fmt.Errorf("edit up to byte %d lies beyond the end: %w", t.skip, coffer.ErrInvalid)
	}
	if t.out != nil {
		return t.out.Flush()
	}
	return nil
}
