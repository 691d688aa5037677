package object

import (
	"crypto/fips140"
	"crypto/md5"
	"hash"
)

// MD5 returns a hash of which ETags are made, also where GODEBUG=fips140=only forbids MD5: S3 defines the ETag so, and nothing
// that has to withstand an attacker rests on it. (Whether two byte sequences are the same is decided by SHA-256.)
func MD5() hash.Hash { return etagHash{md5.New()} }

type etagHash struct{ hash.Hash }

func (h etagHash) Write(p []byte) (n int, err error) {
	fips140.WithoutEnforcement(func() { n, err = h.Hash.Write(p) })
	return n, err
}

func (h etagHash) Sum(b []byte) (sum []byte) {
	fips140.WithoutEnforcement(func() { sum = h.Hash.Sum(b) })
	return sum
}
