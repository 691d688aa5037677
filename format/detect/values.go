package detect

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// MinValue is the least number of bytes of a value that [Values] searches for: shorter ones are not long or rare enough to be
// themselves.
const MinValue = 6

// Values searches a text for many known values at once. It is immutable after NewValues and safe for concurrent use.
//
// It looks only where a token begins, loads the first MinValue bytes there as one number, and asks a bitmap and then a table:
// so a text without the values costs about as much as looking for its token borders.
type Values struct {
	filter [1 << 10]uint64     // bitmap over a 16-bit hash of the first MinValue bytes
	first  map[uint64][]uint32 // first MinValue bytes -> values, longest first
	values [][]byte
	input  []int // index of each value among those given to NewValues
}

// NewValues returns a searcher for the values that have at least MinValue bytes and begin and end like a token; it keeps the
// slices. Duplicates are searched for once.
func NewValues(values [][]byte) *Values {
	v := &Values{first: map[uint64][]uint32{}}
	for n, b := range values {
		if len(b) < MinValue || blank(b) {
			continue
		}
		k := firstBytes(b)
		if slices.ContainsFunc(v.first[k], func(i uint32) bool { return bytes.Equal(v.values[i], b) }) {
			continue
		}
		v.first[k] = append(v.first[k], uint32(len(v.values)))
		v.values = append(v.values, b)
		v.input = append(v.input, n)
		h := hash16(k)
		v.filter[h>>6] |= 1 << (h & 63)
	}
	for _, list := range v.first {
		slices.SortFunc(list, func(a, b uint32) int { return len(v.values[b]) - len(v.values[a]) })
	}
	return v
}

// blank reports that a value is so uniform that it would match what it is not: a single repeated byte.
func blank(b []byte) bool { return bytes.Count(b, b[:1]) == len(b) }

// Len returns how many distinct values are searched for.
func (v *Values) Len() int { return len(v.values) }

// Find calls yield for each occurrence of a value in text, in ascending order and without overlap, the longest value first.
// Value n is the index of the (first equal) value among those given to NewValues.
// An occurrence stands at token borders: where the value begins or ends with a letter or digit, its neighbour is none, or one of a
// script that is written without spaces.
func (v *Values) Find(text []byte, yield func(start, end, n int) bool) {
	if len(v.values) == 0 {
		return
	}
	inToken := false // the byte before i is an ASCII letter or digit
	for i := 0; i+MinValue <= len(text); i++ {
		w := class[text[i]] != 0
		if w && inToken {
			continue
		}
		inToken = w
		k := firstBytes(text[i:])
		h := hash16(k)
		if v.filter[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, n := range v.first[k] {
			b := v.values[n]
			end := i + len(b)
			if end > len(text) || !bytes.Equal(text[i:end], b) {
				continue
			}
			if wordBefore(text, i) && wordAt(text, i) || wordBefore(text, end) && wordAt(text, end) {
				continue
			}
			if !yield(i, end, v.input[n]) {
				return
			}
			i = end - 1
			inToken = class[text[i]] != 0
			break
		}
	}
}

func firstBytes(b []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(b)) | uint64(b[4])<<32 | uint64(b[5])<<40
}

func hash16(k uint64) uint64 { return k * 0x9E3779B97F4A7C15 >> 48 }
