package sidedoor_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"coffer"
	"coffer/internal/iam"
	"coffer/pipeline"
	"coffer/sidedoor"
)

const account = "111122223333"

func arn(name string) string { return "arn:aws:iam::" + account + ":role/" + name }

// details are MoonTrust's users and roles.
const details = `{
 "UserDetailList":[{"Arn":"arn:aws:iam::111122223333:user/ada","GroupList":["analysts"],"AttachedManagedPolicies":[]}],
 "GroupDetailList":[{"GroupName":"analysts","GroupPolicyList":[{"PolicyName":"read","PolicyDocument":{"Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::moontrust-statements/*"}]}}]}],
 "RoleDetailList":[
  {"Arn":"arn:aws:iam::111122223333:role/administrator","AttachedManagedPolicies":[{"PolicyArn":"arn:aws:iam::aws:policy/AdministratorAccess"}]},
  {"Arn":"arn:aws:iam::111122223333:role/etl","RolePolicyList":[{"PolicyName":"p","PolicyDocument":{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}}]}}]},
  {"Arn":"arn:aws:iam::111122223333:role/coffer-remedy","RolePolicyList":[{"PolicyName":"p","PolicyDocument":{"Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"*"}]}}]},
  {"Arn":"arn:aws:iam::111122223333:role/fraud","RolePolicyList":[{"PolicyName":"p","PolicyDocument":{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}}],
   "PermissionsBoundary":{"PermissionsBoundaryArn":"arn:aws:iam::111122223333:policy/elsewhere"}},
  {"Arn":"arn:aws:iam::111122223333:role/builder","RolePolicyList":[{"PolicyName":"p","PolicyDocument":{"Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}}]}],
 "Policies":[{"Arn":"arn:aws:iam::aws:policy/AdministratorAccess","PolicyVersionList":[{"IsDefaultVersion":true,"Document":{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}}]}]}`

