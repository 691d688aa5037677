package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/audit/audittest"
	"coffer/grant"
	"coffer/object"
	"coffer/pipeline"
	"coffer/remedy"
	"coffer/store"
	"coffer/triage"
)

// expectations are stories about single promises. They are run as they are, and again with each planted bug.
var expectations = []story{
	{"a rescan is linked", "payouts.csv", func(w *world) {
		id := w.ingest("payouts.csv")
		f := w.finding("payouts.csv")
		f.ID = strings.Repeat("e", 32)
		w.now = w.now.Add(time.Minute)
		res, err := w.a.Pipeline.Take(w.ctx, w.ask(), f)
		if err != nil || res.Status != pipeline.Sealed || res.Sealed != 2 {
			w.t.Fatalf("rescan: %v, %s, %d sealed", err, res.Status, res.Sealed)
		}
		rec, err := w.a.Records.Get(w.ctx, f.ID)
		if err != nil || rec.Rescan != id {
			w.t.Fatalf("rescan of %q: %v", rec.Rescan, err)
		}
		boxes := 0
		for it, err := range w.db.Scan(w.ctx, 0, 1) {
			if err == nil && strings.HasPrefix(it.Key.Part, "V#"+f.ID) {
				boxes++
			}
		}
		if boxes != 0 {
			w.t.Fatal("the values of a rescan are sealed twice")
		}
		got, err := w.a.Vault.Reveal(w.ctx, w.reason(), f.ID)
		if err != nil || len(got) != 2 {
			w.t.Fatalf("reveal through the link: %d values, %v", len(got), err)
		}
	}},
	{"a repeated event changes nothing", "payouts.csv", func(w *world) {
		w.ingest("payouts.csv")
		before := w.items()
		w.ingest("payouts.csv")
		w.ingest("payouts.csv")
		if after := w.items(); before != after {
			w.t.Fatalf("%d items became %d", before, after)
		}
	}},
	{"foreign bytes are never lost", "payouts.csv", func(w *world) {
		foreign := []byte("id,bank_account_number\r\n9,written by somebody else\r\n")
		p := w.plan(w.ingest("payouts.csv"), remedy.Redact)
		w.place.put("payouts.csv", foreign, object.Attrs{})
		p, err := w.a.Remedy.Apply(w.ctx, w.ask(), p.ID, remedy.Closing{})
		if err != nil || p.State != remedy.Conflict {
			w.t.Fatalf("apply over a foreign write: %s, %v", p.State, err)
		}
		w.holdsBytes("payouts.csv", foreign)
	}},
	{"undo leaves foreign bytes alone", "payouts.csv", func(w *world) {
		foreign := []byte("id,bank_account_number\r\n9,written by somebody else\r\n")
		p := w.apply(w.plan(w.ingest("payouts.csv"), remedy.Redact))
		w.place.put("payouts.csv", foreign, object.Attrs{})
		if _, err := w.a.Remedy.Undo(w.ctx, w.ask(), p.ID); !errors.Is(err, coffer.ErrConflict) {
			w.t.Fatalf("undo over a foreign write: %v", err)
		}
		w.holdsBytes("payouts.csv", foreign)
	}},
	{"no fix without sealed values", "payouts.csv", func(w *world) {
		p := w.plan(w.ingest("payouts.csv"), remedy.Redact)
		for it, err := range w.db.Scan(w.ctx, 0, 1) {
			if err == nil && strings.HasPrefix(it.Key.Part, "V#") {
				if err := w.db.Apply(w.ctx, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: it.Key}}); err != nil {
					w.t.Fatal(err)
				}
			}
		}
		if p, err := w.a.Remedy.Apply(w.ctx, w.ask(), p.ID, remedy.Closing{}); err == nil {
			w.t.Fatalf("a fix was %s although the sealed values are gone", p.State)
		}
		w.original("payouts.csv", true)
		w.broken = true
	}},
	{"a store that loses what it acknowledged", "payouts.csv", func(w *world) {
		lost := false
		w.inj.Watch(func(_ int, op string) {
			if op != "store.Get" || lost {
				return
			}
			for it, err := range w.db.Scan(w.ctx, 0, 1) {
				if err == nil && strings.HasPrefix(it.Key.Part, "V#") {
					lost = true
					if err := w.db.Apply(w.ctx, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: it.Key}}); err != nil {
						w.t.Fatal(err)
					}
				}
			}
		})
		if _, err := w.a.Pipeline.Take(w.ctx, w.ask(), w.finding("payouts.csv")); err == nil {
			w.t.Fatal("values that the store lost count as sealed")
		}
		w.inj.Watch(nil)
		w.ingest("payouts.csv")
	}},
	{"no record, no reveal", "payouts.csv", func(w *world) {
		id := w.ingest("payouts.csv")
		got, err := w.a.Vault.Reveal(w.ctx, w.reason(), id, 1)
		if err != nil || len(got) != 1 {
			w.t.Fatalf("reveal: %d values, %v", len(got), err)
		}
		// Every Unwrap of a reveal has an entry before it: with a log that cannot be written no key is asked for.
		unwrapped := 0
		w.inj.Watch(func(_ int, op string) {
			if op == "envelope.Unwrap" {
				unwrapped++
			}
		})
		broken := *w.a.Vault
		log := audittest.Open(w.t, refusing{w.a.DB}, w.t.TempDir(), w.a.Now, nil)
		broken.Guard = &audit.Guard{Log: log, Policy: w.a.Policy}
		broken.Grants = &grant.Grants{DB: w.a.DB, Records: w.a.Records, Guard: broken.Guard, Scrub: w.a.Scrub, Now: w.a.Now}
		whole := w.a.Vault.Grants
		broken.Grants = &grant.Grants{DB: whole.DB, Records: whole.Records, Guard: broken.Guard, Scrub: whole.Scrub, Now: whole.Now, Rules: whole.Rules}
		got, err = broken.Reveal(w.ctx, w.reason(), id, 1)
		w.inj.Watch(nil)
		if len(got) > 0 || unwrapped > 0 || !errors.Is(err, coffer.ErrUnavailable) {
			w.t.Fatalf("reveal without a log: %d values, %d keys unwrapped, %v", len(got), unwrapped, err)
		}
	}},
	{"card authentication data is never sealed", "terminals.csv", func(w *world) {
		w.put("terminals.csv", []byte("card,cvv\n4000001234567899,731\n"))
		f := w.finding("payouts.csv")
		body := []byte("card,cvv\n4000001234567899,731\n")
		f.ID, f.Object.Key, f.Object.ETag, f.Size = strings.Repeat("c", 32), "terminals.csv", md5hex(body), int64(len(body))
		f.Occurrences = []coffer.Occurrence{{N: 1, Type: coffer.CardSecurityCode, At: coffer.Location{Kind: coffer.Cell, Row: 2, Column: 2}, Source: coffer.FromFinding}}
		f.Detections = []coffer.Detection{{Type: coffer.CardSecurityCode, Category: "FINANCIAL_INFORMATION", Count: 1}}
		res, err := w.a.Pipeline.Take(w.ctx, w.ask(), f)
		if err != nil || res.Sealed != 0 || res.Status != pipeline.Unsealed {
			w.t.Fatalf("%d sealed, %s, %v", res.Sealed, res.Status, err)
		}
	}},
	{"undo ends with the grace period", "payouts.csv", func(w *world) {
		p := w.apply(w.plan(w.ingest("payouts.csv"), remedy.Redact))
		w.now = w.now.Add(remedy.DefaultGrace + time.Hour)
		if _, err := w.a.Remedy.Undo(w.ctx, w.ask(), p.ID); !errors.Is(err, coffer.ErrConflict) {
			w.t.Fatalf("undo after the grace period: %v", err)
		}
	}},
	{"undo goes back in order", "customers.jsonl", func(w *world) {
		id := w.ingest("customers.jsonl")
		first := w.apply(w.plan(id, remedy.Mask))
		second := w.apply(w.plan(id, remedy.Quarantine))
		if _, err := w.a.Remedy.Undo(w.ctx, w.ask(), first.ID); !errors.Is(err, coffer.ErrConflict) || !strings.Contains(err.Error(), second.ID) {
			w.t.Fatalf("undo under a later plan: %v", err)
		}
		w.undo(second)
		w.undo(first)
		w.original("customers.jsonl", true)
	}},
}

