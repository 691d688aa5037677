//go:build unix && !aix && !solaris

package dir_test

import (
	"os"
	"path/filepath"
	"testing"

	"coffer"
	"coffer/object"
	"coffer/object/dir"
)

func TestProtections(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"", "open", "open/sub", "closed"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"open/sub/world": 0o644, "open/sub/mine": 0o600, "closed/world": 0o644} {
		p := filepath.Join(root, name)
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "closed"), 0o750); err != nil {
		t.Fatal(err)
	}
	d, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, c := range []struct{ bucket, key, bucketAccess, access string }{
		{"open", "sub/world", object.Public, object.Public},
		{"open", "sub/mine", object.Public, object.NotPublic},
		{"closed", "world", object.NotPublic, object.NotPublic},
	} {
		b, o, err := d.Protections(t.Context(), coffer.Object{Bucket: c.bucket, Key: c.key})
		if err != nil || b.PublicAccess != c.bucketAccess || o.PublicAccess != c.access || o.Owner == "" || b.Versioning != "off" {
			t.Errorf("%s/%s: %+v, %+v, %v", c.bucket, c.key, b, o, err)
		}
	}
}
