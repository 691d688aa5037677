package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"coffer"
	"coffer/format"
	"coffer/format/archive"
	"coffer/format/formattest"
)

func visits(f format.Format, doc []byte, want []coffer.Location) (at []string, alts []int, err error) {
	err = f.Walk(context.Background(), nil, source(doc, true), want, func(r *format.Region) ([]format.Edit, error) {
		for _, p := range r.Places {
			at = append(at, fmt.Sprintf("%d=%s", p.Want, r.Locate(p.Start, p.End)))
			alts = append(alts, p.Alt)
		}
		return nil, nil
	})
	return at, alts, err
}

// TestNames pins which member a wanted place means.
func TestNames(t *testing.T) {
	body := []byte("one\ntwo\n")
	inner := tarOf(tar.FormatUSTAR, file{"a/b.csv", body}, file{"./c.csv", body})
	tests := []struct {
		name, kind string
		doc        []byte
		want       string // member paths, separated by spaces
		hits       string // "want number=member", with ~ in front in a second reading
	}{
		{"exact", "x.zip", zipOf(file{"a.csv", body}, file{"b.csv", body}), "b.csv", "0=b.csv"},
		{"missing", "x.zip", zipOf(file{"a.csv", body}), "b.csv", ""},
		{"no member named", "x.zip", zipOf(file{"a.csv", body}), "-", ""},
		{"dot slash wanted", "x.tar", inner, "./a/b.csv c.csv", "~0=a/b.csv ~1=./c.csv"},
		{"slash wanted", "x.zip", zipOf(file{"a.csv", body}), "/a.csv", "~0=a.csv"},
		{"backslash in the archive", "x.zip", zipOf(file{`d\a.csv`, body}), "d/a.csv", `~0=d\a.csv`},
		{"nested", "x.zip", zipOf(file{"inner.tar", inner}), "inner.tar!a/b.csv", "0=inner.tar!a/b.csv"},
		{"nested with slashes", "x.zip", zipOf(file{"inner.tar", inner}), "inner.tar/a/b.csv", "~0=inner.tar!a/b.csv"},
		{"nested twice with slashes", "x.zip", zipOf(file{"d/o.zip", zipOf(file{"inner.tar", inner})}), "d/o.zip/inner.tar/a/b.csv", "~~0=d/o.zip!inner.tar!a/b.csv"},
		{"folder like a file", "x.zip", zipOf(file{"d", body}, file{"d/a.csv", body}), "d/a.csv", "0=d/a.csv"},
		{"same name twice", "x.tar", tarOf(tar.FormatUSTAR, file{"a", body}, file{"a", body}), "a a#2", "0=a 1=a#2 ~0=a#2"},
		{"bare gzip, any name", "x.csv.gz", bareGz(body), "x.csv whatever -", "0=x.csv 1=x.csv 2=x.csv"},
		{"bare gzip, name in the header", "x.csv.gz", gz(body), "inner.txt", "0=inner.txt"},
		{"bare gzip, two names", "x.csv.gz", bareGz(body), "x.csv!y", ""},
		{"tar.gz", "x.tar.gz", bareGz(inner), "a/b.csv", "0=a/b.csv"},
		{"tar.gz with the tar's name", "x.tar.gz", bareGz(inner), "x.tar!a/b.csv x.tar/a/b.csv", "~0=a/b.csv ~1=a/b.csv"},
		{"tar.gz in zip", "x.zip", zipOf(file{"a.tar.gz", bareGz(inner)}), "a.tar.gz!a/b.csv a.tar.gz/a/b.csv a.tar.gz/a.tar/a/b.csv",
			"0=a.tar.gz!a/b.csv ~1=a.tar.gz!a/b.csv ~~2=a.tar.gz!a/b.csv"},
		{"gz in zip without a name", "x.zip", zipOf(file{"a.csv.gz", bareGz(body)}), "a.csv.gz a.csv.gz!a.csv a.csv.gz/a.csv",
			"0=a.csv.gz!a.csv 1=a.csv.gz!a.csv ~2=a.csv.gz!a.csv"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want []coffer.Location
			for _, m := range strings.Fields(tt.want) {
				if m == "-" {
					m = ""
				}
				want = append(want, coffer.Location{Member: m, Kind: coffer.Lines, Start: 2, End: 2})
			}
			at, alts, err := visits(choose(tt.kind, nil), tt.doc, want)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, a := range at {
				a, ok := strings.CutSuffix(a, "!line:2-2:1")
				if !ok {
					t.Errorf("place %s", at[i])
				}
				got = append(got, strings.Repeat("~", alts[i]/archive.AltName)+a)
			}
			if g := strings.Join(got, " "); g != tt.hits {
				t.Errorf("got  %s\nwant %s", g, tt.hits)
			}
		})
	}
}

