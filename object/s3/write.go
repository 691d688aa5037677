package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coffer"
	"coffer/object"
)

// attempts bounds how often a conditional write is made again while its condition still holds.
const attempts = 5

// searched bounds how many versions are looked at for one that a lost answer may belong to.
const searched = 100

// Tag implements [object.Tagger]. With an ETag the object is looked at first, and the tags go to the version that was found: in a
// versioned bucket the check is exact, in another a foreign write may come between.
func (s *Store) Tag(ctx context.Context, o coffer.Object, tags []coffer.Tag) error {
	if err := s.tag(ctx, o, tags); err != nil {
		return fmt.Errorf("tag object: %w", err)
	}
	return nil
}

func (s *Store) tag(ctx context.Context, o coffer.Object, tags []coffer.Tag) error {
	if err := check(o); err != nil {
		return err
	}
	if err := object.CheckTags(tags); err != nil {
		return err
	}
	if o.ETag != "" {
		h, err := s.head(ctx, o)
		if err != nil {
			return err
		}
		o.VersionID = aws.ToString(h.VersionId)
	}
	set := make([]types.Tag, len(tags))
	for i, t := range tags {
		set[i] = types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)}
	}
	_, err := s.client.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), Tagging: &types.Tagging{TagSet: set},
		ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	})
	return refine(translate(err, "s3:PutObjectTagging"), o)
}

// Stage implements [object.Store]. Up to 8 MiB are held in memory and nothing is sent; beyond, the bytes go into the parts of a
// multipart upload, up to three of which are in memory: 8 MiB each, more after the first 1,000, at most 64. What would be lost by the
// write is refused with coffer.ErrUnsupported. A retention that the object has is never shortened, and the bucket's default never
// undercut.
func (s *Store) Stage(ctx context.Context, o coffer.Object, a object.Attrs, fill func(io.Writer) error) (object.Staged, error) {
	st, err := s.stage(ctx, o, a, fill)
	if err != nil {
		return nil, fmt.Errorf("stage object: %w", err)
	}
	return st, nil
}

func (s *Store) stage(ctx context.Context, o coffer.Object, a object.Attrs, fill func(io.Writer) error) (*staged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := check(o); err != nil {
		return nil, err
	}
	if err := object.CheckTags(a.Tags); err != nil {
		return nil, err
	}
	f, err := s.facts(ctx, o.Bucket)
	if err != nil {
		return nil, err
	}
	w, err := s.fields(f, a)
	if err != nil {
		return nil, err
	}
	o.ETag = unquote(o.ETag)
	st, err := s.stageOnce(ctx, o, w, fill)
	if err != nil {
		return nil, err
	}
	return &staged{s: s, o: o, w: w, fill: fill, staging: st, sum: st.digest(), size: st.size}, nil
}

type staged struct {
	s    *Store
	o    coffer.Object
	w    fields
	fill func(io.Writer) error
	sum  [sha256.Size]byte
	size int64

	mu      sync.Mutex
	staging *staging // nil: committed or aborted
	made    coffer.Object
}

func (st *staged) Size() int64               { return st.size }
func (st *staged) SHA256() [sha256.Size]byte { return st.sum }

// Open implements [object.Staged]. Parts of an upload cannot be read: fill makes their bytes once more.
func (st *staged) Open(ctx context.Context) (object.Body, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.staging == nil {
		return object.Body{}, fmt.Errorf("open staged object: %w", coffer.ErrNotFound)
	}
	i := object.Info{
		Object: coffer.Object{Bucket: st.o.Bucket, Key: st.o.Key}, Size: st.size, Modified: st.s.now(), Attrs: st.w.attrs,
	}
	if st.staging.up != nil {
		return object.Body{ReadCloser: st.refill(ctx), Info: i}, nil
	}
	i.ETag = md5Of(st.staging.buf)
	i.ETagIsMD5 = isMD5(i.ETag, st.w.sse, nil)
	r := bytes.NewReader(st.staging.buf)
	// Without WriteTo: a consumer must not get hold of the slice.
	return object.Body{ReadCloser: io.NopCloser(struct{ io.Reader }{r}), ReaderAt: r, Info: i}, nil
}

