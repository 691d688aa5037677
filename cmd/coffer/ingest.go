package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"coffer"
	"coffer/api"
	"coffer/client"
	"coffer/pipeline"
)

type ingestCmd struct {
	Input []string `arg:"" name:"file" help:"Files or folders with findings; - is standard input." placeholder:"FILE|DIR|-"`
}

// Help is the long help of the command.
func (ingestCmd) Help() string {
	return "One line is printed for each document. Exit code 1 if one of them failed; what is no sensitive data finding is skipped, with the reason."
}

func (c *ingestCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	in := &intake{e: e, cl: cl, p: e.out.progress("ingest")}
	for _, name := range c.Input {
		if err := in.input(name); err != nil {
			return err
		}
	}
	in.p.end()
	return in.done()
}

// intake feeds documents to the pipeline and reports each.
type intake struct {
	e       *env
	cl      *client.Client
	p       *progress
	counts  map[string]int
	sealed  int
	fetched int64
	n       int
	t       *table
}

func (in *intake) input(name string) error {
	if name == "-" {
		return in.stream(in.e.stdin, "standard input")
	}
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, coffer.ErrNotFound, errors.Unwrap(err))
	}
	if !info.IsDir() {
		return in.file(name)
	}
	return filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("folder: %w: %w", coffer.ErrUnavailable, err)
		}
		if d.Type().IsRegular() && d.Name()[0] != '.' {
			return in.file(path)
		}
		return nil
	})
}

func (in *intake) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	defer f.Close()
	return in.stream(bufio.NewReaderSize(f, 1<<16), name)
}

func (in *intake) stream(r io.Reader, name string) error {
	n := 0
	for line, err := range in.cl.Ingest(in.e.ctx, r, filepath.Base(name), true) {
		n++
		if err != nil {
			return fmt.Errorf("%s, document %d: %w", name, n, err)
		}
		if line.Finding == nil && line.Status == string(pipeline.Failed) {
			line.Reason = name + ": " + line.Reason
		}
		if err := in.report(line); err != nil {
			return err
		}
	}
	return nil
}

func (in *intake) report(line api.Line) error {
	if in.counts == nil {
		in.counts = map[string]int{}
		in.t = in.e.out.table(2, "STATUS", "FINDING", "OBJECT", "FOUND", "SEALED", "REASON")
	}
	in.counts[line.Status]++
	in.sealed += line.Sealed
	in.fetched += line.Fetched
	in.n++
	in.p.at(in.n, 0)
	object := ""
	for _, o := range []*api.LineObject{line.Object, line.About} {
		if o != nil {
			object = "s3://" + o.Bucket + "/" + o.Key
		}
	}
	if line.About = nil; in.e.JSON {
		return in.e.out.element(line)
	}
	finding := ""
	if line.Finding != nil {
		finding = *line.Finding
	}
	in.t.row(line.Status, finding, object, fmt.Sprint(line.Occurrences), fmt.Sprint(line.Sealed), line.Reason)
	return nil
}

func (in *intake) done() error {
	if in.t != nil && !in.e.JSON {
		in.t.print()
		moved := ""
		if in.fetched > 0 && in.sealed > 0 {
			moved = fmt.Sprintf(" %s of their objects were fetched, %s for each value.", size(in.fetched), size(in.fetched/int64(in.sealed)))
		}
		in.e.out.say("\n%s; %s sealed.%s", plural(in.n, "document"), plural(in.sealed, "value"), moved)
	}
	if in.counts[string(pipeline.Failed)] > 0 {
		return &quietError{}
	}
	return nil
}

type intakeCmd struct {
	List      intakeListCmd      `cmd:"" help:"List what came in, latest first."`
	Reconcile intakeReconcileCmd `cmd:"" help:"Compare what came in with what Macie lists, and take in what never came."`
	Ledger    intakeLedgerCmd    `cmd:"" help:"Show, day by day, what Macie found and what came in of it."`
}

type intakeListCmd struct {
	Limit int `help:"Show at most this many." placeholder:"N"`
}

