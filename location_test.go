package coffer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coffer"
)

// locations generates every place that the package comment describes.
func locations() *rapid.Generator[coffer.Location] {
	name := rapid.StringOfN(rapid.OneOf(rapid.RuneFrom([]rune("!%:\" /.cell:line:page:record:offset:R1C1\x00\n\x7fé日😀")), rapid.Rune()), 1, 12, -1)
	positive := rapid.Int64Range(1, 1<<63-1)
	return rapid.Custom(func(t *rapid.T) coffer.Location {
		l := coffer.Location{
			Member: coffer.MemberPath(rapid.SliceOfN(name, 0, 3).Draw(t, "members")...),
			Kind:   coffer.LocationKind(rapid.IntRange(1, 5).Draw(t, "kind")),
		}
		switch l.Kind {
		case coffer.Cell:
			l.Sheet = rapid.OneOf(rapid.Just(""), name).Draw(t, "sheet")
			l.Row, l.Column = positive.Draw(t, "row"), rapid.Int64Range(0, 1<<63-1).Draw(t, "column")
		case coffer.Lines:
			l.Start = positive.Draw(t, "start")
			l.End = rapid.Int64Range(l.Start, 1<<63-1).Draw(t, "end")
			l.StartColumn = rapid.Int64Range(0, 1<<63-1).Draw(t, "column")
		case coffer.Page:
			l.Page = positive.Draw(t, "page")
		case coffer.Record:
			l.Index = rapid.Int64Range(0, 1<<63-1).Draw(t, "index")
			l.Path = "$" + rapid.String().Draw(t, "path")
		case coffer.Offset:
			l.Start = rapid.Int64Range(0, 1<<63-1).Draw(t, "start")
			l.End = rapid.Int64Range(l.Start, 1<<63-1).Draw(t, "end")
		}
		return l
	})
}

// Law: every location parses back from its text form, also inside JSON.
func TestLocationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := locations().Draw(t, "location")
		if got, err := coffer.ParseLocation(l.String()); err != nil || got != l {
			t.Fatalf("%+q: got %+v, %v", l.String(), got, err)
		}
		b, err := json.Marshal(l)
		var back coffer.Location
		if err != nil || json.Unmarshal(b, &back) != nil || back != l {
			t.Fatalf("%s: got %+v, %v", b, back, err)
		}
	})
}

// Law: names go into a member path and come out as they were, and so does the path when an archive is put in another.
func TestMemberPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringOfN(rapid.Rune(), 1, 8, -1), 1, 4).Draw(t, "names")
		l := coffer.Location{Kind: coffer.Page, Page: 1, Member: coffer.MemberPath(names...)}
		if got := l.Names(); !slices.Equal(got, names) {
			t.Fatalf("got %q, want %q", got, names)
		}
		inner := coffer.Location{Kind: coffer.Page, Page: 1}
		for _, n := range slices.Backward(names) {
			inner = inner.In(n)
		}
		if inner != l {
			t.Fatalf("got %v, want %v", inner, l)
		}
	})
	if (coffer.Location{}).Names() != nil {
		t.Error("a location outside an archive has names")
	}
}

