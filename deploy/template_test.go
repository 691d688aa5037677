package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/awslabs/goformation/v7"
	"github.com/awslabs/goformation/v7/intrinsics"

	"coffer/app"
	"coffer/internal/iam"
	"coffer/internal/lookalike"
)

// TestTemplateIsCloudFormation: two readers that know the resources of AWS find nothing wrong.
func TestTemplateIsCloudFormation(t *testing.T) {
	t.Run("goformation", func(t *testing.T) {
		tmpl, err := goformation.ParseYAMLWithOptions(template(t), &intrinsics.ProcessorOptions{ParameterOverrides: full()}) // it rejects properties that a resource does not have
		if err != nil {
			t.Fatal(err)
		}
		if n := len(tmpl.Resources); n < 60 {
			t.Errorf("%d resources", n)
		}
	})
	t.Run("cfn-lint", func(t *testing.T) {
		lookalike.CfnLint(t, "template.yaml")
	})
}

// TestNoStars: no statement gives every action or every resource. In the policy of a key "*" is that key. An action without a resource of
// its own is narrowed by a condition.
func TestNoStars(t *testing.T) {
	s := newStack(t, template(t), full())
	for _, r := range s.of("AWS::IAM::Role") {
		for _, d := range s.role(r.id) {
			for i, st := range d.Statements {
				if slices.ContainsFunc(st.Action, func(a string) bool { return strings.Contains(a, "*") }) || len(st.NotAction) > 0 {
					t.Errorf("%s, %s: actions %q", r.id, st.Name(i), st.Action)
				}
				for _, on := range st.Resource {
					switch {
					case on == "*" && len(st.Condition) == 0:
						t.Errorf("%s, %s: every resource and no condition", r.id, st.Name(i))
					case on != "*" && strings.Contains(strings.Join(strings.SplitN(on, ":", 6)[:min(5, strings.Count(on, ":"))], ":"), "*"):
						t.Errorf("%s, %s: %s", r.id, st.Name(i), on)
					}
				}
				if len(st.NotResource) > 0 {
					t.Errorf("%s, %s: says what it is not about", r.id, st.Name(i))
				}
			}
		}
		if r.properties["ManagedPolicyArns"] != nil {
			t.Errorf("%s has policies that stand elsewhere and change by themselves", r.id)
		}
	}
	for _, kind := range []string{"AWS::KMS::Key", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy", "AWS::S3::BucketPolicy"} {
		for _, r := range s.of(kind) {
			doc := r.properties["PolicyDocument"]
			if kind == "AWS::KMS::Key" {
				doc = r.properties["KeyPolicy"]
			}
			for i, st := range s.policy(doc).Statements {
				if st.Deny {
					continue
				}
				if slices.ContainsFunc(st.Action, func(a string) bool { return strings.Contains(a, "*") }) {
					t.Errorf("%s, %s: actions %q", r.id, st.Name(i), st.Action)
				}
				if st.Principal.Any && st.Condition["StringEquals"]["kms:CallerAccount"] == nil {
					t.Errorf("%s, %s: everybody", r.id, st.Name(i))
				}
				if len(st.Principal.Service) > 0 && len(st.Condition) == 0 {
					t.Errorf("%s, %s: a service for whomever it acts", r.id, st.Name(i))
				}
			}
		}
	}
}