func (c *intakeListCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	t := e.out.table(4, "LAST", "SEEN", "STATUS", "KIND", "FINDING", "REASON")
	for x, err := range cl.Arrivals(e.ctx, c.Limit) {
		if err != nil {
			return err
		}
		if e.JSON {
			if err := e.out.element(x); err != nil {
				return err
			}
			continue
		}
		t.row(x.Last.Format(time.DateTime), fmt.Sprint(x.Seen), x.Status, x.Kind, x.Finding, x.Reason)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

// since is the beginning of a time, as a flag.
type since struct {
	Since string `help:"From this time on: 2026-07-15 or 2026-07-15T03:21:07Z, or before now as --since=-7d." placeholder:"TIME"`
}

// at returns the time that the flag names, the zero time without it.
func (s since) at(now time.Time) (time.Time, error) {
	if s.Since == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, s.Since); err == nil {
			return t, nil
		}
	}
	text, unit := s.Since, 1
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text, unit = days+"h", 24
	}
	if ago, err := time.ParseDuration(text); err == nil && ago < 0 && ago > -10*366*24*time.Hour {
		return now.Add(ago * time.Duration(unit)), nil
	}
	return time.Time{}, usage("--since is a day, a time in RFC 3339, or before now as --since=-7d")
}

type intakeReconcileCmd struct {
	since
	resuming
}

// Help is the long help of the command.
func (intakeReconcileCmd) Help() string {
	return "Needs macie: in config.yaml. Without --since it covers every time that was not compared yet, as far back as Macie keeps findings (90 days), and the last day again. " +
		"Nothing is changed in Macie. `coffer serve` does it by itself."
}

func (c *intakeReconcileCmd) Run(e *env) error {
	from, err := c.at(time.Now())
	if err != nil {
		return err
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	t := e.out.table(1, "STEP", "RESULT")
	each := func(i api.Item) error {
		if e.JSON {
			return e.out.element(map[string]string{"step": i.Ref, "result": i.Result})
		}
		t.row(i.Ref, i.Result)
		return nil
	}
	var j api.Job
	if c.Resume != "" {
		_, err = e.resume(cl, c.Resume, pipeline.ReconcileJob, "reconcile", "coffer intake reconcile", each)
	} else if j, err = cl.Reconcile(e.ctx, from); err == nil {
		_, err = e.follow(cl, j, nil, "reconcile", "coffer intake reconcile", each)
	}
	if !e.JSON {
		t.print()
	}
	return err
}

type intakeLedgerCmd struct {
	since
	Gaps bool `help:"Show what does not add up, one by one."`
}

func (c *intakeLedgerCmd) Run(e *env) error {
	from, err := c.at(time.Now())
	if err != nil {
		return err
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	l, err := cl.Ledger(e.ctx, from)
	if err != nil {
		return err
	}
	days := e.out.table(9, "DAY", "EVENTS", "RE-TAKEN", "STORED", "LISTED", "SUPPRESSED", "SAMPLES", "RESULTS", "GAPS")
	gaps := e.out.table(3, "DAY", "GAP", "FINDING", "OBJECT OR TIME", "MEANS")
	for _, d := range l.Days {
		if e.JSON && !c.Gaps {
			if err := e.out.element(d); err != nil {
				return err
			}
		}
		days.row(d.Day, fmt.Sprint(d.Events), fmt.Sprint(d.Retaken), fmt.Sprint(d.Stored), fmt.Sprint(d.Listed), fmt.Sprint(d.Suppressed),
			fmt.Sprint(d.Samples), fmt.Sprint(d.Results), fmt.Sprint(d.Gaps))
		for _, g := range d.Named {
			if e.JSON && c.Gaps {
				if err := e.out.element(g); err != nil {
					return err
				}
			}
			where := ""
			switch {
			case g.Object != nil:
				where = "s3://" + g.Object.Bucket + "/" + g.Object.Key
			case !g.Until.IsZero():
				where = g.Since.UTC().Format(time.RFC3339) + " to " + g.Until.UTC().Format(time.RFC3339)
			}
			gaps.row(d.Day, g.Kind, g.Finding, where, g.Means)
		}
	}
	if e.JSON {
		return nil
	}
	if c.Gaps {
		gaps.print()
	} else {
		days.print()
	}
	switch {
	case !l.Configured:
		e.out.say("\nNo Macie is configured: nothing is compared. Set macie: in config.yaml.")
	case l.Until.IsZero():
		e.out.say("\nNothing was compared yet: coffer intake reconcile.")
	default:
		e.out.say("\nCompared from %s until %s: %d events + %d re-taken = %d stored; %d suppressed; %s.", l.From.Local().Format(time.DateTime),
			l.Until.Local().Format(time.DateTime), l.Sum.Events, l.Sum.Retaken, l.Sum.Stored, l.Sum.Suppressed, plural(l.Sum.Gaps, "gap"))
	}
	return nil
}
