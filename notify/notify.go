// Package notify tells others what happens here: signed webhooks and the forms of Slack, Teams and Jira for them, events on an
// EventBridge bus, the workflow status of findings in Security Hub, and the whole log as OCSF files in a bucket.
//
// # Where messages come from
//
// From the log, and from nothing else. What happened is an entry of the log before anybody could be told of it, and the entries have one
// order; so each target has a position in the log, up to which it was told, and what stands behind it is the outbox. Nothing has to be
// written twice, and no crash between an act and the message about it can lose the message. A new target begins at the end of the log, an
// archive at its beginning.
//
// # What is promised
//
// Every entry that a target wants is delivered at least once, in the order of the log. After a crash between a delivery and the record of
// it the message comes again, under the same id. While a receiver cannot be reached, or says that it cannot now, its target waits, for
// ever longer up to an hour, and nothing is passed over: it goes on where it stopped. A message that the receiver refuses as such, several
// times, is put aside as dead, on record, so that those behind it come through; [Notifier.Retry] sends it again.
//
// # What leaves the installation
//
// A [Message]: ids, types, states and counts. See there, and [Target] for how receivers are kept from being an address inside. The
// archive has what an auditor exports.
//
//	N#config   state          what targets there are, as it was recorded last
//	N#<target> state          its position, and how deliveries go
//	N#<target> lease          who is at it
//	N#<target> d#<position>   a dead delivery
//	N#<target> a#<step>       what the process that delivers was asked for
//	N#<target> h#<finding>    the workflow status that Security Hub was told
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/job"
	"coffer/object"
	"coffer/remedy"
	"coffer/store"
	"coffer/triage"
)

const (
	firstBackoff = 5 * time.Second
	maxBackoff   = time.Hour
	// deadAfter is how often a message is refused as such before it is put aside.
	deadAfter = 5
	// loudAfter is after how many failures in a row an outage is on record: a bit more than an hour.
	loudAfter = 11
	leaseTime = 2 * time.Minute
	// window is how many entries are looked at before the position is recorded.
	window = 2048
	// every is how often a process that stays looks for new entries.
	every = 2 * time.Second
	// refusedFor is how long a target waits when the policies do not let its messages go.
	refusedFor = 10 * time.Minute
)

// Config says what a Notifier works with. Logger, Portal, AWS and Bucket can be left out where no target needs them.
type Config struct {
	DB      store.DB
	Guard   *audit.Guard
	Targets []Target
	Home    string // to which the files of targets are relative
	Portal  string // origin of the portal, for links
	// Plan and Record return a plan and the record of a finding, without asking the policy.
	Plan   func(ctx context.Context, id string) (*remedy.Plan, error)
	Record func(ctx context.Context, id string) (*triage.Record, error)
	// AWS returns the configuration with which a target's service is called.
	AWS func(ctx context.Context, t Target) (aws.Config, error)
	// Bucket opens what a spec string names.
	Bucket func(ctx context.Context, spec string) (st object.Store, bucket string, err error)
	Now    func() time.Time
	Worker string // names this process in leases
	// Elsewhere says that this process reaches no target: what is asked of it is left to the process that delivers.
	Elsewhere bool
	Logger    *slog.Logger
}

// Notifier delivers. It is safe for concurrent use, by several processes on one store: one at a time is at a target.
type Notifier struct {
	c       Config
	targets []*target
	wake    chan struct{}

	mu         sync.Mutex // guards configured
	configured bool       // the targets are on record
}

// sender is what delivers to one kind of target.
type sender interface {
	wants(e *audit.Entry) bool
	most() int // events in one call of send
	// send delivers events in order and returns how many of them, from the first on, are delivered, and why the next is not. An error
	// wrapping coffer.ErrInvalid says that the message is refused as such.
	send(ctx context.Context, events []event) (int, error)
	// probe says whether the target works, by sending a message that says that it is a test, or where nothing can be sent by asking.
	probe(ctx context.Context) error
}

