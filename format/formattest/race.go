//go:build race

package formattest

// scale divides the size of the endless documents: under the race detector a byte costs ten times as much.
const scale = 8
