package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"iter"
	"sync"

	"coffer"
)

// KeySize is the size in bytes of the key that [Sealed] takes.
const KeySize = 32

// The layout of a sealed value, specified in docs/format-seal.md:
//
//	format 1 | salt 16 | nonce 12 | ciphertext | tag 16
const (
	sealedFormat = 1
	saltSize     = 16
	nonceSize    = 12
	tagSize      = 16

	sealedLabel = "coffer/store/1/value"
)

// Sealed returns a DB that keeps its values in db sealed under key, which must be KeySize bytes from a good source (another
// length panics). db sees keys, versions and expiries in the clear, and of a value only its length.
//
// A value is bound to its key and version: a value that was altered, or put under another key, or paired with another
// version, gives an error wrapping coffer.ErrCorrupt. Query and Scan yield such an item with its key, version and expiry,
// no value and that error, and go on if the caller does. An older state of an item (key, version and value together) is
// not detected.
//
// Each value has its own AES-256-GCM key, derived with a random salt, so that there is no limit on the number of writes
// under one key (a single GCM key with random nonces is good for 2^32, NIST SP 800-38D 8.3; a busy log reaches that).
func Sealed(db DB, key []byte) DB {
	if len(key) != KeySize {
		panic("store: the sealing key must have 32 bytes")
	}
	key = append([]byte(nil), key...)
	s := &sealed{db: db}
	s.macs.New = func() any { return hmac.New(sha256.New, key) }
	return s
}

type sealed struct {
	db   DB
	macs sync.Pool // of hash.Hash: HMAC states under the key, because making one costs four times its use
}

func (s *sealed) Get(ctx context.Context, k Key) (Item, error) {
	it, err := s.db.Get(ctx, k)
	if err != nil {
		return Item{}, err
	}
	if it.Key != k {
		return Item{}, fmt.Errorf("store answered with another item: %w", coffer.ErrCorrupt)
	}
	if err := s.open(&it); err != nil {
		return Item{}, err
	}
	return it, nil
}

func (s *sealed) Query(ctx context.Context, part string, r Range) iter.Seq2[Item, error] {
	return s.openAll(s.db.Query(ctx, part, r))
}

func (s *sealed) Scan(ctx context.Context, shard, of int) iter.Seq2[Item, error] {
	return s.openAll(s.db.Scan(ctx, shard, of))
}

func (s *sealed) openAll(items iter.Seq2[Item, error]) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for it, err := range items {
			if err == nil {
				err = s.open(&it)
			}
			if !yield(it, err) {
				return
			}
		}
	}
}

func (s *sealed) Apply(ctx context.Context, ops ...Op) error {
	if err := validate(ops, 0); err != nil {
		return err
	}
	out := make([]Op, len(ops))
	for i, op := range ops {
		if op.Verb == Put {
			v, err := s.seal(op.Item)
			if err != nil {
				return err
			}
			op.Item.Value = v
		}
		out[i] = op
	}
	return s.db.Apply(ctx, out...)
}

func (s *sealed) Close() error { return s.db.Close() }

// Scrub implements [Scrubber] for what is below.
func (s *sealed) Scrub(ctx context.Context) error { return Scrub(ctx, s.db) }

// MarkOf implements [Marker] for what is below.
func (s *sealed) MarkOf(part string) (Mark, bool) { return MarkOf(s.db, part) }

// aead returns the cipher for one salt.
func (s *sealed) aead(salt []byte) (cipher.AEAD, error) {
	mac := s.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write([]byte(sealedLabel))
	mac.Write(salt)
	var key [sha256.Size]byte
	mac.Sum(key[:0])
	s.macs.Put(mac)
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// associated returns what a value is bound to: the format and, each with its length, part, sort and version.
func associated(it Item) []byte {
	b := make([]byte, 0, 1+3*4+len(it.Key.Part)+len(it.Key.Sort)+len(it.Version))
	b = append(b, sealedFormat)
	for _, f := range []string{it.Key.Part, it.Key.Sort, it.Version} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return b
}

func (s *sealed) seal(it Item) ([]byte, error) {
	b := make([]byte, 1+saltSize, sealOverhead+len(it.Value))
	b[0] = sealedFormat
	if _, err := rand.Read(b[1:]); err != nil {
		return nil, err
	}
	aead, err := s.aead(b[1:])
	if err != nil {
		return nil, err
	}
	return aead.Seal(b, nil, it.Value, associated(it)), nil
}

// open replaces the sealed value of it by its plaintext, or removes it and returns an error.
func (s *sealed) open(it *Item) error {
	sealed := it.Value
	it.Value = nil
	if len(sealed) < sealOverhead || sealed[0] != sealedFormat {
		return errValue
	}
	aead, err := s.aead(sealed[1 : 1+saltSize])
	if err != nil {
		return err
	}
	v, err := aead.Open(nil, nil, sealed[1+saltSize:], associated(*it))
	if err != nil {
		return errValue
	}
	it.Value = v
	return nil
}

// errValue is the one answer to whatever is wrong with a sealed value.
var errValue = fmt.Errorf("sealed value does not open: %w", coffer.ErrCorrupt)
