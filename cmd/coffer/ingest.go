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
	List intakeListCmd `cmd:"" help:"List what came in, latest first."`
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
