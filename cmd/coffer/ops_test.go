package main

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// lines parses JSON Lines.
func lines(t *testing.T, out string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for l := range strings.Lines(out) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatalf("%v in %s", err, l)
		}
		all = append(all, m)
	}
	return all
}

// smallHome is a home with two objects that hold synthetic accounts, and their findings taken in.
func smallHome(t *testing.T) string {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	t.Setenv("COFFER_HOME", home)
	for i, name := range []string{"a.csv", "b.csv"} {
		text := fmt.Sprintf("account,owner\n%s,x\n", []string{"4111111111111111", "4012888888881881"}[i]) // the networks' own test numbers
		write(t, filepath.Join(home, "objects", "bucket", name), text)
		finding := fmt.Sprintf(`{"schemaVersion":"1.0","id":"%032d","accountId":"111122223333","partition":"aws","region":"eu-west-1",
"type":"SensitiveData:S3Object/Financial","severity":{"score":3,"description":"High"},"category":"CLASSIFICATION","count":1,"sample":false,
"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z","resourcesAffected":{"s3Bucket":{"arn":"arn:aws:s3:::bucket","name":"bucket"},
"s3Object":{"bucketArn":"arn:aws:s3:::bucket","key":"%s","path":"bucket/%s","extension":"csv","eTag":"%x"}},"classificationDetails":{"result":{"status":{"code":"COMPLETE"},
"mimeType":"text/csv","sensitiveData":[{"category":"FINANCIAL_INFORMATION","totalCount":1,"detections":[{"type":"CREDIT_CARD_NUMBER","count":1,
"occurrences":{"cells":[{"row":2,"column":1,"columnName":"account"}]}}]}]}}}`, i+1, name, name, md5.Sum([]byte(text)))
		want(t, 0, []string{"ingest", write(t, filepath.Join(t.TempDir(), "finding.json"), finding)}, "sealed")
	}
	return home
}

func TestKeysAndJobs(t *testing.T) {
	smallHome(t)
	before := lines(t, want(t, 0, []string{"key", "list", "--json"}))
	if len(before) != 1 || before[0]["wraps"] != 3.0 { // the home's own and two findings
		t.Fatalf("%v", before)
	}
	want(t, 0, []string{"key", "rotate"}, "3 data keys wrapped anew")
	after := lines(t, want(t, 0, []string{"key", "list", "--json"}))
	if len(after) != 2 || after[0]["wraps"] != 0.0 || after[1]["wraps"] != 3.0 || after[1]["current"] != true {
		t.Fatalf("%v", after)
	}
	want(t, 0, []string{"key", "rotate", "--retire"}, "No wrapping key is unused and was superseded at least 24h0m0s ago")
	want(t, 0, []string{"key", "rotate", "--retire", "--age", "0s"}, fmt.Sprint(before[0]["id"], " is removed"))
	want(t, 0, []string{"check"}, "Every invariant holds")

	want(t, 0, []string{"value", "index", "CREDIT_CARD_NUMBER"}, "CREDIT_CARD_NUMBER")
	plans := lines(t, want(t, 0, []string{"remedy", "plan", "--filter", "status=open", "--action", "redact", "--json"}))
	if len(plans) != 2 {
		t.Fatalf("%d plans", len(plans))
	}
	want(t, 0, []string{"remedy", "show", plans[0]["plan"].(string)}, "REDACTED")
	want(t, 0, []string{"policy", "explain", "remedy.apply", plans[0]["plan"].(string), "--role", "engineer"}, "apply-needs-approval")
	want(t, 2, []string{"remedy", "plan", "--filter", "status=open"}, "--action")
	want(t, 0, []string{"remedy", "apply", "--all"}, "applied, verified true")
	jobs := lines(t, want(t, 0, []string{"job", "list", "--json"}))
	var kinds []string
	for _, j := range jobs {
		kinds = append(kinds, fmt.Sprint(j["kind"], " ", j["state"], " ", j["done"]))
	}
	if got := strings.Join(kinds, ", "); got != "remedy.apply done 2, remedy.plan done 2, value.index done 2, key.rotate done 64" {
		t.Errorf("jobs: %s", got)
	}
	id := jobs[0]["job"].(string)
	want(t, 0, []string{"job", "list", id}, plans[0]["plan"].(string), "applied")
	want(t, 1, []string{"job", "cancel", id}, "is done")
	want(t, 1, []string{"remedy", "apply", "--resume", id}, "is done")
	want(t, 1, []string{"key", "rotate", "--resume", id}, "not key.rotate")
	want(t, 2, []string{"remedy", "apply", "--resume", id, "--all"}, "--resume takes")
	want(t, 0, []string{"remedy", "purge", "--expired"}, "0 plans past the grace period")
	want(t, 0, []string{"check"}, "Every invariant holds")
}
