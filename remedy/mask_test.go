package remedy

import (
	"strings"
	"testing"
	"unicode/utf8"

	"coffer"

	"pgregory.net/rapid"
)

func TestMaskText(t *testing.T) {
	for _, c := range []struct {
		t        coffer.DataType
		in, want string
	}{
		{coffer.BankAccountNumber, "004417792051", "XXXXXXXX2051"},
		{coffer.USSocialSecurity, "900-55-1234", "XXX-XX-1234"},
		{coffer.CardNumber, "4000 0012 3456 7899", "XXXX XXXX XXXX 7899"},
		{coffer.CardNumber, "1234567", "XXXXXXX"}, // too short to leave four
		{coffer.Address, "123 Any Street\n  Seattle", "XXX XXX XXXXXX\n  XXXXXXX"},
		{coffer.PersonName, "Márcia Oliveira", "XXXXXX XXXXXXXX"},
		{coffer.CardSecurityCode, "731", "XXX"},
		{coffer.CardNumber, "", ""},
	} {
		if got := string(maskText(c.t, []byte(c.in))); got != c.want {
			t.Errorf("mask of a %s of %d bytes is %q, want %q", c.t, len(c.in), got, c.want)
		}
	}
}

// A mask keeps the number of characters and everything that is neither letter nor digit, and shows four of these at most.
func TestMaskTextLaws(t *testing.T) {
	types := []coffer.DataType{coffer.CardNumber, coffer.BankAccountNumber, coffer.Address, "UNKNOWN"}
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom(types).Draw(t, "type")
		in := rapid.StringOf(rapid.SampledFrom([]rune("09azAZ -./\né漢"))).Draw(t, "text")
		out := string(maskText(typ, []byte(in)))
		if utf8.RuneCountInString(out) != utf8.RuneCountInString(in) {
			t.Fatalf("%d characters became %d", utf8.RuneCountInString(in), utf8.RuneCountInString(out))
		}
		shown := 0
		outRunes := []rune(out)
		for i, r := range []rune(in) {
			switch {
			case strings.ContainsRune(" -./\n", r):
				if outRunes[i] != r {
					t.Fatalf("separator %d changed", i)
				}
			case outRunes[i] == 'X':
			case outRunes[i] != r:
				t.Fatalf("character %d is neither masked nor kept", i)
			default:
				shown++
			}
		}
		if shown > 4 || shown > 0 && !typ.LastFour() {
			t.Fatalf("%d characters of a %s are shown", shown, typ)
		}
	})
}
