package envelope_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"coffer"
	"coffer/envelope"
	"coffer/envelope/mem"
)

var testContext = envelope.Context{"app": "coffer", "finding": "0a1b2c"}

func newSealer(t testing.TB, keys envelope.Keys) *envelope.Sealer {
	t.Helper()
	s, err := envelope.New(context.Background(), keys, testContext)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openMessage(t testing.TB, keys envelope.Keys, header []byte) *envelope.Opener {
	t.Helper()
	o, err := envelope.Open(context.Background(), keys, header, testContext, envelope.ForReveal)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func seal(t testing.TB, s *envelope.Sealer, identity string, value []byte) []byte {
	t.Helper()
	box, err := s.Seal([]byte(identity), coffer.NewPlaintext(bytes.Clone(value)))
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// TestRoundTrip: what was sealed opens to itself, with every opener there is, and nowhere else.
func TestRoundTrip(t *testing.T) {
	keys := new(mem.Keys)
	s, other := newSealer(t, keys), newSealer(t, keys)
	worker, err := s.Opener(s.Header())
	if err != nil {
		t.Fatal(err)
	}
	verify, err := envelope.Open(t.Context(), keys, s.Header(), testContext, envelope.ForVerify)
	if err != nil {
		t.Fatal(err)
	}
	openers := map[string]*envelope.Opener{"worker": worker, "reveal": openMessage(t, keys, s.Header()), "verify": verify}
	stranger := openMessage(t, keys, other.Header())
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SliceOfN(rapid.Byte(), 0, 9000).Draw(t, "value")
		identity := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "identity")
		box, err := s.Seal(identity, coffer.NewPlaintext(bytes.Clone(value)))
		if err != nil {
			t.Fatal(err)
		}
		if len(box) != envelope.BoxSize(len(value)) {
			t.Fatalf("box of %d bytes, announced %d", len(box), envelope.BoxSize(len(value)))
		}
		if len(value) >= 8 && bytes.Contains(box, value) {
			t.Fatal("the value stands in its box")
		}
		saved := bytes.Clone(box)
		for name, o := range openers {
			p, err := o.Open(identity, box)
			if err != nil || !bytes.Equal(p.Expose(), value) {
				t.Fatalf("%s: another value (%d bytes), %v", name, p.Len(), err)
			}
			if _, err := o.Open(append(bytes.Clone(identity), 0), box); !errors.Is(err, coffer.ErrCorrupt) {
				t.Fatalf("%s: opened under another identity: %v", name, err)
			}
			p.Wipe()
		}
		if _, err := stranger.Open(identity, box); !errors.Is(err, coffer.ErrCorrupt) {
			t.Fatalf("another message opened it: %v", err)
		}
		if !bytes.Equal(box, saved) {
			t.Fatal("opening changed the box")
		}
	})
}

// TestLengthsHide: values of one bucket are not told apart by size, and the documented bucket ends are the real ones.
func TestLengthsHide(t *testing.T) {
	s := newSealer(t, new(mem.Keys))
	ends := []int{12, 28, 60, 124, 252, 508, 1020, 2044, 4092, 8188, 12284}
	start := 0
	for _, end := range ends {
		want := len(seal(t, s, "1", make([]byte, end)))
		for _, n := range []int{start, (start + end) / 2, end} {
			if got := len(seal(t, s, "1", make([]byte, n))); got != want {
				t.Errorf("%d bytes give a box of %d, %d bytes one of %d", n, got, end, want)
			}
		}
		if got := len(seal(t, s, "1", make([]byte, end+1))); got <= want {
			t.Errorf("the bucket goes on after %d", end)
		}
		start = end + 1
	}
	// The case that buckets are for: card numbers of 15 and 16 digits.
	if envelope.BoxSize(15) != envelope.BoxSize(16) {
		t.Error("15 and 16 digits differ")
	}
}

