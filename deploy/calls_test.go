package deploy_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/audit"
	"coffer/demo"
	"coffer/internal/awsfake/kmsfake"
	"coffer/internal/awsfake/maciefake"
	"coffer/internal/awsfake/s3fake"
	"coffer/internal/awsmeter"
	"coffer/internal/iam"
	"coffer/internal/lookalike"
	"coffer/macie"
	"coffer/remedy"
	"coffer/triage"
)

var update = flag.Bool("update", false, "write calls.json anew")

// Call is one kind of call that a function makes: which action of IAM it needs on what.
type Call struct {
	By     string `json:"by"`
	Action string `json:"action"`
	On     string `json:"on"` // a name of places
	// Purpose is that of the encryption context, of calls to KMS.
	Purpose string `json:"purpose,omitempty"`
}

func compareCalls(a, b Call) int {
	return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.Action, b.Action), cmp.Compare(a.On, b.On), cmp.Compare(a.Purpose, b.Purpose))
}

// places are what calls are about, with the ARN in the template.
var places = map[string]func(s *stack) string{
	"objects":          func(*stack) string { return "arn:aws:s3:::moontrust-statements" },
	"objects/*":        func(*stack) string { return "arn:aws:s3:::moontrust-statements/*" },
	"results":          func(*stack) string { return "arn:aws:s3:::moontrust-macie-results" },
	"results/*":        func(*stack) string { return "arn:aws:s3:::moontrust-macie-results/*" },
	"originals bucket": func(s *stack) string { return s.attribute("OriginalsBucket", "Arn").(string) },
	"originals":        func(s *stack) string { return s.attribute("OriginalsBucket", "Arn").(string) + "/*" },
	"log bucket":       func(s *stack) string { return s.attribute("LogBucket", "Arn").(string) },
	"log":              func(s *stack) string { return s.attribute("LogBucket", "Arn").(string) + "/*" },
	"data table":       func(s *stack) string { return s.attribute("DataTable", "Arn").(string) },
	"key table":        func(s *stack) string { return s.attribute("KeyTable", "Arn").(string) },
	"reveal key":       func(s *stack) string { return s.attribute("RevealKey", "Arn").(string) },
	"verify key":       func(s *stack) string { return s.attribute("VerifyKey", "Arn").(string) },
	"macie":            func(*stack) string { return "*" },
	"identifiers": func(*stack) string {
		return "arn:aws:macie2:" + region + ":" + account + ":custom-data-identifier/*"
	},
	"intake queue":    func(s *stack) string { return s.attribute("IntakeQueue", "Arn").(string) },
	"work queue":      func(s *stack) string { return s.attribute("WorkQueue", "Arn").(string) },
	"remedy function": func(s *stack) string { return s.attribute("RemedyFunction", "Arn").(string) },
	"verify function": func(s *stack) string { return s.attribute("VerifyFunction", "Arn").(string) },
	"bucket keys":     func(*stack) string { return "arn:aws:kms:eu-central-1:111122223333:key/objects" },
	"intake log":      func(s *stack) string { return s.attribute("IntakeLogs", "Arn").(string) },
	"api log":         func(s *stack) string { return s.attribute("ApiLogs", "Arn").(string) },
	"remedy log":      func(s *stack) string { return s.attribute("RemedyLogs", "Arn").(string) },
	"verify log":      func(s *stack) string { return s.attribute("VerifyLogs", "Arn").(string) },
	"schedule log":    func(s *stack) string { return s.attribute("ScheduleLogs", "Arn").(string) },
}

// roles are the roles of the functions.
var roles = map[string]string{
	"intake": "IntakeRole", "api": "ApiRole", "remedy": "RemedyRole", "verify": "VerifyRole", "schedule": "ScheduleRole", "worker": "WorkerRole",
}

