package archive

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"

	"coffer"
	"coffer/format"
)

// Zip walks a zip file (PKWARE APPNOTE 6.3.10): the members that its central directory lists, in the order of their bytes in
// the file. Folders, symbolic links, encrypted members and methods other than stored and deflate are opaque. Without random
// access the file is spooled first.
//
// A file can hold members that the directory does not list, left behind by an update or hidden in front of or between the listed
// ones. A walk that writes or wants everything gives coffer.ErrUnsupported for it: values there could be neither found nor
// removed.
//
// A rewrite replaces the data of edited members, their sizes and checksums where these stand, and the offsets behind them;
// nothing else. An edit that makes a 32-bit field of the file too small is refused with coffer.ErrUnsupported.
type Zip struct {
	Choose Chooser
	Limits Limits
}

// The signatures and fixed sizes of the records of a zip file.
const (
	sigLocal, sizeLocal         = "PK\x03\x04", 30
	sigDescriptor               = "PK\x07\x08"
	sigRecord, sizeRecord       = "PK\x01\x02", 46
	sigDirectorySignature       = "PK\x05\x05"
	sigEnd, sizeEnd             = "PK\x05\x06", 22
	sigLocator64, sizeLocator64 = "PK\x06\x07", 20
	sigEnd64, sizeEnd64         = "PK\x06\x06", 56
)

const (
	methodStored  = 0
	methodDeflate = 8
)

var le = binary.LittleEndian

// Walk implements [format.Format].
func (z Zip) Walk(ctx context.Context, dst io.Writer, src format.Source, want []coffer.Location, visit format.Visitor) (err error) {
	ctx, b, err := enter(ctx, "zip", z.Limits)
	if err != nil {
		return err
	}
	w := &zipWalk{
		container: container{ctx: ctx, kind: "zip", b: b, choose: z.Choose, visit: visit, routes: newRouter(want), writes: dst != nil},
		at:        src.At, size: src.Size,
	}
	if dst != nil {
		rec := &recorder{Writer: dst}
		w.dst = rec
		defer func() {
			if rec.err != nil {
				err = rec.err
			}
			if w.spool != nil {
				_ = w.spool.Close()
			}
		}()
	}
	if src.At == nil || src.Size < 0 {
		s := newSpool(b)
		defer s.Close()
		w.size, err = copyAll(ctx, s, io.LimitReader(src, b.Bytes+1))
		if err != nil {
			return err
		}
		if w.size > b.Bytes {
			return fmt.Errorf("zip of more than %d bytes without random access: %w", b.Bytes, coffer.ErrLimit)
		}
		w.at = s
	}
	defer func() { b.directory.Add(-int64(len(w.dir))) }()
	if err := w.open(); err != nil {
		return err
	}
	for i := range w.entries {
		if err := w.member(i); err != nil {
			return err
		}
	}
	if dst != nil || want == nil {
		if err := w.finish(); err != nil && w.fault == nil {
			return err
		}
	}
	return w.fault
}

// entry is a member as the walk needs it for all members at once.
type entry struct {
	record int   // where its record begins in the directory
	off    int64 // of its local header in the file
}

type zipWalk struct {
	container
	at   io.ReaderAt
	size int64
	dst  io.Writer

	dir     []byte  // the central directory; rewritten in place
	dirAt   int64   // where it begins
	base    int64   // what is added to the offsets in it
	tail    []byte  // what follows it
	entries []entry // by off

	end, end64 int // where the end records are in tail; end64 -1: none

	near   []byte // what read got last, from nearAt on
	nearAt int64

	copied int64  // up to where the file was copied to dst
	shift  int64  // by how much dst is longer so far
	next   int    // the first entry at or behind copied
	spool  *spool // the data of the member being edited
}

func invalidZip(at int64, what string) error {
	return fmt.Errorf("zip: %s at byte %d: %w", what, at, coffer.ErrInvalid)
}

