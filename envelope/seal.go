package envelope

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
	"sync/atomic"

	"coffer"
)

// Limits of what is sealed.
const (
	MaxValue    = 1 << 20 // bytes of a value in a box
	MaxIdentity = 1024    // bytes of an identity
)

// The domains of the keys derived for a message. None is the beginning of another.
const (
	labelCommit = "coffer/seal/1/commit"     // followed by the SHA-256 of the header's core
	labelList   = "coffer/seal/1/recipients" // followed by the SHA-256 of the header's body
	labelBox    = "coffer/seal/1/box"
	labelStream = "coffer/seal/1/stream" // followed by the stream's salt
	labelMAC    = "coffer/seal/1/mac/"   // followed by the caller's label
)

const (
	boxFormat  = 1
	nonceSize  = 12
	tagSize    = 16
	lengthSize = 4 // of the value, before it in the padded plaintext

	// maxSeals bounds the messages under one key with random nonces (NIST SP 800-38D 8.3).
	maxSeals = 1 << 32
)

// errMessage is the one answer to whatever is wrong with a header, a box or a stream: who asks with altered bytes learns
// nothing from it.
var errMessage = fmt.Errorf("sealed message does not open: %w", coffer.ErrCorrupt)

var errWiped = fmt.Errorf("sealed message used after Wipe: %w", coffer.ErrInvalid)

// message is what a Sealer and an Opener hold: the header and the keys derived from the data key. The data key itself is
// gone once they are derived.
type message struct {
	header []byte
	digest [sha256.Size]byte // of what never changes in header; part of all associated data
	prk    []byte            // nil after Wipe
	box    cipher.AEAD
	seals  atomic.Uint64

	request string // DataKey.Request of the key that opened it
}

// Sealer seals the values of one message. Its methods, Wipe apart, may be called concurrently.
type Sealer struct{ m *message }

// Opener opens what was sealed in one message. Its methods, Wipe apart, may be called concurrently.
type Opener struct{ m *message }

// New makes a message: it takes a data key from keys, by exactly one call of Generate, and derives from it what seals the
// message's boxes and streams. c is written into the header in the clear. The errors are those of keys; a context out of
// limits gives coffer.ErrInvalid.
func New(ctx context.Context, keys Keys, c Context) (*Sealer, error) {
	encoded, err := c.Encode()
	if err != nil {
		return nil, err
	}
	dk, err := keys.Generate(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("generate a data key: %w", err)
	}
	defer dk.Wipe()
	recipients, ok := inOrder(dk.Wrapped)
	if !ok || len(dk.Key) != KeySize {
		return nil, fmt.Errorf("generate a data key: the keeper's answer is out of limits: %w", coffer.ErrInvalid)
	}
	id := make([]byte, messageIDSize)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	core := appendCore(nil, id, encoded)
	prk, commitment, err := derive(dk.Key, id, core)
	if err != nil {
		return nil, err
	}
	raw, err := assemble(core, recipients, commitment, prk)
	if err != nil {
		return nil, err
	}
	m, err := newMessage(raw, core, commitment, prk)
	if err != nil {
		return nil, err
	}
	return &Sealer{m}, nil
}

// inOrder returns the wrapped forms in the order of a header, and whether they are within the limits and all different.
func inOrder(wrapped []Wrapped) ([]Wrapped, bool) {
	recipients := slices.SortedFunc(slices.Values(wrapped), compareWrapped)
	ok := len(recipients) >= 1 && len(recipients) <= MaxRecipients
	for i, w := range recipients {
		ok = ok && w.valid() && (i == 0 || compareWrapped(recipients[i-1], w) < 0)
	}
	return recipients, ok
}

// assemble returns a whole header.
func assemble(core []byte, recipients []Wrapped, commitment, prk []byte) ([]byte, error) {
	body := appendRecipients(bytes.Clone(core), recipients)
	tag, err := listTag(prk, body)
	if err != nil {
		return nil, err
	}
	return append(append(body, commitment...), tag...), nil
}

// listTag authenticates a header's recipients.
func listTag(prk, body []byte) ([]byte, error) {
	sum := sha256.Sum256(body)
	return hkdf.Expand(sha256.New, prk, labelList+string(sum[:]), listTagSize)
}

// Open opens the message with this header for a recipient (ForReveal or ForVerify), by a call of Unwrap for each wrapped form
// of that recipient until one succeeds, usually one. Version, suite, form and context are checked before any key is asked
// for, and the commitment before anything is decrypted: a header and its keys open to one plaintext only.
//
// An unknown version or suite gives an error wrapping coffer.ErrUnsupported; a message that was not sealed for the
// recipient, or whose wrapping key is not there, coffer.ErrNotFound; anything else in the bytes, and a context other than
// want, coffer.ErrCorrupt with always the same text. Outages of keys give what keys gave.
func Open(ctx context.Context, keys Keys, header []byte, want Context, recipient string) (*Opener, error) {
	h, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	encoded, err := want.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(encoded, h.context) {
		return nil, errMessage
	}
	dk, err := h.unwrap(ctx, keys, want, recipient)
	if err != nil {
		return nil, err
	}
	defer dk.Wipe()
	o, err := h.open(header, dk.Key)
	if err != nil {
		return nil, err
	}
	o.m.request = dk.Request
	return o, nil
}

