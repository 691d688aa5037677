package detect_test

import (
	"bytes"
	"testing"
	"unicode"
	"unicode/utf8"

	"coffer/format/detect"

	"pgregory.net/rapid"
)

// oneWord reports whether the characters before and behind offset i are both letters or digits, of scripts that put spaces
// between words.
func oneWord(text []byte, i int) bool {
	word := func(r rune) bool {
		return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) && !unicode.Is(unicode.Han, r)
	}
	a, _ := utf8.DecodeLastRune(text[:i])
	b, _ := utf8.DecodeRune(text[i:])
	return word(a) && word(b)
}

// naive finds what Values.Find promises by trying every value at every offset.
func naive(values [][]byte, text []byte) (out [][2]int) {
	for i := 0; i < len(text); i++ {
		best := -1
		for _, b := range values {
			if len(b) < detect.MinValue || bytes.Count(b, b[:1]) == len(b) || !bytes.HasPrefix(text[i:], b) {
				continue
			}
			if oneWord(text, i) || oneWord(text, i+len(b)) {
				continue
			}
			best = max(best, len(b))
		}
		if best > 0 {
			out = append(out, [2]int{i, i + best})
			i += best - 1
		}
	}
	return out
}

func TestValuesAgainstNaiveSearch(t *testing.T) {
	alphabet := rapid.SampledFrom([]byte("0123-a .,é号”"))
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.SliceOfN(alphabet, 1, 9), 0, 5).Draw(t, "values")
		var text []byte
		for _, n := range rapid.SliceOfN(rapid.IntRange(-1, 8), 0, 30).Draw(t, "parts") {
			if n >= 0 && n < len(values) {
				text = append(text, values[n]...)
				continue
			}
			text = append(text, rapid.SliceOfN(alphabet, 0, 3).Draw(t, "gap")...)
		}
		var got [][2]int
		detect.NewValues(values).Find(text, func(i, j, n int) bool {
			if !bytes.Equal(values[n], text[i:j]) {
				t.Fatalf("value %d does not stand at %d", n, i)
			}
			got = append(got, [2]int{i, j})
			return true
		})
		want := naive(values, text)
		if len(got) != len(want) {
			t.Fatalf("found %d, want %d: %v %v", len(got), len(want), got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("occurrence %d at %v, want %v", i, got[i], want[i])
			}
		}
	})
}

func BenchmarkValues(b *testing.B) {
	text := bytes.Repeat([]byte("PO-26070001,2026-07-14,1405270021,817.10,\"July payout\"\n"), 20000)
	var values [][]byte
	for i := 0; i < 1000; i++ {
		values = append(values, []byte{'9', byte('0' + i%10), byte('0' + i/10%10), byte('0' + i/100), '7', '7', '1', '2'})
	}
	v := detect.NewValues(values)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		v.Find(text, func(int, int, int) bool { return true })
	}
}
