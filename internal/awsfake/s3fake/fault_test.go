package s3fake_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"coffer/internal/awsfake/s3fake"
	"coffer/internal/fault"
)

func put(t *testing.T, c *s3.Client, body string, change ...func(*s3.PutObjectInput)) error {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: bucketB, Key: keyK, Body: strings.NewReader(body)}
	for _, f := range change {
		f(in)
	}
	_, err := c.PutObject(t.Context(), in)
	return err
}

func current(s *s3fake.Server) string {
	if vs := s.Versions("b", "k"); len(vs) > 0 {
		return string(vs[0].Bytes())
	}
	return ""
}

// Each failure of a PUT, and whether it had its effect.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		kind   s3fake.Kind
		want   string
		effect bool
	}{
		{s3fake.SlowDown, "503 SlowDown", false},
		{s3fake.InternalError, "500 InternalError", false},
		{s3fake.Conflict, "409 ConditionalRequestConflict", false},
		{s3fake.Aborted, "409 OperationAborted", false},
		{s3fake.Reset, "broken", false},
		{s3fake.ResetAfter, "broken", true},
		{s3fake.InternalErrorAfter, "500 InternalError", true},
		{s3fake.ErrorIn200, "ok", true}, // PutObject has no such answer
	} {
		for _, socket := range []bool{false, true} {
			s, c := fake(t)
			if socket {
				srv := httptest.NewServer(s)
				t.Cleanup(srv.Close)
				c = s3at(srv.URL, s3fake.AccessKey, s3fake.SecretKey, http.DefaultTransport)
			}
			s.CreateBucket("b", s3fake.Config{})
			s.FailNext("PutObject", tt.kind)
			err := put(t, c, "one")
			got := code(err)
			var api smithy.APIError
			if err != nil && !errors.As(err, &api) {
				got = "broken"
			}
			if got != tt.want || (current(s) == "one") != tt.effect {
				t.Errorf("kind %d, socket %v: %s, object %q", tt.kind, socket, got, current(s))
			}
			if !socket && tt.kind == s3fake.Reset && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v", err)
			}
			if err := put(t, c, "two"); err != nil {
				t.Errorf("the next: %v", err)
			}
		}
	}
}

// A conditional write whose answer is lost and that is repeated gets 412 from its own effect.
func TestLostAnswer(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	s.Put("b", "k", []byte("one"), s3fake.Attrs{})
	s.FailNext("PutObject", s3fake.ResetAfter)
	in := func(in *s3.PutObjectInput) { in.IfMatch = aws.String(quoted("one")) }
	if err := put(t, c, "two", in); err == nil {
		t.Fatal("the answer came")
	}
	if err := put(t, c, "two", in); code(err) != "412 PreconditionFailed" || current(s) != "two" {
		t.Errorf("%v, %q", err, current(s))
	}
	// The client's own retry does the same, unseen.
	s.Put("b", "k", []byte("one"), s3fake.Attrs{})
	s.FailNext("PutObject", s3fake.InternalErrorAfter)
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucketB, Key: keyK, Body: strings.NewReader("two"), IfMatch: aws.String(quoted("one"))},
		func(o *s3.Options) {
			o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		})
	if code(err) != "412 PreconditionFailed" || current(s) != "two" {
		t.Errorf("%v, %q", err, current(s))
	}
}

// An error inside a 200: with and without the effect.
func TestErrorIn200(t *testing.T) {
	for kind, effect := range map[s3fake.Kind]bool{s3fake.ErrorIn200: false, s3fake.ErrorIn200After: true} {
		s, c := fake(t)
		s.CreateBucket("b", s3fake.Config{})
		s.Put("b", "src", []byte("one"), s3fake.Attrs{})
		s.FailNext("CopyObject", kind)
		_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: bucketB, Key: keyK, CopySource: aws.String("b/src")})
		if err == nil || (current(s) == "one") != effect || s.Calls()[0].Status != 200 {
			t.Errorf("copy, kind %d: %v, %q", kind, err, current(s))
		}
		w := &world{t: t, ctx: t.Context(), c: c, bucket: bucketB}
		id := w.create("k")
		parts := []types.CompletedPart{w.part("k", id, 1, []byte("two"))}
		s.FailNext("CompleteMultipartUpload", kind)
		if _, err := w.complete("k", id, parts); err == nil || (current(s) == "two") != effect || (len(s.Uploads("b")) == 0) != effect {
			t.Errorf("complete, kind %d: %v, %q", kind, err, current(s))
		}
		if effect {
			_, err = w.complete("k", id, parts)
			w.want("complete again", err, "404 NoSuchUpload")
		}
	}
}

// After a conflict the upload can only be aborted: S3 wants a new one.
func TestConflictOfUpload(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	w := &world{t: t, ctx: t.Context(), c: c, bucket: bucketB}
	id := w.create("k")
	parts := []types.CompletedPart{w.part("k", id, 1, []byte("two"))}
	s.FailNext("CompleteMultipartUpload", s3fake.Conflict)
	for range 2 {
		_, err := w.complete("k", id, parts)
		w.want("complete", err, "409 ConditionalRequestConflict")
	}
	if len(s.Uploads("b")) != 1 {
		t.Error("the parts are gone")
	}
	_, err := c.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: bucketB, Key: keyK, UploadId: id})
	if err != nil || len(s.Uploads("b")) != 0 {
		t.Error(err)
	}
}

