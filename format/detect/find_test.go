package detect_test

import (
	"slices"
	"strings"
	"testing"

	"coffer"
	"coffer/format/detect"
)

// A case is a type, a text and the values wanted in it; "!" marks one that fails its check. A text that begins with "=" is a
// whole cell.
type findCase struct {
	id   coffer.DataType
	text string
	want []string
}

var findCases = []findCase{
	// Two values, boundaries, odd separators.
	{"USA_SOCIAL_SECURITY_NUMBER", "719-63-6059 1832", []string{"719-63-6059"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "=719-63-6059 1832", []string{"719-63-6059"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "=719-63-6059 and 719 63 6060", []string{"719-63-6059", "719 63 6060"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "=719-63-6059/719-63-6060", []string{"719-63-6059", "719-63-6060"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "=719.63.6059", []string{"719.63.6059"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "=719 - 63 - 6059", []string{"719 - 63 - 6059"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "=719\u201163\u20116059", []string{"719\u201163\u20116059"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "= 719636059 ", []string{"719636059"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "SSN719636059.", []string{"719636059"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "ids 000-12-3456 and 666-12-3456, 123-00-4567", []string{"!000-12-3456", "!666-12-3456", "!123-00-4567"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "550e8400-e29b-41d4-a716-446655440000", []string{}},
	{"USA_SOCIAL_SECURITY_NUMBER", "71963605912", []string{}},
	{"USA_SOCIAL_SECURITY_NUMBER", "room 719 636059", []string{}},
	{"USA_SOCIAL_SECURITY_NUMBER", "=719 636059", []string{"719 636059"}},
	{"USA_SOCIAL_SECURITY_NUMBER", "é719636059", []string{"719636059"}}, // as "x719636059"
	{"USA_SOCIAL_SECURITY_NUMBER", "٣719636059", []string{}},
	{"BANK_ACCOUNT_NUMBER", "4111111111111111", []string{"4111111111111111"}},
	{"BANK_ACCOUNT_NUMBER", "411111111111111112", []string{}},
	{"BANK_ACCOUNT_NUMBER", "=123456789012 987654321098", []string{"123456789012", "987654321098"}},
	{"BANK_ACCOUNT_NUMBER", "=1234-5678-9012", []string{"1234-5678-9012"}},
	{"BANK_ACCOUNT_NUMBER", "=123456789-01", []string{"123456789-01"}},
	{"BANK_ACCOUNT_NUMBER", "from 123456789012,987654321098;000123456", []string{"123456789012", "987654321098", "000123456"}},

	// Cards. The numbers are the issuers' test numbers, or made of them.
	{"CREDIT_CARD_NUMBER", "pay 4111 1111 1111 1111 123 today", []string{"4111 1111 1111 1111"}},
	{"CREDIT_CARD_NUMBER", "3782-822463-10005 and 4111-1111-1111-1111", []string{"3782-822463-10005", "4111-1111-1111-1111"}},
	{"CREDIT_CARD_NUMBER", "4111111111111112", []string{"!4111111111111112"}},
	{"CREDIT_CARD_NUMBER", "=4111.1111.1111.1111", []string{"4111.1111.1111.1111"}},
	{"CREDIT_CARD_NUMBER", "=4111 1111 1111 1112", []string{"!4111 1111 1111 1112"}},
	{"CREDIT_CARD_NUMBER", "=41 11 11 11 11 11 11 11", []string{"41 11 11 11 11 11 11 11"}},
	{"CREDIT_CARD_NUMBER", "order 2026 4111111111111111", []string{"4111111111111111"}},
	{"CREDIT_CARD_NUMBER_(NO_KEYWORD)", "5555555555554444", []string{"5555555555554444"}},
	{"CREDIT_CARD_EXPIRATION", "exp 02/26", []string{"02/26"}},
	{"CREDIT_CARD_EXPIRATION", "expires Feb 2026; 2026-02; 12-2027; 13/26", []string{"Feb 2026", "2026-02", "12-2027", "!13/26"}},
	{"CREDIT_CARD_EXPIRATION", "expY=2026, expM=02", []string{"expY=2026, expM=02"}},
	{"CREDIT_CARD_EXPIRATION", "=0226", []string{"0226"}},
	{"CREDIT_CARD_EXPIRATION", "=02 / 2026", []string{"02 / 2026"}},
	{"CREDIT_CARD_EXPIRATION", "=2026-02-28", []string{"2026-02-28"}},
	{"CREDIT_CARD_SECURITY_CODE", "on 2026-07-14 cvv 123 paid 9999", []string{"123"}},
	{"CREDIT_CARD_SECURITY_CODE", "=1234", []string{"1234"}},
	{"CREDIT_CARD_MAGNETIC_STRIPE", "x %B4111111111111111^DOE/JANE^30121010000000000000? y", []string{"%B4111111111111111^DOE/JANE^30121010000000000000?"}},
	{"CREDIT_CARD_MAGNETIC_STRIPE", ";4111111111111111=30121010000012300000?", []string{";4111111111111111=30121010000012300000?"}},

	// Accounts. The IBANs are the examples of the registry.
	{"UK_BANK_ACCOUNT_NUMBER", "GB29 NWBK 6016 1331 9268 19", []string{"GB29 NWBK 6016 1331 9268 19"}},
	{"UK_BANK_ACCOUNT_NUMBER", "sort 60-16-13 31926819 and 601613 31926819", []string{"60-16-13 31926819", "601613 31926819"}},
	{"UK_BANK_ACCOUNT_NUMBER", "=31926819", []string{"31926819"}},
	{"GERMANY_BANK_ACCOUNT_NUMBER", "IBAN: DE89 3704 0044 0532 0130 00.", []string{"DE89 3704 0044 0532 0130 00"}},
	{"GERMANY_BANK_ACCOUNT_NUMBER", "de89370400440532013000", []string{"de89370400440532013000"}},
	{"GERMANY_BANK_ACCOUNT_NUMBER", "DE88370400440532013000", []string{"!DE88370400440532013000"}},
	{"GERMANY_BANK_ACCOUNT_NUMBER", "370400440532013000", []string{"370400440532013000"}},
	{"FRANCE_BANK_ACCOUNT_NUMBER", "FR14 2004 1010 0505 0001 3M02 606", []string{"FR14 2004 1010 0505 0001 3M02 606"}},
	{"FRANCE_BANK_ACCOUNT_NUMBER", "20041 01005 0500013M026 06", []string{"20041 01005 0500013M026 06"}},
	{"FRANCE_BANK_ACCOUNT_NUMBER", "20041 01005 0500013M026 07", []string{"!20041 01005 0500013M026 07"}},
	{"ITALY_BANK_ACCOUNT_NUMBER", "IT60 X054 2811 1010 0000 0123 456", []string{"IT60 X054 2811 1010 0000 0123 456"}},
	{"ITALY_BANK_ACCOUNT_NUMBER", "X 05428 11101 000000123456", []string{"X 05428 11101 000000123456"}},
	{"SPAIN_BANK_ACCOUNT_NUMBER", "ES91 2100 0418 4502 0005 1332", []string{"ES91 2100 0418 4502 0005 1332"}},
	{"SPAIN_BANK_ACCOUNT_NUMBER", "2100-0418-45-0200051332", []string{"2100-0418-45-0200051332"}},

	// National numbers: documentation examples.
	{"UK_NATIONAL_INSURANCE_NUMBER", "AB123456C, QQ 12 34 56 C", []string{"AB123456C", "!QQ 12 34 56 C"}},
	{"CANADA_SOCIAL_INSURANCE_NUMBER", "046 454 286; 046-454-287", []string{"046 454 286", "!046-454-287"}},
	{"SPAIN_DNI_NUMBER", "12345678Z 12345678-A", []string{"12345678Z", "!12345678-A"}},
	{"SPAIN_NIE_NUMBER", "X1234567L y X-1234567-L", []string{"X1234567L", "X-1234567-L"}},
	{"SPAIN_TAX_IDENTIFICATION_NUMBER", "A58818501", []string{"A58818501"}},
	{"ITALY_NATIONAL_IDENTIFICATION_NUMBER", "RSSMRA85T10A562S / RSS MRA 85T10 A562S", []string{"RSSMRA85T10A562S", "RSS MRA 85T10 A562S"}},
	{"FRANCE_NATIONAL_IDENTIFICATION_NUMBER", "2 55 08 14 168 025 38", []string{"2 55 08 14 168 025 38"}},
	{"UK_NHS_NUMBER", "943 476 5919", []string{"943 476 5919"}},
	{"USA_NATIONAL_PROVIDER_IDENTIFIER", "1234567893", []string{"1234567893"}},
	{"USA_MEDICARE_BENEFICIARY_IDENTIFIER", "1EG4-TE5-MK73", []string{"1EG4-TE5-MK73"}},
	{"BRAZIL_CPF_NUMBER", "390.533.447-05", []string{"390.533.447-05"}},
	{"BRAZIL_CNPJ_NUMBER", "16.727.230/0001-97", []string{"16.727.230/0001-97"}},
	{"CHILE_RUT_NUMBER", "12.531.909-2 76086428-5", []string{"12.531.909-2", "76086428-5"}},
	{"VEHICLE_IDENTIFICATION_NUMBER", "1M8GDM9AXKP042788", []string{"1M8GDM9AXKP042788"}},
	{"INDIA_PERMANENT_ACCOUNT_NUMBER", "ACUPA7085R", []string{"ACUPA7085R"}},
	{"AUSTRALIA_TAX_FILE_NUMBER", "123 456 782", []string{"123 456 782"}},
	{"UK_TAX_IDENTIFICATION_NUMBER", "19558 39661", []string{"19558 39661"}},
	{"UK_DRIVERS_LICENSE", "MORGA657054SM9IJ", []string{"MORGA657054SM9IJ"}},
	{"UK_DRIVERS_LICENSE", "MORGA 657054 SM9IJ 35", []string{"MORGA 657054 SM9IJ 35"}},
	{"DRIVERS_LICENSE", "driver license A123-4567-8901 issued 20240115", []string{"A123-4567-8901"}},
	{"USA_PASSPORT_NUMBER", "passport 340007237 or C01234567", []string{"340007237", "C01234567"}},
	{"GERMANY_PASSPORT_NUMBER", "C01X0006H1", []string{"C01X0006H1"}},
	{"FRANCE_PASSPORT_NUMBER", "12AB34567", []string{"12AB34567"}},

	// Dates.
	{"DATE_OF_BIRTH", "=1990-05-12T00:00:00Z", []string{"1990-05-12T00:00:00Z"}},
	{"DATE_OF_BIRTH", "born 12/05/1990, 5/12/90, 12.05.1990; 12-05-1990", []string{"12/05/1990", "5/12/90", "12.05.1990", "12-05-1990"}},
	{"DATE_OF_BIRTH", "12 May 1990, May 12, 1990, 12th of May 1990, 12-May-90", []string{"12 May 1990", "May 12, 1990", "12th of May 1990", "12-May-90"}},
	{"DATE_OF_BIRTH", "le 3 août 1985; 3. März 1985; 3 de enero de 1985", []string{"3 août 1985", "3. März 1985", "3 de enero de 1985"}},
	{"DATE_OF_BIRTH", "=19900512", []string{"19900512"}},
	{"DATE_OF_BIRTH", "31/02/1990 2026-13-45", []string{"!31/02/1990", "!2026-13-45"}},

	// Phones: numbers that the plans set aside for fiction.
	{"PHONE_NUMBER", "call (206) 555-0100 or +1 206.555.0101 x12, 1-800-555-0199", []string{"(206) 555-0100", "+1 206.555.0101 x12", "1-800-555-0199"}},
	{"PHONE_NUMBER", "206-555-0100 1234", []string{"206-555-0100"}},
	{"PHONE_NUMBER", "2065550100", []string{"2065550100"}},
	{"PHONE_NUMBER", "106-555-0100", []string{"!106-555-0100"}},
	{"UK_PHONE_NUMBER", "020 7946 0958; +44 (0)20 7946 0958; +442079460958", []string{"020 7946 0958", "+44 (0)20 7946 0958", "+442079460958"}},
	{"FRANCE_PHONE_NUMBER", "01 99 00 12 34, +33 1 99 00 12 34, 0033199001234", []string{"01 99 00 12 34", "+33 1 99 00 12 34", "0033199001234"}},
	{"GERMANY_PHONE_NUMBER", "030 23125 001 und +49 30 23125001", []string{"030 23125 001", "+49 30 23125001"}},
	{"SPAIN_PHONE_NUMBER", "910 123 456", []string{"910 123 456"}},
	{"ITALY_PHONE_NUMBER", "+39 06 1234 5678, 333 123 4567", []string{"+39 06 1234 5678", "333 123 4567"}},
	{"BRAZIL_PHONE_NUMBER", "(11) 95555-0100 e +55 11 3555-0100", []string{"(11) 95555-0100", "+55 11 3555-0100"}},

	// Secrets. None of them opens anything.
	{"AWS_CREDENTIALS", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzz9", []string{"wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzz9"}},
	{"AWS_CREDENTIALS", "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzz9", []string{"AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzz9"}},
	{"AWS_CREDENTIALS", "id AKIAIOSFODNN7EXAMPLE", []string{"AKIAIOSFODNN7EXAMPLE"}},
	{"AWS_CREDENTIALS", "da39a3ee5e6b4b0d3255bfef95601890afd80709", []string{}},
	{"JSON_WEB_TOKEN", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln, next", []string{"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"}},
	{"HTTP_BASIC_AUTH_HEADER", "GET / HTTP/1.1\r\nAuthorization: Basic dXNlcjpwYXNz\r\nHost: x", []string{"Authorization: Basic dXNlcjpwYXNz"}},
	{"HTTP_COOKIE", "Set-Cookie: sid=31d4d96e; Path=/\r\nCookie: a=b; c=d\r\n", []string{"Set-Cookie: sid=31d4d96e; Path=/", "Cookie: a=b; c=d"}},
	{"PKCS", "k:\n-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE KEY-----\nend", []string{"-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE KEY-----"}},
	{"PKCS", "-----BEGIN PRIVATE KEY-----\nMIIB\nAAAA==\n\nthe rest is cut", []string{"-----BEGIN PRIVATE KEY-----\nMIIB\nAAAA=="}},
	{"OPENSSH_PRIVATE_KEY", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----", []string{"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----"}},
	{"PGP_PRIVATE_KEY", "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: x\n\nlQ==\n-----END PGP PRIVATE KEY BLOCK-----", []string{"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: x\n\nlQ==\n-----END PGP PRIVATE KEY BLOCK-----"}},
	{"PUTTY_PRIVATE_KEY", "PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nComment: k\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 1\nBBBB\nPrivate-MAC: 0123abcd\nrest", []string{"PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nComment: k\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 1\nBBBB\nPrivate-MAC: 0123abcd"}},
	{"GCP_API_KEY", "key=AIzaSyA-0123456789abcdefghijklmnopqrstu&x", []string{"AIzaSyA-0123456789abcdefghijklmnopqrstu"}},
	{"STRIPE_CREDENTIALS", "sk" + "_live_" + "abcdefghijklmnop0123456789", []string{"sk" + "_live_" + "abcdefghijklmnop0123456789"}},

	// Places.
	{"LATITUDE_LONGITUDE", "at 47.6062, -122.3321 and 91.50, 10.25", []string{"47.6062, -122.3321", "!91.50, 10.25"}},
	{"ADDRESS", "Ship to 123 Any Street, Seattle, WA 98101-1234 by Friday", []string{"123 Any Street, Seattle, WA 98101-1234"}},
	{"ADDRESS", "an: Musterstraße 12, 12345 Musterstadt", []string{"Musterstraße 12, 12345 Musterstadt"}},
	{"ADDRESS", "10 Example Road\nLondon SW1A 1AA\n", []string{"10 Example Road\nLondon SW1A 1AA"}},
	{"ADDRESS", "10 Example Road\nFlat 2\nLondon\nSW1A 1AA\n", []string{"10 Example Road\nFlat 2\nLondon\nSW1A 1AA"}},
	{"ADDRESS", "111 Example St, Ottawa, ON K1A 0B1", []string{"111 Example St, Ottawa, ON K1A 0B1"}},
	{"ADDRESS", "1 Example St, Sydney NSW 2000", []string{"1 Example St, Sydney NSW 2000"}},
	{"ADDRESS", "12 rue de l'Exemple, 75001 Paris", []string{"12 rue de l'Exemple, 75001 Paris"}},
	{"ADDRESS", "=900-55-1234", []string{}},

	// Names.
	{"NAME", "=Martha Rivera", []string{"Martha Rivera"}},
	{"NAME", "July payout, Martha Rivera to Carlos de la Cruz.", []string{"Martha Rivera", "Carlos de la Cruz"}},
	{"NAME", "Dear John Q. Public, your Invoice Number is 7", []string{"John Q. Public"}},
	{"NAME", "=900-55-1234", []string{}},

	// Types that are not known.
	{"NEW_IDENTIFIER", "mail jane@example.com, http://192.0.2.1/x?y=1 or ip=192.0.2.7:80 ::1", []string{"jane@example.com", "http://192.0.2.1/x?y=1", "192.0.2.7", "::1"}},
	{"NEW_IDENTIFIER", "the badge MT-48213377 of abcdefgh, 12345", []string{"MT-48213377"}},
}

func TestFind(t *testing.T) {
	s := set(t)
	for _, c := range findCases {
		text, cell := strings.CutPrefix(c.text, "=")
		d, _ := s.For(c.id, "")
		if got := values(text, d.Find(detect.Text{Text: []byte(text), Cell: cell})); !slices.Equal(got, c.want) {
			t.Errorf("%s in %q:\n got %q\nwant %q", c.id, c.text, got, c.want)
		}
	}
}
