//go:build unix && !aix && !solaris && !darwin && !freebsd && !netbsd

package dir

import (
	"io/fs"
	"syscall"
)

// ctim returns the change time of a file in Unix nanoseconds.
func ctim(fi fs.FileInfo) int64 { return fi.Sys().(*syscall.Stat_t).Ctim.Nano() }
