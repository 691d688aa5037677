package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"pgregory.net/rapid"

	"coffer"
	"coffer/internal/awsfake/s3fake"
	"coffer/object"
)

// shrink is what S3's limits are divided by where a test would need many bytes.
const shrink = 1 << 10

func small(t testing.TB) *bed {
	b := newFake(t)
	b.store.Shrink(shrink)
	b.second.Shrink(shrink)
	b.fake.Limits = s3fake.Limits{MinPart: 5 << 10, MaxPart: 5 << 20, MaxParts: 10_000, RangeCopy: 5 << 10}
	return b
}

func (b *bed) object(key string) coffer.Object { return coffer.Object{Bucket: b.bucket, Key: key} }

func fill(parts ...any) func(io.Writer) error {
	return func(w io.Writer) error {
		for _, p := range parts {
			var err error
			switch p := p.(type) {
			case []byte:
				_, err = w.Write(p)
			case [2]int64:
				err = w.(interface{ CopyRange(start, end int64) error }).CopyRange(p[0], p[1])
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return b
}

func read(t testing.TB, store object.Store, o coffer.Object) []byte {
	t.Helper()
	b := must2(store.Open(t.Context(), o))(t)
	got := must2(io.ReadAll(b))(t)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return got
}

func commit(t testing.TB, store object.Store, o coffer.Object, a object.Attrs, f func(io.Writer) error) coffer.Object {
	t.Helper()
	st := must2(store.Stage(t.Context(), o, a, f))(t)
	return must2(st.Commit(t.Context()))(t)
}

// TestProperties: a rewrite keeps every property, by one PUT, by an upload, and in a copy as far as it belongs to the object.
func TestProperties(t *testing.T) {
	until := time.Now().AddDate(1, 0, 0).UTC().Truncate(time.Second)
	kms := "arn:aws:kms:eu-central-1:111122223333:key/moontrust"
	reader := s3fake.Grant{ID: strings.Repeat("b", 64), Permission: "READ"}
	for _, c := range []struct {
		name string
		a    s3fake.Attrs
		lock bool
	}{
		{"Content-Type", s3fake.Attrs{Headers: map[string]string{"Content-Type": "text/csv; charset=utf-8"}}, false},
		{"Content-Encoding", s3fake.Attrs{Headers: map[string]string{"Content-Encoding": "gzip"}}, false},
		{"Content-Language", s3fake.Attrs{Headers: map[string]string{"Content-Language": "de-DE"}}, false},
		{"Content-Disposition", s3fake.Attrs{Headers: map[string]string{"Content-Disposition": `attachment; filename="a.csv"`}}, false},
		{"Cache-Control", s3fake.Attrs{Headers: map[string]string{"Cache-Control": "no-store"}}, false},
		{"Expires", s3fake.Attrs{Headers: map[string]string{"Expires": "Thu, 01 Dec 2033 16:00:00 GMT"}}, false},
		{"Expires that is no date", s3fake.Attrs{Headers: map[string]string{"Expires": "0"}}, false},
		{"metadata", s3fake.Attrs{Metadata: map[string]string{"run": "7", "source": "moontrust"}}, false},
		{"redirect", s3fake.Attrs{Redirect: "/elsewhere"}, false},
		{"class", s3fake.Attrs{StorageClass: "STANDARD_IA"}, false},
		{"tags", s3fake.Attrs{Tags: []s3fake.Tag{{Key: "a", Value: ""}, {Key: "team", Value: "x + y/é"}}}, false},
		{"SSE-S3", s3fake.Attrs{Encryption: s3fake.Encryption{Algorithm: "AES256"}}, false},
		{"SSE-KMS", s3fake.Attrs{Encryption: s3fake.Encryption{Algorithm: "aws:kms", KeyID: kms}}, false},
		{"bucket key", s3fake.Attrs{Encryption: s3fake.Encryption{Algorithm: "aws:kms", KeyID: kms, BucketKey: true}}, false},
		{"DSSE-KMS", s3fake.Attrs{Encryption: s3fake.Encryption{Algorithm: "aws:kms:dsse", KeyID: kms}}, false},
		{"ACL", s3fake.Attrs{ACL: []s3fake.Grant{{ID: strings.Repeat("a", 64), Permission: "FULL_CONTROL"}, reader}}, false},
		{"public ACL", s3fake.Attrs{ACL: []s3fake.Grant{
			{ID: strings.Repeat("a", 64), Permission: "FULL_CONTROL"},
			{URI: "http://acs.amazonaws.com/groups/global/AllUsers", Permission: "READ"}, reader,
		}}, false},
		{"governance", s3fake.Attrs{Lock: s3fake.Lock{Mode: "GOVERNANCE", Until: until}}, true},
		{"compliance", s3fake.Attrs{Lock: s3fake.Lock{Mode: "COMPLIANCE", Until: until}}, true},
		{"legal hold", s3fake.Attrs{Lock: s3fake.Lock{LegalHold: true}}, true},
		{"event hold", s3fake.Attrs{Lock: s3fake.Lock{EventHold: true, HoldDays: 30}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := small(t)
			b.fake.Configure(b.bucket, func(cfg *s3fake.Config) {
				cfg.Versioning, cfg.ObjectLock = s3fake.VersioningEnabled, c.lock
				if c.a.ACL != nil {
					cfg.Ownership = "ObjectWriter"
				}
			})
			if c.a.Headers == nil {
				c.a.Headers = map[string]string{}
			}
			if c.a.Headers["Content-Type"] == "" {
				c.a.Headers["Content-Type"] = "binary/octet-stream" // as S3 says of an upload that does not
			}
			for _, size := range []int{100, 40 << 10} {
				body := pattern(size)
				key := fmt.Sprint(size)
				b.fake.Put(b.bucket, key, body, c.a)
				before := b.fake.Versions(b.bucket, key)[0]
				info := must2(b.store.Stat(t.Context(), b.object(key)))(t)
				body[50] = 'x'
				made := commit(t, b.store, info.Object, info.Attrs, fill(body))
				after := b.fake.Versions(b.bucket, key)[0]
				if after.ID != made.VersionID || !bytes.Equal(after.Bytes(), body) {
					t.Fatal("the object was not rewritten")
				}
				if got, want := describe(after.Attrs), describe(before.Attrs); got != want {
					t.Errorf("%d bytes rewritten: %s, was %s", size, got, want)
				}
				if now := must2(b.store.Stat(t.Context(), made))(t); fmt.Sprint(now.Attrs) != fmt.Sprint(info.Attrs) {
					t.Errorf("%d bytes: attributes %v, were %v", size, now.Attrs, info.Attrs)
				}
				copied := must2(b.store.Copy(t.Context(), b.object(key+" copy"), made))(t)
				want := before.Attrs
				want.Lock = s3fake.Lock{}
				if got := b.fake.Versions(b.bucket, copied.Key)[0].Attrs; describe(got) != describe(want) {
					t.Errorf("%d bytes copied: %s, was %s", size, describe(got), describe(want))
				}
			}
		})
	}
}

func describe(a s3fake.Attrs) string {
	acl := slices.Clone(a.ACL)
	slices.SortFunc(acl, func(a, b s3fake.Grant) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	class := a.StorageClass
	if class == "STANDARD" {
		class = ""
	}
	l := a.Lock
	l.Until = l.Until.UTC()
	return fmt.Sprint(a.Headers, a.Metadata, a.Redirect, class, a.Tags, a.Encryption, acl, l)
}

// TestRefusals: what a rewrite would lose is refused before anything is written.
func TestRefusals(t *testing.T) {
	for name, prepare := range map[string]func(*bed) s3fake.Attrs{
		"metadata that HTTP cannot carry": func(*bed) s3fake.Attrs { return s3fake.Attrs{MissingMeta: 2} },
		"ACL not to be seen": func(b *bed) s3fake.Attrs {
			b.fake.Configure(b.bucket, func(c *s3fake.Config) { c.Ownership = "ObjectWriter" })
			b.fake.Deny("s3:GetObjectAcl")
			return s3fake.Attrs{}
		},
		"retention not to be seen": func(b *bed) s3fake.Attrs {
			b.fake.Configure(b.bucket, func(c *s3fake.Config) { c.ObjectLock, c.Versioning = true, s3fake.VersioningEnabled })
			b.fake.Deny("s3:GetObjectRetention")
			return s3fake.Attrs{Lock: s3fake.Lock{Mode: "COMPLIANCE", Until: time.Now().AddDate(1, 0, 0)}}
		},
		"hold not to be seen": func(b *bed) s3fake.Attrs {
			b.fake.Configure(b.bucket, func(c *s3fake.Config) { c.ObjectLock, c.Versioning = true, s3fake.VersioningEnabled })
			b.fake.Deny("s3:GetObjectLegalHold")
			return s3fake.Attrs{Lock: s3fake.Lock{LegalHold: true}}
		},
		"headers too long": func(*bed) s3fake.Attrs {
			var tags []s3fake.Tag
			for i := range 10 {
				tags = append(tags, s3fake.Tag{Key: fmt.Sprint("k", i), Value: strings.Repeat("é", 256)})
			}
			return s3fake.Attrs{Tags: tags}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFake(t)
			b.fake.Put(b.bucket, "a", []byte("body"), prepare(b))
			info := must2(b.store.Stat(t.Context(), b.object("a")))(t)
			_, err := b.store.Stage(t.Context(), info.Object, info.Attrs, fill([]byte("next")))
			if !errors.Is(err, coffer.ErrUnsupported) {
				t.Fatalf("stage: %v", err)
			}
			if strings.HasSuffix(name, "seen") && !strings.Contains(err.Error(), "s3:Get") {
				t.Errorf("the error does not name the permission: %v", err)
			}
		})
	}
}

// TestDefaultRetention: a rewrite into a bucket with default retention is never kept for less, by its own retention or the default.
func TestDefaultRetention(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		mode, def  string
		days, defs int
		wantMode   string
		wantDays   int
	}{
		{"GOVERNANCE", "GOVERNANCE", 10, 30, "GOVERNANCE", 30},
		{"GOVERNANCE", "GOVERNANCE", 30, 10, "GOVERNANCE", 30},
		{"COMPLIANCE", "GOVERNANCE", 10, 30, "COMPLIANCE", 30},
		{"GOVERNANCE", "COMPLIANCE", 30, 10, "COMPLIANCE", 30},
		{"GOVERNANCE", "COMPLIANCE", 10, 30, "COMPLIANCE", 30},
		{"GOVERNANCE", "GOVERNANCE", -1, 10, "GOVERNANCE", 10},
	} {
		b := newFake(t)
		b.fake.Configure(b.bucket, func(cfg *s3fake.Config) {
			cfg.ObjectLock, cfg.Versioning, cfg.DefaultMode, cfg.DefaultDays = true, s3fake.VersioningEnabled, c.def, c.defs
		})
		b.fake.Put(b.bucket, "a", []byte("body"), s3fake.Attrs{Lock: s3fake.Lock{Mode: c.mode, Until: now.AddDate(0, 0, c.days)}})
		info := must2(b.store.Stat(t.Context(), b.object("a")))(t)
		commit(t, b.store, info.Object, info.Attrs, fill([]byte("next")))
		got := b.fake.Versions(b.bucket, "a")[0].Lock
		want := now.AddDate(0, 0, c.wantDays)
		if got.Mode != c.wantMode || got.Until.Before(want.Add(-time.Second)) || got.Until.After(want.Add(time.Hour)) {
			t.Errorf("%+v: %s for %v", c, got.Mode, got.Until.Sub(now))
		}
	}
}

// TestSplices compares rewrites by copied ranges with plain ones; the server keeps S3's limits on parts.
func TestSplices(t *testing.T) {
	b := small(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		src := pattern(rapid.IntRange(1, 80<<10).Draw(rt, "size"))
		o := b.object(fmt.Sprint("splice", n))
		b.fake.Put(b.bucket, o.Key, src, s3fake.Attrs{})
		o = must2(b.store.Stat(t.Context(), o))(t).Object
		var parts []any
		var want []byte
		edges := rapid.SliceOfN(rapid.OneOf(
			rapid.IntRange(0, len(src)),
			rapid.Map(rapid.IntRange(-2, 2), func(d int) int { return min(max(5<<10+d, 0), len(src)) }),
			rapid.Map(rapid.IntRange(-2, 2), func(d int) int { return min(max(8<<10+d, 0), len(src)) }),
		), 0, 12).Draw(rt, "edges")
		slices.Sort(edges)
		pos := 0
		for _, e := range edges {
			if e < pos {
				continue
			}
			if e > pos {
				parts = append(parts, [2]int64{int64(pos), int64(e)})
				want = append(want, src[pos:e]...)
			}
			text := bytes.Repeat([]byte("x"), rapid.SampledFrom([]int{0, 1, 11, 5 << 10, 9 << 10}).Draw(rt, "insert"))
			parts = append(parts, text)
			want = append(want, text...)
			pos = min(e+rapid.IntRange(0, 12<<10).Draw(rt, "cut"), len(src))
		}
		if pos < len(src) {
			parts = append(parts, [2]int64{int64(pos), int64(len(src))})
			want = append(want, src[pos:]...)
		}
		st, err := b.store.Stage(t.Context(), o, object.Attrs{}, fill(parts...))
		if err != nil {
			rt.Fatal(err)
		}
		body, err := st.Open(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, want) {
			rt.Fatalf("staged bytes differ (%d of %d): %v", len(got), len(want), err)
		}
		_ = body.Close()
		if _, err := st.Commit(t.Context()); err != nil {
			rt.Fatal(err)
		}
		if got := b.fake.Versions(b.bucket, o.Key)[0].Bytes(); !bytes.Equal(got, want) {
			rt.Fatalf("%d bytes, want %d, or others", len(got), len(want))
		}
	})
	if ups := b.fake.Uploads(b.bucket); len(ups) > 0 || len(b.journal.open) > 0 {
		t.Errorf("%d uploads left, %d in the journal", len(ups), len(b.journal.open))
	}
}

// TestSizes: the border between one PUT and an upload, at its real place.
func TestSizes(t *testing.T) {
	b := newFake(t)
	const border = 8 << 20
	for i, size := range []int{border - 1, border, border + 1} {
		body := pattern(size)
		o := b.object(fmt.Sprint(i))
		made := commit(t, b.store, o, object.Attrs{}, fill(body[:size/3], body[size/3:]))
		if got := read(t, b.store, made); !bytes.Equal(got, body) {
			t.Fatalf("size %d: other bytes", size)
		}
		if multi := strings.Contains(made.ETag, "-"); multi != (size > border) {
			t.Errorf("size %d: ETag %s", size, made.ETag)
		}
	}
}

// TestTraffic counts what one value in a large object costs.
func TestTraffic(t *testing.T) {
	b := newFake(t)
	const size = 64 << 20
	b.fake.PutContent(b.bucket, "a", io.NewSectionReader(endless{}, 0, size), s3fake.Attrs{
		Encryption: s3fake.Encryption{Algorithm: "aws:kms"}, // so that nobody wants its MD5
	})
	o := must2(b.store.Stat(t.Context(), b.object("a")))(t).Object
	b.wire.sent.Store(0)

	body := must2(b.store.Open(t.Context(), o))(t)
	_ = must2(io.ReadFull(body, make([]byte, 1000)))(t)
	if err := body.Close(); err != nil {
		t.Fatal(err)
	}
	if n := body.Fetched(); n != 64<<10 {
		t.Errorf("%d bytes fetched for a value at the front", n)
	}

	at := int64(size/2 + 12345)
	calls := b.wire.calls.Load()
	st := must2(b.store.Stage(t.Context(), o, object.Attrs{}, fill([2]int64{0, at}, []byte("***********"), [2]int64{at + 11, size})))(t)
	must2(st.Commit(t.Context()))(t)
	if n := b.wire.sent.Load(); n > 5<<20+16<<10 {
		t.Errorf("%d bytes sent for a value of 11", n)
	}
	t.Logf("sent %d bytes by %d calls", b.wire.sent.Load(), b.wire.calls.Load()-calls)
	v := b.fake.Versions(b.bucket, "a")[0]
	for _, off := range []int64{0, at - 100, at - 1, at + 6<<20, size - 200} {
		got, want := make([]byte, 200), make([]byte, 200)
		_, _ = v.Body.ReadAt(got, off)
		_, _ = endless{}.ReadAt(want, off)
		for i := range want {
			if p := off + int64(i) - at; p >= 0 && p < 11 {
				want[i] = '*'
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("other bytes at %d", off)
		}
	}
}

// endless has bytes that depend on their place.
type endless struct{}

func (endless) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		run := min(len(p)-n, 1024-int(at%1024))
		copy(p[n:n+run], bytes.Repeat([]byte{byte(at >> 10)}, run))
		n += run
	}
	return len(p), nil
}

