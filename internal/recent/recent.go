// Package recent holds what was used lately, within a bound.
package recent

// Map keeps values by key. When half of its bound is filled, what was not asked for since the other half was begun goes. It is not safe for
// concurrent use. The zero value with a Max is empty and ready for use.
type Map[K comparable, V any] struct {
	Max int // most of all sizes together

	// Two generations: a full one becomes the old one, and the old one is dropped. What is asked for comes back into the young one.
	young, old map[K]sized[V]
	size       int // of young
}

type sized[V any] struct {
	v    V
	size int
}

// Get returns the value of k.
func (m *Map[K, V]) Get(k K) (V, bool) {
	one, ok := m.young[k]
	if !ok {
		if one, ok = m.old[k]; ok {
			m.put(k, one)
		}
	}
	return one.v, ok
}

// Peek returns the value of k and does not count as use, so that it may be called by several at once while nobody calls another method.
func (m *Map[K, V]) Peek(k K) (V, bool) {
	one, ok := m.young[k]
	if !ok {
		one, ok = m.old[k]
	}
	return one.v, ok
}

// Put keeps v, of that size, as the value of k.
func (m *Map[K, V]) Put(k K, v V, size int) { m.put(k, sized[V]{v, size}) }

func (m *Map[K, V]) put(k K, one sized[V]) {
	if one.size > m.Max/2 {
		m.Delete(k)
		return
	}
	if was, ok := m.young[k]; ok {
		m.size -= was.size
	}
	if m.size+one.size > m.Max/2 {
		delete(m.young, k)
		m.old, m.young, m.size = m.young, nil, 0
	}
	if m.young == nil {
		m.young = make(map[K]sized[V])
	}
	m.young[k] = one
	m.size += one.size
	delete(m.old, k)
}

// Delete forgets k.
func (m *Map[K, V]) Delete(k K) {
	if one, ok := m.young[k]; ok {
		m.size -= one.size
		delete(m.young, k)
	}
	delete(m.old, k)
}

// Clear forgets everything.
func (m *Map[K, V]) Clear() { m.young, m.old, m.size = nil, nil, 0 }

// Len returns how many keys have values.
func (m *Map[K, V]) Len() int { return len(m.young) + len(m.old) }
