//go:build unix && !aix && !solaris

package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"coffer"
)

// This file holds the changes of names: exchanging the staged file with the current one, taking the current one away, and
// undoing either if what came out is somebody else's.

var (
	errForeign = fmt.Errorf("another program wrote the object: %w", coffer.ErrConflict)
	errGone    = fmt.Errorf("object is gone: %w", coffer.ErrConflict)
)

// swap exchanges the names a, hidden, and b in the folder. Where the file system cannot, b goes to a third hidden name, a to
// b, and the third name to a; if somebody takes b in between, errTaken says so, a is as it was, and what stood at b is under
// the third name.
func (d *Dir) swap(r *os.Root, a, b string) error {
	err := error(unix.ENOSYS)
	if !d.noExchange {
		f, oerr := r.Open(".")
		if oerr != nil {
			return oerr
		}
		err = exchange(f, a, b)
		f.Close()
	}
	switch err {
	case unix.ENOSYS, unix.EINVAL, unix.ENOTSUP, unix.EPERM:
	default:
		return err
	}
	third := a + thirdSuffix
	if err := r.Rename(b, third); err != nil {
		return err
	}
	d.step("moved away")
	switch err := moveNew(r, a, b); {
	case errors.Is(err, fs.ErrExist):
		return errTaken
	case err != nil:
		return errors.Join(err, moveNew(r, third, b))
	}
	d.step("linked")
	return r.Rename(third, a)
}

// thirdSuffix is added to a hidden name to make another.
const thirdSuffix = "-x"

var errTaken = errors.New("name was taken")

// moveNew renames a to b unless b exists, which is an error that is fs.ErrExist.
func moveNew(r *os.Root, a, b string) error {
	if s, err := lstat(r, a); err == nil && s.mode.IsDir() {
		// A folder has no second name, but renaming one replaces nothing but an empty folder.
		err := r.Rename(a, b)
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENOTEMPTY) {
			return fs.ErrExist
		}
		return err
	}
	if err := r.Link(a, b); err != nil {
		return err
	}
	return r.Remove(a)
}

// replace puts the staged file, whose identity is in, in the place of the current one, which must be the file held of identity
// out; same is asked once more whether its bytes are still those that were compared. Then the old file is under the hidden
// name. Otherwise the error wraps coffer.ErrConflict, and every file of a foreign writer has the name it had or one beside it.
func (d *Dir) replace(p *place, hidden string, in, out ident, held *os.File, same func() bool) error {
	r := p.parent()
	switch err := d.swap(r, hidden, p.base); {
	case errors.Is(err, fs.ErrNotExist):
		return errGone
	case err == errTaken:
		return errors.Join(errForeign, p.settle(hidden+thirdSuffix, out))
	case err != nil:
		return err
	}
	d.step("exchanged")
	got, err := lstat(r, hidden)
	if err == nil && got.mode.IsRegular() && got.ident() == out && !openForWriting(held) && same() {
		return nil
	}
	switch err := d.swap(r, hidden, p.base); {
	case errors.Is(err, fs.ErrNotExist):
		// Somebody removed our file at once. What was there before goes back: whether they meant it is not ours to say.
		return errors.Join(errForeign, p.putBack(hidden))
	case err == errTaken:
		// At the third name is our own file, or one of a writer who came after it; in the first case hidden is foreign.
		return errors.Join(errForeign, p.settle(hidden+thirdSuffix, in), p.putBack(hidden))
	case err != nil:
		return errors.Join(err, p.putBack(hidden))
	}
	came, err := lstat(r, hidden)
	switch {
	case err == nil && came.ident() == in:
		return errForeign // the usual end: everything is as before
	case err == nil && came.ino != in.Ino:
		// Somebody replaced our file in the moment it stood there. Theirs is the newest and belongs at the name.
		err = d.swap(r, hidden, p.base)
	}
	return errors.Join(errForeign, err, p.putBack(hidden))
}

// remove takes the current file, which must be the file held of identity out, away to the hidden name. Otherwise the error
// wraps coffer.ErrConflict, and a foreign file has its name back or one beside it.
func (d *Dir) remove(p *place, hidden string, out ident, held *os.File, same func() bool) error {
	r := p.parent()
	switch err := r.Rename(p.base, hidden); {
	case errors.Is(err, fs.ErrNotExist):
		return errGone
	case err != nil:
		return err
	}
	d.step("moved away")
	got, err := lstat(r, hidden)
	if err == nil && got.mode.IsRegular() && got.ident() == out && !openForWriting(held) && same() {
		return nil
	}
	return errors.Join(errForeign, p.putBack(hidden))
}

// putBack gives a foreign file under a hidden name the name of the object, or if that is taken one beside it.
func (p *place) putBack(hidden string) error {
	r := p.parent()
	if _, err := r.Lstat(hidden); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	id := ".coffer-kept-" + randomID()[:8]
	name := p.base
	if len(name)+len(id) > maxName {
		name = "object"
	}
	if err := moveNew(r, hidden, p.base); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return moveNew(r, hidden, name+id)
}

// settle removes the file under the hidden name if it is the one of identity known, which another writer's has replaced;
// a file that nobody has replaced yet is put back.
func (p *place) settle(hidden string, known ident) error {
	s, err := lstat(p.parent(), hidden)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if s.mode.IsRegular() && s.ident() == known {
		return p.parent().Remove(hidden)
	}
	return p.putBack(hidden)
}
