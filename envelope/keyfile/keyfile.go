// Package keyfile keeps wrapping keys in a file: the default on one machine. The file holds a ring of keys, each a pair, one
// for reveal and one for verify; new data keys are wrapped under the current one, old ones stay to unwrap. Its format is
// specified in docs/format-seal.md.
//
// Durability: a key file is written beside, synced and renamed, so that it is whole or not there; Create and Open return keys
// that will be there after a power cut. A Ring looks before it wraps, and when it meets a key that it does not know, whether
// the file was replaced, and then reads it again: rotation by another process interrupts nobody.
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
	"slices"
	"sync"
	"sync/atomic"
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
	path string
	pass []byte

	mu    sync.Mutex // held while the file is read again
	stamp fs.FileInfo
	state atomic.Pointer[state]
}

// state is the keys of the file as it was read last.
type state struct {
	current string
	keys    map[string]map[string]cipher.AEAD // by id and recipient
	list    []envelope.WrappingKey
}

var _ envelope.Keyring = (*Ring)(nil)

// List implements [envelope.Keyring].
func (r *Ring) List(ctx context.Context, named ...string) ([]envelope.WrappingKey, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.refresh()
	s := r.state.Load()
	out := slices.Clone(s.list)
	for _, id := range named {
		if s.keys[id] == nil {
			out = append(out, envelope.WrappingKey{ID: id, State: envelope.NotConfigured})
		}
	}
	return out, nil
}

// Current implements [envelope.Keyring].
func (r *Ring) Current(wrapped []envelope.Wrapped) bool {
	r.refresh()
	current := r.state.Load().current
	for _, recipient := range recipients {
		if !slices.ContainsFunc(wrapped, func(w envelope.Wrapped) bool {
			return w.Recipient == recipient && w.Provider == provider && w.KeyID == current
		}) {
			return false
		}
	}
	return len(wrapped) == len(recipients)
}

var recipients = []string{envelope.ForReveal, envelope.ForVerify}

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
	return newRing(path, pass)
}

// Open opens a key file. If there is none the error wraps coffer.ErrNotFound. A file that others may read, and a passphrase
// that is wrong, missing or not asked for, give coffer.ErrUnavailable; a damaged file coffer.ErrCorrupt; a newer one
// coffer.ErrUnsupported.
func Open(path string, pass []byte) (*Ring, error) { return newRing(path, pass) }

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

