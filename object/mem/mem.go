// Package mem is object storage in memory, for tests: a strict model of S3 as far as package object uses it. It is strict
// where real storage is: a listing has no tags and no version ids, a version id that is not there is not found, conditions
// are honoured to the letter. Every call runs through a fault injector, before or after its effect, and a [Foreign] writer
// plays the other programs that use the same bucket.
//
// Nothing is durable and nothing is hidden: bytes live in clear in the memory of the process.
package mem

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"coffer"
	"coffer/internal/fault"
	"coffer/object"
)

// page is how many entries List and Versions fetch by one call, S3's own figure.
const page = 1000

// Store is object storage in memory. Create it with [New]. It is safe for concurrent use; the fields are set before.
type Store struct {
	// Fault fails chosen calls. The calls are named object.Stat, object.Open, object.List (one for each page of 1,000),
	// object.Versions (likewise), object.Versioning, object.Copies, object.Tag, object.Stage, object.StagedOpen,
	// object.Commit, object.Abort, object.Copy, object.Delete, object.Sweep and object.Protections. Nil fails none.
	Fault *fault.Injector
	// CopiesOf answers Copies. Nil: there are none.
	CopiesOf func(coffer.Object) ([]object.Copy, error)
	// Now gives the time of new versions; nil: the system's. Set it before the first call.
	Now func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
	stages  map[*staged]bool
	ids     uint64
}

var _ object.Store = (*Store)(nil)

type bucket struct {
	state object.Versioning
	keys  map[string][]*version // newest first, never empty
	order []string              // the keys, sorted
}

// version is one version of an object or a delete marker. Its body never changes; tags and lock do, under Store.mu.
type version struct {
	id       string // "null" for one that was written without versioning
	body     []byte
	attrs    object.Attrs
	etag     string
	md5      bool
	modified time.Time
	marker   bool
	lock     string
	archived string
}

const null = "null"

// New returns an empty storage without buckets.
func New() *Store {
	return &Store{buckets: map[string]*bucket{}, stages: map[*staged]bool{}}
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// CreateBucket makes an empty bucket without versioning. A bucket that exists stays as it is.
func (s *Store) CreateBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[name] == nil {
		s.buckets[name] = &bucket{state: object.VersioningOff, keys: map[string][]*version{}}
	}
}

// SetVersioning sets the versioning state of a bucket, which must exist. As in S3, once on it can be suspended, not off.
func (s *Store) SetVersioning(name string, state object.Versioning) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(name)
	if err != nil {
		return err
	}
	if state == object.VersioningOff && b.state != object.VersioningOff {
		return fmt.Errorf("versioning can be suspended, not switched off: %w", coffer.ErrInvalid)
	}
	b.state = state
	return nil
}

// Lock locks the version that o names (the current one without a VersionID) against removal, with the reason that Info.Locked
// will give; an empty reason unlocks it.
func (s *Store) Lock(o coffer.Object, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, v, err := s.find(o)
	if err != nil {
		return err
	}
	v.lock = why
	return nil
}

// Archive makes the bytes of the version that o names unreadable, with the reason that Info.Archived will give, as a transition to
// an archive class does; an empty reason restores them.
func (s *Store) Archive(o coffer.Object, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, v, err := s.find(o)
	if err != nil {
		return err
	}
	v.archived = why
	return nil
}

func (s *Store) call(ctx context.Context, op string, effect func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Fault.Call("object."+op, effect)
}

func (s *Store) bucket(name string) (*bucket, error) {
	b := s.buckets[name]
	if b == nil {
		return nil, fmt.Errorf("bucket: %w", coffer.ErrNotFound)
	}
	return b, nil
}

