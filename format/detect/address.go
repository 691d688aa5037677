package detect

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// address finds mailing addresses of the countries that Macie knows: Australia, Canada, France, Germany, Italy, Spain, the United
// Kingdom and the United States. In a row the columns say what they hold; in running text a postal code beside a place
// leads to the street before them, on the same line or on the lines above.
type address struct{}

func (address) Distinct() bool    { return false }
func (address) Scan(Text) []Match { return nil }

// Find implements [Detector].
func (address) Find(t Text) []Match {
	fs := findAddresses(t.Text)
	if !t.Cell {
		return publish(fs)
	}
	s, e := trim(t.Text)
	b := t.Text[s:e]
	role, _ := addressRole(t.Name)
	switch {
	case len(b) == 0 || len(b) > 400:
		return publish(fs)
	case len(fs) == 1, len(fs) == 0 && (streetLike(b) || role != 0):
		return []Match{{s, e, true}}
	}
	return publish(fs)
}

// FindRow implements [RowDetector].
func (address) FindRow(row []Text) [][]Piece {
	var out [][]Piece
	type place struct {
		roles uint8
		at    []Piece
	}
	type group struct {
		places []*place
		count  [postcode + 1]int
	}
	groups := make(map[string]*group)
	var places []*place
	for i, t := range row {
		role, name := addressRole(t.Name)
		s, e := trim(t.Text)
		if role == 0 || s == e {
			continue
		}
		g := groups[name]
		if g == nil {
			g = new(group)
			groups[name] = g
		}
		// A street may have several columns in a row, so the next address begins with a street behind other parts. Of these the
		// n-th belongs to the n-th address.
		n := g.count[role]
		g.count[role]++
		if role == street {
			n = len(g.places)
			if n > 0 && (g.places[n-1].roles == street || g.places[n-1].roles&street == 0) {
				n--
			}
		}
		if n >= len(g.places) {
			p := new(place)
			g.places, places = append(g.places, p), append(places, p)
			n = len(g.places) - 1
		}
		p := g.places[n]
		p.roles |= role
		p.at = append(p.at, Piece{i, s, e})
	}
	for _, g := range places {
		full := g.roles == street && len(g.at) == 1
		if g.roles&(street|postcode) != 0 && (full || g.roles&(g.roles-1) != 0) {
			out = append(out, g.at)
		}
	}
	if out != nil {
		return out
	}
	for i, t := range row {
		if fs := findAddresses(t.Text); fs != nil {
			for _, f := range fs {
				out = append(out, []Piece{{i, f.start, f.end}})
			}
			continue
		}
		// 123 Any Street | Seattle | WA | 98101
		s, e := trim(t.Text)
		if i == 0 || !postcodeLike(t.Text[s:e]) {
			continue
		}
		pieces := []Piece{{i, s, e}}
		for k := i - 1; k >= 0 && i-k <= 4; k-- {
			s, e := trim(row[k].Text)
			c := row[k].Text[s:e]
			if !placeLike(c) && !streetLike(c) {
				break
			}
			pieces = append([]Piece{{k, s, e}}, pieces...)
			if streetLike(c) {
				break
			}
		}
		if len(pieces) > 1 {
			out = append(out, pieces)
		}
	}
	return disjoint(len(row), out)
}

// The parts of an address that a column may hold.
const (
	street uint8 = 1 << iota
	city
	state
	postcode
)

// addressRole says which part of an address the column holds, 0 for none, and by what it belongs to other columns.
func addressRole(column []byte) (role uint8, group string) {
	words := columnWords(column)
	var rest []string
	for _, w := range words {
		r := uint8(0)
		switch {
		case oneOf(w, "email mail ip mac url web memory wallet bitcoin capital"):
			return 0, ""
		case oneOf(w, "street address addr address1 address2 address3 addressline address1line addr1 addr2 line1 line2 streetaddress "+
			"mailingaddress homeaddress strasse adresse rue calle via indirizzo direccion domicilio road house housenumber hausnummer "+
			"apt apartment suite flat pobox"):
			r = street
		case oneOf(w, "city town locality suburb ville ort stadt wohnort ciudad citta cidade municipality village comune localidad poblacion"):
			r = city
		case oneOf(w, "state province prov county bundesland provincia departement"):
			r = state
		case oneOf(w, "zip zipcode zip4 postcode postal postalcode plz cap cp postleitzahl codepostal codigopostal"):
			r = postcode
		case oneOf(w, "line 1 2 3 4 number no code name"):
			continue
		default:
			rest = append(rest, w)
			continue
		}
		if role == 0 || role == street { // "address city" is a city
			role = r
		}
	}
	return role, strings.Join(rest, " ")
}

