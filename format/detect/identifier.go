package detect

import "strings"

// Checks of the national numbers. Sources: the issuing authority's published rule where there is one; the vectors in testdata
// come from an independent implementation.

// checkSSN: SSA has never assigned area 000 or 666, group 00 or serial 0000. Areas from 900 are not social security numbers
// either, but Macie reports them and test data is full of them: they are taken at their word, and in a sweep only when written
// 3-2-4.
func checkSSN(v value) verdict {
	b := v.b[:v.n]
	area := num(b[:3])
	switch {
	case area == 0 || area == 666 || num(b[3:5]) == 0 || num(b[5:]) == 0:
		return bad
	case area < 900 || v.sep != 0:
		return sure
	}
	return plausible
}

// checkITIN: area 9xx, group 50-65, 70-88, 90-92 or 94-99 (IRS).
func checkITIN(v value) verdict {
	g := num(v.b[3:5])
	return passes(v.b[0] == '9' && (g >= 50 && g <= 65 || g >= 70 && g <= 88 || g >= 90 && g <= 92 || g >= 94))
}

// checkSIN: Luhn. Numbers that begin with 0 are used in documentation, with 8 for business accounts: they are no proof.
func checkSIN(v value) verdict {
	b := v.b[:v.n]
	switch {
	case !luhn(b) || uniform(b):
		return bad
	case b[0] == '0' || b[0] == '8':
		return plausible
	}
	return sure
}

// checkNINO: the prefix rules of HMRC (NIM39110).
func checkNINO(v value) verdict {
	b := v.b[:v.n]
	two := string(b[:2])
	ok := !strings.Contains("DFIQUV", two[:1]) && !strings.Contains("DFIOQUV", two[1:])
	switch two {
	case "BG", "GB", "NK", "KN", "TN", "NT", "ZZ":
		ok = false
	}
	if v.n == 9 && (b[8] < 'A' || b[8] > 'D') {
		return none
	}
	return passes(ok)
}

// checkNHS: weights 10 to 2 modulo 11 (NHS data dictionary).
func checkNHS(v value) verdict {
	c := 11 - weighted(v.b[:9], 10, 9, 8, 7, 6, 5, 4, 3, 2)%11
	if c == 11 {
		c = 0
	}
	return passes(c == int(v.b[9]-'0') && !uniform(v.b[:10]))
}

// checkNPI: Luhn with the prefix 80840 (CMS).
func checkNPI(v value) verdict {
	b := v.b[:v.n]
	if len(b) == 15 {
		if string(b[:5]) != "80840" {
			return none
		}
		b = b[5:]
	}
	// The prefix adds 24 to the Luhn sum of any ten digits.
	return passes((b[0] == '1' || b[0] == '2') && (luhnSum(b)+24)%10 == 0)
}

// checkDEA: d1+d3+d5 + 2(d2+d4+d6) ends in d7 (DEA).
func checkDEA(v value) verdict {
	b := v.b[2:9]
	return passes(strings.IndexByte("ABCDEFGHJKLMNPRSTUX", v.b[0]) >= 0 && weighted(b, 1, 2, 1, 2, 1, 2)%10 == int(b[6]-'0'))
}

// checkMBI: the positions and letters of CMS: C A AN N A AN N A A N N, without S, L, O, I, B, Z.
func checkMBI(v value) verdict {
	for i, c := range v.b[:11] {
		if strings.IndexByte("SLOIBZ", c) >= 0 || i == 0 && c == '0' {
			return none
		}
	}
	return sure
}

// checkNIR: the INSEE key, 97 minus the number modulo 97; 2A and 2B, the Corsican departments, count as 19 and 18.
func checkNIR(v value) verdict {
	b := v.b
	switch b[6] {
	case 'A':
		b[5], b[6] = '1', '9'
	case 'B':
		b[5], b[6] = '1', '8'
	}
	if !digits(b[:v.n]) || b[0] == '0' || b[0] == '9' {
		return none
	}
	if v.n == 13 {
		return plausible
	}
	return passes(97-num(b[:13])%97 == num(b[13:15]))
}

// checkAadhaar: Verhoeff; UIDAI assigns no number that begins with 0 or 1.
func checkAadhaar(v value) verdict { return passes(v.b[0] >= '2' && verhoeff(v.b[:12])) }

