package job

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"coffer"
	"coffer/store"
)

// KeepAnswers is how long the answer to an attempt is remembered.
const KeepAnswers = 24 * time.Hour

// MaxAnswer bounds the body of an answer that is remembered, in bytes.
const MaxAnswer = 200 << 10

// Answer is what an attempt came to. It holds no sensitive value: it is kept in the store.
type Answer struct {
	Status   int             `json:"status"`
	Location string          `json:"location,omitempty"`
	Tag      string          `json:"tag,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`
}

// Once remembers attempts by the keys that their callers chose, so that a request that is sent again, because its answer was lost,
// is not carried out again. It is safe for concurrent use, by several processes on one store.
//
//	K#<keyed hash of caller and key>  answer  the request, and once it is done the answer; expires after a day
//	K#<keyed hash of caller and key>  lease   who is at it
type Once struct {
	DB  store.DB
	Now func() time.Time
	MAC func(label string, data []byte) []byte
}

// ReusedError says that a key was used for another request before. It wraps coffer.ErrInvalid.
type ReusedError struct{}

func (*ReusedError) Error() string {
	return "the key was used for another request; choose a new one for each thing to do"
}

// Unwrap returns coffer.ErrInvalid.
func (*ReusedError) Unwrap() error { return coffer.ErrInvalid }

// attempt is the stored record.
type attempt struct {
	Request string  `json:"request"` // keyed hash
	Answer  *Answer `json:"answer,omitempty"`
}

// Attempt returns the opaque name of the attempt that a caller makes under a key. What the attempt creates is named after it, so that
// repeating an attempt whose process died finds what is there already.
func (o *Once) Attempt(caller, key string) string {
	return hex.EncodeToString(o.MAC("attempt", []byte(caller+"\x00"+key))[:16])
}

// Do carries out act once for the caller's key and remembers its answer for a day; later calls with the same request get that answer
// and replayed true. Another request under the same key gives a [*ReusedError], and one at which a call is just now a [*BusyError].
// When act fails nothing is remembered and the key can be used again. act must be safe to repeat: a process can die, or the store
// fail, between act and the record of it.
func (o *Once) Do(ctx context.Context, caller, key string, request []byte, act func(ctx context.Context) (Answer, error)) (a Answer, replayed bool, err error) {
	part := "K#" + o.Attempt(caller, key)
	at := store.Key{Part: part, Sort: "answer"}
	sum := hex.EncodeToString(o.MAC("attempt-request", request)[:16])
	done, _, err := o.find(ctx, at, sum)
	if done != nil || err != nil {
		return deref(done), done != nil, err
	}
	lease, err := Acquire(ctx, o.DB, store.Key{Part: part, Sort: "lease"}, store.NewVersion(), leaseTTL, o.Now)
	var busy *BusyError
	if errors.Is(err, coffer.ErrConflict) && !errors.As(err, &busy) {
		err = &BusyError{Until: o.Now().Add(leaseTTL)} // somebody was quicker by a moment
	}
	if err != nil {
		return Answer{}, false, fmt.Errorf("attempt: %w", err)
	}
	defer lease.Release(ctx)
	done, version, err := o.find(ctx, at, sum) // again, now that nobody else changes it
	if done != nil || err != nil {
		return deref(done), done != nil, err
	}
	op := o.put(at, attempt{Request: sum}, version)
	if err := o.DB.Apply(ctx, op, lease.Held()); err != nil {
		return Answer{}, false, fmt.Errorf("attempt: %w", err)
	}
	version = op.Item.Version
	stop := o.keep(ctx, lease)
	a, err = act(ctx)
	stop()
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err != nil {
		// Whether this succeeds or not: without an answer the record stops nobody.
		_ = o.DB.Apply(settle, store.Op{Verb: store.Delete, Expect: version, Item: store.Item{Key: at}}, lease.Held())
		return Answer{}, false, err
	}
	if len(a.Body) > MaxAnswer {
		return a, false, nil // cannot be kept; a repetition acts again, which it may
	}
	if err := o.DB.Apply(settle, o.put(at, attempt{sum, &a}, version), lease.Held()); err != nil {
		return Answer{}, false, fmt.Errorf("attempt: %w: %w", coffer.ErrUnavailable, err)
	}
	return a, false, nil
}

func deref(a *Answer) Answer {
	if a == nil {
		return Answer{}
	}
	return *a
}

func (o *Once) put(at store.Key, a attempt, expect string) store.Op {
	op := putIf(at, a, expect)
	op.Item.Expires = o.Now().Add(KeepAnswers).Truncate(time.Second)
	return op
}

// find returns the answer of an attempt, if there is one, and the version of its record.
func (o *Once) find(ctx context.Context, at store.Key, sum string) (*Answer, string, error) {
	it, err := o.DB.Get(ctx, at)
	if errors.Is(err, coffer.ErrNotFound) {
		return nil, store.Absent, nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("attempt: %w", err)
	}
	if !o.Now().Before(it.Expires) {
		return nil, it.Version, nil
	}
	var a attempt
	if err := json.Unmarshal(it.Value, &a); err != nil {
		return nil, "", fmt.Errorf("attempt: %w", coffer.ErrCorrupt)
	}
	if a.Request != sum {
		return nil, "", &ReusedError{}
	}
	return a.Answer, it.Version, nil
}

// keep renews the lease while act takes long. A lease that is lost is found when the answer is recorded.
func (o *Once) keep(ctx context.Context, l *Lease) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(leaseTTL / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_ = l.Renew(context.WithoutCancel(ctx))
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// Prune removes what expired, and returns how many attempts. Stores that expire items by themselves have nothing left for it.
func (o *Once) Prune(ctx context.Context) (int, error) {
	n := 0
	for it, err := range o.DB.Scan(ctx, 0, 1) {
		if err != nil {
			return n, fmt.Errorf("attempts: %w", err)
		}
		if len(it.Key.Part) < 2 || it.Key.Part[:2] != "K#" || it.Key.Sort != "answer" || o.Now().Before(it.Expires) {
			continue
		}
		err := o.DB.Apply(ctx,
			store.Op{Verb: store.Delete, Expect: it.Version, Item: store.Item{Key: it.Key}},
			store.Op{Verb: store.Delete, Expect: store.Any, Item: store.Item{Key: store.Key{Part: it.Key.Part, Sort: "lease"}}})
		if errors.Is(err, coffer.ErrConflict) {
			continue // used again
		}
		if err != nil {
			return n, fmt.Errorf("attempts: %w", err)
		}
		n++
	}
	return n, nil
}
