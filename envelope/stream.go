package envelope

import (
	"bufio"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"coffer"
)

// A stream is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its
// Nonce-Reuse Misuse-Resistance, 2015) with counter and final flag in the associated data, because the nonces are random. Each
// stream has a key of its own, so that chunks of two streams of one identity cannot be mixed. See docs/format-seal.md.
const (
	streamFormat = 1
	saltSize     = 32
	chunkSize    = 64 << 10 // bytes of plaintext in every chunk but the last
	sealedChunk  = nonceSize + chunkSize + tagSize
	maxChunks    = 1 << 32 // 256 TiB
)

// chunks is what both directions of a stream have: its cipher and the associated data of the next chunk.
type chunks struct {
	aead    cipher.AEAD
	ad      []byte // format 1 | digest 32 | counter 8 | final 1 | identity
	counter uint64
}

const (
	counterAt = 1 + 32
	finalAt   = counterAt + 8
)

func (m *message) chunks(salt, identity []byte) (*chunks, error) {
	if len(identity) > MaxIdentity {
		return nil, fmt.Errorf("identity of %d bytes, at most %d: %w", len(identity), MaxIdentity, coffer.ErrInvalid)
	}
	aead, err := m.aead(labelStream + string(salt))
	if err != nil {
		return nil, err
	}
	ad := append([]byte{streamFormat}, m.digest[:]...)
	ad = append(ad, make([]byte, 8+1)...)
	return &chunks{aead: aead, ad: append(ad, identity...)}, nil
}

// next returns the associated data of the next chunk.
func (c *chunks) next(final bool) ([]byte, error) {
	if c.counter >= maxChunks {
		return nil, fmt.Errorf("stream of too many chunks: %w", coffer.ErrLimit)
	}
	binary.BigEndian.PutUint64(c.ad[counterAt:], c.counter)
	c.ad[finalAt] = 0
	if final {
		c.ad[finalAt] = 1
	}
	c.counter++
	return c.ad, nil
}

// Writer returns a writer that seals what is written to it as a stream, bound to the message and to identity, and writes that
// to w, in pieces of at most 64 KiB and some. Close ends the stream and does not close w; a stream without Close is a
// truncated one, which no reader takes for whole. After an error the writer stays failed. Beyond 256 TiB it returns an error
// wrapping coffer.ErrLimit.
func (s *Sealer) Writer(w io.Writer, identity []byte) io.WriteCloser {
	sw := &streamWriter{w: w, buf: make([]byte, 0, sealedChunk)}
	start := make([]byte, 1+saltSize)
	start[0] = streamFormat
	if _, sw.err = rand.Read(start[1:]); sw.err != nil {
		return sw
	}
	if sw.c, sw.err = s.m.chunks(start[1:], identity); sw.err != nil {
		return sw
	}
	sw.start = start
	return sw
}

type streamWriter struct {
	w     io.Writer
	c     *chunks
	start []byte // not written yet
	buf   []byte // plaintext of the next chunk, with room for its sealed form
	err   error
}

var errStreamClosed = errors.New("sealed stream is closed")

func (s *streamWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 && s.err == nil {
		// A full chunk is sealed only when more comes: the last one must be marked.
		if len(s.buf) == chunkSize {
			s.err = s.flush(false)
			continue
		}
		n := min(len(p), chunkSize-len(s.buf))
		s.buf = append(s.buf, p[:n]...)
		p = p[n:]
		written += n
	}
	return written, s.err
}

func (s *streamWriter) Close() error {
	if s.err == errStreamClosed {
		return nil
	}
	err := s.err
	if err == nil {
		err = s.flush(true)
	}
	clear(s.buf[:cap(s.buf)])
	if s.err = err; err == nil {
		s.err = errStreamClosed
	}
	return err
}

func (s *streamWriter) flush(final bool) error {
	if len(s.start) > 0 {
		if _, err := s.w.Write(s.start); err != nil {
			return err
		}
		s.start = nil
	}
	ad, err := s.c.next(final)
	if err != nil {
		return err
	}
	sealed := s.c.aead.Seal(s.buf[:0], nil, s.buf, ad)
	_, err = s.w.Write(sealed)
	s.buf = s.buf[:0]
	return err
}

// Reader returns a reader of the stream in r, which must have been sealed in this message with this identity. It yields only
// authenticated bytes, chunk by chunk, and io.EOF only after the stream's marked end with nothing behind it. A stream that
// was altered, cut, extended or reordered gives an error wrapping coffer.ErrCorrupt, always with the same text; what was
// yielded before it is a true beginning. Errors of r pass unchanged.
func (o *Opener) Reader(r io.Reader, identity []byte) io.Reader {
	return &streamReader{m: o.m, identity: append([]byte(nil), identity...), r: bufio.NewReaderSize(r, sealedChunk+1)}
}

type streamReader struct {
	m        *message
	identity []byte
	r        *bufio.Reader
	c        *chunks
	buf      []byte // holds plain
	plain    []byte // opened and not yet yielded
	err      error  // after plain
}

func (s *streamReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.plain) == 0 && s.err == nil {
		s.err = s.chunk()
	}
	if len(s.plain) == 0 {
		clear(s.buf[:cap(s.buf)])
		return 0, s.err
	}
	n := copy(p, s.plain)
	s.plain = s.plain[n:]
	return n, nil
}

// chunk opens the next chunk into s.plain. It returns io.EOF with the last one.
func (s *streamReader) chunk() error {
	if s.c == nil {
		start := make([]byte, 1+saltSize)
		if _, err := io.ReadFull(s.r, start); err != nil {
			return cut(err)
		}
		if start[0] != streamFormat {
			return errMessage
		}
		var err error
		if s.c, err = s.m.chunks(start[1:], s.identity); err != nil {
			return err
		}
		s.buf = make([]byte, 0, chunkSize)
	}
	// One byte more than a chunk tells whether it is the last.
	sealed, err := s.r.Peek(sealedChunk + 1)
	final := err == io.EOF
	switch {
	case err != nil && !final:
		return err
	case final && len(sealed) < nonceSize+tagSize:
		return errMessage
	case final && len(sealed) == nonceSize+tagSize && s.c.counter > 0:
		return errMessage // an empty last chunk stands in the empty stream only
	case !final:
		sealed = sealed[:sealedChunk]
	}
	ad, err := s.c.next(final)
	if err != nil {
		return err
	}
	plain, err := s.c.aead.Open(s.buf[:0], nil, sealed, ad)
	if err != nil {
		return errMessage
	}
	s.plain = plain
	if _, err := s.r.Discard(len(sealed)); err != nil {
		return err
	}
	if final {
		return io.EOF
	}
	return nil
}

// cut turns the end of the source in the middle of the stream's start into the one answer.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errMessage
	}
	return err
}