// read reads n bytes at off, all of which must be there. What is small is read together with what follows, because the next
// header is often near and the file may be far.
func (w *zipWalk) read(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > w.size-n {
		return nil, invalidZip(max(off, 0), "record leaves the file")
	}
	if i := off - w.nearAt; i >= 0 && i <= int64(len(w.near))-n {
		return bytes.Clone(w.near[i : i+n]), nil
	}
	const near = 16 << 10
	m := max(n, min(near, w.size-off))
	b := make([]byte, m)
	got, err := w.at.ReadAt(b, off)
	if int64(got) < m {
		if err == io.EOF {
			err = invalidZip(off+int64(got), "file breaks off")
		}
		return nil, err
	}
	if m == n {
		return b, nil
	}
	w.near, w.nearAt = b, off
	return bytes.Clone(b[:n]), nil
}

// open reads the directory.
func (w *zipWalk) open() error {
	window := min(w.size, sizeEnd+0xffff)
	b, err := w.read(w.size-window, window)
	if err != nil {
		return err
	}
	i := bytes.LastIndex(b, []byte(sigEnd))
	for i >= 0 && (len(b)-i < sizeEnd || len(b)-i-sizeEnd < int(le.Uint16(b[i+20:]))) {
		i = bytes.LastIndex(b[:i], []byte(sigEnd))
	}
	if i < 0 {
		return invalidZip(w.size, "no end of a central directory")
	}
	end := b[i:]
	endAt := w.size - window + int64(i)
	disk, dirDisk := le.Uint16(end[4:]), le.Uint16(end[6:])
	records, bytesOf, off := uint64(le.Uint16(end[10:])), uint64(le.Uint32(end[12:])), uint64(le.Uint32(end[16:]))
	dirEnd := endAt
	w.end64 = -1
	if locatorAt := endAt - sizeLocator64; locatorAt >= 0 && (records == 0xffff || bytesOf == 0xffffffff || off == 0xffffffff) {
		l, err := w.read(locatorAt, sizeLocator64)
		if err != nil {
			return err
		}
		if string(l[:4]) == sigLocator64 {
			// Where something stands in front of the archive, the locator's offset is short by that; the record then
			// ends where the locator begins.
			at := int64(le.Uint64(l[8:]))
			e, err := w.read(at, sizeEnd64)
			if err != nil || string(e[:4]) != sigEnd64 {
				at = locatorAt - sizeEnd64
				if e, err = w.read(at, sizeEnd64); err != nil {
					return err
				}
			}
			if string(e[:4]) != sigEnd64 || at > locatorAt-sizeEnd64 {
				return invalidZip(at, "no zip64 end of the central directory")
			}
			disk, dirDisk = uint16(le.Uint32(e[16:])), uint16(le.Uint32(e[20:]))
			records, bytesOf, off = le.Uint64(e[32:]), le.Uint64(e[40:]), le.Uint64(e[48:])
			dirEnd = at
			w.end64 = 0
		}
	}
	if disk != 0 || dirDisk != 0 {
		return fmt.Errorf("zip in several parts: %w", coffer.ErrUnsupported)
	}
	if bytesOf > uint64(dirEnd) || off > uint64(dirEnd)-bytesOf {
		return invalidZip(endAt, "central directory leaves the file")
	}
	w.dirAt = dirEnd - int64(bytesOf)
	w.base = w.dirAt - int64(off)
	if records > uint64(w.b.Entries) {
		return fmt.Errorf("zip of %d members, at most %d: %w", records, w.b.Entries, coffer.ErrLimit)
	}
	if int64(bytesOf) > directoryMemory || !reserve(&w.b.directory, int64(bytesOf), directoryMemory) {
		return fmt.Errorf("zip directory of %d bytes: %w", bytesOf, coffer.ErrLimit)
	}
	if w.dir, err = w.read(w.dirAt, int64(bytesOf)); err != nil {
		w.b.directory.Add(-int64(bytesOf))
		return err
	}
	w.end = int(endAt - dirEnd)
	if w.size-dirEnd > 1<<20 {
		return invalidZip(dirEnd, "too much behind the central directory")
	}
	if w.tail, err = w.read(dirEnd, w.size-dirEnd); err != nil {
		return err
	}
	return w.list(int(records))
}

