package app

import (
	"context"
	"errors"
	"time"

	"coffer"
	"coffer/access"
	"coffer/job"
	"coffer/pipeline"
)

// Reconcile compares what came in with what Macie lists, if the last run ended longer than every ago: it takes up a run that was
// interrupted, or begins a new one. Without a Macie, and while another process is at it, it does nothing.
func (a *App) Reconcile(ctx context.Context, ask access.Ask, every time.Duration) error {
	run, err := a.reconciliation(ctx, ask, every)
	if err != nil || run == nil {
		return err
	}
	_, err = a.Jobs.Run(ctx, run.ID, func(ctx context.Context, ref string) (string, error) {
		ask := ask
		ask.Context.Now = a.Now()
		return a.Pipeline.ReconcileStep(ctx, ask, ref)
	}, nil)
	if errors.Is(err, coffer.ErrConflict) {
		return nil // another process is at it
	}
	return err
}

// reconciliation returns the run that is due: one that was interrupted, or a new one, at which nobody is. Nil: none is due.
func (a *App) reconciliation(ctx context.Context, ask access.Ask, every time.Duration) (*job.Job, error) {
	if a.macie == nil {
		return nil, nil
	}
	ended, err := a.Pipeline.Reconciled(ctx)
	if err != nil || a.Now().Sub(ended) < every {
		return nil, err
	}
	jobs, err := a.Jobs.All(ctx)
	if err != nil {
		return nil, err
	}
	var run *job.Job
	for _, j := range jobs {
		switch {
		case j.Kind != pipeline.ReconcileJob:
		case j.State == job.Running:
			return nil, nil
		case j.State == job.Interrupted:
			run = j
		}
	}
	if run != nil {
		return run, nil
	}
	steps, err := a.Pipeline.Reconcile(ctx, ask, time.Time{})
	if err != nil {
		return nil, err
	}
	return a.Jobs.New(ctx, ask.Caller, pipeline.ReconcileJob, nil, steps)
}
