package triage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"coffer"
	"coffer/store"
)

// Times of the change feed. The clocks of the machines on one store must agree to within a minute.
const (
	// feedNear is how far before the last reading the feed is read again: an entry can be stored later than the time in its key.
	feedNear = 10 * time.Second
	// feedFar is how far it is read again once in feedDeep, for what took long to be stored.
	feedFar  = 10 * time.Minute
	feedDeep = time.Minute
	// snapshotKept is how old a snapshot may be: less than entries of the feed are kept.
	snapshotKept = feedKept - 24*time.Hour
)

// reads is how many calls of the store are under way at once.
const reads = 8

// Index is what every list and every count comes from: all findings' summaries in memory, with a bitmap for each value of a field and
// the orders of lists. It is derived from the store, rebuilt at will and never the truth.
//
// It begins with a snapshot, if there is a young one, or with the list of findings, and then follows the change feed. Every query reads
// the feed first, so it sees each change whose Apply returned before, by this process or another, if that Apply took less than 10
// seconds; a change that took up to 10 minutes is seen within a minute, and a later one, which takes a machine that stood still
// in the middle of a write, by [Index.Follow] within about an hour or when the index is opened without a snapshot. Which states of two findings are seen together is not promised.
//
// Where the feed cannot be read, a query answers from what the index has and says as of when.
//
// All methods are safe for concurrent use. Several processes may have an index on one store.
type Index struct {
	records Records
	now     func() time.Time
	least   int // findings from which on a snapshot is kept

	mu     sync.RWMutex // guards the next four
	table  *table       // nil: not open
	asOf   time.Time    // every change stored before is in the table
	deep   time.Time    // of the last reading of the feed with feedFar
	change int          // rows that changed since the last snapshot

	turn    chan struct{} // held by whoever reads the store
	flight  sync.Mutex
	waiting *refresh // that begins when the turn is free
	part    int      // of the list, which Follow reads next
}

// refresh is one reading of the feed, for all who asked before it began.
type refresh struct {
	done chan struct{}
	err  error
}

// NewIndex returns the index of the findings in rs. It reads nothing.
func NewIndex(rs Records) *Index {
	return &Index{records: rs, now: time.Now, least: snapshotLeast, turn: make(chan struct{}, 1)}
}

// Query asks for a part of a list.
type Query struct {
	Filter Filter
	Order  Order     // empty: NewestFirst
	Limit  int       // findings in the page; 0: all
	After  *Place    // nil: from the beginning
	Facets []string  // fields whose values are counted over all that the filter selects; see FacetFields
	Now    time.Time // to which relative times refer
}

// Place is where a page ends and the next one begins. It stays good while findings come and change.
type Place struct {
	Key   int64  `json:"k"`
	ID    string `json:"i"`
	Back  bool   `json:"b,omitempty"` // the page is before this place, not behind it
	Shown int    `json:"n"`           // how many findings were before the page, when the place was made
}

// Page is a part of a list, with what is true of the whole list.
type Page struct {
	Findings []Summary
	Total    int // findings that the filter selects
	Values   int64
	Objects  int
	First    int // the number of the page's first finding in the list, from 1; 0: the page is empty
	Facets   map[string]Facet
	AsOf     time.Time // what was stored before is in the answer
	// Lag is why newer changes could not be read; nil: AsOf is when the query began, or later.
	Lag        error
	Next, Prev *Place // nil: there is nothing in that direction
}

