package check_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"testing"

	"coffer"
	"coffer/internal/fault"
	"coffer/object"
	"coffer/remedy"
)

func md5hex(b []byte) string {
	s := md5.Sum(b)
	return hex.EncodeToString(s[:])
}

// story is a workflow that must end the same whatever call fails in it.
type story struct {
	name string
	run  func(w *world)
}

var stories = []story{
	{"ingest", func(w *world) {
		w.ingest("payouts.csv")
		w.original("payouts.csv", true)
	}},
	{"redact and undo", func(w *world) {
		p := w.apply(w.plan(w.ingest("payouts.csv"), remedy.Redact))
		if p.Clean != "all" || !p.Verified || p.Changes != 3 {
			w.t.Fatalf("clean %s, verified %t, %d changes", p.Clean, p.Verified, p.Changes)
		}
		w.undo(p)
		w.original("payouts.csv", true)
	}},
	{"mask an archive and purge", func(w *world) {
		p := w.apply(w.plan(w.ingest("night.log.gz"), remedy.Mask))
		w.purge(p)
	}},
	{"tokenise in a versioned bucket, purge", func(w *world) {
		if err := w.objects.SetVersioning(bucket, object.VersioningOn); err != nil {
			w.t.Fatal(err)
		}
		p := w.apply(w.plan(w.ingest("customers.jsonl"), remedy.Tokenise))
		if p.Clean != "current" {
			w.t.Fatalf("clean %s while the planned version still exists", p.Clean)
		}
		w.purge(p)
	}},
	{"delete and restore", func(w *world) {
		p := w.apply(w.plan(w.ingest("customers.jsonl"), remedy.Delete))
		w.undo(p)
		w.original("customers.jsonl", true)
	}},
	{"quarantine and purge", func(w *world) {
		p := w.apply(w.plan(w.ingest("customers.jsonl"), remedy.Quarantine))
		w.purge(p)
		w.inj.Aside(func() {
			if _, err := w.objects.Stat(w.ctx, coffer.Object{Bucket: bucket, Key: "customers.jsonl"}); err == nil {
				w.t.Fatal("the quarantined object is still there")
			}
		})
	}},
}

// kinds are the ways in which a call can fail.
var kinds = []fault.Fault{
	{When: fault.Before}, {When: fault.After}, {When: fault.Before, Crash: true}, {When: fault.After, Crash: true},
}

// TestStoriesWithoutFaults counts the calls of each story, and shows that they are right when nothing fails.
func TestStoriesWithoutFaults(t *testing.T) {
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t)
			from := w.inj.Calls()
			s.run(w)
			t.Logf("%d calls", w.inj.Calls()-from)
			w.holds()
		})
	}
}

// TestEveryCallFails fails each call of each story, before and after its effect, with the process living on and dying.
func TestEveryCallFails(t *testing.T) {
	total := 0
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t)
			from := w.inj.Calls()
			s.run(w)
			calls := w.inj.Calls() - from
			n := 0
			for k := 1; k <= calls; k++ {
				for _, f := range kinds {
					f.Call = k
					w := newWorld(t, f)
					t.Run(fmt.Sprintf("call %d %v", k, f), func(t *testing.T) {
						w.t = t
						s.run(w)
						w.holds()
					})
					n++
				}
			}
			total += n
			t.Logf("%d schedules over %d calls", n, calls)
		})
	}
	t.Logf("%d schedules in all", total)
}
