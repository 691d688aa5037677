package text

import "bytes"

// terminator returns the length of the terminator that ends at i.
func terminator(b []byte, i int) int {
	if i >= 2 && b[i-1] == '\n' && b[i-2] == '\r' {
		return 2
	}
	return 1
}

// lastLine returns the offset in b[:n] at which the line of the byte at n begins; 0 if it begins at or before b.
func lastLine(b []byte, n int) int {
	from := bytes.LastIndexByte(b[:n], '\n') + 1
	for i := from; ; {
		j := bytes.IndexByte(b[i:n], '\r')
		if j < 0 {
			return from
		}
		i += j + 1
		if i == len(b) || b[i] != '\n' {
			from = i
		}
	}
}
