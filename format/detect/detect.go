// Package detect knows what sensitive data looks like: where in a text a value of a type begins and ends, and whether its
// checksum holds. Extraction and fixes use the same code, or one would seal one thing and redact another. It imports no
// format.
package detect

// Match is a value found in a text.
type Match struct {
	Start, End int // byte offsets in the text
	// Valid says that the value passes every check its type has: checksum, ranges, length, prefix. A Match that is not
	// Valid has the form of the type and fails a check: a likely false positive.
	Valid bool
}

// Text is what is searched: some text, with the name the document gives it (column header, dotted member names), which counts
// as a place for keywords. Cell says that the text is a whole cell or scalar, so that a value may be expected to fill it.
type Text struct {
	Text []byte
	Name []byte
	Cell bool
}

// Piece is a part of a value that is spread over several texts of a row: texts[Index].Text[Start:End].
type Piece struct{ Index, Start, End int }

// Detector finds values of one type.
type Detector interface {
	// Find returns the values of the type in t in ascending order, without overlap. It is used where the type is already
	// known to stand (Macie reported it), so it needs no keyword and prefers finding to doubting.
	Find(t Text) []Match
	// Scan returns the values that are the type beyond doubt: with a valid checksum or an unmistakable form, and with the
	// keyword that Macie asks for, in t.Name or near the value. Types without a checksum and without an unmistakable
	// form return nil.
	Scan(t Text) []Match
	// Distinct says that Scan can return anything: the type has a checksum or an unmistakable form.
	Distinct() bool
}

// RowDetector is implemented by detectors of types whose value may be spread over the cells of a row.
type RowDetector interface {
	Detector
	// FindRow returns the values in the row, each as the pieces it consists of, in order.
	FindRow(row []Text) [][]Piece
}
