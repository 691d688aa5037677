package store

import (
	"crypto/rand"
	"encoding/hex"
)

// NewVersion returns a fresh token for Item.Version.
func NewVersion() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
