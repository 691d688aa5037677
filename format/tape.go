package format

import (
	"context"
	"fmt"
	"io"

	"coffer"
)

// Tape moves a document forward from a reader to a writer through a window, replacing the spans it is told to. It is what a
// text-like format is built on: the format looks at the window, edits, and advances; all bytes outside the edits pass
// unchanged. A Tape is not safe for concurrent use.
type Tape struct {
	ctx   context.Context
	dst   io.Writer // nil: nothing is written
	src   io.Reader
	buf   []byte
	r, w  int   // buf[r:w] is the window
	base  int64 // source offset of buf[r]
	spans []Span
	skip  int64 // source bytes before this offset were replaced
	err   error // of src; io.EOF at the end
}

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

// Fill reads until the window holds at least n bytes. It returns io.EOF when the source ends before that, with what there
// is in the window; every other error is the source's or the context's.
func (t *Tape) Fill(n int) error {
	for t.w-t.r < n {
		if t.err != nil {
			return t.err
		}
		if err := t.ctx.Err(); err != nil {
			return err
		}
		if t.r > 0 && (t.r == t.w || len(t.buf)-t.r < n) {
			copy(t.buf, t.buf[t.r:t.w])
			t.w -= t.r
			t.r = 0
		}
		if len(t.buf) < n {
			size := max(64<<10, 2*len(t.buf), n+n/4)
			t.buf = append(make([]byte, 0, size), t.buf[:t.w]...)[:size]
		}
		if t.w == len(t.buf) {
			copy(t.buf, t.buf[t.r:t.w])
			t.w -= t.r
			t.r = 0
		}
		m, err := t.src.Read(t.buf[t.w:])
		t.w += m
		t.err = err
	}
	return nil
}

// Edit adds spans to apply. They are in ascending order, without overlap, and begin at or after Base.
func (t *Tape) Edit(spans ...Span) error {
	for _, s := range spans {
		last := t.base
		if n := len(t.spans); n > 0 {
			last = max(last, t.spans[n-1].End)
		}
		if s.Start < max(last, t.skip) || s.End < s.Start {
			return fmt.Errorf("edit at byte %d overlaps another or is out of order: %w", s.Start, coffer.ErrInvalid)
		}
		t.spans = append(t.spans, s)
	}
	return nil
}

// Advance passes n bytes of the window on to dst with the edits applied. A span that begins in them may end beyond them: its
// remaining bytes are dropped when they pass.
func (t *Tape) Advance(n int) error {
	if n > t.w-t.r {
		return fmt.Errorf("advance beyond the window: %w", coffer.ErrInvalid)
	}
	end := t.base + int64(n)
	defer func() { t.r += n; t.base = end }()
	if t.dst == nil {
		return nil
	}
	pos := t.base
	put := func(to int64) error { // copies the source bytes [pos,to)
		if from := max(pos, t.skip); from < to {
			if _, err := t.dst.Write(t.buf[t.r+int(from-t.base) : t.r+int(to-t.base)]); err != nil {
				return err
			}
		}
		pos = max(pos, to)
		return nil
	}
	for len(t.spans) > 0 && (t.spans[0].Start < end || t.spans[0].Start == end && t.spans[0].End == end && n > 0) {
		s := t.spans[0]
		t.spans = t.spans[1:]
		if err := put(s.Start); err != nil {
			return err
		}
		if _, err := t.dst.Write(s.New); err != nil {
			return err
		}
		t.skip = max(t.skip, s.End)
		pos = min(max(pos, s.End), end)
	}
	return put(end)
}

// Rest passes everything that is left.
func (t *Tape) Rest() error {
	for {
		if err := t.Advance(t.w - t.r); err != nil {
			return err
		}
		switch err := t.Fill(1); err {
		case nil:
		case io.EOF:
			if t.w > t.r {
				continue
			}
			return nil
		default:
			return err
		}
	}
}
