//go:build !race

package check_test

// stride is the step through the schedules of faults: all of them.
const stride = 1
