// Package sqlite keeps a store in one SQLite file. It is the default on one machine: several processes may use the file at
// once.
//
// Durability: Apply returns after the write-ahead log is synced (journal_mode WAL, synchronous FULL). Concurrent Apply calls
// of one process share a transaction and its sync, which is what makes the store faster than the disk's sync rate; each of
// them still succeeds or conflicts on its own.
//
// Consistency: writes are serialised by SQLite's write lock (BEGIN IMMEDIATE) over all processes; a Get, and each page of a
// Query or Scan, sees everything that was acknowledged before it began. What was read is kept in memory, sealed as it lies in the
// file and at most 32 MB of it, and answers again only while no process has committed anything that could have changed it; see cache.go.
//
// Retries: none beyond waiting up to 10 seconds for another process's lock; then coffer.ErrUnavailable. So are a full disk, a
// read-only file, and I/O errors. A damaged file gives coffer.ErrCorrupt.
//
// Deleted bytes: SQLite overwrites them with zeros (secure_delete), apart from stale copies that it leaves in the unused part of
// a page when it moves items between pages, and the older states in the write-ahead log. [DB.Scrub] removes both.
//
// Trust: none, see package store. The file has mode 0600; beside it stand PATH-wal and PATH-shm while it is open. It must be
// on a local file system: SQLite's locks and shared memory do not work over a network.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"coffer"
	"coffer/internal/durable"
	"coffer/store"
)

const (
	applicationID = 0x436f6672 // "Cofr": says that the file is a Coffer store
	schemaVersion = 1

	busyTimeout = 10 * time.Second
	readers     = 4       // connections for reading
	pageRows    = 256     // most rows of one page of a Query or Scan
	pageBytes   = 1 << 20 // a page ends after this many bytes
	batchOps    = 2000    // most operations in one transaction
	batchBytes  = 8 << 20 // a transaction takes no more calls after this many bytes
)

// buckets is the number of ranges into which the table is divided by a hash of the part, so that a shard of a Scan is a range
// of the index. It is a multiple of every power of two that a caller would split by.
const buckets = store.MaxShards

