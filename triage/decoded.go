package triage

import (
	"maps"
	"slices"
	"sync"

	"coffer/store"
)

// decodedBytes is how many bytes of stored records and occurrences are kept decoded at most, counted as they are stored.
const decodedBytes = 16 << 20

// decoded keeps what was decoded of items, so that reading one again costs no decoding. An item is known by its key and its version, which is unique
// for each write and authenticated with the value; whether that version is still the one that is stored is for the store to say, each time.
// What is kept is what records hold: places, masked forms and notes, and no value.
type decoded struct {
	mu sync.Mutex
	// Two generations: when the first is full it becomes the second, and the second is dropped. What is asked for comes back into the first.
	young, old map[store.Key]decodedItem
	size       int
}

type decodedItem struct {
	version string
	size    int
	is      any // *Record or []Line; nobody changes it
}

func (d *decoded) get(it *store.Item) any {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	one, ok := d.young[it.Key]
	if !ok {
		if one, ok = d.old[it.Key]; ok && one.version == it.Version {
			d.put(it.Key, one)
		}
	}
	if !ok || one.version != it.Version {
		return nil
	}
	return one.is
}

func (d *decoded) keep(it *store.Item, is any) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(it.Key, decodedItem{it.Version, len(it.Value), is})
}

func (d *decoded) put(k store.Key, one decodedItem) {
	if d.size += one.size - d.young[k].size; d.size > decodedBytes/2 {
		d.old, d.young, d.size = d.young, nil, one.size
	}
	if d.young == nil {
		d.young = map[store.Key]decodedItem{}
	}
	d.young[k] = one
}

// clone returns a copy of r that shares nothing with it that can be changed.
func (r *Record) clone() *Record {
	c := *r
	f := &c.Finding
	f.OnBucket.Tags, f.OnObject.Tags = slices.Clone(f.OnBucket.Tags), slices.Clone(f.OnObject.Tags)
	f.Detections, f.Occurrences = slices.Clone(f.Detections), slices.Clone(f.Occurrences)
	c.Stale, c.Tickets = slices.Clone(c.Stale), slices.Clone(c.Tickets)
	c.Outcomes, c.Tallies = maps.Clone(c.Outcomes), maps.Clone(c.Tallies)
	c.Confirmed, c.Closing = copied(c.Confirmed), copied(c.Closing)
	c.Read, c.Was = copied(c.Read), copied(c.Was)
	return &c
}

func cloneLines(lines []Line) []Line {
	out := slices.Clone(lines)
	for i := range out {
		out[i].Same = copied(out[i].Same)
	}
	return out
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
