package dynamo

import (
	"context"
	"time"
)

// DoNotWait lets retries follow each other at once.
func (db *DB) DoNotWait() {
	db.wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
}

// Attempts is how often a call is tried.
const Attempts = attempts
