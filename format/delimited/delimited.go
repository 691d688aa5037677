// Package delimited reads and rewrites tables whose cells are separated by a character: CSV, TSV and their kin.
//
// # Grammar
//
// RFC 4180, read the way the lenient parsers (Python's csv among them) read what it leaves open:
//
//   - A record ends with LF, CRLF or CR outside quotes. The header is record 1; an empty line is a record with one empty cell.
//   - A cell is quoted when its first byte is a quote that has a closing one. Two quotes in it stand for one; the first single
//     quote closes it, and whatever follows up to the delimiter belongs to the cell as it is: "ab"c is the cell abc.
//   - Anywhere else a quote is itself: 6" pipe.
//   - A quote at the beginning of a cell that no quote closes within 4 MiB is itself too, and the records after it are found.
//   - A UTF-8 byte order mark at the beginning of the document belongs to no cell.
package delimited

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"coffer"
	"coffer/format"
	"coffer/format/text"
)

// Limits of the format.
const (
	// maxQuoted is how far behind an opening quote its closing one is looked for, and so what a walk may have to hold.
	maxQuoted = 4 << 20
	// headSize is how much is looked at to find the delimiter and the header.
	headSize = 64 << 10
	// flushAt is how much of the window is passed at a time.
	flushAt = 128 << 10
)

// Format is the format of delimited tables. It knows the locations Cell without a sheet (Column 0 is every cell of the row),
// Lines and Offset.
//
// A region is a cell: Whole, At its cell, Group its row (column 0), Name the header's cell of its column when the first record
// looks like a header, whose own cells are then IsName. Header cells beyond the first 64 KiB give no names.
//
// Macie does not document whether a row is a record or a physical line where quoted cells hold line breaks. The cell of the
// record is the place with Alt 0; the cell of another record that begins at that physical line is offered too, with Alt 1.
//
// When only lines and byte ranges are wanted, the walk is that of package text. When cells are wanted as well, lines are offered
// as regions of at most one window, at the record in which they begin; where an edit there meets one of a cell, the lines'
// edit is applied.
type Format struct {
	// Comma is the delimiter, any ASCII character but a quote or a line break. 0: it is found out of ',', tab, ';' and '|'.
	Comma byte
}

var _ format.Format = Format{}

