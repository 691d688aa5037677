package store

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"slices"
)

// Spread is a list whose items are spread over the parts Name#00, Name#01, ..., by a hash of their sorts, because an adapter may be
// able to bear only so many writes to one part: DynamoDB, the weakest, takes 1,000 units a second. Shards, 1 to 100, must not
// change for a list that exists.
type Spread struct {
	Name   string
	Shards int
}

// Key returns the key under which the list has the item with this sort.
func (s Spread) Key(sort string) Key {
	h := fnv.New32a()
	_, _ = h.Write([]byte(sort)) // never fails
	return Key{Part: s.part(int(h.Sum32() % uint32(s.Shards))), Sort: sort}
}

func (s Spread) part(shard int) string { return fmt.Sprintf("%s#%02d", s.Name, shard) }

// Parts returns the parts of the list, for whoever reads them one by one or at the same time because order does not matter.
func (s Spread) Parts() []string {
	out := make([]string, s.Shards)
	for i := range out {
		out[i] = s.part(i)
	}
	return out
}

// Query yields the items of the list as [DB.Query] yields those of a part: in order of sort over all shards, lazily. It holds one page
// of each shard. The first error ends it, but for one about a single item (coffer.ErrCorrupt with the item's key), behind which
// the caller can go on.
func (s Spread) Query(ctx context.Context, db DB, r Range) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		type head struct {
			it   Item
			err  error
			next func() (Item, error, bool)
		}
		var heads []head
		advance := func(h *head) (ok bool) {
			h.it, h.err, ok = h.next()
			return ok
		}
		for shard := range s.Shards {
			next, stop := iter.Pull2(db.Query(ctx, s.part(shard), r))
			defer stop()
			h := head{next: next}
			if advance(&h) {
				heads = append(heads, h)
			}
		}
		order := func(a, b head) int {
			if r.Reverse {
				a, b = b, a
			}
			return cmp.Compare(a.it.Key.Sort, b.it.Key.Sort)
		}
		for len(heads) > 0 {
			first := 0
			for i := range heads {
				// An error that is about no item comes before all items.
				if heads[i].err != nil && heads[i].it.Key == (Key{}) {
					yield(Item{}, heads[i].err)
					return
				}
				if order(heads[i], heads[first]) < 0 {
					first = i
				}
			}
			if !yield(heads[first].it, heads[first].err) {
				return
			}
			if !advance(&heads[first]) {
				heads = slices.Delete(heads, first, first+1)
			}
		}
	}
}
