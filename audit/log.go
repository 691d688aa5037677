// Package audit is the append-only, verifiable log of who did what to which record, when, why and under which policy.
//
// # How an entry becomes durable
//
// An entry is first an item of the store, written in the same Apply as the change it reports: either both are there or neither
// is. The entries of one run of the program form a chain of their own, the writer's, in which each holds the hash of the one
// before; there is no head that writers would have to share. See [Log.Apply].
//
// One process at a time then puts the entries of all chains into one order, as the leaves of a Merkle log in the tlog-tiles
// layout (https://c2sp.org/tlog-tiles) with a signed checkpoint (https://c2sp.org/tlog-checkpoint), plain files that can be
// verified without this program. See [Log.Sequence] and docs/format-log.md.
//
// # How code is kept from going round it
//
// An [Entry] can be made from a [Permit] alone, and a Permit comes from [Guard.Check] alone, which asks the policy and
// records a denial before it returns it. A permitted act is recorded by the package that performs it: with the change, or as an
// Intent before and a result after.
//
// # Trust
//
// The store is trusted to keep what it acknowledged; its items are sealed by package store. The folder with the tiles is not
// trusted at all: [Verify] finds every change but one. Whoever holds the signing key can rewrite what came after the last
// checkpoint that somebody else keeps, which is what anchors and the checkpoints on auditors' machines are for.
package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"coffer"
	"coffer/access"
	"coffer/store"
)

// MaxOps is the number of operations that can accompany an entry: what a store takes in one Apply less the entry itself, the
// registration of its writer and the name of its actor.
const MaxOps = store.MaxOps - 3

const (
	// callTimeout bounds one call of the store, so that a store that hangs becomes a store that fails.
	callTimeout = 5 * time.Second
	// laterDelay is how long an entry given to Later may wait.
	laterDelay = 500 * time.Millisecond
	// laterMax is how many of them are written at once at most: so many that they fit into one Apply however long they are.
	laterMax = 56
)

// Config says where a log is and what it needs. All fields but Anchors and Logger are required.
type Config struct {
	DB    store.DB
	Files Files // the tiles and the checkpoint
	Key   *Key  // with its public half alone the log is recorded and read, and another process brings it into order
	// Anchors are files to which every new checkpoint is appended, best where the writer of the log cannot rewrite them.
	Anchors []string
	Now     func() time.Time
	// Scrub returns a note with everything that the detectors find in it replaced. It may write into its argument.
	Scrub  func(note []byte) []byte
	Logger *slog.Logger // for what Run meets; nil: nowhere
}

// Log is the log of one installation, open for writing. Several processes may have the same log open. All methods may be called
// concurrently.
type Log struct {
	db    store.DB
	now   func() time.Time
	scrub func([]byte) []byte
	log   *slog.Logger

	mu       sync.Mutex // guards the four below
	pending  []*request
	closed   bool
	named    map[string]string // names written or seen by this process, by person
	deferred deferred

	turn  chan struct{} // held by the goroutine that commits; guards chain and doubt
	chain chain
	// doubt says that an Apply ended with neither success nor failure, so that it is not known where the chain ends.
	doubt bool

	sequencer sequencer
}

// chain is the end of a writer's chain.
type chain struct {
	writer     string
	seq        uint64    // of the last entry; 0: none yet
	head       tlog.Hash // of the last entry
	last       time.Time // of the last entry
	registered bool      // the writer is in the list of live writers
}

func newChain() chain {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return chain{writer: hex.EncodeToString(b[:])}
}

// request is one call of Apply or one batch of Later: entries and operations that happen together.
type request struct {
	lines []line
	ops   []store.Op
	names []name // of the actors, to be written
	own   bool   // ops are the log's own
	size  int    // bytes, at most
	refs  []Ref
	err   error
	done  chan struct{}
}

// line is an entry that is complete but for its place in the chain.
type line struct {
	permit *Permit
	tail   []byte // its encoding behind that place
}

// name writes a person's name.
type name struct {
	of access.Caller
	op store.Op
}

