package main

import (
	"context"
	"errors"

	"coffer/app"
	"coffer/store"
)

// schedule does what time brings: it puts the entries of the log in order and under a signed checkpoint, hands to the other functions what is
// due, tells them of what waits, and delivers messages. Whatever of it fails, the rest is done. What expires DynamoDB removes by itself.
func (f *function) schedule(ctx context.Context, o *opened) ([]byte, error) {
	var errs []error
	if err := o.Log.Sequence(ctx); err != nil {
		errs = append(errs, err)
	}
	due, err := o.Due(ctx, o.Service("timed-work", "timed-"+store.NewVersion()), app.ReconcileEvery)
	if err != nil {
		errs = append(errs, err)
	}
	for _, j := range due {
		if err := o.queues.Wake(ctx, j); err != nil {
			errs = append(errs, err)
			break
		}
	}
	if err := o.Notifier.Step(ctx, o.Service("timed-work", "notify-"+store.NewVersion())); err != nil {
		errs = append(errs, err)
	}
	// What was handed out is on record too.
	if err := o.Log.Sequence(ctx); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		f.logger.ErrorContext(ctx, "timed work is not done", "error", err)
		return nil, err
	}
	return []byte(`{}`), nil
}
