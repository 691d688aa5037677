package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"coffer"
	"coffer/store"
	"coffer/store/mem"
)

func TestSpread(t *testing.T) {
	db := new(mem.DB)
	list := store.Spread{Name: "L", Shards: 16}
	var want []string
	for i := range 500 {
		want = append(want, fmt.Sprintf("%x", i*i))
	}
	slices.Sort(want)
	want = slices.Compact(want)
	parts := map[string]int{}
	for _, i := range rand.Perm(len(want)) {
		k := list.Key(want[i])
		parts[k.Part]++
		put(t, db, store.Item{Key: k, Version: "1"})
	}
	if len(parts) != list.Shards {
		t.Errorf("500 items fell into %d shards", len(parts))
	}
	for part, n := range parts {
		if n > 3*len(want)/list.Shards {
			t.Errorf("shard %s has %d of %d items", part, n, len(want))
		}
	}
	for _, r := range []store.Range{{}, {From: want[7]}, {To: want[400]}, {From: want[100], To: want[300]}, {From: "zzz"}} {
		for _, r.Reverse = range []bool{false, true} {
			var some []string
			for _, s := range want {
				if s >= r.From && (r.To == "" || s < r.To) {
					some = append(some, s)
				}
			}
			if r.Reverse {
				slices.Reverse(some)
			}
			var got []string
			for it, err := range list.Query(t.Context(), db, r) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, it.Key.Sort)
			}
			if !slices.Equal(got, some) {
				t.Errorf("range %q to %q, reverse %v: %d items, want %d in order", r.From, r.To, r.Reverse, len(got), len(some))
			}
		}
	}
	for range list.Query(t.Context(), db, store.Range{}) {
		break // stops all shards' queries
	}
}

// TestSpreadErrors: a damaged item is passed on in its place; an outage of one shard ends the list.
func TestSpreadErrors(t *testing.T) {
	under := new(mem.DB)
	db := store.Sealed(under, testKey)
	list := store.Spread{Name: "L", Shards: 4}
	for i := range 20 {
		put(t, db, store.Item{Key: list.Key(fmt.Sprintf("%02d", i)), Version: "1"})
	}
	put(t, under, store.Item{Key: list.Key("07"), Version: "2", Value: []byte("nonsense")})
	n := 0
	for it, err := range list.Query(t.Context(), db, store.Range{}) {
		if (it.Key.Sort == "07") != errors.Is(err, coffer.ErrCorrupt) || it.Key.Sort != fmt.Sprintf("%02d", n) {
			t.Errorf("item %s: %v", it.Key.Sort, err)
		}
		n++
	}
	if n != 20 {
		t.Errorf("%d items", n)
	}
	var got []error
	for _, err := range list.Query(t.Context(), outage{db, list.Key("07").Part}, store.Range{}) {
		got = append(got, err)
	}
	if len(got) != 1 || !errors.Is(got[0], coffer.ErrUnavailable) {
		t.Errorf("with a shard that cannot be read: %v", got)
	}
}

// outage is a DB in which one part cannot be read.
type outage struct {
	store.DB
	part string
}

func (o outage) Query(ctx context.Context, part string, r store.Range) iter.Seq2[store.Item, error] {
	if part != o.part {
		return o.DB.Query(ctx, part, r)
	}
	return func(yield func(store.Item, error) bool) { yield(store.Item{}, coffer.ErrUnavailable) }
}
