package web

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"coffer"
	"coffer/access"
	"coffer/api"
)

func (s *Server) policyRoutes() {
	handle(s, &route{
		id: "show-matrix", method: http.MethodGet, path: "/v1/policies/matrix", tag: "installation", action: access.FindingList,
		summary: "What each role sees of each kind of data",
	}, func(ctx context.Context, _ *call, _ *none) (*reply[api.Matrix], error) {
		p, err := s.Guard.Current(ctx)
		if err != nil {
			return nil, err
		}
		return &reply[api.Matrix]{Status: http.StatusOK, Body: MatrixOf(p, s.Now())}, nil
	})
	handle(s, &route{
		id: "test-policies", method: http.MethodPost, path: "/v1/policies/test", tag: "installation", action: access.FindingList,
		summary: "Ask the policies in force questions, and compare the answers with those that are expected",
		doc:     "The questions are made up: they touch nothing, and their answers permit nothing.",
	}, func(ctx context.Context, _ *call, in *body[api.PolicyTests]) (*reply[api.PolicyAnswers], error) {
		p, err := s.Guard.Current(ctx)
		if err != nil {
			return nil, err
		}
		out, err := Answers(p, in.Body.Cases)
		if err != nil {
			return nil, err
		}
		for i := range out.Answers {
			out.Answers[i].Errors = unspoken(out.Answers[i].Errors, p.IDs())
		}
		return &reply[api.PolicyAnswers]{Status: http.StatusOK, Body: out}, nil
	})
}

// MatrixOf says what each role sees of each kind of data under a set of policies.
func MatrixOf(p *access.Policy, now time.Time) api.Matrix {
	out := api.Matrix{Cells: []api.MatrixCell{}, Hash: p.Hash()}
	for _, m := range p.Matrix(now) {
		out.Cells = append(out.Cells, api.MatrixCell{Role: m.Role, Category: m.Category, Sight: string(m.Sight)})
	}
	return out
}

// Answers asks policies made-up questions and compares their answers with those that are expected. Nothing is touched, and nothing is
// permitted by it. A case that makes no sense is [coffer.ErrInvalid]; the error names it by its number.
func Answers(p *access.Policy, cases []api.PolicyCase) (api.PolicyAnswers, error) {
	out := api.PolicyAnswers{Answers: make([]api.PolicyAnswer, len(cases)), Hash: p.Hash()}
	for i := range cases {
		x := &cases[i]
		r, err := supposed(x)
		if err != nil {
			return api.PolicyAnswers{}, fmt.Errorf("case %d: %w", i+1, err)
		}
		d := p.Decide(r)
		got := "deny"
		if d.Allow {
			got = "allow"
		}
		ok := got == x.Expect && len(d.Errors) == 0 && (x.By == nil || slices.Equal(slices.Sorted(slices.Values(x.By)), d.Policies))
		if !ok {
			out.Failed++
		}
		out.Answers[i] = api.PolicyAnswer{N: i + 1, OK: ok, Expected: x.Expect, Got: got, Policies: orEmpty(d.Policies), Errors: orEmpty(d.Errors)}
	}
	return out, nil
}

// unspoken returns the errors of a decision without those words that the question brought: ids of policies stay.
func unspoken(errs, ids []string) []string {
	out := []string{}
	for _, e := range errs {
		if !slices.Contains(ids, e) {
			e = "the question is incomplete, or names what does not exist"
		}
		out = append(out, e)
	}
	return out
}

// supposed makes the question of a case.
func supposed(x *api.PolicyCase) (access.Request, error) {
	c := &x.Context
	r := access.Request{
		Caller: access.Caller{ID: x.Caller.ID, Kind: access.CallerKind(x.Caller.Kind), Roles: x.Caller.Roles, Teams: x.Caller.Teams},
		Action: access.Action(x.Action),
		Resource: access.Resource{
			Kind: access.Kind(x.Resource.Kind), ID: x.Resource.ID, Categories: x.Resource.Categories, Bucket: x.Resource.Bucket,
			Account: x.Resource.Account, Submitters: x.Resource.Submitters,
			Severity: coffer.Severity(max(0, slices.Index([]string{"", "low", "medium", "high"}, x.Resource.Severity))),
		},
		Context: access.Context{
			Now: c.Now, Local: c.Local, Reason: c.Reason, Note: c.Note, Ticket: c.Ticket, Purpose: c.Purpose, Values: c.Values, MFA: c.MFA,
			BreakGlass: c.BreakGlass, Requester: c.Requester, Approvers: c.Approvers, ApprovedUntil: c.ApprovedUntil,
		},
	}
	if x.Caller.Scopes != nil {
		r.Caller.Scopes = []access.Action{}
		for _, a := range x.Caller.Scopes {
			r.Caller.Scopes = append(r.Caller.Scopes, access.Action(a))
		}
	}
	for _, t := range x.Resource.Types {
		r.Resource.Types = append(r.Resource.Types, coffer.DataType(t))
	}
	for _, o := range x.Resource.Origins {
		r.Resource.Origins = append(r.Resource.Origins, coffer.Origin(o))
	}
	for _, k := range slices.Sorted(maps.Keys(x.Resource.Tags)) {
		r.Resource.BucketTags = append(r.Resource.BucketTags, coffer.Tag{Key: k, Value: x.Resource.Tags[k]})
	}
	if c.Network != "" {
		a, err := netip.ParseAddr(c.Network)
		if err != nil {
			return r, fmt.Errorf("a network is an address such as 192.0.2.7: %w", coffer.ErrInvalid)
		}
		r.Context.Network = a
	}
	r = access.Suppose(r)
	r.Context.SignedIn = r.Context.Now.Add(-time.Duration(c.SignInSeconds) * time.Second)
	return r, nil
}
