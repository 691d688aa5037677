// Package fault breaks things on purpose. The in-memory adapters of every contract run their calls through an [Injector],
// so that a test can fail the k-th call of a whole workflow, before or after its effect, and let the process "die" there.
package fault

import (
	"errors"
	"fmt"
	"sync"
)

// ErrInjected is what an injected failure returns; every call after a crash returns it too.
var ErrInjected = errors.New("injected fault")

// When says on which side of its effect a call fails.
type When int

// The two sides.
const (
	Before When = iota // the effect does not happen
	After              // the effect happens and its acknowledgement is lost
)

// Fault fails the call with number Call (1-based, counted over all adapters that share the injector).
type Fault struct {
	Call int
	When When
	// Crash makes all later calls fail too, until Restart: the process is gone.
	Crash bool
}

// Injector counts calls and fails the chosen ones. A nil *Injector injects nothing. It is safe for concurrent use.
type Injector struct {
	mu     sync.Mutex
	calls  int
	faults []Fault
	dead   bool
	off    bool
	hook   func(call int, op string)
	trace  []string
}

// New returns an injector with these faults.
func New(faults ...Fault) *Injector { return &Injector{faults: faults} }

// Call runs effect as one call named op and returns its error, or the injected one.
func (in *Injector) Call(op string, effect func() error) error {
	if in == nil {
		return effect()
	}
	in.mu.Lock()
	if in.off {
		in.mu.Unlock()
		return effect()
	}
	if in.dead {
		in.mu.Unlock()
		return fmt.Errorf("%s: %w", op, ErrInjected)
	}
	in.calls++
	call := in.calls
	in.trace = append(in.trace, op)
	var hit *Fault
	for i := range in.faults {
		if in.faults[i].Call == in.calls {
			hit = &in.faults[i]
		}
	}
	if hit != nil && hit.Crash {
		in.dead = true
	}
	hook := in.hook
	in.mu.Unlock()
	if hook != nil {
		in.Aside(func() { hook(call, op) })
	}
	if hit != nil && hit.When == Before {
		return fmt.Errorf("%s (call %d, before): %w", op, call, ErrInjected)
	}
	err := effect()
	if hit != nil && err == nil {
		return fmt.Errorf("%s (call %d, after): %w", op, call, ErrInjected)
	}
	return err
}

// Restart brings a crashed process back; counting goes on.
func (in *Injector) Restart() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.dead = false
}

// Calls returns the number of calls so far.
func (in *Injector) Calls() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.calls
}

// Trace returns the names of the calls so far, in order.
func (in *Injector) Trace() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]string(nil), in.trace...)
}

// Arm sets the faults anew; their calls are counted from here on.
func (in *Injector) Arm(faults ...Fault) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.faults = nil
	for _, f := range faults {
		f.Call += in.calls
		in.faults = append(in.faults, f)
	}
}

// Disarm forgets all faults.
func (in *Injector) Disarm() { in.Arm() }

// Watch has f called before every call, aside from the counting: it looks at the world, or changes it as somebody else would.
func (in *Injector) Watch(f func(call int, op string)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.hook = f
}

// Aside runs f without counting or failing calls: a test looks at the world beside the workflow.
func (in *Injector) Aside(f func()) {
	in.set(true)
	defer in.set(false)
	f()
}

func (in *Injector) set(off bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.off = off
}

// Dead reports whether the process has crashed and was not restarted.
func (in *Injector) Dead() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.dead
}

// String describes the fault for the name of a test.
func (f Fault) String() string {
	s := fmt.Sprintf("call %d before", f.Call)
	if f.When == After {
		s = fmt.Sprintf("call %d after", f.Call)
	}
	if f.Crash {
		s += " crash"
	}
	return s
}
