package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"coffer"
	"coffer/object"
)

// limits are S3's on objects and parts, and what is chosen within them. A test makes them small.
type limits struct {
	put      int64 // up to this an object is staged in memory and written by one PUT; also the size of the first parts
	minPart  int64 // of all parts but the last
	maxPart  int64 // and the most that one copy may have
	parts    int   // in an upload
	source   int64 // a range can be copied from objects larger than this
	grown    int64 // parts held in memory grow up to this
	every    int   // so many parts they double
	stretch  int64 // longest part made by copying, unless the object is so large that it needs longer ones
	fraction int64 // of an object that a part has at least, so that there are never too many
	inFlight int   // parts on their way at once
}

const mib = 1 << 20

// amazon are the limits of S3 (User Guide, "Amazon S3 multipart upload limits"; API reference, UploadPartCopy). With them the parts of
// a rewrite of any object of up to 10 TB fit into one upload: at most 2,400 stretches to copy and as many parts more where they are
// too long for one, 2,401 windows between them, and 2,400 parts more where those are. What is written without a copy, through memory,
// may have 500 GB.
var amazon = limits{
	put: 8 * mib, minPart: 5 * mib, maxPart: 5 << 30, parts: 10_000, source: 5 * mib, grown: 64 * mib, every: 1000,
	stretch: 512 * mib, fraction: 2400, inFlight: 2,
}

// plan cuts what is written into parts. It keeps every limit: parts of literal bytes have minPart or more, except the last one of the
// upload; a stretch is copied only if what is before it fills a part of its own, for which it gives up bytes of its front.
type plan struct {
	limits
	size     int64 // of the source
	literals int   // parts of literal bytes so far
}

// part returns how many literal bytes the next part has.
func (p *plan) part() int64 {
	n := max(p.put, (p.size+p.fraction-1)/p.fraction)
	for i := p.every; i <= p.literals && n < p.grown; i += p.every {
		n *= 2
	}
	return min(n, p.grown)
}

// copy decides about a stretch of n source bytes that follows literal pending bytes: the first literal bytes of it join those, and
// pieces of the rest are copied. Without pieces the whole stretch is literal. The pieces have almost the same length.
func (p *plan) copy(pending, n int64, begun bool) (literal int64, pieces []int64) {
	if pending > 0 && pending < p.minPart {
		literal = p.minPart - pending
	}
	rest := n - literal
	if p.size <= p.source || rest < max(p.minPart, (p.size+p.fraction-1)/p.fraction) || !begun && pending+n <= p.put {
		return n, nil
	}
	longest := min(max(p.stretch, (p.size+p.fraction-1)/p.fraction), p.maxPart)
	k := (rest + longest - 1) / longest
	for i := range k {
		pieces = append(pieces, rest*(i+1)/k-rest*i/k)
	}
	return literal, pieces
}

// upload is a multipart upload under way. Its parts are sent by several goroutines; the methods are called by one.
type upload struct {
	s       *Store
	journal object.Journal
	o       coffer.Object
	id      string
	started time.Time
	sum     types.ChecksumAlgorithm
	size    int64
	parts   []*types.CompletedPart
	group   *errgroup.Group
	ctx     context.Context
}

// begin creates an upload and enters it into the journal. A lost answer leaves an upload without parts, which holds no bytes.
func (s *Store) begin(ctx context.Context, o coffer.Object, w fields) (*upload, error) {
	j := s.remembered()
	if j == nil {
		return nil, fmt.Errorf("an object of more than %d bytes needs a journal of uploads, and there is none: %w", s.limits.put,
			coffer.ErrUnavailable)
	}
	in := &s3.CreateMultipartUploadInput{Bucket: &o.Bucket, Key: &o.Key, ExpectedBucketOwner: s.owner, RequestPayer: s.payer}
	if s.foreign {
		// versitygw answers the copy of a part with the checksum of the whole source, and then refuses it. What was written is compared
		// with its SHA-256 in any case.
		w.checksum = ""
	}
	w.create(in)
	started := s.now()
	out, err := s.client.CreateMultipartUpload(ctx, in, w.header)
	if err := translate(err, "s3:PutObject"); err != nil {
		return nil, fmt.Errorf("create upload: %w", err)
	}
	u := &upload{s: s, journal: j, o: o, id: aws.ToString(out.UploadId), started: started, sum: w.checksum}
	if err := j.Begin(ctx, u.entry()); err != nil {
		return nil, errors.Join(fmt.Errorf("remember upload: %w", err), u.abort(context.WithoutCancel(ctx)))
	}
	u.group, u.ctx = errgroup.WithContext(ctx)
	u.group.SetLimit(s.limits.inFlight)
	return u, nil
}

