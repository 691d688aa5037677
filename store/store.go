// Package store is a small ordered table with compare-and-swap: DynamoDB's natural shape, easy on an embedded engine. All
// state of Coffer is in it.
//
// Trust: none. Values are sealed by [Sealed] before they reach an adapter; keys hold only opaque ids, keyed hashes, types,
// states and times. What is read back is authenticated, so an adapter can lose or withhold items, or show an older state of
// them, but not alter them.
package store

import (
	"context"
	"fmt"
	"iter"
	"time"

	"coffer"
)

// Limits that every adapter enforces, taken from the weakest (DynamoDB), with room for the sealing of values.
const (
	MaxPart       = 1024      // bytes of Key.Part
	MaxSort       = 1024      // bytes of Key.Sort
	MaxValue      = 350 << 10 // bytes of Item.Value
	MaxOps        = 100       // operations in one Apply
	MaxApplyBytes = 3_500_000 // keys and values in one Apply
	MaxVersion    = 64        // bytes of Item.Version
	MaxShards     = 4096      // shards of a Scan
)

// sealOverhead is what [Sealed] adds to a value. Adapters leave that much room beyond the limits, so that the limits are the
// same for a caller with and without the decorator.
const sealOverhead = 1 + saltSize + nonceSize + tagSize

// Key names an item. Part groups items that are read together and spreads load; within a part items are ordered by the bytes
// of Sort. Neither may be empty.
type Key struct{ Part, Sort string }

// Item is a stored value. Version is a token that the writer chose, unique for each write. Expires is housekeeping: after it an
// item may disappear at any time, and until then and later readers must check it themselves. It is kept in whole seconds, the
// fraction dropped, and comes back in UTC. The zero time: never.
type Item struct {
	Key     Key
	Value   []byte
	Version string
	Expires time.Time
}

// Verb is what an Op does.
type Verb uint8

// The verbs.
const (
	Put Verb = iota + 1
	Delete
	Check // demands the expected version and changes nothing
)

// The special expectations of an Op.
const (
	Absent = ""  // the item must not exist
	Any    = "*" // whatever is there
)

// Op is one part of an Apply. Expect is the version that the item must have before it, or Absent or Any. A Check of Any demands
// that the item exists.
type Op struct {
	Verb   Verb
	Item   Item // Check and Delete use only the key
	Expect string
}

// Range bounds a Query by Sort: From inclusive, To exclusive; empty means unbounded.
type Range struct {
	From, To string
	Reverse  bool
}

// DB is the contract of the stores. The suite in storetest is its specification. All methods may be called concurrently, by
// several processes on one store.
type DB interface {
	// Get returns the item, strongly consistent; an error wrapping coffer.ErrNotFound when there is none.
	Get(ctx context.Context, k Key) (Item, error)
	// Query yields the items of one part in order of Sort. It pages lazily and is no snapshot: Apply inside the loop is
	// allowed, and what it changed may or may not be seen. Items yielded are strongly consistent as of their page.
	Query(ctx context.Context, part string, r Range) iter.Seq2[Item, error]
	// Scan yields every item whose part falls into the shard (0 <= shard < of), parts in no particular order. Same
	// consistency as Query. For check, rewrap, backup and rebuild.
	Scan(ctx context.Context, shard, of int) iter.Seq2[Item, error]
	// Apply performs all ops or none, durably and serialisably. If an expectation fails it returns an error wrapping
	// coffer.ErrConflict, except that a Put whose item already has exactly the Version it wants to write counts as
	// done, and a Delete whose item is absent counts as done unless it expected otherwise by a Check: so a retry after
	// a lost acknowledgement succeeds. (A Check is evaluated anew: if it fails in a retry, read what stands there.)
	// Other errors leave it open whether the ops happened; retry with the same versions. No two ops may name the same
	// key.
	Apply(ctx context.Context, ops ...Op) error
	// Close releases what the DB holds. Calls that are under way end first; later ones give coffer.ErrUnavailable.
	Close() error
}

// Scrubber is implemented by a DB that keeps the bytes of deleted and replaced items for a while and can be told to drop
// them, such as an embedded engine with a write-ahead log. See [Scrub].
type Scrubber interface {
	// Scrub returns when no file of the store holds a value that was deleted or replaced before the call. What the file
	// system and the disk keep of overwritten blocks is beyond it. If readers or writers stand in the way for too long
	// it returns an error wrapping coffer.ErrUnavailable.
	Scrub(ctx context.Context) error
}

// Scrub calls Scrub if db is a [Scrubber], through any decorator of this package; otherwise it does nothing. A purge calls
// it after its last Apply.
func Scrub(ctx context.Context, db DB) error {
	if s, ok := db.(Scrubber); ok {
		return s.Scrub(ctx)
	}
	return nil
}

// A Mark names a state of a part of one DB. See [MarkOf].
type Mark uint64

