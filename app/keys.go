package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/envelope"
	"coffer/envelope/keyfile"
)

// WrappingKey is a key of the keyring with what depends on it.
type WrappingKey struct {
	envelope.WrappingKey
	Wraps int `json:"wraps"` // data keys that are wrapped by it
}

// keyring returns the keyring; an error wrapping coffer.ErrUnsupported when what keeps the keys is none.
func (a *App) keyring() (envelope.Keyring, error) {
	r, ok := a.Keys.(envelope.Keyring)
	if !ok {
		return nil, fmt.Errorf("the wrapping keys cannot be listed or rotated: %w", coffer.ErrUnsupported)
	}
	return r, nil
}

// OwnKeys reports whether the wrapping keys are Coffer's own, in a key file: then a rotation makes a key, and a retired one is
// removed. Those of a key service are made, chosen and deleted by who administers it.
func (a *App) OwnKeys() bool {
	_, ok := a.Keys.(*keyfile.Ring)
	return ok
}

// WrappingKeys lists the wrapping keys, the oldest first, and behind them those that wrap something and are not configured.
func (a *App) WrappingKeys(ctx context.Context, ask access.Ask) ([]WrappingKey, error) {
	wraps, err := a.Vault.Wrapping(ctx, ask)
	if err != nil {
		return nil, err
	}
	r, err := a.keyring()
	if err != nil {
		return nil, err
	}
	keys, err := r.List(ctx, slices.Sorted(maps.Keys(wraps))...)
	if err != nil {
		return nil, err
	}
	var out []WrappingKey
	for _, k := range keys {
		out = append(out, WrappingKey{k, wraps[k.ID]})
	}
	return out, nil
}

// RotateKeys renews the current wrapping keys: a key file gets a new one, a key service makes new material behind the same id. It
// returns their ids. Data keys of before follow by [App.Rewrap].
func (a *App) RotateKeys(ctx context.Context, ask access.Ask) (ids []string, err error) {
	err = a.keyAct(ctx, ask, "rotate", func(r envelope.Keyring) (string, error) {
		ids, err = r.Rotate(ctx)
		return audit.List(ids), err
	})
	return ids, err
}

// CurrentKeys returns the ids of the keys under which data keys are wrapped now, that for reveal first.
func (a *App) CurrentKeys(ctx context.Context) ([]string, error) {
	r, err := a.keyring()
	if err != nil {
		return nil, err
	}
	keys, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, k := range keys {
		switch {
		case !k.Current:
		case k.Recipient == envelope.ForVerify:
			ids = append(ids, k.ID)
		default:
			ids = slices.Insert(ids, 0, k.ID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("no current key: %w", coffer.ErrCorrupt)
	}
	return ids, nil
}

// rewrapShards is how many pieces the key table is rewrapped in.
const rewrapShards = 64

// RewrapItems returns the items of a job that wraps all data keys anew; each is done by [App.Rewrap].
func RewrapItems() []string {
	var items []string
	for i := range rewrapShards {
		items = append(items, fmt.Sprintf("%d/%d", i, rewrapShards))
	}
	return items
}

// Rewrap does one item of a job: [vault.Vault.Rewrap] of a piece of the key table. It returns how many data keys were wrapped anew.
func (a *App) Rewrap(ctx context.Context, ask access.Ask, item string) (int, error) {
	var shard, of int
	if _, err := fmt.Sscanf(item, "%d/%d", &shard, &of); err != nil {
		return 0, fmt.Errorf("item of a key rotation: %w", coffer.ErrInvalid)
	}
	return a.Vault.Rewrap(ctx, ask, shard, of)
}

// RetireKeys removes those wrapping keys for good by which nothing is wrapped and which were superseded at least age ago, and
// returns their ids. Work that took a data key before a rotation stores its header within that time, or it would lose what it
// sealed: a day is a good age. The keys of a key service are not removed (coffer.ErrUnsupported).
func (a *App) RetireKeys(ctx context.Context, ask access.Ask, age time.Duration) ([]string, error) {
	var out []string
	ring, ok := a.Keys.(*keyfile.Ring)
	if !ok {
		return nil, fmt.Errorf("the wrapping keys are kept by a service: who administers it disables, and later deletes, those that "+
			"wrap nothing by coffer key list: %w", coffer.ErrUnsupported)
	}
	keys, err := a.WrappingKeys(ctx, ask)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.Current || k.State != "" || k.Wraps > 0 || a.Now().Sub(k.Superseded) < age {
			continue
		}
		err := a.keyAct(ctx, ask, "retire", func(envelope.Keyring) (string, error) { return k.ID, ring.Retire(ctx, k.ID) })
		if err != nil {
			return out, err
		}
		out = append(out, k.ID)
	}
	return out, nil
}

// keyAct changes the keyring between an intent and a result in the log.
func (a *App) keyAct(ctx context.Context, ask access.Ask, step string, act func(envelope.Keyring) (ids string, err error)) error {
	permit, err := a.Guard.Check(ctx, ask.Caller, access.KeyRotate, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return err
	}
	r, err := a.keyring()
	if err != nil {
		return err
	}
	intent := permit.Entry(audit.Intent)
	intent.Detail = map[string]string{"step": step}
	ref, err := a.Log.Append(ctx, intent)
	if err != nil {
		return err
	}
	ids, err := act(r)
	e := permit.Entry(audit.Done)
	if err != nil {
		e = permit.Entry(audit.Failed)
	}
	e.Intent = ref
	e.Detail = map[string]string{"step": step, "key": ids}
	if _, lerr := a.Log.Append(ctx, e); err == nil {
		err = lerr
	}
	return err
}
