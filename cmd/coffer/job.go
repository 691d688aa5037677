package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"coffer"
	"coffer/job"
)

type jobCmd struct {
	List   jobListCmd   `cmd:"" help:"List long work: what runs, in this process or another, and what ran."`
	Cancel jobCancelCmd `cmd:"" help:"Stop a job after the item that it is doing now."`
}

type jobListCmd struct {
	ID string `arg:"" optional:"" help:"Job id: show its items with their results."`
}

func (c *jobListCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	jobs, err := a.Jobs.List(e.ctx, e.ask())
	if err != nil {
		return err
	}
	if c.ID != "" {
		return e.jobItems(c.ID)
	}
	t := e.out.table(5, "JOB", "KIND", "STATE", "DONE", "STARTED", "LAST ERROR")
	for _, j := range jobs {
		if e.JSON {
			if err := e.out.element(j); err != nil {
				return err
			}
			continue
		}
		done := fmt.Sprintf("%d/%d", j.Done, j.Total)
		if j.Failed > 0 {
			done += fmt.Sprintf(", %d failed", j.Failed)
		}
		t.row(j.ID, j.Kind, string(j.State), done, j.Created.Local().Format(time.DateTime), j.Error)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

func (e *env) jobItems(id string) error {
	if _, err := e.app.Jobs.Get(e.ctx, id); err != nil {
		return err
	}
	items, err := e.app.Jobs.Items(e.ctx, id)
	if err != nil {
		return err
	}
	t := e.out.table(2, "ITEM", "STATE", "RESULT")
	for _, i := range items {
		if e.JSON {
			if err := e.out.element(i); err != nil {
				return err
			}
			continue
		}
		state, result := string(i.State), i.Result
		if state == "" {
			state = "-"
		}
		if i.Error != "" {
			result = i.Error
		}
		t.row(i.Ref, state, result)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

type jobCancelCmd struct {
	Job string `arg:"" help:"Job id."`
}

func (c *jobCancelCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	j, err := a.Jobs.Cancel(e.ctx, e.ask(), c.Job)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(j)
	}
	if j.State == job.Cancelled {
		e.out.say("%s is cancelled; %d of %s were done.", j.ID, j.Done, plural(j.Total, "item"))
	} else {
		e.out.say("%s ends after the item that it is doing now.", j.ID)
	}
	return nil
}

// resuming are the flags of commands that run as jobs.
type resuming struct {
	Resume string `help:"Take up a job that was interrupted, with what it was started with." placeholder:"JOB"`
}

// begin makes a job, or finds the one that is to be resumed. setup returns what a new one consists of.
func (e *env) begin(resume, kind string, setup func() (params map[string]string, refs []string, err error)) (*job.Job, error) {
	if resume != "" {
		j, err := e.app.Jobs.Get(e.ctx, resume)
		if err == nil && j.Kind != kind {
			err = fmt.Errorf("%s is a job of kind %s, not %s: %w", j.ID, j.Kind, kind, coffer.ErrInvalid)
		}
		return j, err
	}
	params, refs, err := setup()
	if err != nil {
		return nil, err
	}
	return e.app.Jobs.New(e.ctx, e.caller, kind, params, refs)
}

// work runs a job in the foreground, with progress. What went wrong with single items do has said already.
func (e *env) work(j *job.Job, what, resume string, do func(ctx context.Context, ref string) (string, error)) error {
	p := e.out.progress(what)
	ended, err := e.app.Jobs.Run(e.ctx, j.ID, do, func(j *job.Job) { p.at(j.Done+j.Failed, j.Total) })
	p.end()
	if err != nil {
		if ended != nil && !ended.State.Ended() && !errors.Is(err, coffer.ErrConflict) {
			err = fmt.Errorf("%w; what is left can be done with: %s --resume %s", err, resume, j.ID)
		}
		return err
	}
	switch ended.State {
	case job.Cancelled:
		return fmt.Errorf("%s was cancelled; %d of %s were done: %w", j.ID, ended.Done, plural(ended.Total, "item"), context.Canceled)
	case job.Failed:
		return &quietError{}
	}
	return nil
}
