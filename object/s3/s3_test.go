package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coffer"
	"coffer/internal/awsfake/s3fake"
	"coffer/internal/fault"
	"coffer/internal/lookalike"
	"coffer/object"
	"coffer/object/objecttest"
	"coffer/object/s3"
)

// config is an AWS configuration for a server of package lookalike. Its retryer does not wait.
func config(tr http.RoundTripper) aws.Config {
	if f, ok := tr.(*faulty); ok {
		cfg := config(f.next)
		cfg.HTTPClient = &http.Client{Transport: f}
		return cfg
	}
	key, secret := lookalike.AccessKey, lookalike.SecretKey
	if _, real := tr.(*http.Transport); !real {
		key, secret = s3fake.AccessKey, s3fake.SecretKey
	}
	return aws.Config{
		// As the environment of the program has it when nothing else is said.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		Region:                     lookalike.Region,
		Credentials:                credentials.NewStaticCredentialsProvider(key, secret, ""),
		HTTPClient:                 &http.Client{Transport: tr},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.RateLimiter = ratelimit.None
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	}
}

// journal is an object.Journal in memory.
type journal struct {
	mu   sync.Mutex
	open map[string]object.Upload
}

func (j *journal) Begin(_ context.Context, u object.Upload) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.open == nil {
		j.open = map[string]object.Upload{}
	}
	j.open[u.ID] = u
	return nil
}

func (j *journal) End(_ context.Context, u object.Upload) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.open, u.ID)
	return nil
}

func (j *journal) Uploads(context.Context) iter.Seq2[object.Upload, error] {
	return func(yield func(object.Upload, error) bool) {
		j.mu.Lock()
		var all []object.Upload
		for _, u := range j.open {
			all = append(all, u)
		}
		j.mu.Unlock()
		for _, u := range all {
			if !yield(u, nil) {
				return
			}
		}
	}
}

// faulty runs every request as a call of an injector and makes of its faults broken connections.
type faulty struct {
	next  http.RoundTripper
	in    atomic.Pointer[fault.Injector]
	sent  atomic.Int64 // bytes of bodies
	calls atomic.Int64
}

func (f *faulty) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	f.calls.Add(1)
	f.sent.Add(max(r.ContentLength, 0))
	err = f.in.Load().Call("s3."+r.Method, func() (err error) {
		resp, err = f.next.RoundTrip(r) //nolint:bodyclose // the caller does
		return err
	})
	if err != nil && resp != nil {
		_, _ = io.Copy(io.Discard, resp.Body) // the server has done its part
		_ = resp.Body.Close()
		resp = nil
	}
	if errors.Is(err, fault.ErrInjected) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		err = connectionError{}
	}
	return resp, err
}

// connectionError is an error that the SDK takes for one of the network.
type connectionError struct{}

func (connectionError) Error() string         { return "connection broken on purpose" }
func (connectionError) ConnectionError() bool { return true }

// bed is a bucket on a server, its stores, and the server's own view of it.
type bed struct {
	raw     *sdk.Client
	bucket  string
	store   *s3.Store
	second  *s3.Store
	journal *journal
	wire    *faulty
	fake    *s3fake.Server // nil: another server
}

var buckets atomic.Int64

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newBed(t testing.TB, endpoint string) *bed {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(tr.CloseIdleConnections)
	return newBedOn(t, endpoint, tr)
}

// newFake is a bed on a fake of Amazon S3, without sockets.
func newFake(t testing.TB) *bed {
	server := s3fake.New()
	b := newBedOn(t, "", server.Transport())
	b.fake = server
	return b
}

func newBedOn(t testing.TB, endpoint string, tr http.RoundTripper) *bed {
	t.Helper()
	b := &bed{bucket: fmt.Sprintf("moontrust-%d", buckets.Add(1)), journal: &journal{}, wire: &faulty{next: tr}}
	b.raw = sdk.NewFromConfig(config(tr), func(o *sdk.Options) {
		if endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = &endpoint, true
		}
	})
	_, err := b.raw.CreateBucket(t.Context(), &sdk.CreateBucketInput{
		Bucket: &b.bucket, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: lookalike.Region},
	})
	if err != nil {
		t.Fatal(err)
	}
	if endpoint != "" {
		t.Cleanup(func() { b.remove(t) })
	}
	b.store = must2(s3.Open(s3.Config{AWS: config(b.wire), Endpoint: endpoint, Journal: b.journal}))(t)
	b.second = must2(s3.Open(s3.Config{AWS: config(tr), Endpoint: endpoint, Journal: b.journal}))(t)
	return b
}

func must2[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T { return must(t, v, err) }
}

