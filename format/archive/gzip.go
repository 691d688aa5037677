package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"

	"coffer"
	"coffer/format"
)

// deflateLevel of everything compressed anew: as strong as the default of gzip and zip programs, several times faster.
const deflateLevel = 6

// Gzip walks a gzip file (RFC 1952). Its one member is the contents of all its streams together. A rewrite keeps streams
// without an edit byte for byte, and the headers and number of the others where the inner format can tell which source bytes an
// edit replaces ([format.Region.Splice]); where it cannot, all from the first edited stream on becomes one stream. Zero
// bytes after the last stream, the padding of tapes, stay; anything else there is coffer.ErrInvalid.
type Gzip struct {
	// Name is the name of the file itself, with which its member is named when the header does not: without its folders
	// and without ".gz".
	Name   string
	Choose Chooser
	Limits Limits
}

// Walk implements [format.Format].
func (g Gzip) Walk(ctx context.Context, dst io.Writer, src format.Source, want []coffer.Location, visit format.Visitor) error {
	ctx, b, err := enter(ctx, "gzip", g.Limits)
	if err != nil {
		return err
	}
	in := &input{ctx: ctx, r: src}
	var original io.ReaderAt
	if dst != nil {
		original = src.At
		if original == nil {
			in.keep = newSpool(b)
			defer in.keep.Close()
			original = in.keep
		}
	}
	z := newInflater(in, b)
	defer func() { freeFlate(z.fl) }()
	a := newAhead(z)
	defer a.close()

	name := g.member(z.name)
	at := MemberError{Kind: "gzip", Member: coffer.MemberPath(name), N: 1}
	if len(a.rest) == 0 && a.next != io.EOF {
		return at.in(a.next)
	}
	f := g.Choose(name, a.head())
	if f == nil {
		if len(inGzip(want, name, false).locations) > 0 {
			return at.in(fmt.Errorf("member of no known format: %w", coffer.ErrUnsupported))
		}
		if dst == nil {
			return nil
		}
		f = opaque{}
	}
	v := visitor{visit: visit, want: inGzip(want, name, nested(f))}
	if nested(f) {
		at.Member = ""
	} else {
		v.pre.enc = at.Member
	}
	var w *gzipWriter
	if dst != nil {
		w = &gzipWriter{ctx: ctx, dst: dst, z: z, original: original}
		v.dst, v.edited = w, w.edited
	}
	err = v.walk(ctx, f, format.Source{Reader: a, Size: -1}, a.failed)
	if err == nil && (dst != nil || want == nil) {
		// The checksum stands behind the last byte, and a format need not ask for more than that.
		if n, e := io.Copy(io.Discard, a); e != nil {
			err = e
		} else if n > 0 && dst != nil {
			err = fmt.Errorf("format left %d bytes unread: %w", n, coffer.ErrInvalid)
		}
	}
	if err == nil && w != nil {
		return w.finish()
	}
	if v.err != nil {
		return v.err
	}
	return at.in(err)
}

// member returns the name of the member.
func (g Gzip) member(inHeader string) string {
	name := inHeader
	if name == "" {
		name = g.Name
		switch ext := path.Ext(name); strings.ToLower(ext) {
		case ".gz", ".gzip":
			name = strings.TrimSuffix(name, ext)
		case ".tgz":
			name = strings.TrimSuffix(name, ext) + ".tar"
		}
	}
	name = name[strings.LastIndexByte(name, '/')+1:]
	if name == "" {
		return unnamed
	}
	return name
}

// opaque copies.
type opaque struct{}

func (opaque) Walk(ctx context.Context, dst io.Writer, src format.Source, _ []coffer.Location, _ format.Visitor) error {
	_, err := copyAll(ctx, dst, src)
	return err
}

// input reads a source forward and counts.
type input struct {
	ctx  context.Context
	r    io.Reader
	n    int64
	keep *spool // where not nil, holds what was read
	err  error  // of the source, unless it is its end
}

func (in *input) Read(p []byte) (int, error) {
	err := in.ctx.Err()
	n := 0
	if err == nil {
		n, err = in.r.Read(p)
	}
	in.n += int64(n)
	if n > 0 && in.keep != nil {
		if _, e := in.keep.Write(p[:n]); e != nil {
			err = e
		}
	}
	if err != nil && err != io.EOF {
		in.err = err
	}
	return n, err
}

// stream is one of the streams in a gzip file. Offsets are of the file, except that limit is the offset in the contents at
// which the stream's part ends.
type stream struct {
	start, data, end int64
	tail             int64 // where the empty streams that follow end
	limit            int64
	closed           bool // end, tail and limit are known
}

