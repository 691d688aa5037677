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

// cell is one question of the matrix.
type cell struct {
	role     string
	action   access.Action
	on       access.Kind
	kind     access.CallerKind
	scoped   bool // a token whose scopes name the action
	local    bool
	owner    string // who submitted the finding: "", "me" or "other"
	by       string // who made the request or plan: "me" or "other"
	approval string // "", "other", "me", "expired"
	glass    bool   // broken
	fresh    bool   // signed in a minute ago, else an hour
	values   int
}

func (c cell) request() access.Request {
	r := access.Request{
		Caller:   access.Caller{ID: "me", Kind: c.kind, Teams: []string{"risk"}},
		Action:   c.action,
		Resource: resource(c.on),
		Context: access.Context{
			Now: now, Local: c.local, Reason: "incident", Note: "quarterly check", Ticket: "INC-1", Values: c.values, Requester: c.by,
			MFA: true, SignedIn: now.Add(-time.Hour), BreakGlass: c.glass,
		},
	}
	if c.role != "" {
		r.Caller.Roles = []string{c.role}
	}
	if c.scoped {
		r.Caller.Scopes = []access.Action{c.action}
	}
	if c.fresh {
		r.Context.SignedIn = now.Add(-time.Minute)
	}
	switch c.approval {
	case "other", "me":
		r.Context.Approvers, r.Context.ApprovedUntil = []string{c.approval}, now.Add(time.Minute)
	case "expired":
		r.Context.Approvers, r.Context.ApprovedUntil = []string{"other"}, now
	}
	if c.owner != "" && c.on != access.System {
		r.Resource.Origins, r.Resource.Submitters = []coffer.Origin{coffer.OriginSubmitted}, []string{c.owner}
	}
	return r
}

// expected says what the documentation of the roles promises for a cell, in words of its own: it asks no policy.
func expected(c cell) bool {
	i := slices.IndexFunc(access.Actions, func(d access.Description) bool { return d.Action == c.action })
	if !slices.Contains(access.Actions[i].On, c.on) {
		return false
	}
	operator := c.role == access.RoleOperator && c.kind == access.OperatorCaller && c.local
	approved := c.approval == "other"
	may := operator
	switch c.action {
	case access.SessionStart, access.SessionEnd, access.TokenCreate:
		may = may || c.kind == access.UserCaller
	case access.FindingList:
		may = may || slices.Contains([]string{access.RoleEngineer, access.RoleApprover, access.RoleAuditor, access.RolePrivacyOfficer, access.RoleResponder, access.RolePlatform}, c.role)
	case access.FindingRead, access.ObjectRead:
		may = may || slices.Contains([]string{access.RoleEngineer, access.RoleApprover, access.RolePrivacyOfficer, access.RoleResponder}, c.role)
	case access.ValueReveal:
		switch c.role {
		case access.RoleEngineer:
			may = c.values <= 25 || approved && c.by == "me"
		case access.RolePrivacyOfficer:
			may = approved && c.by == "me"
		case access.RoleResponder:
			may = c.glass
		}
		may = may && c.owner != "me"
		may = may && c.kind != access.ServiceCaller && (c.kind != access.TokenCaller || c.scoped) && (c.kind != access.UserCaller || c.fresh)
		may = may && (!c.glass || c.kind == access.UserCaller)
	case access.ValueSearch:
		may = may || c.role == access.RolePrivacyOfficer || c.role == access.RoleEngineer && approved && c.by == "me"
		may = may && c.kind != access.ServiceCaller && (c.kind != access.TokenCaller || c.scoped)
	case access.VerdictSet, access.RemedyPlan, access.RemedyUndo:
		may = may || c.role == access.RoleEngineer
	case access.RemedyApply, access.RemedyPurge:
		may = may || c.role == access.RoleEngineer && approved ||
			c.action == access.RemedyPurge && c.role == access.RoleService && c.kind == access.ServiceCaller
	case access.RemedyApprove, access.AccessApprove:
		may = may || c.role == access.RoleApprover && c.by == "other" && (c.kind == access.UserCaller || c.kind == access.OperatorCaller)
	case access.AccessReview:
		may = may || (c.role == access.RoleApprover || c.role == access.RoleAuditor) && c.by == "other" && (c.kind == access.UserCaller || c.kind == access.OperatorCaller)
	case access.AccessList:
		may = may || slices.Contains([]string{access.RoleEngineer, access.RoleApprover, access.RoleAuditor, access.RolePrivacyOfficer, access.RoleResponder}, c.role)
	case access.AccessRequest:
		may = may || c.role == access.RoleEngineer || c.role == access.RolePrivacyOfficer
	case access.AccessBreak:
		may = c.role == access.RoleResponder && c.kind == access.UserCaller && c.fresh
	case access.EventIngest:
		may = may || c.role == access.RoleService && c.kind == access.ServiceCaller || c.role == access.RoleEngineer && c.on == access.Finding && c.owner != ""
	case access.EventReconcile:
		may = may || c.role == access.RoleService && c.kind == access.ServiceCaller || c.role == access.RolePlatform
	case access.EventConfirm:
		may = (may || c.role == access.RoleEngineer) && c.owner == "other" && (c.kind == access.UserCaller || c.kind == access.OperatorCaller)
	case access.AuditRead:
		may = may || c.role == access.RoleAuditor
	case access.AdminIndex, access.AdminPerson:
		may = may || c.role == access.RolePrivacyOfficer
	case access.KeyRotate, access.AdminUser, access.AdminToken, access.AdminBackup, access.AdminCheck, access.AdminObject:
		may = may || c.role == access.RolePlatform
	case access.AdminNotify:
		may = may || c.role == access.RolePlatform || c.role == access.RoleService && c.kind == access.ServiceCaller
	case access.AdminJob:
		may = may || c.role == access.RolePlatform || (c.role == access.RoleEngineer || c.role == access.RolePrivacyOfficer) && c.by == "me"
	case access.PolicyWrite: // the operator alone
	}
	return may
}

