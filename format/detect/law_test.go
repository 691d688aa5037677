package detect_test

import (
	"slices"
	"sync"
	"testing"
	"unicode/utf8"

	"coffer"
	"coffer/format/detect"
)

var fuzzSet = sync.OnceValue(func() *detect.Set {
	s, err := detect.NewSet([]detect.Custom{{Name: "badge", Regex: `MT-\d{6,8}`, Keywords: []string{"badge"}, IgnoreWords: []string{"0000"}}})
	if err != nil {
		panic(err)
	}
	return s
})

// word reports whether the bytes around i are two digits: a match that begins or ends there cuts a number.
func cuts(b []byte, i int) bool {
	return i > 0 && i < len(b) && '0' <= b[i-1] && b[i-1] <= '9' && '0' <= b[i] && b[i] <= '9'
}

// laws checks what holds for every detector on every text; it says which law fails, not on what.
func laws(t *testing.T, x detect.Text) {
	s := fuzzSet()
	type hit struct {
		t coffer.DataType
		m detect.Match
	}
	var scanned []hit
	before := slices.Clone(x.Text)
	for _, id := range append(s.Types(), "NOT_KNOWN") {
		d, _ := s.For(id, "")
		find := d.Find(x)
		end := 0
		for _, m := range find {
			if m.Start < end || m.Start >= m.End || m.End > len(x.Text) {
				t.Errorf("%s: matches not ascending, empty or out of range", id)
				break
			}
			end = m.End
			if cuts(x.Text, m.Start) || cuts(x.Text, m.End) {
				t.Errorf("%s: match cuts a number", id)
			}
			if utf8.Valid(x.Text) && !utf8.Valid(x.Text[m.Start:m.End]) {
				t.Errorf("%s: match cuts a character", id)
			}
		}
		scan := d.Scan(x)
		if scan != nil && !d.Distinct() {
			t.Errorf("%s: Scan returns matches of a type that is not distinct", id)
		}
		for _, m := range scan {
			if !m.Valid || !slices.Contains(find, m) {
				t.Errorf("%s: Scan returns what Find does not, or what is not valid", id)
			}
			scanned = append(scanned, hit{id, m})
		}
		if r, ok := d.(detect.RowDetector); ok {
			half := len(x.Text) / 2
			row := []detect.Text{{Text: x.Text[:half], Name: x.Name}, {Text: x.Text[half:], Name: []byte("city")}, {Text: x.Text, Cell: true}}
			used := make(map[detect.Piece]bool)
			for _, v := range r.FindRow(row) {
				if len(v) == 0 {
					t.Errorf("%s: value without pieces", id)
				}
				for _, p := range v {
					if p.Start >= p.End || p.Start < 0 || p.End > len(row[p.Index].Text) {
						t.Errorf("%s: piece out of range", id)
					}
					for o := range used {
						if o.Index == p.Index && o.Start < p.End && p.Start < o.End {
							t.Errorf("%s: pieces overlap", id)
						}
					}
					used[p] = true
				}
			}
		}
	}
	var all []hit
	last := 0
	s.ScanAll(x, nil, func(id coffer.DataType, m detect.Match) bool {
		if m.Start < last {
			t.Errorf("%s: ScanAll not ascending", id)
		}
		last = m.Start
		all = append(all, hit{id, m})
		return true
	})
	if len(all) != len(scanned) {
		t.Errorf("ScanAll found %d matches, the detectors one by one %d", len(all), len(scanned))
	}
	for _, h := range scanned {
		if !slices.Contains(all, h) {
			t.Errorf("%s: ScanAll misses what Scan returns", h.t)
		}
	}
	if !slices.Equal(before, x.Text) {
		t.Error("the text was changed")
	}
}

func FuzzLaws(f *testing.F) {
	for _, c := range findCases {
		f.Add([]byte(c.text), []byte("ssn"), len(c.text)%2 == 0)
	}
	f.Add([]byte("ssn 719-63-6059 1832 4000005701793771 GB29NWBK60161331926819"), []byte("card number"), false)
	f.Add([]byte("\xff\xc2\xa0719\xe2\x80\x9163\xe2\x80\x916059\xe2\x80"), []byte("\xff.first_name"), true)
	f.Add([]byte("badge MT-123456 MT-0000001"), []byte("full name"), false)
	f.Fuzz(func(t *testing.T, text, name []byte, cell bool) {
		laws(t, detect.Text{Text: text, Name: name, Cell: cell})
	})
}

// The laws on text that is dense with what the detectors look for.
func TestLaws(t *testing.T) {
	var all []byte
	for _, c := range findCases {
		all = append(append(all, c.text...), ' ')
	}
	for i := 0; i+200 < len(all); i += 97 {
		laws(t, detect.Text{Text: all[i : i+200], Name: []byte("tax id"), Cell: i%2 == 0})
	}
	vectors(t, func(_ coffer.DataType, v string, _ bool) {
		laws(t, detect.Text{Text: []byte("insurance number, tax id: " + v + " card"), Name: []byte("ssn")})
	})
}
