// Package durable writes files so that what was acknowledged is still there after a power cut, and so that nobody ever reads
// half of it.
//
// The expected system calls of [WriteFile] are: open(O_CREAT|O_EXCL) of a hidden name in the same folder, fchmod, write,
// fsync, close, rename, and open, fsync, close of the folder. [Create] has link and unlink in place of rename, so that an
// existing file is never replaced.
//
// Between open and rename the bytes also stand under the hidden name. A crash there leaves that file behind, with the mode
// asked for; [Sweep] removes it.
//
// Not covered: a disk that acknowledges an fsync and forgets, and file systems without atomic rename.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// tempSuffix ends the hidden name under which the next bytes of a file are written.
const tempSuffix = ".coffer-tmp"

// WriteFile replaces the file at path by one that holds data, atomically and durably: a reader sees all of the old bytes or
// all of the new ones, and after a nil return the new ones survive a power cut. The file gets exactly this mode, whatever
// the umask. If an error is returned before the rename the old file is untouched; an error of the last fsync leaves it open
// which of the two survives. A symbolic link at path is replaced, not followed.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	tmp, err := writeTemp(path, data, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Create is [WriteFile] for a file that must not exist yet: if there is one, whole or not, it returns an error that is
// [fs.ErrExist] and changes nothing. Of several processes that create the same path at once exactly one succeeds.
func Create(path string, data []byte, mode fs.FileMode) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	tmp, err := writeTemp(path, data, mode)
	if err != nil {
		return err
	}
	err = os.Link(tmp, path)
	// The second name goes in either case; that it may come back after a crash is what Sweep is for.
	if rerr := os.Remove(tmp); err == nil {
		err = rerr
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Rename moves a file durably within one file system. What stands at newpath is replaced. The bytes of the file must have
// been synced before.
func Rename(oldpath, newpath string) error {
	if err := os.Rename(oldpath, newpath); err != nil {
		return err
	}
	// The new name first: after a crash between the two the file has both names or the new one, never none.
	if err := SyncDir(filepath.Dir(newpath)); err != nil {
		return err
	}
	if filepath.Dir(oldpath) == filepath.Dir(newpath) {
		return nil
	}
	return SyncDir(filepath.Dir(oldpath))
}

// Remove removes a file durably: after a nil return its name does not come back. Removing what is not there is an error that
// is [fs.ErrNotExist].
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes the folder and its missing parents with exactly this mode, durably. Folders that exist keep their mode.
func MkdirAll(path string, mode fs.FileMode) error {
	path = filepath.Clean(path)
	switch fi, err := os.Stat(path); {
	case err == nil && fi.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("exists and is not a folder")}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	switch err := os.Mkdir(path, mode); {
	case errors.Is(err, fs.ErrExist):
		// Another process was first. Its parent is synced here as well, because it may not have got there yet.
		return SyncDir(parent)
	case err != nil:
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return SyncDir(parent)
}

// SyncDir makes the names in a folder durable: what was created, renamed or removed in it before the call stays so.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there; NTFS journals its names
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// Sweep removes what crashed writers of path left beside it, if it is older than age. The age protects writers that are at
// work now. It returns the first error and goes on.
func Sweep(path string, age time.Duration) error {
	dir, base := filepath.Dir(path), filepath.Base(path)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var first error
	swept := false
	for _, e := range entries {
		random, ok := strings.CutPrefix(e.Name(), tempPrefix(base))
		if ok {
			random, ok = strings.CutSuffix(random, tempSuffix)
		}
		// A dot in the rest: it belongs to another file whose name begins like this one.
		if !ok || strings.Contains(random, ".") || !e.Type().IsRegular() {
			continue
		}
		fi, err := e.Info()
		if err != nil || time.Since(fi.ModTime()) < age {
			continue // gone meanwhile, or young
		}
		switch err := os.Remove(filepath.Join(dir, e.Name())); {
		case err == nil:
			swept = true
		case !errors.Is(err, fs.ErrNotExist) && first == nil:
			first = err
		}
	}
	if swept {
		if err := SyncDir(dir); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// tempPrefix begins the hidden names of one file.
func tempPrefix(base string) string { return "." + base + "." }

// writeTemp writes and syncs data under a hidden name beside path and returns that name. After an error nothing stays.
func writeTemp(path string, data []byte, mode fs.FileMode) (tmp string, err error) {
	base := filepath.Base(path)
	if base == "." || base == ".." || base == string(filepath.Separator) {
		return "", fmt.Errorf("write %s: %w", path, fs.ErrInvalid)
	}
	tmp = filepath.Join(filepath.Dir(path), tempPrefix(base)+rand.Text()+tempSuffix)
	// Never wider than the owner while it is being written.
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode&0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(tmp)
		}
	}()
	if _, err = f.Write(data); err != nil {
		return "", err
	}
	if err = f.Chmod(mode); err != nil {
		return "", err
	}
	if err = f.Sync(); err != nil {
		return "", err
	}
	if err = f.Close(); err != nil {
		return "", err
	}
	return tmp, nil
}