func md5Of(b []byte) string {
	h := object.MD5()
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

// refill returns a reader of what fill writes. At the end it compares the digest.
func (st *staged) refill(ctx context.Context) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	pr, pw := io.Pipe()
	again := &again{st: st, ctx: ctx, w: pw}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var dst io.Writer = struct{ io.Writer }{again}
		if st.o.ETag != "" {
			dst = again
		}
		err := st.fill(dst)
		if again.src != nil {
			err = errors.Join(err, again.src.Close())
		}
		_ = pw.CloseWithError(err) // never fails
	}()
	return &refilled{r: pr, sum: sha256.New(), want: st.sum, stop: func() { cancel(); <-done }}
}

// again is what fill writes to the second time.
type again struct {
	st  *staged
	ctx context.Context
	w   *io.PipeWriter
	src *reader
}

func (a *again) Write(p []byte) (int, error) { return a.w.Write(p) }

// CopyRange implements format.RangeCopier.
func (a *again) CopyRange(start, end int64) error {
	if a.src == nil {
		r, _, err := a.st.s.open(a.ctx, a.st.o)
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		a.src = r
	}
	if err := a.src.skip(start); err != nil {
		return err
	}
	_, err := io.CopyN(a.w, a.src, end-start)
	return short(err)
}

// refilled compares what it reads with the digest of what was staged.
type refilled struct {
	r   *io.PipeReader
	sum interface {
		io.Writer
		Sum(b []byte) []byte
	}
	want [sha256.Size]byte
	stop func()
}

func (r *refilled) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.sum.Write(p[:n]) //nolint:errcheck // a hash never fails
	if err == io.EOF && !bytes.Equal(r.sum.Sum(nil), r.want[:]) {
		err = fmt.Errorf("read staged object: made a second time it has other bytes: %w", coffer.ErrCorrupt)
	}
	return n, err
}

func (r *refilled) Close() error {
	err := r.r.Close()
	r.stop()
	return err
}

// Abort implements [object.Staged].
func (st *staged) Abort(ctx context.Context) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.staging == nil {
		return nil
	}
	if up := st.staging.up; up != nil {
		if err := up.abort(ctx); err != nil {
			return fmt.Errorf("abort staged object: %w", err)
		}
	}
	st.staging = nil
	return nil
}

// Commit implements [object.Staged]. After a lost answer, or one that leaves the effect open, it finds out what happened; where it
// cannot, the error wraps no sentinel.
func (st *staged) Commit(ctx context.Context) (coffer.Object, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.made != (coffer.Object{}) {
		return st.made, nil
	}
	if st.staging == nil {
		return coffer.Object{}, fmt.Errorf("commit object: staged bytes: %w", coffer.ErrNotFound)
	}
	if err := ctx.Err(); err != nil {
		return coffer.Object{}, fmt.Errorf("commit object: %w", err)
	}
	w := write{size: st.size, send: st.send, ours: st.ours}
	if st.staging.up != nil {
		w.restart = st.restart
	}
	made, err := st.s.conditional(ctx, st.o, w)
	if err != nil {
		return coffer.Object{}, fmt.Errorf("commit object: %w", err)
	}
	if up := st.staging.up; up != nil {
		_ = up.end(context.WithoutCancel(ctx)) // the object is there; Sweep forgets what is left in the journal
	}
	st.made, st.staging = made, nil
	return made, nil
}

func (st *staged) send(ctx context.Context) (coffer.Object, error) {
	if up := st.staging.up; up != nil {
		return up.complete(ctx)
	}
	s := st.s
	in := &s3.PutObjectInput{
		Bucket: &st.o.Bucket, Key: &st.o.Key, Body: bytes.NewReader(st.staging.buf), IfMatch: ifMatch(st.o.ETag),
		ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	}
	if st.o.ETag == "" {
		in.IfNoneMatch = aws.String("*")
	}
	st.w.put(in)
	out, err := s.client.PutObject(ctx, in, once, st.w.header)
	if err := translate(err, "s3:PutObject"); err != nil {
		return coffer.Object{}, err
	}
	return s.made(st.o, out.VersionId, out.ETag), nil
}

// made is the version of o that an answer names. Some servers leave out the id of the version "null" in a bucket that has or had
// versioning.
func (s *Store) made(o coffer.Object, version, etag *string) coffer.Object {
	m := coffer.Object{Bucket: o.Bucket, Key: o.Key, VersionID: aws.ToString(version), ETag: unquote(aws.ToString(etag))}
	if m.VersionID == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if v := s.buckets[o.Bucket].versioning; v == object.VersioningOn || v == object.VersioningSuspended {
			m.VersionID = "null"
		}
	}
	return m
}

