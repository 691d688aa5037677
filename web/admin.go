package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/audit"
	"coffer/check"
)

// defaultAge is how long ago a wrapping key was superseded before it is removed, where nothing is said.
const defaultAge = 24 * time.Hour

func (s *Server) adminRoutes() {
	handle(s, &route{
		id: "list-keys", method: http.MethodGet, path: "/v1/keys", tag: "installation", action: access.KeyRotate,
		summary: "The wrapping keys and how many data keys each wraps",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Keys], error) {
		list, err := s.Home.Keys(ctx, c.ask)
		if list == nil {
			list = []api.Key{}
		}
		return &reply[api.Keys]{Status: http.StatusOK, Body: api.Keys{Keys: list}}, err
	})
	handle(s, &route{
		id: "rotate-keys", method: http.MethodPost, path: "/v1/keys/rotate", tag: "installation", action: access.KeyRotate, status: http.StatusAccepted,
		summary: "Renew the wrapping key and wrap all data keys anew, as a job", also: []int{409},
	}, func(ctx context.Context, c *call, in *acts) (*reply[api.Job], error) {
		attempt := s.attemptID(c, in.Key)
		j, err := s.Jobs.Get(ctx, "job-"+attempt)
		if notThere(err) {
			var items []string
			if items, err = s.Home.RotateKeys(ctx, c.ask); err != nil {
				return nil, err
			}
			j, err = s.runner.start(ctx, c, kindRotate, attempt, nil, items)
		}
		if err != nil {
			return nil, err
		}
		return s.accepted(j), nil
	})
	handle(s, &route{
		id: "retire-keys", method: http.MethodPost, path: "/v1/keys/retire", tag: "installation", action: access.KeyRotate,
		summary: "Remove superseded wrapping keys that wrap nothing any more", also: []int{409},
	}, func(ctx context.Context, c *call, in *actsWith[api.RetireBody]) (*reply[api.Retired], error) {
		age := defaultAge
		if in.Body.AgeSeconds != nil {
			age = time.Duration(*in.Body.AgeSeconds) * time.Second
		}
		ids, err := s.Home.RetireKeys(ctx, c.ask, age)
		return &reply[api.Retired]{Status: http.StatusOK, Body: api.Retired{Retired: orEmpty(ids)}}, err
	})
	handle(s, &route{
		id: "show-policies", method: http.MethodGet, path: "/v1/policies", tag: "installation", action: access.FindingList,
		summary: "The policies in force, and what they decide about",
	}, func(ctx context.Context, _ *call, _ *none) (*reply[api.Policies], error) {
		p, err := s.Guard.Current(ctx)
		if err != nil {
			return nil, err
		}
		out := api.Policies{Policies: p.IDs(), Roles: p.Roles(), Hash: p.Hash()}
		for _, d := range access.Actions {
			a := api.Action{Action: string(d.Action), What: d.Doc}
			for _, k := range d.On {
				a.On = append(a.On, string(k))
			}
			out.Actions = append(out.Actions, a)
		}
		return &reply[api.Policies]{Status: http.StatusOK, Body: out}, nil
	})
	handle(s, &route{
		id: "explain-policies", method: http.MethodPost, path: "/v1/policies/explain", tag: "installation", action: access.FindingList,
		summary: "Which policies decide about an action, why, and whom to ask",
	}, s.explain)
	handle(s, &route{
		id: "diagnose", method: http.MethodGet, path: "/v1/doctor", tag: "installation", action: access.AdminCheck,
		summary: "What is wrong with the installation and what helps",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Diagnoses], error) {
		return &reply[api.Diagnoses]{Status: http.StatusOK, Body: api.Diagnoses{Diagnoses: s.Home.Diagnose(ctx, c.ask)}}, nil
	})
	handle(s, &route{
		id: "check", method: http.MethodPost, path: "/v1/check", tag: "installation", action: access.AdminCheck,
		summary: "Check every invariant of store, log and objects; shows no value",
	}, func(ctx context.Context, c *call, in *body[api.CheckBody]) (*reply[api.Checked], error) {
		r, err := s.Home.Check(ctx, c.ask, check.Options{Quick: in.Body.Quick, Repair: in.Body.Repair, Age: time.Hour})
		if err != nil {
			return nil, err
		}
		out := api.Checked{
			Findings: r.Findings, Values: r.Values, Plans: r.Plans, Originals: r.Originals, Objects: r.Objects, Entries: r.Entries,
			Violations: []api.Violation{}, Litter: orEmpty(r.Litter), Repaired: r.Repaired,
		}
		for _, v := range r.Violations {
			out.Violations = append(out.Violations, api.Violation(v))
		}
		return &reply[api.Checked]{Status: http.StatusOK, Body: out}, nil
	})
	handle(s, &route{
		id: "show-config", method: http.MethodGet, path: "/v1/config", tag: "installation", action: access.AdminCheck,
		summary: "The configuration in force, without what could open anything",
	}, func(ctx context.Context, c *call, _ *none) (*reply[api.Config], error) {
		permit, err := s.Guard.Check(ctx, c.ask.Caller, access.AdminCheck, access.Resource{Kind: access.System}, c.ask.Context)
		if err != nil {
			return nil, err
		}
		e := permit.Entry(audit.Done)
		e.Detail = map[string]string{"step": "config"}
		if _, err := s.Guard.Log.Append(ctx, e); err != nil {
			return nil, err
		}
		return &reply[api.Config]{Status: http.StatusOK, Body: s.Home.Config()}, nil
	})
	handle(s, &route{
		id: "show-version", method: http.MethodGet, path: "/v1/version", tag: "installation", action: access.FindingList, summary: "What serves",
	}, func(context.Context, *call, *none) (*reply[api.Build], error) {
		return &reply[api.Build]{Status: http.StatusOK, Body: s.Home.Build()}, nil
	})
	handle(s, &route{
		id: "show-caller", method: http.MethodGet, path: "/v1/caller", tag: "installation", action: access.FindingList, summary: "Who asks, as the server sees them",
	}, func(_ context.Context, c *call, _ *none) (*reply[api.Caller], error) {
		who := c.ask.Caller
		out := api.Caller{ID: who.ID, Kind: string(who.Kind), Roles: orEmpty(who.Roles), Teams: orEmpty(who.Teams)}
		for _, a := range who.Scopes {
			out.Scopes = append(out.Scopes, string(a))
		}
		return &reply[api.Caller]{Status: http.StatusOK, Body: out}, nil
	})
}

