package pipeline

import (
	"slices"
	"time"
)

// Span is the time from From until before Until.
type Span struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

func (s Span) empty() bool { return !s.From.Before(s.Until) }

// spans is a set of instants: spans in ascending order, none empty, no two of which touch.
type spans []Span

// with returns the set together with s.
func (ss spans) with(s Span) spans {
	if s.empty() {
		return ss
	}
	out := make(spans, 0, len(ss)+1)
	for _, x := range ss {
		if x.Until.Before(s.From) || s.Until.Before(x.From) {
			out = append(out, x)
			continue
		}
		s = Span{earlier(s.From, x.From), later(s.Until, x.Until)}
	}
	out = append(out, s)
	slices.SortFunc(out, func(a, b Span) int { return a.From.Compare(b.From) })
	return out
}

// missing returns what of s is not in the set.
func (ss spans) missing(s Span) spans {
	var out spans
	for _, x := range ss {
		if gap := (Span{s.From, earlier(s.Until, x.From)}); !gap.empty() {
			out = append(out, gap)
		}
		s.From = later(s.From, x.Until)
	}
	if !s.empty() {
		out = append(out, s)
	}
	return out
}

// within returns what of the set is in s.
func (ss spans) within(s Span) spans {
	var out spans
	for _, x := range ss {
		if x = (Span{later(x.From, s.From), earlier(x.Until, s.Until)}); !x.empty() {
			out = append(out, x)
		}
	}
	return out
}

// last returns the latest span; the zero Span of an empty set.
func (ss spans) last() Span {
	if len(ss) == 0 {
		return Span{}
	}
	return ss[len(ss)-1]
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
