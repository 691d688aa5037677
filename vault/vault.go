// Package vault keeps the sealed values: it deposits, lists, reveals and searches them. Who asks and may is decided and
// logged here, inside each method; there is no way to a value around it.
//
// A set of values (of a finding, or of what a fix found besides) is sealed as one generation under one data key:
//
//	V#<set>#<generation>   <number>   data table: chunks of about 4 KB of sealed boxes, named by their first number
//	H#<set>#<generation>   header     key table: the header with the wrapped data key; without it the boxes are noise
//	X#<type>#<fingerprint> <set>#<n>  data table: the equality index of a type, where it is turned on
//	X#config               types      data table: the types whose index is on
//	T#<token>              token      data table: a token of a tokenising fix and its sealed value
//
// The tables are separate stores, so that the key table can stay out of backups: destroying a header makes every copy of the
// boxes unreadable.
package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"coffer"
	"coffer/audit"
	"coffer/envelope"
	"coffer/grant"
	"coffer/internal/planted"
	"coffer/store"
	"coffer/triage"
)

const (
	chunkSize = 4 << 10
	// MaxPlaintext is the longest value that can be sealed, so that its box fits an item of the store.
	MaxPlaintext = 256 << 10
)

// Vault is safe for concurrent use.
type Vault struct {
	DB      store.DB // data table
	Headers store.DB // key table
	Keys    envelope.Keys
	Guard   *audit.Guard
	Grants  *grant.Grants
	Records triage.Records
	// MAC is the installation's keyed hash for a purpose; fingerprints and tokens come from it.
	MAC func(label string, data []byte) []byte
	Now func() time.Time
}

// Set names one generation of sealed values.
type Set struct {
	ID         string // a finding's or plan's id
	Generation string
}

func (s Set) part() string { return "V#" + s.ID + "#" + s.Generation }

func (s Set) header() store.Key {
	return store.Key{Part: "H#" + s.ID + "#" + s.Generation, Sort: "header"}
}

// What is sealed under a key says the purpose in the key's context, so that the permission to unwrap can be given apart: a fix needs the
// originals it keeps, and opens no value.
const (
	forValues   = "values"
	forOriginal = "original"
)

func (s Set) context(purpose string) envelope.Context {
	return envelope.Context{"app": "coffer", "purpose": purpose, "set": s.ID, "generation": s.Generation}
}

// Value is a value with the occurrence it belongs to.
type Value struct {
	N     int
	Type  coffer.DataType
	At    coffer.Location
	Plain coffer.Plaintext
}

// identity is the associated data of a box: it can be opened only as the occurrence that it was sealed for. Places can be
// long, so it is the SHA-256 of the length-prefixed fields; nothing of it is stored.
func (s Set) identity(n int, t coffer.DataType, at coffer.Location) []byte {
	var b []byte
	for _, f := range []string{"value", s.ID, s.Generation, string(t), at.String()} {
		b = binary.AppendUvarint(b, uint64(len(f)))
		b = append(b, f...)
	}
	sum := sha256.Sum256(binary.AppendUvarint(b, uint64(n)))
	return sum[:]
}

