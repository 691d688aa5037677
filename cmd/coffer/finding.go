package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/api"
	"coffer/client"
	"coffer/triage"
)

type findingCmd struct {
	List     findingListCmd     `cmd:"" help:"List sensitive data findings, newest first."`
	Show     findingShowCmd     `cmd:"" help:"Show a finding with its places and masked values."`
	Relocate findingRelocateCmd `cmd:"" help:"Look for a changed object's values in its bytes of today."`

	Count          findingCountCmd          `cmd:"" help:"Count findings by the values of fields."`
	Assign         findingAssignCmd         `cmd:"" help:"Say whose findings are."`
	Status         findingStatusCmd         `cmd:"" help:"Say that findings are worked on, or not any more, or open them again."`
	Mute           findingMuteCmd           `cmd:"" help:"Leave findings out of the lists and counts of what is to be done."`
	Unmute         findingUnmuteCmd         `cmd:"" help:"Take muted findings in again."`
	Close          findingCloseCmd          `cmd:"" help:"Close findings, with what PCI DSS 12.10.7 asks for."`
	Note           findingNoteCmd           `cmd:"" help:"Add a note to a finding, or show its notes."`
	Ticket         findingTicketCmd         `cmd:"" help:"Set the tickets of a finding."`
	Protection     findingProtectionCmd     `cmd:"" help:"Show how bucket and object are protected, as Macie reported and now."`
	Elsewhere      findingElsewhereCmd      `cmd:"" help:"Say in which other findings the same values stand, without showing them."`
	FalsePositives findingFalsePositivesCmd `cmd:"" help:"Show how often identifiers were wrong, and propose suppression rules."`
	View           findingViewCmd           `cmd:"" help:"List, save and delete views."`
}

type findingListCmd struct {
	Filter []string `help:"Select: field=a,b field!=a field.gte=x q=words; may be repeated. Fields: account bucket category confirmed created false-positive finding judged key month occurrences origin owner plan q received region sealed severity state status ticket type updated verdict." placeholder:"TERM" sep:"none"`
	View   string   `help:"Select and order as a saved view does; terms given here replace its terms on the same field." placeholder:"NAME"`
	Order  string   `help:"-created (default), created, -received, -updated, -severity or -sealed." placeholder:"ORDER"`
	Limit  int      `help:"Show at most this many." placeholder:"N"`
	IDs    bool     `name:"ids" help:"Print the ids alone, for the next command."`
}

// Help is the long help of the command.
func (findingListCmd) Help() string {
	return "Example: coffer finding list --filter severity.gte=medium --filter status=open --filter key=exports/*"
}

