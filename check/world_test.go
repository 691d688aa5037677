package check_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/audit/audittest"
	"coffer/check"
	"coffer/envelope"
	"coffer/internal/fault"
	"coffer/object"
	"coffer/pipeline"
	"coffer/remedy"
	storemem "coffer/store/mem"
)

// world is a whole installation on memory adapters that share one injector, with the objects and findings of a story.
type world struct {
	t         testing.TB
	ctx       context.Context
	inj       *fault.Injector
	place     place
	objects   object.Store
	originals object.Store
	keys      envelope.Keys
	db        *storemem.DB
	headers   *storemem.DB
	logDir    string
	now       time.Time

	a *app.App

	purging bool // the story destroys originals on purpose
	broken  bool // the story broke the store on purpose: the invariants need not hold

	before map[string]snapshot // the objects as they were put
}

// memoryDir is a folder in memory where the system has one: the log syncs its files, and thousands of stories would wait for
// the disk.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "coffer-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

type snapshot struct {
	sum   [32]byte
	attrs object.Attrs
}

const bucket = "moontrust-statements"

// content of the objects, by key. The accounts stand in the place that the findings name; one more, which Macie did not
// report, in a note.
var contents = sync.OnceValue(func() map[string][]byte {
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Name = "night.log"
	_, _ = io.WriteString(zw, "start\npayout to bank account 004417792051 done\nend\n")
	_ = zw.Close()
	return map[string][]byte{
		"payouts.csv":     []byte("id,bank_account_number,note\r\n1,1405270021,first\r\n2,89102913724,\"again, 1405270021\"\r\n"),
		"customers.jsonl": []byte("{\"id\":\"a\",\"ssn\":\"900-55-1234\"}\n{\"id\":\"b\",\"ssn\":\"900-61-7788\"}\n"),
		"night.log.gz":    z.Bytes(),
	}
})

func newWorld(t testing.TB, faults ...fault.Fault) *world {
	return newWorldIn(t, newMemory(), faults...)
}

func newWorldIn(t testing.TB, p place, faults ...fault.Fault) *world {
	w := &world{
		t: t, ctx: context.Background(), inj: fault.New(), place: p, db: &storemem.DB{}, headers: &storemem.DB{}, logDir: filepath.Join(memoryDir(t), "log"), now: time.Date(2026, 7, 15, 9, 0, 0, 0, time.UTC),
		before: map[string]snapshot{},
	}
	w.objects, w.originals, w.keys = p.adapters(t, func() time.Time { return w.now })
	for key, body := range contents() {
		w.put(key, body)
	}
	p.inject(w.inj)
	w.db.Fault, w.headers.Fault = w.inj, w.inj
	w.start() // the first start is part of no story
	w.inj.Arm(faults...)
	return w
}

func (w *world) put(key string, body []byte) {
	attrs := object.Attrs{ContentType: "application/octet-stream", Metadata: map[string]string{"owner": "payments"}, Tags: []coffer.Tag{{Key: "team", Value: "payments"}}}
	w.place.put(key, body, attrs)
	w.before[key] = snapshot{sha256.Sum256(body), attrs}
}

// start builds the program on what the adapters hold, as a new process would.
func (w *world) start() {
	files, key := audittest.Parts(w.t, filepath.Dir(w.logDir))
	for {
		a, err := app.Assemble(w.ctx, app.Adapters{
			Objects: w.objects, Originals: w.originals, DB: w.db, Headers: w.headers, Keys: w.keys, Log: files, LogKey: key,
			Remember: w.remember,
		}, app.Config{}, func() time.Time { return w.now })
		if err == nil {
			w.a = a
			return
		}
		if !errors.Is(err, fault.ErrInjected) && !w.inj.Dead() {
			w.t.Fatalf("start: %v", err)
		}
		w.inj.Restart()
	}
}

