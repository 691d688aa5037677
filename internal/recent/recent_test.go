package recent_test

import (
	"math/rand/v2"
	"testing"

	"coffer/internal/recent"
)

// TestModel compares with a map over random operations: what is there is what was put last, what was deleted is gone, and the sizes together
// stay within the bound.
func TestModel(t *testing.T) {
	type value struct{ n, size int }
	m := recent.Map[int, value]{Max: 100}
	model := map[int]value{}
	kept := 0
	for n := range 50_000 {
		k := rand.IntN(40)
		switch rand.IntN(8) {
		case 0:
			m.Delete(k)
			delete(model, k)
		case 1, 2, 3:
			v := value{n, 1 + rand.IntN(12)}
			m.Put(k, v, v.size)
			model[k] = v
			if got, ok := m.Peek(k); !ok || got != v {
				t.Fatalf("%v %v after %v was put", got, ok, v)
			}
		case 4:
			if rand.IntN(100) == 0 {
				m.Clear()
				clear(model)
			}
		default:
			got, ok := m.Get(k)
			want, is := model[k]
			if ok && (!is || got != want) {
				t.Fatalf("%v, want %v", got, want)
			}
			if ok {
				kept++
			} else {
				delete(model, k)
			}
		}
		sum, there := 0, 0
		for k := range 40 {
			if v, ok := m.Peek(k); ok {
				sum += v.size
				there++
			}
		}
		if sum > 100 || there != m.Len() {
			t.Fatalf("%d in all, %d keys of which %d have values", sum, m.Len(), there)
		}
	}
	if kept < 1000 {
		t.Errorf("only %d of the values that were asked for were there", kept)
	}
	m.Put(1, value{}, 3)
	if m.Put(1, value{}, 51); m.Len() != 0 {
		if _, ok := m.Peek(1); ok {
			t.Error("a value of more than half the bound is kept, or the one before it is")
		}
	}
}