// remove empties the bucket and removes it: the suite wants to see no other.
func (b *bed) remove(t testing.TB) {
	ctx := context.WithoutCancel(t.Context())
	for {
		out, err := b.raw.ListObjectVersions(ctx, &sdk.ListObjectVersionsInput{Bucket: &b.bucket})
		if err != nil {
			t.Error(err)
			return
		}
		n := 0
		del := func(key, version *string) {
			_, err := b.raw.DeleteObject(ctx, &sdk.DeleteObjectInput{
				Bucket: &b.bucket, Key: key, VersionId: version, BypassGovernanceRetention: aws.Bool(true),
			})
			if err != nil {
				t.Error(err)
				return
			}
			n++
		}
		for _, v := range out.Versions {
			del(v.Key, v.VersionId)
		}
		for _, m := range out.DeleteMarkers {
			del(m.Key, m.VersionId)
		}
		if n == 0 {
			break
		}
	}
	if ups, err := b.raw.ListMultipartUploads(ctx, &sdk.ListMultipartUploadsInput{Bucket: &b.bucket}); err == nil {
		for _, u := range ups.Uploads {
			_, _ = b.raw.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: &b.bucket, Key: u.Key, UploadId: u.UploadId})
		}
	}
	if _, err := b.raw.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: &b.bucket}); err != nil {
		t.Error(err)
	}
}

func (b *bed) setVersioning(t testing.TB, on bool) {
	t.Helper()
	status := types.BucketVersioningStatusSuspended
	if on {
		status = types.BucketVersioningStatusEnabled
	}
	_, err := b.raw.PutBucketVersioning(t.Context(), &sdk.PutBucketVersioningInput{
		Bucket: &b.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: status},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.store.Forget()
	b.second.Forget()
}

func (b *bed) put(t testing.TB, key string, body []byte) {
	t.Helper()
	_, err := b.raw.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: &b.bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bed) storage() objecttest.Storage {
	return objecttest.Storage{
		Store: b.store, Second: b.second, Bucket: b.bucket,
		Put: b.put,
		Remove: func(t testing.TB, key string) {
			t.Helper()
			if _, err := b.raw.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: &b.bucket, Key: &key}); err != nil {
				t.Fatal(err)
			}
		},
		SetVersioning:   b.setVersioning,
		ForeignVersions: true,
		SetFault:        func(in *fault.Injector) { b.wire.in.Store(in) },
		Requests:        true,
		Slow:            b.fake == nil,
	}
}

func (b *bed) lock(t testing.TB, o coffer.Object, why string) {
	t.Helper()
	status := types.ObjectLockLegalHoldStatusOn
	if why == "" {
		status = types.ObjectLockLegalHoldStatusOff
	}
	_, err := b.raw.PutObjectLockConfiguration(t.Context(), &sdk.PutObjectLockConfigurationInput{
		Bucket: &b.bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.store.Forget()
	b.second.Forget()
	_, err = b.raw.PutObjectLegalHold(t.Context(), &sdk.PutObjectLegalHoldInput{
		Bucket: &b.bucket, Key: &o.Key, VersionId: &o.VersionID, LegalHold: &types.ObjectLockLegalHold{Status: status},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestVersitygw(t *testing.T) {
	endpoint := lookalike.S3(t)
	objecttest.Test(t, func(t testing.TB) objecttest.Storage {
		b := newBed(t, endpoint)
		st := b.storage()
		st.Lock = b.lock
		st.Wrong = objecttest.Wrong{
			// It keeps objects in files, and its listings do not encode keys, so that XML loses control characters.
			Keys: []string{
				"tab\tand\x01control", "new\nline", "a//b", "/leading", "trailing/", "./a", "a/../b", "..", "nul\x00byte", strings.Repeat("k", 256),
			},
			NoClasses: true, OldAttrs: true, TagBytes: true, NoNull: true, MarkerIsAll: true, LateDelete: true,
		}
		return st
	})
}

func TestMoto(t *testing.T) {
	endpoint := lookalike.Moto(t)
	objecttest.Test(t, func(t testing.TB) objecttest.Storage {
		st := newBed(t, endpoint).storage()
		// Its web framework resolves such names before the server sees them.
		st.Wrong = objecttest.Wrong{Keys: []string{"new\nline", "./a", "a/../b", ".."}, NoEmptyTags: true, NoSuspended: true,
			MarkerOrder: true, LateConditions: true}
		return st
	})
}

// TestFake runs the suite on a server that follows what AWS documents, faults included.
func TestFake(t *testing.T) {
	objecttest.Test(t, func(t testing.TB) objecttest.Storage {
		b := newFake(t)
		st := b.storage()
		st.Lock = b.lock
		return st
	})
}
