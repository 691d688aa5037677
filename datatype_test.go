package coffer_test

import (
	"testing"

	"coffer"
)

func TestDataType(t *testing.T) {
	for typ, want := range map[coffer.DataType]struct{ authentication, lastFour, spread bool }{
		coffer.CardNumber:               {lastFour: true},
		coffer.CardNumberNoKeyword:      {lastFour: true},
		coffer.CardExpiration:           {},
		coffer.CardSecurityCode:         {authentication: true},
		coffer.CardMagneticStripe:       {authentication: true},
		coffer.BankAccountNumber:        {lastFour: true},
		"FRANCE_BANK_ACCOUNT_NUMBER":    {lastFour: true},
		coffer.USSocialSecurity:         {lastFour: true},
		coffer.CASocialInsurance:        {lastFour: true},
		coffer.UKNationalInsurance:      {},
		coffer.BirthDate:                {},
		coffer.PersonName:               {spread: true},
		coffer.Address:                  {spread: true},
		"AWS_CREDENTIALS":               {},
		"":                              {},
		"Customer CVV":                  {authentication: true},
		"card-cvc2 (back)":              {authentication: true},
		"pin":                           {authentication: true},
		"Pin_Block":                     {authentication: true},
		"TRACK1 data":                   {authentication: true},
		"Kundennummer":                  {},
		"shopping list":                 {}, // "pin" inside a word is none
		"POSTAL_INDEX_NUMBER_(PINCODE)": {},
		"tracking number":               {},
	} {
		if got := typ.Authentication(); got != want.authentication {
			t.Errorf("%q: authentication data: %t", typ, got)
		}
		if got := typ.LastFour(); got != want.lastFour {
			t.Errorf("%q: last four: %t", typ, got)
		}
		if got := typ.Spread(); got != want.spread {
			t.Errorf("%q: spread: %t", typ, got)
		}
		if want.authentication && typ.LastFour() {
			t.Errorf("%q may be shown in part", typ)
		}
	}
}
