package triage

import (
	"maps"
	"slices"
	"sync"

	"coffer/access"
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

// Detail is a finding with its occurrences as it stood in the store at one moment. It may be shared: nobody changes anything in it.
type Detail struct {
	Record   *Record
	Lines    []Line
	Resource access.Resource // the record's

	once sync.Once
	made any
}

// Made returns what by makes of the detail and of nothing that changes while the process runs. It is made once. A detail has one maker.
func (v *Detail) Made(by func() any) any {
	v.once.Do(func() { v.made = by() })
	return v.made
}

// details keeps what was made of whole findings for as long as the store says that they are as they were: each use asks it for its mark.
type details struct {
	mu   sync.Mutex
	kept recent.Map[string, markedDetail]
}

type markedDetail struct {
	mark   store.Mark
	detail *Detail
}

const (
	detailBytes = 16 << 20 // of details, about
	detailBase  = 8 << 10  // of one with its answer, about
	detailLine  = 1 << 10  // and for each occurrence
)

// kept returns the detail of a finding if one is kept that still holds; else nil. keep keeps one that was read after the call, if the finding
// did not change meanwhile.
func (rs Records) kept(id string) (v *Detail, keep func(*Detail)) {
	mark, marked := store.MarkOf(rs.DB, part(id))
	if !marked || rs.details == nil {
		return nil, func(*Detail) {}
	}
	rs.details.mu.Lock()
	defer rs.details.mu.Unlock()
	if one, ok := rs.details.kept.Get(id); ok && one.mark == mark {
		return one.detail, func(*Detail) {}
	}
	return nil, func(v *Detail) {
		if again, ok := store.MarkOf(rs.DB, part(id)); !ok || again != mark {
			return
		}
		rs.details.mu.Lock()
		defer rs.details.mu.Unlock()
		rs.details.kept.Max = detailBytes
		rs.details.kept.Put(id, markedDetail{mark, v}, detailBase+detailLine*len(v.Lines))
	}
}

// clone returns a copy of r that shares nothing with it that can be changed.
func (r *Record) clone() *Record {
	c := *r
	f := &c.Finding
	f.OnBucket.Tags, f.OnObject.Tags = slices.Clone(f.OnBucket.Tags), slices.Clone(f.OnObject.Tags)
	f.Detections, f.Occurrences = slices.Clone(f.Detections), slices.Clone(f.Occurrences)
	c.Stale, c.Tickets, c.Attempts = slices.Clone(c.Stale), slices.Clone(c.Tickets), slices.Clone(c.Attempts)
	c.Outcomes, c.Tallies, c.Identifiers = maps.Clone(c.Outcomes), maps.Clone(c.Tallies), maps.Clone(c.Identifiers)
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