// Deposit seals values, in ascending order of N, as the set s, which nobody else writes, then reads everything back and opens
// it with the held key: when it returns nil the values are durable and readable. The permit is that of the operation that
// deposits.
func (v *Vault) Deposit(ctx context.Context, _ *audit.Permit, s Set, values []Value) error {
	sealer, err := envelope.New(ctx, v.Keys, s.context(forValues))
	if err != nil {
		return fmt.Errorf("data key: %w", err)
	}
	defer sealer.Wipe()
	var ops []store.Op
	size := 0
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		err := v.DB.Apply(ctx, ops...)
		ops, size = ops[:0], 0
		return err
	}
	var chunk []byte
	first := 0
	put := func() error {
		if len(chunk) == 0 {
			return nil
		}
		if len(ops) == store.MaxOps || size+len(chunk) > store.MaxApplyBytes*3/4 {
			if err := flush(); err != nil {
				return err
			}
		}
		ops = append(ops, store.Op{Verb: store.Put, Expect: store.Absent, Item: store.Item{
			Key: store.Key{Part: s.part(), Sort: number(first)}, Value: chunk, Version: store.NewVersion(),
		}})
		size += len(chunk) + 200
		chunk = nil
		return nil
	}
	for _, val := range values {
		box, err := sealer.Seal(s.identity(val.N, val.Type, val.At), val.Plain)
		if err != nil {
			return fmt.Errorf("seal occurrence %d: %w", val.N, err)
		}
		if len(chunk) > 0 && len(chunk)+len(box) > chunkSize {
			if err := put(); err != nil {
				return fmt.Errorf("store sealed values: %w", err)
			}
		}
		if len(chunk) == 0 {
			first = val.N
		}
		chunk = binary.AppendUvarint(chunk, uint64(val.N))
		chunk = binary.AppendUvarint(chunk, uint64(len(box)))
		chunk = append(chunk, box...)
	}
	if err := put(); err != nil {
		return fmt.Errorf("store sealed values: %w", err)
	}
	if err := flush(); err != nil {
		return fmt.Errorf("store sealed values: %w", err)
	}
	err = v.Headers.Apply(ctx, store.Op{Verb: store.Put, Expect: store.Absent,
		Item: store.Item{Key: s.header(), Value: sealer.Header(), Version: store.NewVersion()}})
	if err != nil {
		return fmt.Errorf("store header: %w", err)
	}
	if planted.On(planted.SkipReadBack) {
		return nil
	}
	return v.readBack(ctx, s, sealer, values)
}

// readBack compares what the stores hold with what was sealed.
func (v *Vault) readBack(ctx context.Context, s Set, sealer *envelope.Sealer, values []Value) error {
	it, err := v.Headers.Get(ctx, s.header())
	if err != nil {
		return fmt.Errorf("read header back: %w", err)
	}
	opener, err := sealer.Opener(it.Value) // the header's bytes may be others already, after a rotation of the wrapping key
	if err != nil {
		return fmt.Errorf("read header back: not what was stored: %w", err)
	}
	return v.compare(ctx, s, opener, values)
}

