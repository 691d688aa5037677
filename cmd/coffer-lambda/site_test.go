package main

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"coffer"
	"coffer/access"
	"coffer/app"
	"coffer/check"
	"coffer/internal/awsfake/kmsfake"
	"coffer/internal/awsfake/maciefake"
	"coffer/internal/awsfake/s3fake"
	"coffer/internal/lambdaharness"
	"coffer/internal/lookalike"
	"coffer/macie"
	"coffer/remedy"
	"coffer/store"
)

// site is an installation whose functions, the real binary, reach every service through a tap. S3, KMS and Macie are the fakes that follow AWS'
// documentation, the tables are DynamoDB Local's, the queues moto's. Time passes when the test says so: for the installation by the clock of
// the binary, for the queues by the end of visibility timeouts.
type site struct {
	*testing.T
	name    string
	tap     *lambdaharness.Tap
	objects *s3fake.Server
	kms     *kmsfake.Fake
	macie   *maciefake.Fake
	direct  string // an endpoint of all services beside the tap
	tables  *dynamodb.Client
	sqs     *sqs.Client
	fn      map[app.Role]*lambdaharness.Function
	queue   map[app.Role]string
	mapping map[app.Role]*lambdaharness.Mapping
	options app.Options // of who looks on
	app     *app.App
	ask     access.Ask
	events  map[string][]byte

	mu    sync.Mutex // guards ahead
	ahead time.Duration
	clock string // the file that says it

	leaks leaks
}

const (
	redacted = "id,card\n1,REDACTED\n2,none\n"
	fixer    = "arn:aws:sts::" + lookalike.Account + ":assumed-role/engineer/alice"
	// visibility is that of the queues, longer than any lease.
	visibility = 12 * time.Minute
)

var sites atomic.Int64

