package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"coffer"
	"coffer/api"
	"coffer/client"
	"coffer/triage"
)

type findingCountCmd struct {
	By     []string `arg:"" help:"Fields by whose values findings are counted: account bucket category confirmed false-positive month origin owner region severity state status type verdict."`
	Filter []string `help:"Count only these; see finding list." placeholder:"TERM" sep:"none"`
}

// countJSON is the contract of `coffer finding count --json`.
type countJSON struct {
	By    string `json:"by"`
	Value string `json:"value"`
	Count int    `json:"count"`
}

func (c *findingCountCmd) Run(e *env) error {
	f, err := triage.ParseFilter(c.Filter...)
	if err != nil {
		return usage("%v", err)
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	p, err := cl.FindingsPage(e.ctx, api.FindingsQuery{Filter: f.Pairs(), Limit: 1, Facets: c.By})
	if err != nil {
		return err
	}
	if p.Lags {
		return fmt.Errorf("newer changes of findings could not be read: %w", coffer.ErrUnavailable)
	}
	t := e.out.table(1, "BY", "VALUE", "FINDINGS")
	for _, by := range c.By {
		facet := p.Facets[by]
		for _, n := range facet.Values {
			if e.JSON {
				if err := e.out.element(countJSON{by, n.Value, n.Count}); err != nil {
					return err
				}
			}
			t.row(by, n.Value, fmt.Sprint(n.Count))
		}
		if more := facet.Distinct - len(facet.Values); more > 0 {
			t.row(by, fmt.Sprintf("and %d more", more), "")
		}
	}
	if !e.JSON {
		t.print()
		e.out.say("%s with %s in %s.", plural(p.Total, "finding"), plural(int(p.Values), "sealed value"), plural(p.Objects, "object"))
	}
	return nil
}

// change changes findings one after the other and shows what became of each. What fails for one does not stop the others, unless nothing
// can be reached any more.
func (e *env) change(ids []string, do func(cl *client.Client, id string) (api.Finding, error)) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	failed := false
	for _, id := range ids {
		f, err := do(cl, id)
		err = e.named("finding", id, err)
		switch {
		case err != nil && (len(ids) == 1 || e.ctx.Err() != nil || errors.Is(err, coffer.ErrUnavailable)):
			return err
		case err != nil:
			failed = true
			if !errors.Is(err, coffer.ErrNotFound) { // which says what is not there
				err = fmt.Errorf("%s: %w", id, err)
			}
			e.fail(err, code(err))
		case e.JSON:
			if err := e.out.element(f); err != nil {
				return err
			}
		default:
			owner := "nobody's"
			if f.Owner != "" {
				owner = f.Owner + "'s"
			}
			muted := ""
			if f.Muted {
				muted = ", muted"
			}
			e.out.say("%s is %s and %s%s.", id, f.Status, owner, muted)
		}
	}
	if failed {
		return &quietError{}
	}
	return nil
}

type findingAssignCmd struct {
	ID    []string `arg:"" help:"Finding ids."`
	Owner string   `help:"Whose they are: a person's id, me, or none." required:"" placeholder:"ID|me|none"`
}

func (c *findingAssignCmd) Run(e *env) error {
	owner := c.Owner
	switch owner {
	case "me":
		cl, err := e.client()
		if err != nil {
			return err
		}
		who, err := cl.Caller(e.ctx)
		if err != nil {
			return err
		}
		owner = who.ID
	case "none":
		owner = ""
	}
	return e.change(c.ID, func(cl *client.Client, id string) (api.Finding, error) { return cl.Assign(e.ctx, id, "", owner) })
}

type findingStatusCmd struct {
	Status string   `arg:"" enum:"begin,stop,reopen" help:"begin: somebody works on them. stop: nobody does. reopen: closed ones are open again."`
	ID     []string `arg:"" help:"Finding ids."`
}

func (c *findingStatusCmd) Run(e *env) error {
	return e.change(c.ID, func(cl *client.Client, id string) (api.Finding, error) { return cl.SetStatus(e.ctx, id, "", c.Status) })
}

type findingMuteCmd struct {
	ID []string `arg:"" help:"Finding ids."`
}

// Help is the long help of the command.
func (findingMuteCmd) Help() string {
	return "A muted finding stays open and its limit runs. Lists that leave it out say so; see --filter muted=yes of coffer finding list."
}

