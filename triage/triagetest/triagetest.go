// Package triagetest has what tests of packages above package triage need of it.
package triagetest

import (
	"context"

	"coffer/store"
)

// Forget removes the record of a finding, as another process does when it is gone. Its error wraps coffer.ErrNotFound when there is none.
func Forget(ctx context.Context, db store.DB, finding string) error {
	it, err := db.Get(ctx, store.Key{Part: "F#" + finding, Sort: "meta"})
	if err != nil {
		return err
	}
	return db.Apply(ctx, store.Op{Verb: store.Delete, Expect: it.Version, Item: store.Item{Key: it.Key}})
}
