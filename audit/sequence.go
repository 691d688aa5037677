package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"coffer"
	"coffer/store"
)

const (
	// interval is the time between two rounds of Run: within it a recorded entry is under a signed checkpoint.
	interval = time.Second
	// leaseFor is how long a process that sequences keeps others from it. It only avoids work done twice: what keeps the order one
	// is that every step replaces the version of the head that it read.
	leaseFor = 10 * time.Second
	// idleFor is how old the last entry of a chain is when the chain is ended, so that the list of live writers stays short. A
	// writer that is alive after all goes on in a new chain.
	idleFor = time.Hour

	stepEntries = 1024    // entries in one step
	stepBytes   = 8 << 20 // and their bytes, about
	stepWriters = 64      // and their writers
)

// head is the value of the item "head": how far the log is sequenced, and the lease.
type head struct {
	Size  int64     `json:"size"`
	Root  tlog.Hash `json:"root"`
	Epoch int64     `json:"epoch"` // grows with every change of the holder
	Owner string    `json:"owner,omitempty"`
	Until time.Time `json:"until"` // end of the lease; zero: free
}

// heldByOther reports whether another process sequences now. A lease that ends later than any lease can, by this process's clock,
// is one from before the clock was set back.
func (h head) heldByOther(owner string, now time.Time) bool {
	return h.Owner != owner && now.Before(h.Until) && h.Until.Sub(now) <= 2*leaseFor
}

// taken returns h with the lease taken or renewed by owner.
func (h head) taken(owner string, now time.Time) head {
	if h.Owner != owner {
		h.Owner = owner
		h.Epoch++
	}
	h.Until = now.Add(leaseFor)
	return h
}

// cursor is the value of an item of the live writers: how far the writer's chain is sequenced.
type cursor struct {
	Seq  uint64    `json:"seq"`
	Head tlog.Hash `json:"head"`
	Time time.Time `json:"time"`
}

func (c cursor) encode() []byte {
	b, _ := json.Marshal(c) // cannot fail: numbers, a hash and a time from an entry
	return b
}

// run is a stretch of a writer's chain that became consecutive leaves.
type run struct {
	Writer string `json:"w"`
	First  uint64 `json:"s"`
	Count  int64  `json:"n"`
}

// sequencer puts the entries of all chains into one order. The order is decided in the store, by replacing the head; the files
// follow from it, so that whoever writes them, however often, writes the same bytes.
type sequencer struct {
	db      store.DB
	now     func() time.Time
	files   Files
	key     *Key
	anchors []string
	owner   string

	mu       sync.Mutex
	edge     *edge // of the tree in the files; nil: not known
	anchored int64 // size that all anchors have plus one; 0: not known
	// verified is the checkpoint whose signature was verified last, and what it says.
	verified   []byte
	checkpoint Checkpoint
}

// Sequence puts all entries that no process has sequenced yet, of all writers, dead ones included, into the Merkle log, and
// signs a checkpoint over them. It returns nil without having done so when another process is at it, or has the key. Errors do not touch
// what was recorded; the next call goes on where this one ended. An error wrapping [coffer.ErrCorrupt] says that store and
// files contradict each other or themselves, which [Verify] can name.
func (l *Log) Sequence(ctx context.Context) error {
	if err := l.sequencer.sequence(ctx, true); err != nil {
		return fmt.Errorf("sequencing the audit log: %w", err)
	}
	return nil
}

// Run writes what [Log.Later] holds and sequences, every second until ctx ends and then once more. Failures are logged and
// tried again; Run itself returns nil.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
		round, cancel := context.WithTimeout(context.WithoutCancel(ctx), 6*callTimeout)
		if err := l.flush(round); err != nil {
			l.log.Error("audit entries cannot be written", "error", err)
		}
		if err := l.sequencer.sequence(round, done); err != nil {
			l.log.Error("the audit log cannot be sequenced", "error", err)
		}
		cancel()
	}
	return nil
}

// sequence makes steps until there is nothing left. With release set it then gives up the lease, and looks once more: an entry
// whose writer found the lease held in the meantime is not left behind.
func (s *sequencer) sequence(ctx context.Context, release bool) error {
	if s.key.signer == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var broken error
	for lost := 0; ; {
		more, err := s.step(ctx, release, &broken)
		switch {
		case errors.Is(err, coffer.ErrConflict) && lost < 8:
			lost++ // another process was first
			s.edge = nil
		case err != nil:
			s.edge = nil
			return err
		case !more:
			return broken
		}
	}
}