func (c *findingMuteCmd) Run(e *env) error {
	return e.change(c.ID, func(cl *client.Client, id string) (api.Finding, error) { return cl.Mute(e.ctx, id, true) })
}

type findingUnmuteCmd struct {
	ID []string `arg:"" help:"Finding ids."`
}

func (c *findingUnmuteCmd) Run(e *env) error {
	return e.change(c.ID, func(cl *client.Client, id string) (api.Finding, error) { return cl.Mute(e.ctx, id, false) })
}

type findingCloseCmd struct {
	ID               []string `arg:"" help:"Finding ids."`
	Disposition      string   `help:"What was done with the data." required:"" placeholder:"TEXT"`
	Authentication   string   `name:"authentication-data" enum:"yes,no," default:"" help:"Was card authentication data stored with it? Demanded for card data." placeholder:"yes|no"`
	Origin           string   `help:"Where it came from. Demanded for card data." placeholder:"TEXT"`
	CorrectiveAction string   `help:"What was done so that it does not happen again. Demanded for card data." placeholder:"TEXT"`
}

func (c *findingCloseCmd) Run(e *env) error {
	b := api.CloseBody{Disposition: c.Disposition, Origin: c.Origin, CorrectiveAction: c.CorrectiveAction}
	if c.Authentication != "" {
		yes := c.Authentication == "yes"
		b.AuthenticationData = &yes
	}
	return e.change(c.ID, func(cl *client.Client, id string) (api.Finding, error) { return cl.Close(e.ctx, id, "", b) })
}

type findingNoteCmd struct {
	ID   string `arg:"" help:"Finding id."`
	Text string `arg:"" optional:"" help:"The note to add; without it the notes are shown."`
}

