package deploy_test

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"coffer/internal/lookalike"
)

// unmade are the types of resources that moto's CloudFormation does not make. They are left out of what it is given, and what refers to
// them gets a text in their place; TestUnmade fails when moto learns one.
var unmade = []string{
	"AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Authorizer", "AWS::ApiGatewayV2::Integration", "AWS::ApiGatewayV2::Route", "AWS::ApiGatewayV2::Stage",
	"AWS::CloudFront::Distribution", "AWS::CloudWatch::Alarm", "AWS::Cognito::UserPool", "AWS::Cognito::UserPoolClient", "AWS::Cognito::UserPoolDomain",
	"AWS::Cognito::UserPoolResourceServer", "AWS::Logs::MetricFilter", "AWS::S3::BucketPolicy", "AWS::SNS::Subscription", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy",
	"AWS::Scheduler::Schedule", "AWS::SecretsManager::Secret",
}

// motoTemplate is the template without the resources that moto does not make, as JSON.
func motoTemplate(t testing.TB) string {
	root := newStack(t, template(t), full()).root
	resources := root["Resources"].(map[string]any)
	gone := map[string]bool{}
	made := map[string]any{}
	for id, r := range resources {
		if slices.Contains(unmade, r.(map[string]any)["Type"].(string)) {
			gone[id] = true
		} else {
			made[id] = r
		}
	}
	var plain func(v any) any
	plain = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			out := map[string]any{}
			for k, e := range v {
				out[k] = plain(e)
			}
			return out
		case []any:
			out := make([]any, len(v))
			for i, e := range v {
				out[i] = plain(e)
			}
			return out
		case call:
			switch v.name {
			case "Ref", "Condition":
				if gone[v.arg.(string)] {
					return v.arg
				}
				return map[string]any{v.name: v.arg}
			case "GetAtt":
				id, attribute, _ := strings.Cut(v.arg.(string), ".")
				if gone[id] {
					return v.arg
				}
				return map[string]any{"Fn::GetAtt": []any{id, attribute}}
			case "Sub":
				arg := plain(v.arg)
				for id := range gone {
					cut := func(s string) string {
						s = strings.ReplaceAll(s, "${"+id+"}", id)
						return strings.ReplaceAll(s, "${"+id+".DomainName}", id)
					}
					switch a := arg.(type) {
					case string:
						arg = cut(a)
					case []any:
						a[0] = cut(a[0].(string))
					}
				}
				return map[string]any{"Fn::Sub": arg}
			}
			return map[string]any{"Fn::" + v.name: plain(v.arg)}
		}
		return v
	}
	outputs := maps.Clone(root["Outputs"].(map[string]any))
	doc := map[string]any{
		"AWSTemplateFormatVersion": "2010-09-09", "Parameters": plain(root["Parameters"]), "Conditions": plain(root["Conditions"]),
		"Resources": plain(made), "Outputs": plain(outputs),
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, "template.json", b)
}

func written(t testing.TB, name string, b []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// parametersFile are parameters as the aws client takes them.
func parametersFile(t testing.TB, parameters map[string]any) string {
	var list []map[string]string
	for k, v := range parameters {
		if l, ok := v.([]any); ok {
			var texts []string
			for _, e := range l {
				texts = append(texts, e.(string))
			}
			v = strings.Join(texts, ",")
		}
		list = append(list, map[string]string{"ParameterKey": k, "ParameterValue": fmt.Sprint(v)})
	}
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, "parameters.json", b)
}

// motoStack is a stack of moto.
type motoStack struct {
	t    testing.TB
	moto string
	name string
}

// aws asks moto and decodes the answer.
func (m *motoStack) aws(out any, args ...string) {
	m.t.Helper()
	b := lookalike.AWS(m.t, m.moto, args...)
	if out == nil {
		return
	}
	if err := json.Unmarshal(b, out); err != nil {
		m.t.Fatalf("%s: %v", strings.Join(args[:2], " "), err)
	}
}