// Open opens the log. It writes nothing.
func Open(ctx context.Context, c Config) (*Log, error) {
	if c.DB == nil || c.Files == nil || c.Key == nil || c.Now == nil || c.Scrub == nil {
		return nil, fmt.Errorf("opening the audit log: incomplete configuration: %w", coffer.ErrInvalid)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	l := &Log{
		db: c.DB, now: c.Now, scrub: c.Scrub, log: c.Logger,
		named: make(map[string]string),
		turn:  make(chan struct{}, 1),
		chain: newChain(),
	}
	l.sequencer = sequencer{db: c.DB, now: c.Now, files: c.Files, key: c.Key, anchors: c.Anchors, owner: l.chain.writer}
	return l, nil
}

// Append records e by itself and returns its reference. When it returns nil the entry is durable. An error wrapping
// [coffer.ErrUnavailable] means that the act must not take place; the entry may or may not be there.
func (l *Log) Append(ctx context.Context, e Entry) (Ref, error) {
	ref, err := l.Apply(ctx, e)
	if err != nil && !errors.Is(err, coffer.ErrInvalid) && !errors.Is(err, coffer.ErrLimit) && !errors.Is(err, coffer.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
	}
	return ref, err
}

// Apply performs ops, at most [MaxOps], and records e, all or none, and returns e's reference. When it returns nil both are
// durable.
//
// Concurrent calls are merged into one Apply of the store when they fit; a conflict of one does not fail the others. After
// a lost acknowledgement Apply finds out what happened before it returns. Errors wrap
//
//   - [coffer.ErrConflict]: an expectation of ops failed; nothing was done;
//   - [coffer.ErrUnavailable]: nothing was done;
//   - [coffer.ErrInvalid], [coffer.ErrLimit]: e or ops are malformed or too large; nothing was done.
//
// Any other error leaves it open whether ops and e were done, both or neither; retry with the same versions. If ctx ends
// while the entry waits for its turn, nothing was done; once it is being written, Apply waits for the outcome, which the store's
// time limits bound.
func (l *Log) Apply(ctx context.Context, e Entry, ops ...store.Op) (Ref, error) {
	made, err := l.line(&e)
	if err != nil {
		return Ref{}, err
	}
	r := &request{lines: []line{made}, ops: ops}
	if err := l.do(ctx, r); err != nil {
		return Ref{}, err
	}
	return r.refs[0], nil
}

// do prepares r and waits until it is committed, committing itself when it is its turn.
func (l *Log) do(ctx context.Context, r *request) error {
	if err := l.prepare(ctx, r); err != nil {
		return err
	}
	r.done = make(chan struct{})
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return fmt.Errorf("the audit log is closed: %w", coffer.ErrUnavailable)
	}
	l.pending = append(l.pending, r)
	l.mu.Unlock()
	select {
	case <-r.done:
	case l.turn <- struct{}{}:
		// Whoever has the turn commits until its own request is done, then lets another waiter go on. While it commits, requests
		// gather for the next batch.
		for !r.finished() {
			l.commit(context.WithoutCancel(ctx), l.take())
		}
		<-l.turn
	case <-ctx.Done():
		if l.withdraw(r) {
			return fmt.Errorf("waiting for the audit log: %w", ctx.Err())
		}
		<-r.done
	}
	return r.err
}

func (r *request) finished() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

// prepare checks r and measures it, outside the turn.
func (l *Log) prepare(ctx context.Context, r *request) error {
	if len(r.ops) > MaxOps {
		return fmt.Errorf("%d operations with an audit entry, at most %d: %w", len(r.ops), MaxOps, coffer.ErrLimit)
	}
	for _, op := range r.ops {
		if p := op.Item.Key.Part; !r.own && (p == partState || p == partLive || p == partOrder || p == partPeople || strings.HasPrefix(p, partEntries)) {
			return fmt.Errorf("operation on the audit log's own items: %w", coffer.ErrInvalid)
		}
		r.size += len(op.Item.Key.Part) + len(op.Item.Key.Sort) + len(op.Item.Value)
	}
	for i, one := range r.lines {
		r.size += maxHead + len(one.tail) + 128
		who := one.permit.caller
		if r.own || slices.ContainsFunc(r.lines[:i], func(l line) bool { return l.permit.caller.ID == who.ID }) {
			continue
		}
		if op := l.nameOp(ctx, who); op != nil {
			r.names = append(r.names, name{who, *op})
		}
	}
	if r.size > store.MaxApplyBytes-1024 {
		return fmt.Errorf("%d bytes with an audit entry: %w", r.size, coffer.ErrLimit)
	}
	return nil
}

