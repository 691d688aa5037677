package vault

import (
	"context"
	"fmt"
	"slices"
	"time"

	"coffer"
	"coffer/access"
	"coffer/audit"
)

// Observation is what became of values that were shown.
type Observation string

// The observations.
const (
	Copied   Observation = "copied"   // to the clipboard, deliberately
	Extended Observation = "extended" // shown for another while
	Hidden   Observation = "hidden"   // by the person, by time, or because the person turned away
)

// Observe records what became of values of a finding that the caller was shown: an entry of [access.FindingRead], which whoever saw the
// values may do anyway. When it returns without an error the entry is durable; a value is copied only then. took is how long the values
// were on the screen; 0: not told. What a browser reports is its word alone: an entry proves that it was said.
func (v *Vault) Observe(ctx context.Context, ask access.Ask, finding string, what Observation, took time.Duration, ns ...int) error {
	if what != Copied && what != Extended && what != Hidden {
		return fmt.Errorf("what became of values: %w", coffer.ErrInvalid)
	}
	rec, err := v.Records.Get(ctx, finding)
	if err != nil {
		return v.hide(ctx, ask, access.FindingRead, finding, err)
	}
	permit, err := v.check(ctx, ask, access.FindingRead, rec.Resource())
	if err != nil {
		return err
	}
	e := permit.Entry(audit.Done)
	e.Object, e.Occurrences = rec.ObjectID, slices.Compact(slices.Sorted(slices.Values(ns)))
	e.Detail = map[string]string{"shown": string(what)}
	if took > 0 {
		e.Detail["seconds"] = fmt.Sprint(int(took.Round(time.Second) / time.Second))
	}
	_, err = v.Guard.Log.Append(ctx, e)
	return err
}
