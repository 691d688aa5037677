package grant_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/grant"
	"coffer/internal/fault"
	"coffer/store"
)

func decode(b []byte, r *grant.Request) error { return json.Unmarshal(b, r) }

// TestRequestFromAskToUse is the whole way of a request, with its entries.
func TestRequestFromAskToUse(t *testing.T) {
	w := newWorld(t)
	if err := w.intend(w.eve(), reveal("f-1", "g-1", first(30)...)); !errors.Is(err, coffer.ErrDenied) {
		t.Fatalf("30 values by one's own right: %v", err)
	}
	ask := w.eve()
	ask.Context.Note = "is 4000001234567899 hers"
	r, err := w.Ask(ctx, ask, grant.Wanted{Action: access.ValueReveal, Finding: "f-1", Values: 30})
	if err != nil {
		t.Fatal(err)
	}
	if r.State(w.clock.now()) != grant.Requested || r.Note != "is [removed] hers" || r.Values != 30 || r.Duration != time.Hour {
		t.Errorf("request %+v", r)
	}
	w.denied(w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", first(30)...)), "grant-not-approved")
	inbox, err := w.List(ctx, w.ann(), true)
	if err != nil || len(inbox) != 1 || inbox[0].ID != r.ID || inbox[0].Hash != r.Hash {
		t.Fatalf("inbox %v, %v", inbox, err)
	}
	w.clock.pass(time.Hour)
	if r, err = w.Approve(ctx, w.ann(), r.ID, inbox[0].Hash); err != nil || r.State(w.clock.now()) != grant.Approved {
		t.Fatalf("approve: %v", err)
	}
	if inbox, _ := w.List(ctx, w.ann(), true); len(inbox) != 0 {
		t.Error("an approved request waits in the inbox")
	}
	w.clock.pass(time.Hour - time.Nanosecond)
	if err := w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", first(30)...)); err != nil {
		t.Fatalf("on the approval: %v", err)
	}
	if s := w.state(r.ID); s != grant.Used {
		t.Errorf("state %s", s)
	}
	w.denied(w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", 1)), "grant-used")
	got := w.entries(intents)
	if len(got) != 1 || got[0].Detail["grant"] != r.ID || got[0].Detail["approvers"] != "ann" || got[0].Detail["ticket"] != "INC-7" || len(got[0].Occurrences) != 30 {
		t.Errorf("intents %+v", got)
	}
	var steps []string
	for _, e := range w.entries(func(e *audit.Entry) bool { return e.Detail["request"] == r.ID }) {
		steps = append(steps, e.Actor.ID+" "+e.Detail["step"]+" "+e.Detail["state"])
	}
	if want := []string{"eve request requested", "ann approve approved"}; !slices.Equal(steps, want) {
		t.Errorf("steps on record %v, want %v", steps, want)
	}
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestApprovalIsForExactlyThat: whatever is changed about the act, the caller or the finding, the approval does not cover it, stays
// unused, and the refusal is on record.
func TestApprovalIsForExactlyThat(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*access.Ask, *grant.Act)
		rule   string
	}{
		"more values":      {func(_ *access.Ask, a *grant.Act) { a.Numbers, a.Values = []int{1, 2, 3}, 3 }, "grant-too-few-values"},
		"other numbers":    {func(_ *access.Ask, a *grant.Act) { a.Numbers = []int{1, 3} }, "grant-other-numbers"},
		"other finding":    {func(_ *access.Ask, a *grant.Act) { a.Resource.ID = "f-2" }, "grant-other-finding"},
		"other generation": {func(_ *access.Ask, a *grant.Act) { a.Generation = "g-2" }, "grant-values-changed"},
		"other action": {func(_ *access.Ask, a *grant.Act) {
			a.Action, a.Resource = access.ValueSearch, access.Resource{Kind: access.System}
		}, "grant-other-action"},
		"other caller":     {func(a *access.Ask, _ *grant.Act) { a.Caller.ID = "mallory" }, "grant-unknown"},
		"other id":         {func(a *access.Ask, _ *grant.Act) { a.Context.Grant = "req-" + strings.Repeat("0", 32) }, "grant-unknown"},
		"without a reason": {func(a *access.Ask, _ *grant.Act) { a.Context.Reason = "" }, "reveal-needs-reason"},
		"stale sign-in":    {func(a *access.Ask, _ *grant.Act) { a.Context.SignedIn = a.Context.Now.Add(-time.Hour) }, "reveal-needs-fresh-sign-in"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.approved(grant.Wanted{Action: access.ValueReveal, Finding: "f-1", Numbers: []int{2, 1}})
			ask, act := with(w.eve(), r.ID), reveal("f-1", "g-1", 1, 2)
			c.change(&ask, &act)
			w.denied(w.intend(ask, act), c.rule)
			if s := w.state(r.ID); s != grant.Approved {
				t.Errorf("the approval is %s", s)
			}
			if err := w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", 2)); err != nil {
				t.Errorf("what was approved, after that: %v", err)
			}
		})
	}
}

