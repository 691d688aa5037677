package format

import "bytes"

var lf = []byte{'\n'}

// LineEnds returns how many line terminators (LF, CRLF, CR, in any mixture) end in b[:n]. b goes on beyond n, or the document
// ends with it: the byte after a CR says whether the CR is a terminator or half of one.
func LineEnds(b []byte, n int) int64 {
	const block = 16 << 10 // passes twice through the nearest cache
	ends := int64(0)
	for i := 0; i < n; {
		to := min(n, i+block)
		ends += int64(bytes.Count(b[i:to], lf))
		for i < to {
			j := bytes.IndexByte(b[i:to], '\r')
			if j < 0 {
				break
			}
			i += j + 1
			if i == len(b) || b[i] != '\n' {
				ends++
			}
		}
		i = to
	}
	return ends
}

// LineScanner steps over the terminators of b[:n]. It looks at each byte once for LF and once for CR, however they are mixed.
type LineScanner struct {
	b      []byte
	n      int
	lf, cr int // offsets of the next LF and CR not passed; n if there is none
}

// NewLineScanner returns a scanner over b[:n], which b continues as for [LineEnds].
func NewLineScanner(b []byte, n int) *LineScanner {
	return &LineScanner{b: b, n: n, lf: find(b, 0, n, '\n'), cr: find(b, 0, n, '\r')}
}

func find(b []byte, i, n int, c byte) int {
	if j := bytes.IndexByte(b[i:n], c); j >= 0 {
		return i + j
	}
	return n
}

// Next returns the offset after the next terminator that ends in b[:n], -1 if there is none.
func (s *LineScanner) Next() int {
	for s.cr < s.lf {
		i := s.cr + 1
		s.cr = find(s.b, i, s.n, '\r')
		if i == len(s.b) || s.b[i] != '\n' {
			return i
		}
	}
	if s.lf == s.n {
		return -1
	}
	i := s.lf + 1
	s.lf = find(s.b, i, s.n, '\n')
	return i
}

// AfterLine returns the offset after the k-th terminator that ends in b[:n]; -1 if there are fewer, 0 for k <= 0.
func AfterLine(b []byte, n int, k int64) int {
	if k <= 0 {
		return 0
	}
	const block = 4 << 10
	for from := 0; from < n; {
		size := min(n-from, block)
		ends := LineEnds(b[from:], size)
		if ends < k {
			k -= ends
			from += size
			continue
		}
		s := NewLineScanner(b[from:], size)
		for ; k > 1; k-- {
			s.Next()
		}
		return from + s.Next()
	}
	return -1
}
