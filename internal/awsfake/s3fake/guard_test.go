package s3fake_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"coffer/internal/awsfake/s3fake"
)

var bucketB, keyK = aws.String("b"), aws.String("k")

// --- 1.2 Object Lock

func TestObjectLock(t *testing.T) {
	onBoth(t, func(w *world) {
		until := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
		lock := func(mode types.ObjectLockMode) func(*s3.PutObjectInput) {
			return func(in *s3.PutObjectInput) {
				in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ChecksumAlgorithm = mode, &until, types.ChecksumAlgorithmCrc32
			}
		}
		del := func(key, version string, bypass bool) error {
			_, err := w.c.DeleteObject(w.ctx, &s3.DeleteObjectInput{Bucket: w.bucket, Key: &key, VersionId: &version, BypassGovernanceRetention: &bypass})
			return err
		}
		governed := *w.put("g", "one", lock(types.ObjectLockModeGovernance)).VersionId
		head, err := w.c.HeadObject(w.ctx, &s3.HeadObjectInput{Bucket: w.bucket, Key: aws.String("g")})
		w.ok(err)
		if head.ObjectLockMode != types.ObjectLockModeGovernance || !head.ObjectLockRetainUntilDate.Equal(until) {
			w.t.Errorf("head: %s %v", head.ObjectLockMode, head.ObjectLockRetainUntilDate)
		}
		w.want("governance", del("g", governed, false), "403 AccessDenied")
		// A PUT over a locked version and a marker on top of it are no removal.
		w.put("g", "two", func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 })
		w.del("g", "")
		w.holds("g", governed, "one")
		w.want("governance, bypassed", del("g", governed, true), "ok")

		held := *w.put("h", "one", func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 }).VersionId
		_, err = w.c.PutObjectLegalHold(w.ctx, &s3.PutObjectLegalHoldInput{Bucket: w.bucket, Key: aws.String("h"), VersionId: &held, LegalHold: &types.ObjectLockLegalHold{Status: "ON"}})
		w.ok(err)
		w.want("legal hold", del("h", held, false), "403 AccessDenied")
		w.want("legal hold, bypassed", del("h", held, true), "403 AccessDenied")
		_, err = w.c.PutObjectLegalHold(w.ctx, &s3.PutObjectLegalHoldInput{Bucket: w.bucket, Key: aws.String("h"), VersionId: &held, LegalHold: &types.ObjectLockLegalHold{Status: "OFF"}})
		w.ok(err)
		w.want("released", del("h", held, false), "ok")

		fixed := *w.put("c", "one", lock(types.ObjectLockModeCompliance)).VersionId
		w.want("compliance, bypassed", del("c", fixed, true), "403 AccessDenied")
		earlier := until.AddDate(-1, 0, 0)
		_, err = w.c.PutObjectRetention(w.ctx, &s3.PutObjectRetentionInput{
			Bucket: w.bucket, Key: aws.String("c"), VersionId: &fixed, BypassGovernanceRetention: aws.Bool(true),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: &earlier},
		})
		w.want("shorter", err, "403 AccessDenied")
		_, err = w.c.PutBucketVersioning(w.ctx, &s3.PutBucketVersioningInput{
			Bucket: w.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusSuspended},
		})
		if w.documented() { // versitygw: 400
			w.want("versioning of a locked bucket", err, "409 InvalidBucketState")
		}
	})
}

