package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"coffer"
	"coffer/api"
	"coffer/app"
	"coffer/job"
	"coffer/web"
)

type workerCmd struct {
	Once bool `help:"End when nothing waits."`
}

// Help is the long help of the command.
func (workerCmd) Help() string {
	return "Takes up what other processes have left to a worker: findings on large objects, fixes, whatever was interrupted. Several workers may run at once; a job is one's. " +
		"It asks the policies on behalf of who asked for the job. In the cloud its configuration comes from COFFER_STORE and the other variables that the functions on Lambda have."
}

// lookEvery is how often a worker looks for what waits when nobody tells it.
const lookEvery = 10 * time.Second

func (c *workerCmd) Run(e *env) error {
	e.logger = slog.New(slog.NewJSONHandler(e.stderr, nil)) // as of the server: it runs for days, and its log is collected
	opt := app.Options{
		Home: e.Home, Objects: e.Objects, Originals: e.Originals, Keys: e.Keys, Store: e.Store, Log: e.Log, Logger: e.logger, Role: app.Worker,
	}
	urls := map[app.Role]string{}
	if os.Getenv("COFFER_STORE") != "" {
		conf, err := app.Environment(os.Getenv)
		if err != nil {
			return err
		}
		opt.Config = &conf
		if url := os.Getenv("COFFER_WORKER_QUEUE"); url != "" {
			urls[app.Worker] = url
		}
	}
	a, err := app.Open(e.ctx, opt)
	if err != nil {
		return err
	}
	e.app = a
	var queues *app.Queues
	if len(urls) > 0 {
		if queues, err = a.OpenQueues(e.ctx, urls); err != nil {
			return err
		}
	}
	if e.api, err = a.API(web.Config{Logger: e.logger}); err != nil {
		return err
	}
	for {
		done, failed, err := c.round(e)
		switch {
		case e.ctx.Err() != nil:
			return nil //nolint:nilerr // told to end; what is left waits
		case c.Once && (err != nil || done+failed == 0):
			return err
		case c.Once && done == 0:
			return fmt.Errorf("%s could not be done now: %w", plural(failed, "job"), coffer.ErrUnavailable)
		case err != nil:
			e.logger.Warn("the jobs that wait cannot be listed", "error", err)
		case done > 0:
			continue
		}
		if queues != nil {
			if _, err := queues.Await(e.ctx, app.Worker); err == nil {
				continue
			} else if e.ctx.Err() == nil {
				e.logger.Warn("nobody tells of new jobs", "error", err)
			}
		}
		select {
		case <-e.ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// round does what waits, and returns how many jobs ended and how many could not be done now.
func (c *workerCmd) round(e *env) (done, failed int, err error) {
	waiting, err := e.app.Jobs.Waiting(e.ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, j := range waiting {
		if app.RoleOf(j.Kind) == app.API {
			continue // it opens sealed values
		}
		e.logger.Info("a job is taken up", "job", j.ID, "kind", j.Kind, "done", j.Done, "items", j.Total)
		bar := e.out.progress(j.Kind)
		j, err := e.api.Work(e.ctx, j.ID, func(j *job.Job) { bar.at(j.Done+j.Failed, j.Total) })
		bar.end()
		var busy *job.BusyError
		switch {
		case err == nil:
		case e.ctx.Err() != nil:
			e.logger.Info("told to end; the job waits for another worker", "job", j.ID, "done", j.Done, "items", j.Total)
			return done, failed, e.ctx.Err()
		case errors.As(err, &busy):
			e.logger.Info("another worker was quicker", "job", j.ID)
			continue
		case errors.Is(err, coffer.ErrConflict):
			e.logger.Warn("another worker has the job now, or it has ended", "job", j.ID, "error", err)
			continue
		default:
			failed++
			e.logger.Warn("a job stopped; it waits", "job", j.ID, "error", err)
			continue
		}
		done++
		if err := c.show(e, j); err != nil {
			return done, failed, err
		}
	}
	return done, failed, nil
}

func (c *workerCmd) show(e *env, j *job.Job) error {
	if e.JSON {
		return e.out.element(api.Job{
			Job: j.ID, Kind: j.Kind, By: j.By, State: string(j.State), Created: j.Created, Ended: j.Ended, Total: j.Total, Done: j.Done, Failed: j.Failed,
			Error: j.Error,
		})
	}
	line := fmt.Sprintf("%s  %s  %s, %d of %s", j.ID, j.Kind, j.State, j.Done, plural(j.Total, "item"))
	if j.Error != "" {
		line += ": " + j.Error
	}
	e.out.say("%s", safe(line))
	return nil
}