// step sequences one batch and reports whether another step may find more.
func (s *sequencer) step(ctx context.Context, release bool, broken *error) (more bool, err error) {
	h, version, err := readHead(ctx, s.db)
	if err != nil {
		return false, err
	}
	now := s.now().UTC()
	if h.heldByOther(s.owner, now) {
		return false, nil
	}
	if h, version, err = s.catchUp(ctx, h, version); err != nil {
		if errors.Is(err, coffer.ErrCorrupt) {
			// Another process may have replaced the head, and then files, after this one read the head.
			if _, current, rerr := readHead(ctx, s.db); rerr == nil && current != version {
				return false, fmt.Errorf("the audit log was sequenced meanwhile: %w", coffer.ErrConflict)
			}
		}
		return false, err
	}
	if err := s.anchorAll(); err != nil {
		return false, err
	}
	batch, err := s.collect(ctx, now, broken)
	if err != nil {
		return false, err
	}
	if len(batch.leaves) == 0 {
		if len(batch.ops) > 0 { // chains that have ended
			if err := s.db.Apply(ctx, batch.ops...); err != nil {
				return false, err
			}
			return true, nil
		}
		if !release || h.Owner != s.owner || h.Until.IsZero() {
			return false, nil
		}
		h.Until = time.Time{}
		op, err := headOp(h, version)
		if err != nil {
			return false, err
		}
		return true, s.db.Apply(ctx, op)
	}

	first := s.edge.size
	for _, leaf := range batch.leaves {
		s.edge.append(leaf.bytes)
	}
	next := h.taken(s.owner, now)
	next.Size, next.Root = s.edge.size, s.edge.root()
	op, err := headOp(next, version)
	if err != nil {
		return false, err
	}
	runs, err := json.Marshal(batch.runs())
	if err != nil {
		return false, err
	}
	ops := append(batch.ops, op, store.Op{
		Verb:   store.Put,
		Item:   store.Item{Key: store.Key{Part: partOrder, Sort: number(uint64(first))}, Value: runs, Version: rand.Text()},
		Expect: store.Absent,
	})
	if err = s.db.Apply(ctx, ops...); err != nil && !definite(err) {
		err = s.db.Apply(ctx, ops...) // an acknowledgement may have been lost; the versions are the same
	}
	if err != nil {
		return false, err
	}
	if err := s.publish(ctx, op.Item.Version); err != nil {
		return false, err
	}
	return true, s.anchorAll()
}

// publish writes the files for the edge and, when all of them are durable, the checkpoint. The tiles of one size are the same
// whoever writes them, but a process that was stopped for longer than its lease must not put an old checkpoint over a new one:
// the head must still have the version under which this process took it.
func (s *sequencer) publish(ctx context.Context, version string) error {
	if err := writeFiles(s.files, s.edge.take()); err != nil {
		return err
	}
	_, current, err := readHead(ctx, s.db)
	if err != nil {
		return err
	}
	if current != version {
		return fmt.Errorf("the lease of the audit log is lost: %w", coffer.ErrConflict)
	}
	cp, err := s.key.sign(s.edge.size, s.edge.root())
	if err != nil {
		return err
	}
	if err := s.files.Put(checkpointFile, cp); err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	for _, p := range s.edge.full { // partial tiles stay until a full one has replaced them, as tlog-tiles asks
		s.files.Prune(p)
	}
	s.edge.full = nil
	return nil
}

// anchorAll gives every anchor the current checkpoint, once.
func (s *sequencer) anchorAll() error {
	if s.edge.size == 0 || s.anchored == s.edge.size+1 {
		return nil
	}
	cp, err := readBounded(s.files, checkpointFile, maxCheckpoint)
	if err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	var first error
	for _, path := range s.anchors {
		if err := anchor(path, cp); err != nil && first == nil {
			first = err
		}
	}
	if first == nil {
		s.anchored = s.edge.size + 1
	}
	return first
}

