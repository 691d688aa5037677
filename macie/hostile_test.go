package macie_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"coffer"
	"coffer/macie"
)

// small is a finding with little in it, and a place to put more.
func small(member string) string {
	if member != "" {
		member += ","
	}
	return `{` + member + `"id":"f1","type":"SensitiveData:S3Object/Personal","category":"CLASSIFICATION","count":1,
	"resourcesAffected":{"s3Bucket":{"name":"b"},"s3Object":{"key":"k"}},
	"classificationDetails":{"result":{"status":{"code":"COMPLETE"},"sensitiveData":[{"category":"PERSONAL_INFORMATION",
	"detections":[{"type":"NAME","count":1,"occurrences":{"pages":[{"pageNumber":4}]}}]}]}}}`
}

// with returns small with one piece of it replaced.
func with(old, new string) string {
	s := small("")
	if strings.Count(s, old) != 1 {
		panic("the piece does not stand there once")
	}
	return strings.Replace(s, old, new, 1)
}

func places(s string) string { return with(`"pages":[{"pageNumber":4}]`, s) }

// Documents that are odd, hostile or not for us, and what becomes of each. The expectation of a document is its kind; for an
// unreadable one a piece of its reason follows.
func TestClassification(t *testing.T) {
	ok, long := small(""), strings.Repeat("x", 3000)
	classic := `{"detail-type":"Macie Alert","source":"aws.macie","detail":{"notification-type":"ALERT_CREATED","name":"x"}}`
	clean := `{"id":"r1","resourcesAffected":{"s3Bucket":{"name":"b"},"s3Object":{"key":"k"}},"classificationDetails":{"result":` +
		`{"status":{"code":"%s","reason":"%s"},"sensitiveData":[]}}}`
	tests := []struct{ name, in, want string }{
		// not to be worked on
		{"policy by category", with("CLASSIFICATION", "POLICY"), "policy"},
		{"policy by type", with("SensitiveData:S3Object/Personal", "Policy:IAMUser/S3BucketPublic"), "policy"},
		{"policy as Macie writes it", `{"id":"1-2-3","type":"Policy:IAMUser/S3BucketPublic","category":"POLICY","classificationDetails":null,
			"policyDetails":{"action":{"apiCallDetails":{}}},"resourcesAffected":{"s3Bucket":{"name":"b"},"s3Object":null}}`, "policy"},
		{"sample", small(`"sample":true`), "sample"},
		{"sample by bucket", with(`"name":"b"`, `"name":"macie-sample-finding-bucket"`), "sample"},
		{"sample by type", with("SensitiveData:S3", "[SAMPLE] SensitiveData:S3"), "sample"},
		{"archived", small(`"archived":true`), "archived"},
		{"archived in Security Hub", strings.Replace(asff(asffObject), `"ACTIVE"`, `"ARCHIVED"`, 1), "archived"},
		{"sample in Security Hub", strings.Replace(asff(asffObject), `"Sample":false`, `"Sample":true`, 1), "sample"},
		{"policy in Security Hub", strings.Replace(asff(`{"Type":"Other","Id":"x"}`), "Sensitive Data Identifications/PII/SensitiveData:S3Object-Personal",
			"Effects/Data Exposure/Policy:IAMUser-S3BucketPublic", 1), "policy"},
		{"Macie Classic", classic, "classic"},
		{"Macie Classic, bare", `{"notification-type":"ALERT_UPDATED","alert-arn":"arn","risk-score":9}`, "classic"},
		{"another source", `{"source":"aws.guardduty","detail-type":"GuardDuty Finding","detail":{"findings":[]}}`, "foreign"},
		{"another kind of event", `{"source":"aws.macie","detail-type":"AWS API Call via CloudTrail","detail":{}}`, "foreign"},
		{"another product", strings.Replace(asff(asffObject), "product/aws/macie", "product/aws/inspector", 1), "foreign"},
		{"another product by name", `{"ProductName":"Other","Resources":[]}`, "foreign"},
		{"insight of Security Hub", `{"source":"aws.securityhub","detail-type":"Security Hub Insight Results","detail":{"insightName":"x"}}`, "foreign"},
		{"S3's notification", `{"Records":[{"eventSource":"aws:s3","s3":{}}]}`, "foreign"},
		{"a message in words", `{"TopicArn":"x","Message":"hello"}`, "foreign"},
		{"a message, half JSON", `{"TopicArn":"x","Message":"{} and more"}`, "foreign"},
		{"clean result", fmt.Sprintf(clean, "COMPLETE", ""), "clean"},
		{"skipped result", fmt.Sprintf(clean, "SKIPPED", "PERMISSION_DENIED"), "not-analyzed"},
		{"skipped result, unknown reason", fmt.Sprintf(clean, "SKIPPED", "SOMETHING"), "not-analyzed"},
		{"nothing detected", with(`"count":1,"occurrences":{"pages":[{"pageNumber":4}]}`, `"count":0`), "clean"},
		{"no findings", `{"findings":[]}`, "empty"},
		{"nothing", "", "empty"},
		{"white space", " \r\n\t\n", "empty"},
		{"an empty array", "[ ]", "empty"},
		{"a BOM", "\ufeff", "empty"},

		// odd, but findings
		{"as it is", ok, "finding"},
		{"members nobody knows", small(`"future":{"a":[1,{"b":null}],"id":"x"},"id2":"y"`), "finding"},
		{"unknown enumerations", with(`"COMPLETE"`, `"BRAND_NEW"`), "finding"},
		{"unknown type", with("SensitiveData:S3Object/Personal", "SensitiveData:S3Vector/New"), "finding"},
		{"no category of finding", with(`"category":"CLASSIFICATION",`, ""), "finding"},
		{"nulls everywhere", with(`"count":1,
`, `"count":1,"severity":null,"title":null,"createdAt":null,"archived":null,"sample":null,"partition":null,
`), "finding"},
		{"nulls in the result", with(`"code":"COMPLETE"`, `"code":null,"reason":null`), "finding"},
		{"null kinds of places", places(`"cells":null,"lineRanges":null,"offsetRanges":null,"records":null,"pages":[{"pageNumber":"4","lineRange":null}]`), "finding"},
		{"empty kinds of places", places(`"cells":[],"lineRanges":[],"records":[],"pages":[]`), "finding"},
		{"no places", with(`,"occurrences":{"pages":[{"pageNumber":4}]}`, ""), "finding"},
		{"occurrences null", with(`{"pages":[{"pageNumber":4}]}`, "null"), "finding"},
		{"no count", with(`"count":1,"occ`, `"occ`), "finding"},
		{"bucket from its ARN", with(`"name":"b"`, `"arn":"arn:aws:s3:::b"`), "finding"},
		{"bucket and key from the path", with(`"s3Bucket":{"name":"b"},"s3Object":{"key":"k"}`, `"s3Object":{"path":"b/k"}`), "finding"},
		{"a key of 1,024 bytes", with(`"key":"k"`, `"key":"`+strings.Repeat("é", 512)+`"`), "finding"},
		{"an id of 256 bytes", with(`"f1"`, `"`+strings.Repeat("f", 256)+`"`), "finding"},
		{"a long title", small(`"title":"` + strings.Repeat("ü", 5000) + `"`), "finding"},
		{"booleans as text", small(`"archived":"FALSE"`), "finding"},
		{"escaped names", with(`"category":"CLASSIFICATION"`, `"\u0063ategory":"CLASSIFICATION"`), "finding"},
		{"a placeholder for the result", with(`"classificationDetails":{`, `"classificationDetails":{"detailedResultsLocation":"s3://[export-config-not-set]/AWSLogs/x",`), "finding"},
		{"63 objects in one another", small(`"x":` + strings.Repeat(`{"a":`, 62) + `1` + strings.Repeat("}", 62)), "finding"},

		// unreadable as a whole
		{"no JSON", "hello, world\nand more", "unreadable: this is not JSON"},
		{"a number", "42", "unreadable: this is not JSON"},
		{"null", "null", "unreadable: this is not JSON"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "unreadable: UTF-16"},
		{"Latin-1", small("\"title\":\"\xe9t\xe9\""), "unreadable: not valid UTF-8"},
		{"overlong UTF-8", small("\"title\":\"\xc0\xaf\""), "unreadable: not valid UTF-8"},
		{"surrogate in UTF-8", small("\"title\":\"\xed\xa0\x80\""), "unreadable: not valid UTF-8"},
		{"half a surrogate", small(`"title":"\ud83d"`), "unreadable: malformed escape"},
		{"surrogates in the wrong order", small(`"title":"\ude00\ud83d"`), "unreadable: malformed escape"},
		{"two low surrogates", small(`"title":"\udc00\udc00"`), "unreadable: malformed escape"},
		{"unknown escape", small(`"title":"\x41"`), "unreadable: malformed escape"},
		{"raw line break in a string", small("\"title\":\"a\nb\""), "unreadable: control character"},
		{"single quotes", `{'id':'x'}`, "unreadable: a member of an object is malformed"},
		{"trailing comma", `{"id":"x",}`, "unreadable: a member of an object is malformed"},
		{"comment", `{"id":"x" /* y */}`, "unreadable: a member of an object is malformed"},
		{"NaN", `{"id":NaN}`, "unreadable: a value is malformed"},
		{"leading zero", `{"id":01}`, "unreadable: a member of an object is malformed"},
		{"cut off", ok[:len(ok)/2], "unreadable: ends too early"},
		{"cut off in a string", `{"id":"a`, "unreadable: ends too early"},
		{"cut off in an escape", `{"id":"a\u00`, "unreadable: "},
		{"an array that is cut off", "[", "unreadable: the array ends too early"},
		{"64 objects in one another", small(`"x":` + strings.Repeat(`{"a":`, 64) + `1` + strings.Repeat("}", 64)), "unreadable: nested too deeply"},
		{"a million arrays", `{"x":` + strings.Repeat("[", 1<<20), "unreadable: nested too deeply"},
		{"another object", `{"hello":"world"}`, "unreadable: no finding in a known form"},
		{"ids of findings", `{"findingIds":["a","b"],"nextToken":null}`, "unreadable: lists ids"},
		{"event without detail", `{"source":"aws.macie","detail-type":"Macie Finding"}`, "unreadable: detail is missing"},
		{"event with null detail", `{"source":"aws.macie","detail-type":"Macie Finding","detail":null}`, "unreadable: detail is missing"},
		{"detail as text", `{"source":"aws.macie","detail-type":"Macie Finding","detail":"x"}`, "unreadable: detail is not an object"},
		{"source is no text", `{"source":["aws.macie"],"detail-type":"Macie Finding","detail":{}}`, "unreadable: source is not a string"},
		{"findings is no array", `{"findings":{"id":"x"}}`, "unreadable: is not an array"},
		{"message with a broken document", `{"TopicArn":"x","Message":"{\"id\":"}`, "unreadable: the message is malformed"},
		{"wrappers without end", strings.Repeat(`{"findings":[`, 9) + ok + strings.Repeat("]}", 9), "unreadable: wrapped too often"},

		// unreadable in one member
		{"no id", with(`"id":"f1",`, ""), "unreadable: id is missing"},
		{"id null", with(`"f1"`, "null"), "unreadable: id is missing"},
		{"id is a number", with(`"f1"`, "17"), "unreadable: id is not a string"},
		{"id too long", with(`"f1"`, `"`+strings.Repeat("f", 257)+`"`), "unreadable: id is too long"},
		{"id with a control character", with(`"f1"`, `"f\u00001"`), "unreadable: id holds a character"},
		{"id with a line break", with(`"f1"`, `"f\n1"`), "unreadable: id holds a character"},
		{"id with letters that look alike", with(`"f1"`, `"fо1"`), "unreadable: id holds a character"},
		{"id twice", small(`"id":"f1"`), "unreadable: id is given twice"},
		{"id twice in two casings", small(`"ID":"f2"`), "unreadable: id is given twice"},
		{"id twice, once escaped", small(`"\u0069d":"f2"`), "unreadable: id is given twice"},
		{"a null and a value", small(`"id":null`), "unreadable: id is given twice"},
		{"count of a detection twice", with(`"count":1,"occ`, `"count":1,"Count":2,"occ`), "sensitiveData[0].detections[0].count is given twice"},
		{"no bucket", with(`"name":"b"`, ""), "unreadable: the bucket's name is missing"},
		{"bucket with a slash", with(`"name":"b"`, `"name":"b/c"`), "unreadable: the bucket's name is none"},
		{"bucket of dots", with(`"name":"b"`, `"name":".."`), "unreadable: the bucket's name is none"},
		{"bucket that is the placeholder", with(`"name":"b"`, `"name":"[export-config-not-set]"`), "unreadable: the bucket's name is none"},
		{"no key", with(`"key":"k"`, ""), "unreadable: the object's key is missing"},
		{"empty key", with(`"key":"k"`, `"key":""`), "unreadable: the object's key is missing"},
		{"key too long", with(`"key":"k"`, `"key":"`+strings.Repeat("é", 513)+`"`), "s3Object.key is too long"},
		{"key is an object", with(`"key":"k"`, `"key":{"a":1}`), "s3Object.key is not a string"},
		{"size with a fraction", with(`"key":"k"`, `"key":"k","size":1.5`), "s3Object.size is not a whole number"},
		{"size with an exponent", with(`"key":"k"`, `"key":"k","size":1e3`), "s3Object.size is not a whole number"},
		{"size negative", with(`"key":"k"`, `"key":"k","size":-1`), "s3Object.size is not a whole number"},
		{"size huge", with(`"key":"k"`, `"key":"k","size":9007199254740993`), "s3Object.size is too large a number"},
		{"size beyond 64 bits", with(`"key":"k"`, `"key":"k","size":"184467440737095516160000"`), "s3Object.size is too large a number"},
		{"size in words", with(`"key":"k"`, `"key":"k","size":"many"`), "s3Object.size is not a whole number"},
		{"time in words", small(`"createdAt":"yesterday"`), "unreadable: createdAt is not a time"},
		{"time before our era in UTC", small(`"createdAt":"0001-01-01T00:00:00+10:00"`), "unreadable: createdAt is not a time"},
		{"time is a number", small(`"createdAt":1789000000`), "unreadable: createdAt is not a string"},
		{"severity is text", small(`"severity":"High"`), "unreadable: severity is not an object"},
		{"sample is a number", small(`"sample":1`), "unreadable: sample is neither"},
		{"region with a control character", small(`"region":"us\u001b[31m"`), "unreadable: region holds a character"},
		{"account too long", small(`"accountId":"` + long + `"`), "unreadable: accountId is too long"},
		{"no result", with(`"classificationDetails":{"result":`, `"classificationDetails":{"other":`), "the result of the analysis is missing"},
		{"details null", `{"id":"x","type":"SensitiveData:S3Object/Personal","count":1,"resourcesAffected":{"s3Bucket":{"name":"b"},
			"s3Object":{"key":"k"}},"classificationDetails":null}`, "the result of the analysis is missing"},
		{"details cut by Security Hub", asff(`{"Type":"AwsS3Object","Id":"arn:aws:s3:::moontrust-statements/k"}`), "the result of the analysis is missing"},
		{"sensitiveData is an object", with(`"sensitiveData":[{"category":"PERSONAL_INFORMATION",
	"detections":[{"type":"NAME","count":1,"occurrences":{"pages":[{"pageNumber":4}]}}]}]`, `"sensitiveData":{}`), "result.sensitiveData is not an array"},
		{"a category is null", with(`[{"category"`, `[null,{"category"`), "result.sensitiveData[0] is not an object"},
		{"no type of data", with(`"type":"NAME",`, ""), "detections[0] names no type"},
		{"type of data with a line break", with(`"NAME"`, `"NA\nME"`), "detections[0].type holds a character"},
		{"count negative", with(`"count":1,"occ`, `"count":-3,"occ`), "detections[0].count is not a whole number"},

		// unreadable in a place
		{"place null", places(`"pages":[null]`), "occurrences.pages[0] is not an object"},
		{"page 0", places(`"pages":[{"pageNumber":0}]`), "occurrences.pages[0] has no page number"},
		{"no page", places(`"pages":[{"pageNumber":4},{"lineRange":{"start":1}}]`), "occurrences.pages[1] has no page number"},
		{"row 0", places(`"cells":[{"row":0,"column":1}]`), "occurrences.cells[0] has no row"},
		{"no row", places(`"cells":[{"column":1,"columnName":"x"}]`), "occurrences.cells[0] has no row"},
		{"row in words", places(`"cells":[{"row":"two","column":1}]`), "occurrences.cells[0].row is not a whole number"},
		{"reference malformed", places(`"cells":[{"row":1,"column":1,"cellReference":"R1C1:"}]`), "cells[0] has a malformed cell reference"},
		{"reference without a row", places(`"cells":[{"cellReference":"Sheet1!C"}]`), "cells[0] has a malformed cell reference"},
		{"reference without a column", places(`"cells":[{"cellReference":"Sheet1!12"}]`), "cells[0] has a malformed cell reference"},
		{"reference without a sheet", places(`"cells":[{"cellReference":"!C5"}]`), "cells[0] has a malformed cell reference"},
		{"reference to row 0", places(`"cells":[{"cellReference":"C0"}]`), "cells[0] has a malformed cell reference"},
		{"reference with a sign", places(`"cells":[{"cellReference":"C+5"}]`), "cells[0] has a malformed cell reference"},
		{"reference to a range", places(`"cells":[{"cellReference":"C5:D6"}]`), "cells[0] has a malformed cell reference"},
		{"reference huge", places(`"cells":[{"cellReference":"C99999999999999999999"}]`), "cells[0] has a malformed cell reference"},
		{"line 0", places(`"lineRanges":[{"start":0,"end":1}]`), "lineRanges[0] has no start"},
		{"lines backwards", places(`"lineRanges":[{"start":5,"end":4}]`), "lineRanges[0] ends before it starts"},
		{"no record", places(`"records":[{"jsonPath":"$.a"}]`), "records[0] has no record index"},
		{"record negative", places(`"records":[{"recordIndex":-1}]`), "records[0].recordIndex is not a whole number"},
		{"path without a root", places(`"records":[{"recordIndex":0,"jsonPath":"a.b"}]`), "records[0] has a path that does not begin at the root"},
		{"offsets without an end", places(`"offsetRanges":[{"start":5}]`), "offsetRanges[0] ends before it starts"},
		{"a file without a path", strings.Replace(fmt.Sprintf(clean, "COMPLETE", ""), `"key":"k"`, `"key":"k","embeddedFileDetails":{"fileSize":"1"}`, 1),
			"embeddedFileDetails.filePath is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			docs := decode(t, tt.in)
			if len(docs) == 0 {
				t.Fatal("got no document")
			}
			d := docs[0]
			want, reason, unreadable := strings.Cut(tt.want, "unreadable: ")
			if !unreadable && strings.Contains(tt.want, " ") {
				reason, unreadable = tt.want, true
			} else if unreadable {
				want = "unreadable"
			}
			if unreadable {
				want = "unreadable"
			}
			if string(d.Kind) != want || !strings.Contains(d.Reason, reason) {
				t.Fatalf("got %s (%s), want %s (%s)", d.Kind, d.Reason, want, reason)
			}
			if len(docs) != 1 {
				t.Errorf("got %d documents, want one", len(docs))
			}
			check(t, d)
		})
	}
	if len(tests) < 60 {
		t.Errorf("only %d documents", len(tests))
	}
}

