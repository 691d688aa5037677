package format_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"coffer"
	"coffer/format"
)

func member(name string) format.Step { return format.Step{Name: name} }

func element(i int64) format.Step { return format.Step{Element: true, Index: i} }

func TestParsePath(t *testing.T) {
	for _, tt := range []struct {
		path  string
		cut   bool
		steps []format.Step
	}{
		{"$", false, nil},
		{"$.SSN", false, []format.Step{member("SSN")}},
		{"$.kyc.ssn", false, []format.Step{member("kyc"), member("ssn")}},
		{"$[0]['Card Number']", false, []format.Step{element(0), member("Card Number")}},
		{"$.access.key[2]", false, []format.Step{member("access"), member("key"), element(2)}},
		{"$['abcdefghijklmnopqrstuvwxyz']", false, []format.Step{member("abcdefghijklmnopqrstuvwxyz")}},
		{"$['1234567890']usssn1.usssn2", false, []format.Step{member("1234567890"), member("usssn1"), member("usssn2")}},
		{`$["x"][1]["it's"]`, false, []format.Step{member("x"), element(1), member("it's")}},
		{`$['it\'s']['it''s']['it's']`, false, []format.Step{member("it's"), member("it's"), member("it's")}},
		{`$['']['''']['a''].b`, false, []format.Step{member(""), member("'"), member("a'"), member("b")}},
		{`$['a.b']['[0]']['a]b']['say "x"']`, false, []format.Step{member("a.b"), member("[0]"), member("a]b"), member(`say "x"`)}},
		{`$['C:\\dir']['C:\zzz']['\u0001\n\t']`, false, []format.Step{member(`C:\dir`), member(`C:\zzz`), member("\x01\n\t")}},
		{"$.a b.c-d.é", false, []format.Step{member("a b"), member("c-d"), member("é")}},
		{"$..ssn", true, []format.Step{member("ssn")}},
		{"$..['a b'][3].ssn", true, []format.Step{member("a b"), element(3), member("ssn")}},
		{"$...ssn", true, []format.Step{member("ssn")}},
		{"$..[3]", true, []format.Step{element(3)}},
		{"$['...tail']", false, []format.Step{member("...tail")}},
	} {
		p, err := format.ParsePath(tt.path)
		if err != nil || p.Cut != tt.cut || !reflect.DeepEqual(p.Steps, tt.steps) {
			t.Errorf("%s: %+v, %v", tt.path, p, err)
		}
	}
	for _, path := range []string{"", "a", ".a", "$.", "$..", "$...", "$.a.", "$.a..b", "$[", "$[]", "$[-1]", "$[x]", "$[1", "$['a", "$['a'", `$["a']`, "$[99999999999999999999]"} {
		p, err := format.ParsePath(path)
		if !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %+v, %v", path, p, err)
		}
	}
}

func TestPathString(t *testing.T) {
	for _, path := range []string{
		"$", "$.a[0].b", "$['Card Number']", "$['1234567890'].usssn1", `$['it\'s']`, `$['C:\\dir']`, `$['\u0001\n\u007f']`, "$['é']", "$['']",
		"$..a.b", "$..[1].a", "$..['a b'].c", "$['...a']", "$['say \"x\"']",
	} {
		p, err := format.ParsePath(path)
		if err != nil || p.String() != path {
			t.Errorf("%s: %s, %v", path, p, err)
		}
	}
	long := strings.Repeat("é", 3) + strings.Repeat("n", format.MaxName)
	if got := (format.Path{Steps: []format.Step{member(long)}}).String(); got != "$['..."+strings.Repeat("n", format.MaxName)+"']" {
		t.Errorf("a name of %d characters: path of %d", utf8.RuneCountInString(long), utf8.RuneCountInString(got))
	}
	exact := strings.Repeat("é", format.MaxName)
	if got := (format.Path{Steps: []format.Step{member(exact)}}).String(); got != "$['"+exact+"']" {
		t.Error("a name of just the greatest length is cut")
	}
}

