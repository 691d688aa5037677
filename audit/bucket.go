package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"coffer"
	"coffer/object"
)

// bucketTimeout bounds one call of the storage.
const bucketTimeout = 30 * time.Second

// bucket keeps files as objects.
type bucket struct {
	store  object.Store
	bucket string
}

// Bucket keeps the log's files as objects of a bucket under the names that tlog-tiles gives them, so that they can be served as they
// are. Where the bucket is versioned and its objects are locked, every checkpoint that was ever written stays as a version that the
// writer cannot remove: an anchor. Prune then lays markers over what it replaces and takes nothing away.
func Bucket(st object.Store, name string) Files { return bucket{st, name} }

// Put writes under the condition that the object is as it was a moment ago, so a lost answer or another writer is one more look.
func (b bucket) Put(name string, data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), bucketTimeout)
	defer cancel()
	o := coffer.Object{Bucket: b.bucket, Key: name}
	var err error
	for range 4 {
		var info object.Info
		info, err = b.store.Stat(ctx, o)
		if err != nil && !errors.Is(err, coffer.ErrNotFound) {
			return err
		}
		to := o
		to.ETag = info.ETag
		if err = b.put(ctx, to, data); !errors.Is(err, coffer.ErrConflict) {
			return err
		}
	}
	return err
}

func (b bucket) put(ctx context.Context, o coffer.Object, data []byte) error {
	staged, err := b.store.Stage(ctx, o, object.Attrs{ContentType: "application/octet-stream"}, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	if _, err = staged.Commit(ctx); err != nil {
		return errors.Join(err, staged.Abort(ctx))
	}
	return nil
}

// Prune removes the objects below a folder.
func (b bucket) Prune(folder string) {
	ctx, cancel := context.WithTimeout(context.Background(), bucketTimeout)
	defer cancel()
	for info, err := range b.store.List(ctx, b.bucket, folder+"/", "") {
		if err != nil {
			return // what stays is only in the way
		}
		_, _ = b.store.Delete(ctx, coffer.Object{Bucket: b.bucket, Key: info.Key})
	}
}

// Open implements fs.FS. A name that is no object is a directory, if there are objects below it.
func (b bucket) Open(name string) (fs.File, error) {
	fail := func(err error) (fs.File, error) { return nil, &fs.PathError{Op: "open", Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(context.Background(), bucketTimeout)
	if name != "." {
		body, err := b.store.Open(ctx, coffer.Object{Bucket: b.bucket, Key: name})
		if err == nil {
			return &bucketFile{body, entryOf(body.Info, name), cancel}, nil
		}
		if !errors.Is(err, coffer.ErrNotFound) {
			cancel()
			return fail(err)
		}
	}
	defer cancel()
	entries, err := b.list(ctx, name)
	if err != nil {
		return fail(err)
	}
	if len(entries) == 0 && name != "." {
		return fail(fs.ErrNotExist)
	}
	return &bucketFolder{bucketEntry{name: path.Base(name), mode: fs.ModeDir | 0o555}, entries}, nil
}

// Stat implements fs.StatFS with one call instead of the two of Open for a file.
func (b bucket) Stat(name string) (fs.FileInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bucketTimeout)
	defer cancel()
	if fs.ValidPath(name) && name != "." {
		info, err := b.store.Stat(ctx, coffer.Object{Bucket: b.bucket, Key: name})
		if err == nil {
			return entryOf(info, name), nil
		}
		if !errors.Is(err, coffer.ErrNotFound) {
			return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
	}
	f, err := b.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// list returns what stands directly below a folder, in order. Listings know no folders: behind the first object of one the listing is
// asked anew for what follows all of it.
func (b bucket) list(ctx context.Context, folder string) ([]fs.DirEntry, error) {
	prefix := folder + "/"
	if folder == "." {
		prefix = ""
	}
	var entries []fs.DirEntry
	for after, more := "", true; more; {
		more = false
		for info, err := range b.store.List(ctx, b.bucket, prefix, after) {
			if err != nil {
				return nil, err
			}
			child, _, below := strings.Cut(strings.TrimPrefix(info.Key, prefix), "/")
			if !below {
				entries = append(entries, entryOf(info, child))
				continue
			}
			entries = append(entries, bucketEntry{name: child, mode: fs.ModeDir | 0o555})
			after, more = prefix+child+"0", true // the byte that follows the slash
			break
		}
	}
	return entries, nil
}

// bucketEntry describes an object or a folder.
type bucketEntry struct {
	name     string
	size     int64
	modified time.Time
	mode     fs.FileMode
}

func entryOf(info object.Info, name string) bucketEntry {
	return bucketEntry{path.Base(name), info.Size, info.Modified, 0o444}
}

func (e bucketEntry) Name() string               { return e.name }
func (e bucketEntry) Size() int64                { return e.size }
func (e bucketEntry) Mode() fs.FileMode          { return e.mode }
func (e bucketEntry) Type() fs.FileMode          { return e.mode.Type() }
func (e bucketEntry) ModTime() time.Time         { return e.modified }
func (e bucketEntry) IsDir() bool                { return e.mode.IsDir() }
func (e bucketEntry) Sys() any                   { return nil }
func (e bucketEntry) Info() (fs.FileInfo, error) { return e, nil }

// bucketFile is an open object.
type bucketFile struct {
	object.Body
	info   bucketEntry
	cancel context.CancelFunc
}

func (f *bucketFile) Stat() (fs.FileInfo, error) { return f.info, nil }

func (f *bucketFile) Close() error {
	defer f.cancel()
	return f.Body.Close()
}

// bucketFolder is an open folder.
type bucketFolder struct {
	info    bucketEntry
	entries []fs.DirEntry
}

func (f *bucketFolder) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *bucketFolder) Close() error               { return nil }

func (f *bucketFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.info.name, Err: errors.New("is a folder")}
}

func (f *bucketFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(f.entries) {
		if n > 0 && len(f.entries) == 0 {
			return nil, io.EOF
		}
		n = len(f.entries)
	}
	out := f.entries[:n:n]
	f.entries = f.entries[n:]
	return out, nil
}

var _ fs.StatFS = bucket{}

// String names the files for messages.
func (b bucket) String() string { return fmt.Sprintf("s3://%s", b.bucket) }
