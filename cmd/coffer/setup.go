package main

import (
	"coffer/app"
)

type setupCmd struct {
	DryRun bool `help:"Only look what is missing."`
}

// Help is the long help of the command.
func (setupCmd) Help() string {
	return "Makes the tables, the bucket of kept originals and the wrapping keys that --store, --originals and --keys (or config.yaml) name on AWS or " +
		"on servers that speak its protocols, and that are not there. What is there stays as it is. A home in a folder needs none of this: it is made " +
		"on first use. Exit code 1 if something is missing or failed."
}

func (c *setupCmd) Run(e *env) error {
	steps, err := app.Setup(e.ctx, app.Options{
		Home: e.Home, Objects: e.Objects, Originals: e.Originals, Keys: e.Keys, Store: e.Store, Log: e.Log,
	}, c.DryRun)
	if err != nil {
		return err
	}
	whole := true
	t := e.out.table(3, "STATUS", "WHAT", "NAME", "REASON")
	for _, s := range steps {
		whole = whole && s.Status != app.StepFailed && s.Status != app.StepMissing
		if e.JSON {
			if err := e.out.element(s); err != nil {
				return err
			}
			continue
		}
		t.row(s.Status, s.What, s.Name, s.Reason)
	}
	switch {
	case e.JSON:
	case len(steps) == 0:
		e.out.say("Everything is in a folder and is made on first use.")
	default:
		t.print()
	}
	if !whole {
		return &quietError{}
	}
	return nil
}
