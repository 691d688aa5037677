package notify

import (
	"testing"

	"coffer/remedy"
	"coffer/triage"
)

// TestProof takes each part of the proof away from a fix that has all of them: without any one of them there is none.
func TestProof(t *testing.T) {
	for _, wanted := range []string{"", "all", "current"} {
		h := &hub{target: Target{Kind: SecurityHub, Clean: wanted}}
		with := func(change func(p *remedy.Plan, rec *triage.Record)) bool {
			p := &remedy.Plan{ID: "plan-1", State: remedy.Applied, Verified: true, Clean: "all"}
			rec := &triage.Record{Status: triage.Fixed, Plan: "plan-1"}
			change(p, rec)
			return h.proved(p, rec)
		}
		for name, change := range map[string]func(p *remedy.Plan, rec *triage.Record){
			"everything is there": func(*remedy.Plan, *triage.Record) {},
			"purged":              func(p *remedy.Plan, _ *triage.Record) { p.State = remedy.Purged },
		} {
			if !with(change) {
				t.Errorf("clean %q, %s: it is no proof", wanted, name)
			}
		}
		if with(func(p *remedy.Plan, _ *triage.Record) { p.Clean = "current" }) != (wanted == "current") {
			t.Errorf("clean %q: the current version alone is clean", wanted)
		}
		without := map[string]func(p *remedy.Plan, rec *triage.Record){
			"not verified":         func(p *remedy.Plan, _ *triage.Record) { p.Verified = false },
			"nothing is clean":     func(p *remedy.Plan, _ *triage.Record) { p.Clean = "" },
			"another word":         func(p *remedy.Plan, _ *triage.Record) { p.Clean = "mostly" },
			"open":                 func(_ *remedy.Plan, rec *triage.Record) { rec.Status = triage.Open },
			"closed by a verdict":  func(_ *remedy.Plan, rec *triage.Record) { rec.Status = triage.Closed },
			"fixed by another fix": func(_ *remedy.Plan, rec *triage.Record) { rec.Plan = "plan-2" },
		}
		for _, state := range []remedy.State{remedy.Planned, remedy.Approved, remedy.Applying, remedy.Undone, remedy.Conflict, remedy.Refused, remedy.Denied, remedy.Withdrawn, ""} {
			without["state "+string(state)] = func(p *remedy.Plan, _ *triage.Record) { p.State = state }
		}
		for name, change := range without {
			if with(change) {
				t.Errorf("clean %q, %s: it is taken for a proof", wanted, name)
			}
		}
	}
}
