package detect

import "sort"

// testCards are the issuers' published test numbers. Macie never reports them (user guide, "Credit card numbers"), and a sweep
// leaves them alone.
var testCards = [...]string{
	"122000000000003", "2222405343248877", "2222990905257051", "2223007648726984", "2223577120017656",
	"30569309025904", "34343434343434", "3528000700000000", "3530111333300000", "3566002020360505",
	"36148900647913", "36700102000000", "371449635398431", "378282246310005", "378734493671000",
	"38520000023237", "4012888888881881", "4111111111111111", "4222222222222", "4444333322221111",
	"4462030000000000", "4484070000000000", "4911830000000", "4917300800000000", "4917610000000000",
	"4917610000000000003", "5019717010103742", "5105105105105100", "5111010030175156", "5185540810000019",
	"5200828282828210", "5204230080000017", "5204740009900014", "5420923878724339", "5454545454545454",
	"5455330760000018", "5506900490000436", "5506900490000444", "5506900510000234", "5506920809243667",
	"5506922400634930", "5506927427317625", "5553042241984105", "5555553753048194", "5555555555554444",
	"5610591081018250", "6011000400000000", "6011000990139424", "6011111111111117", "630490017740292441",
	"630495060000000000", "6331101999990016", "6759649826438453", "6799990100000000019", "76009244561",
}

func testCard(b []byte) bool {
	i := sort.Search(len(testCards), func(i int) bool { return testCards[i] >= string(b) })
	return i < len(testCards) && testCards[i] == string(b)
}

// brand says whether the issuer prefix and the length are those of a brand that Macie knows: American Express, Dankort, Diners
// Club, Discover, Electron, JCB, Mastercard (with Maestro), UnionPay, Visa.
func brand(b []byte) bool {
	n := len(b)
	p2, p3, p4, p6 := num(b[:2]), num(b[:3]), num(b[:4]), num(b[:6])
	switch {
	case b[0] == '4': // Visa, Electron, Visa/Dankort
		return n == 13 || n == 16 || n == 19
	case p2 == 34 || p2 == 37: // American Express
		return n == 15
	case p3 >= 300 && p3 <= 305 || p4 == 3095 || p2 == 36 || p2 == 38 || p2 == 39: // Diners Club
		return n == 14 || n >= 16
	case p4 >= 3528 && p4 <= 3589: // JCB
		return n >= 16
	case p4 == 2131 || p4 == 1800: // JCB, old
		return n == 15
	case p2 >= 51 && p2 <= 55 || p4 >= 2221 && p4 <= 2720: // Mastercard
		return n == 16
	case p4 == 5019: // Dankort
		return n == 16
	case p4 == 5018 || p4 == 5020 || p4 == 5038 || p4 == 5893 || p4 == 6304 || p4 == 6759 || p4 >= 6761 && p4 <= 6763: // Maestro
		return true
	case p4 == 6011 || p3 >= 644 && p3 <= 649 || p2 == 65 || p6 >= 622126 && p6 <= 622925: // Discover
		return n >= 16
	case p2 == 62 || p2 == 81: // UnionPay
		return n >= 16
	}
	return false
}

// checkCard: Luhn, prefix and length. A number that passes Luhn under a prefix that is not in the tables is believed where a
// card was reported, for issuers come and go, but proves nothing.
func checkCard(v value) verdict {
	b := v.b[:v.n]
	switch {
	case testCard(b):
		return plausible
	case !luhn(b) || uniform(b):
		return bad
	case brand(b):
		return sure
	case v.sep == 0:
		return plausible
	}
	return bad
}

// checkCardOddly is for numbers with separators where a card has none: unless everything holds they are unrelated numbers. Some test
// numbers are shorter than any card.
func checkCardOddly(v value) verdict {
	if b := v.b[:v.n]; v.n > 11 && luhn(b) && brand(b) && !uniform(b) || testCard(b) {
		return plausible
	}
	return none
}
