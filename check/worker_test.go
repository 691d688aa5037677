package check_test

import (
	"testing"

	"coffer/pipeline"
	"coffer/triage"
)

// TestSecondWorkerAtEveryCall has a second worker take in the same finding, and a person judge it, before each call of the first
// worker: the values are sealed and named once, and the verdict stands.
func TestSecondWorkerAtEveryCall(t *testing.T) {
	k := 1
	for ; ; k++ {
		w := newWorld(t)
		second := *w
		second.start()
		f := w.finding("payouts.csv")
		from, came := w.inj.Calls(), false
		w.inj.Watch(func(call int, op string) {
			if call != from+k {
				return
			}
			came = true
			res, err := second.a.Pipeline.Take(w.ctx, w.ask(), f)
			if err != nil || res.Status != pipeline.Sealed {
				t.Errorf("second worker before call %d, %s: %s, %v", k, op, res.Status, err)
			}
			if _, err := second.a.Desk.Judge(w.ctx, w.ask(), triage.Target{Finding: f.ID, N: 1}, triage.Intended, "seen by a person"); err != nil {
				t.Errorf("verdict before call %d, %s: %v", k, op, err)
			}
		})
		res, err := w.a.Pipeline.Take(w.ctx, w.ask(), f)
		w.inj.Watch(nil)
		if err != nil || res.Status != pipeline.Sealed || res.Sealed != 2 {
			t.Errorf("first worker, joined before call %d: %s, %d sealed, %v", k, res.Status, res.Sealed, err)
		}
		lines, err := w.a.Records.Lines(w.ctx, f.ID)
		if err != nil || len(lines) != 2 || !lines[0].Sealed || !lines[1].Sealed {
			t.Errorf("joined before call %d: %d lines, %v", k, len(lines), err)
		} else if came && lines[0].Verdict != triage.Intended {
			t.Errorf("joined before call %d: the verdict is lost", k)
		}
		if got, err := w.a.Vault.Reveal(w.ctx, w.reason(), f.ID); err != nil || len(got) != 2 {
			t.Errorf("joined before call %d: %d values, %v", k, len(got), err)
		}
		w.holds()
		if !came {
			break
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d interleavings", k-1)
}
