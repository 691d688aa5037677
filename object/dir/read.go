//go:build unix && !aix && !solaris

package dir

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"coffer"
	"coffer/object"
)

// version is one version of an object, opened. The caller closes file.
type version struct {
	file *os.File
	info object.Info
	stat stat
}

// version opens what o names, reads its bytes for the ETag, and compares that with o's.
func (d *Dir) version(ctx context.Context, o coffer.Object) (_ version, err error) {
	c, err := d.chain(o.Bucket, o.Key)
	if err != nil {
		return version{}, err
	}
	defer c.close()
	v, err := d.pick(ctx, c, o)
	if err != nil {
		return version{}, err
	}
	if o.ETag != "" {
		ok, err := matches(ctx, o.ETag, v.info.ETag, v.file, v.stat)
		if err == nil && !ok {
			err = fmt.Errorf("ETag differs: %w", coffer.ErrChanged)
		}
		if err != nil {
			v.file.Close()
			return version{}, err
		}
	}
	return v, nil
}

// pick opens the version of the chain that o names, without regard to o's ETag. The current file passes from the chain to the
// version.
func (d *Dir) pick(ctx context.Context, c *chain, o coffer.Object) (_ version, err error) {
	var v version
	var rec record
	id, latest := "", false
	switch {
	case o.VersionID == "" || c.hist == nil || c.file != nil && o.VersionID == c.id:
		if c.file == nil {
			return version{}, fmt.Errorf("object: %w", coffer.ErrNotFound)
		}
		v.file, rec, id, latest = c.file, c.rec, c.id, true
		c.file = nil
	default:
		i := slices.IndexFunc(c.entries, func(e entry) bool { return e.id == o.VersionID })
		switch {
		case i < 0:
			return version{}, fmt.Errorf("object version: %w", coffer.ErrNotFound)
		case c.entries[i].marker:
			return version{}, fmt.Errorf("object version is a delete marker: %w", coffer.ErrNotFound)
		}
		id = c.entries[i].id
		if v.file, _, err = openRegular(c.side.root, c.entries[i].name); err != nil {
			return version{}, err
		}
		if rec, err = c.side.record(c.entries[i].stat.ident()); err != nil {
			v.file.Close()
			return version{}, err
		}
	}
	etag, s, err := d.etag(ctx, v.file)
	if err == nil && latest && !s.still(c.stat) {
		// Rewritten in place since the record was read.
		rec, err = c.side.record(s.ident())
	}
	if err != nil {
		v.file.Close()
		return version{}, err
	}
	v.stat = s
	v.info = object.Info{
		Object: coffer.Object{Bucket: o.Bucket, Key: o.Key, ETag: etag}, Size: s.size, Modified: time.Unix(0, s.mtim),
		Attrs: rec.Attrs, Latest: latest, ETagIsMD5: true,
	}
	if c.hist != nil {
		v.info.VersionID = id
	}
	v.info.Attrs.System = map[string]string{
		"mode":  fmt.Sprintf("%04o", s.mode.Perm()),
		"owner": strconv.Itoa(s.uid) + ":" + strconv.Itoa(s.gid),
	}
	return v, nil
}

// Stat implements [object.Reader]. It reads the file unless its ETag is remembered.
func (d *Dir) Stat(ctx context.Context, o coffer.Object) (object.Info, error) {
	v, err := d.version(ctx, o)
	if err != nil {
		return object.Info{}, fail("stat object", err)
	}
	v.file.Close()
	return v.info, nil
}

// Open implements [object.Reader]. The file is read for its ETag first, unless that is remembered. A file younger than two
// seconds, whose times could hide a write, is compared with its ETag once more while it is read: up to 1 MiB before Open
// returns, above that at the end of a sequential reading; reading it at random has the times alone.
func (d *Dir) Open(ctx context.Context, o coffer.Object) (object.Body, error) {
	v, err := d.version(ctx, o)
	if err != nil {
		return object.Body{}, fail("open object", err)
	}
	b, err := v.body()
	return b, fail("open object", err)
}

// inMemory is the size up to which a young file is read at once.
const inMemory = 1 << 20

func (v version) body() (object.Body, error) {
	r := &reader{file: v.file, stat: v.stat}
	if !v.stat.young() {
		return object.Body{ReadCloser: r, ReaderAt: r, Info: v.info}, nil
	}
	sum, err := hex.DecodeString(v.info.ETag)
	if err != nil {
		v.file.Close()
		return object.Body{}, err
	}
	r.want, r.md5 = sum, object.MD5()
	if v.stat.size > inMemory {
		return object.Body{ReadCloser: r, ReaderAt: r, Info: v.info}, nil
	}
	b := make([]byte, 0, v.stat.size+1)
	buf := bytes.NewBuffer(b)
	_, err = io.Copy(buf, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return object.Body{}, err
	}
	m := bytes.NewReader(buf.Bytes())
	return object.Body{ReadCloser: io.NopCloser(m), ReaderAt: m, Info: v.info}, nil
}

