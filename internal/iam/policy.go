// Package iam reads and evaluates the part of the policy language of AWS that decides who may do what to an object, a key or a table:
// identity policies, policies of buckets and of keys, boundaries, deny before allow. Its source is the IAM user guide (elements of a JSON
// policy, condition operators, evaluation logic).
//
// An evaluation has three answers. What this package cannot know is [Unknown] with a reason and never a no: a condition on a key whose
// value is not given, an operator that it does not compare (addresses, dates, numbers), a policy variable, a policy that is about some of
// the resources that are asked about. It is pure, and safe for concurrent use.
package iam

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"coffer"
)

// maxDocument is far above what AWS takes (20 KiB for the policy of a bucket, 32 KiB for that of a key).
const maxDocument = 1 << 20

// Document is a policy.
type Document struct {
	Statements []Statement
}

// Statement is one statement of a policy.
type Statement struct {
	Sid  string
	Deny bool
	// Principal and NotPrincipal are nil in an identity policy.
	Principal, NotPrincipal *Principals
	Action, NotAction       []string
	Resource, NotResource   []string
	Condition               map[string]map[string][]string // operator, key, values
}

// Principals are whom a statement of a resource's policy is about.
type Principals struct {
	Any       bool     // "*", or "AWS": "*"
	AWS       []string // ARNs and account ids
	Service   []string
	Canonical []string // canonical user ids
	Federated []string
}

// list is a text or a list of texts; booleans and numbers, which stand in conditions, become texts.
type list []string

func (l *list) UnmarshalJSON(b []byte) error {
	var many []json.RawMessage
	if len(b) == 0 || b[0] != '[' {
		many = []json.RawMessage{b}
	} else if err := json.Unmarshal(b, &many); err != nil {
		return err
	}
	*l = list{}
	for _, one := range many {
		var s string
		switch {
		case len(one) > 0 && one[0] == '"':
			if err := json.Unmarshal(one, &s); err != nil {
				return err
			}
		case len(one) > 0 && one[0] != '{' && one[0] != '[' && one[0] != 'n':
			s = string(one)
		default:
			return fmt.Errorf("a text is wanted")
		}
		*l = append(*l, s)
	}
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler]: "*", or lists by kind.
func (p *Principals) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		if string(b) != `"*"` {
			return fmt.Errorf("a principal is * or names its kind")
		}
		p.Any = true
		return nil
	}
	var kinds map[string]list
	if err := json.Unmarshal(b, &kinds); err != nil {
		return err
	}
	for kind, names := range kinds {
		switch kind {
		case "AWS":
			p.AWS = names
			p.Any = slices.Contains(names, "*")
		case "Service":
			p.Service = names
		case "CanonicalUser":
			p.Canonical = names
		case "Federated":
			p.Federated = names
		default:
			return fmt.Errorf("an unknown kind of principal")
		}
	}
	return nil
}

// Parse reads a policy. An element that it does not know is an error: a policy that is read half is read wrong. Errors wrap
// coffer.ErrInvalid, or coffer.ErrLimit for one of more than 1 MiB.
func Parse(b []byte) (Document, error) {
	if len(b) > maxDocument {
		return Document{}, fmt.Errorf("policy of %d bytes: %w", len(b), coffer.ErrLimit)
	}
	var raw struct {
		Version, Id string
		Statement   json.RawMessage
	}
	if err := strict(b, &raw); err != nil {
		return Document{}, fmt.Errorf("policy: %v: %w", err, coffer.ErrInvalid)
	}
	var statements []json.RawMessage
	if s := bytes.TrimSpace(raw.Statement); len(s) > 0 && s[0] == '[' {
		if err := json.Unmarshal(s, &statements); err != nil {
			return Document{}, fmt.Errorf("policy: %v: %w", err, coffer.ErrInvalid)
		}
	} else if len(s) > 0 {
		statements = []json.RawMessage{s}
	}
	var d Document
	for i, s := range statements {
		st, err := parseStatement(s)
		if err != nil {
			return Document{}, fmt.Errorf("policy: statement %d: %v: %w", i+1, err, coffer.ErrInvalid)
		}
		d.Statements = append(d.Statements, st)
	}
	if len(d.Statements) == 0 {
		return Document{}, fmt.Errorf("policy without a statement: %w", coffer.ErrInvalid)
	}
	return d, nil
}

func strict(b []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		return err
	}
	if dec.More() {
		return fmt.Errorf("something follows the document")
	}
	return nil
}

func parseStatement(b []byte) (Statement, error) {
	var raw struct {
		Sid, Effect                              string
		Principal, NotPrincipal                  *Principals
		Action, NotAction, Resource, NotResource list
		Condition                                map[string]map[string]list
	}
	if err := strict(b, &raw); err != nil {
		return Statement{}, err
	}
	s := Statement{
		Sid: raw.Sid, Deny: raw.Effect == "Deny", Principal: raw.Principal, NotPrincipal: raw.NotPrincipal, Action: raw.Action, NotAction: raw.NotAction,
		Resource: raw.Resource, NotResource: raw.NotResource,
	}
	if raw.Effect != "Allow" && raw.Effect != "Deny" {
		return s, fmt.Errorf("the effect is Allow or Deny")
	}
	if (len(s.Action) > 0) == (len(s.NotAction) > 0) {
		return s, fmt.Errorf("it names either actions or what is none")
	}
	if len(s.Resource) > 0 && len(s.NotResource) > 0 || s.Principal != nil && s.NotPrincipal != nil {
		return s, fmt.Errorf("it names something and its opposite")
	}
	if len(raw.Condition) > 0 {
		s.Condition = map[string]map[string][]string{}
	}
	for op, keys := range raw.Condition {
		s.Condition[op] = map[string][]string{}
		for k, v := range keys {
			s.Condition[op][k] = v
		}
	}
	return s, nil
}

// Name is the statement's id, or its number where it has none.
func (s Statement) Name(i int) string {
	if s.Sid != "" {
		return s.Sid
	}
	return fmt.Sprintf("statement %d", i+1)
}

// glob reports whether a pattern with * and ? matches the text. A * of the text is covered only by a * of the pattern, so that a text
// that is itself a pattern is matched only by one that covers it.
func glob(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == text[t] || pattern[p] == '?' && text[t] != '*'):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// meet reports whether some text matches both patterns.
func meet(a, b string) bool {
	// row[j]: a[:i] and b[:j] meet.
	row := make([]bool, len(b)+1)
	for i := 0; i <= len(a); i++ {
		next := make([]bool, len(b)+1)
		for j := 0; j <= len(b); j++ {
			switch {
			case i == 0 && j == 0:
				next[j] = true
			case i > 0 && a[i-1] == '*':
				next[j] = row[j] || j > 0 && next[j-1]
			case j > 0 && b[j-1] == '*':
				next[j] = next[j-1] || i > 0 && row[j]
			case i > 0 && j > 0:
				next[j] = row[j-1] && (a[i-1] == b[j-1] || a[i-1] == '?' || b[j-1] == '?')
			}
		}
		row = next
	}
	return row[len(b)]
}
