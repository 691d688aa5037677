package main

import (
	"coffer/api"
)

type checkCmd struct {
	Quick  bool `help:"Do not read objects and kept originals."`
	Repair bool `help:"Remove what crashes left behind."`
}

func (c *checkCmd) Run(e *env) error {
	cl, err := e.client()
	if err != nil {
		return err
	}
	ended := e.out.wait("check")
	r, err := cl.Check(e.ctx, api.CheckBody{Quick: c.Quick, Repair: c.Repair})
	ended()
	if err != nil {
		return err
	}
	if e.JSON {
		if err := e.out.element(r); err != nil {
			return err
		}
	} else {
		e.out.say("Checked %s with %s, %s with %s opened, %s, %s of the log.", plural(r.Findings, "finding"), plural(r.Values, "sealed value"),
			plural(r.Plans, "plan"), plural(r.Originals, "kept original"), plural(r.Objects, "object"), plural(int(r.Entries), "entry"))
		for _, v := range r.Violations {
			e.out.say("VIOLATED %s", safe(v.Invariant+": "+v.On+": "+v.What))
		}
		for _, l := range r.Litter {
			e.out.say("litter: %s", safe(l))
		}
		switch {
		case len(r.Violations) > 0:
			e.out.say("%s.", plural(len(r.Violations), "violation"))
		case len(r.Litter) > 0 && !c.Repair:
			e.out.say("Every invariant holds. Remove the litter with: coffer check --repair")
		default:
			e.out.say("Every invariant holds.")
		}
		if r.Repaired > 0 {
			e.out.say("%s removed.", plural(r.Repaired, "thing"))
		}
	}
	if len(r.Violations) > 0 {
		return &quietError{}
	}
	return nil
}
