package triage

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"coffer"
	"coffer/store/mem"
)

// summaries makes n findings as an installation has them: a few hundred buckets, a thousand months and keys that are all different.
func summaries(n int) []Summary {
	r := rand.New(rand.NewPCG(1, 2))
	types := make([]coffer.DataType, 120)
	for i := range types {
		types[i] = coffer.DataType(fmt.Sprintf("IDENTIFIER_%03d", i))
	}
	begin := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	out := make([]Summary, n)
	for i := range out {
		at := begin.Add(time.Duration(r.IntN(3*365*24*3600)) * time.Second)
		first := r.IntN(len(types) - 4)
		out[i] = Summary{
			ID: fmt.Sprintf("%08x%024x", r.Uint32(), i), Type: "SensitiveData:S3Object/" + []string{"Financial", "Personal", "Credentials", "Multiple"}[r.IntN(4)],
			Types: types[first : first+1+r.IntN(4)], Severity: coffer.Severity(1 + r.IntN(3)),
			Object: coffer.Object{
				Bucket: fmt.Sprintf("bank-team-%d-exports", r.IntN(400)), VersionID: fmt.Sprintf("%032x", i),
				Key: fmt.Sprintf("exports/%s/part-%07d/customers-%d.csv.gz", at.Format("2006/01/02"), i, r.IntN(1000)),
			},
			Account: fmt.Sprintf("1111222233%02d", r.IntN(40)), Region: []string{"eu-west-1", "us-east-1"}[r.IntN(2)], Origin: coffer.OriginMacie,
			Created: at, Received: at.Add(time.Minute), Updated: at.Add(time.Hour), State: []State{StateSealed, StatePartial, StateUnsealed}[r.IntN(3)],
			Status: []Status{Open, InProgress, Fixed, Closed}[r.IntN(4)], Verdict: []Verdict{"", True, FalsePositive, Intended}[r.IntN(4)],
			Owner: fmt.Sprintf("person-%d", r.IntN(200)), Count: r.IntN(1000), Sealed: r.IntN(1000), Revision: 1,
		}
	}
	return out
}

// BenchmarkIndex measures a page of 50 with the counts of all facets, for queries of every kind one after the other. p95-ms is over all
// of them; bytes/finding is what the heap grew by.
func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := NewIndex(Records{DB: &mem.DB{}})
			if err := x.Refresh(b.Context()); err != nil {
				b.Fatal(err)
			}
			before := heap()
			for _, s := range summaries(n) {
				x.table.put(&s)
			}
			perFinding := float64(heap()-before) / float64(n)
			var queries []Query
			for _, pairs := range [][]string{
				nil, {"status=open,in-progress"}, {"severity.gte=medium", "status=open"}, {"bucket=bank-team-7-exports"}, {"type=IDENTIFIER_007", "verdict="},
				{"q=customers-12"}, {"q=team-3 2025/07"}, {"created.gte=2026-06-01"}, {"key=exports/2025/07/*", "status!=closed"}, {"owner=person-11", "severity=high"},
				{"sealed.gte=500", "account=111122223304"}, {"finding=00000000*"},
			} {
				f, err := ParseFilter(pairs...)
				if err != nil {
					b.Fatal(err)
				}
				for _, o := range []Order{NewestFirst, MostSevere} {
					queries = append(queries, Query{Filter: f, Order: o, Limit: 50, Facets: FacetFields(), Now: time.Now()})
				}
			}
			for _, q := range queries {
				if _, err := x.Query(b.Context(), q); err != nil { // sorts
					b.Fatal(err)
				}
			}
			var took []time.Duration
			i := 0
			b.ResetTimer()
			for b.Loop() {
				begin := time.Now()
				p, err := x.Query(b.Context(), queries[i%len(queries)])
				if err != nil || p.Lag != nil {
					b.Fatal(err, p.Lag)
				}
				took = append(took, time.Since(begin))
				i++
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(perFinding, "bytes/finding")
			runtime.KeepAlive(x)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkOpen measures the start: from a snapshot, and from the list.
func BenchmarkOpen(b *testing.B) {
	const n = 100_000
	db := &mem.DB{}
	x := NewIndex(Records{DB: db})
	if err := x.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	all := summaries(n)
	for _, s := range all {
		x.table.put(&s)
	}
	x.change = n
	if err := x.Compact(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			if t, _, err := loadSnapshot(b.Context(), db); err != nil || t.len() != n {
				b.Fatal(err)
			}
		}
	})
	b.Run("summaries", func(b *testing.B) {
		for b.Loop() {
			t := newTable()
			for i := range all {
				t.put(&all[i])
			}
		}
	})
}
