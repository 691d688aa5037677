package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"coffer"
	"coffer/store"
	"coffer/store/sqlite"
	"coffer/store/storetest"
)

// The test binary is also the other processes: with this variable it plays a part instead of testing.
const partVariable, pathVariable = "SQLITE_TEST_PART", "SQLITE_TEST_PATH"

func TestMain(m *testing.M) {
	parts := map[string]func(path string) error{"count": countPart, "acknowledge": acknowledgePart, "open": openPart, "answer": answerPart}
	if part := parts[os.Getenv(partVariable)]; part != nil {
		if err := part(os.Getenv(pathVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func process(t *testing.T, part, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), partVariable+"="+part, pathVariable+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

func open(t testing.TB, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func temp(t testing.TB) string { return filepath.Join(t.TempDir(), "store.db") }

func put(part, sort, version, value, expect string) store.Op {
	return store.Op{Verb: store.Put, Expect: expect, Item: store.Item{
		Key: store.Key{Part: part, Sort: sort}, Version: version, Value: []byte(value),
	}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDB(t *testing.T) {
	storetest.Test(t, func(t *testing.T) store.DB { return open(t, temp(t)) })
}

// TestReopen: what was applied is there in another DB on the file, open at once or afterwards, and under names that a URI would
// read as syntax.
func TestReopen(t *testing.T) {
	for _, name := range []string{"store.db", "a b?mode=memory&x=#1%41", "é'\"", ":memory:"} {
		path := filepath.Join(t.TempDir(), name)
		a := open(t, path)
		must(t, a.Apply(t.Context(), put("p", "s", "1", "v", store.Absent)))
		b := open(t, path)
		if it, err := b.Get(t.Context(), store.Key{Part: "p", Sort: "s"}); err != nil || string(it.Value) != "v" {
			t.Fatalf("%q, second DB: %v", name, err)
		}
		must(t, b.Apply(t.Context(), put("p", "s", "2", "w", "1")))
		must(t, a.Close())
		must(t, b.Close())
		must(t, b.Close())
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 || entries[0].Name() != name {
			t.Errorf("%q: after Close the folder holds %v, %v", name, entries, err)
		}
		if it, err := open(t, path).Get(t.Context(), store.Key{Part: "p", Sort: "s"}); err != nil || it.Version != "2" {
			t.Errorf("%q, reopened: %v", name, err)
		}
	}
}

func TestModes(t *testing.T) {
	path := temp(t)
	db := open(t, path)
	must(t, db.Apply(t.Context(), put("p", "s", "1", "v", store.Absent)))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		fi, err := os.Stat(path + suffix)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("store%s: mode %v, %v", suffix, fi.Mode(), err)
		}
	}
	must(t, db.Close())
	must(t, os.Chmod(path, 0o664))
	open(t, path)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

// TestRefusals: files that are not a store of this version are named as what they are and stay as they were.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	db := open(t, whole)
	for i := range 200 {
		must(t, db.Apply(t.Context(), put("p", strconv.Itoa(i), "1", strings.Repeat("v", 5000), store.Absent)))
	}
	must(t, db.Close())
	store1, err := os.ReadFile(whole)
	must(t, err)
	change := func(f func(b []byte)) []byte {
		b := bytes.Clone(store1)
		f(b)
		return b
	}
	foreign := filepath.Join(dir, "foreign")
	other, err := sql.Open("sqlite", foreign)
	must(t, err)
	_, err = other.Exec("CREATE TABLE t (x)")
	must(t, err)
	must(t, other.Close())
	foreignBytes, err := os.ReadFile(foreign)
	must(t, err)
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"newer":        {change(func(b []byte) { b[63]++ }), coffer.ErrUnsupported}, // user_version, see sqlite.org/fileformat2.html
		"no version":   {change(func(b []byte) { clear(b[60:64]) }), coffer.ErrCorrupt},
		"another id":   {change(func(b []byte) { b[70]++ }), coffer.ErrInvalid},
		"foreign":      {foreignBytes, coffer.ErrInvalid},
		"text":         {[]byte(strings.Repeat("this is not a database\n", 100)), coffer.ErrCorrupt},
		"header wiped": {change(func(b []byte) { clear(b[:100]) }), coffer.ErrCorrupt},
		"root wiped":   {change(func(b []byte) { clear(b[100:4096]) }), coffer.ErrCorrupt},
	} {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, c.bytes, 0o600))
		if db, err := sqlite.Open(path); !errors.Is(err, c.want) || db != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, c.bytes) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := sqlite.Open(dir); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := sqlite.Open(filepath.Join(dir, "no", "such")); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("no folder: %v", err)
	}

	// Damage deep in the file shows where it is met, as corruption, and nothing else.
	damaged := filepath.Join(dir, "damaged")
	must(t, os.WriteFile(damaged, change(func(b []byte) {
		for i := 4096; i < len(b); i += 4096 {
			clear(b[i : i+200])
		}
	}), 0o600))
	d := open(t, damaged)
	for _, err := range d.Query(t.Context(), "p", store.Range{}) {
		if !errors.Is(err, coffer.ErrCorrupt) {
			t.Errorf("query: %v", err)
		}
		break
	}
	if _, err := d.Get(t.Context(), store.Key{Part: "p", Sort: "7"}); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("get: %v", err)
	}
	if err := d.Apply(t.Context(), put("p", "7", "2", "", store.Any)); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("apply: %v", err)
	}
}

