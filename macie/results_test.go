package macie_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"coffer"
	"coffer/macie"
)

func TestParseResultLocation(t *testing.T) {
	key1024 := strings.Repeat("k", 1024)
	for in, want := range map[string]macie.ResultLocation{
		"s3://b/AWSLogs/1/Macie/r/j/1/x.jsonl.gz":         {Bucket: "b", Key: "AWSLogs/1/Macie/r/j/1/x.jsonl.gz"},
		"s3://b/AWSLogs/1/Macie/r/j/1/":                   {Bucket: "b", Key: "AWSLogs/1/Macie/r/j/1/", Folder: true},
		"s3://b/a%20b c#d?e=1.jsonl.gz":                   {Bucket: "b", Key: "a%20b c#d?e=1.jsonl.gz"},
		"s3://b//x.jsonl.gz":                              {Bucket: "b", Key: "/x.jsonl.gz"},
		"s3://[export-config-not-set]/AWSLogs/x.jsonl.gz": {Key: "AWSLogs/x.jsonl.gz", Unset: true},
		"s3://[export-config-not-set]/AWSLogs/x":          {Key: "AWSLogs/x", Unset: true, Folder: true},
		"s3://b/" + key1024:                               {Bucket: "b", Key: key1024, Folder: true},
	} {
		if got, err := macie.ParseResultLocation(in); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"s3://", "s3://b", "s3://b/", "s3:///k", "S3://b/k", "https://b/k", "b/k", "s3://../k", "s3://[x]/k", "s3://b c/k",
		"s3://b/" + key1024 + "k", "s3://[export-config-not-set]"} {
		if got, err := macie.ParseResultLocation(in); !errors.Is(err, coffer.ErrInvalid) || got != (macie.ResultLocation{}) {
			t.Errorf("%.40s: got %+v, %v", in, got, err)
		}
	}
	if _, err := macie.ParseResultLocation(""); !errors.Is(err, coffer.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestSameVersion(t *testing.T) {
	o := func(version, etag string) coffer.Object {
		return coffer.Object{Bucket: "b", Key: "k", VersionID: version, ETag: etag}
	}
	for _, tt := range []struct {
		a, b coffer.Object
		want bool
	}{
		{o("v", "e"), o("v", "e"), true},
		{o("v", "e"), o("", "e"), true},
		{o("v", ""), o("v", "e"), true},
		{o("v", "e"), o("w", "e"), false},
		{o("v", "e"), o("v", "f"), false},
		{o("v", ""), o("", "e"), false},
		{o("", ""), o("", ""), false},
		{o("v", "e"), coffer.Object{Bucket: "b", Key: "l", VersionID: "v", ETag: "e"}, false},
	} {
		if got := macie.SameVersion(tt.a, tt.b); got != tt.want || macie.SameVersion(tt.b, tt.a) != got {
			t.Errorf("%+v and %+v: got %t", tt.a, tt.b, got)
		}
	}
}

// merge reads result files for a finding and merges them.
func merge(t tb, f coffer.Finding, files ...string) (coffer.Finding, string) {
	t.Helper()
	rs := macie.NewResults(f.Object)
	for _, in := range files {
		if err := rs.Read(context.Background(), strings.NewReader(in)); err != nil {
			t.Fatal(err)
		}
	}
	why := rs.Merge(&f)
	if f.More != (why != "") {
		t.Errorf("more is %t, and the reason is %q", f.More, why)
	}
	return f, why
}

func TestMergeExample(t *testing.T) {
	f := one(t, read(t, "02-jsonl-records-multiple.json"))
	line := read(t, "02-jsonl-records-multiple.discovery-result.jsonl")
	other := strings.Replace(line, "af24f3a1fdfca3add70bf31aabed6538", "00000000000000000000000000000000", 1)
	elsewhere := strings.ReplaceAll(line, "customers-2026-07", "customers-2026-08")
	for name, in := range map[string][]string{
		"plain": {line}, "gzip": {packed(line)}, "among others": {packed(other + elsewhere + line + other)},
		"twice": {line, packed(line)}, "no final break": {strings.TrimSpace(line)},
		"the job ran again": {line, strings.Replace(line, "6f0e2c9b7d1a4835a2c4e8f10b3d5796", "again", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := merge(t, f, in...)
			if why != "" || len(got.Occurrences) != 112 || got.Occurrences[111].N != 112 || got.Occurrences[0].Source != coffer.FromResult {
				t.Fatalf("got %d occurrences, %q", len(got.Occurrences), why)
			}
			if kinds(got) != "BANK_ACCOUNT_NUMBER CREDIT_CARD_NUMBER USA_SOCIAL_SECURITY_NUMBER" {
				t.Errorf("got %s", kinds(got))
			}
			if got.ID != f.ID || got.CreatedAt != f.CreatedAt || len(got.Detections) != 3 {
				t.Errorf("the finding became another")
			}
		})
	}
	for name, tt := range map[string]struct{ in, why string }{
		"another version": {other, "about other objects or another version"},
		"another object":  {elsewhere, "about other objects or another version"},
		"empty":           {"", "the discovery result is empty"},
		"broken":          {line[:500], "1 lines of the discovery result cannot be read, the first: line 1, byte 500: the document ends too early: invalid"},
		"broken gzip":     {packed(line)[:200], "the compressed stream is damaged or cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := merge(t, f, tt.in)
			if !strings.Contains(why, tt.why) || !strings.Contains(why, "Macie counted 112 occurrences and located 15") {
				t.Errorf("got %q", why)
			}
			if len(got.Occurrences) != 15 || got.Occurrences[0].Source != coffer.FromFinding {
				t.Errorf("the finding's own %d places changed", len(got.Occurrences))
			}
		})
	}
	broken := errors.New("no network")
	if err := macie.NewResults(f.Object).Read(context.Background(), iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// result is a line of a discovery result. A detection is "TYPE count row row ..."; a custom identifier's begins with "@id".
func result(id, file, status string, detections ...string) string {
	var managed, custom []string
	for _, d := range detections {
		words := strings.Fields(d)
		id, isCustom := strings.CutPrefix(words[0], "@")
		if isCustom {
			words = words[1:]
		}
		var cells []string
		for _, r := range words[2:] {
			cells = append(cells, `{"row":"`+r+`","column":"1"}`)
		}
		rest := `"count":"` + words[1] + `","occurrences":{"lineRanges":[],"pages":[],"records":[],"cells":[` + strings.Join(cells, ",") + `]}}`
		if isCustom {
			custom = append(custom, `{"arn":"`+id+`","name":"`+words[0]+`",`+rest)
		} else {
			managed = append(managed, `{"type":"`+words[0]+`",`+rest)
		}
	}
	embedded := ""
	if file != "" {
		embedded = `,"embeddedFileDetails":{"filePath":"` + file + `","fileSize":"12"}`
	}
	return fmt.Sprintf(`{"id":"%s","type":"SensitiveData:S3Object/Personal","category":"CLASSIFICATION","severity":{"score":"2","description":"Medium"},`+
		`"createdAt":"2026-07-15T03:21:33Z","resourcesAffected":{"s3Bucket":{"name":"b"},"s3Object":{"key":"a.zip","eTag":"e","size":"99"%s}},`+
		`"classificationDetails":{"result":{"status":{"code":"%s"},"mimeType":"application/zip","sensitiveData":[{"category":"PERSONAL_INFORMATION",`+
		`"detections":[%s]}],"customDataIdentifiers":{"detections":[%s]}}}}`+"\n",
		id, embedded, status, strings.Join(managed, ","), strings.Join(custom, ","))
}

func TestMergeArchive(t *testing.T) {
	whole := result("r0", "", "COMPLETE", "NAME 5", "@c1 CUSTOMER 1")
	lines := []string{result("r0", "", "COMPLETE", "NAME 5", "@c1 CUSTOMER 1", "DATE_OF_BIRTH 1"), // sums, not to be added to the sums
		result("r1", "z/late.csv", "COMPLETE", "NAME 2 2 3", "@c1 CUSTOMER 1 9"),
		result("r2", "a b!/early.csv", "COMPLETE", "NAME 2 7 7"),
		result("r3", "m.csv", "COMPLETE", "DATE_OF_BIRTH 1 4"),
		result("r4", "n.bin", "SKIPPED"),
	}
	// The finding locates nothing, as Macie's findings about archives do, counts one name more than the result locates, and knows
	// of no birth date.
	f := one(t, strings.Replace(whole, `"classificationDetails":{`, `"archived":false,"classificationDetails":{`, 1))
	if !f.More || len(f.Occurrences) != 0 {
		t.Fatalf("the finding has %d places, more: %t", len(f.Occurrences), f.More)
	}
	want := "a%20b%21/early.csv!cell:R7C1 a%20b%21/early.csv!cell:R7C1 m.csv!cell:R4C1 z/late.csv!cell:R2C1 z/late.csv!cell:R3C1 z/late.csv!cell:R9C1"
	for range 8 {
		rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		cut := rand.IntN(len(lines))
		got, why := merge(t, f, strings.Join(lines[:cut], ""), packed(strings.Join(lines[cut:], "")))
		if at(got) != want {
			t.Fatalf("got %s", at(got))
		}
		if why != "Macie counted 7 occurrences and located 6" {
			t.Fatalf("got %q", why)
		}
		if d := got.Detections; len(d) != 3 || d[0].Count != 5 || d[1].Custom != "c1" || d[2].Type != "DATE_OF_BIRTH" || d[2].Count != 1 {
			t.Fatalf("got %+v", d)
		}
		if names := got.Occurrences[0].At.Names(); len(names) != 1 || names[0] != "a b!/early.csv" {
			t.Fatalf("got %q", names)
		}
	}
	// Read as input of their own, the lines of one file of results are one finding, in whatever order they stand.
	for range 8 {
		rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		docs := decode(t, strings.Join(lines, ""))
		if len(docs) != 1 || docs[0].Form != macie.FormResult || docs[0].Finding == nil || docs[0].Raw != nil {
			t.Fatalf("got %+v", docs)
		}
		got := *docs[0].Finding
		if at(got) != want || got.ID != "r0" || !got.More || got.Status != "COMPLETE" || len(got.Detections) != 3 || got.Detections[0].Count != 5 {
			t.Fatalf("got %s, %+v", at(got), got)
		}
	}
}

func TestResultsAsFindings(t *testing.T) {
	next := strings.ReplaceAll(result("n1", "", "COMPLETE", "NAME 1 2"), "a.zip", "b.csv")
	for _, tt := range []struct {
		name string
		in   []string
		want string
	}{
		{"one each", []string{result("r1", "", "COMPLETE", "NAME 1 2"), next}, "finding:r1:1 finding:n1:1"},
		{"an archive, then another object", []string{result("r1", "", "COMPLETE", "NAME 2"), result("r2", "x", "COMPLETE", "NAME 2 4 5"), next},
			"finding:r1:2 finding:n1:1"},
		{"an archive without its own line", []string{result("r2", "x", "COMPLETE", "NAME 2 4 5"), result("r3", "y", "SKIPPED")}, "finding:r2:2"},
		{"one file of an archive", []string{result("r2", "x", "COMPLETE", "NAME 2 4 5")}, "finding:r2:2"},
		{"two scans of one object", []string{result("r1", "", "COMPLETE", "NAME 1 2"), result("r2", "", "COMPLETE", "NAME 1 2")}, "finding:r1:1 finding:r2:1"},
		{"two scans of one archive", []string{result("r1", "", "COMPLETE", "NAME 1"), result("r2", "x", "COMPLETE", "NAME 1 4"),
			result("s1", "", "COMPLETE", "NAME 1"), result("s2", "x", "COMPLETE", "NAME 1 4")}, "finding:r1:1 finding:s1:1"},
		{"broken between", []string{result("r1", "", "COMPLETE", "NAME 1 2"), "{\n", next}, "finding:r1:1 unreadable::0 finding:n1:1"},
		{"no id", []string{result("", "", "COMPLETE", "NAME 1 2"), next}, "unreadable::0 finding:n1:1"},
		{"clean archive", []string{result("r1", "", "COMPLETE"), result("r2", "x", "COMPLETE")}, "clean:r1:0"},
		{"not analyzed", []string{result("r1", "", "SKIPPED"), next}, "not-analyzed:r1:0 finding:n1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for i, d := range decode(t, strings.Join(tt.in, "")) {
				check(t, d)
				n := 0
				if d.Finding != nil {
					n = len(d.Finding.Occurrences)
				}
				if d.N != i+1 {
					t.Errorf("document %d has number %d", i+1, d.N)
				}
				got = append(got, fmt.Sprintf("%s:%s:%d", d.Kind, d.ID, n))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
	f := *decode(t, result("r2", "x", "COMPLETE", "NAME 2 4 5")+result("r3", "y", "SKIPPED")+result("r4", "z", "COMPLETE", "@c CUSTOMER 1"))[0].Finding
	if f.Status != "PARTIAL" || f.Type != "SensitiveData:S3Object/Multiple" || f.Severity != coffer.SeverityMedium || !f.More || len(f.Detections) != 2 {
		t.Errorf("got %+v", f)
	}
}

// More places than a finding may have are cut, and the finding says so.
func TestMergeLimit(t *testing.T) {
	row := strings.Repeat(" 5", macie.MaxOccurrences/2+1)
	n := macie.MaxOccurrences/2 + 1
	f := one(t, result("r0", "", "COMPLETE", fmt.Sprintf("NAME %d", 2*n)))
	got, why := merge(t, f, result("r1", "x", "COMPLETE", fmt.Sprintf("NAME %d%s", n, row)), result("r2", "y", "COMPLETE", fmt.Sprintf("NAME %d%s", n, row)))
	if len(got.Occurrences) != macie.MaxOccurrences || !strings.Contains(why, "more than 200000 places") {
		t.Errorf("got %d, %q", len(got.Occurrences), why)
	}
}

// The finding's own places stay for a type that the result does not locate.
func TestMergeKeeps(t *testing.T) {
	f := one(t, strings.Replace(result("f1", "", "COMPLETE", "NAME 1 2", "ADDRESS 3 8"), `"classificationDetails"`, `"sample":false,"classificationDetails"`, 1))
	got, why := merge(t, f, result("r1", "", "COMPLETE", "ADDRESS 3 8 9 10", "PHONE_NUMBER 1 4"))
	if at(got) != "cell:R8C1 cell:R9C1 cell:R10C1 cell:R4C1 cell:R2C1" || why != "" {
		t.Errorf("got %s, %q", at(got), why)
	}
	if got.Occurrences[4].Source != coffer.FromFinding || got.Occurrences[3].Source != coffer.FromResult {
		t.Errorf("wrong sources")
	}
}