// TestSameName: every member has a path of its own, and a walk that wants it visits it alone in the first reading.
func TestSameName(t *testing.T) {
	doc := tarOf(tar.FormatUSTAR, file{"a", []byte("1")}, file{"a", []byte("2")}, file{"a#2", []byte("3")}, file{"a", []byte("4")}, file{"", []byte("5")})
	all, err := formattest.Collect(archive.Tar{Choose: choose}, doc, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, s := range all {
		if seen[s.At.Member] {
			t.Errorf("member %d shares its path", i)
		}
		seen[s.At.Member] = true
		first := 0
		_, alts, err := visits(archive.Tar{Choose: choose}, doc, []coffer.Location{s.At})
		for _, a := range alts {
			if a == 0 {
				first++
			}
		}
		if err != nil || first != 1 {
			t.Errorf("path of member %d: %d members in the first reading, %v", i, first, err)
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d members", len(seen))
	}
}

func zeroGz(n int) []byte { return bareGz(make([]byte, n)) }

// TestLimits builds a small bomb for every limit.
func TestLimits(t *testing.T) {
	deep := []byte("x")
	for range 12 {
		deep = zipOf(file{"x.zip", deep})
	}
	many := make([]file, 50)
	for i := range many {
		many[i] = file{fmt.Sprint(i), []byte("x")}
	}
	small := archive.Limits{Entries: 20, Bytes: 1 << 20, Ratio: 50, RatioFloor: 100 << 10}
	in := func(l archive.Limits) archive.Chooser {
		return func(name string, head []byte) format.Format {
			f := choose(name, head)
			if _, ok := f.(archive.Gzip); ok {
				return archive.Gzip{Name: name, Choose: choose} // the outer limits count here too
			}
			return f
		}
	}
	random := sample(2<<20, 3)
	for _, tt := range []struct {
		name   string
		f      format.Format
		doc    []byte
		member bool
	}{
		{"depth", archive.Zip{Choose: choose}, deep, true},
		{"zip entries", archive.Zip{Choose: choose, Limits: small}, zipOf(many...), false},
		{"tar entries", archive.Tar{Choose: choose, Limits: small}, tarOf(tar.FormatUSTAR, many...), true},
		{"tar entries, extended headers", archive.Tar{Choose: choose, Limits: small}, tarOf(tar.FormatPAX, many[:15]...), false},
		{"gzip streams", archive.Gzip{Choose: choose, Limits: small}, bytes.Repeat(gz([]byte("x")), 50), true},
		{"entries of inner archives", archive.Zip{Choose: choose, Limits: small}, zipOf(file{"a.zip", zipOf(many[:15]...)}, file{"b.zip", zipOf(many[:15]...)}), true},
		{"bytes gzip", archive.Gzip{Choose: choose, Limits: small}, bareGz(random), true},
		{"bytes zip", archive.Zip{Choose: choose, Limits: small}, zipOf(file{"a", random}), true},
		{"bytes in all", archive.Zip{Choose: choose, Limits: small}, zipOf(file{"a", random[:600<<10]}, file{"b", random[:600<<10]}), true},
		{"bytes of an inner gzip", archive.Tar{Choose: in(small), Limits: small}, tarOf(tar.FormatUSTAR, file{"a.gz", bareGz(random)}), true},
		{"ratio gzip", archive.Gzip{Choose: choose, Limits: small}, zeroGz(500 << 10), true},
		{"ratio zip", archive.Zip{Choose: choose, Limits: small}, zipOf(file{"a", make([]byte, 500<<10)}), true},
		{"ratio in the second stream", archive.Gzip{Choose: choose, Limits: small}, append(bareGz(random[:300<<10]), zeroGz(500<<10)...), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, dst := range []io.Writer{nil, io.Discard} {
				err := tt.f.Walk(context.Background(), dst, source(tt.doc, true), nil, none)
				if !errors.Is(err, coffer.ErrLimit) {
					t.Fatalf("got %v", err)
				}
				var m *archive.MemberError
				if errors.As(err, &m) != tt.member || tt.member && m.Member == "" {
					t.Errorf("error names no member: %v", err)
				}
			}
		})
	}
	t.Run("floor", func(t *testing.T) {
		if _, err := walk(archive.Gzip{Choose: choose, Limits: small}, zeroGz(90<<10), true, none); err != nil {
			t.Error(err)
		}
	})
}

// TestBombMemory inflates zeros with the default limits: refused, quickly and in little memory.
func TestBombMemory(t *testing.T) {
	bomb := zeroGz(80 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := archive.Gzip{Choose: choose}.Walk(context.Background(), nil, source(bomb, true), nil, none)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, coffer.ErrLimit) {
		t.Fatal(err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

// patch returns doc with the bytes at off replaced.
func patch(doc []byte, off int, b ...byte) []byte {
	doc = bytes.Clone(doc)
	copy(doc[off:], b)
	return doc
}

// hidden expects that what is listed can be found, and that no walk that claims to have seen or written all succeeds.
func hidden(t *testing.T, doc []byte, listed string) {
	t.Helper()
	f := archive.Zip{Choose: choose}
	if at, _, err := visits(f, doc, []coffer.Location{{Member: listed, Kind: coffer.Lines, Start: 1, End: 1}}); err != nil || len(at) != 1 {
		t.Errorf("a listed member: %d places, %v", len(at), err)
	}
	seen, err := formattest.Collect(f, doc, nil, nil)
	if !errors.Is(err, coffer.ErrUnsupported) || len(seen) == 0 {
		t.Errorf("a walk over everything: %d regions, %v", len(seen), err)
	}
	for _, visit := range []format.Visitor{none, mask} {
		if _, err := walk(f, doc, true, visit); !errors.Is(err, coffer.ErrUnsupported) {
			t.Errorf("a walk that writes: %v", err)
		}
	}
}

// TestZipTricks is about archives that show different things to different readers.
func TestZipTricks(t *testing.T) {
	loud := sample(500, 1)
	one := zipOf(file{"a.txt", loud}, file{"b.txt", loud})
	dir := bytes.Index(one, []byte("PK\x01\x02"))
	second := dir + bytes.Index(one[dir+4:], []byte("PK\x01\x02")) + 4

	t.Run("overlap", func(t *testing.T) {
		bad := patch(one, second+42, 0, 0, 0, 0) // both records name the first member
		if _, err := walk(archive.Zip{Choose: choose}, bad, true, none); !errors.Is(err, coffer.ErrInvalid) || !strings.Contains(err.Error(), "overlap") {
			t.Error(err)
		}
	})
	t.Run("partial overlap", func(t *testing.T) {
		comp := binary.LittleEndian.Uint32(one[dir+20:])
		bad := patch(one, dir+20, binary.LittleEndian.AppendUint32(nil, comp+200)...)
		if _, err := walk(archive.Zip{Choose: choose}, bad, true, none); !errors.Is(err, coffer.ErrInvalid) {
			t.Error(err)
		}
	})
	t.Run("overlap is seen before anything is read", func(t *testing.T) {
		three := zipOf(file{"a.txt", loud}, file{"b.txt", loud}, file{"c.txt", loud})
		d := bytes.LastIndex(three, []byte("PK\x01\x02"))
		e := bytes.LastIndex(three[:d], []byte("PK\x01\x02"))
		seen, err := formattest.Collect(archive.Zip{Choose: choose}, patch(three, d+42, three[e+42:e+46]...), nil, nil)
		if !errors.Is(err, coffer.ErrInvalid) || len(seen) > 0 {
			t.Errorf("%d regions, %v", len(seen), err)
		}
	})
	t.Run("overlap by a local header", func(t *testing.T) {
		bad := patch(one, 28, 0xff, 0) // the extra fields in front of the data reach into the next member
		if _, err := walk(archive.Zip{Choose: choose}, bad, true, none); !errors.Is(err, coffer.ErrInvalid) || !strings.Contains(err.Error(), "overlap") {
			t.Error(err)
		}
	})
	t.Run("hidden in front", func(t *testing.T) {
		hidden(t, append(zipOf(file{"hidden.txt", loud}), one...), "a.txt")
	})
	t.Run("hidden between", func(t *testing.T) {
		// The first member's record is taken out of the directory.
		doc := append(bytes.Clone(one[:dir]), one[second:]...)
		end := bytes.LastIndex(doc, []byte("PK\x05\x06"))
		binary.LittleEndian.PutUint16(doc[end+8:], 1)
		binary.LittleEndian.PutUint16(doc[end+10:], 1)
		binary.LittleEndian.PutUint32(doc[end+12:], binary.LittleEndian.Uint32(doc[end+12:])-uint32(second-dir))
		hidden(t, doc, "b.txt")
	})
	t.Run("size too small", func(t *testing.T) {
		bad := patch(one, dir+24, 10, 0, 0, 0)
		if _, err := walk(archive.Zip{Choose: choose}, bad, true, none); !errors.Is(err, coffer.ErrInvalid) {
			t.Error(err)
		}
	})
	t.Run("two members, one corrupt", func(t *testing.T) {
		bad := patch(one, dir+16, 1, 2, 3, 4) // checksum of the first
		text := 0
		err := archive.Zip{Choose: choose}.Walk(context.Background(), nil, source(bad, true), nil, func(r *format.Region) ([]format.Edit, error) {
			if strings.HasPrefix(r.At.Member, "b.txt") {
				text += r.Commit - r.Lead
			}
			return nil, nil
		})
		var m *archive.MemberError
		if !errors.Is(err, coffer.ErrInvalid) || !errors.As(err, &m) || m.Member != "a.txt" || strings.Contains(err.Error(), "a.txt") {
			t.Errorf("got %v", err)
		}
		if text != len(loud) {
			t.Errorf("%d bytes of the good member seen", text)
		}
	})
	for name, bad := range map[string][]byte{
		"encrypted": patch(patch(one, dir+8, one[dir+8]|1), 6, one[6]|1),
		"method":    patch(patch(one, dir+10, 99), 8, 99),
	} {
		t.Run(name, func(t *testing.T) {
			f := archive.Zip{Choose: choose}
			out, err := walk(f, bad, true, mask)
			if err != nil || bytes.Equal(out, bad) {
				t.Errorf("a walk over everything that can be read: %v", err)
			}
			at, _, err := visits(f, bad, []coffer.Location{{Member: "a.txt", Kind: coffer.Lines, Start: 1, End: 1}, {Member: "b.txt", Kind: coffer.Lines, Start: 1, End: 1}})
			if !errors.Is(err, coffer.ErrUnsupported) || len(at) != 1 {
				t.Errorf("wanted in an opaque member: %v, %d places", err, len(at))
			}
		})
	}
}

// TestZip64 rewrites an archive whose sizes and offsets stand in zip64 fields.
func TestZip64(t *testing.T) {
	loud := sample(2000, 1)
	plain := zipOf(file{"a.txt", loud}, file{"b.txt", loud})
	// Every record gets a zip64 field, and the archive zip64 end records.
	r := must(zip.NewReader(bytes.NewReader(plain), int64(len(plain))))
	var out, dir bytes.Buffer
	le := binary.LittleEndian
	for _, f := range r.File {
		off := out.Len()
		raw := must(io.ReadAll(must(f.OpenRaw())))
		wide := func(offset bool) []byte {
			b := []byte{1, 0, 16, 0}
			b = le.AppendUint64(le.AppendUint64(b, f.UncompressedSize64), f.CompressedSize64)
			if offset {
				b[2] = 24
				b = le.AppendUint64(b, uint64(off))
			}
			return b
		}
		head := func(extra []byte) []byte {
			b := []byte{45, 0, 0, 0, byte(f.Method), 0, 0, 0, 0, 0}
			b = le.AppendUint32(b, f.CRC32)
			b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
			b = le.AppendUint16(le.AppendUint16(b, uint16(len(f.Name))), uint16(len(extra)))
			return b
		}
		out.WriteString("PK\x03\x04")
		out.Write(head(wide(false)))
		out.WriteString(f.Name)
		out.Write(wide(false))
		out.Write(raw)
		dir.WriteString("PK\x01\x02\x2d\x03")
		dir.Write(head(wide(true)))
		dir.Write([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
		dir.WriteString(f.Name)
		dir.Write(wide(true))
	}
	at := out.Len()
	out.Write(dir.Bytes())
	end64 := out.Len()
	b := append([]byte("PK\x06\x06"), le.AppendUint64(nil, 44)...)
	b = append(b, 45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, v := range []int{2, 2, dir.Len(), at} {
		b = le.AppendUint64(b, uint64(v))
	}
	b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
	b = append(le.AppendUint64(b, uint64(end64)), 1, 0, 0, 0)
	b = append(b, "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
	out.Write(b)
	doc := out.Bytes()

	got, err := walk(archive.Zip{Choose: choose}, doc, true, mask)
	if err != nil {
		t.Fatal(err)
	}
	again := must(zip.NewReader(bytes.NewReader(got), int64(len(got))))
	if len(again.File) != 2 {
		t.Fatalf("%d members", len(again.File))
	}
	for _, f := range again.File {
		if b := must(io.ReadAll(must(f.Open()))); !bytes.Equal(b, bytes.ReplaceAll(loud, []byte(value), []byte("***"))) {
			t.Error("wrong contents")
		}
	}
	if same, err := walk(archive.Zip{Choose: choose}, doc, false, none); err != nil || !bytes.Equal(same, doc) {
		t.Errorf("copy: %v", err)
	}
}

// TestTarSizes rewrites sizes in every form they have.
func TestTarSizes(t *testing.T) {
	loud := sample(700, 1)
	header := func(name string, size int, kind byte, base256 bool) []byte {
		b := make([]byte, 512)
		copy(b, name)
		copy(b[100:], "0000644\x000000000\x000000000\x00")
		if base256 {
			b[124] = 0x80
			binary.BigEndian.PutUint64(b[128:], uint64(size))
		} else {
			copy(b[124:], fmt.Sprintf("%011o ", size))
		}
		copy(b[136:], "00000000000\x00        ")
		b[156] = kind
		copy(b[257:], "ustar\x0000")
		sum := 0
		for _, c := range b {
			sum += int(c)
		}
		copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
		return b
	}
	pad := func(b []byte) []byte { return append(bytes.Clone(b), make([]byte, -len(b)&511)...) }
	pax := func(records string) []byte {
		return append(header("PaxHeaders/x", len(records), 'x', false), pad([]byte(records))...)
	}
	end := make([]byte, 1024)
	filler := "500 comment=" + strings.Repeat("c", 487) + "\n"
	docs := map[string][]byte{
		"octal with a space": bytes.Join([][]byte{header("a", len(loud), '0', false), pad(loud), end}, nil),
		"base 256":           bytes.Join([][]byte{header("a", len(loud), '0', true), pad(loud), end}, nil),
		"pax":                bytes.Join([][]byte{pax(fmt.Sprintf("12 size=%d\n", len(loud))), header("a", 0, '0', false), pad(loud), end}, nil),
		"pax over the block": bytes.Join([][]byte{pax(filler + fmt.Sprintf("12 size=%d\n", len(loud))), header("a", 0, '0', false), pad(loud), end}, nil),
	}
	grow := func(r *format.Region) ([]format.Edit, error) {
		es, _ := mask(r)
		for i := range es {
			es[i].New = bytes.Repeat([]byte("n"), 900)
		}
		return es, nil
	}
	for name, doc := range docs {
		for how, visit := range map[string]format.Visitor{"shrink": mask, "grow": grow} {
			out, err := walk(archive.Tar{Choose: choose}, doc, true, visit)
			if err != nil {
				t.Errorf("%s, %s: %v", name, how, err)
				continue
			}
			r := tar.NewReader(bytes.NewReader(out))
			h, err := r.Next()
			if err != nil {
				t.Errorf("%s, %s: %v", name, how, err)
				continue
			}
			with := "***"
			if how == "grow" {
				with = strings.Repeat("n", 900)
			}
			if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, bytes.ReplaceAll(loud, []byte(value), []byte(with))) {
				t.Errorf("%s, %s: contents of %d bytes: %v", name, how, len(b), err)
			}
			if _, err := r.Next(); err != io.EOF || h.Name != "a" {
				t.Errorf("%s, %s: end: %v", name, how, err)
			}
		}
	}
	t.Run("archive appended", func(t *testing.T) {
		doc := append(bytes.Clone(docs["base 256"]), docs["octal with a space"]...)
		if out, err := walk(archive.Tar{Choose: choose}, doc, true, none); err != nil || !bytes.Equal(out, doc) {
			t.Errorf("copy: %v", err)
		}
		out, err := walk(archive.Tar{Choose: choose}, doc, true, mask)
		if err != nil || bytes.Contains(out, []byte(value)) || !bytes.HasSuffix(out, end) {
			t.Errorf("edit: %v", err)
		}
	})
	t.Run("something appended", func(t *testing.T) {
		for _, rest := range []string{"x", strings.Repeat("x", 600)} {
			doc := append(bytes.Clone(docs["base 256"]), rest...)
			f := archive.Tar{Choose: choose}
			if _, err := walk(f, doc, true, none); !errors.Is(err, coffer.ErrUnsupported) {
				t.Errorf("copy: %v", err)
			}
			if seen, err := formattest.Collect(f, doc, nil, nil); !errors.Is(err, coffer.ErrUnsupported) || len(seen) != 1 {
				t.Errorf("everything: %v", err)
			}
			if at, _, err := visits(f, doc, []coffer.Location{{Member: "a", Kind: coffer.Lines, Start: 1, End: 1}}); err != nil || len(at) != 1 {
				t.Errorf("wanted: %v", err)
			}
		}
	})
	t.Run("links and folders", func(t *testing.T) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range []tar.Header{{Name: "d/", Typeflag: tar.TypeDir}, {Name: "l", Linkname: "a", Typeflag: tar.TypeSymlink}, {Name: "h", Linkname: "a", Typeflag: tar.TypeLink}, {Name: "a", Size: int64(len(loud))}} {
			h.ModTime = time.Unix(0, 0)
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		must(w.Write(loud))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out, err := walk(archive.Tar{Choose: choose}, b.Bytes(), false, mask)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out[:3*512], b.Bytes()[:3*512]) {
			t.Error("headers of other entries changed")
		}
	})
}

// TestErrorsAsTheyAre: what the visitor and the destination say comes back untouched, even where it looks like ours.
func TestErrorsAsTheyAre(t *testing.T) {
	mine := fmt.Errorf("mine: %w", coffer.ErrLimit)
	for kind, docs := range documents() {
		for _, d := range docs {
			if len(d.Values) == 0 {
				continue
			}
			for _, dst := range []io.Writer{nil, io.Discard} {
				err := choose(kind, nil).Walk(context.Background(), dst, source(d.Bytes, true), nil, func(*format.Region) ([]format.Edit, error) { return nil, mine })
				if err != mine {
					t.Errorf("%s %s: visitor's error became %v", kind, d.Name, err)
				}
			}
			for _, n := range []int{0, 1, len(d.Bytes) / 2} {
				if err := choose(kind, nil).Walk(context.Background(), &short{n, mine}, source(d.Bytes, true), nil, mask); err != mine {
					t.Errorf("%s %s: destination's error after %d bytes became %v", kind, d.Name, n, err)
				}
			}
		}
	}
}

type short struct {
	n   int
	err error
}

func (s *short) Write(p []byte) (int, error) {
	if s.n -= len(p); s.n < 0 {
		return 0, s.err
	}
	return len(p), nil
}

// harness for documents of which the standard library may think otherwise.
func lenient(kind string) formattest.Harness {
	return formattest.Harness{Format: choose(kind, nil), Members: func(doc []byte) ([]formattest.Member, error) {
		ms, err := members(kind, doc)
		if err != nil {
			return nil, nil
		}
		for i := range ms {
			for _, n := range ms[:i] {
				if n.Path == ms[i].Path {
					return nil, nil // members of one name cannot be told apart by their path
				}
			}
		}
		return ms, nil
	}}
}

func fuzz(f *testing.F, kind string) {
	small := sample(200, 1)
	for _, d := range [][]byte{
		gz(small), gz(small, nil, small), append(bareGz(small), 0, 0), zipOf(file{"a.txt", small}, file{"b.txt", small}, file{"c.gz", bareGz(small)}),
		tarOf(tar.FormatPAX, file{"a.txt", small}, file{"b.bin", small})[:5120], tarOf(tar.FormatGNU, file{strings.Repeat("n", 200), small})[:5120],
		bareGz(tarOf(tar.FormatUSTAR, file{"a.txt", small})),
	} {
		f.Add(d, uint64(1))
	}
	f.Fuzz(func(t *testing.T, doc []byte, seed uint64) {
		if len(doc) > 64<<10 {
			t.Skip()
		}
		formattest.Laws(t, lenient(kind), doc, seed)
	})
}

func FuzzGzip(f *testing.F) { fuzz(f, "x.gz") }
func FuzzZip(f *testing.F)  { fuzz(f, "x.zip") }
func FuzzTar(f *testing.F)  { fuzz(f, "x.tar") }
