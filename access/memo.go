package access

import (
	"encoding/binary"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/cedar-policy/cedar-go"

	"coffer/internal/recent"
)

// concern is the policies whose scope can hold for an action; the others decide nothing about it, whatever else they say, and are not evaluated.
type concern struct {
	ids      []cedar.PolicyID
	policies []*cedar.Policy
	// looks says at which circumstances that move by themselves one of them may look.
	looks moving
}

// All yields the policies.
func (c *concern) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		if c == nil {
			return
		}
		for i, id := range c.ids {
			if !yield(id, c.policies[i]) {
				return
			}
		}
	}
}

// moving are circumstances that move by themselves.
type moving struct {
	now      bool
	approved bool // now, but only where an approval ends at some time
	age      bool // signInAge
}

// concerns sorts the policies by the actions that they can be about.
func (p *Policy) concerns() {
	p.about = make(map[Action]*concern)
	ids := p.IDs()
	for _, a := range p.check.leaves() {
		c := &concern{}
		for _, id := range ids {
			pol := p.set.Get(cedar.PolicyID(id))
			if !p.check.concerns(pol, cedar.NewEntityUID("Action", cedar.String(a))) {
				continue
			}
			c.ids, c.policies = append(c.ids, cedar.PolicyID(id)), append(c.policies, pol)
			looks := looksAt(pol)
			c.looks.now, c.looks.approved, c.looks.age = c.looks.now || looks.now, c.looks.approved || looks.approved, c.looks.age || looks.age
		}
		p.about[a] = c
	}
}

// Limits of a memo.
const (
	memoDecisions = 8192
	memoKey       = 4 << 10 // bytes of the longest request that is kept
)

// memo keeps decisions of one policy set by everything that they rest on. A decision is a function of the set and the request, so what is
// kept is as good as what would be evaluated: a caller who has lost a role asks another question.
type memo struct {
	mu   sync.Mutex
	kept recent.Map[string, Decision]
}

var memoKeys = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

func (m *memo) get(key string) (Decision, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept.Get(key)
}

func (m *memo) keep(key string, d Decision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept.Max = memoDecisions
	m.kept.Put(key, d, 1)
}

// appendKey appends everything of a request that Decide rests on, each part with its length. What policies do not see (the caller's name,
// the ids of request, session, token and grant, the texts of note and ticket) is left out, and of the times those that no policy about the
// action looks at.
func (p *Policy) appendKey(b []byte, r *Request) []byte {
	str := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	flag := func(v bool) {
		if v {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	num := func(n int64) { b = binary.AppendVarint(b, n) }
	c := p.about[r.Action]
	if c == nil {
		c = &concern{looks: moving{now: true, age: true}}
	}
	str(string(r.Action))

	str(r.Caller.ID)
	str(string(r.Caller.Kind))
	b = appendList(b, r.Caller.Roles)
	b = appendList(b, r.Caller.Teams)
	flag(r.Caller.Scopes == nil)
	b = appendList(b, r.Caller.Scopes)

	w := &r.Resource
	str(string(w.Kind))
	str(w.ID)
	b = appendList(b, w.Types)
	b = appendList(b, w.Categories)
	num(int64(w.Severity))
	str(w.Bucket)
	str(w.Account)
	b = appendList(b, w.Origins)
	b = appendList(b, w.Submitters)
	b = binary.AppendUvarint(b, uint64(len(w.BucketTags)))
	for _, t := range w.BucketTags {
		str(t.Key)
		str(t.Value)
	}

	x := &r.Context
	flag(x.Now.IsZero())
	if c.looks.now || c.looks.approved && !x.ApprovedUntil.IsZero() {
		num(x.Now.UnixMilli()) // as exact as Cedar's times are
	}
	flag(x.Local)
	str(x.Reason)
	num(int64(x.NoteLength()))
	flag(x.Ticket != "")
	str(x.Purpose)
	num(int64(x.Values))
	network, _ := x.Network.MarshalBinary() // never fails; none for the zero one
	b = binary.AppendUvarint(b, uint64(len(network)))
	b = append(b, network...)
	age, known := x.signInAge()
	flag(known)
	if c.looks.age {
		num(int64(age / time.Second))
	}
	flag(x.MFA)
	flag(x.BreakGlass)
	str(x.Requester)
	b = appendList(b, x.Approvers)
	flag(x.ApprovedUntil.IsZero())
	num(x.ApprovedUntil.UnixMilli())
	return b
}

func appendList[S ~string](b []byte, list []S) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// remembered answers a request from the memo, or by decide and keeps the answer.
func (p *Policy) remembered(r *Request, decide func() Decision) Decision {
	buf := memoKeys.Get().(*[]byte)
	defer memoKeys.Put(buf)
	key := p.appendKey((*buf)[:0], r)
	*buf = key
	if d, ok := p.memo.get(string(key)); ok {
		return d.clone()
	}
	d := decide()
	if len(key) <= memoKey {
		p.memo.keep(string(key), d.clone())
	}
	return d
}

func (d Decision) clone() Decision {
	d.Policies, d.Errors = slices.Clone(d.Policies), slices.Clone(d.Errors)
	return d
}