// reader reads a file and after every read makes sure that it still is the one it was.
type reader struct {
	file *os.File
	stat stat
	off  int64
	md5  hash.Hash // nil: the times are enough
	want []byte
}

var errRewritten = fmt.Errorf("file was rewritten while it was read: %w", coffer.ErrChanged)

func (r *reader) unchanged() error {
	s, err := fstat(r.file)
	if err != nil {
		return fail("read object", err)
	}
	if !s.still(r.stat) {
		return errRewritten
	}
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	if cerr := r.unchanged(); cerr != nil {
		return 0, cerr
	}
	if r.md5 != nil {
		r.md5.Write(p[:n])
	}
	r.off += int64(n)
	if err == io.EOF {
		if r.off != r.stat.size || r.md5 != nil && !bytes.Equal(r.md5.Sum(nil), r.want) {
			return 0, errRewritten
		}
		return n, io.EOF
	}
	return n, fail("read object", err)
}

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.file.ReadAt(p, off)
	if cerr := r.unchanged(); cerr != nil {
		return 0, cerr
	}
	if err == io.EOF {
		return n, io.EOF
	}
	return n, fail("read object", err)
}

func (r *reader) Close() error { return fail("close object", r.file.Close()) }

// Versions implements [object.Reader]. It reads every version for its ETag, unless that is remembered.
func (d *Dir) Versions(ctx context.Context, o coffer.Object) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		c, err := d.chain(o.Bucket, o.Key)
		if err != nil {
			yield(object.Info{}, fail("versions of object", err))
			return
		}
		defer c.close()
		current := c.file != nil
		if current {
			id := c.id
			if c.hist == nil {
				id = ""
			}
			if !d.yieldVersion(ctx, c, o, id, yield) {
				return
			}
		}
		for i, e := range c.entries {
			if e.marker {
				if !yield(object.Info{
					Object:   coffer.Object{Bucket: o.Bucket, Key: o.Key, VersionID: e.id},
					Modified: time.Unix(0, e.stat.mtim), Marker: true, Latest: i == 0 && !current,
				}, nil) {
					return
				}
				continue
			}
			if !d.yieldVersion(ctx, c, o, e.id, yield) {
				return
			}
		}
	}
}

func (d *Dir) yieldVersion(ctx context.Context, c *chain, o coffer.Object, id string, yield func(object.Info, error) bool) bool {
	v, err := d.pick(ctx, c, coffer.Object{Bucket: o.Bucket, Key: o.Key, VersionID: id})
	if errors.Is(err, fs.ErrNotExist) {
		return true // removed since the chain was read
	}
	if err != nil {
		yield(object.Info{}, fail("versions of object", err))
		return false
	}
	v.file.Close()
	v.info.Attrs = object.Attrs{}
	return yield(v.info, nil)
}

// maxScan bounds the search for the other names of a hard-linked file, in directory entries.
const maxScan = 1 << 20

// Copies implements [object.Reader]: it lists the other hard links of the file. They are looked for in the whole folder, up to
// about a million names; those that are not found there are one more Copy with their number.
func (d *Dir) Copies(ctx context.Context, o coffer.Object) ([]object.Copy, error) {
	v, err := d.version(ctx, o)
	if err != nil {
		return nil, fail("copies of object", err)
	}
	v.file.Close()
	missing := int(v.stat.nlink) - 1
	if missing <= 0 {
		return nil, nil
	}
	var copies []object.Copy
	left := maxScan
	var scan func(r *os.Root, path string) error
	scan = func(r *os.Root, path string) error {
		f, err := r.Open(".")
		if err != nil {
			return err
		}
		defer f.Close()
		for left > 0 && len(copies) < missing {
			if err := ctx.Err(); err != nil {
				return err
			}
			es, err := f.ReadDir(1024)
			if err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			left -= len(es)
			for _, e := range es {
				name := path + e.Name()
				switch {
				case e.IsDir() && name != sideName:
					sub, err := descend(r, e.Name())
					if err != nil {
						continue // gone, or not ours to read: its names stay among the missing
					}
					err = scan(sub, name+"/")
					sub.Close()
					if err != nil && ctx.Err() != nil {
						return err
					}
				case e.Type().IsRegular() && name != o.Bucket+"/"+o.Key && !strings.HasPrefix(e.Name(), reserved):
					if s, err := lstat(r, e.Name()); err == nil && s.sameFile(v.stat) {
						copies = append(copies, object.Copy{What: "hard link", Name: name})
					}
				}
			}
		}
		return nil
	}
	if err := scan(d.root, ""); err != nil {
		return nil, fail("copies of object", err)
	}
	if n := missing - len(copies); n > 0 {
		copies = append(copies, object.Copy{What: "hard link", Name: fmt.Sprintf("%d further, not found among the buckets", n)})
	}
	return copies, nil
}

