package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"coffer"
	"coffer/internal/durable"
)

// The files of the Merkle log, after https://c2sp.org/tlog-tiles: tiles of 256 hashes and bundles of 256 entries, of which the
// last may be partial.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	maxLevel   = 7 // 2^63 leaves
)

// tilePath returns the path of a tile, or of a bundle of entries for level -1, after tlog-tiles. It is x/mod's path without
// the height, which tlog-tiles fixes.
func tilePath(level int, n int64, width int) string {
	p := tlog.Tile{H: tileHeight, L: max(level, 0), N: n, W: width}.Path()
	p = strings.TrimPrefix(p, fmt.Sprintf("tile/%d/%d/", tileHeight, max(level, 0)))
	if level < 0 {
		return "tile/entries/" + p
	}
	return fmt.Sprintf("tile/%d/%s", level, p)
}

// appendLeaf appends a leaf to a bundle: its length as two bytes, big-endian, and the bytes.
func appendLeaf(bundle, leaf []byte) []byte {
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(leaf)))
	return append(bundle, leaf...)
}

// splitBundle returns the first width leaves of a bundle, which must hold as many, and nothing else if whole is set.
func splitBundle(bundle []byte, width int, whole bool) ([][]byte, error) {
	leaves := make([][]byte, 0, width)
	for len(leaves) < width {
		if len(bundle) < 2 {
			return leaves, fmt.Errorf("bundle of entries ends early: %w", coffer.ErrCorrupt)
		}
		n := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+n {
			return leaves, fmt.Errorf("bundle of entries ends inside an entry: %w", coffer.ErrCorrupt)
		}
		leaves = append(leaves, bundle[2:2+n:2+n])
		bundle = bundle[2+n:]
	}
	if whole && len(bundle) > 0 {
		return leaves, fmt.Errorf("bundle of entries goes on behind the last: %w", coffer.ErrCorrupt)
	}
	return leaves, nil
}

// subtree returns the hash of the complete subtree over hashes, a power of two of them.
func subtree(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return tlog.NodeHash(subtree(hashes[:half]), subtree(hashes[half:]))
}

// edge is the right edge of the tree: all that is needed to append to it and to know its root, a few kilobytes.
type edge struct {
	size   int64
	levels [maxLevel + 1][]tlog.Hash // the hashes in the unfinished tile of each level
	bundle []byte                    // the unfinished bundle
	writes []write                   // files made since the last call of take
	full   []string                  // folders of partial tiles that became full
}

type write struct {
	path string
	data []byte
}

// append adds a leaf.
func (e *edge) append(leaf []byte) {
	e.bundle = appendLeaf(e.bundle, leaf)
	n := e.size >> tileHeight
	e.appendHash(tlog.RecordHash(leaf), func(level int, n int64, hashes []tlog.Hash) { e.finish(level, n, tileData(hashes)) })
	if len(e.levels[0]) == 0 {
		e.finish(-1, n, e.bundle)
		e.bundle = nil
	}
}

// appendHash adds the hash of a leaf and calls full for every tile that becomes full.
func (e *edge) appendHash(h tlog.Hash, full func(level int, n int64, hashes []tlog.Hash)) {
	n := e.size >> tileHeight
	e.size++
	for level := range e.levels {
		e.levels[level] = append(e.levels[level], h)
		if len(e.levels[level]) < tileWidth {
			return
		}
		full(level, n, e.levels[level])
		h = subtree(e.levels[level])
		e.levels[level] = nil
		n >>= tileHeight
	}
}

func (e *edge) finish(level int, n int64, data []byte) {
	e.writes = append(e.writes, write{tilePath(level, n, tileWidth), data})
	e.full = append(e.full, tilePath(level, n, tileWidth)+".p")
}