func TestParentPath(t *testing.T) {
	for path, parent := range map[string]string{
		"$": "$", "$.a": "$", "$.a.b": "$.a", "$.a[3]": "$.a", "$['a b']['c']": "$['a b']", "$..a": "$", "$..a.b": "$..a", "x": "$", "$[": "$",
	} {
		if got := format.ParentPath(path); got != parent {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// FuzzPath: a path that is parsed and written reads back as the same, and keeps to one spelling.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"$", "$.a['b c'][0]", `$['\u0001''\'x']["y"]`, "$..a", "$...['x']", `$['a\\\q']`, "$['\xff\u2028']", "$['" + strings.Repeat("é", 250) + "']"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := format.ParsePath(s)
		if err != nil {
			if !errors.Is(err, coffer.ErrInvalid) || len(s) > 8 && strings.Contains(err.Error(), s) {
				t.Fatal("another error, or one that shows the path")
			}
			return
		}
		again, err := format.ParsePath(p.String())
		if err != nil {
			t.Fatalf("what was written does not parse: %v", err)
		}
		for i, st := range p.Steps {
			if tail, cut := format.CutName([]byte(st.Name)); cut {
				p.Steps[i].Name = "..." + string(tail)
			}
		}
		if !reflect.DeepEqual(p, again) && len(p.Steps)+len(again.Steps) > 0 {
			t.Fatalf("%d steps, %d read back, or others", len(p.Steps), len(again.Steps))
		}
		l := coffer.Location{Kind: coffer.Record, Path: p.String()}
		if back, err := coffer.ParseLocation(l.String()); err != nil || back != l {
			t.Fatalf("not a location: %v", err)
		}
	})
}

// macie writes the path to the last of steps as Macie's guide says: names cut to limit characters from the front, then whole
// elements dropped from the front until at most 250 characters are left.
func macie(steps []format.Step, limit int) string {
	parts := make([]string, len(steps))
	for i, s := range steps {
		r := []rune(s.Name)
		switch {
		case s.Element:
			parts[i] = fmt.Sprintf("[%d]", s.Index)
		case len(r) > limit:
			parts[i] = "['..." + string(r[len(r)-limit:]) + "']"
		case strings.ContainsAny(s.Name, " .'"):
			parts[i] = "['" + s.Name + "']"
		default:
			parts[i] = "." + s.Name
		}
	}
	path := "$" + strings.Join(parts, "")
	for utf8.RuneCountInString(path) > 250 && len(parts) > 1 {
		parts = parts[1:]
		path = "$.." + strings.TrimPrefix(parts[0], ".") + strings.Join(parts[1:], "")
	}
	return path
}

// visit goes down the steps from the root of record 0 and returns what is wanted there.
func visit(m *format.Matcher, steps []format.Step) []format.Place {
	if !m.Begin(0, 0) {
		return nil
	}
	return down(m, steps)
}

func down(m *format.Matcher, steps []format.Step) []format.Place {
	for _, s := range steps {
		if s.Element && !m.Element(s.Index) || !s.Element && !m.Name([]byte(s.Name)) {
			return nil
		}
		defer m.Up()
	}
	return append([]format.Place(nil), m.Here()...)
}

// TestMacieCuts: whatever Macie cuts, the field is found, as the first reading.
func TestMacieCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int{240, 20}).Draw(t, "limit")
		var steps []format.Step
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				steps = append(steps, element(rapid.Int64Range(0, 1000).Draw(t, "element")))
			} else {
				steps = append(steps, member(rapid.StringMatching(`[a-z_]{1,30}|[a-zé .]{1,40}[a-z]|[a-z]{230,260}`).Draw(t, "name")))
			}
		}
		path := macie(steps, limit)
		m := format.NewMatcher([]coffer.Location{{Kind: coffer.Record, Path: path}})
		places := visit(m, steps)
		// With names cut at 20 characters, a path is cut later than its own length says.
		if len(places) != 1 || places[0].Want != 0 || places[0].Alt != 0 {
			t.Fatalf("path of %d steps and %d characters: %v", len(steps), len(path), places)
		}
		if places := visit(m, append(steps[:len(steps)-1:len(steps)-1], member("other"))); len(places) > 0 {
			t.Fatal("another field matches")
		}
	})
}

