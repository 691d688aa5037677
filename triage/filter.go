package triage

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"coffer"
	"coffer/internal/filter"
)

// Filter selects findings. Its grammar is one for command line, API and portal: pairs of a field and values, all of which must hold.
//
//	field=a        field is a; repeated, or with commas (field=a,b): one of these. "\," is a comma and "\\" a backslash in a value
//	field!=a       it is none of these
//	field.gte=a    at least a; .gt, .lte and .lt likewise, for severity, times and counts
//	q=words        every word stands somewhere in the bucket's name or the object's key, letters of either case
//
// An empty value means none: owner= are the findings that are nobody's. A trailing "*" stands for any end of bucket, key and finding.
// Letters of either case are the same, but for key and finding. A time is RFC 3339, a day (2026-07-15, in UTC, all of it), or relative
// to the time of asking: -30m, -12h, -7d, -2w. The zero Filter selects everything. A Filter does not change once it is made.
type Filter struct{ terms []term }

type term struct {
	field  string
	op     filter.Op
	values []string      // as written; folded, but for fields that are exact
	at     filter.Moment // of fields that are times
	number int64         // of comparisons of counts and severity
}

// field is how a summary answers for a field of a filter. One of words, time and number is there, and none for q.
type field struct {
	words    func(*Summary) []string
	time     func(*Summary) time.Time
	number   func(*Summary) int64
	possible []string // the values there are; nil: any
	exact    bool     // case matters
	prefix   bool     // a trailing "*" stands for any end
	facet    bool     // values are counted by [Query].Facets
}

// severities in their order, which is that of their numbers.
var severities = []string{"unknown", "low", "medium", "high"}

func one(f func(*Summary) string) func(*Summary) []string {
	return func(s *Summary) []string { return []string{f(s)} }
}

func typeNames(types []coffer.DataType) []string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = string(t)
	}
	return out
}

// fields lists the fields of filters. Every one with words is a column of the index.
var fields = map[string]field{
	"finding":  {words: one(func(s *Summary) string { return s.ID }), exact: true, prefix: true},
	"key":      {words: one(func(s *Summary) string { return s.Object.Key }), exact: true, prefix: true},
	"q":        {},
	"type":     {words: func(s *Summary) []string { return typeNames(s.Types) }, facet: true},
	"category": {words: one(func(s *Summary) string { return s.Type[strings.LastIndexByte(s.Type, '/')+1:] }), facet: true},
	"severity": {words: one(func(s *Summary) string { return s.Severity.String() }),
		number: func(s *Summary) int64 { return int64(s.Severity) }, possible: severities, facet: true},
	"bucket":         {words: one(func(s *Summary) string { return s.Object.Bucket }), prefix: true, facet: true},
	"account":        {words: one(func(s *Summary) string { return s.Account }), facet: true},
	"region":         {words: one(func(s *Summary) string { return s.Region }), facet: true},
	"origin":         {words: one(func(s *Summary) string { return string(s.Origin) }), possible: origins, facet: true},
	"state":          {words: one(func(s *Summary) string { return string(s.State) }), possible: states, facet: true},
	"status":         {words: one(func(s *Summary) string { return string(s.Status) }), possible: statuses, facet: true},
	"verdict":        {words: one(func(s *Summary) string { return string(s.Verdict) }), possible: verdicts, facet: true},
	"owner":          {words: one(func(s *Summary) string { return s.Owner }), facet: true},
	"plan":           {words: one(func(s *Summary) string { return s.Plan })},
	"ticket":         {words: func(s *Summary) []string { return s.Tickets }},
	"reach":          {words: one(func(s *Summary) string { return s.Reach }), possible: reaches, facet: true},
	"muted":          {words: one(func(s *Summary) string { return yesNo(s.Muted) }), possible: []string{"no", "yes"}, facet: true},
	"month":          {words: one(func(s *Summary) string { return s.Created.UTC().Format("2006-01") }), facet: true},
	"false-positive": {words: func(s *Summary) []string { return typeNames(s.FalsePositives) }, facet: true},
	"confirmed":      {words: func(s *Summary) []string { return typeNames(s.Confirmed) }, facet: true},
	"created":        {time: func(s *Summary) time.Time { return s.Created }},
	"received":       {time: func(s *Summary) time.Time { return s.Received }},
	"updated":        {time: func(s *Summary) time.Time { return s.Updated }},
	"judged":         {time: func(s *Summary) time.Time { return s.Judged }},
	"occurrences":    {number: func(s *Summary) int64 { return int64(s.Count) }},
	"sealed":         {number: func(s *Summary) int64 { return int64(s.Sealed) }},
}