// target is a configured target at work.
type target struct {
	Target
	sender
	mu sync.Mutex // one goroutine of this process at a time is at it
}

func (t *target) part() string        { return "N#" + t.Name }
func (t *target) stateKey() store.Key { return store.Key{Part: t.part(), Sort: "state"} }
func (t *target) deadKey(i int64) store.Key {
	return store.Key{Part: t.part(), Sort: fmt.Sprintf("d#%020d", i)}
}

// state is how far a target is.
type state struct {
	Next     int64     `json:"next"` // position in the log of the first entry that it was not told of
	Attempts int       `json:"attempts,omitempty"`
	Refused  int       `json:"refused,omitempty"` // how often the message at Next was
	Failing  time.Time `json:"failing,omitzero"`  // since when
	RetryAt  time.Time `json:"retryAt,omitzero"`
	Error    string    `json:"error,omitempty"`
	Sent     int64     `json:"sent,omitempty"`
	SentAt   time.Time `json:"sentAt,omitzero"`
	Dead     int       `json:"dead,omitempty"`
	// Last are the newest deliveries, the newest first.
	Last      []Receipt `json:"last,omitempty"`
	Tested    time.Time `json:"tested,omitzero"`
	TestError string    `json:"testError,omitempty"`
	// Until is the end of the file that is being written, which begins at Next; 0: none is.
	Until int64 `json:"until,omitempty"`

	version string
}

// New returns a Notifier for the targets. It connects to nothing; errors wrap coffer.ErrInvalid.
func New(c Config) (*Notifier, error) {
	if err := Check(c.Targets); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Portal = strings.TrimSuffix(c.Portal, "/")
	n := &Notifier{c: c, wake: make(chan struct{}, 1)}
	for _, tc := range c.Targets {
		t := &target{Target: tc}
		filter, err := audit.ParseFilter(c.Now(), tc.Filter...)
		if err != nil {
			return nil, fmt.Errorf("notify: %s: filter: %w", tc.Name, err)
		}
		chosen := choice{filter, len(tc.Filter) > 0}
		switch tc.Kind {
		case EventBridge:
			t.sender = &bus{choice: chosen, target: tc, open: c.AWS, now: c.Now}
		case SecurityHub:
			t.sender = &hub{target: tc, open: c.AWS, db: c.DB, plan: c.Plan, record: c.Record, portal: c.Portal}
		case OCSF:
			t.sender = &archive{target: tc, open: c.Bucket}
		default:
			r, err := newReceiver(&t.Target, c.Home, c.AWS, c.Now)
			if err != nil {
				return nil, fmt.Errorf("notify: %s: %w", tc.Name, err)
			}
			t.sender = &hook{receiver: r, choice: chosen, now: c.Now}
		}
		n.targets = append(n.targets, t)
	}
	return n, nil
}

// Wake has Run look for new entries at once, such as after the glass was broken. It does not wait.
func (n *Notifier) Wake() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends, on behalf of ask. What fails is logged and tried again.
func (n *Notifier) Run(ctx context.Context, ask func() access.Ask) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := n.Step(ctx, ask()); err != nil && ctx.Err() == nil {
			n.c.Logger.Warn("messages are not delivered", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
			// What woke us is recorded; who brings the log into order may not have come to it.
			if err := n.c.Guard.Log.Sequence(ctx); err != nil && ctx.Err() == nil {
				n.c.Logger.Warn("the newest entries wait for their place in the log", "error", err)
			}
		case <-tick.C:
		}
	}
}

var system = access.Resource{Kind: access.System}

// Step delivers what can be delivered now and returns. It is what a schedule calls: a target at which another process is, or whose
// receiver was down a moment ago, is left for the next call, as is what is left when ctx ends. A receiver that cannot be reached is no
// error of Step; it stands in the state of its target. Deliveries need access.AdminNotify.
func (n *Notifier) Step(ctx context.Context, ask access.Ask) error {
	if err := n.configure(ctx, ask); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	if len(n.targets) == 0 {
		return nil
	}
	size, err := n.c.Guard.Log.Size()
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	errs := make([]error, len(n.targets))
	var work sync.WaitGroup
	for i, t := range n.targets {
		work.Go(func() { errs[i] = n.turn(ctx, ask, t, size) })
	}
	work.Wait()
	return errors.Join(errs...)
}

