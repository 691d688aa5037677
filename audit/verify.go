package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"coffer"
	"coffer/access"
	"coffer/store"
)

// VerifyOptions says against what a log is verified.
type VerifyOptions struct {
	// Key is the log's verifier key, from [Log.VerifierKey] or the file beside the signing key. It must come from a place
	// that whoever could rewrite the log cannot write to. Required.
	Key string
	// Checkpoint is one signed checkpoint that was kept elsewhere, or several one after the other, such as an anchor file. The
	// log must extend every one of them. Without any, that the log was put back to an earlier state cannot be excluded.
	Checkpoint []byte
	// DB, if set, is the store of the log. Its records of the sequenced entries must be the same, byte for byte, and what is
	// not sequenced yet is counted.
	DB store.DB
}

// ProblemKind says what was done to the log.
type ProblemKind string

// The kinds of problems.
const (
	Edited    ProblemKind = "edited"    // bytes are not what was signed or chained
	Deleted   ProblemKind = "deleted"   // an entry or a file is missing
	Reordered ProblemKind = "reordered" // an entry stands where it does not belong, or twice
	Truncated ProblemKind = "truncated" // the log ends before a checkpoint that it signed
	Forked    ProblemKind = "forked"    // the log is another one than a checkpoint that it signed
	Unsigned  ProblemKind = "unsigned"  // the checkpoint is not signed by the log's key, or is missing
)

// Problem is one contradiction in a log.
type Problem struct {
	Kind ProblemKind
	// Index is the number of the entry at which the contradiction shows, or of the first that a damaged file covers.
	Index  int64
	Time   time.Time     // of that entry, where it can be read
	Action access.Action // of that entry, where it can be read
	What   string        // in words
}

// String returns the problem as one line.
func (p Problem) String() string {
	s := fmt.Sprintf("entry %d", p.Index)
	if p.Action != "" {
		s += fmt.Sprintf(" (%s, %s)", p.Time.Format(time.RFC3339), p.Action)
	}
	return fmt.Sprintf("%s: %s: %s", s, p.Kind, p.What)
}

// maxProblems is how many problems a report lists; all are counted.
const maxProblems = 100

// Report is what [Verify] found.
type Report struct {
	Checkpoint Checkpoint // the log's own
	Writers    int        // chains
	First      time.Time  // of the first entry
	Last       time.Time  // the latest of any entry
	// Extends is the size of the largest checkpoint kept elsewhere that the log was proved to extend; -1 when none was
	// given or none fits. With -1 a rollback cannot be excluded.
	Extends int64
	Ignored int // parts of VerifyOptions.Checkpoint that are no checkpoint signed by the log's key
	// Beyond says that there are files for more entries than the checkpoint covers: a process ended between writing tiles and
	// checkpoint, or an older checkpoint was put in place of a newer one.
	Beyond bool
	// Pending is the number of entries in the store that are not under the checkpoint yet; -1 without a store.
	Pending int64
	// Open are intents without a result, oldest first, at most 1,000: acts that are under way, or that may have happened
	// although nobody could record how they ended.
	Open     []Entry
	Problems []Problem // at most 100, in order of Index
	Count    int       // of all problems
}

// Err returns nil for a log without problems, else an error wrapping [coffer.ErrCorrupt] that names the first.
func (r *Report) Err() error {
	if r.Count == 0 {
		return nil
	}
	return fmt.Errorf("the audit log was tampered with or is damaged, %d contradictions; %s: %w", r.Count, r.Problems[0], coffer.ErrCorrupt)
}