// ours says whether a version of the staged size has the staged bytes.
func (st *staged) ours(ctx context.Context, i object.Info) (bool, error) {
	if i.Archived != "" {
		// The bytes cannot be read. Their MD5 may be at hand.
		if st.staging.up == nil && i.ETagIsMD5 {
			return i.ETag == md5Of(st.staging.buf), nil
		}
		return false, fmt.Errorf("the object is archived (%s), so its bytes cannot be compared: %w", i.Archived, coffer.ErrUnavailable)
	}
	sum, err := st.s.digest(ctx, i.Object)
	return sum == st.sum, err
}

// digest reads a version for its SHA-256.
func (s *Store) digest(ctx context.Context, o coffer.Object) (sum [sha256.Size]byte, err error) {
	r, _, err := s.open(ctx, o)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	_, err = io.Copy(h, r)
	h.Sum(sum[:0])
	return sum, errors.Join(err, r.Close())
}

// restart uploads everything anew, as S3 demands after a conflict between operations (409).
func (st *staged) restart(ctx context.Context) error {
	if err := st.staging.up.abort(ctx); err != nil {
		return err
	}
	next, err := st.s.stageOnce(ctx, st.o, st.w, st.fill)
	if err != nil {
		return err
	}
	if next.digest() != st.sum || next.up == nil {
		err := fmt.Errorf("made a second time the object has other bytes: %w", coffer.ErrCorrupt)
		if next.up != nil {
			err = errors.Join(err, next.up.abort(context.WithoutCancel(ctx)))
		}
		return err
	}
	st.staging = next
	return nil
}

// write is a conditional write of size bytes to an object.
type write struct {
	size    int64
	send    func(context.Context) (coffer.Object, error)
	ours    func(context.Context, object.Info) (bool, error)
	restart func(context.Context) error // before the next attempt after a 409; nil: not needed
}

// conditional sends a write, each attempt by a call that the SDK does not repeat, and finds out what happened when an answer leaves that
// open. o's ETag is the condition.
func (s *Store) conditional(ctx context.Context, o coffer.Object, w write) (coffer.Object, error) {
	open := false // an attempt was made of which nobody knows whether it had its effect
	for n := 1; ; n++ {
		made, err := w.send(ctx)
		if err == nil {
			return made, nil
		}
		f := asFailure(err)
		if src := (sourceError{}); f == nil || errors.As(err, &src) {
			if open {
				err = unknown(err)
			}
			return coffer.Object{}, err
		}
		raced := f.status == http.StatusConflict
		switch {
		case !f.sure:
			open = true
		case open, raced:
		case f.status == http.StatusPreconditionFailed:
			return coffer.Object{}, conflict(f, "another version is current")
		case f.code == "NoSuchUpload":
			f.why = "the upload was aborted"
			return coffer.Object{}, f
		case f.status == http.StatusNotFound && f.code != "NoSuchBucket" && o.ETag != "":
			return coffer.Object{}, conflict(f, "the object is gone")
		default:
			return coffer.Object{}, err
		}
		if ctx.Err() != nil {
			return coffer.Object{}, unknown(err)
		}
		found, made, serr := s.settle(ctx, o, w, open)
		switch {
		case serr != nil:
			return coffer.Object{}, unknown(errors.Join(err, serr))
		case found == landed:
			return made, nil
		case found == lost:
			return coffer.Object{}, conflict(f, "another version is current")
		case found == nobodyKnows:
			return coffer.Object{}, unknown(err)
		case f.sure && !raced && f.status != http.StatusPreconditionFailed && f.status != http.StatusNotFound:
			return coffer.Object{}, err // refused for another reason, and nothing of an earlier attempt arrived
		case n == attempts && open:
			return coffer.Object{}, unknown(err)
		case n == attempts:
			return coffer.Object{}, err
		}
		if err := s.pause(ctx, n, err); err != nil {
			return coffer.Object{}, unknown(err)
		}
		if raced && w.restart != nil || open && f.code == "NoSuchUpload" {
			if err := w.restart(ctx); err != nil {
				return coffer.Object{}, fmt.Errorf("start over: %w", err)
			}
		}
	}
}

func conflict(f *failure, why string) error {
	g := *f
	g.why, g.is = why, coffer.ErrConflict
	return &g
}

// outcome is what a look at the object says about a write.
type outcome int

const (
	holds       outcome = iota // nothing arrived, and the condition still holds
	landed                     // the write happened
	lost                       // it did not happen and cannot any more
	nobodyKnows                // its bytes may have been there and be gone
)

