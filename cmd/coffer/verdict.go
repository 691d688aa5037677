package main

import (
	"strconv"
	"strings"

	"coffer/api"
	"coffer/triage"
)

// withdrawn is what the command calls no verdict.
const withdrawn triage.Verdict = "none"

type verdictCmd struct {
	Finding string         `arg:"" help:"Finding id, or id/N for one occurrence."`
	Verdict triage.Verdict `arg:"" enum:"true,false-positive,intended,none" help:"true, false-positive or intended; none takes the verdict on a finding back."`
	Note    string         `help:"Why. Asked for with every verdict but none." placeholder:"TEXT"`
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
	back := c.Verdict == withdrawn
	switch {
	case back && n > 0:
		return usage("the verdict on one occurrence is replaced by another, not taken back")
	case back && c.Note != "":
		return usage("a verdict is taken back without a note; its note goes with it")
	case !back && c.Note == "":
		return usage("give --note and say why")
	}
	cl, err := e.client()
	if err != nil {
		return err
	}
	var f api.Finding
	if back {
		f, err = cl.WithdrawVerdict(e.ctx, id)
	} else {
		f, err = cl.Judge(e.ctx, id, "", api.VerdictBody{N: n, Verdict: string(c.Verdict), Note: c.Note})
	}
	if err != nil {
		return e.named("finding", id, err)
	}
	if e.JSON {
		return e.out.element(f)
	}
	if back {
		e.out.say("%s has no verdict any more; the finding is %s.", id, f.Status)
		return nil
	}
	e.out.say("%s is %s; the finding is %s.", c.Finding, c.Verdict, f.Status)
	if c.Verdict == triage.Intended && n == 0 && triage.Status(f.Status).Active() {
		e.out.say("It is about card data: close it with `coffer finding close`, which asks for what PCI DSS 12.10.7 wants recorded.")
	}
	return nil
}
