package detect_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"coffer"
	"coffer/format/detect"
)

func TestScan(t *testing.T) {
	for _, c := range []struct {
		id         coffer.DataType
		name, text string
		want       []string
	}{
		// A keyword within 30 characters on either side, or in the name, whatever its case and spacing.
		{"USA_SOCIAL_SECURITY_NUMBER", "", "SSN 719-63-6059", []string{"719-63-6059"}},
		{"USA_SOCIAL_SECURITY_NUMBER", "", "719-63-6059 is the social-security number", []string{"719-63-6059"}},
		{"USA_SOCIAL_SECURITY_NUMBER", "", "ssn" + strings.Repeat(" ", 30) + "719-63-6059", []string{"719-63-6059"}},
		{"USA_SOCIAL_SECURITY_NUMBER", "", "ssn" + strings.Repeat(" ", 31) + "719-63-6059", []string{}},
		{"USA_SOCIAL_SECURITY_NUMBER", "", "719-63-6059" + strings.Repeat("·", 30) + "ssn", []string{"719-63-6059"}},
		{"USA_SOCIAL_SECURITY_NUMBER", "", "719-63-6059" + strings.Repeat("·", 31) + "ssn", []string{}},
		{"USA_SOCIAL_SECURITY_NUMBER", "customerSSN", "719-63-6059", []string{"719-63-6059"}},
		{"USA_SOCIAL_SECURITY_NUMBER", "kyc.social_security_no", "719636059", []string{"719636059"}},
		{"USA_SOCIAL_SECURITY_NUMBER", "ssn", "900-55-1234 900551234", []string{"900-55-1234"}},
		{"USA_SOCIAL_SECURITY_NUMBER", "assn", "719-63-6059", []string{}},
		{"USA_SOCIAL_SECURITY_NUMBER", "", "719-63-6059", []string{}},
		{"CANADA_SOCIAL_INSURANCE_NUMBER", "business", "130692544", []string{}},
		{"CANADA_SOCIAL_INSURANCE_NUMBER", "sin", "130692544 130692545", []string{"130692544"}},
		{"FRANCE_TAX_IDENTIFICATION_NUMBER", "Numero d’identification fiscal", "3023217600053", []string{"3023217600053"}},
		{"CREDIT_CARD_NUMBER", "", "4000005701793771", []string{}},
		{"CREDIT_CARD_NUMBER", "cards.card number", "4000005701793771", []string{"4000005701793771"}},
		{"CREDIT_CARD_NUMBER", "company", "4000005701793771", []string{}},
		{"CREDIT_CARD_NUMBER_(NO_KEYWORD)", "", "4000005701793771, 4000005701793772", []string{"4000005701793771"}},
		// What Macie never reports.
		{"CREDIT_CARD_NUMBER_(NO_KEYWORD)", "", "4111111111111111 5555 5555 5555 4444", []string{}},
		{"AWS_CREDENTIALS", "aws_secret_access_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", []string{}},
		{"STRIPE_CREDENTIALS", "", "sk" + "_test_" + "4eC39HqLyjWDarjtT1zdp7dc", []string{}},
		{"MEXICO_INDIVIDUAL_RFC_NUMBER", "rfc", "XAXX010101000", []string{}},
		// An IBAN needs no keyword, the national form of the same account does.
		{"GERMANY_BANK_ACCOUNT_NUMBER", "", "DE89 3704 0044 0532 0130 00", []string{"DE89 3704 0044 0532 0130 00"}},
		{"GERMANY_BANK_ACCOUNT_NUMBER", "kontonummer", "37040044 0532013000", []string{}},
		{"SPAIN_BANK_ACCOUNT_NUMBER", "", "2100 0418 45 0200051332", []string{}},
		{"SPAIN_BANK_ACCOUNT_NUMBER", "codigo cuenta", "2100 0418 45 0200051332", []string{"2100 0418 45 0200051332"}},
		{"AWS_CREDENTIALS", "secret_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzz9", []string{"wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzz9"}},
		{"BANK_ACCOUNT_NUMBER", "bank account", "123456789012", []string{}},
		{"NAME", "full name", "Martha Rivera", []string{}},
		{"DATE_OF_BIRTH", "dob", "1990-05-12", []string{}},
		{"PHONE_NUMBER", "phone", "206-555-0100", []string{}},
	} {
		x := detect.Text{Text: []byte(c.text), Name: []byte(c.name)}
		if got := values(c.text, detector(t, c.id).Scan(x)); !slices.Equal(got, c.want) {
			t.Errorf("%s in %q %q: got %q, want %q", c.id, c.name, c.text, got, c.want)
		}
	}
}

