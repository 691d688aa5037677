package macie_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coffer"
	"coffer/macie"
)

// findings generates findings as Macie makes them: detections by category, custom ones last; occurrences by detection and kind.
func findings() *rapid.Generator[coffer.Finding] {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab0 _-/.'\"\\!:%$[]{}éü日\t\n\x01\u2028😀<>&")), 0, 12, -1)
	word := rapid.StringMatching(`[A-Za-z0-9_.:/-]{0,12}`)
	some := rapid.StringMatching(`[A-Za-z0-9_.-]{1,12}`)
	number := rapid.Int64Range(1, 1<<53-1)
	tags := rapid.Custom(func(t *rapid.T) []coffer.Tag {
		var out []coffer.Tag
		for range rapid.IntRange(0, 3).Draw(t, "tags") {
			out = append(out, coffer.Tag{Key: text.Draw(t, "key"), Value: text.Draw(t, "value")})
		}
		return out
	})
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "said") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(-1<<33, 1<<36).Draw(t, "seconds"), 1e6*rapid.Int64Range(0, 999).Draw(t, "ms")).UTC()
	})
	location := func(t *rapid.T, kind coffer.LocationKind) coffer.Location {
		l := coffer.Location{Kind: kind}
		switch kind {
		case coffer.Cell:
			l.Row, l.Column = number.Draw(t, "row"), rapid.Int64Range(0, 1<<30).Draw(t, "column")
			if l.Column > 0 {
				l.Sheet = text.Draw(t, "sheet")
			}
		case coffer.Lines, coffer.Offset:
			l.Start = number.Draw(t, "start")
			l.End = rapid.Int64Range(l.Start, 1<<53-1).Draw(t, "end")
			if kind == coffer.Lines {
				l.StartColumn = rapid.Int64Range(0, 1<<53-1).Draw(t, "start column")
			}
		case coffer.Page:
			l.Page = number.Draw(t, "page")
		case coffer.Record:
			l.Index, l.Path = rapid.Int64Range(0, 1<<53-1).Draw(t, "index"), "$"+text.Draw(t, "path")
		}
		return l
	}
	return rapid.Custom(func(t *rapid.T) coffer.Finding {
		f := coffer.Finding{
			ID: rapid.StringMatching(`[!-~]{1,40}`).Draw(t, "id"), AccountID: word.Draw(t, "account"), Partition: word.Draw(t, "partition"),
			Region: word.Draw(t, "region"), Type: "SensitiveData:S3Object/" + some.Draw(t, "type"),
			Severity:  coffer.Severity(rapid.IntRange(0, 3).Draw(t, "severity")),
			CreatedAt: instant.Draw(t, "created"), JobID: word.Draw(t, "job"), OriginType: word.Draw(t, "origin"),
			Archived: rapid.Bool().Draw(t, "archived"), Title: text.Draw(t, "title"), Description: text.Draw(t, "description"),
			Object: coffer.Object{Bucket: "b" + some.Draw(t, "bucket"), Key: "k" + text.Draw(t, "key"), VersionID: word.Draw(t, "version"),
				ETag: word.Draw(t, "etag")},
			Size: rapid.Int64Range(-1, 1<<53-1).Draw(t, "size"), StorageClass: word.Draw(t, "class"), LastModified: instant.Draw(t, "modified"),
			MIMEType: word.Draw(t, "mime"),
			OnBucket: coffer.Protection{Encryption: word.Draw(t, "encryption"), KMSKey: word.Draw(t, "kms"),
				PublicAccess: word.Draw(t, "access"), Tags: tags.Draw(t, "bucket tags")},
			OnObject: coffer.Protection{Encryption: word.Draw(t, "encryption"), KMSKey: word.Draw(t, "kms"),
				PublicAccess: rapid.SampledFrom([]string{"", "PUBLIC", "NOT_PUBLIC"}).Draw(t, "access"), Tags: tags.Draw(t, "object tags")},
			Status: rapid.SampledFrom([]string{"", "COMPLETE", "PARTIAL"}).Draw(t, "status"), StatusReason: word.Draw(t, "reason"),
			ResultLocation: word.Draw(t, "result"), More: rapid.Bool().Draw(t, "more"),
		}
		categories := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "CREDENTIALS", "FINANCIAL_INFORMATION", "PERSONAL_INFORMATION",
			"CUSTOM_IDENTIFIER"}), 1, 5, rapid.ID).Draw(t, "categories")
		if i := slices.Index(categories, "CUSTOM_IDENTIFIER"); i >= 0 {
			categories = append(slices.Delete(categories, i, i+1), "CUSTOM_IDENTIFIER")
		}
		types := rapid.SliceOfNDistinct(some, len(categories), 3*len(categories), rapid.ID).Draw(t, "types")
		for i, typ := range types {
			k := coffer.Detection{Type: coffer.DataType(typ), Category: categories[i*len(categories)/len(types)],
				Count: rapid.Int64Range(1, 5).Draw(t, "count")}
			if k.Category == "CUSTOM_IDENTIFIER" {
				k.Custom = some.Draw(t, "custom") + typ
			}
			f.Detections = append(f.Detections, k)
			located := rapid.Int64Range(0, k.Count).Draw(t, "located")
			f.More = f.More || located < k.Count
			var kinds []coffer.LocationKind
			for range located {
				kinds = append(kinds, coffer.LocationKind(rapid.IntRange(1, 5).Draw(t, "kind")))
			}
			slices.Sort(kinds)
			for _, kind := range kinds {
				o := coffer.Occurrence{N: len(f.Occurrences) + 1, Type: k.Type, Custom: k.Custom, At: location(t, kind), Source: coffer.FromFinding}
				if kind == coffer.Cell {
					o.Column = text.Draw(t, "column name")
				}
				f.Occurrences = append(f.Occurrences, o)
			}
		}
		return f
	})
}