// catchUp brings the files to where the head is: a process may have died between the two. It checks what it finds, and leaves
// s.edge at the head's size.
func (s *sequencer) catchUp(ctx context.Context, h head, version string) (head, string, error) {
	dir := s.files
	var cp Checkpoint
	msg, err := readBounded(dir, checkpointFile, maxCheckpoint)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a new log, or one whose files are to be made again
		cp.Root = (&edge{}).root()
	case err != nil:
		return h, version, fmt.Errorf("reading the checkpoint: %w", err)
	case bytes.Equal(msg, s.verified):
		cp = s.checkpoint
	default:
		if cp, err = openCheckpoint(msg, s.key.verifier); err != nil {
			return h, version, err
		}
		s.verified, s.checkpoint = msg, cp
	}
	if cp.Size > h.Size {
		return h, version, fmt.Errorf("the checkpoint is over %d entries, the store knows of %d; an old store was put back: %w", cp.Size, h.Size, coffer.ErrCorrupt)
	}
	if s.edge == nil || s.edge.size != cp.Size {
		if s.edge, err = loadEdge(dir, cp); err != nil {
			return h, version, fmt.Errorf("reading the tiles: %w", err)
		}
	}
	if cp.Size < h.Size {
		// Only the holder of the lease writes files.
		next := h.taken(s.owner, s.now().UTC())
		op, err := headOp(next, version)
		if err != nil {
			return h, version, err
		}
		if err := s.db.Apply(ctx, op); err != nil {
			return h, version, err
		}
		h, version = next, op.Item.Version
		if err := s.replay(ctx, h.Size); err != nil {
			return h, version, err
		}
	}
	if h.Size > 0 && s.edge.root() != h.Root {
		return h, version, fmt.Errorf("tiles and store have different roots at %d entries: %w", h.Size, coffer.ErrCorrupt)
	}
	if cp.Size < h.Size {
		if err := s.publish(ctx, version); err != nil {
			return h, version, err
		}
	}
	return h, version, nil
}

// replay appends to the edge the entries that the store says follow, up to size.
func (s *sequencer) replay(ctx context.Context, size int64) error {
	for it, err := range s.db.Query(ctx, partOrder, store.Range{From: number(uint64(s.edge.size))}) {
		if err != nil {
			return err
		}
		if it.Key.Sort != number(uint64(s.edge.size)) {
			return fmt.Errorf("the order of the entries from %d on is missing: %w", s.edge.size, coffer.ErrCorrupt)
		}
		for leaf, err := range orderedLeaves(ctx, s.db, it.Value) {
			if err != nil {
				return err
			}
			s.edge.append(leaf)
		}
		if err := writeFiles(s.files, s.edge.take()); err != nil {
			return err
		}
		if s.edge.size >= size {
			break
		}
	}
	if s.edge.size != size {
		return fmt.Errorf("the store orders %d entries and counts %d: %w", s.edge.size, size, coffer.ErrCorrupt)
	}
	return nil
}

// batch is what one step sequences.
type batch struct {
	leaves []leaf
	ops    []store.Op
}

type leaf struct {
	writer string
	seq    uint64
	time   time.Time
	bytes  []byte
}

// runs describes the order of the leaves.
func (b *batch) runs() []run {
	var runs []run
	for _, l := range b.leaves {
		if n := len(runs); n > 0 && runs[n-1].Writer == l.writer && runs[n-1].First+uint64(runs[n-1].Count) == l.seq {
			runs[n-1].Count++
			continue
		}
		runs = append(runs, run{l.writer, l.seq, 1})
	}
	return runs
}