// checkPAN: the fourth letter names the kind of holder (Income Tax Department).
func checkPAN(v value) verdict {
	return passes(strings.IndexByte("ABCFGHJLPTKE", v.b[3]) >= 0 && num(v.b[5:9]) > 0)
}

// checkCPF and checkCNPJ: two modulo 11 digits (Receita Federal). Since 2026 a CNPJ may hold letters, which count by their
// ASCII code minus 48.
func checkCPF(v value) verdict {
	b := v.b[:11]
	d := func(n int) byte {
		sum := 0
		for i := range n {
			sum += int(b[i]-'0') * (n + 1 - i)
		}
		return byte('0' + sum*10%11%10)
	}
	return passes(!uniform(b) && d(9) == b[9] && d(10) == b[10])
}

func checkCNPJ(v value) verdict {
	b := v.b[:14]
	d := func(n int) byte {
		sum := 0
		for i := range n {
			sum += int(b[i]-'0') * ((n-1-i)%8 + 2)
		}
		if sum %= 11; sum < 2 {
			return '0'
		}
		return byte('0' + 11 - sum)
	}
	return passes(!uniform(b) && d(12) == b[12] && d(13) == b[13])
}

// checkRUT: modulo 11 with weights 2 to 7 from the right, K for ten (Registro Civil).
func checkRUT(v value) verdict {
	b := v.b[:v.n-1]
	if !digits(b) || num(b) == 0 {
		return bad
	}
	sum := 0
	for i := range b {
		sum += int(b[len(b)-1-i]-'0') * (i%6 + 2)
	}
	return passes("0K987654321"[sum%11] == v.b[v.n-1])
}

// checkCUIT: modulo 11, with 9 where it would be 10 (AFIP). The first two digits say whether it is a person or an organisation.
func checkCUIT(kinds string) check {
	return func(v value) verdict {
		b := v.b[:11]
		if "09987654321"[weighted(b, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)%11] != b[10] {
			return bad
		}
		for i := 0; i < len(kinds); i += 2 {
			if kinds[i:i+2] == string(b[:2]) {
				return sure
			}
		}
		return plausible
	}
}

// checkNIT: modulo 11 over primes (DIAN). Nine digits come without the check digit.
func checkNIT(v value) verdict {
	if v.n < 10 {
		return plausible
	}
	primes := [...]int{3, 7, 13, 17, 19, 23, 29, 37, 41, 43}
	b, sum := v.b[:v.n-1], 0
	for i := range b {
		sum += int(b[len(b)-1-i]-'0') * primes[i]
	}
	return passes("01987654321"[sum%11] == v.b[v.n-1])
}

// checkTFN: weights 1, 4, 3, 7, 5, 8, 6, 9, 10 modulo 11 (ATO). The old numbers of eight digits follow another rule.
func checkTFN(v value) verdict {
	if v.n == 8 {
		return plausible
	}
	b := v.b[:9]
	return passes(num(b) > 0 && weighted(b, 1, 4, 3, 7, 5, 8, 6, 9, 10)%11 == 0)
}

// checkUTR: the first digit checks the other nine, modulo 11 (HMRC).
func checkUTR(v value) verdict {
	b := v.b[:v.n]
	if class[b[v.n-1]] == isLetter {
		if b[v.n-1] != 'K' {
			return none
		}
		b = b[:v.n-1]
	}
	return passes(num(b) > 0 && "21987654321"[weighted(b[1:], 6, 7, 8, 9, 10, 5, 4, 3, 2)%11] == b[0])
}

// checkSPI: the last three digits are the first ten modulo 511 (DGFiP).
func checkSPI(v value) verdict {
	b := v.b[:13]
	return passes(b[0] <= '3' && num(b[:10]) > 0 && num(b[:10])%511 == num(b[10:]))
}

// checkIdNr: ISO/IEC 7064 MOD 11,10; among the first ten digits one stands two or three times, the others at most once (BZSt).
func checkIdNr(v value) verdict {
	b := v.b[:11]
	var count [10]int
	for _, c := range b[:10] {
		count[c-'0']++
	}
	repeated := 0
	for _, n := range count {
		if n > 3 {
			return bad
		}
		if n > 1 {
			repeated++
		}
	}
	return passes(b[0] != '0' && repeated == 1 && mod11x10(b))
}

