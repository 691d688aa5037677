package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"coffer"
	"coffer/access"
	"coffer/api"
	"coffer/remedy"
	"coffer/triage"
)

// maxListed is how many changes a plan shows; the rest comes by pages.
const maxListed = 1000

// mark is where a page of plans begins: behind this one.
type mark struct {
	Created time.Time `json:"c"`
	ID      string    `json:"i"`
}

type plansIn struct {
	State  []string `query:"state" maxItems:"8" enum:"planned,approved,applying,applied,undone,purged,conflict,refused,denied,withdrawn" doc:"Only plans in these states."`
	Limit  int      `query:"limit" minimum:"1" maximum:"1000"`
	Cursor string   `query:"cursor" maxLength:"512"`
}

type changesIn struct {
	Plan   string `path:"plan" maxLength:"64"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000"`
	Cursor string `query:"cursor" maxLength:"512"`
}

func (s *Server) planRoutes() {
	handle(s, &route{
		id: "make-plans", method: http.MethodPost, path: "/v1/plans", tag: "plans", action: access.RemedyPlan, on: object, status: http.StatusCreated,
		summary: "Plan a fix; nothing is written to an object", also: []int{202, 409},
		doc: "One plan covers one object and all its open findings. For findings on several objects, or a filter, the answer is 202 with a job.",
	}, s.makePlans)
	handle(s, &route{
		id: "list-plans", method: http.MethodGet, path: "/v1/plans", tag: "plans", action: access.FindingList, summary: "List plans, newest first",
	}, func(ctx context.Context, c *call, in *plansIn) (*reply[api.Plans], error) {
		query := strings.Join(in.State, ",")
		var after mark
		more, err := s.from(c, query, in.Cursor, &after)
		if err != nil {
			return nil, err
		}
		list, err := s.Remedy.List(ctx, c.ask)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(p *remedy.Plan) bool {
			return len(in.State) > 0 && !slices.Contains(in.State, string(p.State)) || more && (p.Created.After(after.Created) || p.ID == after.ID)
		})
		out := &reply[api.Plans]{Status: http.StatusOK, Body: api.Plans{Plans: []api.PlanSummary{}}}
		n := min(len(list), pageLimit(in.Limit))
		for _, p := range list[:n] {
			out.Body.Plans = append(out.Body.Plans, api.PlanSummary{
				Plan: p.ID, Action: string(p.Action), Status: string(p.State), Object: coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key},
				Findings: p.Findings, Changes: p.Changes, Created: p.Created, Clean: p.Clean,
			})
		}
		if n < len(list) {
			out.Body.Next, err = s.cursor(c, query, mark{list[n-1].Created, list[n-1].ID})
		}
		return out, err
	})
	handle(s, &route{
		id: "show-plan", method: http.MethodGet, path: "/v1/plans/{plan}", tag: "plans", action: access.ObjectRead, on: plan, direct: true,
		summary: "Show a plan with its masked diff",
	}, func(ctx context.Context, c *call, in *ofPlan) (*reply[api.Plan], error) {
		return s.plan(ctx, c, in.Plan)
	})
	handle(s, &route{
		id: "list-changes", method: http.MethodGet, path: "/v1/plans/{plan}/changes", tag: "plans", action: access.ObjectRead, on: plan,
		summary: "The changes of a plan by pages, in document order",
	}, func(ctx context.Context, c *call, in *changesIn) (*reply[api.Changes], error) {
		var start int
		if _, err := s.from(c, in.Plan, in.Cursor, &start); err != nil {
			return nil, err
		}
		if _, err := s.Remedy.Read(ctx, c.ask, in.Plan); err != nil {
			return nil, err
		}
		out := &reply[api.Changes]{Status: http.StatusOK, Body: api.Changes{Changes: []api.Change{}}}
		n := 0
		for ch, err := range s.Remedy.Changes(ctx, in.Plan) {
			if err != nil {
				return nil, err
			}
			if n++; n <= start {
				continue
			}
			if len(out.Body.Changes) == pageLimit(in.Limit) {
				out.Body.Next, err = s.cursor(c, in.Plan, n-1)
				return out, err
			}
			out.Body.Changes = append(out.Body.Changes, s.change(ch))
		}
		return out, nil
	})
	handle(s, &route{
		id: "approve-plan", method: http.MethodPost, path: "/v1/plans/{plan}/approve", tag: "plans", action: access.RemedyApprove, on: plan,
		summary: "Approve exactly this plan", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnPlan) (*reply[api.Approved], error) {
		if err := s.matchPlan(ctx, c, in.Plan, in.IfMatch); err != nil {
			return nil, err
		}
		p, err := s.Remedy.Approve(ctx, c.ask, in.Plan)
		if err != nil {
			return nil, err
		}
		return &reply[api.Approved]{Status: http.StatusOK, Body: api.Approved{Plan: p.ID, Status: string(p.State), Approvals: approvals(p.Approvals)}}, nil
	})
	handle(s, &route{
		id: "deny-plan", method: http.MethodPost, path: "/v1/plans/{plan}/deny", tag: "plans", action: access.RemedyApprove, on: plan,
		summary: "Deny a plan before anything is written, and say why", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnPlanWith[api.AnswerBody]) (*reply[api.Plan], error) {
		if err := s.matchPlan(ctx, c, in.Plan, in.IfMatch); err != nil {
			return nil, err
		}
		p, err := s.Remedy.Deny(ctx, c.ask, in.Plan, in.Body.Note)
		if err != nil {
			return nil, err
		}
		return s.ended(ctx, p)
	})
	handle(s, &route{
		id: "withdraw-plan", method: http.MethodPost, path: "/v1/plans/{plan}/withdraw", tag: "plans", action: access.RemedyPlan, on: plan,
		summary: "Take back a plan of the caller's own before anything is written", also: []int{409, 412},
	}, func(ctx context.Context, c *call, in *actsOnPlan) (*reply[api.Plan], error) {
		if err := s.matchPlan(ctx, c, in.Plan, in.IfMatch); err != nil {
			return nil, err
		}
		p, err := s.Remedy.Withdraw(ctx, c.ask, in.Plan)
		if err != nil {
			return nil, err
		}
		return s.ended(ctx, p)
	})
	handle(s, &route{
		id: "apply-plan", method: http.MethodPost, path: "/v1/plans/{plan}/apply", tag: "plans", action: access.RemedyApply, on: plan,
		summary: "Carry out a plan", also: []int{202, 409, 412},
		doc: "The status is conflict when the object is not the planned version any more, and refused when the new bytes did not pass the verification; then nothing was written.",
	}, func(ctx context.Context, c *call, in *laterOnPlanWith[api.ApplyBody]) (*later[api.Applied], error) {
		if err := s.matchPlan(ctx, c, in.Plan, in.IfMatch); err != nil {
			return nil, err
		}
		closing := s.closingOf(in.Body)
		if s.isJob(in.Prefer) {
			return asJob[api.Applied](ctx, s, c, kindApply, in.Key, closingParams(closing), in.Plan)
		}
		p, err := s.Remedy.Apply(ctx, c.ask, in.Plan, closing)
		if err != nil {
			return nil, err
		}
		return done(applied(p)), nil
	})
	handle(s, &route{
		id: "apply-plans", method: http.MethodPost, path: "/v1/plans/apply", tag: "plans", action: access.RemedyApply, on: object, status: http.StatusAccepted,
		summary: "Carry out several plans as a job", also: []int{404, 409},
	}, func(ctx context.Context, c *call, in *actsWith[api.ApplyManyBody]) (*reply[api.Job], error) {
		ids := in.Body.Plans
		for _, id := range ids {
			// A job must not keep, and show to others, what somebody wrote in the place of an id.
			if _, err := s.Remedy.Get(ctx, id); err != nil {
				return nil, err
			}
		}
		if len(ids) == 0 {
			for p, err := range s.Remedy.All(ctx) {
				if err != nil {
					return nil, err
				}
				if p.State == remedy.Planned || p.State == remedy.Approved || p.State == remedy.Applying {
					ids = append(ids, p.ID)
				}
			}
		}
		closing := s.closingOf(in.Body.ApplyBody)
		j, err := s.runner.start(ctx, c, kindApply, s.attemptID(c, in.Key), closingParams(closing), ids)
		if err != nil {
			return nil, err
		}
		return s.accepted(j), nil
	})
	handle(s, &route{
		id: "undo-plan", method: http.MethodPost, path: "/v1/plans/{plan}/undo", tag: "plans", action: access.RemedyUndo, on: plan,
		summary: "Put the original back", also: []int{202, 409, 412},
	}, func(ctx context.Context, c *call, in *laterOnPlan) (*later[api.Undone], error) {
		if err := s.matchPlan(ctx, c, in.Plan, in.IfMatch); err != nil {
			return nil, err
		}
		if s.isJob(in.Prefer) {
			return asJob[api.Undone](ctx, s, c, kindUndo, in.Key, nil, in.Plan)
		}
		p, err := s.Remedy.Undo(ctx, c.ask, in.Plan)
		if err != nil {
			return nil, err
		}
		return done(api.Undone{
			Plan: p.ID, Status: string(p.State), Object: coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key}, Blanked: p.Authenticates}), nil
	})
	handle(s, &route{
		id: "purge-plan", method: http.MethodPost, path: "/v1/plans/{plan}/purge", tag: "plans", action: access.RemedyPurge, on: plan,
		summary: "Destroy the kept original for good", also: []int{202, 409, 412},
	}, func(ctx context.Context, c *call, in *laterOnPlanWith[api.PurgeBody]) (*later[api.Purged], error) {
		if err := s.matchPlan(ctx, c, in.Plan, in.IfMatch); err != nil {
			return nil, err
		}
		if s.isJob(in.Prefer) {
			return asJob[api.Purged](ctx, s, c, kindPurge, in.Key, map[string]string{"values": strconv.FormatBool(in.Body.Values)}, in.Plan)
		}
		p, err := s.Remedy.Purge(ctx, c.ask, in.Plan, remedy.PurgeOptions{Values: in.Body.Values})
		if err != nil {
			return nil, err
		}
		return done(api.Purged{
			Plan: p.ID, Status: string(p.State), Clean: p.Clean, Residual: orEmpty(p.Residual), Unopenable: p.KeyGone}), nil
	})
	handle(s, &route{
		id: "purge-expired", method: http.MethodPost, path: "/v1/plans/purge-expired", tag: "plans", action: access.RemedyPurge, on: object,
		summary: "Purge every plan whose grace period is over", also: []int{409},
	}, func(ctx context.Context, c *call, _ *acts) (*reply[api.PurgedExpired], error) {
		n, err := s.Remedy.EndGrace(ctx, c.ask)
		if err != nil {
			return nil, err
		}
		return &reply[api.PurgedExpired]{Status: http.StatusOK, Body: api.PurgedExpired{Purged: n}}, nil
	})
	handle(s, &route{
		id: "certify-plan", method: http.MethodGet, path: "/v1/plans/{plan}/certificate", tag: "plans", action: access.ObjectRead, on: plan, direct: true,
		summary: "Certify what a fix did and what is left", also: []int{409},
	}, func(ctx context.Context, c *call, in *ofPlan) (*reply[api.Certificate], error) {
		cert, err := s.Home.Certify(ctx, c.ask, in.Plan)
		if err != nil {
			return nil, err
		}
		return &reply[api.Certificate]{Status: http.StatusOK, Body: certificate(cert)}, nil
	})
}

