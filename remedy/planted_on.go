//go:build planted

package remedy

// Planted names the bug that is active in a build with the tag "planted". A test plants one after another and demands that
// the checker finds each: a checker that catches nothing proves nothing.
var Planted string

func planted(name string) bool { return Planted == name }