// remember gives the adapters the journal of uploads, where they want one.
func (w *world) remember(j object.Journal) {
	for _, st := range []object.Store{w.objects, w.originals} {
		if st, ok := st.(interface{ Remember(object.Journal) }); ok {
			st.Remember(j)
		}
	}
}

// restart is what happens after a crash: memory is gone, leases run out.
func (w *world) restart() {
	w.inj.Restart()
	w.now = w.now.Add(2 * time.Minute)
	w.start()
}

func (w *world) ask() access.Ask {
	return access.Ask{
		Caller:  access.Caller{ID: "op-1", Name: "tester", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}},
		Context: access.Context{Now: w.now, Local: true},
	}
}

// do repeats an operation until it succeeds, restarting the process when it crashed. An error that no fault explains fails
// the test.
func (w *world) do(what string, op func() error) {
	w.t.Helper()
	for range 12 {
		err := op()
		if err == nil {
			return
		}
		if !errors.Is(err, fault.ErrInjected) && !errors.Is(err, coffer.ErrUnavailable) && !w.inj.Dead() {
			w.t.Fatalf("%s: %v\n%s", what, err, strings.Join(tail(w.inj.Trace(), 12), "\n"))
		}
		w.restart()
	}
	w.t.Fatalf("%s: does not succeed after the fault is over", what)
}

func tail(s []string, n int) []string { return s[max(0, len(s)-n):] }

// finding returns the finding of the story on an object.
func (w *world) finding(key string) coffer.Finding {
	body := contents()[key]
	f := coffer.Finding{
		ID: fmt.Sprintf("%032x", sha256.Sum256([]byte(key)))[:32], Origin: coffer.OriginOperator, AccountID: "111122223333",
		Type: "SensitiveData:S3Object/Financial", Severity: coffer.SeverityHigh, CreatedAt: w.now,
		Object: coffer.Object{Bucket: bucket, Key: key, ETag: md5hex(body)}, Size: int64(len(body)),
	}
	account := func(at coffer.Location) {
		f.Occurrences = append(f.Occurrences, coffer.Occurrence{N: len(f.Occurrences) + 1, Type: coffer.BankAccountNumber, At: at, Source: coffer.FromFinding})
	}
	switch key {
	case "payouts.csv":
		account(coffer.Location{Kind: coffer.Cell, Row: 2, Column: 2})
		account(coffer.Location{Kind: coffer.Cell, Row: 3, Column: 2})
	case "customers.jsonl":
		for i := range 2 {
			f.Occurrences = append(f.Occurrences, coffer.Occurrence{N: i + 1, Type: coffer.USSocialSecurity, Source: coffer.FromFinding,
				At: coffer.Location{Kind: coffer.Record, Index: int64(i), Path: "$.ssn"}})
		}
	case "night.log.gz":
		account(coffer.Location{Member: coffer.MemberPath("night.log"), Kind: coffer.Lines, Start: 2, End: 2, StartColumn: 24})
		f.Occurrences[0].Source = coffer.FromResult
	}
	f.Detections = []coffer.Detection{{Type: f.Occurrences[0].Type, Category: "FINANCIAL_INFORMATION", Count: int64(len(f.Occurrences))}}
	return f
}

func (w *world) ingest(key string) string {
	f := w.finding(key)
	w.do("ingest "+key, func() error {
		res, err := w.a.Pipeline.Take(w.ctx, w.ask(), f)
		if err == nil && res.Status != pipeline.Sealed {
			w.t.Fatalf("ingest %s: %s: %s", key, res.Status, res.Reason)
		}
		return err
	})
	return f.ID
}

func (w *world) plan(id string, action remedy.Action) *remedy.Plan {
	var p *remedy.Plan
	w.do("plan", func() error {
		g, err := w.a.Remedy.Groups(w.ctx, id)
		if err != nil {
			return err
		}
		p, err = w.a.Remedy.Plan(w.ctx, w.ask(), g[0], remedy.Options{Action: action})
		return err
	})
	return p
}