// Query answers from the index, which it opens or brings up to date first. Errors wrap coffer.ErrInvalid for unknown facets and
// orders; any other means that the index could not be opened.
func (x *Index) Query(ctx context.Context, q Query) (Page, error) {
	var err error
	if q.Order, err = ParseOrder(string(q.Order)); err != nil {
		return Page{}, err
	}
	for _, name := range q.Facets {
		if !fields[name].facet {
			return Page{}, fmt.Errorf("counts by unknown field; fields are %s: %w", strings.Join(FacetFields(), ", "), coffer.ErrInvalid)
		}
	}
	lag := x.Refresh(ctx)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.table == nil {
		return Page{}, lag
	}
	if err := ctx.Err(); err != nil {
		return Page{}, err
	}
	t := x.table
	among := t.match(q.Filter, q.Now)
	p := Page{Total: t.size(among), AsOf: x.asOf, Lag: lag, Facets: map[string]Facet{}}
	p.Values, p.Objects = t.sums(among)
	for _, name := range q.Facets {
		p.Facets[name] = t.facet(name, among)
	}
	var after *place
	back, shown := false, 0
	if q.After != nil {
		after, back, shown = &place{q.After.Key, q.After.ID}, q.After.Back, q.After.Shown
	}
	rows, more := t.page(among, q.Order, after, back, q.Limit)
	for _, row := range rows {
		p.Findings = append(p.Findings, t.summary(row))
	}
	if len(rows) == 0 {
		return p, nil
	}
	before := shown
	if back {
		before = max(0, shown-len(rows))
		if !more {
			before = 0
		}
	}
	p.First = before + 1
	s := t.sorting(q.Order)
	at := func(row uint32, back bool, shown int) *Place {
		pl := t.place(s, row)
		return &Place{Key: pl.key, ID: pl.id, Back: back, Shown: shown}
	}
	if back || more {
		p.Next = at(rows[len(rows)-1], false, before+len(rows))
	}
	if !back && after != nil || back && more {
		p.Prev = at(rows[0], true, before)
	}
	return p, nil
}

// Beside is where a finding stands in a list.
type Beside struct {
	At         int    // from 1; 0: the list does not have it, or not any more
	Of         int    // findings of the list
	Prev, Next string // ids of those between which it stands, or would; empty: there is none
}

// Beside returns where a finding stands in the list of a filter. A finding that there is none of gives coffer.ErrNotFound.
func (x *Index) Beside(ctx context.Context, f Filter, o Order, id string, now time.Time) (Beside, error) {
	o, err := ParseOrder(string(o))
	if err != nil {
		return Beside{}, err
	}
	lag := x.Refresh(ctx)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.table == nil {
		return Beside{}, lag
	}
	row, ok := x.table.rows[id]
	if !ok {
		return Beside{}, fmt.Errorf("finding %s in the index: %w", id, coffer.ErrNotFound)
	}
	among := x.table.match(f, now)
	out := Beside{Of: x.table.size(among)}
	at, before, behind := x.table.beside(among, o, row)
	if out.At = at; before != nil {
		out.Prev = x.table.ids[*before]
	}
	if behind != nil {
		out.Next = x.table.ids[*behind]
	}
	return out, nil
}

