package detect

// The checksums below work on compact values: ASCII digits and capital letters, as the token engine hands them out. Each is
// written from the published rule that its comment names.

func digits(b []byte) bool {
	for _, c := range b {
		if class[c] != isDigit {
			return false
		}
	}
	return len(b) > 0
}

func num(b []byte) (n uint64) {
	for _, c := range b {
		n = n*10 + uint64(c-'0')
	}
	return n
}

// uniform reports whether all characters are the same: numbers that stand for "none".
func uniform(b []byte) bool {
	for _, c := range b {
		if c != b[0] {
			return false
		}
	}
	return true
}

// weighted returns the sum of the digits, each multiplied by the weight in its place.
func weighted(b []byte, weights ...int) (sum int) {
	for i, w := range weights {
		sum += int(b[i]-'0') * w
	}
	return sum
}

// luhnSum is the sum of ISO/IEC 7812-1 annex B; a number with its check digit gives a multiple of ten.
func luhnSum(b []byte) (sum int) {
	for i, c := range b {
		d := int(c - '0')
		if (len(b)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum
}

func luhn(b []byte) bool { return digits(b) && luhnSum(b)%10 == 0 }

// mod97 returns the number modulo 97 that ISO/IEC 7064 MOD 97-10 reads b as: letters count from A = 10.
func mod97(r int, b []byte) int {
	for _, c := range b {
		if class[c] == isDigit {
			r = (r*10 + int(c-'0')) % 97
		} else {
			r = (r*100 + int(c-'A') + 10) % 97
		}
	}
	return r
}

// verhoeff is the dihedral checksum of J. Verhoeff (1969) that Aadhaar uses.
func verhoeff(b []byte) bool {
	const (
		multiply = "0123456789123406789523401789563401289567401239567859876043216598710432765982104387659321049876543210"
		permute  = "01234567891576283094580379614289160435279453126870428657390127938064157046913258"
	)
	c := 0
	for i := range b {
		d := int(b[len(b)-1-i] - '0')
		c = int(multiply[c*10+int(permute[i%8*10+d]-'0')] - '0')
	}
	return c == 0
}

// mod11x10 is ISO/IEC 7064 MOD 11,10.
func mod11x10(b []byte) bool {
	c := 5
	for _, d := range b {
		if c *= 2; c == 0 {
			c = 20
		}
		c = (c%11 + int(d-'0')) % 10
	}
	return c == 1
}

// icao731 returns the check digit of ICAO Doc 9303: weights 7, 3, 1; letters count from A = 10.
func icao731(b []byte) byte {
	sum := 0
	for i, c := range b {
		v := int(c - '0')
		if class[c] == isLetter {
			v = int(c-'A') + 10
		}
		sum += v * [3]int{7, 3, 1}[i%3]
	}
	return byte('0' + sum%10)
}

// passes turns the answer of a check that the type always has into a verdict.
func passes(ok bool) verdict {
	if ok {
		return sure
	}
	return bad
}

// hints does the same for a check that many real values of the type do not have, so that failing it says nothing.
func hints(ok bool) verdict {
	if ok {
		return sure
	}
	return plausible
}