func newSite(t *testing.T) *site {
	s := &site{
		T: t, name: fmt.Sprintf("site-%d", sites.Add(1)), objects: s3fake.New(), kms: &kmsfake.Fake{}, macie: maciefake.New(),
		fn: map[app.Role]*lambdaharness.Function{}, queue: map[app.Role]string{}, mapping: map[app.Role]*lambdaharness.Mapping{},
		clock: filepath.Join(t.TempDir(), "clock"), events: map[string][]byte{},
	}
	bin := movable.built(t)
	s.objects.AccessKey, s.objects.SecretKey, s.objects.Region = lookalike.AccessKey, lookalike.SecretKey, lookalike.Region
	s.objects.Now, s.kms.Now = s.now, s.now
	moto, tables := lookalike.Moto(t), lookalike.DynamoDB(t)
	c, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.sqs = sqs.NewFromConfig(c, func(o *sqs.Options) { o.BaseEndpoint = &moto })
	s.tables = dynamodb.NewFromConfig(c, func(o *dynamodb.Options) { o.BaseEndpoint = &tables })
	for _, r := range []app.Role{app.Intake, app.Remedy, app.API, app.Worker} {
		s.queue[r] = newQueue(t, s.sqs, s.name+"-"+string(r), visibility)
	}
	var all []*lambdaharness.Function
	for _, r := range app.Roles() {
		if r == app.Worker {
			continue
		}
		s.fn[r] = &lambdaharness.Function{Name: string(r), Binary: bin}
		all = append(all, s.fn[r])
	}
	s.tap = &lambdaharness.Tap{Body: s.leaks.request, Services: map[string]http.Handler{
		"s3": s.objects, "kms": s.kms, "macie2": s.macie, "dynamodb": lambdaharness.Behind(t, tables), "sqs": lambdaharness.Behind(t, moto),
		"lambda": lambdaharness.Invoker(all...),
	}}
	s.objects.CreateBucket(s.bucket(), s3fake.Config{})
	s.leaks.bucket = s.bucket()
	direct := httptest.NewServer(s.tap.Direct())
	t.Cleanup(direct.Close)
	s.direct = direct.URL
	s.pass(0)
	conf := s.config(s.direct)
	home := t.TempDir()
	steps, err := app.Setup(t.Context(), app.Options{
		Home: home, Objects: conf.Objects, Originals: conf.Originals, Log: conf.Log, Keys: conf.Keys, Store: conf.Store,
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range steps {
		if x.Status == app.StepFailed {
			t.Fatalf("setup of %s: %s", x.What, x.Reason)
		}
	}
	for r := range s.fn {
		s.add(r, s.fn[r])
	}
	for r, url := range s.queue {
		if r != app.Worker {
			s.mapping[r] = &lambdaharness.Mapping{SQS: s.sqs, URL: url, Function: s.fn[r]}
		}
	}
	s.compared(app.Options{Home: home, Config: &conf, Now: s.now, Role: app.Schedule})
	// Who looks on signs nothing, so that the log is put in order by the function alone.
	s.options = app.Options{Home: home, Config: &conf, Now: s.now, Role: app.Worker}
	if s.app, err = app.Open(t.Context(), s.options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.app.Close() })
	who, err := s.app.Operator()
	if err != nil {
		t.Fatal(err)
	}
	s.ask = access.Ask{Caller: who, Context: access.Context{Local: true, Request: "test"}}
	return s
}

// compared does in one step what the first comparison with Macie does in one for each day, and makes the key of the log.
func (s *site) compared(opt app.Options) {
	s.Helper()
	a, err := app.Open(s.Context(), opt)
	if err != nil {
		s.Fatal(err)
	}
	defer a.Close()
	ask := a.Service("timed-work", "test")
	all := s.now().Add(-macie.Retention).Format(time.RFC3339Nano) + "/" + s.now().Add(-time.Hour).Format(time.RFC3339Nano)
	for _, step := range []string{"list ", "settle "} {
		if _, err := a.Pipeline.ReconcileStep(s.Context(), ask, step+all); err != nil {
			s.Fatal(err)
		}
	}
}

// config is the configuration with all services at an endpoint.
func (s *site) config(endpoint string) app.Config {
	at := "?endpoint=" + endpoint
	return app.Config{
		Objects: "s3:" + at, Originals: "s3:" + s.name + "-originals" + at, Log: "s3:" + s.name + "-log" + at + "&retention=1d",
		Keys: "kms:alias/" + s.name + at, Store: "dynamodb:" + s.name + at, Buckets: []string{s.bucket()}, Macie: &app.Macie{Endpoint: endpoint},
	}
}

// add gives a function its place behind the tap.
func (s *site) add(r app.Role, f *lambdaharness.Function) {
	endpoint := s.tap.Listen(s, f)
	c := s.config(endpoint)
	f.Env = append(lookalike.Env(),
		"COFFER_FUNCTION="+string(r), "COFFER_HARNESS_CLOCK="+s.clock, "AWS_ENDPOINT_URL="+endpoint,
		"COFFER_OBJECTS="+c.Objects, "COFFER_ORIGINALS="+c.Originals, "COFFER_LOG="+c.Log, "COFFER_KEYS="+c.Keys, "COFFER_STORE="+c.Store,
		"COFFER_BUCKETS="+s.bucket(), "COFFER_MACIE=on", "COFFER_VERIFY_FUNCTION=verify", "COFFER_LOOK_FUNCTION=remedy",
		"COFFER_QUEUE="+s.queue[app.Remedy], "COFFER_INTAKE_QUEUE="+s.queue[app.Intake], "COFFER_API_QUEUE="+s.queue[app.API],
		"COFFER_WORKER_QUEUE="+s.queue[app.Worker], "COFFER_AUTHORIZERS=iam", "COFFER_ORIGIN_SECRET="+secret,
		`COFFER_CONFIG={"macie":{"endpoint":"`+endpoint+`"},"identity":{"origin":"`+origin+`","iam":[{"arn":"arn:aws:iam::`+lookalike.Account+
			`:role/engineer","roles":["engineer"],"scopes":["event.ingest","finding.list","finding.read","value.reveal","remedy.plan","remedy.apply","remedy.undo","object.read","admin.job"]}]}}`)
	s.Cleanup(f.Kill)
}

func (s *site) bucket() string { return s.name + "-statements" }

// now is the time of the installation.
func (s *site) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.ahead)
}