// list reads the records of the directory and checks that their members do not overlap.
func (w *zipWalk) list(records int) error {
	w.entries = make([]entry, 0, min(records, len(w.dir)/sizeRecord))
	pos := 0
	for range records {
		r, err := w.record(pos)
		if err != nil {
			return err
		}
		w.entries = append(w.entries, entry{pos, r.off})
		pos += r.length
	}
	if rest := w.dir[pos:]; len(rest) > 0 && !bytes.HasPrefix(rest, []byte(sigDirectorySignature)) {
		return invalidZip(w.dirAt+int64(pos), "central directory holds something else than its records")
	}
	slices.SortFunc(w.entries, func(a, b entry) int { return cmp.Compare(a.off, b.off) })
	for i, e := range w.entries {
		r, err := w.record(e.record)
		if err != nil {
			return err
		}
		if limit := w.limit(i); r.comp > limit || e.off > limit-sizeLocal-r.comp {
			return invalidZip(e.off, "members overlap")
		}
	}
	return nil
}

// limit returns the offset at which the i-th entry must have ended.
func (w *zipWalk) limit(i int) int64 {
	if i+1 < len(w.entries) {
		return w.entries[i+1].off
	}
	return w.dirAt
}

// field is a number in a header: 32 bits wide, or 64 in the zip64 extra field.
type field struct {
	at   int
	wide bool
}

func (f field) get(b []byte) uint64 {
	if f.wide {
		return le.Uint64(b[f.at:])
	}
	return uint64(le.Uint32(b[f.at:]))
}

func (f field) set(b []byte, v uint64) error {
	if f.wide {
		le.PutUint64(b[f.at:], v)
		return nil
	}
	if v >= 0xffffffff {
		return fmt.Errorf("zip: member or file grows beyond what its 32-bit fields hold: %w", coffer.ErrUnsupported)
	}
	le.PutUint32(b[f.at:], uint32(v))
	return nil
}

// record is a member's entry in the directory. Fields are positions in the directory.
type record struct {
	length                        int
	name                          string
	flags, method                 uint16
	crc                           uint32
	comp, uncomp                  int64
	off                           int64
	compField, uncompField, offAt field
	pos                           int
	link                          bool
}

// extra64 returns the zip64 extra field's contents as a range of b, within the extra fields in b[from:to].
func extra64(b []byte, from, to int) (int, int, bool) {
	for from+4 <= to {
		id, n := le.Uint16(b[from:]), int(le.Uint16(b[from+2:]))
		from += 4
		if n > to-from {
			return 0, 0, false
		}
		if id == 1 {
			return from, from + n, true
		}
		from += n
	}
	return 0, 0, false
}

// widen moves the fields that are all ones to the zip64 extra field in b[from:to], in its order. It reports whether they are
// there.
func widen(b []byte, from, to int, fields ...*field) bool {
	x, end, ok := extra64(b, from, to)
	for _, f := range fields {
		if f.get(b) != 0xffffffff {
			continue
		}
		if !ok || end-x < 8 {
			return false
		}
		*f = field{x, true}
		x += 8
	}
	return true
}

