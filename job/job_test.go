package job_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/audit/audittest"
	"coffer/internal/fault"
	"coffer/job"
	"coffer/store"
	"coffer/store/mem"
)

var (
	operator = access.Caller{ID: "op-1", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}
	stranger = access.Caller{ID: "st-1", Kind: access.UserCaller}
)

// bench is a store with a clock that the test moves.
type bench struct {
	t   *testing.T
	db  *mem.DB
	inj *fault.Injector
	now time.Time
}

func newBench(t *testing.T) *bench {
	inj := fault.New()
	return &bench{t: t, inj: inj, db: &mem.DB{Fault: inj}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// jobs is what one process has of the jobs.
func (b *bench) jobs(worker string) *job.Jobs {
	return &job.Jobs{DB: b.db, Now: func() time.Time { return b.now }, Worker: worker}
}

func (b *bench) guarded(worker string) *job.Jobs {
	b.t.Helper()
	q := b.jobs(worker)
	log := audittest.Open(b.t, b.db, b.t.TempDir(), q.Now, nil)
	b.t.Cleanup(func() { _ = log.Close() })
	p, err := access.Load(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	q.Guard = &audit.Guard{Log: log, Policy: p}
	return q
}

func refs(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("item-%d", i))
	}
	return out
}

func (b *bench) items(id string) []job.Item {
	b.t.Helper()
	var items []job.Item
	b.inj.Aside(func() {
		var err error
		if items, err = b.jobs("looker").Items(context.Background(), id); err != nil {
			b.t.Fatal(err)
		}
	})
	return items
}

func ask(who access.Caller) access.Ask {
	return access.Ask{Caller: who, Context: access.Context{Local: true, Request: "r"}}
}

func TestRun(t *testing.T) {
	b := newBench(t)
	q := b.jobs("w")
	j, err := q.New(t.Context(), operator, "test", map[string]string{"a": "1"}, refs(250)) // more than one Apply holds
	if err != nil {
		t.Fatal(err)
	}
	if got, err := q.Get(t.Context(), j.ID); err != nil || got.State != job.Interrupted || got.Total != 250 || got.Params["a"] != "1" {
		t.Fatalf("before it runs: %+v, %v", got, err)
	}
	var order []string
	told := 0
	work := func(_ context.Context, ref string) (string, error) {
		order = append(order, ref)
		if got, err := b.jobs("other").Get(t.Context(), j.ID); err != nil || got.State != job.Running {
			t.Fatalf("while it runs: %+v, %v", got, err)
		}
		switch ref {
		case "item-3":
			return "", fmt.Errorf("no such thing: %w", coffer.ErrNotFound)
		case "item-5":
			return "", fmt.Errorf("somebody was first: %w", coffer.ErrConflict)
		}
		return "did " + ref, nil
	}
	got, err := q.Run(t.Context(), j.ID, work, func(*job.Job) { told++ })
	if err != nil || got.State != job.Failed || got.Done != 248 || got.Failed != 2 || told != 250 {
		t.Fatalf("%+v, told %d times, %v", got, told, err)
	}
	if !slices.Equal(order, refs(250)) {
		t.Error("not in order")
	}
	items := b.items(j.ID)
	if items[3].State != job.Failed || items[3].Error == "" || items[4].State != job.Done || items[4].Result != "did item-4" {
		t.Errorf("items: %+v", items[3:5])
	}
	// Resuming tries the failed ones again, and only those.
	order = nil
	got, err = b.jobs("w2").Run(t.Context(), j.ID, func(_ context.Context, ref string) (string, error) {
		order = append(order, ref)
		return "", nil
	}, nil)
	if err != nil || got.State != job.Done || got.Done != 250 || got.Failed != 0 || !slices.Equal(order, []string{"item-3", "item-5"}) {
		t.Errorf("%+v, %v, %v", got, order, err)
	}
	if _, err := q.Run(t.Context(), j.ID, work, nil); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("ran a job that is done: %v", err)
	}
	if _, err := q.Get(t.Context(), "job-none"); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("a job that is not there: %v", err)
	}
}

