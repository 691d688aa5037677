package audit_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// stored returns how many entries each item of a writer's chain holds, by the item's number in order.
func (h *home) stored(writer string) (keys []store.Key, entries []int) {
	h.t.Helper()
	for _, block := range []string{"0", "1"} {
		for it, err := range h.db.Query(context.Background(), "audit/entry/"+writer+"/"+block, store.Range{}) {
			if err != nil {
				h.t.Fatal(err)
			}
			keys, entries = append(keys, it.Key), append(entries, bytes.Count(it.Value, []byte("\n"))+1)
		}
	}
	return keys, entries
}

// later gives l as many entries for later as are written at once.
func (h *home) later(l *audit.Log) {
	h.t.Helper()
	p, err := guard(l).Check(context.Background(), operator, access.FindingRead, finding, access.Context{Local: true})
	if err != nil {
		h.t.Fatal(err)
	}
	for range audit.LaterMax {
		if err := l.Later(context.Background(), p.Entry(audit.Done)); err != nil {
			h.t.Fatal(err)
		}
	}
}

// TestItemsShared: entries that are written together share an item, none of which goes beyond its block. The log is the same as if each had one
// of its own: two writers' entries stand in it by time, and the files can be made again from the store, where an item's entries lie apart in
// the log.
func TestItemsShared(t *testing.T) {
	ctx := context.Background()
	h := newHome(t)
	a, b := h.open(), h.open()
	appendN(t, a, 230)
	h.later(a)
	h.pass(-audit.LaterMax / 2 * time.Millisecond) // so that what b writes falls between what a did
	h.later(b)
	if _, n := h.stored(audit.Writer(a)); len(n) != 232 || n[230] != 256-230 || n[231] != audit.LaterMax-(256-230) {
		t.Errorf("items with %v entries", n)
	}
	if _, n := h.stored(audit.Writer(b)); len(n) != 1 || n[0] != audit.LaterMax {
		t.Errorf("items with %v entries", n)
	}
	young := len(all(t, a, audit.Filter{}))
	if err := a.Sequence(ctx); err != nil {
		t.Fatal(err)
	}
	turns := 0
	entries := all(t, a, audit.Filter{})
	for i := range entries[1:] {
		if entries[i].Writer != entries[i+1].Writer {
			turns++
		}
	}
	if want := 230 + 2*audit.LaterMax; len(entries) != want || young != want || turns < 3 {
		t.Errorf("%d entries, %d before they were sequenced, in turns of the writers: %d", len(entries), young, turns)
	}
	closeLog(t, a)
	closeLog(t, b)
	before := h.sound().Checkpoint
	if err := os.RemoveAll(h.log()); err != nil {
		t.Fatal(err)
	}
	c := h.open()
	if err := c.Sequence(ctx); err != nil {
		t.Fatal(err)
	}
	closeLog(t, c)
	if after := h.sound().Checkpoint; after.Size != before.Size || after.Root != before.Root {
		t.Error("the files that were made again are others")
	}
}

// TestItemsTampered: an item with several entries that is gone, cut short, or has an entry twice or in another place is noticed.
func TestItemsTampered(t *testing.T) {
	ctx := context.Background()
	for name, spoil := range map[string]func([][]byte) [][]byte{
		"first left out":  func(l [][]byte) [][]byte { return l[1:] },
		"middle left out": func(l [][]byte) [][]byte { return append(l[:3:3], l[4:]...) },
		"one twice":       func(l [][]byte) [][]byte { return append(l[:4:4], l[3:]...) },
		"two exchanged":   func(l [][]byte) [][]byte { l[3], l[4] = l[4], l[3]; return l },
		"end left out":    func(l [][]byte) [][]byte { return l[:len(l)-1] },
		"gone":            func([][]byte) [][]byte { return nil },
	} {
		h := newHome(t)
		l := h.open()
		h.later(l)
		appendN(t, l, 1)
		keys, _ := h.stored(audit.Writer(l))
		it, err := h.db.Get(ctx, keys[0])
		if err != nil {
			t.Fatal(err)
		}
		op := store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: it.Key}}
		if leaves := spoil(bytes.Split(it.Value, []byte("\n"))); leaves != nil {
			it.Value, it.Version = bytes.Join(leaves, []byte("\n")), "spoilt"
			op = store.Op{Verb: store.Put, Expect: store.Any, Item: it}
		}
		if err := h.db.Apply(ctx, op); err != nil {
			t.Fatal(err)
		}
		if err := l.Sequence(ctx); !errors.Is(err, coffer.ErrCorrupt) || !strings.Contains(err.Error(), audit.Writer(l)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
