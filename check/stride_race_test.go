//go:build race

package check_test

// stride is the step through the schedules of faults. Under the race detector, which makes each some ten times slower, a
// part of them is run; the test command runs all of them without it.
const stride = 17
