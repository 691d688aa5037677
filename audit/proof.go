package audit

import (
	"bytes"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"coffer"
)

// Prove returns the proof that the entry with this index is in the log, in the text form of https://c2sp.org/tlog-proof: the hashes from
// the entry to the root, and the signed checkpoint. With the entry and the log's verifier key it can be checked without this program.
// It is computed from the files, which need not be trusted: hashes that do not lead to the signed root give an error wrapping
// [coffer.ErrCorrupt]. An index that is not under the checkpoint gives [coffer.ErrNotFound].
func (l *Log) Prove(index int64) ([]byte, error) {
	signed, err := l.Checkpoint()
	if err != nil {
		return nil, err
	}
	cp, err := openCheckpoint(signed, l.sequencer.key.verifier)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	if index < 0 || index >= cp.Size {
		return nil, fmt.Errorf("entry of the log: %w", coffer.ErrNotFound)
	}
	reader := tlog.TileHashReader(tlog.Tree{N: cp.Size, Hash: cp.Root}, tiles{l.sequencer.files})
	proof, err := tlog.ProveRecord(cp.Size, index, reader)
	if err != nil {
		return nil, fmt.Errorf("proving an entry of the log: %w: %w", err, coffer.ErrCorrupt)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nindex %d\n", index)
	for _, h := range proof {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	b.Write(signed)
	return b.Bytes(), nil
}

// tiles reads the tiles of a log as x/mod wants them.
type tiles struct{ dir fs.FS }

func (tiles) Height() int { return tileHeight }

func (r tiles) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(want))
	for i, t := range want {
		hashes, err := readHashes(r.dir, t.L, t.N, t.W)
		if err != nil {
			return nil, err
		}
		out[i] = tileData(hashes)
	}
	return out, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