// bucketOf is part of the file's format: it must not change within a schema version.
func bucketOf(part string) int64 {
	return int64(crc32.Checksum([]byte(part), castagnoli) % buckets)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// schema makes an empty file a store. The values lie in the table, which grows at its end, the keys in an index of their own. (One
// b-tree WITHOUT ROWID was tried: for every key it compares on its way down, SQLite reads the whole of an item that does not
// fit its page.) The value comes last, so that reading a version does not follow its overflow pages.
var schema = []string{
	`CREATE TABLE items (
	id      INTEGER PRIMARY KEY,
	bucket  INTEGER NOT NULL,
	part    BLOB NOT NULL,
	sort    BLOB NOT NULL,
	version BLOB NOT NULL,
	expires INTEGER NOT NULL, -- Unix seconds; 0: never
	value   BLOB NOT NULL
) STRICT`,
	`CREATE UNIQUE INDEX items_key ON items (bucket, part, sort)`,
}

// DB is a store in a SQLite file. See [Open].
type DB struct {
	path string

	read                                              *sql.DB
	get, forward, forwardTo, reverse, reverseTo, scan *sql.Stmt // on read

	writePool         *sql.DB
	write             *sql.Conn // the only connection of writePool, used by the writer alone
	version, put, del *sql.Stmt // on write
	others            *sql.Stmt // on write; its answer changes when another connection has committed
	seen              int64     // its last answer

	watch *watch // nil: changes by others cannot be seen, and nothing is kept
	cache cache

	mu       sync.RWMutex // held for reading while a request is handed over, for writing to close
	closed   bool
	requests chan *request
	done     chan struct{} // closed when the writer has ended
}

var (
	_ store.DB       = (*DB)(nil)
	_ store.Scrubber = (*DB)(nil)
	_ store.Marker   = (*DB)(nil)
)

// Open opens the store in the file at path and makes it if there is none; the folder must exist. A file of a newer program
// gives an error wrapping coffer.ErrUnsupported, a file that is no store coffer.ErrInvalid, a damaged one coffer.ErrCorrupt,
// one that cannot be opened coffer.ErrUnavailable. Looser modes than 0600 are tightened.
func Open(path string) (*DB, error) {
	db, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return db, nil
}

func open(path string) (_ *DB, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	opening.Lock()
	defer opening.Unlock()
	// Ask for locks that belong to an open file. With POSIX locks, which belong to the process, anybody here who reads and
	// closes the file (to back it up, say) would take away the locks of every DB on it. Where there are no such locks
	// (outside Linux), that danger remains.
	_, _ = driver.OFDLocking(true)
	if err := secure(path); err != nil {
		return nil, err
	}
	db := &DB{
		path:     path,
		requests: make(chan *request, 64),
		done:     make(chan struct{}),
	}
	defer func() {
		if err != nil {
			_ = db.closeConnections()
			err = classify(err)
		}
	}()
	ctx := context.Background()
	if db.writePool, err = connect(path, 1, ""); err != nil {
		return nil, err
	}
	if db.write, err = db.writePool.Conn(ctx); err != nil {
		return nil, err
	}
	if err := prepareFile(ctx, db.write); err != nil {
		return nil, err
	}
	if db.read, err = connect(path, readers, "&_pragma=query_only(ON)"); err != nil {
		return nil, err
	}
	// The driver asks for the name and type of every column in every query, so a statement returns only what its caller does not
	// know. The LIMIT is no parameter: SQLite would parse and plan the statement anew whenever one is bound (its plan depends
	// on the number), which costs more than a short query.
	const inPart = "SELECT version, expires, value, sort FROM items WHERE bucket = ? AND part = ? AND sort >= ? "
	limit := fmt.Sprintf(" LIMIT %d", pageRows)
	for _, s := range []struct {
		stmt **sql.Stmt
		on   interface {
			PrepareContext(context.Context, string) (*sql.Stmt, error)
		}
		text string
	}{
		{&db.get, db.read, "SELECT version, expires, value FROM items WHERE bucket = ? AND part = ? AND sort = ?"},
		{&db.forward, db.read, inPart + "ORDER BY sort" + limit},
		{&db.forwardTo, db.read, inPart + "AND sort < ? ORDER BY sort" + limit},
		{&db.reverse, db.read, inPart + "ORDER BY sort DESC" + limit},
		{&db.reverseTo, db.read, inPart + "AND sort < ? ORDER BY sort DESC" + limit},
		{&db.scan, db.read, "SELECT version, expires, value, sort, part, bucket FROM items " +
			"WHERE (bucket, part, sort) >= (?, ?, ?) AND bucket < ? ORDER BY bucket, part, sort" + limit},
		{&db.version, db.write, "SELECT version FROM items WHERE bucket = ? AND part = ? AND sort = ?"},
		{&db.put, db.write, "INSERT INTO items (bucket, part, sort, version, expires, value) VALUES (?, ?, ?, ?, ?, ?) " +
			"ON CONFLICT (bucket, part, sort) DO UPDATE SET version = excluded.version, expires = excluded.expires, value = excluded.value"},
		{&db.del, db.write, "DELETE FROM items WHERE bucket = ? AND part = ? AND sort = ?"},
		{&db.others, db.write, "PRAGMA data_version"},
	} {
		if *s.stmt, err = s.on.PrepareContext(ctx, s.text); err != nil {
			return nil, err
		}
	}
	// Without a watch every read asks SQLite.
	db.watch, _ = newWatch(path)
	go db.run()
	return db, nil
}

// opening is held while a file is made and opened, and while it is closed, because of what secure and watch close.
var opening sync.Mutex

// secure makes the file if there is none, and sees to its mode. It opens the file only when it has just made it, and so before
// any DB of this process has: closing a descriptor of a file drops all POSIX locks that the process holds on it.
func secure(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		if err := f.Close(); err != nil {
			return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
		}
		if err := durable.SyncDir(filepath.Dir(path)); err != nil {
			return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
		}
	case !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("not a regular file: %w", coffer.ErrInvalid)
	}
	if fi.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		if err := os.Chmod(path, fi.Mode().Perm()&0o700); err != nil {
			return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
		}
	}
	return nil
}