func (c *findingListCmd) Run(e *env) error {
	f, err := triage.ParseFilter(c.Filter...)
	if err != nil {
		return usage("%v", err)
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	order := c.Order
	if c.View != "" {
		v, err := e.view(cl, c.View)
		if err != nil {
			return err
		}
		saved, err := triage.ParseFilter(v.Filter...)
		if err != nil {
			return err
		}
		f, order = saved.Override(f), cmp.Or(order, v.Order)
	}
	if _, err := triage.ParseOrder(order); err != nil {
		return usage("%v", err)
	}
	list, page, err := e.findings(cl, api.FindingsQuery{Filter: f.Pairs(), Order: order}, c.Limit)
	if err != nil {
		return err
	}
	t := e.out.table(4, "FINDING", "SEVERITY", "STATUS", "STATE", "OBJECT", "SEALED", "CREATED")
	for _, s := range list {
		if e.JSON {
			if err := e.out.element(s); err != nil {
				return err
			}
			continue
		}
		if c.IDs {
			e.out.say("%s", s.Finding)
			continue
		}
		t.row(s.Finding, coffer.Severity(s.Severity).String(), s.Status, s.State, "s3://"+s.Object.Bucket+"/"+s.Object.Key,
			fmt.Sprintf("%d/%d", s.Sealed, s.Occurrences), s.Created.Format(time.DateOnly))
	}
	if !e.JSON && !c.IDs {
		t.print()
		switch {
		case page.Total > len(list):
			e.out.say("%d of %s.", len(list), plural(page.Total, "finding"))
		case len(list) == 0 && (len(c.Filter) > 0 || c.View != ""):
			e.out.say("No finding matches.")
		case len(list) == 0:
			e.out.say("No findings. Take some in with `coffer ingest FILE`.")
		}
	}
	return nil
}

// findings returns the findings that a query selects, at most limit of them (0: all), and the last page, which has counts of the whole list.
func (e *env) findings(cl *client.Client, q api.FindingsQuery, limit int) (list []api.Finding, page api.Findings, err error) {
	for {
		if q.Limit = 1000; limit > 0 {
			q.Limit = min(q.Limit, limit-len(list))
		}
		if page, err = cl.FindingsPage(e.ctx, q); err != nil {
			return nil, page, err
		}
		if page.Lags {
			return nil, page, fmt.Errorf("newer changes of findings could not be read: %w", coffer.ErrUnavailable)
		}
		list = append(list, page.Findings...)
		if q.Cursor = page.Next; q.Cursor == "" || limit > 0 && len(list) >= limit {
			return list, page, nil
		}
	}
}

// view returns the saved view of that name: the caller's own, or a shared one.
func (e *env) view(cl *client.Client, name string) (api.View, error) {
	views, err := cl.Views(e.ctx)
	if err != nil {
		return api.View{}, err
	}
	i := slices.IndexFunc(views, func(v api.View) bool { return v.Name == name })
	if i < 0 {
		return api.View{}, fmt.Errorf("view: %w", coffer.ErrNotFound)
	}
	return views[i], nil
}

type findingShowCmd struct {
	ID string `arg:"" help:"Finding id."`
}

func (c *findingShowCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	f, _, err := cl.Finding(e.ctx, c.ID)
	if err != nil {
		return e.named("finding", c.ID, err)
	}
	return e.showFinding(f)
}

func (e *env) showFinding(f api.FindingDetail) error {
	if e.JSON {
		return e.out.element(f)
	}
	field := func(k, v string) {
		if v != "" {
			e.out.say("%-12s %s", k, safe(v))
		}
	}
	field("finding", f.Finding)
	field("type", f.Type)
	field("severity", coffer.Severity(f.Severity).String())
	field("object", "s3://"+f.Object.Bucket+"/"+f.Object.Key)
	field("version", f.Object.VersionID)
	field("created", f.Created.UTC().Format("2006-01-02 15:04:05 MST"))
	field("state", f.State)
	field("reason", f.Reason)
	field("status", f.Status)
	field("verdict", f.Verdict)
	field("note", f.Note)
	if f.Notes > 0 {
		field("notes", fmt.Sprintf("%d; see coffer finding note %s", f.Notes, f.Finding))
	}
	field("owner", f.Owner)
	field("tickets", strings.Join(f.Tickets, " "))
	field("fixed by", f.Plan)
	if c := f.Closing; c != nil {
		field("closed", fmt.Sprintf("%s; authentication data: %t; origin: %s; corrective action: %s", c.Disposition, c.AuthenticationData, c.Origin, c.CorrectiveAction))
	}
	field("bucket", protection(f.OnBucket))
	tagged := "yes"
	if !f.Tagged {
		tagged = "no"
	}
	if f.TagReason != "" {
		tagged += " (" + f.TagReason + ")"
	}
	field("tagged", tagged)
	e.out.say("")
	t := e.out.table(2, "N", "TYPE", "AT", "OUTCOME", "MASKED", "VERDICT")
	for _, o := range f.Occurrences {
		t.row(fmt.Sprint(o.N), o.Type, o.At, o.Outcome, o.Masked, o.Verdict)
	}
	t.print()
	return nil
}

func protection(p api.Protection) string {
	s := ""
	if p.Encryption != "" {
		s = "encryption " + p.Encryption
	}
	if p.PublicAccess != "" {
		if s != "" {
			s += ", "
		}
		s += p.PublicAccess
	}
	return s
}

type findingRelocateCmd struct {
	ID string `arg:"" help:"Finding id."`
}

func (c *findingRelocateCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	defer e.out.wait("relocate")()
	f, err := cl.Relocate(e.ctx, c.ID)
	if err != nil {
		return e.named("finding", c.ID, err)
	}
	return e.showFinding(f)
}
