package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/remedy"
	"coffer/triage"

	"golang.org/x/term"
)

type remedyCmd struct {
	Plan        remedyPlanCmd        `cmd:"" help:"Plan a fix and show it masked. Writes nothing to the object."`
	Approve     remedyApproveCmd     `cmd:"" help:"Approve a plan, where the policy asks for it."`
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

// planJSON is the contract of `coffer remedy plan --json`.
type planJSON struct {
	Plan          string                  `json:"plan"`
	Object        coffer.Object           `json:"object"`
	Finding       string                  `json:"finding"`
	Findings      []string                `json:"findings"`
	Action        remedy.Action           `json:"action"`
	Status        remedy.State            `json:"status"`
	Changes       []changeJSON            `json:"changes"`
	Counts        map[coffer.DataType]int `json:"counts"`
	Total         int                     `json:"total"`
	Swept         int                     `json:"swept"`
	Possible      int                     `json:"possible"`
	PossiblePlace []remedy.Possible       `json:"possiblePlaces,omitempty"`
	Leaves        map[string]int          `json:"leaves,omitempty"`
	Residual      []string                `json:"residual"`
	Warnings      []string                `json:"warnings,omitempty"`
	UndoUntil     *time.Time              `json:"undoUntil,omitempty"`
}

type changeJSON struct {
	N      int             `json:"n,omitempty"`
	Type   coffer.DataType `json:"type"`
	At     coffer.Location `json:"at"`
	Before string          `json:"before"`
	After  string          `json:"after"`
	Why    string          `json:"why"`
}

const maxListed = 1000 // changes listed of one plan

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
	a, err := e.open()
	if err != nil {
		return err
	}
	ids := c.ID
	if len(c.Filter) > 0 {
		list, err := a.Desk.List(e.ctx, e.ask(), f)
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.Status.Active() && s.Sealed > 0 {
				ids = append(ids, s.ID)
			}
		}
		if len(ids) == 0 {
			return fmt.Errorf("no open finding with sealed values matches the filter: %w", coffer.ErrNotFound)
		}
	}
	if c.Resume == "" {
		groups, err := a.Remedy.Groups(e.ctx, ids...)
		if err != nil {
			return err
		}
		if len(groups) == 1 {
			return e.plan(e.ctx, groups[0], c.options(c.Action, c.Include, c.OnlyReported))
		}
		ids = ids[:0:0]
		for _, g := range groups {
			ids = append(ids, g.Records[0].Finding.ID)
		}
	}
	j, err := e.begin(c.Resume, "remedy.plan", func() (map[string]string, []string, error) {
		return map[string]string{
			"action": string(c.Action), "include": strings.Join(c.Include, " "), "onlyReported": strconv.FormatBool(c.OnlyReported),
		}, ids, nil
	})
	if err != nil {
		return err
	}
	opt := c.options(remedy.Action(j.Params["action"]), strings.Fields(j.Params["include"]), j.Params["onlyReported"] == "true")
	return e.work(j, "plan", "coffer remedy plan", func(ctx context.Context, id string) (string, error) {
		groups, err := a.Remedy.Groups(ctx, id)
		if err != nil {
			return "", e.itemFailed(id, err)
		}
		return "planned", e.itemFailed(id, e.plan(ctx, groups[0], opt))
	})
}

func (remedyPlanCmd) options(action remedy.Action, include []string, only bool) remedy.Options {
	return remedy.Options{Action: action, OnlyReported: only, Include: remedy.Include{
		Rejected: slices.Contains(include, "rejected"), Region: slices.Contains(include, "region"), Possible: slices.Contains(include, "possible"),
	}}
}

func (e *env) plan(ctx context.Context, g remedy.Group, opt remedy.Options) error {
	plan, err := e.app.Remedy.Plan(ctx, e.ask(), g, opt)
	if err != nil {
		return fmt.Errorf("s3://%s/%s: %w", g.Object.Bucket, g.Object.Key, err)
	}
	return e.showPlan(plan)
}