// Rotate implements [envelope.Keyring]: it adds a fresh key to the file and makes it the current one. Everything sealed before stays
// readable. A file of 256 keys is full (coffer.ErrLimit). Calls of Rotate and Retire wait for one another, by a lock on PATH.lock.
func (r *Ring) Rotate(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := newPair()
	err := r.change(func(f *ring) error {
		if len(f.Keys) >= maxKeys {
			return fmt.Errorf("%d keys: %w", len(f.Keys), coffer.ErrLimit)
		}
		f.Keys = append(f.Keys, p)
		f.Current = p.ID
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []string{p.ID}, nil
}

// Retire removes a key from the file for good: what is wrapped under it alone can never be opened again. The current key is
// refused with an error wrapping coffer.ErrConflict, one that is not there with coffer.ErrNotFound.
func (r *Ring) Retire(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.change(func(f *ring) error {
		i := slices.IndexFunc(f.Keys, func(p pair) bool { return p.ID == id })
		switch {
		case i < 0:
			return fmt.Errorf("key %s: %w", id, coffer.ErrNotFound)
		case id == f.Current:
			return fmt.Errorf("key %s is the current one: %w", id, coffer.ErrConflict)
		}
		f.Keys = slices.Delete(f.Keys, i, i+1)
		return nil
	})
}

// change replaces the file by one with other keys, and reads it.
func (r *Ring) change(edit func(*ring) error) error {
	unlock, err := durable.Lock(r.path + ".lock") // else one of two new keys would be lost, and all that was sealed under it
	if err != nil {
		return fmt.Errorf("key file: %w: %w", err, coffer.ErrUnavailable)
	}
	defer unlock()
	f, _, err := load(r.path, r.pass)
	if err == nil {
		err = edit(&f)
	}
	if err != nil {
		return fmt.Errorf("key file %s: %w", r.path, err)
	}
	data, err := encode(f, r.pass)
	if err != nil {
		return fmt.Errorf("key file %s: %w", r.path, err)
	}
	defer clear(data)
	if err := durable.WriteFile(r.path, data, mode); err != nil {
		return fmt.Errorf("key file: %w: %w", err, coffer.ErrUnavailable)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.read(); err != nil {
		return fmt.Errorf("key file %s: %w", r.path, err)
	}
	return nil
}

func newRing(path string, pass []byte) (*Ring, error) {
	r := &Ring{path: path, pass: bytes.Clone(pass)}
	if err := r.read(); err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return r, nil
}

// read reads the file into the state.
func (r *Ring) read() error {
	f, stamp, err := load(r.path, r.pass)
	if err != nil {
		return err
	}
	s := &state{current: f.Current, keys: map[string]map[string]cipher.AEAD{}}
	for i, p := range f.Keys {
		k := envelope.WrappingKey{ID: p.ID, Created: p.Created, Current: p.ID == f.Current}
		if i+1 < len(f.Keys) {
			k.Superseded = f.Keys[i+1].Created
		}
		s.list = append(s.list, k)
		byRecipient := map[string]cipher.AEAD{}
		for recipient, key := range map[string][]byte{envelope.ForReveal: p.Reveal, envelope.ForVerify: p.Verify} {
			aead, err := newAEAD(key)
			if err != nil {
				return err
			}
			byRecipient[recipient] = aead
			clear(key)
		}
		s.keys[p.ID] = byRecipient
	}
	r.stamp = stamp
	r.state.Store(s)
	return nil
}

// refresh reads the file again if it was replaced. A file that cannot be read leaves the keys as they were: what they open can
// still be opened, and the next call looks again.
func (r *Ring) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	fi, err := os.Stat(r.path)
	if err != nil || os.SameFile(fi, r.stamp) && fi.ModTime().Equal(r.stamp.ModTime()) && fi.Size() == r.stamp.Size() {
		return
	}
	_ = r.read() // see above
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
	key := random(envelope.KeySize)
	wrapped, err := r.Wrap(ctx, key, c)
	if err != nil {
		return envelope.DataKey{}, err
	}
	return envelope.DataKey{Key: key, Wrapped: wrapped}, nil
}

// Wrap implements [envelope.Keys].
func (r *Ring) Wrap(ctx context.Context, key []byte, c envelope.Context) ([]envelope.Wrapped, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(key) != envelope.KeySize {
		return nil, fmt.Errorf("data key of %d bytes: %w", len(key), coffer.ErrInvalid)
	}
	encoded, err := c.Encode()
	if err != nil {
		return nil, err
	}
	r.refresh()
	s := r.state.Load()
	var wrapped []envelope.Wrapped
	for _, recipient := range recipients {
		blob := s.keys[s.current][recipient].Seal(nil, nil, key, associated(recipient, s.current, encoded))
		wrapped = append(wrapped, envelope.Wrapped{Recipient: recipient, Provider: provider, KeyID: s.current, Blob: blob})
	}
	return wrapped, nil
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
	byRecipient, ok := r.state.Load().keys[w.KeyID]
	if !ok && w.Provider == provider {
		r.refresh()
		byRecipient = r.state.Load().keys[w.KeyID]
	}
	aead, ok := byRecipient[w.Recipient]
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
func load(path string, pass []byte) (ring, fs.FileInfo, error) {
	data, fi, err := read(path)
	if err != nil {
		return ring{}, nil, err
	}
	defer clear(data)
	r, err := decode(data, pass)
	return r, fi, err
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
func read(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, coffer.ErrNotFound
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errors.Unwrap(err), coffer.ErrUnavailable)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errors.Unwrap(err), coffer.ErrUnavailable)
	}
	if !fi.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("not a regular file: %w", coffer.ErrInvalid)
	}
	if fi.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, nil, fmt.Errorf("others may read it (mode %#o): chmod it to 0600: %w", fi.Mode().Perm(), coffer.ErrUnavailable)
	}
	if fi.Size() > maxFile {
		return nil, nil, fmt.Errorf("more than %d bytes: %w", maxFile, coffer.ErrCorrupt)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errors.Unwrap(err), coffer.ErrUnavailable)
	}
	return data, fi, nil
}