// unwrap has the keeper unwrap the data key for a recipient.
func (h header) unwrap(ctx context.Context, keys Keys, c Context, recipient string) (DataKey, error) {
	err := fmt.Errorf("message is not sealed for recipient %q: %w", recipient, coffer.ErrNotFound)
	for _, w := range h.recipients {
		if w.Recipient != recipient {
			continue
		}
		var dk DataKey
		w.Blob = bytes.Clone(w.Blob)
		if dk, err = keys.Unwrap(ctx, w, c); err == nil {
			return dk, nil
		}
		if errors.Is(err, coffer.ErrCorrupt) {
			return DataKey{}, errMessage
		}
		err = fmt.Errorf("unwrap the data key: %w", err)
	}
	return DataKey{}, err
}

func (h header) open(raw, key []byte) (*Opener, error) {
	if len(key) != KeySize {
		return nil, errMessage
	}
	prk, commitment, err := derive(key, h.id, h.core)
	if err != nil {
		return nil, err
	}
	tag, err := listTag(prk, h.body)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(commitment, h.commitment) || !hmac.Equal(tag, h.listTag) {
		clear(prk)
		return nil, errMessage
	}
	m, err := newMessage(bytes.Clone(raw), h.core, h.commitment, prk)
	if err != nil {
		return nil, err
	}
	return &Opener{m}, nil
}

// derive returns the pseudorandom key of a message and the commitment to it and to the header's core.
func derive(key, id, core []byte) (prk, commitment []byte, err error) {
	prk, err = hkdf.Extract(sha256.New, key, id)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(core)
	commitment, err = hkdf.Expand(sha256.New, prk, labelCommit+string(sum[:]), commitmentSize)
	return prk, commitment, err
}

// newMessage takes ownership of header and prk. Boxes and streams are bound to core and commitment, not to the recipients: the
// data key can be wrapped anew while they stay.
func newMessage(header, core, commitment, prk []byte) (*message, error) {
	m := &message{header: header, prk: prk}
	h := sha256.New()
	h.Write(core)
	h.Write(commitment)
	h.Sum(m.digest[:0])
	var err error
	m.box, err = m.aead(labelBox)
	return m, err
}

// subkey derives the key of one domain.
func (m *message) subkey(label string) ([]byte, error) {
	if m.prk == nil {
		return nil, errWiped
	}
	return hkdf.Expand(sha256.New, m.prk, label, KeySize)
}