func TestLockPermissions(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{Versioning: s3fake.VersioningEnabled, ObjectLock: true})
	id := s.Put("b", "k", []byte("one"), s3fake.Attrs{Lock: s3fake.Lock{Mode: "GOVERNANCE", Until: s.Now().AddDate(1, 0, 0), LegalHold: true}})
	head := func() *s3.HeadObjectOutput {
		t.Helper()
		out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucketB, Key: keyK})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := head(); out.ObjectLockMode == "" || out.ObjectLockLegalHoldStatus != "ON" {
		t.Errorf("permitted: %v", out)
	}
	// The object is as locked as before, and nothing says so.
	s.Deny("s3:GetObjectRetention", "s3:GetObjectLegalHold")
	if out := head(); out.ObjectLockMode != "" || out.ObjectLockRetainUntilDate != nil || out.ObjectLockLegalHoldStatus != "" {
		t.Errorf("not permitted: %v", out)
	}
	_, err := c.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: bucketB, Key: keyK})
	if code(err) != "403 AccessDenied" {
		t.Error(err)
	}
	s.Change("b", "k", id, func(a *s3fake.Attrs) { a.Lock.LegalHold = false })
	s.Deny("s3:BypassGovernanceRetention")
	del := &s3.DeleteObjectInput{Bucket: bucketB, Key: keyK, VersionId: &id, BypassGovernanceRetention: aws.Bool(true)}
	if _, err := c.DeleteObject(t.Context(), del); code(err) != "403 AccessDenied" {
		t.Errorf("a bypass without the permission: %v", err)
	}
	s.Allow("s3:BypassGovernanceRetention")
	if _, err := c.DeleteObject(t.Context(), del); err != nil {
		t.Error(err)
	}
}

func TestDefaultRetention(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{Versioning: s3fake.VersioningEnabled, ObjectLock: true, DefaultMode: "COMPLIANCE", DefaultDays: 3})
	put := func(change func(*s3.PutObjectInput)) error {
		in := &s3.PutObjectInput{Bucket: bucketB, Key: keyK, Body: strings.NewReader("one")}
		change(in)
		_, err := c.PutObject(t.Context(), in, func(o *s3.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired })
		return err
	}
	if err := put(func(*s3.PutObjectInput) {}); code(err) != "400 InvalidRequest" {
		t.Errorf("without a digest: %v", err)
	}
	if err := put(func(in *s3.PutObjectInput) { in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 }); err != nil {
		t.Fatal(err)
	}
	v := s.Versions("b", "k")[0]
	if v.Lock.Mode != "COMPLIANCE" || !v.Lock.Until.Equal(s.Now().AddDate(0, 0, 3)) {
		t.Errorf("%+v", v.Lock)
	}
	out, err := c.GetObjectLockConfiguration(t.Context(), &s3.GetObjectLockConfigurationInput{Bucket: bucketB})
	if err != nil || *out.ObjectLockConfiguration.Rule.DefaultRetention.Days != 3 {
		t.Errorf("%v, %v", out, err)
	}
	now := s.Now().AddDate(0, 0, 3)
	s.Now = func() time.Time { return now }
	if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucketB, Key: keyK, VersionId: &v.ID}); err != nil {
		t.Errorf("after its time: %v", err)
	}
}

func TestEventHold(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{Versioning: s3fake.VersioningEnabled, ObjectLock: true})
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: bucketB, Key: keyK, Body: strings.NewReader("one"), ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockEventHold: types.ObjectLockEventHoldOn,
		ObjectLockEventHoldDurationDays: aws.Int32(10), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := s.Versions("b", "k")[0].ID
	del := func(bypass bool) string {
		_, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucketB, Key: keyK, VersionId: &id, BypassGovernanceRetention: &bypass})
		return code(err)
	}
	out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucketB, Key: keyK})
	if err != nil || out.ObjectLockEventHold != types.ObjectLockEventHoldOn || *out.ObjectLockEventHoldDurationDays != 10 {
		t.Errorf("head: %v, %v", out, err)
	}
	if got := del(true); got != "403 AccessDenied" {
		t.Errorf("under the hold: %s", got)
	}
	ret, err := c.GetObjectRetention(t.Context(), &s3.GetObjectRetentionInput{Bucket: bucketB, Key: keyK})
	if err != nil || ret.Retention.EventHold != types.ObjectLockEventHoldOn || *ret.Retention.EventHoldDuration.Days != 10 {
		t.Fatalf("%v, %v", ret, err)
	}
	_, err = c.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: bucketB, Key: keyK, Retention: &types.ObjectLockRetention{EventHold: types.ObjectLockEventHoldOff}})
	if err != nil {
		t.Fatal(err)
	}
	// The time begins at the release.
	if l := s.Versions("b", "k")[0].Lock; l.EventHold || !l.Until.Equal(s.Now().AddDate(0, 0, 10)) {
		t.Errorf("released: %+v", l)
	}
	if got := del(false); got != "403 AccessDenied" {
		t.Errorf("after the release: %s", got)
	}
	if got := del(true); got != "ok" {
		t.Errorf("after the release, bypassed: %s", got)
	}
}