// TestMatrix asks the default policies every question that a role, an action, the kind of the caller, the ownership of what is
// touched and the state of its approval make, and compares with what the documentation promises.
func TestMatrix(t *testing.T) {
	p := load(t, nil)
	roles := []string{
		"", "unheard-of", access.RoleOperator, access.RoleEngineer, access.RoleApprover, access.RoleAuditor, access.RolePrivacyOfficer,
		access.RoleResponder, access.RolePlatform, access.RoleService,
	}
	asked, permitted, unexpected := 0, 0, 0
	ask := func(c cell) {
		asked++
		d := p.Decide(c.request())
		if d.Allow {
			permitted++
		}
		if want := expected(c); d.Allow != want {
			if unexpected++; unexpected <= 20 {
				t.Errorf("%+v: allowed = %v, want %v (%+v)", c, d.Allow, want, d)
			}
		}
	}
	for _, role := range roles {
		for _, d := range access.Actions {
			for _, kind := range []access.CallerKind{access.OperatorCaller, access.UserCaller, access.ServiceCaller, access.TokenCaller} {
				for _, scoped := range []bool{false, true}[:1+strings.Count(string(kind), string(access.TokenCaller))] {
					c := cell{role: role, action: d.Action, kind: kind, scoped: scoped, by: "other", fresh: true, values: 1}
					for _, c.on = range []access.Kind{access.Finding, access.Plan, access.Object, access.System} {
						ask(c)
					}
					for _, c.on = range d.On {
						for _, c.local = range []bool{false, true}[:1+strings.Count(string(kind), string(access.OperatorCaller))] {
							owners := []string{"", "me", "other"}
							if c.on == access.System {
								owners = owners[:1] // nobody submitted the installation
							}
							for _, c.owner = range owners {
								for _, c.by = range []string{"me", "other"} {
									for _, c.approval = range []string{"", "other", "me", "expired"} {
										for _, c.fresh = range []bool{true, false}[:1+strings.Count(string(kind), string(access.UserCaller))] {
											ask(c)
										}
									}
								}
							}
							c.owner, c.by, c.approval, c.fresh = "", "me", "", true
							for _, c.glass = range []bool{true, false} {
								for _, c.values = range []int{25, 26} {
									for _, c.approval = range []string{"", "other"} {
										ask(c)
									}
								}
							}
						}
					}
				}
			}
		}
	}
	if asked < 2000 || permitted == 0 {
		t.Errorf("%d cells, %d of them permitted", asked, permitted)
	}
	t.Logf("%d cells, %d permitted, %d not as the documentation says", asked, permitted, unexpected)
}

