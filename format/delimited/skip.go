package delimited

import (
	"bytes"
	"io"

	"coffer/format"
)

// skip goes, from a record's or cell's beginning, to the beginning of the first record at or behind row or line, without taking
// records apart.
func (w *walker) skip(row, line int64) error {
	fresh := true    // a quote here would open a cell
	block := 1 << 10 // mostly the next record is near
	near := false    // the end is so near that words are too long
	for {
		if w.p >= flushAt {
			if err := w.flush(); err != nil {
				return err
			}
		}
		if more, err := w.see(w.p); !more {
			return err
		}
		b := w.tape.Window()
		n := len(b)
		if !w.tape.EOF() {
			// The next byte decides whether a CR ends a record.
			if n--; n == w.p {
				if err := w.tape.Fill(len(b) + 1); err != nil && err != io.EOF {
					return err
				}
				continue
			}
		}
		n = min(n, w.p+block)
		block = min(2*block, 32<<10)
		stretch := n
		quote := bytes.IndexByte(b[w.p:n], '"')
		if quote >= 0 {
			if !near && quote < manyQuotes {
				from := w.p
				if near = w.words(b, n, &fresh, row, line); w.p > from {
					continue
				}
			}
			stretch = w.p + quote
		}
		if ends := format.LineEnds(b[w.p:], stretch-w.p); ends > 0 {
			// The first record end closes the record of w.breaks.
			k := max(1, min(row-w.row, line-w.line-w.breaks))
			if ends < k {
				k = 0
			}
			if k > 0 {
				ends = k
				stretch = w.p + format.AfterLine(b[w.p:], stretch-w.p, k)
			}
			w.row += ends
			w.line += ends + w.breaks
			w.breaks = 0
			if k > 0 {
				w.p = stretch
				return nil
			}
		}
		if stretch > w.p {
			fresh = w.ends[b[stretch-1]]
			w.p = stretch
		}
		if quote < 0 {
			continue
		}
		if !fresh {
			w.p++
			continue
		}
		fresh = false
		q, err := w.closing(w.p)
		if err != nil {
			return err
		}
		if q >= 0 {
			w.breaks += format.LineEnds(w.tape.Window()[w.p:], q-w.p)
			w.p = q
		}
		w.p++
	}
}