func tileData(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// take returns the files that must be written for the present size and forgets them.
func (e *edge) take() []write {
	ws := e.writes
	e.writes = nil
	count := e.size
	for level := range e.levels {
		n, w := count>>tileHeight, len(e.levels[level])
		if w > 0 {
			ws = append(ws, write{tilePath(level, n, w), tileData(e.levels[level])})
			if level == 0 {
				ws = append(ws, write{tilePath(-1, n, w), e.bundle[:len(e.bundle):len(e.bundle)]})
			}
		}
		count >>= tileHeight
	}
	return ws
}

// root returns the RFC 6962 tree hash.
func (e *edge) root() tlog.Hash {
	var root tlog.Hash
	none := true
	if e.size == 0 {
		root, _ = tlog.TreeHash(0, nil)
		return root
	}
	// The complete subtrees of which the tree consists, from the right and smallest to the left and largest.
	for _, hashes := range e.levels {
		end := len(hashes)
		for w := 1; end > 0; w <<= 1 {
			if end&w == 0 {
				continue
			}
			h := subtree(hashes[end-w : end])
			end -= w
			if none {
				root, none = h, false
			} else {
				root = tlog.NodeHash(h, root)
			}
		}
	}
	return root
}

// Files keeps the files of the log: a folder ([Folder]) or a bucket ([Bucket]). It need not be trusted, see [Verify]. Methods may be
// called concurrently, also by several processes.
type Files interface {
	// FS reads: missing files give fs.ErrNotExist. Directories can be read.
	fs.FS
	// Put writes one file whole, durably and atomically, over an older one. Of writers at the same time one is last.
	Put(name string, data []byte) error
	// Prune removes a folder with the files in it. It is housekeeping and may fail silently.
	Prune(folder string)
}

// folder is a directory of this machine.
type folder struct {
	fs.FS
	dir string
}

// Folder keeps the log's files in dir, which is made if missing, with mode 0700.
func Folder(dir string) (Files, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the audit log: %w", err)
	}
	return folder{os.DirFS(dir), dir}, nil
}

func (f folder) Put(name string, data []byte) error {
	path := filepath.Join(f.dir, filepath.FromSlash(name))
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, data, 0o600)
}

func (f folder) Prune(name string) {
	_ = os.RemoveAll(filepath.Join(f.dir, filepath.FromSlash(name))) // what stays is only in the way
}

// writeFiles writes the files of an edge.
func writeFiles(f Files, ws []write) error {
	for _, w := range ws {
		if err := f.Put(w.path, w.data); err != nil {
			return fmt.Errorf("writing the audit log's tiles: %w", err)
		}
	}
	return nil
}

// maxTileFile bounds what is read of one file: a full bundle of the largest entries.
const maxTileFile = tileWidth * (2 + 1<<16)

// readTile returns the data of a tile or bundle with at least this width: the partial file, or the full one that replaced it.
func readTile(dir fs.FS, level int, n int64, width int) (data []byte, whole bool, err error) {
	data, err = readBounded(dir, tilePath(level, n, width), maxTileFile)
	if errors.Is(err, fs.ErrNotExist) && width < tileWidth {
		data, err = readBounded(dir, tilePath(level, n, tileWidth), maxTileFile)
		return data, false, err
	}
	return data, true, err
}

// readHashes returns the first width hashes of a tile.
func readHashes(dir fs.FS, level int, n int64, width int) ([]tlog.Hash, error) {
	data, whole, err := readTile(dir, level, n, width)
	if err != nil {
		return nil, err
	}
	if len(data) < width*tlog.HashSize || whole && len(data) > width*tlog.HashSize {
		return nil, fmt.Errorf("tile %s of %d bytes: %w", tilePath(level, n, width), len(data), coffer.ErrCorrupt)
	}
	hashes := make([]tlog.Hash, width)
	for i := range hashes {
		copy(hashes[i][:], data[i*tlog.HashSize:])
	}
	return hashes, nil
}

func readBounded(dir fs.FS, name string, limit int64) ([]byte, error) {
	fi, err := fs.Stat(dir, name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > limit {
		return nil, fmt.Errorf("%s is no file of at most %d bytes: %w", path.Base(name), limit, coffer.ErrCorrupt)
	}
	return fs.ReadFile(dir, name)
}

// loadEdge reads the edge of the tree that a checkpoint describes, and checks it against the checkpoint's root.
func loadEdge(dir fs.FS, cp Checkpoint) (*edge, error) {
	e := &edge{size: cp.Size}
	count := cp.Size
	for level := range e.levels {
		if w := int(count & (tileWidth - 1)); w > 0 {
			hashes, err := readHashes(dir, level, count>>tileHeight, w)
			if err != nil {
				return nil, err
			}
			e.levels[level] = hashes
		}
		count >>= tileHeight
	}
	if w := len(e.levels[0]); w > 0 {
		data, _, err := readTile(dir, -1, cp.Size>>tileHeight, w)
		if err != nil {
			return nil, err
		}
		leaves, err := splitBundle(data, w, false)
		if err != nil {
			return nil, err
		}
		for i, leaf := range leaves {
			if tlog.RecordHash(leaf) != e.levels[0][i] {
				return nil, fmt.Errorf("entry %d differs from its hash: %w", cp.Size-int64(w-i), coffer.ErrCorrupt)
			}
			e.bundle = appendLeaf(e.bundle, leaf)
		}
	}
	if e.root() != cp.Root {
		return nil, fmt.Errorf("tiles do not have the checkpoint's root: %w", coffer.ErrCorrupt)
	}
	return e, nil
}
