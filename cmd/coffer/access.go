package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"coffer/access"
	"coffer/api"
	"coffer/client"
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
	b := api.AccessBody{Action: string(access.ValueReveal), Finding: c.ID, Values: c.Values, Reason: c.Reason, Note: c.Note, Ticket: c.Ticket}
	switch {
	case c.Search && c.ID != "":
		return usage("a search is asked for without a finding")
	case c.Search:
		b.Action = string(access.ValueSearch)
	case c.ID == "":
		return usage("name a finding, or give --search")
	}
	var err error
	if b.Seconds, err = seconds(c.Duration); err != nil {
		return err
	}
	for _, s := range c.N {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return usage("%q is no number of an occurrence", s)
		}
		b.Numbers = append(b.Numbers, n)
	}
	return e.request("finding", c.ID, func(cl *client.Client) (api.Request, error) { return cl.RequestAccess(e.ctx, b) })
}

// seconds is how long something is to be good for, as the API counts it; 0: as long as it is without saying so.
func seconds(d time.Duration) (int, error) {
	if d < 0 || d%time.Second != 0 {
		return 0, usage("--for is in whole seconds, such as 90s, 30m or 1h")
	}
	return int(d / time.Second), nil
}

// request shows what a command made of a request. thing and id say what may not be there.
func (e *env) request(thing, id string, do func(*client.Client) (api.Request, error)) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	r, err := do(cl)
	if err != nil {
		return e.named(thing, id, err)
	}
	if e.JSON {
		return e.out.element(r)
	}
	e.out.say("%s is %s.", r.Request, r.State)
	for _, p := range [][2]string{
		{"by", r.By}, {"for", what(r)}, {"why", strings.TrimSpace(r.Reason + " " + r.Ticket + " " + r.Note)}, {"good for", r.Duration}, {"hash", r.Hash},
		{"answer", r.Answer},
	} {
		if p[1] != "" {
			e.out.say("  %-9s %s", p[0], safe(p[1]))
		}
	}
	if r.Until != nil {
		e.out.say("  %-9s %s", "until", r.Until.Format(time.RFC3339))
	}
	return nil
}

// what says in words what a request asks for.
func what(r api.Request) string {
	s := r.Action
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
	cl, err := e.client()
	if err != nil {
		return err
	}
	list, err := cl.Requests(e.ctx, c.Inbox)
	if err != nil {
		return err
	}
	t := e.out.table(0, "REQUEST", "STATE", "BY", "CREATED", "FOR")
	for _, r := range list {
		if e.JSON {
			if err := e.out.element(r); err != nil {
				return err
			}
			continue
		}
		t.row(r.Request, r.State, r.By, r.Created.Format(time.RFC3339), what(r))
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
	return e.request("request", c.ID, func(cl *client.Client) (api.Request, error) {
		r, _, err := cl.Request(e.ctx, c.ID)
		return r, err
	})
}

type accessApproveCmd struct {
	ID   string `arg:"" help:"Request id."`
	Hash string `arg:"" help:"Hash of the request, as access show prints it: what was shown is what is approved."`
}

func (c *accessApproveCmd) Run(e *env) error {
	return e.request("request", c.ID, func(cl *client.Client) (api.Request, error) { return cl.ApproveRequest(e.ctx, c.ID, "", c.Hash) })
}

type accessDenyCmd struct {
	ID   string `arg:"" help:"Request id."`
	Note string `help:"Why, for the person who asked." required:"" placeholder:"TEXT"`
}

func (c *accessDenyCmd) Run(e *env) error {
	return e.request("request", c.ID, func(cl *client.Client) (api.Request, error) { return cl.DenyRequest(e.ctx, c.ID, c.Note) })
}

type accessWithdrawCmd struct {
	ID string `arg:"" help:"Request id."`
}

func (c *accessWithdrawCmd) Run(e *env) error {
	return e.request("request", c.ID, func(cl *client.Client) (api.Request, error) { return cl.WithdrawRequest(e.ctx, c.ID) })
}

type accessBreakCmd struct {
	Duration time.Duration `name:"for" help:"How long, such as 10m." placeholder:"DURATION"`
	Ticket   string        `help:"Number of the incident's ticket." required:"" placeholder:"ID"`
	Note     string        `help:"What happened." required:"" placeholder:"TEXT"`
}

func (c *accessBreakCmd) Run(e *env) error {
	b := api.GlassBody{Reason: "incident", Note: c.Note, Ticket: c.Ticket}
	var err error
	if b.Seconds, err = seconds(c.Duration); err != nil {
		return err
	}
	return e.request("", "", func(cl *client.Client) (api.Request, error) { return cl.BreakGlass(e.ctx, b) })
}

type accessReviewCmd struct {
	ID   string `arg:"" help:"Id of the broken glass."`
	Note string `help:"What you found, in at least 10 characters." required:"" placeholder:"TEXT"`
}

func (c *accessReviewCmd) Run(e *env) error {
	return e.request("broken glass", c.ID, func(cl *client.Client) (api.Request, error) { return cl.ReviewGlass(e.ctx, c.ID, c.Note) })
}
