package main

import (
	"bytes"

	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/check"
	"coffer/internal/awsfake/maciefake"
	"coffer/internal/lambdaharness"
	"coffer/internal/lookalike"
)

const (
	card     = "4111111111111111" // the network's own test number
	cardList = "id,card\n1," + card + "\n2,none\n"
	origin   = "https://coffer.example"
	secret   = "synthetic-secret-of-the-front"
)

// cloud is an installation on servers that others wrote, with the real binary as its functions.
type cloud struct {
	testing.TB
	name    string
	s3      string
	servers []string // that functions reach, but for the queues and each other
	macie   *maciefake.Fake
	env     []string
	sqs     *sqs.Client
	fn      map[app.Role]*lambdaharness.Function
	queue   map[app.Role]string
	options app.Options // of who looks at it all
}

// program is the binary of the functions, built once.
type program struct {
	tags []string
	once sync.Once
	path string
}

// shipped is built as what is shipped; movable has a clock that tests move.
var shipped, movable = program{}, program{tags: []string{"harness"}}

// built returns the binary.
func (p *program) built(t testing.TB) string {
	p.once.Do(func() {
		dir, err := os.MkdirTemp("", "coffer-lambda-")
		if err != nil {
			t.Fatal(err)
		}
		p.path = lambdaharness.Build(t, dir, ".", p.tags...)
	})
	if p.path == "" {
		t.Fatal("the function was not built")
	}
	return p.path
}

func TestMain(m *testing.M) {
	for _, v := range lookalike.Env() {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			panic(err) // names without "="
		}
	}
	code := m.Run()
	for _, p := range []*program{&shipped, &movable} {
		_ = os.RemoveAll(filepath.Dir(p.path)) // "." of nothing is not removed
	}
	os.Exit(code)
}

func inCloud(t testing.TB) *cloud {
	return inCloudOn(t, lookalike.S3(t), lookalike.Moto(t))
}

