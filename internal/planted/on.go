//go:build planted

package planted

// Active is the bug that is switched on.
var Active string

// On reports whether a bug is switched on.
func On(bug string) bool { return Active == bug }
