package check_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"coffer/internal/fault"
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
		w.place.version(w.t)
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
		var body []byte
		w.inj.Aside(func() { body = w.place.current("customers.jsonl") })
		if body != nil {
			w.t.Fatal("the quarantined object is still there")
		}
	}},
}

// moments are the invariants that hold between any two calls: while the object is not the original, the original is kept and
// its key exists, unless it was purged; and a key never outlives the bytes that it opens.
func (w *world) moments(key string) {
	original := md5hex(contents()[key])
	seen := map[string]bool{} // parts of the headers of originals that were kept
	w.inj.Watch(func(_ int, op string) {
		kept, keyed := 0, 0
		for _, key := range w.place.kept() {
			kept++
			seen["H#"+strings.ReplaceAll(key, "/", "#")] = true
		}
		for it, err := range w.headers.Scan(w.ctx, 0, 1) {
			if err == nil && seen[it.Key.Part] {
				keyed++
			}
		}
		changed := md5hex(w.place.current(key)) != original
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

// schedules runs each story with the faults that give returns for the number of its calls, every stride-th of them.
func schedules(t *testing.T, stride int, at func(testing.TB) place, give func(calls int) [][]fault.Fault) {
	total := 0
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			w := newWorldIn(t, at(t))
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
					w := newWorldIn(t, at(t), faults...)
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

func inMemory(testing.TB) place { return newMemory() }

// each fails each call, before and after its effect, with the process living on and dying.
func each(calls int) (out [][]fault.Fault) {
	for k := 1; k <= calls; k++ {
		for _, f := range kinds {
			f.Call = k
			out = append(out, []fault.Fault{f})
		}
	}
	return out
}

// pairs fails two calls: a sample of all pairs, chosen by a fixed seed.
func pairs(sample int) func(calls int) [][]fault.Fault {
	rnd := rand.New(rand.NewPCG(1, 2))
	return func(calls int) (out [][]fault.Fault) {
		for range sample {
			f, g := kinds[rnd.IntN(len(kinds))], kinds[rnd.IntN(len(kinds))]
			f.Call = 1 + rnd.IntN(calls)
			g.Call = f.Call + 1 + rnd.IntN(calls)
			out = append(out, []fault.Fault{f, g})
		}
		return out
	}
}

// TestEveryCallFails fails each call of each story.
func TestEveryCallFails(t *testing.T) { schedules(t, stride, inMemory, each) }

// TestPairsOfCallsFail fails two calls of each story.
func TestPairsOfCallsFail(t *testing.T) { schedules(t, stride, inMemory, pairs(150)) }

// cloudStride is the step through the schedules of faults of the cloud adapters, which are many more and slower; all of them run
// with COFFER_TEST_FULL=1.
func cloudStride() int {
	if os.Getenv("COFFER_TEST_FULL") != "" {
		return 1
	}
	return 5 * stride
}

func inCloud(t testing.TB) place { return newCloud(t) }

// TestEveryRequestFails fails each HTTP request that the S3 and KMS adapters make in each story, and each call of the tables. A
// request that fails before its effect is a connection that broke; after it, an answer that was lost.
func TestEveryRequestFails(t *testing.T) { schedules(t, cloudStride(), inCloud, each) }

// TestPairsOfRequestsFail fails two of them.
func TestPairsOfRequestsFail(t *testing.T) { schedules(t, cloudStride(), inCloud, pairs(150)) }
