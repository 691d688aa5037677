package text_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"coffer"
	"coffer/format"
	"coffer/format/text"
)

// quicker returns the quickest of the runs: the machine has other work too.
func quicker(best time.Duration, start time.Time) time.Duration {
	if d := time.Since(start); best == 0 || d < best {
		return d
	}
	return best
}

// BenchmarkReachLine: the last line of a log, against counting newlines, in memory and through a reader.
func BenchmarkReachLine(b *testing.B) {
	line := []byte("2026-03-01T10:11:12Z INFO request served in 12 ms for customer 123456 at /v1/statements/2026-02 with status 200 and some more words\n")
	for name, doc := range map[string][]byte{
		"lf":   bytes.Repeat(line, (64<<20)/len(line)),
		"crlf": bytes.Repeat(append(line[:len(line)-1:len(line)-1], '\r', '\n'), (64<<20)/len(line)),
	} {
		n := int64(bytes.Count(doc, []byte("\n")))
		want := []coffer.Location{{Kind: coffer.Lines, Start: n, End: n}}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			var counting, reading, own time.Duration
			buf := make([]byte, 256<<10)
			for b.Loop() {
				start := time.Now()
				count := int64(bytes.Count(doc, []byte("\n")))
				counting = quicker(counting, start)

				start = time.Now()
				r := bytes.NewReader(doc)
				for {
					m, err := r.Read(buf)
					count += int64(bytes.Count(buf[:m], []byte("\n")))
					if err == io.EOF {
						break
					}
				}
				reading = quicker(reading, start)
				if count != 2*n {
					b.Fatal("miscounted")
				}

				start = time.Now()
				err := text.Format{}.Walk(context.Background(), nil, format.Source{Reader: bytes.NewReader(doc)}, want,
					func(*format.Region) ([]format.Edit, error) { return nil, nil })
				own = quicker(own, start)
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(counting)/float64(own), "x-count")
			b.ReportMetric(float64(reading)/float64(own), "x-read+count")
			b.ReportMetric(float64(len(doc))/1e6/own.Seconds(), "own-MB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
