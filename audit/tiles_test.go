package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"coffer/access"
)

// TestEdge compares roots and tiles with those of x/mod at sizes around every boundary up to the third level.
func TestEdge(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = stored[x]
		}
		return out, nil
	})
	e := &edge{}
	dir := make(fstest.MapFS)
	for n := int64(0); n <= 65536+300; n++ {
		boundary := n < 600 || n%256 < 2 && n%1024 < 258 || n > 65530 && n < 65540 || n%4999 == 0 || n > 65536+250
		if boundary {
			want, err := tlog.TreeHash(n, reader)
			if err != nil {
				t.Fatal(err)
			}
			if e.root() != want {
				t.Fatalf("root of %d leaves differs from x/mod's", n)
			}
			for _, w := range e.take() {
				dir[w.path] = &fstest.MapFile{Data: w.data}
			}
			loaded, err := loadEdge(dir, Checkpoint{Size: n, Root: want})
			if err != nil {
				t.Fatalf("loading the edge of %d leaves: %v", n, err)
			}
			if fmt.Sprint(loaded.levels) != fmt.Sprint(e.levels) || !bytes.Equal(loaded.bundle, e.bundle) {
				t.Fatalf("the edge of %d leaves changes when it is loaded", n)
			}
		}
		leaf := []byte(fmt.Sprint("leaf ", n))
		hashes, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		e.append(leaf)
	}
	tiles := 0
	for _, tile := range tlog.NewTiles(tileHeight, 0, e.size) {
		if tile.W < tileWidth {
			continue
		}
		want, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			t.Fatal(err)
		}
		f := dir[tilePath(tile.L, tile.N, tile.W)]
		if f == nil && tile.N<<tileHeight+tileWidth > 65536+250 {
			continue // after the last take
		}
		if f == nil || !bytes.Equal(f.Data, want) {
			t.Fatalf("tile %s differs from x/mod's", tile.Path())
		}
		tiles++
	}
	if tiles < 257 {
		t.Errorf("only %d tiles compared", tiles)
	}
}

func TestTilePaths(t *testing.T) {
	for path, want := range map[string]tlog.Tile{ // examples of c2sp.org/tlog-tiles
		"tile/0/x001/x234/067":       {L: 0, N: 1234067, W: 256},
		"tile/1/000.p/5":             {L: 1, N: 0, W: 5},
		"tile/entries/x001/x234/067": {L: -1, N: 1234067, W: 256},
		"tile/entries/x273/855.p/1":  {L: -1, N: 273855, W: 1},
		"tile/0/x001/x234/067.p/1":   {L: 0, N: 1234067, W: 1},
		"tile/entries/000":           {L: -1, N: 0, W: 256},
		"tile/7/000.p/255":           {L: 7, N: 0, W: 255},
	} {
		if got := tilePath(want.L, want.N, want.W); got != path {
			t.Errorf("path %s, want %s", got, path)
		}
		level, n, width, ok := parseTilePath(path)
		if !ok || level != want.L || n != want.N || width != want.W {
			t.Errorf("%s parses as %d %d %d %v", path, level, n, width, ok)
		}
	}
	for _, path := range []string{"tile/data/000", "tile/0/1", "tile/0/000.p/256", "tile/0/000.p/0", "tile/8/000", "checkpoint", "tile", "tile/0", "tile/x/000"} {
		if _, _, _, ok := parseTilePath(path); ok {
			t.Errorf("%s parses", path)
		}
	}
}

