//go:build !planted

package remedy

// planted reports whether a bug was planted on purpose; in a normal build there is none. See planted_on.go.
func planted(string) bool { return false }
