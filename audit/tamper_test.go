package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"coffer/audit"
)

// evidence is a log as it was, the checkpoint that an auditor kept when it had kept entries, and the key that signs.
type evidence struct {
	files  fstest.MapFS
	leaves [][]byte
	kept   int
	old    []byte
	signer note.Signer
	key    string
}

// newEvidence makes a log of several writers, 300 entries of which the auditor has seen 210.
func newEvidence(t *testing.T) *evidence {
	h := newHome(t)
	ev := &evidence{kept: 210}
	logs := []*audit.Log{h.open(), h.open(), h.open()}
	for i := range 300 {
		appendN(t, logs[i%len(logs)], 1)
		if i%42 == 41 {
			if err := logs[0].Sequence(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if i+1 == ev.kept {
			var err error
			if ev.old, err = logs[0].Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, l := range logs {
		closeLog(t, l)
	}
	h.sound()
	ev.key = logs[0].VerifierKey()
	skey, err := os.ReadFile(h.key())
	if err != nil {
		t.Fatal(err)
	}
	if ev.signer, err = note.NewSigner(strings.TrimSpace(string(skey))); err != nil {
		t.Fatal(err)
	}
	ev.files = make(fstest.MapFS)
	dir := os.DirFS(h.log())
	err = fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(dir, name)
		ev.files[name] = &fstest.MapFile{Data: b}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n*256 < 300; n++ {
		width := min(256, 300-n*256)
		leaves, err := audit.SplitBundle(ev.files[audit.TilePath(-1, int64(n), width)].Data, width, true)
		if err != nil {
			t.Fatal(err)
		}
		ev.leaves = append(ev.leaves, leaves...)
	}
	return ev
}

// needed returns the files that a checkpoint over size entries rests on.
func needed(size int) []string {
	names := []string{"checkpoint"}
	for _, tile := range tlog.NewTiles(8, 0, int64(size)) {
		names = append(names, audit.TilePath(tile.L, tile.N, tile.W))
		if tile.L == 0 {
			names = append(names, audit.TilePath(-1, tile.N, tile.W))
		}
	}
	return names
}

// publish makes the files of a log with these leaves, signed, with x/mod's code and none of package audit's.
func (ev *evidence) publish(leaves [][]byte) fstest.MapFS {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = stored[x]
		}
		return out, nil
	})
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	for i, leaf := range leaves {
		hs, err := tlog.StoredHashes(int64(i), leaf, reader)
		must(err)
		stored = append(stored, hs...)
	}
	files := make(fstest.MapFS)
	for _, tile := range tlog.NewTiles(8, 0, int64(len(leaves))) {
		data, err := tlog.ReadTileData(tile, reader)
		must(err)
		files[audit.TilePath(tile.L, tile.N, tile.W)] = &fstest.MapFile{Data: data}
		if tile.L == 0 {
			var bundle []byte
			for _, leaf := range leaves[tile.N*256:][:tile.W] {
				bundle = audit.AppendLeaf(bundle, leaf)
			}
			files[audit.TilePath(-1, tile.N, tile.W)] = &fstest.MapFile{Data: bundle}
		}
	}
	root, err := tlog.TreeHash(int64(len(leaves)), reader)
	must(err)
	cp, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", ev.signer.Name(), len(leaves), root)}, ev.signer)
	must(err)
	files["checkpoint"] = &fstest.MapFile{Data: cp}
	return files
}

// rebundle writes the leaves into the bundles and leaves the tiles as they are.
func rebundle(files fstest.MapFS, leaves [][]byte, size int) {
	for n := 0; n*256 < size; n++ {
		width := min(256, size-n*256)
		var bundle []byte
		for _, leaf := range leaves[min(len(leaves), n*256):min(len(leaves), n*256+width)] {
			bundle = audit.AppendLeaf(bundle, leaf)
		}
		files[audit.TilePath(-1, int64(n), width)] = &fstest.MapFile{Data: bundle}
	}
}

// rewrite changes an entry so that it still is one.
func rewrite(leaf []byte) []byte {
	return bytes.Replace(leaf, []byte(`"finding":"f-1"`), []byte(`"finding":"f-2"`), 1)
}

// rechain puts the right hashes of their predecessors into all entries of a writer's chain from index on.
func rechain(leaves [][]byte, index int) {
	e, _ := audit.Decode(leaves[index])
	head := tlog.RecordHash(leaves[index])
	for i := index + 1; i < len(leaves); i++ {
		n, err := audit.Decode(leaves[i])
		if err != nil || n.Writer != e.Writer {
			continue
		}
		leaves[i] = bytes.Replace(leaves[i], []byte(n.Prev.String()), []byte(head.String()), 1)
		head = tlog.RecordHash(leaves[i])
	}
}

func (ev *evidence) successor(i int) int {
	e, _ := audit.Decode(ev.leaves[i])
	for j := i + 1; j < len(ev.leaves); j++ {
		if n, _ := audit.Decode(ev.leaves[j]); n.Writer == e.Writer {
			return j
		}
	}
	return -1
}

// TestTampering changes the files at random, with and without the signing key, and demands that every change is found and its
// place named, given the one checkpoint that the auditor kept.
func TestTampering(t *testing.T) {
	ev := newEvidence(t)
	size := len(ev.leaves)
	total := 10_080
	if testing.Short() || raceEnabled {
		total = 560
	}
	names := needed(size)
	slices.Sort(names)
	names = slices.Compact(names)

	// anywhere means that no entry can be named, only that the log is not the one that was signed.
	const anywhere = -1
	attacks := []struct {
		name string
		kind string
		do   func(rnd *rand.Rand) (fstest.MapFS, int)
	}{
		{"flip a bit of a file", "edit", func(rnd *rand.Rand) (fstest.MapFS, int) {
			files, name := clone(ev.files), names[rnd.IntN(len(names))]
			b := bytes.Clone(files[name].Data)
			n := len(b)
			if name == "checkpoint" {
				n -= 4 // the last bits of base64 say nothing
			}
			b[rnd.IntN(n)] ^= 1 << rnd.IntN(7)
			files[name] = &fstest.MapFile{Data: b}
			return files, anywhere
		}},
		{"delete a file", "deletion", func(rnd *rand.Rand) (fstest.MapFS, int) {
			files := clone(ev.files)
			delete(files, names[rnd.IntN(len(names))])
			return files, anywhere
		}},
		{"truncate a file", "truncation", func(rnd *rand.Rand) (fstest.MapFS, int) {
			files, name := clone(ev.files), names[rnd.IntN(len(names))]
			b := files[name].Data
			files[name] = &fstest.MapFile{Data: b[:rnd.IntN(len(b)-1)]}
			return files, anywhere
		}},
		{"exchange two files", "reordering", func(rnd *rand.Rand) (fstest.MapFS, int) {
			files := clone(ev.files)
			i := rnd.IntN(len(names))
			j := (i + 1 + rnd.IntN(len(names)-1)) % len(names)
			files[names[i]], files[names[j]] = files[names[j]], files[names[i]]
			return files, anywhere
		}},
		{"edit an entry", "edit", func(rnd *rand.Rand) (fstest.MapFS, int) {
			files, leaves, i := clone(ev.files), slices.Clone(ev.leaves), rnd.IntN(size)
			leaves[i] = rewrite(leaves[i])
			rebundle(files, leaves, size)
			return files, i
		}},
		{"delete an entry", "deletion", func(rnd *rand.Rand) (fstest.MapFS, int) {
			files, i := clone(ev.files), rnd.IntN(size)
			rebundle(files, slices.Delete(slices.Clone(ev.leaves), i, i+1), size)
			return files, i
		}},
		{"exchange two entries", "reordering", func(rnd *rand.Rand) (fstest.MapFS, int) {
			files, leaves := clone(ev.files), slices.Clone(ev.leaves)
			i := rnd.IntN(size - 1)
			j := i + 1 + rnd.IntN(size-i-1)
			leaves[i], leaves[j] = leaves[j], leaves[i]
			rebundle(files, leaves, size)
			return files, i
		}},
		{"put an old checkpoint back", "truncation", func(rnd *rand.Rand) (fstest.MapFS, int) {
			n := 42 * (1 + rnd.IntN(4))
			files := clone(ev.files)
			files["checkpoint"] = ev.publish(ev.leaves[:n])["checkpoint"]
			return files, n
		}},
		{"with the key: edit an entry", "edit", func(rnd *rand.Rand) (fstest.MapFS, int) {
			leaves := slices.Clone(ev.leaves)
			i := rnd.IntN(size)
			next := ev.successor(i)
			if next < 0 {
				i = 0
				next = ev.successor(i)
			}
			leaves[i] = rewrite(leaves[i])
			return ev.publish(leaves), next
		}},
		{"with the key: edit an entry and all that follow in its chain", "fork", func(rnd *rand.Rand) (fstest.MapFS, int) {
			leaves, i := slices.Clone(ev.leaves), rnd.IntN(ev.kept)
			leaves[i] = rewrite(leaves[i])
			rechain(leaves, i)
			return ev.publish(leaves), anywhere
		}},
		{"with the key: delete an entry", "deletion", func(rnd *rand.Rand) (fstest.MapFS, int) {
			i := rnd.IntN(ev.kept)
			next := ev.successor(i) - 1
			return ev.publish(slices.Delete(slices.Clone(ev.leaves), i, i+1)), next
		}},
		{"with the key: exchange two entries", "reordering", func(rnd *rand.Rand) (fstest.MapFS, int) {
			leaves := slices.Clone(ev.leaves)
			i := rnd.IntN(ev.kept - 1)
			j := i + 1 + rnd.IntN(ev.kept-i-1)
			leaves[i], leaves[j] = leaves[j], leaves[i]
			return ev.publish(leaves), anywhere
		}},
		{"with the key: truncate", "truncation", func(rnd *rand.Rand) (fstest.MapFS, int) {
			n := rnd.IntN(ev.kept)
			return ev.publish(ev.leaves[:n]), n
		}},
		{"with the key: fork", "fork", func(rnd *rand.Rand) (fstest.MapFS, int) {
			// Another history from n on: one writer's entries are gone as if they had never been.
			n := rnd.IntN(ev.kept - 3)
			gone, _ := audit.Decode(ev.leaves[n])
			leaves := slices.Clone(ev.leaves[:n])
			for _, leaf := range ev.leaves[n:] {
				if e, _ := audit.Decode(leaf); e.Writer != gone.Writer {
					leaves = append(leaves, leaf)
				}
			}
			for len(leaves) <= ev.kept {
				leaves = append(leaves, other(leaves))
			}
			return ev.publish(leaves), anywhere
		}},
	}
	// Attack k is the same in every run, whichever worker it falls to.
	var mu sync.Mutex
	found := make(map[string]int)
	var workers sync.WaitGroup
	for w := range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for k := w; k < total && !t.Failed(); k += runtime.GOMAXPROCS(0) {
				a := attacks[k%len(attacks)]
				files, at := a.do(rand.New(rand.NewPCG(20260301, uint64(k))))
				r, err := audit.Verify(context.Background(), files, audit.VerifyOptions{Key: ev.key, Checkpoint: ev.old})
				switch {
				case err != nil:
					t.Errorf("attack %d, %s: %v", k, a.name, err)
				case r.Err() == nil:
					t.Errorf("attack %d, %s at %d: not found", k, a.name, at)
				case at >= 0 && !slices.ContainsFunc(r.Problems, func(p audit.Problem) bool { return p.Index == int64(at) }):
					t.Errorf("attack %d, %s at %d: named %v", k, a.name, at, r.Problems)
				case a.kind == "fork" && !slices.ContainsFunc(r.Problems, func(p audit.Problem) bool { return p.Kind == audit.Forked }):
					t.Errorf("attack %d, %s: a fork named %v", k, a.name, r.Problems)
				}
				mu.Lock()
				found[a.kind]++
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if t.Failed() {
		t.FailNow()
	}
	// The way back: what was not touched is sound, and the checkpoint kept is extended.
	r, err := audit.Verify(context.Background(), ev.files, audit.VerifyOptions{Key: ev.key, Checkpoint: ev.old})
	if err != nil || r.Err() != nil || r.Extends != int64(ev.kept) {
		t.Errorf("the log itself: %v, %v, extends %d", err, r.Err(), r.Extends)
	}
	r, err = audit.Verify(context.Background(), ev.publish(ev.leaves), audit.VerifyOptions{Key: ev.key})
	if err != nil || r.Err() != nil || r.Extends != -1 {
		t.Errorf("the log as x/mod writes it: %v, %v, extends %d", err, r.Err(), r.Extends)
	}
	t.Logf("%d changes, all found and named: %v", total, found)
}

// other makes up an entry that continues no chain in particular: the first of a new writer.
func other(leaves [][]byte) []byte {
	e, _ := audit.Decode(leaves[0])
	first := bytes.Replace(leaves[0], []byte(e.Writer), []byte(fmt.Sprintf("%032x", len(leaves))), 1)
	if e.Prev != (tlog.Hash{}) {
		panic("the first entry of the log is not the first of its chain")
	}
	return first
}

func clone(files fstest.MapFS) fstest.MapFS {
	c := make(fstest.MapFS, len(files))
	for name, f := range files {
		c[name] = f
	}
	return c
}

// TestVerifyAgainstStore: a holder of the key who rewrites everything in the folder, without anybody having kept a checkpoint, is
// found by the store's records, and so is a store that was put back.
func TestVerifyAgainstStore(t *testing.T) {
	h := newHome(t)
	l := h.open()
	appendN(t, l, 300)
	closeLog(t, l)
	skey, err := os.ReadFile(h.key())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(skey)))
	if err != nil {
		t.Fatal(err)
	}
	ev := &evidence{signer: signer, key: l.VerifierKey()}
	for n, width := range []int{256, 44} {
		b, err := os.ReadFile(filepath.Join(h.log(), filepath.FromSlash(audit.TilePath(-1, int64(n), width))))
		if err != nil {
			t.Fatal(err)
		}
		leaves, err := audit.SplitBundle(b, width, true)
		if err != nil {
			t.Fatal(err)
		}
		ev.leaves = append(ev.leaves, leaves...)
	}
	leaves := slices.Clone(ev.leaves)
	leaves[123] = rewrite(leaves[123])
	rechain(leaves, 123)
	forged := ev.publish(leaves)
	r, err := audit.Verify(context.Background(), forged, audit.VerifyOptions{Key: ev.key})
	if err != nil || r.Err() != nil {
		t.Fatalf("the forgery is not what it should be: %v, %v", err, r.Err())
	}
	r, err = audit.Verify(context.Background(), forged, audit.VerifyOptions{Key: ev.key, DB: h.db})
	if err != nil || r.Err() == nil || !slices.ContainsFunc(r.Problems, func(p audit.Problem) bool { return p.Index == 123 && p.Action == "value.reveal" }) {
		t.Errorf("the forgery beside the store: %v, %v", err, r.Problems)
	}
	r, err = audit.Verify(context.Background(), ev.publish(ev.leaves), audit.VerifyOptions{Key: ev.key, DB: newHome(t).db})
	if err != nil || r.Err() == nil {
		t.Errorf("beside an empty store: %v, %v", err, r.Err())
	}
	l = h.open()
	appendN(t, l, 5)
	if r := h.verify(audit.VerifyOptions{DB: h.db}); r.Err() != nil || r.Pending != 5 {
		t.Errorf("before they are sequenced: %v, pending %d", r.Err(), r.Pending)
	}
	closeLog(t, l)
	h.sound()
}

