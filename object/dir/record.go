//go:build unix && !aix && !solaris

package dir

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"coffer"
	"coffer/object"
)

// maxRecord bounds a file of Coffer's own in .coffer. S3 allows 2 KB of user metadata and 10 tags; this is far more.
const maxRecord = 1 << 20

// record is what is kept of an object's version beside its bytes.
type record struct {
	Version string       `json:"version,omitempty"` // the version id that was given to it, if one was
	Attrs   object.Attrs `json:"attrs"`             // without System, which comes from the file
}

func (r record) encode() ([]byte, error) {
	r.Attrs.System = nil
	a := r.Attrs
	for _, s := range []string{a.ContentType, a.ContentEncoding, a.ContentLanguage, a.ContentDisposition, a.CacheControl,
		a.Expires, a.Redirect, a.StorageClass} {
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("attribute is not UTF-8: %w", coffer.ErrInvalid)
		}
	}
	for k, v := range a.Metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, fmt.Errorf("metadata is not UTF-8: %w", coffer.ErrInvalid)
		}
	}
	if err := object.CheckTags(a.Tags); err != nil {
		return nil, err
	}
	b, err := json.Marshal(r)
	if err == nil && len(b) > maxRecord {
		err = fmt.Errorf("attributes of %d bytes, at most %d: %w", len(b), maxRecord, coffer.ErrLimit)
	}
	return b, err
}

// writeFile replaces a file of Coffer's own atomically and durably.
func writeFile(r *os.Root, name string, b []byte) error {
	tmp := "tmp-" + randomID()
	f, err := r.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = r.Rename(tmp, name)
	}
	if err != nil {
		_ = r.Remove(tmp)
		return err
	}
	return syncDir(r)
}

