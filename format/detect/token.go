package detect

import (
	"encoding/binary"
	"math/bits"
	"unicode"
	"unicode/utf8"
)

// maxValue is the longest value, in letters and digits, that the token engine knows. The longest IBAN has 34.
const maxValue = 40

// verdict says how far a token can be believed to be a value of a type. Higher is better.
type verdict uint8

const (
	none      verdict = iota // not of the type
	bad                      // the form of the type, but a check fails
	plausible                // the form of the type, which has no check or one that decides nothing here
	sure                     // passes a checksum, or has a form that nothing else has
	certain                  // the same, and Macie asks for no keyword beside it
)

// value is a token as a check sees it: letters and digits alone, letters in upper case. It is passed by value, so that
// calling a check through a function value leaves it on the stack.
type value struct {
	b   [maxValue]byte
	n   int
	sep uint64 // bit k: separators stood before character k
}

// check judges a token that already has the form it belongs to. A nil check means plausible.
type check func(v value) verdict

// form is a compiled shape. Its masks have a bit per character of the compact token.
type form struct {
	n             int
	digit, letter uint64 // where the shape wants one
	group, free   uint64 // where separators may stand: in all places of group or none; in any place of free
	cell          bool   // too weak to be looked for in running text: only as a whole cell
	check         check
}

// spaced reports whether separators stand only where the form has them.
func (f *form) spaced(sep uint64) bool {
	return sep&^(f.group|f.free) == 0 && (sep&f.group == 0 || sep&f.group == f.group)
}

// forms compiles shapes separated by "|". In a shape 9 is a digit, A a letter, X either; x{m,n} repeats the one before it;
// a space is a separator that stands at all spaces of the shape or at none; a hyphen is a separator that may stand or not by
// itself. A leading ~ allows separators everywhere, a leading = keeps the shape to whole cells.
func forms(spec string, ck check) []form {
	var out []form
	for len(spec) > 0 {
		s := spec
		spec = ""
		for i := range len(s) {
			if s[i] == '|' {
				s, spec = s[:i], s[i+1:]
				break
			}
		}
		out = expand(out, form{check: ck}, s)
	}
	return out
}

func expand(out []form, f form, s string) []form {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '~':
			f.free = ^uint64(0)
		case '=':
			f.cell = true
		case ' ':
			f.group |= 1 << f.n
		case '-':
			f.free |= 1 << f.n
		case '{':
			low, high, j := 0, 0, i+1
			for ; s[j] != ','; j++ {
				low = low*10 + int(s[j]-'0')
			}
			for j++; s[j] != '}'; j++ {
				high = high*10 + int(s[j]-'0')
			}
			// The character before the brace is placed once already.
			for k := 1; k <= high; k++ {
				if k >= low {
					out = expand(out, f, s[j+1:])
				}
				f.place(s[i-1])
			}
			return out
		default:
			f.place(s[i])
		}
	}
	return append(out, f)
}

func (f *form) place(c byte) {
	switch c {
	case '9':
		f.digit |= 1 << f.n
	case 'A':
		f.letter |= 1 << f.n
	}
	f.n++
}

const (
	isDigit  = 1
	isLetter = 2
)

// class is the class of each ASCII byte; bytes of other characters have none.
var class = func() (t [256]byte) {
	for c := '0'; c <= '9'; c++ {
		t[c] = isDigit
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c], t[c+32] = isLetter, isLetter
	}
	return t
}()

func digitAt(b []byte, i int) bool { return i >= 0 && i < len(b) && class[b[i]] == isDigit }
func alnumAt(b []byte, i int) bool { return i >= 0 && i < len(b) && class[b[i]] != 0 }

// nextDigit returns the offset of the first digit at or after i, len(b) if there is none. It looks at eight bytes at once.
func nextDigit(b []byte, i int) int {
	const (
		low7 = 0x7f7f7f7f7f7f7f7f
		high = 0x8080808080808080
		zero = 0x3030303030303030
		ten  = 0x7676767676767676 // 0x80 - 10
	)
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:]) ^ zero
		// A byte is below ten exactly when adding 0x76 to its low seven bits leaves the high bit clear and it was clear before.
		if m := ^(((x & low7) + ten) | x) & high; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(b); i++ {
		if class[b[i]] == isDigit {
			return i
		}
	}
	return len(b)
}