// connect returns a pool of at most n connections that stay open once made.
func connect(path string, n int, more string) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path)} // escapes ?, # and %, which a file name may hold
	db, err := sql.Open("sqlite", u.String()+
		fmt.Sprintf("?_pragma=busy_timeout(%d)", busyTimeout.Milliseconds())+
		"&_pragma=synchronous(FULL)&_pragma=fullfsync(ON)&_pragma=checkpoint_fullfsync(ON)"+
		"&_pragma=secure_delete(ON)&_pragma=trusted_schema(OFF)&_pragma=cell_size_check(ON)"+more)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// prepareFile looks what the file is and makes an empty one a store. Several processes may do so at once.
func prepareFile(ctx context.Context, c *sql.Conn) error {
	// In one transaction: another process may be making the file a store between two of look's questions.
	if _, err := c.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	fresh, err := look(ctx, c)
	if _, rerr := c.ExecContext(ctx, "ROLLBACK"); err == nil {
		err = rerr
	}
	if err != nil {
		return err
	}
	// The change to WAL does not wait for locks as other statements do.
	for deadline := time.Now().Add(busyTimeout); ; time.Sleep(10 * time.Millisecond) {
		var mode string
		err := c.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
		if err == nil && mode == "wal" {
			break
		}
		if err == nil {
			return fmt.Errorf("the file cannot have a write-ahead log: %w", coffer.ErrUnavailable)
		}
		if !busy(err) || time.Now().After(deadline) {
			return err
		}
	}
	if !fresh {
		return nil
	}
	if _, err := c.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err = func() error {
		// Somebody may have been quicker.
		if fresh, err := look(ctx, c); err != nil || !fresh {
			return err
		}
		for _, q := range append(slices.Clone(schema),
			fmt.Sprintf("PRAGMA application_id = %d", applicationID),
			fmt.Sprintf("PRAGMA user_version = %d", schemaVersion),
		) {
			if _, err := c.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		_, _ = c.ExecContext(ctx, "ROLLBACK")
		return err
	}
	_, err = c.ExecContext(ctx, "COMMIT")
	return err
}

// look reports whether the file is empty, and returns an error if it is neither that nor a store of this version.
func look(ctx context.Context, c *sql.Conn) (fresh bool, err error) {
	var id, version, tables int
	for _, q := range []struct {
		text string
		into *int
	}{
		{"PRAGMA application_id", &id},
		{"PRAGMA user_version", &version},
		{"SELECT count(*) FROM sqlite_schema", &tables},
	} {
		if err := c.QueryRowContext(ctx, q.text).Scan(q.into); err != nil {
			return false, err
		}
	}
	switch {
	case id == 0 && version == 0 && tables == 0:
		return true, nil
	case id != applicationID:
		return false, fmt.Errorf("the file is not a Coffer store: %w", coffer.ErrInvalid)
	case version > schemaVersion:
		return false, fmt.Errorf("the store has version %d, this program knows %d, use a newer one: %w", version, schemaVersion, coffer.ErrUnsupported)
	case version != schemaVersion:
		return false, fmt.Errorf("the store has no version: %w", coffer.ErrCorrupt)
	}
	return false, nil
}

// Close implements [store.DB]. Apply calls that were handed over are finished first.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	close(db.requests)
	db.mu.Unlock()
	<-db.done
	opening.Lock()
	defer opening.Unlock()
	err := classify(db.closeConnections())
	if db.watch != nil {
		if werr := db.watch.close(); err == nil && werr != nil {
			err = fmt.Errorf("%w: %w", werr, coffer.ErrUnavailable)
		}
	}
	return err
}

func (db *DB) closeConnections() error {
	var errs []error
	// The statements first: SQLite keeps a connection alive as long as it has one.
	for _, s := range []*sql.Stmt{db.get, db.forward, db.forwardTo, db.reverse, db.reverseTo, db.scan, db.version, db.put, db.del, db.others} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if db.read != nil {
		errs = append(errs, db.read.Close())
	}
	// The writer last: the last connection to a file empties its log and removes it.
	if db.write != nil {
		errs = append(errs, db.write.Close())
	}
	if db.writePool != nil {
		errs = append(errs, db.writePool.Close())
	}
	return errors.Join(errs...)
}