// inflater reads the contents of a gzip file and tells where its streams lie.
type inflater struct {
	b    *budget
	in   *input
	br   *bufio.Reader // the inflater has a fast way through this type
	fl   io.ReadCloser
	name string // of the first stream
	err  error

	open      bool
	first     bool
	crc, size uint32
	start     int64 // of the stream
	begin     int64 // of the stream, in the contents
	out       int64

	mu      sync.Mutex // the writer asks from another goroutine
	streams []stream
	padding int64 // where the last stream ends
}

func newInflater(in *input, b *budget) *inflater {
	z := &inflater{b: b, in: in, br: bufio.NewReaderSize(in, 64<<10), first: true}
	z.fl = newFlate(z.br)
	return z
}

// Inflaters are large and archives have many small members.
var flates sync.Pool

func newFlate(r *bufio.Reader) io.ReadCloser {
	if fl, ok := flates.Get().(io.ReadCloser); ok {
		_ = fl.(flate.Resetter).Reset(r, nil) // resetting cannot fail
		return fl
	}
	return flate.NewReader(r)
}

// freeFlate lets fl be used again. What its window has of a document is overwritten.
func freeFlate(fl io.ReadCloser) {
	_ = fl.(flate.Resetter).Reset(bytes.NewReader(nil), blank[:])
	flates.Put(fl)
}

var blank [32 << 10]byte

// offset returns how far the file was consumed.
func (z *inflater) offset() int64 { return z.in.n - int64(z.br.Buffered()) }

// broken returns the error for what is wrong at this place; an error of the source takes precedence.
func (z *inflater) broken(what string) error {
	if z.in.err != nil {
		return z.in.err
	}
	return fmt.Errorf("%s at byte %d: %w", what, z.offset(), coffer.ErrInvalid)
}

