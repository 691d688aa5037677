package web_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// discard is an answer that nobody reads.
type discard struct {
	h      http.Header
	status int
	n      int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }

// cpu returns the time that this process has had a processor.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMaskedFinding compares a masked finding with a handler that writes the same bytes from memory, over real connections, in
// requests per second of processor time. The two take turns, because of whoever else uses the machine, and what the log does later with the
// entries is part of ours. "x" is of all turns together, "best-x" of the best turn of each.
func BenchmarkMaskedFinding(b *testing.B) {
	w := newWorld(b)
	path := "/v1/findings/" + w.findings["receipt.html"]
	first := w.send("GET", path, "engineer/user", "")
	if first.Code != 200 {
		b.Fatalf("%d %s", first.Code, first.Body)
	}
	same := first.Body.Bytes()
	static := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(same)
	})
	const turn = 1000 // requests
	server := func(h http.Handler) func() time.Duration {
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.Host = host
			h.ServeHTTP(rw, r)
		}))
		b.Cleanup(srv.Close)
		req, err := http.NewRequest(http.MethodGet, srv.URL+path, nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer engineer/user")
		return func() time.Duration {
			begun := cpu()
			for range turn {
				res, err := srv.Client().Do(req)
				if err != nil || res.StatusCode != http.StatusOK {
					b.Fatal(err)
				}
				var buf bytes.Buffer
				_, _ = buf.ReadFrom(res.Body)
				_ = res.Body.Close()
			}
			if err := w.app.Log.Sequence(b.Context()); err != nil {
				b.Fatal(err)
			}
			return cpu() - begun
		}
	}
	bare, ours := server(static), server(w.web)
	bare()
	ours()
	var all, best [2]time.Duration
	n := 0
	for ; n < 4 || b.Loop(); n++ {
		for i, took := range []time.Duration{bare(), ours()} {
			all[i] += took
			if best[i] == 0 || took < best[i] {
				best[i] = took
			}
		}
	}
	b.ReportMetric(all[1].Seconds()*1e6/float64(n*turn), "cpu-us/finding")
	b.ReportMetric(all[0].Seconds()*1e6/float64(n*turn), "cpu-us/static")
	b.ReportMetric(all[0].Seconds()/all[1].Seconds(), "x")
	b.ReportMetric(best[0].Seconds()/best[1].Seconds(), "best-x")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFindingHandler is the handler alone. "cpu-us/op" counts what others on the machine do not change.
func BenchmarkFindingHandler(b *testing.B) {
	w := newWorld(b)
	r := httptest.NewRequest(http.MethodGet, "https://"+host+"/v1/findings/"+w.findings["receipt.html"], nil)
	r.Header.Set("Authorization", "Bearer engineer/user")
	b.ReportAllocs()
	begun := cpu()
	for b.Loop() {
		d := &discard{h: http.Header{}}
		w.web.ServeHTTP(d, r)
		if d.status != 200 {
			b.Fatal(d.status)
		}
	}
	b.ReportMetric(float64((cpu()-begun).Microseconds())/float64(b.N), "cpu-us/op")
}

// BenchmarkReveals compares reveals by 32 callers, with their durable entries, with what the disk can sync one after the other.
func BenchmarkReveals(b *testing.B) {
	w := newWorld(b)
	f, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	begun := time.Now()
	const syncs = 200
	for range syncs {
		if _, err := f.Write(make([]byte, 512)); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	bare := syncs / time.Since(begun).Seconds()
	path := "/v1/findings/" + w.findings["receipt.html"] + "/reveal"
	var callers atomic.Int64
	var failed atomic.Int64
	begun, used := time.Now(), cpu()
	b.SetParallelism(16) // of two processors
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		n := 0
		who := callers.Add(1)
		for pb.Next() {
			// Budgets are each caller's own; so many callers that none comes to its end.
			token := fmt.Sprintf("engineer+c%d.%d/user", who, n/50)
			n++
			r := httptest.NewRequest(http.MethodPost, "https://"+host+path, strings.NewReader(`{`+reason+`}`))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+token)
			d := &discard{h: http.Header{}}
			w.web.ServeHTTP(d, r)
			if d.status != 200 {
				failed.Add(1)
			}
		}
	})
	rate := float64(b.N) / time.Since(begun).Seconds()
	used = cpu() - used
	if failed.Load() > 0 {
		b.Fatalf("%d of %d failed", failed.Load(), b.N)
	}
	b.ReportMetric(rate, "reveals/s")
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-us/reveal")
	b.ReportMetric(bare, "syncs/s")
	b.ReportMetric(rate/bare, "x")
}
