package detect

import "coffer"

// ibans are the countries whose IBAN Macie reports, with the account part as the IBAN registry describes it (ISO 13616, kept by
// SWIFT): n digits, a letters, c either.
var ibans = [...]struct{ country, code, bban string }{
	{"ALBANIA", "AL", "8n16c"},
	{"ANDORRA", "AD", "8n12c"},
	{"BOSNIA_AND_HERZEGOVINA", "BA", "16n"},
	{"BRAZIL", "BR", "23n1a1c"},
	{"BULGARIA", "BG", "4a6n8c"},
	{"COSTA_RICA", "CR", "18n"},
	{"CROATIA", "HR", "17n"},
	{"CYPRUS", "CY", "8n16c"},
	{"CZECH_REPUBLIC", "CZ", "20n"},
	{"DENMARK", "DK", "14n"},
	{"DOMINICAN_REPUBLIC", "DO", "4c20n"},
	{"EGYPT", "EG", "25n"},
	{"ESTONIA", "EE", "16n"},
	{"FAROE_ISLANDS", "FO", "14n"},
	{"FINLAND", "FI", "14n"},
	{"FRANCE", "FR", "10n11c2n"},
	{"GEORGIA", "GE", "2a16n"},
	{"GERMANY", "DE", "18n"},
	{"GREECE", "GR", "7n16c"},
	{"GREENLAND", "GL", "14n"},
	{"HUNGARY", "HU", "24n"},
	{"ICELAND", "IS", "22n"},
	{"IRELAND", "IE", "4a14n"},
	{"ITALY", "IT", "1a10n12c"},
	{"JORDAN", "JO", "4a4n18c"},
	{"KOSOVO", "XK", "16n"},
	{"LIECHTENSTEIN", "LI", "5n12c"},
	{"LITHUANIA", "LT", "16n"},
	{"MALTA", "MT", "4a5n18c"},
	{"MAURITANIA", "MR", "23n"},
	{"MAURITIUS", "MU", "4a19n3a"},
	{"MONACO", "MC", "10n11c2n"},
	{"MONTENEGRO", "ME", "18n"},
	{"NETHERLANDS", "NL", "4a10n"},
	{"NORTH_MACEDONIA", "MK", "3n10c2n"},
	{"POLAND", "PL", "24n"},
	{"PORTUGAL", "PT", "21n"},
	{"SAN_MARINO", "SM", "1a10n12c"},
	{"SENEGAL", "SN", "2c22n"},
	{"SERBIA", "RS", "18n"},
	{"SLOVAKIA", "SK", "20n"},
	{"SLOVENIA", "SI", "15n"},
	{"SPAIN", "ES", "20n"},
	{"SWEDEN", "SE", "20n"},
	{"SWITZERLAND", "CH", "5n12c"},
	{"TIMOR_LESTE", "TL", "19n"},
	{"TUNISIA", "TN", "20n"},
	{"TURKIYE", "TR", "6n16c"},
	{"UK", "GB", "4a14n"},
	{"UKRAINE", "UA", "6n19c"},
	{"UNITED_ARAB_EMIRATES", "AE", "19n"},
	{"VIRGIN_ISLANDS", "VG", "4a16n"},
}

func ibanType(country string) coffer.DataType {
	return coffer.DataType(country + "_BANK_ACCOUNT_NUMBER")
}

// ibanForm is the form of a country's IBAN: separators anywhere behind the check digits, since people group it as they like and the
// checksum decides.
func ibanForm(code, bban string) form {
	f := form{free: ^uint64(0xf), check: func(v value) verdict {
		b := v.b[:v.n]
		switch {
		case string(b[:2]) != code:
			return none
		case mod97(mod97(0, b[4:]), b[:4]) == 1:
			return certain
		}
		return bad
	}}
	for _, c := range "AA99" {
		f.place(byte(c))
	}
	n := 0
	for _, c := range []byte(bban) {
		if class[c] == isDigit {
			n = n*10 + int(c-'0')
			continue
		}
		for ; n > 0; n-- {
			f.place(map[byte]byte{'n': '9', 'a': 'A', 'c': 'X'}[c])
		}
	}
	return f
}

// checkRIB: the key of a French relevé d'identité bancaire. Letters count as on an old telephone: A, J = 1, B, K, S = 2, and so on.
func checkRIB(v value) verdict {
	var d [23]byte
	for i, c := range v.b[:23] {
		switch {
		case c >= 'S':
			c = c - 'S' + '2'
		case c >= 'J':
			c = c - 'J' + '1'
		case c >= 'A':
			c = c - 'A' + '1'
		}
		d[i] = c
	}
	return passes(97-(89*num(d[:5])+15*num(d[5:10])+3*num(d[10:21]))%97 == num(d[21:23]))
}

// checkCIN: the control letter of an Italian account number.
func checkCIN(v value) verdict { return passes(fiscal(v.b[1:23]) == v.b[0]) }

// checkCCC: the two control digits of a Spanish account number, modulo 11 over powers of two.
func checkCCC(v value) verdict {
	b := v.b[:20]
	d := func(sum int) byte {
		if sum %= 11; sum >= 2 {
			sum = 11 - sum
		}
		return byte('0' + sum)
	}
	first := d(weighted(b[:8], 4, 8, 5, 10, 9, 7, 3, 6))
	second := d(weighted(b[10:], 1, 2, 4, 8, 5, 10, 9, 7, 3, 6))
	return passes(first == b[8] && second == b[9])
}

// checkBLZ: a German bank code does not begin with 0 or 9.
func checkBLZ(v value) verdict {
	if v.b[0] == '0' || v.b[0] == '9' {
		return bad
	}
	return plausible
}
