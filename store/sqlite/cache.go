package sqlite

import (
	"slices"
	"sync"

	"coffer/internal/recent"
	"coffer/store"
)

const (
	cacheBytes = 32 << 20 // most bytes of items that the cache holds, about
	cacheEntry = 64 << 10 // a part that is larger is not kept
)

// state names a state of the file: the header of the write-ahead log's index, which holds a count of commits, the log's random salts, its length
// and a checksum over all of it. No two states of a file have the same.
type state [6]uint64

// cache holds what was read, as it lies in the file, so sealed. What it answers is true of the moment at which it is asked: it
// answers only when the state of the file, as all processes share it, is the one of which it knows that every part it holds is as it was
// read. SQLite's own page cache keeps the same bytes in memory and is believed under the same condition; what this saves is the transaction in
// which SQLite makes sure, and the search.
//
// What holds: a part was read at the state at, or at a later one; the file never comes back to a state. So when the file is at the state at,
// nothing was committed since, and the part is what SQLite would answer. A commit of this process moves at on, once the parts that it wrote are
// gone, if nothing else was committed since at. Any other commit empties the cache.
type cache struct {
	mu      sync.RWMutex
	at      state
	known   bool       // at is a state
	writing bool       // a commit of this process is under way
	marks   store.Mark // the last that was given
	parts   recent.Map[string, *kept]
}

// kept is what is known of a part. It does not change.
type kept struct {
	mark    store.Mark            // the same as long as the part stays here, and so as it is
	items   map[string]store.Item // by sort, without their keys; a zero version: there is none
	queries map[store.Range][]store.Item
	size    int
}

// get returns what the cache knows of k at the state s. found says whether there is such an item.
func (c *cache) get(s state, k store.Key) (it store.Item, found, known bool) {
	p := c.part(s, k.Part)
	if p == nil {
		return it, false, false
	}
	it, known = p.items[k.Sort]
	if !known || it.Version == "" {
		return store.Item{}, false, known
	}
	it.Key = k
	it.Value = slices.Clone(it.Value)
	return it, true, true
}

// query returns the items of a part in a range at the state s. They share their values with the cache.
func (c *cache) query(s state, part string, r store.Range) ([]store.Item, bool) {
	p := c.part(s, part)
	if p == nil {
		return nil, false
	}
	items, known := p.queries[r]
	return items, known
}

func (c *cache) part(s state, part string) *kept {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.known || c.at != s {
		return nil
	}
	p, _ := c.parts.Peek(part)
	return p
}

// keepItem keeps what was read of k, in a transaction that began after the file was at the state s: an item, or that there is none.
func (c *cache) keepItem(s state, now func() (state, bool), k store.Key, it *store.Item) {
	var v store.Item
	size := len(k.Sort) + 64
	if it != nil {
		v = store.Item{Value: slices.Clone(it.Value), Version: it.Version, Expires: it.Expires}
		size += len(v.Value)
	}
	c.keep(s, now, k.Part, size, func(p *kept) {
		if p.items == nil {
			p.items = map[string]store.Item{}
		}
		p.items[k.Sort] = v
	})
}

// keepQuery is the same for all items of a part in a range.
func (c *cache) keepQuery(s state, now func() (state, bool), part string, r store.Range, items []store.Item) {
	size := len(r.From) + len(r.To) + 64
	for _, it := range items {
		size += len(it.Key.Sort) + len(it.Value) + 64
	}
	if size > cacheEntry {
		return
	}
	list := make([]store.Item, len(items))
	for i, it := range items {
		it.Value = slices.Clone(it.Value)
		list[i] = it
	}
	c.keep(s, now, part, size, func(p *kept) {
		if p.queries == nil {
			p.queries = map[store.Range][]store.Item{}
		}
		p.queries[r] = list
	})
}

func (c *cache) keep(s state, now func() (state, bool), part string, size int, add func(*kept)) {
	if size > cacheEntry {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known || c.at != s {
		// While a commit of this process is under way the state is about to be moved on, and nothing need be lost.
		if c.writing {
			return
		}
		if current, ok := now(); !ok || current != s {
			return // what was read may be older than what is held
		}
		c.empty()
		c.at, c.known = s, true
	}
	p, _ := c.parts.Peek(part)
	c.marks++
	n := &kept{size: len(part) + 128, mark: c.marks}
	if p != nil && p.size+size <= cacheEntry {
		// Whoever has p reads it without a lock.
		n.size, n.mark = p.size, p.mark
		n.items, n.queries = cloned(p.items), cloned(p.queries)
	}
	n.size += size
	add(n)
	c.parts.Max = cacheBytes
	c.parts.Put(part, n, n.size)
}

func cloned[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return nil
	}
	n := make(map[K]V, len(m)+1)
	for k, v := range m {
		n[k] = v
	}
	return n
}

func (c *cache) empty() {
	c.parts.Clear()
	c.known = false
}

// begin says that a commit of this process comes.
func (c *cache) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = true
}

// end says that the commit is over. moved says that it led from the state before to the state after, and nothing else did; then what it
// wrote is forgotten and the rest is kept. Otherwise everything is forgotten.
func (c *cache) end(moved bool, before, after state, batch []*request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if !moved || !c.known || c.at != before {
		c.empty()
		return
	}
	for _, r := range batch {
		for _, op := range r.ops {
			if op.Verb != store.Check {
				c.parts.Delete(op.Item.Key.Part)
			}
		}
	}
	c.at = after
}
