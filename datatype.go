package coffer

import "strings"

// DataType is a kind of sensitive data: the id of one of Macie's managed data identifiers (BANK_ACCOUNT_NUMBER), or the name
// of a custom one. Ids that Coffer does not know pass through.
type DataType string

// Managed identifiers that the program treats by name.
const (
	CardNumber          DataType = "CREDIT_CARD_NUMBER"
	CardNumberNoKeyword DataType = "CREDIT_CARD_NUMBER_(NO_KEYWORD)"
	CardExpiration      DataType = "CREDIT_CARD_EXPIRATION"
	CardSecurityCode    DataType = "CREDIT_CARD_SECURITY_CODE"
	CardMagneticStripe  DataType = "CREDIT_CARD_MAGNETIC_STRIPE"
	BankAccountNumber   DataType = "BANK_ACCOUNT_NUMBER"
	PersonName          DataType = "NAME"
	Address             DataType = "ADDRESS"
	BirthDate           DataType = "DATE_OF_BIRTH"
	USSocialSecurity    DataType = "USA_SOCIAL_SECURITY_NUMBER"
	CASocialInsurance   DataType = "CANADA_SOCIAL_INSURANCE_NUMBER"
	UKNationalInsurance DataType = "UK_NATIONAL_INSURANCE_NUMBER"
)

// Authentication reports whether t is card authentication data (verification codes, PINs, track data), which PCI DSS 3.3.1
// forbids to keep after authorisation even encrypted: it is counted and destroyed, never sealed. Custom identifiers count by
// their name, on the safe side.
func (t DataType) Authentication() bool {
	switch t {
	case CardSecurityCode, CardMagneticStripe:
		return true
	}
	for _, w := range strings.FieldsFunc(strings.ToUpper(string(t)), func(r rune) bool {
		return !('A' <= r && r <= 'Z' || '0' <= r && r <= '9')
	}) {
		switch w {
		case "CVV", "CVV2", "CVC", "CVC2", "CAV2", "CID", "PIN", "PINBLOCK", "TRACK", "TRACK1", "TRACK2", "MAGSTRIPE":
			return true
		}
	}
	return false
}

// LastFour reports whether a mask of t may show its last four characters: long identifiers of which the last four are shown
// on receipts and letters. For short, low-entropy and secret types they would give too much away.
func (t DataType) LastFour() bool {
	switch t {
	case CardNumber, CardNumberNoKeyword, BankAccountNumber, USSocialSecurity, CASocialInsurance:
		return true
	}
	return strings.HasSuffix(string(t), "_BANK_ACCOUNT_NUMBER")
}

// Spread reports whether a value of t may stand in several neighbouring cells or fields, so that the whole row or record is
// the search window: Macie reports such types at the first cell of a text window it put together from neighbours.
func (t DataType) Spread() bool { return t == PersonName || t == Address }