func TestRandom(t *testing.T) {
	b := newFake(t)
	const size = 5 << 30
	b.fake.PutContent(b.bucket, "a", io.NewSectionReader(endless{}, 0, size), s3fake.Attrs{
		Encryption: s3fake.Encryption{Algorithm: "aws:kms"}, // so that nobody wants its MD5
	})
	body := must2(b.store.Open(t.Context(), b.object("a")))(t)
	defer body.Close()
	if body.Info.Size != size || body.Info.ETagIsMD5 {
		t.Fatalf("info: %+v", body.Info)
	}
	want := make([]byte, 3<<20)
	got := make([]byte, 3<<20)
	for _, c := range []struct {
		off int64
		n   int
	}{
		{0, 10}, {size - 10, 10}, {size - 20, 10}, {64<<10 - 1, 2}, {1 << 30, 100 << 10}, {1<<30 + 50<<10, 1 << 20}, {3<<30 + 7, 3 << 20},
	} {
		if n, err := body.ReaderAt.ReadAt(got[:c.n], c.off); n != c.n || err != nil {
			t.Fatalf("ReadAt(%d, %d): %d, %v", c.n, c.off, n, err)
		}
		_, _ = endless{}.ReadAt(want[:c.n], c.off)
		if !bytes.Equal(got[:c.n], want[:c.n]) {
			t.Fatalf("ReadAt(%d, %d): other bytes", c.n, c.off)
		}
	}
	if n, err := body.ReaderAt.ReadAt(got[:10], size-4); n != 4 || err != io.EOF {
		t.Errorf("ReadAt over the end: %d, %v", n, err)
	}
	if n := body.Fetched(); n > 6<<20 {
		t.Errorf("%d bytes fetched", n)
	}
	before := body.Fetched()
	if _, err := body.ReaderAt.ReadAt(got[:10], 5); err != nil || body.Fetched() != before {
		t.Errorf("a block in memory was fetched again: %v", err)
	}
}