// pass lets time pass.
func (s *site) pass(d time.Duration) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
	// A function that looks meanwhile sees the time before or after.
	if err := os.WriteFile(s.clock+".next", []byte(s.ahead.String()), 0o600); err != nil {
		s.Fatal(err)
	}
	if err := os.Rename(s.clock+".next", s.clock); err != nil {
		s.Fatal(err)
	}
}

// cold ends all processes.
func (s *site) cold() {
	for _, f := range s.fn {
		f.Kill()
	}
}

func (s *site) invoke(r app.Role, payload []byte) []byte {
	s.Helper()
	out, err := s.fn[r].Invoke(payload)
	if err != nil {
		s.Fatalf("%s: %v\n%s", r, err, s.fn[r].Said())
	}
	return out
}

func objectKey(id string) string { return id + ".csv" }

// put puts an object there, and makes Macie have a finding about it.
func (s *site) put(id string) {
	s.Helper()
	s.objects.Put(s.bucket(), objectKey(id), []byte(cardList), s3fake.Attrs{Tags: []s3fake.Tag{{Key: "team", Value: "payments"}}})
	s.events[id] = findingOn(s, s.bucket(), objectKey(id), id, cardList, s.now().Add(-time.Hour))
	s.macie.Put(s.events[id])
}

// findingOn is Macie's event about the card in a list of cards.
func findingOn(t testing.TB, bucket, key, id, body string, at time.Time) []byte {
	l, err := coffer.ParseLocation("cell:R2C2")
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum([]byte(body))
	return macie.Event(coffer.Finding{
		ID: id, AccountID: lookalike.Account, Partition: "aws", Region: lookalike.Region, Type: "SensitiveData:S3Object/Financial",
		Severity: coffer.SeverityHigh, CreatedAt: at.UTC(), LastModified: at.Add(-time.Hour).UTC(), Size: int64(len(body)), Status: "COMPLETE",
		Object: coffer.Object{Bucket: bucket, Key: key, ETag: hex.EncodeToString(sum[:])},
		JobID:  "7c1f0a94d2b84e6fa35b90e1c84d2f17", OriginType: "SENSITIVE_DATA_DISCOVERY_JOB",
		Detections:  []coffer.Detection{{Type: "CREDIT_CARD_NUMBER", Category: "FINANCIAL_INFORMATION", Count: 1}},
		Occurrences: []coffer.Occurrence{{N: 1, Type: "CREDIT_CARD_NUMBER", At: l}},
	})
}

// newQueue makes a queue with dead letters after three receives, and returns its URL.
func newQueue(t testing.TB, c *sqs.Client, name string, visibility time.Duration) string {
	t.Helper()
	dead, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(name + "-dead")})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
		"VisibilityTimeout": fmt.Sprint(int(visibility.Seconds())),
		"RedrivePolicy":     fmt.Sprintf(`{"deadLetterTargetArn":"%s","maxReceiveCount":"3"}`, queueARN(*dead.QueueUrl)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return *out.QueueUrl
}

func (s *site) send(r app.Role, body string) {
	s.Helper()
	url := s.queue[r]
	if _, err := s.sqs.SendMessage(s.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}); err != nil {
		s.Fatal(err)
	}
}

// poll takes what is in the queue of a role to the function, batch by batch, and returns how many messages came.
func (s *site) poll(r app.Role) (n int) {
	s.Helper()
	for range 50 {
		got, _, err := s.mapping[r].Poll(s.Context())
		if err != nil {
			s.Fatal(err)
		}
		if got == 0 {
			return n
		}
		n += got
	}
	s.Fatalf("the queue of %s does not become empty\n%s", r, s.fn[r].Said())
	return n
}