// line completes, scrubs, checks and encodes e.
func (l *Log) line(e *Entry) (line, error) {
	if err := l.complete(e); err != nil {
		return line{}, err
	}
	tail, err := e.tail()
	return line{e.permit, tail}, err
}

// complete fills in what the permit says, whatever the entry says, and checks the rest.
func (l *Log) complete(e *Entry) error {
	if e.permit != nil {
		e.permit.stamp(e)
		e.Note = e.permit.cleaned(l.scrub)
		e.Detail = l.circumstances(e.Detail, &e.permit.context)
	}
	e.Index = -1
	return e.check()
}

// circumstances returns detail with those circumstances of the act added that have no member of their own in an entry.
func (l *Log) circumstances(detail map[string]string, c *access.Context) map[string]string {
	var more map[string]string
	add := func(k, v string) {
		if v == "" {
			return
		}
		if more == nil {
			more = make(map[string]string, 8)
		}
		more[k] = v
	}
	// People paste values into fields of every kind.
	written := func(k, v string) {
		if v != "" && string(l.scrub([]byte(v))) != v {
			v = "[removed]"
		}
		add(k, v)
	}
	written("ticket", c.Ticket)
	written("purpose", c.Purpose)
	add("grant", c.Grant)
	add("session", c.Session)
	add("token", c.Token)
	if c.Network.IsValid() {
		add("network", c.Network.Unmap().WithZone("").String())
		add("networkClass", networkClass(c.Network))
	}
	if s := strings.Join(c.Approvers, ","); len(s) <= maxID {
		add("approvers", s)
	} else {
		add("approvers", strconv.Itoa(len(c.Approvers)))
	}
	if c.BreakGlass {
		add("breakGlass", "true")
	}
	if more == nil {
		return detail
	}
	maps.Copy(more, detail)
	return more
}

// networkClass says from how far a request came, so that entries can be chosen by it without knowledge of the addresses in use.
func networkClass(a netip.Addr) string {
	switch a = a.Unmap(); {
	case a.IsLoopback():
		return "loopback"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsPrivate():
		return "private"
	}
	return "public"
}

// withdraw takes r back if nobody has begun to commit it.
func (l *Log) withdraw(r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.pending, r)
	if i < 0 {
		return false
	}
	l.pending = slices.Delete(l.pending, i, i+1)
	return true
}

// take removes from the pending requests the longest beginning that fits into one Apply and names no key twice.
func (l *Log) take() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := make(map[store.Key]bool)
	size, ops, lines, n := 1024, 1, 0, 0 // the registration of the writer
	for _, r := range l.pending {
		size += r.size
		ops += len(r.ops) + len(r.names)
		lines += len(r.lines)
		// Of items with entries any two that follow each other are together longer than one may be, but for those at the end of a block,
		// of which there is one at most.
		items := min(lines, 2*size/itemBytes+3)
		if n > 0 && (size > store.MaxApplyBytes || ops+items > store.MaxOps || lines > block) {
			break
		}
		twice := false
		for _, op := range r.ops {
			twice = twice || keys[op.Item.Key]
		}
		// The log's own operations may touch what the names of other requests do.
		twice = twice || r.own || n == 1 && l.pending[0].own
		if n > 0 && twice {
			break
		}
		for _, op := range r.ops {
			keys[op.Item.Key] = true
		}
		n++
	}
	batch := slices.Clone(l.pending[:n])
	l.pending = slices.Delete(l.pending, 0, n)
	return batch
}

