package identity

import (
	"context"
	"errors"
	"time"

	"coffer"
	"coffer/store"
)

// Limits of attempts. After the free ones each failure doubles the wait: 1 s, 2 s, 4 s ... 15 min. A day without one ends it. An
// address has more, because many people can come from one. A passkey needs no guessing and has no limit by account, so that nobody
// can keep somebody out by failing in their name.
const (
	freeByName    = 3
	freeByAddress = 20
	longestWait   = 15 * time.Minute
	forgetAfter   = 24 * time.Hour
)

// attempts is how often a name or an address failed lately.
type attempts struct {
	Failures int       `json:"failures"`
	Last     time.Time `json:"last"`
	Until    time.Time `json:"until,omitzero"` // no attempt before
}

func (id *Identity) attemptsKey(kind, of string) store.Key {
	return store.Key{Part: "IA#" + id.hash("attempts/"+kind, of), Sort: "attempts"}
}

func (id *Identity) byAddress(m Meta) (store.Key, bool) {
	a := m.Network.Unmap().WithZone("")
	if !a.IsValid() {
		return store.Key{}, false
	}
	if a.Is6() {
		// Whoever has one address of IPv6 has 2^64.
		p, _ := a.Prefix(64)
		a = p.Masked().Addr()
	}
	return id.attemptsKey("address", a.String()), true
}

// charge counts an attempt as failed before it is judged, so that many at once are counted too. It refuses with [TooMany] when it comes
// too early; that attempt is neither judged nor counted.
func (id *Identity) charge(ctx context.Context, k store.Key, free int) error {
	for range 16 {
		now := id.Now().UTC()
		a, version, err := id.attempts(ctx, k, now)
		if err != nil {
			return err
		}
		if now.Before(a.Until) {
			return &RefusedError{Cause: TooMany, RetryAfter: a.Until.Sub(now).Truncate(time.Second) + time.Second}
		}
		a.Failures++
		a.Last, a.Until = now, time.Time{}
		if d := wait(a.Failures - free); d > 0 {
			a.Until = now.Add(d)
		}
		err = id.DB.Apply(ctx, put(k, a, version, now.Add(forgetAfter)))
		if err == nil || !errors.Is(err, coffer.ErrConflict) {
			return err
		}
	}
	return &RefusedError{Cause: TooMany, RetryAfter: time.Second}
}

// refund takes back one attempt that was no failure.
func (id *Identity) refund(ctx context.Context, k store.Key, free int) {
	for range 16 {
		a, version, err := id.attempts(ctx, k, id.Now().UTC())
		if err != nil || a.Failures == 0 {
			return
		}
		a.Failures--
		a.Until = a.Last.Add(wait(a.Failures - free))
		if a.Failures <= free {
			a.Until = time.Time{}
		}
		if err := id.DB.Apply(ctx, put(k, a, version, a.Last.Add(forgetAfter))); !errors.Is(err, coffer.ErrConflict) {
			return // when it cannot be written somebody waits a little longer, and no more
		}
	}
}

func (id *Identity) attempts(ctx context.Context, k store.Key, now time.Time) (a attempts, version string, err error) {
	version, err = id.get(ctx, k, &a)
	if errors.Is(err, coffer.ErrNotFound) {
		return attempts{}, store.Absent, nil
	}
	if err == nil && now.Sub(a.Last) > forgetAfter {
		a = attempts{}
	}
	return a, version, err
}

func wait(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	return min(time.Second<<min(n-1, 20), longestWait)
}

// attempt counts an attempt by address, and by name where there is one. done ends it: what was counted is taken back when it succeeded.
func (id *Identity) attempt(ctx context.Context, name string, m Meta) (done func(ok bool), err error) {
	address, known := id.byAddress(m)
	if known {
		if err := id.charge(ctx, address, freeByAddress); err != nil {
			return nil, err
		}
	}
	account := id.attemptsKey("name", name)
	if name != "" {
		if err := id.charge(ctx, account, freeByName); err != nil {
			return nil, err
		}
	}
	return func(ok bool) {
		if !ok {
			return
		}
		ctx := context.WithoutCancel(ctx)
		if known {
			id.refund(ctx, address, freeByAddress)
		}
		if name != "" {
			_ = id.DB.Apply(ctx, del(account)) // as in refund
		}
	}, nil
}
