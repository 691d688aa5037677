package deploy_test

import (
	"slices"
	"strings"
	"testing"

	"coffer/internal/iam"
)

// encrypted are the kinds of resources that keep something under a key: the property that names it, and how their service comes to it. A service
// with a via acts for whoever uses the resource; one with a principal acts by itself, under the conditions that keys give.
//
// Sources: the developer guides' sections on keys of one's own: DynamoDB "Authorizing use of a customer managed key", SQS "Key management", Lambda
// "Securing environment variables", Secrets Manager "Permissions for the KMS key", CloudWatch Logs "Encrypt log data", SNS "Managing encryption keys".
var encrypted = map[string]struct {
	property, via, principal string
	actions                  []string
	keys                     map[string][]string
}{
	"AWS::DynamoDB::Table": {
		property: "SSESpecification.KMSMasterKeyId", via: "dynamodb",
		actions: []string{"kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:CreateGrant"},
	},
	"AWS::SQS::Queue":             {property: "KmsMasterKeyId", via: "sqs", actions: []string{"kms:GenerateDataKey", "kms:Decrypt"}},
	"AWS::Lambda::Function":       {property: "KmsKeyArn", via: "lambda", actions: []string{"kms:Encrypt", "kms:Decrypt", "kms:CreateGrant"}},
	"AWS::SecretsManager::Secret": {property: "KmsKeyId", via: "secretsmanager", actions: []string{"kms:GenerateDataKey", "kms:Decrypt"}},
	"AWS::SNS::Topic": {
		property: "KmsMasterKeyId", principal: "cloudwatch.amazonaws.com", actions: []string{"kms:GenerateDataKey", "kms:Decrypt"},
		keys: map[string][]string{"aws:sourcearn": {"arn:aws:cloudwatch:" + region + ":" + account + ":alarm:coffer-intake-errors"}, "aws:sourceaccount": {account}},
	},
	"AWS::Logs::LogGroup": {
		property: "KmsKeyId", principal: "logs." + region + ".amazonaws.com",
		actions: []string{"kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"},
		keys:    map[string][]string{"kms:encryptioncontext:aws:logs:arn": {"arn:aws:logs:" + region + ":" + account + ":log-group:/coffer/intake"}},
	},
}

// TestServicesReachTheirKey: whatever is kept under a key its service can keep there. Rights to keys stand in their policies alone, so that a
// service that is forgotten there makes the stack fail, or an alarm silent, and no look-alike sees it. Nobody of another account comes that way.
func TestServicesReachTheirKey(t *testing.T) {
	s := newStack(t, template(t), full())
	key := s.arn("ServiceKey")
	policy := s.policy(s.resources["ServiceKey"].properties["KeyPolicy"])
	seen := map[string]bool{}
	for _, id := range sorted(s.resources) {
		r := s.resources[id]
		e, ok := encrypted[r.kind]
		if !ok {
			for p := range r.properties {
				if strings.Contains(p, "Kms") || strings.Contains(p, "KMS") {
					t.Errorf("%s: nobody says how %s comes to its key", id, r.kind)
				}
			}
			continue
		}
		seen[r.kind] = true
		var v any = r.properties
		for p := range strings.SplitSeq(e.property, ".") {
			m, _ := v.(map[string]any)
			v = m[p]
		}
		if v != key {
			t.Errorf("%s is not under the service key", id)
		}
		for _, action := range e.actions {
			for _, of := range []string{account, "999999999999"} {
				q := iam.Request{Action: action, Resource: key, Keys: map[string][]string{
					"kms:viaservice": nil, "kms:calleraccount": {of}, "aws:sourceaccount": {of}, "aws:sourcearn": nil,
					"kms:encryptioncontext:aws:logs:arn": nil,
				}}
				if e.via != "" {
					q.Principal = iam.Principal{ARN: "arn:aws:iam::" + of + ":role/deployer", Account: of}
					q.Keys["kms:viaservice"] = []string{e.via + "." + region + ".amazonaws.com"}
				} else {
					q.Principal.Service = e.principal
					for k, l := range e.keys {
						for _, one := range l {
							q.Keys[k] = []string{strings.ReplaceAll(one, account, of)}
						}
					}
				}
				want := iam.No
				if of == account {
					want = iam.Yes
				}
				if d := (iam.Policies{Resource: &policy, Owner: account}).Decide(q); d.Allowed != want {
					t.Errorf("%s, from account %s: %s is answered %v %v", id, of, action, d.Allowed, d.Unknown)
				}
			}
		}
	}
	if !slices.Equal(sorted(seen), sorted(encrypted)) {
		t.Errorf("looked at %v alone", sorted(seen))
	}
}