// checkGermanID: document numbers use few letters and carry an ICAO check digit in the tenth place. The nine characters alone
// may also be printed.
func checkGermanID(v value) verdict {
	b := v.b[:v.n]
	letters := 0
	for _, c := range b[:9] {
		if class[c] == isLetter {
			letters++
			if strings.IndexByte("CFGHJKLMNPRTVWXYZ", c) < 0 {
				return none
			}
		}
	}
	switch {
	case letters == 0 && v.n == 9:
		return plausible
	case v.n == 9:
		return hints(class[b[0]] == isLetter && letters < 9)
	case v.n == 11 && b[10] != 'D', class[b[9]] != isDigit:
		return none
	}
	return passes(icao731(b[:9]) == b[9])
}

const dniLetters = "TRWAGMYFPDXBNJZSQVHLCKE"

// checkDNI: the letter is the number modulo 23 (Ministerio del Interior); a NIE begins with X, Y or Z for 0, 1, 2.
func checkDNI(v value) verdict {
	b := v.b[:v.n-1]
	if !digits(b) {
		return none
	}
	if num(b) == 0 || uniform(b) && b[0] == '9' {
		return bad
	}
	return passes(dniLetters[num(b)%23] == v.b[v.n-1])
}

func checkNIE(v value) verdict {
	b := v.b
	if b[0] < 'X' {
		return none
	}
	b[0] -= 'X' - '0'
	return passes(dniLetters[num(b[:8])%23] == b[8])
}

// checkCIF: the check character of Spanish organisations, a digit or a letter by kind; K, L and M are natural persons.
func checkCIF(v value) verdict {
	b := v.b[:9]
	switch {
	case strings.IndexByte("XYZ", b[0]) >= 0:
		return checkNIE(v)
	case strings.IndexByte("KLM", b[0]) >= 0:
		return passes(dniLetters[num(b[1:8])%23] == b[8])
	case strings.IndexByte("ABCDEFGHJNPQRSUVW", b[0]) < 0:
		return none
	}
	var full [8]byte
	copy(full[:], b[1:8])
	full[7] = '0'
	d := (10 - luhnSum(full[:])%10) % 10
	return passes(b[8] == byte('0'+d) || b[8] == "JABCDEFGHI"[d])
}

// checkNUSS: province and number modulo 97; a number below ten million is joined without its leading zeros (Seguridad Social).
func checkNUSS(v value) verdict {
	b := v.b[:v.n]
	p, n, c := num(b[:2]), num(b[2:v.n-2]), num(b[v.n-2:])
	if p == 0 || p > 66 {
		return bad
	}
	joint := p*10_000_000 + n
	if n >= 10_000_000 {
		joint = p*100_000_000 + n
	}
	return passes(joint%97 == c)
}

const fiscalOdd = "\x01\x00\x05\x07\x09\x0d\x0f\x11\x13\x15\x02\x04\x12\x14\x0b\x03\x06\x08\x0c\x0e\x10\x0a\x16\x19\x18\x17"

// fiscal is the check letter of Italian codes: characters in odd places count by a table, those in even places by their rank.
func fiscal(b []byte) byte {
	sum := 0
	for i, c := range b {
		v := int(c - '0')
		if class[c] == isLetter {
			v = int(c - 'A')
		}
		if i%2 == 0 {
			v = int(fiscalOdd[v])
		}
		sum += v
	}
	return byte('A' + sum%26)
}

// checkFiscalCode: six letters, then digits in which letters may stand to tell namesakes apart (Agenzia delle Entrate).
func checkFiscalCode(v value) verdict {
	b := v.b[:16]
	for _, i := range [...]int{6, 7, 9, 10, 12, 13, 14} {
		if class[b[i]] == isLetter && strings.IndexByte("LMNPQRSTUV", b[i]) < 0 {
			return none
		}
	}
	return passes(strings.IndexByte("ABCDEHLMPRST", b[8]) >= 0 && fiscal(b[:15]) == b[15])
}

func checkLuhn(v value) verdict { return passes(luhn(v.b[:v.n]) && !uniform(v.b[:v.n])) }

// checkSUBE: prefix 6061, Luhn.
func checkSUBE(v value) verdict { return passes(string(v.b[:4]) == "6061" && luhn(v.b[:16])) }

// curpAlphabet ranks the characters of CURP and RFC check digits; in CURP the letter N with tilde stands between N and O, in RFC
// an ampersand.
func curpRank(c byte) int {
	switch {
	case class[c] == isDigit:
		return int(c - '0')
	case c <= 'N':
		return int(c-'A') + 10
	}
	return int(c-'A') + 11
}

