// Package lazyregexp has regular expressions that are compiled when they are first asked for. Every start of the command and of a function
// initialises all packages that are linked in, and uses a few: an expression with a bounded repetition of some hundreds takes a
// millisecond to compile.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns a function that compiles the expression at its first call and returns it. The function is safe for concurrent use. One that
// does not compile panics at that call; package importrules compiles all that are written in the code.
func New(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
