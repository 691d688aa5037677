// Package s3 is object storage in Amazon S3, or in a server that speaks its protocol. The contract is that of package object.
//
// Reading. Every GET is pinned to a version and an ETag, so that a body is one version or an error. A body is fetched by ranges that
// begin small and grow, so that a value at the front of a large object costs little; at most about 20 MiB of it are held in memory.
//
// Writing. Every write that changes an object's bytes is one conditional call (If-Match or If-None-Match), sent once: the SDK does
// not repeat it, because a repetition whose first try succeeded would be refused by our own success. When the answer is lost, or
// S3 answers with an error that leaves the effect open, the object is looked at: it is ours exactly when its bytes have the digest of
// what was sent. Only where the condition still holds the call is made again. Against a server that knows no conditions nothing is
// written at all. Reads, parts of uploads, tag sets and deletes of a version are idempotent, and the SDK's retryer repeats them.
//
// Objects of up to 8 MiB are staged in memory; larger ones as the parts of a multipart upload, which nobody can read before it is
// completed. Uploads are remembered in an [object.Journal], so that Sweep aborts those of a crashed process and never a stranger's.
// An upload whose creation was acknowledged to nobody stays, without parts: it holds no bytes.
//
// What a rewrite keeps is what Stat saw. What Stat was not permitted to see (an ACL, retention, a hold) it lists, and Stage refuses to
// write an object that could lose it. What S3 tells nobody cannot be kept: the KMS encryption context that a writer chose, the owner,
// the time of the last change. Access points and directory buckets are not supported.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"coffer"
	"coffer/object"
)

// Config says which S3 a [Store] speaks to, and as whom.
type Config struct {
	// AWS has the Region, the credentials, the HTTP client and the retryer. Its retryer repeats idempotent calls and gives the
	// pauses between the attempts of the others.
	AWS aws.Config
	// Endpoint is the URL of an S3-compatible server. Empty: Amazon S3 in the Region of AWS.
	Endpoint string
	// VirtualHost says that Endpoint wants the bucket in the host name. Most servers of their own want it in the path, which is the
	// default with an Endpoint; Amazon S3 has it in the host name always.
	VirtualHost bool
	// Owner is the account that must own every bucket, sent with every call: S3 refuses calls to a bucket that changed hands.
	// Empty: not compared.
	Owner string
	// RequesterPays acknowledges that the caller pays for requests to buckets that demand it.
	RequesterPays bool
	// Journal remembers multipart uploads; see [Store.Remember]. Without one, objects larger than 8 MiB cannot be staged.
	Journal object.Journal
}

// Store is object storage in S3. Create it with [Open]. It is safe for concurrent use.
type Store struct {
	client  *s3.Client
	retryer aws.Retryer
	owner   *string
	payer   types.RequestPayer
	foreign bool // not Amazon's: what it has not implemented it does not have
	limits  limits
	now     func() time.Time

	mu      sync.Mutex
	journal object.Journal
	buckets map[string]facts
}

var _ object.Store = (*Store)(nil)

// Open returns the storage that cfg describes. It makes no call.
func Open(cfg Config) (*Store, error) {
	if cfg.AWS.Region == "" {
		return nil, fmt.Errorf("open S3: no Region: %w", coffer.ErrInvalid)
	}
	s := &Store{
		foreign: cfg.Endpoint != "",
		limits:  amazon,
		now:     time.Now,
		journal: cfg.Journal,
		buckets: map[string]facts{},
	}
	if cfg.Owner != "" {
		s.owner = &cfg.Owner
	}
	if cfg.RequesterPays {
		s.payer = types.RequestPayerRequester
	}
	s.client = s3.NewFromConfig(cfg.AWS, func(o *s3.Options) {
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
			o.UsePathStyle = !cfg.VirtualHost
		}
		o.UseARNRegion = false
		if cfg.RequesterPays {
			// Calls about a bucket have no field for it, and are answered by the same rule.
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("x-amz-request-payer", string(types.RequestPayerRequester)))
		}
		// Bodies come by ranges, for which S3 has no checksums; the reader compares the MD5 where the ETag is one.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
		// A server that refuses a write before it has read the body may close the connection, and the refusal gets lost.
		o.ContinueHeaderThresholdBytes = continueAbove
		// A conflict with another change of the same object's properties passes.
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, "OperationAborted")
	})
	s.retryer = s.client.Options().Retryer
	return s, nil
}

// Remember sets the journal of multipart uploads. It is called before the first Stage by whoever has the journal only after Open.
func (s *Store) Remember(j object.Journal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = j
}

func (s *Store) remembered() object.Journal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal
}

// once keeps the SDK from repeating a call.
func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// pause waits before attempt number n+1 of a call that failed with err, as long as the retryer of the configuration says.
func (s *Store) pause(ctx context.Context, n int, err error) error {
	d, derr := s.retryer.RetryDelay(n, err)
	if derr != nil || d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// continueAbove is the size above which a body is sent only when the server has seen the headers and wants it. Less than that lies in
// the buffers of the connection anyway.
const continueAbove = 64 << 10

// checkBucket refuses what is no name of a general-purpose bucket.
func checkBucket(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("no bucket: %w", coffer.ErrInvalid)
	case strings.ContainsAny(name, ":/?#%\\ \x00"):
		return fmt.Errorf("not a bucket's name (access points are not supported): %w", coffer.ErrInvalid)
	case strings.HasSuffix(name, "--x-s3"):
		return fmt.Errorf("directory buckets are not supported: %w", coffer.ErrInvalid)
	}
	return nil
}

