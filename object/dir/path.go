//go:build unix && !aix && !solaris

package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"coffer"
	"coffer/object"
)

// maxName is the longest file name that the usual file systems take, in bytes.
const maxName = 255

func checkBucket(name string) error {
	if name == "" || name[0] == '.' || len(name) > maxName || strings.ContainsAny(name, "/\x00") || !utf8.ValidString(name) {
		return fmt.Errorf("bucket name: %w", coffer.ErrInvalid)
	}
	return nil
}

func checkKey(key string) error {
	if err := object.CheckKey(key); err != nil {
		return err
	}
	for c := range strings.SplitSeq(key, "/") {
		switch {
		case c == "" || c == "." || c == "..":
			return fmt.Errorf(`key has an empty, "." or ".." component: %w`, coffer.ErrInvalid)
		case len(c) > maxName:
			return fmt.Errorf("key has a component of %d bytes, a file name has at most %d: %w", len(c), maxName, coffer.ErrInvalid)
		case strings.IndexByte(c, 0) >= 0:
			return fmt.Errorf("key has a NUL byte: %w", coffer.ErrInvalid)
		case strings.HasPrefix(c, reserved):
			return fmt.Errorf("key has a component that begins with %q, which is reserved: %w", reserved, coffer.ErrInvalid)
		}
	}
	return nil
}

func (d *Dir) checkBucketThere(bucket string) error {
	if err := checkBucket(bucket); err != nil {
		return err
	}
	r, err := descend(d.root, bucket)
	if err != nil {
		return err
	}
	return r.Close()
}

// descend opens the folder called name in r, and never another one by way of a symbolic link: os.Root alone would follow a
// link that stays inside, from one bucket into another.
func descend(r *os.Root, name string) (*os.Root, error) {
	want, err := r.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !want.IsDir() {
		return nil, fmt.Errorf("%s where a folder is needed: %w", kind(want.Mode()), coffer.ErrInvalid)
	}
	// With the slash a pipe that has taken the name meanwhile is refused; without it the call would wait for a writer.
	sub, err := r.OpenRoot(name + "/")
	if err != nil {
		return nil, err
	}
	got, err := sub.Stat(".")
	if err == nil && !os.SameFile(want, got) {
		err = fmt.Errorf("folder was replaced while it was opened: %w", coffer.ErrChanged)
	}
	if err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// place is where the file of a key stands or would stand: the opened folders from the bucket to the parent, and the name.
type place struct {
	dirs  []*os.Root
	names []string // of the folders, the bucket's first
	base  string
}

func (p *place) parent() *os.Root { return p.dirs[len(p.dirs)-1] }

func (p *place) close() {
	for _, r := range p.dirs {
		r.Close()
	}
}

// locate opens the folders on the way to the key, making missing ones below the bucket if create is set.
func (d *Dir) locate(bucket, key string, create bool) (_ *place, err error) {
	if err := checkBucket(bucket); err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	p := &place{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	cs := strings.Split(key, "/")
	p.base = cs[len(cs)-1]
	at := d.root
	for i, name := range append([]string{bucket}, cs[:len(cs)-1]...) {
		sub, err := descend(at, name)
		if create && i > 0 && errors.Is(err, fs.ErrNotExist) {
			if err := at.Mkdir(name, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, err
			}
			if err := syncDir(at); err != nil {
				return nil, err
			}
			sub, err = descend(at, name)
		}
		if err != nil {
			return nil, err
		}
		p.dirs = append(p.dirs, sub)
		p.names = append(p.names, name)
		at = sub
	}
	return p, nil
}

// prune removes the folders of p that are empty, from the innermost outwards, never the bucket. It asks for the removal of a
// folder and nothing else, so a file that somebody has put under the name meanwhile is safe; and a folder in which somebody
// has just made a file is not empty.
func (p *place) prune() {
	for i := len(p.dirs) - 1; i > 0; i-- {
		f, err := p.dirs[i-1].Open(".")
		if err != nil {
			return
		}
		err = unix.Unlinkat(int(f.Fd()), p.names[i], unix.AT_REMOVEDIR)
		f.Close()
		if err != nil {
			return
		}
	}
}

func syncDir(r *os.Root) error {
	f, err := r.Open(".")
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) { // a file system that cannot sync folders
		err = nil
	}
	return errors.Join(err, f.Close())
}

// stat is what the file system says about a file, as far as it matters here.
type stat struct {
	mode       fs.FileMode
	dev, ino   uint64
	nlink      uint64
	uid, gid   int
	size       int64
	mtim, ctim int64 // Unix nanoseconds; ctim 0: not asked for
}

// ident is the identity of a file's bytes; see the package comment.
type ident struct {
	Ino  uint64 `json:"ino"`
	Size int64  `json:"size"`
	Mtim int64  `json:"mtim"`
}

func (s stat) ident() ident { return ident{s.ino, s.size, s.mtim} }

func (i ident) String() string { return fmt.Sprintf("%x-%x-%x", i.Ino, uint64(i.Size), uint64(i.Mtim)) }

// still reports whether a file that looked like s still has the same bytes when it looks like t. The change time alone does
// not count: a rename or a new mode sets it.
func (s stat) still(t stat) bool { return s.ident() == t.ident() && s.dev == t.dev }

func (s stat) sameFile(t stat) bool { return s.ino == t.ino && s.dev == t.dev }

func lstat(r *os.Root, name string) (stat, error) {
	fi, err := r.Lstat(name)
	if err != nil {
		return stat{}, err
	}
	return fromInfo(fi)
}

func fromInfo(fi fs.FileInfo) (stat, error) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return stat{}, fmt.Errorf("the system gives no inode: %w", coffer.ErrUnsupported)
	}
	return stat{
		mode: fi.Mode(), dev: uint64(st.Dev), ino: uint64(st.Ino), nlink: uint64(st.Nlink), uid: int(st.Uid), gid: int(st.Gid),
		size: fi.Size(), mtim: fi.ModTime().UnixNano(),
	}, nil
}

func fstat(f *os.File) (stat, error) {
	fi, err := f.Stat()
	if err != nil {
		return stat{}, err
	}
	s, err := fromInfo(fi)
	if err == nil {
		s.ctim = ctim(fi)
	}
	return s, err
}

// openRegular opens a regular file for reading. It never opens a pipe or device, nor anything through a symbolic link.
func openRegular(r *os.Root, name string) (*os.File, stat, error) {
	for range 100 {
		want, err := lstat(r, name)
		if err != nil {
			return nil, stat{}, err
		}
		if !want.mode.IsRegular() {
			return nil, stat{}, fmt.Errorf("%s stands there: %w", kind(want.mode), coffer.ErrInvalid)
		}
		// Not blocking, should a pipe have taken the name meanwhile.
		f, err := r.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil, stat{}, err
		}
		got, err := fstat(f)
		if err != nil {
			f.Close()
			return nil, stat{}, err
		}
		if got.mode.IsRegular() && got.sameFile(want) {
			return f, got, nil
		}
		f.Close()
	}
	return nil, stat{}, fmt.Errorf("file is replaced all the time: %w", coffer.ErrChanged)
}