func TestLimits(t *testing.T) {
	s := newSealer(t, new(mem.Keys))
	o, err := s.Opener(s.Header())
	if err != nil {
		t.Fatal(err)
	}
	value, identity := make([]byte, envelope.MaxValue), make([]byte, envelope.MaxIdentity)
	box, err := s.Seal(identity, coffer.NewPlaintext(value))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := o.Open(identity, box); err != nil || p.Len() != len(value) {
		t.Errorf("the greatest value: %v", err)
	}
	if _, err := s.Seal(nil, coffer.NewPlaintext(append(value, 0))); !errors.Is(err, coffer.ErrLimit) {
		t.Errorf("a greater one: %v", err)
	}
	if _, err := s.Seal(append(identity, 0), coffer.Plaintext{}); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("a greater identity: %v", err)
	}
	if _, err := o.Open(append(identity, 0), box); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("a greater identity: %v", err)
	}
	if _, err := s.Writer(new(bytes.Buffer), append(identity, 0)).Write([]byte("x")); !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("a greater identity: %v", err)
	}
	if _, err := o.Open(nil, make([]byte, 2*envelope.MaxValue)); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("a greater box: %v", err)
	}
}

// TestBoxTampering flips every bit, cuts at every byte, extends, and swaps: one error text, no plaintext.
func TestBoxTampering(t *testing.T) {
	s := newSealer(t, new(mem.Keys))
	o, err := s.Opener(s.Header())
	if err != nil {
		t.Fatal(err)
	}
	box, other := seal(t, s, "1", []byte("synthetic 0001")), seal(t, s, "2", []byte("synthetic 0002"))
	text := ""
	refused := func(identity string, b []byte, what string) {
		t.Helper()
		p, err := o.Open([]byte(identity), b)
		if !errors.Is(err, coffer.ErrCorrupt) || p.Len() != 0 || p.Expose() != nil {
			t.Fatalf("%s: %v, %d bytes", what, err, p.Len())
		}
		if text == "" {
			text = err.Error()
		}
		if err.Error() != text {
			t.Fatalf("%s: error %q, elsewhere %q", what, err, text)
		}
	}
	for i := range box {
		for bit := range 8 {
			b := bytes.Clone(box)
			b[i] ^= 1 << bit
			refused("1", b, fmt.Sprintf("bit %d of byte %d", bit, i))
		}
		refused("1", box[:i], fmt.Sprintf("cut at %d", i))
	}
	refused("1", append(bytes.Clone(box), 0), "longer")
	refused("1", append(bytes.Clone(box), box...), "twice")
	refused("1", nil, "nil")
	refused("2", box, "another identity")
	refused("1", other, "another occurrence's box")
	refused("", box, "no identity")
	// The header is part of what the box is bound to, so its digest in the associated data must be in the identity's place.
	digest := sha256.Sum256(s.Header())
	refused(string(digest[:])+"1", box, "digest in the identity")
}