// lapse lets the visibility timeouts of a queue end, and the leases of whoever died with them.
func (s *site) lapse(r app.Role) (n int) {
	s.Helper()
	s.pass(visibility)
	n, err := s.mapping[r].Lapse(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// settle has the queue of a role work off what is in it, whatever dies meanwhile. Where nothing is left in the queue and it is not done, the
// schedule finds what waits.
func (s *site) settle(r app.Role, done func() bool) {
	s.Helper()
	for range 8 {
		s.poll(r)
		if n := s.lapse(r); n > 0 {
			continue
		}
		if done() {
			return
		}
		_, _ = s.fn[app.Schedule].Invoke([]byte(`{}`)) // it may be the one to die
	}
	s.Fatalf("%s does not come to its end\n%s", r, s.fn[r].Said())
}

// request is one of the API as API Gateway hands it on.
func request(method, path string, body any) events.APIGatewayV2HTTPRequest {
	r := events.APIGatewayV2HTTPRequest{Version: "2.0", RawPath: path, Headers: map[string]string{
		"host": "coffer.example", "x-coffer-origin": secret, "idempotency-key": "test-" + store.NewVersion(),
	}}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			panic(err) // maps and strings
		}
		r.Body, r.Headers["content-type"] = string(b), "application/json"
	}
	r.RequestContext.HTTP.Method, r.RequestContext.HTTP.SourceIP = method, "192.0.2.7"
	r.RequestContext.Stage = "$default"
	r.RequestContext.Authorizer = &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
		IAM: &events.APIGatewayV2HTTPRequestContextAuthorizerIAMDescription{UserARN: fixer},
	}
	return r
}

// try sends a request once. status is 502 when the function gives no answer.
func (s *site) try(r events.APIGatewayV2HTTPRequest) (status int, answer map[string]any) {
	s.Helper()
	payload, err := json.Marshal(r)
	if err != nil {
		s.Fatal(err)
	}
	said, err := s.fn[app.API].Invoke(payload)
	if err != nil {
		return http.StatusBadGateway, nil
	}
	var out events.APIGatewayV2HTTPResponse
	if err := json.Unmarshal(said, &out); err != nil {
		s.Fatal(err)
	}
	if out.Body != "" {
		if err := json.Unmarshal([]byte(out.Body), &answer); err != nil {
			s.Fatalf("%s %s: %d, no JSON", r.RequestContext.HTTP.Method, r.RawPath, out.StatusCode)
		}
	}
	return out.StatusCode, answer
}

// do sends a request, and again under the same key as a client does, until it is answered.
func (s *site) do(method, path string, body any) map[string]any {
	s.Helper()
	r := request(method, path, body)
	var status int
	var answer map[string]any
	for range 6 {
		if status, answer = s.try(r); status < 300 {
			return answer
		}
		if status < 500 && answer["code"] != "in-progress" {
			break
		}
		s.pass(2 * time.Minute) // as long as whoever died may be thought to be at it
	}
	s.Fatalf("%s %s: %d %v\n%s", method, path, status, answer, s.fn[app.API].Said())
	return nil
}

// job asks for something that is done by a job, and has it done; it returns the results of its items.
func (s *site) job(r app.Role, method, path string, body any) (results []string) {
	s.Helper()
	answer := s.do(method, path, body)
	id, _ := answer["job"].(string)
	if inner, ok := answer["job"].(map[string]any); ok {
		id, _ = inner["job"].(string)
	}
	s.settle(r, func() bool {
		j, err := s.app.Jobs.Get(s.Context(), id)
		return err == nil && j.State.Ended()
	})
	items, err := s.app.Jobs.Items(s.Context(), id)
	if err != nil {
		s.Fatal(err)
	}
	for _, it := range items {
		if it.Error != "" {
			s.Fatalf("%s: %s\n%s", path, it.Error, s.fn[r].Said())
		}
		results = append(results, it.Result)
	}
	return results
}

