package s3_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coffer"
	"coffer/internal/awsfake/s3fake"
	"coffer/internal/lookalike"
	"coffer/object"
	"coffer/object/s3"
)

// scripted answers calls by the parameter of their query, with "object " before it where they name a key, or by their method. What it
// does not know is not permitted.
type scripted map[string]struct {
	status int
	body   string
	header http.Header
}

func (a scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	name, prefix := r.Method, ""
	if strings.Count(r.URL.Path, "/") > 1 && !strings.HasSuffix(r.URL.Path, "bank/") {
		prefix = "object "
	}
	for k := range r.URL.Query() {
		if k != "x-id" {
			name = prefix + k
		}
	}
	c, ok := a[name]
	if !ok {
		c.status, c.body = http.StatusForbidden, "<Error><Code>AccessDenied</Code></Error>"
	}
	h := c.header
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{StatusCode: c.status, Header: h, Body: io.NopCloser(bytes.NewBufferString(c.body)), Request: r, ContentLength: int64(len(c.body))}, nil
}

func TestProtections(t *testing.T) {
	const (
		everybody = `<AccessControlPolicy><Owner><ID>o1</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`
		nobody    = `<AccessControlPolicy><Owner><ID>o1</ID></Owner><AccessControlList></AccessControlList></AccessControlPolicy>`
		noBlock   = `<Error><Code>NoSuchPublicAccessBlockConfiguration</Code></Error>`
		noPolicy  = `<Error><Code>NoSuchBucketPolicy</Code></Error>`
	)
	type answer = struct {
		status int
		body   string
		header http.Header
	}
	head := answer{200, "", http.Header{"Etag": {`"e1"`}, "X-Amz-Server-Side-Encryption": {"aws:kms"}, "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": {"k1"}}}
	block := func(yes string) answer {
		return answer{200, `<PublicAccessBlockConfiguration><IgnorePublicAcls>` + yes + `</IgnorePublicAcls><RestrictPublicBuckets>` + yes + `</RestrictPublicBuckets></PublicAccessBlockConfiguration>`, nil}
	}
	policy := func(public string) answer {
		return answer{200, `<PolicyStatus><IsPublic>` + public + `</IsPublic></PolicyStatus>`, nil}
	}
	for name, c := range map[string]struct {
		calls        scripted
		bucket, obj  string
		encryption   string
		tagsNotKnown bool
	}{
		"nothing may be asked": {scripted{"HEAD": head}, object.Unknown, object.Unknown, object.Unknown, true},
		"blocked": {scripted{"HEAD": head, "publicAccessBlock": block("true"), "policyStatus": policy("true"), "acl": {200, everybody, nil}, "object acl": {200, everybody, nil},
			"encryption": {200, `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`, nil},
			"tagging":    {200, `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`, nil}}, object.NotPublic, object.NotPublic, "AES256", false},
		"public by policy": {scripted{"HEAD": head, "publicAccessBlock": {404, noBlock, nil}, "policyStatus": policy("true"), "acl": {200, nobody, nil}, "object acl": {200, nobody, nil},
			"encryption": {404, `<Error><Code>ServerSideEncryptionConfigurationNotFoundError</Code></Error>`, nil}, "tagging": {404, `<Error><Code>NoSuchTagSet</Code></Error>`, nil}}, object.Public, object.Public, object.NotEncrypted, false},
		"object by its ACL": {scripted{"HEAD": head, "publicAccessBlock": block("false"), "policyStatus": {404, noPolicy, nil}, "acl": {200, nobody, nil}, "object acl": {200, everybody, nil}},
			object.NotPublic, object.Public, object.Unknown, true},
		"policy not known": {scripted{"HEAD": head, "publicAccessBlock": block("false"), "acl": {200, nobody, nil}, "object acl": {200, nobody, nil}},
			object.Unknown, object.Unknown, object.Unknown, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := s3.Open(s3.Config{AWS: config(c.calls)})
			if err != nil {
				t.Fatal(err)
			}
			b, o, err := s.Protections(t.Context(), coffer.Object{Bucket: "bank", Key: "a/b.csv"})
			if err != nil {
				t.Fatal(err)
			}
			if b.PublicAccess != c.bucket || o.PublicAccess != c.obj || b.Encryption != c.encryption || b.TagsUnknown != c.tagsNotKnown {
				t.Errorf("bucket %+v, object %+v", b, o)
			}
			if o.Encryption != "aws:kms" || o.KMSKey != "k1" {
				t.Errorf("object %+v", o)
			}
		})
	}
}

