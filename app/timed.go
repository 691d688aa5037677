package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"coffer"
	"coffer/access"
	"coffer/job"
	"coffer/remedy"
)

// stagesFor is how old what is left of an unfinished write is before it is removed: no write takes that long.
const stagesFor = 24 * time.Hour

// ReconcileEvery is how often what came in is compared with what Macie lists.
const ReconcileEvery = time.Hour

// maxPurges bounds the plans of one job that ends grace periods.
const maxPurges = 1000

// Service is the installation itself as a caller, for work that nobody asked for, such as what time brings. name says which part.
func (a *App) Service(name, request string) access.Ask {
	return access.Ask{
		Caller:  access.Caller{ID: name, Name: strings.ReplaceAll(name, "-", " "), Kind: access.ServiceCaller, Roles: []string{access.RoleService}},
		Context: access.Context{Now: a.Now(), Request: request},
	}
}

// Due hands to the workers what time brings and what they can do alone, on behalf of ask: the kept originals whose grace period is over, a
// comparison with Macie if the last one ended longer than every ago, the removal of what crashed writers left. It returns these jobs and
// those that wait from before, all to be told of. What cannot be found out is an error; the rest is returned none the less.
func (a *App) Due(ctx context.Context, ask access.Ask, every time.Duration) ([]*job.Job, error) {
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	hand := func(j *job.Job) error {
		_, err := a.Jobs.Hand(ctx, ask, j.ID)
		if errors.Is(err, coffer.ErrConflict) {
			return nil // it ended meanwhile
		}
		return err
	}
	begin := func(kind string, params map[string]string, refs []string) error {
		if len(refs) == 0 {
			return nil
		}
		// Named after what it is about, so that it is made once, whoever else looks.
		name := hex.EncodeToString(a.MAC("due", []byte(kind+"\x00"+a.Now().UTC().Format(time.DateOnly)+"\x00"+strings.Join(refs, "\x00")))[:16])
		j, err := a.Jobs.Named(ctx, ask.Caller, name, kind, params, refs)
		if err != nil {
			return err
		}
		return hand(j)
	}
	over, err := a.Remedy.Expired(ctx, maxPurges)
	if err == nil {
		err = begin(remedy.PurgeJob, nil, over)
	}
	note("grace periods", err)
	left, err := a.abandoned(ctx)
	if err == nil && left {
		err = begin(remedy.SweepJob, nil, []string{"stages"})
	}
	note("unfinished writes", err)
	run, err := a.reconciliation(ctx, ask, every)
	if err == nil && run != nil {
		err = hand(run)
	}
	note("comparison with Macie", err)
	waiting, err := a.Jobs.Waiting(ctx)
	note("jobs that wait", err)
	return waiting, errors.Join(errs...)
}

// abandoned reports whether a journal names an upload that nobody can be at any more.
func (a *App) abandoned(ctx context.Context) (bool, error) {
	for _, to := range []string{"objects", "originals"} {
		for up, err := range (uploads{a.DB, to}).Uploads(ctx) {
			if err != nil {
				return false, err
			}
			if a.Now().Sub(up.Started) > stagesFor {
				return true, nil
			}
		}
	}
	return false, nil
}

// SweepStages removes what crashed writers left in the storages, and returns how much.
func (a *App) SweepStages(ctx context.Context) (int, error) {
	n, err := a.Objects.Sweep(ctx, stagesFor)
	if err != nil {
		return n, fmt.Errorf("unfinished writes of objects: %w", err)
	}
	m, err := a.Originals.Sweep(ctx, stagesFor)
	if err != nil {
		err = fmt.Errorf("unfinished writes of kept originals: %w", err)
	}
	return n + m, err
}
