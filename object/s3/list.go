package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"coffer"
	"coffer/object"
)

// List implements [object.Reader]: pages of 1,000 keys, in the order in which S3 lists them, which is that of the keys' bytes.
func (s *Store) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		seq := s.keys(ctx, bucket, prefix, after)
		if bucket == "" {
			seq = s.bucketNames(ctx)
		}
		for i, err := range seq {
			if err != nil {
				yield(object.Info{}, fmt.Errorf("list objects: %w", err))
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

func (s *Store) bucketNames(ctx context.Context) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		in := &s3.ListBucketsInput{}
		for {
			out, err := s.client.ListBuckets(ctx, in)
			if err := translate(err, "s3:ListAllMyBuckets"); err != nil {
				yield(object.Info{}, err)
				return
			}
			for _, b := range out.Buckets {
				if !yield(object.Info{Object: coffer.Object{Bucket: aws.ToString(b.Name)}}, nil) {
					return
				}
			}
			if in.ContinuationToken = out.ContinuationToken; aws.ToString(in.ContinuationToken) == "" {
				return
			}
		}
	}
}

func (s *Store) keys(ctx context.Context, bucket, prefix, after string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		if err := checkBucket(bucket); err != nil {
			yield(object.Info{}, err)
			return
		}
		in := &s3.ListObjectsV2Input{
			Bucket: &bucket, Prefix: opt(prefix), StartAfter: opt(after), EncodingType: types.EncodingTypeUrl,
			ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
			OptionalObjectAttributes: []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus},
		}
		for {
			out, err := s.client.ListObjectsV2(ctx, in)
			if err := translate(err, "s3:ListBucket"); err != nil {
				yield(object.Info{}, err)
				return
			}
			for _, c := range out.Contents {
				key, err := decode(aws.ToString(c.Key), out.EncodingType)
				if err != nil {
					yield(object.Info{}, err)
					return
				}
				i := object.Info{
					Object: coffer.Object{Bucket: bucket, Key: key, ETag: unquote(aws.ToString(c.ETag))},
					Size:   aws.ToInt64(c.Size), Modified: aws.ToTime(c.LastModified), Latest: true,
					Archived: listedArchived(string(c.StorageClass), c.RestoreStatus),
				}
				if !yield(i, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextContinuationToken) == "" {
				return
			}
			in.ContinuationToken, in.StartAfter = out.NextContinuationToken, nil
		}
	}
}

// decode returns a key as it is. In a listing it is percent-encoded, because XML cannot have every character, if the server says so.
func decode(key string, how types.EncodingType) (string, error) {
	if how != types.EncodingTypeUrl {
		return key, nil
	}
	k, err := url.QueryUnescape(key)
	if err != nil {
		return "", fmt.Errorf("a key in the listing is not percent-encoded as it claims: %w", coffer.ErrCorrupt)
	}
	return k, nil
}

func listedArchived(class string, r *types.RestoreStatus) string {
	restore := ""
	if r != nil {
		if aws.ToBool(r.IsRestoreInProgress) {
			restore = `ongoing-request="true"`
		} else if r.RestoreExpiryDate != nil {
			restore = `ongoing-request="false"`
		}
	}
	return archived(class, "", restore)
}

// Versions implements [object.Reader]. In a bucket with Object Lock each version costs a call or more for its locks, since a listing
// does not have them.
func (s *Store) Versions(ctx context.Context, o coffer.Object) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		for i, err := range s.versions(ctx, o, true) {
			if err != nil {
				yield(object.Info{}, fmt.Errorf("list versions: %w", err))
				return
			}
			if !yield(i, nil) {
				return
			}
		}
	}
}

func (s *Store) versions(ctx context.Context, o coffer.Object, locks bool) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		fail := func(err error) { yield(object.Info{}, err) }
		if err := check(o); err != nil {
			fail(err)
			return
		}
		f, err := s.facts(ctx, o.Bucket)
		if err == nil && f.versioning == object.VersioningOff {
			// What a version's id is depends on it, so a minute is too old.
			err = f.askVersioning(ctx, s, o.Bucket)
		}
		if err != nil {
			fail(err)
			return
		}
		in := &s3.ListObjectVersionsInput{
			Bucket: &o.Bucket, Prefix: &o.Key, EncodingType: types.EncodingTypeUrl, ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
			OptionalObjectAttributes: []types.OptionalObjectAttributes{types.OptionalObjectAttributesRestoreStatus},
		}
		for {
			var order []string
			out, err := s.client.ListObjectVersions(ctx, in, func(opt *s3.Options) {
				opt.APIOptions = append(opt.APIOptions, documentOrder(&order))
			})
			if err := translate(err, "s3:ListBucketVersions"); err != nil {
				fail(err)
				return
			}
			page, more, err := page(o, out)
			if err != nil {
				fail(err)
				return
			}
			if !s.foreign {
				slices.SortStableFunc(page, func(a, b object.Info) int {
					return slices.Index(order, a.VersionID) - slices.Index(order, b.VersionID)
				})
			}
			for _, i := range page {
				if f.versioning == object.VersioningOff && i.VersionID == "null" {
					i.VersionID = "" // in a bucket without versioning nothing has a version
				}
				if locks && !i.Marker {
					if err := s.addLocks(ctx, f, &i); err != nil {
						fail(err)
						return
					}
				}
				if !yield(i, nil) {
					return
				}
			}
			if !more {
				return
			}
			in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
			if k, err := decode(aws.ToString(out.NextKeyMarker), out.EncodingType); err == nil {
				in.KeyMarker = &k
			}
		}
	}
}

