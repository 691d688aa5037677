// Package remedytest has what tests of packages above package remedy need of it.
package remedytest

import (
	"context"
	"io"

	"coffer"
	"coffer/object"
	"coffer/remedy"
)

// Hold has every fix wait at its staging until something comes out of gate, or its context ends, so that there is progress to be seen.
func Hold(m *remedy.Remedy, gate <-chan struct{}) { m.Objects = held{m.Objects, gate} }

type held struct {
	object.Store
	gate <-chan struct{}
}

func (s held) Stage(ctx context.Context, o coffer.Object, a object.Attrs, fill func(io.Writer) error) (object.Staged, error) {
	select {
	case <-s.gate:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.Store.Stage(ctx, o, a, fill)
}
