package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"coffer"
	"coffer/object"
)

// The keys of Attrs.System: what a rewrite keeps beyond the attributes that every storage has. They are stored with plans, so their
// names and forms stay as they are.
const (
	sysSSE        = "sse"       // AES256, aws:kms, aws:kms:dsse
	sysKMSKey     = "kmsKey"    // id or ARN
	sysBucketKey  = "bucketKey" // "true"
	sysChecksum   = "checksum"  // algorithm of the additional checksum
	sysFull       = "aclFull"   // grantees of FULL_CONTROL, as the header x-amz-grant-full-control has them; likewise the next three
	sysRead       = "aclRead"
	sysReadACP    = "aclReadACP"
	sysWriteACP   = "aclWriteACP"
	sysLockMode   = "lockMode" // GOVERNANCE, COMPLIANCE
	sysLockUntil  = "lockUntil"
	sysLegalHold  = "legalHold" // "ON"
	sysEventHold  = "eventHold" // "ON"
	sysEventDays  = "eventHoldDays"
	sysEventYears = "eventHoldYears"
	sysLost       = "lost"   // metadata entries that HTTP cannot carry
	sysUnseen     = "unseen" // permissions that were missing to see everything
)

// head is HeadObject of the version that o names, under the condition of its ETag.
func (s *Store) head(ctx context.Context, o coffer.Object) (*s3.HeadObjectOutput, error) {
	in := &s3.HeadObjectInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), IfMatch: ifMatch(o.ETag), ChecksumMode: types.ChecksumModeEnabled,
		ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	}
	out, err := s.client.HeadObject(ctx, in)
	if err == nil {
		return out, nil
	}
	err = translate(err, "s3:GetObject")
	if statusIs(err, http.StatusBadRequest) || statusIs(err, http.StatusForbidden) {
		return nil, s.explain(ctx, o, err)
	}
	return nil, err
}

// explain finds out what a HEAD refused with 400 or 403 was refused for: its answer has no body, that of a GET does.
func (s *Store) explain(ctx context.Context, o coffer.Object, was error) error {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), Range: aws.String("bytes=0-0"),
		ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	})
	if err == nil {
		_ = out.Body.Close() // one byte, not read
		return was
	}
	return refine(translate(err, "s3:GetObject"), o)
}

// refine tells apart what S3 answers with 400 to a read.
func refine(err error, o coffer.Object) error {
	f := asFailure(err)
	if f == nil || f.status != http.StatusBadRequest {
		return err
	}
	switch {
	case f.code == "InvalidRequest":
		f.why, f.is = "encrypted under a key that its writer keeps (SSE-C), which S3 and Coffer do not have", coffer.ErrUnsupported
	case f.code == "InvalidArgument" && o.VersionID != "":
		f.why, f.is = "no such version", coffer.ErrNotFound
	}
	return err
}

// opt is a field of a request, absent if empty.
func opt(v string) *string {
	if v == "" {
		return nil
	}
	return &v
}

// unquote returns an ETag without its quotes.
func unquote(etag string) string { return strings.Trim(etag, `"`) }

func ifMatch(etag string) *string {
	if etag == "" {
		return nil
	}
	return aws.String(`"` + unquote(etag) + `"`)
}

// info is what a HEAD tells about an object.
func (s *Store) info(o coffer.Object, h *s3.HeadObjectOutput) object.Info {
	i := object.Info{
		Object:   s.made(o, h.VersionId, h.ETag),
		Size:     aws.ToInt64(h.ContentLength),
		Modified: aws.ToTime(h.LastModified),
		Latest:   o.VersionID == "",
		Attrs: object.Attrs{
			ContentType: aws.ToString(h.ContentType), ContentEncoding: aws.ToString(h.ContentEncoding),
			ContentLanguage: aws.ToString(h.ContentLanguage), ContentDisposition: aws.ToString(h.ContentDisposition),
			CacheControl: aws.ToString(h.CacheControl), Expires: aws.ToString(h.ExpiresString),
			Redirect: aws.ToString(h.WebsiteRedirectLocation), StorageClass: string(h.StorageClass),
		},
		Archived: archived(string(h.StorageClass), string(h.ArchiveStatus), aws.ToString(h.Restore)),
	}
	if len(h.Metadata) > 0 {
		i.Attrs.Metadata = h.Metadata
	}
	i.ETagIsMD5 = isMD5(i.ETag, h.ServerSideEncryption, h.SSECustomerAlgorithm)
	sys := map[string]string{}
	set := func(k, v string) {
		if v != "" {
			sys[k] = v
		}
	}
	set(sysSSE, string(h.ServerSideEncryption))
	set(sysKMSKey, aws.ToString(h.SSEKMSKeyId))
	if aws.ToBool(h.BucketKeyEnabled) {
		sys[sysBucketKey] = "true"
	}
	set(sysChecksum, string(checksumOf(h)))
	set(sysLockMode, string(h.ObjectLockMode))
	if t := aws.ToTime(h.ObjectLockRetainUntilDate); !t.IsZero() {
		sys[sysLockUntil] = t.UTC().Format(time.RFC3339Nano)
	}
	if h.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn {
		sys[sysLegalHold] = "ON"
	}
	setEventHold(sys, h.ObjectLockEventHold, h.ObjectLockEventHoldDurationDays, h.ObjectLockEventHoldDurationYears)
	if n := aws.ToInt32(h.MissingMeta); n > 0 {
		sys[sysLost] = strconv.Itoa(int(n))
	}
	if len(sys) > 0 {
		i.Attrs.System = sys
	}
	return i
}

