package pipeline

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestSpans compares with a set of minutes over random spans.
func TestSpans(t *testing.T) {
	const n = 40
	at := func(i int) time.Time { return time.Date(2026, 7, 15, 0, i, 0, 0, time.UTC) }
	any := func() (Span, int, int) {
		i, j := rand.IntN(n), rand.IntN(n+1)
		return Span{at(i), at(j)}, i, j
	}
	same := func(what string, ss spans, want func(int) bool) {
		t.Helper()
		for k, x := range ss {
			if x.empty() || k > 0 && !ss[k-1].Until.Before(x.From) {
				t.Fatalf("%s: %v", what, ss)
			}
		}
		for i := range n {
			in := false
			for _, x := range ss {
				in = in || !at(i).Before(x.From) && at(i).Before(x.Until)
			}
			if in != want(i) {
				t.Fatalf("%s: minute %d: %v in %v", what, i, in, ss)
			}
		}
	}
	for range 2000 {
		var ss spans
		model := [n]bool{}
		for range rand.IntN(8) {
			s, i, j := any()
			ss = ss.with(s)
			for ; i < j; i++ {
				model[i] = true
			}
			same("with", ss, func(k int) bool { return model[k] })
		}
		s, i, j := any()
		same("missing", ss.missing(s), func(k int) bool { return !model[k] && i <= k && k < j })
		same("within", ss.within(s), func(k int) bool { return model[k] && i <= k && k < j })
		if last := ss.last(); len(ss) > 0 && last != ss[len(ss)-1] || len(ss) == 0 && last != (Span{}) {
			t.Fatalf("last: %v of %v", last, ss)
		}
	}
}