func (u *upload) entry() object.Upload {
	return object.Upload{Bucket: u.o.Bucket, Key: u.o.Key, ID: u.id, Started: u.started}
}

// part does the call that makes the next part, of size bytes, in the background. It waits while too many are on their way, and returns
// the error of one that failed.
func (u *upload) part(size int64, call func(number *int32) (types.CompletedPart, error)) error {
	if u.ctx.Err() != nil {
		return u.group.Wait()
	}
	if len(u.parts) == u.s.limits.parts {
		return fmt.Errorf("more than %d parts would be needed: %w", u.s.limits.parts, coffer.ErrLimit)
	}
	u.size += size
	p := &types.CompletedPart{}
	u.parts = append(u.parts, p)
	number := aws.Int32(int32(len(u.parts)))
	u.group.Go(func() error {
		made, err := call(number)
		if err != nil {
			return fmt.Errorf("upload part %d: %w", *number, err)
		}
		*p = made
		p.PartNumber = number
		return nil
	})
	return nil
}

// send sends b as the next part. b belongs to the upload from here on.
func (u *upload) send(b []byte) error {
	return u.part(int64(len(b)), func(number *int32) (types.CompletedPart, error) {
		out, err := u.s.client.UploadPart(u.ctx, &s3.UploadPartInput{
			Bucket: &u.o.Bucket, Key: &u.o.Key, UploadId: &u.id, PartNumber: number, Body: bytes.NewReader(b),
			ChecksumAlgorithm: u.sum, ExpectedBucketOwner: u.s.owner, RequestPayer: u.s.payer,
		})
		if err := translate(err, "s3:PutObject"); err != nil {
			return types.CompletedPart{}, err
		}
		if u.sum == "" {
			return types.CompletedPart{ETag: out.ETag}, nil // the SDK adds a checksum by itself, for the way
		}
		return types.CompletedPart{
			ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C,
			ChecksumCRC64NVME: out.ChecksumCRC64NVME, ChecksumSHA1: out.ChecksumSHA1, ChecksumSHA256: out.ChecksumSHA256,
			ChecksumSHA512: out.ChecksumSHA512,
		}, nil
	})
}

// copy has S3 copy the bytes [start,start+n) of the version src as the next part.
func (u *upload) copy(src coffer.Object, start, n int64) error {
	return u.part(n, func(number *int32) (types.CompletedPart, error) {
		out, err := u.s.client.UploadPartCopy(u.ctx, &s3.UploadPartCopyInput{
			Bucket: &u.o.Bucket, Key: &u.o.Key, UploadId: &u.id, PartNumber: number, CopySource: copySource(src),
			CopySourceIfMatch:   ifMatch(src.ETag),
			CopySourceRange:     aws.String("bytes=" + strconv.FormatInt(start, 10) + "-" + strconv.FormatInt(start+n-1, 10)),
			ExpectedBucketOwner: u.s.owner, ExpectedSourceBucketOwner: u.s.owner, RequestPayer: u.s.payer,
		})
		if err := translate(err, "s3:GetObject"); err != nil {
			return types.CompletedPart{}, err
		}
		if out.CopyPartResult == nil {
			return types.CompletedPart{}, fmt.Errorf("copy without a result: %w", coffer.ErrUnavailable)
		}
		r := out.CopyPartResult
		if u.sum == "" {
			return types.CompletedPart{ETag: r.ETag}, nil
		}
		return types.CompletedPart{
			ETag: r.ETag, ChecksumCRC32: r.ChecksumCRC32, ChecksumCRC32C: r.ChecksumCRC32C, ChecksumCRC64NVME: r.ChecksumCRC64NVME,
			ChecksumSHA1: r.ChecksumSHA1, ChecksumSHA256: r.ChecksumSHA256, ChecksumSHA512: r.ChecksumSHA512,
		}, nil
	})
}

