// Package storetest is the specification of [store.DB] as tests. Every adapter, and the decorator of package store, runs it.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coffer"
	"coffer/store"
)

// Test runs the suite. open returns an empty DB of its own for each call; the suite closes it.
func Test(t *testing.T, open func(t *testing.T) store.DB) {
	for _, law := range []struct {
		name string
		test func(t *testing.T, db store.DB)
	}{
		{"GetMissing", getMissing},
		{"Expectations", expectations},
		{"AllOrNone", allOrNone},
		{"RetryAfterLostAcknowledgement", retry},
		{"Limits", limits},
		{"AnyBytes", anyBytes},
		{"CopiesInAndOut", copies},
		{"Expires", expires},
		{"OrderAndRanges", ranges},
		{"LargePages", largePages},
		{"ApplyInsideQuery", applyInsideQuery},
		{"StopEarly", stopEarly},
		{"ScanPartitions", scan},
		{"Counters", counters},
		{"Transfers", transfers},
		{"Cancelled", cancelled},
		{"Scrub", scrub},
		{"Closed", closed},
	} {
		t.Run(law.name, func(t *testing.T) {
			db := open(t)
			t.Cleanup(func() { _ = db.Close() })
			law.test(t, db)
		})
	}
	t.Run("Model", func(t *testing.T) { model(t, open) })
}

func key(part, sort string) store.Key { return store.Key{Part: part, Sort: sort} }

func item(part, sort, version, value string) store.Item {
	return store.Item{Key: key(part, sort), Version: version, Value: []byte(value)}
}

func put(it store.Item, expect string) store.Op {
	return store.Op{Verb: store.Put, Item: it, Expect: expect}
}

func del(k store.Key, expect string) store.Op {
	return store.Op{Verb: store.Delete, Item: store.Item{Key: k}, Expect: expect}
}