// itemFailed says what went wrong with one item of several after which the others follow, and returns err.
func (e *env) itemFailed(id string, err error) error {
	if err != nil && (coffer.Permanent(err) || errors.Is(err, coffer.ErrConflict)) {
		e.fail(fmt.Errorf("%s: %w", id, err), code(err))
	}
	return err
}

// showPlan prints a plan with its masked diff.
func (e *env) showPlan(p *remedy.Plan) error {
	out := planJSON{
		Plan: p.ID, Object: coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key, VersionID: p.Object.VersionID}, Findings: p.Findings,
		Action: p.Action, Status: p.State, Changes: []changeJSON{}, Counts: p.Counts, Total: p.Changes, Swept: p.Swept,
		Possible: p.PossibleCount, PossiblePlace: p.Possible, Leaves: p.Leaves, Residual: p.Residual, Warnings: p.Warnings,
	}
	if len(p.Findings) > 0 {
		out.Finding = p.Findings[0]
	}
	if out.Residual == nil {
		out.Residual = []string{}
	}
	if out.Counts == nil {
		out.Counts = map[coffer.DataType]int{}
	}
	if !p.Until.IsZero() {
		out.UndoUntil = &p.Until
	}
	for i, x := range out.PossiblePlace {
		out.PossiblePlace[i].At = e.app.Detectors.Cut(x.At)
	}
	for ch, err := range e.app.Remedy.Changes(e.ctx, p.ID) {
		if err != nil {
			return err
		}
		if len(out.Changes) == maxListed {
			break
		}
		out.Changes = append(out.Changes, changeJSON{ch.N, ch.Type, e.app.Detectors.Cut(ch.At), ch.Before, safe(ch.After), ch.Why})
	}
	if e.JSON {
		return e.out.element(out)
	}
	target := "s3://" + p.Object.Bucket + "/" + p.Object.Key
	if p.Action.Rewrites() {
		e.out.say("%s: %s %s in %s (%s)", p.ID, p.Action, plural(p.Changes, "value"), safe(target), p.State)
	} else {
		e.out.say("%s: %s %s (%s)", p.ID, p.Action, safe(target), p.State)
	}
	for _, w := range p.Warnings {
		e.out.say("warning: %s", safe(w))
	}
	if len(out.Changes) > 0 {
		e.out.say("")
		t := e.out.table(1, "N", "AT", "TYPE", "BEFORE", "AFTER", "WHY")
		for _, ch := range out.Changes {
			n := "-"
			if ch.N > 0 {
				n = fmt.Sprint(ch.N)
			}
			t.row(n, ch.At.String(), string(ch.Type), ch.Before, ch.After, ch.Why)
		}
		t.print()
	}
	e.out.say("")
	if p.Changes > len(out.Changes) {
		e.out.say("%d more changes are not listed.", p.Changes-len(out.Changes))
	}
	if p.Swept > 0 {
		e.out.say("Beyond Macie's list, and taken too: %s (--only-reported leaves them).", plural(p.Swept, "value"))
	}
	if p.PossibleCount > 0 {
		e.out.say("Merely look alike, and not touched: %s (--include possible takes them).", plural(p.PossibleCount, "place"))
	}
	for _, why := range sorted(p.Leaves) {
		e.out.say("stays: %d %s", p.Leaves[why], why)
	}
	for _, r := range p.Residual {
		e.out.say("other copy, not touched: %s", safe(r))
	}
	if p.State == remedy.Planned || p.State == remedy.Approved {
		e.out.say("Apply with: coffer remedy apply %s", p.ID)
	}
	return nil
}

