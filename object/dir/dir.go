//go:build unix && !aix && !solaris

// Package dir is object storage in a folder of plain files: PATH/<bucket>/<key> is the object. Whoever drops a file there has
// put an object, and reads it back as a plain file after a fix. Foreign programs need to know nothing about Coffer.
//
// # What stands where
//
//	PATH/<bucket>/<key>                       the current bytes of an object, a regular file
//	PATH/<bucket>/.../.coffer-stage-<id>      the next bytes of an object, mode 0600, until Commit, Abort or Sweep
//	PATH/.coffer/                             everything else, mode 0700; no bucket can have this name
//	  locks/<nn>                              advisory locks, one for a 64th of all keys
//	  <bucket>/versioning                     when versioning was switched; absent: never
//	  <bucket>/stages/<id>                    what a stage or a delete is about to do, held locked by its process
//	  <bucket>/keys/<hh>/<hash>/              of one key, by the SHA-256 of its name, which may be longer than a file name:
//	    a-<identity>                          attributes and tags of the bytes with this identity
//	    v-<sequence>-<version id>             the bytes of a noncurrent version
//	    m-<sequence>-<version id>             a delete marker
//
// A foreign program can replace a file at any moment. Attributes and tags are therefore bound to the identity of the file that
// they were given to (inode, size and modification time), so that new bytes under an old name start without, as after a PUT in
// S3; a change of mode or owner alone is no new object. The same binding makes a commit one step: attributes are recorded for
// the staged file before its name is exchanged with the current one. Coffer draws the last digits of the modification times
// that it sets at random, so that a coarse clock does not give two files the same identity.
//
// # Replacing and removing
//
// Commit exchanges the names of the staged and the current file in one system call, then looks at what came out. If that is
// not the file whose bytes were compared with the condition, or another program has it open for writing (Linux only, and only
// where Coffer may ask), the names are exchanged back and Commit returns coffer.ErrConflict. Delete moves the file to a hidden
// name, looks, and moves it back if it is somebody else's. What can no longer be put back because a third writer has taken
// the name becomes an object beside it, "<key>.coffer-kept-<id>". Every step is announced in stages/<id> before it is taken, so
// that Sweep finishes the same way after a crash. What cannot be seen: a program that holds the file open across the look
// where the lease is refused, and writes afterwards; its bytes are lost as with any replacement by rename.
//
// A file system without an exchange of names (NFS, some FUSE file systems, systems other than Linux and macOS) gets the same by
// three renames and a link; the object is then not there for some microseconds, and after a crash in them until the next Sweep.
//
// The replaced file keeps its mode bits (not set-user-id and the like) and, where the process may, its owner. The modification
// time is that of the commit, as in S3; access control lists and extended attributes are not kept. Other hard links to the
// file keep the old bytes: Copies lists them. Folders that Delete leaves empty are removed, up to the bucket.
//
// # Versions
//
// Only Coffer's own commits and deletes make versions. In a versioned bucket a file that a foreign program replaces or removes
// is gone, as in any folder, and no marker is laid. The version id of a file that Coffer did not write is a hash of its
// identity, or "null" if it is older than the versioning of the bucket. In a bucket that never had versioning the version
// id of an Object is not compared, because findings carry that of the original bucket; only Delete insists: with a version id
// other than "null" it also wants the ETag.
//
// # ETags
//
// The ETag is the MD5 of the bytes. It is computed by reading them, and remembered in memory, not on disk: the MD5 of a small
// sensitive object is as good as its bytes. The memory is keyed by device, inode, size, modification and change time, and holds
// no file that was younger than two seconds when it was read, because a clock tick can hide a write. A condition may also be
// a multipart ETag; see object.MatchETag.
//
// # Limits
//
// Keys are paths of UTF-8 file names: no empty, "." or ".." component, none longer than 255 bytes or beginning with
// ".coffer-", none that is a file where a folder is needed or the reverse. On a file system that folds case or normalises
// names, keys that it takes for one name are one object. Folders are entered component by component through [os.Root] and never
// through a symbolic link; symbolic links, devices, sockets and pipes are coffer.ErrInvalid and are left out of listings.
// All processes that use one folder must be on one machine: the locks are flock(2).
package dir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"coffer"
	"coffer/object"
)

