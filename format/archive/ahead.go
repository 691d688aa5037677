package archive

import (
	"io"
	"sync"
)

const aheadChunk = 128 << 10

// ahead reads r on a goroutine of its own a few chunks ahead of the one who reads from it, so that inflating and walking
// overlap. The goroutine starts only when the first chunk was not all there is. Close waits for it.
type ahead struct {
	r     io.Reader
	chunk []byte // being consumed
	rest  []byte // its unread part
	next  error  // what follows the chunk
	// err is what the reader was given in the end, io.EOF included; what was read ahead and never asked for does not
	// count.
	err error

	started bool
	full    chan piece
	stop    chan struct{}
	done    chan struct{}
}

type piece struct {
	b   []byte
	err error
}

var chunks = sync.Pool{New: func() any { b := make([]byte, aheadChunk); return &b }}

func newChunk() []byte { return *chunks.Get().(*[]byte) }

func freeChunk(b []byte) {
	if b == nil {
		return
	}
	clear(b) // no document text waits in a pool
	b = b[:cap(b)]
	chunks.Put(&b)
}

// newAhead reads the first chunk, from which head gives the beginning.
func newAhead(r io.Reader) *ahead {
	a := &ahead{r: r}
	p := a.read()
	a.chunk, a.rest, a.next = p.b, p.b, p.err
	return a
}

func (a *ahead) head() []byte { return a.rest[:min(len(a.rest), HeadSize)] }

// read fills one chunk.
func (a *ahead) read() piece {
	b := newChunk()
	n, err := io.ReadFull(a.r, b)
	if err == io.ErrUnexpectedEOF && n < len(b) {
		// ReadFull says this for every short chunk; the readers of this package never return it themselves.
		err = io.EOF
	}
	return piece{b[:n], err}
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err = a.next; a.err != nil {
			return 0, a.err
		}
		if !a.started {
			a.start()
		}
		freeChunk(a.chunk)
		c := <-a.full
		a.chunk, a.rest, a.next = c.b, c.b, c.err
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *ahead) start() {
	a.started = true
	a.full, a.stop, a.done = make(chan piece, 2), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(a.done)
		for {
			p := a.read()
			select {
			case a.full <- p:
			case <-a.stop:
				freeChunk(p.b)
				return
			}
			if p.err != nil {
				return
			}
		}
	}()
}

// close ends the goroutine. The reader must not be used after it.
func (a *ahead) close() {
	if a.started {
		close(a.stop)
		<-a.done
		close(a.full)
		for p := range a.full {
			freeChunk(p.b)
		}
	}
	freeChunk(a.chunk)
	a.chunk, a.rest = nil, nil
}

// failed returns the error other than the end that the reader was given.
func (a *ahead) failed() error {
	if a.err == io.EOF {
		return nil
	}
	return a.err
}
