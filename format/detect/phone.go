package detect

// plan is what a country's numbering plan says of the form of a number.
type plan struct {
	code  string // country calling code
	trunk string // what precedes the national number inside the country; empty: nothing does
	valid func(n []byte) bool
}

// plans has the countries of Macie's phone identifiers. Source: the national numbering plans as ITU-T E.129 lists them. Ranges are
// checked as far as they do not change from year to year.
var plans = map[string]plan{
	"US": {"1", "1", func(n []byte) bool {
		return len(n) == 10 && n[0] >= '2' && n[3] >= '2' && string(n[1:3]) != "11"
	}},
	"FR": {"33", "0", func(n []byte) bool { return len(n) == 9 && n[0] != '0' }},
	"DE": {"49", "0", func(n []byte) bool { return len(n) >= 6 && len(n) <= 11 && n[0] != '0' }},
	"IT": {"39", "", func(n []byte) bool {
		return n[0] == '3' && (len(n) == 9 || len(n) == 10) || n[0] == '0' && len(n) >= 6 && len(n) <= 11 ||
			n[0] == '8' && len(n) >= 6 && len(n) <= 10
	}},
	"ES": {"34", "", func(n []byte) bool { return len(n) == 9 && n[0] >= '5' }},
	"GB": {"44", "0", func(n []byte) bool { return (len(n) == 9 || len(n) == 10) && n[0] != '0' && n[0] != '4' && n[0] != '6' }},
	"BR": {"55", "0", func(n []byte) bool {
		switch {
		case n[0] == '0' || n[1] == '0':
			return len(n) == 10 && string(n[1:3]) == "00" // 800 and the like
		case len(n) == 11:
			return n[2] == '9'
		}
		return len(n) == 10 && n[2] >= '2' && n[2] <= '5'
	}},
}

const maxPhone = 20

// phone makes the detector of a country's phone numbers.
func phone(country string) func(*keywords) Detector {
	return func(w *keywords) Detector {
		p, us := plans[country], country == "US"
		return &pattern{rule: rule{words: w}, find: func(t Text) []found { return p.find(t, us) }}
	}
}

// find reads a chain of digits with the marks of phone numbers between them from every "+", "(" and digit, and takes the longest
// part of it that the plan allows.
func (p plan) find(t Text, us bool) (fs []found) {
	b := t.Text
	for i := 0; i < len(b); {
		c := b[i]
		if class[c] != isDigit && c != '+' && c != '(' {
			i++
			continue
		}
		if wordBefore(b, i) || class[c] == isDigit && !opens(b, i, false) {
			if i++; class[c] == isDigit {
				for digitAt(b, i) {
					i++
				}
			}
			continue
		}
		var d [maxPhone]byte
		var ends [maxPhone + 1]int // where the first n digits end, 0 if a number cannot end there
		var gap uint32             // bit n: a mark stands before digit n
		n, j, plus := 0, i, false
		for j < len(b) {
			c := b[j]
			if class[c] == isDigit {
				if n == maxPhone {
					break
				}
				d[n] = c
				n++
				j++
				if !digitAt(b, j) && closes(b, j, false) {
					ends[n] = j
				}
				continue
			}
			if c == '+' && n == 0 && !plus {
				plus = true
				j++
				continue
			}
			k := j
			for k < len(b) && k-j < 4 {
				if b[k] == '(' || b[k] == ')' {
					k++
				} else if s := separator(b[k:]); s > 0 {
					k += s
				} else {
					break
				}
			}
			if k == j || !digitAt(b, k) {
				break
			}
			gap |= 1 << n
			j = k
		}
		best, bestV := 0, none
		for k := n; k > 0 && bestV < plausible; k-- {
			if ends[k] == 0 {
				continue
			}
			if v := p.judge(d[:k], plus, us, t.Cell, gap&(1<<k-1)); v > bestV {
				best, bestV = ends[k], v
			}
		}
		if bestV == none {
			if i++; class[c] == isDigit {
				for digitAt(b, i) {
					i++
				}
			}
			continue
		}
		best = extension(b, best)
		fs = append(fs, found{i, best, bestV})
		i = best
	}
	return fs
}

func (p plan) judge(d []byte, plus, us, cell bool, gap uint32) verdict {
	n, international := d, plus
	for _, prefix := range [...]string{"00", "011"} {
		if !plus && len(n) > len(prefix)+6 && string(n[:len(prefix)]) == prefix {
			n, international = n[len(prefix):], true
			break
		}
	}
	coded := len(n) > len(p.code) && string(n[:len(p.code)]) == p.code
	if international {
		if !coded {
			// Some other country's number: what was reported here all the same, when it fills a cell.
			if cell && plus && len(n) >= 8 && len(n) <= 15 {
				return plausible
			}
			return none
		}
		n = n[len(p.code):]
		if p.trunk == "0" && len(n) > 7 && n[0] == '0' { // +44 (0)20
			n = n[1:]
		}
		if len(n) < 6 || len(n) > 12 {
			return none
		}
		return phoneVerdict(p.valid(n))
	}
	switch {
	case len(n) < 6:
		return none
	case us:
		// Three, three and four, after a 1 or nothing: otherwise dates and amounts would do.
		one := uint32(0)
		if len(n) == 11 && n[0] == '1' {
			n, one = n[1:], 1
		}
		if len(n) == 7 && cell && n[0] >= '2' && gap&^(1<<3) == 0 {
			return plausible
		}
		if len(n) != 10 || (gap>>one)&^1 != 0 && (gap>>one)&^1 != 1<<3|1<<6 && (gap>>one)&^1 != 1<<3 {
			return none
		}
		return phoneVerdict(p.valid(n))
	case p.trunk == "0" && n[0] == '0':
		if p.valid(n[1:]) {
			return plausible
		}
		return none
	case (p.trunk == "" || p.code == "55") && p.valid(n), coded && len(n) >= 10 && p.valid(n[len(p.code):]):
		return plausible
	case cell && p.code == "55" && (len(n) == 8 || len(n) == 9 && n[0] == '9'):
		return plausible
	}
	return none
}

func phoneVerdict(ok bool) verdict {
	if ok {
		return plausible
	}
	return bad
}

// extension skips "ext. 12" or "x12" after a number.
func extension(b []byte, i int) int {
	j := i
	for j < len(b) && j-i < 2 && (b[j] == ' ' || b[j] == ',') {
		j++
	}
	k := j
	for k < len(b) && k-j < 9 && class[b[k]] == isLetter {
		k++
	}
	switch w := string(b[j:k]); w {
	case "x", "X", "ext", "Ext", "EXT", "extn", "extension", "Extension":
	default:
		return i
	}
	for n := 0; k < len(b) && n < 2 && (b[k] == ' ' || b[k] == '.' || b[k] == ':'); n++ {
		k++
	}
	if _, e := numberAt(b, k, 7); e > k && !wordAt(b, e) {
		return e
	}
	return i
}