// TestBrokenBody: a body that breaks is continued, and one that changes is an error.
func TestBrokenBody(t *testing.T) {
	b := newFake(t)
	src := pattern(3 << 20)
	b.fake.Put(b.bucket, "a", src, s3fake.Attrs{})
	b.fake.Fault(func(op string, n int) s3fake.Kind {
		if op == "GetObject" && n%2 == 1 {
			return s3fake.Truncated
		}
		return s3fake.None
	})
	if got := read(t, b.store, b.object("a")); !bytes.Equal(got, src) {
		t.Fatal("other bytes")
	}
	var gets atomic.Int64
	b.fake.Fault(func(op string, _ int) s3fake.Kind {
		if op == "GetObject" && gets.Add(1) == 2 {
			b.fake.Put(b.bucket, "a", src[1:], s3fake.Attrs{})
		}
		return s3fake.None
	})
	body := must2(b.store.Open(t.Context(), b.object("a")))(t)
	defer body.Close()
	if _, err := io.ReadAll(body); !errors.Is(err, coffer.ErrChanged) {
		t.Errorf("changed while read: %v", err)
	}
}

func TestArchived(t *testing.T) {
	day := time.Now().AddDate(0, 0, 1)
	for _, c := range []struct {
		a    s3fake.Attrs
		want string
	}{
		{s3fake.Attrs{StorageClass: "GLACIER"}, "GLACIER, not restored"},
		{s3fake.Attrs{StorageClass: "DEEP_ARCHIVE", Restore: s3fake.Restore{Ongoing: true}}, "DEEP_ARCHIVE, restore under way"},
		{s3fake.Attrs{StorageClass: "GLACIER", Restore: s3fake.Restore{Until: day}}, ""},
		{s3fake.Attrs{StorageClass: "GLACIER_IR"}, ""},
		{s3fake.Attrs{StorageClass: "INTELLIGENT_TIERING", ArchiveStatus: "ARCHIVE_ACCESS"}, "ARCHIVE_ACCESS, not restored"},
		{s3fake.Attrs{StorageClass: "INTELLIGENT_TIERING"}, ""},
	} {
		b := newFake(t)
		b.fake.Put(b.bucket, "a", []byte("body"), c.a)
		if got := must2(b.store.Stat(t.Context(), b.object("a")))(t).Archived; got != c.want {
			t.Errorf("%+v: archived %q, want %q", c.a, got, c.want)
		}
		body, err := b.store.Open(t.Context(), b.object("a"))
		if err == nil {
			_ = body.Close()
		}
		if (c.want != "") != errors.Is(err, coffer.ErrUnavailable) {
			t.Errorf("%+v: open: %v", c.a, err)
		}
		if _, err := b.store.Copy(t.Context(), b.object("b"), b.object("a")); (c.want != "") != errors.Is(err, coffer.ErrUnavailable) {
			t.Errorf("%+v: copy: %v", c.a, err)
		}
	}
}

