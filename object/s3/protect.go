package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coffer"
	"coffer/object"
)

var _ object.Protector = (*Store)(nil)

// Groups to which a grant makes something public.
const (
	allUsers      = "http://acs.amazonaws.com/groups/global/AllUsers"
	authenticated = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
)

// Protections implements [object.Protector]. A bucket is public where S3 calls its policy public, or its ACL grants something to everybody,
// and no public access block of the bucket forbids it; that of the account is not asked for, so that the answer errs on the side of
// PUBLIC. An object is public in a bucket with a public policy, which may be about other objects, or by its own ACL.
func (s *Store) Protections(ctx context.Context, o coffer.Object) (bucket, obj object.Protection, err error) {
	if err := check(o); err != nil {
		return bucket, obj, fmt.Errorf("protections: %w", err)
	}
	bucket, a, err := s.bucketProtection(ctx, o.Bucket)
	if err != nil {
		return bucket, obj, fmt.Errorf("protections of the bucket: %w", err)
	}
	if obj, err = s.objectProtection(ctx, o, bucket, a); err != nil {
		return bucket, obj, fmt.Errorf("protections of the object: %w", err)
	}
	return bucket, obj, nil
}

// answer is yes, no or unknown.
type answer int

const (
	unknownAnswer answer = iota
	no
	yes
)

func of(b *bool) answer {
	if aws.ToBool(b) {
		return yes
	}
	return no
}

// public is what decides about public access.
type public struct {
	policy answer // the bucket's policy is public
	acl    answer // the bucket's ACL is
	// What the bucket's public access block forbids.
	policyBlocked, aclBlocked answer
}

func access(blocked, open answer) answer {
	switch {
	case blocked == yes || open == no:
		return no
	case open == yes && blocked == no:
		return yes
	}
	return unknownAnswer
}

// either is PUBLIC if one is, NOT_PUBLIC if none is.
func either(a, b answer) string {
	switch {
	case a == yes || b == yes:
		return object.Public
	case a == no && b == no:
		return object.NotPublic
	}
	return object.Unknown
}

// ask makes sense of the answer to a call: known is false if it may not be asked, or the server does not have the call; there is
// none where code says that nothing is configured.
func (s *Store) ask(err error, permission, code string) (none, known bool, _ error) {
	switch err := translate(err, permission); {
	case err == nil:
		return false, true, nil
	case code != "" && codeIs(err, code):
		return true, true, nil
	case denied(err), s.lacks(err), errors.Is(err, coffer.ErrUnsupported):
		return false, false, nil
	default:
		return false, false, err
	}
}