func TestLockNeedsConfiguration(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{Versioning: s3fake.VersioningEnabled})
	s.Put("b", "k", []byte("one"), s3fake.Attrs{})
	_, err := c.PutObjectLegalHold(t.Context(), &s3.PutObjectLegalHoldInput{Bucket: bucketB, Key: keyK, LegalHold: &types.ObjectLockLegalHold{Status: "ON"}})
	if code(err) != "400 InvalidRequest" {
		t.Error(err)
	}
	_, err = c.GetObjectLockConfiguration(t.Context(), &s3.GetObjectLockConfigurationInput{Bucket: bucketB})
	if code(err) != "404 ObjectLockConfigurationNotFoundError" {
		t.Error(err)
	}
}

// --- 1.5 annotations

func TestAnnotations(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{Versioning: s3fake.VersioningEnabled, ObjectLock: true})
	old := s.Put("b", "k", []byte("one"), s3fake.Attrs{})
	put := func(name, text string, match *string) string {
		_, err := c.PutObjectAnnotation(t.Context(), &s3.PutObjectAnnotationInput{
			Bucket: bucketB, Key: keyK, AnnotationName: &name, AnnotationPayload: strings.NewReader(text), ObjectIfMatch: match,
		})
		return code(err)
	}
	for _, tt := range []struct {
		name, text string
		match      *string
		want       string
	}{
		{"note", "some text", nil, "ok"},
		{"note 2", "more", aws.String(quoted("one")), "ok"},
		{"note", "text", aws.String(quoted("two")), "412 PreconditionFailed"},
		{"aws-note", "text", nil, "400 InvalidAnnotationName"},
		{"S3note", "text", nil, "400 InvalidAnnotationName"},
		{strings.Repeat("n", 513), "text", nil, "400 AnnotationNameTooLong"},
		{"binary", "\xff\xfe", nil, "415 UnsupportedMediaType"},
		{"empty", "", nil, "400 InvalidRequest"},
		{"large", strings.Repeat("x", 1<<20), nil, "ok"},
		{"larger", strings.Repeat("x", 1<<20+1), nil, "400 EntityTooLarge"},
	} {
		if got := put(tt.name, tt.text, tt.match); got != tt.want {
			t.Errorf("%.20s: %s, want %s", tt.name, got, tt.want)
		}
	}
	var names []string
	in := &s3.ListObjectAnnotationsInput{Bucket: bucketB, Key: keyK, MaxAnnotationResults: aws.Int32(2)}
	for {
		out, err := c.ListObjectAnnotations(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range out.Annotations {
			names = append(names, *a.AnnotationName)
		}
		if in.ContinuationToken = out.NextContinuationToken; in.ContinuationToken == nil {
			break
		}
	}
	if strings.Join(names, ",") != "large,note,note 2" {
		t.Errorf("%q", names)
	}
	got, err := c.GetObjectAnnotation(t.Context(), &s3.GetObjectAnnotationInput{Bucket: bucketB, Key: keyK, AnnotationName: aws.String("note"), VersionId: &old})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(got.AnnotationPayload); string(b) != "some text" || err != nil || *got.ObjectVersionId != old {
		t.Errorf("%q, %v", b, err)
	}
	// A new version has none; those of the old one stay, and are read by its id.
	s.Put("b", "k", []byte("two"), s3fake.Attrs{})
	out, err := c.ListObjectAnnotations(t.Context(), &s3.ListObjectAnnotationsInput{Bucket: bucketB, Key: keyK})
	if err != nil || len(out.Annotations) != 0 {
		t.Errorf("%v, %v", out, err)
	}
	_, err = c.GetObjectAnnotation(t.Context(), &s3.GetObjectAnnotationInput{Bucket: bucketB, Key: keyK, AnnotationName: aws.String("note")})
	if code(err) != "404 NoSuchAnnotation" {
		t.Error(err)
	}
	del := func() string {
		_, err := c.DeleteObjectAnnotation(t.Context(), &s3.DeleteObjectAnnotationInput{Bucket: bucketB, Key: keyK, VersionId: &old, AnnotationName: aws.String("note")})
		return code(err)
	}
	s.Change("b", "k", old, func(a *s3fake.Attrs) { a.Lock.LegalHold = true })
	if got := del(); got != "403 AccessDenied" {
		t.Errorf("of a locked version: %s", got)
	}
	s.Change("b", "k", old, func(a *s3fake.Attrs) { a.Lock.LegalHold = false })
	s.Deny("s3:DeleteObjectAnnotation")
	if got := del(); got != "403 AccessDenied" {
		t.Errorf("without permission: %s", got)
	}
	s.Allow("s3:DeleteObjectAnnotation")
	if got := del(); got != "ok" || len(s.Versions("b", "k")[1].Annotations) != 2 {
		t.Errorf("%s", got)
	}
}