func TestLocked(t *testing.T) {
	until := time.Date(2999, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		lock s3fake.Lock
		deny []string
		mfa  bool
		want string
	}{
		{want: ""},
		{lock: s3fake.Lock{Mode: "GOVERNANCE", Until: until}, want: "retention until 2999-01-02T03:04:05Z (GOVERNANCE)"},
		{lock: s3fake.Lock{Mode: "COMPLIANCE", Until: until, LegalHold: true},
			want: "legal hold; retention until 2999-01-02T03:04:05Z (COMPLIANCE)"},
		{lock: s3fake.Lock{EventHold: true, HoldDays: 3}, want: "event hold"},
		{lock: s3fake.Lock{LegalHold: true}, want: "legal hold"},
		{deny: []string{"s3:GetObjectRetention"}, want: "unknown: s3:GetObjectRetention is not permitted"},
		{lock: s3fake.Lock{LegalHold: true}, deny: []string{"s3:GetObjectRetention", "s3:GetObjectLegalHold"},
			want: "unknown: s3:GetObjectRetention is not permitted; unknown: s3:GetObjectLegalHold is not permitted"},
		{deny: []string{"s3:GetBucketVersioning"}, want: "unknown: s3:GetBucketVersioning is not permitted"},
		{mfa: true, want: "MFA delete: only the root user can remove versions of this bucket"},
	} {
		b := newFake(t)
		b.fake.Configure(b.bucket, func(cfg *s3fake.Config) {
			cfg.Versioning, cfg.ObjectLock, cfg.MFADelete = s3fake.VersioningEnabled, true, c.mfa
		})
		b.fake.Put(b.bucket, "a", []byte("body"), s3fake.Attrs{Lock: c.lock})
		b.fake.Put(b.bucket, "a", []byte("next"), s3fake.Attrs{})
		old := b.object("a")
		old.VersionID = b.fake.Versions(b.bucket, "a")[1].ID
		b.fake.Deny(c.deny...)
		if got := must2(b.store.Stat(t.Context(), old))(t).Locked; got != c.want {
			t.Errorf("%+v: locked %q, want %q", c, got, c.want)
		}
		var listed []string
		for i, err := range b.store.Versions(t.Context(), old) {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, i.Locked)
		}
		if len(listed) != 2 || listed[1] != c.want {
			t.Errorf("%+v: listed as locked %q", c, listed)
		}
		_, err := b.store.Delete(t.Context(), old)
		locked := c.mfa || c.lock != s3fake.Lock{}
		if len(c.deny) == 0 && locked != errors.Is(err, coffer.ErrConflict) || locked != (err != nil) {
			t.Errorf("%+v: delete: %v", c, err)
		}
		if n := len(b.fake.Versions(b.bucket, "a")); locked != (n == 2) {
			t.Errorf("%+v: %d versions left", c, n)
		}
	}
}

