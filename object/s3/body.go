package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"coffer"
	"coffer/object"
)

// Sizes of ranges. What is read from the beginning comes by ranges that grow; at random, by aligned blocks.
const (
	blockSize = 64 << 10 // also the first range
	maxBlocks = 64       // in the cache: 4 MiB
	maxRun    = 16       // blocks fetched by one call for a reader at random that goes on where it was
	ahead     = 3        // ranges in flight, once the growth is over
	breaks    = 3        // how often a body may break without having brought anything
)

var growth = []int64{256 << 10, 1 << 20, 4 << 20}

// Open implements [object.Reader]. It fetches the first 64 KiB; the rest comes as it is read, by ranges that grow to 4 MiB, up to
// three of them ahead of the reader. ReaderAt fetches blocks of 64 KiB and keeps 4 MiB of them. A body that breaks off is continued
// from where it broke. When all of an object was read in sequence whose ETag is the MD5 of its bytes, that is compared: a difference
// gives coffer.ErrCorrupt. The Info has what a GET tells: no tags, no ACL, and locks only as far as a GET has them. ctx ends the reading,
// too.
func (s *Store) Open(ctx context.Context, o coffer.Object) (object.Body, error) {
	r, i, err := s.open(ctx, o)
	if err != nil {
		return object.Body{}, fmt.Errorf("open object: %w", err)
	}
	return object.Body{ReadCloser: r, ReaderAt: r.at, Info: i, Fetched: r.src.fetched.Load}, nil
}

func (s *Store) open(ctx context.Context, o coffer.Object) (*reader, object.Info, error) {
	if err := check(o); err != nil {
		return nil, object.Info{}, err
	}
	if s.foreign {
		// Whether a version without id is called "null" depends on the bucket.
		if _, err := s.facts(ctx, o.Bucket); err != nil {
			return nil, object.Info{}, err
		}
	}
	out, err := s.get(ctx, o, 0, blockSize)
	if statusIs(err, http.StatusRequestedRangeNotSatisfiable) {
		// An empty object has no range.
		h, err := s.head(ctx, o)
		if err != nil {
			return nil, object.Info{}, err
		}
		if n := aws.ToInt64(h.ContentLength); n != 0 {
			return nil, object.Info{}, fmt.Errorf("an object of %d bytes has no first byte: %w", n, coffer.ErrChanged)
		}
		i := s.info(o, h)
		return s.reader(ctx, i), i, nil
	}
	if err != nil {
		return nil, object.Info{}, err
	}
	i := s.info(o, headOf(out))
	total, ok := totalOf(out, 0)
	if !ok {
		_ = out.Body.Close() // of no use
		return nil, object.Info{}, fmt.Errorf("the server answers a range with other bytes than asked for: %w", coffer.ErrUnsupported)
	}
	i.Size = total
	r := s.reader(ctx, i)
	first, err := r.src.finish(r.ctx, out, 0, min(total, blockSize))
	if err != nil {
		return nil, object.Info{}, errors.Join(err, r.Close())
	}
	r.cur, r.next = first, int64(len(first))
	r.at.keep(0, first)
	return r, i, nil
}

// get is one GetObject of the bytes [off,end).
func (s *Store) get(ctx context.Context, o coffer.Object, off, end int64) (*s3.GetObjectOutput, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), IfMatch: ifMatch(o.ETag),
		Range:               aws.String("bytes=" + strconv.FormatInt(off, 10) + "-" + strconv.FormatInt(end-1, 10)),
		ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	})
	if err != nil {
		return nil, refine(translate(err, "s3:GetObject"), o)
	}
	return out, nil
}

// totalOf returns the size of the object that an answer to a range beginning at off is of. An answer without Content-Range has all
// bytes. Where the answer begins elsewhere ok is false.
func totalOf(out *s3.GetObjectOutput, off int64) (total int64, ok bool) {
	v, ranged := strings.CutPrefix(aws.ToString(out.ContentRange), "bytes ")
	if !ranged {
		return aws.ToInt64(out.ContentLength), off == 0
	}
	first, rest, _ := strings.Cut(v, "-")
	_, size, _ := strings.Cut(rest, "/")
	begin, err1 := strconv.ParseInt(first, 10, 64)
	total, err2 := strconv.ParseInt(size, 10, 64)
	return total, err1 == nil && err2 == nil && begin == off
}