// Verify recomputes everything in the log in dir that can be recomputed: every entry, its place in its writer's chain, every
// tile, the root, the signature, and whether the log extends the checkpoints given. It needs nothing but its arguments, writes
// nothing, and reads each file once; memory grows by 64 bytes for 256 entries.
//
// The report is complete unless an error is returned, which says that the log could not be read or the options are malformed.
// What is wrong with the log itself stands in the report.
func Verify(ctx context.Context, dir fs.FS, opt VerifyOptions) (*Report, error) {
	key, err := note.NewVerifier(strings.TrimSpace(opt.Key))
	if err != nil {
		return nil, fmt.Errorf("verifier key of the audit log: %w", coffer.ErrInvalid)
	}
	v := &verifier{dir: dir, report: &Report{Extends: -1, Pending: -1}, chains: make(map[string]*chainState), open: make(map[Ref]Entry)}
	if err := v.checkpoint(key, opt.Checkpoint); err != nil {
		return nil, err
	}
	if err := v.entries(ctx, opt.DB); err != nil {
		return nil, err
	}
	if err := v.tiles(); err != nil {
		return nil, err
	}
	v.extends()
	if err := v.walk(); err != nil {
		return nil, err
	}
	if opt.DB != nil {
		if err := v.store(ctx, opt.DB); err != nil {
			return nil, err
		}
	}
	r := v.report
	r.Writers = len(v.chains)
	for _, e := range v.open {
		r.Open = append(r.Open, e)
	}
	slices.SortFunc(r.Open, func(a, b Entry) int { return cmp.Compare(a.Index, b.Index) })
	r.Open = r.Open[:min(len(r.Open), maxOpen)]
	slices.SortStableFunc(r.Problems, func(a, b Problem) int { return cmp.Compare(a.Index, b.Index) })
	return r, nil
}

const maxOpen = 1000

type verifier struct {
	dir    fs.FS
	report *Report
	kept   []Checkpoint // checkpoints given, by size
	chains map[string]*chainState
	open   map[Ref]Entry

	// The tree is computed twice, from the entries and from the lowest tiles. Whichever has the signed root is right, and tells
	// on which side a difference lies.
	byEntry, byTile tree
	differ          []Problem // entries that are not what their hash in the tile says
	unreadable      bool      // an entry is missing, so that byEntry stands on the tile's hash there
	fromStore       int64     // entries read from the store's order
}

// tree computes roots and keeps what is needed to check the upper tiles.
type tree struct {
	edge  edge
	tiles []tlog.Hash         // the subtree of each full lowest tile
	roots map[int64]tlog.Hash // at the sizes of the checkpoints given
}

func (t *tree) append(h tlog.Hash, kept []Checkpoint) {
	t.edge.appendHash(h, func(level int, _ int64, hashes []tlog.Hash) {
		if level == 0 {
			t.tiles = append(t.tiles, subtree(hashes))
		}
	})
	if _, ok := slices.BinarySearchFunc(kept, t.edge.size, func(c Checkpoint, n int64) int { return cmp.Compare(c.Size, n) }); ok {
		t.roots[t.edge.size] = t.edge.root()
	}
}

// chainState is the end of a writer's chain as the entries so far tell it.
type chainState struct {
	seq  uint64
	head tlog.Hash
	tile tlog.Hash // what the tile says head is; it differs when the entry was edited, or the tile
	time time.Time
}

func (v *verifier) problem(p Problem) {
	v.report.Count++
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, p)
	}
}

