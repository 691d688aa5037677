package awsmeter_test

import (
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"coffer/internal/awsmeter"
)

type echo struct{}

func (echo) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("four")), Request: req}, nil
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		method, url, target, copySource string
		want                            awsmeter.Op
	}{
		{"POST", "https://kms.eu-central-1.amazonaws.com/", "TrentService.GenerateDataKey", "", awsmeter.Op{Service: "kms", Name: "GenerateDataKey"}},
		{"POST", "https://dynamodb.eu-central-1.amazonaws.com/", "DynamoDB_20120810.TransactWriteItems", "", awsmeter.Op{Service: "dynamodb", Name: "TransactWriteItems"}},
		{"GET", "http://127.0.0.1/b/k?x-id=GetObject", "", "", awsmeter.Op{Service: "s3", Name: "GetObject"}},
		{"HEAD", "http://127.0.0.1/b/k", "", "", awsmeter.Op{Service: "s3", Name: "HeadObject"}},
		{"PUT", "http://127.0.0.1/b/k?x-id=PutObject", "", "", awsmeter.Op{Service: "s3", Name: "PutObject"}},
		{"PUT", "http://127.0.0.1/b/k?x-id=CopyObject", "", "b/k", awsmeter.Op{Service: "s3", Name: "CopyObject"}},
		{"PUT", "http://127.0.0.1/b/k?uploadId=u&partNumber=1", "", "b/k", awsmeter.Op{Service: "s3", Name: "UploadPartCopy"}},
		{"PUT", "http://127.0.0.1/b/k?uploadId=u&partNumber=1", "", "", awsmeter.Op{Service: "s3", Name: "UploadPart"}},
		{"POST", "http://127.0.0.1/b/k?uploadId=u", "", "", awsmeter.Op{Service: "s3", Name: "CompleteMultipartUpload"}},
		{"POST", "http://127.0.0.1/b/k?uploads=", "", "", awsmeter.Op{Service: "s3", Name: "CreateMultipartUpload"}},
		{"DELETE", "http://127.0.0.1/b/k?uploadId=u", "", "", awsmeter.Op{Service: "s3", Name: "AbortMultipartUpload"}},
		{"GET", "http://127.0.0.1/b/k?tagging=&versionId=v", "", "", awsmeter.Op{Service: "s3", Name: "GetObjectTagging"}},
		{"PUT", "http://127.0.0.1/b/k?tagging=", "", "", awsmeter.Op{Service: "s3", Name: "PutObjectTagging"}},
		{"GET", "http://127.0.0.1/b?versioning=", "", "", awsmeter.Op{Service: "s3", Name: "GetBucketVersioning"}},
		{"GET", "http://127.0.0.1/b?versions=&prefix=k", "", "", awsmeter.Op{Service: "s3", Name: "ListObjectVersions"}},
		{"GET", "http://127.0.0.1/b?list-type=2", "", "", awsmeter.Op{Service: "s3", Name: "ListObjectsV2"}},
		{"GET", "http://127.0.0.1/", "", "", awsmeter.Op{Service: "s3", Name: "ListBuckets"}},
		{"PUT", "http://127.0.0.1/b", "", "", awsmeter.Op{Service: "s3", Name: "PutBucket"}},
	} {
		req, err := http.NewRequest(c.method, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.target != "" {
			req.Header.Set("X-Amz-Target", c.target)
		}
		if c.copySource != "" {
			req.Header.Set("X-Amz-Copy-Source", c.copySource)
		}
		if got := awsmeter.Name(req); got != c.want {
			t.Errorf("%s %s is %v, want %v", c.method, c.url, got, c.want)
		}
	}
}

func TestNamesOfMacie(t *testing.T) {
	for want, at := range map[string][2]string{
		"ListFindings": {"POST", "/findings"}, "GetFindings": {"POST", "/findings/describe"}, "GetMacieSession": {"GET", "/macie"},
		"ListManagedDataIdentifiers": {"POST", "/managed-data-identifiers/list"}, "GetCustomDataIdentifier": {"GET", "/custom-data-identifiers/1"},
		"GetClassificationExportConfiguration": {"GET", "/classification-export-configuration"}, "DELETE": {"DELETE", "/macie"},
	} {
		req, err := http.NewRequest(at[0], "https://macie2.eu-central-1.amazonaws.com"+at[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=A/20260715/eu-central-1/macie2/aws4_request, SignedHeaders=host")
		if got := awsmeter.Name(req); got != (awsmeter.Op{Service: "macie2", Name: want}) {
			t.Errorf("%v is %v, want %s", at, got, want)
		}
	}
}

func TestNamesByScope(t *testing.T) {
	for _, c := range []struct {
		service, method, path string
		want                  awsmeter.Op
	}{
		{"securityhub", "POST", "/findings", awsmeter.Op{Service: "securityhub", Name: "GetFindings"}},
		{"securityhub", "PATCH", "/findings/batchupdate", awsmeter.Op{Service: "securityhub", Name: "BatchUpdateFindings"}},
		{"lambda", "POST", "/2015-03-31/functions/coffer-verify/invocations", awsmeter.Op{Service: "lambda", Name: "Invoke"}},
		{"lambda", "GET", "/2015-03-31/functions", awsmeter.Op{Service: "lambda", Name: "GET"}},
		{"s3", "PUT", "/b/k", awsmeter.Op{Service: "s3", Name: "PutObject"}},
	} {
		req, err := http.NewRequest(c.method, "http://127.0.0.1"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=A/20260715/eu-central-1/"+c.service+"/aws4_request, SignedHeaders=host")
		if got := awsmeter.Name(req); got != c.want {
			t.Errorf("%s %s is %v, want %v", c.method, c.path, got, c.want)
		}
	}
}

func TestCounts(t *testing.T) {
	m := &awsmeter.Meter{}
	client := &http.Client{Transport: m.Transport(echo{})}
	put := func(body string) {
		req, err := http.NewRequest(http.MethodPut, "http://127.0.0.1/b/k", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	put("abc")
	op := awsmeter.Op{Service: "s3", Name: "PutObject"}
	first := m.Counts()
	if want := []awsmeter.Count{{Op: op, Calls: 1, Sent: 3, Received: 4}}; !reflect.DeepEqual(first, want) {
		t.Fatalf("counted %v, want %v", first, want)
	}
	put("defgh")
	if want, got := []awsmeter.Count{{Op: op, Calls: 1, Sent: 5, Received: 4}}, m.Since(first); !reflect.DeepEqual(got, want) {
		t.Fatalf("since: %v, want %v", got, want)
	}
	if got := m.Since(m.Counts()); len(got) > 0 {
		t.Fatalf("nothing happened, and %v was counted", got)
	}
}