func setEventHold(sys map[string]string, hold types.ObjectLockEventHold, days, years *int32) {
	if hold == types.ObjectLockEventHoldOn {
		sys[sysEventHold] = "ON"
	}
	if n := aws.ToInt32(days); n > 0 {
		sys[sysEventDays] = strconv.Itoa(int(n))
	}
	if n := aws.ToInt32(years); n > 0 {
		sys[sysEventYears] = strconv.Itoa(int(n))
	}
}

// isMD5 says whether an ETag is the MD5 of the bytes: in a single part, encrypted by S3's own key or not at all.
func isMD5(etag string, sse types.ServerSideEncryption, customer *string) bool {
	if len(etag) != 32 || customer != nil || sse != "" && sse != types.ServerSideEncryptionAes256 {
		return false
	}
	return !strings.ContainsFunc(etag, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// archived says why bytes of this class cannot be read now. restore is the header x-amz-restore.
func archived(class, status, restore string) string {
	cold := status
	if cold == "" && (class == string(types.StorageClassGlacier) || class == string(types.StorageClassDeepArchive)) {
		cold = class
	}
	switch {
	case cold == "":
		return ""
	case strings.Contains(restore, `ongoing-request="true"`):
		return cold + ", restore under way"
	case strings.Contains(restore, `ongoing-request="false"`) && status == "":
		return ""
	}
	return cold + ", not restored"
}

// algorithms are the additional checksums that can be made here; the first is S3's own choice for a writer who makes none.
var algorithms = []types.ChecksumAlgorithm{
	types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmSha1,
	types.ChecksumAlgorithmSha256, types.ChecksumAlgorithmSha512,
}

func checksumOf(h *s3.HeadObjectOutput) types.ChecksumAlgorithm {
	for i, sum := range []*string{
		h.ChecksumCRC64NVME, h.ChecksumCRC32, h.ChecksumCRC32C, h.ChecksumSHA1, h.ChecksumSHA256, h.ChecksumSHA512,
	} {
		if sum != nil {
			return algorithms[i]
		}
	}
	return ""
}

// Stat implements [object.Reader]. It is a HEAD and one call for the tags; one for the ACL, unless the bucket's owner owns all
// objects; one for the current version, if o names a version in a versioned bucket; and up to two for what a HEAD does not tell
// of retention and holds, in a bucket with Object Lock. What S3 refuses to tell of the ACL, retention and holds is no error: it is
// written into System, and Locked begins with "unknown".
func (s *Store) Stat(ctx context.Context, o coffer.Object) (object.Info, error) {
	i, err := s.stat(ctx, o)
	if err != nil {
		return object.Info{}, fmt.Errorf("stat object: %w", err)
	}
	return i, nil
}

func (s *Store) stat(ctx context.Context, o coffer.Object) (object.Info, error) {
	if err := check(o); err != nil {
		return object.Info{}, err
	}
	f, err := s.facts(ctx, o.Bucket)
	if err != nil {
		return object.Info{}, err
	}
	h, err := s.head(ctx, o)
	if err != nil {
		return object.Info{}, err
	}
	i := s.info(o, h)
	if h.SSECustomerAlgorithm != nil {
		return object.Info{}, fmt.Errorf("object is encrypted under a key that its writer keeps (SSE-C): %w", coffer.ErrUnsupported)
	}
	if !i.Latest {
		if i.Latest, err = s.isCurrent(ctx, o, i.VersionID); err != nil {
			return object.Info{}, err
		}
	}
	pinned := coffer.Object{Bucket: o.Bucket, Key: o.Key, VersionID: i.VersionID}
	tags, err := s.client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(pinned.VersionID), ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	})
	if err := translate(err, "s3:GetObjectTagging"); err != nil && !s.lacks(err) {
		return object.Info{}, err
	} else if err == nil {
		i.Attrs.Tags = fromTags(tags.TagSet)
	}
	sys := i.Attrs.System
	if sys == nil {
		sys = map[string]string{}
	}
	var unseen []string
	if !f.enforced {
		if err := s.acl(ctx, pinned, sys); denied(err) {
			unseen = append(unseen, "s3:GetObjectAcl")
		} else if err != nil {
			return object.Info{}, err
		}
	}
	hidden, err := s.locks(ctx, pinned, f, sys)
	if err != nil {
		return object.Info{}, err
	}
	if unseen = append(unseen, hidden...); len(unseen) > 0 {
		sys[sysUnseen] = strings.Join(unseen, ", ")
	}
	if len(sys) > 0 {
		i.Attrs.System = sys
	}
	i.Locked = s.locked(f, sys, hidden)
	return i, nil
}

