package iam_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"coffer"
	"coffer/internal/iam"
)

const account = "111122223333"

func policy(t *testing.T, statements string) iam.Document {
	t.Helper()
	d, err := iam.Parse([]byte(`{"Version":"2012-10-17","Statement":` + statements + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDecide: each case is a sentence of the user guide on the evaluation of policies or on an operator.
func TestDecide(t *testing.T) {
	role := iam.Principal{ARN: "arn:aws:iam::111122223333:role/analyst", Account: account}
	foreign := iam.Principal{ARN: "arn:aws:iam::444455556666:role/partner", Account: "444455556666"}
	const all = `[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]`
	for name, c := range map[string]struct {
		who                iam.Principal
		identity, resource string
		limit              string
		unknown            bool // the principal's own policies are not known
		keys               map[string][]string
		target             string // empty: bucket/payouts.csv
		want               iam.Answer
		reason             string
	}{
		"nothing said":             {who: role, want: iam.No},
		"own policy":               {who: role, identity: all, want: iam.Yes},
		"bucket's policy":          {who: role, resource: `[{"Effect":"Allow","Principal":{"AWS":"` + role.ARN + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]`, want: iam.Yes},
		"account as principal":     {who: role, resource: `[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:getobject","Resource":"arn:aws:s3:::bucket/*"}]`, want: iam.Yes},
		"another's principal":      {who: role, resource: `[{"Effect":"Allow","Principal":{"AWS":"` + foreign.ARN + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]`, want: iam.No},
		"deny before allow":        {who: role, identity: all, resource: `[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject*","Resource":"arn:aws:s3:::bucket/*"}]`, want: iam.No},
		"other account needs both": {who: foreign, identity: all, want: iam.No},
		"other account has both":   {who: foreign, identity: all, resource: `[{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]`, want: iam.Yes},
		"other account, own policies unknown": {who: foreign, unknown: true, resource: `[{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]`,
			want: iam.Unknown, reason: "policies of the principal"},
		"anybody":                      {resource: `[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]`, want: iam.Yes},
		"a service is not its account": {who: iam.Principal{Service: "events.amazonaws.com"}, resource: `[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"s3:GetObject","Resource":"*"}]`, want: iam.No},
		"limit does not allow":         {who: role, identity: all, limit: `[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]`, want: iam.No},
		"limit allows nothing more":    {who: role, limit: all, want: iam.No},
		"limit denies":                 {who: role, identity: all, limit: `[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","Resource":"*"}]`, want: iam.No},
		"NotAction":                    {who: role, identity: `[{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}]`, want: iam.Yes},
		"NotResource":                  {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","NotResource":"arn:aws:s3:::bucket/*"}]`, want: iam.No},
		"NotPrincipal":                 {who: role, identity: all, resource: `[{"Effect":"Deny","NotPrincipal":{"AWS":"` + role.ARN + `"},"Action":"s3:*","Resource":"*"}]`, want: iam.Yes},
		"unknown key allows perhaps": {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}}]`,
			want: iam.Unknown, reason: "aws:SourceVpc"},
		"unknown key denies perhaps": {who: role, identity: all, resource: `[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpc":"vpc-1"}}}]`,
			want: iam.Unknown, reason: "aws:SourceVpc"},
		"unknown operator": {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]`,
			keys: map[string][]string{"aws:sourceip": {"10.0.0.1"}}, want: iam.Unknown, reason: "IpAddress"},
		"a sure deny beside an unknown allow": {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}},{"Effect":"Deny","Action":"s3:*","Resource":"*"}]`, want: iam.No},
		"tag equal":                           {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/state":["a","b"]}}}]`, keys: map[string][]string{"s3:existingobjecttag/state": {"b"}}, want: iam.Yes},
		"tag missing, equal":                  {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/state":"a"}}}]`, keys: map[string][]string{"s3:existingobjecttag/state": nil}, want: iam.No},
		"tag missing, unequal":                {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringNotEquals":{"s3:ExistingObjectTag/state":"a"}}}]`, keys: map[string][]string{"s3:existingobjecttag/state": nil}, want: iam.Yes},
		"tag missing, if it exists":           {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEqualsIfExists":{"s3:ExistingObjectTag/state":"a"}}}]`, keys: map[string][]string{"s3:existingobjecttag/state": nil}, want: iam.Yes},
		"Null":                                {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"Null":{"s3:ExistingObjectTag/state":true}}}]`, keys: map[string][]string{"s3:existingobjecttag/state": nil}, want: iam.Yes},
		"Null, there":                         {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"Null":{"s3:ExistingObjectTag/state":true}}}]`, keys: map[string][]string{"s3:existingobjecttag/state": {"a"}}, want: iam.No},
		"all values":                          {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"ForAllValues:StringLike":{"k":"coffer:*"}}}]`, keys: map[string][]string{"k": {"coffer:a", "team"}}, want: iam.No},
		"any value":                           {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"ForAnyValue:StringLike":{"k":"coffer:*"}}}]`, keys: map[string][]string{"k": {"team", "coffer:a"}}, want: iam.Yes},
		"any value, none there":               {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"ForAnyValue:StringNotLike":{"k":"coffer:*"}}}]`, keys: map[string][]string{"k": nil}, want: iam.No},
		"principal by ARN":                    {who: role, identity: all, resource: `[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/coffer-*"}}}]`, want: iam.No},
		"variable":                            {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/${aws:username}/*"}]`, target: "bucket/ada/a", want: iam.Unknown, reason: "which of the resources"},
		"another bucket":                      {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::other/*"}]`, want: iam.No},
		"some keys of many":                   {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/2026/*"}]`, target: "bucket/*", want: iam.Unknown, reason: "which of the resources"},
		"all keys":                            {who: role, identity: `[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::buck*"}]`, target: "bucket/*", want: iam.Yes},
		"some keys denied":                    {who: role, identity: all, resource: `[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/2026/*"}]`, target: "bucket/*", want: iam.Unknown, reason: "which of the resources"},
	} {
		t.Run(name, func(t *testing.T) {
			p := iam.Policies{Owner: account, IdentityUnknown: c.unknown}
			if c.identity != "" {
				p.Identity = []iam.Document{policy(t, c.identity)}
			}
			if c.resource != "" {
				d := policy(t, c.resource)
				p.Resource = &d
			}
			if c.limit != "" {
				p.Limits = []iam.Document{policy(t, c.limit)}
			}
			target := c.target
			if target == "" {
				target = "bucket/payouts.csv"
			}
			d := p.Decide(iam.Request{Principal: c.who, Action: "s3:GetObject", Resource: "arn:aws:s3:::" + target, Keys: c.keys})
			if d.Allowed != c.want || !slices.ContainsFunc(append(d.Unknown, ""), func(u string) bool { return strings.Contains(u, c.reason) }) {
				t.Errorf("%s by %q, unknown %q; want %s", d.Allowed, d.By, d.Unknown, c.want)
			}
			if (d.Allowed == iam.Unknown) != (len(d.Unknown) > 0) {
				t.Errorf("%s with %d reasons", d.Allowed, len(d.Unknown))
			}
		})
	}
}

func TestParse(t *testing.T) {
	for name, text := range map[string]string{
		"unknown element":         `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Unless":"x"}]}`,
		"no effect":               `{"Statement":[{"Action":"s3:*","Resource":"*"}]}`,
		"no action":               `{"Statement":[{"Effect":"Allow","Resource":"*"}]}`,
		"action and its opposite": `{"Statement":[{"Effect":"Allow","Action":"s3:*","NotAction":"s3:*","Resource":"*"}]}`,
		"no statement":            `{"Version":"2012-10-17"}`,
		"principal by name":       `{"Statement":[{"Effect":"Allow","Principal":"arn:aws:iam::111122223333:root","Action":"s3:*","Resource":"*"}]}`,
		"unknown kind":            `{"Statement":[{"Effect":"Allow","Principal":{"Robot":"*"},"Action":"s3:*","Resource":"*"}]}`,
		"null":                    `{"Statement":[{"Effect":"Allow","Action":[null],"Resource":"*"}]}`,
		"text":                    `"Statement"`,
		"two documents":           `{"Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]} {}`,
	} {
		if d, err := iam.Parse([]byte(text)); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	if _, err := iam.Parse([]byte(`{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)); err != nil {
		t.Errorf("one statement without a list: %v", err)
	}
}
