package app

import (
	"context"
	"fmt"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/envelope/keyfile"
)

// WrappingKey is a key of the keyring with what depends on it.
type WrappingKey struct {
	keyfile.Key
	Wraps int `json:"wraps"` // data keys that are wrapped by it
}

// keyring returns the keyring; an error wrapping coffer.ErrUnsupported when the keys are kept by somebody who rotates them himself.
func (a *App) keyring() (*keyfile.Ring, error) {
	r, ok := a.Keys.(*keyfile.Ring)
	if !ok {
		return nil, fmt.Errorf("the wrapping keys are not in a key file: %w", coffer.ErrUnsupported)
	}
	return r, nil
}

// WrappingKeys lists the keys of the keyring, the oldest first.
func (a *App) WrappingKeys(ctx context.Context, ask access.Ask) ([]WrappingKey, error) {
	wraps, err := a.Vault.Wrapping(ctx, ask)
	if err != nil {
		return nil, err
	}
	r, err := a.keyring()
	if err != nil {
		return nil, err
	}
	var out []WrappingKey
	for _, k := range r.Keys() {
		out = append(out, WrappingKey{k, wraps[k.ID]})
	}
	return out, nil
}

// AddKey adds a wrapping key to the keyring and makes it the current one. Data keys of before follow by [vault.Vault.Rewrap].
func (a *App) AddKey(ctx context.Context, ask access.Ask) (id string, err error) {
	err = a.keyAct(ctx, ask, "add", func() (string, error) {
		r, err := keyfile.Rotate(a.keyPath, a.pass)
		if err != nil {
			return "", err
		}
		for _, k := range r.Keys() {
			if k.Current {
				id = k.ID
			}
		}
		return id, nil
	})
	return id, err
}

// CurrentKey returns the id of the key under which data keys are wrapped now.
func (a *App) CurrentKey() (string, error) {
	r, err := a.keyring()
	if err != nil {
		return "", err
	}
	for _, k := range r.Keys() {
		if k.Current {
			return k.ID, nil
		}
	}
	return "", fmt.Errorf("no current key: %w", coffer.ErrCorrupt)
}

// RetireKeys removes those wrapping keys for good by which nothing is wrapped and which were superseded at least age ago, and
// returns their ids. Work that took a data key before a rotation stores its header within that time, or it would lose what it
// sealed: a day is a good age.
func (a *App) RetireKeys(ctx context.Context, ask access.Ask, age time.Duration) ([]string, error) {
	var out []string
	keys, err := a.WrappingKeys(ctx, ask)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.Current || k.Wraps > 0 || a.Now().Sub(k.Superseded) < age {
			continue
		}
		err := a.keyAct(ctx, ask, "retire", func() (string, error) {
			_, err := keyfile.Retire(a.keyPath, a.pass, k.ID)
			return k.ID, err
		})
		if err != nil {
			return out, err
		}
		out = append(out, k.ID)
	}
	return out, nil
}

// keyAct changes the keyring between an intent and a result in the log.
func (a *App) keyAct(ctx context.Context, ask access.Ask, step string, act func() (id string, err error)) error {
	permit, err := a.Guard.Check(ctx, ask.Caller, access.KeyRotate, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return err
	}
	if _, err := a.keyring(); err != nil {
		return err
	}
	intent := permit.Entry(audit.Intent)
	intent.Detail = map[string]string{"step": step}
	ref, err := a.Log.Append(ctx, intent)
	if err != nil {
		return err
	}
	id, err := act()
	e := permit.Entry(audit.Done)
	if err != nil {
		e = permit.Entry(audit.Failed)
	}
	e.Intent = ref
	e.Detail = map[string]string{"step": step, "key": id}
	if _, lerr := a.Log.Append(ctx, e); err == nil {
		err = lerr
	}
	return err
}
