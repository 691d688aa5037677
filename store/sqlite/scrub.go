package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"coffer"
)

const (
	// scrubPages is how many pages are looked at in one transaction; writers get their turn between two.
	scrubPages = 1024
	// maxScrubPages keeps the kinds of pages apart. The first byte of a b-tree page is its type, 2, 5, 10 or 13; an overflow or
	// freelist page begins with the number of another page, whose first byte is less than 2 in a file of fewer pages.
	maxScrubPages = 1 << 25
)

// Scrub implements [store.Scrubber]. It reads the whole file, overwrites what SQLite left in the unused part of its pages, and
// then moves the write-ahead log into the file and truncates it. Other calls go on meanwhile, in this process and others. It
// does not serve files of 128 GiB and more (coffer.ErrUnsupported).
func (db *DB) Scrub(ctx context.Context) error {
	end, err := db.reading(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := db.scrub(ctx); err != nil {
		return fmt.Errorf("scrub: %w", classify(err))
	}
	return nil
}

// scrub works on a connection of its own, so that the writer need not wait for it.
func (db *DB) scrub(ctx context.Context) (err error) {
	pool, err := connect(db.path, 1, "")
	if err != nil {
		return err
	}
	defer func() {
		if cerr := pool.Close(); err == nil {
			err = cerr
		}
	}()
	c, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	background := context.Background()
	var pages int
	if err := c.QueryRowContext(background, "PRAGMA page_count").Scan(&pages); err != nil {
		return err
	}
	if pages >= maxScrubPages {
		return fmt.Errorf("store of %d pages: %w", pages, coffer.ErrUnsupported)
	}
	// Page 1 holds the schema and never an item. What other writers add behind the last page is newer than this call, and
	// what they leave in a page that was looked at stems from items that were there then.
	for first := 2; first <= pages; first += scrubPages {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := scrubRange(background, c, first, min(first+scrubPages-1, pages)); err != nil {
			return err
		}
	}
	return db.truncate(ctx, c)
}

// scrubRange overwrites the unused parts of some pages in one transaction.
func scrubRange(ctx context.Context, c *sql.Conn, first, last int) (err error) {
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = c.ExecContext(ctx, "ROLLBACK")
		}
	}()
	// sqlite.org/dbpage.html: the pages of the file as a table, read and written through the transaction.
	read, err := c.PrepareContext(ctx, "SELECT data FROM sqlite_dbpage WHERE pgno = ?")
	if err != nil {
		return err
	}
	defer read.Close()
	for n := first; n <= last; n++ {
		var page []byte
		switch err := read.QueryRowContext(ctx, n).Scan(&page); {
		case errors.Is(err, sql.ErrNoRows):
			continue // the file has become shorter
		case err != nil:
			return err
		}
		if !clearUnused(page) {
			continue
		}
		if _, err := c.ExecContext(ctx, "UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?", page, n); err != nil {
			return err
		}
	}
	_, err = c.ExecContext(ctx, "COMMIT")
	return err
}

// clearUnused zeroes the bytes of a b-tree page between its array of cell pointers and its cells, and reports whether it
// changed any. Other pages, and pages whose header makes no sense, stay as they are. Layout: sqlite.org/fileformat2.html,
// section 1.6.
func clearUnused(page []byte) bool {
	if len(page) < 512 {
		return false
	}
	header := 8
	switch page[0] {
	case 2, 5: // interior
		header = 12
	case 10, 13: // leaf
	default:
		return false
	}
	cells := int(binary.BigEndian.Uint16(page[3:]))
	content := int(binary.BigEndian.Uint16(page[5:]))
	if content == 0 {
		content = 65536
	}
	start := header + 2*cells
	if start > content || content > len(page) {
		return false
	}
	unused := page[start:content]
	for _, b := range unused {
		if b != 0 {
			clear(unused)
			return true
		}
	}
	return false
}

// truncate empties the write-ahead log and makes that durable.
func (db *DB) truncate(ctx context.Context, c *sql.Conn) error {
	// SQLite waits for other readers and writers as long as busy_timeout says, but not for another checkpoint, which any
	// commit may make; that one is soon over.
	for deadline := time.Now().Add(busyTimeout); ; time.Sleep(5 * time.Millisecond) {
		var busy, frames, moved int
		if err := c.QueryRowContext(context.WithoutCancel(ctx), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
			return err
		}
		if busy == 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("others are reading or writing: %w", coffer.ErrUnavailable)
		}
	}
	// SQLite does not sync the truncation. This file carries no locks, so closing it loses none.
	f, err := os.OpenFile(db.path+"-wal", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	return nil
}
