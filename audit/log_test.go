package audit_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/internal/fault"
	"coffer/store"
	"coffer/store/mem"
)

func TestGuardRecordsDenials(t *testing.T) {
	h := newHome(t)
	l := h.open()
	ctx := context.Background()
	g := guard(l)
	local := access.Context{Local: true, Reason: "audit", Note: "quarterly check"}
	for _, test := range []struct {
		name   string
		who    access.Caller
		action access.Action
		on     access.Resource
		how    access.Context
		says   string
	}{
		{"short note", operator, access.ValueReveal, finding, access.Context{Local: true, Reason: "audit", Note: "short"}, "reveal-needs-reason"},
		{"unlisted reason", operator, access.ValueReveal, finding, access.Context{Local: true, Reason: "curiosity", Note: "quarterly check"}, "reason-code"},
		{"no role", access.Caller{ID: "u-1", Kind: access.UserCaller}, access.FindingRead, finding, local, "no policy permits"},
		{"unknown action", operator, "value.print", finding, local, "could not be evaluated"},
		{"no origin", operator, access.ValueReveal, access.Resource{Kind: access.Finding, ID: "f-2"}, local, "could not be evaluated"},
	} {
		p, err := g.Check(ctx, test.who, test.action, test.on, test.how)
		if p != nil || !errors.Is(err, coffer.ErrDenied) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, %v", test.name, p, err)
		}
		entries := all(t, l, audit.Filter{Newest: true})
		if len(entries) == 0 {
			t.Fatalf("%s: nothing recorded", test.name)
		}
		e := entries[0]
		if e.Decision != audit.Deny || e.Outcome != audit.Denied || e.Action != test.action || e.Actor.ID != test.who.ID || e.Finding != test.on.ID || e.Hash == "" {
			t.Errorf("%s: recorded %+v", test.name, e)
		}
	}
	for name, r := range map[string]access.Resource{
		"spaces in an id": {Kind: access.Finding, ID: "4111 1111", Origins: finding.Origins},
	} {
		if _, err := g.Check(ctx, operator, access.FindingRead, r, local); !errors.Is(err, coffer.ErrInvalid) || strings.Contains(err.Error(), "4111") {
			t.Errorf("%s: %v", name, err)
		}
	}
	closeLog(t, l)
	h.sound()
}

func TestGuardWithoutLog(t *testing.T) {
	h := newHome(t)
	db := &mem.DB{Fault: fault.New(fault.Fault{Call: 1, When: fault.Before, Crash: true})}
	h.db = db
	l := h.open()
	_, err := guard(l).Check(context.Background(), operator, access.ValueReveal, finding, access.Context{Local: true})
	if !errors.Is(err, coffer.ErrUnavailable) || errors.Is(err, coffer.ErrDenied) {
		t.Errorf("denial that cannot be recorded: %v", err)
	}
	if _, err := l.Append(context.Background(), permit(t, l).Entry(audit.Intent)); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("intent that cannot be recorded: %v", err)
	}
	p, err := guard(l).Check(context.Background(), operator, access.FindingRead, finding, access.Context{Local: true})
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for range audit.LaterMax {
		last = l.Later(context.Background(), p.Entry(audit.Done))
	}
	if !errors.Is(last, coffer.ErrUnavailable) {
		t.Errorf("reading that cannot be recorded: %v", last)
	}
	if err := l.Later(context.Background(), p.Entry(audit.Done)); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("the next: %v", err)
	}
	db.Fault.Restart()
	if err := l.Later(context.Background(), p.Entry(audit.Done)); err != nil {
		t.Errorf("when the log is back: %v", err)
	}
	closeLog(t, l)
	if n := h.sound().Checkpoint.Size; n != audit.LaterMax+2 {
		t.Errorf("%d entries, want all %d that were tried", n, audit.LaterMax+2)
	}
}

