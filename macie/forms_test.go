package macie_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"coffer"
	"coffer/macie"
)

// same compares findings and names the members that differ.
func same(t tb, got, want coffer.Finding) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s:\n got %+v\nwant %+v", g.Type().Field(i).Name, g.Field(i).Interface(), w.Field(i).Interface())
		}
	}
}

func compact(s string) string {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		panic(err)
	}
	return b.String()
}

// detail returns the finding in an event.
func detail(s string) string {
	var e struct{ Detail json.RawMessage }
	if err := json.Unmarshal([]byte(s), &e); err != nil {
		panic(err)
	}
	return string(e.Detail)
}

func packed(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// Every form and every way to put documents one after the other gives the same findings.
func TestForms(t *testing.T) {
	first, second := read(t, "01-csv-bank-account-cells.json"), read(t, "04-text-line-ranges.json")
	one, two := detail(first), detail(second)
	e1, e2, d1, d2 := compact(first), compact(second), compact(one), compact(two)
	want := []coffer.Finding{*decode(t, first)[0].Finding, *decode(t, second)[0].Finding}
	forms := map[string]string{
		"events, pretty":             first + second,
		"events, pretty, no break":   strings.TrimSpace(first) + strings.TrimSpace(second),
		"events, JSON Lines":         e1 + "\n" + e2 + "\n",
		"events, no final break":     e1 + "\r\n" + e2,
		"events, one line":           e1 + e2,
		"events, array":              "[" + e1 + "," + e2 + "]",
		"findings, JSON Lines":       d1 + "\n" + d2,
		"findings, array":            "[" + d1 + "," + d2 + "]",
		"findings, pretty array":     "[\n  " + one + ",\n  " + two + "\n]\n",
		"two arrays":                 "[" + e1 + "][" + e2 + "]",
		"event and bare":             first + d2,
		"GetFindings":                `{"findings":[` + d1 + "," + d2 + `]}`,
		"GetFindings, more members":  `{"ResponseMetadata":{"x":[1]},"findings":[` + one + "," + two + `],"nextToken":null}`,
		"GetFindings, a list of it":  `[{"findings":[` + d1 + `]},{"findings":[` + d2 + `]}]`,
		"BOM":                        "\ufeff" + e1 + "\n" + e2,
		"gzip":                       packed(e1 + "\n" + e2),
		"gzip, two members":          packed(e1) + packed(e2),
		"SNS":                        `{"Type":"Notification","TopicArn":"arn:aws:sns:us-east-1:111122223333:x","Message":` + quoted(e1) + `}` + e2,
		"SQS":                        `{"Records":[{"body":` + quoted(e1) + `},{"body":` + quoted(d2) + `}]}`,
		"SNS to a function":          `{"Records":[{"Sns":{"Message":` + quoted(e1) + `}},{"Sns":{"Message":` + quoted(e2) + `}}]}`,
		"SQS of SNS":                 `{"Records":[{"body":` + quoted(`{"TopicArn":"x","Message":`+quoted(e1)+`}`) + `},{"body":` + quoted(e2) + `}]}`,
		"events, other casing":       strings.NewReplacer(`"eTag"`, `"etag"`, `"jsonPath"`, `"JsonPath"`, `"versionId"`, `"VersionId"`).Replace(first + second),
		"white space and blank rows": "\n\n \t" + first + "\n\r\n" + second + " \n\n",
	}
	for name, in := range forms {
		t.Run(name, func(t *testing.T) {
			docs := decode(t, in)
			if len(docs) != len(want) {
				t.Fatalf("got %d documents, want %d: %+v", len(docs), len(want), docs)
			}
			for i, d := range docs {
				if d.Kind != macie.KindFinding {
					t.Fatalf("document %d is %s: %s", i+1, d.Kind, d.Reason)
				}
				same(t, *d.Finding, want[i])
				if !json.Valid(d.Raw) || !bytes.Contains(d.Raw, []byte(d.ID)) || bytes.Contains(d.Raw, []byte("detail-type")) {
					t.Errorf("document %d: raw bytes are not the finding's own", i+1)
				}
			}
		})
	}
	// However the bytes come in.
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"one byte": iotest.OneByteReader, "half": iotest.HalfReader, "data and EOF": iotest.DataErrReader,
	} {
		n := 0
		for d, err := range macie.Decode(context.Background(), wrap(strings.NewReader(e1+"\n"+e2))) {
			if err != nil || d.Finding == nil {
				t.Fatalf("%s: %v", name, err)
			}
			same(t, *d.Finding, want[n])
			n++
		}
	}
}