func sorted(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

type remedyApproveCmd struct {
	Plan string `arg:"" help:"Plan id."`
}

func (c *remedyApproveCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	p, err := a.Remedy.Approve(e.ctx, e.ask(), c.Plan)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(map[string]any{"plan": p.ID, "status": p.State, "approvals": p.Approvals})
	}
	e.out.say("%s is %s.", p.ID, p.State)
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

// applyJSON is the contract of `coffer remedy apply --json`.
type applyJSON struct {
	Plan      string        `json:"plan"`
	Status    string        `json:"status"` // applied, conflict, refused
	Object    coffer.Object `json:"object"`
	Clean     string        `json:"clean"`
	Verified  bool          `json:"verified"`
	Changes   int           `json:"changes"`
	UndoUntil *time.Time    `json:"undoUntil,omitempty"`
	Residual  []string      `json:"residual,omitempty"`
	Reason    string        `json:"reason,omitempty"`
}

func (c *remedyApplyCmd) Run(e *env) error {
	switch {
	case c.Resume != "" && (len(c.Plan) > 0 || c.All):
		return usage("--resume takes the plans from the job")
	case c.Resume == "" && (len(c.Plan) == 0) == !c.All:
		return usage("give plan ids, or --all")
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	ids := c.Plan
	if c.All {
		for p, err := range a.Remedy.All(e.ctx) {
			if err != nil {
				return err
			}
			if p.State == remedy.Planned || p.State == remedy.Approved || p.State == remedy.Applying {
				ids = append(ids, p.ID)
			}
		}
	}
	closing := remedy.Closing{Origin: a.Scrub(c.Origin), CorrectiveAction: a.Scrub(c.CorrectiveAction)}
	failed := false
	apply := func(ctx context.Context, id string) (string, error) {
		p, err := a.Remedy.Apply(ctx, e.ask(), id, closing)
		if err != nil {
			return "", err
		}
		failed = failed || p.State != remedy.Applied
		return string(p.State), e.showApplied(p)
	}
	if c.Resume == "" && len(ids) < 2 {
		for _, id := range ids {
			if _, err := apply(e.ctx, id); err != nil {
				return err
			}
		}
	} else {
		j, err := e.begin(c.Resume, "remedy.apply", func() (map[string]string, []string, error) {
			return map[string]string{"origin": closing.Origin, "correctiveAction": closing.CorrectiveAction}, ids, nil
		})
		if err != nil {
			return err
		}
		closing = remedy.Closing{Origin: j.Params["origin"], CorrectiveAction: j.Params["correctiveAction"]}
		err = e.work(j, "apply", "coffer remedy apply", func(ctx context.Context, id string) (string, error) {
			state, err := apply(ctx, id)
			return state, e.itemFailed(id, err)
		})
		if err != nil {
			return err
		}
	}
	if failed {
		return &quietError{}
	}
	return nil
}

func (e *env) showApplied(p *remedy.Plan) error {
	out := applyJSON{
		Plan: p.ID, Status: string(p.State), Object: coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key, VersionID: p.Object.VersionID},
		Clean: p.Clean, Verified: p.Verified, Changes: p.Changes, Residual: p.Residual, Reason: p.Reason,
	}
	if p.Result != nil {
		out.Object = coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key, VersionID: p.Result.Object.VersionID, ETag: p.Result.Object.ETag}
		if p.Result.Deleted {
			out.Object.VersionID, out.Object.ETag = p.Result.Marker, ""
		}
	}
	if !p.Until.IsZero() {
		out.UndoUntil = &p.Until
	}
	if e.JSON {
		return e.out.element(out)
	}
	if p.State != remedy.Applied {
		e.out.say("%s: %s: %s", p.ID, p.State, safe(p.Reason))
		return nil
	}
	clean := map[string]string{"all": "all known copies clean", "current": "current clean", "": "not clean"}[p.Clean]
	verified := "applied and verified"
	if !p.Verified {
		verified = "applied, NOT verified"
	}
	e.out.say("%s: %s: %s.", p.ID, verified, clean)
	for _, r := range p.Residual {
		e.out.say("  remaining copy: %s", safe(r))
	}
	if !p.Until.IsZero() {
		e.out.say("  Undo until %s with: coffer remedy undo %s", p.Until.Local().Format("2006-01-02 15:04 MST"), p.ID)
	} else {
		e.out.say("  Release it with: coffer remedy undo %s", p.ID)
	}
	return nil
}