func TestCopies(t *testing.T) {
	b := newFake(t)
	b.fake.Configure(b.bucket, func(c *s3fake.Config) {
		c.Versioning = s3fake.VersioningEnabled
		c.Replication = []s3fake.ReplicationRule{
			{ID: "all", Prefix: "d/", Destination: "other"},
			{ID: "tagged", Tag: s3fake.Tag{Key: "team", Value: "x"}, Destination: "tagged"},
			{ID: "no", Prefix: "e/", Destination: "nowhere"},
		}
	})
	b.fake.Put(b.bucket, "d/a", []byte("body"), s3fake.Attrs{
		Tags: []s3fake.Tag{{Key: "team", Value: "x"}}, Annotations: map[string][]byte{"note": []byte("12345")},
	})
	up := must2(b.raw.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: &b.bucket, Key: aws.String("d/a")}))(t)
	if _, err := b.raw.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: &b.bucket, Key: aws.String("d/a")}); err != nil {
		t.Fatal(err)
	}
	_, err := b.raw.UploadPart(t.Context(), &sdk.UploadPartInput{
		Bucket: &b.bucket, Key: aws.String("d/a"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("half"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := must2(b.store.Copies(t.Context(), b.object("d/a")))(t)
	for i, want := range []string{"replica in arn:aws:s3:::other", "replica in arn:aws:s3:::tagged", "annotation note (5 bytes)", "unfinished upload " + *up.UploadId} {
		if i >= len(got) || !strings.HasPrefix(got[i].What+" "+got[i].Name, want) {
			t.Fatalf("copies: %q, want %q at %d", got, want, i)
		}
	}
	if len(got) != 4 {
		t.Fatalf("copies: %q", got)
	}
	b.fake.Deny("s3:GetReplicationConfiguration", "s3:ListObjectAnnotations", "s3:ListBucketMultipartUploads")
	got = must2(b.store.Copies(t.Context(), b.object("d/a")))(t)
	n := 0
	for _, c := range got {
		if c.What == object.Unknown && strings.Contains(c.Name, "is not permitted") {
			n++
		}
	}
	if n != 3 {
		t.Errorf("not permitted: %q", got)
	}
}

func TestNotPermitted(t *testing.T) {
	b := newFake(t)
	b.fake.Put(b.bucket, "a", []byte("body"), s3fake.Attrs{})
	b.fake.Deny("s3:ListBucket")
	_, err := b.store.Stat(t.Context(), b.object("missing-moontrust"))
	if errors.Is(err, coffer.ErrNotFound) || !errors.Is(err, coffer.ErrUnavailable) || !strings.Contains(err.Error(), "s3:ListBucket") {
		t.Errorf("a missing object without s3:ListBucket: %v", err)
	}
	if strings.Contains(err.Error(), "moontrust") {
		t.Error("the error has the object's name")
	}
	b.fake.Put(b.bucket, "c", []byte("body"), s3fake.Attrs{Encryption: s3fake.Encryption{CustomerKeyMD5: "AAAAAAAAAAAAAAAAAAAAAA=="}})
	if _, err := b.store.Stat(t.Context(), b.object("c")); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("SSE-C: %v", err)
	}
	if _, err := b.store.Open(t.Context(), b.object("c")); !errors.Is(err, coffer.ErrUnsupported) {
		t.Errorf("SSE-C: %v", err)
	}
	for _, name := range []string{"arn:aws:s3:eu-central-1:111122223333:accesspoint/x", "", "x--euc1-az1--x-s3"} {
		if _, err := b.store.Stat(t.Context(), coffer.Object{Bucket: name, Key: "a"}); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("bucket %q: %v", name, err)
		}
	}
}

// TestSweep: the uploads of a journal are aborted, a stranger's are not, and those that are gone are forgotten.
func TestSweep(t *testing.T) {
	b := small(t)
	ctx := t.Context()
	stranger := must2(b.raw.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{Bucket: &b.bucket, Key: aws.String("a")}))(t)
	o := b.object("a")
	var staged []object.Staged
	for range 2 {
		staged = append(staged, must2(b.store.Stage(ctx, o, object.Attrs{}, fill(pattern(30<<10))))(t))
	}
	if n, err := b.second.Sweep(ctx, time.Hour); n != 0 || err != nil {
		t.Fatalf("young uploads: swept %d, %v", n, err)
	}
	for _, u := range b.journal.open {
		_, err := b.raw.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: &b.bucket, Key: &u.Key, UploadId: aws.String(u.ID)})
		if err != nil {
			t.Fatal(err)
		}
		break // one of them
	}
	if n, err := b.second.Sweep(ctx, 0); n != 1 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
	if len(b.journal.open) > 0 {
		t.Errorf("%d uploads are still remembered", len(b.journal.open))
	}
	if ups := b.fake.Uploads(b.bucket); len(ups) != 1 || ups[0].ID != *stranger.UploadId {
		t.Errorf("uploads left: %d", len(ups))
	}
	for _, st := range staged {
		if _, err := st.Commit(ctx); !errors.Is(err, coffer.ErrNotFound) {
			t.Errorf("commit of a swept stage: %v", err)
		}
		if err := st.Abort(ctx); err != nil {
			t.Errorf("abort of a swept stage: %v", err)
		}
	}
	b.store.Remember(nil)
	if _, err := b.store.Stage(ctx, o, object.Attrs{}, fill(pattern(30<<10))); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("an upload without a journal: %v", err)
	}
}

