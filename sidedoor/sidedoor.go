// Package sidedoor is about who reads objects without Coffer: with an S3 client, past every mask, reason and log. It makes the policy that
// closes this door for objects that are known to hold sensitive values, says beforehand who would lose access, and who has it now.
//
// It evaluates documents that it is given and asks nobody, so that an administrator can try a policy on paper. What it cannot know is
// unknown and never no. Beyond it are keys of KMS without which an encrypted object cannot be read, session policies, access points, and
// whatever reads on behalf of others (replication, backups, analytics); [Limits] says so to people.
package sidedoor

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"coffer"
	"coffer/internal/iam"
)

// Tag and Sensitive are the tag that Coffer puts on an object, and its value while values stand in it (pipeline.TagState).
const (
	Tag       = "coffer:state"
	Sensitive = "sensitive"
)

// Reading are the actions that return the bytes of an object or of one of its versions, or what S3 keeps of them.
var Reading = []string{"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTorrent", "s3:GetObjectVersionTorrent"}

// tagging are the actions that change an object's tags; those that write an object with tags ask for s3:PutObjectTagging, too.
var tagging = []string{"s3:PutObjectTagging", "s3:PutObjectVersionTagging", "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"}

// Limits are what neither a policy nor a simulation of it covers, for people.
var Limits = []string{
	"policies of KMS keys: who may not use an object's key does not read it, whatever S3 says",
	"service control policies, session policies and policies of VPC endpoints that were not given: they can only take away",
	"access points and their policies, access grants, and principals of other accounts, whose own policies are not known",
	"what reads for others: replication, backups, inventory, analytics; each does it with a role that is listed if its policies were given",
	"presigned URLs that exist: they stop working when their signer loses access",
	"an object's own ACL, where the bucket does not switch ACLs off",
}

var (
	roleARN    = regexp.MustCompile(`^arn:aws[a-z-]{0,20}:(iam|sts)::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/*-]{1,512}$`)
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
)

// Rules say whom a policy leaves in.
type Rules struct {
	Bucket string // for the policy of a bucket; empty for a service control policy
	// Readers are ARNs of roles and users that may read sensitive objects beside Coffer.
	Readers []string
	// Coffer are the ARNs of the roles that read, fix and tag for Coffer: the template's output CofferRoles.
	Coffer []string
}

// Policy is the policy that closes the door: objects that are tagged as sensitive are read by the readers and Coffer alone, and the tags
// whose names begin with "coffer:" are set and removed by Coffer alone. For a bucket it is to be merged into the policy that is there; for an
// organisation it is a service control policy, which binds the accounts' own principals and no others. Names that are no ARNs of roles or
// users give coffer.ErrInvalid; so does nobody for Coffer, which would shut itself out.
func Policy(r Rules) ([]byte, error) {
	if len(r.Coffer) == 0 {
		return nil, fmt.Errorf("side door: name the roles of Coffer, or it could not fix what it tagged: %w", coffer.ErrInvalid)
	}
	for _, a := range slices.Concat(r.Readers, r.Coffer) {
		if !roleARN.MatchString(a) || strings.Contains(a, ":role/*") || strings.Contains(a, ":user/*") {
			return nil, fmt.Errorf("side door: write the ARN of a role or user, arn:aws:iam::ACCOUNT:role/NAME: %w", coffer.ErrInvalid)
		}
	}
	on := "arn:aws:s3:::*/*"
	if r.Bucket != "" {
		if !bucketName.MatchString(r.Bucket) {
			return nil, fmt.Errorf("side door: name of a bucket: %w", coffer.ErrInvalid)
		}
		on = "arn:aws:s3:::" + r.Bucket + "/*"
	}
	type statement map[string]any
	deny := func(sid string, actions []string, condition map[string]any) statement {
		s := statement{"Sid": sid, "Effect": "Deny", "Action": actions, "Resource": on, "Condition": condition}
		if r.Bucket != "" {
			s["Principal"] = "*"
		}
		return s
	}
	sorted := func(s ...string) []string { slices.Sort(s); return slices.Compact(s) }
	but := func(who []string) map[string]any { return map[string]any{"aws:PrincipalArn": who} }
	all, own := sorted(slices.Concat(r.Readers, r.Coffer)...), sorted(slices.Clone(r.Coffer)...)
	b, err := json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": []statement{
		deny("CofferReadSensitive", Reading, map[string]any{
			"StringEquals": map[string]any{"s3:ExistingObjectTag/" + Tag: Sensitive}, "ArnNotLike": but(all),
		}),
		// Who writes over the tags of an object that has Coffer's takes them away, with or without naming them.
		deny("CofferTagsAreKept", tagging, map[string]any{
			"Null": map[string]any{"s3:ExistingObjectTag/" + Tag: "false"}, "ArnNotLike": but(own),
		}),
		deny("CofferTagsAreSet", tagging[:2], map[string]any{
			"ForAnyValue:StringLike": map[string]any{"s3:RequestObjectTagKeys": "coffer:*"}, "ArnNotLike": but(own),
		}),
	}}, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// Situation is what is known about access to a bucket.
