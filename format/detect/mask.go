package detect

import "coffer"

const dots = "••••••••"

// Mask returns what may be shown of a value without a reveal: eight dots, so that the width says nothing about the length, and
// the last four letters or digits only for the types whose last four may be shown (see [coffer.DataType.LastFour]) and only if
// they are less than half of the value. value need not be valid UTF-8.
func Mask(t coffer.DataType, value []byte) string {
	if !t.LastFour() {
		return dots
	}
	var last [4]byte
	n := 0
	for i := len(value) - 1; i >= 0; i-- {
		c := value[i]
		if c >= 0x80 {
			return dots // letters that the type does not have
		}
		if class[c] != 0 {
			if n < 4 {
				last[3-n] = c
			}
			n++
		}
	}
	if n < 9 {
		return dots
	}
	return dots + string(last[:])
}
