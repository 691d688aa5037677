package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"coffer"
	"coffer/app"
	"coffer/internal/awsfake/kmsfake"
	"coffer/internal/awsfake/s3fake"
	"coffer/internal/lookalike"
	"coffer/macie"
)

// fakes is an installation on a fake S3 and a fake KMS, which tell all that was asked of them and fail when they are told to, and on
// DynamoDB Local.
type fakes struct {
	*testing.T
	home  string
	s3    *s3fake.Server
	kms   *kmsfake.Fake
	table string
	// What the configuration names.
	objects, originals, store string
	buckets                   []string
	// aws is the configuration of clients that look at KMS and the tables without Coffer.
	aws    aws.Config
	kmsURL string
	// said is all that commands wrote to standard error.
	said bytes.Buffer
}

const fakeBucket = "moontrust-statements"

// A synthetic card number in an object, and where it is.
const (
	fakeCard  = "4111111111111111" // the network's own test number
	fakeTable = "id,card\n1," + fakeCard + "\n2,none\n"
	fakePlace = "CREDIT_CARD_NUMBER@cell:R2C2"
)

// onFakes sets an installation up. buckets are made with the configurations.
func onFakes(t *testing.T, buckets map[string]s3fake.Config) *fakes {
	f := &fakes{T: t, home: filepath.Join(memoryDir(t), "home"), s3: s3fake.New(), kms: &kmsfake.Fake{}, table: t.Name()}
	if err := os.Mkdir(f.home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", s3fake.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3fake.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_REGION", s3fake.Region)
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	s3, keys := httptest.NewServer(f.s3), httptest.NewServer(f.kms)
	t.Cleanup(s3.Close)
	t.Cleanup(keys.Close)
	f.kmsURL = keys.URL
	var err error
	if f.aws, err = config.LoadDefaultConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.objects = "s3:?endpoint=" + s3.URL
	f.originals = "s3:moontrust-originals?endpoint=" + s3.URL
	f.store = "dynamodb:" + f.table + "?endpoint=" + lookalike.DynamoDB(t)
	for name, c := range buckets {
		f.s3.CreateBucket(name, c)
		f.buckets = append(f.buckets, name)
	}
	f.configure("kms:alias/coffer?endpoint=" + keys.URL)
	f.coffer(exitDone, "setup")
	return f
}