// find returns the version that o names; a marker is not found. The ETag is not looked at.
func (s *Store) find(o coffer.Object) (*bucket, *version, error) {
	if err := object.CheckKey(o.Key); err != nil {
		return nil, nil, err
	}
	b, err := s.bucket(o.Bucket)
	if err != nil {
		return nil, nil, err
	}
	vs := b.keys[o.Key]
	i := 0
	if o.VersionID != "" {
		i = slices.IndexFunc(vs, func(v *version) bool { return v.id == o.VersionID })
	}
	if i < 0 || i >= len(vs) {
		return nil, nil, fmt.Errorf("object version: %w", coffer.ErrNotFound)
	}
	if vs[i].marker {
		return nil, nil, fmt.Errorf("object version is a delete marker: %w", coffer.ErrNotFound)
	}
	return b, vs[i], nil
}

// pinned is find with the ETag compared.
func (s *Store) pinned(o coffer.Object) (*bucket, *version, error) {
	b, v, err := s.find(o)
	if err == nil && o.ETag != "" && unquote(o.ETag) != v.etag {
		return nil, nil, fmt.Errorf("ETag differs: %w", coffer.ErrChanged)
	}
	return b, v, err
}

func unquote(etag string) string { return strings.Trim(etag, `"`) }

func (b *bucket) info(bucketName, key string, v *version, full bool) object.Info {
	i := object.Info{
		Object:    coffer.Object{Bucket: bucketName, Key: key, VersionID: b.shownID(v), ETag: v.etag},
		Size:      int64(len(v.body)),
		Modified:  v.modified,
		Latest:    b.keys[key][0] == v,
		Marker:    v.marker,
		Locked:    v.lock,
		Archived:  v.archived,
		ETagIsMD5: v.md5,
	}
	if full {
		i.Attrs = clone(v.attrs)
	}
	return i
}

// shownID is empty in a bucket that never had versioning, as S3 names no version there.
func (b *bucket) shownID(v *version) string {
	if b.state == object.VersioningOff {
		return ""
	}
	return v.id
}

func clone(a object.Attrs) object.Attrs {
	a.Metadata = maps.Clone(a.Metadata)
	a.System = maps.Clone(a.System)
	a.Tags = slices.Clone(a.Tags)
	return a
}

// Stat implements [object.Reader].
func (s *Store) Stat(ctx context.Context, o coffer.Object) (info object.Info, err error) {
	err = s.call(ctx, "Stat", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		b, v, err := s.pinned(o)
		if err != nil {
			return err
		}
		info = b.info(o.Bucket, o.Key, v, true)
		return nil
	})
	if err != nil {
		return object.Info{}, fmt.Errorf("stat object: %w", err)
	}
	return info, nil
}

// Open implements [object.Reader]. The bytes are those of the version even if it is removed meanwhile.
func (s *Store) Open(ctx context.Context, o coffer.Object) (body object.Body, err error) {
	err = s.call(ctx, "Open", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		b, v, err := s.pinned(o)
		if err != nil {
			return err
		}
		if v.archived != "" {
			return fmt.Errorf("archived (%s); restore it first: %w", v.archived, coffer.ErrUnavailable)
		}
		body = open(v.body, b.info(o.Bucket, o.Key, v, true))
		return nil
	})
	if err != nil {
		return object.Body{}, fmt.Errorf("open object: %w", err)
	}
	return body, nil
}

func open(b []byte, info object.Info) object.Body {
	r := bytes.NewReader(b)
	// Without WriteTo: a consumer must not get hold of the stored slice.
	return object.Body{ReadCloser: io.NopCloser(struct{ io.Reader }{r}), ReaderAt: r, Info: info}
}

// List implements [object.Reader].
func (s *Store) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[object.Info, error] {
	return s.pages(ctx, "List", func(last string) ([]object.Info, string, error) {
		if bucket == "" {
			var names []object.Info
			for _, n := range slices.Sorted(maps.Keys(s.buckets)) {
				names = append(names, object.Info{Object: coffer.Object{Bucket: n}})
			}
			return names, "", nil
		}
		b, err := s.bucket(bucket)
		if err != nil {
			return nil, "", err
		}
		last = max(last, after)
		i, found := slices.BinarySearch(b.order, max(last, prefix))
		if found && b.order[i] == last {
			i++
		}
		var infos []object.Info
		for ; i < len(b.order) && len(infos) < page && strings.HasPrefix(b.order[i], prefix); i++ {
			last = b.order[i]
			if v := b.keys[last][0]; !v.marker {
				info := b.info(bucket, last, v, false)
				info.VersionID, info.Locked = "", ""
				infos = append(infos, info)
			}
		}
		if len(infos) < page {
			last = ""
		}
		return infos, last, nil
	})
}