// TestEntryNeedsPermit: what a permit says cannot be changed, and there is no entry without one.
func TestEntryNeedsPermit(t *testing.T) {
	h := newHome(t)
	l := h.open()
	ctx := context.Background()
	if _, err := l.Append(ctx, audit.Entry{Outcome: audit.Done, Action: access.ValueReveal}); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("an entry without a permit: %v", err)
	}
	e := permit(t, l).Entry(audit.Done)
	e.Actor.ID, e.Action, e.Finding, e.Decision, e.Note, e.Time = "somebody-else", access.FindingList, "f-9", audit.Deny, "x", time.Time{}
	e.Writer, e.Seq, e.Detail = "", 77, map[string]string{"types": "2", "CREDIT_CARD_NUMBER_(NO_KEYWORD)": "1"}
	e.Occurrences = []int{1, 2, 3, 7}
	ref, err := l.Append(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	got := all(t, l, audit.Filter{})[0]
	if got.Actor.ID != operator.ID || got.Action != access.ValueReveal || got.Finding != "f-1" || got.Decision != audit.Allow ||
		got.Note != "called from ### ####" || got.Seq != 1 || got.Ref() != ref || got.Request != "req-1" || !got.Actor.Local ||
		!slices.Equal(got.Policies, []string{"operator"}) || got.Hash != policies().Hash() || !slices.Equal(got.Occurrences, []int{1, 2, 3, 7}) {
		t.Errorf("recorded %+v", got)
	}
	for name, spoil := range map[string]func(*audit.Entry){
		"outcome":       func(e *audit.Entry) { e.Outcome = "" },
		"denied":        func(e *audit.Entry) { e.Outcome = audit.Denied },
		"object":        func(e *audit.Entry) { e.Object = "s3 bucket" },
		"plan":          func(e *audit.Entry) { e.Plan = strings.Repeat("x", 300) },
		"detail value":  func(e *audit.Entry) { e.Detail = map[string]string{"name": "Ada Lovelace"} },
		"detail key":    func(e *audit.Entry) { e.Detail = map[string]string{"": "x"} },
		"occurrences":   func(e *audit.Entry) { e.Occurrences = []int{2, 1} },
		"occurrence 0":  func(e *audit.Entry) { e.Occurrences = []int{0} },
		"detail number": func(e *audit.Entry) { e.Detail = many(audit.MaxDetail + 1) },
	} {
		e := permit(t, l).Entry(audit.Done)
		spoil(&e)
		if _, err := l.Append(ctx, e); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e = permit(t, l).Entry(audit.Done)
	for n := 1; n < 40000; n += 2 {
		e.Occurrences = append(e.Occurrences, n)
	}
	if _, err := l.Append(ctx, e); !errors.Is(err, coffer.ErrLimit) {
		t.Errorf("entry without bound: %v", err)
	}
	own := store.Op{Verb: store.Put, Item: store.Item{Key: store.Key{Part: "audit/live", Sort: "x"}, Version: "1"}}
	if _, err := l.Apply(ctx, permit(t, l).Entry(audit.Done), own); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("operation on the log itself: %v", err)
	}
	if err := l.Later(ctx, permit(t, l).Entry(audit.Done)); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("a reveal recorded later: %v", err)
	}
	closeLog(t, l)
	if n := h.sound().Checkpoint.Size; n != 1 {
		t.Errorf("%d entries, want the one good one", n)
	}
	if _, err := l.Append(ctx, permit(t, l).Entry(audit.Done)); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("after close: %v", err)
	}
}

func many(n int) map[string]string {
	m := make(map[string]string)
	for i := range n {
		m[fmt.Sprint("k", i)] = "v"
	}
	return m
}

// countingDB counts what reaches the store.
type countingDB struct {
	store.DB
	mu      sync.Mutex
	applies int
	hold    chan struct{} // if set, Apply waits for it
}

func (c *countingDB) Apply(ctx context.Context, ops ...store.Op) error {
	c.mu.Lock()
	c.applies++
	hold := c.hold
	c.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return c.DB.Apply(ctx, ops...)
}

func put(key, version, expect string) store.Op {
	return store.Op{Verb: store.Put, Item: store.Item{Key: store.Key{Part: "t", Sort: key}, Value: []byte("v"), Version: version}, Expect: expect}
}