// reading begins a read. The returned function ends it.
func (db *DB) reading(ctx context.Context) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db.mu.RLock()
	if db.closed {
		db.mu.RUnlock()
		return nil, errClosed
	}
	return db.mu.RUnlock, nil
}

var errClosed = fmt.Errorf("store is closed: %w", coffer.ErrUnavailable)

// Get implements [store.DB].
func (db *DB) Get(ctx context.Context, k store.Key) (store.Item, error) {
	if err := store.ValidateKey(k); err != nil {
		return store.Item{}, err
	}
	end, err := db.reading(ctx)
	if err != nil {
		return store.Item{}, err
	}
	defer end()
	at, watched := db.watch.state()
	if watched {
		if it, found, known := db.cache.get(at, k); found {
			return it, nil
		} else if known {
			return store.Item{}, errNoItem
		}
	}
	// Without ctx: it would cost a goroutine, and the read is short.
	rows, err := db.get.Query(bucketOf(k.Part), []byte(k.Part), []byte(k.Sort))
	if err != nil {
		return store.Item{}, fmt.Errorf("get: %w", classify(err))
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return store.Item{}, fmt.Errorf("get: %w", classify(err))
		}
		if watched {
			db.cache.keepItem(at, db.watch.state, k, nil)
		}
		return store.Item{}, errNoItem
	}
	it, err := item(rows, k)
	if err != nil {
		return store.Item{}, fmt.Errorf("get: %w", err)
	}
	if watched {
		db.cache.keepItem(at, db.watch.state, k, &it)
	}
	return it, nil
}

// MarkOf implements [store.Marker]: what was read of the part is kept, and nobody has written to it.
func (db *DB) MarkOf(part string) (store.Mark, bool) {
	end, err := db.reading(context.Background())
	if err != nil {
		return 0, false
	}
	defer end()
	at, watched := db.watch.state()
	if !watched {
		return 0, false
	}
	p := db.cache.part(at, part)
	if p == nil {
		return 0, false
	}
	return p.mark, true
}

var errNoItem = fmt.Errorf("item: %w", coffer.ErrNotFound)

// item returns the current row as the item with the key k; more is where the columns after the first three go.
func item(rows *sql.Rows, k store.Key, more ...any) (store.Item, error) {
	var version sql.RawBytes
	var expires int64
	it := store.Item{Key: k}
	var columns [6]any
	if err := rows.Scan(append(append(columns[:0], &version, &expires, &it.Value), more...)...); err != nil {
		return store.Item{}, classify(err)
	}
	it.Version = string(version)
	if expires != 0 {
		it.Expires = time.Unix(expires, 0).UTC()
	}
	return it, nil
}

// page reads at most most rows, or as many as fit a page; one reads a row. more reports that there may be others behind them.
func page(most int, one func(*sql.Rows) (store.Item, error), stmt *sql.Stmt, args ...any) (items []store.Item, more bool, err error) {
	rows, err := stmt.Query(args...)
	if err != nil {
		return nil, false, classify(err)
	}
	defer rows.Close()
	for size := 0; len(items) < most && size < pageBytes; {
		if !rows.Next() {
			return items, false, classify(rows.Err()) // most is within the statement's LIMIT
		}
		it, err := one(rows)
		if err != nil {
			return nil, false, err
		}
		items = append(items, it)
		size += len(it.Key.Part) + len(it.Key.Sort) + len(it.Value)
	}
	return items, true, nil
}

// pages yields the items that next returns, page by page; next gets the last item of the page before, and the number of rows
// wanted. No connection is held while the caller has an item.
func (db *DB) pages(ctx context.Context, what string, yield func(store.Item, error) bool,
	next func(last *store.Item, rows int) ([]store.Item, bool, error)) {
	var last *store.Item
	// A caller may want only the first items, so the pages begin small.
	for rows := 8; ; rows = min(4*rows, pageRows) {
		end, err := db.reading(ctx)
		var items []store.Item
		var more bool
		if err == nil {
			items, more, err = next(last, rows)
			end()
		}
		if err != nil {
			yield(store.Item{}, fmt.Errorf("%s: %w", what, err))
			return
		}
		if len(items) > 0 {
			last = &store.Item{Key: items[len(items)-1].Key} // before the caller gets them
		}
		for _, it := range items {
			if !yield(it, nil) {
				return
			}
		}
		if !more {
			return
		}
	}
}

