package audit_test

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"coffer"
	"coffer/audit"
	"coffer/object"
	"coffer/object/mem"
	storemem "coffer/store/mem"
)

// TestBucket: a log whose files are objects, written by processes in turn, is the log that its store orders, can be verified from the
// bucket alone, and is an fs.FS like any other.
func TestBucket(t *testing.T) {
	for _, versioning := range []object.Versioning{object.VersioningOff, object.VersioningOn} {
		t.Run(string(versioning), func(t *testing.T) {
			ctx := context.Background()
			st := mem.New()
			st.CreateBucket("log")
			if versioning == object.VersioningOn {
				if err := st.SetVersioning("log", versioning); err != nil {
					t.Fatal(err)
				}
			}
			files := audit.Bucket(st, "log")
			key, _, err := audit.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			db := new(storemem.DB)
			clock := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			now := func() time.Time { clock = clock.Add(time.Millisecond); return clock }
			open := func(k *audit.Key) *audit.Log {
				l, err := audit.Open(ctx, audit.Config{DB: db, Files: files, Key: k, Now: now, Scrub: scrub})
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
			public, err := audit.PublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			recorder, signer := open(public), open(key)
			const rounds, each = 7, 100 // more than two full tiles
			for range rounds {
				appendN(t, recorder, each)
				if err := recorder.Sequence(ctx); err != nil {
					t.Fatal(err)
				}
				if size, _ := signer.Size(); size%each != 0 {
					t.Fatalf("a process without the key brought %d entries into order", size)
				}
				if err := signer.Sequence(ctx); err != nil {
					t.Fatal(err)
				}
			}
			r, err := audit.Verify(ctx, files, audit.VerifyOptions{Key: key.Public(), DB: db})
			if err != nil || r.Err() != nil || r.Checkpoint.Size != rounds*each || r.Pending != 0 {
				t.Fatalf("%v, %v, %+v", err, r.Err(), r.Checkpoint)
			}
			if _, err := fs.Stat(files, "tile/0/000.p"); versioning == object.VersioningOff && err == nil {
				t.Error("partial tiles stay behind the full one")
			}
			if err := fstest.TestFS(files, "checkpoint", "tile/0/001", "tile/entries/000"); err != nil {
				t.Error(err)
			}
			// What somebody changes in the bucket is found.
			tile := coffer.Object{Bucket: "log", Key: "tile/entries/001"}
			info, err := st.Stat(ctx, tile)
			if err != nil {
				t.Fatal(err)
			}
			data, _ := fs.ReadFile(files, tile.Key)
			data[10] ^= 1
			tile.ETag = info.ETag
			if err := files.Put(tile.Key, data); err != nil {
				t.Fatal(err)
			}
			if r, err := audit.Verify(ctx, files, audit.VerifyOptions{Key: key.Public()}); err != nil || r.Err() == nil {
				t.Errorf("a changed entry: %v", err)
			}
			closeLog(t, recorder)
			closeLog(t, signer)
		})
	}
}
