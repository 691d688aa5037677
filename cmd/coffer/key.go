package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"coffer/api"
	"coffer/client"
)

type keyCmd struct {
	List   keyListCmd   `cmd:"" help:"List the wrapping keys and how many data keys each wraps."`
	Rotate keyRotateCmd `cmd:"" help:"Renew the wrapping key and wrap all data keys anew."`
}

type keyListCmd struct{}

func (keyListCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	keys, err := cl.Keys(e.ctx)
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

// keyRotation is the kind of job that wraps all data keys anew.
const keyRotation = "key.rotate"

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
	if c.OnDemand && (c.Retire || c.Resume != "") {
		return usage("--on-demand stands alone")
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	switch {
	case c.OnDemand:
		if err := c.onDemand(e); err != nil {
			return err
		}
	case c.Retire:
		return c.retire(e, cl)
	}
	wrapped := 0
	each := func(i api.Item) error {
		n, _, _ := strings.Cut(i.Result, " ")
		k, err := strconv.Atoi(n)
		wrapped += k
		return err
	}
	var j api.Job
	if c.Resume != "" {
		j, err = e.resume(cl, c.Resume, keyRotation, "wrap data keys", "coffer key rotate", each)
	} else if j, err = cl.RotateKeys(e.ctx); err == nil {
		j, err = e.follow(cl, j, nil, "wrap data keys", "coffer key rotate", each)
	}
	if quiet := (*quietError)(nil); errors.As(err, &quiet) {
		return fmt.Errorf("not all data keys were wrapped anew; it can be done again: %w", kept(j.Error))
	}
	if err != nil {
		return err
	}
	keys, err := cl.Keys(e.ctx)
	if err != nil {
		return err
	}
	current := ""
	for _, k := range keys {
		if k.Current {
			current = cmp.Or(current, k.ID)
		}
	}
	if e.JSON {
		return e.out.element(map[string]any{"key": current, "wrapped": wrapped, "job": j.Job})
	}
	e.out.say("%s is the current key; %s wrapped anew.", current, plural(wrapped, "data key"))
	if slices.ContainsFunc(keys, func(k api.Key) bool { return !k.Superseded.IsZero() }) {
		e.out.say("The old key stays until: coffer key rotate --retire")
	}
	return nil
}

// onDemand has the key service make new material.
func (c *keyRotateCmd) onDemand(e *env) error {
	if e.Server != "" {
		return usage("--on-demand is for the machine of the installation, without --server")
	}
	if e.app.OwnKeys() {
		return usage("--on-demand is for keys of AWS KMS; a key file gets a new key by each rotation")
	}
	_, err := e.app.RotateKeys(e.ctx, e.ask())
	return err
}

func (c *keyRotateCmd) retire(e *env, cl *client.Client) error {
	if c.Age < 0 {
		return usage("--age is not negative")
	}
	if ok, err := e.confirm(c.Yes, "Remove superseded wrapping keys? Old backups of the key table cannot be opened without them."); err != nil || !ok {
		return err
	}
	seconds := int64(c.Age / time.Second)
	ids, err := cl.RetireKeys(e.ctx, api.RetireBody{AgeSeconds: &seconds})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if e.JSON {
			if err := e.out.element(map[string]string{"retired": id}); err != nil {
				return err
			}
			continue
		}
		e.out.say("%s is removed.", id)
	}
	if len(ids) == 0 {
		e.out.say("No wrapping key is unused and was superseded at least %s ago.", c.Age)
	}
	return nil
}
