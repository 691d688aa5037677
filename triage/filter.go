package triage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coffer"
)

// Filter selects findings. Its grammar is one for command line, API and portal: terms "field=a,b" (any of these),
// "field!=a,b" (none of these), "field.gte=x", "field.gt=x", "field.lte=x", "field.lt=x" (order), joined by "and" of all.
// The zero Filter selects everything.
type Filter struct{ terms []term }

type term struct {
	field  string
	op     string // "=", "!=", "gte", "gt", "lte", "lt"
	values []string
	at     time.Time // for fields that are times
}

// filterFields lists the fields and how a summary answers for them. Ordered fields can be compared.
var filterFields = map[string]struct {
	values  func(*Summary) []string
	time    func(*Summary) time.Time
	ordered func(string) (int, bool)
	number  func(*Summary) int
}{
	"finding":  {values: func(s *Summary) []string { return []string{s.ID} }},
	"type":     {values: func(s *Summary) []string { return typeNames(s) }},
	"category": {values: func(s *Summary) []string { return []string{s.Type[strings.LastIndexByte(s.Type, '/')+1:]} }},
	"severity": {values: func(s *Summary) []string { return []string{s.Severity.String()} },
		ordered: severityRank, number: func(s *Summary) int { return int(s.Severity) }},
	"bucket":   {values: func(s *Summary) []string { return []string{s.Object.Bucket} }},
	"key":      {values: func(s *Summary) []string { return []string{s.Object.Key} }},
	"account":  {values: func(s *Summary) []string { return []string{s.Account} }},
	"region":   {values: func(s *Summary) []string { return []string{s.Region} }},
	"origin":   {values: func(s *Summary) []string { return []string{string(s.Origin)} }},
	"state":    {values: func(s *Summary) []string { return []string{string(s.State)} }},
	"status":   {values: func(s *Summary) []string { return []string{string(s.Status)} }},
	"verdict":  {values: func(s *Summary) []string { return []string{string(s.Verdict)} }},
	"plan":     {values: func(s *Summary) []string { return []string{s.Plan} }},
	"created":  {time: func(s *Summary) time.Time { return s.Created }},
	"received": {time: func(s *Summary) time.Time { return s.Received }},
}

func typeNames(s *Summary) []string {
	out := make([]string, len(s.Types))
	for i, t := range s.Types {
		out[i] = string(t)
	}
	return out
}

func severityRank(s string) (int, bool) {
	i := slices.Index([]string{"unknown", "low", "medium", "high"}, strings.ToLower(s))
	return i, i >= 0
}

// FilterFields returns the names of the fields, sorted.
func FilterFields() []string {
	var out []string
	for f := range filterFields {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// ParseFilter reads terms of the grammar. Values of key may end with "*" for a prefix. Errors wrap coffer.ErrInvalid, and say
// which field is meant and which exist.
func ParseFilter(terms ...string) (Filter, error) {
	var f Filter
	for _, s := range terms {
		left, right, ok := strings.Cut(s, "=")
		if !ok {
			return f, fmt.Errorf("filter term without \"=\"; write field=value, field!=value or field.gte=value: %w", coffer.ErrInvalid)
		}
		t := term{op: "=", values: strings.Split(right, ",")}
		if strings.HasSuffix(left, "!") {
			t.op, left = "!=", strings.TrimSuffix(left, "!")
		}
		if name, op, ok := strings.Cut(left, "."); ok {
			if t.op != "=" || !slices.Contains([]string{"gte", "gt", "lte", "lt"}, op) {
				return f, fmt.Errorf("filter on %q: the comparison is one of .gte .gt .lte .lt: %w", name, coffer.ErrInvalid)
			}
			t.op, left = op, name
		}
		t.field = left
		field, ok := filterFields[left]
		if !ok {
			return f, fmt.Errorf("filter on unknown field; fields are %s: %w", strings.Join(FilterFields(), ", "), coffer.ErrInvalid)
		}
		compares := t.op != "=" && t.op != "!="
		switch {
		case field.time != nil:
			at, err := parseTime(right)
			if err != nil || t.op == "!=" {
				return f, fmt.Errorf("filter on %s: give a time as 2026-07-15 or 2026-07-15T03:21:07Z: %w", left, coffer.ErrInvalid)
			}
			t.at = at
		case compares && field.ordered == nil:
			return f, fmt.Errorf("filter on %s: the field has no order: %w", left, coffer.ErrInvalid)
		case field.ordered != nil:
			for _, v := range t.values {
				if _, ok := field.ordered(v); !ok {
					return f, fmt.Errorf("filter on %s: unknown value; it is low, medium or high: %w", left, coffer.ErrInvalid)
				}
			}
		}
		f.terms = append(f.terms, t)
	}
	return f, nil
}

func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Parse(time.DateOnly, s)
}

// Match reports whether the filter selects s.
func (f Filter) Match(s *Summary) bool {
	for _, t := range f.terms {
		if !t.match(s) {
			return false
		}
	}
	return true
}

func (t term) match(s *Summary) bool {
	field := filterFields[t.field]
	if field.time != nil {
		c := field.time(s).Compare(t.at)
		if t.op == "=" {
			d := field.time(s).Sub(t.at)
			return d >= 0 && d < 24*time.Hour && t.at.Equal(t.at.Truncate(24*time.Hour)) || c == 0
		}
		return compare(t.op, c)
	}
	if t.op != "=" && t.op != "!=" {
		rank, _ := field.ordered(t.values[0])
		return compare(t.op, field.number(s)-rank)
	}
	hit := slices.ContainsFunc(field.values(s), func(have string) bool {
		return slices.ContainsFunc(t.values, func(want string) bool {
			if p, ok := strings.CutSuffix(want, "*"); ok && t.field == "key" {
				return strings.HasPrefix(have, p)
			}
			return strings.EqualFold(have, want)
		})
	})
	return hit == (t.op == "=")
}

func compare(op string, c int) bool {
	switch op {
	case "gte":
		return c >= 0
	case "gt":
		return c > 0
	case "lte":
		return c <= 0
	}
	return c < 0
}
