package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// Act is what is about to be done.
type Act struct {
	Action   access.Action
	Resource access.Resource
	// Of a reveal: the occurrences whose values will be opened, and the generation of the finding's sealed values.
	Numbers    []int
	Generation string
	Values     int // how many values, or searches
}

// maxTries bounds the attempts when other processes spend the same caller's budget or the same broken glass.
const maxTries = 32

// Intend asks whether the caller may do the act and records that it is about to be done, as an entry with outcome Intent. prepare
// completes it, once the caller may; its error is returned as it is, and nothing was recorded or used up. In the same Apply of the store it uses up the grant that the context names, and charges the caller's budget when
// it names none. When it returns nil the act may be done, once, and its result is to be recorded under the permit.
//
// A grant that is not good for this act, by this caller, now, is refused, whatever the caller's own right: the error wraps
// coffer.ErrDenied and the denial is on record. A spent budget is a [*LimitError], on record too. Errors wrapping
// coffer.ErrUnavailable and all others mean that the act must not be done.
func (g *Grants) Intend(ctx context.Context, ask access.Ask, a Act, prepare func(*audit.Entry) error) (*audit.Permit, audit.Ref, error) {
	ask.Context = ask.Context.Claimed()
	ask.Context.Values = a.Values
	defer g.turn(ask, a)()
	for range maxTries {
		permit, ref, err := g.intend(ctx, ask, a, prepare)
		if !errors.Is(err, coffer.ErrConflict) {
			return permit, ref, err
		}
	}
	return nil, audit.Ref{}, fmt.Errorf("%s: others use the same grant or budget: %w", a.Action, coffer.ErrConflict)
}

func (g *Grants) intend(ctx context.Context, ask access.Ask, a Act, prepare func(*audit.Entry) error) (*audit.Permit, audit.Ref, error) {
	var none audit.Ref
	var r *Request
	var ops []store.Op
	if ask.Context.Grant != "" {
		var rule, advice string
		var err error
		if r, rule, advice, err = g.usable(ctx, ask, a); err != nil {
			return nil, none, err
		}
		if rule != "" {
			return nil, none, g.refuse(ctx, ask, a.Action, a.Resource, rule, advice)
		}
		r.tell(&ask.Context)
	}
	permit, err := g.check(ctx, ask, a.Action, a.Resource)
	if err != nil {
		return nil, none, err
	}
	e := permit.Entry(audit.Intent)
	if err := prepare(&e); err != nil {
		return nil, none, err
	}
	if r != nil {
		r.Spent += a.Values
		if !r.Glass {
			r.Status, r.Ended, r.EndedBy = Used, permit.Now().UTC(), r.By
		}
		ops = r.save()
	}
	charge, err := g.charged(ctx, ask, a)
	if err != nil {
		return nil, none, err
	}
	ops = append(ops, charge...)
	ref, err := g.Guard.Log.Apply(ctx, e, ops...)
	if err != nil {
		if len(ops) == 0 || !errors.Is(err, coffer.ErrConflict) {
			err = notSure(err)
		}
		return nil, none, err
	}
	if r != nil && r.Glass {
		g.alert(ctx, r)
	}
	return permit, ref, nil
}

// charged returns the operations that charge the act to the caller's budget. A budget that does not suffice is on record when it
// returns the [*LimitError].
func (g *Grants) charged(ctx context.Context, ask access.Ask, a Act) ([]store.Op, error) {
	name, l, n := g.budget(ask, a)
	if n == 0 {
		return nil, nil
	}
	op, over, err := g.charge(ctx, ask.Caller, name, l, n, g.Now())
	if err != nil {
		return nil, err
	}
	if over != nil {
		if err := g.refuse(ctx, ask, a.Action, a.Resource, "budget-"+name, over.Error()); !errors.Is(err, coffer.ErrDenied) {
			return nil, err
		}
		return nil, over
	}
	return []store.Op{op}, nil
}

// Charge charges a permitted act that is recorded by apply, in the same Apply of the store as the operations that it is given. apply is
// called again when another act of the caller was first. A budget that does not suffice is a [*LimitError]; apply was not called.
func (g *Grants) Charge(ctx context.Context, ask access.Ask, a Act, apply func(...store.Op) error) error {
	ask.Context = ask.Context.Claimed()
	ask.Context.Grant = ""
	defer g.turn(ask, a)()
	for range maxTries {
		ops, err := g.charged(ctx, ask, a)
		if err == nil {
			err = apply(ops...)
		}
		if len(ops) == 0 || !errors.Is(err, coffer.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%s: others spend the same budget: %w", a.Action, coffer.ErrConflict)
}

// notSure makes of an error that leaves it open whether the intent was recorded one that lets nothing happen.
func notSure(err error) error {
	for _, is := range []error{coffer.ErrInvalid, coffer.ErrLimit, coffer.ErrUnavailable, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
}

// tell adds to c what policies may ask about a request that is in force.
func (r *Request) tell(c *access.Context) {
	r.Approvals.Tell(c)
	c.Requester, c.BreakGlass = r.By, r.Glass
	if c.Ticket == "" {
		c.Ticket = r.Ticket
	}
}

// usable returns the request that the context names, if it is good for this act by this caller now; else the rule that says why not.
func (g *Grants) usable(ctx context.Context, ask access.Ask, a Act) (r *Request, rule, advice string, err error) {
	const anew = "make a request of exactly what is needed: coffer access request"
	r, err = g.get(ctx, ask.Context.Grant)
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, "grant-unknown", anew, nil
	}
	if err != nil {
		return nil, "", "", err
	}
	left := r.Values - r.Spent
	state := r.State(g.Now()) // not at the time that the question carries, which may have waited
	switch {
	case r.By != ask.Caller.ID:
		return nil, "grant-unknown", anew, nil // of somebody else: no more is said
	case state == Requested:
		return nil, "grant-not-approved", "wait until it is approved", nil
	case state == Expired:
		return nil, "grant-expired", anew, nil
	case state != Approved && state != Broken:
		return nil, "grant-" + string(state), anew, nil
	case r.Action != a.Action:
		return nil, "grant-other-action", anew, nil
	case !r.Glass && r.Finding != "" && r.Finding != a.Resource.ID:
		return nil, "grant-other-finding", anew, nil
	case !r.Glass && r.Generation != a.Generation:
		return nil, "grant-values-changed", "the values of the finding were sealed anew since the request; " + anew, nil
	case a.Values > left:
		return nil, "grant-too-few-values", fmt.Sprintf("it is good for %d values; name fewer occurrences, or make a request for more", left), nil
	case len(r.Numbers) > 0 && slices.ContainsFunc(a.Numbers, func(n int) bool { return !slices.Contains(r.Numbers, n) }):
		return nil, "grant-other-numbers", anew, nil
	}
	return r, "", "", nil
}