func (s *Server) closingOf(b api.ApplyBody) remedy.Closing {
	return remedy.Closing{Origin: s.Home.Scrub(b.Origin), CorrectiveAction: s.Home.Scrub(b.CorrectiveAction)}
}

// closingParams are the parameters of a job that applies plans.
func closingParams(c remedy.Closing) map[string]string {
	return map[string]string{"origin": c.Origin, "correctiveAction": c.CorrectiveAction}
}

func (s *Server) makePlans(ctx context.Context, c *call, in *actsWith[api.PlanBody]) (*reply[api.Planned], error) {
	b := in.Body
	if (len(b.Findings) == 0) == (len(b.Filter) == 0) {
		return nil, fmt.Errorf("name either findings or a filter: %w", coffer.ErrInvalid)
	}
	ids := b.Findings
	if len(b.Filter) > 0 {
		f, err := triage.ParseFilter(b.Filter...)
		if err != nil {
			return nil, err
		}
		list, err := s.Desk.List(ctx, c.ask, f)
		if err != nil {
			return nil, err
		}
		for _, sum := range list {
			if sum.Status.Active() && sum.Sealed > 0 {
				ids = append(ids, sum.ID)
			}
		}
		if len(ids) == 0 {
			return nil, fmt.Errorf("no open finding with sealed values matches the filter: %w", coffer.ErrNotFound)
		}
	}
	groups, err := s.Remedy.Groups(ctx, ids...)
	if err != nil {
		return nil, err
	}
	attempt := s.attemptID(c, in.Key)
	if len(groups) == 1 && s.Hand == nil {
		p, err := s.Remedy.Plan(ctx, c.ask, groups[0], remedy.Options{
			Attempt: attempt, Action: remedy.Action(b.Action), Include: include(b.Include), OnlyReported: b.OnlyReported})
		if err != nil {
			return nil, err
		}
		shown, err := s.planOf(ctx, p)
		if err != nil {
			return nil, err
		}
		tag, err := s.tag(shown)
		return &reply[api.Planned]{Status: http.StatusCreated, Location: "/v1/plans/" + p.ID, ETag: tag, Body: api.Planned{Plan: &shown}}, err
	}
	ids = nil
	for _, g := range groups {
		ids = append(ids, g.Records[0].Finding.ID)
	}
	j, err := s.runner.start(ctx, c, kindPlan, attempt, map[string]string{
		"action": b.Action, "include": strings.Join(b.Include, " "), "onlyReported": strconv.FormatBool(b.OnlyReported),
	}, ids)
	if err != nil {
		return nil, err
	}
	shown := s.jobOf(j)
	return &reply[api.Planned]{Status: http.StatusAccepted, Location: "/v1/jobs/" + j.ID, Body: api.Planned{Job: &shown}}, nil
}

