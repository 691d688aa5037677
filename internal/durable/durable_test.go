package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer/internal/durable"
)

// only fails the test unless dir holds exactly these names: no write may leave a hidden file.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("folder holds %v, want %v", got, names)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, c := range []struct {
		data string
		mode fs.FileMode
	}{{"one", 0o600}, {"", 0o644}, {"three", 0o666}, {"four", 0o400}, {"five", 0o600}} {
		if err := durable.WriteFile(path, []byte(c.data), c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != c.data {
			t.Fatalf("read %q, %v; want %q", got, err, c.data)
		}
		fi, err := os.Stat(path)
		if err != nil || fi.Mode() != c.mode {
			t.Fatalf("mode %v, %v; want %v", fi.Mode(), err, c.mode)
		}
	}
	only(t, dir, "f")
}

func TestWriteFileReplacesSymlink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("target", link); err != nil {
		t.Skip(err)
	}
	if err := durable.WriteFile(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "old" {
		t.Errorf("the link's target was written: %q, %v", b, err)
	}
	only(t, dir, "link", "target")
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	// A folder that is not empty cannot be replaced by a file.
	path := filepath.Join(dir, "d")
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(path, []byte("data"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	if err := durable.Create(path, []byte("data"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a folder: %v", err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "no", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	for _, p := range []string{dir + "/..", "/", "."} {
		if err := durable.WriteFile(p, nil, 0o600); err == nil {
			t.Errorf("wrote to %q", p)
		}
	}
	only(t, dir, "d")
}

// TestWriteFileIsAtomic reads while others write: every read is one whole version.
func TestWriteFileIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 10_000+i) }
	if err := durable.WriteFile(path, content(0), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	for w := range 2 {
		wg.Go(func() {
			for i := range 20 {
				if err := durable.WriteFile(path, content(20*w+i), 0o600); err != nil {
					t.Error(err)
				}
			}
			stop.Store(true)
		})
	}
	for !stop.Load() {
		b, err := os.ReadFile(path)
		if err != nil || len(b) < 10_000 || !bytes.Equal(b, content(int(b[0]))) {
			t.Errorf("half a write: %d bytes, %v", len(b), err)
			break
		}
	}
	wg.Wait()
}

func TestCreateHasOneWinner(t *testing.T) {
	dir := t.TempDir()
	for round := range 10 {
		path := filepath.Join(dir, fmt.Sprint(round))
		var wg sync.WaitGroup
		var won atomic.Int32
		winner := make([]byte, 1)
		for i := range 8 {
			wg.Go(func() {
				switch err := durable.Create(path, []byte{byte(i)}, 0o600); {
				case err == nil:
					won.Add(1)
					winner[0] = byte(i)
				case !errors.Is(err, fs.ErrExist):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d creators succeeded", won.Load())
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, winner) {
			t.Fatalf("the file is not the winner's: %v", err)
		}
	}
	only(t, dir, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
}

func TestRenameRemoveMkdir(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	if err := durable.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(filepath.Dir(deep)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	f, g := filepath.Join(deep, "f"), filepath.Join(dir, "g")
	if err := durable.WriteFile(f, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Rename(f, g); err != nil {
		t.Fatal(err)
	}
	only(t, deep)
	if err := durable.MkdirAll(filepath.Join(g, "h"), 0o700); err == nil {
		t.Error("made a folder under a file")
	}
	if err := durable.Remove(g); err != nil {
		t.Fatal(err)
	}
	if err := durable.Remove(g); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
	only(t, dir, "a")
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{".key.AAA.coffer-tmp", ".key.BBB.coffer-tmp", ".key.x.AAA.coffer-tmp", ".other.AAA.coffer-tmp", "key"} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name != ".key.BBB.coffer-tmp" {
			if err := os.Chtimes(p, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := durable.Sweep(path, time.Hour); err != nil {
		t.Fatal(err)
	}
	only(t, dir, ".key.BBB.coffer-tmp", ".key.x.AAA.coffer-tmp", ".other.AAA.coffer-tmp", "key")
	if err := durable.Sweep(filepath.Join(dir, "none", "x"), 0); err != nil {
		t.Errorf("no folder, nothing to sweep: %v", err)
	}
}

// TestLock counts under the lock in two steps, with others let in between; the sum would show a hole.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var n atomic.Int64 // flock orders processes; the race detector does not see that it orders goroutines too
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				unlock, err := durable.Lock(path)
				if err != nil {
					t.Error(err)
					return
				}
				was := n.Load()
				runtime.Gosched()
				n.Store(was + 1)
				unlock()
			}
		})
	}
	wg.Wait()
	if n.Load() != 8*50 {
		t.Errorf("counted %d", n.Load())
	}
}