// Refresh opens the index, or brings it up to date: what was stored before the call is in it afterwards, as far as the comment on
// [Index] promises. Calls at the same time share one reading.
func (x *Index) Refresh(ctx context.Context) error {
	x.flight.Lock()
	r, lead := x.waiting, false
	if r == nil {
		r, lead = &refresh{done: make(chan struct{})}, true
		x.waiting = r
	}
	x.flight.Unlock()
	if lead {
		// Whoever joins relies on it, whatever becomes of the context of this caller; calls of the store have time limits of their own.
		go func(ctx context.Context) {
			x.turn <- struct{}{}
			x.flight.Lock()
			x.waiting = nil
			x.flight.Unlock()
			r.err = x.refresh(ctx)
			<-x.turn
			close(r.done)
		}(context.WithoutCancel(ctx))
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refresh does the work of Refresh. The caller has the turn, so nobody else changes the table.
func (x *Index) refresh(ctx context.Context) error {
	begin := x.now()
	if x.table == nil || begin.Sub(x.asOf) > snapshotKept {
		return x.open(ctx, begin)
	}
	from, deep := x.asOf.Add(-feedNear), x.deep
	if begin.Sub(x.deep) >= feedDeep {
		from, deep = x.deep.Add(-feedFar), begin
	}
	if err := x.follow(ctx, from, begin, deep); err != nil {
		return fmt.Errorf("index of findings: %w", err)
	}
	return nil
}

// open loads a snapshot and what changed since, or all of the list.
func (x *Index) open(ctx context.Context, begin time.Time) error {
	if t, asOf, err := loadSnapshot(ctx, x.records.DB); err == nil && begin.Sub(asOf) < snapshotKept {
		x.mu.Lock()
		x.table, x.change = t, 0
		x.mu.Unlock()
		if err := x.follow(ctx, asOf.Add(-feedFar), begin, begin); err != nil {
			x.mu.Lock()
			x.table = nil
			x.mu.Unlock()
			return fmt.Errorf("index of findings: %w", err)
		}
		return x.keep(ctx)
	}
	if err := x.rebuild(ctx, begin); err != nil {
		return fmt.Errorf("index of findings: %w", err)
	}
	return x.keep(ctx)
}

// rebuild reads the list into a new table.
func (x *Index) rebuild(ctx context.Context, begin time.Time) error {
	t := newTable()
	var mu sync.Mutex
	err := each(list.Parts(), func(part string) error {
		for s, err := range x.records.summaries(ctx, part) {
			if err != nil {
				return err
			}
			mu.Lock()
			t.put(&s)
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return err
	}
	x.mu.Lock()
	x.table, x.asOf, x.deep, x.change = t, begin, begin, t.len()
	x.mu.Unlock()
	return nil
}

// follow takes in what the feed says since from.
func (x *Index) follow(ctx context.Context, from, asOf, deep time.Time) error {
	var mu sync.Mutex
	changed := map[string]bool{}
	err := each(feed.Parts(), func(part string) error {
		for it, err := range x.records.DB.Query(ctx, part, store.Range{From: feedSort(from)}) {
			if err != nil {
				return fmt.Errorf("change feed: %w", err)
			}
			_, id, ok := strings.Cut(it.Key.Sort, "#")
			rev, err := strconv.ParseUint(string(it.Value), 10, 64)
			if !ok || err != nil {
				return fmt.Errorf("change feed: %w", coffer.ErrCorrupt)
			}
			// Nobody else changes the table.
			if row, have := x.table.rows[id]; !have || x.table.revision[row] < rev {
				mu.Lock()
				changed[id] = true
				mu.Unlock()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n := len(changed); n > 5000 && n > x.table.len()/4 {
		return x.rebuild(ctx, asOf)
	}
	var news []Summary
	var ids []string
	for id := range changed {
		ids = append(ids, id)
	}
	err = each(ids, func(id string) error {
		it, err := x.records.DB.Get(ctx, list.Key(id))
		if err != nil {
			return fmt.Errorf("list entry: %w", err)
		}
		var s Summary
		if json.Unmarshal(it.Value, &s) != nil {
			return fmt.Errorf("list entry: %w", coffer.ErrCorrupt)
		}
		mu.Lock()
		news = append(news, s)
		mu.Unlock()
		return nil
	})
	if err != nil {
		return err
	}
	x.put(news, asOf, deep)
	return nil
}

// put takes summaries into the table.
func (x *Index) put(news []Summary, asOf, deep time.Time) {
	// Findings that came together have numbers in one order, whatever goroutine read them first.
	slices.SortFunc(news, func(a, b Summary) int { return strings.Compare(a.ID, b.ID) })
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(news) > 1000 {
		x.table.sorted = map[Order]*sorting{}
	}
	for i := range news {
		if x.table.put(&news[i]) {
			x.change++
		}
	}
	x.asOf, x.deep = asOf, deep
}

// each calls f for all of the items, several at once, and returns the first error.
func each[T any](items []T, f func(T) error) error {
	var mu sync.Mutex
	var first error
	next := 0
	var wg sync.WaitGroup
	for range min(reads, len(items)) {
		wg.Go(func() {
			for {
				mu.Lock()
				if first != nil || next == len(items) {
					mu.Unlock()
					return
				}
				it := items[next]
				next++
				mu.Unlock()
				if err := f(it); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// Follow keeps the index up to date until ctx ends, so that queries find little to read, keeps the snapshot and compacts the feed. It is for
// processes that stay. report is told what fails; the index is tried again at the next tick.
func (x *Index) Follow(ctx context.Context, every time.Duration, report func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var swept, kept time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := x.Refresh(ctx)
		if now := x.now(); err == nil && now.Sub(swept) >= time.Minute {
			swept = now
			err = x.Sweep(ctx)
		}
		if now := x.now(); err == nil && now.Sub(kept) >= time.Hour {
			kept = now
			err = x.Compact(ctx)
		}
		if err != nil && ctx.Err() == nil {
			report(err)
		}
	}
}

// Sweep compares a part of the index, the next 64th at each call, with the list, and takes in what the feed did not tell.
func (x *Index) Sweep(ctx context.Context) error {
	if err := x.Refresh(ctx); err != nil {
		return err
	}
	x.turn <- struct{}{}
	defer func() { <-x.turn }()
	parts := list.Parts()
	var news []Summary
	for s, err := range x.records.summaries(ctx, parts[x.part%len(parts)]) {
		if err != nil {
			return err
		}
		if row, have := x.table.rows[s.ID]; !have || x.table.revision[row] < s.Revision {
			news = append(news, s)
		}
	}
	x.part++
	x.put(news, x.asOf, x.deep)
	return nil
}

// Compact stores a snapshot, if there is much that the last one does not have, and removes from the feed what is older than any snapshot
// that is still used.
func (x *Index) Compact(ctx context.Context) error {
	if err := x.Refresh(ctx); err != nil {
		return err
	}
	x.turn <- struct{}{}
	defer func() { <-x.turn }()
	return x.keep(ctx)
}

const (
	// snapshotLeast is from how many findings on a snapshot is kept: fewer are read from the list as quickly.
	snapshotLeast = 2000
	// compactMost is how many entries of the feed one compaction removes.
	compactMost = 5000
)

// keep does the work of Compact. The caller has the turn. What it does is for later: a failure is no failure of the index, unless
// the context has ended.
func (x *Index) keep(ctx context.Context) error {
	x.mu.RLock()
	due := x.table.len() >= x.least && x.change > x.table.len()/10
	x.mu.RUnlock()
	if due {
		err := x.save(ctx)
		if err != nil && !errors.Is(err, coffer.ErrConflict) {
			return err
		}
	}
	limit := feedSort(x.now().Add(-feedKept))
	return each(feed.Parts(), func(part string) error {
		var ops []store.Op
		for it, err := range x.records.DB.Query(ctx, part, store.Range{To: limit}) {
			if err != nil {
				return fmt.Errorf("compact the change feed: %w", err)
			}
			ops = append(ops, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: it.Key}})
			if len(ops) == compactMost/feed.Shards {
				break
			}
		}
		for batch := range slices.Chunk(ops, store.MaxOps) {
			if err := x.records.DB.Apply(ctx, batch...); err != nil {
				return fmt.Errorf("compact the change feed: %w", err)
			}
		}
		return nil
	})
}

// save stores a snapshot of the table.
func (x *Index) save(ctx context.Context) error {
	x.mu.RLock()
	b, asOf, n := x.table.encode(), x.asOf, x.table.len()
	x.mu.RUnlock()
	if err := storeSnapshot(ctx, x.records.DB, b, asOf); err != nil {
		return fmt.Errorf("snapshot of %d findings: %w", n, err)
	}
	x.mu.Lock()
	x.change = 0
	x.mu.Unlock()
	return nil
}
