package audit_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"coffer/access"
	"coffer/audit"
	"coffer/store"
	"coffer/store/sqlite"
)

// TestDocumentedFormat verifies a log with a program of another language that was written from docs/format-log.md.
func TestDocumentedFormat(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	h := newHome(t)
	logs := []*audit.Log{h.open(), h.open()}
	for i := range 600 {
		p, err := guard(logs[i%2]).Check(context.Background(), operator, access.ValueReveal, finding, access.Context{
			Local: true, Reason: "audit", Note: fmt.Sprintf("quotes \" and \\ and ümläuts and %c", rune(0x20+i*7)), Values: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		e := p.Entry(audit.Done)
		e.Detail = map[string]string{"b": "1", "a": "2", "B": "3"}
		if _, err := logs[i%2].Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range logs {
		closeLog(t, l)
	}
	cp := h.sound().Checkpoint
	out, err := exec.Command(python, "testdata/verify.py", h.log()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := fmt.Sprintf("%d %s\n", cp.Size, cp.Root); string(out) != want {
		t.Errorf("it says %q, want %q", out, want)
	}
	bundle := filepath.Join(h.log(), filepath.FromSlash(audit.TilePath(-1, 1, 256)))
	b, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	b[1000] ^= 1
	if err := os.WriteFile(bundle, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(python, "testdata/verify.py", h.log()).Run(); err == nil {
		t.Error("it does not notice a change")
	}
}

// BenchmarkAppend records entries from 32 goroutines into SQLite. Its rate is to be compared with BenchmarkFsync: group commit
// shares a sync among those who wait.
func BenchmarkAppend(b *testing.B) {
	h := newHome(b)
	db, err := sqlite.Open(filepath.Join(h.dir, "store.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	h.db = store.DB(db)
	l := h.open()
	p := permit(b, l)
	b.ResetTimer()
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for i := g; i < b.N; i += 32 {
				if _, err := l.Append(context.Background(), p.Entry(audit.Done)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkFsync writes and syncs 600 bytes at a time, one after the other.
func BenchmarkFsync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	line := make([]byte, 600)
	_, _ = rand.Read(line)
	for b.Loop() {
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "syncs/s")
}

// BenchmarkVerify verifies a log of 10,000 entries.
func BenchmarkVerify(b *testing.B) {
	h := newHome(b)
	l := h.open()
	appendN(b, l, 10_000)
	closeLog(b, l)
	b.ResetTimer()
	for b.Loop() {
		r, err := audit.Verify(context.Background(), os.DirFS(h.log()), audit.VerifyOptions{Key: l.VerifierKey()})
		if err != nil || r.Err() != nil {
			b.Fatal(err, r.Err())
		}
	}
	b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
