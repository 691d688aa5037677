package archive

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"coffer"
	"coffer/format"
)

// Tar walks a tar file in any of the usual dialects (V7, POSIX ustar and pax, GNU, star). Links, devices, folders and sparse files
// are opaque. A file that ends without a block of zeros is taken to have lost its end. Archives that follow behind the first one's
// end, which tar programs read only when told to, are walked like the first. When something follows that is neither zeros nor
// an archive, a walk that writes or wants everything gives coffer.ErrUnsupported: values there could be neither found nor
// removed.
//
// A rewrite changes the data of edited members, their padding, and in their headers size and checksum; all else is copied.
type Tar struct {
	Choose Chooser
	Limits Limits
}

const (
	tarBlock     = 512
	maxTarHeader = 1 << 20 // bytes of all header blocks of one member
)

// Walk implements [format.Format].
func (t Tar) Walk(ctx context.Context, dst io.Writer, src format.Source, want []coffer.Location, visit format.Visitor) (err error) {
	ctx, b, err := enter(ctx, "tar", t.Limits)
	if err != nil {
		return err
	}
	w := &tarWalk{
		container: container{ctx: ctx, kind: "tar", b: b, choose: t.Choose, visit: visit, routes: newRouter(want), writes: dst != nil},
		in:        &input{ctx: ctx, r: src}, at: src.At, size: src.Size,
	}
	w.br = bufio.NewReaderSize(w.in, 64<<10)
	if dst != nil {
		rec := &recorder{Writer: dst}
		w.dst = rec
		w.before, w.after = newSpool(b), newSpool(b)
		defer func() {
			if rec.err != nil {
				err = rec.err
			}
			_ = w.before.Close()
			_ = w.after.Close()
		}()
	}
	for {
		h, err := w.header()
		if err != nil {
			return err
		}
		if h == nil {
			break
		}
		if err := w.member(h); err != nil {
			return err
		}
	}
	return w.fault
}

type tarWalk struct {
	container
	in     *input
	br     *bufio.Reader
	start  int64 // what to add to the count of in for the offset in the file
	at     io.ReaderAt
	size   int64
	dst    io.Writer
	before *spool // what was read of the member, where the source cannot be read twice
	after  *spool // the new member from its first edit on
	ended  bool   // the last block was one of zeros
}

func (w *tarWalk) offset() int64 { return w.start + w.in.n - int64(w.br.Buffered()) }

func (w *tarWalk) invalid(what string) error {
	if w.in.err != nil {
		return w.in.err
	}
	return fmt.Errorf("tar: %s at byte %d: %w", what, w.offset(), coffer.ErrInvalid)
}

// tarHeader is a member's header with everything that belongs to it.
type tarHeader struct {
	raw    []byte // all blocks as they are
	main   int    // where the member's own block begins in raw
	pax    int    // where the extended header with the size begins in raw; -1: none
	offset int64  // in the file
	name   string
	size   int64 // of the data that follows
	opaque string
}

