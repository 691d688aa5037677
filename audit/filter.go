package audit

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/internal/filter"
)

// term is one condition of a [Filter] that was read from pairs.
type term struct {
	field  string
	op     filter.Op
	values []string
	from   int64 // of comparisons and times: microseconds, or the number
	to     int64 // the first behind it
}

// field is how an entry answers for a field of a filter.
type field struct {
	words    func(*Entry) []string
	number   func(*Entry) int64
	time     bool     // number is a time in microseconds
	possible []string // the values there are; nil: any
	prefix   bool     // a trailing "*" stands for any end
}

func one(f func(*Entry) string) field {
	return field{words: func(e *Entry) []string { return []string{f(e)} }}
}

func detail(name string) field { return one(func(e *Entry) string { return e.Detail[name] }) }

var filterFields = map[string]field{
	"action":       {words: func(e *Entry) []string { return []string{string(e.Action)} }, prefix: true},
	"actor":        one(func(e *Entry) string { return e.Actor.ID }),
	"kind":         one(func(e *Entry) string { return string(e.Actor.Kind) }),
	"role":         {words: func(e *Entry) []string { return e.Actor.Roles }},
	"decision":     {words: func(e *Entry) []string { return []string{e.Decision} }, possible: []string{Allow, Deny}},
	"policy":       {words: func(e *Entry) []string { return e.Policies }},
	"policyHash":   one(func(e *Entry) string { return e.Hash }),
	"outcome":      {words: func(e *Entry) []string { return []string{string(e.Outcome)} }, possible: []string{string(Intent), string(Done), string(Failed), string(Denied)}},
	"reason":       one(func(e *Entry) string { return e.Reason }),
	"finding":      one(func(e *Entry) string { return e.Finding }),
	"object":       one(func(e *Entry) string { return e.Object }),
	"plan":         one(func(e *Entry) string { return e.Plan }),
	"request":      {words: func(e *Entry) []string { return []string{e.Request} }, prefix: true},
	"writer":       one(func(e *Entry) string { return e.Writer }),
	"session":      detail("session"),
	"token":        detail("token"),
	"network":      {words: detail("network").words, prefix: true},
	"networkClass": {words: detail("networkClass").words, possible: []string{"", "loopback", "link-local", "private", "public"}},
	"ticket":       detail("ticket"),
	"purpose":      detail("purpose"),
	"grant":        detail("grant"),
	"step":         detail("step"),
	"time":         {number: func(e *Entry) int64 { return e.Time.UnixMicro() }, time: true},
	"index":        {number: func(e *Entry) int64 { return e.Index }},
	"occurrences":  {number: func(e *Entry) int64 { return int64(len(e.Occurrences)) }},
}

// FilterFields returns the names of the fields of filters, sorted.
func FilterFields() []string {
	var out []string
	for name := range filterFields {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// ParseFilter reads pairs of the grammar that all lists share (package internal/filter): "action=remedy.*", "outcome!=intent",
// "time.gte=-7d". All must hold; an empty value means none. A trailing "*" stands for any end of action, request and network. Times
// are RFC 3339, a day, or relative to now. Errors wrap [coffer.ErrInvalid], name the field and repeat nothing of what was given.
func ParseFilter(now time.Time, pairs ...string) (Filter, error) {
	var f Filter
	for _, pair := range pairs {
		left, right, err := filter.Cut(pair)
		if err == nil {
			err = f.add(now, left, right)
		}
		if err != nil {
			return Filter{}, err
		}
	}
	return f, nil
}

// FilterOf reads the pairs of a URL's query, but for the parameters that are not the filter's.
func FilterOf(now time.Time, query url.Values, others ...string) (Filter, error) {
	var f Filter
	if err := filter.Query(query, others, func(left, right string) error { return f.add(now, left, right) }); err != nil {
		return Filter{}, err
	}
	return f, nil
}

func (f *Filter) add(now time.Time, left, right string) error {
	name, op, err := filter.CutLeft(left)
	if err != nil {
		return err
	}
	fd, ok := filterFields[name]
	if !ok {
		return fmt.Errorf("filter on unknown field; fields are %s: %w", strings.Join(FilterFields(), ", "), coffer.ErrInvalid)
	}
	invalid := func(possible string) error {
		return fmt.Errorf("filter on %s: %s: %w", name, possible, coffer.ErrInvalid)
	}
	t := term{field: name, op: op}
	switch {
	case fd.time:
		m, ok := filter.ParseMoment(right)
		if !ok || op == filter.IsNot || op == filter.Is && m.Relative() {
			return invalid("give a time as 2026-07-15 or 2026-07-15T03:21:07Z, or before now as .gte=-7d (m, h, d, w)")
		}
		from, to := m.At(now)
		t.from, t.to = from.UnixMicro(), to.UnixMicro()
	case fd.number != nil:
		n, err := strconv.ParseInt(right, 10, 64)
		if err != nil || n < 0 || n >= 1<<62 || op == filter.IsNot {
			return invalid("give a number from 0")
		}
		t.from, t.to = n, n+1
	case op.Compares():
		return invalid("the field has no order; use = or !=")
	default:
		t.values = filter.Split(right)
		for _, v := range t.values {
			if fd.possible != nil && !slices.Contains(fd.possible, v) {
				return invalid("it is one of " + strings.Join(slices.DeleteFunc(slices.Clone(fd.possible), func(s string) bool { return s == "" }), ", "))
			}
		}
		// Alternatives gather in one term.
		if i := slices.IndexFunc(f.terms, func(o term) bool { return o.field == name && o.op == op }); i >= 0 {
			f.terms[i].values = append(f.terms[i].values, t.values...)
			return nil
		}
	}
	f.terms = append(f.terms, t)
	return nil
}

func (t *term) match(e *Entry) bool {
	fd := filterFields[t.field]
	if fd.number != nil {
		return filter.Within(t.op, fd.number(e), t.from, t.to)
	}
	have := fd.words(e)
	if len(have) == 0 {
		have = []string{""}
	}
	hit := slices.ContainsFunc(have, func(h string) bool {
		return slices.ContainsFunc(t.values, func(want string) bool { return filter.Equal(h, want, fd.prefix) })
	})
	return hit == (t.op == filter.Is)
}