var (
	origins  = []string{"", string(coffer.OriginMacie), string(coffer.OriginOperator), string(coffer.OriginScan), string(coffer.OriginSubmitted)}
	states   = []string{string(StateReceived), string(StateSealing), string(StateSealed), string(StatePartial), string(StateUnsealed), string(StateParked), string(StateFailed)}
	statuses = []string{string(Open), string(InProgress), string(Fixed), string(Closed)}
	reaches  = []string{"", "private", "public"}
	verdicts = []string{"", string(True), string(FalsePositive), string(Intended)}
)

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// FilterFields returns the names of the fields, sorted.
func FilterFields() []string { return namesOf(func(field) bool { return true }) }

// FacetFields returns the names of the fields whose values a [Query] can count, sorted.
func FacetFields() []string { return namesOf(func(f field) bool { return f.facet }) }

func namesOf(keep func(field) bool) []string {
	var out []string
	for name, f := range fields {
		if keep(f) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// fold is the form in which values are compared where case does not matter.
func fold(s string) string { return strings.ToLower(s) }

// ParseFilter reads pairs of the grammar, each as "field=value", "field!=value" or "field.gte=value". Errors wrap coffer.ErrInvalid, and
// say which field is meant and what is possible there; they do not repeat what was given.
func ParseFilter(pairs ...string) (Filter, error) {
	var f Filter
	for _, s := range pairs {
		left, right, err := filter.Cut(s)
		if err == nil {
			err = f.add(left, right)
		}
		if err != nil {
			return Filter{}, err
		}
	}
	return f, nil
}

// FilterOf reads the pairs of a URL's query, but for the parameters that are not the filter's.
func FilterOf(query url.Values, others ...string) (Filter, error) {
	var f Filter
	if err := filter.Query(query, others, f.add); err != nil {
		return Filter{}, err
	}
	return f, nil
}

// Override returns a filter of f's terms, but for the fields that g names, and all of g's: a saved view, narrowed or turned by hand.
func (f Filter) Override(g Filter) Filter {
	kept := slices.DeleteFunc(slices.Clone(f.terms), func(t term) bool {
		return slices.ContainsFunc(g.terms, func(o term) bool { return o.field == t.field })
	})
	return Filter{terms: append(kept, g.terms...)}
}

// add takes in one pair.
func (f *Filter) add(left, right string) error {
	left, op, err := filter.CutLeft(left)
	if err != nil {
		return err
	}
	t := term{op: op, field: left}
	fd, ok := fields[left]
	if !ok {
		return fmt.Errorf("filter on unknown field; fields are %s: %w", strings.Join(FilterFields(), ", "), coffer.ErrInvalid)
	}
	invalid := func(possible string) error {
		return fmt.Errorf("filter on %s: %s: %w", left, possible, coffer.ErrInvalid)
	}
	compares := op.Compares()
	switch {
	case left == "q":
		// Each word is a value, and all of them must be there: the one field whose values are not alternatives.
		t.values = strings.FieldsFunc(fold(right), unicode.IsSpace)
		if t.op != filter.Is || len(t.values) == 0 {
			return invalid("give words that stand in bucket or key, q=word word")
		}
		slices.Sort(t.values)
		t.values = slices.Compact(t.values)
	case fd.time != nil:
		if t.op == filter.IsNot {
			return invalid("a time is compared by =, .gte, .gt, .lte or .lt")
		}
		if t.at, ok = filter.ParseMoment(right); !ok || t.op == filter.Is && t.at.Relative() {
			return invalid("give a time as 2026-07-15 or 2026-07-15T03:21:07Z, or before now as .gte=-7d (m, h, d, w)")
		}
		t.values = []string{right}
	case compares && fd.number == nil:
		return invalid("the field has no order; use = or !=")
	case compares && fd.possible != nil:
		rank := slices.Index(fd.possible, fold(right))
		if rank < 0 {
			return invalid("it is one of " + strings.Join(fd.possible, ", "))
		}
		t.values, t.number = []string{fold(right)}, int64(rank)
	case fd.words == nil:
		t.values = filter.Split(right)
		for i, v := range t.values {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil || n < 0 || compares && len(t.values) > 1 {
				return invalid("give a number from 0")
			}
			t.values[i], t.number = strconv.FormatInt(n, 10), n
		}
	default:
		t.values = filter.Split(right)
		for i, v := range t.values {
			if !fd.exact {
				v = fold(v)
			}
			if fd.possible != nil && !slices.Contains(fd.possible, v) {
				return invalid("it is one of " + strings.Join(slices.DeleteFunc(slices.Clone(fd.possible), func(s string) bool { return s == "" }), ", "))
			}
			t.values[i] = v
		}
	}
	if !compares && fd.time == nil && left != "q" {
		// Alternatives gather in one term.
		if i := slices.IndexFunc(f.terms, func(o term) bool { return o.field == t.field && o.op == t.op }); i >= 0 {
			t.values = slices.Concat(f.terms[i].values, t.values)
			slices.Sort(t.values)
			f.terms[i].values = slices.Compact(t.values)
			return nil
		}
		slices.Sort(t.values)
		t.values = slices.Compact(t.values)
	}
	f.terms = append(f.terms, t)
	return nil
}

// Pairs returns the pairs of the filter, as ParseFilter reads them, in order of first use.
func (f Filter) Pairs() []string {
	out := make([]string, len(f.terms))
	for i, t := range f.terms {
		out[i] = t.left() + "=" + t.right()
	}
	return out
}

// words returns the text that q looks for.
func (f Filter) words() string {
	var all []string
	for _, t := range f.terms {
		if t.field == "q" {
			all = append(all, t.right())
		}
	}
	return strings.Join(all, " ")
}

// String returns the filter as the query of a URL: what [FilterOf] reads, with the same meaning and the same String.
func (f Filter) String() string {
	q := url.Values{}
	for _, t := range f.terms {
		q.Add(t.left(), t.right())
	}
	return q.Encode()
}

func (t term) left() string { return t.op.Left(t.field) }

func (t term) right() string {
	switch {
	case t.field == "q":
		return strings.Join(t.values, " ")
	case fields[t.field].time != nil:
		return t.values[0]
	}
	return filter.Join(t.values)
}

// Match reports whether the filter selects s when it is asked now.
func (f Filter) Match(s *Summary, now time.Time) bool {
	for _, t := range f.terms {
		if !t.match(s, now) {
			return false
		}
	}
	return true
}

func (t term) match(s *Summary, now time.Time) bool {
	fd := fields[t.field]
	switch {
	case t.field == "q":
		bucket, key := fold(s.Object.Bucket), fold(s.Object.Key)
		for _, w := range t.values {
			if !strings.Contains(bucket, w) && !strings.Contains(key, w) {
				return false
			}
		}
		return true
	case fd.time != nil:
		from, to := t.at.At(now)
		return filter.Within(t.op, fd.time(s).UnixMicro(), from.UnixMicro(), to.UnixMicro())
	case t.op.Compares():
		return filter.Within(t.op, fd.number(s), t.number, t.number+1)
	case fd.words == nil:
		return slices.Contains(t.values, strconv.FormatInt(fd.number(s), 10)) == (t.op == filter.Is)
	}
	hit := slices.ContainsFunc(fd.words(s), func(have string) bool {
		if !fd.exact {
			have = fold(have)
		}
		return slices.ContainsFunc(t.values, func(want string) bool { return fd.equal(have, want) })
	})
	return hit == (t.op == filter.Is)
}

// equal compares a value, folded where the field is, with one of a filter.
func (f field) equal(have, want string) bool { return filter.Equal(have, want, f.prefix) }

// Order says how a list is sorted: by a field, ascending or, with "-" in front, descending; equal ones by finding id.
type Order string

// The orders.
const (
	NewestFirst  Order = "-created" // the default
	OldestFirst  Order = "created"
	LastReceived Order = "-received"
	LastChanged  Order = "-updated"
	MostSevere   Order = "-severity" // the newest of each severity first
	MostValues   Order = "-sealed"
)

var orders = []Order{NewestFirst, OldestFirst, LastReceived, LastChanged, MostSevere, MostValues}

// ParseOrder reads an order; the empty one is NewestFirst. Its error wraps coffer.ErrInvalid.
func ParseOrder(s string) (Order, error) {
	o := cmp.Or(Order(s), NewestFirst)
	if !slices.Contains(orders, o) {
		var all []string
		for _, o := range orders {
			all = append(all, string(o))
		}
		return "", fmt.Errorf("order of the list: it is one of %s: %w", strings.Join(all, ", "), coffer.ErrInvalid)
	}
	return o, nil
}
