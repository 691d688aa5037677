package main

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/internal/filter"
	"coffer/web"
)

type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List entries."`
	Verify auditVerifyCmd `cmd:"" help:"Prove that the log is whole."`
	Export auditExportCmd `cmd:"" help:"Write the log as JSON Lines, CSV or OCSF events."`
	Review auditReviewCmd `cmd:"" help:"Who saw what in a period, when and why: an access review."`
	Seen   auditSeenCmd   `cmd:"" help:"Who saw a value? It is read from standard input."`
}

// auditFilter are the flags that choose entries.
type auditFilter struct {
	Actor   string `help:"Pseudonymous id of who acted." placeholder:"ID"`
	Action  string `help:"Action, or a group such as remedy.*" placeholder:"ACTION"`
	Outcome string `help:"intent, done, failed or denied." enum:"intent,done,failed,denied," default:"" placeholder:"OUTCOME"`
	Finding string `help:"Finding id." placeholder:"ID"`
	Plan    string `help:"Plan id." placeholder:"ID"`
	Since   string `help:"From this time on: 2026-07-15 or 2026-07-15T03:21:07Z." placeholder:"TIME"`
	Until   string `help:"Before this time." placeholder:"TIME"`

	Filter []string `help:"FIELD=VALUE, FIELD!=VALUE, FIELD.gte=VALUE; all must hold. An unknown field gets the list of those there are." sep:"none" placeholder:"FILTER"`
}

func (f auditFilter) filter(now time.Time) (audit.Filter, error) {
	out, err := audit.ParseFilter(now, f.Filter...)
	if err != nil {
		return out, usage("%v", err)
	}
	out.Actor, out.Action, out.Outcome, out.Finding, out.Plan = f.Actor, f.Action, audit.Outcome(f.Outcome), f.Finding, f.Plan
	for _, t := range []struct {
		s  string
		to *time.Time
	}{{f.Since, &out.From}, {f.Until, &out.To}} {
		if t.s == "" {
			continue
		}
		m, ok := filter.ParseMoment(t.s)
		if !ok {
			return out, usage("write a time as 2026-07-15, 2026-07-15T03:21:07Z or -7d")
		}
		*t.to, _ = m.At(now)
	}
	return out, nil
}

// entries asks whether the log may be read, records that, and returns the chosen entries.
func (e *env) entries(chosen auditFilter, step string, newest bool) (iter.Seq2[audit.Entry, error], error) {
	a, err := e.open()
	if err != nil {
		return nil, err
	}
	f, err := chosen.filter(a.Now())
	if err != nil {
		return nil, err
	}
	f.Newest = newest
	if err := e.readLog(step); err != nil {
		return nil, err
	}
	return a.Log.Entries(e.ctx, f), nil
}

// readLog asks whether the log may be read, and records that it is.
func (e *env) readLog(step string) error {
	ask := e.ask()
	permit, err := e.app.Guard.Check(e.ctx, ask.Caller, access.AuditRead, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return err
	}
	entry := permit.Entry(audit.Done)
	entry.Detail = map[string]string{"step": step}
	_, err = e.app.Log.Append(e.ctx, entry)
	return err
}

type auditListCmd struct {
	auditFilter
	Oldest bool `help:"Oldest first."`
	Limit  int  `help:"Show at most this many; 0 for all." default:"0" placeholder:"N"`
}

func (c *auditListCmd) Run(e *env) error {
	seq, err := e.entries(c.auditFilter, "list", !c.Oldest)
	if err != nil {
		return err
	}
	if c.Limit > 0 {
		seq = limit(seq, c.Limit)
	}
	if e.JSON {
		return audit.WriteJSON(e.stdout, seq)
	}
	t := e.out.table(6, "INDEX", "TIME", "WHO", "ACTION", "OUTCOME", "ON", "DETAIL")
	name := e.names()
	for x, err := range seq {
		if err != nil {
			return err
		}
		on := x.Plan
		if x.Finding != "" {
			on = x.Finding
		}
		index := "-"
		if x.Index >= 0 {
			index = fmt.Sprint(x.Index)
		}
		t.row(index, x.Time.Local().Format("2006-01-02 15:04:05"), name(x.Actor.ID), string(x.Action), string(x.Outcome), on, detail(x))
	}
	t.print()
	return nil
}

