//go:build harness

package main

import (
	"os"
	"strings"
	"time"
)

// clock is the system's clock, moved by what the file says that COFFER_HARNESS_CLOCK names: a duration, looked up each time. It is for tests in
// which leases have to lapse, whose lengths are promises. Nothing that is shipped is built with the tag "harness".
func clock() func() time.Time {
	name := os.Getenv("COFFER_HARNESS_CLOCK")
	return func() time.Time {
		b, err := os.ReadFile(name) //nolint:gosec // a file of the test
		if err != nil {
			panic("the clock of the tests cannot be read")
		}
		d, err := time.ParseDuration(strings.TrimSpace(string(b)))
		if err != nil {
			panic("the clock of the tests holds no duration")
		}
		return time.Now().Add(d)
	}
}
