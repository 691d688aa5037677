package s3fake

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"io"
)

// content is the bytes of a version or a part: a chain of pieces that are never copied and never change, so that a part copied out of
// a 5 GB object costs nothing.
type content struct {
	pieces []piece
	size   int64
}

type piece struct {
	src    io.ReaderAt
	off, n int64
}

func bytesContent(b []byte) content {
	return content{pieces: []piece{{bytes.NewReader(b), 0, int64(len(b))}}, size: int64(len(b))}
}

// slice returns the bytes [start, end).
func (c content) slice(start, end int64) (out content) {
	at := int64(0)
	for _, p := range c.pieces {
		from, to := max(start, at), min(end, at+p.n)
		if from < to {
			out.pieces = append(out.pieces, piece{p.src, p.off + from - at, to - from})
			out.size += to - from
		}
		at += p.n
	}
	return out
}

func (c content) join(d content) content {
	return content{pieces: append(c.pieces[:len(c.pieces):len(c.pieces)], d.pieces...), size: c.size + d.size}
}

func (c content) reader() io.Reader {
	rs := make([]io.Reader, len(c.pieces))
	for i, p := range c.pieces {
		rs[i] = io.NewSectionReader(p.src, p.off, p.n)
	}
	return io.MultiReader(rs...)
}

// ReadAt makes the chain readable at random.
func (c content) ReadAt(b []byte, off int64) (int, error) {
	if off >= c.size {
		return 0, io.EOF
	}
	n, err := io.ReadFull(c.slice(off, min(c.size, off+int64(len(b)))).reader(), b[:min(int64(len(b)), c.size-off)])
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

func (c content) md5() [md5.Size]byte {
	h := md5.New()
	_, _ = io.Copy(h, c.reader()) // pieces are readers that a test gave; a hash never fails
	return [md5.Size]byte(h.Sum(nil))
}

func hexMD5(sum [md5.Size]byte) string { return hex.EncodeToString(sum[:]) }