// ended answers with a plan that was denied or withdrawn.
func (s *Server) ended(ctx context.Context, p *remedy.Plan) (*reply[api.Plan], error) {
	shown, err := s.planOf(ctx, p)
	if err != nil {
		return nil, err
	}
	tag, err := s.tag(shown)
	return &reply[api.Plan]{Status: http.StatusOK, ETag: tag, Body: shown}, err
}

func (s *Server) plan(ctx context.Context, c *call, id string) (*reply[api.Plan], error) {
	p, err := s.Remedy.Read(ctx, c.ask, id)
	if err != nil {
		return nil, err
	}
	shown, err := s.planOf(ctx, p)
	if err != nil {
		return nil, err
	}
	tag, err := s.tag(shown)
	return &reply[api.Plan]{Status: http.StatusOK, ETag: tag, Body: shown}, err
}

// matchPlan compares the plan, as it is shown, with an If-Match header.
func (s *Server) matchPlan(ctx context.Context, c *call, id, header string) error {
	if header == "" {
		return nil
	}
	shown, err := s.plan(ctx, c, id)
	if err != nil {
		return err
	}
	return match(c, header, shown.ETag)
}

func (s *Server) planOf(ctx context.Context, p *remedy.Plan) (api.Plan, error) {
	out := api.Plan{
		Plan: p.ID, Object: coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key, VersionID: p.Object.VersionID}, Findings: orEmpty(p.Findings),
		Action: string(p.Action), Status: string(p.State), Changes: []api.Change{}, Counts: map[string]int{}, Total: p.Changes, Swept: p.Swept,
		Possible: p.PossibleCount, Leaves: p.Leaves, Residual: orEmpty(p.Residual), Warnings: p.Warnings, Approvals: approvals(p.Approvals), By: p.By,
	}
	if len(p.Findings) > 0 {
		out.Finding = p.Findings[0]
	}
	for t, n := range p.Counts {
		out.Counts[string(t)] = n
	}
	for _, x := range p.Possible {
		out.PossiblePlace = append(out.PossiblePlace, api.Place{Type: string(x.Type), At: s.Home.Cut(x.At).String()})
	}
	if p.State == remedy.Denied || p.State == remedy.Withdrawn {
		out.Reason = p.Reason
	}
	if !p.Until.IsZero() {
		out.UndoUntil = &p.Until
	}
	if p.State == remedy.Applied || p.State == remedy.Conflict || p.State == remedy.Refused {
		out.Applied = ptr(applied(p))
	}
	for ch, err := range s.Remedy.Changes(ctx, p.ID) {
		if err != nil {
			return out, err
		}
		if len(out.Changes) == maxListed {
			break
		}
		out.Changes = append(out.Changes, s.change(ch))
	}
	return out, nil
}

