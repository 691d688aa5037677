//go:build darwin || freebsd || linux

package app

import "golang.org/x/sys/unix"

// space returns how many bytes are free for this user on the file system of path, and how many it has.
func space(path string) (free, total uint64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, false
	}
	size := uint64(s.Bsize)
	return uint64(s.Bavail) * size, s.Blocks * size, true //nolint:unconvert // signed on some systems
}
