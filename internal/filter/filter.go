// Package filter is the grammar of filters that every list shares, on the command line, in the API and in the portal: pairs of a field
// and values. Which fields there are, and what they mean, is for the owner of the list to say.
//
//	field=a        field is a; with commas (field=a,b): one of these. "\," is a comma and "\\" a backslash in a value
//	field!=a       it is none of these
//	field.gte=a    at least a; .gt, .lte and .lt likewise
package filter

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer"
)

// Op is how a field is compared.
type Op string

// The operators.
const (
	Is    Op = "="
	IsNot Op = "!="
	GTE   Op = "gte"
	GT    Op = "gt"
	LTE   Op = "lte"
	LT    Op = "lt"
)

// Compares reports whether op asks for an order.
func (op Op) Compares() bool { return op != Is && op != IsNot }

// Left writes the left side of a pair, what [CutLeft] reads.
func (op Op) Left(field string) string {
	switch op {
	case Is:
		return field
	case IsNot:
		return field + "!"
	}
	return field + "." + string(op)
}

// Cut takes "field=value" apart at its first "=". An error wraps coffer.ErrInvalid, as all of this package, and repeats nothing.
func Cut(pair string) (left, right string, err error) {
	left, right, ok := strings.Cut(pair, "=")
	if !ok {
		return "", "", fmt.Errorf("filter without \"=\"; write field=value, field!=value or field.gte=value: %w", coffer.ErrInvalid)
	}
	return left, right, nil
}

// CutLeft takes the left side of a pair apart.
func CutLeft(left string) (field string, op Op, err error) {
	op = Is
	if name, ok := strings.CutSuffix(left, "!"); ok {
		op, left = IsNot, name
	}
	if name, order, ok := strings.Cut(left, "."); ok {
		if op != Is || !slices.Contains([]Op{GTE, GT, LTE, LT}, Op(order)) {
			return "", "", fmt.Errorf("filter: a comparison is one of field.gte=, field.gt=, field.lte=, field.lt=: %w", coffer.ErrInvalid)
		}
		op, left = Op(order), name
	}
	return left, op, nil
}

// Query calls add with the pairs of a URL's query in order of their left sides, but for the parameters that are not the filter's. It
// stops at the first error and returns it.
func Query(query url.Values, others []string, add func(left, right string) error) error {
	var lefts []string
	for k := range query {
		if !slices.Contains(others, k) {
			lefts = append(lefts, k)
		}
	}
	slices.Sort(lefts)
	for _, left := range lefts {
		for _, right := range query[left] {
			if err := add(left, right); err != nil {
				return err
			}
		}
	}
	return nil
}

// Split takes alternatives apart at commas.
func Split(s string) []string {
	var out []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == ',' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == ',':
			out = append(out, b.String())
			b.Reset()
		default:
			b.WriteByte(s[i])
		}
	}
	return append(out, b.String())
}

var escape = strings.NewReplacer(`\`, `\\`, `,`, `\,`)

// Join is the inverse of [Split].
func Join(values []string) string {
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = escape.Replace(v)
	}
	return strings.Join(escaped, ",")
}

// Equal compares a value with one of a filter, in which a trailing "*" stands for any end where prefix is set.
func Equal(have, want string, prefix bool) bool {
	if p, ok := strings.CutSuffix(want, "*"); ok && prefix {
		return strings.HasPrefix(have, p)
	}
	return have == want
}

// Within reports whether v compares so with what reaches from from up to, not including, to.
func Within[T cmp.Ordered](op Op, v, from, to T) bool {
	switch op {
	case Is:
		return from <= v && v < to
	case GTE:
		return v >= from
	case GT:
		return v >= to
	case LTE:
		return v < to
	}
	return v < from
}

// Moment is a point in time of a filter: an instant to the microsecond, a day (in UTC, all of it), or some time before now.
type Moment struct {
	from, to time.Time     // the first instant and the first after it
	ago      time.Duration // relative, when not 0
}

// units of relative times.
var units = map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}

// ParseMoment reads RFC 3339, a day as 2026-07-15, or a relative time: -30m, -12h, -7d, -2w.
func ParseMoment(s string) (Moment, bool) {
	if rest, ok := strings.CutPrefix(s, "-"); ok && rest != "" {
		unit := units[rest[len(rest)-1]]
		n, err := strconv.ParseUint(rest[:len(rest)-1], 10, 16)
		return Moment{ago: time.Duration(n) * unit}, err == nil && unit != 0 && n > 0
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return Moment{from: t, to: t.AddDate(0, 0, 1)}, true
	}
	t, err := time.Parse(time.RFC3339, s)
	t = t.UTC().Truncate(time.Microsecond) // what the index and the log keep
	return Moment{from: t, to: t.Add(time.Microsecond)}, err == nil
}

// Relative reports whether the moment is before the time of asking.
func (m Moment) Relative() bool { return m.ago != 0 }

// At returns the first instant of the moment and the first after it, when it is asked now.
func (m Moment) At(now time.Time) (from, to time.Time) {
	if m.ago != 0 {
		from = now.Add(-m.ago)
		return from, from.Add(time.Microsecond)
	}
	return m.from, m.to
}