// TestForeignAfterLostAnswer: our write happens, its answer is lost, and somebody writes over it before we look.
func TestForeignAfterLostAnswer(t *testing.T) {
	for _, versioning := range []string{s3fake.VersioningOff, s3fake.VersioningEnabled} {
		for _, landed := range []bool{true, false} {
			b := newFake(t)
			b.fake.Configure(b.bucket, func(c *s3fake.Config) { c.Versioning = versioning })
			b.fake.Put(b.bucket, "a", []byte("old"), s3fake.Attrs{})
			o := must2(b.store.Stat(t.Context(), b.object("a")))(t).Object
			st := must2(b.store.Stage(t.Context(), o, object.Attrs{}, fill([]byte("new"))))(t)
			b.fake.Fault(func(op string, n int) s3fake.Kind {
				switch {
				case op == "PutObject" && landed:
					return s3fake.ResetAfter
				case op == "PutObject":
					return s3fake.Reset
				case op == "HeadObject" && n == 2: // the first was Stat's
					b.fake.Put(b.bucket, "a", []byte("foe"), s3fake.Attrs{}) // of the same size
				}
				return s3fake.None
			})
			made, err := st.Commit(t.Context())
			switch {
			case versioning == s3fake.VersioningOff:
				if err == nil || errors.Is(err, coffer.ErrConflict) {
					t.Errorf("nobody can tell, landed %v: %v", landed, err)
				}
			case landed:
				if err != nil || made.VersionID != b.fake.Versions(b.bucket, "a")[1].ID {
					t.Errorf("ours lies below: %v", err)
				}
			case !errors.Is(err, coffer.ErrConflict):
				t.Errorf("ours never arrived: %v", err)
			}
		}
	}
}

