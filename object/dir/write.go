//go:build unix && !aix && !solaris

package dir

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"coffer"
	"coffer/object"
)

// Tag implements [object.Tagger].
func (d *Dir) Tag(ctx context.Context, o coffer.Object, tags []coffer.Tag) error {
	return fail("tag object", d.tag(ctx, o, tags))
}

func (d *Dir) tag(ctx context.Context, o coffer.Object, tags []coffer.Tag) error {
	if err := object.CheckTags(tags); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, o.Bucket, o.Key)
	if err != nil {
		return err
	}
	defer unlock()
	v, err := d.version(ctx, o)
	if err != nil {
		return err
	}
	defer v.file.Close()
	side, err := d.keyDir(o.Bucket, o.Key, true)
	if err != nil {
		return err
	}
	defer side.close()
	rec, err := side.record(v.stat.ident())
	if err != nil {
		return err
	}
	// The id stays what it was shown as, whatever is tagged or removed later.
	if v.info.VersionID != "" {
		rec.Version = v.info.VersionID
	}
	rec.Attrs.Tags = tags
	b, err := rec.encode()
	if err != nil {
		return err
	}
	return writeFile(side.root, "a-"+v.stat.ident().String(), b)
}

// Copy implements [object.Store]. The bytes are read and written once; the copy has the source's mode and owner.
func (d *Dir) Copy(ctx context.Context, dst, src coffer.Object) (coffer.Object, error) {
	body, err := d.Open(ctx, src)
	if err != nil {
		return coffer.Object{}, fmt.Errorf("copy object: source: %w", err)
	}
	defer body.Close()
	st, err := d.Stage(ctx, dst, body.Info.Attrs, func(w io.Writer) error {
		_, err := io.Copy(w, body)
		return err
	})
	if err != nil {
		return coffer.Object{}, fmt.Errorf("copy object: %w", err)
	}
	made, err := st.Commit(ctx)
	if err != nil {
		return coffer.Object{}, errors.Join(fmt.Errorf("copy object: %w", err), st.Abort(context.WithoutCancel(ctx)))
	}
	return made, nil
}

// Stage implements [object.Store]. Missing folders on the way are made. A new object gets mode 0600 and the process's owner,
// unless a.System names others.
func (d *Dir) Stage(ctx context.Context, o coffer.Object, a object.Attrs, fill func(io.Writer) error) (object.Staged, error) {
	st, err := d.stage(ctx, o, a, fill)
	if err != nil {
		return nil, fail("stage object", err)
	}
	return st, nil
}

func (d *Dir) stage(ctx context.Context, o coffer.Object, a object.Attrs, fill func(io.Writer) error) (_ *staged, err error) {
	if _, err := (record{Attrs: a}).encode(); err != nil {
		return nil, err
	}
	if err := checkKey(o.Key); err != nil {
		return nil, err
	}
	if err := d.checkBucketThere(o.Bucket); err != nil {
		return nil, err
	}
	in, err := d.announce(o.Bucket, o.Key)
	if err != nil {
		return nil, err
	}
	st := &staged{d: d, o: o, attrs: a, intent: in}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.discard())
		}
	}()
	var f *os.File
	for range 100 {
		if st.place, err = d.locate(o.Bucket, o.Key, true); err == nil {
			f, err = st.place.parent().OpenFile(in.hidden(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		// A delete removed the empty folder. Make it anew.
		if st.place != nil {
			st.place.close()
			st.place = nil
		}
	}
	if err != nil {
		return nil, err
	}
	if s, err := lstat(st.place.parent(), st.place.base); err == nil && !s.mode.IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s stands there: %w", kind(s.mode), coffer.ErrInvalid)
	}
	sum := &summer{ctx: ctx, f: f, sha: sha256.New(), md5: object.MD5()}
	w := bufio.NewWriterSize(sum, 256<<10)
	if err = fill(struct{ io.Writer }{w}); err == nil {
		err = w.Flush()
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	st.size = sum.n
	sum.sha.Sum(st.sha[:0])
	st.etag = hex.EncodeToString(sum.md5.Sum(nil))
	return st, nil
}

// summer writes to a file and sums up what it wrote.
type summer struct {
	ctx      context.Context
	f        *os.File
	sha, md5 hash.Hash
	n        int64
}

func (s *summer) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.f.Write(p)
	s.sha.Write(p[:n])
	s.md5.Write(p[:n])
	s.n += int64(n)
	return n, err
}

type staged struct {
	d      *Dir
	o      coffer.Object
	attrs  object.Attrs
	intent *intent
	place  *place
	size   int64
	sha    [32]byte
	etag   string

	mu   sync.Mutex
	done bool          // committed or aborted: nothing is held any more
	made coffer.Object // what Commit made
}

func (st *staged) Size() int64      { return st.size }
func (st *staged) SHA256() [32]byte { return st.sha }

func (st *staged) Open(ctx context.Context) (object.Body, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	b, err := st.open(ctx)
	return b, fail("open staged object", err)
}

func (st *staged) open(ctx context.Context) (object.Body, error) {
	if st.done {
		return object.Body{}, fs.ErrNotExist
	}
	f, _, err := openRegular(st.place.parent(), st.intent.hidden())
	if err != nil {
		return object.Body{}, err
	}
	etag, s, err := st.d.etag(ctx, f)
	if err != nil {
		f.Close()
		return object.Body{}, err
	}
	return version{file: f, stat: s, info: object.Info{
		Object: coffer.Object{Bucket: st.o.Bucket, Key: st.o.Key, ETag: etag}, Size: s.size, Modified: time.Unix(0, s.mtim),
		Attrs: st.attrs, ETagIsMD5: true,
	}}.body()
}

// discard removes the staged file, if it is there, and what was announced for it.
func (st *staged) discard() error {
	st.done = true
	var err error
	if st.place != nil {
		err = st.place.parent().Remove(st.intent.hidden())
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err == nil {
			err = syncDir(st.place.parent())
		}
		st.place.prune()
		st.place.close()
	}
	if err != nil {
		st.intent.drop()
		return err
	}
	return st.intent.done()
}

func (st *staged) Abort(context.Context) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.done {
		return nil
	}
	return fail("abort staged object", st.discard())
}