// byAWS are calls that no adapter makes and a role needs all the same, with who makes them.
var byAWS = func() (out []Call) {
	for _, f := range []string{"intake", "api", "remedy", "verify", "schedule"} {
		// Lambda writes what a function says into its log group, as the function (Lambda developer guide, execution role).
		out = append(out, Call{By: f, Action: "logs:CreateLogStream", On: f + " log"}, Call{By: f, Action: "logs:PutLogEvents", On: f + " log"})
	}
	for f, q := range map[string]string{"intake": "intake queue", "remedy": "work queue"} {
		// Lambda's pollers take messages as the function (Lambda developer guide, SQS event source, permissions).
		for _, a := range []string{"ReceiveMessage", "DeleteMessage", "GetQueueAttributes"} {
			out = append(out, Call{By: f, Action: "sqs:" + a, On: q})
		}
	}
	// Functions wake each other.
	for _, f := range []string{"intake", "api", "schedule"} {
		out = append(out, Call{By: f, Action: "sqs:SendMessage", On: "work queue"}, Call{By: f, Action: "sqs:SendMessage", On: "intake queue"})
	}
	out = append(out, Call{By: "api", Action: "lambda:InvokeFunction", On: "remedy function"})
	for _, f := range []string{"remedy", "worker"} {
		out = append(out, Call{By: f, Action: "lambda:InvokeFunction", On: "verify function"})
	}
	// S3 asks KMS for whoever reads and writes an object that is encrypted under a key of the account (S3 user guide, SSE-KMS).
	for _, f := range []string{"intake", "remedy", "worker"} {
		out = append(out, Call{By: f, Action: "kms:Decrypt", On: "bucket keys"})
	}
	for _, f := range []string{"remedy", "worker"} {
		out = append(out, Call{By: f, Action: "kms:GenerateDataKey", On: "bucket keys"})
	}
	return out
}()