// Query implements [store.DB].
func (db *DB) Query(ctx context.Context, part string, r store.Range) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		if err := store.ValidatePart(part); err != nil {
			yield(store.Item{}, err)
			return
		}
		r := r
		if r.From == "" {
			r.From = "\x00" // the least sort there can be
		}
		one := func(rows *sql.Rows) (store.Item, error) {
			var sort sql.RawBytes
			it, err := item(rows, store.Key{Part: part}, &sort)
			it.Key.Sort = string(sort)
			return it, err
		}
		db.pages(ctx, "query", yield, func(last *store.Item, rows int) ([]store.Item, bool, error) {
			if last != nil && r.Reverse {
				r.To = last.Key.Sort
			} else if last != nil {
				r.From = last.Key.Sort + "\x00" // the least sort above it
			}
			stmt := db.forward
			args := []any{bucketOf(part), []byte(part), []byte(r.From)}
			switch {
			case r.Reverse && r.To != "":
				stmt = db.reverseTo
			case r.Reverse:
				stmt = db.reverse
			case r.To != "":
				stmt = db.forwardTo
			}
			if r.To != "" {
				args = append(args, []byte(r.To))
			}
			if last != nil {
				return page(rows, one, stmt, args...)
			}
			// A range that one page holds is kept.
			at, watched := db.watch.state()
			if watched {
				if kept, known := db.cache.query(at, part, r); known {
					items := slices.Clone(kept)
					for i := range items {
						items[i].Value = slices.Clone(items[i].Value)
					}
					return items, false, nil
				}
			}
			items, more, err := page(rows, one, stmt, args...)
			if watched && err == nil && !more {
				db.cache.keepQuery(at, db.watch.state, part, r, items)
			}
			return items, more, err
		})
	}
}

// Scan implements [store.DB].
func (db *DB) Scan(ctx context.Context, shard, of int) iter.Seq2[store.Item, error] {
	return func(yield func(store.Item, error) bool) {
		if err := store.ValidateShard(shard, of); err != nil {
			yield(store.Item{}, err)
			return
		}
		bucket, part, sort := int64(shard)*buckets/int64(of), "\x00", "\x00"
		end := int64(shard+1) * buckets / int64(of)
		one := func(rows *sql.Rows) (store.Item, error) {
			var sort, part sql.RawBytes
			var bucket int64
			it, err := item(rows, store.Key{}, &sort, &part, &bucket)
			it.Key = store.Key{Part: string(part), Sort: string(sort)}
			if err == nil && bucket != bucketOf(it.Key.Part) {
				err = fmt.Errorf("item in the wrong place: %w", coffer.ErrCorrupt)
			}
			return it, err
		}
		db.pages(ctx, "scan", yield, func(last *store.Item, rows int) ([]store.Item, bool, error) {
			if last != nil {
				bucket, part, sort = bucketOf(last.Key.Part), last.Key.Part, last.Key.Sort+"\x00"
			}
			return page(rows, one, db.scan, bucket, []byte(part), []byte(sort), end)
		})
	}
}

// request is one Apply that the writer carries out.
type request struct {
	ops   []store.Op
	taken atomic.Bool // by the writer, or by a caller who gave up: whoever sets it first
	err   error
	done  chan struct{}
}

// Apply implements [store.DB]. A context that ends before the transaction began leaves nothing done; after that Apply waits for
// the outcome.
func (db *DB) Apply(ctx context.Context, ops ...store.Op) error {
	if err := store.Validate(ops); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{ops: ops, done: make(chan struct{})}
	db.mu.RLock()
	if db.closed {
		db.mu.RUnlock()
		return errClosed
	}
	db.requests <- r // the writer takes it in bounded time
	db.mu.RUnlock()
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		// The writer reads the caller's bytes: they must not be given back before it has ended.
		<-r.done
	}
	return r.err
}

