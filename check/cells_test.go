package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"coffer"
	"coffer/app"
	"coffer/audit/audittest"
	envmem "coffer/envelope/mem"
	"coffer/internal/awsfake/s3fake"
	objmem "coffer/object/mem"
	objs3 "coffer/object/s3"
	"coffer/pipeline"
	"coffer/remedy"
	storemem "coffer/store/mem"
)

// cell is one state of a bucket and its object before a fix, and what happens beside the fix.
type cell struct {
	versioning  string // off, on, suspended
	lock        string // none, governance, compliance, legal hold, event hold, hidden: governance that the caller may not see
	replication string // none, rule, hidden: a rule that the caller may not see, removed: between plan and apply
	class       string // the storage class, "restored" for an archived object with a temporary copy
	annotation  string // none, present, hidden, after: somebody annotates the fixed version
}

func (c cell) String() string {
	return strings.ReplaceAll(strings.Join([]string{c.versioning, c.lock, c.replication, c.class, c.annotation}, "/"), " ", "-")
}

// cells are all combinations that S3 allows: locks and replication need versioning.
func cells() (out []cell) {
	for _, versioning := range []string{"off", "on", "suspended"} {
		locks, replications := []string{"none"}, []string{"none"}
		if versioning == "on" {
			locks = append(locks, "governance", "compliance", "legal hold", "event hold", "hidden")
			replications = append(replications, "rule", "hidden", "removed")
		}
		for _, lock := range locks {
			for _, replication := range replications {
				for _, class := range []string{"STANDARD", "STANDARD_IA", "GLACIER", "restored"} {
					for _, annotation := range []string{"none", "present", "hidden", "after"} {
						out = append(out, cell{versioning, lock, replication, class, annotation})
					}
				}
			}
		}
	}
	return out
}

// accounts are the values of payouts.csv, those beyond the finding among them.
var accounts = [][]byte{[]byte("1405270021"), []byte("89102913724")}

const elsewhere = "moontrust-replica"

// bay is a cell with an installation on it.
type bay struct {
	*world
	cell
	s3  *s3fake.Server
	app *app.App
}