// --- 1.8 replicas and archives

func TestReplication(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("copy", s3fake.Config{Versioning: s3fake.VersioningEnabled})
	s.CreateBucket("b", s3fake.Config{Versioning: s3fake.VersioningEnabled, Replication: []s3fake.ReplicationRule{{Prefix: "k", Destination: "copy"}}})
	status := func(key string) types.ReplicationStatus {
		t.Helper()
		out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucketB, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		return out.ReplicationStatus
	}
	id := s.Put("b", "k", []byte("one"), s3fake.Attrs{Annotations: map[string][]byte{"note": []byte("x")}})
	s.Put("b", "other", []byte("one"), s3fake.Attrs{})
	if status("k") != types.ReplicationStatusPending || status("other") != "" {
		t.Errorf("%q %q", status("k"), status("other"))
	}
	s.Replicate("b")
	if r := s.Versions("copy", "k"); len(r) != 1 || r[0].ID != id || r[0].Replication != "REPLICA" || string(r[0].Annotations["note"]) != "x" {
		t.Errorf("%+v", r)
	}
	if status("k") != types.ReplicationStatusCompleted || len(s.Keys("copy")) != 1 {
		t.Errorf("%q", status("k"))
	}
	// Neither the removal of a version nor, by default, a marker reaches the copy.
	s.Delete("b", "k", id)
	s.Put("b", "k", []byte("two"), s3fake.Attrs{})
	s.Delete("b", "k", "")
	s.Replicate("b")
	if r := s.Versions("copy", "k"); len(r) != 2 || string(r[0].Bytes()) != "two" || string(r[1].Bytes()) != "one" {
		t.Errorf("%+v", r)
	}
	out, err := c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: bucketB})
	if err != nil || len(out.ReplicationConfiguration.Rules) != 1 || *out.ReplicationConfiguration.Rules[0].Destination.Bucket != "arn:aws:s3:::copy" ||
		*out.ReplicationConfiguration.Rules[0].Filter.Prefix != "k" || out.ReplicationConfiguration.Rules[0].Status != types.ReplicationRuleStatusEnabled {
		t.Errorf("%v, %v", out, err)
	}
	_, err = c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: aws.String("copy")})
	if code(err) != "404 ReplicationConfigurationNotFoundError" {
		t.Error(err)
	}
	s.Deny("s3:GetReplicationConfiguration")
	_, err = c.GetBucketReplication(t.Context(), &s3.GetBucketReplicationInput{Bucket: bucketB})
	if code(err) != "403 AccessDenied" {
		t.Error(err)
	}
}