type Situation struct {
	Bucket  string
	Account string // that owns the bucket; empty: unknown, and nobody is taken to be of it
	// Policy is the bucket's; nil: it has none. PolicyUnknown says that it could not be read.
	Policy        []byte
	PolicyUnknown bool
	ACL           []Grant
	ACLUnknown    bool
	// Blocked says whether the public access block ignores public policies and ACLs; Unknown where it could not be read.
	Blocked iam.Answer
	// Account's principals, from Principals.
	Principals []Principal
}

// Grant is a grant of an ACL: to a canonical user id, or to a group by its URI.
type Grant struct {
	Canonical, Group string
	Permission       string // READ, FULL_CONTROL, ...
}

// Principal is a user or role with the policies that it has.
type Principal struct {
	ARN, Account string
	Policies     []iam.Document
	// Limits is the permissions boundary. LimitUnknown says that it has one that was not given.
	Limits       []iam.Document
	LimitUnknown bool
}

// Access is what a principal may do.
type Access struct {
	Principal string     `json:"principal"`
	Action    string     `json:"action"`
	Allowed   iam.Answer `json:"-"`
	Before    string     `json:"allowed"` // yes, unknown
	By        []string   `json:"by,omitempty"`
	Unknown   []string   `json:"unknown,omitempty"`
}

// Change is a change of access by a policy.
type Change struct {
	Principal string   `json:"principal"`
	Action    string   `json:"action"`
	Before    string   `json:"before"`
	After     string   `json:"after"`
	Unknown   []string `json:"unknown,omitempty"` // what could change the answer
}

// Changed reports whether somebody who may, or might, read now may not then.
func (c Change) Changed() bool { return c.Before != c.After }

// Readers lists who may read an object of the bucket that is tagged as sensitive, as far as it is known: principals whose policies were given,
// whoever the bucket's policy names, and the groups and accounts of its ACL. Whoever may not is left out; what is unknown is listed.
func (s Situation) Readers() ([]Access, error) {
	var out []Access
	err := s.each(nil, func(who string, action string, d iam.Decision) {
		if d.Allowed != iam.No {
			out = append(out, Access{Principal: who, Action: action, Allowed: d.Allowed, Before: d.Allowed.String(), By: d.By, Unknown: d.Unknown})
		}
	})
	if err != nil {
		return nil, err
	}
	for _, g := range s.ACL {
		if g.Permission != "READ" && g.Permission != "FULL_CONTROL" {
			continue // on a bucket READ lists, and whoever has FULL_CONTROL may give themselves the rest
		}
		who := g.Group
		if who == "" {
			who = "canonical user " + g.Canonical
		}
		a := Access{Principal: who, Action: "ACL " + g.Permission, Allowed: iam.Unknown, Before: "unknown", Unknown: []string{"objects' own ACLs"}}
		if g.Group != "" && s.Blocked == iam.Yes {
			continue
		}
		out = append(out, a)
	}
	if s.PolicyUnknown {
		out = append(out, Access{Principal: "whoever the policy of the bucket names", Action: "s3:GetObject", Allowed: iam.Unknown, Before: "unknown", Unknown: []string{"the policy of the bucket"}})
	}
	if s.ACLUnknown {
		out = append(out, Access{Principal: "whoever the ACL of the bucket names", Action: "s3:GetObject", Allowed: iam.Unknown, Before: "unknown", Unknown: []string{"the ACL of the bucket"}})
	}
	return out, nil
}