func (st *staged) Commit(ctx context.Context) (coffer.Object, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.made != coffer.Object{}:
		return st.made, nil
	case st.done:
		return coffer.Object{}, fmt.Errorf("commit object: staged bytes: %w", coffer.ErrNotFound)
	}
	made, err := st.commit(ctx)
	if err != nil {
		return coffer.Object{}, fail("commit object", err)
	}
	st.made = made
	return made, nil
}

func (st *staged) commit(ctx context.Context) (made coffer.Object, err error) {
	d, o := st.d, st.o
	unlock, err := d.lock(ctx, o.Bucket, o.Key)
	if err != nil {
		return made, err
	}
	defer unlock()
	c, err := d.chain(o.Bucket, o.Key)
	if err != nil {
		return made, err
	}
	defer c.close()
	if err := c.repair(); err != nil {
		return made, err
	}
	var etag string
	if c.file == nil {
		if o.ETag != "" {
			return made, errGone
		}
	} else {
		if o.ETag == "" {
			return made, fmt.Errorf("object exists: %w", coffer.ErrConflict)
		}
		if etag, err = c.condition(ctx, d, o.ETag); err != nil {
			return made, err
		}
	}

	// Prepare: the staged file as it will be, its record, and a second name for a current file that becomes noncurrent.
	id := nullVersion
	if c.hist.state() == object.VersioningOn {
		id = randomID()
	}
	in, err := st.dress(c)
	if err != nil {
		return made, err
	}
	side := c.side
	if side.root == nil {
		if side, err = d.keyDir(o.Bucket, o.Key, true); err != nil {
			return made, err
		}
		defer side.close()
	}
	b, err := record{Version: id, Attrs: st.attrs}.encode()
	if err != nil {
		return made, err
	}
	committed := false
	undo := func(name string) {
		if err != nil && !committed {
			_ = side.root.Remove(name)
		}
	}
	rec := "a-" + in.String()
	defer undo(rec)
	if err := writeFile(side.root, rec, b); err != nil {
		return made, err
	}
	keeps := c.file != nil && c.hist != nil && c.id != id
	if keeps {
		if err := d.pinRecord(side, c); err != nil {
			return made, err
		}
		name := entryName(false, c.nextSeq(), c.id)
		defer undo(name)
		if err := linkInto(c.place.parent(), c.place.base, side.root, name); err != nil {
			return made, err
		}
		if err := syncDir(side.root); err != nil {
			return made, err
		}
	}

	// Change the names.
	hidden := st.intent.hidden()
	out := c.stat.ident()
	if err := st.intent.add(announcement{In: &in, Out: &out}); err != nil {
		return made, err
	}
	d.step("prepared")
	if c.file == nil {
		// Whether by linking or by renaming: this fails if somebody has made the object meanwhile.
		err = moveNew(st.place.parent(), hidden, st.place.base)
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("object exists: %w", coffer.ErrConflict)
		}
	} else {
		err = d.replace(st.place, hidden, in, out, c.file, c.same(ctx, d, etag))
	}
	if err != nil {
		return made, errors.Join(err, st.afterFailure(in))
	}
	committed = true
	made = coffer.Object{Bucket: o.Bucket, Key: o.Key, ETag: st.etag}
	if c.hist != nil {
		made.VersionID = id
	}

	// Clean up. The commit stands; a failure from here on leaves work to the next change of the key or to Sweep, but the
	// caller must know that the bytes may not be on disk yet.
	if err := syncDir(st.place.parent()); err != nil {
		return made, err
	}
	if c.file != nil && !keeps {
		_ = side.root.Remove("a-" + out.String())
	}
	if id == nullVersion {
		for _, e := range c.entries {
			if e.id == nullVersion {
				_ = side.root.Remove(e.name)
			}
		}
	}
	return made, st.discard()
}

