package check_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"coffer"
	"coffer/envelope"
	"coffer/envelope/kms"
	envmem "coffer/envelope/mem"
	"coffer/internal/awsfake/kmsfake"
	"coffer/internal/awsfake/s3fake"
	"coffer/internal/fault"
	"coffer/object"
	objmem "coffer/object/mem"
	objs3 "coffer/object/s3"
	"coffer/remedy"
)

// place is where the objects, the kept originals and the wrapping keys of a world are: what Coffer works through, and what a test
// sees and does beside it.
type place interface {
	adapters(t testing.TB, now func() time.Time) (objects, originals object.Store, keys envelope.Keys)
	// inject has all calls run through in.
	inject(in *fault.Injector)
	// put, version: as somebody else does it.
	put(key string, body []byte, a object.Attrs)
	version(t testing.TB)
	// current is the object's current bytes, nil when there are none; kept are the keys of the kept originals; unfinished counts
	// stages and uploads.
	current(key string) []byte
	kept() []string
	unfinished() int
}

// memory has everything in the strict memory adapters.
type memory struct {
	objects, originals *objmem.Store
	keys               *envmem.Keys
}

func newMemory() *memory {
	m := &memory{objmem.New(), objmem.New(), &envmem.Keys{}}
	m.objects.CreateBucket(bucket)
	m.originals.CreateBucket(remedy.OriginalsBucket)
	return m
}

func (m *memory) adapters(testing.TB, func() time.Time) (object.Store, object.Store, envelope.Keys) {
	return m.objects, m.originals, m.keys
}

func (m *memory) inject(in *fault.Injector) {
	m.objects.Fault, m.originals.Fault, m.keys.Fault = in, in, in
}

func (m *memory) put(key string, body []byte, a object.Attrs) {
	m.objects.Foreign().Put(bucket, key, body, a)
}

func (m *memory) version(t testing.TB) {
	if err := m.objects.SetVersioning(bucket, object.VersioningOn); err != nil {
		t.Fatal(err)
	}
}

// aside is Open without the injector: Watch calls its hook aside.
func (m *memory) current(key string) []byte {
	body, err := m.objects.Open(context.Background(), coffer.Object{Bucket: bucket, Key: key})
	if err != nil {
		return nil
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return nil
	}
	return b
}

func (m *memory) kept() (keys []string) {
	for info, err := range m.originals.List(context.Background(), remedy.OriginalsBucket, "", "") {
		if err == nil {
			keys = append(keys, info.Key)
		}
	}
	return keys
}

func (m *memory) unfinished() int { return m.objects.Stages() + m.originals.Stages() }

// cloud has the AWS adapters on fakes that follow AWS' documentation: every HTTP request is a call that can fail.
type cloud struct {
	s3  *s3fake.Server
	kms *kmsfake.Fake
	key string
	// over stands between the adapters and the fakes.
	over func(http.RoundTripper) http.RoundTripper
}

const (
	s3Endpoint  = "https://s3.fake.test"
	kmsEndpoint = "https://kms.fake.test"
)

func newCloud(t testing.TB) *cloud {
	c := &cloud{s3: s3fake.New(), kms: &kmsfake.Fake{}}
	c.s3.CreateBucket(bucket, s3fake.Config{})
	c.s3.CreateBucket(remedy.OriginalsBucket, s3fake.Config{})
	client := awskms.NewFromConfig(impatient(c.kms.Transport()), func(o *awskms.Options) { o.BaseEndpoint = aws.String(kmsEndpoint) })
	made, err := client.CreateKey(context.Background(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	c.key = *made.KeyMetadata.Arn
	return c
}

var atOnce = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })

// impatient is a configuration of the SDK that does not pause between attempts.
func impatient(transport http.RoundTripper) aws.Config {
	return aws.Config{
		Region: s3fake.Region, Credentials: credentials.NewStaticCredentialsProvider(s3fake.AccessKey, s3fake.SecretKey, ""),
		HTTPClient: &http.Client{Transport: transport},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.RateLimiter = ratelimit.None
				o.Backoff = atOnce
			})
		},
	}
}

func (c *cloud) adapters(t testing.TB, now func() time.Time) (object.Store, object.Store, envelope.Keys) {
	c.s3.Now, c.kms.Now = now, now
	over := c.over
	if over == nil {
		over = func(tr http.RoundTripper) http.RoundTripper { return tr }
	}
	open := func() object.Store {
		st, err := objs3.Open(objs3.Config{Endpoint: s3Endpoint, AWS: impatient(over(c.s3.Transport()))})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	keys, err := kms.Open(t.Context(), kms.Config{Endpoint: kmsEndpoint, AWS: impatient(over(c.kms.Transport())), Key: c.key, Backoff: atOnce})
	if err != nil {
		t.Fatal(err)
	}
	return open(), open(), keys
}

func (c *cloud) inject(in *fault.Injector) { c.s3.Injector, c.kms.Fault = in, in }

func (c *cloud) put(key string, body []byte, a object.Attrs) {
	attrs := s3fake.Attrs{Headers: map[string]string{"Content-Type": a.ContentType}, Metadata: maps.Clone(a.Metadata)}
	if a.ContentType == "" {
		attrs.Headers = nil
	}
	for _, t := range a.Tags {
		attrs.Tags = append(attrs.Tags, s3fake.Tag{Key: t.Key, Value: t.Value})
	}
	c.s3.Put(bucket, key, bytes.Clone(body), attrs)
}

func (c *cloud) version(testing.TB) {
	c.s3.Configure(bucket, func(c *s3fake.Config) { c.Versioning = s3fake.VersioningEnabled })
}

func (c *cloud) current(key string) []byte {
	if vs := c.s3.Versions(bucket, key); len(vs) > 0 && !vs[0].Marker {
		return vs[0].Bytes()
	}
	return nil
}

func (c *cloud) kept() []string { return c.s3.Keys(remedy.OriginalsBucket) }

func (c *cloud) unfinished() int {
	return len(c.s3.Uploads(bucket)) + len(c.s3.Uploads(remedy.OriginalsBucket))
}