func (w *zipWalk) record(pos int) (record, error) {
	d := w.dir
	bad := func(what string) (record, error) { return record{}, invalidZip(w.dirAt+int64(pos), what) }
	if len(d)-pos < sizeRecord || string(d[pos:pos+4]) != sigRecord {
		return bad("no record in the central directory")
	}
	h := d[pos:]
	n, m, k := int(le.Uint16(h[28:])), int(le.Uint16(h[30:])), int(le.Uint16(h[32:]))
	r := record{
		length: sizeRecord + n + m + k, flags: le.Uint16(h[8:]), method: le.Uint16(h[10:]), crc: le.Uint32(h[16:]), pos: pos,
		compField: field{at: pos + 20}, uncompField: field{at: pos + 24}, offAt: field{at: pos + 42},
	}
	if r.length > len(h) {
		return bad("record leaves the central directory")
	}
	r.name = string(h[sizeRecord : sizeRecord+n])
	const unix, mask, symlink = 3, 0o170000, 0o120000
	r.link = h[5] == unix && le.Uint32(h[38:])>>16&mask == symlink
	extra := pos + sizeRecord + n
	if !widen(d, extra, extra+m, &r.uncompField, &r.compField, &r.offAt) {
		// A size of exactly 4 GiB - 1 needs no zip64, but so large a member is not read without it.
		return bad("record without its zip64 field")
	}
	comp, uncomp, off := r.compField.get(d), r.uncompField.get(d), r.offAt.get(d)
	if comp > uint64(w.dirAt) || uncomp > 1<<62 || off > uint64(w.dirAt) || int64(off)+w.base > w.dirAt {
		return bad("record with a place or size outside the file")
	}
	r.comp, r.uncomp, r.off = int64(comp), int64(uncomp), int64(off)+w.base
	return r, nil
}

// described reports whether a data descriptor follows the data.
func (r record) described() bool { return r.flags&(1<<3) != 0 }

// opaqueBecause says why a member cannot be walked; empty: it can.
func (r record) opaqueBecause() string {
	const encrypted, strong, masked = 1, 1 << 6, 1 << 13
	switch {
	case r.flags&(encrypted|strong|masked) != 0:
		return "encrypted member"
	case r.method != methodStored && r.method != methodDeflate:
		return fmt.Sprintf("compression method %d", r.method)
	case r.link:
		return "symbolic link"
	case strings.HasSuffix(r.name, "/"):
		return "folder"
	}
	return ""
}

// member walks the i-th member.
func (w *zipWalk) member(i int) error {
	e := w.entries[i]
	r, err := w.record(e.record)
	if err != nil {
		return err
	}
	wanted, err := w.container.next(r.name, e.off)
	if err != nil || !wanted {
		return err
	}
	if why := r.opaqueBecause(); why != "" {
		return w.opaque(why)
	}
	h, err := w.local(i, r)
	if err != nil {
		return w.failed(err)
	}
	data := h.data
	m := newMember(w.ctx, w.b, io.NewSectionReader(w.at, data, r.comp), r)
	defer m.close()
	a := newAhead(m)
	defer a.close()
	if len(a.rest) == 0 && a.next != io.EOF {
		return w.failed(a.next)
	}
	src := format.Source{Reader: a, Size: r.uncomp}
	if w.dst == nil {
		walked, err := w.walk(src, a.head(), nil, nil, a.failed)
		if err != nil || !walked || w.routes != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, a); err != nil { // the checksum stands behind the last byte
			return w.failed(err)
		}
		return nil
	}
	var out *zipMember
	l := &lazy{begin: func(held int64) (_ io.Writer, err error) {
		if w.spool == nil {
			w.spool = newSpool(w.b)
		}
		out, err = newZipMember(w.spool, r.method)
		if err != nil {
			return nil, err
		}
		again := newMember(w.ctx, nil, io.NewSectionReader(w.at, data, r.comp), r)
		defer again.close()
		if n, err := io.Copy(out, io.LimitReader(again, held)); err != nil || n < held {
			return nil, reread(err)
		}
		return out, nil
	}}
	walked, err := w.walk(src, a.head(), l, l.edited, a.failed)
	if err != nil || !walked {
		return err
	}
	if n, err := io.Copy(io.Discard, a); err != nil {
		return w.failed(err)
	} else if n > 0 {
		return w.failed(fmt.Errorf("format left %d bytes unread: %w", n, coffer.ErrInvalid))
	}
	if out == nil {
		return nil
	}
	defer w.spool.Close()
	if err := out.close(); err != nil {
		return err
	}
	if err := w.replace(i, r, h, out); err != nil {
		return w.failed(err)
	}
	return nil
}

