package detect_test

import (
	"bufio"
	"bytes"
	"slices"
	"strings"
	"testing"

	"coffer"
	"coffer/format/detect"
)

// vectors calls f for each line of testdata/vectors.txt, numbers judged by another implementation.
func vectors(t *testing.T, f func(id coffer.DataType, v string, valid bool)) {
	t.Helper()
	n := 0
	for s := bufio.NewScanner(bytes.NewReader(open(t, "vectors.txt"))); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		p := strings.Split(s.Text(), " ")
		f(coffer.DataType(p[0]), p[1], p[2] == "valid")
		n++
	}
	if n < 600 {
		t.Fatalf("%d vectors", n)
	}
}

func TestVectors(t *testing.T) {
	vectors(t, func(id coffer.DataType, v string, valid bool) {
		d := detector(t, id)
		for _, x := range []detect.Text{
			{Text: []byte(v), Cell: true},
			{Text: []byte("see " + v + ", please")},
		} {
			got := d.Find(x)
			at := bytes.Index(x.Text, []byte(v))
			want := []detect.Match{{Start: at, End: at + len(v), Valid: valid}}
			if !slices.Equal(got, want) {
				t.Errorf("%s: Find(%q) = %v, want %v", id, x.Text, got, want)
			}
		}
	})
}
