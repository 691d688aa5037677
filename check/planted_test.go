//go:build planted

package check_test

import (
	"fmt"
	"testing"

	"coffer/internal/fault"
	"coffer/internal/planted"
)

// probe is a test whose failure is the expected result.
type probe struct {
	testing.TB
	failed string
}

type failed struct{}

func (p *probe) Helper() {}

func (p *probe) Fatalf(format string, args ...any) {
	p.failed = fmt.Sprintf(format, args...)
	panic(failed{})
}

func (p *probe) Fatal(args ...any) { p.Fatalf("%s", fmt.Sprint(args...)) }

// caught runs a story and returns how it failed; empty if it did not.
func caught(t *testing.T, s story, watch bool, faults ...fault.Fault) (why string) {
	p := &probe{TB: t}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(failed); !ok {
				why = fmt.Sprint("panic: ", r)
				return
			}
			why = p.failed
		}
	}()
	w := newWorld(t, faults...)
	w.t = p
	if watch {
		w.moments(s.key)
	}
	s.run(w)
	if !w.broken {
		w.holds()
	}
	return ""
}

// TestPlantedBugsAreCaught plants one bug after another and demands that the stories and the checker find it, first without
// and then with faults.
func TestPlantedBugsAreCaught(t *testing.T) {
	for _, bug := range planted.All {
		t.Run(bug, func(t *testing.T) {
			planted.Active = bug
			defer func() { planted.Active = "" }()
			n := 0
			for i, s := range append(expectations, stories...) {
				n++
				if why := caught(t, s, i >= len(expectations)); why != "" {
					t.Logf("caught after %d schedules by %q: %.140s", n, s.name, why)
					return
				}
			}
			for _, s := range stories {
				for call := 1; call <= 120; call++ {
					for _, f := range kinds {
						f.Call = call
						n++
						if why := caught(t, s, true, f); why != "" {
							t.Logf("caught after %d schedules by %q with %v: %.140s", n, s.name, f, why)
							return
						}
					}
				}
			}
			t.Errorf("not caught in %d schedules", n)
		})
	}
}