// create creates the stack.
func (m *motoStack) create(template string, parameters map[string]any) {
	m.t.Helper()
	m.aws(nil, "cloudformation", "create-stack", "--stack-name", m.name, "--capabilities", "CAPABILITY_IAM", "--template-body", "file://"+template,
		"--parameters", "file://"+parametersFile(m.t, parameters))
}

// resources are those that the stack has, by their ids in the template, with the names that AWS knows them by.
func (m *motoStack) resources() map[string]string {
	m.t.Helper()
	var list struct {
		StackResourceSummaries []struct{ LogicalResourceId, PhysicalResourceId, ResourceStatus string }
	}
	m.aws(&list, "cloudformation", "list-stack-resources", "--stack-name", m.name)
	out := map[string]string{}
	for _, r := range list.StackResourceSummaries {
		if r.LogicalResourceId == "" {
			continue // so moto lists what it does not make
		}
		if !strings.HasSuffix(r.ResourceStatus, "_COMPLETE") {
			m.t.Errorf("%s is %s", r.LogicalResourceId, r.ResourceStatus)
		}
		out[r.LogicalResourceId] = r.PhysicalResourceId
	}
	return out
}

// same demands that the stack has the resources of the template for these parameters that moto makes.
func (m *motoStack) same(parameters map[string]any) map[string]string {
	m.t.Helper()
	got := m.resources()
	want := map[string]bool{}
	for id, r := range newStack(m.t, template(m.t), parameters).resources {
		if !slices.Contains(unmade, r.kind) {
			want[id] = true
		}
	}
	for id := range want {
		if _, ok := got[id]; !ok {
			m.t.Errorf("%s was not made", id)
		}
	}
	for id := range got {
		if !want[id] {
			m.t.Errorf("%s was made, and is not in the template for these parameters", id)
		}
	}
	m.t.Logf("%d resources", len(got))
	return got
}

