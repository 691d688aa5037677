package iam

import (
	"maps"
	"slices"
	"strings"
)

// Answer is no, yes, or not known.
type Answer int

// The answers.
const (
	No Answer = iota
	Yes
	Unknown
)

func (a Answer) String() string { return [...]string{"no", "yes", "unknown"}[a] }

func answer(b bool) Answer {
	if b {
		return Yes
	}
	return No
}

func and(a, b Answer) Answer {
	switch {
	case a == No || b == No:
		return No
	case a == Yes && b == Yes:
		return Yes
	}
	return Unknown
}

func or(a, b Answer) Answer { return not(and(not(a), not(b))) }

func not(a Answer) Answer {
	switch a {
	case Yes:
		return No
	case No:
		return Yes
	case Unknown:
	}
	return Unknown
}

// Principal is who asks.
type Principal struct {
	ARN       string // of the user or role; "" for a service, or for somebody without credentials
	Account   string
	Canonical string // canonical user id, where it is known
	Service   string // of AWS, such as events.amazonaws.com
	Federated string // identity provider by its ARN or host name
	// Some stands for principals who sign requests and whom a policy does not name: some of them, it is not known which. A statement
	// about everybody is about them, one about named ones is not, and what a condition asks about who they are is not known.
	Some bool
}

// Anonymous reports whether the principal is somebody without credentials.
func (p Principal) Anonymous() bool { return p == Principal{} }

// Request is a question: may the principal do this to that?
type Request struct {
	Principal Principal
	Action    string // "s3:GetObject"
	// Resource is an ARN. With * or ? it stands for all that it matches; a policy about some of them gives Unknown.
	Resource string
	// Keys are the condition keys whose values are known, in lower case; no values say that the request does not carry the key.
	// aws:PrincipalArn and aws:PrincipalAccount follow from the principal.
	Keys map[string][]string
}

func (r Request) key(name string) (values []string, known bool) {
	name = strings.ToLower(name)
	if values, known = r.Keys[name]; known {
		return values, true
	}
	one := func(s string) ([]string, bool) {
		if s == "" {
			return nil, true
		}
		return []string{s}, true
	}
	if r.Principal.Some && strings.HasPrefix(name, "aws:principal") {
		return nil, false
	}
	switch name {
	case "aws:principalarn":
		return one(r.Principal.ARN)
	case "aws:principalaccount":
		return one(r.Principal.Account)
	case "aws:principalisawsservice":
		return []string{map[bool]string{true: "true", false: "false"}[r.Principal.Service != ""]}, true
	}
	return nil, false
}

// Match says whether a statement applies to the request, whatever its effect, and names what it does not know.
func (s Statement) Match(r Request) (Answer, []string) {
	var unknown []string
	who := s.principals(r.Principal)
	if who == Unknown {
		unknown = append(unknown, "whom it leaves out")
	}
	a := and(s.actions(r), and(who, s.resources(r, &unknown)))
	if a == No {
		return No, nil
	}
	for _, op := range slices.Sorted(maps.Keys(s.Condition)) {
		for _, key := range slices.Sorted(maps.Keys(s.Condition[op])) {
			c := condition(op, key, s.Condition[op][key], r)
			if c == Unknown {
				unknown = append(unknown, op+" "+key)
			}
			if a = and(a, c); a == No {
				return No, nil
			}
		}
	}
	return a, unknown
}

func (s Statement) actions(r Request) Answer {
	named := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return glob(strings.ToLower(p), strings.ToLower(r.Action)) })
	}
	if len(s.NotAction) > 0 {
		return answer(!named(s.NotAction))
	}
	return answer(named(s.Action))
}

func (s Statement) principals(p Principal) Answer {
	switch {
	case s.Principal != nil:
		return answer(s.Principal.has(p))
	case s.NotPrincipal != nil:
		if p.Some && s.Deny && !s.NotPrincipal.Any {
			return Unknown // those that it leaves out are some, too
		}
		return answer(!s.NotPrincipal.has(p))
	}
	return Yes
}

func (ps *Principals) has(p Principal) bool {
	if ps.Any {
		return true
	}
	if p.Service != "" {
		return slices.Contains(ps.Service, p.Service)
	}
	if p.Federated != "" {
		return slices.Contains(ps.Federated, p.Federated)
	}
	return !p.Anonymous() && !p.Some && (slices.ContainsFunc(ps.AWS, func(n string) bool {
		return n == p.ARN && n != "" || n == p.Account && n != "" || p.Account != "" && strings.HasSuffix(n, "::"+p.Account+":root")
	}) || p.Canonical != "" && slices.Contains(ps.Canonical, p.Canonical))
}

func (s Statement) resources(r Request, unknown *[]string) Answer {
	named := func(patterns []string) Answer {
		out := No
		for _, p := range patterns {
			plain, variable := variables(p)
			switch {
			case !variable && glob(plain, r.Resource):
				return Yes
			case meet(plain, r.Resource):
				out = Unknown
			}
		}
		if out == Unknown {
			*unknown = append(*unknown, "which of the resources: "+strings.Join(patterns, ", "))
		}
		return out
	}
	switch {
	case len(s.NotResource) > 0:
		return not(named(s.NotResource))
	case len(s.Resource) > 0:
		return named(s.Resource)
	}
	return Yes // a trust policy names none
}

