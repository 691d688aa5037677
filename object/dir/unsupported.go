//go:build !unix || aix || solaris

// Package dir is object storage in a folder of plain files. It needs inodes, flock and directory handles and is therefore
// there on Linux, macOS and the BSDs only.
package dir

import (
	"context"
	"fmt"

	"coffer"
	"coffer/object"
)

// Dir is object storage in a folder. On this system there is none.
type Dir struct{ object.Store }

// Open returns an error wrapping coffer.ErrUnsupported.
func Open(string) (*Dir, error) {
	return nil, fmt.Errorf("a folder of objects on this operating system: %w", coffer.ErrUnsupported)
}

// Close does nothing.
func (*Dir) Close() error { return nil }

// CreateBucket is never reached: Open gives no Dir.
func (*Dir) CreateBucket(context.Context, string) error { return coffer.ErrUnsupported }

// SetVersioning is never reached: Open gives no Dir.
func (*Dir) SetVersioning(context.Context, string, bool) error { return coffer.ErrUnsupported }