// Simulate says what a policy that is added to the bucket's would change: one element for each principal and action that is, or may be,
// possible now.
func (s Situation) Simulate(added []byte) ([]Change, error) {
	more, err := iam.Parse(added)
	if err != nil {
		return nil, err
	}
	before := map[[2]string]iam.Decision{}
	var order [][2]string
	if err := s.each(nil, func(who, action string, d iam.Decision) {
		if d.Allowed != iam.No {
			before[[2]string{who, action}] = d
			order = append(order, [2]string{who, action})
		}
	}); err != nil {
		return nil, err
	}
	after := map[[2]string]iam.Decision{}
	if err := s.each(more.Statements, func(who, action string, d iam.Decision) { after[[2]string{who, action}] = d }); err != nil {
		return nil, err
	}
	var out []Change
	for _, k := range order {
		out = append(out, Change{Principal: k[0], Action: k[1], Before: before[k].Allowed.String(), After: after[k].Allowed.String(),
			Unknown: slices.Compact(slices.Sorted(slices.Values(slices.Concat(before[k].Unknown, after[k].Unknown))))})
	}
	return out, nil
}

// each decides for every principal that is known or named, and every action that reads.
func (s Situation) each(more []iam.Statement, say func(who, action string, d iam.Decision)) error {
	var resource *iam.Document
	if len(s.Policy) > 0 {
		d, err := iam.Parse(s.Policy)
		if err != nil {
			return fmt.Errorf("policy of the bucket: %w", err)
		}
		resource = &d
	}
	if len(more) > 0 {
		d := iam.Document{}
		if resource != nil {
			d.Statements = slices.Clone(resource.Statements)
		}
		d.Statements = append(d.Statements, more...)
		resource = &d
	}
	for _, p := range s.principals() {
		for _, action := range Reading[:2] {
			r := iam.Request{Principal: iam.Principal{ARN: p.ARN, Account: p.Account}, Action: action, Resource: "arn:aws:s3:::" + s.Bucket + "/*",
				Keys: map[string][]string{
					strings.ToLower("s3:ExistingObjectTag/" + Tag): {Sensitive}, "aws:securetransport": {"true"},
				}}
			known := slices.ContainsFunc(s.Principals, func(k Principal) bool { return k.ARN == p.ARN })
			d := iam.Policies{Identity: p.Policies, IdentityUnknown: !known && p.ARN != "", Resource: resource, Limits: p.Limits, Owner: s.Account}.Decide(r)
			if p.LimitUnknown && d.Allowed == iam.Yes {
				d.Allowed, d.Unknown = iam.Unknown, append(d.Unknown, "its permissions boundary")
			}
			who := p.ARN
			if who == "" {
				who = "everybody"
				// A block makes a public policy one for the account and AWS' services alone.
				switch {
				case d.Allowed == iam.No || s.Blocked == iam.Yes:
					continue
				case s.Blocked == iam.Unknown:
					d.Allowed, d.Unknown = iam.Unknown, append(d.Unknown, "the public access block")
				}
			}
			say(who, action, d)
		}
	}
	return nil
}

// principals are those that are known, those that the bucket's policy names, and everybody.
func (s Situation) principals() []Principal {
	named := map[string]Principal{}
	for _, p := range s.Principals {
		named[p.ARN] = p
	}
	if d, err := iam.Parse(s.Policy); err == nil {
		for _, st := range d.Statements {
			if st.Deny || st.Principal == nil {
				continue
			}
			for _, n := range st.Principal.AWS {
				if n == "*" {
					continue
				}
				account := n
				if parts := strings.Split(n, ":"); len(parts) == 6 {
					account = parts[4]
				} else {
					n = "arn:aws:iam::" + n + ":root"
				}
				if _, there := named[n]; !there {
					named[n] = Principal{ARN: n, Account: account}
				}
			}
		}
	}
	named[""] = Principal{}
	var out []Principal
	for _, k := range slices.Sorted(maps.Keys(named)) {
		out = append(out, named[k])
	}
	return out
}
