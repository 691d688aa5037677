package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// Status is how deliveries to a target go.
type Status struct {
	Target string `json:"target"`
	Kind   Kind   `json:"kind"`
	// State is "ok", "failing" while deliveries fail, "dead" when messages were put aside and none fails now, or "new" before the first
	// step.
	State   string    `json:"state"`
	Behind  int64     `json:"behind"` // entries of the log that it was not told of yet, whether it wants them or not
	Sent    int64     `json:"sent"`
	SentAt  time.Time `json:"sentAt,omitzero"`
	Failing time.Time `json:"failingSince,omitzero"`
	RetryAt time.Time `json:"retryAt,omitzero"`
	Error   string    `json:"error,omitempty"`
	Dead    int       `json:"dead"`
	// Tested is when the target was tested last, and TestError why the test did not arrive.
	Tested    time.Time `json:"tested,omitzero"`
	TestError string    `json:"testError,omitempty"`
	// Asked is what waits for the process that delivers: "test", "retry".
	Asked []string `json:"asked,omitempty"`
}

// Detail is a Status with the messages behind it.
type Detail struct {
	Status
	Last    []Receipt // delivered last, the newest first, at most maxShown
	Waiting []Receipt // what goes next, in its order, at most maxShown of those near the head of what waits
	Put     []Receipt // aside, as refused, the oldest first, at most maxShown
}

// Receipt is a message, or a file of the archive that ends with this entry.
type Receipt struct {
	Entry int64     `json:"index"` // position in the log
	ID    string    `json:"id"`    // of the message
	Type  string    `json:"type"`
	At    time.Time `json:"at"` // delivered, put aside or, while it waits, recorded
	Error string    `json:"error,omitempty"`
}

// maxShown is how many messages of each sort are shown of a target.
const maxShown = 20

// Outcome is what became of a test or of sending again.
type Outcome struct {
	// Asked says that this process reaches no target: the process that delivers does it with its next step.
	Asked     bool
	Delivered int
	Error     string // why the message did not arrive; empty: it did
}

// Status returns how deliveries go, in the order of the configuration, without asking the policy: for the doctor and the metrics.
func (n *Notifier) Status(ctx context.Context) ([]Status, error) {
	var out []Status
	size, err := n.c.Guard.Log.Size()
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	for _, t := range n.targets {
		s, err := n.load(ctx, t)
		x := Status{
			Target: t.Name, Kind: t.Kind, State: "ok", Behind: max(0, size-s.Next), Sent: s.Sent, SentAt: s.SentAt, Failing: s.Failing,
			RetryAt: s.RetryAt, Error: s.Error, Dead: s.Dead, Tested: s.Tested, TestError: s.TestError,
		}
		switch {
		case errors.Is(err, coffer.ErrNotFound):
			x.State, x.Behind = "new", 0
		case err != nil:
			return nil, err
		case !s.Failing.IsZero():
			x.State = "failing"
		case s.Dead > 0:
			x.State = "dead"
		}
		for a, err := range n.asked(ctx, t) {
			if err != nil {
				return nil, err
			}
			x.Asked = append(x.Asked, a.Step)
		}
		out = append(out, x)
	}
	return out, nil
}