const usStates = " AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC PR VI GU AS MP AA AE AP "

const usStateNames = "|Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|" +
	"Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|" +
	"Hampshire|Jersey|Mexico|York|Carolina|Dakota|Ohio|Oklahoma|Oregon|Pennsylvania|Island|Tennessee|Texas|Utah|Vermont|Virginia|" +
	"Washington|Wisconsin|Wyoming|Columbia|"

const auStates = " NSW VIC QLD WA SA TAS ACT NT "

const caProvinces = " AB BC MB NB NL NS NT NU ON PE QC SK YT "

// wordAtEnd returns the beginning of the word of ASCII letters that ends at e.
func wordAtEnd(b []byte, e int) int {
	for e > 0 && class[b[e-1]] == isLetter {
		e--
	}
	return e
}

// skipBack skips spaces, and one comma among them, before i.
func skipBack(b []byte, i int) int {
	comma := false
	for n := 0; i > 0 && n < 3 && (b[i-1] == ' ' || b[i-1] == ',' && !comma); n++ {
		comma = comma || b[i-1] == ','
		i--
	}
	return i
}

// findAddresses finds addresses by their postal codes.
func findAddresses(b []byte) (fs []found) {
	floor := 0
	for i := nextDigit(b, 0); i < len(b); {
		s, e := i, i
		for s > floor && alnumAt(b, s-1) {
			s--
		}
		for alnumAt(b, e) {
			e++
		}
		place, end, ok := postalPlace(b, s, e)
		if ok {
			start := streetBefore(b, place, floor)
			fs = append(fs, found{start, end, plausible})
			floor = end
			e = max(e, end)
		}
		i = nextDigit(b, e)
	}
	return fs
}

// postalPlace reports whether b[s:e] is a postal code, or its first part, with a place beside it: where the place, or the code, begins
// and where both end.
func postalPlace(b []byte, s, e int) (start, end int, ok bool) {
	w := b[s:e]
	if wordBefore(b, s) || s > 1 && joined(b[s-2], b[s-1], b[s]) && class[b[s-2]] == isDigit {
		return 0, 0, false
	}
	switch {
	case len(w) == 5 && digits(w):
		end = e
		if k := e + 5; k <= len(b) && b[e] == '-' && digits(b[e+1:k]) && !alnumAt(b, k) {
			end = k
		}
		p := skipBack(b, s)
		q := wordAtEnd(b, p)
		state := string(b[q:p])
		if p < s && p > q && len(state) <= 15 && (len(state) == 2 && strings.Contains(usStates, " "+state+" ") || strings.Contains(usStateNames, "|"+state+"|")) {
			return cityBefore(b, skipBack(b, q), q), end, true
		}
		if end > e {
			return 0, 0, false
		}
		// 12345 Berlin; D-12345 Berlin; 00100 Roma (RM)
		if c := placeAfter(b, e); c > e && w[0] <= '9' {
			if s > 1 && b[s-1] == '-' && class[b[s-2]] == isLetter && !alnumAt(b, s-3) {
				s -= 2
			}
			return s, c, true
		}
	case len(w) == 4 && digits(w):
		p := skipBack(b, s)
		q := wordAtEnd(b, p)
		if p < s && q < p && strings.Contains(auStates, " "+string(b[q:p])+" ") {
			return cityBefore(b, skipBack(b, q), q), e, true
		}
	case len(w) == 3 && fitsShape(w, "A9A") || len(w) == 6 && fitsShape(w, "A9A9A9"):
		end = e
		if len(w) == 3 {
			if e+4 > len(b) || b[e] != ' ' && b[e] != '-' || !fitsShape(b[e+1:e+4], "9A9") || alnumAt(b, e+4) {
				break
			}
			end = e + 4
		}
		p := skipBack(b, s)
		q := wordAtEnd(b, p)
		if p < s && q < p && strings.Contains(caProvinces, " "+string(b[q:p])+" ") {
			return cityBefore(b, skipBack(b, q), q), end, true
		}
		return cityBefore(b, p, s), end, true
	}
	if end := ukPostcode(b, s, e); end > 0 {
		p := skipBack(b, s)
		if p == s && p > 0 && b[p-1] != '\n' {
			return 0, 0, false
		}
		for p > 0 && (b[p-1] == '\n' || b[p-1] == '\r' || b[p-1] == ' ') && s-p < 8 { // the code has a line of its own
			p--
		}
		return cityBefore(b, p, s), end, true
	}
	return 0, 0, false
}

