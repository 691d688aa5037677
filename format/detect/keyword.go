package detect

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// keywordReach is how far from a value Macie looks for a keyword, in characters, on either side.
const keywordReach = 30

// keywords are the words one of which has to stand near a value.
type keywords struct {
	words []string  // folded (see fold): a space matches a space, a hyphen, an underscore, or nothing
	first [256]bool // the bytes with which a character may begin that folds to the first of a word
}

// longestKeyword bounds the length of Macie's keywords in characters.
const longestKeyword = 60

// near reports whether a keyword stands in b within reach of [start,end), on either side. The reach is measured in characters to
// the near edge of the keyword.
func (k *keywords) near(b []byte, start, end int) bool {
	inReach := back(b, start, keywordReach)
	for i := back(b, inReach, longestKeyword); i < start; i++ {
		if k.first[b[i]] {
			if n := k.at(b[:start], i); n > 0 && i+n >= inReach {
				return true
			}
		}
	}
	for i, n := end, 0; i < len(b); i++ {
		if k.first[b[i]] && k.at(b, i) > 0 {
			return true
		}
		if utf8.RuneStart(b[i]) {
			if n++; n > keywordReach {
				return false
			}
		}
	}
	return false
}

// back returns the offset n characters before i.
func back(b []byte, i, n int) int {
	for ; i > 0 && n > 0; n-- {
		i--
		for k := 0; k < utf8.UTFMax-1 && i > 0 && !utf8.RuneStart(b[i]); k++ {
			i--
		}
	}
	return i
}

// in reports whether a keyword stands anywhere in b.
func (k *keywords) in(b []byte) bool {
	for i, c := range b {
		if k.first[c] && k.at(b, i) > 0 {
			return true
		}
	}
	return false
}

// at returns the length of the longest keyword that begins at b[i] as a word of its own; 0 if there is none.
func (k *keywords) at(b []byte, i int) int {
	if !wordBreak(b, i) {
		return 0
	}
	best := 0
	for _, w := range k.words {
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
func splitKeywords(s string) *keywords {
	k := new(keywords)
	for w := range strings.SplitSeq(s, "|") {
		var f []byte
		for _, r := range w {
			if r = fold(r); r == '_' || r == '-' {
				r = ' '
			}
			f = utf8.AppendRune(f, r)
		}
		k.words = append(k.words, string(f))
		k.first[f[0]] = true
		if 'a' <= f[0] && f[0] <= 'z' {
			k.first[f[0]-'a'+'A'] = true
		}
	}
	for c := utf8.RuneSelf; c < 256; c++ { // letters with accents fold to ASCII
		k.first[c] = utf8.RuneStart(byte(c))
	}
	return k
}
