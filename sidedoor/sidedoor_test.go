package sidedoor_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"coffer"
	"coffer/internal/iam"
	"coffer/object"
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
	return sidedoor.Situation{Bucket: "moontrust-statements", Account: account, Principals: who, Sharing: object.Sharing{ACLsOff: true, RestrictPolicy: object.On, Policy: `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:role/partner"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::moontrust-statements/*"}]}`}}
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

// TestSimulateUnknown: a policy that closes the door does not make a no of what is unknown, and says what is left of it.
func TestSimulateUnknown(t *testing.T) {
	p, err := sidedoor.Policy(sidedoor.Rules{Bucket: "moontrust-statements", Coffer: []string{arn("coffer-remedy")}})
	if err != nil {
		t.Fatal(err)
	}
	s := sidedoor.Situation{Bucket: "moontrust-statements", Account: account, Sharing: sidedoor.Nothing()}
	changes, err := s.Simulate(p)
	if err != nil || len(changes) != 3 {
		t.Fatalf("%v, %v", changes, err)
	}
	for _, c := range changes {
		if c.Before != "unknown" || c.After != "unknown" || !slices.Contains(c.Unknown, "then only those whom the policy names") {
			t.Errorf("%+v", c)
		}
	}
	open := []byte(`{"Statement":[` + deny(`"Principal":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}`) + `]}`)
	if changes, err = s.Simulate(open); err != nil || slices.Contains(changes[0].Unknown, "then only those whom the policy names") {
		t.Errorf("a policy that closes nothing: %v, %v", changes, err)
	}
}