// List is Status for whoever may administer deliveries.
func (n *Notifier) List(ctx context.Context, ask access.Ask) ([]Status, error) {
	permit, err := n.c.Guard.Check(ctx, ask.Caller, access.AdminNotify, system, ask.Context)
	if err != nil {
		return nil, err
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": "list"}
	if _, err = n.c.Guard.Log.Append(ctx, e); err != nil {
		return nil, err
	}
	return n.Status(ctx)
}

// Show returns how deliveries to one target go, message by message, for whoever may administer them.
func (n *Notifier) Show(ctx context.Context, ask access.Ask, name string) (*Detail, error) {
	permit, err := n.c.Guard.Check(ctx, ask.Caller, access.AdminNotify, system, ask.Context)
	if err != nil {
		return nil, err
	}
	t, err := n.find(name)
	if err != nil {
		return nil, err
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": "show", "target": name}
	if _, err = n.c.Guard.Log.Append(ctx, e); err != nil {
		return nil, err
	}
	list, err := n.Status(ctx)
	if err != nil {
		return nil, err
	}
	out := &Detail{}
	for _, s := range list {
		if s.Target == name {
			out.Status = s
		}
	}
	s, err := n.load(ctx, t)
	if errors.Is(err, coffer.ErrNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.Last = s.Last
	for x, err := range n.dead(ctx, t) {
		if err != nil {
			return nil, err
		}
		if out.Put = append(out.Put, x); len(out.Put) == maxShown {
			break
		}
	}
	for e, err := range n.c.Guard.Log.Entries(ctx, audit.Filter{Index: s.Next, Before: s.Next + window}) {
		if err != nil {
			return nil, fmt.Errorf("notify: %w", err)
		}
		if !t.wants(&e) {
			continue
		}
		ev := eventOf(e, "")
		if out.Waiting = append(out.Waiting, Receipt{Entry: e.Index, ID: ev.ID, Type: ev.Type, At: e.Time}); len(out.Waiting) == maxShown {
			break
		}
	}
	return out, nil
}

// dead yields what was put aside, in the order of the log.
func (n *Notifier) dead(ctx context.Context, t *target) iter.Seq2[Receipt, error] {
	return records[Receipt](ctx, n.c.DB, t.part(), "d")
}

// asked yields what the process that delivers was asked for.
func (n *Notifier) asked(ctx context.Context, t *target) iter.Seq2[asked, error] {
	return records[asked](ctx, n.c.DB, t.part(), "a")
}

// records yields the items of a target whose sort keys begin with a letter and "#".
func records[T any](ctx context.Context, db store.DB, part, letter string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for it, err := range db.Query(ctx, part, store.Range{From: letter + "#", To: letter + "$"}) {
			var x T
			if err == nil && json.Unmarshal(it.Value, &x) != nil {
				err = fmt.Errorf("record of a target: %w", coffer.ErrCorrupt)
			}
			if !yield(x, err) || err != nil {
				return
			}
		}
	}
}

func (n *Notifier) find(name string) (*target, error) {
	for _, t := range n.targets {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("target: there is none of this name in config.yaml: %w", coffer.ErrNotFound)
}

// asked is what somebody asked of a process that reaches no target.
type asked struct {
	Step   string    `json:"step"` // "test" or "retry"
	Intent audit.Ref `json:"intent"`
}

func (t *target) askedKey(step string) store.Key {
	return store.Key{Part: t.part(), Sort: "a#" + step}
}

// Test sends a message that says that it is a test, or where that would change something asks whether the target can be used. A message
// that did not arrive is no error: the outcome says why. Whoever asks needs access.AdminNotify; what is asked is on record before anything
// is sent, and what became of it afterwards.
func (n *Notifier) Test(ctx context.Context, ask access.Ask, name string) (Outcome, error) {
	return n.order(ctx, ask, name, "test")
}

// Retry sends the dead messages of a target again, in their order, and ends the wait of one whose receiver was down. The outcome says how
// many were delivered; the first that is refused again ends it. A target at which another process is gives coffer.ErrConflict.
func (n *Notifier) Retry(ctx context.Context, ask access.Ask, name string) (Outcome, error) {
	return n.order(ctx, ask, name, "retry")
}

// order does a step, or leaves it to the process that delivers.
func (n *Notifier) order(ctx context.Context, ask access.Ask, name, step string) (Outcome, error) {
	permit, err := n.c.Guard.Check(ctx, ask.Caller, access.AdminNotify, system, ask.Context)
	if err != nil {
		return Outcome{}, err
	}
	t, err := n.find(name)
	if err != nil {
		return Outcome{}, err
	}
	e := permit.Entry(audit.Intent)
	e.Detail = map[string]string{"step": step, "target": name}
	if n.c.Elsewhere {
		// The entry that the item names has its place in the log in the Apply before: whoever asked twice asked once.
		ref, err := n.c.Guard.Log.Append(ctx, e)
		if err != nil {
			return Outcome{}, err
		}
		b, err := json.Marshal(asked{step, ref})
		if err != nil {
			return Outcome{}, err
		}
		return Outcome{Asked: true}, n.c.DB.Apply(ctx, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{
			Key: t.askedKey(step), Value: b, Version: store.NewVersion()}})
	}
	if err := n.configure(ctx, ask); err != nil {
		return Outcome{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	lease, err := n.hold(ctx, t)
	if err != nil {
		return Outcome{}, fmt.Errorf("target %s: %w", name, err)
	}
	defer lease.Release(ctx)
	s, err := n.load(ctx, t)
	if err != nil {
		return Outcome{}, err
	}
	ref, err := n.c.Guard.Log.Append(ctx, e)
	if err != nil {
		return Outcome{}, err
	}
	d := &delivery{n: n, t: t, s: &s, lease: lease, ask: ask, permit: permit}
	return d.carry(ctx, step, ref)
}

// carry does what was asked for by an entry of the log, and records what became of it. An error is one of the installation, not of the
// receiver.
func (d *delivery) carry(ctx context.Context, step string, intent audit.Ref) (Outcome, error) {
	s := d.s
	var out Outcome
	var failed error
	detail := map[string]string{"step": step, "target": d.t.Name}
	switch step {
	case "test":
		failed = d.t.probe(ctx)
		s.Tested, s.TestError = d.n.c.Now().UTC(), ""
		if failed != nil {
			s.TestError = failed.Error()
		}
	case "retry":
		var own error
		if out.Delivered, failed, own = d.again(ctx); own != nil {
			return out, own
		}
		if failed == nil {
			s.Attempts, s.Refused, s.RetryAt, s.Error, s.Failing = 0, 0, time.Time{}, "", time.Time{}
		}
		detail["delivered"], detail["dead"] = strconv.Itoa(out.Delivered), strconv.Itoa(s.Dead)
	}
	outcome := audit.Done
	if failed != nil {
		outcome, out.Error = audit.Failed, failed.Error()
	}
	e := d.permit.Entry(outcome)
	e.Intent, e.Detail = intent, detail
	return out, d.save(context.WithoutCancel(ctx), &e, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: d.t.askedKey(step)}})
}

// again sends the dead messages. refused is why one of them did not arrive.
func (d *delivery) again(ctx context.Context) (sent int, refused, err error) {
	for x, err := range d.n.dead(ctx, d.t) {
		if err != nil {
			return sent, nil, err
		}
		for e, err := range d.n.c.Guard.Log.Entries(ctx, audit.Filter{Index: x.Entry, Before: x.Entry + 1}) {
			if err != nil {
				return sent, nil, err
			}
			ev := eventOf(e, d.n.c.Portal)
			if _, refused := d.t.send(ctx, []event{ev}); refused != nil {
				return sent, refused, nil
			}
			d.delivered(ev)
		}
		sent++
		d.s.Dead = max(0, d.s.Dead-1)
		if err := d.save(ctx, nil, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: d.t.deadKey(x.Entry)}}); err != nil {
			return sent, nil, err
		}
	}
	return sent, nil, nil
}

// delivered notes in the state what arrived.
func (d *delivery) delivered(events ...event) {
	s, now := d.s, d.n.c.Now().UTC()
	s.Sent, s.SentAt = s.Sent+int64(len(events)), now
	if _, ok := d.t.sender.(*archive); ok && len(events) > 0 {
		events = events[len(events)-1:] // of a file its last entry stands for it
	}
	for _, ev := range events[max(0, len(events)-maxShown):] {
		s.Last = append([]Receipt{{Entry: ev.Entry.Index, ID: ev.ID, Type: ev.Type, At: now}}, s.Last...)
	}
	s.Last = s.Last[:min(len(s.Last), maxShown)]
}