// settle looks for the bytes of a write. open says that an attempt may have had its effect.
func (s *Store) settle(ctx context.Context, o coffer.Object, w write, open bool) (outcome, coffer.Object, error) {
	h, err := s.head(ctx, coffer.Object{Bucket: o.Bucket, Key: o.Key})
	gone := errors.Is(err, coffer.ErrNotFound)
	if err != nil && !gone {
		return 0, coffer.Object{}, err
	}
	etag := ""
	if !gone {
		etag = unquote(aws.ToString(h.ETag))
	}
	if etag == o.ETag {
		return holds, coffer.Object{}, nil
	}
	if !open {
		return lost, coffer.Object{}, nil
	}
	if !gone {
		if i := s.info(coffer.Object{Bucket: o.Bucket, Key: o.Key}, h); i.Size == w.size {
			ours, err := w.ours(ctx, i)
			if err != nil {
				return 0, coffer.Object{}, err
			}
			if ours {
				return landed, i.Object, nil
			}
		}
	}
	// Somebody else's version, or none. Ours may lie below: it was current for a while.
	var f facts
	if err := f.askVersioning(ctx, s, o.Bucket); err != nil || f.versioning != object.VersioningOn {
		return nobodyKnows, coffer.Object{}, err
	}
	n := 0
	for i, err := range s.versions(ctx, o, false) {
		if err != nil {
			return 0, coffer.Object{}, err
		}
		if i.ETag == o.ETag && !i.Marker {
			break // the version that was to be replaced; ours would be newer
		}
		if n++; n > searched {
			return nobodyKnows, coffer.Object{}, nil
		}
		if i.Marker || i.Size != w.size {
			continue
		}
		ours, err := w.ours(ctx, i)
		if err != nil {
			return 0, coffer.Object{}, err
		}
		if ours {
			return landed, i.Object, nil
		}
	}
	return lost, coffer.Object{}, nil
}