const (
	sideName    = ".coffer"
	reserved    = ".coffer-" // no key component begins so
	stagePrefix = reserved + "stage-"
	stripes     = 64
	nullVersion = "null"
)

// Dir is object storage in a folder. Create it with [Open]. It is safe for concurrent use, by several processes too.
type Dir struct {
	root  *os.Root
	held  [stripes]chan struct{} // which locks this Dir holds, so that its goroutines wait without polling
	etags etagCache
	// noExchange takes the way of file systems that cannot exchange names; set by tests.
	noExchange bool
	// step is called between any two steps of a change of names; tests interfere there.
	step func(string)
}

var _ object.Store = (*Dir)(nil)

// Open opens the folder at path, which must exist. Nothing is written before the first change. Buckets are the folders in it
// whose name does not begin with a dot.
func Open(path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fail("open folder of objects", err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fail("open folder of objects", err)
	}
	d := &Dir{root: root, step: func(string) {}}
	for i := range d.held {
		d.held[i] = make(chan struct{}, 1)
	}
	return d, nil
}

// Close releases the folder. Stages that are open stay on disk until Sweep.
func (d *Dir) Close() error { return d.root.Close() }

// CreateBucket makes an empty bucket; one that exists stays as it is.
func (d *Dir) CreateBucket(_ context.Context, bucket string) error {
	if err := checkBucket(bucket); err != nil {
		return fmt.Errorf("create bucket: %w", err)
	}
	if err := d.root.Mkdir(bucket, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail("create bucket", err)
	}
	r, err := descend(d.root, bucket)
	if err != nil {
		return fail("create bucket", err)
	}
	defer r.Close()
	return fail("create bucket", syncDir(d.root))
}

// switching is one change of a bucket's versioning.
type switching struct {
	At int64 `json:"at"` // Unix nanoseconds
	On bool  `json:"on"`
}

// history is the changes of a bucket's versioning, oldest first.
type history []switching

func (h history) state() object.Versioning {
	switch {
	case len(h) == 0:
		return object.VersioningOff
	case h[len(h)-1].On:
		return object.VersioningOn
	}
	return object.VersioningSuspended
}

// onAt reports whether versioning was on at the time t.
func (h history) onAt(t int64) bool {
	on := false
	for _, s := range h {
		if s.At > t {
			break
		}
		on = s.On
	}
	return on
}

// Versioning implements [object.Reader].
func (d *Dir) Versioning(_ context.Context, bucket string) (object.Versioning, error) {
	if err := d.checkBucketThere(bucket); err != nil {
		return "", fail("versioning", err)
	}
	h, err := d.history(bucket)
	if err != nil {
		return "", fail("versioning", err)
	}
	return h.state(), nil
}

// SetVersioning switches versioning of the bucket on, or suspends it; a bucket that never had it stays without.
func (d *Dir) SetVersioning(ctx context.Context, bucket string, on bool) (err error) {
	if err := d.checkBucketThere(bucket); err != nil {
		return fail("set versioning", err)
	}
	// With every lock held no change of an object is half way between two states.
	for i := range stripes {
		unlock, err := d.lockStripe(ctx, i)
		if err != nil {
			return fail("set versioning", err)
		}
		defer unlock()
	}
	h, err := d.history(bucket)
	if err != nil {
		return fail("set versioning", err)
	}
	if on == (h.state() == object.VersioningOn) || !on && len(h) == 0 {
		return nil
	}
	b, err := json.Marshal(append(h, switching{time.Now().UnixNano(), on}))
	if err != nil {
		return fail("set versioning", err)
	}
	side, err := d.side(bucket, true)
	if err != nil {
		return fail("set versioning", err)
	}
	defer side.Close()
	return fail("set versioning", writeFile(side, "versioning", b))
}