// complete makes the object of the parts, by one call that nobody repeats.
func (u *upload) complete(ctx context.Context) (coffer.Object, error) {
	parts := make([]types.CompletedPart, len(u.parts))
	for i, p := range u.parts {
		parts[i] = *p
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &u.o.Bucket, Key: &u.o.Key, UploadId: &u.id, MpuObjectSize: &u.size, IfMatch: ifMatch(u.o.ETag),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}, ExpectedBucketOwner: u.s.owner, RequestPayer: u.s.payer,
	}
	if u.o.ETag == "" {
		in.IfNoneMatch = aws.String("*")
	}
	out, err := u.s.client.CompleteMultipartUpload(ctx, in, once)
	if err := translate(err, "s3:PutObject"); err != nil {
		return coffer.Object{}, err
	}
	return u.s.made(u.o, out.VersionId, out.ETag), nil
}

// abort ends an upload. One that is gone is ended, too.
func (u *upload) abort(ctx context.Context) error {
	if u.group != nil {
		_ = u.group.Wait() // a part that arrives after the abort would stay; its error was reported, or nobody wants it any more
	}
	if _, err := u.s.abort(ctx, u.entry()); err != nil {
		return err
	}
	return u.end(ctx)
}

func (u *upload) end(ctx context.Context) error {
	if err := u.journal.End(ctx, u.entry()); err != nil {
		return fmt.Errorf("forget upload: %w", err)
	}
	return nil
}

// abort has S3 forget an upload, and reports whether it was still there.
func (s *Store) abort(ctx context.Context, u object.Upload) (bool, error) {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.Bucket, Key: &u.Key, UploadId: &u.ID, ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	})
	err = translate(err, "s3:AbortMultipartUpload")
	if errors.Is(err, coffer.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("abort upload: %w", err)
	}
	return true, nil
}

// Sweep implements [object.Store]: it aborts the uploads of the journal that are older than age, those in somebody's hands too, and
// forgets them. Where one cannot be aborted the others are, and the errors are returned together.
func (s *Store) Sweep(ctx context.Context, age time.Duration) (int, error) {
	j := s.remembered()
	if j == nil {
		return 0, nil
	}
	before := s.now().Add(-age)
	var old []object.Upload
	for u, err := range j.Uploads(ctx) {
		if err != nil {
			return 0, fmt.Errorf("sweep: %w", err)
		}
		if !u.Started.After(before) {
			old = append(old, u)
		}
	}
	n := 0
	var errs error
	for _, u := range old {
		there, err := s.abort(ctx, u)
		if err == nil {
			err = j.End(ctx, u)
		}
		if there {
			n++
		}
		errs = errors.Join(errs, err)
	}
	if errs != nil {
		return n, fmt.Errorf("sweep: %w", errs)
	}
	return n, nil
}

// staging takes what fill writes: in memory as long as it is little, as parts of an upload from then on.
type staging struct {
	s    *Store
	ctx  context.Context
	o    coffer.Object
	w    fields
	plan plan
	src  *reader // of the object to be replaced, opened with the first range to be copied
	buf  []byte  // what is in no part yet
	up   *upload
	sum  hash.Hash
	size int64
	err  error // of an earlier write: nothing goes on after it
}