func check(k store.Key, expect string) store.Op {
	return store.Op{Verb: store.Check, Item: store.Item{Key: k}, Expect: expect}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// same reports whether two items are equal, an absent value being an empty one.
func same(a, b store.Item) bool {
	return a.Key == b.Key && a.Version == b.Version && a.Expires.Equal(b.Expires) && bytes.Equal(a.Value, b.Value)
}

func holds(t *testing.T, db store.DB, want store.Item) {
	t.Helper()
	got, err := db.Get(t.Context(), want.Key)
	must(t, err)
	if !same(got, want) {
		t.Fatalf("item has version %q and %d bytes, want version %q and %d bytes", got.Version, len(got.Value), want.Version, len(want.Value))
	}
}

func missing(t *testing.T, db store.DB, k store.Key) {
	t.Helper()
	_, err := db.Get(t.Context(), k)
	wants(t, err, coffer.ErrNotFound)
}

// applyAll applies ops, as many at once as there may be.
func applyAll(t *testing.T, db store.DB, ops []store.Op) {
	t.Helper()
	for chunk := range slices.Chunk(ops, store.MaxOps) {
		must(t, db.Apply(t.Context(), chunk...))
	}
}

func query(t *testing.T, db store.DB, part string, r store.Range) []store.Item {
	t.Helper()
	var items []store.Item
	for it, err := range db.Query(t.Context(), part, r) {
		must(t, err)
		if it.Key.Part != part {
			t.Fatalf("query yielded an item of another part")
		}
		items = append(items, it)
	}
	return items
}

func sorts(items []store.Item) []string {
	var s []string
	for _, it := range items {
		s = append(s, it.Key.Sort)
	}
	return s
}

func getMissing(t *testing.T, db store.DB) {
	missing(t, db, key("p", "s"))
	must(t, db.Apply(t.Context(), put(item("p", "s", "1", "v"), store.Absent)))
	missing(t, db, key("p", "t"))
	missing(t, db, key("q", "s"))
	if got := query(t, db, "q", store.Range{}); len(got) != 0 {
		t.Errorf("a part without items yielded %d", len(got))
	}
}

// expectations tries every verb with every expectation on an item that is absent, and one that has version "a".
func expectations(t *testing.T, db store.DB) {
	for i, c := range []struct {
		verb    store.Verb
		expect  string
		present bool // the item exists with version "a"
		ok      bool
	}{
		{store.Put, store.Absent, false, true},
		{store.Put, store.Any, false, true},
		{store.Put, "a", false, false},
		{store.Put, store.Absent, true, false},
		{store.Put, store.Any, true, true},
		{store.Put, "a", true, true},
		{store.Put, "b", true, false},

		{store.Delete, store.Absent, false, true},
		{store.Delete, store.Any, false, true},
		{store.Delete, "a", false, true}, // counts as done
		{store.Delete, store.Absent, true, false},
		{store.Delete, store.Any, true, true},
		{store.Delete, "a", true, true},
		{store.Delete, "b", true, false},

		{store.Check, store.Absent, false, true},
		{store.Check, store.Any, false, false},
		{store.Check, "a", false, false},
		{store.Check, store.Absent, true, false},
		{store.Check, store.Any, true, true},
		{store.Check, "a", true, true},
		{store.Check, "b", true, false},
	} {
		k := key("p"+strconv.Itoa(i), "s")
		old := store.Item{Key: k, Version: "a", Value: []byte("old")}
		if c.present {
			must(t, db.Apply(t.Context(), put(old, store.Absent)))
		}
		op := store.Op{Verb: c.verb, Item: store.Item{Key: k}, Expect: c.expect}
		if c.verb == store.Put {
			op.Item = store.Item{Key: k, Version: "new", Value: []byte("new")}
		}
		err := db.Apply(t.Context(), op)
		if c.ok && err != nil || !c.ok && !errors.Is(err, coffer.ErrConflict) {
			t.Errorf("verb %d expecting %q, present %v: error %v, want success %v", c.verb, c.expect, c.present, err, c.ok)
			continue
		}
		switch {
		case c.verb == store.Put && c.ok:
			holds(t, db, op.Item)
		case c.present && !(c.verb == store.Delete && c.ok):
			holds(t, db, old)
		default:
			missing(t, db, k)
		}
	}
}

func allOrNone(t *testing.T, db store.DB) {
	a, b := item("p", "a", "1", "x"), item("q", "b", "1", "y")
	must(t, db.Apply(t.Context(), put(a, store.Absent), put(b, store.Absent)))
	// The failing operation stands first, in the middle and last.
	changes := []store.Op{put(item("p", "a", "2", "z"), "1"), del(key("q", "b"), "1"), put(item("r", "c", "2", ""), store.Absent)}
	for i := range len(changes) + 1 {
		for _, bad := range []store.Op{
			check(key("z", "none"), "1"), check(key("z", "none"), store.Any), put(item("z", "none", "2", ""), "1"),
		} {
			wants(t, db.Apply(t.Context(), slices.Insert(slices.Clone(changes), i, bad)...), coffer.ErrConflict)
			holds(t, db, a)
			holds(t, db, b)
			missing(t, db, key("r", "c"))
			missing(t, db, key("z", "none"))
		}
	}
	must(t, db.Apply(t.Context(), append(changes, check(key("z", "none"), store.Absent))...))
	holds(t, db, changes[0].Item)
	missing(t, db, key("q", "b"))
	holds(t, db, changes[2].Item)
}

func retry(t *testing.T, db store.DB) {
	ops := []store.Op{
		put(item("p", "a", "t1", "x"), store.Absent),
		put(item("p", "b", "t2", "y"), store.Absent),
		del(key("p", "c"), "t0"),
	}
	must(t, db.Apply(t.Context(), put(item("p", "c", "t0", "z"), store.Absent)))
	for range 3 {
		must(t, db.Apply(t.Context(), ops...))
	}
	holds(t, db, ops[0].Item)
	holds(t, db, ops[1].Item)
	missing(t, db, key("p", "c"))
	// What counts as done is not done again.
	other := ops[0]
	other.Item.Value = []byte("different")
	must(t, db.Apply(t.Context(), other))
	holds(t, db, ops[0].Item)
	// Another writer with another version still conflicts.
	wants(t, db.Apply(t.Context(), put(item("p", "a", "t9", "x"), store.Absent)), coffer.ErrConflict)
	// A replaced item is not brought back by a late retry.
	must(t, db.Apply(t.Context(), put(item("p", "a", "t3", "w"), "t1")))
	wants(t, db.Apply(t.Context(), ops...), coffer.ErrConflict)
	holds(t, db, item("p", "a", "t3", "w"))
}

func limits(t *testing.T, db store.DB) {
	ctx := t.Context()
	long := func(n int) string { return strings.Repeat("k", n) }
	big := func(part string, n int) store.Item {
		return store.Item{Key: key(part, "s"), Version: "1", Value: bytes.Repeat([]byte{'v'}, n)}
	}
	// At the limit.
	it := big(long(store.MaxPart), store.MaxValue)
	it.Key.Sort = long(store.MaxSort)
	it.Version = long(store.MaxVersion)
	must(t, db.Apply(ctx, put(it, store.Absent)))
	holds(t, db, it)
	if got := query(t, db, it.Key.Part, store.Range{From: it.Key.Sort}); len(got) != 1 || !same(got[0], it) {
		t.Fatalf("query of the longest key yielded %d items", len(got))
	}
	must(t, db.Apply(ctx, del(it.Key, it.Version)))

	var hundred, tooMany, tooBig []store.Op
	for i := range store.MaxOps + 1 {
		op := put(item("many", fmt.Sprintf("%03d", i), "1", "v"), store.Absent)
		if i < store.MaxOps {
			hundred = append(hundred, op)
		}
		tooMany = append(tooMany, op)
	}
	for i := range store.MaxApplyBytes/store.MaxValue + 1 {
		tooBig = append(tooBig, put(big("big"+strconv.Itoa(i), store.MaxValue), store.Absent))
	}
	must(t, db.Apply(ctx, tooBig[1:]...))
	must(t, db.Apply(ctx, hundred...))
	if got := query(t, db, "many", store.Range{}); len(got) != store.MaxOps {
		t.Errorf("%d items, want %d", len(got), store.MaxOps)
	}

	// Beyond it. Adapters may leave room for the sealing of values, so values are well above.
	const room = 100
	for name, ops := range map[string][]store.Op{
		"no operation":        nil,
		"too many operations": tooMany,
		"too many bytes":      append(slices.Clone(tooBig), put(big("one more", room*store.MaxOps), store.Absent)),
		"value":               {put(big("p", store.MaxValue+room), store.Absent)},
		"empty part":          {put(item("", "s", "1", ""), store.Absent)},
		"empty sort":          {put(item("p", "", "1", ""), store.Absent)},
		"part":                {put(item(long(store.MaxPart+1), "s", "1", ""), store.Absent)},
		"sort":                {del(key("p", long(store.MaxSort+1)), store.Any)},
		"version":             {put(item("p", "s", long(store.MaxVersion+1), ""), store.Absent)},
		"no version":          {put(item("p", "s", store.Absent, ""), store.Absent)},
		"version Any":         {put(item("p", "s", store.Any, ""), store.Absent)},
		"expected version":    {check(key("p", "s"), long(store.MaxVersion+1))},
		"key twice":           {check(key("p", "s"), store.Absent), put(item("p", "s", "1", ""), store.Absent)},
		"unknown verb":        {{Verb: 99, Item: item("p", "s", "1", "")}},
		"no verb":             {{Item: item("p", "s", "1", "")}},
		"expiry before 1970":  {put(store.Item{Key: key("p", "s"), Version: "1", Expires: time.Unix(-5, 0)}, store.Absent)},
		"expiry after 9999":   {put(store.Item{Key: key("p", "s"), Version: "1", Expires: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}, store.Absent)},
	} {
		if err := db.Apply(ctx, ops...); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	missing(t, db, key("p", "s"))
	for _, k := range []store.Key{{}, key("", "s"), key("p", ""), key(long(store.MaxPart+1), "s"), key("p", long(store.MaxSort+1))} {
		_, err := db.Get(ctx, k)
		wants(t, err, coffer.ErrInvalid)
	}
	for _, part := range []string{"", long(store.MaxPart + 1)} {
		wantsOne(t, db.Query(ctx, part, store.Range{}), coffer.ErrInvalid)
	}
	for _, s := range [][2]int{{-1, 1}, {1, 1}, {0, 0}, {0, -1}, {0, store.MaxShards + 1}} {
		wantsOne(t, db.Scan(ctx, s[0], s[1]), coffer.ErrInvalid)
	}
}

// wantsOne demands that the sequence is one error.
func wantsOne(t *testing.T, seq func(func(store.Item, error) bool), want error) {
	t.Helper()
	n := 0
	for _, err := range seq {
		wants(t, err, want)
		n++
	}
	if n != 1 {
		t.Fatalf("yielded %d times, want one error", n)
	}
}

func anyBytes(t *testing.T, db store.DB) {
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	values := []string{"", "\x00", string(all), "\xff\xfe", "'; DROP TABLE items; --", "é\u202e", strings.Repeat("\x00", 5000)}
	for i, v := range values {
		for j, k := range []string{"\x00", "\xff", "a\x00b", "a", "a\x00", "ü", "%_", string(all[:200])} {
			it := item(k+strconv.Itoa(i), k, "v\x00\xff"+strconv.Itoa(j), v)
			must(t, db.Apply(t.Context(), put(it, store.Absent)))
			holds(t, db, it)
			must(t, db.Apply(t.Context(), check(it.Key, it.Version)))
		}
	}
}

func copies(t *testing.T, db store.DB) {
	v := []byte("value")
	it := store.Item{Key: key("p", "s"), Version: "1", Value: v}
	must(t, db.Apply(t.Context(), put(it, store.Absent)))
	if string(v) != "value" {
		t.Fatal("Apply changed the caller's value")
	}
	clear(v)
	got, err := db.Get(t.Context(), it.Key)
	must(t, err)
	clear(got.Value)
	for _, q := range query(t, db, "p", store.Range{}) {
		clear(q.Value)
	}
	holds(t, db, item("p", "s", "1", "value"))
}

func expires(t *testing.T, db store.DB) {
	past := time.Date(2001, 2, 3, 4, 5, 6, 789, time.FixedZone("", 3600))
	for i, e := range []time.Time{{}, past, time.Now().Add(time.Hour), time.Unix(1, 0), time.Unix(253402300799, 999)} {
		it := store.Item{Key: key("p", strconv.Itoa(i)), Version: "1", Expires: e}
		must(t, db.Apply(t.Context(), put(it, store.Absent)))
		got, err := db.Get(t.Context(), it.Key)
		// An item that has expired may be gone, and may be there.
		if errors.Is(err, coffer.ErrNotFound) && !e.IsZero() && e.Before(time.Now()) {
			continue
		}
		must(t, err)
		if e.IsZero() != got.Expires.IsZero() || !e.IsZero() && (got.Expires.Unix() != e.Unix() || got.Expires.Nanosecond() != 0 || got.Expires.Location() != time.UTC) {
			t.Errorf("expires %v, want %v to the second, in UTC", got.Expires, e)
		}
	}
	// Replacing an item replaces its expiry.
	must(t, db.Apply(t.Context(), put(item("p", "2", "2", ""), "1")))
	holds(t, db, item("p", "2", "2", ""))
}

func ranges(t *testing.T, db store.DB) {
	names := []string{
		"\x00", "\x00\x00", "\x01", "0", "00", "1", "10", "2", "A", "B", "a", "a\x00", "a\x00\x00", "a\x01", "aa", "b", "z", "~",
		"\x7f", "\x80", "\xc3\xa9", "\xff", "\xff\x00", "\xff\xff",
	}
	for i := range 70 {
		names = append(names, fmt.Sprintf("n%03d", i))
	}
	slices.Sort(names)
	shuffled := slices.Clone(names)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	var ops []store.Op
	for _, n := range shuffled {
		ops = append(ops, put(item("p", n, "1", n), store.Absent))
	}
	applyAll(t, db, ops)
	// Neighbouring parts must not leak in.
	for _, p := range []string{"o", "p\x00", "pp", "q"} {
		must(t, db.Apply(t.Context(), put(item(p, "a", "1", ""), store.Absent)))
	}
	bounds := append([]string{"", "a\x00\x00\x00", "c", "n", "n02", "n045\x00", "o", "\xff\xff\xff"}, names[:4]...)
	for _, from := range bounds {
		for _, to := range bounds {
			var want []string
			for _, n := range names {
				if n >= from && (to == "" || n < to) {
					want = append(want, n)
				}
			}
			if got := sorts(query(t, db, "p", store.Range{From: from, To: to})); !slices.Equal(got, want) {
				t.Fatalf("range %q to %q: got %d items, want %d in order", from, to, len(got), len(want))
			}
			slices.Reverse(want)
			if got := sorts(query(t, db, "p", store.Range{From: from, To: to, Reverse: true})); !slices.Equal(got, want) {
				t.Fatalf("range %q to %q reversed: got %d items, want %d in order", from, to, len(got), len(want))
			}
		}
	}
}

// largePages has more bytes than an adapter reads at once.
func largePages(t *testing.T, db store.DB) {
	const n = 24
	for i := range n {
		must(t, db.Apply(t.Context(), put(item("p", fmt.Sprintf("%02d", i), "1", strings.Repeat(string(rune('a'+i)), 200_000)), store.Absent)))
	}
	for _, reverse := range []bool{false, true} {
		got := query(t, db, "p", store.Range{Reverse: reverse})
		if reverse {
			slices.Reverse(got)
		}
		if len(got) != n {
			t.Fatalf("%d items, want %d", len(got), n)
		}
		for i, it := range got {
			if it.Key.Sort != fmt.Sprintf("%02d", i) || len(it.Value) != 200_000 || it.Value[0] != byte('a'+i) {
				t.Fatalf("item %d is not what was put", i)
			}
		}
	}
}

func applyInsideQuery(t *testing.T, db store.DB) {
	const n = 60
	var ops []store.Op
	for i := range n {
		ops = append(ops, put(item("p", fmt.Sprintf("%04d", i), "1", "old"), store.Absent))
	}
	applyAll(t, db, ops)
	for round, reverse := range []bool{false, true} {
		seen := map[string]bool{}
		expect := strconv.Itoa(round + 1)
		for it, err := range db.Query(t.Context(), "p", store.Range{Reverse: reverse}) {
			must(t, err)
			if seen[it.Key.Sort] {
				t.Fatal("an item came twice")
			}
			seen[it.Key.Sort] = true
			if strings.Contains(it.Key.Sort, "x") {
				must(t, db.Apply(t.Context(), del(it.Key, store.Any)))
				continue
			}
			// Replace this one and put a new one behind it.
			must(t, db.Apply(t.Context(),
				put(item("p", it.Key.Sort, strconv.Itoa(round+2), "new"), expect),
				put(item("p", it.Key.Sort+"x", "1", "more"), store.Any)))
		}
		for i := range n {
			if !seen[fmt.Sprintf("%04d", i)] {
				t.Fatalf("item %d was not seen", i)
			}
		}
	}
	// Delete everything while reading it.
	for it, err := range db.Query(t.Context(), "p", store.Range{}) {
		must(t, err)
		must(t, db.Apply(t.Context(), del(it.Key, it.Version)))
	}
	if left := query(t, db, "p", store.Range{}); len(left) != 0 {
		t.Errorf("%d items left", len(left))
	}
}

func stopEarly(t *testing.T, db store.DB) {
	const items = 12
	for i := range items {
		must(t, db.Apply(t.Context(), put(item("p", fmt.Sprintf("%02d", i), "1", ""), store.Absent)))
	}
	for range 20 { // more often than an adapter has connections
		for it, err := range db.Query(t.Context(), "p", store.Range{Reverse: true}) {
			must(t, err)
			if it.Key.Sort != "11" {
				t.Fatalf("last item is %q", it.Key.Sort)
			}
			break
		}
		for _, err := range db.Scan(t.Context(), 0, 1) {
			must(t, err)
			break
		}
	}
	// Queries inside queries.
	n := 0
	for a, err := range db.Query(t.Context(), "p", store.Range{}) {
		must(t, err)
		for b, err := range db.Query(t.Context(), "p", store.Range{From: a.Key.Sort}) {
			must(t, err)
			for _, err := range db.Query(t.Context(), "p", store.Range{From: b.Key.Sort, To: b.Key.Sort + "\x00"}) {
				must(t, err)
				n++
			}
		}
	}
	if n != items*(items+1)/2 {
		t.Errorf("nested queries yielded %d", n)
	}
}

func scan(t *testing.T, db store.DB) {
	want := map[store.Key]bool{}
	var ops []store.Op
	for i := range 400 {
		it := item(fmt.Sprintf("part-%d", i/5), fmt.Sprintf("sort-%d", i%5), "1", "v")
		if i%40 == 0 {
			it.Key.Part, it.Key.Sort = string([]byte{byte(i / 40)}), "\x00"
		}
		want[it.Key] = true
		ops = append(ops, put(it, store.Absent))
	}
	applyAll(t, db, ops)
	for _, of := range []int{1, 2, 3, 7, 16, 255} {
		got := map[store.Key]bool{}
		shardOf := map[string]int{}
		for shard := range of {
			for it, err := range db.Scan(t.Context(), shard, of) {
				must(t, err)
				if got[it.Key] {
					t.Fatalf("scan of %d shards yielded an item twice", of)
				}
				got[it.Key] = true
				if s, ok := shardOf[it.Key.Part]; ok && s != shard {
					t.Fatalf("scan of %d shards split a part", of)
				}
				shardOf[it.Key.Part] = shard
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("scan of %d shards yielded %d items, want %d", of, len(got), len(want))
		}
	}
}

// counters is the lost update test: goroutines increment by compare-and-swap.
func counters(t *testing.T, db store.DB) {
	const workers, rounds, keys = 16, 12, 3
	var token atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				k := key("counter", strconv.Itoa((w+i)%keys))
				for {
					old, expect := 0, store.Absent
					it, err := db.Get(context.Background(), k)
					switch {
					case err == nil:
						old, _ = strconv.Atoi(string(it.Value))
						expect = it.Version
					case !errors.Is(err, coffer.ErrNotFound):
						t.Error(err)
						return
					}
					next := store.Item{Key: k, Version: strconv.FormatInt(token.Add(1), 10), Value: []byte(strconv.Itoa(old + 1))}
					err = db.Apply(context.Background(), put(next, expect))
					if err == nil {
						break
					}
					if !errors.Is(err, coffer.ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, it := range query(t, db, "counter", store.Range{}) {
		n, _ := strconv.Atoi(string(it.Value))
		sum += n
	}
	if sum != workers*rounds {
		t.Errorf("counters add up to %d, want %d", sum, workers*rounds)
	}
}

// transfers moves amounts between accounts in different parts; the sum of a checked read never changes.
func transfers(t *testing.T, db store.DB) {
	const accounts, start = 4, 100
	account := func(i int) store.Key { return key("account"+strconv.Itoa(i), "balance") }
	for i := range accounts {
		must(t, db.Apply(t.Context(), put(store.Item{Key: account(i), Version: "0", Value: []byte(strconv.Itoa(start))}, store.Absent)))
	}
	read := func(i int) (int, string, error) {
		it, err := db.Get(context.Background(), account(i))
		n, _ := strconv.Atoi(string(it.Value))
		return n, it.Version, err
	}
	var token atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 7))
			for range 25 {
				from, to := r.IntN(accounts), r.IntN(accounts)
				if from == to {
					continue
				}
				a, va, err := read(from)
				if err != nil {
					t.Error(err)
					return
				}
				b, vb, err := read(to)
				if err != nil {
					t.Error(err)
					return
				}
				n := r.IntN(20)
				err = db.Apply(context.Background(),
					put(store.Item{Key: account(from), Version: "t" + strconv.FormatInt(token.Add(1), 10), Value: []byte(strconv.Itoa(a - n))}, va),
					put(store.Item{Key: account(to), Version: "t" + strconv.FormatInt(token.Add(1), 10), Value: []byte(strconv.Itoa(b + n))}, vb))
				if err != nil && !errors.Is(err, coffer.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	// An auditor whose checks all hold has seen one state.
	var snapshots int
	for range 200 {
		sum := 0
		var checks []store.Op
		for i := range accounts {
			n, v, err := read(i)
			must(t, err)
			sum += n
			checks = append(checks, check(account(i), v))
		}
		switch err := db.Apply(t.Context(), checks...); {
		case err == nil:
			snapshots++
			if sum != accounts*start {
				t.Fatalf("a consistent read adds up to %d, want %d", sum, accounts*start)
			}
		case !errors.Is(err, coffer.ErrConflict):
			t.Fatal(err)
		}
	}
	wg.Wait()
	sum := 0
	for i := range accounts {
		n, _, err := read(i)
		must(t, err)
		sum += n
	}
	if sum != accounts*start {
		t.Errorf("the accounts add up to %d, want %d", sum, accounts*start)
	}
	t.Logf("%d consistent reads meanwhile", snapshots)
}

func cancelled(t *testing.T, db store.DB) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wants(t, db.Apply(ctx, put(item("p", "s", "1", "v"), store.Absent)), context.Canceled)
	missing(t, db, key("p", "s"))
	_, err := db.Get(ctx, key("p", "s"))
	wants(t, err, context.Canceled)
	wantsOne(t, db.Query(ctx, "p", store.Range{}), context.Canceled)
	wantsOne(t, db.Scan(ctx, 0, 1), context.Canceled)
}

func scrub(t *testing.T, db store.DB) {
	must(t, db.Apply(t.Context(), put(item("p", "s", "1", "v"), store.Absent), put(item("p", "t", "1", "w"), store.Absent)))
	must(t, db.Apply(t.Context(), del(key("p", "s"), "1")))
	must(t, store.Scrub(t.Context(), db))
	missing(t, db, key("p", "s"))
	holds(t, db, item("p", "t", "1", "w"))
	must(t, db.Apply(t.Context(), put(item("p", "s", "2", "x"), store.Absent)))
	holds(t, db, item("p", "s", "2", "x"))
}

func closed(t *testing.T, db store.DB) {
	must(t, db.Apply(t.Context(), put(item("p", "s", "1", "v"), store.Absent)))
	must(t, db.Close())
	wants(t, db.Apply(t.Context(), put(item("p", "t", "1", "v"), store.Absent)), coffer.ErrUnavailable)
	_, err := db.Get(t.Context(), key("p", "s"))
	wants(t, err, coffer.ErrUnavailable)
	wantsOne(t, db.Query(t.Context(), "p", store.Range{}), coffer.ErrUnavailable)
	wantsOne(t, db.Scan(t.Context(), 0, 1), coffer.ErrUnavailable)
}

// model compares a DB with a map under random sequences of calls.
func model(t *testing.T, open func(t *testing.T) store.DB) {
	db := open(t)
	t.Cleanup(func() { _ = db.Close() })
	// One DB serves all sequences, each in parts of its own, because opening one may cost a sync.
	sequence, token := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		sequence++
		ctx := context.Background()
		items := map[store.Key]store.Item{}
		part := func(t *rapid.T) string {
			return fmt.Sprintf("%d/%s", sequence, rapid.SampledFrom([]string{"a", "a\x00", "\xff"}).Draw(t, "part"))
		}
		keys := rapid.Custom(func(t *rapid.T) store.Key {
			return key(part(t), rapid.SampledFrom([]string{"\x00", "a", "a\x00", "b", "\xff"}).Draw(t, "sort"))
		})
		expect := func(t *rapid.T, k store.Key) string {
			current := items[k].Version // Absent if there is none
			return rapid.SampledFrom([]string{current, current, current, store.Any, store.Absent, "stale"}).Draw(t, "expect")
		}
		var last []store.Op // the last successful Apply, for retries
		apply := func(t *rapid.T, ops []store.Op) {
			next := maps.Clone(items)
			conflict := false
			for _, op := range ops {
				have, exists := items[op.Item.Key]
				var ok bool
				switch op.Expect { // spelled out, not store.Holds: this is the oracle
				case store.Any:
					ok = exists || op.Verb != store.Check
				case store.Absent:
					ok = !exists
				default:
					ok = exists && have.Version == op.Expect
				}
				switch op.Verb {
				case store.Put:
					if exists && have.Version == op.Item.Version {
						ok = true
					} else {
						next[op.Item.Key] = op.Item
					}
				case store.Delete:
					ok = ok || !exists
					delete(next, op.Item.Key)
				}
				conflict = conflict || !ok
			}
			err := db.Apply(ctx, ops...)
			if conflict && !errors.Is(err, coffer.ErrConflict) || !conflict && err != nil {
				t.Fatalf("apply gave %v, conflict expected: %v", err, conflict)
			}
			if !conflict {
				items, last = next, ops
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				var ops []store.Op
				for _, k := range rapid.SliceOfNDistinct(keys, 1, 4, rapid.ID[store.Key]).Draw(t, "keys") {
					op := store.Op{
						Verb: rapid.SampledFrom([]store.Verb{store.Put, store.Put, store.Delete, store.Check}).Draw(t, "verb"),
						Item: store.Item{Key: k}, Expect: expect(t, k),
					}
					if op.Verb == store.Put {
						token++
						op.Item.Version = "v" + strconv.Itoa(token)
						op.Item.Value = rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "value")
						if rapid.Bool().Draw(t, "expires") {
							op.Item.Expires = time.Unix(4_000_000_000+int64(token), 0).UTC()
						}
					}
					ops = append(ops, op)
				}
				apply(t, ops)
			},
			"retry": func(t *rapid.T) {
				if last != nil {
					apply(t, last)
				}
			},
			"get": func(t *rapid.T) {
				k := keys.Draw(t, "key")
				got, err := db.Get(ctx, k)
				want, ok := items[k]
				if ok && (err != nil || !same(got, want)) || !ok && !errors.Is(err, coffer.ErrNotFound) {
					t.Fatalf("get gave %v, item expected: %v", err, ok)
				}
			},
			"query": func(t *rapid.T) {
				p := part(t)
				bound := rapid.SampledFrom([]string{"", "\x00", "a", "a\x00", "aa", "b", "\xff", "\xff\xff"})
				r := store.Range{From: bound.Draw(t, "from"), To: bound.Draw(t, "to"), Reverse: rapid.Bool().Draw(t, "reverse")}
				var want []store.Item
				for k, it := range items {
					if k.Part == p && k.Sort >= r.From && (r.To == "" || k.Sort < r.To) {
						want = append(want, it)
					}
				}
				slices.SortFunc(want, func(a, b store.Item) int { return strings.Compare(a.Key.Sort, b.Key.Sort) })
				if r.Reverse {
					slices.Reverse(want)
				}
				var got []store.Item
				for it, err := range db.Query(ctx, p, r) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, it)
				}
				if !slices.EqualFunc(got, want, same) {
					t.Fatalf("query yielded %d items, want %d", len(got), len(want))
				}
			},
		})
	})
}
