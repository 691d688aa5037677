package archive_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"

	"coffer"
	"coffer/format"
	"coffer/format/archive"
)

// ratio runs ours and a baseline in turn and reports how many times as fast ours is.
func ratio(b *testing.B, bytes int, ours, baseline func()) {
	var a, c time.Duration
	b.SetBytes(int64(bytes))
	for b.Loop() {
		start := time.Now()
		ours()
		middle := time.Now()
		baseline()
		a += middle.Sub(start)
		c += time.Since(middle)
	}
	b.ReportMetric(c.Seconds()/a.Seconds(), "x-baseline")
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkGzipLocate reaches the last line of a compressed text; the baseline inflates it and looks at nothing.
func BenchmarkGzipLocate(b *testing.B) {
	body := sample(16<<20, 1)
	doc := bareGz(body)
	last := int64(bytes.Count(body, []byte("\n"))) + 1
	want := []coffer.Location{{Member: "x.txt", Kind: coffer.Lines, Start: last, End: last}}
	ratio(b, len(body), func() {
		n := 0
		check(b, archive.Gzip{Name: "x.txt.gz", Choose: choose}.Walk(context.Background(), nil, source(doc, true), want, func(*format.Region) ([]format.Edit, error) {
			n++
			return nil, nil
		}))
		if n != 1 {
			b.Fatal("not found")
		}
	}, func() {
		r, err := gzip.NewReader(bufio.NewReaderSize(bytes.NewReader(doc), 64<<10))
		check(b, err)
		_, err = io.Copy(io.Discard, onlyReader{r})
		check(b, err)
	})
}

type onlyReader struct{ io.Reader }

// BenchmarkGzipRewrite masks in a compressed text; the baseline inflates and deflates it.
func BenchmarkGzipRewrite(b *testing.B) {
	body := sample(8<<20, 1)
	doc := bareGz(body)
	ratio(b, len(body), func() {
		check(b, archive.Gzip{Choose: choose}.Walk(context.Background(), io.Discard, source(doc, true), nil, mask))
	}, func() {
		r, err := gzip.NewReader(bufio.NewReaderSize(bytes.NewReader(doc), 64<<10))
		check(b, err)
		w, err := flate.NewWriter(io.Discard, 6)
		check(b, err)
		_, err = io.Copy(w, onlyReader{r})
		check(b, err)
		check(b, w.Close())
	})
}

// BenchmarkTarSkip finds a member behind many that nobody wants; the baseline is the standard library's reader, which can skip
// too.
func BenchmarkTarSkip(b *testing.B) {
	var files []file
	for i := range 500 {
		files = append(files, file{string(rune('a'+i%26)) + "/x.txt", make([]byte, 20_000)})
	}
	files = append(files, file{"last.txt", []byte("here")})
	doc := tarOf(tar.FormatUSTAR, files...)
	want := []coffer.Location{{Member: "last.txt", Kind: coffer.Lines, Start: 1, End: 1}}
	ratio(b, len(doc), func() {
		check(b, archive.Tar{Choose: choose}.Walk(context.Background(), nil, source(doc, true), want, none))
	}, func() {
		r := tar.NewReader(bytes.NewReader(doc))
		for {
			if _, err := r.Next(); err == io.EOF {
				return
			} else if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkZipSmall walks an archive of many small members.
func BenchmarkZipSmall(b *testing.B) {
	var files []file
	for i := range 2000 {
		files = append(files, file{string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + ".txt", sample(300, uint64(i))})
	}
	doc := zipOf(files...)
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		check(b, archive.Zip{Choose: choose}.Walk(context.Background(), nil, source(doc, true), nil, none))
	}
}
