//go:build unix && !aix && !solaris

package dir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coffer/object/dir"
	"coffer/object/objecttest"
)

const bucket = "moontrust"

// drop writes a file as another program would: beside, then renamed over the old one.
func drop(t testing.TB, root, key string, body []byte) {
	t.Helper()
	path := filepath.Join(root, bucket, key)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"~", body, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB) objecttest.Storage {
	root := t.TempDir()
	two := [2]*dir.Dir{}
	for i := range two {
		d, err := dir.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		two[i] = d
	}
	if err := two[0].CreateBucket(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkClean(t, root) })
	return objecttest.Storage{
		Store:  two[0],
		Second: two[1],
		Bucket: bucket,
		Put:    func(t testing.TB, key string, body []byte) { drop(t, root, key, body) },
		Remove: func(t testing.TB, key string) {
			if err := os.Remove(filepath.Join(root, bucket, key)); err != nil {
				t.Fatal(err)
			}
		},
		SetVersioning: func(t testing.TB, on bool) {
			if err := two[0].SetVersioning(t.Context(), bucket, on); err != nil {
				t.Fatal(err)
			}
		},
		IgnoresVersionID: true,
		CannotHold: []string{
			"a//b", "/leading", "trailing/", "./a", "a/../b", "..", "nul\x00byte", strings.Repeat("k", 256), ".coffer-stage-x",
			"a/.coffer-x/b",
		},
	}
}

// checkClean fails if a hidden file is left whose stage is not announced, or an unannounced temporary file.
func checkClean(t testing.TB, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if id, ok := strings.CutPrefix(e.Name(), ".coffer-stage-"); ok {
			if _, err := os.Lstat(filepath.Join(root, ".coffer", bucket, "stages", id)); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a hidden file is left that nobody will sweep")
			}
		}
		if strings.HasPrefix(e.Name(), "tmp-") {
			t.Errorf("a temporary record is left")
		}
		if strings.Contains(e.Name(), ".coffer-kept-") {
			t.Errorf("a file was put aside without need")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStore(t *testing.T) { objecttest.Test(t, open) }
