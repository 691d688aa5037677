// Package deploy_test holds the template against the program: what it gives each function is what the function needs, and no more.
package deploy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"coffer/internal/iam"
)

const (
	account = "111122223333"
	region  = "eu-central-1"
)

// stack is the template as CloudFormation would resolve it for some parameters, with names and ARNs as AWS gives them.
type stack struct {
	t          testing.TB
	root       map[string]any
	parameters map[string]any
	resources  map[string]*resource
}

type resource struct {
	id, kind   string
	attributes map[string]any // DependsOn, DeletionPolicy, ...
	properties map[string]any
}

// call is an intrinsic function.
type call struct {
	name string
	arg  any
}

// absent is Ref AWS::NoValue.
type absent struct{}

func template(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// receiverSecret is one that a receiver of messages names.
const receiverSecret = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:coffer/on-call-AbCdEf"

// full are parameters under which everything is made that can stand together.
func full() map[string]any {
	return map[string]any{
		"Buckets": []any{"moontrust-statements", "moontrust-exports"}, "BucketKeys": []any{"arn:aws:kms:eu-central-1:111122223333:key/objects"},
		"ResultsBucket": "moontrust-macie-results", "ResultsKey": "arn:aws:kms:eu-central-1:111122223333:key/results",
		"CodeBucket": "moontrust-code", "CodeKey": "coffer.zip", "CreateUserPool": "true",
		"WorkerImage": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/coffer:1", "Vpc": "vpc-01234567", "Subnets": []any{"subnet-01234567"},
		"AlarmEmail": "oncall@moontrust.example", "EventBus": "arn:aws:events:eu-central-1:111122223333:event-bus/moontrust", "SecurityHub": "true",
		"Receivers":       `{"name":"on-call","kind":"slack","urlFile":"secretsmanager:` + receiverSecret + `"}`,
		"ReceiverSecrets": []any{receiverSecret},
		"ArchiveBucket":   "moontrust-archive", "Settings": "grace: 14d\nreasons: [investigation, audit]",
		"Signers": `[{"arn":"arn:aws:iam::111122223333:role/pipelines","roles":["engineer"],"scopes":["finding.list","finding.read"]}]`,
	}
}

// plain are the fewest parameters.
func plain() map[string]any {
	return map[string]any{
		"Buckets": []any{"moontrust-statements", "moontrust-exports"}, "CodeBucket": "moontrust-code", "CodeKey": "coffer.zip",
		"Issuer": "https://id.moontrust.example", "Audience": "coffer", "Keys": "https://id.moontrust.example/keys",
	}
}

// named are plain with sign-in at the provider, and a name of one's own.
func named() map[string]any {
	p := plain()
	p["ClientId"] = "portal"
	p["Origin"], p["CertificateArn"] = "https://coffer.moontrust.example", "arn:aws:acm:us-east-1:111122223333:certificate/portal"
	return p
}

func newStack(t testing.TB, text []byte, parameters map[string]any) *stack {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	root, ok := value(t, doc.Content[0]).(map[string]any)
	if !ok {
		t.Fatal("the template is no mapping")
	}
	s := &stack{t: t, root: root, parameters: map[string]any{}, resources: map[string]*resource{}}
	for name, p := range root["Parameters"].(map[string]any) {
		v, given := parameters[name]
		if !given {
			if v, given = p.(map[string]any)["Default"]; !given {
				t.Fatalf("parameter %s has no default and is not given", name)
			}
			if p.(map[string]any)["Type"] == "CommaDelimitedList" {
				v = []any{v}
			}
		}
		s.parameters[name] = v
	}
	for name := range parameters {
		if _, there := s.parameters[name]; !there {
			t.Fatalf("there is no parameter %s", name)
		}
	}
	all := root["Resources"].(map[string]any)
	for id, r := range all {
		r := r.(map[string]any)
		if c, ok := r["Condition"].(string); ok && !s.condition(c) {
			continue
		}
		s.resources[id] = &resource{id: id, kind: r["Type"].(string), attributes: r}
	}
	for id, r := range s.resources {
		if p, ok := all[id].(map[string]any)["Properties"]; ok {
			r.properties = s.resolve(p).(map[string]any)
		}
	}
	return s
}

// value makes maps, lists, scalars and calls of a YAML node. An alias is an error: CloudFormation does not take them.
func value(t testing.TB, n *yaml.Node) any {
	t.Helper()
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		t.Fatalf("line %d: CloudFormation knows no anchors", n.Line)
	}
	var v any
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i].Value
			if _, twice := m[k]; twice {
				t.Fatalf("line %d: %s stands twice", n.Content[i].Line, k)
			}
			m[k] = value(t, n.Content[i+1])
		}
		v = m
	case yaml.SequenceNode:
		l := []any{}
		for _, c := range n.Content {
			l = append(l, value(t, c))
		}
		v = l
	default:
		if strings.HasPrefix(n.Tag, "!!") {
			if err := n.Decode(&v); err != nil {
				t.Fatal(err)
			}
		} else {
			v = n.Value
		}
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return call{n.Tag[1:], v}
	}
	return v
}