func genEntry(t *rapid.T) Entry {
	id := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9._:=-]{0,40}`), rapid.Map(rapid.String(), func(s string) string { return strings.ToValidUTF8(s, "") }))
	e := Entry{
		Index:     -1,
		Time:      time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "time")).UTC(),
		Writer:    rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "writer"),
		Seq:       rapid.Uint64Min(1).Draw(t, "seq"),
		ClockBack: rapid.Int64Min(0).Draw(t, "back"),
		Actor: Actor{
			Kind: access.UserCaller, ID: id.Draw(t, "actor"), Local: rapid.Bool().Draw(t, "local"),
			Roles: rapid.SliceOfN(id, 0, 3).Draw(t, "roles"),
		},
		Action: access.Action(id.Draw(t, "action")), Decision: Allow, Policies: rapid.SliceOfN(id, 0, 3).Draw(t, "policies"),
		Hash: id.Draw(t, "hash"), Request: id.Draw(t, "request"), Reason: id.Draw(t, "reason"),
		Note:    cleanNote([]byte(rapid.String().Draw(t, "note"))),
		Finding: id.Draw(t, "finding"), Object: id.Draw(t, "object"), Plan: id.Draw(t, "plan"),
		Outcome: Done, Epoch: rapid.Int64().Draw(t, "epoch"),
		Detail: rapid.MapOfN(id, id, 0, 5).Draw(t, "detail"),
	}
	copy(e.Prev[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "prev"))
	if rapid.Bool().Draw(t, "result") {
		e.Intent = Ref{e.Writer, rapid.Uint64Min(1).Draw(t, "intent")}
	}
	for n := 0; len(e.Occurrences) < rapid.IntRange(0, 30).Draw(t, "count"); {
		n += rapid.IntRange(1, 3).Draw(t, "step")
		e.Occurrences = append(e.Occurrences, n)
	}
	if len(e.Actor.Roles) == 0 {
		e.Actor.Roles = nil
	}
	if len(e.Policies) == 0 {
		e.Policies = nil
	}
	if len(e.Detail) == 0 {
		e.Detail = nil
	}
	return e
}

// oracle is an entry as encoding/json writes it.
type oracle struct {
	V         int    `json:"v"`
	Time      string `json:"time"`
	Writer    string `json:"writer"`
	Seq       uint64 `json:"seq"`
	Prev      string `json:"prev,omitempty"`
	ClockBack int64  `json:"clockBack,omitempty"`
	Actor     struct {
		Kind  access.CallerKind `json:"kind"`
		ID    string            `json:"id"`
		Roles []string          `json:"roles,omitempty"`
		Local bool              `json:"local,omitempty"`
	} `json:"actor"`
	Action      access.Action     `json:"action"`
	Decision    string            `json:"decision"`
	Policies    []string          `json:"policies,omitempty"`
	PolicyHash  string            `json:"policyHash"`
	Request     string            `json:"request,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Note        string            `json:"note,omitempty"`
	Finding     string            `json:"finding,omitempty"`
	Occurrences string            `json:"occurrences,omitempty"`
	Object      string            `json:"object,omitempty"`
	Plan        string            `json:"plan,omitempty"`
	Outcome     Outcome           `json:"outcome"`
	Intent      string            `json:"intent,omitempty"`
	Epoch       int64             `json:"epoch,omitempty"`
	Detail      map[string]string `json:"detail,omitempty"`
}

func (e *Entry) oracle() []byte {
	o := oracle{
		V: 1, Time: e.Time.Format("2006-01-02T15:04:05.000000Z"), Writer: e.Writer, Seq: e.Seq, ClockBack: e.ClockBack,
		Action: e.Action, Decision: e.Decision, Policies: e.Policies, PolicyHash: e.Hash, Request: e.Request, Reason: e.Reason,
		Note: e.Note, Finding: e.Finding, Object: e.Object, Plan: e.Plan, Outcome: e.Outcome, Epoch: e.Epoch, Detail: e.Detail,
	}
	if e.Prev != (tlog.Hash{}) {
		o.Prev = base64.StdEncoding.EncodeToString(e.Prev[:])
	}
	if !e.Intent.IsZero() {
		o.Intent = fmt.Sprintf("%s:%d", e.Intent.Writer, e.Intent.Seq)
	}
	o.Actor.Kind, o.Actor.ID, o.Actor.Roles, o.Actor.Local = e.Actor.Kind, e.Actor.ID, e.Actor.Roles, e.Actor.Local
	var spans []string
	for i := 0; i < len(e.Occurrences); i++ {
		first := e.Occurrences[i]
		for i+1 < len(e.Occurrences) && e.Occurrences[i+1] == e.Occurrences[i]+1 {
			i++
		}
		if last := e.Occurrences[i]; last > first {
			spans = append(spans, fmt.Sprintf("%d-%d", first, last))
		} else {
			spans = append(spans, fmt.Sprint(first))
		}
	}
	o.Occurrences = strings.Join(spans, ",")
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(o); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// TestEntryEncoding: what is encoded decodes to the same, and is JSON that any reader understands alike.
func TestEntryEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEntry(t)
		leaf, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", e) {
			t.Fatal("an entry changes on its way through the encoding")
		}
		if !bytes.Equal(leaf, e.oracle()) {
			t.Fatal("encoding/json writes the entry differently")
		}
		if bytes.ContainsAny(leaf, "\n\r") {
			t.Fatal("a line break in an entry")
		}
		i := rapid.IntRange(0, len(leaf)-1).Draw(t, "i")
		// Two different byte strings are never the same entry.
		other, err := Decode(append(append(bytes.Clone(leaf[:i]), ' '), leaf[i:]...))
		if err == nil && fmt.Sprintf("%+v", other) == fmt.Sprintf("%+v", e) {
			t.Fatal("a space more is not noticed")
		}
	})
}

