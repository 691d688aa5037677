package web

import (
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxCallers bounds the callers whose rates are remembered; beyond it those who were quiet longest are forgotten first.
const maxCallers = 4096

// limits holds how often each caller sends requests. Budgets of values are in package grant, kept in the store; these are for the
// server's own sake, and each process has its own.
type limits struct {
	rate rate.Limit
	mu   sync.Mutex // guards by
	by   map[string]*callerLimit
}

type callerLimit struct {
	*rate.Limiter
	last time.Time
}

func newLimits(perSecond float64) *limits {
	return &limits{rate: rate.Limit(perSecond), by: map[string]*callerLimit{}}
}

// take counts a request of the caller and returns how long they have to wait; zero: not at all.
func (l *limits) take(c *call) time.Duration {
	if c.local {
		return 0
	}
	now := time.Now() // a monotonic clock, whatever the installation's says
	l.mu.Lock()
	defer l.mu.Unlock()
	id := c.ask.Caller.ID
	one := l.by[id]
	if one == nil {
		if len(l.by) >= maxCallers {
			l.forget()
		}
		one = &callerLimit{Limiter: rate.NewLimiter(l.rate, max(1, int(4*l.rate)))}
		l.by[id] = one
	}
	one.last = now
	res := one.ReserveN(now, 1)
	wait := res.DelayFrom(now)
	if wait > 0 {
		res.CancelAt(now)
	}
	return wait
}

// forget removes the callers who were quiet longest, so many at once that it is not done for each new one.
func (l *limits) forget() {
	ids := slices.SortedFunc(maps.Keys(l.by), func(a, b string) int { return l.by[a].last.Compare(l.by[b].last) })
	for _, id := range ids[:len(ids)/8] {
		delete(l.by, id)
	}
}