// TestGroupCommit: calls that wait together become one Apply, and one that conflicts fails alone.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		db := &countingDB{DB: h.db}
		h.db = db
		l := h.open()
		p := permit(t, l)
		ctx := context.Background()
		if _, err := l.Apply(ctx, p.Entry(audit.Done), put("taken", "1", store.Absent)); err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		db.mu.Lock()
		db.hold, db.applies = hold, 0
		db.mu.Unlock()
		const n = 40
		errs := make([]error, n)
		refs := make([]audit.Ref, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				op := put(fmt.Sprint("k", i), "1", store.Absent)
				if i == 17 {
					op = put("taken", "2", store.Absent)
				}
				refs[i], errs[i] = l.Apply(ctx, p.Entry(audit.Done), op)
			})
		}
		canceled, cancel := context.WithCancel(ctx)
		var cerr error
		synctest.Wait() // all wait behind the first
		wg.Go(func() { _, cerr = l.Apply(canceled, p.Entry(audit.Done), put("canceled", "1", store.Absent)) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(hold)
		wg.Wait()
		if !errors.Is(cerr, context.Canceled) {
			t.Errorf("a canceled wait ends with %v", cerr)
		}
		if _, err := h.db.Get(ctx, store.Key{Part: "t", Sort: "canceled"}); !errors.Is(err, coffer.ErrNotFound) {
			t.Errorf("what was canceled while it waited: %v", err)
		}
		seen := make(map[audit.Ref]bool)
		for i, err := range errs {
			if (i == 17) != errors.Is(err, coffer.ErrConflict) || i != 17 && err != nil {
				t.Errorf("call %d: %v", i, err)
			}
			if err == nil {
				seen[refs[i]] = true
			}
		}
		if len(seen) != n-1 {
			t.Errorf("%d different references for %d entries", len(seen), n-1)
		}
		// One that went ahead, one or two batches, and one of the batches again one by one.
		if db.applies > n+4 {
			t.Errorf("%d calls of the store", db.applies)
		}
		db.mu.Lock()
		db.hold, db.applies = nil, 0
		db.mu.Unlock()
		closeLog(t, l)
		if size := h.sound().Checkpoint.Size; size != n {
			t.Errorf("%d entries, want %d", size, n)
		}
	})
}

func TestGroupCommitSavesCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		hold := make(chan struct{})
		db := &countingDB{DB: h.db, hold: hold}
		h.db = db
		l := h.open()
		p := permit(t, l)
		var wg sync.WaitGroup
		for i := range 45 {
			wg.Go(func() {
				if _, err := l.Apply(context.Background(), p.Entry(audit.Done), put(fmt.Sprint(i), "1", store.Absent)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		if db.applies > 4 {
			t.Errorf("%d calls of the store for 45 concurrent entries", db.applies)
		}
		closeLog(t, l)
		h.sound()
	})
}

func TestLaterIsWrittenWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		l := h.open()
		p, err := guard(l).Check(context.Background(), operator, access.FindingRead, finding, access.Context{Local: true})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := l.Later(context.Background(), p.Entry(audit.Done)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // of the bubble's clock
		synctest.Wait()
		if n := len(all(t, l, audit.Filter{})); n != 3 {
			t.Errorf("%d entries after a second, want 3", n)
		}
		if err := l.Later(context.Background(), p.Entry(audit.Done)); err != nil {
			t.Fatal(err)
		}
		closeLog(t, l)
		if n := h.sound().Checkpoint.Size; n != 4 {
			t.Errorf("%d entries after close, want 4", n)
		}
	})
}

func TestRunSequencesEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		l := h.open()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		for want := int64(1); want < 4; want++ {
			appendN(t, l, 1)
			time.Sleep(audit.Interval)
			synctest.Wait()
			if r := h.verify(audit.VerifyOptions{}); r.Checkpoint.Size != want || r.Err() != nil {
				t.Errorf("after a second: size %d, want %d; %v", r.Checkpoint.Size, want, r.Err())
			}
		}
		other := h.open() // finds the lease held, and leaves its entry to the holder
		appendN(t, other, 1)
		closeLog(t, other)
		appendN(t, l, 1)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if r := h.sound(); r.Checkpoint.Size != 5 || r.Writers != 2 {
			t.Errorf("size %d of %d writers", r.Checkpoint.Size, r.Writers)
		}
		closeLog(t, l)
	})
}

