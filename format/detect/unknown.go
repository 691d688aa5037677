package detect

import "net/netip"

// unknown is the detector of types that Coffer does not know. It finds what usually stands alone.
type unknown struct{}

func (unknown) Distinct() bool    { return false }
func (unknown) Scan(Text) []Match { return nil }

// Find returns e-mail addresses, URLs and IP addresses; if there are none, tokens.
func (unknown) Find(t Text) []Match {
	var fs []found
	b := t.Text
	for i := 0; i < len(b); {
		if b[i] <= ' ' || bracket(b[i]) {
			i++
			continue
		}
		e := i
		for e < len(b) && b[e] > ' ' && !bracket(b[e]) {
			e++
		}
		if s, n := known(b[i:e]); n > s {
			fs = append(fs, found{i + s, i + n, plausible})
		}
		i = e
	}
	if fs == nil {
		for i := 0; i < len(b); {
			if class[b[i]] == 0 {
				i++
				continue
			}
			digit, e := false, i
			for alnumAt(b, e) || e > i && (b[e-1] != '-' && b[e-1] != '_') && e+1 < len(b) && (b[e] == '-' || b[e] == '_') && alnumAt(b, e+1) {
				digit = digit || class[b[e]] == isDigit
				e++
			}
			if digit && e-i >= 6 && !wordBefore(b, i) && !wordAt(b, e) {
				fs = append(fs, found{i, e, plausible})
			}
			i = e
		}
	}
	return publish(fs)
}

// bracket reports whether c encloses or separates what unknown looks for.
func bracket(c byte) bool {
	switch c {
	case '"', '\'', '`', '<', '>', '(', ')', '{', '}', ',', ';', '|', '[', ']':
		return true
	}
	return false
}

// known returns the bounds of the e-mail address, URL or IP address in a word; none: 0, 0.
func known(w []byte) (int, int) {
	end := len(w)
	for end > 0 && (w[end-1] == '.' || w[end-1] == ':' || w[end-1] == '!' || w[end-1] == '?') {
		end--
	}
	w = w[:end]
	for i, c := range w {
		switch {
		case c == ':' && i+3 < len(w) && w[i+1] == '/' && w[i+2] == '/':
			s := i
			for s > 0 && (class[w[s-1]] != 0 || w[s-1] == '+') {
				s--
			}
			if s < i {
				return s, end
			}
		case c == '@':
			s := i
			for s > 0 && (tokenChars.has(w[s-1]) && w[s-1] != '=' || w[s-1] >= 0x80) {
				s--
			}
			e, dot := i+1, false
			for e < end && (class[w[e]] != 0 || w[e] == '-' || w[e] == '.' || w[e] >= 0x80) {
				dot = dot || w[e] == '.' && e > i+1 && e+1 < end
				e++
			}
			if s < i && dot {
				return s, e
			}
		}
	}
	s := 0
	for i, c := range w { // a label in front: ip=192.0.2.1
		if c == '=' {
			s = i + 1
		}
	}
	if n := len(w) - s; n >= 3 && n <= 64 {
		if _, err := netip.ParseAddr(string(w[s:])); err == nil {
			return s, end
		}
		if p, err := netip.ParseAddrPort(string(w[s:])); err == nil && p.Addr().Is4() {
			for i := s; ; i++ {
				if w[i] == ':' {
					return s, i
				}
			}
		}
	}
	return 0, 0
}