func (s *Server) change(ch remedy.Change) api.Change {
	return api.Change{N: ch.N, Type: string(ch.Type), At: s.Home.Cut(ch.At).String(), Before: ch.Before, After: printable(ch.After), Why: ch.Why}
}

// printable replaces what is invisible or turns the direction of a text: it comes out of documents of strangers.
func printable(t string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
			return '\uFFFD'
		}
		return r
	}, t)
}

func approvals[A ~[]remedy.Approval](list A) []api.Approval {
	out := make([]api.Approval, len(list))
	for i, a := range list {
		out[i] = api.Approval{By: a.By, At: a.At}
	}
	return out
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func applied(p *remedy.Plan) api.Applied {
	out := api.Applied{
		Plan: p.ID, Status: string(p.State), Object: coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key, VersionID: p.Object.VersionID},
		Clean: p.Clean, Verified: p.Verified, Changes: p.Changes, Residual: p.Residual, Reason: p.Reason,
	}
	if p.Result != nil {
		out.Object = coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key, VersionID: p.Result.Object.VersionID, ETag: p.Result.Object.ETag}
		if p.Result.Deleted {
			out.Object.VersionID, out.Object.ETag = p.Result.Marker, ""
		} else {
			out.Possible = p.PossibleCount
		}
	}
	if !p.Until.IsZero() {
		out.UndoUntil = &p.Until
	}
	return out
}