// refusing is a store that takes no entries of the log.
type refusing struct{ store.DB }

func (refusing) Apply(context.Context, ...store.Op) error {
	return fmt.Errorf("disk full: %w", coffer.ErrUnavailable)
}

func (w *world) reason() access.Ask {
	a := w.ask()
	a.Context.Reason, a.Context.Note = "investigation", "looking at the story"
	return a
}

// items counts what the stores hold, the log's own entries and the counters of arrivals apart.
func (w *world) items() int {
	n := 0
	for _, db := range []store.DB{w.db, w.headers} {
		for it, err := range db.Scan(w.ctx, 0, 1) {
			if err == nil && !strings.HasPrefix(it.Key.Part, "audit") && it.Key.Part != "people" {
				n++
			}
		}
	}
	return n
}

func (w *world) holdsBytes(key string, want []byte) {
	w.t.Helper()
	body, err := w.objects.Open(w.ctx, coffer.Object{Bucket: bucket, Key: key})
	if err != nil {
		w.t.Fatalf("object %s: %v", key, err)
	}
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, want) {
		w.t.Fatalf("object %s does not hold what somebody else wrote", key)
	}
}

func TestExpectations(t *testing.T) {
	for _, s := range expectations {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t)
			s.run(w)
			if !w.broken {
				w.holds()
			}
		})
	}
}

