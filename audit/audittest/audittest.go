// Package audittest opens logs for the tests of the packages that record in one.
package audittest

import (
	"path/filepath"
	"testing"
	"time"

	"coffer/audit"
	"coffer/store"
)

// Parts returns the files and the key of a log that lie in dir, as on a machine of its own.
func Parts(t testing.TB, dir string) (audit.Files, *audit.Key) {
	t.Helper()
	files, err := audit.Folder(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.KeyFile(filepath.Join(dir, "log.key"))
	if err != nil {
		t.Fatal(err)
	}
	return files, key
}

// Open opens the log of db whose files and key lie in dir, as a process does. It scrubs with scrub, or nothing if that is nil.
func Open(t testing.TB, db store.DB, dir string, now func() time.Time, scrub func([]byte) []byte) *audit.Log {
	t.Helper()
	files, key := Parts(t, dir)
	if scrub == nil {
		scrub = func(b []byte) []byte { return b }
	}
	l, err := audit.Open(t.Context(), audit.Config{DB: db, Files: files, Key: key, Now: now, Scrub: scrub})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