// commit writes a batch and finishes its requests. The caller has the turn.
func (l *Log) commit(ctx context.Context, batch []*request) {
	fail := func(err error) {
		for _, r := range batch {
			r.finish(err)
		}
	}
	// Another round follows only when the chain was found ended, by a fence. More than a few mean that somebody else writes on it.
	for range 4 {
		if l.doubt {
			if _, err := l.settle(ctx, "", true); err != nil {
				fail(fmt.Errorf("the audit log cannot be written: %w: %w", coffer.ErrUnavailable, err))
				return
			}
		}
		ops, next, refs := l.build(batch)
		var err error
		sure := true // no attempt can still take effect
		for range 2 {
			if err = l.call(ctx, ops); err == nil || definite(err) {
				break
			}
			sure = false
		}
		ours := err == nil
		if ours {
			l.chain = next
		} else {
			was := l.chain
			l.doubt = !sure
			var serr error
			ours, serr = l.settle(ctx, ops[0].Item.Version, !sure)
			switch {
			case serr != nil && !sure:
				fail(fmt.Errorf("whether it was recorded is not known: %w", err))
				return
			case ours:
			case serr == nil && definite(err) && l.chain != was:
				continue
			case definite(err) && len(batch) > 1:
				for _, r := range batch {
					l.commit(ctx, []*request{r})
				}
				return
			case definite(err):
				fail(err)
				return
			default:
				fail(fmt.Errorf("the audit log cannot be written: %w: %w", coffer.ErrUnavailable, err))
				return
			}
		}
		for _, r := range batch {
			r.refs, refs = refs[:len(r.lines):len(r.lines)], refs[len(r.lines):]
			for _, n := range r.names {
				l.remember(n.of)
			}
		}
		fail(nil)
		return
	}
	fail(fmt.Errorf("somebody else writes the audit chain of this process: %w", coffer.ErrCorrupt))
}

// definite reports whether err says that nothing was done and nothing will be.
func definite(err error) bool {
	return errors.Is(err, coffer.ErrConflict) || errors.Is(err, coffer.ErrInvalid) || errors.Is(err, coffer.ErrLimit)
}

// call applies ops within the time limit.
func (l *Log) call(ctx context.Context, ops []store.Op) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return l.db.Apply(ctx, ops...)
}

// build makes the operations for a batch, its first entry first, and the chain as it will be after them. Entries that follow each other share an
// item: one write, one seal and one read for all of them.
func (l *Log) build(batch []*request) (ops []store.Op, next chain, refs []Ref) {
	next = l.chain
	var first Ref // of the item that is being filled; zero: none is
	var value []byte
	end := func() {
		if !first.IsZero() {
			ops = append(ops, store.Op{Verb: store.Put, Item: entryItem(first, value, next.head), Expect: store.Absent})
		}
		first, value = Ref{}, nil
	}
	room := 0
	for _, r := range batch {
		room += r.size
	}
	for _, r := range batch {
		for _, one := range r.lines {
			now := l.now().UTC().Truncate(time.Microsecond)
			p := place{time: now, writer: next.writer, seq: next.seq + 1, prev: next.head}
			if now.Before(next.last) {
				p.clockBack = next.last.Sub(now).Microseconds()
				p.time = next.last
			}
			if next.seq%block == 0 || len(value)+1+maxHead+len(one.tail) > itemBytes {
				end()
			}
			if first.IsZero() {
				first, value = Ref{p.writer, p.seq}, make([]byte, 0, min(itemBytes, room))
			} else {
				value = append(value, '\n')
			}
			at := len(value)
			value = p.append(value)
			value = append(value, one.tail...)
			room -= len(value) - at
			next.seq, next.head, next.last = p.seq, tlog.RecordHash(value[at:]), p.time
			refs = append(refs, Ref{p.writer, p.seq})
		}
	}
	end()
	names := make(map[string]bool)
	for _, r := range batch {
		ops = append(ops, r.ops...)
		for _, n := range r.names {
			if k := n.op.Item.Key.Sort; !names[k] {
				names[k] = true
				ops = append(ops, n.op)
			}
		}
	}
	if !next.registered {
		next.registered = true
		ops = append(ops, store.Op{
			Verb:   store.Put,
			Item:   store.Item{Key: store.Key{Part: partLive, Sort: next.writer}, Value: cursor{}.encode(), Version: next.writer},
			Expect: store.Absent,
		})
	}
	return ops, next, refs
}