func (w *world) apply(p *remedy.Plan) *remedy.Plan {
	w.do("apply", func() (err error) {
		var q *remedy.Plan
		if q, err = w.a.Remedy.Apply(w.ctx, w.ask(), p.ID, remedy.Closing{}); err == nil {
			p = q
		}
		return err
	})
	if p.State != remedy.Applied {
		w.t.Fatalf("apply: %s: %s\n%s", p.State, p.Reason, strings.Join(tail(w.inj.Trace(), 12), "\n"))
	}
	return p
}

func (w *world) undo(p *remedy.Plan) {
	w.purging = true // once the original is back in place, the kept one goes
	w.do("undo", func() error {
		_, err := w.a.Remedy.Undo(w.ctx, w.ask(), p.ID)
		return err
	})
}

func (w *world) purge(p *remedy.Plan) {
	w.purging = true
	w.do("purge", func() error {
		_, err := w.a.Remedy.Purge(w.ctx, w.ask(), p.ID, remedy.PurgeOptions{})
		return err
	})
}

// original demands that the object is what was put, in bytes and metadata; the tags of Coffer may have joined its own.
func (w *world) original(key string, tagged bool) {
	w.t.Helper()
	want := w.before[key]
	var body []byte
	w.inj.Aside(func() { body = w.place.current(key) }) // looking is no call of the story that a fault could meet
	if sha256.Sum256(body) != want.sum {
		w.t.Fatalf("object %s is not the original", key)
	}
	var info object.Info
	var err error
	w.inj.Aside(func() { info, err = w.objects.Stat(w.ctx, coffer.Object{Bucket: bucket, Key: key}) })
	if err != nil {
		w.t.Fatalf("object %s: %v", key, err)
	}
	if got := info.Attrs; got.ContentType != want.attrs.ContentType || got.Metadata["owner"] != "payments" {
		w.t.Fatalf("object %s has other attributes than the original", key)
	}
	n, team := 0, false
	for _, tag := range info.Attrs.Tags {
		if strings.HasPrefix(tag.Key, "coffer:") {
			n++
		}
		team = team || tag.Key == "team" && tag.Value == "payments"
	}
	if !team || tagged != (n == 4) {
		w.t.Fatalf("object %s has tags %v", key, info.Attrs.Tags)
	}
}

// check runs the checker after the faults are over, on a process of its own, and returns what does not hold.
func (w *world) check(repair bool) *check.Report {
	w.inj.Disarm()
	w.restart()
	r, err := check.Run(w.ctx, check.Parts{
		DB: w.a.DB, Headers: w.a.Headers, Objects: w.objects, Originals: w.originals, Records: w.a.Records, Vault: w.a.Vault,
		Pipeline: w.a.Pipeline, Remedy: w.a.Remedy, Guard: w.a.Guard, Identifiers: w.a.Pipeline.Identifiers, LogDir: os.DirFS(w.logDir),
		Now: w.a.Now,
	}, w.ask(), check.Options{Repair: repair})
	if err != nil {
		w.t.Fatalf("check: %v", err)
	}
	return r
}

// holds demands that every invariant holds and that a repair leaves no litter.
func (w *world) holds() {
	w.t.Helper()
	r := w.check(true)
	if err := r.Err(); err != nil {
		w.t.Fatalf("%v\n%s", err, strings.Join(tail(w.inj.Trace(), 16), "\n"))
	}
	// Every operation was repeated until it succeeded, and cleans up after its own failures.
	if len(r.Litter) > 0 {
		w.t.Fatalf("litter %q\n%s", r.Litter, strings.Join(tail(w.inj.Trace(), 16), "\n"))
	}
	if r := w.check(false); r.Err() != nil || len(r.Litter) > 0 {
		w.t.Fatalf("after the repair: %v, litter %q", r.Err(), r.Litter)
	}
	if n := w.place.unfinished(); n > 0 {
		w.t.Fatalf("%d stages are left", n)
	}
}
