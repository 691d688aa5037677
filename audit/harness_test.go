package audit_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
	"coffer/store/mem"
)

// home is an installation's log: what stays when a process ends.
type home struct {
	t       testing.TB
	db      store.DB
	dir     string
	anchors []string

	mu    sync.Mutex
	clock time.Time
}

func newHome(t testing.TB) *home {
	return &home{t: t, db: new(mem.DB), dir: t.TempDir(), clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// now is a clock that moves by a millisecond with each look.
func (h *home) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = h.clock.Add(time.Millisecond)
	return h.clock
}

func (h *home) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = h.clock.Add(d)
}

func (h *home) key() string { return filepath.Join(h.dir, "log.key") }
func (h *home) log() string { return filepath.Join(h.dir, "log") }

// open starts a process. Its files are written without waiting for the disk.
func (h *home) open() *audit.Log {
	h.t.Helper()
	return h.openWith(nil)
}

// openWith starts a process that writes its files with put, or without waiting for the disk.
func (h *home) openWith(put func(name string, data []byte) error) *audit.Log {
	h.t.Helper()
	files, err := audit.Folder(h.log())
	if err != nil {
		h.t.Fatal(err)
	}
	if put == nil {
		put = func(name string, data []byte) error {
			path := filepath.Join(h.log(), filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			return os.WriteFile(path, data, 0o600)
		}
	}
	key, err := audit.KeyFile(h.key())
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := audit.Open(context.Background(), audit.Config{
		DB: h.db, Files: putting{files, put}, Key: key, Anchors: h.anchors, Now: h.now, Scrub: scrub,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

// putting are files that are written in another way.
type putting struct {
	audit.Files
	put func(name string, data []byte) error
}

func (p putting) Put(name string, data []byte) error { return p.put(name, data) }

// scrub stands for the detectors: it replaces digits.
func scrub(b []byte) []byte {
	for i, c := range b {
		if '0' <= c && c <= '9' {
			b[i] = '#'
		}
	}
	return b
}

func (h *home) verify(opt audit.VerifyOptions) *audit.Report {
	h.t.Helper()
	if opt.Key == "" {
		key, err := os.ReadFile(h.key() + ".pub")
		if err != nil {
			h.t.Fatal(err)
		}
		opt.Key = string(key)
	}
	r, err := audit.Verify(context.Background(), os.DirFS(h.log()), opt)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// sound demands that everything recorded is in the files and proves right.
func (h *home) sound() *audit.Report {
	h.t.Helper()
	r := h.verify(audit.VerifyOptions{DB: h.db})
	if err := r.Err(); err != nil {
		h.t.Fatalf("%v\n%v", err, r.Problems)
	}
	if r.Pending != 0 || r.Beyond {
		h.t.Fatalf("pending %d, beyond %v", r.Pending, r.Beyond)
	}
	return r
}

var operator = access.Caller{ID: "op-1", Name: "Ada Operator", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}

var finding = access.Resource{Kind: access.Finding, ID: "f-1", Types: []coffer.DataType{coffer.BankAccountNumber}, Origins: []coffer.Origin{coffer.OriginMacie}}

var policies = sync.OnceValue(func() *access.Policy {
	p, err := access.Load(nil)
	if err != nil {
		panic(err)
	}
	return p
})

func guard(l *audit.Log) *audit.Guard { return &audit.Guard{Log: l, Policy: policies()} }

// permit asks for a reveal of finding f-1 by the operator.
func permit(t testing.TB, l *audit.Log) *audit.Permit {
	t.Helper()
	p, err := guard(l).Check(context.Background(), operator, access.ValueReveal, finding, access.Context{
		Local: true, Request: "req-1", Reason: "audit", Note: "called from 555 0100", Values: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func appendN(t testing.TB, l *audit.Log, n int) {
	t.Helper()
	p := permit(t, l)
	for range n {
		if _, err := l.Append(context.Background(), p.Entry(audit.Done)); err != nil {
			t.Fatal(err)
		}
	}
}

func closeLog(t testing.TB, l *audit.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func all(t testing.TB, l *audit.Log, f audit.Filter) []audit.Entry {
	t.Helper()
	var out []audit.Entry
	for e, err := range l.Entries(context.Background(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}