// compare opens every box of the set and demands that they are exactly the values.
func (v *Vault) compare(ctx context.Context, s Set, opener *envelope.Opener, values []Value) error {
	i := 0
	err := v.boxes(ctx, s, store.Range{}, func(n int, box []byte) error {
		if i >= len(values) || values[i].N != n {
			return fmt.Errorf("sealed occurrence %d is not one of those deposited: %w", n, coffer.ErrCorrupt)
		}
		val := values[i]
		i++
		plain, err := opener.Open(s.identity(n, val.Type, val.At), box)
		if err != nil {
			return fmt.Errorf("open occurrence %d: %w", n, err)
		}
		defer plain.Wipe()
		if !bytes.Equal(plain.Expose(), val.Plain.Expose()) {
			return fmt.Errorf("sealed occurrence %d differs from the value: %w", n, coffer.ErrCorrupt)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read sealed values back: %w", err)
	}
	if i != len(values) {
		return fmt.Errorf("read sealed values back: %d of %d: %w", i, len(values), coffer.ErrCorrupt)
	}
	return nil
}

// boxes calls f for each box of the set within the range of chunks, in order.
func (v *Vault) boxes(ctx context.Context, s Set, r store.Range, f func(n int, box []byte) error) error {
	for it, err := range v.DB.Query(ctx, s.part(), r) {
		if err != nil {
			return err
		}
		b := it.Value
		for len(b) > 0 {
			n, k := binary.Uvarint(b)
			if k <= 0 {
				return fmt.Errorf("chunk of sealed values: %w", coffer.ErrCorrupt)
			}
			b = b[k:]
			size, k := binary.Uvarint(b)
			if k <= 0 || size > uint64(len(b)-k) {
				return fmt.Errorf("chunk of sealed values: %w", coffer.ErrCorrupt)
			}
			if err := f(int(n), b[k:k+int(size)]); err != nil {
				return err
			}
			b = b[k+int(size):]
		}
	}
	return nil
}

// open opens the set, sealed for a purpose, for a recipient. Where no key for verification was configured when the set was sealed there is no form for
// envelope.ForVerify; that for envelope.ForReveal shows as well that the values can be opened, and takes that privilege.
func (v *Vault) open(ctx context.Context, s Set, purpose, recipient string) (*envelope.Opener, error) {
	it, err := v.Headers.Get(ctx, s.header())
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, fmt.Errorf("the key of these values was destroyed: %w", coffer.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	forms, err := envelope.Recipients(it.Value)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if !slices.ContainsFunc(forms, func(w envelope.Wrapped) bool { return w.Recipient == recipient }) {
		recipient = envelope.ForReveal
	}
	return envelope.Open(ctx, v.Keys, it.Value, s.context(purpose), recipient)
}

// Destroy destroys a set for good: the header first, so that from then on no copy of the boxes can be opened, then the boxes.
// It returns the instant after which the key was gone. Destroying what is gone is no error.
func (v *Vault) Destroy(ctx context.Context, _ *audit.Permit, s Set) (time.Time, error) {
	err := v.Headers.Apply(ctx, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: s.header()}})
	if err != nil {
		return time.Time{}, fmt.Errorf("destroy key: %w", err)
	}
	at := v.Now()
	var keys []store.Key
	for it, err := range v.DB.Query(ctx, s.part(), store.Range{}) {
		if err != nil {
			return at, fmt.Errorf("list sealed values: %w", err)
		}
		keys = append(keys, it.Key)
	}
	for batch := range slices.Chunk(keys, store.MaxOps) {
		var ops []store.Op
		for _, k := range batch {
			ops = append(ops, store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: k}})
		}
		if err := v.DB.Apply(ctx, ops...); err != nil {
			return at, fmt.Errorf("delete sealed values: %w", err)
		}
	}
	return at, errors.Join(store.Scrub(ctx, v.Headers), store.Scrub(ctx, v.DB))
}

// number is the sort key of a number.
func number(n int) string { return fmt.Sprintf("%08d", n) }

// Reason is why somebody asks for values.
type Reason struct {
	Code string
	Note string
}

// Revealed is a value that was opened.
type Revealed struct {
	Finding string
	N       int
	Type    coffer.DataType
	At      coffer.Location
	Plain   coffer.Plaintext
}

// SealStream seals all of r, an original that is kept, as the stream of the set s into w, under a data key of its own, and stores the header. What is
// sealed so can be read with OpenStream only.
func (v *Vault) SealStream(ctx context.Context, _ *audit.Permit, s Set, w io.Writer, r io.Reader) error {
	sealer, err := envelope.New(ctx, v.Keys, s.context(forOriginal))
	if err != nil {
		return fmt.Errorf("data key: %w", err)
	}
	defer sealer.Wipe()
	sw := sealer.Writer(w, []byte(s.ID))
	if _, err := io.Copy(sw, r); err != nil {
		return err
	}
	if err := sw.Close(); err != nil {
		return err
	}
	err = v.Headers.Apply(ctx, store.Op{Verb: store.Put, Expect: store.Absent,
		Item: store.Item{Key: s.header(), Value: sealer.Header(), Version: store.NewVersion()}})
	if err != nil {
		return fmt.Errorf("store header: %w", err)
	}
	return nil
}

// OpenStream reads back what SealStream sealed. The returned function wipes the key. Data that was altered or cut off gives an
// error wrapping coffer.ErrCorrupt before its bytes are returned.
func (v *Vault) OpenStream(ctx context.Context, _ *audit.Permit, s Set, r io.Reader) (io.Reader, func(), error) {
	opener, err := v.open(ctx, s, forOriginal, envelope.ForReveal)
	if err != nil {
		return nil, nil, err
	}
	return opener.Reader(r, []byte(s.ID)), opener.Wipe, nil
}
