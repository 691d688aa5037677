//go:build linux

package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"coffer/store"
)

func holds(t *testing.T, db *DB, k store.Key) bool {
	t.Helper()
	s, ok := db.watch.state()
	if !ok {
		t.Fatal("the state of the file is not known")
	}
	_, _, known := db.cache.get(s, k)
	return known
}

// TestCacheKeepsWhatWasNotWritten: a commit of one's own drops the parts that it wrote and no others; one by another connection drops all. Without
// this the test of consistency could pass because nothing is ever kept.
func TestCacheKeepsWhatWasNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	ctx := context.Background()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	write := func(db *DB, k store.Key) {
		t.Helper()
		if err := db.Apply(ctx, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{Key: k, Value: []byte("v"), Version: store.NewVersion()}}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(k store.Key) {
		t.Helper()
		if _, err := db.Get(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	a, b := store.Key{Part: "a", Sort: "s"}, store.Key{Part: "b", Sort: "s"}
	write(db, a)
	write(db, b)
	read(a)
	read(b)
	if !holds(t, db, a) || !holds(t, db, b) {
		t.Fatal("what was read is not kept")
	}
	write(db, a)
	if holds(t, db, a) || !holds(t, db, b) {
		t.Error("after a commit of one's own to one part, that one is kept, or the other is not")
	}
	read(a)
	write(other, store.Key{Part: "c", Sort: "s"})
	if holds(t, db, a) || holds(t, db, b) {
		t.Error("after a commit by another something is kept")
	}
	read(a)
	if !holds(t, db, a) {
		t.Error("after a commit by another nothing is kept any more")
	}
	// However much is read, no more is kept than the bound says.
	for i := range 3 * cacheBytes / (48 << 10) {
		s, _ := db.watch.state()
		it := store.Item{Value: make([]byte, 48<<10), Version: "v"}
		db.cache.keepItem(s, db.watch.state, store.Key{Part: fmt.Sprint(i), Sort: "s"}, &it)
	}
	if n := db.cache.parts.Len() * (48 << 10); n > cacheBytes {
		t.Errorf("%d bytes are kept", n)
	}
}

// TestMark: a part has a mark once it was read, and the same one for as long as nobody has written to it; whoever wrote, another or none follows.
func TestMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	ctx := context.Background()
	var dbs [2]*DB
	for i := range dbs {
		db, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		dbs[i] = db
	}
	sealed := store.Sealed(dbs[0], make([]byte, store.KeySize))
	apply := func(db *DB, op store.Op) {
		t.Helper()
		op.Expect, op.Item.Version = store.Any, store.NewVersion()
		if err := db.Apply(ctx, op); err != nil {
			t.Fatal(err)
		}
	}
	a, b := store.Key{Part: "a", Sort: "s"}, store.Key{Part: "b", Sort: "s"}
	given := map[store.Mark]bool{}
	read := func() store.Mark {
		t.Helper()
		_, _ = dbs[0].Get(ctx, a)
		m, ok := store.MarkOf(sealed, "a")
		if !ok || given[m] {
			t.Fatalf("a part that was read: %v, a mark that was given before: %v", ok, given[m])
		}
		given[m] = true
		for range dbs[0].Query(ctx, "a", store.Range{}) { // more of the same part
		}
		if again, ok := store.MarkOf(sealed, "a"); !ok || again != m {
			t.Fatal("another mark though nothing was written")
		}
		return m
	}
	if _, ok := store.MarkOf(sealed, "a"); ok {
		t.Error("a mark for a part that was never read")
	}
	apply(dbs[0], store.Op{Verb: store.Put, Item: store.Item{Key: b}}) // from here on it knows its own commits from others'
	m := read()
	apply(dbs[0], store.Op{Verb: store.Put, Item: store.Item{Key: b}})
	if again, ok := store.MarkOf(sealed, "a"); !ok || again != m {
		t.Error("another mark after a commit of one's own to another part")
	}
	for name, op := range map[string]store.Op{
		"put": {Verb: store.Put, Item: store.Item{Key: a}}, "put beside": {Verb: store.Put, Item: store.Item{Key: store.Key{Part: "a", Sort: "t"}}},
		"delete": {Verb: store.Delete, Item: store.Item{Key: a}},
	} {
		for i, db := range dbs {
			apply(dbs[0], store.Op{Verb: store.Put, Item: store.Item{Key: a}}) // what is not there cannot be deleted
			m := read()
			apply(db, op)
			if again, ok := store.MarkOf(sealed, "a"); ok && again == m {
				t.Errorf("%s by handle %d: the mark is the same", name, i)
			}
		}
	}
}

// TestWatchOutlivesAHandle: SQLite's locks on the index of the log are the process's; a handle that is closed must not take them from another.
func TestWatchOutlivesAHandle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	one, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if one.watch == nil || one.watch != two.watch {
		t.Error("two handles of a file do not share a watch")
	}
	w := one.watch
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := two.watch.state(); !ok || w.users != 1 {
		t.Error("the watch went with the first handle")
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if len(watches) != 0 {
		t.Errorf("%d watches stay", len(watches))
	}
}