// collect reads what the live writers have written since their cursors, in order of time as far as it can be known, with the
// operations that move the cursors. A chain that is broken is left out, and reported in broken: it must not keep the others'
// entries from being sequenced.
func (s *sequencer) collect(ctx context.Context, now time.Time, broken *error) (*batch, error) {
	b := &batch{}
	entries, size := 0, 0
	for it, err := range s.db.Query(ctx, partLive, store.Range{}) {
		if err != nil {
			return nil, err
		}
		if entries >= stepEntries || size >= stepBytes || len(b.ops) >= stepWriters {
			break
		}
		var cur cursor
		if err := json.Unmarshal(it.Value, &cur); err != nil {
			*broken = fmt.Errorf("cursor of a writer: %w", coffer.ErrCorrupt)
			continue
		}
		writer, was, fenced := it.Key.Sort, cur, false
		leaves, err := s.chain(ctx, writer, &cur, &fenced, stepEntries-entries, stepBytes-size)
		if errors.Is(err, coffer.ErrCorrupt) {
			*broken = err
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, l := range leaves {
			size += len(l.bytes)
		}
		entries += len(leaves)
		b.leaves = append(b.leaves, leaves...)
		switch {
		case fenced:
			b.ops = append(b.ops, store.Op{Verb: store.Delete, Item: store.Item{Key: it.Key}, Expect: it.Version})
		case cur.Seq != was.Seq:
			b.ops = append(b.ops, store.Op{Verb: store.Put, Item: store.Item{Key: it.Key, Value: cur.encode(), Version: rand.Text()}, Expect: it.Version})
		case now.Sub(cur.Time) > idleFor:
			// An entry that the store lost at the end of a block looks like the end of the chain.
			beyond, err := s.beyond(ctx, writer, cur.Seq+1)
			if err != nil {
				return nil, err
			}
			if beyond {
				*broken = fmt.Errorf("entry %s is missing: %w", Ref{writer, cur.Seq + 1}, coffer.ErrCorrupt)
				continue
			}
			b.ops = append(b.ops, fenceOp(Ref{writer, cur.Seq + 1}),
				store.Op{Verb: store.Delete, Item: store.Item{Key: it.Key}, Expect: it.Version})
		}
	}
	slices.SortStableFunc(b.leaves, func(x, y leaf) int { return cmp.Or(x.time.Compare(y.time), cmp.Compare(x.writer, y.writer)) })
	return b, nil
}

// chain reads the entries behind a cursor, moves it, and says whether a fence follows.
func (s *sequencer) chain(ctx context.Context, writer string, cur *cursor, fenced *bool, most, bytes int) ([]leaf, error) {
	var leaves []leaf
	for is, err := range links(ctx, s.db, writer, cur.Seq+1, 0) {
		if err != nil {
			return nil, err
		}
		ref := Ref{writer, cur.Seq + 1}
		if is.seq != ref.Seq {
			return nil, fmt.Errorf("entry %s is missing: %w", ref, coffer.ErrCorrupt)
		}
		if isFence(is.leaf) {
			*fenced = true
			break
		}
		// A cursor stands at the end of an item, so that the next one need not be looked for.
		if is.first && (most <= 0 || bytes <= 0) {
			break
		}
		e, err := Decode(is.leaf)
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", ref, err)
		}
		if e.Ref() != ref || e.Prev != cur.Head || e.Time.Before(cur.Time) {
			return nil, fmt.Errorf("entry %s does not continue its chain: %w", ref, coffer.ErrCorrupt)
		}
		*cur = cursor{Seq: ref.Seq, Head: tlog.RecordHash(is.leaf), Time: e.Time}
		leaves = append(leaves, leaf{writer, ref.Seq, e.Time, is.leaf})
		most--
		bytes -= len(is.leaf)
	}
	return leaves, nil
}

// beyond reports whether the chain has anything in the block behind that of number seq.
func (s *sequencer) beyond(ctx context.Context, writer string, seq uint64) (bool, error) {
	for _, err := range s.db.Query(ctx, entryPart(writer, (seq-1)/block+1), store.Range{}) {
		return err == nil, err
	}
	return false, nil
}

// orderedLeaves yields the entries that an item of the order names.
func orderedLeaves(ctx context.Context, db store.DB, order []byte) func(yield func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		var runs []run
		if err := json.Unmarshal(order, &runs); err != nil {
			yield(nil, fmt.Errorf("order of the entries: %w", coffer.ErrCorrupt))
			return
		}
		for _, r := range runs {
			next, last := r.First, r.First+uint64(r.Count)
			first, err := itemOf(ctx, db, Ref{r.Writer, r.First})
			if err != nil {
				yield(nil, err)
				return
			}
			for is, err := range links(ctx, db, r.Writer, first, last) {
				if err == nil && is.seq < next {
					continue
				}
				if err == nil && is.seq != next {
					break
				}
				if !yield(is.leaf, err) || err != nil {
					return
				}
				next++
			}
			if next != last {
				yield(nil, fmt.Errorf("entry %s is missing in the store: %w", Ref{r.Writer, next}, coffer.ErrCorrupt))
				return
			}
		}
	}
}

var headKey = store.Key{Part: partState, Sort: "head"}

// readHead reads the head and its version; a log that was never sequenced has a zero head without a version.
func readHead(ctx context.Context, db store.DB) (head, string, error) {
	it, err := db.Get(ctx, headKey)
	if errors.Is(err, coffer.ErrNotFound) {
		return head{}, store.Absent, nil
	}
	if err != nil {
		return head{}, "", err
	}
	var h head
	dec := json.NewDecoder(bytes.NewReader(it.Value))
	if err := dec.Decode(&h); err != nil || h.Size < 0 {
		return head{}, "", fmt.Errorf("head of the audit log: %w", coffer.ErrCorrupt)
	}
	return h, it.Version, nil
}

func headOp(h head, expect string) (store.Op, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return store.Op{}, fmt.Errorf("head of the audit log: %w", err)
	}
	return store.Op{Verb: store.Put, Item: store.Item{Key: headKey, Value: b, Version: rand.Text()}, Expect: expect}, nil
}