// body is what an object holds now.
func (s *site) body(id string) string {
	v := s.objects.Versions(s.bucket(), objectKey(id))
	if len(v) == 0 || v[0].Marker {
		return ""
	}
	return string(v[0].Bytes())
}

// state is what the tag of an object says.
func (s *site) state(id string) string {
	state, n := "", 0
	for _, t := range s.objects.Versions(s.bucket(), objectKey(id))[0].Tags {
		if t.Key == "coffer:state" {
			state = t.Value
			n++
		}
		if t.Key == "team" && t.Value == "payments" {
			n++
		}
	}
	if n != 2 {
		return "the tags are not these"
	}
	return state
}

// sealed demands that a finding is taken in, once: one arrival, one line, one value that opens.
func (s *site) sealed(id string) {
	s.Helper()
	rec, err := s.app.Records.Get(s.Context(), id)
	if err != nil || rec.Sealed != 1 || rec.Count != 1 || rec.Finding.Origin != coffer.OriginMacie {
		s.Fatalf("%s: the record: %v\n%s", id, err, s.fn[app.Intake].Said())
	}
	lines, err := s.app.Records.Lines(s.Context(), id)
	if err != nil || len(lines) != 1 || !lines[0].Sealed {
		s.Fatalf("%s: %d lines, %v", id, len(lines), err)
	}
	got, err := s.app.Vault.Reveal(s.Context(), s.reason(), id)
	if err != nil || len(got) != 1 {
		s.Fatalf("%s: %d values, %v", id, len(got), err)
	}
	if string(got[0].Plain.Expose()) != card {
		s.Fatalf("%s: another value than was sealed", id)
	}
}

func (s *site) reason() access.Ask {
	a := s.ask
	a.Context.Reason, a.Context.Note = "investigation", "a look in a test"
	return a
}

// end lets a day pass, in which the schedule has removed what crashed writers left, and demands that every promise holds that package check
// knows, that nothing is left over, and that the value is nowhere where it must not be.
func (s *site) end() {
	s.Helper()
	s.tap.Decide(nil)
	s.pass(25 * time.Hour)
	for range 2 {
		s.invoke(app.Schedule, []byte(`{}`))
		for _, r := range []app.Role{app.Intake, app.Remedy, app.API} {
			for s.poll(r); s.lapse(r) > 0; {
				s.poll(r)
			}
		}
	}
	report, err := check.Run(s.Context(), s.app.CheckParts(), s.ask, check.Options{})
	if err != nil {
		s.Fatal(err)
	}
	for _, v := range report.Violations {
		s.Errorf("check: %v", v)
	}
	for _, l := range report.Litter {
		s.Errorf("litter: %s", l)
	}
	for _, b := range []string{s.bucket(), s.name + "-originals", s.name + "-log"} {
		for _, u := range s.objects.Uploads(b) {
			s.Errorf("an upload to %s is left, since %v", b, u.Started)
		}
		if b == s.bucket() {
			continue
		}
		for _, key := range s.objects.Keys(b) {
			for _, v := range s.objects.Versions(b, key) {
				if s.leaks.in([]byte(key)) || s.leaks.in(v.Bytes()) {
					s.Errorf("the value is in %s", b)
				}
			}
		}
	}
	s.scan()
	for r, f := range s.fn {
		if s.leaks.in([]byte(f.Said())) {
			s.Errorf("%s: the value is in its log", r)
		}
	}
	for _, said := range s.leaks.told() {
		s.Error(said)
	}
	for r, url := range s.queue {
		for _, u := range []string{url, url + "-dead"} {
			if n := s.waiting(u); n > 0 {
				s.Errorf("%d messages are left for %s: %s", n, r, u[strings.LastIndex(u, "/")+1:])
			}
		}
	}
}