// run is the writer: the only user of the writing connection.
func (db *DB) run() {
	defer close(db.done)
	var batch []*request
	for r := range db.requests {
		batch = batch[:0]
		ops, size := 0, 0
		for r != nil {
			var next *request
			if r.taken.CompareAndSwap(false, true) {
				batch = append(batch, r)
				ops += len(r.ops)
				for _, op := range r.ops {
					size += len(op.Item.Value)
				}
			}
			if ops < batchOps && size < batchBytes {
				next = db.waiting()
			}
			r = next
		}
		if len(batch) == 0 {
			continue
		}
		err := db.commit(batch)
		for _, r := range batch {
			if err != nil {
				r.err = err
			}
			close(r.done)
		}
	}
}

// waiting returns a request that is there or comes at once, or nil. The callers that the last commit woke are about to ask
// again; letting them run first puts them into this transaction instead of the next.
func (db *DB) waiting() *request {
	for range 4 {
		select {
		case r := <-db.requests:
			return r // nil when closed
		default:
			runtime.Gosched()
		}
	}
	return nil
}

// commit carries out the batch in one transaction and leaves in each request whether its expectations failed. If it returns
// an error, no request of the batch was carried out or, when the last sync failed, it is not known.
func (db *DB) commit(batch []*request) error {
	ctx := context.Background() // a caller who gives up must not take the others' transaction with it
	if _, err := db.write.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("apply: %w", classify(err))
	}
	before, watched := db.watch.state() // which is this transaction's, because nobody else can commit
	db.cache.begin()
	err := func() error {
		for _, r := range batch {
			if err := db.perform(r); err != nil {
				return err
			}
		}
		_, err := db.write.ExecContext(ctx, "COMMIT")
		return err
	}()
	moved := false
	var after state
	if watched && err == nil {
		after, moved = db.watch.state()
		moved = db.alone() && moved
	}
	db.cache.end(moved, before, after, batch)
	if err != nil {
		// After some errors SQLite has rolled back by itself; then this fails, and that is as good.
		_, _ = db.write.ExecContext(ctx, "ROLLBACK")
		return fmt.Errorf("apply: %w", classify(err))
	}
	return nil
}

// alone reports whether no other connection has committed anything since it was asked last.
func (db *DB) alone() bool {
	last := db.seen
	rows, err := db.others.Query()
	if err != nil {
		return false
	}
	defer rows.Close()
	return rows.Next() && rows.Scan(&db.seen) == nil && rows.Err() == nil && db.seen == last
}

// perform carries out one request inside the transaction. All its expectations are read before its first write, so that a
// conflict needs no rollback: it stays in r.err and the rest of the batch goes on.
func (db *DB) perform(r *request) error {
	r.err = nil
	var mine [store.MaxOps]bool // Puts that were done before
	for i, op := range r.ops {
		var version sql.RawBytes
		k := op.Item.Key
		rows, err := db.version.Query(bucketOf(k.Part), []byte(k.Part), []byte(k.Sort))
		if err != nil {
			return err
		}
		exists := rows.Next()
		if exists {
			err = rows.Scan(&version)
		}
		holds := store.Holds(op, string(version), exists)
		mine[i] = op.Verb == store.Put && exists && string(version) == op.Item.Version
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = rows.Err()
		}
		if err != nil {
			return err
		}
		if !holds {
			r.err = fmt.Errorf("operation %d: %w", i, coffer.ErrConflict)
			return nil
		}
	}
	for i, op := range r.ops {
		it := op.Item
		bucket, part, sort := bucketOf(it.Key.Part), []byte(it.Key.Part), []byte(it.Key.Sort)
		var err error
		switch {
		case op.Verb == store.Put && !mine[i]:
			var expires int64
			if !it.Expires.IsZero() {
				expires = it.Expires.Unix()
			}
			value := it.Value
			if value == nil {
				value = []byte{} // nil is NULL to the driver
			}
			_, err = db.put.Exec(bucket, part, sort, []byte(it.Version), expires, value)
		case op.Verb == store.Delete:
			_, err = db.del.Exec(bucket, part, sort)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func busy(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
}

// classify wraps the sentinel for an error of SQLite. Other errors pass.
func classify(err error) error {
	var e *driver.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff { // the low byte is the primary code
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH:
		return fmt.Errorf("%w: %w", err, coffer.ErrCorrupt)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH:
		return fmt.Errorf("%w: %w", err, coffer.ErrUnavailable)
	}
	return err
}
