package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"coffer"
)

// Decode returns f for documents that may be in UTF-16: with a byte order mark, or without one when the head is unmistakably
// UTF-16 (nearly all of it ASCII). f is given the same text in UTF-8; spans, and what a walk writes, are in terms of the
// document's own bytes, and new text is encoded as the document is. Everything else passes to f as it is.
//
// Every byte outside the edits stays: a surrogate without its other half travels through f in the three bytes of generalised
// UTF-8 (WTF-8), and an odd last byte, which is no text, past it. An edit that splits a character is refused with an error that
// wraps coffer.ErrInvalid. In a UTF-16 document Offset locations are never visited: where their bytes stand in the text is known
// too late. UTF-32 gives coffer.ErrUnsupported.
//
// A document without a mark is recognised by its first kilobyte: edits that put much other than ASCII there can make it
// unrecognisable afterwards.
func Decode(f Format) Format { return decoder{f} }

type decoder struct{ inner Format }

// headSize is how much of a document shows its encoding.
const headSize = 1 << 10

// Walk implements [Format].
func (d decoder) Walk(ctx context.Context, dst io.Writer, src Source, want []coffer.Location, visit Visitor) error {
	head := make([]byte, headSize)
	n, err := io.ReadFull(src.Reader, head)
	head = head[:n]
	rest := src.Reader
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		rest = failed{err}
	}
	src.Reader = io.MultiReader(bytes.NewReader(head), rest)
	order, err := encoding(head)
	if err != nil {
		return err
	}
	if order == nil {
		return d.inner.Walk(ctx, dst, src, want, visit)
	}
	in := &utf16Reader{src: src.Reader, order: order}
	var out io.Writer
	var enc *utf16Writer
	if dst != nil {
		enc = &utf16Writer{dst: dst, order: order}
		out = enc
	}
	if want != nil {
		known := make([]coffer.Location, len(want))
		for i, l := range want {
			if l.Kind != coffer.Offset {
				known[i] = l
			}
		}
		want = known
	}
	err = d.inner.Walk(ctx, out, Source{Reader: in, Size: -1}, want, func(r *Region) ([]Edit, error) {
		splice := r.Splice
		if splice != nil {
			r.Splice = func(edits []Edit) ([]Span, error) {
				edits, err := encodable(r.Text, edits)
				if err != nil {
					return nil, err
				}
				spans, err := splice(edits)
				if err != nil {
					return nil, err
				}
				return in.spans(spans)
			}
			defer func() { r.Splice = splice }()
		}
		edits, err := visit(r)
		if err != nil {
			return nil, err
		}
		return encodable(r.Text, edits)
	})
	if err != nil || enc == nil {
		return err
	}
	return enc.end(in.odd)
}

// byteOrder is the order of the two bytes of a UTF-16 unit.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }

// IsUTF16 reports whether [Decode] takes a document that begins with head for UTF-16.
func IsUTF16(head []byte) bool {
	order, err := encoding(head[:min(len(head), headSize)])
	return order != nil && err == nil
}

// encoding returns the byte order of a document that begins with head when it is UTF-16, and nil when it is not.
func encoding(head []byte) (byteOrder, error) {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(head, []byte("\x00\x00\xfe\xff")):
		return nil, fmt.Errorf("document in UTF-32: %w", coffer.ErrUnsupported)
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return binary.LittleEndian, nil
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return binary.BigEndian, nil
	}
	for _, order := range []byteOrder{binary.LittleEndian, binary.BigEndian} {
		units, ascii := len(head)/2, 0
		for i := 0; i < 2*units; i += 2 {
			switch u := order.Uint16(head[i:]); {
			case u == '\t' || u == '\n' || u == '\r' || u >= ' ' && u < 0x7f:
				ascii++
			case u < ' ':
				ascii -= units // no text has these
			}
		}
		if units >= 8 && ascii*10 >= units*8 {
			return order, nil
		}
	}
	return nil, nil
}