// Walk implements [format.Format]. Rows that nobody wants are not taken apart into cells.
//
// New text is encoded so that a parser reads what was meant: quotes are doubled inside quotes, and a cell without quotes gets
// them when the new text needs them, in which case its stray quotes are doubled. Where that is impossible, because the cell is
// longer than a window or an unterminated quote before it would find its end, the edit is refused with an error wrapping
// coffer.ErrUnsupported.
func (f Format) Walk(ctx context.Context, dst io.Writer, src format.Source, want []coffer.Location, visit format.Visitor) error {
	if f.Comma == '"' || f.Comma == '\n' || f.Comma == '\r' || f.Comma >= 0x80 {
		return fmt.Errorf("delimiter: %w", coffer.ErrInvalid)
	}
	w := &walker{tape: format.NewTape(ctx, dst, src), visit: visit, comma: f.Comma, all: want == nil, row: 1, line: 1}
	w.region.At.Kind, w.region.Group.Kind, w.region.Whole = coffer.Cell, coffer.Cell, true
	w.region.Locate = func(int, int) coffer.Location { return w.region.At }
	w.region.Splice = w.splice
	w.plan(want)
	if !w.all && len(w.cells) == 0 && len(w.text) > 0 {
		return text.Format{}.Walk(ctx, dst, src, want, visit)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.head(); err != nil {
		return err
	}
	if err := w.walk(ctx); err != nil {
		return err
	}
	if dst == nil {
		return nil
	}
	return w.tape.Rest()
}

// wantedCell is a wanted cell, or with column 0 a wanted row.
type wantedCell struct {
	row, column int64
	want        int
}

// wantedRow is what is wanted in one row.
type wantedRow struct {
	rows  []wantedCell // all of it
	cells []wantedCell // not passed, by column
}

func (r wantedRow) empty() bool { return len(r.rows)+len(r.cells) == 0 }

type walker struct {
	tape  *format.Tape
	visit format.Visitor
	comma byte
	ends  [256]bool // the bytes that end a cell

	all   bool              // every cell is wanted
	cells []wantedCell      // by row and column
	ahead int               // cells[ahead:] are in this row or later ones
	text  []int             // wanted lines and byte ranges not passed
	want  []coffer.Location // as given

	// The position: w.p in the window, at the beginning of a record or cell.
	p         int
	row, line int64 // of the record: its number, and that of the physical line it begins in
	column    int64
	breaks    int64 // line breaks in the quoted cells of this record so far

	here [2]wantedRow // what is wanted in this record: read as record number, read as physical line

	header bool
	names  [][]byte

	region  format.Region
	places  []format.Place
	cell    cell
	scratch []byte
	reach   int64 // source offset up to which earlier windows of the region were edited
	danger  int64 // source offset up to which an unterminated quote would find an end
}

func (w *walker) plan(want []coffer.Location) {
	w.want = want
	for i, l := range want {
		if l.Member != "" {
			continue
		}
		switch {
		case l.Kind == coffer.Cell && l.Sheet == "":
			w.cells = append(w.cells, wantedCell{l.Row, l.Column, i})
		case l.Kind == coffer.Lines, l.Kind == coffer.Offset:
			w.text = append(w.text, i)
		}
	}
	slices.SortStableFunc(w.cells, func(a, b wantedCell) int {
		if a.row != b.row {
			return order(a.row, b.row)
		}
		return order(a.column, b.column)
	})
}

func order(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// head passes the byte order mark and finds the delimiter and the header.
func (w *walker) head() error {
	if err := w.tape.Fill(headSize); err != nil && err != io.EOF {
		return err
	}
	b := w.tape.Window()
	if mark := []byte("\xef\xbb\xbf"); bytes.HasPrefix(b, mark) {
		w.p = len(mark)
		b = b[len(mark):]
	}
	b = b[:min(len(b), headSize)]
	if w.comma == 0 {
		w.comma = sniff(b)
	}
	w.ends[w.comma], w.ends['\n'], w.ends['\r'] = true, true, true
	w.names, w.header = header(b, w.comma)
	return nil
}

func (w *walker) walk(ctx context.Context) error {
	for {
		if w.p >= flushAt {
			if err := w.flush(); err != nil {
				return err
			}
		}
		if len(w.text) > 0 {
			if err := w.lines(ctx); err != nil {
				return err
			}
		}
		if more, err := w.see(w.p); !more {
			return err
		}
		if !w.all {
			stop, err := w.jump()
			if stop || err != nil {
				return err
			}
			if w.here[0].empty() && w.here[1].empty() {
				continue
			}
		}
		if err := w.record(); err != nil {
			return err
		}
	}
}

// see reports whether the window goes on at offset i.
func (w *walker) see(i int) (bool, error) {
	if i < len(w.tape.Window()) {
		return true, nil
	}
	err := w.tape.Fill(i + 1)
	if err == io.EOF {
		return false, nil
	}
	return err == nil, err
}

func (w *walker) flush() error {
	n := w.p
	w.p = 0
	return w.tape.Advance(n)
}

// jump goes to the next record that holds a wanted cell and sets here. It reports whether the walk has nothing more to do. It may
// return earlier, at a record with nothing wanted.
func (w *walker) jump() (bool, error) {
	w.here = [2]wantedRow{}
	for w.ahead < len(w.cells) && w.cells[w.ahead].row < w.row {
		w.ahead++
	}
	if w.ahead == len(w.cells) && len(w.text) == 0 {
		return true, nil
	}
	row, line := int64(math.MaxInt64), int64(math.MaxInt64)
	if w.ahead < len(w.cells) {
		row = w.cells[w.ahead].row
	}
	i := w.ahead
	if w.line != w.row {
		i, _ = slices.BinarySearchFunc(w.cells, w.line, func(c wantedCell, line int64) int { return order(c.row, line) })
	}
	if i < len(w.cells) {
		line = w.cells[i].row
	}
	if len(w.text) > 0 {
		// The lines of each record are looked at.
		if row > w.row && line > w.line {
			return false, w.skip(w.row+1, math.MaxInt64)
		}
	} else if row > w.row && line > w.line {
		return false, w.skip(row, line)
	}
	if row == w.row {
		w.here[0] = w.rowOf(w.ahead)
	}
	if line == w.line && w.line != w.row {
		w.here[1] = w.rowOf(i)
	}
	return false, nil
}

// rowOf returns the wanted cells of one row, cells[i] the first.
func (w *walker) rowOf(i int) wantedRow {
	k, j := i, i
	for ; j < len(w.cells) && w.cells[j].row == w.cells[i].row; j++ {
		if w.cells[j].column <= 0 {
			k = j + 1
		}
	}
	return wantedRow{rows: w.cells[i:k], cells: w.cells[k:j]}
}

// match sets places to what is wanted at the cell, and reports whether that is anything, or at least a later cell is wanted.
func (w *walker) match() (offer, later bool) {
	w.places = w.places[:0]
	if w.all {
		return true, true
	}
	for alt := range w.here {
		h := &w.here[alt]
		for _, c := range h.rows {
			w.places = append(w.places, format.Place{Want: c.want, Alt: alt})
		}
		for len(h.cells) > 0 && h.cells[0].column <= w.column {
			w.places = append(w.places, format.Place{Want: h.cells[0].want, Alt: alt})
			h.cells = h.cells[1:]
		}
		later = later || len(h.cells) > 0
	}
	return len(w.places) > 0, later || len(w.places) > 0
}

// record offers the wanted cells of the record at the position and passes it.
func (w *walker) record() error {
	w.column = 1
	for ; ; w.column++ {
		if w.p >= flushAt {
			if err := w.flush(); err != nil {
				return err
			}
		}
		offer, later := w.match()
		if !later {
			return w.skip(w.row+1, math.MaxInt64)
		}
		end, err := w.one(offer)
		if end || err != nil {
			return err
		}
	}
}

// one passes the cell at the position, offering it if wanted, and reports whether the record ended with it.
func (w *walker) one(offer bool) (bool, error) {
	c := &w.cell
	*c = cell{from: w.p, close: -1, danger: w.tape.Base()+int64(w.p) < w.danger}
	if _, err := w.see(w.p); err != nil {
		return false, err
	}
	b := w.tape.Window()
	i := w.p
	if i < len(b) && b[i] == '"' {
		q, err := w.closing(i)
		if err != nil {
			return false, err
		}
		b = w.tape.Window()
		if q < 0 {
			c.literal = true
			i++
		} else {
			c.close = q
			if !w.all {
				w.breaks += format.LineEnds(b[i:], q-i)
			}
			i = q + 1
		}
	}
	end, found, err := w.end(i, w.p+format.MaxWindow)
	if err != nil {
		return false, err
	}
	switch {
	case found && end-w.p <= format.MaxWindow:
		if offer {
			if err := w.short(end); err != nil {
				return false, err
			}
		}
		w.p = end
	case offer:
		if err := w.long(); err != nil {
			return false, err
		}
	default:
		w.p = i
		for !found {
			w.p = end
			if err := w.flush(); err != nil {
				return false, err
			}
			if end, found, err = w.end(0, format.MaxWindow); err != nil {
				return false, err
			}
		}
		w.p = end
	}
	return w.delimiter()
}

// delimiter passes what ends the cell and reports whether it ends the record too.
func (w *walker) delimiter() (bool, error) {
	b := w.tape.Window()
	if w.p+1 >= len(b) {
		if _, err := w.see(w.p + 1); err != nil {
			return false, err
		}
		b = w.tape.Window()
	}
	if w.p < len(b) {
		c := b[w.p]
		w.p++
		if c == w.comma {
			return false, nil
		}
		if c == '\r' && w.p < len(b) && b[w.p] == '\n' {
			w.p++
		}
	}
	w.row++
	w.line += 1 + w.breaks
	w.breaks = 0
	return true, nil
}

// closing returns the offset of the quote that closes the one at i, -1 if there is none in reach. The offset of i stays.
func (w *walker) closing(i int) (int, error) {
	limit := i + 1 + maxQuoted
	for from := i + 1; ; {
		b := w.tape.Window()
		for from < limit {
			j := bytes.IndexByte(b[from:min(len(b), limit)], '"')
			if j < 0 {
				from = min(len(b), limit)
				break
			}
			from += j
			if from+1 == len(b) && !w.tape.EOF() {
				break // the next byte decides
			}
			if from+1 == len(b) || b[from+1] != '"' {
				return from, nil
			}
			if from += 2; from >= len(b) {
				break
			}
		}
		if from < limit && !w.tape.EOF() {
			if err := w.tape.Fill(len(b) + 1); err != nil && err != io.EOF {
				return 0, err
			}
			continue
		}
		w.danger = max(w.danger, w.tape.Base()+int64(limit))
		return -1, nil
	}
}

// end looks for the end of an unquoted cell from i on, up to limit at least. Without one it returns where the search stopped.
func (w *walker) end(i, limit int) (int, bool, error) {
	for {
		b, ends := w.tape.Window(), &w.ends
		for ; i < len(b); i++ {
			if ends[b[i]] {
				return i, true, nil
			}
		}
		if w.tape.EOF() {
			return i, true, nil
		}
		if i > limit {
			return i, false, nil
		}
		if err := w.tape.Fill(len(b) + 1); err != nil && err != io.EOF {
			return 0, false, err
		}
	}
}
