package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"coffer"
	"coffer/object"
)

// Copies implements [object.Reader]: what replication has made or will make of the object, its annotations by name and size, and
// unfinished uploads to its key that hold parts. Other versions are for [Store.Versions]. What the caller is not permitted to ask is a
// copy "unknown" that names the permission.
func (s *Store) Copies(ctx context.Context, o coffer.Object) ([]object.Copy, error) {
	copies, err := s.copies(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("copies of object: %w", err)
	}
	return copies, nil
}

func (s *Store) copies(ctx context.Context, o coffer.Object) ([]object.Copy, error) {
	if err := check(o); err != nil {
		return nil, err
	}
	h, err := s.head(ctx, o)
	if err != nil {
		return nil, err
	}
	o.VersionID = aws.ToString(h.VersionId)
	var all []object.Copy
	for _, part := range []struct {
		what, permission string
		ask              func(context.Context, coffer.Object, *s3.HeadObjectOutput) ([]object.Copy, error)
	}{
		{"replicas", "s3:GetReplicationConfiguration", s.replicas},
		{"annotations", "s3:ListObjectAnnotations", s.annotations},
		{"unfinished uploads", "s3:ListBucketMultipartUploads", s.unfinished},
	} {
		found, err := part.ask(ctx, o, h)
		switch {
		case denied(err):
			found = append(found, object.Copy{What: object.Unknown, Name: part.what + ": " + part.permission + " is not permitted"})
		case s.lacks(err):
		case err != nil:
			return nil, fmt.Errorf("%s: %w", part.what, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// replicas returns the destinations of the rules that match the object, and what the object's own replication status says beyond
// them. A rule that is switched off no longer copies; what it copied is there.
func (s *Store) replicas(ctx context.Context, o coffer.Object, h *s3.HeadObjectOutput) ([]object.Copy, error) {
	var copies []object.Copy
	if h.ReplicationStatus == types.ReplicationStatusReplica {
		copies = append(copies, object.Copy{What: "replication source", Name: "a bucket that S3 does not name"})
	}
	out, err := s.client.GetBucketReplication(ctx, &s3.GetBucketReplicationInput{Bucket: &o.Bucket, ExpectedBucketOwner: s.owner})
	err = translate(err, "s3:GetReplicationConfiguration")
	if errors.Is(err, coffer.ErrNotFound) && !codeIs(err, "NoSuchBucket") {
		err = nil
	}
	if err != nil {
		return copies, err
	}
	var tags []types.Tag
	known, named := false, false
	if out != nil && out.ReplicationConfiguration != nil {
		for _, r := range out.ReplicationConfiguration.Rules {
			if r.Status != types.ReplicationRuleStatusEnabled && h.ReplicationStatus == "" {
				continue
			}
			prefix, want := filter(r)
			if !strings.HasPrefix(o.Key, prefix) {
				continue
			}
			if len(want) > 0 && !known {
				t, err := s.client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{
					Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
				})
				if err := translate(err, "s3:GetObjectTagging"); err != nil {
					return copies, err
				}
				tags, known = t.TagSet, true
			}
			if !holdsAll(tags, want) {
				continue
			}
			named = true
			copies = append(copies, object.Copy{What: object.Replica, Name: destination(r)})
		}
	}
	if !named && h.ReplicationStatus != "" && h.ReplicationStatus != types.ReplicationStatusReplica {
		copies = append(copies, object.Copy{
			What: object.Replica, Name: "made by a rule that is no longer there (status " + string(h.ReplicationStatus) + ")",
		})
	}
	return copies, nil
}

func filter(r types.ReplicationRule) (prefix string, tags []types.Tag) {
	prefix = aws.ToString(r.Prefix) //nolint:staticcheck // configurations of the first version have no filter
	if f := r.Filter; f != nil {
		if f.Prefix != nil {
			prefix = *f.Prefix
		}
		if f.Tag != nil {
			tags = append(tags, *f.Tag)
		}
		if f.And != nil {
			prefix, tags = aws.ToString(f.And.Prefix), append(tags, f.And.Tags...)
		}
	}
	return prefix, tags
}

func holdsAll(have, want []types.Tag) bool {
	n := 0
	for _, w := range want {
		for _, h := range have {
			if aws.ToString(h.Key) == aws.ToString(w.Key) && aws.ToString(h.Value) == aws.ToString(w.Value) {
				n++
				break
			}
		}
	}
	return n == len(want)
}

func destination(r types.ReplicationRule) string {
	if r.Destination == nil {
		return "of a rule without destination"
	}
	d := "in " + aws.ToString(r.Destination.Bucket)
	if a := aws.ToString(r.Destination.Account); a != "" {
		d += " of account " + a
	}
	if id := aws.ToString(r.ID); id != "" {
		d += " (rule " + id + ")"
	}
	return d
}

func (s *Store) annotations(ctx context.Context, o coffer.Object, _ *s3.HeadObjectOutput) ([]object.Copy, error) {
	var copies []object.Copy
	in := &s3.ListObjectAnnotationsInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	}
	var opts []func(*s3.Options)
	if s.foreign {
		opts = append(opts, func(o *s3.Options) { o.APIOptions = append(o.APIOptions, refuseObject) })
	}
	for {
		out, err := s.client.ListObjectAnnotations(ctx, in, opts...)
		if errors.Is(err, errObject) {
			return nil, nil
		}
		if err := translate(err, "s3:ListObjectAnnotations"); err != nil {
			return copies, err
		}
		for _, a := range out.Annotations {
			copies = append(copies, object.Copy{
				What: object.Annotation, Name: fmt.Sprintf("%s (%d bytes)", aws.ToString(a.AnnotationName), aws.ToInt64(a.Size)),
			})
		}
		if in.ContinuationToken = out.NextContinuationToken; aws.ToString(in.ContinuationToken) == "" {
			return copies, nil
		}
	}
}

// unfinished returns the multipart uploads to the key that hold parts. One without parts holds nothing.
func (s *Store) unfinished(ctx context.Context, o coffer.Object, _ *s3.HeadObjectOutput) ([]object.Copy, error) {
	var copies []object.Copy
	in := &s3.ListMultipartUploadsInput{
		Bucket: &o.Bucket, Prefix: &o.Key, EncodingType: types.EncodingTypeUrl, ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	}
	for {
		out, err := s.client.ListMultipartUploads(ctx, in)
		if err := translate(err, "s3:ListBucketMultipartUploads"); err != nil {
			return copies, err
		}
		for _, u := range out.Uploads {
			key, err := decode(aws.ToString(u.Key), out.EncodingType)
			if err != nil {
				return copies, err
			}
			if key != o.Key {
				continue
			}
			parts, err := s.client.ListParts(ctx, &s3.ListPartsInput{
				Bucket: &o.Bucket, Key: &o.Key, UploadId: u.UploadId, MaxParts: aws.Int32(1),
				ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
			})
			name := aws.ToString(u.UploadId) + ", begun " + aws.ToTime(u.Initiated).UTC().Format(time.RFC3339)
			switch err := translate(err, "s3:ListMultipartUploadParts"); {
			case codeIs(err, "NoSuchUpload"):
				continue
			case denied(err):
				name += ", parts unknown: s3:ListMultipartUploadParts is not permitted"
			case err != nil:
				return copies, err
			case len(parts.Parts) == 0:
				continue
			}
			copies = append(copies, object.Copy{What: "unfinished upload", Name: name})
		}
		if !aws.ToBool(out.IsTruncated) {
			return copies, nil
		}
		key, err := decode(aws.ToString(out.NextKeyMarker), out.EncodingType)
		if err != nil {
			return copies, err
		}
		in.KeyMarker, in.UploadIdMarker = &key, out.NextUploadIdMarker
	}
}

// errObject says that the answer is an object.
var errObject = errors.New("the server answered with the object")

// refuseObject ends a call whose answer is the object itself, before its bytes are read as something else: a server that does not know
// a subresource may overlook it and do what the request says without.
func refuseObject(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("RefuseObject", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleDeserialize(ctx, in)
		if resp, ok := out.RawResponse.(*smithyhttp.Response); ok && err == nil && resp.Header.Get("Last-Modified") != "" {
			_ = resp.Body.Close() // nothing of it is wanted
			err = errObject
		}
		return out, meta, err
	}), middleware.After)
}