// names returns what people are called, and their id where nothing is known of them.
func (e *env) names() func(id string) string {
	known := map[string]string{}
	return func(id string) string {
		name, ok := known[id]
		if !ok {
			var err error
			if name, err = e.app.Log.Person(e.ctx, id); err != nil || name == "" {
				name = id
			}
			known[id] = name
		}
		return name
	}
}

func detail(x audit.Entry) string {
	s := ""
	if x.Reason != "" {
		s = x.Reason + ": " + x.Note
	}
	for _, k := range []string{"step", "state", "status", "verdict", "action", "changes", "values", "hits", "sealed"} {
		if v := x.Detail[k]; v != "" {
			if s != "" {
				s += " "
			}
			s += k + "=" + v
		}
	}
	return s
}

func limit[T any](seq iter.Seq2[T, error], n int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		i := 0
		for v, err := range seq {
			if i++; i > n || !yield(v, err) {
				return
			}
		}
	}
}

type auditExportCmd struct {
	auditFilter
	Format string `help:"jsonl, csv, or ocsf: events of the Open Cybersecurity Schema Framework." enum:"jsonl,csv,ocsf" default:"jsonl"`
}

func (c *auditExportCmd) Run(e *env) error {
	seq, err := e.entries(c.auditFilter, "export", false)
	if err != nil {
		return err
	}
	switch c.Format {
	case "csv":
		return audit.WriteCSV(e.stdout, seq)
	case "ocsf":
		return audit.WriteOCSF(e.stdout, seq)
	}
	return audit.WriteJSON(e.stdout, seq)
}

type auditReviewCmd struct {
	From    string `help:"First day or instant: 2026-07-01, 2026-07-01T08:00:00Z, or before now as --from=-90d." required:"" placeholder:"TIME"`
	To      string `help:"Last day or instant, included; now when left out." placeholder:"TIME"`
	Person  string `help:"Pseudonymous id of one person." placeholder:"ID"`
	Finding string `help:"One finding." placeholder:"ID"`
}

// Help is the long help of the command.
func (auditReviewCmd) Help() string {
	return "An access review for a period of at most 400 days. Intents without a result are counted apart: the values may have been shown. Example: coffer audit review --from 2026-07-01 --to 2026-09-30."
}

func (c *auditReviewCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	now := a.Now()
	o := audit.ReviewOptions{To: now, Person: c.Person, Finding: c.Finding}
	m, ok := filter.ParseMoment(c.From)
	o.From, _ = m.At(now)
	if ok && c.To != "" {
		m, ok = filter.ParseMoment(c.To)
		_, o.To = m.At(now)
	}
	if !ok {
		return usage("write a time as 2026-07-15, 2026-07-15T03:21:07Z or -7d")
	}
	if err := e.readLog("review"); err != nil {
		return err
	}
	rv, err := a.Log.Review(e.ctx, o)
	if err != nil {
		return err
	}
	name := e.names()
	if e.JSON {
		for i := range rv.People {
			p := web.Reviewed(&rv.People[i])
			if p.Name = name(p.Person); p.Name == p.Person {
				p.Name = ""
			}
			if err := e.out.element(p); err != nil {
				return err
			}
		}
		return nil
	}
	t := e.out.table(0, "WHO", "ROLES", "REVEALS", "VALUES", "FINDINGS", "POSSIBLY", "SEARCHES", "CHANGES", "APPROVALS", "GLASS", "DENIALS", "LAST REVEAL", "LAST", "WHY")
	for _, p := range rv.People {
		revealed := "-"
		if !p.LastReveal.IsZero() {
			revealed = p.LastReveal.Local().Format("2006-01-02 15:04")
		}
		t.row(name(p.Person), strings.Join(p.Roles, ","), fmt.Sprint(p.Reveals), fmt.Sprint(p.Values), fmt.Sprint(len(p.Findings)), fmt.Sprint(p.PossibleValues),
			fmt.Sprint(p.Searches), fmt.Sprint(p.Changes), fmt.Sprint(p.Approvals), fmt.Sprint(p.BreakGlass), fmt.Sprint(p.Denials), revealed,
			p.Last.Local().Format("2006-01-02 15:04"), p.WhyText())
	}
	t.print()
	for _, p := range rv.People {
		for _, f := range p.Findings {
			possibly := ""
			if f.PossibleReveals > 0 {
				possibly = fmt.Sprintf("; %s without a result: possibly revealed", plural(f.PossibleReveals, "intent"))
			}
			e.out.say("%s saw %s of %s, %s to %s (%s)%s", safe(name(p.Person)), f.Span(), f.Finding, f.First.Local().Format("2006-01-02 15:04"),
				f.Last.Local().Format("2006-01-02 15:04"), strings.Join(f.Reasons, ", "), possibly)
		}
	}
	return nil
}