// A finding in the AWS Security Finding Format, written after the documented mapping.
func asff(resource string) string {
	return `{"SchemaVersion":"2018-10-08","Id":"a41e6c0d97b25f38e1d4c7a90b6f2d13",
	"ProductArn":"arn:aws-us-gov:securityhub:us-gov-west-1::product/aws/macie","ProductName":"Macie","CompanyName":"Amazon",
	"GeneratorId":"aws/macie","AwsAccountId":"111122223333",
	"Types":["Sensitive Data Identifications/PII/SensitiveData:S3Object-Personal"],
	"CreatedAt":"2026-07-15T03:21:07.418Z","UpdatedAt":"2026-07-15T03:21:07.418Z",
	"Severity":{"Label":"MEDIUM","Normalized":40},"Title":"The S3 object contains personal information","Description":"Words.",
	"ProductFields":{"JobId":"7c1f0a94d2b84e6fa35b90e1c84d2f17","OriginType":"SENSITIVE_DATA_DISCOVERY_JOB"},
	"Resources":[
	 {"Type":"AwsS3Bucket","Id":"arn:aws-us-gov:s3:::moontrust-statements","Tags":{"env":"prod","data-owner":"payments"},
	  "Details":{"AwsS3Bucket":{"ServerSideEncryptionConfiguration":{"Rules":[{"ApplyServerSideEncryptionByDefault":
	   {"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"key-1"}}]}}}},
	 ` + resource + `],
	"WorkflowState":"NEW","Workflow":{"Status":"NEW"},"RecordState":"ACTIVE","Sample":false}`
}

const asffObject = `{"Type":"AwsS3Object","Id":"arn:aws-us-gov:s3:::moontrust-statements/a folder/b+c%20d!.xlsx",
	"Details":{"AwsS3Object":{"ETag":"\"b222c96d54c9abafb8e18c5e60eedffb\"","VersionId":"v1","LastModified":"2026-07-14T22:40:11.000Z",
	  "ContentType":"application/x","ServerSideEncryption":"AES256"}},
	"DataClassification":{"DetailedResultsLocation":"s3://moontrust-macie-results/AWSLogs/x.jsonl.gz",
	 "Result":{"MimeType":"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet","SizeClassified":9,"AdditionalOccurrences":true,
	  "Status":{"Code":"PARTIAL","Reason":"TIME_CUT_OFF_REACHED"},
	  "SensitiveData":[{"Category":"PERSONAL_INFORMATION","TotalCount":9,"Detections":[
	   {"Count":4,"Type":"NAME","Occurrences":{
	     "Records":[{"JsonPath":"$.a['b c']","RecordIndex":3}],
	     "Pages":[{"PageNumber":7}],
	     "LineRanges":[{"Start":2,"End":3,"StartColumn":4}],
	     "Cells":[{"CellReference":"'My ''own'' sheet'!$AA$12","Column":1,"Row":2,"ColumnName":"who"}]}},
	   {"Count":5,"Type":"DATE_OF_BIRTH"}]}],
	  "CustomDataIdentifiers":{"TotalCount":1,"Detections":[{"Arn":"5f7d1c2e","Name":"Customer number","Count":1,
	   "Occurrences":{"OffsetRanges":[{"Start":10,"End":12,"StartColumn":1}]}}]}}}}`

