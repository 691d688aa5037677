package macie_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"coffer"
	"coffer/macie"
)

// words are those that an error or a reason may have: this package's own, and the names of the members that it reads. What is
// not among them came from the input.
var words = func() map[string]bool {
	m := make(map[string]bool)
	for word := range strings.FieldsSeq(`
		source detail-type detail findings findingIds resourcesAffected classificationDetails policyDetails
		ProductArn ProductName Resources alert-arn notification-type TopicArn Message Records body Sns
		id accountId partition region type category title description severity createdAt updatedAt count archived sample
		score s3Bucket s3Object arn name tags defaultServerSideEncryption publicAccess bucketArn key path eTag versionId lastModified
		size storageClass serverSideEncryption embeddedFileDetails effectivePermission encryptionType kmsMasterKeyId value filePath
		originType jobId detailedResultsLocation result status mimeType additionalOccurrences sensitiveData customDataIdentifiers
		code reason detections occurrences cells lineRanges pages records offsetRanges row column columnName cellReference
		start end startColumn pageNumber recordIndex jsonPath
		Id AwsAccountId Region Types Severity Title Description CreatedAt Sample RecordState ProductFields Label Normalized
		JobId OriginType Type Tags Details DataClassification AwsS3Object AwsS3Bucket ETag VersionId LastModified
		ServerSideEncryption SSEKMSKeyId ServerSideEncryptionConfiguration Rules ApplyServerSideEncryptionByDefault SSEAlgorithm
		KMSMasterKeyID DetailedResultsLocation Result

		a about alert an analyse analysed analysis and another archived are array aside at batch be before begin between bucket bucket's
		byte cannot cell character Classic comma compressed control counted cut damaged data deeply discovery detected detection did document
		does early element elements empty ends escape event example false finding first for form given has has have holds ids in
		index invalid is it its JSON kind known large limit line lines lists located long Macie Macie's malformed many member message
		missing more name named names needed neither nested no none nor not nothing number object object's objects occurrence
		occurrences of off often one or other over page person places policy print product read record reference results root RFC rule
		sample Security Hub set settings start starts stream string suppression tag text than that the there this time to too
		true twice type UTF-16 UTF-8 valid version what which whole without wrapped`) {
		m[word] = true
	}
	return m
}()

var step = regexp.MustCompile(`\[\d+\]`)