// elsewhere are calls that the story above does not come to, each with where the program makes it.
var elsewhere = func() (out []Call) {
	add := func(by, on string, actions ...string) {
		for _, a := range actions {
			out = append(out, Call{By: by, Action: a, On: on})
		}
	}
	// identity: sessions and tokens end. grant: a request is used once, and only while it stands.
	add("api", "data table", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem")
	// job: a lease that is given back.
	add("intake", "data table", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem")
	for _, f := range []string{"intake", "worker"} {
		// macie/live: a custom identifier that the configuration does not have.
		add(f, "identifiers", "macie2:GetCustomDataIdentifier")
	}
	// job: what is handed out is written only while nobody holds its lease.
	add("schedule", "data table", "dynamodb:ConditionCheckItem")
	// pipeline/reconcile: what Macie lists and did not come in; whether Macie is enabled and where results go.
	add("intake", "macie", "macie2:GetMacieSession", "macie2:GetClassificationExportConfiguration")
	for _, f := range []string{"intake", "remedy", "worker"} {
		// object/s3/attrs: what an object has where it is versioned, can be locked, or has an ACL.
		add(f, "objects/*", "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging",
			"s3:GetObjectAcl", "s3:GetObjectVersionAcl", "s3:GetObjectRetention", "s3:GetObjectLegalHold")
	}
	for _, f := range []string{"remedy", "worker"} {
		// object/s3/upload, write and copies: parts of large objects, uploads that were left, annotations, an ACL that is kept, versions.
		add(f, "objects/*", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:GetObjectAnnotation", "s3:ListObjectAnnotations", "s3:PutObjectAcl",
			"s3:DeleteObject", "s3:DeleteObjectVersion")
		add(f, "originals", "s3:AbortMultipartUpload")
		add(f, "objects", "s3:ListBucketVersions")
	}
	return out
}()

// recorder stands before the fakes and notes the calls of one function.
type recorder struct {
	by   string
	keys map[string]string // ARN to place
	mu   sync.Mutex
	seen map[Call]bool
	// unknown are requests of which it is not known what they need.
	unknown map[string]bool
}

func (r *recorder) note(on, purpose string, actions ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range actions {
		r.seen[Call{By: r.by, Action: a, On: on, Purpose: purpose}] = true
	}
}

// over is a server whose requests are noted before next answers them.
func (r *recorder) over(t testing.TB, next http.Handler) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		r.request(req, body)
		next.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func (r *recorder) request(req *http.Request, body []byte) {
	op := awsmeter.Name(req)
	switch op.Service {
	case "s3":
		r.s3(req, op.Name)
	case "kms":
		var in struct {
			KeyId             string
			EncryptionContext map[string]string
		}
		_ = json.Unmarshal(body, &in) // what is no JSON names no key, which is unknown below
		r.note(cmp.Or(r.keys[in.KeyId], "unknown key"), in.EncryptionContext["purpose"], "kms:"+op.Name)
	case "dynamodb":
		r.dynamo(op.Name, body)
	case "macie2":
		on := "macie"
		if op.Name == "GetCustomDataIdentifier" {
			on = "identifiers"
		}
		r.note(on, "", "macie2:"+op.Name)
	default:
		r.strange(op.Service + " " + op.Name)
	}
}

func (r *recorder) strange(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown[what] = true
}

// dynamo: a transaction needs the actions of its parts (DynamoDB developer guide, IAM and transactions).
func (r *recorder) dynamo(name string, body []byte) {
	on := func(table string) string {
		if strings.HasSuffix(table, "-keys") {
			return "key table"
		}
		return "data table"
	}
	var in struct {
		TableName     string
		TransactItems []struct {
			Put, Delete, Update, ConditionCheck *struct{ TableName string }
		}
	}
	_ = json.Unmarshal(body, &in) // see above
	if name != "TransactWriteItems" {
		r.note(on(in.TableName), "", "dynamodb:"+name)
		return
	}
	for _, i := range in.TransactItems {
		switch {
		case i.Put != nil:
			r.note(on(i.Put.TableName), "", "dynamodb:PutItem")
		case i.Delete != nil:
			r.note(on(i.Delete.TableName), "", "dynamodb:DeleteItem")
		case i.Update != nil:
			r.note(on(i.Update.TableName), "", "dynamodb:UpdateItem")
		case i.ConditionCheck != nil:
			r.note(on(i.ConditionCheck.TableName), "", "dynamodb:ConditionCheckItem")
		}
	}
}

// ofBucket are the operations whose action is about the bucket (service authorization reference, Amazon S3).
var ofBucket = map[string]string{
	"ListObjectsV2": "s3:ListBucket", "ListObjectVersions": "s3:ListBucketVersions", "ListMultipartUploads": "s3:ListBucketMultipartUploads",
	"GetBucketVersioning": "s3:GetBucketVersioning", "GetBucketOwnershipControls": "s3:GetBucketOwnershipControls",
	"GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration", "GetBucketReplication": "s3:GetReplicationConfiguration", "HeadBucket": "s3:ListBucket",
	"GetBucketPolicy": "s3:GetBucketPolicy", "GetBucketPolicyStatus": "s3:GetBucketPolicyStatus",
	"GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock", "GetBucketAcl": "s3:GetBucketAcl",
}

// ofObject are those about an object; with a version, the second.
var ofObject = map[string][2]string{
	"GetObject": {"s3:GetObject", "s3:GetObjectVersion"}, "HeadObject": {"s3:GetObject", "s3:GetObjectVersion"},
	"GetObjectTagging": {"s3:GetObjectTagging", "s3:GetObjectVersionTagging"}, "PutObjectTagging": {"s3:PutObjectTagging", "s3:PutObjectVersionTagging"},
	"DeleteObject": {"s3:DeleteObject", "s3:DeleteObjectVersion"}, "GetAcl": {"s3:GetObjectAcl", "s3:GetObjectVersionAcl"},
	"PutObject": {"s3:PutObject"}, "CreateMultipartUpload": {"s3:PutObject"}, "UploadPart": {"s3:PutObject"}, "CompleteMultipartUpload": {"s3:PutObject"},
	"UploadPartCopy": {"s3:PutObject"}, "CopyObject": {"s3:PutObject"},
	"AbortMultipartUpload": {"s3:AbortMultipartUpload"}, "ListParts": {"s3:ListMultipartUploadParts"},
	"GetObjectRetention": {"s3:GetObjectRetention", "s3:GetObjectRetention"}, "GetObjectLegalHold": {"s3:GetObjectLegalHold", "s3:GetObjectLegalHold"},
	"GetObjectAnnotations": {"s3:ListObjectAnnotations", "s3:ListObjectAnnotations"}, "GetObjectAnnotation": {"s3:ListObjectAnnotations", "s3:ListObjectAnnotations"},
}

func (r *recorder) s3(req *http.Request, name string) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	if name == "GetAcl" && key == "" {
		name = "GetBucketAcl"
	}
	objects, of := "objects/*", "objects"
	switch bucket {
	case "moontrust-originals":
		objects, of = "originals", "originals bucket"
	case "moontrust-log":
		objects, of = "log", "log bucket"
	case demo.Results:
		objects, of = "results/*", "results"
	}
	if a, ok := ofBucket[name]; ok {
		r.note(of, "", a)
		return
	}
	a, ok := ofObject[name]
	if !ok {
		r.strange("s3 " + name)
		return
	}
	if req.URL.Query().Has("versionId") {
		r.note(objects, "", a[1])
	} else {
		r.note(objects, "", a[0])
	}
	if name == "HeadObject" || name == "GetObject" {
		// Who may not list is told 403 where nothing is (S3 API reference, HeadObject), and an object that is gone looks like one that is forbidden.
		r.note(of, "", "s3:ListBucket")
	}
	for header, action := range map[string]string{
		"X-Amz-Tagging": "s3:PutObjectTagging", "X-Amz-Acl": "s3:PutObjectAcl", "X-Amz-Object-Lock-Mode": "s3:PutObjectRetention",
		"X-Amz-Object-Lock-Legal-Hold": "s3:PutObjectLegalHold",
	} {
		if req.Header.Get(header) != "" {
			r.note(objects, "", action)
		}
	}
	if source := req.Header.Get("X-Amz-Copy-Source"); source != "" {
		if strings.Contains(source, "versionId=") {
			r.note(objects, "", "s3:GetObjectVersion", "s3:GetObjectVersionTagging")
		} else {
			r.note(objects, "", "s3:GetObject", "s3:GetObjectTagging")
		}
	}
}

// account of AWS: the fakes, with MoonTrust's objects and findings.
type cloud struct {
	t      testing.TB
	s3     *s3fake.Server
	kms    *kmsfake.Fake
	macie  *maciefake.Fake
	dynamo http.Handler
	keys   map[string]string // place by ARN
	reveal string
	verify string
	seen   map[Call]bool
	now    time.Time
	demo   *demo.Scenario
	// through, where not nil, stands between the recorders and the fakes.
	through func(http.Handler) http.Handler
}

func newCloud(t testing.TB) *cloud {
	for _, v := range lookalike.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", s3fake.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3fake.SecretKey)
	to, err := url.Parse(lookalike.DynamoDB(t))
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, s3: s3fake.New(), kms: &kmsfake.Fake{}, macie: maciefake.New(), dynamo: httputil.NewSingleHostReverseProxy(to),
		keys: map[string]string{}, seen: map[Call]bool{}, now: time.Now().UTC(), demo: demo.New()}
	for _, name := range []string{demo.Statements, demo.Exports, demo.Results} {
		conf := s3fake.Config{}
		if name == demo.Exports {
			// Everything that a bucket can have: what its objects have is asked for.
			conf = s3fake.Config{Versioning: s3fake.VersioningEnabled, ObjectLock: true, Ownership: "ObjectWriter"}
		}
		c.s3.CreateBucket(name, conf)
	}
	for _, o := range c.demo.Objects {
		c.s3.Put(o.Bucket, o.Key, o.Body, s3fake.Attrs{Tags: []s3fake.Tag{{Key: "team", Value: "payments"}}})
	}
	client := awskms.NewFromConfig(aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider(s3fake.AccessKey, s3fake.SecretKey, ""),
		HTTPClient: &http.Client{Transport: c.kms.Transport()},
	}, func(o *awskms.Options) { o.BaseEndpoint = aws.String("https://kms.fake.test") })
	for _, k := range []struct {
		place string
		to    *string
	}{{"reveal key", &c.reveal}, {"verify key", &c.verify}} {
		made, err := client.CreateKey(t.Context(), &awskms.CreateKeyInput{})
		if err != nil {
			t.Fatal(err)
		}
		*k.to = *made.KeyMetadata.Arn
		c.keys[*k.to] = k.place
	}
	return c
}