func (z *inflater) Read(p []byte) (int, error) {
	for z.err == nil && len(p) > 0 {
		if !z.open {
			if z.err = z.next(); z.err != nil {
				break
			}
		}
		n, err := z.fl.Read(p)
		z.crc = crc32.Update(z.crc, crc32.IEEETable, p[:n])
		z.size += uint32(n)
		z.out += int64(n)
		if n > 0 {
			if z.err = z.b.inflated(n, z.out-z.begin, z.offset()-z.start); z.err != nil {
				break
			}
		}
		switch err {
		case nil:
		case io.EOF:
			z.err = z.trailer()
		case io.ErrUnexpectedEOF:
			z.err = z.broken("gzip stream breaks off")
		default:
			z.err = z.broken("corrupt deflate data")
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, z.err
}

// next begins a stream, or finds the end of the file.
func (z *inflater) next() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.padding = z.offset()
	if !z.first {
		b, err := z.br.Peek(1)
		if len(b) > 0 && b[0] == 0 {
			for err == nil && b[0] == 0 {
				_, _ = z.br.Discard(1)
				b, err = z.br.Peek(1)
			}
			if err == nil {
				return z.broken("something stands behind the padding of a gzip file")
			}
		}
		if err != nil {
			if z.in.err != nil {
				return z.in.err
			}
			return io.EOF
		}
	}
	z.start = z.offset()
	name, err := z.header()
	if err != nil {
		return err
	}
	if z.first {
		z.name, z.first = name, false
	}
	if err := z.b.entry(); err != nil {
		return err
	}
	z.streams = append(z.streams, stream{start: z.start, data: z.offset()})
	if err := z.fl.(flate.Resetter).Reset(z.br, nil); err != nil {
		return err
	}
	z.open, z.crc, z.size, z.begin = true, 0, 0, z.out
	return nil
}

// header reads a stream's header (RFC 1952, 2.3) and returns the name in it.
func (z *inflater) header() (string, error) {
	const maxHeader = 256 << 10
	const (
		hasCRC = 1 << (iota + 1)
		hasExtra
		hasName
		hasComment
	)
	var h []byte
	var bad error
	take := func(n int) []byte {
		for range n {
			c, err := z.br.ReadByte()
			switch {
			case err != nil:
				bad = z.broken("gzip header breaks off")
			case len(h) == maxHeader:
				bad = z.broken("gzip header is too long")
			}
			if bad != nil {
				return make([]byte, n)
			}
			h = append(h, c)
		}
		return h[len(h)-n:]
	}
	text := func() string {
		from := len(h)
		for bad == nil && take(1)[0] != 0 {
		}
		if bad != nil {
			return ""
		}
		runes := make([]rune, 0, len(h)-from)
		for _, c := range h[from : len(h)-1] {
			runes = append(runes, rune(c)) // ISO 8859-1
		}
		return string(runes)
	}
	fixed := take(10)
	if bad != nil {
		return "", bad
	}
	flags := fixed[3]
	if fixed[0] != 0x1f || fixed[1] != 0x8b || fixed[2] != 8 || flags>>5 != 0 {
		return "", z.broken("no gzip header")
	}
	if flags&hasExtra != 0 {
		take(int(binary.LittleEndian.Uint16(take(2))))
	}
	name := ""
	if flags&hasName != 0 {
		name = text()
	}
	if flags&hasComment != 0 {
		text()
	}
	if flags&hasCRC != 0 && bad == nil {
		sum := uint16(crc32.ChecksumIEEE(h))
		if binary.LittleEndian.Uint16(take(2)) != sum && bad == nil {
			return "", z.broken("wrong checksum of a gzip header")
		}
	}
	return name, bad
}

// trailer ends a stream.
func (z *inflater) trailer() error {
	var t [8]byte
	if _, err := io.ReadFull(z.br, t[:]); err != nil {
		return z.broken("gzip stream breaks off")
	}
	if binary.LittleEndian.Uint32(t[:4]) != z.crc || binary.LittleEndian.Uint32(t[4:]) != z.size {
		return z.broken("wrong checksum of a gzip stream")
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.open = false
	s := &z.streams[len(z.streams)-1]
	s.end = z.offset()
	s.tail, s.limit, s.closed = s.end, z.out, true
	z.padding = s.end
	if n := len(z.streams); z.out == z.begin && n > 1 {
		z.streams[n-2].tail = s.end
		z.streams = z.streams[:n-1]
	}
	return nil
}

// oldest returns the first stream that was not yet dropped, and how many there are.
func (z *inflater) oldest() (stream, int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.streams) == 0 {
		return stream{}, 0
	}
	return z.streams[0], len(z.streams)
}

// drop forgets the first stream and returns it as it is by now.
func (z *inflater) drop() stream {
	z.mu.Lock()
	defer z.mu.Unlock()
	s := z.streams[0]
	z.streams = z.streams[1:]
	return s
}

// gzipWriter is the destination of the walk over the contents. It follows at which byte of the original contents it is, so that it
// knows to which stream the bytes belong and which streams hold no edit.
type gzipWriter struct {
	ctx      context.Context
	dst      io.Writer
	z        *inflater
	original io.ReaderAt

	pos   int64 // offset in the original contents of what comes next
	begun int64 // where the current stream begins there
	gone  int64 // up to where spans replaced
	spans []span
	left  int64 // bytes of a span's new text still to come
	free  bool  // which source bytes come is not known any more

	rawFrom, rawTo int64 // range of the file to copy before anything else is written

	fw        *flate.Writer
	editing   bool // the current stream is compressed anew
	crc, size uint32
}

// edited learns of edits before their text comes.
func (w *gzipWriter) edited(r *format.Region, edits []format.Edit) error {
	if w.free {
		return nil
	}
	var spans []format.Span
	if r.Splice != nil {
		var err error
		if spans, err = r.Splice(edits); err != nil {
			return err
		}
	}
	for _, s := range spans {
		if s.Member != "" {
			spans = nil // bytes inside an inner archive say nothing about bytes here
			break
		}
	}
	if len(spans) == 0 {
		if err := w.settle(false); err != nil {
			return err
		}
		w.free = true
		return w.begin(w.pos - w.begun)
	}
	for _, s := range spans {
		w.spans = append(w.spans, span{s.Start, s.End, int64(len(s.New))})
	}
	return nil
}

// Write implements [io.Writer] for the inner format.
func (w *gzipWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		var n int64
		switch {
		case w.free:
			n = int64(len(p))
		case w.left > 0:
			n = min(int64(len(p)), w.left)
		default:
			if err := w.enter(false); err != nil {
				return total - len(p), err
			}
			if w.left > 0 {
				continue
			}
			n = int64(len(p))
			if len(w.spans) > 0 {
				n = min(n, w.spans[0].start-w.pos)
			}
			// Every byte that comes was read before, so a stream that is not closed yet holds all that is coming now.
			if s, left := w.z.oldest(); left > 0 && s.closed {
				n = min(n, s.limit-w.pos)
			}
			if n <= 0 {
				return total - len(p), errSpans
			}
		}
		if w.editing {
			if err := w.compress(p[:n]); err != nil {
				return total - len(p), err
			}
		}
		switch {
		case w.free:
		case w.left > 0:
			if w.left -= n; w.left == 0 {
				w.jump()
			}
		default:
			w.pos += n
		}
		p = p[n:]
	}
	return total, nil
}

var errSpans = fmt.Errorf("format writes something else than its spans say: %w", coffer.ErrInvalid)

