package remedy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf16"

	"coffer"
	"coffer/format"
	"coffer/format/detect"
	"coffer/format/text"
)

// A reported value is recognised as reported in whichever window of a long text it stands, and whatever the encoding: the plan
// would else count it among those that Macie did not list.
func TestReportedValuesAreRecognisedInEveryWindow(t *testing.T) {
	set, err := detect.NewSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	var occs []coffer.Occurrence
	for line := int64(1); b.Len() < 3*format.MaxWindow; line++ {
		if line%5000 == 17 {
			fmt.Fprintf(&b, "Zürich €: ssn: 9%02d-45-6789\n", len(occs)+10)
			occs = append(occs, coffer.Occurrence{N: len(occs) + 1, Type: coffer.USSocialSecurity,
				At: coffer.Location{Kind: coffer.Lines, Start: line, End: line, StartColumn: 16}})
			continue
		}
		fmt.Fprintf(&b, "%06d nothing to see here, in Zürich, for 0 €\n", line)
	}
	wide := []byte("\xff\xfe")
	for _, u := range utf16.Encode([]rune(b.String())) {
		wide = binary.LittleEndian.AppendUint16(wide, u)
	}
	for _, c := range []struct {
		name string
		f    format.Format
		doc  []byte
	}{{"UTF-8", text.Format{}, []byte(b.String())}, {"UTF-16", format.Decode(text.Format{}), wide}} {
		t.Run(c.name, func(t *testing.T) {
			source := func() format.Source { return format.Source{Reader: bytes.NewReader(c.doc), Size: int64(len(c.doc))} }
			found, err := format.Extract(t.Context(), c.f, source(), occs, set)
			if err != nil {
				t.Fatal(err)
			}
			var subjects []subject
			for _, f := range found {
				if f.Outcome != coffer.OutcomeExact {
					t.Fatalf("occurrence %d: outcome %s", f.Occurrence.N, f.Outcome)
				}
				subjects = append(subjects, subject{"f", f, &definitions{set: set}})
			}
			w := newSweep(subjects, Include{}, false, func(_ coffer.DataType, b []byte) []byte { return bytes.Repeat([]byte("X"), len(b)) })
			n := 0
			w.emit = func(ch Change) error {
				if n++; ch.N != n || ch.Why != "reported" {
					t.Errorf("change %d at %s: occurrence %d, %s", n, ch.At, ch.N, ch.Why)
				}
				return nil
			}
			if err := w.run(t.Context(), io.Discard, c.f, source()); err != nil {
				t.Fatal(err)
			}
			if n != len(occs) || w.counts.swept != 0 {
				t.Errorf("%d changes, %d of them swept; reported were %d", n, w.counts.swept, len(occs))
			}
		})
	}
}
