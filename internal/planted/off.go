//go:build !planted

package planted

// On reports whether a bug is switched on; in this build none can be.
func On(string) bool { return false }
