// Package keyfile keeps wrapping keys in a file: the default on one machine. The file holds a ring of keys, each a pair, one
// for reveal and one for verify; new data keys are wrapped under the current one, old ones stay to unwrap. Its format is
// specified in docs/format-seal.md.
//
// Durability: a key file is written beside, synced and renamed, so that it is whole or not there; Create and Open return keys
// that will be there after a power cut. A Ring holds the keys that the file had when it was opened.
//
// Trust: whoever can read the file, and knows the passphrase if it has one, can open all that was sealed under it. Together
// with the store on one disk it protects copies of the store, not the disk. The file has mode 0600; looser ones are refused.
// Whoever loses the file loses all that was sealed.
package keyfile

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"coffer"
	"coffer/envelope"
	"coffer/internal/durable"
)

const (
	provider = "keyfile"
	format   = "coffer keyfile"
	version  = 1
	mode     = 0o600

	maxFile = 256 << 10 // bytes
	maxKeys = 256

	// Iterations of PBKDF2-HMAC-SHA-256: what OWASP's Password Storage Cheat Sheet asks for, and the most that a file may
	// demand of who opens it.
	iterations    = 600_000
	maxIterations = 10_000_000
	saltSize      = 16

	nonceSize = 12
	tagSize   = 16
)

// The domains of what is computed under the keys of a ring.
const (
	labelID   = "coffer/keyfile/1/id"
	labelWrap = "coffer/keyfile/1/wrap"
	labelFile = "coffer/keyfile/1/file"
)

// file is the JSON form of a key file. Either Ring is there or, with a passphrase, Passphrase and Sealed.
type file struct {
	Format     string      `json:"format"`
	Version    int         `json:"version"`
	Passphrase *passphrase `json:"passphrase,omitempty"`
	Sealed     []byte      `json:"sealed,omitempty"` // nonce, encrypted JSON of ring, tag
	Ring       *ring       `json:"ring,omitempty"`
}

type passphrase struct {
	KDF        string `json:"kdf"`
	Iterations int    `json:"iterations"`
	Salt       []byte `json:"salt"`
}

const kdfName = "PBKDF2-HMAC-SHA-256"

type ring struct {
	Current string `json:"current"`
	Keys    []pair `json:"keys"`
}

// pair is one key of the ring. Its id is computed from it, so that a damaged key is not taken for a key.
type pair struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Reveal  []byte    `json:"reveal"`
	Verify  []byte    `json:"verify"`
}