func headOf(out *s3.GetObjectOutput) *s3.HeadObjectOutput {
	return &s3.HeadObjectOutput{
		BucketKeyEnabled: out.BucketKeyEnabled, CacheControl: out.CacheControl, ContentDisposition: out.ContentDisposition,
		ContentEncoding: out.ContentEncoding, ContentLanguage: out.ContentLanguage, ContentType: out.ContentType, ETag: out.ETag,
		ExpiresString: out.ExpiresString, LastModified: out.LastModified, Metadata: out.Metadata, MissingMeta: out.MissingMeta,
		ObjectLockEventHold: out.ObjectLockEventHold, ObjectLockEventHoldDurationDays: out.ObjectLockEventHoldDurationDays,
		ObjectLockEventHoldDurationYears: out.ObjectLockEventHoldDurationYears, ObjectLockLegalHoldStatus: out.ObjectLockLegalHoldStatus,
		ObjectLockMode: out.ObjectLockMode, ObjectLockRetainUntilDate: out.ObjectLockRetainUntilDate, Restore: out.Restore,
		SSECustomerAlgorithm: out.SSECustomerAlgorithm, SSEKMSKeyId: out.SSEKMSKeyId, ServerSideEncryption: out.ServerSideEncryption,
		StorageClass: out.StorageClass, VersionId: out.VersionId, WebsiteRedirectLocation: out.WebsiteRedirectLocation,
	}
}

// source is one version of an object, read by ranges. It is safe for concurrent use.
type source struct {
	s       *Store
	o       coffer.Object // with the ETag, and the version where there are versions
	size    int64
	fetched atomic.Int64
}

// fetch returns the bytes [off,end).
func (r *source) fetch(ctx context.Context, off, end int64) ([]byte, error) {
	out, err := r.s.get(ctx, r.o, off, end)
	if err != nil {
		return nil, r.changed(err)
	}
	return r.finish(ctx, out, off, end)
}

// changed says that the version is gone, if that is what happened: the reader of a body has seen it there.
func (r *source) changed(err error) error {
	if errors.Is(err, coffer.ErrNotFound) {
		return fmt.Errorf("the version was removed while it was read: %w", coffer.ErrChanged)
	}
	return err
}

// finish reads the body of an answer that is to have the bytes [off,end), and goes on with further calls where it breaks.
func (r *source) finish(ctx context.Context, out *s3.GetObjectOutput, off, end int64) ([]byte, error) {
	b := make([]byte, end-off)
	n, broken := 0, 0
	for {
		if err := r.same(out, off+int64(n), end); err != nil {
			_ = out.Body.Close() // of no use
			return nil, err
		}
		k, err := io.ReadFull(out.Body, b[n:])
		_ = out.Body.Close() // all that is wanted was read, or it broke
		r.fetched.Add(int64(k))
		n += k
		if n == len(b) {
			return b, nil
		}
		if cerr := ctx.Err(); cerr != nil {
			return nil, cerr
		}
		if k > 0 {
			broken = 0
		}
		if broken++; broken > breaks {
			return nil, fmt.Errorf("the object's body broke off %d times: %w", broken, coffer.ErrUnavailable)
		}
		if err := r.s.pause(ctx, broken, err); err != nil {
			return nil, err
		}
		if out, err = r.s.get(ctx, r.o, off+int64(n), end); err != nil {
			return nil, r.changed(err)
		}
	}
}

// same checks that an answer has the bytes [off,end) of this version.
func (r *source) same(out *s3.GetObjectOutput, off, end int64) error {
	total, ok := totalOf(out, off)
	switch {
	case unquote(aws.ToString(out.ETag)) != r.o.ETag, r.s.made(r.o, out.VersionId, nil).VersionID != r.o.VersionID, total != r.size:
		return fmt.Errorf("the answer is of another version: %w", coffer.ErrChanged)
	case !ok:
		return fmt.Errorf("the server answers a range with other bytes than asked for: %w", coffer.ErrUnsupported)
	case out.ContentLength != nil && *out.ContentLength < end-off:
		return fmt.Errorf("the answer has %d bytes instead of %d: %w", *out.ContentLength, end-off, coffer.ErrChanged)
	}
	return nil
}

// reader reads a source in sequence. It may skip forward. Close may be called while Read waits.
type reader struct {
	src    *source
	at     *random
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	pos   int64  // of the next byte to hand out
	cur   []byte // fetched, not yet read
	next  int64  // where the first range begins that nobody has asked for
	queue []chan fetched
	step  int
	md5   hash.Hash // nil: nothing to compare with
	err   error
}

type fetched struct {
	b   []byte
	err error
}