// header reads the next member's header; nil at the end of the file. Blocks of zeros before it were written.
func (w *tarWalk) header() (*tarHeader, error) {
	h := &tarHeader{pax: -1, offset: w.offset()}
	var long, paxName, paxSize string
	sparse := false
	for {
		if len(h.raw) > maxTarHeader {
			return nil, fmt.Errorf("tar: header of more than %d bytes at byte %d: %w", maxTarHeader, h.offset, coffer.ErrLimit)
		}
		at := len(h.raw)
		b, err := w.block(h)
		if err != nil {
			return nil, err
		}
		if b == nil {
			return nil, nil
		}
		if zeros(b) {
			if at > 0 {
				return nil, w.invalid("extended header without a member")
			}
			w.ended = true
			if err := w.write(b); err != nil {
				return nil, err
			}
			h.raw, h.offset = h.raw[:0], w.offset()
			continue
		}
		if !checksumHolds(b) {
			if w.ended {
				return nil, w.rest()
			}
			return nil, w.invalid("no header")
		}
		w.ended = false
		size, ok := number(b[124:136])
		if !ok {
			return nil, w.invalid("header without a size")
		}
		kind := b[156]
		switch kind {
		case 'x', 'g', 'L', 'K', 'X':
			if size > maxTarHeader {
				return nil, fmt.Errorf("tar: extended header of %d bytes at byte %d: %w", size, h.offset, coffer.ErrLimit)
			}
			body := len(h.raw)
			for range (size + tarBlock - 1) / tarBlock {
				if _, err := w.block(h); err != nil {
					return nil, err
				}
			}
			text := h.raw[body : body+int(size)]
			switch kind {
			case 'L':
				long = cString(text)
			case 'x', 'g', 'X':
				records, err := paxRecords(text)
				if err != nil {
					return nil, w.invalid("malformed extended header")
				}
				for _, r := range records {
					switch {
					case kind == 'g' && (r.key == "path" || r.key == "size"):
						return nil, fmt.Errorf("tar: global %s in the header at byte %d: %w", r.key, h.offset, coffer.ErrUnsupported)
					case r.key == "path":
						paxName = r.value
					case r.key == "size":
						paxSize, h.pax = r.value, at
					case strings.HasPrefix(r.key, "GNU.sparse."):
						sparse = true
					}
				}
			}
			if err := w.b.entry(); err != nil {
				return nil, fmt.Errorf("tar: %w", err)
			}
			continue
		}
		h.main, h.size = at, size
		h.name = plainName(h.raw[at : at+tarBlock])
		if long != "" {
			h.name = long
		}
		if paxName != "" {
			h.name = paxName
		}
		if paxSize != "" {
			if h.size, err = strconv.ParseInt(paxSize, 10, 64); err != nil || h.size < 0 {
				return nil, w.invalid("malformed size in an extended header")
			}
		}
		switch kind {
		case '0', 0, '7':
			if sparse {
				h.opaque = "sparse file"
			} else if strings.HasSuffix(h.name, "/") {
				h.opaque = "folder"
			}
		case 'S':
			h.opaque = "sparse file"
			for more := h.raw[at+482]; more != 0; {
				if len(h.raw) > maxTarHeader {
					return nil, fmt.Errorf("tar: header of more than %d bytes at byte %d: %w", maxTarHeader, h.offset, coffer.ErrLimit)
				}
				b, err := w.block(h)
				if err != nil {
					return nil, err
				}
				more = b[504]
			}
		case '1', '2', '3', '4', '5', '6':
			h.opaque, h.size = "link, device or folder", 0 // these have no data, whatever their size says
		default:
			h.opaque = "entry that is no file"
		}
		if h.size > 1<<62 || w.size >= 0 && h.size > w.size-w.offset() {
			return nil, w.invalid("member breaks off")
		}
		return h, nil
	}
}

// block reads one block and adds it to the header. It returns nil at the end of the file, where an end may be.
func (w *tarWalk) block(h *tarHeader) ([]byte, error) {
	var b [tarBlock]byte
	n, err := io.ReadFull(w.br, b[:])
	switch {
	case err == nil:
		h.raw = append(h.raw, b[:]...)
		return h.raw[len(h.raw)-tarBlock:], nil
	case w.in.err != nil:
		return nil, w.in.err
	case len(h.raw) > 0:
		return nil, w.invalid("header breaks off")
	case !w.ended:
		return nil, w.invalid("archive without its end")
	case zeros(b[:n]):
		return nil, w.write(b[:n])
	}
	return nil, w.rest()
}

// rest deals with something that is no archive behind the end of one.
func (w *tarWalk) rest() error {
	if w.dst == nil && w.routes != nil {
		return nil
	}
	err := fmt.Errorf("tar: something that is no archive follows the end, before byte %d: %w", w.offset(), coffer.ErrUnsupported)
	if w.dst != nil {
		return err
	}
	if w.fault == nil {
		w.fault = err
	}
	return nil
}