// waiting is how many messages are in a queue.
func (s *site) waiting(url string) (n int) {
	s.Helper()
	out, err := s.sqs.GetQueueAttributes(s.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{
		sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible}})
	if err != nil {
		s.Fatal(err)
	}
	for _, v := range out.Attributes {
		var k int
		if _, err := fmt.Sscan(v, &k); err != nil {
			s.Fatal(err)
		}
		n += k
	}
	return n
}

// scan demands that the value is nowhere in the tables.
func (s *site) scan() {
	s.Helper()
	for _, table := range []string{s.name, app.KeyTable(s.name)} {
		n := 0
		for p := dynamodb.NewScanPaginator(s.tables, &dynamodb.ScanInput{TableName: &table}); p.HasMorePages(); {
			page, err := p.NextPage(s.Context())
			if err != nil {
				s.Fatal(err)
			}
			for _, item := range page.Items {
				n++
				for name, v := range item {
					b := []byte(fmt.Sprint(v))
					switch v := v.(type) {
					case *types.AttributeValueMemberB:
						b = v.Value
					case *types.AttributeValueMemberS:
						b = []byte(v.Value)
					}
					if s.leaks.in(b) {
						s.Errorf("table %s, attribute %s holds the value", table, name)
					}
				}
			}
		}
		if n == 0 {
			s.Errorf("the table %s is empty", table)
		}
	}
}

// leaks looks for the value in what functions send.
type leaks struct {
	bucket string // of the objects, to which it may go

	mu    sync.Mutex
	found []string
}

// forms are the value as it stands, and as base64 writes it, whatever comes before it.
var forms = sync.OnceValue(func() (out [][]byte) {
	out = append(out, []byte(card))
	for before := range 3 {
		e := base64.StdEncoding.EncodeToString([]byte("xx"[:before] + card))
		// The characters that depend on the value alone.
		out = append(out, []byte(e[(before*8+5)/6:(before+len(card))*8/6]))
	}
	return out
})

func (l *leaks) in(b []byte) bool {
	for _, f := range forms() {
		if bytes.Contains(b, f) {
			return true
		}
	}
	return false
}

func (l *leaks) request(c lambdaharness.Call, body []byte) {
	if c.Service == "s3" && c.Bucket == l.bucket || !l.in(body) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found = append(l.found, fmt.Sprintf("%v: the value is in the request", c))
}

func (l *leaks) told() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found
}

// planned has a plan made by who looks on.
func (s *site) planned(id string) string {
	s.Helper()
	groups, err := s.app.Remedy.Groups(s.Context(), id)
	if err != nil {
		s.Fatal(err)
	}
	p, err := s.app.Remedy.Plan(s.Context(), s.ask, groups[0], remedy.Options{Action: remedy.Redact})
	if err != nil {
		s.Fatal(err)
	}
	return p.ID
}

// taken has a finding taken in by who looks on.
func (s *site) taken(id string) {
	s.Helper()
	s.put(id)
	for d, err := range macie.Decode(s.Context(), bytes.NewReader(s.events[id])) {
		if err != nil {
			s.Fatal(err)
		}
		if _, err := s.app.Pipeline.TakeDocument(s.Context(), s.ask, d, coffer.OriginOperator, "test"); err != nil {
			s.Fatal(err)
		}
	}
}

// applied has a plan carried out by who looks on.
func (s *site) applied(plan string) {
	s.Helper()
	s.approved(plan)
	p, err := s.app.Remedy.Apply(s.Context(), s.ask, plan, remedy.Closing{})
	if err != nil || p.State != remedy.Applied {
		s.Fatalf("apply: %v", err)
	}
}

func (s *site) approved(plan string) {
	s.Helper()
	if _, err := s.app.Remedy.Approve(s.Context(), s.ask, plan); err != nil {
		s.Fatal(err)
	}
}
