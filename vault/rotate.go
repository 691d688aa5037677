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

// isHeader tells the headers in the key table from whatever else may come to stand there.
func isHeader(k store.Key) bool { return k.Sort == "header" || k.Part == "HOME" && k.Sort == "key" }

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

// Rewrap has the data keys in one of the shards of the key table wrapped anew unless they are wrapped by the current wrapping key
// alone, and returns how many were. Values can be read all the while. A header that is destroyed meanwhile stays destroyed. It
// can be repeated after any failure.
func (v *Vault) Rewrap(ctx context.Context, ask access.Ask, current string, shard, of int) (int, error) {
	permit, err := v.check(ctx, ask, access.KeyRotate, access.Resource{Kind: access.System})
	if err != nil {
		return 0, err
	}
	n := 0
	for it, err := range v.Headers.Scan(ctx, shard, of) {
		if err != nil {
			return n, fmt.Errorf("key table: %w", err)
		}
		if !isHeader(it.Key) {
			continue
		}
		done, err := v.rewrap(ctx, it, current)
		if err != nil {
			return n, err
		}
		if done {
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	e := permit.Entry(audit.Done)
	e.Detail = map[string]string{"step": "rewrap", "key": current, "keys": strconv.Itoa(n)}
	if _, err := v.Guard.Log.Append(ctx, e); err != nil {
		return n, err
	}
	return n, store.Scrub(ctx, v.Headers) // the old wrapped forms are in no file any more
}

func (v *Vault) rewrap(ctx context.Context, it store.Item, current string) (bool, error) {
	for {
		ids, err := wrappedBy(it.Value)
		if err != nil {
			return false, err
		}
		if len(ids) == 1 && ids[0] == current {
			return false, nil
		}
		next, err := envelope.Rewrap(ctx, v.Keys, it.Value)
		if err != nil {
			return false, fmt.Errorf("wrap a data key anew: %w", err)
		}
		err = v.Headers.Apply(ctx, store.Op{Verb: store.Put, Expect: it.Version, Item: store.Item{
			Key: it.Key, Value: next, Version: store.NewVersion(), Expires: it.Expires}})
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, coffer.ErrConflict) {
			return false, fmt.Errorf("key table: %w", err)
		}
		it, err = v.Headers.Get(ctx, it.Key)
		if errors.Is(err, coffer.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("key table: %w", err)
		}
	}
}
