//go:build unix && !aix && !solaris

package dir

import (
	"bufio"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"coffer"
	"coffer/object"
)

func TestHostileNames(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	b := filepath.Join(w.root, "bucket")
	outside := t.TempDir()
	w.check(os.WriteFile(filepath.Join(outside, "secret"), []byte("outside"), 0o600))
	w.check(os.Mkdir(filepath.Join(w.root, "other"), 0o700))
	w.check(os.WriteFile(filepath.Join(w.root, "other", "file"), []byte("other bucket"), 0o600))
	w.check(os.WriteFile(filepath.Join(b, "file"), []byte("plain"), 0o600))
	w.check(os.Mkdir(filepath.Join(b, "subtree"), 0o700))
	for name, target := range map[string]string{
		"abs": filepath.Join(outside, "secret"), "inside": "file", "dangling": "nowhere", "to-dir": outside, "to-bucket": "../other",
		"loop": "loop",
	} {
		w.check(os.Symlink(target, filepath.Join(b, name)))
	}
	w.check(os.Symlink("bucket", filepath.Join(w.root, "linked-bucket")))
	w.check(syscall.Mkfifo(filepath.Join(b, "pipe"), 0o600))
	_ = syscall.Mknod(filepath.Join(b, "nulldev"), syscall.S_IFCHR|0o600, 0x0103) // null, where the test may

	ctx := t.Context()
	objects := []coffer.Object{
		{Bucket: "linked-bucket", Key: "file"}, {Bucket: ".coffer", Key: "locks"}, {Bucket: "..", Key: "x"}, {Bucket: "", Key: "x"},
		{Bucket: "bucket/subtree", Key: "x"}, {Bucket: "bucket", Key: "subtree"},
	}
	for _, k := range []string{"abs", "inside", "dangling", "loop", "to-dir/secret", "to-bucket/file", "pipe", "file/below", "pipe/x"} {
		objects = append(objects, coffer.Object{Bucket: "bucket", Key: k})
	}
	if _, err := os.Lstat(filepath.Join(b, "nulldev")); err == nil {
		objects = append(objects, coffer.Object{Bucket: "bucket", Key: "nulldev"})
	}
	for i, o := range objects {
		_, err := w.d.Stat(ctx, o)
		_, oerr := w.d.Open(ctx, o)
		_, serr := w.d.Stage(ctx, o, object.Attrs{}, fill("x"))
		_, derr := w.d.Delete(ctx, o)
		terr := w.d.Tag(ctx, o, nil)
		for j, err := range []error{err, oerr, serr, derr, terr} {
			if !errors.Is(err, coffer.ErrInvalid) {
				t.Errorf("object %d, call %d: %v", i, j, err)
			}
			if err != nil && (strings.Contains(err.Error(), o.Key) && len(o.Key) > 4 || strings.Contains(err.Error(), w.root)) {
				t.Errorf("object %d, call %d: the error repeats a name", i, j)
			}
		}
	}
	var listed []string
	for i, err := range w.d.List(ctx, "bucket", "", "") {
		w.check(err)
		listed = append(listed, i.Key)
	}
	if !slices.Equal(listed, []string{"file"}) {
		t.Errorf("%d objects listed, want the plain file alone", len(listed))
	}
	var buckets []string
	for i, err := range w.d.List(ctx, "", "", "") {
		w.check(err)
		buckets = append(buckets, i.Bucket)
	}
	if !slices.Equal(buckets, []string{"bucket", "other"}) {
		t.Errorf("buckets %q", buckets)
	}
	if got, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(got) != "outside" {
		t.Error("a file outside was touched")
	}
}

// TestSideLink: .coffer itself is not followed either.
func TestSideLink(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	outside := t.TempDir()
	w.check(os.Symlink(outside, filepath.Join(w.root, sideName)))
	_, err := w.d.Stage(t.Context(), w.object(), object.Attrs{}, fill("x"))
	if !errors.Is(err, coffer.ErrInvalid) {
		t.Errorf("stage: %v", err)
	}
	if es, err := os.ReadDir(outside); err != nil || len(es) > 0 {
		t.Errorf("%d files written through a symbolic link", len(es))
	}
}