// localHeader is a member's local header. Fields are positions in raw.
type localHeader struct {
	raw          []byte
	data         int64 // where it ends and the data begins
	comp, uncomp field
	// late says that checksum and sizes are left to the data descriptor.
	late bool
	// descriptor is the data descriptor behind the data; nil when there is none.
	descriptor []byte
}

const localCRC = 14 // position in a local header

// local reads and checks the local header of the i-th entry.
func (w *zipWalk) local(i int, r record) (localHeader, error) {
	e := w.entries[i]
	bad := func(what string) (localHeader, error) { return localHeader{}, invalidZip(e.off, what) }
	b, err := w.read(e.off, sizeLocal)
	if err != nil {
		return localHeader{}, err
	}
	if string(b[:4]) != sigLocal {
		return bad("no local header")
	}
	n, m := int64(le.Uint16(b[26:])), int64(le.Uint16(b[28:]))
	h := localHeader{data: e.off + sizeLocal + n + m, comp: field{at: 18}, uncomp: field{at: 22}}
	if h.data > w.limit(i)-r.comp {
		return bad("members overlap")
	}
	if h.raw, err = w.read(e.off, h.data-e.off); err != nil {
		return localHeader{}, err
	}
	if le.Uint16(h.raw[8:]) != r.method {
		return bad("local header and directory name different methods")
	}
	if !widen(h.raw, int(sizeLocal+n), len(h.raw), &h.uncomp, &h.comp) {
		return bad("local header without its zip64 field")
	}
	crc, comp, uncomp := le.Uint32(h.raw[localCRC:]), h.comp.get(h.raw), h.uncomp.get(h.raw)
	h.late = r.described() && crc == 0 && comp == 0 && uncomp == 0
	if !h.late && (crc != r.crc || comp != uint64(r.comp) || uncomp != uint64(r.uncomp)) {
		return bad("local header and directory name different sizes")
	}
	if r.described() {
		h.descriptor, err = w.descriptor(h.data+r.comp, w.limit(i), r)
	}
	return h, err
}

// member reads the contents of a member and checks size and checksum.
type member struct {
	ctx  context.Context
	b    *budget // nil: a second reading
	r    record
	in   *io.SectionReader
	br   *bufio.Reader // over in, when inflating
	fl   io.Reader
	out  int64
	crc  uint32
	done error
}

func newMember(ctx context.Context, b *budget, in *io.SectionReader, r record) *member {
	m := &member{ctx: ctx, b: b, r: r, in: in, fl: in}
	if r.method == methodDeflate {
		m.br = bufio.NewReaderSize(in, int(min(64<<10, max(512, r.comp))))
		m.fl = newFlate(m.br)
	}
	return m
}

// close gives back what can be used again. The member must not be read after it.
func (m *member) close() {
	if m.br != nil {
		freeFlate(m.fl.(io.ReadCloser))
		m.fl = nil
	}
}

func (m *member) consumed() int64 {
	n, _ := m.in.Seek(0, io.SeekCurrent)
	if m.br != nil {
		n -= int64(m.br.Buffered())
	}
	return n
}

func (m *member) Read(p []byte) (int, error) {
	if m.done != nil {
		return 0, m.done
	}
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.fl.Read(p)
	m.out += int64(n)
	m.crc = crc32.Update(m.crc, crc32.IEEETable, p[:n])
	switch {
	case m.out > m.r.uncomp:
		err = m.broken("longer than its directory says")
	case err == io.EOF && m.out < m.r.uncomp:
		err = m.broken("shorter than its directory says")
	case err == io.EOF && m.crc != m.r.crc:
		err = m.broken("wrong checksum")
	case err == io.ErrUnexpectedEOF:
		err = m.broken("breaks off")
	case corrupt(err):
		err = m.broken("corrupt deflate data")
	case err == nil && m.b != nil:
		err = m.b.inflated(n, m.out, m.consumed())
	}
	if m.done = err; err != nil && err != io.EOF {
		n = 0
	}
	return n, err
}

