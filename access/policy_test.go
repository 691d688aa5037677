package access_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"coffer"
	"coffer/access"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func load(t testing.TB, dir fs.FS) *access.Policy {
	t.Helper()
	p, err := access.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func resource(k access.Kind) access.Resource {
	if k == access.System {
		return access.Resource{Kind: k}
	}
	return access.Resource{
		Kind: k, ID: "r1", Types: []coffer.DataType{coffer.BankAccountNumber}, Categories: []string{"FINANCIAL_INFORMATION"},
		Severity: coffer.SeverityHigh, Bucket: "moontrust-exports", Account: "111122223333",
		Origins: []coffer.Origin{coffer.OriginMacie}, BucketTags: []coffer.Tag{{Key: "team", Value: "risk"}},
	}
}

// TestMatrix asks every role for every action on every kind of resource and compares with this table, so that a permit that
// nobody expects is seen.
func TestMatrix(t *testing.T) {
	see := []access.Action{access.FindingList, access.FindingRead, access.ObjectRead}
	want := map[string][]access.Action{
		"":                        nil,
		"unheard-of":              nil,
		access.RoleEngineer:       append(slices.Clone(see), access.ValueReveal, access.VerdictSet, access.RemedyPlan, access.RemedyApply, access.RemedyUndo, access.RemedyPurge, access.AccessRequest),
		access.RoleApprover:       append(slices.Clone(see), access.RemedyApprove, access.AccessApprove),
		access.RoleAuditor:        {access.FindingList, access.AuditRead},
		access.RolePrivacyOfficer: append(slices.Clone(see), access.ValueSearch, access.AccessRequest),
		access.RoleOperator:       nil, // all of them, as the operator on this machine alone
		access.RoleService:        nil,
	}
	kinds := []access.CallerKind{access.OperatorCaller, access.UserCaller, access.ServiceCaller, access.TokenCaller}
	p := load(t, nil)
	asked := 0
	for role, actions := range want {
		for _, kind := range kinds {
			for _, local := range []bool{false, true} {
				for _, d := range access.Actions {
					for _, on := range []access.Kind{access.Finding, access.Plan, access.Object, access.System} {
						r := access.Request{
							Caller:   access.Caller{ID: "me", Kind: kind, Teams: []string{"risk"}},
							Action:   d.Action,
							Resource: resource(on),
							Context: access.Context{
								Now: now, Local: local, Reason: "audit", Note: "quarterly check", Values: 1, Requester: "somebody",
								Approvers: []string{"other"}, ApprovedUntil: now.Add(time.Minute),
							},
						}
						if role != "" {
							r.Caller.Roles = []string{role}
						}
						expect := slices.Contains(actions, d.Action)
						switch {
						case role == access.RoleOperator:
							expect = kind == access.OperatorCaller && local
						case role == access.RoleService:
							expect = d.Action == access.EventIngest && kind == access.ServiceCaller
						case d.Action == access.RemedyApprove || d.Action == access.AccessApprove:
							expect = expect && (kind == access.UserCaller || kind == access.OperatorCaller)
						}
						expect = expect && slices.Contains(d.On, on)
						if got := p.Decide(r); got.Allow != expect {
							t.Errorf("role %q, kind %s, local %v: %s on %s allowed = %v, want %v (%v)", role, kind, local, d.Action, on, got.Allow, expect, got)
						}
						asked++
					}
				}
			}
		}
	}
	t.Logf("%d requests", asked)
}

func TestRules(t *testing.T) {
	p := load(t, nil)
	operator := access.Caller{ID: "op", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}
	engineer := access.Caller{ID: "eng", Kind: access.UserCaller, Roles: []string{access.RoleEngineer}}
	both := access.Caller{ID: "both", Kind: access.UserCaller, Roles: []string{access.RoleEngineer, access.RoleApprover}}
	finding, plan := resource(access.Finding), resource(access.Plan)
	submitted := func(by ...string) access.Resource {
		r := resource(access.Finding)
		r.Origins, r.Submitters = []coffer.Origin{coffer.OriginSubmitted}, by
		return r
	}
	ctx := func(change func(*access.Context)) access.Context {
		c := access.Context{Now: now, Reason: "audit", Note: "quarterly check", Values: 1}
		if change != nil {
			change(&c)
		}
		return c
	}
	local := func(change func(*access.Context)) access.Context {
		c := ctx(change)
		c.Local = true
		return c
	}
	approved := func(by string, until time.Duration) func(*access.Context) {
		return func(c *access.Context) { c.Approvers, c.ApprovedUntil = []string{by}, now.Add(until) }
	}
	for _, test := range []struct {
		name   string
		caller access.Caller
		action access.Action
		on     access.Resource
		ctx    access.Context
		denied string // the policy that denies; "-" for none that permits; empty: allowed
	}{
		{"operator reveals", operator, access.ValueReveal, finding, local(nil), ""},
		{"operator from afar", operator, access.ValueReveal, finding, ctx(nil), "-"},
		{"without a reason", operator, access.ValueReveal, finding, local(func(c *access.Context) { c.Reason = "" }), "reveal-needs-reason"},
		{"note of nine", operator, access.ValueReveal, finding, local(func(c *access.Context) { c.Note = "  ninechars   " }), "reveal-needs-reason"},
		{"note of ten", operator, access.ValueReveal, finding, local(func(c *access.Context) { c.Note = "tenletters" }), ""},
		{"note of ten, four bytes each", engineer, access.ValueReveal, finding, ctx(func(c *access.Context) { c.Note = "𝔞𝔞𝔞" }), "reveal-needs-reason"},
		{"submitter reveals", operator, access.ValueReveal, submitted("x", "op"), local(nil), "submitter-may-not-reveal"},
		{"another reveals", operator, access.ValueReveal, submitted("x"), local(nil), ""},
		{"submitted by nobody", operator, access.ValueReveal, submitted(), local(nil), "submitted-needs-submitter"},
		{"apply without approval", engineer, access.RemedyApply, plan, ctx(nil), "apply-needs-approval"},
		{"apply approved", engineer, access.RemedyApply, plan, ctx(approved("x", time.Hour)), ""},
		{"apply approved too long ago", engineer, access.RemedyApply, plan, ctx(approved("x", 0)), "apply-needs-approval"},
		{"apply approved without end", engineer, access.RemedyApply, plan, ctx(func(c *access.Context) { c.Approvers = []string{"x"} }), "apply-needs-approval"},
		{"apply approved by oneself", engineer, access.RemedyApply, plan, ctx(approved("eng", time.Hour)), "apply-needs-approval"},
		{"operator applies", operator, access.RemedyApply, plan, local(nil), ""},
		{"purge without approval", engineer, access.RemedyPurge, plan, ctx(nil), "apply-needs-approval"},
		{"undo needs none", engineer, access.RemedyUndo, plan, ctx(nil), ""},
		{"approve own", both, access.RemedyApprove, plan, ctx(func(c *access.Context) { c.Requester = "both" }), "nobody-approves-own-request"},
		{"approve of unknown requester", both, access.RemedyApprove, plan, ctx(nil), "nobody-approves-own-request"},
		{"approve another's", both, access.RemedyApprove, plan, ctx(func(c *access.Context) { c.Requester = "eng" }), ""},
		{"operator approves", operator, access.RemedyApprove, plan, local(func(c *access.Context) { c.Requester = "op" }), ""},
	} {
		d := p.Decide(access.Request{Caller: test.caller, Action: test.action, Resource: test.on, Context: test.ctx})
		switch {
		case d.Allow != (test.denied == ""):
			t.Errorf("%s: %+v", test.name, d)
		case len(d.Errors) > 0:
			t.Errorf("%s: errors %v", test.name, d.Errors)
		case test.denied == "-" && (len(d.Policies) != 0 || d.Advice == ""):
			t.Errorf("%s: %+v", test.name, d)
		case test.denied != "" && test.denied != "-" && (!slices.Equal(d.Policies, []string{test.denied}) || d.Advice == ""):
			t.Errorf("%s: %+v, want it denied by %s with advice", test.name, d, test.denied)
		}
		if d.Hash != p.Hash() {
			t.Errorf("%s: hash missing", test.name)
		}
	}
}

func TestIncompleteRequestsAreDenied(t *testing.T) {
	p := load(t, nil)
	good := func() access.Request {
		return access.Request{
			Caller:   access.Caller{ID: "op", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}},
			Action:   access.FindingRead,
			Resource: resource(access.Finding),
			Context:  access.Context{Now: now, Local: true},
		}
	}
	if d := p.Decide(good()); !d.Allow {
		t.Fatalf("the whole request is denied: %+v", d)
	}
	for name, spoil := range map[string]func(*access.Request){
		"zero":             func(r *access.Request) { *r = access.Request{} },
		"no caller":        func(r *access.Request) { r.Caller.ID = "" },
		"caller id":        func(r *access.Request) { r.Caller.ID = "a b" },
		"caller kind":      func(r *access.Request) { r.Caller.Kind = "" },
		"other kind":       func(r *access.Request) { r.Caller.Kind = "root" },
		"role":             func(r *access.Request) { r.Caller.Roles = append(r.Caller.Roles, "") },
		"no action":        func(r *access.Request) { r.Action = "" },
		"unknown action":   func(r *access.Request) { r.Action = "finding.delete" },
		"group as action":  func(r *access.Request) { r.Action = "masked" },
		"no resource":      func(r *access.Request) { r.Resource = access.Resource{} },
		"no resource id":   func(r *access.Request) { r.Resource.ID = "" },
		"unknown resource": func(r *access.Request) { r.Resource.Kind = "Bucket" },
		"wrong resource":   func(r *access.Request) { r.Resource.Kind = access.Plan },
		"no origin":        func(r *access.Request) { r.Resource.Origins = nil },
		"unknown origin":   func(r *access.Request) { r.Resource.Origins = []coffer.Origin{"trusted"} },
		"submitter":        func(r *access.Request) { r.Resource.Submitters = []string{""} },
		"approver":         func(r *access.Request) { r.Context.Approvers = []string{""} },
		"requester":        func(r *access.Request) { r.Context.Requester = "a/b" },
		"no time":          func(r *access.Request) { r.Context.Now = time.Time{} },
		"negative":         func(r *access.Request) { r.Context.Values = -1 },
	} {
		r := good()
		spoil(&r)
		if d := p.Decide(r); d.Allow || len(d.Errors) == 0 {
			t.Errorf("%s: %+v, want a denial that names an error", name, d)
		}
	}
}

