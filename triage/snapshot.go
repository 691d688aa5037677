package triage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/klauspost/compress/zstd"

	"coffer"
	"coffer/store"
)

// A snapshot is the table's columns, compressed, in chunks of the store (which seals them) under one of two slots; a head says which
// slot is whole. Two writers at once can mix their chunks in a slot: the head has the digest, and what does not match is as if
// there were no snapshot.
const (
	snapshotFormat = 3 // of the columns; another one is not read
	snapshotChunk  = 300 << 10
)

var snapshotHead = store.Key{Part: "I#head", Sort: "head"}

type snapshot struct {
	Format int       `json:"format"`
	Slot   string    `json:"slot"`
	Chunks int       `json:"chunks"`
	SHA256 []byte    `json:"sha256"` // of the compressed bytes; they are sealed, so it tells nobody anything
	AsOf   time.Time `json:"asOf"`
}

func (s snapshot) key(chunk int) store.Key {
	return store.Key{Part: "I#" + s.Slot, Sort: fmt.Sprintf("%08d", chunk)}
}

func storeSnapshot(ctx context.Context, db store.DB, columns []byte, asOf time.Time) error {
	old, version, err := readHead(ctx, db)
	if err != nil {
		return err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	b := enc.EncodeAll(columns, nil)
	sum := sha256.Sum256(b)
	s := snapshot{Format: snapshotFormat, Slot: "a", SHA256: sum[:], AsOf: asOf}
	if old.Slot == "a" {
		s.Slot = "b"
	}
	for batch := range slices.Chunk(slices.Collect(slices.Chunk(b, snapshotChunk)), store.MaxApplyBytes/snapshotChunk-1) {
		var ops []store.Op
		for _, chunk := range batch {
			ops = append(ops, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{Key: s.key(s.Chunks), Value: chunk, Version: store.NewVersion()}})
			s.Chunks++
		}
		if err := db.Apply(ctx, ops...); err != nil {
			return err
		}
	}
	return db.Apply(ctx, store.Op{Verb: store.Put, Expect: version, Item: store.Item{Key: snapshotHead, Value: encode(s), Version: store.NewVersion()}})
}

// readHead returns the head and its version, which is store.Absent when there is none.
func readHead(ctx context.Context, db store.DB) (s snapshot, version string, err error) {
	it, err := db.Get(ctx, snapshotHead)
	if errors.Is(err, coffer.ErrNotFound) {
		return s, store.Absent, nil
	}
	if err != nil {
		return s, "", err
	}
	if json.Unmarshal(it.Value, &s) != nil {
		s = snapshot{}
	}
	return s, it.Version, nil
}

// loadSnapshot returns the table of the last snapshot; an error when there is none that is whole.
func loadSnapshot(ctx context.Context, db store.DB) (*table, time.Time, error) {
	s, version, err := readHead(ctx, db)
	if err != nil {
		return nil, time.Time{}, err
	}
	if version == store.Absent || s.Format != snapshotFormat {
		return nil, time.Time{}, fmt.Errorf("snapshot: %w", coffer.ErrNotFound)
	}
	chunks := make([][]byte, s.Chunks)
	numbers := make([]int, s.Chunks)
	for i := range numbers {
		numbers[i] = i
	}
	if err := each(numbers, func(i int) error {
		it, err := db.Get(ctx, s.key(i))
		chunks[i] = it.Value
		return err
	}); err != nil {
		return nil, time.Time{}, fmt.Errorf("snapshot: %w", err)
	}
	b := bytes.Join(chunks, nil)
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:], s.SHA256) {
		return nil, time.Time{}, fmt.Errorf("snapshot: %w", coffer.ErrCorrupt)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, time.Time{}, err
	}
	defer dec.Close()
	if b, err = dec.DecodeAll(b, nil); err != nil {
		return nil, time.Time{}, fmt.Errorf("snapshot: %w", coffer.ErrCorrupt)
	}
	t, err := decodeTable(b)
	return t, s.AsOf, err
}