// TestFull: a store that cannot grow answers unavailable, loses nothing, and works again when it can.
func TestFull(t *testing.T) {
	path := temp(t)
	db := open(t, path)
	must(t, db.Apply(t.Context(), put("p", "kept", "1", "v", store.Absent)))
	var old syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	limit := old
	limit.Cur = 1 << 20
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)) // SIGXFSZ is ignored by the Go runtime; writes give EFBIG
	var err error
	n := 0
	for ; err == nil && n < 20; n++ {
		err = db.Apply(t.Context(), put("p", fmt.Sprint(n), "1", strings.Repeat("v", 300_000), store.Absent))
	}
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
	if !errors.Is(err, coffer.ErrUnavailable) {
		t.Fatalf("after %d writes: %v", n, err)
	}
	for i := range n - 1 {
		if _, err := db.Get(t.Context(), store.Key{Part: "p", Sort: fmt.Sprint(i)}); err != nil {
			t.Errorf("acknowledged write %d: %v", i, err)
		}
	}
	must(t, db.Apply(t.Context(), put("p", fmt.Sprint(n-1), "1", strings.Repeat("v", 300_000), store.Absent)))
	must(t, db.Apply(t.Context(), put("p", "kept", "2", "v", "1")))
}

// TestScrub searches the bytes of all files for what was deleted and replaced.
func TestScrub(t *testing.T) {
	const secret, public = "SECRET-MARKER.", "public-marker."
	stale := 0 // what secure_delete leaves in the file
	for seed := range uint64(2) {
		for _, most := range []int{40, 600} { // in markers: several values in a page, and values with overflow pages
			path := temp(t)
			db := open(t, path)
			found := func(marker string) (n int) {
				for _, suffix := range []string{"", "-wal", "-shm"} {
					b, err := os.ReadFile(path + suffix)
					if err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Fatal(err)
					}
					n += bytes.Count(b, []byte(marker))
				}
				return n
			}
			// Values that come, go, grow and shrink make SQLite move others between pages.
			r := rand.New(rand.NewPCG(seed, 4))
			for range 40 {
				ops := map[string]store.Op{}
				for range 30 {
					k, marker := fmt.Sprint(r.IntN(400)), secret
					if r.IntN(2) == 0 {
						marker = public
					}
					ops[k] = put("p", k, fmt.Sprint("v", r.Uint64()), strings.Repeat(marker, 1+r.IntN(most)), store.Any)
					if r.IntN(3) == 0 {
						ops[k] = store.Op{Verb: store.Delete, Item: store.Item{Key: ops[k].Item.Key}, Expect: store.Any}
					}
				}
				var batch []store.Op
				for _, k := range slices.Sorted(maps.Keys(ops)) {
					batch = append(batch, ops[k])
				}
				must(t, db.Apply(t.Context(), batch...))
			}
			var gone []store.Op
			for it, err := range db.Query(t.Context(), "p", store.Range{}) {
				must(t, err)
				if bytes.HasPrefix(it.Value, []byte(secret)) {
					gone = append(gone, store.Op{Verb: store.Delete, Item: store.Item{Key: it.Key}, Expect: it.Version})
				}
			}
			for batch := range slices.Chunk(gone, store.MaxOps) {
				must(t, db.Apply(t.Context(), batch...))
			}
			if found(secret) == 0 {
				t.Fatal("nothing to scrub: the test shows nothing")
			}
			must(t, db.Close()) // which moves the log into the file
			stale += found(secret)
			db = open(t, path)
			must(t, db.Apply(t.Context(), put("p", "more", "1", "more", store.Absent)))
			must(t, store.Scrub(t.Context(), store.Sealed(db, make([]byte, store.KeySize)))) // also through the decorator
			if n := found(secret); n != 0 {
				t.Errorf("seed %d, %d: %d traces of deleted values", seed, most, n)
			}
			if found(public) == 0 {
				t.Error("what was not deleted is gone")
			}
			if fi, err := os.Stat(path + "-wal"); err != nil || fi.Size() != 0 {
				t.Errorf("the log has %d bytes, %v", fi.Size(), err)
			}
		}
	}
	t.Logf("%d stale copies before", stale)
	if stale == 0 {
		t.Error("no stale copies before: the test shows less than it could")
	}
}

