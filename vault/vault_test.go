package vault_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/envelope"
	"coffer/grant"
	"coffer/internal/fault"
	"coffer/store"
	"coffer/triage"
	"coffer/vault"
)

// TestNoRecordNoReveal fails every call of a reveal, before and after its effect, alone and with all calls behind it. Whatever happens, no value is returned unless intent
// and result are on record, and no key is unwrapped before the intent is.
func TestNoRecordNoReveal(t *testing.T) {
	w := newWorld(t)
	var got []string
	calls := w.since(func() {
		var err error
		if got, err = w.show(w.eve(), "f-1"); err != nil {
			t.Fatal(err)
		}
	})
	if !slices.Equal(got, []string{common, own}) || !opened(calls) {
		t.Fatalf("%d values after %v", len(got), calls)
	}
	unwrap := slices.Index(calls, "envelope.Unwrap")
	if n := slices.Index(calls, "store.Apply"); n < 0 || n > unwrap || !slices.Contains(calls[unwrap:], "store.Apply") {
		t.Fatalf("the entries are not around the opening: %v", calls)
	}
	refused := 0
	for i := range calls {
		for _, how := range []fault.Fault{{When: fault.Before}, {When: fault.After}, {When: fault.Before, Crash: true}, {When: fault.After, Crash: true}} {
			w := newWorld(t)
			how.Call = i + 1
			w.in.Arm(how)
			var shown []string
			var err error
			w.in.Watch(func(_ int, op string) {
				if op == "envelope.Unwrap" && !slices.ContainsFunc(w.entries(), func(e audit.Entry) bool { return e.Outcome == audit.Intent && e.Finding == "f-1" }) {
					t.Errorf("call %d of %s: a key is unwrapped and no intent is on record", i+1, calls[i])
				}
			})
			during := w.since(func() { shown, err = w.show(w.eve(), "f-1") })
			w.in.Watch(nil)
			w.in.Disarm()
			w.in.Restart()
			intents, results := 0, 0
			for _, e := range w.entries() {
				switch {
				case e.Action != access.ValueReveal:
				case e.Outcome == audit.Intent:
					intents++
				case e.Outcome == audit.Done && !e.Intent.IsZero():
					results++
				}
			}
			if len(shown) > 0 && (intents != 1 || results != 1) {
				t.Errorf("call %d (%s): values are shown with %d intents and %d results on record", i+1, calls[i], intents, results)
			}
			if err != nil {
				refused++
				if len(shown) > 0 {
					t.Errorf("call %d (%s): values beside %v", i+1, calls[i], err)
				}
				if i < unwrap && opened(during) {
					t.Errorf("call %d (%s): opened although what came before failed", i+1, calls[i])
				}
			}
			w.silent(calls[i], err)
		}
	}
	if refused < 2*len(calls) {
		t.Errorf("only %d of %d faults were felt", refused, 4*len(calls))
	}
	// A log that cannot be written at all: 503 for the caller, and nothing is opened.
	w.Guard.Log = nil
	broken := newWorld(t)
	if err := broken.log.Close(); err != nil {
		t.Fatal(err)
	}
	calls = broken.since(func() { got, _ = broken.show(broken.eve(), "f-1") })
	_, err := broken.show(broken.eve(), "f-1")
	if !errors.Is(err, coffer.ErrUnavailable) || len(got) > 0 || opened(calls) {
		t.Errorf("with a closed log: %v, %d values", err, len(got))
	}
}

