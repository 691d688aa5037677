// Package awsmeter counts what is asked of AWS: calls by service and operation, and the bytes of their bodies. It stands where
// the HTTP client of the AWS SDK is, so retries count as the calls that they are, and it imports nothing of the SDK.
package awsmeter

import (
	"cmp"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Op names a call: "s3", "GetObject".
type Op struct{ Service, Name string }

// Count is how often an operation was asked for, and how many bytes its bodies had.
type Count struct {
	Op
	Calls    int64
	Sent     int64 // bytes of request bodies
	Received int64 // bytes of answers that were read
}

// Meter counts the requests that go through its clients and transports. It is safe for concurrent use.
type Meter struct {
	mu     sync.Mutex
	counts map[Op]*Count
}

// Counts returns the counts so far, in order of their names.
func (m *Meter) Counts() []Count {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Count, 0, len(m.counts))
	for _, c := range m.counts {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Since returns what came since earlier counts of the same meter, without the operations that did not change.
func (m *Meter) Since(earlier []Count) []Count {
	before := map[Op]Count{}
	for _, c := range earlier {
		before[c.Op] = c
	}
	var out []Count
	for _, c := range m.Counts() {
		b := before[c.Op]
		c.Calls, c.Sent, c.Received = c.Calls-b.Calls, c.Sent-b.Sent, c.Received-b.Received
		if c.Calls > 0 {
			out = append(out, c)
		}
	}
	return out
}

func (m *Meter) add(op Op, calls, sent, received int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counts[op]
	if c == nil {
		if m.counts == nil {
			m.counts = map[Op]*Count{}
		}
		c = &Count{Op: op}
		m.counts[op] = c
	}
	c.Calls += calls
	c.Sent += sent
	c.Received += received
}

// Doer is an HTTP client as the AWS SDK wants one.
type Doer interface {
	Do(req *http.Request) (*http.Response, error)
}

// Client returns a client that is base, counted.
func (m *Meter) Client(base Doer) Doer { return client{m, base.Do} }

// Transport returns a transport that is base, counted.
func (m *Meter) Transport(base http.RoundTripper) http.RoundTripper { return client{m, base.RoundTrip} }

type client struct {
	m    *Meter
	base func(*http.Request) (*http.Response, error)
}

func (c client) RoundTrip(req *http.Request) (*http.Response, error) { return c.Do(req) }

func (c client) Do(req *http.Request) (*http.Response, error) {
	m, op := c.m, Name(req)
	m.add(op, 1, max(req.ContentLength, 0), 0)
	resp, err := c.base(req)
	if err == nil {
		resp.Body = &counted{resp.Body, func(n int) { m.add(op, 0, 0, int64(n)) }}
	}
	return resp, err
}

type counted struct {
	io.ReadCloser
	add func(int)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	if n > 0 {
		c.add(n)
	}
	return n, err
}

// targets are the services whose requests name their operation in a header, by the prefix of that name.
var targets = map[string]string{
	"DynamoDB": "dynamodb", "TrentService": "kms", "AmazonSQS": "sqs", "AWSEvents": "events",
}

// Name tells what a signed request to a service that Coffer calls asks for, as the API names it. A request that it does not know has the
// method as its name.
func Name(req *http.Request) Op {
	if t := req.Header.Get("X-Amz-Target"); t != "" {
		service, op, _ := strings.Cut(t, ".")
		prefix, _, _ := strings.Cut(service, "_")
		return Op{cmp.Or(targets[prefix], strings.ToLower(prefix)), op}
	}
	// The scope of the credential ends in /REGION/SERVICE/aws4_request (IAM user guide, elements of a signature).
	before, _, _ := strings.Cut(req.Header.Get("Authorization"), "/aws4_request")
	switch service := before[strings.LastIndexByte(before, '/')+1:]; service {
	case "macie2":
		return Op{service, macieName(req)}
	case "securityhub":
		return Op{service, hubName(req)}
	case "lambda":
		if strings.HasSuffix(req.URL.Path, "/invocations") {
			return Op{service, "Invoke"}
		}
		return Op{service, req.Method}
	}
	return Op{"s3", s3Name(req)}
}

// hubName names the calls to Security Hub.
func hubName(req *http.Request) string {
	switch req.URL.Path {
	case "/findings":
		return "GetFindings"
	case "/findings/batchupdate":
		return "BatchUpdateFindings"
	}
	return req.Method
}

// macieName names the calls to Macie that Coffer makes, by the paths of its API.
func macieName(req *http.Request) string {
	switch path := req.URL.Path; {
	case path == "/findings":
		return "ListFindings"
	case path == "/findings/describe":
		return "GetFindings"
	case path == "/managed-data-identifiers/list":
		return "ListManagedDataIdentifiers"
	case path == "/macie" && req.Method == http.MethodGet:
		return "GetMacieSession"
	case path == "/classification-export-configuration":
		return "GetClassificationExportConfiguration"
	case strings.HasPrefix(path, "/custom-data-identifiers/"):
		return "GetCustomDataIdentifier"
	}
	return req.Method
}

// subresources are the queries of S3 that choose an operation, with its name after the verb.
var subresources = []struct{ query, noun string }{
	{"tagging", "ObjectTagging"}, {"retention", "ObjectRetention"}, {"legal-hold", "ObjectLegalHold"}, {"acl", "Acl"},
	{"annotations", "ObjectAnnotations"}, {"annotation", "ObjectAnnotation"}, {"restore", "RestoreObject"},
	{"versioning", "BucketVersioning"}, {"replication", "BucketReplication"}, {"object-lock", "ObjectLockConfiguration"},
	{"encryption", "BucketEncryption"}, {"ownershipControls", "BucketOwnershipControls"}, {"lifecycle", "BucketLifecycleConfiguration"},
	{"policy", "BucketPolicy"}, {"policyStatus", "BucketPolicyStatus"}, {"publicAccessBlock", "PublicAccessBlock"}, {"location", "BucketLocation"},
}

var verbs = map[string]string{http.MethodGet: "Get", http.MethodPut: "Put", http.MethodDelete: "Delete", http.MethodHead: "Head", http.MethodPost: "Post"}

func s3Name(req *http.Request) string {
	q := req.URL.Query()
	verb := verbs[req.Method]
	// Path-style: /bucket/key. A host that begins with the bucket has the key alone; one slash less tells them apart well
	// enough for a count, as no operation on a bucket is counted by its path alone but these two.
	_, key, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	copied := req.Header.Get("X-Amz-Copy-Source") != ""
	switch {
	case q.Has("uploads") && req.Method == http.MethodPost:
		return "CreateMultipartUpload"
	case q.Has("uploads"):
		return "ListMultipartUploads"
	case q.Has("uploadId"):
		switch req.Method {
		case http.MethodPut:
			if copied {
				return "UploadPartCopy"
			}
			return "UploadPart"
		case http.MethodPost:
			return "CompleteMultipartUpload"
		case http.MethodDelete:
			return "AbortMultipartUpload"
		}
		return "ListParts"
	case q.Has("versions"):
		return "ListObjectVersions"
	case q.Has("list-type"):
		return "ListObjectsV2"
	case q.Has("delete"):
		return "DeleteObjects"
	}
	for _, s := range subresources {
		if q.Has(s.query) {
			return verb + s.noun
		}
	}
	switch {
	case copied:
		return "CopyObject"
	case req.URL.Path == "/" && req.Method == http.MethodGet && q.Get("x-id") != "GetObject":
		return "ListBuckets"
	case key == "" && q.Get("x-id") == "" && req.Method != http.MethodGet:
		return verb + "Bucket"
	}
	return verb + "Object"
}
