package web

import (
	"context"
	"sync"
	"time"
)

// latest keeps what a long look at the installation found last, so that one look serves every reader. It is made by one at a time, in
// the background, and ends when the server closes. Safe for concurrent use.
type latest[T any] struct {
	s       *Server
	mu      sync.Mutex
	found   found[T]
	running chan struct{} // closed when the look that is under way is over; nil: none is
}

// found is what a look found.
type found[T any] struct {
	value T
	err   error
	at    time.Time // when it was over
	took  time.Duration
	known bool
}

func newLatest[T any](s *Server) *latest[T] { return &latest[T]{s: s} }

// last returns what the last look found, without looking.
func (l *latest[T]) last() found[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found
}

// expire makes what was found too old for whoever asks next. It is still what there is while a look is under way.
func (l *latest[T]) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found.at = time.Time{}
}

// get returns what was found at most fresh ago. Else it looks, or joins who does, and waits for at most wait; then it returns what was
// found before, and that a look is under way. begin is called before a look of one's own; its error means that there is none.
func (l *latest[T]) get(ctx context.Context, fresh, wait time.Duration, begin func() error, look func(context.Context) (T, error)) (found[T], bool, error) {
	l.mu.Lock()
	running := l.running
	if running == nil && l.found.known && l.found.err == nil && l.s.Now().Sub(l.found.at) < fresh {
		defer l.mu.Unlock()
		return l.found, false, nil
	}
	l.mu.Unlock()
	if running == nil {
		if err := begin(); err != nil {
			return found[T]{}, false, err
		}
		running = l.start(ctx, look)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-running:
		return l.last(), false, nil
	case <-timer.C:
		return l.last(), true, nil
	case <-ctx.Done():
		return found[T]{}, false, ctx.Err()
	}
}

func (l *latest[T]) start(ctx context.Context, look func(context.Context) (T, error)) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running != nil {
		return l.running // somebody was quicker
	}
	done := make(chan struct{})
	l.running = done
	// It is everybody's: whoever asked for it may go.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.s.looks.Go(func() {
		defer cancel()
		ended := make(chan struct{})
		defer close(ended)
		l.s.looks.Go(func() {
			select {
			case <-l.s.closing:
				cancel()
			case <-ended:
			}
		})
		begun := time.Now()
		value, err := look(ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.found = found[T]{value, err, l.s.Now(), time.Since(begun), true}
		l.running = nil
		close(done)
	})
	return done
}