// condition compares the current file with a condition and returns its ETag.
func (c *chain) condition(ctx context.Context, d *Dir, want string) (string, error) {
	etag, s, err := d.etag(ctx, c.file)
	if err != nil {
		return "", err
	}
	ok, err := true, error(nil)
	if want != "" {
		ok, err = matches(ctx, want, etag, c.file, s)
	}
	switch {
	case err != nil:
		return "", err
	case !ok || !s.still(c.stat):
		return "", fmt.Errorf("another version is current: %w", coffer.ErrConflict)
	case openForWriting(c.file):
		return "", fmt.Errorf("another program has the object open for writing: %w", coffer.ErrConflict)
	}
	c.stat = s
	return etag, nil
}

// same returns a function that reports whether the current file, now under another name, still has the bytes of this ETag. Its
// times tell, except for a young file, which is read again.
func (c *chain) same(ctx context.Context, d *Dir, etag string) func() bool {
	return func() bool {
		s, err := fstat(c.file)
		if err != nil || !s.still(c.stat) {
			return false
		}
		if !time.Now().After(time.Unix(0, s.mtim).Add(settled)) {
			again, _, err := d.etag(ctx, c.file)
			return err == nil && again == etag
		}
		return true
	}
}

// pinRecord writes the version id of the current file into its record, if it is only derived: the file is about to become
// noncurrent, or to be tagged, and keeps its id.
func (d *Dir) pinRecord(side keyDir, c *chain) error {
	if c.rec.Version == c.id {
		return nil
	}
	c.rec.Version = c.id
	b, err := c.rec.encode()
	if err != nil {
		return err
	}
	return writeFile(side.root, "a-"+c.stat.ident().String(), b)
}

// dress gives the staged file the mode and owner that it is to have, a new modification time, and returns its identity.
func (st *staged) dress(c *chain) (ident, error) {
	r := st.place.parent()
	f, s, err := openRegular(r, st.intent.hidden())
	if err != nil {
		return ident{}, err
	}
	defer f.Close()
	mode, uid, gid := s.mode.Perm(), s.uid, s.gid
	if c.file != nil {
		mode, uid, gid = c.stat.mode.Perm(), c.stat.uid, c.stat.gid
	}
	if m, err := strconv.ParseUint(st.attrs.System["mode"], 8, 32); err == nil {
		mode = fs.FileMode(m).Perm()
	}
	if u, g, ok := strings.Cut(st.attrs.System["owner"], ":"); ok {
		un, uerr := strconv.Atoi(u)
		gn, gerr := strconv.Atoi(g)
		if uerr == nil && gerr == nil {
			uid, gid = un, gn
		}
	}
	if uid != s.uid || gid != s.gid {
		// Only a privileged process may give a file away. The group alone is worth a try.
		if f.Chown(uid, gid) != nil {
			_ = f.Chown(-1, gid)
		}
	}
	if err := f.Chmod(mode); err != nil {
		return ident{}, err
	}
	dir, err := r.Open(".")
	if err != nil {
		return ident{}, err
	}
	defer dir.Close()
	// Never in the future, and not to be hit by a clock that ticks in milliseconds.
	now := unix.NsecToTimespec(time.Now().UnixNano() - rand.Int64N(int64(time.Millisecond)))
	if err := unix.UtimesNanoAt(int(dir.Fd()), st.intent.hidden(), []unix.Timespec{now, now}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return ident{}, err
	}
	if err := f.Sync(); err != nil {
		return ident{}, err
	}
	s, err = fstat(f)
	return s.ident(), err
}

