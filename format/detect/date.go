package detect

import "unicode/utf8"

// months are the names of each month in English, French, German, Spanish, Italian and Portuguese, folded.
var months = [12]string{
	"january janvier januar janner enero gennaio janeiro",
	"february fevrier februar feber febrero febbraio fevereiro",
	"march mars marz maerz marzo marco",
	"april avril abril aprile",
	"may mai mayo maggio maio",
	"june juin juni junio giugno junho",
	"july juillet juli julio luglio julho",
	"august aout agosto",
	"september septembre septiembre setiembre settembre setembro",
	"october octobre oktober octubre ottobre outubro",
	"november novembre noviembre novembro",
	"december decembre dezember diciembre dicembre dezembro",
}

// monthAt reads the name of a month, or its first three or more letters, at i. It returns the month, 0 if none stands there,
// and where it ends, a full stop after an abbreviation included.
func monthAt(b []byte, i int) (m, end int) {
	var w [16]byte
	n := 0
	for end = i; end < len(b) && n < len(w); {
		if class[b[end]]&isLetter == 0 && b[end] < utf8.RuneSelf {
			break
		}
		r, size := foldAt(b, end)
		if r < 'a' || r > 'z' {
			break
		}
		w[n] = byte(r)
		n++
		end += size
	}
	if n < 3 || wordAt(b, end) && class[b[end]] != isDigit {
		return 0, i
	}
	for k, names := range months {
		for start := 0; start < len(names); {
			e := start
			for e < len(names) && names[e] != ' ' {
				e++
			}
			if n <= e-start && names[start:start+n] == string(w[:n]) {
				if end < len(b) && b[end] == '.' {
					end++
				}
				return k + 1, end
			}
			start = e + 1
		}
	}
	return 0, i
}

// number reads up to most digits at i.
func numberAt(b []byte, i, most int) (n, end int) {
	for end = i; end < len(b) && end-i < most && class[b[end]] == isDigit; end++ {
		n = n*10 + int(b[end]-'0')
	}
	if digitAt(b, end) {
		return 0, i
	}
	return n, end
}

// between skips what stands between the parts of a written date: spaces, a hyphen, slash, full stop or comma, and "of" or "de".
func between(b []byte, i int) int {
	skip := func() {
		for k := 0; k < 3 && i < len(b) && (b[i] == ' ' || b[i] == '-' || b[i] == '/' || b[i] == ',' || b[i] == '.'); k++ {
			i++
		}
	}
	skip()
	if i+2 < len(b) && (b[i] == 'o' && b[i+1] == 'f' || b[i] == 'd' && b[i+1] == 'e') && b[i+2] == ' ' {
		i += 2
		skip()
	}
	return i
}

// ordinal skips "st", "nd", "rd", "th" and the like after a day.
func ordinal(b []byte, i int) int {
	if i+1 < len(b) && !wordAt(b, i+2) {
		switch string(b[i : i+2]) {
		case "st", "nd", "rd", "th", "er", "ST", "ND", "RD", "TH":
			return i + 2
		}
	}
	return i
}

func year(y, width int) bool { return width == 2 || width == 4 && y >= 1850 && y <= 2100 }

