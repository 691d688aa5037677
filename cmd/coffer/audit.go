package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"coffer"
	"coffer/api"
	"coffer/audit"
	"coffer/client"
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

// query returns the filter as the parameters of the API's lists, after a look whether it is well-formed.
func (f auditFilter) query() (url.Values, error) {
	if _, err := audit.ParseFilter(time.Now(), f.Filter...); err != nil {
		return nil, usage("%v", err)
	}
	q := url.Values{}
	for _, pair := range f.Filter {
		name, value, _ := strings.Cut(pair, "=")
		q.Add(strings.TrimSpace(name), value)
	}
	for name, value := range map[string]string{
		"actor": f.Actor, "action": f.Action, "outcome": f.Outcome, "finding": f.Finding, "plan": f.Plan, "since": f.Since, "until": f.Until,
	} {
		if value != "" {
			q.Add(name, value)
		}
	}
	for _, t := range []string{f.Since, f.Until} {
		if _, ok := filter.ParseMoment(t); t != "" && !ok {
			return nil, usage("write a time as 2026-07-15, 2026-07-15T03:21:07Z or -7d")
		}
	}
	return q, nil
}

type auditListCmd struct {
	auditFilter
	Follow bool `help:"Stay, and show entries as they come under a checkpoint, until interrupted."`
	Oldest bool `help:"Oldest first."`
	Limit  int  `help:"Show at most this many; 0 for all." default:"0" placeholder:"N"`
}

// shownEntry is what the table shows of an entry, by the names of its canonical form.
type shownEntry struct {
	Time    time.Time           `json:"time"`
	Actor   struct{ ID string } `json:"actor"`
	Action  string              `json:"action"`
	Outcome string              `json:"outcome"`
	Reason  string              `json:"reason"`
	Note    string              `json:"note"`
	Finding string              `json:"finding"`
	Plan    string              `json:"plan"`
	Detail  map[string]string   `json:"detail"`
}