// TestQueues: nothing is lost between Macie and a function.
func TestQueues(t *testing.T) {
	s := newStack(t, template(t), plain())
	const fortnight = 14 * 24 * 60 * 60
	byARN := map[string]*resource{}
	for _, q := range s.of("AWS::SQS::Queue") {
		byARN[s.attribute(q.id, "Arn").(string)] = q
		if q.properties["MessageRetentionPeriod"] != fortnight {
			t.Errorf("%s keeps messages for %v s", q.id, q.properties["MessageRetentionPeriod"])
		}
		if q.properties["KmsMasterKeyId"] != s.attribute("ServiceKey", "Arn") {
			t.Errorf("%s is not encrypted under the service key", q.id)
		}
	}
	mapped := 0
	for _, m := range s.of("AWS::Lambda::EventSourceMapping") {
		mapped++
		p := m.properties
		if l, _ := p["FunctionResponseTypes"].([]any); !slices.Contains(l, any("ReportBatchItemFailures")) {
			t.Errorf("%s: what a function reports as failed is deleted", m.id)
		}
		if c, _ := p["ScalingConfig"].(map[string]any); c["MaximumConcurrency"] == nil {
			t.Errorf("%s has no bound", m.id)
		}
		q := byARN[p["EventSourceArn"].(string)]
		var f *resource
		for _, r := range s.of("AWS::Lambda::Function") {
			if s.name(r) == p["FunctionName"] {
				f = r
			}
		}
		if v, to := q.properties["VisibilityTimeout"].(int), f.properties["Timeout"].(int); v != 6*to {
			t.Errorf("%s: messages come back after %d s, the function may run for %d", m.id, v, to)
		}
		r, _ := q.properties["RedrivePolicy"].(map[string]any)
		if n, _ := r["maxReceiveCount"].(int); n < 5 || byARN[r["deadLetterTargetArn"].(string)] == nil {
			t.Errorf("%s: %v", q.id, r)
		}
	}
	if mapped != 3 {
		t.Errorf("%d queues feed functions", mapped)
	}
	// A queue takes dead letters from those alone that send them there.
	for _, q := range newStack(t, template(t), full()).of("AWS::SQS::Queue") {
		r, ok := q.properties["RedrivePolicy"].(map[string]any)
		if !ok {
			continue
		}
		from, _ := byARN[r["deadLetterTargetArn"].(string)].properties["RedriveAllowPolicy"].(map[string]any)["sourceQueueArns"].([]any)
		if !slices.Contains(from, any(s.attributeOf("AWS::SQS::Queue", q.properties["QueueName"].(string)))) {
			t.Errorf("%s: its dead letters are not taken", q.id)
		}
	}
	rule := s.resources["FindingsRule"].properties
	target := rule["Targets"].([]any)[0].(map[string]any)
	dead, _ := target["DeadLetterConfig"].(map[string]any)
	if byARN[target["Arn"].(string)] == nil || byARN[dead["Arn"].(string)] == nil {
		t.Errorf("the rule's target: %v", target)
	}
	pattern, _ := json.Marshal(rule["EventPattern"])
	for _, want := range []string{`"source":["aws.macie"]`, `"detail-type":["Macie Finding"]`, `"account":["` + account + `"]`} {
		if !strings.Contains(string(pattern), want) {
			t.Errorf("the rule's pattern is without %s", want)
		}
	}
	for _, id := range []string{"IntakeQueuePolicy", "UndeliveredQueuePolicy"} {
		from := s.policy(s.resources[id].properties["PolicyDocument"]).Statements[0].Condition["ArnEquals"]["aws:SourceArn"]
		if want := "arn:aws:events:" + region + ":" + account + ":rule/" + rule["Name"].(string); !slices.Equal(from, []string{want}) {
			t.Errorf("%s takes messages from %q, not %s", id, from, want)
		}
	}
}

// TestTables: the template makes what `coffer setup` makes.
func TestTables(t *testing.T) {
	s := newStack(t, template(t), plain())
	data, keys := s.resources["DataTable"].properties, s.resources["KeyTable"].properties
	if got, want := keys["TableName"], app.KeyTable(data["TableName"].(string)); got != want {
		t.Errorf("the key table is called %v; the program looks for %s", got, want)
	}
	for name, p := range map[string]map[string]any{"data": data, "keys": keys} {
		b, _ := json.Marshal([]any{p["KeySchema"], p["AttributeDefinitions"], p["TimeToLiveSpecification"], p["DeletionProtectionEnabled"], p["BillingMode"]})
		const want = `[[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],` +
			`[{"AttributeName":"pk","AttributeType":"B"},{"AttributeName":"sk","AttributeType":"B"}],{"AttributeName":"exp","Enabled":true},true,"PAY_PER_REQUEST"]`
		if string(b) != want {
			t.Errorf("%s: %s", name, b)
		}
		recovery, _ := p["PointInTimeRecoverySpecification"].(map[string]any)
		if recovery["PointInTimeRecoveryEnabled"] != (name == "data") {
			t.Errorf("%s: %v; what a purge destroys must not come back, what else is lost must", name, recovery)
		}
		if p["StreamSpecification"] != nil {
			t.Errorf("%s has a stream, which is a copy", name)
		}
	}
}

