//go:build !harness

package main

import "time"

// clock is the clock of the installation; nil is the system's.
func clock() func() time.Time { return nil }