// isCurrent says whether the version is the current one.
func (s *Store) isCurrent(ctx context.Context, o coffer.Object, version string) (bool, error) {
	h, err := s.head(ctx, coffer.Object{Bucket: o.Bucket, Key: o.Key})
	switch {
	case errors.Is(err, coffer.ErrNotFound):
		return false, nil // a marker
	case err != nil:
		return false, err
	}
	return s.made(o, h.VersionId, nil).VersionID == version, nil
}

// fromTags sorts by key: S3 promises no order.
func fromTags(set []types.Tag) []coffer.Tag {
	var tags []coffer.Tag
	for _, t := range set {
		tags = append(tags, coffer.Tag{Key: aws.ToString(t.Key), Value: aws.ToString(t.Value)})
	}
	slices.SortFunc(tags, func(a, b coffer.Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

// acl puts the grants of the version into sys. The grants that every object has by default, all rights to its owner, are left out.
func (s *Store) acl(ctx context.Context, o coffer.Object, sys map[string]string) error {
	out, err := s.client.GetObjectAcl(ctx, &s3.GetObjectAclInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	})
	if err := translate(err, "s3:GetObjectAcl"); err != nil {
		if s.lacks(err) {
			return nil
		}
		return err
	}
	owner := ""
	if out.Owner != nil {
		owner = aws.ToString(out.Owner.ID)
	}
	grants := map[string][]string{}
	others := false
	for _, g := range out.Grants {
		if g.Grantee == nil {
			continue
		}
		var who string
		switch {
		case g.Grantee.ID != nil:
			who = `id="` + *g.Grantee.ID + `"`
		case g.Grantee.URI != nil:
			who = `uri="` + *g.Grantee.URI + `"`
		case g.Grantee.EmailAddress != nil:
			who = `emailAddress="` + *g.Grantee.EmailAddress + `"`
		default:
			continue
		}
		key := map[types.Permission]string{
			types.PermissionFullControl: sysFull, types.PermissionRead: sysRead, types.PermissionReadAcp: sysReadACP,
			types.PermissionWriteAcp: sysWriteACP,
		}[g.Permission]
		if key == "" {
			continue // WRITE means nothing on an object
		}
		grants[key] = append(grants[key], who)
		others = others || key != sysFull || aws.ToString(g.Grantee.ID) != owner
	}
	if others {
		for k, who := range grants {
			slices.Sort(who)
			sys[k] = strings.Join(who, ", ")
		}
	}
	return nil
}

// locks completes what sys, filled from a HEAD, says of retention and holds, and returns the permissions that were missing.
// S3 leaves the headers of a HEAD out for a caller without the permission, so their absence alone says nothing.
func (s *Store) locks(ctx context.Context, o coffer.Object, f facts, sys map[string]string) (hidden []string, err error) {
	if f.lock == lockOff {
		return nil, nil
	}
	if sys[sysLockMode] == "" && sys[sysEventHold] == "" {
		out, err := s.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{
			Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
		})
		switch err := translate(err, "s3:GetObjectRetention"); {
		case err == nil && out.Retention != nil:
			r := out.Retention
			if r.Mode != "" {
				sys[sysLockMode] = string(r.Mode)
			}
			if t := aws.ToTime(r.RetainUntilDate); !t.IsZero() {
				sys[sysLockUntil] = t.UTC().Format(time.RFC3339Nano)
			}
			if d := r.EventHoldDuration; d != nil {
				setEventHold(sys, r.EventHold, d.Days, d.Years)
			} else {
				setEventHold(sys, r.EventHold, nil, nil)
			}
		case err == nil, noLock(err), s.lacks(err):
		case denied(err):
			hidden = append(hidden, "s3:GetObjectRetention")
		default:
			return nil, err
		}
	}
	if sys[sysLegalHold] == "" {
		out, err := s.client.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{
			Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
		})
		switch err := translate(err, "s3:GetObjectLegalHold"); {
		case err == nil && out.LegalHold != nil && out.LegalHold.Status == types.ObjectLockLegalHoldStatusOn:
			sys[sysLegalHold] = "ON"
		case err == nil, noLock(err), s.lacks(err):
		case denied(err):
			hidden = append(hidden, "s3:GetObjectLegalHold")
		default:
			return nil, err
		}
	}
	return hidden, nil
}