// TestVerifyHostile: files made to hurt the verifier.
func TestVerifyHostile(t *testing.T) {
	ev := newEvidence(t)
	sign := func(text string) *fstest.MapFile {
		b, err := note.Sign(&note.Note{Text: text}, ev.signer)
		if err != nil {
			t.Fatal(err)
		}
		return &fstest.MapFile{Data: b}
	}
	root := tlog.RecordHash(nil).String()
	huge := clone(ev.files)
	huge["checkpoint"] = sign(fmt.Sprintf("%s\n%d\n%s\n", ev.signer.Name(), int64(1)<<62, root))
	unsigned := clone(ev.files)
	unsigned["checkpoint"] = &fstest.MapFile{Data: []byte(fmt.Sprintf("x\n%d\n%s\n", int64(1)<<62, root))}
	for name, files := range map[string]fstest.MapFS{
		"size without end":          huge,
		"unsigned, without end":     unsigned,
		"checkpoint alone":          {"checkpoint": huge["checkpoint"]},
		"tiles alone":               {"tile/0/000": ev.files["tile/0/000"]},
		"empty checkpoint":          {"checkpoint": &fstest.MapFile{}},
		"checkpoint of another log": {"checkpoint": sign("other\n1\n" + root + "\n")},
		"negative":                  {"checkpoint": sign(ev.signer.Name() + "\n-1\n" + root + "\n")},
		"folder for a file":         {"checkpoint/x": &fstest.MapFile{}},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		r, err := audit.Verify(ctx, files, audit.VerifyOptions{Key: ev.key})
		cancel()
		if err != nil || r.Err() == nil {
			t.Errorf("%s: %v, %v", name, err, r.Err())
		}
	}
	r, err := audit.Verify(context.Background(), fstest.MapFS{}, audit.VerifyOptions{Key: ev.key})
	if err != nil || r.Err() != nil || r.Checkpoint.Size != 0 {
		t.Errorf("a log without entries: %v", err)
	}
	r, err = audit.Verify(context.Background(), fstest.MapFS{}, audit.VerifyOptions{Key: ev.key, Checkpoint: ev.old})
	if err != nil || r.Err() == nil {
		t.Errorf("a log that is gone: %v", err)
	}
	if _, err := audit.Verify(context.Background(), ev.files, audit.VerifyOptions{Key: "x"}); err == nil {
		t.Error("without a key")
	}
	if _, err := audit.Verify(context.Background(), ev.files, audit.VerifyOptions{Key: ev.key, Checkpoint: []byte("hello")}); err == nil {
		t.Error("with a checkpoint that is none")
	}
}
