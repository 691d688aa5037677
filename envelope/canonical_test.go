package envelope_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"coffer"
	"coffer/envelope"
)

// spec writes messages from docs/format-seal.md, also such as this program would not write. Only who has the data key can make
// them; that they are refused keeps one text for one meaning.
type spec struct {
	t       *testing.T
	dataKey []byte
	id      []byte
}

func newSpec(t *testing.T) spec {
	return spec{t: t, dataKey: bytes.Repeat([]byte{3}, 32), id: bytes.Repeat([]byte{4}, 32)}
}

func (s spec) subkey(info string) []byte {
	s.t.Helper()
	prk, err := hkdf.Extract(sha256.New, s.dataKey, s.id)
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := hkdf.Expand(sha256.New, prk, info, 32)
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

// header joins context and recipients as given to a header with a true commitment and list tag, and returns the digest to which
// boxes and streams are bound as well.
func (s spec) header(context, recipients string) (header []byte, digest [32]byte) {
	core := "CFRS\x01\x01" + string(s.id) + context
	sum := sha256.Sum256([]byte(core))
	commitment := s.subkey("coffer/seal/1/commit" + string(sum[:]))
	sum = sha256.Sum256([]byte(core + recipients))
	tag := s.subkey("coffer/seal/1/recipients" + string(sum[:]))
	return slices.Concat([]byte(core+recipients), commitment, tag), sha256.Sum256(append([]byte(core), commitment...))
}

func (s spec) gcm(key, plain, ad []byte) (out []byte) {
	s.t.Helper()
	fips140.WithoutEnforcement(func() {
		block, err := aes.NewCipher(key)
		if err != nil {
			s.t.Fatal(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			s.t.Fatal(err)
		}
		nonce := make([]byte, 12)
		out = gcm.Seal(nonce, nonce, plain, ad)
	})
	return out
}

func (s spec) keys() envelope.Keys {
	return &countingKeys{unwrap: func(envelope.Wrapped) (envelope.DataKey, error) {
		return envelope.DataKey{Key: bytes.Clone(s.dataKey)}, nil
	}}
}

const (
	aOne     = "\x00\x01\x00\x01a\x00\x011"
	reveal   = "\x06reveal\x01p\x00\x01k\x00\x01b"
	reveal2  = "\x06reveal\x01p\x00\x01l\x00\x01b"
	verify   = "\x06verify\x01p\x00\x01k\x00\x01b"
	noBlob   = "\x06reveal\x01p\x00\x01k\x00\x00"
	stranger = "\x06nobody\x01p\x00\x01k\x00\x01b"
)

func TestHeaderCanonical(t *testing.T) {
	s := newSpec(t)
	ab := envelope.Context{"a": "1", "b": "2"}
	for _, c := range []struct {
		what, context, recipients string
		want                      envelope.Context
		ok                        bool
	}{
		{"plain", aOne, "\x01" + reveal, envelope.Context{"a": "1"}, true},
		{"in order", "\x00\x02\x00\x01a\x00\x011\x00\x01b\x00\x012", "\x03" + reveal + reveal2 + verify, ab, true},
		{"context out of order", "\x00\x02\x00\x01b\x00\x012\x00\x01a\x00\x011", "\x01" + reveal, ab, false},
		{"context entry twice", "\x00\x02\x00\x01a\x00\x011\x00\x01a\x00\x011", "\x01" + reveal, envelope.Context{"a": "1"}, false},
		{"context without key", "\x00\x01\x00\x00\x00\x011", "\x01" + reveal, nil, false},
		{"recipients out of order", aOne, "\x02" + verify + reveal, envelope.Context{"a": "1"}, false},
		{"keys out of order", aOne, "\x02" + reveal2 + reveal, envelope.Context{"a": "1"}, false},
		{"recipient twice", aOne, "\x02" + reveal + reveal, envelope.Context{"a": "1"}, false},
		{"no recipient", aOne, "\x00", envelope.Context{"a": "1"}, false},
		{"five recipients", aOne, "\x05" + reveal + reveal2 + verify + verify + verify, envelope.Context{"a": "1"}, false},
		{"no blob", aOne, "\x01" + noBlob, envelope.Context{"a": "1"}, false},
		{"unknown recipient", aOne, "\x02" + stranger + reveal, envelope.Context{"a": "1"}, false},
		{"data behind", aOne, "\x01" + reveal + "x", envelope.Context{"a": "1"}, false},
	} {
		header, _ := s.header(c.context, c.recipients)
		o, err := envelope.Open(t.Context(), s.keys(), header, c.want, envelope.ForReveal)
		if c.ok != (err == nil) || !c.ok && (!errors.Is(err, coffer.ErrCorrupt) || o != nil) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestBoxCanonical(t *testing.T) {
	s := newSpec(t)
	header, digest := s.header(aOne, "\x01"+reveal)
	o, err := envelope.Open(t.Context(), s.keys(), header, envelope.Context{"a": "1"}, envelope.ForReveal)
	if err != nil {
		t.Fatal(err)
	}
	padded := func(length uint32, size int, value string, tail byte) []byte {
		b := make([]byte, size)
		binary.BigEndian.PutUint32(b, length)
		copy(b[4:], value)
		b[size-1] = tail
		return b
	}
	for _, c := range []struct {
		what  string
		plain []byte
		ok    bool
	}{
		{"true", padded(5, 16, "value", 0), true},
		{"padding not zero", padded(5, 16, "value", 1), false},
		{"greater bucket", padded(5, 32, "value", 0), false},
		{"no bucket", padded(20, 24, "value", 0), false},
		{"length beyond the end", padded(13, 16, "value", 0), false},
		{"huge length", padded(1<<32-1, 16, "value", 0), false},
		{"length that overflows", padded(1<<31, 16, "value", 0), false},
	} {
		box := append([]byte{1}, s.gcm(s.subkey("coffer/seal/1/box"), c.plain, append(append([]byte{1}, digest[:]...), "id"...))...)
		p, err := o.Open([]byte("id"), box)
		if c.ok != (err == nil) || c.ok && string(p.Expose()) != "value" || !c.ok && (!errors.Is(err, coffer.ErrCorrupt) || p.Len() > 0) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestStreamCanonical(t *testing.T) {
	s := newSpec(t)
	header, digest := s.header(aOne, "\x01"+reveal)
	o, err := envelope.Open(t.Context(), s.keys(), header, envelope.Context{"a": "1"}, envelope.ForReveal)
	if err != nil {
		t.Fatal(err)
	}
	salt := bytes.Repeat([]byte{5}, 32)
	stream := func(format byte, chunks ...[]byte) []byte {
		out := append([]byte{format}, salt...)
		for n, chunk := range chunks {
			ad := append([]byte{1}, digest[:]...)
			ad = binary.BigEndian.AppendUint64(ad, uint64(n))
			final := byte(0)
			if n == len(chunks)-1 {
				final = 1
			}
			out = append(out, s.gcm(s.subkey("coffer/seal/1/stream"+string(salt)), chunk, append(append(ad, final), "id"...))...)
		}
		return out
	}
	full := pattern(chunkSize)
	for _, c := range []struct {
		what   string
		stream []byte
		ok     bool
	}{
		{"true", stream(1, full, []byte("end")), true},
		{"full last chunk", stream(1, full, full), true},
		{"empty", stream(1, nil), true},
		{"empty last chunk", stream(1, full, nil), false},
		{"empty first chunk", stream(1, nil, full), false},
		{"short first chunk", stream(1, full[:100], full), false},
		{"unknown format", stream(2, full), false},
		{"no chunk", stream(1), false},
	} {
		_, err := io.ReadAll(o.Reader(bytes.NewReader(c.stream), []byte("id")))
		if c.ok != (err == nil) || !c.ok && !errors.Is(err, coffer.ErrCorrupt) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
