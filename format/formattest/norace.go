//go:build !race

package formattest

// scale divides the size of the endless documents.
const scale = 1
