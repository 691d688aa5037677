package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"coffer/api"
	"coffer/client"
	"coffer/remedy"
	"coffer/triage"

	"golang.org/x/term"
)

type remedyCmd struct {
	Plan        remedyPlanCmd        `cmd:"" help:"Plan a fix and show it masked. Writes nothing to the object."`
	Approve     remedyApproveCmd     `cmd:"" help:"Approve a plan, where the policy asks for it."`
	Deny        remedyDenyCmd        `cmd:"" help:"Deny a plan before anything is written, and say why."`
	Withdraw    remedyWithdrawCmd    `cmd:"" help:"Take a plan of yours back before anything is written."`
	Apply       remedyApplyCmd       `cmd:"" help:"Carry out plans."`
	Undo        remedyUndoCmd        `cmd:"" help:"Put the original back."`
	Purge       remedyPurgeCmd       `cmd:"" help:"Destroy the kept original for good, and the versions known to hold the values."`
	Certificate remedyCertificateCmd `cmd:"" help:"Certify what a fix did and what is left."`
	List        remedyListCmd        `cmd:"" help:"List plans."`
	Show        remedyShowCmd        `cmd:"" help:"Show a plan again."`
}

type remedyPlanCmd struct {
	ID           []string      `arg:"" optional:"" help:"Finding ids; one plan is made for each object."`
	Filter       []string      `help:"Instead of ids: all findings that match, as in finding list." placeholder:"TERM" sep:"none"`
	Action       remedy.Action `enum:"redact,mask,tokenise,quarantine,delete," default:"" help:"redact, mask, tokenise, quarantine or delete." placeholder:"ACTION"`
	Include      []string      `help:"Take these too: rejected, region, possible." enum:"rejected,region,possible" placeholder:"WHAT"`
	OnlyReported bool          `help:"Touch nothing beyond the places that Macie reported."`
	resuming
}

// Help is the long help of the command.
func (remedyPlanCmd) Help() string {
	return "Examples: coffer remedy plan ID --action redact. Or for many objects: coffer remedy plan --filter bucket=exports --filter severity=high --action tokenise."
}

// planLine is the contract of `coffer remedy plan --json`: a plan without who made and approved it and how it ended.
type planLine struct {
	api.Plan
	By        *string         `json:"by,omitempty"`
	Approvals *[]api.Approval `json:"approvals,omitempty"`
	Applied   *api.Applied    `json:"applied,omitempty"`
}