// check states what holds for every document, whatever it was made of.
func check(t tb, d macie.Document) {
	t.Helper()
	if (d.Kind == macie.KindUnreadable) != (d.Err != nil) {
		t.Errorf("kind %s with error %v", d.Kind, d.Err)
	}
	if d.Err != nil && errors.Is(d.Err, coffer.ErrInvalid) == errors.Is(d.Err, coffer.ErrLimit) {
		t.Errorf("the error wraps not exactly one of the sentinels")
	}
	if (d.Finding != nil) != (d.Kind == macie.KindFinding || d.Kind == macie.KindArchived) {
		t.Errorf("kind %s with finding %t", d.Kind, d.Finding != nil)
	}
	if (d.Reason == "") != (d.Kind == macie.KindFinding) {
		t.Errorf("kind %s with reason %q", d.Kind, d.Reason)
	}
	if d.N < 1 || d.Line < 1 {
		t.Errorf("document %d at line %d", d.N, d.Line)
	}
	if f := d.Finding; f != nil {
		if f.ID == "" || f.Object.Bucket == "" || f.Object.Key == "" || len(f.Detections) == 0 || f.Origin != "" {
			t.Errorf("the finding is incomplete")
		}
		for i, o := range f.Occurrences {
			if o.N != i+1 || o.Type == "" || o.At.Kind == coffer.NoPlace {
				t.Errorf("occurrence %d is incomplete", i+1)
			}
			if back, err := coffer.ParseLocation(o.At.String()); err != nil || back != o.At {
				t.Errorf("place of occurrence %d does not survive its text form: %v", i+1, err)
			}
		}
	}
}