// TestCandidates: of the fields that a cut path may mean, those come first that Macie would have cut.
func TestCandidates(t *testing.T) {
	var deep []format.Step
	for i := range 13 {
		deep = append(deep, member(fmt.Sprintf("a_rather_long_name_%02d", i)))
	}
	deep = append(deep, member("customer"), member("ssn"))
	path := macie(deep, 240)
	if !strings.HasPrefix(path, "$..a_rather_long_name_") {
		t.Fatal("the path is not cut")
	}
	m := format.NewMatcher([]coffer.Location{{Kind: coffer.Record, Path: "$..customer.ssn"}, {Kind: coffer.Record, Path: path}})
	m.Begin(0, 0)
	short := down(m, []format.Step{member("x"), member("customer"), member("ssn")})
	short2 := down(m, []format.Step{member("y"), member("customer"), member("ssn")})
	top := down(m, []format.Step{member("customer"), member("ssn")})
	long := down(m, deep)
	long2 := down(m, append([]format.Step{element(1)}, deep...))
	for i, got := range [][]format.Place{short, short2, top, long, long2} {
		expect := [][]format.Place{{{Want: 0, Alt: 1000}}, {{Want: 0, Alt: 1001}}, nil, {{Want: 0, Alt: 0}, {Want: 1, Alt: 0}}, {{Want: 0, Alt: 1}, {Want: 1, Alt: 1}}}[i]
		if !sameSet(got, expect) {
			t.Errorf("%d: %v, want %v", i, got, expect)
		}
	}
}

func sameSet(a, b []format.Place) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		found := false
		for _, y := range b {
			found = found || x == y
		}
		if !found {
			return false
		}
	}
	return true
}

func TestMatcherRecords(t *testing.T) {
	at := func(i int64) coffer.Location { return coffer.Location{Kind: coffer.Record, Index: i, Path: "$.a"} }
	m := format.NewMatcher([]coffer.Location{at(5), at(5), at(100), {Kind: coffer.Record, Index: 100}, {Kind: coffer.Cell, Row: 1, Column: 1}})
	for _, tt := range []struct{ index, other, skip int64 }{{0, 0, 4}, {4, 3, 0}, {5, 4, 0}, {6, 4, 0}, {7, 6, 92}, {99, 90, 0}, {100, 91, 0}, {101, 92, 7}, {108, 100, 0}, {109, 101, -1}} {
		if got := m.Skip(tt.index, tt.other); got != tt.skip {
			t.Errorf("record %d, %d: skip %d, want %d", tt.index, tt.other, got, tt.skip)
		}
	}
	m = format.NewMatcher([]coffer.Location{at(5), at(5), {Kind: coffer.Record, Index: 5}})
	for _, tt := range []struct {
		index, other int64
		places       int
		alt          int
	}{{3, 3, 0, 0}, {4, 3, 3, 6000}, {5, 3, 3, 0}, {6, 4, 3, 9000}, {7, 5, 3, 3000}, {8, 6, 0, 0}} {
		m.Begin(tt.index, tt.other)
		got := down(m, []format.Step{member("a")})
		if len(got) != tt.places || len(got) > 0 && got[0].Alt != tt.alt {
			t.Errorf("record %d, %d: %v", tt.index, tt.other, got)
		}
	}
}

func TestMatcherCutName(t *testing.T) {
	m := format.NewMatcher([]coffer.Location{{Kind: coffer.Record, Path: "$['...tail'].a"}})
	for name, alt := range map[string]int{"tail": -1, "tails": -1, "...tail": 0, "xtail": 0, "longer tail": 0} {
		got := visit(m, []format.Step{member(name), member("a")})
		if alt < 0 && len(got) > 0 || alt == 0 && (len(got) != 1 || got[0] != format.Place{}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	m.Begin(0, 0)
	for i, name := range []string{"1tail", "2tail"} {
		if got := down(m, []format.Step{member(name), member("a")}); len(got) != 1 || got[0].Alt != i {
			t.Errorf("candidate %d: %v", i, got)
		}
	}
}

func TestMatcherManyNames(t *testing.T) {
	var want []coffer.Location
	for i := range 100 {
		want = append(want, coffer.Location{Kind: coffer.Record, Path: fmt.Sprintf("$.n%d.x[%d]", i%50, i)})
	}
	m := format.NewMatcher(want)
	for i := range 100 {
		got := visit(m, []format.Step{member(fmt.Sprintf("n%d", i%50)), member("x"), element(int64(i))})
		if len(got) != 1 || got[0].Want != i {
			t.Errorf("%d: %v", i, got)
		}
	}
}

func BenchmarkMatcher(b *testing.B) {
	var want []coffer.Location
	for i := range 1000 {
		want = append(want, coffer.Location{Kind: coffer.Record, Index: int64(i), Path: "$.kyc.ssn"})
	}
	m := format.NewMatcher(want)
	name, other := []byte("kyc"), []byte("name")
	b.ReportAllocs()
	for b.Loop() {
		m.Begin(500, 500)
		m.Name(other)
		if m.Name(name) {
			m.Up()
		}
	}
}