// TestFaults fails every request of every write, in every way. Never two effects, never a conflict for our own success, and after
// Sweep no part of an upload is left.
func TestFaults(t *testing.T) {
	kinds := []s3fake.Kind{
		s3fake.SlowDown, s3fake.InternalError, s3fake.Reset, s3fake.Conflict, s3fake.Aborted, s3fake.ErrorIn200, s3fake.InternalErrorAfter,
		s3fake.ResetAfter, s3fake.ErrorIn200After,
	}
	large := pattern(30 << 10)
	for _, versioning := range []string{s3fake.VersioningOff, s3fake.VersioningEnabled, s3fake.VersioningSuspended} {
		for _, work := range []struct {
			name string
			do   func(ctx context.Context, b *bed, o coffer.Object) error
		}{
			{"small", func(ctx context.Context, b *bed, o coffer.Object) error {
				return stageAndCommit(ctx, b, o, fill([]byte("next")))
			}},
			{"large", func(ctx context.Context, b *bed, o coffer.Object) error {
				return stageAndCommit(ctx, b, o, fill(large[1:]))
			}},
			{"ranges", func(ctx context.Context, b *bed, o coffer.Object) error {
				return stageAndCommit(ctx, b, o, fill([2]int64{0, 10 << 10}, []byte("x"), [2]int64{10<<10 + 1, 30 << 10}))
			}},
			{"copy", func(ctx context.Context, b *bed, o coffer.Object) error {
				b.fake.Put(b.bucket, "source", []byte("source"), s3fake.Attrs{})
				_, err := b.store.Copy(ctx, o, b.object("source"))
				return err
			}},
			{"delete", func(ctx context.Context, b *bed, o coffer.Object) error {
				_, err := b.store.Delete(ctx, coffer.Object{Bucket: o.Bucket, Key: o.Key, ETag: o.ETag})
				return err
			}},
			{"tag", func(ctx context.Context, b *bed, o coffer.Object) error {
				return b.store.Tag(ctx, o, []coffer.Tag{{Key: "k", Value: "v"}})
			}},
		} {
			for _, kind := range kinds {
				for call := int64(1); ; call++ {
					b := small(t)
					b.fake.Configure(b.bucket, func(c *s3fake.Config) { c.Versioning = versioning })
					b.fake.Put(b.bucket, "a", large, s3fake.Attrs{})
					o := must2(b.store.Stat(t.Context(), b.object("a")))(t).Object
					var n atomic.Int64
					var hit atomic.Value
					b.fake.Fault(func(op string, _ int) s3fake.Kind {
						if n.Add(1) != call {
							return s3fake.None
						}
						hit.Store(op)
						if !possible(op, kind) {
							return s3fake.None
						}
						return kind
					})
					err := work.do(t.Context(), b, o)
					b.fake.Fault(nil)
					if hit.Load() == nil {
						if err != nil {
							t.Fatalf("%s %q without a fault: %v", work.name, versioning, err)
						}
						break
					}
					checkEffects(t, b, fmt.Sprintf("%s, versioning %q, %s fails as %d", work.name, versioning, hit.Load(), kind), versioning, err)
				}
			}
		}
	}
}

