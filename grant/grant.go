// Package grant keeps requests for access with their approvals, broken glass with its review, and what each caller has spent of
// their budgets. It decides nothing about who may: that is for the policies, which it tells who asked and who consented.
//
// What it does enforce, whatever the policies say: an approval binds to exactly what was asked for, by whom, and what was shown to who
// approved it; nobody approves or reviews what they asked for; an approval is used once, and expires; and it is used up in the very
// Apply of the store that records the intent of the act. So a crash before that loses no approval, and after it none can be used
// twice, by whatever number of processes.
//
// The states of a request:
//
//	requested -> approved -> used
//	     |           \----> withdrawn, denied, expired
//	     \-> denied, withdrawn, expired
//
// and of broken glass: broken -> expired -> reviewed, or at once reviewed. Expiry is a fact of time and is not stored.
//
//	G#<id>      request    a [Request]
//	GL#<shard>  <id>       the list of requests
//	GB          <caller>   broken glass of this caller that nobody reviewed
//	GU#<caller> <budget>   what the caller has spent within the last day
//
// Plans carry approvals of their own, under the same rules: see package remedy and [Approvals].
package grant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/internal/lazyregexp"
	"coffer/store"
	"coffer/triage"
)

// Rules are what an installation can choose. A zero field has the default that its comment names.
type Rules struct {
	Approvers   int           // that a request takes: 1
	Duration    time.Duration // of an approval, where the request names none: 1 h
	MaxDuration time.Duration // that a request may name: 8 h
	Pending     time.Duration // how long a request can be answered: 72 h
	Glass       time.Duration // how long broken glass can be used, where nothing is said: 15 min
	MaxGlass    time.Duration // how long at most: 30 min
	GlassValues int           // how many values can be seen through it: 25
	Budgets     Budgets       // see there; each limit that is zero has its default
}

// Limits of the rules that no configuration widens.
const (
	maxDuration = 8 * time.Hour
	maxGlass    = 30 * time.Minute
)

// Defaults returns r with the defaults in the places that are zero.
func (r Rules) Defaults() Rules {
	r.Approvers = cmp.Or(r.Approvers, 1)
	r.MaxDuration = min(cmp.Or(r.MaxDuration, maxDuration), maxDuration)
	r.Duration = min(cmp.Or(r.Duration, time.Hour), r.MaxDuration)
	r.Pending = cmp.Or(r.Pending, 72*time.Hour)
	r.MaxGlass = min(cmp.Or(r.MaxGlass, maxGlass), maxGlass)
	r.Glass = min(cmp.Or(r.Glass, 15*time.Minute), r.MaxGlass)
	r.GlassValues = cmp.Or(r.GlassValues, 25)
	for _, b := range []struct{ have, deflt *Limit }{
		{&r.Budgets.Reveals, &defaultBudgets.Reveals}, {&r.Budgets.Searches, &defaultBudgets.Searches}, {&r.Budgets.Tokens, &defaultBudgets.Tokens},
	} {
		b.have.Hour, b.have.Day = cmp.Or(b.have.Hour, b.deflt.Hour), cmp.Or(b.have.Day, b.deflt.Day)
	}
	return r
}

// Check reports which rule is out of its limits; its error wraps coffer.ErrInvalid.
func (r Rules) Check() error {
	b := r.Budgets
	for what, n := range map[string]int{
		"approvers": r.Approvers, "values of broken glass": r.GlassValues, "budget of reveals": min(b.Reveals.Hour, b.Reveals.Day),
		"budget of searches": min(b.Searches.Hour, b.Searches.Day), "budget of tokens": min(b.Tokens.Hour, b.Tokens.Day),
	} {
		if n < 0 {
			return fmt.Errorf("%s: less than nothing: %w", what, coffer.ErrInvalid)
		}
	}
	if r.Approvers > 10 {
		return fmt.Errorf("approvers: at most 10: %w", coffer.ErrInvalid)
	}
	for what, d := range map[string][2]time.Duration{
		"duration": {r.Duration, maxDuration}, "longest duration": {r.MaxDuration, maxDuration}, "time to answer": {r.Pending, 30 * 24 * time.Hour},
		"time of broken glass": {r.Glass, maxGlass}, "longest time of broken glass": {r.MaxGlass, maxGlass},
	} {
		if d[0] != 0 && d[0] < time.Minute || d[0] > d[1] {
			return fmt.Errorf("%s: a minute to %s: %w", what, d[1], coffer.ErrInvalid)
		}
	}
	return nil
}

