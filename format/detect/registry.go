package detect

import (
	"slices"
	"strings"

	"coffer"
)

// ident is the rows of the registry whose values are tokens: the shapes and the check they share. A type may have several
// rows. See forms for the language of the shapes.
var ident = [...]struct {
	ids, shapes string
	check       check
	proves      bool // the check can make a match sure
}{
	// Financial information.
	{"CREDIT_CARD_NUMBER|CREDIT_CARD_NUMBER_(NO_KEYWORD)",
		"9{13,19}|9999 9999 9999 9999|9999 9999 9999 9999 9{1,3}|9999 999999 9{4,5}|9999 9999 9999 9", checkCard, true},
	{"CREDIT_CARD_NUMBER|CREDIT_CARD_NUMBER_(NO_KEYWORD)", "~9{13,19}|9{11,11}", checkCardOddly, false},
	{"BANK_ACCOUNT_NUMBER", "9{9,17}", nil, false},
	{"FRANCE_BANK_ACCOUNT_NUMBER", "~9{10,10}X{11,11}99", checkRIB, true},
	{"GERMANY_BANK_ACCOUNT_NUMBER", "~9{18,18}|99999999 9{5,9}", checkBLZ, false},
	{"GERMANY_BANK_ACCOUNT_NUMBER", "=9{6,10}", nil, false},
	{"ITALY_BANK_ACCOUNT_NUMBER", "~A9{10,10}X{12,12}", checkCIN, true},
	{"SPAIN_BANK_ACCOUNT_NUMBER", "~9{20,20}", checkCCC, true},
	{"UK_BANK_ACCOUNT_NUMBER", "99-99-99-99999999|AAAA99-99-99-99999999|=9{8,8}", nil, false},

	// Health.
	{"US_DRUG_ENFORCEMENT_AGENCY_NUMBER", "AX-9{7,7}", checkDEA, true},
	{"USA_HEALTH_INSURANCE_CLAIM_NUMBER", "999 99 9999-A|999 99 9999-A9|A{1,3}-9{6,6}|A{1,3}-999 99 9999", nil, false},
	{"CANADA_HEALTH_NUMBER", "9999 999 999|9999-999 999-AA|9{4,4}-9{3,3}-9{3,3}", checkHealthCanada, true},
	{"CANADA_HEALTH_NUMBER", "AAAA 9999 9999|999 999 999|99999 9999|9{8,8}|9{12,12}", nil, false},
	{"EUROPEAN_HEALTH_INSURANCE_CARD_NUMBER", "~9{16,20}", checkEHIC, false},
	{"EUROPEAN_HEALTH_INSURANCE_CARD_NUMBER", "=X{6,20}", checkSomeDigits, false},
	{"FINLAND_EUROPEAN_HEALTH_INSURANCE_NUMBER", "~9{20,20}", checkFinnishEHIC, true},
	{"FRANCE_HEALTH_INSURANCE_NUMBER|FRANCE_NATIONAL_IDENTIFICATION_NUMBER", "~9{5,5}9X9{8,8}|~9{5,5}9X9{6,6}", checkNIR, true},
	{"FRANCE_NATIONAL_IDENTIFICATION_NUMBER", "=9{12,12}", nil, false}, // the number of the identity card
	{"UK_NHS_NUMBER", "999 999 9999", checkNHS, true},
	{"USA_MEDICARE_BENEFICIARY_IDENTIFIER", "9AX9 AX9 AA99", checkMBI, true},
	{"USA_HEALTHCARE_PROCEDURE_CODE", "A9999|99999|9999A", nil, false},
	{"USA_NATIONAL_DRUG_CODE", "9999-9999-99|99999-999-99|99999-9999-9|99999-9999-99|9{10,11}", nil, false},
	{"USA_NATIONAL_PROVIDER_IDENTIFIER", "9{10,10}|=~9{10,10}|9{15,15}", checkNPI, true},

	// Identity.
	{"UK_ELECTORAL_ROLL_NUMBER", "AA-9{1,4}|A{1,3}-9{1,6}|9{4,8}", nil, false},
	{"BRAZIL_CEP_CODE", "99999-999|99-999-999", nil, false},
	{"UK_NATIONAL_INSURANCE_NUMBER", "AA 99 99 99 A|AA-9{6,6}-A|AA 99 99 99|AA-999-999-A", checkNINO, true},
	{"CANADA_NATIONAL_IDENTIFICATION_NUMBER", "AA-9{7,10}|A-9{9,9}", nil, false},
	{"ARGENTINA_TARJETA_SUBE", "9999 9999 9999 9999", checkSUBE, true},
	{"CANADA_SOCIAL_INSURANCE_NUMBER", "999 999 999", checkSIN, true},
	{"SPAIN_SOCIAL_SECURITY_NUMBER", "99-9{8,8}-99|99-9{7,7}-99", checkNUSS, true},
	{"USA_SOCIAL_SECURITY_NUMBER", "999 99 9999", checkSSN, true},
	{"VEHICLE_IDENTIFICATION_NUMBER", "X{17,17}", checkVIN, true},

	// National identification numbers.
	{"ARGENTINA_DNI_NUMBER", "99 999 999|9 999 999", checkNotUniform, false},
	{"BRAZIL_RG_NUMBER", "99-999-999-X|9-999-999-X|99-999-999", nil, false},
	{"CHILE_RUT_NUMBER", "99 999 999-9|99 999 999-A|9 999 999-9|9 999 999-A", checkRUT, true},
	{"COLOMBIA_CITIZENSHIP_CARD_NUMBER", "9 999 999 999|99 999 999|9 999 999|999 999 999|999 999", nil, false},
	{"GERMANY_NATIONAL_IDENTIFICATION_NUMBER", "X{9,9}-9|X{9,9}-9-A|X{9,9}", checkGermanID, true},
	{"INDIA_AADHAAR_NUMBER", "9999 9999 9999", checkAadhaar, true},
	{"ITALY_NATIONAL_IDENTIFICATION_NUMBER", "AAA AAA XXAXX AXXXA|AAA-AAA-XXAXX-AXXXA", checkFiscalCode, true},
	{"ITALY_NATIONAL_IDENTIFICATION_NUMBER", "9{11,11}", checkLuhn, true}, // partita IVA
	{"MEXICO_CURP_NUMBER", "AAAA-999999-AAAAAAX-9", checkCURP, true},
	{"SPAIN_DNI_NUMBER", "99-999-999-A", checkDNI, true},
	{"SPAIN_DNI_NUMBER|SPAIN_NIE_NUMBER|SPAIN_NIF_NUMBER|SPAIN_TAX_IDENTIFICATION_NUMBER", "A-9{7,7}-A|A-9-999-999-A", checkNIE, true},
	{"SPAIN_NIF_NUMBER|SPAIN_TAX_IDENTIFICATION_NUMBER", "99-999-999-A", checkDNI, true},
	{"SPAIN_NIF_NUMBER|SPAIN_TAX_IDENTIFICATION_NUMBER", "A-9{7,7}-X|A-99-999999|A-999-9999-X", checkCIF, true},

	// Passports. None but the German has a published check.
	{"CANADA_PASSPORT_NUMBER", "AA-999999|A-999999-AA", nil, false},
	{"FRANCE_PASSPORT_NUMBER", "99-AA-99999", nil, false},
	{"GERMANY_PASSPORT_NUMBER", "X{9,9}|X{9,9}-9|X{9,9}-9-A", checkGermanID, true},
	{"ITALY_PASSPORT_NUMBER", "AA-9{7,7}|A-9{6,6}|9{6,6}A", nil, false},
	{"SPAIN_PASSPORT_NUMBER", "AA-9{6,6}|AAA-9{6,6}", nil, false},
	{"UK_PASSPORT_NUMBER", "999 999 999|999 99 9999", nil, false},
	{"USA_PASSPORT_NUMBER", "999 999 999|A-9{8,8}|A-999-999-99", nil, false},

	// Taxpayer numbers.
	{"ARGENTINA_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER", "99-9{8,8}-9|99-99-999-999-9", checkCUIT("2023242527"), true},
	{"ARGENTINA_ORGANIZATION_TAX_IDENTIFICATION_NUMBER", "99-9{8,8}-9|99-99-999-999-9", checkCUIT("303334"), true},
	{"AUSTRALIA_TAX_FILE_NUMBER", "999 999 999|99 999 999|9999-9999", checkTFN, true},
	{"BRAZIL_CPF_NUMBER", "999 999 999-99", checkCPF, true},
	{"BRAZIL_CNPJ_NUMBER", "XX XXX XXX XXXX-99", checkCNPJ, true},
	{"COLOMBIA_INDIVIDUAL_NIT_NUMBER|COLOMBIA_ORGANIZATION_NIT_NUMBER",
		"999 999 999-9|999 999 999|99 999 999|9 999 999 999-9", checkNIT, true},
	{"FRANCE_TAX_IDENTIFICATION_NUMBER", "9999999999-999|99-99-999-999-999", checkSPI, true},
	{"GERMANY_TAX_IDENTIFICATION_NUMBER", "99-999-999-999", checkIdNr, true},
	{"GERMANY_TAX_IDENTIFICATION_NUMBER", "99-999-99999|999-999-99999|999-9999-9999", checkSeparated, false}, // Steuernummer
	{"GERMANY_TAX_IDENTIFICATION_NUMBER", "9{13,13}", nil, false},
	{"INDIA_PERMANENT_ACCOUNT_NUMBER", "AAAAA-9999-A", checkPAN, true},
	{"MEXICO_INDIVIDUAL_RFC_NUMBER", "AAAA-999999-XXX", checkRFC, true},
	{"MEXICO_ORGANIZATION_RFC_NUMBER", "AAA-999999-XXX", checkRFC, true},
	{"UK_TAX_IDENTIFICATION_NUMBER", "99999 99999|99999 99999-A|999 999 9999", checkUTR, true},
	{"UK_TAX_IDENTIFICATION_NUMBER", "999-A{1,2}9{3,5}|999-A{2,2}999A{1,2}", nil, false}, // PAYE reference
	{"USA_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER", "999 99 9999", checkITIN, true},

	// Driver's licences. Where a country says nothing public about its numbers, any token with digits enough is taken.
	{"DRIVERS_LICENSE", "9{4,14}|~A9{3,14}|A9{18,18}|AA-9{2,7}|AA-9{6,6}-A|AAA-9{6,6}|999-AA-9999|99-AAA-99999|9{7,9}A{1,2}|A9A9A|WDLX{9,9}", nil, false},
	{"DRIVERS_LICENSE", "999 999 999|999-99-9999|AAAAAX{7,7}", checkSomeDigits, false},
	{"UK_DRIVERS_LICENSE", "XXXXX-999999-XX9AA|XXXXX-999999-XX9AA-99|XXXXX-9-99-99-9-XX9AA", checkDriverUK, true},
	{"UK_DRIVERS_LICENSE", "=9{8,8}", nil, false}, // Northern Ireland
	{"CANADA_DRIVERS_LICENSE", "A9999 99999 99999|A9999 999999 99|9{5,9}|999999-999|A9{9,9}|AAAAA-9{9,9}|AAAAA-99999-9999|AA-AA-AA-A999AA|9{12,12}", nil, false},
	{"SPAIN_DRIVERS_LICENSE", "99-999-999-A", checkDNI, true},
	{"ITALY_DRIVERS_LICENSE", "AA-9{7,7}-A|A9X{7,7}A", nil, false},
	{"FRANCE_DRIVERS_LICENSE", "99-99-99-999999|99AA99999|9{12,15}", nil, false},
	{"GERMANY_DRIVERS_LICENSE", "X{11,11}", checkSomeDigits, false},
	{"POLAND_DRIVERS_LICENSE", "99999-99-9999", nil, false},
	{"AUSTRALIA_DRIVERS_LICENSE|AUSTRIA_DRIVERS_LICENSE|BELGIUM_DRIVERS_LICENSE|BULGARIA_DRIVERS_LICENSE|CROATIA_DRIVERS_LICENSE|" +
		"CYPRUS_DRIVERS_LICENSE|CZECHIA_DRIVERS_LICENSE|DENMARK_DRIVERS_LICENSE|ESTONIA_DRIVERS_LICENSE|FINLAND_DRIVERS_LICENSE|" +
		"GREECE_DRIVERS_LICENSE|HUNGARY_DRIVERS_LICENSE|INDIA_DRIVERS_LICENSE|IRELAND_DRIVERS_LICENSE|LATVIA_DRIVERS_LICENSE|" +
		"LITHUANIA_DRIVERS_LICENSE|LUXEMBOURG_DRIVERS_LICENSE|MALTA_DRIVERS_LICENSE|NETHERLANDS_DRIVERS_LICENSE|" +
		"PORTUGAL_DRIVERS_LICENSE|ROMANIA_DRIVERS_LICENSE|SLOVAKIA_DRIVERS_LICENSE|SLOVENIA_DRIVERS_LICENSE|" +
		"SWEDEN_DRIVERS_LICENSE|POLAND_DRIVERS_LICENSE|SPAIN_DRIVERS_LICENSE|ITALY_DRIVERS_LICENSE|FRANCE_DRIVERS_LICENSE|" +
		"GERMANY_DRIVERS_LICENSE",
		"X{5,16}|AA-9{4,9}|A{1,2}-9{4,9}|AA-99-9{9,11}|AA99 9{11,11}|9{6,6}-9{4,4}", checkSomeDigits, false},
}