// separator returns the length of the separator character at the beginning of b, 0 if none stands there.
func separator(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case ' ', '-', '.', '/':
		return 1
	case 0xc2: // no-break space, soft hyphen
		if len(b) > 1 && (b[1] == 0xa0 || b[1] == 0xad) {
			return 2
		}
	case 0xe2: // typographic spaces, hyphens and dashes; minus sign
		if len(b) > 2 && (b[1] == 0x80 && (b[2] >= 0x80 && b[2] <= 0x95 || b[2] == 0xaf) || b[1] == 0x88 && b[2] == 0x92) {
			return 3
		}
	}
	return 0
}

// wordBefore reports whether a letter or digit of any script ends at i.
func wordBefore(b []byte, i int) bool {
	if i == 0 {
		return false
	}
	if b[i-1] < utf8.RuneSelf {
		return class[b[i-1]] != 0
	}
	r, _ := utf8.DecodeLastRune(b[:i])
	return wordRune(r)
}

// wordAt reports whether a letter or digit of any script begins at i.
func wordAt(b []byte, i int) bool {
	if i >= len(b) {
		return false
	}
	if b[i] < utf8.RuneSelf {
		return class[b[i]] != 0
	}
	r, _ := utf8.DecodeRune(b[i:])
	return wordRune(r)
}

// wordRune reports whether r, which is not ASCII, makes one word with the letters and digits beside it. Letters of scripts that
// are written without spaces do not: a number stands directly between them.
func wordRune(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsDigit(r)) &&
		!unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// joined reports whether the one-byte mark between the characters a and b makes them parts of one longer token: the hyphens of a
// UUID, the point of a decimal fraction, the slashes of a date.
func joined(a, mark, b byte) bool {
	switch mark {
	case '-':
		return class[a] != 0 && class[b] != 0
	case '.', '/':
		return class[a] == isDigit && class[b] == isDigit
	}
	return false
}

// digitBefore reports whether a digit of any script ends at i > 0.
func digitBefore(b []byte, i int) bool {
	if b[i-1] < utf8.RuneSelf {
		return class[b[i-1]] == isDigit
	}
	r, _ := utf8.DecodeLastRune(b[:i])
	return unicode.IsDigit(r)
}

// digitBehind reports whether a digit of any script begins at i < len(b).
func digitBehind(b []byte, i int) bool {
	if b[i] < utf8.RuneSelf {
		return class[b[i]] == isDigit
	}
	r, _ := utf8.DecodeRune(b[i:])
	return unicode.IsDigit(r)
}

// opens reports whether a token may begin at i. A loose boundary may also be a mark inside a longer token, or the border
// between letters and digits; a run of digits is never cut.
func opens(b []byte, i int, loose bool) bool {
	if loose {
		return i == 0 || class[b[i]] == isDigit && !digitBefore(b, i) || class[b[i-1]] == 0 && !wordBefore(b, i)
	}
	return !wordBefore(b, i) && !(i > 1 && joined(b[i-2], b[i-1], b[i]))
}

// closes is opens for the end of a token.
func closes(b []byte, i int, loose bool) bool {
	if loose {
		return i == len(b) || class[b[i-1]] == isDigit && !digitBehind(b, i) || class[b[i]] == 0 && !wordAt(b, i)
	}
	return !wordAt(b, i) && !(i+1 < len(b) && joined(b[i-1], b[i], b[i+1])) && !(i < len(b) && b[i] == '@')
}

// maxChain is how many letters and digits a chain holds, one less than the bits of its masks.
const maxChain = 63

// chain is a sequence of letters and digits with at most one separator between any two. Its masks have a bit per character; what
// a form needs to know of the token that begins at character k is in the masks shifted right by k.
type chain struct {
	b             [maxChain + 1]byte // capitals
	off           [maxChain + 1]int  // offsets in the text
	n             int
	digit, letter uint64
	sep           uint64 // bit k: a separator stands before character k
	begins        uint64 // bit k: a token may begin with character k
	ends          uint64 // bit k: a token may end after k characters
}

// end returns where the token of the characters up to k ends in the text.
func (c *chain) end(k int) int { return c.off[k-1] + 1 }

func (c *chain) reset() { c.n, c.digit, c.letter, c.sep, c.begins, c.ends = 0, 0, 0, 0, 0, 0 }

func (c *chain) add(b byte, at int) {
	if class[b] == isDigit {
		c.digit |= 1 << c.n
	} else {
		c.letter |= 1 << c.n
		b &^= 0x20
	}
	c.b[c.n] = b
	c.off[c.n] = at
	c.n++
}