// TestOneWorker: while one worker is at a job another gets a conflict; when the first is gone the other goes on, and the first,
// come back, records nothing more.
func TestOneWorker(t *testing.T) {
	b := newBench(t)
	j, err := b.jobs("a").New(t.Context(), operator, "test", nil, refs(3))
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.jobs("a").Run(t.Context(), j.ID, func(ctx context.Context, ref string) (string, error) {
		if _, err := b.jobs("b").Run(ctx, j.ID, nil, nil); !errors.Is(err, coffer.ErrConflict) {
			t.Errorf("two workers at once: %v", err)
		}
		b.now = b.now.Add(10 * time.Minute) // the process was stopped for longer than its lease
		got, err := b.jobs("b").Run(ctx, j.ID, func(context.Context, string) (string, error) { return "by b", nil }, nil)
		if err != nil || got.State != job.Done {
			t.Errorf("%+v, %v", got, err)
		}
		return "by a", nil
	}, nil)
	if !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("the late worker: %v", err)
	}
	for _, i := range b.items(j.ID) {
		if i.Result != "by b" {
			t.Errorf("%+v", i)
		}
	}
}

func TestCancel(t *testing.T) {
	b := newBench(t)
	q, other := b.guarded("w"), b.guarded("o")
	j, err := q.New(t.Context(), operator, "test", nil, refs(5))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Cancel(t.Context(), ask(stranger), j.ID); !errors.Is(err, coffer.ErrDenied) {
		t.Fatalf("a stranger: %v", err)
	}
	if _, err := other.List(t.Context(), ask(stranger)); !errors.Is(err, coffer.ErrDenied) {
		t.Fatalf("a stranger: %v", err)
	}
	got, err := q.Run(t.Context(), j.ID, func(_ context.Context, ref string) (string, error) {
		if ref == "item-1" {
			if c, err := other.Cancel(t.Context(), ask(operator), j.ID); err != nil || c.State != job.Running {
				t.Errorf("%+v, %v", c, err)
			}
		}
		return "", nil
	}, nil)
	if err != nil || got.State != job.Cancelled || got.Done != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := other.Cancel(t.Context(), ask(operator), j.ID); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("cancelled twice: %v", err)
	}

	// A job that nobody is at ends at once.
	j2, err := q.New(t.Context(), operator, "test", nil, refs(1))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := other.Cancel(t.Context(), ask(operator), j2.ID); err != nil || c.State != job.Cancelled {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := q.Run(t.Context(), j2.ID, nil, nil); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("ran a cancelled job: %v", err)
	}
	b.now = b.now.Add(time.Second)
	if _, err := q.New(t.Context(), operator, "later", nil, nil); err != nil {
		t.Fatal(err)
	}
	list, err := q.List(t.Context(), ask(operator))
	if err != nil || len(list) != 3 || list[0].Kind != "later" {
		t.Errorf("%d jobs, %v", len(list), err)
	}

	// Old ones go, with everything that they left in the store.
	b.now = b.now.Add(31 * 24 * time.Hour)
	if _, err := q.New(t.Context(), operator, "fresh", nil, nil); err != nil {
		t.Fatal(err)
	}
	for it, err := range b.db.Query(t.Context(), "J#"+j.ID, store.Range{}) {
		t.Errorf("left: %v, %v", it.Key, err)
	}
}