func readFile(r *os.Root, name string) ([]byte, error) {
	f, _, err := openRegular(r, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err == nil && len(b) > maxRecord {
		err = fmt.Errorf("record of more than %d bytes: %w", maxRecord, coffer.ErrCorrupt)
	}
	return b, err
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// keyDir is what is kept of one key in .coffer. A nil root holds nothing.
type keyDir struct{ root *os.Root }

// keyDir opens the folder of the key.
func (d *Dir) keyDir(bucket, key string, create bool) (keyDir, error) {
	r, err := d.side(keySide(bucket, key), create)
	if errors.Is(err, fs.ErrNotExist) {
		return keyDir{}, nil
	}
	return keyDir{r}, err
}

func (k keyDir) close() {
	if k.root != nil {
		k.root.Close()
	}
}

func (k keyDir) record(id ident) (record, error) {
	var rec record
	if k.root == nil {
		return rec, nil
	}
	b, err := readFile(k.root, "a-"+id.String())
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	if err == nil && json.Unmarshal(b, &rec) != nil {
		err = fmt.Errorf("record of the object's attributes: %w", coffer.ErrCorrupt)
	}
	return rec, err
}

// entry is a noncurrent version or a delete marker.
type entry struct {
	seq    uint64
	id     string
	marker bool
	name   string // in the keyDir
	stat   stat
}

// entries returns the noncurrent versions and markers, newest first.
func (k keyDir) entries() ([]entry, error) {
	if k.root == nil {
		return nil, nil
	}
	names, err := k.names()
	if err != nil {
		return nil, err
	}
	var es []entry
	for _, n := range names {
		e := entry{name: n}
		kind, rest, _ := strings.Cut(n, "-")
		seq, id, ok := strings.Cut(rest, "-")
		if !ok || kind != "v" && kind != "m" {
			continue
		}
		e.marker, e.id = kind == "m", id
		if e.seq, err = strconv.ParseUint(seq, 16, 64); err != nil {
			return nil, fmt.Errorf("name of a noncurrent version: %w", coffer.ErrCorrupt)
		}
		e.stat, err = lstat(k.root, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b entry) int {
		if a.seq < b.seq {
			return 1
		}
		return -1
	})
	return es, nil
}

func (k keyDir) names() ([]string, error) {
	f, err := k.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func entryName(marker bool, seq uint64, id string) string {
	if marker {
		return fmt.Sprintf("m-%016x-%s", seq, id)
	}
	return fmt.Sprintf("v-%016x-%s", seq, id)
}

// chain is the versions of one key: the current file, if there is one, and the entries below it.
type chain struct {
	hist    history
	place   *place // nil: a folder on the way is missing
	side    keyDir
	file    *os.File // nil: no current file
	stat    stat     // of file
	rec     record   // of file
	id      string   // version id of file
	entries []entry  // newest first
	stale   []entry  // left by an operation that did not get as far as its commit point, or replaced by a later null version
}

func (c *chain) close() {
	if c.file != nil {
		c.file.Close()
	}
	if c.place != nil {
		c.place.close()
	}
	c.side.close()
}

// chain reads the versions of a key. Without the key's lock it sees them as they were at some moment of the call.
func (d *Dir) chain(bucket, key string) (_ *chain, err error) {
	c := &chain{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.place, err = d.locate(bucket, key, false); err != nil {
		c.place = nil
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := d.checkBucketThere(bucket); err != nil {
			return nil, err
		}
	}
	if c.hist, err = d.history(bucket); err != nil {
		return nil, err
	}
	// The current file before the entries: a change in between then shows as an unfinished one, not as a version twice.
	if c.place != nil {
		c.file, c.stat, err = openRegular(c.place.parent(), c.place.base)
		if errors.Is(err, fs.ErrNotExist) {
			c.file = nil
		} else if err != nil {
			return nil, err
		}
	}
	if c.side, err = d.keyDir(bucket, key, false); err != nil {
		return nil, err
	}
	if c.file != nil {
		if c.rec, err = c.side.record(c.stat.ident()); err != nil {
			return nil, err
		}
	}
	if c.hist == nil {
		return c, nil
	}
	all, err := c.side.entries()
	if err != nil {
		return nil, err
	}
	if c.file != nil {
		// A commit or delete first gives the current file a second name among the entries, then takes the first away. As
		// long as the file has both it is current, and what is above it has not happened.
		if i := slices.IndexFunc(all, func(e entry) bool { return !e.marker && e.stat.sameFile(c.stat) }); i >= 0 {
			c.stale, all = all[:i+1:i+1], all[i+1:]
		}
	}
	seen := c.file != nil && c.rec.Version == nullVersion
	for _, e := range all {
		if e.id == nullVersion && seen {
			c.stale = append(c.stale, e)
			continue
		}
		seen = seen || e.id == nullVersion
		c.entries = append(c.entries, e)
	}
	if c.file != nil {
		c.id = c.currentID(bucket, key)
	}
	return c, nil
}

// currentID returns the version id of the current file. Null is the version that was written without versioning, and there is
// one at most: a second file that looks old enough, because its time was set back, gets an id of its own.
func (c *chain) currentID(bucket, key string) string {
	if c.rec.Version != "" {
		return c.rec.Version
	}
	if !c.hist.onAt(c.stat.mtim) && !slices.ContainsFunc(c.entries, func(e entry) bool { return e.id == nullVersion && !e.marker }) {
		return nullVersion
	}
	h := sha256.Sum256([]byte("coffer dir version\x00" + bucket + "\x00" + key + "\x00" + c.stat.ident().String()))
	return hex.EncodeToString(h[:16])
}

// nextSeq returns a sequence number above all entries, stale ones included.
func (c *chain) nextSeq() uint64 {
	var n uint64
	for _, e := range slices.Concat(c.entries, c.stale) {
		n = max(n, e.seq)
	}
	return n + 1
}

// repair removes what unfinished operations and foreign writers left in the keyDir. The caller holds the key's lock.
func (c *chain) repair() error {
	if c.side.root == nil {
		return nil
	}
	for _, e := range c.stale {
		if err := c.side.root.Remove(e.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	keep := map[string]bool{}
	if c.file != nil {
		keep["a-"+c.stat.ident().String()] = true
	}
	for _, e := range c.entries {
		keep[e.name], keep["a-"+e.stat.ident().String()] = true, true
	}
	names, err := c.side.names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if !keep[n] && (strings.HasPrefix(n, "a-") || strings.HasPrefix(n, "tmp-")) {
			if err := c.side.root.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	c.stale = nil
	return syncDir(c.side.root)
}