func TestModeAndOwner(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	w.check(os.MkdirAll(filepath.Dir(w.path), 0o755))
	w.check(os.WriteFile(w.path, []byte(oldBytes), 0o600))
	root := os.Geteuid() == 0
	if root {
		w.check(os.Chown(w.path, 12345, 54321))
	}
	w.check(os.Chmod(w.path, 0o751|fs.ModeSetuid))
	info, err := w.d.Stat(t.Context(), w.object())
	w.check(err)
	st, err := w.d.Stage(t.Context(), info.Object, info.Attrs, func(out io.Writer) error {
		// While it is filled it is nobody else's to read.
		es, err := os.ReadDir(filepath.Dir(w.path))
		w.check(err)
		for _, e := range es {
			fi, err := e.Info()
			w.check(err)
			if strings.HasPrefix(e.Name(), stagePrefix) && fi.Mode() != 0o600 {
				t.Errorf("staged with mode %v", fi.Mode())
			}
		}
		return fill(newBytes)(out)
	})
	w.check(err)
	_, err = st.Commit(t.Context())
	w.check(err)
	fi, err := os.Stat(w.path)
	w.check(err)
	if fi.Mode() != 0o751 {
		t.Errorf("mode %v, want 0751 without set-user-id", fi.Mode())
	}
	if s := fi.Sys().(*syscall.Stat_t); root && (s.Uid != 12345 || s.Gid != 54321) {
		t.Errorf("owner %d:%d", s.Uid, s.Gid)
	}
	for _, n := range []string{sideName, sideName + "/bucket", sideName + "/bucket/keys"} {
		if fi, err := os.Stat(filepath.Join(w.root, n)); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v, %v", n, fi.Mode(), err)
		}
	}
}

func TestHardLinks(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	o := w.put(oldBytes)
	outside := filepath.Join(w.root, sideName, "outside")
	w.check(os.Link(w.path, filepath.Join(w.root, "bucket", "second name")))
	w.check(os.Mkdir(filepath.Join(w.root, "other"), 0o755))
	w.check(os.Link(w.path, filepath.Join(w.root, "other", "third")))
	w.check(os.Link(w.path, outside))
	got, err := w.d.Copies(t.Context(), o)
	w.check(err)
	var names []string
	for _, c := range got {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if want := []string{"1 further, not found among the buckets", "bucket/second name", "other/third"}; !slices.Equal(names, want) {
		t.Errorf("copies %q", names)
	}
	st, err := w.d.Stage(t.Context(), o, object.Attrs{}, fill(newBytes))
	w.check(err)
	_, err = st.Commit(t.Context())
	w.check(err)
	if b, err := os.ReadFile(outside); err != nil || string(b) != oldBytes {
		t.Error("a commit changed another name's bytes")
	}
	if got, err := w.d.Copies(t.Context(), w.object()); err != nil || len(got) > 0 {
		t.Errorf("%d copies of the new bytes, %v", len(got), err)
	}
}

// TestInPlace: a write into the opened file shows as an error, whether it changes the times or, in a young file, not.
func TestInPlace(t *testing.T) {
	for _, size := range []int{100, inMemory + 1000} {
		for _, age := range []time.Duration{0, time.Hour} {
			for _, random := range []bool{false, true} {
				if random && age == 0 && size > inMemory {
					continue // the documented limit
				}
				w := newWorld(t, false)
				w.check(os.MkdirAll(filepath.Dir(w.path), 0o755))
				body := strings.Repeat("x", size)
				w.check(os.WriteFile(w.path, []byte(body), 0o644))
				then := time.Now().Add(-age)
				w.check(os.Chtimes(w.path, then, then))
				b, err := w.d.Open(t.Context(), w.object())
				w.check(err)
				f, err := os.OpenFile(w.path, os.O_WRONLY, 0)
				w.check(err)
				_, err = f.WriteAt([]byte("changed"), int64(size-10))
				w.check(errors.Join(err, f.Close()))
				if age == 0 {
					w.check(os.Chtimes(w.path, then, then)) // a clock that has not ticked
				}
				var got []byte
				if random {
					got = make([]byte, size)
					_, err = b.ReaderAt.ReadAt(got, 0)
					if err == io.EOF {
						err = nil
					}
				} else {
					got, err = io.ReadAll(b)
				}
				if err == nil && string(got) != body {
					t.Errorf("%d bytes, age %v, at random %v: changed bytes without an error", size, age, random)
				}
				if err != nil && !errors.Is(err, coffer.ErrChanged) {
					t.Errorf("%d bytes, age %v, at random %v: %v", size, age, random, err)
				}
				b.Close()
				w.close()
			}
		}
	}
}

// TestOpenForWriting: what another program is still writing is not taken from under it.
func TestOpenForWriting(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	o := w.put(oldBytes)
	st, err := w.d.Stage(t.Context(), o, object.Attrs{}, fill(newBytes))
	w.check(err)
	f, err := os.OpenFile(w.path, os.O_RDWR, 0)
	w.check(err)
	if !openForWriting(f) {
		// A lease needs a descriptor that is open for reading alone, so this says how things are, not whether f writes.
		r, err := os.Open(w.path)
		w.check(err)
		known := openForWriting(r)
		r.Close()
		if !known {
			t.Skip("leases do not tell here")
		}
	}
	_, err = st.Commit(t.Context())
	if !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("commit under a writer: %v", err)
	}
	if _, err := w.d.Delete(t.Context(), o); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("delete under a writer: %v", err)
	}
	w.check(f.Close())
	_, err = st.Commit(t.Context())
	w.check(err)

	// One that opens it in the last moment, just before the names change.
	o = coffer.Object{Bucket: "bucket", Key: w.key}
	info, err := w.d.Stat(t.Context(), o)
	w.check(err)
	st, err = w.d.Stage(t.Context(), info.Object, object.Attrs{}, fill("third bytes"))
	w.check(err)
	w.d.step = func(s string) {
		if s == "prepared" {
			f, err = os.OpenFile(w.path, os.O_RDWR|os.O_APPEND, 0)
			w.check(err)
		}
	}
	if _, err := st.Commit(t.Context()); !errors.Is(err, coffer.ErrConflict) {
		t.Errorf("commit under a late writer: %v", err)
	}
	_, err = f.WriteString(foreignA)
	w.check(errors.Join(err, f.Close(), st.Abort(t.Context())))
	if w.current() != newBytes+foreignA {
		t.Error("the writer's bytes are lost")
	}
}