// TestManyProcesses runs several logs on one home at once.
func TestManyProcesses(t *testing.T) {
	h := newHome(t)
	const processes, each = 8, 60
	var wg sync.WaitGroup
	for range processes {
		wg.Go(func() {
			l := h.open()
			p := permit(t, l)
			for i := range each {
				if _, err := l.Append(context.Background(), p.Entry(audit.Done)); err != nil {
					t.Error(err)
				}
				if i%20 == 0 {
					if err := l.Sequence(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if r := h.sound(); r.Checkpoint.Size != processes*each || r.Writers != processes {
		t.Errorf("%d entries of %d writers", r.Checkpoint.Size, r.Writers)
	}
	for range h.db.Query(context.Background(), "audit/live", store.Range{}) {
		t.Error("a writer that has ended is still in the list of live writers")
	}
}

// TestIdleWriterIsEnded: a chain that was quiet for long is ended by whoever sequences; its writer goes on in another.
func TestIdleWriterIsEnded(t *testing.T) {
	h := newHome(t)
	quiet := h.open()
	appendN(t, quiet, 2)
	other := h.open()
	h.pass(audit.IdleFor + time.Minute)
	appendN(t, other, 1)
	if err := other.Sequence(context.Background()); err != nil {
		t.Fatal(err)
	}
	live := 0
	for range h.db.Query(context.Background(), "audit/live", store.Range{}) {
		live++
	}
	if live != 1 {
		t.Errorf("%d live writers, want the other one", live)
	}
	before := audit.Writer(quiet)
	appendN(t, quiet, 1)
	if audit.Writer(quiet) == before {
		t.Error("the ended chain goes on")
	}
	closeLog(t, quiet)
	closeLog(t, other)
	if r := h.sound(); r.Checkpoint.Size != 4 || r.Writers != 3 {
		t.Errorf("%d entries of %d writers", r.Checkpoint.Size, r.Writers)
	}
}

// TestBlocks: a long chain lies in several parts of the store, none with more than 256 entries, and reads as one; an entry that the
// store lost is missed wherever it stood.
func TestBlocks(t *testing.T) {
	ctx := context.Background()
	const n = 600
	for _, lost := range []uint64{0, 1, 100, 255, 256, 257, 512, 513, 599} {
		h := newHome(t)
		l := h.open()
		appendN(t, l, n)
		writer := audit.Writer(l)
		if lost == 0 {
			parts := map[string]int{}
			for it, err := range h.db.Scan(ctx, 0, 1) {
				if err != nil {
					t.Fatal(err)
				}
				parts[it.Key.Part]++
			}
			prefix := "audit/entry/" + writer + "/"
			if parts[prefix+"0"] != 256 || parts[prefix+"1"] != 256 || parts[prefix+"2"] != n-512 {
				t.Errorf("parts %v", parts)
			}
			if err := l.Sequence(ctx); err != nil {
				t.Fatal(err)
			}
			closeLog(t, l)
			if r := h.sound(); r.Checkpoint.Size != n {
				t.Errorf("%d entries", r.Checkpoint.Size)
			}
			continue
		}
		k := store.Key{Part: fmt.Sprintf("audit/entry/%s/%d", writer, (lost-1)/256), Sort: fmt.Sprintf("%020d", lost)}
		if err := h.db.Apply(ctx, store.Op{Verb: store.Delete, Item: store.Item{Key: k}, Expect: store.Any}); err != nil {
			t.Fatal(err)
		}
		err := l.Sequence(ctx)
		if err == nil { // the end of a block may be the end of the chain, until the chain would be ended there
			h.pass(audit.IdleFor + time.Minute)
			err = l.Sequence(ctx)
		}
		if want := fmt.Sprintf("%s:%d is missing", writer, lost); !errors.Is(err, coffer.ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("entry %d lost: %v", lost, err)
		}
	}
}

func TestClockThatGoesBack(t *testing.T) {
	h := newHome(t)
	l := h.open()
	appendN(t, l, 1)
	h.pass(-time.Hour)
	appendN(t, l, 1)
	h.pass(3 * time.Hour)
	appendN(t, l, 1)
	e := all(t, l, audit.Filter{})
	if !e[1].Time.Equal(e[0].Time) || e[1].ClockBack < time.Hour.Microseconds()-10_000 || e[0].ClockBack != 0 || e[2].ClockBack != 0 {
		t.Errorf("times %v %v %v, clock back by %d %d %d", e[0].Time, e[1].Time, e[2].Time, e[0].ClockBack, e[1].ClockBack, e[2].ClockBack)
	}
	closeLog(t, l)
	h.sound()
}

func TestPeople(t *testing.T) {
	h := newHome(t)
	l := h.open()
	ctx := context.Background()
	if _, err := l.Person(ctx, operator.ID); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	appendN(t, l, 2)
	if name, err := l.Person(ctx, operator.ID); name != operator.Name || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	p, err := guard(l).Check(ctx, operator, access.AdminPerson, access.Resource{Kind: access.System}, access.Context{Local: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Forget(ctx, permit(t, l), operator.ID); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("with another permit: %v", err)
	}
	if err := l.Forget(ctx, p, operator.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Person(ctx, operator.ID); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("after: %v", err)
	}
	closeLog(t, l)
	h.sound()
	err = filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, rerr := os.ReadFile(path)
			if rerr != nil || bytes.Contains(b, []byte("Ada")) {
				t.Errorf("a name in %s (%v)", d.Name(), rerr)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestEntriesAndExport(t *testing.T) {
	h := newHome(t)
	l := h.open()
	ctx := context.Background()
	reveal := permit(t, l)
	for i := range 600 {
		e := reveal.Entry(audit.Done)
		if i%3 == 0 {
			e.Plan = "plan-7"
		}
		if _, err := l.Append(ctx, e); err != nil {
			t.Fatal(err)
		}
		if i == 400 {
			if err := l.Sequence(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	old := all(t, l, audit.Filter{})
	recent := all(t, l, audit.Filter{Newest: true})
	if len(old) != 600 || len(recent) != 600 {
		t.Fatalf("%d and %d entries", len(old), len(recent))
	}
	for i, e := range old {
		want := int64(i)
		if i > 400 {
			want = -1
		}
		if e.Seq != uint64(i+1) || e.Index != want || recent[599-i].Seq != e.Seq {
			t.Fatalf("entry %d: seq %d, index %d", i, e.Seq, e.Index)
		}
	}
	for name, test := range map[string]struct {
		f    audit.Filter
		want int
	}{
		"plan":          {audit.Filter{Plan: "plan-7"}, 200},
		"action":        {audit.Filter{Action: "value.reveal"}, 600},
		"group":         {audit.Filter{Action: "value.*"}, 600},
		"other group":   {audit.Filter{Action: "remedy.*"}, 0},
		"actor":         {audit.Filter{Actor: "op-1"}, 600},
		"other actor":   {audit.Filter{Actor: "op"}, 0},
		"decision":      {audit.Filter{Decision: audit.Deny}, 0},
		"outcome":       {audit.Filter{Outcome: audit.Done}, 600},
		"finding":       {audit.Filter{Finding: "f-1"}, 600},
		"other finding": {audit.Filter{Finding: "f-2"}, 0},
		"object":        {audit.Filter{Object: "o"}, 0},
		"from":          {audit.Filter{From: old[500].Time}, 100},
		"to":            {audit.Filter{To: old[500].Time, Newest: true}, 500},
	} {
		if got := len(all(t, l, test.f)); got != test.want {
			t.Errorf("%s: %d entries, want %d", name, got, test.want)
		}
	}
	var lines bytes.Buffer
	if err := audit.WriteJSON(&lines, l.Entries(ctx, audit.Filter{Plan: "plan-7"})); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(lines.Bytes()) {
		var x struct {
			Index int64           `json:"index"`
			Entry json.RawMessage `json:"entry"`
		}
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatal(err)
		}
		if e, err := audit.Decode(x.Entry); err != nil || e.Plan != "plan-7" {
			t.Fatalf("line %d: %v", n, err)
		}
		n++
	}
	if n != 200 {
		t.Errorf("%d lines", n)
	}
	closeLog(t, l)
	h.sound()
}

func TestCSVIsNoFormula(t *testing.T) {
	e := audit.Entry{Note: "=HYPERLINK(\"x\")", Reason: "+1", Plan: "@x", Object: "-2", Detail: map[string]string{"a": "=b"}, Request: "ok"}
	var b bytes.Buffer
	one := iter.Seq2[audit.Entry, error](func(yield func(audit.Entry, error) bool) { yield(e, nil) })
	if err := audit.WriteCSV(&b, one); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatal(err)
	}
	for i, cell := range rows[1] {
		if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
			t.Errorf("%s is a formula", rows[0][i])
		}
	}
}

// TestOtherToolsCanRead proves every entry to be in the log, and every earlier size to be a prefix of it, with x/mod's client
// code and the files alone.
func TestOtherToolsCanRead(t *testing.T) {
	h := newHome(t)
	l := h.open()
	const n = 700
	p := permit(t, l)
	for i := range n {
		if _, err := l.Append(context.Background(), p.Entry(audit.Done)); err != nil {
			t.Fatal(err)
		}
		if i%97 == 0 {
			if err := l.Sequence(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeLog(t, l)
	msg, err := os.ReadFile(filepath.Join(h.log(), "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(l.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(signed.Text, "\n")
	root, err := tlog.ParseHash(lines[2])
	if err != nil || lines[1] != fmt.Sprint(n) || lines[0] != v.Name() {
		t.Fatalf("checkpoint %q, %v", lines, err)
	}
	tree := tlog.Tree{N: n, Hash: root}
	r := tlog.TileHashReader(tree, tileReader{h.log()})
	for i := range int64(n) {
		width := min(256, n-i/256*256)
		bundle, err := os.ReadFile(filepath.Join(h.log(), filepath.FromSlash(audit.TilePath(-1, i/256, int(width)))))
		if err != nil {
			t.Fatal(err)
		}
		leaves, err := audit.SplitBundle(bundle, int(width), true)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := tlog.ProveRecord(n, i, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, n, root, i, tlog.RecordHash(leaves[i%256])); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
}

type tileReader struct{ dir string }

func (tileReader) Height() int { return 8 }

func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, t := range tiles {
		b, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(strings.Replace(t.Path(), "tile/8/", "tile/", 1))))
		if err != nil {
			return nil, err
		}
		data = append(data, b)
	}
	return data, nil
}

func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// TestLostFilesAreMadeAgain: the store is the record; the files can be made from it.
func TestLostFilesAreMadeAgain(t *testing.T) {
	h := newHome(t)
	l := h.open()
	for range 3 {
		appendN(t, l, 300)
		if err := l.Sequence(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	before := h.sound().Checkpoint
	if err := os.RemoveAll(h.log()); err != nil {
		t.Fatal(err)
	}
	closeLog(t, h.open())
	if after := h.sound().Checkpoint; after != before {
		t.Errorf("%+v, want %+v", after, before)
	}
}

func TestAnchors(t *testing.T) {
	h := newHome(t)
	h.anchors = []string{filepath.Join(h.dir, "anchor-1"), filepath.Join(h.dir, "sub", "anchor-2")}
	l := h.open()
	appendN(t, l, 1)
	if err := l.Sequence(context.Background()); err == nil {
		t.Error("an anchor that cannot be written is no error")
	}
	if err := os.Mkdir(filepath.Join(h.dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		appendN(t, l, 7)
		if err := l.Sequence(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	l = h.open() // a process that finds nothing to do anchors nothing
	closeLog(t, l)
	for i, path := range h.anchors {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(audit.Split(b)); n != 6 {
			t.Errorf("%d checkpoints in anchor %d", n, i)
		}
		r := h.verify(audit.VerifyOptions{Checkpoint: b})
		if r.Err() != nil || r.Extends != 36 || r.Ignored != 0 {
			t.Errorf("anchor %d: %v, extends %d, ignored %d", i, r.Err(), r.Extends, r.Ignored)
		}
		// A line torn by a crash, and another file behind it.
		r = h.verify(audit.VerifyOptions{Checkpoint: slices.Concat(b[:40], []byte("\n\n"), b, b)})
		if r.Err() != nil || r.Extends != 36 || r.Ignored != 1 {
			t.Errorf("torn anchor %d: %v, extends %d, ignored %d", i, r.Err(), r.Extends, r.Ignored)
		}
	}
}

func TestOpenIntentsAreReported(t *testing.T) {
	h := newHome(t)
	l := h.open()
	p := permit(t, l)
	for i := range 3 {
		ref, err := l.Append(context.Background(), p.Entry(audit.Intent))
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			continue // the process died here
		}
		e := p.Entry(audit.Done)
		e.Intent = ref
		if _, err := l.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	if r := h.sound(); len(r.Open) != 1 || r.Open[0].Index != 2 || r.Open[0].Action != access.ValueReveal {
		t.Errorf("open intents: %d", len(r.Open))
	}
}

func TestKeyIsMadeOnce(t *testing.T) {
	h := newHome(t)
	keys := make([]string, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() { keys[i] = h.open().VerifierKey() })
	}
	wg.Wait()
	if slices.Sort(keys); keys[0] != keys[len(keys)-1] {
		t.Error("processes that start at once use different keys")
	}
	for path, mode := range map[string]os.FileMode{h.key(): 0o600, h.key() + ".pub": 0o644} {
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", filepath.Base(path), fi.Mode(), err)
		}
	}
	if err := os.WriteFile(h.key(), []byte("PRIVATE+KEY+x+1+secretsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := audit.KeyFile(h.key())
	if !errors.Is(err, coffer.ErrCorrupt) || strings.Contains(err.Error(), "secret") {
		t.Errorf("damaged key: %v", err)
	}
}
