// Package job is for work that outlives a call: leases with epochs, so that one worker at a time does it and a late one is
// fenced off, and jobs with progress, results per item, cancelling and resuming.
package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"coffer"
	"coffer/store"
)

// Lease is the right to work on something until a time. Every later Apply of the work includes [Lease.Held], so that a worker
// whose lease was taken over changes nothing more. A Lease is not safe for concurrent use.
type Lease struct {
	Owner string    `json:"owner"`
	Epoch int64     `json:"epoch"` // grows with every holder
	Until time.Time `json:"until"`

	db      store.DB
	key     store.Key
	ttl     time.Duration
	now     func() time.Time
	version string
}

// Acquire takes the lease at key for ttl. If somebody else holds it the error wraps coffer.ErrConflict and says until when.
func Acquire(ctx context.Context, db store.DB, key store.Key, owner string, ttl time.Duration, now func() time.Time) (*Lease, error) {
	l := &Lease{Owner: owner, Epoch: 1, db: db, key: key, ttl: ttl, now: now}
	it, err := db.Get(ctx, key)
	switch {
	case errors.Is(err, coffer.ErrNotFound):
	case err != nil:
		return nil, fmt.Errorf("lease: %w", err)
	default:
		var held Lease
		if err := json.Unmarshal(it.Value, &held); err != nil {
			return nil, fmt.Errorf("lease: %w", coffer.ErrCorrupt)
		}
		if now().Before(held.Until) && held.Owner != owner {
			return nil, &BusyError{Owner: held.Owner, Until: held.Until}
		}
		l.Epoch, l.version = held.Epoch+1, it.Version
	}
	return l, l.write(ctx, l.now().Add(ttl))
}

// BusyError says who holds a lease and until when. It wraps coffer.ErrConflict.
type BusyError struct {
	Owner string
	Until time.Time
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("another worker is at it; its lease ends at %s unless it is renewed", e.Until.UTC().Format(time.RFC3339))
}

// Unwrap returns coffer.ErrConflict.
func (e *BusyError) Unwrap() error { return coffer.ErrConflict }

func (l *Lease) write(ctx context.Context, until time.Time) error {
	next := *l
	next.Until = until
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	v := store.NewVersion()
	err = l.db.Apply(ctx, store.Op{Verb: store.Put, Expect: l.version, Item: store.Item{Key: l.key, Value: b, Version: v}})
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	l.Until, l.version = until, v
	return nil
}

// Held returns the operation that demands that the lease is still ours.
func (l *Lease) Held() store.Op {
	return store.Op{Verb: store.Check, Expect: l.version, Item: store.Item{Key: l.key}}
}

// Renew prolongs the lease when less than half of it is left. Work that takes long calls it between steps.
func (l *Lease) Renew(ctx context.Context) error {
	if l.Until.Sub(l.now()) > l.ttl/2 {
		return nil
	}
	return l.write(ctx, l.now().Add(l.ttl))
}

// Release gives the lease up. A failure to do so is harmless: it ends by itself.
func (l *Lease) Release(ctx context.Context) {
	_ = l.write(context.WithoutCancel(ctx), l.now())
}