// TestBuckets: what is purged from the originals is gone, what is in the log stays, and nothing is public or reached without TLS.
func TestBuckets(t *testing.T) {
	s := newStack(t, template(t), plain())
	for _, b := range s.of("AWS::S3::Bucket") {
		block, _ := b.properties["PublicAccessBlockConfiguration"].(map[string]any)
		for _, k := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
			if block[k] != true {
				t.Errorf("%s: %s is %v", b.id, k, block[k])
			}
		}
		versioned := b.properties["VersioningConfiguration"] != nil
		locked := b.properties["ObjectLockEnabled"] == true && b.properties["ObjectLockConfiguration"] != nil
		if log := b.id == "LogBucket"; versioned != log || locked != log {
			t.Errorf("%s: versioned %v, locked %v", b.id, versioned, locked)
		}
		tls := false
		for _, p := range s.of("AWS::S3::BucketPolicy") {
			if p.properties["Bucket"] != s.name(b) {
				continue
			}
			for _, st := range s.policy(p.properties["PolicyDocument"]).Statements {
				tls = tls || st.Deny && slices.Equal(st.Action, []string{"s3:*"}) && slices.Equal(st.Condition["Bool"]["aws:SecureTransport"], []string{"false"}) && len(st.Resource) == 2
			}
		}
		if !tls {
			t.Errorf("%s is reached without TLS", b.id)
		}
	}
}

// TestWhatStays: deleting the stack, or replacing a part of it, loses nothing that cannot be made anew.
func TestWhatStays(t *testing.T) {
	s := newStack(t, template(t), full())
	for _, kind := range []string{"AWS::KMS::Key", "AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::Logs::LogGroup", "AWS::Cognito::UserPool"} {
		for _, r := range s.of(kind) {
			if r.attributes["DeletionPolicy"] != "Retain" || r.attributes["UpdateReplacePolicy"] != "Retain" {
				t.Errorf("%s goes with the stack", r.id)
			}
		}
	}
	for _, r := range s.of("AWS::Logs::LogGroup") {
		if r.properties["RetentionInDays"] == nil || r.properties["KmsKeyId"] == nil {
			t.Errorf("%s: kept for ever, or in the clear", r.id)
		}
	}
}

// TestAlarms: every queue of dead letters, every function and the clock of the log have somebody who is told.
func TestAlarms(t *testing.T) {
	s := newStack(t, template(t), full())
	watched := map[string]bool{}
	for _, a := range s.of("AWS::CloudWatch::Alarm") {
		if l, _ := a.properties["AlarmActions"].([]any); len(l) == 0 || !strings.HasPrefix(a.properties["AlarmName"].(string), "coffer-") {
			t.Errorf("%s tells nobody, or may not publish to the topic", a.id)
		}
		dimensions, ok := a.properties["Dimensions"].([]any)
		if !ok {
			watched[a.properties["MetricName"].(string)+" "+a.properties["Namespace"].(string)] = true
		}
		for _, d := range dimensions {
			watched[a.properties["MetricName"].(string)+" "+d.(map[string]any)["Value"].(string)] = true
		}
	}
	for _, want := range []string{
		"ApproximateNumberOfMessagesVisible coffer-intake-dead-letters", "ApproximateNumberOfMessagesVisible coffer-work-dead-letters",
		"ApproximateNumberOfMessagesVisible coffer-undelivered-events", "InvocationsFailedToBeSentToDLQ coffer-macie-findings",
		"ApproximateAgeOfOldestMessage coffer-intake", "Errors coffer-intake", "Errors coffer-api", "Errors coffer-remedy", "Errors coffer-verify",
		"Errors coffer-schedule", "Invocations coffer-schedule", "MessagesAgain Coffer/coffer", "ApproximateAgeOfOldestMessage coffer-worker",
	} {
		if !watched[want] {
			t.Errorf("nobody watches %s", want)
		}
	}
}

// TestMessagesAgain: what a function says of a message that fails is counted, for each function that a queue feeds. Lambda counts no error then.
func TestMessagesAgain(t *testing.T) {
	s := newStack(t, template(t), plain())
	source, err := os.ReadFile(filepath.Clean("../cmd/coffer-lambda/queue.go"))
	if err != nil {
		t.Fatal(err)
	}
	fed, counted := map[string]bool{}, map[string]bool{}
	for _, m := range s.of("AWS::Lambda::EventSourceMapping") {
		for _, f := range s.of("AWS::Lambda::Function") {
			if s.name(f) == m.properties["FunctionName"] {
				fed[f.properties["LoggingConfig"].(map[string]any)["LogGroup"].(string)] = true
			}
		}
	}
	for _, f := range s.of("AWS::Logs::MetricFilter") {
		counted[f.properties["LogGroupName"].(string)] = true
		text, ok := strings.CutPrefix(f.properties["FilterPattern"].(string), `{ $.msg = "`)
		text, end := strings.CutSuffix(text, `" }`)
		to := f.properties["MetricTransformations"].([]any)[0].(map[string]any)
		if !ok || !end || !bytes.Contains(source, []byte(`f.logger.WarnContext(ctx, "`+text+`"`)) ||
			to["MetricName"] != "MessagesAgain" || to["MetricNamespace"] != "Coffer/coffer" {
			t.Errorf("%s counts what nobody says, or where nobody looks", f.id)
		}
	}
	if !maps.Equal(fed, counted) || len(fed) != 3 {
		t.Errorf("queues feed %v, counted is %v", sorted(fed), sorted(counted))
	}
}