func (m *member) broken(what string) error {
	return fmt.Errorf("%s at its byte %d: %w", what, m.consumed(), coffer.ErrInvalid)
}

// zipMember is the new data of an edited member.
type zipMember struct {
	sp   *spool
	fw   *flate.Writer // nil: stored
	size int64
	crc  uint32
}

func newZipMember(sp *spool, method uint16) (*zipMember, error) {
	m := &zipMember{sp: sp}
	var err error
	if method == methodDeflate {
		m.fw, err = flate.NewWriter(sp, deflateLevel)
	}
	return m, err
}

func (m *zipMember) Write(p []byte) (int, error) {
	m.crc = crc32.Update(m.crc, crc32.IEEETable, p)
	m.size += int64(len(p))
	if m.fw == nil {
		return m.sp.Write(p)
	}
	return m.fw.Write(p)
}

func (m *zipMember) close() error {
	if m.fw == nil {
		return nil
	}
	return m.fw.Close()
}

// replace writes the i-th member anew, after all that stands before it. The local header and the descriptor behind the data are
// kept, but for the numbers in them.
func (w *zipWalk) replace(i int, r record, h localHeader, m *zipMember) error {
	if err := w.copyTo(i); err != nil {
		return err
	}
	if !h.late {
		le.PutUint32(h.raw[localCRC:], m.crc)
		if err := errors.Join(h.comp.set(h.raw, uint64(m.sp.Size())), h.uncomp.set(h.raw, uint64(m.size))); err != nil {
			return err
		}
	}
	d := h.descriptor
	if len(d) > 0 {
		comp, uncomp, crc := field{at: len(d) - 8}, field{at: len(d) - 4}, len(d)-12
		if len(d) >= 20 {
			comp, uncomp, crc = field{len(d) - 16, true}, field{len(d) - 8, true}, len(d)-20
		}
		le.PutUint32(d[crc:], m.crc)
		if err := errors.Join(comp.set(d, uint64(m.sp.Size())), uncomp.set(d, uint64(m.size))); err != nil {
			return err
		}
	}
	if _, err := w.dst.Write(h.raw); err != nil {
		return err
	}
	if _, err := copyAll(w.ctx, w.dst, io.NewSectionReader(m.sp, 0, m.sp.Size())); err != nil {
		return err
	}
	if _, err := w.dst.Write(d); err != nil {
		return err
	}
	w.copied = h.data + r.comp + int64(len(d))
	w.shift += m.sp.Size() - r.comp
	w.next = i + 1
	le.PutUint32(w.dir[r.pos+16:], m.crc)
	return errors.Join(r.compField.set(w.dir, uint64(m.sp.Size())), r.uncompField.set(w.dir, uint64(m.size)))
}

// descriptor reads the data descriptor at off, which has one of four forms; nil when there is none, although there should be: nobody
// who reads by the directory needs it.
func (w *zipWalk) descriptor(off, limit int64, r record) ([]byte, error) {
	b, err := w.read(off, min(24, limit-off))
	if err != nil {
		return nil, err
	}
	for _, signed := range []int{4, 0} {
		for _, wide := range []bool{false, true} {
			n := signed + 12
			f, g := field{at: signed + 4}, field{at: signed + 8}
			if wide {
				n += 8
				f, g = field{signed + 4, true}, field{signed + 12, true}
			}
			if len(b) >= n && (signed == 0 || string(b[:4]) == sigDescriptor) && le.Uint32(b[signed:]) == r.crc &&
				f.get(b) == uint64(r.comp) && g.get(b) == uint64(r.uncomp) {
				return b[:n], nil
			}
		}
	}
	if len(b) >= 4 && (string(b[:4]) == sigDescriptor || le.Uint32(b) == r.crc) {
		return nil, invalidZip(off, "data descriptor and directory differ")
	}
	return nil, nil
}