// newRegistry builds the detectors of the managed identifiers.
func newRegistry() *registry {
	words := make(map[string]*keywords, 128)
	for _, row := range macieKeywords {
		w := splitKeywords(row.words)
		for id := range strings.SplitSeq(row.ids, "|") {
			words[id] = w
		}
	}
	m := &registry{byID: make(map[coffer.DataType]int32, 180)}
	compiled, proofs := make(map[string][]form, 160), make(map[string][]form, 120)
	for _, row := range ident {
		fs := forms(row.shapes, row.check)
		for id := range strings.SplitSeq(row.ids, "|") {
			compiled[id] = append(compiled[id], fs...)
			if row.proves {
				proofs[id] = append(proofs[id], fs...)
			}
		}
	}
	for _, c := range ibans {
		id := string(ibanType(c.country))
		f := ibanForm(c.code, c.bban)
		compiled[id] = append(compiled[id], f)
		proofs[id] = append(proofs[id], f)
	}
	for id := range compiled {
		d := &number{rule: rule{words: words[id]}}
		m.all = append(m.all, entry{coffer.DataType(id), d})
		switch {
		case id == string(coffer.CardNumber) || id == string(coffer.CardNumberNoKeyword):
			d.short = true
		case strings.HasSuffix(id, "DRIVERS_LICENSE"), id == "USA_HEALTHCARE_PROCEDURE_CODE", id == "UK_ELECTORAL_ROLL_NUMBER",
			id == "CANADA_HEALTH_NUMBER", id == "COLOMBIA_CITIZENSHIP_CARD_NUMBER":
			d.weak = true
		}
	}
	for _, p := range patterns {
		m.all = append(m.all, entry{p.id, p.make(words[string(p.id)])})
	}
	slices.SortFunc(m.all, func(a, b entry) int { return strings.Compare(string(a.id), string(b.id)) })
	for i, e := range m.all {
		m.byID[e.id] = int32(i)
		if d, ok := e.d.(*number); ok {
			d.forms.add(i, compiled[string(e.id)])
			d.strong.add(i, proofs[string(e.id)])
			m.strong.add(i, proofs[string(e.id)])
		} else if e.d.Distinct() {
			m.others = append(m.others, int32(i))
		}
	}
	return m
}