func TestDistinct(t *testing.T) {
	for id, want := range map[coffer.DataType]bool{
		coffer.CardNumber: true, coffer.USSocialSecurity: true, "PKCS": true, "UK_DRIVERS_LICENSE": true, "GERMANY_BANK_ACCOUNT_NUMBER": true,
		coffer.BankAccountNumber: false, coffer.PersonName: false, coffer.Address: false, coffer.BirthDate: false, "PHONE_NUMBER": false,
		coffer.CardSecurityCode: false, "DRIVERS_LICENSE": false, "USA_PASSPORT_NUMBER": false, "ARGENTINA_DNI_NUMBER": false,
	} {
		if got := detector(t, id).Distinct(); got != want {
			t.Errorf("%s: Distinct() = %v", id, got)
		}
	}
}

func TestTypes(t *testing.T) {
	types := set(t, detect.Custom{Name: "badge", Regex: "x1"}).Types()
	// 166 managed identifiers and one of our own.
	if len(types) != 167 || types[166] != "badge" || !slices.IsSorted(types[:166]) {
		t.Errorf("%d types", len(types))
	}
}

func TestCustom(t *testing.T) {
	c := detect.Custom{Name: "badge", ID: "7d1b", Regex: `MT-\d{8}`, Keywords: []string{"Ausweis"}, IgnoreWords: []string{"0000"}, MaximumMatchDistance: 20}
	s := set(t, c)
	byID, ok := s.For("other", "7d1b")
	byName, ok2 := s.For("badge", "")
	if !ok || !ok2 || byID != byName {
		t.Fatal("a custom identifier is found by its id and by its name")
	}
	if _, ok := s.For("CREDIT_CARD_NUMBER", "gone"); ok {
		t.Error("a custom identifier that is not known is taken for a managed one")
	}
	for _, c := range []struct {
		name, text string
		find, scan []string
	}{
		{"", "AUSWEIS MT-12345678", []string{"MT-12345678"}, []string{"MT-12345678"}},
		{"", "MT-12345678 ausweis", []string{"MT-12345678"}, []string{}}, // a keyword precedes
		// 20 and 21 characters from the end of the keyword to the end of the match, in characters, not bytes.
		{"", "ausweis:1234567 MT-12345678", []string{"MT-12345678"}, []string{"MT-12345678"}},
		{"", "ausweis:12345678 MT-12345678", []string{"MT-12345678"}, []string{}},
		{"", "ausweis:ééééééé MT-12345678", []string{"MT-12345678"}, []string{"MT-12345678"}},
		{"", "ausweis:éééééééé MT-12345678", []string{"MT-12345678"}, []string{}},
		{"", "ausweis MT-12345678 MT-87654321", []string{"MT-12345678"}, []string{"MT-12345678"}},
		{"person.ausweisNummer", "MT-12345678", []string{"MT-12345678"}, []string{"MT-12345678"}},
		{"ausweis", "MT-00001234", []string{}, []string{}},
	} {
		x := detect.Text{Text: []byte(c.text), Name: []byte(c.name)}
		if got := values(c.text, byID.Find(x)); !slices.Equal(got, c.find) {
			t.Errorf("Find in %q: %q", c.text, got)
		}
		if got := values(c.text, byID.Scan(x)); !slices.Equal(got, c.scan) {
			t.Errorf("Scan in %q: %q", c.text, got)
		}
	}
	// ^ and $ are the beginning and end of the text, ignore words know the case.
	s = set(t, detect.Custom{Name: "line", Regex: `^[a-z]+$`, IgnoreWords: []string{"TEST"}})
	d, _ := s.For("line", "")
	if got := d.Find(detect.Text{Text: []byte("abc\ndef")}); got != nil {
		t.Errorf("^ and $ match inside a text: %v", got)
	}
	if got := d.Find(detect.Text{Text: []byte("test")}); len(got) != 1 {
		t.Errorf("ignore words without case: %v", got)
	}
}