// TestDenials: what is refused is refused before anything is opened, is on record as a denial with its rule, and names rule and whom to
// ask, or what would help.
func TestDenials(t *testing.T) {
	type story struct {
		name string
		ask  func(w *world) access.Ask
		rule string // empty: no policy permits it
		who  []string
		says string
	}
	person := func(roles ...string) func(*world) access.Ask {
		return func(w *world) access.Ask { return w.as("p-1", roles...) }
	}
	with := func(change func(*access.Ask)) func(*world) access.Ask {
		return func(w *world) access.Ask {
			a := w.eve()
			change(&a)
			return a
		}
	}
	for _, s := range []story{
		{"nobody's role", person(), "", []string{access.RoleEngineer}, "no policy permits value.reveal to a caller without a role"},
		{"auditor", person(access.RoleAuditor), "", []string{access.RoleEngineer}, "the role auditor"},
		{"approver", person(access.RoleApprover), "", []string{access.RoleEngineer}, "the role approver"},
		{"platform", person(access.RolePlatform), "", []string{access.RoleEngineer}, "the role platform"},
		{"privacy officer without a request", person(access.RolePrivacyOfficer), "", []string{access.RoleEngineer}, "the role privacy-officer"},
		{"responder with the glass whole", person(access.RoleResponder), "", []string{access.RoleEngineer}, "the role responder"},
		{"no reason", with(func(a *access.Ask) { a.Context.Reason = "" }), "reveal-needs-reason", nil, "give a reason code"},
		{"a short note", with(func(a *access.Ask) { a.Context.Note = "short" }), "reveal-needs-reason", nil, "at least 10 characters"},
		{"a reason of their own", with(func(a *access.Ask) { a.Context.Reason = "curiosity" }), "reason-code", nil, "use one of the reason codes"},
		{"a stale sign-in", with(func(a *access.Ask) { a.Context.SignedIn = a.Context.Now.Add(-15*time.Minute - time.Second) }), "reveal-needs-fresh-sign-in", nil, "sign in again"},
		{"a sign-in of the future", with(func(a *access.Ask) { a.Context.SignedIn = a.Context.Now.Add(time.Hour) }), "reveal-needs-fresh-sign-in", nil, "sign in again"},
		{"no sign-in", with(func(a *access.Ask) { a.Context.SignedIn = time.Time{} }), "reveal-needs-fresh-sign-in", nil, "sign in again"},
		{"a token for something else", with(func(a *access.Ask) {
			a.Caller.Kind, a.Caller.Scopes = access.TokenCaller, []access.Action{access.FindingRead}
		}), access.TokenScope, nil, "the token was not made for value.reveal"},
		{"a grant that there is not", with(func(a *access.Ask) { a.Context.Grant = "req-" + strings.Repeat("0", 32) }), "grant-unknown", nil, "coffer access request"},
		{"approvals of their own making", func(w *world) access.Ask {
			a := w.as("p-1", access.RolePrivacyOfficer)
			a.Context.Requester, a.Context.Approvers, a.Context.ApprovedUntil, a.Context.BreakGlass = "p-1", []string{"ann"}, w.at.Add(time.Hour), true
			return a
		}, "", []string{access.RoleEngineer}, "the role privacy-officer"},
	} {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t)
			var err error
			var shown []string
			calls := w.since(func() { shown, err = w.show(s.ask(w), "f-1", 1) })
			var d *audit.DeniedError
			if !errors.As(err, &d) || !errors.Is(err, coffer.ErrDenied) || len(shown) > 0 || opened(calls) {
				t.Fatalf("%v, %d values", err, len(shown))
			}
			if s.rule != "" && !slices.Contains(d.Rules, s.rule) || s.rule == "" && len(d.Rules) > 0 {
				t.Errorf("refused by %v, want %q", d.Rules, s.rule)
			}
			for _, who := range s.who {
				if !slices.Contains(d.Ask, who) || !strings.Contains(err.Error(), who) {
					t.Errorf("it does not say that %s may: %v", who, err)
				}
			}
			if !strings.Contains(err.Error(), s.says) || s.rule != "" && !strings.Contains(err.Error(), s.rule) {
				t.Errorf("it says %q", err)
			}
			all := w.entries()
			e := all[len(all)-1]
			if e.Outcome != audit.Denied || e.Decision != audit.Deny || e.Action != access.ValueReveal || e.Finding != "f-1" || s.rule != "" && !slices.Contains(e.Policies, s.rule) {
				t.Errorf("the last entry is %s %s of %s by %v", e.Action, e.Outcome, e.Finding, e.Policies)
			}
			for _, e := range all {
				if e.Outcome == audit.Intent {
					t.Error("an intent is on record for what was refused")
				}
			}
		})
	}
}