// inCloudOn is inCloud with other servers for S3 and KMS.
func inCloudOn(t testing.TB, s3, kms string) *cloud {
	bin := shipped.built(t)
	c := &cloud{
		TB: t, name: strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name())), s3: s3, macie: maciefake.New(),
		fn: map[app.Role]*lambdaharness.Function{}, queue: map[app.Role]string{},
	}
	moto := lookalike.Moto(t)
	awsConfig, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.sqs = sqs.NewFromConfig(awsConfig, func(o *sqs.Options) { o.BaseEndpoint = &moto })
	for _, r := range []app.Role{app.Intake, app.Remedy, app.API, app.Worker} {
		c.queue[r] = newQueue(t, c.sqs, c.name+"-"+string(r), 0)
	}
	ms := httptest.NewServer(c.macie)
	t.Cleanup(ms.Close)
	for _, b := range []string{c.bucket()} {
		lookalike.AWS(t, c.s3, "s3api", "create-bucket", "--bucket", b, "--create-bucket-configuration", "LocationConstraint="+lookalike.Region)
	}
	conf := app.Config{
		Objects: "s3:?endpoint=" + c.s3, Originals: "s3:" + c.name + "-originals?endpoint=" + c.s3, Log: "s3:" + c.name + "-log?retention=1d&endpoint=" + c.s3,
		Keys: "kms:alias/" + c.name + "?endpoint=" + kms, Store: "dynamodb:" + c.name + "?endpoint=" + lookalike.DynamoDB(t),
		Buckets: []string{c.bucket()}, Macie: &app.Macie{Endpoint: ms.URL},
	}
	c.servers = []string{c.s3, kms, lookalike.DynamoDB(t), ms.URL}
	home := t.TempDir()
	steps, err := app.Setup(t.Context(), app.Options{
		Home: home, Objects: conf.Objects, Originals: conf.Originals, Log: conf.Log, Keys: conf.Keys, Store: conf.Store,
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if s.Status == app.StepFailed {
			t.Fatalf("setup of %s: %s", s.What, s.Reason)
		}
	}
	c.options = app.Options{Home: home, Config: &conf}
	invoker := httptest.NewServer(nil)
	t.Cleanup(invoker.Close)
	c.env = append(lookalike.Env(),
		"AWS_ENDPOINT_URL_SQS="+moto, "AWS_ENDPOINT_URL_LAMBDA="+invoker.URL,
		"COFFER_OBJECTS="+conf.Objects, "COFFER_ORIGINALS="+conf.Originals, "COFFER_LOG="+conf.Log, "COFFER_KEYS="+conf.Keys, "COFFER_STORE="+conf.Store,
		"COFFER_BUCKETS="+c.bucket(), "COFFER_MACIE=on", "COFFER_VERIFY_FUNCTION=verify", "COFFER_LOOK_FUNCTION=remedy",
		"COFFER_QUEUE="+c.queue[app.Remedy], "COFFER_INTAKE_QUEUE="+c.queue[app.Intake], "COFFER_API_QUEUE="+c.queue[app.API],
		"COFFER_WORKER_QUEUE="+c.queue[app.Worker], "COFFER_AUTHORIZERS=iam", "COFFER_ORIGIN_SECRET="+secret,
		`COFFER_CONFIG={"macie":{"endpoint":"`+ms.URL+`"},"identity":{"origin":"`+origin+`","iam":[{"arn":"arn:aws:iam::`+lookalike.Account+
			`:role/engineer","roles":["engineer"],"scopes":["event.ingest","finding.list","finding.read","value.reveal","remedy.plan","remedy.apply","object.read","admin.job"]}]}}`)
	var all []*lambdaharness.Function
	for _, r := range app.Roles() {
		if r == app.Worker {
			continue
		}
		f := &lambdaharness.Function{Name: string(r), Binary: bin, Env: append([]string{"COFFER_FUNCTION=" + string(r)}, c.env...)}
		t.Cleanup(f.Kill)
		c.fn[r] = f
		all = append(all, f)
	}
	invoker.Config.Handler = lambdaharness.Invoker(all...)
	// The key of the log is made by the function that signs.
	c.invoke(app.Schedule, []byte(`{}`))
	return c
}

func (c *cloud) bucket() string { return c.name + "-statements" }

func queueARN(url string) string {
	return "arn:aws:sqs:" + lookalike.Region + ":" + lookalike.Account + ":" + url[strings.LastIndex(url, "/")+1:]
}

func (c *cloud) invoke(r app.Role, payload []byte) []byte {
	c.Helper()
	out, err := c.fn[r].Invoke(payload)
	if err != nil {
		c.Fatalf("%s: %v\n%s", r, err, c.fn[r].Said())
	}
	return out
}

// put puts an object there, makes Macie have a finding about it, and returns the event of it.
func (c *cloud) put(key, id, body string) []byte {
	c.Helper()
	name := filepath.Join(c.TempDir(), "object")
	if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
		c.Fatal(err)
	}
	lookalike.AWS(c, c.s3, "s3api", "put-object", "--bucket", c.bucket(), "--key", key, "--body", name)
	return c.found(key, id, body)
}

// found makes Macie have a finding about an object that is there, and returns the event of it.
func (c *cloud) found(key, id, body string) []byte {
	c.Helper()
	event := findingOn(c, c.bucket(), key, id, body, time.Now().Add(-time.Hour))
	c.macie.Put(event)
	return event
}

// send puts a message in the queue of a role.
func (c *cloud) send(r app.Role, body string) {
	c.Helper()
	url := c.queue[r]
	if _, err := c.sqs.SendMessage(c.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}); err != nil {
		c.Fatal(err)
	}
}

// drain polls the queue of a role until it is empty.
func (c *cloud) drain(r app.Role) {
	c.Helper()
	m := &lambdaharness.Mapping{SQS: c.sqs, URL: c.queue[r], Function: c.fn[r]}
	for range 100 {
		got, _, err := m.Poll(c.Context())
		if err != nil {
			c.Fatal(err)
		}
		if got == 0 {
			return
		}
	}
	c.Fatalf("the queue of %s does not become empty\n%s", r, c.fn[r].Said())
}

