package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer"
	"coffer/triage"
)

type findingCmd struct {
	List     findingListCmd     `cmd:"" help:"List sensitive data findings, newest first."`
	Show     findingShowCmd     `cmd:"" help:"Show a finding with its places and masked values."`
	Relocate findingRelocateCmd `cmd:"" help:"Look for a changed object's values in its bytes of today."`

	Count          findingCountCmd          `cmd:"" help:"Count findings by the values of fields."`
	Assign         findingAssignCmd         `cmd:"" help:"Say whose findings are."`
	Status         findingStatusCmd         `cmd:"" help:"Say that findings are worked on, or not any more, or open them again."`
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
	a, err := e.open()
	if err != nil {
		return err
	}
	order := c.Order
	if c.View != "" {
		v, err := e.view(c.View)
		if err != nil {
			return err
		}
		saved, err := triage.ParseFilter(v.Filter...)
		if err != nil {
			return err
		}
		f, order = saved.Override(f), cmp.Or(order, string(v.Order))
	}
	if _, err := triage.ParseOrder(order); err != nil {
		return usage("%v", err)
	}
	page, err := a.Desk.Page(e.ctx, e.ask(), triage.PageQuery{Filter: f, Order: triage.Order(order), Limit: c.Limit})
	if err != nil {
		return err
	}
	if page.Lag != nil {
		return page.Lag
	}
	list := page.Findings
	t := e.out.table(4, "FINDING", "SEVERITY", "STATUS", "STATE", "OBJECT", "SEALED", "CREATED")
	for _, s := range list {
		if e.JSON {
			if err := e.out.element(s); err != nil {
				return err
			}
			continue
		}
		if c.IDs {
			e.out.say("%s", s.ID)
			continue
		}
		t.row(s.ID, s.Severity.String(), string(s.Status), string(s.State), "s3://"+s.Object.Bucket+"/"+s.Object.Key,
			fmt.Sprintf("%d/%d", s.Sealed, s.Count), s.Created.Format(time.DateOnly))
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

// view returns the saved view of that name: the caller's own, or a shared one.
func (e *env) view(name string) (triage.View, error) {
	views, err := e.app.Desk.Views(e.ctx, e.ask())
	if err != nil {
		return triage.View{}, err
	}
	i := slices.IndexFunc(views, func(v triage.View) bool { return v.Name == name })
	if i < 0 {
		return triage.View{}, fmt.Errorf("view: %w", coffer.ErrNotFound)
	}
	return views[i], nil
}

type findingShowCmd struct {
	ID string `arg:"" help:"Finding id."`
}

// findingJSON is the contract of `coffer finding show --json`: the summary, and the occurrences.
type findingJSON struct {
	triage.Summary
	Unverified  string           `json:"unverified,omitempty"`
	Tagged      bool             `json:"tagged"`
	TagReason   string           `json:"tagReason,omitempty"`
	Note        string           `json:"note,omitempty"`
	Closing     *triage.Closing  `json:"closing,omitempty"`
	Occurrences []occurrenceJSON `json:"occurrences"`
}

type occurrenceJSON struct {
	N       int                     `json:"n"`
	Type    coffer.DataType         `json:"type"`
	At      coffer.Location         `json:"at"`
	Outcome coffer.Outcome          `json:"outcome"`
	Masked  string                  `json:"masked"`
	Source  coffer.OccurrenceSource `json:"source,omitempty"`
	Sealed  bool                    `json:"sealed"`
	Same    *triage.Ref             `json:"same,omitempty"`
	Verdict triage.Verdict          `json:"verdict,omitempty"`
	Note    string                  `json:"note,omitempty"`
}

func (c *findingShowCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	rec, lines, err := a.Desk.Read(e.ctx, e.ask(), c.ID)
	if err != nil {
		return err
	}
	return e.showFinding(rec, lines)
}

func (e *env) showFinding(rec *triage.Record, lines []triage.Line) error {
	shown := make([]occurrenceJSON, len(lines))
	for i, l := range lines {
		shown[i] = occurrenceJSON{l.N, l.Type, e.app.Detectors.Cut(l.At), l.Outcome, l.Masked, l.Source, l.Sealed, l.Same, l.Verdict, l.Note}
	}
	if e.JSON {
		return e.out.element(findingJSON{
			rec.Summary(), rec.Unverified, rec.Tagged, rec.TagReason, rec.Note, rec.Closing, shown,
		})
	}
	f := &rec.Finding
	field := func(k, v string) {
		if v != "" {
			e.out.say("%-12s %s", k, safe(v))
		}
	}
	field("finding", f.ID)
	field("type", f.Type)
	field("severity", f.Severity.String())
	field("object", "s3://"+f.Object.Bucket+"/"+f.Object.Key)
	field("version", f.Object.VersionID)
	field("created", f.CreatedAt.UTC().Format("2006-01-02 15:04:05 MST"))
	field("state", string(rec.State))
	field("reason", rec.Reason)
	field("status", string(rec.Status))
	field("verdict", string(rec.Verdict))
	field("note", rec.Note)
	if rec.Notes > 0 {
		field("notes", fmt.Sprintf("%d; see coffer finding note %s", rec.Notes, f.ID))
	}
	field("owner", rec.Owner)
	field("tickets", strings.Join(rec.Tickets, " "))
	field("fixed by", rec.Plan)
	if c := rec.Closing; c != nil {
		field("closed", fmt.Sprintf("%s; authentication data: %t; origin: %s; corrective action: %s", c.Disposition, c.AuthenticationData, c.Origin, c.CorrectiveAction))
	}
	field("bucket", protection(f.OnBucket))
	tagged := "yes"
	if !rec.Tagged {
		tagged = "no"
	}
	if rec.TagReason != "" {
		tagged += " (" + rec.TagReason + ")"
	}
	field("tagged", tagged)
	e.out.say("")
	t := e.out.table(2, "N", "TYPE", "AT", "OUTCOME", "MASKED", "VERDICT")
	for _, o := range shown {
		t.row(fmt.Sprint(o.N), string(o.Type), o.At.String(), string(o.Outcome), o.Masked, string(o.Verdict))
	}
	t.print()
	return nil
}

func protection(p coffer.Protection) string {
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
	a, err := e.open()
	if err != nil {
		return err
	}
	if _, err := a.Pipeline.Relocate(e.ctx, e.ask(), c.ID); err != nil {
		return err
	}
	rec, lines, err := a.Desk.Read(e.ctx, e.ask(), c.ID)
	if err != nil {
		return err
	}
	return e.showFinding(rec, lines)
}
