// Package mem keeps a store in memory. It is strict where real stores are lenient (limits, copies, small pages) and can be told to fail
// any call, before or after its effect, so that tests of whole workflows meet every failure.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"slices"
	"sync"
	"time"

	"coffer"
	"coffer/internal/fault"
	"coffer/store"
)

// page is the number of items that Query and Scan read in one call. It is small so that callers which apply inside the loop
// meet what they changed.
const page = 4

// DB is a store in memory. The zero DB is empty and ready.
type DB struct {
	// Fault, if set, counts and fails calls: store.Get, store.Query and store.Scan (one call a page), store.Apply. Set it before
	// the first call.
	Fault *fault.Injector

	mu     sync.Mutex
	closed bool
	items  map[store.Key]store.Item
	parts  map[string][]string // the sorts of each part, ordered
}

var _ store.DB = (*DB)(nil)

// Get implements [store.DB].
func (db *DB) Get(ctx context.Context, k store.Key) (store.Item, error) {
	if err := store.ValidateKey(k); err != nil {
		return store.Item{}, err
	}
	var got store.Item
	err := db.call(ctx, "store.Get", func() error {
		it, ok := db.items[k]
		if !ok {
			return fmt.Errorf("item: %w", coffer.ErrNotFound)
		}
		got = clone(it)
		return nil
	})
	if err != nil {
		return store.Item{}, err
	}
	return got, nil
}

// Query implements [store.DB].
func (db *DB) Query(ctx context.Context, part string, r store.Range) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		if err := store.ValidatePart(part); err != nil {
			yield(store.Item{}, err)
			return
		}
		for {
			var items []store.Item
			err := db.call(ctx, "store.Query", func() error {
				items = db.page(part, r)
				return nil
			})
			if err != nil {
				yield(store.Item{}, err)
				return
			}
			for _, it := range items {
				if !yield(it, nil) {
					return
				}
			}
			if len(items) < page {
				return
			}
			r = after(r, items[len(items)-1].Key.Sort)
		}
	}
}

// after returns what is left of r behind the item with this sort.
func after(r store.Range, sort string) store.Range {
	if r.Reverse {
		r.To = sort
	} else {
		r.From = sort + "\x00" // the least string above it
	}
	return r
}

// page returns copies of the first items in the range.
func (db *DB) page(part string, r store.Range) []store.Item {
	sorts := db.parts[part]
	from, _ := slices.BinarySearch(sorts, r.From)
	to := len(sorts)
	if r.To != "" {
		to, _ = slices.BinarySearch(sorts, r.To)
	}
	if from >= to {
		return nil
	}
	sorts = slices.Clone(sorts[from:to])
	if r.Reverse {
		sorts = sorts[max(0, len(sorts)-page):]
		slices.Reverse(sorts)
	}
	var items []store.Item
	for _, s := range sorts[:min(page, len(sorts))] {
		items = append(items, clone(db.items[store.Key{Part: part, Sort: s}]))
	}
	return items
}

// Scan implements [store.DB].
func (db *DB) Scan(ctx context.Context, shard, of int) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		if err := store.ValidateShard(shard, of); err != nil {
			yield(store.Item{}, err)
			return
		}
		var parts []string
		err := db.call(ctx, "store.Scan", func() error {
			for p := range db.parts {
				h := fnv.New32a()
				h.Write([]byte(p))
				if int(h.Sum32()%uint32(of)) == shard {
					parts = append(parts, p)
				}
			}
			return nil
		})
		if err != nil {
			yield(store.Item{}, err)
			return
		}
		slices.Sort(parts) // the same order of calls in every run of a test
		for _, p := range parts {
			for it, err := range db.Query(ctx, p, store.Range{}) {
				if !yield(it, err) || err != nil {
					return
				}
			}
		}
	}
}

// Apply implements [store.DB].
func (db *DB) Apply(ctx context.Context, ops ...store.Op) error {
	if err := store.Validate(ops); err != nil {
		return err
	}
	return db.call(ctx, "store.Apply", func() error {
		for i, op := range ops {
			have, ok := db.items[op.Item.Key]
			if !store.Holds(op, have.Version, ok) {
				return fmt.Errorf("operation %d: %w", i, coffer.ErrConflict)
			}
		}
		for _, op := range ops {
			have, ok := db.items[op.Item.Key]
			switch {
			case op.Verb == store.Put && !(ok && have.Version == op.Item.Version):
				db.put(op.Item, ok)
			case op.Verb == store.Delete && ok:
				db.remove(op.Item.Key)
			}
		}
		return nil
	})
}

func (db *DB) put(it store.Item, known bool) {
	if db.items == nil {
		db.items, db.parts = map[store.Key]store.Item{}, map[string][]string{}
	}
	it = clone(it)
	if !it.Expires.IsZero() {
		it.Expires = time.Unix(it.Expires.Unix(), 0).UTC()
	}
	db.items[it.Key] = it
	if !known {
		sorts := db.parts[it.Key.Part]
		i, _ := slices.BinarySearch(sorts, it.Key.Sort)
		db.parts[it.Key.Part] = slices.Insert(sorts, i, it.Key.Sort)
	}
}

func (db *DB) remove(k store.Key) {
	delete(db.items, k)
	sorts := db.parts[k.Part]
	i, _ := slices.BinarySearch(sorts, k.Sort)
	if sorts = slices.Delete(sorts, i, i+1); len(sorts) == 0 {
		delete(db.parts, k.Part)
	} else {
		db.parts[k.Part] = sorts
	}
}

// Close implements [store.DB]. The items are gone.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.closed, db.items, db.parts = true, nil, nil
	return nil
}

// call runs effect under the lock, through the injector.
func (db *DB) call(ctx context.Context, op string, effect func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return db.Fault.Call(op, func() error {
		db.mu.Lock()
		defer db.mu.Unlock()
		if db.closed {
			return fmt.Errorf("%s after close: %w", op, coffer.ErrUnavailable)
		}
		return effect()
	})
}

func clone(it store.Item) store.Item {
	it.Value = bytes.Clone(it.Value)
	return it
}