func (s *Server) explain(ctx context.Context, c *call, in *body[api.ExplainBody]) (*reply[api.Explained], error) {
	b := in.Body
	i := slices.IndexFunc(access.Actions, func(d access.Description) bool { return string(d.Action) == b.Action })
	if i < 0 {
		return nil, fmt.Errorf("no action has this name; GET /v1/policies lists them: %w", coffer.ErrInvalid)
	}
	d := access.Actions[i]
	r := access.Request{Action: d.Action, Caller: c.ask.Caller, Context: c.ask.Context,
		Resource: access.Resource{Kind: d.On[0], ID: "resource", Origins: []coffer.Origin{coffer.OriginMacie}}}
	r.Context.Reason, r.Context.Note = b.Reason, b.Note
	if b.Roles != nil {
		r.Caller = access.Caller{ID: "a-person", Kind: access.UserCaller, Roles: b.Roles}
		r.Context.Local, r.Context.SignedIn = false, r.Context.Now
	}
	if b.Pending {
		r.Context.Requester = "another-person"
	}
	switch {
	case b.On == "" && r.Resource.Kind == access.System:
		r.Resource = access.Resource{Kind: access.System}
	case b.On == "":
	// What stands in the record reaches the answer, so that reading it is asked for and logged like any reading. What may not be
	// known of is not there.
	case slices.Contains(d.On, access.Plan) && (len(d.On) == 1 || strings.HasPrefix(b.On, "plan-")):
		p, err := s.Remedy.Read(ctx, c.ask, b.On)
		if err != nil {
			return nil, concealed(c, err)
		}
		p.Circumstances(&r.Context, d.Action)
		if r.Resource, err = s.Remedy.Resource(ctx, p); err != nil {
			return nil, err
		}
	case slices.Contains(d.On, access.Finding):
		rec, _, err := s.Desk.Read(ctx, c.ask, b.On)
		if err != nil {
			return nil, concealed(c, err)
		}
		r.Resource = rec.Resource()
	default:
		return nil, fmt.Errorf("the action is not asked about findings or plans: %w", coffer.ErrInvalid)
	}
	policy, err := s.Guard.Current(ctx)
	if err != nil {
		return nil, err
	}
	dec := policy.Decide(r)
	out := api.Explained{Action: string(d.Action), On: string(r.Resource.Kind), Decision: "deny", Policies: orEmpty(dec.Policies), Errors: orEmpty(dec.Errors),
		Advice: dec.Advice, Ask: []string{}, Hash: dec.Hash}
	if dec.Allow {
		out.Decision = "allow"
	} else {
		out.Ask = orEmpty(policy.WhoMay(r))
	}
	return &reply[api.Explained]{Status: http.StatusOK, Body: out}, nil
}

// concealed lets a denial look like absence.
func concealed(c *call, err error) error {
	if api.Code(err) == "denied" {
		return newProblem(c, "not-found", details["not-found"])
	}
	return err
}