// read reads the chain that begins at i, where a token may begin or not. It returns where it stopped: at what is neither letter,
// digit nor separator, before a long word, or, full, in the middle.
func (c *chain) read(b []byte, i int, loose bool) (next int, full bool) {
	// The masks are kept in registers and the classes added without a branch: this loop is what a scan of numbers costs.
	var digit, letter, sep, begins, ends uint64
	n, token := 0, 0 // token: the character with which the present token began
	if opens(b, i, loose) {
		begins = 1
	}
loop:
	for {
		for i < len(b) {
			k := class[b[i]]
			if k == 0 {
				break
			}
			if n == maxChain {
				full = true
				break loop
			}
			m := n & 63
			if loose && n > token {
				switch before := class[b[i-1]]; {
				case k == isLetter && before == isDigit:
					ends |= 1 << m
				case k == isDigit && before == isLetter:
					begins |= 1 << m
				}
			}
			digit |= uint64(k&isDigit) << m
			letter |= uint64(k>>1) << m
			c.b[m] = b[i] &^ (k & isLetter << 4)
			c.off[m] = i
			n++
			i++
		}
		if token > 0 && n-token >= longWord && digit>>token == 0 {
			// Prose: no value goes on behind such a word. The word may begin one.
			i, n = c.off[token], token
			mask := uint64(1)<<token - 1
			letter, sep, begins, ends = letter&mask, sep&mask, begins&mask, ends&(mask<<1|1)
			break
		}
		k := 0
		if i < len(b) {
			k = separator(b[i:])
		}
		if k == 0 || n == 0 || !alnumAt(b, i+k) {
			if n > 0 && closes(b, i, loose) {
				ends |= 1 << n
			}
			break
		}
		if loose || k > 1 || !joined(b[i-1], b[i], b[i+1]) {
			ends |= 1 << n
			begins |= 1 << n
		}
		sep |= 1 << n
		i += k
		token = n
	}
	c.n, c.digit, c.letter, c.sep, c.begins, c.ends = n, digit, letter, sep, begins, ends
	return i, full
}

// longWord is a length that the words inside of values do not have.
const longWord = 8

// fill reads the whole of b, whatever separators it has, and reports whether nothing else stands there and it is no longer than a
// value. Spaces and quotation marks around it do not count.
func (c *chain) fill(b []byte) bool {
	c.reset()
	start, end := trim(b)
	end = integral(b, start, end)
	for i := start; i < end; {
		if c.n == maxValue {
			return false
		}
		if class[b[i]] != 0 {
			c.add(b[i], i)
			i++
			continue
		}
		k := separator(b[i:end])
		if k == 0 || c.n == 0 {
			return false
		}
		c.sep |= 1 << c.n
		i += k
	}
	return c.n > 0 && c.end(c.n) == end
}

// integral returns end without a ".0" behind digits alone: what table programs make of an integer in a column that has gaps.
func integral(b []byte, start, end int) int {
	i := end - 2
	if i <= start || b[i] != '.' || b[i+1] != '0' {
		return end
	}
	for _, c := range b[start:i] {
		if class[c] != isDigit {
			return end
		}
	}
	return i
}

// trim returns the bounds of b without white space and quotation marks around it.
func trim(b []byte) (start, end int) {
	end = len(b)
	for start < end && (b[start] <= ' ' || b[start] == '"' || b[start] == '\'' || b[start] == '`') {
		start++
	}
	for start < end && (b[end-1] <= ' ' || b[end-1] == '"' || b[end-1] == '\'' || b[end-1] == '`') {
		end--
	}
	return start, end
}

// selection is a set of detectors by number.
type selection [4]uint64

func (s *selection) add(d int32)      { s[d>>6] |= 1 << (d & 63) }
func (s *selection) has(d int32) bool { return s[d>>6]&(1<<(d&63)) != 0 }

// formOf is a form of a detector. The masks that most tokens fail stand beside the pointer.
type formOf struct {
	digit, letter uint64
	f             *form
	d             int32
}

// index finds the forms that a token may have by its length.
type index struct {
	byLen [maxValue + 1][]formOf
	lens  uint64 // bit n: forms of length n exist
	// least is how many digits the form with the fewest of them has: most cells of a table have fewer and are done with.
	least int
	// Bit n: a form that begins with a digit, or a letter, may have its first separator after n characters, or ends there.
	firstDigit, firstLetter uint64
}

func (x *index) add(d int, fs []form) {
	for i := range fs {
		f := &fs[i]
		x.byLen[f.n] = append(x.byLen[f.n], formOf{f.digit, f.letter, f, int32(d)})
		if n := bits.OnesCount64(f.digit); x.lens == 0 || n < x.least {
			x.least = n
		}
		x.lens |= 1 << f.n
		first := (f.group|f.free)&(1<<f.n-1)&^1 | 1<<f.n
		if f.letter&1 == 0 {
			x.firstDigit |= first
		}
		if f.digit&1 == 0 {
			x.firstLetter |= first
		}
	}
}

