package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
)

// Guard stands before every operation of the domain packages: it asks the policy and sees to the record. Its fields do not
// change once it is in use; concurrent use is safe.
type Guard struct {
	Log    *Log
	Policy *access.Policy
	// Reasons are the accepted reason codes; nil: [access.Reasons].
	Reasons []string
}

// Permit is proof that the policy allowed one act to one caller. Only [Guard.Check] makes one, and entries of the log are made
// from nothing else, so code that forgot to ask cannot record, and code that cannot record must not act. It is for the act
// that was asked about, at once, and is not kept.
type Permit struct {
	caller   access.Caller
	action   access.Action
	resource access.Resource
	context  access.Context
	decision access.Decision
}

// unknownReason is the id under which the log names the rule that reason codes come from the configured list.
const unknownReason = "reason-code"

// Check asks whether the caller may do this and returns a permit if so. The zero Context.Now means now.
//
// A denial is recorded before it is returned, as an error wrapping [coffer.ErrDenied] that names the rule and says what would
// help. If it cannot be recorded the error wraps [coffer.ErrUnavailable] instead. A permitted act is for the caller of Check
// to record.
func (g *Guard) Check(ctx context.Context, who access.Caller, action access.Action, what access.Resource, how access.Context) (*Permit, error) {
	if how.Now.IsZero() {
		how.Now = g.Log.now()
	}
	reasons := g.Reasons
	if reasons == nil {
		reasons = access.Reasons
	}
	// Only entries that say truly what was asked for are worth keeping, so what cannot be recorded is not asked.
	if !token(string(action)) || !access.ValidID(who.ID) || !token(what.ID) || !token(how.Request) || !token(how.Reason) {
		return nil, fmt.Errorf("malformed action, reason, or id of caller, resource or request: %w", coffer.ErrInvalid)
	}
	d := g.Policy.Decide(access.Request{Caller: who, Action: action, Resource: what, Context: how})
	if d.Allow && how.Reason != "" && !slices.Contains(reasons, how.Reason) {
		d.Allow, d.Policies = false, []string{unknownReason}
		d.Advice = "use one of the reason codes " + strings.Join(reasons, ", ")
	}
	p := &Permit{caller: who, action: action, resource: what, context: how, decision: d}
	if d.Allow {
		return p, nil
	}
	if _, err := g.Log.Append(ctx, p.Entry(Denied)); err != nil {
		return nil, fmt.Errorf("%s: recording the denial: %w", action, err)
	}
	rule := "no policy permits it"
	switch {
	case len(d.Errors) > 0:
		rule = "the policies could not be evaluated"
	case len(d.Policies) > 0:
		rule = "forbidden by " + strings.Join(d.Policies, ", ")
	}
	if d.Advice != "" {
		rule += "; " + d.Advice
	}
	return nil, fmt.Errorf("%s: %w: %s", action, coffer.ErrDenied, rule)
}

// Entry begins an entry about the permitted act. The caller adds what it knows (occurrences, object, plan, intent, detail);
// who, what, why and under which policy come from the permit whatever the fields say.
func (p *Permit) Entry(o Outcome) Entry {
	e := Entry{permit: p, Outcome: o, Index: -1}
	p.stamp(&e)
	return e
}

// Now returns the time at which the permit was asked for.
func (p *Permit) Now() time.Time { return p.context.Now }

// Caller returns the caller to whom the permit was given.
func (p *Permit) Caller() access.Caller { return p.caller }

// Action returns what was permitted.
func (p *Permit) Action() access.Action { return p.action }

// stamp writes into e what the permit says.
func (p *Permit) stamp(e *Entry) {
	roles := slices.Sorted(slices.Values(p.caller.Roles))
	e.Actor = Actor{Kind: p.caller.Kind, ID: p.caller.ID, Roles: slices.Compact(roles), Local: p.context.Local}
	e.Action, e.Request, e.Reason = p.action, p.context.Request, p.context.Reason
	e.Decision, e.Policies, e.Hash = Deny, p.decision.Policies, p.decision.Hash
	if p.decision.Allow {
		e.Decision = Allow
	}
	switch p.resource.Kind {
	case access.Finding:
		e.Finding = p.resource.ID
	case access.Plan:
		e.Plan = p.resource.ID
	case access.Object:
		e.Object = p.resource.ID
	}
}