func (c *auditListCmd) Run(e *env) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	if c.Follow {
		if c.Since != "" || c.Until != "" || c.Oldest || c.Limit != 0 {
			return usage("--follow shows what comes, as it comes; it takes no --since, --until, --oldest and --limit")
		}
		return c.follow(e, cl, q)
	}
	q.Set("oldest", strconv.FormatBool(c.Oldest))
	seq := cl.Entries(e.ctx, q, c.Limit)
	if c.Limit <= 0 {
		seq = cl.Log(e.ctx, q) // in one answer, and as one reading of the log
	}
	t := e.out.table(6, "INDEX", "TIME", "WHO", "ACTION", "OUTCOME", "ON", "DETAIL")
	name := e.names(cl)
	for x, err := range seq {
		if err != nil {
			return err
		}
		if e.JSON {
			err = e.entry(x)
		} else if cells, cerr := cells(x, name); cerr == nil {
			t.row(cells...)
		} else {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	t.print()
	return nil
}

// follow shows entries as they come, each in a line of its own, until the command is interrupted.
func (c *auditListCmd) follow(e *env, cl *client.Client, q url.Values) error {
	name := e.names(cl)
	for x, err := range cl.Follow(e.ctx, q, -1) {
		if e.ctx.Err() != nil {
			return nil // interrupted, as it is meant to end
		}
		if err == nil && e.JSON {
			err = e.entry(x)
		} else if err == nil {
			var line []string
			if line, err = cells(x, name); err == nil {
				e.out.say("%s", strings.Join(line, "  "))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry writes an entry as it is, byte for byte: its hash can be computed from it.
func (e *env) entry(x api.Entry) error {
	if _, err := fmt.Fprintf(e.stdout, "{\"index\":%d,\"entry\":%s}\n", x.Index, x.Entry); err != nil {
		return fmt.Errorf("standard output: %w: %w", coffer.ErrUnavailable, err)
	}
	return nil
}

// cells are what the table shows of an entry.
func cells(x api.Entry, name func(id string) string) ([]string, error) {
	var shown shownEntry
	if err := json.Unmarshal(x.Entry, &shown); err != nil {
		return nil, fmt.Errorf("entry %d of the log: %w", x.Index, coffer.ErrCorrupt)
	}
	on := shown.Plan
	if shown.Finding != "" {
		on = shown.Finding
	}
	index := "-"
	if x.Index >= 0 {
		index = fmt.Sprint(x.Index)
	}
	return []string{index, shown.Time.Local().Format("2006-01-02 15:04:05"), name(shown.Actor.ID), shown.Action, shown.Outcome, on, detail(shown)}, nil
}

// names returns what people are called, and their id where nothing is known of them.
func (e *env) names(cl *client.Client) func(id string) string {
	known := map[string]string{}
	return func(id string) string {
		name, ok := known[id]
		if !ok {
			name = id
			if p, err := cl.Person(e.ctx, id); err == nil && p.Name != "" {
				name = p.Name
			}
			known[id] = name
		}
		return name
	}
}

func detail(x shownEntry) string {
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

type auditExportCmd struct {
	auditFilter
	Format string `help:"jsonl, csv, or ocsf: events of the Open Cybersecurity Schema Framework." enum:"jsonl,csv,ocsf" default:"jsonl"`
}

func (c *auditExportCmd) Run(e *env) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	q.Set("format", c.Format)
	return cl.Export(e.ctx, q, e.stdout)
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
	q := url.Values{}
	for name, value := range map[string]string{"from": c.From, "to": c.To, "person": c.Person, "finding": c.Finding} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for _, t := range []string{c.From, c.To} {
		if _, ok := filter.ParseMoment(t); t != "" && !ok {
			return usage("write a time as 2026-07-15, 2026-07-15T03:21:07Z or -7d")
		}
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	rv, err := cl.Review(e.ctx, q)
	if err != nil {
		return err
	}
	if e.JSON {
		for _, p := range rv.People {
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
		t.row(cmp.Or(p.Name, p.Person), strings.Join(p.Roles, ","), fmt.Sprint(p.Reveals), fmt.Sprint(p.Values), fmt.Sprint(len(p.Findings)),
			fmt.Sprint(p.PossibleValues), fmt.Sprint(p.Searches), fmt.Sprint(p.Changes), fmt.Sprint(p.Approvals), fmt.Sprint(p.BreakGlass),
			fmt.Sprint(p.Denials), revealed, p.Last.Local().Format("2006-01-02 15:04"), reasons(p.Reasons))
	}
	t.print()
	for _, p := range rv.People {
		for _, f := range p.Findings {
			possibly := ""
			if f.PossibleReveals > 0 {
				possibly = fmt.Sprintf("; %s without a result: possibly revealed", plural(f.PossibleReveals, "intent"))
			}
			e.out.say("%s saw %s of %s, %s to %s (%s)%s", safe(cmp.Or(p.Name, p.Person)), f.Numbers, f.Finding,
				f.First.Local().Format("2006-01-02 15:04"), f.Last.Local().Format("2006-01-02 15:04"), strings.Join(f.Reasons, ", "), possibly)
		}
	}
	return nil
}

// reasons are the reason codes of reveals as text, the most frequent first: "audit 3, legal 1".
func reasons(n map[string]int) string {
	codes := slices.SortedFunc(maps.Keys(n), func(a, b string) int { return cmp.Or(cmp.Compare(n[b], n[a]), cmp.Compare(a, b)) })
	for i, c := range codes {
		codes[i] = fmt.Sprintf("%s %d", c, n[c])
	}
	return strings.Join(codes, ", ")
}

type auditSeenCmd struct {
	Since string `help:"Look from this time on: 2026-07-15 or 2026-07-15T03:21:07Z, or before now as --since=-90d." placeholder:"TIME"`
}

// Help is the long help of the command.
func (auditSeenCmd) Help() string {
	return "Each reveal has a keyed hash of every value that it showed, so that the log can be asked for a value that it does not hold, also after the value is destroyed. It needs the right to search by value and that to read the log, and is charged as a search."
}

func (c *auditSeenCmd) Run(e *env) error {
	if _, err := (auditFilter{Since: c.Since}).query(); err != nil {
		return err
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	value, err := e.secret("value: ")
	if err != nil {
		return err
	}
	defer clear(value)
	if !utf8.Valid(value) {
		return usage("the log can be asked for a text alone")
	}
	seen, err := cl.Seen(e.ctx, string(value), c.Since)
	if err != nil {
		return err
	}
	name := e.names(cl)
	t := e.out.table(2, "TIME", "WHO", "FINDING", "N", "REASON", "RESULT")
	for _, s := range seen {
		if e.JSON {
			if err := e.out.element(s); err != nil {
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
	key := c.Key
	if b, err := os.ReadFile(c.Key); c.Key != "" && err == nil {
		key = string(b)
	}
	var checkpoint []byte
	if c.Checkpoint != "" {
		var err error
		if checkpoint, err = os.ReadFile(c.Checkpoint); err != nil {
			return fmt.Errorf("checkpoint: %w: %w", coffer.ErrNotFound, err)
		}
	}
	report, err := c.verify(e, key, checkpoint)
	if err != nil {
		return err
	}
	if e.JSON {
		if err := e.out.element(report); err != nil {
			return err
		}
	} else {
		e.printReport(report)
	}
	if !report.Whole {
		return &quietError{}
	}
	return nil
}

// verify verifies a folder here, of which nobody need be asked, or has the installation verify its own log.
func (c *auditVerifyCmd) verify(e *env, key string, checkpoint []byte) (api.Verified, error) {
	if c.Log != "" {
		r, err := audit.Verify(e.ctx, os.DirFS(filepath.Clean(c.Log)), audit.VerifyOptions{Key: key, Checkpoint: checkpoint})
		if err != nil {
			return api.Verified{}, err
		}
		return web.Verified(r), nil
	}
	cl, err := e.client()
	if err != nil {
		return api.Verified{}, err
	}
	defer e.out.wait("verify")()
	return cl.Verify(e.ctx, api.VerifyBody{Key: key, Checkpoint: string(checkpoint)})
}

func (e *env) printReport(r api.Verified) {
	if r.Whole {
		e.out.say("The log is whole: %s by %s, %s to %s.", plural(int(r.Entries), "entry"), plural(r.Writers, "writer"),
			r.First.Local().Format("2006-01-02 15:04:05"), r.Last.Local().Format("2006-01-02 15:04:05 MST"))
	} else {
		e.out.say("The log was tampered with or is damaged: %s.", plural(r.Contradictions, "contradiction"))
		for _, p := range r.Problems {
			at := fmt.Sprintf("entry %d", p.Index)
			if p.Action != "" {
				at += fmt.Sprintf(" (%s, %s)", p.Time.Format(time.RFC3339), p.Action)
			}
			e.out.say("  %s", safe(at+": "+p.Kind+": "+p.What))
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