// prepare makes what the template expects to be there, and returns parameters that name it.
func (m *motoStack) prepare(parameters map[string]any) map[string]any {
	m.t.Helper()
	p := maps.Clone(parameters)
	p["CodeBucket"], p["Name"] = m.name+"-code", m.name
	code := filepath.Join(m.t.TempDir(), "code.zip")
	f, err := os.Create(code)
	if err != nil {
		m.t.Fatal(err)
	}
	z := zip.NewWriter(f)
	if _, err := z.Create("bootstrap"); err != nil {
		m.t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		m.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.aws(nil, "s3api", "create-bucket", "--bucket", m.name+"-code", "--create-bucket-configuration", "LocationConstraint="+lookalike.Region)
	m.aws(nil, "s3api", "put-object", "--bucket", m.name+"-code", "--key", p["CodeKey"].(string), "--body", code)
	if p["Vpc"] != nil {
		var vpcs struct{ Vpcs []struct{ VpcId string } }
		m.aws(&vpcs, "ec2", "describe-vpcs")
		var subnets struct{ Subnets []struct{ SubnetId string } }
		m.aws(&subnets, "ec2", "describe-subnets")
		p["Vpc"], p["Subnets"] = vpcs.Vpcs[0].VpcId, []any{subnets.Subnets[0].SubnetId}
	}
	return p
}

// TestStack: moto's CloudFormation makes the stack with everything and with the least, and takes it down again but for what stays. An update is
// not tried: moto 5.2.5 loses what the template says of a resource that an update does not change (the data table, the groups of logs).
func TestStack(t *testing.T) {
	m := &motoStack{t: t, moto: lookalike.Moto(t), name: "coffer-whole"}
	text := motoTemplate(t)
	most := m.prepare(full())
	m.create(text, most)
	made := m.same(full())

	// The policies of the keys are those that TestWhoOpensWhat has looked at, with the names that moto gave.
	for _, id := range []string{"RevealKey", "VerifyKey", "ServiceKey"} {
		var policy struct{ Policy any } // moto keeps it as a document where AWS has its text
		m.aws(&policy, "kms", "get-key-policy", "--key-id", made[id], "--policy-name", "default")
		got := policy.Policy
		s := newStack(t, template(t), most)
		want := s.resources[id].properties["KeyPolicy"]
		renamed, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		named := strings.ReplaceAll(string(renamed), account, lookalike.Account)
		for r := range roles {
			named = strings.ReplaceAll(named, `role/`+roles[r]+`"`, `role/`+made[roles[r]]+`"`)
		}
		if err := json.Unmarshal([]byte(named), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the policy of %s is another in moto:\n%v\n%s", id, got, named)
		}
	}

	m.findingArrives(made)

	small := &motoStack{t: t, moto: m.moto, name: "coffer-small"}
	least := plain()
	least["CodeBucket"], least["Name"] = most["CodeBucket"], small.name
	small.create(text, least)
	small.same(plain())
	small.aws(nil, "cloudformation", "delete-stack", "--stack-name", small.name)

	m.aws(nil, "cloudformation", "delete-stack", "--stack-name", m.name)
	m.stays(made)
}

// findingArrives: a finding that Macie puts on the bus is in the stack's queue, another's event is not.
func (m *motoStack) findingArrives(made map[string]string) {
	m.t.Helper()
	entries, err := json.Marshal([]map[string]string{
		{"Source": "aws.macie", "DetailType": "Macie Finding", "Detail": `{"id":"finding-1"}`},
		{"Source": "aws.s3", "DetailType": "Object Created", "Detail": `{"id":"finding-2"}`},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.aws(nil, "events", "put-events", "--entries", string(entries))
	var got struct{ Messages []struct{ Body string } }
	m.aws(&got, "sqs", "receive-message", "--queue-url", made["IntakeQueue"], "--max-number-of-messages", "10")
	if len(got.Messages) != 1 || !strings.Contains(got.Messages[0].Body, `"finding-1"`) {
		m.t.Errorf("in the queue of intake: %v", got.Messages)
	}
}

// stays demands that what is kept is there after the stack is gone, as its policies of deletion say.
func (m *motoStack) stays(made map[string]string) {
	m.t.Helper()
	m.aws(nil, "dynamodb", "describe-table", "--table-name", made["DataTable"])
	m.aws(nil, "dynamodb", "describe-table", "--table-name", made["KeyTable"])
	m.aws(nil, "s3api", "head-bucket", "--bucket", made["OriginalsBucket"])
	m.aws(nil, "s3api", "head-bucket", "--bucket", made["LogBucket"])
	m.aws(nil, "sqs", "get-queue-attributes", "--queue-url", made["IntakeDeadLetters"])
	var keys struct{ Keys []struct{ KeyId string } }
	m.aws(&keys, "kms", "list-keys") // moto cannot describe a key that its CloudFormation made
	for _, id := range []string{"RevealKey", "VerifyKey", "ServiceKey"} {
		if !slices.ContainsFunc(keys.Keys, func(k struct{ KeyId string }) bool { return k.KeyId == made[id] }) {
			m.t.Errorf("%s went with the stack", id)
		}
	}
	var functions struct {
		Functions []struct{ FunctionName string }
	}
	if m.aws(&functions, "lambda", "list-functions"); len(functions.Functions) != 0 {
		m.t.Errorf("functions are left: %v", functions.Functions)
	}
}

// TestUnmade: moto makes none of the types that it is said not to make.
func TestUnmade(t *testing.T) {
	m := &motoStack{t: t, moto: lookalike.Moto(t), name: "coffer-unmade"}
	resources := map[string]any{"Topic": map[string]any{"Type": "AWS::SNS::Topic"}}
	for _, kind := range unmade {
		resources[strings.ReplaceAll(strings.TrimPrefix(kind, "AWS::"), "::", "")] = map[string]any{"Type": kind, "Properties": map[string]any{}}
	}
	b, err := json.Marshal(map[string]any{"Resources": resources})
	if err != nil {
		t.Fatal(err)
	}
	m.aws(nil, "cloudformation", "create-stack", "--stack-name", m.name, "--template-body", "file://"+written(t, "unmade.json", b))
	for id := range m.resources() {
		if id != "Topic" {
			t.Errorf("moto makes %s now: take it out of unmade", id)
		}
	}
	m.aws(nil, "cloudformation", "delete-stack", "--stack-name", m.name)
}