func (c *remedyPlanCmd) Run(e *env) error {
	f, err := triage.ParseFilter(c.Filter...)
	if err != nil {
		return usage("%v", err)
	}
	switch {
	case c.Resume != "" && (len(c.ID) > 0 || len(c.Filter) > 0 || c.Action != ""):
		return usage("--resume takes findings and action from the job")
	case c.Resume == "" && (len(c.ID) == 0) == (len(c.Filter) == 0):
		return usage("give finding ids, or --filter")
	case c.Resume == "" && c.Action == "":
		return usage("give --action redact, mask, tokenise, quarantine or delete")
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	planned := func(i api.Item) error {
		p, _, err := cl.Plan(e.ctx, i.Result)
		if err != nil {
			return err
		}
		return e.showPlan(p)
	}
	if c.Resume != "" {
		_, err = e.resume(cl, c.Resume, "remedy.plan", "plan", "coffer remedy plan", planned)
		return err
	}
	ended := e.out.wait("plan")
	made, err := cl.MakePlans(e.ctx, api.PlanBody{
		Findings: c.ID, Filter: f.Pairs(), Action: string(c.Action), Include: c.Include, OnlyReported: c.OnlyReported,
	})
	ended()
	switch {
	case err != nil:
		return e.named("finding", strings.Join(c.ID, ", "), err)
	case made.Plan != nil:
		return e.showPlan(*made.Plan)
	}
	_, err = e.follow(cl, *made.Job, nil, "plan", "coffer remedy plan", planned)
	return err
}

// showPlan prints a plan with its masked diff.
func (e *env) showPlan(p api.Plan) error {
	if e.JSON {
		return e.out.element(planLine{Plan: p})
	}
	target := "s3://" + p.Object.Bucket + "/" + p.Object.Key
	if remedy.Action(p.Action).Rewrites() {
		e.out.say("%s: %s %s in %s (%s)", p.Plan, p.Action, plural(p.Total, "value"), safe(target), p.Status)
	} else {
		e.out.say("%s: %s %s (%s)", p.Plan, p.Action, safe(target), p.Status)
	}
	for _, w := range p.Warnings {
		e.out.say("warning: %s", safe(w))
	}
	if len(p.Changes) > 0 {
		e.out.say("")
		t := e.out.table(1, "N", "AT", "TYPE", "BEFORE", "AFTER", "WHY")
		for _, ch := range p.Changes {
			n := "-"
			if ch.N > 0 {
				n = fmt.Sprint(ch.N)
			}
			t.row(n, ch.At, ch.Type, ch.Before, ch.After, ch.Why)
		}
		t.print()
	}
	e.out.say("")
	if p.Total > len(p.Changes) {
		e.out.say("%d more changes are not listed.", p.Total-len(p.Changes))
	}
	if p.Swept > 0 {
		e.out.say("Beyond Macie's list, and taken too: %s (--only-reported leaves them).", plural(p.Swept, "value"))
	}
	if p.Possible > 0 {
		e.out.say("Merely look alike, and not touched: %s (--include possible takes them).", plural(p.Possible, "place"))
	}
	for _, why := range slices.Sorted(maps.Keys(p.Leaves)) {
		e.out.say("stays: %d %s", p.Leaves[why], why)
	}
	for _, r := range p.Residual {
		e.out.say("other copy, not touched: %s", safe(r))
	}
	if p.Status == string(remedy.Planned) || p.Status == string(remedy.Approved) {
		e.out.say("Apply with: coffer remedy apply %s", p.Plan)
	}
	return nil
}

type remedyApproveCmd struct {
	Plan string `arg:"" help:"Plan id."`
}

func (c *remedyApproveCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	p, err := cl.Approve(e.ctx, c.Plan, "")
	if err != nil {
		return e.named("plan", c.Plan, err)
	}
	if e.JSON {
		return e.out.element(p)
	}
	e.out.say("%s is %s.", p.Plan, p.Status)
	return nil
}

type remedyDenyCmd struct {
	Plan string `arg:"" help:"Plan id."`
	Note string `help:"Why; who made the plan reads it." required:"" placeholder:"TEXT"`
}

func (c *remedyDenyCmd) Run(e *env) error {
	return e.endPlan(c.Plan, func(cl *client.Client) (api.Plan, error) { return cl.DenyPlan(e.ctx, c.Plan, "", c.Note) })
}

type remedyWithdrawCmd struct {
	Plan string `arg:"" help:"Plan id."`
}

func (c *remedyWithdrawCmd) Run(e *env) error {
	return e.endPlan(c.Plan, func(cl *client.Client) (api.Plan, error) { return cl.WithdrawPlan(e.ctx, c.Plan, "") })
}

// endPlan ends a plan that nothing was written for, and says how it ended.
func (e *env) endPlan(id string, end func(*client.Client) (api.Plan, error)) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	p, err := end(cl)
	if err != nil {
		return e.named("plan", id, err)
	}
	if e.JSON {
		return e.out.element(p)
	}
	e.out.say("%s is %s. Nothing was written.", p.Plan, p.Status)
	return nil
}

type remedyApplyCmd struct {
	Plan             []string `arg:"" optional:"" help:"Plan ids."`
	All              bool     `help:"Instead of ids: every plan that is planned or approved, and those that were interrupted."`
	Origin           string   `help:"For the closing of the findings: where the data came from." placeholder:"TEXT"`
	CorrectiveAction string   `help:"For the closing of the findings: what was done so that it does not come again." placeholder:"TEXT"`
	resuming
}