// TestWhoMayDecide: the law of four eyes, and what was seen is what is approved.
func TestWhoMayDecide(t *testing.T) {
	w := newWorld(t)
	want := grant.Wanted{Action: access.ValueReveal, Finding: "f-1", Values: 30}
	both := w.as("both", access.RoleEngineer, access.RoleApprover)
	own, err := w.Ask(ctx, both, want)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Approve(ctx, both, own.ID, own.Hash)
	w.denied(err, "nobody-approves-own-request")
	operator := access.Ask{Caller: access.Caller{ID: "op", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}, Context: access.Context{Local: true, Reason: "audit", Note: "quarterly check"}}
	mine, err := w.Ask(ctx, operator, want)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Approve(ctx, operator, mine.ID, mine.Hash) // the policies would let the operator
	w.denied(err, "nobody-approves-own-request")
	_, err = w.Deny(ctx, operator, mine.ID, "no")
	w.denied(err, "nobody-approves-own-request")
	if _, err := w.Withdraw(ctx, operator, mine.ID); err != nil {
		t.Errorf("withdraw: %v", err)
	}
	if _, err := w.Withdraw(ctx, w.eve(), own.ID); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("withdraw another's: %v", err)
	}
	if _, err := w.Approve(ctx, w.eve(), own.ID, own.Hash); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("approved by an engineer: %v", err)
	}
	token := w.ann()
	token.Caller.Kind = access.TokenCaller
	_, err = w.Approve(ctx, token, own.ID, own.Hash)
	w.denied(err, "people-approve")
	if _, err := w.Approve(ctx, w.ann(), own.ID, mine.Hash); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("approved by another hash: %v", err)
	}
	if _, err := w.Approve(ctx, w.ann(), "req-"+strings.Repeat("a", 32), own.Hash); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("approve what is not there: %v", err)
	}
	w.seal("f-1", "g-2")
	if _, err := w.Approve(ctx, w.ann(), own.ID, own.Hash); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("approved after the values were sealed anew: %v", err)
	}
	if _, err := w.Deny(ctx, w.ann(), own.ID, " "); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("denied without a word: %v", err)
	}
	if r, err := w.Deny(ctx, w.ann(), own.ID, "ask the branch first"); err != nil || r.Answer == "" {
		t.Errorf("deny: %v", err)
	}
	if _, err := w.Approve(ctx, w.ann(), own.ID, own.Hash); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("approved what was denied: %v", err)
	}

	// An approval does not help who claims one.
	liar := w.eve()
	liar.Context.Approvers, liar.Context.ApprovedUntil, liar.Context.Requester, liar.Context.BreakGlass = []string{"ann"}, w.clock.now().Add(time.Hour), "eve", true
	if err := w.intend(liar, reveal("f-1", "g-2", first(30)...)); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("on a claimed approval: %v", err)
	}
}