// FuzzDecode: whatever is accepted is exactly what the encoder writes, within the limits.
func FuzzDecode(f *testing.F) {
	e := Entry{Time: time.Unix(0, 0), Writer: strings.Repeat("0a", 16), Seq: 1, Action: access.ValueReveal, Outcome: Done, Occurrences: []int{1, 2, 4}}
	leaf, err := e.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(leaf)
	f.Add(bytes.Replace(leaf, []byte("1-2,4"), []byte("1-1000000"), 1))
	f.Add(bytes.Replace(leaf, []byte("1-2,4"), []byte("1,2,4"), 1))
	f.Add([]byte(`{"v":1}`))
	f.Add(fence)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if err != nil {
			return
		}
		again, err := e.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatal("accepted bytes that the encoder does not write")
		}
		if len(e.Occurrences) > maxOccurrences || isFence(b) {
			t.Fatal("accepted what is no entry")
		}
	})
}

// FuzzBundle: splitting and joining are inverse, and nothing is read beyond the bundle.
func FuzzBundle(f *testing.F) {
	f.Add(appendLeaf(appendLeaf(nil, []byte("a")), nil), 2)
	f.Add([]byte{0, 5, 1}, 1)
	f.Fuzz(func(t *testing.T, b []byte, width int) {
		if width < 0 || width > tileWidth {
			return
		}
		leaves, err := splitBundle(b, width, true)
		var again []byte
		for _, l := range leaves {
			again = appendLeaf(again, l)
		}
		if !bytes.HasPrefix(b, again) || err == nil && (len(leaves) != width || len(again) != len(b)) {
			t.Fatal("a bundle is split into what it does not hold")
		}
	})
}

// FuzzSplitCheckpoints: no byte of what was kept is invented, and notes that stand alone are found whole.
func FuzzSplitCheckpoints(f *testing.F) {
	one := "coffer/log/x\n1\naaaa\n\n— coffer/log/x sig\n"
	f.Add([]byte(one))
	f.Add([]byte(one + one))
	f.Add([]byte("torn\n" + one + "\n\n" + one))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for _, n := range splitCheckpoints(b) {
			total += len(n)
		}
		if total > len(b)+1 {
			t.Fatal("more bytes than were given")
		}
		with := append(append(bytes.Clone(b), "\n\n"...), one...)
		notes := splitCheckpoints(with)
		if len(notes) == 0 || string(notes[len(notes)-1]) != one {
			t.Fatal("the last checkpoint is not found behind other text")
		}
	})
}

func TestNotes(t *testing.T) {
	for in, want := range map[string]string{
		"  a\nb\tc\u202Ed\u2028 ":    "a b c d",
		"bad \xff utf":               "bad \uFFFD utf",
		strings.Repeat("é", MaxNote): strings.Repeat("é", MaxNote/2),
	} {
		if got := cleanNote([]byte(in)); got != want {
			t.Errorf("note of %d bytes becomes %d bytes, want %d", len(in), len(got), len(want))
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := benchmarkEntry()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	e := benchmarkEntry()
	leaf, err := e.encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(leaf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(leaf); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkEntry() Entry {
	return Entry{
		Time: time.Unix(1772366400, 0).UTC(), Writer: strings.Repeat("0a", 16), Seq: 1234, Prev: tlog.RecordHash(nil),
		Actor:  Actor{Kind: access.UserCaller, ID: "3f9a5c", Roles: []string{"engineer"}},
		Action: access.ValueReveal, Decision: Allow, Policies: []string{"engineer-reveal"}, Hash: strings.Repeat("0f", 32),
		Request: "req-1", Reason: "audit", Note: "quarterly check", Finding: strings.Repeat("ab", 16), Occurrences: []int{1, 2, 3}, Outcome: Intent,
	}
}
