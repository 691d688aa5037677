package s3

// Forget makes the store ask for the properties of its buckets again.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.buckets)
}

// Shrink divides S3's limits by k, so that a test needs few bytes. The server's own limits stay.
func (s *Store) Shrink(k int64) { s.limits = amazon.shrink(k) }

func (l limits) shrink(k int64) limits {
	l.put, l.minPart, l.maxPart, l.source, l.grown, l.stretch = l.put/k, l.minPart/k, l.maxPart/k, l.source/k, l.grown/k, l.stretch/k
	return l
}
