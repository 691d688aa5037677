package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

type keyCmd struct {
	List   keyListCmd   `cmd:"" help:"List the wrapping keys and how many data keys each wraps."`
	Rotate keyRotateCmd `cmd:"" help:"Add a wrapping key and wrap all data keys anew by it."`
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
		note := ""
		switch {
		case k.Current:
			note = "current"
		case k.Wraps == 0:
			note = "unused"
		}
		t.row(k.ID, k.Created.Local().Format(time.DateTime), strconv.Itoa(k.Wraps), note)
	}
	if !e.JSON {
		t.print()
	}
	return nil
}

type keyRotateCmd struct {
	resuming
	Retire bool          `help:"Add no key: remove the superseded ones that wrap nothing any more. This cannot be undone."`
	Age    time.Duration `help:"With --retire, only keys that were superseded at least this long ago." default:"24h" placeholder:"DURATION"`
	Yes    bool          `short:"y" help:"Do not ask."`
}

// Help is the long help of the command.
func (keyRotateCmd) Help() string {
	return "Sealed values stay as they are and can be read all the while; only the data keys are wrapped anew. Old wrapping keys stay in " +
		"the key file, so that backups of the key table still open, until --retire removes them."
}

// rotateShards is how many pieces the key table is rotated in.
const rotateShards = 64

func (c *keyRotateCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	if c.Retire {
		return c.retire(e)
	}
	j, err := e.begin(c.Resume, "key.rotate", func() (map[string]string, []string, error) {
		id, err := a.AddKey(e.ctx, e.ask())
		if err != nil {
			return nil, nil, err
		}
		var shards []string
		for i := range rotateShards {
			shards = append(shards, fmt.Sprintf("%d/%d", i, rotateShards))
		}
		return map[string]string{"key": id}, shards, nil
	})
	if err != nil {
		return err
	}
	current, err := a.CurrentKey()
	if err != nil {
		return err
	}
	wrapped := 0
	err = e.work(j, "wrap data keys", "coffer key rotate", func(ctx context.Context, ref string) (string, error) {
		var shard, of int
		if _, err := fmt.Sscanf(ref, "%d/%d", &shard, &of); err != nil {
			return "", err
		}
		n, err := a.Vault.Rewrap(ctx, e.ask(), current, shard, of)
		wrapped += n
		return plural(n, "data key"), err
	})
	if err != nil {
		return err
	}
	if e.JSON {
		return e.out.element(map[string]any{"key": current, "wrapped": wrapped, "job": j.ID})
	}
	e.out.say("%s is the current key; %s wrapped anew.", current, plural(wrapped, "data key"))
	e.out.say("The old key stays until: coffer key rotate --retire")
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
