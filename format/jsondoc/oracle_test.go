package jsondoc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"coffer"
	"coffer/format"
	"coffer/format/formattest"
	"coffer/format/jsondoc"
)

// leaf is a scalar or a member name as encoding/json reads it.
type leaf struct {
	steps []format.Step
	text  string // "" for a name's value; numbers as they are spelled
	kind  string // string, number, word, name
}

// leaves lists what encoding/json finds in one value, in document order.
func leaves(doc []byte) ([]leaf, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var all []leaf
	var value func(at []format.Step) error
	value = func(at []format.Step) error {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		add := func(kind, text string) {
			all = append(all, leaf{append([]format.Step(nil), at...), text, kind})
		}
		switch v := tok.(type) {
		case json.Delim:
			for i := int64(0); dec.More(); i++ {
				step := format.Step{Element: true, Index: i}
				if v == '{' {
					name, err := dec.Token()
					if err != nil {
						return err
					}
					step = format.Step{Name: name.(string)}
					add("name", step.Name)
				}
				if err := value(append(at, step)); err != nil {
					return err
				}
			}
			_, err = dec.Token()
			return err
		case string:
			add("string", v)
		case json.Number:
			add("number", v.String())
		case bool:
			add("word", strconv.FormatBool(v))
		case nil:
			add("word", "null")
		}
		return nil
	}
	if err := value(nil); err != nil {
		return nil, err
	}
	return all, nil
}

// readable is b as encoding/json would show it.
func readable(b []byte) string { return string([]rune(string(b))) }

// region is a region with its windows joined.
type region struct {
	formattest.Seen
	text []byte
}

func regions(doc []byte, want []coffer.Location) ([]region, error) {
	seen, err := formattest.Collect(jsondoc.Format{}, doc, want, nil)
	var all []region
	fresh := true
	for _, s := range seen {
		if fresh {
			all = append(all, region{Seen: s})
		}
		r := &all[len(all)-1]
		r.text = append(r.text, s.Text[s.Lead:s.Commit]...)
		fresh = s.Last
	}
	return all, err
}

// fatal is what a test and a property have in common.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// agree checks the regions of a record against what encoding/json finds in it.
func agree(t fatal, got []region, expect []leaf, index int64) {
	t.Helper()
	if len(got) != len(expect) {
		t.Fatalf("%d regions, encoding/json finds %d names and scalars", len(got), len(expect))
	}
	for i, e := range expect {
		r := got[i]
		if readable(r.text) != e.text || r.IsName != (e.kind == "name") || !r.Whole || r.At.Index != index {
			t.Fatalf("region %d: text of %d bytes, encoding/json has a %s of %d", i, len(r.text), e.kind, len(e.text))
		}
		p, err := format.ParsePath(r.At.Path)
		if err != nil {
			t.Fatalf("region %d: %v", i, err)
		}
		if e.kind == "name" {
			if len(p.Steps) != 0 {
				t.Fatalf("region %d: the place of a name shows it", i)
			}
			continue
		}
		if len(p.Steps) != len(e.steps) {
			t.Fatalf("region %d: path of %d steps, %d expected", i, len(p.Steps), len(e.steps))
		}
		for j, s := range e.steps {
			g := p.Steps[j]
			if tail, cut := format.CutName([]byte(s.Name)); cut {
				s.Name = "..." + string(tail)
			}
			g.Name = readable([]byte(g.Name))
			if g != s {
				t.Fatalf("region %d: step %d is another", i, j)
			}
		}
	}
}

var names = rapid.OneOf(
	rapid.SampledFrom([]string{"a", "ssn", "Card Number", "a.b", "it's", `say "x"`, `C:\dir`, "[0]", "", "7", "\x01\n", "é", "日本", "...", "...x", "$", "'", "''", "']", `\'`, "a]b", "\U0001d11e", strings.Repeat("n", 300), "\xff"}),
	rapid.String(),
)