// encode returns the columns of the table.
func (t *table) encode() []byte {
	var b []byte
	number := func(n uint64) { b = binary.AppendUvarint(b, n) }
	texts := func(ss []string) {
		number(uint64(len(ss)))
		for _, s := range ss {
			number(uint64(len(s)))
		}
		for _, s := range ss {
			b = append(b, s...)
		}
	}
	numbers := func(ns []uint32) {
		number(uint64(len(ns)))
		for _, n := range ns {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
	}
	times := func(ns []int64) {
		for _, n := range ns {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
	}
	column := func(c *column) {
		texts(c.values)
		numbers(c.of)
		if c.setCodes != nil {
			number(uint64(len(c.sets)))
			for _, set := range c.sets {
				numbers(set)
			}
		}
	}
	texts(t.ids)
	texts(t.keys)
	texts(t.versions)
	texts(t.rescans)
	times(t.created)
	times(t.received)
	times(t.updated)
	times(t.judged)
	for row := range t.ids {
		number(uint64(t.count[row]))
		number(uint64(t.sealed[row]))
		number(uint64(t.severity[row]))
		number(t.revision[row])
	}
	column(t.types)
	column(t.reasons)
	for _, name := range slices.Sorted(maps.Keys(t.columns)) {
		column(t.columns[name])
	}
	return b
}

// reader takes columns apart. After the first thing that cannot be it reads nothing more.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// length reads how many things of at least so many bytes follow.
func (r *reader) length(size int) int {
	n := r.number()
	if n > uint64(len(r.rest)/size) {
		r.bad, r.rest = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// texts reads texts that share one piece of memory.
func (r *reader) texts() []string {
	lengths := make([]int, r.length(1))
	total := 0
	for i := range lengths {
		lengths[i] = r.length(1)
		total += lengths[i]
	}
	all := string(r.take(total))
	out := make([]string, len(lengths))
	if r.bad {
		return out
	}
	for i, n := range lengths {
		out[i], all = all[:n], all[n:]
	}
	return out
}

func (r *reader) numbers(below int) []uint32 {
	out := make([]uint32, r.length(4))
	b := r.take(4 * len(out))
	if r.bad {
		return nil
	}
	for i := range out {
		if out[i] = binary.LittleEndian.Uint32(b[4*i:]); uint64(out[i]) >= uint64(below) {
			r.bad = true
		}
	}
	return out
}

func (r *reader) times(n int) []int64 {
	b := r.take(8 * n)
	if r.bad {
		return nil
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return out
}

func (r *reader) column(c *column, rows int) {
	c.values = r.texts()
	for code, v := range c.values {
		c.codes[v] = uint32(code)
	}
	several := c.setCodes != nil
	below := len(c.values)
	if several {
		below = math.MaxUint32
	}
	c.of = r.numbers(below)
	if several {
		c.sets = make([][]uint32, r.length(1))
		for i := range c.sets {
			c.sets[i] = r.numbers(len(c.values))
			var name []byte
			for _, m := range c.sets[i] {
				name = binary.LittleEndian.AppendUint32(name, m)
			}
			c.setCodes[string(name)] = uint32(i)
		}
	}
	if r.bad || len(c.of) != rows || several && slices.ContainsFunc(c.of, func(n uint32) bool { return int(n) >= len(c.sets) }) {
		r.bad = true
		return
	}
	if c.bits == nil {
		return
	}
	byValue := make([][]uint32, len(c.values))
	for row := range c.of {
		for _, m := range c.members(uint32(row)) {
			byValue[m] = append(byValue[m], uint32(row))
		}
	}
	for _, rows := range byValue {
		bm := roaring.New()
		bm.AddMany(rows)
		c.bits = append(c.bits, bm)
	}
}

// decodeTable reads what encode wrote. Its error wraps coffer.ErrCorrupt.
func decodeTable(b []byte) (*table, error) {
	t := newTable()
	r := &reader{rest: b}
	t.ids, t.keys, t.versions, t.rescans = r.texts(), r.texts(), r.texts(), r.texts()
	n := len(t.ids)
	t.created, t.received, t.updated, t.judged = r.times(n), r.times(n), r.times(n), r.times(n)
	for range n {
		t.count, t.sealed = append(t.count, int32(r.number())), append(t.sealed, int32(r.number()))
		t.severity, t.revision = append(t.severity, int8(r.number())), append(t.revision, r.number())
		if r.bad {
			break
		}
	}
	r.column(t.types, n)
	r.column(t.reasons, n)
	for _, name := range slices.Sorted(maps.Keys(t.columns)) {
		r.column(t.columns[name], n)
	}
	if r.bad || len(r.rest) > 0 || len(t.keys) != n || len(t.versions) != n || len(t.rescans) != n {
		return nil, fmt.Errorf("snapshot: %w", coffer.ErrCorrupt)
	}
	t.rows = make(map[string]uint32, n)
	t.folded, t.object = make([]string, n), make([]uint32, n)
	for row, id := range t.ids {
		t.rows[id] = uint32(row)
		if t.folded[row] = fold(t.keys[row]); t.folded[row] == t.keys[row] {
			t.folded[row] = t.keys[row]
		}
		t.number(uint32(row))
	}
	if len(t.rows) != n {
		return nil, fmt.Errorf("snapshot: %w", coffer.ErrCorrupt)
	}
	return t, nil
}