var configKey = store.Key{Part: "N#config", Sort: "state"}

// configure puts on record what targets there are when they are not those that were recorded last, before anything is sent to them.
func (n *Notifier) configure(ctx context.Context, ask access.Ask) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.configured {
		return nil
	}
	was := map[string]string{}
	it, err := n.c.DB.Get(ctx, configKey)
	if err == nil {
		err = json.Unmarshal(it.Value, &was)
	}
	if err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return err
	}
	now := map[string]string{}
	var added, changed, removed []string
	for _, t := range n.targets {
		now[t.Name] = t.digest()
		switch old, ok := was[t.Name]; {
		case !ok:
			added = append(added, t.Name)
		case old != now[t.Name]:
			changed = append(changed, t.Name)
		}
	}
	for name := range was {
		if _, ok := now[name]; !ok {
			removed = append(removed, name)
		}
	}
	if len(added)+len(changed)+len(removed) == 0 {
		n.configured = true
		return nil
	}
	permit, err := n.c.Guard.Check(ctx, ask.Caller, access.AdminNotify, system, ask.Context)
	if err != nil {
		return err
	}
	size, err := n.c.Guard.Log.Size()
	if err != nil {
		return err
	}
	value, err := json.Marshal(now)
	if err != nil {
		return err
	}
	ops := []store.Op{{Verb: store.Put, Expect: it.Version, Item: store.Item{Key: configKey, Value: value, Version: store.NewVersion()}}}
	for _, t := range n.targets {
		if !slices.Contains(added, t.Name) {
			continue
		}
		s, err := n.load(ctx, t)
		if err != nil && !errors.Is(err, coffer.ErrNotFound) {
			return err
		}
		if t.Kind == OCSF && err == nil {
			continue // an archive goes on where it ended
		}
		next := state{Next: size, Dead: s.Dead, version: s.version}
		if t.Kind == OCSF {
			next.Next = 0
		}
		ops = append(ops, n.put(t, &next))
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": "configure"}
	slices.Sort(removed)
	for name, list := range map[string][]string{"added": added, "changed": changed, "removed": removed} {
		if len(list) > 0 {
			e.Detail[name] = audit.List(list)
		}
	}
	if _, err := n.c.Guard.Log.Apply(ctx, e, ops...); err != nil {
		return err // a conflict: another process recorded it; the next step looks again
	}
	n.configured = true
	return nil
}

func (n *Notifier) load(ctx context.Context, t *target) (state, error) {
	var s state
	it, err := n.c.DB.Get(ctx, t.stateKey())
	if err != nil {
		return s, fmt.Errorf("target %s: %w", t.Name, err)
	}
	if err := json.Unmarshal(it.Value, &s); err != nil {
		return s, fmt.Errorf("target %s: %w", t.Name, coffer.ErrCorrupt)
	}
	s.version = it.Version
	return s, nil
}

// put returns the operation that stores s, if nobody changed it since.
func (n *Notifier) put(t *target, s *state) store.Op {
	b, err := json.Marshal(s)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	expect := s.version
	s.version = store.NewVersion()
	return store.Op{Verb: store.Put, Expect: expect, Item: store.Item{Key: t.stateKey(), Value: b, Version: s.version}}
}

// hold takes the lease of a target; a *job.BusyError when somebody else has it.
func (n *Notifier) hold(ctx context.Context, t *target) (*job.Lease, error) {
	return job.Acquire(ctx, n.c.DB, store.Key{Part: t.part(), Sort: "lease"}, n.c.Worker, leaseTime, n.c.Now)
}