// enter makes ready for the byte at pos: ends the streams before it and begins the span there, if there is one.
func (w *gzipWriter) enter(final bool) error {
	for {
		// With a span still to come the streams cannot all be over.
		if err := w.settle(final && len(w.spans) == 0); err != nil {
			return err
		}
		if len(w.spans) == 0 || w.spans[0].start > w.pos {
			return nil
		}
		if w.spans[0].start < w.pos {
			return errSpans
		}
		if !w.editing {
			if err := w.begin(w.pos - w.begun); err != nil {
				return err
			}
		}
		if w.left = w.spans[0].new; w.left > 0 {
			return nil
		}
		w.jump()
	}
}

// jump goes on behind the first span.
func (w *gzipWriter) jump() {
	w.pos = w.spans[0].end
	w.gone = w.pos
	w.spans = w.spans[1:]
}

// settle writes the streams that end at or before pos.
func (w *gzipWriter) settle(final bool) error {
	for {
		s, n := w.z.oldest()
		if n == 0 {
			return nil
		}
		if w.begun < w.gone && !w.editing {
			// A span reached into this stream, so its first bytes are not there any more.
			if err := w.begin(0); err != nil {
				return err
			}
		}
		// The last stream stays open for an insertion at the very end.
		if !s.closed || s.limit > w.pos || n == 1 && !final {
			return nil
		}
		if err := w.end(); err != nil {
			return err
		}
	}
}

// begin begins to compress the current stream anew, with the first held bytes of it.
func (w *gzipWriter) begin(held int64) error {
	s, n := w.z.oldest()
	if n == 0 {
		return errSpans
	}
	w.raw(s.start, s.data)
	if err := w.flush(); err != nil {
		return err
	}
	w.editing, w.crc, w.size = true, 0, 0
	if w.fw == nil {
		var err error
		if w.fw, err = flate.NewWriter(w.dst, deflateLevel); err != nil {
			return err
		}
	} else {
		w.fw.Reset(w.dst)
	}
	again := newFlate(bufio.NewReaderSize(io.NewSectionReader(w.original, s.data, math.MaxInt64-s.data), 64<<10))
	defer freeFlate(again)
	if n, err := copyAll(w.ctx, writerFunc(w.compress), io.LimitReader(again, held)); err != nil || n < held {
		return reread(err)
	}
	return nil
}

// corrupt reports whether an inflater's error is about the data. It has two types for that.
func corrupt(err error) bool {
	return errors.As(err, new(flate.CorruptInputError)) || errors.As(err, new(flate.InternalError))
}

// reread explains why bytes that were there before are not there again.
func reread(err error) error {
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || corrupt(err) {
		return fmt.Errorf("second reading gives other bytes: %w", coffer.ErrChanged)
	}
	return err
}

func (w *gzipWriter) compress(p []byte) error {
	w.crc = crc32.Update(w.crc, crc32.IEEETable, p)
	w.size += uint32(len(p))
	_, err := w.fw.Write(p)
	return err
}

// close ends the compressed stream.
func (w *gzipWriter) close() error {
	if err := w.fw.Close(); err != nil {
		return err
	}
	w.editing = false
	var t [8]byte
	binary.LittleEndian.PutUint32(t[:4], w.crc)
	binary.LittleEndian.PutUint32(t[4:], w.size)
	_, err := w.dst.Write(t[:])
	return err
}

// end ends the current stream, which is closed.
func (w *gzipWriter) end() error {
	edited := w.editing
	if edited {
		if err := w.close(); err != nil {
			return err
		}
	}
	s := w.z.drop()
	w.begun = s.limit
	if edited {
		w.raw(s.end, s.tail)
	} else {
		w.raw(s.start, s.tail)
	}
	return nil
}

// raw copies the range [from,to) of the file, later and together with its neighbours.
func (w *gzipWriter) raw(from, to int64) {
	if w.rawTo != from {
		w.rawFrom = from
	}
	w.rawTo = to
}

func (w *gzipWriter) flush() error {
	n := w.rawTo - w.rawFrom
	if n <= 0 {
		return nil
	}
	m, err := copyAll(w.ctx, w.dst, io.NewSectionReader(w.original, w.rawFrom, n))
	w.rawFrom = w.rawTo
	if err == nil && m < n {
		err = reread(nil)
	}
	return err
}

// finish writes what is left. All of the file was read.
func (w *gzipWriter) finish() error {
	switch {
	case w.free:
		if err := w.close(); err != nil {
			return err
		}
		w.rawFrom, w.rawTo = w.z.padding, w.z.padding
	default:
		if err := w.enter(true); err != nil {
			return err
		}
		if _, n := w.z.oldest(); n > 0 || len(w.spans) > 0 || w.left > 0 || w.pos != w.z.out {
			return errSpans
		}
	}
	w.raw(w.z.padding, w.z.in.n)
	return w.flush()
}

type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// span is what matters here of a [format.Span].
type span struct{ start, end, new int64 }