func certificate(c *remedy.Certificate) api.Certificate {
	out := api.Certificate{
		Version: c.Version, Issued: c.Issued, Plan: c.Plan, Action: string(c.Action), State: string(c.State), Object: api.CertificateObject(c.Object),
		Planned: c.Planned, Approvals: approvals(c.Approvals), Applied: c.Applied, Ended: c.Ended, Values: c.Values, Types: map[string]int{},
		BeyondMacie: c.BeyondMacie, Left: c.Left, Possible: c.Possible, Clean: c.Clean, Verified: c.Verified, Residual: c.Residual,
		Original: c.Original, Unopenable: c.Unopenable, Vault: c.Vault, Log: orEmpty(c.Log), Checkpoint: c.Checkpoint,
		Findings: []api.CertificateFinding{}, Steps: []api.CertificateStep{},
	}
	for t, n := range c.Types {
		out.Types[string(t)] = n
	}
	for _, step := range c.Steps {
		out.Steps = append(out.Steps, api.CertificateStep(step))
	}
	for _, f := range c.Findings {
		out.Findings = append(out.Findings, api.CertificateFinding{Finding: f.Finding, Status: string(f.Status), Closing: closing(f.Closing), Note: f.Note})
	}
	return out
}

// asProblem is errors.As for the errors of [Server.fail], which are all problems.
func asProblem(err error, p **problem) {
	if !errors.As(err, p) {
		panic("internal error: not a problem")
	}
}
