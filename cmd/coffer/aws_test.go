package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"coffer/demo"
	"coffer/internal/lookalike"
)

// bank is MoonTrust with its objects, findings and an installation of Coffer, in a folder or in the cloud.
type bank struct {
	*testing.T
	home   string
	events string // folder of the findings
	// look returns the objects as somebody sees them who uses the storage without Coffer, by "bucket/key".
	look func() map[string][]byte
	aws  func(args ...string) []byte // the aws command-line client on the objects of a bank in the cloud
	// whole says that every action is tried. The second server is slow, and shows only what differs from the first.
	whole bool
}

// coffer runs a command and returns its lines of standard output. It must end with the exit code.
func (b *bank) coffer(exit int, stdin string, args ...string) []string {
	b.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(append(args, "--home", b.home, "--json"), strings.NewReader(stdin), &stdout, &stderr); got != exit {
		b.Fatalf("coffer %q: exit %d, want %d: %.2000s%.2000s", args[:2], got, exit, stderr.String(), stdout.String())
	}
	if out := strings.TrimSuffix(stdout.String(), "\n"); out != "" {
		return strings.Split(out, "\n")
	}
	return nil
}

// objects runs a command whose output is JSON Lines.
func (b *bank) objects(args ...string) []map[string]any {
	b.Helper()
	return b.parse(b.coffer(exitDone, "", args...))
}

func (b *bank) parse(lines []string) []map[string]any {
	b.Helper()
	out := make([]map[string]any, len(lines))
	for i, l := range lines {
		if err := json.Unmarshal([]byte(l), &out[i]); err != nil {
			b.Fatal(err)
		}
	}
	return out
}