// noLock: the object has no retention or hold, or the bucket no Object Lock.
func noLock(err error) bool {
	return codeIs(err, "NoSuchObjectLockConfiguration") || codeIs(err, "ObjectLockConfigurationNotFoundError") ||
		codeIs(err, "InvalidRequest")
}

// locked says why a version with these properties cannot be removed now.
func (s *Store) locked(f facts, sys map[string]string, hidden []string) string {
	var why []string
	if sys[sysLegalHold] != "" {
		why = append(why, "legal hold")
	}
	if sys[sysEventHold] != "" {
		why = append(why, "event hold")
	}
	if until, err := time.Parse(time.RFC3339Nano, sys[sysLockUntil]); err == nil && until.After(s.now()) {
		why = append(why, fmt.Sprintf("retention until %s (%s)", until.Format(time.RFC3339), sys[sysLockMode]))
	}
	if f.mfa {
		why = append(why, "MFA delete: only the root user can remove versions of this bucket")
	}
	for _, p := range hidden {
		why = append(why, "unknown: "+p+" is not permitted")
	}
	if f.noVersioning {
		why = append(why, "unknown: s3:GetBucketVersioning is not permitted")
	}
	return strings.Join(why, "; ")
}

// fields are the properties of an object to be written, as the calls that write one take them. Absent ones are nil or empty.
type fields struct {
	attrs                            object.Attrs
	tagging                          *string
	class                            types.StorageClass
	sse                              types.ServerSideEncryption
	kmsKey                           *string
	bucketKey                        *bool
	checksum                         types.ChecksumAlgorithm
	full, read, readACP, writeACP    *string
	mode                             types.ObjectLockMode
	until                            *time.Time
	legalHold                        types.ObjectLockLegalHoldStatus
	eventHold                        types.ObjectLockEventHold
	eventDays, eventYears            *int32
	redirect, contentType, language  *string
	encoding, disposition, cacheCtrl *string
}

// maxHeaders is how many bytes of attributes fit into the 8 KB that S3 allows for the headers of a request, those of the request
// itself and its signature deducted.
const maxHeaders = 6 << 10

// fields returns the properties that a writes into a bucket with these facts. What cannot be kept gives an error wrapping
// coffer.ErrUnsupported.
func (s *Store) fields(f facts, a object.Attrs) (fields, error) {
	sys := a.System
	if n := sys[sysLost]; n != "" {
		return fields{}, fmt.Errorf("%s entries of the object's metadata have a form that HTTP cannot carry and would be lost: %w", n,
			coffer.ErrUnsupported)
	}
	if p := sys[sysUnseen]; p != "" {
		return fields{}, fmt.Errorf("%s is not permitted, so what a rewrite has to keep cannot be seen: %w", p, coffer.ErrUnsupported)
	}
	w := fields{
		attrs: a, class: types.StorageClass(a.StorageClass), sse: types.ServerSideEncryption(sys[sysSSE]), kmsKey: opt(sys[sysKMSKey]),
		checksum: types.ChecksumAlgorithm(sys[sysChecksum]), redirect: opt(a.Redirect), contentType: opt(a.ContentType),
		language: opt(a.ContentLanguage), encoding: opt(a.ContentEncoding), disposition: opt(a.ContentDisposition),
		cacheCtrl: opt(a.CacheControl),
	}
	if sys[sysBucketKey] != "" {
		w.bucketKey = aws.Bool(true)
	}
	if !slices.Contains(algorithms, w.checksum) {
		w.checksum = algorithms[0]
	}
	if !f.enforced {
		w.full, w.read, w.readACP, w.writeACP = opt(sys[sysFull]), opt(sys[sysRead]), opt(sys[sysReadACP]), opt(sys[sysWriteACP])
	}
	if sys[sysLegalHold] != "" {
		w.legalHold = types.ObjectLockLegalHoldStatusOn
	}
	if sys[sysEventHold] != "" {
		w.eventHold = types.ObjectLockEventHoldOn
		w.eventDays, w.eventYears = number(sys[sysEventDays]), number(sys[sysEventYears])
	}
	w.retention(f, sys, s.now())
	v := url.Values{}
	for _, t := range a.Tags {
		v.Set(t.Key, t.Value)
	}
	w.tagging = opt(v.Encode())
	size := len(aws.ToString(w.tagging)) + len(a.ContentType) + len(a.ContentEncoding) + len(a.ContentLanguage) +
		len(a.ContentDisposition) + len(a.CacheControl) + len(a.Expires) + len(a.Redirect)
	for k, v := range a.Metadata {
		size += len("x-amz-meta-: \r\n") + len(k) + len(v)
	}
	for _, v := range sys {
		size += len(v)
	}
	if size > maxHeaders {
		return fields{}, fmt.Errorf("tags, metadata and other properties of %d bytes do not fit into one request, and by several they "+
			"cannot be kept safely: %w", size, coffer.ErrUnsupported)
	}
	return w, nil
}

