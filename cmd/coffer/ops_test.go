package main

import (
	"bytes"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
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
	want(t, 0, []string{"remedy", "approve", plans[0]["plan"].(string)}, "approved")
	want(t, 0, []string{"policy", "explain", "remedy.apply", plans[0]["plan"].(string), "--role", "engineer"}, "allowed to engineer")
	want(t, 2, []string{"remedy", "plan", "--filter", "status=open"}, "--action")
	want(t, 0, []string{"remedy", "apply", "--all"}, "applied and verified")
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

// TestBackup: a backup without keys opens with the keys of the home and not without; one with keys opens with the passphrase
// alone; a damaged one opens not at all; and a purge names the backups that undermine it.
func TestBackup(t *testing.T) {
	home := smallHome(t)
	dir := t.TempDir()
	plans := lines(t, want(t, 0, []string{"remedy", "plan", "--filter", "status=open", "--action", "redact", "--json"}))
	want(t, 0, []string{"remedy", "apply", "--all"}, "applied")

	plain, keyed := filepath.Join(dir, "plain"), filepath.Join(dir, "keyed")
	want(t, 0, []string{"backup", plain}, "keys are not in it")
	want(t, 1, []string{"backup", plain}, "not empty")
	pass := write(t, filepath.Join(dir, "pass"), "synthetic passphrase\n")
	want(t, 2, []string{"backup", keyed, "--with-keys", "--passphrase-file", write(t, filepath.Join(dir, "short"), "short")}, "12 bytes")
	want(t, 0, []string{"backup", keyed, "--with-keys", "--passphrase-file", pass})
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("4111111111111111")) {
			t.Errorf("%s holds a value", path)
		}
		if strings.HasPrefix(path, plain) && bytes.Contains(b, []byte("CFRS")) {
			t.Errorf("%s holds a header, and the backup is without keys", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	want(t, 1, []string{"restore", plain, "--passphrase-file", pass, "--home", filepath.Join(dir, "h0")}, "--keys-from")
	want(t, 1, []string{"restore", keyed, "--passphrase-file", pass, "--home", home}, "not empty")
	h1, h2 := filepath.Join(dir, "h1"), filepath.Join(dir, "h2")
	want(t, 0, []string{"restore", plain, "--keys-from", home, "--home", h1}, "2 findings", "Every invariant holds")
	want(t, 1, []string{"restore", keyed, "--passphrase-file", write(t, filepath.Join(dir, "other"), "another passphrase"), "--home", h2})
	if _, err := os.Stat(h2); err == nil {
		t.Error("a failed restore left a home")
	}
	want(t, 0, []string{"restore", keyed, "--passphrase-file", pass, "--home", h2}, "Every invariant holds")
	id := plans[0]["finding"].(string)
	want(t, 0, []string{"value", "reveal", id, "--reason", "audit", "--note", "after the restore", "--home", h2}, "4")
	want(t, 0, []string{"audit", "verify", "--home", h2}, "The log is whole")

	// Every byte of the manifest and of the data counts.
	for _, name := range []string{"manifest.json", "manifest.mac", "data.db", "config.yaml", "keys/bundle", "keys/header"} {
		path := filepath.Join(keyed, filepath.FromSlash(name))
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damaged := bytes.Clone(whole)
		damaged[len(damaged)/2] ^= 1
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, 1, []string{"restore", keyed, "--passphrase-file", pass, "--home", filepath.Join(dir, "h3")})
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	plan := plans[0]["plan"].(string)
	want(t, 0, []string{"remedy", "purge", plan, "--yes"}, "remaining copy: backup of the keys of")
	want(t, 0, []string{"remedy", "certificate", plan}, "backup of the keys of")
	want(t, 0, []string{"check"}, "Every invariant holds")
	// The purge holds for the backup without keys: with the keys of today the kept original does not open.
	h4 := filepath.Join(dir, "h4")
	want(t, 1, []string{"restore", plain, "--keys-from", home, "--home", h4}, "VIOLATED original")
}

func TestDoctor(t *testing.T) {
	t.Setenv("COFFER_HOME", filepath.Join(t.TempDir(), "none"))
	want(t, 0, []string{"doctor"}, "no home yet")
	if _, err := os.Stat(os.Getenv("COFFER_HOME")); err == nil {
		t.Error("the doctor made a home")
	}
	home := smallHome(t)
	want(t, 0, []string{"doctor"}, "warn  keys", "warn  anchors", "ok    log", "ok    objects", "ok    plans")
	for _, d := range lines(t, want(t, 0, []string{"doctor", "--json"})) {
		if d["level"] != "ok" && d["do"] == nil {
			t.Errorf("no advice: %v", d)
		}
	}
	write(t, filepath.Join(home, "config.yaml"), "anchors: [anchor.txt]\n")
	want(t, 0, []string{"doctor"}, "ok    anchors")
	anchor := filepath.Join(home, "anchor.txt")
	b, err := os.ReadFile(anchor)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(anchor, bytes.Replace(b, []byte("— "), []byte("— x"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, 0, []string{"doctor"}, "warn  anchors", "no checkpoint signed by this log's key")
	write(t, filepath.Join(home, "config.yaml"), "grace: soon\n")
	want(t, 1, []string{"doctor"}, "fail  configuration")
	write(t, filepath.Join(home, "config.yaml"), "")
	if err := os.Chmod(home, 0o750); err != nil {
		t.Fatal(err)
	}
	want(t, 1, []string{"doctor"}, "fail  modes", "chmod go-rwx")
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	tile := ""
	err = filepath.WalkDir(filepath.Join(home, "log"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "entries") {
			tile = path
		}
		return err
	})
	if err != nil || tile == "" {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(tile); err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(tile, b, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, 1, []string{"doctor"}, "fail  log")
}