func TestASFF(t *testing.T) {
	bare := asff(asffObject)
	want := coffer.Finding{
		ID: "a41e6c0d97b25f38e1d4c7a90b6f2d13", AccountID: "111122223333", Partition: "aws-us-gov", Region: "us-gov-west-1",
		Type: "SensitiveData:S3Object/Personal", Severity: coffer.SeverityMedium, JobID: "7c1f0a94d2b84e6fa35b90e1c84d2f17",
		OriginType: "SENSITIVE_DATA_DISCOVERY_JOB", Title: "The S3 object contains personal information", Description: "Words.",
		Object: coffer.Object{Bucket: "moontrust-statements", Key: "a folder/b+c%20d!.xlsx", VersionID: "v1",
			ETag: "b222c96d54c9abafb8e18c5e60eedffb"},
		Size: -1, MIMEType: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		OnBucket: coffer.Protection{Encryption: "aws:kms", KMSKey: "key-1",
			Tags: []coffer.Tag{{Key: "data-owner", Value: "payments"}, {Key: "env", Value: "prod"}}},
		OnObject: coffer.Protection{Encryption: "AES256"},
		Status:   "PARTIAL", StatusReason: "TIME_CUT_OFF_REACHED", More: true,
		ResultLocation: "s3://moontrust-macie-results/AWSLogs/x.jsonl.gz",
		Detections: []coffer.Detection{{Type: "NAME", Category: "PERSONAL_INFORMATION", Count: 4},
			{Type: "DATE_OF_BIRTH", Category: "PERSONAL_INFORMATION", Count: 5},
			{Type: "Customer number", Custom: "5f7d1c2e", Category: "CUSTOM_IDENTIFIER", Count: 1}},
	}
	event := func(findings string) string {
		return `{"version":"0","id":"x","detail-type":"Security Hub Findings - Imported","source":"aws.securityhub",
		"resources":["arn:aws:securityhub:us-east-1::product/aws/macie/x"],"detail":{"findings":[` + findings + `]}}`
	}
	for name, in := range map[string]string{
		"bare": bare, "event": event(bare), "batch": `{"Findings":[` + bare + `]}`, "array": "[" + bare + "]",
	} {
		t.Run(name, func(t *testing.T) {
			docs := decode(t, in)
			if len(docs) != 1 || docs[0].Kind != macie.KindFinding || docs[0].Form != macie.FormASFF {
				t.Fatalf("got %+v", docs)
			}
			f := *docs[0].Finding
			if got, want := at(f), "cell:My%20'own'%20sheet!R12C27 line:2-3:4 page:7 record:3:$.a['b c'] offset:10-12"; got != want {
				t.Errorf("places:\n got %s\nwant %s", got, want)
			}
			if o := f.Occurrences[4]; o.Type != "Customer number" || o.Custom != "5f7d1c2e" {
				t.Errorf("custom identifier: got %q %q", o.Type, o.Custom)
			}
			if f.Occurrences[0].Column != "who" {
				t.Errorf("column name: got %q", f.Occurrences[0].Column)
			}
			if got := f.CreatedAt.Format("15:04:05.000") + f.LastModified.Format(" 15:04:05"); got != "03:21:07.418 22:40:11" {
				t.Errorf("times: got %s", got)
			}
			f.Occurrences, f.CreatedAt, f.LastModified = nil, want.CreatedAt, want.LastModified
			same(t, f, want)
		})
	}
	docs := decode(t, event(bare+","+strings.Replace(bare, "product/aws/macie", "product/aws/guardduty", 1)+","+bare))
	if len(docs) != 3 || docs[0].Kind != macie.KindFinding || docs[1].Kind != macie.KindForeign || docs[2].Kind != macie.KindFinding {
		t.Errorf("an event with three findings gave %+v", docs)
	}
}

// Numbers as text are equal to numbers: everything else alike, the findings are.
func TestNumbersAsText(t *testing.T) {
	for _, file := range []string{"01-csv-bank-account-cells.json", "02-jsonl-records-multiple.json", "03-pdf-pages-automated-discovery.json", "04-text-line-ranges.json"} {
		in := read(t, file)
		var v any
		d := json.NewDecoder(strings.NewReader(in))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		var text func(any) any
		n := 0
		text = func(v any) any {
			switch v := v.(type) {
			case map[string]any:
				for k, e := range v {
					v[k] = text(e)
				}
			case []any:
				for i, e := range v {
					v[i] = text(e)
				}
			case json.Number:
				n++
				return v.String()
			}
			return v
		}
		b, _ := json.Marshal(text(v))
		if n < 10 {
			t.Fatalf("%s holds %d numbers", file, n)
		}
		same(t, one(t, string(b)), one(t, in))
	}
}

func TestReaderErrors(t *testing.T) {
	e := compact(read(t, "04-text-line-ranges.json"))
	broken := errors.New("the disk is on fire")
	n, last := 0, error(nil)
	for d, err := range macie.Decode(context.Background(), io.MultiReader(strings.NewReader(e+"\n"+e[:300]), iotest.ErrReader(broken))) {
		if last = err; err == nil {
			n++
			if d.Kind != macie.KindFinding {
				t.Errorf("got %s", d.Kind)
			}
		}
	}
	if n != 1 || !errors.Is(last, broken) {
		t.Errorf("got %d documents and %v", n, last)
	}
	// A compressed stream that its reader breaks off is not damaged, and a finding that more lines may belong to is not given out.
	for name, in := range map[string]string{"gzip": packed(e)[:100], "result": result("r1", "x", "COMPLETE", "NAME 1 1")} {
		for d, err := range macie.Decode(context.Background(), io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken))) {
			if !errors.Is(err, broken) {
				t.Errorf("%s: got %s and %v", name, d.Kind, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n = 0
	for _, err := range macie.Decode(ctx, endless(e+"\n")) {
		if n++; err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			break
		}
		cancel()
	}
	for range macie.Decode(context.Background(), endless(e+"\n")) {
		break // the sequence stops when its consumer does
	}
}

// endless repeats a text forever.
func endless(s string) io.Reader { return &repeat{s: s} }

type repeat struct {
	s string
	i int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.s[r.i:])
	r.i = (r.i + n) % len(r.s)
	return n, nil
}

func BenchmarkDecode(b *testing.B) {
	for _, file := range []string{"01-csv-bank-account-cells.json", "02-jsonl-records-multiple.discovery-result.jsonl"} {
		in := bytes.Repeat([]byte(compact(read(b, file))+"\n"), 100)
		b.Run(strconv.Itoa(len(in)), func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range macie.Decode(context.Background(), bytes.NewReader(in)) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