func (c *findingNoteCmd) Run(e *env) error {
	if c.Text != "" {
		return e.change([]string{c.ID}, func(cl *client.Client, id string) (api.Finding, error) { return cl.AddNote(e.ctx, id, "", c.Text) })
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	notes, err := cl.Notes(e.ctx, c.ID)
	if err != nil {
		return e.named("finding", c.ID, err)
	}
	t := e.out.table(1, "AT", "BY", "NOTE")
	for _, n := range notes {
		if e.JSON {
			if err := e.out.element(n); err != nil {
				return err
			}
			continue
		}
		t.row(n.At.Format(time.RFC3339), n.By, n.Text)
	}
	t.print()
	return nil
}

type findingTicketCmd struct {
	ID     string   `arg:"" help:"Finding id."`
	Ticket []string `arg:"" optional:"" help:"All its tickets from now on; without any it has none."`
}

func (c *findingTicketCmd) Run(e *env) error {
	return e.change([]string{c.ID}, func(cl *client.Client, id string) (api.Finding, error) {
		return cl.SetTickets(e.ctx, id, "", c.Ticket)
	})
}

type findingProtectionCmd struct {
	ID string `arg:"" help:"Finding id."`
}

func (c *findingProtectionCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	all, err := cl.Protections(e.ctx, c.ID)
	if err != nil {
		return e.named("finding", c.ID, err)
	}
	t := e.out.table(1, "OF", "WHAT", "REPORTED", "NOW", "")
	for _, p := range all {
		if e.JSON {
			if err := e.out.element(p); err != nil {
				return err
			}
			continue
		}
		mark := ""
		if p.Differs {
			mark = "differs"
		}
		t.row(p.Of, p.What, p.Reported, p.Now, mark)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

type findingElsewhereCmd struct {
	ID string `arg:"" help:"Finding id."`
}

func (c *findingElsewhereCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	s, err := cl.Elsewhere(e.ctx, c.ID)
	if err != nil {
		return e.named("finding", c.ID, err)
	}
	t := e.out.table(1, "FINDING", "OBJECT", "VALUES")
	for _, f := range s.Findings {
		if e.JSON {
			if err := e.out.element(f); err != nil {
				return err
			}
			continue
		}
		t.row(f.Finding, "s3://"+f.Object.Bucket+"/"+f.Object.Key, fmt.Sprint(f.Values))
	}
	if e.JSON {
		return nil
	}
	t.print()
	e.out.say("%d of %s stand in other findings, too.", s.Values, plural(s.Sought, "different value"))
	if s.Limited {
		e.out.say("There are more; they were not all compared.")
	}
	for _, typ := range s.NotIndexed {
		e.out.say("Not looked for: %s; turn its index on with `coffer value index '%s'`.", typ, typ)
	}
	return nil
}

type findingFalsePositivesCmd struct {
	Filter []string `help:"Look only at these; see finding list." placeholder:"TERM" sep:"none"`
}

// Help is the long help of the command.
func (findingFalsePositivesCmd) Help() string {
	return "How often was each identifier wrong, and which suppression rules of Macie would spare the work? Example: coffer finding false-positives --filter judged.gte=-90d"
}

// rateJSON and suppressionJSON are the contract of `coffer finding false-positives --json`.
type rateJSON struct {
	Kind string `json:"kind"`
	api.Rate
}

type suppressionJSON struct {
	Kind string `json:"kind"`
	api.Suppression
}

func (c *findingFalsePositivesCmd) Run(e *env) error {
	f, err := triage.ParseFilter(c.Filter...)
	if err != nil {
		return usage("%v", err)
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	r, err := cl.FalsePositives(e.ctx, f.Pairs())
	if err != nil {
		return err
	}
	if e.JSON {
		for _, rate := range r.Rates {
			if err := e.out.element(rateJSON{"rate", rate}); err != nil {
				return err
			}
		}
		for i := range r.Suppressions {
			if err := e.out.element(suppressionJSON{"suppression", r.Suppressions[i]}); err != nil {
				return err
			}
		}
		return nil
	}
	t := e.out.table(0, "TYPE", "FALSE", "JUDGED", "RATE", "95 % INTERVAL")
	for _, rate := range r.Rates {
		t.row(rate.Type, fmt.Sprint(rate.FalsePositives), fmt.Sprint(rate.Judged),
			fmt.Sprintf("%.0f %%", 100*float64(rate.FalsePositives)/float64(rate.Judged)), fmt.Sprintf("%.0f to %.0f %%", 100*rate.Low, 100*rate.High))
	}
	t.print()
	if len(r.Rates) == 0 {
		e.out.say("Nothing was judged yet. Judge with `coffer verdict`.")
	}
	for i := range r.Suppressions {
		s := &r.Suppressions[i]
		e.out.say("\n%s in s3://%s/%s: %d judged, all false positives. A rule that archives such findings by itself would have caught %d:",
			safe(s.Type), safe(s.Bucket), safe(s.Prefix), s.Findings, s.Covers)
		e.out.say("  %s", safe(s.Command))
	}
	return nil
}

type findingViewCmd struct {
	List   findingViewListCmd   `cmd:"" help:"List saved views."`
	Save   findingViewSaveCmd   `cmd:"" help:"Save a filter under a name."`
	Delete findingViewDeleteCmd `cmd:"" help:"Delete a view of yours."`
}

type findingViewListCmd struct{}

func (findingViewListCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	views, err := cl.Views(e.ctx)
	if err != nil {
		return err
	}
	t := e.out.table(0, "NAME", "SHARED", "ORDER", "FILTER")
	for _, v := range views {
		if e.JSON {
			if err := e.out.element(v); err != nil {
				return err
			}
			continue
		}
		shared := ""
		if v.Shared {
			shared = "by " + v.By
		}
		t.row(v.Name, shared, v.Order, strings.Join(v.Filter, " "))
	}
	t.print()
	return nil
}

type findingViewSaveCmd struct {
	Name   string   `arg:"" help:"Name of the view."`
	Filter []string `help:"Terms; see finding list." placeholder:"TERM" sep:"none"`
	Order  string   `help:"Order; see finding list." placeholder:"ORDER"`
	Shared bool     `help:"Everybody sees it."`
}

func (c *findingViewSaveCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	return cl.SaveView(e.ctx, api.ViewBody{Name: c.Name, Filter: c.Filter, Order: c.Order, Shared: c.Shared})
}

type findingViewDeleteCmd struct {
	Name   string `arg:"" help:"Name of the view."`
	Shared bool   `help:"The shared one of that name."`
}

func (c *findingViewDeleteCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	return cl.DeleteView(e.ctx, api.ViewName{Name: c.Name, Shared: c.Shared})
}
