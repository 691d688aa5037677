package main

import (
	"strconv"
	"strings"

	"coffer/api"
	"coffer/triage"
)

type verdictCmd struct {
	Finding string         `arg:"" help:"Finding id, or id/N for one occurrence."`
	Verdict triage.Verdict `arg:"" enum:"true,false-positive,intended" help:"true, false-positive or intended."`
	Note    string         `help:"Why." required:"" placeholder:"TEXT"`
}

func (c *verdictCmd) Run(e *env) error {
	id, n := c.Finding, 0
	if i := strings.LastIndexByte(id, '/'); i >= 0 {
		var err error
		if n, err = strconv.Atoi(id[i+1:]); err != nil || n < 1 {
			return usage("write ID or ID/N")
		}
		id = id[:i]
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	f, err := cl.Judge(e.ctx, id, "", api.VerdictBody{N: n, Verdict: string(c.Verdict), Note: c.Note})
	if err != nil {
		return e.named("finding", id, err)
	}
	if e.JSON {
		return e.out.element(f)
	}
	e.out.say("%s is %s; the finding is %s.", c.Finding, c.Verdict, f.Status)
	if c.Verdict == triage.Intended && n == 0 && triage.Status(f.Status).Active() {
		e.out.say("It is about card data: close it with `coffer finding close`, which asks for what PCI DSS 12.10.7 wants recorded.")
	}
	return nil
}