func (s *stack) condition(name string) bool {
	c, ok := s.root["Conditions"].(map[string]any)[name]
	if !ok {
		s.t.Fatalf("there is no condition %s", name)
	}
	return s.truth(c)
}

func (s *stack) truth(v any) bool {
	c, ok := v.(call)
	if !ok {
		s.t.Fatalf("a condition is no function")
	}
	args, _ := c.arg.([]any)
	switch c.name {
	case "Equals":
		return fmt.Sprint(s.resolve(args[0])) == fmt.Sprint(s.resolve(args[1]))
	case "Not":
		return !s.truth(args[0])
	case "Or":
		return slices.ContainsFunc(args, s.truth)
	case "And":
		return !slices.ContainsFunc(args, func(a any) bool { return !s.truth(a) })
	case "Condition":
		return s.condition(c.arg.(string))
	}
	s.t.Fatalf("condition function %s is not known here", c.name)
	return false
}

func (s *stack) resolve(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			if e = s.resolve(e); e != (absent{}) {
				m[k] = e
			}
		}
		return m
	case []any:
		l := []any{}
		for _, e := range v {
			if e = s.resolve(e); e != (absent{}) {
				l = append(l, e)
			}
		}
		return l
	case call:
		return s.call(v)
	}
	return v
}

func (s *stack) call(c call) any {
	args, _ := c.arg.([]any)
	switch c.name {
	case "Ref":
		return s.ref(c.arg.(string))
	case "GetAtt":
		id, attribute, _ := strings.Cut(c.arg.(string), ".")
		return s.attribute(id, attribute)
	case "If":
		if s.condition(args[0].(string)) {
			return s.resolve(args[1])
		}
		return s.resolve(args[2])
	case "Join":
		var parts []string
		for _, e := range s.resolve(args[1]).([]any) {
			parts = append(parts, fmt.Sprint(e))
		}
		return strings.Join(parts, args[0].(string))
	case "Split":
		var out []any
		for p := range strings.SplitSeq(s.resolve(args[1]).(string), args[0].(string)) {
			out = append(out, p)
		}
		return out
	case "Select":
		return s.resolve(args[1]).([]any)[args[0].(int)]
	case "Sub":
		text, vars := "", map[string]any{}
		if t, ok := c.arg.(string); ok {
			text = t
		} else {
			text, vars = args[0].(string), args[1].(map[string]any)
		}
		return s.sub(text, vars)
	}
	s.t.Fatalf("function %s is not known here", c.name)
	return nil
}

func (s *stack) sub(text string, vars map[string]any) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "${")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		switch v, given := vars[name]; {
		case given:
			b.WriteString(fmt.Sprint(s.resolve(v)))
		case strings.Contains(name, "."):
			id, attribute, _ := strings.Cut(name, ".")
			b.WriteString(fmt.Sprint(s.attribute(id, attribute)))
		default:
			b.WriteString(fmt.Sprint(s.ref(name)))
		}
		text = after
	}
}