// variables replaces policy variables, which can stand for anything.
func variables(pattern string) (plain string, has bool) {
	for {
		before, rest, ok := strings.Cut(pattern, "${")
		if !ok {
			return plain + pattern, has
		}
		_, after, ok := strings.Cut(rest, "}")
		if !ok {
			return plain + pattern, has
		}
		plain, has = plain+before+"*", true
		pattern = after
	}
}

// condition evaluates one operator with one key.
func condition(op, key string, want []string, r Request) Answer {
	have, known := r.key(key)
	op, ifExists := strings.CutSuffix(op, "IfExists")
	op, all := strings.CutPrefix(op, "ForAllValues:")
	op, some := strings.CutPrefix(op, "ForAnyValue:")
	if op == "Null" {
		if !known {
			return Unknown
		}
		return answer(len(have) == 0 == (len(want) > 0 && strings.EqualFold(want[0], "true")))
	}
	compare, negated := comparison(op)
	switch {
	case !known:
		return Unknown
	case len(have) == 0:
		return answer(ifExists || all || negated && !some)
	case compare == nil:
		return Unknown
	}
	one := func(v string) Answer {
		out := No
		for _, w := range want {
			plain, variable := variables(w)
			switch {
			case variable:
				out = or(out, Unknown)
			case compare(plain, v):
				out = Yes
			}
		}
		if negated {
			return not(out)
		}
		return out
	}
	out := No
	if !some { // of a key with one value both come to the same
		out = Yes
	}
	for _, v := range have {
		if some {
			out = or(out, one(v))
		} else {
			out = and(out, one(v))
		}
	}
	return out
}

// comparison is how an operator compares; nil for one that is not known here.
func comparison(op string) (compare func(pattern, value string) bool, negated bool) {
	positive := strings.Replace(op, "Not", "", 1)
	switch positive {
	case "StringEquals":
		compare = func(p, v string) bool { return p == v }
	case "StringEqualsIgnoreCase", "Bool":
		compare = strings.EqualFold
	case "StringLike", "ArnLike", "ArnEquals": // the last two are one (IAM user guide, ARN condition operators)
		compare = glob
	}
	return compare, positive != op
}

// Policies are all that decides about a request.
type Policies struct {
	// Identity are the principal's own policies, with those of its groups. IdentityUnknown says that they are not known, as of a
	// principal of another account.
	Identity        []Document
	IdentityUnknown bool
	// Resource is the policy of the bucket or key; nil when there is none.
	Resource *Document
	// Limits are what is needed beside an allowance and gives none: a permissions boundary, service control policies.
	Limits []Document
	// Owner is the account of the resource.
	Owner string
}

// Decision is the answer to a request.
type Decision struct {
	Allowed Answer
	By      []string // statements that allow, or the ones that deny
	Unknown []string // what was not known and could change the answer
}

// Decide evaluates: a deny of any policy stands before every allow; a principal of the resource's own account needs an allow of its own
// policies or of the resource's, one of another account an allow of both; a limit has to allow, too. (IAM user guide, policy evaluation
// logic. The narrower rule for sessions is not modelled: the policy of a session can only take away.)
func (p Policies) Decide(r Request) Decision {
	var d Decision
	denied := No
	var deniedBy, allowedBy, unknown []string
	allow := func(docs []Document) Answer {
		out := No
		for _, doc := range docs {
			for i, s := range doc.Statements {
				a, why := s.Match(r)
				unknown = append(unknown, why...)
				switch {
				case a == No:
				case s.Deny:
					if denied = or(denied, a); a == Yes {
						deniedBy = append(deniedBy, s.Name(i))
					}
				default:
					if out = or(out, a); a == Yes {
						allowedBy = append(allowedBy, s.Name(i))
					}
				}
			}
		}
		return out
	}
	identity := allow(p.Identity)
	if p.IdentityUnknown {
		identity = Unknown
		unknown = append(unknown, "the policies of the principal")
	}
	resource := No
	if p.Resource != nil {
		resource = allow([]Document{*p.Resource})
	}
	allowed := or(identity, resource)
	if p.Owner != "" && r.Principal.Account != p.Owner && r.Principal.Service == "" && !r.Principal.Anonymous() {
		allowed = and(identity, resource)
	}
	granted := slices.Clone(allowedBy)
	for _, l := range p.Limits {
		allowed = and(allowed, allow([]Document{l}))
	}
	d.Allowed = and(allowed, not(denied))
	switch {
	case denied == Yes:
		d.By = deniedBy
	case d.Allowed != No:
		d.By = granted
	}
	if d.Allowed == Unknown {
		slices.Sort(unknown)
		d.Unknown = slices.Compact(unknown)
	}
	return d
}