func (d *Dir) history(bucket string) (history, error) {
	side, err := d.side(bucket, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer side.Close()
	b, err := readFile(side, "versioning")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var h history
	if err := json.Unmarshal(b, &h); err != nil || len(h) == 0 {
		return nil, fmt.Errorf("record of the bucket's versioning: %w", coffer.ErrCorrupt)
	}
	return h, nil
}

// side opens the folder below .coffer with this slash-separated name. Inside .coffer everything is Coffer's own, so that the
// containment which os.Root gives is enough.
func (d *Dir) side(name string, create bool) (*os.Root, error) {
	if create {
		if err := d.root.Mkdir(sideName, 0o700); err == nil {
			if err := syncDir(d.root); err != nil {
				return nil, err
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	top, err := descend(d.root, sideName)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	r, err := top.OpenRoot(name)
	if err == nil || !create || !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	at := "."
	for _, c := range strings.Split(name, "/") {
		next := at + "/" + c
		if err := top.Mkdir(next, 0o700); err == nil {
			p, err := top.Open(at)
			if err != nil {
				return nil, err
			}
			err = errors.Join(p.Sync(), p.Close())
			if err != nil {
				return nil, err
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		at = next
	}
	return top.OpenRoot(name)
}

func keySide(bucket, key string) string {
	h := sha256.Sum256([]byte(key))
	x := hex.EncodeToString(h[:])
	return bucket + "/keys/" + x[:2] + "/" + x
}

// lock keeps other changes of the key away, those of other processes too, until unlock. Readers and foreign writers do not
// care.
func (d *Dir) lock(ctx context.Context, bucket, key string) (unlock func(), err error) {
	h := sha256.Sum256([]byte(bucket + "/" + key))
	return d.lockStripe(ctx, int(h[0])%stripes)
}

func (d *Dir) lockStripe(ctx context.Context, i int) (unlock func(), err error) {
	select {
	case d.held[i] <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := sync.OnceFunc(func() { <-d.held[i] })
	defer func() {
		if err != nil {
			free()
		}
	}()
	side, err := d.side("locks", true)
	if err != nil {
		return nil, err
	}
	defer side.Close()
	// The files are never removed: a lock on a removed file would exclude nobody.
	f, err := side.OpenFile(fmt.Sprintf("%02d", i), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		ok, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		if ok {
			return func() { f.Close(); free() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// tryLock takes the exclusive lock of a file, which lasts until it is closed, or reports that somebody else has it.
func tryLock(f *os.File) (bool, error) {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return true, nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return false, nil
		default:
			return false, err
		}
	}
}

// sentinels are those that an error of this package may already wrap.
var sentinels = []error{
	coffer.ErrNotFound, coffer.ErrConflict, coffer.ErrChanged, coffer.ErrInvalid, coffer.ErrLimit, coffer.ErrUnavailable,
	coffer.ErrCorrupt, coffer.ErrUnsupported, context.Canceled, context.DeadlineExceeded,
}

// fail translates an error of the file system; nil stays nil. The text of the operating system's error is kept, the name in it
// is not: a file name can hold a value.
func fail(what string, err error) error {
	if err == nil {
		return nil
	}
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", what, coffer.ErrNotFound)
		}
		var pe *fs.PathError
		var le *os.LinkError
		switch {
		case errors.As(err, &pe):
			err = pe.Err
		case errors.As(err, &le):
			err = le.Err
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	switch errno {
	case unix.ENOENT:
		return fmt.Errorf("%s: %w", what, coffer.ErrNotFound)
	case unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EILSEQ:
		return fmt.Errorf("%s: %s: %w", what, errno, coffer.ErrInvalid)
	case unix.EACCES, unix.EPERM:
		return fmt.Errorf("%s: %s: give the user that runs Coffer read and write access to the folder: %w", what, errno,
			coffer.ErrUnavailable)
	case unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EMFILE, unix.ENFILE, unix.EIO, unix.ESTALE:
		return fmt.Errorf("%s: %s: %w", what, errno, coffer.ErrUnavailable)
	}
	return fmt.Errorf("%s: %w", what, errno)
}