func TestArchive(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	s.Put("b", "k", []byte("one"), s3fake.Attrs{StorageClass: "GLACIER"})
	get := func() string {
		_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucketB, Key: keyK})
		return code(err)
	}
	restore := func() string {
		_, err := c.RestoreObject(t.Context(), &s3.RestoreObjectInput{Bucket: bucketB, Key: keyK, RestoreRequest: &types.RestoreRequest{Days: aws.Int32(2)}})
		return code(err)
	}
	header := func() string {
		t.Helper()
		out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucketB, Key: keyK})
		if err != nil || out.StorageClass != types.StorageClassGlacier {
			t.Fatalf("HEAD of an archived object: %v, %v", out, err)
		}
		return aws.ToString(out.Restore)
	}
	if got := get(); got != "403 InvalidObjectState" {
		t.Errorf("GET: %s", got)
	}
	_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: bucketB, Key: aws.String("x"), CopySource: aws.String("b/k")})
	if code(err) != "403 InvalidObjectState" {
		t.Errorf("copy: %v", err)
	}
	if got := restore(); got != "ok" || header() != `ongoing-request="true"` {
		t.Errorf("restore: %s, %s", got, header())
	}
	if got := restore(); got != "409 RestoreAlreadyInProgress" {
		t.Errorf("restore again: %s", got)
	}
	if got := get(); got != "403 InvalidObjectState" {
		t.Errorf("GET during the restore: %s", got)
	}
	s.Change("b", "k", "", func(a *s3fake.Attrs) { a.Restore = s3fake.Restore{Until: s.Now().AddDate(0, 0, 2)} })
	if got := get(); got != "ok" || !strings.HasPrefix(header(), `ongoing-request="false", expiry-date="Fri, 17 Jul 2026`) {
		t.Errorf("GET after the restore: %s, %s", got, header())
	}
	later := s.Now().AddDate(0, 0, 3)
	s.Now = func() time.Time { return later }
	if got := get(); got != "403 InvalidObjectState" || header() != "" {
		t.Errorf("GET when the copy is gone: %s", got)
	}
	s.Put("b", "k", []byte("one"), s3fake.Attrs{StorageClass: "STANDARD_IA"})
	if got := restore(); got != "403 InvalidObjectState" {
		t.Errorf("restore of what is not archived: %s", got)
	}
	for class, want := range map[string]string{"GLACIER_IR": "ok", "DEEP_ARCHIVE": "403 InvalidObjectState", "INTELLIGENT_TIERING": "ok", "ONEZONE_IA": "ok"} {
		s.Put("b", "k", []byte("one"), s3fake.Attrs{StorageClass: class})
		if got := get(); got != want {
			t.Errorf("%s: %s", class, got)
		}
	}
	s.Put("b", "k", []byte("one"), s3fake.Attrs{StorageClass: "INTELLIGENT_TIERING", ArchiveStatus: "ARCHIVE_ACCESS"})
	if got := get(); got != "403 InvalidObjectState" {
		t.Errorf("an archive tier: %s", got)
	}
}

// --- 1.9 access paths, owners, money

func TestOwnersAndPayers(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{Owner: "999999999999"})
	s.Put("b", "k", []byte("one"), s3fake.Attrs{})
	get := func(change func(*s3.GetObjectInput)) string {
		in := &s3.GetObjectInput{Bucket: bucketB, Key: keyK}
		change(in)
		_, err := c.GetObject(t.Context(), in)
		return code(err)
	}
	owner := func(id string) func(*s3.GetObjectInput) {
		return func(in *s3.GetObjectInput) { in.ExpectedBucketOwner = &id }
	}
	if a, b := get(owner("999999999999")), get(owner(s3fake.Account)); a != "ok" || b != "403 AccessDenied" {
		t.Errorf("%s %s", a, b)
	}
	_, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{
		Bucket: bucketB, Key: aws.String("x"), CopySource: aws.String("b/k"), ExpectedBucketOwner: aws.String("999999999999"), ExpectedSourceBucketOwner: aws.String("1"),
	})
	if code(err) != "403 AccessDenied" {
		t.Errorf("another owner of the source: %v", err)
	}
	s.Configure("b", func(c *s3fake.Config) { c.RequesterPays = true })
	if got := get(func(*s3.GetObjectInput) {}); got != "403 AccessDenied" {
		t.Errorf("requester pays: %s", got)
	}
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucketB, Key: keyK, RequestPayer: types.RequestPayerRequester})
	if err != nil || out.RequestCharged != types.RequestChargedRequester {
		t.Errorf("%v, %v", out, err)
	}
}