type auditSeenCmd struct {
	Since string `help:"Look from this time on: 2026-07-15 or 2026-07-15T03:21:07Z, or before now as --since=-90d." placeholder:"TIME"`
}

// Help is the long help of the command.
func (auditSeenCmd) Help() string {
	return "Each reveal has a keyed hash of every value that it showed, so that the log can be asked for a value that it does not hold, also after the value is destroyed. It needs the right to search by value and that to read the log, and is charged as a search."
}

func (c *auditSeenCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	f, err := auditFilter{Since: c.Since}.filter(a.Now())
	if err != nil {
		return err
	}
	value, err := e.secret("value: ")
	if err != nil {
		return err
	}
	plain := coffer.NewPlaintext(value)
	defer plain.Wipe()
	seen, err := a.Vault.Seen(e.ctx, e.ask(), plain, f)
	if err != nil {
		return err
	}
	name := e.names()
	t := e.out.table(2, "TIME", "WHO", "FINDING", "N", "REASON", "RESULT")
	for _, s := range seen {
		if e.JSON {
			if err := e.out.element(web.Sight(s)); err != nil {
				return err
			}
			continue
		}
		result := "shown"
		if s.Possible {
			result = "possibly shown"
		}
		t.row(s.Time.Local().Format("2006-01-02 15:04:05"), name(s.Person), s.Finding, fmt.Sprint(s.N), s.Reason, result)
	}
	if e.JSON {
		return nil
	}
	t.print()
	if len(seen) == 0 {
		e.out.say("No reveal on record showed this value.")
	}
	return nil
}

type auditVerifyCmd struct {
	Log        string `help:"Verify the log in this folder, offline, without opening a home." placeholder:"DIR"`
	Key        string `help:"Verifier key, or a file with it; the home's own when it is left out." placeholder:"KEY"`
	Checkpoint string `help:"An old checkpoint that the log must extend." placeholder:"FILE"`
}

// Help is the long help of the command.
func (auditVerifyCmd) Help() string {
	return "Keep a checkpoint (HOME/log/checkpoint) somewhere else now and then: only with an old one can it be excluded that the whole log was set back."
}