// checkpoint reads the log's own checkpoint and those that were kept elsewhere.
func (v *verifier) checkpoint(key note.Verifier, kept []byte) error {
	for _, msg := range splitCheckpoints(kept) {
		cp, err := openCheckpoint(msg, key)
		if err != nil {
			v.report.Ignored++
			continue
		}
		v.kept = append(v.kept, cp)
	}
	if len(v.kept) == 0 && len(bytes.TrimSpace(kept)) > 0 {
		return fmt.Errorf("no checkpoint signed by %s in what was given: %w", key.Name(), coffer.ErrInvalid)
	}
	slices.SortFunc(v.kept, func(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	v.byEntry.roots, v.byTile.roots = make(map[int64]tlog.Hash), make(map[int64]tlog.Hash)
	for _, t := range []*tree{&v.byEntry, &v.byTile} {
		t.roots[0] = (&edge{}).root()
	}

	r := v.report
	r.Checkpoint = Checkpoint{Origin: key.Name(), Root: (&edge{}).root()}
	msg, err := readBounded(v.dir, checkpointFile, maxCheckpoint)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := fs.Stat(v.dir, "tile"); err == nil {
			v.problem(Problem{Kind: Unsigned, What: "there are tiles and no checkpoint"})
		}
		return nil
	case errors.Is(err, coffer.ErrCorrupt):
		v.problem(Problem{Kind: Unsigned, What: err.Error()})
		return nil
	case err != nil:
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	cp, err := openCheckpoint(msg, key)
	if err != nil {
		v.problem(Problem{Kind: Unsigned, What: err.Error()})
		// What it claims is still the best guide to where else the log was touched.
		cp = claim(msg)
		if cp.Size < 0 || cp.Size > v.plausible() {
			cp.Size = v.plausible()
		}
	}
	r.Checkpoint = cp
	return nil
}

// claim reads an unsigned checkpoint as far as it goes.
func claim(msg []byte) Checkpoint {
	var cp Checkpoint
	lines := strings.SplitN(string(msg), "\n", 4)
	if len(lines) == 4 {
		cp.Origin = lines[0]
		cp.Size, _ = strconv.ParseInt(lines[1], 10, 64) // 0 when it is no number
		cp.Root, _ = tlog.ParseHash(lines[2])           // zero when it is none
	}
	return cp
}

// plausible returns a bound for the size of the log from the number of its full bundles, so that a forged checkpoint cannot make
// the verifier look for entries without end.
func (v *verifier) plausible() int64 {
	n := int64(0)
	for {
		if _, err := fs.Stat(v.dir, tilePath(-1, n, tileWidth)); err != nil {
			return (n + 1) * tileWidth
		}
		n++
	}
}

// entries reads all bundles and lowest tiles, computes both trees, and follows the writers' chains.
func (v *verifier) entries(ctx context.Context, db store.DB) error {
	size := v.report.Checkpoint.Size
	var next func() ([]byte, error, bool)
	if db != nil {
		var stop func()
		next, stop = iter.Pull2(storeLeaves(ctx, db))
		defer stop()
	}
	missing := 0
	for n := int64(0); n<<tileHeight < size; n++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("verifying the audit log: %w", err)
		}
		base := n << tileHeight
		width := int(min(tileWidth, size-base))
		leaves, err := v.bundle(n, width)
		if err != nil {
			return err
		}
		hashes, err := readHashes(v.dir, 0, n, width)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			v.problem(Problem{Kind: Deleted, Index: base, What: "the tile " + tilePath(0, n, width) + " is missing"})
		case errors.Is(err, coffer.ErrCorrupt):
			v.problem(Problem{Kind: Edited, Index: base, What: err.Error()})
		case err != nil:
			return fmt.Errorf("reading a tile: %w", err)
		}
		// A signed checkpoint over files that are not there must not keep us busy: one whole bundle and its tile missing is
		// damage, many are an absent log.
		if len(leaves) == 0 && hashes == nil {
			if missing++; missing > 16 {
				v.problem(Problem{Kind: Deleted, Index: base, What: "everything from here on is missing"})
				break
			}
		}
		for i := range width {
			index := base + int64(i)
			var leaf []byte
			if i < len(leaves) {
				leaf = leaves[i]
			}
			v.entry(index, leaf, hashes, i)
			if next != nil {
				v.compare(index, leaf, &next)
			}
		}
	}
	return nil
}

