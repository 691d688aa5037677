package archive

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"coffer"
)

// full returns a budget whose memory for spools is used up, so that everything goes to the file.
func full() *budget {
	b := &budget{Limits: Limits{}.orDefault()}
	b.spooled.Store(spoolMemory)
	return b
}

// TestSpool compares a spool with a byte slice, with room in memory for none, some and all of it.
func TestSpool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := full()
		room := rapid.IntRange(0, 3).Draw(t, "blocks in memory")
		b.spooled.Add(int64(-room * spoolBlock))
		s := newSpool(b)
		defer s.Close()
		for range rapid.IntRange(1, 2).Draw(t, "uses") {
			var model []byte
			for i := range rapid.IntRange(0, 12).Draw(t, "steps") {
				if rapid.Bool().Draw(t, "write") {
					p := bytes.Repeat([]byte{byte(i), byte(i + 1), 7}, rapid.IntRange(0, 60_000).Draw(t, "n"))
					if n, err := s.Write(p); n != len(p) || err != nil {
						t.Fatalf("wrote %d of %d: %v", n, len(p), err)
					}
					model = append(model, p...)
				}
				off := rapid.IntRange(0, len(model)+10).Draw(t, "off")
				got, want := make([]byte, rapid.IntRange(1, 200_000).Draw(t, "len")), make([]byte, 200_000)
				n, err := s.ReadAt(got, int64(off))
				m, err2 := bytes.NewReader(model).ReadAt(want[:len(got)], int64(off))
				if n != m || err != err2 || !bytes.Equal(got[:n], want[:m]) {
					t.Fatalf("read %d at %d of %d: %d, %v; want %d, %v", len(got), off, len(model), n, err, m, err2)
				}
			}
			if s.Size() != int64(len(model)) {
				t.Fatalf("size %d of %d", s.Size(), len(model))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.spooled.Load(); got != spoolMemory-int64(room*spoolBlock) {
			t.Fatalf("memory given back: %d", got)
		}
	})
}

// TestSpoolFile looks into the temporary file: no plaintext, nobody else may read it, no name is left.
func TestSpoolFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := newSpool(full())
	text := bytes.Repeat([]byte("synthetic-value-4711 "), 20_000)
	if _, err := s.Write(text); err != nil {
		t.Fatal(err)
	}
	if s.file == nil {
		t.Fatal("nothing went to a file")
	}
	st, err := s.file.Stat()
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	raw, err := io.ReadAll(io.NewSectionReader(s.file, 0, 1<<30))
	if err != nil || len(raw) < len(text)-2*spoolBlock {
		t.Fatalf("%d bytes in the file: %v", len(raw), err)
	}
	if bytes.Contains(raw, text[:21]) {
		t.Error("plaintext in the file")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); !s.linked && len(left) > 0 {
		t.Error("the file still has a name")
	}
	if _, err := s.file.WriteAt([]byte{raw[100] ^ 1}, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAt(make([]byte, 10), 0); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("altered file: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Error("the file is still there")
	}
}

// TestChunking: what is compressed does not depend on how it comes in pieces, or a rewrite would not be a function of original and
// plan.
func TestChunking(t *testing.T) {
	text := bytes.Repeat([]byte("a line of text, and another one; 4711\n"), 20_000)
	for i := range text {
		if i%17 == 0 {
			text[i] = byte('a' + i*i%23)
		}
	}
	var first []byte
	for _, n := range []int{len(text), 1, 100, 4096, 65_537} {
		s := newSpool(&budget{Limits: Limits{}.orDefault()})
		m, err := newZipMember(s, methodDeflate)
		if err != nil {
			t.Fatal(err)
		}
		for rest := text; len(rest) > 0; rest = rest[min(n, len(rest)):] {
			if _, err := m.Write(rest[:min(n, len(rest))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.close(); err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
		if first == nil {
			first = got
		}
		if !bytes.Equal(got, first) {
			t.Errorf("pieces of %d bytes give other output", n)
		}
	}
}
