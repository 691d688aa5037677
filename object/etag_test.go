package object_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"coffer/object"
)

const mib = 1 << 20

// sample is the body whose ETags were computed with Python's hashlib.
func sample() []byte {
	b := make([]byte, 11*mib+7)
	for i := range b {
		b[i] = byte(i*31 + i/251)
	}
	return b
}

func TestMatchETag(t *testing.T) {
	body := sample()
	changed := bytes.Clone(body)
	changed[6*mib] ^= 1
	for _, c := range []struct {
		name, etag   string
		body         []byte
		match, known bool
	}{
		{"single part", "4d4373ac174802bdbbf809683d5e3869", body, true, true},
		{"quoted", `"4d4373ac174802bdbbf809683d5e3869"`, body, true, true},
		{"upper case", "4D4373AC174802BDBBF809683D5E3869", body, true, true},
		{"single part, changed", "4d4373ac174802bdbbf809683d5e3869", changed, false, true},
		{"5 MiB parts", "951b171d21feea1fedda5f547e369c86-3", body, true, true},
		{"8 MiB parts", "2f38923af791f775c71096307f8b3305-2", body, true, true},
		{"8 MiB parts, changed", "2f38923af791f775c71096307f8b3305-2", changed, false, true},
		{"one part", "2a91f76dabd85b3e921540659a864245-1", body, true, true},
		{"one part, changed", "2a91f76dabd85b3e921540659a864245-1", changed, false, true},
		{"7 MiB parts, which nobody uses", "4cb65cabba50b0ce39535fbfed63b753-2", body, false, true},
		{"a number of parts that no usual size gives", "9c0562d16a13f48dc4104883fe5fb719-4", body, false, false},
		{"empty", "", body, false, false},
		{"no digest", "not-an-etag", body, false, false},
		{"short digest", "4d43", body, false, false},
		{"no parts", "4d4373ac174802bdbbf809683d5e3869-0", body, false, false},
		{"too many parts", "4d4373ac174802bdbbf809683d5e3869-10001", body, false, false},
		{"signed parts", "4d4373ac174802bdbbf809683d5e3869-+2", body, false, false},
		{"empty object", "d41d8cd98f00b204e9800998ecf8427e", nil, true, true},
		{"empty object in one part", "59adb24ef3cdbe0297f05b395827453f-1", nil, true, true},
	} {
		opened := 0
		match, known, err := object.MatchETag(c.etag, int64(len(c.body)), func() (io.Reader, error) {
			opened++
			return iotest.HalfReader(bytes.NewReader(c.body)), nil
		})
		if match != c.match || known != c.known || err != nil {
			t.Errorf("%s: %v, %v, %v; want %v, %v", c.name, match, known, err, c.match, c.known)
		}
		if want := map[bool]int{true: 1}[c.known]; opened != want {
			t.Errorf("%s: opened %d times, want %d", c.name, opened, want)
		}
	}
}

func TestMatchETagOtherLength(t *testing.T) {
	body := []byte("body")
	etag := fmt.Sprintf("%x", md5.Sum(body))
	for _, size := range []int64{0, 3, 5} {
		match, known, err := object.MatchETag(etag, size, func() (io.Reader, error) { return bytes.NewReader(body), nil })
		if match || !known || err != nil {
			t.Errorf("4 bytes, said to be %d: %v, %v, %v", size, match, known, err)
		}
	}
	// However long it is: reading stops soon after the length that was expected.
	endless := iotest.DataErrReader(io.MultiReader(bytes.NewReader(body), neverEnding{}))
	match, known, err := object.MatchETag(etag, 4, func() (io.Reader, error) { return endless, nil })
	if match || !known || err != nil {
		t.Errorf("endless: %v, %v, %v", match, known, err)
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

type closer struct {
	io.Reader
	closed *int
}

func (c closer) Close() error { *c.closed++; return nil }

func TestMatchETagErrors(t *testing.T) {
	failure := errors.New("no reading today")
	etag := strings.Repeat("0", 32)
	_, known, err := object.MatchETag(etag, 4, func() (io.Reader, error) { return nil, failure })
	if known || !errors.Is(err, failure) {
		t.Errorf("open fails: %v, %v", known, err)
	}
	closed := 0
	_, known, err = object.MatchETag(etag, 4, func() (io.Reader, error) { return closer{iotest.ErrReader(failure), &closed}, nil })
	if known || !errors.Is(err, failure) || closed != 1 {
		t.Errorf("read fails: %v, %v, closed %d times", known, err, closed)
	}
}

// FuzzMatchETag: whatever the bytes and the (usual) part size, the ETag made part by part matches, and one of other bytes of
// the same length does not.
func FuzzMatchETag(f *testing.F) {
	f.Add([]byte("seed"), uint8(0), uint16(3))
	f.Add([]byte{0}, uint8(5), uint16(900))
	f.Fuzz(func(t *testing.T, seed []byte, which uint8, repeat uint16) {
		sizes := []int{5, 8, 15, 16}
		part := sizes[int(which)%len(sizes)] * mib
		body := bytes.Repeat(append(seed, 'x'), int(repeat)+1)
		for len(body) < 1<<20 && which%2 == 0 {
			body = append(body, body...)
		}
		body = body[:min(len(body), 20*mib)]
		var sums []byte
		n := 0
		for off := 0; off < len(body); off += part {
			s := md5.Sum(body[off:min(off+part, len(body))])
			sums, n = append(sums, s[:]...), n+1
		}
		etag := fmt.Sprintf("%x-%d", md5.Sum(sums), n)
		open := func() (io.Reader, error) { return bytes.NewReader(body), nil }
		if match, known, err := object.MatchETag(etag, int64(len(body)), open); !match || !known || err != nil {
			t.Fatalf("%d bytes in parts of %d: %v, %v, %v", len(body), part, match, known, err)
		}
		body[len(body)/2] ^= 0x40
		if match, known, err := object.MatchETag(etag, int64(len(body)), open); match || !known || err != nil {
			t.Fatalf("changed: %v, %v, %v", match, known, err)
		}
	})
}