// TestSettings: what the aws client prints of a bucket, and what it does not.
func TestSettings(t *testing.T) {
	s := sidedoor.Nothing()
	const policy = `{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}}`
	for name, c := range map[string]struct {
		take    func(*object.Sharing, []byte) error
		text    string
		invalid bool
		is      func() bool
	}{
		"policy":           {sidedoor.TakePolicy, policy + "\n", false, func() bool { return !s.PolicyUnknown && s.Policy == policy }},
		"policy, printed":  {sidedoor.TakePolicy, `{"Policy":"` + strings.ReplaceAll(policy, `"`, `\"`) + `"}`, false, func() bool { return !s.PolicyUnknown && s.Policy == policy }},
		"no policy":        {sidedoor.TakePolicy, "", false, func() bool { return !s.PolicyUnknown && s.Policy == "" }},
		"no policy's text": {sidedoor.TakePolicy, "None", true, func() bool { return s.PolicyUnknown }},
		"ACL": {sidedoor.TakeACL, `{"Owner":{"ID":"o1"},"Grants":[{"Grantee":{"Type":"Group","URI":"u"},"Permission":"READ"}]}`, false, func() bool {
			return !s.ACLUnknown && s.Owner == "o1" && slices.Equal(s.Grants, []object.Grant{{Group: "u", Permission: "READ"}})
		}},
		"no ACL":        {sidedoor.TakeACL, `{}`, true, func() bool { return s.ACLUnknown }},
		"block":         {sidedoor.TakeBlock, `{"PublicAccessBlockConfiguration":{"RestrictPublicBuckets":true}}`, false, func() bool { return s.RestrictPolicy == object.On && s.IgnoreACLs == object.Off }},
		"no block":      {sidedoor.TakeBlock, "\n", false, func() bool { return s.RestrictPolicy == object.Off && s.IgnoreACLs == object.Off }},
		"another thing": {sidedoor.TakeBlock, `{"Policy":"x"}`, true, func() bool { return s.RestrictPolicy == object.Unknown }},
	} {
		s = sidedoor.Nothing()
		if err := c.take(&s, []byte(c.text)); errors.Is(err, coffer.ErrInvalid) != c.invalid || !c.is() {
			t.Errorf("%s: %v, %+v", name, err, s)
		}
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
			{"analyst", "s3:PutObjectVersionTagging", []string{"sensitive"}, []string{"team"}, iam.No},
			{"analyst", "s3:PutObjectVersionTagging", nil, []string{"coffer:state"}, iam.No},
			{"analyst", "s3:GetObjectTorrent", []string{"sensitive"}, nil, iam.No},
			{"fraud", "s3:PutObjectTagging", nil, []string{"coffer:state"}, iam.No}, // as PutObject with x-amz-tagging asks for it
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
	for bucket, most := range map[string]int{"moontrust-statements": 400, "": 90} {
		var many []string
		for i := range most {
			many = append(many, arn(fmt.Sprintf("analyst-of-the-bank-%03d", i)))
		}
		if _, err := sidedoor.Policy(sidedoor.Rules{Bucket: bucket, Coffer: many[:1], Readers: many}); !errors.Is(err, coffer.ErrLimit) {
			t.Errorf("bucket %q, %d readers: %v", bucket, most, err)
		}
		if _, err := sidedoor.Policy(sidedoor.Rules{Bucket: bucket, Coffer: many[:1], Readers: many[:most/2]}); err != nil {
			t.Errorf("bucket %q, %d readers: %v", bucket, most/2, err)
		}
	}
	if sidedoor.Tag != pipeline.TagState || sidedoor.Sensitive != "sensitive" {
		t.Error("the policy is about another tag than Coffer sets")
	}
}

// TestReaders: what cannot be known is listed, never left out.
func TestReaders(t *testing.T) {
	s := situation(t)
	s.Sharing = sidedoor.Nothing()
	s.Grants = []object.Grant{{Group: "http://acs.amazonaws.com/groups/global/AllUsers", Permission: "READ"}}
	got := readers(t, s)
	for _, want := range []string{"whoever the policy of the bucket names", "whoever the ACL of the bucket names", "whoever an object's own ACL", "AllUsers", "role/etl", "role/administrator"} {
		i := slices.IndexFunc(got, func(a sidedoor.Access) bool { return strings.Contains(a.Principal, want) })
		if i < 0 || got[i].Allowed == iam.Unknown && len(got[i].Unknown) == 0 {
			t.Errorf("%s is not among %v, or without a reason", want, got)
		}
	}
	if slices.ContainsFunc(got, func(a sidedoor.Access) bool { return strings.Contains(a.Principal, "builder") }) {
		t.Error("somebody without a right is among the readers")
	}
}

func readers(t *testing.T, s sidedoor.Situation) []sidedoor.Access {
	t.Helper()
	got, err := s.Readers()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// allow and deny are statements about the bytes of MoonTrust's statements.
func allow(rest string) string { return statement("Allow", rest) }
func deny(rest string) string  { return statement("Deny", rest) }
func statement(effect, rest string) string {
	return `{"Effect":"` + effect + `","Action":"s3:GetObject*","Resource":"arn:aws:s3:::moontrust-statements/*",` + rest + `}`
}

// TestReadersOfAPolicy: whom a policy lets in, by every way in which it can say so, and when it closes the door to all others.
func TestReadersOfAPolicy(t *testing.T) {
	door, err := sidedoor.Policy(sidedoor.Rules{Bucket: "moontrust-statements", Coffer: []string{arn("coffer-remedy")}, Readers: []string{arn("fraud")}})
	if err != nil {
		t.Fatal(err)
	}
	text := string(door)
	closing := strings.TrimSpace(text[strings.Index(text, "[")+1 : strings.LastIndex(text, "]")])
	const signing = "principals of AWS that the policy does not name"
	for name, c := range map[string]struct {
		policy, block string
		want          string // who:answer, of s3:GetObject
		closed        bool
	}{
		"none":                        {"", object.Off, "", false},
		"everybody":                   {allow(`"Principal":"*"`), object.Off, "everybody:yes", false},
		"everybody, block not known":  {allow(`"Principal":"*"`), object.Unknown, "everybody:unknown, " + signing + ":yes", false},
		"everybody of a blocked one":  {allow(`"Principal":"*"`), object.On, signing + ":yes", false},
		"a role":                      {allow(`"Principal":{"AWS":"` + arn("a") + `"}`), object.On, arn("a") + ":yes", false},
		"an account":                  {allow(`"Principal":{"AWS":"` + account + `"}`), object.On, "arn:aws:iam::111122223333:root:yes", false},
		"a service":                   {allow(`"Principal":{"Service":"logging.s3.amazonaws.com"}`), object.On, "logging.s3.amazonaws.com:yes", false},
		"a canonical user":            {allow(`"Principal":{"CanonicalUser":"abc"}`), object.On, "canonical user abc:yes", false},
		"an identity provider":        {allow(`"Principal":{"Federated":"cognito-identity.amazonaws.com"}`), object.On, "cognito-identity.amazonaws.com:yes", false},
		"an organisation":             {allow(`"Principal":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`), object.On, signing + ":unknown", false},
		"an account by condition":     {allow(`"Principal":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":"` + account + `"}}`), object.On, signing + ":unknown", false},
		"all but one":                 {allow(`"NotPrincipal":{"AWS":"` + arn("a") + `"}`), object.Off, "everybody:yes", false},
		"whom a denial leaves out":    {allow(`"Principal":"*"`) + "," + deny(`"NotPrincipal":{"AWS":"`+arn("a")+`"}`), object.Off, arn("a") + ":yes, " + signing + ":unknown", true},
		"other objects":               {strings.ReplaceAll(allow(`"Principal":"*"`), "statements/*", "exports/*"), object.Off, "", false},
		"the door":                    {closing, object.Off, "", true},
		"the door before all":         {allow(`"Principal":"*"`) + "," + closing, object.Off, signing + ":unknown", true},
		"the door of one account":     {deny(`"Principal":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":"444455556666"}}`), object.Off, "", false},
		"a door for whole accounts":   {deny(`"Principal":"*","Condition":{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::222222222222:*"}}`), object.Off, "", false},
		"a door that a network opens": {deny(`"Principal":"*","Condition":{"StringNotEquals":{"aws:SourceVpc":"vpc-1"}}`), object.Off, "", false},
		"a door for the latest alone": {strings.ReplaceAll(deny(`"Principal":"*"`), "GetObject*", "GetObject"), object.Off, "", false},
	} {
		s := sidedoor.Situation{Bucket: "moontrust-statements", Sharing: object.Sharing{ACLsOff: true, RestrictPolicy: c.block}}
		if c.policy != "" {
			s.Policy = `{"Statement":[` + c.policy + `]}`
		}
		var got []string
		for _, a := range readers(t, s) {
			if a.Action == "s3:GetObject" {
				got = append(got, a.Principal+":"+a.Allowed.String())
			}
			if a.Allowed == iam.Unknown && len(a.Unknown) == 0 {
				t.Errorf("%s: %s is unknown without a reason", name, a.Principal)
			}
		}
		if g := strings.Join(got, ", "); g != c.want {
			t.Errorf("%s: %s; want %s", name, g, c.want)
		}
		if closed, err := s.Closed(); err != nil || closed != c.closed {
			t.Errorf("%s: closed %t, %v", name, closed, err)
		}
	}
	s := sidedoor.Situation{Bucket: "moontrust-statements", Sharing: object.Sharing{ACLsOff: true, PolicyUnknown: true}}
	if closed, err := s.Closed(); closed || err != nil {
		t.Errorf("a policy that is not known closes the door: %v", err)
	}
}

// TestReadersOfAnACL: grants to others than the owner, and objects' own ACLs wherever they mean something.
func TestReadersOfAnACL(t *testing.T) {
	all := object.Grant{Group: "http://acs.amazonaws.com/groups/global/AllUsers", Permission: "READ"}
	for name, c := range map[string]struct {
		sharing object.Sharing
		want    string
	}{
		"switched off":     {object.Sharing{ACLsOff: true, Grants: []object.Grant{all}}, ""},
		"the owner":        {object.Sharing{Owner: "o1", Grants: []object.Grant{{Canonical: "o1", Permission: "FULL_CONTROL"}}}, "whoever an object's own ACL names"},
		"another":          {object.Sharing{Owner: "o1", Grants: []object.Grant{{Canonical: "o2", Permission: "READ"}}}, "canonical user o2, whoever an object's own ACL names"},
		"a writer":         {object.Sharing{Owner: "o1", Grants: []object.Grant{{Canonical: "o2", Permission: "WRITE"}}}, "whoever an object's own ACL names"},
		"everybody":        {object.Sharing{IgnoreACLs: object.Off, Grants: []object.Grant{all}}, all.Group + ", whoever an object's own ACL names"},
		"blocked":          {object.Sharing{IgnoreACLs: object.On, Grants: []object.Grant{all}}, "whoever an object's own ACL names"},
		"block not known":  {object.Sharing{IgnoreACLs: object.Unknown, Grants: []object.Grant{all}}, all.Group + ", whoever an object's own ACL names"},
		"owner not known":  {object.Sharing{Grants: []object.Grant{{Permission: "READ"}}}, "canonical user , whoever an object's own ACL names"},
		"nothing is known": {sidedoor.Nothing(), "whoever the policy of the bucket names, whoever the ACL of the bucket names, whoever an object's own ACL names"},
	} {
		var got []string
		for _, a := range readers(t, sidedoor.Situation{Bucket: "moontrust-statements", Sharing: c.sharing}) {
			got = append(got, a.Principal)
			if a.Allowed != iam.Unknown || len(a.Unknown) == 0 {
				t.Errorf("%s: %+v", name, a)
			}
		}
		if g := strings.Join(got, ", "); g != c.want {
			t.Errorf("%s: %q; want %q", name, g, c.want)
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
