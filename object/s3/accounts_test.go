package s3_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"coffer"
	"coffer/internal/awsfake/s3fake"
	"coffer/internal/lookalike"
	"coffer/object"
	"coffer/object/s3"
)

// TestCopyOfParts: what is larger than one copy may be is copied by ranges, with its properties and under the condition of its
// destination; a conflict between operations starts the upload over, and a lost answer is settled by the bytes.
func TestCopyOfParts(t *testing.T) {
	for name, fault := range map[string]s3fake.Kind{"": s3fake.None, "409": s3fake.Conflict, "lost answer": s3fake.ResetAfter, "error in 200": s3fake.ErrorIn200} {
		t.Run(name, func(t *testing.T) {
			b := newFake(t)
			b.store.Shrink(shrink << 6) // more than 80 KiB are too much for one copy
			b.fake.Limits = s3fake.Limits{MinPart: 1, MaxPart: 5 << 30 / (shrink << 6), MaxParts: 10_000, RangeCopy: 5 << 20 / (shrink << 6)}
			body := pattern(200 << 10)
			attrs := s3fake.Attrs{Metadata: map[string]string{"owner": "treasury"}, Tags: []s3fake.Tag{{Key: "team", Value: "ledger"}}, StorageClass: "STANDARD_IA"}
			b.fake.Put(b.bucket, "src", body, attrs)
			b.fake.FailNext("CompleteMultipartUpload", fault)
			made, err := b.store.Copy(t.Context(), b.object("dst"), b.object("src"))
			if err != nil {
				t.Fatal(err)
			}
			v := b.fake.Versions(b.bucket, "dst")[0]
			if !bytes.Equal(v.Bytes(), body) || made.ETag != v.ETag {
				t.Error("the copy has other bytes, or is not the version that was returned")
			}
			if v.Metadata["owner"] != "treasury" || len(v.Tags) != 1 || v.StorageClass != "STANDARD_IA" {
				t.Errorf("the copy has the attributes %v, %v, %q", v.Metadata, v.Tags, v.StorageClass)
			}
			ops := map[string]int{}
			for _, c := range b.fake.Calls() {
				ops[c.Op]++
			}
			if ops["UploadPartCopy"] < 3 || ops["CopyObject"] > 0 || ops["UploadPart"] > 0 {
				t.Errorf("copied by %v", ops)
			}
			if n := len(b.fake.Uploads(b.bucket)); n > 0 || len(b.journal.open) > 0 {
				t.Errorf("%d uploads are left, %d remembered", n, len(b.journal.open))
			}
			if _, err := b.store.Copy(t.Context(), b.object("dst"), b.object("src")); !errors.Is(err, coffer.ErrConflict) {
				t.Errorf("a copy to what must not exist: %v", err)
			}
			if n := len(b.fake.Uploads(b.bucket)); n > 0 || len(b.journal.open) > 0 {
				t.Errorf("after a refusal %d uploads are left, %d remembered", n, len(b.journal.open))
			}
		})
	}
}

// TestOwnerAndPayer: a bucket that changed hands is refused by every method, one whose requester pays is used by those who agreed.
func TestOwnerAndPayer(t *testing.T) {
	b := newFake(t)
	b.fake.Configure(b.bucket, func(c *s3fake.Config) { c.Owner, c.RequesterPays = "999999999999", true })
	b.fake.Put(b.bucket, "a", []byte("body"), s3fake.Attrs{})
	o := b.object("a")
	do := func(st *s3.Store) map[string]error {
		errs := map[string]error{}
		_, errs["Versioning"] = st.Versioning(t.Context(), b.bucket)
		_, errs["Stat"] = st.Stat(t.Context(), o)
		_, _, errs["Protections"] = st.Protections(t.Context(), o)
		_, errs["Copies"] = st.Copies(t.Context(), o)
		errs["Tag"] = st.Tag(t.Context(), o, []coffer.Tag{{Key: "a", Value: "b"}})
		body, err := st.Open(t.Context(), o)
		if errs["Open"] = err; err == nil {
			errs["Open"] = body.Close()
		}
		for _, err := range st.Versions(t.Context(), o) {
			errs["Versions"] = err
		}
		for _, err := range st.List(t.Context(), b.bucket, "", "") {
			errs["List"] = err
		}
		staged, err := st.Stage(t.Context(), b.object("new"), object.Attrs{}, fill([]byte("new")))
		if err == nil {
			_, err = staged.Commit(t.Context())
		}
		errs["Stage"] = err
		_, errs["Copy"] = st.Copy(t.Context(), b.object("copy"), o)
		_, errs["Delete"] = st.Delete(t.Context(), o)
		return errs
	}
	for _, c := range []struct {
		name string
		cfg  s3.Config
		ok   bool
	}{
		{"nothing is agreed to", s3.Config{}, false},
		{"the bucket is another account's", s3.Config{Owner: s3fake.Account, RequesterPays: true}, false},
		{"the requester pays", s3.Config{Owner: "999999999999", RequesterPays: true}, true},
	} {
		c.cfg.AWS = config(b.fake.Transport())
		for what, err := range do(must2(s3.Open(c.cfg))(t)) {
			if c.ok && err != nil || !c.ok && (!errors.Is(err, coffer.ErrUnavailable) || !errors.Is(err, object.ErrRefused)) {
				t.Errorf("%s: %s: %v", c.name, what, err)
			}
		}
	}
}

// unnamed leaves out the id of the version "null", as some servers do.
type unnamed struct{ http.RoundTripper }

func (u unnamed) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := u.RoundTripper.RoundTrip(r)
	if err == nil && resp.Header.Get("X-Amz-Version-Id") == s3fake.Null {
		resp.Header.Del("X-Amz-Version-Id")
	}
	return resp, err
}

// TestUnnamedNull: on a server that does not name the version "null" it is the current one all the same.
func TestUnnamedNull(t *testing.T) {
	b := newFake(t)
	b.fake.Configure(b.bucket, func(c *s3fake.Config) { c.Versioning = s3fake.VersioningSuspended })
	b.fake.Put(b.bucket, "a", []byte("body"), s3fake.Attrs{})
	st := must2(s3.Open(s3.Config{AWS: config(unnamed{b.fake.Transport()}), Endpoint: "http://s3." + lookalike.Region + ".amazonaws.com"}))(t)
	o := b.object("a")
	o.VersionID = s3fake.Null
	i := must2(st.Stat(t.Context(), o))(t)
	if !i.Latest || i.VersionID != s3fake.Null {
		t.Errorf("version %q, latest %t", i.VersionID, i.Latest)
	}
}