// Grants is safe for concurrent use, by several processes on one store. Its fields do not change once it is in use.
type Grants struct {
	DB      store.DB
	Records triage.Records
	Guard   *audit.Guard
	Scrub   func(text string) string // replaces what the detectors find in a text that somebody wrote
	Now     func() time.Time
	Rules   Rules
	// Alert, where not nil, is told when glass is broken and each time something is done through it, after the entry of the log is
	// durable and before the act. It must return soon; what it cannot deliver at once it keeps.
	Alert func(ctx context.Context, r Request)

	mu    sync.Mutex // guards turns
	turns map[string]*turn
}

func (g *Grants) rules() Rules { return g.Rules.Defaults() }

// turn is one caller's: their acts take turns in a process, instead of losing to each other in the store. It is held while an entry
// becomes durable, so nobody else's act may wait for it.
type turn struct {
	mu    sync.Mutex
	users int // who hold it or wait for it
}

// turn waits for the caller's turn and returns the function that ends it. An act that uses up neither a grant nor a budget does not
// wait.
func (g *Grants) turn(ask access.Ask, a Act) (end func()) {
	if _, _, n := g.budget(ask, a); n == 0 && ask.Context.Grant == "" {
		return func() {}
	}
	id := ask.Caller.ID
	g.mu.Lock()
	t := g.turns[id]
	if t == nil {
		t = new(turn)
		if g.turns == nil {
			g.turns = make(map[string]*turn)
		}
		g.turns[id] = t
	}
	t.users++
	g.mu.Unlock()
	t.mu.Lock()
	return func() {
		t.mu.Unlock()
		g.mu.Lock()
		defer g.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(g.turns, id)
		}
	}
}

var ticketForm = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9#/._-]{0,63}$`)

// words checks and scrubs what a person wrote: the ticket of the context, and a note.
func (g *Grants) words(c access.Context, note string) (string, error) {
	if c.Ticket != "" && (!ticketForm().MatchString(c.Ticket) || g.Scrub(c.Ticket) != c.Ticket) {
		return "", fmt.Errorf("ticket is at most 64 letters, digits and #/._- and not a long number: %w", coffer.ErrInvalid)
	}
	note = g.Scrub(strings.TrimSpace(note))
	if len(note) > audit.MaxNote {
		return "", fmt.Errorf("note of %d bytes, at most %d: %w", len(note), audit.MaxNote, coffer.ErrLimit)
	}
	return note, nil
}

var system = access.Resource{Kind: access.System}

func (g *Grants) check(ctx context.Context, ask access.Ask, action access.Action, r access.Resource) (*audit.Permit, error) {
	return g.Guard.Check(ctx, ask.Caller, action, r, ask.Context)
}

// refuse records a denial by a rule of this package.
func (g *Grants) refuse(ctx context.Context, ask access.Ask, action access.Action, r access.Resource, rule, advice string) error {
	return g.Guard.Refuse(ctx, ask.Caller, action, r, ask.Context, rule, advice)
}

// Wanted is what a request asks for.
type Wanted struct {
	Action  access.Action // value.reveal or value.search
	Finding string        // for value.reveal
	Numbers []int         // of occurrences; none: any
	// Values is how many at most; 0: as many as there are. For value.search it is how many searches, which is one.
	Values   int
	Duration time.Duration // once approved; 0: the default
	// Attempt, 32 hex digits, names the request, so that a repeated attempt finds the one that is there; empty: any name.
	Attempt string
}

