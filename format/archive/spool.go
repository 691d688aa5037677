package archive

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"coffer"
)

const spoolBlock = 64 << 10

// spool holds bytes to be read again: appended to by Write, read anywhere by ReadAt. The first blocks are in memory as long as
// the walk's allowance lasts, the others in a temporary file, each sealed with AES-256-GCM under a key that exists only here,
// so that document text reaches the disk only in a form that dies with the process. One goroutine may write while
// another reads.
type spool struct {
	b *budget

	mu     sync.Mutex
	memory [][]byte // full blocks
	file   *os.File
	linked bool  // the file still has a name
	sealed int64 // full blocks in file
	aead   cipher.AEAD
	tail   []byte // the last, unfinished block
	out    []byte // a sealed block being written or read

	cached int64 // number of the file's block in cache; -1: none
	cache  []byte
}

func newSpool(b *budget) *spool { return &spool{b: b, cached: -1} }

// Size returns the number of bytes held.
func (s *spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size()
}

func (s *spool) size() int64 {
	return (int64(len(s.memory))+s.sealed)*spoolBlock + int64(len(s.tail))
}

// Write appends p.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), spoolBlock-len(s.tail))
		s.tail = append(s.tail, p[:n]...)
		p = p[n:]
		if len(s.tail) == spoolBlock {
			if err := s.put(); err != nil {
				return total - len(p), err
			}
		}
	}
	return total, nil
}

// put moves the full tail to memory or to the file.
func (s *spool) put() error {
	if s.file == nil && reserve(&s.b.spooled, spoolBlock, spoolMemory) {
		s.memory = append(s.memory, s.tail)
		s.tail = make([]byte, 0, spoolBlock)
		return nil
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return fmt.Errorf("temporary file: %w: %w", err, coffer.ErrUnavailable)
		}
	}
	s.out = s.aead.Seal(s.out[:0], nil, s.tail, s.label(s.sealed))
	if _, err := s.file.WriteAt(s.out, s.sealed*int64(len(s.out))); err != nil {
		return fmt.Errorf("temporary file: %w: %w", err, coffer.ErrUnavailable)
	}
	s.sealed++
	clear(s.tail)
	s.tail = s.tail[:0]
	return nil
}

func (s *spool) open() error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	clear(key)
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return err
	}
	if s.file, err = os.CreateTemp("", ".coffer-*"); err != nil { // mode 0600
		return err
	}
	// Where an open file can be unlinked it is gone even if the process is killed; elsewhere Close removes it.
	s.linked = os.Remove(s.file.Name()) != nil
	return nil
}

// label binds a sealed block to its place.
func (s *spool) label(block int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(block))
}

// ReadAt implements [io.ReaderAt] over what was written so far.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(p) {
		if off < 0 || off >= s.size() {
			return n, io.EOF
		}
		b, err := s.block(off / spoolBlock)
		if err != nil {
			return n, err
		}
		m := copy(p[n:], b[off%spoolBlock:])
		n += m
		off += int64(m)
	}
	return n, nil
}

func (s *spool) block(i int64) ([]byte, error) {
	if i < int64(len(s.memory)) {
		return s.memory[i], nil
	}
	if i -= int64(len(s.memory)); i == s.sealed {
		return s.tail, nil
	}
	if i == s.cached {
		return s.cache, nil
	}
	const sealedBlock = spoolBlock + 12 + 16 // nonce and tag
	if cap(s.out) < sealedBlock {
		s.out = make([]byte, sealedBlock)
	}
	s.out = s.out[:sealedBlock]
	if _, err := s.file.ReadAt(s.out, i*sealedBlock); err != nil {
		return nil, fmt.Errorf("temporary file: %w: %w", err, coffer.ErrUnavailable)
	}
	var err error
	s.cached = -1
	if s.cache, err = s.aead.Open(s.cache[:0], nil, s.out, s.label(i)); err != nil {
		return nil, fmt.Errorf("temporary file was altered: %w", coffer.ErrCorrupt)
	}
	s.cached = i
	return s.cache, nil
}

// Close gives back the memory and removes the file. The spool is empty after it and may be used again.
func (s *spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.spooled.Add(-int64(len(s.memory)) * spoolBlock)
	for _, b := range s.memory {
		clear(b)
	}
	clear(s.tail)
	clear(s.cache)
	s.memory, s.tail, s.sealed, s.cached = nil, s.tail[:0], 0, -1
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.linked {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	s.file, s.aead = nil, nil
	return err
}