// Versions implements [object.Reader].
func (s *Store) Versions(ctx context.Context, o coffer.Object) iter.Seq2[object.Info, error] {
	return s.pages(ctx, "Versions", func(last string) ([]object.Info, string, error) {
		if err := object.CheckKey(o.Key); err != nil {
			return nil, "", err
		}
		b, err := s.bucket(o.Bucket)
		if err != nil {
			return nil, "", err
		}
		from, _ := strconv.Atoi(last)
		vs := b.keys[o.Key]
		to := min(from+page, len(vs))
		var infos []object.Info
		for _, v := range vs[min(from, to):to] {
			infos = append(infos, b.info(o.Bucket, o.Key, v, false))
		}
		if to == len(vs) {
			return infos, "", nil
		}
		return infos, strconv.Itoa(to), nil
	})
}

// pages yields what fetch returns, page by page, each by one call; fetch runs under the lock and returns where the next page
// starts, "" after the last.
func (s *Store) pages(ctx context.Context, op string, fetch func(string) ([]object.Info, string, error),
) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		next := ""
		for {
			var infos []object.Info
			err := s.call(ctx, op, func() (err error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				infos, next, err = fetch(next)
				return err
			})
			if err != nil {
				yield(object.Info{}, fmt.Errorf("listing: %w", err))
				return
			}
			for _, i := range infos {
				if !yield(i, nil) {
					return
				}
			}
			if next == "" {
				return
			}
		}
	}
}

