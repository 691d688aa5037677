package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/internal/fault"
	"coffer/store"
	"coffer/store/mem"
)

// life is one process's work on a log: changes with their entries, entries alone, deferred ones, sequencing in between. It
// goes on after every error, as a server would, and reports what it was told about each act.
type life struct {
	done    []string // acts that were acknowledged
	refused []string // acts of which it was said that they were not done
}

func (w *life) told(act string, err error) {
	switch {
	case err == nil:
		w.done = append(w.done, act)
	case errors.Is(err, coffer.ErrUnavailable), errors.Is(err, coffer.ErrConflict):
		w.refused = append(w.refused, act)
	}
}

func (w *life) live(l *audit.Log, reveal, list *audit.Permit) {
	ctx := context.Background()
	apply := func(act string) {
		e := reveal.Entry(audit.Done)
		e.Plan = act
		_, err := l.Apply(ctx, e, put(act, "v-"+act, store.Absent))
		w.told(act, err)
	}
	apply("a1")
	apply("a2")
	if err := l.Sequence(ctx); err == nil {
		apply("a3")
	}
	// A conflict in the middle: the item is there if a1 was.
	e := reveal.Entry(audit.Done)
	e.Plan = "conflict"
	_, _ = l.Apply(ctx, e, store.Op{Verb: store.Check, Item: store.Item{Key: store.Key{Part: "t", Sort: "a1"}}, Expect: "other"})
	apply("a4")
	for i := range 2 {
		e := list.Entry(audit.Done)
		e.Plan = fmt.Sprint("later", i)
		_ = l.Later(ctx, e)
	}
	_ = l.Sequence(ctx)
	apply("a5")
	_ = l.Close()
}