func (p pair) id() string {
	mac := hmac.New(sha256.New, append(bytes.Clone(p.Reveal), p.Verify...))
	mac.Write([]byte(labelID))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func newPair() pair {
	p := pair{Created: time.Now().UTC().Truncate(time.Second), Reveal: random(envelope.KeySize), Verify: random(envelope.KeySize)}
	p.ID = p.id()
	return p
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// Ring is the keys of an opened file. It implements [envelope.Keys] and may be used concurrently.
type Ring struct {
	current string
	keys    map[string]map[string]cipher.AEAD // by id and recipient
}

var _ envelope.Keys = (*Ring)(nil)

// Create makes a key file with one fresh key, wrapped by the passphrase unless that is empty. If there is a file at path the
// error wraps coffer.ErrConflict and the file is as it was: of several processes that create one at once, one succeeds.
func Create(path string, pass []byte) (*Ring, error) {
	r := ring{Keys: []pair{newPair()}}
	r.Current = r.Keys[0].ID
	data, err := encode(r, pass)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	defer clear(data)
	err = durable.Create(path, data, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("key file %s exists: %w", path, coffer.ErrConflict)
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w: %w", err, coffer.ErrUnavailable)
	}
	return newRing(r)
}

// Open opens a key file. If there is none the error wraps coffer.ErrNotFound. A file that others may read, and a passphrase
// that is wrong, missing or not asked for, give coffer.ErrUnavailable; a damaged file coffer.ErrCorrupt; a newer one
// coffer.ErrUnsupported.
func Open(path string, pass []byte) (*Ring, error) {
	r, err := load(path, pass)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return newRing(r)
}

// OpenOrCreate opens the key file and makes it if there is none. All processes that do so at once have the same keys.
func OpenOrCreate(path string, pass []byte) (*Ring, error) {
	r, err := Open(path, pass)
	if !errors.Is(err, coffer.ErrNotFound) {
		return r, err
	}
	// What a crashed creation left holds a key that was never used.
	if err := durable.Sweep(path, time.Hour); err != nil {
		return nil, fmt.Errorf("key file: %w: %w", err, coffer.ErrUnavailable)
	}
	r, err = Create(path, pass)
	if errors.Is(err, coffer.ErrConflict) {
		return Open(path, pass)
	}
	return r, err
}

// Rotate adds a fresh key to the file, makes it the current one, and returns the ring with it. Everything sealed before stays
// readable. Processes that have the file open go on with the keys they know, so reopen them; until then they cannot unwrap
// what was wrapped under the new key. Calls of Rotate wait for one another, by a lock on PATH.lock.
func Rotate(path string, pass []byte) (*Ring, error) {
	unlock, err := durable.Lock(path + ".lock") // else one of two new keys would be lost, and all that was sealed under it
	if err != nil {
		return nil, fmt.Errorf("key file: %w: %w", err, coffer.ErrUnavailable)
	}
	defer unlock()
	r, err := load(path, pass)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	if len(r.Keys) >= maxKeys {
		return nil, fmt.Errorf("key file %s has %d keys: %w", path, len(r.Keys), coffer.ErrLimit)
	}
	p := newPair()
	r.Keys = append(r.Keys, p)
	r.Current = p.ID
	data, err := encode(r, pass)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	defer clear(data)
	if err := durable.WriteFile(path, data, mode); err != nil {
		return nil, fmt.Errorf("key file: %w: %w", err, coffer.ErrUnavailable)
	}
	return newRing(r)
}

func newRing(r ring) (*Ring, error) {
	out := &Ring{current: r.Current, keys: map[string]map[string]cipher.AEAD{}}
	for _, p := range r.Keys {
		byRecipient := map[string]cipher.AEAD{}
		for recipient, key := range map[string][]byte{envelope.ForReveal: p.Reveal, envelope.ForVerify: p.Verify} {
			aead, err := newAEAD(key)
			if err != nil {
				return nil, err
			}
			byRecipient[recipient] = aead
			clear(key)
		}
		out.keys[p.ID] = byRecipient
	}
	return out, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Generate implements [envelope.Keys].
func (r *Ring) Generate(ctx context.Context, c envelope.Context) (envelope.DataKey, error) {
	if err := ctx.Err(); err != nil {
		return envelope.DataKey{}, err
	}
	encoded, err := c.Encode()
	if err != nil {
		return envelope.DataKey{}, err
	}
	dk := envelope.DataKey{Key: random(envelope.KeySize)}
	for _, recipient := range []string{envelope.ForReveal, envelope.ForVerify} {
		blob := r.keys[r.current][recipient].Seal(nil, nil, dk.Key, associated(recipient, r.current, encoded))
		dk.Wrapped = append(dk.Wrapped, envelope.Wrapped{Recipient: recipient, Provider: provider, KeyID: r.current, Blob: blob})
	}
	return dk, nil
}

// Unwrap implements [envelope.Keys].
func (r *Ring) Unwrap(ctx context.Context, w envelope.Wrapped, c envelope.Context) (envelope.DataKey, error) {
	if err := ctx.Err(); err != nil {
		return envelope.DataKey{}, err
	}
	encoded, err := c.Encode()
	if err != nil {
		return envelope.DataKey{}, err
	}
	aead, ok := r.keys[w.KeyID][w.Recipient]
	if !ok || w.Provider != provider {
		return envelope.DataKey{}, fmt.Errorf("wrapping key is not in the key file: %w", coffer.ErrNotFound)
	}
	key, err := aead.Open(nil, nil, w.Blob, associated(w.Recipient, w.KeyID, encoded))
	if err != nil || len(key) != envelope.KeySize {
		clear(key)
		return envelope.DataKey{}, fmt.Errorf("wrapped key does not open: %w", coffer.ErrCorrupt)
	}
	return envelope.DataKey{Key: key}, nil
}

// associated returns what a wrapped key is bound to.
func associated(recipient, keyID string, context []byte) []byte {
	b := []byte(labelWrap)
	for _, f := range []string{recipient, keyID} {
		b = append(b, byte(len(f)))
		b = append(b, f...)
	}
	return append(b, context...)
}

// encode returns the bytes of a key file.
func encode(r ring, pass []byte) ([]byte, error) {
	f := file{Format: format, Version: version}
	if len(pass) == 0 {
		f.Ring = &r
		return marshal(f)
	}
	f.Passphrase = &passphrase{KDF: kdfName, Iterations: iterations, Salt: random(saltSize)}
	plain, err := marshal(r)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	aead, err := f.Passphrase.aead(pass)
	if err != nil {
		return nil, err
	}
	f.Sealed = aead.Seal(nil, nil, plain, f.Passphrase.associated())
	return marshal(f)
}

func marshal(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// aead derives the cipher that wraps a ring. The passphrase is copied into a string, which cannot be wiped: the standard
// library's PBKDF2 asks for one.
func (p *passphrase) aead(pass []byte) (cipher.AEAD, error) {
	key, err := pbkdf2.Key(sha256.New, string(pass), p.Salt, p.Iterations, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newAEAD(key)
}

// associated returns what a wrapped ring is bound to.
func (p *passphrase) associated() []byte {
	b := binary.BigEndian.AppendUint32([]byte(labelFile), uint32(p.Iterations))
	return append(b, p.Salt...)
}

// load reads and checks a key file.
func load(path string, pass []byte) (ring, error) {
	data, err := read(path)
	if err != nil {
		return ring{}, err
	}
	defer clear(data)
	return decode(data, pass)
}

func decode(data, pass []byte) (ring, error) {
	var f file
	if err := unmarshal(data, &f); err != nil || f.Format != format {
		// A newer file may have fields that this program does not know; its version must still be told.
		var newer struct {
			Format  string `json:"format"`
			Version int    `json:"version"`
		}
		if json.Unmarshal(data, &newer) != nil || newer.Format != format || newer.Version <= version {
			return ring{}, fmt.Errorf("not a key file, or damaged: %w", coffer.ErrCorrupt)
		}
		f.Version = newer.Version
	}
	if f.Version > version {
		return ring{}, fmt.Errorf("version %d, this program knows %d: %w", f.Version, version, coffer.ErrUnsupported)
	}
	wrapped := f.Passphrase != nil
	if f.Version != version || wrapped == (f.Ring != nil) || wrapped == (len(f.Sealed) == 0) {
		return ring{}, fmt.Errorf("damaged: %w", coffer.ErrCorrupt)
	}
	if wrapped != (len(pass) > 0) {
		if wrapped {
			return ring{}, fmt.Errorf("a passphrase is needed: %w", coffer.ErrUnavailable)
		}
		// Going on would let the owner believe that the passphrase protects something.
		return ring{}, fmt.Errorf("a passphrase was given and the file has none: %w", coffer.ErrUnavailable)
	}
	r := f.Ring
	if wrapped {
		p := f.Passphrase
		if p.KDF != kdfName || p.Iterations < iterations || p.Iterations > maxIterations || len(p.Salt) != saltSize {
			return ring{}, fmt.Errorf("passphrase parameters out of limits: %w", coffer.ErrCorrupt)
		}
		aead, err := p.aead(pass)
		if err != nil {
			return ring{}, err
		}
		plain, err := aead.Open(nil, nil, f.Sealed, p.associated())
		if err != nil {
			return ring{}, fmt.Errorf("wrong passphrase, or damaged: %w", coffer.ErrUnavailable)
		}
		defer clear(plain)
		r = new(ring)
		if err := unmarshal(plain, r); err != nil {
			return ring{}, fmt.Errorf("damaged: %w", coffer.ErrCorrupt)
		}
	}
	if err := r.check(); err != nil {
		return ring{}, err
	}
	return *r, nil
}

// check demands that every key is itself and that there is a current one.
func (r *ring) check() error {
	current := false
	seen := map[string]bool{}
	for _, p := range r.Keys {
		if len(p.Reveal) != envelope.KeySize || len(p.Verify) != envelope.KeySize || p.ID != p.id() || seen[p.ID] {
			return fmt.Errorf("a key is damaged: %w", coffer.ErrCorrupt)
		}
		seen[p.ID] = true
		current = current || p.ID == r.Current
	}
	if !current || len(r.Keys) > maxKeys {
		return fmt.Errorf("no current key: %w", coffer.ErrCorrupt)
	}
	return nil
}

// unmarshal is strict: no unknown fields, nothing behind. Its error is not for the user, it may repeat the input.
func unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("data behind the end")
	}
	return nil
}

// read returns the bytes of the file after looking at its mode.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, coffer.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errors.Unwrap(err), coffer.ErrUnavailable)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errors.Unwrap(err), coffer.ErrUnavailable)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: %w", coffer.ErrInvalid)
	}
	if fi.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("others may read it (mode %#o): chmod it to 0600: %w", fi.Mode().Perm(), coffer.ErrUnavailable)
	}
	if fi.Size() > maxFile {
		return nil, fmt.Errorf("more than %d bytes: %w", maxFile, coffer.ErrCorrupt)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errors.Unwrap(err), coffer.ErrUnavailable)
	}
	return data, nil
}