func TestNewSetRejects(t *testing.T) {
	many := make([]string, 51)
	for i := range many {
		many[i] = "word"
	}
	for what, cs := range map[string][]detect.Custom{
		"no name":              {{Regex: "x"}},
		"no regex":             {{Name: "a"}},
		"bad regex":            {{Name: "a", Regex: "secret("}},
		"long regex":           {{Name: "a", Regex: strings.Repeat("x", 513)}},
		"short keyword":        {{Name: "a", Regex: "x", Keywords: []string{"ab"}}},
		"many keywords":        {{Name: "a", Regex: "x", Keywords: many}},
		"short ignore word":    {{Name: "a", Regex: "x", IgnoreWords: []string{"abc"}}},
		"distance":             {{Name: "a", Regex: "x", MaximumMatchDistance: 301}},
		"same name":            {{Name: "a", Regex: "x"}, {Name: "a", Regex: "y"}},
		"same id":              {{Name: "a", ID: "1", Regex: "x"}, {Name: "b", ID: "1", Regex: "y"}},
		"name of a managed id": {{Name: "ADDRESS", Regex: "x"}},
	} {
		_, err := detect.NewSet(cs)
		if !errors.Is(err, coffer.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestParseCustom(t *testing.T) {
	c, err := detect.ParseCustom([]byte(`{"arn":"arn:aws:macie2:us-east-1:111122223333:custom-data-identifier/7d1b","createdAt":"2026-01-01T00:00:00Z",
		"deleted":false,"description":"d","id":"7d1b","ignoreWords":["TEST"],"keywords":["badge"],"maximumMatchDistance":30,"name":"n",
		"regex":"MT-\\d{6}","severityLevels":[{"occurrencesThreshold":1,"severity":"LOW"}],"tags":{}}`))
	if err != nil || c.Name != "n" || c.ID != "7d1b" || c.Regex != `MT-\d{6}` || c.MaximumMatchDistance != 30 ||
		!slices.Equal(c.Keywords, []string{"badge"}) || !slices.Equal(c.IgnoreWords, []string{"TEST"}) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", "[]", `{"name":"x"}`, `{"regex":"x"}`, `{"name":1}`} {
		if _, err := detect.ParseCustom([]byte(bad)); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestFindRow(t *testing.T) {
	row := func(cells ...string) (out []detect.Text) {
		for _, c := range cells {
			name, text, _ := strings.Cut(c, "=")
			out = append(out, detect.Text{Name: []byte(name), Text: []byte(text), Cell: true})
		}
		return out
	}
	for _, c := range []struct {
		id   coffer.DataType
		row  []detect.Text
		want string // pieces joined by +, values by |
	}{
		{"NAME", row("id=7", "first_name=Jane", "maiden name=Doe", "SSN=900-55-1234"), "Jane+Doe"},
		{"NAME", row("lastName=Roe", "middleName=Q", "firstName=Jane", "email=jane@example.com"), "Roe+Q+Jane"},
		{"NAME", row("billing_first_name=Jane", "shipping_first_name=John", "billing_last_name=Roe", "shipping_last_name=Doe"), "Jane+Roe|John+Doe"},
		{"NAME", row("contact.name=Jane Roe", "company name=Any Company", "file_name=Martha.txt"), "Jane Roe"},
		{"NAME", row("=7", "=Martha", "=Rivera", "=2026"), "Martha+Rivera"},
		{"NAME", row("a=7", "memo=July payout, Martha Rivera"), "Martha Rivera"},
		{"NAME", row("first=", "user_name=martha"), ""},
		{"ADDRESS", row("SSN=900-55-1234", "street=123 Any Street", "city=Seattle", "state=WA", "zip=98101", "country=US"), "123 Any Street+Seattle+WA+98101"},
		{"ADDRESS", row("billing_address1=1 Any St", "billing_address2=Apt 2", "billing_city=Any Town", "ship_city=Elsewhere", "billing_zip=12345", "ship_zip=54321"), "1 Any St+Apt 2+Any Town+12345|Elsewhere+54321"},
		{"ADDRESS", row("home address=123 Any Street, Seattle, WA 98101", "email address=a@example.com"), "123 Any Street, Seattle, WA 98101"},
		{"ADDRESS", row("=x1", "=123 Any Street", "=Seattle", "=WA", "=98101"), "123 Any Street+Seattle+WA+98101"},
		{"ADDRESS", row("ip_address=192.0.2.1", "state=open", "city="), ""},
		{"ADDRESS", row("plz=12345", "ort=Musterstadt", "strasse=Musterweg 1"), "12345+Musterstadt+Musterweg 1"},
	} {
		var vs []string
		for _, v := range detector(t, c.id).(detect.RowDetector).FindRow(c.row) {
			var ps []string
			for _, p := range v {
				ps = append(ps, string(c.row[p.Index].Text[p.Start:p.End]))
			}
			vs = append(vs, strings.Join(ps, "+"))
		}
		if got := strings.Join(vs, "|"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.id, got, c.want)
		}
	}
}

func TestSeverity(t *testing.T) {
	const l, m, h = coffer.SeverityLow, coffer.SeverityMedium, coffer.SeverityHigh
	for id, want := range map[coffer.DataType][3]coffer.Severity{
		"AWS_CREDENTIALS": {h, h, h}, "JSON_WEB_TOKEN": {h, h, h}, "CREDIT_CARD_NUMBER_(NO_KEYWORD)": {h, h, h},
		"CREDIT_CARD_MAGNETIC_STRIPE": {h, h, h}, "VIRGIN_ISLANDS_BANK_ACCOUNT_NUMBER": {h, h, h},
		"CREDIT_CARD_EXPIRATION": {l, m, h}, "CREDIT_CARD_SECURITY_CODE": {m, h, h}, "US_DRUG_ENFORCEMENT_AGENCY_NUMBER": {h, h, h},
		"MEDICAL_DEVICE_UDI": {l, m, h}, "DATE_OF_BIRTH": {l, m, h}, "DRIVERS_LICENSE": {l, m, h}, "UK_DRIVERS_LICENSE": {l, m, h},
		"NAME": {l, m, h}, "HTTP_COOKIE": {l, m, h}, "ADDRESS": {l, m, h}, "PHONE_NUMBER": {l, m, h}, "UK_PHONE_NUMBER": {l, m, h},
		"LATITUDE_LONGITUDE": {l, m, m}, "VEHICLE_IDENTIFICATION_NUMBER": {l, l, m}, "USA_PASSPORT_NUMBER": {m, h, h},
		"ARGENTINA_TARJETA_SUBE": {m, m, h}, "USA_SOCIAL_SECURITY_NUMBER": {h, h, h}, "BRAZIL_CPF_NUMBER": {h, h, h},
		"MEXICO_ORGANIZATION_RFC_NUMBER": {m, m, h}, "MEXICO_INDIVIDUAL_RFC_NUMBER": {h, h, h}, "my own identifier": {m, m, m},
	} {
		for i, n := range []int64{1, 99, 100} {
			if got := detect.Severity(id, n); got != want[i] {
				t.Errorf("Severity(%s, %d) = %v, want %v", id, n, got, want[i])
			}
		}
		if detect.Severity(id, 2) != want[1] {
			t.Errorf("Severity(%s, 2) is not that of 99", id)
		}
	}
}

func TestMask(t *testing.T) {
	const dots = "••••••••"
	for _, c := range []struct {
		id      coffer.DataType
		v, want string
	}{
		{"CREDIT_CARD_NUMBER", "4111 1111 1111 1234", dots + "1234"},
		{"CREDIT_CARD_NUMBER", "4111-1111-1111-12-34", dots + "1234"},
		{"USA_SOCIAL_SECURITY_NUMBER", "719-63-6059", dots + "6059"},
		{"USA_SOCIAL_SECURITY_NUMBER", "12345678", dots},
		{"FRANCE_BANK_ACCOUNT_NUMBER", "FR14 2004 1010 0505 0001 3M02 606", dots + "2606"},
		{"BANK_ACCOUNT_NUMBER", "12345678é9", dots},
		{"BANK_ACCOUNT_NUMBER", "", dots},
		{"CREDIT_CARD_SECURITY_CODE", "123456789012", dots},
		{"AWS_CREDENTIALS", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzz9", dots},
		{"my card number", "4111111111111234", dots},
	} {
		if got := detect.Mask(c.id, []byte(c.v)); got != c.want {
			t.Errorf("Mask(%s) of %d bytes = %q, want %q", c.id, len(c.v), got, c.want)
		}
	}
}

// Nothing but the result is allocated.
func TestAllocations(t *testing.T) {
	text := []byte(strings.Repeat("2026-07-14T08:00:01Z INFO order 1234567 of 12 items at 10.0.0.1 took 0.123 s\n", 50))
	x := detect.Text{Text: text, Name: []byte("message")}
	for _, id := range []coffer.DataType{coffer.CardNumber, coffer.USSocialSecurity, "UK_NHS_NUMBER", "GERMANY_BANK_ACCOUNT_NUMBER", "PKCS", "JSON_WEB_TOKEN"} {
		d := detector(t, id)
		if n := testing.AllocsPerRun(10, func() { d.Scan(x) }); n != 0 {
			t.Errorf("%s: Scan allocates %v times where nothing is", id, n)
		}
	}
	s := set(t)
	if n := testing.AllocsPerRun(10, func() { s.ScanAll(x, nil, func(coffer.DataType, detect.Match) bool { return true }) }); n != 0 {
		t.Errorf("ScanAll allocates %v times where nothing is", n)
	}
	card := detect.Text{Text: []byte("card 4000005701793771"), Cell: true}
	d := detector(t, coffer.CardNumber)
	if n := testing.AllocsPerRun(10, func() { d.Find(card) }); n > 1 {
		t.Errorf("Find allocates %v times for a result of one slice", n)
	}
}
