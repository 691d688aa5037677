package s3

import (
	"testing"

	"pgregory.net/rapid"
)

// TestPlan: for objects of up to 10 TB, rewritten with edits wherever they come, the parts keep S3's limits: at most 10,000, none but
// the last below 5 MiB, none above 5 GiB, and together they are what was written.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.Int64Range(1, 100*mib), rapid.Int64Range(1, 100<<30), rapid.Int64Range(1, 10<<40)).Draw(t, "size")
		p := plan{limits: amazon, size: size}
		// An edit and the stretch after it, as if repeated to the end: as many of them as fit make the worst case.
		insert := rapid.Int64Range(0, 20*mib).Draw(t, "insert")
		stretch := rapid.OneOf(rapid.Int64Range(1, 20*mib), rapid.Int64Range(1, 5<<30), rapid.Int64Range(size/2400, size/2400+6*mib)).Draw(t, "stretch")
		stretch = max(stretch, 1, size/20_000) // beyond 20,000 edits they are a walk that takes too long here
		var parts, last, short, written int64
		var pending, total, want int64
		part := func(n int64) {
			if last > 0 && last < p.minPart {
				short++
			}
			if n > p.maxPart || n <= 0 {
				t.Fatalf("a part of %d bytes", n)
			}
			parts, last, total = parts+1, n, total+n
		}
		literal := func(n int64) {
			pending, written = pending+n, written+n
			for pending >= p.part() {
				n := p.part()
				p.literals++
				part(n)
				pending -= n
			}
		}
		flush := func() {
			if pending > 0 {
				p.literals++
				part(pending)
				pending = 0
			}
		}
		for pos := int64(0); pos < size; pos += stretch {
			literal(insert)
			n := min(stretch, size-pos)
			want += insert + n
			more, pieces := p.copy(pending, n, true)
			literal(more)
			if len(pieces) > 0 {
				flush()
			}
			for _, k := range pieces {
				part(k)
			}
		}
		flush()
		if total != want || short > 0 {
			t.Fatalf("%d of %d bytes, %d parts too short", total, want, short)
		}
		if parts > int64(p.parts) && written < 150<<30 {
			t.Fatalf("%d parts, %d bytes of them written", parts, written)
		}
	})
}