// TestIdentity: attributes follow the bytes, not the name, and survive a change of mode.
func TestIdentity(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	o := w.put(oldBytes)
	w.check(w.d.Tag(t.Context(), o, []coffer.Tag{{Key: "k", Value: "v"}}))
	tags := func() int {
		info, err := w.d.Stat(t.Context(), w.object())
		w.check(err)
		return len(info.Attrs.Tags)
	}
	w.check(os.Chmod(w.path, 0o640))
	if tags() != 1 {
		t.Error("a change of mode lost tags")
	}
	w.check(os.WriteFile(w.path, []byte(foreignA), 0o640)) // in place, same size, same inode, same tick
	if tags() != 0 {
		t.Error("a rewrite in place inherited tags")
	}
}

// TestNoDigestOnDisk: the MD5 of a small object is as good as its bytes.
func TestNoDigestOnDisk(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	w.check(w.d.SetVersioning(t.Context(), "bucket", true))
	o := w.put("078-05-1120")
	w.check(w.d.Tag(t.Context(), o, []coffer.Tag{{Key: "k", Value: "v"}}))
	st, err := w.d.Stage(t.Context(), o, object.Attrs{}, fill("0"))
	w.check(err)
	_, err = st.Commit(t.Context())
	w.check(err)
	st, err = w.d.Stage(t.Context(), w.object(), object.Attrs{}, fill("1"))
	w.check(err)
	defer func() { w.check(st.Abort(t.Context())) }()
	sum := md5.Sum([]byte("078-05-1120"))
	for _, digest := range []string{hex.EncodeToString(sum[:]), string(sum[:])} {
		w.check(filepath.WalkDir(w.root, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			if strings.Contains(string(b), digest) || strings.Contains(p, digest) {
				t.Error("an unkeyed digest of an object stands on disk")
			}
			return err
		}))
	}
}

func TestETagCache(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	w.put(oldBytes)
	_, err := w.d.Stat(t.Context(), w.object())
	w.check(err)
	if len(w.d.etags.m) != 0 {
		t.Error("the ETag of a young file was remembered")
	}
	old := time.Now().Add(-time.Hour)
	w.check(os.Chtimes(w.path, old, old))
	// The change time is young still, and cannot be set; so the cache is asked directly.
	f, err := os.Open(w.path)
	w.check(err)
	defer f.Close()
	s, err := fstat(f)
	w.check(err)
	w.d.etags.put(etagKey{s.dev, s.ino, s.size, s.mtim, s.ctim}, [16]byte{1})
	if e, _, err := w.d.etag(t.Context(), f); err != nil || e[:2] != "01" {
		t.Errorf("the remembered ETag was not used: %v", err)
	}
	w.check(os.Chmod(w.path, 0o640))
	if e, _, err := w.d.etag(t.Context(), f); err != nil || e[:2] == "01" {
		t.Errorf("the remembered ETag was used for a file whose change time is another: %v", err)
	}
}