// settle finds the end of the chain in the store after an Apply that failed, and reports whether the entry with the given version
// is on it. With stop set an Apply may still be on its way: when nothing stands at the next number, settle puts a fence there, so
// that it can no longer happen, and a new chain begins. The caller has the turn.
func (l *Log) settle(ctx context.Context, version string, stop bool) (ours bool, err error) {
	for {
		ref := Ref{l.chain.writer, l.chain.seq + 1}
		get, cancel := context.WithTimeout(ctx, callTimeout)
		it, err := l.db.Get(get, entryKey(ref))
		cancel()
		switch {
		case errors.Is(err, coffer.ErrNotFound):
			if ours || !stop {
				l.doubt = false
				return ours, nil
			}
			err = l.call(ctx, []store.Op{fenceOp(ref)})
			if errors.Is(err, coffer.ErrConflict) {
				continue
			}
			if err != nil {
				return false, err
			}
			l.chain = chain{writer: newChain().writer, last: l.chain.last}
			l.doubt = false
			return false, nil
		case err != nil:
			return false, err
		}
		if isFence(it.Value) {
			l.chain = chain{writer: newChain().writer, last: l.chain.last}
			l.doubt = false
			return ours, nil
		}
		next := l.chain
		for leaf := range leavesOf(it.Value) {
			e, err := Decode(leaf)
			if err != nil {
				return false, err
			}
			if e.Ref() != (Ref{next.writer, next.seq + 1}) || e.Prev != next.head {
				return false, fmt.Errorf("entry %s does not continue its chain: %w", Ref{next.writer, next.seq + 1}, coffer.ErrCorrupt)
			}
			next.seq, next.head, next.last, next.registered = e.Seq, tlog.RecordHash(leaf), e.Time, true
		}
		ours = ours || version != "" && it.Version == version
		l.chain = next
	}
}

// Items of the store. The log owns these parts.
const (
	partState   = "audit"        // "head": how far the log is sequenced, and the lease
	partLive    = "audit/live"   // a writer's id -> how far its chain is sequenced; writers that may have more to come
	partOrder   = "audit/order"  // number of the first leaf -> which entries became the leaves from there on
	partEntries = "audit/entry/" // + writer's id + "/" + block: number in the chain -> the entry, and those that were written with it
	partPeople  = "people"       // pseudonymous id -> name
)

// block is the number of entries of a chain that share a part. A busy writer thus goes from part to part, and none of them is
// written more often than this: a table that spreads its load by parts (DynamoDB) meets no hot one.
const block = 256

// itemBytes bounds the entries that share an item, unless it is one.
const itemBytes = 64 << 10

func entryKey(r Ref) store.Key {
	return store.Key{Part: entryPart(r.Writer, (r.Seq-1)/block), Sort: number(r.Seq)}
}

func entryPart(writer string, n uint64) string {
	return partEntries + writer + "/" + strconv.FormatUint(n, 10)
}

// link is what stands at one number of a chain.
type link struct {
	seq   uint64
	leaf  []byte // the entry, or the fence
	first bool   // it begins an item
}

// links yields the links of a writer's chain from number first on, which begins an item, before number end if that is not 0. Behind a
// missing one it yields the others of its block and stops.
func links(ctx context.Context, db store.DB, writer string, first, end uint64) iter.Seq2[link, error] {
	return func(yield func(link, error) bool) {
		r := store.Range{}
		if end != 0 {
			r.To = number(end)
		}
		for next := first; end == 0 || next < end; {
			n := (next - 1) / block
			r.From = number(next)
			for it, err := range db.Query(ctx, entryPart(writer, n), r) {
				if err != nil {
					yield(link{}, err)
					return
				}
				seq, err := strconv.ParseUint(it.Key.Sort, 10, 64)
				if err != nil || number(seq) != it.Key.Sort {
					yield(link{}, fmt.Errorf("number of an entry: %w", coffer.ErrCorrupt))
					return
				}
				begins := true
				for leaf := range leavesOf(it.Value) {
					if end != 0 && seq >= end {
						return
					}
					if !yield(link{seq, leaf, begins}, nil) {
						return
					}
					if begins = false; seq == next {
						next++
					}
					seq++
				}
			}
			if (next-1)/block == n {
				return // the block goes on no further
			}
		}
	}
}

// itemOf returns the number of the first of the entries with which r shares an item.
func itemOf(ctx context.Context, db store.DB, r Ref) (uint64, error) {
	for it, err := range db.Query(ctx, entryPart(r.Writer, (r.Seq-1)/block), store.Range{To: number(r.Seq + 1), Reverse: true}) {
		if err != nil {
			return 0, err
		}
		if seq, err := strconv.ParseUint(it.Key.Sort, 10, 64); err == nil && number(seq) == it.Key.Sort {
			return seq, nil
		}
		return 0, fmt.Errorf("number of an entry: %w", coffer.ErrCorrupt)
	}
	return 0, fmt.Errorf("entry %s is missing in the store: %w", r, coffer.ErrCorrupt)
}

