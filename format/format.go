// Package format reads and rewrites documents. It is for one thing: that locating, extracting, previewing, scanning and
// rewriting go through one walk of the document and so cannot disagree.
//
// A [Format] walks a document and offers its text region by region; what a visitor wants replaced it says with [Edit]s
// in terms of that text. The format alone knows which source bytes stand behind the text and how new text is encoded there
// ([Region.Splice]); every other byte is copied as it is. The formats are in the sub-packages, the list of them and the
// choice between them in format/all, and what is sensitive in a text in format/detect.
//
// Everything read here is hostile: a walk needs bounded memory whatever the document holds, and its errors name the place,
// never the content.
package format

import (
	"context"
	"io"

	"coffer"
)

// MaxWindow is the most decoded text that one [Region] carries; longer stretches come as overlapping windows.
const MaxWindow = 1 << 20

// Overlap is how much text a window that is not the region's last holds from Commit on, to be offered again in the next one. A
// value longer than this can be missed where it crosses the border of two windows.
const Overlap = 16 << 10

// Source is a document to read.
type Source struct {
	io.Reader             // from the first byte on
	Size      int64       // bytes; -1 when not known
	At        io.ReaderAt // random access to the same bytes; nil where the holder has none
}

// Format is one way to read and rewrite a document. Implementations are stateless values, safe for concurrent use.
type Format interface {
	// Walk reads src and calls visit for every region that holds a wanted location, in document order; with want nil, for
	// every region of the document. Locations of other kinds than the format knows, or that the document does not hold, are
	// simply never visited.
	//
	// With dst nil nothing is written, the edits that visit returns are checked and otherwise ignored, and the walk ends as soon as no wanted
	// location can follow. With dst set, the document is copied to it with the edits applied: bytes that no edit covers
	// are copied as they are. On an error what was written to dst must be thrown away.
	//
	// Errors of visit and of dst come back as they are. A document that breaks off or cannot be parsed gives an error
	// wrapping coffer.ErrInvalid, a budget one wrapping coffer.ErrLimit, both saying where. Walk checks ctx at least
	// once per window. Memory is bounded by a small multiple of MaxWindow plus what want itself needs.
	Walk(ctx context.Context, dst io.Writer, src Source, want []coffer.Location, visit Visitor) error
}

// Visitor is called for each region; it returns the edits to apply there, in ascending order and without overlap. The region
// and its bytes are valid only during the call. An error ends the walk.
type Visitor func(*Region) ([]Edit, error)

// Edit replaces Text[Start:End] of a region by New. New is text, not source bytes: the format encodes it. Where the text
// cannot be replaced in part (a number in JSON), the format replaces the whole scalar, keeping the rest of the text.
type Edit struct {
	Start, End int
	New        []byte
}

// Span replaces the source bytes [Start,End) of the document, or of the archive member that Member names, by New. What an
// Edit is to the text, a Span is to the bytes.
type Span struct {
	Member     string `json:"member,omitempty"` // as in coffer.Location
	Start, End int64
	New        []byte
}

// Place is a wanted location that a region holds.
type Place struct {
	Want int // index into the wanted locations
	// Alt is 0 when the place follows from the location as Macie documents it. Higher numbers are other readings that real
	// output calls for, less likely ones with higher numbers: rows counted as physical lines, a record index one too
	// high, one of several fields that a shortened path could mean. They are tried when the better reading holds no
	// value.
	Alt int
	// Start and End bound the part of Text that the place covers: all of it for cells and scalars; for lines from the
	// beginning of line Start (not yet the start column) to the end of line End without its terminator. In a region of
	// several windows they are clipped to the window.
	Start, End int
}

// Region is a stretch of decoded text (UTF-8 where the document's bytes are valid) that belongs together: a cell, a scalar,
// a range of lines, or in a walk over everything as many lines as fit.
type Region struct {
	// At is the region's own place, for cells and scalars exact; for a stretch of lines the lines.
	At coffer.Location
	// Group is the place of the row or record that the region is part of (cell:R5C0, record:7:$); the zero Location when
	// there is none. Regions of a group follow each other; only groups that lie inside it may stand between them (an object
	// in an object of a JSON document).
	Group coffer.Location
	// Name is what the document calls the region: the column's header, or the member names of the path to the scalar,
	// joined by dots. It is itself document text: it may hold a value.
	Name []byte
	// IsName says that the region is itself a name, a member name in JSON or a header cell, not a value.
	IsName bool
	// Whole says that the region is a cell or scalar: a unit of the document that can be replaced as a whole.
	Whole bool

	Text []byte // decoded; at most MaxWindow
	Off  int64  // offset of Text[0] in the region's text
	Last bool   // no further window of the region follows
	// Lead bytes at the beginning of Text were already offered by the window before and serve as context. An edit is taken
	// only where Lead <= Start < Commit; what starts at Commit or later is offered again in the next window. In the last
	// window an insertion at the very end is taken too. An edit that begins inside one that an earlier window returned is
	// left out.
	Lead, Commit int

	Places []Place

	// Locate returns the finest place the format can name for Text[i:j].
	Locate func(i, j int) coffer.Location
	// Splice turns edits of Text into spans of the source, encoded as the document demands; the same spans that Walk
	// applies when the visitor returns these edits, so those that it would not take are left out. All edits of a window go
	// into one call: what one of them needs (quotes around a cell) may enclose the others. An edit that cannot be encoded
	// gives an error wrapping coffer.ErrUnsupported. A nil Splice means that the format cannot say which bytes stand behind
	// the text.
	Splice func([]Edit) ([]Span, error)
}