// TestSubmitterCannotReveal, whatever their roles, their approval and the origin that joined theirs; and nobody can where the record does
// not say who submitted it.
func TestSubmitterCannotReveal(t *testing.T) {
	w := newWorld(t)
	submitted := func(by string) func(*triage.Record) {
		return func(r *triage.Record) { r.Finding.Origin, r.Submitter = coffer.OriginSubmitted, by }
	}
	w.seal("f-3", submitted("eve"), theirs)
	w.seal("f-4", submitted(""), theirs)
	for name, ask := range map[string]access.Ask{
		"an engineer": w.eve(), "with every role": w.as("eve", access.RoleEngineer, access.RoleResponder, access.RolePrivacyOfficer, access.RoleApprover),
	} {
		_, err := w.show(ask, "f-3")
		var d *audit.DeniedError
		if !errors.As(err, &d) || !slices.Contains(d.Rules, "submitter-may-not-reveal") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := w.show(w.as("ada", access.RoleEngineer), "f-3"); err != nil || !slices.Equal(got, []string{theirs}) {
		t.Errorf("somebody else: %v", err)
	}
	if _, err := w.show(w.as("ada", access.RoleEngineer), "f-4"); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("submitted by nobody knows whom: %v", err)
	}
	// An approval does not help the submitter.
	officer := w.as("eve", access.RolePrivacyOfficer)
	r, err := w.Grants.Ask(w.ctx, officer, grant.Wanted{Action: access.ValueReveal, Finding: "f-3"})
	if err == nil {
		_, err = w.Grants.Approve(w.ctx, w.as("ann", access.RoleApprover), r.ID, r.Hash)
	}
	if err != nil {
		t.Fatal(err)
	}
	officer.Context.Grant = r.ID
	if _, err := w.show(officer, "f-3"); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("the submitter, approved: %v", err)
	}
}