func TestRules(t *testing.T) {
	p := load(t, nil)
	operator := access.Caller{ID: "op", Kind: access.OperatorCaller, Roles: []string{access.RoleOperator}}
	engineer := access.Caller{ID: "eng", Kind: access.UserCaller, Roles: []string{access.RoleEngineer}}
	both := access.Caller{ID: "both", Kind: access.UserCaller, Roles: []string{access.RoleEngineer, access.RoleApprover}}
	responder := access.Caller{ID: "duty", Kind: access.UserCaller, Roles: []string{access.RoleResponder}}
	finding, plan, system := resource(access.Finding), resource(access.Plan), resource(access.System)
	submitted := func(by ...string) access.Resource {
		r := resource(access.Finding)
		r.Origins, r.Submitters = []coffer.Origin{coffer.OriginSubmitted}, by
		return r
	}
	ctx := func(change func(*access.Context)) access.Context {
		c := access.Context{Now: now, Reason: "audit", Note: "quarterly check", Values: 1, SignedIn: now.Add(-15 * time.Minute)}
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
	glass := func(change func(*access.Context)) access.Context {
		return ctx(func(c *access.Context) {
			c.Reason, c.Ticket, c.MFA = "incident", "INC-1", true
			if change != nil {
				change(c)
			}
		})
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
		{"submitter confirms", operator, access.EventConfirm, submitted("x", "op"), local(nil), "submitter-may-not-confirm"},
		{"another confirms", engineer, access.EventConfirm, submitted("x"), ctx(nil), ""},
		{"confirmed, submitted by nobody", engineer, access.EventConfirm, submitted(), ctx(nil), "submitter-may-not-confirm"},
		{"token confirms", access.Caller{ID: "t", Kind: access.TokenCaller, Roles: []string{access.RoleEngineer}}, access.EventConfirm, submitted("x"), ctx(nil), "people-confirm"},
		{"own job", engineer, access.AdminJob, system, ctx(func(c *access.Context) { c.Requester = "eng" }), ""},
		{"another's job", engineer, access.AdminJob, system, ctx(func(c *access.Context) { c.Requester = "x" }), "-"},
		{"a job of unknown requester", engineer, access.AdminJob, system, ctx(nil), "-"},
		{"apply without approval", engineer, access.RemedyApply, plan, ctx(nil), "apply-needs-approval"},
		{"apply approved", engineer, access.RemedyApply, plan, ctx(approved("x", time.Hour)), ""},
		{"apply approved too long ago", engineer, access.RemedyApply, plan, ctx(approved("x", 0)), "apply-needs-approval"},
		{"apply approved without end", engineer, access.RemedyApply, plan, ctx(func(c *access.Context) { c.Approvers = []string{"x"} }), "apply-needs-approval"},
		{"apply approved by oneself", engineer, access.RemedyApply, plan, ctx(approved("eng", time.Hour)), "apply-needs-approval"},
		{"operator applies", operator, access.RemedyApply, plan, local(nil), ""},
		{"purge without approval", engineer, access.RemedyPurge, plan, ctx(nil), "apply-needs-approval"},
		{"undo needs none", engineer, access.RemedyUndo, plan, ctx(nil), ""},
		{"signed in too long ago", engineer, access.ValueReveal, finding, ctx(func(c *access.Context) { c.SignedIn = now.Add(-15*time.Minute - time.Second) }), "reveal-needs-fresh-sign-in"},
		{"signed in, not known when", engineer, access.ValueReveal, finding, ctx(func(c *access.Context) { c.SignedIn = time.Time{} }), "reveal-needs-fresh-sign-in"},
		{"signed in by a clock that is ahead", engineer, access.ValueReveal, finding, ctx(func(c *access.Context) { c.SignedIn = now.Add(time.Minute) }), ""},
		{"signed in tomorrow", engineer, access.ValueReveal, finding, ctx(func(c *access.Context) { c.SignedIn = now.Add(24 * time.Hour) }), "reveal-needs-fresh-sign-in"},
		{"service reveals", access.Caller{ID: "s", Kind: access.ServiceCaller, Roles: []string{access.RoleEngineer}}, access.ValueReveal, finding, ctx(nil), "services-see-no-values"},
		{"token reveals", access.Caller{ID: "t", Kind: access.TokenCaller, Roles: []string{access.RoleEngineer}}, access.ValueReveal, finding, ctx(nil), "token-values-need-scope"},
		{"token outside its scopes", access.Caller{ID: "t", Kind: access.TokenCaller, Roles: []string{access.RoleEngineer}, Scopes: []access.Action{access.FindingRead}}, access.ValueReveal, finding, ctx(nil), access.TokenScope},
		{"token for nothing", access.Caller{ID: "t", Kind: access.TokenCaller, Roles: []string{access.RoleEngineer}, Scopes: []access.Action{}}, access.FindingRead, finding, ctx(nil), access.TokenScope},
		{"request without a reason", engineer, access.AccessRequest, finding, ctx(func(c *access.Context) { c.Reason = "" }), "request-needs-reason"},
		{"request with a ticket", engineer, access.AccessRequest, finding, ctx(func(c *access.Context) { c.Note, c.Ticket = "", "INC-1" }), ""},
		{"glass without a second factor", responder, access.AccessBreak, system, glass(func(c *access.Context) { c.MFA = false }), "break-glass-needs-emergency"},
		{"glass without a ticket", responder, access.AccessBreak, system, glass(func(c *access.Context) { c.Ticket = "" }), "break-glass-needs-emergency"},
		{"glass for an audit", responder, access.AccessBreak, system, glass(func(c *access.Context) { c.Reason = "audit" }), "break-glass-needs-emergency"},
		{"glass", responder, access.AccessBreak, system, glass(nil), ""},
		{"reveal through broken glass", responder, access.ValueReveal, finding, glass(func(c *access.Context) { c.BreakGlass = true }), ""},
		{"reveal without breaking it", responder, access.ValueReveal, finding, glass(nil), "-"},
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
		"unknown attribute": {"a.cedar": {Data: []byte(openDoor + `@id("x") forbid (principal, action, resource) when { context.device == "phone" };`)}},
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
		Context:  access.Context{Now: time.Unix(1772366400, 0), SignedIn: time.Unix(1772366390, 0), Reason: "audit", Note: "quarterly check"},
	})
	fmt.Println(d.Allow, d.Advice)
	// Output: false no policy permits value.reveal to the role auditor
}