// source generates the text of a JSON value, in any spelling.
func source(t *rapid.T, depth int) string {
	space := func() string {
		return rapid.SampledFrom([]string{"", "", "", " ", "\n", "\t", "\r\n", "  "}).Draw(t, "space")
	}
	switch n := rapid.IntRange(0, 7).Draw(t, "kind"); {
	case n == 0:
		return rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "word")
	case n == 1:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
	case n <= 3 || depth == 0:
		return spell(t, names.Draw(t, "text"))
	case n <= 5:
		var b strings.Builder
		b.WriteString("{" + space())
		for i := range rapid.IntRange(0, 4).Draw(t, "members") {
			if i > 0 {
				b.WriteString("," + space())
			}
			b.WriteString(spell(t, names.Draw(t, "name")) + space() + ":" + space() + source(t, depth-1) + space())
		}
		return b.String() + "}"
	default:
		var b strings.Builder
		b.WriteString("[" + space())
		for i := range rapid.IntRange(0, 4).Draw(t, "elements") {
			if i > 0 {
				b.WriteString("," + space())
			}
			b.WriteString(source(t, depth-1) + space())
		}
		return b.String() + "]"
	}
}

// spell writes a string with escapes that are needed and some that are not, and with lone surrogates.
func spell(t *rapid.T, s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		how := rapid.IntRange(0, 7).Draw(t, "spelling")
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < 0x20 || how == 0 && r < 0x10000 && (r != utf8.RuneError || n > 1):
			fmt.Fprintf(&b, `\u%04X`, r)
		case how == 0 && r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			b.WriteString(s[i : i+n])
		}
		if how == 1 {
			b.WriteString(rapid.SampledFrom([]string{`\ud834`, `\udd1e`, `\/`, `\b`}).Draw(t, "extra"))
		}
		i += n
	}
	return b.String() + `"`
}

func TestOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := []byte(source(t, 4))
		expect, err := leaves(doc)
		if err != nil || !json.Valid(doc) {
			t.Fatalf("generator: %v", err)
		}
		got, err := regions(doc, nil)
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		agree(t, got, expect, 0)

		// Each scalar is found at its place, and there only.
		for i, e := range expect {
			if e.kind == "name" {
				continue
			}
			found, err := regions(doc, []coffer.Location{got[i].At})
			if err != nil {
				t.Fatal(err)
			}
			met := false
			for _, r := range found {
				met = met || r.At == got[i].At && bytes.Equal(r.text, got[i].text) && len(r.Places) == 1 && (r.Places[0].Alt == 0 || strings.Contains(r.At.Path, "..."))
			}
			if !met {
				t.Fatalf("scalar %d is not found at its place", i)
			}
		}

		// After an edit encoding/json reads what was meant, and nothing else is different.
		n := 0
		changed := map[int]bool{}
		var out bytes.Buffer
		err = jsondoc.Format{}.Walk(context.Background(), &out, format.Source{Reader: bytes.NewReader(doc), Size: -1}, nil, func(r *format.Region) ([]format.Edit, error) {
			defer func() { n++ }()
			if !rapid.Bool().Draw(t, "edit") {
				return nil, nil
			}
			i := format.RuneCut(r.Text, rapid.IntRange(0, len(r.Text)).Draw(t, "from"))
			j := format.RuneCut(r.Text, rapid.IntRange(i, len(r.Text)).Draw(t, "to"))
			j = max(i, j)
			e := format.Edit{Start: i, End: j, New: []byte(names.Draw(t, "new"))}
			expect[n].text = readable(r.Text[:i]) + readable(e.New) + readable(r.Text[j:])
			changed[n] = true
			return []format.Edit{e}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(out.Bytes()) {
			t.Fatal("not JSON after the edit")
		}
		after, err := leaves(out.Bytes())
		if err != nil || len(after) != len(expect) {
			t.Fatalf("%d names and scalars after the edit, %d before: %v", len(after), len(expect), err)
		}
		for i, e := range expect {
			if changed[i] && e.kind != "name" {
				e.kind = "string"
			}
			if after[i].text != e.text || after[i].kind != e.kind {
				t.Fatalf("%d: a %s of %d bytes after the edit, a %s of %d meant", i, after[i].kind, len(after[i].text), e.kind, len(e.text))
			}
		}
	})
}

func TestOracleLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "lines")
		var doc strings.Builder
		var all [][]leaf
		var index []int64
		line := int64(0)
		for range n {
			for rapid.IntRange(0, 5).Draw(t, "blank") == 0 {
				doc.WriteString(rapid.SampledFrom([]string{"\n", " \n", "\r\n"}).Draw(t, "line"))
				line++
			}
			v := strings.NewReplacer("\n", " ", "\r", " ").Replace(source(t, 3))
			l, err := leaves([]byte(v))
			if err != nil {
				t.Fatal(err)
			}
			all, index = append(all, l), append(index, line)
			doc.WriteString(v + rapid.SampledFrom([]string{"\n", "\r\n", " \n"}).Draw(t, "end"))
			line++
		}
		got, err := regions([]byte(doc.String()), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, expect := range all {
			k := 0
			for k < len(got) && got[k].At.Index == index[i] {
				k++
			}
			agree(t, got[:k], expect, index[i])
			got = got[k:]
		}
		if len(got) > 0 {
			t.Fatalf("%d regions too many", len(got))
		}
	})
}

// FuzzWalk: what encoding/json takes is taken and read alike; in what it does not take, nothing hides; and the laws of all formats.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{
		pretty, `{"a":1}{"a":2}`, "{\"a\":1}\n{\"a\":2}\n", "{\"a\":1}\n{\"b\":tru}\n\n[1,\"\\ud834\"]\nx\n", "[\n{}\n]\n", "\xef\xbb\xbf{}\x00", "{\n}\n{\n\"a\":[1,{}],\"\\u00e9\":\"\\\\\"\n}",
		"1 2\n\"x\" true", `{"a":{"b":1},"a":{"c":2}}`, "{\"a\":\"\xff\\/\"}", "{\"a\":1},\n{\"a\":2},\n", "[[[[]]]]", `"\ud834X\udd1e"`,
	} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		all, err := regions(doc, nil)
		if expect, e := leaves(doc); json.Valid(doc) && e == nil {
			if err != nil {
				if errors.Is(err, coffer.ErrLimit) {
					return
				}
				t.Fatalf("encoding/json takes it: %v", err)
			}
			agree(t, all, expect, 0)
		}
		if err != nil {
			if !errors.Is(err, coffer.ErrInvalid) && !errors.Is(err, coffer.ErrLimit) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		var out bytes.Buffer
		err = jsondoc.Format{}.Walk(t.Context(), &out, format.Source{Reader: bytes.NewReader(doc), Size: -1}, nil, func(r *format.Region) ([]format.Edit, error) {
			return []format.Edit{{Start: r.Lead, End: len(r.Text)}}, nil
		})
		if err != nil {
			t.Fatalf("everything edited: %v", err)
		}
		left := strings.Trim(strings.ReplaceAll(out.String(), "\xef\xbb\xbf", ""), "{}[]:,\" \t\r\n\x00")
		for _, c := range []byte(left) {
			if strings.IndexByte("{}[]:,\" \t\r\n\x00", c) < 0 {
				t.Fatalf("%d bytes of the document are in no region", len(left))
			}
		}
		// Members with equal names (or names of which equal parts are shown) have equal places, which no law expects.
		plain := true
		for _, r := range all {
			plain = plain && r.Whole && !strings.Contains(r.At.Path, "...")
		}
		if expect, err := leaves(doc); err == nil {
			seen := map[string]bool{}
			for _, e := range expect {
				path := format.Path{Steps: e.steps}.String()
				plain = plain && !(e.kind == "name" && seen[path])
				seen[path] = seen[path] || e.kind == "name"
			}
		}
		if plain {
			formattest.Laws(t, formattest.Harness{Format: jsondoc.Format{}}, doc, seed)
		}
	})
}
