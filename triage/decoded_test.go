package triage

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"coffer"
	"coffer/store"
	"coffer/store/mem"
)

// fill sets everything in v that can be set, so that there is nothing that a copy could leave out unseen.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(k)
		fill(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(k, e)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int8:
		v.SetInt(1)
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(1)
	}
}

// shared names what two values share that can be changed through either.
func shared(path string, a, b reflect.Value) []string {
	var out []string
	switch a.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if a.Type() == reflect.TypeFor[*time.Location]() {
			return nil
		}
		if a.IsNil() {
			return []string{path + " is not filled in"}
		}
		if a.UnsafePointer() == b.UnsafePointer() {
			return []string{path}
		}
	}
	switch a.Kind() {
	case reflect.Pointer:
		return shared(path, a.Elem(), b.Elem())
	case reflect.Slice:
		return shared(path+"[0]", a.Index(0), b.Index(0))
	case reflect.Struct:
		for i := range a.NumField() {
			out = append(out, shared(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))...)
		}
	}
	return out
}

// TestClonesShareNothing: whoever reads a record may change what they have.
func TestClonesShareNothing(t *testing.T) {
	var r Record
	fill(reflect.ValueOf(&r).Elem())
	r.version = "v"
	c := r.clone()
	if !reflect.DeepEqual(&r, c) {
		t.Errorf("a clone of a record is another")
	}
	for _, what := range shared("Record", reflect.ValueOf(r), reflect.ValueOf(*c)) {
		t.Error(what)
	}
	lines := make([]Line, 1)
	fill(reflect.ValueOf(&lines[0]).Elem())
	copies := cloneLines(lines)
	if !reflect.DeepEqual(lines, copies) {
		t.Errorf("clones of lines are others")
	}
	for _, what := range shared("Line", reflect.ValueOf(lines), reflect.ValueOf(copies)) {
		t.Error(what)
	}
}

// TestDecodedFollowsTheStore: what another process writes or deletes is seen by the next read, however often the record was read before,
// and what a reader does with theirs is nobody else's.
func TestDecodedFollowsTheStore(t *testing.T) {
	ctx := context.Background()
	db := &mem.DB{}
	ours, theirs := NewRecords(db), NewRecords(db)
	fresh := &Record{Finding: coffer.Finding{ID: "f"}, Status: Open, Tickets: []string{"T-1"}}
	lines := []Line{{Occurrence: coffer.Occurrence{N: 1, Type: "T"}}}
	if err := db.Apply(ctx, append(fresh.Save(), SaveLines("f", lines)...)...); err != nil {
		t.Fatal(err)
	}
	read := func(rs Records) (*Record, []Line) {
		t.Helper()
		var rec *Record
		var lines []Line
		for range 2 {
			var err error
			if rec, err = rs.Get(ctx, "f"); err != nil {
				t.Fatal(err)
			}
			if lines, err = rs.Lines(ctx, "f"); err != nil {
				t.Fatal(err)
			}
		}
		return rec, lines
	}
	rec, got := read(ours)
	rec.Tickets[0], got[0].Verdict, rec.Status = "scribbled", FalsePositive, Closed
	if rec, got = read(ours); rec.Tickets[0] != "T-1" || got[0].Verdict != "" || rec.Status != Open {
		t.Error("what a reader changed is what the next one reads")
	}
	rec, got = read(theirs)
	rec.Owner, got[0].Verdict = "p-them", True
	if err := db.Apply(ctx, append(rec.Save(), SaveLines("f", got)...)...); err != nil {
		t.Fatal(err)
	}
	if rec, got = read(ours); rec.Owner != "p-them" || got[0].Verdict != True {
		t.Errorf("owner %q, verdict %q: not what was written last", rec.Owner, got[0].Verdict)
	}
	if err := db.Apply(ctx, store.Op{Verb: store.Delete, Item: store.Item{Key: store.Key{Part: part("f"), Sort: "meta"}}, Expect: store.Any}); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Get(ctx, "f"); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("a deleted record: %v", err)
	}
}

// TestDecodedIsBounded: however much is read, no more is kept than the bound says.
func TestDecodedIsBounded(t *testing.T) {
	d := new(decoded)
	it := store.Item{Value: make([]byte, 64<<10), Version: "v"}
	for i := range 4 * decodedBytes / len(it.Value) {
		it.Key = store.Key{Part: "p", Sort: string(rune(i + 1))}
		d.keep(&it, []Line{})
		if d.get(&it) == nil {
			t.Fatal("what was kept a moment ago is gone")
		}
	}
	if n := d.kept.Len() * len(it.Value); n > decodedBytes {
		t.Errorf("%d bytes are kept", n)
	}
}
