//go:build race

package audit_test

// raceEnabled says that the race detector makes everything several times slower, so that the large tests do less.
const raceEnabled = true
