package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"coffer"
	"coffer/store"
	"coffer/store/sqlite"
)

// TestBackup: a copy made while somebody writes is a store of one moment: of two items that are always written together it
// holds both or neither, in the same version; and what was deleted is not in its bytes.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	db, err := sqlite.Open(filepath.Join(dir, "live.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	put := func(part string, n int, value []byte, version string) store.Op {
		return store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{Key: store.Key{Part: part, Sort: fmt.Sprint(n)}, Value: value, Version: version}}
	}
	secret := []byte("SYNTHETIC-DELETED-VALUE")
	if err := db.Apply(t.Context(), put("gone", 0, secret, "v")); err != nil {
		t.Fatal(err)
	}
	if err := db.Apply(t.Context(), store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: store.Key{Part: "gone", Sort: "0"}}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			if i == 50 {
				close(started)
			}
			v := fmt.Sprintf("v%d", i)
			if err := db.Apply(context.Background(), put("a", i%7, []byte(v), v), put("b", i%7, []byte(v), v)); err != nil || ctx.Err() != nil {
				done <- err
				return
			}
		}
	}()
	<-started
	for i := range 3 {
		path := filepath.Join(dir, fmt.Sprintf("copy%d.db", i))
		if err := db.Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if err := db.Backup(t.Context(), path); !errors.Is(err, coffer.ErrConflict) {
			t.Errorf("over a file that exists: %v", err)
		}
		raw, err := os.ReadFile(path)
		if err != nil || bytes.Contains(raw, secret) {
			t.Errorf("the copy holds what was deleted, %v", err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mode: %v, %v", fi.Mode(), err)
		}
		copied, err := sqlite.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for it, err := range copied.Query(t.Context(), "a", store.Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			other, err := copied.Get(t.Context(), store.Key{Part: "b", Sort: it.Key.Sort})
			if err != nil || other.Version != it.Version {
				t.Errorf("half of an Apply: %s and %s, %v", it.Version, other.Version, err)
			}
			n++
		}
		if n != 7 {
			t.Errorf("%d items", n)
		}
		if err := copied.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(ctx, filepath.Join(dir, "cancelled.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
