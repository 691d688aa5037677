package detect

import "strconv"

// findCoordinates finds pairs of decimal degrees: latitude, then longitude, each with a fraction.
func findCoordinates(t Text) (fs []found) {
	b := t.Text
	for i := nextDigit(b, 0); i < len(b); i = nextDigit(b, i) {
		s := i
		if s > 0 && (b[s-1] == '-' || b[s-1] == '+') {
			s--
		}
		lat, e, ok := degrees(b, s, "NSns", t.Cell)
		if !ok || wordBefore(b, s) || s > 1 && (b[s-1] == '.' || b[s-1] == '-') && digitAt(b, s-2) {
			for digitAt(b, i) {
				i++
			}
			continue
		}
		j := e
		for j < len(b) && j-e < 4 && (b[j] == ' ' || b[j] == ',' || b[j] == ';' || b[j] == '/' || b[j] == '\t') {
			j++
		}
		lon, e2, ok := degrees(b, j, "EWewOo", t.Cell)
		if !ok || j == e || wordAt(b, e2) {
			i = e
			continue
		}
		v := bad
		if lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180 {
			v = plausible
		}
		fs = append(fs, found{s, e2, v})
		i = e2
	}
	return fs
}

// degrees reads a signed number with a fraction of at least two digits (one in a cell), a degree sign and a letter of the compass.
func degrees(b []byte, i int, compass string, cell bool) (v float64, end int, ok bool) {
	j := i
	if j < len(b) && (b[j] == '-' || b[j] == '+') {
		j++
	}
	k := j
	for digitAt(b, k) && k-j < 4 {
		k++
	}
	if k == j || k-j > 3 || k >= len(b) || b[k] != '.' {
		return 0, i, false
	}
	f := k + 1
	for digitAt(b, f) && f-k < 20 {
		f++
	}
	if n := f - k - 1; n < 1 || n < 2 && !cell || f < len(b) && b[f] == '.' && digitAt(b, f+1) {
		return 0, i, false
	}
	v, err := strconv.ParseFloat(string(b[i:f]), 64)
	if err != nil {
		return 0, i, false
	}
	if f+1 < len(b) && b[f] == 0xc2 && b[f+1] == 0xb0 {
		f += 2
	}
	g := f
	if g < len(b) && b[g] == ' ' {
		g++
	}
	if g < len(b) && !wordAt(b, g+1) {
		for _, c := range []byte(compass) {
			if b[g] == c {
				return v, g + 1, true
			}
		}
	}
	return v, f, !wordAt(b, f)
}
