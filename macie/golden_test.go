package macie_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/macie"
)

// tb is what tests, benchmarks and properties have in common.
type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// decode returns all documents of a stream, with their raw bytes kept.
func decode(t tb, in string) []macie.Document {
	t.Helper()
	var out []macie.Document
	for d, err := range macie.Decode(context.Background(), strings.NewReader(in)) {
		if err != nil {
			t.Fatalf("Decode ended with an error: %v", err)
		}
		d.Raw = bytes.Clone(d.Raw)
		out = append(out, d)
	}
	return out
}

// one returns the finding of a stream that holds one.
func one(t tb, in string) coffer.Finding {
	t.Helper()
	docs := decode(t, in)
	if len(docs) != 1 || docs[0].Finding == nil {
		t.Fatalf("got %d documents, want one finding; the first is %+v", len(docs), docs[0])
	}
	return *docs[0].Finding
}

func read(t tb, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func at(f coffer.Finding) string {
	var s []string
	for i, o := range f.Occurrences {
		if o.N != i+1 {
			return "wrong number"
		}
		s = append(s, o.At.String())
	}
	return strings.Join(s, " ")
}

func kinds(f coffer.Finding) string {
	var s []string
	for _, o := range f.Occurrences {
		if n := len(s); n == 0 || s[n-1] != string(o.Type) {
			s = append(s, string(o.Type))
		}
	}
	return strings.Join(s, " ")
}

// The examples, with what stands in them stated by hand.
func TestExamples(t *testing.T) {
	ms := func(s string) time.Time {
		v, err := time.Parse("2006-01-02T15:04:05.000Z", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const results = "s3://moontrust-macie-results/AWSLogs/111122223333/Macie/us-east-1/"
	key := "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	base := func(f coffer.Finding) coffer.Finding {
		f.AccountID, f.Partition, f.Region = "111122223333", "aws", "us-east-1"
		f.Severity = coffer.SeverityHigh
		f.Status, f.StorageClass = "COMPLETE", "STANDARD"
		f.OnBucket = coffer.Protection{Encryption: "aws:kms", KMSKey: key, PublicAccess: "NOT_PUBLIC",
			Tags: []coffer.Tag{{Key: "data-owner", Value: "payments"}, {Key: "env", Value: "prod"}}}
		f.OnObject.Encryption, f.OnObject.KMSKey, f.OnObject.PublicAccess = "aws:kms", key, "NOT_PUBLIC"
		f.Object.Bucket = "moontrust-statements"
		return f
	}
	const job = "7c1f0a94d2b84e6fa35b90e1c84d2f17"
	multiple := [2]string{"The S3 object contains multiple categories of sensitive data",
		"The S3 object contains more than one category of sensitive data."}
	ssn, bank, card := coffer.USSocialSecurity, coffer.BankAccountNumber, coffer.CardNumber
	const money, person = "FINANCIAL_INFORMATION", "PERSONAL_INFORMATION"
	var accounts []string
	for _, r := range []string{"R2C3", "R3C3", "R4C3", "R5C3", "R6C3", "R7C3", "R8C3", "R9C3", "R10C3", "R11C3", "R12C3", "R13C3"} {
		accounts = append(accounts, "cell:"+r)
	}

	tests := []struct {
		file  string
		want  coffer.Finding
		form  macie.Form
		at    string
		kinds string
	}{
		{"01-csv-bank-account-cells.json", base(coffer.Finding{
			ID: "a41e6c0d97b25f38e1d4c7a90b6f2d13", Type: "SensitiveData:S3Object/Financial",
			Title:       "The S3 object contains financial information",
			Description: "The S3 object contains financial information such as bank account numbers or credit card numbers.",
			CreatedAt:   ms("2026-07-15T03:21:07.418Z"), JobID: job, OriginType: "SENSITIVE_DATA_DISCOVERY_JOB",
			Object: coffer.Object{Key: "exports/2026/07/ach-payouts-2026-07-14.csv",
				VersionID: "Zx8Qm4t0L1vYp2n7Kc3RsW6uHbEoJd5A", ETag: "b222c96d54c9abafb8e18c5e60eedffb"},
			OnObject: coffer.Protection{Tags: []coffer.Tag{{Key: "classification", Value: "internal"}}},
			Size:     909, LastModified: ms("2026-07-14T22:40:11.000Z"), MIMEType: "text/csv",
			ResultLocation: results + job + "/111122223333/5b0c9a7e-41d2-3f86-9c1a-7e2d40b8f613.jsonl.gz",
			Detections:     []coffer.Detection{{Type: bank, Category: money, Count: 12}},
		}), macie.FormEvent, "", "BANK_ACCOUNT_NUMBER"},
		{"02-jsonl-records-multiple.json", base(coffer.Finding{
			ID: "3be90d71c5a84f2286ed17b04c9fa5d8", Type: "SensitiveData:S3Object/Multiple", Title: multiple[0], Description: multiple[1],
			CreatedAt: ms("2026-07-15T03:22:40.903Z"), JobID: job, OriginType: "SENSITIVE_DATA_DISCOVERY_JOB",
			Object: coffer.Object{Key: "exports/2026/07/customers-2026-07.jsonl",
				VersionID: "q7Nw2Lr5Tb9XcVd1Jk8Pf4Sg0HyMzE6U", ETag: "af24f3a1fdfca3add70bf31aabed6538"},
			Size: 5776, LastModified: ms("2026-07-14T22:41:52.000Z"), MIMEType: "application/json", More: true,
			ResultLocation: results + job + "/111122223333/d48bf16d-0deb-3e49-9d8c-d407c2a51b70.jsonl.gz",
			Detections: []coffer.Detection{{Type: bank, Category: money, Count: 40}, {Type: card, Category: money, Count: 32},
				{Type: ssn, Category: person, Count: 40}},
		}), macie.FormEvent,
			"record:0:$.payout['Bank Account'] record:1:$.payout['Bank Account'] record:2:$.payout['Bank Account'] " +
				"record:3:$.payout['Bank Account'] record:4:$.payout['Bank Account'] " +
				"record:1:$.cards[0]['card number'] record:3:$.cards[0]['card number'] record:3:$.cards[1]['card number'] " +
				"record:4:$.cards[0]['card number'] record:6:$.cards[0]['card number'] " +
				"record:0:$.kyc.ssn record:1:$.kyc.ssn record:2:$.kyc.ssn record:3:$.kyc.ssn record:4:$.kyc.ssn",
			"BANK_ACCOUNT_NUMBER CREDIT_CARD_NUMBER USA_SOCIAL_SECURITY_NUMBER"},
		{"03-pdf-pages-automated-discovery.json", base(coffer.Finding{
			ID: "58d2f1a7c06b4e93b7f0c1e2a4d68b95", Type: "SensitiveData:S3Object/Multiple", Title: multiple[0], Description: multiple[1],
			CreatedAt: ms("2026-07-15T11:05:26.077Z"), OriginType: "AUTOMATED_SENSITIVE_DATA_DISCOVERY",
			Object: coffer.Object{Key: "statements/2026/06/wire-dispute-packet-0042.pdf",
				VersionID: "h3Rf9Kz1Wq6Yt8Nb2Lm5Xc7Vd0Pj4SgA", ETag: "5d41402abc4b2a76b9719d911017c592-2"},
			Size: 418203, LastModified: ms("2026-06-30T17:03:29.000Z"), MIMEType: "application/pdf", More: true,
			ResultLocation: results + "automated-sensitive-data-discovery/111122223333/0e7c52b1-96ad-3b40-8f5e-2a9d61c7e384.jsonl.gz",
			Detections:     []coffer.Detection{{Type: card, Category: money, Count: 7}, {Type: ssn, Category: person, Count: 19}},
		}), macie.FormEvent,
			"page:2 page:2 page:3 page:5 page:5 page:6 page:9 page:1 page:1 page:2 page:4 page:4 page:7 page:8 page:10",
			"CREDIT_CARD_NUMBER USA_SOCIAL_SECURITY_NUMBER"},
		{"04-text-line-ranges.json", base(coffer.Finding{
			ID: "c7f9182e0b5d4a63918ce4fd20a7b36e", Type: "SensitiveData:S3Object/Multiple", Title: multiple[0], Description: multiple[1],
			CreatedAt: ms("2026-07-15T03:20:15.266Z"), JobID: job, OriginType: "SENSITIVE_DATA_DISCOVERY_JOB",
			Object: coffer.Object{Key: "logs/dispute-mailer-2026-07-14.txt", ETag: "c6962434b4f6ae54a8a1f25766d30ac3"},
			Size:   504, LastModified: ms("2026-07-14T08:05:00.000Z"), MIMEType: "text/plain",
			ResultLocation: results + job + "/111122223333/b93a6e15-7c20-3d8f-a4b1-6f0e2d95c748.jsonl.gz",
			Detections: []coffer.Detection{{Type: bank, Category: money, Count: 2}, {Type: ssn, Category: person, Count: 2},
				{Type: coffer.Address, Category: person, Count: 1}},
		}), macie.FormEvent, "line:12-12:29 line:13-13:61 line:3-3:41 line:13-13:33 line:8-9:5",
			"BANK_ACCOUNT_NUMBER USA_SOCIAL_SECURITY_NUMBER ADDRESS"},
		{"02-jsonl-records-multiple.discovery-result.jsonl", base(coffer.Finding{
			ID: "6f0e2c9b7d1a4835a2c4e8f10b3d5796", Type: "SensitiveData:S3Object/Multiple", Title: multiple[0], Description: multiple[1],
			CreatedAt: ms("2026-07-15T03:21:33.000Z"), JobID: job, OriginType: "SENSITIVE_DATA_DISCOVERY_JOB",
			Object: coffer.Object{Key: "exports/2026/07/customers-2026-07.jsonl",
				VersionID: "q7Nw2Lr5Tb9XcVd1Jk8Pf4Sg0HyMzE6U", ETag: "af24f3a1fdfca3add70bf31aabed6538"},
			Size: 5776, LastModified: ms("2026-07-14T22:41:52.000Z"), MIMEType: "application/json",
			ResultLocation: results + job + "/111122223333/d48bf16d-0deb-3e49-9d8c-d407c2a51b70.jsonl.gz",
			Detections: []coffer.Detection{{Type: bank, Category: money, Count: 40}, {Type: card, Category: money, Count: 32},
				{Type: ssn, Category: person, Count: 40}},
		}), macie.FormResult, "", "BANK_ACCOUNT_NUMBER CREDIT_CARD_NUMBER USA_SOCIAL_SECURITY_NUMBER"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			docs := decode(t, read(t, tt.file))
			if len(docs) != 1 || docs[0].Kind != macie.KindFinding || docs[0].Form != tt.form || docs[0].N != 1 || docs[0].Line != 1 {
				t.Fatalf("got %d documents, the first %+v", len(docs), docs[0])
			}
			f := *docs[0].Finding
			if docs[0].ID != f.ID || docs[0].Object != f.Object || docs[0].Reason != "" {
				t.Errorf("document says %q %+v %q", docs[0].ID, docs[0].Object, docs[0].Reason)
			}
			if got := kinds(f); got != tt.kinds {
				t.Errorf("types in order: got %s, want %s", got, tt.kinds)
			}
			source := coffer.FromFinding
			switch {
			case tt.form == macie.FormResult:
				source = coffer.FromResult
				if len(f.Occurrences) != 112 {
					t.Errorf("got %d occurrences, want 112", len(f.Occurrences))
				}
			case tt.at == "":
				tt.at = strings.Join(accounts, " ")
				if c := f.Occurrences[0].Column; c != "bank_account_number" {
					t.Errorf("column name: got %q", c)
				}
			}
			if got := at(f); tt.at != "" && got != tt.at {
				t.Errorf("places:\n got %s\nwant %s", got, tt.at)
			}
			if slices.ContainsFunc(f.Occurrences, func(o coffer.Occurrence) bool { return o.Source != source || o.Custom != "" }) {
				t.Errorf("an occurrence has a wrong source or identifier")
			}
			f.Occurrences = nil
			same(t, f, tt.want)
		})
	}
}
