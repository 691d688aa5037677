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
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"coffer"
	"coffer/envelope"
	"coffer/envelope/mem"
)

const (
	chunkSize   = 64 << 10
	sealedChunk = chunkSize + 28
	startSize   = 33
)

// pattern returns n bytes no two chunks of which are alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := 0; i+4 <= n; i += 4 {
		binary.BigEndian.PutUint32(b[i:], uint32(i)*2654435761)
	}
	return b
}

func sealStream(t testing.TB, s *envelope.Sealer, identity string, plain []byte, step int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := s.Writer(&out, []byte(identity))
	for p := plain; len(p) > 0; {
		n := min(step, len(p))
		if m, err := w.Write(p[:n]); err != nil || m != n {
			t.Fatalf("write: %d, %v", m, err)
		}
		p = p[n:]
	}
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Fatal("wrote after Close")
	}
	return out.Bytes()
}

// TestStream: every length around the chunk size, every step, every way of reading.
func TestStream(t *testing.T) {
	keys := new(mem.Keys)
	s := newSealer(t, keys)
	o := openMessage(t, keys, s.Header())
	for _, n := range []int{0, 1, 2, 1000, chunkSize - 1, chunkSize, chunkSize + 1, 2*chunkSize - 1, 2 * chunkSize, 2*chunkSize + 1, 300_000} {
		plain := pattern(n)
		saved := bytes.Clone(plain)
		for _, step := range []int{1 + n/7, chunkSize - 1, chunkSize, chunkSize + 1, 1 << 20} {
			sealed := sealStream(t, s, "original", plain, step)
			if !bytes.Equal(plain, saved) {
				t.Fatal("sealing changed the caller's bytes")
			}
			chunks := max(1, (n+chunkSize-1)/chunkSize)
			if want := startSize + n + chunks*28; len(sealed) != want {
				t.Fatalf("%d bytes sealed give %d, want %d", n, len(sealed), want)
			}
			if n > 16 && bytes.Contains(sealed, plain[:16]) {
				t.Fatal("plaintext in the stream")
			}
			got, err := io.ReadAll(o.Reader(bytes.NewReader(sealed), []byte("original")))
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%d bytes in steps of %d: %d bytes back, %v", n, step, len(got), err)
			}
			if step == chunkSize {
				r := o.Reader(iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(sealed))), []byte("original"))
				if err := iotest.TestReader(r, plain); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// streamRefused demands an error with the one text, and that what came before it is a true beginning.
func streamRefused(t *testing.T, o *envelope.Opener, identity string, b, plain []byte, what string) {
	t.Helper()
	got, err := io.ReadAll(o.Reader(bytes.NewReader(b), []byte(identity)))
	if !errors.Is(err, coffer.ErrCorrupt) || err.Error() != "sealed message does not open: corrupt" {
		t.Fatalf("%s: %v", what, err)
	}
	if !bytes.HasPrefix(plain, got) || len(got)%chunkSize != 0 {
		t.Fatalf("%s: %d bytes were released", what, len(got))
	}
}

func TestStreamTampering(t *testing.T) {
	keys := new(mem.Keys)
	s, other := newSealer(t, keys), newSealer(t, keys)
	o := openMessage(t, keys, s.Header())
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

	short := []byte("synthetic")
	b := sealStream(t, s, "1", short, 100)
	for i := range b {
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			streamRefused(t, o, "1", c, short, fmt.Sprintf("bit %d of byte %d", bit, i))
		}
		streamRefused(t, o, "1", b[:i], short, fmt.Sprintf("cut at %d", i))
	}
	streamRefused(t, o, "2", b, short, "another identity")
	streamRefused(t, o, "1", sealStream(t, other, "1", short, 100), nil, "another message")
	streamRefused(t, o, "1", join(b, []byte{0}), nil, "one byte more")

	for _, n := range []int{2 * chunkSize, 2*chunkSize + 100} {
		plain := pattern(n)
		b := sealStream(t, s, "1", plain, n)
		twin := sealStream(t, s, "1", plain, n) // same message, identity and bytes
		start, c0, c1 := b[:startSize], b[startSize:startSize+sealedChunk], b[startSize+sealedChunk:startSize+2*sealedChunk]
		rest := b[startSize+2*sealedChunk:]
		t0 := twin[startSize : startSize+sealedChunk]
		for what, c := range map[string][]byte{
			"no chunk":             start,
			"first chunk alone":    join(start, c0),
			"first chunk missing":  join(start, c1, rest),
			"reordered":            join(start, c1, c0, rest),
			"repeated":             join(start, c0, c0, c1, rest),
			"all twice":            join(b, b[startSize:]),
			"extended":             join(b, []byte("more")),
			"extended by a chunk":  join(b, c0),
			"extended by zeros":    join(b, make([]byte, 3*sealedChunk)),
			"another stream's":     join(start, t0, c1, rest),
			"another start":        join(twin[:startSize], c0, c1, rest),
			"empty last chunk":     join(b, make([]byte, 28)),
			"last chunk cut":       b[:len(b)-1],
			"cut in a chunk":       b[:startSize+sealedChunk/2],
			"cut after one and 27": join(start, c0, c1[:27]),
		} {
			streamRefused(t, o, "1", c, plain, what)
		}
	}
}