// count returns how many messages are in a queue.
func (c *cloud) count(url string) string {
	c.Helper()
	out, err := c.sqs.GetQueueAttributes(c.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{"ApproximateNumberOfMessages"}})
	if err != nil {
		c.Fatal(err)
	}
	return out.Attributes["ApproximateNumberOfMessages"]
}

// ask sends a request to the API as API Gateway does, for the role engineer.
func (c *cloud) ask(method, path string, body any, more ...func(*events.APIGatewayV2HTTPRequest)) (status int, answer map[string]any) {
	c.Helper()
	r := request(method, path, body)
	for _, f := range more {
		f(&r)
	}
	payload, err := json.Marshal(r)
	if err != nil {
		c.Fatal(err)
	}
	var out events.APIGatewayV2HTTPResponse
	if err := json.Unmarshal(c.invoke(app.API, payload), &out); err != nil {
		c.Fatal(err)
	}
	if out.Body != "" {
		if err := json.Unmarshal([]byte(out.Body), &answer); err != nil {
			c.Fatalf("%s %s: %d, no JSON", method, path, out.StatusCode)
		}
	}
	return out.StatusCode, answer
}

// look opens the installation as its operator.
func (c *cloud) look() (*app.App, access.Ask) {
	c.Helper()
	a, err := app.Open(c.Context(), c.options)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = a.Close() })
	who, err := a.Operator()
	if err != nil {
		c.Fatal(err)
	}
	return a, access.Ask{Caller: who, Context: access.Context{Now: a.Now(), Local: true, Request: "test"}}
}

// sound demands that every promise holds that package check knows.
func (c *cloud) sound() {
	c.Helper()
	a, ask := c.look()
	report, err := check.Run(c.Context(), a.CheckParts(), ask, check.Options{})
	if err != nil {
		c.Fatal(err)
	}
	for _, v := range report.Violations {
		c.Errorf("check: %v", v)
	}
	for r, f := range c.fn {
		if said := f.Said(); strings.Contains(said, card) || strings.Contains(said, card[4:]) {
			c.Errorf("%s: the value is in its log", r)
		}
	}
}

// tables demands, of what the aws client sees of the tables, that there is a record and nowhere in it the value.
func (c *cloud) tables() {
	c.Helper()
	for _, table := range []string{c.name, app.KeyTable(c.name)} {
		var scan struct {
			Items []map[string]map[string]any
		}
		if err := json.Unmarshal(lookalike.AWS(c, lookalike.DynamoDB(c), "dynamodb", "scan", "--table-name", table), &scan); err != nil {
			c.Fatal(err)
		}
		if len(scan.Items) == 0 {
			c.Errorf("the table %s is empty", table)
		}
		for _, item := range scan.Items {
			for name, v := range item {
				for kind, text := range v {
					b := []byte(fmt.Sprint(text))
					if kind == "B" {
						b, _ = base64.StdEncoding.DecodeString(string(b)) // the client's own encoding
					}
					if bytes.Contains(b, []byte(card)) || bytes.Contains(b, []byte("cards.csv")) {
						c.Errorf("table %s, attribute %s holds the value or the object's name", table, name)
					}
				}
			}
		}
	}
}

// tag returns a tag of an object as the aws client sees it.
func (c *cloud) tag(key, name string) string {
	c.Helper()
	var tags struct{ TagSet []struct{ Key, Value string } }
	out := lookalike.AWS(c, c.s3, "s3api", "get-object-tagging", "--bucket", c.bucket(), "--key", key)
	if err := json.Unmarshal(out, &tags); err != nil {
		c.Fatal(err)
	}
	for _, t := range tags.TagSet {
		if t.Key == name {
			return t.Value
		}
	}
	return ""
}

