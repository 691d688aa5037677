package store_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"coffer"
	"coffer/store"
	"coffer/store/mem"
	"coffer/store/storetest"
)

var testKey = bytes.Repeat([]byte{7}, store.KeySize)

func TestSealed(t *testing.T) {
	storetest.Test(t, func(*testing.T) store.DB { return store.Sealed(new(mem.DB), testKey) })
}

func put(t *testing.T, db store.DB, it store.Item) {
	t.Helper()
	if err := db.Apply(t.Context(), store.Op{Verb: store.Put, Item: it, Expect: store.Any}); err != nil {
		t.Fatal(err)
	}
}

func TestSealedHidesAndBinds(t *testing.T) {
	ctx := t.Context()
	under := new(mem.DB)
	db := store.Sealed(under, testKey)
	value := bytes.Repeat([]byte("marker value "), 9)
	a := store.Item{Key: store.Key{Part: "p", Sort: "a"}, Version: "1", Value: value}
	b := store.Item{Key: store.Key{Part: "pa", Sort: "x"}, Version: "1", Value: value}
	put(t, db, a)
	put(t, db, b)
	raw, err := under.Get(ctx, a.Key)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw.Value, []byte("marker")) {
		t.Fatal("the value stands in the store below")
	}
	other, err := under.Get(ctx, b.Key)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(raw.Value, other.Value) || len(raw.Value) != len(other.Value) {
		t.Fatal("equal values must be sealed differently, at equal length")
	}

	var texts []string
	refused := func(name string, db store.DB, it store.Item) {
		t.Helper()
		put(t, under, it)
		got, err := db.Get(ctx, it.Key)
		if !errors.Is(err, coffer.ErrCorrupt) || got.Value != nil {
			t.Fatalf("%s: %v, %d bytes", name, err, len(got.Value))
		}
		texts = append(texts, err.Error())
	}
	changed := func(v []byte, version string) store.Item {
		return store.Item{Key: a.Key, Version: version, Value: v}
	}
	for i := range raw.Value {
		for bit := range 8 {
			v := bytes.Clone(raw.Value)
			v[i] ^= 1 << bit
			refused(fmt.Sprintf("bit %d of byte %d", bit, i), db, changed(v, "1"+fmt.Sprint(i, bit)))
		}
		refused("truncated", db, changed(raw.Value[:i], "t"+fmt.Sprint(i)))
	}
	// The versions above differ from the sealed one, which alone is refused too; so test the bytes under the true version.
	for i := range raw.Value {
		v := bytes.Clone(raw.Value)
		v[i] ^= 1
		put(t, under, changed(nil, "0"))
		refused("bit under the true version", db, changed(v, "1"))
	}
	put(t, under, changed(nil, "0"))
	refused("longer", db, changed(append(bytes.Clone(raw.Value), 0), "1"))
	put(t, under, changed(nil, "0"))
	refused("another item's value", db, changed(other.Value, "1"))
	refused("another version", db, changed(raw.Value, "2"))
	put(t, under, changed(nil, "0"))
	refused("another key", store.Sealed(under, bytes.Repeat([]byte{8}, store.KeySize)), changed(raw.Value, "1"))
	if got, err := db.Get(ctx, a.Key); err != nil || !bytes.Equal(got.Value, value) {
		t.Fatalf("the true bytes do not open: %v", err)
	}
	for _, s := range texts {
		if s != texts[0] {
			t.Fatalf("refusals differ: %q and %q", s, texts[0])
		}
	}

	// Part and sort are told apart: "p"+"ax" is not "pa"+"x".
	refused("moved boundary", db, store.Item{Key: store.Key{Part: "p", Sort: "ax"}, Version: "1", Value: other.Value})
}

// TestSealedGoesOn: one damaged item does not hide those behind it.
func TestSealedGoesOn(t *testing.T) {
	under := new(mem.DB)
	db := store.Sealed(under, testKey)
	for i := range 10 {
		put(t, db, store.Item{Key: store.Key{Part: "p", Sort: fmt.Sprint(i)}, Version: "1", Value: []byte("v")})
	}
	put(t, under, store.Item{Key: store.Key{Part: "p", Sort: "4"}, Version: "2", Value: []byte("nonsense")})
	for name, seq := range map[string]func(func(store.Item, error) bool){
		"query": db.Query(t.Context(), "p", store.Range{}), "scan": db.Scan(t.Context(), 0, 1),
	} {
		n := 0
		for it, err := range seq {
			if bad := it.Key.Sort == "4"; bad != errors.Is(err, coffer.ErrCorrupt) || bad && it.Value != nil {
				t.Errorf("%s: item %s: %v", name, it.Key.Sort, err)
			}
			n++
		}
		if n != 10 {
			t.Errorf("%s yielded %d items", name, n)
		}
	}
}

// TestSealedLimits: the limits above the decorator are those of the contract, to the byte; the room below is not for callers.
func TestSealedLimits(t *testing.T) {
	db := store.Sealed(new(mem.DB), testKey)
	for _, n := range []int{store.MaxValue, store.MaxValue + 1} {
		it := store.Item{Key: store.Key{Part: "p", Sort: fmt.Sprint(n)}, Version: "1", Value: make([]byte, n)}
		err := db.Apply(t.Context(), store.Op{Verb: store.Put, Item: it})
		if ok := n <= store.MaxValue; ok != (err == nil) || !ok && !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("value of %d bytes: %v", n, err)
		}
	}
	for _, total := range []int{store.MaxApplyBytes, store.MaxApplyBytes + 1} {
		var ops []store.Op
		const n = 20 // less than MaxOps, whose room below would hide what is too much above
		for i := range n {
			it := store.Item{Key: store.Key{Part: "q", Sort: fmt.Sprintf("%02d", i)}, Version: "1", Value: make([]byte, total/n-3)}
			if i == 0 {
				it.Value = append(it.Value, make([]byte, total%n)...)
			}
			ops = append(ops, store.Op{Verb: store.Put, Item: it, Expect: store.Any})
		}
		err := db.Apply(t.Context(), ops...)
		if ok := total <= store.MaxApplyBytes; ok != (err == nil) || !ok && !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("apply of %d bytes: %v", total, err)
		}
	}
}

// TestSealedVectors opens the values of the golden vectors, which a script made from docs/format-seal.md.
func TestSealedVectors(t *testing.T) {
	b, err := os.ReadFile("../envelope/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Store struct {
			Key    string
			Values []struct{ Part, Sort, Version, Value, Sealed string }
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	under := new(mem.DB)
	db := store.Sealed(under, unhex(v.Store.Key))
	for i, c := range v.Store.Values {
		k := store.Key{Part: string(unhex(c.Part)), Sort: string(unhex(c.Sort))}
		put(t, under, store.Item{Key: k, Version: c.Version, Value: unhex(c.Sealed)})
		if it, err := db.Get(t.Context(), k); err != nil || !bytes.Equal(it.Value, unhex(c.Value)) {
			t.Errorf("value %d: %v", i, err)
		}
	}
	if len(v.Store.Values) == 0 {
		t.Error("no vectors")
	}
}
