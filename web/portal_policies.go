package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/api"
)

type policiesPage struct {
	Hash    string
	Changed *when
	By      string
	Held    int
	Checks  []ruleCheck
	Heads   []filterField
	Rows    []matrixRow
	Cell    *matrixChoice
	Roles   []string
	Actions []access.Description
	IfRole  string
	If      url.Values
	Answer  *policyAnswer
	Why     *policyAnswer
	WhyOn   string
	WhyDo   string
	Rules   []policyRule
}

type matrixRow struct {
	Role, Name string
	Cells      []matrixCell
}

type matrixCell struct {
	To, Name string
	Sign     sign
	Here     bool
}

// matrixChoice is what a role may do with a kind of data, action by action.
type matrixChoice struct {
	Role, Category string
	Rows           []policyAnswer
}

type policyAnswer struct {
	Action, What string
	Sign         sign
	Rules        []string
	Advice       string
	Ask          []string
	Errors       []string
}

type policyRule struct {
	ID, Kind, Advice, Text string
	Forbid                 bool
}

// ruleCheck is a rule that this product promises, asked of the policies in force.
type ruleCheck struct {
	What string
	Hold bool
	Who  string // for whom it does not
	By   []string
}

// categoryWords are Macie's categories in words, each with a type that policies may ask about.
var categoryWords = []struct {
	id, name string
	typ      coffer.DataType
}{
	{"CREDENTIALS", "Credentials", "AWS_CREDENTIALS"}, {"FINANCIAL_INFORMATION", "Financial", coffer.BankAccountNumber},
	{"PERSONAL_INFORMATION", "Personal", coffer.PersonName}, {"CUSTOM_IDENTIFIER", "Custom", "CUSTOM"},
}

var sights = map[access.Sight]sign{
	access.SeesFull: {"full", "square-full", "exposed"}, access.SeesApproved: {"with approval", "square-most", "ink"}, access.SeesMasked: {"masked", "square-half", "ink"},
	access.SeesExistent: {"that it exists", "square-dot", "quiet"}, access.SeesNothing: {"denied", "square", "quiet"},
}

func (s *Server) policyPages() {
	s.page(&route{id: "policies", method: http.MethodGet, path: "/policies", action: access.FindingList}, func(ctx context.Context, v *visit) (*screen, error) {
		return s.policiesPage(ctx, v, nil)
	})
	s.page(&route{id: "policies-why", method: http.MethodPost, path: "/policies", action: access.FindingList}, func(ctx context.Context, v *visit) (*screen, error) {
		in := &body[api.ExplainBody]{Body: api.ExplainBody{
			Action: v.field("action"), On: v.field("on"), Reason: s.reasons()[0], Note: strings.Repeat("-", 20), Pending: v.field("pending") != "",
		}}
		out, err := s.explain(ctx, v.call, in)
		if err != nil {
			return nil, err
		}
		e := out.Body
		why := answerOf(access.Decision{Allow: e.Decision == "allow", Policies: e.Policies, Advice: e.Advice, Errors: e.Errors})
		why.Action, why.Ask = e.Action, e.Ask
		return s.policiesPage(ctx, v, &why)
	})
}

func answerOf(d access.Decision) policyAnswer {
	a := policyAnswer{Sign: sign{"permit", "tick", "good"}, Rules: d.Policies, Errors: d.Errors}
	if !d.Allow {
		a.Sign, a.Advice = sign{"forbid", "cross", "high"}, d.Advice
	}
	return a
}