func TestTwoApprovers(t *testing.T) {
	w := newWorld(t)
	w.Rules.Approvers = 2
	r, err := w.Ask(ctx, w.eve(), grant.Wanted{Action: access.ValueReveal, Finding: "f-1", Values: 30, Duration: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // one person is one approval
		if _, err := w.Approve(ctx, w.ann(), r.ID, r.Hash); err != nil {
			t.Fatal(err)
		}
	}
	w.denied(w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", 1)), "grant-not-approved")
	w.clock.pass(time.Hour)
	if _, err := w.Approve(ctx, w.as("bob", access.RoleApprover), r.ID, r.Hash); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(time.Minute)
	w.denied(w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", 1)), "grant-expired")
}

func TestRequestsRunOut(t *testing.T) {
	w := newWorld(t)
	r, err := w.Ask(ctx, w.eve(), grant.Wanted{Action: access.ValueReveal, Finding: "f-1"})
	if err != nil {
		t.Fatal(err)
	}
	w.clock.pass(72 * time.Hour)
	if _, err := w.Approve(ctx, w.ann(), r.ID, r.Hash); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("approved after its time: %v", err)
	}
	for name, want := range map[string]grant.Wanted{
		"too long":     {Action: access.ValueReveal, Finding: "f-1", Duration: 9 * time.Hour},
		"too many":     {Action: access.ValueReveal, Finding: "f-1", Numbers: []int{1}, Values: 2},
		"of a plan":    {Action: access.RemedyApply, Finding: "f-1"},
		"two searches": {Action: access.ValueSearch, Values: 2},
	} {
		if _, err := w.Ask(ctx, w.eve(), want); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]grant.Wanted{
		"not sealed": {Action: access.ValueReveal, Finding: "f-1", Numbers: []int{41}},
		"no finding": {Action: access.ValueReveal, Finding: "f-9"},
	} {
		if _, err := w.Ask(ctx, w.eve(), want); !errors.Is(err, coffer.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ask := w.eve()
	ask.Context.Ticket = "4000001234567899"
	if _, err := w.Ask(ctx, ask, grant.Wanted{Action: access.ValueReveal, Finding: "f-1"}); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("a card as a ticket: %v", err)
	}
}

func TestSearchOnRequest(t *testing.T) {
	w := newWorld(t)
	search := grant.Act{Action: access.ValueSearch, Resource: access.Resource{Kind: access.System}, Values: 1}
	if err := w.intend(w.eve(), search); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("an engineer searches: %v", err)
	}
	r := w.approved(grant.Wanted{Action: access.ValueSearch})
	if err := w.intend(with(w.eve(), r.ID), search); err != nil {
		t.Errorf("on an approval: %v", err)
	}
	w.denied(w.intend(with(w.eve(), r.ID), search), "grant-used")
}

// TestOneOfMany: 64 consumers in two processes use one approval at once.
func TestOneOfMany(t *testing.T) {
	w := newWorld(t)
	r := w.approved(grant.Wanted{Values: 30})
	processes := []*process{w.process, w.start()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won, lost := 0, 0
	for i := range 64 {
		wg.Go(func() {
			err := processes[i%2].intend(with(w.eve(), r.ID), reveal("f-1", "g-1", first(30)...))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case errors.Is(err, coffer.ErrDenied):
				lost++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 || lost != 63 || len(w.entries(intents)) != 1 {
		t.Errorf("%d won, %d lost, %d intents", won, lost, len(w.entries(intents)))
	}
}

// TestBudgetIsOneForAll: what many processes spend at once is never more than the budget.
func TestBudgetIsOneForAll(t *testing.T) {
	w := newWorld(t)
	w.Rules.Budgets.Reveals = grant.Limit{Hour: 20, Day: 25}
	other := w.start()
	other.Rules = w.Rules
	processes := []*process{w.process, other}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 64 {
		wg.Go(func() {
			err := processes[i%2].intend(w.eve(), reveal("f-1", "g-1", 1))
			var over *grant.LimitError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.As(err, &over) || !errors.Is(err, coffer.ErrLimit):
				t.Error(err)
			case over.Limit != 20 || !over.RetryAt.After(w.clock.now()) || over.RetryAt.After(w.clock.now().Add(65*time.Minute)):
				t.Errorf("%+v", over)
			}
		})
	}
	wg.Wait()
	if won != 20 {
		t.Errorf("%d reveals of a budget of 20", won)
	}
	refused := w.entries(func(e *audit.Entry) bool { return slices.Contains(e.Policies, "budget-reveals") })
	if len(refused) != 44 {
		t.Errorf("%d refusals on record, want 44", len(refused))
	}
	// At the time that was named it works, until the day's budget is spent.
	err := w.intend(w.eve(), reveal("f-1", "g-1", 1))
	var over *grant.LimitError
	if !errors.As(err, &over) {
		t.Fatal(err)
	}
	w.clock.pass(over.RetryAt.Sub(w.clock.now()))
	if err := w.intend(w.eve(), reveal("f-1", "g-1", first(5)...)); err != nil {
		t.Errorf("at the time that was named: %v", err)
	}
	if err := w.intend(w.eve(), reveal("f-1", "g-1", 1)); !errors.As(err, &over) || over.Limit != 25 {
		t.Errorf("beyond the day's: %v", err)
	}
	if err := w.intend(w.as("fay", access.RoleEngineer), reveal("f-1", "g-1", first(21)...)); !errors.As(err, &over) || !over.RetryAt.IsZero() {
		t.Errorf("more than there ever is: %v", err)
	}
	// What was approved is not charged.
	r := w.approved(grant.Wanted{Values: 30})
	if err := w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", first(30)...)); err != nil {
		t.Errorf("on an approval: %v", err)
	}
	// The operator has none.
	operator := access.Ask{Caller: access.Caller{ID: "op", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}, Context: access.Context{Local: true, Reason: "audit", Note: "quarterly check"}}
	for range 3 {
		if err := w.intend(operator, reveal("f-1", "g-1", first(40)...)); err != nil {
			t.Errorf("operator: %v", err)
		}
	}
}

// An act does not wait for another caller's, nor for the caller's own where nothing is used up: each would wait for the sync of the
// other's entry.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	operator := access.Ask{Caller: access.Caller{ID: "op", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}, Context: access.Context{Local: true, Reason: "audit", Note: "quarterly check"}}
	asks := []access.Ask{operator, operator}
	for i := range 100 {
		asks = append(asks, w.as(fmt.Sprintf("p-%d", i), access.RoleEngineer))
	}
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var all, calls sync.WaitGroup
	all.Add(len(asks))
	together := make(chan struct{})
	go func() { all.Wait(); close(together) }()
	for _, ask := range asks {
		calls.Go(func() {
			_, _, err := w.Intend(ctx, ask, reveal("f-1", "g-1", 1), func(e *audit.Entry) error {
				e.Occurrences = []int{1}
				all.Done()
				select {
				case <-together:
					return nil
				case <-soon.Done():
					return soon.Err()
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
}

func TestBrokenGlass(t *testing.T) {
	w := newWorld(t)
	w.Rules.GlassValues = 10
	duty := func() access.Ask { return w.as("duty", access.RoleResponder, access.RoleApprover) }
	if err := w.intend(duty(), reveal("f-1", "g-1", 1)); !errors.Is(err, coffer.ErrDenied) {
		t.Fatalf("without breaking it: %v", err)
	}
	single := duty()
	single.Context.MFA = false
	_, err := w.Break(ctx, single, 0)
	w.denied(err, "break-glass-needs-emergency")
	if _, err := w.Break(ctx, duty(), 31*time.Minute); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("for 31 minutes: %v", err)
	}
	if _, err := w.Break(ctx, w.eve(), 0); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("by an engineer: %v", err)
	}
	r, err := w.Break(ctx, duty(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.alerts) != 1 || w.alerts[0].ID != r.ID {
		t.Errorf("alerts %v", w.alerts)
	}
	if g, err := w.Glass(ctx); err != nil || len(g) != 1 || g[0].By != "duty" {
		t.Errorf("banner %v, %v", g, err)
	}
	// Several times, in any finding, up to its number; each time loud.
	w.seal("f-2", "g-1")
	for i, act := range []grant.Act{reveal("f-1", "g-1", 1, 2, 3, 4, 5), reveal("f-2", "g-1", 1, 2, 3, 4)} {
		if err := w.intend(with(duty(), r.ID), act); err != nil {
			t.Fatal(err)
		}
		if len(w.alerts) != i+2 {
			t.Errorf("%d alerts after act %d", len(w.alerts), i+1)
		}
	}
	if e := w.entries(intents); len(e) != 2 || e[1].Detail["breakGlass"] != "true" || e[1].Detail["grant"] != r.ID {
		t.Errorf("intents %+v", e)
	}
	w.denied(w.intend(with(duty(), r.ID), reveal("f-1", "g-1", 1, 2)), "grant-too-few-values")
	w.denied(w.intend(with(w.as("other", access.RoleResponder), r.ID), reveal("f-1", "g-1", 1)), "grant-unknown")
	w.clock.pass(15 * time.Minute)
	w.denied(w.intend(with(duty(), r.ID), reveal("f-1", "g-1", 1)), "grant-expired")

	_, err = w.Break(ctx, duty(), 0)
	w.denied(err, "break-glass-review")
	_, err = w.Review(ctx, duty(), r.ID, "I did nothing wrong")
	w.denied(err, "nobody-reviews-own")
	if _, err := w.Approve(ctx, w.ann(), r.ID, r.Hash); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("approve broken glass: %v", err)
	}
	auditor := w.as("aud", access.RoleAuditor)
	if in, err := w.List(ctx, auditor, true); err != nil || len(in) != 1 {
		t.Errorf("the auditor's inbox: %v, %v", in, err)
	}
	if _, err := w.Review(ctx, auditor, r.ID, "fine"); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("review in a word: %v", err)
	}
	if _, err := w.Review(ctx, auditor, r.ID, "the calls of INC-7 name these customers"); err != nil {
		t.Fatal(err)
	}
	if g, err := w.Glass(ctx); err != nil || len(g) != 0 {
		t.Errorf("banner after the review: %v, %v", g, err)
	}
	w.denied(w.intend(with(duty(), r.ID), reveal("f-1", "g-1", 1)), "grant-reviewed")
	if _, err := w.Break(ctx, duty(), 0); err != nil {
		t.Errorf("again after the review: %v", err)
	}
}

// TestFaultsLoseAndDoubleNothing fails every call of the way from the request to its use, before and after its effect, as a crash and
// as a lost answer. However that ends: an approval is used up exactly when an intent is on record, and never by two.
func TestFaultsLoseAndDoubleNothing(t *testing.T) {
	probe := newWorld(t)
	r := probe.approved(grant.Wanted{Values: 30})
	before := probe.faults.Calls()
	if err := probe.intend(with(probe.eve(), r.ID), reveal("f-1", "g-1", first(30)...)); err != nil {
		t.Fatal(err)
	}
	calls := probe.faults.Calls() - before
	if calls < 2 {
		t.Fatalf("%d calls", calls)
	}
	runs := 0
	for call := 1; call <= calls+1; call++ {
		for _, when := range []fault.When{fault.Before, fault.After} {
			for _, crash := range []bool{false, true} {
				runs++
				w := newWorld(t)
				r := w.approved(grant.Wanted{Values: 30})
				w.faults.Arm(fault.Fault{Call: call, When: when, Crash: crash})
				err := w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", first(30)...))
				w.faults.Disarm()
				if crash {
					w.faults.Restart()
					w.process = w.start()
				}
				n := len(w.entries(intents))
				used := w.state(r.ID) == grant.Used
				if n > 1 || used != (n == 1) || err == nil && n != 1 {
					t.Errorf("call %d %v crash %v: %v, %d intents, used %v", call, when, crash, err, n, used)
				}
				// Trying again uses it exactly if it was not.
				again := w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", first(30)...))
				if (again == nil) == used || again != nil && !errors.Is(again, coffer.ErrDenied) {
					t.Errorf("call %d %v crash %v: again: %v, used before %v", call, when, crash, again, used)
				}
				if n := len(w.entries(intents)); n != 1 {
					t.Errorf("call %d %v crash %v: %d intents in the end", call, when, crash, n)
				}
			}
		}
	}
	t.Logf("%d runs of %d calls", runs, calls)
}

// TestNothingPlainInTheStore: what people write reaches the store scrubbed, and keys name nobody.
func TestNothingPlainInTheStore(t *testing.T) {
	w := newWorld(t)
	ask := w.eve()
	ask.Caller.Name, ask.Context.Note = "Eve Example", "about 4000001234567899 and more"
	r, err := w.Ask(ctx, ask, grant.Wanted{Action: access.ValueReveal, Finding: "f-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Deny(ctx, w.ann(), r.ID, "4000001234567899 is not hers"); err != nil {
		t.Fatal(err)
	}
	for it, err := range w.db.Scan(ctx, 0, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(it.Value), "4000001234567899") {
			t.Errorf("a value stands in %s", it.Key.Part)
		}
		if strings.Contains(it.Key.Part+it.Key.Sort, "Eve") {
			t.Errorf("a name stands in a key")
		}
	}
	// A stored request that was altered grants nothing.
	k := store.Key{Part: "G#" + r.ID, Sort: "request"}
	it, err := w.db.Get(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	it.Value = []byte(strings.Replace(string(it.Value), `"values":40`, `"values":41`, 1))
	it.Version = store.NewVersion()
	if err := w.db.Apply(ctx, store.Op{Verb: store.Put, Expect: store.Any, Item: it}); err != nil {
		t.Fatal(err)
	}
	if err := w.intend(with(w.eve(), r.ID), reveal("f-1", "g-1", 1)); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("an altered request: %v", err)
	}
}

// TestGoodApprovals: of all consents that are stored, in whatever way they came there, those count that are to exactly this, in force, and of
// somebody else than who asked.
func TestGoodApprovals(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	until := now.Add(time.Hour)
	as := grant.Approvals{
		{By: "p-asked", For: "this", Until: until}, {By: "p-one", For: "this", Until: until}, {By: "p-two", For: "that", Until: until},
		{By: "p-late", For: "this", Until: now}, {By: "p-three", For: "this", Until: now.Add(time.Nanosecond)},
	}
	var who []string
	for _, a := range as.Good("this", "p-asked", now) {
		who = append(who, a.By)
	}
	if !slices.Equal(who, []string{"p-one", "p-three"}) {
		t.Errorf("consents of %v count", who)
	}
	if again := as.With(grant.Approval{By: "p-one", For: "this", Until: now}); len(again) != len(as) || len(again.Good("this", "p-asked", now)) != 1 {
		t.Error("a consent that is given again is two, or the old one counts")
	}
}