// TestDashboard: it is JSON when its names are filled in.
func TestDashboard(t *testing.T) {
	s := newStack(t, template(t), plain())
	if body := s.resources["Dashboard"].properties["DashboardBody"].(string); !json.Valid([]byte(body)) {
		t.Errorf("no JSON: %s", body)
	}
}

// TestSmall: CloudFormation takes templates of 1 MB from a bucket and of 51,200 bytes in the request; role policies of 10,240 characters.
func TestSmall(t *testing.T) {
	if fi, err := os.Stat(filepath.Clean("template.yaml")); err != nil || fi.Size() > 1_000_000 {
		t.Errorf("%v, %v", fi, err)
	}
	s := newStack(t, template(t), full())
	for _, r := range s.of("AWS::IAM::Role") {
		n := 0
		for _, p := range r.properties["Policies"].([]any) {
			b, _ := json.Marshal(p.(map[string]any)["PolicyDocument"])
			n += len(b)
		}
		if n > 10_240/2 { // half, for as many buckets more
			t.Errorf("%s: %d characters", r.id, n)
		}
	}
	for _, k := range s.of("AWS::KMS::Key") {
		if b, _ := json.Marshal(k.properties["KeyPolicy"]); len(b) > 32_768/2 {
			t.Errorf("%s: %d bytes", k.id, len(b))
		}
	}
}

// TestManyBuckets: twenty buckets with the longest names that S3 knows fit into the policies of each role and into the variables of each function,
// with the longest name of an installation. docs/deploy.md tells that number.
func TestManyBuckets(t *testing.T) {
	p := full()
	var buckets []any
	for i := range 20 {
		buckets = append(buckets, fmt.Sprintf("%02d-%s", i, strings.Repeat("x", 60)))
	}
	p["Buckets"], p["Name"] = buckets, strings.Repeat("n", 20)
	s := newStack(t, template(t), p)
	for _, r := range s.of("AWS::IAM::Role") {
		n := 0
		for _, p := range r.properties["Policies"].([]any) {
			b, _ := json.Marshal(p.(map[string]any)["PolicyDocument"])
			n += len(b)
		}
		if t.Logf("%s: %d characters", r.id, n); n > 9_500 { // of 10,240; AWS' own ids are some characters longer than those here
			t.Errorf("%s: %d characters", r.id, n)
		}
	}
	for role, vars := range s.environments() {
		n := 0
		for name, v := range vars {
			if n += len(name) + len(v); strings.HasSuffix(name, "QUEUE") {
				n += len("https://sqs." + region + ".amazonaws.com/" + account + "/")
			}
		}
		if t.Logf("%s: %d bytes of variables", role, n); role != "worker" && n > 3_700 { // of 4,096; likewise
			t.Errorf("%s: %d bytes of variables", role, n)
		}
	}
}

// wanted are the variables that a function must have beside those that all have; with a worker, those after the bar, too.
var wanted = map[string]string{
	"intake": "MACIE INTAKE_QUEUE | WORKER_QUEUE", "api": "MACIE QUEUE INTAKE_QUEUE API_QUEUE LOOK_FUNCTION ORIGIN_SECRET CONFIG | WORKER_QUEUE",
	"remedy": "QUEUE VERIFY_FUNCTION | WORKER_QUEUE", "verify": "|", "schedule": "MACIE QUEUE INTAKE_QUEUE API_QUEUE CONFIG | WORKER_QUEUE",
	"worker": "MACIE VERIFY_FUNCTION WORKER_QUEUE |",
}

// variable matches the names of variables in the program's source.
var variable = regexp.MustCompile(`"(COFFER_[A-Z_]+)"`)

