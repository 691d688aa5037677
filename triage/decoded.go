package triage

import (
	"maps"
	"slices"
	"sync"

	"coffer/internal/recent"
	"coffer/store"
)

// decodedBytes is how many bytes of stored records and occurrences are kept decoded at most, counted as they are stored.
const decodedBytes = 16 << 20

// decoded keeps what was decoded of items, so that reading one again costs no decoding. An item is known by its key and its version, which is unique
// for each write and authenticated with the value; whether that version is still the one that is stored is for the store to say, each time.
// What is kept is what records hold: places, masked forms and notes, and no value.
type decoded struct {
	mu   sync.Mutex
	kept recent.Map[store.Key, decodedItem]
}

type decodedItem struct {
	version string
	is      any // *Record or []Line; nobody changes it
}

func (d *decoded) get(it *store.Item) any {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if one, ok := d.kept.Get(it.Key); ok && one.version == it.Version {
		return one.is
	}
	return nil
}

func (d *decoded) keep(it *store.Item, is any) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept.Max = decodedBytes
	d.kept.Put(it.Key, decodedItem{it.Version, is}, len(it.Key.Part)+len(it.Value))
}

// clone returns a copy of r that shares nothing with it that can be changed.
func (r *Record) clone() *Record {
	c := *r
	f := &c.Finding
	f.OnBucket.Tags, f.OnObject.Tags = slices.Clone(f.OnBucket.Tags), slices.Clone(f.OnObject.Tags)
	f.Detections, f.Occurrences = slices.Clone(f.Detections), slices.Clone(f.Occurrences)
	c.Stale, c.Tickets, c.Attempts = slices.Clone(c.Stale), slices.Clone(c.Tickets), slices.Clone(c.Attempts)
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
