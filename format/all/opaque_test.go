package all_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"testing"

	"coffer/format"
	"coffer/format/all"
)

func TestOpaque(t *testing.T) {
	png := append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{0, 1, 2, 3}, 50)...)
	var inner bytes.Buffer
	gz := gzip.NewWriter(&inner)
	tw := tar.NewWriter(gz)
	for _, m := range []struct {
		name string
		body []byte
	}{{"a.csv", []byte("x,y\n1,2\n")}, {"logo.png", png}} {
		if err := tw.WriteHeader(&tar.Header{Name: m.name, Mode: 0o600, Size: int64(len(m.body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	var outer bytes.Buffer
	zw := zip.NewWriter(&outer)
	for name, body := range map[string][]byte{"inner.tar.gz": inner.Bytes(), "photo.png": png, "readme.txt": []byte("plain text\n")} {
		w, err := zw.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		body []byte
		want int
	}{{"outer.zip", outer.Bytes(), 2}, {"inner.tar.gz", inner.Bytes(), 1}, {"readme.txt", []byte("plain text\n"), 0}, {"photo.png", png, 0}} {
		kinds, err := all.Opaque(context.Background(), c.name, format.Source{Reader: bytes.NewReader(c.body), Size: int64(len(c.body)), At: bytes.NewReader(c.body)})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		n := 0
		for _, k := range kinds {
			n += k
		}
		if n != c.want {
			t.Errorf("%s: %d opaque files of %v, want %d", c.name, n, kinds, c.want)
		}
	}
}