// TestStreamErrors: errors of the source and of the destination are theirs, not "corrupt".
func TestStreamErrors(t *testing.T) {
	s := newSealer(t, new(mem.Keys))
	o, err := s.Opener(s.Header())
	if err != nil {
		t.Fatal(err)
	}
	b := sealStream(t, s, "1", pattern(3*chunkSize), chunkSize)
	broken := errors.New("broken pipe")
	for _, n := range []int{0, 10, startSize, startSize + 100, startSize + sealedChunk, startSize + 2*sealedChunk + 5} {
		r := o.Reader(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken)), []byte("1"))
		if _, err := io.ReadAll(r); err != broken {
			t.Errorf("source fails after %d bytes: %v", n, err)
		}
		w := s.Writer(&failing{left: n, err: broken}, []byte("1"))
		_, err := io.Copy(w, bytes.NewReader(pattern(3*chunkSize)))
		if err == nil {
			err = w.Close()
		}
		if err != broken {
			t.Errorf("destination fails after %d bytes: %v", n, err)
		}
		if err := w.Close(); err != broken {
			t.Errorf("a failed writer closed with %v", err)
		}
	}
	// Without Close there is no end.
	var out bytes.Buffer
	if _, err := s.Writer(&out, []byte("1")).Write(pattern(chunkSize + 5)); err != nil {
		t.Fatal(err)
	}
	streamRefused(t, o, "1", out.Bytes(), pattern(chunkSize+5), "not closed")
}

type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return 0, f.err
	}
	f.left -= len(p)
	return len(p), nil
}

// TestStreamVectors builds the streams of the vectors a second time from the specification, checks them against the digest
// that the script took of its own, and reads them.
func TestStreamVectors(t *testing.T) {
	for i, v := range vectors(t) {
		o, err := envelope.Open(t.Context(), v.keys(), v.Header, v.Context, envelope.ForReveal)
		if err != nil {
			t.Fatal(err)
		}
		for j, st := range v.Streams {
			plain := fixed(st.Plain, st.Size)
			var b []byte
			fips140.WithoutEnforcement(func() { // the nonces are given
				b = specStream(t, v.DataKey, v.Header, st.Identity, fixed(st.Salt, 32), st.Nonces, plain)
			})
			if sum := sha256.Sum256(b); !bytes.Equal(sum[:], st.SHA256) || len(st.Stream) > 0 && !bytes.Equal(b, st.Stream) {
				t.Fatalf("message %d stream %d: the two writers differ", i, j)
			}
			got, err := io.ReadAll(o.Reader(bytes.NewReader(b), st.Identity))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("message %d stream %d: %d bytes, %v", i, j, len(got), err)
			}
		}
	}
}

// fixed is the function of the same name in testdata/vectors.py.
func fixed(name string, n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", name, i))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

func specStream(t *testing.T, dataKey, header, identity, salt []byte, nonces string, plain []byte) []byte {
	t.Helper()
	prk, err := hkdf.Extract(sha256.New, dataKey, header[6:38])
	if err != nil {
		t.Fatal(err)
	}
	key, err := hkdf.Expand(sha256.New, prk, "coffer/seal/1/stream"+string(salt), 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	core := 6 + 32 + 2 // the context's entries follow
	for range 2 * int(binary.BigEndian.Uint16(header[core-2:])) {
		core += 2 + int(binary.BigEndian.Uint16(header[core:]))
	}
	digest := sha256.Sum256(append(bytes.Clone(header[:core]), header[len(header)-64:len(header)-32]...))
	out := append([]byte{1}, salt...)
	for n := 0; ; n++ {
		chunk := plain[n*chunkSize : min(len(plain), (n+1)*chunkSize)]
		final := (n+1)*chunkSize >= len(plain)
		ad := append([]byte{1}, digest[:]...)
		ad = binary.BigEndian.AppendUint64(ad, uint64(n))
		if final {
			ad = append(ad, 1)
		} else {
			ad = append(ad, 0)
		}
		ad = append(ad, identity...)
		nonce := fixed(nonces+fmt.Sprint(n), 12)
		out = append(out, nonce...)
		out = gcm.Seal(out, nonce, chunk, ad)
		if final {
			return out
		}
	}
}

// FuzzStream edits a true stream: whatever comes out is a beginning of the plaintext, and the whole of it, without error, only
// when nothing was changed.
func FuzzStream(f *testing.F) {
	s := newSealer(f, new(mem.Keys))
	o, err := s.Opener(s.Header())
	if err != nil {
		f.Fatal(err)
	}
	plain := pattern(2*chunkSize + 300)
	sealed := sealStream(f, s, "1", plain, 1<<20)
	f.Add(uint32(0), uint32(0), []byte{})
	f.Add(uint32(40), uint32(41), []byte{7})
	f.Add(uint32(startSize), uint32(startSize+sealedChunk), []byte{})
	f.Add(uint32(startSize+sealedChunk), uint32(len(sealed)), []byte{})
	f.Add(uint32(len(sealed)), uint32(len(sealed)), []byte("more"))
	f.Fuzz(func(t *testing.T, from, to uint32, with []byte) {
		i := int(from) % (len(sealed) + 1)
		j := i + int(to)%(len(sealed)-i+1)
		b := bytes.Join([][]byte{sealed[:i], with, sealed[j:]}, nil)
		got, err := io.ReadAll(o.Reader(bytes.NewReader(b), []byte("1")))
		if !bytes.HasPrefix(plain, got) {
			t.Fatal("bytes that were never sealed")
		}
		if whole := bytes.Equal(b, sealed); whole != (err == nil) || whole && len(got) != len(plain) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	s := newSealer(b, new(mem.Keys))
	plain := pattern(8 << 20)
	b.SetBytes(int64(len(plain)))
	b.Run("seal", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		for b.Loop() {
			w := s.Writer(io.Discard, nil)
			if _, err := w.Write(plain); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	sealed := sealStream(b, s, "", plain, 1<<20)
	o, err := s.Opener(s.Header())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		for b.Loop() {
			if _, err := io.Copy(io.Discard, o.Reader(bytes.NewReader(sealed), nil)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
