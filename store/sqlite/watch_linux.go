package sqlite

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"coffer"
)

// watch looks at the beginning of the write-ahead log's index (PATH-shm), the memory that all processes which have the file open share.
// SQLite writes its header anew with every commit, before the commit is acknowledged, and twice over, so that whoever reads
// needs no lock to know whether it is whole (sqlite.org/walformat.html, section 2.1.1).
//
// The locks that SQLite holds on that file are the process's own, and closing any descriptor of it drops them all. So there is one
// watch for a file in a process, and it is closed when no DB of this process is open on the file.
type watch struct {
	id    fileID
	f     *os.File
	mem   []byte
	users int
}

type fileID struct{ dev, ino uint64 }

// watches are those of this process. Guarded by opening.
var watches = map[fileID]*watch{}

// newWatch returns the watch of the store at path, on which a connection is open. The caller holds opening.
func newWatch(path string) (*watch, error) {
	// SQLite keeps its files beside the file that a link leads to.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	path += "-shm"
	id, size, err := identify(os.Stat(path))
	if err != nil {
		return nil, err
	}
	if w := watches[id]; w != nil {
		w.users++
		return w, nil
	}
	if size < int64(os.Getpagesize()) {
		return nil, fmt.Errorf("index of the write-ahead log of %d bytes: %w", size, coffer.ErrUnavailable)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	// From here on f stays open whatever happens: another DB of this process may hold locks on the file.
	w := &watch{id: id, f: f, users: 1}
	watches[id] = w
	if w.mem, err = syscall.Mmap(int(f.Fd()), 0, os.Getpagesize(), syscall.PROT_READ, syscall.MAP_SHARED); err != nil {
		w.mem = nil // it says nothing, ever
	}
	return w, nil
}

func identify(fi os.FileInfo, err error) (fileID, int64, error) {
	if err != nil {
		return fileID{}, 0, fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, 0, fmt.Errorf("file without an identity: %w", coffer.ErrUnavailable)
	}
	return fileID{st.Dev, st.Ino}, fi.Size(), nil
}

// close ends one use of the watch. The caller holds opening, and has closed its connections.
func (w *watch) close() error {
	if w.users--; w.users > 0 {
		return nil
	}
	delete(watches, w.id)
	var err error
	if w.mem != nil {
		err = syscall.Munmap(w.mem)
	}
	if cerr := w.f.Close(); err == nil {
		err = cerr
	}
	return err
}

// state returns what names the state of the store now; false when that cannot be said, because a commit is about to be written or the
// index is not in use.
func (w *watch) state() (state, bool) {
	if w == nil || w.mem == nil {
		return state{}, false
	}
	// SQLite writes the second copy first, so that they are the same only when both are whole. Were a half-written header taken for a state, it
	// would be that of no state of the file, and nothing kept is true of it.
	var s state
	for i := range s {
		s[i] = binary.NativeEndian.Uint64(w.mem[8*i:])
	}
	for i := range s {
		if binary.NativeEndian.Uint64(w.mem[8*(len(s)+i):]) != s[i] {
			return state{}, false
		}
	}
	// Native byte order: the version of the format, and a byte that is 1 once the index is made.
	const version = 3007000
	if binary.NativeEndian.Uint32(w.mem) != version || w.mem[12] != 1 {
		return state{}, false
	}
	return s, true
}
