package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

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

	sh, err := s.sharing(ctx, name, f)
	if err != nil {
		return p, a, err
	}
	p.Owner = cmp.Or(sh.Owner, object.Unknown)
	a = publicOf(sh)

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

var _ object.Sharer = (*Store)(nil)

// Sharing implements [object.Sharer].
func (s *Store) Sharing(ctx context.Context, bucket string) (object.Sharing, error) {
	sh, err := s.allSharing(ctx, bucket)
	if err != nil {
		return object.Sharing{}, fmt.Errorf("settings of a bucket: %w", err)
	}
	return sh, nil
}

func (s *Store) allSharing(ctx context.Context, bucket string) (object.Sharing, error) {
	if err := checkBucket(bucket); err != nil {
		return object.Sharing{}, err
	}
	f, err := s.facts(ctx, bucket)
	if err != nil {
		return object.Sharing{}, err
	}
	sh, err := s.sharing(ctx, bucket, f)
	if err != nil {
		return sh, err
	}
	policy, err := s.client.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &bucket, ExpectedBucketOwner: s.owner})
	none, known, err := s.ask(err, "s3:GetBucketPolicy", "NoSuchBucketPolicy")
	if err != nil {
		return sh, err
	}
	switch {
	case none:
	case known && aws.ToString(policy.Policy) != "":
		sh.Policy = *policy.Policy
	default: // an answer without a policy is none that can be read
		sh.PolicyUnknown = true
	}
	return sh, nil
}

// sharing asks for all but the policy, which is not needed to know whether it is public.
func (s *Store) sharing(ctx context.Context, name string, f facts) (object.Sharing, error) {
	sh := object.Sharing{
		PublicPolicy: object.Unknown, RestrictPolicy: object.Unknown, IgnoreACLs: object.Unknown, ACLsOff: f.enforced,
	}
	setting := func(b *bool) string {
		if aws.ToBool(b) {
			return object.On
		}
		return object.Off
	}
	block, err := s.client.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &name, ExpectedBucketOwner: s.owner})
	none, known, err := s.ask(err, "s3:GetBucketPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration")
	switch {
	case err != nil:
		return sh, err
	case none:
		sh.RestrictPolicy, sh.IgnoreACLs = object.Off, object.Off
	case known && block.PublicAccessBlockConfiguration != nil:
		c := block.PublicAccessBlockConfiguration
		sh.RestrictPolicy, sh.IgnoreACLs = setting(c.RestrictPublicBuckets), setting(c.IgnorePublicAcls)
	}

	status, err := s.client.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: &name, ExpectedBucketOwner: s.owner})
	none, known, err = s.ask(err, "s3:GetBucketPolicyStatus", "NoSuchBucketPolicy")
	switch {
	case err != nil:
		return sh, err
	case none:
		sh.PublicPolicy = object.NotPublic
	case known && status.PolicyStatus != nil:
		sh.PublicPolicy = object.NotPublic
		if aws.ToBool(status.PolicyStatus.IsPublic) {
			sh.PublicPolicy = object.Public
		}
	}

	acl, err := s.client.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &name, ExpectedBucketOwner: s.owner})
	_, known, err = s.ask(err, "s3:GetBucketAcl", "")
	if err != nil {
		return sh, err
	}
	if sh.ACLUnknown = !known; known {
		if acl.Owner != nil {
			sh.Owner = aws.ToString(acl.Owner.ID)
		}
		for _, g := range acl.Grants {
			if g.Grantee == nil {
				sh.ACLUnknown = true
				continue
			}
			sh.Grants = append(sh.Grants, object.Grant{
				Canonical: aws.ToString(g.Grantee.ID), Group: aws.ToString(g.Grantee.URI), Permission: string(g.Permission),
			})
		}
	}
	return sh, nil
}

// publicOf draws what decides about public access from a bucket's settings.
func publicOf(sh object.Sharing) public {
	of := map[string]answer{object.On: yes, object.Public: yes, object.Off: no, object.NotPublic: no, object.Unknown: unknownAnswer}
	a := public{policy: of[sh.PublicPolicy], policyBlocked: of[sh.RestrictPolicy], aclBlocked: of[sh.IgnoreACLs]}
	switch {
	case sh.ACLsOff:
		a.acl = no
	case slices.ContainsFunc(sh.Grants, func(g object.Grant) bool { return everybody(g.Group) }):
		a.acl = yes
	case !sh.ACLUnknown:
		a.acl = no
	}
	return a
}

// everybody reports whether a grant to the group is one to all the world, or all of AWS.
func everybody(group string) bool { return group == allUsers || group == authenticated }

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
			if g.Grantee != nil && everybody(aws.ToString(g.Grantee.URI)) {
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