// yymmdd reports whether six digits can be a date.
func yymmdd(b []byte) bool {
	m, d := num(b[2:4]), num(b[4:6])
	return m >= 1 && m <= 12 && d >= 1 && d <= 31
}

// checkCURP: date, sex, check digit (RENAPO).
func checkCURP(v value) verdict {
	b := v.b[:18]
	if !yymmdd(b[4:10]) || strings.IndexByte("HMX", b[10]) < 0 {
		return bad
	}
	sum := 0
	for i, c := range b[:17] {
		sum += curpRank(c) * (18 - i)
	}
	return passes(byte('0'+(10-sum%10)%10) == b[17])
}

// checkRFC: a date; the check digit is right in most registrations, not in all (SAT). The two generic numbers are nobody's.
func checkRFC(v value) verdict {
	b := v.b[:v.n]
	date := b[v.n-9 : v.n-3]
	if s := string(b); s == "XAXX010101000" || s == "XEXX010101000" || !yymmdd(date) {
		return bad
	}
	sum, w := 0, 13
	if v.n == 12 {
		sum, w = 37*13, 12 // the short form has a leading space, which ranks 37
	}
	for _, c := range b[:v.n-1] {
		sum += curpRank(c) * w
		w--
	}
	return hints("0A987654321"[sum%11] == b[v.n-1])
}

// checkVIN: ISO 3779 has no I, O and Q. The check digit (49 CFR 565.15) is the rule in North America alone.
func checkVIN(v value) verdict {
	const (
		rank    = "12345678012345070923456789" // of A to Z
		weights = "\x08\x07\x06\x05\x04\x03\x02\x0a\x00\x09\x08\x07\x06\x05\x04\x03\x02"
	)
	b, sum, letters := v.b[:17], 0, 0
	for i, c := range b {
		d := c
		if class[c] == isLetter {
			letters++
			if c == 'I' || c == 'O' || c == 'Q' {
				return none
			}
			d = rank[c-'A']
		}
		sum += int(d-'0') * int(weights[i])
	}
	ok := "0123456789X"[sum%11] == b[8]
	switch {
	case letters == 0:
		return none
	case ok:
		return sure
	case b[0] >= '1' && b[0] <= '5':
		return bad
	}
	return plausible
}

// checkHealthCanada: British Columbia's personal health number checks modulo 11, Ontario's by Luhn; the others have no public
// check.
func checkHealthCanada(v value) verdict {
	b := v.b[:10]
	if b[0] == '9' {
		c := (11 - weighted(b[1:9], 2, 4, 8, 5, 10, 9, 7, 3)%11) % 11
		return hints(c == int(b[9]-'0'))
	}
	return hints(luhn(b))
}

// checkFinnishEHIC: the card numbers of Kela begin with 80246.
func checkFinnishEHIC(v value) verdict { return passes(string(v.b[:5]) == "80246") }

func checkEHIC(v value) verdict {
	if string(v.b[:2]) != "80" {
		return none
	}
	return plausible
}

// checkDriverUK: the structure that DVLA publishes. Surname padded with 9, birth date with 50 added to the month for women,
// initials or 9.
func checkDriverUK(v value) verdict {
	b := v.b[:v.n]
	padded := false
	for _, c := range b[:5] {
		switch {
		case c == '9':
			padded = true
		case class[c] == isDigit || padded:
			return none
		}
	}
	if class[b[0]] != isLetter || class[b[11]] == isDigit && b[11] != '9' || class[b[12]] == isDigit && b[12] != '9' {
		return none
	}
	m, d := num(b[6:8]), num(b[8:10])
	if m > 50 {
		m -= 50
	}
	return passes(m >= 1 && m <= 12 && d >= 1 && d <= 31)
}

// checkSomeDigits keeps words out of forms that allow letters and digits in every place.
func checkSomeDigits(v value) verdict {
	n := 0
	for _, c := range v.b[:v.n] {
		if class[c] == isDigit {
			n++
		}
	}
	if n < 3 {
		return none
	}
	return plausible
}

// checkSeparated is for forms that would be anything without their separators.
func checkSeparated(v value) verdict {
	if v.sep == 0 {
		return none
	}
	return plausible
}

func checkNotUniform(v value) verdict {
	if b := v.b[:v.n]; uniform(b) && (b[0] == '0' || b[0] == '9') {
		return bad
	}
	return plausible
}