// reader returns a reader of the version that i describes, from the beginning.
func (s *Store) reader(ctx context.Context, i object.Info) *reader {
	src := &source{s: s, o: coffer.Object{Bucket: i.Bucket, Key: i.Key, VersionID: i.VersionID, ETag: i.ETag}, size: i.Size}
	r := &reader{src: src}
	if i.ETagIsMD5 {
		r.md5 = object.MD5()
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.at = &random{src: src, ctx: r.ctx, blocks: map[int64][]byte{}}
	return r
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 || r.err != nil {
		return 0, r.err
	}
	if len(r.cur) == 0 {
		if r.err = r.advance(); r.err != nil {
			return 0, r.err
		}
	}
	n := copy(p, r.cur)
	r.cur, r.pos = r.cur[n:], r.pos+int64(n)
	if r.md5 != nil {
		r.md5.Write(p[:n])
	}
	return n, nil
}

// advance makes the next range the current one. At the end it compares the MD5.
func (r *reader) advance() error {
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	r.ask()
	if len(r.queue) == 0 {
		if r.md5 != nil && fmt.Sprintf("%x", r.md5.Sum(nil)) != r.src.o.ETag {
			return fmt.Errorf("read object: the bytes do not have the MD5 that the ETag is: %w", coffer.ErrCorrupt)
		}
		return io.EOF
	}
	f := <-r.queue[0]
	r.queue = r.queue[1:]
	if f.err != nil {
		return fmt.Errorf("read object: %w", f.err)
	}
	r.cur = f.b
	if r.step > 1 {
		r.ask() // go on while this one is read
	}
	return nil
}

// ask sends for ranges until enough are on their way: one while they grow, then a few.
func (r *reader) ask() {
	for r.next < r.src.size && (len(r.queue) == 0 || r.step >= len(growth) && len(r.queue) < ahead) {
		off := r.next
		r.next = min(off+growth[min(r.step, len(growth)-1)], r.src.size)
		end := r.next
		r.step++
		c := make(chan fetched, 1)
		r.queue = append(r.queue, c)
		r.work.Go(func() {
			b, err := r.src.fetch(r.ctx, off, end)
			c <- fetched{b, err}
		})
	}
}

// skip goes forward to off. What lies between is not handed out; a stretch that nobody has asked for yet is not fetched, unless it is
// short. The MD5 cannot be compared after that.
func (r *reader) skip(off int64) error {
	if off == r.pos {
		return nil
	}
	if off < r.pos {
		return fmt.Errorf("read object backwards: %w", coffer.ErrInvalid)
	}
	r.md5 = nil
	if off > r.next+blockSize {
		r.queue, r.cur, r.pos, r.next, r.step = nil, nil, off, off, 0
		return nil
	}
	_, err := io.CopyN(io.Discard, r, off-r.pos)
	return err
}

func (r *reader) Close() error {
	r.cancel()
	r.work.Wait()
	return nil
}

// random reads a source at random. Its blocks are shared by all callers, who take turns.
type random struct {
	src *source
	ctx context.Context

	mu     sync.Mutex
	blocks map[int64][]byte
	used   []int64 // the numbers of the blocks, the one used last at the end
	next   int64   // the block after the last fetched
	run    int64
}

// ReadAt implements io.ReaderAt.
func (r *random) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read object at a negative offset: %w", coffer.ErrInvalid)
	}
	if err := r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("read object: %w", errors.Join(err, fs.ErrClosed))
	}
	want := min(int64(len(p)), max(r.src.size-off, 0))
	var err error
	if want >= maxRun*blockSize {
		var b []byte
		if b, err = r.src.fetch(r.ctx, off, off+want); err == nil {
			copy(p, b)
		}
	} else if want > 0 {
		err = r.blocksAt(p[:want], off)
	}
	if err != nil {
		return 0, fmt.Errorf("read object: %w", err)
	}
	if want < int64(len(p)) {
		return int(want), io.EOF
	}
	return int(want), nil
}

func (r *random) blocksAt(p []byte, off int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := 0; n < len(p); {
		pos := off + int64(n)
		i := pos / blockSize
		if _, ok := r.blocks[i]; !ok {
			if err := r.load(i, (off+int64(len(p))-1)/blockSize); err != nil {
				return err
			}
		}
		n += copy(p[n:], r.blocks[i][pos-i*blockSize:])
		r.touch(i)
	}
	return nil
}

// load fetches the blocks from first on, up to last or the next that is there; more of them for a reader that goes on where the last
// fetch ended.
func (r *random) load(first, last int64) error {
	n := int64(1)
	for first+n <= last && r.blocks[first+n] == nil {
		n++
	}
	if first == r.next && first > 0 {
		r.run = min(r.run*2, maxRun)
		n = max(n, r.run)
	}
	r.run = n
	n = min(n, (r.src.size+blockSize-1)/blockSize-first)
	r.next = first + n
	b, err := r.src.fetch(r.ctx, first*blockSize, min((first+n)*blockSize, r.src.size))
	if err != nil {
		return err
	}
	r.keep(first, b)
	return nil
}

// keep puts what was fetched into the cache, in blocks of their own so that one can go without the others.
func (r *random) keep(first int64, b []byte) {
	for i := first; len(b) > 0; i++ {
		n := min(len(b), blockSize)
		r.blocks[i] = bytes.Clone(b[:n])
		b = b[n:]
		r.touch(i)
	}
	for len(r.used) > maxBlocks {
		delete(r.blocks, r.used[0])
		r.used = r.used[1:]
	}
}

// touch makes i the block used last.
func (r *random) touch(i int64) {
	for k, u := range r.used {
		if u == i {
			r.used = append(r.used[:k], r.used[k+1:]...)
			break
		}
	}
	r.used = append(r.used, i)
}
