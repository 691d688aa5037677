package main

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
)

type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List entries."`
	Verify auditVerifyCmd `cmd:"" help:"Prove that the log is whole."`
	Export auditExportCmd `cmd:"" help:"Write the log as JSON Lines or CSV."`
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
}

func (f auditFilter) filter() (audit.Filter, error) {
	out := audit.Filter{Actor: f.Actor, Action: f.Action, Outcome: audit.Outcome(f.Outcome), Finding: f.Finding, Plan: f.Plan}
	for _, t := range []struct {
		s  string
		to *time.Time
	}{{f.Since, &out.From}, {f.Until, &out.To}} {
		if t.s == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, t.s)
		if err != nil {
			at, err = time.Parse(time.DateOnly, t.s)
		}
		if err != nil {
			return out, usage("write a time as 2026-07-15 or 2026-07-15T03:21:07Z")
		}
		*t.to = at
	}
	return out, nil
}

// entries asks whether the log may be read, records that, and returns the chosen entries.
func (e *env) entries(f audit.Filter) (iter.Seq2[audit.Entry, error], error) {
	a, err := e.open()
	if err != nil {
		return nil, err
	}
	ask := e.ask()
	permit, err := a.Guard.Check(e.ctx, ask.Caller, access.AuditRead, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	if _, err := a.Log.Append(e.ctx, permit.Entry(audit.Done)); err != nil {
		return nil, err
	}
	return a.Log.Entries(e.ctx, f), nil
}

type auditListCmd struct {
	auditFilter
	Oldest bool `help:"Oldest first."`
	Limit  int  `help:"Show at most this many; 0 for all." default:"0" placeholder:"N"`
}

func (c *auditListCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	f.Newest = !c.Oldest
	seq, err := e.entries(f)
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
	names := map[string]string{}
	for x, err := range seq {
		if err != nil {
			return err
		}
		name, ok := names[x.Actor.ID]
		if !ok {
			if name, err = e.app.Log.Person(e.ctx, x.Actor.ID); err != nil || name == "" {
				name = x.Actor.ID
			}
			names[x.Actor.ID] = name
		}
		on := x.Plan
		if x.Finding != "" {
			on = x.Finding
		}
		index := "-"
		if x.Index >= 0 {
			index = fmt.Sprint(x.Index)
		}
		t.row(index, x.Time.Local().Format("2006-01-02 15:04:05"), name, string(x.Action), string(x.Outcome), on, detail(x))
	}
	t.print()
	return nil
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
	Format string `help:"jsonl or csv." enum:"jsonl,csv" default:"jsonl"`
}

func (c *auditExportCmd) Run(e *env) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	seq, err := e.entries(f)
	if err != nil {
		return err
	}
	if c.Format == "csv" {
		return audit.WriteCSV(e.stdout, seq)
	}
	return audit.WriteJSON(e.stdout, seq)
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
		ask := e.ask()
		permit, err := a.Guard.Check(e.ctx, ask.Caller, access.AuditRead, access.Resource{Kind: access.System}, ask.Context)
		if err != nil {
			return err
		}
		if _, err := a.Log.Append(e.ctx, permit.Entry(audit.Done)); err != nil {
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