// Help is the long help of the command.
func (remedyApplyCmd) Help() string {
	return "An interrupted command can be repeated: plans that are applied already are reported and left alone."
}

func (c *remedyApplyCmd) Run(e *env) error {
	switch {
	case c.Resume != "" && (len(c.Plan) > 0 || c.All):
		return usage("--resume takes the plans from the job")
	case c.Resume == "" && (len(c.Plan) == 0) == !c.All:
		return usage("give plan ids, or --all")
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	failed := false
	show := func(a api.Applied) error {
		failed = failed || a.Status != string(remedy.Applied)
		return e.showApplied(a)
	}
	applied := func(i api.Item) error {
		p, _, err := cl.Plan(e.ctx, i.Ref)
		if err != nil || p.Applied == nil {
			return err
		}
		return show(*p.Applied)
	}
	ids := c.Plan
	if c.All {
		for p, err := range cl.Plans(e.ctx, []string{string(remedy.Planned), string(remedy.Approved), string(remedy.Applying)}, 0) {
			if err != nil {
				return err
			}
			ids = append(ids, p.Plan)
		}
		slices.Reverse(ids) // the oldest first
	}
	body := api.ApplyBody{Origin: c.Origin, CorrectiveAction: c.CorrectiveAction}
	switch {
	case c.Resume != "":
		_, err = e.resume(cl, c.Resume, "remedy.apply", "apply", "coffer remedy apply", applied)
	case len(ids) == 1:
		ended := e.out.wait("apply")
		var a api.Applied
		a, err = cl.Apply(e.ctx, ids[0], "", body)
		ended()
		if err != nil {
			return e.named("plan", ids[0], err)
		}
		err = show(a)
	case len(ids) > 1:
		var j api.Job
		if j, err = cl.ApplyMany(e.ctx, api.ApplyManyBody{ApplyBody: body, Plans: ids}); err != nil {
			return err
		}
		_, err = e.follow(cl, j, nil, "apply", "coffer remedy apply", applied)
	}
	if err == nil && failed {
		return &quietError{}
	}
	return err
}

func (e *env) showApplied(a api.Applied) error {
	if e.JSON {
		return e.out.element(a)
	}
	if a.Status != string(remedy.Applied) {
		e.out.say("%s: %s: %s", a.Plan, a.Status, safe(a.Reason))
		return nil
	}
	clean := map[string]string{"all": "all known copies clean", "current": "current clean", "": "not clean"}[a.Clean]
	verified := "applied and verified"
	if !a.Verified {
		verified = "applied, NOT verified"
	}
	e.out.say("%s: %s: %s.", a.Plan, verified, clean)
	for _, r := range a.Residual {
		e.out.say("  remaining copy: %s", safe(r))
	}
	if a.Possible > 0 {
		e.out.say("  %s that merely look alike were not touched; `coffer remedy show %s` lists them, --include possible takes them.",
			plural(a.Possible, "place"), a.Plan)
	}
	if a.UndoUntil != nil {
		e.out.say("  Undo until %s with: coffer remedy undo %s", a.UndoUntil.Local().Format("2006-01-02 15:04 MST"), a.Plan)
	} else {
		e.out.say("  Release it with: coffer remedy undo %s", a.Plan)
	}
	return nil
}

type remedyUndoCmd struct {
	Plan string `arg:"" help:"Plan id."`
}

// undoneLine is the contract of `coffer remedy undo --json`.
type undoneLine struct {
	api.Undone
	Blanked *int `json:"blanked,omitempty"`
}

func (c *remedyUndoCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	ended := e.out.wait("undo")
	p, err := cl.Undo(e.ctx, c.Plan)
	ended()
	if err != nil {
		return e.named("plan", c.Plan, err)
	}
	if e.JSON {
		return e.out.element(undoneLine{Undone: p})
	}
	but := ""
	if p.Blanked > 0 {
		but = ", but for its card authentication data, which is blanked"
	}
	e.out.say("%s is undone: s3://%s/%s is as it was before%s.", p.Plan, safe(p.Object.Bucket), safe(p.Object.Key), but)
	return nil
}

type remedyPurgeCmd struct {
	Plan    string `arg:"" optional:"" help:"Plan id."`
	Expired bool   `help:"Instead of an id: every plan whose grace period is over."`
	Values  bool   `help:"Destroy the sealed values of the covered findings too."`
	Yes     bool   `short:"y" help:"Do not ask."`
}

func (c *remedyPurgeCmd) Run(e *env) error {
	if (c.Plan == "") == !c.Expired || c.Expired && c.Values {
		return usage("give a plan id, or --expired alone")
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	if c.Expired {
		defer e.out.wait("purge")()
		n, err := cl.PurgeExpired(e.ctx)
		if err != nil {
			return err
		}
		if e.JSON {
			return e.out.element(n)
		}
		e.out.say("%s past the grace period purged.", plural(n.Purged, "plan"))
		return nil
	}
	what := "the kept original of " + c.Plan
	if c.Values {
		what += " and the sealed values of its findings"
	}
	if ok, err := e.confirm(c.Yes, "Destroy "+what+"? It cannot be undone."); err != nil || !ok {
		return err
	}
	ended := e.out.wait("purge")
	p, err := cl.Purge(e.ctx, c.Plan, api.PurgeBody{Values: c.Values})
	ended()
	if err != nil {
		return e.named("plan", c.Plan, err)
	}
	if e.JSON {
		return e.out.element(p)
	}
	e.out.say("%s is purged; from %s no copy of the original can be opened.", p.Plan, p.Unopenable.Format(time.RFC3339))
	for _, r := range p.Residual {
		e.out.say("  remaining copy: %s", safe(r))
	}
	return nil
}

// confirm asks before what cannot be undone, where there is somebody to ask.
func (e *env) confirm(yes bool, question string) (bool, error) {
	f, ok := e.stdin.(*os.File)
	if yes || e.JSON || !ok || !term.IsTerminal(int(f.Fd())) {
		return true, nil
	}
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(f, &answer) // no answer is no
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		e.out.say("Nothing was done.")
		return false, nil
	}
	return true, nil
}

type remedyCertificateCmd struct {
	Plan string `arg:"" help:"Plan id."`
}

func (c *remedyCertificateCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	cert, err := cl.Certificate(e.ctx, c.Plan)
	if err != nil {
		return e.named("plan", c.Plan, err)
	}
	if e.JSON {
		return e.out.element(cert)
	}
	return cert.WriteText(e.stdout)
}

type remedyListCmd struct {
	State []string `help:"Only plans in these states." placeholder:"STATE"`
	Limit int      `help:"Show at most this many." placeholder:"N"`
	IDs   bool     `name:"ids" help:"Print the ids alone, for the next command."`
}

func (c *remedyListCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	t := e.out.table(3, "PLAN", "ACTION", "STATE", "OBJECT", "VALUES", "CREATED")
	n := 0
	for p, err := range cl.Plans(e.ctx, c.State, c.Limit) {
		if err != nil {
			return err
		}
		n++
		switch {
		case e.JSON:
			if err := e.out.element(p); err != nil {
				return err
			}
		case c.IDs:
			e.out.say("%s", p.Plan)
		default:
			t.row(p.Plan, p.Action, p.Status, "s3://"+p.Object.Bucket+"/"+p.Object.Key, fmt.Sprint(p.Changes), p.Created.Local().Format(time.DateTime))
		}
	}
	if !e.JSON && !c.IDs {
		t.print()
		if n == 0 {
			e.out.say("No plans. Make one with `coffer remedy plan ID --action redact`.")
		}
	}
	return nil
}

type remedyShowCmd struct {
	Plan string `arg:"" help:"Plan id."`
}

func (c *remedyShowCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	p, _, err := cl.Plan(e.ctx, c.Plan)
	if err != nil {
		return e.named("plan", c.Plan, err)
	}
	return e.showPlan(p)
}