// bundle reads the entries of a bundle; what is missing or damaged is reported, and what can be read is returned.
func (v *verifier) bundle(n int64, width int) ([][]byte, error) {
	base := n << tileHeight
	data, whole, err := readTile(v.dir, -1, n, width)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.problem(Problem{Kind: Deleted, Index: base, What: "the bundle " + tilePath(-1, n, width) + " is missing"})
		return nil, nil
	case errors.Is(err, coffer.ErrCorrupt):
		v.problem(Problem{Kind: Edited, Index: base, What: err.Error()})
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading a bundle of entries: %w", err)
	}
	leaves, err := splitBundle(data, width, whole)
	if err != nil {
		v.problem(Problem{Kind: Edited, Index: base + int64(min(len(leaves), width-1)), What: err.Error()})
	}
	return leaves, nil
}

// entry takes one entry, or its absence, into account.
func (v *verifier) entry(index int64, leaf []byte, hashes []tlog.Hash, i int) {
	var h, tile tlog.Hash
	e := Entry{Index: index}
	var derr error
	if leaf != nil {
		h = tlog.RecordHash(leaf)
		if e, derr = Decode(leaf); derr == nil {
			e.Index = index
		} else {
			e = Entry{Index: index}
		}
	}
	switch {
	case hashes == nil:
		tile = h
	case leaf == nil:
		tile = hashes[i]
		h = tile
		v.unreadable = true
	default:
		tile = hashes[i]
	}
	if h != tile {
		v.differ = append(v.differ[:min(len(v.differ), maxProblems)], about(e, Edited, "its bytes do not have the hash in the tile"))
	}
	v.byEntry.append(h, v.kept)
	v.byTile.append(tile, v.kept)
	if leaf == nil {
		return
	}
	if derr != nil {
		if h == tile { // else it is reported as edited
			v.problem(about(e, Edited, derr.Error()))
		}
		return
	}
	v.chain(e, h, tile)

	r := v.report
	if r.First.IsZero() {
		r.First = e.Time
	}
	if e.Time.After(r.Last) {
		r.Last = e.Time
	}
	if e.Outcome == Intent && len(v.open) < 100*maxOpen {
		v.open[e.Ref()] = e
	}
	if !e.Intent.IsZero() {
		delete(v.open, e.Intent)
	}
}

func about(e Entry, k ProblemKind, what string) Problem {
	return Problem{Kind: k, Index: e.Index, Time: e.Time, Action: e.Action, What: what}
}

// chain checks an entry against the one before it in its writer's chain.
func (v *verifier) chain(e Entry, h, tile tlog.Hash) {
	c := v.chains[e.Writer]
	if c == nil {
		c = &chainState{}
		v.chains[e.Writer] = c
	}
	switch {
	case e.Seq <= c.seq:
		v.problem(about(e, Reordered, fmt.Sprintf("number %d of its chain stands behind number %d", e.Seq, c.seq)))
		return
	case e.Seq > c.seq+1:
		v.problem(about(e, Deleted, fmt.Sprintf("number %d of its chain follows number %d", e.Seq, c.seq)))
	case e.Prev != c.head && e.Prev != c.tile:
		v.problem(about(e, Edited, "it, or the entry before it in its chain, is not what was written"))
	}
	if e.Time.Before(c.time) {
		v.problem(about(e, Reordered, "it is older than the entry before it in its chain"))
	}
	*c = chainState{seq: e.Seq, head: h, tile: tile, time: e.Time}
}

// right returns the tree that has the signed root, and whether there is one.
func (v *verifier) right() (*tree, bool) {
	root := v.report.Checkpoint.Root
	switch {
	case v.byEntry.edge.root() == root:
		return &v.byEntry, true
	case v.byTile.edge.root() == root:
		return &v.byTile, true
	}
	return &v.byEntry, false
}

