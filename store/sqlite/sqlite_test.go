package sqlite_test

import (
	"path/filepath"
	"testing"

	"coffer/store"
	"coffer/store/sqlite"
	"coffer/store/storetest"
)

func open(t testing.TB) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestDB(t *testing.T) {
	storetest.Test(t, func(t *testing.T) store.DB { return open(t) })
}