func (m *message) aead(label string) (cipher.AEAD, error) {
	key, err := m.subkey(label)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (m *message) wipe() {
	clear(m.prk)
	m.prk, m.box = nil, nil
}

// associated calls f with the associated data of a box.
func (m *message) associated(identity []byte, f func(ad []byte) error) error {
	if m.prk == nil {
		return errWiped
	}
	if len(identity) > MaxIdentity {
		return fmt.Errorf("identity of %d bytes, at most %d: %w", len(identity), MaxIdentity, coffer.ErrInvalid)
	}
	buf := adPool.Get().(*[]byte)
	defer adPool.Put(buf)
	ad := append((*buf)[:0], boxFormat)
	ad = append(ad, m.digest[:]...)
	*buf = append(ad, identity...)
	return f(*buf)
}

// adPool holds buffers for associated data, which would otherwise be an allocation for each value.
var adPool = sync.Pool{New: func() any { return new([]byte) }}

// Header returns the header, which is needed to open the message. It belongs apart from the boxes.
func (s *Sealer) Header() []byte { return bytes.Clone(s.m.header) }

// Seal returns a box with the value, bound to the message and to identity: an opener must name the same identity. The box
// shows the value's length only as a bucket (see [BoxSize]). A value of more than MaxValue bytes gives an error wrapping
// coffer.ErrLimit, an identity of more than MaxIdentity coffer.ErrInvalid.
func (s *Sealer) Seal(identity []byte, p coffer.Plaintext) ([]byte, error) {
	value := p.Expose()
	if len(value) > MaxValue {
		return nil, fmt.Errorf("value of %d bytes, at most %d: %w", len(value), MaxValue, coffer.ErrLimit)
	}
	if s.m.seals.Add(1) > maxSeals {
		return nil, fmt.Errorf("message with too many boxes: %w", coffer.ErrLimit)
	}
	var box []byte
	err := s.m.associated(identity, func(ad []byte) error {
		// The padded plaintext is built where the ciphertext will stand, so that no copy of it remains.
		n := bucket(lengthSize + len(value))
		b := make([]byte, 1+n, 1+nonceSize+n+tagSize)
		b[0] = boxFormat
		binary.BigEndian.PutUint32(b[1:], uint32(len(value)))
		copy(b[1+lengthSize:], value)
		box = s.m.box.Seal(b[:1], nil, b[1:], ad)
		return nil
	})
	return box, err
}

// BoxSize returns the size of the box of a value of n bytes: all values of a bucket have boxes of one size. Buckets end at 12,
// 28, 60, 124, 252, 508, 1,020, 2,044 and 4,092 bytes, and then every 4,096.
func BoxSize(n int) int { return 1 + nonceSize + bucket(lengthSize+n) + tagSize }

// bucket rounds the size of a plaintext with its length up: to a power of two from 16 to 4,096, then to a multiple of 4,096.
func bucket(n int) int {
	if n > 4096 {
		return (n + 4095) / 4096 * 4096
	}
	b := 16
	for b < n {
		b *= 2
	}
	return b
}

// Open returns the value in the box, which must have been sealed in this message with this identity. Otherwise it returns an
// error wrapping coffer.ErrCorrupt, always with the same text. The caller owns the value.
func (o *Opener) Open(identity, box []byte) (coffer.Plaintext, error) {
	if len(box) < BoxSize(0) || len(box) > BoxSize(MaxValue) || box[0] != boxFormat {
		return coffer.Plaintext{}, errMessage
	}
	var plain []byte
	err := o.m.associated(identity, func(ad []byte) (err error) {
		plain, err = o.m.box.Open(nil, nil, box[1:], ad)
		if err != nil {
			return errMessage
		}
		return nil
	})
	if err != nil {
		return coffer.Plaintext{}, err
	}
	// From here on the bytes are a Sealer's own; what is checked is that there is one box for a value.
	n := int(binary.BigEndian.Uint32(plain))
	if n > len(plain)-lengthSize || bucket(lengthSize+n) != len(plain) || !zero(plain[lengthSize+n:]) {
		clear(plain)
		return coffer.Plaintext{}, errMessage
	}
	return coffer.NewPlaintext(plain[lengthSize : lengthSize+n : lengthSize+n]), nil
}

func zero(b []byte) bool {
	var or byte
	for _, c := range b {
		or |= c
	}
	return or == 0
}

// Opener returns an opener of the message with the keys that s holds, so that what was stored can be read back and compared
// without the right to unwrap. header is what was read back: unless it is the message's own, or that with the data key wrapped
// anew by [Rewrap], the error wraps coffer.ErrCorrupt. That the keeper would unwrap it is not shown by this.
func (s *Sealer) Opener(header []byte) (*Opener, error) {
	if s.m.prk == nil {
		return nil, errWiped
	}
	own, err := parseHeader(s.m.header)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	tag, err := listTag(s.m.prk, h.body)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(h.core, own.core) || !hmac.Equal(h.commitment, own.commitment) || !hmac.Equal(tag, h.listTag) {
		return nil, errMessage
	}
	m, err := newMessage(bytes.Clone(header), h.core, h.commitment, bytes.Clone(s.m.prk))
	if err != nil {
		return nil, err
	}
	return &Opener{m}, nil
}

// Wipe overwrites the key from which the others are derived. The expanded AES keys inside the standard library's ciphers
// cannot be reached; they go with the garbage. s must not be in use, and is of no use afterwards.
func (s *Sealer) Wipe() { s.m.wipe() }

// Request returns the keeper's own id of the call that unwrapped the data key, for the log; "" where it has none.
func (o *Opener) Request() string { return o.m.request }

// Wipe is like [Sealer.Wipe].
func (o *Opener) Wipe() { o.m.wipe() }

// MAC is a keyed hash (HMAC-SHA-256) under a key of a message: for fingerprints that tell equality, for tokens, and for
// digests that would be secret without a key. It is safe for concurrent use.
type MAC struct {
	mu  sync.Mutex // guards the others
	h   hash.Hash
	sum [sha256.Size]byte
}

// MAC returns the keyed hash for a purpose. The same message and label give the same function, whether by Sealer or Opener;
// another label gives an unrelated one.
func (s *Sealer) MAC(label string) (*MAC, error) { return s.m.mac(label) }

// MAC is like [Sealer.MAC].
func (o *Opener) MAC(label string) (*MAC, error) { return o.m.mac(label) }

func (m *message) mac(label string) (*MAC, error) {
	key, err := m.subkey(labelMAC + label)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return &MAC{h: hmac.New(sha256.New, key)}, nil
}

// Sum returns the keyed hash of b.
func (m *MAC) Sum(b []byte) [sha256.Size]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.h.Reset() // cheaper than a new state: the key's two blocks are not hashed again
	m.h.Write(b)
	m.h.Sum(m.sum[:0])
	return m.sum
}
