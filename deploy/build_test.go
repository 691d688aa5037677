package deploy_test

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBuild: the artefact follows from the source alone. It is built here and from a copy in another folder, by somebody with other settings,
// and is the same; it holds one static executable and nothing of the machine. With COFFER_TEST_FULL=1 for both architectures and the copy
// with a build cache of its own, which compiles everything anew.
func TestBuild(t *testing.T) {
	architectures := map[string]elf.Machine{"amd64": elf.EM_X86_64}
	everything := os.Getenv("COFFER_TEST_FULL") == "1"
	if everything {
		architectures["arm64"] = elf.EM_AARCH64
	}
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "somewhere else")
	copyTree(t, here, copied)
	var names []string
	for arch := range architectures {
		names = append(names, arch)
	}
	build := func(tree, out string, more ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(tree, "deploy", "build"), out)
		cmd.Env = append(append(os.Environ(), "ARCHITECTURES="+strings.Join(names, " ")), more...)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	one, two := t.TempDir(), t.TempDir()
	build(here, one)
	other := []string{"GOFLAGS=-mod=readonly -ldflags=-v=0", "CGO_ENABLED=1", "GOAMD64=v3", "TZ=Asia/Tokyo", "LC_ALL=C"}
	if everything {
		other = append(other, "GOCACHE="+t.TempDir())
	}
	build(copied, two, other...)
	for arch, machine := range architectures {
		name := "coffer-lambda-" + arch + ".zip"
		a, err := os.ReadFile(filepath.Join(one, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(two, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s is another from another folder", name)
		}
		if len(a) > 40_000_000 {
			t.Errorf("%s has %d bytes", name, len(a))
		}
		z, err := zip.NewReader(bytes.NewReader(a), int64(len(a)))
		if err != nil {
			t.Fatal(err)
		}
		if len(z.File) != 1 || z.File[0].Name != "bootstrap" || z.File[0].Mode() != 0o755 ||
			!z.File[0].Modified.Equal(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s holds %v", name, z.File[0].FileHeader)
		}
		r, err := z.File[0].Open()
		if err != nil {
			t.Fatal(err)
		}
		program, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		e, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatal(err)
		}
		if e.Machine != machine || e.Section(".interp") != nil {
			t.Errorf("%s: %v, or it needs an interpreter", name, e.Machine)
		}
		for _, p := range e.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s is not static: %v", name, p.Type)
			}
		}
		home, _ := os.UserHomeDir() // without one there is none to be found
		for _, path := range []string{here, copied, home + "/", os.TempDir() + "/"} {
			if path != "/" && path != "/tmp/" && bytes.Contains(program, []byte(path)) {
				t.Errorf("%s holds a path of this machine", name)
			}
		}
		t.Logf("%s: %d bytes, %d unpacked, the same from both folders", name, len(a), len(program))
	}
}

// copyTree copies what is in the repository, changed or not.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	list, err := exec.CommandContext(t.Context(), "git", "-C", from, "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("no repository to copy: %v", err)
	}
	for name := range strings.SplitSeq(strings.Trim(string(list), "\x00"), "\x00") {
		fi, err := os.Stat(filepath.Join(from, name))
		if err != nil || !fi.Mode().IsRegular() {
			continue // taken away since, or a link
		}
		b, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, fi.Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