// encodable refuses edits that begin or end inside a character, and makes their new text valid UTF-8.
func encodable(text []byte, edits []Edit) ([]Edit, error) {
	cloned := false
	for i, e := range edits {
		for _, at := range []int{e.Start, e.End} {
			if at > 0 && at < len(text) && !utf8.RuneStart(text[at]) {
				return nil, fmt.Errorf("edit splits a character: %w", coffer.ErrInvalid)
			}
		}
		if utf8.Valid(e.New) {
			continue
		}
		if !cloned {
			edits, cloned = slices.Clone(edits), true
		}
		edits[i].New = bytes.ToValidUTF8(e.New, []byte("\ufffd"))
	}
	return edits, nil
}

// A window of marks remembers which bytes of the text begin a UTF-16 unit; of a character of four bytes the first two do. So
// many marks before a byte, so many units before it in the source.
const (
	markBlock  = 4 << 10 // bytes of text in a block of marks
	markBlocks = 4 << 10 // so that spans can be made for the last 16 MiB that were read
)

type marks struct {
	units int64 // before the block
	bits  [markBlock / 64]uint64
}

// utf16Reader reads UTF-16 as generalised UTF-8.
type utf16Reader struct {
	src   io.Reader
	order byteOrder
	raw   [8 << 10]byte
	n     int // raw[:n] is read and not decoded
	err   error
	odd   []byte // the last byte of a document of odd length

	out    [3*(4<<10) + utf8.UTFMax]byte
	pos, w int // out[pos:w] is not passed on

	off    int64 // of the text made so far
	units  int64
	blocks []*marks // a ring
	begun  int64    // blocks made so far
}

// Read implements [io.Reader].
func (r *utf16Reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for r.pos == r.w {
		if r.err != nil && r.n < 2 {
			if r.err == io.EOF {
				r.odd = append(r.odd[:0], r.raw[:r.n]...)
			}
			return 0, r.err
		}
		// A surrogate at the end may have its other half in the next read.
		if r.err == nil && (r.n < 2 || r.n < 4 && utf16.IsSurrogate(rune(r.order.Uint16(r.raw[:])))) {
			m, err := r.src.Read(r.raw[r.n:])
			r.n += m
			r.err = err
			if m == 0 && err == nil {
				return 0, nil // Tape counts these
			}
			continue
		}
		r.decode()
	}
	n := copy(b, r.out[r.pos:r.w])
	r.pos += n
	return n, nil
}

func (r *utf16Reader) decode() {
	r.pos, r.w = 0, 0
	i := 0
	for i+2 <= r.n {
		u := rune(r.order.Uint16(r.raw[i:]))
		from, units := r.w, 1
		switch {
		case u < utf8.RuneSelf:
			r.out[r.w] = byte(u)
			r.w++
		case !utf16.IsSurrogate(u):
			r.w += utf8.EncodeRune(r.out[r.w:], u)
		default:
			if i+4 > r.n && r.err == nil {
				goto done
			}
			c := rune(utf8.RuneError)
			if i+4 <= r.n {
				c = utf16.DecodeRune(u, rune(r.order.Uint16(r.raw[i+2:])))
			}
			if c != utf8.RuneError {
				r.w += utf8.EncodeRune(r.out[r.w:], c)
				units = 2
			} else {
				r.out[r.w], r.out[r.w+1], r.out[r.w+2] = 0xe0|byte(u>>12), 0x80|byte(u>>6)&0x3f, 0x80|byte(u)&0x3f
				r.w += 3
			}
		}
		i += 2 * units
		for k := range int64(units) {
			r.mark(r.off + k)
		}
		r.off += int64(r.w - from)
	}
done:
	r.n = copy(r.raw[:], r.raw[i:r.n])
}

// mark notes that the byte of text at off begins a unit.
func (r *utf16Reader) mark(off int64) {
	for r.begun <= off/markBlock {
		i := int(r.begun % markBlocks)
		if i == len(r.blocks) {
			r.blocks = append(r.blocks, new(marks))
		}
		*r.blocks[i] = marks{units: r.units}
		r.begun++
	}
	m := r.blocks[off/markBlock%markBlocks]
	m.bits[off%markBlock/64] |= 1 << (off % 64)
	r.units++
}

