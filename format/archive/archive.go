// Package archive makes a document of every file in an archive: [Gzip], [Zip] and [Tar] are each a [format.Format] that walks
// the members with the formats a [Chooser] picks for them, and puts the member's name in front of every location. An archive in an
// archive is nothing special, because an archive is a format.
//
// # Names
//
// Locations name members by [coffer.Location].Member. A gzip file has one member, called as its header says, else like the
// file without ".gz"; over another archive it is transparent, so that the b.csv in a.tar.gz is "b.csv" and not "a.tar!b.csv".
// When several members of an archive have the same name, the second is called "name#2", and so on, so that a location
// or a span never means two. A member without a name is called "(unnamed)".
//
// How Macie writes the path of a file in an archive is documented nowhere. Wanted locations are therefore matched exactly
// first; as second readings ([format.Place].Alt raised by [AltName]) without leading "./" and "/" and with "\" as "/", with
// the path through an inner archive written with "/", and against members of the same name. The one member of a gzip file
// is meant by every single name and by no name at all.
//
// # Rewriting
//
// A rewrite changes as little as the container permits. Members in which nothing is edited keep their compressed bytes, and
// so do all headers, extra fields, comments, gaps and paddings; an edited member is compressed anew with its method and only
// the fields that follow from its content (size, checksum, offsets) change. An archive without edits is copied.
//
// To know whether a member has an edit one must have walked it, so nothing of a member is written before its first edit:
// until then the output equals the source, and remembering its length is enough. At the first edit the member is read again
// from its beginning to that place. This needs a source that can be read twice: [format.Source].At, or else a spool that
// keeps what was read, in memory up to a few megabytes for the whole walk, beyond it in a temporary file encrypted under a
// key that lives in memory. A spool also holds a new member until its size is known, and a zip file that came without
// random access.
//
// # Hostile archives
//
// [Limits] bound depth, entries, bytes and ratio over a whole walk, inner archives included; members of a zip file may not
// overlap. Names are only names: nothing is ever extracted to a file. Errors carry the member in a [MemberError] and do not
// show its name, which can hold a value.
package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"coffer"
	"coffer/format"
)

// HeadSize is the most bytes of a member's beginning that a [Chooser] sees.
const HeadSize = 8 << 10

// AltName is added to [format.Place].Alt where a member's name matches a wanted location only in a second reading.
const AltName = 100

// Chooser picks the format of the member with this name and first bytes; head is shorter than HeadSize only if the member is.
// With nil the member is opaque: it is copied, and to want something inside it is an error. A Chooser must be a function of
// its arguments, safe for concurrent use, and must not keep head.
type Chooser func(name string, head []byte) format.Format

// Limits bound what a walk reads, all nested archives together. The zero value of a field means its default. An inner archive
// counts against the limits of the outermost.
type Limits struct {
	// Depth is how many archives may lie inside one another. Default 10, Macie's quota; a .tar.gz counts as two.
	Depth int
	// Entries is how many members there may be in all; every stream of a gzip file and every header of a tar file counts.
	// Default 100,000: a tenth of Macie's quota, ten times what a careful upload filter allows.
	Entries int
	// Bytes is how many uncompressed bytes may be read in all. Default 10 GiB, Macie's quota.
	Bytes int64
	// Ratio is how many times larger than its compressed form a member may be once it is larger than RatioFloor. Defaults
	// 100 and 64 MiB. Deflate reaches 1,032.
	Ratio      int64
	RatioFloor int64
}

// orDefault fills in the defaults.
func (l Limits) orDefault() Limits {
	return Limits{
		Depth:      cmp.Or(l.Depth, 10),
		Entries:    cmp.Or(l.Entries, 100_000),
		Bytes:      cmp.Or(l.Bytes, 10<<30),
		Ratio:      cmp.Or(l.Ratio, 100),
		RatioFloor: cmp.Or(l.RatioFloor, 64<<20),
	}
}

