package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"coffer/access"
	"coffer/grant"
)

type accessCmd struct {
	Request  accessRequestCmd  `cmd:"" help:"Ask for values that the policies show only with an approval."`
	List     accessListCmd     `cmd:"" help:"Requests for access: your own and those that you may decide on."`
	Show     accessShowCmd     `cmd:"" help:"Show one request, with the hash by which it is approved."`
	Approve  accessApproveCmd  `cmd:"" help:"Approve exactly the request that was shown."`
	Deny     accessDenyCmd     `cmd:"" help:"Deny a request, or take an approval back that was not used."`
	Withdraw accessWithdrawCmd `cmd:"" help:"Take a request of your own back."`
	Break    accessBreakCmd    `cmd:"" help:"Break the glass: see values in an emergency without an approval. Everybody will know."`
	Review   accessReviewCmd   `cmd:"" help:"Record that you looked into what somebody did after breaking the glass."`
}

type accessRequestCmd struct {
	ID       string        `arg:"" optional:"" help:"Finding id; with --search none."`
	N        []string      `arg:"" optional:"" help:"Numbers of occurrences; any when none is given."`
	Search   bool          `help:"Ask for one search by value instead."`
	Values   int           `help:"How many values at most; all when it is left out." placeholder:"N"`
	Duration time.Duration `name:"for" help:"How long the approval is to be good, such as 30m." placeholder:"DURATION"`
	Reason   string        `help:"Reason code." required:"" placeholder:"CODE"`
	Note     string        `help:"Why, in at least 10 characters; or give a ticket." placeholder:"TEXT"`
	Ticket   string        `help:"Number of a ticket elsewhere." placeholder:"ID"`
}

func (c *accessRequestCmd) Run(e *env) error {
	w := grant.Wanted{Action: access.ValueReveal, Finding: c.ID, Values: c.Values, Duration: c.Duration}
	switch {
	case c.Search && c.ID != "":
		return usage("a search is asked for without a finding")
	case c.Search:
		w.Action = access.ValueSearch
	case c.ID == "":
		return usage("name a finding, or give --search")
	}
	for _, s := range c.N {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return usage("%q is no number of an occurrence", s)
		}
		w.Numbers = append(w.Numbers, n)
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	ask := e.reason(c.Reason, c.Note)
	ask.Context.Ticket = c.Ticket
	r, err := a.Grants.Ask(e.ctx, ask, w)
	return e.request(r, err)
}

// requestLine is a request as the command line shows it.
type requestLine struct {
	*grant.Request
	Duration string      `json:"duration"`
	State    grant.State `json:"state"`
	Until    *time.Time  `json:"until,omitempty"`
	Status   *string     `json:"status,omitempty"` // state says it, with the time that passed
}

func (e *env) line(r *grant.Request) requestLine {
	l := requestLine{Request: r, Duration: r.Duration.String(), State: r.State(e.app.Now())}
	if until := r.Until(); !until.IsZero() {
		l.Until = &until
	}
	return l
}

// request shows what a command made of a request.
func (e *env) request(r *grant.Request, err error) error {
	if err != nil {
		return err
	}
	l := e.line(r)
	if e.JSON {
		return e.out.element(l)
	}
	e.out.say("%s is %s.", r.ID, l.State)
	for _, p := range [][2]string{
		{"by", r.By}, {"for", what(r)}, {"why", strings.TrimSpace(r.Reason + " " + r.Ticket + " " + r.Note)}, {"good for", l.Duration}, {"hash", r.Hash},
		{"answer", r.Answer},
	} {
		if p[1] != "" {
			e.out.say("  %-9s %s", p[0], safe(p[1]))
		}
	}
	if l.Until != nil {
		e.out.say("  %-9s %s", "until", l.Until.Format(time.RFC3339))
	}
	return nil
}

// what says in words what a request asks for.
func what(r *grant.Request) string {
	s := string(r.Action)
	switch {
	case r.Glass:
		return fmt.Sprintf("%s of any finding, %d of %s seen", s, r.Spent, plural(r.Values, "value"))
	case r.Finding == "":
		return s
	}
	s += " of " + r.Finding + ", " + plural(r.Values, "value")
	if len(r.Numbers) > 0 {
		s += " out of " + strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Numbers), " ", ", "), "[]")
	}
	return s
}

type accessListCmd struct {
	Inbox bool `help:"Only those that wait for your decision or review."`
}

func (c *accessListCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	list, err := a.Grants.List(e.ctx, e.ask(), c.Inbox)
	if err != nil {
		return err
	}
	t := e.out.table(0, "REQUEST", "STATE", "BY", "CREATED", "FOR")
	for _, r := range list {
		l := e.line(r)
		if e.JSON {
			if err := e.out.element(l); err != nil {
				return err
			}
			continue
		}
		t.row(r.ID, string(l.State), r.By, r.Created.Format(time.RFC3339), what(r))
	}
	if !e.JSON {
		t.print()
		if len(list) == 0 {
			e.out.say("There are no requests.")
		}
	}
	return nil
}

type accessShowCmd struct {
	ID string `arg:"" help:"Request id."`
}

func (c *accessShowCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	r, err := a.Grants.Read(e.ctx, e.ask(), c.ID)
	return e.request(r, err)
}

type accessApproveCmd struct {
	ID   string `arg:"" help:"Request id."`
	Hash string `arg:"" help:"Hash of the request, as access show prints it: what was shown is what is approved."`
}

func (c *accessApproveCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	r, err := a.Grants.Approve(e.ctx, e.ask(), c.ID, c.Hash)
	return e.request(r, err)
}

type accessDenyCmd struct {
	ID   string `arg:"" help:"Request id."`
	Note string `help:"Why, for the person who asked." required:"" placeholder:"TEXT"`
}

func (c *accessDenyCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	r, err := a.Grants.Deny(e.ctx, e.ask(), c.ID, c.Note)
	return e.request(r, err)
}

type accessWithdrawCmd struct {
	ID string `arg:"" help:"Request id."`
}

func (c *accessWithdrawCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	r, err := a.Grants.Withdraw(e.ctx, e.ask(), c.ID)
	return e.request(r, err)
}

type accessBreakCmd struct {
	Duration time.Duration `name:"for" help:"How long, such as 10m." placeholder:"DURATION"`
	Ticket   string        `help:"Number of the incident's ticket." required:"" placeholder:"ID"`
	Note     string        `help:"What happened." required:"" placeholder:"TEXT"`
}

func (c *accessBreakCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	ask := e.reason("incident", c.Note)
	ask.Context.Ticket = c.Ticket
	r, err := a.Grants.Break(e.ctx, ask, c.Duration)
	return e.request(r, err)
}

type accessReviewCmd struct {
	ID   string `arg:"" help:"Id of the broken glass."`
	Note string `help:"What you found, in at least 10 characters." required:"" placeholder:"TEXT"`
}

func (c *accessReviewCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	r, err := a.Grants.Review(e.ctx, e.ask(), c.ID, c.Note)
	return e.request(r, err)
}