// TestHeaderTampering: no altered header opens; the error says no more than that, except for what stands there in the clear
// and helps who runs the program: a newer version, and a key that is not there.
func TestHeaderTampering(t *testing.T) {
	keys := new(mem.Keys)
	header := newSealer(t, keys).Header()
	corrupt := ""
	refused := func(b []byte, what string) error {
		t.Helper()
		o, err := envelope.Open(t.Context(), keys, b, testContext, envelope.ForReveal)
		if err == nil || o != nil {
			t.Fatalf("%s: opened", what)
		}
		if errors.Is(err, coffer.ErrCorrupt) {
			if corrupt == "" {
				corrupt = err.Error()
			}
			if err.Error() != corrupt {
				t.Fatalf("%s: error %q, elsewhere %q", what, err, corrupt)
			}
		}
		return err
	}
	// Where the provider and key of the reveal form stand.
	provider := bytes.Index(header, []byte("\x03mem")) + 1
	keyID := bytes.Index(header, []byte("mem-reveal"))
	named := func(i int) bool {
		return i >= provider && i < provider+len("mem") || i >= keyID && i < keyID+len("mem-reveal")
	}
	for i := range header {
		for bit := range 8 {
			b := bytes.Clone(header)
			b[i] ^= 1 << bit
			err := refused(b, fmt.Sprintf("bit %d of byte %d", bit, i))
			want := coffer.ErrCorrupt
			switch {
			case i == 4 || i == 5:
				want = coffer.ErrUnsupported
			case named(i):
				want = coffer.ErrNotFound
			}
			if !errors.Is(err, want) {
				t.Fatalf("bit %d of byte %d: %v, want %v", bit, i, err, want)
			}
		}
		if err := refused(header[:i], fmt.Sprintf("cut at %d", i)); !errors.Is(err, coffer.ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	for what, b := range map[string][]byte{
		"nil": nil, "longer": append(bytes.Clone(header), 0), "huge": make([]byte, 1<<20), "twice": append(bytes.Clone(header), header...),
	} {
		if err := refused(b, what); !errors.Is(err, coffer.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Another message's header is whole, but not the one that was sealed with this context.
	s, err := envelope.New(t.Context(), keys, envelope.Context{"app": "coffer", "finding": "other"})
	if err != nil {
		t.Fatal(err)
	}
	if err := refused(s.Header(), "another finding's header"); !errors.Is(err, coffer.ErrCorrupt) {
		t.Error(err)
	}
	// A Sealer's own check takes its own bytes only.
	own := newSealer(t, keys)
	for _, b := range [][]byte{nil, header, append(own.Header(), 0), own.Header()[:10]} {
		if _, err := own.Opener(b); !errors.Is(err, coffer.ErrCorrupt) {
			t.Errorf("worker check took other bytes: %v", err)
		}
	}
}

// countingKeys counts calls and can replace what is unwrapped.
type countingKeys struct {
	envelope.Keys
	mu                 sync.Mutex
	generated, unwraps int
	unwrap             func(envelope.Wrapped) (envelope.DataKey, error)
	generate           func() (envelope.DataKey, error)
}

func (k *countingKeys) Generate(ctx context.Context, c envelope.Context) (envelope.DataKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.generated++
	if k.generate != nil {
		return k.generate()
	}
	return k.Keys.Generate(ctx, c)
}

func (k *countingKeys) Unwrap(ctx context.Context, w envelope.Wrapped, c envelope.Context) (envelope.DataKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unwraps++
	if k.unwrap != nil {
		return k.unwrap(w)
	}
	return k.Keys.Unwrap(ctx, w, c)
}

// TestCalls: one call for a message sealed, one for a message opened, none for what cannot be right.
func TestCalls(t *testing.T) {
	keys := &countingKeys{Keys: new(mem.Keys)}
	s := newSealer(t, keys)
	for i := range 100 {
		seal(t, s, fmt.Sprint(i), []byte("v"))
	}
	if _, err := s.Opener(s.Header()); err != nil {
		t.Fatal(err)
	}
	if keys.generated != 1 || keys.unwraps != 0 {
		t.Fatalf("sealing made %d and %d calls", keys.generated, keys.unwraps)
	}
	openMessage(t, keys, s.Header())
	if keys.unwraps != 1 {
		t.Fatalf("opening made %d calls", keys.unwraps)
	}
	newer := s.Header()
	newer[4]++
	for _, c := range []struct {
		header []byte
		want   envelope.Context
		to     string
	}{
		{newer, testContext, envelope.ForReveal},
		{s.Header()[1:], testContext, envelope.ForReveal},
		{s.Header(), envelope.Context{"app": "coffer"}, envelope.ForReveal},
		{s.Header(), nil, envelope.ForReveal},
		{s.Header(), testContext, "nobody"},
		{s.Header(), testContext, ""},
	} {
		if _, err := envelope.Open(t.Context(), keys, c.header, c.want, c.to); err == nil {
			t.Error("opened")
		}
	}
	if keys.unwraps != 1 {
		t.Errorf("keys were asked %d times for what cannot be right", keys.unwraps-1)
	}
}

// TestKeysErrors: what the keeper says reaches the caller as the right sentinel, and never becomes "opened".
func TestKeysErrors(t *testing.T) {
	good := new(mem.Keys)
	header := newSealer(t, good).Header()
	wrong := bytes.Repeat([]byte{1}, envelope.KeySize)
	for _, c := range []struct {
		dk   envelope.DataKey
		err  error
		want error
	}{
		{err: coffer.ErrUnavailable, want: coffer.ErrUnavailable},
		{err: coffer.ErrNotFound, want: coffer.ErrNotFound},
		{err: context.DeadlineExceeded, want: context.DeadlineExceeded},
		{err: fmt.Errorf("details that differ: %w", coffer.ErrCorrupt), want: coffer.ErrCorrupt},
		{dk: envelope.DataKey{Key: wrong}, want: coffer.ErrCorrupt},
		{dk: envelope.DataKey{Key: wrong[:16]}, want: coffer.ErrCorrupt},
		{dk: envelope.DataKey{}, want: coffer.ErrCorrupt},
	} {
		keys := &countingKeys{Keys: good, unwrap: func(envelope.Wrapped) (envelope.DataKey, error) { return c.dk, c.err }}
		o, err := envelope.Open(t.Context(), keys, header, testContext, envelope.ForReveal)
		if o != nil || !errors.Is(err, c.want) {
			t.Errorf("keeper answered %v: got %v", c.err, err)
		}
		if c.want == coffer.ErrCorrupt && err.Error() != "sealed message does not open: corrupt" {
			t.Errorf("error %q tells more than that", err)
		}
	}
	w := envelope.Wrapped{Recipient: envelope.ForReveal, Provider: "p", KeyID: "k", Blob: []byte{1}}
	with := func(change func(*envelope.Wrapped)) []envelope.Wrapped {
		w := w
		change(&w)
		return []envelope.Wrapped{w}
	}
	key := func() []byte { return bytes.Repeat([]byte{1}, envelope.KeySize) }
	for what, dk := range map[string]envelope.DataKey{
		"no key":         {Wrapped: []envelope.Wrapped{w}},
		"short key":      {Key: key()[:16], Wrapped: []envelope.Wrapped{w}},
		"no wrapped":     {Key: key()},
		"five wrapped":   {Key: key(), Wrapped: []envelope.Wrapped{w, w, w, w, w}},
		"the same twice": {Key: key(), Wrapped: []envelope.Wrapped{w, w}},
		"recipient":      {Key: key(), Wrapped: with(func(w *envelope.Wrapped) { w.Recipient = "x" })},
		"no provider":    {Key: key(), Wrapped: with(func(w *envelope.Wrapped) { w.Provider = "" })},
		"provider":       {Key: key(), Wrapped: with(func(w *envelope.Wrapped) { w.Provider = strings.Repeat("p", 17) })},
		"key id":         {Key: key(), Wrapped: with(func(w *envelope.Wrapped) { w.KeyID = strings.Repeat("p", 257) })},
		"no blob":        {Key: key(), Wrapped: with(func(w *envelope.Wrapped) { w.Blob = nil })},
		"blob":           {Key: key(), Wrapped: with(func(w *envelope.Wrapped) { w.Blob = make([]byte, 4097) })},
	} {
		keys := &countingKeys{generate: func() (envelope.DataKey, error) { return dk, nil }}
		if _, err := envelope.New(t.Context(), keys, nil); !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
		if !bytes.Equal(dk.Key, make([]byte, len(dk.Key))) {
			t.Errorf("%s: the data key was not wiped", what)
		}
	}
}

// TestMaxHeader: the documented greatest header is reached and opens.
func TestMaxHeader(t *testing.T) {
	long := func(n int) string { return strings.Repeat("k", n) }
	c := envelope.Context{}
	for i := range envelope.MaxContextEntries {
		c[string(rune('a'+i))+long(envelope.MaxContextKey-1)] = long(envelope.MaxContextValue)
	}
	secret := bytes.Repeat([]byte{9}, envelope.KeySize)
	var wrapped []envelope.Wrapped
	for i := range envelope.MaxRecipients {
		wrapped = append(wrapped, envelope.Wrapped{
			Recipient: envelope.ForReveal, Provider: long(envelope.MaxProvider),
			KeyID: string(rune('z'-i)) + long(envelope.MaxKeyID-1), Blob: make([]byte, envelope.MaxBlob),
		})
	}
	tries := 0
	keys := &countingKeys{
		generate: func() (envelope.DataKey, error) {
			return envelope.DataKey{Key: bytes.Clone(secret), Wrapped: wrapped}, nil
		},
		// Only the last form opens: the others' keys are gone.
		unwrap: func(w envelope.Wrapped) (envelope.DataKey, error) {
			if tries++; w.KeyID[0] != 'z' {
				return envelope.DataKey{}, coffer.ErrNotFound
			}
			return envelope.DataKey{Key: bytes.Clone(secret)}, nil
		},
	}
	s, err := envelope.New(t.Context(), keys, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Header()) != envelope.MaxHeader {
		t.Errorf("the greatest header has %d bytes, MaxHeader is %d", len(s.Header()), envelope.MaxHeader)
	}
	if _, err := envelope.Open(t.Context(), keys, s.Header(), c, envelope.ForReveal); err != nil || tries != envelope.MaxRecipients {
		t.Errorf("%d tries, %v", tries, err)
	}
}

// TestCommitment makes what AES-GCM alone would take: one ciphertext that opens under two keys ("invisible salamander"), with
// the two data keys wrapped for the two recipients. The commitment refuses it before anything is decrypted.
func TestCommitment(t *testing.T) {
	var k1, k2 [32]byte
	k1[0], k2[0] = 1, 2
	nonce := make([]byte, 12)
	var ct []byte
	fips140.WithoutEnforcement(func() { // the attacker chooses nonces
		ct = salamander(t, k1[:], k2[:], nonce)
		var plains [2][]byte
		for i, k := range [][]byte{k1[:], k2[:]} {
			block, _ := aes.NewCipher(k)
			gcm, _ := cipher.NewGCM(block)
			p, err := gcm.Open(nil, nonce, ct, nil)
			if err != nil {
				t.Fatalf("the ciphertext does not open under key %d: the test is wrong: %v", i, err)
			}
			plains[i] = p
		}
		if bytes.Equal(plains[0], plains[1]) {
			t.Fatal("both keys give the same plaintext")
		}
	})

	for _, gets := range [][]byte{k1[:], k2[:]} {
		keys := &countingKeys{
			generate: func() (envelope.DataKey, error) {
				return envelope.DataKey{Key: bytes.Clone(k1[:]), Wrapped: []envelope.Wrapped{
					{Recipient: envelope.ForReveal, Provider: "p", KeyID: "1", Blob: []byte{1}},
					{Recipient: envelope.ForVerify, Provider: "p", KeyID: "2", Blob: []byte{2}},
				}}, nil
			},
			unwrap: func(envelope.Wrapped) (envelope.DataKey, error) { return envelope.DataKey{Key: bytes.Clone(gets)}, nil },
		}
		s := newSealer(t, keys)
		for _, to := range []string{envelope.ForReveal, envelope.ForVerify} {
			_, err := envelope.Open(t.Context(), keys, s.Header(), testContext, to)
			if honest := bytes.Equal(gets, k1[:]); honest != (err == nil) || !honest && !errors.Is(err, coffer.ErrCorrupt) {
				t.Errorf("recipient %s, honest %v: %v", to, honest, err)
			}
		}
	}
}

// salamander returns two blocks of ciphertext and a tag that AES-GCM without associated data accepts under both keys. The tag is
// c1*H^3 + c2*H^2 + len*H + E(nonce,1), linear in the blocks, so c1 is free and c2 solves the equation of the two tags.
func salamander(t *testing.T, k1, k2, nonce []byte) []byte {
	t.Helper()
	type params struct{ h, mask [16]byte }
	var p [2]params
	for i, k := range [][]byte{k1, k2} {
		block, err := aes.NewCipher(k)
		if err != nil {
			t.Fatal(err)
		}
		block.Encrypt(p[i].h[:], p[i].h[:])
		copy(p[i].mask[:], nonce)
		p[i].mask[15] = 1
		block.Encrypt(p[i].mask[:], p[i].mask[:])
	}
	c1 := [16]byte{'a', 'n', 'y'}
	var length [16]byte
	binary.BigEndian.PutUint64(length[8:], 2*16*8)
	part := func(p params) [16]byte { // the tag without c2
		h2 := times(p.h, p.h)
		return plus(times(c1, times(h2, p.h)), plus(times(length, p.h), p.mask))
	}
	a, b := part(p[0]), part(p[1])
	c2 := times(plus(a, b), inverse(plus(times(p[0].h, p[0].h), times(p[1].h, p[1].h))))
	tag := plus(a, times(c2, times(p[0].h, p[0].h)))
	return bytes.Join([][]byte{c1[:], c2[:], tag[:]}, nil)
}

func plus(a, b [16]byte) [16]byte {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}

// times multiplies in GF(2^128) as GCM does (NIST SP 800-38D 6.3).
func times(x, y [16]byte) (z [16]byte) {
	for i := range 128 {
		if x[i/8]>>(7-i%8)&1 == 1 {
			z = plus(z, y)
		}
		carry := y[15] & 1
		for j := 15; j > 0; j-- {
			y[j] = y[j]>>1 | y[j-1]<<7
		}
		y[0] >>= 1
		if carry == 1 {
			y[0] ^= 0xe1
		}
	}
	return z
}

// inverse is x^(2^128-2).
func inverse(x [16]byte) [16]byte {
	z := [16]byte{0x80} // one
	for range 127 {
		x = times(x, x)
		z = times(z, x)
	}
	return z
}

// TestMACConcurrently: the program has one keyed hash for each label, and all its workers use it at once.
func TestMACConcurrently(t *testing.T) {
	mac, err := newSealer(t, new(mem.Keys)).MAC("object")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		text := bytes.Repeat([]byte{byte(w)}, 100*w)
		want := mac.Sum(text)
		wg.Go(func() {
			for range 500 {
				if mac.Sum(text) != want {
					t.Error("another goroutine's hash")
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMAC(t *testing.T) {
	keys := new(mem.Keys)
	s, other := newSealer(t, keys), newSealer(t, keys)
	o := openMessage(t, keys, s.Header())
	mac := func(m interface {
		MAC(string) (*envelope.MAC, error)
	}, label string) *envelope.MAC {
		t.Helper()
		k, err := m.MAC(label)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	a, b := mac(s, "fingerprint"), mac(o, "fingerprint")
	seen := map[[32]byte]bool{}
	for i := range 300 {
		text := bytes.Repeat([]byte{'x'}, i)
		sum := a.Sum(text)
		if sum != b.Sum(text) || sum != a.Sum(text) {
			t.Fatal("not a function of message, label and text")
		}
		seen[sum] = true
		seen[mac(s, "token").Sum(text)] = true
		seen[mac(s, "").Sum(text)] = true
		seen[mac(other, "fingerprint").Sum(text)] = true
	}
	if len(seen) != 4*300 {
		t.Errorf("%d different sums, want %d", len(seen), 4*300)
	}
	value := []byte("value")
	if n := testing.AllocsPerRun(100, func() { a.Sum(value) }); n != 0 {
		t.Errorf("%v allocations for a sum", n)
	}
}

func TestWipe(t *testing.T) {
	keys := new(mem.Keys)
	s := newSealer(t, keys)
	box := seal(t, s, "1", []byte("v"))
	o, err := s.Opener(s.Header())
	if err != nil {
		t.Fatal(err)
	}
	s.Wipe()
	if p, err := o.Open([]byte("1"), box); err != nil || p.Len() != 1 {
		t.Errorf("wiping the sealer took the opener's key: %v", err)
	}
	o.Wipe()
	_, e1 := s.Seal(nil, coffer.Plaintext{})
	_, e2 := o.Open([]byte("1"), box)
	_, e3 := s.MAC("x")
	_, e4 := s.Opener(s.Header())
	_, e5 := s.Writer(new(bytes.Buffer), nil).Write([]byte("x"))
	_, e6 := o.Reader(bytes.NewReader(make([]byte, 100)), nil).Read(make([]byte, 1))
	for i, err := range []error{e1, e2, e3, e4, e5} {
		if !errors.Is(err, coffer.ErrInvalid) {
			t.Errorf("use %d after Wipe: %v", i+1, err)
		}
	}
	if e6 == nil {
		t.Error("read after Wipe")
	}
}

func TestConcurrent(t *testing.T) {
	keys := new(mem.Keys)
	s := newSealer(t, keys)
	o := openMessage(t, keys, s.Header())
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				id, value := fmt.Appendf(nil, "%d/%d", w, i), bytes.Repeat([]byte{byte(i)}, i)
				box, err := s.Seal(id, coffer.NewPlaintext(value))
				if err != nil {
					t.Error(err)
					return
				}
				if p, err := o.Open(id, box); err != nil || !bytes.Equal(p.Expose(), bytes.Repeat([]byte{byte(i)}, i)) {
					t.Errorf("goroutine %d, value %d: %v", w, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// hexBytes is a hex string in the vectors.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b)+"\n", "%x\n", (*[]byte)(h))
	if len(b) == 0 {
		*h, err = hexBytes{}, nil
	}
	return err
}

type vectorMessage struct {
	Context    envelope.Context
	DataKey    hexBytes
	Header     hexBytes
	Rewrapped  hexBytes
	Recipients []struct {
		Recipient, Provider, KeyID string
		Blob                       hexBytes
	}
	Boxes   []struct{ Identity, Value, Box hexBytes }
	Streams []struct {
		Identity            hexBytes
		Size                int
		Plain, Salt, Nonces string
		SHA256              hexBytes
		Stream              hexBytes
	}
	MACs []struct {
		Label     string
		Text, MAC hexBytes
	}
}

func vectors(t *testing.T) []vectorMessage {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Messages []vectorMessage }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Messages) == 0 {
		t.Fatal("no vectors")
	}
	return v.Messages
}

// keys returns a keeper that knows the data key of the vector, and only as it was wrapped.
func (v vectorMessage) keys() envelope.Keys {
	return &countingKeys{
		unwrap: func(w envelope.Wrapped) (envelope.DataKey, error) {
			for _, r := range v.Recipients {
				if r.Recipient == w.Recipient && r.Provider == w.Provider && r.KeyID == w.KeyID && bytes.Equal(r.Blob, w.Blob) {
					return envelope.DataKey{Key: bytes.Clone(v.DataKey)}, nil
				}
			}
			return envelope.DataKey{}, coffer.ErrNotFound
		},
		generate: func() (envelope.DataKey, error) {
			dk := envelope.DataKey{Key: bytes.Clone(v.DataKey)}
			for _, r := range v.Recipients {
				dk.Wrapped = append(dk.Wrapped, envelope.Wrapped{Recipient: r.Recipient, Provider: r.Provider, KeyID: r.KeyID, Blob: r.Blob})
			}
			return dk, nil
		},
	}
}

// TestVectors opens what testdata/vectors.py made from the specification.
func TestVectors(t *testing.T) {
	for i, v := range vectors(t) {
		recipients := map[string]bool{}
		for _, r := range v.Recipients {
			recipients[r.Recipient] = true
		}
		for recipient := range recipients {
			o, err := envelope.Open(t.Context(), v.keys(), v.Header, v.Context, recipient)
			if err != nil {
				t.Fatalf("message %d for %s: %v", i, recipient, err)
			}
			for j, b := range v.Boxes {
				p, err := o.Open(b.Identity, b.Box)
				if err != nil || !bytes.Equal(p.Expose(), b.Value) {
					t.Errorf("message %d box %d: %v", i, j, err)
				}
			}
			for j, m := range v.MACs {
				k, err := o.MAC(m.Label)
				if err != nil {
					t.Fatal(err)
				}
				if sum := k.Sum(m.Text); !hmac.Equal(sum[:], m.MAC) {
					t.Errorf("message %d mac %d differs", i, j)
				}
			}
		}
		wrappedAnew := &countingKeys{unwrap: func(w envelope.Wrapped) (envelope.DataKey, error) {
			if w.Recipient != envelope.ForReveal || w.Provider != "new" || w.KeyID != "k" || !bytes.Equal(w.Blob, []byte{1}) {
				return envelope.DataKey{}, coffer.ErrNotFound
			}
			return envelope.DataKey{Key: bytes.Clone(v.DataKey)}, nil
		}}
		o, err := envelope.Open(t.Context(), wrappedAnew, v.Rewrapped, v.Context, envelope.ForReveal)
		if err != nil {
			t.Fatalf("message %d rewrapped: %v", i, err)
		}
		for j, b := range v.Boxes {
			if p, err := o.Open(b.Identity, b.Box); err != nil || !bytes.Equal(p.Expose(), b.Value) {
				t.Errorf("message %d rewrapped, box %d: %v", i, j, err)
			}
		}
		// What this program writes has the same form: all but the random id, the commitment and the list tag are equal.
		s, err := envelope.New(t.Context(), v.keys(), v.Context)
		if err != nil {
			t.Fatal(err)
		}
		ours, golden := s.Header(), bytes.Clone(v.Header)
		for _, h := range [][]byte{ours, golden} {
			clear(h[6 : 6+32])
			clear(h[len(h)-64:])
		}
		if !bytes.Equal(ours, golden) {
			t.Errorf("message %d: our header has another form", i)
		}
	}
}

// FuzzHeader: a header that parses is written back to the same bytes, so no two headers mean the same; and no bytes but those
// that were sealed open.
func FuzzHeader(f *testing.F) {
	keys := new(mem.Keys)
	header := newSealer(f, keys).Header()
	f.Add(header)
	f.Add([]byte{})
	f.Add([]byte("CFRS\x01\x01"))
	f.Add(append(bytes.Clone(header[:38]), "\x00\x00\x01\x06reveal\x01p\x00\x00\x00\x01x0123456789abcdef0123456789abcdef"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := envelope.Reencode(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Error("two forms of one header")
		}
		if err != nil && !errors.Is(err, coffer.ErrCorrupt) && !errors.Is(err, coffer.ErrUnsupported) {
			t.Errorf("error %v", err)
		}
		if o, err := envelope.Open(t.Context(), keys, b, testContext, envelope.ForReveal); (err == nil) != bytes.Equal(b, header) || (err == nil) != (o != nil) {
			t.Errorf("open: %v", err)
		}
	})
}

// FuzzBox: no bytes open but those that were sealed.
func FuzzBox(f *testing.F) {
	s := newSealer(f, new(mem.Keys))
	o, err := s.Opener(s.Header())
	if err != nil {
		f.Fatal(err)
	}
	box := seal(f, s, "1", []byte("synthetic"))
	f.Add(box)
	f.Add([]byte{1})
	f.Add(make([]byte, len(box)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := o.Open([]byte("1"), b)
		if (err == nil) != bytes.Equal(b, box) || err != nil && p.Len() != 0 {
			t.Errorf("open: %v", err)
		}
	})
}

// BenchmarkSeal seals 1,000 values of 24 bytes as one message, in turns with as many bare GCM seals. "x-bare" is the quotient of
// the two times; the goal is at most 1.5.
func BenchmarkSeal(b *testing.B) {
	const n = 1000
	value := bytes.Repeat([]byte{'7'}, 24)
	var ids [n][]byte
	for i := range ids {
		ids[i] = fmt.Appendf(nil, "f0123456789/%d", i)
	}
	keys := new(mem.Keys)
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	bare, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		b.Fatal(err)
	}
	var sealing, limit time.Duration
	for b.Loop() {
		start := time.Now()
		s := newSealer(b, keys)
		for i := range ids {
			if _, err := s.Seal(ids[i], coffer.NewPlaintext(value)); err != nil {
				b.Fatal(err)
			}
		}
		sealing += time.Since(start)
		start = time.Now()
		for i := range ids {
			bare.Seal(nil, nil, value, ids[i])
		}
		limit += time.Since(start)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(sealing.Nanoseconds())/float64(b.N)/n, "ns/value")
	b.ReportMetric(sealing.Seconds()/limit.Seconds(), "x-bare")
}

func BenchmarkOpen(b *testing.B) {
	keys := new(mem.Keys)
	s := newSealer(b, keys)
	box := seal(b, s, "1", make([]byte, 24))
	b.Run("box", func(b *testing.B) {
		o := openMessage(b, keys, s.Header())
		id := []byte("1")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := o.Open(id, box); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("message", func(b *testing.B) {
		b.ReportAllocs()
		header := s.Header()
		for b.Loop() {
			openMessage(b, keys, header)
		}
	})
}

func BenchmarkMAC(b *testing.B) {
	m, err := newSealer(b, new(mem.Keys)).MAC("token")
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 16)
	for b.Loop() {
		m.Sum(value)
	}
}
