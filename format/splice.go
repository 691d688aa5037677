package format

import (
	"context"
	"fmt"
	"io"

	"coffer"
)

// RangeCopier is implemented by a destination that can copy a range of the source by itself, without the bytes passing
// through this process: S3 copies parts of an object inside S3.
type RangeCopier interface {
	io.Writer
	// CopyRange appends the source bytes [start,end) to what was written so far. Ranges come in ascending order and may be
	// of any length; end is greater than start.
	CopyRange(start, end int64) error
}

// Splice copies src to dst with the spans replaced, without parsing anything. It is the second walk of a fix: with the spans
// that [Region.Splice] gave in a first walk over the same bytes, it writes what a Walk with the edits would write.
//
// The spans are in ascending order, without overlap, and name no archive member; anything else, and a span beyond the end of
// the source, gives an error that wraps coffer.ErrInvalid. When dst is a [RangeCopier] and src.Size is known, src is not
// read at all. Errors of src, dst and ctx come back as they are; after an error what was written must be thrown away.
func Splice(ctx context.Context, dst io.Writer, src Source, spans []Span) error {
	last := int64(0)
	for _, s := range spans {
		switch {
		case s.Member != "":
			return fmt.Errorf("span in an archive member given for a plain document: %w", coffer.ErrInvalid)
		case s.Start < last || s.End < s.Start:
			return fmt.Errorf("span at byte %d overlaps another or is out of order: %w", s.Start, coffer.ErrInvalid)
		case src.Size >= 0 && s.End > src.Size:
			return fmt.Errorf("span at byte %d lies beyond the end: %w", s.Start, coffer.ErrInvalid)
		}
		last = s.End
	}
	if c, ok := dst.(RangeCopier); ok && src.Size >= 0 {
		return spliceRanges(ctx, c, src.Size, spans)
	}
	t := NewTape(ctx, dst, src)
	if err := t.Edit(spans...); err != nil {
		return err
	}
	return t.Rest()
}

func spliceRanges(ctx context.Context, dst RangeCopier, size int64, spans []Span) error {
	pos := int64(0)
	upTo := func(end int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if pos < end {
			return dst.CopyRange(pos, end)
		}
		return nil
	}
	for _, s := range spans {
		if err := upTo(s.Start); err != nil {
			return err
		}
		pos = s.End
		if len(s.New) == 0 {
			continue
		}
		if n, err := dst.Write(s.New); err != nil {
			return err
		} else if n < len(s.New) {
			return io.ErrShortWrite
		}
	}
	return upTo(size)
}