func TestTruncated(t *testing.T) {
	for _, socket := range []bool{false, true} {
		s, c := fake(t)
		if socket {
			srv := httptest.NewServer(s)
			t.Cleanup(srv.Close)
			c = s3at(srv.URL, s3fake.AccessKey, s3fake.SecretKey, http.DefaultTransport)
		}
		s.CreateBucket("b", s3fake.Config{})
		s.Put("b", "k", []byte("0123456789"), s3fake.Attrs{})
		s.FailNext("GetObject", s3fake.Truncated)
		out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucketB, Key: keyK})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(out.Body)
		if err == nil || string(b) != "01234" || *out.ContentLength != 10 {
			t.Errorf("socket %v: %q, %v", socket, b, err)
		}
		if calls := s.Calls(); calls[0].Op != "GetObject" || calls[0].Out != 5 {
			t.Errorf("%+v", calls)
		}
	}
}

// The fault tables' injector counts requests and breaks them on either side of their effect.
func TestInjector(t *testing.T) {
	s, c := fake(t)
	s.Injector = fault.New(fault.Fault{Call: 2, When: fault.Before}, fault.Fault{Call: 3, When: fault.After}, fault.Fault{Call: 5, When: fault.Before, Crash: true})
	s.CreateBucket("b", s3fake.Config{})
	for i, want := range []struct {
		ok      bool
		current string
	}{{true, "0"}, {false, "0"}, {false, "2"}, {true, "3"}, {false, "3"}, {false, "3"}} {
		err := put(t, c, string(rune('0'+i)))
		if (err == nil) != want.ok || current(s) != want.current {
			t.Errorf("call %d: %v, %q", i+1, err, current(s))
		}
		if err != nil && (!errors.Is(err, fault.ErrInjected) || !errors.Is(err, syscall.ECONNRESET)) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if got := strings.Join(s.Injector.Trace(), " "); got != "s3.PutObject s3.PutObject s3.PutObject s3.PutObject s3.PutObject" {
		t.Error(got)
	}
	s.Injector.Restart()
	if err := put(t, c, "x"); err != nil {
		t.Error(err)
	}
}

func TestWhoMayCall(t *testing.T) {
	s, _ := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	const at = "https://s3.fake.test"
	for _, tt := range []struct{ name, access, secret, want string }{
		{"another secret", s3fake.AccessKey, "x", "403 SignatureDoesNotMatch"},
		{"another key id", "AKIAOTHER", s3fake.SecretKey, "403 InvalidAccessKeyId"},
		{"the credentials", s3fake.AccessKey, s3fake.SecretKey, "ok"},
	} {
		if err := put(t, s3at(at, tt.access, tt.secret, s.Transport()), "one"); code(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	signed := s3at(at, s3fake.AccessKey, s3fake.SecretKey, tamper{s.Transport(), func(r *http.Request) { r.Header.Set("X-Amz-Tagging", "a=b") }})
	if err := put(t, signed, "two"); code(err) != "403 AccessDenied" {
		t.Errorf("a header that was not signed: %v", err)
	}
	signed = s3at(at, s3fake.AccessKey, s3fake.SecretKey, tamper{s.Transport(), func(r *http.Request) { r.Header.Set("If-Match", `"x"`) }})
	if err := put(t, signed, "two"); code(err) != "404 NoSuchKey" && code(err) != "412 PreconditionFailed" {
		t.Errorf("a header that need not be signed: %v", err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/b/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Transport().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("not signed: %d, %v", resp.StatusCode, err)
	}
}

type tamper struct {
	to     http.RoundTripper
	change func(*http.Request)
}

func (x tamper) RoundTrip(r *http.Request) (*http.Response, error) {
	x.change(r)
	return x.to.RoundTrip(r)
}

// What the fake does not know it refuses, and a test sees that it was asked.
func TestUnknown(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	_, err := c.GetObjectTorrent(t.Context(), &s3.GetObjectTorrentInput{Bucket: bucketB, Key: keyK})
	if code(err) != "501 NotImplemented" {
		t.Error(err)
	}
	if calls := s.Calls(); len(calls) != 1 || calls[0].Op != "Unknown" || calls[0].Code != "NotImplemented" || calls[0].Status != 501 {
		t.Errorf("%+v", calls)
	}
}

// One of many that write under the same condition wins.
func TestRace(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	var wg sync.WaitGroup
	won := make(chan string, 16)
	for i := range 16 {
		wg.Go(func() {
			body := string(rune('a' + i))
			if err := put(t, c, body, func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }); err == nil {
				won <- body
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || current(s) != <-won {
		t.Errorf("%d winners", len(won))
	}
}

// Virtual-host addresses lead to the same objects.
func TestVirtualHosts(t *testing.T) {
	s, _ := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	s.Put("b", "a key", []byte("one"), s3fake.Attrs{})
	c := s3.NewFromConfig(aws.Config{
		Region: s3fake.Region, Credentials: credentials.NewStaticCredentialsProvider(s3fake.AccessKey, s3fake.SecretKey, ""), HTTPClient: &http.Client{Transport: s.Transport()},
	}, func(o *s3.Options) { o.BaseEndpoint = aws.String("https://s3.fake.test") })
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucketB, Key: aws.String("a key")})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(out.Body); string(b) != "one" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}