// tiles judges the differences between entries and lowest tiles, and checks the upper tiles and the root.
func (v *verifier) tiles() error {
	t, signed := v.right()
	for _, p := range v.differ {
		switch {
		case signed && t == &v.byEntry && !v.unreadable:
			p.What = "its hash in the tile is not that of its bytes, which are what was signed"
		case signed:
			p.What = "its bytes are not those that were signed"
		}
		v.problem(p)
	}
	size := t.edge.size
	if !signed && size > 0 {
		v.problem(Problem{Kind: Edited, Index: size - 1, What: "the entries do not have the root that the checkpoint states"})
	}
	hashes := t.tiles
	for level := 1; level <= maxLevel && len(hashes) > 0; level++ {
		var above []tlog.Hash
		span := int64(1) << (tileHeight * level) // entries below one hash of this level
		for n := int64(0); n<<tileHeight < int64(len(hashes)); n++ {
			width := int(min(tileWidth, int64(len(hashes))-n<<tileHeight))
			want := hashes[n<<tileHeight:][:width]
			got, err := readHashes(v.dir, level, n, width)
			name := tilePath(level, n, width)
			base := n << tileHeight * span
			switch {
			case errors.Is(err, fs.ErrNotExist):
				v.problem(Problem{Kind: Deleted, Index: base, What: "the tile " + name + " is missing"})
			case errors.Is(err, coffer.ErrCorrupt):
				v.problem(Problem{Kind: Edited, Index: base, What: err.Error()})
			case err != nil:
				return fmt.Errorf("reading a tile: %w", err)
			default:
				for i := range want {
					if got[i] != want[i] {
						v.problem(Problem{Kind: Edited, Index: base + int64(i)*span, What: "the tile " + name + " does not have the hash of the entries from here on"})
						break
					}
				}
			}
			if width == tileWidth {
				above = append(above, subtree(want))
			}
		}
		hashes = above
	}
	return nil
}

// extends checks the log against the checkpoints that were kept elsewhere.
func (v *verifier) extends() {
	r := v.report
	t, _ := v.right()
	for _, cp := range v.kept {
		root, ok := t.roots[cp.Size]
		switch {
		case cp.Size > r.Checkpoint.Size:
			v.problem(Problem{Kind: Truncated, Index: r.Checkpoint.Size, What: fmt.Sprintf("the log ends here; a checkpoint that it signed was over %d entries", cp.Size)})
			return
		case !ok:
			return // the entries end early, which was reported
		case root != cp.Root:
			v.problem(Problem{Kind: Forked, Index: max(0, r.Extends), What: fmt.Sprintf("from here on, before entry %d, it is not the log that signed the checkpoint over %d entries", cp.Size, cp.Size)})
			return
		default:
			r.Extends = cp.Size
		}
	}
}

// walk looks at every file below the folder of tiles: what is not needed for the checkpoint must agree with it.
func (v *verifier) walk() error {
	size := v.report.Checkpoint.Size
	err := fs.WalkDir(v.dir, "tile", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") { // hidden: what a crashed writer left
			return err
		}
		level, n, width, ok := parseTilePath(name)
		if !ok {
			v.problem(Problem{Kind: Edited, What: "a file that is no tile stands among the tiles"})
			return nil
		}
		have := size
		for range level {
			have >>= tileHeight
		}
		have = max(0, min(tileWidth, have-n<<tileHeight))
		if int64(width) > have {
			v.report.Beyond = true
			return nil
		}
		if int64(width) == have { // needed, and checked before
			return nil
		}
		return v.superseded(name, level, n, width, int(have))
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the audit log's folder: %w", err)
	}
	return nil
}

// superseded checks a partial tile that a wider one has replaced.
func (v *verifier) superseded(name string, level int, n int64, width, have int) error {
	old, err := readBounded(v.dir, name, maxTileFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // replaced meanwhile
	}
	if err != nil && !errors.Is(err, coffer.ErrCorrupt) {
		return err
	}
	wide, _, werr := readTile(v.dir, max(level, -1), n, have)
	if werr != nil {
		return nil // reported where it is needed
	}
	base := n << tileHeight
	for range level {
		base <<= tileHeight
	}
	good := err == nil && bytes.HasPrefix(wide, old)
	if level < 0 {
		_, serr := splitBundle(old, width, true)
		good = good && serr == nil
	} else {
		good = good && len(old) == width*tlog.HashSize
	}
	if !good {
		v.problem(Problem{Kind: Edited, Index: base, What: "the partial " + name + " is not the beginning of what replaced it"})
	}
	return nil
}