// options are those of a function whose calls r notes.
func (c *cloud) options(r *recorder, table string) app.Options {
	home := c.t.TempDir()
	through := c.through
	if through == nil {
		through = func(h http.Handler) http.Handler { return h }
	}
	s3, kms, dynamo, mac := r.over(c.t, through(c.s3)), r.over(c.t, through(c.kms)), r.over(c.t, through(c.dynamo)), r.over(c.t, c.macie)
	config := c.demo.Config + "\nbuckets: [" + demo.Statements + ", " + demo.Exports + "]\nmacie:\n  endpoint: " + mac + "\n  results: s3://" + demo.Results + "\n"
	if err := os.WriteFile(filepath.Join(home, "config.yaml"), []byte(config), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return app.Options{
		Home: home, Objects: "s3:?endpoint=" + s3, Originals: "s3:moontrust-originals?endpoint=" + s3, Log: "s3:moontrust-log?retention=1d&endpoint=" + s3,
		Keys: "kms:" + c.reveal + "?verify=" + c.verify + "&endpoint=" + kms, Store: "dynamodb:" + table + "?endpoint=" + dynamo,
		Role: role(r.by), Now: func() time.Time { return c.now },
	}
}

// setup makes the tables and buckets.
func (c *cloud) setup(table string) error {
	nobody := &recorder{by: "setup", keys: c.keys, seen: map[Call]bool{}, unknown: map[string]bool{}}
	steps, err := app.Setup(c.t.Context(), c.options(nobody, table), false)
	for _, s := range steps {
		if err == nil && s.Status == app.StepFailed {
			err = fmt.Errorf("%s %s: %s", s.What, s.Name, s.Reason)
		}
	}
	return err
}

// role is what the function of a name opens; setup is none.
func role(by string) app.Role {
	if by == "setup" || by == "whole" {
		return app.Whole
	}
	return app.Role(by)
}

// function is one of the functions, open, and who asks it.
type function struct {
	*app.App
	*recorder
	c *cloud
}

func (c *cloud) open(by, table string) *function {
	c.t.Helper()
	r := &recorder{by: by, keys: c.keys, seen: map[Call]bool{}, unknown: map[string]bool{}}
	a, err := app.Open(c.t.Context(), c.options(r, table))
	if err != nil {
		c.t.Fatalf("%s: %v", by, err)
	}
	f := &function{a, r, c}
	c.t.Cleanup(func() { _ = a.Close() }) // ended already, where the test came to its end
	return f
}

func (f *function) ask() access.Ask {
	caller, err := f.Operator()
	if err != nil {
		f.c.t.Fatal(err)
	}
	return access.Ask{Caller: caller, Context: access.Context{
		Now: f.c.now, Local: true, Request: "test", Reason: "investigation", Note: "to see what the functions ask for"}}
}

// end closes the function, which is when its last calls come, and keeps what it asked for.
func (f *function) end() {
	if err := f.Close(); err != nil {
		f.c.t.Errorf("%s: %v", f.by, err)
	}
	for what := range f.unknown {
		f.c.t.Errorf("%s makes a call of which it is not known what it needs: %s", f.by, what)
	}
	for call := range f.seen {
		f.c.seen[call] = true
	}
}

// record runs MoonTrust's findings through the functions, each with what it is there for, and returns the calls.
func record(t testing.TB) []Call {
	const table = "deploy-calls"
	c := newCloud(t)
	ctx := t.Context()
	if err := c.setup(table); err != nil {
		t.Fatal(err)
	}
	schedule := c.open("schedule", table) // makes the installation's key and that of the log
	intake, api, fix, verify := c.open("intake", table), c.open("api", table), c.open("remedy", table), c.open("verify", table)
	fix.Remedy.Verifier = verify.Vault

	take := func(f *function, docs []demo.Document) (ids []string) {
		for _, d := range docs {
			for doc, err := range macieDocuments(ctx, d.Body) {
				if err != nil {
					continue // a document that is none, which the scenario has, too
				}
				res, err := f.Pipeline.TakeDocument(ctx, f.ask(), doc, coffer.OriginOperator, "test")
				if err == nil && res.Sealed > 0 && !slices.Contains(ids, res.Finding) {
					ids = append(ids, res.Finding)
				}
			}
		}
		return ids
	}
	for _, d := range c.demo.Findings {
		for doc, err := range macieDocuments(ctx, d.Body) {
			if err == nil && doc.Finding != nil {
				c.macie.Put(macie.Event(*doc.Finding))
			}
		}
	}
	var odd, even []demo.Document
	for i, d := range c.demo.Findings {
		if i%2 == 0 {
			even = append(even, d)
		} else {
			odd = append(odd, d)
		}
	}
	ids := take(intake, even)
	if len(ids) < 4 {
		t.Fatalf("%d findings are sealed", len(ids))
	}

	if _, err := api.Vault.Reveal(ctx, api.ask(), ids[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Desk.List(ctx, api.ask(), triage.Filter{}); err != nil {
		t.Fatal(err)
	}

	work := func(f *function, ids []string) {
		actions := []remedy.Action{remedy.Redact, remedy.Mask, remedy.Tokenise, remedy.Quarantine, remedy.Delete}
		for i, id := range ids {
			g, err := f.Remedy.Groups(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			p, err := f.Remedy.Plan(ctx, f.ask(), g[0], remedy.Options{Action: actions[i%len(actions)]})
			if err != nil {
				continue // nothing to fix in this one
			}
			if p, err = f.Remedy.Apply(ctx, f.ask(), p.ID, remedy.Closing{}); err != nil {
				continue
			}
			switch i % 3 {
			case 0:
				_, _ = f.Remedy.Undo(ctx, f.ask(), p.ID)
			case 1:
				_, _ = f.Remedy.Purge(ctx, f.ask(), p.ID, remedy.PurgeOptions{Values: true})
			}
		}
	}
	work(fix, ids)
	c.now = c.now.Add(30 * 24 * time.Hour)
	if _, err := fix.Remedy.EndGrace(ctx, fix.ask()); err != nil {
		t.Fatal(err)
	}

	// What the doctor of the function api asks the function remedy for.
	look := `{"look":{"at":"sharing","object":{"bucket":"` + demo.Exports + `"}}}`
	if got, err := fix.Answer(ctx, []byte(look)); err != nil || !bytes.Contains(got, []byte(`"sharing"`)) {
		t.Fatalf("look at a bucket: %s, %v", got, err)
	}

	if err := schedule.Log.Sequence(ctx); err != nil {
		t.Fatal(err)
	}
	// schedule hands it out, intake does it.
	if err := intake.Reconcile(ctx, intake.ask(), time.Hour); err != nil {
		t.Fatal(err)
	}

	if _, err := audit.Verify(ctx, api.LogFiles(), audit.VerifyOptions{Key: api.Log.VerifierKey()}); err != nil {
		t.Fatal(err)
	}

	worker := c.open("worker", table)
	worker.Remedy.Verifier = verify.Vault
	work(worker, take(worker, odd))
	for _, f := range []*function{worker, intake, api, fix, verify, schedule} {
		f.end()
	}
	var out []Call
	for call := range c.seen {
		out = append(out, call)
	}
	slices.SortFunc(out, compareCalls)
	return out
}

func macieDocuments(ctx context.Context, body []byte) func(func(macie.Document, error) bool) {
	return macie.Decode(ctx, bytes.NewReader(body))
}

// TestCalls records what each function asks of AWS and compares it with calls.json; with -update it writes the file.
func TestCalls(t *testing.T) {
	got := record(t)
	if *update {
		var b bytes.Buffer
		for i, c := range got {
			line, _ := json.Marshal(c)
			b.WriteString(map[bool]string{true: "[\n  ", false: ",\n  "}[i == 0])
			b.Write(line)
		}
		b.WriteString("\n]\n")
		if err := os.WriteFile("calls.json", b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := recorded(t)
	for _, c := range got {
		if !slices.Contains(want, c) {
			t.Errorf("new, look at it and run with -update: %+v", c)
		}
	}
	for _, c := range want {
		if !slices.Contains(got, c) {
			t.Errorf("is not made any more, run with -update: %+v", c)
		}
	}
}

func recorded(t testing.TB) (out []Call) {
	t.Helper()
	b, err := os.ReadFile("calls.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// unpermitted are the calls that the stack does not permit, with what the evaluation says.
func unpermitted(s *stack, calls []Call) (out []string) {
	for _, c := range calls {
		if d := s.decide(c); d.Allowed != iam.Yes {
			out = append(out, c.By+": "+c.Action+" on "+c.On+" "+c.Purpose+": "+d.Allowed.String()+" "+strings.Join(append(d.By, d.Unknown...), ", "))
		}
	}
	return out
}

// decide asks the policies of the function's role and of the key or bucket.
func (s *stack) decide(c Call) iam.Decision {
	role := s.attribute(roles[c.By], "Arn").(string)
	p := iam.Policies{Identity: s.role(roles[c.By]), Owner: account}
	r := iam.Request{
		Principal: iam.Principal{ARN: role, Account: account}, Action: c.Action, Resource: places[c.On](s),
		Keys: map[string][]string{"aws:securetransport": {"true"}, "aws:requestedregion": {region}, "kms:viaservice": nil},
	}
	switch c.On {
	case "reveal key", "verify key":
		id := map[string]string{"reveal key": "RevealKey", "verify key": "VerifyKey"}[c.On]
		d := s.policy(s.resources[id].properties["KeyPolicy"])
		p.Resource = &d
		r.Keys["kms:encryptioncontext:app"], r.Keys["kms:encryptioncontext:purpose"] = []string{"coffer"}, []string{c.Purpose}
	case "bucket keys":
		r.Keys["kms:viaservice"] = []string{"s3." + region + ".amazonaws.com"}
	case "originals", "originals bucket":
		d := s.policy(s.resources["OriginalsPolicy"].properties["PolicyDocument"])
		p.Resource = &d
	case "log", "log bucket":
		d := s.policy(s.resources["LogPolicy"].properties["PolicyDocument"])
		p.Resource = &d
	}
	return p.Decide(r)
}

// unused are the actions of statements that permit what no call needs.
func unused(s *stack, calls []Call) (out []string) {
	used := func(by string, st iam.Statement, action string) bool {
		return slices.ContainsFunc(calls, func(c Call) bool {
			if c.Action != action || by != "" && c.By != by {
				return false
			}
			one := st
			one.Action = []string{action}
			a, _ := one.Match(iam.Request{
				Principal: iam.Principal{ARN: s.attribute(roles[c.By], "Arn").(string), Account: account}, Action: action, Resource: places[c.On](s),
				Keys: map[string][]string{
					"aws:requestedregion": {region}, "kms:viaservice": {"s3." + region + ".amazonaws.com"},
					"kms:encryptioncontext:app": {"coffer"}, "kms:encryptioncontext:purpose": {c.Purpose},
				},
			})
			return a == iam.Yes
		})
	}
	for by, role := range roles {
		for _, d := range s.role(role) {
			for i, st := range d.Statements {
				for _, a := range st.Action {
					if !used(by, st, a) {
						out = append(out, role+", "+st.Name(i)+": "+a)
					}
				}
			}
		}
	}
	for _, id := range []string{"RevealKey", "VerifyKey"} {
		of := slices.DeleteFunc(slices.Clone(calls), func(c Call) bool { return places[c.On](s) != s.attribute(id, "Arn") })
		for i, st := range s.policy(s.resources[id].properties["KeyPolicy"]).Statements {
			if st.Deny || st.Sid == "Administer" {
				continue
			}
			for _, a := range st.Action {
				if !slices.ContainsFunc(of, func(c Call) bool { return used("", st, a) }) {
					out = append(out, id+", "+st.Name(i)+": "+a)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestLeastPrivilege: every call is permitted by a statement, every action of every statement is needed by a call.
func TestLeastPrivilege(t *testing.T) {
	s := newStack(t, template(t), full())
	calls := slices.Concat(recorded(t), byAWS, elsewhere)
	for _, c := range unpermitted(s, calls) {
		t.Errorf("not permitted: %s", c)
	}
	for _, a := range unused(s, calls) {
		t.Errorf("no call needs it: %s", a)
	}
}

// TestWithoutAStatement: each statement of each role, taken away, leaves a call that is not permitted, and a statement too many is seen.
func TestWithoutAStatement(t *testing.T) {
	calls := slices.Concat(recorded(t), byAWS, elsewhere)
	for by, role := range roles {
		s := newStack(t, template(t), full())
		doc := s.resources[role].properties["Policies"].([]any)[0].(map[string]any)["PolicyDocument"].(map[string]any)
		all := doc["Statement"].([]any)
		for i := range all {
			doc["Statement"] = slices.Delete(slices.Clone(all), i, i+1)
			if len(unpermitted(s, calls)) == 0 {
				t.Errorf("%s does without statement %d and nobody sees it", by, i+1)
			}
		}
		doc["Statement"] = append(slices.Clone(all), map[string]any{"Sid": "TooMuch", "Effect": "Allow", "Action": "s3:PutBucketPolicy", "Resource": "arn:aws:s3:::moontrust-statements"})
		if !slices.Contains(unused(s, calls), role+", TooMuch: s3:PutBucketPolicy") {
			t.Errorf("%s may change the bucket's policy and nobody sees it", by)
		}
	}
}

// TestWhoOpensWhat is the table at the keys of the template: every function, every purpose, both keys.
func TestWhoOpensWhat(t *testing.T) {
	s := newStack(t, template(t), full())
	may := map[string]string{ // function: what it may open, by key and purpose
		"intake": "reveal key home", "api": "reveal key home, reveal key values", "remedy": "reveal key home, reveal key original",
		"worker": "reveal key home, reveal key original", "verify": "reveal key home, verify key values", "schedule": "reveal key home, reveal key log",
	}
	for by := range roles {
		var opens []string
		for _, key := range []string{"reveal key", "verify key"} {
			for _, purpose := range []string{"home", "log", "original", "values", "backup", ""} {
				d := s.decide(Call{By: by, Action: "kms:Decrypt", On: key, Purpose: purpose})
				if d.Allowed != iam.No {
					opens = append(opens, key+" "+purpose)
				}
			}
		}
		if got := strings.Join(opens, ", "); got != may[by] {
			t.Errorf("%s opens %s; want %s", by, got, may[by])
		}
	}
	// An identity policy that gives everything opens nothing, and neither does the right context in the wrong hands.
	everything := iam.Document{Statements: []iam.Statement{{Action: []string{"kms:*"}, Resource: []string{"*"}}}}
	for _, id := range []string{"RevealKey", "VerifyKey"} {
		policy := s.policy(s.resources[id].properties["KeyPolicy"])
		for _, action := range []string{"kms:Decrypt", "kms:ReEncryptFrom", "kms:CreateGrant"} {
			d := iam.Policies{Identity: []iam.Document{everything}, Resource: &policy, Owner: account}.Decide(iam.Request{
				Principal: iam.Principal{ARN: "arn:aws:iam::" + account + ":role/administrator", Account: account}, Action: action,
				Resource: s.attribute(id, "Arn").(string), Keys: map[string][]string{
					"kms:viaservice": nil, "kms:encryptioncontext:app": {"coffer"}, "kms:encryptioncontext:purpose": {"values"},
				},
			})
			if d.Allowed != iam.No {
				t.Errorf("an administrator may %s with %s", action, id)
			}
		}
	}
	for _, by := range []string{"api", "verify"} {
		if d := s.decide(Call{By: by, Action: "s3:GetObject", On: "objects/*"}); d.Allowed != iam.No {
			t.Errorf("%s opens values and reads objects", by)
		}
	}
}