func (w *tarWalk) write(b []byte) error {
	if w.dst == nil {
		return nil
	}
	_, err := w.dst.Write(b)
	return err
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// member walks the member with header h and goes on behind it.
func (w *tarWalk) member(h *tarHeader) error {
	wanted, err := w.next(h.name, h.offset)
	if err != nil {
		return err
	}
	padding := -h.size & (tarBlock - 1)
	if wanted && h.opaque != "" {
		if err := w.opaque(h.opaque); err != nil {
			return err
		}
		wanted = false
	}
	if !wanted {
		if err := w.write(h.raw); err != nil {
			return err
		}
		return w.pass(h.size+padding, w.dst)
	}

	begin := w.offset()
	body := &tarBody{w: w, left: h.size}
	src := format.Source{Reader: body, Size: h.size}
	original := io.ReaderAt(w.before)
	if w.at != nil && w.size >= 0 {
		src.At = io.NewSectionReader(w.at, begin, h.size)
		original = src.At
	} else if w.dst != nil {
		body.keep = w.before
		defer w.before.Close()
	}
	head := make([]byte, min(h.size, HeadSize))
	b, err := w.br.Peek(len(head))
	if err != nil {
		return w.container.at.in(w.invalid("member breaks off"))
	}
	copy(head, b)
	if w.dst == nil {
		if _, err := w.walk(src, head, nil, nil, body.failed); err != nil {
			return err
		}
		if body.err != nil {
			return w.container.at.in(body.err)
		}
		return w.pass(body.left+padding, nil)
	}

	defer w.after.Close()
	l := &lazy{begin: func(held int64) (io.Writer, error) { return w.after, nil }}
	walked, err := w.walk(src, head, l, l.edited, body.failed)
	if err != nil {
		return err
	}
	if !walked {
		// Nothing was read of it yet.
		if err := w.write(h.raw); err != nil {
			return err
		}
		return w.pass(h.size+padding, w.dst)
	}
	if body.keep != nil {
		_, err = copyAll(w.ctx, io.Discard, body)
	} else {
		err = w.pass(body.left, nil)
	}
	if err != nil {
		return w.container.at.in(err)
	}
	size := h.size
	if l.to != nil {
		size = l.held + w.after.Size()
		if err := h.resize(size); err != nil {
			return w.failed(err)
		}
	} else {
		l.held = h.size
	}
	if err := w.write(h.raw); err != nil {
		return err
	}
	if n, err := copyAll(w.ctx, w.dst, io.NewSectionReader(original, 0, l.held)); err != nil || n < l.held {
		return reread(err)
	}
	if l.to == nil {
		return w.pass(padding, w.dst)
	}
	if _, err := copyAll(w.ctx, w.dst, io.NewSectionReader(w.after, 0, w.after.Size())); err != nil {
		return err
	}
	if err := w.write(make([]byte, -size&(tarBlock-1))); err != nil {
		return err
	}
	return w.pass(padding, nil)
}

// pass goes on by n bytes, copying them to dst if it is not nil.
func (w *tarWalk) pass(n int64, dst io.Writer) error {
	if dst != nil {
		m, err := copyAll(w.ctx, dst, io.LimitReader(w.br, n))
		if err == nil && m < n {
			err = w.invalid("member breaks off")
		}
		return err
	}
	const far = 1 << 20
	if to := w.offset() + n; n > far && w.at != nil && w.size >= to {
		w.in = &input{ctx: w.ctx, r: io.NewSectionReader(w.at, to, w.size-to)}
		w.br.Reset(w.in)
		w.start = to
		return nil
	}
	for n > 0 {
		m, err := w.br.Discard(int(min(n, 1<<30)))
		if err != nil {
			return w.invalid("member breaks off")
		}
		n -= int64(m)
	}
	return nil
}

// tarBody reads a member's data.
type tarBody struct {
	w    *tarWalk
	left int64
	keep *spool
	err  error
}

func (b *tarBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.w.br.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.keep != nil {
		if _, e := b.keep.Write(p[:n]); e != nil {
			err = e
		}
	}
	if err == io.EOF {
		err = nil
		if b.left > 0 {
			err = b.w.invalid("member breaks off")
		}
	}
	b.err = err
	return n, err
}

func (b *tarBody) failed() error { return b.err }

// checksumHolds checks a header block's checksum, which old programs compute with signed bytes.
func checksumHolds(b []byte) bool {
	want, ok := number(b[148:156])
	unsigned, signed := checksums(b)
	return ok && (want == unsigned || want == signed)
}

func checksums(b []byte) (unsigned, signed int64) {
	for i, c := range b[:tarBlock] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return unsigned, signed
}

// number reads a numeric field: octal digits, or the base-256 form of GNU tar with the top bit set.
func number(b []byte) (int64, bool) {
	if b[0]&0x80 != 0 {
		if b[0]&0x40 != 0 {
			return 0, false // negative
		}
		n := int64(b[0] & 0x3f)
		for _, c := range b[1:] {
			if n > 1<<54 {
				return 0, false
			}
			n = n<<8 | int64(c)
		}
		return n, true
	}
	s := strings.Trim(string(b), " \x00")
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(s, 8, 63)
	return int64(n), err == nil
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// plainName is the name in a header block.
func plainName(b []byte) string {
	name := cString(b[:100])
	prefix := ""
	if string(b[257:263]) == "ustar\x00" {
		prefix = cString(b[345:500])
		if string(b[508:512]) == "tar\x00" { // star keeps times behind a shorter prefix
			prefix = cString(b[345:476])
		}
	}
	if prefix != "" {
		return prefix + "/" + name
	}
	return name
}

type paxRecord struct{ key, value string }

// paxRecords reads the records "length key=value\n" of an extended header.
func paxRecords(b []byte) ([]paxRecord, error) {
	var records []paxRecord
	for len(b) > 0 {
		digits, _, ok := bytes.Cut(b[:min(len(b), 20)], []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n <= len(digits)+1 || n > len(b) || b[n-1] != '\n' {
			return nil, coffer.ErrInvalid
		}
		key, value, ok := strings.Cut(string(b[len(digits)+1:n-1]), "=")
		if !ok || key == "" {
			return nil, coffer.ErrInvalid
		}
		records = append(records, paxRecord{key, value})
		b = b[n:]
	}
	return records, nil
}

// resize writes a new size into the header, where and how the old one stands.
func (h *tarHeader) resize(size int64) error {
	if h.pax >= 0 {
		if err := h.resizePax(size); err != nil {
			return err
		}
	}
	// With a size in the extended header the plain one is not read, but kept true if it can be.
	return setSize(h.raw[h.main:], size, h.pax >= 0)
}

// setSize writes the size into a header block and corrects its checksum.
func setSize(b []byte, size int64, optional bool) error {
	f := b[124:136]
	const octalDigits = 11
	digits := strconv.FormatInt(size, 8)
	switch {
	case f[0]&0x80 == 0 && len(digits) <= octalDigits:
		end := f[octalDigits]
		if end != ' ' {
			end = 0
		}
		copy(f, strings.Repeat("0", octalDigits-len(digits))+digits)
		f[octalDigits] = end
	case optional && f[0]&0x80 == 0:
		copy(f, strings.Repeat("0", octalDigits)+"\x00")
	default:
		for i := len(f) - 1; i > 0; i-- {
			f[i] = byte(size)
			size >>= 8
		}
		f[0] = 0x80
	}
	sum, _ := checksums(b)
	text := fmt.Sprintf("%06o", sum)
	if len(text) > 6 {
		return fmt.Errorf("tar: checksum out of range: %w", coffer.ErrInvalid)
	}
	copy(b[148:], text+"\x00 ")
	return nil
}

// resizePax replaces the size in the extended header, which may become longer or shorter by blocks.
func (h *tarHeader) resizePax(size int64) error {
	n, _ := number(h.raw[h.pax+124 : h.pax+136])
	body := h.pax + tarBlock
	text := h.raw[body : body+int(n)]
	records, err := paxRecords(text)
	if err != nil {
		return err
	}
	var out []byte
	for _, r := range records {
		if r.key == "size" {
			r.value = strconv.FormatInt(size, 10)
		}
		rest := " " + r.key + "=" + r.value + "\n"
		length := len(rest)
		for length != len(rest)+len(strconv.Itoa(length)) {
			length = len(rest) + len(strconv.Itoa(length))
		}
		out = append(append(out, strconv.Itoa(length)...), rest...)
	}
	blocks := func(n int) int { return (n + tarBlock - 1) / tarBlock * tarBlock }
	after := h.raw[body+blocks(int(n)):]
	length := len(out)
	out = append(out, make([]byte, blocks(length)-length)...)
	raw := append(append(append([]byte{}, h.raw[:body]...), out...), after...)
	h.main += len(raw) - len(h.raw)
	h.raw = raw
	return setSize(h.raw[h.pax:], int64(length), false)
}

// IsTar reports whether head begins with the header of a tar file, whatever its dialect, or with its end.
func IsTar(head []byte) bool {
	return len(head) >= tarBlock && (zeros(head[:tarBlock]) || checksumHolds(head))
}
