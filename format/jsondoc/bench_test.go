package jsondoc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/buger/jsonparser"

	"coffer"
	"coffer/format"
	"coffer/format/jsondoc"
)

// The goals are those of a run on one core, as ratios to something measured in the same run: reaching a line at least 0.5 of the
// bare search for line breaks (10 of 20 GB/s), three paths in every line at least 4 times buger/jsonparser, one path in a
// document at least 1.4 times json.Valid (1 of 0.7 GB/s), a rewrite close to a copy. The second is not reached: jsonparser stops
// at the first member of a name, where a walk goes on to the end of the line for others of the same name, and offers each field
// in two readings of its index. Macie locates a thousand values at most for a type, so that lines are mostly skipped.

// measure runs f b.N times, and in between the baseline, and reports how much faster than it f is. It compares the best runs,
// which a busy machine disturbs least.
func measure(b *testing.B, size int, name string, baseline, f func()) {
	b.Helper()
	f()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	timed := func(f func()) time.Duration {
		start := time.Now()
		f()
		return time.Since(start)
	}
	base, own := timed(baseline), time.Duration(1<<62)
	b.ResetTimer()
	for range b.N {
		own = min(own, timed(f))
		b.StopTimer()
		base = min(base, timed(baseline))
		b.StartTimer()
	}
	b.ReportMetric(float64(base)/float64(own), "x"+name)
	b.ReportMetric(float64(size)/1e6/own.Seconds(), "bestMB/s")
}

func jsonLines(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"id":"C-%07d","name":"Ada Example","address":{"street":"1 Example Street","city":"Springfield","zip":"%05d"},"kyc":{"ssn":"900-%02d-%04d","checked":true,"score":%d.%02d},`+
			`"payout":{"Bank Account":"%011d","currency":"USD"},"cards":[{"card number":"4000001155858871","label":"c0"},{"card number":"4000007330796522","label":"c1"}],`+
			`"note":"called the customer, who said: \"wait for the letter\"; nothing else to do until it arrives","created":"2026-07-15T03:21:33Z"}`+"\n", i, i%1e5, i%100, i%1e4, i%1000, i%100, i*7919)
	}
	return b.Bytes()
}

func walk(b *testing.B, dst io.Writer, doc []byte, want []coffer.Location, visit format.Visitor) {
	if err := (jsondoc.Format{}).Walk(context.Background(), dst, format.Source{Reader: bytes.NewReader(doc), Size: int64(len(doc))}, want, visit); err != nil {
		b.Fatal(err)
	}
}

func nothing(*format.Region) ([]format.Edit, error) { return nil, nil }

func everyLine(step, n int, paths ...string) []coffer.Location {
	var want []coffer.Location
	for i := 0; i < n; i += step {
		for _, p := range paths {
			want = append(want, coffer.Location{Kind: coffer.Record, Index: int64(i), Path: p})
		}
	}
	return want
}

func BenchmarkLineSkip(b *testing.B) {
	const n = 60_000
	doc := jsonLines(n)
	want := everyLine(1000, n, "$.kyc.ssn")
	measure(b, len(doc), "IndexByte", func() {
		r := bytes.NewReader(doc)
		buf := make([]byte, 64<<10)
		lines := 0
		for {
			m, err := r.Read(buf)
			for w := buf[:m]; ; lines++ {
				i := bytes.IndexByte(w, '\n')
				if i < 0 {
					break
				}
				w = w[i+1:]
			}
			if err != nil {
				break
			}
		}
	}, func() { walk(b, nil, doc, want, nothing) })
}

func BenchmarkLinePaths(b *testing.B) {
	const n = 10_000
	doc := jsonLines(n)
	want := everyLine(1, n, "$.kyc.ssn", "$.payout['Bank Account']", "$.cards[0]['card number']")
	measure(b, len(doc), "jsonparser", func() {
		for line := range bytes.Lines(doc) {
			for _, p := range [][]string{{"kyc", "ssn"}, {"payout", "Bank Account"}, {"cards", "[0]", "card number"}} {
				if _, _, _, err := jsonparser.Get(line, p...); err != nil {
					b.Fatal(err)
				}
			}
		}
	}, func() { walk(b, nil, doc, want, nothing) })
}

func BenchmarkLineAll(b *testing.B) {
	doc := jsonLines(10_000)
	measure(b, len(doc), "json.Valid", func() {
		for line := range bytes.Lines(doc) {
			json.Valid(line)
		}
	}, func() { walk(b, nil, doc, nil, nothing) })
}

func BenchmarkDocument(b *testing.B) {
	doc := append(append([]byte(`{"customers":[`), bytes.ReplaceAll(bytes.TrimSpace(jsonLines(20_000)), []byte("\n"), []byte(",\n"))...), "]}"...)
	want := []coffer.Location{{Kind: coffer.Record, Path: "$.customers[19000].kyc.ssn"}}
	measure(b, len(doc), "json.Valid", func() { json.Valid(doc) }, func() { walk(b, nil, doc, want, nothing) })
}

func BenchmarkRewrite(b *testing.B) {
	const n = 60_000
	doc := jsonLines(n)
	want := everyLine(1000, n, "$.kyc.ssn")
	out := bytes.NewBuffer(make([]byte, 0, len(doc)+1<<20))
	measure(b, len(doc), "copy", func() {
		out.Reset()
		if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{bytes.NewReader(doc)}, make([]byte, 64<<10)); err != nil {
			b.Fatal(err)
		}
	}, func() {
		out.Reset()
		walk(b, struct{ io.Writer }{out}, doc, want, func(r *format.Region) ([]format.Edit, error) {
			return []format.Edit{{Start: 0, End: len(r.Text), New: []byte("[redacted]")}}, nil
		})
	})
}
