//go:build unix && !aix && !solaris

package dir

import (
	"context"
	"io/fs"
	"os"
	"strings"

	"coffer"
	"coffer/object"
)

var _ object.Protector = (*Dir)(nil)

// Protections implements [object.Protector]. A file is public if everybody on the machine can read it: its mode and those of the
// folders down to it, from the one that holds the buckets, let others in. What stands above that folder, access control lists and
// encryption of the disk are not looked at.
func (d *Dir) Protections(ctx context.Context, o coffer.Object) (bucket, obj object.Protection, err error) {
	const others = 0o001
	state, err := d.Versioning(ctx, o.Bucket)
	if err != nil {
		return bucket, obj, err
	}
	bucket = object.Protection{Encryption: object.Unknown, PublicAccess: object.NotPublic, Versioning: string(state), Lock: "none", Owner: object.Unknown}
	open, err := d.mode(".")
	if err != nil {
		return bucket, obj, fail("protections of the bucket", err)
	}
	m, err := d.mode(o.Bucket)
	if err != nil {
		return bucket, obj, fail("protections of the bucket", err)
	}
	if open &= m; open&others != 0 {
		bucket.PublicAccess = object.Public
	}
	i, err := d.Stat(ctx, o)
	if err != nil {
		return bucket, obj, err
	}
	obj = object.Protection{
		Encryption: object.Unknown, PublicAccess: object.NotPublic, Versioning: string(state), Lock: "none",
		Owner: i.Attrs.System["owner"], Tags: i.Attrs.Tags,
	}
	if i.Locked != "" {
		obj.Lock = i.Locked
	}
	if !i.Latest {
		return bucket, obj, nil // kept beside, in a folder of Coffer's own
	}
	name := o.Bucket
	parts := strings.Split(o.Key, "/")
	for _, p := range parts[:len(parts)-1] {
		name += "/" + p
		m, err := d.mode(name)
		if err != nil {
			return bucket, obj, fail("protections of the object", err)
		}
		open &= m
	}
	m, err = d.mode(name + "/" + parts[len(parts)-1])
	if err != nil {
		return bucket, obj, fail("protections of the object", err)
	}
	if open&others != 0 && m&0o004 != 0 {
		obj.PublicAccess = object.Public
	}
	return bucket, obj, nil
}

// mode returns the mode of a folder or file; a symbolic link has none that lets anybody in.
func (d *Dir) mode(name string) (fs.FileMode, error) {
	i, err := d.root.Lstat(name)
	if err != nil || i.Mode()&os.ModeSymlink != 0 {
		return 0, err
	}
	return i.Mode().Perm(), nil
}
