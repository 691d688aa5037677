package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"coffer/app"
)

type keyCmd struct {
	List   keyListCmd   `cmd:"" help:"List the wrapping keys and how many data keys each wraps."`
	Rotate keyRotateCmd `cmd:"" help:"Renew the wrapping key and wrap all data keys anew."`
}

type keyListCmd struct{}

func (keyListCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	keys, err := a.WrappingKeys(e.ctx, e.ask())
	if err != nil {
		return err
	}
	t := e.out.table(0, "KEY", "CREATED", "WRAPS", "")
	for _, k := range keys {
		if e.JSON {
			if err := e.out.element(k); err != nil {
				return err
			}
			continue
		}
		var notes []string
		if k.Current {
			note := "current"
			if k.Recipient != "" {
				note += " for " + k.Recipient
			}
			notes = append(notes, note)
		} else if k.Wraps == 0 {
			notes = append(notes, "unused")
		}
		if k.State != "" {
			notes = append(notes, k.State)
		}
		created := "-"
		if !k.Created.IsZero() {
			created = k.Created.Local().Format(time.DateTime)
		}
		t.row(k.ID, created, strconv.Itoa(k.Wraps), strings.Join(notes, ", "))
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

type keyRotateCmd struct {
	resuming
	OnDemand bool          `help:"With kms: have AWS KMS make new material for the configured keys; it allows 25 in a key's life."`
	Retire   bool          `help:"Add no key: remove the superseded ones that wrap nothing any more. This cannot be undone."`
	Age      time.Duration `help:"With --retire, only keys that were superseded at least this long ago." default:"24h" placeholder:"DURATION"`
	Yes      bool          `short:"y" help:"Do not ask."`
}

// Help is the long help of the command.
func (keyRotateCmd) Help() string {
	return "Sealed values stay as they are and can be read all the while; only the data keys are wrapped anew. In a key file a new key is " +
		"made; the old ones stay, so that backups of the key table still open, until --retire removes them. Keys of AWS KMS come from the " +
		"configuration: name the new one there and the old one among those for reading, then all data keys are wrapped by the new one."
}

func (c *keyRotateCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	switch {
	case c.OnDemand && (c.Retire || c.Resume != ""):
		return usage("--on-demand stands alone")
	case c.OnDemand && a.OwnKeys():
		return usage("--on-demand is for keys of AWS KMS; a key file gets a new key by each rotation")
	case c.Retire:
		return c.retire(e)
	}
	j, err := e.begin(c.Resume, "key.rotate", func() (map[string]string, []string, error) {
		if !c.OnDemand && !a.OwnKeys() {
			return nil, app.RewrapItems(), nil
		}
		ids, err := a.RotateKeys(e.ctx, e.ask())
		if err != nil {
			return nil, nil, err
		}
		return map[string]string{"key": ids[0]}, app.RewrapItems(), nil
	})
	if err != nil {
		return err
	}
	wrapped := 0
	var failed error // of the first piece that failed for good: all fail alike
	err = e.work(j, "wrap data keys", "coffer key rotate", func(ctx context.Context, item string) (string, error) {
		n, err := a.Rewrap(ctx, e.ask(), item)
		wrapped += n
		if failed == nil && err != nil {
			failed = err
		}
		return plural(n, "data key"), err
	})
	if quiet := (*quietError)(nil); errors.As(err, &quiet) && failed != nil {
		return fmt.Errorf("not all data keys were wrapped anew; it can be done again: %w", failed)
	}
	if err != nil {
		return err
	}
	current, err := a.CurrentKeys(e.ctx)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(map[string]any{"key": current[0], "wrapped": wrapped, "job": j.ID})
	}
	e.out.say("%s is the current key; %s wrapped anew.", current[0], plural(wrapped, "data key"))
	if a.OwnKeys() {
		e.out.say("The old key stays until: coffer key rotate --retire")
	}
	return nil
}

func (c *keyRotateCmd) retire(e *env) error {
	if c.Age < 0 {
		return usage("--age is not negative")
	}
	if ok, err := e.confirm(c.Yes, "Remove superseded wrapping keys? Old backups of the key table cannot be opened without them."); err != nil || !ok {
		return err
	}
	ids, err := e.app.RetireKeys(e.ctx, e.ask(), c.Age)
	for _, id := range ids {
		if e.JSON {
			if err := e.out.element(map[string]string{"retired": id}); err != nil {
				return err
			}
			continue
		}
		e.out.say("%s is removed.", id)
	}
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		e.out.say("No wrapping key is unused and was superseded at least %s ago.", c.Age)
	}
	return nil
}
