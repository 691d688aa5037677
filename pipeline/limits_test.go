package pipeline_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"coffer"
	"coffer/pipeline"
	"coffer/triage"
)

// archived makes a zip with the body of an object, and a finding about it at the place in it.
func (w *world) archived(i int) coffer.Finding {
	w.t.Helper()
	f := w.finding(i, began.Add(-time.Hour), false)
	var z bytes.Buffer
	zw := zip.NewWriter(&z)
	m, err := zw.Create("a.csv")
	if err == nil {
		_, err = fmt.Fprintf(m, "id,bank_account_number\r\n1,%d\r\n", 1405270021+i)
	}
	if err := errors.Join(err, zw.Close()); err != nil {
		w.t.Fatal(err)
	}
	f.Object.Key = fmt.Sprintf("f/%d.zip", i)
	f.Object.ETag, f.Size, f.MIMEType = w.put(bucket, f.Object.Key, z.Bytes()), int64(z.Len()), "application/zip"
	f.Occurrences[0].At, err = coffer.ParseLocation("a.csv!cell:R2C2")
	if err != nil {
		w.t.Fatal(err)
	}
	w.result(i, f) // the event has no place for places inside archives
	return f
}

// TestLimits: what is exactly as large as the limit is taken in, and one byte more is left to a worker: received, with the reason for whoever
// looks, and not a byte of it sealed. The worker seals it.
func TestLimits(t *testing.T) {
	for name, x := range map[string]struct {
		make   func(*world, int) coffer.Finding
		limits func(size int64) pipeline.Limits
		left   bool
	}{
		"an object at the limit":                  {plain, func(n int64) pipeline.Limits { return pipeline.Limits{Object: n} }, false},
		"an object beyond it":                     {plain, func(n int64) pipeline.Limits { return pipeline.Limits{Object: n - 1} }, true},
		"no archive beyond the limit of archives": {plain, func(n int64) pipeline.Limits { return pipeline.Limits{Object: n, Archive: 1} }, false},
		"an archive at the limit":                 {(*world).archived, func(n int64) pipeline.Limits { return pipeline.Limits{Object: n, Archive: n} }, false},
		"an archive beyond it":                    {(*world).archived, func(n int64) pipeline.Limits { return pipeline.Limits{Object: n, Archive: n - 1} }, true},
		"an archive without a limit":              {(*world).archived, func(n int64) pipeline.Limits { return pipeline.Limits{Object: n} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.api = nil
			w.start()
			f := x.make(w, 1)
			w.a.Pipeline.Limits = x.limits(f.Size)
			res, err := w.event(f)
			if err != nil || res.Left != x.left || (res.Status == pipeline.Sealed) == x.left {
				t.Fatalf("taken in: %s (%s), left %t, %v", res.Status, res.Reason, res.Left, err)
			}
			if !x.left {
				if _, err := w.a.Pipeline.Resume(t.Context(), w.ask(), f.ID); err != nil {
					t.Errorf("one that is taken in is left as it is: %v", err)
				}
				return
			}
			w.waits(f.ID)
			before := w.items()
			if res, err := w.event(f); err != nil || !res.Left { // the event comes again
				t.Errorf("again: left %t, %v", res.Left, err)
			}
			if n := w.items(); n != before {
				t.Errorf("the event that came again made %d entries in the log", n-before)
			}
			if res, err := w.a.Pipeline.Resume(t.Context(), w.ask(), f.ID); !errors.Is(err, coffer.ErrLimit) || !res.Left {
				t.Errorf("resumed where it is too large, too: %v", err)
			}
			w.waits(f.ID)

			w.a.Pipeline.Limits = pipeline.Limits{}
			for range 2 {
				if res, err := w.a.Pipeline.Resume(t.Context(), w.ask(), f.ID); err != nil || res.Status != pipeline.Sealed || res.Sealed != 1 {
					t.Errorf("a worker: %s, %v", res.Status, err)
				}
			}
			rec, arrival := w.seen(f.ID)
			if rec.State != triage.StateSealed || rec.Reason != "" || arrival.Status != pipeline.Sealed || arrival.Reason != "" || arrival.Sealed != 1 {
				t.Errorf("afterwards: the record %s %q, the arrival %s %q", rec.State, rec.Reason, arrival.Status, arrival.Reason)
			}
		})
	}
	w := newWorld(t)
	if _, err := w.a.Pipeline.Resume(t.Context(), w.ask(), "unheard-of"); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("one that was never received: %v", err)
	}
}

func plain(w *world, i int) coffer.Finding { return w.finding(i, began.Add(-time.Hour), false) }

// seen is what a person sees of a finding and of its arrival.
func (w *world) seen(id string) (*triage.Record, pipeline.Arrival) {
	w.t.Helper()
	rec, err := w.a.Records.Get(w.ctx, id)
	if err != nil {
		w.t.Fatal(err)
	}
	for a, err := range w.a.Pipeline.Arrivals(w.ctx) {
		if err != nil {
			w.t.Fatal(err)
		}
		if a.Finding == id {
			return rec, a
		}
	}
	w.t.Fatal("no arrival")
	return nil, pipeline.Arrival{}
}

func (w *world) waits(id string) {
	w.t.Helper()
	const reason = "waits for a worker: the object is too large for a function"
	rec, arrival := w.seen(id)
	if rec.State != triage.StateReceived || rec.Reason != reason || rec.Sealed != 0 || arrival.Status != pipeline.Skipped || arrival.Reason != reason {
		w.t.Errorf("the record: %s %q, the arrival: %s %q", rec.State, rec.Reason, arrival.Status, arrival.Reason)
	}
}

// items is how many items the store has: an entry of the log more is an item more.
func (w *world) items() int {
	w.t.Helper()
	n := 0
	for _, err := range w.db.Scan(w.ctx, 0, 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

// TestResumeBesideAnother has another worker take the same finding in before each call of the first: both end well.
func TestResumeBesideAnother(t *testing.T) {
	k := 1
	for ; ; k++ {
		w := newWorld(t)
		w.api = nil
		w.start()
		other := w.a
		w.start()
		f := plain(w, 1)
		w.a.Pipeline.Limits = pipeline.Limits{Object: 1}
		if res, err := w.event(f); err != nil || !res.Left {
			t.Fatal(err)
		}
		w.a.Pipeline.Limits = pipeline.Limits{}
		from, came := w.inj.Calls(), false
		w.inj.Watch(func(call int, _ string) {
			if call != from+k {
				return
			}
			came = true
			if _, err := other.Pipeline.Resume(w.ctx, w.ask(), f.ID); err != nil {
				t.Errorf("the other, before call %d: %v", k, err)
			}
		})
		res, err := w.a.Pipeline.Resume(w.ctx, w.ask(), f.ID)
		w.inj.Watch(nil)
		if err != nil || res.Status != pipeline.Sealed || res.Sealed != 1 {
			t.Errorf("joined before call %d: %s, %v", k, res.Status, err)
		}
		if !came {
			break
		}
	}
	if k < 10 {
		t.Errorf("only %d interleavings", k-1)
	}
	t.Logf("%d interleavings", k-1)
}
