package format_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"

	"coffer"
	"coffer/format"
	"coffer/format/delimited"
	"coffer/format/formattest"
	"coffer/format/text"
)

const marker = "4000-0000-0000-0002"

func encode(order binary.AppendByteOrder, s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return b
}

// encoded are documents in UTF-16. Values are not looked for in the output's bytes here, where they would stand in UTF-16.
func encoded() []formattest.Document {
	const table = "name,card\r\n\"\u20ac \U0001d11e\",\"" + marker + "\"\r\n6\" pipe," + marker + "\n"
	lone := append(encode(binary.LittleEndian, "\ufeffa,b\n1,"), 0x00, 0xd8, 'x', 0, 0x00, 0xdc, 0x34, 0xd8, '\n', 0, 0x00, 0xd8)
	return []formattest.Document{
		{Name: "le", Bytes: encode(binary.LittleEndian, "\ufeff"+table), Values: []string{marker}},
		{Name: "be", Bytes: encode(binary.BigEndian, "\ufeff"+table), Values: []string{marker}},
		{Name: "le without mark", Bytes: encode(binary.LittleEndian, strings.Repeat(table, 3)), Values: []string{marker}},
		{Name: "be without mark", Bytes: encode(binary.BigEndian, strings.Repeat(table, 3)), Values: []string{marker}},
		{Name: "odd length", Bytes: append(encode(binary.BigEndian, "\ufeff"+table), 0xd8), Values: []string{marker}},
		{Name: "lone surrogates", Bytes: lone},
		{Name: "only a mark", Bytes: []byte("\xff\xfe")},
		{Name: "a mark and a byte", Bytes: []byte("\xfe\xffx")},
		{Name: "utf-8", Bytes: []byte(table), Values: []string{marker}},
		{Name: "long", Bytes: encode(binary.LittleEndian, "\ufeffa,b\nx,"+strings.Repeat("\u20ac\U0001d11eab ", 130_000)+marker+",\"y\"\n"), Values: []string{marker}},
	}
}

func TestDecode(t *testing.T) {
	for name, f := range map[string]format.Format{"text": text.Format{}, "csv": delimited.Format{Comma: ','}} {
		t.Run(name, func(t *testing.T) {
			formattest.Test(t, formattest.Harness{
				Format: format.Decode(f), Documents: encoded(), EndlessSize: 17 << 20,
				Endless: func() io.Reader {
					return formattest.Repeat("\xff\xfe", string(encode(binary.LittleEndian, "some,\"cells\",\u20ac\U0001d11e\n")))
				},
			})
		})
	}
}

func FuzzDecode(f *testing.F) {
	for i, d := range encoded() {
		if len(d.Bytes) < 1<<10 {
			f.Add(d.Bytes, uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		// With a mark, because edits may make a document without one unrecognisable; without U+0000, which at the beginning makes
		// it look like UTF-32; and without a second half of a surrogate pair that lacks the first, which may find one.
		units, order := []byte("\xff\xfe"), binary.ByteOrder(binary.LittleEndian)
		if seed%3 == 0 {
			units, order = []byte("\xfe\xff"), binary.BigEndian
		}
		high := false
		for ; len(doc) > 1; doc = doc[2:] {
			u := order.Uint16(doc)
			if low := u >= 0xdc00 && u < 0xe000; u != 0 && (!low || high) {
				units = append(units, doc[:2]...)
				high = u >= 0xd800 && u < 0xdc00
			}
		}
		units = append(units, doc...)
		doc = units
		inner := format.Format(text.Format{})
		if seed%2 == 0 {
			inner = delimited.Format{Comma: ','}
		}
		formattest.Laws(t, formattest.Harness{Format: format.Decode(inner)}, doc, seed)
	})
}

// A decoded document gives the text of the same document in UTF-8.
func TestDecodeText(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var s strings.Builder
		for range 1 + rnd.IntN(3000) {
			s.WriteRune([]rune("ab,\"\n\r \u00e9\u20ac\U0001d11e\ud7ff\ue000\uffff")[rnd.IntN(13)])
		}
		plain, err := formattest.Collect(text.Format{}, []byte(s.String()), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			got, err := formattest.Collect(format.Decode(text.Format{}), encode(order, "\ufeff"+s.String()), nil, nil)
			if err != nil || len(got) != len(plain) {
				t.Fatalf("%v: %d regions, want %d", err, len(got), len(plain))
			}
			for i := range got {
				if !bytes.Equal(got[i].Text, plain[i].Text) {
					t.Fatalf("region %d reads otherwise than in UTF-8", i)
				}
			}
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, doc := range map[string][]byte{"utf-32le": []byte("\xff\xfe\x00\x00a\x00\x00\x00"), "utf-32be": []byte("\x00\x00\xfe\xff\x00\x00\x00a")} {
		if _, err := formattest.Collect(format.Decode(text.Format{}), doc, nil, nil); !errors.Is(err, coffer.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	doc := encode(binary.LittleEndian, "\ufeff\u20ac")
	err := format.Decode(text.Format{}).Walk(context.Background(), io.Discard, format.Source{Reader: bytes.NewReader(doc)}, nil,
		func(*format.Region) ([]format.Edit, error) { return []format.Edit{{Start: 1, End: 3}}, nil })
	if !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("edit inside a character: %v", err)
	}
}

// What is no UTF-16 beyond doubt is left alone.
func TestDecodeLeavesAlone(t *testing.T) {
	for _, doc := range []string{"", "a", "ab", "a\x00", "a\x00b\x00c\x00d\x00", "plain text, plainly", "\xef\xbb\xbfa", "a\x00\x00\x00b\x00\x00\x00c\x00\x00\x00", "x\x00one\x00two\x00three\x00"} {
		all, err := formattest.Collect(format.Decode(text.Format{}), []byte(doc), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(all) > 0 {
			got = string(all[0].Text)
		}
		if got != strings.TrimPrefix(doc, "\xef\xbb\xbf") {
			t.Errorf("%q was decoded", doc)
		}
	}
}
