package detect_test

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"coffer"
	"coffer/format/detect"
)

func set(t testing.TB, custom ...detect.Custom) *detect.Set {
	t.Helper()
	s, err := detect.NewSet(custom)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func detector(t testing.TB, id coffer.DataType) detect.Detector {
	t.Helper()
	d, ok := set(t).For(id, "")
	if !ok {
		t.Fatalf("no detector for %s", id)
	}
	return d
}

// values returns the matched texts, the invalid ones with an exclamation mark in front. All texts in these tests are made up.
func values(text string, ms []detect.Match) []string {
	out := []string{}
	for _, m := range ms {
		v := text[m.Start:m.End]
		if !m.Valid {
			v = "!" + v
		}
		out = append(out, v)
	}
	return out
}

func open(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of the reference: every value that its events locate is found exactly.
func TestExampleCells(t *testing.T) {
	rows, err := csv.NewReader(bytes.NewReader(open(t, "ach-payouts-2026-07-14.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	d := detector(t, coffer.BankAccountNumber)
	for _, r := range rows[1:] {
		got := d.Find(detect.Text{Text: []byte(r[2]), Name: []byte(rows[0][2]), Cell: true})
		if !slices.Equal(got, []detect.Match{{Start: 0, End: len(r[2]), Valid: true}}) {
			t.Errorf("%q: %v", r[2], got)
		}
	}
}

func TestExampleRecords(t *testing.T) {
	lines := bufio.NewScanner(bytes.NewReader(open(t, "customers-2026-07.jsonl")))
	s := set(t)
	n := 0
	for lines.Scan() {
		var r struct {
			KYC    struct{ SSN string }
			Payout map[string]string
			Cards  []map[string]string
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		whole := func(id coffer.DataType, name, v string, scan bool) {
			t.Helper()
			n++
			d := detector(t, id)
			x := detect.Text{Text: []byte(v), Name: []byte(name), Cell: true}
			want := []detect.Match{{Start: 0, End: len(v), Valid: true}}
			if got := d.Find(x); !slices.Equal(got, want) {
				t.Errorf("%s: Find(%q) = %v", id, v, got)
			}
			if !scan {
				want = nil
			}
			if got := d.Scan(x); !slices.Equal(got, want) {
				t.Errorf("%s: Scan(%q) = %v", id, v, got)
			}
			found := 0
			s.ScanAll(x, []coffer.DataType{id}, func(coffer.DataType, detect.Match) bool { found++; return true })
			if found != len(want) {
				t.Errorf("%s: ScanAll(%q) found %d", id, v, found)
			}
		}
		whole(coffer.USSocialSecurity, "kyc.ssn", r.KYC.SSN, true)
		whole(coffer.BankAccountNumber, "payout.Bank Account", r.Payout["Bank Account"], false)
		for _, c := range r.Cards {
			whole(coffer.CardNumber, "cards.card number", c["card number"], true)
		}
	}
	if n != 112 {
		t.Errorf("%d values, want the 112 of the event", n)
	}
}

func TestExampleLines(t *testing.T) {
	lines := strings.Split(string(open(t, "dispute-mailer-2026-07-14.txt")), "\n")
	for _, c := range []struct {
		id                coffer.DataType
		start, end, first int
		want              string
	}{
		{coffer.BankAccountNumber, 12, 12, 29, "004417792051"},
		{coffer.BankAccountNumber, 13, 13, 61, "88120045613"},
		{coffer.USSocialSecurity, 3, 3, 41, "900-55-1234"},
		{coffer.USSocialSecurity, 13, 13, 33, "900-61-7788"},
		{coffer.Address, 8, 9, 5, "123 Any Street\n    Seattle, WA 98101"},
	} {
		text := strings.Join(lines[c.start-1:c.end], "\n")
		got := values(text, detector(t, c.id).Find(detect.Text{Text: []byte(text)}))
		if !slices.Equal(got, []string{c.want}) || strings.Index(text, c.want) != c.first-1 {
			t.Errorf("%s, line %d: %q", c.id, c.start, got)
		}
		all := strings.Join(lines, "\n")
		if got := values(all, detector(t, c.id).Find(detect.Text{Text: []byte(all)})); !slices.Contains(got, c.want) {
			t.Errorf("%s in the whole text: %q", c.id, got)
		}
	}
}
