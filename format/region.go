package format

import (
	"fmt"
	"unicode/utf8"

	"coffer"
)

// Context is how much text before Commit is offered again as the Lead of the next window: enough for the longest distance
// at which Macie looks for a keyword (300 characters).
const Context = 2 << 10

// Cut returns where a window that is not the region's last commits, and where in it the next window begins: the next window's
// Lead is commit-next. Neither splits a UTF-8 sequence. text is longer than Overlap.
func Cut(text []byte) (commit, next int) {
	commit = RuneCut(text, len(text)-Overlap)
	return commit, RuneCut(text, max(0, commit-Context))
}

// RuneCut returns the largest offset up to n at which text can be cut without splitting a UTF-8 sequence, or a surrogate in the
// three bytes of generalised UTF-8, be it complete or cut off by the end of text.
func RuneCut(text []byte, n int) int {
	for i := n - 1; i >= 0 && i >= n-(utf8.UTFMax-1); i-- {
		size := 1
		switch c := text[i]; {
		case !utf8.RuneStart(c):
			continue
		case c >= 0xf0:
			size = 4
		case c >= 0xe0:
			size = 3
		case c >= 0xc0:
			size = 2
		}
		if i+size <= n {
			return n
		}
		for _, c := range text[n:min(i+size, len(text))] {
			if utf8.RuneStart(c) {
				return n
			}
		}
		return i
	}
	return n
}

// Take checks the edits that a visitor returned for r and returns those that a walk applies: the ones that begin between
// Lead and Commit, and in the last window also an insertion at the very end. An error wraps coffer.ErrInvalid: the edits are
// not in ascending order, overlap, or leave the text.
func (r *Region) Take(edits []Edit) ([]Edit, error) {
	last, from, to := 0, -1, 0
	for i, e := range edits {
		if e.Start < last || e.End < e.Start || e.End > len(r.Text) {
			return nil, fmt.Errorf("edit %d of a region overlaps another or leaves the text: %w", i, coffer.ErrInvalid)
		}
		last = e.End
		if e.Start >= r.Lead && (e.Start < r.Commit || r.Last && e.Start == len(r.Text)) {
			if from < 0 {
				from = i
			}
			to = i + 1
		}
	}
	if from < 0 {
		return nil, nil
	}
	return edits[from:to], nil
}

// Columns returns the byte offsets in line at which a startColumn of Macie may point, likeliest first and without
// duplicates. Macie does not document the unit of a "character" (Amazon Macie API, Range.startColumn: 1-based); code points
// are tried first, then UTF-16 units, then bytes. A reading that leaves the line or falls inside a character of its unit is
// left out. Column 0, not given, is the beginning of the line.
func Columns(line []byte, column int64) []int {
	if column <= 0 {
		return []int{0}
	}
	skip := column - 1
	var offsets []int
	add := func(off int) {
		for _, o := range offsets {
			if o == off {
				return
			}
		}
		offsets = append(offsets, off)
	}
	points, units := int64(0), int64(0)
	wide, i := -1, 0
	for i < len(line) && points < skip {
		if units == skip {
			wide = i
		}
		r, size := utf8.DecodeRune(line[i:])
		i += size
		points++
		units++
		if r > 0xffff {
			units++
		}
	}
	if points == skip {
		add(i)
	}
	if units == skip && wide < 0 {
		wide = i
	}
	if wide >= 0 {
		add(wide)
	}
	if skip <= int64(len(line)) {
		add(int(skip))
	}
	return offsets
}