func check(o coffer.Object) error {
	if err := checkBucket(o.Bucket); err != nil {
		return err
	}
	return object.CheckKey(o.Key)
}

// facts are properties of a bucket that change rarely.
type facts struct {
	read       time.Time
	versioning object.Versioning
	mfa        bool // permanent deletes need a code of the root user
	// noVersioning: s3:GetBucketVersioning is not permitted, so that the two above are not known.
	noVersioning bool
	lock         lockState
	mode         types.ObjectLockRetentionMode // of the bucket's default retention; empty: there is none
	days, years  int32
	enforced     bool // the bucket's owner owns every object, and ACLs mean nothing
}

type lockState int

const (
	lockOff lockState = iota
	lockOn
	lockUnknown
)

// factsAge is how long facts are believed. S3 itself promises no more than that a change of a bucket's configuration shows after a
// while.
const factsAge = time.Minute

// facts returns what is known of the bucket, asking where that is older than factsAge.
func (s *Store) facts(ctx context.Context, bucket string) (facts, error) {
	s.mu.Lock()
	f, ok := s.buckets[bucket]
	s.mu.Unlock()
	if ok && s.now().Sub(f.read) < factsAge {
		return f, nil
	}
	f = facts{read: s.now()}
	err := f.askVersioning(ctx, s, bucket)
	switch {
	case denied(err):
		f.noVersioning = true
	case err != nil:
		return facts{}, err
	}
	if err := f.askLock(ctx, s, bucket); err != nil {
		return facts{}, err
	}
	own, err := s.client.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &bucket, ExpectedBucketOwner: s.owner})
	switch err := translate(err, "s3:GetBucketOwnershipControls"); {
	case err == nil:
		for _, r := range own.OwnershipControls.Rules {
			f.enforced = f.enforced || r.ObjectOwnership == types.ObjectOwnershipBucketOwnerEnforced
		}
	case denied(err), s.lacks(err), errors.Is(err, coffer.ErrNotFound):
		// Then each object is asked for its ACL.
	default:
		return facts{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[bucket] = f
	return f, nil
}

func (f *facts) askVersioning(ctx context.Context, s *Store, bucket string) error {
	out, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket, ExpectedBucketOwner: s.owner})
	if err := translate(err, "s3:GetBucketVersioning"); err != nil {
		return err
	}
	switch out.Status {
	case types.BucketVersioningStatusEnabled:
		f.versioning = object.VersioningOn
	case types.BucketVersioningStatusSuspended:
		f.versioning = object.VersioningSuspended
	default:
		f.versioning = object.VersioningOff
	}
	f.mfa = out.MFADelete == types.MFADeleteStatusEnabled
	return nil
}

func (f *facts) askLock(ctx context.Context, s *Store, bucket string) error {
	out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &bucket, ExpectedBucketOwner: s.owner})
	switch err := translate(err, "s3:GetBucketObjectLockConfiguration"); {
	case err == nil:
		c := out.ObjectLockConfiguration
		if c == nil || c.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
			return nil
		}
		f.lock = lockOn
		if c.Rule != nil && c.Rule.DefaultRetention != nil {
			r := c.Rule.DefaultRetention
			f.mode, f.days, f.years = r.Mode, aws.ToInt32(r.Days), aws.ToInt32(r.Years)
		}
		return nil
	case codeIs(err, "NoSuchBucket"):
		return err
	case errors.Is(err, coffer.ErrNotFound), s.lacks(err):
		return nil
	case denied(err):
		f.lock = lockUnknown
		return nil
	default:
		return err
	}
}

// defaultUntil returns until when the bucket's default retention would keep what is written now; zero: it has none.
func (f facts) defaultUntil(now time.Time) time.Time {
	if f.mode == "" {
		return time.Time{}
	}
	return now.AddDate(int(f.years), 0, int(f.days))
}

// Versioning implements [object.Reader].
func (s *Store) Versioning(ctx context.Context, bucket string) (object.Versioning, error) {
	if err := checkBucket(bucket); err != nil {
		return "", fmt.Errorf("versioning: %w", err)
	}
	var f facts
	if err := f.askVersioning(ctx, s, bucket); err != nil {
		return "", fmt.Errorf("versioning: %w", err)
	}
	return f.versioning, nil
}

// lacks reports whether a server other than Amazon's answered that it has no such call. Amazon S3 has all that are made here.
func (s *Store) lacks(err error) bool {
	f := asFailure(err)
	if f == nil || !s.foreign {
		return false
	}
	return f.status == http.StatusNotImplemented || f.status == http.StatusMethodNotAllowed || f.code == "NotImplemented" || f.garbled
}