// Marker is implemented by a DB that can tell without reading that a part is as it was. See [MarkOf].
type Marker interface {
	MarkOf(part string) (Mark, bool)
}

// MarkOf returns the mark of a part of db, through any decorator of this package: a promise that what was read of the part while it had this
// mark is what would be read of it now, as consistent as [DB] says of reading, whichever process writes. Whoever keeps what they made of a part asks before and after they read it, and keeps it if the
// mark was the same; it is good for as long as the mark is. Not ok: nothing can be said, because db is no [Marker] or does not know the
// part just now.
func MarkOf(db DB, part string) (m Mark, ok bool) {
	if d, is := db.(Marker); is {
		return d.MarkOf(part)
	}
	return 0, false
}

// Validate checks ops against the limits, with the room that [Sealed] needs. Adapters call it first. Its errors wrap
// coffer.ErrInvalid and name no key.
func Validate(ops []Op) error { return validate(ops, sealOverhead) }

// validate checks ops against the limits, with room more bytes for each value.
func validate(ops []Op, room int) error {
	if len(ops) == 0 || len(ops) > MaxOps {
		return fmt.Errorf("apply of %d operations, at most %d: %w", len(ops), MaxOps, coffer.ErrInvalid)
	}
	total := 0
	seen := make(map[Key]struct{}, len(ops))
	for i, op := range ops {
		if err := ValidateKey(op.Item.Key); err != nil {
			return fmt.Errorf("operation %d: %w", i, err)
		}
		if _, dup := seen[op.Item.Key]; dup {
			return fmt.Errorf("operation %d names a key twice: %w", i, coffer.ErrInvalid)
		}
		seen[op.Item.Key] = struct{}{}
		if len(op.Expect) > MaxVersion {
			return fmt.Errorf("operation %d: expected version of %d bytes, at most %d: %w", i, len(op.Expect), MaxVersion, coffer.ErrInvalid)
		}
		total += len(op.Item.Key.Part) + len(op.Item.Key.Sort)
		switch op.Verb {
		case Put:
			total += len(op.Item.Value)
			if len(op.Item.Value) > MaxValue+room {
				return fmt.Errorf("operation %d: value of %d bytes, at most %d: %w", i, len(op.Item.Value), MaxValue+room, coffer.ErrInvalid)
			}
			if v := op.Item.Version; v == Absent || v == Any || len(v) > MaxVersion {
				return fmt.Errorf("operation %d: put without a usable version: %w", i, coffer.ErrInvalid)
			}
			if e := op.Item.Expires; !e.IsZero() && (e.Unix() <= 0 || e.Unix() > maxExpires) {
				return fmt.Errorf("operation %d: expiry out of range: %w", i, coffer.ErrInvalid)
			}
		case Delete, Check:
		default:
			return fmt.Errorf("operation %d: unknown verb: %w", i, coffer.ErrInvalid)
		}
	}
	if total > MaxApplyBytes+room*MaxOps {
		return fmt.Errorf("apply of %d bytes, at most %d: %w", total, MaxApplyBytes+room*MaxOps, coffer.ErrInvalid)
	}
	return nil
}

// Holds reports whether the expectation of op holds for an item that has this version, or does not exist. Adapters that
// read before they write share it, so that they agree. When it holds for a Put, the item need not be written if it has the
// version of the Put already.
func Holds(op Op, version string, exists bool) bool {
	switch {
	case op.Verb == Put && exists && version == op.Item.Version:
		return true // our own write, acknowledged or not
	case op.Verb == Delete && !exists:
		return true
	case op.Expect == Any:
		// A Check of Any demands that there is an item; Put and Delete take whatever is there.
		return exists || op.Verb != Check
	case op.Expect == Absent:
		return !exists
	}
	return exists && version == op.Expect
}

// maxExpires is the end of the year 9999, the last second that every adapter can write.
const maxExpires = 253402300799

// ValidateKey checks a key against the limits. Its error wraps coffer.ErrInvalid.
func ValidateKey(k Key) error {
	if k.Sort == "" || len(k.Sort) > MaxSort {
		return fmt.Errorf("key out of limits: %w", coffer.ErrInvalid)
	}
	return ValidatePart(k.Part)
}

// ValidatePart checks the part of a key, as in a Query, against the limits. Its error wraps coffer.ErrInvalid.
func ValidatePart(part string) error {
	if part == "" || len(part) > MaxPart {
		return fmt.Errorf("part of a key out of limits: %w", coffer.ErrInvalid)
	}
	return nil
}

// ValidateShard checks the arguments of a Scan. Its error wraps coffer.ErrInvalid.
func ValidateShard(shard, of int) error {
	if of < 1 || of > MaxShards || shard < 0 || shard >= of {
		return fmt.Errorf("shard %d of %d: %w", shard, of, coffer.ErrInvalid)
	}
	return nil
}