func newBank(t *testing.T, s *demo.Scenario, config string) *bank {
	dir := t.TempDir()
	b := &bank{T: t, home: filepath.Join(dir, "home"), events: filepath.Join(dir, "events")}
	for _, d := range []string{b.home, b.events} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(b.home, "config.yaml"), []byte(s.Config+config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range s.Findings {
		if err := os.WriteFile(filepath.Join(b.events, d.Name), d.Body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// writeFiles writes objects as files, bucket/key under dir.
func writeFiles(t *testing.T, dir string, files []demo.File) {
	for _, f := range files {
		name := filepath.Join(dir, f.Bucket, filepath.FromSlash(f.Key))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func folderBank(t *testing.T, s *demo.Scenario) *bank {
	b := newBank(t, s, "")
	objects := filepath.Join(b.home, "objects")
	writeFiles(t, objects, s.Objects)
	b.objects("object", "versioning", demo.Exports, "on")
	writeFiles(t, objects, []demo.File{s.Changed})
	b.look = func() map[string][]byte { return readFiles(t, objects) }
	return b
}

// readFiles reads what was written as by writeFiles.
func readFiles(t *testing.T, dir string) map[string][]byte {
	out := map[string][]byte{}
	for _, bucket := range []string{demo.Statements, demo.Exports} {
		root := filepath.Join(dir, bucket)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			key, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			out[filepath.ToSlash(key)], err = os.ReadFile(path)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return out
}

// cloudBank is MoonTrust on the S3 of a server, DynamoDB Local and moto's KMS. Its objects are put by the aws command-line client.
func cloudBank(t *testing.T, s *demo.Scenario, name, s3 string) *bank {
	for _, v := range lookalike.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	b := newBank(t, s, fmt.Sprintf(`
objects: "s3:?endpoint=%[1]s"
originals: "s3:moontrust-originals?endpoint=%[1]s"
log: "s3:moontrust-log?endpoint=%[1]s&retention=1d"
keys: "kms:alias/moontrust-%[2]s?endpoint=%[3]s"
store: "dynamodb:moontrust-%[2]s?endpoint=%[4]s"
buckets: [%[5]s, %[6]s, %[7]s]
`, s3, name, lookalike.Moto(t), lookalike.DynamoDB(t), demo.Statements, demo.Exports, demo.Results))

	b.aws = func(args ...string) []byte { return lookalike.AWS(t, s3, args...) }
	local := t.TempDir()
	writeFiles(t, local, s.Objects)
	for _, bucket := range []string{demo.Statements, demo.Exports, demo.Results} {
		b.aws("s3api", "create-bucket", "--bucket", bucket, "--create-bucket-configuration", "LocationConstraint="+lookalike.Region)
		if bucket == demo.Exports {
			b.aws("s3api", "put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Enabled")
		}
		b.aws("s3", "cp", "--recursive", "--no-guess-mime-type", "--no-progress", filepath.Join(local, bucket), "s3://"+bucket)
	}
	writeFiles(t, local, []demo.File{s.Changed})
	b.aws("s3", "cp", "--no-guess-mime-type", "--no-progress", filepath.Join(local, s.Changed.Bucket, filepath.FromSlash(s.Changed.Key)),
		"s3://"+s.Changed.Bucket+"/"+s.Changed.Key)
	b.look = func() map[string][]byte {
		dir := t.TempDir()
		for _, bucket := range []string{demo.Statements, demo.Exports} {
			b.aws("s3", "cp", "--recursive", "--no-progress", "s3://"+bucket, filepath.Join(dir, bucket))
		}
		return readFiles(t, dir)
	}
	return b
}

// TestCloud has the whole scenario happen in a folder and on servers that others wrote, and demands that everything comes out the
// same: what is found, sealed, revealed, planned, written, undone and proved.
func TestCloud(t *testing.T) {
	for _, c := range []struct {
		name string
		s3   func(testing.TB) string
		// mistakesMarkers says that the server takes what lies below a delete marker for the current version, and refuses to write over
		// the marker what must not exist. Nothing is lost; only a deletion in a versioned bucket cannot be undone there.
		mistakesMarkers bool
	}{{"versitygw", lookalike.S3, true}, {"moto", lookalike.Moto, false}} {
		t.Run(c.name, func(t *testing.T) {
			s := demo.New()
			cloud := cloudBank(t, s, c.name, c.s3(t))
			cloud.whole = c.name == "versitygw"
			testCloud(t, s, folderBank(t, s), cloud, c.mistakesMarkers)
		})
	}
}

func testCloud(t *testing.T, s *demo.Scenario, folder, cloud *bank, mistakesMarkers bool) {
	for _, want := range []string{"made", "there"} {
		for _, l := range cloud.objects("setup") {
			if l["status"] != want {
				t.Errorf("setup of %v: %v, want %s", l["what"], l["status"], want)
			}
		}
	}
	banks := []*bank{folder, cloud}

	// both runs a command on both and compares what it prints, but for the members that may differ.
	both := func(mayDiffer []string, args func(b *bank) []string) []map[string]any {
		t.Helper()
		var out [2][]map[string]any
		for i, b := range banks {
			out[i] = b.objects(args(b)...)
		}
		if len(out[0]) != len(out[1]) {
			t.Fatalf("%v: %d lines in the folder, %d in the cloud", args(folder), len(out[0]), len(out[1]))
		}
		for i := range out[0] {
			for k := range out[0][i] {
				if !slices.Contains(mayDiffer, k) && !reflect.DeepEqual(out[0][i][k], out[1][i][k]) {
					t.Errorf("%s: line %d: %s is %v in the folder and %v in the cloud", args(folder)[:2], i+1, k, out[0][i][k], out[1][i][k])
				}
			}
		}
		return out[1]
	}
	same := func(args ...string) func(*bank) []string { return func(*bank) []string { return args } }

	taken := both([]string{"fetched"}, func(b *bank) []string { return []string{"ingest", b.events} })
	var sealed []string // findings with something to reveal and fix
	for _, l := range taken {
		if n, _ := l["sealed"].(float64); n > 0 {
			sealed = append(sealed, l["finding"].(string))
			if f, _ := l["fetched"].(float64); f == 0 {
				t.Errorf("finding %v: values were sealed and no bytes fetched", l["finding"])
			}
		}
	}
	both([]string{"received", "updated"}, same("finding", "list"))
	var fixable []string // what fails its checksum is sealed, and not fixed unless somebody asks for it
	for _, id := range sealed {
		for _, f := range both([]string{"received", "updated", "tagged", "tagReason"}, same("finding", "show", id)) {
			for _, o := range f["occurrences"].([]any) {
				if outcome := o.(map[string]any)["outcome"]; outcome == "exact" && !slices.Contains(fixable, id) {
					fixable = append(fixable, id)
				}
			}
		}
		both(nil, same("value", "reveal", id, "--reason", "investigation", "--note", "the same in folder and cloud"))
	}

	// Every object is redacted, looked at by somebody who does not use Coffer, and put back.
	fixed := func(action string, ids ...string) (plans [2][]map[string]any) {
		for i, b := range banks {
			plans[i] = b.objects(append([]string{"remedy", "plan", "--action", action}, ids...)...)
			for _, p := range plans[i] {
				got := b.objects("remedy", "apply", p["plan"].(string))
				if len(got) != 1 || got[0]["status"] != "applied" || got[0]["verified"] != true {
					t.Fatalf("%s: apply of %v: %v", action, p["object"], got)
				}
			}
		}
		if len(plans[0]) != len(plans[1]) {
			t.Fatalf("%s: %d plans in the folder, %d in the cloud", action, len(plans[0]), len(plans[1]))
		}
		for i, p := range plans[0] {
			for _, k := range []string{"changes", "counts", "possible", "findings"} {
				if k == "changes" && action == "tokenise" {
					continue // each installation has tokens of its own
				}
				if !reflect.DeepEqual(p[k], plans[1][i][k]) {
					t.Errorf("%s of %v: %s differ: %v and %v", action, p["object"], k, p[k], plans[1][i][k])
				}
			}
		}
		return plans
	}
	undo := func(plans [2][]map[string]any) {
		for i, b := range banks {
			for _, p := range plans[i] {
				b.objects("remedy", "undo", p["plan"].(string))
			}
		}
	}
	look := func(when string) (objects map[string][]byte) {
		objects, remote := folder.look(), cloud.look()
		if len(objects) != len(remote) {
			t.Errorf("%s: %d objects in the folder, %d in the cloud", when, len(objects), len(remote))
		}
		for name, body := range objects {
			if !bytes.Equal(body, remote[name]) {
				t.Errorf("%s: s3://%s has other bytes in the folder than in the cloud", when, name)
			}
		}
		return remote
	}
	look("before any fix")
	plans := fixed("redact", fixable...)
	redacted := look("redacted")
	undo(plans)
	blanked := 0
	for name, body := range look("redaction undone") {
		want := redacted[name]
		for _, f := range append(s.Objects, s.Changed) {
			if f.Bucket+"/"+f.Key == name {
				want = f.Body
			}
		}
		if !bytes.Equal(body, want) {
			blanked++ // card authentication data does not come back
		}
	}
	if blanked != 1 {
		t.Errorf("%d objects are not the original after undo, want the one with card authentication data", blanked)
	}
	if cloud.whole {
		undo(fixed("mask", fixable...))
		look("masking undone")
	}

	var deletable []string
	for _, p := range plans[1] {
		if !mistakesMarkers || p["object"].(map[string]any)["bucket"] != demo.Exports {
			for _, id := range p["findings"].([]any) {
				deletable = append(deletable, id.(string))
			}
		}
	}
	undo(fixed("delete", deletable...))
	look("deletion undone")

	// For good: the fix is purged, and the certificate says what remains.
	plans = fixed("tokenise", fixable...)
	for i, b := range banks {
		for _, p := range plans[i] {
			b.objects("remedy", "purge", p["plan"].(string))
			c := b.objects("remedy", "certificate", p["plan"].(string))
			if len(c) != 1 || c[0]["verified"] != true {
				t.Errorf("certificate of %v: %v", p["object"], c)
			}
		}
		b.objects("audit", "verify")
		b.objects("check")
		for _, d := range b.objects("doctor") {
			if d["level"] == "fail" {
				t.Errorf("doctor: %v: %v", d["about"], d["found"])
			}
		}
	}
	// Another machine has nothing but the configuration, and is in the same installation.
	other := &bank{T: t, home: filepath.Join(t.TempDir(), "home")}
	if err := os.Mkdir(other.home, 0o700); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(cloud.home, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other.home, "config.yaml"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	other.objects("value", "reveal", fixable[0], "1", "--reason", "audit", "--note", "from another machine")
	if r := other.objects("audit", "verify"); len(r) != 1 || r[0]["pending"] != float64(0) {
		t.Errorf("the log from another machine: %v", r)
	}
	if here, there := cloud.objects("audit", "list"), other.objects("audit", "list"); len(here) == 0 || len(here) > len(there) {
		t.Errorf("the log has %d entries here and %d there", len(here), len(there))
	}
	for _, name := range []string{"log", "keys"} {
		if _, err := os.Stat(filepath.Join(other.home, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of the other machine's home: %v", name, err)
		}
	}
	// As somebody else sees it: nobody takes a checkpoint out of the log's bucket.
	var versions struct {
		Versions []struct{ Key, VersionId string }
	}
	if err := json.Unmarshal(cloud.aws("s3api", "list-object-versions", "--bucket", "moontrust-log", "--prefix", "checkpoint"), &versions); err != nil {
		t.Fatal(err)
	}
	if len(versions.Versions) < 2 {
		t.Errorf("%d versions of the checkpoint", len(versions.Versions))
	}
	var lock struct {
		ObjectLockConfiguration struct {
			Rule struct{ DefaultRetention struct{ Mode string } }
		}
	}
	if err := json.Unmarshal(cloud.aws("s3api", "get-object-lock-configuration", "--bucket", "moontrust-log"), &lock); err != nil {
		t.Fatal(err)
	}
	if mode := lock.ObjectLockConfiguration.Rule.DefaultRetention.Mode; mode != "COMPLIANCE" {
		t.Errorf("the bucket of the log is locked in mode %q", mode)
	}
	// The tags of a fixed object, and the record in the tables and the log of the keys.
	var tags struct{ TagSet []struct{ Key, Value string } }
	fixedObject := plans[1][0]["object"].(map[string]any)
	out := cloud.aws("s3api", "get-object-tagging", "--bucket", fixedObject["bucket"].(string), "--key", fixedObject["key"].(string))
	if err := json.Unmarshal(out, &tags); err != nil {
		t.Fatal(err)
	}
	state := ""
	for _, tag := range tags.TagSet {
		if tag.Key == "coffer:state" {
			state = tag.Value
		}
	}
	if state != "tokenised" {
		t.Errorf("the fixed object has the tags %v", tags.TagSet)
	}
}