func (s *Server) policiesPage(ctx context.Context, v *visit, why *policyAnswer) (*screen, error) {
	policy, err := s.Guard.Current(ctx)
	if err != nil {
		return nil, err
	}
	p := &policiesPage{Hash: policy.Hash(), Roles: policy.Roles(), Actions: access.Actions, Why: why, WhyOn: v.field("on"), WhyDo: v.field("action"), If: url.Values{}}
	q := url.Values{}
	if v.r.Method == http.MethodGet {
		q = v.r.URL.Query()
	}
	readsLog := s.may(ctx, v.call, access.AuditRead, access.Resource{Kind: access.System}, v.ask.Context)
	if readsLog {
		if err := s.reads(ctx, v.call, "policies"); err != nil {
			return nil, err
		}
		if err := s.tally.count(ctx, s.Guard.Log); err == nil {
			if e := s.tally.lastPolicy(); e != nil {
				p.Changed, p.By = v.at(e.Time), s.personName(ctx, v, e.Actor.ID)
			}
		}
	}
	role, category := q.Get("role"), q.Get("kind")
	for _, c := range categoryWords {
		p.Heads = append(p.Heads, filterField{c.id, c.name})
	}
	sees := map[string]access.Sight{}
	for _, m := range policy.Matrix(v.now) {
		sees[m.Role+" "+m.Category] = m.Sight
	}
	for _, r := range p.Roles {
		row := matrixRow{Role: r, Name: strings.ReplaceAll(r, "-", " ")}
		for _, c := range categoryWords {
			to := url.Values{"role": {r}, "kind": {c.id}}
			row.Cells = append(row.Cells, matrixCell{"/policies?" + to.Encode() + "#cell", row.Name + ", " + c.name, sights[sees[r+" "+c.id]], r == role && c.id == category})
		}
		p.Rows = append(p.Rows, row)
	}
	if slices.Contains(p.Roles, role) && category != "" {
		if p.Cell, err = choice(policy, role, category, v.now); err != nil {
			return nil, err
		}
	}
	if q.Has("do") {
		a, err := suppose(policy, q, v.now)
		if err != nil {
			return nil, err
		}
		p.Answer, p.If = a, q
	}
	p.Checks = checks(policy, v.now)
	for _, c := range p.Checks {
		if c.Hold {
			p.Held++
		}
	}
	for _, id := range policy.IDs() {
		r := policyRule{ID: id, Kind: "permit", Advice: policy.Advice(id), Forbid: policy.Forbids(id)}
		if r.Forbid {
			r.Kind = "forbid"
		}
		if readsLog {
			r.Text = policy.Text(id)
		}
		p.Rules = append(p.Rules, r)
	}
	// What takes away comes first: it is what people are refused by.
	slices.SortStableFunc(p.Rules, func(a, b policyRule) int {
		return strings.Compare(a.Kind, b.Kind)
	})
	return &screen{page: "policies", title: "Policies", nav: "/policies", data: p}, nil
}

// example is a person of a role who just signed in with two factors, gives a reason, and asks about a finding of a category.
func example(role, category string, d access.Description, now time.Time) (access.Request, error) {
	i := slices.IndexFunc(categoryWords, func(c struct {
		id, name string
		typ      coffer.DataType
	}) bool {
		return c.id == category
	})
	if i < 0 {
		return access.Request{}, fmt.Errorf("kind of data: %w", coffer.ErrInvalid)
	}
	r := access.Request{
		Caller: access.Caller{ID: "example", Kind: access.UserCaller, Roles: []string{role}}, Action: d.Action,
		Resource: access.Resource{Kind: d.On[0]},
		Context:  access.Context{Now: now, Reason: access.Reasons[0], Note: "an example of a note", Ticket: "EXAMPLE", Values: 1, SignedIn: now, MFA: true},
	}
	if r.Resource.Kind != access.System {
		r.Resource.ID, r.Resource.Severity, r.Resource.Origins = "example", coffer.SeverityHigh, []coffer.Origin{coffer.OriginMacie}
		r.Resource.Types, r.Resource.Categories = []coffer.DataType{categoryWords[i].typ}, []string{category}
	}
	if role == access.RoleOperator {
		r.Caller.Kind, r.Context.Local = access.OperatorCaller, true
	}
	switch d.Action { //nolint:exhaustive // what is decided about was asked for by somebody else
	case access.RemedyApprove, access.AccessApprove:
		r.Context.Requester = "another"
	case access.AccessBreak:
		r.Context.Reason = "incident"
	case access.EventConfirm:
		r.Resource.Origins, r.Resource.Submitters = []coffer.Origin{coffer.OriginSubmitted}, []string{"another"}
	}
	return r, nil
}

// choice answers for a role and a kind of data, action by action.
func choice(policy *access.Policy, role, category string, now time.Time) (*matrixChoice, error) {
	out := &matrixChoice{Role: strings.ReplaceAll(role, "-", " ")}
	for _, c := range categoryWords {
		if c.id == category {
			out.Category = strings.ToLower(c.name)
		}
	}
	for _, d := range access.Actions {
		r, err := example(role, category, d, now)
		if err != nil {
			return nil, err
		}
		a := answerOf(policy.Decide(r))
		a.Action, a.What = string(d.Action), d.Doc
		out.Rows = append(out.Rows, a)
	}
	return out, nil
}

