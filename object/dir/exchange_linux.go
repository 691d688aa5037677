package dir

import (
	"os"

	"golang.org/x/sys/unix"
)

// exchange swaps two names of a folder in one step.
func exchange(dir *os.File, a, b string) error {
	return unix.Renameat2(int(dir.Fd()), a, int(dir.Fd()), b, unix.RENAME_EXCHANGE)
}

// openForWriting reports whether some program, this one included, has the file of f open for writing. The kernel grants a read
// lease only on a file that nobody writes; the lease is given back at once. To others' files only a privileged process gets
// one: then, and on file systems without leases, the answer is no.
func openForWriting(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return err == unix.EAGAIN
}