// enough reports whether b has as many digits as a form needs.
func (x *index) enough(b []byte) bool {
	n := x.least
	for i := 0; n > 0; i, n = i+1, n-1 {
		if len(b)-i < n {
			return false
		}
		if i = nextDigit(b, i); i == len(b) {
			return false
		}
	}
	return true
}

// leads reports whether a form may have b[s:e], letters and digits, in front of its first separator.
func (x *index) leads(b []byte, s, e int) bool {
	n := e - s
	if n > maxValue {
		return false
	}
	if class[b[s]] == isDigit {
		return x.firstDigit>>n&1 != 0
	}
	return x.firstLetter>>n&1 != 0
}

// walk calls hit for every token of b that has a form of the index: in ascending order of its beginning, then of its end.
// Every form holds a digit, so digits are what is looked for.
func (x *index) walk(b []byte, loose bool, only *selection, hit func(d int32, start, end int, v verdict)) {
	var c chain
	seen := 0
	for i := nextDigit(b, 0); i < len(b); i = nextDigit(b, i) {
		s := i
		for s > seen && alnumAt(b, s-1) {
			s--
		}
		if !loose {
			e := i + 1
			for e < len(b) && class[b[e]] != 0 {
				e++
			}
			start := -1
			if x.leads(b, s, e) && opens(b, s, false) {
				start = s
			}
			if x.firstLetter != 0 {
				// "RSS MRA 85T10 A562S": short words may lead the value.
				for k, p := 0, s; k < leadingWords; k++ {
					q, end := wordBackwards(b, p, seen)
					if q == p {
						break
					}
					if x.leads(b, q, end) && opens(b, q, false) {
						start = q
					}
					p = q
				}
			}
			if start < 0 {
				seen, i = e, e
				continue
			}
			s = start
		}
		for {
			next, full := c.read(b, s, loose)
			begins := c.begins
			if full {
				begins &= 1<<(maxChain-maxValue) - 1 // behind these a value may go on past the chain
			}
			for ; begins != 0; begins &= begins - 1 {
				x.try(&c, bits.TrailingZeros64(begins), only, hit)
			}
			if !full {
				i = next
				break
			}
			if rest := c.begins >> (maxChain - maxValue) << (maxChain - maxValue); rest != 0 {
				s = c.off[bits.TrailingZeros64(rest)]
				continue
			}
			// The token at the end of the chain is longer than a value.
			for alnumAt(b, next) && !(loose && class[b[next]] == isDigit && class[b[next-1]] == isLetter) {
				next++
			}
			i = next
			break
		}
		seen = i
	}
}

// leadingWords is how many tokens of letters alone may stand in a value before the first with a digit.
const leadingWords = 4

// wordBackwards returns the token of one to six letters that stands one separator before i; start is i if there is none.
func wordBackwards(b []byte, i, floor int) (start, end int) {
	k := i - 1
	if k <= floor || b[k] != ' ' && b[k] != '-' && b[k] != '.' && b[k] != '/' {
		return i, i
	}
	p := k
	for p > floor && class[b[p-1]] == isLetter && k-p < 7 {
		p--
	}
	if n := k - p; n == 0 || n > 6 || alnumAt(b, p-1) {
		return i, i
	}
	return p, k
}

// try tries the forms on the tokens that begin with character k of the chain.
func (x *index) try(c *chain, k int, only *selection, hit func(d int32, start, end int, v verdict)) {
	if c.letter>>k&1 != 0 && x.firstLetter == 0 {
		return
	}
	for ends := c.ends >> k & x.lens; ends != 0; ends &= ends - 1 {
		x.judge(c, k, bits.TrailingZeros64(ends), false, only, hit)
	}
}

// judge tries the forms of length n on the token of n characters from character k of the chain. A whole cell may have separators
// anywhere.
func (x *index) judge(c *chain, k, n int, whole bool, only *selection, hit func(d int32, start, end int, v verdict)) {
	digit, letter := c.digit>>k, c.letter>>k
	sep := c.sep >> k & (1<<n - 1) &^ 1
	for i := range x.byLen[n] {
		o := &x.byLen[n][i]
		if digit&o.digit != o.digit || letter&o.letter != o.letter || only != nil && !only.has(o.d) || !whole && (o.f.cell || !o.f.spaced(sep)) {
			continue
		}
		v := plausible
		if o.f.check != nil {
			token := value{n: n, sep: sep}
			copy(token.b[:], c.b[k:k+n])
			v = o.f.check(token)
		}
		if v != none {
			hit(o.d, c.off[k], c.end(k+n), v)
		}
	}
}
