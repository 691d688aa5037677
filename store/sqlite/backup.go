package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"coffer"
	"coffer/internal/durable"
)

// Backup writes the store, as it is at one moment, into a new file at path, mode 0600, while it is used by any number of
// processes. The copy holds nothing that was deleted or replaced before. A path that exists gives an error wrapping
// coffer.ErrConflict; after another error nothing stays there.
func (db *DB) Backup(ctx context.Context, path string) error {
	end, err := db.reading(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := db.backup(ctx, path); err != nil {
		return fmt.Errorf("back up store %s: %w", db.path, err)
	}
	return nil
}

func (db *DB) backup(ctx context.Context, path string) (err error) {
	// The file first, with its mode: SQLite writes into an empty one.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: %w", path, coffer.ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("%w: %w", cerr, coffer.ErrUnavailable)
		}
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	pool, err := connect(db.path, 1, "")
	if err != nil {
		return classify(err)
	}
	defer pool.Close()
	if _, err := pool.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return classify(err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	return nil
}
