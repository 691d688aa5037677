package grant_test

import (
	"errors"
	"testing"
	"time"

	"coffer"
	"coffer/access"
	"coffer/grant"

	"pgregory.net/rapid"
)

// TestModel plays random histories of one request by several people and compares every answer with a model of a few lines.
func TestModel(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		generation := "g-" + rapid.StringMatching(`[a-z]{8}`).Draw(rt, "generation")
		w.seal("f-1", generation)
		values := rapid.IntRange(26, 40).Draw(rt, "values")
		r, err := w.Ask(ctx, w.eve(), grant.Wanted{Action: access.ValueReveal, Finding: "f-1", Values: values})
		if err != nil {
			rt.Fatal(err)
		}
		state, asked, until, current := grant.Requested, w.clock.now(), time.Time{}, true
		now := func() grant.State {
			switch {
			case state == grant.Requested && w.clock.now().Sub(asked) >= 72*time.Hour, state == grant.Approved && !w.clock.now().Before(until):
				return grant.Expired
			}
			return state
		}
		expect := func(what string, err, want error) {
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				rt.Fatalf("%s in state %s: %v, want %v", what, now(), err, want)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"pass": func(rt *rapid.T) {
				w.clock.pass(rapid.SampledFrom([]time.Duration{time.Minute, 59 * time.Minute, 71 * time.Hour}).Draw(rt, "time"))
			},
			"approve": func(rt *rapid.T) {
				who := rapid.SampledFrom([]string{"ann", "eve"}).Draw(rt, "who")
				_, err := w.Approve(ctx, w.as(who, access.RoleApprover), r.ID, r.Hash)
				switch {
				case who == "eve":
					expect("approve own", err, coffer.ErrDenied)
				case now() != grant.Requested || !current:
					expect("approve", err, coffer.ErrConflict)
				default:
					expect("approve", err, nil)
					state, until = grant.Approved, w.clock.now().Add(time.Hour)
				}
			},
			"deny": func(*rapid.T) {
				_, err := w.Deny(ctx, w.ann(), r.ID, "not now")
				if s := now(); s != grant.Requested && s != grant.Approved {
					expect("deny", err, coffer.ErrConflict)
					return
				}
				expect("deny", err, nil)
				state = grant.Denied
			},
			"withdraw": func(rt *rapid.T) {
				who := rapid.SampledFrom([]string{"eve", "fay"}).Draw(rt, "who")
				_, err := w.Withdraw(ctx, w.as(who, access.RoleEngineer), r.ID)
				switch s := now(); {
				case who != "eve":
					expect("withdraw another's", err, coffer.ErrNotFound)
				case s != grant.Requested && s != grant.Approved:
					expect("withdraw", err, coffer.ErrConflict)
				default:
					expect("withdraw", err, nil)
					state = grant.Withdrawn
				}
			},
			"seal": func(*rapid.T) {
				generation, current = generation+"x", false
				w.seal("f-1", generation)
			},
			"reveal": func(rt *rapid.T) {
				n := rapid.IntRange(26, 40).Draw(rt, "n")
				who := rapid.SampledFrom([]string{"eve", "eve", "fay"}).Draw(rt, "who")
				err := w.intend(with(w.as(who, access.RoleEngineer), r.ID), reveal("f-1", generation, first(n)...))
				if who != "eve" || now() != grant.Approved || !current || n > values {
					expect("reveal", err, coffer.ErrDenied)
					return
				}
				expect("reveal", err, nil)
				state = grant.Used
			},
			"": func(rt *rapid.T) {
				if got := w.state(r.ID); got != now() {
					rt.Fatalf("state %s, want %s", got, now())
				}
			},
		})
	})
}