func fitsShape(b []byte, shape string) bool {
	if len(b) != len(shape) {
		return false
	}
	for i, c := range b {
		if want := shape[i]; want == '9' && class[c] != isDigit || want == 'A' && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// ukPostcode returns the end of the UK postcode that begins with the token b[s:e], 0 if there is none (BS 7666).
func ukPostcode(b []byte, s, e int) int {
	out := b[s:e]
	if n := len(out); n >= 5 && n <= 7 && fitsShape(out[n-3:], "9AA") {
		out = out[:n-3]
	} else {
		if e+4 > len(b) || b[e] != ' ' || !fitsShape(b[e+1:e+4], "9AA") || alnumAt(b, e+4) {
			return 0
		}
		e += 4
	}
	for _, shape := range [...]string{"A9", "A99", "A9A", "AA9", "AA99", "AA9A"} {
		if fitsShape(out, shape) {
			return e
		}
	}
	return 0
}

// cityBefore returns where the capitalised words that end at e begin; none if none do.
func cityBefore(b []byte, e, none int) int {
	start := none
	for i, n := e, 0; n < 4; n++ {
		w := i
		for w > 0 {
			r, size := utf8.DecodeLastRune(b[:w])
			if !unicode.IsLetter(r) && r != '\'' && r != '-' && r != '.' {
				break
			}
			w -= size
		}
		if w == i || !upperAt(b, w) && !(n > 0 && particle(b[w:i])) || i-w > 40 {
			break
		}
		start = w
		if w == 0 || b[w-1] != ' ' {
			break
		}
		i = w - 1
	}
	return start
}

// placeAfter returns the end of the capitalised words after a postal code, e if there are none.
func placeAfter(b []byte, e int) int {
	end := e
	for i, n := e, 0; n < 4 && i+1 < len(b) && b[i] == ' '; n++ {
		w := i + 1
		j := w
		for j < len(b) {
			r, size := utf8.DecodeRune(b[j:])
			if !unicode.IsLetter(r) && r != '\'' && r != '-' && r != '’' {
				break
			}
			j += size
		}
		if j == w || j-w > 40 || !upperAt(b, w) && !particle(b[w:j]) || n == 0 && (!upperAt(b, w) || stopWord(b[w:j])) {
			break
		}
		if upperAt(b, w) {
			end = j
		}
		i = j
	}
	if end > e && end+5 <= len(b) && b[end] == ' ' && b[end+1] == '(' && fitsShape(b[end+2:end+4], "AA") && b[end+4] == ')' {
		end += 5
	}
	return end
}

// streetBefore returns where the street of the place at p begins, p if none is found, not before floor.
func streetBefore(b []byte, p, floor int) int {
	line := p
	for line > floor && p-line < 120 && !lineStop(b[line-1]) {
		line--
	}
	if q := streetIn(b, line, p); q >= 0 {
		return q
	}
	if len(bytes.TrimSpace(b[line:p])) > 0 && bytes.IndexByte(b[line:p], ',') < 0 || line <= floor {
		return p
	}
	// The lines above: the street, and above it or below it a flat or a building.
	start := p
	for n := 0; n < 3 && line > floor && b[line-1] == '\n'; n++ {
		e := line - 1
		if e > floor && b[e-1] == '\r' {
			e--
		}
		s := e
		for s > floor && b[s-1] != '\n' && e-s < 100 {
			s--
		}
		if s > floor && b[s-1] != '\n' {
			break
		}
		c := s
		for c < e && (b[c] == ' ' || b[c] == '\t' || b[c] == '>') {
			c++
		}
		if !streetLike(b[c:e]) {
			break
		}
		start, line = c, s
	}
	return start
}

func lineStop(c byte) bool {
	return c == '\n' || c == '\r' || c == '\t' || c == ';' || c == ':' || c == '|' || c == '"' || c == '<' || c == '>' || c == '{' || c == '['
}

// streetIn returns where in b[from:to] a street begins: at a house number with words after it, or at the words before one. -1 if there
// is none.
func streetIn(b []byte, from, to int) int {
	for i := from; i < to; i++ {
		if class[b[i]] != isDigit || wordBefore(b, i) {
			continue
		}
		e := i
		for e < to && (alnumAt(b, e) || b[e] == '-' || b[e] == '/') {
			e++
		}
		if e-i > 7 {
			i = e
			continue
		}
		after := bytes.TrimLeft(b[e:to], " ")
		if len(after) > 0 && hasLetter(after[:1]) && after[0] != ',' { // 123 Any Street
			return i
		}
		if len(bytes.TrimRight(b[e:to], " ,")) == 0 { // Musterstrasse 12,
			s := i
			for n := 0; n < 6; n++ {
				k := s
				for k > from && b[k-1] == ' ' {
					k--
				}
				w := k
				for w > from {
					r, size := utf8.DecodeLastRune(b[from:w])
					if !unicode.IsLetter(r) && r != '.' && r != '-' && r != '\'' {
						break
					}
					w -= size
				}
				if w == k || !upperAt(b, w) && !particle(b[w:k]) && !streetWord(b[w:k]) {
					break
				}
				s = w
			}
			if s < i {
				return s
			}
		}
		i = e
	}
	return -1
}

// streetWord reports words that name a kind of street or a part of a building.
func streetWord(w []byte) bool {
	if len(w) > 20 {
		return false
	}
	s := strings.TrimSuffix(string(bytes.ToLower(w)), ".")
	for _, end := range [...]string{"strasse", "straße", "str", "weg", "platz", "allee", "gasse", "ring", "ufer", "damm"} {
		if strings.HasSuffix(s, end) {
			return true
		}
	}
	return oneOf(s, "street st avenue ave road rd lane ln drive dr boulevard blvd court ct way place pl square sq terrace close crescent highway hwy "+
		"parkway rue avenida av calle via viale piazza corso place chemin quai impasse allée plaza paseo camino apt apartment suite flat unit floor box house building")
}

// streetLike reports whether b can be the line of an address with the street: a number and words, few of either.
func streetLike(b []byte) bool {
	if len(b) < 4 || len(b) > 100 {
		return false
	}
	number, words, named, groups := false, 0, false, 0
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case unicode.IsDigit(r):
			e := i
			for digitAt(b, e) {
				e++
			}
			if e == i {
				return false
			}
			groups++
			number = number || e-i <= 6
			if e-i > 6 {
				return false
			}
			i = e
			continue
		case unicode.IsLetter(r):
			e := i
			for e < len(b) {
				c, k := utf8.DecodeRune(b[e:])
				if !unicode.IsLetter(c) && c != '\'' && c != '.' {
					break
				}
				e += k
			}
			words++
			named = named || streetWord(b[i:e]) || unicode.IsUpper(r) && e-i > 1
			i = e
			continue
		case r == ':' || r == '=' || r == '@' || r == '"' || r == '{' || r == '?' || r == '!':
			return false
		}
		i += n
	}
	return number && named && words >= 1 && words <= 8 && groups <= 4
}

// placeLike reports whether a cell can hold a town, a state or a country.
func placeLike(b []byte) bool { return len(b) >= 2 && len(b) <= 40 && nameLike(b) && upperAt(b, 0) }

// postcodeLike reports whether a cell holds a postal code.
func postcodeLike(b []byte) bool {
	switch {
	case len(b) == 5 && digits(b), len(b) == 10 && digits(b[:5]) && b[5] == '-' && digits(b[6:]):
		return true
	case fitsShape(b, "A9A9A9"), len(b) == 7 && fitsShape(b[:3], "A9A") && fitsShape(b[4:], "9A9"):
		return true
	}
	e := 0
	for alnumAt(b, e) {
		e++
	}
	return e > 0 && ukPostcode(b, 0, e) == len(b)
}
