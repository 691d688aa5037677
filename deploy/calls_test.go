package deploy_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

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
	"coffer/object"
	"coffer/remedy"
	"coffer/triage"
	"coffer/web"
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

// places are what calls are about, with the ARN in the template; empty where a stack has none of it.
var places = map[string]func(s *stack) string{
	"objects":          func(*stack) string { return "arn:aws:s3:::moontrust-statements" },
	"objects/*":        func(*stack) string { return "arn:aws:s3:::moontrust-statements/*" },
	"results":          func(s *stack) string { return s.bucket("ResultsBucket", "") },
	"results/*":        func(s *stack) string { return s.bucket("ResultsBucket", "/*") },
	"results key":      func(s *stack) string { return s.text("ResultsKey") },
	"originals bucket": func(s *stack) string { return s.arn("OriginalsBucket") },
	"originals":        func(s *stack) string { return s.arn("OriginalsBucket") + "/*" },
	"log bucket":       func(s *stack) string { return s.arn("LogBucket") },
	"log":              func(s *stack) string { return s.arn("LogBucket") + "/*" },
	"data table":       func(s *stack) string { return s.arn("DataTable") },
	"key table":        func(s *stack) string { return s.arn("KeyTable") },
	"reveal key":       func(s *stack) string { return s.arn("RevealKey") },
	"verify key":       func(s *stack) string { return s.arn("VerifyKey") },
	"macie":            func(*stack) string { return "*" },
	"identifiers": func(*stack) string {
		return "arn:aws:macie2:" + region + ":" + account + ":custom-data-identifier/*"
	},
	"intake queue":    func(s *stack) string { return s.arn("IntakeQueue") },
	"work queue":      func(s *stack) string { return s.arn("WorkQueue") },
	"api queue":       func(s *stack) string { return s.arn("ApiQueue") },
	"worker queue":    func(s *stack) string { return s.arn("WorkerQueue") },
	"remedy function": func(s *stack) string { return s.arn("RemedyFunction") },
	"verify function": func(s *stack) string { return s.arn("VerifyFunction") },
	"bucket keys": func(s *stack) string {
		if l := s.parameters["BucketKeys"].([]any); l[0] != "" {
			return l[0].(string)
		}
		return ""
	},
	"event bus": func(s *stack) string { return s.text("EventBus") },
	"security hub": func(s *stack) string {
		if s.text("SecurityHub") != "true" {
			return ""
		}
		return "arn:aws:securityhub:" + region + ":" + account + ":hub/default"
	},
	"archive":        func(s *stack) string { return s.bucket("ArchiveBucket", "/"+s.text("ArchivePrefix")+"*") },
	"archive bucket": func(s *stack) string { return s.bucket("ArchiveBucket", "") },
	"receiver secrets": func(s *stack) string {
		if l := s.parameters["ReceiverSecrets"].([]any); l[0] != "" {
			return l[0].(string)
		}
		return ""
	},
	"intake log":   func(s *stack) string { return s.arn("IntakeLogs") },
	"api log":      func(s *stack) string { return s.arn("ApiLogs") },
	"remedy log":   func(s *stack) string { return s.arn("RemedyLogs") },
	"verify log":   func(s *stack) string { return s.arn("VerifyLogs") },
	"schedule log": func(s *stack) string { return s.arn("ScheduleLogs") },
}

func (s *stack) text(parameter string) string { return s.parameters[parameter].(string) }

// arn is that of a resource, or empty.
func (s *stack) arn(id string) string {
	if s.resources[id] == nil {
		return ""
	}
	return s.attribute(id, "Arn").(string)
}

// bucket is the ARN of the bucket that a parameter names with something behind it, or empty.
func (s *stack) bucket(parameter, rest string) string {
	if s.text(parameter) == "" {
		return ""
	}
	return "arn:aws:s3:::" + s.text(parameter) + rest
}

