package access

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"

	"coffer"
)

// TestSchemaAndTableAgree: the vocabulary of the code and that of the policies are one.
func TestSchemaAndTableAgree(t *testing.T) {
	p, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	var table []Action
	for _, d := range Actions {
		table = append(table, d.Action)
		on := slices.Sorted(slices.Values(p.check.resources(cedar.NewEntityUID("Action", cedar.String(d.Action)))))
		if want := slices.Sorted(slices.Values(d.On)); !slices.Equal(on, want) {
			t.Errorf("%s: schema says %v, table says %v", d.Action, on, want)
		}
		if d.Doc == "" {
			t.Errorf("%s: no description", d.Action)
		}
	}
	slices.Sort(table)
	if leaves := slices.Sorted(slices.Values(p.check.leaves())); !slices.Equal(leaves, table) {
		t.Errorf("schema declares %v, table %v", leaves, table)
	}
}

// TestRemovingAnAttributeNeverAllows takes requests that a forbid denies, removes every attribute, parent and entity in turn,
// behind the checks of Decide, and demands that the denial stands. With Cedar's own rule, which skips a failing forbid, it
// would not: the test counts how often.
func TestRemovingAnAttributeNeverAllows(t *testing.T) {
	p, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	operator := Caller{ID: "op", Kind: OperatorCaller, Roles: []string{RoleOperator}}
	engineer := Caller{ID: "eng", Kind: UserCaller, Roles: []string{RoleEngineer, RoleApprover}}
	service := Caller{ID: "svc", Kind: ServiceCaller, Roles: []string{RoleApprover}}
	on := func(k Kind, origin coffer.Origin, by ...string) Resource {
		return Resource{Kind: k, ID: "r", Origins: []coffer.Origin{origin}, Submitters: by}
	}
	token := Caller{ID: "tok", Kind: TokenCaller, Roles: []string{RolePrivacyOfficer}}
	responder := Caller{ID: "duty", Kind: UserCaller, Roles: []string{RoleResponder, RoleEngineer}}
	system := Resource{Kind: System}
	whole := Context{Now: now, Reason: "audit", Note: "quarterly check", Local: true, SignedIn: now}
	short := Context{Now: now, Reason: "audit", Note: "short", Local: true}
	stale := Context{Now: now, Reason: "audit", Note: "quarterly check", SignedIn: now.Add(-time.Hour), Ticket: "INC-1", MFA: true, Network: netip.MustParseAddr("192.0.2.7")}
	glass := Context{Now: now, Reason: "incident", Note: "quarterly check", SignedIn: now, MFA: true, BreakGlass: true}
	skipped, tried := 0, 0
	denies := make(map[string]bool)
	for _, r := range []Request{
		{operator, ValueReveal, on(Finding, coffer.OriginMacie), short},
		{operator, ValueReveal, on(Finding, coffer.OriginSubmitted, "op"), whole},
		{engineer, ValueReveal, on(Finding, coffer.OriginMacie), stale},
		{token, ValueSearch, system, whole},
		{service, ValueSearch, system, whole},
		{engineer, AccessRequest, on(Finding, coffer.OriginMacie), Context{Now: now, Reason: "audit", Note: "short"}},
		{responder, AccessBreak, system, glass},
		{responder, ValueReveal, on(Finding, coffer.OriginMacie), glass},
		{operator, ValueReveal, on(Finding, coffer.OriginSubmitted), whole},
		{operator, EventConfirm, on(Finding, coffer.OriginSubmitted, "op"), whole},
		{token, EventConfirm, on(Finding, coffer.OriginSubmitted, "eng"), whole},
		{engineer, RemedyApprove, on(Plan, coffer.OriginMacie), Context{Now: now, Requester: "eng"}},
		{engineer, AccessApprove, on(Finding, coffer.OriginMacie), Context{Now: now}},
		{service, RemedyApprove, on(Plan, coffer.OriginMacie), Context{Now: now, Requester: "eng"}},
		{engineer, RemedyApply, on(Plan, coffer.OriginMacie), Context{Now: now, Approvers: []string{"x"}, ApprovedUntil: now}},
		{engineer, RemedyPurge, on(Plan, coffer.OriginMacie), Context{Now: now, Approvers: []string{"eng"}, ApprovedUntil: now.Add(time.Hour)}},
	} {
		d := p.Decide(r)
		if d.Allow || len(d.Policies) == 0 {
			t.Fatalf("%s: %+v, want it forbidden", r.Action, d)
		}
		for _, id := range d.Policies {
			denies[id] = true
		}
		try := func(what string, req cedar.Request, entities cedar.EntityMap) {
			tried++
			if d := p.decide(req, entities, r); d.Allow {
				t.Errorf("%s by %s is allowed without %s", r.Action, r.Caller.ID, what)
			}
			if allow, _ := cedar.Authorize(p.set, entities, req); allow {
				skipped++
			}
			if !slices.Contains([]string{"requester", "approvedUntil", "network", "signInAge"}, what) && p.check.request(req, entities) == nil {
				t.Errorf("the schema accepts a request without %s", what)
			}
		}
		req, entities, _ := p.translate(r)
		for key := range req.Context.All() {
			cut := req
			cut.Context = without(req.Context, key)
			try(string(key), cut, entities)
		}
		for uid, e := range entities {
			for key := range e.Attributes.All() {
				cut := e
				cut.Attributes = without(e.Attributes, key)
				less := clone(entities)
				less[uid] = cut
				try(string(uid.Type)+"."+string(key), req, less)
			}
		}
	}
	for id, advice := range p.advice {
		if !denies[id] {
			t.Errorf("no case is denied by %s", id)
		}
		if advice == "" {
			t.Errorf("forbid %s has no advice", id)
		}
	}
	if skipped == 0 {
		t.Error("no case shows what Cedar's own rule would have allowed, so this test proves nothing")
	}
	t.Logf("%d removals, %d of which Cedar alone would have allowed", tried, skipped)
}

func without(r cedar.Record, key cedar.String) cedar.Record {
	m := make(cedar.RecordMap)
	for k, v := range r.All() {
		if k != key {
			m[k] = v
		}
	}
	return cedar.NewRecord(m)
}

func clone(m cedar.EntityMap) cedar.EntityMap {
	c := make(cedar.EntityMap, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