// ownWords reports whether a text is made of this package's words, numbers and Macie's reason codes alone.
func ownWords(s string) bool {
	for word := range strings.FieldsSeq(s) {
		for part := range strings.SplitSeq(strings.Trim(step.ReplaceAllString(word, ""), ",;:."), ".") {
			number := strings.Trim(part, "0123456789") == ""
			code := len(part) > 12 && strings.Trim(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
			if !words[part] && !number && !code {
				return false
			}
		}
	}
	return true
}

// FuzzDecode states what holds for every input: no panic; every document is coherent (check); a finding survives its own
// JSON; errors and reasons are made of this package's words, so that nothing of the input is in them; the way the bytes
// come in changes nothing; and a finding that was read is still read among others, in front and behind.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{small(""), asff(asffObject), "[" + small("") + ",\n" + small("") + "]", packed(small("")), `{"findings":[{}]}`,
		`{"Records":[{"body":"{\"a\":[]}"}]}`, result("r", "x", "COMPLETE", "NAME 1 2", "@c D 1 3") + result("s", "", "SKIPPED"),
		places(`"cells":[{"cellReference":"'a'!B2"}],"records":[{"recordIndex":"1"}]`), "{\"a\":\n{\"b\":[\n{", "[,,{}]]", "\ufeff[]",
		`{"detail-type":"Macie Finding","source":"aws.macie","detail":{"severity":7}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		type outcome struct {
			kind   macie.Kind
			id     string
			line   int64
			reason string
			n      int
		}
		run := func(r io.Reader) (out []outcome) {
			for d, err := range macie.Decode(context.Background(), r) {
				if err != nil {
					t.Fatalf("an error of the reader that it did not have: %v", err)
				}
				check(t, d)
				for _, s := range []string{d.Reason, errorText(d.Err)} {
					if !ownWords(s) {
						t.Fatal("an error or reason is not made of the package's own words")
					}
				}
				o := outcome{d.Kind, d.ID, d.Line, d.Reason, -1}
				if d.Finding != nil {
					o.n = len(d.Finding.Occurrences)
					b, err := json.Marshal(d.Finding)
					var back coffer.Finding
					if err != nil || json.Unmarshal(b, &back) != nil || !reflect.DeepEqual(normal(back), normal(*d.Finding)) {
						t.Fatal("the finding does not survive its JSON")
					}
				}
				out = append(out, o)
			}
			return out
		}
		whole := run(bytes.NewReader(in))
		if pieces := run(iotest.HalfReader(bytes.NewReader(in))); !reflect.DeepEqual(whole, pieces) {
			t.Fatal("the way the bytes come in changes the outcome")
		}
		good := strings.Replace(compact(small("")), `"f1"`, `"the-good-one"`, 1)
		around := run(strings.NewReader(good + "\n" + string(in) + "\n" + good + "\n"))
		n := 0
		for _, o := range around {
			if o.id == "the-good-one" && o.kind == macie.KindFinding {
				n++
			}
		}
		if n != 2 {
			t.Fatalf("of two good findings %d were read among %d documents", n, len(around))
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// normal makes empty and absent lists alike.
func normal(f coffer.Finding) coffer.Finding {
	if len(f.Occurrences) == 0 {
		f.Occurrences = nil
	}
	if len(f.Detections) == 0 {
		f.Detections = nil
	}
	return f
}

// FuzzResults states that reading discovery results never panics, and that whatever they hold the merged finding is coherent,
// does not depend on their order, and has every place of a type that the finding located and the results do not.
func FuzzResults(f *testing.F) {
	f.Add(result("r0", "", "COMPLETE", "NAME 5"), result("r1", "x", "COMPLETE", "NAME 1 2"))
	f.Add(result("r0", "", "COMPLETE", "@c NAME 5 1"), result("r1", "", "SKIPPED"))
	f.Add("{", packed(result("r0", "", "COMPLETE", "DATE 1 1")))
	f.Fuzz(func(t *testing.T, a, b string) {
		x := one(t, result("f", "", "COMPLETE", "NAME 2 1 2", "@c NAME 1 3"))
		read := func(files ...string) (coffer.Finding, string) {
			got, rs := x, macie.NewResults(x.Object)
			for _, in := range files {
				if err := rs.Read(context.Background(), strings.NewReader(in)); err != nil {
					t.Fatal(err)
				}
			}
			why := rs.Merge(&got)
			return got, why
		}
		ab, why := read(a, b)
		if !ownWords(why) {
			t.Fatal("the reason is not made of the package's own words")
		}
		check(t, macie.Document{Kind: macie.KindFinding, Finding: &ab, N: 1, Line: 1})
		types := make(map[[2]string]bool)
		for _, o := range ab.Occurrences {
			types[[2]string{string(o.Type), o.Custom}] = true
		}
		if !types[[2]string{"NAME", ""}] || !types[[2]string{"NAME", "c"}] {
			t.Fatal("a type that the finding located is located nowhere")
		}
		if ba, _ := read(b, a); !reflect.DeepEqual(ab.Occurrences, ba.Occurrences) {
			t.Fatal("the order of the files changes the places")
		}
	})
}

// FuzzSyntax states that what is taken for a JSON object is one for the standard library too and the other way round, except
// that this package is stricter about Unicode and depth.
func FuzzSyntax(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e+7,true,null,"\u00e9\ud83d\ude00"]}`, `{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":"\x"}`, `{}`,
		`{"a" :{}}`, `{,}`, `{"a":tru}`, `{"a":1e}`, `{"a":[1,]}`, `{"a":[]]`, `{"a":1 2}`, "{\"a\":\"\t\"}", `{"a":nullx}`, `{1:2}`} {
		f.Add(s)
	}
	stricter := []string{"a string is not valid UTF-8", "a string holds a malformed escape", "the document is nested too deeply"}
	syntax := []string{"a member of an object is malformed", "an element of an array is malformed", "a value is malformed",
		"a value is missing", "a string is malformed", "a string holds a control character", "the document ends too early"}
	f.Fuzz(func(t *testing.T, in string) {
		if !strings.HasPrefix(in, "{") {
			return
		}
		var v json.RawMessage
		valid := json.NewDecoder(strings.NewReader(in)).Decode(&v) == nil
		for d, err := range macie.Decode(context.Background(), strings.NewReader(in)) {
			switch {
			case err != nil:
				t.Fatal(err)
			case slices.Contains(stricter, d.Reason):
			case valid == slices.Contains(syntax, d.Reason):
				t.Fatalf("the standard library says %t: %s", valid, d.Reason)
			}
			return // the first document alone is the oracle's
		}
	})
}