// of are those of the calls that a stack comes to: by roles and on places that it has.
func (s *stack) callsOf(calls []Call) (out []Call) {
	for _, c := range calls {
		if s.resources[roles[c.By]] != nil && places[c.On](s) != "" {
			out = append(out, c)
		}
	}
	return out
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
	for f, q := range map[string]string{"intake": "intake queue", "remedy": "work queue", "api": "api queue"} {
		// Lambda's pollers take messages as the function (Lambda developer guide, SQS event source, permissions).
		for _, a := range []string{"ReceiveMessage", "DeleteMessage", "GetQueueAttributes"} {
			out = append(out, Call{By: f, Action: "sqs:" + a, On: q})
		}
	}
	// S3 asks KMS for whoever reads and writes an object that is encrypted under a key of the account (S3 user guide, SSE-KMS).
	for _, f := range []string{"intake", "remedy", "worker"} {
		out = append(out, Call{By: f, Action: "kms:Decrypt", On: "bucket keys"})
	}
	for _, f := range []string{"remedy", "worker"} {
		out = append(out, Call{By: f, Action: "kms:GenerateDataKey", On: "bucket keys"})
	}
	for _, f := range []string{"intake", "worker"} {
		out = append(out, Call{By: f, Action: "kms:Decrypt", On: "results key"})
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
	// notify: a file of the archive that is there already is compared.
	add("schedule", "archive", "s3:GetObject")
	add("schedule", "archive bucket", "s3:ListBucket")
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
	// deny, where not nil, says that a call is not permitted: it is answered so, and does not come to who would answer it.
	deny func(Call) bool
	mu   sync.Mutex
	seen map[Call]bool
	// refused are the calls that were denied.
	refused map[Call]bool
	// unknown are requests of which it is not known what they need.
	unknown map[string]bool
}

func newRecorder(by string, keys map[string]string) *recorder {
	return &recorder{by: by, keys: keys, seen: map[Call]bool{}, refused: map[Call]bool{}, unknown: map[string]bool{}}
}

// calls of one request.
type calls struct {
	*recorder
	all []Call
	dry bool // a question whether the call is permitted, which needs no permission
}

func (r *calls) note(on, purpose string, actions ...string) {
	for _, a := range actions {
		r.all = append(r.all, Call{By: r.by, Action: a, On: on, Purpose: purpose})
	}
}

// denied keeps the calls of a request and reports whether one is not permitted.
func (r *calls) denied() (denied bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.all {
		no := r.deny != nil && r.deny(c)
		denied = denied || no
		if r.dry {
			continue
		}
		r.seen[c] = true
		if no {
			r.refused[c] = true
		}
	}
	return denied
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
		of := &calls{recorder: r}
		of.request(req, body)
		if of.denied() {
			w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
			if awsmeter.Name(req).Service == "s3" {
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code></Error>") // who asked may have gone
				return
			}
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"AccessDeniedException"}`) // likewise
			return
		}
		next.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func (r *calls) request(req *http.Request, body []byte) {
	op := awsmeter.Name(req)
	switch op.Service {
	case "s3":
		r.s3(req, op.Name)
	case "kms":
		var in struct {
			KeyId             string
			EncryptionContext map[string]string
			DryRun            bool
		}
		_ = json.Unmarshal(body, &in) // what is no JSON names no key, which is unknown below
		r.dry = in.DryRun
		r.note(cmp.Or(r.keys[in.KeyId], "unknown key"), in.EncryptionContext["purpose"], "kms:"+op.Name)
	case "dynamodb":
		r.dynamo(op.Name, body)
	case "macie2":
		on := "macie"
		if op.Name == "GetCustomDataIdentifier" {
			on = "identifiers"
		}
		r.note(on, "", "macie2:"+op.Name)
	case "sqs":
		var in struct{ QueueUrl string }
		_ = json.Unmarshal(body, &in) // see above
		r.note(in.QueueUrl[strings.LastIndexByte(in.QueueUrl, '-')+1:]+" queue", "", "sqs:"+op.Name)
	case "lambda":
		name := strings.TrimSuffix(req.URL.Path, "/invocations")
		r.note(name[strings.LastIndexByte(name, '-')+1:]+" function", "", "lambda:"+op.Name+"Function")
	case "events":
		r.note("event bus", "", "events:"+op.Name)
	case "securityhub":
		r.note("security hub", "", "securityhub:"+op.Name)
	case "secretsmanager":
		r.note("receiver secrets", "", "secretsmanager:"+op.Name)
	default:
		r.strange(op.Service + " " + op.Name)
	}
}

func (r *calls) strange(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown[what] = true
}

// dynamo: a transaction needs the actions of its parts (DynamoDB developer guide, IAM and transactions).
func (r *calls) dynamo(name string, body []byte) {
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

func (r *calls) s3(req *http.Request, name string) {
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
	case "moontrust-archive":
		objects, of = "archive", "archive bucket"
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
	// stack, where not nil, is whose policies are enforced.
	stack *stack
	// functions that others may ask, by their names.
	functions map[string]*function
	moto      http.Handler
	queues    map[app.Role]string // URLs
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
		keys: map[string]string{}, seen: map[Call]bool{}, now: time.Now().UTC(), demo: demo.New(), functions: map[string]*function{}}
	c.s3.CreateBucket("moontrust-archive", s3fake.Config{})
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
	config := c.demo.Config + "\nbuckets: [" + demo.Statements + ", " + demo.Exports + "]\n"
	switch r.by { // what the template tells each, and whole is all of them
	case "intake", "api", "schedule", "worker", "whole":
		config += "macie:\n  endpoint: " + mac + "\n  results: s3://" + demo.Results + "\n"
	}
	ask := r.over(c.t, http.HandlerFunc(c.invoke))
	switch r.by {
	case "api":
		config += "looker: lambda:coffer-remedy?endpoint=" + ask + "\n"
	case "remedy", "worker":
		config += "verifier: lambda:coffer-verify?endpoint=" + ask + "\n"
	}
	if r.by == "api" || r.by == "schedule" {
		config += "notify:\n" +
			"- {name: events, kind: eventbridge, bus: moontrust, endpoint: '" + r.over(c.t, c.moto) + "'}\n" +
			"- {name: security-hub, kind: securityhub, endpoint: '" + r.over(c.t, http.HandlerFunc(c.hub)) + "'}\n" +
			"- {name: archive, kind: ocsf, to: 's3:moontrust-archive?endpoint=" + s3 + "', prefix: ext/coffer/, account: '" + account + "', region: " + region + "}\n" +
			"- {name: on-call, kind: slack, urlFile: 'secretsmanager:coffer-on-call', allow: [127.0.0.1/32], endpoint: '" + r.over(c.t, c.moto) + "'}\n"
	}
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
	nobody := newRecorder("setup", c.keys)
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
	c    *cloud
	wake *app.Queues
}

func (c *cloud) open(by, table string) *function {
	c.t.Helper()
	f, err := c.tryOpen(by, table)
	if err != nil {
		c.t.Fatalf("%s: %v", by, err)
	}
	return f
}

func (c *cloud) tryOpen(by, table string) (*function, error) {
	f := &function{recorder: newRecorder(by, c.keys), c: c}
	if c.stack != nil {
		f.deny = func(call Call) bool { return c.stack.decide(call).Allowed != iam.Yes }
	}
	if c.moto != nil {
		os.Setenv("AWS_ENDPOINT_URL_SQS", f.over(c.t, c.moto)) // put back when the test ends: newCloud has set it before
	}
	var err error
	if f.App, err = app.Open(c.t.Context(), c.options(f.recorder, table)); err != nil {
		return nil, err
	}
	c.t.Cleanup(func() { _ = f.Close() }) // ended already, where the test came to its end
	urls := map[app.Role]string{}
	for _, r := range wakes[by] {
		urls[r] = c.queues[r]
	}
	if f.wake, err = f.OpenQueues(c.t.Context(), urls); err != nil {
		return nil, err
	}
	c.functions["coffer-"+by] = f
	return f, nil
}

// wakes are the roles whose queues a role knows: those that it hands jobs to.
var wakes = map[string][]app.Role{
	"intake": {app.Intake, app.Worker}, "remedy": {app.Remedy, app.Worker}, "api": {app.Remedy, app.Intake, app.API, app.Worker},
	"schedule": {app.Remedy, app.Intake, app.API, app.Worker}, "worker": {app.Worker},
}

// withQueues gives the account queues and a bus.
func (c *cloud) withQueues() {
	moto := lookalike.Moto(c.t)
	to, err := url.Parse(moto)
	if err != nil {
		c.t.Fatal(err)
	}
	c.moto, c.queues = httputil.NewSingleHostReverseProxy(to), map[app.Role]string{}
	conf, err := config.LoadDefaultConfig(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	client := sqs.NewFromConfig(conf, func(o *sqs.Options) { o.BaseEndpoint = &moto })
	for r, name := range map[app.Role]string{app.Intake: "coffer-intake", app.Remedy: "coffer-work", app.API: "coffer-api", app.Worker: "coffer-worker"} {
		q, err := client.CreateQueue(c.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
		if err != nil {
			c.t.Fatal(err)
		}
		c.queues[r] = *q.QueueUrl
	}
	lookalike.AWS(c.t, moto, "events", "create-event-bus", "--name", "moontrust")
	onCall := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	c.t.Cleanup(onCall.Close)
	lookalike.AWS(c.t, moto, "secretsmanager", "create-secret", "--cli-input-json", `{"Name":"coffer-on-call","SecretString":"`+onCall.URL+`"}`)
}

// invoke is Lambda for the functions that are open.
func (c *cloud) invoke(w http.ResponseWriter, req *http.Request) {
	name := strings.TrimSuffix(req.URL.Path, "/invocations")
	f := c.functions[name[strings.LastIndexByte(name, '/')+1:]]
	body, err := io.ReadAll(req.Body)
	if err == nil && f != nil {
		body, err = f.Answer(req.Context(), body)
	}
	if err != nil || f == nil {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
	}
	_, _ = w.Write(body) // who asked may have gone
}

// hub is Security Hub with every finding that it is asked for: new, and updated whenever somebody wants it.
func (c *cloud) hub(w http.ResponseWriter, req *http.Request) {
	var in struct {
		Filters struct{ Id []struct{ Value string } }
	}
	if req.Method == http.MethodPatch || json.NewDecoder(req.Body).Decode(&in) != nil {
		_, _ = io.WriteString(w, `{"ProcessedFindings":[],"UnprocessedFindings":[]}`) // who asked may have gone
		return
	}
	findings := []map[string]any{}
	for _, id := range in.Filters.Id {
		f, err := c.functions["coffer-schedule"].Records.Get(req.Context(), id.Value)
		if err == nil {
			findings = append(findings, map[string]any{
				"Id": id.Value, "ProductArn": "arn:aws:securityhub:" + f.Finding.Region + "::product/aws/macie", "Workflow": map[string]string{"Status": "NEW"}})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Findings": findings}) // who asked may have gone
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
	for call := range f.refused {
		f.c.t.Errorf("%s was refused %s on %s %s", f.by, call.Action, call.On, call.Purpose)
	}
	for call := range f.seen {
		f.c.seen[call] = true
	}
}

// record runs MoonTrust's findings through the functions, each with what it is there for, and returns the calls.
func record(t testing.TB) []Call {
	const table = "deploy-calls"
	c := newCloud(t)
	c.withQueues()
	c.stack = newStack(t, template(t), full())
	ctx := t.Context()
	if err := c.setup(table); err != nil {
		t.Fatal(err)
	}
	// First there is a finding, and no key yet: it is not taken, and comes again.
	if _, err := c.tryOpen("intake", table); !errors.Is(err, coffer.ErrNotFound) {
		t.Fatalf("intake before the first run of schedule: %v", err)
	}
	schedule := c.open("schedule", table) // makes the installation's key and that of the log
	tell := func() {
		if err := schedule.Log.Sequence(ctx); err != nil {
			t.Fatal(err)
		}
		if err := schedule.Notifier.Step(ctx, schedule.Service("timed-work", "test")); err != nil {
			t.Error(err)
		}
	}
	tell() // targets are told what happens from now on
	intake, api, fix, verify := c.open("intake", table), c.open("api", table), c.open("remedy", table), c.open("verify", table)

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

	// What the doctor of the function api asks the function remedy for, and what it sees by itself.
	if sharing, err := api.Objects.(object.Sharer).Sharing(ctx, demo.Exports); err != nil || sharing.PolicyUnknown {
		t.Fatalf("look at a bucket: %+v, %v", sharing, err)
	}
	served, err := api.API(web.Config{Hand: api.wake.Wake})
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	for _, path := range []string{"/v1/doctor", "/v1/keys"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://coffer"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := served.Local(api.ask().Caller).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // only read from
		if err != nil || resp.StatusCode != http.StatusOK || bytes.Contains(body, []byte("AccessDenied")) {
			t.Errorf("%s: %v, %d %s", path, err, resp.StatusCode, body)
		}
	}

	// schedule hands out what is due, intake and remedy do it.
	due, err := schedule.Due(ctx, schedule.Service("timed-work", "test"), time.Hour)
	if err != nil || len(due) == 0 {
		t.Fatalf("due: %d, %v", len(due), err)
	}
	for _, j := range due {
		if err := schedule.wake.Wake(ctx, j); err != nil {
			t.Fatal(err)
		}
	}
	if err := intake.Reconcile(ctx, intake.ask(), 0); err != nil {
		t.Fatal(err)
	}
	tell()
	// A job that is not done in time goes to the next, or to the worker; who asks for jobs wakes whoever does them.
	for _, f := range []*function{intake, fix, api, schedule} {
		for _, r := range wakes[f.by] {
			if err := f.wake.Tell(ctx, r, due[0].ID); err != nil {
				t.Fatal(err)
			}
		}
	}

	if _, err := audit.Verify(ctx, api.LogFiles(), audit.VerifyOptions{Key: api.Log.VerifierKey()}); err != nil {
		t.Fatal(err)
	}

	worker := c.open("worker", table)
	if told, err := worker.wake.Await(ctx, app.Worker); err != nil || !told {
		t.Fatalf("the worker is told of nothing: %v", err)
	}
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
	case "bucket keys", "results key":
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
		if s.resources[role] == nil {
			continue
		}
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
		of := slices.DeleteFunc(slices.Clone(calls), func(c Call) bool { return places[c.On](s) != s.arn(id) })
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

// configurations are parameters under which the template is looked at.
var configurations = map[string]func() map[string]any{"full": full, "plain": plain, "named": named}

// TestLeastPrivilege: every call is permitted by a statement, every action of every statement is needed by a call, whatever is configured:
// without targets of messages, a worker, results or keys of buckets there is no statement for them. With -v the pairs are printed.
func TestLeastPrivilege(t *testing.T) {
	for name, parameters := range configurations {
		s := newStack(t, template(t), parameters())
		calls := s.callsOf(slices.Concat(recorded(t), byAWS, elsewhere))
		for _, c := range unpermitted(s, calls) {
			t.Errorf("%s: not permitted: %s", name, c)
		}
		for _, a := range unused(s, calls) {
			t.Errorf("%s: no call needs it: %s", name, a)
		}
		if name == "full" {
			for _, c := range calls {
				t.Logf("%-8s %-45s %-16s %-8s %s", c.By, c.Action, c.On, c.Purpose, strings.Join(s.decide(c).By, ", "))
			}
		}
		t.Logf("%s: %d calls, each permitted; no action of a statement without one", name, len(calls))
	}
}

// TestWithoutAStatement: each statement of each role, taken away, leaves a call that is not permitted, and a statement too many is seen.
func TestWithoutAStatement(t *testing.T) {
	calls := slices.Concat(recorded(t), byAWS, elsewhere)
	without := 0
	for by, role := range roles {
		s := newStack(t, template(t), full())
		doc := s.resources[role].properties["Policies"].([]any)[0].(map[string]any)["PolicyDocument"].(map[string]any)
		all := doc["Statement"].([]any)
		for i := range all {
			doc["Statement"] = slices.Delete(slices.Clone(all), i, i+1)
			without++
			if len(unpermitted(s, calls)) == 0 {
				t.Errorf("%s does without statement %d and nobody sees it", by, i+1)
			}
		}
		doc["Statement"] = append(slices.Clone(all), map[string]any{"Sid": "TooMuch", "Effect": "Allow", "Action": "s3:PutBucketPolicy", "Resource": "arn:aws:s3:::moontrust-statements"})
		if !slices.Contains(unused(s, calls), role+", TooMuch: s3:PutBucketPolicy") {
			t.Errorf("%s may change the bucket's policy and nobody sees it", by)
		}
	}
	t.Logf("%d statements, each taken away and missed", without)
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