func TestPermissions(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	s.Put("b", "k", []byte("one"), s3fake.Attrs{Tags: []s3fake.Tag{{Key: "a", Value: "b"}}})
	head := func(key string) (*s3.HeadObjectOutput, int) {
		out, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: bucketB, Key: &key})
		var re *awshttp.ResponseError
		if errors.As(err, &re) {
			return nil, re.HTTPStatusCode()
		}
		return out, 200
	}
	if _, got := head("absent"); got != 404 {
		t.Errorf("%d", got)
	}
	s.Deny("s3:ListBucket", "s3:GetObjectTagging")
	if _, got := head("absent"); got != 403 {
		t.Errorf("a missing object without s3:ListBucket: %d", got)
	}
	if out, got := head("k"); got != 200 || out.TagCount != nil {
		t.Errorf("%d %v", got, out)
	}
	_, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: bucketB, Key: keyK})
	if code(err) != "403 AccessDenied" {
		t.Error(err)
	}
	// An explicit deny of either action keeps an unversioned object.
	s.Deny("s3:DeleteObjectVersion")
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucketB, Key: keyK})
	if code(err) != "403 AccessDenied" {
		t.Error(err)
	}
	s.Configure("b", func(c *s3fake.Config) { c.Versioning = s3fake.VersioningEnabled })
	if _, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucketB, Key: keyK}); err != nil {
		t.Errorf("a marker: %v", err)
	}
	s.Deny("s3:PutObjectTagging")
	put := &s3.PutObjectInput{Bucket: bucketB, Key: keyK, Body: strings.NewReader("x"), Tagging: aws.String("a=b")}
	if _, err := c.PutObject(t.Context(), put); code(err) != "403 AccessDenied" {
		t.Errorf("a PUT with tags: %v", err)
	}
}

func TestACLs(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	put := func(acl types.ObjectCannedACL) string {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucketB, Key: keyK, Body: strings.NewReader("x"), ACL: acl})
		return code(err)
	}
	if a, b := put(types.ObjectCannedACLPublicRead), put(types.ObjectCannedACLBucketOwnerFullControl); a != "400 AccessControlListNotSupported" || b != "ok" {
		t.Errorf("bucket owner enforced: %s, %s", a, b)
	}
	s.Configure("b", func(c *s3fake.Config) { c.Ownership = "ObjectWriter" })
	if got := put(types.ObjectCannedACLPublicRead); got != "ok" {
		t.Error(got)
	}
	grants := func() int {
		out, err := c.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: bucketB, Key: keyK})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Grants)
	}
	if grants() != 2 {
		t.Errorf("%d grants", grants())
	}
	acl, err := c.GetObjectAcl(t.Context(), &s3.GetObjectAclInput{Bucket: bucketB, Key: keyK})
	if err != nil {
		t.Fatal(err)
	}
	if put("") != "ok" || grants() != 1 {
		t.Errorf("a new version is private: %d grants", grants())
	}
	_, err = c.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: bucketB, Key: keyK, AccessControlPolicy: &types.AccessControlPolicy{Grants: acl.Grants, Owner: acl.Owner}})
	if err != nil || grants() != 2 {
		t.Errorf("%v, %d grants", err, grants())
	}
}