// Ask records a request. Why is in the context: the reason code, and a note or ticket. Errors wrap coffer.ErrNotFound for a finding or
// occurrence that is not there, coffer.ErrInvalid for what cannot be granted, coffer.ErrDenied.
func (g *Grants) Ask(ctx context.Context, ask access.Ask, w Wanted) (*Request, error) {
	ask.Context = ask.Context.Claimed()
	ask.Context.Grant = ""
	rules := g.rules()
	r := &Request{
		ID: newID("req-"), By: ask.Caller.ID, Action: w.Action, Values: w.Values, Reason: ask.Context.Reason, Ticket: ask.Context.Ticket,
		Duration: cmp.Or(w.Duration, rules.Duration), Need: rules.Approvers, Created: g.Now().UTC(), Status: Requested,
	}
	r.Deadline = r.Created.Add(rules.Pending)
	if w.Attempt != "" {
		r.ID = "req-" + w.Attempt
		if made, err := g.get(ctx, r.ID); !errors.Is(err, coffer.ErrNotFound) {
			if err == nil && made.By != r.By {
				err = fmt.Errorf("request: %w", coffer.ErrConflict)
			}
			return made, err
		}
	}
	res := system
	var err error
	switch w.Action {
	case access.ValueReveal:
		if res, err = g.wanted(ctx, ask, r, w); err != nil {
			return nil, err
		}
	case access.ValueSearch:
		if w.Finding != "" || len(w.Numbers) > 0 || w.Values > 1 {
			return nil, fmt.Errorf("a request for a search is for one, and names no finding: %w", coffer.ErrInvalid)
		}
		r.Values = 1
	default:
		return nil, fmt.Errorf("a request asks for value.reveal or value.search; a plan is approved itself: %w", coffer.ErrInvalid)
	}
	permit, err := g.check(ctx, ask.Values(r.Values), access.AccessRequest, res)
	if err != nil {
		return nil, err
	}
	if r.Duration < time.Minute || r.Duration > rules.MaxDuration {
		return nil, fmt.Errorf("an approval is good for a minute to %s: %w", rules.MaxDuration, coffer.ErrInvalid)
	}
	if r.Note, err = g.words(ask.Context, ask.Context.Note); err != nil {
		return nil, err
	}
	r.Hash = r.digest()
	e := permit.Entry(audit.Done)
	e.Occurrences = r.Numbers
	e.Detail = g.detail(r, "request")
	if _, err := g.Guard.Log.Apply(ctx, e, r.save()...); err != nil {
		return nil, fmt.Errorf("store request: %w", err)
	}
	return r, nil
}

// wanted fills in what is asked for of a finding and returns how policies see it.
func (g *Grants) wanted(ctx context.Context, ask access.Ask, r *Request, w Wanted) (access.Resource, error) {
	rec, err := g.Records.Get(ctx, w.Finding)
	if err != nil {
		return access.Resource{}, g.hide(ctx, ask, access.AccessRequest, err)
	}
	lines, err := g.Records.Lines(ctx, w.Finding)
	if err != nil {
		return access.Resource{}, err
	}
	sealed := map[int]bool{}
	for _, l := range lines {
		if l.Sealed {
			sealed[l.N] = true
		}
	}
	r.Finding, r.Generation = w.Finding, rec.Generation
	r.Numbers = slices.Compact(slices.Sorted(slices.Values(w.Numbers)))
	most := len(sealed)
	if len(r.Numbers) > 0 {
		most = len(r.Numbers)
	}
	for _, n := range r.Numbers {
		if !sealed[n] {
			return access.Resource{}, fmt.Errorf("occurrence %d with a sealed value: %w", n, coffer.ErrNotFound)
		}
	}
	r.Values = cmp.Or(w.Values, most)
	if r.Values < 1 || r.Values > most {
		return access.Resource{}, fmt.Errorf("%d values, of %d: %w", r.Values, most, coffer.ErrInvalid)
	}
	return rec.Resource(), nil
}

// hide answers for what does not exist the way it would for what the caller may not know of.
func (g *Grants) hide(ctx context.Context, ask access.Ask, action access.Action, err error) error {
	if !errors.Is(err, coffer.ErrNotFound) {
		return err
	}
	unknown := access.Resource{Kind: access.Finding, ID: "unknown", Origins: []coffer.Origin{coffer.OriginOperator}}
	if _, denied := g.check(ctx, ask, action, unknown); errors.Is(denied, coffer.ErrUnavailable) {
		return denied
	}
	return err
}

func (g *Grants) detail(r *Request, step string) map[string]string {
	return map[string]string{
		"request": r.ID, "step": step, "hash": r.Hash, "by": r.By, "for": string(r.Action), "values": strconv.Itoa(r.Values),
		"seconds": strconv.Itoa(int(r.Duration / time.Second)), "state": string(r.Status),
	}
}