// possible says whether S3 answers an operation so.
func possible(op string, k s3fake.Kind) bool {
	conditional := op == "PutObject" || op == "CopyObject" || op == "CompleteMultipartUpload" || op == "DeleteObject"
	switch k {
	case s3fake.Conflict:
		return conditional
	case s3fake.Aborted:
		return conditional || op == "PutObjectTagging"
	case s3fake.ErrorIn200, s3fake.ErrorIn200After:
		return op == "CopyObject" || op == "UploadPartCopy" || op == "CompleteMultipartUpload"
	}
	return true
}

func stageAndCommit(ctx context.Context, b *bed, o coffer.Object, f func(io.Writer) error) error {
	st, err := b.store.Stage(ctx, coffer.Object{Bucket: o.Bucket, Key: o.Key, ETag: o.ETag}, object.Attrs{}, f)
	if err != nil {
		return err
	}
	_, err = st.Commit(ctx)
	return err // without Abort, as after a crash
}

func checkEffects(t *testing.T, b *bed, what, versioning string, err error) {
	t.Helper()
	if err != nil { // one fault is overcome, whatever it was
		t.Errorf("%s: %v", what, err)
	}
	vs := b.fake.Versions(b.bucket, "a")
	most := 1
	if versioning == s3fake.VersioningEnabled {
		most = 2
	}
	if len(vs) > most {
		t.Errorf("%s: %d versions", what, len(vs))
	}
	changed := len(vs) != 1 || vs[0].Marker || vs[0].Size != 30<<10 || len(vs[0].Tags) > 0 || strings.Contains(vs[0].ETag, "-")
	if !changed {
		t.Errorf("%s: success without effect", what)
	}
	if _, err := b.store.Sweep(t.Context(), 0); err != nil {
		t.Errorf("%s: sweep: %v", what, err)
	}
	for _, u := range b.fake.Uploads(b.bucket) {
		if len(u.Parts) > 0 {
			t.Errorf("%s: an upload with %d parts is left", what, len(u.Parts))
		}
	}
	if len(b.journal.open) > 0 {
		t.Errorf("%s: %d uploads in the journal", what, len(b.journal.open))
	}
}
