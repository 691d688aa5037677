//go:build !linux

package sqlite

import (
	"fmt"

	"coffer"
)

// watch looks at what tells whether a store has changed. Here it does not know, so that every read asks SQLite.
type watch struct{}

func newWatch(string) (*watch, error) {
	return nil, fmt.Errorf("changes by other processes cannot be watched on this platform: %w", coffer.ErrUnsupported)
}

func (*watch) close() error { return nil }

func (*watch) state() (state, bool) { return state{}, false }