// stageOnce runs fill. After an error nothing stays behind.
func (s *Store) stageOnce(ctx context.Context, o coffer.Object, w fields, fill func(io.Writer) error) (*staging, error) {
	st := &staging{s: s, ctx: ctx, o: o, w: w, plan: plan{limits: s.limits}, sum: sha256.New()}
	var dst io.Writer = struct{ io.Writer }{st}
	if o.ETag != "" {
		dst = st
	}
	err := fill(dst)
	if err == nil {
		err = st.err
	}
	if err == nil {
		err = st.finish()
	}
	if st.src != nil {
		err = errors.Join(err, st.src.Close())
	}
	if err != nil {
		if st.up != nil {
			err = errors.Join(err, st.up.abort(context.WithoutCancel(ctx)))
		}
		return nil, err
	}
	return st, nil
}

func (st *staging) digest() (sum [sha256.Size]byte) {
	st.sum.Sum(sum[:0])
	return sum
}

// Write implements io.Writer.
func (st *staging) Write(p []byte) (int, error) {
	if st.err == nil {
		st.err = st.write(p)
	}
	if st.err != nil {
		return 0, st.err
	}
	return len(p), nil
}

func (st *staging) write(p []byte) error {
	if err := st.ctx.Err(); err != nil {
		return err
	}
	st.sum.Write(p)
	st.size += int64(len(p))
	for len(p) > 0 {
		if st.up == nil && int64(len(st.buf)+len(p)) > st.plan.put {
			if err := st.begin(); err != nil {
				return err
			}
		}
		n := len(p)
		if st.up != nil {
			n = int(min(int64(n), st.plan.part()-int64(len(st.buf))))
		}
		st.buf = append(st.buf, p[:n]...)
		p = p[n:]
		if st.up != nil && int64(len(st.buf)) >= st.plan.part() {
			if err := st.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (st *staging) begin() (err error) {
	st.up, err = st.s.begin(st.ctx, st.o, st.w)
	return err
}

// flush makes a part of what is pending.
func (st *staging) flush() error {
	b := st.buf
	st.buf = make([]byte, 0, min(st.plan.part(), 2*int64(len(b))))
	st.plan.literals++
	return st.up.send(b)
}

// CopyRange implements format.RangeCopier. The bytes are read once, for the digest, and S3 copies them where that is possible.
func (st *staging) CopyRange(start, end int64) error {
	if st.err == nil {
		st.err = st.copyRange(start, end)
	}
	return st.err
}

func (st *staging) copyRange(start, end int64) error {
	if st.src == nil {
		r, _, err := st.s.open(st.ctx, st.o)
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		st.src, st.plan.size = r, r.src.size
	}
	if start < 0 || end <= start || end > st.plan.size {
		return fmt.Errorf("range to copy lies outside the source: %w", coffer.ErrInvalid)
	}
	if err := st.src.skip(start); err != nil {
		return err
	}
	literal, pieces := st.plan.copy(int64(len(st.buf)), end-start, st.up != nil)
	if err := st.take(literal); err != nil || len(pieces) == 0 {
		return err
	}
	if st.up == nil {
		if err := st.begin(); err != nil {
			return err
		}
	}
	if len(st.buf) > 0 {
		if err := st.flush(); err != nil {
			return err
		}
	}
	pos := start + literal
	for _, n := range pieces {
		if err := st.up.copy(st.src.src.o, pos, n); err != nil {
			return err
		}
		if _, err := io.CopyN(st.sum, st.src, n); err != nil {
			return short(err)
		}
		st.size += n
		pos += n
	}
	return nil
}

// take writes the next n bytes of the source.
func (st *staging) take(n int64) error {
	_, err := io.CopyN(writer(st.write), st.src, n)
	return short(err)
}

type writer func([]byte) error

func (w writer) Write(p []byte) (int, error) {
	if err := w(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// short: a source that ends before its size is not the one that was opened.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("source ended early: %w", coffer.ErrChanged)
	}
	return err
}

// finish sends the last part, which may be short, and waits for all.
func (st *staging) finish() error {
	if st.up == nil {
		return nil
	}
	if len(st.buf) > 0 {
		if err := st.flush(); err != nil {
			return err
		}
		st.buf = nil
	}
	return st.up.group.Wait()
}