type remedyUndoCmd struct {
	Plan string `arg:"" help:"Plan id."`
}

func (c *remedyUndoCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	p, err := a.Remedy.Undo(e.ctx, e.ask(), c.Plan)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(map[string]any{"plan": p.ID, "status": p.State, "object": coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key}})
	}
	if p.Authenticates > 0 {
		e.out.say("%s is undone: s3://%s/%s is as it was before, but for its card authentication data, which is blanked.", p.ID,
			safe(p.Object.Bucket), safe(p.Object.Key))
		return nil
	}
	e.out.say("%s is undone: s3://%s/%s is as it was before.", p.ID, safe(p.Object.Bucket), safe(p.Object.Key))
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
	a, err := e.open()
	if err != nil {
		return err
	}
	if c.Expired {
		n, err := a.Remedy.EndGrace(e.ctx, e.ask())
		if err != nil {
			return err
		}
		if e.JSON {
			return e.out.element(map[string]int{"purged": n})
		}
		e.out.say("%s past the grace period purged.", plural(n, "plan"))
		return nil
	}
	what := "the kept original of " + c.Plan
	if c.Values {
		what += " and the sealed values of its findings"
	}
	if ok, err := e.confirm(c.Yes, "Destroy "+what+"? It cannot be undone."); err != nil || !ok {
		return err
	}
	p, err := a.Remedy.Purge(e.ctx, e.ask(), c.Plan, remedy.PurgeOptions{Values: c.Values})
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(map[string]any{"plan": p.ID, "status": p.State, "clean": p.Clean, "residual": p.Residual, "unopenableFrom": p.KeyGone})
	}
	e.out.say("%s is purged; from %s no copy of the original can be opened.", p.ID, p.KeyGone.Format(time.RFC3339))
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
	a, err := e.open()
	if err != nil {
		return err
	}
	cert, err := a.Remedy.Certificate(e.ctx, e.ask(), c.Plan)
	if err != nil {
		return err
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
	a, err := e.open()
	if err != nil {
		return err
	}
	plans, err := a.Remedy.List(e.ctx, e.ask())
	if err != nil {
		return err
	}
	plans = slices.DeleteFunc(plans, func(p *remedy.Plan) bool { return len(c.State) > 0 && !slices.Contains(c.State, string(p.State)) })
	if c.Limit > 0 && len(plans) > c.Limit {
		plans = plans[:c.Limit]
	}
	t := e.out.table(3, "PLAN", "ACTION", "STATE", "OBJECT", "VALUES", "CREATED")
	for _, p := range plans {
		switch {
		case e.JSON:
			if err := e.out.element(map[string]any{
				"plan": p.ID, "action": p.Action, "status": p.State, "object": coffer.Object{Bucket: p.Object.Bucket, Key: p.Object.Key},
				"findings": p.Findings, "changes": p.Changes, "created": p.Created, "clean": p.Clean,
			}); err != nil {
				return err
			}
		case c.IDs:
			e.out.say("%s", p.ID)
		default:
			t.row(p.ID, string(p.Action), string(p.State), "s3://"+p.Object.Bucket+"/"+p.Object.Key, fmt.Sprint(p.Changes),
				p.Created.Local().Format(time.DateTime))
		}
	}
	if !e.JSON && !c.IDs {
		t.print()
		if len(plans) == 0 {
			e.out.say("No plans. Make one with `coffer remedy plan ID --action redact`.")
		}
	}
	return nil
}

type remedyShowCmd struct {
	Plan string `arg:"" help:"Plan id."`
}

func (c *remedyShowCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	p, err := a.Remedy.Read(e.ctx, e.ask(), c.Plan)
	if err != nil {
		return err
	}
	return e.showPlan(p)
}
