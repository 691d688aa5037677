package web

import (
	"context"
	"errors"
	"sync"
	"time"

	"coffer"
	"coffer/access"
	"coffer/remedy"
	"coffer/triage"
)

const (
	waitsAge   = 15 * time.Second      // how old the numbers of the navigation may be, when nothing was done at this server
	waitsWait  = 50 * time.Millisecond // how long a page waits for newer ones
	maxReaders = 1000                  // of whom numbers are kept
)

// waits is what the navigation counts for one reader.
type waits struct {
	requests int // wait for the reader
	fixes    int // are open
}

// waiting keeps what waits for each reader. To count it takes a look at every open plan, which a page does not wait long for: it shows
// what the last look found. Safe for concurrent use.
type waiting struct {
	mu sync.Mutex
	of map[string]*latest[waits] // by caller
}

// anew has the next page of everybody count again: something was done.
func (w *waiting) anew() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.of {
		l.expire()
	}
}

func (w *waiting) reader(s *Server, id string) *latest[waits] {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[id] == nil {
		if w.of == nil || len(w.of) >= maxReaders {
			w.of = map[string]*latest[waits]{}
		}
		w.of[id] = newLatest[waits](s)
	}
	return w.of[id]
}

// counted puts the numbers beside the places of the navigation. Counting asks the policies and records nothing, as a look at a masked
// list would: the places themselves do.
func (s *Server) counted(v *visit, groups []navGroup) {
	ctx := v.r.Context()
	numbers := map[string]int{}
	if s.may(ctx, v.call, access.FindingList, access.Resource{Kind: access.System}, v.ask.Context) {
		if f, err := triage.ParseFilter(todo()...); err == nil {
			if n, err := s.Desk.Index().Count(ctx, f, v.now); err == nil { // a page is as good without
				numbers["/findings"] = n
			}
		}
	}
	c := *v.call // the look may outlive the request
	found, _, err := s.waiting.reader(s, c.ask.Caller.ID).get(ctx, waitsAge, waitsWait, func() error { return nil },
		func(ctx context.Context) (waits, error) { return s.look(ctx, &c) })
	if err == nil && found.err == nil {
		numbers["/requests"], numbers["/fixes"] = found.value.requests, found.value.fixes
	}
	for i := range groups {
		for j := range groups[i].Entries {
			e := &groups[i].Entries[j]
			e.Count, e.Waits = numbers[e.Path], e.Path == "/requests"
		}
	}
}

// look counts what waits for a caller.
func (s *Server) look(ctx context.Context, c *call) (waits, error) {
	var out waits
	list, err := s.Grants.Waiting(ctx, c.ask)
	if err != nil {
		return out, err
	}
	out.requests = len(list)
	if !s.may(ctx, c, access.FindingList, access.Resource{Kind: access.System}, c.ask.Context) {
		return out, nil
	}
	for p, err := range s.Remedy.All(ctx) {
		if err != nil {
			return out, err
		}
		if p.State != remedy.Planned && p.State != remedy.Approved && p.State != remedy.Applying {
			continue
		}
		out.fixes++
		if p.State != remedy.Planned || p.By == c.ask.Caller.ID {
			continue
		}
		res, err := s.Remedy.Resource(ctx, p)
		if errors.Is(err, coffer.ErrNotFound) {
			continue
		}
		if err != nil {
			return out, err
		}
		if s.decides(ctx, c, p, res) {
			out.requests++
		}
	}
	return out, nil
}

// decides reports whether the caller may see a plan that waits for an approval, and give it.
func (s *Server) decides(ctx context.Context, c *call, p *remedy.Plan, res access.Resource) bool {
	how := c.ask.Context
	p.Circumstances(&how, access.RemedyApprove)
	return s.sees(ctx, c, p, res) && s.may(ctx, c, access.RemedyApprove, res, how)
}

// sees reports whether the caller may see a plan.
func (s *Server) sees(ctx context.Context, c *call, p *remedy.Plan, res access.Resource) bool {
	res.Kind, res.ID = access.Object, p.ObjectID
	return s.may(ctx, c, access.ObjectRead, res, c.ask.Context)
}