func BenchmarkDecide(b *testing.B) {
	p := load(b, nil)
	r := access.Request{
		Caller:   access.Caller{ID: "eng", Kind: access.UserCaller, Roles: []string{access.RoleEngineer}},
		Action:   access.ValueReveal,
		Resource: resource(access.Finding),
		Context:  access.Context{Now: now, SignedIn: now, Reason: "audit", Note: "quarterly check", Values: 1},
	}
	b.ReportAllocs()
	for b.Loop() {
		if !p.Decide(r).Allow {
			b.Fatal("denied")
		}
	}
}

func TestSightsOfRoles(t *testing.T) {
	want := map[string]access.Sight{
		access.RoleOperator: access.SeesFull, access.RoleEngineer: access.SeesFull, access.RoleApprover: access.SeesMasked,
		access.RoleAuditor: access.SeesExistent, access.RolePrivacyOfficer: access.SeesApproved, access.RoleResponder: access.SeesMasked,
		access.RolePlatform: access.SeesExistent, access.RoleService: access.SeesNothing,
	}
	cells := load(t, nil).Matrix(now)
	if len(cells) != 4*len(want) {
		t.Errorf("%d cells, want 4 for each of %d roles", len(cells), len(want))
	}
	for _, c := range cells {
		if c.Sight != want[c.Role] {
			t.Errorf("%s sees %s: %s, want %s", c.Role, c.Category, c.Sight, want[c.Role])
		}
	}
	// A policy about a kind of data shows in its column alone.
	p := load(t, fstest.MapFS{"a.cedar": {Data: []byte(openDoor + `@id("no-credentials") @advice("x")
forbid (principal in Role::"clerk", action == Action::"value.reveal", resource) when { resource.categories.contains("CREDENTIALS") };`)}})
	for _, c := range p.Matrix(now) {
		if full := c.Category != "CREDENTIALS"; (c.Sight == access.SeesFull) != full {
			t.Errorf("clerk sees %s: %s", c.Category, c.Sight)
		}
	}
}