// One broken document among good ones costs itself alone, wherever and however it breaks.
func TestOneBroken(t *testing.T) {
	a, c := compact(small("")), strings.Replace(compact(small("")), `"f1"`, `"f3"`, 1)
	broken := map[string]string{
		"cut in the middle":        a[:len(a)/2],
		"cut after a colon":        `{"id":`,
		"cut after a comma":        `{"id":"f2",`,
		"cut in a string":          `{"id":"f2`,
		"cut in an array":          `{"id":["f2",`,
		"cut in an array of lines": "{\"id\":[\n{\"a\":1},",
		"cut in an escape":         `{"id":"f2\`,
		"cut in a number":          `{"id":1.`,
		"cut in a literal":         `{"id":tru`,
		"no JSON":                  "hello",
		"no JSON, several lines":   "hello\nworld\n}}",
		"brace too many":           `{"id":"f2"}}`,
		"a wrong member":           strings.Replace(a, `"f1"`, `5`, 1),
		"bad UTF-8":                "{\"id\":\"\xff\"}",
		"too deep":                 `{"a":` + strings.Repeat("[", 100),
		"NUL bytes":                "\x00\x00\x00",
	}
	for name, b := range broken {
		for form, in := range map[string]string{
			"JSON Lines":   a + "\n" + b + "\n" + c,
			"CRLF":         a + "\r\n" + b + "\r\n" + c + "\r\n",
			"pretty array": "[\n    " + a + ",\n    " + b + ",\n    " + c + "\n]\n",
		} {
			t.Run(name+"/"+form, func(t *testing.T) {
				var ids []string
				bad := 0
				for _, d := range decode(t, in) {
					check(t, d)
					if d.Finding != nil {
						ids = append(ids, d.Finding.ID)
					} else {
						bad++
						if d.Line < 2 {
							t.Errorf("a good line %d is said to be unreadable", d.Line)
						}
					}
				}
				if strings.Join(ids, " ") != "f1 f3" || bad == 0 || bad > 3 {
					t.Errorf("got findings %q and %d unreadable documents", ids, bad)
				}
			})
		}
	}
	// In an array on one line, a broken member or text that is not Unicode costs its element; broken syntax costs the rest of
	// the line.
	docs := decode(t, "["+a+","+strings.Replace(a, `"f1"`, `5`, 1)+`,7,null,[],{"id":"\udfff\ud800"},`+"{\"id\":\"\xff\"},"+c+"]\n"+c)
	var got []string
	for _, d := range docs {
		got = append(got, string(d.Kind))
	}
	if s := strings.Join(got, " "); s != "finding"+strings.Repeat(" unreadable", 6)+" finding finding" {
		t.Errorf("got %s", s)
	}
}

func TestWhere(t *testing.T) {
	bad := "{\n \"id\": \"f1\",\n \"resourcesAffected\": {\"s3Object\": {\"size\": true}}\n}"
	docs := decode(t, small("")+"\n"+bad)
	if len(docs) != 2 || docs[1].Err == nil {
		t.Fatalf("got %+v", docs)
	}
	want := fmt.Sprintf("line 7, byte %d: resourcesAffected.s3Object.size is not a whole number: invalid", len(small(""))+1+strings.Index(bad, "true"))
	if got := docs[1].Err.Error(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if docs[1].Line != 5 || docs[1].N != 2 || docs[1].ID != "f1" {
		t.Errorf("got line %d, number %d, id %s", docs[1].Line, docs[1].N, docs[1].ID)
	}
}

func TestLimits(t *testing.T) {
	t.Run("too large, and the next is read", func(t *testing.T) {
		text := `"` + strings.Repeat("a", 1<<20) + `"`
		for _, filler := range []string{strings.Repeat(" ", macie.MaxDocument), strings.Repeat(text+",\n", 17) + text} {
			docs := decode(t, `{"x":[`+filler+"]}\n"+small(""))
			if len(docs) != 2 || !errors.Is(docs[0].Err, coffer.ErrLimit) || docs[1].Finding == nil {
				t.Fatalf("got %d documents, the first with %v", len(docs), docs[0].Err)
			}
		}
	})
	t.Run("occurrences", func(t *testing.T) {
		many := strings.Repeat(`{"pageNumber":4},`, macie.MaxOccurrences)
		if f := one(t, places(`"pages":[`+strings.TrimSuffix(many, ",")+`]`)); len(f.Occurrences) != macie.MaxOccurrences {
			t.Errorf("got %d occurrences", len(f.Occurrences))
		}
		docs := decode(t, places(`"pages":[`+many+`{"pageNumber":4}]`))
		if len(docs) != 1 || !errors.Is(docs[0].Err, coffer.ErrLimit) {
			t.Errorf("got %v", docs[0].Err)
		}
	})
	t.Run("tags", func(t *testing.T) {
		tags := strings.Repeat(`{"key":"a","value":"b"},`, 1000) + `{}`
		if docs := decode(t, with(`"key":"k"`, `"key":"k","tags":[`+tags+`]`)); !errors.Is(docs[0].Err, coffer.ErrLimit) {
			t.Errorf("got %v", docs[0].Err)
		}
	})
	t.Run("gzip", func(t *testing.T) {
		whole := packed(small("") + "\n" + small(""))
		for name, in := range map[string]string{"cut off": whole[:len(whole)-9], "no body": whole[:10], "no header": whole[:4],
			"checksum": whole[:len(whole)-8] + "\x00\x00\x00\x00" + whole[len(whole)-4:], "garbage behind": whole + "garbage"} {
			docs := decode(t, in)
			last := docs[len(docs)-1]
			if !strings.Contains(last.Reason, "damaged or cut off") {
				t.Errorf("%s: the last of %d documents is %s %q", name, len(docs), last.Kind, last.Reason)
			}
		}
	})
}

func TestCustomIdentifiers(t *testing.T) {
	in := with(`"sensitiveData":[`, `"customDataIdentifiers":{"totalCount":"4","detections":[
		{"arn":"0f1e-2d","name":"Customer\u202e \u0000number","count":2,"occurrences":{"cells":[{"row":3},{"row":4,"column":2}]}},
		{"arn":null,"name":"`+strings.Repeat("ü", 200)+`","count":1},
		{"arn":"x-1","name":"","count":1},
		{"arn":"x-2","name":"NAME","count":1}]},"sensitiveData":[`)
	f := one(t, in)
	want := []coffer.Detection{
		{Type: "NAME", Category: "PERSONAL_INFORMATION", Count: 1},
		{Type: "Customer_ _number", Custom: "0f1e-2d", Category: "CUSTOM_IDENTIFIER", Count: 2},
		{Type: coffer.DataType(strings.Repeat("ü", 128)), Custom: strings.Repeat("ü", 128), Category: "CUSTOM_IDENTIFIER", Count: 1},
		{Type: "x-1", Custom: "x-1", Category: "CUSTOM_IDENTIFIER", Count: 1},
		{Type: "NAME", Custom: "x-2", Category: "CUSTOM_IDENTIFIER", Count: 1},
	}
	for i, k := range f.Detections {
		if k != want[i] {
			t.Errorf("detection %d: got %+v", i, k)
		}
	}
	// The managed identifier comes first although it stands last.
	if got := at(f); got != "page:4 cell:R3C0 cell:R4C2" || !f.More {
		t.Errorf("places: %s, more: %t", got, f.More)
	}
}

func TestPlaces(t *testing.T) {
	for in, want := range map[string]string{
		`"cells":[{"row":"30","column":"2"},{"row":30,"column":2,"cellReference":null}]`:                                                                                  "cell:R30C2 cell:R30C2",
		`"cells":[{"row":9,"column":9,"cellReference":"C5"}]`:                                                                                                             "cell:R5C3",
		`"cells":[{"cellReference":"Sheet2!$C$5"},{"cellReference":"'A!B'!xfd1048576"}]`:                                                                                  "cell:Sheet2!R5C3 cell:A%21B!R1048576C16384",
		`"cells":[{"cellReference":"'It''s'!a1"},{"cellReference":"Übersicht!Z26"}]`:                                                                                      "cell:It's!R1C1 cell:%C3%9Cbersicht!R26C26",
		`"lineRanges":[{"start":"51","end":"54","startColumn":"1"},{"start":2}]`:                                                                                          "line:51-54:1 line:2-2",
		`"records":[{"recordIndex":"7"},{"recordIndex":7,"jsonPath":"$..b\n\u00e9['x']"}]`:                                                                                "record:7:$ record:7:$..b\né['x']",
		`"offsetRanges":[{"start":0,"end":0},{"start":"1","end":"9"}]`:                                                                                                    "offset:0-0 offset:1-9",
		`"records":[{"recordIndex":0}],"pages":[{"pageNumber":1}],"offsetRanges":[{"start":1,"end":2}],"cells":[{"row":1,"column":1}],"lineRanges":[{"start":1,"end":1}]`: "cell:R1C1 line:1-1 page:1 record:0:$ offset:1-2",
	} {
		if got := at(one(t, places(in))); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestSeverity(t *testing.T) {
	for in, want := range map[string]coffer.Severity{
		`{"score":3,"description":"High"}`: coffer.SeverityHigh, `{"score":"2"}`: coffer.SeverityMedium, `{"description":"Low"}`: coffer.SeverityLow,
		`{"description":"HIGH"}`: coffer.SeverityHigh, `{"score":1,"description":"High"}`: coffer.SeverityLow, `{"score":7}`: coffer.SeverityUnknown,
		`{"score":null,"description":"Medium"}`: coffer.SeverityMedium, `{"description":"Terrible"}`: coffer.SeverityUnknown, `{}`: coffer.SeverityUnknown,
	} {
		if got := one(t, small(`"severity":`+in)).Severity; got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
	for in, want := range map[string]coffer.Severity{
		`{"Label":"LOW"}`: coffer.SeverityLow, `{"Normalized":1}`: coffer.SeverityLow, `{"Normalized":40}`: coffer.SeverityMedium,
		`{"Normalized":70,"Label":"LOW"}`: coffer.SeverityLow, `{"Normalized":"70"}`: coffer.SeverityHigh, `{"Label":"INFORMATIONAL","Normalized":0}`: 0,
	} {
		doc := strings.Replace(asff(asffObject), `{"Label":"MEDIUM","Normalized":40}`, in, 1)
		if got := one(t, doc).Severity; got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
}
