package grant_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/audit/audittest"
	"coffer/grant"
	"coffer/internal/fault"
	"coffer/store"
	"coffer/store/mem"
	"coffer/triage"
)

var ctx = context.Background()

var policies = sync.OnceValue(func() *access.Policy {
	p, err := access.Load(nil)
	if err != nil {
		panic(err)
	}
	return p
})

// clock is moved by tests alone.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is an installation with one finding, f-1, of 40 sealed values and one that is not sealed.
type world struct {
	t      testing.TB
	clock  *clock
	db     *mem.DB
	faults *fault.Injector
	dir    string
	rules  grant.Rules
	alerts []grant.Request
	*process
}

// process is one run of the program.
type process struct {
	*grant.Grants
	log *audit.Log
}

func newWorld(t testing.TB) *world {
	in := fault.New()
	w := &world{t: t, clock: &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, db: &mem.DB{Fault: in}, faults: in, dir: t.TempDir()}
	w.process = w.start()
	w.seal("f-1", "g-1")
	return w
}

func (w *world) start() *process {
	w.t.Helper()
	log := audittest.Open(w.t, w.db, w.dir, w.clock.now, scrub)
	return &process{log: log, Grants: &grant.Grants{
		DB: w.db, Records: triage.Records{DB: w.db}, Guard: &audit.Guard{Log: log, Policy: policies()}, Now: w.clock.now, Rules: w.rules,
		Scrub: func(s string) string { return string(scrub([]byte(s))) },
		Alert: func(_ context.Context, r grant.Request) { w.alerts = append(w.alerts, r) },
	}}
}

// scrub stands for the detectors: it takes out long numbers.
func scrub(b []byte) []byte {
	return []byte(strings.ReplaceAll(string(b), "4000001234567899", "[removed]"))
}

// seal stores the finding with a generation of values.
func (w *world) seal(id, generation string) {
	w.t.Helper()
	rs := triage.Records{DB: w.db}
	rec, err := rs.Get(ctx, id)
	if errors.Is(err, coffer.ErrNotFound) {
		rec = &triage.Record{Finding: coffer.Finding{ID: id, Origin: coffer.OriginMacie, Severity: coffer.SeverityHigh}, State: triage.StateSealed, Status: triage.Open}
	} else if err != nil {
		w.t.Fatal(err)
	}
	rec.Generation = generation
	var lines []triage.Line
	for n := 1; n <= 41; n++ {
		lines = append(lines, triage.Line{Occurrence: coffer.Occurrence{N: n, Type: coffer.BankAccountNumber}, Sealed: n <= 40})
	}
	if err := w.db.Apply(ctx, append(rec.Save(), triage.SaveLines(id, lines)...)...); err != nil {
		w.t.Fatal(err)
	}
}

// as is a person with these roles who signed in with two factors a minute ago, in an incident.
func (w *world) as(id string, roles ...string) access.Ask {
	return access.Ask{
		Caller: access.Caller{ID: id, Kind: access.UserCaller, Roles: roles},
		Context: access.Context{
			Now: w.clock.now(), SignedIn: w.clock.now().Add(-time.Minute), MFA: true, Reason: "incident", Note: "customer asked about it", Ticket: "INC-7",
		},
	}
}

func (w *world) eve() access.Ask { return w.as("eve", access.RoleEngineer) }
func (w *world) ann() access.Ask { return w.as("ann", access.RoleApprover) }

// with names the grant on which the caller acts.
func with(a access.Ask, id string) access.Ask {
	a.Context.Grant = id
	return a
}

// reveal is the act of revealing occurrences of a finding.
func reveal(finding, generation string, ns ...int) grant.Act {
	return grant.Act{
		Action: access.ValueReveal, Numbers: ns, Values: len(ns), Generation: generation,
		Resource: access.Resource{Kind: access.Finding, ID: finding, Origins: []coffer.Origin{coffer.OriginMacie}},
	}
}

// first returns the numbers from 1 to n.
func first(n int) []int {
	var ns []int
	for i := range n {
		ns = append(ns, i+1)
	}
	return ns
}

// intend begins the act and returns the error.
func (p *process) intend(a access.Ask, act grant.Act) error {
	_, _, err := p.Intend(ctx, a, act, func(e *audit.Entry) error {
		e.Occurrences = act.Numbers
		return nil
	})
	return err
}

// approved makes a request of eve's for values of f-1 and has ann approve it.
func (w *world) approved(want grant.Wanted) *grant.Request {
	w.t.Helper()
	if want.Action == "" {
		want.Action, want.Finding = access.ValueReveal, "f-1"
	}
	r, err := w.Ask(ctx, w.eve(), want)
	if err == nil {
		r, err = w.Approve(ctx, w.ann(), r.ID, r.Hash)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// entries returns the entries of the log that select selects.
func (w *world) entries(selects func(*audit.Entry) bool) []audit.Entry {
	w.t.Helper()
	var out []audit.Entry
	for e, err := range w.log.Entries(ctx, audit.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if selects(&e) {
			out = append(out, e)
		}
	}
	return out
}

func intents(e *audit.Entry) bool { return e.Outcome == audit.Intent }

// denied demands that err is a denial by this rule, and that it is on record.
func (w *world) denied(err error, rule string) {
	w.t.Helper()
	var d *audit.DeniedError
	if !errors.As(err, &d) || !slices.Contains(d.Rules, rule) {
		w.t.Errorf("%v, want it denied by %s", err, rule)
		return
	}
	last := w.entries(func(*audit.Entry) bool { return true })
	if e := last[len(last)-1]; e.Outcome != audit.Denied || !slices.Contains(e.Policies, rule) {
		w.t.Errorf("the denial by %s is not on record", rule)
	}
}

// state is the state of the request in the store.
func (w *world) state(id string) grant.State {
	w.t.Helper()
	var r grant.Request
	for it, err := range w.db.Query(ctx, "G#"+id, store.Range{}) {
		if err == nil {
			err = decode(it.Value, &r)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return r.State(w.clock.now())
}
