package check_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
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
	key  string // of the object that it is about
	run  func(w *world)
}

var stories = []story{
	{"ingest", "payouts.csv", func(w *world) {
		w.ingest("payouts.csv")
		w.original("payouts.csv", true)
	}},
	{"redact and undo", "payouts.csv", func(w *world) {
		p := w.apply(w.plan(w.ingest("payouts.csv"), remedy.Redact))
		if p.Clean != "all" || !p.Verified || p.Changes != 3 {
			w.t.Fatalf("clean %s, verified %t, %d changes", p.Clean, p.Verified, p.Changes)
		}
		w.undo(p)
		w.original("payouts.csv", true)
	}},
	{"mask an archive and purge", "night.log.gz", func(w *world) {
		p := w.apply(w.plan(w.ingest("night.log.gz"), remedy.Mask))
		w.purge(p)
	}},
	{"tokenise in a versioned bucket, purge", "customers.jsonl", func(w *world) {
		if err := w.objects.SetVersioning(bucket, object.VersioningOn); err != nil {
			w.t.Fatal(err)
		}
		p := w.apply(w.plan(w.ingest("customers.jsonl"), remedy.Tokenise))
		if p.Clean != "current" {
			w.t.Fatalf("clean %s while the planned version still exists", p.Clean)
		}
		w.purge(p)
	}},
	{"delete and restore", "customers.jsonl", func(w *world) {
		p := w.apply(w.plan(w.ingest("customers.jsonl"), remedy.Delete))
		w.undo(p)
		w.original("customers.jsonl", true)
	}},
	{"quarantine and purge", "customers.jsonl", func(w *world) {
		p := w.apply(w.plan(w.ingest("customers.jsonl"), remedy.Quarantine))
		w.purge(p)
		w.inj.Aside(func() {
			if _, err := w.objects.Stat(w.ctx, coffer.Object{Bucket: bucket, Key: "customers.jsonl"}); err == nil {
				w.t.Fatal("the quarantined object is still there")
			}
		})
	}},
}

// moments are the invariants that hold between any two calls: while the object is not the original, the original is kept and
// its key exists, unless it was purged; and a key never outlives the bytes that it opens.
func (w *world) moments(key string) {
	original := md5hex(contents()[key])
	seen := map[string]bool{} // parts of the headers of originals that were kept
	w.inj.Watch(func(_ int, op string) {
		var kept, keyed int
		for info, err := range w.originals.List(w.ctx, remedy.OriginalsBucket, "", "") {
			if err == nil {
				kept++
				seen["H#"+strings.ReplaceAll(info.Key, "/", "#")] = true
			}
		}
		for it, err := range w.headers.Scan(w.ctx, 0, 1) {
			if err == nil && seen[it.Key.Part] {
				keyed++
			}
		}
		info, err := w.objects.Stat(w.ctx, coffer.Object{Bucket: bucket, Key: key})
		changed := err != nil || info.ETag != original
		if changed && !w.purging && (kept == 0 || keyed == 0) {
			w.t.Fatalf("before %s: the object is not the original, and %d originals with %d keys are kept", op, kept, keyed)
		}
		if w.purging && kept == 0 && keyed > 0 {
			w.t.Fatalf("before %s: the kept original is gone and its key is not", op)
		}
	})
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

// schedules runs each story with the faults that give returns for the number of its calls.
func schedules(t *testing.T, give func(calls int) [][]fault.Fault) {
	total := 0
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t)
			from := w.inj.Calls()
			s.run(w)
			calls := w.inj.Calls() - from
			list := give(calls)
			for i, faults := range list {
				if i%stride != 0 {
					continue
				}
				total++
				t.Run(fmt.Sprint(faults), func(t *testing.T) {
					w := newWorld(t, faults...)
					w.moments(s.key)
					s.run(w)
					w.holds()
				})
			}
			t.Logf("%d calls, %d schedules", calls, len(list)/stride)
		})
	}
	t.Logf("%d schedules in all, no violation unless a test above failed", total)
}

// TestEveryCallFails fails each call of each story, before and after its effect, with the process living on and dying.
func TestEveryCallFails(t *testing.T) {
	schedules(t, func(calls int) (out [][]fault.Fault) {
		for k := 1; k <= calls; k++ {
			for _, f := range kinds {
				f.Call = k
				out = append(out, []fault.Fault{f})
			}
		}
		return out
	})
}

// TestPairsOfCallsFail fails two calls of each story: a sample of all pairs, chosen by a fixed seed.
func TestPairsOfCallsFail(t *testing.T) {
	const sample = 150
	rnd := rand.New(rand.NewPCG(1, 2))
	schedules(t, func(calls int) (out [][]fault.Fault) {
		for range sample {
			f, g := kinds[rnd.IntN(len(kinds))], kinds[rnd.IntN(len(kinds))]
			f.Call = 1 + rnd.IntN(calls)
			g.Call = f.Call + 1 + rnd.IntN(calls)
			out = append(out, []fault.Fault{f, g})
		}
		return out
	})
}
