package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/aws/aws-lambda-go/events"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/job"
	"coffer/macie"
	"coffer/pipeline"
)

// limits are those of the objects that a function reads; larger ones are left to a worker. What an archive of 32 MB holds is up to some
// hundred times as much, and the formats bound that.
var limits = pipeline.Limits{Object: 256 << 20, Archive: 32 << 20}

// atOnce is how many messages of a batch are worked at: most of the time goes into waiting for services.
const atOnce = 4

// batch takes a batch of messages and says which of them are to come again. Whatever is in doubt comes again: duplicates do no harm. What
// cannot be right whoever tries it is recorded in the store with the reason, and leaves the queue.
func (f *function) batch(ctx context.Context, o *opened, payload []byte) ([]byte, error) {
	var in events.SQSEvent
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, fmt.Errorf("the batch cannot be read: %w", coffer.ErrInvalid)
	}
	again := make([]bool, len(in.Records))
	var panicked atomic.Bool
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, m := range in.Records {
		again[i] = true // until it is known that it is done
		g.Go(func() error {
			defer func() {
				if v := recover(); v != nil {
					f.logger.ErrorContext(ctx, "a message panicked", "message", m.MessageId, "at", where(debug.Stack()))
					panicked.Store(true)
				}
			}()
			err := ctx.Err()
			if err == nil {
				err = f.message(ctx, o, m)
			}
			if again[i] = err != nil; again[i] {
				f.logger.WarnContext(ctx, "a message comes again", "message", m.MessageId, "error", err)
			}
			return nil
		})
	}
	_ = g.Wait() // always nil
	out := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for i, m := range in.Records {
		if again[i] || panicked.Load() {
			out.BatchItemFailures = append(out.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return json.Marshal(out)
}

// message does what a message is for. An error has it come again.
func (f *function) message(ctx context.Context, o *opened, m events.SQSMessage) error {
	if w, ok := app.ParseWake(m.Body); ok {
		return f.work(ctx, o, w.Job)
	}
	if f.role != app.Intake {
		f.logger.WarnContext(ctx, "a message names no job and is dropped", "message", m.MessageId)
		return nil
	}
	return f.intake(ctx, o, m)
}

// arrivedBy names the queue as where something came from, in the record of arrivals.
const arrivedBy = "events"

// intake takes in what an event of EventBridge holds. The event is nobody's word: package pipeline reads the finding again from Macie by its
// id, and without a Macie to ask it is a submitted one, for which nothing is read.
func (f *function) intake(ctx context.Context, o *opened, m events.SQSMessage) error {
	origin := coffer.OriginOperator
	if f.config.Macie == nil {
		origin = coffer.OriginSubmitted
	}
	ask := o.Service("intake", "sqs-"+m.MessageId)
	refusal := f.refusal(ctx, m.Body)
	for d, err := range macie.Decode(ctx, strings.NewReader(m.Body)) {
		if err != nil {
			return err
		}
		if d.Kind == macie.KindFinding {
			reason := refusal
			switch {
			case reason != "":
			case d.Form != macie.FormEvent:
				reason = "a finding that is in no event of EventBridge"
			case d.Finding.Region != "" && region(ctx) != "" && d.Finding.Region != region(ctx):
				reason = "a finding of another Region than this installation's"
			}
			if reason != "" {
				d.Kind, d.Reason, d.Finding = macie.KindForeign, reason, nil
			}
		}
		res, err := o.Pipeline.TakeDocument(ctx, ask, d, origin, arrivedBy)
		if err != nil {
			return err
		}
		if res.Left {
			if err := leave(ctx, o, ask, res.Finding); err != nil {
				return err
			}
		}
	}
	return nil
}

// leave makes a job of a finding whose object is beyond the limits.
func leave(ctx context.Context, o *opened, ask access.Ask, finding string) error {
	name := hex.EncodeToString(o.MAC("take", []byte(finding))[:16])
	j, err := o.Jobs.Named(ctx, ask.Caller, name, pipeline.TakeJob, nil, []string{finding})
	if err != nil {
		return err
	}
	if _, err := o.Jobs.Hand(ctx, ask, j.ID); err != nil && !errors.Is(err, coffer.ErrConflict) {
		return err
	}
	return o.queues.Wake(ctx, j)
}

// refusal returns why no finding of an event may be taken in, whatever it says of itself: "" when there is no reason. It is a first look, at
// what names who sent it; what is believed comes from Macie.
func (f *function) refusal(ctx context.Context, body string) string {
	var e struct {
		Source  string `json:"source"`
		Account string `json:"account"`
		Region  string `json:"region"`
	}
	if json.Unmarshal([]byte(body), &e) != nil || e.Source == "" {
		return "" // whatever it is, it is no event
	}
	accounts := f.accounts
	if len(accounts) == 0 {
		accounts = []string{account(ctx)}
	}
	switch {
	case e.Source != "aws.macie":
		return "an event of another source than Macie"
	case !slices.Contains(accounts, e.Account):
		return "an event of an account that is not among those of this installation"
	case region(ctx) != "" && e.Region != region(ctx):
		return "an event of another Region than this installation's"
	}
	return ""
}

// work takes up a job. When time is over before it is, another message tells the next worker of it; a job of which not even one item could be
// done in the time goes to the worker that has more.
func (f *function) work(ctx context.Context, o *opened, id string) error {
	before, err := o.Jobs.Get(ctx, id)
	switch {
	case errors.Is(err, coffer.ErrNotFound), err == nil && !before.Waits(o.Now()) && before.State != job.Running:
		return nil // it ended, or was never made
	case err != nil:
		return err
	case app.RoleOf(before.Kind) != f.role:
		return o.queues.Wake(ctx, before) // somebody else's
	}
	after, err := o.server.Work(ctx, id, nil)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, coffer.ErrConflict) && f.held(ctx, o, id):
		// Whoever is at it has a message of its own, and should it die without that, the schedule finds what waits. Were this one kept, it would
		// come as often as a message may while a worker is at a long job, and end among the dead letters.
		return nil
	case ctx.Err() == nil, after == nil:
		return err // at the next try, or with the next look at what waits
	case after.Done > before.Done:
		return o.queues.Tell(context.WithoutCancel(ctx), f.role, id)
	}
	return o.queues.Tell(context.WithoutCancel(ctx), app.Worker, id)
}

// held reports whether another worker is at a job, or has ended it.
func (f *function) held(ctx context.Context, o *opened, id string) bool {
	j, err := o.Jobs.Get(ctx, id)
	return err == nil && (j.State == job.Running || j.State.Ended())
}