// suppose answers the question of the form "What if".
func suppose(policy *access.Policy, q url.Values, now time.Time) (*policyAnswer, error) {
	i := slices.IndexFunc(access.Actions, func(d access.Description) bool { return string(d.Action) == q.Get("do") })
	if i < 0 || !slices.Contains(policy.Roles(), q.Get("as")) {
		return nil, fmt.Errorf("who, or what they do: %w", coffer.ErrInvalid)
	}
	r, err := example(q.Get("as"), q.Get("on"), access.Actions[i], now)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(q.Get("values"))
	if q.Get("values") != "" && (err != nil || n < 0) {
		return nil, fmt.Errorf("number of values: %w", coffer.ErrInvalid)
	}
	r.Context.Values = n
	if q.Get("reason") == "" {
		r.Context.Reason, r.Context.Note = "", ""
	}
	if q.Get("fresh") == "" {
		r.Context.SignedIn = now.Add(-time.Hour)
	}
	if q.Get("mfa") == "" {
		r.Context.MFA = false
	}
	if q.Get("approved") != "" {
		r.Context.Requester, r.Context.Approvers, r.Context.ApprovedUntil = r.Caller.ID, []string{"another"}, now.Add(time.Hour)
	}
	switch q.Get("by") {
	case "token":
		r.Caller.Kind = access.TokenCaller
	case "service":
		r.Caller.Kind = access.ServiceCaller
	}
	a := answerOf(policy.Decide(r))
	a.Action = q.Get("do")
	if a.Sign.Word == "forbid" {
		a.Ask = policy.WhoMay(r)
	}
	return &a, nil
}

// checks asks the policies in force what Coffer promises of them, for every role. A set of one's own may want it otherwise, which then
// stands here by name.
func checks(policy *access.Policy, now time.Time) []ruleCheck {
	descriptions := map[access.Action]access.Description{}
	for _, d := range access.Actions {
		descriptions[d.Action] = d
	}
	var out []ruleCheck
	refuse := func(what string, actions []access.Action, change func(*access.Request)) {
		c := ruleCheck{What: what, Hold: true}
		var who []string
		for _, role := range policy.Roles() {
			if role == access.RoleOperator {
				continue // the machine's own user, on its command line
			}
			for _, a := range actions {
				r, err := example(role, categoryWords[1].id, descriptions[a], now)
				if err != nil {
					continue // of our own making
				}
				change(&r)
				d := policy.Decide(r)
				if d.Allow && !slices.Contains(who, role) {
					who = append(who, role)
				}
				for _, id := range d.Policies {
					if policy.Forbids(id) && !slices.Contains(c.By, id) {
						c.By = append(c.By, id)
					}
				}
			}
		}
		c.Hold, c.Who = len(who) == 0, strings.ReplaceAll(strings.Join(who, ", "), "-", " ")
		slices.Sort(c.By)
		out = append(out, c)
	}
	reveal := []access.Action{access.ValueReveal}
	approve := []access.Action{access.RemedyApprove, access.AccessApprove}
	refuse("Nobody sees a value without a reason and a note", reveal, func(r *access.Request) { r.Context.Reason, r.Context.Note = "", "" })
	refuse("Nobody sees a value an hour after they signed in", reveal, func(r *access.Request) { r.Context.SignedIn = now.Add(-time.Hour) })
	refuse("Nobody sees values of a finding that they submitted", reveal, func(r *access.Request) {
		r.Resource.Origins, r.Resource.Submitters = []coffer.Origin{coffer.OriginSubmitted}, []string{r.Caller.ID}
	})
	refuse("Nobody takes away a thousand values at once on their own right", reveal, func(r *access.Request) { r.Context.Values = 1000 })
	refuse("Nobody approves what they asked for", approve, func(r *access.Request) { r.Context.Requester = r.Caller.ID })
	refuse("No token and no service approves", approve, func(r *access.Request) { r.Caller.Kind = access.TokenCaller })
	refuse("Nothing is changed without somebody else's approval", []access.Action{access.RemedyApply, access.RemedyPurge}, func(r *access.Request) {
		r.Context.Requester, r.Context.Approvers, r.Context.ApprovedUntil = r.Caller.ID, nil, time.Time{}
	})
	refuse("No service sees a value", reveal, func(r *access.Request) { r.Caller.Kind = access.ServiceCaller })
	refuse("Who has no role sees nothing", []access.Action{access.FindingList, access.FindingRead, access.ValueReveal, access.AuditRead}, func(r *access.Request) { r.Caller.Roles = nil })
	return out
}