// source returns the offset in the document of the text from off on.
func (r *utf16Reader) source(off int64) (int64, error) {
	n := off / markBlock
	switch {
	case off > r.off || off < 0:
		return 0, fmt.Errorf("span beyond the text that was read: %w", coffer.ErrInvalid)
	case n >= r.begun: // the very end
		return 2 * r.units, nil
	case n < r.begun-markBlocks:
		return 0, fmt.Errorf("span more than %d bytes behind the reader: %w", markBlock*markBlocks, coffer.ErrLimit)
	}
	m := r.blocks[n%markBlocks]
	units, rest := m.units, off%markBlock
	for _, w := range m.bits[:rest/64] {
		units += int64(bits.OnesCount64(w))
	}
	if rest%64 > 0 {
		units += int64(bits.OnesCount64(m.bits[rest/64] << (64 - rest%64)))
	}
	return 2 * units, nil
}

// spans turns spans of the text into spans of the document.
func (r *utf16Reader) spans(spans []Span) ([]Span, error) {
	out := make([]Span, len(spans))
	for i, s := range spans {
		start, err := r.source(s.Start)
		if err != nil {
			return nil, err
		}
		end, err := r.source(s.End)
		if err != nil {
			return nil, err
		}
		b, _ := appendUTF16(nil, s.New, r.order)
		out[i] = Span{Member: s.Member, Start: start, End: end, New: b}
	}
	return out, nil
}

// appendUTF16 encodes generalised UTF-8, up to a sequence at the end that is not complete. It returns how much of text it used.
func appendUTF16(b, text []byte, order byteOrder) ([]byte, int) {
	n := 0
	for n < len(text) {
		t := text[n:]
		if c := t[0]; c < utf8.RuneSelf {
			b = order.AppendUint16(b, uint16(c))
			n++
			continue
		}
		if t[0] == 0xed && (len(t) == 2 && t[1] >= 0xa0 || len(t) >= 3 && t[1] >= 0xa0) {
			if len(t) < 3 {
				break
			}
			b = order.AppendUint16(b, 0xd000|uint16(t[1]&0x3f)<<6|uint16(t[2]&0x3f))
			n += 3
			continue
		}
		if !utf8.FullRune(t) {
			break
		}
		c, size := utf8.DecodeRune(t)
		n += size
		if high, low := utf16.EncodeRune(c); high != utf8.RuneError {
			b = order.AppendUint16(b, uint16(high))
			c = low
		}
		b = order.AppendUint16(b, uint16(c))
	}
	return b, n
}

// utf16Writer writes generalised UTF-8 as UTF-16.
type utf16Writer struct {
	dst   io.Writer
	order byteOrder
	held  []byte // the beginning of a sequence
	buf   []byte
}

// Write implements [io.Writer].
func (w *utf16Writer) Write(text []byte) (int, error) {
	n := 0
	for len(w.held) > 0 && n < len(text) {
		w.held = append(w.held, text[n])
		n++
		b, used := appendUTF16(w.buf[:0], w.held, w.order)
		if used == 0 {
			continue
		}
		if _, err := w.dst.Write(b); err != nil {
			return 0, err
		}
		w.held = w.held[:copy(w.held, w.held[used:])]
	}
	for n < len(text) {
		part := text[n:min(len(text), n+32<<10)]
		b, used := appendUTF16(w.buf[:0], part, w.order)
		w.buf = b
		if _, err := w.dst.Write(b); err != nil {
			return 0, err
		}
		n += used
		if used < len(part) && n+len(part)-used == len(text) {
			w.held = append(w.held[:0], text[n:]...)
			break
		}
	}
	return len(text), nil
}

// end writes what is left, and the odd byte of the source.
func (w *utf16Writer) end(odd []byte) error {
	if len(w.held) > 0 {
		return fmt.Errorf("text ends inside a character: %w", coffer.ErrCorrupt)
	}
	if len(odd) == 0 {
		return nil
	}
	_, err := w.dst.Write(odd)
	return err
}
