package envelope

import (
	"context"
	"time"
)

// Keyring is a Keys that can tell its wrapping keys and renew them. What was sealed before stays readable through every method;
// [Rewrap] then moves single headers to the current wrapping keys. All methods may be called concurrently.
//
// List returns the wrapping keys that are configured, the oldest first, and behind them those of the ids named, as they stand in
// headers, that are not: their State says whether they can be used. Current reports whether a data key with these wrapped forms
// (blobs do not matter) is wrapped as Wrap would wrap it now, so that wrapping it anew would gain nothing; it asks nobody.
//
// Rotate renews the current wrapping keys, as their keeper does that, and returns the ids of the keys that are current and fresh. A
// keeper may do that behind the same id; then every header stays Current. It is no idempotent act: after a lost answer
// (coffer.ErrUnavailable) List tells what there is. A keeper that has renewed them as often as it may gives coffer.ErrLimit.
type Keyring interface {
	Keys
	List(ctx context.Context, named ...string) ([]WrappingKey, error)
	Current(wrapped []Wrapped) bool
	Rotate(ctx context.Context) ([]string, error)
}

// WrappingKey is what may be known of a wrapping key.
type WrappingKey struct {
	ID string `json:"id"` // as in Wrapped.KeyID
	// Recipient is for whom the key wraps; "" for all.
	Recipient string `json:"recipient,omitempty"`
	// Created is zero when the keeper does not say.
	Created time.Time `json:"created,omitzero"`
	Current bool      `json:"current"`
	// Superseded is since when the key is not current; zero for a current one, and where that is not known.
	Superseded time.Time `json:"superseded,omitzero"`
	// State says why the key cannot be used now: "disabled", "not configured"; "" when nothing is known against it.
	State string `json:"state,omitempty"`
}

// NotConfigured is the State of a wrapping key that stands in headers and is not among those that the keyring may use.
const NotConfigured = "not configured"