// job does the job of an answer and returns its items.
func (c *cloud) job(r app.Role, status int, answer map[string]any) []any {
	c.Helper()
	if status != 202 {
		c.Fatalf("%d: %v\n%s", status, answer, c.fn[app.API].Said())
	}
	id, _ := answer["job"].(string)
	if inner, ok := answer["job"].(map[string]any); ok {
		id, _ = inner["job"].(string)
	}
	c.drain(r)
	_, j := c.ask("GET", "/v1/jobs/"+id, nil)
	if j["state"] != "done" {
		c.Fatalf("job: %v\n%s", j, c.fn[r].Said())
	}
	_, items := c.ask("GET", "/v1/jobs/"+id+"/items", nil)
	list, _ := items["items"].([]any)
	return list
}

// TestEventToCertificate follows an event from the bus to a tagged object with a sealed record, and on through a fix to its certificate, on
// functions that are the real binary and servers that others wrote.
func TestEventToCertificate(t *testing.T) {
	c := inCloud(t)
	moto := lookalike.Moto(t)
	event := c.put("cards.csv", "finding-1", cardList)

	lookalike.AWS(t, moto, "events", "put-rule", "--name", c.name, "--event-pattern", `{"source":["aws.macie"],"detail-type":["Macie Finding"]}`)
	lookalike.AWS(t, moto, "events", "put-targets", "--rule", c.name, "--targets", "Id=intake,Arn="+queueARN(c.queue[app.Intake]))
	var e struct {
		Detail json.RawMessage `json:"detail"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		t.Fatal(err)
	}
	entries, err := json.Marshal([]map[string]string{{"Source": "aws.macie", "DetailType": "Macie Finding", "Detail": string(e.Detail)}})
	if err != nil {
		t.Fatal(err)
	}
	lookalike.AWS(t, moto, "events", "put-events", "--entries", string(entries))
	c.drain(app.Intake)

	if state := c.tag("cards.csv", "coffer:state"); state != "sensitive" {
		t.Fatalf("the object's state is %q\n%s", state, c.fn[app.Intake].Said())
	}
	status, found := c.ask("GET", "/v1/findings/finding-1", nil)
	if status != 200 || found["origin"] != "macie" {
		t.Fatalf("the finding: %d %v", status, found)
	}
	c.tables()
	status, shown := c.ask("POST", "/v1/findings/finding-1/reveal", map[string]any{"reason": "investigation", "note": "a look in a test"})
	if b, _ := json.Marshal(shown); status != 200 || !strings.Contains(string(b), card) {
		t.Errorf("reveal: %d", status)
	}

	status, answer := c.ask("POST", "/v1/plans", map[string]any{"findings": []string{"finding-1"}, "action": "redact"})
	items := c.job(app.Remedy, status, answer)
	plan, _ := items[0].(map[string]any)["result"].(string)
	a, operator := c.look()
	if _, err := a.Remedy.Approve(t.Context(), operator, plan); err != nil {
		t.Fatal(err)
	}
	status, answer = c.ask("POST", "/v1/plans/"+plan+"/apply", map[string]any{})
	c.job(app.Remedy, status, answer)
	if n := c.fn[app.Verify].Starts(); n == 0 {
		t.Error("the fix was applied and nothing asked the function verify")
	}
	file := filepath.Join(t.TempDir(), "after")
	lookalike.AWS(t, c.s3, "s3api", "get-object", "--bucket", c.bucket(), "--key", "cards.csv", file)
	after, err := os.ReadFile(file)
	if err != nil || bytes.Contains(after, []byte(card)) || !bytes.HasPrefix(after, []byte("id,card\n1,")) {
		t.Errorf("the object after the fix: %v, %d bytes", err, len(after))
	}
	c.invoke(app.Schedule, []byte(`{}`))
	status, cert := c.ask("GET", "/v1/plans/"+plan+"/certificate", nil)
	if status != 200 || cert["verified"] != true || cert["clean"] == "not clean" {
		t.Errorf("certificate: %d %v verified %v clean %v\n%s", status, cert["detail"], cert["verified"], cert["clean"], c.fn[app.API].Said())
	}
	if state := c.tag("cards.csv", "coffer:state"); state != "redacted" {
		t.Errorf("the object's state after the fix is %q", state)
	}
	c.sound()
}

// TestBatches: what comes again and what does not.
func TestBatches(t *testing.T) {
	c := inCloud(t)
	good := string(c.put("a.csv", "good", cardList))
	foreign := strings.Replace(string(c.put("b.csv", "foreign", cardList)), `"account":"`+lookalike.Account, `"account":"999999999999`, 1)
	c.put("c.csv", "unknown", cardList)
	unknown := string(c.put("c.csv", "unknown", cardList))
	c.macie.Expire("unknown")
	for _, body := range []string{good, good, foreign, unknown, "{not JSON", `{"coffer.job":"job-0000"}`, ""} {
		if body != "" {
			c.send(app.Intake, body)
		}
	}
	m := &lambdaharness.Mapping{SQS: c.sqs, URL: c.queue[app.Intake], Function: c.fn[app.Intake], Reverse: true, Twice: true}
	for range 20 {
		got, _, err := m.Poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got == 0 {
			break
		}
	}
	if n := c.count(c.queue[app.Intake]); n != "0" {
		t.Errorf("%s messages are left\n%s", n, c.fn[app.Intake].Said())
	}
	if n := c.count(c.queue[app.Intake] + "-dead"); n != "0" {
		t.Errorf("%s messages are among the dead letters: what cannot be right is parked in the store", n)
	}
	a, ask := c.look()
	arrivals, err := a.Pipeline.ListArrivals(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, x := range arrivals {
		got[x.Finding+"/"+string(x.Kind)] = string(x.Status) + ": " + x.Reason
	}
	for key, want := range map[string]string{
		"good/finding": "sealed", "foreign/foreign": "skipped: an event of an account", "unknown/finding": "skipped: submitted", "/unreadable": "failed",
	} {
		if !strings.HasPrefix(got[key], want) {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
	rec, err := a.Records.Get(t.Context(), "good")
	if err != nil || rec.Sealed != 1 || rec.Finding.Origin != coffer.OriginMacie {
		t.Errorf("the good one: %v", err)
	}
	c.sound()
}

// TestFront: nobody comes past what stands before the API.
func TestFront(t *testing.T) {
	c := inCloud(t)
	type change = func(*events.APIGatewayV2HTTPRequest)
	for name, x := range map[string]struct {
		status int
		change change
	}{
		"as it should be":    {200, func(*events.APIGatewayV2HTTPRequest) {}},
		"without the secret": {403, func(r *events.APIGatewayV2HTTPRequest) { delete(r.Headers, "x-coffer-origin") }},
		"another secret":     {403, func(r *events.APIGatewayV2HTTPRequest) { r.Headers["x-coffer-origin"] = secret + "x" }},
		"no authoriser":      {401, func(r *events.APIGatewayV2HTTPRequest) { r.RequestContext.Authorizer = nil }},
		"another authoriser": {401, func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Authorizer = &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
				JWT: &events.APIGatewayV2HTTPRequestContextAuthorizerJWTDescription{}}
		}},
		"another role": {401, func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Authorizer.IAM.UserARN = "arn:aws:sts::" + lookalike.Account + ":assumed-role/engineer2/alice"
		}},
		"the role of another account": {401, func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Authorizer.IAM.UserARN = "arn:aws:sts::999999999999:assumed-role/engineer/alice"
		}},
		"a stage": {200, func(r *events.APIGatewayV2HTTPRequest) {
			r.RequestContext.Stage, r.RawPath = "prod", "/prod"+r.RawPath
		}},
		"the host of API Gateway, as CloudFront sends it": {200, func(r *events.APIGatewayV2HTTPRequest) { r.Headers["host"] = "abc.execute-api.example" }},
	} {
		status, _ := c.ask("GET", "/v1/findings", nil, x.change)
		if status != x.status {
			t.Errorf("%s: %d, want %d", name, status, x.status)
		}
	}
}