// leavesOf yields the entries in an item. None holds a line break: their encoding has escapes for it.
func leavesOf(value []byte) iter.Seq[[]byte] { return bytes.SplitSeq(value, []byte("\n")) }

// entryItem returns the item with the entries in value, of which r is the first and last the hash of the last. That depends on all of them, so
// that the version stands for the item.
func entryItem(r Ref, value []byte, last tlog.Hash) store.Item {
	return store.Item{Key: entryKey(r), Value: value, Version: hex.EncodeToString(last[:16])}
}

// number writes n so that numbers sort as strings.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	return strings.Repeat("0", 20-len(s)) + s
}

// fence ends a chain: it stands where the next entry would, so that none can follow. It is no entry and is not sequenced.
var fence = []byte(`{"fence":1}`)

func isFence(b []byte) bool { return string(b) == string(fence) }

func fenceOp(r Ref) store.Op {
	return store.Op{Verb: store.Put, Item: store.Item{Key: entryKey(r), Value: fence, Version: "fence"}, Expect: store.Absent}
}

// Close writes what [Log.Later] still holds, sequences what there is, and ends the writer's chain. It does not close the store.
// Entries that another process is sequencing at that moment are left to it.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	err := l.flush(ctx)
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()

	l.turn <- struct{}{} // nobody else commits any more
	defer func() { <-l.turn }()
	for batch := l.take(); len(batch) > 0; batch = l.take() {
		l.commit(ctx, batch)
	}
	if l.chain.registered && !l.doubt {
		// Whoever sequences the chain to its fence takes the writer from the list of live writers. If the fence cannot be put
		// there, the chain is ended as an idle one.
		if ferr := l.call(ctx, []store.Op{fenceOp(Ref{l.chain.writer, l.chain.seq + 1})}); ferr != nil && !definite(ferr) && err == nil {
			err = ferr
		}
	}
	if serr := l.sequencer.sequence(ctx, true); err == nil {
		err = serr
	}
	if err != nil {
		return fmt.Errorf("closing the audit log: %w", err)
	}
	return nil
}

// deferred holds the entries given to Later until they are written. Guarded by Log.mu.
type deferred struct {
	lines []line
	timer *time.Timer
	err   error // of the last attempt to write them
}

// Later records e within a second, together with others. Only permitted [access.FindingList] and [access.FindingRead] may be
// recorded so: everything else is recorded before the answer. An error wraps [coffer.ErrUnavailable] when the log cannot be
// written; then the answer must not be given.
func (l *Log) Later(ctx context.Context, e Entry) error {
	made, err := l.line(&e)
	if err != nil {
		return err
	}
	if e.Decision != Allow || e.Action != access.FindingList && e.Action != access.FindingRead {
		return fmt.Errorf("recording %s later: %w", e.Action, coffer.ErrInvalid)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return fmt.Errorf("the audit log is closed: %w", coffer.ErrUnavailable)
	}
	d := &l.deferred
	d.lines = append(d.lines, made)
	now := len(d.lines) >= laterMax || d.err != nil
	if !now && d.timer == nil {
		d.timer = time.AfterFunc(laterDelay, func() {
			if err := l.flush(context.Background()); err != nil {
				l.log.Error("audit entries cannot be written", "error", err)
			}
		})
	}
	l.mu.Unlock()
	if !now {
		return nil
	}
	return l.flush(context.WithoutCancel(ctx))
}

// flush writes the deferred entries. Those that cannot be written are kept for the next attempt.
func (l *Log) flush(ctx context.Context) error {
	l.mu.Lock()
	d := &l.deferred
	lines := d.lines
	d.lines = nil
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	l.mu.Unlock()
	for len(lines) > 0 {
		n := min(len(lines), laterMax)
		if err := l.do(ctx, &request{lines: lines[:n:n]}); err != nil {
			l.mu.Lock()
			d.err = err
			// A caller who was refused the answer stays on record all the same, but not without bound.
			d.lines = append(lines, d.lines...)
			d.lines = d.lines[:min(len(d.lines), 16*laterMax)]
			l.mu.Unlock()
			if !errors.Is(err, coffer.ErrUnavailable) {
				err = fmt.Errorf("%w: %w", coffer.ErrUnavailable, err)
			}
			return err
		}
		lines = lines[n:]
	}
	l.mu.Lock()
	d.err = nil
	l.mu.Unlock()
	return nil
}