// Versioning implements [object.Reader].
func (s *Store) Versioning(ctx context.Context, bucket string) (state object.Versioning, err error) {
	err = s.call(ctx, "Versioning", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		b, err := s.bucket(bucket)
		if err == nil {
			state = b.state
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("versioning: %w", err)
	}
	return state, nil
}

// Copies implements [object.Reader] by asking CopiesOf.
func (s *Store) Copies(ctx context.Context, o coffer.Object) (copies []object.Copy, err error) {
	err = s.call(ctx, "Copies", func() error {
		s.mu.Lock()
		_, _, err := s.pinned(o)
		s.mu.Unlock()
		if err == nil && s.CopiesOf != nil {
			copies, err = s.CopiesOf(o)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("copies of object: %w", err)
	}
	return copies, nil
}

// Tag implements [object.Tagger].
func (s *Store) Tag(ctx context.Context, o coffer.Object, tags []coffer.Tag) error {
	err := s.call(ctx, "Tag", func() error {
		if err := object.CheckTags(tags); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		_, v, err := s.pinned(o)
		if err == nil {
			v.attrs.Tags = slices.Clone(tags)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("tag object: %w", err)
	}
	return nil
}

// put makes v the newest version of the key and sets its id and time.
func (s *Store) put(b *bucket, key string, v *version) {
	v.id, v.modified = null, s.now()
	if b.state == object.VersioningOn {
		v.id = s.newID()
	} else if i := slices.IndexFunc(b.keys[key], isNull); i >= 0 {
		b.keys[key] = slices.Delete(b.keys[key], i, i+1)
	}
	b.keys[key] = slices.Insert(b.keys[key], 0, v)
	if i, found := slices.BinarySearch(b.order, key); !found {
		b.order = slices.Insert(b.order, i, key)
	}
}

func isNull(v *version) bool { return v.id == null }

// newID returns an id that tells nothing, its order least of all.
func (s *Store) newID() string {
	s.ids++
	h := sha256.Sum256([]byte("coffer mem version " + strconv.FormatUint(s.ids, 10)))
	return hex.EncodeToString(h[:16])
}

// remove takes the version at i away from the key.
func (b *bucket) remove(key string, i int) {
	b.keys[key] = slices.Delete(b.keys[key], i, i+1)
	if len(b.keys[key]) == 0 {
		delete(b.keys, key)
		if i, found := slices.BinarySearch(b.order, key); found {
			b.order = slices.Delete(b.order, i, i+1)
		}
	}
}

// condition checks what a conditional write demands of the current version: etag, or absence if it is empty; and that no
// locked version would be overwritten.
func (b *bucket) condition(key, etag string) error {
	vs := b.keys[key]
	exists := len(vs) > 0 && !vs[0].marker
	switch {
	case etag == "" && exists:
		return fmt.Errorf("object exists: %w", coffer.ErrConflict)
	case etag != "" && !exists:
		return fmt.Errorf("object is gone: %w", coffer.ErrConflict)
	case etag != "" && vs[0].etag != unquote(etag):
		return fmt.Errorf("another version is current: %w", coffer.ErrConflict)
	}
	if b.state != object.VersioningOn {
		if i := slices.IndexFunc(vs, isNull); i >= 0 && vs[i].lock != "" {
			return fmt.Errorf("version is locked: %w", coffer.ErrConflict)
		}
	}
	return nil
}

// Copy implements [object.Store]. The copy's ETag is the MD5 of its bytes, as for a copy of up to 5 GB in S3.
func (s *Store) Copy(ctx context.Context, dst, src coffer.Object) (made coffer.Object, err error) {
	err = s.call(ctx, "Copy", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, from, err := s.pinned(src)
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		if from.archived != "" {
			return fmt.Errorf("source is archived (%s); restore it first: %w", from.archived, coffer.ErrUnavailable)
		}
		b, err := s.target(dst)
		if err != nil {
			return err
		}
		if err := b.condition(dst.Key, dst.ETag); err != nil {
			return err
		}
		v := newVersion(from.body, from.attrs)
		s.put(b, dst.Key, v)
		made = b.info(dst.Bucket, dst.Key, v, false).Object
		return nil
	})
	if err != nil {
		return coffer.Object{}, fmt.Errorf("copy object: %w", err)
	}
	return made, nil
}

func newVersion(body []byte, a object.Attrs) *version {
	h := md5.Sum(body)
	return &version{body: body, attrs: clone(a), etag: hex.EncodeToString(h[:]), md5: true}
}

// target returns the bucket in which o would be written.
func (s *Store) target(o coffer.Object) (*bucket, error) {
	if err := object.CheckKey(o.Key); err != nil {
		return nil, err
	}
	return s.bucket(o.Bucket)
}

// Delete implements [object.Store].
func (s *Store) Delete(ctx context.Context, o coffer.Object) (gone coffer.Object, err error) {
	err = s.call(ctx, "Delete", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		b, err := s.target(o)
		if err != nil {
			return err
		}
		vs := b.keys[o.Key]
		if o.VersionID != "" {
			gone, err = s.deleteVersion(b, o)
			return err
		}
		if len(vs) == 0 || vs[0].marker {
			return fmt.Errorf("object: %w", coffer.ErrNotFound)
		}
		if err := b.condition(o.Key, cmp.Or(unquote(o.ETag), vs[0].etag)); err != nil {
			return err
		}
		if b.state == object.VersioningOff {
			gone = b.info(o.Bucket, o.Key, vs[0], false).Object
			b.remove(o.Key, 0)
			return nil
		}
		v := &version{marker: true}
		s.put(b, o.Key, v)
		gone = b.info(o.Bucket, o.Key, v, false).Object
		return nil
	})
	if err != nil {
		return coffer.Object{}, fmt.Errorf("delete object: %w", err)
	}
	return gone, nil
}

func (s *Store) deleteVersion(b *bucket, o coffer.Object) (coffer.Object, error) {
	i := slices.IndexFunc(b.keys[o.Key], func(v *version) bool { return v.id == o.VersionID })
	if i < 0 {
		return coffer.Object{}, fmt.Errorf("object version: %w", coffer.ErrNotFound)
	}
	v := b.keys[o.Key][i]
	switch {
	case v.lock != "":
		return coffer.Object{}, fmt.Errorf("version is locked: %w", coffer.ErrConflict)
	case o.ETag != "" && unquote(o.ETag) != v.etag:
		return coffer.Object{}, fmt.Errorf("version has another ETag: %w", coffer.ErrConflict)
	}
	gone := b.info(o.Bucket, o.Key, v, false).Object
	b.remove(o.Key, i)
	return gone, nil
}

// Stage implements [object.Store].
func (s *Store) Stage(ctx context.Context, o coffer.Object, a object.Attrs, fill func(io.Writer) error,
) (st object.Staged, err error) {
	err = s.call(ctx, "Stage", func() error {
		if err := object.CheckTags(a.Tags); err != nil {
			return err
		}
		s.mu.Lock()
		_, err := s.target(o)
		s.mu.Unlock()
		if err != nil {
			return err
		}
		var buf bytes.Buffer
		if err := fill(&buf); err != nil {
			return err
		}
		v := newVersion(buf.Bytes(), a)
		staged := &staged{s: s, o: o, v: v, sum: sha256.Sum256(v.body), made: s.now()}
		s.mu.Lock()
		s.stages[staged] = true
		s.mu.Unlock()
		st = staged
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("stage object: %w", err)
	}
	return st, nil
}

// Sweep implements [object.Store]. Like S3, which knows uploads and not their owners, it takes every stage of that age, also
// one that is still in somebody's hands.
func (s *Store) Sweep(ctx context.Context, age time.Duration) (n int, err error) {
	err = s.call(ctx, "Sweep", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for st := range s.stages {
			if time.Since(st.made) >= age {
				delete(s.stages, st)
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	return n, nil
}

// Stages returns how many staged objects wait for Commit or Abort.
func (s *Store) Stages() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stages)
}

type staged struct {
	s    *Store
	o    coffer.Object
	v    *version
	sum  [32]byte
	made time.Time
	done coffer.Object // what Commit made
}

func (st *staged) Size() int64      { return int64(len(st.v.body)) }
func (st *staged) SHA256() [32]byte { return st.sum }

func (st *staged) Open(ctx context.Context) (body object.Body, err error) {
	err = st.s.call(ctx, "StagedOpen", func() error {
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		if !st.s.stages[st] {
			return fmt.Errorf("staged bytes: %w", coffer.ErrNotFound)
		}
		body = open(st.v.body, object.Info{
			Object: coffer.Object{Bucket: st.o.Bucket, Key: st.o.Key, ETag: st.v.etag}, Size: int64(len(st.v.body)),
			Modified: st.made, Attrs: clone(st.v.attrs), ETagIsMD5: true,
		})
		return nil
	})
	if err != nil {
		return object.Body{}, fmt.Errorf("open staged object: %w", err)
	}
	return body, nil
}

func (st *staged) Commit(ctx context.Context) (made coffer.Object, err error) {
	err = st.s.call(ctx, "Commit", func() error {
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		if st.done != (coffer.Object{}) {
			made = st.done
			return nil
		}
		if !st.s.stages[st] {
			return fmt.Errorf("staged bytes: %w", coffer.ErrNotFound)
		}
		b, err := st.s.bucket(st.o.Bucket)
		if err != nil {
			return err
		}
		if err := b.condition(st.o.Key, st.o.ETag); err != nil {
			return err
		}
		st.s.put(b, st.o.Key, st.v)
		delete(st.s.stages, st)
		st.done = b.info(st.o.Bucket, st.o.Key, st.v, false).Object
		made = st.done
		return nil
	})
	if err != nil {
		return coffer.Object{}, fmt.Errorf("commit object: %w", err)
	}
	return made, nil
}

func (st *staged) Abort(ctx context.Context) error {
	err := st.s.call(ctx, "Abort", func() error {
		st.s.mu.Lock()
		defer st.s.mu.Unlock()
		delete(st.s.stages, st)
		return nil
	})
	if err != nil {
		return fmt.Errorf("abort staged object: %w", err)
	}
	return nil
}