func (c *auditVerifyCmd) Run(e *env) error {
	if c.Log != "" && c.Key == "" {
		return usage("--log needs --key: a key that came by another way than the log, such as a copy of HOME/keys/log.key.pub")
	}
	opt := audit.VerifyOptions{Key: c.Key}
	dir := c.Log
	if b, err := os.ReadFile(c.Key); c.Key != "" && err == nil {
		opt.Key = string(b)
	}
	if c.Checkpoint != "" {
		b, err := os.ReadFile(c.Checkpoint)
		if err != nil {
			return fmt.Errorf("checkpoint: %w: %w", coffer.ErrNotFound, err)
		}
		opt.Checkpoint = b
	}
	if dir == "" {
		a, err := e.open()
		if err != nil {
			return err
		}
		if err := e.readLog("verify"); err != nil {
			return err
		}
		dir, opt.DB = a.LogDir(), a.DB
		if opt.Key == "" {
			opt.Key = a.Log.VerifierKey()
		}
		// A damaged log is not extended any more; the report says what is wrong with it.
		if err := a.Log.Sequence(e.ctx); err != nil && !errors.Is(err, coffer.ErrCorrupt) {
			return err
		}
	}
	report, err := audit.Verify(e.ctx, os.DirFS(filepath.Clean(dir)), opt)
	if err != nil {
		return err
	}
	if e.JSON {
		if err := e.out.element(verified(report)); err != nil {
			return err
		}
	} else {
		e.printReport(report)
	}
	if report.Err() != nil {
		return &quietError{}
	}
	return nil
}

// verifyJSON is the contract of `coffer audit verify --json`.
type verifyJSON struct {
	Whole          bool           `json:"whole"`
	Origin         string         `json:"origin"`
	Entries        int64          `json:"entries"` // under the checkpoint
	Root           string         `json:"root"`
	Writers        int            `json:"writers"`
	First          time.Time      `json:"first,omitzero"`
	Last           time.Time      `json:"last,omitzero"`
	Extends        int64          `json:"extends"` // size of the checkpoint that the log extends; -1: none
	Pending        int64          `json:"pending"` // entries not yet under the checkpoint; -1: not known
	Open           []auditRefJSON `json:"open"`    // intents without a result
	Contradictions int            `json:"contradictions"`
	Problems       []auditRefJSON `json:"problems"`
}

type auditRefJSON struct {
	Index  int64         `json:"index"`
	Time   time.Time     `json:"time,omitzero"`
	Action access.Action `json:"action,omitempty"`
	Kind   string        `json:"kind,omitempty"`
	What   string        `json:"what,omitempty"`
}

func verified(r *audit.Report) verifyJSON {
	out := verifyJSON{
		Whole: r.Count == 0, Origin: r.Checkpoint.Origin, Entries: r.Checkpoint.Size, Root: r.Checkpoint.Root.String(), Writers: r.Writers,
		First: r.First, Last: r.Last, Extends: r.Extends, Pending: r.Pending, Open: []auditRefJSON{}, Contradictions: r.Count,
		Problems: []auditRefJSON{},
	}
	for _, x := range r.Open {
		out.Open = append(out.Open, auditRefJSON{Index: x.Index, Time: x.Time, Action: x.Action})
	}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, auditRefJSON{p.Index, p.Time, p.Action, string(p.Kind), p.What})
	}
	return out
}

func (e *env) printReport(r *audit.Report) {
	if r.Count == 0 {
		e.out.say("The log is whole: %s by %s, %s to %s.", plural(int(r.Checkpoint.Size), "entry"), plural(r.Writers, "writer"),
			r.First.Local().Format("2006-01-02 15:04:05"), r.Last.Local().Format("2006-01-02 15:04:05 MST"))
	} else {
		e.out.say("The log was tampered with or is damaged: %s.", plural(r.Count, "contradiction"))
		for _, p := range r.Problems {
			e.out.say("  %s", safe(p.String()))
		}
	}
	if r.Extends >= 0 {
		e.out.say("It extends the checkpoint that was given, of %s.", plural(int(r.Extends), "entry"))
	} else {
		e.out.say("No older checkpoint was given that it extends: that the whole log was set back cannot be excluded.")
	}
	if r.Pending > 0 {
		e.out.say("%s recorded and not yet under the checkpoint.", plural(int(r.Pending), "entry"))
	}
	for _, x := range r.Open {
		e.out.say("Intent without a result: entry %d, %s %s.", x.Index, x.Time.Local().Format("2006-01-02 15:04:05"), x.Action)
	}
}