// Law: what is written as an event is read back the same.
func TestEventRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := findings().Draw(t, "finding")
		b := macie.Event(f)
		if !json.Valid(b) || strings.ContainsRune(string(b), '\n') {
			t.Fatal("the event is not one line of JSON")
		}
		same(t, one(t, string(b)), f)
	})
}

// Law: what is written as a discovery result is read back the same, alone and merged into its finding.
func TestResultRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := findings().Draw(t, "finding")
		f.CreatedAt, f.LastModified = f.CreatedAt.Truncate(time.Second), f.LastModified.Truncate(time.Second)
		f.Archived, f.More = false, false
		f.Object.ETag += "e"
		members := rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "members")
		for i := range f.Occurrences {
			o := &f.Occurrences[i]
			o.Source = coffer.FromResult
			if o.At.Kind == coffer.Offset { // results have no offsets
				o.At = coffer.Location{Kind: coffer.Record, Path: "$"}
			}
		}
		if members > 0 {
			// The order of an archive's places: by file, then by detection.
			var all []coffer.Occurrence
			for m := range members {
				for i, o := range f.Occurrences {
					if i%members == m {
						o.At.Member = coffer.MemberPath(string(rune('a'+m)) + "/x y!.csv")
						all = append(all, o)
					}
				}
			}
			f.Occurrences = all
		}
		located := make(map[string]int64)
		for i := range f.Occurrences {
			f.Occurrences[i].N = i + 1
			located[string(f.Occurrences[i].Type)]++
		}
		for _, k := range f.Detections {
			f.More = f.More || located[string(k.Type)] < k.Count
		}
		lines := string(macie.ResultLines(f))
		same(t, one(t, lines), f)

		bare := f
		bare.Occurrences = nil
		got, _ := merge(t, one(t, string(macie.Event(bare))), packed(lines))
		same(t, got, f)
	})
}

// Sheets whose names hold what a reference is made of.
func TestSheetRoundTrip(t *testing.T) {
	for _, sheet := range []string{"Sheet2", "a b", "it's", "''", "a''b'", "'", "A!B", "$C$5", "'x'!R1C1", "Übersicht"} {
		f := coffer.Finding{ID: "x", Type: "SensitiveData:S3Object/Personal", Size: -1, Object: coffer.Object{Bucket: "b", Key: "k"},
			Detections: []coffer.Detection{{Type: "NAME", Category: "PERSONAL_INFORMATION", Count: 1}},
			Occurrences: []coffer.Occurrence{{N: 1, Type: "NAME", Source: coffer.FromFinding,
				At: coffer.Location{Kind: coffer.Cell, Sheet: sheet, Row: 9, Column: 703}}}}
		same(t, one(t, string(macie.Event(f))), f)
	}
}

// An event cannot say where in an archive a value stands, and says that there is more.
func TestEventOfArchive(t *testing.T) {
	f := coffer.Finding{ID: "x", Type: "SensitiveData:S3Object/Personal", Size: -1, Object: coffer.Object{Bucket: "b", Key: "a.zip"},
		Detections:  []coffer.Detection{{Type: "NAME", Category: "PERSONAL_INFORMATION", Count: 1}},
		Occurrences: []coffer.Occurrence{{N: 1, Type: "NAME", At: coffer.Location{Member: "a.csv", Kind: coffer.Cell, Row: 1, Column: 1}}}}
	got := one(t, string(macie.Event(f)))
	if len(got.Occurrences) != 0 || !got.More || len(f.Occurrences) != 1 {
		t.Errorf("got %d occurrences, more: %t", len(got.Occurrences), got.More)
	}
}