// turn delivers to one target what there is for it below size.
func (n *Notifier) turn(ctx context.Context, ask access.Ask, t *target, size int64) error {
	if !t.mu.TryLock() {
		return nil
	}
	defer t.mu.Unlock()
	s, err := n.load(ctx, t)
	if err != nil {
		return err
	}
	var orders []asked
	for a, err := range n.asked(ctx, t) {
		if err != nil {
			return fmt.Errorf("target %s: %w", t.Name, err)
		}
		orders = append(orders, a)
	}
	if len(orders) == 0 && (s.Next >= size || n.c.Now().Before(s.RetryAt)) {
		return nil
	}
	lease, err := n.hold(ctx, t)
	if errors.Is(err, coffer.ErrConflict) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("target %s: %w", t.Name, err)
	}
	defer lease.Release(ctx)
	// As it is now that nobody else changes it.
	if s, err = n.load(ctx, t); err != nil {
		return err
	}
	d := &delivery{n: n, t: t, s: &s, lease: lease, ask: ask}
	for _, a := range orders {
		err := d.allowed(ctx)
		if errors.Is(err, coffer.ErrDenied) {
			break // as the deliveries themselves
		}
		if err == nil {
			_, err = d.carry(ctx, a.Step, a.Intent)
		}
		if err != nil {
			return fmt.Errorf("target %s: %w", t.Name, err)
		}
	}
	for s.Next < size && !n.c.Now().Before(s.RetryAt) && ctx.Err() == nil {
		more, err := d.advance(ctx, size)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, coffer.ErrConflict) {
				return nil // another process took over, or the rest is for the next call
			}
			return fmt.Errorf("target %s: %w", t.Name, err)
		}
		if !more {
			break
		}
	}
	return nil
}

// delivery is one turn at a target, under its lease.
type delivery struct {
	n      *Notifier
	t      *target
	s      *state
	lease  *job.Lease
	ask    access.Ask
	permit *audit.Permit
}

// allowed asks once in a turn whether messages may go, when there is one.
func (d *delivery) allowed(ctx context.Context) error {
	if d.permit != nil {
		return nil
	}
	d.ask.Context.Now = d.n.c.Now()
	permit, err := d.n.c.Guard.Check(ctx, d.ask.Caller, access.AdminNotify, system, d.ask.Context)
	if err == nil {
		d.permit = permit
	}
	return err
}

// save records the state, together with an entry of the log where there is one to make.
func (d *delivery) save(ctx context.Context, e *audit.Entry, ops ...store.Op) error {
	if err := d.lease.Renew(ctx); err != nil {
		return err
	}
	ops = append(ops, d.n.put(d.t, d.s), d.lease.Held())
	if e == nil {
		return d.n.c.DB.Apply(ctx, ops...)
	}
	_, err := d.n.c.Guard.Log.Apply(ctx, *e, ops...)
	return err
}

// read returns the events from the target's position on that it wants, at most as many as it takes at once, and the position behind them.
func (d *delivery) read(ctx context.Context, size int64) ([]event, int64, error) {
	var out []event
	limit := min(size, d.s.Next+window)
	if a, ok := d.t.sender.(*archive); ok {
		limit = min(size, d.s.Next+int64(a.most()))
		if d.s.Until > 0 {
			limit = d.s.Until
		}
	}
	for e, err := range d.n.c.Guard.Log.Entries(ctx, audit.Filter{Index: d.s.Next, Before: limit}) {
		if err != nil {
			return nil, 0, err
		}
		if !d.t.wants(&e) {
			continue
		}
		out = append(out, eventOf(e, d.n.c.Portal))
		if len(out) == d.t.most() {
			return out, e.Index + 1, nil
		}
	}
	return out, limit, nil
}

