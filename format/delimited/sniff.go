package delimited

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// sniffRows is how many records are looked at to find the delimiter.
const sniffRows = 100

// split returns the end of the cell that begins at b[i], and its closing quote or -1. It reads b as the whole document.
func split(b []byte, i int, comma byte) (end, closing int) {
	from, closing := i, -1
	if i < len(b) && b[i] == '"' {
		for j := i + 1; j < len(b); j++ {
			if b[j] != '"' {
				continue
			}
			if j+1 < len(b) && b[j+1] == '"' {
				j++
				continue
			}
			closing, from = j, j+1
			break
		}
	}
	for from < len(b) && b[from] != comma && b[from] != '\n' && b[from] != '\r' {
		from++
	}
	return from, closing
}

// sniff returns the delimiter under which the records of head agree best on a number of cells, with the fewest stray quotes; of several the one that gives
// more cells.
func sniff(head []byte) byte {
	best, agree, most := byte(','), -1.0, 1
	for _, comma := range []byte{',', '\t', ';', '|'} {
		counts := map[int]int{}
		rows, cellsSeen, stray := 0, 0, 0
		for i := 0; i < len(head) && rows < sniffRows; rows++ {
			begin, cells := i, 0
			for {
				end, closing := split(head, i, comma)
				cells++
				cellsSeen++
				if closing < 0 && bytes.IndexByte(head[i:end], '"') >= 0 || closing >= 0 && closing+1 < end {
					stray++ // quotes where the writer of the table would not have put them
				}
				if i = end + 1; end >= len(head) || head[end] != comma {
					if end+1 < len(head) && head[end] == '\r' && head[end+1] == '\n' {
						i++
					}
					break
				}
			}
			// A record that the head cuts off, and an empty line, say nothing.
			if i > len(head) && rows > 0 || i-begin <= 2 && cells == 1 {
				continue
			}
			counts[cells]++
		}
		cells, times, all := 1, 0, 0
		for c, n := range counts {
			all += n
			if c > 1 && (n > times || n == times && c > cells) {
				cells, times = c, n
			}
		}
		if times == 0 {
			continue
		}
		if share := float64(times)/float64(all) - float64(stray)/float64(cellsSeen); share > agree || share == agree && cells > most {
			best, agree, most = comma, share, cells
		}
	}
	return best
}

// header returns the cells of the first record of head as names, and whether they look like names: most of them that are not
// empty hold a letter, fewer digits than other characters, and no @.
func header(head []byte, comma byte) (names [][]byte, is bool) {
	good, bad := 0, 0
	for i := 0; ; {
		end, closing := split(head, i, comma)
		name := head[i:end]
		if closing >= 0 {
			name, _ = undouble(nil, head[i+1:closing], closing)
			name = append(name, head[closing+1:end]...)
		}
		name = bytes.Clone(bytes.TrimSpace(name))
		names = append(names, name)
		if len(name) > 0 {
			if isName(name) {
				good++
			} else {
				bad++
			}
		}
		if i = end + 1; end >= len(head) || head[end] != comma {
			break
		}
	}
	return names, good > bad
}

func isName(b []byte) bool {
	letters, digits := 0, 0
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		i += size
		switch {
		case r == '@':
			return false
		case unicode.IsDigit(r):
			digits++
		case unicode.IsLetter(r):
			letters++
		}
	}
	return letters > 0 && digits < letters
}