func TestListBatches(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	var want []string
	for i := range 100 {
		k := fmt.Sprintf("k%d", i*7919%1000)
		if i%5 == 0 {
			k += "/x"
		}
		p := filepath.Join(w.root, "bucket", k)
		w.check(os.MkdirAll(filepath.Dir(p), 0o755))
		w.check(os.WriteFile(p, nil, 0o644))
		want = append(want, k)
	}
	slices.Sort(want)
	for _, batch := range []int{1, 2, 3, 7, 99, 100, 101} {
		var got []string
		r, err := descend(w.d.root, "bucket")
		w.check(err)
		l := &lister{ctx: t.Context(), bucket: "bucket", batch: batch, yield: func(i object.Info, err error) bool {
			w.check(err)
			got = append(got, i.Key)
			return true
		}}
		w.check(l.folder(r, ""))
		r.Close()
		if !slices.Equal(got, want) {
			t.Errorf("batches of %d: %d keys, want %d in order", batch, len(got), len(want))
		}
	}
}

// asNobody runs the calling test again in a process of a user without privileges.
func asNobody(t *testing.T) {
	dir, err := os.MkdirTemp("", "coffer-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	// The go command keeps the test program where only its own user can reach it.
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "test")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(file, program, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("without privileges: %v\n%s", err, out)
	}
}

func TestPermissionDenied(t *testing.T) {
	if os.Geteuid() == 0 {
		asNobody(t) // root may read everything
		return
	}
	w := newWorld(t, false)
	defer w.close()
	o := w.put(oldBytes)
	w.check(os.Chmod(w.path, 0))
	if _, err := w.d.Open(t.Context(), o); !errors.Is(err, coffer.ErrUnavailable) {
		t.Errorf("open: %v", err)
	}
}

func TestCorruptRecord(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	w.put(oldBytes)
	w.check(filepath.WalkDir(filepath.Join(w.root, sideName), func(p string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), "a-") {
			err = os.WriteFile(p, []byte("{"), 0o600)
		}
		return err
	}))
	if _, err := w.d.Stat(t.Context(), w.object()); !errors.Is(err, coffer.ErrCorrupt) {
		t.Errorf("stat: %v", err)
	}
}

// TestKill kills a process that commits without pause, again and again. Afterwards the object has one of the bodies that were
// committed, whole, with its own attributes, and a sweep leaves nothing hidden.
func TestKill(t *testing.T) {
	for _, mode := range []string{"plain", "versioned"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, false)
			defer w.close()
			if mode == "versioned" {
				w.check(w.d.SetVersioning(t.Context(), "bucket", true))
			}
			w.put(killBody(0))
			const kills = 24
			commits := 0
			for i := range kills {
				cmd := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
				cmd.Env = append(os.Environ(), "COFFER_TEST_KILL="+w.root)
				out, err := cmd.StdoutPipe()
				w.check(err)
				w.check(cmd.Start())
				// The child says when it has committed; after a few of these it dies at an arbitrary moment.
				lines := bufio.NewScanner(out)
				for n := 0; n <= i%4 && lines.Scan(); n++ {
					commits++
				}
				for range i * 997 { // not a sleep: some work of our own, of differing length
					_ = md5.Sum([]byte("spin"))
				}
				w.check(cmd.Process.Kill())
				_ = cmd.Wait()

				body := w.current()
				if body != killBody(len(body)) || len(body) < killSize {
					t.Fatalf("kill %d: %d bytes that nobody committed", i, len(body))
				}
				info, err := w.d.Stat(t.Context(), w.object())
				w.check(err)
				if got := info.Attrs.Metadata["size"]; got != fmt.Sprint(len(body)) && len(body) != killSize {
					t.Fatalf("kill %d: %d bytes with the attributes of %s", i, len(body), got)
				}
				seen := 0
				ids := map[string]bool{}
				for v, err := range w.d.Versions(t.Context(), w.object()) {
					w.check(err)
					if seen++; seen > 4 {
						break
					}
					if ids[v.VersionID] {
						t.Fatalf("kill %d: a version stands there twice", i)
					}
					ids[v.VersionID] = true
					if b, err := w.d.Open(t.Context(), v.Object); err != nil {
						t.Fatalf("kill %d: version: %v", i, err)
					} else {
						b.Close()
					}
				}
				if i%3 == 2 {
					_, err := w.d.Sweep(t.Context(), 0)
					w.check(err)
					if _, hidden := w.everywhere(); len(hidden) > 0 {
						t.Fatalf("kill %d: %d hidden files after a sweep", i, len(hidden))
					}
				}
			}
			t.Logf("%d kills, %d commits seen", kills, commits)
		})
	}
}

