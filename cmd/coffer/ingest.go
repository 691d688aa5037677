package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"coffer"
	"coffer/macie"
	"coffer/pipeline"
)

type ingestCmd struct {
	Input []string `arg:"" name:"file" help:"Files or folders with findings; - is standard input." placeholder:"FILE|DIR|-"`
}

// Help is the long help of the command.
func (ingestCmd) Help() string {
	return "One line is printed for each document. Exit code 1 if one of them failed; what is no sensitive data finding is skipped, with the reason."
}

// ingestLine is the contract of `coffer ingest --json`.
type ingestLine struct {
	Finding     *string         `json:"finding"`
	Object      *ingestObject   `json:"object"`
	Status      pipeline.Status `json:"status"`
	Occurrences int             `json:"occurrences"`
	Sealed      int             `json:"sealed"`
	Reason      string          `json:"reason"`
	Fetched     int64           `json:"fetched,omitempty"` // bytes of the object that came over the network
}

type ingestObject struct {
	Bucket    string `json:"bucket"`
	Key       string `json:"key"`
	VersionID string `json:"versionId"`
}

func (c *ingestCmd) Run(e *env) error {
	if _, err := e.open(); err != nil {
		return err
	}
	in := &intake{e: e, p: e.out.progress("ingest")}
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
	p       *progress
	counts  map[pipeline.Status]int
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
	for d, err := range macie.Decode(in.e.ctx, r) {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if d.Err != nil {
			d.Err = fmt.Errorf("%s: %w", name, d.Err)
		}
		res, err := in.e.app.Pipeline.TakeDocument(in.e.ctx, in.e.ask(), d, coffer.OriginOperator, filepath.Base(name))
		if err != nil {
			return fmt.Errorf("%s, document %d: %w", name, d.N, err)
		}
		if err := in.report(res); err != nil {
			return err
		}
	}
	return nil
}

func (in *intake) report(res pipeline.Result) error {
	if in.counts == nil {
		in.counts = map[pipeline.Status]int{}
		in.t = in.e.out.table(2, "STATUS", "FINDING", "OBJECT", "FOUND", "SEALED", "REASON")
	}
	in.counts[res.Status]++
	in.sealed += res.Sealed
	in.fetched += res.Fetched
	in.n++
	in.p.at(in.n, 0)
	if in.e.JSON {
		line := ingestLine{Status: res.Status, Occurrences: res.Occurrences, Sealed: res.Sealed, Reason: res.Reason, Fetched: res.Fetched}
		if res.IsFinding {
			line.Finding = &res.Finding
			line.Object = &ingestObject{res.Object.Bucket, res.Object.Key, res.Object.VersionID}
		}
		return in.e.out.element(line)
	}
	object := ""
	if res.Object != nil {
		object = "s3://" + res.Object.Bucket + "/" + res.Object.Key
	}
	in.t.row(string(res.Status), res.Finding, object, fmt.Sprint(res.Occurrences), fmt.Sprint(res.Sealed), res.Reason)
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
	if in.counts[pipeline.Failed] > 0 {
		return &quietError{}
	}
	return nil
}

type intakeCmd struct {
	List intakeListCmd `cmd:"" help:"List what came in, latest first."`
}

type intakeListCmd struct {
	Limit int `help:"Show at most this many." placeholder:"N"`
}

func (c *intakeListCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	list, err := a.Pipeline.ListArrivals(e.ctx, e.ask())
	if err != nil {
		return err
	}
	t := e.out.table(4, "LAST", "SEEN", "STATUS", "KIND", "FINDING", "REASON")
	for i, x := range list {
		if c.Limit > 0 && i == c.Limit {
			break
		}
		if e.JSON {
			if err := e.out.element(x); err != nil {
				return err
			}
			continue
		}
		t.row(x.Last.Format(time.DateTime), fmt.Sprint(x.Seen), string(x.Status), string(x.Kind), x.Finding, x.Reason)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}