const openDoor = `@id("all") permit (principal, action, resource);
`

// TestBrokenPolicyDenies: a policy that passes the validator can still fail to evaluate; Cedar would skip it.
func TestBrokenPolicyDenies(t *testing.T) {
	for name, body := range map[string]string{
		"forbid": `@id("overflow") forbid (principal, action, resource) when { 9223372036854775807 + context.values > 0 };`,
		"permit": `@id("overflow") permit (principal, action, resource) when { 9223372036854775807 + context.values > 0 };`,
	} {
		p := load(t, fstest.MapFS{"a.cedar": {Data: []byte(openDoor + body)}})
		r := access.Request{
			Caller:   access.Caller{ID: "x", Kind: access.UserCaller},
			Action:   access.FindingRead,
			Resource: resource(access.Finding),
			Context:  access.Context{Now: now},
		}
		if d := p.Decide(r); d.Allow != (name == "permit") || len(d.Errors) != 0 {
			t.Errorf("%s: %+v while it evaluates", name, d)
		}
		r.Context.Values = 1
		d := p.Decide(r)
		if d.Allow || !slices.Equal(d.Errors, []string{"overflow"}) || len(d.Policies) != 0 || d.Advice == "" {
			t.Errorf("%s: %+v, want denied because of overflow", name, d)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"empty folder":      {},
		"other files":       {"README.md": {Data: []byte("x")}},
		"syntax":            {"a.cedar": {Data: []byte(openDoor + `@id("x") permit (principal, action);`)}},
		"no id":             {"a.cedar": {Data: []byte(`permit (principal, action, resource);`)}},
		"bad id":            {"a.cedar": {Data: []byte(`@id("A b") permit (principal, action, resource);`)}},
		"same id":           {"a.cedar": {Data: []byte(openDoor)}, "b.cedar": {Data: []byte(openDoor)}},
		"unknown attribute": {"a.cedar": {Data: []byte(openDoor + `@id("x") forbid (principal, action, resource) when { context.mfa };`)}},
		"may be missing":    {"a.cedar": {Data: []byte(openDoor + `@id("x") forbid (principal, action, resource) when { context.requester == principal };`)}},
		"unsafe tag":        {"a.cedar": {Data: []byte(openDoor + `@id("x") forbid (principal, action == Action::"finding.read", resource) when { resource.getTag("class") == "secret" };`)}},
		"unknown action":    {"a.cedar": {Data: []byte(`@id("x") permit (principal, action == Action::"value.print", resource);`)}},
		"unknown type":      {"a.cedar": {Data: []byte(`@id("x") permit (principal is Admin, action, resource);`)}},
		"type error":        {"a.cedar": {Data: []byte(`@id("x") permit (principal, action, resource) when { context.noteLength > "9" };`)}},
		"too large":         {"a.cedar": {Data: append([]byte(openDoor), make([]byte, access.MaxPolicyFile)...)}},
	} {
		_, err := access.Load(files)
		if !errors.Is(err, coffer.ErrInvalid) && !errors.Is(err, coffer.ErrLimit) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

func TestTagsReachPolicies(t *testing.T) {
	p := load(t, fstest.MapFS{"a.cedar": {Data: []byte(openDoor + `@id("secret") @advice("ask the owner")
forbid (principal, action == Action::"finding.read", resource) when { resource.hasTag("class") && resource.getTag("class") == "secret" };`)}})
	r := access.Request{
		Caller:   access.Caller{ID: "x", Kind: access.UserCaller},
		Action:   access.FindingRead,
		Resource: resource(access.Finding),
		Context:  access.Context{Now: now},
	}
	if d := p.Decide(r); !d.Allow {
		t.Errorf("without the tag: %+v", d)
	}
	r.Resource.BucketTags = append(r.Resource.BucketTags, coffer.Tag{Key: "class", Value: "secret"})
	if d := p.Decide(r); d.Allow || d.Advice != "ask the owner" {
		t.Errorf("with the tag: %+v", d)
	}
}

func TestHash(t *testing.T) {
	a := load(t, nil)
	if b := load(t, nil); a.Hash() != b.Hash() || len(a.Hash()) != 64 {
		t.Error("the hash of one set differs between two loads")
	}
	seen := map[string]bool{a.Hash(): true}
	for i, files := range []fstest.MapFS{
		{"a.cedar": {Data: []byte(openDoor)}},
		{"b.cedar": {Data: []byte(openDoor)}},
		{"a.cedar": {Data: []byte(openDoor + " ")}},
		{"a.cedar": {Data: []byte(openDoor)}, "b.cedar": {Data: []byte("")}},
	} {
		h := load(t, files).Hash()
		if seen[h] {
			t.Errorf("set %d has the hash of another", i)
		}
		seen[h] = true
	}
}

func TestDefaultPoliciesAreNamed(t *testing.T) {
	ids := load(t, nil).IDs()
	if len(ids) < 10 || !slices.IsSorted(ids) {
		t.Fatalf("policies %v", ids)
	}
	for _, id := range ids {
		if strings.HasPrefix(id, "policy") && len(id) < 9 {
			t.Errorf("policy %s has a name made up by cedar-go", id)
		}
	}
}

func ExamplePolicy_Decide() {
	p, err := access.Load(nil)
	if err != nil {
		panic(err)
	}
	d := p.Decide(access.Request{
		Caller:   access.Caller{ID: "3f9a", Kind: access.UserCaller, Roles: []string{access.RoleAuditor}},
		Action:   access.ValueReveal,
		Resource: access.Resource{Kind: access.Finding, ID: "f1", Origins: []coffer.Origin{coffer.OriginMacie}},
		Context:  access.Context{Now: time.Unix(1772366400, 0), Reason: "audit", Note: "quarterly check"},
	})
	fmt.Println(d.Allow, d.Advice)
	// Output: false no policy permits value.reveal to the role auditor; ask whoever assigns roles
}

func BenchmarkDecide(b *testing.B) {
	p := load(b, nil)
	r := access.Request{
		Caller:   access.Caller{ID: "eng", Kind: access.UserCaller, Roles: []string{access.RoleEngineer}},
		Action:   access.ValueReveal,
		Resource: resource(access.Finding),
		Context:  access.Context{Now: now, Reason: "audit", Note: "quarterly check", Values: 1},
	}
	b.ReportAllocs()
	for b.Loop() {
		if !p.Decide(r).Allow {
			b.Fatal("denied")
		}
	}
}