func TestBucketConfigurations(t *testing.T) {
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{})
	enc, err := c.GetBucketEncryption(t.Context(), &s3.GetBucketEncryptionInput{Bucket: bucketB})
	if err != nil || enc.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm != types.ServerSideEncryptionAes256 {
		t.Errorf("%v, %v", enc, err)
	}
	_, err = c.PutBucketEncryption(t.Context(), &s3.PutBucketEncryptionInput{Bucket: bucketB, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
		Rules: []types.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: aws.String("key-9")},
			BucketKeyEnabled:                   aws.Bool(true),
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucketB, Key: keyK, Body: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	if e := s.Versions("b", "k")[0].Encryption; e.KeyID != "key-9" || !e.BucketKey {
		t.Errorf("the bucket's default: %+v", e)
	}
	own, err := c.GetBucketOwnershipControls(t.Context(), &s3.GetBucketOwnershipControlsInput{Bucket: bucketB})
	if err != nil || own.OwnershipControls.Rules[0].ObjectOwnership != types.ObjectOwnershipBucketOwnerEnforced {
		t.Errorf("%v, %v", own, err)
	}
	_, err = c.GetBucketLifecycleConfiguration(t.Context(), &s3.GetBucketLifecycleConfigurationInput{Bucket: bucketB})
	if code(err) != "404 NoSuchLifecycleConfiguration" {
		t.Error(err)
	}
	_, err = c.PutBucketLifecycleConfiguration(t.Context(), &s3.PutBucketLifecycleConfigurationInput{Bucket: bucketB, LifecycleConfiguration: &types.BucketLifecycleConfiguration{
		Rules: []types.LifecycleRule{{ID: aws.String("old"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
			NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(30)}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	life, err := c.GetBucketLifecycleConfiguration(t.Context(), &s3.GetBucketLifecycleConfigurationInput{Bucket: bucketB})
	if err != nil || *life.Rules[0].NoncurrentVersionExpiration.NoncurrentDays != 30 {
		t.Errorf("%v, %v", life, err)
	}
	_, err = c.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: bucketB})
	if code(err) != "404 NoSuchBucketPolicy" {
		t.Error(err)
	}
}

// An object of many gigabytes is edited in place, and only the window moves.
func TestLargeObject(t *testing.T) {
	const size, gib = int64(20) << 30, int64(1) << 30
	s, c := fake(t)
	s.CreateBucket("b", s3fake.Config{Encryption: s3fake.Encryption{Algorithm: "aws:kms"}})
	s.PutContent("b", "k", io.NewSectionReader(zeros{}, 0, size), s3fake.Attrs{})
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucketB, Key: keyK})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for n, r := range []string{"bytes=0-5368709119", "", "bytes=5373952000-10737418239", "bytes=10737418240-16106127359", "bytes=16106127360-21474836479"} {
		number := aws.Int32(int32(n + 1))
		if r == "" {
			out, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: bucketB, Key: keyK, UploadId: up.UploadId, PartNumber: number, Body: bytes.NewReader(bytes.Repeat([]byte("*"), fiveMiB))})
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, types.CompletedPart{PartNumber: number, ETag: out.ETag})
			continue
		}
		out, err := c.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{Bucket: bucketB, Key: keyK, UploadId: up.UploadId, PartNumber: number, CopySource: aws.String("b/k"), CopySourceRange: &r})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: number, ETag: out.CopyPartResult.ETag})
	}
	if _, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: bucketB, Key: keyK, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
		t.Fatal(err)
	}
	v := s.Versions("b", "k")[0]
	at := make([]byte, 4)
	if _, err := v.Body.ReadAt(at, 5*gib-2); err != nil || string(at) != "\x00\x00**" || v.Size != size+fiveMiB-(5373952000-5368709120) {
		t.Errorf("%q, %d, %v", at, v.Size, err)
	}
	var in int64
	for _, call := range s.Calls() {
		in += call.In
	}
	if in > fiveMiB+4096 {
		t.Errorf("%d bytes came in", in)
	}
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: bucketB, Key: aws.String("x"), CopySource: aws.String("b/k")})
	if code(err) != "400 InvalidRequest" {
		t.Errorf("a copy of more than 5 GiB: %v", err)
	}
}

type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) { clear(b); return len(b), nil }