// listBatch is how many names of one folder List keeps in memory. A larger folder is read several times.
const listBatch = 1 << 16

// List implements [object.Reader]. Infos have no ETag, because that would read every file. A folder is read in one go and
// its names sorted; memory is bounded by 65,536 names for each level of folders.
func (d *Dir) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		l := &lister{ctx: ctx, bucket: bucket, prefix: prefix, after: after, yield: yield, batch: listBatch}
		var err error
		if bucket == "" {
			err = l.buckets(d.root)
		} else if err = checkBucket(bucket); err == nil {
			var r *os.Root
			if r, err = descend(d.root, bucket); err == nil {
				err = l.folder(r, "")
				r.Close()
			}
		}
		if err != nil && err != errStop {
			yield(object.Info{}, fail("list objects", err))
		}
	}
}

// errStop ends a listing whose consumer has enough.
var errStop = errors.New("stop")

type lister struct {
	ctx                   context.Context
	bucket, prefix, after string
	yield                 func(object.Info, error) bool
	batch                 int
}

func (l *lister) buckets(root *os.Root) error {
	names, err := l.names(root, "", func(e fs.DirEntry) (string, bool) {
		return e.Name(), e.IsDir() && checkBucket(e.Name()) == nil
	})
	if err != nil {
		return err
	}
	for len(names) > 0 {
		for _, n := range names {
			if !l.yield(object.Info{Object: coffer.Object{Bucket: n}}, nil) {
				return errStop
			}
		}
		if len(names) < l.batch {
			return nil
		}
		if names, err = l.names(root, names[len(names)-1], func(e fs.DirEntry) (string, bool) {
			return e.Name(), e.IsDir() && checkBucket(e.Name()) == nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// folder yields the objects below the folder r, whose keys begin with at. Names are taken in the order of the keys that they
// begin: a folder sorts as its name and a slash, so that "a-b" comes before "a/b".
func (l *lister) folder(r *os.Root, at string) error {
	wanted := func(e fs.DirEntry) (string, bool) {
		name := e.Name()
		if strings.HasPrefix(name, reserved) || !utf8.ValidString(name) || len(at)+len(name) > object.MaxKey {
			return "", false
		}
		switch {
		case e.IsDir():
			name += "/"
			key := at + name
			return name, (strings.HasPrefix(key, l.prefix) || strings.HasPrefix(l.prefix, key)) &&
				(key > l.after || strings.HasPrefix(l.after, key))
		case e.Type().IsRegular():
			key := at + name
			return name, strings.HasPrefix(key, l.prefix) && key > l.after
		}
		return "", false
	}
	for last := ""; ; {
		names, err := l.names(r, last, wanted)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := l.ctx.Err(); err != nil {
				return err
			}
			if err := l.entry(r, at, n); err != nil {
				return err
			}
		}
		if len(names) < l.batch {
			return nil
		}
		last = names[len(names)-1]
	}
}

func (l *lister) entry(r *os.Root, at, name string) error {
	if dir, ok := strings.CutSuffix(name, "/"); ok {
		sub, err := descend(r, dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, coffer.ErrInvalid) {
			return nil // gone, or no folder any more
		} else if err != nil {
			return err
		}
		defer sub.Close()
		return l.folder(sub, at+name)
	}
	s, err := lstat(r, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if !s.mode.IsRegular() {
		return nil
	}
	if !l.yield(object.Info{
		Object: coffer.Object{Bucket: l.bucket, Key: at + name}, Size: s.size, Modified: time.Unix(0, s.mtim),
		Latest: true, ETagIsMD5: true,
	}, nil) {
		return errStop
	}
	return nil
}

// names returns, sorted, up to l.batch of the smallest wanted names of the folder that are greater than last.
func (l *lister) names(r *os.Root, last string, wanted func(fs.DirEntry) (string, bool)) ([]string, error) {
	f, err := r.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for {
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
		es, err := f.ReadDir(1024)
		for _, e := range es {
			if n, ok := wanted(e); ok && n > last {
				names = append(names, n)
			}
		}
		if len(names) >= 2*l.batch {
			slices.Sort(names)
			names = names[:l.batch]
		}
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return names[:min(len(names), l.batch)], nil
}
