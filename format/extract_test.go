package format_test

import (
	"bytes"
	"strings"
	"testing"

	"coffer"
	"coffer/format"
	"coffer/format/all"
	"coffer/format/detect"
)

const (
	card1 = "4539000000000010"
	card2 = "4539000000000028"
	card3 = "4539000000000036"
)

// extract returns the values of the card numbers at the places in a document of that name; "-" where there is none.
func extract(t *testing.T, name, doc string, places ...string) string {
	t.Helper()
	set, err := detect.NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	var occs []coffer.Occurrence
	for i, p := range places {
		at, err := coffer.ParseLocation(p)
		if err != nil {
			t.Fatal(err)
		}
		occs = append(occs, coffer.Occurrence{N: i + 1, Type: coffer.CardNumber, At: at})
	}
	f, _, err := all.Choose(name, "", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	found, err := format.Extract(t.Context(), f, format.Source{Reader: strings.NewReader(doc), Size: int64(len(doc))}, occs, set)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		if f.Outcome != coffer.OutcomeExact {
			got = append(got, "-")
			continue
		}
		got = append(got, string(f.Value().Expose()))
	}
	return strings.Join(got, "|")
}

func TestExtractOverLines(t *testing.T) {
	for _, c := range []struct{ name, doc, at, want string }{
		{"grouped", "card 4539 0000\n0000 0010 ok\n", "line:1-2:6", "4539 0000\n0000 0010"},
		{"CRLF and indented", "card 4539 0000 \r\n\t0000 0010", "line:1-2:6", "4539 0000 \r\n\t0000 0010"},
		{"the first match of one line is not it", card2 + " card 4539 0000\n0000 0010", "line:1-2:23", "4539 0000\n0000 0010"},
		{"not broken", "card " + card1 + "\n" + card2, "line:1-2:6", card1},
		{"no value", "card 4539 0000\n0000 0011", "line:1-2:6", "-"},
		{"one line alone", "card 4539 0000\n0000 0010", "line:1-1:6", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := extract(t, "a.txt", c.doc, c.at); got != c.want {
				t.Errorf("found a value of %d bytes, want %d", len(got), len(c.want))
			}
		})
	}
}

// TestExtractCounting: a document is counted in one way, and the places that only one way explains decide for all.
func TestExtractCounting(t *testing.T) {
	lines := `{"n":"` + card1 + `"}` + "\n" + `{"n":"` + card2 + `"}` + "\n" + `{"n":"` + card3 + `"}` + "\n"
	broken := "a,b\n\"x\ny\n\"," + card1 + "\nz," + card2 + "\nz," + card3 + "\n"
	for _, c := range []struct {
		name, file, doc string
		at              []string
		want            string
	}{
		{"records from 0", "a.jsonl", lines, []string{"record:0:$.n", "record:1:$.n", "record:2:$.n"}, card1 + "|" + card2 + "|" + card3},
		{"records from 1", "a.jsonl", lines, []string{"record:1:$.n", "record:2:$.n", "record:3:$.n"}, card1 + "|" + card2 + "|" + card3},
		{"no evidence", "a.jsonl", lines, []string{"record:1:$.n", "record:2:$.n"}, card2 + "|" + card3},
		{"rows", "a.csv", broken, []string{"cell:R2C2", "cell:R3C2", "cell:R4C2"}, card1 + "|" + card2 + "|" + card3},
		{"physical lines", "a.csv", broken, []string{"cell:R2C2", "cell:R5C2", "cell:R6C2"}, card1 + "|" + card2 + "|" + card3},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := extract(t, c.file, c.doc, c.at...); got != c.want {
				t.Error("the values are of other records")
			}
		})
	}
}

// A column of integers with gaps is written by many programs as one of fractions.
func TestExtractIntegral(t *testing.T) {
	if got := extract(t, "a.csv", "card,x\n"+card1+".0,1\n,2\n", "cell:R2C1"); got != card1 {
		t.Errorf("found a value of %d bytes", len(got))
	}
	if got := extract(t, "a.jsonl", `{"n":`+card1+`.0}`, "record:0:$.n"); got != card1 {
		t.Errorf("found a value of %d bytes", len(got))
	}
}

// Where Macie says that a number stands, it may stand directly behind a letter; in scripts without spaces it may anywhere.
func TestExtractBetweenLetters(t *testing.T) {
	for _, doc := range []string{"\u00e9" + card1 + "\\/", "x" + card1 + "y", "卡号" + card1 + "の", "“" + card1 + "”", "\u00a0" + card1} {
		if got := extract(t, "a.json", `{"n":"`+doc+`"}`, "record:0:$.n"); got != card1 {
			t.Errorf("%q: found a value of %d bytes", strings.ReplaceAll(doc, card1, "#"), len(got))
		}
	}
}

// TestReading: a walk over everything reads a document as the walk did that found the values.
func TestReading(t *testing.T) {
	for _, c := range []struct{ file, doc, at string }{
		{"a.log", `{"n":"\u0034` + card1[1:] + `"}` + "\n", "record:0:$.n"},
		{"a.txt", "a;b\n1;\"x\"\"" + card1 + "\"\n", "cell:R2C2"},
	} {
		at, err := coffer.ParseLocation(c.at)
		if err != nil {
			t.Fatal(err)
		}
		f, _, err := all.Choose(c.file, "", []byte(c.doc))
		if err != nil {
			t.Fatal(err)
		}
		met := false
		var out bytes.Buffer
		err = all.Reading(f, []coffer.Location{at}).Walk(t.Context(), &out, format.Source{Reader: strings.NewReader(c.doc), Size: -1}, nil,
			func(r *format.Region) ([]format.Edit, error) {
				met = met || r.At == at && r.Whole && bytes.Contains(r.Text, []byte(card1))
				return nil, nil
			})
		if err != nil || !met || out.String() != c.doc {
			t.Errorf("%s: place met: %v; error: %v", c.file, met, err)
		}
	}
}