// TestForeignWriterAtEveryCall has somebody else write the object before each call of an apply and of an undo: whatever the
// outcome, those bytes are there in the end.
func TestForeignWriterAtEveryCall(t *testing.T) {
	foreign := []byte("id,bank_account_number\r\n9,written by somebody else\r\n")
	for _, undo := range []bool{false, true} {
		n := 0
		for k := 1; ; k++ {
			w := newWorld(t)
			p := w.plan(w.ingest("payouts.csv"), remedy.Redact)
			if undo {
				p = w.apply(p)
			}
			from, wrote := w.inj.Calls(), false
			w.inj.Watch(func(call int, _ string) {
				if call == from+k {
					wrote = true
					w.place.put("payouts.csv", foreign, object.Attrs{})
				}
			})
			var err error
			if undo {
				_, err = w.a.Remedy.Undo(w.ctx, w.ask(), p.ID)
			} else {
				_, err = w.a.Remedy.Apply(w.ctx, w.ask(), p.ID, remedy.Closing{})
			}
			w.inj.Watch(nil)
			if !wrote {
				break
			}
			if err != nil && !coffer.Permanent(err) && !errors.Is(err, coffer.ErrConflict) {
				t.Fatalf("undo %t, write before call %d: %v", undo, k, err)
			}
			w.holdsBytes("payouts.csv", foreign)
			n++
		}
		t.Logf("undo %t: %d interleavings", undo, n)
	}
}

// TestTwoWorkers has two workers take in the same finding and apply the same plan at once: one sealed record, one rewrite.
func TestTwoWorkers(t *testing.T) {
	for range 30 / min(stride, 6) {
		w := newWorld(t)
		second := *w
		second.start()
		both := func(f func(w *world) error) {
			var wg sync.WaitGroup
			for _, worker := range []*world{w, &second} {
				wg.Go(func() {
					for range 50 {
						err := f(worker)
						if err == nil {
							return
						}
						if !errors.Is(err, coffer.ErrConflict) {
							t.Errorf("worker: %v", err)
							return
						}
					}
				})
			}
			wg.Wait()
		}
		f := w.finding("payouts.csv")
		both(func(w *world) error {
			_, err := w.a.Pipeline.Take(w.ctx, w.ask(), f)
			return err
		})
		p := w.plan(f.ID, remedy.Redact)
		both(func(w *world) error {
			q, err := w.a.Remedy.Apply(w.ctx, w.ask(), p.ID, remedy.Closing{})
			if err == nil && q.State != remedy.Applied {
				t.Errorf("state %s: %s", q.State, q.Reason)
			}
			return err
		})
		rec, err := w.a.Records.Get(w.ctx, f.ID)
		if err != nil || rec.Sealed != 2 || rec.Status != triage.Fixed {
			t.Fatalf("%d sealed, %s, %v", rec.Sealed, rec.Status, err)
		}
		r := w.check(true)
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
	}
}
