package grant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"coffer"
	"coffer/access"
	"coffer/store"
)

// State is where a request stands.
type State string

// The states of a request for access, and of broken glass.
const (
	Requested State = "requested"
	Approved  State = "approved"
	Denied    State = "denied"
	Withdrawn State = "withdrawn"
	Used      State = "used"
	Expired   State = "expired"  // not answered, or not used, in time; of broken glass: its time is over and nobody reviewed it
	Broken    State = "broken"   // broken glass that can be used
	Reviewed  State = "reviewed" // broken glass that somebody else looked into; it cannot be used any more
)

// Request is what somebody asked for and what became of it. The fields down to Created do not change: Hash is their digest.
type Request struct {
	ID string `json:"request"`
	// Glass says that this is no request but broken glass: in force without an approval, for any finding.
	Glass  bool          `json:"glass,omitempty"`
	By     string        `json:"by"` // pseudonymous id of who asked, who alone can use it
	Action access.Action `json:"action"`
	// Finding whose values are asked for; Generation of its sealed values at that time, and the numbers of the occurrences, ascending;
	// none: any of them.
	Finding    string        `json:"finding,omitempty"`
	Generation string        `json:"generation,omitempty"`
	Numbers    []int         `json:"numbers,omitempty"`
	Values     int           `json:"values"` // at most
	Reason     string        `json:"reason"`
	Note       string        `json:"note,omitempty"` // scrubbed
	Ticket     string        `json:"ticket,omitempty"`
	Duration   time.Duration `json:"duration"` // how long it is good for once it is approved
	Need       int           `json:"need"`     // approvals that it takes
	Created    time.Time     `json:"created"`

	Hash      string    `json:"hash"`
	Deadline  time.Time `json:"deadline"` // until when it can be answered; of broken glass, until when it can be used
	Status    State     `json:"status"`   // as stored; time passes: see State
	Approvals Approvals `json:"approvals,omitempty"`
	Spent     int       `json:"spent,omitempty"`  // values that were opened, or searches that were made, on it
	Answer    string    `json:"answer,omitempty"` // the note of who denied or reviewed it, scrubbed
	Ended     time.Time `json:"ended,omitzero"`   // used up, denied, withdrawn or reviewed
	EndedBy   string    `json:"endedBy,omitempty"`

	version string
}

// State returns where the request stands at now.
func (r *Request) State(now time.Time) State {
	switch {
	case r.Status == Requested && !now.Before(r.Deadline),
		r.Status == Broken && (!now.Before(r.Deadline) || r.Spent >= r.Values),
		r.Status == Approved && len(r.Approvals.Good(r.Hash, r.By, now)) < r.Need:
		return Expired
	}
	return r.Status
}

// Until returns until when the request can be used; the zero time when it is not in force.
func (r *Request) Until() time.Time {
	var c access.Context
	switch r.Status {
	case Approved:
		r.Approvals.Tell(&c)
	case Broken:
		c.ApprovedUntil = r.Deadline
	}
	return c.ApprovedUntil
}

// Canonical returns the bytes that Hash is the SHA-256 of: a version, then everything that was asked for, each part with its length in
// front. The id in it is random, so the digest tells nothing of the rest to who does not know it.
func (r *Request) Canonical() []byte {
	var b []byte
	part := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(n int64) { part(strconv.FormatInt(n, 10)) }
	part("coffer request 1")
	part(r.ID)
	part(strconv.FormatBool(r.Glass))
	part(r.By)
	part(string(r.Action))
	part(r.Finding)
	part(r.Generation)
	number(int64(len(r.Numbers)))
	for _, n := range r.Numbers {
		number(int64(n))
	}
	number(int64(r.Values))
	part(r.Reason)
	part(r.Note)
	part(r.Ticket)
	number(int64(r.Duration))
	number(int64(r.Need))
	number(r.Created.UnixNano())
	return b
}

func (r *Request) digest() string {
	sum := sha256.Sum256(r.Canonical())
	return hex.EncodeToString(sum[:])
}

func newID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}

// keepFor is how long requests are listed after their deadline; the log keeps what became of them. Broken glass stays until it is
// reviewed.
const keepFor = 90 * 24 * time.Hour

// requests is the list of requests; glass has the broken glass that was not reviewed, by who broke it.
var requests = store.Spread{Name: "GL", Shards: 16}

const partGlass = "GB"

func requestKey(id string) store.Key { return store.Key{Part: "G#" + id, Sort: "request"} }
func glassKey(by string) store.Key   { return store.Key{Part: partGlass, Sort: by} }

// save returns the operations that store r, if nobody changed it since it was read, and for a new one its place in the list.
func (r *Request) save() []store.Op {
	b, err := json.Marshal(r)
	if err != nil {
		panic("internal error: " + err.Error()) // strings, numbers and times
	}
	v := store.NewVersion()
	expires := r.Deadline.Add(r.Duration + keepFor)
	if r.Glass && r.Status != Reviewed {
		expires = time.Time{}
	}
	ops := []store.Op{{Verb: store.Put, Expect: r.version, Item: store.Item{Key: requestKey(r.ID), Value: b, Version: v, Expires: expires}}}
	if r.version == store.Absent {
		// Of broken glass the place in the list stays; one that leads nowhere is passed over.
		ops = append(ops, store.Op{Verb: store.Put, Expect: store.Any, Item: store.Item{Key: requests.Key(r.ID), Value: []byte("1"), Version: v, Expires: expires}})
	}
	r.version = v
	return ops
}

// get returns a request; an error wrapping coffer.ErrNotFound when there is none.
func (g *Grants) get(ctx context.Context, id string) (*Request, error) {
	if !access.ValidGrant(id) {
		return nil, fmt.Errorf("request: %w", coffer.ErrNotFound)
	}
	it, err := g.DB.Get(ctx, requestKey(id))
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, fmt.Errorf("request %s: %w", id, coffer.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", id, err)
	}
	r := &Request{version: it.Version}
	if json.Unmarshal(it.Value, r) != nil || r.ID != id || r.Hash != r.digest() {
		return nil, fmt.Errorf("request %s: %w", id, coffer.ErrCorrupt)
	}
	return r, nil
}
