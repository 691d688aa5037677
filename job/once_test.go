package job_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coffer"
	"coffer/internal/fault"
	"coffer/job"
	"coffer/store/mem"
)

func mac(label string, data []byte) []byte {
	h := hmac.New(sha256.New, []byte("a key for tests of "+label))
	h.Write(data)
	return h.Sum(nil)
}

func answer(n int64) job.Answer {
	return job.Answer{Status: 201, Body: json.RawMessage(fmt.Sprint(n))}
}

func TestOnceActsOnceForAKey(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	o := &job.Once{DB: &mem.DB{}, Now: func() time.Time { return now }, MAC: mac}
	var acts atomic.Int64
	do := func(caller, key, request string) (job.Answer, bool, error) {
		return o.Do(t.Context(), caller, key, []byte(request), func(context.Context) (job.Answer, error) { return answer(acts.Add(1)), nil })
	}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			a, _, err := do("eve", "key", "request")
			var busy *job.BusyError
			if err != nil && !errors.Is(err, coffer.ErrConflict) && !errors.As(err, &busy) {
				t.Errorf("error %v", err)
			}
			if err == nil && string(a.Body) != "1" {
				t.Errorf("answer %s", a.Body)
			}
		})
	}
	wg.Wait()
	if a, replayed, err := do("eve", "key", "request"); err != nil || !replayed || string(a.Body) != "1" || acts.Load() != 1 {
		t.Errorf("again: %v, replayed %t, %s, %d acts", err, replayed, a.Body, acts.Load())
	}
	var reused *job.ReusedError
	if _, _, err := do("eve", "key", "another"); !errors.As(err, &reused) || !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("another request: %v", err)
	}
	if _, replayed, err := do("bob", "key", "another"); err != nil || replayed || acts.Load() != 2 {
		t.Errorf("another caller: %v, replayed %t", err, replayed)
	}
	if n, err := o.Prune(t.Context()); n != 0 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	now = now.Add(job.KeepAnswers)
	if _, replayed, err := do("eve", "key", "another"); err != nil || replayed {
		t.Errorf("a day later: %v, replayed %t", err, replayed)
	}
	if n, err := o.Prune(t.Context()); n != 1 || err != nil { // bob's
		t.Errorf("pruned %d, %v", n, err)
	}
}

func TestOnceForgetsFailures(t *testing.T) {
	o := &job.Once{DB: &mem.DB{}, Now: time.Now, MAC: mac}
	fails := errors.New("it fails")
	if _, _, err := o.Do(t.Context(), "eve", "key", []byte("a"), func(context.Context) (job.Answer, error) { return job.Answer{}, fails }); !errors.Is(err, fails) {
		t.Errorf("error %v", err)
	}
	if _, replayed, err := o.Do(t.Context(), "eve", "key", []byte("b"), func(context.Context) (job.Answer, error) { return answer(1), nil }); err != nil || replayed {
		t.Errorf("after a failure: %v, replayed %t", err, replayed)
	}
}

// TestOnceUnderFaults fails each call of the store in turn, before and after its effect, and demands that repeating the request ends
// with one answer, that of the last act, and that what the act creates under its attempt's name is there once.
func TestOnceUnderFaults(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			db := &mem.DB{}
			now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			o := &job.Once{DB: db, Now: func() time.Time { return now }, MAC: mac}
			made := map[string]bool{}
			try := func() (job.Answer, error) {
				a, _, err := o.Do(t.Context(), "eve", "key", []byte("request"), func(context.Context) (job.Answer, error) {
					made[o.Attempt("eve", "key")] = true
					return answer(int64(len(made))), nil
				})
				return a, err
			}
			when := fault.Before
			if after {
				when = fault.After
			}
			db.Fault = fault.New(fault.Fault{Call: n, When: when})
			_, first := try()
			if db.Fault.Calls() < n {
				if first != nil {
					t.Fatalf("no fault and error %v", first)
				}
				break
			}
			db.Fault.Disarm()
			var err error
			var a job.Answer
			for range 3 {
				if a, err = try(); err == nil {
					break
				}
				now = now.Add(2 * time.Minute) // leases of the dead end
			}
			if err != nil || string(a.Body) != "1" || len(made) != 1 {
				t.Errorf("fault at call %d, after %t: first %v, then %v, answer %s, %d things made", n, after, first, err, a.Body, len(made))
			}
		}
	}
}