func (s *stack) ref(name string) any {
	switch name {
	case "AWS::NoValue":
		return absent{}
	case "AWS::AccountId":
		return account
	case "AWS::Region":
		return region
	case "AWS::Partition":
		return "aws"
	case "AWS::URLSuffix":
		return "amazonaws.com"
	}
	if v, ok := s.parameters[name]; ok {
		return v
	}
	r, ok := s.resources[name]
	if !ok {
		s.t.Fatalf("%s is referred to and not there", name)
	}
	return s.name(r)
}

// names are the properties that name a resource of a kind.
var names = map[string]string{
	"AWS::DynamoDB::Table": "TableName", "AWS::S3::Bucket": "BucketName", "AWS::SQS::Queue": "QueueName", "AWS::Lambda::Function": "FunctionName",
	"AWS::Logs::LogGroup": "LogGroupName", "AWS::Events::Rule": "Name", "AWS::SNS::Topic": "TopicName",
}

func (s *stack) name(r *resource) string {
	if p, ok := names[r.kind]; ok {
		return s.resolve(r.attributes["Properties"].(map[string]any)[p]).(string)
	}
	return r.id
}

// attribute is the ARN of a resource, or what else is asked for.
func (s *stack) attribute(id, attribute string) any {
	r, ok := s.resources[id]
	if !ok {
		s.t.Fatalf("%s is referred to and not there", id)
	}
	if attribute != "Arn" {
		if attribute == "QueueName" {
			return s.name(r)
		}
		return id + "." + attribute
	}
	at := ":" + region + ":" + account + ":"
	switch name := s.name(r); r.kind {
	case "AWS::S3::Bucket":
		return "arn:aws:s3:::" + name
	case "AWS::IAM::Role":
		return "arn:aws:iam::" + account + ":role/" + id
	case "AWS::DynamoDB::Table":
		return "arn:aws:dynamodb" + at + "table/" + name
	case "AWS::SQS::Queue":
		return "arn:aws:sqs" + at + name
	case "AWS::KMS::Key":
		return "arn:aws:kms" + at + "key/" + id
	case "AWS::Lambda::Function":
		return "arn:aws:lambda" + at + "function:" + name
	case "AWS::Logs::LogGroup":
		return "arn:aws:logs" + at + "log-group:" + name + ":*"
	case "AWS::SNS::Topic":
		return "arn:aws:sns" + at + name
	}
	return "arn:aws:" + strings.ToLower(r.kind) + at + id
}

// attributeOf is the ARN of the resource of a kind that has a name, whether or not these parameters make it.
func (s *stack) attributeOf(kind, name string) string {
	for id, r := range s.root["Resources"].(map[string]any) {
		of := &resource{id: id, kind: kind, attributes: r.(map[string]any)}
		if of.attributes["Type"] == kind && s.name(of) == name {
			if s.resources[id] == nil {
				s.resources[id] = of
				defer delete(s.resources, id)
			}
			return s.attribute(id, "Arn").(string)
		}
	}
	s.t.Fatalf("there is no %s %s", kind, name)
	return ""
}

// policy parses a policy document of the stack.
func (s *stack) policy(doc any) iam.Document {
	b, err := json.Marshal(doc)
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := iam.Parse(b)
	if err != nil {
		s.t.Fatalf("%v: %s", err, b)
	}
	return d
}

// role returns the policies of a function's role.
func (s *stack) role(id string) []iam.Document {
	var out []iam.Document
	policies, _ := s.resources[id].properties["Policies"].([]any)
	for _, p := range policies {
		out = append(out, s.policy(p.(map[string]any)["PolicyDocument"]))
	}
	return out
}

// of returns the resources of a kind in order of their names.
func (s *stack) of(kind string) []*resource {
	var out []*resource
	for _, id := range sorted(s.resources) {
		if r := s.resources[id]; r.kind == kind {
			out = append(out, r)
		}
	}
	return out
}

func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range maps.Keys(m) {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