func TestLocationText(t *testing.T) {
	for want, l := range map[string]coffer.Location{
		"":                                   {},
		"cell:R5C3":                          {Kind: coffer.Cell, Row: 5, Column: 3},
		"cell:R5C0":                          {Kind: coffer.Cell, Row: 5},
		"cell:Sheet2!R5C3":                   {Kind: coffer.Cell, Sheet: "Sheet2", Row: 5, Column: 3},
		"cell:a%20%21%25!R1C1":               {Kind: coffer.Cell, Sheet: "a !%", Row: 1, Column: 1},
		"line:12-13:5":                       {Kind: coffer.Lines, Start: 12, End: 13, StartColumn: 5},
		"line:12-12":                         {Kind: coffer.Lines, Start: 12, End: 12},
		"page:4":                             {Kind: coffer.Page, Page: 4},
		"record:7:$.a[0].b":                  {Kind: coffer.Record, Index: 7, Path: "$.a[0].b"},
		"record:0:$..x!cell:R1C1":            {Kind: coffer.Record, Path: "$..x!cell:R1C1"},
		"offset:120-131":                     {Kind: coffer.Offset, Start: 120, End: 131},
		"a.tar.gz!b.csv!cell:R2C3":           {Member: "a.tar.gz!b.csv", Kind: coffer.Cell, Row: 2, Column: 3},
		"cell%3AR1C1!page:1":                 {Member: coffer.MemberPath("cell:R1C1"), Kind: coffer.Page, Page: 1},
		"dir/%C3%BC%00.csv!line:1-1":         {Member: coffer.MemberPath("dir/ü\x00.csv"), Kind: coffer.Lines, Start: 1, End: 1},
		"x%21y!z!record:1:$['a b']!page:1\n": {Member: coffer.MemberPath("x!y", "z"), Kind: coffer.Record, Index: 1, Path: "$['a b']!page:1\n"},
	} {
		if got := l.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, err := coffer.ParseLocation(want); err != nil || got != l {
			t.Errorf("%q: got %+v, %v", want, got, err)
		}
	}
	// A record without a path is written as the whole record.
	if got := (coffer.Location{Kind: coffer.Record, Index: 3}).String(); got != "record:3:$" {
		t.Errorf("got %q", got)
	}
}

func TestParseLocationRefuses(t *testing.T) {
	for _, in := range []string{
		"R5C3", "cell:", "cell:R5", "cell:C3", "cell:5C3", "cell:R0C3", "cell:R-1C3", "cell:R+1C3", "cell:R1C", "cell:R1C1 ", "cell:r1c1",
		"cell:R1C1C1", "cell:R9223372036854775808C1", "cell:!R1C1", "cell:%zz!R1C1", "line:", "line:1", "line:0-1", "line:2-1", "line:1-2:",
		"line:1-2:0", "line:1-2:3:4", "page:", "page:0", "page:1.5", "page:0x1", "page:１", "record:", "record:1", "record:1:", "record:-1:$",
		"record:1:a", "record::$", "offset:", "offset:5", "offset:5-4", "offset:-1-4", "a!b", "a!", "!", "!page:1", "a!!page:1", "!!page:1",
		"%!page:1", "a%2!page:1", "Cell:R1C1", " page:1", "x:page:1", "pages:1",
	} {
		l, err := coffer.ParseLocation(in)
		if !errors.Is(err, coffer.ErrInvalid) || l != (coffer.Location{}) {
			t.Errorf("%q: got %+v, %v", in, l, err)
		}
	}
	var l coffer.Location
	if err := json.Unmarshal([]byte(`"page:0"`), &l); !errors.Is(err, coffer.ErrInvalid) || l != (coffer.Location{}) {
		t.Errorf("got %+v, %v", l, err)
	}
}

// FuzzParseLocation states two laws: what parses has one text form, which parses to the same location, so that equal places
// are equal texts; and an error does not repeat the text.
func FuzzParseLocation(f *testing.F) {
	for _, s := range []string{"cell:R5C3", "cell:a%20b!R1C0", "line:12-13:5", "page:4", "record:7:$.a[0].b", "offset:120-131",
		"a.tar.gz!b.csv!cell:R2C3", "a b!page:01", "%41!page:1", "a!!page:1", "x%3a!record:0:$\xff", "page:one-two-three", "\xff%3a!record:0:$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := coffer.ParseLocation(s)
		if err != nil {
			if !errors.Is(err, coffer.ErrInvalid) || len(s) > 40 && fmt.Sprint(err) == s {
				t.Fatalf("error of %d bytes for a text of %d", len(err.Error()), len(s))
			}
			return
		}
		text := l.String()
		if back, err := coffer.ParseLocation(text); err != nil || back != l {
			t.Fatalf("got %+v from %+v: %v", back, l, err)
		}
		if !strings.HasSuffix(s, l.Path) || !strings.HasSuffix(text, l.Path) {
			t.Fatal("the path changed")
		}
		for _, n := range l.Names() {
			if n == "" {
				t.Fatal("a member has no name")
			}
		}
		if m := coffer.MemberPath(l.Names()...); m != l.Member {
			t.Fatal("the member path has a second spelling")
		}
	})
}