// afterFailure decides what becomes of a stage whose change of names failed. Mostly everything is as before and the stage lives
// on. If its file is gone, because a foreign writer replaced it in the moment it stood at the object's name, the stage ends. If
// a file that is not Coffer's is still under a hidden name, it ends too, and its intent stays for Sweep.
func (st *staged) afterFailure(in ident) error {
	r, hidden := st.place.parent(), st.intent.hidden()
	s, err := lstat(r, hidden)
	_, third := r.Lstat(hidden + thirdSuffix)
	switch {
	case errors.Is(third, fs.ErrNotExist) && err == nil && s.ident() == in:
		return nil
	case errors.Is(third, fs.ErrNotExist) && errors.Is(err, fs.ErrNotExist):
		return st.discard()
	}
	st.done = true
	st.place.close()
	st.intent.drop()
	return nil
}

// linkInto gives the file at name in r a second name in another folder.
func linkInto(r *os.Root, name string, to *os.Root, toName string) error {
	a, err := r.Open(".")
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := to.Open(".")
	if err != nil {
		return err
	}
	defer b.Close()
	err = unix.Linkat(int(a.Fd()), name, int(b.Fd()), toName, 0)
	if err == unix.EXDEV {
		return fmt.Errorf("versions in a folder on which another file system is mounted: %w", coffer.ErrUnsupported)
	}
	return err
}

// Delete implements [object.Store].
func (d *Dir) Delete(ctx context.Context, o coffer.Object) (coffer.Object, error) {
	gone, err := d.delete(ctx, o)
	if err != nil {
		return coffer.Object{}, fail("delete object", err)
	}
	return gone, nil
}

func (d *Dir) delete(ctx context.Context, o coffer.Object) (gone coffer.Object, err error) {
	if err := checkKey(o.Key); err != nil {
		return gone, err
	}
	unlock, err := d.lock(ctx, o.Bucket, o.Key)
	if err != nil {
		return gone, err
	}
	defer unlock()
	c, err := d.chain(o.Bucket, o.Key)
	if err != nil {
		return gone, err
	}
	defer c.close()
	if err := c.repair(); err != nil {
		return gone, err
	}
	if c.hist == nil {
		if o.VersionID != "" && o.VersionID != nullVersion && o.ETag == "" {
			return gone, fmt.Errorf("version of an object without versions, and no ETag to know it by: %w", coffer.ErrNotFound)
		}
		o.VersionID = ""
	}
	if c.file != nil && (o.VersionID == "" || o.VersionID == c.id) {
		return d.deleteCurrent(ctx, c, o)
	}
	if o.VersionID == "" {
		return gone, fmt.Errorf("object: %w", coffer.ErrNotFound)
	}
	i := slices.IndexFunc(c.entries, func(e entry) bool { return e.id == o.VersionID })
	if i < 0 {
		return gone, fmt.Errorf("object version: %w", coffer.ErrNotFound)
	}
	return d.deleteEntry(ctx, c, i, o)
}

// deleteEntry removes a noncurrent version or a marker.
func (d *Dir) deleteEntry(ctx context.Context, c *chain, i int, o coffer.Object) (gone coffer.Object, err error) {
	e := c.entries[i]
	gone = coffer.Object{Bucket: o.Bucket, Key: o.Key, VersionID: e.id}
	if !e.marker {
		f, _, err := openRegular(c.side.root, e.name)
		if err != nil {
			return gone, err
		}
		defer f.Close()
		etag, s, err := d.etag(ctx, f)
		if err != nil {
			return gone, err
		}
		gone.ETag = etag
		if o.ETag != "" {
			if ok, err := matches(ctx, o.ETag, etag, f, s); err != nil {
				return gone, err
			} else if !ok {
				return gone, fmt.Errorf("version has another ETag: %w", coffer.ErrConflict)
			}
		}
	} else if o.ETag != "" {
		return gone, fmt.Errorf("version is a delete marker: %w", coffer.ErrConflict)
	}
	// The marker on top gone, the version below is current again.
	if i == 0 && e.marker && c.file == nil && len(c.entries) > 1 && !c.entries[1].marker {
		if err := d.resurrect(c, c.entries[1], o, nil, nil); err != nil {
			return gone, err
		}
		if err := c.side.root.Remove(c.entries[1].name); err != nil {
			return gone, err
		}
	}
	if err := c.side.root.Remove(e.name); err != nil {
		return gone, err
	}
	if !e.marker {
		_ = c.side.root.Remove("a-" + e.stat.ident().String())
	}
	return gone, syncDir(c.side.root)
}

