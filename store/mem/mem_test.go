package mem_test

import (
	"errors"
	"testing"

	"coffer"
	"coffer/internal/fault"
	"coffer/store"
	"coffer/store/mem"
	"coffer/store/storetest"
)

func TestDB(t *testing.T) {
	storetest.Test(t, func(*testing.T) store.DB { return new(mem.DB) })
}

// TestFault fails each call of a short history on either side of its effect.
func TestFault(t *testing.T) {
	it := store.Item{Key: store.Key{Part: "p", Sort: "s"}, Version: "1", Value: []byte("v")}
	op := store.Op{Verb: store.Put, Item: it, Expect: store.Absent}
	for _, when := range []fault.When{fault.Before, fault.After} {
		db := &mem.DB{Fault: fault.New(fault.Fault{Call: 1, When: when, Crash: true})}
		if err := db.Apply(t.Context(), op); !errors.Is(err, fault.ErrInjected) {
			t.Fatalf("apply: %v", err)
		}
		if _, err := db.Get(t.Context(), it.Key); !errors.Is(err, fault.ErrInjected) {
			t.Fatalf("get after the crash: %v", err)
		}
		db.Fault.Restart()
		_, err := db.Get(t.Context(), it.Key)
		if happened := err == nil; happened != (when == fault.After) || !happened && !errors.Is(err, coffer.ErrNotFound) {
			t.Fatalf("when %d: get after restart: %v", when, err)
		}
		// The retry succeeds either way.
		if err := db.Apply(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	db := &mem.DB{Fault: fault.New()}
	for range db.Query(t.Context(), "p", store.Range{}) {
	}
	for range db.Scan(t.Context(), 0, 1) {
	}
	if got := db.Fault.Trace(); len(got) != 2 || got[0] != "store.Query" || got[1] != "store.Scan" {
		t.Errorf("calls %v", got)
	}
}
