// Package sidedoor is about who reads objects without Coffer: with an S3 client, past every mask, reason and log. It makes the policy that
// closes this door for objects that are known to hold sensitive values, says beforehand who would lose access, and who has it now.
//
// It evaluates documents that it is given and asks nobody, so that an administrator can try a policy on paper. What it cannot know is
// unknown and never no. Beyond it are keys of KMS without which an encrypted object cannot be read, session policies, access points, and
// whatever reads on behalf of others (replication, backups, analytics); [Limits] says so to people.
package sidedoor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"coffer"
	"coffer/internal/iam"
	"coffer/internal/lazyregexp"
	"coffer/object"
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

// Sizes of policies in bytes, as AWS takes them: of a bucket's policy 20 KB (Amazon S3 user guide, bucket policies), of a service control policy
// 5,120 characters without white space (quotas of service control policies).
const (
	maxBucketPolicy  = 20 << 10
	maxControlPolicy = 5120
)

var (
	roleARN    = lazyregexp.New(`^arn:aws[a-z-]{0,20}:(iam|sts)::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/*-]{1,512}$`)
	bucketName = lazyregexp.New(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
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
// users give coffer.ErrInvalid; so does nobody for Coffer, which would shut itself out. One that AWS would not take for its length gives
// coffer.ErrLimit; the policy that a bucket has already counts, too, and is not known here.
func Policy(r Rules) ([]byte, error) {
	if len(r.Coffer) == 0 {
		return nil, fmt.Errorf("side door: name the roles of Coffer, or it could not fix what it tagged: %w", coffer.ErrInvalid)
	}
	for _, a := range slices.Concat(r.Readers, r.Coffer) {
		if !roleARN().MatchString(a) || strings.Contains(a, ":role/*") || strings.Contains(a, ":user/*") {
			return nil, fmt.Errorf("side door: write the ARN of a role or user, arn:aws:iam::ACCOUNT:role/NAME: %w", coffer.ErrInvalid)
		}
	}
	on := "arn:aws:s3:::*/*"
	if r.Bucket != "" {
		if !bucketName().MatchString(r.Bucket) {
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
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return nil, err
	}
	most, of := maxBucketPolicy, "the policy of a bucket"
	if r.Bucket == "" {
		most, of = maxControlPolicy, "a service control policy"
	}
	if n := compact.Len(); n > most {
		return nil, fmt.Errorf("side door: %s of %d bytes, AWS takes %d; name fewer roles, or a path with * at its end: %w", of, n, most, coffer.ErrLimit)
	}
	return append(b, '\n'), nil
}

// Situation is what is known about access to a bucket.
type Situation struct {
	Bucket  string
	Account string // that owns the bucket; empty: unknown, and nobody is taken to be of it
	// Sharing are the bucket's own settings: its policy, ACL and public access block. [Nothing] where none could be asked for.
	object.Sharing
	// Account's principals, from Principals.
	Principals []Principal
}

// Nothing are settings of which none is known.
func Nothing() object.Sharing {
	return object.Sharing{
		PolicyUnknown: true, PublicPolicy: object.Unknown, ACLUnknown: true, RestrictPolicy: object.Unknown, IgnoreACLs: object.Unknown,
	}
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
	return append(out, s.unnamed()...), nil
}

// unnamed are those of whom no policy that is known says whether they may read: it has not been read, or ACLs decide.
func (s Situation) unnamed() (out []Access) {
	unknown := func(who, action, what string) {
		out = append(out, Access{Principal: who, Action: action, Allowed: iam.Unknown, Before: iam.Unknown.String(), Unknown: []string{what}})
	}
	if s.PolicyUnknown {
		unknown("whoever the policy of the bucket names", Reading[0], "the policy of the bucket")
	}
	// A grant on the bucket is about its list. Those that objects have are about their bytes, and are often the same.
	if s.ACLsOff {
		return out
	}
	for _, g := range s.Grants {
		who := g.Group
		switch {
		case g.Permission != "READ" && g.Permission != "FULL_CONTROL":
			continue
		case who == "" && g.Canonical != "" && g.Canonical == s.Owner:
			continue // the account itself, whose principals need policies of their own
		case who == "":
			who = "canonical user " + g.Canonical
		case s.IgnoreACLs == object.On && slices.Contains(publicGroups, who):
			continue
		}
		unknown(who, "ACL "+g.Permission, "objects' own ACLs")
	}
	if s.ACLUnknown {
		unknown("whoever the ACL of the bucket names", Reading[0], "the ACL of the bucket")
	}
	unknown("whoever an object's own ACL names", Reading[0], "objects' own ACLs, which the bucket does not switch off")
	return out
}

// publicGroups are those to whom a public access block refuses what an ACL grants.
var publicGroups = []string{"http://acs.amazonaws.com/groups/global/AllUsers", "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"}

// accountID finds account ids in a policy.
var accountID = lazyregexp.New(`[0-9]{12}`)

// nobody is the name of a role that no policy names.
const nobody = "role/coffer-sidedoor-a-role-that-no-policy-names"

// Closed reports whether the bucket's policy keeps sensitive objects from everybody whom it does not name, whatever else they are permitted:
// whether it denies reading to a role that may do everything, in every account that it could make an exception for. Where it does, nothing
// that this package cannot know (policies of principals, of the organisation) lets anybody in who is not listed by [Situation.Readers].
// A policy that is not known, or that depends on what is not known, closes nothing. Who may change the policy may open it.
func (s Situation) Closed() (bool, error) {
	if s.Policy == "" || s.PolicyUnknown {
		return false, nil
	}
	d, err := iam.Parse([]byte(s.Policy))
	if err != nil {
		return false, fmt.Errorf("policy of the bucket: %w", err)
	}
	return s.closedBy(d, s.Policy), nil
}

// closedBy is Closed for a policy and its text.
func (s Situation) closedBy(d iam.Document, text string) bool {
	everything := iam.Document{Statements: []iam.Statement{{Action: []string{"*"}, Resource: []string{"*"}}}}
	for _, account := range append(accountID().FindAllString(text, -1), s.Account, "000000000000") {
		for _, action := range Reading[:2] {
			r := s.request(iam.Principal{ARN: "arn:aws:iam::" + account + ":" + nobody, Account: account}, action)
			if (iam.Policies{Identity: []iam.Document{everything}, Resource: &d}).Decide(r).Allowed != iam.No {
				return false
			}
		}
	}
	return true
}

// request asks for a sensitive object.
func (s Situation) request(p iam.Principal, action string) iam.Request {
	return iam.Request{Principal: p, Action: action, Resource: "arn:aws:s3:::" + s.Bucket + "/*", Keys: map[string][]string{
		strings.ToLower("s3:ExistingObjectTag/" + Tag): {Sensitive}, "aws:securetransport": {"true"},
	}}
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
	// A denial stands before every ACL, and before a policy that is not known. It leaves those in whom it names, who may be among these.
	closed := s.closedBy(more, string(added))
	for _, a := range s.unnamed() {
		if closed {
			a.Unknown = append(a.Unknown, "then only those whom the policy names")
		}
		out = append(out, Change{Principal: a.Principal, Action: a.Action, Before: a.Before, After: a.Before, Unknown: a.Unknown})
	}
	return out, nil
}

// each decides for every principal that is known or named, for everybody and for principals that sign, and for every action that reads.
func (s Situation) each(more []iam.Statement, say func(who, action string, d iam.Decision)) error {
	var resource *iam.Document
	if s.Policy != "" {
		d, err := iam.Parse([]byte(s.Policy))
		if err != nil {
			return fmt.Errorf("policy of the bucket: %w", err)
		}
		resource = &d
	}
	who := s.principals(resource)
	if len(more) > 0 {
		d := iam.Document{Statements: slices.Clone(more)}
		if resource != nil {
			d.Statements = slices.Concat(resource.Statements, more)
		}
		resource = &d
	}
	for _, action := range Reading[:2] {
		for _, p := range who {
			d := p.decide(s, resource, action)
			if p.LimitUnknown && d.Allowed == iam.Yes {
				d.Allowed, d.Unknown = iam.Unknown, append(d.Unknown, "its permissions boundary")
			}
			say(p.ARN, action, d)
		}
		// A block keeps a public policy to the account and AWS' services.
		d := candidate{}.decide(s, resource, action)
		switch {
		case s.RestrictPolicy == object.On:
			d = iam.Decision{}
		case d.Allowed != iam.No && s.RestrictPolicy != object.Off:
			d.Allowed, d.Unknown = iam.Unknown, append(d.Unknown, "the public access block")
		}
		say(everybody, action, d)
		if d.Allowed != iam.Yes {
			say(signing, action, candidate{who: iam.Principal{Some: true}}.decide(s, resource, action))
		}
	}
	return nil
}

// Whom a policy is about that names nobody.
const (
	everybody = "everybody"
	signing   = "principals of AWS that the policy does not name"
)

// candidate is somebody of whom it is asked whether they read.
type candidate struct {
	Principal
	who   iam.Principal
	known bool // the policies are
}

func (c candidate) decide(s Situation, resource *iam.Document, action string) iam.Decision {
	own := c.who.ARN != "" && !c.known // then what they are permitted themselves is not known
	return iam.Policies{Identity: c.Policies, IdentityUnknown: own, Resource: resource, Limits: c.Limits, Owner: s.owner(c.who)}.Decide(s.request(c.who, action))
}

// owner is the account that owns the bucket, for whoever needs to be of it or else to be permitted twice.
func (s Situation) owner(p iam.Principal) string {
	if p.ARN == "" {
		return "" // the policy alone decides
	}
	return s.Account
}

// principals are those that are known, in order, and those that the bucket's policy names.
func (s Situation) principals(policy *iam.Document) []candidate {
	all := map[string]candidate{}
	for _, p := range s.Principals {
		all[p.ARN] = candidate{p, iam.Principal{ARN: p.ARN, Account: p.Account}, true}
	}
	name := func(n string, p iam.Principal) {
		if _, there := all[n]; !there {
			all[n] = candidate{Principal: Principal{ARN: n, Account: p.Account}, who: p}
		}
	}
	var statements []iam.Statement
	if policy != nil {
		statements = policy.Statements
	}
	for _, st := range statements {
		// Whom a denial leaves out may read as everybody may, and so do those that an allowance names.
		of := st.Principal
		if st.Deny {
			of = st.NotPrincipal
		}
		if of == nil {
			continue
		}
		for _, n := range of.AWS {
			if n == "*" {
				continue
			}
			account := n
			if parts := strings.Split(n, ":"); len(parts) == 6 {
				account = parts[4]
			} else if accountID().MatchString(n) {
				n = "arn:aws:iam::" + n + ":root"
			}
			name(n, iam.Principal{ARN: n, Account: account})
		}
		for _, n := range of.Service {
			name(n, iam.Principal{Service: n})
		}
		for _, n := range of.Canonical {
			name("canonical user "+n, iam.Principal{Canonical: n})
		}
		for _, n := range of.Federated {
			name(n, iam.Principal{Federated: n})
		}
	}
	var out []candidate
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[k])
	}
	return out
}