// copyTo copies the file up to the i-th entry, or up to the directory when there are only i, and moves the offsets of the
// entries by the shift so far. Between the members, where nothing should be, it looks for hidden ones.
func (w *zipWalk) copyTo(i int) error {
	for ; w.next < len(w.entries); w.next++ {
		e := w.entries[w.next]
		r, err := w.record(e.record)
		if err != nil {
			return err
		}
		if err := w.gap(e.off); err != nil {
			return err
		}
		if err := r.offAt.set(w.dir, uint64(r.off-w.base+w.shift)); err != nil {
			return err
		}
		if w.next == i {
			return nil
		}
		h, err := w.local(w.next, r)
		if err != nil {
			return err
		}
		if w.dst == nil {
			w.copied = h.data + r.comp
		} else if err := w.copyRange(w.dst, h.data+r.comp); err != nil {
			return err
		}
	}
	return w.gap(w.dirAt)
}

// gap copies the file up to the offset to, where the next member or the directory begins.
func (w *zipWalk) gap(to int64) error {
	s := sentinel{dst: w.dst}
	if w.dst == nil {
		s.dst = io.Discard
	}
	if n := to - w.copied; n <= 1<<10 {
		b, err := w.read(w.copied, n)
		if err != nil {
			return err
		}
		if _, err := s.Write(b); err != nil {
			return err
		}
		w.copied = to
	} else if err := w.copyRange(&s, to); err != nil {
		return err
	}
	if s.found {
		return fmt.Errorf("zip holds a member that its directory does not list, before byte %d: %w", to, coffer.ErrUnsupported)
	}
	return nil
}

// copyRange copies the file up to the offset to.
func (w *zipWalk) copyRange(dst io.Writer, to int64) error {
	n := to - w.copied
	w.copied = to
	m, err := copyAll(w.ctx, dst, io.NewSectionReader(w.at, to-n, n))
	if err == nil && m < n {
		err = invalidZip(to-n+m, "file breaks off")
	}
	return err
}

// sentinel watches for the signature of a local header in what passes.
type sentinel struct {
	dst   io.Writer
	last  []byte // the end of what passed before
	found bool
}

func (s *sentinel) Write(p []byte) (int, error) {
	const keep = len(sigLocal) - 1
	border := append(s.last, p[:min(len(p), keep)]...)
	if bytes.Contains(border, []byte(sigLocal)) || bytes.Contains(p, []byte(sigLocal)) {
		s.found = true
	}
	if len(p) >= keep {
		border = p
	}
	s.last = append(s.last[:0:0], border[max(0, len(border)-keep):]...)
	return s.dst.Write(p)
}

// finish writes what is left, or in a walk that writes nothing looks for what is hidden.
func (w *zipWalk) finish() error {
	if err := w.copyTo(len(w.entries)); err != nil || w.dst == nil {
		return err
	}
	if _, err := w.dst.Write(w.dir); err != nil {
		return err
	}
	offset := field{at: w.end + 16}
	if v := offset.get(w.tail); v != 0xffffffff {
		if err := offset.set(w.tail, v+uint64(w.shift)); err != nil {
			return err
		}
	}
	if w.end64 >= 0 {
		offset = field{w.end64 + 48, true}
		_ = offset.set(w.tail, offset.get(w.tail)+uint64(w.shift)) // a wide field holds everything
		offset = field{w.end - sizeLocator64 + 8, true}
		_ = offset.set(w.tail, offset.get(w.tail)+uint64(w.shift))
	}
	_, err := w.dst.Write(w.tail)
	return err
}

// recorder remembers an error of the writer, which is not the document's fault.
type recorder struct {
	io.Writer
	err error
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.Writer.Write(p)
	if err != nil {
		r.err = err
	}
	return n, err
}
