package main

import (
	"context"
	"fmt"
	"time"

	"coffer"
	"coffer/api"
	"coffer/client"
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
	cl, err := e.client()
	if err != nil {
		return err
	}
	if c.ID != "" {
		return e.jobItems(cl, c.ID)
	}
	jobs, err := cl.Jobs(e.ctx)
	if err != nil {
		return err
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
		t.row(j.Job, j.Kind, j.State, done, j.Created.Local().Format(time.DateTime), j.Error)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

func (e *env) jobItems(cl *client.Client, id string) error {
	t := e.out.table(2, "ITEM", "STATE", "RESULT")
	for i, err := range cl.Items(e.ctx, id) {
		if err != nil {
			return e.named("job", id, err)
		}
		if e.JSON {
			if err := e.out.element(i); err != nil {
				return err
			}
			continue
		}
		state, result := i.State, i.Result
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
	cl, err := e.client()
	if err != nil {
		return err
	}
	j, err := cl.Cancel(e.ctx, c.Job)
	if err != nil {
		return e.named("job", c.Job, err)
	}
	if e.JSON {
		return e.out.element(j)
	}
	if j.State == string(job.Cancelled) {
		e.out.say("%s is cancelled; %d of %s were done.", j.Job, j.Done, plural(j.Total, "item"))
	} else {
		e.out.say("%s ends after the item that it is doing now.", j.Job)
	}
	return nil
}

// resuming are the flags of commands that run as jobs.
type resuming struct {
	Resume string `help:"Take up a job that was interrupted, with what it was started with." placeholder:"JOB"`
}

// resume takes a job of a kind up again and follows it as [env.follow] does; each is told of the items that were not done before.
func (e *env) resume(cl *client.Client, id, kind, what, again string, each func(api.Item) error) (api.Job, error) {
	j, err := cl.Job(e.ctx, id)
	if err != nil {
		return j, e.named("job", id, err)
	}
	if j.Kind != kind {
		return j, fmt.Errorf("%s is a job of kind %s, not %s: %w", j.Job, j.Kind, kind, coffer.ErrInvalid)
	}
	done := map[string]bool{}
	for i, err := range cl.Items(e.ctx, id) {
		if err != nil {
			return j, err
		}
		done[i.Ref] = i.State == string(job.Done)
	}
	if j, err = cl.Resume(e.ctx, id); err != nil {
		return j, err
	}
	return e.follow(cl, j, done, what, again, each)
}

// follow shows how far a job has come until it ends, tells each, where it is not nil, of the items that are done and not in before, and
// says what went wrong with the others. In the process itself the job ends with the command, at a server it goes on without it.
func (e *env) follow(cl *client.Client, j api.Job, before map[string]bool, what, again string, each func(api.Item) error) (api.Job, error) {
	p := e.out.progress(what)
	var err error
	for now, werr := range cl.Watch(e.ctx, j.Job) {
		if err = werr; err != nil {
			break
		}
		j = now
		p.at(j.Done+j.Failed, j.Total)
	}
	p.end()
	if err == nil && !j.Over() {
		err = fmt.Errorf("%s was interrupted: %w", j.Job, coffer.ErrUnavailable)
		if j.Error != "" {
			err = fmt.Errorf("%s was interrupted: %w", j.Job, kept(j.Error))
		}
	}
	if err != nil {
		return j, fmt.Errorf("%w; what is left can be done with: %s --resume %s", err, again, j.Job)
	}
	for i, err := range cl.Items(e.ctx, j.Job) {
		switch {
		case err != nil:
			return j, err
		case i.State == string(job.Failed) && j.Kind != keyRotation: // pieces of the key table all fail alike
			err := kept(i.Error)
			e.fail(fmt.Errorf("%s: %w", i.Ref, err), code(err))
		case each != nil && i.State == string(job.Done) && !before[i.Ref]:
			if err := each(i); err != nil {
				return j, err
			}
		}
	}
	switch j.State {
	case string(job.Cancelled):
		return j, fmt.Errorf("%s was cancelled; %d of %s were done: %w", j.Job, j.Done, plural(j.Total, "item"), context.Canceled)
	case string(job.Failed):
		return j, &quietError{}
	}
	return j, nil
}
