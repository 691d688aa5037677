package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"coffer"
	"coffer/access"
)

// Guard stands before every operation of the domain packages: it asks the policy and sees to the record. Its fields do not
// change once it is in use; concurrent use is safe.
type Guard struct {
	Log *Log
	// Policy is the set that decides; with a Folder, see [Guard.Current].
	Policy *access.Policy
	// Folder is where the policies are, to be followed when they change; nil: Policy holds for good.
	Folder *access.Folder
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

	scrub sync.Once
	note  string   // what entries show of the note in context
	roles []string // what they show of the caller's
}

func newPermit(who access.Caller, action access.Action, what access.Resource, how access.Context, d access.Decision) *Permit {
	return &Permit{
		caller: who, action: action, resource: what, context: how, decision: d, roles: slices.Compact(slices.Sorted(slices.Values(who.Roles))),
	}
}

// unknownReason is the id under which the log names the rule that reason codes come from the configured list.
const unknownReason = "reason-code"

// Check asks whether the caller may do this and returns a permit if so. The zero Context.Now means now.
//
// A denial is recorded before it is returned, as a [*DeniedError] that names the rule and says what would help. If it cannot be
// recorded the error wraps [coffer.ErrUnavailable] instead. A permitted act is for the caller of Check to record.
func (g *Guard) Check(ctx context.Context, who access.Caller, action access.Action, what access.Resource, how access.Context) (*Permit, error) {
	if how.Now.IsZero() {
		how.Now = g.Log.now()
	}
	reasons := g.Reasons
	if reasons == nil {
		reasons = access.Reasons
	}
	if err := recordable(who, action, what, how); err != nil {
		return nil, err
	}
	policy, err := g.Current(ctx)
	if err != nil {
		return nil, err
	}
	r := access.Request{Caller: who, Action: action, Resource: what, Context: how}
	d := policy.Decide(r)
	if d.Allow && how.Reason != "" && !slices.Contains(reasons, how.Reason) {
		d.Allow, d.Policies = false, []string{unknownReason}
		d.Advice = "use one of the reason codes " + strings.Join(reasons, ", ")
	}
	if !slices.Contains(reasons, how.Reason) {
		how.Reason = "" // a word of the caller's own, which may be anything, has no place in the log
	}
	p := newPermit(who, action, what, how, d)
	if d.Allow {
		return p, nil
	}
	return nil, g.deny(ctx, p, policy.WhoMay(r))
}

// Refuse records a denial by a rule of the program itself, which holds whatever the policies say, and returns it as [Guard.Check]
// returns one of theirs. rule names it in the log: lower-case letters, digits and hyphens.
func (g *Guard) Refuse(ctx context.Context, who access.Caller, action access.Action, what access.Resource, how access.Context, rule, advice string) error {
	if how.Now.IsZero() {
		how.Now = g.Log.now()
	}
	if err := recordable(who, action, what, how); err != nil {
		return err
	}
	policy, err := g.Current(ctx)
	if err != nil {
		return err
	}
	d := access.Decision{Policies: []string{rule}, Advice: advice, Hash: policy.Hash()}
	return g.deny(ctx, newPermit(who, action, what, how, d), nil)
}

// recordable refuses what an entry could not say truly: only such entries are worth keeping, so what cannot be recorded is not asked.
func recordable(who access.Caller, action access.Action, what access.Resource, how access.Context) error {
	for _, s := range []string{string(action), what.ID, how.Request, how.Reason, how.Ticket, how.Purpose, how.Session, how.Token} {
		if !token(s) {
			return fmt.Errorf("malformed action, reason, ticket, purpose, or id of resource, request, session or token: %w", coffer.ErrInvalid)
		}
	}
	if !access.ValidID(who.ID) || how.Grant != "" && !access.ValidGrant(how.Grant) {
		return fmt.Errorf("malformed id of caller or grant: %w", coffer.ErrInvalid)
	}
	return nil
}

// deny records the denial that p holds and returns it.
func (g *Guard) deny(ctx context.Context, p *Permit, ask []string) error {
	if _, err := g.Log.Append(ctx, p.Entry(Denied)); err != nil {
		return fmt.Errorf("%s: recording the denial: %w", p.action, err)
	}
	return &DeniedError{
		Action: p.action, Rules: p.decision.Policies, Failed: len(p.decision.Errors) > 0, Advice: p.decision.Advice, Ask: ask,
	}
}

// Current returns the policies that are in force now. With a Folder it looks there, once a second at most, and takes in a set that
// changed: the change is on record, with the hashes of the old set and the new one, before the new one decides anything. A set
// that is not valid is not taken in; the old one stays in force, and log and logger say so. An error wraps
// [coffer.ErrUnavailable]: a change that cannot be recorded lets nothing happen.
func (g *Guard) Current(ctx context.Context) (*access.Policy, error) {
	if g.Folder == nil {
		return g.Policy, nil
	}
	return g.Folder.Current(g.Log.now(), func(old, now *access.Policy, err error) error { return g.Log.policies(ctx, old, now, err) })
}

// DeniedError is a denial with what the caller may be told of it. It wraps [coffer.ErrDenied].
type DeniedError struct {
	Action access.Action
	Rules  []string // ids of the policies that forbid it; none when no policy permits it
	Failed bool     // the policies could not be evaluated
	Advice string   // what would help
	Ask    []string // roles with which somebody else would be allowed the same: whom to ask
}

// Error names the rule and says what would help.
func (e *DeniedError) Error() string {
	rule := "no policy permits it"
	switch {
	case e.Failed:
		rule = "the policies could not be evaluated"
	case len(e.Rules) > 0:
		rule = "forbidden by " + strings.Join(e.Rules, ", ")
	}
	if e.Advice != "" {
		rule += "; " + e.Advice
	}
	if len(e.Ask) > 0 {
		rule += "; the roles " + strings.Join(e.Ask, ", ") + " may"
	}
	return fmt.Sprintf("%s: %v: %s", e.Action, coffer.ErrDenied, rule)
}

// Unwrap returns [coffer.ErrDenied].
func (*DeniedError) Unwrap() error { return coffer.ErrDenied }

// Entry begins an entry about the permitted act. The caller adds what it knows (occurrences, object, plan, intent, detail);
// who, what, why and under which policy come from the permit whatever the fields say.
func (p *Permit) Entry(o Outcome) Entry {
	e := Entry{permit: p, Outcome: o, Index: -1}
	p.stamp(&e)
	return e
}

// cleaned returns the note as entries show it. The detectors look through it once, however many entries an act has.
func (p *Permit) cleaned(scrub func([]byte) []byte) string {
	p.scrub.Do(func() {
		if p.context.Note != "" {
			p.note = cleanNote(scrub([]byte(p.context.Note)))
		}
	})
	return p.note
}

// Now returns the time at which the permit was asked for.
func (p *Permit) Now() time.Time { return p.context.Now }

// Caller returns the caller to whom the permit was given.
func (p *Permit) Caller() access.Caller { return p.caller }

// Action returns what was permitted.
func (p *Permit) Action() access.Action { return p.action }

// stamp writes into e what the permit says.
func (p *Permit) stamp(e *Entry) {
	e.Actor = Actor{Kind: p.caller.Kind, ID: p.caller.ID, Roles: p.roles, Local: p.context.Local}
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