func situation(t *testing.T) sidedoor.Situation {
	t.Helper()
	who, err := sidedoor.Principals([]byte(details))
	if err != nil {
		t.Fatal(err)
	}
	return sidedoor.Situation{Bucket: "moontrust-statements", Account: account, Principals: who, Blocked: iam.Yes, Policy: []byte(
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:role/partner"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::moontrust-statements/*"}]}`)}
}

// TestSimulate: before the policy is put, it is said who loses access, who keeps it and of whom it is not known.
func TestSimulate(t *testing.T) {
	p, err := sidedoor.Policy(sidedoor.Rules{Bucket: "moontrust-statements", Coffer: []string{arn("coffer-remedy")}, Readers: []string{arn("fraud")}})
	if err != nil {
		t.Fatal(err)
	}
	changes, err := situation(t).Simulate(p)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		if c.Action == "s3:GetObject" {
			got = append(got, fmt.Sprintf("%s %s>%s %s", c.Principal[strings.LastIndex(c.Principal, "/")+1:], c.Before, c.After, strings.Join(c.Unknown, ",")))
		}
	}
	slices.Sort(got)
	want := []string{
		"ada yes>no ", "administrator yes>no ", "coffer-remedy yes>yes ", "etl unknown>no StringEquals aws:SourceVpc",
		"fraud unknown>unknown its permissions boundary", "partner unknown>no the policies of the principal",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestPolicy: what the policy denies, to whom.
func TestPolicy(t *testing.T) {
	for _, bucket := range []string{"moontrust-statements", ""} {
		b, err := sidedoor.Policy(sidedoor.Rules{Bucket: bucket, Coffer: []string{arn("coffer-remedy")}, Readers: []string{arn("fraud")}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := iam.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if bucket != "" && len(b) > 20_000/2 {
			t.Errorf("%d bytes of the 20 KiB that a bucket's policy may have", len(b))
		}
		everything := iam.Document{Statements: []iam.Statement{{Action: []string{"*"}, Resource: []string{"*"}}}}
		for _, c := range []struct {
			who, action string
			object      []string // value of the state's tag
			request     []string // keys of the tags that the request sets
			want        iam.Answer
		}{
			{"analyst", "s3:GetObject", []string{"sensitive"}, nil, iam.No},
			{"analyst", "s3:GetObjectVersion", []string{"sensitive"}, nil, iam.No},
			{"analyst", "s3:GetObject", []string{"redacted"}, nil, iam.Yes},
			{"analyst", "s3:GetObject", nil, nil, iam.Yes},
			{"fraud", "s3:GetObject", []string{"sensitive"}, nil, iam.Yes},
			{"coffer-remedy", "s3:GetObject", []string{"sensitive"}, nil, iam.Yes},
			{"analyst", "s3:PutObjectTagging", nil, []string{"team"}, iam.Yes},
			{"analyst", "s3:PutObjectTagging", nil, []string{"team", "coffer:state"}, iam.No},
			{"analyst", "s3:PutObjectTagging", []string{"sensitive"}, []string{"team"}, iam.No},
			{"analyst", "s3:DeleteObjectTagging", []string{"sensitive"}, nil, iam.No},
			{"fraud", "s3:DeleteObjectVersionTagging", []string{"sensitive"}, nil, iam.No},
			{"coffer-remedy", "s3:PutObjectTagging", []string{"sensitive"}, []string{"coffer:state"}, iam.Yes},
		} {
			got := iam.Policies{Identity: []iam.Document{everything}, Resource: &d, Owner: account}.Decide(iam.Request{
				Principal: iam.Principal{ARN: arn(c.who), Account: account}, Action: c.action, Resource: "arn:aws:s3:::moontrust-statements/payouts.csv",
				Keys: map[string][]string{"s3:existingobjecttag/coffer:state": c.object, "s3:requestobjecttagkeys": c.request},
			})
			if got.Allowed != c.want {
				t.Errorf("bucket %q: %s %s with %v, %v: %s by %q", bucket, c.who, c.action, c.object, c.request, got.Allowed, got.By)
			}
		}
	}
	for name, r := range map[string]sidedoor.Rules{
		"nobody for Coffer": {Bucket: "b-1"},
		"everybody":         {Bucket: "b-1", Coffer: []string{arn("*")}},
		"a name":            {Bucket: "b-1", Coffer: []string{"coffer"}},
		"a bucket of all":   {Bucket: "*", Coffer: []string{arn("coffer")}},
	} {
		if _, err := sidedoor.Policy(r); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if sidedoor.Tag != pipeline.TagState || sidedoor.Sensitive != "sensitive" {
		t.Error("the policy is about another tag than Coffer sets")
	}
}

// TestReaders: what cannot be known is listed, never left out.
func TestReaders(t *testing.T) {
	s := situation(t)
	s.PolicyUnknown, s.Policy, s.ACLUnknown = true, nil, true
	s.ACL = []sidedoor.Grant{{Group: "http://acs.amazonaws.com/groups/global/AllUsers", Permission: "READ"}}
	s.Blocked = iam.Unknown
	got, err := s.Readers()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"whoever the policy of the bucket names", "whoever the ACL of the bucket names", "AllUsers", "role/etl", "role/administrator"} {
		i := slices.IndexFunc(got, func(a sidedoor.Access) bool { return strings.Contains(a.Principal, want) })
		if i < 0 || got[i].Allowed == iam.Unknown && len(got[i].Unknown) == 0 {
			t.Errorf("%s is not among %v, or without a reason", want, got)
		}
	}
	if slices.ContainsFunc(got, func(a sidedoor.Access) bool { return strings.Contains(a.Principal, "builder") }) {
		t.Error("somebody without a right is among the readers")
	}
	open := sidedoor.Situation{Bucket: "moontrust-statements", Account: account, Policy: []byte(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::moontrust-statements/*"}]}`)}
	for blocked, want := range map[iam.Answer]string{iam.No: "yes", iam.Unknown: "unknown", iam.Yes: ""} {
		open.Blocked = blocked
		got, err := open.Readers()
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		if len(got) > 0 {
			said = got[0].Before
		}
		if said != want {
			t.Errorf("public policy, blocked %s: %q", blocked, said)
		}
	}
}

func TestPrincipals(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":                     `roles`,
		"a policy that is not there":  `{"RoleDetailList":[{"Arn":"arn:aws:iam::111122223333:role/a","AttachedManagedPolicies":[{"PolicyArn":"arn:aws:iam::aws:policy/X"}]}]}`,
		"a group that is not there":   `{"UserDetailList":[{"Arn":"arn:aws:iam::111122223333:user/a","GroupList":["g"]}]}`,
		"a policy that is read wrong": `{"RoleDetailList":[{"Arn":"arn:aws:iam::111122223333:role/a","RolePolicyList":[{"PolicyDocument":{"Statement":[{"Effect":"Maybe"}]}}]}]}`,
	} {
		if p, err := sidedoor.Principals([]byte(text)); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}