// decide loads a request and asks whether the caller may decide on it. Who asked for it may not, whatever the policies say.
func (g *Grants) decide(ctx context.Context, ask *access.Ask, id string) (*Request, *audit.Permit, error) {
	ask.Context = ask.Context.Claimed()
	ask.Context.Grant = ""
	r, err := g.get(ctx, id)
	if err == nil && r.Glass {
		err = fmt.Errorf("request %s: %w", id, coffer.ErrNotFound)
	}
	if err != nil {
		return nil, nil, g.hide(ctx, *ask, access.AccessApprove, err)
	}
	res, err := g.resource(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	ask.Context.Requester, ask.Context.Values = r.By, r.Values
	if r.By == ask.Caller.ID {
		return nil, nil, g.refuse(ctx, *ask, access.AccessApprove, res, "nobody-approves-own-request", "somebody other than the person who asked must decide; to take a request back, withdraw it")
	}
	permit, err := g.check(ctx, *ask, access.AccessApprove, res)
	return r, permit, err
}

// resource describes what is asked for to the policies.
func (g *Grants) resource(ctx context.Context, r *Request) (access.Resource, error) {
	if r.Finding == "" {
		return system, nil
	}
	rec, err := g.Records.Get(ctx, r.Finding)
	if err != nil {
		return access.Resource{}, err
	}
	return rec.Resource(), nil
}

// Approve records the caller's consent to the request with this hash: that of what the caller was shown. With as many approvals as the
// request takes it is in force, for as long as was asked for, from now on. A hash of something else, a request that is not
// waiting, and one whose finding was sealed anew give an error wrapping coffer.ErrConflict.
func (g *Grants) Approve(ctx context.Context, ask access.Ask, id, hash string) (*Request, error) {
	r, permit, err := g.decide(ctx, &ask, id)
	if err != nil {
		return nil, err
	}
	now := g.Now().UTC()
	if s := r.State(now); s != Requested {
		return nil, fmt.Errorf("request %s is %s: %w", id, s, coffer.ErrConflict)
	}
	if hash != r.Hash {
		return nil, fmt.Errorf("request %s is not what was shown; look at it again: %w", id, coffer.ErrConflict)
	}
	if r.Finding != "" {
		rec, err := g.Records.Get(ctx, r.Finding)
		if err != nil {
			return nil, err
		}
		if rec.Generation != r.Generation {
			return nil, fmt.Errorf("the values of the finding were sealed anew since request %s; it must be made again: %w", id, coffer.ErrConflict)
		}
	}
	r.Approvals = r.Approvals.With(Approval{By: ask.Caller.ID, At: now, Until: r.Deadline, For: r.Hash})
	if len(r.Approvals) >= r.Need {
		r.Status = Approved
		for i := range r.Approvals {
			r.Approvals[i].Until = now.Add(r.Duration)
		}
	}
	return r, g.record(ctx, permit, r, "approve")
}

// Deny ends a request that is waiting or approved. The note says why, to who asked.
func (g *Grants) Deny(ctx context.Context, ask access.Ask, id, note string) (*Request, error) {
	r, permit, err := g.decide(ctx, &ask, id)
	if err != nil {
		return nil, err
	}
	if r.Answer, err = g.words(ask.Context, note); err != nil {
		return nil, err
	}
	if r.Answer == "" {
		return nil, fmt.Errorf("say why, to the person who asked: %w", coffer.ErrInvalid)
	}
	return r, g.end(ctx, permit, r, Denied)
}

// Withdraw takes back a request of the caller's own that is waiting or approved.
func (g *Grants) Withdraw(ctx context.Context, ask access.Ask, id string) (*Request, error) {
	ask.Context = ask.Context.Claimed()
	ask.Context.Grant = ""
	permit, err := g.check(ctx, ask, access.AccessList, system)
	if err != nil {
		return nil, err
	}
	r, err := g.get(ctx, id)
	if err == nil && (r.By != ask.Caller.ID || r.Glass) {
		err = fmt.Errorf("request %s: %w", id, coffer.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return r, g.end(ctx, permit, r, Withdrawn)
}

// end ends a request that is waiting or in force.
func (g *Grants) end(ctx context.Context, permit *audit.Permit, r *Request, s State) error {
	now := g.Now().UTC()
	if was := r.State(now); was != Requested && was != Approved {
		return fmt.Errorf("request %s is %s: %w", r.ID, was, coffer.ErrConflict)
	}
	r.Status, r.Ended, r.EndedBy = s, now, permit.Caller().ID
	return g.record(ctx, permit, r, string(s))
}

// record stores a request together with the entry that reports its change.
func (g *Grants) record(ctx context.Context, permit *audit.Permit, r *Request, step string, ops ...store.Op) error {
	e := permit.Entry(audit.Done)
	e.Finding, e.Occurrences, e.Detail = r.Finding, r.Numbers, g.detail(r, step)
	if _, err := g.Guard.Log.Apply(ctx, e, append(r.save(), ops...)...); err != nil {
		return fmt.Errorf("request %s: %w", r.ID, err)
	}
	return nil
}

// List returns, newest first, the requests that the caller may see: their own; those that they may decide on; with the right to
// read the log, all. With inbox only those that wait for the caller to decide or, of broken glass, to review.
func (g *Grants) List(ctx context.Context, ask access.Ask, inbox bool) ([]*Request, error) {
	ask.Context = ask.Context.Claimed()
	permit, err := g.check(ctx, ask, access.AccessList, system)
	if err != nil {
		return nil, err
	}
	ask.Context.Now = permit.Now()
	out, err := g.list(ctx, ask, inbox)
	if err != nil {
		return nil, err
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"requests": strconv.Itoa(len(out))}
	_, err = g.Guard.Log.Append(ctx, e)
	return out, err
}

// Waiting returns what [Grants.List] with inbox does, and records neither that it was asked for nor a refusal, which is an empty list. It
// is for a number that stands on every page, and nothing of the requests may be shown from it.
func (g *Grants) Waiting(ctx context.Context, ask access.Ask) ([]*Request, error) {
	ask.Context = ask.Context.Claimed()
	ask.Context.Now = g.Now()
	policy, err := g.Guard.Current(ctx)
	if err != nil {
		return nil, err
	}
	if !policy.Decide(access.Request{Caller: ask.Caller, Action: access.AccessList, Resource: system, Context: ask.Context}).Allow {
		return nil, nil
	}
	return g.list(ctx, ask, true)
}

// list returns the requests that the caller, who may list them, may see at the time of the context.
func (g *Grants) list(ctx context.Context, ask access.Ask, inbox bool) ([]*Request, error) {
	policy, err := g.Guard.Current(ctx)
	if err != nil {
		return nil, err
	}
	may := func(action access.Action, res access.Resource, by string) bool {
		c := ask.Context
		c.Requester = by
		return policy.Decide(access.Request{Caller: ask.Caller, Action: action, Resource: res, Context: c}).Allow
	}
	everything := may(access.AuditRead, system, "")
	now := g.Now()
	var out []*Request
	for it, err := range requests.Query(ctx, g.DB, store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("list of requests: %w", err)
		}
		r, err := g.get(ctx, it.Key.Sort)
		if errors.Is(err, coffer.ErrNotFound) {
			continue // expired before its place in the list
		}
		if err != nil {
			return nil, err
		}
		mine := r.By == ask.Caller.ID
		action, waits := access.AccessApprove, r.State(now) == Requested
		if r.Glass {
			action, waits = access.AccessReview, r.Status != Reviewed
		}
		show := !inbox && (mine || everything)
		if !show && !mine && (waits || !inbox) {
			res, err := g.resource(ctx, r)
			if err != nil && !errors.Is(err, coffer.ErrNotFound) {
				return nil, err
			}
			show = err == nil && may(action, res, r.By)
		}
		if show {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Request) int { return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID)) })
	return out, nil
}