// parseTilePath reads a path below the folder of tiles; level is -1 for a bundle.
func parseTilePath(name string) (level int, n int64, width int, ok bool) {
	rest, found := strings.CutPrefix(name, "tile/")
	if !found {
		return 0, 0, 0, false
	}
	first, rest, _ := strings.Cut(rest, "/")
	xname := fmt.Sprintf("tile/%d/%s/%s", tileHeight, first, rest)
	if first == "entries" {
		xname = fmt.Sprintf("tile/%d/data/%s", tileHeight, rest)
	}
	t, err := tlog.ParseTilePath(xname)
	if err != nil || t.L > maxLevel || first == "data" {
		return 0, 0, 0, false
	}
	return t.L, t.N, t.W, true
}

// storeLeaves yields the entries in the order that the store states.
func storeLeaves(ctx context.Context, db store.DB) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for it, err := range db.Query(ctx, partOrder, store.Range{}) {
			if err != nil {
				yield(nil, err)
				return
			}
			for leaf, err := range orderedLeaves(ctx, db, it.Value) {
				if !yield(leaf, err) || err != nil {
					return
				}
			}
		}
	}
}

// compare compares an entry with the store's record of it.
func (v *verifier) compare(index int64, leaf []byte, next *func() ([]byte, error, bool)) {
	theirs, err, ok := (*next)()
	switch {
	case !ok:
		v.problem(Problem{Kind: Deleted, Index: index, What: "the store knows of no such entry"})
		*next = nil
	case err != nil:
		v.problem(Problem{Kind: Deleted, Index: index, What: "the store's record cannot be read: " + err.Error()})
		*next = nil
	default:
		v.fromStore++
		if leaf != nil && !bytes.Equal(leaf, theirs) {
			p := Problem{Kind: Edited, Index: index, What: "it differs from the store's record"}
			if e, err := Decode(theirs); err == nil {
				p.Time, p.Action = e.Time, e.Action
			}
			v.problem(p)
		}
	}
}

// store compares the state of the store with that of the files and counts what is not sequenced yet.
func (v *verifier) store(ctx context.Context, db store.DB) error {
	r := v.report
	h, _, err := readHead(ctx, db)
	if err != nil {
		return fmt.Errorf("reading the store's head of the audit log: %w", err)
	}
	switch {
	case h.Size < r.Checkpoint.Size:
		v.problem(Problem{Kind: Truncated, Index: h.Size, What: "the store knows of fewer entries; an old store was put back, or these were never written to it"})
	case h.Size == r.Checkpoint.Size && h.Size > 0 && h.Root != r.Checkpoint.Root:
		v.problem(Problem{Kind: Forked, What: "the store and the checkpoint state different roots"})
	}
	r.Pending = max(0, h.Size-r.Checkpoint.Size)
	for it, err := range db.Query(ctx, partLive, store.Range{}) {
		if err != nil {
			return fmt.Errorf("reading the store's list of writers: %w", err)
		}
		var cur cursor
		if err := json.Unmarshal(it.Value, &cur); err != nil {
			v.problem(Problem{Kind: Edited, Index: r.Checkpoint.Size, What: "the store's cursor of a writer is malformed"})
			continue
		}
		s := &sequencer{db: db}
		for fenced := false; !fenced; {
			leaves, err := s.chain(ctx, it.Key.Sort, &cur, &fenced, stepEntries, stepBytes)
			if errors.Is(err, coffer.ErrCorrupt) {
				v.problem(Problem{Kind: Edited, Index: r.Checkpoint.Size, What: "not yet sequenced: " + err.Error()})
				break
			}
			if err != nil {
				return fmt.Errorf("reading the store's entries: %w", err)
			}
			if len(leaves) == 0 {
				break
			}
			r.Pending += int64(len(leaves))
		}
	}
	return nil
}
