package detect

import (
	"unicode"
	"unicode/utf8"
)

// keywordReach is how far from a value Macie looks for a keyword, in characters, on either side.
const keywordReach = 30

// keywords are the words one of which has to stand near a value, folded (see fold): a space in one matches a space, a
// hyphen, an underscore, or nothing.
type keywords []string

// near reports whether a keyword stands in the name of t, or in its text within reach of [start,end).
func (k keywords) near(t Text, start, end int) bool {
	if k.in(t.Name) {
		return true
	}
	from, to := start, end
	// The reach is measured to the near edge of the keyword, so the window is wider by the longest keyword.
	for n := 0; from > 0 && n < keywordReach+longestKeyword; n++ {
		_, w := utf8.DecodeLastRune(t.Text[:from])
		from -= w
	}
	for n := 0; to < len(t.Text) && n < keywordReach+longestKeyword; n++ {
		_, w := utf8.DecodeRune(t.Text[to:])
		to += w
	}
	for i := from; i < start; i++ {
		if n := k.at(t.Text[:start], i); n > 0 && utf8.RuneCount(t.Text[i+n:start]) <= keywordReach {
			return true
		}
	}
	for i := end; i < to && utf8.RuneCount(t.Text[end:i]) <= keywordReach; i++ {
		if k.at(t.Text[:to], i) > 0 {
			return true
		}
	}
	return false
}

// longestKeyword bounds the length of Macie's keywords in characters.
const longestKeyword = 60

// in reports whether a keyword stands anywhere in b.
func (k keywords) in(b []byte) bool {
	for i := range b {
		if k.at(b, i) > 0 {
			return true
		}
	}
	return false
}

// at returns the length of the longest keyword that begins at b[i] as a word of its own; 0 if there is none.
func (k keywords) at(b []byte, i int) int {
	if !utf8.RuneStart(b[i]) || !wordBreak(b, i) {
		return 0
	}
	first, _ := foldAt(b, i)
	best := 0
	for _, w := range k {
		if rune(w[0]) != first && w[0] < utf8.RuneSelf {
			continue
		}
		if n := matchWord(b[i:], w); n > best {
			best = n
		}
	}
	return best
}

// wordBreak reports whether a word begins or has ended at i: no letter stands on one side, or a capital begins a word inside
// a name written as customerSSN.
func wordBreak(b []byte, i int) bool {
	if i == 0 || i == len(b) {
		return true
	}
	before, _ := utf8.DecodeLastRune(b[:i])
	after, _ := utf8.DecodeRune(b[i:])
	return !unicode.IsLetter(before) || !unicode.IsLetter(after) || unicode.IsLower(before) && unicode.IsUpper(after)
}

// matchWord returns the length of the keyword w at the beginning of b, 0 if it does not stand there.
func matchWord(b []byte, w string) int {
	i := 0
	for j := 0; j < len(w); {
		if w[j] == ' ' {
			if i < len(b) && (b[i] == ' ' || b[i] == '_' || b[i] == '-') {
				i++
			}
			j++
			continue
		}
		if i == len(b) {
			return 0
		}
		r, size := foldAt(b, i)
		want, n := utf8.DecodeRuneInString(w[j:])
		if r != want {
			return 0
		}
		i += size
		j += n
	}
	if wordBreak(b, i) {
		return i
	}
	if b[i]|0x20 == 's' && wordBreak(b, i+1) { // a plural
		return i + 1
	}
	return 0
}

// foldAt decodes the character at b[i] and folds it.
func foldAt(b []byte, i int) (rune, int) {
	if c := b[i]; c < utf8.RuneSelf {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return rune(c), 1
	}
	r, n := utf8.DecodeRune(b[i:])
	return fold(r), n
}

// fold maps a character to lower case and takes the accents of the Latin letters away, as people do when they name columns;
// Macie's lists have some keywords in both spellings.
func fold(r rune) rune {
	r = unicode.ToLower(r)
	if r < 0xc0 || r > 0x17f {
		if r == '’' {
			return '\''
		}
		return r
	}
	const (
		latin1   = "aaaaaaaceeeeiiiidnooooo/ouuuuypy" // U+00E0 to U+00FF
		extended = "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkkllllllllllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"
	)
	switch {
	case r >= 0x100:
		return rune(extended[r-0x100])
	case r >= 0xe0:
		return rune(latin1[r-0xe0])
	}
	return r
}

// splitKeywords compiles keywords separated by "|".
func splitKeywords(s string) keywords {
	var out keywords
	var w []byte
	for i := 0; i <= len(s); {
		if i == len(s) || s[i] == '|' {
			if len(w) > 0 {
				out = append(out, string(w))
			}
			w = w[:0]
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		r = fold(r)
		if r == '_' || r == '-' {
			r = ' '
		}
		w = utf8.AppendRune(w, r)
		i += n
	}
	return out
}