// TestSharing: a bucket's policy, ACL and public access block come back as they were put, on Amazon's S3 as the fake plays it and on a server
// that has some of them; what may not be asked, or what a server does not have, is unknown and never nobody.
func TestSharing(t *testing.T) {
	const partner = "9a4f1c0000000000000000000000000000000000000000000000000000000000"
	fake, stranger := newFake(t), newBed(t, lookalike.S3(t))
	fake.fake.Configure(fake.bucket, func(c *s3fake.Config) {
		c.Ownership, c.ACL = "ObjectWriter", []s3fake.Grant{{ID: partner, Permission: "READ"}, {URI: "http://acs.amazonaws.com/groups/global/AllUsers", Permission: "READ"}}
	})
	none := object.Sharing{PublicPolicy: object.NotPublic, RestrictPolicy: object.Off, IgnoreACLs: object.Off}
	got := must2(fake.store.Sharing(t.Context(), fake.bucket))(t)
	if got.Owner == "" || len(got.Grants) != 2 || got.Grants[0] != (object.Grant{Canonical: partner, Permission: "READ"}) || got.Grants[1].Group == "" {
		t.Errorf("ACL %+v", got)
	}
	if got.Owner, got.Grants = "", nil; !reflect.DeepEqual(got, none) {
		t.Errorf("of a new bucket %+v", got)
	}
	for _, b := range []*bed{fake, stranger} {
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::` + b.bucket + `/*"}]}`
		must2(b.raw.PutBucketPolicy(t.Context(), &sdk.PutBucketPolicyInput{Bucket: &b.bucket, Policy: &policy}))(t)
		got := must2(b.store.Sharing(t.Context(), b.bucket))(t)
		if got.Policy != policy || got.PolicyUnknown {
			t.Errorf("policy %q, unknown %t", got.Policy, got.PolicyUnknown)
		}
		if b == stranger {
			if got.PublicPolicy == object.NotPublic || got.RestrictPolicy == object.On || got.IgnoreACLs == object.On {
				t.Errorf("a server that does not know says that nobody reads: %+v", got)
			}
			continue
		}
		must2(b.raw.PutPublicAccessBlock(t.Context(), &sdk.PutPublicAccessBlockInput{Bucket: &b.bucket, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			RestrictPublicBuckets: aws.Bool(true), IgnorePublicAcls: aws.Bool(false),
		}}))(t)
		if got = must2(b.store.Sharing(t.Context(), b.bucket))(t); got.PublicPolicy != object.Public || got.RestrictPolicy != object.On || got.IgnoreACLs != object.Off {
			t.Errorf("%+v", got)
		}
		b.fake.Configure(b.bucket, func(c *s3fake.Config) { c.Ownership = "" })
		b.store.Forget()
		if got = must2(b.store.Sharing(t.Context(), b.bucket))(t); !got.ACLsOff {
			t.Errorf("%+v", got)
		}
	}
	if _, err := fake.store.Sharing(t.Context(), "moontrust-elsewhere"); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("a bucket that is not there: %v", err)
	}
	for permission, unknown := range map[string]func(object.Sharing) bool{
		"s3:GetBucketPolicy":       func(s object.Sharing) bool { return s.PolicyUnknown && s.Policy == "" },
		"s3:GetBucketPolicyStatus": func(s object.Sharing) bool { return s.PublicPolicy == object.Unknown },
		"s3:GetBucketAcl":          func(s object.Sharing) bool { return s.ACLUnknown && s.Grants == nil },
		"s3:GetBucketPublicAccessBlock": func(s object.Sharing) bool {
			return s.RestrictPolicy == object.Unknown && s.IgnoreACLs == object.Unknown
		},
		"s3:GetBucketOwnershipControls": func(s object.Sharing) bool { return !s.ACLsOff },
	} {
		fake.fake.Deny(permission)
		fake.store.Forget()
		if got := must2(fake.store.Sharing(t.Context(), fake.bucket))(t); !unknown(got) {
			t.Errorf("without %s: %+v", permission, got)
		}
		fake.fake.Allow(permission)
	}
}