func number(v string) *int32 {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n <= 0 {
		return nil
	}
	return aws.Int32(int32(n))
}

// retention sets the retention of the new version: the object's own and the bucket's default, whichever is stricter and longer. A
// header of the request replaces the default, so it must never say less.
func (w *fields) retention(f facts, sys map[string]string, now time.Time) {
	until, err := time.Parse(time.RFC3339Nano, sys[sysLockUntil])
	if err != nil || !until.After(now) {
		return // none, or over: the default alone applies
	}
	mode := sys[sysLockMode]
	if def := f.defaultUntil(now); !def.IsZero() {
		if !until.After(def) {
			if mode == string(f.mode) || f.mode == types.ObjectLockRetentionModeCompliance {
				return
			}
			until = def.Add(time.Minute) // the default counts from when S3 gets the request
		}
		if f.mode == types.ObjectLockRetentionModeCompliance {
			mode = string(f.mode)
		}
	}
	w.mode, w.until = types.ObjectLockMode(mode), &until
}

// header sets Expires as it was given: the SDK's field is a time, and S3 keeps what is none.
func (w *fields) header(o *s3.Options) {
	if e := w.attrs.Expires; e != "" {
		o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("Expires", e))
	}
}

func (w *fields) put(in *s3.PutObjectInput) {
	in.ContentType, in.ContentEncoding, in.ContentLanguage = w.contentType, w.encoding, w.language
	in.ContentDisposition, in.CacheControl, in.WebsiteRedirectLocation = w.disposition, w.cacheCtrl, w.redirect
	in.Metadata, in.Tagging, in.StorageClass = w.attrs.Metadata, w.tagging, w.class
	in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled, in.ChecksumAlgorithm = w.sse, w.kmsKey, w.bucketKey, w.checksum
	in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWriteACP = w.full, w.read, w.readACP, w.writeACP
	in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = w.mode, w.until, w.legalHold
	in.ObjectLockEventHold, in.ObjectLockEventHoldDurationDays, in.ObjectLockEventHoldDurationYears = w.eventHold, w.eventDays, w.eventYears
}

func (w *fields) create(in *s3.CreateMultipartUploadInput) {
	in.ContentType, in.ContentEncoding, in.ContentLanguage = w.contentType, w.encoding, w.language
	in.ContentDisposition, in.CacheControl, in.WebsiteRedirectLocation = w.disposition, w.cacheCtrl, w.redirect
	in.Metadata, in.Tagging, in.StorageClass = w.attrs.Metadata, w.tagging, w.class
	in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled, in.ChecksumAlgorithm = w.sse, w.kmsKey, w.bucketKey, w.checksum
	in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWriteACP = w.full, w.read, w.readACP, w.writeACP
	in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = w.mode, w.until, w.legalHold
	in.ObjectLockEventHold, in.ObjectLockEventHoldDurationDays, in.ObjectLockEventHoldDurationYears = w.eventHold, w.eventDays, w.eventYears
}

// copyObject sets what CopyObject does not take from the source by itself. Locks belong to a version and stay with it.
func (w *fields) copyObject(in *s3.CopyObjectInput) {
	in.WebsiteRedirectLocation, in.StorageClass = w.redirect, w.class
	in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled = w.sse, w.kmsKey, w.bucketKey
	in.GrantFullControl, in.GrantRead, in.GrantReadACP, in.GrantWriteACP = w.full, w.read, w.readACP, w.writeACP
}
