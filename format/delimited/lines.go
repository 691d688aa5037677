package delimited

import (
	"bytes"
	"context"
	"io"

	"coffer"
	"coffer/format"
	"coffer/format/text"
)

// lines offers the wanted lines and byte ranges that begin in the record at the position. The walk of package text over the
// window does it, so that a line is the same thing here and there.
func (w *walker) lines(ctx context.Context) error {
	if err := w.tape.Fill(w.p + format.MaxWindow + 2); err != nil && err != io.EOF {
		return err
	}
	b, base := w.tape.Window()[w.p:], w.tape.Base()+int64(w.p)
	end := 0
	for end < len(b) {
		end, _ = split(b, end, w.comma)
		if end == len(b) {
			break
		}
		end++
		if b[end-1] != w.comma {
			if b[end-1] == '\r' && end < len(b) && b[end] == '\n' {
				end++
			}
			break
		}
	}
	next := w.line + format.LineEnds(b, end)
	whole := w.tape.EOF() && end == len(b)
	var want []coffer.Location
	var index, later []int
	for _, i := range w.text {
		l := w.want[i]
		switch {
		case l.Kind == coffer.Lines && (l.Start < next || whole && l.Start == next):
			l.Start, l.End = max(1, l.Start-w.line+1), l.End-w.line+1
		case l.Kind == coffer.Offset && (l.Start < base+int64(end) || whole):
			l.Start, l.End = max(0, l.Start-base), l.End-base
		default:
			later = append(later, i)
			continue
		}
		want, index = append(want, l), append(index, i)
	}
	if len(want) == 0 {
		return nil
	}
	w.text = later
	shift := func(l coffer.Location) coffer.Location {
		if l.Kind == coffer.Lines {
			l.Start += w.line - 1
			l.End += w.line - 1
		}
		return l
	}
	return text.Format{}.Walk(ctx, nil, format.Source{Reader: bytes.NewReader(b), Size: int64(len(b))}, want,
		func(inner *format.Region) ([]format.Edit, error) {
			r := *inner
			locate, splice := r.Locate, r.Splice
			r.At = shift(r.At)
			r.Locate = func(i, j int) coffer.Location { return shift(locate(i, j)) }
			r.Splice = func(edits []format.Edit) ([]format.Span, error) {
				spans, err := splice(edits)
				for i := range spans {
					spans[i].Start += base
					spans[i].End += base
				}
				return spans, err
			}
			for i := range r.Places {
				r.Places[i].Want = index[r.Places[i].Want]
			}
			edits, err := w.visit(&r)
			if err != nil {
				return nil, err
			}
			spans, err := r.Splice(edits)
			if err != nil {
				return nil, err
			}
			return edits, w.tape.Edit(spans...)
		})
}