// copySource is the header that names a version to copy from, percent-encoded as S3 wants it.
func copySource(o coffer.Object) *string {
	var b strings.Builder
	for i := range len(o.Key) {
		c := o.Key[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	src := o.Bucket + "/" + b.String()
	if o.VersionID != "" {
		src += "?versionId=" + o.VersionID
	}
	return &src
}

// Copy implements [object.Store]. Up to 5 GB are copied by one call, more by the parts of an upload; annotations come along with the
// first alone. Locks belong to a version and do not come along. On a server other than Amazon's the bytes are read and written: most
// ignore conditions on a copy.
func (s *Store) Copy(ctx context.Context, dst, src coffer.Object) (coffer.Object, error) {
	made, err := s.copy(ctx, dst, src)
	if err != nil {
		return coffer.Object{}, fmt.Errorf("copy object: %w", err)
	}
	return made, nil
}

func (s *Store) copy(ctx context.Context, dst, src coffer.Object) (coffer.Object, error) {
	if err := check(dst); err != nil {
		return coffer.Object{}, err
	}
	from, err := s.stat(ctx, src)
	if err != nil {
		return coffer.Object{}, fmt.Errorf("source: %w", err)
	}
	if from.Archived != "" {
		return coffer.Object{}, fmt.Errorf("source is archived (%s); restore it first: %w", from.Archived, coffer.ErrUnavailable)
	}
	f, err := s.facts(ctx, dst.Bucket)
	if err != nil {
		return coffer.Object{}, err
	}
	attrs := from.Attrs
	attrs.System = unlocked(attrs.System)
	w, err := s.fields(f, attrs)
	if err != nil {
		return coffer.Object{}, err
	}
	dst.ETag = unquote(dst.ETag)
	if from.Size > s.limits.maxPart {
		return s.copyParts(ctx, dst, from, w)
	}
	if !s.foreign {
		made, err := s.conditional(ctx, dst, write{
			size: from.Size,
			send: func(ctx context.Context) (coffer.Object, error) { return s.copyOnce(ctx, dst, from, w) },
			ours: s.sameAs(from),
		})
		if !statusIs(err, http.StatusNotImplemented) {
			return made, err
		}
	}
	// A condition on the destination of a copy is young (October 2025): a bucket's policy can make S3 refuse it, and other servers
	// copy as if it were not there. All honour it on a PUT.
	st, err := s.stage(ctx, dst, attrs, func(w io.Writer) error {
		r, _, err := s.open(ctx, from.Object)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, r)
		return errors.Join(err, r.Close())
	})
	if err != nil {
		return coffer.Object{}, err
	}
	made, err := st.Commit(ctx)
	if err != nil {
		return coffer.Object{}, errors.Join(err, st.Abort(context.WithoutCancel(ctx)))
	}
	return made, nil
}

func unlocked(sys map[string]string) map[string]string {
	kept := map[string]string{}
	for k, v := range sys {
		switch k {
		case sysLockMode, sysLockUntil, sysLegalHold, sysEventHold, sysEventDays, sysEventYears:
		default:
			kept[k] = v
		}
	}
	return kept
}

// copyOnce is one CopyObject. A failed precondition of the source gives coffer.ErrChanged and is no answer about the destination.
func (s *Store) copyOnce(ctx context.Context, dst coffer.Object, from object.Info, w fields) (coffer.Object, error) {
	in := &s3.CopyObjectInput{
		Bucket: &dst.Bucket, Key: &dst.Key, CopySource: copySource(from.Object), CopySourceIfMatch: ifMatch(from.ETag),
		IfMatch: ifMatch(dst.ETag), MetadataDirective: types.MetadataDirectiveCopy, TaggingDirective: types.TaggingDirectiveCopy,
		ExpectedBucketOwner: s.owner, ExpectedSourceBucketOwner: s.owner, RequestPayer: s.payer,
	}
	if dst.ETag == "" {
		in.IfNoneMatch = aws.String("*")
	}
	w.copyObject(in)
	out, err := s.client.CopyObject(ctx, in, once)
	err = translate(err, "s3:PutObject")
	if statusIs(err, http.StatusPreconditionFailed) || statusIs(err, http.StatusNotFound) {
		if _, herr := s.head(ctx, from.Object); herr != nil {
			return coffer.Object{}, sourceError{herr}
		}
	}
	if err != nil {
		return coffer.Object{}, err
	}
	if out.CopyObjectResult == nil {
		return coffer.Object{}, &failure{status: http.StatusOK, garbled: true}
	}
	return s.made(dst, out.VersionId, out.CopyObjectResult.ETag), nil
}

// sourceError ends the attempts of a copy: what failed is about the source and says nothing about the destination.
type sourceError struct{ err error }

func (e sourceError) Error() string { return "source: " + e.err.Error() }
func (e sourceError) Unwrap() error { return e.err }

// sameAs compares versions by digest.
func (s *Store) sameAs(from object.Info) func(context.Context, object.Info) (bool, error) {
	return func(ctx context.Context, i object.Info) (bool, error) {
		want, err := s.digest(ctx, from.Object)
		if err != nil {
			return false, err
		}
		got, err := s.digest(ctx, i.Object)
		return got == want, err
	}
}

// copyParts copies an object that is too large for one call.
func (s *Store) copyParts(ctx context.Context, dst coffer.Object, from object.Info, w fields) (made coffer.Object, err error) {
	up, err := s.begin(ctx, dst, w)
	if err != nil {
		return made, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, up.abort(context.WithoutCancel(ctx)))
		}
	}()
	parts := func() error {
		p := plan{limits: s.limits, size: from.Size}
		_, pieces := p.copy(0, from.Size, true)
		pos := int64(0)
		for _, n := range pieces {
			if err := up.copy(from.Object, pos, n); err != nil {
				return err
			}
			pos += n
		}
		return up.group.Wait()
	}
	if err := parts(); err != nil {
		return made, err
	}
	made, err = s.conditional(ctx, dst, write{
		size: from.Size,
		send: func(ctx context.Context) (coffer.Object, error) { return up.complete(ctx) },
		ours: s.sameAs(from),
		restart: func(ctx context.Context) error {
			if err := up.abort(ctx); err != nil {
				return err
			}
			next, err := s.begin(ctx, dst, w)
			if err != nil {
				return err
			}
			up = next
			return parts()
		},
	})
	if err == nil {
		_ = up.end(context.WithoutCancel(ctx)) // the object is there; Sweep forgets what is left in the journal
	}
	return made, err
}

// Delete implements [object.Store]. Whether there is something to delete is looked at first, because S3 answers for what is not there as
// if it had deleted it. Without a VersionID the call is conditional on what was seen there. With one, an ETag is compared just before:
// S3's condition is about the current version alone; a version keeps its bytes, except the null version of a bucket whose versioning
// is off or suspended. Governance retention is never bypassed. Where MFA delete is on, a version cannot be removed: coffer.ErrConflict.
func (s *Store) Delete(ctx context.Context, o coffer.Object) (coffer.Object, error) {
	gone, err := s.delete(ctx, o)
	if err != nil {
		return coffer.Object{}, fmt.Errorf("delete object: %w", err)
	}
	return gone, nil
}

