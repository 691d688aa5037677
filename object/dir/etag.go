//go:build unix && !aix && !solaris

package dir

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"coffer"
	"coffer/object"
)

// settled is the age from which a file's times are believed to show any later write.
const settled = 2 * time.Second

// maxETags bounds the memory of ETags, at about 100 bytes each.
const maxETags = 1 << 16

type etagKey struct {
	dev, ino         uint64
	size, mtim, ctim int64
}

// etagCache remembers the MD5 of files, in memory alone.
type etagCache struct {
	mu sync.Mutex
	m  map[etagKey][md5.Size]byte
}

func (c *etagCache) get(k etagKey) ([md5.Size]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[k]
	return v, ok
}

func (c *etagCache) put(k etagKey, v [md5.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxETags {
		c.m = make(map[etagKey][md5.Size]byte)
	}
	c.m[k] = v
}

// young reports whether a write to the file could still hide behind its times.
func (s stat) young() bool {
	return time.Since(time.Unix(0, max(s.mtim, s.ctim))) < settled
}

// etag returns the MD5 of the file's bytes and how the file looked while they were read.
func (d *Dir) etag(ctx context.Context, f *os.File) (string, stat, error) {
	for range 3 {
		s, err := fstat(f)
		if err != nil {
			return "", stat{}, err
		}
		k := etagKey{s.dev, s.ino, s.size, s.mtim, s.ctim}
		sum, ok := d.etags.get(k)
		if !ok {
			young := s.young()
			h := object.MD5()
			if _, err := io.Copy(h, contextReader{ctx, io.NewSectionReader(f, 0, s.size)}); err != nil {
				return "", stat{}, err
			}
			h.Sum(sum[:0])
			t, err := fstat(f)
			if err != nil {
				return "", stat{}, err
			}
			if !s.still(t) {
				continue
			}
			if !young && s.ctim == t.ctim {
				d.etags.put(k, sum)
			}
		}
		return hex.EncodeToString(sum[:]), s, nil
	}
	return "", stat{}, fmt.Errorf("file is being written: %w", coffer.ErrChanged)
}

// matches reports whether the file, whose own ETag is etag, is what want names.
func matches(ctx context.Context, want, etag string, f *os.File, s stat) (bool, error) {
	want = strings.Trim(want, `"`)
	if want == etag || !strings.Contains(want, "-") {
		return want == etag, nil
	}
	match, _, err := object.MatchETag(want, s.size, func() (io.Reader, error) {
		return contextReader{ctx, io.NewSectionReader(f, 0, s.size)}, nil
	})
	return match, err
}

// contextReader ends a long read when the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