const killSize = 200_000

// killBody returns a body that tells its own length.
func killBody(n int) string {
	n = max(n, killSize)
	s := strings.Repeat(fmt.Sprintf("%d,", n), n/2)
	return s[:n]
}

// TestKillChild is the process that TestKill kills.
func TestKillChild(t *testing.T) {
	root := os.Getenv("COFFER_TEST_KILL")
	if root == "" {
		t.Skip("run by TestKill")
	}
	d, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for i := range 10_000 {
		info, err := d.Stat(ctx, coffer.Object{Bucket: "bucket", Key: "a/b.csv"})
		if err != nil {
			t.Fatal(err)
		}
		n := killSize + 1 + (int(info.Size)-killSize+i)%100
		st, err := d.Stage(ctx, info.Object, object.Attrs{Metadata: map[string]string{"size": fmt.Sprint(n)}}, fill(killBody(n)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		fmt.Println("committed")
	}
}

// TestSwappedFolder: a folder that turns into a symbolic link and back while it is entered never leads to
// another key's file. (Out of the bucket os.Root lets none.)
func TestSwappedFolder(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	elsewhere := filepath.Join(w.root, "bucket", "elsewhere")
	w.check(os.MkdirAll(elsewhere, 0o755))
	w.check(os.WriteFile(filepath.Join(elsewhere, "b.csv"), []byte("another key"), 0o644))
	w.put(oldBytes)
	link, folder := filepath.Join(w.root, "bucket", "link"), filepath.Dir(w.path)
	w.check(os.Symlink("elsewhere", link))
	dir, err := os.Open(filepath.Dir(link))
	w.check(err)
	defer dir.Close()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = exchange(dir, filepath.Base(link), filepath.Base(folder))
			}
		}
	}()
	for range 3000 {
		b, err := w.d.Open(t.Context(), w.object())
		if err != nil {
			continue
		}
		got, err := io.ReadAll(b)
		w.check(errors.Join(err, b.Close()))
		if string(got) != oldBytes {
			t.Error("read the file of another key")
			break
		}
	}
	close(stop)
	<-done
}

// TestOneNullVersion: a commit in a suspended bucket replaces the null version, even if the process dies before it has removed
// the old one.
func TestOneNullVersion(t *testing.T) {
	w := newWorld(t, false)
	defer w.close()
	ctx := t.Context()
	null := w.put(oldBytes)
	w.check(w.d.SetVersioning(ctx, "bucket", true))
	st, err := w.d.Stage(ctx, null, object.Attrs{}, fill(newBytes))
	w.check(err)
	second, err := st.Commit(ctx)
	w.check(err)
	w.check(w.d.SetVersioning(ctx, "bucket", false))
	st, err = w.d.Stage(ctx, second, object.Attrs{}, fill("third"))
	w.check(err)
	w.d.step = func(s string) {
		if s == "exchanged" {
			panic(crash{})
		}
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = st.Commit(ctx)
	}()
	w.d.step = func(string) {}
	st.(*staged).intent.drop()
	for range 2 { // before and after the sweep
		var got []string
		for v, err := range w.d.Versions(ctx, w.object()) {
			w.check(err)
			got = append(got, fmt.Sprint(v.Size, v.VersionID == nullVersion))
		}
		if want := []string{"5true", "9false"}; strings.ReplaceAll(fmt.Sprint(got), " ", "") != strings.ReplaceAll(fmt.Sprint(want), " ", "") {
			t.Errorf("versions %v, want %v", got, want)
		}
		_, err = w.d.Sweep(ctx, 0)
		w.check(err)
	}
}
