package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/envelope"
	"coffer/store"
)

// isHeader tells the headers in the key table, of values, of the home's key and of the log's, from what else stands there.
func isHeader(k store.Key) bool {
	return k.Sort == "header" || k.Part == "HOME" && (k.Sort == "key" || k.Sort == "log")
}

// Wrapping returns how many data keys are wrapped by each wrapping key, by its id.
func (v *Vault) Wrapping(ctx context.Context, ask access.Ask) (map[string]int, error) {
	permit, err := v.check(ctx, ask, access.KeyRotate, access.Resource{Kind: access.System})
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for it, err := range v.Headers.Scan(ctx, 0, 1) {
		if err != nil {
			return nil, fmt.Errorf("key table: %w", err)
		}
		if !isHeader(it.Key) {
			continue
		}
		ids, err := wrappedBy(it.Value)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			out[id]++
		}
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": "list"}
	_, err = v.Guard.Log.Append(ctx, e)
	return out, err
}

// wrappedBy returns the ids of the wrapping keys of a header, each once.
func wrappedBy(header []byte) ([]string, error) {
	recipients, err := envelope.Recipients(header)
	if err != nil {
		return nil, fmt.Errorf("key table: %w", err)
	}
	var ids []string
	for _, w := range recipients {
		if !slices.Contains(ids, w.KeyID) {
			ids = append(ids, w.KeyID)
		}
	}
	return ids, nil
}

// Rewrap has the data keys in one of the shards of the key table wrapped anew unless they are wrapped by the current wrapping keys
// alone, and returns how many were. Values can be read all the while. A header that is destroyed meanwhile stays destroyed. It
// can be repeated after any failure: what was done is found done. Each data key costs one unwrapping, one wrapping and, before the
// old form is replaced, one unwrapping of each new form. Keys that are no [envelope.Keyring] give coffer.ErrUnsupported.
func (v *Vault) Rewrap(ctx context.Context, ask access.Ask, shard, of int) (int, error) {
	permit, err := v.check(ctx, ask, access.KeyRotate, access.Resource{Kind: access.System})
	if err != nil {
		return 0, err
	}
	keys, ok := v.Keys.(envelope.Keyring)
	if !ok {
		return 0, fmt.Errorf("the wrapping keys cannot be rotated: %w", coffer.ErrUnsupported)
	}
	var under []string // ids of the keys by which data keys are wrapped now
	n := 0
	for it, err := range v.Headers.Scan(ctx, shard, of) {
		if err != nil {
			return n, fmt.Errorf("key table: %w", err)
		}
		if !isHeader(it.Key) {
			continue
		}
		ids, err := v.rewrap(ctx, keys, it)
		if err != nil {
			return n, err
		}
		if len(ids) > 0 {
			n, under = n+1, ids
		}
	}
	if n == 0 {
		return 0, nil
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": "rewrap", "key": audit.List(under), "keys": strconv.Itoa(n)}
	if _, err := v.Guard.Log.Append(ctx, e); err != nil {
		return n, err
	}
	return n, store.Scrub(ctx, v.Headers) // the old wrapped forms are in no file any more
}

// rewrap wraps the data key of one header anew, and returns the ids of the keys that wrap it then; none when nothing was to do.
func (v *Vault) rewrap(ctx context.Context, keys envelope.Keyring, it store.Item) ([]string, error) {
	for {
		recipients, err := envelope.Recipients(it.Value)
		if err != nil {
			return nil, fmt.Errorf("key table: %w", err)
		}
		if keys.Current(recipients) {
			return nil, nil
		}
		next, err := envelope.Rewrap(ctx, keys, it.Value)
		if err != nil {
			return nil, fmt.Errorf("wrap a data key anew: %w", err)
		}
		err = v.Headers.Apply(ctx, store.Op{Verb: store.Put, Expect: it.Version, Item: store.Item{
			Key: it.Key, Value: next, Version: store.NewVersion(), Expires: it.Expires}})
		if err == nil {
			return wrappedBy(next)
		}
		if !errors.Is(err, coffer.ErrConflict) {
			return nil, fmt.Errorf("key table: %w", err)
		}
		it, err = v.Headers.Get(ctx, it.Key)
		if errors.Is(err, coffer.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("key table: %w", err)
		}
	}
}
