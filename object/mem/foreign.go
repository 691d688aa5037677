package mem

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"

	"coffer"
	"coffer/object"
)

// Foreign is another program with full rights to the same storage. Its calls are unconditional, never fail on purpose and are
// not counted as calls. They panic if the bucket does not exist: the test is wrong then. Create it with [Store.Foreign].
type Foreign struct{ s *Store }

// Foreign returns the foreign writer of s.
func (s *Store) Foreign() Foreign { return Foreign{s} }

// Put writes an object in one part, so that its ETag is the MD5 of the bytes.
func (f Foreign) Put(bucket, key string, body []byte, a object.Attrs) coffer.Object {
	return f.put(bucket, key, newVersion(bytes.Clone(body), a))
}

// PutMultipart writes an object in parts of this size, so that its ETag is of the form "digest-N".
func (f Foreign) PutMultipart(bucket, key string, body []byte, part int, a object.Attrs) coffer.Object {
	v := newVersion(bytes.Clone(body), a)
	outer, n := md5.New(), 0
	for c := range slices.Chunk(body, part) {
		sum := md5.Sum(c)
		outer.Write(sum[:])
		n++
	}
	v.etag, v.md5 = fmt.Sprintf("%x-%d", outer.Sum(nil), n), false
	return f.put(bucket, key, v)
}

// PutOpaque writes an object whose ETag looks like an MD5 and is none, as under SSE-KMS.
func (f Foreign) PutOpaque(bucket, key string, body []byte, a object.Attrs) coffer.Object {
	v := newVersion(bytes.Clone(body), a)
	sum := md5.Sum([]byte("under another key " + v.etag))
	v.etag, v.md5 = hex.EncodeToString(sum[:]), false
	return f.put(bucket, key, v)
}

func (f Foreign) put(bucket, key string, v *version) coffer.Object {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	b := f.bucket(bucket)
	f.s.put(b, key, v)
	return b.info(bucket, key, v, false).Object
}

// Delete removes the object, in a versioned bucket by a delete marker; what is not there is no error.
func (f Foreign) Delete(bucket, key string) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	b := f.bucket(bucket)
	switch {
	case len(b.keys[key]) == 0 || b.keys[key][0].marker:
	case b.state == object.VersioningOff:
		b.remove(key, 0)
	default:
		f.s.put(b, key, &version{marker: true})
	}
}

// Tag replaces the tags of the current version, if there is one.
func (f Foreign) Tag(bucket, key string, tags []coffer.Tag) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if vs := f.bucket(bucket).keys[key]; len(vs) > 0 {
		vs[0].attrs.Tags = slices.Clone(tags)
	}
}

func (f Foreign) bucket(name string) *bucket {
	b, err := f.s.bucket(name)
	if err != nil {
		panic("mem: the foreign writer's bucket does not exist")
	}
	return b
}
