package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"coffer/app"
	"coffer/internal/lambdaharness"
	"coffer/remedy"
)

// phase is a part of the way of a finding. Functions do it; who looks on does what comes before it.
type phase struct {
	name   string
	before func(s *site, id string) (plan string)
	run    func(s *site, id, plan string)
	after  func(s *site, id, plan string)
}

var phases = []phase{
	{
		"intake",
		func(s *site, id string) string { s.put(id); return "" },
		func(s *site, id, _ string) {
			s.send(app.Intake, string(s.events[id]))
			s.settle(app.Intake, func() bool { return true }) // what was not done comes again
		},
		func(s *site, id, _ string) { s.sealed(id); s.stands(id, cardList, "sensitive") },
	},
	{
		"plan",
		func(s *site, id string) string { s.taken(id); return "" },
		func(s *site, id, _ string) {
			made := s.job(app.Remedy, "POST", "/v1/plans", map[string]any{"findings": []string{id}, "action": "redact"})
			if len(made) != 1 {
				s.Fatalf("%d plans", len(made))
			}
			s.fixed(made[0], remedy.Planned)
		},
		func(s *site, id, _ string) { s.sealed(id); s.stands(id, cardList, "sensitive") },
	},
	{
		"apply",
		func(s *site, id string) string {
			s.taken(id)
			plan := s.planned(id)
			s.approved(plan)
			return plan
		},
		func(s *site, _, plan string) {
			s.job(app.Remedy, "POST", "/v1/plans/"+plan+"/apply", map[string]any{})
		},
		func(s *site, id, plan string) {
			s.fixed(plan, remedy.Applied)
			s.sealed(id)
			s.stands(id, redacted, "redacted")
			if p, err := s.app.Remedy.Get(s.Context(), plan); err != nil || !p.Verified || p.Clean != "all" {
				s.Fatalf("the fix is not verified, or not clean: %v", err)
			}
		},
	},
	{
		"certificate",
		func(s *site, id string) string {
			s.taken(id)
			plan := s.planned(id)
			s.applied(plan)
			s.invoke(app.Schedule, []byte(`{}`)) // what others left for the log is no part of it
			return plan
		},
		func(s *site, _, plan string) {
			for range 8 {
				if _, err := s.fn[app.Schedule].Invoke([]byte(`{}`)); err == nil {
					break
				}
				s.pass(visibility)
			}
			if cert := s.do("GET", "/v1/plans/"+plan+"/certificate", nil); cert["verified"] != true || cert["clean"] == "not clean" {
				s.Fatalf("certificate: verified %v, clean %v", cert["verified"], cert["clean"])
			}
		},
		func(s *site, id, _ string) { s.sealed(id); s.stands(id, redacted, "redacted") },
	},
	{
		"undo",
		func(s *site, id string) string {
			s.taken(id)
			plan := s.planned(id)
			s.applied(plan)
			return plan
		},
		func(s *site, _, plan string) { s.job(app.Remedy, "POST", "/v1/plans/"+plan+"/undo", nil) },
		func(s *site, id, plan string) {
			s.fixed(plan, remedy.Undone)
			s.sealed(id)
			s.stands(id, cardList, "sensitive")
		},
	},
}

// fixed demands that a plan is in a state.
func (s *site) fixed(plan string, want remedy.State) {
	s.Helper()
	p, err := s.app.Remedy.Get(s.Context(), plan)
	if err != nil || p.State != want {
		s.Fatalf("the plan is not %s: %v", want, err)
	}
}

// stands demands that an object has these bytes and is tagged so.
func (s *site) stands(id, body, state string) {
	s.Helper()
	if got := s.body(id); got != body {
		s.Fatalf("%s: the object is not what it should be, %d bytes", id, len(got))
	}
	if got := s.state(id); got != state {
		s.Fatalf("%s: the object's state is %q, not %q", id, got, state)
	}
}

// whole demands that an object is what it was or what the fix makes of it, and nothing between.
func (s *site) whole(id string) {
	s.Helper()
	if got := s.body(id); got != cardList && got != redacted {
		s.Fatalf("%s: the object is neither what it was nor fixed, %d bytes", id, len(got))
	}
}