func newBay(t *testing.T, c cell) *bay {
	b := &bay{world: &world{t: t, ctx: context.Background(), now: time.Date(2026, 7, 15, 9, 0, 0, 0, time.UTC)}, cell: c, s3: s3fake.New()}
	b.s3.Now = func() time.Time { return b.now }
	config := s3fake.Config{}
	if c.versioning != "off" {
		config.Versioning = s3fake.VersioningEnabled
	}
	config.ObjectLock = c.lock != "none"
	if c.replication != "none" {
		b.s3.CreateBucket(elsewhere, s3fake.Config{Versioning: s3fake.VersioningEnabled})
		config.Replication = []s3fake.ReplicationRule{{ID: "dr", Destination: elsewhere}}
	}
	b.s3.CreateBucket(bucket, config)
	body := contents()["payouts.csv"]
	attrs := s3fake.Attrs{StorageClass: c.class}
	switch c.class {
	case "STANDARD":
		attrs.StorageClass = ""
	case "restored":
		attrs.StorageClass, attrs.Restore = "GLACIER", s3fake.Restore{Until: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}
	}
	until := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	switch c.lock {
	case "governance", "hidden":
		attrs.Lock = s3fake.Lock{Mode: "GOVERNANCE", Until: until}
	case "compliance":
		attrs.Lock = s3fake.Lock{Mode: "COMPLIANCE", Until: until}
	case "legal hold":
		attrs.Lock.LegalHold = true
	case "event hold":
		attrs.Lock = s3fake.Lock{Mode: "GOVERNANCE", EventHold: true, HoldDays: 30}
	}
	if c.annotation == "present" || c.annotation == "hidden" {
		attrs.Annotations = map[string][]byte{"reviewer-note": []byte("asked about 1405270021")}
	}
	if c.versioning == "suspended" {
		// Suspending keeps what was there: an older version, with the same values, under an id of its own.
		b.s3.Put(bucket, "payouts.csv", body, s3fake.Attrs{})
		b.s3.Configure(bucket, func(c *s3fake.Config) { c.Versioning = s3fake.VersioningSuspended })
	}
	b.s3.Put(bucket, "payouts.csv", body, attrs)
	b.s3.Replicate(bucket)
	for _, hide := range []struct {
		when    bool
		actions []string
	}{
		{c.lock == "hidden", []string{"s3:GetObjectRetention", "s3:GetObjectLegalHold", "s3:GetBucketObjectLockConfiguration"}},
		{c.replication == "hidden", []string{"s3:GetReplicationConfiguration"}},
		{c.annotation == "hidden", []string{"s3:ListObjectAnnotations", "s3:GetObjectAnnotation"}},
	} {
		if hide.when {
			b.s3.Deny(hide.actions...)
		}
	}

	objects, err := objs3.Open(objs3.Config{Endpoint: "https://s3.fake.test", AWS: aws.Config{
		Region: s3fake.Region, Credentials: credentials.NewStaticCredentialsProvider(s3fake.AccessKey, s3fake.SecretKey, ""),
		HTTPClient: &http.Client{Transport: b.s3.Transport()},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.RateLimiter = ratelimit.None
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	originals := objmem.New()
	originals.CreateBucket(remedy.OriginalsBucket)
	files, key := audittest.Parts(t, memoryDir(t))
	b.app, err = app.Assemble(b.ctx, app.Adapters{
		Objects: objects, Remember: objects.Remember, Originals: originals, DB: &storemem.DB{}, Headers: &storemem.DB{}, Keys: &envmem.Keys{},
		Log: files, LogKey: key,
	}, app.Config{}, func() time.Time { return b.now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.app.Close() })
	return b
}

func tainted(body []byte) bool {
	return slices.ContainsFunc(accounts, func(v []byte) bool { return bytes.Contains(body, v) })
}

// truth is what the bucket holds, seen past the API.
type truth struct {
	current bool     // the current bytes hold a value
	copies  []string // what else may: versions by id, annotations by name, replicas
	unseen  bool     // something is there that the caller may not see, so nothing can be said of all copies
}

func (b *bay) truth() (x truth) {
	for _, v := range b.s3.Versions(bucket, "payouts.csv") {
		if v.Marker {
			continue
		}
		if tainted(v.Bytes()) {
			if v.Latest {
				x.current = true
			} else {
				x.copies = append(x.copies, v.ID)
			}
		}
		// What an annotation says nobody has looked at; those of other versions are named with the version.
		for name := range v.Annotations {
			if v.Latest {
				x.copies = append(x.copies, name)
			}
		}
	}
	if b.replication != "none" {
		for _, v := range b.s3.Versions(elsewhere, "payouts.csv") {
			if !v.Marker && tainted(v.Bytes()) {
				x.copies = append(x.copies, "replica")
				break
			}
		}
	}
	x.unseen = b.annotation == "hidden" || b.replication == "hidden"
	return x
}

// compare holds a claim against the truth. clean is "all", "current" or empty.
func (b *bay) compare(when, clean string, residual []string) {
	b.t.Helper()
	x := b.truth()
	if clean != "" && x.current {
		b.t.Errorf("%s: %q is claimed, and the current version holds a value", when, clean)
	}
	if clean == "all" && (len(x.copies) > 0 || x.unseen) {
		b.t.Errorf("%s: all copies are claimed clean; there are %v, unseen %v", when, x.copies, x.unseen)
	}
	all := strings.Join(residual, "\n")
	for _, c := range x.copies {
		if !strings.Contains(all, c) && !(x.unseen && strings.Contains(all, "unknown")) {
			b.t.Errorf("%s: %s may hold a value and is not named in %q", when, c, residual)
		}
	}
	// The honest claim is also no less than what can be known.
	if clean == "current" && len(x.copies) == 0 && !x.unseen && b.replication == "none" {
		b.t.Errorf("%s: every copy is clean, and the claim is %q with %q", when, clean, residual)
	}
	if clean == "" && !x.current {
		b.t.Errorf("%s: the current version is clean, and nothing is claimed", when)
	}
}

func (b *bay) certificate(when string, plan string) {
	b.t.Helper()
	c, err := b.app.Remedy.Certificate(b.ctx, b.ask(), plan)
	if err != nil {
		b.t.Errorf("%s: %v", when, err)
		return
	}
	clean := map[string]string{"all known copies clean": "all", "current clean": "current", "not clean": ""}
	word, ok := clean[c.Clean]
	if !ok {
		b.t.Errorf("%s: certificate says %q", when, c.Clean)
		return
	}
	b.compare(when, word, c.Residual)
}

// TestCells: whatever a bucket is configured to keep, what Coffer claims after a fix is what the bucket holds.
func TestCells(t *testing.T) {
	all := cells()
	if len(all) < 60 {
		t.Fatalf("%d cells", len(all))
	}
	ends := map[string]int{}
	for i, c := range all {
		if i%stride == 0 {
			t.Run(c.String(), func(t *testing.T) { ends[newBay(t, c).run()]++ })
		}
	}
	t.Logf("%d cells: %v", len(all), ends)
	if stride > 1 {
		return
	}
	// A table in which everything is refused proves nothing.
	for _, end := range []string{"all", "current", "parked", "refused"} {
		if ends[end] == 0 {
			t.Errorf("no cell ends with %q", end)
		}
	}
}

// run fixes the object and tells how it ended.
func (b *bay) run() string {
	was := b.s3.Versions(bucket, "payouts.csv")
	f := b.finding("payouts.csv")
	f.Object.ETag = was[0].ETag
	if b.versioning != "off" {
		f.Object.VersionID = was[0].ID
	}
	res, err := b.app.Pipeline.Take(b.ctx, b.ask(), f)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.class == "GLACIER" {
		if res.Status == pipeline.Sealed || !strings.Contains(res.Reason, "archived") || len(b.s3.Versions(bucket, "payouts.csv")) != len(was) {
			b.t.Errorf("an archived object: %s, %q", res.Status, res.Reason)
		}
		return "parked"
	}
	if res.Status != pipeline.Sealed {
		b.t.Fatalf("take: %s: %s", res.Status, res.Reason)
	}
	groups, err := b.app.Remedy.Groups(b.ctx, f.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := b.app.Remedy.Plan(b.ctx, b.ask(), groups[0], remedy.Options{Action: remedy.Redact})
	if b.class == "restored" {
		// What is written with this class is archived at once: nothing could be verified, so nothing is begun.
		if !errors.Is(err, coffer.ErrUnsupported) || len(b.s3.Versions(bucket, "payouts.csv")) != len(was) {
			b.t.Errorf("plan for a restored object: %v", err)
		}
		return "refused"
	}
	if err != nil {
		b.t.Fatalf("plan: %v", err)
	}
	if b.replication == "removed" {
		b.s3.Configure(bucket, func(c *s3fake.Config) { c.Replication = nil })
	}
	p, err = b.app.Remedy.Apply(b.ctx, b.ask(), p.ID, remedy.Closing{})
	b.s3.Replicate(bucket)
	if err != nil || p.State != remedy.Applied {
		// What cannot be done safely is refused as a whole.
		if now := b.s3.Versions(bucket, "payouts.csv"); len(now) != len(was) || now[0].ID != was[0].ID || !bytes.Equal(now[0].Bytes(), was[0].Bytes()) {
			b.t.Errorf("refused, and the object was changed: %v", err)
		}
		if err != nil {
			b.t.Logf("apply: %v", err)
		} else if p.Clean != "" {
			b.t.Errorf("apply: %s, and %q is claimed", p.State, p.Clean)
		}
		if b.lock != "hidden" {
			b.t.Errorf("apply: %v, %s: %s", err, p.State, p.Reason)
		}
		return "refused"
	}
	b.compare("applied", p.Clean, p.Residual)
	if b.annotation == "after" {
		b.s3.Change(bucket, "payouts.csv", "", func(a *s3fake.Attrs) { a.Annotations = map[string][]byte{"reviewer-note": []byte("was 1405270021")} })
	}
	b.certificate("certificate", p.ID)
	p, err = b.app.Remedy.Purge(b.ctx, b.ask(), p.ID, remedy.PurgeOptions{})
	if err != nil {
		b.t.Fatalf("purge: %v", err)
	}
	b.compare("purged", p.Clean, p.Residual)
	b.certificate("certificate after purge", p.ID)
	if err := b.locksKept(was); err != nil {
		b.t.Error(err)
	}
	if n := len(b.s3.Uploads(bucket)); n > 0 {
		b.t.Errorf("%d uploads are left", n)
	}
	for _, call := range b.s3.Calls() {
		if call.Op == "Unknown" || call.Op == "Malformed" {
			b.t.Error("an operation that the fake does not know")
		}
	}
	return p.Clean
}

// locksKept: no locked version went, and none lost its lock.
func (b *bay) locksKept(was []s3fake.Version) error {
	now := b.s3.Versions(bucket, "payouts.csv")
	for _, v := range was {
		if v.Lock == (s3fake.Lock{}) {
			continue
		}
		i := slices.IndexFunc(now, func(n s3fake.Version) bool { return n.ID == v.ID })
		if i < 0 || now[i].Lock != v.Lock {
			return fmt.Errorf("version %s lost its lock", v.ID)
		}
	}
	return nil
}