// TestScrubWhileBusy scrubs under load: nothing that is there is harmed, and SQLite finds the file whole.
func TestScrubWhileBusy(t *testing.T) {
	path := temp(t)
	db := open(t, path)
	var wg sync.WaitGroup
	want := make([]map[string]string, 3)
	var stop atomic.Bool
	for w := range want {
		want[w] = map[string]string{}
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 9))
			for i := 0; i < 50 || !stop.Load(); i++ {
				k, v := fmt.Sprint(r.IntN(60)), strings.Repeat("v", r.IntN(30_000))
				op := put(fmt.Sprint("p", w), k, fmt.Sprint(w, "/", i), v, store.Any)
				if r.IntN(3) == 0 {
					op = store.Op{Verb: store.Delete, Item: store.Item{Key: op.Item.Key}, Expect: store.Any}
				}
				if err := db.Apply(context.Background(), op); err != nil {
					t.Error(err)
					return
				}
				if op.Verb == store.Put {
					want[w][k] = v
				} else {
					delete(want[w], k)
				}
			}
		})
	}
	for range 5 {
		must(t, db.Scrub(t.Context()))
	}
	stop.Store(true)
	wg.Wait()
	must(t, db.Scrub(t.Context()))
	for w := range want {
		n := 0
		for it, err := range db.Query(t.Context(), fmt.Sprint("p", w), store.Range{}) {
			must(t, err)
			if string(it.Value) != want[w][it.Key.Sort] {
				t.Fatal("an item is not what was put")
			}
			n++
		}
		if n != len(want[w]) {
			t.Errorf("%d items, want %d", n, len(want[w]))
		}
	}
	raw, err := sql.Open("sqlite", path)
	must(t, err)
	defer raw.Close()
	var verdict string
	must(t, raw.QueryRow("PRAGMA integrity_check").Scan(&verdict))
	if verdict != "ok" {
		t.Errorf("integrity check: %s", verdict)
	}
}