// full says whether every fault is tried.
func full() bool { return os.Getenv("COFFER_TEST_FULL") != "" }

// perSite is how many findings go through one installation before it is checked as a whole.
const perSite = 100

// TestKilledAtEveryCall ends the process of a function at a call that it makes to any service, before the call arrives or after its effect and
// before the answer, in each part of the way of a finding. What was not done comes again, and the end is that of an undisturbed run. By default after
// each write to S3 and at a sample of the other calls, with COFFER_TEST_FULL=1 all of them.
func TestKilledAtEveryCall(t *testing.T) {
	s := newSite(t)
	runs, kills, missed, by := 0, 0, 0, map[string]int{}
	run := func(ph phase, id string, sc schedule) (all []lambdaharness.Call) {
		defer func() {
			if t.Failed() {
				t.Logf("%s: killed at %v", id, sc.call)
			}
		}()
		plan := ph.before(s, id)
		s.cold() // so that opening the installation is among the calls
		s.tap.Decide(sc.decide())
		ph.run(s, id, plan)
		s.whole(id)
		all, met := s.tap.Calls()
		s.tap.Decide(nil)
		ph.after(s, id, plan)
		for _, c := range met {
			kills++
			by[c.Service]++
		}
		if sc.fate != lambdaharness.Pass && len(met) == 0 {
			missed++
		}
		return all
	}
	for _, ph := range phases {
		run(ph, ph.name+"-undisturbed", schedule{})
		all := run(ph, ph.name+"-counted", schedule{})
		var list []schedule
		for n := 1; n <= len(all); n++ {
			for i, fate := range []lambdaharness.Fate{lambdaharness.KillBefore, lambdaharness.KillAfter} {
				c := all[n-1]
				if full() || (2*n+i)%sampled == 0 || fate == lambdaharness.KillAfter && writes(c) {
					list = append(list, schedule{c, alike(all[:n], c), fate})
				}
			}
		}
		for _, sc := range list {
			form := "before"
			if sc.fate == lambdaharness.KillAfter {
				form = "after"
			}
			id := fmt.Sprintf("%s-%d-%s", ph.name, sc.call.N, form)
			run(ph, id, sc)
			if runs++; runs%perSite == 0 {
				s.end()
				s = newSite(t)
			}
		}
		t.Logf("%s: %d calls, %d schedules", ph.name, len(all), len(list))
	}
	s.end()
	var b strings.Builder
	for _, service := range slices.Sorted(maps.Keys(by)) {
		fmt.Fprintf(&b, ", %s %d", service, by[service])
	}
	t.Logf("%d schedules, %d kills: %s", runs, kills, strings.TrimPrefix(b.String(), ", "))
	// What time brings meanwhile may move the calls by some.
	if missed > runs/20 {
		t.Errorf("%d of the calls to be killed at did not come", missed)
	}
}

// schedule is to end a process at a call. The call is named by what it is and how many alike came before, so that one more or less of another
// kind does not move it.
type schedule struct {
	call lambdaharness.Call
	nth  int
	fate lambdaharness.Fate
}

func (sc schedule) decide() func(lambdaharness.Call) lambdaharness.Fate {
	n := 0
	return func(c lambdaharness.Call) lambdaharness.Fate {
		if c.N = sc.call.N; c != sc.call {
			return lambdaharness.Pass
		}
		if n++; n != sc.nth {
			return lambdaharness.Pass
		}
		return sc.fate
	}
}

// alike is how many of the calls are as c.
func alike(calls []lambdaharness.Call, c lambdaharness.Call) (n int) {
	for _, x := range calls {
		if x.N = c.N; x == c {
			n++
		}
	}
	return n
}

// writes reports whether a call changes what S3 holds, which no transaction ties to the record of it.
func writes(c lambdaharness.Call) bool {
	return c.Service == "s3" && !strings.HasPrefix(c.Op, "GET") && !strings.HasPrefix(c.Op, "HEAD")
}

// sampled is the step through the schedules of kills. It is odd, so that both forms come.
const sampled = 61