// configure writes the configuration anew, with these keys.
func (f *fakes) configure(keys string) {
	f.Helper()
	text := fmt.Sprintf("objects: %q\noriginals: %q\nkeys: %q\nstore: %q\nbuckets: [%s]\n", f.objects, f.originals, keys, f.store,
		strings.Join(f.buckets, ", "))
	if err := os.WriteFile(filepath.Join(f.home, "config.yaml"), []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

// coffer runs a command, which must end with the exit code, and returns what it wrote to standard output.
func (f *fakes) coffer(exit int, args ...string) string {
	f.Helper()
	out, got := f.try(args...)
	if got != exit {
		f.Fatalf("coffer %q: exit %d, want %d: %.2000s%.2000s", args, got, exit, f.said.String(), out)
	}
	return out
}

func (f *fakes) try(args ...string) (string, int) {
	var stdout bytes.Buffer
	exit := run(append(args, "--home", f.home, "--json"), strings.NewReader(""), &stdout, &f.said)
	return stdout.String(), exit
}

// elements runs a command that ends well and returns the objects of its output.
func (f *fakes) elements(args ...string) []map[string]any {
	f.Helper()
	return lines(f.T, f.coffer(exitDone, args...))
}

// put puts an object there and returns the file with Macie's finding about it.
func (f *fakes) put(bucket, key, id string, body []byte, a s3fake.Attrs, places ...string) string {
	f.Helper()
	version := f.s3.Put(bucket, key, body, a)
	return f.event(coffer.Object{Bucket: bucket, Key: key, VersionID: version}, id, body, places...)
}

func (f *fakes) event(o coffer.Object, id string, body []byte, places ...string) string {
	f.Helper()
	sum := md5.Sum(body)
	o.ETag = hex.EncodeToString(sum[:])
	found, err := finding(o, id, body, places)
	if err != nil {
		f.Fatal(err)
	}
	found.Object.ETag = f.s3.Versions(o.Bucket, o.Key)[0].ETag
	found.Object.VersionID = o.VersionID
	name := filepath.Join(f.TempDir(), id+".json")
	if err := os.WriteFile(name, macie.Event(found), 0o600); err != nil {
		f.Fatal(err)
	}
	return name
}

// scan calls see with every attribute of every item of the tables.
func (f *fakes) scan(see func(table, attribute string, value []byte)) {
	f.Helper()
	c := f.tables()
	for _, table := range []string{f.table, app.KeyTable(f.table)} {
		p := dynamodb.NewScanPaginator(c, &dynamodb.ScanInput{TableName: &table})
		for p.HasMorePages() {
			out, err := p.NextPage(f.Context())
			if err != nil {
				f.Fatal(err)
			}
			for _, item := range out.Items {
				for name, v := range item {
					if b, ok := v.(*types.AttributeValueMemberB); ok {
						see(table, name, b.Value)
					} else if n, ok := v.(*types.AttributeValueMemberN); !ok || name != "exp" || n.Value == "" {
						f.Errorf("table %s: attribute %s is %T", table, name, v)
					}
				}
			}
		}
	}
}

func (f *fakes) tables() *dynamodb.Client {
	return dynamodb.NewFromConfig(f.aws, func(o *dynamodb.Options) { o.BaseEndpoint = aws.String(lookalike.DynamoDB(f.T)) })
}

func (f *fakes) kmsClient() *kms.Client {
	return kms.NewFromConfig(f.aws, func(o *kms.Options) { o.BaseEndpoint = &f.kmsURL })
}

// newKey makes a wrapping key and returns its ARN.
func (f *fakes) newKey() string {
	f.Helper()
	out, err := f.kmsClient().CreateKey(f.Context(), &kms.CreateKeyInput{})
	if err != nil {
		f.Fatal(err)
	}
	return *out.KeyMetadata.Arn
}

// kmsCalls counts what was asked of KMS since the last time, by operation and purpose of the encryption context.
func (f *fakes) kmsCalls() map[string]int {
	m := map[string]int{}
	for _, e := range f.kms.Events() {
		m[strings.TrimSpace(e.Operation+" "+e.Context["purpose"])]++
	}
	f.kms.Forget()
	return m
}

var revealArgs = []string{"--reason", "investigation", "--note", "a look in a test"}

func (f *fakes) reveal(exit int, id string) string {
	f.Helper()
	return f.coffer(exit, append([]string{"value", "reveal", id}, revealArgs...)...)
}

// TestCallsOfCommands: what the commands cost of KMS and S3, counted by these. Each command opens the home's own key by one Decrypt.
func TestCallsOfCommands(t *testing.T) {
	f := onFakes(t, map[string]s3fake.Config{fakeBucket: {}})
	f.coffer(exitDone, "finding", "list") // makes the home's key
	const line = "0,nothing to see in this line of an object of which only the beginning matters\n"
	large := []byte(fakeTable + strings.Repeat(line, 24<<20/len(line)))
	for i, body := range [][]byte{[]byte(fakeTable), large} {
		id := fmt.Sprintf("f%d", i)
		event := f.put(fakeBucket, id+".csv", id, body, s3fake.Attrs{}, fakePlace)
		f.kms.Forget()
		f.s3.Forget()
		taken := f.elements("ingest", event)
		if got, want := f.kmsCalls(), map[string]int{"DescribeKey": 1, "Decrypt home": 1, "GenerateDataKey values": 1}; !maps.Equal(got, want) {
			t.Errorf("a finding of one value was taken in by %v, want %v", got, want)
		}
		var fetched int64
		for _, c := range f.s3.Calls() {
			if c.Op == "GetObject" {
				fetched += c.Out
			}
		}
		if shown, _ := taken[0]["fetched"].(float64); int64(shown) != fetched || fetched > min(64<<10, int64(len(body))) {
			t.Errorf("an object of %d bytes: ingest says that %v were fetched, S3 gave %d", len(body), shown, fetched)
		}
		f.reveal(exitDone, id)
		if got, want := f.kmsCalls(), map[string]int{"DescribeKey": 1, "Decrypt home": 1, "Decrypt values": 1}; !maps.Equal(got, want) {
			t.Errorf("a value was revealed by %v, want %v", got, want)
		}
	}
	var human bytes.Buffer
	event := f.put(fakeBucket, "h.csv", "h", []byte(fakeTable), s3fake.Attrs{}, fakePlace)
	if exit := run([]string{"ingest", event, "--home", f.home}, strings.NewReader(""), &human, &f.said); exit != exitDone ||
		!strings.Contains(human.String(), "were fetched") || !strings.Contains(human.String(), "for each value") {
		t.Errorf("ingest does not say what it fetched: exit %d, %s", exit, human.String())
	}
}

// TestNothingLeaksToAWS follows an object from event to certificate and then looks for its value, its name and its ETag where they have
// no business: in every byte of the tables, in all encryption contexts, tags, metadata and kept originals, and in what the commands said.
func TestNothingLeaksToAWS(t *testing.T) {
	f := onFakes(t, map[string]s3fake.Config{fakeBucket: {Versioning: s3fake.VersioningEnabled}})
	const name = "jane-roe-of-elm-street"
	body := []byte(fakeTable)
	event := f.put(fakeBucket, name+".csv", "f1", body, s3fake.Attrs{}, fakePlace)
	forms := map[string]string{"value": fakeCard, "its end": fakeCard[4:], "key": name, "bucket": fakeBucket}
	for what, b := range map[string][]byte{"value": []byte(fakeCard), "object": body} {
		m5, s2 := md5.Sum(b), sha256.Sum256(b)
		forms["MD5 of the "+what], forms["hexadecimal MD5 of the "+what] = string(m5[:]), hex.EncodeToString(m5[:])
		forms["SHA-256 of the "+what], forms["hexadecimal SHA-256 of the "+what] = string(s2[:]), hex.EncodeToString(s2[:])
	}
	absent := func(where string, b []byte, but ...string) {
		t.Helper()
		for what, form := range forms {
			if bytes.Contains(b, []byte(form)) && !slices.Contains(but, what) {
				t.Errorf("%s: the %s", where, what)
			}
		}
	}
	tables := func(when string) {
		n := 0
		f.scan(func(table, attribute string, value []byte) {
			n++
			absent(when+": "+table+", attribute "+attribute, value)
		})
		if n == 0 {
			t.Fatal("the tables are empty")
		}
	}
	f.coffer(exitDone, "ingest", event)
	f.reveal(exitDone, "f1")
	tables("taken in")
	plan := f.elements("remedy", "plan", "f1", "--action", "tokenise")[0]["plan"].(string)
	f.s3.FailNext("PutObject", s3fake.ResetAfter)
	f.coffer(exitDone, "remedy", "apply", plan)
	tables("fixed")
	for _, key := range f.s3.Keys("moontrust-originals") {
		absent("key of a kept original", []byte(key))
		for _, v := range f.s3.Versions("moontrust-originals", key) {
			absent("kept original", v.Bytes())
			absent("attributes of a kept original", fmt.Append(nil, v.Tags, v.Metadata, v.Headers))
		}
	}
	f.coffer(exitDone, "remedy", "purge", plan)
	f.coffer(exitDone, "remedy", "certificate", plan)
	tables("purged")
	for _, v := range f.s3.Versions(fakeBucket, name+".csv") {
		absent("tags and metadata of the object", fmt.Append(nil, v.Tags, v.Metadata))
		absent("what is left of the object", v.Bytes())
	}
	for _, b := range []string{fakeBucket, "moontrust-originals"} {
		if n := len(f.s3.Uploads(b)); n > 0 {
			t.Errorf("%d unfinished uploads in %s", n, b)
		}
	}
	for _, e := range f.kms.Events() {
		absent("encryption context", fmt.Append(nil, e.Context))
	}

	// Errors, as they are told: with permissions gone, and S3, KMS and the tables failing.
	f.said.Reset()
	f.s3.Deny("s3:GetObject", "s3:GetBucketVersioning")
	f.coffer(exitFailed, "remedy", "plan", "f1", "--action", "redact")
	f.s3.Allow("s3:GetObject", "s3:GetBucketVersioning")
	f.s3.Fault(func(op string, _ int) s3fake.Kind {
		if op == "HeadObject" {
			return s3fake.Reset
		}
		return s3fake.None
	})
	event = f.put(fakeBucket, name+"2.csv", "f2", body, s3fake.Attrs{}, fakePlace)
	f.coffer(exitFailed, "ingest", event)
	f.s3.Fault(nil)
	f.kms.Fail("AccessDeniedException", 1, "Decrypt")
	f.coffer(exitFailed, "ingest", event)
	absent("what the commands said", f.said.Bytes(), "key", "bucket")
	for _, said := range lines(t, f.said.String()) {
		// The name of the object that a command is about may lead its error; it never comes out of an adapter's.
		text := strings.TrimPrefix(said["error"].(string), "s3://"+fakeBucket+"/"+name+".csv: ")
		absent("an error", []byte(text))
	}
}

// TestRotateKMS: the wrapping key is replaced by another one in the configuration, the old one still opens, everything is wrapped anew,
// and then the old one is needed no more. At every step the values are there.
func TestRotateKMS(t *testing.T) {
	f := onFakes(t, map[string]s3fake.Config{fakeBucket: {}})
	f.coffer(exitDone, "ingest", f.put(fakeBucket, "a.csv", "f1", []byte(fakeTable), s3fake.Attrs{}, fakePlace))
	first := f.elements("key", "list")[0]["id"].(string)
	second, verify := f.newKey(), f.newKey()
	endpoint := "?endpoint=" + f.kmsURL

	f.configure("kms:" + second + endpoint)
	f.reveal(exitFailed, "f1")
	f.configure("kms:" + second + endpoint + "&verify=" + verify + "&old=" + first)
	f.reveal(exitDone, "f1")
	wraps := func() map[string]float64 {
		m := map[string]float64{}
		for _, k := range f.elements("key", "list") {
			m[k["id"].(string)] = k["wraps"].(float64)
		}
		return m
	}
	if got, want := wraps(), map[string]float64{first: 2, second: 0, verify: 0}; !maps.Equal(got, want) {
		t.Errorf("before the rotation: %v, want %v", got, want)
	}
	// Throttled in the middle, it is resumed.
	f.kms.Fail("AccessDeniedException", 1, "Encrypt")
	f.coffer(exitFailed, "key", "rotate", "--yes")
	f.reveal(exitDone, "f1")
	f.elements("key", "rotate", "--yes")
	if got, want := wraps(), map[string]float64{first: 0, second: 2, verify: 2}; !maps.Equal(got, want) {
		t.Errorf("after the rotation: %v, want %v", got, want)
	}
	f.configure("kms:" + second + endpoint + "&verify=" + verify)
	if out := f.reveal(exitDone, "f1"); !strings.Contains(out, fakeCard) {
		t.Error("the value did not come back")
	}
	plan := f.elements("remedy", "plan", "f1", "--action", "redact")[0]["plan"].(string)
	f.coffer(exitDone, "remedy", "apply", plan)
	f.coffer(exitDone, "check")
	// New material behind the same keys.
	f.elements("key", "rotate", "--on-demand", "--yes")
	f.reveal(exitDone, "f1")
}

// TestClosedBuckets: what S3 does not let Coffer do to one object waits, and keeps nothing else from being done.
func TestClosedBuckets(t *testing.T) {
	f := onFakes(t, map[string]s3fake.Config{
		fakeBucket: {}, "of-another-account": {Owner: "999999999999"}, "requester-pays": {Owner: "999999999999", RequesterPays: true},
	})
	f.objects += "&owner=" + s3fake.Account
	f.configure("kms:alias/coffer?endpoint=" + f.kmsURL)
	body := []byte(fakeTable)
	events := []string{
		f.put("of-another-account", "a.csv", "foreign", body, s3fake.Attrs{}, fakePlace),
		f.put(fakeBucket, "cold.csv", "cold", body, s3fake.Attrs{StorageClass: "GLACIER"}, fakePlace),
		f.put(fakeBucket, "a.csv", "ours", body, s3fake.Attrs{}, fakePlace),
	}
	reasons := func(args ...string) map[string]string {
		t.Helper()
		m := map[string]string{}
		for _, l := range f.elements(args...) {
			m[l["finding"].(string)] = l["status"].(string) + ": " + l["reason"].(string)
		}
		return m
	}
	got := reasons(append([]string{"ingest"}, events...)...)
	if !strings.HasPrefix(got["foreign"], "unsealed: parked: ") || !strings.Contains(got["foreign"], "s3:GetBucketVersioning is not permitted") {
		t.Errorf("an object of another account: %s", got["foreign"])
	}
	if !strings.Contains(got["cold"], "parked: the object is archived") || !strings.HasPrefix(got["ours"], "sealed") {
		t.Errorf("findings beside one that is refused: %v", got)
	}
	f.said.Reset()
	f.coffer(exitFailed, "remedy", "plan", "cold", "--action", "redact")
	if !strings.Contains(f.said.String(), "the object is archived") {
		t.Errorf("a plan for an archived object: %s", f.said.String())
	}

	// Without the account in the configuration the other bucket is read; one whose requester pays only when that is agreed to.
	f.objects = strings.TrimSuffix(f.objects, "&owner="+s3fake.Account)
	f.configure("kms:alias/coffer?endpoint=" + f.kmsURL)
	payer := f.put("requester-pays", "a.csv", "payer", body, s3fake.Attrs{}, fakePlace)
	got = reasons("ingest", events[0], payer)
	if !strings.HasPrefix(got["foreign"], "sealed") || !strings.HasPrefix(got["payer"], "unsealed: parked") {
		t.Errorf("taken in again: %v", got)
	}
	f.objects += "&requester-pays=true"
	f.configure("kms:alias/coffer?endpoint=" + f.kmsURL)
	if got = reasons("ingest", payer); !strings.HasPrefix(got["payer"], "sealed") {
		t.Errorf("the requester pays: %v", got)
	}

	// Tags are no condition of anything: without the permission the values are sealed, and the tags come when it is there.
	f.s3.Deny("s3:PutObjectTagging")
	untagged := f.put(fakeBucket, "b.csv", "untagged", body, s3fake.Attrs{}, fakePlace)
	reasons("ingest", untagged)
	shown := f.elements("finding", "show", "untagged")[0]
	if shown["tagged"] != false || !strings.Contains(fmt.Sprint(shown["tagReason"]), "s3:PutObjectTagging") {
		t.Errorf("an object that may not be tagged: tagged %v, %v", shown["tagged"], shown["tagReason"])
	}
	f.s3.Allow("s3:PutObjectTagging")
	reasons("ingest", untagged)
	if shown = f.elements("finding", "show", "untagged")[0]; shown["tagged"] != true {
		t.Errorf("the permission is back: tagged %v, %v", shown["tagged"], shown["tagReason"])
	}

	// What goes with a fix is said before.
	annotated := f.put(fakeBucket, "c.csv", "annotated", body, s3fake.Attrs{Annotations: map[string][]byte{"origin": []byte("a mainframe")}}, fakePlace)
	reasons("ingest", annotated)
	plan := f.elements("remedy", "plan", "annotated", "--action", "redact")[0]
	if !strings.Contains(fmt.Sprint(plan["residual"]), "annotation origin") || !strings.Contains(fmt.Sprint(plan["warnings"]), "annotations do not come along") {
		t.Errorf("a plan for an annotated object: residual %v, warnings %v", plan["residual"], plan["warnings"])
	}
}

// TestDoctorAtTheSideDoor: the doctor lists who reads sensitive objects without Coffer, calls nothing well that it does not know, and is content
// when the policy of `coffer sidedoor policy` is put.
func TestDoctorAtTheSideDoor(t *testing.T) {
	f := onFakes(t, map[string]s3fake.Config{fakeBucket: {}})
	f.coffer(exitDone, "finding", "list")
	say := func() (levels map[string]int, all string) {
		t.Helper()
		levels = map[string]int{}
		for _, d := range f.elements("doctor") {
			if d["about"] == "side door" {
				levels[d["level"].(string)]++
				all += fmt.Sprintln(d["found"])
			}
		}
		return levels, all
	}
	put := func(policy string) {
		f.s3.Configure(fakeBucket, func(c *s3fake.Config) { c.Documents = map[string]string{"policy": policy} })
	}
	if levels, all := say(); levels["ok"] != 0 || !strings.Contains(all, "policies of principals and of the organisation are not known") {
		t.Errorf("a bucket without a policy: %v %s", levels, all)
	}
	put(`{"Statement":[{"Sid":"Partner","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:role/partner"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::` + fakeBucket + `/*"}]}`)
	if levels, all := say(); levels["ok"] != 0 || !strings.Contains(all, "444455556666:role/partner may read sensitive objects without Coffer (s3:GetObject, by Partner)") {
		t.Errorf("a partner: %v %s", levels, all)
	}
	f.s3.Deny("s3:GetBucketPolicy", "s3:GetBucketAcl", "s3:GetBucketOwnershipControls")
	if levels, all := say(); levels["ok"] != 0 || !strings.Contains(all, "whoever the policy of the bucket names: not known") {
		t.Errorf("a policy that may not be read: %v %s", levels, all)
	}
	f.s3.Allow("s3:GetBucketPolicy", "s3:GetBucketAcl", "s3:GetBucketOwnershipControls")
	put(f.coffer(exitDone, "sidedoor", "policy", "--bucket", fakeBucket, "--coffer", "arn:aws:iam::111122223333:role/coffer-remedy"))
	if levels, all := say(); levels["ok"] != 1 || !strings.Contains(all, "denies sensitive objects to all whom it does not name") {
		t.Errorf("the door is closed: %v %s", levels, all)
	}

	// The simulation asks the same S3 for what no file gives.
	details := filepath.Join(t.TempDir(), "iam.json")
	if err := os.WriteFile(details, []byte(`{"RoleDetailList":[{"Arn":"arn:aws:iam::`+s3fake.Account+`:role/etl","RolePolicyList":[{"PolicyName":"p",
		"PolicyDocument":{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}}]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	put(`{"Statement":[{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::` + s3fake.Account + `:role/etl"},"Action":"s3:GetObject","Resource":"*"}]}`)
	simulate := []string{"sidedoor", "simulate", "--bucket", fakeBucket, "--coffer", "arn:aws:iam::111122223333:role/coffer-remedy", "--iam", details, "--account"}
	if got := f.elements(append(simulate, s3fake.Account)...); len(got) != 0 {
		t.Errorf("the policy that stands there lets nobody in: %v", got)
	}
	if got := f.elements(append(simulate, s3fake.Account, "--offline")...); len(got) == 0 || got[0]["before"] != "yes" {
		t.Errorf("without a question to S3: %v", got)
	}
	for _, c := range f.elements(append(simulate, "999999999999")...) {
		if c["before"] != "unknown" || c["after"] != "unknown" {
			t.Errorf("a bucket that is not the account's: %v", c)
		}
	}
}

// TestDoctorOnAWS: where a key, a table or a bucket keeps the home shut, the doctor says which one; a backup and a dry setup say what is.
func TestDoctorOnAWS(t *testing.T) {
	f := onFakes(t, map[string]s3fake.Config{fakeBucket: {}})
	f.coffer(exitDone, "finding", "list")
	ills := func() map[string]string {
		t.Helper()
		out, _ := f.try("doctor")
		m := map[string]string{}
		for _, d := range lines(t, out) {
			if d["level"] == "fail" {
				m[d["about"].(string)] += d["found"].(string) + "\n"
			}
		}
		return m
	}
	if got := ills(); len(got) > 0 {
		t.Errorf("of a sound installation: %v", got)
	}
	key := f.elements("key", "list")[0]["id"].(string)
	if _, err := f.kmsClient().DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &key}); err != nil {
		t.Fatal(err)
	}
	if got := ills(); !strings.Contains(got["kms"], "is Disabled and cannot be used") || got["tables"] != "" || got["originals"] != "" {
		t.Errorf("the key is disabled: %v", got)
	}
	if _, err := f.kmsClient().EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &key}); err != nil {
		t.Fatal(err)
	}
	f.s3.Configure("moontrust-originals", func(c *s3fake.Config) { c.Versioning = s3fake.VersioningSuspended })
	if got := ills(); !strings.Contains(got["originals"], "is or was versioned") || got["kms"] != "" || got["tables"] != "" {
		t.Errorf("the bucket of the originals is versioned: %v", got)
	}
	f.coffer(exitFailed, "finding", "list")
	f.s3.Configure("moontrust-originals", func(c *s3fake.Config) { c.Versioning = s3fake.VersioningOff })

	unknown := "kms:" + strings.Replace(key, key[len(key)-12:], "000000000000", 1) + "?endpoint=" + f.kmsURL
	steps, _ := f.try("setup", "--dry-run", "--keys", unknown)
	for _, s := range lines(t, steps) {
		if want := map[bool]string{true: "missing", false: "there"}[s["what"] == "key"]; s["status"] != want {
			t.Errorf("dry setup with a key that is not there: %v is %v", s["what"], s["status"])
		}
	}
	f.said.Reset()
	f.coffer(exitFailed, "backup", filepath.Join(t.TempDir(), "backup"))
	if !strings.Contains(f.said.String(), "point-in-time recovery") {
		t.Errorf("backup does not say what instead: %s", f.said.String())
	}

	table, off := app.KeyTable(f.table), false
	if _, err := f.tables().UpdateTable(t.Context(), &dynamodb.UpdateTableInput{TableName: &table, DeletionProtectionEnabled: &off}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.tables().DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &table}); err != nil {
		t.Fatal(err)
	}
	if got := ills(); !strings.Contains(got["tables"], table+": ") || got["kms"] != "" || got["originals"] != "" {
		t.Errorf("the key table is gone: %v", got)
	}
}