// TestGroupCommit: in one transaction each call succeeds or conflicts on its own, in some serial order.
func TestGroupCommit(t *testing.T) {
	db := open(t, temp(t))
	for round := range 20 {
		key := fmt.Sprint("k", round)
		var wg sync.WaitGroup
		var won, lost atomic.Int32
		for w := range 16 {
			wg.Go(func() {
				// All want the same new item; each also writes one of its own.
				switch err := db.Apply(context.Background(),
					put("own", fmt.Sprint(round, "/", w), "1", "v", store.Absent),
					put("shared", key, fmt.Sprint("w", w), "v", store.Absent),
				); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, coffer.ErrConflict):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 15 {
			t.Fatalf("%d won, %d lost", won.Load(), lost.Load())
		}
	}
	n := 0
	for _, err := range db.Query(t.Context(), "own", store.Range{}) {
		must(t, err)
		n++
	}
	if n != 20 {
		t.Errorf("%d items of the winners, want 20: a loser's writes stayed", n)
	}
}

// TestGiveUp: callers who give up leave their operations done or not done, and take nobody else's with them.
func TestGiveUp(t *testing.T) {
	db := open(t, temp(t))
	var wg sync.WaitGroup
	var givenUp sync.Map
	for w := range 8 {
		wg.Go(func() {
			for i := range 30 {
				ctx, cancel := context.WithCancel(context.Background())
				go func() {
					// Ends when a transaction does, so that the operation waits, is being done, or is done.
					for range i % 4 {
						_ = db.Apply(ctx, put(fmt.Sprint("other", w), "s", fmt.Sprint(i), "", store.Any))
					}
					cancel()
				}()
				value := []byte("value")
				op := put(fmt.Sprint("p", w), fmt.Sprint(i), "1", "", store.Absent)
				op.Item.Value = value
				err := db.Apply(ctx, op)
				clear(value) // the caller's again: the race detector sees who still reads it
				it, gerr := db.Get(context.Background(), op.Item.Key)
				switch {
				case err == nil && (gerr != nil || string(it.Value) != "value"):
					t.Errorf("acknowledged and not there: %v", gerr)
				case err != nil && !errors.Is(err, context.Canceled):
					t.Error(err)
				case err != nil:
					givenUp.Store(op.Item.Key, true)
				}
				if err := db.Apply(context.Background(), put("steady", fmt.Sprint(w, "/", i), "1", "v", store.Absent)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	givenUp.Range(func(k, _ any) bool {
		if _, err := db.Get(t.Context(), k.(store.Key)); !errors.Is(err, coffer.ErrNotFound) {
			t.Errorf("given up and there: %v", err)
		}
		return true
	})
}

// TestCloseWhileBusy: a call gets its outcome or "closed", and an acknowledged one is there.
func TestCloseWhileBusy(t *testing.T) {
	path := temp(t)
	db := open(t, path)
	var wg sync.WaitGroup
	var acknowledged sync.Map
	started := make(chan struct{}, 1)
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				op := put("p", fmt.Sprint(w, "/", i), "1", "v", store.Absent)
				err := db.Apply(context.Background(), op)
				if err == nil {
					acknowledged.Store(op.Item.Key, true)
					_, err = db.Get(context.Background(), op.Item.Key)
				}
				if errors.Is(err, coffer.ErrUnavailable) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	<-started
	must(t, db.Close())
	wg.Wait()
	again := open(t, path)
	acknowledged.Range(func(k, _ any) bool {
		if _, err := again.Get(t.Context(), k.(store.Key)); err != nil {
			t.Errorf("acknowledged before Close: %v", err)
		}
		return true
	})
}

// TestManyOpen opens a new file from several processes and goroutines at once.
func TestManyOpen(t *testing.T) {
	for range 3 {
		path := temp(t)
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if i < 3 {
					if err := process(t, "open", path).Run(); err != nil {
						t.Error(err)
					}
					return
				}
				if err := openPart(path); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func openPart(path string) error {
	db, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Apply(context.Background(), put("p", "s", "same", "v", store.Any))
}

const rounds = 40

// countPart increments one counter by compare-and-swap.
func countPart(path string) error {
	db, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx := context.Background()
	key := store.Key{Part: "counter", Sort: "n"}
	for i := 0; i < rounds; {
		n, expect := 0, store.Absent
		it, err := db.Get(ctx, key)
		switch {
		case err == nil:
			n, _ = strconv.Atoi(string(it.Value))
			expect = it.Version
		case !errors.Is(err, coffer.ErrNotFound):
			return err
		}
		err = db.Apply(ctx, put(key.Part, key.Sort, fmt.Sprint(os.Getpid(), ".", i), strconv.Itoa(n+1), expect))
		switch {
		case err == nil:
			i++
		case !errors.Is(err, coffer.ErrConflict):
			return err
		}
	}
	return nil
}

// TestProcesses: processes on one file lose no update.
func TestProcesses(t *testing.T) {
	path := temp(t)
	db := open(t, path)
	const n = 3
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := process(t, "count", path).Run(); err != nil {
				t.Error(err)
			}
		})
	}
	if err := countPart(path); err != nil {
		t.Error(err)
	}
	wg.Wait()
	it, err := db.Get(t.Context(), store.Key{Part: "counter", Sort: "n"})
	must(t, err)
	if want := strconv.Itoa((n + 1) * rounds); string(it.Value) != want {
		t.Errorf("counter is %s, want %s", it.Value, want)
	}
}

// acknowledgePart applies numbered pairs of puts from two goroutines and prints each number once it is acknowledged.
func acknowledgePart(path string) error {
	db, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	failed := make(chan error)
	for w := range 2 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprint(os.Getpid(), "/", w, "/", i)
				err := db.Apply(context.Background(),
					put("a", id, "1", strings.Repeat("v", 100+i*37%9000), store.Absent), put("b", id, "1", "", store.Absent))
				if err != nil {
					failed <- err
					return
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		}()
	}
	return <-failed
}

// TestKill kills processes in the middle of their work: what they acknowledged is there, and of the rest nothing by halves.
func TestKill(t *testing.T) {
	path := temp(t)
	r := rand.New(rand.NewPCG(5, 6))
	acknowledged := map[string]bool{}
	kills := 30
	if testing.Short() {
		kills = 5
	}
	for range kills {
		cmd := process(t, "acknowledge", path)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 1 + r.IntN(40); n > 0 && lines.Scan(); n-- {
			acknowledged[lines.Text()] = true
		}
		must(t, cmd.Process.Kill())
		for lines.Scan() { // what was printed before the kill arrived
			acknowledged[lines.Text()] = true
		}
		_ = cmd.Wait()
	}
	db := open(t, path)
	there := map[string]int{}
	for _, part := range []string{"a", "b"} {
		for it, err := range db.Query(t.Context(), part, store.Range{}) {
			must(t, err)
			there[it.Key.Sort]++
		}
	}
	for id, n := range there {
		if n != 2 {
			t.Errorf("half of %s is there", id)
		}
	}
	for id := range acknowledged {
		if there[id] != 2 {
			t.Errorf("%s was acknowledged and is not there", id)
		}
	}
	if len(acknowledged) < kills {
		t.Errorf("only %d acknowledged: the test shows little", len(acknowledged))
	}
	t.Logf("%d kills, %d operations acknowledged, %d found", kills, len(acknowledged), len(there))
}

// BenchmarkApply measures durable writes of 500 bytes, and in turns with them bare syncs of as many bytes on the same disk: the
// disk is shared and its rate changes from second to second. "x-fsync" is the rate of writes divided by the rate of syncs,
// "cpu-ns/op" the processor time of a write.
func BenchmarkApply(b *testing.B) {
	value := strings.Repeat("v", 500)
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprint(writers, "-writers"), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "f"))
			must(b, err)
			defer f.Close()
			db := open(b, temp(b))
			var next atomic.Int64
			var applied, synced int
			var applying, syncing, cpu time.Duration
			for b.Loop() {
				start := time.Now()
				for range 10 {
					_, err := f.WriteString(value)
					must(b, err)
					must(b, f.Sync())
					synced++
				}
				syncing += time.Since(start)
				start, used := time.Now(), cpuTime(b)
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						for range 20 {
							i := next.Add(1)
							if err := db.Apply(context.Background(), put(fmt.Sprint("p", i%50), fmt.Sprint(i), "1", value, store.Absent)); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				applied += 20 * writers
				applying += time.Since(start)
				cpu += cpuTime(b) - used
			}
			rate := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate(synced, syncing), "fsync/s")
			b.ReportMetric(rate(applied, applying), "apply/s")
			b.ReportMetric(rate(applied, applying)/rate(synced, syncing), "x-fsync")
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(applied), "cpu-ns/op")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkRead(b *testing.B) {
	db := open(b, temp(b))
	for i := range 100 {
		var ops []store.Op
		for j := range 20 {
			ops = append(ops, put(fmt.Sprint("p", i), fmt.Sprint(j), "1", strings.Repeat("v", 4000), store.Absent))
		}
		must(b, db.Apply(b.Context(), ops...))
	}
	i := 0
	b.Run("get 4 KB", func(b *testing.B) {
		for b.Loop() {
			if _, err := db.Get(context.Background(), store.Key{Part: fmt.Sprint("p", i%100), Sort: fmt.Sprint(i % 20)}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("query 20 of 4 KB", func(b *testing.B) {
		for b.Loop() {
			for _, err := range db.Query(context.Background(), fmt.Sprint("p", i%100), store.Range{}) {
				must(b, err)
			}
			i++
		}
	})
}