// day reports whether d can be a day of month m in some year.
func day(d, m int) bool {
	return m >= 1 && m <= 12 && d >= 1 && d <= [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[m-1]
}

// dateAt reads a date with day, month and year at i.
func dateAt(b []byte, i int) (end int, v verdict) {
	judge := func(end int, ok bool) (int, verdict) {
		if !ok {
			return end, bad
		}
		return end, plausible
	}
	if m, e := monthAt(b, i); m > 0 { // May 12, 1990
		j := between(b, e)
		d, e := numberAt(b, j, 2)
		if e == j || j == i {
			return i, none
		}
		j = between(b, ordinal(b, e))
		y, e2 := numberAt(b, j, 4)
		if j == e || e2-j != 4 && e2-j != 2 {
			return i, none
		}
		return judge(e2, day(d, m) && year(y, e2-j))
	}
	if !digitAt(b, i) {
		return i, none
	}
	first, e := numberAt(b, i, 8)
	switch e - i {
	case 8: // 19900512, 12051990
		y, m, d := first/10000, first/100%100, first%100
		d1, d2, y2 := first/1000000, first/10000%100, first%10000
		switch {
		case year(y, 4) && day(d, m), year(y2, 4) && (day(d1, d2) || day(d2, d1)):
			return e, plausible
		}
		return i, none
	case 4: // 1990-05-12, 1990 May 12
		j := between(b, e)
		if m, e2 := monthAt(b, j); m > 0 {
			k := between(b, e2)
			d, e3 := numberAt(b, k, 2)
			if e3 == k {
				return i, none
			}
			return judge(e3, day(d, m) && year(first, 4))
		}
		if e >= len(b) || !dateSeparator(b[e]) {
			return i, none
		}
		m, e2 := numberAt(b, e+1, 2)
		if e2 == e+1 || e2 >= len(b) || b[e2] != b[e] {
			return i, none
		}
		d, e3 := numberAt(b, e2+1, 2)
		if e3 == e2+1 {
			return i, none
		}
		return judge(e3, year(first, 4) && (day(d, m) || day(m, d)))
	case 1, 2:
		if j := between(b, ordinal(b, e)); j > i { // 12 May 1990, 12th of May 1990, 12May1990
			if m, e2 := monthAt(b, j); m > 0 {
				k := between(b, e2)
				y, e3 := numberAt(b, k, 4)
				if e3-k != 4 && e3-k != 2 {
					return i, none
				}
				return judge(e3, day(first, m) && year(y, e3-k))
			}
		}
		if e >= len(b) || !dateSeparator(b[e]) { // 12/05/1990
			return i, none
		}
		second, e2 := numberAt(b, e+1, 2)
		if e2 == e+1 || e2 >= len(b) || b[e2] != b[e] {
			return i, none
		}
		y, e3 := numberAt(b, e2+1, 4)
		if w := e3 - e2 - 1; w == 4 || w == 2 {
			return judge(e3, (day(first, second) || day(second, first)) && year(y, w) || w == 2 && day(y, second))
		}
	}
	return i, none
}

func dateSeparator(c byte) bool { return c == '-' || c == '/' || c == '.' || c == ' ' }

// clockAt skips a time of day with its zone after a date, as in RFC 3339; a space before it is taken only in a cell.
func clockAt(b []byte, i int, cell bool) int {
	if i+6 > len(b) || b[i] != 'T' && b[i] != 't' && !(cell && b[i] == ' ') || !digitAt(b, i+1) || !digitAt(b, i+2) || b[i+3] != ':' {
		return i
	}
	e := i + 3
	for e < len(b) && e < i+40 && (class[b[e]] == isDigit || b[e] == ':' || b[e] == '.' || b[e] == '+' || b[e] == '-' || b[e] == 'Z' || b[e] == 'z') {
		e++
	}
	for b[e-1] == '.' || b[e-1] == '-' || b[e-1] == ':' {
		e--
	}
	return e
}

// dates calls at for every place at which a word or number begins, and collects what it finds there.
func dates(t Text, at func(b []byte, i int) (end int, v verdict)) (fs []found) {
	b := t.Text
	for i := 0; i < len(b); {
		if class[b[i]] == 0 || wordBefore(b, i) || i > 1 && class[b[i]] == isDigit && joined(b[i-2], b[i-1], b[i]) && class[b[i-2]] == isDigit {
			i++
			continue
		}
		e, v := at(b, i)
		if v == none {
			for alnumAt(b, i) {
				i++
			}
			continue
		}
		e = clockAt(b, e, t.Cell)
		if wordAt(b, e) || e+1 < len(b) && joined(b[e-1], b[e], b[e+1]) && class[b[e+1]] == isDigit {
			i++
			continue
		}
		fs = append(fs, found{i, e, v})
		i = e
	}
	return fs
}

// findDates finds dates with day, month and year.
func findDates(t Text) []found { return dates(t, dateAt) }

// findExpirations finds the expiry dates of cards: month and year in numbers or words, full dates, and "expY=2026, expM=02".
func findExpirations(t Text) []found {
	b := t.Text
	if t.Cell { // 0226, 202602
		s, e := trim(b)
		v := b[s:e]
		switch {
		case len(v) == 4 && digits(v) && num(v[:2]) >= 1 && num(v[:2]) <= 12,
			len(v) == 4 && digits(v) && num(v[2:]) >= 1 && num(v[2:]) <= 12,
			len(v) == 6 && digits(v) && (num(v[4:]) >= 1 && num(v[4:]) <= 12 || num(v[:2]) >= 1 && num(v[:2]) <= 12):
			return []found{{s, e, plausible}}
		}
	}
	return dates(t, expirationAt)
}

func expirationAt(b []byte, i int) (end int, v verdict) {
	if end, v = dateAt(b, i); v == plausible {
		return end, v
	}
	if end, ok := namedPart(b, i); ok {
		j := end
		for j < len(b) && j < end+3 && class[b[j]] == 0 {
			j++
		}
		if last, ok := namedPart(b, j); ok && j > end {
			return last, plausible
		}
		return i, none
	}
	if m, e := monthAt(b, i); m > 0 { // Feb 2026, Feb-26
		j := between(b, e)
		y, e2 := numberAt(b, j, 4)
		if w := e2 - j; w == 4 && year(y, 4) || w == 2 {
			return e2, plausible
		}
		return i, none
	}
	first, e := numberAt(b, i, 4)
	if e == i || e >= len(b) {
		return i, none
	}
	j := e
	for j < len(b) && b[j] == ' ' && j-e < 1 {
		j++
	}
	if j >= len(b) || b[j] != '/' && b[j] != '-' {
		return i, none
	}
	for j++; j < len(b) && b[j] == ' ' && j-e < 3; {
		j++
	}
	second, e2 := numberAt(b, j, 4)
	var m, y, w int
	switch {
	case e-i <= 2 && (e2-j == 2 || e2-j == 4): // 02/26, 2/2026
		m, y, w = first, second, e2-j
	case e-i == 4 && e2-j <= 2 && e2 > j: // 2026-02
		m, y, w = second, first, 4
	default:
		return i, none
	}
	if m < 1 || m > 12 || !year(y, w) {
		return e2, bad
	}
	return e2, plausible
}

// namedPart reads "expM=02" or "exp year: 2026".
func namedPart(b []byte, i int) (end int, ok bool) {
	if i+5 > len(b) || b[i]|32 != 'e' || b[i+1]|32 != 'x' || b[i+2]|32 != 'p' {
		return i, false
	}
	j := i + 3
	for j < len(b) && j < i+24 && (class[b[j]] == isLetter || b[j] == '_' || b[j] == ' ' || b[j] == '-') {
		j++
	}
	if j >= len(b) || b[j] != '=' && b[j] != ':' {
		return i, false
	}
	for j++; j < len(b) && (b[j] == ' ' || b[j] == '"' || b[j] == '\''); {
		j++
	}
	_, end = numberAt(b, j, 4)
	return end, end > j
}