// environments are the variables of the functions and of the worker by role.
func (s *stack) environments() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, f := range s.of("AWS::Lambda::Function") {
		vars := map[string]string{}
		for k, v := range f.properties["Environment"].(map[string]any)["Variables"].(map[string]any) {
			vars[k] = v.(string)
		}
		out[vars["COFFER_FUNCTION"]] = vars
	}
	for _, d := range s.of("AWS::ECS::TaskDefinition") {
		vars := map[string]string{}
		for _, v := range d.properties["ContainerDefinitions"].([]any)[0].(map[string]any)["Environment"].([]any) {
			vars[v.(map[string]any)["Name"].(string)] = v.(map[string]any)["Value"].(string)
		}
		out["worker"] = vars
	}
	return out
}

// TestEnvironment: what the template tells each function and the worker the program reads and accepts, and nothing that it needs is missing.
// TestStack has the program itself start with it.
func TestEnvironment(t *testing.T) {
	read := map[string]map[string]bool{} // names that the source of a program reads
	for file, of := range map[string]string{"../cmd/coffer-lambda/main.go": "function", "../cmd/coffer/worker.go": "worker", "../app/app.go": "worker"} {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatal(err)
		}
		if read[of] == nil {
			read[of] = map[string]bool{}
		}
		for _, m := range variable.FindAllSubmatch(text, -1) {
			read[of][string(m[1])] = true
		}
	}
	for name, parameters := range configurations {
		s := newStack(t, template(t), parameters())
		all := s.environments()
		for role, vars := range all {
			known := maps.Clone(read[map[bool]string{true: "worker", false: "function"}[role == "worker"]])
			c, err := app.Environment(func(n string) string { known[n] = true; return vars[n] })
			if err == nil {
				err = c.Check(t.TempDir())
			}
			if err != nil {
				t.Errorf("%s, %s: %v", name, role, err)
				continue
			}
			size := 0
			for n, v := range vars {
				size += len(n) + len(v)
				if !known[n] {
					t.Errorf("%s, %s: nobody reads %s", name, role, n)
				}
				if v == "" {
					t.Errorf("%s, %s: %s is empty", name, role, n)
				}
			}
			if size > 4096/2 { // half of what Lambda takes, for as many buckets and settings
				t.Errorf("%s, %s: %d bytes of variables", name, role, size)
			}
			least, worker, _ := strings.Cut(wanted[role], "|")
			want := strings.Fields("OBJECTS ORIGINALS KEYS STORE LOG BUCKETS " + least)
			if s.resources["WorkerQueue"] != nil {
				want = append(want, strings.Fields(worker)...)
			}
			for _, n := range want {
				if vars["COFFER_"+n] == "" {
					t.Errorf("%s, %s is without COFFER_%s", name, role, n)
				}
			}
			if !slices.Contains(app.Roles(), app.Role(role)) {
				t.Errorf("%s is no role of the program", role)
			}
			if want := "dynamodb:" + s.name(s.resources["DataTable"]); c.Store != want || len(c.Buckets) != 2 || !strings.Contains(c.Keys, "?verify=") {
				t.Errorf("%s: %s, %q, %s", role, c.Store, c.Buckets, c.Keys)
			}
			if (len(c.Identity.Issuers) == 1) != (role == "api") {
				t.Errorf("%s: issuers %v", role, c.Identity.Issuers)
			}
			targets := 0
			if name == "full" && (role == "api" || role == "schedule") {
				targets = 4
			}
			if len(c.Notify) != targets {
				t.Errorf("%s, %s: %d targets of messages", name, role, len(c.Notify))
			}
			if name == "full" && role != "verify" && c.Grace != "14d" {
				t.Errorf("%s does not have the settings", role)
			}
			// Whoever knows a queue may send to it, but for the worker, who takes from it.
			for n, v := range vars {
				if !strings.HasSuffix(n, "QUEUE") || role == "worker" {
					continue
				}
				q := s.attributeOf("AWS::SQS::Queue", v)
				if d := (iam.Policies{Identity: s.role(roles[role]), Owner: account}).Decide(iam.Request{
					Principal: iam.Principal{ARN: s.arn(roles[role]), Account: account}, Action: "sqs:SendMessage", Resource: q,
				}); d.Allowed != iam.Yes {
					t.Errorf("%s, %s may not send to %s", name, role, n)
				}
			}
		}
		if (all["worker"] != nil) != (name == "full") || len(all) < 5 {
			t.Errorf("%s: %d environments", name, len(all))
		}
	}
}