// run lives one life with faults and a second without, and checks everything that was promised. It returns the number of calls
// that the first life made.
func run(t *testing.T, key *audit.Key, faults ...fault.Fault) int {
	t.Helper()
	in := fault.New(faults...)
	db := &mem.DB{Fault: in}
	memory := &audit.Memory{}
	clock := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	open := func(call func(string, func() error) error) *audit.Log {
		l, err := audit.Open(context.Background(), audit.Config{
			DB: db, Key: key, Scrub: scrub,
			Files: putting{memory, func(name string, data []byte) error {
				return call("file.put", func() error { return memory.Put(name, data) })
			}},
			Now: func() time.Time { clock = clock.Add(time.Millisecond); return clock },
		})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	permits := func(l *audit.Log) (*audit.Permit, *audit.Permit) {
		// No name, so that the calls counted are those of the log.
		who := access.Caller{ID: "op-1", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}
		how := access.Context{Local: true, Reason: "audit", Note: "quarterly check"}
		reveal, err := guard(l).Check(context.Background(), who, access.ValueReveal, finding, how)
		if err != nil {
			t.Fatal(err)
		}
		list, err := guard(l).Check(context.Background(), who, access.FindingList, access.Resource{Kind: access.System}, how)
		if err != nil {
			t.Fatal(err)
		}
		return reveal, list
	}
	what := fmt.Sprint(faults)

	var w life
	l := open(in.Call)
	reveal, list := permits(l)
	w.live(l, reveal, list)
	calls := in.Calls()

	in.Restart()
	db.Fault = nil
	clock = clock.Add(audit.LeaseFor + time.Second)
	l = open(func(_ string, effect func() error) error { return effect() })
	reveal, _ = permits(l)
	e := reveal.Entry(audit.Done)
	e.Plan = "last"
	if _, err := l.Append(context.Background(), e); err != nil {
		t.Fatalf("%s: after restart: %v", what, err)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("%s: after restart: %v", what, err)
	}
	r, err := audit.Verify(context.Background(), memory.FS(), audit.VerifyOptions{Key: l.VerifierKey(), DB: db})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if r.Err() != nil || r.Pending != 0 {
		t.Fatalf("%s: %v, pending %d\n%v", what, r.Err(), r.Pending, r.Problems)
	}
	recorded := make(map[string]int)
	for e, err := range l.Entries(context.Background(), audit.Filter{}) {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if e.Index < 0 {
			t.Fatalf("%s: an entry is not sequenced", what)
		}
		recorded[e.Plan]++
	}
	for act, n := range recorded {
		if n != 1 {
			t.Fatalf("%s: %s is recorded %d times", what, act, n)
		}
	}
	if recorded["last"] != 1 || recorded["conflict"] != 0 {
		t.Fatalf("%s: recorded %v", what, recorded)
	}
	for _, act := range []string{"a1", "a2", "a3", "a4", "a5"} {
		_, err := db.Get(context.Background(), store.Key{Part: "t", Sort: act})
		if (err == nil) != (recorded[act] == 1) {
			t.Fatalf("%s: change %s: %v, recorded %d times", what, act, err, recorded[act])
		}
	}
	if len(faults) == 1 && !faults[0].Crash && len(w.done)+skipped(&w) != 5 {
		t.Fatalf("%s: acknowledged only %v although the store failed once", what, w.done)
	}
	for _, act := range w.done {
		if recorded[act] != 1 {
			t.Fatalf("%s: %s was acknowledged and is lost", what, act)
		}
	}
	for _, act := range w.refused {
		if recorded[act] != 0 {
			t.Fatalf("%s: %s was refused and is recorded", what, act)
		}
	}
	return calls
}

// skipped counts the act that is not tried when the first sequencing failed.
func skipped(w *life) int {
	if slices.Contains(w.done, "a3") {
		return 0
	}
	return 1
}

// TestFaults fails every call of the store and of the files, before and after its effect, alone and in pairs, with and without
// the process dying there.
func TestFaults(t *testing.T) {
	h := newHome(t)
	closeLog(t, h.open())
	key, err := audit.KeyFile(h.key())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(h.log(), 0o700); err != nil {
		t.Fatal(err)
	}
	calls := run(t, key)
	runs := 1
	whens := []fault.When{fault.Before, fault.After}
	for k := 1; k <= calls; k++ {
		for _, when := range whens {
			for _, crash := range []bool{false, true} {
				run(t, key, fault.Fault{Call: k, When: when, Crash: crash})
				runs++
			}
		}
	}
	// Pairs: the second within reach of the first's repair; all of them when COFFER_TEST_FULL is set. A crash ends the pair.
	reach := 3
	switch {
	case os.Getenv("COFFER_TEST_FULL") != "":
		reach = calls
	case testing.Short() || raceEnabled:
		reach = 1
	}
	for k := 1; k <= calls; k++ {
		for j := k + 1; j <= k+reach; j++ {
			for _, first := range whens {
				for _, second := range whens {
					for _, crash := range []bool{false, true} {
						run(t, key, fault.Fault{Call: k, When: first}, fault.Fault{Call: j, When: second, Crash: crash})
						runs++
					}
				}
			}
		}
	}
	t.Logf("%d calls in a life, %d lives with faults", calls, runs)
}

// lateDB lets one call of Apply fail and take effect later, as a request that was still on its way does.
type lateDB struct {
	store.DB
	delay int // calls of Apply that fail from now on
	late  [][]store.Op
}

func (d *lateDB) Apply(ctx context.Context, ops ...store.Op) error {
	if d.delay > 0 {
		d.delay--
		d.late = append(d.late, slices.Clone(ops))
		return context.DeadlineExceeded
	}
	return d.DB.Apply(ctx, ops...)
}

// TestLateArrival: what was refused cannot take effect afterwards, and what may still take effect is not refused.
func TestLateArrival(t *testing.T) {
	for delay := range 4 {
		h := newHome(t)
		db := &lateDB{DB: h.db}
		h.db = db
		l := h.open()
		appendN(t, l, 2)
		p := permit(t, l)
		db.delay = delay
		_, err := l.Apply(context.Background(), p.Entry(audit.Done), put("x", "1", store.Absent))
		if (err == nil) != (delay < 2) || (delay == 2) != errors.Is(err, coffer.ErrUnavailable) {
			t.Fatalf("%d calls delayed: %v", delay, err)
		}
		for _, ops := range db.late {
			_ = db.DB.Apply(context.Background(), ops...)
		}
		if _, gerr := db.Get(context.Background(), store.Key{Part: "t", Sort: "x"}); errors.Is(err, coffer.ErrUnavailable) && gerr == nil {
			t.Errorf("%d calls delayed: a change that was refused took effect", delay)
		}
		appendN(t, l, 2)
		closeLog(t, l)
		h.sound()
	}
}

// TestStaleHolder: a process that was stopped in the middle of writing its files, for longer than its lease, does not put them
// over those of its successor.
func TestStaleHolder(t *testing.T) {
	h := newHome(t)
	b := h.open()
	stopped := false
	a := h.openWith(func(name string, data []byte) error {
		if !stopped {
			stopped = true
			h.pass(audit.LeaseFor + time.Second)
			appendN(t, b, 10)
			if err := b.Sequence(context.Background()); err != nil {
				t.Error(err)
			}
			if n := h.sound().Checkpoint.Size; n != 20 {
				t.Errorf("the successor's checkpoint is over %d entries", n)
			}
		}
		path := filepath.Join(h.log(), filepath.FromSlash(name))
		if name == "checkpoint" {
			t.Error("the stale process writes its checkpoint")
		}
		return os.WriteFile(path, data, 0o600)
	})
	appendN(t, a, 10)
	if err := a.Sequence(context.Background()); err != nil {
		t.Error(err)
	}
	if n := h.sound().Checkpoint.Size; n != 20 {
		t.Errorf("the checkpoint is over %d entries", n)
	}
	closeLog(t, a)
	closeLog(t, b)
}

// pausingDB lets a test act between any read of an item and what the reader makes of it.
type pausingDB struct {
	store.DB
	pause func()
}

func (d *pausingDB) Get(ctx context.Context, k store.Key) (store.Item, error) {
	it, err := d.DB.Get(ctx, k)
	if f := d.pause; f != nil {
		d.pause = nil
		f()
	}
	return it, err
}

// TestOvertaken: a process that read the head just before another one sequenced does not take the newer files for damage.
func TestOvertaken(t *testing.T) {
	h := newHome(t)
	b := h.open()
	appendN(t, b, 3)
	if err := b.Sequence(context.Background()); err != nil {
		t.Fatal(err)
	}
	db := &pausingDB{DB: h.db}
	h.db = db
	a := h.open()
	appendN(t, a, 3)
	db.pause = func() {
		appendN(t, b, 3)
		if err := b.Sequence(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if err := a.Sequence(context.Background()); err != nil {
		t.Error(err)
	}
	if n := h.sound().Checkpoint.Size; n != 9 {
		t.Errorf("the checkpoint is over %d entries, want 9", n)
	}
	closeLog(t, a)
	closeLog(t, b)
}

// TestStoreComesBack: while the store is down is acknowledged, and the same process goes on when it is up.
func TestStoreComesBack(t *testing.T) {
	for _, when := range []fault.When{fault.Before, fault.After} {
		h := newHome(t)
		db := &mem.DB{}
		h.db = db
		l := h.open()
		appendN(t, l, 3)
		// From the next call on every call fails; the first may have had its effect.
		db.Fault = fault.New(fault.Fault{Call: 1, When: when, Crash: true})
		p := permit(t, l)
		for range 3 {
			if _, err := l.Apply(context.Background(), p.Entry(audit.Done), put("x", "1", store.Absent)); err == nil || errors.Is(err, coffer.ErrConflict) {
				t.Fatalf("with the store down: %v", err)
			}
			if _, err := l.Append(context.Background(), p.Entry(audit.Done)); !errors.Is(err, coffer.ErrUnavailable) {
				t.Fatalf("with the store down: %v", err)
			}
		}
		db.Fault.Restart()
		if _, err := l.Apply(context.Background(), p.Entry(audit.Done), put("x", "1", store.Absent)); err != nil {
			t.Fatal(err)
		}
		appendN(t, l, 2)
		closeLog(t, l)
		if n := h.sound().Checkpoint.Size; n != 6 && (when == fault.Before || n != 7) {
			t.Errorf("%d entries", n)
		}
	}
}