// page returns the versions and markers of o's key in one page of a listing, newest first, and whether another page can have more: the
// listing goes by key, and the key itself is the first that has it as prefix.
func page(o coffer.Object, out *s3.ListObjectVersionsOutput) (infos []object.Info, more bool, err error) {
	more = aws.ToBool(out.IsTruncated)
	// The SDK hands out versions and markers apart and loses their order in the document, in which Amazon S3 lists the newest first; see
	// documentOrder. Other servers list markers apart themselves: there, times decide, and what is called the latest.
	var vs, ms []object.Info
	for _, v := range out.Versions {
		key, err := decode(aws.ToString(v.Key), out.EncodingType)
		if err != nil {
			return nil, false, err
		}
		if key != o.Key {
			more = false
			continue
		}
		vs = append(vs, object.Info{
			Object: coffer.Object{
				Bucket: o.Bucket, Key: key, VersionID: aws.ToString(v.VersionId), ETag: unquote(aws.ToString(v.ETag)),
			},
			Size: aws.ToInt64(v.Size), Modified: aws.ToTime(v.LastModified), Latest: aws.ToBool(v.IsLatest),
			Archived: listedArchived(string(v.StorageClass), v.RestoreStatus),
		})
	}
	for _, m := range out.DeleteMarkers {
		key, err := decode(aws.ToString(m.Key), out.EncodingType)
		if err != nil {
			return nil, false, err
		}
		if key != o.Key {
			more = false
			continue
		}
		ms = append(ms, object.Info{
			Object:   coffer.Object{Bucket: o.Bucket, Key: key, VersionID: aws.ToString(m.VersionId)},
			Modified: aws.ToTime(m.LastModified), Latest: aws.ToBool(m.IsLatest), Marker: true,
		})
	}
	for len(vs) > 0 || len(ms) > 0 {
		if len(ms) == 0 || len(vs) > 0 && !ms[0].Latest && (vs[0].Latest || !vs[0].Modified.Before(ms[0].Modified)) {
			infos, vs = append(infos, vs[0]), vs[1:]
		} else {
			infos, ms = append(infos, ms[0]), ms[1:]
		}
	}
	return infos, more, nil
}

// documentOrder has the ids of the versions and markers in a listing put into order, as they stand in the document. Times do not tell:
// S3 gives them to the second.
func documentOrder(order *[]string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Deserialize.Insert(middleware.DeserializeMiddlewareFunc("DocumentOrder", func(ctx context.Context,
			in middleware.DeserializeInput, next middleware.DeserializeHandler,
		) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, md, err := next.HandleDeserialize(ctx, in)
			resp, ok := out.RawResponse.(*smithyhttp.Response)
			if err != nil || !ok || resp.StatusCode != http.StatusOK {
				return out, md, err
			}
			b, err := io.ReadAll(resp.Body)
			if cerr := resp.Body.Close(); err == nil {
				err = cerr
			}
			resp.Body = io.NopCloser(bytes.NewReader(b))
			if err != nil {
				return out, md, err
			}
			*order = (*order)[:0]
			d := xml.NewDecoder(bytes.NewReader(b))
			// Up to the end, or to what is no XML: the SDK will say so.
			for t, terr := d.RawToken(); terr == nil; t, terr = d.RawToken() {
				if e, ok := t.(xml.StartElement); ok && e.Name.Local == "VersionId" {
					if id, err := d.RawToken(); err == nil {
						if text, ok := id.(xml.CharData); ok {
							*order = append(*order, string(text))
						}
					}
				}
			}
			return out, md, nil
		}), "OperationDeserializer", middleware.After)
	}
}

func (s *Store) addLocks(ctx context.Context, f facts, i *object.Info) error {
	sys := map[string]string{}
	var hidden []string
	if f.lock != lockOff {
		h, err := s.head(ctx, coffer.Object{Bucket: i.Bucket, Key: i.Key, VersionID: i.VersionID})
		switch {
		case denied(err):
			// Its locks can be asked for all the same.
		case err != nil:
			return err
		default:
			if full := s.info(i.Object, h); full.Attrs.System != nil {
				sys = full.Attrs.System
			}
		}
		if hidden, err = s.locks(ctx, i.Object, f, sys); err != nil {
			return err
		}
	}
	i.Locked = s.locked(f, sys, hidden)
	return nil
}