// Read returns one request, as [Grants.List] would show it.
func (g *Grants) Read(ctx context.Context, ask access.Ask, id string) (*Request, error) {
	list, err := g.List(ctx, ask, false)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(r *Request) bool { return r.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("request: %w", coffer.ErrNotFound)
	}
	return list[i], nil
}

// Look returns a request, or broken glass, with what it is about as policies see it. It asks no policy and records nothing: it is for
// whoever asks one before anything of it is shown.
func (g *Grants) Look(ctx context.Context, id string) (*Request, access.Resource, error) {
	r, err := g.get(ctx, id)
	if err != nil {
		return nil, access.Resource{}, err
	}
	res, err := g.resource(ctx, r)
	return r, res, err
}

// Break breaks the glass: for d, 15 minutes when it is zero, the caller can see values of any finding without an approval, up to
// the number of the rules. The entry is durable and Alert was told before it returns. Who broke the glass once cannot again before
// somebody else has reviewed what was done. What else it takes (a second factor, a ticket) the policies say.
func (g *Grants) Break(ctx context.Context, ask access.Ask, d time.Duration) (*Request, error) {
	ask.Context = ask.Context.Claimed()
	ask.Context.Grant = ""
	rules := g.rules()
	d = cmp.Or(d, rules.Glass)
	permit, err := g.check(ctx, ask.Values(rules.GlassValues), access.AccessBreak, system)
	if err != nil {
		return nil, err
	}
	if d < time.Minute || d > rules.MaxGlass {
		return nil, fmt.Errorf("broken glass can be used for a minute to %s: %w", rules.MaxGlass, coffer.ErrInvalid)
	}
	now := g.Now().UTC()
	r := &Request{
		ID: newID("glass-"), Glass: true, By: ask.Caller.ID, Action: access.ValueReveal, Values: rules.GlassValues, Reason: ask.Context.Reason,
		Ticket: ask.Context.Ticket, Duration: d, Created: now, Deadline: now.Add(d), Status: Broken,
	}
	if r.Note, err = g.words(ask.Context, ask.Context.Note); err != nil {
		return nil, err
	}
	r.Hash = r.digest()
	err = g.record(ctx, permit, r, "break", store.Op{Verb: store.Put, Expect: store.Absent, Item: store.Item{
		Key: glassKey(r.By), Value: []byte(r.ID), Version: store.NewVersion(),
	}})
	if errors.Is(err, coffer.ErrConflict) {
		return nil, g.refuse(ctx, ask, access.AccessBreak, system, "break-glass-review", "somebody else must first review what was done when you last broke the glass: coffer access review")
	}
	if err != nil {
		return nil, err
	}
	g.alert(ctx, r)
	return r, nil
}

