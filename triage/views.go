package triage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"coffer"
	"coffer/access"
	"coffer/audit"
	"coffer/store"
)

// MaxViews is how many views a person can keep, and how many can be shared.
const MaxViews = 100

// View is a filter and order under a name.
type View struct {
	Name   string   `json:"name"`
	Filter []string `json:"filter"` // pairs, as ParseFilter reads them; relative times stay relative
	Order  Order    `json:"order,omitempty"`
	Shared bool     `json:"shared,omitempty"` // everybody sees it; only who made it changes it
	By     string   `json:"by"`               // pseudonymous id of who made it
	Match  string   `json:"-"`                // names the state that was read
}

func viewKey(v View, caller string) store.Key {
	if v.Shared {
		return store.Key{Part: "W#shared", Sort: v.Name}
	}
	return store.Key{Part: "W#" + caller, Sort: v.Name}
}

// Views returns the caller's views and the shared ones, each in order of name.
func (d *Desk) Views(ctx context.Context, ask access.Ask) ([]View, error) {
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return nil, err
	}
	var out []View
	for _, shared := range []bool{false, true} {
		for it, err := range d.Records.DB.Query(ctx, viewKey(View{Shared: shared}, ask.Caller.ID).Part, store.Range{}) {
			if err != nil {
				return nil, fmt.Errorf("saved views: %w", err)
			}
			v := View{Match: it.Version}
			if json.Unmarshal(it.Value, &v) != nil {
				return nil, fmt.Errorf("saved view: %w", coffer.ErrCorrupt)
			}
			out = append(out, v)
		}
	}
	return out, d.Guard.Log.Later(ctx, permit.Entry(audit.Done))
}

// SaveView keeps a view, or replaces the caller's own of that name. A Match is the state that is replaced; a shared view of somebody
// else's gives coffer.ErrDenied, a Match that is not the present state coffer.ErrConflict.
func (d *Desk) SaveView(ctx context.Context, ask access.Ask, v View) error {
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return err
	}
	v.Name = strings.TrimSpace(v.Name)
	if v.Name == "" || !utf8.ValidString(v.Name) || utf8.RuneCountInString(v.Name) > 80 || strings.ContainsFunc(v.Name, unicode.IsControl) {
		return fmt.Errorf("name of a view: 1 to 80 characters: %w", coffer.ErrInvalid)
	}
	f, err := ParseFilter(v.Filter...)
	if err != nil {
		return err
	}
	if v.Filter = f.Pairs(); d.Scrub(v.Name) != v.Name || d.Scrub(f.words()) != f.words() {
		return fmt.Errorf("a view with what looks like a sensitive value is not kept: %w", coffer.ErrInvalid)
	}
	if v.Order, err = ParseOrder(string(v.Order)); err != nil {
		return err
	}
	key := viewKey(v, ask.Caller.ID)
	expect, err := d.viewVersion(ctx, ask, key)
	if err != nil && !errors.Is(err, coffer.ErrNotFound) {
		return err
	}
	if v.Match != "" && v.Match != expect {
		return fmt.Errorf("view: it was changed since it was read: %w", coffer.ErrConflict)
	}
	if expect == store.Absent {
		n := 0
		for _, err := range d.Records.DB.Query(ctx, key.Part, store.Range{}) {
			if err != nil {
				return fmt.Errorf("saved views: %w", err)
			}
			if n++; n == MaxViews {
				return fmt.Errorf("there are %d views already: %w", MaxViews, coffer.ErrLimit)
			}
		}
	}
	v.By = ask.Caller.ID
	return d.writeView(ctx, permit, "view-saved", store.Op{Verb: store.Put, Expect: expect, Item: store.Item{Key: key, Value: encode(v), Version: store.NewVersion()}})
}

// DeleteView removes a view of the caller's own.
func (d *Desk) DeleteView(ctx context.Context, ask access.Ask, name string, shared bool) error {
	permit, err := d.Guard.Check(ctx, ask.Caller, access.FindingList, access.Resource{Kind: access.System}, ask.Context)
	if err != nil {
		return err
	}
	key := viewKey(View{Name: name, Shared: shared}, ask.Caller.ID)
	if name == "" {
		return fmt.Errorf("view: %w", coffer.ErrNotFound)
	}
	expect, err := d.viewVersion(ctx, ask, key)
	if err != nil {
		return err
	}
	return d.writeView(ctx, permit, "view-deleted", store.Op{Verb: store.Delete, Expect: expect, Item: store.Item{Key: key}})
}

// viewVersion returns the version of a stored view that the caller may change.
func (d *Desk) viewVersion(ctx context.Context, ask access.Ask, key store.Key) (string, error) {
	it, err := d.Records.DB.Get(ctx, key)
	if err != nil {
		return store.Absent, fmt.Errorf("view: %w", err)
	}
	var v View
	if json.Unmarshal(it.Value, &v) != nil {
		return "", fmt.Errorf("saved view: %w", coffer.ErrCorrupt)
	}
	if v.By != ask.Caller.ID {
		return "", fmt.Errorf("the view is somebody else's; save yours under another name: %w", coffer.ErrDenied)
	}
	return it.Version, nil
}

func (d *Desk) writeView(ctx context.Context, permit *audit.Permit, what string, op store.Op) error {
	entry := permit.Entry(audit.Done)
	entry.Detail = map[string]string{"change": what}
	if _, err := d.Guard.Log.Apply(ctx, entry, op); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	return nil
}

// unavailable reports whether an error is about the installation and not about what was asked.
func unavailable(err error) bool {
	return err != nil && !coffer.Permanent(err) && !errors.Is(err, coffer.ErrConflict)
}