func (s *Store) delete(ctx context.Context, o coffer.Object) (coffer.Object, error) {
	if err := check(o); err != nil {
		return coffer.Object{}, err
	}
	if o.VersionID != "" {
		return s.deleteVersion(ctx, o)
	}
	open := false
	var seen coffer.Object
	for n := 1; ; n++ {
		h, err := s.head(ctx, coffer.Object{Bucket: o.Bucket, Key: o.Key})
		if errors.Is(err, coffer.ErrNotFound) && open {
			return s.removed(ctx, seen)
		}
		if err != nil {
			return coffer.Object{}, err
		}
		now := s.made(o, h.VersionId, h.ETag)
		switch {
		case o.ETag == "" || unquote(o.ETag) == now.ETag:
		case open:
			// Ours may have happened before the object was written anew.
			return coffer.Object{}, unknown(errors.New("the object was written by somebody else meanwhile"))
		default:
			return coffer.Object{}, fmt.Errorf("another version is current: %w", coffer.ErrConflict)
		}
		seen = now
		out, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{
			Bucket: &o.Bucket, Key: &o.Key, IfMatch: ifMatch(now.ETag), ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
		}, once)
		err = translate(err, "s3:DeleteObject")
		f := asFailure(err)
		switch {
		case err == nil && out.VersionId != nil && *out.VersionId != "":
			return coffer.Object{Bucket: o.Bucket, Key: o.Key, VersionID: *out.VersionId}, nil
		case err == nil:
			return now, nil
		case !f.sure:
			open = true
		case f.status == http.StatusPreconditionFailed, f.status == http.StatusConflict, f.status == http.StatusNotFound:
			// The object changed since it was looked at. Look again.
		default:
			return coffer.Object{}, err
		}
		if ctx.Err() != nil || n == attempts {
			if open {
				return coffer.Object{}, unknown(err)
			}
			return coffer.Object{}, conflict(f, "the object is being written by others")
		}
		if err := s.pause(ctx, n, err); err != nil {
			return coffer.Object{}, unknown(err)
		}
	}
}

// removed returns what a delete whose answer was lost has left: a marker, or what was there.
func (s *Store) removed(ctx context.Context, seen coffer.Object) (coffer.Object, error) {
	for i, err := range s.versions(ctx, seen, false) {
		if err != nil {
			return coffer.Object{}, unknown(err)
		}
		if i.Marker && i.Latest {
			return i.Object, nil
		}
		break
	}
	return seen, nil
}

func (s *Store) deleteVersion(ctx context.Context, o coffer.Object) (coffer.Object, error) {
	gone := coffer.Object{Bucket: o.Bucket, Key: o.Key, VersionID: o.VersionID}
	h, err := s.head(ctx, gone)
	switch {
	case statusIs(err, http.StatusMethodNotAllowed):
		// A delete marker: it is there and has no ETag.
		if o.ETag != "" {
			return coffer.Object{}, fmt.Errorf("version is a delete marker: %w", coffer.ErrConflict)
		}
	case err != nil:
		return coffer.Object{}, err
	default:
		gone.ETag = unquote(aws.ToString(h.ETag))
		if o.ETag != "" && unquote(o.ETag) != gone.ETag {
			return coffer.Object{}, fmt.Errorf("version has another ETag: %w", coffer.ErrConflict)
		}
	}
	b, err := s.facts(ctx, o.Bucket)
	if err != nil {
		return coffer.Object{}, err
	}
	if b.mfa {
		return coffer.Object{}, fmt.Errorf("MFA delete is on: only the root user can remove versions of this bucket: %w", coffer.ErrConflict)
	}
	_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: &o.VersionID, ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	})
	err = translate(err, "s3:DeleteObjectVersion")
	if err == nil {
		return gone, nil
	}
	if f := asFailure(err); f.sure && h != nil {
		// S3 says that access is denied where a version is locked.
		i := object.Info{Object: gone}
		if lerr := s.addLocks(ctx, b, &i); lerr == nil && i.Locked != "" && !strings.HasPrefix(i.Locked, "unknown") {
			return coffer.Object{}, conflict(f, "version is locked: "+i.Locked)
		}
	}
	return coffer.Object{}, err
}