// TestBudget: values are counted as they are asked for, across findings, and what comes back too late or too often is refused before
// anything is opened. Searches have a budget of their own, which comparing a finding's values with others' is charged to, too.
func TestBudget(t *testing.T) {
	w := newWorld(t)
	w.indexed()
	w.Grants.Rules.Budgets = grant.Budgets{Reveals: grant.Limit{Hour: 3, Day: 4}, Searches: grant.Limit{Hour: 2, Day: 10}}
	for _, f := range []string{"f-1"} {
		if _, err := w.show(w.eve(), f); err != nil { // two values
			t.Fatal(err)
		}
	}
	var err error
	calls := w.since(func() { _, err = w.show(w.eve(), "f-2") })
	var over *grant.LimitError
	if !errors.As(err, &over) || over.Budget != "reveals" || over.Limit != 3 || opened(calls) {
		t.Errorf("two more: %v", err)
	}
	if e := w.entries(); !slices.Equal(e[len(e)-1].Policies, []string{"budget-reveals"}) || e[len(e)-1].Outcome != audit.Denied {
		t.Errorf("on record by %v", e[len(e)-1].Policies)
	}
	if _, err := w.show(w.eve(), "f-2", 1); err != nil {
		t.Errorf("one more: %v", err)
	}
	if _, err := w.show(w.as("ada", access.RoleEngineer), "f-2"); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	w.at = over.RetryAt
	if _, err := w.show(w.eve(), "f-2", 1); err != nil {
		t.Errorf("when it said: %v", err)
	}
	if _, err := w.show(w.eve(), "f-2", 1); !errors.As(err, &over) || over.Window != 24*time.Hour {
		t.Errorf("beyond the day: %v", err)
	}
	// A clock that is put back gives nothing back.
	w.at = w.at.Add(-48 * time.Hour)
	if _, err := w.show(w.eve(), "f-2", 1); !errors.As(err, &over) {
		t.Errorf("with the clock put back: %v", err)
	}
	w.at = w.at.Add(96 * time.Hour)

	po := w.as("po", access.RolePrivacyOfficer)
	search := func() error {
		_, err := w.Search(w.ctx, po, coffer.BankAccountNumber, coffer.NewPlaintext([]byte(common)))
		return err
	}
	w.want("a search", search(), nil)
	_, err = w.Elsewhere(w.ctx, po, "f-1")
	w.want("a comparison", err, nil)
	calls = w.since(func() { _, err = w.Elsewhere(w.ctx, po, "f-1") })
	if !errors.As(err, &over) || over.Budget != "searches" || opened(calls) {
		t.Errorf("a comparison beyond the budget: %v", err)
	}
	if !errors.As(search(), &over) || over.Budget != "searches" {
		t.Error("a search beyond the budget")
	}
	// The home's own operator has none.
	for range 5 {
		if _, err := w.show(w.operator(), "f-1"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWrongOccurrence: what is not there, was not sealed, or stands in another place than the record says is not shown, and nothing else in
// its stead.
func TestWrongOccurrence(t *testing.T) {
	w := newWorld(t)
	for name, ns := range map[string][]int{"none": {9}, "unsealed": {3}, "zero": {0}, "negative": {-1}, "one of several": {1, 9}, "huge": {1 << 30}} {
		var err error
		var got []string
		calls := w.since(func() { got, err = w.show(w.eve(), "f-1", ns...) })
		if !errors.Is(err, coffer.ErrNotFound) || len(got) > 0 || opened(calls) {
			t.Errorf("%s: %v, %d values", name, err, len(got))
		}
	}
	if got, err := w.show(w.eve(), "f-1", 2, 2, 1); err != nil || !slices.Equal(got, []string{common, own}) {
		t.Errorf("twice and out of order: %v, %d values", err, len(got))
	}
	// Unknown findings answer like those that the caller may not know of, and what they have no right to is not said either.
	for who, ask := range map[string]access.Ask{"engineer": w.eve(), "auditor": w.as("aud", access.RoleAuditor)} {
		if _, err := w.show(ask, "f-9"); !errors.Is(err, coffer.ErrNotFound) {
			t.Errorf("%s, unknown finding: %v", who, err)
		}
	}

	// Somebody who can write the tables moves boxes about: under another finding, another number, another generation, another place.
	box := func(w *world, s vault.Set) store.Item {
		for it, err := range w.db.Query(w.ctx, "V#"+s.ID+"#"+s.Generation, store.Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			return it
		}
		t.Fatal("no box")
		return store.Item{}
	}
	one, two := vault.Set{ID: "f-1", Generation: "g-f-1"}, vault.Set{ID: "f-2", Generation: "g-f-2"}
	put := func(w *world, db store.DB, it store.Item) {
		it.Version = store.NewVersion()
		if err := db.Apply(w.ctx, store.Op{Verb: store.Put, Expect: store.Any, Item: it}); err != nil {
			t.Fatal(err)
		}
	}
	header := func(w *world, s vault.Set) store.Item {
		it, err := w.headers.Get(w.ctx, store.Key{Part: "H#" + s.ID + "#" + s.Generation, Sort: "header"})
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	record := func(w *world, change func(*triage.Record, []triage.Line)) {
		rec, err := w.Records.Get(w.ctx, "f-1")
		if err != nil {
			t.Fatal(err)
		}
		lines, err := w.Records.Lines(w.ctx, "f-1")
		if err != nil {
			t.Fatal(err)
		}
		change(rec, lines)
		if err := w.DB.Apply(w.ctx, append(rec.Save(), triage.SaveLines("f-1", lines)...)...); err != nil {
			t.Fatal(err)
		}
	}
	for name, meddle := range map[string]func(w *world){
		"another finding's box": func(w *world) { it := box(w, two); it.Key = box(w, one).Key; put(w, w.db, it) },
		"another finding's box and header": func(w *world) {
			it, h := box(w, two), header(w, two)
			it.Key, h.Key = box(w, one).Key, header(w, one).Key
			put(w, w.db, it)
			put(w, w.headers, h)
		},
		"another number": func(w *world) {
			it := box(w, one)
			it.Value = slices.Clone(it.Value)
			it.Value[0] = 2 // the box of number 1, as number 2
			put(w, w.db, it)
		},
		"a changed byte": func(w *world) {
			it := box(w, one)
			it.Value = slices.Clone(it.Value)
			it.Value[len(it.Value)/4] ^= 1
			put(w, w.db, it)
		},
		"another place": func(w *world) { record(w, func(_ *triage.Record, l []triage.Line) { l[0].At.Row = 77 }) },
		"another type":  func(w *world) { record(w, func(_ *triage.Record, l []triage.Line) { l[0].Type = coffer.PersonName }) },
		"a generation that is not there": func(w *world) {
			record(w, func(r *triage.Record, _ []triage.Line) { r.Generation = "g-f-2" })
		},
		"another finding's values by reference": func(w *world) {
			record(w, func(_ *triage.Record, l []triage.Line) { l[0].Same = &triage.Ref{Finding: "f-2", N: 1} })
		},
	} {
		w := newWorld(t)
		meddle(w)
		got, err := w.show(w.eve(), "f-1", 1)
		if len(got) > 0 || !errors.Is(err, coffer.ErrCorrupt) && !errors.Is(err, coffer.ErrNotFound) {
			// The place and type of the first line of f-2 are those of f-1's, so a reference to it is good: it is how one value is kept once.
			if name != "another finding's values by reference" || !slices.Equal(got, []string{theirs}) {
				t.Errorf("%s: %v, %d values", name, err, len(got))
			}
			continue
		}
		all := w.entries()
		if e := all[len(all)-1]; e.Outcome != audit.Failed || e.Intent.IsZero() || len(e.Values) > 0 {
			t.Errorf("%s: the last entry is %s", name, e.Outcome)
		}
		w.silent(name, err)
	}
}

// TestDestroy: the key goes first, and from then on nothing opens, not with a copy of all boxes either; a purge that broke off anywhere can
// be repeated.
func TestDestroy(t *testing.T) {
	w := newWorld(t)
	s := vault.Set{ID: "f-1", Generation: "g-f-1"}
	copyOf := func(w *world) (items []store.Item) {
		for it, err := range w.db.Query(w.ctx, "V#f-1#g-f-1", store.Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, it)
		}
		return items
	}
	backup := copyOf(w)
	var at time.Time
	var err error
	calls := w.since(func() { at, err = w.Destroy(w.ctx, nil, s) })
	if err != nil || !at.Equal(w.at) {
		t.Fatalf("%s, %v", at, err)
	}
	if n, err := w.Boxes(w.ctx, s); n != 0 || err != nil {
		t.Errorf("%d boxes left, %v", n, err)
	}
	for _, it := range backup {
		it.Version = store.NewVersion()
		if err := w.db.Apply(w.ctx, store.Op{Verb: store.Put, Expect: store.Any, Item: it}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.show(w.eve(), "f-1"); !errors.Is(err, coffer.ErrNotFound) || len(got) > 0 {
		t.Errorf("with the boxes from a backup: %v, %d values", err, len(got))
	}
	if _, err := w.Destroy(w.ctx, nil, s); err != nil {
		t.Errorf("what is gone, again: %v", err)
	}
	// The other set is whole.
	if got, err := w.show(w.eve(), "f-2"); err != nil || len(got) != 2 {
		t.Errorf("the other finding: %v, %d values", err, len(got))
	}
	for i := range calls {
		for _, when := range []fault.When{fault.Before, fault.After} {
			w := newWorld(t)
			w.in.Arm(fault.Fault{Call: i + 1, When: when})
			_, err := w.Destroy(w.ctx, nil, s)
			w.in.Disarm()
			_, herr := w.headers.Get(w.ctx, store.Key{Part: "H#f-1#g-f-1", Sort: "header"})
			if n := len(copyOf(w)); n < len(backup) && herr == nil {
				t.Errorf("call %d of %s: boxes are gone and the key is there", i+1, calls[i])
			}
			if err == nil && !errors.Is(herr, coffer.ErrNotFound) {
				t.Errorf("call %d of %s: it says that the key is gone", i+1, calls[i])
			}
			if _, err := w.Destroy(w.ctx, nil, s); err != nil {
				t.Errorf("call %d of %s: repeated: %v", i+1, calls[i], err)
			}
			if got, err := w.show(w.eve(), "f-1"); !errors.Is(err, coffer.ErrNotFound) || len(got) > 0 {
				t.Errorf("call %d of %s: after the repetition: %v", i+1, calls[i], err)
			}
		}
	}
}

// TestKeysOut: with the keeper of the keys out, or the key of reveals disabled, an intent and its failure are on record, and no value is shown.
func TestKeysOut(t *testing.T) {
	w := newWorld(t)
	w.keys.Disable(envelope.ForReveal)
	got, err := w.show(w.eve(), "f-1")
	if err == nil || len(got) > 0 {
		t.Fatalf("%v, %d values", err, len(got))
	}
	all := w.entries()
	last, before := all[len(all)-1], all[len(all)-2]
	if before.Outcome != audit.Intent || last.Outcome != audit.Failed || last.Intent != before.Ref() || len(last.Values) > 0 {
		t.Errorf("on record: %s, %s", before.Outcome, last.Outcome)
	}
	w.keys.Enable(envelope.ForReveal)
	if got, err := w.show(w.eve(), "f-1"); err != nil || len(got) != 2 {
		t.Errorf("with the key back: %v, %d values", err, len(got))
	}
}

// TestElsewhere: where else values of a finding stand, and never which; for those who may read the finding and search.
func TestElsewhere(t *testing.T) {
	w := newWorld(t)
	po := w.as("po", access.RolePrivacyOfficer)
	sh, err := w.Elsewhere(w.ctx, po, "f-1")
	if err != nil || len(sh.Findings) > 0 || !slices.Equal(sh.NotIndexed, []coffer.DataType{coffer.BankAccountNumber}) {
		t.Fatalf("without an index: %v, %+v", err, sh)
	}
	w.indexed()
	sh, err = w.Elsewhere(w.ctx, po, "f-1")
	if err != nil || sh.Sought != 2 || sh.Values != 1 || len(sh.Findings) != 1 || sh.Findings[0].Finding != "f-2" || sh.Findings[0].Values != 1 || sh.Limited || len(sh.NotIndexed) > 0 {
		t.Errorf("%v, %+v", err, sh)
	}
	all := w.entries()
	intent, result := all[len(all)-2], all[len(all)-1]
	if intent.Outcome != audit.Intent || intent.Action != access.ValueSearch || intent.Finding != "f-1" || result.Intent != intent.Ref() || result.Detail["hits"] != "1" || len(result.Values) > 0 {
		t.Errorf("on record: %+v, %+v", intent, result)
	}
	for name, ask := range map[string]access.Ask{"an engineer may not search": w.eve(), "an auditor may not read": w.as("aud", access.RoleAuditor)} {
		var err error
		calls := w.since(func() { _, err = w.Elsewhere(w.ctx, ask, "f-1") })
		if !errors.Is(err, coffer.ErrDenied) || opened(calls) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A request that was approved for one search is not good for comparing a whole finding.
	eve := w.eve()
	r, err := w.Grants.Ask(w.ctx, eve, grant.Wanted{Action: access.ValueSearch})
	if err == nil {
		_, err = w.Grants.Approve(w.ctx, w.as("ann", access.RoleApprover), r.ID, r.Hash)
	}
	if err != nil {
		t.Fatal(err)
	}
	eve.Context.Grant = r.ID
	if _, err := w.Elsewhere(w.ctx, eve, "f-1"); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("on a request for one search: %v", err)
	}
	if hits, err := w.Search(w.ctx, eve, "", coffer.NewPlaintext([]byte(common))); err != nil || len(hits) != 2 {
		t.Errorf("the request was used up by that: %v, %d hits", err, len(hits))
	}
	// What was destroyed stands nowhere.
	if _, err := w.Destroy(w.ctx, nil, vault.Set{ID: "f-2", Generation: "g-f-2"}); err != nil {
		t.Fatal(err)
	}
	if sh, err := w.Elsewhere(w.ctx, po, "f-1"); err != nil || len(sh.Findings) > 0 {
		t.Errorf("after the other was destroyed: %v, %+v", err, sh)
	}
	w.silent("elsewhere", nil)
}

// TestSearch: hits are masked, equal in spite of separators, and only of those types whose index is on.
func TestSearch(t *testing.T) {
	w := newWorld(t)
	po := w.as("po", access.RolePrivacyOfficer)
	search := func(value string) ([]vault.Hit, error) {
		return w.Search(w.ctx, po, "", coffer.NewPlaintext([]byte(value)))
	}
	if _, err := search(common); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("without an index: %v", err)
	}
	w.indexed()
	hits, err := search("14 0527.0021")
	if err != nil || len(hits) != 2 || hits[0].Masked != "******" || hits[0].Finding == hits[1].Finding {
		t.Errorf("%v, %+v", err, hits)
	}
	if hits, err := search("1405270022"); err != nil || len(hits) > 0 {
		t.Errorf("a number that stands nowhere: %v, %+v", err, hits)
	}
	if _, err := search(" - "); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := w.Search(w.ctx, w.eve(), "", coffer.NewPlaintext([]byte(common))); !errors.Is(err, coffer.ErrDenied) {
		t.Errorf("by an engineer: %v", err)
	}
	if err := w.Index(w.ctx, po, []coffer.DataType{coffer.BankAccountNumber}, false); err != nil {
		t.Fatal(err)
	}
	for it, err := range w.db.Scan(w.ctx, 0, 1) {
		if err != nil || strings.HasPrefix(it.Key.Part, "X#"+string(coffer.BankAccountNumber)) {
			t.Errorf("an index that was turned off is there: %v", err)
		}
	}
	w.silent("search", nil)
}

// TestSeen: who saw a value is told from the log alone, also after it was destroyed; reveals whose result is not on record are told as
// possible; and it takes the right to search and the right to read the log.
func TestSeen(t *testing.T) {
	w := newWorld(t)
	if _, err := w.show(w.eve(), "f-1", 1); err != nil {
		t.Fatal(err)
	}
	w.at = w.at.Add(time.Minute)
	if _, err := w.show(w.as("ada", access.RoleEngineer), "f-2", 1); err != nil { // another value
		t.Fatal(err)
	}
	w.at = w.at.Add(time.Minute)
	// Bob's reveal of the same breaks off between intent and result, once the key was unwrapped.
	w.in.Watch(func(_ int, op string) {
		if op == "envelope.Unwrap" {
			w.in.Arm(fault.Fault{Call: 1, Crash: true})
		}
	})
	if got, err := w.show(w.as("bob", access.RoleEngineer), "f-1", 1); err == nil || len(got) > 0 {
		t.Fatalf("a reveal whose result is not on record: %v, %d values", err, len(got))
	}
	w.in.Watch(nil)
	w.in.Disarm()
	w.in.Restart()
	w.start()
	if _, err := w.Destroy(w.ctx, nil, vault.Set{ID: "f-1", Generation: "g-f-1"}); err != nil {
		t.Fatal(err)
	}
	both := w.as("aud", access.RoleAuditor, access.RolePrivacyOfficer)
	seen := func(a access.Ask, value string) ([]vault.Sight, error) {
		return w.Seen(w.ctx, a, coffer.NewPlaintext([]byte(value)), audit.Filter{})
	}
	got, err := seen(both, "1405 270 021")
	if err != nil || len(got) != 2 || got[0].Person != "eve" || got[0].Possible || got[0].Finding != "f-1" || got[0].N != 1 || got[0].Reason != "incident" || got[1].Person != "bob" || !got[1].Possible {
		t.Errorf("%v, %+v", err, got)
	}
	if got, err := seen(both, theirs); err != nil || len(got) != 1 || got[0].Person != "ada" {
		t.Errorf("the other value: %v, %+v", err, got)
	}
	if got, err := seen(both, own); err != nil || len(got) != 0 {
		t.Errorf("a value that nobody saw: %v, %+v", err, got)
	}
	for name, a := range map[string]access.Ask{"an auditor": w.as("aud", access.RoleAuditor), "a privacy officer": w.as("po", access.RolePrivacyOfficer), "an engineer": w.eve()} {
		if _, err := seen(a, common); !errors.Is(err, coffer.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := seen(both, ""); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("nothing: %v", err)
	}
	// Entries do not tell that two values are the same, in one finding or in two under the same number, nor the value.
	w.seal("f-6", nil, common, common)
	w.seal("f-7", nil, common)
	for _, id := range []string{"f-6", "f-7"} {
		if _, err := w.show(w.as("ada", access.RoleEngineer), id); err != nil {
			t.Fatal(err)
		}
	}
	hashes := map[string]bool{}
	for _, e := range w.entries() {
		for _, h := range e.Values {
			if hashes[h] {
				t.Error("two entries have the same hash")
			}
			hashes[h] = true
		}
	}
	w.silent("seen", nil)
}

// TestTokens: a token is the same for the same value, tells nothing, and is opened as a reveal is.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	s := vault.Set{ID: "f-1", Generation: "g-f-1"}
	at := coffer.Location{Kind: coffer.Cell, Row: 2, Column: 1}
	if err := w.KeepTokens(w.ctx, nil, s, []vault.Value{{N: 1, Type: coffer.BankAccountNumber, At: at, Plain: coffer.NewPlaintext([]byte(common))}}); err != nil {
		t.Fatal(err)
	}
	token := w.Token(coffer.BankAccountNumber, []byte(common))
	if token != w.Token(coffer.BankAccountNumber, []byte("1405-270-021")) || token == w.Token(coffer.BankAccountNumber, []byte(own)) || token == w.Token(coffer.CardNumber, []byte(common)) {
		t.Error("equal values have one token, and others another")
	}
	got, err := w.Detokenise(w.ctx, w.eve(), token)
	if err != nil || string(got.Plain.Expose()) != common || got.Finding != "f-1" || got.N != 1 {
		t.Errorf("%v", err)
	}
	got.Plain.Wipe()
	all := w.entries()
	if i, r := all[len(all)-2], all[len(all)-1]; i.Outcome != audit.Intent || i.Action != access.ValueReveal || i.Detail["by"] != "token" || len(r.Values) != 1 || r.Intent != i.Ref() {
		t.Errorf("on record: %+v, %+v", i, r)
	}
	for name, c := range map[string]struct {
		ask   access.Ask
		token string
		is    error
	}{
		"an auditor": {w.as("aud", access.RoleAuditor), token, coffer.ErrDenied}, "unknown": {w.eve(), w.Token(coffer.BankAccountNumber, []byte("1")), coffer.ErrNotFound},
		"no token": {w.eve(), "tok_short", coffer.ErrInvalid}, "a value": {w.eve(), common, coffer.ErrInvalid},
	} {
		var err error
		calls := w.since(func() { _, err = w.Detokenise(w.ctx, c.ask, c.token) })
		if w.want(name, err, c.is); opened(calls) {
			t.Errorf("%s: opened", name)
		}
	}
	w.Grants.Rules.Budgets.Reveals = grant.Limit{Hour: 1, Day: 1}
	if _, err := w.Detokenise(w.ctx, w.eve(), token); !errors.Is(err, coffer.ErrLimit) {
		t.Errorf("beyond the budget: %v", err)
	}
	w.silent("tokens", nil)
}

// TestObserve: what a browser says became of values is on record as said.
func TestObserve(t *testing.T) {
	w := newWorld(t)
	w.want("copied", w.Observe(w.ctx, w.eve(), "f-1", vault.Copied, 0, 2, 1, 2), nil)
	e := w.entries()
	if last := e[len(e)-1]; last.Detail["shown"] != "copied" || last.Action != access.FindingRead || !slices.Equal(last.Occurrences, []int{1, 2}) || last.Finding != "f-1" {
		t.Errorf("%+v", last)
	}
	w.want("something else", w.Observe(w.ctx, w.eve(), "f-1", "photographed", 0, 1), coffer.ErrInvalid)
	w.want("by an auditor", w.Observe(w.ctx, w.as("aud", access.RoleAuditor), "f-1", vault.Hidden, time.Second, 1), coffer.ErrDenied)
	w.want("of an unknown finding", w.Observe(w.ctx, w.eve(), "f-9", vault.Hidden, time.Second, 1), coffer.ErrNotFound)
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	w.want("without a log", w.Observe(w.ctx, w.eve(), "f-1", vault.Copied, 0, 1), coffer.ErrUnavailable)
}

// TestDeposit: what is returned without an error can be read back; whatever call fails, there is an error or all values can be opened.
func TestDeposit(t *testing.T) {
	w := newWorld(t)
	s := vault.Set{ID: "f-5", Generation: "g"}
	values := func() (out []vault.Value) {
		for n := range 300 { // several chunks
			out = append(out, vault.Value{N: n + 1, Type: coffer.BankAccountNumber, At: coffer.Location{Kind: coffer.Cell, Row: int64(n + 2), Column: 1}, Plain: coffer.NewPlaintext([]byte(own))})
		}
		return out
	}
	calls := w.since(func() { w.want("deposit", w.Deposit(w.ctx, nil, s, values()), nil) })
	w.want("again", w.Deposit(w.ctx, nil, s, values()), coffer.ErrConflict)
	w.want("check", w.exactly(s, values()), nil)
	w.want("check of fewer", w.exactly(s, values()[:299]), coffer.ErrCorrupt)
	other := values()
	other[7].Plain = coffer.NewPlaintext([]byte(common))
	w.want("check of others", w.exactly(s, other), coffer.ErrCorrupt)
	// A store that takes what it is given and keeps something else is found out.
	for name, meddle := range map[string]func(*world, store.Item) store.Op{
		"changed": func(_ *world, it store.Item) store.Op {
			it.Value = slices.Clone(it.Value)
			it.Value[len(it.Value)-1] ^= 1
			it.Version = store.NewVersion()
			return store.Op{Verb: store.Put, Expect: store.Any, Item: it}
		},
		"lost": func(_ *world, it store.Item) store.Op {
			return store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: it.Key}}
		},
	} {
		w := newWorld(t)
		applied := 0
		w.in.Watch(func(_ int, op string) {
			if op != "store.Apply" {
				return
			}
			if applied++; applied == 2 { // the boxes are stored; the header follows
				for it, err := range w.db.Query(w.ctx, "V#f-5#g", store.Range{}) {
					if err == nil {
						err = w.db.Apply(w.ctx, meddle(w, it))
					}
					if err != nil {
						t.Fatal(err)
					}
					break
				}
			}
		})
		w.want(name, w.Deposit(w.ctx, nil, s, values()), coffer.ErrCorrupt)
		w.in.Watch(nil)
	}
	for i := range calls {
		for _, when := range []fault.When{fault.Before, fault.After} {
			w := newWorld(t)
			w.in.Arm(fault.Fault{Call: i + 1, When: when})
			err := w.Deposit(w.ctx, nil, s, values())
			w.in.Disarm()
			if err == nil {
				w.want(calls[i], w.exactly(s, values()), nil)
			} else if !errors.Is(err, fault.ErrInjected) {
				t.Errorf("call %d of %s: %v", i+1, calls[i], err)
			}
			w.silent(calls[i], err)
		}
	}
}