// resurrect makes a noncurrent version current: in the place of the current file held, or where there is none if held is nil.
// The version keeps its name among the entries, which the caller removes; until then it counts as current.
func (d *Dir) resurrect(c *chain, e entry, o coffer.Object, held *os.File, same func() bool) (err error) {
	in, err := d.announce(o.Bucket, o.Key)
	if err != nil {
		return err
	}
	st := &staged{d: d, o: o, intent: in}
	defer in.drop()
	defer func() {
		if err != nil && !st.done {
			err = errors.Join(err, st.discard())
		}
	}()
	if st.place, err = d.locate(o.Bucket, o.Key, true); err != nil {
		return err
	}
	id := e.stat.ident()
	if err := linkInto(c.side.root, e.name, st.place.parent(), in.hidden()); err != nil {
		return err
	}
	out := c.stat.ident()
	if err := in.add(announcement{In: &id, Out: &out}); err != nil {
		return err
	}
	d.step("prepared")
	if held != nil {
		err = d.replace(st.place, in.hidden(), id, out, held, same)
	} else if err = moveNew(st.place.parent(), in.hidden(), st.place.base); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("somebody has put a newer object there: %w", coffer.ErrConflict)
	}
	if err != nil {
		return errors.Join(err, st.afterFailure(id))
	}
	if err := syncDir(st.place.parent()); err != nil {
		return err
	}
	return st.discard()
}

// deleteCurrent removes the current file: by a marker in a versioned bucket, permanently without versioning or when o names its
// version.
func (d *Dir) deleteCurrent(ctx context.Context, c *chain, o coffer.Object) (gone coffer.Object, err error) {
	etag, err := c.condition(ctx, d, o.ETag)
	if err != nil {
		return gone, err
	}
	out := c.stat.ident()
	same := c.same(ctx, d, etag)
	gone = coffer.Object{Bucket: o.Bucket, Key: o.Key, ETag: etag}
	if c.hist != nil {
		gone.VersionID = c.id
	}
	if o.VersionID != "" && len(c.entries) > 0 && !c.entries[0].marker {
		if err := d.resurrect(c, c.entries[0], o, c.file, same); err != nil {
			return gone, err
		}
		if err := c.side.root.Remove(c.entries[0].name); err != nil {
			return gone, err
		}
		_ = c.side.root.Remove("a-" + out.String())
		return gone, syncDir(c.side.root)
	}

	side := c.side
	done := false
	undo := func(name string) {
		if err != nil && !done {
			_ = side.root.Remove(name)
		}
	}
	marker := entry{}
	if o.VersionID == "" && c.hist != nil {
		if side.root == nil {
			if side, err = d.keyDir(o.Bucket, o.Key, true); err != nil {
				return gone, err
			}
			defer side.close()
		}
		marker = entry{seq: c.nextSeq() + 1, id: nullVersion}
		if c.hist.state() == object.VersioningOn {
			marker.id = randomID()
		}
		if c.id != marker.id {
			if err := d.pinRecord(side, c); err != nil {
				return gone, err
			}
			name := entryName(false, c.nextSeq(), c.id)
			defer undo(name)
			if err := linkInto(c.place.parent(), c.place.base, side.root, name); err != nil {
				return gone, err
			}
		}
		marker.name = entryName(true, marker.seq, marker.id)
		defer undo(marker.name)
		if err := writeFile(side.root, marker.name, nil); err != nil {
			return gone, err
		}
	}

	in, err := d.announce(o.Bucket, o.Key)
	if err != nil {
		return gone, err
	}
	defer in.drop()
	if err := in.add(announcement{Out: &out}); err != nil {
		return gone, errors.Join(err, in.done())
	}
	d.step("prepared")
	if err := d.remove(c.place, in.hidden(), out, c.file, same); err != nil {
		if _, lerr := c.place.parent().Lstat(in.hidden()); errors.Is(lerr, fs.ErrNotExist) {
			return gone, errors.Join(err, in.done())
		}
		return gone, err
	}
	done = true
	p := c.place
	if err := syncDir(p.parent()); err != nil {
		return gone, err
	}
	if err := p.parent().Remove(in.hidden()); err != nil {
		return gone, err
	}
	if err := syncDir(p.parent()); err != nil {
		return gone, err
	}
	p.prune()
	if side.root != nil {
		if marker.name == "" || c.id == marker.id {
			_ = side.root.Remove("a-" + out.String())
		}
		if marker.id == nullVersion {
			for _, e := range c.entries {
				if e.id == nullVersion {
					_ = side.root.Remove(e.name)
				}
			}
		}
	}
	if marker.name != "" {
		gone = coffer.Object{Bucket: o.Bucket, Key: o.Key, VersionID: marker.id}
	}
	return gone, in.done()
}