// What a walk holds in memory beside the windows of the inner format, all nested archives together.
const (
	spoolMemory     = 8 << 20  // bytes in spools; the rest goes to an encrypted file
	directoryMemory = 32 << 20 // bytes of zip directories; more is over the limit
)

// budget is what is left of the limits during one walk, shared by all nested archives and their goroutines.
type budget struct {
	Limits
	bytes, entries, spooled, directory atomic.Int64
}

// level is a budget with the depth reached; it travels from an outer archive to an inner one in the context, because between
// them may be formats that know nothing of archives.
type level struct {
	b     *budget
	depth int
}

type levelKey struct{}

// enter begins an archive's walk.
func enter(ctx context.Context, kind string, limits Limits) (context.Context, *budget, error) {
	lv, _ := ctx.Value(levelKey{}).(level)
	if lv.b == nil {
		lv.b = &budget{Limits: limits.orDefault()}
	}
	lv.depth++
	if lv.depth > lv.b.Depth {
		return ctx, nil, fmt.Errorf("%s: archive nested deeper than %d levels: %w", kind, lv.b.Depth, coffer.ErrLimit)
	}
	return context.WithValue(ctx, levelKey{}, lv), lv.b, nil
}

// entry counts one member.
func (b *budget) entry() error {
	if b.entries.Add(1) > int64(b.Entries) {
		return fmt.Errorf("more than %d members: %w", b.Entries, coffer.ErrLimit)
	}
	return nil
}

// inflated counts n bytes that came out of a member, of which so far out came out of in compressed bytes.
func (b *budget) inflated(n int, out, in int64) error {
	if b.bytes.Add(int64(n)) > b.Bytes {
		return fmt.Errorf("more than %d bytes uncompressed: %w", b.Bytes, coffer.ErrLimit)
	}
	if out > b.RatioFloor && out/b.Ratio > in {
		return fmt.Errorf("more than %d times its compressed size: %w", b.Ratio, coffer.ErrLimit)
	}
	return nil
}

// reserve takes n bytes of a memory allowance if they are left.
func reserve(of *atomic.Int64, n, limit int64) bool {
	if of.Add(n) > limit {
		of.Add(-n)
		return false
	}
	return true
}

// MemberError is an error in one member of an archive. Its text does not show the name.
type MemberError struct {
	Kind   string // "gzip", "zip" or "tar"
	Member string // encoded as in coffer.Location; it can hold a value, so show it with the care due to one
	N      int    // 1-based number of the member in the order of the file
	Offset int64  // where the member begins in the archive's own bytes
	Err    error
}

func (e *MemberError) Error() string {
	return fmt.Sprintf("%s member %d at byte %d: %v", e.Kind, e.N, e.Offset, e.Err)
}

// Unwrap returns Err.
func (e *MemberError) Unwrap() error { return e.Err }

// in names the member that err is about, unless err is none of the document's.
func (e MemberError) in(err error) error {
	if !errors.Is(err, coffer.ErrInvalid) && !errors.Is(err, coffer.ErrLimit) && !errors.Is(err, coffer.ErrUnsupported) {
		return err
	}
	e.Err = err
	var inner *MemberError
	if errors.As(err, &inner) && inner.Member != "" {
		if e.Member == "" {
			e.Member = inner.Member
		} else {
			e.Member += "!" + inner.Member
		}
	}
	return &e
}

// nested reports whether f is an archive.
func nested(f format.Format) bool {
	switch f.(type) {
	case Gzip, Zip, Tar:
		return true
	}
	return false
}

// copyAll copies r to dst, watching ctx.
func copyAll(ctx context.Context, dst io.Writer, r io.Reader) (int64, error) {
	buf := newChunk()
	defer freeChunk(buf)
	return io.CopyBuffer(onlyWriter{dst}, &watched{ctx, r}, buf)
}

type watched struct {
	ctx context.Context
	r   io.Reader
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}

// onlyWriter hides ReadFrom, which would take the reader out of watch for the whole copy.
type onlyWriter struct{ io.Writer }