func (g *Grants) alert(ctx context.Context, r *Request) {
	if g.Alert != nil {
		g.Alert(ctx, *r)
	}
}

// Review records that the caller has looked into what was done through broken glass, with a note of at least 10 characters that says
// what was found. The glass cannot be used any more; who broke it could break it again.
func (g *Grants) Review(ctx context.Context, ask access.Ask, id, note string) (*Request, error) {
	ask.Context = ask.Context.Claimed()
	ask.Context.Grant = ""
	r, err := g.get(ctx, id)
	if err == nil && !r.Glass {
		err = fmt.Errorf("broken glass %s: %w", id, coffer.ErrNotFound)
	}
	if err != nil {
		if !errors.Is(err, coffer.ErrNotFound) {
			return nil, err
		}
		ask.Context.Requester = "unknown"
		if _, denied := g.check(ctx, ask, access.AccessReview, system); denied != nil {
			return nil, denied
		}
		return nil, err
	}
	ask.Context.Requester = r.By
	if r.By == ask.Caller.ID {
		return nil, g.refuse(ctx, ask, access.AccessReview, system, "nobody-reviews-own", "somebody other than the person who broke the glass must review it")
	}
	permit, err := g.check(ctx, ask, access.AccessReview, system)
	if err != nil {
		return nil, err
	}
	if r.Status == Reviewed {
		return nil, fmt.Errorf("broken glass %s is reviewed: %w", id, coffer.ErrConflict)
	}
	if r.Answer, err = g.words(ask.Context, note); err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(r.Answer) < 10 {
		return nil, fmt.Errorf("say in at least 10 characters what was found: %w", coffer.ErrInvalid)
	}
	r.Status, r.Ended, r.EndedBy = Reviewed, g.Now().UTC(), ask.Caller.ID
	return r, g.record(ctx, permit, r, "review", store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: glassKey(r.By)}})
}

// Glass returns the broken glass that nobody has reviewed, for a banner that everybody sees. It asks no policy: that the glass is
// broken is nobody's secret.
func (g *Grants) Glass(ctx context.Context) ([]*Request, error) {
	var out []*Request
	for it, err := range g.DB.Query(ctx, partGlass, store.Range{}) {
		if err != nil {
			return nil, fmt.Errorf("broken glass: %w", err)
		}
		r, err := g.get(ctx, string(it.Value))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}
