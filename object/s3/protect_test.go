package s3_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"coffer"
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