// advance delivers what is next and records it. It reports whether there may be more to do now.
func (d *delivery) advance(ctx context.Context, size int64) (bool, error) {
	events, next, err := d.read(ctx, size)
	if err != nil {
		return false, err
	}
	if len(events) == 0 {
		d.s.Next = next
		return true, d.save(ctx, nil)
	}
	if err := d.allowed(ctx); err != nil {
		if !errors.Is(err, coffer.ErrDenied) {
			return false, err
		}
		now := d.n.c.Now().UTC()
		if d.s.Failing.IsZero() {
			d.s.Failing = now
		}
		d.s.RetryAt, d.s.Error = now.Add(refusedFor), "the policies do not let messages go (admin.notify)"
		return false, d.save(ctx, nil)
	}
	if a, ok := d.t.sender.(*archive); ok {
		count := a.cut(events, d.s.Until, d.n.c.Now())
		if count == 0 {
			return false, nil // the file is not full, and nobody waited for long
		}
		if events = events[:count]; d.s.Until == 0 {
			// The range of the file is on record before it is written: after a crash the same file is written, and not another one with
			// some of its entries.
			d.s.Until = events[count-1].Entry.Index + 1
			if err := d.save(ctx, nil); err != nil {
				return false, err
			}
		}
		next = d.s.Until
	}
	done, err := d.t.send(ctx, events)
	if done > 0 {
		d.delivered(events[:done]...)
		d.s.Attempts, d.s.Refused, d.s.Failing, d.s.RetryAt, d.s.Error = 0, 0, time.Time{}, time.Time{}, ""
	}
	if err == nil {
		d.s.Next, d.s.Until = next, 0
		return true, d.save(ctx, nil)
	}
	if done > 0 {
		d.s.Next = events[done].Entry.Index
	}
	if ctx.Err() != nil {
		if done == 0 {
			return false, ctx.Err()
		}
		return false, d.save(context.WithoutCancel(ctx), nil)
	}
	return false, d.failed(ctx, &events[done], err)
}

// failed records that the event at the head was not delivered, and puts it aside when it was refused often enough.
func (d *delivery) failed(ctx context.Context, ev *event, cause error) error {
	now := d.n.c.Now().UTC()
	d.s.Attempts++
	if d.s.Failing.IsZero() {
		d.s.Failing = now
	}
	d.s.Error = cause.Error()
	d.s.RetryAt = now.Add(backoff(d.s.Attempts))
	var later *laterError
	if errors.As(cause, &later) {
		d.s.RetryAt = now.Add(max(backoff(d.s.Attempts), later.after))
	}
	if errors.Is(cause, coffer.ErrInvalid) {
		d.s.Refused++
	}
	_, whole := d.t.sender.(*archive) // in which nothing is left out
	switch {
	case d.s.Refused >= deadAfter && !whole:
		b, err := json.Marshal(Receipt{Entry: ev.Entry.Index, ID: ev.ID, Type: ev.Type, Error: d.s.Error, At: now})
		if err != nil {
			return err
		}
		e := d.permit.Entry(audit.Failed)
		e.Detail = map[string]string{"step": "dead", "target": d.t.Name, "about": ev.Entry.Ref().String(), "attempts": strconv.Itoa(d.s.Attempts)}
		d.s.Next, d.s.Dead = ev.Entry.Index+1, d.s.Dead+1
		d.s.Attempts, d.s.Refused, d.s.RetryAt, d.s.Failing, d.s.Error = 0, 0, time.Time{}, time.Time{}, ""
		return d.save(ctx, &e, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
			Key: d.t.deadKey(ev.Entry.Index), Value: b, Version: store.NewVersion()}})
	case d.s.Attempts == loudAfter:
		e := d.permit.Entry(audit.Failed)
		e.Detail = map[string]string{"step": "failing", "target": d.t.Name, "about": ev.Entry.Ref().String(), "attempts": strconv.Itoa(d.s.Attempts)}
		return d.save(ctx, &e)
	}
	return d.save(ctx, nil)
}

// backoff is how long a target waits after so many failures in a row.
func backoff(failures int) time.Duration {
	d := firstBackoff
	for range failures - 1 {
		if d *= 2; d >= maxBackoff {
			return maxBackoff
		}
	}
	return d
}