func (s *Store) bucketProtection(ctx context.Context, name string) (p object.Protection, a public, err error) {
	p = object.Protection{Encryption: object.Unknown, PublicAccess: object.Unknown, Versioning: object.Unknown, Lock: object.Unknown, Owner: object.Unknown, TagsUnknown: true}
	f, err := s.facts(ctx, name)
	if err != nil {
		return p, a, err
	}
	if !f.noVersioning {
		p.Versioning = string(f.versioning)
	}
	switch {
	case f.lock == lockUnknown:
	case f.mode != "":
		p.Lock = strings.ToLower(string(f.mode)) + " for new versions"
	case f.lock == lockOn:
		p.Lock = "possible"
	default:
		p.Lock = "none"
	}

	enc, err := s.client.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &name, ExpectedBucketOwner: s.owner})
	none, known, err := s.ask(err, "s3:GetEncryptionConfiguration", "ServerSideEncryptionConfigurationNotFoundError")
	switch {
	case err != nil:
		return p, a, err
	case none:
		p.Encryption = object.NotEncrypted
	case known && enc.ServerSideEncryptionConfiguration != nil:
		for _, r := range enc.ServerSideEncryptionConfiguration.Rules {
			if by := r.ApplyServerSideEncryptionByDefault; by != nil {
				p.Encryption, p.KMSKey = string(by.SSEAlgorithm), aws.ToString(by.KMSMasterKeyID)
			}
		}
	}

	block, err := s.client.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &name, ExpectedBucketOwner: s.owner})
	none, known, err = s.ask(err, "s3:GetBucketPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration")
	switch {
	case err != nil:
		return p, a, err
	case none:
		a.policyBlocked, a.aclBlocked = no, no
	case known && block.PublicAccessBlockConfiguration != nil:
		c := block.PublicAccessBlockConfiguration
		a.policyBlocked, a.aclBlocked = of(c.RestrictPublicBuckets), of(c.IgnorePublicAcls)
	}

	status, err := s.client.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: &name, ExpectedBucketOwner: s.owner})
	none, known, err = s.ask(err, "s3:GetBucketPolicyStatus", "NoSuchBucketPolicy")
	switch {
	case err != nil:
		return p, a, err
	case none:
		a.policy = no
	case known && status.PolicyStatus != nil:
		a.policy = of(status.PolicyStatus.IsPublic)
	}

	acl, err := s.client.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &name, ExpectedBucketOwner: s.owner})
	_, known, err = s.ask(err, "s3:GetBucketAcl", "")
	switch {
	case err != nil:
		return p, a, err
	case known:
		a.acl = no
		if acl.Owner != nil {
			p.Owner = aws.ToString(acl.Owner.ID)
		}
		for _, g := range acl.Grants {
			if everybody(g) {
				a.acl = yes
			}
		}
	}
	if f.enforced {
		a.acl = no // ACLs have no effect
	}

	tags, err := s.client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &name, ExpectedBucketOwner: s.owner})
	none, known, err = s.ask(err, "s3:GetBucketTagging", "NoSuchTagSet")
	switch {
	case err != nil:
		return p, a, err
	case none:
		p.TagsUnknown = false
	case known:
		p.Tags, p.TagsUnknown = fromTags(tags.TagSet), false
	}
	p.PublicAccess = either(access(a.policyBlocked, a.policy), access(a.aclBlocked, a.acl))
	return p, a, nil
}

// everybody reports whether a grant is to all the world, or all of AWS.
func everybody(g types.Grant) bool {
	return g.Grantee != nil && (aws.ToString(g.Grantee.URI) == allUsers || aws.ToString(g.Grantee.URI) == authenticated)
}

func (s *Store) objectProtection(ctx context.Context, o coffer.Object, bucket object.Protection, a public) (p object.Protection, err error) {
	h, err := s.head(ctx, o)
	if err != nil {
		return p, err
	}
	p = object.Protection{
		Encryption: string(h.ServerSideEncryption), KMSKey: aws.ToString(h.SSEKMSKeyId), Versioning: bucket.Versioning,
		Lock: object.Unknown, Owner: object.Unknown, TagsUnknown: true,
	}
	if p.Encryption == "" {
		p.Encryption = object.NotEncrypted
	}
	if h.SSECustomerAlgorithm != nil {
		p.Encryption = "SSE-C"
	}
	acl, err := s.client.GetObjectAcl(ctx, &s3.GetObjectAclInput{
		Bucket: &o.Bucket, Key: &o.Key, VersionId: opt(o.VersionID), ExpectedBucketOwner: s.owner, RequestPayer: s.payer,
	})
	_, known, err := s.ask(err, "s3:GetObjectAcl", "")
	if err != nil {
		return p, err
	}
	grants := unknownAnswer
	if known {
		grants = no
		if acl.Owner != nil {
			p.Owner = aws.ToString(acl.Owner.ID)
		}
		for _, g := range acl.Grants {
			if everybody(g) {
				grants = yes
			}
		}
	}
	p.PublicAccess = either(access(a.policyBlocked, a.policy), access(a.aclBlocked, grants))
	i, err := s.stat(ctx, o)
	switch {
	case err == nil:
		p.Tags, p.TagsUnknown = i.Attrs.Tags, false
		if p.Lock = i.Locked; i.Locked == "" {
			p.Lock = "none"
		}
		if strings.HasPrefix(i.Locked, object.Unknown) {
			p.Lock = object.Unknown
		}
	case denied(err), errors.Is(err, coffer.ErrUnsupported):
		// Tags may not be asked for, or the object is encrypted under its writer's key.
	default:
		return p, err
	}
	return p, nil
}