// TestInterrupted: the end of the context leaves a job that another call takes up where it stopped.
func TestInterrupted(t *testing.T) {
	b := newBench(t)
	q := b.jobs("w")
	j, err := q.New(t.Context(), operator, "test", nil, refs(4))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = q.Run(ctx, j.ID, func(ctx context.Context, ref string) (string, error) {
		if ref == "item-2" {
			cancel()
			return "", ctx.Err()
		}
		return "", nil
	}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got, err := q.Get(t.Context(), j.ID); err != nil || got.State != job.Interrupted || got.Done != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	n := 0
	got, err := b.jobs("w2").Run(t.Context(), j.ID, func(context.Context, string) (string, error) { n++; return "", nil }, nil)
	if err != nil || got.State != job.Done || n != 2 {
		t.Errorf("%+v, %d, %v", got, n, err)
	}
}

// TestWhatStopsAWorkerIsKept: an outage leaves the job to be resumed, and whoever looks at it is told of it until it is.
func TestWhatStopsAWorkerIsKept(t *testing.T) {
	b := newBench(t)
	q := b.jobs("w")
	j, err := q.New(t.Context(), operator, "test", nil, refs(2))
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Errorf("the other side is away: %w", coffer.ErrUnavailable)
	if _, err := q.Run(t.Context(), j.ID, func(context.Context, string) (string, error) { return "", out }, nil); !errors.Is(err, out) {
		t.Fatal(err)
	}
	if got, err := q.Get(t.Context(), j.ID); err != nil || got.State != job.Interrupted || got.Error != out.Error() || got.Done+got.Failed != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err := q.Run(t.Context(), j.ID, func(context.Context, string) (string, error) { return "", nil }, nil)
	if err != nil || got.State != job.Done || got.Error != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestFaults fails every call of the store, before and after its effect, with a crash; after the restart the job is finished, no
// recorded item is done twice, and the counts are right.
func TestFaults(t *testing.T) {
	stories := 0
	for call := 1; ; call++ {
		hit := false
		for _, when := range []fault.When{fault.Before, fault.After} {
			b := newBench(t)
			b.inj.Arm(fault.Fault{Call: call, When: when, Crash: true})
			j, err := b.jobs("w1").New(t.Context(), operator, "test", nil, refs(6))
			times := map[string]int{}
			work := func(_ context.Context, ref string) (string, error) { times[ref]++; return "", nil }
			if err == nil {
				_, err = b.jobs("w1").Run(t.Context(), j.ID, work, nil)
			}
			if !b.inj.Dead() {
				if err != nil {
					t.Fatal(err)
				}
				continue
			}
			hit = true
			stories++
			b.inj.Restart()
			b.inj.Disarm()
			b.now = b.now.Add(time.Hour)
			if j == nil {
				continue // the job was not made, and nothing was done
			}
			got, err := b.jobs("w2").Get(t.Context(), j.ID)
			if err == nil && got.State != job.Done {
				got, err = b.jobs("w2").Run(t.Context(), j.ID, work, nil)
			}
			if err != nil || got.State != job.Done || got.Done != 6 || got.Failed != 0 {
				t.Fatalf("call %d, %v: %+v, %v", call, when, got, err)
			}
			twice := 0
			for _, n := range times {
				twice += n - 1
			}
			if len(times) != 6 || twice > 1 {
				t.Fatalf("call %d, %v: done %v", call, when, times)
			}
		}
		if !hit {
			break
		}
	}
	t.Logf("%d stories", stories)
}

// TestOwnJobs: who started a job sees it and can stop it, and sees no other.
func TestOwnJobs(t *testing.T) {
	b := newBench(t)
	q := b.guarded("w")
	engineer := access.Caller{ID: "eng-1", Kind: access.UserCaller, Roles: []string{access.RoleEngineer}}
	own, err := q.New(t.Context(), engineer, "test", nil, refs(1))
	if err != nil {
		t.Fatal(err)
	}
	other, err := q.New(t.Context(), operator, "test", nil, refs(1))
	if err != nil {
		t.Fatal(err)
	}
	list, err := q.List(t.Context(), ask(engineer))
	if err != nil || len(list) != 1 || list[0].ID != own.ID {
		t.Errorf("own jobs: %d, %v", len(list), err)
	}
	mine := ask(engineer)
	mine.Context.Requester = own.By
	if c, err := q.Cancel(t.Context(), mine, own.ID); err != nil || c.State != job.Cancelled {
		t.Errorf("own job: %v", err)
	}
	// Who started a job is for the store to say, not for who asks.
	mine.Context.Requester = "eng-1"
	if _, err := q.Cancel(t.Context(), mine, other.ID); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("another's job: %v", err)
	}
}
