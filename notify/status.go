package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
			RetryAt: s.RetryAt, Error: s.Error, Dead: s.Dead,
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
	out, err := n.Status(ctx)
	if err != nil {
		return nil, err
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": "list"}
	_, err = n.c.Guard.Log.Append(ctx, e)
	return out, err
}

func (n *Notifier) find(name string) (*target, error) {
	for _, t := range n.targets {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("target: there is none of this name in config.yaml: %w", coffer.ErrNotFound)
}

// Test sends a message that says that it is a test, or where that would change something asks whether the target can be used. Its error
// is why it did not arrive.
func (n *Notifier) Test(ctx context.Context, ask access.Ask, name string) error {
	permit, err := n.c.Guard.Check(ctx, ask.Caller, access.AdminNotify, system, ask.Context)
	if err != nil {
		return err
	}
	t, err := n.find(name)
	if err != nil {
		return err
	}
	e := permit.Entry(audit.Intent)
	e.Detail = map[string]string{"step": "test", "target": name}
	ref, err := n.c.Guard.Log.Append(ctx, e)
	if err != nil {
		return err
	}
	sent := t.probe(ctx)
	e = permit.Entry(audit.Done)
	if sent != nil {
		e = permit.Entry(audit.Failed)
	}
	e.Intent, e.Detail = ref, map[string]string{"step": "test", "target": name}
	if _, err := n.c.Guard.Log.Append(context.WithoutCancel(ctx), e); err != nil {
		return err
	}
	return sent
}

// Retry sends the dead messages of a target again, in their order, and ends the wait of one whose receiver was down. It returns how many
// were delivered; the first that is refused again ends it. A target at which another process is gives coffer.ErrConflict.
func (n *Notifier) Retry(ctx context.Context, ask access.Ask, name string) (int, error) {
	permit, err := n.c.Guard.Check(ctx, ask.Caller, access.AdminNotify, system, ask.Context)
	if err != nil {
		return 0, err
	}
	t, err := n.find(name)
	if err != nil {
		return 0, err
	}
	if err := n.configure(ctx, ask); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	lease, err := n.hold(ctx, t)
	if err != nil {
		return 0, fmt.Errorf("target %s: %w", name, err)
	}
	defer lease.Release(ctx)
	s, err := n.load(ctx, t)
	if err != nil {
		return 0, err
	}
	d := &delivery{n: n, t: t, s: &s, lease: lease, ask: ask, permit: permit}
	sent := 0
	again := func() error {
		for it, err := range n.c.DB.Query(ctx, t.part(), store.Range{From: "d#", To: "d$"}) {
			var x dead
			if err == nil && json.Unmarshal(it.Value, &x) != nil {
				err = fmt.Errorf("dead message: %w", coffer.ErrCorrupt)
			}
			if err != nil {
				return err
			}
			for e, err := range n.c.Guard.Log.Entries(ctx, audit.Filter{Index: x.Index, Before: x.Index + 1}) {
				if err != nil {
					return err
				}
				if _, err := t.send(ctx, []event{eventOf(e, n.c.Portal)}); err != nil {
					return err
				}
			}
			sent++
			s.Sent, s.SentAt, s.Dead = s.Sent+1, n.c.Now().UTC(), max(0, s.Dead-1)
			if err := d.save(ctx, nil, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: it.Key}}); err != nil {
				return err
			}
		}
		return nil
	}
	failed := again()
	e := permit.Entry(audit.Done)
	if failed != nil {
		e = permit.Entry(audit.Failed)
	} else {
		s.Attempts, s.Refused, s.RetryAt, s.Error, s.Failing = 0, 0, time.Time{}, "", time.Time{}
	}
	e.Detail = map[string]string{"step": "retry", "target": name, "delivered": strconv.Itoa(sent), "dead": strconv.Itoa(s.Dead)}
	if err := d.save(context.WithoutCancel(ctx), &e); err != nil {
		return sent, err
	}
	return sent, failed
}
